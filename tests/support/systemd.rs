//! A real systemd that manages units of the test's, and a real bus: a user's manager in namespaces of its own (mounts, control groups) with its own /run, /tmp
//! and /var. It has no own processes' numbers: systemd does not speak to who has none for it. Needs root.
//!
//! Promises: everything ends with the test, however the test ends: a shell reads a pipe that the test holds, and when that ends it ends all processes of the control
//! group and removes it. Leaves to others: what units there are.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use crate::support::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for the end of a pipe that the test holds, while the manager runs in a control group by which all of its processes are ended then.
const OUTER: &str = r#"
set -e
mount -t tmpfs tmpfs /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
own=/sys/fs/cgroup/lugger-test-$$
mkdir "$own"
setsid sh -c 'echo $$ >"$1/cgroup.procs"; exec unshare --cgroup --mount sh -c "$2" systemd "$3"' systemd "$own" "$2" "$1" </dev/null &
read -r _ || true
echo 1 >"$own/cgroup.kill"
wait
until find "$own" -depth -type d -exec rmdir {} + 2>/dev/null; do sleep 0.01; done
"#;
const INNER: &str = r#"
set -e
umount /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/t /run/systemd/system
mount --bind "$1/run" /run/t
mount -t tmpfs tmpfs /var
mount -t tmpfs tmpfs /tmp
export XDG_RUNTIME_DIR=/run/t HOME=/tmp SYSTEMD_UNIT_PATH=/run/t/units DBUS_SESSION_BUS_ADDRESS=unix:path=/run/t/dbus/system_bus_socket
exec /lib/systemd/systemd --user --log-target=null
"#;

/// Targets that systemd needs, and the bus by a daemon.
const UNITS: [(&str, &str); 7] = [
    ("basic.target", "[Unit]\nDescription=Basic\n"),
    ("default.target", "[Unit]\nRequires=sockets.target timers.target\nAfter=sockets.target timers.target\n"),
    ("sockets.target", "[Unit]\nDescription=Sockets\n"),
    ("timers.target", "[Unit]\nDescription=Timers\n"),
    ("shutdown.target", "[Unit]\nDefaultDependencies=no\n"),
    ("dbus.socket", "[Socket]\nListenStream=%t/dbus/system_bus_socket\n"),
    (
        "dbus.service",
        "[Unit]\nRequires=dbus.socket\n[Service]\nType=notify\nExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile --systemd-activation\n",
    ),
];

/// A running manager.
pub struct Systemd {
    process: Child,
    root: PathBuf,
}

impl Systemd {
    /// Starts one whose sockets are below `root`, where they are on a host: `run/systemd/private`, `run/dbus/system_bus_socket`. Units are given by
    /// name and content; those of `wanted` are started.
    pub fn start(root: &Path, units: &[(&str, &str)], wanted: &[&str]) -> Systemd {
        let directory = root.join("run/units");
        fs::create_dir_all(directory.join("default.target.wants")).unwrap();
        for (name, content) in UNITS.iter().chain(units) {
            fs::write(directory.join(name), content).unwrap();
        }
        for name in wanted.iter().chain(&["dbus.service"]) {
            let link = directory.join("default.target.wants").join(name);
            std::os::unix::fs::symlink(format!("../{name}"), link).unwrap();
        }
        let process = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", OUTER, "systemd"])
            .arg(root)
            .arg(INNER)
            .stdin(Stdio::piped())
            .spawn()
            .expect("unshare is there");
        let systemd = Systemd { process, root: root.to_owned() };
        let up = || systemd.systemctl(&["is-active", "dbus.service"]).stdout == b"active\n";
        wait_until("systemd and its bus", DEADLINE, up);
        systemd
    }

    /// What systemd's own command says of it.
    pub fn systemctl(&self, arguments: &[&str]) -> Output {
        Command::new("systemctl")
            .arg("--user")
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("XDG_RUNTIME_DIR", self.root.join("run"))
            .output()
            .expect("systemctl: tests/run installs it")
    }

    /// The same as text, of what has to succeed.
    pub fn told(&self, arguments: &[&str]) -> String {
        let output = self.systemctl(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A property of a unit over the bus, in busctl's words: `t 7`, `s "simple"`. The interface is without what all have.
    pub fn property(&self, unit: &str, interface: &str, name: &str) -> String {
        let escape = |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("_{:02x}", u32::from(c)) };
        let path = format!("/org/freedesktop/systemd1/unit/{}", unit.chars().map(escape).collect::<String>());
        self.get(&path, interface, name)
    }

    /// The same of the manager itself.
    pub fn manager(&self, name: &str) -> String {
        self.get("/org/freedesktop/systemd1", "Manager", name)
    }

    fn get(&self, path: &str, interface: &str, name: &str) -> String {
        let address = format!("--address=unix:path={}", self.root.join("run/dbus/system_bus_socket").display());
        let interface = format!("org.freedesktop.systemd1.{interface}");
        let words = ["get-property", "org.freedesktop.systemd1", path, &interface, name];
        let output = Command::new("busctl").arg(address).args(words).output().expect("busctl: tests/run installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Stops the manager's process, or has it go on.
    pub fn signal(&self, signal: Signal) {
        let manager = descendants(self.process.id()).into_iter().find(|pid| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
            comm.is_ok_and(|comm| comm == "systemd\n")
        });
        let pid = manager.expect("systemd runs");
        kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
    }
}

/// All processes below one.
fn descendants(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<u32> = children.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    let below: Vec<u32> = children.iter().flat_map(|pid| descendants(*pid)).collect();
    [children, below].concat()
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // A process that is stopped is ended as well.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
