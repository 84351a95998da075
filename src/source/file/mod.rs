//! The file source: finds files by pattern, follows them through rotation, and reads their lines in chunks.
//!
//! Promises: see the rows of hazards in this folder's modules. Leaves to others: batches, delivery.

pub mod settings;
