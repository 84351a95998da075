//! Samples to endpoints of Prometheus' remote write.
//!
//! Points are encoded straight into the request that is pending (`pending`), which is sealed by size or age and goes into the endpoint's queue
//! (`queue`), in memory and behind that on disk. One task an endpoint sends (`sender`), one request at a time, so that each series stays in order.
//!
//! Promises: what was written is stored by the endpoint, or refused by it for good, or on disk, or counted by the reason for which it is dropped. A kill
//! costs what was pending, and what the endpoint had not taken for [`REMOTE_SPILL_MS`](crate::base::limits::REMOTE_SPILL_MS). Leaves to others: what the points are.

pub mod endpoint;
mod families;
pub mod pending;
mod queue;
mod refusals;
mod relabel;
mod request;
mod sender;
pub mod settings;
mod status;
