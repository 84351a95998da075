//! What an answer to a Loki push means.
//!
//! Promises: every status and text has a verdict; "stored" is said only of answers that mean it; an answer that is not known to
//! be Loki's never condemns a line. Leaves to others: acting on it (`sink::endpoint`), finding the refused entries
//! ([`partial`]).
//!
//! The texts are those of Loki's distributor, validator and ingester; they are recognised by their constant parts, so that
//! more detail around them does no harm.

use crate::format::civil;
use std::time::Duration;

pub mod partial;

pub use partial::{Refusal, refused};

/// Why entries were refused for good. Bounded, so that it can be a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Older than the endpoint takes.
    TooOld,
    /// Further ahead of the endpoint's clock than it takes.
    TooNew,
    /// Too far behind the newest entry of the stream.
    TooFarBehind,
    /// Older than the newest entry of a stream that takes none out of order.
    OutOfOrder,
    /// A line above the endpoint's limit.
    LineTooLong,
    /// A label name that is too long or there twice.
    LabelNames,
    /// More labels than the endpoint takes.
    LabelLimit,
    /// A label value that is too long.
    LabelValue,
    /// A label that the endpoint asks for is missing.
    LabelMissing,
    /// Structured metadata that is not allowed, too large or too many.
    Metadata,
    /// A label set that the endpoint cannot parse.
    InvalidLabels,
    /// A single entry that is larger than any request the endpoint takes.
    TooLarge,
    /// The tenant that the entry is for is none that the endpoint takes.
    Tenant,
    /// Anything else.
    Other,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 14] = [
        Reason::TooOld,
        Reason::TooNew,
        Reason::TooFarBehind,
        Reason::OutOfOrder,
        Reason::LineTooLong,
        Reason::LabelNames,
        Reason::LabelLimit,
        Reason::LabelValue,
        Reason::LabelMissing,
        Reason::Metadata,
        Reason::InvalidLabels,
        Reason::TooLarge,
        Reason::Tenant,
        Reason::Other,
    ];

    /// As in metrics and dead letters.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::TooOld => "too_old",
            Reason::TooNew => "too_new",
            Reason::TooFarBehind => "too_far_behind",
            Reason::OutOfOrder => "out_of_order",
            Reason::LineTooLong => "line_too_long",
            Reason::LabelNames => "label_names",
            Reason::LabelLimit => "label_limit",
            Reason::LabelValue => "label_value",
            Reason::LabelMissing => "label_missing",
            Reason::Metadata => "metadata",
            Reason::InvalidLabels => "invalid_labels",
            Reason::TooLarge => "too_large",
            Reason::Tenant => "tenant",
            Reason::Other => "other",
        }
    }

    /// The reason of this name.
    pub fn named(name: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// Whether the entry's time is what the endpoint did not like, so that another one may help.
    pub fn is_about_time(self) -> bool {
        matches!(self, Reason::TooOld | Reason::TooNew | Reason::TooFarBehind | Reason::OutOfOrder)
    }
}

/// Which limit a 429 speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimit {
    /// Bytes a second of the tenant.
    Tenant,
    /// Bytes a second of one stream.
    Stream,
    /// Number of streams.
    StreamCount,
    /// The text does not tell.
    Unknown,
}

/// What must be put right by a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misconfigured {
    /// Credentials or tenant are missing, wrong or without the right to push.
    Credentials,
    /// The name of the tenant is none that Loki takes.
    Tenant,
    /// There is no push API at this URL: 404, 405.
    Address,
    /// A redirect, which is not followed.
    Redirect,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All entries are stored.
    Stored,
    /// Nothing is stored, because the tenant is blocked for now.
    Blocked,
    /// All entries are stored but these.
    Partial(Vec<Refusal>),
    /// Nothing is certain to be stored, and some part of the request is the reason.
    Whole {
        /// What Loki said; `None` when the text is not known to be Loki's.
        reason: Option<Reason>,
    },
    /// Nothing is stored until somebody changes the configuration.
    Misconfigured(Misconfigured),
    /// The request is too large and will always be.
    TooLarge,
    /// The request had no streams.
    Empty,
    /// Too much or too fast for now.
    RateLimited {
        /// How long to wait at least.
        retry_after: Option<Duration>,
        /// Which limit.
        limit: RateLimit,
    },
    /// May pass by itself.
    Transient {
        /// How long to wait at least.
        retry_after: Option<Duration>,
    },
}

/// The meaning of an answer with `status`, a `Retry-After` header and (the start of) a body, at `now_s` seconds since 1970.
pub fn classify(status: u16, retry_after: Option<&str>, body: &str, now_s: i64) -> Verdict {
    let says = |text: &str| body.contains(text);
    // Loki's blocking answers with a status of the operator's choice; 260 by default.
    if status == 260 || says("ingestion blocked for user") {
        return Verdict::Blocked;
    }
    if matches!(status, 200 | 201 | 202 | 204) {
        return Verdict::Stored;
    }
    if status < 300 {
        // A 2xx that is none of the above has not been said to store anything.
        return Verdict::Blocked;
    }
    if status < 400 {
        return Verdict::Misconfigured(Misconfigured::Redirect);
    }
    let too_large = says("received message larger than max")
        || says("trying to send message larger than max")
        || says("request body too large");
    if status == 413 || too_large {
        return Verdict::TooLarge;
    }
    let retry_after = retry_after.and_then(|value| parse_retry_after(value, now_s));
    match status {
        400 => bad_request(body),
        401 | 403 => Verdict::Misconfigured(Misconfigured::Credentials),
        404 | 405 | 410 => Verdict::Misconfigured(Misconfigured::Address),
        422 => Verdict::Empty,
        429 => {
            let limit = if says("Per stream rate limit exceeded") {
                RateLimit::Stream
            } else if says("Maximum active stream limit exceeded") {
                RateLimit::StreamCount
            } else if says("ngestion rate limit exceeded") {
                RateLimit::Tenant
            } else {
                RateLimit::Unknown
            };
            Verdict::RateLimited { retry_after, limit }
        }
        408 | 425 | 500.. => Verdict::Transient { retry_after },
        // Any other 4xx is nothing Loki says: like an unknown 400.
        _ => Verdict::Whole { reason: None },
    }
}

fn bad_request(body: &str) -> Verdict {
    let says = |text: &str| body.contains(text);
    if says("no org id") {
        return Verdict::Misconfigured(Misconfigured::Credentials);
    }
    if says("tenant ID") {
        return Verdict::Misconfigured(Misconfigured::Tenant);
    }
    if says("at least one valid stream is required") {
        return Verdict::Empty;
    }
    let labels = ["Error parsing labels", "couldn't parse labels", "at least one label pair is required per stream"];
    if labels.iter().any(|text| says(text)) {
        return Verdict::Whole { reason: Some(Reason::InvalidLabels) };
    }
    let refusals = partial::parse(body);
    if !refusals.is_empty() {
        return Verdict::Partial(refusals);
    }
    // Loki names the stream in quotes in all it says of entries, also where the rest is not known here.
    let names_a_stream = says("stream '{") || says("for stream: {") || says("for stream {");
    Verdict::Whole { reason: names_a_stream.then_some(Reason::Other) }
}

/// `Retry-After`: seconds, or a date that is compared with `now_s` (seconds since 1970). A date in the past is no wait.
pub fn parse_retry_after(value: &str, now_s: i64) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are still a number of seconds, and the caller caps it.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let wait = civil::parse_http_date(value)?.saturating_sub(now_s);
    Some(Duration::from_secs(u64::try_from(wait).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn statuses() {
        let of = |status, body| classify(status, None, body, 0);
        let transient = Verdict::Transient { retry_after: None };
        for status in [200, 201, 202, 204] {
            assert_eq!(of(status, ""), Verdict::Stored);
        }
        for status in [203, 206, 260, 299] {
            assert_eq!(of(status, ""), Verdict::Blocked);
        }
        assert_eq!(of(403, "ingestion blocked for user x until 'y' with status code '403'"), Verdict::Blocked);
        for status in [300, 301, 304, 308] {
            assert_eq!(of(status, ""), Verdict::Misconfigured(Misconfigured::Redirect));
        }
        for status in [401, 403] {
            assert_eq!(of(status, ""), Verdict::Misconfigured(Misconfigured::Credentials));
        }
        for status in [404, 405] {
            assert_eq!(of(status, ""), Verdict::Misconfigured(Misconfigured::Address));
        }
        for status in [408, 425, 500, 502, 503, 504, 599, 999] {
            assert_eq!(of(status, "x"), transient);
        }
        let grpc =
            "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (5190837 vs. 4194304)";
        for (status, body) in [(413, ""), (500, grpc), (400, "request body too large: 9 bytes, limit: 8 bytes")] {
            assert_eq!(of(status, body), Verdict::TooLarge);
        }
        assert_eq!(of(422, ""), Verdict::Empty);
        assert_eq!(of(400, "no org id"), Verdict::Misconfigured(Misconfigured::Credentials));
        let tenant = "tenant ID 'a/b' contains unsupported character '/'";
        assert_eq!(of(400, tenant), Verdict::Misconfigured(Misconfigured::Tenant));
        assert_eq!(of(418, ""), Verdict::Whole { reason: None });
        assert_eq!(of(400, "<html>400 Bad Request</html>"), Verdict::Whole { reason: None });
        let labels = "couldn't parse labels: 1:3: parse error: unexpected \"=\"";
        assert_eq!(of(400, labels), Verdict::Whole { reason: Some(Reason::InvalidLabels) });
        let new = "stream '{a=\"b\"}' has something new";
        assert_eq!(of(400, new), Verdict::Whole { reason: Some(Reason::Other) });
    }

    #[test]
    fn rate_limits() {
        let of = |header, body| classify(429, header, body, 784_111_777);
        let limited =
            |secs: Option<u64>, limit| Verdict::RateLimited { retry_after: secs.map(Duration::from_secs), limit };
        let tenant =
            "Ingestion rate limit exceeded for user x (limit: 4 bytes/sec) while attempting to ingest '1' lines";
        assert_eq!(of(None, tenant), limited(None, RateLimit::Tenant));
        assert_eq!(
            of(Some("7"), "Per stream rate limit exceeded (limit: 3MB/sec)"),
            limited(Some(7), RateLimit::Stream)
        );
        assert_eq!(of(Some("x"), "Maximum active stream limit exceeded when"), limited(None, RateLimit::StreamCount));
        assert_eq!(of(Some("Sun, 06 Nov 1994 08:50:37 GMT"), ""), limited(Some(60), RateLimit::Unknown));
        assert_eq!(of(Some("Sun, 06 Nov 1994 08:49:30 GMT"), ""), limited(Some(0), RateLimit::Unknown));
        assert_eq!(of(Some("99999999999999999999999"), ""), limited(Some(u64::from(u32::MAX)), RateLimit::Unknown));
    }

    proptest! {
        #[test]
        fn every_answer_has_a_verdict(status: u16, header: Option<String>, body: String) {
            let _ = classify(status, header.as_deref(), &body, i64::MAX);
        }
    }
}
