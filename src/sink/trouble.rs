//! What endpoints of any kind say of attempts that fail.
//!
//! Promises: a streak of failures is told when it begins, when a person has to act, and when it is over; what comes and goes is told once a minute
//! at most. No secret is in it. Leaves to others: what an answer means, and what is done about it.

use super::client::{Answer, excerpt};
use super::failure::Failure;
use super::status::State;
use crate::base::limits::ENDPOINT_REPORT_MS;
use crate::base::units::format_duration;
use std::time::{Duration, Instant};

/// A streak of failures.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    /// The same, nanoseconds since 1970.
    since_ns: i64,
    attempts: u64,
    degraded: bool,
    /// Whether it has been reported.
    said: bool,
}

/// The streaks of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    now: Option<Trouble>,
    said: Option<Instant>,
}

impl Troubles {
    /// Whether the last attempt failed.
    pub(super) fn is_on(&self) -> bool {
        self.now.is_some()
    }

    /// An attempt failed. Since when they do, nanoseconds since 1970.
    pub(super) fn failed(&mut self, failure: &Failure, endpoint: &str, url: &str, now_ns: i64) -> i64 {
        let degraded = failure.state == State::Degraded;
        let begun = || Trouble { since: Instant::now(), since_ns: now_ns, attempts: 0, degraded: false, said: false };
        let trouble = self.now.get_or_insert_with(begun);
        trouble.attempts += 1;
        let newly_degraded = degraded && !trouble.degraded;
        trouble.degraded |= degraded;
        // An endpoint at its rate limit fails and recovers with every request: that is not news each time.
        let due = newly_degraded || (!trouble.said && is_over(self.said));
        if due {
            trouble.said = true;
            self.said = Some(Instant::now());
            tracing::warn!(
                endpoint, url, error = %failure.what, advice = %failure.advice,
                "the endpoint does not store what it is sent; it is kept and sent again until it does"
            );
        }
        trouble.since_ns
    }

    /// An attempt succeeded.
    pub(super) fn over(&mut self, endpoint: &str) {
        if let Some(trouble) = self.now.take().filter(|trouble| trouble.said) {
            // Whole milliseconds read better.
            let lasted = Duration::from_millis(u64::try_from(trouble.since.elapsed().as_millis()).unwrap_or(u64::MAX));
            let attempts = trouble.attempts;
            tracing::info!(endpoint, attempts, lasted = %format_duration(lasted), "the endpoint works again");
        }
    }
}

/// Whether the quiet time after a report is over.
pub(super) fn is_over(said: Option<Instant>) -> bool {
    said.is_none_or(|said| said.elapsed() >= Duration::from_millis(ENDPOINT_REPORT_MS))
}

/// An answer on one line.
pub(super) fn shown_answer(answer: &Answer) -> String {
    let text = excerpt(&answer.body);
    if text.is_empty() { format!("HTTP {}", answer.status) } else { format!("HTTP {}: {text}", answer.status) }
}
