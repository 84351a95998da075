//! `clients`: where Promtail sends logs to, as entries of `loki`.
//!
//! Promises: values that lugger bounds more narrowly are moved to the bound, with a warning; user and password of a URL become `basic_auth`,
//! as Go's HTTP client uses them. Leaves to others: what `config::endpoint` checks of every endpoint.

use super::keys::{self, survey};
use super::native::{Item, entry, map, text, word};
use super::read;
use crate::base::limits::{
    BACKOFF_MS_MAX, BACKOFF_MS_MIN, BATCH_BYTES_MAX, BATCH_BYTES_MIN, BATCH_WAIT_MS_MAX, BATCH_WAIT_MS_MIN, NAME_BYTES,
    REQUEST_TIMEOUT_MS_MAX, REQUEST_TIMEOUT_MS_MIN,
};
use crate::base::units::{format_duration, format_size};
use crate::config::check::Check;
use crate::config::source::Span;
use crate::config::tree::{Entry, Node, Value};
use reqwest::Url;
use std::time::Duration;

/// What Promtail does where the file says nothing, milliseconds.
const BACKOFF_MS: (u64, u64) = (500, 300_000);

/// A client in lugger's form.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) item: Item,
    pub(super) name: String,
    /// `external_labels`, in the order of the file.
    pub(super) labels: Vec<Entry>,
}

/// All clients.
pub(super) fn clients(root: &Node, check: &mut Check<'_>) -> Vec<Client> {
    let single = root.entry("client").map(|entry| &entry.value).filter(|node| survey_only(node));
    let mut nodes: Vec<&Node> = single.into_iter().collect();
    nodes.extend(read::items(root, "clients", check));
    let mut clients: Vec<Client> = Vec::new();
    for node in nodes {
        let before = check.count();
        if !survey(node, keys::CLIENT, check) {
            continue;
        }
        let mut client = client(node, check);
        let taken = |name: &str| clients.iter().any(|other| other.name == name);
        if taken(&client.name) {
            // By what it is, not by its place: what waits for an endpoint is kept under its name.
            let what = format!("{}\n{}", plain(node, "url"), plain(node, "tenant_id"));
            let number = crc32fast::hash(what.as_bytes());
            client.name = format!("{}-{number:08x}", client.name.chars().take(NAME_BYTES - 9).collect::<String>());
            if taken(&client.name) {
                check.error(node.span, "two clients are the same", "remove one of them, or give each a `name`");
            }
        }
        let name = entry("name", node.key_span("name"), text(node.child("name").span, client.name.as_str()));
        if let Some(node) = &mut client.item.node
            && let Value::Map(entries) = &mut node.value
        {
            entries.insert(0, name);
        }
        client.item.comments = check.said_since(before);
        clients.push(client);
    }
    clients
}

/// Whether there is anything in it: `client: {}` is in some files that have `clients`, too.
fn survey_only(node: &Node) -> bool {
    let is_empty = node.entries().is_empty() && matches!(node.value, Value::Map(_));
    !is_empty && !node.is_null()
}

fn plain<'a>(node: &'a Node, key: &str) -> &'a str {
    match &node.child(key).value {
        Value::Scalar(scalar) => &scalar.text,
        _ => "",
    }
}

fn client(node: &Node, check: &mut Check<'_>) -> Client {
    let mut out: Vec<Entry> = Vec::new();
    let url = read::text_at(node, "url", check).and_then(|written| Url::parse(written).ok());
    let auth = userinfo(node, url.as_ref(), &mut out);
    let mut keep = |key: &'static str| {
        if let Some(found) = node.entry(key).filter(|found| !found.value.is_null()) {
            out.push(entry(key, found.key_span, found.value.clone()));
        }
    };
    keep("tenant_id");
    keep("headers");
    keep("bearer_token");
    keep("bearer_token_file");
    keep("proxy_url");
    if let Some(basic) = node.entry("basic_auth").filter(|basic| survey(&basic.value, keys::BASIC_AUTH, check)) {
        out.push(entry("basic_auth", basic.key_span, known(&basic.value, keys::BASIC_AUTH)));
    } else {
        out.extend(auth);
    }
    authorization(node, &mut out, check);
    if let Some(tls) = node.entry("tls_config").filter(|tls| survey(&tls.value, keys::TLS, check)) {
        if url.as_ref().is_some_and(|url| url.scheme() == "http") {
            check.note(tls.key_span, "`tls_config` has no effect: the URL begins with http://");
        } else {
            out.push(entry("tls_config", tls.key_span, known(&tls.value, keys::TLS)));
        }
    }
    let range = (REQUEST_TIMEOUT_MS_MIN, REQUEST_TIMEOUT_MS_MAX);
    out.extend(time(node, "timeout", "timeout", range, check));
    out.extend(time(node, "batchwait", "batch_wait", (BATCH_WAIT_MS_MIN, BATCH_WAIT_MS_MAX), check));
    if let Some(bytes) = read::size(node, "batchsize", check) {
        let place = node.child("batchsize").span;
        let least = BATCH_BYTES_MIN as u64;
        let within = bytes.clamp(least, BATCH_BYTES_MAX as u64);
        if within != bytes {
            check.warn(
                place,
                format!("{} is out of lugger's range: it is {}", format_size(bytes), format_size(within)),
                format!("a batch has from {} to {}", format_size(least), format_size(BATCH_BYTES_MAX as u64)),
            );
        }
        out.push(entry("batch_size", node.key_span("batchsize"), word(place, format_size(within))));
    }
    backoff(node, &mut out, check);
    let name = match read::text_at(node, "name", check) {
        Some(name) => fit_name(name),
        None => fit_name(url.as_ref().and_then(Url::host_str).unwrap_or("loki")),
    };
    let labels = node.child("external_labels");
    let labels = if node.entry("external_labels").is_some() { labels.entries().to_vec() } else { Vec::new() };
    Client { item: Item { comments: Vec::new(), node: Some(map(node.span, out)) }, name, labels }
}

/// A name as lugger's names are.
pub(super) fn fit_name(name: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':') { c } else { '-' };
    let name: String = name.chars().map(fit).collect();
    let name = name.trim_matches(['-', '.']);
    let name = name.get(..NAME_BYTES - 16).unwrap_or(name);
    if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() }
}

/// The keys of `node` that are used.
fn known(node: &Node, keys: &keys::Keys) -> Node {
    let is_used = |entry: &&Entry| {
        let fate = keys.iter().find(|(name, _)| *name == entry.key);
        matches!(fate, Some((_, keys::Fate::Used))) && !entry.value.is_null()
    };
    let mut copy = map(node.span, node.entries().iter().filter(is_used).cloned().collect());
    copy.lost.clone_from(&node.lost);
    // What was refused is not to be missed.
    for entry in node.entries() {
        let (stem, _) = entry.key.rsplit_once('_').unwrap_or((&entry.key, ""));
        copy.lost.extend([stem.to_owned(), format!("{stem}_file")]);
    }
    copy
}

/// The URL, and `basic_auth` from the user and password in it.
fn userinfo(node: &Node, url: Option<&Url>, out: &mut Vec<Entry>) -> Option<Entry> {
    let found = node.entry("url").filter(|found| !found.value.is_null())?;
    let Some(url) = url.filter(|url| !url.username().is_empty() || url.password().is_some()) else {
        out.push(entry("url", found.key_span, found.value.clone()));
        return None;
    };
    let mut bare = url.clone();
    // Both fail only for URLs that cannot have them.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    out.push(entry("url", found.key_span, text(found.value.span, bare.as_str())));
    let span = found.value.span;
    let user = decoded(url.username());
    let password = decoded(url.password().unwrap_or(""));
    let pair = vec![entry("username", span, text(span, user)), entry("password", span, text(span, password))];
    Some(entry("basic_auth", found.key_span, map(span, pair)))
}

/// `%40` and the like.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match hex.filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `authorization`: a bearer token by another name, or a header.
fn authorization(node: &Node, out: &mut Vec<Entry>, check: &mut Check<'_>) {
    let Some(found) = node.entry("authorization").filter(|found| survey(&found.value, keys::AUTHORIZATION, check))
    else {
        return;
    };
    let kind = read::text_at(&found.value, "type", check).unwrap_or("Bearer");
    let is_bearer = kind.eq_ignore_ascii_case("bearer");
    let credentials = found.value.entry("credentials").filter(|found| !found.value.is_null());
    let file = found.value.entry("credentials_file").filter(|found| !found.value.is_null());
    match (credentials, file) {
        (Some(token), _) if is_bearer => out.push(entry("bearer_token", token.key_span, token.value.clone())),
        (None, Some(file)) if is_bearer => out.push(entry("bearer_token_file", file.key_span, file.value.clone())),
        (Some(_), _) => {
            let token = read::text_at(&found.value, "credentials", check).unwrap_or("");
            let header = entry("Authorization", found.key_span, text(found.value.span, format!("{kind} {token}")));
            match out.iter_mut().find(|entry| entry.key == "headers").map(|entry| &mut entry.value.value) {
                Some(Value::Map(headers)) => headers.push(header),
                _ => out.push(entry("headers", found.key_span, map(found.value.span, vec![header]))),
            }
        }
        (None, Some(file)) => check.error(
            file.key_span,
            "the credentials of a type other than Bearer cannot be in a file",
            "write them into `credentials`",
        ),
        (None, None) => check.error(found.key_span, "`authorization` has no credentials", "add `credentials_file`"),
    }
}

/// A duration within lugger's range.
fn time(node: &Node, key: &str, native: &str, range_ms: (u64, u64), check: &mut Check<'_>) -> Option<Entry> {
    let time = read::duration(node, key, check)?;
    let time = within(time, range_ms, node.child(key).span, check);
    Some(entry(native, node.key_span(key), word(node.child(key).span, format_duration(time))))
}

fn within(time: Duration, (min, max): (u64, u64), span: Span, check: &mut Check<'_>) -> Duration {
    let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
    let fit = time.clamp(min, max);
    if fit != time {
        check.warn(
            span,
            format!("{} is out of lugger's range: it is {}", format_duration(time), format_duration(fit)),
            format!("it may be from {} to {}", format_duration(min), format_duration(max)),
        );
    }
    fit
}

fn backoff(node: &Node, out: &mut Vec<Entry>, check: &mut Check<'_>) {
    let Some(found) = node.entry("backoff_config") else { return };
    let place = &found.value;
    if !survey(place, keys::BACKOFF, check) {
        return;
    }
    let range = (BACKOFF_MS_MIN, BACKOFF_MS_MAX);
    let mut pause = |key: &str, default| {
        let written = read::duration(place, key, check);
        let time = written.map(|time| within(time, range, place.child(key).span, check));
        (written.is_some(), time.unwrap_or(Duration::from_millis(default)))
    };
    let (min, max) = (pause("min_period", BACKOFF_MS.0), pause("max_period", BACKOFF_MS.1));
    if !min.0 && !max.0 {
        return;
    }
    // As in Promtail, where a first pause above the longest one is the longest.
    let first = min.1.min(max.1);
    let pauses = vec![
        entry("min", place.key_span("min_period"), word(place.span, format_duration(first))),
        entry("max", place.key_span("max_period"), word(place.span, format_duration(max.1))),
    ];
    out.push(entry("backoff", found.key_span, map(place.span, pauses)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords() {
        assert_eq!(fit_name("my job/with spaces"), "my-job-with-spaces");
        assert_eq!(fit_name("../"), "unnamed");
        assert_eq!(fit_name(&"x".repeat(500)).len(), NAME_BYTES - 16);
        assert_eq!(decoded("p%40ss%3Aw%zz"), "p@ss:w%zz");
    }
}
