//! The export format: entries as `journalctl -o export` prints them.
//!
//! A field is a line `NAME=value`, or, if its value may be any bytes, a line with the name, the value's length in eight bytes (little-endian), the
//! value, and a newline. An empty line ends an entry (systemd's Journal Export Formats).
//!
//! Promises: bounded in memory whatever comes; what is too large is cut or left out as a [`super::Reader`] does it, and counted; what comes out depends
//! on the bytes alone, not on the pieces that they come in. Leaves to others: where the bytes come from.

use super::cursor::{Cursor, Location};
use super::fields::Fields;
use super::{Damage, Work};
use crate::base::limits::{JOURNALD_BUFFER_BYTES, JOURNALD_FIELD_BYTES, JOURNALD_NAME_BYTES};
use std::str::FromStr;

/// What comes is not this format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what journalctl prints is not the export format: {what}")]
pub struct ExportError {
    what: &'static str,
}

/// Entries out of bytes that come in pieces.
#[derive(Debug, Default)]
pub struct Export {
    bytes: Vec<u8>,
    /// Up to here they were taken in.
    at: usize,
    /// What is there of the entry that is not complete yet.
    fields: Fields,
    location: Option<Location>,
    damage: Damage,
    is_begun: bool,
    /// The field that is being taken in: as much of `NAME=value` as is kept, how long the name is, and what it is all in all.
    field: Vec<u8>,
    name: usize,
    whole: u64,
    part: Part,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Part {
    /// A name, or the end of an entry.
    #[default]
    Name,
    /// A value, up to the end of its line.
    Line,
    /// So many bytes of a value, and behind them the end of the line.
    Bytes(u64),
}

/// What was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing: not all of it is there yet.
    Wait,
    /// A part of an entry.
    Part,
    /// The end of one.
    End,
}

/// What the cursor of an entry comes under.
const CURSOR: &[u8] = b"__CURSOR";
/// No value is as large: journald takes 768 MiB.
const VALUE_BYTES: u64 = u32::MAX as u64;

impl Export {
    /// Takes more bytes in.
    pub fn push(&mut self, more: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(more);
    }

    /// The next complete entry: its place, its wanted fields in `fields`, and what was cut of it or could not be read, with all before it that had no
    /// place. `None`: more bytes are needed. After an error nothing that comes means anything.
    pub fn next(&mut self, work: &Work, fields: &mut Fields) -> Result<Option<(Location, Damage)>, ExportError> {
        loop {
            match self.step(work)? {
                Step::Wait => return Ok(None),
                // Lines without anything come before the first entry as well.
                Step::End if std::mem::take(&mut self.is_begun) => {}
                Step::Part | Step::End => continue,
            }
            std::mem::swap(fields, &mut self.fields);
            self.fields.clear();
            match self.location.take() {
                Some(location) => return Ok(Some((location, std::mem::take(&mut self.damage)))),
                None => self.damage.entries += 1,
            }
        }
    }

    /// Takes the next part in.
    fn step(&mut self, work: &Work) -> Result<Step, ExportError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match self.part {
            Part::Name => {
                let beginning = rest.get(..=JOURNALD_NAME_BYTES).unwrap_or(rest);
                let Some(len) = memchr::memchr2(b'=', b'\n', beginning) else {
                    return match beginning.len() > JOURNALD_NAME_BYTES {
                        true => Err(ExportError { what: "a line has no name" }),
                        false => Ok(Step::Wait),
                    };
                };
                let name = beginning.get(..len).unwrap_or_default();
                let mut taken = len + 1;
                if len == 0 && rest.first() == Some(&b'\n') {
                    self.at += taken;
                    return Ok(Step::End);
                }
                if rest.get(len) == Some(&b'=') {
                    self.part = Part::Line;
                } else {
                    let Some(size) = rest.get(taken..).and_then(|rest| rest.first_chunk()) else {
                        return Ok(Step::Wait);
                    };
                    let size = u64::from_le_bytes(*size);
                    if size > VALUE_BYTES {
                        return Err(ExportError { what: "a field is larger than can be" });
                    }
                    taken += size_of::<u64>();
                    self.part = Part::Bytes(size);
                }
                self.at += taken;
                self.field.clear();
                // One that is not wanted is not kept.
                if name == CURSOR || (len > 0 && !name.starts_with(b"__") && work.wanted.has(name)) {
                    self.field.extend_from_slice(name);
                    self.field.push(b'=');
                }
                (self.name, self.whole, self.is_begun) = (len, len as u64 + 1, true);
                Ok(Step::Part)
            }
            Part::Line => {
                let end = memchr::memchr(b'\n', rest);
                let count = end.unwrap_or(rest.len());
                self.take(count);
                if end.is_none() {
                    return Ok(Step::Wait);
                }
                self.at += 1;
                self.end_field();
                Ok(Step::Part)
            }
            Part::Bytes(left) => {
                let count = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let next = rest.get(count).copied();
                self.take(count);
                self.part = Part::Bytes(left - count as u64);
                match next {
                    None => return Ok(Step::Wait),
                    Some(b'\n') => self.at += 1,
                    Some(_) => return Err(ExportError { what: "a field does not end where it should" }),
                }
                self.end_field();
                Ok(Step::Part)
            }
        }
    }

    /// Takes so many bytes of a value in, as far as they are kept.
    fn take(&mut self, count: usize) {
        let value = self.bytes.get(self.at..self.at + count).unwrap_or_default();
        if !self.field.is_empty() {
            let room = JOURNALD_FIELD_BYTES.saturating_sub(self.field.len());
            self.field.extend_from_slice(value.get(..room).unwrap_or(value));
        }
        self.at += count;
        self.whole += count as u64;
    }

    /// A value is complete.
    fn end_field(&mut self) {
        self.part = Part::Name;
        if self.field.is_empty() {
            return;
        }
        let (name, value) = self.field.split_at_checked(self.name).unwrap_or_default();
        if name == CURSOR {
            let text = value.get(1..).and_then(|value| std::str::from_utf8(value).ok());
            self.location = text.and_then(|text| Cursor::from_str(text).ok()).and_then(whole);
        } else {
            let is_whole = self.fields.push(&self.field, self.name) && self.whole == self.field.len() as u64;
            self.damage.cut += u64::from(!is_whole);
        }
        if self.field.capacity() > JOURNALD_BUFFER_BYTES {
            self.field = Vec::new();
        }
    }
}

/// A place, if all of it is known.
fn whole(cursor: Cursor) -> Option<Location> {
    let ((seqnum_id, seqnum), (boot_id, monotonic_us)) = (cursor.seqnum?, cursor.monotonic?);
    let (realtime_us, xor_hash) = (cursor.realtime_us?, cursor.xor_hash?);
    Some(Location { seqnum_id, seqnum, boot_id, monotonic_us, realtime_us, xor_hash })
}

#[cfg(test)]
mod tests {
    use super::super::Wanted;
    use super::*;
    use proptest::prelude::*;

    const CURSORS: [&str; 2] = [
        "s=0639e6d5cd7e4f5f9e6f8b1f6c1e0a01;i=1;b=e0a92cd1e4b4481a93a9fa2d4a5a2b3c;m=5;t=10;x=ab12",
        "s=0639e6d5cd7e4f5f9e6f8b1f6c1e0a01;i=2;b=e0a92cd1e4b4481a93a9fa2d4a5a2b3c;m=6;t=11;x=ab13",
    ];

    fn sample() -> Vec<u8> {
        let mut bytes =
            format!("\n__CURSOR={}\n__REALTIME_TIMESTAMP=16\nMESSAGE=a=b\nOTHER=x\n\n", CURSORS[0]).into_bytes();
        bytes.extend_from_slice(format!("__CURSOR={}\nMESSAGE\n", CURSORS[1]).as_bytes());
        bytes.extend_from_slice(&5_u64.to_le_bytes());
        bytes.extend_from_slice(b"x\n\n\0y\nEMPTY=\n\n");
        bytes
    }

    type Found = Vec<(String, Vec<(String, Vec<u8>)>)>;

    fn read(export: &mut Export, work: &Work) -> Result<Found, ExportError> {
        let (mut found, mut fields) = (Found::new(), Fields::default());
        while let Some((location, _)) = export.next(work, &mut fields)? {
            let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
            found.push((
                location.to_string(),
                fields.iter().map(|(name, value)| (text(name), value.to_vec())).collect(),
            ));
        }
        Ok(found)
    }

    #[test]
    fn entries_in_pieces_of_any_size() {
        let work = Work::new(Wanted::only(["MESSAGE", "EMPTY"]));
        let field = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        let want: Found = vec![
            (CURSORS[0].to_owned(), vec![field("MESSAGE", b"a=b")]),
            (CURSORS[1].to_owned(), vec![field("MESSAGE", b"x\n\n\0y"), field("EMPTY", b"")]),
        ];
        let bytes = sample();
        for size in 1..=bytes.len() {
            let (mut export, mut found) = (Export::default(), Found::new());
            for piece in bytes.chunks(size) {
                export.push(piece);
                found.extend(read(&mut export, &work).unwrap());
            }
            assert_eq!(found, want, "{size}");
        }
    }

    /// In pieces of any size a value that is too large is cut in the same place, and what is more than an entry may have is left out.
    #[test]
    fn what_is_too_large_is_cut() {
        let (work, large) = (Work::new(Wanted::only(["MESSAGE", "A", "B", "C", "N"])), 3 * JOURNALD_FIELD_BYTES);
        let mut bytes = format!("__CURSOR={}\nMESSAGE\n", CURSORS[0]).into_bytes();
        bytes.extend_from_slice(&(large as u64).to_le_bytes());
        bytes.resize(bytes.len() + large, b'\n');
        bytes.extend_from_slice(b"\nA=");
        bytes.resize(bytes.len() + large, b'x');
        for (name, size) in [("UNWANTED", large), ("B", JOURNALD_FIELD_BYTES - 2), ("C", JOURNALD_FIELD_BYTES - 1)] {
            bytes.extend_from_slice(format!("\n{name}=").as_bytes());
            bytes.resize(bytes.len() + size, b'y');
        }
        bytes.extend_from_slice(format!("\n\n__CURSOR={}\nN=1\nC=", CURSORS[1]).as_bytes());
        bytes.resize(bytes.len() + JOURNALD_FIELD_BYTES - 1, b'z');
        bytes.extend_from_slice(b"\n\n");
        for size in [999, 64 * 1024, JOURNALD_FIELD_BYTES + 7, bytes.len()] {
            let (mut export, mut fields, mut found) = (Export::default(), Fields::default(), Vec::new());
            for piece in bytes.chunks(size) {
                export.push(piece);
                while let Some((location, damage)) = export.next(&work, &mut fields).unwrap() {
                    let lengths: Vec<_> = fields.iter().map(|(name, value)| (name.to_vec(), value.len())).collect();
                    found.push((location.seqnum, lengths, damage.cut));
                }
                assert!(export.bytes.len() - export.at <= JOURNALD_NAME_BYTES + 8);
                assert!(export.field.len() <= JOURNALD_FIELD_BYTES);
            }
            let name = |name: &str| name.as_bytes().to_vec();
            let first = vec![(name("MESSAGE"), JOURNALD_FIELD_BYTES - 8), (name("A"), JOURNALD_FIELD_BYTES - 2)];
            let second = vec![(name("N"), 1), (name("C"), JOURNALD_FIELD_BYTES - 2)];
            // Of the first, two came cut and two were too much.
            assert_eq!(found, [(1, first, 4), (2, second, 1)], "{size}");
        }
    }

    #[test]
    fn an_entry_without_a_place_is_damaged() {
        let (work, mut export, mut fields) = (Work::new(Wanted::all()), Export::default(), Fields::default());
        export.push(format!("__CURSOR=x\nA=1\n\n\n__CURSOR={}\nA=2\n\n", CURSORS[1]).as_bytes());
        let (location, damage) = export.next(&work, &mut fields).unwrap().unwrap();
        assert_eq!((location.seqnum, fields.get(b"A"), damage.entries), (2, Some(&b"2"[..]), 1));
    }

    #[test]
    fn what_is_something_else() {
        let work = Work::new(Wanted::all());
        let read = |bytes: &[u8]| {
            let mut export = Export::default();
            export.push(bytes);
            read(&mut export, &work)
        };
        assert_eq!(read(b"no cursor=1\n\n"), Ok(Vec::new()));
        assert!(read(&[b'x'; 1000].map(|byte| byte).iter().copied().chain(*b"\n").collect::<Vec<u8>>()).is_err());
        assert!(read(b"A\n\x01\0\0\0\0\0\0\0xy\n\n").is_err());
        assert!(read(b"=\n\n").is_ok());
        assert!(read(b"A\n\xff\xff\xff\xff\xff\xff\xff\xffxy\n\n").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(pieces in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'='), Just(0), Just(1), any::<u8>()], 0..40), 0..20)) {
            let work = Work::new(Wanted::all());
            let mut export = Export::default();
            for piece in pieces {
                export.push(&piece);
                if read(&mut export, &work).is_err() {
                    break;
                }
            }
        }
    }
}
