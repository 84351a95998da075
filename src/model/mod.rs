//! Floor 1: the types that sources, pipeline, stores and sinks exchange.
//!
//! A **chunk** is one read's worth of complete lines: one buffer and an index of spans. A **batch** is what one request
//! carries: already encoded and compressed, with a **ticket** that tells the source when every endpoint has stored it.
//! A **receipt** is the range of a cursor that a chunk covers. A **ledger** writes receipts down.
//!
//! Promises: no line is ever an object of its own; nothing here does I/O. Leaves to others: reading, encoding, sending.

pub mod batch;
pub mod budget;
pub mod flow;
pub mod labels;
pub mod points;
pub mod samples;
pub mod tenant;
pub mod value;
