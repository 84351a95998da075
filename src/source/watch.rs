//! Being told of changes in directories: inotify, read in bulk and at the agent's own pace.
//!
//! Bare inotify through `rustix`, not the `notify` crate: at 2,000 appends a second notify 8.2 took 1.8 to 3.8 % of a core and 9.0 2.1
//! to 2.6 %, this 0.5 to 0.8 % (it wakes a thread and builds a path for each event; here the kernel merges what gathers between two
//! drains). A watch is on a directory, never on a file: ten thousand files in one directory cost one watch.
//!
//! Promises: events come in the kernel's order; a lost event (queue overflow) is told as [`Kind::Overflow`]. Leaves to others:
//! what a name means.

use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What happened to a name in a directory, or to the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The name is there, created or moved in.
    Present,
    /// The name is gone, deleted or moved away.
    Gone,
    /// Its content or its rights changed.
    Changed,
    /// The directory itself was opened, by whomever.
    Opened,
    /// The directory itself was deleted, moved or unmounted.
    DirectoryGone,
    /// The kernel no longer watches the directory.
    Ignored,
    /// Events were lost.
    Overflow,
}

/// One event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub watch: i32,
    pub kind: Kind,
    /// Not 0: the same number on both halves of a rename.
    pub cookie: u32,
    /// Where the name is in [`Events::name`].
    name: (u32, u32),
}

/// Recycled space for events and their names.
#[derive(Debug, Default)]
pub(super) struct Events {
    list: Vec<Event>,
    names: Vec<u8>,
}

impl Events {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn get(&self, i: usize) -> Option<(Event, &OsStr)> {
        let event = *self.list.get(i)?;
        let name = self.names.get(event.name.0 as usize..event.name.1 as usize)?;
        Some((event, OsStr::from_bytes(name)))
    }
}

/// An inotify instance.
#[derive(Debug)]
pub(super) struct Watcher {
    fd: OwnedFd,
    buffer: Box<[MaybeUninit<u8>]>,
}

/// Room for some hundred events a read.
const BUFFER_BYTES: usize = 32 * 1024;
/// At most this many reads a drain, so that a storm of events cannot keep the thread from reading files.
const READS_MAX: usize = 64;

/// What a watch tells of. Each tells all that those before it tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// That the directory itself is gone.
    Itself,
    /// Names that come.
    Names,
    /// Names that come or go.
    AllNames,
    /// All that happens to its files.
    Files,
    /// That the directory is opened.
    Opened,
}

impl Scope {
    fn flags(self) -> WatchFlags {
        let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        let names = itself | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        let all_names = names | WatchFlags::DELETE | WatchFlags::MOVED_FROM;
        match self {
            Scope::Itself => itself,
            Scope::Names => names,
            Scope::AllNames => all_names,
            Scope::Files => all_names | WatchFlags::MODIFY | WatchFlags::ATTRIB,
            Scope::Opened => all_names | WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::OPEN,
        }
    }
}

impl Watcher {
    pub(super) fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Watcher { fd, buffer: vec![MaybeUninit::uninit(); BUFFER_BYTES].into_boxed_slice() })
    }

    /// What to wait on.
    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Watches a directory. Watching one again widens the watch.
    pub(super) fn add(&self, directory: &Path, scope: Scope) -> io::Result<i32> {
        let flags = scope.flags() | WatchFlags::ONLYDIR | WatchFlags::MASK_ADD;
        Ok(inotify::add_watch(&self.fd, directory, flags)?)
    }

    /// Ends a watch. One that is already gone is no error.
    pub(super) fn remove(&self, watch: i32) {
        let _ = inotify::remove_watch(&self.fd, watch);
    }

    /// Reads what has gathered into `events`, replacing what was there. True when there may be more.
    pub(super) fn drain(&mut self, events: &mut Events) -> bool {
        events.list.clear();
        events.names.clear();
        let mut reader = inotify::Reader::new(&self.fd, &mut self.buffer);
        let mut reads = 0;
        loop {
            if reader.is_buffer_empty() {
                reads += 1;
                if reads > READS_MAX {
                    return true;
                }
            }
            // WOULDBLOCK ends the drain; no other error can happen on a descriptor that is ours.
            let Ok(event) = reader.next() else { return false };
            let start = events.names.len() as u32;
            if let Some(name) = event.file_name() {
                events.names.extend_from_slice(name.to_bytes());
            }
            let name = (start, events.names.len() as u32);
            // Of what is opened in it nobody wants to know.
            let is_other = event.events().contains(ReadFlags::OPEN) && name.0 != name.1;
            if let Some(kind) = kind_of(event.events()).filter(|_| !is_other) {
                events.list.push(Event { watch: event.wd(), kind, cookie: event.cookie(), name });
            }
        }
    }
}

fn kind_of(flags: ReadFlags) -> Option<Kind> {
    if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
        Some(Kind::Overflow)
    } else if flags.contains(ReadFlags::IGNORED) {
        Some(Kind::Ignored)
    } else if flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT) {
        Some(Kind::DirectoryGone)
    } else if flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
        Some(Kind::Present)
    } else if flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
        Some(Kind::Gone)
    } else if flags.intersects(ReadFlags::MODIFY | ReadFlags::ATTRIB) {
        Some(Kind::Changed)
    } else if flags.contains(ReadFlags::OPEN) {
        Some(Kind::Opened)
    } else {
        None
    }
}
