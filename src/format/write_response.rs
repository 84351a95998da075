//! What an answer to a remote write means, of 1.0 and of 2.0.
//!
//! Promises: every status has a verdict; "stored" is said only of answers that mean it. An answer to 2.0 that does not say what was written is one
//! of somebody who does not know 2.0, and so stored nothing. Leaves to others: acting on it, and remembering which version an endpoint takes.

pub use crate::format::push_response::Misconfigured;
use crate::format::push_response::parse_retry_after;
use std::time::Duration;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// `prometheus.WriteRequest`.
    #[default]
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl Protocol {
    /// The `Content-Type` of a request.
    pub fn content_type(self) -> &'static str {
        match self {
            Protocol::V1 => "application/x-protobuf",
            Protocol::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// The value of the header [`VERSION_HEADER`].
    pub fn version(self) -> &'static str {
        match self {
            Protocol::V1 => "0.1.0",
            Protocol::V2 => "2.0.0",
        }
    }
}

/// Says which version a request is of.
pub const VERSION_HEADER: &str = "x-prometheus-remote-write-version";
/// Samples that an endpoint says it wrote. Answers to 2.0 have these three.
pub const SAMPLES_HEADER: &str = "x-prometheus-remote-write-samples-written";
/// Native histograms.
pub const HISTOGRAMS_HEADER: &str = "x-prometheus-remote-write-histograms-written";
/// Exemplars.
pub const EXEMPLARS_HEADER: &str = "x-prometheus-remote-write-exemplars-written";

/// What an endpoint says it wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Samples.
    pub samples: u64,
    /// Exemplars.
    pub exemplars: u64,
}

/// Of an answer, what matters.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// Its `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// [`SAMPLES_HEADER`], [`HISTOGRAMS_HEADER`] and [`EXEMPLARS_HEADER`].
    pub written: [Option<&'a str>; 3],
    /// The start of its body.
    pub body: &'a str,
}

/// What a request had.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent {
    /// Of which version it was.
    pub protocol: Protocol,
    /// Its samples.
    pub samples: u64,
    /// Its exemplars.
    pub exemplars: u64,
}

/// Why samples were refused for good. Bounded, so that it can be a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Older than the endpoint takes.
    TooOld,
    /// Further ahead of the endpoint's clock than it takes.
    TooNew,
    /// Older than what the series has already.
    OutOfOrder,
    /// The series has another value for this time.
    Duplicate,
    /// Names, values or numbers of labels.
    Labels,
    /// More series than the endpoint takes.
    SeriesLimit,
    /// A single request that is larger than the endpoint takes.
    TooLarge,
    /// Anything else.
    Other,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 8] = [
        Reason::TooOld,
        Reason::TooNew,
        Reason::OutOfOrder,
        Reason::Duplicate,
        Reason::Labels,
        Reason::SeriesLimit,
        Reason::TooLarge,
        Reason::Other,
    ];

    /// As in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::TooOld => "too_old",
            Reason::TooNew => "too_new",
            Reason::OutOfOrder => "out_of_order",
            Reason::Duplicate => "duplicate",
            Reason::Labels => "labels",
            Reason::SeriesLimit => "series_limit",
            Reason::TooLarge => "too_large",
            Reason::Other => "other",
        }
    }

    /// What a body speaks of: the texts of Prometheus' storage, and the names that Mimir has for its own.
    fn of(body: &str) -> Reason {
        let texts: [(&str, Reason); 15] = [
            ("too old sample", Reason::TooOld),
            ("too-old", Reason::TooOld),
            ("out of bounds", Reason::TooOld),
            ("too far in the future", Reason::TooNew),
            ("too-far-in-future", Reason::TooNew),
            ("out of order", Reason::OutOfOrder),
            ("out-of-order", Reason::OutOfOrder),
            ("duplicate sample", Reason::Duplicate),
            ("duplicate-timestamp", Reason::Duplicate),
            ("max-series-per", Reason::SeriesLimit),
            ("per-user series limit", Reason::SeriesLimit),
            ("label", Reason::Labels),
            ("invalid metric name", Reason::Labels),
            ("missing-metric-name", Reason::Labels),
            ("metric-name-invalid", Reason::Labels),
        ];
        texts.iter().find(|(text, _)| body.contains(text)).map_or(Reason::Other, |(_, reason)| *reason)
    }
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All is stored.
    Stored,
    /// Some is stored, and the rest will never be.
    Partial {
        /// What is stored.
        written: Written,
        /// Why the rest is not.
        reason: Reason,
    },
    /// Nothing is known to be stored, and sending it again would not help.
    Refused(Reason),
    /// The endpoint does not know 2.0: the request is to be sent again as 1.0.
    Fallback {
        /// Whether it has said so. Otherwise it may also be the request that it does not like, and 1.0 is only a try.
        certain: bool,
    },
    /// The request is too large: smaller ones may do.
    TooLarge,
    /// Nothing is stored until somebody changes the configuration.
    Misconfigured(Misconfigured),
    /// Too much or too fast for now.
    RateLimited {
        /// How long to wait at least.
        retry_after: Option<Duration>,
    },
    /// May pass by itself.
    Transient {
        /// How long to wait at least.
        retry_after: Option<Duration>,
    },
}

/// The meaning of an answer at `now_s` seconds since 1970.
pub fn classify(answer: &Answer, sent: &Sent, now_s: i64) -> Verdict {
    let written = written(answer);
    let is_v2 = sent.protocol == Protocol::V2;
    let had_any = sent.samples > 0 || sent.exemplars > 0;
    let retry_after = answer.retry_after.and_then(|value| parse_retry_after(value, now_s));
    match (answer.status, written) {
        // Who does not know 2.0 finds nothing in the request, and is content.
        (200..300, None) if is_v2 && had_any => Verdict::Fallback { certain: true },
        (200..300, Some(written)) if is_v2 && written.samples < sent.samples => {
            Verdict::Partial { written, reason: Reason::of(answer.body) }
        }
        (200..300, _) => Verdict::Stored,
        (0..400, _) => Verdict::Misconfigured(Misconfigured::Redirect),
        (429, _) => Verdict::RateLimited { retry_after },
        // Neither is said by those who store samples, but by who is on the way to them.
        (408 | 425 | 500.., _) => Verdict::Transient { retry_after },
        (401 | 403, _) => Verdict::Misconfigured(Misconfigured::Credentials),
        (404 | 405 | 410, _) => Verdict::Misconfigured(Misconfigured::Address),
        (413, _) => Verdict::TooLarge,
        (415, None) if is_v2 => Verdict::Fallback { certain: true },
        (400, None) if is_v2 => Verdict::Fallback { certain: false },
        (_, Some(written)) if is_v2 && written != Written::default() => {
            Verdict::Partial { written, reason: Reason::of(answer.body) }
        }
        (400, _) if too_large(answer.body) => Verdict::TooLarge,
        (400, _) if answer.body.contains("no org id") => Verdict::Misconfigured(Misconfigured::Credentials),
        _ => Verdict::Refused(Reason::of(answer.body)),
    }
}

fn too_large(body: &str) -> bool {
    ["request body too large", "received message larger than max"].iter().any(|text| body.contains(text))
}

/// What the headers say; nothing if none of them is a number.
fn written(answer: &Answer) -> Option<Written> {
    let [samples, histograms, exemplars] =
        answer.written.map(|value| value.and_then(|value| value.trim().parse::<u64>().ok()));
    let any = samples.or(histograms).or(exemplars).is_some();
    any.then(|| Written { samples: samples.unwrap_or(0), exemplars: exemplars.unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V1: Sent = Sent { protocol: Protocol::V1, samples: 10, exemplars: 1 };
    const V2: Sent = Sent { protocol: Protocol::V2, ..V1 };
    const ALL: [Option<&str>; 3] = [Some("10"), Some("0"), Some("1")];
    const SOME: [Option<&str>; 3] = [Some("7"), None, None];
    const NONE: [Option<&str>; 3] = [None, None, None];

    fn of(status: u16, written: [Option<&str>; 3], body: &str, sent: &Sent) -> Verdict {
        classify(&Answer { status, retry_after: None, written, body }, sent, 0)
    }

    #[test]
    fn answers() {
        use Verdict::*;
        let seven = Written { samples: 7, exemplars: 0 };
        let cases = [
            (200, NONE, "", V1, Stored),
            (204, NONE, "", V1, Stored),
            (204, SOME, "", V1, Stored),
            (204, ALL, "", V2, Stored),
            (200, [Some("10"), None, None], "", V2, Stored),
            (200, [Some(" 10 "), None, None], "", V2, Stored),
            (200, SOME, "", V2, Partial { written: seven, reason: Reason::Other }),
            (204, NONE, "", V2, Fallback { certain: true }),
            (204, [Some("x"), None, None], "", V2, Fallback { certain: true }),
            (204, NONE, "", Sent { samples: 0, exemplars: 0, ..V2 }, Stored),
            (100, NONE, "", V1, Misconfigured(super::Misconfigured::Redirect)),
            (301, NONE, "", V1, Misconfigured(super::Misconfigured::Redirect)),
            (400, NONE, "out of order sample", V1, Refused(Reason::OutOfOrder)),
            (400, NONE, "err-mimir-sample-out-of-order", V1, Refused(Reason::OutOfOrder)),
            (400, NONE, "too old sample", V1, Refused(Reason::TooOld)),
            (400, NONE, "duplicate sample for timestamp", V1, Refused(Reason::Duplicate)),
            (400, NONE, "err-mimir-too-far-in-future", V1, Refused(Reason::TooNew)),
            (400, NONE, "label name \"a\" is not unique: invalid sample", V1, Refused(Reason::Labels)),
            (400, NONE, "no org id", V1, Misconfigured(super::Misconfigured::Credentials)),
            (400, NONE, "request body too large", V1, TooLarge),
            (400, NONE, "?", V2, Fallback { certain: false }),
            (400, SOME, "out of order sample", V2, Partial { written: seven, reason: Reason::OutOfOrder }),
            (400, [Some("0"), Some("0"), Some("0")], "out of order sample", V2, Refused(Reason::OutOfOrder)),
            (415, NONE, "", V2, Fallback { certain: true }),
            (415, NONE, "", V1, Refused(Reason::Other)),
            (401, NONE, "", V1, Misconfigured(super::Misconfigured::Credentials)),
            (403, NONE, "", V2, Misconfigured(super::Misconfigured::Credentials)),
            (404, NONE, "", V2, Misconfigured(super::Misconfigured::Address)),
            (413, NONE, "", V1, TooLarge),
            (418, NONE, "", V1, Refused(Reason::Other)),
            (408, NONE, "", V1, Transient { retry_after: None }),
            (500, NONE, "", V2, Transient { retry_after: None }),
            (503, SOME, "", V2, Transient { retry_after: None }),
            (999, NONE, "", V1, Transient { retry_after: None }),
        ];
        for (status, written, body, sent, verdict) in cases {
            assert_eq!(of(status, written, body, &sent), verdict, "{status} {body} {sent:?}");
        }
    }

    #[test]
    fn waiting() {
        let of = |status, header| {
            let answer = Answer { status, retry_after: Some(header), ..Answer::default() };
            classify(&answer, &V1, 784_111_777)
        };
        let seconds = |s| Some(Duration::from_secs(s));
        assert_eq!(of(429, "7"), Verdict::RateLimited { retry_after: seconds(7) });
        assert_eq!(of(429, "Sun, 06 Nov 1994 08:50:37 GMT"), Verdict::RateLimited { retry_after: seconds(60) });
        assert_eq!(of(503, "Sun, 06 Nov 1994 08:00:00 GMT"), Verdict::Transient { retry_after: seconds(0) });
        assert_eq!(of(429, "soon"), Verdict::RateLimited { retry_after: None });
    }

    #[test]
    fn reasons_have_names_of_their_own() {
        let mut names = Reason::ALL.map(Reason::as_str).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    proptest! {
        /// Nothing that is not a success is taken for one, and the other way round only by 2.0.
        #[test]
        fn only_a_success_is_stored(status in 0..1000_u16, header: Option<String>, body: String, v2: bool) {
            let sent = if v2 { V2 } else { V1 };
            let answer = Answer { status, retry_after: header.as_deref(), written: [header.as_deref(); 3], body: &body };
            let stored = classify(&answer, &sent, i64::MAX) == Verdict::Stored;
            prop_assert!(!stored || (200..300).contains(&status));
            prop_assert!(stored || v2 || !(200..300).contains(&status));
        }
    }
}
