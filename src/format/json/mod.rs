//! Values of JSON lines, by JMESPath expressions.
//!
//! Plain paths of all expressions are found in one pass without building anything (`path`). Only other expressions have the line read into
//! a tree (`jmespath`).
//!
//! Promises: the meaning is that of Promtail's `json` stage. A line is an object (or `null`, which has nothing in it); the whole line is
//! checked, so that what is malformed does not depend on what is asked for; of equal keys the last one counts; strings without escapes are
//! borrowed from the line; numbers are 64-bit floats, printed as Go's `strconv.FormatFloat(f, 'f', -1, 64)`; objects and arrays are
//! compact JSON as Go's `encoding/json` writes it. With plain paths alone nothing is allocated for a line in the steady state.
//! Leaves to others: what is done with values and with lines that are malformed.

mod jmespath;
#[cfg(test)]
mod oracle;
mod path;
pub(in crate::format) mod scan;
pub(in crate::format) mod text;

pub(in crate::format) use path::scalar;
pub use text::{Work, write_string as quote};

use crate::model::value::Value;

/// Why a line is not a JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object: {what} at byte {at}")]
pub struct Malformed {
    /// Where, bytes from the beginning of the line.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Why an expression is not JMESPath.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wrong JMESPath expression `{expression}`, character {at}: {what}")]
pub struct CompileError {
    /// Which one of those that were given, from 0.
    pub index: usize,
    /// The expression.
    pub expression: String,
    /// Where, characters from 1.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// What to do, if that can be guessed.
    pub hint: Option<&'static str>,
}

/// Compiled expressions.
///
/// ```
/// use lugger::format::json::{Expressions, Work};
/// let expressions = Expressions::compile(&["level", "http.status"]).unwrap();
/// let (mut work, mut scratch, mut found) = (Work::default(), String::new(), [None; 2]);
/// let line = r#"{"level":"info","http":{"status":200}}"#;
/// expressions.find(line, &mut work, &mut scratch, &mut found).unwrap();
/// assert_eq!(found[1].unwrap().of(line, &scratch), "200");
/// ```
#[derive(Debug)]
pub struct Expressions {
    paths: path::Paths,
    others: Vec<(usize, jmespath::Expression)>,
    len: usize,
}

impl Expressions {
    /// Compiles expressions. An expression's place among them is its place among the results.
    pub fn compile<S: AsRef<str>>(expressions: &[S]) -> Result<Self, CompileError> {
        let mut compiled = Expressions { paths: path::Paths::new(), others: Vec::new(), len: expressions.len() };
        for (index, expression) in expressions.iter().enumerate() {
            let text = expression.as_ref();
            if let Some(steps) = path::parse(text) {
                compiled.paths.add(&steps, index);
                continue;
            }
            match jmespath::Expression::compile(text) {
                Ok(other) => compiled.others.push((index, other)),
                Err(wrong) => return Err(error(index, text, wrong)),
            }
        }
        Ok(compiled)
    }

    /// How many expressions there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether all are plain paths, which cost no tree.
    pub fn is_plain(&self) -> bool {
        self.others.is_empty()
    }

    /// Finds the value of each expression; `out` has a place for each, in their order. What a path leads to is `null` is a value of the kind
    /// [`Null`](crate::model::value::Kind::Null); what is not there is `None`. An expression that is not a plain path gives null for both,
    /// and `None` if it cannot be applied. If the line is malformed all are `None`.
    pub fn find(
        &self,
        line: &str,
        work: &mut Work,
        scratch: &mut String,
        out: &mut [Option<Value>],
    ) -> Result<(), Malformed> {
        out.fill(None);
        let mut result = self.paths.find(line, work, scratch, out);
        if result.is_ok() && !self.others.is_empty() {
            result = jmespath::tree(line).map(|tree| {
                for (index, expression) in &self.others {
                    if let Some(place) = out.get_mut(*index) {
                        *place = expression.find(&tree, scratch);
                    }
                }
            });
        }
        if result.is_err() {
            out.fill(None);
        }
        result
    }
}

fn error(index: usize, expression: &str, wrong: jmespath::Wrong) -> CompileError {
    let at = expression.char_indices().take_while(|(at, _)| *at < wrong.at).count() + 1;
    let looks_like_a_name = expression.chars().all(|c| c.is_alphanumeric() || "_-./@:$ ".contains(c));
    let is_name = looks_like_a_name && !expression.trim().is_empty();
    let hint = is_name.then_some(
        "a name with other characters than letters, digits and _ goes in double quotes inside of single ones: '\"a-b\"'",
    );
    CompileError { index, expression: expression.to_owned(), at, what: wrong.what, hint }
}

#[cfg(test)]
mod find_tests;
