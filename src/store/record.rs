//! What the frames of a checkpoint file say.
//!
//! One byte of kind, then the fields in order: numbers little-endian, byte strings after a `u16` length.
//!
//! Promises: any bytes decode to a record or to `None`; what [`Record::encode`] writes, [`Record::decode`] reads.

use crate::base::limits::MEMORY_STREAMS;
use crate::model::flow::{Memory, Note};

/// A change of a cursor, or a mark of the file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// First in each file: the format and the file's number.
    Header { number: u64 },
    /// Last in each snapshot: how many records came before.
    End { count: u64 },
    /// A cursor: its slot in this file, its key, what its source wants to remember with it, when it was seen last (s since 1970).
    Define { slot: u32, seen_s: i64, key: &'a [u8], meta: &'a [u8] },
    /// Everything before `position` is stored; `mark` is the source's.
    Move { slot: u32, position: u64, mark: &'a [u8] },
    /// These bytes are about to be sent under this time; `merged`: not to their own stream but to the merged one; `note`: for a pipeline.
    Intend { slot: u32, start: u64, end: u64, time_ns: i64, merged: bool, note: Note },
    /// The cursor starts again at `position`; its intents are void.
    Restart { slot: u32, position: u64, mark: &'a [u8] },
    /// The cursor is gone.
    Forget { slot: u32 },
    /// Second in a journal before which something is missing: it counts only over the snapshot of its own number.
    Alone,
}

/// Version of the format, in the header.
const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"luggerck";

impl<'a> Record<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Record::Header { number } => {
                out.push(0);
                out.extend_from_slice(MAGIC);
                out.extend_from_slice(&FORMAT.to_le_bytes());
                out.extend_from_slice(&number.to_le_bytes());
            }
            Record::End { count } => {
                out.push(1);
                out.extend_from_slice(&count.to_le_bytes());
            }
            Record::Define { slot, seen_s, key, meta } => {
                out.push(2);
                out.extend_from_slice(&slot.to_le_bytes());
                out.extend_from_slice(&seen_s.to_le_bytes());
                put_bytes(out, key);
                put_bytes(out, meta);
            }
            Record::Move { slot, position, mark } => {
                out.push(3);
                out.extend_from_slice(&slot.to_le_bytes());
                out.extend_from_slice(&position.to_le_bytes());
                put_bytes(out, mark);
            }
            Record::Intend { slot, start, end, time_ns, merged, note } => {
                out.push(match (note == Note::default(), merged) {
                    (true, false) => 4,
                    (true, true) => 8,
                    (false, _) => 9,
                });
                out.extend_from_slice(&slot.to_le_bytes());
                out.extend_from_slice(&start.to_le_bytes());
                out.extend_from_slice(&end.to_le_bytes());
                out.extend_from_slice(&time_ns.to_le_bytes());
                if note != Note::default() {
                    let Note { released, all, goes_on, memory } = note;
                    let flags = [merged, released, goes_on, all, memory.open_key > 0];
                    out.push(flags.iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(*flag)));
                    out.extend((memory.open_key > 0).then_some(memory.open_key));
                    out.push(memory.iter().count() as u8);
                    for (key, time_ns) in memory.iter() {
                        out.extend_from_slice(&key.to_le_bytes());
                        out.extend_from_slice(&time_ns.to_le_bytes());
                    }
                }
            }
            Record::Restart { slot, position, mark } => {
                out.push(5);
                out.extend_from_slice(&slot.to_le_bytes());
                out.extend_from_slice(&position.to_le_bytes());
                put_bytes(out, mark);
            }
            Record::Forget { slot } => {
                out.push(6);
                out.extend_from_slice(&slot.to_le_bytes());
            }
            Record::Alone => out.push(7),
        }
    }

    pub(super) fn decode(payload: &'a [u8]) -> Option<Self> {
        let mut input = Input(payload);
        let kind = input.array::<1>()?[0];
        let record = match kind {
            0 => {
                if &input.array::<8>()? != MAGIC || input.u32()? != FORMAT {
                    return None;
                }
                Record::Header { number: input.u64()? }
            }
            1 => Record::End { count: input.u64()? },
            2 => Record::Define { slot: input.u32()?, seen_s: input.i64()?, key: input.bytes()?, meta: input.bytes()? },
            3 => Record::Move { slot: input.u32()?, position: input.u64()?, mark: input.bytes()? },
            4 | 8 | 9 => {
                let (slot, start, end, time_ns) = (input.u32()?, input.u64()?, input.u64()?, input.i64()?);
                let flags = if kind == 9 { input.array::<1>()?[0] } else { u8::from(kind == 8) };
                let memory = if kind == 9 { memory(&mut input, flags & 16 != 0)? } else { Memory::default() };
                let note = Note { released: flags & 2 != 0, goes_on: flags & 4 != 0, all: flags & 8 != 0, memory };
                Record::Intend { slot, start, end, time_ns, merged: flags & 1 != 0, note }
            }
            5 => Record::Restart { slot: input.u32()?, position: input.u64()?, mark: input.bytes()? },
            6 => Record::Forget { slot: input.u32()? },
            7 => Record::Alone,
            _ => return None,
        };
        input.0.is_empty().then_some(record)
    }
}

/// What a pipeline knew. The oldest is last, so that it is put in first.
fn memory(input: &mut Input<'_>, has_key: bool) -> Option<Memory> {
    let mut memory = Memory::default();
    if has_key {
        memory.open_key = input.array::<1>()?[0];
    }
    let count = usize::from(input.array::<1>()?[0]);
    let mut known = [(0, 0); MEMORY_STREAMS];
    for place in known.get_mut(..count)? {
        *place = (input.u32()?, input.i64()?);
    }
    known.iter().rev().filter(|(key, _)| *key != 0).for_each(|(key, time_ns)| memory.set(*key, *time_ns));
    Some(memory)
}

/// Keys, metas and marks are bounded by their makers far below 64 KiB; a longer one is cut and will not be recognised again.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&bytes[..usize::from(len)]);
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            slot: u32, number: u64, end: u64, time: i64, merged: bool, releases: (bool, bool), goes_on: bool, open_key: u8,
            known in prop::collection::vec((1..u32::MAX, any::<i64>()), 0..12),
            key in prop::collection::vec(any::<u8>(), 0..50),
            meta in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let (released, all) = releases;
            let mut memory = Memory::default();
            memory.open_key = open_key;
            known.iter().for_each(|(key, time_ns)| memory.set(*key, *time_ns));
            let note = Note { released, all, goes_on, memory };
            for record in [
                Record::Header { number },
                Record::End { count: number },
                Record::Define { slot, seen_s: time, key: &key, meta: &meta },
                Record::Move { slot, position: number, mark: &meta },
                Record::Intend { slot, start: number, end, time_ns: time, merged, note: Note::default() },
                Record::Intend { slot, start: number, end, time_ns: time, merged, note },
                Record::Restart { slot, position: number, mark: &meta },
                Record::Forget { slot },
                Record::Alone,
            ] {
                let mut bytes = Vec::new();
                record.encode(&mut bytes);
                prop_assert_eq!(Record::decode(&bytes), Some(record));
                // Neither a prefix nor an extension is a record.
                prop_assert_eq!(Record::decode(&bytes[..bytes.len() - 1]), None);
                bytes.push(0);
                prop_assert_eq!(Record::decode(&bytes), None);
            }
        }

        #[test]
        fn any_bytes_decode_or_do_not(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Record::decode(&bytes);
        }
    }
}
