//! Who goes on with the files that a source leaves, as it is gone or does not look for their paths any more: the source that looks for them now.
//!
//! Promises: such a file keeps its descriptor, its offset, what is in flight and its place among its path's generations; so what was rotated or deleted and
//! is not read yet is not lost. A source that looked for a path before has followed the file itself, and takes no other's. Of several sources that leave
//! the same files, those of the one that is furthest behind go on, and it is told what is sent again. Of several sources that look for them now the
//! others begin with a copy of the cursor. What nobody takes over and cannot be found again is counted.
//! Leaves to others: when this is done (`reload`), and files that were not followed (`saved`).

use super::follow::Follow;
use super::identity::{Identity, encode_key};
use super::saved::path_to_bytes;
use super::tracked::{FileId, Tracked};
use super::tree::{Rules, Tree};
use crate::base::metrics::Counter;
use foldhash::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

/// Files that go to another source, each with the number of that source in the next set.
pub(super) type Heirs = HashMap<FileId, u16>;

/// A file that its source leaves: its path, and the source's number before.
type Left = (PathBuf, u16, FileId);

/// What becomes of the files that sources leave.
#[derive(Default)]
pub(super) struct Estate {
    pub heirs: Heirs,
    /// Files of which further sources get a copy of the cursor.
    pub copies: Vec<(FileId, u16)>,
    /// Files that nobody follows any more.
    pub unwanted: Vec<FileId>,
}

impl Follow {
    /// Whether the patterns of a source match a path, as far as the path alone tells.
    pub(super) fn looks_for(&self, source: u16, path: &Path) -> bool {
        looks_for(&self.tree, source, path)
    }

    /// Of the unclaimed checkpoint that this source would go on with: see [`super::saved::SavedFiles::peek`].
    pub(super) fn peek<T>(&self, source: u16, identity: &Identity, look: impl FnOnce(u32, &Path) -> T) -> Option<T> {
        let name = &self.sources.get(usize::from(source))?.settings.name;
        self.saved.peek(name, identity, |path| self.looks_for(source, path), look)
    }

    /// Who gets the files that sources leave. `map`: the next number of each source; `may_leave`: it is gone, or its patterns changed; `names`: of
    /// the next set, in order; `next`: where they look. To be asked while this tree is in its place.
    pub(super) fn bequeath(&self, map: &[Option<u16>], may_leave: &[bool], names: &[&str], next: &Tree) -> Estate {
        let number_of = |source: u16| map.get(usize::from(source)).copied().flatten();
        let is_left = |source: u16, path: &Path| number_of(source).is_none_or(|number| !looks_for(next, number, path));
        let may_leave = |source: u16| may_leave.get(usize::from(source)).copied().unwrap_or_default();
        let files = self.files.iter().filter(|(_, file)| may_leave(file.source));
        let files = files.map(|(id, file)| (self.origin(id), file.source, id));
        let mut left: Vec<Left> = files.filter(|(path, source, _)| is_left(*source, path)).collect();
        left.sort_unstable();
        let looked_before = |number: u16, path: &Path| {
            let before = (0u16..).zip(map).find(|(_, next)| **next == Some(number));
            before.is_some_and(|(before, _)| self.looks_for(before, path))
        };
        let mut estate = Estate::default();
        for files in left.chunk_by(|a, b| a.0 == b.0) {
            let Some((path, _, _)) = files.first() else { continue };
            let numbers = (0u16..).zip(names).map(|(number, _)| number);
            let wanting = numbers.filter(|number| looks_for(next, *number, path) && !looked_before(*number, path));
            let mut wanting: Vec<u16> = wanting.collect();
            let mut by_source: Vec<&[Left]> = files.chunk_by(|a, b| a.1 == b.1).collect();
            by_source.sort_by_key(|files| self.first_unstored(files));
            let copied = wanting.split_off(wanting.len().min(by_source.len()));
            for (at, files) in by_source.iter().enumerate() {
                if let Some(heir) = wanting.get(at) {
                    self.give(files, *heir, names, &mut estate.heirs);
                } else if let (Some(first), Some(heir)) = (by_source.first(), wanting.first()) {
                    self.tell_repeated(files, first, names.get(usize::from(*heir)).copied().unwrap_or_default());
                }
            }
            let first = by_source.first().copied().unwrap_or_default();
            for heir in copied {
                let mut copies = Heirs::default();
                self.give(first, heir, names, &mut copies);
                estate.copies.extend(copies);
            }
        }
        // What was rotated away and is not finished was wanted when it was written, and is read to its end by its source, if that is there.
        let is_read_on = |source: u16, id: FileId| {
            let is_unfinished = self.files.get(id).is_some_and(|file| file.rotated && file.quiet_since().is_some());
            estate.heirs.contains_key(&id) || is_unfinished && number_of(source).is_some()
        };
        let unwanted = left.iter().filter(|(_, source, id)| !is_read_on(*source, *id));
        estate.unwanted = unwanted.map(|(_, _, id)| *id).collect();
        estate
    }

    /// How far a source is with the files of a path: birth and position of the first that is not stored to its end.
    fn first_unstored(&self, files: &[Left]) -> (i64, u64) {
        let files = files.iter().filter_map(|(_, _, id)| self.files.get(*id));
        let unstored = files.filter(|file| !file.compressed && file.stored < file.size.max(file.offset));
        unstored.map(|file| (file.identity.born_ns, file.stored)).min().unwrap_or((i64::MAX, u64::MAX))
    }

    fn give(&self, files: &[Left], heir: u16, names: &[&str], heirs: &mut Heirs) {
        let name = names.get(usize::from(heir)).copied().unwrap_or_default();
        for (_, _, id) in files {
            let Some(file) = self.files.get(*id) else { continue };
            // The heir goes on where it was itself, if it once followed the file under its name.
            if file.place.is_none() || !self.saved.has_own(name, &file.identity) {
                heirs.insert(*id, heir);
            }
        }
    }

    /// Tells what of `files` is read again as the heir goes on with those of another source, which are further behind.
    fn tell_repeated(&self, files: &[Left], behind: &[Left], heir: &str) {
        let get = |left: &Left| self.files.get(left.2);
        let repeated = |file: &Tracked| {
            let is_it = |other: &&Tracked| other.identity == file.identity;
            behind.iter().filter_map(get).find(is_it).map_or(0, |other| file.offset.saturating_sub(other.stored))
        };
        let bytes: u64 = files.iter().filter_map(get).map(repeated).sum();
        if let Some((path, _, _)) = files.first().filter(|_| bytes > 0) {
            tracing::warn!(
                source = %heir, path = %path.display(), sent_again_bytes = bytes,
                "several sources of this file became one: it goes on where the one was that had sent least, and endpoints of the others get lines again"
            );
        }
    }

    /// Files go to other sources: what is in flight of them is not their source's any more. To be done before sources are exchanged.
    pub(super) fn disburden(&mut self, heirs: &Heirs) {
        for id in heirs.keys() {
            let Some(file) = self.files.get(*id) else { continue };
            if let Some(source) = self.sources.get_mut(usize::from(file.source)) {
                source.in_flight = source.in_flight.saturating_sub(file.offset.saturating_sub(file.stored));
            }
        }
    }

    /// Further sources get copies of cursors, which they find as those of files that they once followed. `names`: of the next set; `lost` counts
    /// what has no name left, which only who has the descriptor can read. To be done while files have their names, and all that was read its intents.
    pub(super) fn copy_cursors(&self, copies: &[(FileId, u16)], names: &[&str], lost: &Counter) {
        for (id, heir) in copies {
            let Some(name) = names.get(usize::from(*heir)) else { continue };
            let Some(file) = self.files.get(*id).filter(|file| !file.compressed) else { continue };
            if file.place.is_none() {
                lost.add(file.size.saturating_sub(file.stored));
                continue;
            }
            let Some(saved) = file.slot.and_then(|slot| self.store.look(slot)) else { continue };
            let key = encode_key(name, &file.identity);
            let copy = self.store.define(&key, path_to_bytes(&self.origin(*id)), saved.position, &saved.mark);
            self.store.intend(saved.intents.into_iter().map(|intent| (copy, intent)));
            self.store.unclaim(copy);
        }
    }

    /// The sources are those of the next set, and the files have their new numbers: cursors and sums follow.
    pub(super) fn adopt(&mut self, heirs: &Heirs) {
        for (id, heir) in heirs {
            let origin = self.origin(*id);
            let (Some(file), Some(source)) = (self.files.get(*id), self.sources.get_mut(usize::from(*heir))) else {
                continue;
            };
            source.in_flight += file.offset.saturating_sub(file.stored);
            if let Some(slot) = file.slot {
                self.store.renew(slot, &encode_key(&source.settings.name, &file.identity), path_to_bytes(&origin));
            }
        }
    }

    /// Of files that are let go: counts and tells what was not read of those that have no name left and that no other source follows. `keeps`:
    /// whether what is in flight to the output with this number stays in flight; `stays`: whether the source does. `removed` counts for those
    /// that do not, whose own series go away.
    pub(super) fn count_lost(
        &self,
        files: &[FileId],
        keeps: impl Fn(usize) -> bool,
        stays: impl Fn(u16) -> bool,
        removed: &Counter,
    ) {
        let mut lost: HashMap<u16, u64> = HashMap::default();
        let gone: HashSet<FileId> = files.iter().copied().collect();
        let files = files.iter().filter_map(|id| self.files.get(*id));
        for file in files.filter(|file| file.place.is_none() && !file.compressed) {
            let Some(source) = self.sources.get(usize::from(file.source)) else { continue };
            let others =
                (0..self.sources.len() as u16).filter_map(|other| self.files.by_identity(other, &file.identity));
            let is_it = |other: FileId| self.files.get(other).is_some_and(|other| other.identity == file.identity);
            if others.into_iter().any(|other| !gone.contains(&other) && is_it(other)) {
                continue;
            }
            let size = file.file.as_ref().and_then(|handle| handle.metadata().ok()).map_or(file.size, |m| m.len());
            let done = if keeps(source.output) { file.offset } else { file.stored };
            *lost.entry(file.source).or_default() += size.saturating_sub(done);
        }
        for (number, bytes) in lost.into_iter().filter(|(_, bytes)| *bytes > 0) {
            let Some(source) = self.sources.get(usize::from(number)) else { continue };
            let counter = if stays(number) { &source.status.lost_bytes } else { removed };
            counter.add(bytes);
            tracing::warn!(
                source = %source.settings.name, lost_bytes = bytes,
                "deleted files that the source does not look for any more, or that was removed, had not been sent to their end, and no other source \
                 goes on with them"
            );
        }
    }
}

/// Whether the patterns of a tree's source match a path, as far as the path alone tells.
pub(super) fn looks_for(tree: &Tree, source: u16, path: &Path) -> bool {
    tree.rules(source).is_some_and(|rules| wants(rules, path))
}

/// Whether patterns match a path, as far as the path alone tells.
pub(super) fn wants(rules: &Rules, path: &Path) -> bool {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return false };
    let is_excluded = |dir: &Path| dir.parent().is_some() && rules.excludes.directory(dir);
    if rules.excludes.file(path) || directory.ancestors().any(is_excluded) {
        return false;
    }
    let names =
        || directory.components().filter_map(|c| if let Component::Normal(name) = c { Some(name) } else { None });
    rules.patterns.iter().any(|pattern| {
        let mut states: Vec<u16> = pattern.closure(0).collect();
        for name in names() {
            let mut into: Vec<u16> = Vec::new();
            for at in states.iter().flat_map(|at| pattern.step(*at, name).into).flatten() {
                into.extend(pattern.closure(at));
            }
            into.sort_unstable();
            into.dedup();
            states = into;
        }
        states.iter().any(|at| pattern.step(*at, name).file)
    })
}

#[cfg(test)]
mod tests {
    use super::super::pattern::{Excludes, Pattern};
    use super::*;

    fn rules(include: &[&str], exclude: &[&str]) -> Rules {
        let patterns = include.iter().flat_map(|text| Pattern::parse(text).unwrap()).collect();
        let exclude: Vec<String> = exclude.iter().map(|text| (*text).to_owned()).collect();
        Rules { patterns, excludes: Excludes::parse(&exclude).unwrap() }
    }

    #[test]
    fn a_path_is_wanted_or_not_without_a_look_at_the_disk() {
        let rules = rules(&["/a/*.log", "/b/**/x-*", "/c/{d,e/f}/g"], &["/a/no*", "**/skip"]);
        for path in ["/a/1.log", "/b/x-1", "/b/1/2/x-", "/c/d/g", "/c/e/f/g"] {
            assert!(wants(&rules, Path::new(path)), "{path}");
        }
        for path in ["/a/1.txt", "/a/b/1.log", "/a/no.log", "/b/y/1", "/b/skip/x-1", "/c/e/g", "/", "/c/d/g/h"] {
            assert!(!wants(&rules, Path::new(path)), "{path}");
        }
    }
}
