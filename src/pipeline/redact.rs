//! Finds secrets and personal data in lines, and puts marks in their place.
//!
//! Each [`Kind`] has a finder that looks for what such a text cannot be without (an `@`, a token's beginning, a digit in every 13 bytes) before it
//! looks closely; a line without such candidates costs little. What is found must hold up: cards have a known issuer, length and check digit,
//! addresses parse, `Basic` credentials decode. Tables of texts that are found, and of texts that only look like it, are in the tests.
//!
//! A mark is a fixed text, `[card]`, or `[card:52a4...]` with a keyed hash, so that equal secrets can be seen to be equal by those who cannot
//! know them. Cards are hashed without their separators, addresses in small letters.
//!
//! Promises: one line, one answer, but for a private key over several lines, of which a number is kept ([`Redactor::redact`]); no allocation unless
//! something is found and a buffer has to grow. Findings that overlap become one. Leaves to others: keeping that number.

mod address;
mod card;
mod key_lines;
mod network;
mod token;

use crate::base::expression::{self, ExpressionError};
use crate::base::limits::REDACT_PATTERNS;
use crate::base::secret::Secret;
use regex::{CaptureLocations, Regex};
use std::fmt::Write;
use std::ops::Range;

/// What can be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Blocks of private keys (PEM), whole.
    PrivateKey,
    /// What stands before the `@` in a URL.
    UrlUser,
    /// Credentials of `Authorization` headers; bearer ones of 16 characters or more (12 with letters and digits) and basic ones also without the header.
    Authorization,
    /// Tokens that have a form of their own: AWS, GitHub, GitLab, Slack, Google, Stripe, npm, Grafana, JWT.
    Token,
    /// E-mail addresses.
    Email,
    /// Numbers of payment cards.
    Card,
    /// IPv4 and IPv6 addresses.
    Ip,
}

impl Kind {
    /// All kinds; where findings overlap, the first one names the mark.
    pub const ALL: [Kind; 7] =
        [Kind::PrivateKey, Kind::UrlUser, Kind::Authorization, Kind::Token, Kind::Email, Kind::Card, Kind::Ip];

    /// The name: in a configuration, and in marks.
    pub fn name(self) -> &'static str {
        match self {
            Kind::PrivateKey => "private_key",
            Kind::UrlUser => "url_user",
            Kind::Authorization => "authorization",
            Kind::Token => "token",
            Kind::Email => "email",
            Kind::Card => "card",
            Kind::Ip => "ip",
        }
    }

    /// The kind of a name.
    pub fn by_name(name: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What stands in place of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mark {
    /// `[card]`.
    #[default]
    Kind,
    /// This text.
    Text(String),
    /// `[card:0123456789abcdef]`: the first 16 hexadecimal digits of HMAC-SHA-256 with this key.
    Hash(Secret),
}

/// A pattern of one's own. If it has a group, the first one is replaced, otherwise the whole match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custom {
    /// The name in marks.
    pub name: String,
    /// The regular expression.
    pub expression: String,
}

/// What to look for and what to put in its place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Kinds to look for.
    pub kinds: Vec<Kind>,
    /// Patterns to look for.
    pub custom: Vec<Custom>,
    /// What is put in place of all of them.
    pub mark: Mark,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedactError {
    /// There is nothing to look for.
    #[error("there is nothing to look for: name kinds or patterns")]
    Nothing,
    /// There are too many patterns.
    #[error("there are {0} patterns, at most {REDACT_PATTERNS} are possible: join some with |")]
    TooMany(usize),
    /// A pattern is none.
    #[error("pattern {name}: {error}")]
    Expression {
        /// Its name.
        name: String,
        /// What is wrong.
        error: ExpressionError,
    },
    /// A pattern matches the empty text.
    #[error("pattern {0} matches the empty text, which is everywhere: write + in place of *")]
    Empty(String),
    /// The salt is missing.
    #[error("a hash needs a salt: without one, short secrets could be found out by trying")]
    Salt,
}

/// Compiled settings.
#[derive(Debug)]
pub struct Redactor {
    wanted: [bool; Kind::ALL.len()],
    starts: Option<token::Starts>,
    custom: Vec<(String, Regex)>,
    mark: CompiledMark,
}

#[derive(Debug)]
enum CompiledMark {
    Kind,
    Text(String),
    Hash(ring::hmac::Key),
}

/// Memory that is used from line to line.
#[derive(Debug, Default)]
pub struct Scratch {
    found: Vec<Finding>,
    places: Vec<CaptureLocations>,
    plain: String,
}

/// What was found where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    range: Range<usize>,
    what: What,
}

/// A kind, or a pattern by its number. The order is that in which they name a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Kind(Kind),
    Custom(usize),
}

impl Redactor {
    /// Checks and compiles settings.
    pub fn compile(settings: &Settings) -> Result<Self, RedactError> {
        if settings.kinds.is_empty() && settings.custom.is_empty() {
            return Err(RedactError::Nothing);
        }
        if settings.custom.len() > REDACT_PATTERNS {
            return Err(RedactError::TooMany(settings.custom.len()));
        }
        let mut custom = Vec::new();
        for Custom { name, expression } in &settings.custom {
            let regex = expression::compile(expression)
                .map_err(|error| RedactError::Expression { name: name.clone(), error })?;
            if regex.is_match("") {
                return Err(RedactError::Empty(name.clone()));
            }
            custom.push((name.clone(), regex));
        }
        let mark = match &settings.mark {
            Mark::Kind => CompiledMark::Kind,
            Mark::Text(text) => CompiledMark::Text(text.clone()),
            Mark::Hash(salt) if salt.expose().is_empty() => return Err(RedactError::Salt),
            Mark::Hash(salt) => {
                CompiledMark::Hash(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, salt.expose().as_bytes()))
            }
        };
        let wanted = Kind::ALL.map(|kind| settings.kinds.contains(&kind));
        Ok(Redactor { wanted, starts: token::Starts::new(&settings.kinds), custom, mark })
    }

    fn wants(&self, kind: Kind) -> bool {
        self.wanted.get(kind as usize).copied().unwrap_or(false)
    }

    /// Looks through a line. If something is found, `out` gets the line with marks (it is cleared before), and the answer is the number of
    /// marks; otherwise the answer is 0 and `out` is left alone. `open_key` is kept from line to line, 0 at first: what may still come of a private
    /// key that an earlier line began.
    pub fn redact(&self, line: &str, open_key: &mut u8, scratch: &mut Scratch, out: &mut String) -> usize {
        self.find(line, open_key, scratch);
        if scratch.found.is_empty() {
            return 0;
        }
        merge(&mut scratch.found);
        out.clear();
        let mut done = 0;
        for finding in &scratch.found {
            out.push_str(line.get(done..finding.range.start).unwrap_or(""));
            let text = line.get(finding.range.clone()).unwrap_or("");
            self.write_mark(finding.what, text, &mut scratch.plain, out);
            done = finding.range.end;
        }
        out.push_str(line.get(done..).unwrap_or(""));
        scratch.found.len()
    }

    fn find(&self, line: &str, open_key: &mut u8, scratch: &mut Scratch) {
        let found = &mut scratch.found;
        found.clear();
        let mut report = |kind: Kind, range: Range<usize>| {
            if !range.is_empty() {
                found.push(Finding { range, what: What::Kind(kind) });
            }
        };
        if *open_key > 0 && self.wants(Kind::PrivateKey) {
            *open_key = key_lines::find(line, *open_key, &mut report);
        }
        if let Some(starts) = &self.starts
            && starts.find(line, &mut report)
        {
            *open_key = key_lines::OPEN;
        }
        if self.wants(Kind::Email) || self.wants(Kind::UrlUser) {
            address::find(line, self.wants(Kind::Email), self.wants(Kind::UrlUser), &mut report);
        }
        if self.wants(Kind::Card) {
            card::find(line, &mut report);
        }
        if self.wants(Kind::Ip) {
            network::find(line, &mut report);
        }
        for (number, (_, regex)) in self.custom.iter().enumerate() {
            if scratch.places.len() <= number {
                scratch.places.push(regex.capture_locations());
            }
            let Some(places) = scratch.places.get_mut(number) else { continue };
            let mut at = 0;
            while at <= line.len() {
                let Some(whole) = regex.captures_read_at(places, line, at) else { break };
                let range = if regex.captures_len() > 1 { places.get(1) } else { Some((whole.start(), whole.end())) };
                if let Some((start, end)) = range.filter(|(start, end)| start < end) {
                    found.push(Finding { range: start..end, what: What::Custom(number) });
                }
                if whole.is_empty() {
                    let next = line.get(whole.end()..).and_then(|rest| rest.chars().next());
                    at = whole.end() + next.map_or(1, char::len_utf8);
                } else {
                    at = whole.end();
                }
            }
        }
    }

    fn name(&self, what: What) -> &str {
        match what {
            What::Kind(kind) => kind.name(),
            What::Custom(number) => self.custom.get(number).map_or("", |(name, _)| name),
        }
    }

    fn write_mark(&self, what: What, text: &str, plain: &mut String, out: &mut String) {
        let key = match &self.mark {
            CompiledMark::Text(mark) => return out.push_str(mark),
            CompiledMark::Kind => None,
            CompiledMark::Hash(key) => Some(key),
        };
        out.push('[');
        out.push_str(self.name(what));
        if let Some(key) = key {
            out.push(':');
            plain.clear();
            match what {
                What::Kind(Kind::Card) => plain.extend(text.chars().filter(char::is_ascii_digit)),
                What::Kind(Kind::Email | Kind::Ip) => plain.extend(text.chars().map(|c| c.to_ascii_lowercase())),
                _ => plain.push_str(text),
            }
            let tag = ring::hmac::sign(key, plain.as_bytes());
            for byte in tag.as_ref().iter().take(8) {
                // Writing to a String cannot fail.
                let _ = write!(out, "{byte:02x}");
            }
        }
        out.push(']');
    }
}

/// Sorts findings and joins those that overlap, so that no part of a secret is left.
fn merge(found: &mut Vec<Finding>) {
    found.sort_unstable_by_key(|finding| (finding.range.start, finding.what));
    found.dedup_by(|next, kept| {
        let overlaps = next.range.start < kept.range.end;
        if overlaps {
            kept.range.end = kept.range.end.max(next.range.end);
            kept.what = kept.what.min(next.what);
        }
        overlaps
    });
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
