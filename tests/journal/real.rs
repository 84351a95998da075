//! Files that systemd wrote, in each form, against what journalctl reads in them.

use crate::journalctl::{self, Export, FORMS, all, assert_same, write};

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
            4 => entry.field("LONG", format!("long text {i} ").repeat(20 + i as usize % 400)),
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
