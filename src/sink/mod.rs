//! Floor 4: the only speakers of HTTP to endpoints. A batcher encodes chunks into batches; an endpoint delivers them.
//!
//! Promises: what an endpoint did not store is kept or sent again; a refusal for good is counted and written to the dead
//! letters; a batch is never acknowledged otherwise. Leaves to others: where the lines come from.

pub mod batcher;
mod change;
pub mod client;
pub mod dead_letter;
pub mod endpoint;
mod failure;
pub mod letter_box;
pub mod piece;
pub mod queue;
pub mod remote_write;
pub mod resend;
pub mod settings;
pub mod spill;
pub mod spool;
pub mod status;
mod streams;
mod trouble;

pub use crate::base::tls;
