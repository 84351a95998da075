//! Structured data of RFC 5424 (6.3): `[id name="value" …][id …]`.
//!
//! Promises: borrowed from the message; where it ends is decided once, by its brackets and quotes; values are unescaped only when they
//! are asked for. Leaves to others: what follows it.

use std::borrow::Cow;

/// The elements of a message; none is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StructuredData<'a>(&'a str);

/// A parameter with the element that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    /// `exampleSDID@32473`.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its value as it stands between the quotes.
    pub raw: &'a str,
}

impl<'a> Param<'a> {
    /// Its value: `\"`, `\\` and `\]` are what stands behind the backslash, any other backslash is one.
    pub fn text(&self) -> Cow<'a, str> {
        if memchr::memchr(b'\\', self.raw.as_bytes()).is_none() {
            return Cow::Borrowed(self.raw);
        }
        let mut text = String::with_capacity(self.raw.len());
        self.write(&mut text);
        Cow::Owned(text)
    }

    /// Appends its value.
    pub fn write(&self, to: &mut String) {
        let mut rest = self.raw;
        while let Some((before, after)) = rest.split_once('\\') {
            to.push_str(before);
            rest = after;
            match after.as_bytes().first() {
                Some(b'"' | b']') => {}
                Some(b'\\') => {
                    // Not to be taken for the beginning of a further escape.
                    to.push('\\');
                    rest = after.get(1..).unwrap_or_default();
                }
                _ => to.push('\\'),
            }
        }
        to.push_str(rest);
    }
}

impl<'a> StructuredData<'a> {
    /// What stands at the beginning of `text`, and what follows it. `None` if it is malformed or there is none.
    pub(super) fn at(text: &'a str) -> Option<(Self, &'a str)> {
        let mut at = 0;
        while text.as_bytes().get(at) == Some(&b'[') {
            at = element_end(text.as_bytes(), at)?;
        }
        let (data, rest) = text.split_at_checked(at)?;
        (at > 0 && (rest.is_empty() || rest.starts_with(' '))).then_some((StructuredData(data), rest))
    }

    /// As it stands in the message, brackets and all; empty if there is none.
    pub fn raw(&self) -> &'a str {
        self.0
    }

    /// All parameters of all elements, in order.
    pub fn params(&self) -> Params<'a> {
        Params { rest: self.0, id: "" }
    }
}

/// See [`StructuredData::params`].
#[derive(Debug, Clone)]
pub struct Params<'a> {
    rest: &'a str,
    id: &'a str,
}

impl<'a> Iterator for Params<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        loop {
            match self.rest.as_bytes().first()? {
                b'[' => {
                    let inside = self.rest.get(1..)?;
                    let len = inside.bytes().position(|byte| matches!(byte, b' ' | b']'))?;
                    (self.id, self.rest) = inside.split_at_checked(len)?;
                }
                b' ' | b']' => self.rest = self.rest.get(1..)?,
                _ => {
                    let (name, after) = self.rest.split_once("=\"")?;
                    let len = value_len(after.as_bytes())?;
                    let raw = after.get(..len)?;
                    self.rest = after.get(len + 1..)?;
                    return Some(Param { id: self.id, name, raw });
                }
            }
        }
    }
}

/// Where the element that begins at `start` ends, past its bracket.
fn element_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    at += name_len(bytes.get(at..)?)?;
    loop {
        // RFC 5424 has one space; some senders leave one before the bracket.
        while bytes.get(at) == Some(&b' ') {
            at += 1;
        }
        if bytes.get(at) == Some(&b']') {
            return Some(at + 1);
        }
        if bytes.get(at - 1) != Some(&b' ') {
            return None;
        }
        at += name_len(bytes.get(at..)?)?;
        let value = bytes.get(at..)?.strip_prefix(b"=\"")?;
        at += 2 + value_len(value)? + 1;
    }
}

/// The length of a name, which is not empty.
fn name_len(bytes: &[u8]) -> Option<usize> {
    let len = bytes.iter().position(|byte| matches!(byte, b' ' | b'=' | b']' | b'"' | b'['))?;
    (len > 0).then_some(len)
}

/// How long a value is, up to the quote that ends it. A bracket in it should have a backslash, but not all senders know.
fn value_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Triple = (String, String, String);

    fn all(text: &str) -> Option<(Vec<Triple>, &str)> {
        let (data, rest) = StructuredData::at(text)?;
        let owned = |p: Param<'_>| (p.id.to_owned(), p.name.to_owned(), p.text().into_owned());
        Some((data.params().map(owned).collect(), rest))
    }

    fn triple(id: &str, name: &str, value: &str) -> Triple {
        (id.to_owned(), name.to_owned(), value.to_owned())
    }

    #[test]
    fn elements() {
        for (text, want, rest) in [
            ("[a]", vec![], ""),
            ("[a] text", vec![], " text"),
            ("[a][b] [c]", vec![], " [c]"),
            (r#"[a x="1"]"#, vec![triple("a", "x", "1")], ""),
            (r#"[a x=""]"#, vec![triple("a", "x", "")], ""),
            (
                r#"[a@1 x="1" y="2"][b z="3"] t"#,
                vec![triple("a@1", "x", "1"), triple("a@1", "y", "2"), triple("b", "z", "3")],
                " t",
            ),
            (r#"[a x="\"\\\]\n]"]"#, vec![triple("a", "x", "\"\\]\\n]")], ""),
            (r#"[a x="\\" y="\\\""]"#, vec![triple("a", "x", "\\"), triple("a", "y", "\\\"")], ""),
            (r#"[a x="ä= ][" ]"#, vec![triple("a", "x", "ä= ][")], ""),
        ] {
            assert_eq!(all(text), Some((want, rest)), "{text}");
        }
        for bad in [
            "",
            "-",
            "[",
            "[]",
            "[a",
            "[ a]",
            "[a x]",
            "[a x=]",
            "[a x=1]",
            "[a x=\"1]",
            "[a x=\"1\\\"]",
            "[a x=\"1\"y=\"2\"]",
            "[a]x",
            "[a][",
            "[a =\"1\"]",
            "[action:\"Accept\"; x]",
        ] {
            assert_eq!(all(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_read_back(params in prop::collection::vec(("[a-z@0-9]{1,5}", "\\PC{0,12}"), 0..5), rest in "( \\PC{0,9})?") {
            let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
            let inner: String = params.iter().map(|(name, value)| format!(" {name}=\"{}\"", escape(value))).collect();
            let text = format!("[id@1{inner}]{rest}");
            let want: Vec<_> = params.iter().map(|(name, value)| triple("id@1", name, value)).collect();
            prop_assert_eq!(all(&text), Some((want, rest.as_str())));
        }

        #[test]
        fn never_panics(text in "[\\[\\]\"\\\\= aä]{0,30}") {
            if let Some((_, rest)) = all(&text) {
                prop_assert!(text.ends_with(rest));
            }
        }
    }
}
