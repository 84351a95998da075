//! Who goes on with the files of a source that is gone: the one that looks for their paths now, as the source itself under another name does.
//!
//! Promises: such a file keeps its descriptor, its offset, what is in flight and its place among its path's generations; so what was rotated or deleted and
//! is not read yet is not lost. A source that looked for a path before has followed the file itself, and takes no other's.
//! What nobody takes over and cannot be found again is counted. Leaves to others: when this is done (`reload`), and files that were not followed (`saved`).

use super::follow::Follow;
use super::identity::{Identity, encode_key};
use super::saved::path_to_bytes;
use super::tracked::FileId;
use super::tree::{Rules, Tree};
use foldhash::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

/// Files that go to another source, each with the number of that source in the next set.
pub(super) type Heirs = HashMap<FileId, u16>;

impl Follow {
    /// Whether the patterns of a source match a path, as far as the path alone tells.
    pub(super) fn looks_for(&self, source: u16, path: &Path) -> bool {
        self.tree.rules(source).is_some_and(|rules| wants(rules, path))
    }

    /// Of the unclaimed checkpoint that this source would go on with: see [`super::saved::SavedFiles::peek`].
    pub(super) fn peek<T>(&self, source: u16, identity: &Identity, look: impl FnOnce(u32, &Path) -> T) -> Option<T> {
        let name = &self.sources.get(usize::from(source))?.settings.name;
        self.saved.peek(name, identity, |path| self.looks_for(source, path), look)
    }

    /// Who gets the files of sources that the next set does not have. `map`: the next number of each source; `names`: of the next set, in order;
    /// `next`: where they look. To be asked while this tree is in its place.
    pub(super) fn heirs(&self, map: &[Option<u16>], names: &[&str], next: &Tree) -> Heirs {
        let is_gone = |source: u16| map.get(usize::from(source)).copied().flatten().is_none();
        let left = self.files.iter().filter(|(_, file)| is_gone(file.source));
        let mut left: Vec<(u16, PathBuf, FileId)> = left.map(|(id, file)| (file.source, self.origin(id), id)).collect();
        left.sort_unstable();
        let mut heirs = Heirs::default();
        // Two sources that had the same file do not give it to the same one.
        let mut taken: HashSet<(u16, PathBuf)> = HashSet::default();
        let mut last: Option<(u16, PathBuf, Option<u16>)> = None;
        for (source, path, id) in left {
            let heir = match &last {
                Some((other, same, heir)) if *other == source && *same == path => *heir,
                _ => {
                    let heir = (0u16..).zip(names).map(|(number, _)| number).find(|number| {
                        let before = (0u16..).zip(map).find(|(_, next)| **next == Some(*number));
                        next.rules(*number).is_some_and(|rules| wants(rules, &path))
                            && !before.is_some_and(|(before, _)| self.looks_for(before, &path))
                            && !taken.contains(&(*number, path.clone()))
                    });
                    taken.extend(heir.map(|heir| (heir, path.clone())));
                    last = Some((source, path, heir));
                    heir
                }
            };
            let (Some(heir), Some(file)) = (heir, self.files.get(id)) else { continue };
            // The heir goes on where it was itself, if it once followed the file under its name.
            let name = names.get(usize::from(heir)).copied().unwrap_or_default();
            if file.place.is_none() || !self.saved.has_own(name, &file.identity) {
                heirs.insert(id, heir);
            }
        }
        heirs
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

    /// Of files that are let go: counts and tells what was not read of those that have no name left. `keeps`: whether what is in flight to the
    /// output with this number stays in flight.
    pub(super) fn count_lost(&self, files: &[FileId], keeps: impl Fn(usize) -> bool) {
        let mut lost: HashMap<u16, u64> = HashMap::default();
        let files = files.iter().filter_map(|id| self.files.get(*id));
        for file in files.filter(|file| file.place.is_none() && !file.compressed) {
            let Some(source) = self.sources.get(usize::from(file.source)) else { continue };
            let size = file.file.as_ref().and_then(|handle| handle.metadata().ok()).map_or(file.size, |m| m.len());
            let done = if keeps(source.output) { file.offset } else { file.stored };
            *lost.entry(file.source).or_default() += size.saturating_sub(done);
        }
        for (source, bytes) in lost.into_iter().filter(|(_, bytes)| *bytes > 0) {
            let Some(source) = self.sources.get(usize::from(source)) else { continue };
            source.status.lost_bytes.add(bytes);
            tracing::warn!(
                source = %source.settings.name, lost_bytes = bytes,
                "deleted files of a source that was removed had not been sent to their end, and no other source looks for their paths"
            );
        }
    }
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
