//! `loki` entries: from what was written to an endpoint's settings.
//!
//! Promises: a URL without a path gets Loki's push path. Leaves to others: what endpoints of all kinds have (`access`), reading the files that secrets
//! are in, and connecting.

use super::access::{self, Access};
use super::check::Check;
use super::raw::{self, Backoff, Loki};
use super::tree::Node;
use crate::base::limits::{
    BACKOFF_MAX_MS_DEFAULT, BACKOFF_MIN_MS_DEFAULT, BACKOFF_MS_MAX, BACKOFF_MS_MIN, BATCH_BYTES_DEFAULT,
    BATCH_BYTES_MAX, BATCH_BYTES_MIN, BATCH_WAIT_MS_DEFAULT, BATCH_WAIT_MS_MAX, BATCH_WAIT_MS_MIN, ENDPOINTS_MAX,
    NAME_BYTES, REQUEST_TIMEOUT_MS_DEFAULT, REQUEST_TIMEOUT_MS_MAX, REQUEST_TIMEOUT_MS_MIN, STREAMS_MAX, TENANT_BYTES,
};
use crate::model::flow::{StreamBound, StreamPolicy};
use crate::sink::settings::Endpoint;
use reqwest::Url;
use std::collections::HashSet;
use std::time::Duration;

/// Where Loki takes pushes.
const PUSH_PATH: &str = "/loki/api/v1/push";

/// Headers that the agent or its HTTP client sets, in lower case, with what to do instead.
const OWN_HEADERS: [(&str, &str); 8] = [
    ("content-type", "remove it: the agent sets it"),
    ("content-length", "remove it: the agent sets it"),
    ("content-encoding", "remove it: the agent sets it"),
    ("transfer-encoding", "remove it: the agent sets it"),
    ("connection", "remove it: the agent sets it"),
    ("host", "remove it: it comes from `url`"),
    ("x-scope-orgid", "use `tenant_id`"),
    ("proxy-authorization", "remove it: proxies with a password are not supported"),
];

/// All entries, up to the most that there can be.
pub(super) fn plan(raw: &[Loki], root: &Node, check: &mut Check<'_>) -> Vec<Endpoint> {
    let list = root.child("loki");
    let mut taken: HashSet<String> = HashSet::new();
    for (i, loki) in raw.iter().enumerate() {
        if let Some(name) = &loki.name {
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
    raw.iter().enumerate().map(|(i, loki)| endpoint(loki, list.item(i), &mut taken, check)).collect()
}

/// The name of an entry that gives none: its host. Where that is taken there is no other one to choose: a number would go by the order
/// of the entries, and what waits for one endpoint would go to another when the order changes.
fn default_name(url: Option<&Url>, node: &Node, taken: &mut HashSet<String>, check: &mut Check<'_>) -> String {
    // Without a URL something is reported already.
    let Some(url) = url else { return "loki".to_owned() };
    let host = url.host_str().unwrap_or("loki").chars();
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

fn endpoint(raw: &Loki, node: &Node, taken: &mut HashSet<String>, check: &mut Check<'_>) -> Endpoint {
    let url = push_url(raw, node, check);
    let name = match &raw.name {
        Some(name) => name.clone(),
        None => default_name(url.as_ref(), node, taken, check),
    };
    if let Some(tenant) = &raw.tenant_id {
        let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b'\\');
        if tenant.is_empty() || tenant.len() > TENANT_BYTES || !tenant.bytes().all(fits) {
            check.error(
                node.child("tenant_id").span,
                "this is not a tenant",
                format!("a tenant is up to {TENANT_BYTES} ASCII letters, digits and signs, without blanks and slashes"),
            );
        }
    }
    let access = Access {
        headers: raw.headers.as_ref(),
        basic_auth: raw.basic_auth.as_ref(),
        bearer_token: raw.bearer_token.as_ref(),
        bearer_token_file: raw.bearer_token_file.as_deref(),
        authorization: None,
        tls_config: raw.tls_config.as_ref(),
        proxy_url: raw.proxy_url.as_deref(),
    };
    let auth = access::auth(&access, node, check);
    let headers = access::headers(&access, &OWN_HEADERS, node, check);
    let tls = access::tls(&access, node, url.as_ref(), check);
    if let Some(url) = &url {
        access::warn_of_open_secrets(url, node, &auth, check);
    }
    let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let range = (wide(BATCH_BYTES_MIN), wide(BATCH_BYTES_MAX));
    let batch_bytes = check.size(raw.batch_size, node.child("batch_size"), wide(BATCH_BYTES_DEFAULT), range);
    Endpoint {
        name,
        url: url.map(String::from).unwrap_or_default(),
        tenant_id: raw.tenant_id.clone(),
        headers,
        auth,
        tls,
        proxy: access::proxy(&access, node, check),
        timeout: check.time(
            raw.timeout,
            node.child("timeout"),
            REQUEST_TIMEOUT_MS_DEFAULT,
            (REQUEST_TIMEOUT_MS_MIN, REQUEST_TIMEOUT_MS_MAX),
        ),
        batch_bytes: usize::try_from(batch_bytes).unwrap_or(BATCH_BYTES_DEFAULT),
        batch_wait: check.time(
            raw.batch_wait,
            node.child("batch_wait"),
            BATCH_WAIT_MS_DEFAULT,
            (BATCH_WAIT_MS_MIN, BATCH_WAIT_MS_MAX),
        ),
        backoff: backoff(raw.backoff.as_ref(), node.child("backoff"), check),
        rate: check.rate(raw.rate.as_ref(), node),
        max_streams: max_streams(raw, node, check),
    }
}

/// The bound of streams.
fn max_streams(raw: &Loki, node: &Node, check: &mut Check<'_>) -> Option<StreamBound> {
    let max = check.number(raw.max_streams, node.child("max_streams"), (1, STREAMS_MAX));
    if max.is_none() && raw.max_streams_policy.is_some() && !node.has_lost("max_streams") {
        check.error(
            node.key_span("max_streams_policy"),
            "max_streams_policy has no effect without `max_streams`",
            "add `max_streams`, such as `max_streams: 4000`, or remove it",
        );
    }
    let policy = match raw.max_streams_policy {
        Some(raw::StreamPolicy::Drop) => StreamPolicy::Drop,
        Some(raw::StreamPolicy::Merge) | None => StreamPolicy::Merge,
    };
    Some(StreamBound { max: usize::try_from(max?).unwrap_or(usize::MAX), policy })
}

fn push_url(raw: &Loki, node: &Node, check: &mut Check<'_>) -> Option<Url> {
    const EXAMPLE: &str = "http://127.0.0.1:3100/loki/api/v1/push";
    let mut url = access::target(raw.url.as_deref(), node, EXAMPLE, check)?;
    let place = node.child("url");
    if matches!(url.path(), "" | "/") {
        url.set_path(PUSH_PATH);
    } else if !url.path().ends_with("/push") {
        check.warn(
            place.span,
            "the URL's path does not look like one that takes pushes",
            format!("Loki's is {PUSH_PATH}; a URL without any path gets it"),
        );
    }
    Some(url)
}

fn backoff(raw: Option<&Backoff>, node: &Node, check: &mut Check<'_>) -> (Duration, Duration) {
    let range = (BACKOFF_MS_MIN, BACKOFF_MS_MAX);
    let (min, max) = (raw.and_then(|raw| raw.min), raw.and_then(|raw| raw.max));
    let first = check.time(min, node.child("min"), BACKOFF_MIN_MS_DEFAULT, range);
    let last = check.time(max, node.child("max"), BACKOFF_MAX_MS_DEFAULT, range);
    if first > last {
        let key = if min.is_some() { "min" } else { "max" };
        check.error(
            node.child(key).span,
            "the first pause (min) is longer than the longest (max)",
            "set both, min at most max",
        );
    }
    (first, last)
}
