//! Reads the files that systemd-journald writes, also while it writes them.
//!
//! The format is systemd's published one (Journal File Format): a header, then objects at multiples of eight. An **entry** lists the offsets of
//! its **data** objects (`NAME=value`, each distinct one stored once, large ones compressed), and a chain of **entry arrays** lists the entries
//! in order. Both forms of it are read, regular and compact, with payloads as they are or compressed by zstd, LZ4 or xz. Hashes are not
//! needed: nothing is looked up by content.
//!
//! Promises:
//! - Nothing is mapped: a file that shrinks or fails under the reader is an error, not a signal. Bytes come through [`Bytes`], in pages.
//! - The writer is never waited for or disturbed. The number of entries is read first, and no more entries than that are looked for; journald
//!   raises it only when an entry is complete.
//! - Whatever is in the file, reading ends, does not panic, and takes bounded memory: offsets and sizes are checked, arrays have to lie one behind
//!   the other, a payload is cut at [`limits::JOURNALD_FIELD_BYTES`].
//! - What is damaged is passed over and counted ([`Damage`]), each thing for itself: a data object costs its field, an entry itself. A broken
//!   link in the chain of arrays costs all entries behind it, unless the objects themselves can be walked (see [`Reader`]).
//! - No allocation an entry, once the buffers have grown. Data that many entries share is parsed once.
//!
//! Leaves to others: which files there are, when they have grown, what becomes of the fields. Files with flags that are not known here are an
//! error of their own ([`OpenError::UnknownFlags`]), so that they can be read another way.
//!
//! `export` reads what `journalctl` prints of such files.
//!
//! `bytes` (where they come from), `pages` (kept for all files together), `header` and `object` (what lies where), `payload` and `lz4`
//! (decompression), `shared` (data of many entries), `fields` (an entry's fields), `cursor` (an entry's place, in systemd's text), `reader` (one
//! file), `seek` (places in it), `merge` (many files in order), `name` (what a file's name says).

mod bytes;
mod cursor;
mod export;
mod fields;
mod header;
mod lz4;
mod merge;
mod name;
mod object;
mod pages;
mod payload;
mod reader;
mod seek;
mod shared;

pub use bytes::Bytes;
pub use cursor::{Cursor, CursorError, Id, Location};
pub use export::{Export, ExportError};
pub use fields::{Fields, Wanted};
pub use header::{Header, OpenError, State};
pub use merge::{Merge, MergeError};
pub use name::{FileName, Kind, file_name, machine_directory};
pub use reader::{Damage, ReadError, Reader};

#[cfg(doc)]
use crate::base::limits;
use pages::Pages;
use payload::Decompressor;
use shared::Shared;

/// What readers of any number of files use together: pages of the files, parsed data, buffers. Its size does not depend on the
/// number of files (see the limits `JOURNALD_*`).
pub struct Work {
    pages: Pages,
    shared: Shared,
    decompressor: Decompressor,
    wanted: Wanted,
    /// Offsets of the data of the entry being read.
    items: Vec<u64>,
    /// Bytes of large payloads that have been read for it.
    spent: usize,
}

impl Work {
    /// For entries of which only these fields are read.
    pub fn new(wanted: Wanted) -> Work {
        Work {
            pages: Pages::default(),
            shared: Shared::default(),
            decompressor: Decompressor::default(),
            wanted,
            items: Vec::new(),
            spent: 0,
        }
    }

    /// The fields that are read.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Gives back what is only of use while there is something to read. It is made again when needed.
    pub fn release(&mut self) {
        self.pages = Pages::default();
        self.decompressor = Decompressor::default();
        self.items = Vec::new();
    }
}
