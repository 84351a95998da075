//! Why an attempt stored nothing, in words for people: what happened and what to do about it.
//!
//! Promises: each has a remedy; no secrets. Leaves to others: what an answer means (`format/push_response`), when it is tried again.

use super::client::{SendError, excerpt};
use super::status::{Retry, State};
use crate::format::push_response::{Misconfigured, RateLimit};
use std::time::Duration;

/// A failed attempt, for status and log.
pub(super) struct Failure {
    pub(super) kind: Retry,
    pub(super) state: State,
    pub(super) what: String,
    pub(super) advice: &'static str,
    pub(super) retry_after: Option<Duration>,
    /// It may pass by itself, but hardly will: somebody is to know at once.
    pub(super) for_person: bool,
}

pub(super) fn no_answer(error: SendError) -> Failure {
    let kind = match error.kind {
        "timeout" => Retry::Timeout,
        "connect" => Retry::Connect,
        _ => Retry::Transport,
    };
    let (advice, for_person) = advice(&error.text, kind);
    let what = excerpt(&error.text);
    Failure { kind, state: State::Retrying, what, advice, retry_after: None, for_person }
}

/// What to do about an attempt without an answer, and whether it takes a person to do it: waiting alone will not help.
fn advice(text: &str, kind: Retry) -> (&'static str, bool) {
    let says = |words: &str| text.contains(words);
    if says("CaUsedAsEndEntity") {
        (
            "the endpoint's certificate says that it is an authority, which no server's may be: make it with `openssl req -x509 … -addext \
             basicConstraints=critical,CA:FALSE`, or have an authority sign one and name that in ca_file",
            true,
        )
    } else if says("InvalidContentType") {
        ("what answers there speaks no TLS: write http:// in url, or give it a certificate", true)
    } else if says("invalid HTTP version parsed") {
        ("what answers there speaks no plain HTTP, perhaps TLS: write https:// in url", true)
    } else if says("certificate") {
        ("check tls_config: ca_file, server_name, cert_file and key_file", true)
    } else if says("dns error") || says("lookup") {
        ("check the host name in url and this host's name resolution", false)
    } else if kind == Retry::Timeout {
        ("the endpoint is slow or unreachable; `timeout` says how long to wait for it", false)
    } else {
        ("check that the endpoint runs and can be reached from this host", false)
    }
}

pub(super) fn rate_limited(retry_after: Option<Duration>, limit: RateLimit, what: String) -> Failure {
    let advice = match limit {
        RateLimit::Tenant => "less log volume or a higher ingestion_rate_mb in Loki's limits_config helps",
        RateLimit::Stream => "more labels to spread the stream or a higher per_stream_rate_limit in Loki helps",
        RateLimit::StreamCount => "fewer label values or a higher max_global_streams_per_user in Loki helps",
        RateLimit::Unknown => "the endpoint or a proxy in front of it limits the rate",
    };
    Failure { kind: Retry::RateLimited, state: State::Retrying, what, advice, retry_after, for_person: false }
}

pub(super) fn refuses_everything(text: &str) -> Failure {
    Failure {
        kind: Retry::Refused,
        state: State::Degraded,
        what: format!("every request is refused: {text}"),
        advice: "this is no text of Loki's: check that url is Loki's push URL, and any proxy in front of it. Nothing is dropped",
        retry_after: None,
        for_person: false,
    }
}

pub(super) fn blocked(what: String) -> Failure {
    Failure {
        kind: Retry::Blocked,
        state: State::Degraded,
        what,
        advice: "Loki blocks ingestion for this tenant (block_ingestion_until in its limits): ask who runs it",
        retry_after: None,
        for_person: false,
    }
}

pub(super) fn misconfigured(problem: Misconfigured, what: String) -> Failure {
    let (kind, advice) = match problem {
        Misconfigured::Credentials => {
            (Retry::Credentials, "check basic_auth or the bearer token, and tenant_id; secrets in files are read again")
        }
        Misconfigured::Tenant => (Retry::Credentials, "check tenant_id"),
        Misconfigured::Address => (Retry::Address, "check url: Loki's push URL ends in /loki/api/v1/push"),
        Misconfigured::Redirect => (Retry::Address, "redirects are not followed: put the final address into url"),
    };
    Failure { kind, state: State::Degraded, what, advice, retry_after: None, for_person: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_must_mend_has_advice_of_its_own() {
        for (text, words, for_person) in [
            ("invalid peer certificate: CaUsedAsEndEntity", "basicConstraints=critical,CA:FALSE", true),
            ("received corrupt message of type InvalidContentType", "write http:// in url", true),
            ("client error: invalid HTTP version parsed", "write https:// in url", true),
            ("invalid peer certificate: UnknownIssuer", "tls_config", true),
            ("dns error: no such host", "name resolution", false),
            ("connection refused", "reached from this host", false),
        ] {
            let failure = no_answer(SendError { kind: "connect", text: text.to_owned() });
            assert!(failure.advice.contains(words), "{text}: {}", failure.advice);
            assert_eq!(failure.for_person, for_person, "{text}");
        }
    }
}
