//! What all sources with stages share: the lines of a chunk run through the source's pipeline, and what comes out is gathered for its streams.
//!
//! A **strand** is a row of lines in order, such as a file, with what its pipeline remembers of it. Lines that wait for further ones hold
//! back the cursor: a chunk's receipt says how far it may move, which is a place at which nothing waited (see [`State`]). So what is read
//! again after a crash gives the same entries again, if it is cut and stamped in the same way; that is what intents are for, and they say
//! here also where something was sent because nothing more came ([`Note`]).
//!
//! Promises: nothing is allocated for a line in the steady state; every line that does not come out is counted with a reason. Leaves to
//! others: reading, bounding what is gathered at once, writing to the output, cursors.

use crate::base::limits::PIPELINE_UNQUIET_BYTES;
use crate::base::metrics::{Counter, Registry};
use crate::base::text::head;
use crate::model::flow::{Entries, EntryAt, Note, Output, Receipt, Span, StreamId};
use crate::model::labels::{LabelCaps, Labels, Repairs};
use crate::model::tenant::{TENANT_RULE, is_tenant};
use crate::pipeline::entry::{Entry, Work};
use crate::pipeline::metrics::Metrics;
use crate::pipeline::state::{Memory, State};
use crate::pipeline::streams::{Streams, pairs_to_send};
use crate::pipeline::{Emit, LabelNames, Program};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// Counts what was changed of labels, by reason. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LabelRepairs([Counter; 5]);

impl LabelRepairs {
    /// Registers the series of source `name`.
    pub(super) fn new(registry: &Registry, name: &str) -> Self {
        let reasons = ["value_too_long", "name_too_long", "invalid_name", "same_name", "too_many"];
        LabelRepairs(reasons.map(|reason| {
            registry.counter(
                "lugger_labels_repaired_total",
                "Labels changed or left out so that Loki takes them, by reason.",
                &[("source", name), ("reason", reason)],
            )
        }))
    }

    /// Counts what was changed.
    pub fn add(&self, repairs: Repairs) {
        let Repairs { invalid_name, name_too_long, value_too_long, same_name, too_many } = repairs;
        let counts = [value_too_long, name_too_long, invalid_name, same_name, too_many];
        self.0.iter().zip(counts).for_each(|(counter, count)| counter.add(count));
    }
}

/// The pipeline of a source.
#[derive(Debug)]
pub(super) struct Pipeline {
    source: String,
    program: Box<Program>,
    counters: Counters,
}

/// Lines that do not come out, and their bytes.
#[derive(Debug)]
struct Counters {
    /// By the program's reasons.
    dropped: Vec<(Counter, Counter)>,
    no_labels: (Counter, Counter),
    bad_tenant: (Counter, Counter),
}

impl Pipeline {
    pub(super) fn new(program: Box<Program>, source: &str, registry: &Registry) -> Box<Self> {
        let counters = |reason: &str| dropped(registry, source, reason);
        let counters = Counters {
            dropped: program.reasons().iter().map(|reason| counters(reason)).collect(),
            no_labels: counters("no_labels"),
            bad_tenant: counters("bad_tenant"),
        };
        Box::new(Pipeline { source: source.to_owned(), counters, program })
    }

    /// Goes on under other settings with equal stages.
    pub(super) fn take_settings(&mut self, line_bytes: usize, late_labels: &Labels) {
        self.program.set_line_bytes(line_bytes);
        self.program.set_late_labels(late_labels.clone());
    }

    /// Buffers for lines whose source has these labels.
    pub(super) fn work(&mut self, labels: Labels) -> Work {
        self.program.work(Arc::new(labels))
    }

    /// The same, for lines that come in one row with those of other labels.
    pub(super) fn work_of_several(&mut self, labels: Labels) -> Work {
        self.program.work_of_several(Arc::new(labels))
    }

    /// Whether lines may wait for further ones.
    pub(super) fn holds(&self) -> bool {
        self.program.holds()
    }

    /// The metrics that its stages keep.
    pub(super) fn metrics(&self) -> &Metrics {
        self.program.metrics()
    }

    /// Until when nothing more should be read, because more than a rate went through; nanoseconds since 1970.
    pub(super) fn wait_until_ns(&self) -> Option<i64> {
        self.program.wait_until_ns()
    }
}

/// What waits for further lines in all strands together, bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct HeldBytes(Arc<AtomicUsize>);

impl HeldBytes {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What of that is one strand's.
#[derive(Debug)]
struct Share {
    total: HeldBytes,
    bytes: usize,
}

impl Share {
    fn set(&mut self, bytes: usize) {
        if bytes == self.bytes {
            return;
        }
        // Wraps as it should: it is the sum of what all shares have.
        self.total.0.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// What a line may be at most, and what is changed so that it can be stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form<'a> {
    /// The cap of a line, bytes.
    pub line_bytes: usize,
    /// What Loki takes of labels.
    pub label_caps: LabelCaps,
    /// Lines that were cut.
    pub lines_truncated: &'a Counter,
    /// Values of labels that were.
    pub labels_repaired: &'a LabelRepairs,
}

impl Form<'_> {
    /// Appends a line, cut to the cap.
    pub(super) fn push_line(&self, entries: &mut Entries, text: &str) -> Span {
        let mut line = entries.push_text(text.get(..text.floor_char_boundary(self.line_bytes)).unwrap_or_default());
        if text.len() > self.line_bytes {
            self.lines_truncated.add(1);
            line.end = cut_short(entries, line, text, self.line_bytes);
        }
        line
    }
}

/// Where entries go.
pub(super) struct Outlet<'a> {
    pub entries: &'a mut Entries,
    pub receipts: &'a mut Vec<Receipt>,
    pub output: &'a mut dyn Output,
    /// Under which lines go when there are too many streams.
    pub merged: &'a Labels,
    pub form: Form<'a>,
}

/// What a pipeline remembers of one row of lines.
#[derive(Debug)]
pub(super) struct Strand {
    share: Share,
    state: State,
    streams: Streams<StreamId>,
    /// The last place known at which nothing waited, and the mark of it. Counts while something waits.
    safe: (u64, u32),
    /// There was more when the last chunk was read.
    more: bool,
}

/// What is to be run: a chunk, or a part of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// Where its first line begins, and the mark of that place.
    pub start: (u64, u32),
    /// The time of its first line, nanoseconds since 1970.
    pub time_ns: i64,
    /// Its lines were there when the chunk before was read.
    pub goes_on: bool,
    /// It was sent before.
    pub replayed: bool,
    /// It is the beginning of what was sent before: what was noted then.
    pub again: Option<Note>,
}

/// A turn that has begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    turn: Turn,
    had_held: bool,
    note: Note,
}

impl Strand {
    /// At a place of which this is known; `total`: what all strands hold.
    pub(super) fn new(memory: Memory, total: &HeldBytes) -> Self {
        let share = Share { total: total.clone(), bytes: 0 };
        Strand { share, state: State::new(memory), streams: Streams::default(), safe: (0, 0), more: false }
    }

    /// Forgets its streams; each is given to `release`.
    pub(super) fn forget_streams(&mut self, release: impl FnMut(StreamId)) {
        self.streams.forget(release);
    }

    /// What is known from the lines before.
    pub(super) fn memory(&self) -> Memory {
        self.state.memory()
    }

    /// Whether lines wait for further ones.
    pub(super) fn is_holding(&self) -> bool {
        self.state.is_holding()
    }

    /// What they take, bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.share.bytes
    }

    /// Whether what is read now was there when the last chunk was read. `more`: whether there is more now.
    pub(super) fn goes_on(&mut self, more: bool) -> bool {
        std::mem::replace(&mut self.more, more)
    }

    /// Until when they wait; nanoseconds since 1970.
    pub(super) fn due_ns(&self) -> Option<i64> {
        self.state.due_ns()
    }

    /// How far the cursor may move when nothing is left of what lies before `place`.
    pub(super) fn safe(&self, place: (u64, u32)) -> (u64, u32) {
        if self.is_holding() { self.safe } else { place }
    }

    /// Begins a turn.
    pub(super) fn begin(&mut self, turn: Turn, output: &mut dyn Output) -> Begun {
        if self.streams.is_full() {
            // Not after the lines: what came out of them names streams until it is written.
            self.streams.forget(|stream| output.release(stream));
        }
        let had_held = self.is_holding();
        if let Some(note) = turn.again {
            self.remember(note);
        }
        let note = Note { goes_on: turn.goes_on && had_held, memory: self.memory(), ..Note::default() };
        if note.goes_on {
            self.state.go_on(turn.time_ns);
        }
        self.state.set_replayed(turn.replayed);
        self.state.begin_chunk(turn.start.0);
        Begun { turn, had_held, note }
    }

    /// Runs the `at`th line of the turn.
    pub(super) fn line(
        &mut self,
        pipeline: &mut Pipeline,
        work: &mut Work,
        (text, at, time_ns): (&str, usize, i64),
        outlet: &mut Outlet<'_>,
    ) {
        self.prepared_line(pipeline, work, (text, at, time_ns), &mut |_| {}, outlet);
    }

    /// The same for an entry that brings more than its text: `prepare` sets its time, its tenant, its metadata.
    pub(super) fn prepared_line(
        &mut self,
        pipeline: &mut Pipeline,
        work: &mut Work,
        (text, at, time_ns): (&str, usize, i64),
        prepare: &mut dyn FnMut(&mut Entry<'_>),
        outlet: &mut Outlet<'_>,
    ) {
        let Strand { state, streams, .. } = self;
        let mut sorter = Sorter { streams, outlet, counters: &pipeline.counters, source: &pipeline.source };
        pipeline.program.run_prepared(text, (at, time_ns), prepare, work, state, &mut sorter);
    }

    /// Ends a turn of so many `lines`, at a place `end`, with its receipts. `place_of` and `time_of` are of lines of the turn; the time is asked
    /// for the one behind its last, too. `receipt`: what is the same in all receipts.
    pub(super) fn end(
        &mut self,
        pipeline: &mut Pipeline,
        begun: Begun,
        (lines, end): (usize, (u64, u32)),
        (place_of, time_of): (impl Fn(usize) -> (u64, u32), impl Fn(usize) -> i64),
        receipt: Receipt,
        outlet: &mut Outlet<'_>,
    ) {
        let Begun { turn, had_held, note } = begun;
        self.share.set(self.state.held_bytes());
        if self.is_holding()
            && self.state.quiet().is_none()
            && end.0.saturating_sub(self.safe.0) > PIPELINE_UNQUIET_BYTES
        {
            // Streams overlap without end. They are let go at a place that follows from the bytes alone.
            self.let_go(pipeline, None, time_of(lines), outlet);
        }
        let count = |lines: usize| lines as u32;
        let receipt =
            Receipt { start: turn.start.0, end: end.0, time_ns: turn.time_ns, lines: count(lines), note, ..receipt };
        let receipts = &mut outlet.receipts;
        match self.state.quiet().filter(|_| self.is_holding()) {
            Some(quiet) if quiet.line > 0 => {
                // Cut in two, so that it can be gone on with from there.
                let place = place_of(quiet.line);
                self.safe = place;
                let (safe, mark) = place;
                let before = Receipt { end: safe, lines: count(quiet.line), safe, mark, ..receipt };
                let after = Receipt {
                    start: safe,
                    time_ns: time_of(quiet.line),
                    lines: receipt.lines - before.lines,
                    safe,
                    mark,
                    note: Note { memory: quiet.memory, ..Note::default() },
                    ..receipt
                };
                receipts.extend([before, after]);
            }
            quiet => {
                if quiet.is_some() {
                    self.safe = turn.start;
                }
                let (safe, mark) = self.safe(end);
                receipts.push(Receipt { safe, mark, ..receipt });
            }
        }
        if outlet.entries.list.is_empty() && !had_held && !self.is_holding() {
            // Nothing is sent of them: they need not be cut in the same way again.
            receipts.iter_mut().for_each(|receipt| receipt.lines = 0);
        }
    }

    /// Sends what waits no longer at the receipt's time, or `all` that waits. `place`: how far the strand is read. `receipt`: as in [`Strand::end`].
    /// `again`: what was noted when it was sent before.
    pub(super) fn release(
        &mut self,
        pipeline: &mut Pipeline,
        all: bool,
        again: Option<Note>,
        place: (u64, u32),
        receipt: Receipt,
        outlet: &mut Outlet<'_>,
    ) {
        let time_ns = receipt.time_ns;
        if let Some(note) = again {
            self.remember(note);
        }
        let note = Note { released: true, all, memory: self.memory(), ..Note::default() };
        self.state.set_replayed(again.is_some());
        self.state.begin_chunk(place.0);
        self.let_go(pipeline, (!all).then_some(time_ns), time_ns, outlet);
        let (safe, mark) = self.safe(place);
        outlet.receipts.push(Receipt { start: place.0, end: place.0, lines: 0, safe, mark, note, ..receipt });
    }

    fn let_go(&mut self, pipeline: &mut Pipeline, due_ns: Option<i64>, time_ns: i64, outlet: &mut Outlet<'_>) {
        let Strand { state, streams, .. } = self;
        let mut sorter = Sorter { streams, outlet, counters: &pipeline.counters, source: &pipeline.source };
        pipeline.program.release(due_ns, time_ns, state, &mut sorter);
        self.share.set(self.state.held_bytes());
    }

    /// What is sent again comes out as it did: what was before it may have been sent not at all, and be read in other pieces.
    fn remember(&mut self, note: Note) {
        self.state.set_memory(note.memory);
    }
}

/// Takes what comes out of a program.
struct Sorter<'a, 'o> {
    streams: &'a mut Streams<StreamId>,
    outlet: &'a mut Outlet<'o>,
    counters: &'a Counters,
    source: &'a str,
}

fn count(counters: &(Counter, Counter), entry: &Entry<'_>) {
    counters.0.add(1);
    counters.1.add(entry.line_text().len() as u64);
}

impl Emit for Sorter<'_, '_> {
    fn emit(&mut self, entry: &Entry<'_>, names: &LabelNames) {
        let Outlet { entries, output, merged, form, .. } = &mut *self.outlet;
        let tenant = entry.tenant.map(|tenant| entry.text(tenant));
        if let Some(tenant) = tenant.filter(|tenant| !is_tenant(tenant)) {
            if self.counters.bad_tenant.0.get() == 0 {
                let (source, tenant) = (self.source, head(tenant, 64));
                tracing::warn!(%source, tenant, "Loki takes no tenant of this name: such lines are dropped; {TENANT_RULE}");
            }
            return count(&self.counters.bad_tenant, entry);
        }
        let stream = self.streams.of(entry, || {
            let (labels, repairs) = Labels::capped(pairs_to_send(entry, names), form.label_caps);
            form.labels_repaired.add(repairs);
            (!labels.is_empty()).then(|| output.stream(&labels, merged, tenant))
        });
        let Some(stream) = stream else {
            if self.counters.no_labels.0.get() == 0 {
                let source = self.source;
                tracing::warn!(%source, "an entry has no labels, and Loki takes no such stream: such lines are dropped; give the source `labels`");
            }
            return count(&self.counters.no_labels, entry);
        };
        let line = form.push_line(entries, entry.line_text());
        let first = entries.metadata.len() as u32;
        for (name, value) in entry.metadata() {
            let name = entries.push_text(names.names().label_name(*name));
            let value = entries.push_text(entry.text(*value));
            entries.metadata.push((name, value));
        }
        for (name, value) in entry.given() {
            let (name, value) = (entry.text(*name), entry.text(*value));
            if entry.metadata().iter().all(|(known, _)| names.names().label_name(*known) != name) {
                let pair = (entries.push_text(name), entries.push_text(value));
                entries.metadata.push(pair);
            }
        }
        let metadata = Span { start: first, end: entries.metadata.len() as u32 };
        entries.list.push(EntryAt { stream, time_ns: entry.time_ns, line, metadata });
    }

    fn dropped(&mut self, entry: &Entry<'_>, reason: u16) {
        if let Some(counters) = self.counters.dropped.get(usize::from(reason)) {
            count(counters, entry);
        }
    }
}

/// Makes a line that was cut say so, within the cap, as lines do that are too long when they are read. Gives its end.
fn cut_short(entries: &mut Entries, line: Span, text: &str, line_bytes: usize) -> u32 {
    let mut mark = String::new();
    // Writing to a String cannot fail.
    let _ = write!(mark, " [truncated: line of {} bytes]", text.len());
    let keep = text.floor_char_boundary(line_bytes.saturating_sub(mark.len()));
    entries.text.truncate(line.start as usize + keep);
    entries.text.extend_from_slice(mark.as_bytes());
    entries.text.len() as u32
}
