//! The thread that reads journals: it waits, looks at files, reads in turns, and hands on.
//!
//! Journald writes through a mapping, of which nobody is told; but some 250 to 500 ms after the first new entry it touches the file, and that
//! wakes the thread. While entries come it looks by itself, every [`JOURNAL_HOT_MS`], and for a minute after that every [`JOURNAL_WARM_MS`];
//! with nothing to do it sleeps, and no timer runs but the slow sweep. Before the first message of a unit for half a minute journald opens its directory,
//! to see how much room there is: of that one is told at once, and looks a few times ([`JOURNAL_OPENED_MS`]).
//!
//! Promises: a checkpoint moves only after the output says that the chunk is stored; while the output has no room nothing is read. Stopping
//! flushes, waits for what is in flight as long as it may, and closes the checkpoints.

use super::numbering::Books;
use super::places::Watches;
use super::reload::{Next, own_entries};
use super::source::Source;
use super::status::Status;
use super::turn::{Buffers, Turned, forget_passed, is_behind, pass_over, release, release_of, turn};
use crate::base::clock::Clock;
use crate::base::limits::{
    JOURNAL_GRACE_MS, JOURNAL_HOT_FOR_MS, JOURNAL_HOT_MS, JOURNAL_OPENED_MS, JOURNAL_PASS_MS, JOURNAL_WARM_FOR_MS,
    JOURNAL_WARM_MS, PACE_MS, PIPELINE_HELD_BYTES, SWEEP_MS,
};
use crate::base::metrics::Registry;
use crate::base::rate::WhenOver;
use crate::base::shutdown::Trigger;
use crate::base::wake::Wake;
use crate::model::flow::Output;
use crate::pipeline::CompileError;
use crate::pipeline::relabel::RelabelError;
use crate::source::handle::{self, KeptOfThread, Orders, Stop};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why the journal sources could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Stages that the configuration should have refused.
    #[error("source {source_name}: {error}")]
    Stages {
        /// The source's name.
        source_name: String,
        /// What is wrong with them.
        error: CompileError,
    },
    /// Rules that the configuration should have refused.
    #[error("source {source_name}: {error}")]
    Rules {
        /// The source's name.
        source_name: String,
        /// What is wrong with them.
        error: RelabelError,
    },
    /// No thread could be made.
    #[error("cannot start the thread that reads journals: {0}")]
    Thread(std::io::Error),
}

/// What a worker is made of.
pub type Parts = handle::Parts<Next>;

/// A running worker.
pub type Handle = handle::Handle<Next, Status>;

/// Starts the thread that reads the journals of all sources.
pub fn start(parts: Parts) -> Result<Handle, StartError> {
    let Parts { next, store, wake, clock, registry, kept, alive, begun } = parts;
    let (stop, orders) = (Arc::new(Stop::default()), Arc::new(Orders::default()));
    let mut worker = Worker {
        sources: Vec::new(),
        outputs: Vec::new(),
        books: Books::new(store),
        watches: Watches::new(),
        buffers: Buffers::default(),
        orders: Arc::clone(&orders),
        registry,
        clock,
        wake: wake.clone(),
        stop: Arc::clone(&stop),
        kept,
        own_unit: own_entries(),
    };
    worker.change(next);
    let status = worker.statuses();
    let run = move || {
        let _alive = alive;
        worker.run(begun);
    };
    let thread = std::thread::Builder::new().name("lugger-journal".into()).spawn(run).map_err(StartError::Thread)?;
    Ok(Handle::new(status, stop, orders, wake, thread))
}

pub(super) struct Worker {
    pub(super) sources: Vec<Source>,
    pub(super) outputs: Vec<Box<dyn Output>>,
    pub(super) books: Books,
    pub(super) watches: Watches,
    pub(super) buffers: Buffers,
    pub(super) orders: Arc<Orders<Next, Status>>,
    pub(super) registry: Registry,
    pub(super) clock: Clock,
    pub(super) wake: Wake,
    stop: Arc<Stop>,
    kept: KeptOfThread,
    /// The field and value by which entries of the agent itself are known.
    pub(super) own_unit: Option<(&'static [u8], Box<[u8]>)>,
}

/// Chunks read before events are looked at again.
const TURNS: usize = 16;
/// How often gauges are brought up to date while there is something to tell; and how often one looks when nobody tells of changes.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

impl Worker {
    fn run(mut self, begun: Trigger) {
        let mut timers = Timers::new(Instant::now());
        let mut begun = Some(begun);
        while !self.stop.is_stopping() {
            if self.obey() {
                timers = Timers::new(Instant::now());
            }
            let now = Instant::now();
            self.take_events(now, &mut timers);
            for source in &mut self.sources {
                if source.again_at.is_some_and(|at| now >= at) {
                    source.go_on(now);
                }
                source.reading |= source.is_told();
            }
            let due = self.tick(now);
            let progress = self.read_all(now);
            // Dropping it raises it.
            drop(begun.take());
            let held_until = self.release_due();
            self.switch_later(now);
            if progress {
                timers.entries_at = Some(now);
                timers.pass_at.get_or_insert(now + Duration::from_millis(JOURNAL_PASS_MS));
                timers.housekeeping_at.get_or_insert(now + HOUSEKEEPING);
            }
            self.look_after(now, &mut timers);
            let (is_ready, wait) = self.readiness(now);
            if is_ready {
                continue;
            }
            let rest = self.sources.iter_mut().filter_map(|source| source.rest(now)).min();
            let again = self.sources.iter().filter_map(|source| source.again_at).min();
            // What was taken in while directories were listed.
            let changed = self.watches.has_changed().then_some(timers.events_at.max(now));
            let next = [due, held_until, wait, timers.next(now), rest, again, changed].into_iter().flatten().min();
            self.wait(&timers, next);
        }
        self.finish();
    }

    /// Takes in the events that have gathered, if the last time is long enough ago; and looks without any while entries come.
    fn take_events(&mut self, now: Instant, timers: &mut Timers) {
        if now < timers.events_at {
            return;
        }
        self.watches.drain();
        let changed = self.watches.take_changed();
        let names = self.watches.names();
        let is_new = self.sources.iter().any(|source| source.listed_at != Some(names));
        let is_hot = timers.hot_at.is_some_and(|at| now >= at);
        let is_swept = now >= timers.sweep_at;
        // While entries come one looks anyway.
        if self.watches.take_opened() && timers.entries_at.is_none() {
            timers.opened_at = Some((now, 0));
        }
        let is_opened = timers.opened_look().is_some_and(|at| now >= at);
        if !(!changed.is_empty() || is_new || is_hot || is_opened || is_swept) {
            return;
        }
        timers.events_at = now + Duration::from_millis(PACE_MS);
        if is_swept {
            timers.sweep_at = now
                + match self.watches.fd() {
                    // A reload begins it again.
                    _ if self.sources.is_empty() => NEVER,
                    Some(_) => SWEEP,
                    None => HOUSEKEEPING,
                };
        }
        timers.hot_at = None;
        if is_opened {
            timers.opened_at = timers.opened_at.map(|(at, looks)| (at, looks + 1));
            self.sources.iter_mut().for_each(Source::expect);
        }
        for source in &mut self.sources {
            source.hear(&changed, now);
            source.all |= is_swept;
            source.relist |= is_swept;
        }
    }

    /// Lets the outputs seal and commit. Gives the time when one of them wants to be called again.
    fn tick(&mut self, now: Instant) -> Option<Instant> {
        let Worker { outputs, books, .. } = self;
        outputs.iter_mut().filter_map(|output| output.tick(now, books)).min()
    }

    /// Reads sources in turn. True if entries were read.
    fn read_all(&mut self, now: Instant) -> bool {
        let mut progress = false;
        for _ in 0..TURNS {
            let mut any = false;
            for at in 0..self.sources.len() {
                any |= self.read_one(at, now);
            }
            progress |= any;
            if !any || self.watches.fd().is_none() {
                break;
            }
        }
        progress
    }

    /// Reads a chunk of a source, if there is one and it may. True if it was read.
    fn read_one(&mut self, at: usize, now: Instant) -> bool {
        let now_ns = self.clock.now_ns();
        let Worker { sources, outputs, books, watches, buffers, .. } = self;
        let Some(source) = sources.get_mut(at) else { return false };
        if source.fresh && !source.reading {
            source.look(books, watches, (now, now_ns));
        }
        let Some(output) = outputs.get_mut(source.output) else { return false };
        if !source.reading || !output.has_room() || rate_of(source, now, now_ns).is_some() {
            return false;
        }
        let turned = turn(source, books, output.as_mut(), buffers, now);
        for file_id in source.done.drain(..) {
            books.end_file(&source.settings.name, file_id);
        }
        if turned == Turned::Done {
            source.settle();
        }
        if buffers.held.get() > PIPELINE_HELD_BYTES {
            self.release_all(at);
        }
        turned == Turned::Read || self.sources.get(at).is_some_and(|source| source.active == now)
    }

    /// Whether a source can go on at once, and else when one may that has to wait for a time.
    fn readiness(&mut self, now: Instant) -> (bool, Option<Instant>) {
        let now_ns = self.clock.now_ns();
        let mut wait: Option<Instant> = None;
        for source in &mut self.sources {
            if !source.reading && !source.fresh {
                continue;
            }
            let until = if source.reading { rate_of(source, now, now_ns) } else { None };
            match until {
                Some(at) => wait = Some(wait.map_or(at, |other| other.min(at))),
                None if !source.reading || self.outputs.get(source.output).is_some_and(|o| o.has_room()) => {
                    return (true, None);
                }
                // It is woken when there is room.
                None => {}
            }
        }
        (false, wait)
    }

    /// Sends what waits no longer for further lines. Says when to ask again.
    fn release_due(&mut self) -> Option<Instant> {
        let now_ns = self.clock.now_ns();
        let grace = Duration::from_millis(JOURNAL_GRACE_MS).as_nanos() as i64;
        let now = Instant::now();
        let mut next_ns: Option<i64> = None;
        let mut next: Option<Instant> = None;
        let held = |n: &super::numbering::Numbering| n.strand.as_ref().and_then(|strand| strand.due_ns());
        let due: Vec<(usize, i64)> = self.books.iter().filter_map(|(number, n)| Some((number, held(n)?))).collect();
        for (number, due_ns) in due {
            let name = self.books.get(number).map(|n| n.source.clone()).unwrap_or_default();
            let Some(at) = self.sources.iter().position(|source| source.settings.name == name) else { continue };
            let Worker { sources, outputs, books, buffers, .. } = &mut *self;
            let Some(source) = sources.get_mut(at) else { continue };
            let from = due_ns.saturating_add(grace);
            if now_ns < from {
                next_ns = Some(next_ns.map_or(from, |other| other.min(from)));
            } else if source.reading || source.is_waiting() {
                // Its further lines may be there already.
            } else if let Some(at) = books.get(number).and_then(|n| source.quiet_from(n.seqnum_id, now)) {
                next = Some(next.map_or(at, |other| other.min(at)));
            } else if source.looked_ns < from {
                source.fresh = true;
            } else if let Some(output) = outputs.get_mut(source.output) {
                release(source, books, output.as_mut(), buffers, number, false, due_ns, None);
            }
        }
        let wait = next_ns.map(|at| u64::try_from(at.saturating_sub(now_ns)).unwrap_or(0));
        [next, wait.map(|ns| now + Duration::from_nanos(ns))].into_iter().flatten().min()
    }

    /// Sends what waits for further lines where it was sent before at the place that was reached: no entry behind it may come for long.
    pub(super) fn release_again(&mut self, at: usize) {
        let Worker { sources, outputs, books, buffers, .. } = self;
        let Some(source) = sources.get_mut(at) else { return };
        let Some(output) = outputs.get_mut(source.output) else { return };
        let its: Vec<usize> =
            books.iter().filter(|(_, n)| n.source == source.settings.name).map(|(number, _)| number).collect();
        for number in its {
            if let Some(numbering) = books.get_mut(number) {
                forget_passed(numbering);
            }
            while let Some(intent) = books.get(number).and_then(release_of) {
                if let Some(numbering) = books.get_mut(number) {
                    numbering.replay.pop_front();
                }
                let (all, time_ns) = (intent.note.all, intent.time_ns);
                release(source, books, output.as_mut(), buffers, number, all, time_ns, Some(intent));
            }
        }
    }

    /// Sends all of a source that waits for further lines.
    pub(super) fn release_all(&mut self, at: usize) {
        let Worker { sources, outputs, books, buffers, .. } = self;
        let Some(source) = sources.get_mut(at) else { return };
        let Some(output) = outputs.get_mut(source.output) else { return };
        let is_its = |n: &super::numbering::Numbering| n.source == source.settings.name && n.replay.is_empty();
        let its: Vec<(usize, i64)> = books
            .iter()
            .filter(|(_, n)| is_its(n))
            .filter_map(|(number, n)| Some((number, n.strand.as_ref()?.due_ns()?)))
            .collect();
        for (number, due_ns) in its {
            release(source, books, output.as_mut(), buffers, number, true, due_ns, None);
        }
    }

    /// What is due at times.
    fn look_after(&mut self, now: Instant, timers: &mut Timers) {
        if let Some(since) = timers.entries_at.map(|at| now.saturating_duration_since(at)) {
            let (hot, warm) = (Duration::from_millis(JOURNAL_HOT_FOR_MS), Duration::from_millis(JOURNAL_WARM_FOR_MS));
            let pause = if since < hot { JOURNAL_HOT_MS } else { JOURNAL_WARM_MS };
            if since < warm {
                timers.hot_at.get_or_insert(now + Duration::from_millis(pause));
            } else {
                timers.entries_at = None;
            }
        }
        if timers.pass_at.is_some_and(|at| now >= at) {
            timers.pass_at = None;
            self.pass_all();
        }
        if timers.housekeeping_at.is_some_and(|at| now >= at) {
            self.publish(now);
            let busy = self.outputs.iter().any(|output| !output.is_settled())
                || self.sources.iter().any(|source| source.reading);
            timers.housekeeping_at = busy.then(|| now + HOUSEKEEPING);
        }
    }

    /// Moves cursors over what nobody wanted.
    fn pass_all(&mut self) {
        let Worker { sources, outputs, books, buffers, .. } = self;
        for source in sources {
            if is_behind(&source.settings.name, books)
                && let Some(output) = outputs.get_mut(source.output)
            {
                pass_over(&source.settings.name, books, output.as_mut(), buffers);
            }
        }
    }

    /// Brings the gauges up to date.
    fn publish(&self, now: Instant) {
        let now_us = u64::try_from(self.clock.now_ns() / 1000).unwrap_or_default();
        for source in &self.sources {
            let name = &source.settings.name;
            let its = self.books.iter().filter(|(_, n)| n.source == *name);
            let in_flight: u64 = its.map(|(_, n)| n.in_flight()).sum();
            source.status.lag_bytes.set(in_flight as f64);
            source.status.files.set(source.followed() as f64);
            let oldest = self.outputs.get(source.output).and_then(|o| o.oldest()).filter(|_| in_flight > 0);
            let stored = oldest.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
            let unread = if source.reading && source.last_realtime_us > 0 {
                now_us.saturating_sub(source.last_realtime_us) as f64 / 1e6
            } else {
                0.0
            };
            source.status.lag_seconds.set(stored.max(unread));
        }
    }

    /// From now on the metrics are shown that stages of these sources keep.
    pub(super) fn show_kept(&self) {
        self.kept.show(self.sources.iter().filter_map(|source| source.pipeline.as_deref()));
    }

    pub(super) fn statuses(&self) -> Vec<(String, Status)> {
        self.sources.iter().map(|source| (source.settings.name.clone(), source.status.clone())).collect()
    }

    /// Sleeps until something happens or `next` comes.
    fn wait(&mut self, timers: &Timers, next: Option<Instant>) {
        let now = Instant::now();
        let timeout = next.map(|at| at.saturating_duration_since(now));
        let pause = timers.events_at.saturating_duration_since(now);
        self.books.store.flush();
        let result = if pause.is_zero() {
            self.wake.wait(self.watches.fd(), timeout)
        } else {
            // Events gather for the rest of the pace; what is settled wakes at once.
            self.wake.wait(None, Some(timeout.map_or(pause, |t| t.min(pause))))
        };
        if let Err(error) = result {
            tracing::error!(%error, "waiting for the journal failed; it is looked at every second");
            std::thread::park_timeout(HOUSEKEEPING);
        }
    }

    /// Flushes and waits until all is stored, or nobody wants to wait any longer.
    fn finish(mut self) {
        self.orders.close();
        self.pass_all();
        let Worker { outputs, books, .. } = &mut self;
        for output in outputs.iter_mut() {
            output.flush(books);
        }
        loop {
            self.tick(Instant::now());
            if self.stop.is_abandoned() || self.outputs.iter().all(|o| o.is_settled()) {
                break;
            }
            if self.wake.wait(None, None).is_err() {
                break;
            }
        }
        self.publish(Instant::now());
        self.books.store.close();
    }
}

/// When there is no source.
const NEVER: Duration = Duration::from_secs(24 * 3600);
/// The slow look at everything.
const SWEEP: Duration = Duration::from_millis(SWEEP_MS);

/// Until when a source has to wait because it has used up a rate.
fn rate_of(source: &mut Source, now: Instant, now_ns: i64) -> Option<Instant> {
    if let Some(until) = source.pipeline.as_ref().and_then(|pipeline| pipeline.wait_until_ns()) {
        let wait = u64::try_from(until.saturating_sub(now_ns)).unwrap_or(0);
        if wait > 0 {
            return Some(now + Duration::from_nanos(wait));
        }
    }
    let rate = source.rate.as_mut()?;
    match rate.limit().when_over {
        WhenOver::Block => rate.next_share(now),
        WhenOver::Drop => None,
    }
}

/// When things are due.
struct Timers {
    /// Events may be taken in from then on.
    events_at: Instant,
    sweep_at: Instant,
    /// Entries were read then, if it is not long ago; more may come without events, and are looked for next.
    entries_at: Option<Instant>,
    hot_at: Option<Instant>,
    /// A directory was opened then, and so many times one has looked what for.
    opened_at: Option<(Instant, usize)>,
    /// Cursors are moved over what nobody wanted.
    pass_at: Option<Instant>,
    housekeeping_at: Option<Instant>,
}

impl Timers {
    fn new(now: Instant) -> Self {
        Timers {
            events_at: now,
            sweep_at: now + SWEEP,
            entries_at: None,
            hot_at: None,
            opened_at: None,
            pass_at: None,
            housekeeping_at: Some(now),
        }
    }

    /// When one looks next what a directory was opened for.
    fn opened_look(&self) -> Option<Instant> {
        let (at, looks) = self.opened_at?;
        Some(at + Duration::from_millis(*JOURNAL_OPENED_MS.get(looks)?))
    }

    fn next(&self, now: Instant) -> Option<Instant> {
        // What is overdue waits for the pace of events.
        let after = |at: Instant| at.max(self.events_at).max(now);
        let looks = [Some(self.sweep_at), self.hot_at, self.opened_look()].into_iter().flatten().map(after);
        looks.chain(self.pass_at).chain(self.housekeeping_at).min()
    }
}
