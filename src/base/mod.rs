//! Floor 0: what everything else stands on and that knows nothing of logs, metrics or endpoints.
//!
//! Promises: no module here blocks on the network or reads configuration. Leaves to others: meaning.

pub mod access;
pub mod atomic_file;
pub mod backoff;
pub mod base64;
pub mod clock;
pub mod expression;
pub mod limits;
pub mod metrics;
pub mod notify;
pub mod pem;
pub mod pulse;
pub mod rate;
pub mod secret;
pub mod serve;
pub mod shutdown;
pub mod text;
pub mod tls;
pub mod units;
pub mod wake;
pub mod words;
