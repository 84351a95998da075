//! Regular expressions: any text is a pattern or an error with a place in it, and the short ways for whole texts answer as the pattern does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::base::expression::{Anchored, compile, compile_anchored};

fuzz_target!(|input: (&str, &str)| {
    let (pattern, text) = input;
    match compile(pattern) {
        Ok(regex) => drop(regex.is_match(text)),
        Err(error) => assert!(pattern.is_char_boundary(error.at), "{error}"),
    }
    if let (Ok(long), Ok(short)) = (compile_anchored(pattern), Anchored::new(pattern)) {
        assert_eq!(long.is_match(text), short.is_match(text));
    }
});
