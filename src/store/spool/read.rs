//! Taking out: the first frame that is not settled, passing over what is damaged, settling, removing.
//!
//! Promises: the position moves forward only; each frame number that is passed without its frame having been handed out is counted once.

use super::counters::{Finding, Operation, Reason};
use super::disk::{Disk, DiskFile, is_passing, read_full};
use super::position::Position;
use super::scan::{self, Search, Stretch};
use super::segment::{self, FRAME_HEAD_BYTES, FrameHead, SEGMENT_HEAD_BYTES};
use super::{Frame, Meta, Segment, Spool, SpoolError};
use crate::base::limits::SPOOL_READ_ATTEMPTS;
use bytes::Bytes;
use std::io;

/// The oldest segment, open.
#[derive(Debug)]
pub(super) struct Reader<F> {
    file: F,
    first: u64,
    /// Smallest number that the next frame of the segment may have.
    sequence: u64,
}

/// Where the first frame that is not settled lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) head: FrameHead,
    pub(super) segment: u64,
    offset: u64,
    end: u64,
}

impl<D: Disk> Spool<D> {
    /// The oldest frame that is not acknowledged; the same one until it is. `None` if there is none. An error means that the
    /// disk does not give it now: to be called again after a pause; after a few attempts it is given up.
    #[allow(clippy::should_implement_trait, reason = "it looks at the first; nothing is taken by it")]
    pub fn next(&mut self) -> Result<Option<Frame>, SpoolError> {
        self.expire()?;
        if let Some(frame) = &self.current {
            return Ok(Some(frame.clone()));
        }
        while let Some(found) = self.head()? {
            let FrameHead { sequence, created_s, raw_bytes, entries, .. } = found.head;
            match self.payload(&found) {
                Ok(Payload::Whole(payload)) => {
                    let frame = Frame { sequence, created_s, meta: Meta { raw_bytes, entries }, payload };
                    self.attempts = 0;
                    self.current = Some(frame.clone());
                    return Ok(Some(frame));
                }
                Ok(Payload::Damaged) => self.give_up(&found, Reason::Damaged),
                Ok(Payload::Torn) => self.give_up(&found, Reason::Torn),
                Err(error) => {
                    self.again(error)?;
                    self.give_up(&found, Reason::Unreadable);
                }
            }
            // So that it is counted once, not once a start.
            self.persist();
        }
        Ok(None)
    }

    /// Settles the frame that [`Spool::next`] gave: it does not come again. Another number than that of the frame in hand
    /// changes nothing: its frame was dropped or settled before.
    pub fn acknowledge(&mut self, sequence: u64) {
        let Some(found) = self.found.filter(|found| found.head.sequence == sequence) else { return };
        if self.current.is_none() {
            return;
        }
        self.pass(&found);
        if !self.finish_read_segment() {
            self.persist();
        }
    }

    /// Gives up what is too old.
    pub(super) fn expire(&mut self) -> Result<(), SpoolError> {
        let Some(age_s) = self.limits.age_s else { return Ok(()) };
        let age_s = i64::try_from(age_s).unwrap_or(i64::MAX);
        let mut passed = false;
        let result = loop {
            let found = match self.head() {
                Ok(Some(found)) => found,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            if self.now_s().saturating_sub(found.head.created_s) <= age_s {
                break Ok(());
            }
            self.give_up(&found, Reason::Expired);
            passed = true;
        };
        if passed && !self.finish_read_segment() {
            self.persist();
        }
        result
    }

    /// Gives up the oldest segment.
    pub(super) fn drop_oldest(&mut self) {
        let Some(oldest) = self.segments.front().copied() else { return };
        if self.segments.len() == 1 {
            self.writer = None;
        }
        loop {
            match self.head() {
                Ok(Some(found)) if found.segment == oldest.first => self.give_up(&found, Reason::Full),
                // It was left behind and removed.
                Ok(_) => return,
                Err(_) if self.segments.front().is_none_or(|front| front.first != oldest.first) => return,
                Err(_) => {
                    // What cannot be read now is not waited for. How many frames it has, the next segment tells.
                    let next = self.segments.get(1).map_or(self.next_sequence, |next| next.first);
                    self.suspect = Some(Reason::Full);
                    self.miss_until(next);
                    return self.finish_front();
                }
            }
        }
    }

    /// The first frame that is not settled, its payload not looked at.
    pub(super) fn head(&mut self) -> Result<Option<Found>, SpoolError> {
        if self.found.is_some() {
            return Ok(self.found);
        }
        loop {
            let Some(front) = self.segments.front().copied() else {
                if self.miss_until(self.next_sequence) {
                    self.persist();
                }
                return Ok(None);
            };
            let growing = self.segments.len() == 1 && self.writer.is_some();
            if !self.enter(front, growing)? {
                continue;
            }
            // Entering learns the length of what is not ours to grow.
            let end = self.segments.front().map_or(0, |front| front.bytes);
            let search = self.search(front.first, end)?;
            if search.unreadable {
                self.suspect = Some(Reason::Unreadable);
            } else if search.junk {
                self.suspect = Some(if search.frame.is_some() { Reason::Damaged } else { Reason::Torn });
            }
            if let Some((head, offset)) = search.frame {
                let missed = self.miss_until(head.sequence);
                let end = offset.saturating_add(head.frame_bytes());
                let found = Found { head, segment: front.first, offset, end };
                self.position = Position { segment: front.first, offset, sequence: head.sequence };
                self.found = Some(found);
                if missed {
                    self.persist();
                }
                return Ok(self.found);
            }
            self.position.offset = end;
            if growing {
                if self.miss_until(self.next_sequence) {
                    self.persist();
                }
                return Ok(None);
            }
            self.finish_front();
        }
    }

    /// Looks for the next frame of the segment that is open.
    fn search(&mut self, first: u64, end: u64) -> Result<Search, SpoolError> {
        let Some(reader) = &self.reader else { return Ok(Search::default()) };
        let stretch = Stretch { first, from: self.position.offset, end, sequence: reader.sequence };
        let error = match scan::find(&reader.file, stretch, true) {
            Ok(search) => return Ok(search),
            Err(error) => error,
        };
        self.again(error)?;
        let Some(reader) = &self.reader else { return Ok(Search::default()) };
        scan::find(&reader.file, stretch, false).map_err(|error| self.error("read a segment", error))
    }

    /// Opens the oldest segment if it is not open. False if that moved on to another one.
    fn enter(&mut self, front: Segment, growing: bool) -> Result<bool, SpoolError> {
        if self.reader.as_ref().is_some_and(|reader| reader.first == front.first) {
            return Ok(true);
        }
        let opened = self.disk.open(&segment::name(front.first)).and_then(|file| {
            let bytes = file.bytes()?;
            let first = head_of(&file)?;
            Ok((file, bytes, first))
        });
        let (file, bytes, first) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.suspect = Some(Reason::Missing);
                self.leave_front(front, growing);
                return Ok(false);
            }
            Err(error) => {
                self.again(error)?;
                match self.disk.open(&segment::name(front.first)) {
                    // Its head cannot be read, but perhaps what follows.
                    Ok(file) => (file, front.bytes, Some(front.first)),
                    Err(error) if is_passing(&error) => return Err(self.error("open a segment", error)),
                    Err(_) => {
                        self.suspect = Some(Reason::Unreadable);
                        if growing {
                            self.writer = None;
                        }
                        self.finish_front();
                        return Ok(false);
                    }
                }
            }
        };
        let now_s = self.now_s();
        if first.is_some_and(|first| first != front.first) {
            self.report.found(Finding::Foreign, segment::name(front.first), now_s);
            self.leave_front(front, growing);
            return Ok(false);
        }
        if self.position.segment != front.first {
            self.position.segment = front.first;
            self.position.offset = 0;
        }
        if self.position.offset < SEGMENT_HEAD_BYTES {
            self.position.offset = SEGMENT_HEAD_BYTES;
            if bytes <= SEGMENT_HEAD_BYTES {
                self.report.found(Finding::Empty, segment::name(front.first), now_s);
            } else if first.is_none() {
                self.report.found(Finding::SegmentHead, segment::name(front.first), now_s);
            }
        }
        if let Some(known) = self.segments.front_mut().filter(|_| !growing) {
            self.bytes = self.bytes.saturating_sub(known.bytes).saturating_add(bytes);
            known.bytes = bytes;
        }
        self.reader = Some(Reader { file, first: front.first, sequence: front.first });
        Ok(true)
    }

    /// An error that will be given up in the end: returned until the attempts are used up.
    fn again(&mut self, error: io::Error) -> Result<(), SpoolError> {
        let now_s = self.now_s();
        self.report.failed(Operation::Read, &error, now_s);
        if !is_passing(&error) {
            self.attempts += 1;
        }
        if self.attempts < SPOOL_READ_ATTEMPTS {
            return Err(self.error("read a segment", error));
        }
        self.attempts = 0;
        Ok(())
    }

    fn payload(&mut self, found: &Found) -> io::Result<Payload> {
        let end = self.segments.front().map_or(0, |front| front.bytes);
        let Some(reader) = self.reader.as_ref().filter(|_| found.end <= end) else { return Ok(Payload::Torn) };
        let len = found.head.payload_bytes as usize;
        // Takes the old memory again unless somebody still holds a payload.
        self.buffer.clear();
        self.buffer.resize(len, 0);
        let read = read_full(&reader.file, &mut self.buffer, found.offset.saturating_add(FRAME_HEAD_BYTES))?;
        if read < len {
            return Ok(Payload::Torn);
        }
        if crc32fast::hash(&self.buffer) != found.head.payload_crc {
            return Ok(Payload::Damaged);
        }
        Ok(Payload::Whole(self.buffer.split().freeze()))
    }

    fn give_up(&mut self, found: &Found, reason: Reason) {
        let now_s = self.now_s();
        self.report.dropped(reason, 1, u64::from(found.head.entries), now_s);
        self.pass(found);
    }

    /// Moves behind a frame.
    fn pass(&mut self, found: &Found) {
        let bytes = self.segments.front().map_or(0, |front| front.bytes);
        let sequence = found.head.sequence.saturating_add(1);
        self.position = Position { segment: found.segment, offset: found.end.min(bytes), sequence };
        if let Some(reader) = &mut self.reader {
            reader.sequence = sequence;
        }
        self.found = None;
        self.current = None;
        self.attempts = 0;
        self.suspect = None;
    }

    /// Counts the numbers below `sequence` that nobody has seen. True if there are any: the caller writes the position down,
    /// so that they are counted once and not once a start.
    fn miss_until(&mut self, sequence: u64) -> bool {
        let missing = sequence.saturating_sub(self.position.sequence);
        let now_s = self.now_s();
        match self.suspect.take() {
            Some(reason) if missing > 0 => self.report.dropped(reason, missing, 0, now_s),
            None if missing > 0 => self.report.dropped(Reason::Missing, missing, 0, now_s),
            Some(_) => self.report.found(Finding::Junk, segment::name(self.position.segment), now_s),
            None => {}
        }
        self.position.sequence = self.position.sequence.max(sequence);
        missing > 0
    }

    /// Finishes the oldest segment if it was read to its end and does not grow. True if so.
    fn finish_read_segment(&mut self) -> bool {
        let growing = self.segments.len() == 1 && self.writer.is_some();
        let read = self
            .segments
            .front()
            .is_some_and(|front| front.first == self.position.segment && self.position.offset >= front.bytes);
        if read && !growing {
            self.finish_front();
        }
        read && !growing
    }

    /// Removes the oldest segment, all of which is settled or given up.
    pub(super) fn finish_front(&mut self) {
        let Some(front) = self.segments.pop_front() else { return };
        self.reader = None;
        self.found = None;
        self.current = None;
        self.attempts = 0;
        self.position.segment = front.first;
        self.position.offset = front.bytes.max(SEGMENT_HEAD_BYTES);
        // Written down first, so that a removal that a power loss undoes is done again. If it cannot be written, the removal stands for it.
        self.persist();
        match self.position_file.sync(&self.disk) {
            Ok(made) => self.directory_dirty |= made,
            Err(error) => {
                let now_s = self.now_s();
                self.report.failed(Operation::Sync, &error, now_s);
            }
        }
        self.discard(front);
    }

    /// Forgets the oldest segment: its file is gone or not ours.
    fn leave_front(&mut self, front: Segment, growing: bool) {
        if growing {
            self.writer = None;
        }
        self.segments.pop_front();
        self.bytes = self.bytes.saturating_sub(front.bytes);
    }

    pub(super) fn discard(&mut self, segment: Segment) {
        match self.disk.remove(&segment::name(segment.first)) {
            Ok(()) => self.directory_dirty = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let now_s = self.now_s();
                self.report.failed(Operation::Remove, &error, now_s);
                self.settled.push(segment);
                return;
            }
        }
        self.bytes = self.bytes.saturating_sub(segment.bytes);
    }

    fn persist(&mut self) {
        match self.position_file.write(&self.disk, self.position) {
            Ok(made) => self.directory_dirty |= made,
            Err(error) => {
                // The file may have been made all the same.
                self.directory_dirty = true;
                let now_s = self.now_s();
                self.report.failed(Operation::Acknowledge, &error, now_s);
            }
        }
    }
}

enum Payload {
    Whole(Bytes),
    Damaged,
    Torn,
}

/// The first sequence number by a segment file's head; `None` if it has no good one.
pub(super) fn head_of(file: &impl DiskFile) -> io::Result<Option<u64>> {
    let mut bytes = [0; SEGMENT_HEAD_BYTES as usize];
    let read = read_full(file, &mut bytes, 0)?;
    Ok(if read == bytes.len() { segment::parse_segment_head(&bytes) } else { None })
}
