//! What a file source tells of itself: metrics, and what the status page shows.
//!
//! Promises: one set of series a source, whatever it reads; errors are kept for a few files and counted for all.

use crate::base::metrics::{Counter, Gauge, Registry};
use crate::source::problems::Problems;
use crate::source::stages::dropped;
use std::path::Path;

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
    failing: Problems,
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
            failing: Problems::default(),
        }
    }

    /// What is wrong now, one sentence each, at most a few.
    pub fn problems(&self) -> Vec<String> {
        self.failing.list()
    }

    /// Notes that `path` fails. True when it did not fail before.
    pub(super) fn fails(&self, path: &Path, problem: &str) -> bool {
        self.errors.add(1);
        self.failing.add(path, problem)
    }

    /// Notes that nothing is known to fail.
    pub(super) fn forget_problems(&self) {
        self.failing.clear();
    }

    /// Notes that `path` does not fail (any more). True when it did.
    pub(super) fn recovers(&self, path: &Path) -> bool {
        self.failing.remove(path)
    }
}
