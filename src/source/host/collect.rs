//! A tick: every collector once, and what is told of the collecting itself.
//!
//! Most collectors run on the caller's thread, one after the other. Each that may hang has a thread of its own, is asked first and waited for last.
//! One that is not done by the deadline is late: its tick goes on without it, its result is thrown away when it comes, and until then it is
//! neither asked again nor waited for.
//!
//! Promises: one thread for each collector that may hang, also over [`Host::renew`]; a late collector delays one tick, by the deadline at most.
//! Leaves to others: when there is a tick; saying what failed ([`Host::failures`]) where it can be read.

use super::files::Buffer;
use super::own::{Own, boot_time_s};
use super::settings::Shared;
use super::told::Told;
use super::{COLLECTORS, Collector, Entry, Fail, Settings};
use crate::base::limits::HOST_STACK_BYTES;
use crate::model::samples::{Kind, Mark, Samples};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The collector that tells what others wrote.
const TEXTFILE: &str = "textfile";

/// Collectors whose counters begin at 0 with the kernel and are of things that are there from then on: the processors, the scheduler, pressure. Not those of
/// devices, interfaces, interrupts or network namespaces, which may have come later, nor of what programs say.
const FROM_BOOT: [&str; 6] = ["cpu", "pressure", "schedstat", "softirqs", "softnet", "stat"];

/// The collectors of a host, with what they keep from one tick to the next.
pub struct Host {
    parts: Vec<Part>,
    failures: Vec<Failure>,
    others: Shared,
    own: Own,
    told: Told,
    /// When the host booted, milliseconds since 1970, by this file. It is read once: the kernel tells other seconds when the clock is adjusted, and counters begin but once.
    boot: Option<(PathBuf, i64)>,
}

/// A collector that told nothing, or not all, in the last tick, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The collector's name.
    pub collector: &'static str,
    /// What happened, where, and what to do if that is known.
    pub what: String,
}

/// A collector, where it runs and how its last run went.
struct Part {
    name: &'static str,
    runs: Runs,
    /// How long a tick waits for it, if it runs apart.
    deadline: Duration,
    took: Duration,
    succeeded: bool,
}

enum Runs {
    Here(Box<dyn Collector>),
    Apart(Arc<Place>),
}

/// Where the caller's thread and a collector's own meet.
#[derive(Default)]
struct Place {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    step: Step,
    /// Away while it runs.
    collector: Option<Box<dyn Collector>>,
    /// What comes instead when the one that is away is back.
    next: Option<Box<dyn Collector>>,
    out: Samples,
    /// The tick that asked went on without it.
    late: bool,
    ended: bool,
}

#[derive(Default)]
enum Step {
    #[default]
    Rest,
    Asked,
    Runs,
    Done(Result<(), Fail>, Duration),
}

impl Host {
    /// The collectors that the settings name. Nothing is read yet.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn new(settings: &Settings) -> std::io::Result<Host> {
        let mut host = Host {
            parts: Vec::new(),
            failures: Vec::new(),
            others: Shared::default(),
            own: Own::new(),
            told: Told::default(),
            boot: None,
        };
        host.renew(settings)?;
        Ok(host)
    }

    /// Takes other settings. What counters grew by is not lost; a collector that hangs keeps its thread, which takes the new settings when it is free.
    ///
    /// # Errors
    /// A thread cannot be started; the collectors are what they were then.
    pub fn renew(&mut self, settings: &Settings) -> std::io::Result<()> {
        let mut settings = settings.clone();
        settings.others = self.others.clone();
        let mut parts = Vec::new();
        let mut later = Vec::new();
        for entry in COLLECTORS.iter().filter(|entry| settings.is_on(entry.name)) {
            let collector = (entry.make)(&settings);
            let apart = entry.blocks || settings.has_deadline(entry.name);
            let runs = match self.place_of(entry).filter(|_| apart) {
                None if !apart => Runs::Here(collector),
                None => Runs::Apart(start(entry.name, collector)?),
                Some(place) => {
                    later.push((place.clone(), collector));
                    Runs::Apart(place)
                }
            };
            let deadline = settings.deadline_of(entry.name);
            parts.push(Part { name: entry.name, runs, deadline, took: Duration::ZERO, succeeded: false });
        }
        for (place, collector) in later {
            place.lock().next = Some(collector);
        }
        // Threads of collectors that are off now end with their parts.
        for part in &self.parts {
            if let Runs::Apart(place) = &part.runs
                && !parts.iter().any(|kept| kept.name == part.name && matches!(kept.runs, Runs::Apart(_)))
            {
                place.end();
            }
        }
        self.parts = parts;
        let stat = settings.roots.proc.join("stat");
        if self.boot.as_ref().is_none_or(|(path, _)| *path != stat) {
            let boot_s = boot_time_s(&stat, &mut Buffer::default()).and_then(|boot| i64::try_from(boot).ok());
            self.boot = boot_s.map(|boot| (stat, boot.saturating_mul(1000)));
        }
        Ok(())
    }

    fn place_of(&self, entry: &Entry) -> Option<Arc<Place>> {
        self.parts.iter().find(|part| part.name == entry.name).and_then(|part| match &part.runs {
            Runs::Here(_) => None,
            Runs::Apart(place) => Some(place.clone()),
        })
    }

    /// A tick: adds what all collectors find now.
    pub fn collect(&mut self, out: &mut Samples) {
        self.failures.clear();
        self.told.clear();
        let mut since = out.mark();
        let boot_ms = self.boot.as_ref().map(|(_, boot_ms)| *boot_ms);
        let began = Instant::now();
        for part in &self.parts {
            if let Runs::Apart(place) = &part.runs {
                place.ask();
            }
        }
        for part in &mut self.parts {
            if let Runs::Here(collector) = &mut part.runs {
                let began = Instant::now();
                let result = collector.collect(out);
                part.took = began.elapsed();
                part.note(result, &mut self.told, out, &mut since, boot_ms, &mut self.failures);
            }
        }
        for part in &mut self.parts {
            if let Runs::Apart(place) = &part.runs {
                let left = part.deadline.saturating_sub(began.elapsed());
                let result = match place.wait(left, out) {
                    Some((result, took)) => {
                        part.took = took;
                        result
                    }
                    None => {
                        part.took = began.elapsed();
                        Err(Fail::Error(format!("it hangs: it was not done after {} ms", part.deadline.as_millis())))
                    }
                };
                part.note(result, &mut self.told, out, &mut since, boot_ms, &mut self.failures);
            }
        }
        self.tell(out);
        self.told.take(out, since, false);
    }

    /// What failed in the last tick.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    fn tell(&mut self, out: &mut Samples) {
        out.family("node_scrape_collector_duration_seconds", "How long a collector took.", Kind::Gauge);
        for part in &self.parts {
            out.add(&[("collector", part.name)], part.took.as_secs_f64());
        }
        out.family("node_scrape_collector_success", "Whether a collector found what it is about.", Kind::Gauge);
        for part in &self.parts {
            out.add(&[("collector", part.name)], f64::from(u8::from(part.succeeded)));
        }
        out.family("node_exporter_build_info", "Always 1; the version that collects.", Kind::Gauge);
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        let labels =
            [("branch", "lugger"), ("goarch", arch), ("goos", "linux"), ("version", env!("CARGO_PKG_VERSION"))];
        out.add(&labels, 1.0);
        self.own.tell(out);
    }
}

impl Part {
    /// Takes in how a run went, and what it told since the mark. What it may not tell is taken out and is a failure.
    fn note(
        &mut self,
        result: Result<(), Fail>,
        told: &mut Told,
        out: &mut Samples,
        since: &mut Mark,
        boot_ms: Option<i64>,
        failures: &mut Vec<Failure>,
    ) {
        let wrong = told.take(out, *since, self.name == TEXTFILE);
        if let Some(boot_ms) = boot_ms.filter(|_| FROM_BOOT.contains(&self.name)) {
            out.counters_start(*since, boot_ms);
        }
        *since = out.mark();
        let result = result.and(wrong.map_or(Ok(()), |what| Err(Fail::Error(what))));
        self.succeeded = result.is_ok();
        if let Err(Fail::Error(what)) = result {
            failures.push(Failure { collector: self.name, what });
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.others.0.end();
        for part in &self.parts {
            if let Runs::Apart(place) = &part.runs {
                place.end();
            }
        }
    }
}

fn start(name: &'static str, collector: Box<dyn Collector>) -> std::io::Result<Arc<Place>> {
    let place = Arc::new(Place::default());
    place.lock().collector = Some(collector);
    let own = place.clone();
    let thread = std::thread::Builder::new().name(format!("lugger-{name}")).stack_size(HOST_STACK_BYTES);
    thread.spawn(move || own.run())?;
    Ok(place)
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one assignment: there is nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Asks for a run, unless one is still going on.
    fn ask(&self) {
        let mut state = self.lock();
        if matches!(state.step, Step::Rest | Step::Done(..)) {
            state.step = Step::Asked;
            drop(state);
            self.changed.notify_all();
        }
    }

    /// The result of the run that was asked for; none if it is not there in time.
    fn wait(&self, left: Duration, out: &mut Samples) -> Option<(Result<(), Fail>, Duration)> {
        let mut state = self.lock();
        if state.late {
            return None;
        }
        let until = Instant::now() + left;
        loop {
            match std::mem::take(&mut state.step) {
                Step::Done(result, took) => {
                    out.append(&state.out);
                    return Some((result, took));
                }
                step => state.step = step,
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.late = true;
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            if state.ended {
                return;
            }
            if !matches!(state.step, Step::Asked) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let Some(mut collector) = state.next.take().or_else(|| state.collector.take()) else { return };
            let mut out = std::mem::take(&mut state.out);
            state.step = Step::Runs;
            drop(state);
            out.clear();
            let began = Instant::now();
            let result = collector.collect(&mut out);
            let took = began.elapsed();
            state = self.lock();
            state.collector = Some(collector);
            state.out = out;
            // Nobody waits for what is late.
            state.step = if std::mem::take(&mut state.late) { Step::Rest } else { Step::Done(result, took) };
            self.changed.notify_all();
        }
    }
}
