//! The cursors in memory: a table of slots in which a cursor costs 40 bytes beside what it does not share with others.
//!
//! Keys of one source and metas of one directory are alike but for a part in their midst or at their end: only that part is kept with each
//! cursor, the rest (`shared`) once for all that have it.
//!
//! Promises: applying any records in any order never fails; the snapshot of a table, applied to an empty one, gives the same cursors.
//! Leaves to others: files, and what a key, a meta and a mark mean.

use super::frame;
use super::record::Record;
use super::shared::{self, Shared};
use crate::base::limits::CHECKPOINT_KEEP_S;
use crate::model::flow::Note;
use std::collections::VecDeque;
use std::io::{self, Write};

/// Bytes of a source that were about to be sent, and the time they were stamped with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// First position.
    pub start: u64,
    /// One past the last position.
    pub end: u64,
    /// Nanoseconds since 1970, of the first line.
    pub time_ns: i64,
    /// They went into the source's merged stream instead of their own.
    pub merged: bool,
    /// For a pipeline.
    pub note: Note,
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
    /// Lengths of the next two; the own parts of key and meta; the mark.
    bytes: Box<[u8]>,
    /// Few cursors have any at a time, and a queue in place would make every cursor larger by 24 bytes.
    #[allow(clippy::box_collection, reason = "the box is 8 bytes where the queue is 32")]
    intents: Option<Box<VecDeque<Intent>>>,
    /// Where the other parts of key and meta are.
    shared: u32,
    /// Seconds since 1970, enough until 2106, or [`IN_USE`].
    seen_s: u32,
}

/// Bytes of the two lengths.
const LENGTHS: usize = 4;

fn joined(key: &[u8], meta: &[u8], mark: &[u8]) -> Box<[u8]> {
    let ((key, key_len), (meta, meta_len)) = (cut(key), cut(meta));
    [&key_len.to_le_bytes(), &meta_len.to_le_bytes(), key, meta, cut(mark).0].concat().into()
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
    /// The own parts of key and meta, and the mark.
    fn parts(&self) -> (&[u8], &[u8], &[u8]) {
        let length = |at: usize| match self.bytes.get(at..at + 2) {
            Some([low, high]) => usize::from(u16::from_le_bytes([*low, *high])),
            _ => 0,
        };
        let rest = self.bytes.get(LENGTHS..).unwrap_or_default();
        let (key, rest) = rest.split_at(length(0).min(rest.len()));
        let (meta, mark) = rest.split_at(length(2).min(rest.len()));
        (key, meta, mark)
    }

    fn claim(&mut self) {
        self.seen_s = IN_USE;
    }

    pub(super) fn unclaim(&mut self, now_s: i64) {
        self.seen_s = seconds(now_s);
    }

    fn seen_s(&self, now_s: i64) -> i64 {
        if self.seen_s == IN_USE { now_s } else { i64::from(self.seen_s) }
    }

    fn set_mark(&mut self, mark: &[u8]) {
        let (mark, _) = cut(mark);
        let (key, meta, _) = self.parts();
        let at = LENGTHS + key.len() + meta.len();
        match self.bytes.get_mut(at..) {
            // It changes with every batch and nearly always keeps its length.
            Some(place) if place.len() == mark.len() => place.copy_from_slice(mark),
            _ => {
                let (key, meta, _) = self.parts();
                self.bytes = joined(key, meta, mark);
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
        // What has no length stands behind all that ends where it is.
        if intent.start == intent.end
            && intents.iter().take(place).rev().take_while(|i| i.start == i.end).any(|i| *i == intent)
        {
            return false;
        }
        let replaced = intents.iter().skip(place).take_while(|known| known.start < intent.end).count();
        intents.drain(place..place + replaced);
        intents.insert(place, intent);
        true
    }
}

/// All cursors, by slot.
#[derive(Debug, Default)]
pub(super) struct Table {
    cursors: Vec<Option<Cursor>>,
    free: Vec<u32>,
    shared: Shared,
}

/// More cursors than any host has files that are followed; a damaged slot must not make the table huge.
const SLOTS_MAX: usize = 16 * 1024 * 1024;

impl Table {
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Cursor> {
        self.cursors.get_mut(slot as usize)?.as_mut()
    }

    /// Shows a cursor, if there is one in this slot.
    pub(super) fn look_at<T>(&self, slot: u32, now_s: i64, look: impl FnOnce(SavedRef<'_>) -> T) -> Option<T> {
        let cursor = self.cursors.get(slot as usize)?.as_ref()?;
        Some(self.show(slot, cursor, now_s, &mut Vec::new(), look))
    }

    /// Shows all cursors, one after the other.
    pub(super) fn for_each(&self, now_s: i64, mut look: impl FnMut(SavedRef<'_>)) {
        let mut buffer = Vec::new();
        for (slot, cursor) in (0u32..).zip(&self.cursors) {
            if let Some(cursor) = cursor {
                self.show(slot, cursor, now_s, &mut buffer, &mut look);
            }
        }
    }

    fn show<T>(
        &self,
        slot: u32,
        cursor: &Cursor,
        now_s: i64,
        buffer: &mut Vec<u8>,
        look: impl FnOnce(SavedRef<'_>) -> T,
    ) -> T {
        let (own_key, own_meta, mark) = cursor.parts();
        let (key, meta) = self.shared.whole(cursor.shared, own_key, own_meta, buffer);
        let intents = cursor.intents.as_deref().unwrap_or(&NO_INTENTS);
        let in_use = cursor.seen_s == IN_USE;
        let (position, seen_s) = (cursor.position, cursor.seen_s(now_s));
        look(SavedRef { slot, key, meta, position, mark, intents, seen_s, in_use })
    }

    /// A cursor in use, in a free slot.
    pub(super) fn define(&mut self, key: &[u8], meta: &[u8], position: u64, mark: &[u8]) -> u32 {
        let slot = self.free.pop().unwrap_or(self.cursors.len() as u32);
        let cursor = self.cursor(key, meta, position, mark, IN_USE);
        self.place(slot, cursor);
        slot
    }

    fn cursor(&mut self, key: &[u8], meta: &[u8], position: u64, mark: &[u8], seen_s: u32) -> Cursor {
        let (key, meta) = (cut(key).0, cut(meta).0);
        let shared = self.shared.add(key, meta);
        let bytes = joined(shared::own_key(key), shared::own_meta(meta), mark);
        Cursor { position, bytes, intents: None, shared, seen_s }
    }

    /// The cursor is in use from now on. False if there is none with this key in the slot.
    pub(super) fn claim(&mut self, slot: u32, key: &[u8]) -> bool {
        let has_key = self.look_at(slot, 0, |saved| saved.key == key) == Some(true);
        if has_key && let Some(cursor) = self.get_mut(slot) {
            cursor.claim();
        }
        has_key
    }

    /// Replaces key and meta. The cursor is in use, or was seen then. False when there is no such cursor.
    pub(super) fn rename(&mut self, slot: u32, key: &[u8], meta: &[u8], seen_s: Option<i64>) -> bool {
        let Some(before) = self.cursors.get_mut(slot as usize).and_then(Option::take) else { return false };
        let seen_s = seen_s.map_or(IN_USE, seconds);
        let renamed = self.cursor(key, meta, before.position, before.parts().2, seen_s);
        self.shared.remove(before.shared);
        self.place(slot, Cursor { intents: before.intents, ..renamed });
        true
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
        let known = self.take(slot);
        if known {
            self.free.push(slot);
        }
        known
    }

    fn take(&mut self, slot: u32) -> bool {
        let taken = self.cursors.get_mut(slot as usize).and_then(Option::take);
        if let Some(cursor) = &taken {
            self.shared.remove(cursor.shared);
        }
        taken.is_some()
    }

    /// Drops cursors that nobody has used for long, finds all free slots, and returns the slots that were dropped.
    pub(super) fn forget_old(&mut self, now_s: i64) -> Vec<u32> {
        let mut dropped = Vec::new();
        self.free.clear();
        for (slot, place) in (0u32..).zip(&mut self.cursors) {
            let is_old = |c: &mut Cursor| now_s.saturating_sub(c.seen_s(now_s)) > CHECKPOINT_KEEP_S;
            if let Some(cursor) = place.take_if(is_old) {
                self.shared.remove(cursor.shared);
                dropped.push(slot);
            }
            if place.is_none() {
                self.free.push(slot);
            }
        }
        dropped
    }

    /// What a journal or a snapshot says.
    pub(super) fn apply(&mut self, record: &Record<'_>) {
        match *record {
            Record::Header { .. } | Record::End { .. } | Record::Alone => {}
            Record::Define { slot, seen_s, key, meta } => {
                if !self.rename(slot, key, meta, Some(seen_s)) && (slot as usize) < SLOTS_MAX {
                    let cursor = self.cursor(key, meta, 0, b"", seconds(seen_s));
                    self.place(slot, cursor);
                }
            }
            Record::Move { slot, position, mark } => {
                if let Some(known) = self.get_mut(slot) {
                    known.advance(position, mark);
                }
            }
            Record::Intend { slot, start, end, time_ns, merged, note } => {
                if let Some(known) = self.get_mut(slot) {
                    known.intend(Intent { start, end, time_ns, merged, note });
                }
            }
            Record::Restart { slot, position, mark } => {
                if let Some(known) = self.get_mut(slot) {
                    known.restart(position, mark);
                }
            }
            Record::Forget { slot } => {
                self.take(slot);
            }
        }
    }

    /// Writes the content of a snapshot file, in small pieces. Gives its size.
    pub(super) fn snapshot(&self, number: u64, now_s: i64, out: &mut impl Write) -> io::Result<u64> {
        let (mut payload, mut framed) = (Vec::new(), Vec::new());
        let (mut count, mut bytes) = (0u64, 0u64);
        let mut result = Ok(());
        let mut put = |record: Record<'_>| {
            payload.clear();
            framed.clear();
            record.encode(&mut payload);
            frame::append(&mut framed, &payload);
            if result.is_ok() {
                result = out.write_all(&framed);
            }
            count += 1;
            bytes += framed.len() as u64;
            count
        };
        let mut records = put(Record::Header { number });
        self.for_each(now_s, |SavedRef { slot, key, meta, position, mark, intents, seen_s, .. }| {
            put(Record::Define { slot, seen_s, key, meta });
            records = put(Record::Move { slot, position, mark });
            for &Intent { start, end, time_ns, merged, note } in intents {
                records = put(Record::Intend { slot, start, end, time_ns, merged, note });
            }
        });
        put(Record::End { count: records });
        result.map(|()| bytes)
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
        let mut table = Table::default();
        let slot = table.define(b"key", b"/some/meta", 0, b"");
        let seen =
            |table: &Table| table.look_at(slot, 0, |c| (c.key.to_vec(), c.meta.to_vec(), c.mark.to_vec())).unwrap();
        for mark in [b"12".as_slice(), b"34", b"", b"567"] {
            table.get_mut(slot).unwrap().advance(1, mark);
            assert_eq!(seen(&table), (b"key".to_vec(), b"/some/meta".to_vec(), mark.to_vec()));
        }
        assert!(table.rename(slot, b"k", b"", None));
        assert_eq!(seen(&table), (b"k".to_vec(), Vec::new(), b"567".to_vec()));
    }
}
