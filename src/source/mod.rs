//! Floor 4: the readers of the host. Each takes a plain settings struct and writes to a [`crate::model::flow::Output`].
//!
//! Promises: a source never knows an endpoint or the configuration's form; one bad file or record never stops it.
//! Leaves to others: what happens to a chunk after it was written.

pub mod docker;
pub mod file;
pub mod handle;
pub mod journal;
pub mod owner;
pub(crate) mod problems;
pub mod receive;
mod stages;
pub mod status;
mod unwritten;
mod watch;
