//! What an endpoint says of itself: metrics, and a status for people.
//!
//! Promises: the series are fixed when the endpoint starts (names of endpoints and fixed lists of reasons); no secrets, no text of a
//! log line. Leaves to others: how it is shown.

use super::queue::Queue;
use super::spill::{SpoolStatus, Store};
use crate::base::metrics::{Counter, Gauge, Registry};
use crate::format::push_response::Reason;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How an endpoint is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Nothing has been sent yet.
    #[default]
    Waiting,
    /// The last attempt succeeded.
    Ok,
    /// The last attempt failed in a way that may pass by itself.
    Retrying,
    /// Somebody has to do something before anything is stored.
    Degraded,
}

impl State {
    pub(super) const ALL: [State; 4] = [State::Waiting, State::Ok, State::Retrying, State::Degraded];

    /// As in metrics and on the status page.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Ok => "ok",
            State::Retrying => "retrying",
            State::Degraded => "degraded",
        }
    }
}

/// Why an attempt has to be repeated. Bounded, so that it can be a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// No answer in time.
    Timeout,
    /// No connection: refused, unreachable, unresolved, TLS.
    Connect,
    /// The connection broke.
    Transport,
    /// 5xx, 408, 425.
    Server,
    /// 429.
    RateLimited,
    /// 260.
    Blocked,
    /// 401, 403.
    Credentials,
    /// 404, 405, 3xx.
    Address,
    /// 413 and the like: sent again in parts.
    TooLarge,
    /// Refused as a whole: sent again in parts.
    Refused,
    /// Remote write 2.0, which the endpoint does not know.
    Protocol,
}

impl Retry {
    /// Those of endpoints of metrics.
    pub(super) const OF_METRICS: [Retry; 10] = [
        Retry::Timeout,
        Retry::Connect,
        Retry::Transport,
        Retry::Server,
        Retry::RateLimited,
        Retry::Credentials,
        Retry::Address,
        Retry::TooLarge,
        Retry::Refused,
        Retry::Protocol,
    ];

    const ALL: [Retry; 10] = [
        Retry::Timeout,
        Retry::Connect,
        Retry::Transport,
        Retry::Server,
        Retry::RateLimited,
        Retry::Blocked,
        Retry::Credentials,
        Retry::Address,
        Retry::TooLarge,
        Retry::Refused,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Retry::Timeout => "timeout",
            Retry::Connect => "connect",
            Retry::Transport => "transport",
            Retry::Server => "server",
            Retry::RateLimited => "rate_limited",
            Retry::Blocked => "blocked",
            Retry::Credentials => "credentials",
            Retry::Address => "address",
            Retry::TooLarge => "too_large",
            Retry::Refused => "refused",
            Retry::Protocol => "protocol",
        }
    }
}

/// An endpoint at one moment.
#[derive(Debug, Clone)]
pub struct EndpointStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is, without credentials.
    pub url: String,
    /// How it is doing.
    pub state: State,
    /// Batches in its queue in memory, the one being sent included.
    pub queued: u64,
    /// What waits on disk; `None`: it has no spool.
    pub spool: Option<SpoolStatus>,
    /// Entries stored since the start.
    pub entries: u64,
    /// Compressed bytes stored since the start.
    pub bytes: u64,
    /// Entries refused for good since the start.
    pub refused: u64,
    /// Attempts that failed since the start.
    pub retries: u64,
    /// When something was stored last, seconds since 1970; 0: never.
    pub last_success_s: i64,
    /// The last error and what to do, while the endpoint fails.
    pub error: Option<String>,
    /// Since when it fails, nanoseconds since 1970; `None`: it does not.
    pub failing_since_ns: Option<i64>,
    /// It may work again by itself, but hardly will, as with a certificate that is not good.
    pub for_person: bool,
}

/// What it is that fails.
#[derive(Debug, Clone)]
pub(super) struct Failing {
    pub(super) error: String,
    pub(super) since_ns: i64,
    pub(super) for_person: bool,
}

/// Counts lines of streams above an endpoint's bound. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OverStreams {
    /// The endpoint.
    pub(super) name: String,
    pub(super) dropped_lines: Counter,
    pub(super) dropped_bytes: Counter,
    pub(super) merged_lines: Counter,
}

/// Kept by the sender, read by anyone.
#[derive(Debug)]
pub(super) struct Status {
    name: String,
    url: Mutex<String>,
    queue: Arc<Queue>,
    batches: Counter,
    entries: Counter,
    bytes: Counter,
    requests: Counter,
    request_seconds: Gauge,
    empty: Counter,
    queue_length: Gauge,
    last_success: Gauge,
    dropped_lines: Counter,
    dropped_bytes: Counter,
    over_streams: OverStreams,
    refused: Vec<(Reason, Counter)>,
    retries: Vec<Counter>,
    states: Vec<Gauge>,
    now: Mutex<(State, Option<Failing>)>,
}

impl Status {
    pub(super) fn new(name: &str, url: &str, queue: Arc<Queue>, registry: &Registry) -> Self {
        let label = [("endpoint", name)];
        let counter = |metric, help| registry.counter(metric, help, &label);
        let dropped_lines = |reason| {
            let help = "Lines that were not sent to the endpoint, by reason.";
            registry.counter("lugger_endpoint_dropped_lines_total", help, &[("endpoint", name), ("reason", reason)])
        };
        let dropped_bytes = |reason| {
            let help = "Bytes, before compression, that were not sent to the endpoint, by reason.";
            registry.counter("lugger_endpoint_dropped_bytes_total", help, &[("endpoint", name), ("reason", reason)])
        };
        let status = Status {
            name: name.to_owned(),
            url: Mutex::new(url.to_owned()),
            queue,
            batches: counter(
                "lugger_endpoint_batches_total",
                "Batches of which every entry is stored or refused for good.",
            ),
            entries: counter("lugger_endpoint_entries_total", "Entries stored."),
            bytes: counter("lugger_endpoint_sent_bytes_total", "Compressed bytes of requests that were stored."),
            requests: counter("lugger_endpoint_request_seconds_count", "Requests made."),
            request_seconds: registry.gauge("lugger_endpoint_request_seconds_sum", "Time that requests took.", &label),
            empty: counter("lugger_endpoint_empty_requests_total", "Empty requests that were dropped; a bug if not 0."),
            queue_length: registry.gauge("lugger_endpoint_queue_batches", "Batches not finished yet.", &label),
            last_success: registry.gauge(
                "lugger_endpoint_last_success_timestamp_seconds",
                "When something was stored last; 0: never.",
                &label,
            ),
            dropped_lines: dropped_lines("rate"),
            dropped_bytes: dropped_bytes("rate"),
            over_streams: OverStreams {
                name: name.to_owned(),
                dropped_lines: dropped_lines("max_streams"),
                dropped_bytes: dropped_bytes("max_streams"),
                merged_lines: counter(
                    "lugger_endpoint_merged_lines_total",
                    "Lines that went into a merged stream, as max_streams was reached.",
                ),
            },
            refused: Reason::ALL
                .iter()
                .map(|reason| {
                    let labels = [("endpoint", name), ("reason", reason.as_str())];
                    let help = "Entries refused for good.";
                    (*reason, registry.counter("lugger_endpoint_refused_entries_total", help, &labels))
                })
                .collect(),
            retries: Retry::ALL
                .iter()
                .map(|kind| {
                    let labels = [("endpoint", name), ("kind", kind.as_str())];
                    registry.counter(
                        "lugger_endpoint_retries_total",
                        "Requests that did not store what they carried.",
                        &labels,
                    )
                })
                .collect(),
            states: State::ALL
                .iter()
                .map(|state| {
                    let labels = [("endpoint", name), ("state", state.as_str())];
                    registry.gauge("lugger_endpoint_state", "1 for the state that the endpoint is in.", &labels)
                })
                .collect(),
            now: Mutex::default(),
        };
        status.enter(State::Waiting, None);
        status
    }

    /// The last attempt succeeded.
    pub(super) fn works(&self) {
        self.enter(State::Ok, None);
    }

    /// The last attempt failed, as all since then did. `for_person`: waiting will hardly help.
    pub(super) fn fails(&self, state: State, error: String, since_ns: i64, for_person: bool) {
        self.enter(state, Some(Failing { error, since_ns, for_person }));
    }

    fn enter(&self, state: State, error: Option<Failing>) {
        for (gauge, of) in self.states.iter().zip(State::ALL) {
            gauge.set(if of == state { 1.0 } else { 0.0 });
        }
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = (state, error);
    }

    /// It is at another address from now on.
    pub(super) fn moved(&self, url: &str) {
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = url.to_owned();
    }

    pub(super) fn requested(&self, took: Duration) {
        self.requests.add(1);
        // One sender writes it, so reading and setting do not race.
        self.request_seconds.set(self.request_seconds.get() + took.as_secs_f64());
    }

    pub(super) fn stored(&self, entries: u64, bytes: usize, now_ns: i64) {
        self.entries.add(entries);
        self.bytes.add(u64::try_from(bytes).unwrap_or(0));
        // Whole seconds of this age are exact in an f64.
        self.last_success.set((now_ns / 1_000_000_000) as f64);
    }

    pub(super) fn refused(&self, reason: Reason, entries: u64) {
        if let Some((_, counter)) = self.refused.iter().find(|(of, _)| *of == reason) {
            counter.add(entries);
        }
    }

    pub(super) fn over_rate(&self, lines: u64, bytes: u64) {
        self.dropped_lines.add(lines);
        self.dropped_bytes.add(bytes);
    }

    pub(super) fn over_streams(&self) -> OverStreams {
        self.over_streams.clone()
    }

    pub(super) fn retried(&self, kind: Retry) {
        for (counter, of) in self.retries.iter().zip(Retry::ALL) {
            if of == kind {
                counter.add(1);
            }
        }
    }

    pub(super) fn empty(&self) {
        self.empty.add(1);
    }

    pub(super) fn batch_settled(&self) {
        self.batches.add(1);
    }

    pub(super) fn measure_queue(&self) {
        self.queue_length.set(self.queue.len() as f64);
    }

    pub(super) fn snapshot(&self) -> EndpointStatus {
        self.measure_queue();
        let (state, failing) = self.now.lock().unwrap_or_else(PoisonError::into_inner).clone();
        EndpointStatus {
            name: self.name.clone(),
            url: self.url.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            state,
            queued: u64::try_from(self.queue.len()).unwrap_or(u64::MAX),
            spool: self.queue.store.as_ref().filter(|store| store.is_in_use()).map(Store::status),
            entries: self.entries.get(),
            bytes: self.bytes.get(),
            refused: self.refused.iter().map(|(_, counter)| counter.get()).sum(),
            retries: self.retries.iter().map(Counter::get).sum(),
            // Set from whole seconds; an `as` cast from f64 saturates.
            last_success_s: self.last_success.get() as i64,
            failing_since_ns: failing.as_ref().map(|failing| failing.since_ns),
            for_person: failing.as_ref().is_some_and(|failing| failing.for_person),
            error: failing.map(|failing| failing.error),
        }
    }
}
