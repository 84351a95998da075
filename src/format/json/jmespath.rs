//! Everything of JMESPath that is not a plain path: filters, projections, functions, pipes. For these a tree of the line is built.
//!
//! Promises: an expression that is wrong, or calls a function that does not exist or takes another number of arguments, is an error with its
//! place when it is compiled, not with each line; numbers are 64-bit floats and the result is text, as in Go. Leaves to others: plain paths,
//! and lines that are not JSON: it gets only what was found good.

use super::Malformed;
use super::scan::Scanner;
use super::text::{unescape, write_float, write_string};
use crate::base::limits::JSON_EXPRESSION_BYTES;
use crate::model::value::{Kind, Value};
use jmespath::ast::Ast;
use jmespath::{Context, DEFAULT_RUNTIME, ErrorReason, Rcvar, Variable};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Largest step of a slice, either way: more than any line has elements.
const SLICE_STEP: i32 = 1 << 24;

/// The functions and the numbers of arguments that they take.
const FUNCTIONS: [(&str, usize, usize); 26] = [
    ("abs", 1, 1),
    ("avg", 1, 1),
    ("ceil", 1, 1),
    ("contains", 2, 2),
    ("ends_with", 2, 2),
    ("floor", 1, 1),
    ("join", 2, 2),
    ("keys", 1, 1),
    ("length", 1, 1),
    ("map", 2, 2),
    ("max", 1, 1),
    ("max_by", 2, 2),
    ("merge", 1, usize::MAX),
    ("min", 1, 1),
    ("min_by", 2, 2),
    ("not_null", 1, usize::MAX),
    ("reverse", 1, 1),
    ("sort", 1, 1),
    ("sort_by", 2, 2),
    ("starts_with", 2, 2),
    ("sum", 1, 1),
    ("to_array", 1, 1),
    ("to_number", 1, 1),
    ("to_string", 1, 1),
    ("type", 1, 1),
    ("values", 1, 1),
];

/// What is wrong with an expression, and where, bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub at: usize,
    pub what: String,
}

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Expression {
    text: String,
    ast: Ast,
}

impl Expression {
    pub fn compile(text: &str) -> Result<Self, Wrong> {
        if text.len() > JSON_EXPRESSION_BYTES {
            return Err(Wrong {
                at: JSON_EXPRESSION_BYTES,
                what: format!("it is longer than {JSON_EXPRESSION_BYTES} bytes"),
            });
        }
        if text.trim().is_empty() {
            return Err(Wrong { at: 0, what: "it is empty".to_owned() });
        }
        let ast = jmespath::parse(text).map_err(|error| {
            let what = match error.reason {
                ErrorReason::Parse(what) => what,
                ErrorReason::Runtime(error) => error.to_string(),
            };
            Wrong { at: error.offset, what: what.lines().next().unwrap_or_default().to_owned() }
        })?;
        check(&ast)?;
        Ok(Expression { text: text.to_owned(), ast })
    }

    /// The result for a line that was read into a tree. `None` if the expression cannot be applied to it, as when a function gets another type.
    pub fn find(&self, tree: &Rcvar, scratch: &mut String) -> Option<Value> {
        let mut context = Context::new(&self.text, &DEFAULT_RUNTIME);
        let result = jmespath::interpret(tree, &self.ast, &mut context).ok()?;
        let start = scratch.len();
        let kind = match &*result {
            Variable::Null => Kind::Null,
            Variable::String(text) => {
                scratch.push_str(text);
                Kind::Text
            }
            Variable::Bool(value) => {
                scratch.push_str(if *value { "true" } else { "false" });
                Kind::Bool
            }
            Variable::Number(number) => {
                let _ = write!(scratch, "{}", number.as_f64()?);
                Kind::Number
            }
            Variable::Array(_) | Variable::Object(_) => {
                write(&result, scratch);
                Kind::Text
            }
            Variable::Expref(_) => return None,
        };
        Some(Value::in_scratch(start..scratch.len()).with_kind(kind))
    }
}

/// What the parser lets through and only evaluation would find, or stumble over.
fn check(ast: &Ast) -> Result<(), Wrong> {
    match ast {
        Ast::Comparison { lhs, rhs, .. }
        | Ast::Projection { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. }
        | Ast::Subexpr { lhs, rhs, .. }
        | Ast::Condition { predicate: lhs, then: rhs, .. } => {
            check(lhs)?;
            check(rhs)
        }
        Ast::Expref { ast: node, .. }
        | Ast::Flatten { node, .. }
        | Ast::Not { node, .. }
        | Ast::ObjectValues { node, .. } => check(node),
        Ast::MultiList { elements, .. } => elements.iter().try_for_each(check),
        Ast::MultiHash { elements, .. } => elements.iter().try_for_each(|pair| check(&pair.value)),
        Ast::Slice { step, offset, .. } if *step == 0 || step.unsigned_abs() > SLICE_STEP.unsigned_abs() => {
            Err(Wrong { at: *offset, what: format!("the step of a slice is {step}") })
        }
        Ast::Function { name, args, offset } => {
            let Some((_, least, most)) = FUNCTIONS.iter().find(|(known, ..)| known == name) else {
                return Err(Wrong { at: *offset, what: format!("there is no function {name}") });
            };
            if !(*least..=*most).contains(&args.len()) {
                let wanted = if least == most { least.to_string() } else { format!("{least} or more") };
                return Err(Wrong {
                    at: *offset,
                    what: format!("{name} takes {wanted} arguments, not {}", args.len()),
                });
            }
            args.iter().try_for_each(check)
        }
        Ast::Identity { .. } | Ast::Field { .. } | Ast::Index { .. } | Ast::Literal { .. } | Ast::Slice { .. } => {
            Ok(())
        }
    }
}

/// The tree of a line that was found good.
pub(super) fn tree(line: &str) -> Result<Rcvar, Malformed> {
    let mut text = String::new();
    read(&mut Scanner::new(line), line, &mut text).map(Rcvar::new)
}

/// The value here. It recurses at most [`crate::base::limits::JSON_DEPTH`] deep.
fn read(scanner: &mut Scanner, line: &str, text: &mut String) -> Result<Variable, Malformed> {
    Ok(match scanner.next() {
        b'"' => Variable::String(owned(scanner, line, text)?),
        b'{' => {
            let mut members = BTreeMap::new();
            let mut more = scanner.open(b'}')?;
            while more {
                let key = scanner.key()?;
                text.clear();
                unescape(line.get(key.range).unwrap_or_default(), false, text);
                let key = text.clone();
                members.insert(key, Rcvar::new(read(scanner, line, text)?));
                more = scanner.another(b'}')?;
            }
            Variable::Object(members)
        }
        b'[' => {
            let mut elements = Vec::new();
            let mut more = scanner.open(b']')?;
            while more {
                elements.push(Rcvar::new(read(scanner, line, text)?));
                more = scanner.another(b']')?;
            }
            Variable::Array(elements)
        }
        b't' => scanner.word("true").map(|_| Variable::Bool(true))?,
        b'f' => scanner.word("false").map(|_| Variable::Bool(false))?,
        b'n' => scanner.word("null").map(|_| Variable::Null)?,
        _ => {
            let number = scanner.number()?;
            let text = line.get(number.range).unwrap_or_default();
            let float = text.parse().ok().and_then(serde_json::Number::from_f64);
            Variable::Number(float.unwrap_or_else(|| 0.into()))
        }
    })
}

fn owned(scanner: &mut Scanner, line: &str, text: &mut String) -> Result<String, Malformed> {
    let quoted = scanner.string()?;
    text.clear();
    unescape(line.get(quoted.range).unwrap_or_default(), false, text);
    Ok(text.clone())
}

/// Writes a result as Go's `encoding/json` does.
fn write(value: &Variable, to: &mut String) {
    match value {
        Variable::Null | Variable::Expref(_) => to.push_str("null"),
        Variable::String(text) => write_string(text, to),
        Variable::Bool(value) => to.push_str(if *value { "true" } else { "false" }),
        Variable::Number(number) => write_float(number.as_f64().unwrap_or(0.0), to),
        Variable::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                to.push(if index == 0 { '[' } else { ',' });
                write(element, to);
            }
            to.push_str(if elements.is_empty() { "[]" } else { "]" });
        }
        Variable::Object(members) => {
            for (index, (key, member)) in members.iter().enumerate() {
                to.push(if index == 0 { '{' } else { ',' });
                write_string(key, to);
                to.push(':');
                write(member, to);
            }
            to.push_str(if members.is_empty() { "{}" } else { "}" });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(expression: &str, line: &str) -> Option<(Kind, String)> {
        let mut scratch = String::new();
        let value = Expression::compile(expression).unwrap().find(&tree(line).unwrap(), &mut scratch)?;
        Some((value.kind(), value.of(line, &scratch).to_owned()))
    }

    #[test]
    fn results() {
        let line = r#"{"a":[{"n":"x","v":1},{"n":"y","v":2.50},{"n":"z<","v":1e21}],"o":{"b":true,"a":null},"s":"1.5","e":"\ud800"}"#;
        for (expression, want) in [
            ("a[-1].n", (Kind::Text, "z<")),
            ("a[*].n", (Kind::Text, r#"["x","y","z\u003c"]"#)),
            ("a[?v == `1`].n | [0]", (Kind::Text, "x")),
            ("a[?v > `1`].v", (Kind::Text, "[2.5,1e+21]")),
            ("a[?n == 'y'].v | [0]", (Kind::Number, "2.5")),
            ("length(a)", (Kind::Number, "3")),
            ("max(a[*].v)", (Kind::Number, "1000000000000000000000")),
            ("[s, o.b]", (Kind::Text, r#"["1.5",true]"#)),
            ("{z: s, a: o}", (Kind::Text, r#"{"a":{"a":null,"b":true},"z":"1.5"}"#)),
            ("o.b && s", (Kind::Text, "1.5")),
            ("!(o.b)", (Kind::Bool, "false")),
            ("o.*", (Kind::Text, "[true]")),
            ("to_number(s)", (Kind::Number, "1.5")),
            ("a[0:3:2].n", (Kind::Text, r#"["x","z\u003c"]"#)),
            ("a[5] || 'none'", (Kind::Text, "none")),
            ("sort_by(a, &n)[0].n", (Kind::Text, "x")),
            ("a[?n=='q']", (Kind::Text, "[]")),
            ("@.nothing", (Kind::Null, "")),
            ("e", (Kind::Text, "\u{fffd}")),
        ] {
            assert_eq!(found(expression, line), Some((want.0, want.1.to_owned())), "{expression}");
        }
        assert_eq!(found("abs(s)", line), None, "a function that gets another type");
        assert_eq!(found("&s", line), None);
    }

    #[test]
    fn errors_tell_where() {
        for (expression, at, what) in [
            ("", 0, "empty"),
            ("a..b", 2, ""),
            ("a[", 2, ""),
            ("a-b", 1, ""),
            ("a.b.nope(c)", 8, "there is no function nope"),
            ("a | length()", 10, "length takes 1 arguments, not 0"),
            ("[merge()]", 6, "merge takes 1 or more"),
            ("a[::0]", 0, ""),
            ("a[::2147483647]", 0, "step"),
            ("`{`", 0, ""),
        ] {
            let error = Expression::compile(expression).unwrap_err();
            assert!(error.what.contains(what), "{expression}: {error:?}");
            assert!(at == 0 || error.at == at, "{expression}: {error:?}");
        }
    }

    /// On half of the stack that threads have.
    #[test]
    fn the_longest_expressions_are_no_danger() {
        let all = || {
            for part in ["(", "!", "a.", "a|", "a[", "[[", "{a:", "abs(", "a||", "[*]", "[]", "a=="] {
                let text = part.repeat(JSON_EXPRESSION_BYTES / part.len());
                for text in [text.as_str(), text.trim_end_matches(['.', '|', '='])] {
                    if let Ok(expression) = Expression::compile(text) {
                        expression.find(&tree("{\"a\":[1]}").unwrap(), &mut String::new());
                    }
                }
            }
        };
        std::thread::Builder::new().stack_size(1024 * 1024).spawn(all).unwrap().join().unwrap();
        assert!(Expression::compile(&"a".repeat(JSON_EXPRESSION_BYTES + 1)).is_err());
    }
}
