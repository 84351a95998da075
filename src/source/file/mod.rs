//! The file source: finds files by pattern, follows them through rotation, and reads their lines in chunks.
//!
//! From the outside in: `worker` is the thread that runs it all; `follow` decides what events mean, `begin`
//! what is done at first and `finish` at last; `tree` knows the directories, `source/watch`
//! tells of changes in them, `links` watches what links lead to; `files` is the set of followed files and `tracked` one of them, with its `identity`; `saved` finds the files
//! that checkpoints speak of, `twin` those that were compressed, `recover` those that were while they were met, `earlier` what was rotated before a log was met; `import` takes over what another agent
//! has read; `inlets` knows the order of received records and removes what is done; `read` reads a chunk, `lines` cuts it and `encoding` decodes what is not UTF-8; `reload` changes a running
//! worker to other settings, and `heirs` says whose files become whose by that.
//!
//! Promises: identity, not path, decides; what was on disk when it was looked at is read once, rotated files first; a line is handed on whole,
//! and only when it has ended or its file has. Leaves to others: batches, delivery.

mod begin;
mod earlier;
pub mod encoding;
mod files;
mod finish;
mod follow;
mod heirs;
mod identity;
pub mod import;
mod inlets;
pub mod lines;
mod links;
pub mod pattern;
mod pipe;
mod read;
mod records;
mod recover;
pub mod reload;
mod saved;
pub mod settings;
mod staged;
pub mod status;
mod tracked;
mod tree;
mod twin;
pub mod worker;

use crate::store::checkpoint::{Checkpoints, Saved};
use pattern::{Excludes, Pattern, PatternError};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use tree::{Found, Rules, Tree};

/// How many files these patterns match now. Reads the directories that they lead through, so it blocks.
pub fn matching(include: &[String], exclude: &[String]) -> Result<usize, PatternError> {
    let patterns: Result<Vec<_>, _> = include.iter().map(|text| Pattern::parse(text)).collect();
    let rules = Rules { patterns: patterns?.concat(), excludes: Excludes::parse(exclude)? };
    let mut tree = Tree::new(vec![rules], None);
    let mut found = Found::default();
    tree.plant(&mut found);
    let wanted = found.iter().filter(|found| !tree.matches(found.dir, found.name).is_empty());
    let paths = wanted.filter_map(|found| Some(tree.path(found.dir)?.join(found.name)));
    let files: HashSet<PathBuf> = paths.filter(|path| path.is_file()).collect();
    Ok(files.len())
}

/// How far the file at a path was read and is on its way, or stored, bytes. 0 where that is not known.
pub fn taken(store: &Checkpoints, source: &str, path: &Path) -> u64 {
    let (position, slot) = saved(store, source, path, |saved| (saved.position, Some(saved.slot)));
    slot.map_or(0, |slot| position.max(store.read_to(slot)))
}

/// How far the file at a path is stored by all endpoints that a source goes to, bytes. 0 where that is not known.
pub fn stored(store: &Checkpoints, source: &str, path: &Path) -> u64 {
    saved(store, source, path, |saved| saved.position)
}

fn saved<T: Default>(store: &Checkpoints, source: &str, path: &Path, of: impl Fn(&Saved) -> T) -> T {
    let Ok(stat) = identity::stat_path(path) else { return T::default() };
    let key = identity::encode_key(source, &stat.identity);
    store.saved(&key).iter().find(|saved| *saved.key == *key).map_or_else(T::default, of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_match_are_counted_once_and_others_are_not() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("dir.log")).unwrap();
        for name in ["a.log", "b.log", "b.txt", "dir.log/c.log"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let pattern = |end: &str| format!("{}/{end}", directory.path().display());
        for (include, exclude, wanted) in [
            (vec![pattern("*.log"), pattern("a.log")], vec![], 2),
            (vec![pattern("**/*.log")], vec![pattern("b*")], 2),
            (vec![pattern("*.lgo")], vec![], 0),
        ] {
            assert_eq!(matching(&include, &exclude).unwrap(), wanted, "{include:?}");
        }
    }
}
