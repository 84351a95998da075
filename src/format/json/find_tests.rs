//! Expressions against lines: a table, and a slow reading with a full parser to compare with.

use super::*;
use crate::model::value::Kind;
use proptest::prelude::*;

type Found = Vec<Option<(Kind, String)>>;

fn found(expressions: &[&str], line: &str) -> Result<Found, Malformed> {
    let expressions = Expressions::compile(expressions).unwrap();
    let mut scratch = String::from("left over");
    let mut out = vec![Some(Value::default()); expressions.len()];
    expressions.find(line, &mut Work::default(), &mut scratch, &mut out)?;
    Ok(out.iter().map(|value| value.map(|value| (value.kind(), value.of(line, &scratch).to_owned()))).collect())
}

fn one(expression: &str, line: &str) -> Option<(Kind, String)> {
    found(&[expression], line).unwrap().pop().flatten()
}

#[test]
fn values() {
    let line = r#" { "a" : "x", "n":1.50,"t":true,"z":null,"o":{"k":{"v":"deep"},"l":[10,{"m":"é\n"}]},"x-y":"q","\u0065":"key" } "#;
    for (expression, want) in [
        ("a", Some((Kind::Text, "x"))),
        ("n", Some((Kind::Number, "1.5"))),
        ("t", Some((Kind::Bool, "true"))),
        ("z", Some((Kind::Null, ""))),
        ("z.a", None),
        ("nothing", None),
        ("o.k.v", Some((Kind::Text, "deep"))),
        ("o.k.v.w", None),
        ("o.k", Some((Kind::Text, r#"{"v":"deep"}"#))),
        ("o.l[0]", Some((Kind::Number, "10"))),
        ("o.l[1].m", Some((Kind::Text, "é\n"))),
        ("o.l[2]", None),
        ("o.l", Some((Kind::Text, r#"[10,{"m":"é\n"}]"#))),
        ("o.k[0]", None),
        ("o.l.m", None),
        ("\"x-y\"", Some((Kind::Text, "q"))),
        ("e", Some((Kind::Text, "key"))),
        ("o.l[-1].m", Some((Kind::Text, "é\n"))),
        ("length(o.l)", Some((Kind::Number, "2"))),
    ] {
        assert_eq!(one(expression, line), want.map(|(kind, text)| (kind, text.to_owned())), "{expression}");
    }
}

#[test]
fn many_at_once() {
    let line = r#"{"a":{"b":[{"c":1},{"c":2}],"d":"x"},"e":"y"}"#;
    let all = found(&["a.b[1].c", "a", "e", "a.d", "a.b", "e", "a.b[*].c", "a.b[0]"], line).unwrap();
    let texts: Vec<&str> = all.iter().map(|value| value.as_ref().unwrap().1.as_str()).collect();
    assert_eq!(
        texts,
        ["2", r#"{"b":[{"c":1},{"c":2}],"d":"x"}"#, "y", "x", r#"[{"c":1},{"c":2}]"#, "y", "[1,2]", r#"{"c":1}"#]
    );
}

#[test]
fn what_needs_no_change_is_borrowed() {
    let line = r#"{"a":"plain","n":12,"b":"esc\n"}"#;
    let expressions = Expressions::compile(&["a", "n", "b"]).unwrap();
    let (mut scratch, mut out) = (String::new(), [None; 3]);
    expressions.find(line, &mut Work::default(), &mut scratch, &mut out).unwrap();
    assert_eq!(scratch, "esc\n");
    assert!(expressions.is_plain());
}

#[test]
fn the_last_of_equal_keys_counts() {
    assert_eq!(one("a", r#"{"a":1,"a":"x"}"#), Some((Kind::Text, "x".to_owned())));
    assert_eq!(one("a.b", r#"{"a":{"b":1},"a":{"c":2}}"#), None);
    assert_eq!(one("a.b", r#"{"a":{"b":1},"a":3}"#), None);
    assert_eq!(one("a[0].b", r#"{"a":[{"b":1}],"a":[]}"#), None);
}

#[test]
fn malformed_lines_give_nothing() {
    for line in [
        "",
        "x",
        "[1]",
        "\"a\"",
        "1",
        "{\"a\":1",
        "{\"a\":1} x",
        "{\"a\":1,\"b\":1e999}",
        "{\"a\":1,\"b\":\"\\x\"}",
        "{\"a\":1}{\"a\":2}",
        "{\"a\":1,}",
    ] {
        for expression in ["a", "a || b"] {
            let expressions = Expressions::compile(&[expression]).unwrap();
            let mut out = [Some(Value::default())];
            let result = expressions.find(line, &mut Work::default(), &mut String::new(), &mut out);
            assert!(result.is_err(), "{line}");
            assert_eq!(out, [None], "{line}");
        }
    }
    assert_eq!(found(&["a"], " null "), Ok(vec![None]));
    let error = found(&["a"], "{\"a\":01}").unwrap_err();
    assert_eq!(error.to_string(), "not a JSON object: expected , or } at byte 6");
}

#[test]
fn compile_errors_say_where() {
    let error = Expressions::compile(&["ok", "a.b-c"]).unwrap_err();
    assert_eq!((error.index, error.at), (1, 4));
    let text = error.to_string();
    assert!(text.starts_with("wrong JMESPath expression `a.b-c`, character 4: "), "{text}");
    assert!(error.hint.is_some_and(|hint| hint.contains("double quotes")), "{error:?}");
    assert_eq!(Expressions::compile(&["'ä' | nope(@)"]).unwrap_err().at, 11);
    assert_eq!(
        Expressions::compile(&[" "]).unwrap_err().to_string(),
        "wrong JMESPath expression ` `, character 1: it is empty"
    );
}

/// What a plain path leads to in a tree.
fn slow(steps: &[path::Step], tree: &serde_json::Value) -> Option<serde_json::Value> {
    steps
        .iter()
        .try_fold(tree, |value, step| match step {
            path::Step::Key(name) => value.as_object()?.get(name),
            path::Step::Index(index) => value.as_array()?.get(*index),
        })
        .cloned()
}

proptest! {
    #[test]
    fn agrees_with_a_full_parser(
        members in prop::collection::vec((prop_oneof![Just("a"), Just("b"), Just("x-y"), Just("")], oracle::json()), 0..6),
        junk in prop_oneof![8 => Just(None), 1 => (any::<prop::sample::Index>(), "[\\[\\]{}\",:0a\\\\]").prop_map(Some)],
    ) {
        // Written by hand, so that keys repeat.
        let members: Vec<String> = members.iter().map(|(key, value)| format!("{}:{value}", serde_json::Value::from(*key))).collect();
        let mut line = format!("{{{}}}", members.join(","));
        if let Some((at, byte)) = junk {
            let mut at = at.index(line.len());
            while !line.is_char_boundary(at) { at -= 1; }
            line.replace_range(at..at, &byte);
        }
        let paths = ["a", "b", "a.a", "a.b.a", "a[0]", "a[1].b", "b[0][0]", "\"x-y\".\"\"", "\"\"", "a.a"];
        let others = ["a || `null`", "@.a.b.a", "a[-1]"];
        let all: Vec<&str> = paths.iter().chain(&others).copied().collect();
        let result = found(&all, &line);
        let Ok(tree) = serde_json::from_str::<serde_json::Value>(&line) else {
            prop_assert!(result.is_err(), "{}", line);
            return Ok(());
        };
        let result = result.unwrap();
        for (path, value) in paths.iter().zip(&result) {
            let want = slow(&path::parse(path).unwrap(), &tree);
            prop_assert_eq!(want.is_some(), value.is_some(), "{} in {}", path, line);
            let (Some(want), Some((kind, text))) = (want, value) else { continue };
            match want {
                serde_json::Value::Null => prop_assert_eq!((Kind::Null, ""), (*kind, text.as_str())),
                serde_json::Value::String(want) => prop_assert_eq!((Kind::Text, &want), (*kind, text)),
                serde_json::Value::Bool(want) => prop_assert_eq!((Kind::Bool, &want.to_string()), (*kind, text)),
                serde_json::Value::Number(want) => prop_assert_eq!((Kind::Number, &want.as_f64().unwrap().to_string()), (*kind, text)),
                other => {
                    let again: serde_json::Value = serde_json::from_str(text).unwrap();
                    prop_assert!(oracle::same(&again, &other), "{} for {}", again, other);
                }
            }
        }
        // The same through the tree.
        let null = |value: &Option<(Kind, String)>| value.clone().filter(|(kind, _)| *kind != Kind::Null);
        prop_assert_eq!(null(&result[paths.len() + 1]), null(&result[3]));
    }

    #[test]
    fn never_panics(line in ".{0,60}", expression in ".{0,20}") {
        if let Ok(expressions) = Expressions::compile(&[expression.as_str(), "a.b"]) {
            let _ = expressions.find(&line, &mut Work::default(), &mut String::new(), &mut [None; 2]);
        }
    }
}
