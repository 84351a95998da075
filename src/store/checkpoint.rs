//! Checkpoints: how far each cursor has been stored by the endpoints, and what is about to be sent under which time.
//!
//! On disk, in the state directory: numbered pairs of a **snapshot** (all cursors) and a **journal** (what changed since, appended).
//! `checkpoint-7.snapshot` is `checkpoint-6.snapshot` with `checkpoint-6.journal` applied; the pair before the current one is
//! kept, so that a damaged snapshot costs nothing. A snapshot is written beside, synced, renamed, and its directory synced.
//!
//! Promises: after `kill -9` at any moment the journal has everything that was appended (the page cache survives the process); after
//! a power loss at most the last second is missing, and missing means an older cursor, never a newer one. A torn tail of
//! the journal is cut; a damaged file is set aside as `*.damaged` and reported; neither stops the start. When the disk is full, work goes on
//! and the journal is written anew when there is room. Leaves to others: what a cursor's position and mark mean.

use super::frame::{self, Frames};
use super::record::Record;
use crate::base::atomic_file;
use crate::base::clock::Clock;
use crate::base::limits::{CHECKPOINT_KEEP_S, JOURNAL_BYTES, JOURNAL_SYNC_MS};
use crate::base::metrics::{Counter, Registry};
use rustix::fs::{FlockOperation, flock};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be made, read or written.
    #[error("state directory {}: cannot {action}: {source}; it must exist or be creatable, and be writable by this user", path.display())]
    Io {
        /// The directory or a file in it.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Somebody else has it.
    #[error("state directory {}: another lugger is using it; stop that one or give this one its own state_dir", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
}

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
    /// Its number, for [`Checkpoints::commit`] and the others.
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
    /// Whether a source uses it now, so that it does not age.
    claimed: bool,
}

/// How often the age of claimed cursors is written down when nothing else happens.
const AGE_PERIOD: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
struct Journal {
    file: Arc<File>,
    number: u64,
    /// Length up to which the file is good.
    bytes: u64,
}

#[derive(Debug)]
struct State {
    entries: Vec<Option<Saved>>,
    free: Vec<u32>,
    journal: Journal,
    /// Size of the last snapshot.
    snapshot_bytes: u64,
    /// Appended since the last sync.
    dirty: bool,
    /// The journal lacks something: only a new snapshot heals it.
    broken: bool,
    stop: bool,
    scratch: Vec<u8>,
    payload: Vec<u8>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
    write_errors: Counter,
    clock: Clock,
    _lock: File,
}

/// The open checkpoints. Cheap to clone; the last clone's drop stops the syncing thread after a final sync.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    shared: Arc<Shared>,
    keeper: Arc<Keeper>,
}

#[derive(Debug)]
struct Keeper {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Checkpoints {
    /// Opens (and if need be makes) the state directory, reads what is there and begins a new pair of files. Cursors
    /// that nobody claimed for [`CHECKPOINT_KEEP_S`] are dropped.
    pub fn open(directory: &Path, clock: Clock, registry: &Registry) -> Result<Self, StoreError> {
        let now_s = now_s(&clock);
        let fail = |action| {
            let path = directory.to_path_buf();
            move |source| StoreError::Io { path, action, source }
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail("create it"))?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join("lock"))
            .map_err(fail("open its lock file"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| StoreError::Locked { path: directory.to_path_buf() })?;
        let damaged =
            registry.counter("lugger_checkpoint_damaged_total", "Checkpoint files found damaged and set aside.", &[]);
        let write_errors =
            registry.counter("lugger_checkpoint_write_errors_total", "Failed writes of checkpoint files.", &[]);

        let (loaded, newest) = load(directory, &damaged).map_err(fail("read it"))?;
        let mut entries = loaded;
        for entry in &mut entries {
            if entry.as_ref().is_some_and(|e| now_s.saturating_sub(e.seen_s) > CHECKPOINT_KEEP_S) {
                *entry = None;
            }
        }
        let free = free_slots(&entries);
        let journal = new_journal(directory, newest + 1).map_err(fail("write to it"))?;
        let mut state = State {
            entries,
            free,
            journal,
            snapshot_bytes: 0,
            dirty: false,
            broken: false,
            stop: false,
            scratch: Vec::new(),
            payload: Vec::new(),
        };
        let snapshot = state.snapshot(now_s);
        write_snapshot(directory, state.journal.number, &snapshot).map_err(fail("write to it"))?;
        state.snapshot_bytes = snapshot.len() as u64;
        let shared = Arc::new(Shared {
            directory: directory.to_path_buf(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            write_errors,
            clock,
            _lock: lock,
        });
        let for_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("lugger-store".into())
            .spawn(move || for_thread.keep())
            .map_err(fail("start the thread that syncs it"))?;
        let keeper = Arc::new(Keeper { shared: shared.clone(), thread: Mutex::new(Some(thread)) });
        Ok(Checkpoints { shared, keeper })
    }

    /// The cursors whose key begins with `prefix`.
    pub fn saved(&self, prefix: &[u8]) -> Vec<Saved> {
        self.shared.lock().entries.iter().flatten().filter(|e| e.key.starts_with(prefix)).cloned().collect()
    }

    /// A new cursor.
    pub fn define(&self, key: &[u8], meta: &[u8], position: u64, mark: &[u8]) -> u32 {
        let now_s = now_s(&self.shared.clock);
        let mut state = self.shared.lock();
        let slot = match state.free.pop() {
            Some(slot) => slot,
            None => {
                state.entries.push(None);
                (state.entries.len() - 1) as u32
            }
        };
        if let Some(entry) = state.entries.get_mut(slot as usize) {
            *entry = Some(Saved { claimed: true, ..Saved::new(slot, key, meta, position, mark, now_s) });
        }
        state.put(&Record::Define { slot, seen_s: now_s, key, meta });
        state.put(&Record::Move { slot, position, mark });
        self.shared.append(state);
        slot
    }

    /// The cursor is in use from now on: it does not age.
    pub fn claim(&self, slot: u32) {
        if let Some(entry) = self.shared.lock().entry(slot) {
            entry.claimed = true;
        }
    }

    /// The cursor is not in use for now, but may be again: it ages.
    pub fn unclaim(&self, slot: u32) {
        let now_s = now_s(&self.shared.clock);
        if let Some(entry) = self.shared.lock().entry(slot) {
            entry.claimed = false;
            entry.seen_s = now_s;
        }
    }

    /// The cursor is in use, and `key` and `meta` replace what was remembered.
    pub fn renew(&self, slot: u32, key: &[u8], meta: &[u8]) {
        let now_s = now_s(&self.shared.clock);
        let mut state = self.shared.lock();
        let Some(entry) = state.entry(slot) else { return };
        entry.key = key.into();
        entry.meta = meta.into();
        entry.seen_s = now_s;
        entry.claimed = true;
        state.put(&Record::Define { slot, seen_s: now_s, key, meta });
        self.shared.append(state);
    }

    /// Writes down what is about to be sent.
    pub fn intend(&self, intents: impl Iterator<Item = (u32, Intent)>) {
        let mut state = self.shared.lock();
        for (slot, intent) in intents {
            let Some(entry) = state.entry(slot) else { continue };
            if !entry.intend(intent) {
                continue;
            }
            state.put(&Record::Intend { slot, start: intent.start, end: intent.end, time_ns: intent.time_ns });
        }
        self.shared.append(state);
    }

    /// Moves cursors; intents that lie before the new position are done.
    pub fn commit<'a>(&self, moves: impl Iterator<Item = (u32, u64, &'a [u8])>) {
        let mut state = self.shared.lock();
        for (slot, position, mark) in moves {
            let Some(entry) = state.entry(slot) else { continue };
            debug_assert!(position >= entry.position, "a cursor moves forward only");
            entry.advance(position, mark);
            state.put(&Record::Move { slot, position, mark });
        }
        self.shared.append(state);
    }

    /// The cursor begins again: its intents are void.
    pub fn restart(&self, slot: u32, position: u64, mark: &[u8]) {
        let mut state = self.shared.lock();
        let Some(entry) = state.entry(slot) else { return };
        entry.restart(position, mark);
        state.put(&Record::Restart { slot, position, mark });
        self.shared.append(state);
    }

    /// The cursor is not needed any more.
    pub fn forget(&self, slot: u32) {
        let mut state = self.shared.lock();
        let Some(entry) = state.entries.get_mut(slot as usize) else { return };
        if entry.take().is_some() {
            state.free.push(slot);
            state.put(&Record::Forget { slot });
            self.shared.append(state);
        }
    }

    /// Writes a snapshot and waits until it is on disk. For a clean stop.
    pub fn close(&self) {
        self.keeper.stop();
        if let Err(error) = self.shared.compact() {
            self.shared.report(&error);
        }
    }
}

impl Keeper {
    fn stop(&self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread does not panic on anything it finds; if it did, the journal is still whole.
            let _ = thread.join();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Saved {
    /// A cursor without intents that nobody uses yet.
    pub fn new(slot: u32, key: &[u8], meta: &[u8], position: u64, mark: &[u8], seen_s: i64) -> Self {
        let intents = VecDeque::new();
        Saved { slot, key: key.into(), meta: meta.into(), position, mark: mark.into(), intents, seen_s, claimed: false }
    }

    fn advance(&mut self, position: u64, mark: &[u8]) {
        self.position = position;
        self.mark = mark.into();
        while self.intents.front().is_some_and(|intent| intent.end <= position) {
            self.intents.pop_front();
        }
    }

    /// False when it is already known: it is sent again after a restart. Intents ascend; one for bytes that others speak of replaces them, as
    /// the file has other content by now.
    fn intend(&mut self, intent: Intent) -> bool {
        let place = self.intents.partition_point(|known| known.end <= intent.start);
        if self.intents.get(place) == Some(&intent) {
            return false;
        }
        let replaced = self.intents.iter().skip(place).take_while(|known| known.start < intent.end).count();
        self.intents.drain(place..place + replaced);
        self.intents.insert(place, intent);
        true
    }

    fn restart(&mut self, position: u64, mark: &[u8]) {
        self.position = position;
        self.mark = mark.into();
        self.intents.clear();
    }
}

impl State {
    fn entry(&mut self, slot: u32) -> Option<&mut Saved> {
        self.entries.get_mut(slot as usize)?.as_mut()
    }

    /// Encodes a record into the scratch buffer, for [`Shared::append`].
    fn put(&mut self, record: &Record<'_>) {
        self.payload.clear();
        record.encode(&mut self.payload);
        frame::append(&mut self.scratch, &self.payload);
    }

    fn snapshot(&self, now_s: i64) -> Vec<u8> {
        let mut out = Vec::new();
        let mut payload = Vec::new();
        let mut count = 0u64;
        let mut put = |record: Record<'_>| {
            payload.clear();
            record.encode(&mut payload);
            frame::append(&mut out, &payload);
            count += 1;
            count
        };
        put(Record::Header { number: self.journal.number });
        let mut records = 1;
        for entry in self.entries.iter().flatten() {
            let slot = entry.slot;
            let seen_s = if entry.claimed { now_s } else { entry.seen_s };
            put(Record::Define { slot, seen_s, key: &entry.key, meta: &entry.meta });
            records = put(Record::Move { slot, position: entry.position, mark: &entry.mark });
            for intent in &entry.intents {
                let &Intent { start, end, time_ns } = intent;
                records = put(Record::Intend { slot, start, end, time_ns });
            }
        }
        put(Record::End { count: records });
        out
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Entries are changed by whole assignments; a panic between them costs at most one record of the journal.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends what was put and tells the keeper.
    fn append(&self, mut guard: MutexGuard<'_, State>) {
        let state = &mut *guard;
        if state.scratch.is_empty() {
            return;
        }
        let result = if state.broken { Ok(()) } else { (&*state.journal.file).write_all(&state.scratch) };
        let written = state.scratch.len() as u64;
        state.scratch.clear();
        match result {
            Ok(()) if state.broken => {}
            Ok(()) => state.journal.bytes += written,
            Err(error) => {
                // A part may be there: cut it, so that what is appended later can be read.
                let _ = state.journal.file.set_len(state.journal.bytes);
                state.broken = true;
                self.report(&error);
            }
        }
        let wake = !state.dirty;
        state.dirty = true;
        drop(guard);
        if wake {
            self.changed.notify_one();
        }
    }

    fn report(&self, error: &io::Error) {
        self.write_errors.add(1);
        tracing::warn!(
            directory = %self.directory.display(), %error,
            "cannot write checkpoints: lines go on being delivered, but those sent from now on may be sent again after a \
             restart; free space or repair the directory's rights"
        );
    }

    /// The keeper thread: syncs what was appended, once a second while there is something, and compacts.
    fn keep(&self) {
        loop {
            let mut state = self.lock();
            let is_idle = |state: &mut State| !state.dirty && !state.stop;
            let waited = self.changed.wait_timeout_while(state, AGE_PERIOD, is_idle);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if !state.stop && !timeout.timed_out() {
                // Gathers a second's worth of appends into one sync; a stop ends the wait.
                let pause = Duration::from_millis(JOURNAL_SYNC_MS);
                let waited = self.changed.wait_timeout_while(state, pause, |state| !state.stop);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let stop = state.stop;
            state.dirty = false;
            let file = state.journal.file.clone();
            let grown = state.journal.bytes > JOURNAL_BYTES.max(4 * state.snapshot_bytes);
            // Cursors of quiet files must not look old after a crash.
            let compact = state.broken || grown || timeout.timed_out();
            drop(state);
            let result = if compact && !stop { self.compact() } else { file.sync_data() };
            if let Err(error) = result {
                self.report(&error);
                // Tried again in a second.
                self.lock().dirty = !stop;
            }
            if stop {
                return;
            }
        }
    }

    /// Begins a new pair of files. Until its snapshot is in place, the pair before is complete with both journals.
    fn compact(&self) -> io::Result<()> {
        let mut state = self.lock();
        let number = state.journal.number + 1;
        let journal = new_journal(&self.directory, number)?;
        let before = std::mem::replace(&mut state.journal, journal);
        let snapshot = state.snapshot(now_s(&self.clock));
        drop(state);
        // The old journal must be whole on disk for as long as it is the only source of its records.
        before.file.sync_data()?;
        // On an error a broken journal stays broken: nothing may be appended that builds on what is missing.
        write_snapshot(&self.directory, number, &snapshot)?;
        let mut state = self.lock();
        state.snapshot_bytes = snapshot.len() as u64;
        state.broken = false;
        Ok(())
    }
}

fn now_s(clock: &Clock) -> i64 {
    clock.now_ns() / 1_000_000_000
}

fn path_of(directory: &Path, number: u64, kind: &str) -> PathBuf {
    directory.join(format!("checkpoint-{number}.{kind}"))
}

fn new_journal(directory: &Path, number: u64) -> io::Result<Journal> {
    let mut header = Vec::new();
    let mut payload = Vec::new();
    Record::Header { number }.encode(&mut payload);
    frame::append(&mut header, &payload);
    let path = path_of(directory, number, "journal");
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    // A leftover of a start that failed between the two files.
    file.set_len(0)?;
    file.write_all(&header)?;
    Ok(Journal { file: Arc::new(file), number, bytes: header.len() as u64 })
}

/// Puts a snapshot in place, then removes what is older than the pair before it.
fn write_snapshot(directory: &Path, number: u64, snapshot: &[u8]) -> io::Result<()> {
    atomic_file::replace(&path_of(directory, number, "snapshot"), &[snapshot])?;
    for (old, path) in files(directory)? {
        if old + 1 < number {
            // Best effort: a file that stays is removed by the next compaction.
            let _ = std::fs::remove_file(path);
        }
    }
    Ok(())
}

/// All checkpoint files with their numbers.
fn files(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|n| n.strip_prefix("checkpoint-")) else { continue };
        let Some((number, "snapshot" | "journal")) = rest.split_once('.') else { continue };
        if let Ok(number) = number.parse() {
            found.push((number, entry.path()));
        }
    }
    Ok(found)
}

fn free_slots(entries: &[Option<Saved>]) -> Vec<u32> {
    (0u32..).zip(entries).filter(|(_, entry)| entry.is_none()).map(|(slot, _)| slot).collect()
}

/// The newest state that can be put together, and the highest number in use.
fn load(directory: &Path, damaged: &Counter) -> io::Result<(Vec<Option<Saved>>, u64)> {
    let mut snapshots = BTreeMap::new();
    let mut journals = BTreeMap::new();
    let mut newest = 0;
    for (number, path) in files(directory)? {
        newest = newest.max(number);
        let is_snapshot = path.extension().is_some_and(|e| e == "snapshot");
        if is_snapshot { &mut snapshots } else { &mut journals }.insert(number, path);
    }
    let mut entries = Vec::new();
    let mut base = 0;
    for (&number, path) in snapshots.iter().rev() {
        let bytes = std::fs::read(path)?;
        if let Some(whole) = read_snapshot(&bytes, number) {
            entries = whole;
            base = number;
            break;
        }
        set_aside(path, damaged, "the one before it is used");
    }
    for (&number, path) in journals.range(base..) {
        let bytes = std::fs::read(path)?;
        if !read_journal(&bytes, number, &mut entries) {
            // A torn tail is what a power loss leaves. Anything that was appended later builds on it and is not used either.
            set_aside(path, damaged, "what it has before the damage is used; some lines may be sent again");
            break;
        }
    }
    Ok((entries, newest))
}

/// Applies a journal up to its first damage. False when there is some.
fn read_journal(bytes: &[u8], number: u64, entries: &mut Vec<Option<Saved>>) -> bool {
    let mut frames = Frames::new(bytes);
    if frames.next().and_then(Record::decode) != Some(Record::Header { number }) {
        return false;
    }
    for payload in frames.by_ref() {
        let Some(record) = Record::decode(payload) else { return false };
        apply(entries, &record);
    }
    frames.left() == 0
}

/// The cursors of a pair of files with this number, as far as they are good: what [`Checkpoints::open`] makes of their content. A snapshot that
/// is damaged anywhere counts as none; of a journal, what is before the damage counts.
pub fn read_pair(snapshot: &[u8], journal: &[u8], number: u64) -> Vec<Saved> {
    let mut entries = read_snapshot(snapshot, number).unwrap_or_default();
    read_journal(journal, number, &mut entries);
    entries.into_iter().flatten().collect()
}

fn set_aside(path: &Path, damaged: &Counter, consequence: &str) {
    damaged.add(1);
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let moved = std::fs::rename(path, &aside);
    tracing::warn!(
        file = %path.display(), set_aside = moved.is_ok(),
        "a checkpoint file is damaged: {consequence}"
    );
}

fn read_snapshot(bytes: &[u8], number: u64) -> Option<Vec<Option<Saved>>> {
    let mut entries = Vec::new();
    let mut frames = Frames::new(bytes);
    if Record::decode(frames.next()?)? != (Record::Header { number }) {
        return None;
    }
    for count in 1.. {
        match Record::decode(frames.next()?)? {
            Record::End { count: expected } => return (count == expected && frames.left() == 0).then_some(entries),
            record => apply(&mut entries, &record),
        }
    }
    None
}

fn apply(entries: &mut Vec<Option<Saved>>, record: &Record<'_>) {
    /// More cursors than any host has files that are followed; a damaged slot must not make the table huge.
    const SLOTS_MAX: usize = 16 * 1024 * 1024;
    fn entry(entries: &mut [Option<Saved>], slot: u32) -> Option<&mut Saved> {
        entries.get_mut(slot as usize).and_then(Option::as_mut)
    }
    match *record {
        Record::Header { .. } | Record::End { .. } => {}
        Record::Define { slot, seen_s, key, meta } => {
            if let Some(known) = entry(entries, slot) {
                known.key = key.into();
                known.meta = meta.into();
                known.seen_s = seen_s;
                return;
            }
            let place = slot as usize;
            if place >= SLOTS_MAX {
                return;
            }
            if place >= entries.len() {
                entries.resize(place + 1, None);
            }
            entries[place] = Some(Saved::new(slot, key, meta, 0, b"", seen_s));
        }
        Record::Move { slot, position, mark } => {
            if let Some(known) = entry(entries, slot) {
                known.advance(position, mark);
            }
        }
        Record::Intend { slot, start, end, time_ns } => {
            if let Some(known) = entry(entries, slot) {
                known.intend(Intent { start, end, time_ns });
            }
        }
        Record::Restart { slot, position, mark } => {
            if let Some(known) = entry(entries, slot) {
                known.restart(position, mark);
            }
        }
        Record::Forget { slot } => {
            if let Some(place) = entries.get_mut(slot as usize) {
                *place = None;
            }
        }
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
