//! A pattern that has to match a whole text, with short ways for what people mostly write: a word, a few words, a beginning.
//!
//! Promises: gives the same answers as the regular expression, allocates nothing. Leaves to others: captures.

use super::{ExpressionError, compile_anchored, translate};
use regex::Regex;

/// A compiled pattern for whole texts.
#[derive(Debug, Clone)]
pub struct Anchored(How);

#[derive(Debug, Clone)]
enum How {
    /// `.*`
    Anything,
    /// `.+`
    Something,
    /// `a` or `a|b|c`
    Words(Vec<String>),
    /// `a.*`
    Beginning(String),
    /// `.*a`
    End(String),
    /// `.*a.*`
    Within(Box<memchr::memmem::Finder<'static>>),
    Pattern(Regex),
}

impl Anchored {
    /// Compiles a pattern. Whatever way is taken, the pattern has to be a valid one.
    pub fn new(pattern: &str) -> Result<Self, ExpressionError> {
        if let Some(short) = short_way(pattern) {
            translate::translate(pattern)?;
            return Ok(Anchored(short));
        }
        Ok(Anchored(How::Pattern(compile_anchored(pattern)?)))
    }

    /// Whether it matches the whole of `text`.
    pub fn is_match(&self, text: &str) -> bool {
        match &self.0 {
            How::Anything => true,
            How::Something => !text.is_empty(),
            How::Words(words) => words.iter().any(|word| word == text),
            How::Beginning(word) => text.starts_with(word.as_str()),
            How::End(word) => text.ends_with(word.as_str()),
            How::Within(finder) => finder.find(text.as_bytes()).is_some(),
            How::Pattern(regex) => regex.is_match(text),
        }
    }

    /// Whether it matches every text.
    pub fn is_anything(&self) -> bool {
        matches!(self.0, How::Anything)
    }
}

fn short_way(pattern: &str) -> Option<How> {
    // One group around it all changes nothing about whether it matches.
    let inner = pattern.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(pattern);
    let inner = inner.strip_prefix("?:").unwrap_or(inner);
    match inner {
        ".*" => return Some(How::Anything),
        ".+" => return Some(How::Something),
        _ => {}
    }
    if let Some(words) = inner.split('|').map(word).collect::<Option<Vec<_>>>() {
        return Some(How::Words(words));
    }
    let not_empty = |text: &str| word(text).filter(|word| !word.is_empty());
    let ends = inner.strip_suffix(".*");
    match (inner.strip_prefix(".*"), ends) {
        (Some(_), Some(_)) => {
            let middle = inner.strip_prefix(".*")?.strip_suffix(".*")?;
            let finder = memchr::memmem::Finder::new(not_empty(middle)?.as_bytes()).into_owned();
            Some(How::Within(Box::new(finder)))
        }
        (Some(rest), None) => not_empty(rest).map(How::End),
        (None, Some(rest)) => not_empty(rest).map(How::Beginning),
        (None, None) => None,
    }
}

/// What every text begins with that a pattern matches as a whole; empty if that cannot be told easily.
pub fn beginning(pattern: &str) -> String {
    // Alternatives and flags could make anything of what comes first.
    if pattern.contains('|') || pattern.contains("(?") || pattern.contains("\\Q") {
        return String::new();
    }
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | ':' | ' ');
    let end = pattern.find(|c: char| !plain(c)).unwrap_or(pattern.len());
    let (found, rest) = pattern.split_at(end);
    // A repetition is one of the last character.
    let repeated = rest.starts_with(['*', '?', '{', '+']);
    let keep = if repeated { found.char_indices().next_back().map_or(0, |(at, _)| at) } else { end };
    found.get(..keep).unwrap_or("").to_owned()
}

/// The text that a pattern without operators matches.
fn word(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().filter(char::is_ascii_punctuation)?),
            '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}
