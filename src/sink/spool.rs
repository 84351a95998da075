//! One endpoint's spool as its queue uses it: opened when it can be, worked on by threads that may block, told of by metrics.
//!
//! Promises: the runtime's thread never waits for the disk; a directory that cannot be opened is tried again until it can; what the queue asks in
//! between (is there something, how much) costs an atomic. Leaves to others: what goes there and when (`spill`, `remote_write`), files and damage
//! (`store::spool`).

use crate::base::clock::Clock;
use crate::base::limits::SPOOL_SYNC_MS;
use crate::base::metrics::{Counter, Gauge, Registry};
use crate::store::spool::{AppendError, Counters, Directory, Frame, Limits, Meta, Policy, Spool, SpoolError};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is on disk for an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolStatus {
    /// Size of its files, bytes.
    pub bytes: u64,
    /// Requests that wait there.
    pub frames: u64,
    /// When the oldest of them was written, seconds since 1970; 0: there is none.
    pub oldest_s: i64,
}

/// What can be put on disk.
pub(super) trait Framed: Send + Sync + 'static {
    /// What the spool notes of it, and its payload.
    fn frame(&self) -> (Meta, Cow<'_, [u8]>);
}

/// In what spools of logs and of metrics differ.
#[derive(Debug)]
struct Kind {
    policy: Policy,
    /// What is written and cannot be synced stays in memory as well: sending it twice does no harm.
    is_kept_unsynced: bool,
    /// The label that names the endpoint.
    label: &'static str,
    bytes: &'static str,
    frames: &'static str,
    oldest: &'static str,
    written: &'static str,
    full: (&'static str, &'static str),
    says_begin: &'static str,
    says_unopened: &'static str,
    says_full: &'static str,
}

const LOGS: Kind = Kind {
    policy: Policy::Block,
    is_kept_unsynced: true,
    label: "endpoint",
    bytes: "lugger_spool_bytes",
    frames: "lugger_spool_frames",
    oldest: "lugger_spool_oldest_timestamp_seconds",
    written: "lugger_spool_written_frames_total",
    full: ("lugger_spool_full_total", "Times that the spool had no room; the sources wait meanwhile."),
    says_begin: "what other endpoints have stored goes to the spool on disk until this endpoint takes it; sources do not wait",
    says_unopened: "the spool cannot be opened; it is tried again until it can, and what goes to other endpoints as well waits behind it",
    says_full: "the spool takes nothing; nothing is dropped, but sources that go to this endpoint wait when the memory is used up",
};

const METRICS: Kind = Kind {
    policy: Policy::DropOldest,
    is_kept_unsynced: false,
    label: "remote_name",
    bytes: "lugger_remote_write_spool_bytes",
    frames: "lugger_remote_write_spool_frames",
    oldest: "lugger_remote_write_spool_oldest_timestamp_seconds",
    written: "lugger_remote_write_spool_written_frames_total",
    full: ("lugger_remote_write_spool_full_total", "Times that the spool had no room and could make none."),
    says_begin: "samples go to the spool on disk until the endpoint takes them; they are sent in their order",
    says_unopened: "the spool cannot be opened; it is tried again until it can, and samples wait in memory meanwhile, where the oldest give way",
    says_full: "the spool takes nothing; samples wait in memory, where the oldest are dropped when it is used up: make room on the disk of \
                the state directory, or see what is wrong with it",
};

/// One endpoint's spool and what it shows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store(Arc<Parts>);

#[derive(Debug)]
pub(super) struct Parts {
    endpoint: String,
    kind: &'static Kind,
    takes_batches: AtomicBool,
    /// What the disk is to keep to, from the next time it works.
    limits: Mutex<Limits>,
    /// Held while the disk works: never to be waited for on the runtime's thread.
    disk: Mutex<Disk>,
    has_frames: AtomicBool,
    /// There is a directory that could not be opened yet: nobody knows what it holds.
    unopened: AtomicBool,
    /// The number of the newest frame.
    newest: AtomicU64,
    bytes: Gauge,
    frames: Gauge,
    oldest: Gauge,
    /// Frames that were written.
    spilled: Counter,
    /// Times that there was no room.
    full: Counter,
    /// Whether it has been said that batches go to disk, and that there is no room; until all is sent.
    said: AtomicBool,
    said_full: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Disk {
    /// `None`: not opened yet, since there was nothing to read and nothing to write, or since opening failed.
    spool: Option<Spool>,
    path: PathBuf,
    limits: Limits,
    clock: Clock,
    counters: Counters,
    synced: Instant,
    /// Somebody else may open the directory by now.
    ended: bool,
}

/// What came of an attempt to write.
#[derive(Default)]
pub(super) struct Written {
    /// Numbers of those that are on disk safely.
    pub(super) frames: Vec<u64>,
    /// Not all are.
    pub(super) failed: bool,
}

impl Store {
    /// The spool of `endpoint` in the directory `path`, of at most `bytes`; frames are given up at the age of `age_s`. With 0 bytes only
    /// what is there is sent. Nothing keeps this from succeeding: a directory that cannot be opened is reported, and tried again until it can.
    /// Reads and syncs files, so it blocks.
    pub fn new(path: &Path, bytes: u64, age_s: u64, clock: Clock, registry: &Registry, endpoint: &str) -> Self {
        Self::of_kind(&LOGS, path, (bytes, age_s), clock, registry, Counters::new(registry, endpoint), endpoint)
    }

    /// The same for an endpoint of metrics: when it is full the oldest go, and are counted. Its metrics are lugger_remote_write_spool_*.
    pub fn of_metrics(path: &Path, bytes: u64, age_s: u64, clock: Clock, registry: &Registry, endpoint: &str) -> Self {
        let counters = Counters::of_metrics(registry, endpoint);
        Self::of_kind(&METRICS, path, (bytes, age_s), clock, registry, counters, endpoint)
    }

    fn of_kind(
        kind: &'static Kind,
        path: &Path,
        (bytes, age_s): (u64, u64),
        clock: Clock,
        registry: &Registry,
        counters: Counters,
        endpoint: &str,
    ) -> Self {
        let label = [(kind.label, endpoint)];
        let limits = Limits::new(bytes, Some(age_s), kind.policy);
        let disk =
            Disk { spool: None, path: path.to_owned(), limits, clock, counters, synced: Instant::now(), ended: false };
        let parts = Parts {
            endpoint: endpoint.to_owned(),
            kind,
            takes_batches: AtomicBool::new(bytes > 0),
            limits: Mutex::new(limits),
            disk: Mutex::new(disk),
            has_frames: AtomicBool::new(false),
            unopened: AtomicBool::new(false),
            newest: AtomicU64::new(0),
            bytes: registry.gauge(kind.bytes, "Size of the spool's files.", &label),
            frames: registry.gauge(kind.frames, "Spooled requests that wait to be sent.", &label),
            oldest: registry.gauge(
                kind.oldest,
                "When the oldest spooled request was written; 0: there is none.",
                &label,
            ),
            spilled: registry.counter(kind.written, "Requests that went to the spool.", &label),
            full: registry.counter(kind.full.0, kind.full.1, &label),
            said: AtomicBool::new(false),
            said_full: AtomicBool::new(false),
        };
        let store = Store(Arc::new(parts));
        if path.exists() {
            let mut disk = store.0.disk();
            if let Err(error) = disk.spool() {
                store.0.unopened.store(true, Ordering::Release);
                tracing::warn!(endpoint, %error, "{}", kind.says_unopened);
            }
            store.0.show(&mut disk);
            let frames = store.status().frames;
            if store.has_frames() {
                store.0.said.store(true, Ordering::Relaxed);
                tracing::info!(endpoint, frames, "the spool holds requests of an earlier run; they are sent first");
            }
        }
        store
    }

    /// Whether frames wait. Changes only with calls of the sender and with spills.
    pub fn has_frames(&self) -> bool {
        self.0.has_frames.load(Ordering::Acquire)
    }

    /// The same, or nobody knows as the directory cannot be opened.
    pub(super) fn may_have_frames(&self) -> bool {
        self.has_frames() || self.0.unopened.load(Ordering::Acquire)
    }

    /// The number of the newest frame that was ever written, 0 if there was none. `None`: nobody knows as the directory cannot be opened.
    pub(super) fn newest(&self) -> Option<u64> {
        (!self.0.unopened.load(Ordering::Acquire)).then(|| self.0.newest.load(Ordering::Acquire))
    }

    /// Closes the directory, so that it can be opened anew: this one does nothing any more. Waits for a disk that is at work.
    pub async fn end(&self) {
        self.on_disk(|_, disk| {
            disk.ended = true;
            disk.spool = None;
        })
        .await;
    }

    /// Whether batches may go there.
    pub fn takes_batches(&self) -> bool {
        self.0.takes_batches.load(Ordering::Acquire)
    }

    /// Whether it is of use: batches may go there, or there are some.
    pub fn is_in_use(&self) -> bool {
        self.takes_batches() || self.may_have_frames()
    }

    /// Changes its bounds, as for [`Store::new`]. What is on disk stays there, also if it is more.
    pub fn resize(&self, bytes: u64, age_s: u64) {
        let limits = Limits::new(bytes, Some(age_s), self.0.kind.policy);
        *self.0.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
        self.0.takes_batches.store(bytes > 0, Ordering::Release);
    }

    /// What is there.
    pub fn status(&self) -> SpoolStatus {
        let parts = &*self.0;
        // Whole numbers below 2^53; a cast from f64 saturates.
        SpoolStatus {
            bytes: parts.bytes.get() as u64,
            frames: parts.frames.get() as u64,
            oldest_s: parts.oldest.get() as i64,
        }
    }

    /// Does something with the disk on a thread that may block. `None`: that thread failed.
    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Parts, &mut Disk) -> T + Send + 'static,
    ) -> Option<T> {
        let parts = Arc::clone(&self.0);
        let work = move || {
            let mut disk = parts.disk();
            let done = work(&parts, &mut disk);
            parts.show(&mut disk);
            done
        };
        tokio::task::spawn_blocking(work).await.ok()
    }

    /// Acknowledges `delivered` and reads the frame behind it. `Ok(None)`: there is none.
    pub(super) async fn fetch(&self, delivered: Option<u64>) -> Result<Option<Frame>, String> {
        let fetched = self.on_disk(move |_, disk| disk.fetch(delivered)).await;
        match fetched {
            Some(Ok(frame)) => Ok(frame),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("reading the spool failed, which is a bug of the agent".to_owned()),
        }
    }

    /// Appends and syncs these, in this order.
    pub(super) async fn write<F: Framed>(&self, batches: Vec<Arc<F>>) -> Written {
        let written = self.on_disk(move |parts, disk| parts.write(disk, &batches)).await;
        written.unwrap_or(Written { frames: Vec::new(), failed: true })
    }
}

impl Disk {
    /// Writes down how far everything is delivered.
    pub(super) fn close(&mut self, delivered: Option<u64>) {
        if self.spool.is_none() {
            return;
        }
        // The spool speaks of errors itself; they cost only repetitions.
        let _ = self.fetch(delivered);
        let _ = self.spool.as_mut().map(Spool::sync);
    }

    fn spool(&mut self) -> Result<&mut Spool, SpoolError> {
        let spool = match self.spool.take() {
            Some(spool) => spool,
            None => {
                let directory = Directory::new(&self.path);
                Spool::open(directory, self.limits, self.clock.clone(), self.counters.clone())?
            }
        };
        Ok(self.spool.insert(spool))
    }

    fn fetch(&mut self, delivered: Option<u64>) -> Result<Option<Frame>, SpoolError> {
        let pause = Duration::from_millis(SPOOL_SYNC_MS);
        let due = self.synced.elapsed() >= pause;
        if self.ended {
            return Ok(None);
        }
        let spool = self.spool()?;
        let mut frame = spool.next()?;
        if let Some(there) = &frame
            && Some(there.sequence) == delivered
        {
            spool.acknowledge(there.sequence);
            // Its memory is free for the next one.
            drop(frame.take());
            frame = spool.next()?;
        }
        // The spool speaks of errors itself; they cost only repetitions after a power loss.
        if frame.is_none() || due {
            let _ = spool.sync();
            self.synced = Instant::now();
        }
        Ok(frame)
    }
}

impl Parts {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        // The spool takes every state of its files; what it knows in memory is changed in single steps.
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = *self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if disk.limits != limits {
            disk.limits = limits;
            if let Some(spool) = &mut disk.spool {
                spool.set_limits(limits);
            }
        }
        disk
    }

    /// Brings what is shown up to date.
    fn show(&self, disk: &mut Disk) {
        let Some(spool) = &mut disk.spool else { return };
        let waits = !spool.is_empty();
        let oldest = if waits { spool.oldest_created_s() } else { None };
        // Looking at the oldest may have found that there is none.
        let waits = waits && !spool.is_empty();
        self.has_frames.store(waits, Ordering::Release);
        self.newest.store(spool.newest(), Ordering::Release);
        self.unopened.store(false, Ordering::Release);
        self.bytes.set(spool.len_bytes() as f64);
        self.frames.set(spool.frames() as f64);
        self.oldest.set(oldest.unwrap_or(0) as f64);
        if !waits {
            self.said_full.store(false, Ordering::Relaxed);
            if self.said.swap(false, Ordering::Relaxed) {
                tracing::info!(endpoint = %self.endpoint, "everything in the spool is sent");
            }
        }
    }

    fn write<F: Framed>(&self, disk: &mut Disk, batches: &[Arc<F>]) -> Written {
        let mut frames = Vec::with_capacity(batches.len());
        if disk.ended {
            return Written { frames, failed: true };
        }
        let spool = match disk.spool() {
            Ok(spool) => spool,
            Err(error) => {
                self.say_full(&error);
                return Written { frames, failed: true };
            }
        };
        let mut failed = false;
        for batch in batches {
            let (meta, payload) = batch.frame();
            match spool.append(meta, &payload) {
                Ok(frame) => frames.push(frame),
                Err(error) => {
                    if matches!(error, AppendError::Full { .. }) {
                        self.full.add(1);
                    }
                    self.say_full(&error);
                    failed = true;
                    break;
                }
            }
        }
        if !frames.is_empty() {
            if let Err(error) = spool.sync() {
                // They are written and may yet be lost in a power loss.
                self.say_full(&error);
                failed = true;
                if self.kind.is_kept_unsynced {
                    return Written { frames: Vec::new(), failed };
                }
            }
            self.spilled.add(frames.len() as u64);
            if !self.said.swap(true, Ordering::Relaxed) {
                tracing::info!(endpoint = %self.endpoint, "{}", self.kind.says_begin);
            }
        }
        Written { frames, failed }
    }

    fn say_full(&self, error: &dyn std::error::Error) {
        if !self.said_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(endpoint = %self.endpoint, %error, "{}", self.kind.says_full);
        }
    }
}
