//! A tick: every collector once, and what is told of the collecting itself.
//!
//! Collectors run on threads of their own (`worker`) and never on the caller's: most on one that they share, one after the other; each that is known to
//! hang now and then on one of its own. All are asked first and waited for afterwards. One of those that share a thread which takes longer than a part of the
//! deadline has that thread to itself from then on, and the others go on with another in the same tick.
//! One that is not done by the deadline is late: its tick goes on without it, its result is thrown away when it comes, and until then it is
//! neither asked again nor waited for.
//!
//! Promises: one thread for each collector at most, also over [`Host::renew`]; a late collector delays one tick, by the deadline at most.
//! Leaves to others: when there is a tick; saying what failed ([`Host::failures`]) where it can be read.

use super::files::Buffer;
use super::own::{Own, boot_time_s};
use super::settings::Shared;
use super::told::Told;
use super::worker::{Member, Outcome, Owned};
use super::{COLLECTORS, Collector, Fail, Settings};
use crate::base::limits::HOST_HANGS_A_TICK;
use crate::model::samples::{Kind, Mark, Samples};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The collector that tells what others wrote.
const TEXTFILE: &str = "textfile";
/// The name of the thread that most share.
const SHARED: &str = "collect";

/// Collectors whose counters begin at 0 with the kernel and are of things that are there from then on: the processors, the scheduler, pressure. Not those of
/// devices, interfaces, interrupts or network namespaces, which may have come later, nor of what programs say.
const FROM_BOOT: [&str; 6] = ["cpu", "pressure", "schedstat", "softirqs", "softnet", "stat"];

/// The collectors of a host, with what they keep from one tick to the next.
pub struct Host {
    parts: Vec<Part>,
    /// Where those run that have no thread of their own.
    shared: Owned,
    /// Of collectors that are off and have not come back.
    left: Vec<(&'static str, Owned)>,
    deadline: Duration,
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
    /// None: where others do.
    own: Option<Owned>,
    /// It was found to hang where others run.
    hung: bool,
    /// How long a tick waits for it.
    deadline: Duration,
    took: Duration,
    succeeded: bool,
}

/// Where a collector is to run.
enum Place {
    Shared(Box<dyn Collector>),
    /// On the thread that it has; whether it hangs there, or did.
    Known(Box<dyn Collector>, bool),
    Own(Owned),
}

impl Host {
    /// The collectors that the settings name. Nothing is read yet.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn new(settings: &Settings) -> std::io::Result<Host> {
        let mut host = Host {
            parts: Vec::new(),
            shared: Owned::new(SHARED, Vec::new()),
            left: Vec::new(),
            deadline: settings.deadline,
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
        self.left.retain(|(_, own)| own.is_busy());
        // All that can fail comes first.
        let mut places = Vec::new();
        for entry in COLLECTORS.iter().filter(|entry| settings.is_on(entry.name)) {
            let collector = (entry.make)(&settings);
            let part = self.parts.iter().find(|part| part.name == entry.name);
            let known = part.and_then(|part| part.own.as_ref()).or_else(|| self.left_of(entry.name));
            let hangs = part.is_some_and(|part| part.hung) || known.is_some_and(|own| own.is_busy());
            let place = if !(hangs || entry.blocks || settings.has_deadline(entry.name)) {
                Place::Shared(collector)
            } else if known.is_some() {
                Place::Known(collector, hangs)
            } else {
                let own = Owned::new(entry.name, vec![Member::new(entry.name, collector)]);
                own.start()?;
                Place::Own(own)
            };
            places.push((entry.name, place));
        }
        if places.iter().any(|(_, place)| matches!(place, Place::Shared(_))) {
            self.shared.start()?;
        }
        let mut before = std::mem::take(&mut self.parts);
        let mut members = Vec::new();
        for (name, place) in places {
            let (own, hung) = match place {
                Place::Shared(collector) => {
                    members.push(Member::new(name, collector));
                    (None, false)
                }
                Place::Known(collector, hung) => {
                    let of_part = before.iter_mut().find(|part| part.name == name).and_then(|part| part.own.take());
                    let of_left = self.left.iter().position(|(left, _)| *left == name);
                    let own = of_part.or_else(|| of_left.map(|at| self.left.swap_remove(at).1));
                    if let Some(own) = &own {
                        own.renew(collector);
                    }
                    (own, hung)
                }
                Place::Own(own) => (Some(own), false),
            };
            let deadline = settings.deadline_of(name);
            self.parts.push(Part { name, own, hung, deadline, took: Duration::ZERO, succeeded: false });
        }
        self.shared.replace(members);
        self.deadline = settings.deadline;
        // Threads of collectors that are off now end, and those that hang when they come back: until then others must not get them in addition.
        let left = before.into_iter().filter_map(|part| part.own.map(|own| (part.name, own)));
        self.left.extend(left.filter(|(_, own)| own.is_busy()));
        let stat = settings.roots.proc.join("stat");
        if self.boot.as_ref().is_none_or(|(path, _)| *path != stat) {
            let boot_s = boot_time_s(&stat, &mut Buffer::default()).and_then(|boot| i64::try_from(boot).ok());
            self.boot = boot_s.map(|boot| (stat, boot.saturating_mul(1000)));
        }
        Ok(())
    }

    /// The thread of a collector that is off.
    fn left_of(&self, name: &str) -> Option<&Owned> {
        self.left.iter().find(|(left, _)| *left == name).map(|(_, own)| own)
    }

    /// A tick: adds what all collectors find now.
    pub fn collect(&mut self, out: &mut Samples) {
        self.failures.clear();
        self.told.clear();
        let mut since = out.mark();
        let boot_ms = self.boot.as_ref().map(|(_, boot_ms)| *boot_ms);
        let began = Instant::now();
        for own in self.parts.iter().filter_map(|part| part.own.as_ref()) {
            own.ask();
        }
        self.shared.ask();
        let until = began + self.deadline;
        while let Some(name) = self.shared.wait(until, self.deadline / HOST_HANGS_A_TICK) {
            self.separate(name);
            if Instant::now() >= until {
                break;
            }
            self.shared.go_on();
        }
        // What others wrote is told after what collectors read, which is why it does not matter who is done first.
        for apart in [false, true] {
            for part in self.parts.iter_mut().filter(|part| (part.own.is_some() && !part.hung) == apart) {
                let result = match &part.own {
                    None => self.shared.take(part.name, out),
                    Some(own) => {
                        own.wait(began + part.deadline, Duration::MAX);
                        own.take(part.name, out)
                    }
                };
                let limit_ms = part.deadline.as_millis();
                let (result, took) = match result {
                    Outcome::Ran(result, took) => (result, took),
                    Outcome::Hangs(took) => {
                        (Err(Fail::Error(format!("it hangs: it was not done after {limit_ms} ms"))), took)
                    }
                    Outcome::Unreached => {
                        let what = format!("it did not begin: others took all of the {limit_ms} ms");
                        (Err(Fail::Error(what)), Duration::ZERO)
                    }
                };
                part.took = took;
                part.note(result, &mut self.told, out, &mut since, boot_ms, &mut self.failures);
            }
        }
        self.tell(out);
        self.told.take(out, since, false);
    }

    /// Leaves the thread that most share to the collector that hangs there; the others get another.
    fn separate(&mut self, name: &str) {
        let Some(part) = self.parts.iter_mut().find(|part| part.name == name) else { return };
        let others = Owned::new(SHARED, self.shared.leave(name));
        part.own = Some(std::mem::replace(&mut self.shared, others));
        part.hung = true;
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
        self.others.statfs.end();
    }
}
