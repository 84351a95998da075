//! Templates: any text compiles or says where it does not; what compiles is rendered or fails, in bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::pipeline::template::{Lookup, Scratch, Slot, Template};

struct Line<'a>(&'a str);

impl Lookup for Line<'_> {
    fn get(&self, slot: Slot) -> Option<&str> {
        (slot % 3 != 0).then_some(self.0)
    }

    fn now_ns(&self) -> i64 {
        1_800_000_000_000_000_000
    }
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (template, line) = text.split_once('\0').unwrap_or((&text, "a,b c\näöü"));
    let mut next = 0;
    let compiled = Template::compile(template, &mut |_| {
        next += 1;
        next
    });
    let Ok(compiled) = compiled else { return };
    let mut scratch = Scratch::default();
    let mut out = String::from("kept");
    if compiled.render(&Line(line), &mut scratch, &mut out).is_err() {
        assert_eq!(out, "kept");
    }
});
