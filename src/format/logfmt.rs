//! Values of logfmt lines (`level=info msg="all is well" done`) by their keys.
//!
//! Promises: takes and refuses what the decoder does that Promtail's `logfmt` stage uses. A key without a value has the empty one. Of equal
//! keys the last one counts; still the rest of a line is left alone when all keys are found and none of them can be in it. Values
//! without escapes are borrowed; nothing is allocated in the steady state. Leaves to others: what is done with values and with lines that
//! are malformed.

use super::json::text::unescape;
use crate::model::value::Value;
use memchr::memmem::Finder;
use memchr::{memchr2, memchr3};

/// Why a line, or the part of it that had to be read, is not logfmt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not logfmt: {what} at byte {at}")]
pub struct Malformed {
    /// Where, bytes from the beginning of the line.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// The keys that are wanted.
///
/// ```
/// use lugger::format::logfmt::Fields;
/// let fields = Fields::new(&["level", "msg"]);
/// let (mut scratch, mut found) = (String::new(), [None; 2]);
/// let line = "ts=1 level=info msg=\"all is well\"";
/// fields.find(line, &mut scratch, &mut found).unwrap();
/// assert_eq!(found[1].unwrap().of(line, &scratch), "all is well");
/// ```
#[derive(Debug)]
pub struct Fields {
    names: Vec<Finder<'static>>,
}

impl Fields {
    /// Makes a finder of keys. A key's place among them is its place among the results; one may be there twice.
    pub fn new<S: AsRef<str>>(names: &[S]) -> Self {
        Fields { names: names.iter().map(|name| Finder::new(name.as_ref()).into_owned()).collect() }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Finds the value of each key; `out` has a place for each, in their order. What the line has not is `None`. If the line is malformed,
    /// what stands before that place is found nevertheless, as in Promtail. What stands behind the last key is read only if it matters, so
    /// that it may be malformed without being told.
    pub fn find(&self, line: &str, scratch: &mut String, out: &mut [Option<Value>]) -> Result<(), Malformed> {
        out.fill(None);
        let mut reader = Reader { line, bytes: line.as_bytes(), at: 0 };
        let mut missing = self.names.len().min(out.len());
        let mut last = missing == 0;
        while !last && let Some(key) = reader.key()? {
            let wanted = self.names.iter().any(|name| name.needle() == key);
            let Some(value) = reader.value(wanted, scratch)? else { continue };
            for (name, place) in self.names.iter().zip(out.iter_mut()) {
                if name.needle() == key {
                    missing -= usize::from(place.is_none());
                    *place = Some(value);
                }
            }
            if missing == 0 {
                last = !self.may_be_in(reader.bytes.get(reader.at..).unwrap_or_default());
                // Asked once: from here the line is read to its end.
                missing = usize::MAX;
            }
        }
        Ok(())
    }

    /// Whether one of the keys may stand in the rest of a line. It stands between blanks or the like, maybe in a quoted value.
    fn may_be_in(&self, rest: &[u8]) -> bool {
        let before = |byte: &u8| *byte <= b' ' || matches!(byte, b'"' | b'\'');
        let after = |byte: &u8| *byte <= b' ' || *byte == b'=';
        self.names.iter().any(|name| {
            name.find_iter(rest).any(|at| {
                at.checked_sub(1).and_then(|at| rest.get(at)).is_none_or(before)
                    && rest.get(at + name.needle().len()).is_none_or(after)
            })
        })
    }
}

/// A place in a line.
struct Reader<'a> {
    line: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Goes on to the next byte that `stop` names, or to the end. Tells what it is.
    #[inline]
    fn until(&mut self, stop: impl Fn(u8) -> bool) -> Option<u8> {
        let rest = self.rest();
        let len = rest.iter().position(|byte| stop(*byte)).unwrap_or(rest.len());
        self.at += len;
        rest.get(len).copied()
    }

    fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    /// The next key; `None` at the end.
    #[inline]
    fn key(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        if self.until(|byte| byte > b' ').is_none() {
            return Ok(None);
        }
        let start = self.at;
        let stop = self.until(|byte| byte <= b' ' || matches!(byte, b'=' | b'"' | b'\''));
        let key = self.bytes.get(start..self.at).unwrap_or_default();
        match stop {
            Some(b'"' | b'\'') => Err(self.malformed("an unexpected quote")),
            Some(b'=') if key.is_empty() => Err(self.malformed("an unexpected =")),
            // The mark of text that was not UTF-8.
            _ if !key.is_ascii() && self.line.get(start..self.at).is_some_and(|key| key.contains('\u{fffd}')) => {
                Err(self.malformed("an invalid key"))
            }
            _ => Ok(Some(key)),
        }
    }

    /// The value behind a key. `None` if it is not wanted.
    #[inline]
    fn value(&mut self, wanted: bool, scratch: &mut String) -> Result<Option<Value>, Malformed> {
        let here = |range| Ok(wanted.then(|| Value::in_line(range)));
        if self.bytes.get(self.at) != Some(&b'=') {
            return here(self.at..self.at);
        }
        self.at += 1;
        if let Some(quote @ (b'"' | b'\'')) = self.bytes.get(self.at) {
            return self.quoted(*quote, wanted, scratch);
        }
        let start = self.at;
        match self.until(|byte| byte <= b' ' || matches!(byte, b'=' | b'"' | b'\'')) {
            Some(b'=') => Err(self.malformed("an unexpected =")),
            Some(b'"' | b'\'') => Err(self.malformed("an unexpected quote")),
            _ => here(start..self.at),
        }
    }

    /// A value in quotes, at the opening one. Only double quotes know escapes; those of JSON and `\'`.
    fn quoted(&mut self, quote: u8, wanted: bool, scratch: &mut String) -> Result<Option<Value>, Malformed> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.rest();
            // A newline ends a record, so that the quote does not close.
            let found = if quote == b'"' { memchr3(b'"', b'\\', b'\n', rest) } else { memchr2(b'\'', b'\n', rest) };
            self.at += found.unwrap_or(rest.len());
            match found.and_then(|at| rest.get(at)) {
                Some(b'\\') if rest.get(found.unwrap_or(0) + 1).is_some_and(|byte| *byte != b'\n') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(byte) if *byte == quote => break,
                _ => return Err(self.malformed("a quoted value does not end")),
            }
        }
        let range = start..self.at;
        self.at += 1;
        if !escaped {
            return Ok(wanted.then(|| Value::in_line(range)));
        }
        let raw = self.line.get(range).unwrap_or_default();
        let from = scratch.len();
        if raw.bytes().any(|byte| byte < b' ') || !unescape(raw, true, scratch) {
            scratch.truncate(from);
            return Err(self.malformed("a quoted value with a wrong escape or a control character"));
        }
        if !wanted {
            scratch.truncate(from);
            return Ok(None);
        }
        Ok(Some(Value::in_scratch(from..scratch.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Found = Vec<Option<String>>;

    fn found(names: &[&str], line: &str) -> (Found, Result<(), Malformed>) {
        let mut scratch = String::from("left over");
        let mut out = vec![Some(Value::default()); names.len()];
        let result = Fields::new(names).find(line, &mut scratch, &mut out);
        (out.iter().map(|value| value.map(|value| value.of(line, &scratch).to_owned())).collect(), result)
    }

    fn texts(found: &[Option<&str>]) -> Found {
        found.iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn values() {
        let line = "a=1 b=\"bar\" ƒ=2h3s r=\"esc\\t\" d x=sf  e= f='a \\ \"b\"' g=\"it\\'s\"h=after y=\"\" \u{1e}z=ü ";
        for (name, want) in [
            ("a", Some("1")),
            ("b", Some("bar")),
            ("ƒ", Some("2h3s")),
            ("r", Some("esc\t")),
            ("d", Some("")),
            ("x", Some("sf")),
            ("e", Some("")),
            ("f", Some("a \\ \"b\"")),
            ("g", Some("it's")),
            ("h", Some("after")),
            ("y", Some("")),
            ("z", Some("ü")),
            ("bar", None),
            ("", None),
            ("sf", None),
        ] {
            assert_eq!(found(&[name], line), (texts(&[want]), Ok(())), "{name}");
        }
        assert_eq!(found(&["x", "a", "no", "a"], line).0, texts(&[Some("sf"), Some("1"), None, Some("1")]));
        assert_eq!(found(&[], "=="), (vec![], Ok(())));
        assert_eq!(found(&["a"], " \t"), (texts(&[None]), Ok(())));
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        for (line, want) in [
            ("a=1 b=2 a=3", "3"),
            ("a=1 b=2 a", ""),
            ("a=1 b=2 a=", ""),
            ("a=1 b=2 c=\"x\"a=4 d=5", "4"),
            ("a=1 b=2\n\ta='5'", "5"),
            ("a=1 b=2 msg=\"no a in here\" aa=6 ba=7", "1"),
            ("a=1 b=2 msg=\"no a in here\" a=8", "8"),
            ("a=1 b=2 == a=9", "1"),
        ] {
            assert_eq!(found(&["a", "b"], line).0, texts(&[Some(want), Some("2")]), "{line}");
        }
    }

    #[test]
    fn malformed_lines_give_what_stands_before() {
        for (line, at) in [
            ("a=1 =bar", 4),
            ("a=1 \"k\"=bar", 4),
            ("a=1 k\"ey=bar", 5),
            ("a=1 k=b\"ar", 7),
            ("a=1 k=b'ar", 7),
            ("a=1 k=b=ar", 7),
            ("a=1 k==", 6),
            ("a=1 k=\"1", 8),
            ("a=1 k=\"1\\", 8),
            ("a=1 k='1", 8),
            ("a=1 k=\"1\n\"", 8),
            ("a=1 k=\"1\\\n\"", 8),
            ("a=1 k=\"\\u1\"", 11),
            ("a=1 k=\"\\x\"", 10),
            ("a=1 k=\"\\n\t\"", 11),
            ("a=1 k\u{fffd}=bar", 8),
            ("a=1 \u{fffd}", 7),
        ] {
            let (values, result) = found(&["a", "b"], line);
            assert_eq!((values, result.map_err(|e| e.at)), (texts(&[Some("1"), None]), Err(at)), "{line}");
            // Nothing that is wanted can follow.
            assert_eq!(found(&["a"], line).1, Ok(()), "{line}");
        }
        assert_eq!(found(&["a"], "=").1.unwrap_err().to_string(), "not logfmt: an unexpected = at byte 0");
        assert_eq!(found(&["a"], "k=\"tab\tis fine\" a=1"), (texts(&[Some("1")]), Ok(())));
    }

    /// The same by the letter of the format: one byte after the other, and every key to the end of the line.
    fn slow(names: &[&str], line: &str) -> Found {
        let mut out = vec![None; names.len()];
        for record in line.split('\n') {
            let mut rest = record;
            loop {
                rest = rest.trim_start_matches(|c: char| c <= ' ');
                if rest.is_empty() {
                    break;
                }
                let end = rest.find(|c: char| c <= ' ' || "='\"".contains(c)).unwrap_or(rest.len());
                let (key, after) = rest.split_at(end);
                if after.starts_with(['"', '\'']) || key.is_empty() || key.contains('\u{fffd}') {
                    return out;
                }
                let mut value = String::new();
                rest = after;
                if let Some(after) = after.strip_prefix('=') {
                    let quote = after.chars().next().filter(|c| "'\"".contains(*c));
                    if let Some(quote) = quote {
                        let mut len = 1;
                        let mut escapes = 0;
                        loop {
                            let Some(c) = after[len..].chars().next() else { return out };
                            len += c.len_utf8();
                            if c == quote {
                                break;
                            }
                            if c == '\\' && quote == '"' {
                                escapes += 1;
                                let Some(next) = after[len..].chars().next() else { return out };
                                len += next.len_utf8();
                            }
                        }
                        let raw = &after[1..len - 1];
                        rest = &after[len..];
                        if escapes == 0 {
                            value = raw.to_owned();
                        } else {
                            // JSON's escapes, but for the apostrophe.
                            let json = raw.replace("\\\\", "\\u005c").replace("\\'", "'");
                            match serde_json::from_str(&format!("\"{json}\"")) {
                                Ok(text) => value = text,
                                Err(_) => return out,
                            }
                        }
                    } else {
                        let end = after.find(|c: char| c <= ' ' || "='\"".contains(c)).unwrap_or(after.len());
                        value = after[..end].to_owned();
                        rest = &after[end..];
                        if rest.starts_with(['=', '"', '\'']) {
                            return out;
                        }
                    }
                }
                for (name, place) in names.iter().zip(&mut out) {
                    if *name == key {
                        *place = Some(value.clone());
                    }
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn agrees_with_a_slow_reading(line in r#"((a|b|c|ab)=([a-c]{0,3}|"[ab= '\t]{0,8}"|"(\\n|\\"|\\'|\\\\|\\u0061|a)*"|'[ab= "\\]{0,5}')?[ \n]{0,2}|["'=\\ ü�]){0,10}"#) {
            prop_assert_eq!(found(&["a", "b"], &line).0, slow(&["a", "b"], &line), "{}", line);
            prop_assert_eq!(found(&["a"], &line).0, slow(&["a"], &line), "{}", line);
        }

        #[test]
        fn never_panics(line in ".{0,60}", name in ".{0,3}") {
            let _ = found(&[name.as_str(), "a"], &line);
        }
    }
}
