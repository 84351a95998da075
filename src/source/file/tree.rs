//! The directories that patterns lead through, and the watches on them.
//!
//! Every pattern is followed from the root, one component at a time. A directory keeps the **states** of the patterns that lead through it
//! (see [`super::pattern`]). How closely it is watched follows from them ([`Scope`]): for all that happens to files where files may match,
//! for names where a wildcard may match a directory or where a name is missing that a pattern needs. A directory that only leads to one
//! that exists is watched for its own sake alone: nobody wants to be woken by everything in /tmp.
//!
//! A directory is its device, inode and birth time; its path only leads to it. What a path leads to now is compared with what was
//! noted before it was watched: so a renamed, replaced or mounted-over directory is told from one that is still there.
//!
//! Promises: a directory is watched before it is read, so that nothing falls between; what cannot be watched (the limit of watches, a
//! network or FUSE file system) is polled; a directory that could not be read is not taken for an empty one. `**` does not follow symbolic
//! links to directories; other components do. Leaves to others: files.

use super::identity::{Identity, stat_path};
use super::pattern::{Component, Excludes, Pattern};
use crate::base::limits::DIRECTORY_DEPTH;
use crate::source::watch::{Scope, Watcher};
use foldhash::{HashMap, HashMapExt};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::FileType;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

/// A directory of the tree. Numbers of directories that are gone are used again.
pub(super) type DirId = u32;

/// Where a source looks.
#[derive(Debug)]
pub(super) struct Rules {
    pub patterns: Vec<Pattern>,
    pub excludes: Excludes,
}

/// How far a pattern has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    source: u16,
    pattern: u16,
    at: u16,
}

/// What is known of the names in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    /// It was not looked at in this pass.
    Skipped,
    /// Only the names that patterns spell out were looked up.
    LookedUp,
    /// Reading it failed, perhaps half-way.
    Failed,
    /// Every name was seen.
    Complete,
}

#[derive(Debug)]
struct Dir {
    path: PathBuf,
    /// What the path led to when it was last followed.
    identity: Option<Identity>,
    watch: Option<(i32, Scope)>,
    polled: bool,
    listing: Listing,
    /// That it cannot be listed was told.
    failing: bool,
    states: Vec<State>,
    /// How many followed files are here only because a link leads to them.
    aliases: u32,
}

/// Names found in directories: a hundred thousand of them take up little more than their bytes, and are gone without a trace.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// All names, one after the other.
    names: Vec<u8>,
    /// Directory, where the name ends, inode.
    list: Vec<(DirId, usize, u64)>,
}

/// A name found in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoundName<'a> {
    pub dir: DirId,
    pub name: &'a OsStr,
    /// As the directory says: of a link, its own.
    pub inode: u64,
}

impl Found {
    fn push(&mut self, dir: DirId, name: &OsStr, inode: u64) {
        self.names.extend_from_slice(name.as_bytes());
        self.list.push((dir, self.names.len(), inode));
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<FoundName<'_>> {
        let (dir, end, inode) = *self.list.get(at)?;
        let start = at.checked_sub(1).and_then(|before| self.list.get(before)).map_or(0, |(_, end, _)| *end);
        Some(FoundName { dir, name: OsStr::from_bytes(self.names.get(start..end)?), inode })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = FoundName<'_>> {
        (0..self.len()).filter_map(|at| self.get(at))
    }
}

/// A directory began or ceased to fail when it was listed.
#[derive(Debug)]
pub(super) struct Listed {
    pub path: PathBuf,
    /// Whose patterns lead through it.
    pub sources: Vec<u16>,
    /// `None`: it fails no longer.
    pub error: Option<io::Error>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Tree {
    rules: Vec<Rules>,
    dirs: Vec<Option<Dir>>,
    free: Vec<DirId>,
    /// Numbers that are not to be used again before their names are taken back; see [`Tree::gone`].
    dropped: Vec<DirId>,
    by_path: HashMap<PathBuf, DirId>,
    by_watch: HashMap<i32, Vec<DirId>>,
    watcher: Option<Watcher>,
    /// Causes for which watching failed, as error numbers: each is told once.
    told: Vec<i32>,
    told_depth: bool,
    listed: Vec<Listed>,
}

impl Tree {
    /// A tree without directories; see [`Tree::plant`]. Without a watcher everything is polled.
    pub(super) fn new(rules: Vec<Rules>, watcher: Option<Watcher>) -> Self {
        Tree {
            rules,
            dirs: Vec::new(),
            free: Vec::new(),
            dropped: Vec::new(),
            by_path: HashMap::new(),
            by_watch: HashMap::new(),
            watcher,
            told: Vec::new(),
            told_depth: false,
            listed: Vec::new(),
        }
    }

    /// Directories that began or ceased to fail since the last call.
    pub(super) fn take_listed(&mut self) -> Vec<Listed> {
        std::mem::take(&mut self.listed)
    }

    pub(super) fn watcher(&mut self) -> Option<&mut Watcher> {
        self.watcher.as_mut()
    }

    /// Follows all patterns from the root as far as they lead; names of files go into `found`.
    pub(super) fn plant(&mut self, found: &mut Found) {
        let mut states = Vec::new();
        for (source, rules) in (0u16..).zip(&self.rules) {
            for (pattern, _) in (0u16..).zip(&rules.patterns) {
                states.push(State { source, pattern, at: 0 });
            }
        }
        let root = Path::new("/");
        let (id, _) = self.enter(root, &states, stat_path(root).ok().map(|s| s.identity));
        self.explore(vec![id], true, found);
    }

    /// Looks again at every directory; new ones are followed, and those that became others are watched anew. Names of files go into `found`.
    pub(super) fn sweep(&mut self, found: &mut Found) {
        for dir in self.dirs.iter_mut().flatten() {
            dir.listing = Listing::Skipped;
        }
        self.plant(found);
        let aliases: Vec<(DirId, PathBuf)> = (0..)
            .zip(&self.dirs)
            .filter_map(|(id, dir)| Some((id, dir.as_ref()?)))
            .filter(|(_, dir)| dir.states.is_empty() && dir.aliases > 0)
            .map(|(id, dir)| (id, dir.path.clone()))
            .collect();
        for (id, path) in aliases {
            if let Ok(stat) = stat_path(&path) {
                self.enter(&path, &[], Some(stat.identity));
            }
            self.explore(vec![id], false, found);
        }
    }

    /// Directories that nobody tells us about.
    pub(super) fn polled(&self) -> Vec<DirId> {
        self.ids().filter(|id| self.dir(*id).is_some_and(|d| d.polled)).collect()
    }

    /// Reads one directory again. Those below that are known are watched or polled themselves.
    pub(super) fn look(&mut self, id: DirId, found: &mut Found) {
        self.explore(vec![id], false, found);
    }

    /// Whether a name that was not found when its directory was last read is not there. If reading failed, nobody knows.
    pub(super) fn lacks(&self, id: DirId, name: &OsStr) -> bool {
        let Some(dir) = self.dir(id) else { return true };
        match dir.listing {
            Listing::Complete => true,
            Listing::LookedUp => dir.path.join(name).symlink_metadata().is_err_and(|error| is_absent(&error)),
            Listing::Skipped | Listing::Failed => false,
        }
    }

    /// Directories of a watch.
    pub(super) fn watched(&self, watch: i32) -> &[DirId] {
        self.by_watch.get(&watch).map_or(&[], Vec::as_slice)
    }

    pub(super) fn path(&self, id: DirId) -> Option<&Path> {
        self.dir(id).map(|d| d.path.as_path())
    }

    /// Where a source looks.
    pub(super) fn rules(&self, source: u16) -> Option<&Rules> {
        self.rules.get(usize::from(source))
    }

    /// The directory of this path.
    pub(super) fn id_at(&self, path: &Path) -> Option<DirId> {
        self.by_path.get(path).copied()
    }

    /// All directories.
    pub(super) fn ids(&self) -> impl Iterator<Item = DirId> + '_ {
        (0..).zip(&self.dirs).filter(|(_, d)| d.is_some()).map(|(id, _)| id)
    }

    /// The sources for which a file of this name matches.
    pub(super) fn matches(&self, id: DirId, name: &OsStr) -> Vec<u16> {
        let mut sources = Vec::new();
        let Some(dir) = self.dir(id) else { return sources };
        for state in &dir.states {
            let Some(rules) = self.rules.get(usize::from(state.source)) else { continue };
            let Some(pattern) = rules.patterns.get(usize::from(state.pattern)) else { continue };
            if !sources.contains(&state.source)
                && pattern.step(state.at, name).file
                && !rules.excludes.file(&dir.path.join(name))
            {
                sources.push(state.source);
            }
        }
        sources
    }

    /// Whether a source's exclude patterns leave out a file of this name.
    pub(super) fn is_excluded(&self, source: u16, id: DirId, name: &OsStr) -> bool {
        let Some(dir) = self.dir(id) else { return false };
        self.rules.get(usize::from(source)).is_some_and(|rules| rules.excludes.file(&dir.path.join(name)))
    }

    /// A name is there: if it is a directory that patterns lead into, it is followed, and its files go into `found`.
    pub(super) fn present(&mut self, id: DirId, name: &OsStr, found: &mut Found) {
        let mut todo = Vec::new();
        self.lead(id, name, false, &mut todo);
        self.explore(todo, false, found);
    }

    /// A name may be gone, or lead elsewhere: the directory there, and those above it, are dropped with all that is below them if their
    /// paths do not lead to them any more. Gives the dropped ones and their paths; when their names are taken back, [`Tree::renew`] is due.
    pub(super) fn gone(&mut self, path: &Path) -> Vec<(DirId, PathBuf)> {
        let mut top = None;
        for at in path.ancestors() {
            match self.by_path.get(at) {
                Some(id) if self.is_gone(*id) => top = Some(at),
                // A file's name.
                None if at == path => {}
                _ => break,
            }
        }
        let Some(top) = top else {
            if !self.by_path.contains_key(path) {
                self.expect_removal(path);
            }
            return Vec::new();
        };
        let below: Vec<DirId> =
            self.ids().filter(|id| self.dir(*id).is_some_and(|d| d.path.starts_with(top))).collect();
        let mut gone = Vec::new();
        for id in below {
            self.dropped.push(id);
            gone.extend(self.drop_dir(id).map(|path| (id, path)));
        }
        gone
    }

    /// After [`Tree::gone`]: whoever leads to the lost directory waits for it, or follows what is there now. Names of files go into `found`.
    pub(super) fn renew(&mut self, path: &Path, found: &mut Found) {
        self.free.append(&mut self.dropped);
        let known = path.ancestors().find_map(|at| {
            let above = self.by_path.get(at.parent()?)?;
            Some((*above, at.file_name()?.to_owned()))
        });
        if let Some((id, name)) = known {
            let mut todo = Vec::new();
            self.lead_or_wait(id, &name, false, &mut todo);
            self.explore(todo, false, found);
        }
    }

    /// The kernel dropped a watch: those directories are watched anew and read again if they are still there.
    pub(super) fn ignored(&mut self, watch: i32, found: &mut Found) {
        for id in self.by_watch.remove(&watch).unwrap_or_default() {
            if let Some(dir) = self.dirs.get_mut(id as usize).and_then(Option::as_mut)
                && dir.watch.is_some_and(|(other, _)| other == watch)
            {
                dir.watch = None;
                self.explore(vec![id], false, found);
            }
        }
    }

    /// The directory in which the target of a linked file lives, watched for the file's sake. See [`Tree::unalias`].
    pub(super) fn alias(&mut self, path: &Path) -> DirId {
        let (id, _) = self.enter(path, &[], stat_path(path).ok().map(|s| s.identity));
        if let Some(dir) = self.dirs.get_mut(id as usize).and_then(Option::as_mut) {
            dir.aliases += 1;
        }
        self.watch(id, Scope::Files);
        id
    }

    /// A linked file no longer needs its target's directory.
    pub(super) fn unalias(&mut self, id: DirId) {
        let Some(dir) = self.dirs.get_mut(id as usize).and_then(Option::as_mut) else { return };
        dir.aliases = dir.aliases.saturating_sub(1);
        if dir.aliases == 0 && dir.states.is_empty() {
            self.drop_dir(id);
            self.free.push(id);
        }
    }

    fn dir(&self, id: DirId) -> Option<&Dir> {
        self.dirs.get(id as usize)?.as_ref()
    }

    fn id_of(&mut self, path: &Path) -> DirId {
        if let Some(id) = self.by_path.get(path) {
            return *id;
        }
        let dir = Dir {
            path: path.to_owned(),
            identity: None,
            watch: None,
            polled: false,
            listing: Listing::Skipped,
            failing: false,
            states: Vec::new(),
            aliases: 0,
        };
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.dirs.push(None);
                (self.dirs.len() - 1) as DirId
            }
        };
        if let Some(place) = self.dirs.get_mut(id as usize) {
            *place = Some(dir);
        }
        self.by_path.insert(path.to_owned(), id);
        id
    }

    /// Forgets a directory and gives its path. Its number is not yet free.
    fn drop_dir(&mut self, id: DirId) -> Option<PathBuf> {
        self.unwatch(id);
        let dir = self.dirs.get_mut(id as usize).and_then(Option::take)?;
        if dir.failing {
            let sources = sources_of(&dir);
            self.listed.push(Listed { path: dir.path.clone(), sources, error: None });
        }
        self.by_path.remove(&dir.path);
        Some(dir.path)
    }

    /// Ends the watch of a directory, unless the same directory is watched under another path.
    fn unwatch(&mut self, id: DirId) {
        let watch = self.dirs.get_mut(id as usize).and_then(Option::as_mut).and_then(|dir| dir.watch.take());
        if let Some((watch, _)) = watch
            && let Some(ids) = self.by_watch.get_mut(&watch)
        {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_watch.remove(&watch);
                if let Some(watcher) = &self.watcher {
                    watcher.remove(watch);
                }
            }
        }
    }

    /// Whether a directory's path surely does not lead to it any more.
    fn is_gone(&self, id: DirId) -> bool {
        let Some(dir) = self.dir(id) else { return true };
        match stat_path(&dir.path) {
            Ok(stat) => !stat.is_directory || dir.identity.is_some_and(|noted| noted != stat.identity),
            Err(error) => is_absent(&error),
        }
    }

    /// A name in a directory is gone. If it was the last one, the directory itself may be about to go. It does not tell that before
    /// the last of its files is closed, so whoever leads to it is asked to tell.
    fn expect_removal(&mut self, name: &Path) {
        let Some(path) = name.parent() else { return };
        let above = path.parent().and_then(|above| self.by_path.get(above)).copied();
        if let Some(above) = above
            && self.by_path.contains_key(path)
            && is_empty(path)
        {
            self.watch(above, Scope::AllNames);
        }
    }

    /// States that hold in the directory `name` of directory `id`. Through a link only components other than `**` lead.
    fn states_into(&self, id: DirId, name: &OsStr, any_depth: bool) -> Vec<State> {
        let mut into = Vec::new();
        let Some(dir) = self.dir(id) else { return into };
        for state in &dir.states {
            let Some(rules) = self.rules.get(usize::from(state.source)) else { continue };
            let Some(pattern) = rules.patterns.get(usize::from(state.pattern)) else { continue };
            if !any_depth && matches!(pattern.component(state.at), Some(Component::AnyDepth)) {
                continue;
            }
            let step = pattern.step(state.at, name);
            if step.into.iter().all(Option::is_none) || rules.excludes.directory(&dir.path.join(name)) {
                continue;
            }
            into.extend(step.into.into_iter().flatten().map(|at| State { at, ..*state }));
        }
        into
    }

    /// Adds states to a directory. If it is not the one that was there, its watch is given up. True when anything is new.
    fn enter(&mut self, path: &Path, states: &[State], identity: Option<Identity>) -> (DirId, bool) {
        let mut is_new = !self.by_path.contains_key(path);
        let id = self.id_of(path);
        for state in states {
            let Some(pattern) = self.pattern(*state) else { continue };
            let closed: Vec<State> = pattern.closure(state.at).map(|at| State { at, ..*state }).collect();
            if let Some(dir) = self.dirs.get_mut(id as usize).and_then(Option::as_mut) {
                for state in closed {
                    if !dir.states.contains(&state) {
                        dir.states.push(state);
                        is_new = true;
                    }
                }
            }
        }
        if self.dir(id).is_some_and(|dir| dir.identity != identity) {
            self.unwatch(id);
            is_new = true;
        }
        if let Some(dir) = self.dirs.get_mut(id as usize).and_then(Option::as_mut) {
            dir.identity = identity;
            is_new |= matches!(dir.listing, Listing::Skipped | Listing::Failed);
        }
        (id, is_new)
    }

    fn pattern(&self, state: State) -> Option<&Pattern> {
        self.rules.get(usize::from(state.source))?.patterns.get(usize::from(state.pattern))
    }

    /// Enters what a name leads to. With `all`, or if it is new, it goes onto `todo`. False when patterns lead there and no directory is there.
    fn lead(&mut self, id: DirId, name: &OsStr, all: bool, todo: &mut Vec<DirId>) -> bool {
        let mut states = self.states_into(id, name, true);
        let Some(dir) = self.dir(id).filter(|_| !states.is_empty()) else { return true };
        let path = dir.path.join(name);
        let identity = match stat_path(&path) {
            Ok(stat) if stat.is_directory => stat.identity,
            _ => return false,
        };
        if path.is_symlink() {
            states = self.states_into(id, name, false);
        }
        if states.is_empty() {
            return true;
        }
        if path.components().count() > DIRECTORY_DEPTH {
            if !std::mem::replace(&mut self.told_depth, true) {
                tracing::warn!(
                    directory = %path.display(), limit = DIRECTORY_DEPTH,
                    "directories are nested too deeply: files from here on are not read; exclude the directory, or move it up"
                );
            }
            return true;
        }
        let (child, is_new) = self.enter(&path, &states, Some(identity));
        if all || is_new {
            todo.push(child);
        }
        true
    }

    /// The same for a name that a pattern spells out: if it is missing, the directory is watched until it comes.
    fn lead_or_wait(&mut self, id: DirId, name: &OsStr, all: bool, todo: &mut Vec<DirId>) {
        if !self.lead(id, name, all, todo) {
            self.watch(id, Scope::Names);
            // It may have come just before the watch.
            self.lead(id, name, all, todo);
        }
    }

    /// Reads directories and those below that are new, or, with `all`, all below. With a list, not by recursion: trees may be deep.
    fn explore(&mut self, mut todo: Vec<DirId>, all: bool, found: &mut Found) {
        while let Some(id) = todo.pop() {
            self.read(id, all, found, &mut todo);
        }
    }

    /// Watches a directory and then reads it. A directory without wildcards is not listed: its literal names are looked up.
    fn read(&mut self, id: DirId, all: bool, found: &mut Found, todo: &mut Vec<DirId>) {
        let Some(dir) = self.dir(id) else { return };
        let path = dir.path.clone();
        let mut literals: Vec<&OsString> = Vec::new();
        let mut lists = dir.aliases > 0;
        for state in &dir.states {
            let Some(pattern) = self.pattern(*state) else { continue };
            match pattern.component(state.at) {
                // Files beside a literal last name are listed too: the rotated file has another name.
                Some(Component::Literal(name)) if !pattern.ends_here(state.at) => literals.push(name),
                Some(_) => lists = true,
                None => {}
            }
        }
        // Many patterns begin alike.
        literals.sort_unstable();
        literals.dedup();
        let literals: Vec<OsString> = literals.into_iter().cloned().collect();
        if lists {
            self.watch(id, Scope::AllNames);
            self.list(id, &path, all, found, todo);
        } else {
            let is_told_of = path.parent().is_none_or(|p| {
                self.by_path.get(p).and_then(|p| self.dir(*p)?.watch).is_some_and(|(_, s)| s >= Scope::AllNames)
            });
            if !is_told_of {
                self.watch(id, Scope::Itself);
            }
            self.set_listing(id, Listing::LookedUp, None);
        }
        for name in literals {
            self.lead_or_wait(id, &name, all, todo);
        }
    }

    fn list(&mut self, id: DirId, path: &Path, all: bool, found: &mut Found, todo: &mut Vec<DirId>) {
        let mut directories = Vec::new();
        let mut take = || {
            for entry in std::fs::read_dir(path)? {
                let entry = entry?;
                let name = entry.file_name();
                let kind = entry.file_type().ok();
                if kind.is_none_or(|k: FileType| k.is_file() || k.is_symlink()) {
                    found.push(id, &name, entry.ino());
                }
                if kind.is_none_or(|k| k.is_dir() || k.is_symlink()) {
                    directories.push(name);
                }
            }
            Ok(())
        };
        match take() {
            Ok(()) => self.set_listing(id, Listing::Complete, None),
            // A directory that is gone has no names.
            Err(error) if is_absent(&error) => self.set_listing(id, Listing::Complete, None),
            Err(error) => self.set_listing(id, Listing::Failed, Some(error)),
        }
        for name in directories {
            self.lead(id, &name, all, todo);
        }
    }

    /// Notes how reading a directory went.
    fn set_listing(&mut self, id: DirId, listing: Listing, error: Option<io::Error>) {
        let Some(dir) = self.dirs.get_mut(id as usize).and_then(Option::as_mut) else { return };
        dir.listing = listing;
        if dir.failing != error.is_some() {
            dir.failing = error.is_some();
            let sources = sources_of(dir);
            self.listed.push(Listed { path: dir.path.clone(), sources, error });
        }
    }

    /// Puts a watch on a directory, or arranges that it is polled. Where files may match, or links lead to files, the watch is for them.
    fn watch(&mut self, id: DirId, scope: Scope) {
        let Some(dir) = self.dir(id) else { return };
        let ends = |s: &State| self.pattern(*s).is_some_and(|p| p.ends_here(s.at));
        let scope = if dir.aliases > 0 || dir.states.iter().any(ends) { Scope::Files } else { scope };
        if dir.watch.is_some_and(|(_, now)| now >= scope) {
            return;
        }
        let path = dir.path.clone();
        let before = dir.watch.map(|(watch, _)| watch);
        let result = match &self.watcher {
            Some(watcher) => watcher.add(&path, scope),
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        let polled = match &result {
            // Nothing in it matters.
            _ if scope == Scope::Itself => false,
            Ok(_) => tells_nothing(&path),
            // Not there: whoever leads to it tells when it comes.
            Err(error) if is_absent(error) => false,
            Err(error) => {
                self.tell_unwatched(&path, error);
                true
            }
        };
        if result.as_ref().is_ok_and(|watch| before != Some(*watch)) {
            // If there was one, the path led elsewhere by now: nothing is to be taken for the directory that was there.
            self.unwatch(id);
        }
        if let Some(dir) = self.dirs.get_mut(id as usize).and_then(Option::as_mut) {
            dir.polled = polled;
            if let Ok(watch) = result {
                dir.watch = Some((watch, scope));
                if before != Some(watch) {
                    self.by_watch.entry(watch).or_default().push(id);
                }
            }
        }
    }

    /// Tells that a directory cannot be watched: once for each cause.
    fn tell_unwatched(&mut self, path: &Path, error: &io::Error) {
        // That there is nothing to watch with was told when it was found.
        let Some(cause) = error.raw_os_error().filter(|cause| !self.told.contains(cause)) else { return };
        self.told.push(cause);
        let remedy = match Errno::from_raw_os_error(cause) {
            Errno::NOSPC => "; the limit of watches is reached: raise fs.inotify.max_user_watches".to_owned(),
            Errno::ACCESS | Errno::PERM => {
                let uid = rustix::process::geteuid().as_raw();
                format!("; give user {uid} the right to read it and to enter all directories above it")
            }
            _ => String::new(),
        };
        tracing::warn!(
            directory = %path.display(), %error,
            "cannot watch a directory, so it is looked at every second{remedy}; other directories with this problem are not told"
        );
    }
}

/// The sources whose patterns lead through a directory.
fn sources_of(dir: &Dir) -> Vec<u16> {
    let mut sources: Vec<u16> = dir.states.iter().map(|s| s.source).collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}

/// Whether a directory has no names. Only the first few are asked for.
fn is_empty(path: &Path) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 512];
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(fd) = rustix::fs::open(path, flags, Mode::empty()) else { return false };
    let mut entries = RawDir::new(fd, &mut buffer);
    loop {
        match entries.next() {
            None => return true,
            Some(Ok(entry)) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
            Some(_) => return false,
        }
    }
}

/// Whether the error says that nothing is there.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether the directory is on a file system that changes without the kernel knowing: on another machine or in another program.
fn tells_nothing(path: &Path) -> bool {
    /// `statfs(2)`: NFS, SMB, SMB2, CIFS, 9p, FUSE, Ceph, AFS, OCFS2, GFS2.
    const REMOTE: [u64; 10] = [
        0x6969,
        0x517b,
        0xfe53_4d42,
        0xff53_4d42,
        0x0102_1997,
        0x6573_5546,
        0x00c3_6400,
        0x5346_414f,
        0x7461_636f,
        0x0116_1970,
    ];
    rustix::fs::statfs(path).is_ok_and(|s| REMOTE.contains(&(s.f_type as u64 & 0xffff_ffff)))
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
