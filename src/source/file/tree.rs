//! The directories that patterns lead through, and the watches on them.
//!
//! Every pattern is followed from the root, one component at a time. A directory keeps the **states** of the patterns that lead through it
//! (see [`super::pattern`]). It is watched when something new in it can matter: files that may match, directories that a wildcard may
//! match, or a name that a pattern needs and that is not there yet. A directory that only leads to one that exists is not
//! watched: nobody wants to be woken by everything in /tmp.
//!
//! Promises: a directory is watched before it is read, so that nothing falls between; what cannot be watched (the limit of watches, a
//! network or FUSE file system) is polled. `**` does not follow symbolic links to directories; other components do.
//! Leaves to others: files.

use super::identity::stat_path;
use super::pattern::{Component, Excludes, Pattern};
use super::watch::Watcher;
use foldhash::{HashMap, HashMapExt};
use std::ffi::{OsStr, OsString};
use std::fs::FileType;
use std::io;
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

#[derive(Debug)]
struct Dir {
    path: PathBuf,
    watch: Option<i32>,
    /// Whether the watch tells of files.
    watches_files: bool,
    polled: bool,
    states: Vec<State>,
    /// How many followed files are here only because a link leads to them.
    aliases: u32,
}

/// A name found in a directory.
#[derive(Debug)]
pub(super) struct Found {
    pub dir: DirId,
    pub name: OsString,
    pub inode: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Tree {
    rules: Vec<Rules>,
    dirs: Vec<Option<Dir>>,
    free: Vec<DirId>,
    by_path: HashMap<PathBuf, DirId>,
    by_watch: HashMap<i32, Vec<DirId>>,
    watcher: Option<Watcher>,
    /// A problem with watching was told.
    told: bool,
    /// Directories that could not be listed, and whether the last attempt failed.
    unlisted: Vec<(PathBuf, Option<io::Error>)>,
}

impl Tree {
    /// A tree without directories; see [`Tree::plant`]. Without a watcher everything is polled.
    pub(super) fn new(rules: Vec<Rules>, watcher: Option<Watcher>) -> Self {
        Tree {
            rules,
            dirs: Vec::new(),
            free: Vec::new(),
            by_path: HashMap::new(),
            by_watch: HashMap::new(),
            watcher,
            told: false,
            unlisted: Vec::new(),
        }
    }

    /// Directories that failed to be listed since the last call, and those that could be listed.
    pub(super) fn take_listed(&mut self) -> Vec<(PathBuf, Option<io::Error>)> {
        std::mem::take(&mut self.unlisted)
    }

    /// The sources whose patterns lead through a directory.
    pub(super) fn sources_of(&self, path: &Path) -> Vec<u16> {
        let states = self.by_path.get(path).and_then(|id| self.dir(*id)).map_or(&[][..], |d| &d.states);
        let mut sources: Vec<u16> = states.iter().map(|s| s.source).collect();
        sources.dedup();
        sources
    }

    pub(super) fn watcher(&mut self) -> Option<&mut Watcher> {
        self.watcher.as_mut()
    }

    /// Follows all patterns from the root as far as they lead; names of files go into `found`.
    pub(super) fn plant(&mut self, found: &mut Vec<Found>) {
        let mut states = Vec::new();
        for (source, rules) in (0u16..).zip(&self.rules) {
            for (pattern, _) in (0u16..).zip(&rules.patterns) {
                states.push(State { source, pattern, at: 0 });
            }
        }
        self.enter(Path::new("/"), &states, found);
    }

    /// Looks again at every directory; new ones are followed. Names of files go into `found`.
    pub(super) fn sweep(&mut self, found: &mut Vec<Found>) {
        self.plant(found);
        let aliases: Vec<DirId> =
            self.ids().filter(|id| self.dir(*id).is_some_and(|d| d.states.is_empty() && d.aliases > 0)).collect();
        for id in aliases {
            self.read(id, found);
        }
    }

    /// Directories that nobody tells us about.
    pub(super) fn polled(&self) -> Vec<DirId> {
        self.ids().filter(|id| self.dir(*id).is_some_and(|d| d.polled)).collect()
    }

    /// Reads one directory again.
    pub(super) fn look(&mut self, id: DirId, found: &mut Vec<Found>) {
        self.read(id, found);
    }

    /// Directories of a watch.
    pub(super) fn watched(&self, watch: i32) -> &[DirId] {
        self.by_watch.get(&watch).map_or(&[], Vec::as_slice)
    }

    pub(super) fn path(&self, id: DirId) -> Option<&Path> {
        self.dir(id).map(|d| d.path.as_path())
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
    pub(super) fn present(&mut self, id: DirId, name: &OsStr, found: &mut Vec<Found>) {
        let Some(dir) = self.dir(id) else { return };
        let path = dir.path.join(name);
        let states = self.states_into(id, name, true);
        if !states.is_empty() && path.is_dir() {
            let is_link = path.is_symlink();
            let states = if is_link { self.states_into(id, name, false) } else { states };
            self.enter(&path, &states, found);
        }
    }

    /// A directory is gone (or a name that may have been one): it and what was below is dropped. Gives the dropped ones.
    pub(super) fn gone(&mut self, path: &Path) -> Vec<DirId> {
        if !self.by_path.contains_key(path) {
            return Vec::new();
        }
        let below: Vec<DirId> =
            self.ids().filter(|id| self.dir(*id).is_some_and(|d| d.path.starts_with(path))).collect();
        for id in &below {
            self.drop_dir(*id);
        }
        // Whoever leads here now has to wait for it.
        if let Some(parent) = path.parent().and_then(|p| self.by_path.get(p)).copied() {
            let mut nothing = Vec::new();
            self.read(parent, &mut nothing);
        }
        below
    }

    /// The kernel dropped a watch: those directories are watched anew if they are still there.
    pub(super) fn ignored(&mut self, watch: i32) {
        for id in self.by_watch.remove(&watch).unwrap_or_default() {
            if let Some(dir) = self.dirs.get_mut(id as usize).and_then(Option::as_mut)
                && dir.watch == Some(watch)
            {
                dir.watch = None;
                dir.watches_files = false;
                self.watch(id);
            }
        }
    }

    /// The directory in which the target of a linked file lives, watched for the file's sake. See [`Tree::unalias`].
    pub(super) fn alias(&mut self, path: &Path) -> DirId {
        let id = self.id_of(path);
        if let Some(dir) = self.dirs.get_mut(id as usize).and_then(Option::as_mut) {
            dir.aliases += 1;
        }
        self.watch(id);
        id
    }

    /// A linked file no longer needs its target's directory.
    pub(super) fn unalias(&mut self, id: DirId) {
        let Some(dir) = self.dirs.get_mut(id as usize).and_then(Option::as_mut) else { return };
        dir.aliases = dir.aliases.saturating_sub(1);
        if dir.aliases == 0 && dir.states.is_empty() {
            self.drop_dir(id);
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
            watch: None,
            watches_files: false,
            polled: false,
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

    fn drop_dir(&mut self, id: DirId) {
        let Some(dir) = self.dirs.get_mut(id as usize).and_then(Option::take) else { return };
        self.by_path.remove(&dir.path);
        self.free.push(id);
        if let Some(watch) = dir.watch
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

    /// Adds states to a directory, watches it, reads it, and goes on below.
    fn enter(&mut self, path: &Path, states: &[State], found: &mut Vec<Found>) {
        let id = self.id_of(path);
        for state in states {
            let Some(pattern) = self.pattern(*state) else { continue };
            let closed: Vec<State> = pattern.closure(state.at).map(|at| State { at, ..*state }).collect();
            if let Some(dir) = self.dirs.get_mut(id as usize).and_then(Option::as_mut) {
                for state in closed {
                    if !dir.states.contains(&state) {
                        dir.states.push(state);
                    }
                }
            }
        }
        self.read(id, found);
    }

    fn pattern(&self, state: State) -> Option<&Pattern> {
        self.rules.get(usize::from(state.source))?.patterns.get(usize::from(state.pattern))
    }

    /// Watches a directory and then reads it. A directory without wildcards is not listed: its literal names are looked up.
    fn read(&mut self, id: DirId, found: &mut Vec<Found>) {
        let Some(dir) = self.dir(id) else { return };
        let path = dir.path.clone();
        let is_alias = dir.aliases > 0;
        let mut literals: Vec<OsString> = Vec::new();
        let mut lists = is_alias;
        let mut ends = false;
        for state in &dir.states {
            let Some(pattern) = self.pattern(*state) else { continue };
            match pattern.component(state.at) {
                // Files beside a literal last name are listed too: the rotated file has another name.
                Some(Component::Literal(name)) if !pattern.ends_here(state.at) => literals.push(name.clone()),
                Some(_) => {
                    lists = true;
                    ends |= pattern.ends_here(state.at);
                }
                None => {}
            }
        }
        let missing = literals.iter().any(|name| !path.join(name).is_dir());
        if lists || ends || missing {
            self.watch(id);
        }
        if lists {
            self.list(id, &path, found);
        } else {
            for name in literals {
                self.present(id, &name, found);
            }
        }
    }

    fn list(&mut self, id: DirId, path: &Path, found: &mut Vec<Found>) {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            // A directory that is gone is told by its watch.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return,
            Err(error) => {
                self.unlisted.push((path.to_owned(), Some(error)));
                return;
            }
        };
        self.unlisted.push((path.to_owned(), None));
        let mut directories = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let kind = entry.file_type().ok();
            if kind.is_none_or(|k| k.is_dir() || k.is_symlink()) {
                directories.push(name.clone());
            }
            if kind.is_none_or(|k: FileType| k.is_file() || k.is_symlink()) {
                found.push(Found { dir: id, name, inode: entry.ino() });
            }
        }
        for name in directories {
            self.present(id, &name, found);
        }
    }

    /// Puts a watch on a directory, or arranges that it is polled.
    fn watch(&mut self, id: DirId) {
        let Some(dir) = self.dir(id) else { return };
        let ends = |s: &State| self.pattern(*s).is_some_and(|p| p.ends_here(s.at));
        let files = dir.aliases > 0 || dir.states.iter().any(ends);
        if dir.watch.is_some() && (dir.watches_files || !files) {
            return;
        }
        let path = dir.path.clone();
        let before = dir.watch;
        let result = match &self.watcher {
            Some(watcher) => watcher.add(&path, files),
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        let polled = match &result {
            Ok(_) => tells_nothing(&path),
            // Not there: the parent's watch tells when it comes.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => false,
            Err(error) => {
                if !self.told {
                    self.told = true;
                    tracing::warn!(
                        directory = %path.display(), %error,
                        "cannot watch a directory, so it is looked at every second; if the limit of watches is reached, raise \
                         fs.inotify.max_user_watches"
                    );
                }
                true
            }
        };
        if let Some(dir) = self.dirs.get_mut(id as usize).and_then(Option::as_mut) {
            dir.polled = polled;
            if let Ok(watch) = result {
                dir.watch = Some(watch);
                dir.watches_files |= files;
                if before != Some(watch) {
                    self.by_watch.entry(watch).or_default().push(id);
                }
            }
        }
    }
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

/// The real directory of a file that is reached through a link, and its real name; `None` if there is no link at the end.
pub(super) fn link_target(path: &Path) -> Option<(PathBuf, OsString)> {
    if !path.is_symlink() {
        return None;
    }
    let real = std::fs::canonicalize(path).ok()?;
    stat_path(&real).ok()?;
    Some((real.parent()?.to_owned(), real.file_name()?.to_owned()))
}
