//! A file's lines on their way through the stages of its source.
//!
//! Promises: what is gathered at once is bounded. Leaves to others: what all sources with stages share (`source/stages`), reading, writing to the
//! output, cursors.

use super::read::{Piece, Reader};
use super::settings::Settings;
use super::status::Status;
use crate::base::limits::PIPELINE_STAGED_BYTES;
use crate::model::flow::Receipt;
use crate::model::labels::Labels;
use crate::pipeline::entry::Work;
use crate::pipeline::state::Memory;
use crate::source::stages::{Form, HeldBytes, Outlet, Pipeline, Strand, Turn};

/// What a pipeline remembers of one file.
#[derive(Debug)]
pub(super) struct Pipe {
    work: Work,
    pub(super) strand: Strand,
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
        labels_too_long: &status.labels_too_long,
    }
}

impl Pipe {
    /// For a file with these labels, from the place of a piece on.
    pub(super) fn new(pipeline: &mut Pipeline, labels: Labels, memory: Memory, total: &HeldBytes) -> Box<Self> {
        Box::new(Pipe { work: pipeline.work(labels), strand: Strand::new(memory, total) })
    }

    /// Runs the lines of a chunk, or as many as may be gathered at once. Gives the first line behind them, if there is one.
    pub(super) fn run(
        &mut self,
        pipeline: &mut Pipeline,
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
            self.strand.line(pipeline, &mut self.work, (line, at - first, time_of(at - first)), outlet);
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
