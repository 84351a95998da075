//! The file source: finds files by pattern, follows them through rotation, and reads their lines in chunks.
//!
//! From the outside in: `worker` is the thread that runs it all; `follow` decides what events mean, `begin`
//! what is done at first and `finish` at last; `tree` knows the directories, `source/watch`
//! tells of changes in them, `links` watches what links lead to; `files` is the set of followed files and `tracked` one of them, with its `identity`; `saved` finds the files
//! that checkpoints speak of, `twin` those that were compressed; `import` takes over what another agent
//! has read; `read` reads a chunk, `lines` cuts it and `encoding` decodes what is not UTF-8; `reload` changes a running
//! worker to other settings, and `heirs` says whose files become whose by that.
//!
//! Promises: identity, not path, decides; what was on disk when it was looked at is read once, rotated files first; a line is handed on whole,
//! and only when it has ended or its file has. Leaves to others: batches, delivery.

mod begin;
pub mod encoding;
mod files;
mod finish;
mod follow;
mod heirs;
mod identity;
pub mod import;
pub mod lines;
mod links;
pub mod pattern;
mod pipe;
mod read;
pub mod reload;
mod saved;
pub mod settings;
mod staged;
pub mod status;
mod tracked;
mod tree;
mod twin;
pub mod worker;
