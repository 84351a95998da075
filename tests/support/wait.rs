//! Waiting for a condition with a deadline, and the wall clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Pause between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; panics with `what` when it does not within `deadline`. Returns the time it took.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, condition: impl FnMut() -> bool) -> Duration {
    match holds_within(deadline, condition) {
        Some(took) => took,
        None => panic!("waited {deadline:?} in vain for: {what}"),
    }
}

/// Waits until `condition` holds, at most for `deadline`; the time it took, or `None`.
pub fn holds_within(deadline: Duration, mut condition: impl FnMut() -> bool) -> Option<Duration> {
    let start = Instant::now();
    loop {
        if condition() {
            return Some(start.elapsed());
        }
        if start.elapsed() >= deadline {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

/// Waits until `value` has not changed for `quiet`; its last value. Gives up and returns what there is after `deadline`.
pub fn settles<T: PartialEq>(quiet: Duration, deadline: Duration, mut value: impl FnMut() -> T) -> T {
    let start = Instant::now();
    let mut last = value();
    let mut since = Instant::now();
    while since.elapsed() < quiet && start.elapsed() < deadline {
        std::thread::sleep(LOOK);
        let now = value();
        if now != last {
            last = now;
            since = Instant::now();
        }
    }
    last
}

/// Nanoseconds since 1970.
#[allow(clippy::disallowed_methods, reason = "the receiver judges timestamps by the host's clock, not by the agent's")]
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    i64::try_from(since).unwrap_or(i64::MAX)
}
