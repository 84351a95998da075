//! Finding the files that checkpoints speak of.
//!
//! A checkpoint belongs to an identity, never to a path: a file that was renamed while the agent was down is the same file. The device's
//! number may change with a reboot, so it decides only where there is no better evidence.
//!
//! What a checkpoint says stays in the store: here is only which inode to look for where.
//!
//! Promises: a checkpoint is given out once; one that belongs to another source of this configuration is left to it; one whose source is gone, or does
//! not look for its path any more, is an orphan, and goes to the source that looks for its path now, unless that has one of its own. Of several
//! orphans of one file the one goes that is furthest behind. An orphan of a file that is deleted and finished is forgotten (`finish`, `twin`).

use super::identity::{Identity, Mark, decode_key, key_prefix};
use crate::store::checkpoint::{Checkpoints, Intent, SavedRef};
use foldhash::{HashMap, HashMapExt};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// A checkpoint, understood.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub slot: u32,
    pub source: String,
    pub identity: Identity,
    /// Where the file was matched.
    pub origin: PathBuf,
    pub position: u64,
    pub mark: Mark,
    pub intents: VecDeque<Intent>,
}

/// A [`Known`] that is only looked at.
struct KnownRef<'a> {
    saved: SavedRef<'a>,
    source: &'a str,
    identity: Identity,
    mark: Mark,
}

impl<'a> KnownRef<'a> {
    /// A checkpoint that is not understood stays where it is, for a version that understands it.
    fn new(saved: SavedRef<'a>) -> Option<Self> {
        let (source, identity) = decode_key(saved.key)?;
        Some(KnownRef { saved, source, identity, mark: Mark::decode(saved.mark)? })
    }

    fn origin(&self) -> &'a Path {
        use std::os::unix::ffi::OsStrExt;
        Path::new(std::ffi::OsStr::from_bytes(self.saved.meta))
    }

    fn to_known(&self) -> Known {
        Known {
            slot: self.saved.slot,
            source: self.source.to_owned(),
            identity: self.identity,
            origin: self.origin().to_owned(),
            position: self.saved.position,
            mark: self.mark,
            intents: self.saved.intents.clone(),
        }
    }
}

/// Checkpoints whose files are not followed, by inode.
#[derive(Debug)]
pub(super) struct SavedFiles {
    store: Checkpoints,
    /// Inode and slot of what no file had at the start, ascending. A cursor that was claimed since then is passed over.
    at_start: Vec<(u64, u32)>,
    /// Names of the configured sources.
    sources: Vec<String>,
    /// Of `at_start`, those that a source of this configuration has and does not look for any more.
    left: HashMap<u32, Identity>,
    /// Names of the sources that checkpoints speak of.
    seen: Vec<String>,
    latest_ns: i64,
    /// Slots of checkpoints that were put back, by inode.
    returned: HashMap<u64, Vec<u32>>,
    /// Inodes of those, in that order.
    returned_order: VecDeque<u64>,
}

/// How many files that went out of sight are remembered.
const RETURNED_MAX: usize = 10_000;

impl SavedFiles {
    /// `looks_for`: whether the source of this number looks for a path. Called under a lock.
    pub(super) fn new(store: Checkpoints, sources: Vec<String>, looks_for: impl Fn(usize, &Path) -> bool) -> Self {
        let mut at_start = Vec::new();
        let mut left = HashMap::new();
        let mut seen: Vec<String> = Vec::new();
        let mut latest_ns = 0;
        store.for_each_saved(&key_prefix(), |saved| {
            let Some(known) = KnownRef::new(saved).filter(|_| !saved.in_use) else { return };
            at_start.push((known.identity.inode, saved.slot));
            let number = sources.iter().position(|source| source == known.source);
            // Where there is one source nobody could take them.
            if sources.len() > 1 && number.is_some_and(|number| !looks_for(number, known.origin())) {
                left.insert(saved.slot, known.identity);
            }
            if !seen.iter().any(|source| source == known.source) {
                seen.push(known.source.to_owned());
            }
            latest_ns = saved.intents.iter().map(|intent| intent.time_ns).fold(latest_ns, i64::max);
        });
        at_start.sort_unstable();
        at_start.shrink_to_fit();
        let (returned, returned_order) = (HashMap::new(), VecDeque::new());
        SavedFiles { store, at_start, sources, left, seen, latest_ns, returned, returned_order }
    }

    /// Whether there may be a checkpoint for a file with this inode: cheap, to decide whether to look closer.
    pub(super) fn may_have(&self, inode: u64) -> bool {
        self.slots(inode).next().is_some()
    }

    /// Whether this source has read anything before.
    pub(super) fn knows_source(&self, name: &str) -> bool {
        self.seen.iter().any(|source| source == name)
    }

    /// The latest time that anything was sent under, nanoseconds since 1970.
    pub(super) fn latest_ns(&self) -> i64 {
        self.latest_ns
    }

    fn slots(&self, inode: u64) -> impl Iterator<Item = u32> + '_ {
        let first = self.at_start.partition_point(|(other, _)| *other < inode);
        let at_start = self.at_start.get(first..).unwrap_or_default().iter();
        let returned = self.returned.get(&inode).into_iter().flatten().copied();
        at_start.take_while(move |(other, _)| *other == inode).map(|(_, slot)| *slot).chain(returned)
    }

    /// Shows a checkpoint if no file has it.
    fn look<T>(&self, slot: u32, look: impl FnOnce(&KnownRef<'_>) -> T) -> Option<T> {
        let shown = self.store.look_at(slot, |saved| KnownRef::new(saved).filter(|_| !saved.in_use).map(|k| look(&k)));
        shown.flatten()
    }

    /// The slot of an unclaimed checkpoint for a file, if it is one that is wanted.
    fn find(&self, identity: &Identity, is_wanted: impl Fn(&KnownRef<'_>) -> bool) -> Option<u32> {
        self.slots(identity.inode)
            .find(|slot| self.look(*slot, |known| known.identity.is_still(identity) && is_wanted(known)) == Some(true))
    }

    /// Whether no source has this checkpoint's name any more, or the one that has it does not look for its path.
    fn is_orphaned(&self, known: &KnownRef<'_>) -> bool {
        // The slot may have been used again.
        let is_left = self.left.get(&known.saved.slot) == Some(&known.identity);
        is_left || !self.sources.iter().any(|source| source == known.source)
    }

    /// The slot of the orphan for a file that is furthest behind: nothing is lost by it.
    fn find_orphan(&self, identity: &Identity, looks_for: impl Fn(&Path) -> bool) -> Option<u32> {
        let position = |slot| {
            let is_it =
                |k: &KnownRef<'_>| k.identity.is_still(identity) && self.is_orphaned(k) && looks_for(k.origin());
            self.look(slot, |known| is_it(known).then_some(known.saved.position)).flatten()
        };
        let orphans = self.slots(identity.inode).filter_map(|slot| Some((position(slot)?, slot)));
        orphans.min().map(|(_, slot)| slot)
    }

    /// Whether the source itself has a checkpoint for a file that was unclaimed at the start, claimed since then or not.
    fn has_met(&self, source: &str, identity: &Identity) -> bool {
        let is_it = |known: KnownRef<'_>| known.source == source && known.identity.is_still(identity);
        let mut slots = self.slots(identity.inode);
        slots.any(|slot| self.store.look_at(slot, |saved| KnownRef::new(saved).is_some_and(is_it)) == Some(true))
    }

    /// If there are orphans of paths that a source `looks_for`, so that it goes on with files of one that is gone: when the last of them was in use,
    /// seconds since 1970.
    pub(super) fn orphaned_s(&self, looks_for: impl Fn(&Path) -> bool) -> Option<i64> {
        let is_it = |known: &KnownRef<'_>| self.is_orphaned(known) && looks_for(known.origin());
        let seen = |slot| self.look(slot, |known| is_it(known).then_some(known.saved.seen_s)).flatten();
        self.at_start.iter().filter_map(|(_, slot)| seen(*slot)).max()
    }

    /// The file is finished and will never be seen again: what orphans say of it is of no use, and would have a compressed copy of it read again.
    pub(super) fn forget_orphans(&self, identity: &Identity) {
        while let Some(slot) = self.find_orphan(identity, |_| true) {
            self.store.forget(slot);
        }
    }

    /// Whether the source itself has an unclaimed checkpoint for a file.
    pub(super) fn has_own(&self, source: &str, identity: &Identity) -> bool {
        self.find(identity, |known| known.source == source).is_some()
    }

    /// Takes the checkpoint for a file, if there is one. It is to be claimed.
    pub(super) fn take(&mut self, source: &str, identity: &Identity) -> Option<Known> {
        let own = self.find(identity, |known| known.source == source);
        // A source that was given another name goes on where it was.
        let slot = own.or_else(|| self.find_orphan(identity, |_| true))?;
        if let Some(slots) = self.returned.get_mut(&identity.inode) {
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                self.returned.remove(&identity.inode);
            }
        }
        self.look(slot, |known| known.to_known())
    }

    /// Keeps an unclaimed checkpoint for when its file comes back. Of very many the earliest are dropped, and would be read again.
    pub(super) fn put_back(&mut self, inode: u64, slot: u32) {
        self.returned_order.push_back(inode);
        if self.returned_order.len() > RETURNED_MAX
            && let Some(inode) = self.returned_order.pop_front()
        {
            self.returned.remove(&inode);
        }
        self.returned.entry(inode).or_default().push(slot);
    }

    /// After the first scan: what was claimed is not looked for any more.
    pub(super) fn forget_claimed(&mut self) {
        let mut at_start = std::mem::take(&mut self.at_start);
        at_start.retain(|(_, slot)| self.look(*slot, |_| ()).is_some());
        at_start.shrink_to_fit();
        self.at_start = at_start;
    }

    /// The unclaimed checkpoints of a source, and the orphans of paths that it `looks_for` and of files that it never met itself, that pass
    /// `is_wanted`. Neither is called under a lock.
    pub(super) fn unclaimed<'a>(
        &'a self,
        source: &'a str,
        looks_for: impl Fn(&Path) -> bool + 'a,
        is_wanted: impl Fn(&Known) -> bool + 'a,
    ) -> impl Iterator<Item = Known> + 'a {
        let concerns = move |known: &KnownRef<'_>| known.source == source || self.is_orphaned(known);
        let known = move |slot: u32| self.look(slot, |known| concerns(known).then(|| known.to_known())).flatten();
        let known = self.at_start.iter().filter_map(move |(_, slot)| known(*slot));
        let may_have = move |known: &Known| {
            known.source == source || looks_for(&known.origin) && !self.has_met(source, &known.identity)
        };
        known.filter(move |known| may_have(known) && is_wanted(known))
    }

    /// Of each path, the youngest file of [`Self::unclaimed`].
    pub(super) fn newest_by_origin(
        &self,
        source: &str,
        looks_for: impl Fn(&Path) -> bool,
        is_wanted: impl Fn(&Known) -> bool,
    ) -> HashMap<PathBuf, Known> {
        let mut newest: HashMap<PathBuf, Known> = HashMap::new();
        for known in self.unclaimed(source, looks_for, is_wanted) {
            match newest.get_mut(&known.origin) {
                Some(place) if known.identity.born_ns > place.identity.born_ns => *place = known,
                Some(_) => {}
                None => {
                    newest.insert(known.origin.clone(), known);
                }
            }
        }
        newest
    }

    /// Of the unclaimed checkpoint with this identity, or else of the orphan of a path that the source `looks_for`: whatever `look` makes of
    /// its slot and of where the file was matched.
    pub(super) fn peek<T>(
        &self,
        source: &str,
        identity: &Identity,
        looks_for: impl Fn(&Path) -> bool,
        look: impl FnOnce(u32, &Path) -> T,
    ) -> Option<T> {
        let own = self.find(identity, |known| known.source == source);
        let slot = own.or_else(|| self.find_orphan(identity, looks_for))?;
        self.look(slot, |known| look(slot, known.origin()))
    }
}

/// A path as its bytes, for a checkpoint.
pub(super) fn path_to_bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::identity::encode_key;
    use super::*;
    use crate::base::clock::Clock;
    use crate::base::metrics::Registry;

    const FILE: Identity = Identity { device: 1, inode: 7, born_ns: 5 };

    /// Sources, and a store that has a checkpoint of `source` at position 10.
    fn files(source: &str, identity: Identity, sources: &[&str]) -> (SavedFiles, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let store = Checkpoints::open(dir.path(), Clock::System, &Registry::default()).unwrap();
        let mark = Mark::default().encode();
        let slot = store.define(&encode_key(source, &identity), b"/var/log/a", 10, &mark);
        store.unclaim(slot);
        (SavedFiles::new(store, sources.iter().map(|&name| name.into()).collect(), |_, _| true), dir)
    }

    fn take(files: &mut SavedFiles, source: &str, identity: &Identity) -> Option<u64> {
        let known = files.take(source, identity)?;
        assert!(files.store.claim(known.slot, &encode_key(&known.source, &known.identity)));
        Some(known.position)
    }

    #[test]
    fn identity_decides_and_a_checkpoint_is_given_once() {
        let (mut files, _dir) = files("a", FILE, &["a"]);
        assert!(take(&mut files, "a", &Identity { inode: 8, ..FILE }).is_none());
        assert!(take(&mut files, "a", &Identity { born_ns: 6, ..FILE }).is_none(), "the inode was used again");
        let other_device = Identity { device: 2, ..FILE };
        assert_eq!(files.peek("a", &FILE, |_| false, |_, origin| origin.to_owned()), Some("/var/log/a".into()));
        assert_eq!(take(&mut files, "a", &other_device), Some(10), "a reboot renumbers devices");
        assert!(take(&mut files, "a", &FILE).is_none());
        assert!(files.peek("a", &FILE, |_| true, |_, _| ()).is_none());
    }

    #[test]
    fn one_that_is_put_back_is_given_again() {
        let (mut files, _dir) = files("a", FILE, &["a"]);
        assert_eq!(take(&mut files, "a", &FILE), Some(10));
        files.forget_claimed();
        assert!(!files.may_have(FILE.inode));
        files.store.unclaim(0);
        files.put_back(FILE.inode, 0);
        assert_eq!(take(&mut files, "a", &FILE), Some(10));
        assert!(!files.may_have(FILE.inode));
    }

    #[test]
    fn without_birth_time_the_device_decides() {
        let unborn = Identity { born_ns: 0, ..FILE };
        let (mut files, _dir) = files("a", unborn, &["a"]);
        assert!(take(&mut files, "a", &Identity { device: 2, ..unborn }).is_none());
        assert!(take(&mut files, "a", &unborn).is_some());
    }

    #[test]
    fn a_renamed_source_goes_on_but_never_takes_from_another() {
        let (mut both, _dir) = files("old", FILE, &["old", "new"]);
        assert!(take(&mut both, "new", &FILE).is_none());
        let (mut renamed, _dir) = files("old", FILE, &["new"]);
        assert!(take(&mut renamed, "new", &FILE).is_some());
    }

    #[test]
    fn an_orphan_is_seen_by_a_source_that_looks_for_its_path() {
        let is_it = |path: &Path| path == Path::new("/var/log/a");
        let (both, _dir) = files("old", FILE, &["old", "new"]);
        assert!(both.peek("new", &FILE, is_it, |_, _| ()).is_none());
        assert_eq!(both.unclaimed("new", is_it, |_| true).count(), 0);
        assert!(both.has_own("old", &FILE) && !both.has_own("new", &FILE));
        let (renamed, _dir) = files("old", FILE, &["new"]);
        assert!(renamed.peek("new", &FILE, is_it, |_, _| ()).is_some());
        assert!(renamed.peek("new", &FILE, |_| false, |_, _| ()).is_none());
        assert_eq!(renamed.unclaimed("new", is_it, |_| true).count(), 1);
        assert_eq!(renamed.unclaimed("new", |_| false, |_| true).count(), 0);
        assert_eq!(renamed.newest_by_origin("new", is_it, |_| true).len(), 1);
        assert!(!renamed.has_own("new", &FILE));
        assert!(renamed.orphaned_s(is_it).is_some_and(|seen| seen > 0));
        assert_eq!((renamed.orphaned_s(|_| false), both.orphaned_s(is_it)), (None, None));
    }

    /// Three checkpoints of one file, of sources that are gone but the last, at positions 20, 10, 15.
    fn orphans(sources: &[&str]) -> (SavedFiles, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let store = Checkpoints::open(dir.path(), Clock::System, &Registry::default()).unwrap();
        for (source, position) in [("gone", 20), ("too", 10), ("here", 15)] {
            let slot = store.define(&encode_key(source, &FILE), b"/var/log/a", position, &Mark::default().encode());
            store.unclaim(slot);
        }
        (SavedFiles::new(store, sources.iter().map(|&name| name.into()).collect(), |_, _| true), dir)
    }

    #[test]
    fn an_orphan_is_not_for_who_has_met_the_file_and_the_one_furthest_behind_comes_first() {
        let (mut files, _dir) = orphans(&["here", "new"]);
        let positions = |files: &SavedFiles, source: &str| {
            files.unclaimed(source, |_| true, |_| true).map(|known| known.position).collect::<Vec<_>>()
        };
        assert_eq!(positions(&files, "here"), [15]);
        assert_eq!(positions(&files, "new").len(), 2);
        assert_eq!(take(&mut files, "here", &FILE), Some(15));
        assert_eq!(positions(&files, "here"), [0; 0], "it has it still");
        assert_eq!(take(&mut files, "new", &FILE), Some(10));
        files.forget_orphans(&FILE);
        assert_eq!(positions(&files, "new"), [0; 0]);
        assert!(take(&mut files, "new", &FILE).is_none());
        assert_eq!(files.store.saved(b"").len(), 2, "those in use stay");
    }

    #[test]
    fn what_its_source_does_not_look_for_any_more_is_an_orphan() {
        let (files, _dir) = files("old", FILE, &["old", "new"]);
        let narrowed = |number: usize, _: &Path| number == 1;
        let mut files = SavedFiles::new(files.store, files.sources, narrowed);
        assert_eq!(take(&mut files, "new", &FILE), Some(10));
    }
}
