//! `remote_write` entries: from what was written, by Prometheus' names, to an endpoint's settings.
//!
//! Promises: a name that Prometheus knows and that means nothing here is told with the reason, or refused with what to do instead; none is passed
//! over in silence. Leaves to others: what endpoints of all kinds have (`access`), rules (`pipeline`).

use super::access::{self, Access};
use super::check::Check;
use super::pipeline;
use super::raw::{MetadataConfig, QueueConfig, RemoteWrite};
use super::tree::Node;
use crate::base::limits::{
    BACKOFF_MS_MAX, BACKOFF_MS_MIN, ENDPOINTS_MAX, NAME_BYTES, REMOTE_AGE_MS_RANGE, REMOTE_BACKOFF_MAX_MS_DEFAULT,
    REMOTE_BACKOFF_MIN_MS_DEFAULT, REMOTE_DEADLINE_MS_DEFAULT, REMOTE_DEADLINE_MS_RANGE, REMOTE_METADATA_MS_DEFAULT,
    REMOTE_METADATA_MS_RANGE, REMOTE_SAMPLES_DEFAULT, REMOTE_SAMPLES_RANGE, REMOTE_TIMEOUT_MS_DEFAULT,
    REQUEST_TIMEOUT_MS_MAX, REQUEST_TIMEOUT_MS_MIN,
};
use crate::base::words::suggest;
use crate::sink::remote_write::settings::{Endpoint, Message};
use reqwest::Url;
use std::collections::HashSet;
use std::time::Duration;

/// What Prometheus calls the versions, and the name for "what the endpoint takes".
const FIRST: &str = "prometheus.WriteRequest";
const SECOND: &str = "io.prometheus.write.v2.Request";
const AUTO: &str = "auto";

/// Headers that the agent or its HTTP client sets, in lower case, with what to do instead.
const OWN_HEADERS: [(&str, &str); 13] = [
    ("content-type", "remove it: the agent sets it"),
    ("content-length", "remove it: the agent sets it"),
    ("content-encoding", "remove it: the agent sets it"),
    ("transfer-encoding", "remove it: the agent sets it"),
    ("accept-encoding", "remove it: the agent sets it"),
    ("x-prometheus-remote-write-version", "remove it: `protobuf_message` says which version is spoken"),
    ("retry-attempt", "remove it: the agent sets it"),
    ("user-agent", "remove it: the agent says who it is"),
    ("connection", "remove it: the agent sets it"),
    ("keep-alive", "remove it: the agent sets it"),
    ("host", "remove it: it comes from `url`"),
    ("proxy-authorization", "remove it: proxies with a password are not supported"),
    ("www-authenticate", "remove it: it is one of answers"),
];

/// All entries, up to the most that there can be.
pub(super) fn plan(raw: &[RemoteWrite], root: &Node, check: &mut Check<'_>) -> Vec<Endpoint> {
    let list = root.child("remote_write");
    let mut taken: HashSet<String> = HashSet::new();
    for (i, entry) in raw.iter().enumerate() {
        if let Some(name) = &entry.name {
            let node = list.item(i).child("name");
            check.name(name, node);
            if !taken.insert(name.clone()) {
                check.error(node.span, format!("two endpoints are named {name:?}"), "give each a name of its own");
            }
        }
    }
    if raw.len() > ENDPOINTS_MAX {
        check.error(
            list.item(ENDPOINTS_MAX).span,
            format!("there are more than {ENDPOINTS_MAX} endpoints"),
            "remove some; each has a queue and a connection of its own",
        );
    }
    let raw = raw.get(..ENDPOINTS_MAX).unwrap_or(raw);
    raw.iter().enumerate().map(|(i, entry)| endpoint(entry, list.item(i), &mut taken, check)).collect()
}

/// The name of an entry that gives none: its host. A number would go by the order of entries, and what waits on disk by the name.
fn default_name(url: Option<&Url>, node: &Node, taken: &mut HashSet<String>, check: &mut Check<'_>) -> String {
    // Without a URL something is reported already.
    let Some(url) = url else { return "remote_write".to_owned() };
    let host = url.host_str().unwrap_or("remote_write").chars();
    let name: String = host.filter(|c| !matches!(c, '[' | ']')).take(NAME_BYTES).collect();
    if !taken.insert(name.clone()) {
        check.error(
            node.child("url").span,
            "another endpoint has the name that this one would get, the host of its URL",
            "give it a `name` of its own: metrics, `to` and what waits on disk go by it",
        );
    }
    name
}

fn endpoint(raw: &RemoteWrite, node: &Node, taken: &mut HashSet<String>, check: &mut Check<'_>) -> Endpoint {
    const EXAMPLE: &str = "http://127.0.0.1:9090/api/v1/write";
    let url = access::target(raw.url.as_deref(), node, EXAMPLE, check);
    if url.as_ref().is_some_and(|url| matches!(url.path(), "" | "/")) {
        check.error(
            node.child("url").span,
            "the URL has no path",
            "Prometheus takes samples at /api/v1/write, Mimir at /api/v1/push; write the one of your endpoint",
        );
    }
    let name = match &raw.name {
        Some(name) => name.clone(),
        None => default_name(url.as_ref(), node, taken, check),
    };
    what_is_not(raw, node, check);
    let access = Access {
        headers: raw.headers.as_ref(),
        basic_auth: raw.basic_auth.as_ref(),
        bearer_token: raw.bearer_token.as_ref(),
        bearer_token_file: raw.bearer_token_file.as_deref(),
        authorization: raw.authorization.as_ref(),
        tls_config: raw.tls_config.as_ref(),
        proxy_url: raw.proxy_url.as_deref(),
    };
    let auth = access::auth(&access, node, check);
    if let Some(url) = &url {
        access::warn_of_open_secrets(url, node, &auth, check);
    }
    let write_relabel = match node.entry("write_relabel_configs") {
        Some(rules) if raw.write_relabel_configs.is_some() => {
            pipeline::relabel(&rules.value, check).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let queue = queue(raw.queue_config.as_ref(), node.child("queue_config"), check);
    let metadata = metadata(raw.metadata_config.as_ref(), node.child("metadata_config"), check);
    Endpoint {
        name,
        headers: access::headers(&access, &OWN_HEADERS, node, check),
        tls: access::tls(&access, node, url.as_ref(), check),
        proxy: access::proxy(&access, node, check),
        url: url.map(String::from).unwrap_or_default(),
        auth,
        timeout: check.time(
            raw.remote_timeout,
            node.child("remote_timeout"),
            REMOTE_TIMEOUT_MS_DEFAULT,
            (REQUEST_TIMEOUT_MS_MIN, REQUEST_TIMEOUT_MS_MAX),
        ),
        write_relabel,
        message: message(raw, node, check),
        exemplars: raw.send_exemplars.unwrap_or(false),
        metadata,
        max_samples: queue.max_samples,
        deadline: queue.deadline,
        backoff: queue.backoff,
        sample_age_limit: queue.sample_age_limit,
        retry_rate_limited: queue.retry_rate_limited,
    }
}

fn message(raw: &RemoteWrite, node: &Node, check: &mut Check<'_>) -> Message {
    match raw.protobuf_message.as_deref() {
        None | Some(FIRST) => Message::V1,
        Some(SECOND) => Message::V2,
        Some(AUTO) => Message::Auto,
        Some(other) => {
            check.error(
                node.child("protobuf_message").span,
                format!("{other:?} is no message of remote write"),
                suggest(other, "the choices are", [FIRST, SECOND, AUTO]),
            );
            Message::V1
        }
    }
}

/// What Prometheus knows and has no meaning here. What is not supported at all `de` tells.
fn what_is_not(raw: &RemoteWrite, node: &Node, check: &mut Check<'_>) {
    if raw.proxy_from_environment == Some(true) {
        check.error(
            node.key_span("proxy_from_environment"),
            "the proxy of the environment is not used",
            "write it into `proxy_url`, and remove this",
        );
    }
    for (key, value, what, help) in [
        (
            "follow_redirects",
            raw.follow_redirects,
            "redirects are not followed: a redirected endpoint is told of, and waited for",
            "put the final address into `url`, and remove this",
        ),
        (
            "enable_http2",
            raw.enable_http2,
            "HTTP/1.1 is spoken: there is one request at a time, for which HTTP/2 has no use",
            "remove it",
        ),
        (
            "send_native_histograms",
            raw.send_native_histograms,
            "there are no native histograms to send",
            "remove it; classic histograms are sent",
        ),
        (
            "round_robin_dns",
            raw.round_robin_dns,
            "one connection is kept, to one address of the endpoint at a time",
            "remove it",
        ),
    ] {
        // `false` is what happens anyway.
        if value == Some(true) {
            check.warn(node.key_span(key), format!("{key} has no effect: {what}"), help);
        }
    }
}

struct Queue {
    max_samples: usize,
    deadline: Duration,
    backoff: (Duration, Duration),
    sample_age_limit: Option<Duration>,
    retry_rate_limited: bool,
}

fn queue(raw: Option<&QueueConfig>, node: &Node, check: &mut Check<'_>) -> Queue {
    let default = QueueConfig::default();
    let raw = raw.unwrap_or(&default);
    for (key, there, what) in [
        ("capacity", raw.capacity, "what waits is bounded by bytes, in memory and on disk (`limits.spool`)"),
        ("max_shards", raw.max_shards, "one request at a time is sent, which keeps each series in order"),
        ("min_shards", raw.min_shards, "one request at a time is sent, which keeps each series in order"),
    ] {
        if there.is_some() {
            check.warn(node.key_span(key), format!("{key} has no effect: {what}"), "remove it");
        }
    }
    let samples = check.number(raw.max_samples_per_send, node.child("max_samples_per_send"), REMOTE_SAMPLES_RANGE);
    let range = (BACKOFF_MS_MIN, BACKOFF_MS_MAX);
    let first = check.time(raw.min_backoff, node.child("min_backoff"), REMOTE_BACKOFF_MIN_MS_DEFAULT, range);
    let last = check.time(raw.max_backoff, node.child("max_backoff"), REMOTE_BACKOFF_MAX_MS_DEFAULT, range);
    if first > last {
        let key = if raw.min_backoff.is_some() { "min_backoff" } else { "max_backoff" };
        check.error(
            node.child(key).span,
            "the first pause (min_backoff) is longer than the longest (max_backoff)",
            "set both, min_backoff at most max_backoff",
        );
    }
    let age = raw.sample_age_limit.filter(|age| !age.0.is_zero());
    Queue {
        max_samples: usize::try_from(samples.unwrap_or(REMOTE_SAMPLES_DEFAULT)).unwrap_or(usize::MAX),
        deadline: check.time(
            raw.batch_send_deadline,
            node.child("batch_send_deadline"),
            REMOTE_DEADLINE_MS_DEFAULT,
            REMOTE_DEADLINE_MS_RANGE,
        ),
        backoff: (first, last),
        sample_age_limit: age.map(|age| check.time(Some(age), node.child("sample_age_limit"), 0, REMOTE_AGE_MS_RANGE)),
        retry_rate_limited: raw.retry_on_http_429.unwrap_or(true),
    }
}

/// How often metadata is sent, if at all.
fn metadata(raw: Option<&MetadataConfig>, node: &Node, check: &mut Check<'_>) -> Option<Duration> {
    let default = MetadataConfig::default();
    let raw = raw.unwrap_or(&default);
    if raw.max_samples_per_send.is_some() {
        check.warn(
            node.key_span("max_samples_per_send"),
            "max_samples_per_send has no effect here: metadata goes with the samples of its families",
            "remove it; the one of queue_config bounds requests",
        );
    }
    let interval = check.time(
        raw.send_interval,
        node.child("send_interval"),
        REMOTE_METADATA_MS_DEFAULT,
        REMOTE_METADATA_MS_RANGE,
    );
    raw.send.unwrap_or(true).then_some(interval)
}
