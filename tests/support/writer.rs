//! A program that writes numbered lines to a log, and the ways in which such logs are rotated.
//!
//! Lines go out in blocks of 4096 bytes, as a C library's buffered streams write them: a reader sees half lines all the time.
//!
//! Promises: after each method the file ends with a newline, unless the method says otherwise.

use super::ledger;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Size of a block.
const BLOCK: usize = 4096;

/// Writes the lines of one run, in order, to a path.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    run: String,
    next: u64,
    line_bytes: usize,
    text: String,
}

impl Writer {
    /// Opens `path` for appending. Lines are about 120 bytes.
    pub fn new(path: impl Into<PathBuf>, run: &str) -> Self {
        let path = path.into();
        let file = append(&path);
        Writer { path, file, run: run.to_owned(), next: 0, line_bytes: 120, text: String::new() }
    }

    /// With lines of about `bytes`.
    pub fn with_line_bytes(mut self, bytes: usize) -> Self {
        self.line_bytes = bytes;
        self
    }

    /// Lines written so far; also the number of the next one.
    pub fn written(&self) -> u64 {
        self.next
    }

    /// Writes `count` lines as fast as it goes.
    pub fn write(&mut self, count: u64) {
        for _ in 0..count {
            ledger::line(&self.run, self.next, self.line_bytes, &mut self.text);
            self.text.push('\n');
            self.next += 1;
            while self.text.len() >= BLOCK {
                self.file.write_all(&self.text.as_bytes()[..BLOCK]).expect("the log takes a block");
                self.text.drain(..BLOCK);
            }
        }
        self.finish();
    }

    /// Writes `count` lines at about `per_second`, in bursts a few milliseconds apart.
    pub fn write_at(&mut self, count: u64, per_second: u64) {
        let start = Instant::now();
        let first = self.next;
        while self.next < first + count {
            let due = per_second * u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX) / 1_000_000;
            let todo = due.min(count).saturating_sub(self.next - first);
            self.write(todo);
            // This is the pace of the program that writes, not a wait for something to happen.
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Writes the first half of the next line, without its end; the next call of [`Writer::write`] goes on with the rest.
    pub fn write_half(&mut self) {
        ledger::line(&self.run, self.next, self.line_bytes, &mut self.text);
        self.next += 1;
        let half = self.text.len() / 2;
        self.file.write_all(&self.text.as_bytes()[..half]).expect("the log takes half a line");
        self.text.drain(..half);
        self.text.push('\n');
    }

    /// Writes the next line without its newline. Nothing may be written after it into the same file.
    pub fn write_unended(&mut self) {
        ledger::line(&self.run, self.next, self.line_bytes, &mut self.text);
        self.next += 1;
        self.finish();
    }

    /// Rotation as logrotate does it without `copytruncate`: `x.2` to `x.3`, `x.1` to `x.2`, `x` to `x.1`; the program goes on for `after`
    /// lines in the renamed file and then opens the path anew. Nothing is deleted.
    pub fn rename_rotate(&mut self, after: u64) {
        shift(&self.path);
        std::fs::rename(&self.path, numbered(&self.path, 1)).expect("rename the log");
        self.write(after);
        self.file = append(&self.path);
    }

    /// Rotation as `copytruncate` does it: copy to `x.copy`, then truncate to nothing. What is written between the two is lost on
    /// disk; so nothing is. The caller sees to it that the agent has read everything if the test counts lines.
    pub fn copytruncate(&mut self) {
        std::fs::copy(&self.path, self.path.with_extension("copy")).expect("copy the log");
        self.file.set_len(0).expect("truncate the log");
    }

    /// Deletes the file, goes on for `after` lines in the deleted file, then makes a new one under the path.
    pub fn delete_recreate(&mut self, after: u64) {
        std::fs::remove_file(&self.path).expect("delete the log");
        self.write(after);
        self.file = append(&self.path);
    }

    /// Opens the path anew, without any rotation.
    pub fn reopen(&mut self) {
        self.file = append(&self.path);
    }

    fn finish(&mut self) {
        self.file.write_all(self.text.as_bytes()).expect("the log takes the rest");
        self.text.clear();
    }
}

/// `x.log` and 3 to `x.log.3`.
pub fn numbered(path: &Path, n: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

fn shift(path: &Path) {
    let last = (1..).find(|n| !numbered(path, *n).exists()).expect("some number is free");
    for n in (1..last).rev() {
        std::fs::rename(numbered(path, n), numbered(path, n + 1)).expect("rename an older log");
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).expect("open the log for appending")
}

/// Appends bytes to a file, which is made if need be.
pub fn append_to(path: &Path, bytes: impl AsRef<[u8]>) {
    append(path).write_all(bytes.as_ref()).expect("the file takes the bytes");
}
