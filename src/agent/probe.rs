//! Looking at the running agent from the outside.
//!
//! Promises: a look costs the data path nothing (atomics, and a lock a source for its list of errors); it works after the agent has
//! stopped, too. Leaves to others: showing it.

use super::containers::Listening;
use super::metrics::View;
use super::status::{Endpoint, Snapshot, Source, Spool};
use crate::base::clock::Clock;
use crate::base::limits::ENDPOINT_NOTE_MS;
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
    clock: Clock,
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
        Probe(Arc::new(Parts { registry, started_s, clock, budget, shown, threads, metrics }))
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

    /// Waits until all sources have been looked at for the first time.
    pub async fn begun(&self) {
        for begun in &self.0.threads.begun {
            begun.clone().raised().await;
        }
    }

    /// The agent at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let parts = &*self.0;
        let shown = self.shown();
        let sources: Vec<Source> = shown.sources.iter().map(source).collect();
        let statuses: Vec<EndpointStatus> = shown.endpoints.iter().map(Monitor::status).collect();
        let now_ns = parts.clock.now_ns();
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
        problems
            .extend(parts.metrics.host().and_then(|status| status.stuck()).map(|what| format!("source host: {what}")));
        sources.extend(parts.metrics.jobs().iter().map(job));
        let remotes: Vec<EndpointStatus> = parts.metrics.endpoints().iter().map(|monitor| monitor.status()).collect();
        notes.extend(statuses.iter().chain(&remotes).filter_map(|status| away(status, now_ns)));
        let mut endpoints: Vec<Endpoint> = statuses.into_iter().map(|status| endpoint(status, "loki")).collect();
        endpoints.extend(remotes.into_iter().map(|status| endpoint(status, "remote_write")));
        for Told { name, kind, status, docker, receiver } in &shown.sources {
            // Docker's own status knows what else its logs can be read by.
            let denied = status.denied().filter(|_| matches!(*kind, "file" | "journal"));
            problems.extend(denied.map(|problem| format!("source {name}: nothing can be read: {problem}")));
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

/// Of an endpoint that may come back by itself: that it has been away for long, or that it hardly will.
fn away(status: &EndpointStatus, now_ns: i64) -> Option<String> {
    let since_ns = status.failing_since_ns.filter(|_| status.state == State::Retrying)?;
    let is_long = now_ns.saturating_sub(since_ns) / 1_000_000 >= ENDPOINT_NOTE_MS;
    let error = status.error.as_deref().filter(|_| is_long || status.for_person)?;
    Some(format!("endpoint {}: away since {}: {error}", status.name, format_rfc3339_ms(since_ns)))
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
    use crate::source::problems::Denied;
    use std::path::Path;

    #[test]
    fn who_is_away_for_long_or_for_a_person_to_mend_is_noted() {
        let at = |seconds: i64| seconds * 1_000_000_000;
        let status = |state, failing_since_ns: Option<i64>, for_person| EndpointStatus {
            name: "cloud".into(),
            url: String::new(),
            state,
            queued: 0,
            spool: None,
            entries: 0,
            bytes: 0,
            refused: 0,
            retries: 0,
            last_success_s: 0,
            error: failing_since_ns.map(|_| "no route; mend it".to_owned()),
            failing_since_ns,
            for_person,
        };
        let told = "endpoint cloud: away since 1970-01-01T00:00:10.000Z: no route; mend it";
        for (state, since, for_person, now, wanted) in [
            (State::Retrying, Some(at(10)), false, at(69), None),
            (State::Retrying, Some(at(10)), false, at(70), Some(told)),
            (State::Retrying, Some(at(10)), true, at(10), Some(told)),
            // It is a problem already.
            (State::Degraded, Some(at(10)), false, at(99), None),
            (State::Ok, None, false, at(99), None),
        ] {
            assert_eq!(away(&status(state, since, for_person), now).as_deref(), wanted, "{state:?} {now}");
        }
    }

    #[test]
    fn a_source_that_may_read_nothing_is_a_problem() {
        let registry = Registry::default();
        let status = file::status::Status::new(&registry, "app");
        let metrics = View::new(&registry);
        let probe = Probe::new(
            registry,
            Clock::default(),
            Budget::new(1, Gauge::default()),
            sources(&[("app".to_owned(), status.clone())], &[], &[], &[]),
            Vec::new(),
            Threads { ended: Vec::new(), begun: Vec::new() },
            metrics,
        );
        status.fails(Path::new("/x"), "it is damaged");
        assert!(probe.snapshot().ready);
        status.files.set(1.0);
        status.is_denied(Path::new("/y"), "cannot open /y", Denied::File);
        assert_eq!(probe.snapshot().problems, ["source app: nothing can be read: cannot open /y"]);
        // Others can be read.
        status.files.set(2.0);
        assert!(probe.snapshot().ready);
    }

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
