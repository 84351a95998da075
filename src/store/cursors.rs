//! The cursors in memory: a table of slots in which a cursor costs 40 bytes beside its own bytes.
//!
//! Promises: applying any records in any order never fails; the snapshot of a table, applied to an empty one, gives the same cursors.
//! Leaves to others: files, and what a key, a meta and a mark mean.

use super::frame;
use super::record::Record;
use crate::base::limits::CHECKPOINT_KEEP_S;
use std::collections::VecDeque;

/// Bytes of a source that were about to be sent, and the time they were stamped with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// First position.
    pub start: u64,
    /// One past the last position.
    pub end: u64,
    /// Nanoseconds since 1970, of the first line.
    pub time_ns: i64,
}

/// A cursor as it was found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Its number, for `commit` and the others.
    pub slot: u32,
    /// What it belongs to; the source's own form.
    pub key: Box<[u8]>,
    /// What the source wanted to remember with it.
    pub meta: Box<[u8]>,
    /// Everything before is stored by every endpoint.
    pub position: u64,
    /// The source's mark of the position.
    pub mark: Box<[u8]>,
    /// What was about to be sent beyond `position`, ascending.
    pub intents: VecDeque<Intent>,
    /// When it was used last, seconds since 1970.
    pub seen_s: i64,
}

impl Saved {
    /// A cursor without intents.
    pub fn new(slot: u32, key: &[u8], meta: &[u8], position: u64, mark: &[u8], seen_s: i64) -> Self {
        let intents = VecDeque::new();
        Saved { slot, key: key.into(), meta: meta.into(), position, mark: mark.into(), intents, seen_s }
    }
}

/// A [`Saved`] that is only looked at: nothing is copied.
#[derive(Debug, Clone, Copy)]
pub struct SavedRef<'a> {
    /// See [`Saved::slot`].
    pub slot: u32,
    /// See [`Saved::key`].
    pub key: &'a [u8],
    /// See [`Saved::meta`].
    pub meta: &'a [u8],
    /// See [`Saved::position`].
    pub position: u64,
    /// See [`Saved::mark`].
    pub mark: &'a [u8],
    /// See [`Saved::intents`].
    pub intents: &'a VecDeque<Intent>,
    /// See [`Saved::seen_s`].
    pub seen_s: i64,
    /// A source has claimed it.
    pub in_use: bool,
}

impl SavedRef<'_> {
    /// A copy that lasts.
    pub fn to_saved(&self) -> Saved {
        let SavedRef { slot, key, meta, position, mark, intents, seen_s, in_use: _ } = *self;
        Saved { intents: intents.clone(), ..Saved::new(slot, key, meta, position, mark, seen_s) }
    }
}

/// In the place of the time: a source uses the cursor now, so it does not age.
const IN_USE: u32 = u32::MAX;
static NO_INTENTS: VecDeque<Intent> = VecDeque::new();

/// One cursor. A host may follow 100,000 files: each byte here is 100 kB there.
#[derive(Debug)]
pub(super) struct Cursor {
    pub position: u64,
    /// Key, meta and mark, one after the other.
    bytes: Box<[u8]>,
    /// Few cursors have any at a time, and a queue in place would make every cursor larger by 24 bytes.
    #[allow(clippy::box_collection, reason = "the box is 8 bytes where the queue is 32")]
    intents: Option<Box<VecDeque<Intent>>>,
    /// Seconds since 1970, enough until 2106, or [`IN_USE`].
    seen_s: u32,
    key_len: u16,
    meta_len: u16,
}

fn joined(key: &[u8], meta: &[u8], mark: &[u8]) -> (Box<[u8]>, u16, u16) {
    let (key, key_len) = cut(key);
    let (meta, meta_len) = cut(meta);
    ([key, meta, cut(mark).0].concat().into(), key_len, meta_len)
}

/// As a record would cut it.
fn cut(bytes: &[u8]) -> (&[u8], u16) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    (&bytes[..usize::from(len)], len)
}

fn seconds(seen_s: i64) -> u32 {
    u32::try_from(seen_s.max(0)).unwrap_or(IN_USE).min(IN_USE - 1)
}

impl Cursor {
    fn new(key: &[u8], meta: &[u8], position: u64, mark: &[u8], seen_s: i64) -> Self {
        let (bytes, key_len, meta_len) = joined(key, meta, mark);
        Cursor { position, bytes, intents: None, seen_s: seconds(seen_s), key_len, meta_len }
    }

    /// Key, meta and mark.
    fn parts(&self) -> (&[u8], &[u8], &[u8]) {
        let (key, rest) = self.bytes.split_at(usize::from(self.key_len).min(self.bytes.len()));
        let (meta, mark) = rest.split_at(usize::from(self.meta_len).min(rest.len()));
        (key, meta, mark)
    }

    pub(super) fn key(&self) -> &[u8] {
        self.parts().0
    }

    pub(super) fn claim(&mut self) {
        self.seen_s = IN_USE;
    }

    pub(super) fn unclaim(&mut self, now_s: i64) {
        self.seen_s = seconds(now_s);
    }

    fn seen_s(&self, now_s: i64) -> i64 {
        if self.seen_s == IN_USE { now_s } else { i64::from(self.seen_s) }
    }

    pub(super) fn rename(&mut self, key: &[u8], meta: &[u8]) {
        let (bytes, key_len, meta_len) = joined(key, meta, self.parts().2);
        (self.bytes, self.key_len, self.meta_len) = (bytes, key_len, meta_len);
    }

    fn set_mark(&mut self, mark: &[u8]) {
        let (mark, _) = cut(mark);
        let at = usize::from(self.key_len) + usize::from(self.meta_len);
        match self.bytes.get_mut(at..) {
            // It changes with every batch and nearly always keeps its length.
            Some(place) if place.len() == mark.len() => place.copy_from_slice(mark),
            _ => {
                let (key, meta, _) = self.parts();
                self.bytes = [key, meta, mark].concat().into();
            }
        }
    }

    /// Moves it; intents that lie before the new position are done.
    pub(super) fn advance(&mut self, position: u64, mark: &[u8]) {
        self.position = position;
        self.set_mark(mark);
        if let Some(intents) = &mut self.intents {
            while intents.front().is_some_and(|intent| intent.end <= position) {
                intents.pop_front();
            }
            if intents.is_empty() {
                self.intents = None;
            }
        }
    }

    /// Puts it elsewhere; its intents are void.
    pub(super) fn restart(&mut self, position: u64, mark: &[u8]) {
        self.position = position;
        self.set_mark(mark);
        self.intents = None;
    }

    /// Adds what is about to be sent. False when it was known: what is sent again after a restart is already written down. Intents ascend;
    /// one for bytes that others speak of replaces them, as the file has other content by now.
    pub(super) fn intend(&mut self, intent: Intent) -> bool {
        let intents = self.intents.get_or_insert_default();
        let place = intents.partition_point(|known| known.end <= intent.start);
        if intents.get(place) == Some(&intent) {
            return false;
        }
        let replaced = intents.iter().skip(place).take_while(|known| known.start < intent.end).count();
        intents.drain(place..place + replaced);
        intents.insert(place, intent);
        true
    }

    fn look(&self, slot: u32, now_s: i64) -> SavedRef<'_> {
        let (key, meta, mark) = self.parts();
        let intents = self.intents.as_deref().unwrap_or(&NO_INTENTS);
        let in_use = self.seen_s == IN_USE;
        SavedRef { slot, key, meta, position: self.position, mark, intents, seen_s: self.seen_s(now_s), in_use }
    }
}

/// All cursors, by slot.
#[derive(Debug, Default)]
pub(super) struct Table {
    cursors: Vec<Option<Cursor>>,
    free: Vec<u32>,
}

/// More cursors than any host has files that are followed; a damaged slot must not make the table huge.
const SLOTS_MAX: usize = 16 * 1024 * 1024;
/// Bytes of frames and fields in a snapshot per cursor, and per intent. Only for the size of a buffer.
const SNAPSHOT_CURSOR_BYTES: usize = 48;
const SNAPSHOT_INTENT_BYTES: usize = 37;

impl Table {
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Cursor> {
        self.cursors.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn look(&self, slot: u32, now_s: i64) -> Option<SavedRef<'_>> {
        Some(self.cursors.get(slot as usize)?.as_ref()?.look(slot, now_s))
    }

    /// A cursor in use, in a free slot.
    pub(super) fn define(&mut self, key: &[u8], meta: &[u8], position: u64, mark: &[u8]) -> u32 {
        let slot = self.free.pop().unwrap_or(self.cursors.len() as u32);
        self.place(slot, Cursor { seen_s: IN_USE, ..Cursor::new(key, meta, position, mark, 0) });
        slot
    }

    fn place(&mut self, slot: u32, cursor: Cursor) {
        let place = slot as usize;
        while self.cursors.len() <= place {
            if self.cursors.len() == self.cursors.capacity() {
                // By an eighth: doubling would leave up to half of a large table unused.
                self.cursors.reserve_exact(64.max(self.cursors.len() / 8));
            }
            self.cursors.push(None);
        }
        self.cursors[place] = Some(cursor);
    }

    /// False when there is no such cursor.
    pub(super) fn forget(&mut self, slot: u32) -> bool {
        let known = self.cursors.get_mut(slot as usize).and_then(Option::take).is_some();
        if known {
            self.free.push(slot);
        }
        known
    }

    /// Drops cursors that nobody has used for long, finds all free slots, and returns the slots that were dropped.
    pub(super) fn forget_old(&mut self, now_s: i64) -> Vec<u32> {
        let mut dropped = Vec::new();
        self.free.clear();
        for (slot, place) in (0u32..).zip(&mut self.cursors) {
            if place.as_ref().is_some_and(|c| now_s.saturating_sub(c.seen_s(now_s)) > CHECKPOINT_KEEP_S) {
                *place = None;
                dropped.push(slot);
            }
            if place.is_none() {
                self.free.push(slot);
            }
        }
        dropped
    }

    pub(super) fn iter(&self, now_s: i64) -> impl Iterator<Item = SavedRef<'_>> {
        (0u32..).zip(&self.cursors).filter_map(move |(slot, cursor)| Some(cursor.as_ref()?.look(slot, now_s)))
    }

    /// What a journal or a snapshot says.
    pub(super) fn apply(&mut self, record: &Record<'_>) {
        match *record {
            Record::Header { .. } | Record::End { .. } | Record::Alone => {}
            Record::Define { slot, seen_s, key, meta } => match self.get_mut(slot) {
                Some(known) => {
                    known.rename(key, meta);
                    known.seen_s = seconds(seen_s);
                }
                None if (slot as usize) < SLOTS_MAX => self.place(slot, Cursor::new(key, meta, 0, b"", seen_s)),
                None => {}
            },
            Record::Move { slot, position, mark } => {
                if let Some(known) = self.get_mut(slot) {
                    known.advance(position, mark);
                }
            }
            Record::Intend { slot, start, end, time_ns } => {
                if let Some(known) = self.get_mut(slot) {
                    known.intend(Intent { start, end, time_ns });
                }
            }
            Record::Restart { slot, position, mark } => {
                if let Some(known) = self.get_mut(slot) {
                    known.restart(position, mark);
                }
            }
            Record::Forget { slot } => {
                if let Some(place) = self.cursors.get_mut(slot as usize) {
                    *place = None;
                }
            }
        }
    }

    /// The content of a snapshot file.
    pub(super) fn snapshot(&self, number: u64, now_s: i64) -> Vec<u8> {
        let size_of = |c: &Cursor| {
            let intents = c.intents.as_ref().map_or(0, |i| i.len());
            c.bytes.len() + SNAPSHOT_CURSOR_BYTES + intents * SNAPSHOT_INTENT_BYTES
        };
        // Grown by doubling it would take three times the space for a moment.
        let mut out = Vec::with_capacity(64 + self.cursors.iter().flatten().map(size_of).sum::<usize>());
        let mut payload = Vec::new();
        let mut count = 0u64;
        let mut put = |record: Record<'_>| {
            payload.clear();
            record.encode(&mut payload);
            frame::append(&mut out, &payload);
            count += 1;
            count
        };
        let mut records = put(Record::Header { number });
        for SavedRef { slot, key, meta, position, mark, intents, seen_s, .. } in self.iter(now_s) {
            put(Record::Define { slot, seen_s, key, meta });
            records = put(Record::Move { slot, position, mark });
            for &Intent { start, end, time_ns } in intents {
                records = put(Record::Intend { slot, start, end, time_ns });
            }
        }
        put(Record::End { count: records });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_small() {
        assert!(size_of::<Option<Cursor>>() <= 40, "{}", size_of::<Option<Cursor>>());
    }

    #[test]
    fn marks_of_any_length_leave_key_and_meta_alone() {
        let mut cursor = Cursor::new(b"key", b"meta", 0, b"", 7);
        for mark in [b"12".as_slice(), b"34", b"", b"567"] {
            cursor.advance(cursor.position + 1, mark);
            assert_eq!(cursor.parts(), (b"key".as_slice(), b"meta".as_slice(), mark));
        }
        cursor.rename(b"k", b"");
        assert_eq!(cursor.parts(), (b"k".as_slice(), b"".as_slice(), b"567".as_slice()));
    }

    #[test]
    fn the_buffer_of_a_snapshot_is_neither_too_small_nor_much_too_large() {
        let mut table = Table::default();
        for n in 0..1000u32 {
            let slot = table.define(&n.to_le_bytes(), b"/var/log/some/file", 0, b"mark");
            if let Some(cursor) = table.get_mut(slot) {
                cursor.intend(Intent { start: 0, end: 1, time_ns: 2 });
            }
        }
        let snapshot = table.snapshot(1, 5);
        assert!(snapshot.capacity() - snapshot.len() < 64, "{} of {}", snapshot.len(), snapshot.capacity());
        assert!(snapshot.capacity() < 200 * 1000);
    }
}
