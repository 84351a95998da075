//! Looking at the running agent from the outside.
//!
//! Promises: a look costs the data path nothing (atomics, and a lock a source for its list of errors); it works after the agent has
//! stopped, too. Leaves to others: showing it.

use super::containers::Listening;
use super::metrics::View;
use super::status::{Endpoint, Snapshot, Source, Spool};
use crate::base::clock::Clock;
use crate::base::metrics::Registry;
use crate::base::shutdown::Shutdown;
use crate::format::civil::format_rfc3339_ms;
use crate::model::budget::Budget;
use crate::sink::endpoint::Monitor;
use crate::sink::status::{EndpointStatus, State};
use crate::source::docker::told_name;
use crate::source::host::ticker::Asker;
use crate::source::scrape::JobStatus;
use crate::source::status::Common;
use crate::source::{docker, file, journal, receive};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Targets whose errors are shown, of a job.
const SHOWN_TARGETS: usize = 8;

/// A view of the agent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Probe(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    registry: Registry,
    started_s: i64,
    budget: Budget,
    shown: Mutex<Shown>,
    threads: Threads,
    metrics: View,
}

/// What is known of the threads that read.
#[derive(Debug)]
pub(super) struct Threads {
    /// Each is raised when a thread has ended.
    pub ended: Vec<Shutdown>,
    /// Each is raised when a thread has looked at all its sources for the first time.
    pub begun: Vec<Shutdown>,
}

/// What a source tells of itself.
#[derive(Debug, Clone)]
pub(super) struct Told {
    name: String,
    kind: &'static str,
    status: Common,
    /// Of a source that reads containers' logs: Docker itself.
    docker: Option<docker::status::Status>,
    /// Of a source that something is sent to: what comes in. What it has to do with its inlet, `status` tells.
    receiver: Option<receive::status::Status>,
}

/// All sources.
pub(super) fn sources(
    files: &[(String, file::status::Status)],
    journals: &[(String, journal::status::Status)],
    dockers: &[Listening],
    receivers: &[(String, &'static str, receive::status::Status)],
) -> Vec<Told> {
    let told = |name: &String, kind, status: &Common| Told {
        name: name.clone(),
        kind,
        status: status.clone(),
        docker: None,
        receiver: None,
    };
    let files = files.iter().map(|(name, status)| {
        let docker = dockers.iter().find(|docker| docker.containers.settings().name == *name);
        let receiver = receivers.iter().find(|(receiver, ..)| receiver == name);
        match (docker, receiver) {
            (Some(docker), _) => {
                Told { docker: Some(docker.containers.status().clone()), ..told(name, "docker", status) }
            }
            (None, Some((_, kind, receiver))) => Told { receiver: Some(receiver.clone()), ..told(name, kind, status) },
            (None, None) if dockers.iter().any(|docker| told_name(docker.containers.settings()) == *name) => {
                told(name, "docker", status)
            }
            (None, None) => told(name, "file", status),
        }
    });
    files.chain(journals.iter().map(|(name, status)| told(name, "journal", status))).collect()
}

/// What changes with the configuration.
#[derive(Debug)]
struct Shown {
    sources: Vec<Told>,
    endpoints: Vec<Monitor>,
    /// When the configuration that runs was read, nanoseconds since 1970.
    config_ns: i64,
    /// Why one that was read later does not run.
    refused: Option<String>,
}

impl Probe {
    pub(super) fn new(
        registry: Registry,
        clock: Clock,
        budget: Budget,
        sources: Vec<Told>,
        endpoints: Vec<Monitor>,
        threads: Threads,
        metrics: View,
    ) -> Self {
        let config_ns = clock.now_ns();
        let started_s = config_ns / 1_000_000_000;
        let shown = Mutex::new(Shown { sources, endpoints, config_ns, refused: None });
        Probe(Arc::new(Parts { registry, started_s, budget, shown, threads, metrics }))
    }

    /// Shows these from now on.
    pub(super) fn show(&self, sources: Vec<Told>, endpoints: Vec<Monitor>) {
        let mut shown = self.shown();
        (shown.sources, shown.endpoints) = (sources, endpoints);
    }

    /// The configuration on disk runs.
    pub(super) fn config_taken(&self, now_ns: i64) {
        let mut shown = self.shown();
        (shown.config_ns, shown.refused) = (now_ns, None);
    }

    /// The configuration on disk does not run.
    pub(super) fn config_refused(&self, error: &str) {
        self.shown().refused = Some(error.to_owned());
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        // Only whole values are put in.
        self.0.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent's own metrics.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Who collects the host's metrics for those who ask; `None`: nobody.
    pub fn host(&self) -> Option<Asker> {
        self.0.metrics.asker()
    }

    /// The agent at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let parts = &*self.0;
        let shown = self.shown();
        let sources: Vec<Source> = shown.sources.iter().map(source).collect();
        let endpoints: Vec<Endpoint> =
            shown.endpoints.iter().map(|monitor| endpoint(monitor.status(), "loki")).collect();
        let note = |error: &String| {
            let since = format_rfc3339_ms(shown.config_ns);
            // The whole report is in the log.
            let first = error.lines().next().unwrap_or_default();
            format!("the configuration on disk has an error, the one from {since} runs on: {first}")
        };
        let mut notes: Vec<String> = shown.refused.iter().map(note).collect();
        let mut problems: Vec<String> = Vec::new();
        let mut sources = sources;
        sources.extend(host(&parts.metrics));
        sources.extend(parts.metrics.jobs().iter().map(job));
        let mut endpoints = endpoints;
        endpoints.extend(parts.metrics.endpoints().iter().map(|monitor| endpoint(monitor.status(), "remote_write")));
        for Told { name, docker, receiver, .. } in &shown.sources {
            let receives = receiver.as_ref().and_then(|receiver| receiver.degraded());
            problems.extend(receives.map(|problem| format!("source {name}: {problem}")));
            if let Some(docker) = docker {
                problems.extend(docker.degraded().map(|problem| format!("source {name}: {problem}")));
                notes.extend(docker.note().map(|problem| format!("source {name}: {problem}; logs on disk are read")));
            }
        }
        drop(shown);
        if !parts.threads.begun.iter().all(Shutdown::is_raised) {
            problems.push("starting: the sources are looked at for the first time".into());
        }
        if parts.threads.ended.iter().any(Shutdown::is_raised) {
            let ended = "files or journals are not read, or nothing is received any more: the agent is stopping, or has failed and must be restarted";
            problems.insert(0, ended.into());
        }
        for endpoint in endpoints.iter().filter(|e| e.state == State::Degraded.as_str()) {
            let error = endpoint.error.as_deref().unwrap_or("it stores nothing");
            problems.push(format!("endpoint {}: {error}", endpoint.name));
        }
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            started_s: parts.started_s,
            ready: problems.is_empty(),
            problems,
            notes,
            in_flight_bytes: parts.budget.used(),
            in_flight_bytes_max: parts.budget.max(),
            sources,
            endpoints,
        }
    }
}

fn source(Told { name, kind, status, docker, receiver }: &Told) -> Source {
    let mut told = Source {
        name: name.clone(),
        kind,
        followed: status.files.get() as u64,
        bytes: status.bytes.get(),
        lines: status.lines.get(),
        lag_bytes: status.lag_bytes.get() as u64,
        lag_s: status.lag_seconds.get(),
        errors: status.problems(),
    };
    if let Some(docker) = docker {
        told.errors.splice(0..0, docker.problems());
    }
    if let Some(receiver) = receiver {
        told.followed = receiver.connections.get() as u64;
        (told.bytes, told.lines) = (receiver.bytes.get(), receiver.messages.get());
        told.errors.splice(0..0, receiver.problems());
    }
    told
}

/// The host's metrics as a source: its samples stand for lines.
fn host(metrics: &View) -> Option<Source> {
    let status = metrics.host()?;
    let failures = status.failures().into_iter();
    let errors = failures.map(|failure| format!("collector {}: {}", failure.collector, failure.what));
    Some(Source {
        name: "host".to_owned(),
        kind: "host",
        followed: 1,
        bytes: 0,
        lines: status.collected.get(),
        lag_bytes: 0,
        lag_s: 0.0,
        errors: errors.collect(),
    })
}

/// A job that scrapes as a source: its targets stand for files.
fn job(job: &JobStatus) -> Source {
    let down = job.targets.iter().filter_map(|target| Some(format!("{}: {}", target.url, target.error.as_ref()?)));
    let mut errors: Vec<String> = job.problems.iter().cloned().chain(down.take(SHOWN_TARGETS)).collect();
    let count = job.targets.iter().filter(|target| target.error.is_some()).count();
    if count > SHOWN_TARGETS {
        errors.push(format!("… and {} more targets", count - SHOWN_TARGETS));
    }
    Source {
        name: job.job.clone(),
        kind: "scrape",
        followed: job.targets.len() as u64,
        bytes: 0,
        lines: job.targets.iter().map(|target| target.samples).sum(),
        lag_bytes: 0,
        lag_s: 0.0,
        errors,
    }
}

fn endpoint(status: EndpointStatus, kind: &'static str) -> Endpoint {
    Endpoint {
        name: status.name,
        kind,
        url: status.url,
        state: status.state.as_str(),
        queued: status.queued,
        spool: status.spool.map(|spool| Spool { bytes: spool.bytes, frames: spool.frames, oldest_s: spool.oldest_s }),
        entries: status.entries,
        bytes: status.bytes,
        refused: status.refused,
        retries: status.retries,
        last_success_s: status.last_success_s,
        error: status.error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::metrics::Gauge;
    use crate::base::shutdown;

    #[test]
    fn it_is_ready_when_all_sources_were_looked_at_and_none_has_ended() {
        let (files_begin, files_begun) = shutdown::channel();
        let (journals_begin, journals_begun) = shutdown::channel();
        let (alive, ended) = shutdown::channel();
        let threads = Threads { ended: vec![ended], begun: vec![files_begun, journals_begun] };
        let probe = Probe::new(
            Registry::default(),
            Clock::default(),
            Budget::new(1, Gauge::default()),
            Vec::new(),
            Vec::new(),
            threads,
            View::new(&Registry::default()),
        );
        let problems = || probe.snapshot().problems;
        files_begin.raise();
        assert!(problems().first().is_some_and(|p| p.starts_with("starting")) && !probe.snapshot().ready);
        drop(journals_begin);
        assert!(probe.snapshot().ready, "{:?}", problems());
        alive.raise();
        assert!(!probe.snapshot().ready && problems().len() == 1);
    }
}
