//! Asking file systems that may hang for their space, on threads of their own.
//!
//! One thread asks all, one after the other. When it hangs, those behind it get another one, and so on: those that hang do not count to the
//! [`HOST_STATFS_THREADS`] that there are at most, as long as they are no more than [`HOST_STATFS_HUNG`]. From then on a server of which a mount hangs is not
//! asked for its others. Those that answered the last time are asked first.
//!
//! Promises: mounts that hang keep no others from being told, up to those numbers; nobody waits for what hung in an earlier tick; one path is asked by
//! one thread at a time; threads that are left over end. Leaves to others: which mounts there are.

use crate::base::limits::{HOST_STACK_BYTES, HOST_STATFS_HUNG, HOST_STATFS_SHARES, HOST_STATFS_THREADS};
use rustix::fs::{StatFs, statfs};
use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What statfs said.
#[derive(Debug, Clone, Default)]
pub(super) enum Answer {
    /// Nothing.
    #[default]
    None,
    /// What there is.
    Values(StatFs),
    /// An error, as Go words it.
    Error(String),
}

impl Answer {
    /// What it says.
    pub(super) fn of(answer: Result<StatFs, rustix::io::Errno>) -> Answer {
        match answer {
            Ok(values) => Answer::Values(values),
            Err(error) => {
                // As Go words it: the text alone, and not in capitals.
                let text = std::io::Error::from(error).to_string();
                Answer::Error(text.split(" (os error").next().unwrap_or_default().to_lowercase())
            }
        }
    }

    /// The error that is told.
    pub(super) fn error(&self) -> &str {
        match self {
            Answer::None => "mountpoint timeout",
            Answer::Values(_) => "",
            Answer::Error(text) => text,
        }
    }
}

/// Mounts that are asked on other threads; one for all the time of a host's collectors, so that other settings do not add threads to those that hang.
#[derive(Debug, Default)]
pub(super) struct Others {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<Mount>,
    /// What is being asked now, one a thread that is not free. Each may hang.
    asked: Vec<Asked>,
    /// Of this tick.
    answers: Vec<(PathBuf, Answer)>,
    /// What answered in the last tick.
    answered: HashSet<PathBuf>,
    threads: usize,
    ended: bool,
}

#[derive(Debug, Clone)]
struct Mount {
    path: PathBuf,
    /// Who answers for it.
    server: String,
}

#[derive(Debug)]
struct Asked {
    mount: Mount,
    /// It has been asked for so long that others do not wait behind it any more.
    slow: bool,
    /// It was asked in an earlier tick.
    hung: bool,
}

impl Waiting {
    fn is_asked(&self, path: &PathBuf) -> bool {
        self.asked.iter().any(|asked| asked.mount.path == *path)
    }

    fn has_free_thread(&self) -> bool {
        self.threads > self.asked.len()
    }

    /// How many threads there may be: those of which none hangs, and those that do.
    fn threads_max(&self) -> usize {
        let slow = self.asked.iter().filter(|asked| asked.slow || asked.hung).count();
        HOST_STATFS_THREADS + slow.min(HOST_STATFS_HUNG)
    }

    /// Whether something may still answer in this tick.
    fn may_answer(&self) -> bool {
        let runs = self.asked.iter().any(|asked| !asked.hung);
        runs || !self.queue.is_empty() && (self.has_free_thread() || self.threads < self.threads_max())
    }
}

/// Who answers for a device: `server:/path`, `user@server:path`, `//server/share`. Of others the device itself.
fn server_of(device: &str) -> &str {
    if let Some(share) = device.strip_prefix("//") {
        return share.split('/').next().unwrap_or(share);
    }
    // An address of IPv6 stands in brackets.
    let from = device.find(']').unwrap_or(0);
    device.get(from..).and_then(|rest| rest.find(':')).and_then(|at| device.get(..from + at)).unwrap_or(device)
}

impl Others {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the threads that are free, and the others when they are.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Asks all that are not still being asked since an earlier tick: paths, and the devices mounted there.
    pub(super) fn ask(self: &Arc<Self>, mounts: &[(&PathBuf, &str)]) {
        let mut waiting = self.lock();
        waiting.answered = waiting.answers.drain(..).map(|(path, _)| path).collect();
        waiting.queue.clear();
        waiting.asked.iter_mut().for_each(|asked| asked.hung = true);
        let is_full = waiting.asked.len() >= HOST_STATFS_HUNG;
        for (path, device) in mounts {
            let server = server_of(device);
            let hangs = is_full && waiting.asked.iter().any(|asked| asked.mount.server == server);
            if hangs || waiting.is_asked(path) || waiting.queue.iter().any(|mount| mount.path == **path) {
                continue;
            }
            let mount = Mount { path: (*path).clone(), server: server.to_owned() };
            if waiting.answered.contains(*path) {
                waiting.queue.push_front(mount);
            } else {
                waiting.queue.push_back(mount);
            }
        }
        if !waiting.queue.is_empty() {
            self.need(&mut waiting, 1);
        }
    }

    /// Sees to it that so many threads are free, if there may be more.
    fn need(self: &Arc<Self>, waiting: &mut Waiting, free: usize) {
        let wanted = (waiting.asked.len() + free).min(waiting.threads_max());
        while waiting.threads < wanted {
            let own = self.clone();
            let thread = std::thread::Builder::new().name("lugger-statfs".into()).stack_size(HOST_STACK_BYTES);
            // Without it what waits is told as not answered.
            if thread.spawn(move || own.run()).is_err() {
                break;
            }
            waiting.threads += 1;
        }
        self.changed.notify_all();
    }

    /// Waits until all have answered; what hangs now is not waited for any longer than this.
    pub(super) fn wait(self: &Arc<Self>, patience: Duration) {
        let began = Instant::now();
        let mut waiting = self.lock();
        let mut share = patience / HOST_STATFS_SHARES;
        while waiting.may_answer() && began.elapsed() < patience {
            let left = share.saturating_sub(began.elapsed());
            let (back, late) = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner);
            waiting = back;
            if late.timed_out() {
                share += patience / HOST_STATFS_SHARES;
                // Those behind what hangs get other threads: more of them, as what is one server's hangs together.
                waiting.asked.iter_mut().for_each(|asked| asked.slow = true);
                let free = waiting.queue.len().min(HOST_STATFS_THREADS);
                if free > 0 {
                    self.need(&mut waiting, free);
                }
            }
        }
    }

    /// The answer of this tick, [`Answer::None`] if there is none.
    pub(super) fn take(&self, path: &PathBuf) -> Answer {
        let waiting = self.lock();
        let found = waiting.answers.iter().find(|(answered, _)| answered == path);
        found.map_or(Answer::None, |(_, answer)| answer.clone())
    }

    fn run(&self) {
        let mut waiting = self.lock();
        while !waiting.ended {
            let Some(mount) = waiting.queue.pop_front() else {
                // Those that hung have come back.
                if waiting.threads - waiting.asked.len() > HOST_STATFS_THREADS {
                    break;
                }
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let path = mount.path.clone();
            waiting.asked.push(Asked { mount, slow: false, hung: false });
            drop(waiting);
            let answer = Answer::of(statfs(&path));
            waiting = self.lock();
            waiting.asked.retain(|asked| asked.mount.path != path);
            waiting.answers.push((path, answer));
            self.changed.notify_all();
        }
        waiting.threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_as_go_words_them() {
        assert_eq!(Answer::of(Err(rustix::io::Errno::NOENT)).error(), "no such file or directory");
    }

    #[test]
    fn servers_of_devices() {
        for (device, server) in [
            ("nas:/export/a", "nas"),
            ("me@nas:", "me@nas"),
            ("[fe80::1%eth0]:/a:b", "[fe80::1%eth0]"),
            ("//nas/share/x", "nas"),
            ("/dev/fuse", "/dev/fuse"),
            ("", ""),
        ] {
            assert_eq!(server_of(device), server);
        }
    }
}
