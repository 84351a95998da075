//! Tests of recognising a compressed file by a checkpoint.

use super::*;
use crate::source::file::identity::{Identity, marks_at};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::VecDeque;
use std::io::Write;

/// Enough for these tests.
const MOST: u64 = 8 << 20;

fn packed(parts: &[&[u8]]) -> File {
    let file = tempfile::tempfile().unwrap();
    for part in parts {
        // A member each, as `cat a.gz b.gz` makes them.
        let mut encoder = GzEncoder::new(&file, Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    reopened(&file)
}

fn reopened(file: &File) -> File {
    use std::io::Seek;
    let mut file = file.try_clone().unwrap();
    file.rewind().unwrap();
    file
}

fn checkpoint(content: &[u8], position: u64) -> Known {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(content, 0).unwrap();
    Known {
        slot: 0,
        source: "s".into(),
        identity: Identity { device: 1, inode: 2, born_ns: 3 },
        origin: "/log/app.log".into(),
        position,
        mark: marks_at(&file, position).unwrap(),
        intents: VecDeque::new(),
    }
}

fn unpacked(packed: File, known: &Known) -> io::Result<Twin> {
    let mut spill = || {
        let file = tempfile::tempfile()?;
        Ok((file.try_clone()?, file))
    };
    unpack(packed, known, MOST, &mut spill, &|| false)
}

fn text(lines: std::ops::Range<u32>) -> Vec<u8> {
    lines.flat_map(|n| format!("line {n} of a log file\n").into_bytes()).collect()
}

#[test]
fn the_rest_is_at_its_offset_wherever_the_reader_was() {
    let content = text(0..20_000);
    for position in [10, 21, 255, 256, 300, 65_535, 65_536, 65_600, 200_000, content.len() as u64 - 1] {
        let known = checkpoint(&content, position);
        let (first, second) = content.split_at(100_000);
        let Ok(Twin::Rest(rest, size)) = unpacked(packed(&[first, second]), &known) else { panic!("at {position}") };
        assert_eq!(size, content.len() as u64);
        let from = position.saturating_sub(TAIL_BYTES as u64);
        let mut read = vec![0; (size - from) as usize];
        rest.read_exact_at(&mut read, from).unwrap();
        assert!(read == content[from as usize..], "at {position}");
        assert_eq!(marks_at(&rest, position).unwrap(), known.mark);
        assert_eq!(rest.metadata().unwrap().len(), size);
    }
}

#[test]
fn finished_and_other_files_are_told_apart() {
    let content = text(0..5_000);
    let all = content.len() as u64;
    assert!(matches!(unpacked(packed(&[&content]), &checkpoint(&content, all)), Ok(Twin::Finished)));
    // Shorter than what was read, another head, another tail, no gzip, a torn one.
    let known = checkpoint(&content, all);
    assert!(matches!(unpacked(packed(&[&content[..1_000]]), &known), Ok(Twin::Other)));
    assert!(matches!(unpacked(packed(&[&content[..10]]), &known), Ok(Twin::Other)));
    assert!(matches!(unpacked(packed(&[&text(1..5_000)]), &known), Ok(Twin::Other)));
    let mut other = content.clone();
    other[all as usize - 3] = b'#';
    assert!(matches!(unpacked(packed(&[&other]), &known), Ok(Twin::Other)));
    let plain = tempfile::tempfile().unwrap();
    plain.write_all_at(&content, 0).unwrap();
    assert!(matches!(unpacked(plain, &known), Ok(Twin::Other)));
    let torn = packed(&[&content]);
    let torn_len = torn.metadata().unwrap().len() - 100;
    torn.set_len(torn_len).unwrap();
    assert!(unpacked(torn, &checkpoint(&content, 1_000)).is_err());
}

#[test]
fn a_bomb_ends_at_the_bound() {
    // Zeros are a thousand times smaller; another file's bomb is not looked at beyond its head.
    let file = tempfile::tempfile().unwrap();
    let mut encoder = GzEncoder::new(&file, Compression::fast());
    encoder.write_all(b"head\n").unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..=MOST >> 20 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap();
    assert!(file.metadata().unwrap().len() < 1 << 20);
    let other = checkpoint(b"other\nhead\n", 6);
    assert!(matches!(unpacked(reopened(&file), &other), Ok(Twin::Other)));
    // The offset itself beyond the bound: nothing is written.
    let known = Known { position: MOST + 1, ..checkpoint(b"head\n", 5) };
    let mut spill = || -> io::Result<(File, File)> { panic!("nothing is to be written") };
    let error = unpack(reopened(&file), &known, MOST, &mut spill, &|| false).unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
    let error = unpacked(reopened(&file), &checkpoint(b"head\n", 5)).unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
    let error = unpack(reopened(&file), &checkpoint(b"head\n", 5), MOST, &mut spill, &|| true).unwrap_err();
    assert!(error.to_string().contains("stop"), "{error}");
}
