//! A real journald that writes, rotates and removes its files while they are read.

use crate::journald::{Journald, files};
use lugger::format::journal::{Cursor, Fields, Id, Merge, OpenError, ReadError, Reader, Wanted, Work};
use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

/// Follows a directory as a source would: list, look, read.
struct Follower {
    merge: Merge<File>,
    work: Work,
    fields: Fields,
    last: Option<Cursor>,
    /// The last entry's cursor as text.
    text: String,
    files: usize,
    started: bool,
    /// Files that have been read to their end.
    finished: HashSet<Id>,
}

impl Follower {
    fn new(last: Option<Cursor>) -> Follower {
        let work = Work::new(Wanted::only(["SEQ"]));
        let (merge, fields) = (Merge::default(), Fields::default());
        Follower { merge, work, fields, last, text: String::new(), files: 0, started: false, finished: HashSet::new() }
    }

    /// Takes new files in. Returns whether there was one.
    fn look(&mut self, directory: &Path) -> bool {
        let before = self.files;
        for path in files(directory) {
            // It may have been removed or renamed since.
            let Ok(file) = File::open(&path) else { continue };
            let mut reader = match Reader::open(file) {
                Ok(reader) => reader,
                Err(OpenError::Unfinished) => continue,
                Err(error) => panic!("{}: {error}", path.display()),
            };
            let id = reader.header().file_id;
            if self.merge.get(id).is_some() || self.finished.contains(&id) {
                continue;
            }
            // Files that appear later are new as a whole.
            if let Some(last) = self.last.as_ref().filter(|_| !self.started) {
                reader.seek_after(&mut self.work, last).unwrap();
            }
            self.files += usize::from(self.merge.add(reader));
        }
        self.files > before
    }

    /// Reads what there is. The numbers in it.
    fn turn(&mut self, directory: &Path) -> Vec<u64> {
        // A file that is renamed while the directory is listed may be missed, and its successor be found. Then a further listing shows it.
        while self.look(directory) {}
        self.started = true;
        // After the listing: what is complete in a file that another one follows is seen before the other's.
        while let Err(error) = self.merge.refresh(&mut self.work) {
            assert!(matches!(error.error, ReadError::Erased { unread: 0 }), "{error}");
            self.merge.remove(error.file_id).unwrap();
            self.finished.insert(error.file_id);
        }
        let mut found = Vec::new();
        while let Some(location) = self.merge.next(&mut self.work, &mut self.fields).unwrap() {
            (self.last, self.text) = (Some(location.into()), location.to_string());
            if let Some(value) = self.fields.get(b"SEQ") {
                found.push(String::from_utf8(value.to_vec()).unwrap().parse().unwrap());
            }
        }
        let finished: Vec<_> =
            self.merge.readers().filter(|file| file.is_finished()).map(|file| file.header().file_id).collect();
        for id in finished {
            let reader = self.merge.remove(id).unwrap();
            assert_eq!(reader.damage(), Default::default());
            self.finished.insert(id);
        }
        found
    }
}

fn log(journald: &Journald, number: u64) {
    let text = "y".repeat(number as usize % 900);
    journald.log(&[&format!("SEQ={number}"), &format!("MESSAGE=number {number} {text}"), "PRIORITY=6", "SHARED=yes"]);
}

/// All numbers, once each, in order.
fn follow(compact: bool) {
    const COUNT: u64 = 20_000;
    let directory = tempfile::tempdir().unwrap();
    let journald = Journald::start(directory.path(), compact, "RuntimeMaxUse=6M\nRuntimeMaxFileSize=512K\n");
    let (mut follower, mut next) = (Follower::new(None), 0);
    let start = Instant::now();
    let mut restarted = 0;
    let read = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..COUNT {
                // What is removed is gone: some files have to be there still.
                while number > read.load(Ordering::Relaxed) + 3000 && start.elapsed() < DEADLINE {
                    std::thread::yield_now();
                }
                log(&journald, number);
            }
        });
        while next < COUNT {
            for number in follower.turn(journald.directory()) {
                assert_eq!(number, next, "missing, repeated or out of order");
                next += 1;
            }
            read.store(next, Ordering::Relaxed);
            assert!(start.elapsed() < DEADLINE, "{next} of {COUNT}");
            if next / 5000 > restarted {
                // As after a restart: all that is left is the cursor, as text.
                restarted += 1;
                let cursor = follower.text.parse().unwrap();
                follower = Follower { files: follower.files, ..Follower::new(Some(cursor)) };
            }
        }
    });
    assert!(follower.turn(journald.directory()).is_empty());
    assert!(follower.files > 10, "{} files: it did not rotate", follower.files);
    assert!(restarted >= 3);
    let left = files(journald.directory()).len();
    assert!(left < follower.files, "{left} files: none was removed");
    journald.stop();
}

#[test]
fn compact_files_under_rotation_and_removal() {
    follow(true);
}

#[test]
fn regular_files_under_rotation_and_removal() {
    follow(false);
}

#[test]
fn an_idle_journal_and_rotation_on_demand() {
    let directory = tempfile::tempdir().unwrap();
    let journald = Journald::start(directory.path(), true, "");
    let mut follower = Follower::new(None);
    let mut want = 0;
    for round in 0..20 {
        log(&journald, round);
        if round % 5 == 4 {
            journald.rotate();
        }
        let start = Instant::now();
        while want <= round {
            for number in follower.turn(journald.directory()) {
                assert_eq!(number, want);
                want += 1;
            }
            assert!(start.elapsed() < DEADLINE, "{round}");
        }
    }
    journald.stop();
}
