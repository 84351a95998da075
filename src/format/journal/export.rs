//! The export format: entries as `journalctl -o export` prints them.
//!
//! A field is a line `NAME=value`, or, if its value may be any bytes, a line with the name, the value's length in eight bytes (little-endian), the
//! value, and a newline. An empty line ends an entry (systemd's Journal Export Formats).
//!
//! Promises: bounded in memory whatever comes: what is too large of a field is left out; each byte is looked at once or twice. Leaves to others:
//! where the bytes come from.

use super::Work;
use super::cursor::{Cursor, Location};
use super::fields::Fields;
use crate::base::limits::{JOURNALD_BUFFER_BYTES, JOURNALD_ENTRY_BYTES, JOURNALD_FIELD_BYTES, JOURNALD_NAME_BYTES};
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
    /// Where the entry begins that is not complete yet, and up to where its fields are known.
    start: usize,
    at: usize,
    /// Its fields: where the name ends, and from where to where the value is.
    fields: Vec<(usize, usize, usize, usize)>,
    /// Bytes that are left out, as they come.
    skip: u64,
    /// The rest of a line is left out.
    skip_line: bool,
}

/// What the cursor of an entry comes under.
const CURSOR: &[u8] = b"__CURSOR";

impl Export {
    /// Takes more bytes in.
    pub fn push(&mut self, mut more: &[u8]) {
        if self.start > 0 && self.start == self.bytes.len() {
            self.forget_read();
        }
        if self.skip > 0 {
            let count = more.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= count as u64;
            more = more.get(count..).unwrap_or_default();
        }
        if self.skip_line {
            let Some(end) = memchr::memchr(b'\n', more) else { return };
            self.skip_line = false;
            more = more.get(end + 1..).unwrap_or_default();
        }
        self.bytes.extend_from_slice(more);
    }

    /// The next complete entry: its place, and its wanted fields in `fields`. `None`: more bytes are needed. After an error nothing that comes means
    /// anything.
    pub fn next(&mut self, work: &Work, fields: &mut Fields) -> Result<Option<Location>, ExportError> {
        while self.scan()? {
            let found = self.entry(work, fields);
            self.fields.clear();
            self.start = self.at;
            if found.is_some() {
                return Ok(found);
            }
        }
        if self.start > JOURNALD_BUFFER_BYTES {
            self.forget_read();
        }
        Ok(None)
    }

    /// Goes on to the end of the entry. False if it is not there yet.
    fn scan(&mut self) -> Result<bool, ExportError> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(len) = memchr::memchr(b'\n', rest) else {
                if rest.len() > JOURNALD_FIELD_BYTES {
                    self.bytes.truncate(self.at);
                    self.skip_line = true;
                }
                return Ok(false);
            };
            let line = rest.get(..len).unwrap_or_default();
            if line.is_empty() {
                self.at += 1;
                if !self.fields.is_empty() {
                    return Ok(true);
                }
                self.start = self.at;
                continue;
            }
            let begin = self.at;
            match memchr::memchr(b'=', line) {
                Some(name) => {
                    self.keep((begin, begin + name, begin + name + 1, begin + len));
                    self.at += len + 1;
                }
                None if len > JOURNALD_NAME_BYTES => return Err(ExportError { what: "a line has no name" }),
                None => {
                    let Some(size) = rest.get(len + 1..).and_then(|rest| rest.first_chunk()) else { return Ok(false) };
                    let size = u64::from_le_bytes(*size);
                    let value = begin + len + 1 + size_of::<u64>();
                    if size > JOURNALD_FIELD_BYTES as u64 {
                        let there = self.bytes.len().saturating_sub(value) as u64;
                        let all = size.checked_add(1).ok_or(ExportError { what: "a field is larger than can be" })?;
                        let skipped = there.min(all);
                        self.skip = all - skipped;
                        // Not more than there is.
                        let end = value + usize::try_from(skipped).unwrap_or_default();
                        self.bytes.drain(begin..end);
                        continue;
                    }
                    let end = value + usize::try_from(size).unwrap_or(usize::MAX / 2);
                    match self.bytes.get(end) {
                        None => return Ok(false),
                        Some(b'\n') => self.keep((begin, begin + len, value, end)),
                        Some(_) => return Err(ExportError { what: "a field does not end where it should" }),
                    }
                    self.at = end + 1;
                }
            }
        }
    }

    /// Keeps a field, if there is room.
    fn keep(&mut self, field: (usize, usize, usize, usize)) {
        if self.at - self.start <= 2 * JOURNALD_ENTRY_BYTES {
            self.fields.push(field);
        } else {
            // An entry without end.
            self.start = self.at;
            self.fields.clear();
        }
    }

    fn entry(&self, work: &Work, fields: &mut Fields) -> Option<Location> {
        fields.clear();
        let mut found = None;
        for (begin, name_end, value, end) in &self.fields {
            let name = self.bytes.get(*begin..*name_end)?;
            let value = self.bytes.get(*value..*end)?;
            if name == CURSOR {
                found = std::str::from_utf8(value).ok().and_then(|text| Cursor::from_str(text).ok()).and_then(whole);
            } else if !name.starts_with(b"__") && work.wanted.has(name) {
                fields.push_parts(name, value);
            }
        }
        found
    }

    fn forget_read(&mut self) {
        self.bytes.drain(..self.start);
        let start = std::mem::take(&mut self.start);
        self.at -= start;
        for (begin, name, value, end) in &mut self.fields {
            (*begin, *name, *value, *end) = (*begin - start, *name - start, *value - start, *end - start);
        }
        if self.bytes.capacity() > 2 * JOURNALD_BUFFER_BYTES {
            self.bytes.shrink_to(JOURNALD_BUFFER_BYTES);
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
        while let Some(location) = export.next(work, &mut fields)? {
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

    #[test]
    fn what_is_too_large_is_left_out() {
        let work = Work::new(Wanted::all());
        let mut export = Export::default();
        let entry = |n: usize| format!("__CURSOR={}\nN={n}\n", CURSORS[n]);
        export.push(entry(0).as_bytes());
        export.push(b"BIG\n");
        let size = 3 * JOURNALD_FIELD_BYTES;
        export.push(&(size as u64).to_le_bytes());
        for _ in 0..3 {
            export.push(&vec![b'\n'; JOURNALD_FIELD_BYTES]);
            assert_eq!(read(&mut export, &work), Ok(Vec::new()));
            assert!(export.bytes.len() <= JOURNALD_FIELD_BYTES + 1000);
        }
        export.push(b"\nLONG=");
        for _ in 0..8 {
            export.push(&vec![b'x'; JOURNALD_FIELD_BYTES / 3]);
            assert_eq!(read(&mut export, &work), Ok(Vec::new()));
            assert!(export.bytes.len() <= 2 * JOURNALD_FIELD_BYTES);
        }
        export.push(format!("\n\n{}\n", entry(1)).as_bytes());
        let found = read(&mut export, &work).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|(_, fields)| fields.len() == 1 && fields[0].0 == "N"), "{found:?}");
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
