//! What a file source tells of itself: metrics, and what the status page shows.
//!
//! Promises: one set of series a source, whatever it reads; errors are kept for a few files and counted for all.

use crate::base::metrics::{Counter, Gauge, Registry};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// At most this many errors are told apart; the rest is a number.
const ERRORS_SHOWN: usize = 8;
/// At most this many are remembered.
const ERRORS_KEPT: usize = 1000;

/// The counters of one source, and its current errors. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Status {
    /// Bytes read as complete lines.
    pub bytes: Counter,
    /// Lines read.
    pub lines: Counter,
    /// Files followed now.
    pub files: Gauge,
    /// Bytes on disk that are not yet stored by every endpoint.
    pub lag_bytes: Gauge,
    /// Age of the oldest line that is read and not yet stored, seconds.
    pub lag_seconds: Gauge,
    /// Files that began again: truncated, or replaced under the same identity.
    pub truncated: Counter,
    /// Bytes that were on disk, were not read, and are gone.
    pub lost_bytes: Counter,
    /// Lines cut to the cap.
    pub lines_truncated: Counter,
    /// Lines with bytes that were not UTF-8.
    pub lines_not_utf8: Counter,
    /// Lines with bytes that the file's encoding does not have.
    pub lines_not_decodable: Counter,
    /// Lines with a run of NUL bytes.
    pub lines_nul: Counter,
    /// Label values cut to the cap, once for each stream.
    pub labels_too_long: Counter,
    /// Lines over the rate that were dropped.
    pub dropped_lines: Counter,
    /// Their bytes.
    pub dropped_bytes: Counter,
    /// Failed attempts to open or read.
    pub errors: Counter,
    /// Compressed files that matched and were left out.
    pub compressed: Counter,
    failing: Arc<Failing>,
}

/// The errors of now, and how many there are, so that asking for one costs nothing when there is none.
#[derive(Debug, Default)]
struct Failing {
    count: AtomicUsize,
    by_path: Mutex<BTreeMap<PathBuf, String>>,
}

/// Lines, and their bytes, of a source that were read and not sent for a reason.
pub(super) fn dropped(registry: &Registry, source: &str, reason: &str) -> (Counter, Counter) {
    let labels = [("source", source), ("reason", reason)];
    let lines = "Lines that were read and not sent, by reason.";
    let bytes = "Bytes that were read and not sent, by reason.";
    (
        registry.counter("lugger_source_dropped_lines_total", lines, &labels),
        registry.counter("lugger_source_dropped_bytes_total", bytes, &labels),
    )
}

impl Status {
    /// Registers the series of source `name`.
    pub fn new(registry: &Registry, name: &str) -> Self {
        let source = [("source", name)];
        let repaired = |reason| {
            registry.counter(
                "lugger_lines_repaired_total",
                "Lines changed so that they can be stored, by reason.",
                &[("source", name), ("reason", reason)],
            )
        };
        let dropped = dropped(registry, name, "rate");
        Status {
            bytes: registry.counter("lugger_source_bytes_total", "Bytes read as complete lines.", &source),
            lines: registry.counter("lugger_source_lines_total", "Lines read.", &source),
            files: registry.gauge("lugger_source_files", "Files followed now.", &source),
            lag_bytes: registry.gauge(
                "lugger_source_lag_bytes",
                "Bytes on the host that are not yet stored by every endpoint.",
                &source,
            ),
            lag_seconds: registry.gauge(
                "lugger_source_lag_seconds",
                "Age of the oldest line that is read and not yet stored by every endpoint.",
                &source,
            ),
            truncated: registry.counter(
                "lugger_file_truncated_total",
                "Files that began again: truncated, or replaced under the same identity.",
                &source,
            ),
            lost_bytes: registry.counter(
                "lugger_file_lost_bytes_total",
                "Bytes known to have been on disk that were gone before they could be read.",
                &source,
            ),
            lines_truncated: repaired("too_long"),
            lines_not_utf8: repaired("not_utf8"),
            lines_not_decodable: repaired("not_decodable"),
            lines_nul: repaired("nul_run"),
            labels_too_long: registry.counter(
                "lugger_labels_repaired_total",
                "Labels changed so that Loki takes them, by reason.",
                &[("source", name), ("reason", "value_too_long")],
            ),
            dropped_lines: dropped.0,
            dropped_bytes: dropped.1,
            errors: registry.counter("lugger_file_errors_total", "Failed attempts to open or read a file.", &source),
            compressed: registry.counter(
                "lugger_file_compressed_total",
                "Files that matched and were left out because they are compressed.",
                &source,
            ),
            failing: Arc::default(),
        }
    }

    /// What is wrong now, one sentence each, at most a few.
    pub fn problems(&self) -> Vec<String> {
        let failing = self.lock();
        let mut shown: Vec<String> = failing.values().take(ERRORS_SHOWN).cloned().collect();
        if failing.len() > ERRORS_SHOWN {
            shown.push(format!("… and {} more files", failing.len() - ERRORS_SHOWN));
        }
        shown
    }

    /// Notes that `path` fails. True when it did not fail before.
    pub(super) fn fails(&self, path: &Path, problem: &str) -> bool {
        self.errors.add(1);
        let mut failing = self.lock();
        if failing.len() >= ERRORS_KEPT && !failing.contains_key(path) {
            return false;
        }
        let is_first = failing.insert(path.to_owned(), problem.to_owned()).is_none();
        self.failing.count.store(failing.len(), Ordering::Relaxed);
        is_first
    }

    /// Notes that nothing is known to fail.
    pub(super) fn forget_problems(&self) {
        let mut failing = self.lock();
        failing.clear();
        self.failing.count.store(0, Ordering::Relaxed);
    }

    /// Notes that `path` does not fail (any more). True when it did.
    pub(super) fn recovers(&self, path: &Path) -> bool {
        if self.failing.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut failing = self.lock();
        let did = failing.remove(path).is_some();
        self.failing.count.store(failing.len(), Ordering::Relaxed);
        did
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
        // A map insertion happened or did not.
        self.failing.by_path.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
