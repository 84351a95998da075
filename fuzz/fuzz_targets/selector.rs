//! Selectors: any text is a selector or an error with a place in it, and what is a selector answers for any labels and line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::logql::Selector;

fuzz_target!(|input: (&str, &str)| {
    let (text, line) = input;
    match Selector::parse(text) {
        Ok(selector) => {
            let names: Vec<String> = selector.label_names().map(str::to_owned).collect();
            let by_name = selector.matches_labels(&|name| if name.len() % 2 == 0 { line } else { "" });
            let by_number = selector.matches_values(&|i| if names[i].len() % 2 == 0 { line } else { "" });
            assert_eq!(by_name, by_number);
            selector.matches_line(line);
        }
        Err(error) => {
            assert!(text.is_char_boundary(error.at), "{error}");
            assert!(!error.what.is_empty());
        }
    }
});
