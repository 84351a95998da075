//! Making what is in files last through a power loss, in three steps, so that the inlet takes records while the disk works.
//!
//! Promises: what [`Inlet::begin_sync`] found in files is on the disk when [`Inlet::end_sync`] says so; what did not get there is tried at the next sync.
//! Leaves to others: when, and on which thread.

use super::counters::Operation;
use super::{Inlet, InletError, finished_name};
use crate::store::spool::disk::{Disk, DiskFile};
use std::io;
use std::sync::Arc;

/// What is to be synced. It needs the inlet no more.
pub struct Pending<D: Disk> {
    disk: D,
    writer: Option<Arc<D::File>>,
    finished: Vec<u64>,
    directory: bool,
    /// Why what is held could not be written, or the file not be opened.
    failed: [Option<io::Error>; 2],
}

/// What became of it.
#[derive(Debug)]
pub struct Synced {
    writer: io::Result<()>,
    finished: Vec<u64>,
    directory: io::Result<()>,
    /// The first error of a finished file.
    first: Option<io::Error>,
    flushed: Option<io::Error>,
}

impl<D: Disk> Pending<D> {
    /// Waits for the disk.
    pub fn run(self) -> Synced {
        let Pending { disk, writer, finished, directory, failed: [flushed, opened] } = self;
        let writer = opened.map_or_else(|| writer.map_or(Ok(()), |file| file.sync()), Err);
        let mut first = None;
        let mut sync = |number: u64| match disk.open(&finished_name(number)).and_then(|file| file.sync()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                first.get_or_insert(error);
                true
            }
            _ => false,
        };
        let finished = finished.into_iter().filter(|number| sync(*number)).collect();
        let directory = if directory { disk.sync_directory() } else { Ok(()) };
        Synced { writer, finished, directory, first, flushed }
    }
}

impl<D: Disk + Clone> Inlet<D> {
    /// Tries again to write what is held, and makes what is in files last through a power loss. After an error the same may be lost as
    /// if it had not been called.
    pub fn sync(&mut self) -> Result<(), InletError> {
        let synced = self.begin_sync().run();
        self.end_sync(synced)
    }

    /// Tries again to write what is held, and finds what is to be synced.
    pub fn begin_sync(&mut self) -> Pending<D> {
        let flushed = self.flush().err();
        if self.dirty || !self.finished.is_empty() {
            self.recount();
        }
        let mut pending = Pending {
            disk: self.disk.clone(),
            writer: None,
            finished: std::mem::take(&mut self.unsynced),
            directory: std::mem::take(&mut self.directory_dirty),
            failed: [flushed, None],
        };
        if std::mem::take(&mut self.dirty) {
            // What an earlier run left and this one could not open yet is not synced either.
            let opened = if self.written > 0 { self.open_writer() } else { Ok(()) };
            pending.failed[1] = opened.err();
            pending.writer = self.writer.clone();
            self.dirty = false;
        }
        // What is read and removed already need not reach the disk.
        pending.finished.retain(|number| self.finished.iter().any(|file| file.number == *number));
        pending
    }

    /// Notes what became of it.
    pub fn end_sync(&mut self, synced: Synced) -> Result<(), InletError> {
        let Synced { writer, finished, directory, first, flushed } = synced;
        self.unsynced.extend(finished);
        self.directory_dirty |= directory.is_err();
        if writer.is_err() {
            // It may be a finished one by now.
            self.dirty = true;
            self.unsynced = self.finished.iter().map(|file| file.number).collect();
        }
        if let Some(error) = writer.err().or(first).or(directory.err()) {
            self.failed(Operation::Sync, &error);
            return Err(self.error("sync it", error));
        }
        flushed.map_or(Ok(()), |error| Err(self.error("append to it", error)))
    }
}
