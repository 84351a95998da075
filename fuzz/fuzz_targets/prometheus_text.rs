//! Texts of samples: nothing panics, an error leaves nothing behind, and what was read is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::prometheus::{
    parse::{Form, Parser},
    text::Writer,
};
use lugger::model::samples::{Kind, Samples};

/// The series with their values' bits and times, in any order.
fn series(samples: &Samples) -> Vec<(Vec<u8>, u64, Option<i64>)> {
    let mut all: Vec<_> = samples.iter().map(|sample| (sample.key.to_vec(), sample.bits, sample.time_ms)).collect();
    all.sort();
    all
}

fuzz_target!(|input: (bool, &[u8])| {
    let (strict, body) = input;
    let form = if strict { Form::OpenMetrics } else { Form::Text };
    let (mut parser, mut samples) = (Parser::default(), Samples::default());
    samples.one("before", "", Kind::Gauge, 1.0);
    let before = samples.text_bytes();
    if let Err(error) = parser.parse(form, body, &mut samples) {
        assert_eq!((samples.len(), samples.families().len(), samples.text_bytes()), (1, 1, before));
        assert!(error.line >= 1 && error.line <= body.len() + 1);
        return;
    }
    for sample in samples.iter() {
        assert!(!sample.name().is_empty());
        assert!(sample.labels().all(|(name, _)| !name.is_empty() && name.is_ascii()));
        // The format has no times before 1970.
        if sample.time_ms.is_some_and(|time| time < 0) {
            return;
        }
    }
    // Only metadata may have names that are read again in quotes.
    if samples
        .families()
        .any(|family| !family.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':'))
    {
        return;
    }
    let mut text = Vec::new();
    Writer::default().write(&samples, &mut text);
    let mut again = Samples::default();
    parser.parse(Form::Text, &text, &mut again).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(series(&again), series(&samples));
});
