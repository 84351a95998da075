//! Room: finishing files, and giving up the oldest.
//!
//! Promises: a file is finished only at the end of a record; one that is given up is counted once, and none of it is on its way to an endpoint. Leaves to
//! others: removing what is read; not reading so far ahead that nothing is left to give up.

use super::counters::{Operation, Reason};
use super::{Finished, Inlet, NAME, Policy, finished_name, scan};
use crate::store::spool::disk::{Disk, DiskFile, read_full};
use rustix::io::Errno;
use std::io;

impl<D: Disk> Inlet<D> {
    /// Sees to it that `bytes` fit. False if they do not.
    pub(super) fn make_room(&mut self, bytes: u64) -> bool {
        if self.has_room(bytes) {
            return true;
        }
        self.recount();
        while !self.has_room(bytes) {
            if self.finished.iter().all(|file| file.bytes == 0) && !self.rotate() {
                return false;
            }
            // What was rotated just now can be read to its end and removed, where nothing is dropped.
            if self.limits.policy == Policy::Refuse {
                return false;
            }
            // Where all others are on their way, the one that is written to is the oldest that may give way.
            if !self.drop_oldest() && !self.rotate() {
                return false;
            }
        }
        true
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.bytes().saturating_add(bytes) <= self.limits.bytes
    }

    /// Finishes the file that is appended to. False if there is nothing to finish, or not yet: what is held belongs into it.
    pub(super) fn rotate(&mut self) -> bool {
        self.held.bytes.is_empty() && self.finish()
    }

    /// A disk that is full: the file that is appended to gives its room back when it is delivered, and so it is finished. One at a time, so that many
    /// small ones do not gather.
    pub(super) fn finish_full(&mut self, error: &io::Error) {
        let full = [Errno::NOSPC, Errno::DQUOT].map(|errno| Some(errno.raw_os_error()));
        if !full.contains(&error.raw_os_error()) || !self.finished.is_empty() {
            return;
        }
        match self.take_back() {
            Ok(true) => _ = self.finish(),
            Ok(false) => {}
            Err(error) => self.failed(Operation::Rotate, &error),
        }
    }

    /// Finishes the file that is appended to if nothing else waits to be read, so that what is delivered does not stay on the disk. False if a file is
    /// left that may be finished later.
    pub fn rest(&mut self) -> bool {
        self.recount();
        if self.finished.is_empty() && self.written > 0 && self.open_writer().is_ok() {
            self.rotate();
        }
        self.written == 0 && self.held.bytes.is_empty()
    }

    /// Takes the record that has begun in the file back to what is held. False if the file cannot be finished.
    fn take_back(&mut self) -> io::Result<bool> {
        let Some(file) = self.writer.clone() else { return Ok(false) };
        let whole = scan::whole_bytes(&*file, self.written)?;
        // A write that failed may have left whole records that are not known of, and that were read by now: they stay where they are.
        if whole == 0 || file.bytes()? != self.written {
            return Ok(false);
        }
        let mut begun = vec![0; usize::try_from(self.written.saturating_sub(whole)).unwrap_or_default()];
        if read_full(&*file, &mut begun, whole)? < begun.len() {
            return Ok(false);
        }
        if !begun.is_empty() {
            // Nobody has taken it for a record: it has no end.
            file.truncate(whole)?;
            self.held.bytes.splice(..0, begun);
            self.held.begun = false;
            self.written = whole;
            self.dirty = true;
        }
        Ok(true)
    }

    fn finish(&mut self) -> bool {
        if self.writer.is_none() || self.written == 0 {
            return false;
        }
        let number = self.next_number;
        match self.disk.rename(NAME, &finished_name(number)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.lose_writer();
                return false;
            }
            Err(error) => {
                self.failed(Operation::Rotate, &error);
                return false;
            }
        }
        self.finished.push_back(Finished { number, bytes: self.written });
        self.next_number = number.saturating_add(1);
        if self.dirty {
            self.unsynced.push(number);
        }
        self.directory_dirty = true;
        self.writer = None;
        self.written = 0;
        true
    }

    /// Gives up the oldest file that has anything and that nobody has begun to read. False if none gives way.
    fn drop_oldest(&mut self) -> bool {
        // Of one that is read, some is in memory only: it would be lost at a stop or a kill, and not be counted.
        let is_unread = |file: &Finished| file.bytes > 0 && (self.delivered)(&finished_name(file.number)) == 0;
        let Some(at) = self.finished.iter().position(is_unread) else { return false };
        let Some(Finished { number, .. }) = self.finished.get(at).copied() else { return false };
        let name = finished_name(number);
        let file = match self.disk.open(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Its reader was quicker.
                self.finished.remove(at);
                return true;
            }
            Err(error) => {
                self.failed(Operation::Remove, &error);
                return false;
            }
        };
        let (records, uncounted) = scan::records(&file);
        if let Some(error) = uncounted {
            self.failed(Operation::Read, &error);
        }
        // Emptied first: a reader that has it open must not go on delivering what is counted as lost.
        let emptied = file.truncate(0);
        let removed = match self.disk.remove(&name) {
            // Its reader found nothing left in it, and was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        self.directory_dirty = true;
        for error in [emptied.as_ref().err(), removed.as_ref().err()].into_iter().flatten() {
            self.failed(Operation::Remove, error);
        }
        if emptied.is_err() && removed.is_err() {
            return false;
        }
        self.dropped(Reason::Full, records);
        if removed.is_ok() {
            self.finished.remove(at);
        } else if let Some(file) = self.finished.get_mut(at) {
            file.bytes = 0;
        }
        true
    }
}
