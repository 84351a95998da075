//! The fields of an entry, and which of them are wanted.
//!
//! Promises: one buffer and an index of spans, used again for each entry; bounded in bytes. Leaves to others: what the fields mean.

use crate::base::limits::{JOURNALD_BUFFER_BYTES, JOURNALD_ENTRY_BYTES};
use std::collections::BTreeSet;

/// The fields that somebody reads. The others are neither copied nor kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted(Option<BTreeSet<Box<[u8]>>>);

impl Wanted {
    /// All fields.
    pub fn all() -> Wanted {
        Wanted(None)
    }

    /// The fields of these names.
    pub fn only<'a>(names: impl IntoIterator<Item = &'a str>) -> Wanted {
        Wanted(Some(names.into_iter().map(|name| name.as_bytes().into()).collect()))
    }

    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.0.as_ref().is_none_or(|names| names.contains(name))
    }
}

/// A field's place in the buffer.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    /// End of the name; the value begins behind the `=`.
    name: usize,
    end: usize,
}

/// The fields of one entry. To be used again for the next one.
#[derive(Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Fields {
    /// The fields in the order in which the entry has them, each with its name and its value. A name may come more than once; a value
    /// may be any bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans.iter().filter_map(|span| self.show(span))
    }

    /// The field at this place in that order, from 0.
    pub fn at(&self, at: usize) -> Option<(&[u8], &[u8])> {
        self.spans.get(at).and_then(|span| self.show(span))
    }

    fn show(&self, span: &Span) -> Option<(&[u8], &[u8])> {
        let name = self.bytes.get(span.start..span.name)?;
        let value = self.bytes.get(span.name + 1..span.end)?;
        Some((name, value))
    }

    /// The value of the first field of this name.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Takes all fields out.
    pub fn clear(&mut self) {
        if self.bytes.capacity() > JOURNALD_BUFFER_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.spans.clear();
    }

    /// Takes `NAME=value` in. False if there is no room for it.
    pub(super) fn push(&mut self, payload: &[u8], name: usize) -> bool {
        let start = self.bytes.len();
        if payload.len() > JOURNALD_ENTRY_BYTES - start.min(JOURNALD_ENTRY_BYTES) {
            return false;
        }
        self.bytes.extend_from_slice(payload);
        self.spans.push(Span { start, name: start + name, end: self.bytes.len() });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values() {
        let mut fields = Fields::default();
        for (payload, name) in [("A=b", 1), ("LONG=x=\n\0", 4), ("A=", 1)] {
            assert!(fields.push(payload.as_bytes(), name));
        }
        let found: Vec<_> = fields.iter().collect();
        assert_eq!(found, [(&b"A"[..], &b"b"[..]), (b"LONG", b"x=\n\0"), (b"A", b"")]);
        assert_eq!(fields.get(b"A"), Some(&b"b"[..]));
        assert_eq!(fields.get(b"B"), None);
        assert_eq!(fields.len(), 3);
        fields.clear();
        assert!(fields.is_empty());
    }

    #[test]
    fn bounded() {
        let mut fields = Fields::default();
        let payload = vec![b'='; JOURNALD_ENTRY_BYTES / 2];
        assert!(fields.push(&payload, 1));
        assert!(fields.push(&payload, 1));
        assert!(!fields.push(b"A=b", 1));
        assert_eq!(fields.len(), 2);
        fields.clear();
        assert!(fields.bytes.capacity() <= JOURNALD_BUFFER_BYTES);
        assert!(fields.push(b"A=b", 1));
    }

    #[test]
    fn wanted() {
        assert!(Wanted::all().has(b"X"));
        let some = Wanted::only(["MESSAGE", "PRIORITY"]);
        assert!(some.has(b"MESSAGE") && !some.has(b"MESSAG"));
    }
}
