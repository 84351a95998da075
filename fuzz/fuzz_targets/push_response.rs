//! Answers of an endpoint: any status, header and text have a verdict.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::push_response::{classify, parse_retry_after, partial};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for status in [200, 204, 260, 400, 413, 429, 500] {
        classify(status, None, &text, 1_800_000_000);
    }
    let (status, rest) = data.split_first_chunk::<2>().unwrap_or((&[0; 2], data));
    let rest = String::from_utf8_lossy(rest);
    classify(u16::from_le_bytes(*status), Some(&rest), &rest, 1_800_000_000);
    parse_retry_after(&rest, 1_800_000_000);
    partial::parse(&text);
});
