//! What endpoints of any kind say of attempts that fail.
//!
//! Promises: a streak of failures is told when it begins, when a person has to act, and when it is over; what comes and goes is told once a minute
//! at most. No secret is in it. Leaves to others: what an answer means, and what is done about it.

use super::client::{Answer, SendError, excerpt};
use super::status::{Retry, State};
use crate::base::limits::ENDPOINT_REPORT_MS;
use crate::base::units::format_duration;
use std::time::{Duration, Instant};

/// A failed attempt, for status and log.
pub(super) struct Failure {
    pub(super) kind: Retry,
    pub(super) state: State,
    pub(super) what: String,
    pub(super) advice: &'static str,
    pub(super) retry_after: Option<Duration>,
}

/// A streak of failures.
#[derive(Debug)]
struct Trouble {
    since: Instant,
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

    /// An attempt failed.
    pub(super) fn failed(&mut self, failure: &Failure, endpoint: &str, url: &str) {
        let degraded = failure.state == State::Degraded;
        let begun = || Trouble { since: Instant::now(), attempts: 0, degraded: false, said: false };
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

/// What it means that there is no answer.
pub(super) fn no_answer(error: SendError) -> Failure {
    let kind = match error.kind {
        "timeout" => Retry::Timeout,
        "connect" => Retry::Connect,
        _ => Retry::Transport,
    };
    let says = |text: &str| error.text.contains(text);
    let advice = if says("certificate") {
        "check tls_config: ca_file, server_name, cert_file and key_file"
    } else if says("dns error") || says("lookup") {
        "check the host name in url and this host's name resolution"
    } else if kind == Retry::Timeout {
        "the endpoint is slow or unreachable; `timeout` says how long to wait for it"
    } else {
        "check that the endpoint runs and can be reached from this host"
    };
    Failure { kind, state: State::Retrying, what: excerpt(&error.text), advice, retry_after: None }
}
