//! The process's stdin as a source: lines until its end.
//!
//! A thread of its own, since a read of stdin may wait without end. While the inlet is full nothing is read, so that who writes has to wait.
//!
//! Promises: what was read is in the inlet before more is read; a last line without newline is one at the end. What was read in the moment of a kill, at
//! most [`RECEIVE_READ_BYTES`], is gone. Leaves to others: ending the process.

use super::port::{Chunk, Port};
use crate::base::limits::{RECEIVE_READ_BYTES, RECEIVE_WAIT_MS};
use crate::base::shutdown::{Shutdown, Trigger};
use crate::base::wake::Wake;
use crate::format::record::Kind;
use crate::store::inlet::AppendError;
use rustix::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// A line that has not ended yet.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
    /// Bytes of it that are not kept, as it is too long.
    missing: u64,
}

impl Lines {
    fn push(&mut self, mut data: &[u8], port: &Port, chunk: &mut Chunk) {
        while let Some(at) = memchr::memchr(b'\n', data) {
            let (line, after) = data.split_at(at);
            data = after.get(1..).unwrap_or_default();
            if self.rest.is_empty() && self.missing == 0 {
                put(line, 0, port, chunk);
            } else {
                self.hold(line, port);
                self.end(port, chunk);
            }
        }
        self.hold(data, port);
    }

    fn hold(&mut self, data: &[u8], port: &Port) {
        let room = port.message_bytes().saturating_add(1).saturating_sub(self.rest.len()).min(data.len());
        self.rest.extend_from_slice(data.get(..room).unwrap_or_default());
        self.missing = self.missing.saturating_add((data.len() - room) as u64);
    }

    fn end(&mut self, port: &Port, chunk: &mut Chunk) {
        put(&self.rest, self.missing, port, chunk);
        self.rest.clear();
        self.missing = 0;
    }
}

fn put(line: &[u8], missing: u64, port: &Port, chunk: &mut Chunk) {
    let line = if missing == 0 { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
    port.put(Kind::Line, None, line, missing, chunk);
}

/// Reads until the end, or until `wake` finds `stop` raised. `ended` is raised at the end, when all is in the inlet.
pub(super) fn read(port: &Arc<Port>, wake: &Wake, stop: &Shutdown, ended: &Trigger) {
    let mut buffer = vec![0; RECEIVE_READ_BYTES];
    let mut chunk = Chunk::default();
    let mut lines = Lines::default();
    let stdin = std::io::stdin();
    let Ok(descriptor) = stdin.as_fd().try_clone_to_owned() else {
        return tracing::error!("stdin is closed: nothing is read from it");
    };
    loop {
        // What cannot be waited for, as a file, is readable at any time.
        let is_readable = wake.wait(Some(&descriptor), None).unwrap_or(true);
        if stop.is_raised() {
            // A line that has begun goes on in the next run, or never.
            break;
        }
        // Its other end may be closed, which is an end and no data.
        if !is_readable && !has_hung_up(&descriptor) {
            continue;
        }
        let got = match rustix::io::read(&descriptor, &mut *buffer) {
            Ok(got) => got,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
            Err(error) => {
                tracing::error!(%error, "stdin cannot be read any more");
                port.break_off();
                0
            }
        };
        port.begin();
        if got == 0 {
            if !lines.rest.is_empty() || lines.missing > 0 {
                lines.end(port, &mut chunk);
            }
            append(port, &mut chunk, stop);
            ended.raise();
            return;
        }
        lines.push(buffer.get(..got).unwrap_or_default(), port, &mut chunk);
        append(port, &mut chunk, stop);
    }
    if !lines.rest.is_empty() {
        port.begin();
        lines.end(port, &mut chunk);
        append(port, &mut chunk, stop);
    }
}

fn has_hung_up(descriptor: &rustix::fd::OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(descriptor, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let is_over = PollFlags::HUP | PollFlags::IN | PollFlags::ERR;
    poll(&mut fds, Some(&now)).is_ok() && fds.iter().any(|fd| fd.revents().intersects(is_over))
}

/// Appends, and waits for room.
fn append(port: &Port, chunk: &mut Chunk, stop: &Shutdown) {
    let mut waited = false;
    while !chunk.is_empty() {
        match port.append(chunk) {
            Ok(_) => break,
            Err(_) if stop.is_raised() => {
                port.append_above(chunk);
                break;
            }
            // Waiting would be for ever.
            Err(AppendError::TooLarge { .. }) => match chunk.split_first() {
                Some(mut first) => append(port, &mut first, stop),
                None => {
                    port.give_up(chunk);
                    break;
                }
            },
            Err(_) => {
                if !std::mem::replace(&mut waited, true) {
                    port.status.held_up.add(1);
                }
                std::thread::park_timeout(Duration::from_millis(RECEIVE_WAIT_MS));
            }
        }
    }
    chunk.clear();
}
