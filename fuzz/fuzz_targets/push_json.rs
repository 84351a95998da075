//! Pushes in JSON: nothing panics, an error has a place in the body, and what a full parser takes for a push is one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::push_json::{Decoder, Found};

fuzz_target!(|body: &[u8]| {
    let (mut streams, mut entries) = (0_usize, 0_usize);
    let result = Decoder::default().decode(body, |found| match found {
        Found::Stream(_) => streams += 1,
        Found::Entry(entry) => {
            entries += 1;
            assert!(entry.line.len() <= 3 * body.len());
        }
    });
    match result {
        Ok(()) => {
            // Keys are compared as they are written; nobody escapes theirs.
            let is_escaped = body.contains(&b'\\');
            if let Ok(tree) = serde_json::from_slice::<serde_json::Value>(body) {
                assert!(is_escaped || tree["streams"].as_array().map_or(0, Vec::len) == streams);
                assert!(entries <= body.len());
            }
        }
        Err(error) => assert!(error.at <= body.len(), "{error}"),
    }
});
