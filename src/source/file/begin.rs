//! Beginning: the first scan, and what is done when a file is met for the first time.
//!
//! Promises: a file that was followed before the restart goes on where it was, under whatever name it has now in its directory; generations
//! that were made and rotated away in between are found; rotated files are read before the ones that took their place.
//! Leaves to others: everything after (`follow`, `finish`).

use super::follow::{Follow, fail};
use super::identity::{Mark, Stat, content_matches, encode_key, marks_at, stat_path};
use super::saved::{Known, path_to_bytes};
use super::settings::StartAt;
use super::tracked::{FileId, Place, Tracked, open_for_reading};
use super::tree::{DirId, Found, link_target};
use crate::base::limits::CHUNK_BYTES;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

impl Follow {
    /// The first scan: what checkpoints speak of is found first, wherever it was renamed to in its directory.
    pub(super) fn start(&mut self) {
        let mut found = Vec::new();
        self.tree.plant(&mut found);
        self.scan(found);
    }

    /// Takes in all that was found when patterns were followed for the first time. What is followed already stays as it is.
    pub(super) fn scan(&mut self, found: Vec<Found>) {
        let (known, others): (Vec<Found>, Vec<Found>) =
            found.into_iter().partition(|found| self.saved.may_have(found.inode));
        let missed = self.missed_generations(&known, &others);
        // Files that left their path come before those that are at it now: they are finished first.
        let mut at_their_path = Vec::new();
        for found in known {
            if self.is_stopping() {
                break;
            }
            if !self.resume_rotated(&found) {
                at_their_path.push(found);
            }
        }
        for (source, dir, name, origin) in missed {
            self.present(source, dir, &name, Some(&origin));
        }
        for found in at_their_path.into_iter().chain(others) {
            if self.is_stopping() {
                break;
            }
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

    /// Rotated files that never were seen at their path: made and rotated away while the agent was down.
    ///
    /// When the newest file known at a path is not there any more, files beside the path that have its name with something added, and that
    /// were born after it, are the generations between. One whose head equals that of a known file is a copy and no generation.
    fn missed_generations(&self, known: &[Found], others: &[Found]) -> Vec<(u16, DirId, OsString, PathBuf)> {
        let mut missed = Vec::new();
        // A file from before the agent was last at work was seen by it, or is a copy that somebody made.
        let alive_ns = self.store.last_written_ns().saturating_sub(ALIVE_MARGIN_NS);
        // By name, so that the few that begin like a path's file are found without looking at all.
        let mut by_name: BTreeMap<(&Path, &OsStr), &Found> = BTreeMap::new();
        for found in known.iter().chain(others) {
            if let Some(dir) = self.tree.path(found.dir) {
                by_name.insert((dir, &found.name), found);
            }
        }
        for (number, source) in (0u16..).zip(&self.sources).filter(|(_, source)| !source.carried) {
            for (origin, newest) in self.saved.newest_by_origin(&source.settings.name) {
                let at_origin = stat_path(&origin).is_ok_and(|stat| newest.identity.is_still(&stat.identity));
                if at_origin || newest.identity.born_ns == 0 || self.is_stopping() {
                    continue;
                }
                let (Some(parent), Some(stem)) = (origin.parent(), origin.file_stem()) else { continue };
                let beside = by_name
                    .range((parent, stem)..)
                    .take_while(|((dir, name), _)| *dir == parent && name.as_bytes().starts_with(stem.as_bytes()))
                    .map(|(_, found)| *found)
                    .filter(|found| {
                        is_rotated_name(&origin, &found.name)
                            && !self.tree.matches(found.dir, &found.name).contains(&number)
                            && !self.tree.is_excluded(number, found.dir, &found.name)
                    });
                let mut generations: Vec<(i64, &Found)> = beside
                    .filter_map(|found| {
                        let path = self.path_of(found.dir, &found.name)?;
                        let stat = stat_path(&path).ok()?;
                        let is_new = stat.is_file
                            && stat.identity.born_ns > newest.identity.born_ns.max(alive_ns)
                            && self.saved.peek(&source.settings.name, &stat.identity).is_none();
                        let is_copy = || {
                            let head = newest.mark.head_len;
                            open_for_reading(&path).is_ok_and(|handle| {
                                head > 0
                                    && content_matches(
                                        &handle,
                                        0,
                                        &Mark { head_len: head, head: newest.mark.head, tail: 0 },
                                    )
                            })
                        };
                        (is_new && !is_copy()).then_some((stat.identity.born_ns, found))
                    })
                    .collect();
                generations.sort_by_key(|(born, _)| *born);
                for (_, found) in generations {
                    tracing::info!(
                        source = %source.settings.name, path = %origin.display(), rotated_to = ?found.name,
                        "a file was written and rotated while lugger was not running: it is read first"
                    );
                    missed.push((number, found.dir, found.name.clone(), origin.clone()));
                }
            }
        }
        missed
    }

    /// Begins to follow a file.
    pub(super) fn track(&mut self, number: u16, dir: DirId, name: &OsStr, path: &Path, origin: &Path, stat: &Stat) {
        let generation = self.files.next_generation();
        let Some(source) = self.sources.get(usize::from(number)) else { return };
        let source_name = source.settings.name.clone();
        let from_end = self.is_starting && source.is_new && source.settings.start_at == StartAt::End;
        let mut file = Tracked::new(number, stat.identity, origin, generation);
        file.size = stat.size;
        match self.saved.take(&source_name, &stat.identity) {
            Some(known) => self.resume(&mut file, known, path, stat),
            None if from_end => {
                match start_at_end(path, stat.size) {
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
        if file.slot.is_none() {
            // Written down even before anything is read: it may be rotated while the agent is down.
            let key = encode_key(&source_name, &stat.identity);
            file.slot = Some(self.store.define(&key, path_to_bytes(origin), file.offset, &file.mark.encode()));
        }
        let mut is_quiet = file.offset == stat.size && file.replay.is_none();
        let rotated = *file.origin != *path;
        if !rotated {
            self.look_once_more(number, origin);
        }
        let id = self.files.insert(file);
        self.files.name(id, dir, name);
        if rotated {
            self.rotate(id);
        } else {
            self.files.succeeds(id);
        }
        if let Some((real_dir, real_name)) = link_target(path) {
            let real_dir = self.tree.alias(&real_dir);
            // The target was looked at before it was watched: it may have grown, or be another, since then.
            is_quiet = false;
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

    /// What was written to a path's earlier files before its new one was made comes before what is in the new one, even if they had been read
    /// to their end a moment ago: a file that was deleted tells of no writes.
    fn look_once_more(&mut self, source: u16, origin: &Path) {
        let is_earlier = |id: &FileId| {
            let file = self.files.get(*id).filter(|f| f.source == source && *f.origin == *origin);
            file.is_some_and(|f| f.rotated && f.file.is_some() && f.failing.is_none() && !f.compressed)
        };
        let earlier: Vec<FileId> = self.unsettled.iter().copied().filter(is_earlier).collect();
        for id in earlier {
            self.files.rotated(id);
            self.files.make_ready(id);
        }
    }

    /// Goes on where a checkpoint says, if the content is still the one it speaks of.
    fn resume(&mut self, file: &mut Tracked, known: Known, path: &Path, stat: &Stat) {
        let Some(source) = self.sources.get(usize::from(file.source)) else { return };
        // A cursor that was dropped in the meantime, being old, is defined anew by the caller.
        let was = encode_key(&known.source, &known.identity);
        file.slot = self.store.claim(known.slot, &was).then_some(known.slot);
        file.origin = known.origin.as_path().into();
        // With a birth time the inode is the same file. Its bytes are compared when it is read; one that seems to have nothing to read, and
        // was written to since the agent was last at work, may have been filled again to the same size.
        let will_be_read = file.size > known.position;
        let is_untouched = stat.modified_ns < self.store.last_written_ns().saturating_sub(ALIVE_MARGIN_NS);
        let certain = known.identity == file.identity && file.identity.born_ns != 0 && (will_be_read || is_untouched);
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
        if key != was
            && let Some(slot) = file.slot
        {
            self.store.renew(slot, &key, path_to_bytes(&file.origin));
        }
    }
}

/// The agent may have been killed before it wrote down what it met last, or with an older sign of life on disk than it gave: nanoseconds.
const ALIVE_MARGIN_NS: i64 = 2_000_000_000;

/// Whether logrotate or a program of its kind may have given a file at `origin` this name: `app.log.1`, `app.log-20260131`,
/// `app-20260131.log`, `app.log.old`. What is added is a number or a date: anything else is another file.
fn is_rotated_name(origin: &Path, name: &OsStr) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

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
