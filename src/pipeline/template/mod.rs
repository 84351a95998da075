//! Go's text/template, as far as pipelines of stages need it: literals, keys, variables, `if`, `with`, `range`, Promtail's functions and
//! the common ones of sprig.
//!
//! A template is compiled once: names of keys become slots, names of functions become functions, a pipe becomes a nested call, patterns
//! become regular expressions. What is not known is an error then, with its name and place. Rendering walks the tree. Text is borrowed from
//! the line and from the template as long as it can be; functions that make new text take their buffers from a [`Scratch`] and
//! give them back, so that keys, literals and functions of strings allocate nothing in the steady state.
//!
//! Why not a crate: those for Go templates want each line's keys as a map of owned values, allocate for every step, learn of unknown
//! functions only while they render, and would still need every function of sprig from us.
//!
//! Promises: results are those of Go and sprig for what compiles, byte by byte, except where `functions` says otherwise; no template and
//! no line can make rendering panic, take endless time or unbounded memory. Leaves to others: what a slot holds, what becomes of the text.

mod eval;
mod functions;
mod json;
mod lex;
mod lists;
mod math;
mod parse;
mod paths;
mod printf;
mod strings;
mod value;
mod words;

#[cfg(test)]
mod function_tests;
#[cfg(test)]
mod syntax_tests;

use crate::base::limits::TEMPLATE_BYTES;

/// Where a key's value lies: the number that the pipeline gave to its name.
pub type Slot = u32;

/// The values of one line.
pub trait Lookup {
    /// The text in a slot; `None` if the line has no such key.
    fn get(&self, slot: Slot) -> Option<&str>;

    /// The present time, nanoseconds since 1970. Asked only by templates that call `now` or format a time without giving one.
    fn now_ns(&self) -> i64;
}

/// Buffers that rendering uses again. One a thread; empty at first.
#[derive(Debug, Default)]
pub struct Scratch {
    spare: Vec<String>,
}

/// A template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column} of the template: {problem}")]
pub struct CompileError {
    /// Line of the template, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A function that is not known, or not supported.
    #[error("the function `{0}` is not supported; {remedy}", remedy = functions::remedy(.0))]
    Function(String),
    /// `define`, `template`, `block`.
    #[error("`{0}` is not supported: there is one template only; write its text in place")]
    Action(String),
    /// The number of arguments, with the piped one.
    #[error("`{name}` takes {wanted} but is given {given}")]
    Arguments {
        /// The function.
        name: String,
        /// How many arguments it takes.
        wanted: String,
        /// How many there are.
        given: usize,
    },
    /// A variable that nobody set.
    #[error("the variable `${0}` is not set before; write {{{{ ${0} := … }}}}")]
    Variable(String),
    /// The whole set of keys, used as a value.
    #[error(
        "the set of all keys (`{0}`) cannot be used as a value; name a key, as in .Value, or write index . \"name\""
    )]
    Everything(&'static str),
    /// A pattern that is not known before there is a line.
    #[error("the pattern of `{0}` has to be a text in quotes, so that it can be compiled once")]
    Pattern(String),
    /// A pattern that is none.
    #[error("the pattern is not usable: {0}")]
    Regex(String),
    /// Anything else that does not follow the grammar.
    #[error("{0}")]
    Syntax(String),
    /// Larger or deeper than any template that a person writes.
    #[error("{0}")]
    TooLarge(&'static str),
}

/// A line cannot be rendered. As in Promtail, the stage then leaves the line as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A value is not what a function takes; often the key is missing.
    #[error("`{function}` wants {wanted} and is given {given}")]
    Argument {
        /// The function.
        function: &'static str,
        /// The type it takes.
        wanted: &'static str,
        /// The type it got.
        given: &'static str,
    },
    /// A function cannot do what it is asked.
    #[error("`{function}`: {reason}")]
    Failed {
        /// The function.
        function: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A field of something that has none.
    #[error("a field is asked of {0}, which has none")]
    Field(&'static str),
    /// `range` over something that is no list.
    #[error("range cannot go over {0}")]
    Range(&'static str),
    /// The result, or a part on the way, is too large.
    #[error("the text becomes larger than {0} bytes")]
    TooLarge(usize),
    /// Too many steps, elements, or lists inside each other.
    #[error("the template does too much for one line")]
    TooMuch,
}

/// A compiled template.
#[derive(Debug, Clone)]
pub struct Template {
    nodes: Vec<parse::Node>,
    variables: usize,
}

impl Template {
    /// Compiles a template. `slot_of` gives each key that it names a slot: `Value` and `Entry` too, for what they are is the stage's
    /// affair. It is asked in the order of the text, and once for each place.
    ///
    /// # Errors
    /// The first problem, with its place.
    pub fn compile(text: &str, slot_of: &mut dyn FnMut(&str) -> Slot) -> Result<Template, CompileError> {
        if text.len() > TEMPLATE_BYTES {
            return Err(CompileError { line: 1, column: 1, problem: Problem::TooLarge("the template is too long") });
        }
        let (nodes, variables) = parse::parse(text, slot_of).map_err(|fault| fault.placed(text))?;
        Ok(Template { nodes, variables })
    }

    /// Appends the text for a line.
    ///
    /// # Errors
    /// When a function cannot do its work. `out` is then as it was.
    pub fn render(&self, lookup: &dyn Lookup, scratch: &mut Scratch, out: &mut String) -> Result<(), RenderError> {
        let before = out.len();
        let result = eval::render(&self.nodes, self.variables, lookup, &mut scratch.spare, out);
        if result.is_err() {
            out.truncate(before);
        }
        result
    }
}
