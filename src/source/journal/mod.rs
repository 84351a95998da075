//! The journal source: finds journald's files, follows them through rotation and removal, and reads their entries in chunks.
//!
//! From the outside in: `worker` is the thread that runs it all, for all journal sources; `reload` changes it to other settings; `source` is one of
//! them, with its files and what of them may be read now; `places` knows the directories and is told of changes; `turn` reads a chunk and
//! hands it on; `filter` says which entries are wanted, `kinds` makes labels of their fields, `text` lines; `numbering` says how far entries have
//! been read and stored.
//!
//! The journal is a durable queue, so nothing is copied: an entry that is not stored is read again, and its time, which is its own, makes it the same
//! entry to Loki.
//!
//! Promises: entries come in the order of their numbers, each once; what is damaged or was removed is counted. Leaves to others: the form of the
//! files (`format/journal`), batches, delivery.

mod filter;
mod foreign;
mod kinds;
mod look;
mod numbering;
mod places;
pub mod reload;
pub mod settings;
mod source;
pub mod status;
mod text;
mod turn;
pub mod worker;
