//! A configuration in lugger's own form as YAML that a person likes to read.
//!
//! Promises: reading it gives the same values (a property test holds it); variables of the environment are written as variables. Leaves to
//! others: what it says.

use super::native::{Content, Native};
use crate::config::tree::{Entry, Node, Scalar, Value};
use std::fmt::Write;

/// Where comments are broken.
const WIDTH: usize = 100;

/// Prints the whole.
pub(in crate::config) fn print(native: &Native) -> String {
    let mut out = String::new();
    comments(&mut out, &native.comments, 0);
    for section in &native.sections {
        if !out.is_empty() {
            out.push('\n');
        }
        comments(&mut out, &section.comments, 0);
        match &section.content {
            Content::Node(node) => {
                let _ = write!(out, "{}:", key(section.key));
                value(&mut out, node, 0);
            }
            Content::Items(items) => {
                let is_empty = items.iter().all(|item| item.node.is_none());
                let _ = writeln!(out, "{}:{}", key(section.key), if is_empty { " []" } else { "" });
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push('\n');
                    }
                    comments(&mut out, &item.comments, 2);
                    if let Some(node) = &item.node {
                        element(&mut out, node, 2);
                    }
                }
            }
        }
    }
    out
}

/// Comments, a paragraph each.
fn comments(out: &mut String, comments: &[String], indent: usize) {
    for comment in comments {
        let mut width = usize::MAX;
        for word in comment.split_whitespace() {
            if width.saturating_add(word.len() + 1) > WIDTH {
                if width != usize::MAX {
                    out.push('\n');
                }
                let _ = write!(out, "{:indent$}#", "");
                width = indent + 1;
            }
            // What a terminal or an editor would act on has no place in a comment.
            let _ = write!(out, " {}", word.replace(char::is_control, "\u{fffd}"));
            width += word.chars().count() + 1;
        }
        out.push('\n');
    }
}

fn element(out: &mut String, node: &Node, indent: usize) {
    let _ = write!(out, "{:indent$}-", "");
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            for (i, entry) in entries.iter().enumerate() {
                let lead = if i == 0 { 1 } else { indent + 2 };
                pair(out, entry, lead, indent + 2);
            }
        }
        _ => value(out, node, indent),
    }
}

fn pair(out: &mut String, entry: &Entry, lead: usize, indent: usize) {
    let _ = write!(out, "{:lead$}{}:", "", key(&entry.key));
    value(out, &entry.value, indent);
}

/// What follows a `key:` or a `-`, up to the end of its last line.
fn value(out: &mut String, node: &Node, indent: usize) {
    match &node.value {
        Value::Scalar(scalar) => {
            if !scalar.is_null() || scalar.written.is_some() {
                out.push(' ');
                self::scalar(out, scalar, indent);
            }
            out.push('\n');
        }
        Value::List(items) if items.is_empty() => out.push_str(" []\n"),
        Value::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
        Value::List(items) => {
            if let Some(line) = on_one_line(items) {
                let _ = writeln!(out, " {line}");
            } else {
                out.push('\n');
                for item in items {
                    element(out, item, indent + 2);
                }
            }
        }
        Value::Map(entries) => {
            out.push('\n');
            for entry in entries {
                pair(out, entry, indent + 2, indent + 2);
            }
        }
    }
}

/// A short list of simple values.
fn on_one_line(items: &[Node]) -> Option<String> {
    let mut line = String::from("[");
    for (i, item) in items.iter().enumerate() {
        let Value::Scalar(scalar) = &item.value else { return None };
        if scalar.text.contains('\n') || scalar.is_null() {
            return None;
        }
        line.push_str(if i > 0 { ", " } else { "" });
        self::scalar(&mut line, scalar, 0);
    }
    line.push(']');
    (line.len() <= 80).then_some(line)
}

fn scalar(out: &mut String, scalar: &Scalar, indent: usize) {
    // What a native file puts variables into has to say so of what only looks like it.
    let text = match &scalar.written {
        Some(written) => written.clone(),
        None => scalar.text.replace("${", "$${"),
    };
    let is_safe = is_bare(&text, scalar.plain) && (scalar.plain || !means_something(&text));
    if is_safe {
        out.push_str(&text);
    } else if text.contains('\n') && is_block(&text) {
        block(out, &text, indent);
    } else if text.chars().any(char::is_control) {
        quoted(out, &text);
    } else {
        let _ = write!(out, "'{}'", text.replace('\'', "''"));
    }
}

/// Whether YAML takes it for the text that it is, without quotes, also inside of `[ ]`.
fn is_bare(text: &str, may_be_variable: bool) -> bool {
    let first = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.');
    let inner = |c: char| first(c) || matches!(c, '-' | '+' | '*' | '@' | '~' | '=');
    // A blank or colon between two parts of a name means nothing to YAML; at the end of one it does.
    let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.split([' ', ':']).all(|part| !part.is_empty() && part.chars().all(first_or_dash));
    let begins =
        |c: char| first(c) || (c == '-' && text.len() > 1 && text.as_bytes().get(1).is_some_and(u8::is_ascii_digit));
    let is_variable = may_be_variable && text.starts_with("${") && text.ends_with('}');
    let is_url = text.split_once("://").is_some_and(|(scheme, rest)| {
        scheme.bytes().all(|b| b.is_ascii_lowercase())
            && !rest.ends_with(':')
            && rest.chars().all(|c| inner(c) || c == ':')
    });
    let body = text.strip_prefix("${").and_then(|text| text.strip_suffix('}')).unwrap_or("");
    if is_variable {
        return body.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
            && !body.ends_with(':');
    }
    is_url || is_name || (text.starts_with(begins) && text.chars().all(inner))
}

fn first_or_dash(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '-')
}

/// Whether YAML, old or new, takes it for something else than text.
fn means_something(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let is_number =
        text.parse::<f64>().is_ok() || text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    is_number || matches!(lower.as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "null" | "~")
}

/// Whether a text of several lines can stand as a block.
fn is_block(text: &str) -> bool {
    let is_plain = |c: char| {
        c == '\n' || c == '\t' || !(c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
    };
    let first = text.split('\n').next().unwrap_or("");
    !first.is_empty()
        && !first.starts_with([' ', '\t'])
        && text.chars().all(is_plain)
        && !text.ends_with("\n\n")
        && !text.split('\n').any(|line| !line.is_empty() && line.trim().is_empty())
}

fn block(out: &mut String, text: &str, indent: usize) {
    let (sign, body) = match text.strip_suffix('\n') {
        Some(body) => ("|", body),
        None => ("|-", text),
    };
    out.push_str(sign);
    let margin = indent + 2;
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            let _ = write!(out, "{:margin$}{line}", "");
        }
    }
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn key(name: &str) -> String {
    let mut out = String::new();
    scalar(&mut out, &Scalar { text: name.to_owned(), plain: false, written: None }, 0);
    if out.contains('\n') {
        out.clear();
        quoted(&mut out, name);
    }
    // Variables are not put into keys.
    out.replace("$${", "${")
}

#[cfg(test)]
mod tests {
    use super::super::native::{self, Item, Section};
    use super::*;
    use crate::config::env;
    use crate::config::source::Span;
    use crate::config::tree;
    use proptest::prelude::*;

    const AT: Span =
        Span { start: crate::config::Pos { line: 1, column: 1 }, end: crate::config::Pos { line: 1, column: 2 } };

    fn printed(node: Node) -> String {
        let section =
            Section { comments: vec!["Why.".to_owned()], key: "a", key_span: AT, content: Content::Node(node) };
        print(&Native { comments: Vec::new(), sections: vec![section] })
    }

    fn show(node: &Node) -> String {
        match &node.value {
            Value::Scalar(scalar) => format!("{:?}{}", scalar.text, if scalar.is_null() { " null" } else { "" }),
            Value::List(items) => format!("{:?}", items.iter().map(show).collect::<Vec<_>>()),
            Value::Map(entries) => {
                format!("{:?}", entries.iter().map(|e| (e.key.clone(), show(&e.value))).collect::<Vec<_>>())
            }
        }
    }

    fn nodes() -> impl Strategy<Value = Node> {
        let text = prop_oneof![
            "[ -~]{0,12}",
            "[a-z${}:#'\"\\[\\]&*!|>%@`, \n\t-]{0,10}",
            "([a-z ]{0,5}\n){0,4}[a-z]{0,3}",
            "\\PC{0,6}",
            Just("true".to_owned()),
            Just("1.5".to_owned()),
            Just("0x10".to_owned()),
        ];
        let leaf = prop_oneof![
            text.prop_map(|text| native::text(AT, text)),
            (0..1000u32).prop_map(|number| native::word(AT, number)),
            Just(native::word(AT, "")),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| native::list(AT, items)),
                prop::collection::btree_map("[a-z_]{1,4}|[ -~]{1,6}", inner, 0..4).prop_map(|pairs| {
                    let pairs = pairs.into_iter().filter(|(key, _)| key != "<<");
                    native::map(AT, pairs.map(|(key, value)| native::entry(key, AT, value)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(node in nodes()) {
            let yaml = printed(node.clone());
            let parsed = tree::parse(&yaml);
            prop_assert!(parsed.is_ok(), "{yaml}\n{parsed:?}");
            let tree::Parsed { mut root, findings } = parsed.unwrap();
            prop_assert!(findings.is_empty(), "{yaml}\n{findings:?}");
            let mut unset = Vec::new();
            env::substitute(&mut root, &|_| None, &mut unset);
            prop_assert!(unset.is_empty(), "{yaml}\n{unset:?}");
            prop_assert_eq!(show(root.child("a")), show(&node), "{}", yaml);
        }
    }

    #[test]
    fn it_looks_as_a_person_writes() {
        let node = native::map(
            AT,
            vec![
                native::entry(
                    "include",
                    AT,
                    native::list(AT, vec![native::text(AT, "/var/log/*.log"), native::text(AT, "{a}")]),
                ),
                native::entry(
                    "stages",
                    AT,
                    native::list(
                        AT,
                        vec![
                            native::map(
                                AT,
                                vec![native::entry(
                                    "regex",
                                    AT,
                                    native::map(
                                        AT,
                                        vec![native::entry("expression", AT, native::text(AT, r"^(?P<a>\d+) 'x'$"))],
                                    ),
                                )],
                            ),
                            native::map(AT, vec![native::entry("docker", AT, native::map(AT, Vec::new()))]),
                            native::map(
                                AT,
                                vec![native::entry("template", AT, native::text(AT, "{{ if a }}\n  b\n{{ end }}\n"))],
                            ),
                        ],
                    ),
                ),
                native::entry("port", AT, native::text(AT, "80")),
                native::entry("rate", AT, native::word(AT, 80)),
                native::entry("url", AT, native::text(AT, "http://[::1]:3100")),
                native::entry("to", AT, native::text(AT, "http://loki:3100/push")),
            ],
        );
        let item = Item { comments: vec!["One.".to_owned(), format!("Two {}", "words ".repeat(25))], node: Some(node) };
        let section =
            Section { comments: vec![], key: "logs", key_span: AT, content: Content::Items(vec![item.clone(), item]) };
        let yaml = print(&Native { comments: vec!["Top.".to_owned()], sections: vec![section] });
        let one = "  # One.
  # Two words words words words words words words words words words words words words words words
  # words words words words words words words words words words
  - include: [/var/log/*.log, '{a}']
    stages:
      - regex:
          expression: '^(?P<a>\\d+) ''x''$'
      - docker: {}
      - template: |
          {{ if a }}
            b
          {{ end }}
    port: '80'
    rate: 80
    url: 'http://[::1]:3100'
    to: http://loki:3100/push
";
        assert_eq!(yaml, format!("# Top.\n\nlogs:\n{one}\n{one}"));
    }
}
