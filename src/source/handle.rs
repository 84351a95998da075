//! What a thread that reads sources is made of and held by: it is told to change its sources and outputs, to stop, and not to wait any longer;
//! and it shows that it lives each time it looks for such orders.
//!
//! Promises: whoever asks for a change of a thread that takes no more hears so. Leaves to others: what a change means (`file/reload`,
//! `journal/reload`).

use super::stages::Pipeline;
use crate::base::clock::Clock;
use crate::base::metrics::Registry;
use crate::base::pulse::Pulse;
use crate::base::shutdown::Trigger;
use crate::base::wake::Wake;
use crate::model::flow::{Limits, Output};
use crate::pipeline::metrics::{Metrics, render};
use crate::store::checkpoint::Checkpoints;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// What such a thread is made of; it takes sets of sources `N`.
pub struct Parts<N> {
    /// The sources and their outputs, all of them new.
    pub next: N,
    /// The open checkpoints.
    pub store: Checkpoints,
    /// Wakes the thread; the outputs wake it too.
    pub wake: Wake,
    /// The wall clock.
    pub clock: Clock,
    /// Where the sources' series are registered.
    pub registry: Registry,
    /// Where metrics of stages are shown.
    pub kept: KeptOfThread,
    /// Raised when the thread ends, however it ends.
    pub alive: Trigger,
    /// Raised when all sources have been looked at for the first time: from then on what happens to them is followed.
    pub begun: Trigger,
}

/// A running thread that takes sets of sources `N` and shows a status `S` for each source.
pub struct Handle<N, S> {
    /// By source, in the order given.
    pub status: Vec<(String, S)>,
    stop: Arc<Stop>,
    orders: Arc<Orders<N, S>>,
    wake: Wake,
    thread: JoinHandle<()>,
}

/// How far stopping has come.
#[derive(Debug, Default)]
pub(super) struct Stop {
    /// Nothing is read any more.
    pub stopping: Arc<AtomicBool>,
    /// Nobody waits for what is in flight any more.
    abandoned: AtomicBool,
}

impl Stop {
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}

impl<N, S> std::fmt::Debug for Handle<N, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl<N, S> Handle<N, S> {
    pub(super) fn new(
        status: Vec<(String, S)>,
        stop: Arc<Stop>,
        orders: Arc<Orders<N, S>>,
        wake: Wake,
        thread: JoinHandle<()>,
    ) -> Self {
        Handle { status, stop, orders, wake, thread }
    }

    /// Tells the thread to stop reading, to wait until what is in flight is stored, and to end.
    pub fn stop(&self) {
        self.stop.stopping.store(true, Ordering::Release);
        self.wake.wake();
    }

    /// Tells a stopping thread not to wait any longer: what is in flight will be read again.
    pub fn abandon(&self) {
        self.stop.abandoned.store(true, Ordering::Release);
        self.wake.wake();
    }

    /// Changes to the next set of sources and outputs. False when the thread stops, or has ended: then nothing has changed.
    pub async fn change(&mut self, next: N) -> bool {
        let answered = self.orders.put(next);
        self.wake.wake();
        let Ok(status) = answered.await else { return false };
        self.status = status;
        true
    }

    /// By what one sees that the thread comes around, and what makes it come around soon.
    pub fn pulse(&self) -> (Pulse, Wake) {
        (self.orders.pulse.clone(), self.wake.clone())
    }

    /// Waits for the end. False when the thread failed.
    pub fn join(self) -> bool {
        self.thread.join().is_ok()
    }
}

/// Where the next set waits for the thread, and its answer: the status of each source, by name.
pub(super) struct Orders<N, S> {
    slot: Mutex<Slot<N, S>>,
    /// Answered by whoever looks for orders.
    pulse: Pulse,
}

type Answer<S> = oneshot::Sender<Vec<(String, S)>>;

enum Slot<N, S> {
    Empty,
    Waiting(Box<N>, Answer<S>),
    /// The thread takes no more.
    Closed,
}

impl<N, S> Default for Orders<N, S> {
    fn default() -> Self {
        Orders { slot: Mutex::new(Slot::Empty), pulse: Pulse::default() }
    }
}

impl<N, S> std::fmt::Debug for Orders<N, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Orders")
    }
}

impl<N, S> Orders<N, S> {
    /// Leaves an order. The answer never comes if the thread takes no more, or was told something else in the meantime.
    fn put(&self, next: N) -> oneshot::Receiver<Vec<(String, S)>> {
        let (answer, answered) = oneshot::channel();
        let mut slot = self.lock();
        if !matches!(*slot, Slot::Closed) {
            *slot = Slot::Waiting(Box::new(next), answer);
        }
        answered
    }

    /// What waits. Dropping the answer refuses it. Each call is a sign of life.
    pub(super) fn take(&self) -> Option<(Box<N>, Answer<S>)> {
        self.pulse.answer();
        let mut slot = self.lock();
        if !matches!(*slot, Slot::Waiting(..)) {
            return None;
        }
        match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Waiting(next, answer) => Some((next, answer)),
            Slot::Empty | Slot::Closed => None,
        }
    }

    /// Refuses what waits and what comes.
    pub(super) fn close(&self) {
        *self.lock() = Slot::Closed;
    }

    fn lock(&self) -> MutexGuard<'_, Slot<N, S>> {
        // Whole even after a panic elsewhere: it is replaced in one step.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An output of the next set.
pub enum NextOutput {
    /// One that is there, by its number, with these limits.
    Kept {
        /// Its place in the set before. Named once.
        number: usize,
        /// When it seals a batch, and how many streams it fills.
        limits: Limits,
    },
    /// Another one.
    New(Box<dyn Output>),
}

/// Whether the outputs that are to be kept are there, of so many; and each of the sources' outputs among the next ones.
pub(super) fn outputs_fit(next: &[NextOutput], there: usize, mut of_sources: impl Iterator<Item = usize>) -> bool {
    let mut kept: Vec<usize> = Vec::new();
    for output in next {
        if let NextOutput::Kept { number, .. } = output {
            if *number >= there || kept.contains(number) {
                return false;
            }
            kept.push(*number);
        }
    }
    of_sources.all(|output| output < next.len())
}

/// The next outputs. Those that are left are dropped: what their batches report goes nowhere.
pub(super) fn exchange(outputs: &mut Vec<Box<dyn Output>>, next: Vec<NextOutput>) {
    let mut old: Vec<Option<Box<dyn Output>>> = std::mem::take(outputs).into_iter().map(Some).collect();
    let next = next.into_iter().filter_map(|output| match output {
        NextOutput::New(output) => Some(output),
        NextOutput::Kept { number, limits } => {
            let mut output = old.get_mut(number)?.take()?;
            output.set_limits(limits);
            Some(output)
        }
    });
    *outputs = next.collect();
}

/// The metrics that stages of all sources keep, for whoever serves them: one list a thread, shown as one, so that a metric of several sources is
/// described once.
#[derive(Debug, Clone, Default)]
pub struct Kept(Arc<Mutex<Vec<Vec<Metrics>>>>);

impl Kept {
    /// Shown by this registry.
    pub fn new(registry: &Registry, clock: Clock) -> Self {
        let kept = Kept::default();
        let shown = kept.clone();
        registry.add_writer(move |text| render(shown.lock().iter().flatten(), clock.now_ns(), text));
        kept
    }

    /// A list for one thread.
    pub fn list(&self) -> KeptOfThread {
        let mut lists = self.lock();
        lists.push(Vec::new());
        KeptOfThread { all: self.clone(), number: lists.len() - 1 }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Metrics>>> {
        // Whole lists are put in.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The list of one thread.
#[derive(Debug)]
pub struct KeptOfThread {
    all: Kept,
    number: usize,
}

impl KeptOfThread {
    /// From now on the metrics of these pipelines are shown.
    pub(super) fn show<'a>(&self, pipelines: impl Iterator<Item = &'a Pipeline>) {
        let metrics = pipelines.map(|pipeline| pipeline.metrics().clone()).filter(|metrics| !metrics.is_empty());
        if let Some(list) = self.all.lock().get_mut(self.number) {
            *list = metrics.collect();
        }
    }
}
