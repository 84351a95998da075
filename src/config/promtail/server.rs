//! `server`, `positions`, `limits_config` and `target_config`: what of the process as a whole has a counterpart.

use super::keys::{self, survey};
use super::native::{Content, Section, entry, map, text, word};
use super::read;
use crate::base::limits::{LINE_BYTES_DEFAULT, LINE_BYTES_MAX, LINE_BYTES_MIN, STREAMS_MAX};
use crate::base::units::format_size;
use crate::config::check::Check;
use crate::config::pipeline::go_size;
use crate::config::positions;
use crate::config::source::Span;
use crate::config::tree::{Entry, Node, Value};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// Where Promtail keeps positions if the file does not say.
const POSITIONS: &str = "/var/log/positions.yaml";
/// How many lines a second Promtail lets through when it is told to bound them and not how many.
const READLINE_RATE: u64 = 10_000;

/// What `limits_config` comes to.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// How many lines may go on.
    pub(super) rate: Option<Rate>,
    /// `max_streams` of an endpoint.
    pub(super) max_streams: Option<Entry>,
    /// Entries that are longer are dropped: the option that says so.
    pub(super) drop_longer: Option<Entry>,
    /// Lines are cut there, bytes; `None`: at the default.
    pub(super) line_bytes: Option<u64>,
}

impl Limits {
    /// Where lines are cut, bytes.
    pub(super) fn line_bytes(&self) -> u64 {
        self.line_bytes.unwrap_or(LINE_BYTES_DEFAULT as u64)
    }
}

/// `readline_rate` and what belongs to it.
#[derive(Debug)]
pub(super) struct Rate {
    /// Lines a second.
    pub(super) lines: u64,
    /// Lines at once.
    pub(super) burst: u64,
    /// Whether others are dropped; otherwise they wait.
    pub(super) drop: bool,
    pub(super) span: Span,
    /// Of each of the three.
    pub(super) places: (Span, Span, Span),
}

/// `http`.
pub(super) fn http(root: &Node, check: &mut Check<'_>) -> Option<Section> {
    let found = root.entry("server")?;
    let node = &found.value;
    let before = check.count();
    if !survey(node, keys::SERVER, check) {
        return None;
    }
    let listen = if read::flag(node, "disable", check) == Some(true) {
        text(node.child("disable").span, "none")
    } else {
        let port = read::number(node, "http_listen_port", check);
        let host = read::text_at(node, "http_listen_address", check);
        let span =
            if host.is_some() { node.child("http_listen_address").span } else { node.child("http_listen_port").span };
        let port = match (port, host) {
            (Some(port), _) => u16::try_from(port).unwrap_or_else(|_| {
                check.error(
                    node.child("http_listen_port").span,
                    format!("{port} is no port"),
                    "a port is from 0 to 65535",
                );
                0
            }),
            (None, Some(_)) => 80,
            // Promtail would take port 80 of all addresses; nobody who says nothing wants that.
            (None, None) => return comments_only(found, check.said_since(before)),
        };
        let address = match host.unwrap_or("") {
            "" => Some(IpAddr::from(Ipv4Addr::UNSPECIFIED)),
            "localhost" => Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
            host => host.trim_matches(['[', ']']).parse().ok(),
        };
        let Some(address) = address else {
            let place = node.child("http_listen_address").span;
            check.error(place, "expected an IP address", "write the address, such as 127.0.0.1, not the host's name");
            return None;
        };
        text(span, std::net::SocketAddr::from((address, port)).to_string())
    };
    let span = found.key_span;
    let comments = check.said_since(before);
    let node = map(span, vec![entry("listen", span, listen)]);
    Some(Section { comments, key: "http", key_span: span, content: Content::Node(node) })
}

fn comments_only(found: &Entry, comments: Vec<String>) -> Option<Section> {
    let span = found.key_span;
    let content = Content::Node(map(span, Vec::new()));
    (!comments.is_empty()).then_some(Section { comments, key: "http", key_span: span, content })
}

/// `import_positions`: what Promtail has read is not sent again.
pub(super) fn import(root: &Node, check: &mut Check<'_>) -> Option<Section> {
    let before = check.count();
    let node = root.child("positions");
    let is_there = root.entry("positions").is_some() && survey(node, keys::POSITIONS, check);
    let written = if is_there { node.entry("filename").filter(|found| !found.value.is_null()) } else { None };
    let key_span = root.key_span("positions");
    let (path, value) = match written {
        Some(found) => (read::text(&found.value, check)?.to_owned(), found.value.clone()),
        None => (POSITIONS.to_owned(), text(key_span, POSITIONS)),
    };
    if !Path::new(&path).is_absolute() {
        check.error(
            value.span,
            "the positions file has no absolute path, so that nobody knows where it is",
            "write its whole path: lugger takes the positions over once, so that nothing is sent again",
        );
        return None;
    }
    // A file that Promtail would pass over is passed over.
    if is_there
        && read::flag(node, "ignore_invalid_yaml", check) == Some(true)
        && let Err(error) = positions::read(Path::new(&path))
    {
        check.warn(
            value.span,
            format!("the positions are not taken over: {error}"),
            "all files are read from their beginning",
        );
        return None;
    }
    let mut comments = vec![
        "What Promtail has read of the files is taken over, once, at the first start. After that the key may go, and the file too.".to_owned(),
    ];
    comments.extend(check.said_since(before));
    Some(Section { comments, key: "import_positions", key_span, content: Content::Node(value) })
}

/// `target_config` and `global`: what is said of them, and the place where it is told to read from stdin.
pub(super) fn target(root: &Node, check: &mut Check<'_>) -> (Vec<String>, Option<Span>) {
    let before = check.count();
    let node = root.child("target_config");
    let is_there = root.entry("target_config").is_some() && survey(node, keys::TARGET, check);
    let is_stdin = is_there && read::flag(node, "stdin", check) == Some(true);
    if let Some(global) = root.entry("global") {
        survey(&global.value, keys::GLOBAL, check);
    }
    (check.said_since(before), is_stdin.then(|| node.key_span("stdin")))
}

/// `limits_config`; `limits` is the native section of that name, with what was said of all keys.
pub(super) fn limits(root: &Node, check: &mut Check<'_>) -> (Limits, Option<Section>) {
    let mut limits = Limits::default();
    let before = check.count();
    let Some(found) = root.entry("limits_config").filter(|found| !found.value.is_null()) else {
        let span = root.key_span("limits_config");
        let (line, comment) = cut_by_default(span);
        let content = Content::Node(map(span, vec![line]));
        return (limits, Some(Section { comments: vec![comment], key: "limits", key_span: span, content }));
    };
    let node = &found.value;
    if !survey(node, keys::LIMITS, check) {
        return (limits, None);
    }
    if read::flag(node, "readline_rate_enabled", check) == Some(true) {
        limits.rate = Some(rate(node, check));
    }
    if let Some(max) = read::number(node, "max_streams", check).filter(|max| *max > 0) {
        let span = node.child("max_streams").span;
        let key = node.key_span("max_streams");
        limits.max_streams = Some(entry("max_streams", key, word(span, max.min(STREAMS_MAX))));
        check.note(key, "lines of further streams are not dropped, but go into one stream that has lugger_merged=\"true\" in place of filename");
    }
    let (mut native, mut comments) = (Vec::new(), Vec::new());
    match read::size(node, "max_line_size", check).filter(|bytes| *bytes > 0) {
        Some(bytes) => native.extend(line_size(node, bytes, &mut limits, check)),
        None if node
            .entry("max_line_size")
            .is_none_or(|found| read::is_empty(&found.value) || is_zero(&found.value)) =>
        {
            let (line, comment) = cut_by_default(found.key_span);
            native.push(line);
            comments.push(comment);
        }
        None => {}
    }
    comments.extend(check.said_since(before));
    if native.is_empty() && comments.is_empty() {
        return (limits, None);
    }
    let content = Content::Node(map(found.key_span, native));
    (limits, Some(Section { comments, key: "limits", key_span: found.key_span, content }))
}

/// `line` of `limits`, where Promtail has no bound, and a comment on it.
fn cut_by_default(span: Span) -> (Entry, String) {
    let cap = format_size(LINE_BYTES_DEFAULT as u64);
    let comment = format!(
        "Longer lines are cut to {cap} as they are read, before the stages, and marked; Promtail has no bound."
    );
    (entry("line", span, word(span, cap)), comment)
}

fn is_zero(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if go_size(&scalar.text).is_ok_and(|bytes| bytes == 0))
}

/// `line` of `limits`, for `max_line_size`.
fn line_size(node: &Node, bytes: u64, limits: &mut Limits, check: &mut Check<'_>) -> Option<Entry> {
    let (key, place) = (node.key_span("max_line_size"), node.child("max_line_size"));
    let fit = bytes.clamp(LINE_BYTES_MIN as u64, LINE_BYTES_MAX as u64);
    let line = |limits: &mut Limits| {
        limits.line_bytes = Some(fit);
        Some(entry("line", key, word(place.span, format_size(fit))))
    };
    if read::flag(node, "max_line_size_truncate", check) == Some(true) {
        let cap = format_size(fit);
        check.note(key, format!("longer lines are cut to {cap} as they are read, before the stages, and marked"));
        return line(limits);
    }
    if bytes >= LINE_BYTES_MAX as u64 {
        // None is as long when it gets to where they are dropped.
        check.warn(
            key,
            format!("lines above {} are cut to that as they are read, before the stages, and marked", format_size(fit)),
            "lugger holds no longer ones; none is dropped for its length",
        );
        return line(limits);
    }
    limits.drop_longer = Some(entry("longer_than", key, word(place.span, bytes)));
    if bytes > LINE_BYTES_DEFAULT as u64 { line(limits) } else { None }
}

/// Promtail's bound is of all that comes out of the stages of all jobs.
fn rate(node: &Node, check: &mut Check<'_>) -> Rate {
    let span = node.key_span("readline_rate_enabled");
    let at = |key: &str| if node.entry(key).is_some() { node.child(key).span } else { span };
    Rate {
        lines: read::number(node, "readline_rate", check).unwrap_or(READLINE_RATE).max(1),
        burst: read::number(node, "readline_burst", check).unwrap_or(READLINE_RATE).max(1),
        drop: read::flag(node, "readline_rate_drop", check).unwrap_or(true),
        span,
        places: (at("readline_rate"), at("readline_burst"), at("readline_rate_drop")),
    }
}
