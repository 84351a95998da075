//! Reading a chunk of one source and handing it on.
//!
//! A chunk is a row of entries of one numbering. What was sent before a crash is cut as it was then, at the bounds of its intents. Entries that
//! nobody wants move the cursor with the next chunk, or after a second.
//!
//! Promises: nothing is allocated for an entry in the steady state; a chunk is bounded in lines and bytes, but for what was sent before. Leaves
//! to others: which entries may be read (`source`), labels (`kinds`), stages (`source/stages`).

use super::kinds::{Caps, Kind, Verdict};
use super::numbering::{Books, Mark, Numbering};
use super::settings::Settings;
use super::source::Source;
use super::text::Text;
use crate::base::limits::{CHUNK_BYTES, CHUNK_LINES, PIPELINE_STAGED_BYTES};
use crate::base::metrics::Counter;
use crate::base::rate::{Allowance, WhenOver};
use crate::format::journal::Fields;
use crate::model::flow::{Entries, EntryAt, Note, Output, Receipt, Span};
use crate::model::labels::{Labels, MERGED};
use crate::pipeline::state::Memory;
use crate::source::stages::{Begun, Form, HeldBytes, Outlet, Strand, Turn};
use crate::store::checkpoint::Intent;
use std::time::Instant;

/// Recycled space for chunks.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub fields: Fields,
    pub text: Text,
    pub entries: Entries,
    pub receipts: Vec<Receipt>,
    /// Where the lines of a chunk are whose entries may wait for further ones.
    places: Vec<Place>,
    pub held: HeldBytes,
}

/// Where a line is.
#[derive(Debug, Clone, Copy)]
struct Place {
    number: u64,
    time_ns: i64,
    /// What is known of the entry before.
    before: Mark,
}

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turned {
    /// Something was read; there may be more.
    Read,
    /// There is nothing more to read for now.
    Done,
}

/// A chunk on its way.
struct Chunk {
    number: usize,
    replay: Option<Intent>,
    /// Entries from this number on belong to another chunk.
    limit: u64,
    /// It may have no more than this.
    allowance: Allowance,
    /// Its lines are over the rate.
    is_over: bool,
    /// Lines, of which so many were run or written.
    lines: usize,
    bytes: u64,
    first_ns: i64,
    last_ns: i64,
    begun: Option<Begun>,
    /// All entries below the limit were seen.
    to_limit: bool,
}

/// Reads a chunk.
pub(super) fn turn(
    source: &mut Source,
    books: &mut Books,
    output: &mut dyn Output,
    buffers: &mut Buffers,
    now: Instant,
) -> Turned {
    let Some(head) = source.peek(now) else { return Turned::Done };
    let number = match books.find(&source.settings.name, head.seqnum_id) {
        Some(number) => number,
        None => {
            let machine_id = source.machine_of(head.seqnum_id);
            books.begin(&source.settings.name, head.seqnum_id, machine_id, head.seqnum)
        }
    };
    let Some(numbering) = books.get_mut(number) else { return Turned::Done };
    if let Some(intent) = release_of(numbering) {
        release(source, books, output, buffers, number, intent.note.all, intent.time_ns, Some(intent));
        return Turned::Read;
    }
    let (replay, limit) = replayed(numbering);
    let wanted = source.rate.as_mut().map_or(Allowance::ALL, |rate| rate.allowance(now));
    let is_over = wanted.is_empty()
        && replay.is_none()
        && source.settings.rate.is_some_and(|rate| rate.when_over == WhenOver::Drop);
    let allowance = if is_over || replay.is_some() { Allowance::ALL } else { wanted };
    if is_over {
        // What waits does not get its further lines, and must not be joined to those behind them.
        let stamp = stamp(numbering);
        release(source, books, output, buffers, number, true, stamp, None);
    }
    if source.kinds.is_full() {
        source.kinds.forget(|stream| output.release(stream));
    }
    let mut chunk = Chunk {
        number,
        replay,
        limit,
        allowance,
        is_over,
        lines: 0,
        bytes: 0,
        first_ns: 0,
        last_ns: 0,
        begun: None,
        to_limit: false,
    };
    let done = read(source, books, output, buffers, &mut chunk, now);
    hand_on(source, books, output, buffers, chunk);
    if done { Turned::Done } else { Turned::Read }
}

/// What was sent next before: it is to be read as it was. And up to which number.
fn replayed(numbering: &mut Numbering) -> (Option<Intent>, u64) {
    let position = numbering.position;
    while numbering.replay.front().is_some_and(|intent| intent.start < position) {
        numbering.replay.pop_front();
    }
    match numbering.replay.front().copied() {
        None => (None, u64::MAX),
        Some(intent) if intent.start == position => {
            numbering.replay.pop_front();
            (Some(intent), intent.end)
        }
        Some(intent) => (None, intent.start),
    }
}

/// Here what waited for further lines was sent without, before.
fn release_of(numbering: &mut Numbering) -> Option<Intent> {
    let position = numbering.position;
    let is_it = |intent: &&Intent| intent.start == intent.end && intent.start == position;
    let found = numbering.replay.front().filter(is_it).copied()?;
    numbering.replay.pop_front();
    Some(found)
}

/// A time for something that has no entries: that of the entry before.
fn stamp(numbering: &Numbering) -> i64 {
    i64::try_from(numbering.mark.realtime_us).unwrap_or(i64::MAX).saturating_mul(1000)
}

/// Reads entries as long as they belong to the chunk. True if there is nothing more for now.
fn read(
    source: &mut Source,
    books: &mut Books,
    output: &mut dyn Output,
    buffers: &mut Buffers,
    chunk: &mut Chunk,
    now: Instant,
) -> bool {
    let Some(numbering) = books.get_mut(chunk.number) else { return true };
    let seqnum_id = numbering.seqnum_id;
    let is_replayed = chunk.replay.is_some();
    let mut entries = 0;
    let merged = std::sync::Arc::clone(&source.merged);
    buffers.places.clear();
    let holds = source.pipeline.as_ref().is_some_and(|pipeline| pipeline.holds());
    loop {
        let Some(location) = source.peek(now) else {
            // What was sent is there, if it was not removed since.
            chunk.to_limit = is_replayed && source.not_before.is_none_or(|at| at <= now);
            return true;
        };
        if location.seqnum_id != seqnum_id {
            return false;
        }
        if location.seqnum >= chunk.limit {
            chunk.to_limit = true;
            return false;
        }
        let is_full = entries >= CHUNK_LINES
            || buffers.entries.text.len() >= CHUNK_BYTES.min(PIPELINE_STAGED_BYTES)
            || chunk.lines as u64 >= chunk.allowance.lines
            || chunk.bytes >= chunk.allowance.bytes;
        if is_full && !is_replayed {
            return false;
        }
        if !source.take(&mut buffers.fields, now) {
            return true;
        }
        entries += 1;
        if location.seqnum < numbering.position {
            source.status.late.add(1);
            continue;
        }
        if entries == 1 {
            source.woke(now);
        }
        if location.seqnum > numbering.position {
            source.note_gap(&location, location.seqnum - numbering.position);
        }
        let before = numbering.mark;
        let time_ns = numbering.mark.pass(&location);
        numbering.position = location.seqnum.saturating_add(1);
        source.last_realtime_us = location.realtime_us;
        let Buffers { fields, text, entries: out, receipts, places, held, .. } = &mut *buffers;
        if !source.filter.admits(fields) {
            source.status.filtered.add(1);
            continue;
        }
        let line = if source.settings.json { Some(text.json(fields)) } else { text.message(fields) };
        let Some(line) = line else {
            count(&source.status.no_message, 0);
            continue;
        };
        let len = line.text.len() as u64;
        source.status.lines.add(1);
        source.status.bytes.add(len);
        source.status.lines_not_utf8.add(u64::from(line.repaired));
        let mut caps = Caps { caps: source.settings.label_caps, too_long: &source.status.labels_too_long };
        let kind = match source.kinds.of(fields, source.pipeline.as_deref_mut(), &mut caps) {
            Verdict::Kind(kind) => kind,
            Verdict::Dropped => {
                count(&source.status.relabelled, len);
                continue;
            }
            Verdict::Unlabelled => {
                count(&source.status.no_labels, len);
                continue;
            }
        };
        if chunk.is_over {
            count(&source.status.over_rate, len);
            continue;
        }
        let Some(kind) = source.kinds.get_mut(kind) else { continue };
        numbering.read_bytes += len;
        chunk.bytes += len;
        if chunk.lines == 0 {
            chunk.first_ns = time_ns;
        }
        chunk.last_ns = time_ns;
        let form = Form {
            line_bytes: source.settings.line_bytes,
            label_caps: source.settings.label_caps,
            lines_truncated: &source.status.lines_truncated,
            labels_too_long: &source.status.labels_too_long,
        };
        match (source.pipeline.as_deref_mut(), &mut kind.work) {
            (Some(pipeline), Some(work)) => {
                if numbering.strand.is_none() {
                    numbering.strand = Some(Box::new(Strand::new(Memory::default(), held)));
                }
                let Some(strand) = numbering.strand.as_deref_mut() else { continue };
                if chunk.begun.is_none() {
                    let turn = Turn {
                        start: (numbering.handed, 0),
                        time_ns,
                        goes_on: false,
                        replayed: is_replayed,
                        again: chunk.replay.map(|intent| intent.note),
                    };
                    chunk.begun = Some(strand.begin(turn, output));
                }
                if holds {
                    places.push(Place { number: location.seqnum, time_ns, before });
                }
                let mut outlet = Outlet { entries: out, receipts, output: &mut *output, merged: &merged, form };
                strand.line(pipeline, work, (line.text, chunk.lines, time_ns), &mut outlet);
            }
            _ => {
                let Kind { labels, stream, .. } = kind;
                let stream = *stream.get_or_insert_with(|| {
                    let late = source.settings.late_labels.iter();
                    let (labels, _) = Labels::capped(late.chain(labels.iter()), source.settings.label_caps);
                    output.stream(&labels, &merged, None)
                });
                let line = form.push_line(out, line.text);
                out.list.push(EntryAt { stream, time_ns, line, metadata: Span { start: 0, end: 0 } });
            }
        }
        chunk.lines += 1;
    }
}

/// Gives what was read to the output.
fn hand_on(source: &mut Source, books: &mut Books, output: &mut dyn Output, buffers: &mut Buffers, mut chunk: Chunk) {
    let Some(numbering) = books.get_mut(chunk.number) else { return };
    if chunk.to_limit && chunk.limit != u64::MAX {
        numbering.position = numbering.position.max(chunk.limit);
    }
    if chunk.lines == 0 {
        // The cursor moves with the next chunk, or when it is time.
        return;
    }
    if let Some(rate) = &mut source.rate {
        rate.take(chunk.lines as u64, chunk.bytes);
    }
    let receipt = blank(numbering, chunk.number, chunk.first_ns, chunk.replay);
    let merged = std::sync::Arc::clone(&source.merged);
    let Buffers { entries, receipts, places, .. } = buffers;
    match (chunk.begun.take(), numbering.strand.as_deref_mut(), source.pipeline.as_deref_mut()) {
        (Some(begun), Some(strand), Some(pipeline)) => {
            let form = Form {
                line_bytes: source.settings.line_bytes,
                label_caps: source.settings.label_caps,
                lines_truncated: &source.status.lines_truncated,
                labels_too_long: &source.status.labels_too_long,
            };
            let place_of = |line: usize| (places.get(line).map_or(numbering.handed, |place| place.number), 0);
            let time_of = |line: usize| places.get(line).map_or(chunk.last_ns, |place| place.time_ns);
            let mut outlet = Outlet { entries, receipts, output: &mut *output, merged: &merged, form };
            let end = (chunk.lines, (numbering.position, 0));
            strand.end(pipeline, begun, end, (place_of, time_of), receipt, &mut outlet);
        }
        _ => {
            let (end, lines) = (numbering.position, chunk.lines as u32);
            receipts.push(Receipt { end, safe: end, lines, ..receipt });
        }
    }
    for receipt in receipts.iter() {
        // A place in the midst of the chunk, if it was cut in two.
        if let Ok(at) = places.binary_search_by_key(&receipt.end, |place| place.number)
            && let Some(place) = places.get(at)
        {
            numbering.may_come_to(place.number, place.before);
        }
    }
    write_out(books, output, buffers, chunk.number, chunk.replay.is_some());
}

/// A receipt in which lines and places are missing.
fn blank(numbering: &Numbering, number: usize, time_ns: i64, replay: Option<Intent>) -> Receipt {
    Receipt {
        cursor: number as u32,
        generation: numbering.generation,
        start: numbering.handed,
        end: numbering.position,
        time_ns,
        lines: 0,
        safe: numbering.position,
        mark: 0,
        note: Note::default(),
        merged: replay.is_some_and(|intent| intent.merged),
    }
}

/// Writes entries and receipts, up to what was read.
fn write_out(books: &mut Books, output: &mut dyn Output, buffers: &mut Buffers, number: usize, replayed: bool) {
    books.define(number);
    if let Some(numbering) = books.get_mut(number) {
        let (position, mark) = (numbering.position, numbering.mark);
        numbering.may_come_to(position, mark);
        (numbering.handed, numbering.handed_mark) = (position, mark);
    }
    let Buffers { entries, receipts, .. } = buffers;
    output.write_entries(entries, receipts, replayed, books);
    entries.clear();
    // More than a chunk makes comes of many entries that were let go at once.
    entries.text.shrink_to(2 * PIPELINE_STAGED_BYTES);
    receipts.clear();
}

/// Moves the cursors of a source over what nobody wanted.
pub(super) fn pass_over(name: &str, books: &mut Books, output: &mut dyn Output, buffers: &mut Buffers) {
    let is_behind = |n: &Numbering| n.source == name && n.position > n.handed && n.replay.is_empty();
    let behind: Vec<usize> = books.iter().filter(|(_, n)| is_behind(n)).map(|(number, _)| number).collect();
    for number in behind {
        let Some(numbering) = books.get_mut(number) else { continue };
        let receipt = blank(numbering, number, stamp(numbering), None);
        let place = (receipt.safe, 0);
        let (safe, _) = numbering.strand.as_ref().map_or(place, |strand| strand.safe(place));
        buffers.receipts.push(Receipt { safe, ..receipt });
        write_out(books, output, buffers, number, false);
    }
}

/// Whether cursors of a source have to be moved over what nobody wanted.
pub(super) fn is_behind(name: &str, books: &Books) -> bool {
    books.iter().any(|(_, n)| n.source == name && n.position > n.handed && n.replay.is_empty())
}

/// Sends what waits for further lines no longer at a time, or everything that waits. `again`: as it was sent before.
#[expect(clippy::too_many_arguments, reason = "they are the parts of one worker")]
pub(super) fn release(
    source: &mut Source,
    books: &mut Books,
    output: &mut dyn Output,
    buffers: &mut Buffers,
    number: usize,
    all: bool,
    time_ns: i64,
    again: Option<Intent>,
) {
    let Some(numbering) = books.get_mut(number) else { return };
    if !numbering.strand.as_ref().is_some_and(|strand| strand.is_holding()) {
        return;
    }
    if numbering.position > numbering.handed {
        let receipt = blank(numbering, number, time_ns, None);
        let safe = numbering.strand.as_ref().map_or(receipt.safe, |strand| strand.safe((receipt.safe, 0)).0);
        buffers.receipts.push(Receipt { safe, ..receipt });
        write_out(books, output, buffers, number, false);
    }
    let Some(numbering) = books.get_mut(number) else { return };
    let receipt = blank(numbering, number, time_ns, again);
    let merged = std::sync::Arc::clone(&source.merged);
    if let (Some(strand), Some(pipeline)) = (numbering.strand.as_deref_mut(), source.pipeline.as_deref_mut()) {
        let Buffers { entries, receipts, .. } = buffers;
        let form = Form {
            line_bytes: source.settings.line_bytes,
            label_caps: source.settings.label_caps,
            lines_truncated: &source.status.lines_truncated,
            labels_too_long: &source.status.labels_too_long,
        };
        let mut outlet = Outlet { entries, receipts, output: &mut *output, merged: &merged, form };
        let note = again.map(|intent| intent.note);
        strand.release(pipeline, all, note, (receipt.end, 0), receipt, &mut outlet);
    }
    write_out(books, output, buffers, number, again.is_some());
}

fn count(counters: &(Counter, Counter), bytes: u64) {
    counters.0.add(1);
    counters.1.add(bytes);
}

/// What the lines of a source have in common, and the mark that its streams are merged.
pub(super) fn merged_labels(settings: &Settings) -> Labels {
    let all = settings.late_labels.iter().chain(settings.outer_labels.iter()).chain(settings.labels.iter());
    let plain = all.filter(|(name, _)| !name.starts_with("__"));
    Labels::capped(plain.chain([(MERGED, "true")]), settings.label_caps).0
}
