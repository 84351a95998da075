//! Real journal files and the real reader of them: systemd-journal-remote writes what is given in export format, and what
//! `journalctl -o export` prints is the truth that our own reader is compared with.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use lugger::format::journal::{Bytes, Fields, Merge, Reader, Wanted, Work};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An entry, in a form in which entries of different readers can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub cursor: String,
    pub realtime_us: u64,
    /// Sorted, for two readers may order them differently. Without `_BOOT_ID`, which journalctl takes from elsewhere.
    pub fields: Vec<(String, Vec<u8>)>,
}

impl Entry {
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_slice())
    }
}

/// What journalctl prints of files, in its order.
pub fn journalctl(files: &[&Path]) -> Vec<Entry> {
    let mut command = Command::new("journalctl");
    command.args(["-o", "export", "--no-pager", "--quiet", "--all"]);
    for file in files {
        command.arg("--file").arg(file);
    }
    let output = command.stderr(Stdio::inherit()).output().expect("journalctl is there");
    assert!(output.status.success(), "journalctl: {}", output.status);
    parse_export(&output.stdout)
}

/// Entries in export format.
pub fn parse_export(mut bytes: &[u8]) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n').expect("a line ends");
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        bytes = rest;
        if line.is_empty() {
            if !fields.is_empty() {
                found.push(entry(std::mem::take(&mut fields)));
            }
        } else if let Some(at) = line.iter().position(|byte| *byte == b'=') {
            fields.push((String::from_utf8(line[..at].to_vec()).unwrap(), line[at + 1..].to_vec()));
        } else {
            let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            fields.push((String::from_utf8(line.to_vec()).unwrap(), bytes[8..8 + len].to_vec()));
            bytes = &bytes[8 + len + 1..];
        }
    }
    found
}

fn entry(mut fields: Vec<(String, Vec<u8>)>) -> Entry {
    let take = |fields: &mut Vec<(String, Vec<u8>)>, name: &str| {
        let at = fields.iter().position(|(found, _)| found == name).unwrap_or_else(|| panic!("no {name}: {fields:?}"));
        String::from_utf8(fields.remove(at).1).unwrap()
    };
    let cursor = take(&mut fields, "__CURSOR");
    let realtime_us = take(&mut fields, "__REALTIME_TIMESTAMP").parse().unwrap();
    fields.retain(|(name, _)| !name.starts_with("__") && name != "_BOOT_ID");
    fields.sort();
    Entry { cursor, realtime_us, fields }
}

/// An entry as our reader gives it.
pub fn ours(location: &lugger::format::journal::Location, fields: &Fields) -> Entry {
    let mut fields: Vec<_> =
        fields.iter().map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.to_vec())).collect();
    let boot = fields.iter().find(|(name, _)| name == "_BOOT_ID").map(|(_, value)| value.clone());
    if let Some(boot) = boot {
        assert_eq!(boot, location.boot_id.to_string().as_bytes());
    }
    fields.retain(|(name, _)| name != "_BOOT_ID");
    fields.sort();
    Entry { cursor: location.to_string(), realtime_us: location.realtime_us, fields }
}

/// What is left in a file.
pub fn rest<B: Bytes>(reader: &mut Reader<B>) -> Vec<Entry> {
    let (mut work, mut fields) = (Work::new(Wanted::all()), Fields::default());
    let mut found = Vec::new();
    while let Some(location) = reader.next(&mut work, &mut fields).unwrap() {
        found.push(ours(&location, &fields));
    }
    found
}

/// All entries of files, by our reader.
pub fn all(files: &[&Path]) -> Vec<Entry> {
    let mut merge = Merge::default();
    for file in files {
        let reader = Reader::open(File::open(file).unwrap()).unwrap();
        assert!(merge.add(reader), "each file once");
    }
    let (mut work, mut fields) = (Work::new(Wanted::all()), Fields::default());
    let mut found = Vec::new();
    while let Some(location) = merge.next(&mut work, &mut fields).unwrap() {
        found.push(ours(&location, &fields));
    }
    for reader in merge.readers() {
        assert_eq!(reader.damage(), Default::default(), "{:?}", reader.header());
    }
    found
}

/// Compares without printing all of it.
#[track_caller]
pub fn assert_same(found: &[Entry], want: &[Entry]) {
    for (at, (found, want)) in found.iter().zip(want).enumerate() {
        assert_eq!(found, want, "entry {at}");
    }
    assert_eq!(found.len(), want.len());
}

/// In which form a file is written.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    pub compact: bool,
    pub keyed: bool,
}

pub const FORMS: [Form; 4] = [
    Form { compact: false, keyed: false },
    Form { compact: false, keyed: true },
    Form { compact: true, keyed: false },
    Form { compact: true, keyed: true },
];

/// Has systemd-journal-remote write a file from entries in export format.
pub fn write(directory: &Path, name: &str, form: Form, export: &[u8]) -> PathBuf {
    let source = directory.join(format!("{name}.export"));
    // An empty line ends the last entry, too.
    fs::write(&source, [export, b"\n"].concat()).unwrap();
    let file = directory.join(format!("{name}.journal"));
    let program = ["/lib/systemd/systemd-journal-remote", "/usr/lib/systemd/systemd-journal-remote"]
        .into_iter()
        .find(|program| Path::new(program).exists())
        .expect("the package systemd-journal-remote is installed");
    let output = Command::new(program)
        .args(["--split-mode=none", "-o"])
        .args([&file, &source])
        .env("SYSTEMD_JOURNAL_COMPACT", if form.compact { "1" } else { "0" })
        .env("SYSTEMD_JOURNAL_KEYED_HASH", if form.keyed { "1" } else { "0" })
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

/// Writes entries in export format.
#[derive(Default)]
pub struct Export(pub Vec<u8>);

impl Export {
    /// Begins an entry.
    pub fn entry(&mut self, realtime_us: u64, monotonic_us: u64, boot: &str) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push(b'\n');
        }
        self.field("__REALTIME_TIMESTAMP", realtime_us.to_string());
        self.field("__MONOTONIC_TIMESTAMP", monotonic_us.to_string());
        self.field("_BOOT_ID", boot)
    }

    /// Adds a field to the entry.
    pub fn field(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        let value = value.as_ref();
        self.0.extend_from_slice(name.as_bytes());
        if value.iter().any(|byte| *byte < b' ') {
            self.0.push(b'\n');
            self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
        self
    }
}
