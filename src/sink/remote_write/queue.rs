//! Sealed requests on their way to one endpoint: in memory, and behind that on disk.
//!
//! What is on disk is older than what is in memory, and is sent first. What the endpoint has not taken for a few seconds goes to disk, the request that is
//! being sent as well, so that a kill leaves no gap in the middle. A spill takes all that is there, for one sync.
//!
//! Promises: requests come out in the order in which they were put in, each until it is delivered, and then never again but after a kill or power loss. Memory is bounded: where the
//! disk takes nothing the oldest go, and are counted. Putting in never waits. Leaves to others: the disk (`sink::spool`), sending (`sender`).

use super::request::Request;
use super::status::{Drop, Status};
use crate::base::limits::{REMOTE_QUEUE_BYTES, REMOTE_SPILL_MS, SPILL_RETRY_MS};
use crate::base::shutdown::Shutdown;
use crate::sink::spool::Store;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The queue of one endpoint.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// For the sender: something was put in, or a spill has ended.
    filled: Notify,
    /// For who spills: something changed that its plan depends on.
    changed: Notify,
    store: Option<Store>,
    status: Arc<Status>,
}

#[derive(Debug, Default)]
struct State {
    /// The oldest first.
    memory: VecDeque<Arc<Request>>,
    /// Compressed, of those.
    bytes: usize,
    /// What the sender has in hand.
    busy: Option<Busy>,
    /// A spill is under way: of what is in hand, and of so many in memory.
    spilling: Option<usize>,
    /// A frame that is delivered and not acknowledged.
    delivered: Option<u64>,
    /// The disk cannot be read: not again before this.
    read_again: Option<Instant>,
    /// The disk takes nothing: not again before this.
    spill_again: Option<Instant>,
    /// All goes to disk at once.
    spill_all: bool,
}

#[derive(Debug)]
struct Busy {
    /// If it was taken from memory.
    request: Option<Arc<Request>>,
    /// Its number on disk, if it is there.
    frame: Option<u64>,
    /// Whether it was delivered, while a spill of it was under way.
    ended: Option<bool>,
}

/// What the sender should do.
enum Choice {
    Send(Arc<Request>),
    /// Acknowledge this frame, and read the one behind it.
    Disk(Option<u64>),
    /// Look again at this time, or when something is told.
    At(Instant),
    /// Look again when something is told.
    Wait,
    /// There is nothing.
    Empty,
}

/// What should go to disk.
enum Plan {
    /// These, in this order.
    Now(Vec<Arc<Request>>),
    At(Instant),
    Never,
}

impl Queue {
    /// `store`: the spool, if it has one.
    pub(super) fn new(store: Option<Store>, status: Arc<Status>) -> Self {
        Queue { state: Mutex::default(), filled: Notify::new(), changed: Notify::new(), store, status }
    }

    /// Puts a request at the end. From any thread.
    pub(super) fn push(&self, request: Request) {
        let request = Arc::new(request);
        let mut state = self.lock();
        self.told(&request, 1);
        state.bytes += request.body.len();
        state.memory.push_back(request);
        self.keep_bound(&mut state);
        drop(state);
        self.filled.notify_one();
        self.changed.notify_one();
    }

    /// Lets the oldest go that are above the bound and are not on their way to the disk.
    fn keep_bound(&self, state: &mut State) {
        // With a disk that works there is room as soon as it has written.
        let held = state.spilling.unwrap_or(0);
        while state.bytes > REMOTE_QUEUE_BYTES
            && let Some(request) = state.memory.remove(held)
        {
            state.bytes = state.bytes.saturating_sub(request.body.len());
            self.told(&request, -1);
            self.status.dropped(Drop::QueueFull, u64::from(request.content.samples));
        }
    }

    /// Takes the next request, as soon as there is one. [`Queue::finished`] must follow.
    pub(super) async fn next(&self) -> Arc<Request> {
        loop {
            if let Some(request) = self.follow(self.choose()).await {
                return request;
            }
        }
    }

    /// The same; `None`: there is nothing any more, in memory and on disk.
    pub(super) async fn next_or_end(&self) -> Option<Arc<Request>> {
        loop {
            let choice = self.choose();
            if matches!(choice, Choice::Empty) {
                return None;
            }
            if let Some(request) = self.follow(choice).await {
                return Some(request);
            }
        }
    }

    async fn follow(&self, choice: Choice) -> Option<Arc<Request>> {
        match choice {
            Choice::Send(request) => return Some(request),
            Choice::Disk(delivered) => return self.read_disk(delivered).await,
            Choice::At(again) => tokio::select! {
                () = self.filled.notified() => {}
                () = tokio::time::sleep_until(again.into()) => {}
            },
            Choice::Wait | Choice::Empty => self.filled.notified().await,
        }
        None
    }

    fn choose(&self) -> Choice {
        let mut state = self.lock();
        // With the lock held: a spill that ends meanwhile is seen whole or not at all.
        let (known, maybe) = match &self.store {
            Some(store) => (store.has_frames(), store.may_have_frames()),
            None => (false, false),
        };
        state.choose(known, maybe, Instant::now())
    }

    async fn read_disk(&self, delivered: Option<u64>) -> Option<Arc<Request>> {
        let store = self.store.as_ref()?;
        let before = store.status().bytes;
        let again = Some(Instant::now() + Duration::from_millis(SPILL_RETRY_MS));
        let frame = match store.fetch(delivered).await {
            Ok(frame) => frame,
            Err(error) => {
                // The spool has said it, and gives up what cannot be read after a few attempts.
                tracing::debug!(error, "the spool is read again after a pause");
                self.lock().read_again = again;
                return None;
            }
        };
        let mut state = self.lock();
        state.delivered = None;
        state.read_again = None;
        if store.status().bytes < before && state.spill_again.take().is_some() {
            self.changed.notify_one();
        }
        let frame = frame?;
        let Some(request) = Request::of_frame(&frame) else {
            tracing::warn!("the spool holds a request that a later version has written; it is dropped");
            self.status.dropped(Drop::Unreadable, u64::from(frame.meta.entries));
            state.delivered = Some(frame.sequence);
            return None;
        };
        state.busy = Some(Busy { request: None, frame: Some(frame.sequence), ended: None });
        Some(Arc::new(request))
    }

    /// The sender is through with what it took: it is settled, or comes out again.
    pub(super) fn finished(&self, delivered: bool) {
        let mut state = self.lock();
        let spilling = state.spilling.is_some();
        let Some(busy) = &mut state.busy else { return };
        if spilling && busy.request.is_some() && busy.frame.is_none() {
            busy.ended = Some(delivered);
        } else {
            self.end_busy(&mut state, delivered);
        }
        drop(state);
        self.changed.notify_one();
    }

    fn end_busy(&self, state: &mut State, delivered: bool) {
        let Some(busy) = state.busy.take() else { return };
        match (busy.request, busy.frame) {
            (_, Some(frame)) => state.delivered = delivered.then_some(frame),
            (Some(request), None) if delivered => self.told(&request, -1),
            (Some(request), None) => {
                state.bytes += request.body.len();
                state.memory.push_front(request);
                self.keep_bound(state);
            }
            (None, None) => {}
        }
    }

    /// From now on everything goes to disk at once.
    pub(super) fn spill_all(&self) {
        self.lock().spill_all = true;
        self.changed.notify_one();
    }

    /// Puts requests on disk when that is due, until `stop`.
    pub(super) async fn spill(&self, mut stop: Shutdown) {
        let Some(store) = self.store.as_ref() else { return };
        loop {
            let due = match self.plan(store, Instant::now()) {
                Plan::Now(requests) => {
                    let planned = requests.len();
                    let written = store.write(requests).await;
                    self.spilled(planned, &written.frames, written.failed);
                    continue;
                }
                // What is to be written at once is written before the end.
                _ if stop.is_raised() => return,
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
                () = stop.raised() => {}
                () = self.changed.notified() => {}
                () = sleep => {}
            }
        }
    }

    /// After [`Plan::Now`] a call of [`Queue::spilled`] must follow.
    fn plan(&self, store: &Store, now: Instant) -> Plan {
        let mut state = self.lock();
        if state.spilling.is_some() || !store.takes_batches() {
            return Plan::Never;
        }
        let plan = state.plan(now);
        if matches!(plan, Plan::Now(_)) {
            state.spilling = Some(state.memory.len());
        }
        plan
    }

    /// The first of those that were planned are on disk, under these numbers.
    fn spilled(&self, planned: usize, frames: &[u64], failed: bool) {
        let mut state = self.lock();
        let of_memory = state.spilling.take().unwrap_or(0);
        let mut frames = frames.iter();
        // One more than those in memory was in hand.
        if planned > of_memory
            && let Some(frame) = frames.next()
            && let Some(busy) = &mut state.busy
        {
            busy.frame = Some(*frame);
            if let Some(request) = busy.request.take() {
                self.told(&request, -1);
            }
        }
        for _ in frames {
            if let Some(request) = state.memory.pop_front() {
                state.bytes = state.bytes.saturating_sub(request.body.len());
                self.told(&request, -1);
            }
        }
        if let Some(delivered) = state.busy.as_ref().and_then(|busy| busy.ended) {
            self.end_busy(&mut state, delivered);
        }
        state.spill_again = failed.then(|| Instant::now() + Duration::from_millis(SPILL_RETRY_MS));
        self.keep_bound(&mut state);
        drop(state);
        self.filled.notify_one();
    }

    /// Nothing is sent any more: writes down how far everything is delivered, and counts what is lost. Waits for the disk.
    pub(super) async fn close(&self, within: Duration) {
        if let Some(store) = &self.store {
            let delivered = self.lock().delivered;
            let _ = tokio::time::timeout(within, store.on_disk(move |_, disk| disk.close(delivered))).await;
        }
        let mut state = self.lock();
        let in_hand = state.busy.take().filter(|busy| busy.frame.is_none()).and_then(|busy| busy.request);
        let left: Vec<_> = in_hand.into_iter().chain(state.memory.drain(..)).collect();
        state.bytes = 0;
        drop(state);
        let mut samples = 0;
        for request in left {
            self.told(&request, -1);
            samples += u64::from(request.content.samples);
        }
        self.status.dropped(Drop::Stopped, samples);
        if samples > 0 {
            tracing::warn!(samples, "neither the endpoint nor its spool has taken these samples; they are lost");
        }
    }

    /// Whether everything is settled.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        let on_disk = self.store.as_ref().is_some_and(Store::has_frames);
        state.memory.is_empty() && state.busy.is_none() && !on_disk
    }

    fn told(&self, request: &Request, sign: i64) {
        let bytes = i64::try_from(request.body.len()).unwrap_or(0);
        self.status.waits(sign * i64::from(request.content.samples), sign * bytes, sign);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole even after a panic elsewhere: each change is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// `known`: there are frames on disk. `maybe`: there are, or nobody knows as the directory cannot be opened.
    fn choose(&mut self, known: bool, maybe: bool, now: Instant) -> Choice {
        if self.spilling.is_some() {
            return Choice::Wait;
        }
        self.read_again = self.read_again.filter(|at| now < *at);
        if known || maybe || self.delivered.is_some() {
            match self.read_again {
                None => return Choice::Disk(self.delivered),
                // What is there is older, and given up by the spool if it cannot be read.
                Some(at) if known => return Choice::At(at),
                // Nobody knows: what is in memory does not wait for that.
                Some(at) if self.memory.is_empty() => return Choice::At(at),
                Some(_) => {}
            }
        }
        let Some(request) = self.memory.pop_front() else { return Choice::Empty };
        self.bytes = self.bytes.saturating_sub(request.body.len());
        self.busy = Some(Busy { request: Some(Arc::clone(&request)), frame: None, ended: None });
        Choice::Send(request)
    }

    fn plan(&self, now: Instant) -> Plan {
        let in_hand = self.busy.as_ref().filter(|busy| busy.frame.is_none()).and_then(|busy| busy.request.as_ref());
        let mut all = in_hand.into_iter().chain(&self.memory).peekable();
        let Some(oldest) = all.peek() else { return Plan::Never };
        let age = Duration::from_millis(REMOTE_SPILL_MS);
        let at_once = self.spill_all || self.bytes > REMOTE_QUEUE_BYTES / 2;
        let due = if at_once { now } else { oldest.sealed + age };
        let due = self.spill_again.map_or(due, |again| due.max(again));
        if due <= now { Plan::Now(all.map(Arc::clone).collect()) } else { Plan::At(due) }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
