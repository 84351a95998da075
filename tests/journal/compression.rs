//! Payloads as older versions of systemd compress them. Today's reads them and does not write them: the tests compress them with the tools of
//! these formats, and journalctl says whether that is right.

use crate::damage::exercise;
use crate::journalctl::{self, FORMS, all, assert_same, rest, write};
use crate::objects::{DATA, Object, objects, payload, replace, trim};
use crate::real::sample;
use lugger::format::journal::{Damage, Reader};
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const XZ: u8 = 1;
const LZ4: u8 = 2;

/// What a program makes of its input.
fn filter(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect(program);
    let mut into = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || into.write_all(input).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    })
}

/// A size and a block, as journald stores it. The tool writes a frame: its head, one block with its length, an end.
fn lz4(plain: &[u8]) -> Vec<u8> {
    let frame = filter("lz4", &["-q", "-c", "-B7", "--no-frame-crc", "-9"], plain);
    let len = u32::from_le_bytes(frame[7..11].try_into().unwrap()) as usize;
    assert!(len < 1 << 31, "it did not get smaller");
    assert_eq!(frame[11 + len..], [0; 4], "one block");
    [&(plain.len() as u64).to_le_bytes(), &frame[11..11 + len]].concat()
}

fn xz(plain: &[u8]) -> Vec<u8> {
    filter("xz", &["-c", "--check=none", "--lzma2=dict=1MiB,lc=3,lp=0,pb=2"], plain)
}

#[test]
fn older_compression_is_read_as_journalctl_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    for (at, form) in FORMS.into_iter().enumerate() {
        let file = write(directory.path(), &at.to_string(), form, &sample(0, 150));
        let want = journalctl::journalctl(&[&file]);
        let mut content = fs::read(&file).unwrap();
        trim(&mut content);
        let texts = objects(&content).into_iter().filter(|object| {
            let text = content.get(payload(&content, *object)).unwrap_or_default();
            object.kind == DATA && object.flags == 0 && text.starts_with(b"LONG")
        });
        let zstd = objects(&content).into_iter().filter(|object| object.kind == DATA && object.flags == 4);
        let chosen: Vec<_> = texts.chain(zstd).collect();
        let mut counts = [0; 3];
        for (turn, object) in chosen.into_iter().enumerate() {
            let mut plain = content[payload(&content, object)].to_vec();
            if object.flags == 4 {
                plain = filter("zstd", &["-d", "-c"], &plain);
            }
            if plain.starts_with(b"NOISE") {
                continue;
            }
            let way = turn % 3;
            match way {
                1 => replace(&mut content, object, XZ, &xz(&plain)),
                2 => replace(&mut content, object, LZ4, &lz4(&plain)),
                _ => {}
            }
            counts[way] += 1;
        }
        assert!(counts.iter().all(|count| *count > 1), "{counts:?}");
        content[12] |= XZ | LZ4;
        fs::write(&file, &content).unwrap();
        assert_same(&journalctl::journalctl(&[&file]), &want);
        assert_same(&all(&[&file]), &want);
    }
}

/// A payload whose decoder wants 128 MiB is left out; all else comes.
#[test]
fn what_needs_too_much_memory_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut content = fs::read(write(directory.path(), "a", FORMS[3], &sample(0, 10))).unwrap();
    trim(&mut content);
    let want = rest(&mut Reader::open(content.as_slice()).unwrap());
    let long = objects(&content).into_iter().find(|object| {
        object.kind == DATA && object.flags == 0 && content[payload(&content, *object)].starts_with(b"LONG")
    });
    let compressed = filter("zstd", &["-q", "-c", "--long=27"], b"LONG=what is longest");
    replace(&mut content, long.unwrap(), 4, &compressed);
    let mut reader = Reader::open(content.as_slice()).unwrap();
    let found = rest(&mut reader);
    assert_eq!(reader.damage(), Damage { cut: 1, ..Damage::default() });
    let mut lost = 0;
    for (mut want, found) in want.into_iter().zip(found) {
        let count = want.fields.len();
        want.fields.retain(|(name, _)| name != "LONG");
        lost += count - want.fields.len();
        assert_eq!(found, want);
    }
    assert_eq!(lost, 1);
}

/// A file with payloads of all three kinds, and where they are.
fn compressed() -> &'static (Vec<u8>, Vec<Object>) {
    static FILE: OnceLock<(Vec<u8>, Vec<Object>)> = OnceLock::new();
    FILE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let mut content = fs::read(write(directory.path(), "a", FORMS[3], &sample(100, 100))).unwrap();
        trim(&mut content);
        let texts: Vec<Object> =
            objects(&content).into_iter().filter(|object| object.flags == 4 && object.size < 4000).collect();
        for (turn, object) in texts.into_iter().enumerate() {
            let plain = filter("zstd", &["-d", "-c"], &content[payload(&content, object)]);
            match turn % 3 {
                _ if plain.starts_with(b"NOISE") => {}
                1 => replace(&mut content, object, XZ, &xz(&plain)),
                2 => replace(&mut content, object, LZ4, &lz4(&plain)),
                _ => {}
            }
        }
        let all: Vec<Object> = objects(&content).into_iter().filter(|object| object.flags != 0).collect();
        assert!([XZ, LZ4, 4].iter().all(|flags| all.iter().any(|object| object.flags == *flags)));
        (content, all)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn damaged_payloads(flips in proptest::collection::vec(any::<(prop::sample::Index, prop::sample::Index, u8)>(), 1..20)) {
        let (content, objects) = compressed();
        let mut content = content.clone();
        for (object, at, value) in flips {
            let range = payload(&content, objects[object.index(objects.len())]);
            // Mostly near the beginning, where what follows is decided.
            let len = if value % 2 == 0 { range.len().min(24) } else { range.len() };
            content[range.start + at.index(len)] = value;
        }
        exercise(&content);
    }
}
