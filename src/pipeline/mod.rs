//! Floor 3: what happens to lines between reading and sending: stages that extract, change, label, keep or drop.
//!
//! Promises: no I/O, no panic on input, no allocation for a line in the steady state. Leaves to others: reading lines, encoding entries, the
//! configuration's form.

pub mod label_map;
pub mod redact;
pub mod relabel;
pub mod template;
