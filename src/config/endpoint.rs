//! `loki` entries: from what was written to an endpoint's settings.
//!
//! Promises: no text of a URL, header, user, password or token gets into a message. A URL without a path gets Loki's push path.
//! Leaves to others: reading the files that secrets are in, and connecting.

use super::check::Check;
use super::raw::{self, Backoff, Loki};
use super::tree::Node;
use crate::base::limits::{
    BACKOFF_MAX_MS_DEFAULT, BACKOFF_MIN_MS_DEFAULT, BACKOFF_MS_MAX, BACKOFF_MS_MIN, BATCH_BYTES_DEFAULT,
    BATCH_BYTES_MAX, BATCH_BYTES_MIN, BATCH_WAIT_MS_DEFAULT, BATCH_WAIT_MS_MAX, BATCH_WAIT_MS_MIN, ENDPOINTS_MAX,
    NAME_BYTES, REQUEST_TIMEOUT_MS_DEFAULT, REQUEST_TIMEOUT_MS_MAX, REQUEST_TIMEOUT_MS_MIN, STREAMS_MAX, TENANT_BYTES,
};
use crate::base::secret::Secret;
use crate::model::flow::{StreamBound, StreamPolicy};
use crate::sink::settings::{Auth, Credential, Endpoint, Tls};
// The parser that the HTTP client itself uses, so that both understand a URL in the same way.
use reqwest::Url;
use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;
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
    let auth = auth(raw, node, check);
    let headers = headers(raw, node, check);
    let tls = tls(raw, node, url.as_ref(), check);
    if let Some(url) = &url {
        warn_of_open_secrets(url, node, &auth, check);
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
        proxy: proxy(raw, node, check),
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

/// `http` or `https` with a host and nothing that does not belong into a setting; `None`: reported.
fn http_url(text: &str, node: &Node, example: &str, check: &mut Check<'_>) -> Option<Url> {
    let help = format!("write it like {example}");
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => {
            check.error(node.span, format!("this is not a URL: {error}"), help);
            return None;
        }
    };
    if !matches!(url.scheme(), "http" | "https") {
        check.error(node.span, "the URL has to begin with http:// or https://", help);
        return None;
    }
    if url.fragment().is_some() {
        check.error(node.span, "the URL has a fragment (#), which is never sent", "remove it");
        return None;
    }
    Some(url)
}

fn push_url(raw: &Loki, node: &Node, check: &mut Check<'_>) -> Option<Url> {
    const EXAMPLE: &str = "http://127.0.0.1:3100/loki/api/v1/push";
    let Some(text) = &raw.url else {
        if !node.has_lost("url") {
            check.error(node.span, "the endpoint has no `url`", format!("add one, such as `url: {EXAMPLE}`"));
        }
        return None;
    };
    let place = node.child("url");
    let mut url = http_url(text, place, EXAMPLE, check)?;
    if !url.username().is_empty() || url.password().is_some() {
        check.error(
            place.span,
            "user and password do not belong into the URL, where they would be shown",
            "write `basic_auth: { username: …, password_file: … }`",
        );
        return None;
    }
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

fn proxy(raw: &Loki, node: &Node, check: &mut Check<'_>) -> Option<String> {
    let text = raw.proxy_url.as_deref()?;
    let place = node.child("proxy_url");
    let url = http_url(text, place, "http://proxy.example.org:3128", check)?;
    if !url.username().is_empty() || url.password().is_some() {
        check.error(place.span, "proxies with a password are not supported", "remove user and password from the URL");
        return None;
    }
    Some(url.into())
}

fn auth(raw: &Loki, node: &Node, check: &mut Check<'_>) -> Auth {
    let used: Vec<&str> = [
        ("basic_auth", raw.basic_auth.is_some()),
        ("bearer_token", raw.bearer_token.is_some()),
        ("bearer_token_file", raw.bearer_token_file.is_some()),
    ]
    .into_iter()
    .filter_map(|(key, used)| used.then_some(key))
    .collect();
    if let [first, .., last] = used.as_slice() {
        check.error(
            node.key_span(last),
            format!("{first} and {last} cannot be used together"),
            "an endpoint has one way to show who you are: keep one of them",
        );
    }
    let mut result = Auth::None;
    if let Some(token) = &raw.bearer_token {
        check_header_value(&token.0, node.child("bearer_token"), "token", check);
        if token.0.expose().is_empty() {
            check.error(node.key_span("bearer_token"), "the token is empty", "give one, or remove the key");
        }
        result = Auth::Bearer(Credential::Inline(token.0.clone()));
    }
    if let Some(path) = &raw.bearer_token_file {
        result = Auth::Bearer(Credential::File(check.file(path, node.child("bearer_token_file"))));
    }
    if let Some(basic) = &raw.basic_auth {
        let place = node.child("basic_auth");
        let username = basic.username.clone().unwrap_or_default();
        if basic.username.is_none() && !place.has_lost("username") {
            check.error(node.key_span("basic_auth"), "basic_auth has no `username`", "add it");
        } else if username.contains(':') || username.chars().any(char::is_control) {
            check.error(
                place.child("username").span,
                "a user name cannot contain colons and control characters",
                "basic authentication has no way to send them",
            );
        }
        let password = match (&basic.password, &basic.password_file) {
            (Some(_), Some(_)) => {
                check.error(
                    place.key_span("password_file"),
                    "password and password_file cannot be used together",
                    "keep one of them",
                );
                None
            }
            (Some(password), None) => {
                if password.0.expose().chars().any(char::is_control) {
                    check.error(
                        place.child("password").span,
                        "the password contains control characters",
                        "is there a line break at its end? In a file of its own it would not count",
                    );
                }
                Some(Credential::Inline(password.0.clone()))
            }
            (None, Some(path)) => Some(Credential::File(check.file(path, place.child("password_file")))),
            (None, None) => {
                if !place.has_lost("password") && !place.has_lost("password_file") {
                    check.error(
                        node.key_span("basic_auth"),
                        "basic_auth has no password",
                        "add `password_file` (or `password`)",
                    );
                }
                None
            }
        };
        if let Some(password) = password {
            result = Auth::Basic { username, password };
        }
    }
    result
}

/// What may follow a header's name: printable ASCII. The message does not show it.
fn check_header_value(value: &Secret, node: &Node, what: &str, check: &mut Check<'_>) {
    if !value.expose().bytes().all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic()) {
        check.error(
            node.span,
            format!("the {what} contains characters that cannot be sent"),
            "it may have ASCII letters, digits, signs and blanks, and no line break",
        );
    }
}

fn headers(raw: &Loki, node: &Node, check: &mut Check<'_>) -> Vec<(String, Secret)> {
    let place = node.child("headers");
    let has_auth = raw.basic_auth.is_some() || raw.bearer_token.is_some() || raw.bearer_token_file.is_some();
    let mut seen: HashSet<String> = HashSet::new();
    let mut headers = Vec::new();
    // In the order of the file, so that of two equal names the second is the one reported.
    for entry in place.entries() {
        let Some(value) = raw.headers.as_ref().and_then(|headers| headers.get(&entry.key)) else { continue };
        let (name, lower) = (&entry.key, entry.key.to_ascii_lowercase());
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(fits) {
            check.error(entry.key_span, "this is not the name of a header", "a name has ASCII letters, digits and -");
        } else if let Some((_, help)) = OWN_HEADERS.iter().find(|(own, _)| *own == lower) {
            check.error(entry.key_span, format!("the header {name} cannot be set here"), *help);
        } else if lower == "authorization" && has_auth {
            check.error(
                entry.key_span,
                "the header Authorization cannot be used together with basic_auth or a bearer token",
                "keep one of them",
            );
        } else if !seen.insert(lower) {
            check.error(
                entry.key_span,
                format!("the header {name} is here for the second time"),
                "upper and lower case are the same: keep one",
            );
        }
        check_header_value(&value.0, &entry.value, "value", check);
        headers.push((name.clone(), value.0.clone()));
    }
    headers
}

fn tls(raw: &Loki, node: &Node, url: Option<&Url>, check: &mut Check<'_>) -> Tls {
    let Some(tls) = &raw.tls_config else { return Tls::default() };
    let place = node.child("tls_config");
    if url.is_some_and(|url| url.scheme() == "http") {
        check.error(
            node.key_span("tls_config"),
            "tls_config has no effect on an http:// URL",
            "write https:// in `url`, or remove tls_config",
        );
    }
    for (key, there, other, other_there) in [
        ("cert_file", tls.cert_file.is_some(), "key_file", tls.key_file.is_some()),
        ("key_file", tls.key_file.is_some(), "cert_file", tls.cert_file.is_some()),
    ] {
        if there && !other_there && !place.has_lost(other) {
            let help = "a client certificate needs both: the chain (cert_file) and its key (key_file)";
            check.error(place.key_span(key), format!("{key} without {other}"), help);
        }
    }
    if let Some(name) = &tls.server_name {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.parse::<IpAddr>().is_err() && (name.is_empty() || !name.chars().all(fits)) {
            check.error(
                place.child("server_name").span,
                "this is not a host name",
                "write the name in the endpoint's certificate, such as loki.example.org",
            );
        }
    }
    let insecure_skip_verify = tls.insecure_skip_verify == Some(true);
    if insecure_skip_verify {
        check.warn(
            place.key_span("insecure_skip_verify"),
            "the endpoint's certificate is not checked: anybody between here and there can read and change what is sent",
            "name the authority that signed it in ca_file instead",
        );
    }
    let mut file = |path: &Option<String>, key: &str| -> Option<PathBuf> {
        path.as_ref().map(|path| check.file(path, place.child(key)))
    };
    Tls {
        ca_file: file(&tls.ca_file, "ca_file"),
        cert_file: file(&tls.cert_file, "cert_file"),
        key_file: file(&tls.key_file, "key_file"),
        server_name: tls.server_name.clone(),
        insecure_skip_verify,
    }
}

/// A password over plain HTTP is fine on the host itself, and nowhere else.
fn warn_of_open_secrets(url: &Url, node: &Node, auth: &Auth, check: &mut Check<'_>) {
    let host = url.host_str().unwrap_or("").trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let what = match auth {
        Auth::None => return,
        Auth::Basic { .. } => "password",
        Auth::Bearer(_) | Auth::Other { .. } => "token",
    };
    if url.scheme() == "http" && !local {
        check.warn(
            node.child("url").span,
            format!("the {what} is sent in the clear over http://"),
            "use https:// if the endpoint offers it",
        );
    }
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
