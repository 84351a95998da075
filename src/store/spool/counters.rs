//! What a spool counts, and when it speaks of it.
//!
//! Promises: no frame is lost without a count by reason; each kind of finding is logged when it is first met and then at most once a
//! minute. Leaves to others: showing the numbers.

use crate::base::metrics::{Counter, Registry};
use crate::store::seldom::Seldom;
use std::fmt::Display;

/// Why frames were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There was no room and the oldest had to go.
    Full,
    /// They were older than the age bound.
    Expired,
    /// Their bytes are not what was written.
    Damaged,
    /// They end before their end: the process or the host stopped while they were written, or the file was cut.
    Torn,
    /// The disk does not give them back.
    Unreadable,
    /// Their segment, or their place in it, is gone.
    Missing,
}

impl Reason {
    const ALL: [Reason; 6] =
        [Reason::Full, Reason::Expired, Reason::Damaged, Reason::Torn, Reason::Unreadable, Reason::Missing];

    fn label(self) -> &'static str {
        match self {
            Reason::Full => "full",
            Reason::Expired => "expired",
            Reason::Damaged => "damaged",
            Reason::Torn => "torn",
            Reason::Unreadable => "unreadable",
            Reason::Missing => "missing",
        }
    }
}

/// What was found out of order without a frame being lost by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// A segment's head is damaged.
    SegmentHead,
    /// A record of the position is damaged, or the position cannot be read.
    Position,
    /// Files that are not the spool's, or copies of its files under other names. They are left alone.
    Foreign,
    /// A segment without a frame.
    Empty,
    /// Bytes that are no frame, where none is missing.
    Junk,
}

impl Finding {
    const ALL: [Finding; 5] =
        [Finding::SegmentHead, Finding::Position, Finding::Foreign, Finding::Empty, Finding::Junk];

    fn label(self) -> &'static str {
        match self {
            Finding::SegmentHead => "segment_head",
            Finding::Position => "position",
            Finding::Foreign => "foreign",
            Finding::Empty => "empty",
            Finding::Junk => "junk",
        }
    }
}

/// A system call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Writing a frame.
    Append,
    /// Reading.
    Read,
    /// Writing the position.
    Acknowledge,
    /// Removing a segment.
    Remove,
    /// Syncing.
    Sync,
}

impl Operation {
    const ALL: [Operation; 5] =
        [Operation::Append, Operation::Read, Operation::Acknowledge, Operation::Remove, Operation::Sync];

    fn label(self) -> &'static str {
        match self {
            Operation::Append => "append",
            Operation::Read => "read",
            Operation::Acknowledge => "acknowledge",
            Operation::Remove => "remove",
            Operation::Sync => "sync",
        }
    }
}

/// The counters of one spool, all with a label that names its endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Counters {
    frames: [Counter; Reason::ALL.len()],
    entries: [Counter; Reason::ALL.len()],
    findings: [Counter; Finding::ALL.len()],
    errors: [Counter; Operation::ALL.len()],
}

impl Counters {
    /// Registers the series of the spool of this endpoint.
    pub fn new(registry: &Registry, endpoint: &str) -> Self {
        let names = [
            "lugger_spool_dropped_frames_total",
            "lugger_spool_dropped_entries_total",
            "lugger_spool_findings_total",
            "lugger_spool_errors_total",
        ];
        Self::named(registry, ("endpoint", endpoint), names)
    }

    /// The same of an endpoint of metrics, whose entries are samples.
    pub fn of_metrics(registry: &Registry, endpoint: &str) -> Self {
        let names = [
            "lugger_remote_write_spool_dropped_frames_total",
            "lugger_remote_write_spool_dropped_samples_total",
            "lugger_remote_write_spool_findings_total",
            "lugger_remote_write_spool_errors_total",
        ];
        Self::named(registry, ("remote_name", endpoint), names)
    }

    fn named(registry: &Registry, endpoint: (&str, &str), names: [&'static str; 4]) -> Self {
        let counter = |name, help, key, value| registry.counter(name, help, &[endpoint, (key, value)]);
        let [frames, entries, findings, errors] = names;
        Counters {
            frames: Reason::ALL.map(|reason| counter(frames, "Spooled requests given up.", "reason", reason.label())),
            entries: Reason::ALL.map(|reason| {
                counter(entries, "Entries in spooled requests given up, where known.", "reason", reason.label())
            }),
            findings: Finding::ALL.map(|finding| {
                counter(findings, "Disorder found in the spool that cost no request.", "kind", finding.label())
            }),
            errors: Operation::ALL
                .map(|operation| counter(errors, "Failed system calls of the spool.", "operation", operation.label())),
        }
    }

    /// Frames given up for this reason.
    pub fn frames(&self, reason: Reason) -> u64 {
        self.frames.get(reason as usize).map_or(0, Counter::get)
    }

    /// Frames given up for any reason.
    pub fn all_frames(&self) -> u64 {
        self.frames.iter().map(Counter::get).sum()
    }

    /// Entries in frames given up for this reason, as far as the frames' heads could be read.
    pub fn entries(&self, reason: Reason) -> u64 {
        self.entries.get(reason as usize).map_or(0, Counter::get)
    }

    /// How often this was found.
    pub fn findings(&self, finding: Finding) -> u64 {
        self.findings.get(finding as usize).map_or(0, Counter::get)
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
    findings: Seldom<{ Finding::ALL.len() }>,
    errors: Seldom<{ Operation::ALL.len() }>,
}

impl Report {
    pub(super) fn new(counters: Counters, place: String) -> Self {
        Report {
            counters,
            place,
            reasons: Default::default(),
            findings: Default::default(),
            errors: Default::default(),
        }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn dropped(&mut self, reason: Reason, frames: u64, entries: u64, now_s: i64) {
        if let Some(counter) = self.counters.frames.get(reason as usize) {
            counter.add(frames);
        }
        if let Some(counter) = self.counters.entries.get(reason as usize) {
            counter.add(entries);
        }
        if self.reasons.is_due(reason as usize, now_s) {
            let total = self.counters.frames(reason);
            let why = match reason {
                Reason::Full => "there is no room for more; give the spool more room, or see why the endpoint is away",
                Reason::Expired => "they are older than the spool keeps them",
                Reason::Damaged => "their bytes have changed on disk",
                Reason::Torn => "they were being written when the process or the host stopped, or their file was cut",
                Reason::Unreadable => "the disk does not give them back",
                Reason::Missing => "their files are gone",
            };
            tracing::warn!(spool = self.place, reason = reason.label(), total, "spooled requests are lost: {why}");
        }
    }

    pub(super) fn found(&mut self, finding: Finding, detail: impl Display, now_s: i64) {
        if let Some(counter) = self.counters.findings.get(finding as usize) {
            counter.add(1);
        }
        if self.findings.is_due(finding as usize, now_s) {
            tracing::warn!(spool = self.place, kind = finding.label(), %detail, "the spool's directory is not in order; no request is lost by it");
        }
    }

    pub(super) fn failed(&mut self, operation: Operation, error: &std::io::Error, now_s: i64) {
        if let Some(counter) = self.counters.errors.get(operation as usize) {
            counter.add(1);
        }
        if self.errors.is_due(operation as usize, now_s) {
            let consequence = match operation {
                Operation::Append => "a request could not be kept",
                Operation::Read => "it is tried again",
                Operation::Acknowledge => "requests may be sent again after a restart",
                Operation::Remove => "room is not given back; it is tried again",
                Operation::Sync => "a power loss may cost more than the last second",
            };
            tracing::warn!(
                spool = self.place, operation = operation.label(), %error,
                "the spool cannot use the disk: {consequence}; free space or repair it"
            );
        }
    }
}
