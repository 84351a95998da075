//! Dead letters: entries that an endpoint refused for good, kept in a bounded file of JSON lines for a person to look at and to re-send.
//!
//! `dead-letters.jsonl` in the state directory, mode 0600; when it reaches half of [`DEAD_LETTER_BYTES`] it becomes
//! `dead-letters.jsonl.1`, whose former content goes and is counted. Promises: never more than that bound on disk; a file that
//! cannot be written is reported and counted, and stops nothing; a command that takes letters out meanwhile is not disturbed (`letter_box`),
//! and one that is stopped while it has the files locked is waited for [`DEAD_LETTER_LOCK_MS`] once, and then a small part of the time.
//! Leaves to others: deciding what is refused for good, what a line looks like (`format::letter`).

use super::letter_box::{Moment, current, is_same, older};
use crate::base::clock::Clock;
use crate::base::limits::{DEAD_LETTER_BYTES, DEAD_LETTER_LOCK_MS, DEAD_LETTER_LOCK_SHARE};
use crate::base::metrics::{Counter, Registry};
use crate::format::civil;
use crate::format::letter::Letter;
use crate::format::loki::EntryAdapter;
use crate::format::push_response::Reason;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Encoded entries are gathered up to this size before they are written, bytes.
const GATHER_BYTES: usize = 256 * 1024;

/// The file, shared by all endpoints. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeadLetters(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    clock: Clock,
    written: Counter,
    lost: Counter,
    dropped_bytes: Counter,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<File>,
    bytes: u64,
    /// Whether the last write failed, so that a failure is reported once.
    failing: bool,
    /// When it was waited for another process in vain, if that was at the last attempt.
    locked_out: Option<Instant>,
}

impl DeadLetters {
    /// The file in `state_dir`. Nothing is opened before the first entry.
    pub fn new(state_dir: &Path, registry: &Registry, clock: Clock) -> Self {
        DeadLetters(Arc::new(Shared {
            dir: state_dir.to_owned(),
            clock,
            written: registry.counter("lugger_dead_letters_total", "Entries written to the dead letters.", &[]),
            lost: registry.counter(
                "lugger_dead_letters_failed_total",
                "Refused entries that could not be written to the dead letters.",
                &[],
            ),
            dropped_bytes: registry.counter(
                "lugger_dead_letters_dropped_bytes_total",
                "Bytes of the oldest dead letters that went because the file had reached its bound.",
                &[],
            ),
            state: Mutex::default(),
        }))
    }

    /// Begins to write entries that `endpoint` refused with `message`. `tenant`: whose they are, if not its own tenant's.
    pub fn begin<'a>(&'a self, endpoint: &'a str, tenant: Option<&'a str>, message: &'a str) -> Writing<'a> {
        let time = civil::format_rfc3339_ms(self.0.clock.now_ns());
        Writing { letters: self, endpoint, tenant, message, time, gathered: Vec::new(), count: 0 }
    }
}

/// Entries that are being written. Neither the disk nor a lock is waited for on the caller's thread, which must be within a tokio runtime.
/// What cannot be written is counted.
#[derive(Debug)]
#[must_use = "what is gathered is written by `end`"]
pub struct Writing<'a> {
    letters: &'a DeadLetters,
    endpoint: &'a str,
    tenant: Option<&'a str>,
    message: &'a str,
    time: String,
    gathered: Vec<u8>,
    count: u64,
}

impl Writing<'_> {
    /// An entry of the stream with these labels, and why it was refused.
    pub async fn add(&mut self, labels: &str, entry: &EntryAdapter, reason: Reason) {
        let letter = Letter {
            time: self.time.clone(),
            endpoint: self.endpoint.to_owned(),
            reason: reason.as_str().to_owned(),
            message: self.message.to_owned(),
            tenant: self.tenant.map(str::to_owned),
            labels: labels.to_owned(),
            entry: entry.clone(),
            stamp: None,
            truncated: false,
        };
        self.gathered.extend(letter.encode());
        self.count += 1;
        if self.gathered.len() >= GATHER_BYTES {
            self.flush().await;
        }
    }

    /// Returns when all is written, or has failed.
    pub async fn end(mut self) {
        self.flush().await;
    }

    async fn flush(&mut self) {
        let (gathered, count) = (std::mem::take(&mut self.gathered), std::mem::take(&mut self.count));
        if gathered.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.letters.0);
        let written = tokio::task::spawn_blocking(move || shared.flush(&gathered, count)).await;
        // Only when the runtime ends, or by a bug that the hook for panics reports.
        if written.is_err() {
            self.letters.0.lost.add(count);
        }
    }
}

impl Shared {
    fn flush(&self, gathered: &[u8], count: u64) {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match self.append(state, gathered) {
            Ok(()) => {
                self.written.add(count);
                state.failing = false;
            }
            Err(error) => {
                self.lost.add(count);
                state.file = None;
                if !state.failing {
                    tracing::error!(
                        path = %current(&self.dir).display(),
                        %error,
                        "entries that an endpoint refused for good cannot be written to the dead letters; \
                         they are counted in lugger_dead_letters_failed_total. Free space or check the directory's rights"
                    );
                }
                state.failing = true;
            }
        }
    }

    fn append(&self, state: &mut State, bytes: &[u8]) -> io::Result<()> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let path = current(&self.dir);
        let moment = Moment::take_within(&self.dir, patience(state.locked_out.map(|at| at.elapsed())));
        let locked_out = moment.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
        state.locked_out = locked_out.then(Instant::now);
        let _moment = moment?;
        let is_there = |file: &File| -> io::Result<bool> {
            Ok(std::fs::metadata(&path).is_ok_and(|there| file.metadata().is_ok_and(|own| is_same(&there, &own))))
        };
        // Somebody may have put another file in its place.
        if !state.file.as_ref().map_or(Ok(false), is_there)? {
            self.open(state)?;
        }
        if state.bytes > 0 && state.bytes.saturating_add(length) > DEAD_LETTER_BYTES / 2 {
            let older = older(&self.dir);
            let going = std::fs::metadata(&older).map(|m| m.len()).unwrap_or(0);
            std::fs::rename(&path, &older)?;
            self.dropped_bytes.add(going);
            self.open(state)?;
        }
        match &mut state.file {
            Some(file) => file.write_all(bytes)?,
            None => return Err(io::Error::other("the file is not open")),
        }
        state.bytes = state.bytes.saturating_add(length);
        Ok(())
    }

    /// Opens the file for appending; a torn last line of an earlier failure is ended.
    fn open(&self, state: &mut State) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(current(&self.dir))?;
        state.bytes = file.metadata()?.len();
        if state.bytes > 0 {
            let mut last = [0u8];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                state.bytes += 1;
            }
        }
        state.file = Some(file);
        Ok(())
    }
}

/// How long the files are waited for, when that was in vain so long ago. Whoever is stopped while it has them must not slow down all that is
/// sent; somebody else has them only for a moment.
fn patience(since_locked_out: Option<Duration>) -> Duration {
    let longest = Duration::from_millis(DEAD_LETTER_LOCK_MS);
    since_locked_out.map_or(longest, |since| longest.min(since / DEAD_LETTER_LOCK_SHARE))
}

#[cfg(test)]
mod tests {
    use super::super::letter_box::LetterBox;
    use super::*;
    use crate::format::loki::Timestamp;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::AtomicI64;

    /// Writes entries to the end.
    async fn write(letters: &DeadLetters, entries: &[(&str, EntryAdapter, Reason)]) {
        let mut writing = letters.begin("home", None, "no");
        for (labels, entry, reason) in entries {
            writing.add(labels, entry, *reason).await;
        }
        writing.end().await;
    }

    fn entry(ns: i64, line: &[u8]) -> EntryAdapter {
        EntryAdapter { timestamp: Some(Timestamp::from_ns(ns)), line: line.to_vec(), structured_metadata: Vec::new() }
    }

    #[tokio::test]
    async fn one_line_of_json_an_entry_readable_by_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(dir.path(), &Registry::default(), Clock::Manual(Arc::new(AtomicI64::new(0))));
        write(&letters, &[("{a=\"b\"}", entry(5, b"x\""), Reason::TooOld)]).await;
        let path = dir.path().join("dead-letters.jsonl");
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"endpoint\":\"home\",\"reason\":\"too_old\",\"message\":\"no\",\
             \"labels\":\"{a=\\\"b\\\"}\",\"timestamp\":\"5\",\"line\":\"x\\\"\"}\n"
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn bounded_with_one_older_file() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::default();
        let letters = DeadLetters::new(dir.path(), &registry, Clock::System);
        let long = entry(1, &vec![b'x'; 1 << 20]);
        let evil = entry(1, &vec![1; 2 << 20]);
        for _ in 0..20 {
            write(&letters, &[("{}", long.clone(), Reason::Other), ("{}", evil.clone(), Reason::Other)]).await;
        }
        let size = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
        assert!(size("dead-letters.jsonl") + size("dead-letters.jsonl.1") <= DEAD_LETTER_BYTES);
        assert!(registry.counter("lugger_dead_letters_dropped_bytes_total", "", &[]).get() > 0);
        assert_eq!(registry.counter("lugger_dead_letters_total", "", &[]).get(), 40);
        let text = std::fs::read_to_string(dir.path().join("dead-letters.jsonl")).unwrap();
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }

    #[tokio::test]
    async fn what_somebody_takes_out_meanwhile_is_gone_and_what_is_written_meanwhile_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(dir.path(), &Registry::default(), Clock::System);
        let put = async |line: &[u8]| write(&letters, &[("{}", entry(1, line), Reason::Other)]).await;
        let lines = || -> Vec<Vec<u8>> {
            let letters = LetterBox::read(dir.path()).unwrap();
            letters.lines().map(|(_, line)| Letter::decode(line).unwrap().entry.line).collect()
        };
        put(b"1").await;
        put(b"2").await;
        let mut taken = LetterBox::open(dir.path()).unwrap();
        let ids: Vec<_> = taken.lines().map(|(id, _)| id).collect();
        put(b"3").await;
        taken.remove(ids[0]);
        taken.save().unwrap();
        put(b"4").await;
        assert_eq!(lines(), [b"2", b"3", b"4"]);
        let ids: Vec<_> = LetterBox::read(dir.path()).unwrap().lines().map(|(id, _)| id).collect();
        drop(taken);
        let mut taken = LetterBox::open(dir.path()).unwrap();
        ids.into_iter().for_each(|id| taken.remove(id));
        taken.save().unwrap();
        put(b"5").await;
        assert_eq!(lines(), [b"5"]);
    }

    #[test]
    fn a_short_wait_follows_soon_upon_one_in_vain_and_a_long_one_later() {
        let after = |ms| patience(Some(Duration::from_millis(ms))).as_millis();
        assert_eq!([0, 1_000, 20_000, 60_000].map(after), [0, 50, 1_000, 2_000]);
        assert_eq!(patience(None).as_millis(), 2_000);
    }

    #[tokio::test]
    async fn after_a_wait_in_vain_another_command_that_has_the_files_for_a_moment_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::default();
        let letters = DeadLetters::new(dir.path(), &registry, Clock::System);
        letters.0.state.lock().unwrap().locked_out = Some(Instant::now() - Duration::from_secs(60));
        let moment = Moment::take_within(dir.path(), Duration::ZERO).unwrap();
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(moment);
        });
        write(&letters, &[("{}", entry(1, b"x"), Reason::Other)]).await;
        other.join().unwrap();
        assert_eq!(registry.counter("lugger_dead_letters_failed_total", "", &[]).get(), 0);
        assert_eq!(registry.counter("lugger_dead_letters_total", "", &[]).get(), 1);
    }

    #[tokio::test]
    async fn a_failure_is_counted_and_a_torn_line_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::default();
        let state_dir = dir.path().join("state");
        let letters = DeadLetters::new(&state_dir, &registry, Clock::System);
        write(&letters, &[("{}", entry(1, b"x"), Reason::Other)]).await;
        assert_eq!(registry.counter("lugger_dead_letters_failed_total", "", &[]).get(), 1);
        std::fs::create_dir(&state_dir).unwrap();
        std::fs::write(state_dir.join("dead-letters.jsonl"), "{\"torn").unwrap();
        write(&letters, &[("{}", entry(1, b"x"), Reason::Other)]).await;
        let text = std::fs::read_to_string(state_dir.join("dead-letters.jsonl")).unwrap();
        assert!(text.starts_with("{\"torn\n{\"time\""), "{text}");
    }
}
