//! Appending: pieces to the file, and to memory what the disk does not take.
//!
//! Promises: a piece is taken whole or not at all, but where a disk that cannot reserve room fails under one of more than [`INLET_HELD_BYTES`]: then whole
//! records of it stay, as somebody may have read them; what is held is written before anything else, where the disk stopped.

use super::counters::{Operation, Reason};
use super::{AppendError, Inlet, NAME, Policy, scan};
use crate::base::limits::INLET_HELD_BYTES;
use crate::store::spool::disk::{Disk, DiskFile};
use std::io;
use std::sync::Arc;

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is in a file: safe from the end of this process at once, from a power loss after the next [`Inlet::sync`].
    Written,
    /// All or some of it is held in memory until the disk takes it. It is safe when [`Inlet::held_bytes`] is 0.
    Held,
    /// It is lost and counted. Only with [`Policy::DropOldest`].
    Dropped,
}

impl<D: Disk> Inlet<D> {
    /// Appends whole records, each with its newline; `records` says how many. One write where the disk is well.
    pub fn append(&mut self, piece: &[u8], records: u64) -> Result<Kept, AppendError> {
        let place = || self.report.place().to_owned();
        match piece.last() {
            None => return Ok(Kept::Written),
            Some(b'\n') => {}
            Some(_) => return Err(AppendError::NotWhole { place: place() }),
        }
        if piece.len() as u64 > self.limits.bytes {
            let error = AppendError::TooLarge { place: place(), bytes: piece.len() };
            return self.refuse(Reason::TooLarge, records, error);
        }
        if !self.dirty {
            // The first one since a sync: a file that is gone by now must not take it.
            self.recount();
        }
        let flushed = self.flush();
        if !self.make_room(piece.len() as u64) {
            let error = AppendError::Full { place: self.report.place().to_owned() };
            return self.refuse(Reason::Full, records, error);
        }
        if let Err(error) = flushed {
            if self.held.bytes.len().saturating_add(piece.len()) > INLET_HELD_BYTES {
                let error = self.error("append to it", error).into();
                return self.refuse(Reason::Disk, records, error);
            }
            self.held.bytes.extend_from_slice(piece);
            self.held.records = self.held.records.saturating_add(records);
            return Ok(Kept::Held);
        }
        if self.written.saturating_add(piece.len() as u64) > self.limits.file_bytes {
            self.rotate();
        }
        // What is too large to be held has to fit on the disk before a byte of it is there: it may be sent again and again.
        if piece.len() > INLET_HELD_BYTES
            && let Err(error) = self.reserve(piece.len() as u64)
        {
            self.failed(Operation::Append, &error);
            self.finish_full(&error);
            let error = self.error("append to it", error).into();
            return self.refuse(Reason::Disk, records, error);
        }
        let (done, error) = self.write(piece);
        let Some(error) = error else { return Ok(Kept::Written) };
        self.failed(Operation::Append, &error);
        let (before, rest) = piece.split_at_checked(done).unwrap_or((piece, &[]));
        let begun = before.last().is_some_and(|last| *last != b'\n');
        let kept = if rest.len() > INLET_HELD_BYTES && self.is_all_known() {
            // Too much for memory: no more of it than the end of a record that has begun in the file.
            let end = memchr::memchr(b'\n', rest).filter(|_| begun).map_or(0, |newline| newline.saturating_add(1));
            rest.get(..end).unwrap_or_default()
        } else {
            rest
        };
        let left = records.saturating_sub(scan::newlines(before));
        self.held.bytes.extend_from_slice(kept);
        self.held.records = if kept.len() < rest.len() { scan::newlines(kept) } else { left };
        self.held.begun = begun;
        let refused = left.saturating_sub(self.held.records);
        self.finish_full(&error);
        if kept.len() < rest.len() {
            let error = self.error("append to it", error).into();
            return self.refuse(Reason::Disk, refused, error);
        }
        Ok(Kept::Held)
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        self.open_writer()?;
        self.writer.as_ref().map_or(Ok(()), |file| file.reserve(self.written, bytes))
    }

    /// Whether the file has nothing beside what was written: a write that failed may have left some.
    fn is_all_known(&self) -> bool {
        self.writer.as_ref().is_none_or(|file| file.bytes().is_ok_and(|bytes| bytes == self.written))
    }

    /// A piece that is not taken: its sender keeps it, or it is lost.
    fn refuse(&mut self, reason: Reason, records: u64, error: AppendError) -> Result<Kept, AppendError> {
        match self.limits.policy {
            Policy::Refuse => Err(error),
            Policy::DropOldest => {
                self.dropped(reason, records);
                Ok(Kept::Dropped)
            }
        }
    }

    /// Writes what is held.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.held.bytes.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.held.bytes);
        let (done, error) = self.write(&bytes);
        let Some(error) = error else {
            self.held = super::Held::default();
            return Ok(());
        };
        self.failed(Operation::Append, &error);
        self.held.bytes = bytes;
        if let Some(before) = self.held.bytes.get(..done).filter(|before| !before.is_empty()) {
            self.held.records = self.held.records.saturating_sub(scan::newlines(before));
            self.held.begun = before.last().is_some_and(|last| *last != b'\n');
            self.held.bytes.drain(..done);
        }
        self.finish_full(&error);
        Err(error)
    }

    /// Writes behind what is written. How many bytes are there now for sure, and why not all. The same bytes have to be tried next: some
    /// more of them may be there.
    fn write(&mut self, bytes: &[u8]) -> (usize, Option<io::Error>) {
        if let Err(error) = self.open_writer() {
            return (0, Some(error));
        }
        let Some(file) = self.writer.clone() else { return (0, Some(io::ErrorKind::NotFound.into())) };
        self.dirty = true;
        let mut done = 0;
        let error = loop {
            let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) else { break None };
            match file.write_at(rest, self.written) {
                Ok(0) => break Some(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    done = done.saturating_add(n);
                    self.written = self.written.saturating_add(n as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
        };
        (done, error)
    }

    /// Opens the file that is appended to, if it is not open: what an earlier run left is repaired, otherwise it begins.
    pub(super) fn open_writer(&mut self) -> io::Result<()> {
        if self.writer.is_some() {
            return Ok(());
        }
        match self.disk.open(NAME) {
            Ok(file) => {
                let (bytes, cut) = scan::repair(&file)?;
                self.dropped(Reason::Torn, u64::from(cut));
                self.written = bytes;
                self.dirty = true;
                self.writer = Some(Arc::new(file));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = match self.disk.create(NAME) {
                    // Somebody cleaned up.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        self.disk.prepare()?;
                        self.disk.create(NAME)?
                    }
                    created => created?,
                };
                self.written = 0;
                self.directory_dirty = true;
                self.writer = Some(Arc::new(file));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
