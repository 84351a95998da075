//! IPv4 and IPv6 addresses. Versions, times, MAC addresses and paths of C++ names look alike and are left.
//!
//! Promises: a line costs a search for full stops, and one for colons. Leaves to others: marks.

use super::Kind;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// Reports addresses.
pub fn find(line: &str, report: &mut impl FnMut(Kind, Range<usize>)) {
    find_v4(line, report);
    find_v6(line, report);
}

fn find_v4(line: &str, report: &mut impl FnMut(Kind, Range<usize>)) {
    let bytes = line.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let mut done = 0;
    for dot in memchr::memchr_iter(b'.', bytes) {
        if dot < done || !digit(dot.checked_sub(1)) || !digit(Some(dot + 1)) {
            continue;
        }
        let is_part = |b: &u8| b.is_ascii_digit() || *b == b'.';
        let mut start = dot;
        while start > done && bytes.get(start - 1).is_some_and(is_part) {
            start -= 1;
        }
        let mut end = dot;
        while bytes.get(end).is_some_and(is_part) {
            end += 1;
        }
        done = end;
        let text = line.get(start..end).unwrap_or("");
        let start = start + text.len() - text.trim_start_matches('.').len();
        let text = text.trim_matches('.');
        let end = start + text.len();
        if text.len() < 7 || text.parse::<Ipv4Addr>().is_err() {
            continue;
        }
        if stands_alone(line, start, end) {
            report(Kind::Ip, start..end);
        }
    }
}

/// Whether what is around four numbers lets them be an address.
fn stands_alone(line: &str, start: usize, end: usize) -> bool {
    let (before, after) = (line.get(..start).unwrap_or(""), line.get(end..).unwrap_or(""));
    // A colon before it may be that of an IPv6 address that ends in IPv4 form: then it is a part of that.
    let mut back = before.chars().rev();
    let refused = match back.next() {
        Some(c) if c.is_alphanumeric() || c == '_' => true,
        // `Chrome/119.0.0.0`, `openssl-1.1.1.1`: versions.
        Some('/' | '-') => back.next().is_some_and(char::is_alphabetic),
        _ => false,
    };
    if refused || after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
        return false;
    }
    let word = before.trim_end_matches([' ', '=', ':', '"', '\'']);
    let tail = word.len().checked_sub(7).and_then(|from| word.get(from..)).unwrap_or("");
    !tail.eq_ignore_ascii_case("version")
}

fn find_v6(line: &str, report: &mut impl FnMut(Kind, Range<usize>)) {
    let bytes = line.as_bytes();
    let is_part = |b: &u8| b.is_ascii_hexdigit() || *b == b':';
    let mut done = 0;
    for colon in memchr::memchr_iter(b':', bytes) {
        if colon < done {
            continue;
        }
        let mut start = colon;
        while start > done && bytes.get(start - 1).is_some_and(is_part) {
            start -= 1;
        }
        let mut end = colon;
        let mut colons = 0;
        let mut gap = false;
        while let Some(byte) = bytes.get(end).filter(|b| is_part(b)) {
            if *byte == b':' {
                colons += 1;
                gap |= bytes.get(end + 1) == Some(&b':');
            }
            end += 1;
        }
        done = end;
        if colons < 2 || (!gap && colons < 6) {
            continue;
        }
        // An address may end as IPv4: `::ffff:10.0.0.1`.
        let mut longer = end;
        while bytes.get(longer).is_some_and(|b| b.is_ascii_digit() || *b == b'.') {
            longer += 1;
        }
        let mixed = line.get(start..longer).unwrap_or("").trim_end_matches('.');
        let plain = line.get(start..end).unwrap_or("");
        // A lone colon behind it belongs to the sentence.
        let plain = if plain.ends_with("::") { plain } else { plain.trim_end_matches(':') };
        let Some(text) = [mixed, plain].into_iter().find(|text| text.parse::<Ipv6Addr>().is_ok()) else { continue };
        let end = start + text.len();
        done = done.max(end);
        let outside = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let alone = outside(line.get(..start).and_then(|before| before.chars().next_back()))
            && outside(line.get(end..).and_then(|after| after.chars().next()));
        if alone && is_likely(text) {
            report(Kind::Ip, start..end);
        }
    }
}

/// Leaves out what parses and is rarely an address: hardware addresses, and short words around a double colon.
fn is_likely(text: &str) -> bool {
    let Some((head, _)) = text.split_once("::") else {
        // Eight pairs are a hardware address or a part of a fingerprint.
        return text.split(':').any(|group| group.len() != 2);
    };
    let groups = text.split(':').filter(|group| !group.is_empty()).count();
    let has_digit = text.bytes().any(|b| b.is_ascii_digit());
    match groups {
        0 => false,
        // `::1`, `fe80::`, but not `::add` or `a[::2]`.
        1 => text == "::1" || (head.len() == 4 && has_digit),
        2 => has_digit && (head.is_empty() || head.len() >= 2),
        _ => true,
    }
}
