//! Files of the kernel: where they are, how they are read, and numbers and words in their bytes.
//!
//! A file of /proc or /sys stays open and is read with `pread` into a buffer that is used again: opening and closing cost more than reading,
//! eight files took 94 µs so, and 404 µs through a crate that opens them and makes a map of each. Words are found in the bytes; what is not
//! needed is never a `String`.
//!
//! Promises: nothing here panics at or allocates for what a file says (a buffer grows once); a file that vanished and came back is opened again.
//! Leaves to others: what a file's content means.

use super::Fail;
use crate::base::limits::{HOST_FILE_BYTES, HOST_FILE_BYTES_MAX};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Memory for a file's content, for one file at a time.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
}

impl Default for Buffer {
    fn default() -> Self {
        Buffer { bytes: vec![0; HOST_FILE_BYTES] }
    }
}

impl Buffer {
    /// Reads from the start until there is no more, or until one read has given something if `once`.
    fn fill(&mut self, file: &OwnedFd, once: bool) -> Result<usize, Errno> {
        let mut len = 0;
        loop {
            if len == self.bytes.len() {
                if len >= HOST_FILE_BYTES_MAX {
                    return Err(Errno::FBIG);
                }
                self.bytes.resize(len * 4, 0);
            }
            let free = self.bytes.get_mut(len..).unwrap_or_default();
            let room = free.len();
            match rustix::io::pread(file, free, len as u64) {
                Ok(0) => return Ok(len),
                Ok(got) => {
                    len += got;
                    if once && got < room {
                        return Ok(len);
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn first(&self, len: usize) -> &[u8] {
        self.bytes.get(..len).unwrap_or_default()
    }
}

/// A file that stays open from one collection to the next.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    open: Option<OwnedFd>,
    passing: bool,
}

impl File {
    /// A file that is opened when it is read first; it need not be there.
    pub(super) fn new(path: impl Into<PathBuf>) -> File {
        File { path: path.into(), open: None, passing: false }
    }

    /// A file that is opened for each reading, because there may be too many of its kind to keep them open.
    pub(super) fn passing(path: impl Into<PathBuf>) -> File {
        File { path: path.into(), open: None, passing: true }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The whole content of a file that the kernel gives in one piece, by one system call: attributes in /sys, and those of /proc that have few lines
    /// or are made at once (stat, meminfo, loadavg, vmstat). Others are given a page at a time: [`File::all`].
    pub(super) fn read<'b>(&mut self, buffer: &'b mut Buffer) -> Result<&'b [u8], Errno> {
        self.fill(buffer, true).map(|len| buffer.first(len))
    }

    /// The whole content of a file whose records the kernel gives a page at a time (diskstats, mountinfo, interrupts, what is in /proc/net); an unlucky
    /// end of a page makes a short read, so it is read until there is nothing more.
    pub(super) fn all<'b>(&mut self, buffer: &'b mut Buffer) -> Result<&'b [u8], Errno> {
        self.fill(buffer, false).map(|len| buffer.first(len))
    }

    /// The same as [`File::read`], without white space at both ends.
    pub(super) fn word<'b>(&mut self, buffer: &'b mut Buffer) -> Result<&'b [u8], Errno> {
        self.read(buffer).map(trim)
    }

    /// [`File::read`] for a collector that has no data where the file is missing, and a failure for every other error.
    pub(super) fn needed<'b>(&mut self, buffer: &'b mut Buffer) -> Result<&'b [u8], Fail> {
        let filled = self.fill(buffer, true);
        self.told(filled).map(|len| buffer.first(len))
    }

    /// [`File::all`] likewise.
    pub(super) fn all_needed<'b>(&mut self, buffer: &'b mut Buffer) -> Result<&'b [u8], Fail> {
        let filled = self.fill(buffer, false);
        self.told(filled).map(|len| buffer.first(len))
    }

    fn told(&self, filled: Result<usize, Errno>) -> Result<usize, Fail> {
        filled.map_err(|error| if error == Errno::NOENT { Fail::NoData } else { Fail::io(&self.path, error) })
    }

    fn fill(&mut self, buffer: &mut Buffer, once: bool) -> Result<usize, Errno> {
        if let Some(file) = &self.open {
            match buffer.fill(file, once) {
                // What it named is gone (a device was removed), and may be back under the same name.
                Err(_) => self.open = None,
                filled => return filled,
            }
        }
        let file = open(&self.path)?;
        let filled = buffer.fill(&file, once);
        if filled.is_ok() && !self.passing {
            self.open = Some(file);
        }
        filled
    }
}

/// The content of a file that is read seldom, without white space at both ends; nothing is kept open.
pub(super) fn read_once<'b>(path: &Path, buffer: &'b mut Buffer) -> Result<&'b [u8], Errno> {
    let len = buffer.fill(&open(path)?, false)?;
    Ok(trim(buffer.first(len)))
}

/// The same as text with replacement characters where it is none; `None` where the file is missing or cannot be read.
pub(super) fn text_once(path: &Path, buffer: &mut Buffer) -> Option<String> {
    read_once(path, buffer).ok().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    // Not blocking: a name in /sys or of a fixture that is a pipe must not hold us up.
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
}

/// The names in a directory, sorted; none where it is missing.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, Fail> {
    let read = match std::fs::read_dir(directory) {
        Ok(read) => read,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Fail::Error(format!("{}: {error}", directory.display()))),
    };
    let mut names: Vec<String> =
        read.filter_map(|entry| entry.ok().and_then(|entry| entry.file_name().into_string().ok())).collect();
    names.sort();
    Ok(names)
}

/// The lines, without their ends; no empty one at the end.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest.get(..end).unwrap_or_default();
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(line)
    })
}

/// What stands between white space.
pub(super) fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    bytes.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

/// Without white space and NUL at both ends.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes.trim_ascii();
    while let Some(less) = bytes.strip_suffix(&[0]) {
        bytes = less.trim_ascii_end();
    }
    bytes
}

/// What is before and behind the first `byte`.
pub(super) fn cut(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, bytes)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// Text, as far as it is UTF-8: the kernel's own words are ASCII.
pub(super) fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            bytes.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok()).unwrap_or_default()
        }
    }
}

/// A decimal number of digits alone.
pub(super) fn unsigned(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A decimal number that may have a sign.
pub(super) fn signed(bytes: &[u8]) -> Option<i64> {
    match bytes.strip_prefix(b"-") {
        Some(digits) => 0i64.checked_sub_unsigned(unsigned(digits)?),
        None => i64::try_from(unsigned(bytes)?).ok(),
    }
}

/// A hexadecimal number, with or without `0x`.
pub(super) fn hex(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.strip_prefix(b"0x").unwrap_or(bytes);
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| Some(value << 4 | u64::from(char::from(*byte).to_digit(16)?)))
}

/// A number that may have a fraction and a sign; no other form that a number can be written in.
pub(super) fn float(bytes: &[u8]) -> Option<f64> {
    match signed(bytes) {
        Some(whole) => Some(whole as f64),
        None => {
            let (whole, part) = cut(bytes.strip_prefix(b"-").unwrap_or(bytes), b'.')?;
            unsigned(whole).and(unsigned(part))?;
            text(bytes).parse().ok()
        }
    }
}

/// A number as a label's value or in a path, in memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Digits(String);

impl Digits {
    /// The number in decimal digits.
    pub(super) fn of(&mut self, number: u64) -> &str {
        self.0.clear();
        // A string takes everything.
        let _ = write!(self.0, "{number}");
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!((unsigned(b"0"), unsigned(b"18446744073709551615")), (Some(0), Some(u64::MAX)));
        for wrong in [&b""[..], b"-1", b"1 ", b"1a", b"18446744073709551616", b"99999999999999999999"] {
            assert_eq!(unsigned(wrong), None);
        }
        assert_eq!((signed(b"-9223372036854775808"), signed(b"-"), signed(b"--1")), (Some(i64::MIN), None, None));
        assert_eq!(
            (hex(b"0x1f"), hex(b"ffffffffffffffff"), hex(b"0x"), hex(b"g")),
            (Some(31), Some(u64::MAX), None, None)
        );
        assert_eq!((float(b"0.25"), float(b"-3"), float(b"-0.5")), (Some(0.25), Some(-3.0), Some(-0.5)));
        for wrong in [&b"x"[..], b"nan", b"inf", b"1e3", b"1.", b".5", b"1.-2", b"1.2.3", b"+1"] {
            assert_eq!(float(wrong), None);
        }
        assert_eq!(Digits::default().of(1234), "1234");
    }

    #[test]
    fn pieces() {
        assert_eq!(lines(b"a\n\nb").collect::<Vec<_>>(), [&b"a"[..], b"", b"b"]);
        assert_eq!(lines(b"a\n").count(), 1);
        assert_eq!(words(b"  a \tb\n").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!((trim(b" a b \n\0"), trim(b"\0\n")), (&b"a b"[..], &b""[..]));
        assert_eq!((cut(b"a:b:c", b':'), cut(b"a", b':')), (Some((&b"a"[..], &b"b:c"[..])), None));
        assert_eq!((text(b"ab"), text(b"a\xff")), ("ab", "a"));
    }

    #[test]
    fn a_file_is_read_again_and_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let (mut file, mut buffer) = (File::new(&path), Buffer::default());
        assert!(matches!(file.needed(&mut buffer), Err(Fail::NoData)));
        std::fs::write(&path, "1\n").unwrap();
        assert_eq!(file.word(&mut buffer).unwrap(), b"1");
        let long = vec![b'x'; HOST_FILE_BYTES * 5];
        std::fs::write(&path, &long).unwrap();
        assert!(file.read(&mut buffer).unwrap() == long);
        std::fs::write(&path, vec![b'x'; HOST_FILE_BYTES_MAX + 1]).unwrap();
        assert!(matches!(file.all_needed(&mut buffer), Err(Fail::Error(_))));
        assert!(file.open.is_none());
        std::fs::write(&path, "2\n").unwrap();
        assert_eq!(read_once(&path, &mut buffer).unwrap(), b"2");
        assert_eq!(file.all(&mut buffer).unwrap(), b"2\n");
    }
}
