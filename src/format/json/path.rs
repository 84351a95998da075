//! Plain paths (`a`, `a.b.c`, `a[0].b`, `"x-y".z`), many at once: one pass over a line, passing over what nobody asked for.
//!
//! The paths of all expressions are joined to one tree of names when the configuration loads. The walk follows line and tree together, so
//! that a name is compared with the few that matter where it stands.
//!
//! Promises: the whole line is checked, also behind the last value that is wanted, so that the answer is the same whatever is asked for;
//! of equal keys the last one counts, with all below it; an allocation only while buffers grow. Leaves to others: any other expression.

use super::Malformed;
use super::scan::{Quoted, Scanner};
use super::text::{self, Work};
use crate::base::limits::JSON_DEPTH;
use crate::model::value::{Kind, Value};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Into an object.
    Key(String),
    /// Into an array.
    Index(usize),
}

/// Digits of an index at most. No line has more elements.
const INDEX_DIGITS: usize = 9;

/// The steps of a plain path; `None` for anything else, right or wrong.
pub(super) fn parse(expression: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = expression.trim_ascii_start();
    loop {
        // A name.
        let (name, after) = match rest.as_bytes().first()? {
            b'"' => {
                let mut scanner = Scanner::new(rest);
                let quoted = scanner.string().ok()?;
                let mut name = String::new();
                if !text::unescape(rest.get(quoted.range)?, false, &mut name) {
                    return None;
                }
                (name, rest.get(scanner.at()..)?)
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                (rest.get(..end)?.to_owned(), rest.get(end..)?)
            }
            _ => return None,
        };
        steps.push(Step::Key(name));
        rest = after.trim_ascii_start();
        // Its indexes.
        while let Some(inside) = rest.strip_prefix('[') {
            let (index, after) = inside.split_once(']')?;
            let index = index.trim_ascii();
            if index.is_empty() || index.len() > INDEX_DIGITS || !index.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            steps.push(Step::Index(index.parse().ok()?));
            rest = after.trim_ascii_start();
        }
        if steps.len() > JSON_DEPTH {
            return None;
        }
        if rest.is_empty() {
            return Some(steps);
        }
        rest = rest.strip_prefix('.')?.trim_ascii_start();
    }
}

/// A place in the tree of all paths.
#[derive(Debug, Default)]
struct Node {
    /// Names that lead on, if it is an object.
    fields: Vec<(Box<str>, usize)>,
    /// Indexes that lead on, if it is an array.
    elements: Vec<(usize, usize)>,
    /// Results that want the value here.
    slots: Vec<usize>,
    /// Results that want values below it.
    below: Vec<usize>,
}

/// The paths of several expressions, ready to be found.
#[derive(Debug)]
pub(super) struct Paths {
    nodes: Vec<Node>,
}

impl Paths {
    /// No paths.
    pub fn new() -> Self {
        Paths { nodes: vec![Node::default()] }
    }

    /// Has the value at the end of `steps` be put into the result `slot`.
    pub fn add(&mut self, steps: &[Step], slot: usize) {
        let mut here = 0;
        for step in steps {
            let fresh = self.nodes.len();
            let Some(node) = self.nodes.get_mut(here) else { return };
            node.below.push(slot);
            let known = match step {
                Step::Key(name) => node.fields.iter().find(|(known, _)| **known == **name).map(|(_, next)| *next),
                Step::Index(index) => node.elements.iter().find(|(known, _)| known == index).map(|(_, next)| *next),
            };
            here = known.unwrap_or_else(|| {
                match step {
                    Step::Key(name) => node.fields.push((name.as_str().into(), fresh)),
                    Step::Index(index) => node.elements.push((*index, fresh)),
                }
                fresh
            });
            if here == fresh {
                self.nodes.push(Node::default());
            }
        }
        if let Some(node) = self.nodes.get_mut(here) {
            node.slots.push(slot);
        }
    }

    /// Puts what is found in `line` into `out`.
    pub fn find(
        &self,
        line: &str,
        work: &mut Work,
        scratch: &mut String,
        out: &mut [Option<Value>],
    ) -> Result<(), Malformed> {
        let mut walk = Walk { nodes: &self.nodes, line, scanner: Scanner::new(line), work, scratch, out };
        match (walk.scanner.next(), self.nodes.first()) {
            (b'{', Some(root)) => walk.object(root)?,
            // Go reads it into an empty map.
            (b'n', _) => {
                walk.scanner.word("null")?;
            }
            _ => return Err(walk.scanner.malformed("expected {")),
        }
        walk.scanner.end()
    }
}

/// One pass over one line.
struct Walk<'a> {
    nodes: &'a [Node],
    line: &'a str,
    scanner: Scanner<'a>,
    work: &'a mut Work,
    scratch: &'a mut String,
    out: &'a mut [Option<Value>],
}

impl<'a> Walk<'a> {
    /// An object that paths lead through, at its brace. It recurses as deep as paths are long.
    fn object(&mut self, node: &'a Node) -> Result<(), Malformed> {
        let mut more = self.scanner.open(b'}')?;
        while more {
            let key = self.scanner.key()?;
            match self.field(node, key) {
                Some(next) => self.value(next)?,
                None => {
                    self.scanner.skip()?;
                }
            }
            more = self.scanner.another(b'}')?;
        }
        Ok(())
    }

    /// An array that paths lead through, at its bracket.
    fn array(&mut self, node: &'a Node) -> Result<(), Malformed> {
        let mut more = self.scanner.open(b']')?;
        let mut index = 0;
        while more {
            match node.elements.iter().find(|(wanted, _)| *wanted == index) {
                Some((_, next)) => self.value(*next)?,
                None => {
                    self.scanner.skip()?;
                }
            }
            index += 1;
            more = self.scanner.another(b']')?;
        }
        Ok(())
    }

    /// Where a key leads.
    #[inline]
    fn field(&mut self, node: &Node, key: Quoted) -> Option<usize> {
        let find = |name: &[u8]| node.fields.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, next)| *next);
        if !key.escaped {
            return find(self.line.as_bytes().get(key.range)?);
        }
        let start = self.scratch.len();
        text::unescape(self.line.get(key.range)?, false, self.scratch);
        let found = find(self.scratch.as_bytes().get(start..)?);
        self.scratch.truncate(start);
        found
    }

    /// A value that somebody wants, or something below it.
    fn value(&mut self, index: usize) -> Result<(), Malformed> {
        let nodes = self.nodes;
        let Some(node) = nodes.get(index) else { return self.scanner.skip().map(drop) };
        // An equal key before this one may have left results.
        self.put(&node.below, None);
        let wanted = !node.slots.is_empty();
        let byte = self.scanner.next();
        let at = self.scanner.at();
        match byte {
            b'{' if !node.fields.is_empty() => self.object(node)?,
            b'[' if !node.elements.is_empty() => self.array(node)?,
            b'{' | b'[' => {
                self.scanner.skip()?;
            }
            _ => {
                let value = scalar(&mut self.scanner, self.line, self.scratch)?;
                self.put(&node.slots, Some(value));
                return Ok(());
            }
        }
        if wanted {
            let value = text::compact(self.line, at, self.work, self.scratch)?;
            self.put(&node.slots, Some(value));
        }
        Ok(())
    }

    fn put(&mut self, slots: &[usize], value: Option<Value>) {
        for slot in slots {
            if let Some(result) = self.out.get_mut(*slot) {
                *result = value;
            }
        }
    }
}

/// A value that is neither an object nor an array, here.
pub(in crate::format) fn scalar(scanner: &mut Scanner, line: &str, scratch: &mut String) -> Result<Value, Malformed> {
    Ok(match scanner.next() {
        b'"' => {
            let quoted = scanner.string()?;
            text::string(line, quoted, scratch)
        }
        b't' => Value::in_line(scanner.word("true")?).with_kind(Kind::Bool),
        b'f' => Value::in_line(scanner.word("false")?).with_kind(Kind::Bool),
        b'n' => {
            let start = scanner.word("null")?.start;
            Value::in_line(start..start).with_kind(Kind::Null)
        }
        _ => {
            let number = scanner.number()?;
            text::number(line, number, scratch)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths() {
        let key = |name: &str| Step::Key(name.to_owned());
        for (expression, want) in [
            ("a", vec![key("a")]),
            ("_a9.B", vec![key("_a9"), key("B")]),
            (" a . b ", vec![key("a"), key("b")]),
            ("a[0][12].b", vec![key("a"), Step::Index(0), Step::Index(12), key("b")]),
            (r#""x-y"."a.b\u00e4\"""#, vec![key("x-y"), key("a.bä\"")]),
            ("a [ 1 ]", vec![key("a"), Step::Index(1)]),
        ] {
            assert_eq!(parse(expression), Some(want), "{expression}");
        }
        for other in [
            "",
            " ",
            "a.",
            ".a",
            "a..b",
            "a-b",
            "9a",
            "a[-1]",
            "a[]",
            "a[*]",
            "a[0",
            "a[0]b",
            "a b",
            "@.a",
            "[0]",
            "\"a",
            "a|b",
            "ä",
            "a[1234567890]",
            "'a'",
            "a[0].[b]",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
        assert_eq!(parse("a.".repeat(200).trim_end_matches('.')), None);
    }
}
