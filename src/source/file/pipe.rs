//! A file's lines on their way through the stages of its source.
//!
//! Promises: what is gathered at once is bounded. Leaves to others: what all sources with stages share (`source/stages`), reading, writing to the
//! output, cursors.

use super::read::{Piece, Reader};
use super::records::Decoder;
use super::settings::Settings;
use super::status::Status;
use crate::base::limits::PIPELINE_STAGED_BYTES;
use crate::base::metrics::Counter;
use crate::model::flow::Receipt;
use crate::model::labels::Labels;
use crate::pipeline::entry::Work;
use crate::pipeline::state::Memory;
use crate::source::owner::{NotBefore, OwnLabels};
use crate::source::stages::{Form, HeldBytes, Outlet, Pipeline, Strand, Turn};
use memchr::memmem::{Finder, rfind};

/// What a pipeline remembers of one file.
#[derive(Debug)]
pub(super) struct Pipe {
    lanes: Lanes,
    pub(super) strand: Strand,
}

/// Buffers for lines, by their labels.
#[derive(Debug)]
enum Lanes {
    One(Box<Work>),
    /// Of a file whose owner was asked.
    Owned(Box<Owned>),
}

#[derive(Debug)]
struct Owned {
    /// `None`: such lines are not wanted.
    usual: Option<Work>,
    marked: Option<Lane>,
    /// Until there is a line that is not before it.
    not_before: Option<NotBefore>,
    unwanted: (Counter, Counter),
}

/// Lines that are marked, see [`Marked`](crate::source::owner::Marked).
#[derive(Debug)]
struct Lane {
    key: Finder<'static>,
    value: &'static str,
    work: Option<Work>,
}

impl Lanes {
    fn of(&mut self, line: &str) -> Option<&mut Work> {
        let owned = match self {
            Lanes::One(work) => return Some(work),
            Lanes::Owned(owned) => owned,
        };
        if owned.not_before.as_ref().is_some_and(|bound| is_before(line, bound)) {
            return None;
        }
        owned.not_before = None;
        let work = match &mut owned.marked {
            Some(lane) if lane.takes(line) => lane.work.as_mut(),
            _ => owned.usual.as_mut(),
        };
        if work.is_none() {
            owned.unwanted.0.add(1);
            owned.unwanted.1.add(line.len() as u64);
        }
        work
    }
}

fn is_before(line: &str, bound: &NotBefore) -> bool {
    let at = rfind(line.as_bytes(), bound.key.as_bytes());
    let time = at.and_then(|at| line.as_bytes().get(at + bound.key.len()..)?.get(..bound.time.len()));
    time.is_some_and(|time| time < bound.time.as_bytes())
}

impl Lane {
    fn takes(&self, line: &str) -> bool {
        let behind = |at: usize| line.as_bytes().get(at + self.key.needle().len()..);
        let found = self.key.find(line.as_bytes()).and_then(behind);
        found.is_some_and(|rest| rest.starts_with(self.value.as_bytes()))
    }
}

/// What is to be run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    /// The chunk that was read last.
    pub piece: &'a Piece,
    /// From this line on.
    pub first: usize,
    /// Its lines were there when the chunk before was read.
    pub goes_on: bool,
    /// What is the same in all receipts. Its mark is that of the chunk's beginning.
    pub receipt: Receipt,
}

/// What a source's lines may be.
pub(super) fn form<'a>(settings: &Settings, status: &'a Status) -> Form<'a> {
    Form {
        line_bytes: settings.line_bytes,
        label_caps: settings.label_caps,
        lines_truncated: &status.lines_truncated,
        labels_repaired: &status.labels_repaired,
    }
}

impl Pipe {
    /// For a file with these labels, from the place of a piece on.
    pub(super) fn new(pipeline: &mut Pipeline, labels: Labels, memory: Memory, total: &HeldBytes) -> Box<Self> {
        Box::new(Pipe { lanes: Lanes::One(Box::new(pipeline.work(labels))), strand: Strand::new(memory, total) })
    }

    /// For a file of this owner.
    pub(super) fn of_owner(pipeline: &mut Pipeline, owner: &OwnLabels, memory: Memory, total: &HeldBytes) -> Box<Self> {
        let mut work = |labels: &Labels| match owner.marked {
            Some(_) => pipeline.work_of_several(labels.clone()),
            None => pipeline.work(labels.clone()),
        };
        let usual = owner.usual.as_ref().map(&mut work);
        let marked = owner.marked.as_ref().map(|marked| Lane {
            key: Finder::new(marked.key),
            value: marked.value,
            work: marked.labels.as_ref().map(&mut work),
        });
        let owned = Owned { usual, marked, not_before: owner.not_before.clone(), unwanted: owner.unwanted.clone() };
        Box::new(Pipe { lanes: Lanes::Owned(Box::new(owned)), strand: Strand::new(memory, total) })
    }

    /// Runs the lines of a chunk, or as many as may be gathered at once. Gives the first line behind them, if there is one.
    pub(super) fn run(
        &mut self,
        (pipeline, mut records): (&mut Pipeline, Option<&mut Decoder>),
        reader: &Reader,
        part: &Part<'_>,
        outlet: &mut Outlet<'_>,
    ) -> Option<usize> {
        let Part { piece, first, goes_on, receipt } = *part;
        let lines = reader.lines();
        let start = if first == 0 { (piece.start, receipt.mark) } else { reader.place_of(first) };
        let time_of = |line: usize| piece.time_ns.saturating_add((first + line) as i64);
        let turn = Turn {
            start,
            time_ns: time_of(0),
            goes_on: goes_on && first == 0,
            replayed: piece.replayed,
            again: (piece.replayed && first == 0).then_some(piece.note),
        };
        let begun = self.strand.begin(turn, outlet.output);
        let mut next = None;
        let bytes = reader.bytes();
        for (at, span) in lines.iter().enumerate().skip(first) {
            let line = bytes.get(span.start as usize..span.end as usize).unwrap_or_default();
            // What was cut is UTF-8.
            let line = std::str::from_utf8(line).unwrap_or_default();
            let number = at - first;
            let line = (line, number, time_of(number));
            match &mut records {
                Some(records) => records.line(pipeline, &mut self.strand, line, outlet),
                None => {
                    if let Some(work) = self.lanes.of(line.0) {
                        self.strand.line(pipeline, work, line, outlet);
                    }
                }
            }
            if outlet.entries.text.len() >= PIPELINE_STAGED_BYTES && at + 1 < lines.len() {
                next = Some(at + 1);
                break;
            }
        }
        let behind = next.unwrap_or(lines.len());
        let end = next.map_or((piece.end, piece.mark.tail), |next| reader.place_of(next));
        let place_of = |line: usize| reader.place_of(first + line);
        self.strand.end(pipeline, begun, (behind - first, end), (place_of, time_of), receipt, outlet);
        next
    }
}
