//! What a service manager hears of the agent: real binary, real datagram socket, threads that really stop.
//!
//! Promises: a thread is stopped as a debugger does it, and a file system as a network drive that is away; both are let go again. Leaves to
//! others: systemd itself (`e2e_package`).

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::agent::{Agent, Config, FileSource, Rig};
use support::loki::Loki;
use support::wait::{holds_within, wait_until};
use support::writer::append_to;

const SOON: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(5);
/// An interval of the watchdog that suits tests on a loaded machine.
const WATCHDOG: Duration = Duration::from_secs(2);

/// A service manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    address: String,
    /// Assignments that came and nobody asked for yet.
    waiting: VecDeque<String>,
}

impl Manager {
    fn at(socket: UnixDatagram, address: String) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Manager { socket, address, waiting: VecDeque::new() }
    }

    fn abstract_one() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lugger-test-notify-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Manager::at(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"))
    }

    fn in_directory(directory: &Path) -> Self {
        let path = directory.join("notify");
        Manager::at(UnixDatagram::bind(&path).unwrap(), path.display().to_string())
    }

    /// The next assignment, if one comes at once.
    fn next(&mut self) -> Option<String> {
        if self.waiting.is_empty() {
            let mut buffer = [0u8; 4096];
            let length = self.socket.recv(&mut buffer).ok()?;
            let text = String::from_utf8(buffer[..length].to_vec()).expect("assignments are text");
            self.waiting.extend(text.lines().map(str::to_owned));
        }
        self.waiting.pop_front()
    }

    /// Takes what comes until an assignment begins like this; that one, and those before it.
    #[track_caller]
    fn until(&mut self, wanted: &str) -> (String, Vec<String>) {
        let mut before = Vec::new();
        let mut found = None;
        let came = holds_within(SOON, || {
            let Some(said) = self.next() else { return false };
            if said.starts_with(wanted) {
                found = Some(said);
                return true;
            }
            before.push(said);
            false
        });
        assert!(came.is_some(), "waited in vain for {wanted}; there came {before:#?}");
        (found.unwrap_or_default(), before)
    }

    /// Takes all that comes for so long.
    fn all_for(&mut self, long: Duration) -> Vec<String> {
        let end = Instant::now() + long;
        let mut came = Vec::new();
        while Instant::now() < end {
            came.extend(self.next());
        }
        came
    }
}

fn rig(manager: &Manager) -> Rig {
    let micros = WATCHDOG.as_micros().to_string();
    Rig::new().with_env("NOTIFY_SOCKET", &manager.address).with_env("WATCHDOG_USEC", micros)
}

fn config(loki: &Loki, rig: &Rig) -> Config {
    Config::new(&loki.url()).source(FileSource::new("app", rig.log("*.log")))
}

/// The thread of the agent with that name.
fn thread_of(agent: &Agent, name: &str) -> i32 {
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap();
    let is_it = |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|its| its.trim_end() == name);
    let path = tasks.map(|task| task.unwrap().path()).find(is_it).expect("a thread of that name");
    path.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// A thread of another process that is stopped for as long as this lives.
struct Stopped(i32);

impl Stopped {
    /// Stops it where it waits for something to do: in a call to a file system it would be one that the file system holds.
    fn new(thread: i32) -> Self {
        loop {
            let stopped = Self::anywhere(thread);
            let call = fs::read_to_string(format!("/proc/{thread}/syscall")).unwrap();
            let number = call.split_whitespace().next().and_then(|number| number.parse::<libc::c_long>().ok());
            let waits = [libc::SYS_futex, libc::SYS_ppoll, libc::SYS_poll, libc::SYS_epoll_wait, libc::SYS_epoll_pwait];
            if number.is_none_or(|number| waits.contains(&number)) {
                return stopped;
            }
        }
    }

    fn anywhere(thread: i32) -> Self {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: neither request reads or writes memory of this process; the thread that is stopped is the agent's.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, thread, none, none) };
        assert_eq!(seized, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: as above.
        let stopped = unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, thread, none, none) };
        assert_eq!(stopped, 0, "{}", std::io::Error::last_os_error());
        let mut status = 0;
        // SAFETY: `status` lives for the call, which writes nothing else.
        let waited = unsafe { libc::waitpid(thread, &mut status, libc::__WALL) };
        assert_eq!(waited, thread, "{}", std::io::Error::last_os_error());
        Stopped(thread)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: neither reads nor writes memory of this process.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, none, none) };
    }
}

/// A directory that shows another one, by a process that can be stopped.
struct Drive(PathBuf);

impl Drive {
    fn mount(of: &Path, at: &Path) -> Self {
        let made =
            Command::new("bindfs").args(["-o", "attr_timeout=0,entry_timeout=0,direct_io"]).args([of, at]).status();
        assert!(made.expect("bindfs is there (Debian: the package bindfs)").success(), "bindfs could not mount");
        Drive(at.to_owned())
    }

    fn signal(&self, signal: Signal) {
        let at = self.0.as_os_str().as_encoded_bytes();
        for process in fs::read_dir("/proc").unwrap() {
            let path = process.unwrap().path();
            let Ok(arguments) = fs::read(path.join("cmdline")) else { continue };
            let mut arguments = arguments.split(|byte| *byte == 0);
            if arguments.next() == Some(b"bindfs") && arguments.any(|argument| argument == at) {
                let pid = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
                kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
                return;
            }
        }
        panic!("no bindfs serves {}", self.0.display());
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Up, reloads, problems, and the end.
#[test]
fn it_tells_how_it_is() {
    let loki = Loki::start();
    let directory = tempfile::tempdir().unwrap();
    let mut manager = Manager::in_directory(directory.path());
    let rig = rig(&manager);
    append_to(&rig.log("a.log"), "1\n");
    let config = config(&loki, &rig);
    let mut agent = rig.spawn(&config);
    let (_, before) = manager.until("READY=1");
    assert!(before.iter().all(|said| said.starts_with("STATUS=")), "{before:?}");
    assert!(agent.has_begun(), "it was ready before it had looked at its sources");
    assert_eq!(manager.until("STATUS=").0, "STATUS=1 source, 1 endpoint: all is well");
    let (_, before) = manager.until("WATCHDOG=1");
    assert!(before.is_empty(), "{before:?}");

    let before_us = lugger::base::notify::monotonic_us();
    agent.hang_up();
    let (_, _) = manager.until("RELOADING=1");
    let (at, _) = manager.until("MONOTONIC_USEC=");
    let at: u64 = at.trim_start_matches("MONOTONIC_USEC=").parse().unwrap();
    assert!((before_us..=lugger::base::notify::monotonic_us()).contains(&at), "{at}");
    manager.until("READY=1");

    // One that fails is over as well, and is told of.
    fs::write(rig.config_file(), "logs: 1\n").unwrap();
    agent.hang_up();
    manager.until("RELOADING=1");
    manager.until("READY=1");
    let (status, _) = manager.until("STATUS=");
    assert!(status.contains("the configuration on disk has an error"), "{status}");

    // An endpoint that is away is told of, and is no reason for anything.
    loki.pause();
    append_to(&rig.log("a.log"), "2\n");
    let (status, _) = manager.until("STATUS=");
    assert!(status.contains("endpoint") && status.contains("(and 1 more)"), "{status}");
    for _ in 0..3 {
        let (_, between) = manager.until("WATCHDOG=1");
        assert!(!between.iter().any(|said| said.starts_with("READY")), "{between:?}");
    }
    loki.resume();
    rig.change(&agent, &config);
    manager.until("STATUS=1 source, 1 endpoint: all is well");
    // Nothing is said that has not changed.
    let came = manager.all_for(WATCHDOG * 3 / 2);
    assert!(!came.is_empty() && came.iter().all(|said| said == "WATCHDOG=1"), "{came:?}");

    assert_eq!(agent.stop(STOP).code, Some(0));
    manager.until("STOPPING=1");
    loki.assert_no_defects();
}

/// Signs of life come twice an interval while threads come around, none while one of them does not, and again when it does.
#[test]
fn a_thread_that_does_not_come_around_is_no_sign_of_life() {
    let loki = Loki::start();
    let mut manager = Manager::abstract_one();
    let rig = rig(&manager);
    let agent = rig.start(&config(&loki, &rig));
    manager.until("READY=1");
    for name in ["lugger-files", "lugger-journal", "lugger-receive"] {
        manager.until("WATCHDOG=1");
        let stopped = Stopped::new(thread_of(&agent, name));
        // One may have been on its way; what was asked before then may have been answered.
        let (status, _) = manager.until("STATUS=");
        assert!(status.contains(&format!("the thread {name} does not come around")), "{status}");
        let came = manager.all_for(WATCHDOG * 2);
        assert!(!came.contains(&"WATCHDOG=1".to_owned()), "{name}: {came:?}");
        assert!(agent.stderr().contains("msg=\"a thread does not come around"), "{}", agent.stderr());
        drop(stopped);
        // Whichever comes first.
        let (_, before) = manager.until("WATCHDOG=1");
        let well = "STATUS=1 source, 1 endpoint: all is well";
        if !before.contains(&well.to_owned()) {
            manager.until(well);
        }
    }
    // The main thread asks, so that a process that is stopped says nothing.
    agent.freeze();
    manager.all_for(Duration::from_millis(200));
    assert_eq!(manager.all_for(WATCHDOG * 3 / 2), Vec::<String>::new());
    agent.thaw();
    manager.until("WATCHDOG=1");
}

/// A file system that does not answer holds its thread; the rest of the agent lives, so it is not to be started anew.
#[test]
fn a_drive_that_is_away_is_no_reason_for_a_new_start() {
    let loki = Loki::start();
    let mut manager = Manager::abstract_one();
    let rig = rig(&manager);
    let (real, shown) = (rig.path().join("real"), rig.path().join("drive"));
    fs::create_dir(&real).unwrap();
    fs::create_dir(&shown).unwrap();
    append_to(&real.join("b.log"), "1\n");
    let drive = Drive::mount(&real, &shown);
    let config = config(&loki, &rig).source(FileSource::new("drive", shown.join("*.log")));
    let mut agent = rig.start(&config);
    // Let go before the agent is, should the test fail: an agent that is held cannot end.
    let drive = drive;
    manager.until("WATCHDOG=1");
    wait_until("the line is stored", SOON, || loki.distinct() == 1);
    drive.signal(Signal::STOP);
    // The sweep comes upon it.
    let (status, _) =
        manager.until("STATUS=2 sources, 1 endpoint: a file system does not answer the thread lugger-files");
    assert!(!status.contains("more"), "{status}");
    let came = manager.all_for(WATCHDOG * 2);
    assert!(came.iter().filter(|said| *said == "WATCHDOG=1").count() >= 3, "{came:?}");
    drive.signal(Signal::CONT);
    manager.until("STATUS=2 sources, 1 endpoint: all is well");
    append_to(&real.join("b.log"), "2\n");
    wait_until("what came meanwhile is stored", SOON, || loki.distinct() == 2);
    assert_eq!(agent.stop(STOP).code, Some(0));
}

/// A socket that is not there is a warning, and the agent does its work.
#[test]
fn a_manager_that_is_not_there_is_a_warning() {
    let loki = Loki::start();
    let rig = Rig::new().with_env("NOTIFY_SOCKET", "/no/such/socket").with_env("WATCHDOG_USEC", "100000");
    append_to(&rig.log("a.log"), "1\n");
    let agent = rig.start(&config(&loki, &rig));
    wait_until("the line is stored", SOON, || loki.distinct() == 1);
    assert!(agent.stderr().contains("/no/such/socket"), "{}", agent.stderr());
}
