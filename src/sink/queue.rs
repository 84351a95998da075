//! An endpoint's queue: batches in memory, and behind the same door what was put on disk because it waited for too long.
//!
//! Two lanes take turns. Batches that go to other endpoints as well are *shared*: they come out in order, those on disk first, because
//! they are older. Batches of sources that go to this endpoint alone never go to disk (their file is the queue) and do not
//! wait for what is there, except while a source of what is there may have become one of them.
//!
//! Promises: within a lane batches come out in the order in which they went in; putting one in never blocks; only what another
//! endpoint has stored is named for the disk (anything shared once the endpoint, or a source of it, leaves), without gaps within a budget, and a batch is settled
//! when it is delivered or when it is on disk, whichever comes first. Leaves to others: the bound of what is in memory, which is the budget that all batches are charged to;
//! writing and reading (`spill`).

use super::spill::{News, Store};
use crate::base::limits::{SPILL_AGE_MS, SPILL_BYTES, SPILL_SHARE};
use crate::model::batch::Batch;
use crate::model::budget::Budget;
use crate::store::spool::Frame;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A queue from source threads to one sender.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    filled: Notify,
    pub(super) news: News,
    pub(super) store: Option<Store>,
}

/// What one request carries.
#[derive(Debug)]
pub struct Load {
    /// The request body: one raw snappy block of an encoded push request.
    pub body: Bytes,
    /// Size before compression, bytes.
    pub raw_bytes: usize,
    /// Number of entries.
    pub entries: u32,
    /// Whose it is, if not the endpoint's own tenant's.
    pub tenant: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct State {
    /// Batches that go to other endpoints as well. What is on disk is older than they are.
    shared: VecDeque<Arc<Batch>>,
    /// Batches of sources that go to this endpoint alone.
    alone: VecDeque<Arc<Batch>>,
    /// Whether it is the turn of `alone`.
    turn_of_alone: bool,
    /// Some of what is on disk may be of sources that go to this endpoint alone by now: it goes before everything.
    disk_first: Option<Until>,
    busy: Option<Busy>,
    /// A spill is being written: until it is over nothing is taken from the shared lane.
    spilling: bool,
    /// A frame that is delivered and not yet acknowledged.
    delivered: Option<u64>,
    /// Everything that may go to disk goes there.
    spill_all: bool,
    /// Nothing goes to this endpoint any more: also what no endpoint has stored may go to disk.
    leaving: bool,
    /// Sources of batches that were opened by then may go elsewhere now: no file will be read for this endpoint to get them once more. So they go
    /// to disk at once, whether or not another endpoint has them.
    parted: Option<Instant>,
    /// What the spool is to keep to when none of these is left: its bytes, and the age of frames in seconds.
    room: Option<(u64, u64)>,
    /// The disk could not be read; it is left alone until then.
    read_again: Option<Instant>,
    /// The disk took nothing; it is left alone until then.
    spill_again: Option<Instant>,
}

/// How much of what is on disk goes before everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// All, and what comes there: the sources are about to change.
    Changed,
    /// What is there when the directory can be opened. Nothing waits for that.
    Opened,
    /// What has this number or one below.
    Frame(u64),
}

/// What the sender has in hand.
#[derive(Debug)]
struct Busy {
    /// `None`: it came from disk.
    batch: Option<Arc<Batch>>,
    /// Its number on disk.
    frame: Option<u64>,
    /// What became of it, if that was while a spill was being written. True: delivered.
    ended: Option<bool>,
}

/// What the sender should do next.
pub(super) enum Choice {
    /// Send this batch.
    Batch(Arc<Batch>),
    /// Acknowledge this frame, and send the one behind it.
    Disk(Option<u64>),
    /// There is nothing to send before this time, unless something happens.
    At(Instant),
    /// There is nothing to send.
    Wait,
}

/// What should go to disk.
pub(super) enum Plan {
    /// These, in this order. They stay in the queue until [`Queue::spilled`].
    Now(Vec<Arc<Batch>>),
    /// Nothing before this time, unless something happens.
    At(Instant),
    /// Nothing, unless something happens.
    Never,
}

/// The batches that are charged to one budget, as far as they may go to disk.
struct Group<'a> {
    budget: &'a Budget,
    batches: Vec<&'a Arc<Batch>>,
    bytes: u64,
    oldest: Instant,
    /// One that must not go was met: those behind it wait for their turn.
    closed: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Self::new(None, News::default())
    }
}

impl Queue {
    /// A queue without batches. `store`: the endpoint's spool, if it has one; `news` is shared by all endpoints of the agent.
    pub fn new(store: Option<Store>, news: News) -> Self {
        let disk_first = store.as_ref().filter(|store| store.may_have_frames()).map(Until::now);
        let state = State { disk_first, ..State::default() };
        Queue { state: Mutex::new(state), filled: Notify::new(), news, store }
    }

    /// Puts a batch at the end. From any thread.
    pub fn push(&self, batch: Arc<Batch>) {
        // Its source may be waiting for room as soon as it is in.
        let look = batch.is_shared() && self.can_spill() && batch.charge().budget().is_short();
        let mut state = self.lock();
        let lane = if batch.is_shared() { &mut state.shared } else { &mut state.alone };
        lane.push_back(batch);
        drop(state);
        self.filled.notify_one();
        if look {
            self.news.tell();
        }
    }

    /// Batches that are not finished, the one being sent included; without those on disk.
    pub fn len(&self) -> usize {
        let state = self.lock();
        state.shared.len() + state.alone.len() + usize::from(state.busy.is_some())
    }

    /// Whether every batch is finished.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nothing goes to this endpoint any more: everything that goes to others as well may go to disk, and does so at once. It is there if the
    /// endpoint comes back.
    pub fn leave(&self) {
        self.lock().leaving = true;
        self.spill_all();
    }

    /// Lets go of everything that is in memory, for an endpoint that nothing goes to any more. Its sender must have ended. What is on disk
    /// stays there. How many entries it was.
    pub fn retire(&self) -> u64 {
        let mut state = self.lock();
        state.leaving = true;
        // Only after a panic of the sender.
        let _ = state.end_busy(false);
        let batches: Vec<_> = std::mem::take(&mut state.shared).into_iter().chain(state.alone.drain(..)).collect();
        drop(state);
        for batch in &batches {
            batch.released();
        }
        self.news.tell();
        batches.iter().map(|batch| u64::from(batch.entries)).sum()
    }

    /// Sources that went to this endpoint and to others go elsewhere now: what is in memory goes to disk at once, as no file will be read for
    /// this endpoint to get it once more.
    pub fn part(&self) {
        self.lock().parted = Some(Instant::now());
        self.news.tell();
    }

    /// Entries in memory that [`Queue::part`] was about.
    pub fn parted_entries(&self) -> u64 {
        self.lock().parted().map(|batch| u64::from(batch.entries)).sum()
    }

    /// Changes the bounds of its spool, as for [`Store::new`]. It keeps its room for what [`Queue::part`] was about.
    pub fn resize_spool(&self, bytes: u64, age_s: u64) {
        let mut state = self.lock();
        state.room = Some((bytes, age_s));
        self.give_room(&mut state);
        drop(state);
        self.news.tell();
    }

    /// Gives the spool the bounds that it is to have, if the time has come.
    fn give_room(&self, state: &mut State) {
        let Some((bytes, age_s)) = state.room else { return };
        if (bytes > 0 || state.parted().next().is_none())
            && let Some(store) = &self.store
        {
            store.resize(bytes, age_s);
            state.room = None;
        }
    }

    /// What is on disk goes before everything: to be called before a source goes to this endpoint alone that did not before.
    /// [`Queue::disk_first_until_here`] must follow.
    pub fn disk_first(&self) {
        self.lock().disk_first = Some(Until::Changed);
    }

    /// The sources have changed: what is on disk by now goes before everything, and what comes there later does not.
    pub fn disk_first_until_here(&self) {
        let mut state = self.lock();
        state.disk_first = self.store.as_ref().map(Until::now);
        drop(state);
        self.filled.notify_one();
    }

    /// From now on everything that may go to disk goes there at once: the agent stops.
    pub fn spill_all(&self) {
        self.lock().spill_all = true;
        self.news.tell();
    }

    /// Whether something waits that can still go to disk.
    pub fn is_spilling(&self) -> bool {
        let state = self.lock();
        state.spilling || (self.can_spill() && matches!(state.plan(Instant::now()), Plan::Now(_)))
    }

    /// Whether batches may go to disk.
    pub(super) fn can_spill(&self) -> bool {
        self.store.as_ref().is_some_and(Store::takes_batches)
    }

    /// Waits until something was put in, or a spill has ended.
    pub(super) async fn filled(&self) {
        // A permit is kept when it comes between the look and the wait.
        self.filled.notified().await;
    }

    /// What to send next. For one sender at a time.
    pub(super) fn choose(&self) -> Choice {
        let mut state = self.lock();
        // Looked at with the lock held: a spill that ends meanwhile is seen whole or not at all.
        let on_disk = self.store.as_ref().is_some_and(Store::may_have_frames);
        if state.disk_first == Some(Until::Opened) {
            state.disk_first = self.store.as_ref().map(Until::now);
        }
        state.choose(on_disk, Instant::now())
    }

    /// The sender has taken this frame.
    pub(super) fn took(&self, frame: &Frame) {
        let mut state = self.lock();
        state.disk_first = state.disk_first.filter(|until| until.includes(frame.sequence));
        state.busy = Some(Busy { batch: None, frame: Some(frame.sequence), ended: None });
    }

    /// The frame that was delivered before is acknowledged.
    pub(super) fn acknowledged(&self) {
        self.lock().delivered = None;
    }

    /// The disk cannot be read: not again before this time.
    pub(super) fn read_again(&self, at: Instant) {
        self.lock().read_again = Some(at);
    }

    /// A frame that is delivered and not acknowledged.
    pub(super) fn delivered(&self) -> Option<u64> {
        self.lock().delivered
    }

    /// The sender is through with what it took: it is delivered, or comes out again.
    pub fn finished(&self, delivered: bool) {
        let mut state = self.lock();
        let spilling = state.spilling;
        let Some(busy) = &mut state.busy else { return };
        if spilling && busy.batch.is_some() {
            busy.ended = Some(delivered);
            return;
        }
        let settled = state.end_busy(delivered);
        self.give_room(&mut state);
        drop(state);
        self.settle(settled.into_iter(), true);
    }

    /// What should go to disk at this time. After [`Plan::Now`] a call of [`Queue::spilled`] must follow.
    pub(super) fn plan(&self, now: Instant) -> Plan {
        let mut state = self.lock();
        if state.spilling || !self.can_spill() {
            return Plan::Never;
        }
        let plan = state.plan(now);
        state.spilling = matches!(plan, Plan::Now(_));
        plan
    }

    /// The first of `batches` are on disk, safely, under the numbers `frames`. The others stay; `again`: when to try once more.
    pub(super) fn spilled(&self, batches: &[Arc<Batch>], frames: &[u64], again: Option<Instant>) {
        let mut state = self.lock();
        state.spilling = false;
        state.spill_again = again;
        // What is kept for an endpoint that is gone is stored nowhere for the others.
        let leaving = state.leaving;
        let mut settled = Vec::with_capacity(frames.len() + 1);
        let mut gone = batches.iter().zip(frames).peekable();
        if let Some(busy) = &mut state.busy
            && let Some(batch) = &busy.batch
            && let Some((_, frame)) = gone.next_if(|(gone, _)| Arc::ptr_eq(gone, batch))
        {
            busy.frame = Some(*frame);
            settled.push(Arc::clone(batch));
        }
        state.shared.retain(|batch| {
            let goes = gone.next_if(|(gone, _)| Arc::ptr_eq(gone, batch)).is_some();
            if goes {
                settled.push(Arc::clone(batch));
            }
            !goes
        });
        let mut sent = None;
        if let Some(delivered) = state.busy.as_ref().and_then(|busy| busy.ended) {
            sent = state.end_busy(delivered);
        }
        self.give_room(&mut state);
        drop(state);
        self.settle(settled.into_iter(), !leaving);
        self.settle(sent.into_iter(), true);
        self.filled.notify_one();
    }

    /// There is room on disk again.
    pub(super) fn spill_again(&self) {
        if self.lock().spill_again.take().is_some() {
            self.news.tell();
        }
    }

    fn settle(&self, batches: impl Iterator<Item = Arc<Batch>>, stored: bool) {
        for batch in batches {
            if stored {
                batch.settled();
            } else {
                batch.released();
            }
            if batch.is_shared() {
                self.news.tell();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole even after a panic elsewhere: each change is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Until {
    /// What is there by now.
    fn now(store: &Store) -> Self {
        store.newest().map_or(Until::Opened, Until::Frame)
    }

    fn includes(self, frame: u64) -> bool {
        !matches!(self, Until::Frame(last) if last < frame)
    }
}

impl State {
    fn choose(&mut self, on_disk: bool, now: Instant) -> Choice {
        if self.spilling {
            return Choice::Wait;
        }
        if !on_disk {
            self.disk_first = self.disk_first.filter(|until| *until == Until::Changed);
        }
        self.read_again = self.read_again.filter(|at| now < *at);
        let from_disk = on_disk || self.delivered.is_some();
        let shared = (from_disk && self.read_again.is_none()) || (!from_disk && !self.shared.is_empty());
        let held = on_disk && self.disk_first.is_some_and(|until| until != Until::Opened);
        let alone = !held && !self.alone.is_empty();
        let take_alone = alone && (self.turn_of_alone || !shared);
        self.turn_of_alone = !take_alone;
        let batch = if take_alone {
            self.alone.pop_front()
        } else if from_disk {
            return self.read_again.map_or(Choice::Disk(self.delivered), Choice::At);
        } else {
            self.shared.pop_front()
        };
        let Some(batch) = batch else { return Choice::Wait };
        self.busy = Some(Busy { batch: Some(Arc::clone(&batch)), frame: None, ended: None });
        Choice::Batch(batch)
    }

    /// Ends what the sender had in hand. A batch that is settled by that.
    fn end_busy(&mut self, delivered: bool) -> Option<Arc<Batch>> {
        let busy = self.busy.take()?;
        match (busy.batch, busy.frame) {
            (_, Some(frame)) => {
                self.delivered = delivered.then_some(frame);
                if delivered {
                    self.disk_first =
                        self.disk_first.filter(|until| !matches!(until, Until::Frame(last) if *last <= frame));
                }
                None
            }
            (Some(batch), None) if delivered => Some(batch),
            (Some(batch), None) => {
                let lane = if batch.is_shared() { &mut self.shared } else { &mut self.alone };
                lane.push_front(batch);
                None
            }
            (None, None) => None,
        }
    }

    /// Whether no file will be read for the endpoint to get this batch once more.
    fn parts_with(&self, batch: &Batch) -> bool {
        self.leaving || self.parted.is_some_and(|until| batch.opened <= until)
    }

    /// Batches in memory whose sources may go elsewhere now.
    fn parted(&self) -> impl Iterator<Item = &Arc<Batch>> {
        let in_hand = self.busy.as_ref().filter(|busy| busy.frame.is_none()).and_then(|busy| busy.batch.as_ref());
        let shared = in_hand.into_iter().filter(|batch| batch.is_shared()).chain(&self.shared);
        shared.filter(|batch| self.parted.is_some_and(|until| batch.opened <= until))
    }

    fn plan(&self, now: Instant) -> Plan {
        let in_hand = self.busy.as_ref().filter(|busy| busy.frame.is_none()).and_then(|busy| busy.batch.as_ref());
        let mut groups: Vec<Group<'_>> = Vec::new();
        for batch in in_hand.into_iter().filter(|batch| batch.is_shared()).chain(&self.shared) {
            let budget = batch.charge().budget();
            let group = match groups.iter_mut().position(|group| group.budget.is(budget)) {
                Some(at) => groups.get_mut(at),
                None => {
                    let group = Group { budget, batches: Vec::new(), bytes: 0, oldest: batch.opened, closed: false };
                    groups.push(group);
                    groups.last_mut()
                }
            };
            let Some(group) = group else { continue };
            group.closed |= !self.parts_with(batch) && !batch.is_stored_somewhere();
            if !group.closed && group.bytes < SPILL_BYTES {
                group.bytes += batch.charge().bytes();
                group.batches.push(batch);
            }
        }
        let age = Duration::from_millis(SPILL_AGE_MS);
        let mut at: Option<Instant> = None;
        // One budget at a time, so that what one plan takes stays bounded.
        for group in groups.iter().filter(|group| !group.batches.is_empty()) {
            let worth = (group.budget.max() / SPILL_SHARE).min(SPILL_BYTES);
            let short = group.budget.is_short() && group.bytes >= worth;
            let parts = group.batches.first().is_some_and(|batch| self.parts_with(batch));
            let due = if self.spill_all || short || parts { now } else { group.oldest + age };
            let due = self.spill_again.map_or(due, |again| due.max(again));
            if due <= now {
                return Plan::Now(group.batches.iter().copied().map(Arc::clone).collect());
            }
            at = Some(at.map_or(due, |at| at.min(due)));
        }
        at.map_or(Plan::Never, Plan::At)
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
