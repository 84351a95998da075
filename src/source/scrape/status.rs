//! What scraping says of itself: metrics a job, and a status for people a target.
//!
//! Promises: series are as many as jobs, times fixed lists of reasons: no target becomes a label; nothing secret is shown. Leaves to others: how it is shown.

use super::target::Target;
use crate::base::metrics::{Counter, Gauge, Registry};
use crate::source::series::Taken;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The label of our own metrics; `job` itself is that of whoever scrapes us.
pub(super) const LABEL: &str = "scrape_job";

/// Why a scrape yields nothing; for metrics.
const FAILURES: [&str; 10] =
    ["timeout", "connect", "transport", "status", "too_large", "encoding", "setup", "text", "limit", "memory"];

/// How a target is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It was not scraped yet.
    #[default]
    Unknown,
    /// The last scrape succeeded.
    Up,
    /// The last scrape failed.
    Down,
}

impl Health {
    /// As on the status page.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        }
    }
}

/// A target at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetStatus {
    /// Where it is, without parameters.
    pub url: String,
    /// The labels of its series.
    pub labels: Vec<(String, String)>,
    /// How it is doing.
    pub health: Health,
    /// Why the last scrape failed, and what to do.
    pub error: Option<String>,
    /// When it was scraped last, milliseconds since 1970.
    pub last_scrape_ms: Option<i64>,
    /// How long that took.
    pub duration: Duration,
    /// Samples of it, after relabelling.
    pub samples: u64,
    /// Series that are known of it.
    pub series: usize,
}

/// A job at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct JobStatus {
    /// Its name.
    pub job: String,
    /// Its targets, by URL and labels.
    pub targets: Vec<TargetStatus>,
    /// Targets that rules drop.
    pub dropped: usize,
    /// What is wrong with files of targets, or with what they say.
    pub problems: Vec<String>,
}

/// The status of one target, written by its loop.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Inner>);

#[derive(Debug, Default, Clone)]
struct Inner {
    health: Health,
    error: Option<String>,
    last_scrape_ms: Option<i64>,
    duration: Duration,
    samples: u64,
    series: usize,
}

impl Seen {
    /// A scrape is over. The health before it.
    pub(super) fn set(
        &self,
        error: Option<String>,
        time_ms: i64,
        duration: Duration,
        samples: u64,
        series: usize,
    ) -> Health {
        let health = if error.is_some() { Health::Down } else { Health::Up };
        let now = Inner { health, error, last_scrape_ms: Some(time_ms), duration, samples, series };
        std::mem::replace(&mut *self.lock(), now).health
    }

    pub(super) fn status(&self, target: &Target) -> TargetStatus {
        let Inner { health, error, last_scrape_ms, duration, samples, series } = self.lock().clone();
        TargetStatus {
            url: target.shown_url(),
            labels: target.labels.clone(),
            health,
            error,
            last_scrape_ms,
            duration,
            samples,
            series,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Replaced in one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The metrics of one job.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) targets: Gauge,
    scrapes: Counter,
    seconds: Gauge,
    failures: Vec<Counter>,
    samples: Counter,
    bytes: Counter,
    skipped: Counter,
    again: Counter,
    not_newer: Counter,
    ahead: Counter,
    pub(super) exemplars: Counter,
    pub(super) discovery_failures: Counter,
}

impl Metrics {
    pub(super) fn new(job: &str, registry: &Registry) -> Arc<Self> {
        let label = [(LABEL, job)];
        let counter = |name, help| registry.counter(name, help, &label);
        let dropped = |reason| {
            let help = "Samples that were not taken, by reason.";
            registry.counter("lugger_scrape_dropped_samples_total", help, &[(LABEL, job), ("reason", reason)])
        };
        Arc::new(Metrics {
            targets: registry.gauge("lugger_scrape_targets", "Targets that are scraped.", &label),
            scrapes: counter("lugger_scrape_seconds_count", "Scrapes that were made."),
            seconds: registry.gauge("lugger_scrape_seconds_sum", "Time that scrapes took.", &label),
            failures: FAILURES
                .iter()
                .map(|reason| {
                    let labels = [(LABEL, job), ("reason", *reason)];
                    registry.counter(
                        "lugger_scrape_failures_total",
                        "Scrapes that yielded nothing, by reason.",
                        &labels,
                    )
                })
                .collect(),
            samples: counter("lugger_scrape_samples_total", "Samples that were taken."),
            bytes: counter("lugger_scrape_bytes_total", "Bytes of bodies, decompressed."),
            skipped: counter(
                "lugger_scrape_skipped_total",
                "Scrapes that were left out, as the one before took too long.",
            ),
            again: dropped("duplicate"),
            not_newer: dropped("old_time"),
            ahead: dropped("future_time"),
            exemplars: counter(
                "lugger_scrape_dropped_exemplars_total",
                "Exemplars that were not taken: their labels are too long or not allowed.",
            ),
            discovery_failures: counter(
                "lugger_scrape_discovery_failures_total",
                "Files of targets that could not be read, and targets in them that cannot be.",
            ),
        })
    }

    pub(super) fn scraped(&self, took: Duration, bytes: usize) {
        self.scrapes.add(1);
        self.seconds.add(took.as_secs_f64());
        self.bytes.add(bytes as u64);
    }

    pub(super) fn failed(&self, reason: &str) {
        if let Some(at) = FAILURES.iter().position(|known| *known == reason)
            && let Some(counter) = self.failures.get(at)
        {
            counter.add(1);
        }
    }

    pub(super) fn taken(&self, taken: &Taken) {
        self.samples.add(taken.kept.saturating_sub(taken.again + taken.not_newer + taken.ahead));
        self.again.add(taken.again);
        self.not_newer.add(taken.not_newer);
        self.ahead.add(taken.ahead);
    }

    pub(super) fn skipped(&self, ticks: u64) {
        self.skipped.add(ticks);
    }
}
