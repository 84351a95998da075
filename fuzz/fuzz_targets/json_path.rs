//! JSON lines and expressions: nothing panics, a line is good exactly if a full parser says so, and a plain path finds what that parser has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::json::{Expressions, Work};
use lugger::model::value::Kind;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let Some((expression, line)) = text.split_once('\n') else { return };
    // Each of these can double a result, so that a few dozen would fill the memory: that is the writer's wish, not a defect.
    if expression.matches(['@', '[', '{']).count() > 8 {
        return;
    }
    let Ok(expressions) = Expressions::compile(&[expression, "a", "a.b", "a[0]"]) else { return };
    let (mut work, mut scratch, mut found) = (Work::default(), String::new(), [None; 4]);
    let result = expressions.find(line, &mut work, &mut scratch, &mut found);
    // Half a surrogate pair is taken here and refused there.
    if line.contains("\\ud") || line.contains("\\uD") || line.trim_matches([' ', '\t', '\n', '\r']) == "null" {
        return;
    }
    let tree: Result<serde_json::Map<String, Value>, _> = serde_json::from_str(line);
    match tree {
        Ok(tree) => {
            assert_eq!(result, Ok(()));
            for (at, want) in [(1, tree.get("a")), (2, tree.get("a").and_then(|a| a.get("b"))), (3, tree.get("a").and_then(|a| a.get(0)))] {
                let Some(want) = want else {
                    assert_eq!(found[at], None);
                    continue;
                };
                let value = found[at].expect("what is there is found");
                let text = value.of(line, &scratch);
                match want {
                    Value::Null => assert_eq!(value.kind(), Kind::Null),
                    Value::Bool(want) => assert_eq!(text, want.to_string()),
                    Value::String(want) => assert_eq!(text, want),
                    Value::Number(_) => assert_eq!(value.kind(), Kind::Number),
                    other => drop(serde_json::from_str::<Value>(text).unwrap_or_else(|e| panic!("{e}: {other}"))),
                }
            }
        }
        Err(error) => assert!(result.is_err() || error.to_string().contains("recursion"), "{error}"),
    }
});
