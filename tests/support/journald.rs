//! A real systemd-journald without systemd: in a mount namespace of its own, with its own `/run` and configuration, and its files in a
//! directory of the test's. Needs root.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::fs;
use std::io::Write;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What has to happen within this time, or the test fails.
const DEADLINE: Duration = Duration::from_secs(60);

const SCRIPT: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/log/journal /run/systemd /etc/systemd
if [ "$2" = persistent ]; then
    mkdir -p /var/log/journal
    mount --bind "$1/log" /var/log/journal
else
    mount --bind "$1/log" /run/log/journal
fi
[ -e /etc/systemd/journald.conf ] || : >/etc/systemd/journald.conf
mount --bind "$1/journald.conf" /etc/systemd/journald.conf
[ -d /etc/systemd/journald.conf.d ] && mount -t tmpfs tmpfs /etc/systemd/journald.conf.d
exec /lib/systemd/systemd-journald
"#;

/// A running journald.
pub struct Journald {
    process: Child,
    socket: UnixDatagram,
    directory: PathBuf,
}

impl Journald {
    /// Starts one that keeps its files in `directory`. `settings` are lines of journald.conf.
    pub fn start(directory: &Path, compact: bool, settings: &str) -> Journald {
        Journald::start_as("volatile", directory, compact, settings)
    }

    /// One that writes a file for each user, as it does where they last.
    pub fn start_persistent(directory: &Path, compact: bool, settings: &str) -> Journald {
        let journald = Journald::start_as("persistent", directory, compact, settings);
        journald.signal("USR1");
        journald
    }

    fn start_as(storage: &str, directory: &Path, compact: bool, settings: &str) -> Journald {
        let log = directory.join("log");
        fs::create_dir_all(&log).unwrap();
        let common = format!(
            "[Journal]\nStorage={storage}\nRateLimitIntervalSec=0\nForwardToSyslog=no\nReadKMsg=no\nAudit=no\n"
        );
        fs::write(directory.join("journald.conf"), format!("{common}{settings}")).unwrap();
        let process = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", SCRIPT, "journald"])
            .arg(directory)
            .arg(storage)
            .env("SYSTEMD_JOURNAL_COMPACT", if compact { "1" } else { "0" })
            .stderr(Stdio::inherit())
            .spawn()
            .expect("unshare is there");
        let socket = UnixDatagram::unbound().unwrap();
        let mut journald = Journald { process, socket, directory: log };
        journald.connect();
        journald
    }

    /// Where its files are: directories of machines.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Logs a message with fields, each of one line: `NAME=value`. Waits while journald's socket is full.
    pub fn log(&self, fields: &[&str]) {
        self.socket.send(format!("{}\n", fields.join("\n")).as_bytes()).unwrap();
    }

    /// A connection for what a service writes to its stdout, as the service manager makes it.
    pub fn stdout(&self, identifier: &str) -> UnixStream {
        self.stdout_of(identifier, "")
    }

    /// The same, of a unit.
    pub fn stdout_of(&self, identifier: &str, unit: &str) -> UnixStream {
        let path = format!("/proc/{}/root/run/systemd/journal/stdout", self.process.id());
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(format!("{identifier}\n{unit}\n6\n0\n0\n0\n0\n").as_bytes()).unwrap();
        stream
    }

    /// Has a user of this number log the lines of a file.
    pub fn log_as(&self, uid: u32, lines: &Path) -> Child {
        let (pid, uid) = (self.process.id().to_string(), uid.to_string());
        Command::new("nsenter")
            .args(["-t", &pid, "-m", "setpriv", "--reuid", &uid, "--clear-groups"])
            .args(["logger", "--socket", "/run/systemd/journal/dev-log", "--tag", "test", "--size", "64KiB", "-f"])
            .arg(lines)
            .spawn()
            .expect("nsenter and logger are there")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Asks for a rotation.
    pub fn rotate(&self) {
        self.signal("USR2");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    fn connect(&mut self) {
        let path = format!("/proc/{}/root/run/systemd/journal/socket", self.process.id());
        let start = Instant::now();
        // Before it has its own /run, that path would lead to the host's.
        let own = format!("/proc/{}/comm", self.process.id());
        while !fs::read_to_string(&own).is_ok_and(|name| name.starts_with("systemd-journal"))
            || self.socket.connect(&path).is_err()
        {
            assert!(start.elapsed() < DEADLINE, "journald does not come up");
            assert_eq!(self.process.try_wait().unwrap(), None, "journald has ended; it needs root");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Has it end in order.
    pub fn stop(mut self) {
        self.signal("TERM");
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        // It may have been stopped.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The journal files below a directory.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for machine in fs::read_dir(directory).unwrap() {
        let Ok(listed) = fs::read_dir(machine.unwrap().path()) else { continue };
        for file in listed {
            let path = file.unwrap().path();
            if lugger::format::journal::file_name(&path.file_name().unwrap().to_string_lossy()).is_some() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
