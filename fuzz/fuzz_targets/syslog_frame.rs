//! TCP streams of syslog messages: the same messages come out however the stream was cut, and memory is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::syslog::frame::Framer;

fn frames(stream: &[u8], max: usize, piece: usize) -> Vec<(Vec<u8>, u64)> {
    let mut framer = Framer::new(max);
    let mut out = Vec::new();
    for piece in stream.chunks(piece.max(1)) {
        framer.push(piece, |frame| out.push((frame.bytes.to_vec(), frame.missing)));
        assert!(framer.held() <= max.max(1) + 32);
    }
    framer.finish(|frame| out.push((frame.bytes.to_vec(), frame.missing)));
    out
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (max, piece, stream) = input;
    let whole = frames(stream, max.into(), stream.len());
    assert_eq!(frames(stream, max.into(), piece.into()), whole);
    assert_eq!(frames(stream, max.into(), 1), whole);
    for (bytes, _) in whole {
        assert!(!bytes.is_empty() && bytes.len() <= usize::from(max).max(1));
    }
});
