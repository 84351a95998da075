//! Lines of docker's json-file driver: nothing panics, and the text is what a full parser reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::{docker, json};
use serde_json::{Map, Value};

fuzz_target!(|line: &str| {
    let mut scratch = String::new();
    let result = docker::parse(line, &mut json::Work::default(), &mut scratch);
    if line.contains("\\ud") || line.contains("\\uD") {
        return;
    }
    match serde_json::from_str::<Map<String, Value>>(line) {
        Ok(tree) => {
            let found = result.expect("it is JSON");
            if let Some(Value::String(log)) = tree.get("log") {
                let text = found.log.expect("it has a log").of(line, &scratch);
                assert_eq!(text, log.strip_suffix('\n').unwrap_or(log));
                assert_eq!(found.partial, !log.ends_with('\n'));
            }
        }
        Err(error) => assert!(result.is_err() || error.to_string().contains("recursion"), "{error}"),
    }
});
