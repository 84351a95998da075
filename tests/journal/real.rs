//! Files that systemd wrote, in each form, against what journalctl reads in them.

use crate::journalctl::{self, Export, FORMS, all, assert_same, write};
use lugger::format::journal::{Cursor, Damage, Fields, Merge, Reader, Wanted, Work};
use std::fs::File;
use std::process::Command;

pub const BOOT: &str = "e0a92cd1e4b4481a93a9fa2d4a5a2b3c";

/// Entries of all kinds: shared and unique fields, binary ones, several lines, empty ones, the same name twice, compressed ones.
pub fn sample(first: u64, count: u64) -> Vec<u8> {
    let mut export = Export::default();
    for i in first..first + count {
        let entry = export.entry(1_700_000_000_000_000 + i * 1000 + i % 7, 1_000_000 + i * 1000, BOOT);
        entry.field("MESSAGE", format!("message {i} {}", "x".repeat(i as usize % 50)));
        entry.field("SEQ", i.to_string()).field("PRIORITY", (i % 8).to_string()).field("_HOSTNAME", "host");
        entry.field("_SYSTEMD_UNIT", format!("unit-{}.service", i % 20));
        match i % 25 {
            3 => entry.field("BINARY", (0..i % 1000).map(|j| (i * j) as u8).collect::<Vec<u8>>()),
            4 => entry.field("LONG", format!("long text {i} ").repeat(10 + i as usize % 400)),
            5 => entry.field("MULTI", "a").field("MULTI", "b\nc\n").field("EMPTY", ""),
            6 if i % 3 == 0 => entry.field("HUGE", format!("huge {i} \n").repeat(20_000)),
            7 => entry.field("NOISE", noise(i, 100 * (i as usize % 60))),
            _ => entry,
        };
    }
    export.0
}

/// Bytes that do not compress.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn every_form_is_read_as_journalctl_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let export = sample(0, 3000);
    for (at, form) in FORMS.into_iter().enumerate() {
        let file = write(directory.path(), &at.to_string(), form, &export);
        let want = journalctl::journalctl(&[&file]);
        assert_eq!(want.len(), 3000, "{form:?}");
        assert!(want.iter().any(|entry| entry.get("HUGE").is_some()));
        assert_same(&all(&[&file]), &want);
    }
}

/// Entries of three writers on one host, which have numbers of their own, and copies of some.
#[test]
fn many_files_come_in_journalctls_order() {
    let directory = tempfile::tempdir().unwrap();
    let other_boot = "11111111111111111111111111111111";
    let mut exports: [Export; 4] = Default::default();
    for i in 0..2000_u64 {
        // Each boot has the times of its own; the second one is of a clock that was set back in the middle.
        let (boot, realtime) = match i {
            0..1200 => (BOOT, 1_700_000_000_000_000 + i * 500),
            _ => (other_boot, 1_700_000_000_000_000 + i * 500 + 3_000_000),
        };
        let at = (i * i % 7 % 3) as usize;
        for at in [at, 3].into_iter().take(if i % 5 == 0 { 2 } else { 1 }) {
            let entry = exports[at].entry(realtime, 5000 + (i % 1200) * 400, boot);
            entry.field("MESSAGE", format!("message {i}")).field("FROM", (i % 4).to_string());
        }
    }
    let files: Vec<_> = exports
        .iter()
        .enumerate()
        .map(|(at, export)| write(directory.path(), &at.to_string(), FORMS[at], &export.0))
        .collect();
    let files: Vec<&std::path::Path> = files.iter().map(|file| file.as_path()).collect();
    let want = journalctl::journalctl(&files);
    assert_eq!(want.len(), 2000, "journalctl leaves copies out");
    // Of an entry and its copy either may come: they differ in who numbered them.
    let without_numbers = |entries: Vec<journalctl::Entry>| -> Vec<_> {
        let strip = |entry: journalctl::Entry| journalctl::Entry {
            cursor: entry.cursor.split_once(";b=").unwrap().1.to_owned(),
            ..entry
        };
        entries.into_iter().map(strip).collect()
    };
    assert_same(&without_numbers(all(&files)), &without_numbers(want));
}

/// Every place that journalctl can be told, and what it shows behind it.
#[test]
fn places_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "a", FORMS[3], &sample(0, 700));
    let copy = write(directory.path(), "b", FORMS[0], &sample(0, 700));
    let entries = journalctl::journalctl(&[&file]);
    let mut reader = Reader::open(File::open(&file).unwrap()).unwrap();
    let mut copied = Reader::open(File::open(&copy).unwrap()).unwrap();
    let mut work = Work::new(Wanted::all());
    let mut head = |reader: &mut Reader<File>| reader.head(&mut work).unwrap().map(|head| head.realtime_us);
    let mut work = Work::new(Wanted::all());
    for (at, entry) in entries.iter().enumerate() {
        let next = entries.get(at + 1).map(|next| next.realtime_us);
        let cursor: Cursor = entry.cursor.parse().unwrap();
        reader.seek_after(&mut work, &cursor).unwrap();
        assert_eq!(head(&mut reader), next);
        // The numbers in the copy are somebody else's: it is found by its time since the boot, and without that by the clock.
        copied.seek_after(&mut work, &cursor).unwrap();
        assert_eq!(head(&mut copied), next);
        copied.seek_after(&mut work, &Cursor { monotonic: None, ..cursor }).unwrap();
        assert_eq!(head(&mut copied), next);
        reader.seek_realtime(&mut work, entry.realtime_us).unwrap();
        assert_eq!(head(&mut reader), Some(entry.realtime_us));
        reader.seek_realtime(&mut work, entry.realtime_us + 1).unwrap();
        assert_eq!(head(&mut reader), next);
    }
    reader.seek_head();
    assert_eq!(head(&mut reader), Some(entries[0].realtime_us));
    reader.seek_tail(&mut work).unwrap();
    assert_eq!(head(&mut reader), None);
    // Our text is one that journalctl takes.
    let after = |cursor: &str| {
        let mut command = Command::new("journalctl");
        command.args(["-o", "export", "--no-pager", "--file"]).arg(&file).arg(format!("--after-cursor={cursor}"));
        let output = command.output().unwrap();
        journalctl::parse_export(&output.stdout)
    };
    reader.seek_realtime(&mut work, entries[400].realtime_us).unwrap();
    let cursor = reader.head(&mut work).unwrap().unwrap().to_string();
    assert_same(&after(&cursor), &entries[401..]);
}

/// Fields beyond the bounds are cut, compressed or not; what is beside and behind them comes.
#[test]
fn oversized_fields_are_cut() {
    const MIB: usize = 1024 * 1024;
    let directory = tempfile::tempdir().unwrap();
    let mut export = Export::default();
    let text = |len: usize| "0123456789abcdef".repeat(len / 16);
    for (i, value) in
        [text(3 * MIB).into_bytes(), noise(5, 3 * MIB), text(12 * MIB).into_bytes(), text(MIB).into_bytes()]
            .iter()
            .enumerate()
    {
        let i = i as u64;
        export.entry(1_700_000_000_000_000 + i, 1000 + i, BOOT).field("MESSAGE", value).field("SEQ", i.to_string());
    }
    for form in [FORMS[0], FORMS[3]] {
        let file = write(directory.path(), if form.compact { "compact" } else { "regular" }, form, &export.0);
        let mut reader = Reader::open(File::open(&file).unwrap()).unwrap();
        let found = journalctl::rest(&mut reader);
        let want = journalctl::journalctl(&[&file]);
        assert_eq!(found.len(), 4);
        for (found, want) in found.iter().zip(&want) {
            assert_eq!((&found.cursor, found.get("SEQ")), (&want.cursor, want.get("SEQ")));
        }
        let message = |at: usize| (found[at].get("MESSAGE").unwrap_or_default(), want[at].get("MESSAGE").unwrap());
        for at in 0..3 {
            let (found, want) = message(at);
            assert!(found.len() > 2 * MIB && found.len() < 3 * MIB, "{}", found.len());
            assert!(want.starts_with(found));
        }
        assert_eq!(message(3).0, message(3).1);
        assert_eq!(reader.damage(), Damage { cut: 3, ..Damage::default() });
    }
}

#[test]
fn a_file_is_taken_once_whatever_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "a", FORMS[3], &sample(0, 10));
    let open = || Reader::open(File::open(&file).unwrap()).unwrap();
    let mut merge = Merge::default();
    assert!(merge.add(open()));
    assert!(!merge.add(open()));
    let id = open().header().file_id;
    let (mut work, mut fields) = (Work::new(Wanted::all()), Fields::default());
    assert!(merge.next(&mut work, &mut fields).unwrap().is_some());
    assert!(!merge.refresh(&mut work).unwrap(), "nothing has grown");
    // What was taken out goes on where it was.
    let mut reader = merge.remove(id).unwrap();
    assert!(merge.next(&mut work, &mut fields).unwrap().is_none());
    assert_eq!(reader.head(&mut work).unwrap().unwrap().seqnum, 2);
    assert_eq!(journalctl::rest(&mut reader).len(), 9);
}
