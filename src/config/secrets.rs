//! Which parts of a configuration's text are secret, or could be, so that reports hide them.
//!
//! A report shows lines of the file, and a password may stand on any of them: in the right place, under a misspelt key, in a map that is
//! indented wrongly, in a file that is not even YAML. So this errs on the side of hiding. Inside an endpoint only values of keys known to
//! be harmless are shown; elsewhere, if anything in the text hints at secrets, only values of known keys and labels; and values of keys
//! that sound like secrets never. Where there is no tree, the same goes by the keys that stand in a line and above it.
//!
//! Promises: a file in which one character or line is wrong shows none of its secrets (a test tries every place). It cannot
//! promise that for a file that has nothing in common with a configuration.
//!
//! Leaves to others: user and password in URLs, which [`super::source`] hides wherever they stand.

use super::source::{Pos, Source, Span};
use super::tree::{Node, Value};
use crate::base::words::nearest;

/// Keys within an endpoint, or a stage that has a secret, whose values anybody may see.
const HARMLESS: [&str; 49] = [
    "kinds",
    "name",
    "url",
    "tenant_id",
    "username",
    "password_file",
    "bearer_token_file",
    "ca_file",
    "cert_file",
    "key_file",
    "server_name",
    "insecure_skip_verify",
    "proxy_url",
    "timeout",
    "batch_size",
    "batch_wait",
    "min",
    "max",
    "lines",
    "bytes",
    "burst",
    "when_over",
    "max_streams",
    "max_streams_policy",
    "remote_timeout",
    "protobuf_message",
    "send_exemplars",
    "send_native_histograms",
    "round_robin_dns",
    "proxy_from_environment",
    "capacity",
    "max_shards",
    "min_shards",
    "max_samples_per_send",
    "batch_send_deadline",
    "min_backoff",
    "max_backoff",
    "sample_age_limit",
    "retry_on_http_429",
    "send",
    "send_interval",
    // Promtail's.
    "batchwait",
    "batchsize",
    "min_period",
    "max_period",
    "max_retries",
    "drop_rate_limited_batches",
    "follow_redirects",
    "enable_http2",
];

/// The same within a job that scrapes.
const HARMLESS_OF_JOBS: [&str; 20] = [
    "scrape_interval",
    "scrape_timeout",
    "scheme",
    "metrics_path",
    "honor_labels",
    "honor_timestamps",
    "track_timestamps_staleness",
    "extra_scrape_metrics",
    "body_size_limit",
    "sample_limit",
    "label_limit",
    "label_name_length_limit",
    "label_value_length_limit",
    "target_limit",
    "scrape_protocols",
    "fallback_scrape_protocol",
    "enable_compression",
    "credentials_file",
    "job_name",
    "refresh_interval",
];

/// Keys outside of endpoints and jobs, as [`PLAIN`].
const PLAIN_OF_METRICS: [&str; 4] = ["interval", "scrape", "metric_relabel_configs", "files"];

/// Keys whose values are secret, for what is near to them.
const SECRET: [&str; 3] = ["password", "bearer_token", "hash_salt"];

/// Keys outside of endpoints, which with [`HARMLESS`] are those that a text without structure may show the values of.
const PLAIN: [&str; 115] = [
    "labels",
    "logs",
    "file",
    "include",
    "exclude",
    "start_at",
    "to",
    "http",
    "listen",
    "state_dir",
    "limits",
    "memory",
    "line",
    "loki",
    "clients",
    "backoff",
    "rate",
    "basic_auth",
    "tls_config",
    "format",
    "stages",
    "docker",
    "cri",
    "regex",
    "json",
    "logfmt",
    "replace",
    "multiline",
    "template",
    "match",
    "timestamp",
    "output",
    "labeldrop",
    "labelallow",
    "structured_metadata",
    "metrics",
    "tenant",
    "drop",
    "limit",
    "sampling",
    "pack",
    "redact",
    "expression",
    "expressions",
    "mapping",
    "source",
    "selector",
    "action",
    "firstline",
    "location",
    "fallback_formats",
    "relabel_configs",
    "source_labels",
    "target_label",
    "separator",
    "replacement",
    "modulus",
    "import_positions",
    // Promtail's.
    "server",
    "http_listen_address",
    "http_listen_port",
    "grpc_listen_port",
    "log_level",
    "log_format",
    "positions",
    "filename",
    "sync_period",
    "ignore_invalid_yaml",
    "limits_config",
    "readline_rate",
    "readline_burst",
    "readline_rate_enabled",
    "readline_rate_drop",
    "max_line_size",
    "max_line_size_truncate",
    "target_config",
    "tracing",
    "enabled",
    "scrape_configs",
    "job_name",
    "static_configs",
    "targets",
    "file_sd_configs",
    "refresh_interval",
    "pipeline_stages",
    "encoding",
    "decompression",
    "initial_delay",
    "host",
    "grpc_listen_address",
    "register_instrumentation",
    "health_check_target",
    "enable_runtime_reload",
    "profiling_enabled",
    "graceful_shutdown_timeout",
    "http_path_prefix",
    "external_labels",
    "listen_address",
    "listen_protocol",
    "idle_timeout",
    "label_structured_data",
    "use_incoming_timestamp",
    "max_message_length",
    "max_age",
    "max_lines",
    "max_wait_time",
    "older_than",
    "longer_than",
    "drop_counter_reason",
    "static_labels",
    "late_labels",
    "remote_write",
    "queue_config",
    "metadata_config",
    "write_relabel_configs",
];

/// What a text with secrets in it contains somewhere.
const SIGNS: [&str; 12] = [
    "pass",
    "salt",
    "token",
    "secret",
    "credential",
    "auth",
    "bearer",
    "cookie",
    "header",
    "apikey",
    "api_key",
    "api-key",
];

/// Where a value stands, as far as its secrecy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Around {
    /// Nothing is hidden: there is no hint of a secret in the whole text, or these are labels, whose keys may be anything.
    Free,
    /// Known keys only: the slip may be in the key of a secret, or in its indentation.
    Open,
    /// In an endpoint, or a stage that has a secret: harmless keys only.
    Endpoint,
    /// Under something that sounds secret, or `headers`: nothing is shown.
    Closed,
}

/// The places of all values that may be secret.
pub(super) fn in_tree(root: &Node, source: &Source<'_>) -> Vec<Span> {
    let mut spans = Vec::new();
    walk(root, outermost(source), true, &mut spans);
    spans
}

fn outermost(source: &Source<'_>) -> Around {
    if source.lines().iter().any(|line| hints(line)) { Around::Open } else { Around::Free }
}

fn walk(node: &Node, around: Around, shown: bool, spans: &mut Vec<Span>) {
    match &node.value {
        Value::Scalar(_) if shown => {}
        Value::Scalar(_) if node.adorned => {
            // What looks like an anchor or a tag may be a secret that begins with & or !.
            let line = node.span.start.line;
            spans.push(Span { start: Pos { line, column: 1 }, end: Pos { line, column: usize::MAX } });
            spans.push(node.span);
        }
        Value::Scalar(_) => spans.push(node.span),
        Value::List(items) => items.iter().for_each(|item| walk(item, around, shown, spans)),
        Value::Map(entries) => {
            for entry in entries.iter().chain(&node.dropped) {
                // A key without a value, or of several words, is a secret whose colon or own key went missing.
                let suspect = entry.is_bare() || !is_word(&entry.key);
                if suspect && !is_plain(&entry.key) && (around != Around::Free || sounds_secret(&entry.key)) {
                    spans.push(entry.key_span);
                }
                let (around, shown) = enter(&entry.key, around);
                let shown = shown || entry.is_bare();
                walk(&entry.value, around, shown, spans);
            }
        }
    }
}

/// What is around the value of `key`, and whether the value itself may be shown.
fn enter(key: &str, around: Around) -> (Around, bool) {
    let endpoint = matches!(
        key,
        "scrape" | "loki" | "clients" | "client" | "remote_write" | "basic_auth" | "tls_config" | "redact"
    );
    let around = if matches!(key, "headers" | "http_headers") || sounds_secret(key) {
        Around::Closed
    } else if endpoint {
        around.max(Around::Endpoint)
    } else if around == Around::Endpoint
        && matches!(
            key,
            "relabel_configs"
                | "metric_relabel_configs"
                | "write_relabel_configs"
                | "static_configs"
                | "file_sd_configs"
        )
    {
        // Rules and targets as elsewhere.
        Around::Open
    } else if (key == "labels" && around == Around::Open)
        || (matches!(key, "external_labels" | "late_labels") && matches!(around, Around::Open | Around::Endpoint))
    {
        Around::Free
    } else {
        around
    };
    let shown = match around {
        Around::Free => true,
        Around::Open => is_known(key),
        Around::Endpoint => is_harmless(key),
        // What is below says nothing: a header may be called `name`.
        Around::Closed => false,
    };
    (around, shown)
}

fn is_harmless(key: &str) -> bool {
    let is_known = |key: &str| HARMLESS.contains(&key) || HARMLESS_OF_JOBS.contains(&key);
    let all = HARMLESS.iter().chain(&HARMLESS_OF_JOBS).chain(&SECRET).copied();
    is_known(key) || nearest(key, all).is_some_and(is_known)
}

fn sounds_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    if key.ends_with("_file") || HARMLESS.contains(&key.as_str()) {
        return false;
    }
    [
        "pass",
        "salt",
        "token",
        "secret",
        "credential",
        "authorization",
        "bearer",
        "cookie",
        "apikey",
        "api-key",
        "api_key",
    ]
    .iter()
    .any(|word| key.contains(word))
        || nearest(&key, SECRET).is_some()
}

/// Comments that hint at secrets: a setting that is switched off may still be the real one.
pub(super) fn in_comments(source: &Source<'_>) -> Vec<Span> {
    let mut spans = Vec::new();
    for (i, line) in source.lines().iter().enumerate() {
        let mut last = ' ';
        let begins = |(_, c): &(usize, char)| std::mem::replace(&mut last, *c).is_whitespace() && *c == '#';
        let Some((at, _)) = line.char_indices().find(begins) else { continue };
        let (before, comment) = line.split_at(at);
        if hints(comment) {
            let line = i + 1;
            let start = Pos { line, column: before.chars().count() + 1 };
            spans.push(Span { start, end: Pos { line, column: usize::MAX } });
        }
    }
    spans
}

fn hints(text: &str) -> bool {
    let text = text.to_lowercase();
    SIGNS.iter().any(|sign| text.contains(sign))
}

/// The same for a text that is no tree. A slip may be in the very key of a secret, or in its indentation; so if anything in the text
/// hints at secrets, only the values of known keys and labels are shown.
pub(super) fn in_lines(source: &Source<'_>) -> Vec<Span> {
    let outermost = outermost(source);
    let mut spans = Vec::new();
    // The keys that later lines may belong to: their indentation, and what is around their values.
    let mut open: Vec<(usize, Around)> = Vec::new();
    for (i, line) in source.lines().iter().enumerate() {
        let content = line.trim_start_matches([' ', '\t', '-']);
        let indent = line.chars().count() - content.chars().count();
        if content.is_empty() {
            continue;
        }
        while open.last().is_some_and(|(at, _)| *at >= indent) {
            open.pop();
        }
        let above = open.last().map_or(outermost, |(_, around)| *around);
        if let Some(from) = hidden_from(content, above, |around| open.push((indent, around))) {
            let before = content.get(..from).unwrap_or("").chars().count();
            let line = i + 1;
            let start = Pos { line, column: indent + before + 1 };
            spans.push(Span { start, end: Pos { line, column: usize::MAX } });
        }
    }
    spans
}

/// From which byte on a line's content is hidden. `opened` is told what its first key opens.
fn hidden_from(content: &str, above: Around, opened: impl FnOnce(Around)) -> Option<usize> {
    let mut opened = Some(opened);
    let mut inside = above;
    // Where the piece begins that is looked at, whether it should be a key, and whether it stands in a list.
    let (mut piece, mut expects_key, mut in_list) = (0, true, false);
    let separators = content.char_indices().filter(|(_, c)| ":={}[],".contains(*c));
    for (at, c) in separators.chain([(content.len(), ',')]) {
        let before = content.get(piece..at).unwrap_or("");
        let after = content.get(at + 1..).unwrap_or("");
        let start = piece;
        if !matches!(c, ':' | '=') {
            // Text where a key should be: more of something above, or a key without its colon.
            if expects_key && !before.trim().is_empty() && inside != Around::Free {
                return Some(start);
            }
            in_list = c == '[' || (in_list && c != ']');
            expects_key = matches!(c, '{' | '}' | ']') || (c == ',' && !in_list);
            piece = at + 1;
            continue;
        }
        // The end of it is enough: no key is longer, and looking at all of a long line again and again takes too long.
        let from = (0..=before.len().saturating_sub(64)).rev().find(|at| before.is_char_boundary(*at)).unwrap_or(0);
        let key = before.get(from..).unwrap_or("").trim().trim_matches(['"', '\'']);
        // `http://` and `localhost:3100` have no key; `password:hunter2` is the slip of somebody who meant one.
        let goes_on = !after.is_empty() && !after.starts_with([' ', '\t']);
        if goes_on && !before.ends_with(['"', '\'']) && !sounds_secret(key) {
            continue;
        }
        (piece, expects_key) = (at + 1, false);
        let (around, shown) = enter(key, inside);
        inside = around;
        if let Some(opened) = opened.take() {
            opened(around);
        }
        // Of `basic_auth: { … }` the keys inside decide; a list of texts has none.
        let inner = after.trim_start_matches(|c: char| c == '[' || c.is_whitespace());
        let goes_inside =
            inner.starts_with('{') || inner.trim_matches(|c: char| c == ']' || c.is_whitespace()).is_empty();
        match around {
            Around::Free => {}
            Around::Open if is_plain(key) => {}
            Around::Open => return Some(start),
            Around::Endpoint if shown || goes_inside => {}
            Around::Endpoint | Around::Closed => {
                let blanks = after.len() - after.trim_start().len();
                return Some(if is_word(key) { at + 1 + blanks } else { start });
            }
        }
    }
    None
}

fn is_word(key: &str) -> bool {
    !key.contains(char::is_whitespace)
}

fn is_plain(key: &str) -> bool {
    is_listed(key) || is_word(key) && is_harmless(key)
}

fn is_known(key: &str) -> bool {
    is_word(key)
        && (is_harmless(key)
            || nearest(key, PLAIN.iter().chain(&PLAIN_OF_METRICS).chain(&SECRET).copied()).is_some_and(is_listed))
}

fn is_listed(key: &str) -> bool {
    PLAIN.contains(&key) || PLAIN_OF_METRICS.contains(&key)
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    fn shown(source: &mut Source<'_>, spans: Vec<Span>) -> String {
        source.hide(spans);
        let lines: Vec<String> =
            (1..=source.lines().len()).map(|line| source.excerpt(Span::at(line, 1)).text).collect();
        lines.join("\n")
    }

    #[test]
    fn values_that_may_be_secret_are_hidden_wherever_they_stand() {
        let text = "\
loki:
  - url: http://localhost
    basic_auth: { username: me, password: hunter2, pasword: hunter2 }
    bearer_token: >
      hunter2
      hunter2
    headers: { X-Key: hunter2, name: hunter2 }
    batch_sise: 5
    psswd: [hunter2]
basic_auth:
  password: hunter2
  password_file: /etc/pass
labels: { job: nginx, token: hunter2 }
logs: [{ stages: [{ redact: { kinds: all, hash_salt: hunter2, hash_sat: hunter2 } }] }]
shared: &pw hunter2
again: { password: *pw }";
        let root = tree::parse(text).unwrap().root;
        let shown = shown(&mut Source::new(text), in_tree(&root, &Source::new(text)));
        assert!(!shown.contains("hunter2"), "{shown}");
        for kept in ["http://localhost", "username: me", "batch_sise: 5", "/etc/pass", "job: nginx", "kinds: all"] {
            assert!(shown.contains(kept), "{kept} in\n{shown}");
        }
    }

    #[test]
    fn also_when_the_text_is_no_tree() {
        let text = "\
loki:
  - url: http://localhost
    basic_auth: { username: me, password: hunter2, x: hunter2
    \"bearer_token\": >
      hunter2 hunter2
    headers:
      X-Key: hunter2
\t  password : hunter2
logs:
  - file: { include: /var/log/*.log }
    labels: { job: a: b }";
        let mut source = Source::new(text);
        let spans = in_lines(&source);
        let shown = shown(&mut source, spans);
        assert!(!shown.contains("hunter2"), "{shown}");
        for kept in ["http://localhost", "username: me", "/var/log/*.log", "job: a: b"] {
            assert!(shown.contains(kept), "{kept} in\n{shown}");
        }
    }
}
