//! A source's inlet as its receivers use it: time stamps, chunks of records, waiting for room, syncing.
//!
//! Promises: no two records of a source have one time of receipt, so that equal messages are told apart; what is taken is in the inlet or counted. A
//! stop makes room for what was read already. Leaves to others: sockets, what records mean.

use super::status::Status;
use crate::base::clock::Clock;
use crate::base::limits::{
    CLOCK_AHEAD_NS, INLET_REST_MS, RECEIVE_CHUNK_BYTES, RECEIVE_CONNECTIONS, RECEIVE_LOOK_MS, RECEIVE_ROOM_MS,
    RECEIVE_SYNC_MS, RECEIVE_WAIT_MS,
};
use crate::base::shutdown::Shutdown;
use crate::format::record::{Kind, Pieces, encode};
use crate::store::inlet::{AppendError, Counters, Inlet, Kept, Limits, Pending};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Port {
    /// `None`: it is closed.
    inlet: Mutex<Option<Inlet>>,
    counters: Counters,
    /// What its counters and those of refusals said when this began, records.
    lost_before: u64,
    limits: Mutex<Limits>,
    clock: Clock,
    /// The time of the next record.
    next_ns: AtomicI64,
    message_bytes: AtomicUsize,
    pub(super) status: Status,
    written: Notify,
    /// What it is fed from cannot be read any more.
    broken: AtomicBool,
    /// Connections of streams, whichever of its receivers has them.
    pub(super) slots: Arc<Semaphore>,
    /// What they hold of messages that have not ended, bytes.
    pub(super) unfinished: Arc<AtomicUsize>,
    /// What they have read and the inlet has not taken yet, as records, bytes.
    pub(super) waiting: Arc<AtomicUsize>,
}

/// Records that are to be appended together.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) records: u64,
    /// Bytes of their messages.
    pub(super) message_bytes: u64,
}

impl Chunk {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes off the first record. `None`: it is the only one.
    pub(super) fn split_first(&mut self) -> Option<Chunk> {
        if self.records <= 1 {
            return None;
        }
        let end = memchr::memchr(b'\n', &self.bytes)?.saturating_add(1);
        let bytes = self.bytes.drain(..end).collect();
        self.records = self.records.saturating_sub(1);
        // Which of them has how many is of no account.
        Some(Chunk { bytes, records: 1, message_bytes: std::mem::take(&mut self.message_bytes) })
    }

    /// Empties it; what a large message took is given back.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(RECEIVE_CHUNK_BYTES);
        (self.records, self.message_bytes) = (0, 0);
    }
}

impl Port {
    pub(super) fn new(
        (inlet, counters): (Inlet, Counters),
        limits: Limits,
        message_bytes: usize,
        clock: Clock,
        status: Status,
    ) -> Self {
        status.fullness.begin(inlet.given_up());
        Port {
            inlet: Mutex::new(Some(inlet)),
            lost_before: counters.all_dropped().saturating_add(status.refused()),
            counters,
            limits: Mutex::new(limits),
            clock,
            next_ns: AtomicI64::new(0),
            message_bytes: AtomicUsize::new(message_bytes),
            status,
            written: Notify::new(),
            broken: AtomicBool::new(false),
            slots: Arc::new(Semaphore::new(RECEIVE_CONNECTIONS)),
            unfinished: Arc::default(),
            waiting: Arc::default(),
        }
    }

    /// Goes on under other bounds.
    pub(super) fn set_limits(&self, limits: Limits, message_bytes: usize) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
        if let Some(inlet) = self.lock().as_mut() {
            inlet.set_limits(limits);
        }
        self.message_bytes.store(message_bytes, Ordering::Relaxed);
    }

    /// What it is fed from failed, and has not just ended.
    pub(super) fn break_off(&self) {
        self.broken.store(true, Ordering::Release);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Messages that were received and given up.
    pub(super) fn lost(&self) -> u64 {
        self.counters.all_dropped().saturating_add(self.status.refused()).saturating_sub(self.lost_before)
    }

    /// The longest message, bytes.
    pub(super) fn message_bytes(&self) -> usize {
        self.message_bytes.load(Ordering::Relaxed)
    }

    /// What is received from here on is received now.
    pub(super) fn begin(&self) {
        let now = self.clock.now_ns();
        // Others may stamp at the same time: what they were given is not given again.
        let later = |next: i64| (next < now || next.saturating_sub(now) > CLOCK_AHEAD_NS).then_some(now);
        let _ = self.next_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// A time of receipt of its own.
    pub(super) fn stamp(&self) -> i64 {
        self.next_ns.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a message to a chunk; of one that is too long, or of which bytes are `missing`, the head, which says so.
    pub(super) fn put(&self, kind: Kind, peer: Option<&str>, message: &[u8], missing: u64, chunk: &mut Chunk) {
        chunk.message_bytes = chunk.message_bytes.saturating_add((message.len() as u64).saturating_add(missing));
        let cut = self.cut(message, missing);
        let message = cut.as_deref().unwrap_or(message);
        let pieces = Pieces { kind, received_ns: self.stamp(), time_ns: None, tenant: None, peer, message };
        encode(&pieces, [], [], &mut chunk.bytes);
        chunk.records += 1;
    }

    /// The head of a message that is too long, with a mark. `None`: it is not.
    pub(super) fn cut(&self, message: &[u8], missing: u64) -> Option<Vec<u8>> {
        let most = self.message_bytes();
        if missing == 0 && message.len() <= most {
            return None;
        }
        self.status.cut.add(1);
        let total = (message.len() as u64).saturating_add(missing);
        let mark = format!(" [truncated: message of {total} bytes]");
        let mut keep = most.saturating_sub(mark.len()).min(message.len());
        // Not within a character.
        while keep > 0 && message.get(keep).is_some_and(|byte| byte & 0xc0 == 0x80) {
            keep -= 1;
        }
        let head = message.get(..keep).unwrap_or_default();
        Some([head, mark.as_bytes()].concat())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Inlet>> {
        // An inlet is usable after any of its calls.
        self.inlet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a chunk, if the inlet takes it.
    pub(super) fn append(&self, chunk: &Chunk) -> Result<Kept, AppendError> {
        let mut inlet = self.lock();
        let kept = append(&mut inlet, chunk);
        self.note(&inlet);
        drop(inlet);
        self.count(chunk, kept.is_ok());
        kept
    }

    /// The same; `None`: somebody else is at it, who may wait for the disk.
    pub(super) fn try_append(&self, chunk: &Chunk) -> Option<Result<Kept, AppendError>> {
        let mut inlet = match self.inlet.try_lock() {
            Ok(inlet) => inlet,
            Err(TryLockError::Poisoned(inlet)) => inlet.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let kept = append(&mut inlet, chunk);
        self.note(&inlet);
        self.count(chunk, kept.is_ok());
        Some(kept)
    }

    /// Appends a chunk when nobody else is at the inlet, and lets others of the thread work until then.
    pub(super) async fn append_soon(&self, chunk: &Chunk) -> Result<Kept, AppendError> {
        loop {
            if let Some(kept) = self.try_append(chunk) {
                return kept;
            }
            tokio::time::sleep(Duration::from_millis(RECEIVE_SYNC_MS)).await;
        }
    }

    /// Notes what the disk does not take, and what is given up.
    fn note(&self, inlet: &Option<Inlet>) {
        self.status.unwritten.note(inlet.as_ref().map_or(0, Inlet::held_bytes));
        if let Some(inlet) = inlet {
            self.status.fullness.note_lost(inlet.given_up());
        }
    }

    /// Notes that a sender was sent away as there is no room.
    pub(super) fn note_refused(&self) {
        if self.status.fullness.note_refused(self.clock.now_ns() / 1_000_000_000) {
            let place = self.lock().as_ref().map(|inlet| inlet.place().to_owned()).unwrap_or_default();
            tracing::warn!(
                inlet = place,
                "pushes are refused with 429, as the source's queue is full: see why endpoints are behind, or give the source a larger `queue`"
            );
        }
    }

    /// What is appended is received.
    fn count(&self, chunk: &Chunk, is_kept: bool) {
        if is_kept {
            self.status.messages.add(chunk.records);
            self.status.bytes.add(chunk.message_bytes);
            self.written.notify_one();
        }
    }

    /// Appends a chunk, and waits for room. What was read before a stop is appended even above the bound; a full disk is waited for a moment even so.
    pub(super) async fn append_all(&self, chunk: &mut Chunk, stop: &mut Shutdown) {
        let mut waited = false;
        let mut last_at: Option<Instant> = None;
        while !chunk.is_empty() {
            match self.append_soon(chunk).await {
                Ok(_) => break,
                Err(error) if stop.is_raised() => {
                    let room = Duration::from_millis(RECEIVE_ROOM_MS);
                    let last_at = *last_at.get_or_insert_with(|| Instant::now() + room);
                    if !matches!(error, AppendError::Disk(_)) || last_at <= Instant::now() {
                        self.append_above(chunk);
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(RECEIVE_WAIT_MS)).await;
                }
                // Waiting would be for ever.
                Err(AppendError::TooLarge { .. }) => match chunk.split_first() {
                    Some(mut first) => Box::pin(self.append_all(&mut first, stop)).await,
                    None => {
                        self.give_up(chunk);
                        break;
                    }
                },
                Err(error) => {
                    if !std::mem::replace(&mut waited, true) {
                        self.status.held_up.add(1);
                        tracing::debug!(%error, "senders wait");
                    }
                    let pause = tokio::time::sleep(Duration::from_millis(RECEIVE_WAIT_MS));
                    tokio::select! {
                        () = pause => {}
                        () = stop.raised() => {}
                    }
                }
            }
        }
        chunk.clear();
    }

    /// Counts a message that does not fit into the inlet at all.
    pub(super) fn give_up(&self, chunk: &Chunk) {
        self.status.refuse("too_large", chunk.records);
        tracing::warn!(
            bytes = chunk.bytes.len(),
            "a message that does not fit into `queue` is lost: give the source a larger one"
        );
    }

    /// Appends what can be given back to nobody.
    pub(super) fn append_above(&self, chunk: &Chunk) {
        let limits = *self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut inlet = self.lock();
        if let Some(inlet) = inlet.as_mut() {
            let room = inlet.bytes().saturating_add(chunk.bytes.len() as u64).max(limits.bytes);
            inlet.set_limits(Limits { bytes: room, ..limits });
        }
        let kept = append(&mut inlet, chunk);
        self.count(chunk, kept.is_ok());
        if let Err(error) = kept {
            self.status.refuse("disk", chunk.records);
            tracing::warn!(%error, records = chunk.records, "messages that were received are lost");
        }
        if let Some(inlet) = inlet.as_mut() {
            inlet.set_limits(limits);
        }
    }

    /// What is taken and not in a file yet, bytes. `None`: somebody is at it.
    pub(super) fn held_bytes(&self) -> Option<usize> {
        self.inlet.try_lock().ok().map(|inlet| inlet.as_ref().map_or(0, Inlet::held_bytes))
    }

    /// Makes what is in files last. The inlet takes more while the disk is waited for.
    pub(super) fn sync(&self) -> bool {
        let mut inlet = self.lock();
        let pending = inlet.as_mut().map(Inlet::begin_sync);
        self.note(&inlet);
        drop(inlet);
        let Some(synced) = pending.map(Pending::run) else { return true };
        // What fails is counted and told by the inlet.
        self.lock().as_mut().is_none_or(|inlet| inlet.end_sync(synced).is_ok())
    }

    /// Lets the inlet go, so that another may open its directory: nothing is taken any more.
    pub(super) fn close(&self) {
        let inlet = self.lock().take();
        drop(inlet);
    }

    /// Syncs every second for as long as anything is written, beside the thread that receives. Where nothing is, what was delivered gives its room back.
    pub(super) async fn keep_synced(self: Arc<Self>) {
        let mut rests = false;
        loop {
            let rest = tokio::time::sleep(Duration::from_millis(INLET_REST_MS));
            tokio::select! {
                () = self.written.notified() => rests = false,
                () = rest, if !rests => {
                    let port = Arc::clone(&self);
                    let rested = move || port.lock().as_mut().is_none_or(Inlet::rest);
                    rests = tokio::task::spawn_blocking(rested).await.unwrap_or(true);
                    continue;
                }
            }
            tokio::time::sleep(Duration::from_millis(RECEIVE_LOOK_MS)).await;
            let port = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || port.sync()).await.ok() != Some(true) {
                self.written.notify_one();
            }
        }
    }
}

fn append(inlet: &mut Option<Inlet>, chunk: &Chunk) -> Result<Kept, AppendError> {
    match inlet {
        Some(inlet) => inlet.append(&chunk.bytes, chunk.records),
        None => Err(AppendError::Closed),
    }
}
