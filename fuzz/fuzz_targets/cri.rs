//! CRI lines and their times: nothing panics, and the parts make up the line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::civil::format_rfc3339_ns;
use lugger::format::{cri, rfc3339};

fuzz_target!(|line: &str| {
    if let Some(ns) = rfc3339::parse(line) {
        assert_eq!(rfc3339::parse(&format_rfc3339_ns(ns)), Some(ns));
    }
    let Ok(found) = cri::parse(line) else { return };
    let parts = [found.time, found.stream, found.flags, found.text].map(|value| value.of(line, ""));
    assert_eq!(parts.join(" "), line);
});
