//! Why stages cannot be compiled, and where in their list.
//!
//! Promises: the place is a path through the stages as they are written, so that the configuration can show line and column. Leaves to
//! others: the text's place.

use super::redact::RedactError;
use super::template;
use crate::base::expression::ExpressionError;
use crate::format::json;
use crate::format::logql::SelectorError;
use crate::format::time::LayoutError;
use crate::model::labels::LabelError;
use std::fmt;

/// A step into a list or map of the stages as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// An element of a list, from 0.
    Index(usize),
    /// A value of a map.
    Key(String),
}

/// A list of stages cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}{}", Path(.path), Help(.help.as_deref()))]
pub struct CompileError {
    /// From the list of stages: `[1].match.stages[0].json.expressions.level`. A path may lead further than what is written; then its
    /// longest part that is written is meant.
    pub path: Vec<Step>,
    /// What is wrong.
    pub problem: String,
    /// What to do, if that is known.
    pub help: Option<String>,
}

struct Help<'a>(Option<&'a str>);

impl fmt::Display for Help<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |help| write!(f, ": {help}"))
    }
}

/// What is wrong with a stage, and what to do.
pub(super) struct Problem {
    pub(super) what: String,
    pub(super) help: Option<String>,
}

impl Problem {
    /// From a text of ours whose remedy stands at its end, if it has one. `place`: where it is, which comes before all.
    fn of(place: &str, text: &str) -> Self {
        let (what, help) = parted(text);
        Problem { what: format!("{place}{what}"), help: help.map(str::to_owned) }
    }
}

impl From<(&str, &str)> for Problem {
    fn from((what, help): (&str, &str)) -> Self {
        Problem { what: what.to_owned(), help: Some(help.to_owned()) }
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Self {
        Problem::of("", text)
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Problem::of("", &text)
    }
}

impl From<ExpressionError> for Problem {
    fn from(error: ExpressionError) -> Self {
        Problem::of(&format!("regular expression, character {}: ", error.column), &error.what)
    }
}

impl From<SelectorError> for Problem {
    fn from(error: SelectorError) -> Self {
        Problem::of(&format!("selector, character {}: ", error.column), &error.what)
    }
}

impl From<json::CompileError> for Problem {
    fn from(error: json::CompileError) -> Self {
        let json::CompileError { expression, at, what, hint, .. } = error;
        let what = format!("wrong JMESPath expression `{expression}`, character {at}: {what}");
        Problem { what, help: hint.map(str::to_owned) }
    }
}

impl From<template::CompileError> for Problem {
    fn from(error: template::CompileError) -> Self {
        let template::CompileError { line, column, problem } = error;
        Problem::of(&format!("line {line}, column {column} of the template: "), &problem.to_string())
    }
}

impl From<LayoutError> for Problem {
    fn from(error: LayoutError) -> Self {
        Problem::of("", &error.to_string())
    }
}

impl From<LabelError> for Problem {
    fn from(error: LabelError) -> Self {
        Problem::of("", &error.to_string())
    }
}

impl From<RedactError> for Problem {
    fn from(error: RedactError) -> Self {
        Problem::of("", &error.to_string())
    }
}

/// Divides a text behind its last semicolon, or else its last colon, that stands in no quotes and parentheses. What is before it may be a place,
/// which is no problem by itself; then it stays whole.
fn parted(text: &str) -> (&str, Option<&str>) {
    let at = |sign: &str| {
        let (mut quote, mut depth, mut found) = (None, 0usize, None);
        for (at, c) in text.char_indices() {
            match (quote, c) {
                (Some(open), c) if open == c => quote = None,
                (Some(_), _) => {}
                (None, '"' | '`') => quote = Some(c),
                (None, '(') => depth += 1,
                (None, ')') => depth = depth.saturating_sub(1),
                (None, _) if depth == 0 && text.get(at..).is_some_and(|rest| rest.starts_with(sign)) => {
                    found = Some(at)
                }
                _ => {}
            }
        }
        found
    };
    let Some(at) = at("; ").or_else(|| at(": ")) else { return (text, None) };
    let (what, help) = (text.get(..at).unwrap_or(text), text.get(at + 2..));
    let is_place = what.trim_end_matches(|c: char| c.is_ascii_digit()).ends_with("character ");
    if is_place { (text, None) } else { (what, help) }
}

struct Path<'a>(&'a [Step]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stages")?;
        for step in self.0 {
            match step {
                Step::Index(at) => write!(f, "[{at}]")?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_where() {
        let key = |text: &str| Step::Key(text.to_owned());
        let path = vec![Step::Index(1), key("match"), key("stages"), Step::Index(0), key("json")];
        let error = CompileError { path, problem: "it is wrong".to_owned(), help: None };
        assert_eq!(error.to_string(), "stages[1].match.stages[0].json: it is wrong");
        let error = CompileError { help: Some("correct it".to_owned()), ..error };
        assert_eq!(error.to_string(), "stages[1].match.stages[0].json: it is wrong: correct it");
    }

    #[test]
    fn remedies_are_divided_from_problems() {
        for (text, what, help) in [
            ("a is not possible: use b", "a is not possible", Some("use b")),
            ("no: there is one; write it", "no: there is one", Some("write it")),
            ("the format `a; b: c` is none", "the format `a; b: c` is none", None),
            ("there should be , (a, b: c)", "there should be , (a, b: c)", None),
            ("regular expression, character 12: it ends", "regular expression, character 12: it ends", None),
            ("regular expression, character 12: no a: use b", "regular expression, character 12: no a", Some("use b")),
        ] {
            assert_eq!(parted(text), (what, help), "{text}");
        }
    }
}
