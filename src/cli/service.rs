//! `lugger run` as a service: what the service manager hears of it.
//!
//! It hears that the agent is up when all sources have been looked at once, or have had time enough for it; how things are, in one line, when that
//! changes; that a reload begins and is over; that the agent stops; and, if it has a watchdog, a sign of life twice in its interval, as long as
//! this thread and those of the sources come around.
//!
//! Promises: nothing runs where there is no service manager; what is told has no secrets and no text of log lines. Leaves to others: what is done
//! about a sign that does not come.

use super::output::count;
use crate::agent::alive::{Alive, Silent};
use crate::agent::status::Snapshot;
use crate::agent::{Agent, Probe};
use crate::base::limits::{NOTIFY_BEGIN_MS, NOTIFY_STATUS_BYTES, NOTIFY_STATUS_MS};
use crate::base::notify::{Notifier, monotonic_us, watchdog};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Of an interval of the watchdog, the part after which a thread that was silent is looked at again.
const AGAIN: u32 = 16;

/// The service manager, if there is one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Service(Option<Arc<Told>>);

#[derive(Debug)]
struct Told {
    manager: Notifier,
    watchdog: Option<Duration>,
    is_ready: AtomicBool,
    is_stopping: AtomicBool,
    /// What it has not taken yet of what has to reach it.
    owed: Mutex<Option<String>>,
}

impl Service {
    /// The one that the environment names. What is wrong with that is a warning: the agent does its work without.
    pub fn from_environment() -> Self {
        let lookup = |name: &str| std::env::var(name).ok();
        let manager = Notifier::new(lookup).unwrap_or_else(|error| {
            tracing::warn!("{error}");
            None
        });
        let told = |manager| Told {
            manager,
            watchdog: watchdog(lookup),
            is_ready: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            owed: Mutex::new(None),
        };
        Service(manager.map(|manager| Arc::new(told(manager))))
    }

    /// Tells of this agent from now on. Must be called within the runtime of the thread that has to come around.
    pub fn watch(&self, agent: &Agent) {
        if let Some(told) = &self.0 {
            // It ends with the runtime.
            tokio::spawn(watch(Arc::clone(told), agent.probe(), agent.alive()));
        }
    }

    /// A reload begins.
    pub fn reloading(&self) {
        if let Some(told) = self.0.as_deref().filter(|told| told.is_ready.load(Ordering::Relaxed)) {
            told.must(format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_us()));
        }
    }

    /// A reload is over, well or not; `agent` is as it is now.
    pub fn reloaded(&self, agent: &Agent) {
        if let Some(told) = self.0.as_deref().filter(|told| told.is_ready.load(Ordering::Relaxed)) {
            told.must(format!("READY=1\nSTATUS={}\n", line(&agent.probe().snapshot(), &[])));
        }
    }

    /// The agent stops.
    pub fn stopping(&self) {
        if let Some(told) = &self.0 {
            told.is_stopping.store(true, Ordering::Relaxed);
            told.must("STOPPING=1\nSTATUS=stopping: what is under way is finished first\n".to_owned());
        }
    }
}

impl Told {
    /// Tells what has to reach the manager: if it is not taken now it is told again later. Of several such, the last one says how things are.
    fn must(&self, assignments: String) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        *owed = match self.manager.send(&assignments) {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%error, "the service manager does not listen; it is told again");
                Some(assignments)
            }
        };
    }

    /// Tells again what was not taken.
    fn pay(&self) {
        let owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(assignments) = owed {
            self.must(assignments);
        }
    }
}

async fn watch(told: Arc<Told>, probe: Probe, alive: Alive) {
    let mut said = line(&probe.snapshot(), &[]);
    // The first word of many: nothing hangs on it.
    let _ = told.manager.send(&format!("STATUS={said}\n"));
    // An error is that it takes long, which the line says.
    let _ = timeout(Duration::from_millis(NOTIFY_BEGIN_MS), probe.begun()).await;
    if told.is_stopping.load(Ordering::Relaxed) {
        return;
    }
    said = line(&probe.snapshot(), &[]);
    told.must(format!("READY=1\nSTATUS={said}\n"));
    told.is_ready.store(true, Ordering::Relaxed);
    alive.ask();
    let half = told.watchdog.map(|interval| interval / 2);
    let every = half.unwrap_or(Duration::MAX).min(Duration::from_millis(NOTIFY_STATUS_MS));
    let start = Instant::now();
    let (mut look_at, mut beat_at) = (start + every, half.map(|half| start + half));
    let mut stuck: Option<&'static str> = None;
    loop {
        sleep_until(beat_at.map_or(look_at, |beat_at| beat_at.min(look_at))).await;
        told.pay();
        let now = Instant::now();
        let is_stopping = told.is_stopping.load(Ordering::Relaxed);
        let silent = if is_stopping { Vec::new() } else { alive.silent() };
        if let (Some(half), true) = (half, beat_at.is_some_and(|at| at <= now)) {
            let stays = silent.iter().find_map(|silent| match silent {
                Silent::Stuck(thread) => Some(*thread),
                Silent::Held(_) => None,
            });
            if let Some(thread) = stays {
                if stuck.is_none() {
                    tracing::error!(
                        thread,
                        "a thread does not come around; the service manager ends lugger and starts it anew if that lasts"
                    );
                }
                beat_at = Some(now + half / AGAIN);
            } else {
                // What is not taken now is not urgent: the other half of the interval is left.
                let _ = told.manager.send("WATCHDOG=1\n");
                beat_at = Some(now + half);
                if silent.is_empty() && !is_stopping {
                    alive.ask();
                }
            }
            stuck = stays;
        }
        if look_at <= now {
            look_at = now + every;
            let line = line(&probe.snapshot(), &silent);
            if line != said && !is_stopping && told.manager.send(&format!("STATUS={line}\n")).is_ok() {
                said = line;
            }
        }
    }
}

/// How things are. Nothing in it changes while they stay as they are.
fn line(snapshot: &Snapshot, silent: &[Silent]) -> String {
    let sources = count(snapshot.sources.len() as u64, "source", "sources");
    let endpoints = count(snapshot.endpoints.len() as u64, "endpoint", "endpoints");
    let held = silent.iter().map(|silent| match silent {
        Silent::Held(thread) => format!("a file system does not answer the thread {thread}"),
        Silent::Stuck(thread) => format!("the thread {thread} does not come around"),
    });
    let retrying = snapshot.endpoints.iter().filter(|endpoint| endpoint.state == "retrying");
    let retrying = retrying.map(|endpoint| format!("endpoint {} does not take anything now", endpoint.name));
    let failing = snapshot.sources.iter().filter_map(|source| {
        let error = source.errors.first()?;
        Some(format!("source {}: {error}", source.name))
    });
    let notes = snapshot.notes.iter().cloned();
    let mut wrong = held.chain(snapshot.problems.iter().cloned()).chain(notes).chain(retrying).chain(failing);
    let how = match wrong.next() {
        None if snapshot.sources.is_empty() => "there is nothing to do".to_owned(),
        None => "all is well".to_owned(),
        Some(first) => {
            let others = wrong.count();
            let first: String = first.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let end = first.floor_char_boundary(NOTIFY_STATUS_BYTES);
            let first = first.get(..end).unwrap_or_default();
            if others == 0 { first.to_owned() } else { format!("{first} (and {others} more)") }
        }
    };
    format!("{sources}, {endpoints}: {how}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::status::{Endpoint, Source};

    fn snapshot() -> Snapshot {
        Snapshot {
            version: "1",
            started_s: 0,
            ready: true,
            problems: Vec::new(),
            notes: Vec::new(),
            in_flight_bytes: 0,
            in_flight_bytes_max: 0,
            sources: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    fn with_parts(state: &'static str, errors: &[&str]) -> Snapshot {
        let source = Source {
            name: "app".into(),
            kind: "file",
            followed: 1,
            bytes: 1,
            lines: 1,
            lag_bytes: 0,
            lag_s: 0.0,
            errors: errors.iter().map(|error| (*error).to_owned()).collect(),
        };
        let endpoint = Endpoint {
            name: "cloud".into(),
            kind: "loki",
            url: String::new(),
            state,
            queued: 0,
            spool: None,
            entries: 0,
            bytes: 0,
            refused: 0,
            retries: 0,
            last_success_s: 0,
            error: None,
        };
        Snapshot { sources: vec![source], endpoints: vec![endpoint], ..snapshot() }
    }

    #[test]
    fn the_line_says_how_things_are() {
        assert_eq!(line(&snapshot(), &[]), "0 sources, 0 endpoints: there is nothing to do");
        assert_eq!(line(&with_parts("ok", &[]), &[]), "1 source, 1 endpoint: all is well");
        let retrying = with_parts("retrying", &["cannot open /x"]);
        let wanted = "1 source, 1 endpoint: endpoint cloud does not take anything now (and 1 more)";
        assert_eq!(line(&retrying, &[]), wanted);
        let broken = Snapshot { problems: vec!["first\nof two lines".into()], ..retrying };
        assert!(line(&broken, &[]).ends_with("first of two lines (and 2 more)"), "{}", line(&broken, &[]));
        let held = line(&broken, &[Silent::Held("lugger-files")]);
        assert!(held.contains("a file system does not answer the thread lugger-files (and 3 more)"), "{held}");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let broken = Snapshot { problems: vec!["ä".repeat(1000)], ..with_parts("ok", &[]) };
        assert!(line(&broken, &[]).len() <= NOTIFY_STATUS_BYTES + 64);
    }
}
