//! Putting batches on disk, and taking them from there: the slow half of an endpoint's queue.
//!
//! A batch goes to the endpoint's spool when another endpoint has stored it and memory is short, when it has waited for long, or when the
//! agent stops. Then its source moves on, and its file may go away.
//!
//! Promises: a batch is settled only after the spool has synced it, so that no checkpoint is ahead of what is on disk; the runtime's
//! thread never waits for the disk; nothing wakes up while nothing happens; where the spool takes nothing the batches stay in
//! memory, and nothing is lost. Leaves to others: which batches (`queue`), sending (`endpoint`), files and damage (`store::spool`).

use super::queue::{Choice, Load, Plan, Queue};
use crate::base::clock::Clock;
use crate::base::limits::{SPILL_RETRY_MS, SPOOL_SYNC_MS};
use crate::base::metrics::{Counter, Gauge, Registry};
use crate::base::shutdown::Shutdown;
use crate::model::batch::Batch;
use crate::store::spool::{AppendError, Counters, Directory, Frame, Limits, Meta, Policy, Spool, SpoolError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// By this the endpoints of an agent hear that one of them has settled a batch, so that others may put it on disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct News(Arc<watch::Sender<()>>);

impl Default for News {
    fn default() -> Self {
        News(Arc::new(watch::Sender::new(())))
    }
}

impl News {
    pub(super) fn tell(&self) {
        self.0.send_replace(());
    }
}

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

/// One endpoint's spool and what it shows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    endpoint: String,
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
struct Disk {
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
struct Written {
    /// Numbers of those that are on disk safely.
    frames: Vec<u64>,
    /// Not all are.
    failed: bool,
}

impl Store {
    /// The spool of `endpoint` in the directory `path`, of at most `bytes`; frames are given up at the age of `age_s`. With 0 bytes only
    /// what is there is sent. Nothing keeps this from succeeding: a directory that cannot be opened is reported, and tried again until it can.
    /// Reads and syncs files, so it blocks.
    pub fn new(path: &Path, bytes: u64, age_s: u64, clock: Clock, registry: &Registry, endpoint: &str) -> Self {
        let label = [("endpoint", endpoint)];
        let limits = Limits::new(bytes, Some(age_s), Policy::Block);
        let disk = Disk {
            spool: None,
            path: path.to_owned(),
            limits,
            clock,
            counters: Counters::new(registry, endpoint),
            synced: Instant::now(),
            ended: false,
        };
        let parts = Parts {
            endpoint: endpoint.to_owned(),
            takes_batches: AtomicBool::new(bytes > 0),
            limits: Mutex::new(limits),
            disk: Mutex::new(disk),
            has_frames: AtomicBool::new(false),
            unopened: AtomicBool::new(false),
            newest: AtomicU64::new(0),
            bytes: registry.gauge("lugger_spool_bytes", "Size of the spool's files.", &label),
            frames: registry.gauge("lugger_spool_frames", "Spooled requests that wait to be sent.", &label),
            oldest: registry.gauge(
                "lugger_spool_oldest_timestamp_seconds",
                "When the oldest spooled request was written; 0: there is none.",
                &label,
            ),
            spilled: registry.counter("lugger_spool_written_frames_total", "Requests that went to the spool.", &label),
            full: registry.counter(
                "lugger_spool_full_total",
                "Times that the spool had no room; the sources wait meanwhile.",
                &label,
            ),
            said: AtomicBool::new(false),
            said_full: AtomicBool::new(false),
        };
        let store = Store(Arc::new(parts));
        if path.exists() {
            let mut disk = store.0.disk();
            if let Err(error) = disk.spool() {
                store.0.unopened.store(true, Ordering::Release);
                tracing::warn!(
                    endpoint, %error,
                    "the spool cannot be opened; it is tried again until it can, and what goes to other endpoints as well waits behind it"
                );
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
        let limits = Limits::new(bytes, Some(age_s), Policy::Block);
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
    async fn on_disk<T: Send + 'static>(
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
    async fn fetch(&self, delivered: Option<u64>) -> Result<Option<Frame>, String> {
        let fetched = self.on_disk(move |_, disk| disk.fetch(delivered)).await;
        match fetched {
            Some(Ok(frame)) => Ok(frame),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("reading the spool failed, which is a bug of the agent".to_owned()),
        }
    }

    async fn write(&self, batches: Vec<Arc<Batch>>) -> Written {
        let written = self.on_disk(move |parts, disk| parts.write(disk, &batches)).await;
        written.unwrap_or(Written { frames: Vec::new(), failed: true })
    }
}

impl Disk {
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

    fn write(&self, disk: &mut Disk, batches: &[Arc<Batch>]) -> Written {
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
            let (meta, framed) = frame_of(batch);
            match spool.append(meta, framed.as_deref().unwrap_or(&batch.body)) {
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
                // They are written and may yet be lost, so they stay in memory too. What is sent twice is the same both times.
                self.say_full(&error);
                return Written { frames: Vec::new(), failed: true };
            }
            self.spilled.add(frames.len() as u64);
            if !self.said.swap(true, Ordering::Relaxed) {
                tracing::info!(
                    endpoint = %self.endpoint,
                    "what other endpoints have stored goes to the spool on disk until this endpoint takes it; sources do not wait"
                );
            }
        }
        Written { frames, failed }
    }

    fn say_full(&self, error: &dyn std::error::Error) {
        if !self.said_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                endpoint = %self.endpoint, %error,
                "the spool takes nothing; nothing is dropped, but sources that go to this endpoint wait when the memory is used up"
            );
        }
    }
}

/// In `raw_bytes` of a frame: the payload begins with the length and name of a tenant. No batch is so large.
const HAS_TENANT: u32 = 1 << 31;

/// What is written of a batch: what the spool notes, and the payload, if it is another one than the body.
fn frame_of(batch: &Batch) -> (Meta, Option<Vec<u8>>) {
    let raw_bytes = u32::try_from(batch.raw_bytes).unwrap_or(u32::MAX).min(HAS_TENANT - 1);
    let meta = Meta { raw_bytes, entries: batch.entries };
    let Some(tenant) = &batch.tenant else { return (meta, None) };
    let len = u16::try_from(tenant.len()).unwrap_or(u16::MAX);
    let name = tenant.as_bytes().get(..usize::from(len)).unwrap_or_default();
    let payload = [&len.to_le_bytes(), name, &batch.body].concat();
    (Meta { raw_bytes: raw_bytes | HAS_TENANT, ..meta }, Some(payload))
}

/// A batch as it was written.
fn load_of(frame: Frame) -> Load {
    let Meta { raw_bytes, entries } = frame.meta;
    let mut body = frame.payload;
    let mut tenant = None;
    if raw_bytes & HAS_TENANT != 0
        && let Some((len, rest)) = body.split_first_chunk::<2>()
        && let Some((name, _)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))
    {
        tenant = std::str::from_utf8(name).ok().map(Arc::from);
        body = body.slice(2 + name.len()..);
    }
    let raw_bytes = usize::try_from(raw_bytes & !HAS_TENANT).unwrap_or(usize::MAX);
    Load { body, raw_bytes, entries, tenant }
}

impl Queue {
    /// Takes the next thing to send, as soon as there is one. [`Queue::finished`] must follow.
    pub(super) async fn next(&self) -> Load {
        loop {
            match self.choose() {
                Choice::Batch(batch) => {
                    let (body, tenant) = (batch.body.clone(), batch.tenant.clone());
                    return Load { body, raw_bytes: batch.raw_bytes, entries: batch.entries, tenant };
                }
                Choice::Disk(delivered) => {
                    if let Some(frame) = self.read_disk(delivered).await {
                        return load_of(frame);
                    }
                }
                Choice::At(again) => tokio::select! {
                    () = self.filled() => {}
                    () = tokio::time::sleep_until(again.into()) => {}
                },
                Choice::Wait => self.filled().await,
            }
        }
    }

    async fn read_disk(&self, delivered: Option<u64>) -> Option<Frame> {
        let store = self.store.as_ref()?;
        let before = store.status().bytes;
        match store.fetch(delivered).await {
            Ok(frame) => {
                self.acknowledged();
                if store.status().bytes < before {
                    self.spill_again();
                }
                if let Some(frame) = &frame {
                    self.took(frame);
                }
                frame
            }
            Err(error) => {
                // The spool has said it, and gives up what cannot be read after a few attempts.
                tracing::debug!(error, "the spool is read again after a pause");
                self.read_again(Instant::now() + Duration::from_millis(SPILL_RETRY_MS));
                None
            }
        }
    }

    /// Puts batches on disk when that is due, until `shutdown`.
    pub(super) async fn spill(&self, mut shutdown: Shutdown) {
        let mut news = self.news.0.subscribe();
        loop {
            // News that come after the look are seen.
            news.mark_unchanged();
            let due = match self.plan(Instant::now()) {
                Plan::Now(batches) => {
                    self.write(batches).await;
                    if shutdown.is_raised() {
                        return;
                    }
                    continue;
                }
                Plan::At(due) => Some(due),
                Plan::Never => None,
            };
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.raised() => return,
                // The queue holds the other end.
                _ = news.changed() => {}
                () = sleep => {}
            }
        }
    }

    /// Puts on disk what was planned; how many of them it took.
    pub(super) async fn write(&self, batches: Vec<Arc<Batch>>) -> usize {
        let written = match &self.store {
            Some(store) => store.write(batches.clone()).await,
            None => Written::default(),
        };
        let again = written.failed.then(|| Instant::now() + Duration::from_millis(SPILL_RETRY_MS));
        self.spilled(&batches, &written.frames, again);
        written.frames.len()
    }

    /// Writes down how far everything is delivered.
    pub(super) async fn close(&self) {
        let Some(store) = &self.store else { return };
        let delivered = self.delivered();
        store
            .on_disk(move |_, disk| {
                if disk.spool.is_none() {
                    return;
                }
                // The spool speaks of errors itself; they cost only repetitions.
                let _ = disk.fetch(delivered);
                let _ = disk.spool.as_mut().map(Spool::sync);
            })
            .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::metrics::Gauge;
    use crate::base::wake::Wake;
    use crate::model::batch::{Inbox, Ticket};
    use crate::model::budget::Budget;
    use bytes::Bytes;

    #[test]
    fn a_batch_comes_back_with_its_tenant() {
        let wake = Wake::new().unwrap();
        for tenant in [None, Some("t"), Some("another tenant")] {
            let charge = Budget::new(1000, Gauge::default()).charge(10, &wake);
            let ticket = Ticket::new(1, 1, Inbox::new(wake.clone()));
            let body = Bytes::from_static(b"the body");
            let batch =
                Batch::new(body.clone(), 70_000, 3, Instant::now(), ticket, charge).of_tenant(tenant.map(Arc::from));
            let (meta, framed) = frame_of(&batch);
            let payload = framed.map_or(body.clone(), Bytes::from);
            let load = load_of(Frame { sequence: 1, created_s: 0, meta, payload });
            assert_eq!((load.body, load.raw_bytes, load.entries, load.tenant.as_deref()), (body, 70_000, 3, tenant));
        }
    }
}
