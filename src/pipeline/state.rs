//! What a pipeline remembers of one file between its lines: entries that wait for their further lines, and its [`Memory`].
//!
//! Promises: an entry that is held owns everything it needs, in recycled buffers. After each chunk it is known from which line on the
//! chunk has to be read again after a crash ([`State::quiet`]): a **quiet** place is one where nothing was held, so that whoever goes on there with an
//! empty state (and the memory of that place) gets the same entries. All is told in the time of the lines, not in the clock's: lines
//! that come again with the same times do the same. Leaves to others: when an entry is complete (`stages`), cursors.

use super::entry::{Entry, Work};
use super::keys::Key;
use crate::base::limits::{PIPELINE_POOL, PIPELINE_POOL_BYTES};
pub use crate::model::flow::Memory;
use crate::model::value::Value;

/// An entry that was put aside.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub raw: String,
    pub time_ns: i64,
    pub read_ns: i64,
    pub tenant: Option<Value>,
    pub work: Work,
    /// Its text so far, and of how many lines.
    pub text: String,
    pub lines: usize,
    /// The key that gets the text as well.
    pub key: Option<Key>,
    /// When it is complete, whatever comes; nanoseconds since 1970.
    pub due_ns: i64,
    /// How long it waits for a further line, nanoseconds.
    wait_ns: i64,
    /// Where the chunk of its first line begins.
    since: u64,
}

impl Held {
    /// Copies what the entry is now, so that it can go on later; `text` becomes its text.
    fn put(&mut self, entry: &Entry<'_>, text: Value) {
        self.raw.clear();
        self.raw.push_str(entry.raw);
        self.time_ns = entry.time_ns;
        self.read_ns = entry.read_ns;
        self.tenant = entry.tenant;
        self.work.copy_from(entry.work());
        self.text.clear();
        self.text.push_str(entry.text(text));
        self.lines = 1;
        self.key = None;
    }

    /// What its texts take.
    fn bytes(&self) -> usize {
        self.raw.capacity() + self.text.capacity() + self.work.bytes()
    }

    /// The entry again, with the text that was gathered.
    pub fn entry(&mut self) -> Entry<'_> {
        let Held { raw, time_ns, read_ns, tenant, work, text, key, .. } = self;
        let mut entry = Entry::resume(raw, *time_ns, *read_ns, work);
        entry.tenant = *tenant;
        entry.line = entry.push(text);
        if let Some(key) = *key {
            entry.extract(key, Some(entry.line));
        }
        entry
    }
}

/// One entry of a stage, by what tells its stream apart.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub stage: usize,
    stream: Vec<u8>,
    pub held: Held,
}

/// What was before something that was held went on.
#[derive(Debug)]
pub(super) struct Resumed {
    memory: Memory,
    before: Option<u64>,
}

/// A place where nothing was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    /// Before this line of the chunk, from 0.
    pub line: usize,
    /// What is known there.
    pub memory: Memory,
}

/// See the module.
#[derive(Debug, Default)]
pub struct State {
    slots: Vec<Slot>,
    /// Buffers to use again.
    pool: Vec<Slot>,
    /// The first time at which something is due.
    due_ns: Option<i64>,
    /// Where the chunk begins, and the number of its line that is run.
    chunk: u64,
    line: usize,
    /// The last line of the chunk before which nothing was held.
    quiet: Option<Quiet>,
    /// What is known, and what it was before the line that is run.
    memory: Memory,
    before: Memory,
    /// They are not the same.
    differs: bool,
    /// The entry that is run began with an earlier line: where the chunk of that begins.
    resumed: Option<u64>,
    /// What is run was sent before.
    replayed: bool,
}

impl State {
    /// The state at a place where nothing is held.
    pub fn new(memory: Memory) -> Self {
        State { memory, before: memory, ..State::default() }
    }

    /// A chunk is about to be run that begins at this place of its file.
    pub fn begin_chunk(&mut self, start: u64) {
        self.chunk = start;
        self.line = 0;
        self.quiet = None;
    }

    /// Whether what is run from now on was sent before. Then stages that drop by what else goes on drop nothing: it would be there in parts.
    pub fn set_replayed(&mut self, replayed: bool) {
        self.replayed = replayed;
    }

    /// See [`State::set_replayed`].
    pub(super) fn is_replayed(&self) -> bool {
        self.replayed
    }

    /// The line of this number is about to be run.
    pub(super) fn begin_line(&mut self, line: usize) {
        self.line = line;
        if std::mem::take(&mut self.differs) {
            self.before = self.memory;
        }
        self.resumed = None;
    }

    /// Something that was held goes on. Gives what is to be said when it is through.
    pub(super) fn resume(&mut self, held: &Held) -> Resumed {
        Resumed { memory: self.memory, before: self.resumed.replace(held.since) }
    }

    /// It is through: what it left is there before the line that is run.
    pub(super) fn resumed(&mut self, resumed: Resumed) {
        if self.memory != resumed.memory {
            self.before = self.memory;
        }
        self.resumed = resumed.before;
    }

    /// The last quiet place of the chunk, if something is held now: without any, it is before the chunk. Where nothing is held every place is
    /// quiet.
    pub fn quiet(&self) -> Option<Quiet> {
        self.quiet
    }

    /// What is known now.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// What is read next was read before, and this was known then.
    pub fn set_memory(&mut self, memory: Memory) {
        self.memory = memory;
        self.differs = true;
    }

    /// What is known now, to be changed.
    pub(super) fn memory_mut(&mut self) -> &mut Memory {
        self.differs = true;
        &mut self.memory
    }

    /// Where the first chunk begins of which something is held.
    pub fn held_since(&self) -> Option<u64> {
        self.slots.iter().map(|slot| slot.held.since).min()
    }

    /// Whether something is held.
    pub fn is_holding(&self) -> bool {
        !self.slots.is_empty()
    }

    /// What it takes that something is held, bytes.
    pub fn held_bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.held.bytes()).sum()
    }

    /// When the first of what is held is complete, whatever comes; nanoseconds since 1970.
    pub fn due_ns(&self) -> Option<i64> {
        self.due_ns
    }

    /// What a stage holds for a stream. If its time is changed, [`State::set_due`] has to be called.
    pub(super) fn held(&mut self, stage: usize, stream: &[u8]) -> Option<&mut Held> {
        let is_it = |slot: &&mut Slot| slot.stage == stage && slot.stream == stream;
        self.slots.iter_mut().find(is_it).map(|slot| &mut slot.held)
    }

    /// Begins to hold an entry with this text; nothing may be held there. How many a stage holds is its own affair.
    pub(super) fn hold(
        &mut self,
        stage: usize,
        stream: &[u8],
        (now_ns, wait_ns): (i64, i64),
        entry: &Entry<'_>,
        text: Value,
    ) {
        if self.slots.is_empty() && self.resumed.is_none() {
            self.quiet = Some(Quiet { line: self.line, memory: self.before });
        }
        let mut slot = self.pool.pop().unwrap_or_default();
        slot.stage = stage;
        slot.stream.clear();
        slot.stream.extend_from_slice(stream);
        slot.held.put(entry, text);
        slot.held.due_ns = now_ns.saturating_add(wait_ns);
        slot.held.wait_ns = wait_ns;
        slot.held.since = self.resumed.unwrap_or(self.chunk);
        self.slots.push(slot);
        self.set_due();
    }

    /// What is held waits on from now, as if its last line had come only now: the next ones were there all the time.
    pub fn go_on(&mut self, now_ns: i64) {
        for Slot { held, .. } in &mut self.slots {
            held.due_ns = held.due_ns.max(now_ns.saturating_add(held.wait_ns));
        }
        self.set_due();
    }

    /// Finds anew what is due first.
    pub(super) fn set_due(&mut self) {
        self.due_ns = self.slots.iter().map(|slot| slot.held.due_ns).min();
    }

    /// How much a stage holds.
    pub(super) fn count(&self, stage: usize) -> usize {
        self.slots.iter().filter(|slot| slot.stage == stage).count()
    }

    /// The stream of the oldest entry that a stage holds.
    pub(super) fn oldest(&self, stage: usize, stream: &mut Vec<u8>) -> bool {
        let Some(slot) = self.slots.iter().find(|slot| slot.stage == stage) else { return false };
        stream.clear();
        stream.extend_from_slice(&slot.stream);
        true
    }

    /// Takes what a stage holds for a stream. It must be given back with [`State::give_back`].
    pub(super) fn take(&mut self, stage: usize, stream: &[u8]) -> Option<Slot> {
        let at = self.slots.iter().position(|slot| slot.stage == stage && slot.stream == stream)?;
        self.take_at(at)
    }

    /// Takes the oldest of what is due at `now_ns`; of everything, without a time.
    pub(super) fn take_due(&mut self, now_ns: Option<i64>) -> Option<Slot> {
        let at = self.slots.iter().position(|slot| now_ns.is_none_or(|now| slot.held.due_ns <= now))?;
        self.take_at(at)
    }

    fn take_at(&mut self, at: usize) -> Option<Slot> {
        let slot = self.slots.remove(at);
        self.set_due();
        Some(slot)
    }

    /// What was taken has become part of the entry of the line that is run, whose buffers are used again.
    pub(super) fn join(&mut self, slot: Slot) {
        let since = slot.held.since;
        self.resumed = Some(self.resumed.map_or(since, |other| other.min(since)));
        self.give_back(slot);
    }

    /// The buffers of what was taken are used again.
    pub(super) fn give_back(&mut self, slot: Slot) {
        if self.pool.len() < PIPELINE_POOL && slot.held.bytes() <= PIPELINE_POOL_BYTES {
            self.pool.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::keys::Names;
    use std::sync::Arc;

    #[test]
    fn quiet_is_before_the_line_that_is_held_first() {
        let mut work = Work::new(Arc::default(), 0, &Names::default());
        let entry = Entry::begin("x", 0, &mut work);
        let at = |time_ns, open_key| {
            let mut memory = Memory::default();
            memory.open_key = open_key;
            memory.set(1, time_ns);
            memory
        };
        let mut state = State::new(at(7, 0));
        state.begin_chunk(100);
        assert_eq!((state.quiet(), state.is_holding(), state.due_ns()), (None, false, None));
        state.begin_line(3);
        state.memory_mut().open_key = 1;
        state.hold(1, b"a", (0, 50), &entry, entry.line);
        state.memory_mut().set(1, 8);
        state.begin_line(4);
        state.hold(1, b"b", (0, 40), &entry, entry.line);
        assert_eq!((state.due_ns(), state.count(1), state.held_since()), (Some(40), 2, Some(100)));
        assert_eq!(state.quiet(), Some(Quiet { line: 3, memory: at(7, 0) }));
        state.begin_chunk(200);
        state.begin_line(0);
        let taken = state.take(1, b"a").unwrap();
        state.give_back(taken);
        state.hold(1, b"a", (0, 60), &entry, entry.line);
        // One was held all the time.
        assert_eq!((state.quiet(), state.held_since()), (None, Some(100)));
        assert!(state.take_due(Some(39)).is_none());
        state.go_on(5);
        assert_eq!(state.due_ns(), Some(45));
        assert_eq!(state.take_due(Some(45)).map(|slot| slot.stream), Some(b"b".to_vec()));
        assert_eq!((state.held_since(), state.due_ns()), (Some(200), Some(65)));
        assert!(state.take_due(None).is_some());
        state.begin_line(5);
        assert_eq!(state.held_bytes(), 0);
        state.hold(1, b"c", (0, 60), &entry, entry.line);
        assert!(state.held_bytes() >= 2);
        assert_eq!(state.quiet(), Some(Quiet { line: 5, memory: at(8, 1) }));
    }
}
