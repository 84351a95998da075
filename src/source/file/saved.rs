//! Finding the files that checkpoints speak of.
//!
//! A checkpoint belongs to an identity, never to a path: a file that was renamed while the agent was down is the same file. The device's
//! number may change with a reboot, so it decides only where there is no better evidence.
//!
//! Promises: a checkpoint is given out once; one that belongs to another source of this configuration is left to it.

use super::identity::{Identity, Mark, decode_key};
use crate::store::checkpoint::{Intent, Saved};
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

/// Checkpoints whose files have not been met yet, by inode.
#[derive(Debug, Default)]
pub(super) struct SavedFiles {
    by_inode: HashMap<u64, Vec<Known>>,
    /// Names of the configured sources.
    sources: Vec<String>,
    /// Inodes of checkpoints that were put back, in that order.
    returned: VecDeque<u64>,
}

/// How many files that went out of sight are remembered.
const RETURNED_MAX: usize = 10_000;

impl SavedFiles {
    pub(super) fn new(saved: Vec<Saved>, sources: Vec<String>) -> Self {
        let mut by_inode: HashMap<u64, Vec<Known>> = HashMap::new();
        for one in saved {
            // A checkpoint that is not understood stays where it is, for a version that understands it.
            let Some((source, identity)) = decode_key(&one.key) else { continue };
            let Some(mark) = Mark::decode(&one.mark) else { continue };
            let origin = path_from_bytes(&one.meta);
            let source = source.to_owned();
            let known =
                Known { slot: one.slot, source, identity, origin, position: one.position, mark, intents: one.intents };
            by_inode.entry(identity.inode).or_default().push(known);
        }
        SavedFiles { by_inode, sources, returned: VecDeque::new() }
    }

    /// Whether there may be a checkpoint for a file with this inode: cheap, to decide whether to look closer.
    pub(super) fn may_have(&self, inode: u64) -> bool {
        self.by_inode.contains_key(&inode)
    }

    /// Whether this source has read anything before.
    pub(super) fn knows_source(&self, name: &str) -> bool {
        self.by_inode.values().flatten().any(|known| known.source == name)
    }

    /// The latest time that anything was sent under, nanoseconds since 1970.
    pub(super) fn latest_ns(&self) -> i64 {
        self.by_inode.values().flatten().flat_map(|k| &k.intents).map(|i| i.time_ns).max().unwrap_or(0)
    }

    /// Takes the checkpoint for a file, if there is one.
    pub(super) fn take(&mut self, source: &str, identity: &Identity) -> Option<Known> {
        let candidates = self.by_inode.get_mut(&identity.inode)?;
        let fits = |known: &Known| known.identity.is_still(identity);
        let own = candidates.iter().position(|known| known.source == source && fits(known));
        // A source that was given another name goes on where it was.
        let orphan = || candidates.iter().position(|known| !self.sources.contains(&known.source) && fits(known));
        let place = own.or_else(orphan)?;
        let known = candidates.swap_remove(place);
        if candidates.is_empty() {
            self.by_inode.remove(&identity.inode);
        }
        Some(known)
    }

    /// Keeps a checkpoint for when its file comes back. Of very many the earliest are dropped, and would be read again.
    pub(super) fn put_back(&mut self, known: Known) {
        self.returned.push_back(known.identity.inode);
        if self.returned.len() > RETURNED_MAX
            && let Some(inode) = self.returned.pop_front()
        {
            self.by_inode.remove(&inode);
        }
        self.by_inode.entry(known.identity.inode).or_default().push(known);
    }

    /// The youngest known file of each path of a source.
    pub(super) fn newest_by_origin(&self, source: &str) -> Vec<(PathBuf, Known)> {
        let mut newest: HashMap<&Path, &Known> = HashMap::new();
        for known in self.by_inode.values().flatten().filter(|k| k.source == source) {
            let place = newest.entry(&known.origin).or_insert(known);
            if known.identity.born_ns > place.identity.born_ns {
                *place = known;
            }
        }
        newest.into_iter().map(|(path, known)| (path.to_owned(), known.clone())).collect()
    }

    /// Where the file of any checkpoint with this identity was matched.
    pub(super) fn peek(&self, source: &str, identity: &Identity) -> Option<&Path> {
        let candidates = self.by_inode.get(&identity.inode)?;
        candidates.iter().find(|k| k.source == source && k.identity.is_still(identity)).map(|k| k.origin.as_path())
    }
}

/// A path as its bytes, for a checkpoint.
pub(super) fn path_to_bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes()
}

fn path_from_bytes(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::super::identity::encode_key;
    use super::*;

    fn saved(source: &str, identity: Identity, position: u64) -> Saved {
        let mark = Mark::default().encode();
        Saved::new(1, &encode_key(source, &identity), b"/var/log/a", position, &mark, 0)
    }

    const FILE: Identity = Identity { device: 1, inode: 7, born_ns: 5 };

    #[test]
    fn identity_decides_and_a_checkpoint_is_given_once() {
        let mut files = SavedFiles::new(vec![saved("a", FILE, 10)], vec!["a".into()]);
        assert!(files.take("a", &Identity { inode: 8, ..FILE }).is_none());
        assert!(files.take("a", &Identity { born_ns: 6, ..FILE }).is_none(), "the inode was used again");
        let other_device = Identity { device: 2, ..FILE };
        assert_eq!(files.take("a", &other_device).map(|k| k.position), Some(10), "a reboot renumbers devices");
        assert!(files.take("a", &FILE).is_none());
    }

    #[test]
    fn without_birth_time_the_device_decides() {
        let unborn = Identity { born_ns: 0, ..FILE };
        let mut files = SavedFiles::new(vec![saved("a", unborn, 10)], vec!["a".into()]);
        assert!(files.take("a", &Identity { device: 2, ..unborn }).is_none());
        assert!(files.take("a", &unborn).is_some());
    }

    #[test]
    fn a_renamed_source_goes_on_but_never_takes_from_another() {
        let list = || vec![saved("old", FILE, 10)];
        let mut both = SavedFiles::new(list(), vec!["old".into(), "new".into()]);
        assert!(both.take("new", &FILE).is_none());
        let mut renamed = SavedFiles::new(list(), vec!["new".into()]);
        assert!(renamed.take("new", &FILE).is_some());
    }
}
