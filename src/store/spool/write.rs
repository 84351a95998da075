//! Putting in: making room, segments, syncing.
//!
//! Promises: a payload is kept whole or not at all; the bound holds before and after each call.

use super::counters::Operation;
use super::disk::{Disk, DiskFile, write_full};
use super::segment::{self, FRAME_HEAD_BYTES, FrameHead, SEGMENT_HEAD_BYTES};
use super::{AppendError, Meta, Policy, Segment, Spool, SpoolError, frame_bytes};
use crate::base::limits::SPOOL_FRAME_BYTES;
use std::io;

/// The newest segment, open for writing.
#[derive(Debug)]
pub(super) struct Writer<F> {
    file: F,
    /// Written since the last sync.
    dirty: bool,
}

impl<D: Disk> Spool<D> {
    /// Appends a payload and tells its number. It is safe from the end of this process at once, from a power loss after the next
    /// [`Spool::sync`].
    pub fn append(&mut self, meta: Meta, payload: &[u8]) -> Result<u64, AppendError> {
        let bytes = frame_bytes(payload.len());
        let payload_bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        if payload.len() > SPOOL_FRAME_BYTES || bytes.saturating_add(SEGMENT_HEAD_BYTES) > self.limits.bytes {
            return Err(AppendError::TooLarge { place: self.report.place().to_owned(), bytes: payload.len() });
        }
        self.make_room(bytes.saturating_add(SEGMENT_HEAD_BYTES))?;
        let newest = self.segments.back().map_or(0, |newest| newest.bytes);
        if newest.saturating_add(bytes) > self.limits.segment_bytes {
            self.finish_writing();
        }
        let head = FrameHead {
            payload_bytes,
            sequence: self.next_sequence,
            created_s: self.now_s(),
            raw_bytes: meta.raw_bytes,
            entries: meta.entries,
            payload_crc: crc32fast::hash(payload),
        };
        if let Err(error) = self.write(&head, payload) {
            let now_s = self.now_s();
            self.report.failed(Operation::Append, &error, now_s);
            return Err(self.error("append to it", error).into());
        }
        self.next_sequence = head.sequence.saturating_add(1);
        Ok(head.sequence)
    }

    /// Makes what was appended and acknowledged so far last through a power loss. After an error the same may be lost as
    /// if it had not been called. When all is acknowledged, the last segment is removed as well.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        if self.is_empty() && !self.segments.is_empty() {
            self.writer = None;
            self.finish_front();
        }
        self.discard_settled();
        let mut first = None;
        if let Some(writer) = self.writer.as_mut().filter(|writer| writer.dirty) {
            match writer.file.sync() {
                Ok(()) => writer.dirty = false,
                Err(error) => first = Some(error),
            }
        }
        match self.position_file.sync(&self.disk) {
            Ok(made) => self.directory_dirty |= made,
            Err(error) => first = first.or(Some(error)),
        }
        if self.directory_dirty {
            match self.disk.sync_directory() {
                Ok(()) => self.directory_dirty = false,
                Err(error) => first = first.or(Some(error)),
            }
        }
        for number in std::mem::take(&mut self.unsynced) {
            let is_there = self.segments.iter().any(|segment| segment.first == number);
            let synced =
                if is_there { self.disk.open(&segment::name(number)).and_then(|file| file.sync()) } else { Ok(()) };
            if let Err(error) = synced.or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }) {
                self.unsynced.push(number);
                first = first.or(Some(error));
            }
        }
        let Some(error) = first else { return Ok(()) };
        let now_s = self.now_s();
        self.report.failed(Operation::Sync, &error, now_s);
        Err(self.error("sync it", error))
    }

    /// Removes what could not be removed before. True if nothing of it is left.
    fn discard_settled(&mut self) -> bool {
        for segment in std::mem::take(&mut self.settled) {
            self.discard(segment);
        }
        self.settled.is_empty()
    }

    /// Sees to it that `bytes` fit.
    fn make_room(&mut self, bytes: u64) -> Result<(), AppendError> {
        let mut expired = false;
        while self.bytes.saturating_add(bytes) > self.limits.bytes {
            if self.is_empty() && !self.segments.is_empty() {
                // Everything is settled, but the newest segment was still being written.
                self.writer = None;
                self.finish_front();
            } else if !expired {
                expired = true;
                // What cannot be read now does not expire now.
                let _ = self.expire();
            } else if !self.settled.is_empty() && self.discard_settled() {
                // A removal that had failed made room now.
            } else if self.limits.policy == Policy::DropOldest && self.settled.is_empty() && !self.segments.is_empty() {
                self.drop_oldest();
            } else {
                // Also where nothing can be removed: dropping more would make no room.
                return Err(AppendError::Full { place: self.report.place().to_owned() });
            }
        }
        Ok(())
    }

    fn write(&mut self, head: &FrameHead, payload: &[u8]) -> io::Result<()> {
        if self.writer.is_none() {
            self.begin_segment()?;
        }
        let (Some(writer), Some(segment)) = (&mut self.writer, self.segments.back_mut()) else {
            return Err(io::Error::other("no segment to write to"));
        };
        let offset = segment.bytes;
        writer.dirty = true;
        let written = write_full(&writer.file, &head.encode(segment.first, offset), offset)
            .and_then(|()| write_full(&writer.file, payload, offset.saturating_add(FRAME_HEAD_BYTES)));
        if written.is_ok() {
            segment.bytes = offset.saturating_add(head.frame_bytes());
            self.bytes = self.bytes.saturating_add(head.frame_bytes());
            return written;
        }
        if offset <= SEGMENT_HEAD_BYTES {
            // Its first frame: nothing is worth keeping.
            let segment = *segment;
            self.writer = None;
            self.segments.pop_back();
            self.discard(segment);
        } else if writer.file.truncate(offset).is_err() {
            // What is left of the frame stays; it is no frame. Nothing more is written behind it.
            let bytes = writer.file.bytes().unwrap_or(offset.saturating_add(head.frame_bytes())).max(offset);
            segment.bytes = bytes;
            self.bytes = self.bytes.saturating_add(bytes - offset);
            self.finish_writing();
        }
        written
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        let first = self.next_sequence;
        let name = segment::name(first);
        let file = match self.disk.create(&name) {
            // Somebody cleaned up. What was in the directory is missed when it is read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.disk.prepare()?;
                self.disk.create(&name)?
            }
            created => created?,
        };
        self.directory_dirty = true;
        // An attempt that failed may have left a file of this name, to be removed: that was this one.
        let left = self.settled.iter().filter(|left| left.first == first).map(|left| left.bytes).sum();
        self.bytes = self.bytes.saturating_sub(left);
        self.settled.retain(|left| left.first != first);
        let segment = Segment { first, bytes: SEGMENT_HEAD_BYTES };
        self.bytes = self.bytes.saturating_add(SEGMENT_HEAD_BYTES);
        if let Err(error) = write_full(&file, &segment::segment_head(first), 0) {
            self.discard(segment);
            return Err(error);
        }
        self.segments.push_back(segment);
        self.writer = Some(Writer { file, dirty: true });
        Ok(())
    }

    /// Ends the newest segment, so that the next frame begins another.
    pub(super) fn finish_writing(&mut self) {
        let (Some(writer), Some(newest)) = (self.writer.take(), self.segments.back()) else { return };
        if let Some(error) = writer.dirty.then(|| writer.file.sync().err()).flatten() {
            self.unsynced.push(newest.first);
            let now_s = self.now_s();
            self.report.failed(Operation::Sync, &error, now_s);
        }
    }
}
