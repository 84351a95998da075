//! Threads that run collectors, and where they meet who asks for that.
//!
//! A [`Worker`] has one collector, or several that it runs one after the other. Who asks waits; if one of several is not done in time, it keeps its thread
//! to itself ([`Worker::leave`]) and the others get another.
//!
//! Promises: a worker has one thread at most; nobody who asks waits beyond the time that it says, whatever hangs, also when settings change or the worker
//! ends: collectors are dropped by their thread, as even closing a file may hang. What comes too late is thrown away.
//! Leaves to others: how long is waited, and what is told of it.

use super::{Collector, Fail};
use crate::base::limits::HOST_STACK_BYTES;
use crate::model::samples::Samples;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Collectors, and the thread that runs them.
pub(super) struct Worker {
    thread: &'static str,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    members: Vec<Member>,
    /// What is to be dropped by the thread.
    old: Vec<Box<dyn Collector>>,
    has_thread: bool,
    /// Somebody waits for what was asked.
    awaited: bool,
    ended: bool,
}

/// A collector of a worker.
pub(super) struct Member {
    name: &'static str,
    /// Away while it runs.
    collector: Option<Box<dyn Collector>>,
    /// What comes instead with the next run.
    next: Option<Box<dyn Collector>>,
    out: Samples,
    step: Step,
    /// Whether it was asked the last time; not if it was still busy then.
    asked: bool,
    /// Who asked went on without it.
    late: bool,
}

#[derive(Default)]
enum Step {
    #[default]
    Rest,
    Asked,
    Runs(Instant),
    Done(Result<(), Fail>, Duration),
}

/// What became of a collector that was asked.
pub(super) enum Outcome {
    /// It ran for so long.
    Ran(Result<(), Fail>, Duration),
    /// It has been running for so long.
    Hangs(Duration),
    /// Its turn did not come.
    Unreached,
}

impl Member {
    /// A collector that has not run yet.
    pub(super) fn new(name: &'static str, collector: Box<dyn Collector>) -> Member {
        let collector = Some(collector);
        Member { name, collector, next: None, out: Samples::default(), step: Step::Rest, asked: false, late: false }
    }

    fn is_awaited(&self) -> bool {
        self.asked && matches!(self.step, Step::Asked | Step::Runs(_))
    }

    fn is_busy(&self) -> bool {
        matches!(self.step, Step::Asked | Step::Runs(_))
    }
}

/// A worker that ends with this.
pub(super) struct Owned(Arc<Worker>);

impl Owned {
    /// A worker that has no thread yet: [`Worker::start`], or the first time it is asked. `thread` is what that is called.
    pub(super) fn new(thread: &'static str, members: Vec<Member>) -> Owned {
        let state = Mutex::new(State { members, ..State::default() });
        Owned(Arc::new(Worker { thread, state, changed: Condvar::new() }))
    }
}

impl Deref for Owned {
    type Target = Arc<Worker>;

    fn deref(&self) -> &Arc<Worker> {
        &self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl Worker {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one assignment: there is nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread, if there is none.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let mut state = self.lock();
        if !state.has_thread {
            let own = Arc::clone(self);
            let thread = std::thread::Builder::new().name(format!("lugger-{}", self.thread));
            thread.stack_size(HOST_STACK_BYTES).spawn(move || own.run())?;
            state.has_thread = true;
        }
        Ok(())
    }

    /// Asks for a run of all that are not still running. Without a thread they have failed.
    pub(super) fn ask(self: &Arc<Self>) {
        let mut any = false;
        for member in &mut self.lock().members {
            member.asked = !member.is_busy();
            if member.asked {
                (member.step, member.late) = (Step::Asked, false);
                any = true;
            }
        }
        if any {
            self.go_on();
        }
    }

    /// Sees to it that what was asked is run.
    pub(super) fn go_on(self: &Arc<Self>) {
        if let Err(error) = self.start() {
            for member in self.lock().members.iter_mut().filter(|member| matches!(member.step, Step::Asked)) {
                member.out.clear();
                let what = format!("its thread cannot be started: {error}");
                member.step = Step::Done(Err(Fail::Error(what)), Duration::ZERO);
            }
        }
        self.changed.notify_all();
    }

    /// Waits until all are done that were asked; for the one that runs until it has done so for `patience`. Which one is not done in time.
    pub(super) fn wait(&self, until: Instant, patience: Duration) -> Option<&'static str> {
        let mut state = self.lock();
        loop {
            let runs = |member: &&Member| member.asked && matches!(member.step, Step::Runs(_));
            let mut members = state.members.iter();
            let awaited = members.clone().find(runs).or_else(|| members.find(|member| member.is_awaited()))?;
            let bound = match awaited.step {
                Step::Runs(began) => began.checked_add(patience).map_or(until, |bound| bound.min(until)),
                _ => until,
            };
            let left = bound.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(awaited.name);
            }
            state.awaited = true;
            // Nobody is told that one begins.
            state = self.changed.wait_timeout(state, left.min(patience)).unwrap_or_else(PoisonError::into_inner).0;
            state.awaited = false;
        }
    }

    /// What became of a collector. What it told is added; if it is still running, that is thrown away when it comes.
    pub(super) fn take(&self, name: &str, out: &mut Samples) -> Outcome {
        let mut state = self.lock();
        let Some(member) = state.members.iter_mut().find(|member| member.name == name) else {
            return Outcome::Unreached;
        };
        match std::mem::take(&mut member.step) {
            Step::Done(result, took) if member.asked => {
                out.append(&member.out);
                Outcome::Ran(result, took)
            }
            Step::Runs(began) => {
                (member.step, member.late) = (Step::Runs(began), true);
                Outcome::Hangs(began.elapsed())
            }
            // It was still busy when it was asked, and has come back since.
            _ if !member.asked => Outcome::Hangs(Duration::ZERO),
            _ => Outcome::Unreached,
        }
    }

    /// Leaves this collector alone with the thread; the others.
    pub(super) fn leave(&self, name: &str) -> Vec<Member> {
        let mut state = self.lock();
        let (stays, others) = std::mem::take(&mut state.members).into_iter().partition(|member| member.name == name);
        state.members = stays;
        others
    }

    /// Takes other collectors in place of those that there are, of which none runs.
    pub(super) fn replace(&self, members: Vec<Member>) {
        let mut state = self.lock();
        let state = &mut *state;
        for member in std::mem::replace(&mut state.members, members) {
            match state.members.iter_mut().find(|other| other.name == member.name) {
                // If it hangs to drop it, that is this collector's fault.
                Some(other) => other.next = std::mem::replace(&mut other.collector, member.collector),
                None => state.old.extend(member.collector),
            }
        }
    }

    /// Takes another collector in place of the only one, when that has come back.
    pub(super) fn renew(&self, collector: Box<dyn Collector>) {
        if let Some(member) = self.lock().members.first_mut() {
            member.next = Some(collector);
        }
    }

    /// Whether something runs.
    pub(super) fn is_busy(&self) -> bool {
        self.lock().members.iter().any(Member::is_busy)
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            if state.ended || !state.old.is_empty() {
                let members = if state.ended { std::mem::take(&mut state.members) } else { Vec::new() };
                let (old, ended) = (std::mem::take(&mut state.old), state.ended);
                drop(state);
                drop((members, old));
                if ended {
                    return;
                }
                state = self.lock();
                continue;
            }
            let Some(member) = state.members.iter_mut().find(|member| matches!(member.step, Step::Asked)) else {
                if std::mem::take(&mut state.awaited) {
                    drop(state);
                    self.changed.notify_all();
                    state = self.lock();
                    continue;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let name = member.name;
            let (mut before, next) = (member.collector.take(), member.next.take());
            let mut out = std::mem::take(&mut member.out);
            let began = Instant::now();
            member.step = Step::Runs(began);
            drop(state);
            if next.is_some() {
                before = next;
            }
            out.clear();
            let result = before.as_mut().map_or(Err(Fail::NoData), |collector| collector.collect(&mut out));
            let took = began.elapsed();
            state = self.lock();
            // Others may have been taken away meanwhile, it never is.
            if let Some(member) = state.members.iter_mut().find(|member| member.name == name) {
                (member.collector, member.out) = (before, out);
                member.step = if std::mem::take(&mut member.late) { Step::Rest } else { Step::Done(result, took) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    /// Is done when it is told to.
    struct Told(Receiver<()>);

    impl Collector for Told {
        fn collect(&mut self, _: &mut Samples) -> Result<(), Fail> {
            self.0.recv().map_err(|_| Fail::NoData)
        }
    }

    fn in_a_minute() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// What was late comes back after it was not asked and before it is waited for: that costs nothing, and the next time it is told.
    #[test]
    fn who_was_not_asked_is_not_waited_for() {
        let (go, told) = channel();
        let worker = Owned::new("told", vec![Member::new("told", Box::new(Told(told)))]);
        let mut out = Samples::default();
        worker.ask();
        assert_eq!(worker.wait(in_a_minute(), Duration::from_millis(10)), Some("told"));
        assert!(matches!(worker.take("told", &mut out), Outcome::Hangs(_)));
        worker.ask();
        go.send(()).unwrap();
        let until = in_a_minute();
        while worker.is_busy() {
            assert!(Instant::now() < until);
            std::thread::yield_now();
        }
        let began = Instant::now();
        assert_eq!(worker.wait(in_a_minute(), Duration::MAX), None);
        assert!(matches!(worker.take("told", &mut out), Outcome::Hangs(_)));
        worker.ask();
        go.send(()).unwrap();
        assert_eq!(worker.wait(in_a_minute(), Duration::MAX), None);
        assert!(matches!(worker.take("told", &mut out), Outcome::Ran(Ok(()), _)));
        assert!(began.elapsed() < Duration::from_secs(50), "nobody waited for an end of the time");
    }
}
