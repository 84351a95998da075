//! Floor 4: the readers of the host. Each takes a plain settings struct and writes to a [`crate::model::flow::Output`].
//!
//! Promises: a source never knows an endpoint or the configuration's form; one bad file or record never stops it.
//! Leaves to others: what happens to a chunk after it was written.

pub mod docker;
pub mod file;
pub mod handle;
pub mod host;
pub mod journal;
pub mod owner;
pub(crate) mod problems;
pub mod receive;
pub mod scrape;
pub mod series;
mod stages;
pub mod status;
mod ticks;
mod unwritten;
mod watch;
