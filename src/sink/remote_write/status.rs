//! What an endpoint of metrics says of itself: metrics, and a status for people.
//!
//! Promises: the series are fixed when the endpoint starts; no secrets. Leaves to others: how it is shown.

use crate::base::metrics::{Counter, Gauge, Registry};
use crate::format::write_response::{Protocol, Reason};
use crate::sink::spool::Store;
use crate::sink::status::{EndpointStatus, Failing, Retry, State};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The label that has the name of an endpoint, as Prometheus' own sender calls it.
pub(super) const LABEL: &str = "remote_name";

/// Why samples were not sent, or not sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drop {
    /// The memory was used up, and the disk took nothing.
    QueueFull,
    /// Older than `sample_age_limit`.
    AgeLimit,
    /// By `write_relabel_configs`.
    Relabel,
    /// A single sample with labels above the bound.
    TooLarge,
    /// The agent stopped, and the disk did not take them.
    Stopped,
    /// A request on disk that this version of the agent does not know.
    Unreadable,
}

impl Drop {
    const ALL: [Drop; 6] =
        [Drop::QueueFull, Drop::AgeLimit, Drop::Relabel, Drop::TooLarge, Drop::Stopped, Drop::Unreadable];

    fn as_str(self) -> &'static str {
        match self {
            Drop::QueueFull => "queue_full",
            Drop::AgeLimit => "age_limit",
            Drop::Relabel => "relabel",
            Drop::TooLarge => "too_large",
            Drop::Stopped => "stopped",
            Drop::Unreadable => "unreadable",
        }
    }
}

/// Kept by queue and sender, read by anyone.
#[derive(Debug)]
pub(super) struct Status {
    name: String,
    url: Mutex<String>,
    store: Option<Store>,
    samples: Counter,
    exemplars: Counter,
    bytes: Counter,
    requests: Counter,
    request_seconds: Gauge,
    retried: Counter,
    retries: Vec<(Retry, Counter)>,
    failed: Vec<(Reason, Counter)>,
    failed_rate: Counter,
    failed_exemplars: Counter,
    dropped: Vec<(Drop, Counter)>,
    pending_samples: Gauge,
    pending_bytes: Gauge,
    pending_requests: Gauge,
    highest: Gauge,
    highest_sent: Gauge,
    last_success: Gauge,
    protocol: Gauge,
    states: Vec<(State, Gauge)>,
    now: Mutex<(State, Option<Failing>)>,
}

impl Status {
    pub(super) fn new(name: &str, url: &str, store: Option<Store>, registry: &Registry) -> Self {
        let label = [(LABEL, name)];
        let counter = |metric, help| registry.counter(metric, help, &label);
        let gauge = |metric, help| registry.gauge(metric, help, &label);
        let by = |metric, help, key, value| registry.counter(metric, help, &[(LABEL, name), (key, value)]);
        let failed = |reason| {
            by(
                "lugger_remote_write_failed_samples_total",
                "Samples that the endpoint refused for good.",
                "reason",
                reason,
            )
        };
        let status = Status {
            name: name.to_owned(),
            url: Mutex::new(url.to_owned()),
            store,
            samples: counter("lugger_remote_write_samples_total", "Samples that the endpoint stored."),
            exemplars: counter("lugger_remote_write_exemplars_total", "Exemplars that the endpoint stored."),
            bytes: counter("lugger_remote_write_sent_bytes_total", "Compressed bytes of requests that were stored."),
            requests: counter("lugger_remote_write_request_seconds_count", "Requests made."),
            request_seconds: gauge("lugger_remote_write_request_seconds_sum", "Time that requests took."),
            retried: counter("lugger_remote_write_retried_samples_total", "Samples in requests that are sent again."),
            retries: Retry::OF_METRICS
                .map(|kind| {
                    let help = "Requests that did not store what they carried.";
                    (kind, by("lugger_remote_write_retries_total", help, "kind", kind.as_str()))
                })
                .to_vec(),
            failed: Reason::ALL.map(|reason| (reason, failed(reason.as_str()))).to_vec(),
            failed_rate: failed("rate_limited"),
            failed_exemplars: counter(
                "lugger_remote_write_failed_exemplars_total",
                "Exemplars that the endpoint refused for good.",
            ),
            dropped: Drop::ALL
                .map(|reason| {
                    let help = "Samples that were not sent, or not sent again.";
                    (reason, by("lugger_remote_write_dropped_samples_total", help, "reason", reason.as_str()))
                })
                .to_vec(),
            pending_samples: gauge("lugger_remote_write_pending_samples", "Samples in memory that are not stored yet."),
            pending_bytes: gauge(
                "lugger_remote_write_pending_bytes",
                "Bytes of them: compressed, but for the request that is being filled.",
            ),
            pending_requests: gauge("lugger_remote_write_pending_requests", "Sealed requests in memory."),
            highest: gauge(
                "lugger_remote_write_highest_timestamp_seconds",
                "The newest time of a sample that is for the endpoint; 0: there was none.",
            ),
            highest_sent: gauge(
                "lugger_remote_write_highest_sent_timestamp_seconds",
                "The newest time of a sample that the endpoint has; 0: there is none.",
            ),
            last_success: gauge(
                "lugger_remote_write_last_success_timestamp_seconds",
                "When something was stored last; 0: never.",
            ),
            protocol: gauge("lugger_remote_write_protocol", "The version of remote write that is spoken: 1 or 2."),
            states: State::ALL
                .map(|state| {
                    let labels = [("remote_name", name), ("state", state.as_str())];
                    (
                        state,
                        registry.gauge(
                            "lugger_remote_write_state",
                            "1 for the state that the endpoint is in.",
                            &labels,
                        ),
                    )
                })
                .to_vec(),
            now: Mutex::default(),
        };
        status.enter(State::Waiting, None);
        status
    }

    pub(super) fn enter(&self, state: State, error: Option<Failing>) {
        for (of, gauge) in &self.states {
            gauge.set(if *of == state { 1.0 } else { 0.0 });
        }
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = (state, error);
    }

    /// It is at another address from now on.
    pub(super) fn moved(&self, url: &str) {
        url.clone_into(&mut self.url.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn speaks(&self, protocol: Protocol) {
        self.protocol.set(match protocol {
            Protocol::V1 => 1.0,
            Protocol::V2 => 2.0,
        });
    }

    pub(super) fn requested(&self, took: Duration) {
        self.requests.add(1);
        self.request_seconds.add(took.as_secs_f64());
    }

    pub(super) fn stored(&self, samples: u64, exemplars: u64, bytes: usize, newest_ms: i64, now_ns: i64) {
        self.samples.add(samples);
        self.exemplars.add(exemplars);
        self.bytes.add(bytes as u64);
        if samples > 0 {
            raise(&self.highest_sent, newest_ms);
        }
        // Whole seconds of this age are exact in an f64.
        self.last_success.set((now_ns / 1_000_000_000) as f64);
    }

    pub(super) fn failed(&self, reason: Reason, samples: u64, exemplars: u64) {
        if let Some((_, counter)) = self.failed.iter().find(|(of, _)| *of == reason) {
            counter.add(samples);
        }
        self.failed_exemplars.add(exemplars);
    }

    pub(super) fn rate_limited(&self, samples: u64, exemplars: u64) {
        self.failed_rate.add(samples);
        self.failed_exemplars.add(exemplars);
    }

    pub(super) fn retried(&self, kind: Retry, samples: u64) {
        if let Some((_, counter)) = self.retries.iter().find(|(of, _)| *of == kind) {
            counter.add(1);
        }
        self.retried.add(samples);
    }

    pub(super) fn dropped(&self, reason: Drop, samples: u64) {
        if let Some((_, counter)) = self.dropped.iter().find(|(of, _)| *of == reason) {
            counter.add(samples);
        }
    }

    /// Samples for the endpoint, the newest of which is of this time.
    pub(super) fn took(&self, newest_ms: i64) {
        raise(&self.highest, newest_ms);
    }

    /// Changes what waits in memory.
    pub(super) fn waits(&self, samples: i64, bytes: i64, requests: i64) {
        // Differences of numbers far below 2^53.
        self.pending_samples.add(samples as f64);
        self.pending_bytes.add(bytes as f64);
        self.pending_requests.add(requests as f64);
    }

    pub(super) fn snapshot(&self) -> EndpointStatus {
        let (state, error) = self.now.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failed: u64 = self.failed.iter().map(|(_, counter)| counter.get()).sum();
        EndpointStatus {
            name: self.name.clone(),
            url: self.url.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            state,
            // An `as` cast from f64 saturates.
            queued: self.pending_requests.get() as u64,
            spool: self.store.as_ref().filter(|store| store.is_in_use()).map(Store::status),
            entries: self.samples.get(),
            bytes: self.bytes.get(),
            refused: failed + self.failed_rate.get(),
            retries: self.retries.iter().map(|(_, counter)| counter.get()).sum(),
            last_success_s: self.last_success.get() as i64,
            failing_since_ns: error.as_ref().map(|failing| failing.since_ns),
            for_person: error.as_ref().is_some_and(|failing| failing.for_person),
            error: error.map(|failing| failing.error),
        }
    }
}

/// Only one thread at a time writes each of these.
fn raise(gauge: &Gauge, time_ms: i64) {
    let seconds = time_ms as f64 / 1000.0;
    if seconds > gauge.get() {
        gauge.set(seconds);
    }
}
