//! The text form of label sets: what is read is a set of labels, and what a valid set is written as is read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::loki::{parse_labels, parse_labels_prefix};
use lugger::model::labels::Labels;

fuzz_target!(|text: &str| {
    if let Ok((_, len)) = parse_labels_prefix(text) {
        assert!(text.is_char_boundary(len));
    }
    let Ok(pairs) = parse_labels(text) else { return };
    let Ok(labels) = Labels::new(pairs) else { return };
    let again = parse_labels(&labels.encoded()).expect("what is written is readable");
    assert_eq!(Labels::new(again), Ok(labels));
});
