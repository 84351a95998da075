//! What a journal source tells of itself: metrics, and what the status page shows.
//!
//! Promises: one set of series a source, whatever it reads; they have the names of other sources' where they mean the same.

use crate::base::metrics::{Counter, Gauge, Registry};
use crate::source::problems::Problems;
use crate::source::stages::dropped;
use std::path::Path;

/// The counters of one source, and its current errors. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Status {
    /// Bytes of lines that were read and wanted.
    pub bytes: Counter,
    /// Entries that were read and wanted.
    pub lines: Counter,
    /// Files followed now.
    pub files: Gauge,
    /// Bytes of lines that are read and not yet stored by every endpoint.
    pub lag_bytes: Gauge,
    /// Age of the oldest line that is read and not yet stored, or of the next one to be read; seconds.
    pub lag_seconds: Gauge,
    /// Lines cut to the cap.
    pub lines_truncated: Counter,
    /// Lines with bytes that were not UTF-8.
    pub lines_not_utf8: Counter,
    /// Label values cut to the cap, once for each set of labels.
    pub labels_too_long: Counter,
    /// Lines over the rate that were dropped, and their bytes.
    pub over_rate: (Counter, Counter),
    /// Those that a rule drops.
    pub relabelled: (Counter, Counter),
    /// Those without labels.
    pub no_labels: (Counter, Counter),
    /// Entries without a message.
    pub no_message: (Counter, Counter),
    /// Entries that `matches`, `units`, `priority` or `own_unit` leave out.
    pub filtered: Counter,
    /// Damaged entries that were passed over.
    pub damaged_entries: Counter,
    /// Damaged fields that entries came without.
    pub damaged_fields: Counter,
    /// Fields that are too large and came cut.
    pub cut_fields: Counter,
    /// Entries that journald removed before they were read.
    pub vacuumed: Counter,
    /// Entries that the system could not read.
    pub unreadable: Counter,
    /// Entries that came to light when later ones of their numbering had been read; they are passed over.
    pub late: Counter,
    /// Failed attempts to open or read.
    pub errors: Counter,
    problems: Problems,
}

impl Status {
    /// Registers the series of source `name`.
    pub fn new(registry: &Registry, name: &str) -> Self {
        let source = [("source", name)];
        let counter = |metric: &'static str, help: &'static str| registry.counter(metric, help, &source);
        let by = |metric: &'static str, help: &'static str, key: &'static str, value: &str| {
            registry.counter(metric, help, &[("source", name), (key, value)])
        };
        let repaired = |reason| {
            by("lugger_lines_repaired_total", "Lines changed so that they can be stored, by reason.", "reason", reason)
        };
        let damaged = |what| {
            by("lugger_journal_damaged_total", "What is damaged in journal files and was passed over.", "what", what)
        };
        let lost = |reason| {
            by("lugger_journal_lost_entries_total", "Entries that are known to be lost, by reason.", "reason", reason)
        };
        Status {
            bytes: counter("lugger_source_bytes_total", "Bytes read as complete lines."),
            lines: counter("lugger_source_lines_total", "Lines read."),
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
            lines_truncated: repaired("too_long"),
            lines_not_utf8: repaired("not_utf8"),
            labels_too_long: by(
                "lugger_labels_repaired_total",
                "Labels changed so that Loki takes them, by reason.",
                "reason",
                "value_too_long",
            ),
            over_rate: dropped(registry, name, "rate"),
            relabelled: dropped(registry, name, "relabel"),
            no_labels: dropped(registry, name, "no_labels"),
            no_message: dropped(registry, name, "no_message"),
            filtered: counter(
                "lugger_journal_filtered_entries_total",
                "Entries that are left out by matches, units, priority or own_unit.",
            ),
            damaged_entries: damaged("entries"),
            damaged_fields: damaged("fields"),
            cut_fields: damaged("cut_fields"),
            vacuumed: lost("vacuumed"),
            unreadable: lost("unreadable"),
            late: lost("late"),
            errors: counter("lugger_file_errors_total", "Failed attempts to open or read a file."),
            problems: Problems::default(),
        }
    }

    /// What is wrong now, one sentence each, at most a few.
    pub fn problems(&self) -> Vec<String> {
        self.problems.list()
    }

    /// Whether anything is wrong.
    pub(super) fn has_problems(&self) -> bool {
        self.problems.any()
    }

    /// Notes that `path` fails. True when it did not fail before.
    pub(super) fn fails(&self, path: &Path, problem: &str) -> bool {
        self.errors.add(1);
        self.problems.add(path, problem)
    }

    /// Notes that `path` does not fail (any more).
    pub(super) fn recovers(&self, path: &Path) {
        self.problems.remove(path);
    }

    /// Notes that nothing is known to fail.
    pub(super) fn forget_problems(&self) {
        self.problems.clear();
    }
}
