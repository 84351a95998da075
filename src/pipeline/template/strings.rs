//! Functions of texts: cutting, changing, hashing, escaping.
//!
//! Promises: what only cuts copies nothing; what makes text writes it into a buffer that is used again, and stops at the bound.
//! Leaves to others: numbers and lists.

use super::RenderError;
use super::eval::{Args, Env};
use super::value::{Val, bounded};
use crate::base::base64;
use regex::Regex;
use sha2::Digest;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

type Made<'t> = Result<Val<'t>, RenderError>;

/// A part of a text, without copying it if it is borrowed.
fn narrow<'t>(text: Cow<'t, str>, range: Range<usize>) -> Val<'t> {
    Val::Text(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(range).unwrap_or_default()),
        Cow::Owned(mut text) => {
            text.truncate(range.end);
            text.drain(..range.start.min(text.len()));
            Cow::Owned(text)
        }
    })
}

/// Where a part of a text lies in it.
fn place(whole: &str, start: usize, part: &str) -> Range<usize> {
    debug_assert!(start + part.len() <= whole.len());
    start..start + part.len()
}

/// The last character boundary at or before a byte.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Case as Go changes it: character by character. What would become two characters stays.
pub(super) fn cased(c: char, upper: bool) -> char {
    if c.is_ascii() {
        return if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    }
    let one = |chars: &mut dyn Iterator<Item = char>| match (chars.next(), chars.next()) {
        (Some(only), None) => only,
        _ => c,
    };
    // The dotted capital I is the one that Go makes a plain i.
    match (c, upper) {
        ('\u{130}', false) => 'i',
        (_, true) => one(&mut c.to_uppercase()),
        (_, false) => one(&mut c.to_lowercase()),
    }
}

fn recased<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, upper: bool) -> Made<'t> {
    let text = args.text(0);
    let stays =
        text.bytes().all(|b| b.is_ascii() && !(if upper { b.is_ascii_lowercase() } else { b.is_ascii_uppercase() }));
    if stays {
        return Ok(args.take(0));
    }
    let mut out = env.buffer();
    if text.is_ascii() {
        out.push_str(text);
        if upper {
            out.make_ascii_uppercase();
        } else {
            out.make_ascii_lowercase();
        }
    } else {
        out.extend(text.chars().map(|c| cased(c, upper)));
    }
    env.made(out, args)
}

pub(super) fn lower<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    recased(env, args, false)
}

pub(super) fn upper<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    recased(env, args, true)
}

pub(super) fn title<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut out = env.buffer();
    let mut starts = true;
    for c in args.text(0).chars() {
        out.push(if starts { cased(c, true) } else { c });
        starts = if c.is_ascii() { !(c.is_ascii_alphanumeric() || c == '_') } else { c.is_whitespace() };
    }
    env.made(out, args)
}

pub(super) fn untitle<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut out = env.buffer();
    let mut starts = true;
    for c in args.text(0).chars() {
        out.push(if starts && !c.is_whitespace() { cased(c, false) } else { c });
        starts = c.is_whitespace();
    }
    env.made(out, args)
}

/// Cuts characters of a set from the ends.
pub(super) fn trim_set<'t>(args: &mut Args<'t>, text: usize, set: usize, left: bool, right: bool) -> Made<'t> {
    let whole = args.text(text);
    let set = args.text(set);
    let in_set = |c: char| set.contains(c);
    let after = if left { whole.trim_start_matches(in_set) } else { whole };
    let start = whole.len() - after.len();
    let part = if right { after.trim_end_matches(in_set) } else { after };
    let range = place(whole, start, part);
    Ok(narrow(args.take_text(text), range))
}

pub(super) fn trim_affix<'t>(args: &mut Args<'t>, text: usize, affix: usize, prefix: bool) -> Made<'t> {
    let whole = args.text(text);
    let affix = args.text(affix);
    let range = if prefix {
        let part = whole.strip_prefix(affix).unwrap_or(whole);
        place(whole, whole.len() - part.len(), part)
    } else {
        place(whole, 0, whole.strip_suffix(affix).unwrap_or(whole))
    };
    Ok(narrow(args.take_text(text), range))
}

pub(super) fn trim_space<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let whole = args.text(0);
    let start = whole.len() - whole.trim_start().len();
    let range = place(whole, start, whole.trim());
    Ok(narrow(args.take_text(0), range))
}

fn replaced<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, [text, from, to]: [usize; 3], count: i64) -> Made<'t> {
    let (whole, from, to) = (args.text(text), args.text(from), args.text(to));
    let limit = usize::try_from(count).unwrap_or(usize::MAX);
    if limit == 0 || from == to || !whole.contains(from) {
        return Ok(args.take(text));
    }
    let mut out = env.buffer();
    let mut end = 0;
    // An empty `from` is found before each character and at the end, as in Go.
    for (at, found) in whole.match_indices(from).take(limit) {
        out.push_str(whole.get(end..at).unwrap_or_default());
        out.push_str(to);
        bounded(out.len())?;
        end = at + found.len();
    }
    out.push_str(whole.get(end..).unwrap_or_default());
    env.made(out, args)
}

/// `Replace text old new n`
pub(super) fn replace_n<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let count = args.int(3);
    replaced(env, args, [0, 1, 2], count)
}

/// `replace old new text`
pub(super) fn replace<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    replaced(env, args, [2, 0, 1], -1)
}

pub(super) fn repeat<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let Ok(count) = usize::try_from(args.int(0)) else { return args.fail("the count is negative") };
    let text = args.text(1);
    bounded(text.len().saturating_mul(count))?;
    let mut out = env.buffer();
    if !text.is_empty() {
        for _ in 0..count {
            out.push_str(text);
        }
    }
    env.made(out, args)
}

/// `substr start end text`. A negative start means the beginning, a negative end the end.
pub(super) fn substr<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let text = args.text(2);
    let len = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let (start, end) = (args.int(0), args.int(1));
    let (start, end) = if start < 0 {
        (0, end)
    } else if end < 0 || end > len {
        (start, len)
    } else {
        (start, end)
    };
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) if start <= end && end <= text.len() => {
            let range = boundary(text, start)..boundary(text, end);
            Ok(narrow(args.take_text(2), range))
        }
        _ => args.fail("the text is shorter than that"),
    }
}

/// `trunc n text`: the first n bytes, or the last if n is negative.
pub(super) fn trunc<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let text = args.text(1);
    let count = usize::try_from(args.int(0).unsigned_abs()).unwrap_or(usize::MAX);
    if count >= text.len() {
        return Ok(args.take(1));
    }
    let range = if args.int(0) < 0 {
        let mut start = text.len() - count;
        while !text.is_char_boundary(start) {
            start += 1;
        }
        start..text.len()
    } else {
        0..boundary(text, count)
    };
    Ok(narrow(args.take_text(1), range))
}

pub(super) fn nospace<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    if !args.text(0).contains(char::is_whitespace) {
        return Ok(args.take(0));
    }
    let mut out = env.buffer();
    out.extend(args.text(0).chars().filter(|c| !c.is_whitespace()));
    env.made(out, args)
}

/// Each value that is not nil between quotes, with spaces between them.
pub(super) fn quote<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, double: bool) -> Made<'t> {
    let mut out = env.buffer();
    let mut shown = env.buffer();
    for value in args.all().iter().filter(|value| !matches!(value, Val::Nil)) {
        shown.clear();
        value.show(&mut shown)?;
        if !out.is_empty() {
            out.push(' ');
        }
        if double {
            go_quote(&shown, '"', &mut out);
        } else {
            out.push('\'');
            out.push_str(&shown);
            out.push('\'');
        }
        bounded(out.len())?;
    }
    env.give_back(Val::text(shown));
    env.made(out, args)
}

/// As Go's strconv.Quote.
pub(super) fn go_quote(text: &str, quote: char, out: &mut String) {
    out.push(quote);
    for c in text.chars() {
        let _ = match c {
            _ if c == quote || c == '\\' => write!(out, "\\{c}"),
            '\x07' => out.write_str("\\a"),
            '\x08' => out.write_str("\\b"),
            '\x0c' => out.write_str("\\f"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            '\x0b' => out.write_str("\\v"),
            ' ' => out.write_char(c),
            _ if u32::from(c) < 0x80 && c.is_control() => write!(out, "\\x{:02x}", u32::from(c)),
            // Spaces other than the plain one are not printable for Go.
            _ if c.is_control()
                || c.is_whitespace()
                || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{feff}') =>
            {
                write!(out, "\\u{:04x}", u32::from(c))
            }
            _ => out.write_char(c),
        };
    }
    out.push(quote);
}

pub(super) fn cat<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut out = env.buffer();
    for (index, value) in args.all().iter().filter(|value| !matches!(value, Val::Nil)).enumerate() {
        if index > 0 {
            out.push(' ');
        }
        value.show(&mut out)?;
    }
    env.made(out, args)
}

pub(super) fn indent<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, new_line: bool) -> Made<'t> {
    let Ok(width) = usize::try_from(args.int(0)) else { return args.fail("the count is negative") };
    let mut out = env.buffer();
    for (index, line) in args.text(1).split('\n').enumerate() {
        if index > 0 || new_line {
            out.push('\n');
        }
        bounded(out.len().saturating_add(width))?;
        out.extend(std::iter::repeat_n(' ', width));
        out.push_str(line);
    }
    env.made(out, args)
}

pub(super) fn to_string<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    if let Val::Text(_) = args.get(0) {
        return Ok(args.take(0));
    }
    let mut out = env.buffer();
    args.get(0).show(&mut out)?;
    env.made(out, args)
}

pub(super) fn b64enc<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let out = base64::encode(args.text(0).as_bytes());
    env.made(out, args)
}

pub(super) fn b64dec<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let Some(bytes) = base64::decode(args.text(0)) else { return args.fail("this is not base64") };
    let out = String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    env.made(out, args)
}

fn hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

/// `Hash salt text`, in hexadecimal.
pub(super) fn hash<'t, D: Digest>(env: &mut Env<'t, '_>, args: &mut Args<'t>) -> Made<'t> {
    let digest = D::new().chain_update(args.text(0)).chain_update(args.text(1)).finalize();
    let mut out = env.buffer();
    hex(&digest, &mut out);
    env.made(out, args)
}

pub(super) fn sum<'t, D: Digest>(env: &mut Env<'t, '_>, args: &mut Args<'t>) -> Made<'t> {
    let digest = D::digest(args.text(0));
    let mut out = env.buffer();
    hex(&digest, &mut out);
    env.made(out, args)
}

/// `regexReplaceAll pattern text replacement`; `$1` and `${name}` of the replacement are groups unless it is literal.
pub(super) fn regex_replace<'t>(
    env: &mut Env<'t, '_>,
    args: &mut Args<'t>,
    regex: Option<&Regex>,
    literal: bool,
) -> Made<'t> {
    let (text, replacement) = (args.text(1), args.text(2));
    let Some(regex) = regex.filter(|regex| regex.is_match(text)) else { return Ok(args.take(1)) };
    let mut out = env.buffer();
    let mut end = 0;
    let groups = if literal { 0 } else { replacement.matches('$').count() };
    if groups == 0 {
        for found in regex.find_iter(text) {
            out.push_str(text.get(end..found.start()).unwrap_or_default());
            out.push_str(replacement);
            bounded(out.len())?;
            end = found.end();
        }
    } else {
        for groups_found in regex.captures_iter(text) {
            let Some(found) = groups_found.get(0) else { continue };
            out.push_str(text.get(end..found.start()).unwrap_or_default());
            // No group is longer than the match.
            bounded(out.len().saturating_add(replacement.len()).saturating_add(groups.saturating_mul(found.len())))?;
            groups_found.expand(replacement, &mut out);
            end = found.end();
        }
    }
    out.push_str(text.get(end..).unwrap_or_default());
    env.made(out, args)
}

pub(super) fn regex_find<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, regex: Option<&Regex>) -> Made<'t> {
    let range = regex.and_then(|regex| regex.find(args.text(1))).map_or(0..0, |found| found.range());
    Ok(narrow(args.take_text(1), range))
}

/// The arguments, printed and escaped.
pub(super) fn escape<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, how: fn(&str, &mut String)) -> Made<'t> {
    let mut plain = env.buffer();
    super::printf::sprint(args.all(), &mut plain)?;
    let mut out = env.buffer();
    how(&plain, &mut out);
    env.give_back(Val::text(plain));
    env.made(out, args)
}

pub(super) fn html(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '\0' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
}

pub(super) fn js(text: &str, out: &mut String) {
    for c in text.chars() {
        let _ = match c {
            '\\' | '\'' | '"' => write!(out, "\\{c}"),
            '<' | '>' | '&' | '=' => write!(out, "\\u{:04X}", u32::from(c)),
            _ if c.is_control() => write!(out, "\\u{:04X}", u32::from(c)),
            _ => out.write_char(c),
        };
    }
}

pub(super) fn urlquery(text: &str, out: &mut String) {
    for byte in text.bytes() {
        let _ = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.write_char(char::from(byte)),
            b' ' => out.write_char('+'),
            _ => write!(out, "%{byte:02X}"),
        };
    }
}
