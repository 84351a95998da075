//! An inlet on a real directory: names, sizes, limits, torn ends, what is dropped and counted. How it stands a failing disk: tests/inlet_model.

use super::*;
use crate::base::metrics::Registry;
use crate::store::spool::disk::Listed;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn open_with(path: &Path, limits: Limits, delivered: Delivered) -> (Inlet, Counters) {
    let counters = Counters::new(&Registry::default(), "test");
    let inlet = Inlet::open(Directory::new(path), limits, Clock::default(), counters.clone(), delivered).unwrap();
    (inlet, counters)
}

fn open(path: &Path, limits: Limits) -> (Inlet, Counters) {
    open_with(path, limits, Box::new(|_| 0))
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const SMALL: Limits = Limits { bytes: 30, policy: Policy::Refuse, file_bytes: 10 };

#[test]
fn files_are_renamed_at_their_size_and_numbers_go_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inlets/test");
    let (mut inlet, _) = open(&path, Limits { bytes: 1000, ..SMALL });
    assert!(names(&path).is_empty(), "nothing is made before it is needed");
    for piece in ["a1\na2\n", "b1\n", "c1\n", "d1\n"] {
        assert_eq!(inlet.append(piece.as_bytes(), 1).unwrap(), Kept::Written);
    }
    assert_eq!(names(&path), ["inlet.log", "inlet.log.1"]);
    assert_eq!(fs::read(path.join("inlet.log.1")).unwrap(), b"a1\na2\nb1\n");
    assert_eq!(inlet.bytes(), 15);
    drop(inlet);
    let (mut inlet, counters) = open(&path, Limits { bytes: 1000, ..SMALL });
    assert_eq!(inlet.bytes(), 15);
    inlet.append(b"e1\ne2\n", 2).unwrap();
    assert_eq!(names(&path), ["inlet.log", "inlet.log.1", "inlet.log.2"]);
    assert_eq!(fs::read(path.join("inlet.log.2")).unwrap(), b"c1\nd1\n");
    inlet.sync().unwrap();
    assert_eq!(counters.all_dropped(), 0);
}

#[test]
fn torn_ends_are_cut_and_counted_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let long = [b"whole\n".as_slice(), &vec![b'x'; 200_000]].concat();
    fs::write(dir.path().join("inlet.log"), b"one\ntwo\nthr").unwrap();
    fs::write(dir.path().join("inlet.log.7"), long).unwrap();
    fs::write(dir.path().join("inlet.log.8"), b"no end").unwrap();
    fs::write(dir.path().join("inlet.log.09"), b"not ours").unwrap();
    let (mut inlet, counters) = open(dir.path(), Limits { bytes: 1000, ..SMALL });
    assert_eq!(counters.dropped(Reason::Torn), 3);
    assert_eq!(fs::read(dir.path().join("inlet.log.7")).unwrap(), b"whole\n");
    assert_eq!(fs::read(dir.path().join("inlet.log.8")).unwrap(), b"");
    assert_eq!(fs::read(dir.path().join("inlet.log.09")).unwrap(), b"not ours");
    inlet.append(b"3\n", 1).unwrap();
    assert_eq!(fs::read(dir.path().join("inlet.log")).unwrap(), b"one\ntwo\n3\n");
    inlet.append(b"4\n", 1).unwrap();
    assert_eq!(fs::read(dir.path().join("inlet.log.9")).unwrap(), b"one\ntwo\n3\n");
}

#[test]
fn a_full_inlet_refuses_until_its_reader_removes_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (mut inlet, counters) = open(dir.path(), SMALL);
    for _ in 0..3 {
        inlet.append(b"123456789\n", 1).unwrap();
    }
    let error = inlet.append(b"x\n", 1).unwrap_err();
    assert!(matches!(error, AppendError::Full { .. }), "{error}");
    assert_eq!(inlet.bytes(), 30);
    fs::remove_file(dir.path().join("inlet.log.1")).unwrap();
    assert_eq!(inlet.append(b"x\n", 1).unwrap(), Kept::Written);
    assert_eq!(inlet.bytes(), 22);
    assert!(matches!(inlet.append(&[b'\n'; 31], 31), Err(AppendError::TooLarge { bytes: 31, .. })));
    assert!(matches!(inlet.append(b"half", 0), Err(AppendError::NotWhole { .. })));
    assert_eq!(counters.all_dropped(), 0);
}

#[test]
fn a_full_inlet_of_one_file_finishes_it_so_that_it_can_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut inlet, _) = open(dir.path(), SMALL);
    inlet.append(b"1234567890123456789012345\n", 1).unwrap();
    inlet.append(b"123456789\n", 1).unwrap_err();
    assert_eq!(names(dir.path()), ["inlet.log.1"]);
    inlet.append(b"123456789\n", 1).unwrap_err();
    fs::remove_file(dir.path().join("inlet.log.1")).unwrap();
    assert_eq!(inlet.append(b"123456789\n", 1).unwrap(), Kept::Written);
}

#[test]
fn the_oldest_file_goes_that_is_not_read_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    // Files up to this number are being read.
    let read_to = Arc::new(AtomicU64::new(1));
    let seen = read_to.clone();
    let delivered = move |name: &str| {
        let number: u64 = name.strip_prefix("inlet.log.").unwrap().parse().unwrap();
        if number <= seen.load(Ordering::Relaxed) { 4 } else { 0 }
    };
    let limits = Limits { policy: Policy::DropOldest, ..SMALL };
    let (mut inlet, counters) = open_with(dir.path(), limits, Box::new(delivered));
    inlet.append(b"123456789\n", 1).unwrap();
    inlet.append(b"1\n2\n3\n4\n5\n", 5).unwrap();
    inlet.append(b"123456789\n", 1).unwrap();
    let reader = fs::File::open(dir.path().join("inlet.log.2")).unwrap();
    assert_eq!(inlet.append(b"1\n2\n", 2).unwrap(), Kept::Written);
    assert_eq!(counters.dropped(Reason::Full), 5);
    assert_eq!(names(dir.path()), ["inlet.log", "inlet.log.1", "inlet.log.3"]);
    assert_eq!(reader.metadata().unwrap().len(), 0, "whoever has it open reads no more of it");
    // All that is finished is on its way: the one that is written to gives way.
    read_to.store(3, Ordering::Relaxed);
    assert_eq!(inlet.append(b"1234567\n", 1).unwrap(), Kept::Written);
    assert_eq!(counters.dropped(Reason::Full), 7);
    assert_eq!(names(dir.path()), ["inlet.log", "inlet.log.1", "inlet.log.3"]);
    // Everything is: nothing is left but the newcomers.
    read_to.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(inlet.append(b"1\n2\n3\n", 3).unwrap(), Kept::Dropped);
    assert_eq!(inlet.append(b"1\n2\n3\n", 3).unwrap(), Kept::Dropped);
    assert_eq!(counters.dropped(Reason::Full), 13);
    assert_eq!(names(dir.path()), ["inlet.log.1", "inlet.log.3", "inlet.log.5"]);
    // What is stored gives its room back.
    fs::remove_file(dir.path().join("inlet.log.1")).unwrap();
    assert_eq!(inlet.append(b"1\n2\n3\n", 3).unwrap(), Kept::Written);
    assert_eq!(inlet.append(&[b'\n'; 31], 31).unwrap(), Kept::Dropped);
    assert_eq!(counters.dropped(Reason::TooLarge), 31);
}

/// A directory in which somebody else is always quicker to remove a file.
struct Quicker(Directory);

impl Disk for Quicker {
    type File = fs::File;

    fn prepare(&self) -> io::Result<()> {
        self.0.prepare()
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        self.0.list()
    }

    fn create(&self, name: &str) -> io::Result<fs::File> {
        self.0.create(name)
    }

    fn open(&self, name: &str) -> io::Result<fs::File> {
        self.0.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)?;
        self.0.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn place(&self) -> String {
        self.0.place()
    }
}

/// Its reader removes a file as soon as it finds nothing left in it: between the emptying and the removing.
#[test]
fn a_file_that_is_gone_when_it_is_given_up_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let counters = Counters::new(&Registry::default(), "test");
    let limits = Limits { policy: Policy::DropOldest, ..SMALL };
    let disk = Quicker(Directory::new(dir.path()));
    let mut inlet = Inlet::open(disk, limits, Clock::default(), counters.clone(), Box::new(|_| 0)).unwrap();
    for _ in 0..3 {
        inlet.append(b"123456789\n", 1).unwrap();
    }
    assert_eq!(inlet.append(b"123456789\n", 1).unwrap(), Kept::Written);
    assert_eq!((counters.dropped(Reason::Full), counters.errors(Operation::Remove)), (1, 0));
    assert_eq!(names(dir.path()), ["inlet.log", "inlet.log.2", "inlet.log.3"]);
    assert_eq!(inlet.bytes(), 30);
}

#[test]
fn a_directory_that_is_cleaned_up_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test");
    let (mut inlet, _) = open(&path, SMALL);
    inlet.append(b"1\n", 1).unwrap();
    inlet.sync().unwrap();
    fs::remove_dir_all(&path).unwrap();
    assert_eq!(inlet.append(b"2\n", 1).unwrap(), Kept::Written);
    assert_eq!(fs::read(path.join("inlet.log")).unwrap(), b"2\n");
    inlet.sync().unwrap();
}

#[test]
fn nothing_is_asked_of_the_disk_while_nothing_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut inlet, _) = open(dir.path(), SMALL);
    inlet.append(b"1\n", 1).unwrap();
    inlet.sync().unwrap();
    fs::remove_file(dir.path().join("inlet.log")).unwrap();
    inlet.sync().unwrap();
    assert_eq!(inlet.bytes(), 2, "it was not looked at");
    inlet.append(b"2\n", 1).unwrap();
    assert_eq!(fs::read(dir.path().join("inlet.log")).unwrap(), b"2\n", "but before the next write it is");
}

/// What lies beside an inlet's files is not read as such.
#[test]
fn patterns_are_of_its_own_files_alone() {
    let mut set = globset::GlobSetBuilder::new();
    for pattern in patterns(Path::new("/s/in[l]ets/a")) {
        set.add(globset::GlobBuilder::new(&pattern).literal_separator(true).build().unwrap());
    }
    let set = set.build().unwrap();
    for (name, is_own) in [
        ("inlet.log", true),
        ("inlet.log.1", true),
        ("inlet.log.18446744073709551615", true),
        ("inlet.log.0", false),
        ("inlet.log.07", false),
        ("inlet.log.bak", false),
        ("inlet.log.1.gz", false),
        ("inlet.log.", false),
    ] {
        assert_eq!(set.is_match(Path::new("/s/in[l]ets/a").join(name)), is_own, "{name}");
    }
}
