//! What an endpoint refuses for good: how much of it is told, and from when on an endpoint that takes nothing is no healthy one.
//!
//! Promises: the first refusal is told with all that was refused of its request, later ones once a minute with all that was refused since; an endpoint that refuses
//! [`REMOTE_FRUITLESS_REQUESTS`] requests in a row as a whole, or all for [`REMOTE_FRUITLESS_MS`], is told of once. Leaves to others: what is refused.

use crate::base::limits::{REMOTE_FRUITLESS_MS, REMOTE_FRUITLESS_REQUESTS};
use crate::format::write_response::Reason;
use crate::sink::trouble::is_over;
use std::time::{Duration, Instant};

/// What is refused of one request, whose parts are sent one by one.
#[derive(Debug, Default)]
pub(super) struct OfRequest {
    pub(super) samples: u64,
    /// Why the first part was.
    pub(super) why: Option<(Reason, String)>,
}

impl OfRequest {
    pub(super) fn add(&mut self, samples: u64, reason: Reason, text: &str) {
        self.samples += samples;
        self.why.get_or_insert_with(|| (reason, text.to_owned()));
    }
}

/// What one endpoint refuses.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    said: Option<Instant>,
    /// Samples since then.
    unsaid: u64,
    /// Requests in a row of which nothing was stored.
    fruitless: u32,
    /// Since when: also nanoseconds since 1970.
    since: Option<(Instant, i64)>,
    /// Whether that was told.
    is_bad: bool,
}

impl Refusals {
    /// Says that so many samples were refused, now or a little later.
    pub(super) fn say(&mut self, endpoint: &str, samples: u64, reason: Reason, text: &str) {
        self.unsaid += samples;
        if samples == 0 || !is_over(self.said) {
            return;
        }
        self.said = Some(Instant::now());
        let samples = std::mem::take(&mut self.unsaid);
        tracing::warn!(
            endpoint,
            samples,
            reason = reason.as_str(),
            answer = text,
            advice = advice(reason),
            "the endpoint refused samples for good; they are dropped. Further ones are told once a minute, and counted in lugger_remote_write_failed_samples_total"
        );
    }

    /// A request is settled, and nothing of it was stored. Since when that is so, nanoseconds since 1970, if it is so for long enough that something is wrong.
    pub(super) fn fruitless(&mut self, endpoint: &str, text: &str, now_ns: i64) -> Option<i64> {
        self.fruitless = self.fruitless.saturating_add(1);
        let (since, since_ns) = *self.since.get_or_insert_with(|| (Instant::now(), now_ns));
        if self.fruitless < REMOTE_FRUITLESS_REQUESTS && since.elapsed() < Duration::from_millis(REMOTE_FRUITLESS_MS) {
            return None;
        }
        if !std::mem::replace(&mut self.is_bad, true) {
            tracing::warn!(
                endpoint,
                requests = self.fruitless,
                answer = text,
                "the endpoint refuses all that it is sent, and all of it is dropped"
            );
        }
        Some(since_ns)
    }

    /// Something was stored.
    pub(super) fn stored(&mut self, endpoint: &str) {
        (self.fruitless, self.since) = (0, None);
        if std::mem::take(&mut self.is_bad) {
            tracing::info!(endpoint, "the endpoint stores samples again");
        }
    }
}

/// What a person may do about samples that were refused.
pub(super) fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::TooOld => {
            "the endpoint takes nothing so old: after an outage let it (out_of_order_time_window in Prometheus), or check this host's clock"
        }
        Reason::TooNew => "check the clocks of this host and of the endpoint",
        Reason::OutOfOrder | Reason::Duplicate => {
            "does something else send the same series? Give each host labels of its own, such as `labels: { host: \"${HOSTNAME}\" }`"
        }
        Reason::Labels => "rename or drop these labels, by metric_relabel_configs or write_relabel_configs",
        Reason::SeriesLimit => "send fewer series, or raise the endpoint's limit",
        Reason::TooLarge => "these are too many or too long labels: drop some by write_relabel_configs",
        Reason::Other => "the answer says what the endpoint does not like",
    }
}
