//! Journal files: whatever lies behind a header, reading ends, and what comes out fits into the file.
//!
//! The input is what lies behind the header; its first bytes make the header's numbers, so that objects are reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::journal::{Fields, Merge, Reader, Wanted, Work};

/// Bytes of the header.
const HEADER: usize = 208;

/// A file with a header that can be: small numbers from the input.
fn file(data: &[u8]) -> Option<Vec<u8>> {
    let (numbers, objects) = data.split_first_chunk::<12>()?;
    let short = |at: usize| u64::from(u16::from_le_bytes([numbers[at], numbers[at + 1]]));
    let mut file = vec![0; HEADER];
    file[..8].copy_from_slice(b"LPKSHHRH");
    file[12] = numbers[0] & 31;
    file[16] = numbers[1] % 3;
    file[24] = numbers[2];
    for (at, value) in [
        (88, HEADER as u64),
        (136, short(4) * 8),
        (152, short(6)),
        (160, u64::MAX),
        (168, 0),
        (176, HEADER as u64 + short(8) * 8),
    ] {
        file[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    file.extend_from_slice(objects);
    Some(file)
}

fuzz_target!(|data: &[u8]| {
    // As it is, and with a header.
    for file in [Some(data.to_vec()), file(data)].into_iter().flatten() {
        let Ok(mut reader) = Reader::open(file.as_slice()) else { continue };
        let (mut work, mut fields) = (Work::new(Wanted::all()), Fields::default());
        let (mut count, mut last) = (0, None);
        while let Some(location) = reader.next(&mut work, &mut fields).expect("memory can be read") {
            count += 1;
            assert!(count <= file.len() / 64, "more entries than there is room for");
            assert!(fields.iter().all(|(name, _)| !name.is_empty() && !name.contains(&b'=')));
            last = Some(location);
        }
        let Some(last) = last else { continue };
        reader.seek_after(&mut work, &last.into()).expect("memory can be read");
        assert!(reader.head(&mut work).expect("memory can be read").is_none_or(|next| next.seqnum > last.seqnum));
        reader.seek_realtime(&mut work, last.realtime_us).expect("memory can be read");
        let mut merge = Merge::default();
        assert!(merge.add(reader));
        while merge.next(&mut work, &mut fields).expect("memory can be read").is_some() {}
    }
});
