//! The file source: finds files by pattern, follows them through rotation, and reads their lines in chunks.
//!
//! From the outside in: `worker` is the thread that runs it all; `follow` decides what events mean, `begin`
//! what is done at first and `finish` at last; `tree` knows the directories, `source/watch`
//! tells of changes in them, `links` watches what links lead to; `files` is the set of followed files and `tracked` one of them, with its `identity`; `saved` finds the files
//! that checkpoints speak of, `twin` those that were compressed, `earlier` what was rotated before a log was met; `import` takes over what another agent
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
use std::path::Path;

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
