//! BSD syslog: `TIME HOST TAG[PID]: TEXT` behind the priority, and what devices make of it.
//!
//! Every part may be missing, and RFC 3164 itself only describes what was seen. So parts are known by their form, from left to right, and
//! what has no form that is known is text:
//!
//! - before the time: Cisco's sequence numbers, origin and mark of an unset clock (`123: router: *Mar  1 …`), the card of IOS XR;
//! - the host: a word of the characters of names and addresses. In front of a tag that has the process, a word with a colon is the host as well,
//!   and so it is in front of Cisco's `%ASA-6-302013`; else it is the tag. UniFi's access points name model, address and version in its
//!   place;
//! - the tag: up to `:`, `[pid]:` or `[pid]`; MikroTik's topics (`firewall,info`) and `CEF:0|` are tags without one.
//!
//! Promises: a tag is taken off the text only where a colon or a process says that it is one, or it is a list of topics. Leaves to
//! others: times (`stamp`), pairs (`keyed`).

use super::{Format, Message, Options, keyed, stamp};
use crate::base::limits::{SYSLOG_HOST_BYTES, SYSLOG_TAG_BYTES};
use std::net::IpAddr;

/// A clock that its device calls unset is believed if it is off by less than this, nanoseconds.
const DOUBTFUL_NS: u64 = 24 * 3600 * 1_000_000_000;

/// What stands in front of the host.
#[derive(Default)]
struct Head<'a> {
    time_ns: Option<i64>,
    has_time: bool,
    hostname: Option<&'a str>,
    origin: Option<&'a str>,
    rest: &'a str,
}

/// Reads what follows the priority, or a message without one, into `found`.
pub(super) fn parse<'a>(text: &'a str, options: &Options<'_>, found: &mut Message<'a>) {
    let has_priority = found.severity.is_some();
    let body = text.trim_start_matches(' ');
    if has_priority && keyed::parse(body, options, found) {
        return;
    }
    let head = head(body, has_priority, options);
    if !has_priority && !head.has_time && !topics(word(body)) {
        return;
    }
    found.format = Format::Bsd;
    (found.time_ns, found.hostname, found.origin) = (head.time_ns, head.hostname, head.origin);
    found.text = head.rest;
    if head.has_time && head.hostname.is_none() && !options.local {
        host(head.rest, found);
    } else {
        tagged(head.rest, found);
    }
    if found.severity.is_none() {
        found.severity = found.app_name.filter(|name| topics(name)).and_then(topic_severity);
    }
}

/// The time and what is in front of it.
fn head<'a>(body: &'a str, has_priority: bool, options: &Options<'_>) -> Head<'a> {
    let mut head = Head { rest: body, ..Head::default() };
    if head.time(body, options) || !has_priority {
        return head;
    }
    // Cisco: an empty one (NX-OS, EMBLEM), a message number and a sequence number, each with a colon.
    let mut rest = body.strip_prefix(':').map_or(body, str::trim_start);
    for _ in 0..2 {
        rest = numbered(rest).unwrap_or(rest);
    }
    let skipped = rest.len() < body.len();
    if skipped && (head.time(rest, options) || head.uptime(rest) || head.mnemonic(rest)) {
        return head;
    }
    if head.card(rest, options) {
        return head;
    }
    let Some((name, after)) = named(rest) else { return head };
    let mut behind = Head { hostname: Some(name), ..Head::default() };
    // A program whose text begins with a time has no `%` behind it.
    let is_origin = behind.time(after, options) && (skipped || behind.rest.starts_with('%'));
    if is_origin || behind.mnemonic(after) || (skipped && behind.uptime(after)) { behind } else { head }
}

impl<'a> Head<'a> {
    /// A time, possibly with the mark of a clock that is not set (`*`) or not kept (`.`).
    fn time(&mut self, text: &'a str, options: &Options<'_>) -> bool {
        let marked = text.strip_prefix(['*', '.']);
        let Some((time_ns, len)) = stamp::read(marked.unwrap_or(text), options) else { return false };
        let after = marked.unwrap_or(text).get(len..).unwrap_or_default();
        if !(after.is_empty() || after.starts_with([' ', ':', '\t'])) {
            return false;
        }
        let near = |ns: &i64| !text.starts_with('*') || ns.abs_diff(options.received_ns) < DOUBTFUL_NS;
        self.time_ns = time_ns.filter(near);
        self.has_time = true;
        self.rest = after.strip_prefix(':').unwrap_or(after).trim_start_matches([' ', '\t']);
        true
    }

    /// How long a device has been up, where it has no clock: `1w2d: `, `00:00:46: `.
    fn uptime(&mut self, text: &'a str) -> bool {
        let len = text.bytes().take_while(|byte| byte.is_ascii_digit() || b"ywdhms:".contains(byte)).count();
        let Some((up, rest)) = text.split_at_checked(len) else { return false };
        let is_one = up.starts_with(|c: char| c.is_ascii_digit()) && up.ends_with(':') && rest.starts_with(" %");
        if is_one {
            self.rest = rest.trim_start_matches(' ');
        }
        is_one
    }

    fn mnemonic(&mut self, text: &'a str) -> bool {
        let is_one = mnemonic(text).is_some();
        if is_one {
            self.rest = text;
        }
        is_one
    }

    /// IOS XR: `RP/0/RSP0/CPU0:` right in front of the time, and maybe the host before it.
    fn card(&mut self, text: &'a str, options: &Options<'_>) -> bool {
        let first = word(text);
        let (host, text) = match text.strip_prefix(first).and_then(|rest| rest.strip_prefix(' ')) {
            Some(after) if !first.contains('/') && is_host(first) => (Some(first), after),
            _ => (None, text),
        };
        let Some((card, after)) = text.split_once(':') else { return false };
        let is_card = card.contains('/')
            && card.len() <= SYSLOG_TAG_BYTES
            && card.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
        if !is_card || !self.time(after, options) {
            return false;
        }
        (self.hostname, self.origin) = (host, Some(card));
        true
    }
}

/// What follows a number with a colon: `123: `.
fn numbered(text: &str) -> Option<&str> {
    let len = text.bytes().take(11).take_while(u8::is_ascii_digit).count();
    if len == 0 {
        return None;
    }
    Some(text.get(len..)?.strip_prefix(": ")?.trim_start_matches(' '))
}

/// `name: ` or `name : `, and what follows.
fn named(text: &str) -> Option<(&str, &str)> {
    let first = word(text);
    let after = text.get(first.len()..)?;
    match first.strip_suffix(':') {
        Some(name) => is_host(name).then_some((name, after.trim_start_matches(' '))),
        None => is_host(first).then_some((first, after.strip_prefix(" : ")?.trim_start_matches(' '))),
    }
}

/// The host and what follows, behind a time.
fn host<'a>(text: &'a str, found: &mut Message<'a>) {
    let first = word(text);
    let after = text.get(first.len()..).unwrap_or_default().trim_start_matches([' ', '\t']);
    if mnemonic(text).is_some() || topics(first) || repeated(text) {
        return tagged(text, found);
    }
    if let Some(name) = device(first) {
        found.hostname = Some(name);
        return tagged(after, found);
    }
    if let Some((name, behind)) = named(text)
        && (mnemonic(behind).is_some()
            || first.ends_with(':') && first != "kernel:" && (is_address(name) || has_process(behind)))
    {
        found.hostname = Some(name);
        return tagged(behind, found);
    }
    if tag(text).is_some() || after.is_empty() || !(is_host(first) || is_address(first)) {
        return tagged(text, found);
    }
    let name = first.strip_suffix(':').filter(|name| is_address(name)).unwrap_or(first);
    found.hostname = Some(name).filter(|name| *name != "-");
    tagged(after.strip_prefix(": ").unwrap_or(after), found);
}

/// The tag, the process and the text.
pub(super) fn tagged<'a>(text: &'a str, found: &mut Message<'a>) {
    found.text = text;
    if let Some((kind, _)) = mnemonic(text) {
        found.msg_id = Some(kind);
        return;
    }
    let first = word(text);
    let after = text.get(first.len()..).unwrap_or_default().trim_start_matches(' ');
    if topics(first) {
        (found.app_name, found.text) = (Some(first), after);
        return;
    }
    // UniFi switches and access points name address, model and version in front of the tag.
    if device(first).is_some() && found.origin.is_none() && found.hostname.is_some() && tag(after).is_some() {
        found.origin = device(first);
        return tagged(after, found);
    }
    // ProCurve: the number of the event.
    if first.len() == 5 && first.bytes().all(|byte| byte.is_ascii_digit()) && tag(after).is_some() {
        found.msg_id = Some(first);
        return tagged(after, found);
    }
    for format in ["CEF", "LEEF"] {
        if text.strip_prefix(format).is_some_and(|rest| rest.starts_with(':') && rest.contains('|')) {
            found.app_name = text.get(..format.len());
            return;
        }
    }
    if let Some((name, process, rest)) = tag(text) {
        (found.app_name, found.proc_id, found.text) = (Some(name), process, rest);
        let kind = mnemonic(rest).or_else(|| upper(rest)).map(|(kind, _)| kind);
        found.msg_id = found.msg_id.or(kind);
    }
}

/// Up to the first blank.
fn word(text: &str) -> &str {
    text.split([' ', '\t']).next().unwrap_or_default()
}

/// A tag, its process and the text behind it: `sshd[7]: text`, `kernel: text`, `launchd[1] text`.
fn tag(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let in_tag = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./()@+$#*~".contains(byte) || *byte >= 0x80;
    let len = text.bytes().take(SYSLOG_TAG_BYTES + 1).take_while(in_tag).count();
    let name = text
        .get(..len)
        .filter(|name| name.len() <= SYSLOG_TAG_BYTES && name.bytes().any(|b| b.is_ascii_alphabetic()))?;
    let after = text.get(len..)?;
    if let Some(inside) = after.strip_prefix('[') {
        let len = inside.bytes().take(SYSLOG_TAG_BYTES).position(|byte| matches!(byte, b']' | b' ' | b'['))?;
        let (process, rest) = inside.split_at_checked(len)?;
        let rest = rest.strip_prefix(']')?;
        let text = match rest.strip_prefix(':') {
            Some(text) => text,
            None if rest.is_empty() || rest.starts_with(' ') => rest,
            None => return None,
        };
        return Some((
            name,
            Some(process).filter(|process| !process.is_empty()),
            text.strip_prefix(' ').unwrap_or(text),
        ));
    }
    let rest = after.strip_prefix(':')?;
    // A colon in a word is part of it: addresses, times, `http://`.
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then(|| (name, None, rest.get(1..).unwrap_or_default()))
}

fn has_process(text: &str) -> bool {
    tag(text).is_some_and(|(_, process, _)| process.is_some())
}

/// The name of a host or an address, as far as its characters tell.
fn is_host(word: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@".contains(&byte) || byte >= 0x80;
    !word.is_empty()
        && word.len() <= SYSLOG_HOST_BYTES
        && word.bytes().all(allowed)
        && !word.starts_with(':')
        && (!word.contains(':') || is_address(word) || is_address(word.trim_end_matches(':')) || !word.ends_with(':'))
}

/// An IP address, with or without brackets and zone.
fn is_address(word: &str) -> bool {
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    let bare = bare.split_once('%').map_or(bare, |(address, _)| address);
    bare.len() <= 45 && bare.parse::<IpAddr>().is_ok()
}

/// syslogd's own messages have neither host nor tag where they are forwarded without.
fn repeated(text: &str) -> bool {
    text.starts_with("last message repeated ") || text.starts_with("message repeated ")
}

/// UniFi: `U7PG2,788a20aabbcc,v4.0.80`, `788a20aabbcc,U7PG2-6.0.21+13673:`, `("U7PG2,788a20aabbcc,v4.0.80")`.
fn device(word: &str) -> Option<&str> {
    let bare = word.trim_end_matches(':').trim_start_matches(['(', '"']).trim_end_matches([')', '"']);
    let is_mac = |part: &str| part.len() == 12 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    (bare.len() <= SYSLOG_HOST_BYTES && bare.contains(',') && bare.split(',').take(3).any(is_mac)).then_some(bare)
}

const LEVELS: [(&str, u8); 5] = [("critical", 2), ("error", 3), ("warning", 4), ("info", 6), ("debug", 7)];

/// MikroTik: words with commas between them, one of which is a level.
fn topics(word: &str) -> bool {
    let is_topic = |topic: &str| {
        !topic.is_empty()
            && topic.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-!".contains(&byte))
    };
    word.contains(',')
        && word.len() <= SYSLOG_TAG_BYTES
        && word.split(',').all(is_topic)
        && topic_severity(word).is_some()
}

fn topic_severity(topics: &str) -> Option<u8> {
    LEVELS.iter().find(|(level, _)| topics.split(',').any(|topic| topic == *level)).map(|(_, number)| *number)
}

/// The kind of message in front of its text: Cisco's `%ASA-6-302013:`, Huawei's and Comware's `%%01SHELL/5/CMDRECORD(s)[0]:`. Without the
/// sign.
fn mnemonic(text: &str) -> Option<(&str, &str)> {
    let name = text.strip_prefix('%')?;
    if let Some(huawei) = name.strip_prefix('%') {
        let name = huawei.trim_start_matches(|c: char| c.is_ascii_digit());
        return kind(name, b'/');
    }
    let (kind, rest) = kind(name, b'-')?;
    (rest.starts_with(':') || rest.starts_with(" :")).then_some((kind, rest))
}

/// `FACILITY-5-NAME`, with this byte for `-`, and what follows.
fn kind(text: &str, separator: u8) -> Option<(&str, &str)> {
    let in_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_-/".contains(byte);
    let len = text.bytes().take(SYSLOG_TAG_BYTES).take_while(in_name).count();
    let (kind, rest) = text.split_at_checked(len)?;
    let has_level =
        kind.as_bytes().windows(3).any(|part| matches!(part, [a, b'0'..=b'7', b] if a == b && *a == separator));
    (has_level && kind.starts_with(|c: char| c.is_ascii_uppercase())).then_some((kind, rest))
}

/// Juniper: `UI_CMDLINE_READ_LINE: `.
fn upper(text: &str) -> Option<(&str, &str)> {
    let in_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    let len = text.bytes().take(SYSLOG_TAG_BYTES).take_while(in_name).count();
    let (kind, rest) = text.split_at_checked(len)?;
    let is_one = kind.contains('_') && kind.starts_with(|c: char| c.is_ascii_uppercase()) && rest.starts_with(": ");
    is_one.then_some((kind, rest))
}
