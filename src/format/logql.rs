//! What Promtail's `match` stage selects by: a LogQL stream selector with line filters, `{app="a", env=~"p.*"} |= "error" !~ "debug"`.
//!
//! Labels are compared as Loki and Prometheus do: a label that is absent is the empty text, regular expressions have to match the whole value.
//! Line filters look for a text, a regular expression or a pattern (`|> "<_> took <_>"`) anywhere in the line; alternatives follow with `or`.
//! The rest of LogQL (parsers, label filters, formats, metric queries) is refused with its name, its place and what to use instead.
//!
//! Promises: matching allocates nothing. Leaves to others: where labels come from, and what happens to lines that match.
//!
//! ```
//! use lugger::format::logql::Selector;
//! let selector = Selector::parse(r#"{app="shop", env!~"test|dev"} |= "error" or "fail""#).unwrap();
//! assert!(selector.matches_labels(&|name| if name == "app" { "shop" } else { "" }));
//! assert!(selector.matches_line("it did fail"));
//! assert_eq!(selector.label_names().collect::<Vec<_>>(), ["app", "env"]);
//! ```

mod parse;

use crate::base::expression::{Anchored, ExpressionError};
use crate::base::limits::{SELECTOR_BYTES, SELECTOR_PARTS};
use memchr::memmem::Finder;
use regex::Regex;

/// A compiled selector.
#[derive(Debug, Clone)]
pub struct Selector {
    matchers: Vec<Matcher>,
    filters: Vec<Filter>,
}

/// One condition on a label.
#[derive(Debug, Clone)]
struct Matcher {
    name: String,
    test: Test,
    /// Whether the test has to fail.
    negated: bool,
}

#[derive(Debug, Clone)]
enum Test {
    Equal(String),
    Pattern(Anchored),
}

/// One condition on the line: any of the tests, or none of them.
#[derive(Debug, Clone)]
struct Filter {
    any_of: Vec<Search>,
    negated: bool,
}

#[derive(Debug, Clone)]
enum Search {
    Text(Box<Finder<'static>>),
    Pattern(Regex),
    /// Pieces of a pattern filter.
    Pieces(Vec<Piece>),
}

#[derive(Debug, Clone)]
enum Piece {
    Literal(Box<Finder<'static>>),
    /// `<_>`: at least one byte.
    Gap,
}

/// Why a text is no selector, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("selector, character {column}: {what}")]
pub struct SelectorError {
    /// Where, as a byte offset into the selector.
    pub at: usize,
    /// Where, in characters, from 1.
    pub column: usize,
    /// What is wrong there and what to do.
    pub what: String,
}

impl SelectorError {
    fn new(text: &str, at: usize, what: impl Into<String>) -> Self {
        let before = text.get(..at).unwrap_or(text);
        SelectorError { at, column: before.chars().count() + 1, what: what.into() }
    }

    fn expression(text: &str, at: usize, error: &ExpressionError) -> Self {
        SelectorError::new(text, at, error.to_string())
    }
}

impl Selector {
    /// Reads and compiles a selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > SELECTOR_BYTES {
            return Err(SelectorError::new(text, 0, format!("it is longer than {SELECTOR_BYTES} bytes")));
        }
        let selector = parse::parse(text)?;
        let parts = selector.matchers.len() + selector.filters.iter().map(|filter| filter.any_of.len()).sum::<usize>();
        if parts > SELECTOR_PARTS {
            return Err(SelectorError::new(text, 0, format!("it has more than {SELECTOR_PARTS} conditions")));
        }
        Ok(selector)
    }

    /// The names of the labels it reads, in the order of its conditions; a name may come twice. What [`Selector::matches_values`] asks for by number.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.matchers.iter().map(|matcher| matcher.name.as_str())
    }

    /// Whether it has conditions on the line.
    pub fn reads_line(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Whether the labels match. `value_of` gives a label's value by its name, the empty text for one that is absent.
    pub fn matches_labels<'a>(&self, value_of: &dyn Fn(&str) -> &'a str) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(value_of(&matcher.name)))
    }

    /// Whether the labels match, by number: `value_of(i)` is the value of the label that [`Selector::label_names`] gives as its `i`th, from 0.
    pub fn matches_values<'a>(&self, value_of: &dyn Fn(usize) -> &'a str) -> bool {
        self.matchers.iter().enumerate().all(|(i, matcher)| matcher.matches(value_of(i)))
    }

    /// Whether the line passes all line filters.
    pub fn matches_line(&self, line: &str) -> bool {
        self.filters.iter().all(|filter| filter.any_of.iter().any(|search| search.matches(line)) != filter.negated)
    }
}

impl Matcher {
    fn matches(&self, value: &str) -> bool {
        let matches = match &self.test {
            Test::Equal(wanted) => wanted == value,
            Test::Pattern(pattern) => pattern.is_match(value),
        };
        matches != self.negated
    }
}

impl Search {
    fn matches(&self, line: &str) -> bool {
        match self {
            Search::Text(finder) => finder.find(line.as_bytes()).is_some(),
            Search::Pattern(regex) => regex.is_match(line),
            Search::Pieces(pieces) => fits(pieces, line.as_bytes()),
        }
    }
}

/// Whether a line fits a pattern filter. A pattern that begins with a text may begin anywhere; gaps are not empty, and what is behind the last
/// piece has to be empty after a text.
fn fits(pieces: &[Piece], line: &[u8]) -> bool {
    let Some(last) = pieces.last() else { return line.is_empty() };
    let mut rest = line;
    for (i, piece) in pieces.iter().enumerate() {
        let Piece::Literal(literal) = piece else { continue };
        let Some(at) = literal.find(rest) else { return false };
        if i > 0 && at == 0 {
            return false;
        }
        rest = rest.get(at + literal.needle().len()..).unwrap_or_default();
    }
    matches!(last, Piece::Gap) != rest.is_empty()
}

#[cfg(test)]
#[path = "logql_tests.rs"]
mod tests;
