//! Why stages cannot be compiled, and where in their list.
//!
//! Promises: the place is a path through the stages as they are written, so that the configuration can show line and column. Leaves to
//! others: the text's place.

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
#[error("{}: {problem}", Path(.path))]
pub struct CompileError {
    /// From the list of stages: `[1].match.stages[0].json.expressions.level`. A path may lead further than what is written; then its
    /// longest part that is written is meant.
    pub path: Vec<Step>,
    /// What is wrong and what to do.
    pub problem: String,
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
        let error = CompileError { path, problem: "it is wrong".to_owned() };
        assert_eq!(error.to_string(), "stages[1].match.stages[0].json: it is wrong");
    }
}
