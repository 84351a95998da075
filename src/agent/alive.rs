//! Whether the threads of the agent come around: what its watchdog wants to know.
//!
//! Asked are the threads that read files and journals and the one that receives; that the main thread comes around is shown by the question. A
//! thread that does not answer is *stuck*, unless the kernel holds it in a call to a file system: then a disk or a network drive does not answer,
//! starting anew would end there too, and the other sources go on meanwhile. What endpoints do is nobody's life: their tasks wait.
//!
//! Promises: asking costs a wake-up a thread and waits for nothing. Leaves to others: when to ask, and what to do about the answer.

use super::Agent;
use crate::base::pulse::Pulse;
use crate::base::shutdown::Shutdown;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The threads. Cheap to clone.
#[derive(Clone)]
pub struct Alive(Arc<[Asked]>);

/// One thread.
struct Asked {
    /// Its name, as the kernel knows it.
    thread: &'static str,
    pulse: Pulse,
    /// Raised when it has ended; then somebody else knows.
    ended: Shutdown,
    rouse: Box<dyn Fn() + Send + Sync>,
}

/// A thread that has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silent {
    /// A file system holds it.
    Held(&'static str),
    /// It does not come around.
    Stuck(&'static str),
}

impl std::fmt::Debug for Alive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alive")
    }
}

impl Agent {
    /// The threads, to be asked. They stay the same over reloads.
    pub fn alive(&self) -> Alive {
        let woken = |thread, (pulse, wake): (Pulse, crate::base::wake::Wake), ended: &Shutdown| Asked {
            thread,
            pulse,
            ended: ended.clone(),
            rouse: Box::new(move || wake.wake()),
        };
        let pulse = Pulse::default();
        let (runtime, its) = (self.receivers.runtime(), pulse.clone());
        let rouse = move || {
            let its = its.clone();
            runtime.spawn(async move { its.answer() });
        };
        let receives =
            Asked { thread: "lugger-receive", pulse, ended: self.receivers_ended.clone(), rouse: Box::new(rouse) };
        Alive(Arc::new([
            woken("lugger-files", self.worker.pulse(), &self.worker_ended),
            woken("lugger-journal", self.journals.pulse(), &self.journals_ended),
            receives,
        ]))
    }
}

impl Alive {
    /// Asks all threads. Not again before [`Alive::silent`] is empty, or what is asked adds up.
    pub fn ask(&self) {
        for asked in self.0.iter() {
            asked.pulse.ask();
            (asked.rouse)();
        }
    }

    /// Those that have not answered yet.
    pub fn silent(&self) -> Vec<Silent> {
        let silent = self.0.iter().filter(|asked| !asked.pulse.is_answered() && !asked.ended.is_raised());
        silent
            .map(|asked| match is_held(Path::new("/proc/self/task"), asked.thread) {
                true => Silent::Held(asked.thread),
                false => Silent::Stuck(asked.thread),
            })
            .collect()
    }
}

/// Whether the kernel holds the thread of that name in a call that is no wait of its own.
fn is_held(tasks: &Path, thread: &str) -> bool {
    let Ok(entries) = fs::read_dir(tasks) else { return false };
    let is_it = |path: &Path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim_end() == thread);
    let its = entries.flatten().map(|entry| entry.path()).find(|path| is_it(path));
    its.and_then(|path| fs::read_to_string(path.join("syscall")).ok()).is_some_and(|call| holds(&call))
}

/// What `/proc/PID/task/TID/syscall` says: `running`, or the number of a call, `-1` in a fault.
fn holds(call: &str) -> bool {
    const OWN_WAITS: [libc::c_long; 6] = [
        libc::SYS_futex,
        libc::SYS_ppoll,
        libc::SYS_epoll_pwait,
        libc::SYS_clock_nanosleep,
        libc::SYS_restart_syscall,
        libc::SYS_sched_yield,
    ];
    #[cfg(target_arch = "x86_64")]
    const OLDER_WAITS: [libc::c_long; 3] = [libc::SYS_poll, libc::SYS_epoll_wait, libc::SYS_nanosleep];
    #[cfg(not(target_arch = "x86_64"))]
    const OLDER_WAITS: [libc::c_long; 0] = [];
    let number = call.split_whitespace().next().and_then(|number| number.parse::<libc::c_long>().ok());
    number.is_some_and(|number| !OWN_WAITS.contains(&number) && !OLDER_WAITS.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::shutdown;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    #[test]
    fn calls_to_file_systems_hold_and_own_waits_do_not() {
        let of = |number: libc::c_long| format!("{number} 0x3 0x7f 0x10 0x0 0x0 0x0 0x7ffd 0x7f\n");
        for held in [of(libc::SYS_pread64), of(libc::SYS_openat), of(libc::SYS_statx), "-1 0x7ffd 0x7f\n".to_owned()] {
            assert!(holds(&held), "{held}");
        }
        for own in [of(libc::SYS_futex), of(libc::SYS_ppoll), "running\n".to_owned(), String::new()] {
            assert!(!holds(&own), "{own}");
        }
    }

    #[test]
    fn a_thread_that_waits_for_a_lock_is_stuck_and_one_that_has_ended_is_not() {
        let (release, released) = mpsc::channel::<()>();
        let run = move || {
            let _ = released.recv();
        };
        let thread = std::thread::Builder::new().name("lugger-stuck".into()).spawn(run).unwrap();
        let (alive, ended) = shutdown::channel();
        let pulse = Pulse::default();
        let asked = Asked { thread: "lugger-stuck", pulse: pulse.clone(), ended, rouse: Box::new(|| {}) };
        let alive_view = Alive(Arc::new([asked]));
        assert!(alive_view.silent().is_empty());
        alive_view.ask();
        // It may not have come to its wait yet, and be on its way through another call.
        let start = Instant::now();
        while alive_view.silent() != [Silent::Stuck("lugger-stuck")] {
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", alive_view.silent());
        }
        pulse.answer();
        assert!(alive_view.silent().is_empty());
        alive_view.ask();
        alive.raise();
        assert!(alive_view.silent().is_empty());
        drop(release);
        thread.join().unwrap();
    }
}
