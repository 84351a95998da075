//! Prometheus' text formats: what hosts and targets expose, read and written.
//!
//! Promises: no text panics, and nothing is allocated for what was met before in its size. Leaves to others: where the bytes come from.

pub mod number;
pub mod parse;
pub mod text;
