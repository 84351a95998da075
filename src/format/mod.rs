//! Floor 2: bytes in, values out.
//!
//! Promises: no I/O; whatever the bytes are, an error and never a panic. Leaves to others: where the bytes come from.

pub mod loki;
