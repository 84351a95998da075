//! The files of the dead letters, and how an agent that appends and a person's command that takes letters out share them.
//!
//! `dead-letters.jsonl`, and `dead-letters.jsonl.1` with what is older. Who changes the files, or which file has which name, holds an
//! exclusive `flock` on the directory for that moment; whoever appends looks, under the lock, whether its file still has the name. Letters
//! are taken out by writing the rest to a new file, which takes the old one's name; the time-consuming part of that is done without the lock.
//! Files are known by inode, which is not used again while the old file is open: one that was rotated is found under its other name, one
//! that has gone is left alone.
//!
//! Promises: what others append is never lost or doubled; after a crash there is the old file or the new, and what a file had beside letters
//! stays in it; owner and mode stay. Leaves to others: what the lines say.

use rustix::fs::{FlockOperation, flock};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The name of the file that is appended to, in the state directory.
const CURRENT: &str = "dead-letters.jsonl";
/// The name of the file before.
const OLDER: &str = "dead-letters.jsonl.1";
/// Holding a lock on this file means to be the one who takes letters out.
const LOCK: &str = "dead-letters.lock";

/// Between two looks at a lock that somebody has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Why the dead letters cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum LetterBoxError {
    /// The file system.
    #[error("cannot {what} {path}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Somebody else is at it.
    #[error("another command takes dead letters out of {0}: wait for its end")]
    Busy(PathBuf),
}

/// The file that is appended to.
pub(super) fn current(dir: &Path) -> PathBuf {
    dir.join(CURRENT)
}

/// The file before.
pub(super) fn older(dir: &Path) -> PathBuf {
    dir.join(OLDER)
}

/// The right to change the files for a moment; gone when dropped.
#[derive(Debug)]
pub(super) struct Moment(#[allow(dead_code, reason = "the lock lives as long as the descriptor")] File);

impl Moment {
    /// Waits for whoever has it, but no longer than this. The caller's thread sleeps meanwhile.
    pub(super) fn take_within(dir: &Path, longest: Duration) -> io::Result<Self> {
        let file = File::open(dir)?;
        let started = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Moment(file)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) if started.elapsed() < longest => std::thread::sleep(LOOK_AGAIN),
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let words = "another process has locked the directory; is a `lugger dead-letters` command stopped or stuck?";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, words));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for whoever has it.
    pub(super) fn take(dir: &Path) -> io::Result<Self> {
        let file = File::open(dir)?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Moment(file)),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether two descriptions are of the same file.
pub(super) fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// A line in its place: of which file, the how manieth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LineId {
    file: usize,
    line: usize,
}

/// All lines that there were when they were read, oldest first.
#[derive(Debug)]
pub struct LetterBox {
    dir: PathBuf,
    /// The older file first.
    files: Vec<Taken>,
    /// Held by who may change it.
    lock: Option<File>,
}

/// One file as far as it was read.
#[derive(Debug)]
struct Taken {
    file: File,
    /// Up to the last newline.
    bytes: u64,
    /// With their newlines; `None`: taken out.
    lines: Vec<Option<Vec<u8>>>,
    changed: bool,
}

impl LetterBox {
    /// Reads the files in `dir`. That they are not there is no error.
    pub fn read(dir: &Path) -> Result<Self, LetterBoxError> {
        // A rotation between the two would show a letter twice, or not at all.
        let opened = {
            let _moment = Moment::take(dir).map_err(fail("open", dir))?;
            let mut opened = Vec::new();
            for path in [older(dir), current(dir)] {
                match File::open(&path) {
                    Ok(file) => {
                        let bytes = file.metadata().map_err(fail("read", &path))?.len();
                        opened.push((path, file, bytes));
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(fail("open", &path)(error)),
                }
            }
            opened
        };
        let mut files = Vec::new();
        for (path, file, bytes) in opened {
            let mut text = Vec::new();
            (&file).take(bytes).read_to_end(&mut text).map_err(fail("read", &path))?;
            // A line that has not ended is one that is being written, or a torn one that the next one ends.
            let whole = memchr::memrchr(b'\n', &text).map_or(0, |at| at + 1);
            text.truncate(whole);
            let lines = text.split_inclusive(|b| *b == b'\n').map(|line| Some(line.to_vec())).collect();
            files.push(Taken { file, bytes: whole as u64, lines, changed: false });
        }
        Ok(LetterBox { dir: dir.to_owned(), files, lock: None })
    }

    /// Reads the files in `dir` to change them. One at a time may do that.
    pub fn open(dir: &Path) -> Result<Self, LetterBoxError> {
        let path = dir.join(LOCK);
        // Everybody who may read the directory may lock it: the command is not always run by the agent's own user.
        let mut options = OpenOptions::new();
        let lock = options.read(true).append(true).create(true).mode(0o644).open(&path).or_else(|_| File::open(&path));
        let lock = lock.map_err(fail("open", &path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(LetterBoxError::Busy(dir.to_owned())),
            Err(error) => return Err(fail("lock", &path)(error.into())),
        }
        Ok(LetterBox { lock: Some(lock), ..Self::read(dir)? })
    }

    /// The lines that are there, without their newlines.
    pub fn lines(&self) -> impl Iterator<Item = (LineId, &[u8])> {
        self.files.iter().enumerate().flat_map(|(file, taken)| {
            let lines = taken.lines.iter().enumerate();
            lines.filter_map(move |(line, text)| {
                let text = text.as_deref()?;
                Some((LineId { file, line }, text.strip_suffix(b"\n").unwrap_or(text)))
            })
        })
    }

    /// Takes a line out, with the next [`LetterBox::save`].
    pub fn remove(&mut self, id: LineId) {
        self.put(id, None);
    }

    /// Replaces a line, which has to end with a newline, with the next [`LetterBox::save`].
    pub fn replace(&mut self, id: LineId, line: Vec<u8>) {
        self.put(id, Some(line));
    }

    fn put(&mut self, id: LineId, text: Option<Vec<u8>>) {
        if let Some(taken) = self.files.get_mut(id.file)
            && let Some(line) = taken.lines.get_mut(id.line)
        {
            *line = text;
            taken.changed = true;
        }
    }

    /// Writes what was changed. On an error the files are as they were.
    pub fn save(&mut self) -> Result<(), LetterBoxError> {
        let dir = &self.dir;
        if self.lock.is_none() {
            let error = io::Error::other("the dead letters were opened for reading");
            return Err(fail("change", dir)(error));
        }
        for taken in self.files.iter_mut().filter(|taken| taken.changed) {
            let temporary = dir.join("dead-letters.new");
            taken.replace(dir, &temporary).map_err(|error| {
                // Best effort: the next attempt begins it anew.
                let _ = std::fs::remove_file(&temporary);
                fail("rewrite", &current(dir))(error)
            })?;
        }
        Ok(())
    }
}

impl Taken {
    fn replace(&mut self, dir: &Path, temporary: &Path) -> io::Result<()> {
        let was = self.file.metadata()?;
        let mut new = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(was.permissions().mode() & 0o7777)
            .open(temporary)?;
        let kept = self.lines.iter().flatten();
        let bytes: u64 = kept.clone().map(|line| line.len() as u64).sum();
        let mut writer = io::BufWriter::with_capacity(256 * 1024, &new);
        for line in kept {
            writer.write_all(line)?;
        }
        writer.flush()?;
        drop(writer);
        let is = new.metadata()?;
        if (is.uid(), is.gid()) != (was.uid(), was.gid()) {
            fchown(&new, Some(was.uid()), Some(was.gid()))?;
        }
        new.sync_all()?;
        let moment = Moment::take(dir)?;
        let has = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|there| is_same(&there, &was));
        let Some(path) = [current(dir), older(dir)].into_iter().find(has) else {
            // It has gone, being the oldest.
            self.changed = false;
            return std::fs::remove_file(temporary);
        };
        let appended = copy_from(&self.file, self.bytes, &mut new)?;
        if appended > 0 {
            new.sync_all()?;
        }
        if bytes + appended == 0 {
            std::fs::remove_file(temporary)?;
            std::fs::remove_file(&path)?;
        } else {
            std::fs::rename(temporary, &path)?;
        }
        crate::base::atomic_file::sync_directory(&path)?;
        drop(moment);
        self.file = new;
        self.bytes = bytes;
        self.changed = false;
        Ok(())
    }
}

/// Appends what `from` has after its first `start` bytes; tells how much that was.
fn copy_from(from: &File, start: u64, to: &mut File) -> io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut at = start;
    loop {
        match from.read_at(&mut buffer, at) {
            Ok(0) => return Ok(at - start),
            Ok(got) => {
                to.write_all(buffer.get(..got).unwrap_or_default())?;
                at += got as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn fail<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> LetterBoxError + 'a {
    move |error| LetterBoxError::Io { what, path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(letters: &LetterBox) -> Vec<String> {
        letters.lines().map(|(_, line)| String::from_utf8(line.to_vec()).unwrap()).collect()
    }

    fn filled(older_text: &str, current_text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(older(dir.path()), older_text).unwrap();
        std::fs::write(current(dir.path()), current_text).unwrap();
        dir
    }

    fn text(path: PathBuf) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn lines_are_taken_out_of_both_files_and_what_was_appended_stays() {
        let dir = filled("a\nb\n", "c\nd\nhal");
        let mut letters = LetterBox::open(dir.path()).unwrap();
        assert_eq!(lines(&letters), ["a", "b", "c", "d"]);
        let ids: Vec<LineId> = letters.lines().map(|(id, _)| id).collect();
        letters.remove(ids[0]);
        letters.replace(ids[2], b"C\n".to_vec());
        let mut file = OpenOptions::new().append(true).open(current(dir.path())).unwrap();
        file.write_all(b"f\ne\n").unwrap();
        letters.save().unwrap();
        assert_eq!((text(older(dir.path())), text(current(dir.path()))), ("b\n".into(), "C\nd\nhalf\ne\n".into()));
        // Again, from where it is now; a file with nothing left goes.
        letters.remove(ids[1]);
        letters.remove(ids[3]);
        letters.save().unwrap();
        assert!(!older(dir.path()).exists());
        assert_eq!(text(current(dir.path())), "C\nhalf\ne\n");
        assert_eq!(lines(&LetterBox::read(dir.path()).unwrap()), ["C", "half", "e"]);
    }

    #[test]
    fn a_file_that_was_rotated_is_found_and_one_that_has_gone_is_left_alone() {
        let dir = filled("a\n", "b\nc\n");
        let mut letters = LetterBox::open(dir.path()).unwrap();
        let ids: Vec<LineId> = letters.lines().map(|(id, _)| id).collect();
        std::fs::rename(current(dir.path()), older(dir.path())).unwrap();
        std::fs::write(current(dir.path()), "d\n").unwrap();
        letters.remove(ids[0]);
        letters.remove(ids[1]);
        letters.save().unwrap();
        assert_eq!((text(older(dir.path())), text(current(dir.path()))), ("c\n".into(), "d\n".into()));
        std::fs::rename(current(dir.path()), older(dir.path())).unwrap();
        letters.remove(ids[2]);
        letters.save().unwrap();
        assert_eq!((text(older(dir.path())), current(dir.path()).exists()), ("d\n".into(), false));
        assert!(!dir.path().join("dead-letters.new").exists());
    }

    #[test]
    fn one_at_a_time_may_change_and_mode_stays() {
        let dir = filled("", "a\nb\n");
        std::fs::set_permissions(current(dir.path()), std::fs::Permissions::from_mode(0o640)).unwrap();
        let mut letters = LetterBox::open(dir.path()).unwrap();
        assert!(matches!(LetterBox::open(dir.path()), Err(LetterBoxError::Busy(_))));
        let mut reader = LetterBox::read(dir.path()).unwrap();
        let first = reader.lines().map(|(id, _)| id).next().unwrap();
        reader.remove(first);
        assert!(reader.save().is_err());
        letters.remove(first);
        letters.save().unwrap();
        assert_eq!(text(current(dir.path())), "b\n");
        assert_eq!(std::fs::metadata(current(dir.path())).unwrap().permissions().mode() & 0o777, 0o640);
        drop(letters);
        LetterBox::open(dir.path()).unwrap();
    }
}
