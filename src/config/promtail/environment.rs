//! `${NAME}` in a Promtail file, as Promtail's `-config.expand-env` puts it in; here it always holds.
//!
//! `${NAME}` is the variable's text, nothing if it is not set (with a warning: a native file would not be taken). `${NAME:-default}` and `:=` are the
//! default when it is unset or empty, `${NAME-default}` and `=` when it is unset. `$${` is a literal `${`.
//!
//! Many a file was never expanded, and has groups of expressions in this form. So `${1}` always stays as it is, and in values that are expressions,
//! replacements and templates everything does that is not a variable with a value or a default.
//!
//! Promises: it runs after the YAML is parsed, so that no variable brings in structure; what a native file would have to say is kept beside
//! the value. Leaves to others: which variables there are.

use crate::config::check::Check;
use crate::config::env::Lookup;
use crate::config::tree::{Node, Scalar, Value};

/// Keys whose values are read by something that knows `${…}` itself.
const PROGRAMS: [&str; 9] = [
    "expression",
    "firstline",
    "regex",
    "replace",
    "replacement",
    "selector",
    "target_label",
    "template",
    "expressions",
];

/// Puts variables in, in every scalar below `node`.
pub(super) fn substitute(node: &mut Node, env: &Lookup<'_>, check: &mut Check<'_>) {
    walk(node, false, env, check);
}

fn walk(node: &mut Node, is_program: bool, env: &Lookup<'_>, check: &mut Check<'_>) {
    let span = node.span;
    match &mut node.value {
        Value::Scalar(scalar) => {
            if is_program && has_doubled_backslashes(&scalar.text) {
                check.warn(
                    span,
                    "two backslashes are one that is meant literally, and then a letter",
                    "if this file was written for Promtail's -config.expand-env, which makes one of two: write one",
                );
            }
            if !scalar.text.contains("${") {
                return;
            }
            let expanded = expand(&scalar.text, is_program, env);
            for name in &expanded.unset {
                check.warn(
                    span,
                    format!("the environment variable {name} is not set: there is nothing in its place"),
                    format!("set it, or write ${{{name}:-default}}"),
                );
            }
            if expanded.is_bad {
                // Without the text: it may be a part of a password.
                check.error(
                    span,
                    "this is not a reference to an environment variable that lugger understands",
                    "write ${NAME} or ${NAME:-default}; `$${` stands for the two characters themselves",
                );
            }
            *scalar = Scalar { text: expanded.text, plain: scalar.plain, written: Some(expanded.native) };
        }
        Value::List(items) => items.iter_mut().for_each(|item| walk(item, is_program, env, check)),
        Value::Map(entries) => {
            for entry in entries {
                let is_program = is_program || PROGRAMS.contains(&entry.key.as_str());
                walk(&mut entry.value, is_program, env, check);
            }
        }
    }
}

/// `\\d+` and the like, which hardly anybody means.
fn has_doubled_backslashes(text: &str) -> bool {
    text.match_indices("\\\\").any(|(at, _)| {
        let mut after = text.get(at + 2..).unwrap_or("").chars();
        after.next().is_some_and(|c| matches!(c, 'd' | 'D' | 'w' | 'W' | 's' | 'S'))
            && after.next().is_some_and(|c| matches!(c, '+' | '*' | '{' | '?'))
    })
}

#[derive(Debug, Default, PartialEq)]
struct Expanded {
    text: String,
    /// What a native file has to say.
    native: String,
    /// Names of variables that are not set and have no default.
    unset: Vec<String>,
    /// There is a reference that is none.
    is_bad: bool,
}

impl Expanded {
    fn literal(&mut self, text: &str) {
        self.text.push_str(text);
        self.native.push_str(&text.replace("${", "$${"));
    }
}

fn expand(text: &str, is_program: bool, env: &Lookup<'_>) -> Expanded {
    let mut out = Expanded::default();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let inner = from.get(2..).unwrap_or("");
        if let Some(before) = before.strip_suffix('$') {
            out.literal(before);
            out.literal("${");
            rest = inner;
            continue;
        }
        out.literal(before);
        let Some((reference, tail)) = inner.split_once('}') else {
            out.is_bad |= !is_program;
            out.literal(from);
            return out;
        };
        let written = format!("${{{reference}}}");
        let name_len = reference.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(reference.len());
        let (name, operator) = reference.split_at(name_len);
        let is_group = !name.is_empty() && operator.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
        let default =
            [":-", ":=", "-", "="].iter().find_map(|sign| operator.strip_prefix(sign).map(|text| (*sign, text)));
        let is_reference = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && (operator.is_empty() || default.is_some());
        match (env(name).filter(|_| is_reference), default) {
            _ if is_group => out.literal(&written),
            _ if !is_reference => {
                out.is_bad |= !is_program;
                out.literal(&written);
            }
            (Some(value), None) => {
                out.text.push_str(&value);
                out.native.push_str(&written);
            }
            (Some(value), Some((sign, _))) if !value.is_empty() || !sign.starts_with(':') => {
                out.text.push_str(&value);
                out.native.push_str(&native_default(name, default));
            }
            (_, Some((_, text))) => {
                out.text.push_str(text);
                out.native.push_str(&native_default(name, default));
            }
            (None, None) if is_program => out.literal(&written),
            (None, None) => {
                out.unset.push(name.to_owned());
                out.native.push_str(&format!("${{{name}:-}}"));
            }
        }
        rest = tail;
    }
    out.literal(rest);
    out
}

fn native_default(name: &str, default: Option<(&str, &str)>) -> String {
    format!("${{{name}:-{}}}", default.map_or("", |(_, text)| text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_defaults_groups_and_escapes() {
        for (text, expected, native) in [
            ("x${A}y", "x1y", "x${A}y"),
            ("${NONE:-d e}", "d e", "${NONE:-d e}"),
            ("${EMPTY:-d}${EMPTY-d}", "d", "${EMPTY:-d}${EMPTY:-d}"),
            ("${NONE:=d}${A:=d}", "d1", "${NONE:-d}${A:-d}"),
            ("$${A} $1 ${1} $", "${A} $1 ${1} $", "$${A} $1 $${1} $"),
        ] {
            let expanded = expand(text, false, &env);
            assert_eq!((expanded.text.as_str(), expanded.native.as_str()), (expected, native), "{text}");
            assert_eq!((expanded.unset.len(), expanded.is_bad), (0, false), "{text}");
        }
    }

    #[test]
    fn doubled_backslashes_are_told_from_literal_ones() {
        for (text, expected) in
            [(r"^\\d+$", true), (r"(\\S{2})", true), (r"^\d+$", false), (r"C:\\dir\\sub", false), ("x", false)]
        {
            assert_eq!(has_doubled_backslashes(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_unset_or_no_reference() {
        let expanded = expand("a${NONE}b", false, &env);
        assert_eq!((expanded.text.as_str(), expanded.native.as_str()), ("ab", "a${NONE:-}b"));
        assert_eq!(expanded.unset, ["NONE"]);
        // In an expression or template it is left to those who read it.
        let expanded = expand("${group}-${A}-${", true, &env);
        assert_eq!((expanded.text.as_str(), expanded.native.as_str()), ("${group}-1-${", "$${group}-${A}-$${"));
        assert_eq!((expanded.unset.len(), expanded.is_bad), (0, false));
        for bad in ["${A^^}", "${A:5}", "${}", "${A:?x}", "${A"] {
            assert!(expand(bad, false, &env).is_bad, "{bad}");
            assert_eq!(expand(bad, true, &env).text, bad);
        }
    }
}
