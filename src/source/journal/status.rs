//! What a journal source tells of itself beside what every source does: what became of entries.
//!
//! Promises: one set of series a source, whatever it reads.

use crate::base::metrics::{Counter, Registry};
use crate::source::stages::dropped;
use crate::source::status::Common;
use std::ops::Deref;

/// The counters of one source, and its current errors. Cheap to clone. What is counted as read is what is wanted.
#[derive(Debug, Clone)]
pub struct Status {
    common: Common,
    /// Lines that a rule drops, and their bytes.
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
    /// Entries that the system could not read, or that `journalctl` does not show.
    pub unreadable: Counter,
    /// Entries that came to light when later ones of their numbering had been read; they are passed over.
    pub late: Counter,
}

impl Deref for Status {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl Status {
    /// Registers the series of source `name`.
    pub fn new(registry: &Registry, name: &str) -> Self {
        let by = |metric: &'static str, help: &'static str, key: &'static str, value: &str| {
            registry.counter(metric, help, &[("source", name), (key, value)])
        };
        let damaged = |what| {
            by("lugger_journal_damaged_total", "What is damaged in journal files and was passed over.", "what", what)
        };
        let lost = |reason| {
            by("lugger_journal_lost_entries_total", "Entries that are known to be lost, by reason.", "reason", reason)
        };
        Status {
            common: Common::new(registry, name),
            relabelled: dropped(registry, name, "relabel"),
            no_labels: dropped(registry, name, "no_labels"),
            no_message: dropped(registry, name, "no_message"),
            filtered: registry.counter(
                "lugger_journal_filtered_entries_total",
                "Entries that are left out by matches, units, priority or own_unit.",
                &[("source", name)],
            ),
            damaged_entries: damaged("entries"),
            damaged_fields: damaged("fields"),
            cut_fields: damaged("cut_fields"),
            vacuumed: lost("vacuumed"),
            unreadable: lost("unreadable"),
            late: lost("late"),
        }
    }
}
