//! The spool: what an endpoint did not take yet, on disk. A queue of payloads that are ready to be sent, in the order of their arrival;
//! one spool an endpoint, with one owner.
//!
//! In its directory: **segments**, files of frames (`segment` has their form), and `position`, how far everything is settled. A frame is
//! appended to the newest segment and read from the oldest; a segment whose frames are all settled is removed, after the
//! position has been written and synced. A segment of an earlier run is never written to again. Memory is a few numbers a segment,
//! and the frame in hand.
//!
//! Promises:
//! - A frame comes out until it is acknowledged, and then never again; in order; with the bytes that went in or not at all.
//! - After `kill -9` at any moment everything appended and everything acknowledged is known.
//! - After a power loss, what was appended or acknowledged before the last [`Spool::sync`] that succeeded is known, unless a sync of an
//!   earlier run had failed. What was appended since may be missing, what was acknowledged since may come again. The owner syncs
//!   every second.
//! - Its files are never larger than the bound, but for the position's 6 KiB. When there is no room, [`Policy`] says what gives way.
//! - A flipped byte, a torn tail, a file that is missing, cut, empty, copied or not the spool's, a full or failing disk: each costs the
//!   frames it touches and no other. They are counted by [`Reason`], logged, and passed over. Opening reads the names, the position
//!   and the newest segment, nothing else.
//!
//! A frame that is dropped ([`Policy::DropOldest`], or by age) while its sender is at work counts as dropped even if it arrives.
//! What a power loss takes from the unsynced tail cannot be counted.
//!
//! Leaves to others: what a payload is, when to sync, what to do with what is refused. Calls block for as long as the disk does.

mod counters;
pub mod disk;
mod position;
mod read;
mod scan;
mod segment;
mod write;

pub use counters::{Counters, Finding, Operation, Reason};
pub use disk::Directory;

use crate::base::clock::Clock;
use crate::base::limits::{SPOOL_SEGMENT_BYTES, SPOOL_SEGMENT_BYTES_MIN, SPOOL_SEGMENTS};
use bytes::{Bytes, BytesMut};
use counters::Report;
use disk::{Disk, DiskFile};
use position::{Position, PositionFile};
use read::{Found, Reader};
use segment::{FRAME_HEAD_BYTES, SEGMENT_HEAD_BYTES};
use std::collections::VecDeque;
use std::io;
use write::Writer;

/// What gives way when a spool is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The newcomer: [`AppendError::Full`], so that its source waits.
    Block,
    /// The oldest segment, however far it was read.
    DropOldest,
}

/// How much a spool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All segments together, bytes.
    pub bytes: u64,
    /// Age at which a frame is given up, seconds, by the host's clock: one that jumps ahead makes frames old. `None`: never.
    pub age_s: Option<u64>,
    /// What gives way when there is no room.
    pub policy: Policy,
    /// Size at which a segment is finished, bytes. A frame that is larger gets a segment of its own.
    pub segment_bytes: u64,
}

impl Limits {
    /// With segments of a size that fits.
    pub fn new(bytes: u64, age_s: Option<u64>, policy: Policy) -> Self {
        let segment_bytes = (bytes / SPOOL_SEGMENTS).clamp(SPOOL_SEGMENT_BYTES_MIN, SPOOL_SEGMENT_BYTES);
        Limits { bytes, age_s, policy, segment_bytes }
    }
}

/// What the owner wants to know of a payload without decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Size before compression, bytes.
    pub raw_bytes: u32,
    /// Entries in it.
    pub entries: u32,
}

/// A frame that waits to be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its number, for [`Spool::acknowledge`]. Ascending, unless the end of the newest segment could not be read at the start.
    pub sequence: u64,
    /// When it was appended, seconds since 1970.
    pub created_s: i64,
    /// As it was appended.
    pub meta: Meta,
    /// As it was appended. While a copy of it lives, its memory is not used again.
    pub payload: Bytes,
}

/// The disk failed. The spool is usable all the same; what was tried can be tried again.
#[derive(Debug, thiserror::Error)]
#[error("spool {place}: cannot {action}: {source}")]
pub struct SpoolError {
    place: String,
    action: &'static str,
    source: io::Error,
}

/// Why a payload was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no room until something is acknowledged.
    #[error("spool {place}: it is full; it takes more when the endpoint has taken some")]
    Full {
        /// The directory.
        place: String,
    },
    /// It can never fit.
    #[error(
        "spool {place}: a payload of {bytes} bytes is above what it takes; give it more room or make smaller requests"
    )]
    TooLarge {
        /// The directory.
        place: String,
        /// Length of the payload.
        bytes: usize,
    },
    /// The disk failed; nothing of the payload is kept.
    #[error(transparent)]
    Disk(#[from] SpoolError),
}

/// A file of frames.
#[derive(Debug, Clone, Copy)]
struct Segment {
    /// Number of its first frame; its name.
    first: u64,
    /// Length, bytes.
    bytes: u64,
}

/// An open spool.
#[derive(Debug)]
pub struct Spool<D: Disk = Directory> {
    disk: D,
    limits: Limits,
    clock: Clock,
    report: Report,
    /// By age. The last one is being written if there is a writer.
    segments: VecDeque<Segment>,
    /// Settled segments that could not be removed.
    settled: Vec<Segment>,
    /// Of all segments, settled ones included.
    bytes: u64,
    next_sequence: u64,
    writer: Option<Writer<D::File>>,
    reader: Option<Reader<D::File>>,
    position: Position,
    position_file: PositionFile<D::File>,
    /// The first frame that is not settled, once it is known.
    found: Option<Found>,
    /// The same with its payload, once it was handed out.
    current: Option<Frame>,
    /// What was met since the last good frame, for what turns out to be missing.
    suspect: Option<Reason>,
    /// Failed reads of one place.
    attempts: u32,
    directory_dirty: bool,
    /// Segments that are not being written and could not be synced.
    unsynced: Vec<u64>,
    buffer: BytesMut,
}

impl<D: Disk> Spool<D> {
    /// Opens what `disk` holds, in the state in which it is. Fails only if the directory cannot be made or listed.
    pub fn open(disk: D, limits: Limits, clock: Clock, counters: Counters) -> Result<Self, SpoolError> {
        let place = disk.place();
        let fail = |action| {
            let place = place.clone();
            move |source| SpoolError { place, action, source }
        };
        disk.prepare().map_err(fail("make its directory"))?;
        let listed = disk.list().map_err(fail("list its directory"))?;
        let mut report = Report::new(counters, place);
        let now_s = clock.now_ns() / 1_000_000_000;

        let mut segments = Vec::new();
        for file in listed {
            match (segment::parse_name(&file.name), file.bytes) {
                (Some(first), Some(bytes)) => segments.push(Segment { first, bytes }),
                _ if file.name == position::NAME => {}
                _ => report.found(Finding::Foreign, file.name, now_s),
            }
        }
        segments.sort_unstable_by_key(|segment| segment.first);
        let (position_file, opened) = PositionFile::open(&disk);
        if let Some(error) = opened.error {
            report.failed(Operation::Read, &error, now_s);
            report.found(Finding::Position, error, now_s);
        } else if opened.damaged > 0 {
            report.found(Finding::Position, "damaged records", now_s);
        }
        let oldest = segments.first().map_or(0, |segment| segment.first);
        let position = opened.position.unwrap_or(Position { sequence: oldest, ..Position::default() });
        let known = opened.position.is_some() || !segments.is_empty();
        // A spool that begins counts on from the time: numbers of a directory that was emptied do not come again.
        let floor = position.sequence.max(position.segment.saturating_add(1));
        let next_sequence = if known { floor } else { clock.now_ns().clamp(1, 1 << 61).unsigned_abs() };

        let mut spool = Spool {
            disk,
            limits,
            clock,
            report,
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            segments: segments.into(),
            settled: Vec::new(),
            next_sequence,
            writer: None,
            reader: None,
            position: Position { sequence: if known { position.sequence } else { next_sequence }, ..position },
            position_file,
            found: None,
            current: None,
            suspect: None,
            attempts: 0,
            directory_dirty: true,
            unsynced: Vec::new(),
            buffer: BytesMut::new(),
        };
        spool.remove_settled();
        spool.find_end();
        Ok(spool)
    }

    /// Changes its bounds. What there is stays, also if it is more: then nothing is appended until enough is acknowledged.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Size of all segments, bytes. What is acknowledged counts until its segment is removed.
    pub fn len_bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing waits to be acknowledged. What cannot be read any more waits until [`Spool::next`] has passed over it.
    pub fn is_empty(&self) -> bool {
        match (self.segments.front(), self.segments.len()) {
            (None, _) => true,
            (Some(front), 1) => self.position.segment == front.first && self.position.offset >= front.bytes,
            _ => false,
        }
    }

    /// The number of the newest frame that was ever appended.
    pub fn newest(&self) -> u64 {
        self.next_sequence.saturating_sub(1)
    }

    /// How many frames wait to be acknowledged, if none of them is damaged.
    pub fn frames(&self) -> u64 {
        self.next_sequence.saturating_sub(self.position.sequence)
    }

    /// When the oldest frame that is not acknowledged was appended, seconds since 1970.
    pub fn oldest_created_s(&mut self) -> Option<i64> {
        if self.found.is_none() && self.attempts > 0 {
            // Looking must not use up the attempts that reading has.
            return None;
        }
        self.head().ok().flatten().map(|found| found.head.created_s)
    }

    fn now_s(&self) -> i64 {
        self.clock.now_ns() / 1_000_000_000
    }

    fn error(&self, action: &'static str, source: io::Error) -> SpoolError {
        SpoolError { place: self.report.place().to_owned(), action, source }
    }

    /// Removes what was settled by an earlier run that did not come to it.
    fn remove_settled(&mut self) {
        while let Some(front) = self.segments.front().copied() {
            let at = self.position;
            // A length of 0 may be one that could not be told.
            let settled =
                front.first < at.segment || (front.first == at.segment && at.offset >= front.bytes && front.bytes > 0);
            if !settled {
                break;
            }
            self.segments.pop_front();
            self.discard(front);
        }
    }

    /// Learns from the newest segment which number comes next. Segments without a frame are removed on the way.
    fn find_end(&mut self) {
        while let Some(newest) = self.segments.back().copied() {
            let now_s = self.now_s();
            match self.read_end(newest) {
                Ok(End::Next(next)) => {
                    self.next_sequence = self.next_sequence.max(next);
                    return;
                }
                Ok(End::Foreign) => {
                    self.report.found(Finding::Foreign, segment::name(newest.first), now_s);
                    self.segments.pop_back();
                    self.bytes = self.bytes.saturating_sub(newest.bytes);
                    continue;
                }
                Ok(End::Empty) => self.report.found(Finding::Empty, segment::name(newest.first), now_s),
                Ok(End::Junk) => self.report.dropped(Reason::Torn, 1, 0, now_s),
                Err(error) => {
                    self.report.failed(Operation::Read, &error, now_s);
                    self.next_sequence = self.next_sequence.max(newest.first.saturating_add(1));
                    return;
                }
            }
            self.segments.pop_back();
            self.discard(newest);
        }
    }

    fn read_end(&mut self, newest: Segment) -> io::Result<End> {
        let file = self.disk.open(&segment::name(newest.first))?;
        // The run that wrote it may have ended before its last sync; the segments before were synced when they were finished.
        if let Err(error) = file.sync() {
            let now_s = self.now_s();
            self.report.failed(Operation::Sync, &error, now_s);
            self.unsynced.push(newest.first);
        }
        let end = file.bytes()?;
        if end <= SEGMENT_HEAD_BYTES {
            return Ok(End::Empty);
        }
        // A head that cannot be read says nothing.
        if read::head_of(&file).ok().flatten().is_some_and(|first| first != newest.first) {
            return Ok(End::Foreign);
        }
        let begun = self.position.segment == newest.first && self.position.offset >= SEGMENT_HEAD_BYTES;
        let from = if begun { self.position.offset } else { SEGMENT_HEAD_BYTES };
        let mut next = begun.then_some(self.position.sequence);
        let mut stretch = scan::Stretch { first: newest.first, from, end, sequence: newest.first };
        loop {
            let search = scan::find(&file, stretch, false)?;
            if let Some((head, offset)) = search.frame {
                stretch.sequence = head.sequence.saturating_add(1);
                stretch.from = offset.saturating_add(head.frame_bytes());
                next = Some(stretch.sequence);
                continue;
            }
            return match next {
                // What is behind the last frame was one, too: its number stays unused, so that it is missed.
                Some(next) => Ok(End::Next(next.saturating_add(u64::from(search.junk)))),
                None if search.unreadable => Ok(End::Next(newest.first.saturating_add(1))),
                None => Ok(End::Junk),
            };
        }
    }
}

/// What the newest segment ends with.
enum End {
    /// The number after its last frame.
    Next(u64),
    /// It is a copy of another segment.
    Foreign,
    /// It has no frame, and never had.
    Empty,
    /// It has bytes that are none.
    Junk,
}

/// Bytes that a payload takes on disk, apart from its share of a segment's head.
fn frame_bytes(payload: usize) -> u64 {
    FRAME_HEAD_BYTES.saturating_add(payload as u64)
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
