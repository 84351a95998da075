//! Checkpoint files: any bytes are read without harm, and so are any records under right checksums.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::store::checkpoint::read_pair;

/// What a file of this number begins with: kind, magic, version, number.
fn header(number: u64) -> Vec<u8> {
    let mut payload = b"\0luggerck\x01\0\0\0".to_vec();
    payload.extend_from_slice(&number.to_le_bytes());
    payload
}

/// A file of frames with the payloads that `data` is cut into by its own bytes.
fn framed(data: &[u8], number: u64, closed: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut frame = |payload: &[u8]| {
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
        out.extend_from_slice(payload);
    };
    frame(&header(number));
    let mut rest = data;
    let mut count = 1u64;
    while let Some((len, after)) = rest.split_first() {
        let (payload, after) = after.split_at(usize::from(*len).min(after.len()));
        let mut payload = payload.to_vec();
        // The slot follows the kind: large numbers would only cost time and memory.
        if let Some(high) = payload.get_mut(3..5) {
            high.fill(0);
        }
        frame(&payload);
        count += 1;
        rest = after;
    }
    if closed {
        let mut end = vec![1];
        end.extend_from_slice(&count.to_le_bytes());
        frame(&end);
    }
    out
}

fuzz_target!(|data: &[u8]| {
    read_pair(data, data, 7);
    let (snapshot, journal) = data.split_at(data.len() / 2);
    for saved in read_pair(&framed(snapshot, 7, true), &framed(journal, 7, false), 7) {
        assert!(saved.key.len() <= data.len());
    }
});
