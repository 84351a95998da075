//! Floor 3: what happens to lines between reading and sending: stages that extract, change, label, keep or drop.
//!
//! A list of stage settings is compiled once ([`compile`]): names of extracted keys and of labels become numbers, nested stages become a flat
//! **program** with jumps. A line runs through it as an [`Entry`](entry::Entry), whose texts are places in the line or in a scratch buffer.
//! What some stages must remember between lines (an open multi-line entry) is in a [`State`](state::State), one for each file.
//!
//! Promises: no I/O, no panic on input, no allocation for a line in the steady state; the same lines with the same times, in the same chunks,
//! give the same entries; no entry leaves with labels that Loki would refuse. Leaves to others: reading lines, encoding entries, the
//! configuration's form.

mod compile;
pub mod entry;
mod error;
pub mod keys;
pub mod label_map;
pub mod metrics;
mod program;
pub mod redact;
pub mod rehearsal;
pub mod relabel;
pub mod settings;
mod stages;
pub mod state;
pub mod streams;
pub mod template;
pub mod trace;

pub use compile::compile;
pub use error::{CompileError, Step};
pub use program::{Emit, LabelNames, Program};

#[cfg(test)]
mod pipeline_tests;
