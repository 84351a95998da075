//! Push requests, compressed, in protobuf and in JSON: bounded memory, no panic, and what was decoded is encoded and decoded to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::loki::{decode_json, decode_snappy, encode_snappy};

const MAX_BYTES: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let _ = decode_json(data);
    // Read as protobuf: an uncompressed snappy block is its length, a literal's tag and the bytes.
    let mut block = Vec::new();
    let mut len = data.len();
    while len >= 0x80 {
        block.push(len as u8 | 0x80);
        len >>= 7;
    }
    block.push(len as u8);
    for part in data.chunks(60) {
        block.push(((part.len() - 1) << 2) as u8);
        block.extend_from_slice(part);
    }
    for body in [data, &block] {
        let Ok(request) = decode_snappy(body, MAX_BYTES) else { continue };
        assert_eq!(decode_snappy(&encode_snappy(&request), 2 * MAX_BYTES).ok(), Some(request));
    }
});
