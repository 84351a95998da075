//! Journal files that are read by `journalctl`: those with format flags that are not known here, which a newer systemd writes.
//!
//! One process a file: it follows a file that is being written, and ends with one that is complete. Where there are more files than there may be
//! processes they take turns: no file is followed then, each is read to its end, and again when it has changed; who waits longest comes first. A thread
//! takes the output of a process in, in blocks, and waits while they are not wanted. Its entries go the way of all others. A file has a cursor of its own: nobody knows what its numbers have in
//! common with those of other files before they are read.
//!
//! Promises: a process ends with the agent: it is killed, and it ends by itself when nobody reads its output. One that fails is started again with
//! growing pauses, from the cursor; one that fails again and again in the midst of a complete file is not, and what was not read of the file is known.
//! Leaves to others: which files these are.

use super::numbering::Mark;
use super::status::Status;
use crate::base::limits::{
    JOURNAL_GRACE_MS, JOURNAL_TOOL_ATTEMPTS, JOURNAL_TOOL_BLOCK_BYTES, JOURNAL_TOOL_BLOCKS, JOURNAL_TOOL_PAUSE_MS,
    SWEEP_MS,
};
use crate::base::text::head;
use crate::base::wake::Wake;
use crate::format::journal::{Export, Fields, Id, Location, Work};
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Where reading begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begin {
    /// The number of the first entry that is wanted; 0: those behind the mark.
    pub position: u64,
    pub mark: Mark,
}

/// What reading needs beside the file.
pub(super) struct Tools<'a> {
    pub work: &'a Work,
    pub status: &'a Status,
    pub source: &'a str,
    pub now: Instant,
}

/// What shows that a file has changed, and how much it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub bytes: u64,
    pub modified: Option<SystemTime>,
    pub entries: u64,
    pub tail_seqnum: u64,
}

/// One of those files.
#[derive(Debug)]
pub(super) struct Foreign {
    path: PathBuf,
    file_id: Id,
    seqnum_id: Id,
    machine_id: Id,
    is_closed: bool,
    begin: Begin,
    process: Option<Process>,
    export: Export,
    /// The entry that comes next.
    next: Option<Location>,
    fields: Fields,
    failures: u32,
    again_at: Option<Instant>,
    /// It waits for a process since then; `None`: it has one, or was read to its end and has not changed.
    due: Option<Instant>,
    /// When its process was started or has printed something, and whether it has shown an entry, be it one that was read before.
    printed_at: Instant,
    shows: bool,
    /// It has changed since its process was started.
    changed: bool,
    /// What it looked like.
    seen: Seen,
    /// Nothing leads to it any more. A process that follows it ends when it has printed nothing for a while, which is then over.
    gone: bool,
    quiet_at: Option<Instant>,
    ended: bool,
    /// Entries of it, complete as it was, that `journalctl` did not show.
    unread: u64,
    /// The process has printed something, or has ended.
    told: Arc<AtomicBool>,
    wake: Wake,
}

/// A running `journalctl`.
#[derive(Debug)]
struct Process {
    child: Child,
    follows: bool,
    blocks: Receiver<Vec<u8>>,
    /// The beginning of what it complains of, when it has ended.
    complaint: Option<JoinHandle<String>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended. The thread that reads it ends with its output.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Foreign {
    /// The ids are those of the file, of who numbered it, and of the host.
    pub(super) fn new(
        (path, seen): (&Path, Seen),
        ids: [Id; 3],
        is_closed: bool,
        begin: Begin,
        (now, wake): (Instant, Wake),
    ) -> Foreign {
        let [file_id, seqnum_id, machine_id] = ids;
        Foreign {
            path: path.to_owned(),
            file_id,
            seqnum_id,
            machine_id,
            is_closed,
            begin,
            process: None,
            export: Export::default(),
            next: None,
            fields: Fields::default(),
            failures: 0,
            again_at: None,
            due: Some(now),
            printed_at: now,
            shows: false,
            changed: false,
            seen,
            gone: false,
            quiet_at: None,
            ended: false,
            unread: 0,
            told: Arc::default(),
            wake,
        }
    }

    pub(super) fn file_id(&self) -> Id {
        self.file_id
    }

    pub(super) fn machine_id(&self) -> Id {
        self.machine_id
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// When it is to be asked again, though nobody tells of anything.
    pub(super) fn again_at(&self) -> Option<Instant> {
        let again_at = self.again_at.filter(|_| self.due.is_some());
        [again_at, self.quiet_at].into_iter().flatten().min()
    }

    /// Whether it has a process.
    pub(super) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Since when it waits for a process that it may have now. Where they do not take turns, a file that is written has one for good.
    pub(super) fn waits_since(&self, now: Instant, in_turns: bool) -> Option<Instant> {
        if self.process.is_some() || self.ended || self.again_at.is_some_and(|at| now < at) {
            return None;
        }
        self.due.or(Some(now).filter(|_| !in_turns && !self.is_closed))
    }

    /// Others wait for a process: one that would not end gives its place up.
    pub(super) fn give_way(&mut self, now: Instant) {
        if self.next.is_none() && self.process.as_ref().is_some_and(|process| process.follows) {
            self.process = None;
            self.due = Some(now);
        }
    }

    /// It has changed.
    pub(super) fn hear(&mut self, now: Instant) {
        self.changed = true;
        if self.process.is_none() {
            self.due.get_or_insert(now);
        }
    }

    /// It was looked at.
    pub(super) fn see(&mut self, seen: Seen, now: Instant) {
        (self.gone, self.quiet_at) = (false, None);
        if std::mem::replace(&mut self.seen, seen) != seen {
            self.hear(now);
        }
    }

    /// Nothing leads to it any more: what its process has of it still comes.
    pub(super) fn leave(&mut self, now: Instant) {
        if !self.gone {
            self.gone = true;
            self.quiet_at = Some(now + QUIET);
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Entries that were removed before they were read, as far as is known; `None`: all were read.
    pub(super) fn lost(&self) -> Option<u64> {
        self.due.filter(|_| self.gone)?;
        Some(self.missing())
    }

    /// Entries of it that were not read, as far as is known: what has other numbers in between may be in other files.
    fn missing(&self) -> u64 {
        let missing = match self.begin.position {
            0 => 0,
            position => self.seen.tail_seqnum.saturating_sub(position - 1),
        };
        missing.min(self.seen.entries)
    }

    /// Entries of it, complete as it was, that `journalctl` did not show.
    pub(super) fn unread(&self) -> u64 {
        self.unread
    }

    /// From when on it may be taken as read to its end for now, if nothing happens before.
    pub(super) fn quiet_from(&self, now: Instant) -> Instant {
        let later = now + QUIET;
        match &self.process {
            _ if self.failures >= JOURNAL_TOOL_ATTEMPTS => now,
            Some(process) if !process.follows || self.told.load(Ordering::Relaxed) => later,
            Some(_) if self.shows => self.printed_at + QUIET,
            // It looks for the place.
            Some(_) => self.printed_at + Duration::from_millis(SWEEP_MS),
            None if self.due.is_some() => later,
            None => now,
        }
    }

    /// Other fields are wanted: what was taken in is read anew.
    pub(super) fn read_anew(&mut self, now: Instant) {
        // Of one that is gone no process finds anything.
        if !self.gone && (self.process.is_some() || self.next.is_some()) {
            (self.process, self.next) = (None, None);
            self.export = Export::default();
            self.due = Some(now);
        }
    }

    /// Whether its process has printed something since this was asked last.
    pub(super) fn is_told(&self) -> bool {
        self.told.load(Ordering::Relaxed) && self.told.swap(false, Ordering::AcqRel)
    }

    /// Whether it was complete and has been read.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// It has another name now. When nothing more is written to it, it is read to its end, and not followed any longer.
    pub(super) fn rename(&mut self, path: &Path, is_closed: bool, begin: Begin, now: Instant) {
        path.clone_into(&mut self.path);
        if is_closed && !self.is_closed {
            (self.is_closed, self.begin) = (true, begin);
            self.process = None;
            self.again_at = None;
            self.due = Some(now);
        }
    }

    /// The entry that comes next, under the id of the file in place of who numbered it.
    pub(super) fn head(&mut self, tools: &Tools<'_>) -> Option<Location> {
        while self.next.is_none() && !self.ended {
            match self.export.next(tools.work, &mut self.fields) {
                Ok(Some((location, _))) if location.seqnum < self.begin.position => self.shows = true,
                Ok(Some((location, damage))) => {
                    tools.status.cut_fields.add(damage.cut);
                    tools.status.damaged_entries.add(damage.entries);
                    self.shows = true;
                    self.failures = 0;
                    self.again_at = None;
                    self.begin.position = location.seqnum;
                    tools.status.recovers(&self.path);
                    self.next = Some(Location { seqnum_id: self.file_id, ..location });
                }
                Ok(None) => {
                    if !self.take_block(tools) {
                        return None;
                    }
                }
                Err(error) => {
                    self.fail(tools, &error.to_string());
                    return None;
                }
            }
        }
        self.next
    }

    /// Gives the fields of the entry that comes next, and goes on to the one behind it.
    pub(super) fn take(&mut self, fields: &mut Fields) -> bool {
        let Some(location) = self.next.take() else { return false };
        std::mem::swap(fields, &mut self.fields);
        self.begin = Begin {
            position: location.seqnum.saturating_add(1),
            mark: Mark {
                realtime_us: location.realtime_us,
                count: 0,
                boot_id: location.boot_id,
                monotonic_us: location.monotonic_us,
                xor_hash: location.xor_hash,
            },
        };
        true
    }

    /// Takes in what the process has printed. False: there is nothing for now.
    fn take_block(&mut self, tools: &Tools<'_>) -> bool {
        let Some(process) = &mut self.process else {
            self.ended |= self.gone;
            return false;
        };
        match process.blocks.try_recv() {
            Ok(block) => {
                self.export.push(&block);
                self.printed_at = tools.now;
                self.quiet_at = Some(tools.now + QUIET).filter(|_| self.gone && process.follows);
                true
            }
            Err(TryRecvError::Empty) => {
                if self.gone && process.follows {
                    let quiet_at = *self.quiet_at.get_or_insert(tools.now);
                    self.ended = tools.now >= quiet_at;
                    if self.ended {
                        self.process = None;
                    }
                }
                false
            }
            Err(TryRecvError::Disconnected) => {
                let status = process.child.wait();
                let follows = process.follows;
                let said = process.complaint.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
                self.process = None;
                match status {
                    Ok(status) if status.success() && !follows => {
                        if self.is_closed && !self.gone {
                            let missing = self.missing();
                            if missing > 0 && !self.shows {
                                self.fail(
                                    tools,
                                    "has entries of which journalctl shows none: it may be too old for it",
                                );
                                return false;
                            }
                            // The last number may be that of an entry for which there was no room.
                            self.unread = if missing > 1 { missing } else { 0 };
                        }
                        self.failures = 0;
                        tools.status.recovers(&self.path);
                        self.ended = self.is_closed || self.gone;
                        self.due = Some(tools.now).filter(|_| self.changed);
                        self.again_at = Some(tools.now + Duration::from_millis(JOURNAL_TOOL_PAUSE_MS));
                    }
                    Ok(status) => {
                        self.fail(tools, &format!("journalctl has ended ({status}): {}", head(said.trim(), 200)))
                    }
                    Err(error) => self.fail(tools, &format!("journalctl cannot be waited for: {error}")),
                }
                false
            }
        }
    }

    /// Starts a process.
    pub(super) fn run(&mut self, tools: &Tools<'_>, in_turns: bool) {
        self.again_at = None;
        self.export = Export::default();
        (self.changed, self.due) = (false, None);
        (self.printed_at, self.shows) = (tools.now, false);
        match self.start(!self.is_closed && !in_turns) {
            Ok(process) => self.process = Some(process),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.fail(
                tools,
                "has format flags that are not known here, so journalctl has to read it, and there is none: install systemd's \
                 journalctl where PATH leads to it",
            ),
            Err(error) => self.fail(tools, &format!("needs journalctl, which cannot be started: {error}")),
        }
    }

    fn start(&self, follows: bool) -> io::Result<Process> {
        let mut command = Command::new("journalctl");
        command.arg("--file").arg(literal(&self.path)).args(["--output=export", "--all", "--no-pager", "--quiet"]);
        if follows {
            // Without the last of them only the boot is shown that is the last one when it starts.
            command.args(["--follow", "--no-tail", "--merge"]);
        }
        let Begin { position, mark } = self.begin;
        if position > 1 && mark.realtime_us > 0 {
            // Not behind it: where it is gone, what is nearest to it may be another entry.
            let location = Location {
                seqnum_id: self.seqnum_id,
                seqnum: position - 1,
                boot_id: mark.boot_id,
                monotonic_us: mark.monotonic_us,
                realtime_us: mark.realtime_us,
                xor_hash: mark.xor_hash,
            };
            command.arg(format!("--cursor={location}"));
        } else if position == 0 && mark.realtime_us > 0 {
            command.arg(format!("--since=@{}.{:06}", mark.realtime_us / 1_000_000, mark.realtime_us % 1_000_000));
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, blocks) = sync_channel(JOURNAL_TOOL_BLOCKS);
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let mut process = Process { child, follows, blocks, complaint: None };
        let (told, wake) = (Arc::clone(&self.told), self.wake.clone());
        let run = move || {
            let tell = || {
                told.store(true, Ordering::Release);
                wake.wake();
            };
            if let Some(output) = output {
                forward(output, &sender, tell);
            }
            drop(sender);
            tell();
        };
        std::thread::Builder::new().name("lugger-tool".into()).spawn(run)?;
        if let Some(errors) = errors {
            let run = move || complaint(errors);
            process.complaint = Some(std::thread::Builder::new().name("lugger-tool".into()).spawn(run)?);
        }
        Ok(process)
    }

    fn fail(&mut self, tools: &Tools<'_>, what: &str) {
        self.process = None;
        self.export = Export::default();
        let pause = Duration::from_secs(1) * (1 << self.failures.min(4));
        self.failures = self.failures.saturating_add(1);
        self.again_at = Some(tools.now + pause.min(Duration::from_millis(SWEEP_MS)));
        self.due = Some(tools.now);
        if self.failures >= JOURNAL_TOOL_ATTEMPTS && self.shows && self.is_closed && !self.gone {
            (self.ended, self.unread) = (true, self.missing().max(1));
        }
        let problem = format!("the journal file {} {what}", self.path.display());
        if tools.status.fails(&self.path, &problem) {
            tracing::warn!(source = %tools.source, "{problem}");
        }
    }
}

/// A process that follows a file that is gone ends when it has printed nothing for so long.
const QUIET: Duration = Duration::from_millis(JOURNAL_GRACE_MS);

/// A path where a pattern is asked for.
fn literal(path: &Path) -> OsString {
    let mut pattern = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    OsString::from_vec(pattern)
}

/// What a process complains of, as far as it is shown. All is read: a process that nobody listens to would wait.
fn complaint(mut errors: ChildStderr) -> String {
    let mut said = Vec::new();
    let _ = (&mut errors).take(1024).read_to_end(&mut said);
    let _ = io::copy(&mut errors, &mut io::sink());
    String::from_utf8_lossy(&said).into_owned()
}

/// Hands on what a process prints, until it ends or nobody wants it any more.
fn forward(mut output: ChildStdout, blocks: &SyncSender<Vec<u8>>, tell: impl Fn()) {
    let mut block = vec![0; JOURNAL_TOOL_BLOCK_BYTES];
    loop {
        match output.read(&mut block) {
            Ok(0) => return,
            Ok(count) => {
                if blocks.send(block.get(..count).unwrap_or_default().to_vec()).is_err() {
                    return;
                }
                tell();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_before_its_turn_is_counted() {
        let now = Instant::now();
        let seen = Seen { entries: 50, tail_seqnum: 120, ..Seen::default() };
        let make = |position| {
            let begin = Begin { position, mark: Mark::default() };
            let wake = Wake::new().unwrap();
            Foreign::new((Path::new("/j/system.journal"), seen), [Id([1; 16]); 3], false, begin, (now, wake))
        };
        for (position, lost) in [(1, 50), (111, 10), (121, 0), (0, 0)] {
            let mut foreign = make(position);
            assert_eq!(foreign.lost(), None, "it is there");
            foreign.leave(now);
            assert_eq!(foreign.lost(), Some(lost));
            foreign.see(seen, now);
            assert_eq!(foreign.lost(), None, "it is there again");
        }
    }

    #[test]
    fn patterns_are_none() {
        assert_eq!(literal(Path::new("/a/b[c]*?\\.journal")), "/a/b\\[c]\\*\\?\\\\.journal");
        assert_eq!(literal(Path::new("/var/log/journal/x.journal")), "/var/log/journal/x.journal");
    }
}
