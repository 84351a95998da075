//! The part of the worker that hands on by way of stages: chunks, and what waited for further lines that did not come.
//!
//! Promises: as the worker's; sources without stages do not come here. Leaves to others: what stages do (`pipe`).

use super::pipe::{Part, Pipe, form};
use super::read::{Piece, Reader};
use super::records::Decoder;
use super::tracked::{FileId, has_no_writer};
use super::worker::{Books, Worker, labels_of, merged_labels};
use crate::base::limits::{PIPELINE_HELD_BYTES, PIPELINE_STAGED_BYTES, QUIET_MS};
use crate::model::flow::{Entries, Note, Receipt};
use crate::source::owner::Owner;
use crate::source::stages::{HeldBytes, Outlet, Pipeline};
use crate::store::checkpoint::Intent;
use foldhash::HashSet;
use std::cmp::Reverse;
use std::time::{Duration, Instant};

/// Files of which lines wait for further ones, and space for what comes out.
#[derive(Debug, Default)]
pub(super) struct Held {
    files: HashSet<FileId>,
    /// When the first of them is due, or before; nanoseconds since 1970.
    due_ns: Option<i64>,
    /// What they take.
    bytes: HeldBytes,
    entries: Entries,
    receipts: Vec<Receipt>,
}

/// What is taken out of its places while it works.
struct Taken {
    pipe: Box<Pipe>,
    pipeline: Box<Pipeline>,
    records: Option<Box<Decoder>>,
    /// What all receipts have in common; its mark is that of the place where the file is read.
    receipt: Receipt,
    offset: u64,
}

/// Whether it is known whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owned {
    /// It is, or it does not matter.
    Known,
    /// Not until then.
    Awaited(Instant),
    /// Its owner is not wanted.
    Unwanted,
}

/// How long a file that was not read to its end is looked at again.
const UNREAD: Duration = Duration::from_millis(500);

impl Worker {
    /// Gives a chunk to the output by way of the source's stages; if it is over the source's rate, without its lines. `more`: there is more to read.
    pub(super) fn hand_on_by_stages(&mut self, id: FileId, piece: &Piece, is_over: bool, more: bool) {
        let is_dropped = is_over && !piece.replayed;
        if is_dropped {
            // What waits does not get its further lines, and must not be joined to those behind them.
            self.release_held(id, None);
        }
        let Some(mut taken) = self.take(id, piece.time_ns, piece.merged, true) else { return };
        let count = self.reader.lines().len();
        let Some(file) = self.follow.files.get_mut(id) else { return };
        file.advance(piece);
        let is_rotated = file.rotated;
        if let Some(source) = self.follow.sources.get_mut(usize::from(file.source)) {
            source.count(piece, count, is_dropped);
        }
        if is_rotated {
            self.follow.unsettle(id);
        }
        // What was sent before is sent again as it was, also where it waited.
        let goes_on = taken.pipe.strand.goes_on(more);
        let goes_on = if piece.replayed { piece.note.goes_on } else { goes_on };
        let mut first = if is_dropped { None } else { Some(0) };
        if is_dropped {
            let (safe, mark) = taken.pipe.strand.safe((piece.end, piece.mark.tail));
            let receipt = Receipt { start: piece.start, end: piece.end, safe, mark, ..taken.receipt };
            self.held.receipts.push(receipt);
            self.write_out(id, piece.replayed);
        }
        while let Some(at) = first {
            first = self
                .with_outlet(id, |reader, outlet| {
                    let Taken { pipe, pipeline, records, receipt, .. } = &mut taken;
                    let part = Part { piece, first: at, goes_on, receipt: *receipt };
                    pipe.run((pipeline, records.as_deref_mut()), reader, &part, outlet)
                })
                .flatten();
            self.write_out(id, piece.replayed);
        }
        self.put_back(id, taken);
        if self.held.bytes.get() > PIPELINE_HELD_BYTES {
            self.release_most();
        }
    }

    /// Asks whose the file is, where its labels depend on that and are needed.
    pub(super) fn own(&mut self, id: FileId) -> Owned {
        let Some(file) = self.follow.files.get(id).filter(|file| file.pipe.is_none()) else { return Owned::Known };
        let Some(source) = self.follow.sources.get(usize::from(file.source)) else { return Owned::Known };
        let Some(owners) = &source.settings.owners else { return Owned::Known };
        let owner = match owners.0.of(&self.follow.origin(id)) {
            Owner::Known(owner) => owner,
            Owner::Awaited(until) => return Owned::Awaited(until),
            Owner::Unwanted => return Owned::Unwanted,
        };
        let Some(file) = self.follow.files.get_mut(id) else { return Owned::Known };
        let source = self.follow.sources.get_mut(usize::from(file.source));
        if let Some(pipeline) = source.and_then(|source| source.pipeline.as_mut()) {
            file.pipe = Some(Pipe::of_owner(pipeline, &owner, file.memory(), &self.held.bytes));
        }
        Owned::Known
    }

    /// Too much waits: lets go in the files in which most does, until there is some room again.
    fn release_most(&mut self) {
        let files = &self.follow.files;
        let of = |id: &FileId| {
            // What is sent again is sent as it was.
            let file = files.get(*id).filter(|file| file.replay.as_ref().is_none_or(|replay| replay.is_empty()))?;
            Some((file.pipe.as_ref()?.strand.held_bytes(), *id)).filter(|(bytes, _)| *bytes > 0)
        };
        let mut most: Vec<(usize, FileId)> = self.held.files.iter().filter_map(of).collect();
        most.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        let mut left: usize = most.iter().map(|(bytes, _)| bytes).sum();
        for (bytes, id) in most {
            if left <= PIPELINE_HELD_BYTES / 4 * 3 {
                return;
            }
            left -= bytes;
            self.release_held(id, None);
        }
    }

    /// All that there is of the file was read.
    pub(super) fn found_end(&mut self, id: FileId) {
        if let Some(pipe) = self.follow.files.get_mut(id).and_then(|file| file.pipe.as_mut()) {
            pipe.strand.goes_on(false);
        }
    }

    /// Lines of a rotated file that wait at its end go before those of the file after it: they are sent without what they wait for once nobody
    /// writes there any more. True: somebody may, and the file is not finished.
    pub(super) fn waits_at_end(&mut self, id: FileId) -> bool {
        let Some(file) = self.follow.files.get(id) else { return false };
        if !file.rotated || !file.pipe.as_ref().is_some_and(|pipe| pipe.strand.is_holding()) {
            return false;
        }
        let quiet = file.quiet_since().is_none_or(|since| since.elapsed() >= Duration::from_millis(QUIET_MS));
        if !quiet && file.file.as_ref().and_then(has_no_writer) != Some(true) {
            return true;
        }
        // The rest without newline is read first.
        if file.size <= file.offset {
            self.release_held(id, None);
        }
        false
    }

    /// Sends what waits no longer in any file. Says when to ask again.
    pub(super) fn release_due(&mut self) -> Option<Instant> {
        let due_ns = self.held.due_ns?;
        let now_ns = self.reader.now_ns();
        if due_ns <= now_ns {
            self.held.due_ns = None;
            let mut is_unread = false;
            for id in std::mem::take(&mut self.held.files) {
                let Some(file) = self.follow.files.get(id) else { continue };
                let Some(due) = file.pipe.as_ref().and_then(|pipe| pipe.strand.due_ns()) else { continue };
                if due > now_ns {
                    self.note_held(id, due);
                } else if file.at_end && !file.queued {
                    let stamp = self.reader.stamp();
                    self.release_held(id, Some(stamp));
                } else {
                    // Its further lines may be there already.
                    self.held.files.insert(id);
                    is_unread = true;
                }
            }
            if is_unread {
                let later = now_ns.saturating_add(UNREAD.as_nanos() as i64);
                self.held.due_ns = Some(self.held.due_ns.map_or(later, |due| due.min(later)));
            }
        }
        let wait = u64::try_from(self.held.due_ns?.saturating_sub(now_ns)).unwrap_or(0);
        Some(Instant::now() + Duration::from_nanos(wait))
    }

    /// Sends what waits no longer in a file at this time, or everything that waits there.
    pub(super) fn release_held(&mut self, id: FileId, stamp: Option<i64>) {
        if !self
            .follow
            .files
            .get(id)
            .is_some_and(|file| file.pipe.as_ref().is_some_and(|pipe| pipe.strand.is_holding()))
        {
            return;
        }
        let time_ns = stamp.unwrap_or_else(|| self.reader.stamp());
        self.release(id, stamp.is_none(), time_ns, None);
    }

    /// Does what was done here when the file was read before.
    pub(super) fn release_again(&mut self, id: FileId, intent: Intent) {
        self.release(id, intent.note.all, intent.time_ns, Some(intent));
    }

    fn release(&mut self, id: FileId, all: bool, time_ns: i64, again: Option<Intent>) {
        let merged = again.is_some_and(|intent| intent.merged);
        let Some(mut taken) = self.take(id, time_ns, merged, false) else { return };
        self.with_outlet(id, |_, outlet| {
            let Taken { pipe, pipeline, receipt, offset, .. } = &mut taken;
            let note = again.map(|intent| intent.note);
            pipe.strand.release(pipeline, all, note, (*offset, receipt.mark), *receipt, outlet);
        });
        self.write_out(id, again.is_some());
        self.put_back(id, taken);
    }

    /// Takes out what works on a file. With `begins`, what the pipeline remembers of it is made if it is not there.
    fn take(&mut self, id: FileId, time_ns: i64, merged: bool, begins: bool) -> Option<Taken> {
        let has_pipe = self.follow.files.get(id)?.pipe.is_some();
        if !has_pipe && !begins {
            return None;
        }
        let origin = if has_pipe { None } else { Some(self.follow.origin(id)) };
        let file = self.follow.files.get_mut(id)?;
        let source = self.follow.sources.get_mut(usize::from(file.source))?;
        let mut pipeline = source.pipeline.take()?;
        let pipe = match (file.pipe.take(), origin) {
            (Some(pipe), _) => pipe,
            (None, origin) => {
                let (labels, repairs) = labels_of(&source.settings, &origin.unwrap_or_default());
                source.status.labels_repaired.add(repairs);
                Pipe::new(&mut pipeline, labels, file.memory(), &self.held.bytes)
            }
        };
        let receipt = Receipt {
            cursor: id,
            generation: file.generation,
            start: file.offset,
            end: file.offset,
            time_ns,
            lines: 0,
            safe: file.offset,
            mark: file.mark.tail,
            merged,
            note: Note::default(),
        };
        let records = source.records.take();
        Some(Taken { pipe, pipeline, records, receipt, offset: file.offset })
    }

    fn put_back(&mut self, id: FileId, taken: Taken) {
        let Some(file) = self.follow.files.get_mut(id) else { return };
        let due = taken.pipe.strand.due_ns();
        file.pipe = Some(taken.pipe);
        if let Some(source) = self.follow.sources.get_mut(usize::from(file.source)) {
            source.pipeline = Some(taken.pipeline);
            source.records = taken.records;
        }
        if let Some(due) = due {
            self.note_held(id, due);
        }
    }

    fn note_held(&mut self, id: FileId, due_ns: i64) {
        self.held.files.insert(id);
        self.held.due_ns = Some(self.held.due_ns.map_or(due_ns, |first| first.min(due_ns)));
    }

    /// Lets something be put into the space for what comes out.
    fn with_outlet<R>(&mut self, id: FileId, work: impl FnOnce(&Reader, &mut Outlet<'_>) -> R) -> Option<R> {
        let file = self.follow.files.get(id)?;
        let source = self.follow.sources.get(usize::from(file.source))?;
        let output = self.outputs.get_mut(source.output)?;
        let merged = merged_labels(&source.settings);
        let mut outlet = Outlet {
            entries: &mut self.held.entries,
            receipts: &mut self.held.receipts,
            output: output.as_mut(),
            merged: &merged,
            form: form(&source.settings, &source.status),
        };
        Some(work(&self.reader, &mut outlet))
    }

    /// Hands on what came out.
    fn write_out(&mut self, id: FileId, replayed: bool) {
        let Held { entries, receipts, .. } = &mut self.held;
        let output = self.follow.files.get(id).and_then(|file| self.follow.sources.get(usize::from(file.source)));
        if let Some(output) = output.and_then(|source| self.outputs.get_mut(source.output)) {
            output.write_entries(entries, receipts, replayed, &mut Books(&mut self.follow));
        }
        entries.clear();
        // More than a chunk makes comes of many entries that were let go at once.
        entries.text.shrink_to(2 * PIPELINE_STAGED_BYTES);
        receipts.clear();
    }
}
