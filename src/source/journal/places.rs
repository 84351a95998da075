//! Which directories have journal files, and being told of changes in them.
//!
//! Promises: a directory is watched before it is listed, and where one is missing the nearest one above it is watched for its coming. Leaves to
//! others: the files.

use crate::format::journal::machine_directory;
use crate::source::watch::{Events, Kind, Scope, Watcher};
use foldhash::HashSet;
use rustix::fd::OwnedFd;
use std::io;
use std::path::{Path, PathBuf};

/// Where journald keeps its files: what lasts, and what is gone with the next boot.
const DEFAULT: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
/// The id of this host.
const MACHINE_ID: &str = "/etc/machine-id";

/// The watches of all sources.
#[derive(Debug)]
pub(super) struct Watches {
    watcher: Option<Watcher>,
    events: Events,
    /// Directories by their names; some have several, over links.
    watched: Vec<(PathBuf, i32)>,
    /// Those that were asked for since [`Watches::begin`].
    wanted: Vec<(PathBuf, i32)>,
    /// How often names came or went, or may have.
    names: u64,
    /// Files that changed since they were taken last. They are for all sources: whoever drains the events does so for the others as well.
    changed: HashSet<PathBuf>,
    /// Somebody opened a directory.
    opened: bool,
}

impl Watches {
    pub(super) fn new() -> Watches {
        let watcher = Watcher::new().inspect_err(|error| {
            tracing::warn!(
                %error,
                "cannot be told of changes, so the journal is looked at every second; raise fs.inotify.max_user_instances"
            );
        });
        Watches {
            watcher: watcher.ok(),
            events: Events::default(),
            watched: Vec::new(),
            wanted: Vec::new(),
            names: 0,
            changed: HashSet::default(),
            opened: false,
        }
    }

    /// What to wait on; `None`: nobody tells of changes.
    pub(super) fn fd(&self) -> Option<&OwnedFd> {
        self.watcher.as_ref().map(Watcher::fd)
    }

    /// Takes in what has gathered. It stays until the worker has told all sources.
    pub(super) fn drain(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut more = true;
        while more {
            more = watcher.drain(&mut self.events);
            for at in 0..self.events.len() {
                let Some((event, name)) = self.events.get(at) else { continue };
                match event.kind {
                    Kind::Changed => {
                        let its = self.watched.iter().filter(|(_, watch)| *watch == event.watch);
                        self.changed.extend(its.map(|(directory, _)| directory.join(name)));
                    }
                    Kind::Ignored => {
                        self.watched.retain(|(_, watch)| *watch != event.watch);
                        self.wanted.retain(|(_, watch)| *watch != event.watch);
                    }
                    Kind::Opened => self.opened = true,
                    _ => self.names += 1,
                }
            }
        }
    }

    /// How often names have come or gone, or may have: who listed directories at this count has seen all.
    pub(super) fn names(&self) -> u64 {
        self.names
    }

    /// Whether there are files that changed.
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Whether somebody has opened a directory since this was asked last.
    pub(super) fn take_opened(&mut self) -> bool {
        std::mem::take(&mut self.opened)
    }

    /// The files that changed.
    pub(super) fn take_changed(&mut self) -> HashSet<PathBuf> {
        std::mem::take(&mut self.changed)
    }

    /// What is not asked for from now on, up to [`Watches::end`], is not watched any more.
    pub(super) fn begin(&mut self) {
        self.wanted.clear();
    }

    pub(super) fn end(&mut self) {
        let Some(watcher) = &self.watcher else { return };
        let gone: Vec<_> = self.watched.extract_if(.., |watched| !self.wanted.contains(watched)).collect();
        for (_, watch) in gone {
            if !self.watched.iter().any(|(_, other)| *other == watch) {
                watcher.remove(watch);
            }
        }
    }

    fn watch(&mut self, directory: &Path, scope: Scope) -> bool {
        let Some(watcher) = &self.watcher else { return true };
        // One that is gone and there again has another watch; the same one keeps its own.
        let Ok(watch) = watcher.add(directory, scope) else { return false };
        for list in [&mut self.watched, &mut self.wanted] {
            if !list.iter().any(|(path, known)| *known == watch && path == directory) {
                list.push((directory.to_owned(), watch));
            }
        }
        true
    }
}

/// Where a source looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    /// One directory, with all in it; or those of this host's journald.
    path: Option<PathBuf>,
}

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Directories {
    /// Directories with files.
    pub list: Vec<PathBuf>,
    /// What cannot be read, and why.
    pub failed: Vec<(PathBuf, io::Error)>,
}

impl Places {
    pub(super) fn new(path: Option<PathBuf>) -> Places {
        Places { path }
    }

    /// Where it looks, for people.
    pub(super) fn named(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => DEFAULT.join(" or "),
        }
    }

    /// Finds the directories, and watches them.
    pub(super) fn directories(&self, watches: &mut Watches) -> Directories {
        let mut found = Directories::default();
        match &self.path {
            Some(path) => {
                if watch_or_wait(path, Scope::Files, watches) {
                    found.list.push(path.clone());
                    machines(path, |_| true, &mut found);
                }
            }
            None => {
                let own = std::fs::read_to_string(MACHINE_ID).unwrap_or_default();
                let own = own.trim();
                for root in DEFAULT.map(Path::new) {
                    if watch_or_wait(root, Scope::AllNames, watches) {
                        // Those of journald's namespaces are somebody else's.
                        let is_plain =
                            |name: &str| machine_directory(name).is_some_and(|(_, namespace)| namespace.is_none());
                        machines(root, is_plain, &mut found);
                    }
                }
                // Where a host's directories are mounted into a container the id is another one.
                let is_own = |path: &PathBuf| path.file_name().is_some_and(|name| name == own);
                if found.list.iter().any(is_own) {
                    found.list.retain(is_own);
                }
            }
        }
        found.list.retain(|directory| watches.watch(directory, Scope::Opened) || directory.is_dir());
        found
    }
}

/// Watches a directory, or the nearest one above it that is there. True if it is there itself.
fn watch_or_wait(directory: &Path, scope: Scope, watches: &mut Watches) -> bool {
    let mut at = directory;
    let mut scope = scope;
    loop {
        if at.is_dir() && watches.watch(at, scope) {
            // It may have come between.
            return at == directory || directory.is_dir();
        }
        if at.is_dir() && at == directory {
            return true;
        }
        scope = Scope::Names;
        match at.parent() {
            Some(parent) => at = parent,
            None => return false,
        }
    }
}

/// The directories of machines in a directory.
fn machines(root: &Path, is_wanted: impl Fn(&str) -> bool, found: &mut Directories) {
    let listed = match std::fs::read_dir(root) {
        Ok(listed) => listed,
        Err(error) => {
            found.failed.push((root.to_owned(), error));
            return;
        }
    };
    for entry in listed.flatten() {
        let name = entry.file_name();
        let is_machine = name.to_str().is_some_and(|name| machine_directory(name).is_some() && is_wanted(name));
        if is_machine && entry.path().is_dir() {
            found.list.push(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that two sources name in two ways is one to the kernel: both are told of what changes in it, as they name it.
    #[test]
    fn each_name_of_a_directory_is_told() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let changed = |watches: &mut Watches| {
            std::fs::write(real.join("a.journal"), "x").unwrap();
            watches.drain();
            let mut changed: Vec<PathBuf> = watches.take_changed().into_iter().collect();
            changed.sort();
            changed
        };
        let places = [&real, &link].map(|path| Places::new(Some(path.clone())));
        let mut watches = Watches::new();
        for _ in 0..3 {
            assert!(places.iter().all(|places| places.directories(&mut watches).list.len() == 1));
        }
        assert_eq!(changed(&mut watches), [link.join("a.journal"), real.join("a.journal")]);
        watches.take_opened();
        let _ = std::fs::File::open(real.join("a.journal")).unwrap();
        watches.drain();
        assert!(!watches.take_opened());
        let _ = std::fs::read_dir(&real).unwrap();
        watches.drain();
        assert!(watches.take_opened() && !watches.take_opened() && !watches.has_changed());
        assert_eq!(watches.wanted.len(), 2);
        // Without one of them it is still watched under the other.
        watches.begin();
        places[1].directories(&mut watches);
        watches.end();
        assert_eq!(changed(&mut watches), [link.join("a.journal")]);
        watches.begin();
        watches.end();
        assert!(changed(&mut watches).is_empty());
    }
}
