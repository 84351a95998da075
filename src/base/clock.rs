//! The wall clock, as nanoseconds since 1970, and a hand-turned one for tests.
//!
//! Promises: [`Clock::now_ns`] never panics, whatever the host's clock says. Leaves to others: monotony (the file
//! source keeps its chunk times from running back).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the wall-clock time comes from. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The host's real-time clock.
    #[default]
    System,
    /// A clock that stands where it was put, in nanoseconds since 1970.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Nanoseconds since 1970-01-01 UTC; 0 before that, `i64::MAX` after the year 2262.
    #[allow(clippy::disallowed_methods, reason = "the one place where the host's clock is read")]
    pub fn now_ns(&self) -> i64 {
        match self {
            Clock::System => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(elapsed) => i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX),
                Err(_) => 0,
            },
            Clock::Manual(at) => at.load(Ordering::Relaxed),
        }
    }
}
