//! An inlet: received records that wait on disk until the file source has read them. One a source, with one owner.
//!
//! A record is a line. Pieces of whole records are appended to `inlet.log`; at a size that file is renamed to `inlet.log.<number>`, with
//! ascending numbers from 1, and a new one begins. Whoever reads the inlet removes the numbered files that are finished; this module learns that
//! by looking. Memory is a few numbers a file, and what the disk did not take.
//!
//! Promises:
//! - A piece that [`Inlet::append`] took is in the files, whole and once, in the order of the calls, unless it is counted as dropped
//!   ([`Reason`]). [`Kept`] says whether it is in a file already or still in memory. A piece that was refused leaves no trace.
//! - While an inlet is open its files only grow, until they are dropped: a reader that follows them never sees a whole record change. So a
//!   write that ends halfway is not undone. Its rest is held, and goes on where the disk stopped; nothing is written before it.
//! - Where the disk is full, the file is finished in front of the record that has begun, so that its room comes back when it is delivered.
//! - After `kill -9` everything is there that was in a file. After a power loss, everything that was in one at the last
//!   [`Inlet::sync`] that succeeded. The owner syncs every second. What either tears is cut at the last newline when it is opened, and
//!   counted.
//! - Files and memory together are never above the bound, for as long as nobody else writes there. [`Policy`] says what gives way. With
//!   [`Policy::DropOldest`] whole files go that nobody has begun to read, the oldest first, and their records are counted. What is on its way stays in
//!   its files until it is stored, so that neither a stop nor a kill loses it; where all that is there is on its way, the newcomers are dropped and
//!   counted. A file whose reading begins at the very moment that it goes may be counted and yet arrive in part; never the other way round.
//! - Where the disk does not let an end be repaired when it is opened, it stays torn until it can be written to or is opened again.
//! - A full or failing disk costs what does not fit into memory meanwhile, and that is refused or counted.
//!
//! Numbers may come again after a restart that finds no numbered file. What a kill takes from memory cannot be counted.
//!
//! Leaves to others: what a record says, waking the reader, when to sync, waiting where there is no room. Calls block for as long as the
//! disk does.

mod counters;
mod room;
mod scan;
mod sync;
mod write;

pub use crate::store::spool::disk::Directory;
pub use counters::{Counters, Operation, Reason};
pub use sync::{Pending, Synced};
pub use write::Kept;

use crate::base::clock::Clock;
use crate::base::limits::{INLET_FILE_BYTES, INLET_FILE_BYTES_MIN, INLET_FILES};
use crate::store::spool::disk::Disk;
use counters::Report;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The file that is appended to. Finished ones have this name, a dot and their number.
pub const NAME: &str = "inlet.log";
/// Digits of the number of a file: there are no more in 64 bits.
const NUMBER_DIGITS: usize = 20;

/// What gives way when an inlet is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The newcomer: [`AppendError::Full`], so that its sender waits.
    Refuse,
    /// The oldest file that is not being read. Nothing is refused: what finds no room even so, or no disk, is dropped and counted.
    DropOldest,
}

/// How much an inlet holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All files and what is held in memory together, bytes.
    pub bytes: u64,
    /// What gives way when there is no room.
    pub policy: Policy,
    /// Size at which a file is finished, bytes. A piece that is larger gets a file of its own.
    pub file_bytes: u64,
}

impl Limits {
    /// With files of a size that fits.
    pub fn new(bytes: u64, policy: Policy) -> Self {
        Limits { bytes, policy, file_bytes: (bytes / INLET_FILES).clamp(INLET_FILE_BYTES_MIN, INLET_FILE_BYTES) }
    }
}

/// How much of a finished file is delivered or on its way, bytes from its beginning, by the file's name in the directory. 0: nobody has begun to read it, as
/// far as is known.
pub type Delivered = Box<dyn Fn(&str) -> u64 + Send>;

/// The disk failed. The inlet is usable all the same; what was tried can be tried again.
#[derive(Debug, thiserror::Error)]
#[error("inlet {place}: cannot {action}: {source}")]
pub struct InletError {
    place: String,
    action: &'static str,
    source: io::Error,
}

/// Why a piece was not taken. Nothing of it is kept, and it is not counted as lost: its sender still has it.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no room until some of it is read.
    #[error("inlet {place}: it is full; it takes more when what it holds is delivered")]
    Full {
        /// The directory.
        place: String,
    },
    /// It can never fit.
    #[error("inlet {place}: a piece of {bytes} bytes is above what it takes; give it more room or send smaller ones")]
    TooLarge {
        /// The directory.
        place: String,
        /// Length of the piece.
        bytes: usize,
    },
    /// It does not end with a newline.
    #[error("inlet {place}: a piece that ends within a record cannot be appended")]
    NotWhole {
        /// The directory.
        place: String,
    },
    /// The disk takes nothing, and memory holds as much as it may.
    #[error(transparent)]
    Disk(#[from] InletError),
    /// Whoever had it open has closed it.
    #[error("this source was removed from the configuration")]
    Closed,
}

/// A finished file.
#[derive(Debug, Clone, Copy)]
struct Finished {
    number: u64,
    /// Length, bytes.
    bytes: u64,
}

/// What the disk did not take yet. It goes to where the file being written ends, and nothing before it.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Records that end in it.
    records: u64,
    /// Whether its first record begins in the file already.
    begun: bool,
}

/// An open inlet.
pub struct Inlet<D: Disk = Directory> {
    disk: D,
    limits: Limits,
    clock: Clock,
    report: Report,
    delivered: Delivered,
    /// By age.
    finished: VecDeque<Finished>,
    next_number: u64,
    /// The file that is appended to, once it is open.
    writer: Option<Arc<D::File>>,
    /// Its length, bytes.
    written: u64,
    held: Held,
    /// What is held at the end is not lost.
    sender_keeps: bool,
    /// Written since the last sync.
    dirty: bool,
    directory_dirty: bool,
    /// Finished files that are not synced.
    unsynced: Vec<u64>,
}

impl<D: Disk> std::fmt::Debug for Inlet<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.report.place();
        f.debug_struct("Inlet").field("place", &place).field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl<D: Disk> Inlet<D> {
    /// Opens what `disk` holds, before anybody reads it: torn ends are cut. Fails only if the directory cannot be made or listed.
    pub fn open(
        disk: D,
        limits: Limits,
        clock: Clock,
        counters: Counters,
        delivered: Delivered,
    ) -> Result<Self, InletError> {
        let place = disk.place();
        let fail = |action| {
            let place = place.clone();
            move |source| InletError { place, action, source }
        };
        disk.prepare().map_err(fail("make its directory"))?;
        let mut inlet = Inlet {
            report: Report::new(counters, place.clone()),
            disk,
            limits,
            clock,
            delivered,
            finished: VecDeque::new(),
            next_number: 1,
            writer: None,
            written: 0,
            held: Held::default(),
            sender_keeps: false,
            dirty: true,
            directory_dirty: true,
            unsynced: Vec::new(),
        };
        inlet.look().map_err(fail("list its directory"))?;
        inlet.repair_finished();
        if inlet.written > 0
            && let Err(error) = inlet.open_writer()
        {
            inlet.failed(Operation::Append, &error);
        }
        Ok(inlet)
    }

    /// Changes its bounds. What there is stays, also if it is more, until room is needed.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Size of all files and of what is held in memory, bytes. A file that its reader removed counts until the next look.
    pub fn bytes(&self) -> u64 {
        let finished: u64 = self.finished.iter().map(|file| file.bytes).sum();
        finished.saturating_add(self.written).saturating_add(self.held.bytes.len() as u64)
    }

    /// What is taken but not in a file yet, bytes. 0: everything that was ever taken and not dropped is in one.
    pub fn held_bytes(&self) -> usize {
        self.held.bytes.len()
    }

    /// Where it is, for people.
    pub fn place(&self) -> &str {
        self.report.place()
    }

    /// Records given up since the source began, because there was no room for all or the disk did not take them.
    pub fn given_up(&self) -> u64 {
        let counters = self.report.counters();
        counters.dropped(Reason::Full).saturating_add(counters.dropped(Reason::Disk))
    }

    /// Whoever appends has what is held, too, and gives it again if this ends before it is written: it is not lost then.
    pub fn sender_keeps_held(&mut self) {
        self.sender_keeps = true;
    }

    /// Learns which files are still there.
    fn recount(&mut self) {
        if let Err(error) = self.look() {
            self.failed(Operation::Read, &error);
        }
    }

    fn look(&mut self) -> io::Result<()> {
        let listed = match self.disk.list() {
            // The directory itself is gone, and with it all files.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            listed => listed?,
        };
        let mut current = None;
        self.finished.clear();
        for file in &listed {
            let Some(bytes) = file.bytes else { continue };
            if file.name == NAME {
                current = Some(bytes);
            } else if let Some(number) = parse_name(&file.name) {
                self.finished.push_back(Finished { number, bytes });
            }
        }
        self.finished.make_contiguous().sort_unstable_by_key(|file| file.number);
        let newest = self.finished.back().map_or(0, |file| file.number);
        self.next_number = self.next_number.max(newest.saturating_add(1));
        match current {
            None if self.writer.is_some() => self.lose_writer(),
            // A file that is not open: its length may change when it is.
            _ if self.writer.is_none() => self.written = current.unwrap_or(0),
            _ => {}
        }
        Ok(())
    }

    /// Somebody removed the file that is being written. What was in it may still be read by whoever has it open.
    fn lose_writer(&mut self) {
        self.writer = None;
        self.written = 0;
        self.directory_dirty = true;
        if std::mem::take(&mut self.held.begun) {
            // Its beginning went with the file.
            let end = memchr::memchr(b'\n', &self.held.bytes).map_or(self.held.bytes.len(), |at| at.saturating_add(1));
            self.held.bytes.drain(..end);
            self.held.records = self.held.records.saturating_sub(1);
            self.dropped(Reason::Missing, 1);
        }
    }

    /// A finished file may be torn, too, after a power loss.
    fn repair_finished(&mut self) {
        for at in 0..self.finished.len() {
            let Some(number) = self.finished.get(at).map(|file| file.number) else { continue };
            match self.disk.open(&finished_name(number)).and_then(|file| scan::repair(&file)) {
                Ok((bytes, cut)) => {
                    self.dropped(Reason::Torn, u64::from(cut));
                    if let Some(file) = self.finished.get_mut(at) {
                        file.bytes = bytes;
                    }
                }
                Err(error) => self.failed(Operation::Read, &error),
            }
            self.unsynced.push(number);
        }
    }

    fn now_s(&self) -> i64 {
        self.clock.now_ns() / 1_000_000_000
    }

    fn dropped(&mut self, reason: Reason, records: u64) {
        let now_s = self.now_s();
        self.report.dropped(reason, records, now_s);
    }

    fn failed(&mut self, operation: Operation, error: &io::Error) {
        let now_s = self.now_s();
        self.report.failed(operation, error, now_s);
    }

    fn error(&self, action: &'static str, source: io::Error) -> InletError {
        InletError { place: self.report.place().to_owned(), action, source }
    }
}

impl<D: Disk> Drop for Inlet<D> {
    /// What is held has a last chance. What stays is lost and counted, even if a write that failed has left some of it in the file; a record that begins in the file is counted by who opens it next.
    fn drop(&mut self) {
        if self.flush().is_err() {
            if self.sender_keeps {
                // Nobody is to miss a record that only begins in the file. What fails here is repaired, and counted, by who opens it next.
                let _ = self.writer.as_ref().map(|writer| scan::repair(&**writer));
                return;
            }
            let records = self.held.records.saturating_sub(u64::from(self.held.begun));
            self.dropped(Reason::Disk, records);
        }
    }
}

fn finished_name(number: u64) -> String {
    format!("{NAME}.{number}")
}

/// Globs of an inlet's files and of nothing else: the one that is written to first, as the others were it.
pub fn patterns(directory: &Path) -> Vec<String> {
    let directory = globset::escape(&directory.to_string_lossy());
    let numbered = (0..NUMBER_DIGITS).map(|more| format!("{directory}/{NAME}.[1-9]{}", "[0-9]".repeat(more)));
    std::iter::once(format!("{directory}/{NAME}")).chain(numbered).collect()
}

/// The number of the finished file that has this name. Other names in an inlet's directory are none of ours.
pub fn number_of(name: &OsStr) -> Option<u64> {
    parse_name(name.to_str()?)
}

/// The number of a finished file; only names that [`finished_name`] makes.
fn parse_name(name: &str) -> Option<u64> {
    let number = name.strip_prefix(NAME)?.strip_prefix('.')?.parse().ok()?;
    (number > 0 && finished_name(number) == name).then_some(number)
}

#[cfg(test)]
#[path = "inlet_tests.rs"]
mod tests;
