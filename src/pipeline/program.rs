//! A compiled pipeline, and how lines run through it.
//!
//! The program is a row of steps. A nested pipeline stands behind the step that decides on it, which says where to go on when it is passed
//! over; so an entry that was put aside in the middle goes on at the next step, wherever that was.
//!
//! Promises: entries come out in the order in which their first lines went in, within what one stream's stages hold together; what comes out
//! depends on lines and their times alone, never on the clock. Leaves to others: what a step does (`stages`), which stream an entry
//! belongs to and how it is encoded (the [`Emit`] that is given).

use super::entry::{Entry, Work};
use super::keys::Names;
use super::metrics::Metrics;
use super::stages::Stage;
use super::state::{Held, State};
use crate::base::limits::LINE_BYTES_DEFAULT;
use crate::model::labels::Labels;
use std::sync::Arc;

/// Takes the entries that come out.
pub trait Emit {
    /// One entry, with all that the stages made of it.
    fn emit(&mut self, entry: &Entry<'_>, names: &LabelNames);
    /// One that does not: for this reason, which is one of [`Program::reasons`].
    fn dropped(&mut self, entry: &Entry<'_>, reason: u16);
}

/// What a step says of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// The next step.
    Next,
    /// The step with this number.
    Jump(usize),
    /// It is dropped, for the reason with this number.
    Drop(u16),
    /// It waits for further lines: it is kept in the state, or has become part of what is there.
    Hold,
    /// What is held for the stream of the context is complete and goes on first, from the next step; then this step is asked again.
    Release,
}

/// What steps may need besides the entry.
pub(super) struct Context<'a> {
    pub state: &'a mut State,
    /// The number of the step.
    pub at: usize,
    /// The time of the line that is run, nanoseconds since 1970: what the steps know of the present.
    pub now_ns: i64,
    /// What tells the entry's stream apart; filled in by steps that ask.
    pub stream: &'a mut Vec<u8>,
    pub labels: &'a LabelNames,
    /// The longest text that may be gathered, bytes.
    pub line_bytes: usize,
}

/// What the numbers in entries stand for.
#[derive(Debug, Default)]
pub struct LabelNames {
    pub(super) names: Names,
    /// Lists of `labelallow`, by number.
    pub(super) allowed: Vec<Vec<String>>,
    /// Those of whatever comes out and has none of that name.
    pub(super) late: Labels,
}

impl LabelNames {
    /// The names of keys, labels and metadata.
    pub fn names(&self) -> &Names {
        &self.names
    }
}

/// See the module.
#[derive(Debug)]
pub struct Program {
    pub(super) steps: Vec<Box<dyn Stage>>,
    pub(super) labels: LabelNames,
    pub(super) reasons: Vec<String>,
    pub(super) metrics: Metrics,
    line_bytes: usize,
    bases: u64,
    stream: Vec<u8>,
}

impl Program {
    pub(super) fn new(steps: Vec<Box<dyn Stage>>, labels: LabelNames, reasons: Vec<String>, metrics: Metrics) -> Self {
        Program { steps, labels, reasons, metrics, line_bytes: LINE_BYTES_DEFAULT, bases: 0, stream: Vec::new() }
    }

    /// Why entries may be dropped, by number: bounded, for metrics.
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// The metrics that its stages keep.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Entries that are gathered from several lines become no longer than this, bytes.
    pub fn set_line_bytes(&mut self, bytes: usize) {
        self.line_bytes = bytes;
    }

    /// Whatever comes out has these labels, unless it has others of that name; stages do not see them.
    pub fn set_late_labels(&mut self, labels: Labels) {
        self.labels.late = labels;
    }

    /// Whether entries may be held between chunks.
    pub fn holds(&self) -> bool {
        self.steps.iter().any(|step| step.holds())
    }

    /// Until when no more should be read, because more than a rate went through; nanoseconds since 1970.
    pub fn wait_until_ns(&self) -> Option<i64> {
        self.steps.iter().filter_map(|step| step.wait_until_ns()).max()
    }

    /// Buffers for lines with these labels from their source, which stages see as extracted keys.
    pub fn work(&mut self, base: Arc<Labels>) -> Work {
        self.bases += 1;
        Work::new(base, self.bases, &self.labels.names)
    }

    /// The same, for lines that come in one row with those of other labels.
    pub fn work_of_several(&mut self, base: Arc<Labels>) -> Work {
        self.work(base).one_of_several()
    }

    /// Runs one line, the `line`th of its chunk, that was read at `time_ns`. What comes out goes to `emit`: none, this, or others that were held
    /// and this.
    pub fn run(
        &mut self,
        raw: &str,
        line: usize,
        time_ns: i64,
        work: &mut Work,
        state: &mut State,
        emit: &mut dyn Emit,
    ) {
        if state.due_ns().is_some_and(|due| due <= time_ns) {
            self.release(Some(time_ns), time_ns, state, emit);
        }
        state.begin_line(line);
        let mut entry = Entry::begin(raw, time_ns, work);
        self.go_on(0, &mut entry, time_ns, state, emit);
    }

    /// What is complete at `due_ns` goes on; without a time, everything that is held. `now_ns`: the time now, as lines have it.
    pub fn release(&mut self, due_ns: Option<i64>, now_ns: i64, state: &mut State, emit: &mut dyn Emit) {
        while let Some(mut taken) = state.take_due(due_ns) {
            self.resume(taken.stage, &mut taken.held, now_ns, state, emit);
            state.give_back(taken);
        }
    }

    fn resume(&mut self, stage: usize, held: &mut Held, now_ns: i64, state: &mut State, emit: &mut dyn Emit) {
        let resumed = state.resume(held);
        let mut entry = held.entry();
        self.go_on(stage + 1, &mut entry, now_ns, state, emit);
        state.resumed(resumed);
    }

    fn go_on(&mut self, from: usize, entry: &mut Entry<'_>, now_ns: i64, state: &mut State, emit: &mut dyn Emit) {
        let mut at = from;
        while let Some(step) = self.steps.get_mut(at) {
            let (labels, line_bytes) = (&self.labels, self.line_bytes);
            let mut context = Context { state, at, now_ns, stream: &mut self.stream, labels, line_bytes };
            match step.run(entry, &mut context) {
                Flow::Next => at += 1,
                Flow::Jump(to) => at = to.max(at + 1),
                Flow::Drop(reason) => return emit.dropped(entry, reason),
                Flow::Hold => return,
                Flow::Release => match state.take(at, &self.stream) {
                    Some(mut taken) => {
                        self.resume(at, &mut taken.held, now_ns, state, emit);
                        state.give_back(taken);
                    }
                    // Nothing was held after all: not to be asked for ever.
                    None => at += 1,
                },
            }
        }
        emit.emit(entry, &self.labels);
    }
}
