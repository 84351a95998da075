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
use crate::config::env::{self, Lookup};
use crate::config::source::Span;
use crate::config::tree::{Entry, Node, Scalar, Value};
use crate::model::tenant::TENANT_LABEL;
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
pub(super) fn clients(root: &Node, env: &Lookup<'_>, check: &mut Check<'_>) -> Vec<Client> {
    let (single, common) = single(root, check);
    let mut nodes: Vec<&Node> = single.into_iter().collect();
    nodes.extend(read::items(root, "clients", check));
    let mut clients: Vec<Client> = Vec::new();
    for node in nodes {
        let before = check.count();
        if !survey(node, keys::CLIENT, check) {
            continue;
        }
        let mut client = client(&filled(node), common, env, check);
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

/// `client`, the deprecated one: itself if it has a URL, and the labels that it gives to all clients.
fn single<'a>(root: &'a Node, check: &mut Check<'_>) -> (Option<&'a Node>, &'a [Entry]) {
    let Some(found) = root.entry("client").filter(|found| !found.value.is_null()) else { return (None, &[]) };
    let node = &found.value;
    let common = node.entry("external_labels").map_or(&[][..], |labels| labels.value.entries());
    let has_url = node.entry("url").is_some_and(|url| !read::is_empty(&url.value));
    if has_url || !matches!(node.value, Value::Map(_)) {
        return (Some(node), common);
    }
    survey(node, keys::CLIENT, check);
    for other in node.entries().iter().filter(|entry| entry.key != "external_labels" && !read::is_empty(&entry.value)) {
        check.warn(
            other.key_span,
            format!("`{}` has no effect: this client has no `url`", other.key),
            "only its external_labels count, for all clients; add `url`, or write this into the entries of `clients`",
        );
    }
    (None, common)
}

/// A client without what has an empty text, which is no value for Promtail. A user or password may be empty.
fn filled(node: &Node) -> Node {
    let mut node = node.clone();
    let Value::Map(entries) = &mut node.value else { return node };
    entries.retain(|entry| !read::is_empty(&entry.value));
    for entry in entries {
        let Value::Map(inner) = &mut entry.value.value else { continue };
        match entry.key.as_str() {
            "basic_auth" => {
                let is_filled = |key: &str| inner.iter().any(|entry| entry.key == key && !read::is_empty(&entry.value));
                let in_file = is_filled("password_file");
                inner.retain(|entry| {
                    let goes = entry.key == "password_file" || (in_file && entry.key == "password");
                    !goes || !read::is_empty(&entry.value)
                });
            }
            "tls_config" | "authorization" | "backoff_config" => inner.retain(|entry| !read::is_empty(&entry.value)),
            _ => {}
        }
    }
    node
}

fn plain<'a>(node: &'a Node, key: &str) -> &'a str {
    match &node.child(key).value {
        Value::Scalar(scalar) => &scalar.text,
        _ => "",
    }
}

/// `common`: labels that all clients have, unless they have them themselves.
fn client(node: &Node, common: &[Entry], env: &Lookup<'_>, check: &mut Check<'_>) -> Client {
    let mut out: Vec<Entry> = Vec::new();
    let url = read::text_at(node, "url", check).and_then(|written| Url::parse(written).ok());
    let auth = userinfo(node, url.as_ref(), env, &mut out, check);
    let mut labels = node.entry("external_labels").map_or_else(Vec::new, |found| found.value.entries().to_vec());
    let own = labels.len();
    for label in common {
        if !labels.iter().take(own).any(|known| known.key == label.key) {
            labels.push(label.clone());
        }
    }
    let tenant = labels.iter().position(|label| label.key == TENANT_LABEL).map(|at| labels.remove(at));
    match tenant.filter(|tenant| !read::is_empty(&tenant.value)) {
        Some(tenant) => out.push(entry("tenant_id", tenant.key_span, tenant.value)),
        None => out.extend(node.entry("tenant_id").cloned()),
    }
    let mut keep = |key: &'static str| {
        if let Some(found) = node.entry(key).filter(|found| !found.value.is_null()) {
            out.push(entry(key, found.key_span, found.value.clone()));
        }
    };
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
        None => match written(node, "url").and_then(host_in_names) {
            Some(host) => fit_name(&host),
            None => fit_name(url.as_ref().and_then(Url::host_str).unwrap_or("loki")),
        },
    };
    Client { item: Item { comments: Vec::new(), node: Some(map(node.span, out)) }, name, labels }
}

/// A text as it is written, if variables are in it.
fn written<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match &node.child(key).value {
        Value::Scalar(scalar) => scalar.written.as_deref(),
        Value::List(_) | Value::Map(_) => None,
    }
}

/// The host of a URL with the names of the variables in it, not their values, which are nobody's business who reads the printed file. `None`:
/// there are none in the host.
fn host_in_names(written: &str) -> Option<String> {
    let scheme = outside(written, |c| c == ':').find(|at| written.get(*at..).is_some_and(|it| it.starts_with("://")));
    let rest = written.get(scheme.map_or(0, |at| at + "://".len())..)?;
    let authority = outside(rest, |c| matches!(c, '/' | '?' | '#')).next().unwrap_or(rest.len());
    let authority = rest.get(..authority)?;
    let host = authority.get(outside(authority, |c| c == '@').last().map_or(0, |at| at + 1)..)?;
    let mut host = host.get(..outside(host, |c| c == ':').last().unwrap_or(host.len()))?;
    let mut name = String::new();
    while let Some((before, reference)) = host.split_once("${") {
        let (reference, after) = reference.split_once('}').unwrap_or((reference, ""));
        let end = reference.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(reference.len());
        name.push_str(before);
        name.push_str(reference.get(..end)?);
        host = after;
    }
    (!name.is_empty()).then(|| name + host)
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
fn userinfo(
    node: &Node,
    url: Option<&Url>,
    env: &Lookup<'_>,
    out: &mut Vec<Entry>,
    check: &mut Check<'_>,
) -> Option<Entry> {
    let found = node.entry("url")?;
    let Some(url) = url.filter(|url| !url.username().is_empty() || url.password().is_some()) else {
        out.push(entry("url", found.key_span, found.value.clone()));
        return None;
    };
    let mut bare = url.clone();
    // Both fail only for URLs that cannot have them.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    let span = found.value.span;
    let parts = [bare.as_str().to_owned(), decoded(url.username()), decoded(url.password().unwrap_or(""))];
    let written = match &found.value.value {
        Value::Scalar(Scalar { written: Some(written), .. }) => Some(divided(written)),
        _ => None,
    };
    let nodes = match written {
        None => Some(parts.map(|part| text(span, part))),
        Some(written) => written.and_then(|written| of_variables(written, &parts, span, env)),
    };
    let Some([url, user, password]) = nodes else {
        check.error(
            span,
            "user and password of this URL come from variables of the environment in a way that cannot be taken apart",
            "write `basic_auth: { username: …, password: … }`, and the URL without them",
        );
        out.push(entry("url", found.key_span, text(span, bare.as_str())));
        return None;
    };
    out.push(entry("url", found.key_span, url));
    let pair = vec![entry("username", span, user), entry("password", span, password)];
    Some(entry("basic_auth", found.key_span, map(span, pair)))
}

/// URL, user and password as they are written, with variables; `None`: they cannot be told apart.
fn divided(written: &str) -> Option<[String; 3]> {
    let (scheme, rest) = written.split_once("://")?;
    let authority = outside(rest, |c| matches!(c, '/' | '?' | '#')).next().unwrap_or(rest.len());
    let at = outside(rest.get(..authority)?, |c| c == '@').last()?;
    let (userinfo, host) = (rest.get(..at)?, rest.get(at + 1..)?);
    let colon = outside(userinfo, |c| c == ':').next();
    let (user, password) = match colon {
        Some(colon) => (userinfo.get(..colon)?, userinfo.get(colon + 1..)?),
        None => (userinfo, ""),
    };
    Some([format!("{scheme}://{host}"), user.to_owned(), password.to_owned()])
}

/// The places of characters outside of `${…}`.
fn outside(text: &str, is_it: impl Fn(char) -> bool) -> impl Iterator<Item = usize> {
    let mut inside = false;
    text.char_indices().filter_map(move |(at, c)| {
        inside = (inside && c != '}') || text.get(at..).is_some_and(|rest| rest.starts_with("${"));
        (!inside && is_it(c)).then_some(at)
    })
}

/// Texts with their variables, if these stand for nothing else in a file of lugger.
fn of_variables(written: [String; 3], parts: &[String; 3], span: Span, env: &Lookup<'_>) -> Option<[Node; 3]> {
    let [url, user, password] = parts;
    let mut is_same = true;
    let mut node = |written: String, part: &str, is_url: bool| {
        let mut node = text(span, written);
        let _ = env::substitute(&mut node, env, &mut Vec::new());
        let Value::Scalar(scalar) = &mut node.value else { return node };
        // A URL is taken in the form that the parser gives it.
        let found =
            if is_url { Url::parse(&scalar.text).map(String::from).unwrap_or_default() } else { scalar.text.clone() };
        is_same &= found == part;
        node
    };
    let [written_url, written_user, written_password] = written;
    let nodes =
        [node(written_url, url, true), node(written_user, user, false), node(written_password, password, false)];
    is_same.then_some(nodes)
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
    if let Some(other) =
        out.iter().find(|entry| matches!(&*entry.key, "basic_auth" | "bearer_token" | "bearer_token_file"))
    {
        check.error(
            found.key_span,
            format!("`authorization` and `{}` cannot be used together", other.key),
            "a client has one way to show who it is: keep one of them",
        );
        return;
    }
    let kind = read::text_at(&found.value, "type", check).unwrap_or("Bearer");
    let is_bearer = kind.eq_ignore_ascii_case("bearer");
    let credentials = found.value.entry("credentials").filter(|found| !found.value.is_null());
    let file = found.value.entry("credentials_file").filter(|found| !found.value.is_null());
    match (credentials, file) {
        (Some(token), _) if is_bearer => out.push(entry("bearer_token", token.key_span, token.value.clone())),
        (None, Some(file)) if is_bearer => out.push(entry("bearer_token_file", file.key_span, file.value.clone())),
        (Some(_), _) => {
            let token = read::text_at(&found.value, "credentials", check).unwrap_or("");
            let mut value = text(found.value.span, format!("{kind} {token}"));
            let written =
                |key| found.value.entry(key).map_or_else(|| kind.to_owned(), |entry| as_written(&entry.value));
            if let Value::Scalar(scalar) = &mut value.value {
                scalar.written = Some(format!("{} {}", written("type"), written("credentials")));
            }
            let header = entry("Authorization", found.key_span, value);
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

/// A text as a file of lugger has to say it.
fn as_written(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) => scalar.written.clone().unwrap_or_else(|| scalar.text.replace("${", "$${")),
        Value::List(_) | Value::Map(_) => String::new(),
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
    fn hosts_have_the_names_of_variables_in_place_of_their_values() {
        for (written, expected) in [
            ("http://${LOKI_HOST}:3100/push", Some("LOKI_HOST")),
            ("https://${U}:${P}@${LOKI:-a:b@c}/push", Some("LOKI")),
            ("https://eu-${ZONE}.example.org/${X}", Some("eu-ZONE.example.org")),
            ("${LOKI_URL:-http://u:secret@loki}", Some("LOKI_URL")),
            ("https://${U}@loki.example.org:${PORT}/${X}", None),
            ("http://[::1]:3100/${X}", None),
        ] {
            assert_eq!(host_in_names(written).as_deref(), expected, "{written}");
        }
    }

    #[test]
    fn names_and_passwords() {
        assert_eq!(fit_name("my job/with spaces"), "my-job-with-spaces");
        assert_eq!(fit_name("../"), "unnamed");
        assert_eq!(fit_name(&"x".repeat(500)).len(), NAME_BYTES - 16);
        assert_eq!(decoded("p%40ss%3Aw%zz"), "p@ss:w%zz");
    }

    #[test]
    fn urls_are_taken_apart_around_variables() {
        let parts = |written: &str| divided(written).map(|parts| parts.join(" "));
        assert_eq!(parts("https://${U}:${P:-a:b@c/d}@h/x?a=@").as_deref(), Some("https://h/x?a=@ ${U} ${P:-a:b@c/d}"));
        assert_eq!(parts("https://${BOTH}@h").as_deref(), Some("https://h ${BOTH} "));
        assert_eq!(parts("https://me:x@${HOST}/p").as_deref(), Some("https://${HOST}/p me x"));
        assert_eq!(parts("${URL}"), None);
        assert_eq!(parts("https://${AUTHORITY}/p"), None);
    }
}
