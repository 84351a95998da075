//! Floor 2: bytes in, values out. No I/O.
//!
//! Promises: nothing here panics on any input; each format is tested against an independent implementation or its
//! published form. Leaves to others: where the bytes come from.

pub mod loki_encode;
