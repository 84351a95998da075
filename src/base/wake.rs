//! Waking a thread that waits in `poll(2)`: an eventfd.
//!
//! Promises: a wake-up that comes before the wait is not lost; many wake-ups before one wait count as one; waking
//! never blocks. Leaves to others: what there is to do.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A handle that wakes one waiting thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Wake(Arc<OwnedFd>);

impl Wake {
    /// A new eventfd.
    pub fn new() -> io::Result<Self> {
        Ok(Wake(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Ends the current or the next wait.
    pub fn wake(&self) {
        // The only failure is a counter at its maximum, and then the waiter is being woken anyway.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Waits until woken, until `also` has something to read, or until `timeout` (`None`: without end) has passed.
    /// True when `also` is readable.
    pub fn wait(&self, also: Option<&OwnedFd>, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = timeout.map(|t| Timespec {
            tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: t.subsec_nanos().into(),
        });
        let mut fds = [PollFd::new(&*self.0, PollFlags::IN), PollFd::new(&*self.0, PollFlags::empty())];
        let count = match also {
            Some(fd) => {
                fds[1] = PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN);
                2
            }
            None => 1,
        };
        match poll(&mut fds[..count], timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if fds[0].revents().contains(PollFlags::IN) {
            let mut counter = [0u8; 8];
            let _ = rustix::io::read(&*self.0, &mut counter);
        }
        Ok(count == 2 && fds[1].revents().contains(PollFlags::IN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_the_wait_is_not_lost_and_counts_once() -> io::Result<()> {
        let wake = Wake::new()?;
        wake.wake();
        wake.wake();
        assert!(!wake.wait(None, None)?);
        // The second wait must run into its timeout: both wake-ups were taken by the first.
        assert!(!wake.wait(None, Some(Duration::from_millis(1)))?);
        Ok(())
    }
}
