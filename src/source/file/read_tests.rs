//! Tests of reading: chunk bounds, truncation, long lines, replayed chunks.

use super::*;
use crate::model::flow::Note;
use crate::source::file::identity::Identity;
use crate::store::checkpoint::Intent;
use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

const START_NS: i64 = 1_000_000_000;

struct Rig {
    reader: Reader,
    tracked: Tracked,
    file: File,
    clock: Arc<AtomicI64>,
    encoding: Encoding,
}

impl Rig {
    fn new(content: &[u8]) -> Self {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let clock = Arc::new(AtomicI64::new(START_NS));
        let identity = Identity { device: 0, inode: 0, born_ns: 0 };
        Rig {
            reader: Reader::new(Clock::Manual(clock.clone()), 0),
            tracked: Tracked::new(0, identity, 1),
            file,
            clock,
            encoding: Encoding::default(),
        }
    }

    fn read(&mut self, last_too: bool) -> Outcome {
        let read = self.reader.read(&mut self.tracked, &self.file, self.encoding, 1024, last_too, Allowance::ALL);
        let outcome = read.unwrap();
        if let Outcome::Chunk { piece, .. } = &outcome {
            self.tracked.advance(piece);
        }
        outcome
    }

    /// The lines of the next chunk, passing over what was only scanned.
    fn lines(&mut self, last_too: bool) -> Vec<String> {
        loop {
            match self.read(last_too) {
                Outcome::Chunk { .. } => break,
                Outcome::Scanned => {}
                _ => return Vec::new(),
            }
        }
        let bytes = self.reader.bytes();
        let text = |s: &Span| String::from_utf8_lossy(&bytes[s.start as usize..s.end as usize]).into_owned();
        self.reader.lines().iter().map(text).collect()
    }

    fn append(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).unwrap();
    }
}

#[test]
fn a_line_waits_for_its_newline() {
    let mut rig = Rig::new(b"one\ntw");
    assert_eq!(rig.lines(false), ["one"]);
    assert!(matches!(rig.read(false), Outcome::End));
    rig.append(b"o\n");
    assert_eq!(rig.lines(false), ["two"]);
    assert_eq!(rig.tracked.offset, 8);
    rig.append(b"rest");
    assert_eq!(rig.lines(true), ["rest"]);
}

#[test]
fn what_came_before_the_offset_must_still_be_there() {
    let mut rig = Rig::new(b"one\ntwo\n");
    assert_eq!(rig.lines(false), ["one", "two"]);
    rig.file.set_len(0).unwrap();
    assert!(matches!(rig.read(false), Outcome::Truncated));
    rig.tracked.restart(2);
    // Grown past the old offset again, with other content.
    rig.file = tempfile::tempfile().unwrap();
    rig.append(b"uno\ndos\ntres\n");
    assert_eq!(rig.lines(false), ["uno", "dos", "tres"]);
    let mut other = tempfile::tempfile().unwrap();
    other.write_all(b"UNO\nDOS\nTRES\nCUATRO\n").unwrap();
    rig.file = other;
    assert!(matches!(rig.read(false), Outcome::Truncated));
}

#[test]
fn a_line_longer_than_a_chunk_is_cut_and_the_next_one_is_whole() {
    let long = vec![b'x'; 3 * CHUNK_BYTES + 17];
    let mut rig = Rig::new(&[long.as_slice(), b"\nnext\n"].concat());
    let lines = rig.lines(false);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].ends_with(&format!(" [truncated: line of {} bytes]", long.len())) && lines[0].len() <= 1024);
    assert_eq!(rig.lines(false), ["next"]);
    assert!(matches!(rig.read(false), Outcome::End));
}

#[test]
fn a_long_line_without_newline_waits_and_is_given_at_last() {
    let mut rig = Rig::new(&vec![b'x'; CHUNK_BYTES + 1]);
    assert!(matches!(rig.read(false), Outcome::Scanned));
    assert!(matches!(rig.read(false), Outcome::End));
    assert_eq!(rig.lines(true).len(), 1);
    assert_eq!(rig.tracked.offset, CHUNK_BYTES as u64 + 1);
}

#[test]
fn a_hole_is_told_by_its_length() {
    let mut rig = Rig::new(b"");
    let hole = 5 * CHUNK_BYTES as u64;
    rig.file.set_len(hole).unwrap();
    std::io::Seek::seek(&mut rig.file, std::io::SeekFrom::End(0)).unwrap();
    rig.append(b"after\nnext\n");
    assert_eq!(rig.lines(false), [format!("[{hole} NUL bytes]after")]);
    assert_eq!(rig.lines(false), ["next"]);
}

#[test]
fn what_was_sent_before_is_cut_and_stamped_the_same() {
    let mut rig = Rig::new(b"a\nb\nc\nd\ne");
    rig.tracked.replay = Some(Box::new(VecDeque::from([
        Intent { start: 0, end: 4, time_ns: 7, merged: false, note: Note::default() },
        Intent { start: 4, end: 6, time_ns: 9, merged: false, note: Note::default() },
    ])));
    rig.append(b"\n");
    let times: Vec<(Vec<String>, i64)> = std::iter::from_fn(|| match rig.read(false) {
        Outcome::Chunk { piece, .. } => {
            let bytes = rig.reader.bytes();
            let text = |s: &Span| String::from_utf8_lossy(&bytes[s.start as usize..s.end as usize]).into_owned();
            Some((rig.reader.lines().iter().map(text).collect(), piece.time_ns))
        }
        _ => None,
    })
    .collect();
    let lines: Vec<&[String]> = times.iter().map(|(lines, _)| lines.as_slice()).collect();
    assert_eq!(lines, [["a", "b"].map(String::from).as_slice(), &["c".to_owned()], &["d", "e"].map(String::from)]);
    assert_eq!((times[0].1, times[1].1), (7, 9));
    assert_eq!(times[2].1, START_NS);
}

#[test]
fn bounds_of_other_content_do_not_tear_lines() {
    // Truncated and grown again while nobody looked, before anything of it was known to be stored.
    let mut rig = Rig::new(b"first\nsecond\nthird\n");
    for (start, end) in [(0, 8), (0, 12), (8, 12)] {
        rig.tracked.restart(1);
        rig.tracked.replay =
            Some(Box::new(VecDeque::from([Intent { start, end, time_ns: 7, merged: false, note: Note::default() }])));
        assert_eq!(rig.lines(false), ["first", "second", "third"]);
        assert_eq!(rig.tracked.replay, None);
    }
}

#[test]
fn times_go_on_when_the_clock_stands_or_steps_back_a_little() {
    let mut rig = Rig::new(b"a\nb\n");
    let time = |rig: &mut Rig| match rig.read(false) {
        Outcome::Chunk { piece, .. } => piece.time_ns,
        other => panic!("{other:?}"),
    };
    assert_eq!(time(&mut rig), START_NS);
    rig.append(b"c\n");
    assert_eq!(time(&mut rig), START_NS + 2);
    rig.clock.store(START_NS - 1_000_000, std::sync::atomic::Ordering::Relaxed);
    rig.append(b"d\n");
    assert_eq!(time(&mut rig), START_NS + 3);
    // A clock that was an hour ahead and was set right is followed: Loki would refuse such a future.
    rig.clock.store(START_NS - CLOCK_AHEAD_NS - 1_000_000_000, std::sync::atomic::Ordering::Relaxed);
    rig.append(b"e\n");
    assert_eq!(time(&mut rig), START_NS - CLOCK_AHEAD_NS - 1_000_000_000);
}

#[test]
fn compressed_files_are_recognised() {
    for head in [b"\x1f\x8b\x08\0".as_slice(), b"\xfd7zXZ\0\n", b"\x28\xb5\x2f\xfd\n", b"BZh91AY&SY\n", b"PK\x03\x04\n"]
    {
        assert!(matches!(Rig::new(head).read(false), Outcome::Compressed), "{head:?}");
    }
    assert!(matches!(Rig::new(b"BZh is no magic\n").read(false), Outcome::Chunk { .. }));
}

#[test]
fn a_long_line_whose_file_begins_again_is_given_up() {
    let mut rig = Rig::new(&vec![b'x'; CHUNK_BYTES + 100]);
    assert!(matches!(rig.read(false), Outcome::Scanned));
    rig.file.set_len(0).unwrap();
    std::io::Seek::seek(&mut rig.file, std::io::SeekFrom::Start(0)).unwrap();
    rig.append(&b"short\n".repeat(CHUNK_BYTES / 5));
    assert!(matches!(rig.read(false), Outcome::Truncated));
}

/// A writer that finds the disk full takes back the line that it had begun, and writes it elsewhere, or again.
#[test]
fn a_long_line_that_is_taken_back_does_not_begin_the_file_again() {
    use std::io::{Seek, SeekFrom};
    let begun = vec![b'x'; CHUNK_BYTES + 100];
    for left in [0, 5, CHUNK_BYTES as u64] {
        let mut rig = Rig::new(&[b"one\n", begun.as_slice()].concat());
        assert_eq!(rig.lines(false), ["one"]);
        assert!(matches!(rig.read(false), Outcome::Scanned));
        assert!(matches!(rig.read(false), Outcome::End));
        rig.file.set_len(4 + left).unwrap();
        rig.file.seek(SeekFrom::End(0)).unwrap();
        assert!(matches!(rig.read(false), Outcome::Scanned), "{left} left");
        assert!(!matches!(rig.read(false), Outcome::Truncated | Outcome::Chunk { .. }), "{left} left");
        rig.append(b"y\ntwo\n");
        let lines = rig.lines(false);
        assert!(lines[0].ends_with('y') || lines[0].contains(" [truncated: line of "), "{}", lines[0]);
        let rest = if lines.len() > 1 { lines[1..].to_vec() } else { rig.lines(false) };
        assert_eq!(rest, ["two"]);
    }
    // What was handed on is gone, too: the file begins again.
    let mut rig = Rig::new(&[b"one\n", begun.as_slice()].concat());
    assert_eq!(rig.lines(false), ["one"]);
    assert!(matches!(rig.read(false), Outcome::Scanned));
    rig.file.set_len(2).unwrap();
    assert!(matches!(rig.read(false), Outcome::Truncated));
}

fn utf16(text: &str, big: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

#[test]
fn half_a_unit_waits_for_its_other_half() {
    let bytes = utf16("\u{feff}eins\r\nzwei Ċ\n", false);
    // After the first byte of each newline, too.
    for cut in 0..bytes.len() {
        let mut rig = Rig::new(&bytes[..cut]);
        rig.encoding = Encoding::named("UTF-16").unwrap();
        let mut lines = rig.lines(false);
        rig.append(&bytes[cut..]);
        lines.extend(rig.lines(false));
        assert_eq!(lines, ["eins", "zwei Ċ"], "cut at {cut}");
        assert_eq!(rig.tracked.offset, bytes.len() as u64);
    }
}

#[test]
fn a_unit_that_was_torn_costs_one_line() {
    let text = utf16("one\ntwo\nthree\nfour\n", true);
    let mut rig = Rig::new(&text[..11]);
    rig.encoding = Encoding::named("utf-16be").unwrap();
    // The file was rotated and quiet in the middle of a unit: what is there is a line.
    assert_eq!(rig.lines(true), ["one", "t\u{fffd}"]);
    assert_eq!(rig.tracked.offset, 11);
    rig.append(&text[11..]);
    assert_eq!(rig.lines(false), ["o", "three", "four"]);
}

#[test]
fn long_lines_of_other_encodings_are_cut_at_the_cap_or_shrink_to_fit() {
    // Longer than a chunk as bytes; the second one is 300,000 NULs and a word.
    let long = format!("{}\nend\n", "ж".repeat(CHUNK_BYTES));
    let holes = format!("{}word\nend\n", "\0".repeat(CHUNK_BYTES));
    for name in ["utf-16le", "utf-16be"] {
        let big = name.ends_with("be");
        for odd in [0, 1, 100_001] {
            let encoding = Encoding::named(name).unwrap();
            let bytes = utf16(&long, big);
            let mut rig = Rig::new(&bytes[..bytes.len() - odd]);
            rig.encoding = encoding;
            let mut lines = rig.lines(false);
            rig.append(&bytes[bytes.len() - odd..]);
            while !lines.contains(&"end".to_owned()) {
                lines.extend(rig.lines(false));
            }
            assert_eq!(lines.len(), 2);
            let total = 2 * CHUNK_BYTES;
            assert!(lines[0].starts_with("жж") && lines[0].len() <= 1024, "{}", lines[0]);
            assert!(lines[0].ends_with(&format!(" [truncated: line of {total} bytes]")), "{}", lines[0]);
            assert_eq!(rig.tracked.offset, bytes.len() as u64);
        }
        let mut rig = Rig::new(&utf16(&holes, big));
        rig.encoding = Encoding::named(name).unwrap();
        assert_eq!(rig.lines(false), [format!("[{} NUL bytes]word", 2 * CHUNK_BYTES)]);
        assert_eq!(rig.lines(false), ["end"]);
    }
}

#[test]
fn chunks_of_other_encodings_are_replayed_as_they_were() {
    let bytes = utf16("\u{feff}one\nĊ two\nthree", true);
    let first = utf16("\u{feff}one\n", true).len() as u64;
    let mut rig = Rig::new(&bytes);
    rig.encoding = Encoding::named("utf-16").unwrap();
    rig.tracked.rotated = true;
    let intents = [
        Intent { start: 0, end: first, time_ns: 7, merged: false, note: Note::default() },
        Intent { start: first, end: bytes.len() as u64, time_ns: 9, merged: false, note: Note::default() },
    ];
    rig.tracked.replay = Some(Box::new(VecDeque::from(intents)));
    for (expected, time) in [(vec!["one"], 7), (vec!["Ċ two", "three"], 9)] {
        let Outcome::Chunk { piece, .. } = rig.read(false) else { panic!("no chunk") };
        assert_eq!(piece.time_ns, time);
        let text =
            |s: &Span| String::from_utf8_lossy(&rig.reader.bytes()[s.start as usize..s.end as usize]).into_owned();
        assert_eq!(rig.reader.lines().iter().map(text).collect::<Vec<_>>(), expected);
    }
    // An end in the middle of a unit, or after a byte 0x0A that is no newline, is not one of ours.
    for wrong in [first + 1, first + 2] {
        let mut rig = Rig::new(&bytes);
        rig.encoding = Encoding::named("utf-16").unwrap();
        rig.tracked.replay = Some(Box::new(VecDeque::from([Intent {
            start: 0,
            end: wrong,
            time_ns: 7,
            merged: false,
            note: Note::default(),
        }])));
        let Outcome::Chunk { piece, .. } = rig.read(false) else { panic!("no chunk") };
        assert_ne!(piece.time_ns, 7);
        assert_eq!(piece.end, utf16("\u{feff}one\nĊ two\n", true).len() as u64);
    }
}
