//! What the tests share: a strict fake Loki, the oracle of numbered lines, the real agent as a process, log writers.
//!
//! Promises: everything here waits for conditions with a deadline and never for a fixed time; servers listen on loopback,
//! ports are the kernel's choice, directories are temporary. Leaves to others: what a test proves.
#![allow(dead_code, reason = "each test binary uses a part of this")]

pub mod agent;
pub mod exposition;
pub mod faulty_disk;
pub mod ledger;
pub mod loki;
pub mod prometheus;
pub mod pusher;
pub mod random;
pub mod rules;
pub mod small_disk;
pub mod wait;
pub mod wire;
pub mod writer;
pub mod written;
