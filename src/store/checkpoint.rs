//! Checkpoints: how far each cursor has been stored by the endpoints, and what is about to be sent under which time.
//!
//! On disk, in the state directory: numbered pairs of a **snapshot** (all cursors) and a **journal** (what changed since, appended).
//! `checkpoint-7.snapshot` is `checkpoint-6.snapshot` with `checkpoint-6.journal` applied; the pair before the current one is
//! kept, so that a damaged snapshot costs nothing. A snapshot is written beside, synced, renamed, and its directory synced.
//!
//! Promises: after `kill -9` at any moment the journal has every intent, commit and restart that was made (the page cache survives the
//! process); of definitions, renewals and forgettings it has those before the last [`Checkpoints::flush`], intent or commit, at the latest
//! those of a second ago. A cursor whose definition is missing has no progress either: its file is read from its start, if it is found under
//! a name that is followed. After a power loss at most the last second is missing, and missing means an older cursor, never a
//! newer one. A torn tail of the journal is not used; a damaged file is set aside as `*.damaged` and reported; neither stops the
//! start. When the disk is full, at the start or later, work goes on, what is on disk stays as it is, and a new pair is
//! begun when there is room. Nothing is ever appended to a journal behind a write that failed.
//! Leaves to others: what a cursor's position and mark mean.

use super::cursors::Table;
pub use super::cursors::{Intent, Saved, SavedRef};
use super::files::{self, Journal};
use super::frame;
use super::record::Record;
use crate::base::atomic_file;
use crate::base::clock::Clock;
use crate::base::limits::{CHECKPOINT_RETRY_MS, JOURNAL_BUFFER_BYTES, JOURNAL_BYTES, JOURNAL_SYNC_MS};
use crate::base::metrics::{Counter, Registry};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be made, read or written.
    #[error("state directory {}: cannot {action}; {}", path.display(), remedy(source))]
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

/// What a person can do about it.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space or inodes on its file system",
        io::ErrorKind::PermissionDenied => {
            "the user that lugger runs as must be able to make it and to write in it; or name another one as `state_dir`, with a \
             Promtail file in the environment variable STATE_DIRECTORY (systemd: StateDirectory=)"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "its file system is mounted read-only: name another directory as `state_dir`, with a Promtail file in the environment \
             variable STATE_DIRECTORY"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "it must be a directory, or not be there yet; or name another one as `state_dir`, with a Promtail file in the \
             environment variable STATE_DIRECTORY"
        }
        _ if is_trouble_of_the_disk(error) => "its disk fails: look into the kernel's log",
        _ => "it must exist or be creatable, and be writable by the user that lugger runs as",
    }
}

/// Whether a write may succeed later without anybody changing the configuration or the rights.
fn is_trouble_of_the_disk(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NOSPC | Errno::DQUOT | Errno::IO))
}

/// How often the age of claimed cursors is written down when nothing else happens.
const AGE_PERIOD: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
struct State {
    table: Table,
    /// Highest number that was used or tried.
    number: u64,
    /// None after a failed write: nothing may be appended behind it, only a new pair heals it.
    journal: Option<Journal>,
    /// A journal whose end failed. What it has before is still to be synced.
    cut_off: Option<Arc<File>>,
    /// Something is missing in the journals over the newest snapshot: the next journal counts only over its own.
    gap: bool,
    /// Damaged files that are renamed when a snapshot has made them superfluous.
    damaged: Vec<PathBuf>,
    /// Size of the last snapshot.
    snapshot_bytes: u64,
    /// Something is to be written or synced.
    dirty: bool,
    /// A failure was reported and not yet its end.
    failing: bool,
    stop: bool,
    /// Frames that are not yet written.
    pending: Vec<u8>,
    payload: Vec<u8>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
    write_errors: Counter,
    clock: Clock,
    /// See [`Checkpoints::last_written_ns`].
    last_written_ns: i64,
    /// See [`Checkpoints::note_read`]; by slot.
    reads: Mutex<BTreeMap<u32, u64>>,
    _lock: File,
}

/// A pair that was begun: its journal is in use, its snapshot not yet in place.
struct Begun {
    number: u64,
    /// The journal does not count without the snapshot.
    alone: bool,
    snapshot: io::Result<atomic_file::Replacement>,
    /// The journal before. It must be whole on disk for as long as it is the only source of its records.
    before: Option<Arc<File>>,
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
    /// that nobody claimed for [`CHECKPOINT_KEEP_S`](crate::base::limits::CHECKPOINT_KEEP_S) are dropped.
    ///
    /// A disk that is full or fails to write does not stop the start: that is reported, and tried again. A directory that
    /// cannot be made, locked or read does.
    pub fn open(directory: &Path, clock: Clock, registry: &Registry) -> Result<Self, StoreError> {
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
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            Errno::WOULDBLOCK => StoreError::Locked { path: directory.to_path_buf() },
            error => fail("lock it")(error.into()),
        })?;
        let damaged =
            registry.counter("lugger_checkpoint_damaged_total", "Checkpoint files found damaged and set aside.", &[]);
        let write_errors =
            registry.counter("lugger_checkpoint_write_errors_total", "Failed writes of checkpoint files.", &[]);

        let loaded = files::load(directory).map_err(fail("read it"))?;
        let last_written_ns = loaded.last_written_ns;
        damaged.add(loaded.damaged.len() as u64);
        let state = State {
            table: loaded.table,
            number: loaded.newest,
            journal: None,
            cut_off: None,
            gap: loaded.gap,
            damaged: loaded.damaged,
            snapshot_bytes: 0,
            dirty: false,
            failing: false,
            stop: false,
            pending: Vec::new(),
            payload: Vec::new(),
        };
        let shared = Arc::new(Shared {
            directory: directory.to_path_buf(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            write_errors,
            clock,
            last_written_ns,
            reads: Mutex::default(),
            _lock: lock,
        });
        match shared.compact() {
            Ok(()) => {}
            // What was loaded is still on disk; the keeper tries again.
            Err(error) if is_trouble_of_the_disk(&error) => {
                let mut state = shared.lock();
                shared.report(&mut state, &error);
                state.dirty = true;
            }
            Err(error) => return Err(fail("write to it")(error)),
        }
        let for_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("lugger-store".into())
            .spawn(move || for_thread.keep())
            .map_err(fail("start the thread that syncs it"))?;
        let keeper = Arc::new(Keeper { shared: shared.clone(), thread: Mutex::new(Some(thread)) });
        Ok(Checkpoints { shared, keeper })
    }

    /// A new file in the state directory that has no name, once to write to and once, of its own, to read from. Its room is free again
    /// when both are closed.
    pub fn nameless_file(&self) -> std::io::Result<(File, File)> {
        let path = self.shared.directory.join("nameless");
        let writer = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let reader = File::open(&path);
        std::fs::remove_file(&path)?;
        Ok((writer, reader?))
    }

    /// The cursors whose key begins with `prefix`.
    pub fn saved(&self, prefix: &[u8]) -> Vec<Saved> {
        let mut found = Vec::new();
        self.for_each_saved(prefix, |saved| found.push(saved.to_saved()));
        found
    }

    /// Shows the cursors whose key begins with `prefix`, one after the other, without copying them. `look` must not call
    /// these checkpoints: they are locked meanwhile.
    pub fn for_each_saved(&self, prefix: &[u8], mut look: impl FnMut(SavedRef<'_>)) {
        let now_s = now_s(&self.shared.clock);
        self.shared.lock().table.for_each(now_s, |saved| {
            if saved.key.starts_with(prefix) {
                look(saved);
            }
        });
    }

    /// The cursor as it is now; `None` when there is no such cursor.
    pub fn look(&self, slot: u32) -> Option<Saved> {
        let now_s = now_s(&self.shared.clock);
        self.shared.lock().table.look_at(slot, now_s, |saved| saved.to_saved())
    }

    /// Shows one cursor, if there is one in this slot. `look` must not call these checkpoints, as above.
    pub fn look_at<T>(&self, slot: u32, look: impl FnOnce(SavedRef<'_>) -> T) -> Option<T> {
        let now_s = now_s(&self.shared.clock);
        self.shared.lock().table.look_at(slot, now_s, look)
    }

    /// When the process before this one wrote a checkpoint last, nanoseconds since 1970; 0 when there was none.
    pub fn last_written_ns(&self) -> i64 {
        self.shared.last_written_ns
    }

    /// A new cursor. It reaches the kernel with the next [`Checkpoints::flush`], intent or commit, at the latest in a second.
    pub fn define(&self, key: &[u8], meta: &[u8], position: u64, mark: &[u8]) -> u32 {
        let now_s = now_s(&self.shared.clock);
        let mut state = self.shared.lock();
        let slot = state.table.define(key, meta, position, mark);
        self.shared.reads().remove(&slot);
        state.put(&Record::Define { slot, seen_s: now_s, key, meta });
        state.put(&Record::Move { slot, position, mark });
        self.shared.gather(state);
        slot
    }

    /// The cursor is in use from now on: it does not age. False when there is no such cursor (any more).
    pub fn claim(&self, slot: u32, key: &[u8]) -> bool {
        self.shared.lock().table.claim(slot, key)
    }

    /// The cursor is not in use for now, but may be again: it ages.
    pub fn unclaim(&self, slot: u32) {
        let now_s = now_s(&self.shared.clock);
        if let Some(cursor) = self.shared.lock().table.get_mut(slot) {
            cursor.unclaim(now_s);
        }
    }

    /// The cursor is in use, and `key` and `meta` replace what was remembered. Reaches the kernel as a definition does.
    pub fn renew(&self, slot: u32, key: &[u8], meta: &[u8]) {
        let now_s = now_s(&self.shared.clock);
        let mut state = self.shared.lock();
        if !state.table.rename(slot, key, meta, None) {
            return;
        }
        state.put(&Record::Define { slot, seen_s: now_s, key, meta });
        self.shared.gather(state);
    }

    /// Writes down what is about to be sent.
    pub fn intend(&self, intents: impl Iterator<Item = (u32, Intent)>) {
        let mut state = self.shared.lock();
        for (slot, intent) in intents {
            if state.table.get_mut(slot).is_some_and(|cursor| cursor.intend(intent)) {
                let Intent { start, end, time_ns, merged, note } = intent;
                state.put(&Record::Intend { slot, start, end, time_ns, merged, note });
            }
        }
        self.shared.append(state);
    }

    /// Moves cursors; intents that lie before the new position are done.
    pub fn commit<'a>(&self, moves: impl Iterator<Item = (u32, u64, &'a [u8])>) {
        let mut state = self.shared.lock();
        for (slot, position, mark) in moves {
            let Some(cursor) = state.table.get_mut(slot) else { continue };
            debug_assert!(position >= cursor.position, "a cursor moves forward only");
            cursor.advance(position, mark);
            state.put(&Record::Move { slot, position, mark });
        }
        self.shared.append(state);
    }

    /// The cursor begins again: its intents are void.
    pub fn restart(&self, slot: u32, position: u64, mark: &[u8]) {
        let mut state = self.shared.lock();
        let Some(cursor) = state.table.get_mut(slot) else { return };
        cursor.restart(position, mark);
        self.shared.reads().remove(&slot);
        state.put(&Record::Restart { slot, position, mark });
        self.shared.append(state);
    }

    /// The cursor is not needed any more. Reaches the kernel as a definition does.
    pub fn forget(&self, slot: u32) {
        let mut state = self.shared.lock();
        self.shared.reads().remove(&slot);
        if state.table.forget(slot) {
            state.put(&Record::Forget { slot });
            self.shared.gather(state);
        }
    }

    /// Notes how far a source has read, for [`Checkpoints::read_to`]. Only in memory, and only for those who say so.
    pub fn note_read(&self, slot: u32, position: u64) {
        self.shared.reads().insert(slot, position);
    }

    /// What was noted last of a cursor that is there; 0: nothing.
    pub fn read_to(&self, slot: u32) -> u64 {
        self.shared.reads().get(&slot).copied().unwrap_or(0)
    }

    /// Hands what was gathered to the kernel, so that a kill does not lose it. Costs nothing when there is nothing.
    pub fn flush(&self) {
        self.shared.append(self.shared.lock());
    }

    /// Writes a snapshot and waits until it is on disk. For a clean stop.
    pub fn close(&self) {
        self.keeper.stop();
        if let Err(error) = self.shared.compact() {
            self.shared.report(&mut self.shared.lock(), &error);
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

impl State {
    /// Encodes a record, for [`Shared::append`] or [`Shared::gather`].
    fn put(&mut self, record: &Record<'_>) {
        self.payload.clear();
        record.encode(&mut self.payload);
        frame::append(&mut self.pending, &self.payload);
    }

    /// Writes what was put. Without a journal it is dropped: the snapshot of the next pair has it.
    fn write_pending(&mut self) -> io::Result<()> {
        let Some(journal) = &mut self.journal else {
            self.gap |= !self.pending.is_empty();
            self.pending.clear();
            return Ok(());
        };
        let result = (&*journal.file).write_all(&self.pending);
        match &result {
            Ok(()) => journal.bytes += self.pending.len() as u64,
            Err(_) => {
                // A part may be there. If it cannot be cut either, the next start finds a torn tail, and nothing behind it.
                let _ = journal.file.set_len(journal.bytes);
                self.break_off();
            }
        }
        self.pending.clear();
        result
    }

    /// Nothing more is appended to the journal; only a new pair heals that.
    fn break_off(&mut self) {
        self.gap = true;
        if let Some(journal) = self.journal.take() {
            self.cut_off = Some(journal.file);
        }
    }
}

impl Shared {
    fn reads(&self) -> MutexGuard<'_, BTreeMap<u32, u64>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Cursors are changed by whole assignments; a panic between them costs at most one record of the journal.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what was put and tells the keeper.
    fn append(&self, mut state: MutexGuard<'_, State>) {
        if state.pending.is_empty() {
            return;
        }
        if let Err(error) = state.write_pending() {
            self.report(&mut state, &error);
        }
        self.tell_keeper(state);
    }

    /// Leaves what was put for the next write, if it is not much.
    fn gather(&self, state: MutexGuard<'_, State>) {
        if state.pending.len() >= JOURNAL_BUFFER_BYTES { self.append(state) } else { self.tell_keeper(state) }
    }

    fn tell_keeper(&self, mut state: MutexGuard<'_, State>) {
        let wake = !std::mem::replace(&mut state.dirty, true);
        drop(state);
        if wake {
            self.changed.notify_one();
        }
    }

    /// Counts a failure, and tells the first of a row.
    fn report(&self, state: &mut State, error: &io::Error) {
        self.write_errors.add(1);
        if std::mem::replace(&mut state.failing, true) {
            return;
        }
        tracing::warn!(
            directory = %self.directory.display(), %error,
            "cannot write checkpoints: lines go on being delivered, but those sent from now on may be sent again after a \
             restart; it is tried again all the time; {}", remedy(error)
        );
    }

    /// The keeper thread: writes and syncs what was put, once a second while there is something, and begins new pairs.
    fn keep(&self) {
        let second = Duration::from_millis(JOURNAL_SYNC_MS);
        let mut patience = second;
        let mut not_before = Instant::now();
        loop {
            let state = self.lock();
            let is_idle = |state: &mut State| !state.dirty && !state.stop;
            let waited = self.changed.wait_timeout_while(state, AGE_PERIOD, is_idle);
            let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if !state.stop && !timeout.timed_out() {
                // Gathers a second's worth of appends into one sync; a stop ends the wait.
                let waited = self.changed.wait_timeout_while(state, second, |state| !state.stop);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let stop = state.stop;
            state.dirty = false;
            if let Err(error) = state.write_pending() {
                self.report(&mut state, &error);
            }
            // A first start with very many files leaves a large buffer.
            state.pending.shrink_to(JOURNAL_BUFFER_BYTES / 16);
            let bytes = state.journal.as_ref().map(|journal| journal.bytes);
            let grown = bytes.is_none_or(|bytes| bytes > JOURNAL_BYTES.max(state.snapshot_bytes.saturating_mul(4)));
            let file = state.cut_off.take().or_else(|| state.journal.as_ref().map(|journal| journal.file.clone()));
            drop(state);
            // Before a new pair is tried: when that is in place, all is well again.
            if let Err(error) = file.map_or(Ok(()), |file| self.sync(&file)) {
                self.report(&mut self.lock(), &error);
            }
            // Cursors of quiet files must not look old after a crash: hence also when nothing has happened for long.
            let is_due = (grown || timeout.timed_out()) && !stop && Instant::now() >= not_before;
            let compacted = if is_due { self.compact() } else { Ok(()) };
            if compacted.is_err() {
                not_before = Instant::now() + patience;
                patience = (2 * patience).min(Duration::from_millis(CHECKPOINT_RETRY_MS));
            } else if is_due {
                patience = second;
            }
            let mut state = self.lock();
            if let Err(error) = compacted {
                self.report(&mut state, &error);
            }
            // What is missing or too long is looked at again in a second.
            state.dirty |= state.journal.is_none() || (grown && Instant::now() < not_before);
            if stop {
                return;
            }
        }
    }

    /// Syncs a journal. After a failure nobody knows what of it is on disk, so that it is not used any more.
    fn sync(&self, file: &Arc<File>) -> io::Result<()> {
        let result = file.sync_data();
        if result.is_err() {
            let mut state = self.lock();
            if state.journal.as_ref().is_some_and(|journal| Arc::ptr_eq(&journal.file, file)) {
                state.break_off();
            }
        }
        result
    }

    /// Begins a new pair of files. Until its snapshot is in place, the pair before is complete with both journals.
    fn compact(&self) -> io::Result<()> {
        let begun = self.begin_pair()?;
        self.finish_pair(begun)
    }

    /// From here on records go to the new journal.
    fn begin_pair(&self) -> io::Result<Begun> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Err(error) = state.write_pending() {
            self.report(state, &error);
        }
        // A number is used once, also when this fails: what a failed attempt left is never written to again.
        state.number += 1;
        let (number, alone) = (state.number, state.gap);
        let journal = files::new_journal(&self.directory, number, alone)?;
        let before = state.journal.replace(journal).map(|journal| journal.file).or(state.cut_off.take());
        state.gap = false;
        let now_s = now_s(&self.clock);
        // The new journal may come to stand on the pair before, which still has them; their slots are used again.
        for slot in state.table.forget_old(now_s) {
            state.put(&Record::Forget { slot });
        }
        // Written while nothing changes, to the page cache as the journal is; it is synced when others may go on.
        let snapshot = files::write_snapshot(&self.directory, number, &state.table, now_s).map(|(snapshot, bytes)| {
            state.snapshot_bytes = bytes;
            snapshot
        });
        // A failure is seen by the keeper: there is no journal then.
        if let Err(error) = state.write_pending() {
            self.report(state, &error);
        }
        Ok(Begun { number, alone, snapshot, before })
    }

    fn finish_pair(&self, begun: Begun) -> io::Result<()> {
        let Begun { number, alone, snapshot, before } = begun;
        let synced = before.map_or(Ok(()), |file| file.sync_data());
        let mut damaged = std::mem::take(&mut self.lock().damaged);
        let written =
            snapshot.and_then(|snapshot| files::place_snapshot(&self.directory, number, snapshot, &mut damaged));
        let mut state = self.lock();
        state.damaged = damaged;
        let Err(error) = written else {
            // The snapshot has all that the journal before it had.
            if state.journal.is_some() && std::mem::take(&mut state.failing) {
                tracing::info!(directory = %self.directory.display(), "checkpoints are written again");
            }
            return Ok(());
        };
        if alone || synced.is_err() {
            // The new journal builds on what is not on disk: it was of use only if the snapshot is there in spite of the error.
            state.break_off();
        }
        let useless =
            alone && files::path_of(&self.directory, number, "snapshot").try_exists().is_ok_and(|exists| !exists);
        let journal = files::path_of(&self.directory, number, "journal");
        // Best effort, both: a journal that stays is passed over, and one whose name is lost means an older cursor.
        let _ = if useless { std::fs::remove_file(&journal) } else { atomic_file::sync_directory(&journal) };
        Err(error)
    }
}

fn now_s(clock: &Clock) -> i64 {
    clock.now_ns() / 1_000_000_000
}

/// The cursors of a pair of files with this number, as far as they are good: what [`Checkpoints::open`] makes of their content. A snapshot that
/// is damaged anywhere counts as none; of a journal, what is before the damage counts.
pub fn read_pair(snapshot: &[u8], journal: &[u8], number: u64) -> Vec<Saved> {
    // Reading from memory has no errors.
    let table = files::read_pair(snapshot, journal, number).unwrap_or_default();
    let mut found = Vec::new();
    table.for_each(0, |cursor| found.push(cursor.to_saved()));
    found
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
