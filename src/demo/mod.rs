//! Floor 7: the embedded receiver, and what `lugger demo` puts in front of it: a sample log and a plan for this host's own logs.
//!
//! Promises: the receiver's memory is bounded whatever is pushed; it shows each line as text, never as markup; it answers a
//! push with 204 only after it has counted it. Leaves to others: starting the agent (cli), the status page (web).

pub mod host;
mod keep;
mod push;
pub mod receiver;
pub mod sample;

pub use push::{Entry, Push, Stream};
