//! What has an `@`: e-mail addresses, and user names and passwords in URLs.
//!
//! Promises: a line without an `@` costs one search for it. Leaves to others: marks.

use super::Kind;
use std::ops::Range;

/// Last parts of names that look like a domain and are none: unit files and file names.
const NOT_DOMAINS: [&str; 27] = [
    "service",
    "socket",
    "timer",
    "target",
    "mount",
    "automount",
    "slice",
    "scope",
    "device",
    "swap",
    "path",
    "conf",
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "webp",
    "ico",
    "js",
    "mjs",
    "css",
    "json",
    "html",
    "map",
    "lock",
    "log",
];

/// Reports addresses and user parts.
pub fn find(line: &str, email: bool, url_user: bool, report: &mut impl FnMut(Kind, Range<usize>)) {
    // Where the authority would begin that the last @ was in, and up to where that is known: nothing is looked at twice.
    let (mut start, mut known) = (0, 0);
    for at in memchr::memchr_iter(b'@', line.as_bytes()) {
        let (before, after) = (line.get(..at).unwrap_or(""), line.get(at + 1..).unwrap_or(""));
        if let Some(found) = line.get(known..at).and_then(|new| new.rfind(ends_authority)) {
            start = known + found + 1;
        }
        known = at;
        if is_authority(before, start) {
            // The last @ of an authority ends the user part; there may be others in a password.
            let next = after.find(|c: char| c == '@' || ends_authority(c)).and_then(|next| after.as_bytes().get(next));
            if url_user && next != Some(&b'@') && start < at {
                report(Kind::UrlUser, start..at);
            }
        } else if email && let Some((start, len)) = address(before, after) {
            report(Kind::Email, start..at + 1 + len);
        }
    }
}

fn ends_authority(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>' | '`' | '\\' | '|' | '{' | '}')
}

/// Whether what begins at `start` comes behind the scheme of a URL.
fn is_authority(before: &str, start: usize) -> bool {
    let scheme = before.get(..start).and_then(|before| before.strip_suffix("://"));
    scheme.is_some_and(|scheme| scheme.ends_with(|c: char| c.is_ascii_alphanumeric()))
}

/// Where the address begins before the `@`, and how long its domain is behind it.
fn address(before: &str, after: &str) -> Option<(usize, usize)> {
    let is_local =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-' | '\'' | '=' | '&' | '~' | '*' | '^');
    let local_len = before.chars().rev().take_while(|c| is_local(*c)).map(char::len_utf8).sum::<usize>();
    let local = before.get(before.len() - local_len..)?;
    // `key=name@host` and quotes: what cannot begin an address is not a part of it.
    let local = local.rsplit(['=', '&', '\'']).next()?.trim_start_matches(['.', '-', '*', '^', '~', '%', '+']);
    if local.is_empty() || local.ends_with('.') {
        return None;
    }
    let is_domain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-');
    let domain_len = after.chars().take_while(|c| is_domain(*c)).map(char::len_utf8).sum::<usize>();
    let domain = after.get(..domain_len)?.trim_end_matches(['.', '-']);
    // A further @ means that it is something else: a path of units, a digest.
    if after.get(domain_len..)?.starts_with('@') {
        return None;
    }
    let (host, last) = domain.rsplit_once('.')?;
    let parts_are_names =
        domain.split('.').all(|part| !part.is_empty() && !part.starts_with('-') && !part.ends_with('-'));
    let last_is_one = last.chars().count() >= 2
        && (last.chars().all(char::is_alphabetic) || last.starts_with("xn--"))
        && !NOT_DOMAINS.iter().any(|other| last.eq_ignore_ascii_case(other));
    let valid = parts_are_names && last_is_one && !host.is_empty();
    valid.then(|| (before.len() - local.len(), domain.len()))
}
