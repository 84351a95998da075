//! What every source tells of itself, whatever it reads: metrics, and what the status page shows.
//!
//! Promises: one set of series a source, by the same names for all kinds; errors are kept for a few files and counted for all. Leaves to others:
//! what only one kind of source has to tell.

use super::problems::{Denied, Problems};
use super::stages::{LabelRepairs, dropped};
use crate::base::metrics::{Counter, Gauge, Registry};
use std::path::Path;

/// The counters that every source has, and its current errors. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Common {
    /// Bytes of the lines read.
    pub bytes: Counter,
    /// Lines read.
    pub lines: Counter,
    /// Files followed now.
    pub files: Gauge,
    /// Bytes on the host that are not yet stored by every endpoint.
    pub lag_bytes: Gauge,
    /// Age of the oldest line under way, seconds.
    pub lag_seconds: Gauge,
    /// Lines cut to the cap.
    pub lines_truncated: Counter,
    /// Lines with bytes that were not UTF-8.
    pub lines_not_utf8: Counter,
    /// Labels changed or left out so that Loki takes them, once for each stream or set of labels.
    pub labels_repaired: LabelRepairs,
    /// Lines over the rate that were dropped, and their bytes.
    pub over_rate: (Counter, Counter),
    /// Failed attempts to open or read.
    pub errors: Counter,
    failing: Problems,
}

impl Common {
    /// Registers the series of source `name`.
    pub(super) fn new(registry: &Registry, name: &str) -> Self {
        let source = [("source", name)];
        let counter = |metric: &'static str, help: &'static str| registry.counter(metric, help, &source);
        let gauge = |metric: &'static str, help: &'static str| registry.gauge(metric, help, &source);
        Common {
            bytes: counter("lugger_source_bytes_total", "Bytes read as complete lines."),
            lines: counter("lugger_source_lines_total", "Lines read."),
            files: gauge("lugger_source_files", "Files followed now."),
            lag_bytes: gauge("lugger_source_lag_bytes", "Bytes on the host that are not yet stored by every endpoint."),
            lag_seconds: gauge(
                "lugger_source_lag_seconds",
                "Age of the oldest line that is read and not yet stored by every endpoint.",
            ),
            lines_truncated: repaired(registry, name, "too_long"),
            lines_not_utf8: repaired(registry, name, "not_utf8"),
            labels_repaired: LabelRepairs::new(registry, name),
            over_rate: dropped(registry, name, "rate"),
            errors: counter("lugger_file_errors_total", "Failed attempts to open or read a file."),
            failing: Problems::default(),
        }
    }

    /// What is wrong now, one sentence each, at most a few.
    pub fn problems(&self) -> Vec<String> {
        self.failing.list()
    }

    /// Why nothing is read at all, if that is for want of rights: somebody has to give them.
    pub fn denied(&self) -> Option<String> {
        // Whole numbers; the cast saturates.
        self.failing.denied(self.files.get() as usize)
    }

    /// Whether anything is wrong.
    pub(super) fn has_problems(&self) -> bool {
        self.failing.any()
    }

    /// Notes that `path` fails. True when it did not fail before.
    pub(crate) fn fails(&self, path: &Path, problem: &str) -> bool {
        self.errors.add(1);
        self.failing.add(path, problem, None)
    }

    /// The same, for want of rights.
    pub(crate) fn is_denied(&self, path: &Path, problem: &str, denied: Denied) -> bool {
        self.errors.add(1);
        self.failing.add(path, problem, Some(denied))
    }

    /// Notes that `path` does not fail (any more). True when it did.
    pub(super) fn recovers(&self, path: &Path) -> bool {
        self.failing.remove(path)
    }

    /// Notes that nothing is known to fail.
    pub(super) fn forget_problems(&self) {
        self.failing.clear();
    }
}

/// Lines of a source that were changed for a reason.
pub(super) fn repaired(registry: &Registry, source: &str, reason: &str) -> Counter {
    registry.counter(
        "lugger_lines_repaired_total",
        "Lines changed so that they can be stored, by reason.",
        &[("source", source), ("reason", reason)],
    )
}
