//! Redaction: any line gets an answer, and everything outside of the marks is as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::pipeline::redact::{Kind, Mark, Redactor, Scratch, Settings};
use std::cell::RefCell;

const MARK: &str = "\u{1}mark\u{1}";

thread_local! {
    static REDACTOR: RefCell<Option<(Redactor, Scratch, String)>> = const { RefCell::new(None) };
}

fuzz_target!(|line: &str| {
    REDACTOR.with_borrow_mut(|state| {
        let (redactor, scratch, out) = state.get_or_insert_with(|| {
            let settings = Settings { kinds: Kind::ALL.to_vec(), custom: Vec::new(), mark: Mark::Text(MARK.to_owned()) };
            (Redactor::compile(&settings).expect("the settings are valid"), Scratch::default(), String::new())
        });
        if redactor.redact(line, &mut 0, scratch, out) == 0 || line.contains(MARK) {
            return;
        }
        // What is left is in the line, in this order.
        let mut rest = line;
        for part in out.split(MARK) {
            let at = rest.find(part).expect("what is outside of the marks is the line's");
            rest = &rest[at + part.len()..];
        }
    });
});
