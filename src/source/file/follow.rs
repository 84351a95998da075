//! Following files: what each event, each found name and each passing second mean for the set of followed files.
//!
//! Identity decides, not the path. A name that leads to another file than before ends nothing: the old file is **rotated**, read to its end and
//! finished first; the new one is read after it. A rotated file stays followed for as long as it has a name in a directory we see or a process
//! that writes to it.
//!
//! Promises: an error belongs to its file, is told once, and is tried again; a file is let go only when all that was read of it is stored.
//! Leaves to others: reading (`read`), scheduling (`worker`).

use super::files::Files;
use super::identity::{Identity, stat_file, stat_path};
use super::records::Decoder;
use super::saved::SavedFiles;
use super::settings::Settings;
use super::status::Status;
use super::tracked::{Failing, FileId, OpenError, Tracked};
use super::tree::{DirId, Found, FoundName, Tree};
use crate::base::limits::{FILE_RETRY_MS, FILE_RETRY_MS_MAX};
use crate::base::rate::Rate;
use crate::model::flow::StreamId;
use crate::source::problems::Denied;
use crate::source::stages::Pipeline;
use crate::source::watch::{Event, Kind};
use crate::store::checkpoint::Checkpoints;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::hash::BuildHasher;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One source, as the follower sees it.
#[derive(Debug)]
pub(super) struct Source {
    pub settings: Settings,
    pub status: Status,
    /// Which of the worker's outputs it writes to.
    pub output: usize,
    /// It has never read anything: `start_at: end` applies to what is there now.
    pub is_new: bool,
    /// It goes on with files of a source that is gone: those that were born after this time are to it as new ones are to a source that has run.
    pub replaces_since_ns: Option<i64>,
    /// It ran before the configuration was last read again: its files are known.
    pub carried: bool,
    /// Bytes written to the output and not yet stored.
    pub in_flight: u64,
    /// What may be read now.
    pub rate: Option<Rate>,
    /// What happens to its lines; `None`: nothing.
    pub pipeline: Option<Box<Pipeline>>,
    /// What its lines are, if they are records of what was received.
    pub records: Option<Box<Decoder>>,
    /// Paths that a person wrote out, without wildcards, and whether it was told that there is no file.
    pub literals: Vec<(PathBuf, bool)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Follow {
    pub sources: Vec<Source>,
    pub files: Files,
    pub store: Checkpoints,
    pub(super) tree: Tree,
    pub(super) saved: SavedFiles,
    /// Rotated files that are not finished.
    pub(super) unsettled: Vec<FileId>,
    pub(super) failing: Vec<FileId>,
    /// Open files with nothing to read, least recently used first.
    pub(super) idle: VecDeque<FileId>,
    pub(super) open: usize,
    /// The first half of a rename: its cookie, and what the name was to whom.
    pub(super) renamed: (u32, Vec<(u16, PathBuf)>),
    /// Links whose target is missing for a moment.
    pub(super) dangling: Vec<(u16, DirId, OsString, Instant)>,
    /// Streams whose files are gone or idle; the worker gives them back to their output.
    pub released: Vec<(usize, StreamId)>,
    /// The first scan is under way.
    pub(super) is_starting: bool,
    /// Events were lost.
    pub overflowed: bool,
    /// How many descriptors the process may have.
    pub(super) descriptors: usize,
    /// The file that the agent's own messages go to, if it is one.
    own_log: Option<Identity>,
    own_log_told: bool,
    stopping: Arc<AtomicBool>,
}

impl Follow {
    pub(super) fn new(
        sources: Vec<Source>,
        tree: Tree,
        saved: SavedFiles,
        store: Checkpoints,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        Follow {
            sources,
            files: Files::new(),
            store,
            tree,
            saved,
            unsettled: Vec::new(),
            failing: Vec::new(),
            idle: VecDeque::new(),
            open: 0,
            renamed: (0, Vec::new()),
            dangling: Vec::new(),
            released: Vec::new(),
            is_starting: true,
            overflowed: false,
            descriptors: descriptor_limit(),
            own_log: own_log(),
            own_log_told: false,
            stopping,
        }
    }

    /// Whether the agent is to stop, so that a long scan is not worth its end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn tree_mut(&mut self) -> &mut Tree {
        &mut self.tree
    }

    pub(super) fn found(&mut self, found: FoundName<'_>) {
        for source in self.tree.matches(found.dir, found.name) {
            self.present(source, found.dir, found.name, None);
        }
    }

    /// Paths that a person wrote out and that lead to nothing, or to no file: told once.
    pub(super) fn tell_missing(&mut self) {
        for source in &mut self.sources {
            for (path, told) in &mut source.literals {
                let problem = match stat_path(path) {
                    Ok(stat) if stat.is_file => None,
                    Ok(stat) if stat.is_directory => {
                        Some(format!("{0} is a directory: to read the files in it, write {0}/*", path.display()))
                    }
                    Ok(_) => Some(format!(
                        "{} is no regular file but a pipe, socket or device: it is not read",
                        path.display()
                    )),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        if !std::mem::replace(told, true) {
                            tracing::info!(
                                source = %source.settings.name, path = %path.display(),
                                "nothing is there yet; it will be read when it appears"
                            );
                        }
                        continue;
                    }
                    // What cannot be looked at is told by those who look.
                    Err(_) => continue,
                };
                match problem {
                    Some(text) if !std::mem::replace(told, true) => {
                        source.status.fails(path, &text);
                        tracing::warn!(source = %source.settings.name, "{text}");
                    }
                    Some(_) => {}
                    None => {
                        *told = false;
                        source.status.recovers(path);
                    }
                }
            }
        }
    }

    pub(super) fn tell_unlisted(&mut self) {
        for listed in self.tree.take_listed() {
            for source in listed.sources.iter().filter_map(|number| self.sources.get(usize::from(*number))) {
                match &listed.error {
                    Some(error) => fail(source, &listed.path, "list", error),
                    None => {
                        source.status.recovers(&listed.path);
                    }
                }
            }
        }
    }

    /// Looks at everything again, as the events may have missed something.
    pub(super) fn sweep(&mut self) {
        let dirs: Vec<DirId> = self.tree.ids().collect();
        for dir in dirs {
            let gone = self.tree.path(dir).is_some_and(|path| !path.is_dir());
            if gone && let Some(path) = self.tree.path(dir).map(Path::to_owned) {
                self.directory_gone(&path);
            }
        }
        let mut found = Found::default();
        self.tree.sweep(&mut found);
        let dirs: Vec<DirId> = self.tree.ids().collect();
        self.compare(&dirs, &found);
        self.tell_missing();
        self.tell_unlisted();
    }

    /// Looks again at directories that nobody tells us about.
    pub(super) fn poll(&mut self) {
        let dirs = self.tree.polled();
        let mut found = Found::default();
        for dir in &dirs {
            self.tree.look(*dir, &mut found);
        }
        self.compare(&dirs, &found);
    }

    /// Whether there is anything to [`Follow::poll`].
    pub(super) fn is_polling(&self) -> bool {
        !self.tree.polled().is_empty()
    }

    fn compare(&mut self, dirs: &[DirId], found: &Found) {
        // Numbers alone, hashed by what they stand for: there may be very many names.
        let hasher = RandomState::default();
        let hash = |at: &u32| found.get(*at as usize).map_or(0, |f| hasher.hash_one((f.dir, f.name)));
        let mut seen: HashTable<u32> = HashTable::with_capacity(found.len());
        for at in 0..found.len() as u32 {
            seen.insert_unique(hash(&at), at, hash);
        }
        for dir in dirs {
            let sources: Vec<u16> = self.files.sources_in(*dir).collect();
            for source in sources {
                let is_unseen = |name: &OsStr| {
                    let is_it = |at: &u32| found.get(*at as usize).is_some_and(|f| f.dir == *dir && f.name == name);
                    seen.find(hasher.hash_one((*dir, name)), is_it).is_none()
                };
                for name in self.files.names_in(source, *dir, is_unseen) {
                    // A directory that could not be read to its end says nothing of the names that were not found in it.
                    if self.tree.lacks(*dir, &name) {
                        self.lost_name(source, *dir, &name);
                    }
                }
            }
        }
        drop(seen);
        for found in found.iter() {
            let matched = self.tree.matches(found.dir, found.name);
            let followed: Vec<u16> = self.files.sources_in(found.dir).filter(|s| !matched.contains(s)).collect();
            for source in matched {
                self.present(source, found.dir, found.name, None);
            }
            // Rotated files have names that do not match.
            for source in followed {
                if self.files.named(source, found.dir, found.name).is_some() {
                    self.present(source, found.dir, found.name, None);
                }
            }
        }
    }

    /// Takes in one event.
    pub(super) fn handle(&mut self, event: &Event, name: &OsStr) {
        match event.kind {
            Kind::Overflow => self.overflowed = true,
            // It is not asked for.
            Kind::Opened => {}
            Kind::Ignored => {
                let mut found = Found::default();
                self.tree.ignored(event.watch, &mut found);
                for found in found.iter() {
                    self.found(found);
                }
            }
            Kind::DirectoryGone => {
                let paths: Vec<PathBuf> =
                    self.dirs_of(event).filter_map(|d| self.tree.path(d)).map(Path::to_owned).collect();
                for path in paths {
                    self.directory_gone(&path);
                }
            }
            Kind::Changed => {
                let dirs: Vec<DirId> = self.dirs_of(event).collect();
                for dir in dirs {
                    self.changed(dir, name);
                }
            }
            Kind::Present => {
                let dirs: Vec<DirId> = self.dirs_of(event).collect();
                for dir in dirs {
                    self.appeared(dir, name, event.cookie);
                }
            }
            Kind::Gone => {
                let dirs: Vec<DirId> = self.dirs_of(event).collect();
                for dir in dirs {
                    self.vanished(event.watch, dir, name, event.cookie);
                }
            }
        }
    }

    fn dirs_of(&self, event: &Event) -> impl Iterator<Item = DirId> + use<> {
        self.tree.watched(event.watch).to_vec().into_iter()
    }

    fn changed(&mut self, dir: DirId, name: &OsStr) {
        let sources: Vec<u16> = self.files.sources_in(dir).collect();
        for source in sources {
            if let Some(id) = self.files.named(source, dir, name) {
                self.touched(id);
            }
        }
    }

    /// The file may have something to read. It is opened at once, so that it can still be read if its name goes away.
    fn touched(&mut self, id: FileId) {
        let Some(file) = self.files.get_mut(id) else { return };
        if file.compressed {
            return;
        }
        if let Some(failing) = file.failing() {
            file.set_failing(Some(Failing { retry_at: Instant::now(), ..failing }));
            return;
        }
        if file.file.is_none() {
            // Its name may be gone before it is opened.
            file.set_unseen(true);
        }
        if file.file.is_none() && !self.is_starting && self.may_hold() && !self.open_file(id) {
            return;
        }
        self.files.make_ready(id);
    }

    /// Whether a file may be opened merely to be kept. Half of the descriptors are for that; delivery needs some, too.
    pub(super) fn may_hold(&self) -> bool {
        self.open < self.descriptors / 2
    }

    fn appeared(&mut self, dir: DirId, name: &OsStr, cookie: u32) {
        let mut found = Found::default();
        self.tree.present(dir, name, &mut found);
        for found in found.iter() {
            self.found(found);
        }
        let was: Vec<(u16, PathBuf)> =
            if cookie != 0 && self.renamed.0 == cookie { self.renamed.1.clone() } else { Vec::new() };
        let matched = self.tree.matches(dir, name);
        for source in &matched {
            self.present(*source, dir, name, None);
            if self.files.named(*source, dir, name).is_none() && self.is_link(dir, name) {
                // Its target may have moved on already, and a new one may come.
                self.dangles(*source, dir, name);
            }
        }
        let mut others: Vec<u16> = self.files.sources_in(dir).chain(was.iter().map(|(s, _)| *s)).collect();
        others.sort_unstable();
        others.dedup();
        for source in others.into_iter().filter(|s| !matched.contains(s)) {
            let origin = was.iter().find(|(s, _)| *s == source).map(|(_, path)| path.as_path());
            self.present(source, dir, name, origin);
        }
    }

    fn vanished(&mut self, watch: i32, dir: DirId, name: &OsStr, cookie: u32) {
        let is_there = |follow: &Self| follow.tree.watched(watch).contains(&dir);
        if let Some(path) = self.path_of(dir, name).filter(|_| is_there(self)) {
            self.directory_gone(&path);
        }
        // With the directory all its names were taken back. Another one may have its number by now, with a file of this name.
        if !is_there(self) {
            return;
        }
        if cookie != 0 {
            // Whoever appears under this cookie was, a moment ago, what this name says: even if it was never met under it.
            let mut was: Vec<(u16, PathBuf)> = Vec::new();
            for source in self.files.sources_in(dir) {
                if let Some(id) = self.files.named(source, dir, name) {
                    was.push((source, self.origin(id)));
                }
            }
            if let Some(path) = self.path_of(dir, name) {
                for source in self.tree.matches(dir, name) {
                    if !was.iter().any(|(s, _)| *s == source) {
                        was.push((source, path.clone()));
                    }
                }
            }
            self.renamed = (cookie, was);
        }
        let sources: Vec<u16> = self.files.sources_in(dir).collect();
        for source in sources {
            if cookie == 0
                && let Some(id) = self.files.named(source, dir, name)
                && let Some(file) = self.files.get_mut(id)
            {
                file.deleted = file.names <= 1;
            }
            self.lost_name(source, dir, name);
        }
    }

    /// A directory (or a name that may have been one) may be gone, or be another one by now.
    fn directory_gone(&mut self, path: &Path) {
        let dropped = self.tree.gone(path);
        if dropped.is_empty() {
            return;
        }
        for (dir, dir_path) in dropped {
            for (source, name) in self.files.all_names_in(dir) {
                // The directory's number may be used again: nobody may watch it in the name of this file.
                if let Some(file) = self.files.named(source, dir, &name).and_then(|id| self.files.get_mut(id))
                    && file.alias().is_some_and(|alias| alias.dir == dir)
                {
                    file.set_alias(None);
                }
                self.lost_path(source, dir, &name, Some(&dir_path.join(&*name)));
            }
        }
        let mut found = Found::default();
        self.tree.renew(path, &mut found);
        for found in found.iter() {
            self.found(found);
        }
    }

    /// A name does not lead to its file any more.
    pub(super) fn lost_name(&mut self, source: u16, dir: DirId, name: &OsStr) {
        let path = self.path_of(dir, name);
        self.lost_path(source, dir, name, path.as_deref());
    }

    /// The same, of a directory that may be gone.
    fn lost_path(&mut self, source: u16, dir: DirId, name: &OsStr, path: Option<&Path>) {
        if self.is_at_alias(source, dir, name, path) {
            // What is told of a link's target may be older than what is known of it.
            return;
        }
        let Some(id) = self.files.unname(source, dir, name) else { return };
        if let Some(file) = self.files.get_mut(id)
            && file.place.is_none()
            && file.origin().is_none()
        {
            // From now on its place does not tell where it was matched.
            file.set_origin(path.map(Box::from));
        }
        if let (Some(path), Some(source)) = (path, self.sources.get(usize::from(source))) {
            source.status.recovers(path);
        }
        let is_alias = |file: &&Tracked| file.alias().is_some_and(|a| a.dir == dir && *a.name == *name);
        // The directory stays watched for the file's sake: it may get another name there.
        let link = self.files.get(id).filter(is_alias).and_then(|file| file.place.clone());
        if let Some(link) = link {
            // The target of a link moved: the link may lead to a new file by now, or in a moment.
            self.dangles(source, link.dir, &link.name);
            self.present(source, link.dir, &link.name, None);
        }
        self.placed(id);
    }

    /// After a name came or went: a file that is not at its path any more is rotated.
    fn placed(&mut self, id: FileId) {
        let Some(file) = self.files.get(id) else { return };
        if file.place.is_none() && file.names > 0 {
            self.files.place_anew(id);
        }
        let Some(file) = self.files.get(id) else { return };
        let place = file.place.as_ref().and_then(|p| self.path_of(p.dir, &p.name));
        let at_origin = place.is_some_and(|path| file.origin().is_none_or(|origin| *origin == *path));
        if at_origin == file.rotated {
            if at_origin {
                self.back_at_origin(id);
            } else {
                self.rotate(id);
            }
        } else if file.place.is_none() {
            // It left its path long ago, and now its other name is gone too.
            self.unsettle(id);
        } else {
            self.number(id);
        }
        self.files.make_ready(id);
    }

    pub(super) fn rotate(&mut self, id: FileId) {
        if let Some(file) = self.files.get_mut(id) {
            file.rotated = true;
            file.at_end = false;
        }
        self.number(id);
        self.files.rotated(id);
        self.unsettle(id);
        self.note_head(id);
    }

    pub(super) fn back_at_origin(&mut self, id: FileId) {
        let path = self.origin(id);
        if let Some(file) = self.files.get_mut(id) {
            file.rotated = false;
            file.set_quiet_since(None);
        }
        self.files.returned(id, &path);
        if let Some(file) = self.files.get_mut(id) {
            file.set_origin(None);
        }
        self.unsettled.retain(|other| *other != id);
    }

    /// A rotated file has (or may have) something to finish.
    pub(super) fn unsettle(&mut self, id: FileId) {
        let Some(file) = self.files.get_mut(id) else { return };
        let was_listed = file.quiet_since().is_some();
        file.set_quiet_since(Some(Instant::now()));
        if !was_listed {
            self.unsettled.push(id);
        }
    }

    /// A name is there. `origin` says what its file was matched as, when the name itself does not match.
    pub(super) fn present(&mut self, source: u16, dir: DirId, name: &OsStr, origin: Option<&Path>) {
        let Some(path) = self.path_of(dir, name) else { return };
        let stat = match stat_path(&path) {
            Ok(stat) => stat,
            Err(error) => {
                let is_gone = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
                if is_gone {
                    self.lost_name(source, dir, name);
                }
                let matched = self.tree.matches(dir, name).contains(&source);
                if matched
                    && !is_gone
                    && let Some(source) = self.sources.get(usize::from(source))
                {
                    fail(source, &path, "look at", &error);
                }
                return;
            }
        };
        if !stat.is_file {
            self.lost_name(source, dir, name);
            return;
        }
        if self.own_log == Some(stat.identity) {
            if !std::mem::replace(&mut self.own_log_told, true) {
                tracing::warn!(path = %path.display(), "this file has lugger's own messages and is not read: it would feed itself");
            }
            return;
        }
        let is_failing = self
            .files
            .named(source, dir, name)
            .and_then(|id| self.files.get(id))
            .is_some_and(|f| f.failing().is_some());
        if !is_failing && let Some(source) = self.sources.get(usize::from(source)) {
            source.status.recovers(&path);
        }
        let mut existing = self.files.by_identity(source, &stat.identity);
        if let Some(id) = existing
            && self.files.get(id).is_some_and(|f| f.identity != stat.identity)
        {
            // The inode was used again: what it was before is gone.
            self.files.disown_identity(id);
            existing = None;
        }
        let mut current = self.files.named(source, dir, name);
        if current.is_some() && current != existing {
            self.lost_name(source, dir, name);
            // A link that led to the lost file may have led to this one in the meantime.
            existing = self.files.by_identity(source, &stat.identity);
            current = self.files.named(source, dir, name);
        }
        match existing {
            Some(id) => {
                if current != existing {
                    if let Some(file) = self.files.get_mut(id) {
                        file.deleted = false;
                    }
                    self.files.name(id, dir, name);
                    self.placed(id);
                    if self.files.get(id).is_some_and(|file| file.alias().is_none()) {
                        // A followed file that a link leads to by now.
                        self.watch_target(source, id, &path, &stat);
                    }
                }
                let differs = self.files.get_mut(id).is_some_and(|file| {
                    file.size = stat.size;
                    stat.size != file.offset && (file.at_end || stat.size < file.offset || file.failing().is_some())
                });
                if differs || current != existing {
                    self.touched(id);
                }
            }
            None => {
                let matched = self.tree.matches(dir, name).contains(&source);
                // A file of an inlet that has its number is not at the path that all of them begin at.
                let begun_at = self.inlet_path(source, &path);
                let origin = origin.or(begun_at.as_deref());
                if matched && begun_at.is_none() {
                    self.present_older(source, dir, name, &stat.identity);
                }
                if matched || origin.is_some() {
                    self.track(source, dir, name, &path, origin.unwrap_or(&path), &stat);
                } else if let Some(origin) = self.peek(source, &stat.identity, |_, origin| origin.to_owned()) {
                    // It was followed before. What a name led to when the directory was listed may be elsewhere by the time it is looked at.
                    self.track(source, dir, name, &path, &origin, &stat);
                }
            }
        }
    }

    /// Opens a file under its name. False when that was not possible; then it is tried again, or the name leads elsewhere.
    pub(super) fn open_file(&mut self, id: FileId) -> bool {
        let Some(file) = self.files.get(id) else { return false };
        if file.file.is_some() {
            return true;
        }
        let Some(place) = file.place.clone() else { return false };
        let Some(path) = self.path_of(place.dir, &place.name) else { return false };
        let Some(file) = self.files.get_mut(id) else { return false };
        let source = file.source;
        match file.open(&path) {
            Ok(()) => {
                self.open += 1;
                true
            }
            Err(OpenError::Replaced) => {
                self.present(source, place.dir, &place.name, None);
                false
            }
            Err(OpenError::Io(error)) => {
                self.failed(id, &path, "open", &error);
                false
            }
        }
    }

    /// A read succeeded.
    pub(super) fn works(&mut self, id: FileId) {
        let Some(file) = self.files.get_mut(id) else { return };
        if file.failing().is_none() {
            return;
        }
        file.set_failing(None);
        let number = usize::from(file.source);
        let path = self.path(id);
        if let Some(source) = self.sources.get(number) {
            source.status.recovers(&path);
            tracing::info!(source = %source.settings.name, path = %path.display(), "the file can be read again");
        }
    }

    /// Notes a failure; the file is opened anew and tried again after a pause. Whoever waits for it need not wait longer.
    pub(super) fn failed(&mut self, id: FileId, path: &Path, action: &str, error: &io::Error) {
        let Some(file) = self.files.get_mut(id) else { return };
        let first = Duration::from_millis(FILE_RETRY_MS);
        let pause = file.failing().map_or(first, |f| (f.pause * 2).min(Duration::from_millis(FILE_RETRY_MS_MAX)));
        file.set_failing(Some(Failing { retry_at: Instant::now() + pause, pause }));
        let source = file.source;
        let rotated = file.rotated;
        if file.file.take().is_some() {
            self.open = self.open.saturating_sub(1);
        }
        if !self.failing.contains(&id) {
            self.failing.push(id);
        }
        if rotated {
            self.files.finished(id);
        }
        if let Some(source) = self.sources.get(usize::from(source)) {
            fail(source, path, action, error);
        }
    }

    /// The file begins again, at its first byte.
    pub(super) fn truncated(&mut self, id: FileId) {
        let generation = self.files.next_generation();
        let path = self.origin(id);
        let Some(file) = self.files.get_mut(id) else { return };
        let lost = file.size.saturating_sub(file.offset);
        let Some(source) = self.sources.get_mut(usize::from(file.source)) else { return };
        let is_inlet = source.settings.removes_done();
        if !is_inlet {
            source.status.truncated.add(1);
            source.status.lost_bytes.add(lost);
        }
        source.in_flight = source.in_flight.saturating_sub(file.offset - file.stored);
        let offset = file.offset;
        file.restart(generation);
        if let Some(slot) = file.slot {
            self.store.restart(slot, 0, &file.mark.encode());
        }
        if is_inlet {
            // It gave up its oldest file, and counts that.
        } else if lost > 0 {
            tracing::warn!(
                source = %source.settings.name, path = %path.display(), lost_bytes = lost,
                "the file was truncated before all of it was read; rotate by rename to lose nothing"
            );
        } else {
            tracing::debug!(source = %source.settings.name, path = %path.display(), offset, "the file was truncated");
        }
        self.files.make_ready(id);
    }

    /// The file is compressed: it is left out, and that is told once.
    pub(super) fn compressed(&mut self, id: FileId) {
        let path = self.origin(id);
        let Some(file) = self.files.get_mut(id) else { return };
        file.compressed = true;
        file.offset = 0;
        if file.file.take().is_some() {
            self.open = self.open.saturating_sub(1);
        }
        if let Some(source) = self.sources.get(usize::from(file.source)) {
            source.status.compressed.add(1);
            tracing::info!(
                source = %source.settings.name, path = %path.display(),
                "the file is compressed and is not read; exclude it to be rid of this message"
            );
        }
    }

    /// Where a file can be found now, or where it was matched.
    pub(super) fn path(&self, id: FileId) -> PathBuf {
        let Some(file) = self.files.get(id) else { return PathBuf::new() };
        let place = file.place.as_ref().and_then(|p| self.path_of(p.dir, &p.name));
        place.or_else(|| file.origin().map(Path::to_owned)).unwrap_or_default()
    }

    /// Where a file was matched.
    pub(super) fn origin(&self, id: FileId) -> PathBuf {
        let origin = self.files.get(id).and_then(|file| file.origin()).map(Path::to_owned);
        origin.unwrap_or_else(|| self.path(id))
    }

    pub(super) fn path_of(&self, dir: DirId, name: &OsStr) -> Option<PathBuf> {
        Some(self.tree.path(dir)?.join(name))
    }
}

/// Notes and tells, once, that a path of a source fails.
pub(super) fn fail(source: &Source, path: &Path, action: &str, error: &io::Error) {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let uid = rustix::process::geteuid().as_raw();
            format!("; give user {uid} the right to read it (for /var/log that is usually membership in the group adm)")
        }
        _ => String::new(),
    };
    let problem = format!("cannot {action} {}: {error}{remedy}", path.display());
    let is_first = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let denied = if matches!(action, "open" | "read") { Denied::File } else { Denied::Other };
            source.status.is_denied(path, &problem, denied)
        }
        _ => source.status.fails(path, &problem),
    };
    if is_first {
        tracing::warn!(source = %source.settings.name, "{problem}; it is tried again");
    }
}

/// The soft limit of open files, which the agent raises to the hard one when it starts.
fn descriptor_limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX)
}

/// The file behind stderr.
fn own_log() -> Option<Identity> {
    let stat = stat_file(rustix::stdio::stderr()).ok()?;
    stat.is_file.then_some(stat.identity)
}
