//! Reading a chunk of one source and handing it on.
//!
//! A chunk is a row of entries in order of time; it has a **part** for each numbering that they are of, with a receipt of its own, since files of
//! several users come in turns. What was sent before a crash is cut as it was then, at the bounds of its intents. Entries that nobody wants move the
//! cursor with the next chunk, or after a second.
//!
//! Promises: nothing is allocated for an entry in the steady state; a chunk is bounded in lines and bytes, but for what was sent before. Leaves
//! to others: which entries may be read (`source`), labels (`kinds`), stages (`source/stages`).

use super::kinds::{Caps, Kind, Verdict};
use super::numbering::{Books, Mark, Numbering};
use super::settings::Settings;
use super::source::Source;
use super::text::Text;
use crate::base::limits::{CHUNK_BYTES, CHUNK_LINES, JOURNAL_PARTS, PIPELINE_STAGED_BYTES};
use crate::base::metrics::Counter;
use crate::base::rate::{Allowance, WhenOver};
use crate::format::journal::{Fields, Id, Location};
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
    /// The parts of a chunk.
    parts: Vec<Part>,
    /// Places of parts that are done.
    spare: Vec<Vec<Place>>,
    /// Receipts of one part.
    own: Vec<Receipt>,
    /// Numberings whose receipts are written together.
    written: Vec<usize>,
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
    /// All of it was sent before; and then in merged streams.
    replayed: Option<bool>,
    /// It may have no more than this.
    allowance: Allowance,
    /// Its lines are over the rate.
    is_over: bool,
    /// Lines, and their bytes.
    lines: u64,
    bytes: u64,
}

/// What a chunk has of a numbering.
#[derive(Debug)]
struct Part {
    number: usize,
    seqnum_id: Id,
    replay: Option<Intent>,
    /// Only its rest: the strand is in the midst of it.
    is_rest: bool,
    /// Entries from this number on belong to another chunk.
    limit: u64,
    /// Lines, of which so many were run or written.
    lines: usize,
    first_ns: i64,
    last_ns: i64,
    begun: Option<Begun>,
    /// All entries below the limit were seen.
    to_limit: bool,
    /// Where its lines are, if their entries may wait for further ones.
    places: Vec<Place>,
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
    let number = number_of(source, books, &head);
    let Some(numbering) = books.get_mut(number) else { return Turned::Done };
    if let Some(intent) = release_of(numbering) {
        numbering.replay.pop_front();
        release(source, books, output, buffers, number, intent.note.all, intent.time_ns, Some(intent));
        return Turned::Read;
    }
    let (replay, _) = replayed(numbering);
    let wanted = source.rate.as_mut().map_or(Allowance::ALL, |rate| rate.allowance(now));
    let is_over = wanted.is_empty()
        && replay.is_none()
        && source.settings.rate.is_some_and(|rate| rate.when_over == WhenOver::Drop);
    let allowance = if is_over || replay.is_some() { Allowance::ALL } else { wanted };
    if source.kinds.is_full() {
        source.kinds.forget(|stream| output.release(stream));
    }
    let replayed = replay.map(|intent| intent.merged);
    let mut chunk = Chunk { replayed, allowance, is_over, lines: 0, bytes: 0 };
    let done = read(source, books, output, buffers, &mut chunk, now);
    hand_on(source, books, output, buffers, &chunk);
    if done { Turned::Done } else { Turned::Read }
}

/// The numbering of an entry.
fn number_of(source: &Source, books: &mut Books, entry: &Location) -> usize {
    let name = &source.settings.name;
    books.find(name, entry.seqnum_id).unwrap_or_else(|| {
        let begin = (entry.seqnum, Mark::default());
        let Some(machine_id) = source.machine_of_foreign(entry.seqnum_id) else {
            return books.begin(name, entry.seqnum_id, source.machine_of(entry.seqnum_id), begin);
        };
        let number = books.begin(name, entry.seqnum_id, machine_id, begin);
        books.set_of_file(number);
        number
    })
}

/// What was sent before is not sent again where it was read over.
pub(super) fn forget_passed(numbering: &mut Numbering) {
    while numbering.replay.front().is_some_and(|intent| intent.start < numbering.position) {
        numbering.replay.pop_front();
        numbering.in_replay = false;
    }
}

/// What was sent next before: it is to be read as it was. And up to which number.
fn replayed(numbering: &mut Numbering) -> (Option<Intent>, u64) {
    forget_passed(numbering);
    let position = numbering.position;
    match numbering.replay.front().copied() {
        None => (None, u64::MAX),
        Some(intent) if intent.start == position => (Some(intent), intent.end),
        Some(intent) => (None, intent.start),
    }
}

/// Here what waited for further lines was sent without, before.
pub(super) fn release_of(numbering: &Numbering) -> Option<Intent> {
    let position = numbering.position;
    let is_it = |intent: &&Intent| intent.start == intent.end && intent.start == position;
    numbering.replay.front().filter(is_it).copied()
}

/// A time for something that has no entries: that of the entry before.
fn stamp(numbering: &Numbering) -> i64 {
    i64::try_from(numbering.mark.realtime_us).unwrap_or(i64::MAX).saturating_mul(1000)
}

/// Makes a part of a chunk for the numbering of an entry. `None`: it belongs to another chunk.
fn join(
    source: &mut Source,
    books: &mut Books,
    output: &mut dyn Output,
    buffers: &mut Buffers,
    chunk: &Chunk,
    entry: &Location,
) -> Option<usize> {
    if buffers.parts.len() >= JOURNAL_PARTS {
        return None;
    }
    let number = number_of(source, books, entry);
    let numbering = books.get_mut(number)?;
    if release_of(numbering).is_some() {
        return None;
    }
    let (replay, limit) = replayed(numbering);
    if replay.map(|intent| intent.merged) != chunk.replayed {
        return None;
    }
    let is_rest = std::mem::take(&mut numbering.in_replay);
    if replay.is_some() {
        numbering.replay.pop_front();
    }
    if chunk.is_over {
        // What waits does not get its further lines, and must not be joined to those behind them.
        let stamp = stamp(numbering);
        release(source, books, output, buffers, number, true, stamp, None);
    }
    let places = buffers.spare.pop().unwrap_or_default();
    buffers.parts.push(Part {
        number,
        seqnum_id: entry.seqnum_id,
        replay,
        is_rest,
        limit,
        lines: 0,
        first_ns: 0,
        last_ns: 0,
        begun: None,
        to_limit: false,
        places,
    });
    Some(buffers.parts.len() - 1)
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
    let is_replayed = chunk.replayed.is_some();
    let mut entries = 0;
    let merged = std::sync::Arc::clone(&source.merged);
    let holds = source.pipeline.as_ref().is_some_and(|pipeline| pipeline.holds());
    let mut last = 0;
    loop {
        let Some(location) = source.peek(now) else {
            // What was sent is there, if it was not removed since.
            let is_all = is_replayed && !source.may_have_more();
            buffers.parts.iter_mut().for_each(|part| part.to_limit = is_all);
            return true;
        };
        if buffers.parts.get(last).is_none_or(|part| part.seqnum_id != location.seqnum_id) {
            let known = buffers.parts.iter().position(|part| part.seqnum_id == location.seqnum_id);
            match known.or_else(|| join(source, books, output, buffers, chunk, &location)) {
                Some(at) => last = at,
                None => return false,
            }
        }
        let Some(part) = buffers.parts.get_mut(last) else { return false };
        if location.seqnum >= part.limit {
            part.to_limit = true;
            return false;
        }
        let is_full = entries >= CHUNK_LINES
            || buffers.entries.text.len() >= CHUNK_BYTES.min(PIPELINE_STAGED_BYTES)
            || chunk.lines >= chunk.allowance.lines
            || chunk.bytes >= chunk.allowance.bytes;
        if is_full && !is_replayed {
            return false;
        }
        let number = part.number;
        let Some(numbering) = books.get_mut(number) else { return false };
        if location.seqnum > numbering.position && numbering.position > 0 {
            source.note_gap(&location, books, number);
        }
        if !source.take(&mut buffers.fields, now) {
            // Others may be read.
            continue;
        }
        entries += 1;
        let Some(numbering) = books.get_mut(number) else { return false };
        if location.seqnum < numbering.position {
            source.note_late(1, now);
            continue;
        }
        if entries == 1 {
            source.woke(now);
        }
        let before = numbering.mark;
        let time_ns = numbering.mark.pass(&location);
        numbering.position = location.seqnum.saturating_add(1);
        source.last_realtime_us = location.realtime_us;
        let Buffers { fields, text, entries: out, own, held, parts, .. } = &mut *buffers;
        let Some(part) = parts.get_mut(last) else { return false };
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
        let mut caps = Caps { caps: source.settings.label_caps, repaired: &source.status.labels_repaired };
        let kind = match source.kinds.of(fields, source.pipeline.as_deref_mut(), &mut caps) {
            Verdict::Kind(kind) => kind,
            Verdict::Dropped => {
                count(&source.status.relabelled, len);
                continue;
            }
            Verdict::Unlabelled => {
                if source.status.no_labels.0.get() == 0 {
                    tracing::warn!(
                        source = %source.settings.name,
                        "an entry has no labels, and Loki takes no such stream: such lines are dropped; give the source `labels`"
                    );
                }
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
        if part.lines == 0 {
            part.first_ns = time_ns;
        }
        part.last_ns = time_ns;
        let form = Form {
            line_bytes: source.settings.line_bytes,
            label_caps: source.settings.label_caps,
            lines_truncated: &source.status.lines_truncated,
            labels_repaired: &source.status.labels_repaired,
        };
        match (source.pipeline.as_deref_mut(), &mut kind.work) {
            (Some(pipeline), Some(work)) => {
                if numbering.strand.is_none() {
                    numbering.strand = Some(Box::new(Strand::new(Memory::default(), held)));
                }
                let Some(strand) = numbering.strand.as_deref_mut() else { continue };
                if part.begun.is_none() {
                    let turn = Turn {
                        start: (numbering.handed, 0),
                        time_ns,
                        goes_on: false,
                        replayed: is_replayed,
                        again: part.replay.filter(|_| !part.is_rest).map(|intent| intent.note),
                    };
                    part.begun = Some(strand.begin(turn, output));
                }
                if holds {
                    part.places.push(Place { number: location.seqnum, time_ns, before });
                }
                let mut outlet = Outlet { entries: out, receipts: own, output: &mut *output, merged: &merged, form };
                strand.line(pipeline, work, (line.text, part.lines, time_ns), &mut outlet);
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
        part.lines += 1;
        chunk.lines += 1;
    }
}

/// Gives what was read to the output.
fn hand_on(source: &mut Source, books: &mut Books, output: &mut dyn Output, buffers: &mut Buffers, chunk: &Chunk) {
    let mut parts = std::mem::take(&mut buffers.parts);
    for part in &mut parts {
        end_part(source, books, output, buffers, part);
    }
    for mut part in parts.drain(..) {
        part.places.clear();
        buffers.spare.push(part.places);
    }
    buffers.parts = parts;
    if chunk.lines == 0 {
        // Cursors move with the next chunk, or when it is time.
        return;
    }
    if let Some(rate) = &mut source.rate {
        rate.take(chunk.lines, chunk.bytes);
    }
    write_out(books, output, buffers, chunk.replayed.is_some());
}

/// Makes the receipts of a part.
fn end_part(source: &mut Source, books: &mut Books, output: &mut dyn Output, buffers: &mut Buffers, part: &mut Part) {
    let Some(numbering) = books.get_mut(part.number) else { return };
    if part.to_limit && part.limit != u64::MAX {
        numbering.position = numbering.position.max(part.limit);
    }
    if let Some(intent) = part.replay.filter(|intent| intent.end > numbering.position) {
        // Something else came between: its rest is still to be sent as it was.
        numbering.replay.push_front(Intent { start: numbering.position, ..intent });
        numbering.in_replay = true;
    }
    if part.lines == 0 {
        return;
    }
    let receipt = blank(numbering, part.number, part.first_ns, part.replay);
    let merged = std::sync::Arc::clone(&source.merged);
    let Buffers { entries, receipts, own, written, .. } = buffers;
    own.clear();
    let places = &part.places;
    match (part.begun.take(), numbering.strand.as_deref_mut(), source.pipeline.as_deref_mut()) {
        (Some(begun), Some(strand), Some(pipeline)) => {
            let form = Form {
                line_bytes: source.settings.line_bytes,
                label_caps: source.settings.label_caps,
                lines_truncated: &source.status.lines_truncated,
                labels_repaired: &source.status.labels_repaired,
            };
            let place_of = |line: usize| (places.get(line).map_or(numbering.handed, |place| place.number), 0);
            let time_of = |line: usize| places.get(line).map_or(part.last_ns, |place| place.time_ns);
            let mut outlet = Outlet { entries, receipts: own, output: &mut *output, merged: &merged, form };
            let end = (part.lines, (numbering.position, 0));
            strand.end(pipeline, begun, end, (place_of, time_of), receipt, &mut outlet);
        }
        _ => {
            let (end, lines) = (numbering.position, part.lines as u32);
            own.push(Receipt { end, safe: end, lines, ..receipt });
        }
    }
    for receipt in own.iter() {
        // A place in the midst of the chunk, if it was cut in two.
        if let Ok(at) = places.binary_search_by_key(&receipt.end, |place| place.number)
            && let Some(place) = places.get(at)
        {
            numbering.may_come_to(place.number, place.before);
        }
    }
    receipts.append(own);
    written.push(part.number);
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

/// Writes entries and receipts of some numberings, up to what was read.
fn write_out(books: &mut Books, output: &mut dyn Output, buffers: &mut Buffers, replayed: bool) {
    for number in buffers.written.drain(..) {
        books.define(number);
        if let Some(numbering) = books.get_mut(number) {
            let (position, mark) = (numbering.position, numbering.mark);
            numbering.may_come_to(position, mark);
            (numbering.handed, numbering.handed_mark) = (position, mark);
        }
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
    let Buffers { receipts, written, .. } = &mut *buffers;
    for (number, numbering) in books.iter().filter(|(_, n)| is_behind(n)) {
        let receipt = blank(numbering, number, stamp(numbering), None);
        let place = (receipt.safe, 0);
        let (safe, _) = numbering.strand.as_ref().map_or(place, |strand| strand.safe(place));
        receipts.push(Receipt { safe, ..receipt });
        written.push(number);
    }
    write_out(books, output, buffers, false);
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
        buffers.written.push(number);
        write_out(books, output, buffers, false);
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
            labels_repaired: &source.status.labels_repaired,
        };
        let mut outlet = Outlet { entries, receipts, output: &mut *output, merged: &merged, form };
        let note = again.map(|intent| intent.note);
        strand.release(pipeline, all, note, (receipt.end, 0), receipt, &mut outlet);
    }
    buffers.written.push(number);
    write_out(books, output, buffers, again.is_some());
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
