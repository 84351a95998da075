//! Entries and fields above the bounds come of a file as they come of what `journalctl` prints of it: cut in the same places, and counted.

use crate::journalctl::{Export, FORMS, ours, write};
use lugger::base::limits::JOURNALD_FIELD_BYTES;
use lugger::format::journal::{self, Fields, Reader, Wanted, Work};
use std::fs::File;
use std::process::Command;

const BOOT: &str = "11111111111111111111111111111111";

/// Text that does not become smaller when it is compressed, or does.
fn text(len: usize, is_random: bool) -> Vec<u8> {
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = |at: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if is_random { 33 + (random % 90) as u8 } else { b'a' + (at % 7) as u8 }
    };
    (0..len).map(&mut next).collect()
}

#[test]
fn large_entries_are_cut_alike() {
    let directory = tempfile::tempdir().unwrap();
    let mut export = Export::default();
    let around = |n: usize| [n - 1, n, n + 1];
    let mut lengths: Vec<Vec<(&str, usize)>> = vec![vec![("MESSAGE", 5)], vec![("MESSAGE", 3 << 20)]];
    lengths.extend(around(JOURNALD_FIELD_BYTES - "MESSAGE=".len()).map(|len| vec![("MESSAGE", len)]));
    // A core dump's, with more than an entry may have.
    lengths.push(
        [("MESSAGE", 10)]
            .into_iter()
            .chain(["COREDUMP_A", "COREDUMP_B", "COREDUMP_C", "COREDUMP_D", "COREDUMP_E"].map(|name| (name, 2_000_000)))
            .collect(),
    );
    lengths.push(vec![("A", 2 << 20), ("MESSAGE", 2 << 20), ("Z", 4 << 20)]);
    lengths.push(vec![("MESSAGE", 7)]);
    for (n, fields) in (0..).zip(&lengths) {
        let is_random = n % 2 == 0;
        export.entry(1_700_000_000_000_000 + n, 1000 + n, BOOT);
        for (name, len) in fields {
            let mut value = text(*len, is_random);
            // Every other one is not of one line.
            if n % 3 == 0 {
                value[1] = b'\n';
            }
            export.field(name, value);
        }
    }
    let file = write(directory.path(), "large", FORMS[3], &export.0);
    let output = Command::new("journalctl")
        .args(["--output=export", "--all", "--no-pager", "--quiet", "--file"])
        .arg(&file)
        .output()
        .expect("journalctl is there");
    for wanted in [Wanted::all(), Wanted::only(["MESSAGE", "_BOOT_ID"])] {
        let (mut work, mut fields) = (Work::new(wanted), Fields::default());
        let mut reader = Reader::open(File::open(&file).unwrap()).unwrap();
        let mut want = Vec::new();
        while let Some(location) = reader.next(&mut work, &mut fields).unwrap() {
            want.push((ours(&location, &fields), reader.damage().cut));
        }
        assert_eq!(want.len(), lengths.len());
        for size in [4096, 100_000, output.stdout.len()] {
            let (mut export, mut found, mut cut) = (journal::Export::default(), Vec::new(), 0);
            for piece in output.stdout.chunks(size) {
                export.push(piece);
                while let Some((location, damage)) = export.next(&work, &mut fields).unwrap() {
                    cut += damage.cut;
                    found.push((ours(&location, &fields), cut));
                }
            }
            assert_eq!(found.len(), want.len());
            for (n, (found, want)) in found.iter().zip(&want).enumerate() {
                assert!(found.0 == want.0, "entry {n} in pieces of {size}");
                assert_eq!(found.1, want.1, "what was cut up to entry {n}");
            }
            assert!(cut > 1);
        }
    }
}
