//! Floor 2: bytes in, values out, no I/O.
//!
//! Promises: no decoder here panics or allocates without bound, whatever it is given. Leaves to others: where the bytes come
//! from and go to.

pub mod loki;
