//! The line that an entry becomes: its message, or all its fields as JSON.
//!
//! Promises: valid UTF-8; nothing is allocated once the buffers have grown. Leaves to others: cutting what is too long.

use crate::base::limits::JOURNALD_BUFFER_BYTES;
use crate::format::journal::Fields;

/// Recycled space for lines that cannot be borrowed from the entry.
#[derive(Debug, Default)]
pub(super) struct Text {
    made: String,
    /// Places of fields, by name.
    order: Vec<usize>,
}

/// An entry's line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub text: &'a str,
    /// It had bytes that were not UTF-8.
    pub repaired: bool,
}

impl Text {
    /// The message; `None` if there is none.
    pub(super) fn message<'a>(&'a mut self, fields: &'a Fields) -> Option<Line<'a>> {
        let message = fields.get(b"MESSAGE")?;
        if let Ok(text) = std::str::from_utf8(message) {
            return Some(Line { text, repaired: false });
        }
        self.begin();
        push_lossy(message, &mut self.made);
        Some(Line { text: &self.made, repaired: true })
    }

    /// All fields as one object, by name. A name that comes more than once has a list.
    pub(super) fn json(&mut self, fields: &Fields) -> Line<'_> {
        self.begin();
        let Text { made, order } = self;
        order.clear();
        order.extend(0..fields.len());
        let name = |at: &usize| fields.at(*at).map_or(&[][..], |(name, _)| name);
        // The place tells equal names apart, so that their order stays.
        order.sort_unstable_by_key(|at| (name(at), *at));
        let mut repaired = false;
        made.push('{');
        let mut rest = order.as_slice();
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|at| name(at) == name(first)).count().max(1);
            let (same, behind) = rest.split_at(count);
            if made.len() > 1 {
                made.push(',');
            }
            repaired |= push_json(name(first), made);
            made.push(':');
            if count > 1 {
                made.push('[');
            }
            for (i, at) in same.iter().enumerate() {
                if i > 0 {
                    made.push(',');
                }
                repaired |= push_json(fields.at(*at).map_or(&[][..], |(_, value)| value), made);
            }
            if count > 1 {
                made.push(']');
            }
            rest = behind;
        }
        made.push('}');
        Line { text: &self.made, repaired }
    }

    fn begin(&mut self) {
        self.made.clear();
        if self.made.capacity() > JOURNALD_BUFFER_BYTES {
            self.made = String::new();
        }
    }
}

/// Appends text; what is not UTF-8 becomes U+FFFD.
pub(super) fn push_lossy(bytes: &[u8], out: &mut String) {
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            out.push('\u{fffd}');
        }
    }
}

/// Appends a JSON string. True if it had bytes that were not UTF-8.
fn push_json(bytes: &[u8], out: &mut String) -> bool {
    let mut repaired = false;
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if (c as u32) < 0x20 => {
                    out.push_str("\\u00");
                    for nibble in [c as u32 >> 4, c as u32 & 15] {
                        out.push(char::from_digit(nibble, 16).unwrap_or('0'));
                    }
                }
                c => out.push(c),
            }
        }
        if !chunk.invalid().is_empty() {
            out.push('\u{fffd}');
            repaired = true;
        }
    }
    out.push('"');
    repaired
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_strings_are_those_of_a_known_writer() {
        for text in ["", "a\"b\\c\n\r\t\u{1}\u{1f}\u{7f}é😀", "plain"] {
            let mut ours = String::new();
            assert!(!push_json(text.as_bytes(), &mut ours));
            assert_eq!(serde_json::from_str::<String>(&ours).unwrap(), text);
        }
        let mut ours = String::new();
        assert!(push_json(b"a\xffb", &mut ours));
        assert_eq!(ours, "\"a\u{fffd}b\"");
    }
}
