//! Regular expressions as Go's RE2 writes them, which is what Promtail, Loki and Prometheus take.
//!
//! The `regex` crate has RE2's power but not quite its syntax. A pattern is therefore read here once, checked, and written anew: `\d`, `\w`,
//! `\s` and `\b` mean ASCII; a brace that is no repetition and a bracket within a class are themselves; `\Q...\E` and octal escapes work;
//! set operations in classes, which RE2 does not have, are text. So an error has its place in the pattern as a person wrote it, and says what to
//! do about what RE2 cannot do (look-around, back references).
//!
//! Of the crate's Unicode tables only those of `(?i)`, general categories and scripts are compiled in; those of Perl classes (`\w`), segmentation,
//! ages and other properties are not: RE2 does not have them.
//!
//! Promises: no pattern takes more than [`EXPRESSION_COMPILED_BYTES`], and matching is linear in the text. Nothing panics.
//! Leaves to others: what a match means.

mod anchored;
mod translate;

pub use anchored::{Anchored, beginning};

use crate::base::limits::{EXPRESSION_BYTES, EXPRESSION_CACHE_BYTES, EXPRESSION_COMPILED_BYTES};
use regex::{Regex, RegexBuilder};

/// Why a pattern is none, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("regular expression, character {column}: {what}")]
pub struct ExpressionError {
    /// Where, as a byte offset into the pattern.
    pub at: usize,
    /// Where, in characters, from 1.
    pub column: usize,
    /// What is wrong there and what to do about it.
    pub what: String,
}

impl ExpressionError {
    fn new(pattern: &str, at: usize, what: impl Into<String>) -> Self {
        let before = pattern.get(..at).unwrap_or(pattern);
        ExpressionError { at, column: before.chars().count() + 1, what: what.into() }
    }
}

/// Compiles a pattern that may match anywhere in a text.
pub fn compile(pattern: &str) -> Result<Regex, ExpressionError> {
    build(pattern, "", "")
}

/// Compiles a pattern that has to match a whole text. `.` matches newlines too. This is what Prometheus does for label values.
pub fn compile_anchored(pattern: &str) -> Result<Regex, ExpressionError> {
    build(pattern, "^(?s:", ")$")
}

fn build(pattern: &str, before: &str, after: &str) -> Result<Regex, ExpressionError> {
    if pattern.len() > EXPRESSION_BYTES {
        let what = format!("it is longer than {EXPRESSION_BYTES} bytes: divide it into several");
        return Err(ExpressionError::new(pattern, 0, what));
    }
    let text = format!("{before}{}{after}", translate::translate(pattern)?);
    RegexBuilder::new(&text)
        .size_limit(EXPRESSION_COMPILED_BYTES)
        .dfa_size_limit(EXPRESSION_CACHE_BYTES)
        .build()
        .map_err(|error| explain(pattern, &error))
}

/// What [`translate`](translate::translate) did not find: the size, and Unicode classes that do not exist.
fn explain(pattern: &str, error: &regex::Error) -> ExpressionError {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            let at = pattern.rfind('{').unwrap_or(0);
            let what = format!(
                "it needs more than {} KiB when compiled: use smaller counts in repetitions ({{1,1000}}), or + and *",
                limit / 1024
            );
            ExpressionError::new(pattern, at, what)
        }
        other => {
            let at = pattern.find("\\p").or_else(|| pattern.find("\\P")).unwrap_or(0);
            // The crate shows the pattern as it was rewritten; its last line says what is wrong.
            let text = other.to_string();
            let last = text.lines().last().unwrap_or("it is not valid");
            ExpressionError::new(pattern, at, last.trim_start_matches("error: "))
        }
    }
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
