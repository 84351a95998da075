//! Beginning: the first scan, and what is done when a file is met for the first time.
//!
//! Promises: a file that was followed before the restart goes on where it was, under whatever name it has now in its directory; generations
//! that were made and rotated away in between are found; rotated files are read before the ones that took their place.
//! Leaves to others: everything after (`follow`, `finish`).

use super::earlier::Current;
use super::encoding::Encoding;
use super::follow::{Follow, fail};
use super::identity::{Identity, Mark, Stat, content_matches, encode_key, marks_at, stat_file, stat_path};
use super::saved::{Known, path_to_bytes};
use super::settings::StartAt;
use super::tracked::{FileId, Tracked, open_for_reading};
use super::tree::{DirId, Found, FoundName};
use crate::base::limits::CHUNK_BYTES;
use crate::source::owner::Owner;
use crate::store::checkpoint::Checkpoints;
use crate::store::inlet;
use foldhash::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The names of the first scan, by what is known of them.
pub(super) struct Sorted {
    kinds: Vec<Kind>,
    /// Slots of checkpoints whose files are where they were.
    pub(super) at_path: HashSet<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No checkpoint speaks of it.
    Unknown,
    /// It goes on, or not, where its name is.
    AtPath,
    /// A checkpoint was made under another path.
    Elsewhere,
    /// No checkpoint speaks of it, and it is a file of an inlet that has its number: older than the one that is written to.
    Numbered,
}

impl Follow {
    /// The first scan: what checkpoints speak of is found first, wherever it was renamed to in its directory.
    pub(super) fn start(&mut self) {
        let mut found = Found::default();
        self.tree.plant(&mut found);
        self.scan(&found);
    }

    /// Takes in all that was found when patterns were followed for the first time. What is followed already stays as it is.
    pub(super) fn scan(&mut self, found: &Found) {
        let mut sorted = self.sort(found);
        let missed = self.missed_generations(found, &sorted);
        // Files that left their path come before those that are at it now: they are finished first.
        for (found, kind) in found.iter().zip(&mut sorted.kinds) {
            if *kind == Kind::Elsewhere && !self.is_stopping() && !self.resume_rotated(found) {
                *kind = Kind::AtPath;
            }
        }
        self.read_twins(found, &sorted);
        for (source, dir, name, origin) in missed {
            self.present(source, dir, &name, Some(&origin));
        }
        for turn in [Kind::Numbered, Kind::AtPath, Kind::Unknown] {
            for (found, _) in found.iter().zip(&sorted.kinds).filter(|(_, kind)| **kind == turn) {
                if self.is_stopping() {
                    break;
                }
                self.found(found);
            }
        }
        self.is_starting = false;
        self.saved.forget_claimed();
        self.tell_missing();
        self.tell_unlisted();
    }

    /// Which of the names have checkpoints, and which of these are at their path.
    fn sort(&self, found: &Found) -> Sorted {
        let mut sorted = Sorted { kinds: Vec::with_capacity(found.len()), at_path: HashSet::default() };
        for found in found.iter() {
            let kind = if self.saved.may_have(found.inode) && !self.is_stopping() {
                self.kind_of(found, &mut sorted.at_path)
            } else {
                Kind::Unknown
            };
            let kind = if kind == Kind::Unknown && self.is_numbered(found) { Kind::Numbered } else { kind };
            sorted.kinds.push(kind);
        }
        sorted
    }

    fn is_numbered(&self, found: FoundName<'_>) -> bool {
        if !self.sources.iter().any(|source| source.settings.removes_done()) {
            return false;
        }
        let Some(path) = self.path_of(found.dir, found.name) else { return false };
        self.tree.matches(found.dir, found.name).iter().any(|source| self.inlet_path(*source, &path).is_some())
    }

    fn kind_of(&self, found: FoundName<'_>, at_path: &mut HashSet<u32>) -> Kind {
        let Some(path) = self.path_of(found.dir, found.name) else { return Kind::AtPath };
        let Ok(stat) = stat_path(&path) else { return Kind::AtPath };
        let mut kind = Kind::AtPath;
        for number in 0..self.sources.len() as u16 {
            let at = self.peek(number, &stat.identity, |slot, origin| (slot, *origin == *path));
            match at {
                Some((slot, true)) => {
                    at_path.insert(slot);
                }
                Some((_, false)) => kind = Kind::Elsewhere,
                None => {}
            }
        }
        kind
    }

    /// If the name is a file with a checkpoint that was made under another path, goes on with it as a rotated one.
    fn resume_rotated(&mut self, found: FoundName<'_>) -> bool {
        let Some(path) = self.path_of(found.dir, found.name) else { return false };
        let Ok(stat) = stat_path(&path) else { return false };
        let mut resumed = false;
        for number in 0..self.sources.len() as u16 {
            let other = |_, origin: &Path| (*origin != *path).then(|| origin.to_owned());
            let origin = self.peek(number, &stat.identity, other).flatten();
            if let Some(origin) = origin {
                self.present(number, found.dir, found.name, Some(&origin));
                resumed = true;
            }
        }
        resumed
    }

    /// Rotated files that never were seen at their path: made and rotated away while the agent was down.
    ///
    /// When the newest file known at a path is not there any more, files beside the path that have its name with something added, and that
    /// were born after it, are the generations between. One whose head equals that of a known file is a copy and no generation.
    fn missed_generations(&self, found: &Found, sorted: &Sorted) -> Vec<(u16, DirId, OsString, PathBuf)> {
        let mut missed = Vec::new();
        // A file from before the agent was last at work was seen by it, or is a copy that somebody made.
        let alive_ns = alive_ns(&self.store);
        // By directory and name, so that the few that begin like a path's file are found without looking at all. Made when it is needed.
        let mut by_name: Vec<u32> = Vec::new();
        let key = |at: &u32| found.get(*at as usize).map(|found| (found.dir, found.name));
        for (number, source) in
            (0u16..).zip(&self.sources).filter(|(_, source)| !source.carried && !source.settings.removes_done())
        {
            let name = source.settings.name.as_str();
            let is_away = |known: &Known| {
                !sorted.at_path.contains(&known.slot)
                    && known.identity.born_ns != 0
                    && !stat_path(&known.origin).is_ok_and(|stat| known.identity.is_still(&stat.identity))
            };
            for (origin, newest) in self.saved.newest_by_origin(name, |path| self.looks_for(number, path), is_away) {
                let born = newest.identity.born_ns;
                // The one that is at the path is known, too, and younger: nothing was missed.
                let is_succeeded = stat_path(&origin).is_ok_and(|stat| {
                    stat.identity.born_ns > born
                        && (self.files.by_identity(number, &stat.identity).is_some()
                            || self.peek(number, &stat.identity, |_, other| *other == *origin) == Some(true))
                });
                if is_succeeded || self.is_stopping() {
                    continue;
                }
                let (Some(parent), Some(stem)) = (origin.parent(), origin.file_stem()) else { continue };
                let Some(dir) = self.tree.id_at(parent) else { continue };
                if by_name.is_empty() {
                    by_name = (0..found.len() as u32).collect();
                    by_name.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
                }
                let first = by_name.partition_point(|at| key(at) < Some((dir, stem)));
                let beside = by_name
                    .get(first..)
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|at| found.get(*at as usize))
                    .take_while(|found| found.dir == dir && found.name.as_bytes().starts_with(stem.as_bytes()))
                    .filter(|found| {
                        is_rotated_name(&origin, found.name)
                            && !self.tree.matches(found.dir, found.name).contains(&number)
                            && !self.tree.is_excluded(number, found.dir, found.name)
                    });
                let mut generations: Vec<(i64, FoundName<'_>)> = beside
                    .filter_map(|found| {
                        let path = self.path_of(found.dir, found.name)?;
                        let stat = stat_path(&path).ok()?;
                        let is_new = stat.is_file
                            && stat.identity.born_ns > born.max(alive_ns)
                            && self.files.by_identity(number, &stat.identity).is_none()
                            && self.peek(number, &stat.identity, |_, _| ()).is_none();
                        let is_copy = || {
                            let head = newest.mark.head_len;
                            open_for_reading(&path).is_ok_and(|handle| {
                                head > 0
                                    && content_matches(
                                        &handle,
                                        0,
                                        &Mark { head_len: head, head: newest.mark.head, tail: 0 },
                                    )
                                    .unwrap_or(false)
                            })
                        };
                        (is_new && !is_copy()).then_some((stat.identity.born_ns, found))
                    })
                    .collect();
                generations.sort_by_key(|(born, _)| *born);
                for (_, found) in generations {
                    tracing::info!(
                        source = %name, path = %origin.display(), rotated_to = ?found.name,
                        "a file was written and rotated while it was not followed: it is read first"
                    );
                    missed.push((number, found.dir, found.name.to_owned(), origin.clone()));
                }
            }
        }
        missed
    }

    /// Begins to follow a file.
    pub(super) fn track(&mut self, number: u16, dir: DirId, name: &OsStr, path: &Path, origin: &Path, stat: &Stat) {
        let generation = self.files.next_generation();
        let Some(source) = self.sources.get(usize::from(number)) else { return };
        // Asked at once, also if it matters later: what is known now may be gone then.
        let owner = source.settings.owners.as_ref().map(|owners| owners.0.of(origin));
        if matches!(owner, Some(Owner::Unwanted)) {
            return;
        }
        let source_name = source.settings.name.clone();
        let is_owned = owner.is_some() && origin == path;
        let born = stat.identity.born_ns;
        let is_successor = source.replaces_since_ns.is_some_and(|since| born == 0 || born > since);
        let is_first_start = self.is_starting && source.is_new && !is_successor;
        let from_end = is_first_start && source.settings.start_at == StartAt::End;
        let mut now = *stat;
        let mut file = Tracked::new(number, stat.identity, generation);
        file.size = stat.size;
        file.set_origin((*origin != *path).then(|| origin.into()));
        match self.saved.take(&source_name, &stat.identity) {
            Some(known) => {
                self.resume(&mut file, known, path, stat);
                // It is opened first: what is beside it then is not itself, compressed a moment ago.
                let is_open = is_owned && self.may_hold() && file.open(path).is_ok();
                self.open += usize::from(is_open);
                if is_open || is_owned && !self.may_hold() {
                    file.set_earlier(self.earlier_of(origin));
                }
            }
            None if is_owned && !from_end => match self.take_earlier(number, dir, name, &stat.identity, origin) {
                // The name may lead to a newer one by now: what was met is among the earlier ones then.
                Current::Is(handle, is, earlier) => {
                    if is.identity != now.identity && self.files.by_identity(number, &is.identity).is_some() {
                        return;
                    }
                    now = is;
                    file.identity = now.identity;
                    file.size = now.size;
                    file.set_earlier(earlier);
                    if self.may_hold() {
                        file.file = Some(handle);
                        self.open += 1;
                    }
                }
                // What takes its place is told of.
                Current::Rotated => return,
                Current::Unknown => {}
            },
            None if from_end => {
                match start_at_end(path, stat.size, source.settings.encoding) {
                    Ok((offset, mark)) => {
                        file.offset = offset;
                        file.stored = offset;
                        file.mark = mark;
                    }
                    // It is read from its beginning once it can be read: too much is better than too little.
                    Err(error) => fail(source, path, "read", &error),
                }
            }
            None => {}
        }
        let stat = &now;
        if file.slot.is_none() {
            // Written down even before anything is read: it may be rotated while the agent is down.
            let key = encode_key(&source_name, &stat.identity);
            file.slot = Some(self.store.define(&key, path_to_bytes(origin), file.offset, &file.mark.encode()));
        }
        let mut is_quiet = file.offset == stat.size && file.replay.is_none();
        let rotated = file.origin().is_some();
        if rotated && let Some(of_inlet) = inlet::number_of(name).filter(|_| self.is_inlet(number)) {
            file.set_number(of_inlet);
        }
        let age = if rotated { file.age() } else { (u64::MAX, i64::MAX) };
        self.look_once_more(number, origin, age);
        let id = self.files.insert(file);
        self.files.name(id, dir, name);
        if rotated {
            self.rotate(id);
        } else {
            self.files.succeeds(id, path);
        }
        // The target was looked at before it was watched: it may have grown, or be another, since then.
        is_quiet &= !self.watch_target(number, id, path, stat);
        // What belongs to somebody may be gone with him a moment after it was written: it is opened even if there is nothing in it.
        if is_quiet && !rotated && owner.is_none() {
            if let Some(file) = self.files.get_mut(id) {
                file.at_end = true;
            }
        } else if (self.is_starting && (owner.is_none() || !self.may_hold())) || self.open_file(id) {
            self.files.make_ready(id);
        }
    }

    /// What was written to a path's earlier files before its new one was made comes before what is in the new one, even if they had been read
    /// to their end a moment ago: a file that was deleted tells of no writes, and the new one may be met when it is rotated itself.
    /// Of the earlier files only those of at least this age count.
    fn look_once_more(&mut self, source: u16, origin: &Path, age: (u64, i64)) {
        let is_earlier = |id: &FileId| {
            let file = self.files.get(*id).filter(|f| f.source == source && f.origin() == Some(origin));
            file.is_some_and(|f| {
                let is_older = f.age() <= age;
                f.rotated && is_older && f.file.is_some() && f.failing().is_none() && !f.compressed
            })
        };
        let earlier: Vec<FileId> = self.unsettled.iter().copied().filter(is_earlier).collect();
        for id in earlier {
            self.files.rotated(id);
            self.files.make_ready(id);
        }
    }

    /// Goes on where a checkpoint says, if the content is still the one it speaks of.
    pub(super) fn resume(&mut self, file: &mut Tracked, known: Known, path: &Path, stat: &Stat) {
        let Some(source) = self.sources.get(usize::from(file.source)) else { return };
        // A cursor that was dropped in the meantime, being old, is defined anew by the caller.
        let was = encode_key(&known.source, &known.identity);
        file.slot = self.store.claim(known.slot, &was).then_some(known.slot);
        file.set_origin((*known.origin != *path).then(|| known.origin.as_path().into()));
        // With a birth time the inode is the same file. Its bytes are compared when it is read; one that seems to have nothing to read, and
        // was written to since the agent was last at work, may have been filled again to the same size. One that cannot be looked at now, or is
        // not under this name any more, is not for that another one.
        let will_be_read = file.size > known.position;
        let is_untouched = stat.modified_ns < alive_ns(&self.store);
        let certain = known.identity == file.identity && file.identity.born_ns != 0 && (will_be_read || is_untouched);
        let same = file.size >= known.position
            && (certain || content_at(path, &file.identity, known.position, &known.mark).unwrap_or(true));
        if same {
            file.offset = known.position;
            file.stored = known.position;
            file.mark = known.mark;
            file.replay = (!known.intents.is_empty()).then(|| Box::new(known.intents));
        } else {
            source.status.truncated.add(1);
            tracing::info!(
                source = %source.settings.name, path = %path.display(), checkpoint = known.position, size = file.size,
                "the file was truncated or replaced while it was not followed: it is read from its beginning"
            );
            self.store.restart(known.slot, 0, &file.mark.encode());
        }
        let key = encode_key(&source.settings.name, &file.identity);
        if key != was
            && let Some(slot) = file.slot
        {
            self.store.renew(slot, &key, path_to_bytes(&known.origin));
        }
    }
}

/// Whether what is at `path` has the content that was read up to `offset`. `None`: it cannot be read, or is not this file.
fn content_at(path: &Path, identity: &Identity, offset: u64, mark: &Mark) -> Option<bool> {
    let handle = open_for_reading(path).ok()?;
    let found = stat_file(&handle).ok()?.identity;
    if (found.device, found.inode) != (identity.device, identity.inode) {
        return None;
    }
    content_matches(&handle, offset, mark).ok()
}

/// The agent may have been killed before it wrote down what it met last, or with an older sign of life on disk than it gave: nanoseconds.
pub(super) const ALIVE_MARGIN_NS: i64 = 2_000_000_000;

/// What is older than this was there when the agent was last at work: nanoseconds since 1970.
pub(super) fn alive_ns(store: &Checkpoints) -> i64 {
    store.last_written_ns().saturating_sub(ALIVE_MARGIN_NS)
}

/// Whether logrotate or a program of its kind may have given a file at `origin` this name: `app.log.1`, `app.log-20260131`,
/// `app-20260131.log`, `app.log.old`. What is added is a number or a date: anything else is another file.
pub(super) fn is_rotated_name(origin: &Path, name: &OsStr) -> bool {
    let (Some(base), Some(name)) = (origin.file_name().and_then(OsStr::to_str), name.to_str()) else { return false };
    let added = |whole: &str, base: &str| {
        whole.strip_prefix(base).is_some_and(|rest| {
            let is_number = rest.contains(|c: char| c.is_ascii_digit())
                && rest.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | ':' | 'T'));
            rest.starts_with(['.', '-', '_']) && (is_number || matches!(rest, ".old" | "-old" | "_old"))
        })
    };
    if added(name, base) {
        return true;
    }
    match base.rsplit_once('.') {
        Some((stem, extension)) => {
            let middle = name.strip_suffix(extension).and_then(|n| n.strip_suffix('.'));
            middle.is_some_and(|middle| added(middle, stem))
        }
        None => false,
    }
}

/// The start of the last, unfinished line of what a file has up to `size`, and the marks there.
pub(super) fn start_at_end(path: &Path, size: u64, encoding: Encoding) -> io::Result<(u64, super::identity::Mark)> {
    let file: File = open_for_reading(path)?;
    let decoding = encoding.of_file(&file)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    // Newlines of two bytes lie at even offsets: none is divided by the bounds of parts.
    let mut end = decoding.as_ref().map_or(size, |decoding| size - decoding.torn(size) as u64);
    let offset = loop {
        let start = end.saturating_sub(CHUNK_BYTES as u64);
        let part = buffer.get_mut(..(end - start) as usize).unwrap_or_default();
        file.read_exact_at(part, start)?;
        let newline = match &decoding {
            None => memchr::memrchr(b'\n', part).map(|at| at + 1),
            Some(decoding) => decoding.last_newline(part, start).map(|at| at + decoding.unit()),
        };
        if let Some(after) = newline {
            break start + after as u64;
        }
        if start == 0 {
            break 0;
        }
        end = start;
    };
    Ok((offset, marks_at(&file, offset)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_under_its_name_any_more_is_not_for_that_another_one() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (path, aside) = (dir.path().join("app.log"), dir.path().join("app.log.1"));
        std::fs::write(&path, "one\ntwo\n")?;
        let identity = stat_path(&path)?.identity;
        let mark = marks_at(&File::open(&path)?, 8)?;
        assert_eq!(content_at(&path, &identity, 8, &mark), Some(true));
        std::fs::rename(&path, &aside)?;
        assert_eq!(content_at(&path, &identity, 8, &mark), None, "nothing is there");
        std::fs::write(&path, "another\n")?;
        assert_eq!(content_at(&path, &identity, 8, &mark), None, "another file is there");
        std::fs::write(&aside, "other\nbytes\n")?;
        assert_eq!(content_at(&aside, &identity, 8, &mark), Some(false));
        std::fs::write(&aside, "one\n")?;
        assert_eq!(content_at(&aside, &identity, 8, &mark), Some(false), "it is shorter");
        Ok(())
    }

    #[test]
    fn names_that_rotation_gives() {
        let origin = Path::new("/log/app.log");
        for name in ["app.log.1", "app.log-20260131", "app-20260131.log", "app.1.log", "app.log_old"] {
            assert!(is_rotated_name(origin, OsStr::new(name)), "{name}");
        }
        for name in [
            "app.log",
            "app.log.",
            "application.log",
            "other.log.1",
            "app.txt",
            "app",
            "app-secret.log",
            "app.log-x1",
            "app-worker-1.log",
        ] {
            assert!(!is_rotated_name(origin, OsStr::new(name)), "{name}");
        }
    }
}
