//! Reading one chunk of one file.
//!
//! One `pread` does all: it begins a few bytes before the offset, and those bytes must be the ones that were there. That is how a truncated
//! file, and one that was truncated and has grown past the offset again, are told from one that grew, without a further call.
//!
//! Promises: the offset is always the start of a line; a line longer than a chunk is never held in memory whole; bytes that were sent
//! before a restart are cut and stamped as they were. Leaves to others: which file, and when.

use super::encoding::{Decoding, Encoding, begins_as_utf16};
use super::identity::{Mark, tail_len, tail_mark};
use super::lines::{Cutter, Found, Repairs};
use super::tracked::{LongLine, Tracked};
use crate::base::clock::Clock;
use crate::base::limits::{CHUNK_BYTES, CHUNK_LINES, CLOCK_AHEAD_NS, HEAD_BYTES, TAIL_BYTES};
use crate::base::rate::Allowance;
use crate::model::flow::{Note, Span};
use crate::store::checkpoint::Intent;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What a read found.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A chunk: see [`Reader::lines`] and [`Reader::bytes`]. With `more`, the file has probably more.
    Chunk { piece: Piece, more: bool },
    /// At this place what waited for further lines was sent without, when this was read before.
    Release(Intent),
    /// A part of a long line was passed over; there is more.
    Scanned,
    /// Nothing new, or only a line that has not ended yet.
    End,
    /// The bytes before the offset are not what they were: the file begins again.
    Truncated,
    /// Its head says that it is compressed.
    Compressed,
}

/// Where a chunk lies in its file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub start: u64,
    pub end: u64,
    pub time_ns: i64,
    /// The same bytes were sent before, under this time.
    pub replayed: bool,
    /// They were sent to the source's merged stream.
    pub merged: bool,
    pub repairs: Repairs,
    /// The file's checksums at `end`.
    pub mark: Mark,
    /// What a pipeline noted of them when they were sent.
    pub note: Note,
}

/// Recycled space for reading, and the time of the last chunk.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    /// Where the data of the last chunk is in the buffer.
    data: (usize, usize),
    cutter: Cutter,
    /// Where the last chunk begins in its file, and what its bytes mean.
    start: u64,
    decoding: Option<Decoding>,
    clock: Clock,
    /// The time after the last line's: chunks never go back behind it.
    next_ns: i64,
}

impl Reader {
    /// A reader whose chunk times come after `after_ns`.
    pub(super) fn new(clock: Clock, after_ns: i64) -> Self {
        let buffer = vec![0; TAIL_BYTES + CHUNK_BYTES];
        let next_ns = after_ns.saturating_add(CHUNK_LINES as i64);
        Reader { buffer, data: (0, 0), cutter: Cutter::default(), start: 0, decoding: None, clock, next_ns }
    }

    /// The present time, as chunks have it, for something that has no lines.
    pub(super) fn stamp(&mut self) -> i64 {
        self.time_now(1)
    }

    /// The present time, nanoseconds since 1970.
    pub(super) fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    /// Where this line of the last chunk begins in the file, and the checksum of the bytes before it.
    pub(super) fn place_of(&self, line: usize) -> (u64, u32) {
        let data = self.buffer.get(self.data.0..self.data.1).unwrap_or_default();
        let at = match &self.decoding {
            None => line
                .checked_sub(1)
                .and_then(|before| memchr::memchr_iter(b'\n', data).nth(before))
                .map_or(0, |at| at + 1),
            Some(decoding) => {
                let mut from = decoding.torn(self.start).min(data.len());
                let mut at = 0;
                for _ in 0..line {
                    let Some(newline) = decoding.newline(data, from, self.start) else { break };
                    from = newline + decoding.unit();
                    at = from;
                }
                at
            }
        };
        let seen = self.buffer.get(..self.data.0 + at).unwrap_or_default();
        (self.start + at as u64, tail_mark(seen))
    }

    /// The lines of the last chunk.
    pub(super) fn lines(&self) -> &[Span] {
        self.cutter.lines()
    }

    /// What they refer to.
    pub(super) fn bytes(&self) -> &[u8] {
        self.cutter.bytes(self.buffer.get(self.data.0..self.data.1).unwrap_or_default())
    }

    /// Whether the last chunk, at the beginning of a file, says that it is UTF-16.
    pub(super) fn begins_as_utf16(&self) -> bool {
        begins_as_utf16(self.buffer.get(self.data.0..self.data.1).unwrap_or_default())
    }

    /// Reads on at the file's offset. With `last_too`, a rest without newline is a line. Does not move the offset: that is
    /// [`Tracked::advance`], when the chunk has been handed on. The chunk is no more than `allowance`, but for one line that is larger, and for
    /// what was sent before: that is cut as it was.
    pub(super) fn read(
        &mut self,
        file: &mut Tracked,
        handle: &File,
        encoding: Encoding,
        line_bytes: usize,
        last_too: bool,
        allowance: Allowance,
    ) -> io::Result<Outcome> {
        let is_release = |i: &Intent| i.start == i.end && i.start == file.offset;
        if file.replay.as_ref().and_then(|r| r.front()).is_some_and(is_release)
            && let Some(intent) = file.replay.as_mut().and_then(|r| r.pop_front())
        {
            return Ok(Outcome::Release(intent));
        }
        let decoding = encoding.of_file(handle)?;
        if file.long.is_some() {
            return self.read_long(file, handle, decoding.as_ref(), line_bytes, last_too);
        }
        let before = tail_len(file.offset);
        let wanted = before + CHUNK_BYTES;
        let got = read_at(handle, self.buffer.get_mut(..wanted).unwrap_or_default(), file.offset - before as u64)?;
        let head = self.buffer.get(..before.min(got)).unwrap_or_default();
        if got < before || tail_mark(head) != file.mark.tail {
            return Ok(Outcome::Truncated);
        }
        file.at_end = got < wanted;
        let seen_to = file.offset + (got - before) as u64;
        file.size = if file.at_end { seen_to } else { file.size.max(seen_to) };
        let data = self.buffer.get(before..got).unwrap_or_default();
        if file.offset == 0 && is_compressed(data) {
            return Ok(Outcome::Compressed);
        }
        let limit = replay_limit(file, data, decoding.as_ref());
        let (data, exact) = match limit {
            Some(limit) => (data.get(..limit).unwrap_or(data), true),
            None => (data, false),
        };
        let is_replay = file.replay.as_ref().and_then(|r| r.front()).is_some_and(|i| i.start == file.offset);
        let allowance = if exact && is_replay { Allowance::ALL } else { allowance };
        let last_too = last_too || exact;
        let (consumed, repairs) = match &decoding {
            None => {
                let most = usize::try_from(allowance.lines).unwrap_or(usize::MAX);
                self.cutter.cut_some(whole_lines(data, allowance.bytes), line_bytes, last_too, most)
            }
            Some(decoding) => self.cutter.cut_encoded(data, decoding, file.offset, line_bytes, last_too, allowance),
        };
        if consumed == 0 {
            if file.at_end || data.len() < CHUNK_BYTES {
                return Ok(Outcome::End);
            }
            let data = whole_units(data, file.offset, decoding.as_ref());
            let leading_nuls = leading_nuls(data, decoding.as_ref());
            file.long = Some(Box::new(LongLine { scanned: data.len() as u64, leading_nuls, tail: tail_mark(data) }));
            return Ok(Outcome::Scanned);
        }
        let seen = self.buffer.get(before..before + consumed).unwrap_or_default();
        let mut mark = file.mark;
        extend_head(&mut mark, file.offset, seen);
        mark.tail = tail_mark(self.buffer.get(..before + consumed).unwrap_or_default());
        self.data = (before, before + consumed);
        self.start = file.offset;
        self.decoding = decoding;
        let start = file.offset;
        let end = start + consumed as u64;
        let (time_ns, known) = self.time_of(file, start, end);
        let (replayed, merged) = (known.is_some(), known.is_some_and(|intent| intent.merged));
        let more = !file.at_end || before + consumed < got;
        let note = known.map(|intent| intent.note).unwrap_or_default();
        Ok(Outcome::Chunk { piece: Piece { start, end, time_ns, replayed, merged, repairs, mark, note }, more })
    }

    /// Goes on looking for the end of a line that is longer than a chunk.
    fn read_long(
        &mut self,
        file: &mut Tracked,
        handle: &File,
        decoding: Option<&Decoding>,
        line_bytes: usize,
        last_too: bool,
    ) -> io::Result<Outcome> {
        let Some(long) = file.long.as_deref_mut() else { return Ok(Outcome::Scanned) };
        // As for a chunk: what was scanned last must still be there.
        let known = tail_len(long.scanned);
        let wanted = known + CHUNK_BYTES;
        let buffer = self.buffer.get_mut(..wanted).unwrap_or_default();
        let got = read_at(handle, buffer, file.offset + long.scanned - known as u64)?;
        let scanned = self.buffer.get(..known.min(got)).unwrap_or_default();
        if got < known || tail_mark(scanned) != long.tail {
            return scan_again(file, handle);
        }
        let data = self.buffer.get(known..got).unwrap_or_default();
        let at_end = got < wanted;
        let at = file.offset + long.scanned;
        let newline = first_newline(data, at, decoding);
        let line_part = match newline {
            Some(newline) => data.get(..newline).unwrap_or_default(),
            None if at_end && last_too => data,
            // Half a unit is looked at when the other half is there.
            None => whole_units(data, at, decoding),
        };
        if long.leading_nuls == long.scanned {
            long.leading_nuls += leading_nuls(line_part, decoding);
        }
        long.scanned += line_part.len() as u64;
        long.tail = tail_mark(self.buffer.get(..known + line_part.len()).unwrap_or_default());
        file.size = file.size.max(file.offset + long.scanned);
        file.at_end = at_end;
        let (total, leading_nuls) = (long.scanned, long.leading_nuls);
        if newline.is_none() && !(at_end && last_too) {
            return Ok(if at_end { Outcome::End } else { Outcome::Scanned });
        }

        // The line's end is known: its head is read again. The cap bounds how much.
        // Other encodings take up to twice the bytes that UTF-8 does.
        let most = if decoding.is_some() { 2 * line_bytes + 2 } else { line_bytes + 1 };
        let head_len = usize::try_from(total - leading_nuls).map_or(most, |rest| rest.min(most));
        let mut head = vec![0; head_len];
        let got = read_at(handle, &mut head, file.offset + leading_nuls)?;
        head.truncate(got);
        // A newline in what was scanned without one: other content.
        let is_other = first_newline(&head, file.offset + leading_nuls, decoding).is_some();
        if got < head_len || is_other {
            return scan_again(file, handle);
        }
        if !is_as_it_was(file, handle)? {
            return Ok(Outcome::Truncated);
        }
        let is_whole = leading_nuls + head.len() as u64 == total;
        let repairs = match decoding {
            None => {
                if is_whole && head.last() == Some(&b'\r') {
                    head.pop();
                }
                let shown_total = if is_whole { leading_nuls + head.len() as u64 } else { total };
                let line = Found { bytes: &head, leading_nuls, total: shown_total, is_whole };
                self.cutter.long_line(&line, line_bytes)
            }
            Some(decoding) => {
                let head = head.get(decoding.torn(file.offset)..).unwrap_or_default();
                let line = Found { bytes: head, leading_nuls, total, is_whole };
                self.cutter.long_line_encoded(&line, decoding, file.offset == 0, line_bytes)
            }
        };
        file.long = None;
        let start = file.offset;
        let end = start + total + newline.map_or(0, |_| decoding.map_or(1, Decoding::unit) as u64);
        let mut mark = file.mark;
        // The head of a file that begins with a long line is that line's.
        if file.offset < HEAD_BYTES as u64 {
            let mut first = [0; HEAD_BYTES];
            handle.read_exact_at(&mut first, 0)?;
            mark.head_len = HEAD_BYTES as u16;
            mark.head = crc32fast::hash(&first);
        }
        let mut tail = [0; TAIL_BYTES];
        handle.read_exact_at(&mut tail, end - TAIL_BYTES as u64)?;
        mark.tail = tail_mark(&tail);
        self.data = (0, 0);
        self.start = start;
        let (time_ns, known) = self.time_of(file, start, end);
        let (replayed, merged) = (known.is_some(), known.is_some_and(|intent| intent.merged));
        let note = known.map(|intent| intent.note).unwrap_or_default();
        Ok(Outcome::Chunk { piece: Piece { start, end, time_ns, replayed, merged, repairs, mark, note }, more: true })
    }

    /// The chunk's time: the one of the intent that it was sent under before, or now.
    fn time_of(&mut self, file: &mut Tracked, start: u64, end: u64) -> (i64, Option<Intent>) {
        if let Some(replay) = &mut file.replay {
            let known = replay.front().is_some_and(|i| i.start == start && i.end == end);
            if known && let Some(intent) = replay.pop_front() {
                if replay.is_empty() {
                    file.replay = None;
                }
                return (intent.time_ns, Some(intent));
            }
        }
        (self.time_now(self.lines().len()), None)
    }

    /// The time for so many lines.
    fn time_now(&mut self, lines: usize) -> i64 {
        let now = self.clock.now_ns();
        let time = if self.next_ns.saturating_sub(now) > CLOCK_AHEAD_NS { now } else { now.max(self.next_ns) };
        self.next_ns = time.saturating_add(lines.max(1) as i64);
        time
    }
}

impl Tracked {
    /// The chunk was handed on.
    pub(super) fn advance(&mut self, piece: &Piece) {
        self.offset = piece.end;
        self.mark = piece.mark;
    }
}

/// What was scanned of a long line is not there any more. Nothing of it was handed on: where what was handed on is as it was, it is looked for again from the
/// offset. That is so where the writer takes back a line that it had begun.
fn scan_again(file: &mut Tracked, handle: &File) -> io::Result<Outcome> {
    if file.offset == 0 || !is_as_it_was(file, handle)? {
        return Ok(Outcome::Truncated);
    }
    file.long = None;
    Ok(Outcome::Scanned)
}

/// Whether the bytes before the offset are still those that were there.
fn is_as_it_was(file: &Tracked, handle: &File) -> io::Result<bool> {
    let mut check = [0; TAIL_BYTES];
    let before = tail_len(file.offset);
    let check = check.get_mut(..before).unwrap_or_default();
    let got = read_at(handle, check, file.offset - before as u64)?;
    Ok(got == before && tail_mark(check) == file.mark.tail)
}

/// The lines at the start of the data that are in its first `bytes`, or the first line if it is larger.
fn whole_lines(data: &[u8], bytes: u64) -> &[u8] {
    let Some((within, beyond)) = usize::try_from(bytes).ok().and_then(|bytes| data.split_at_checked(bytes)) else {
        return data;
    };
    let last = memchr::memrchr(b'\n', within).or_else(|| Some(within.len() + memchr::memchr(b'\n', beyond)?));
    last.and_then(|at| data.get(..=at)).unwrap_or(data)
}

/// How much of the data may be in the chunk, so that it ends where one that was sent before ended (or began).
fn replay_limit(file: &mut Tracked, data: &[u8], decoding: Option<&Decoding>) -> Option<usize> {
    let offset = file.offset;
    let available = data.len();
    let at_end = file.at_end;
    let is_last = |limit| limit == available && at_end && file.rotated;
    let replay = file.replay.as_mut()?;
    while replay.front().is_some_and(|intent| intent.start < offset) {
        replay.pop_front();
    }
    let bound = replay.front().map(|intent| if intent.start == offset { intent.end } else { intent.start });
    let Some(limit) = bound.and_then(|bound| usize::try_from(bound - offset).ok()) else {
        file.replay = None;
        return None;
    };
    if limit > available {
        if at_end {
            // The file ends before what was sent from it: its content is another one.
            file.replay = None;
        }
        return None;
    }
    let part = data.get(..limit).unwrap_or_default();
    let is_line_end = match decoding {
        None => part.ends_with(b"\n"),
        Some(decoding) => decoding.ends_with_newline(part, offset),
    };
    if !is_last(limit) && limit > 0 && !is_line_end {
        // Chunks end with a line, but for the last of a rotated file: the content is another one, and its lines must stay whole.
        file.replay = None;
        return None;
    }
    Some(limit)
}

/// The head's checksum grows with the file until it covers [`HEAD_BYTES`].
fn extend_head(mark: &mut Mark, offset: u64, seen: &[u8]) {
    let have = usize::from(mark.head_len);
    if have < HEAD_BYTES && offset == have as u64 {
        let more = seen.get(..seen.len().min(HEAD_BYTES - have)).unwrap_or_default();
        let mut hasher = crc32fast::Hasher::new_with_initial(mark.head);
        hasher.update(more);
        mark.head = hasher.finalize();
        mark.head_len = (have + more.len()) as u16;
    }
}

/// Where the first newline begins in what lies at `offset`.
fn first_newline(data: &[u8], offset: u64, decoding: Option<&Decoding>) -> Option<usize> {
    match decoding {
        None => memchr::memchr(b'\n', data),
        Some(decoding) => decoding.newline(data, 0, offset),
    }
}

/// `data`, which lies at `offset`, without half a unit at its end.
fn whole_units<'a>(data: &'a [u8], offset: u64, decoding: Option<&Decoding>) -> &'a [u8] {
    let torn = decoding.map_or(0, |decoding| decoding.torn(offset + data.len() as u64));
    data.get(..data.len().saturating_sub(torn)).unwrap_or_default()
}

/// With how many NUL bytes `data` begins, in whole units.
fn leading_nuls(data: &[u8], decoding: Option<&Decoding>) -> u64 {
    let nuls = data.iter().take_while(|b| **b == 0).count();
    (nuls - nuls % decoding.map_or(1, Decoding::unit)) as u64
}

/// `pread`, again if a signal came between.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match rustix::io::pread(file, &mut *buffer, offset) {
            Ok(got) => return Ok(got),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// gzip, xz, zstd, lz4 frames, zip and bzip2 begin with these bytes (their format descriptions).
fn is_compressed(head: &[u8]) -> bool {
    const MAGICS: [&[u8]; 5] =
        [b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"PK\x03\x04"];
    let is_bzip2 = head.starts_with(b"BZh") && head.get(4..10) == Some(b"1AY&SY");
    is_bzip2 || MAGICS.iter().any(|magic| head.starts_with(magic))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
