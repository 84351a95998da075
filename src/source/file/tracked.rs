//! One followed file: who it is, where it is, how far it has been read and stored.
//!
//! Promises: small, since there may be a hundred thousand; what only few files have is boxed. Leaves to others: reading.

use super::identity::{Identity, Mark, stat_file};
use super::pipe::Pipe;
use super::tree::DirId;
use crate::model::flow::StreamId;
use crate::pipeline::state::Memory;
use crate::store::checkpoint::Intent;
use rustix::fs::{Mode, OFlags};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// A file's number in the set of followed files; numbers are used again.
pub(super) type FileId = u32;

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub dir: DirId,
    pub name: Box<OsStr>,
}

/// A line that is longer than a chunk, as far as it has been looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct LongLine {
    /// Bytes after the offset that are known to have no newline.
    pub scanned: u64,
    /// How many NUL bytes the line begins with.
    pub leading_nuls: u64,
    /// Checksum of the last of them, as in a mark.
    pub tail: u32,
}

/// A failing file's next attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failing {
    pub retry_at: Instant,
    pub pause: Duration,
}

/// What only few files have at a time.
#[derive(Debug, Default)]
struct Extra {
    origin: Option<Box<Path>>,
    quiet_since: Option<Instant>,
    failing: Option<Failing>,
    alias: Option<Place>,
    cut_counted: bool,
    packed: bool,
    unseen: bool,
    earlier: Box<[Mark]>,
    memory: Memory,
    number: u64,
}

#[derive(Debug)]
pub(super) struct Tracked {
    pub source: u16,
    /// How many names lead to it.
    pub names: u16,
    pub identity: Identity,
    /// A name under which it can be opened; `None` when it has none in a directory we see. Set by the set of files, which finds it by this.
    pub place: Option<Place>,
    pub file: Option<File>,
    /// Everything before is read. Always the start of a line.
    pub offset: u64,
    /// Everything before is stored by every endpoint.
    pub stored: u64,
    /// The largest size seen.
    pub size: u64,
    /// Changes when the file begins again, unique over all files, so that late receipts of what was before are recognised.
    pub generation: u32,
    /// Its cursor, once there is something to remember.
    pub slot: Option<u32>,
    pub stream: Option<StreamId>,
    /// What its source's pipeline remembers of it, in the place of the stream.
    pub pipe: Option<Box<Pipe>>,
    /// Checksums of the head and of the bytes before `offset`.
    pub mark: Mark,
    /// In the queue of files to read.
    pub queued: bool,
    /// An earlier generation is to be finished first.
    pub gated: bool,
    /// No longer at the path it was matched under.
    pub rotated: bool,
    /// The last read found the end.
    pub at_end: bool,
    /// Named by the list of idle descriptors.
    pub idle_listed: bool,
    /// It was read to its end once more since that list was last gone through.
    pub used: bool,
    /// Its last name was deleted, as opposed to moved away.
    pub deleted: bool,
    /// It was left out for being compressed.
    pub compressed: bool,
    pub long: Option<Box<LongLine>>,
    /// What was sent before the restart and is to be cut and stamped the same.
    #[allow(clippy::box_collection, reason = "nearly always absent: 8 bytes instead of 32 in each of many files")]
    pub replay: Option<Box<VecDeque<Intent>>>,
    extra: Option<Box<Extra>>,
}

/// Why a file could not be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The path leads to another file now, or to none.
    Replaced,
    Io(io::Error),
}

impl Tracked {
    /// A file at the path it was matched under, which is the one of its place.
    pub(super) fn new(source: u16, identity: Identity, generation: u32) -> Self {
        Tracked {
            source,
            names: 0,
            identity,
            place: None,
            file: None,
            offset: 0,
            stored: 0,
            size: 0,
            generation,
            slot: None,
            stream: None,
            pipe: None,
            mark: Mark::default(),
            queued: false,
            gated: false,
            rotated: false,
            at_end: false,
            idle_listed: false,
            used: false,
            deleted: false,
            compressed: false,
            long: None,
            replay: None,
            extra: None,
        }
    }

    /// The path it was matched under: the `filename` label, and where its successor appears. `None`: the path of its place.
    pub(super) fn origin(&self) -> Option<&Path> {
        self.extra.as_ref()?.origin.as_deref()
    }

    pub(super) fn set_origin(&mut self, origin: Option<Box<Path>>) {
        self.change(|extra| extra.origin = origin);
    }

    /// When it was last rotated or had something to read; moves only while `rotated`.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        self.extra.as_ref()?.quiet_since
    }

    pub(super) fn set_quiet_since(&mut self, since: Option<Instant>) {
        self.change(|extra| extra.quiet_since = since);
    }

    pub(super) fn failing(&self) -> Option<Failing> {
        self.extra.as_ref()?.failing
    }

    pub(super) fn set_failing(&mut self, failing: Option<Failing>) {
        self.change(|extra| extra.failing = failing);
    }

    /// The directory of a link's target, watched for this file.
    pub(super) fn alias(&self) -> Option<&Place> {
        self.extra.as_ref()?.alias.as_ref()
    }

    pub(super) fn set_alias(&mut self, alias: Option<Place>) {
        self.change(|extra| extra.alias = alias);
    }

    /// Whether it is counted that labels of its stream were cut.
    pub(super) fn cut_counted(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.cut_counted)
    }

    pub(super) fn set_cut_counted(&mut self, counted: bool) {
        self.change(|extra| extra.cut_counted = counted);
    }

    /// It is an earlier generation that is compressed, and is to be unpacked when its turn comes.
    pub(super) fn is_packed(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.packed)
    }

    pub(super) fn set_packed(&mut self, packed: bool) {
        self.change(|extra| extra.packed = packed);
    }

    /// It was written to, and could not be looked at since.
    pub(super) fn is_unseen(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.unseen)
    }

    pub(super) fn set_unseen(&mut self, unseen: bool) {
        self.change(|extra| extra.unseen = unseen);
    }

    /// The heads of those of its earlier generations that were there when it was met.
    pub(super) fn earlier(&self) -> &[Mark] {
        self.extra.as_ref().map(|extra| &*extra.earlier).unwrap_or_default()
    }

    pub(super) fn set_earlier(&mut self, earlier: Box<[Mark]>) {
        self.change(|extra| extra.earlier = earlier);
    }

    /// What its pipeline knew of it, for when that goes on.
    pub(super) fn memory(&self) -> Memory {
        self.extra.as_ref().map(|extra| extra.memory).unwrap_or_default()
    }

    pub(super) fn set_memory(&mut self, memory: Memory) {
        self.change(|extra| extra.memory = memory);
    }

    /// Which finished file of an inlet it is; [`u64::MAX`]: it is not told yet; 0: it is none.
    pub(super) fn number(&self) -> u64 {
        self.extra.as_ref().map_or(0, |extra| extra.number)
    }

    pub(super) fn set_number(&mut self, number: u64) {
        self.change(|extra| extra.number = number);
    }

    /// Its age among the rotated files of its path: what is less is older. Files of an inlet have numbers; the others were born, as far as that is
    /// told, one after the other.
    pub(super) fn age(&self) -> (u64, i64) {
        match self.number() {
            0 => (0, self.identity.born_ns),
            number => (number, 0),
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Extra)) {
        let mut extra = self.extra.take().unwrap_or_default();
        change(&mut extra);
        let Extra { origin, quiet_since, failing, alias, cut_counted, packed, unseen, earlier, memory, number } =
            &*extra;
        let is_used = origin.is_some()
            || quiet_since.is_some()
            || failing.is_some()
            || alias.is_some()
            || *cut_counted
            || *packed
            || *unseen
            || !earlier.is_empty()
            || *number > 0
            || *memory != Memory::default();
        self.extra = is_used.then_some(extra);
    }

    /// Opens the file at `path`, if it is still this one.
    pub(super) fn open(&mut self, path: &Path) -> Result<(), OpenError> {
        let file = match open_for_reading(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(OpenError::Replaced),
            Err(error) => return Err(OpenError::Io(error)),
        };
        let stat = stat_file(&file).map_err(OpenError::Io)?;
        if stat.identity != self.identity {
            return Err(OpenError::Replaced);
        }
        self.size = self.size.max(stat.size);
        self.file = Some(file);
        if self.is_unseen() {
            self.set_unseen(false);
        }
        Ok(())
    }

    /// Starts again at the first byte, as another generation.
    pub(super) fn restart(&mut self, generation: u32) {
        self.generation = generation;
        self.offset = 0;
        self.stored = 0;
        self.size = 0;
        self.mark = Mark::default();
        self.long = None;
        self.replay = None;
        self.at_end = false;
        self.compressed = false;
    }

    /// Everything that was read is stored.
    pub(super) fn is_settled(&self) -> bool {
        self.stored == self.offset
    }
}

/// Opens for reading; never waits for the other end of a FIFO, never becomes a controlling terminal.
pub(super) fn open_for_reading(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Whether no process has the file open for writing, so that it will not grow. `None`: the kernel does not tell us (a read lease is for the
/// file's owner or a process with CAP_LEASE, and not on every file system).
pub(super) fn has_no_writer(file: &File) -> Option<bool> {
    /// `asm-generic/fcntl.h`; the libc crate does not have it.
    const F_SETSIG: libc::c_int = 10;
    use std::os::fd::AsRawFd;
    // Somebody who opens the file for writing while we have the lease waits until the next call gives it back, and we are sent a signal:
    // not SIGIO, which would end the process, but one that does nothing by default.
    // SAFETY: `fcntl` with F_SETSIG takes two integers and touches no memory of ours; the descriptor is open for as long as `file`
    // is borrowed.
    if unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) } != 0 {
        return None;
    }
    // SAFETY: as above.
    let taken = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
    if taken == 0 {
        // SAFETY: as above.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
        return Some(true);
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_small() {
        assert!(size_of::<Option<Tracked>>() <= 152, "{}", size_of::<Option<Tracked>>());
    }

    #[test]
    fn a_writer_is_seen() -> io::Result<()> {
        let writer = tempfile::NamedTempFile::new()?;
        let reader = open_for_reading(writer.path())?;
        assert_eq!(has_no_writer(&reader), Some(false));
        let path = writer.into_temp_path();
        assert_eq!(has_no_writer(&reader), Some(true));
        drop(path);
        assert_eq!(has_no_writer(&reader), Some(true));
        Ok(())
    }
}
