//! What begins in a way of its own: tokens, credentials of headers, private keys.
//!
//! Promises: all beginnings are looked for at once; a line without any costs one search. Leaves to others: marks.

use super::Kind;
use crate::base::base64;
use aho_corasick::{AhoCorasick, MatchKind};
use std::ops::Range;

/// The beginnings that are looked for.
#[derive(Debug)]
pub struct Starts {
    search: AhoCorasick,
    starts: Vec<Start>,
    /// `Bearer ` with a token is looked for, too.
    has_bearer: bool,
}

#[derive(Debug, Clone, Copy)]
enum Start {
    /// A token: which characters follow, and at least and at most how many.
    Token(fn(u8) -> bool, usize, usize),
    /// `eyJ`: a JSON object in base64, the first of three parts.
    Jwt,
    /// The name of a field whose value is 40 characters long.
    AwsSecret,
    /// `uthorization`: the name of a header.
    Header,
    /// `Basic ` with base64.
    Basic,
    /// `-----BEGIN `.
    PrivateKey,
}

const ALNUM: fn(u8) -> bool = |b| b.is_ascii_alphanumeric();
const WORD: fn(u8) -> bool = |b| b.is_ascii_alphanumeric() || b == b'_';
const URL: fn(u8) -> bool = |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
const UPPER: fn(u8) -> bool = |b| b.is_ascii_uppercase() || b.is_ascii_digit();
const SLASHED: fn(u8) -> bool = |b| b.is_ascii_alphanumeric() || b == b'/';

/// Beginnings of tokens, with what their issuers say, or show, follows.
const TOKENS: [(&str, Start); 35] = [
    ("AKIA", Start::Token(UPPER, 16, 16)),
    ("ASIA", Start::Token(UPPER, 16, 16)),
    ("ABIA", Start::Token(UPPER, 16, 16)),
    ("ACCA", Start::Token(UPPER, 16, 16)),
    ("ecret_access_key", Start::AwsSecret),
    ("ecretAccessKey", Start::AwsSecret),
    ("ECRET_ACCESS_KEY", Start::AwsSecret),
    ("ghp_", Start::Token(ALNUM, 36, 255)),
    ("gho_", Start::Token(ALNUM, 36, 255)),
    ("ghu_", Start::Token(ALNUM, 36, 255)),
    ("ghs_", Start::Token(ALNUM, 36, 255)),
    ("ghr_", Start::Token(ALNUM, 36, 255)),
    ("github_pat_", Start::Token(WORD, 22, 255)),
    ("glpat-", Start::Token(URL, 20, 255)),
    ("glrt-", Start::Token(URL, 20, 255)),
    ("xoxb-", Start::Token(URL, 10, 255)),
    ("xoxp-", Start::Token(URL, 10, 255)),
    ("xoxa-", Start::Token(URL, 10, 255)),
    ("xoxr-", Start::Token(URL, 10, 255)),
    ("xoxs-", Start::Token(URL, 10, 255)),
    ("xoxe-", Start::Token(URL, 10, 255)),
    ("xoxe.", Start::Token(|b| URL(b) || b == b'.', 10, 255)),
    ("xapp-", Start::Token(URL, 10, 255)),
    ("hooks.slack.com/services/", Start::Token(SLASHED, 20, 255)),
    ("AIza", Start::Token(URL, 35, 35)),
    ("sk_live_", Start::Token(ALNUM, 16, 255)),
    ("rk_live_", Start::Token(ALNUM, 16, 255)),
    ("sk-ant-", Start::Token(URL, 20, 255)),
    ("sk-proj-", Start::Token(URL, 20, 255)),
    ("npm_", Start::Token(ALNUM, 36, 36)),
    ("glsa_", Start::Token(WORD, 32, 64)),
    ("glc_", Start::Token(|b| ALNUM(b) || matches!(b, b'=' | b'+' | b'/'), 32, 400)),
    ("dop_v1_", Start::Token(ALNUM, 64, 64)),
    ("pypi-AgEI", Start::Token(URL, 30, 500)),
    ("eyJ", Start::Jwt),
];

const CREDENTIALS: [(&str, Start); 5] = [
    ("uthorization", Start::Header),
    ("UTHORIZATION", Start::Header),
    ("Basic", Start::Basic),
    ("basic", Start::Basic),
    ("BASIC", Start::Basic),
];

impl Starts {
    /// What these kinds need; `None` if they need nothing of this.
    pub fn new(kinds: &[Kind]) -> Option<Self> {
        let mut all: Vec<(&str, Start)> = Vec::new();
        if kinds.contains(&Kind::Token) {
            all.extend(TOKENS);
        }
        if kinds.contains(&Kind::Authorization) {
            all.extend(CREDENTIALS);
        }
        if kinds.contains(&Kind::PrivateKey) {
            all.push(("-----BEGIN ", Start::PrivateKey));
        }
        if all.is_empty() {
            return None;
        }
        // Only leftmost matches are searched for with vector instructions. Building fails only for sizes far above these few words.
        let mut builder = AhoCorasick::builder();
        let search = builder.match_kind(MatchKind::LeftmostFirst).build(all.iter().map(|(text, _)| text)).ok()?;
        let has_bearer = kinds.contains(&Kind::Authorization);
        Some(Starts { search, starts: all.into_iter().map(|(_, start)| start).collect(), has_bearer })
    }

    /// Reports what begins like one of them and goes on as it should. Says whether the line ends within a private key.
    pub fn find(&self, line: &str, report: &mut impl FnMut(Kind, Range<usize>)) -> bool {
        let bytes = line.as_bytes();
        let mut is_key_open = false;
        let mut done = 0;
        // What no web token begins before, since one of the same end was none.
        let mut no_jwt = 0;
        for hit in self.search.find_iter(line) {
            let (start, end) = (hit.start(), hit.end());
            if start < done {
                continue;
            }
            let Some(kind) = self.starts.get(hit.pattern().as_usize()) else { continue };
            let before = start.checked_sub(1).and_then(|at| bytes.get(at)).copied().unwrap_or(b' ');
            let begins = !before.is_ascii_alphanumeric();
            let found = match kind {
                Start::Token(follows, min, max) if begins => {
                    let len = run(bytes.get(..end + max + 1).unwrap_or(bytes), end, *follows);
                    let whole = (*min..=*max).contains(&len) && !follows(bytes.get(end + len).copied().unwrap_or(b' '));
                    whole.then(|| (Kind::Token, start..end + len))
                }
                Start::Jwt if begins && start >= no_jwt => match jwt(bytes, start) {
                    Ok(end) => Some((Kind::Token, start..end)),
                    Err(end) => {
                        no_jwt = end;
                        None
                    }
                },
                Start::AwsSecret => value_of(bytes, end).and_then(|from| {
                    let len = run(bytes, from, |b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'+'));
                    (len == 40).then(|| (Kind::Token, from..from + len))
                }),
                Start::Header => header(line, end).map(|range| (Kind::Authorization, range)),
                Start::Basic if begins => {
                    let from = end + run(bytes, end, is_blank);
                    let range = from..from + token68(bytes, from);
                    let is_one = is_basic(line.get(range.clone()).unwrap_or(""));
                    (from > end && is_one).then_some((Kind::Authorization, range))
                }
                Start::PrivateKey => private_key(line, start).map(|end| {
                    is_key_open = end.is_none();
                    (Kind::PrivateKey, start..end.unwrap_or(line.len()))
                }),
                _ => None,
            };
            if let Some((kind, range)) = found {
                done = range.end;
                report(kind, range);
            }
        }
        if self.has_bearer {
            bearer(bytes, report);
        }
        is_key_open
    }
}

/// Reports what stands behind `Bearer` and blanks, in whatever case that is written. It is a token, too, what was found for another reason: findings
/// that overlap become one.
fn bearer(bytes: &[u8], report: &mut impl FnMut(Kind, Range<usize>)) {
    const NAME: &[u8] = b"bearer";
    for at in memchr::memchr2_iter(b'b', b'B', bytes) {
        let end = at + NAME.len();
        let before = at.checked_sub(1).and_then(|at| bytes.get(at)).copied().unwrap_or(b' ');
        if before.is_ascii_alphanumeric() || !bytes.get(at..end).is_some_and(|word| word.eq_ignore_ascii_case(NAME)) {
            continue;
        }
        let from = end + run(bytes, end, is_blank);
        let range = from..from + token68(bytes, from);
        if from > end && is_bearer(bytes.get(range.clone()).unwrap_or_default()) {
            report(Kind::Authorization, range);
        }
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Whether it is no word of prose behind `Bearer`: words are shorter, but for rare ones, of which one too many may be marked.
fn is_bearer(text: &[u8]) -> bool {
    let dots = text.iter().rev().take_while(|b| **b == b'.').count();
    text.len() - dots >= 16
        || text.len() >= 12 && text.iter().any(u8::is_ascii_digit) && text.iter().any(u8::is_ascii_alphabetic)
}

/// Whether it is no word of prose behind `Authorization:`: long and with digits, or longer, and with capitals as no name has them.
fn is_key(text: &[u8]) -> bool {
    let count = |wanted: fn(&u8) -> bool| text.iter().filter(|b| wanted(b)).count();
    let (letters, capitals) = (count(u8::is_ascii_alphabetic), count(u8::is_ascii_uppercase));
    if letters < text.len() {
        return text.len() >= 16 && letters > 0 && count(u8::is_ascii_digit) > 0;
    }
    text.len() >= 24 && (capitals == 0 || capitals * 4 > letters)
}

/// How many bytes from `from` on are `wanted`.
fn run(bytes: &[u8], from: usize, wanted: impl Fn(u8) -> bool) -> usize {
    bytes.get(from..).unwrap_or_default().iter().take_while(|b| wanted(**b)).count()
}

/// The length of a token as headers have them: equals signs are only at its end.
fn token68(bytes: &[u8], from: usize) -> usize {
    let len = run(bytes, from, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/'));
    if len == 0 { 0 } else { len + run(bytes, from + len, |b| b == b'=') }
}

/// Whether it is `name:password` in base64.
fn is_basic(text: &str) -> bool {
    let bare = text.trim_end_matches('=');
    if bare.len() < 4 || bare.len() % 4 == 1 {
        return false;
    }
    let padded = format!("{bare}{}", "=".repeat((4 - bare.len() % 4) % 4));
    base64::decode(&padded).is_some_and(|bytes| bytes.contains(&b':'))
}

/// Where a value begins behind the name of its field: `: `, `=`, `":"`, escaped quotes and a bracket too.
fn value_of(bytes: &[u8], end: usize) -> Option<usize> {
    let at = end + run(bytes, end, |b| matches!(b, b'"' | b'\'' | b'\\' | b' ' | b'\t'));
    if !matches!(bytes.get(at), Some(b':' | b'=')) {
        return None;
    }
    Some(at + run(bytes, at, |b| matches!(b, b':' | b'=' | b'>' | b' ' | b'\t' | b'"' | b'\'' | b'\\' | b'[')))
}

/// The credentials of an `Authorization` header whose name ends at `end`.
fn header(line: &str, end: usize) -> Option<Range<usize>> {
    let bytes = line.as_bytes();
    let from = value_of(bytes, end)?;
    let word = token68(bytes, from);
    let scheme = line.get(from..from + word)?;
    let is = |names: &[&str]| names.iter().any(|name| scheme.eq_ignore_ascii_case(name));
    let start = from + word + run(bytes, from + word, is_blank);
    if start > from + word {
        if is(&["bearer", "basic", "token", "negotiate", "ntlm", "apikey", "splunk", "key", "dpop"]) {
            let len = token68(bytes, start);
            return (len >= 4).then(|| start..start + len);
        }
        if is(&[
            "digest",
            "hawk",
            "oauth",
            "aws4-hmac-sha256",
            "signature",
            "hoba",
            "mutual",
            "sharedkey",
            "googlelogin",
        ]) {
            return Some(start..start + parameters(bytes, start));
        }
    }
    // No scheme: a bare key. A word of prose is none.
    is_key(scheme.as_bytes()).then(|| from..from + word)
}

/// The length of `name="value", name=value` from `start` on: whatever comes, if each part has an equals sign.
fn parameters(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    loop {
        let name = run(bytes, at, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'*'));
        if name == 0 || bytes.get(at + name) != Some(&b'=') {
            // No further parameter: the separator before it is not a part.
            let text = bytes.get(start..at).unwrap_or_default();
            return text.iter().rposition(|b| !matches!(b, b' ' | b',')).map_or(0, |last| last + 1);
        }
        at += name + 1;
        let escaped = run(bytes, at, |b| b == b'\\');
        if bytes.get(at + escaped) == Some(&b'"') {
            at += escaped + 1;
            at += run(bytes, at, |b| b != b'"') + 1;
            at = at.min(bytes.len());
        } else {
            at += run(bytes, at, |b| !matches!(b, b',' | b' ' | b'"' | b'\'' | b'\\'));
        }
        at += run(bytes, at, |b| matches!(b, b',' | b' '));
    }
}

/// The end of a JSON web token: three parts, the first two of them objects. Or the end of what was looked at.
fn jwt(bytes: &[u8], start: usize) -> Result<usize, usize> {
    let head = start + run(bytes, start, URL);
    let is_object = bytes.get(head + 1..).is_some_and(|rest| rest.starts_with(b"eyJ"));
    if head - start < 10 || bytes.get(head) != Some(&b'.') || !is_object {
        return Err(head);
    }
    let body = head + 1 + run(bytes, head + 1, URL);
    if body - head <= 10 || bytes.get(body) != Some(&b'.') {
        return Err(head);
    }
    Ok(body + 1 + run(bytes, body + 1, URL))
}

/// The end of a private key whose `-----BEGIN` is at `start`; none inside, if its end line is not there.
fn private_key(line: &str, start: usize) -> Option<Option<usize>> {
    let rest = line.get(start..)?;
    let (label, _) = rest.strip_prefix("-----BEGIN ")?.split_once("-----")?;
    if !label.ends_with("PRIVATE KEY") && !label.ends_with("PRIVATE KEY BLOCK") || label.len() > 64 {
        return None;
    }
    let Some(at) = rest.find("-----END ") else { return Some(None) };
    let tail = rest.get(at + "-----END ".len()..).unwrap_or("");
    let len = tail.find("-----").map_or(tail.len(), |found| found + 5);
    Some(Some(start + at + "-----END ".len() + len))
}
