//! Following files: what each event, each found name and each passing second mean for the set of followed files.
//!
//! Identity decides, not the path. A name that leads to another file than before ends nothing: the old file is **rotated**, read to its end and
//! finished first; the new one is read after it. A rotated file stays followed for as long as it has a name in a directory we see or a process
//! that writes to it.
//!
//! Promises: an error belongs to its file, is told once, and is tried again; a file is let go only when all that was read of it is stored.
//! Leaves to others: reading (`read`), scheduling (`worker`).

use super::files::Files;
use super::identity::{Stat, content_matches, encode_key, marks_at, stat_file, stat_path};
use super::saved::{Known, SavedFiles, path_to_bytes};
use super::settings::{Settings, StartAt};
use super::status::Status;
use super::tracked::{Failing, FileId, OpenError, Place, Tracked, has_no_writer, open_for_reading};
use super::tree::{DirId, Found, Tree, link_target};
use super::watch::{Event, Kind};
use crate::base::limits::{
    CHUNK_BYTES, FILE_RETRY_MS, FILE_RETRY_MS_MAX, IDLE_DESCRIPTORS, QUIET_MS, UNLINKED_QUIET_MS,
};
use crate::model::flow::StreamId;
use crate::store::checkpoint::Checkpoints;
use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
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
    /// Bytes written to the output and not yet stored.
    pub in_flight: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Follow {
    pub sources: Vec<Source>,
    pub files: Files,
    pub store: Checkpoints,
    tree: Tree,
    saved: SavedFiles,
    /// Rotated files that are not finished.
    unsettled: Vec<FileId>,
    failing: Vec<FileId>,
    /// Open files with nothing to read, least recently used first.
    idle: VecDeque<FileId>,
    open: usize,
    /// The first half of a rename: its cookie, and what the name was to whom.
    renamed: (u32, Vec<(u16, PathBuf)>),
    /// Links whose target is missing for a moment.
    dangling: Vec<(u16, DirId, OsString, Instant)>,
    /// Streams whose files are gone or idle; the worker gives them back to their output.
    pub released: Vec<(usize, StreamId)>,
    /// The first scan is under way.
    is_starting: bool,
    /// Events were lost.
    pub overflowed: bool,
}

/// How long a link without target is looked at often; then the sweep does.
const DANGLING: Duration = Duration::from_secs(60);

impl Follow {
    pub(super) fn new(sources: Vec<Source>, tree: Tree, saved: SavedFiles, store: Checkpoints) -> Self {
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
        }
    }

    pub(super) fn tree(&mut self) -> &mut Tree {
        &mut self.tree
    }

    /// The first scan: what checkpoints speak of is found first, wherever it was renamed to in its directory.
    pub(super) fn start(&mut self) {
        let mut found = Vec::new();
        self.tree.plant(&mut found);
        let (known, others): (Vec<Found>, Vec<Found>) =
            found.into_iter().partition(|found| self.saved.may_have(found.inode));
        // Files that left their path come before those that are at it now: they are finished first.
        let mut at_their_path = Vec::new();
        for found in known {
            if !self.resume_rotated(&found) {
                at_their_path.push(found);
            }
        }
        for found in at_their_path.into_iter().chain(others) {
            self.found(&found);
        }
        self.is_starting = false;
        self.tell_missing();
        self.tell_unlisted();
    }

    /// If the name is a file with a checkpoint that was made under another path, goes on with it as a rotated one.
    fn resume_rotated(&mut self, found: &Found) -> bool {
        let Some(path) = self.path_of(found.dir, &found.name) else { return false };
        let Ok(stat) = stat_path(&path) else { return false };
        let mut resumed = false;
        for source in 0..self.sources.len() as u16 {
            let Some(name) = self.sources.get(usize::from(source)).map(|s| s.settings.name.clone()) else { continue };
            let origin = self.saved.peek(&name, &stat.identity).filter(|origin| *origin != path).map(Path::to_owned);
            if let Some(origin) = origin {
                self.present(source, found.dir, &found.name, Some(&origin));
                resumed = true;
            }
        }
        resumed
    }

    fn found(&mut self, found: &Found) {
        for source in self.tree.matches(found.dir, &found.name) {
            self.present(source, found.dir, &found.name, None);
        }
    }

    /// Paths that a person wrote out and that lead to nothing, or to a directory.
    fn tell_missing(&mut self) {
        for source in &self.sources {
            let patterns =
                source.settings.include.iter().filter_map(|p| super::pattern::Pattern::parse(p).ok()).flatten();
            for path in patterns.filter_map(|p| p.literal_path()) {
                match stat_path(&path) {
                    Ok(stat) if stat.is_directory => {
                        let text = format!("{0} is a directory: to read the files in it, write {0}/*", path.display());
                        if source.status.fails(&path, &text) {
                            tracing::warn!(source = %source.settings.name, "{text}");
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => tracing::info!(
                        source = %source.settings.name, path = %path.display(),
                        "nothing is there yet; it will be read when it appears"
                    ),
                    _ => {
                        source.status.recovers(&path);
                    }
                }
            }
        }
    }

    fn tell_unlisted(&mut self) {
        for (path, error) in self.tree.take_listed() {
            for number in self.tree.sources_of(&path) {
                let Some(source) = self.sources.get(usize::from(number)) else { continue };
                match &error {
                    Some(error) => fail(source, &path, "list", error),
                    None => {
                        source.status.recovers(&path);
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
        let mut found = Vec::new();
        self.tree.sweep(&mut found);
        let dirs: Vec<DirId> = self.tree.ids().collect();
        self.compare(&dirs, &found);
        self.tell_missing();
        self.tell_unlisted();
    }

    /// Looks again at directories that nobody tells us about.
    pub(super) fn poll(&mut self) {
        let dirs = self.tree.polled();
        let mut found = Vec::new();
        for dir in &dirs {
            self.tree.look(*dir, &mut found);
        }
        self.compare(&dirs, &found);
    }

    /// Whether there is anything to [`Follow::poll`].
    pub(super) fn is_polling(&self) -> bool {
        !self.tree.polled().is_empty()
    }

    fn compare(&mut self, dirs: &[DirId], found: &[Found]) {
        let seen: HashSet<(DirId, &OsStr)> = found.iter().map(|f| (f.dir, f.name.as_os_str())).collect();
        for dir in dirs {
            let sources: Vec<u16> = self.files.sources_in(*dir).collect();
            for source in sources {
                for name in self.files.names_in(source, *dir) {
                    if seen.contains(&(*dir, &name)) {
                        self.present(source, *dir, &name, None);
                    } else {
                        self.lost_name(source, *dir, &name);
                    }
                }
            }
        }
        for found in found {
            self.found(found);
        }
    }

    /// Takes in one event.
    pub(super) fn handle(&mut self, event: &Event, name: &OsStr) {
        match event.kind {
            Kind::Overflow => self.overflowed = true,
            Kind::Ignored => self.tree.ignored(event.watch),
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
                    self.vanished(dir, name, event.cookie);
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
        if let Some(failing) = &mut file.failing {
            failing.retry_at = Instant::now();
            return;
        }
        if file.file.is_none() && !self.is_starting && !self.open_file(id) {
            return;
        }
        self.files.make_ready(id);
    }

    fn appeared(&mut self, dir: DirId, name: &OsStr, cookie: u32) {
        let mut found = Vec::new();
        self.tree.present(dir, name, &mut found);
        for found in &found {
            self.found(found);
        }
        let was: Vec<(u16, PathBuf)> =
            if cookie != 0 && self.renamed.0 == cookie { self.renamed.1.clone() } else { Vec::new() };
        let matched = self.tree.matches(dir, name);
        for source in &matched {
            self.present(*source, dir, name, None);
        }
        let mut others: Vec<u16> = self.files.sources_in(dir).chain(was.iter().map(|(s, _)| *s)).collect();
        others.sort_unstable();
        others.dedup();
        for source in others.into_iter().filter(|s| !matched.contains(s)) {
            let origin = was.iter().find(|(s, _)| *s == source).map(|(_, path)| path.as_path());
            self.present(source, dir, name, origin);
        }
    }

    fn vanished(&mut self, dir: DirId, name: &OsStr, cookie: u32) {
        if let Some(path) = self.path_of(dir, name) {
            self.directory_gone(&path);
        }
        if cookie != 0 {
            // Whoever appears under this cookie was, a moment ago, what this name says: even if it was never met under it.
            let mut was: Vec<(u16, PathBuf)> = Vec::new();
            for source in self.files.sources_in(dir) {
                if let Some(file) = self.files.named(source, dir, name).and_then(|id| self.files.get(id)) {
                    was.push((source, file.origin.to_path_buf()));
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
            self.lost_name(source, dir, name);
        }
    }

    fn directory_gone(&mut self, path: &Path) {
        for dir in self.tree.gone(path) {
            for (source, name) in self.files.take_names(dir) {
                // The directory's number may be used again: nobody may watch it in the name of this file.
                if let Some(file) = self.files.named(source, dir, &name).and_then(|id| self.files.get_mut(id)) {
                    file.alias = file.alias.take().filter(|alias| alias.dir != dir);
                }
                self.lost_name(source, dir, &name);
            }
        }
    }

    /// A name does not lead to its file any more.
    fn lost_name(&mut self, source: u16, dir: DirId, name: &OsStr) {
        let Some(id) = self.files.unname(source, dir, name) else { return };
        let is_alias = |file: &Tracked| file.alias.as_ref().is_some_and(|a| a.dir == dir && *a.name == *name);
        let link = match self.files.get_mut(id) {
            Some(file) if is_alias(file) => {
                file.alias = None;
                file.place.clone()
            }
            _ => None,
        };
        if let Some(link) = link {
            // The target of a link moved: the link may lead to a new file by now, or in a moment.
            self.tree.unalias(dir);
            self.dangling.push((source, link.dir, link.name.to_os_string(), Instant::now()));
            self.present(source, link.dir, &link.name, None);
        }
        self.placed(id);
    }

    /// After a name came or went: a file that is not at its path any more is rotated.
    fn placed(&mut self, id: FileId) {
        let Some(file) = self.files.get(id) else { return };
        if file.place.is_none() && file.names > 0 {
            let other = self.any_name(id);
            if let Some(file) = self.files.get_mut(id) {
                file.place = other;
            }
        }
        let Some(file) = self.files.get(id) else { return };
        let at_origin =
            file.place.as_ref().and_then(|p| self.path_of(p.dir, &p.name)).is_some_and(|p| *p == *file.origin);
        if at_origin == file.rotated {
            if at_origin {
                self.back_at_origin(id);
            } else {
                self.rotate(id);
            }
        }
        self.files.make_ready(id);
    }

    /// Some name of a file that has several: rare, so it is looked for.
    fn any_name(&self, id: FileId) -> Option<Place> {
        let source = self.files.get(id)?.source;
        for dir in self.tree.ids() {
            for name in self.files.names_in(source, dir) {
                if self.files.named(source, dir, &name) == Some(id) {
                    return Some(Place { dir, name });
                }
            }
        }
        None
    }

    fn rotate(&mut self, id: FileId) {
        if let Some(file) = self.files.get_mut(id) {
            file.rotated = true;
            file.at_end = false;
        }
        self.files.rotated(id);
        self.unsettle(id);
    }

    fn back_at_origin(&mut self, id: FileId) {
        if let Some(file) = self.files.get_mut(id) {
            file.rotated = false;
            file.quiet_since = None;
        }
        self.files.finished(id);
        self.unsettled.retain(|other| *other != id);
    }

    /// A rotated file has (or may have) something to finish.
    pub(super) fn unsettle(&mut self, id: FileId) {
        let Some(file) = self.files.get_mut(id) else { return };
        let was_listed = file.quiet_since.replace(Instant::now()).is_some();
        if !was_listed {
            self.unsettled.push(id);
        }
    }

    /// A name is there. `origin` says what its file was matched as, when the name itself does not match.
    fn present(&mut self, source: u16, dir: DirId, name: &OsStr, origin: Option<&Path>) {
        let Some(path) = self.path_of(dir, name) else { return };
        let stat = match stat_path(&path) {
            Ok(stat) => stat,
            Err(error) => {
                self.lost_name(source, dir, name);
                let matched = self.tree.matches(dir, name).contains(&source);
                if matched
                    && error.kind() != io::ErrorKind::NotFound
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
        let mut existing = self.files.by_identity(source, &stat.identity);
        if let Some(id) = existing
            && self.files.get(id).is_some_and(|f| f.identity != stat.identity)
        {
            // The inode was used again: what it was before is gone.
            self.files.disown_identity(id);
            existing = None;
        }
        let current = self.files.named(source, dir, name);
        if current.is_some() && current != existing {
            self.lost_name(source, dir, name);
        }
        match existing {
            Some(id) => {
                if current != existing {
                    self.files.name(id, dir, name);
                    self.placed(id);
                }
                let differs = self.files.get_mut(id).is_some_and(|file| {
                    file.size = file.size.max(stat.size);
                    stat.size != file.offset && (file.at_end || stat.size < file.offset || file.failing.is_some())
                });
                if differs || current != existing {
                    self.touched(id);
                }
            }
            None => {
                let matched = self.tree.matches(dir, name).contains(&source);
                if matched || origin.is_some() {
                    self.track(source, dir, name, &path, origin.unwrap_or(&path), &stat);
                }
            }
        }
    }

    /// Begins to follow a file.
    fn track(&mut self, number: u16, dir: DirId, name: &OsStr, path: &Path, origin: &Path, stat: &Stat) {
        let generation = self.files.next_generation();
        let Some(source) = self.sources.get(usize::from(number)) else { return };
        let mut file = Tracked::new(number, stat.identity, origin, generation);
        file.size = stat.size;
        match self.saved.take(&source.settings.name, &stat.identity) {
            Some(known) => self.resume(&mut file, known, path, number),
            None if self.is_starting && source.is_new && source.settings.start_at == StartAt::End => {
                match start_at_end(path, stat.size) {
                    Ok((offset, mark)) => {
                        file.offset = offset;
                        file.stored = offset;
                        file.mark = mark;
                        let key = encode_key(&source.settings.name, &stat.identity);
                        let slot = self.store.define(&key, path_to_bytes(origin), offset, &mark.encode());
                        file.slot = Some(slot);
                    }
                    // It is read from its beginning once it can be read: too much is better than too little.
                    Err(error) => fail(source, path, "read", &error),
                }
            }
            None => {}
        }
        let is_quiet = file.offset == stat.size && file.replay.is_none();
        let rotated = *file.origin != *path;
        let id = self.files.insert(file);
        self.files.name(id, dir, name);
        self.files.succeeds(id);
        if rotated {
            self.rotate(id);
        }
        if let Some((real_dir, real_name)) = link_target(path) {
            let real_dir = self.tree.alias(&real_dir);
            if self.files.named(number, real_dir, &real_name).is_none() {
                self.files.name(id, real_dir, &real_name);
                if let Some(file) = self.files.get_mut(id) {
                    file.alias = Some(Place { dir: real_dir, name: real_name.into() });
                }
            } else {
                self.tree.unalias(real_dir);
            }
        }
        if is_quiet && !rotated {
            if let Some(file) = self.files.get_mut(id) {
                file.at_end = true;
            }
        } else if self.is_starting || self.open_file(id) {
            self.files.make_ready(id);
        }
    }

    /// Goes on where a checkpoint says, if the content is still the one it speaks of.
    fn resume(&mut self, file: &mut Tracked, known: Known, path: &Path, number: u16) {
        let Some(source) = self.sources.get(usize::from(number)) else { return };
        file.slot = Some(known.slot);
        file.origin = known.origin.as_path().into();
        let certain = known.identity == file.identity && file.identity.born_ns != 0;
        // With a birth time the inode is the same file; its bytes are compared when it is read anyway.
        let same = file.size >= known.position
            && (certain
                || open_for_reading(path).is_ok_and(|handle| content_matches(&handle, known.position, &known.mark)));
        if same {
            file.offset = known.position;
            file.stored = known.position;
            file.mark = known.mark;
            file.replay = (!known.intents.is_empty()).then(|| Box::new(known.intents));
        } else {
            source.status.truncated.add(1);
            tracing::info!(
                source = %source.settings.name, path = %path.display(), checkpoint = known.position, size = file.size,
                "the file was truncated or replaced while lugger was not running: it is read from its beginning"
            );
            self.store.restart(known.slot, 0, &file.mark.encode());
        }
        let key = encode_key(&source.settings.name, &file.identity);
        if known.source != source.settings.name || known.identity != file.identity {
            self.store.renew(known.slot, &key, path_to_bytes(&file.origin));
        } else {
            self.store.claim(known.slot);
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
                let had_failed = file.failing.take().is_some();
                if had_failed && let Some(source) = self.sources.get(usize::from(source)) {
                    source.status.recovers(&path);
                    tracing::info!(source = %source.settings.name, path = %path.display(), "the file can be read again");
                }
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

    /// Notes a failure; the file is tried again after a pause.
    pub(super) fn failed(&mut self, id: FileId, path: &Path, action: &str, error: &io::Error) {
        let Some(file) = self.files.get_mut(id) else { return };
        let first = Duration::from_millis(FILE_RETRY_MS);
        let pause =
            file.failing.as_ref().map_or(first, |f| (f.pause * 2).min(Duration::from_millis(FILE_RETRY_MS_MAX)));
        file.failing = Some(Box::new(Failing { retry_at: Instant::now() + pause, pause }));
        let source = file.source;
        if !self.failing.contains(&id) {
            self.failing.push(id);
        }
        if let Some(source) = self.sources.get(usize::from(source)) {
            fail(source, path, action, error);
        }
    }

    /// A read found the end. True when the rest without newline is to be read as a line.
    pub(super) fn at_end(&mut self, id: FileId) -> bool {
        let Some(file) = self.files.get(id) else { return false };
        if file.rotated {
            let has_rest = file.size > file.offset;
            let quiet = file.quiet_since.is_some_and(|since| since.elapsed() >= Duration::from_millis(QUIET_MS));
            if has_rest && (quiet || file.file.as_ref().and_then(has_no_writer) == Some(true)) {
                return true;
            }
            self.files.finished(id);
        } else if !file.idle_listed && file.size <= file.offset {
            if let Some(file) = self.files.get_mut(id) {
                file.idle_listed = true;
            }
            self.idle.push_back(id);
            self.close_idle();
        }
        false
    }

    /// Keeps the number of open idle files within its bound.
    fn close_idle(&mut self) {
        let mut tries = self.idle.len();
        while self.open > IDLE_DESCRIPTORS && tries > 0 {
            tries -= 1;
            let Some(id) = self.idle.pop_front() else { return };
            let Some(file) = self.files.get_mut(id) else { continue };
            file.idle_listed = false;
            let is_idle =
                file.at_end && !file.queued && !file.rotated && file.place.is_some() && file.size <= file.offset;
            if is_idle && file.file.take().is_some() {
                self.open -= 1;
                self.release_stream(id);
            }
        }
    }

    fn release_stream(&mut self, id: FileId) {
        let Some(file) = self.files.get_mut(id) else { return };
        let source = usize::from(file.source);
        if let (Some(stream), Some(source)) = (file.stream.take(), self.sources.get(source)) {
            self.released.push((source.output, stream));
        }
    }

    /// Once a second while there is anything to look after. True when there still is.
    pub(super) fn housekeeping(&mut self, now: Instant) -> bool {
        for id in std::mem::take(&mut self.failing) {
            match self.files.get(id).map(|f| f.failing.as_ref().map(|f| f.retry_at)) {
                Some(Some(at)) if at <= now => {
                    if self.open_file(id) {
                        self.files.make_ready(id);
                    } else if self.files.get(id).is_some_and(|f| f.failing.is_some()) && !self.failing.contains(&id) {
                        self.failing.push(id);
                    }
                }
                Some(Some(_)) => self.failing.push(id),
                Some(None) | None => {}
            }
        }
        for id in std::mem::take(&mut self.unsettled) {
            if !self.settle(id, now) {
                self.unsettled.push(id);
                self.files.make_ready(id);
            }
        }
        !(self.failing.is_empty() && self.unsettled.is_empty())
    }

    /// Links whose target was missing a moment ago. True when there are more to look at.
    pub(super) fn check_dangling(&mut self) -> bool {
        for (source, dir, name, since) in std::mem::take(&mut self.dangling) {
            self.present(source, dir, &name, None);
            let is_back = self
                .files
                .named(source, dir, &name)
                .and_then(|id| self.files.get(id))
                .is_some_and(|f| f.alias.is_some());
            if !is_back && since.elapsed() < DANGLING {
                self.dangling.push((source, dir, name, since));
            }
        }
        !self.dangling.is_empty()
    }

    /// Whether a rotated file needs no more attention: it is gone, or quiet under its other name.
    fn settle(&mut self, id: FileId, _now: Instant) -> bool {
        let Some(file) = self.files.get(id) else { return true };
        let Some(since) = file.quiet_since else { return true };
        if !file.is_settled() || file.gated || file.failing.is_some() {
            return false;
        }
        let has_own_name = file.place.is_some() && file.place != file.alias;
        let done = file.at_end && file.size <= file.offset;
        if has_own_name {
            if !done || since.elapsed() < Duration::from_millis(QUIET_MS) {
                return false;
            }
            self.settle_under_new_name(id);
            return true;
        }
        let Some(handle) = &file.file else {
            // Neither a name nor a descriptor: nothing more can be learned.
            self.let_go(id, false);
            return true;
        };
        if !done {
            return false;
        }
        let is_deleted = stat_file(handle).is_ok_and(|s| s.links == 0);
        let quiet_for = if is_deleted { UNLINKED_QUIET_MS } else { QUIET_MS };
        let quiet = since.elapsed() >= Duration::from_millis(quiet_for);
        let let_go = match has_no_writer(handle) {
            Some(no_writer) => no_writer || (!is_deleted && quiet),
            None => quiet,
        };
        if let_go {
            self.let_go(id, is_deleted);
        }
        let_go
    }

    /// A renamed file that is read to its end: if its new name matches, that is its path from now on.
    fn settle_under_new_name(&mut self, id: FileId) {
        self.files.finished(id);
        let Some(file) = self.files.get_mut(id) else { return };
        file.quiet_since = None;
        let Some(place) = file.place.clone() else { return };
        let source = file.source;
        if !self.tree.matches(place.dir, &place.name).contains(&source) {
            return;
        }
        let Some(path) = self.path_of(place.dir, &place.name) else { return };
        self.release_stream(id);
        let Some(file) = self.files.get_mut(id) else { return };
        file.origin = path.as_path().into();
        file.rotated = false;
        if let (Some(slot), Some(source)) = (file.slot, self.sources.get(usize::from(source))) {
            self.store.renew(slot, &encode_key(&source.settings.name, &file.identity), path_to_bytes(&path));
        }
    }

    /// Ends the following of a file. Its checkpoint goes too when the file is deleted.
    fn let_go(&mut self, id: FileId, is_deleted: bool) {
        self.release_stream(id);
        if let Some(file) = self.files.get_mut(id)
            && let Some(alias) = file.alias.take()
        {
            let source = file.source;
            self.files.unname(source, alias.dir, &alias.name);
            self.tree.unalias(alias.dir);
        }
        let Some(file) = self.files.remove(id) else { return };
        if file.file.is_some() {
            self.open = self.open.saturating_sub(1);
        }
        match file.slot {
            Some(slot) if is_deleted => self.store.forget(slot),
            Some(slot) => self.store.unclaim(slot),
            None => {}
        }
    }

    /// The file begins again, at its first byte.
    pub(super) fn truncated(&mut self, id: FileId) {
        let generation = self.files.next_generation();
        let Some(file) = self.files.get_mut(id) else { return };
        let lost = file.size.saturating_sub(file.offset);
        let Some(source) = self.sources.get_mut(usize::from(file.source)) else { return };
        source.status.truncated.add(1);
        source.status.lost_bytes.add(lost);
        source.in_flight = source.in_flight.saturating_sub(file.offset - file.stored);
        let (path, offset) = (file.origin.clone(), file.offset);
        file.restart(generation);
        if let Some(slot) = file.slot {
            self.store.restart(slot, 0, &file.mark.encode());
        }
        if lost > 0 {
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
        let Some(file) = self.files.get_mut(id) else { return };
        file.compressed = true;
        file.offset = 0;
        if file.file.take().is_some() {
            self.open = self.open.saturating_sub(1);
        }
        if let Some(source) = self.sources.get(usize::from(file.source)) {
            source.status.compressed.add(1);
            tracing::info!(
                source = %source.settings.name, path = %file.origin.display(),
                "the file is compressed and is not read; exclude it to be rid of this message"
            );
        }
    }

    /// Where a file can be found now, or where it was matched.
    pub(super) fn path(&self, id: FileId) -> PathBuf {
        let Some(file) = self.files.get(id) else { return PathBuf::new() };
        let place = file.place.as_ref().and_then(|p| self.path_of(p.dir, &p.name));
        place.unwrap_or_else(|| file.origin.to_path_buf())
    }

    fn path_of(&self, dir: DirId, name: &OsStr) -> Option<PathBuf> {
        Some(self.tree.path(dir)?.join(name))
    }
}

fn fail(source: &Source, path: &Path, action: &str, error: &io::Error) {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let uid = rustix::process::geteuid().as_raw();
            format!("; give user {uid} the right to read it (for /var/log that is usually membership in the group adm)")
        }
        _ => String::new(),
    };
    let problem = format!("cannot {action} {}: {error}{remedy}", path.display());
    if source.status.fails(path, &problem) {
        tracing::warn!(source = %source.settings.name, "{problem}; it is tried again");
    }
}

/// The start of the last, unfinished line of a file, and the marks there.
fn start_at_end(path: &Path, size: u64) -> io::Result<(u64, super::identity::Mark)> {
    let file: File = open_for_reading(path)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut end = size;
    let offset = loop {
        let start = end.saturating_sub(CHUNK_BYTES as u64);
        let part = buffer.get_mut(..(end - start) as usize).unwrap_or_default();
        file.read_exact_at(part, start)?;
        if let Some(newline) = memchr::memrchr(b'\n', part) {
            break start + newline as u64 + 1;
        }
        if start == 0 {
            break 0;
        }
        end = start;
    };
    Ok((offset, marks_at(&file, offset)?))
}
