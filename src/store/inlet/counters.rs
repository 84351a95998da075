//! What an inlet counts, and when it speaks of it.
//!
//! Promises: no record is lost without a count by reason; each kind of loss and failure is logged when it is first met and then at most
//! once a minute. Leaves to others: showing the numbers.

use crate::base::metrics::{Counter, Registry};
use crate::store::seldom::Seldom;
use std::io;

/// Why records were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There was no room: the oldest had to go, or where nothing could go, the newcomers.
    Full,
    /// The disk did not take them, and memory held as much as it may.
    Disk,
    /// A piece is larger than the whole inlet may be.
    TooLarge,
    /// They end before their newline: the process or the host stopped while they were written.
    Torn,
    /// Somebody removed their file while they were half written.
    Missing,
}

impl Reason {
    const ALL: [Reason; 5] = [Reason::Full, Reason::Disk, Reason::TooLarge, Reason::Torn, Reason::Missing];

    fn label(self) -> &'static str {
        match self {
            Reason::Full => "full",
            Reason::Disk => "disk",
            Reason::TooLarge => "too_large",
            Reason::Torn => "torn",
            Reason::Missing => "missing",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Reason::Full => {
                "there is no room for more; give the source's queue more room, or see why delivery is behind"
            }
            Reason::Disk => "the disk does not take them; free space or repair it",
            Reason::TooLarge => "a piece is larger than the source's queue; give it more room",
            Reason::Torn => "they were being written when the process or the host stopped",
            Reason::Missing => "their file was removed; leave the directory to lugger",
        }
    }
}

/// A system call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Writing records, or opening the file for them.
    Append,
    /// Giving a finished file its number.
    Rotate,
    /// Reading, to count records or to find the last newline; listing the directory.
    Read,
    /// Truncating or removing a file.
    Remove,
    /// Syncing.
    Sync,
}

impl Operation {
    const ALL: [Operation; 5] =
        [Operation::Append, Operation::Rotate, Operation::Read, Operation::Remove, Operation::Sync];

    fn label(self) -> &'static str {
        match self {
            Operation::Append => "append",
            Operation::Rotate => "rotate",
            Operation::Read => "read",
            Operation::Remove => "remove",
            Operation::Sync => "sync",
        }
    }

    fn consequence(self) -> &'static str {
        match self {
            Operation::Append => "received records wait in memory, as many as fit",
            Operation::Rotate => "its file grows until it can be renamed",
            Operation::Read => "what it holds is not known exactly",
            Operation::Remove => "room is not given back; it is tried again",
            Operation::Sync => "a power loss may cost more than the last second",
        }
    }
}

/// The counters of one inlet, all with the label `source`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Counters {
    dropped: [Counter; Reason::ALL.len()],
    errors: [Counter; Operation::ALL.len()],
}

impl Counters {
    /// Registers the series of the inlet of this source.
    pub fn new(registry: &Registry, source: &str) -> Self {
        let counter = |name, help, key, value| registry.counter(name, help, &[("source", source), (key, value)]);
        let dropped = "lugger_inlet_dropped_records_total";
        let errors = "lugger_inlet_errors_total";
        Counters {
            dropped: Reason::ALL.map(|reason| {
                counter(dropped, "Received records given up before they were read.", "reason", reason.label())
            }),
            errors: Operation::ALL
                .map(|operation| counter(errors, "Failed system calls of the inlet.", "operation", operation.label())),
        }
    }

    /// Records given up for this reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped.get(reason as usize).map_or(0, Counter::get)
    }

    /// Records given up for any reason.
    pub fn all_dropped(&self) -> u64 {
        self.dropped.iter().map(Counter::get).sum()
    }

    /// How often this failed.
    pub fn errors(&self, operation: Operation) -> u64 {
        self.errors.get(operation as usize).map_or(0, Counter::get)
    }
}

/// Counts, and logs the first of a kind in a minute.
#[derive(Debug)]
pub(super) struct Report {
    counters: Counters,
    place: String,
    reasons: Seldom<{ Reason::ALL.len() }>,
    errors: Seldom<{ Operation::ALL.len() }>,
}

impl Report {
    pub(super) fn new(counters: Counters, place: String) -> Self {
        Report { counters, place, reasons: Default::default(), errors: Default::default() }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn dropped(&mut self, reason: Reason, records: u64, now_s: i64) {
        if records == 0 {
            return;
        }
        if let Some(counter) = self.counters.dropped.get(reason as usize) {
            counter.add(records);
        }
        if self.reasons.is_due(reason as usize, now_s) {
            let total = self.counters.dropped(reason);
            tracing::warn!(
                inlet = self.place,
                reason = reason.label(),
                total,
                "received records are lost: {}",
                reason.advice()
            );
        }
    }

    pub(super) fn failed(&mut self, operation: Operation, error: &io::Error, now_s: i64) {
        if let Some(counter) = self.counters.errors.get(operation as usize) {
            counter.add(1);
        }
        if self.errors.is_due(operation as usize, now_s) {
            tracing::warn!(
                inlet = self.place, operation = operation.label(), %error,
                "the inlet cannot use the disk: {}; free space or repair it", operation.consequence()
            );
        }
    }
}
