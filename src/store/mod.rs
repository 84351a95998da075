//! Floor 3: what must survive the process. Checkpoints (a journal of cursors and intents over a snapshot), the spool (a
//! queue of requests that an endpoint did not take yet), and the inlets (received records that wait to be read).
//!
//! Promises: whatever is found on disk, opening succeeds or says why the directory cannot be used; damage costs only what
//! it touches, is reported, and is set aside. Leaves to others: what a cursor means, what a payload is.

pub mod checkpoint;
mod cursors;
mod files;
mod frame;
pub mod inlet;
mod record;
pub mod seldom;
mod shared;
pub mod spool;
