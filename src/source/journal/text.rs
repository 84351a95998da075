//! The line that an entry becomes: its message, or all its fields as JSON.
//!
//! Promises: valid UTF-8, and JSON as Go writes it; nothing is allocated for text once the buffers have grown. Leaves to others: cutting what is too long.

use crate::base::limits::JOURNALD_BUFFER_BYTES;
use crate::format::journal::Fields;
use crate::format::json::quote;

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
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            quote(text, out);
            false
        }
        Err(_) => {
            quote(&String::from_utf8_lossy(bytes), out);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_repaired() {
        for (bytes, is_repaired, expected) in
            [(&b"a\"<b\n"[..], false, r#""a\"\u003cb\n""#), (b"a\xffb", true, "\"a\u{fffd}b\"")]
        {
            let mut out = String::new();
            assert_eq!((push_json(bytes, &mut out), out.as_str()), (is_repaired, expected));
        }
    }
}
