//! A Debian that a real systemd boots, in namespaces of its own: processes, mounts, network, names. Needs root, systemd-nspawn and debootstrap.
//!
//! The system is made once, and kept in the build directory; each machine writes to a layer in memory above it. Its network is its own loopback,
//! on which servers of the test can listen, and nothing else.
//!
//! Promises: nothing of a machine outlives it. Leaves to others: what runs there.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use crate::support::wait::{holds_within, wait_until};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What has to happen within this time, or the test fails.
const DEADLINE: Duration = Duration::from_secs(120);
/// The kept system; another number when it is made in another way.
const SYSTEM: &str = "bookworm-2";
const PACKAGES: &str = "systemd,systemd-sysv,dbus,ca-certificates";

/// Its own mounts, its own part of the tree of control groups; then systemd-nspawn.
const BOOT: &str = r#"
set -e
layer=$1 system=$2 name=$3
mount -t tmpfs tmpfs "$layer"
mkdir "$layer/upper" "$layer/work" "$layer/root"
mount -t overlay overlay -o "lowerdir=$system,upperdir=$layer/upper,workdir=$layer/work" "$layer/root"
for tree in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    if [ -w "$tree/cgroup.procs" ]; then
        mkdir "$tree/$name"
        echo $$ >"$tree/$name/cgroup.procs"
    fi
done
exec systemd-nspawn --quiet --register=no --keep-unit --private-network --resolv-conf=off --timezone=off --console=pipe \
    --machine="$name" --directory="$layer/root" --boot
"#;

/// A machine that runs.
#[derive(Debug)]
pub struct Machine {
    nspawn: Child,
    /// Its process 1, by this host's number.
    leader: u32,
    name: String,
    layer: tempfile::TempDir,
}

impl Machine {
    /// Boots one, and waits until it is up.
    #[track_caller]
    pub fn boot() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let system = system();
        let name = format!("lugger-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let layer = tempfile::Builder::new().prefix("lugger-machine-").tempdir().unwrap();
        let console = File::create(layer.path().with_extension("console")).unwrap();
        let nspawn = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", BOOT, "boot"])
            .arg(layer.path())
            .arg(&system)
            .arg(&name)
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn()
            .expect("unshare is there");
        let mut machine = Machine { nspawn, leader: 0, name, layer };
        let shown = machine.layer.path().with_extension("console");
        let console = || fs::read_to_string(&shown).unwrap_or_default();
        let up = holds_within(DEADLINE, || {
            if machine.leader == 0 {
                machine.leader = leader_of(machine.nspawn.id()).unwrap_or(0);
            }
            assert_eq!(machine.nspawn.try_wait().unwrap(), None, "systemd-nspawn has ended:\n{}", console());
            machine.leader != 0 && {
                let state = machine.run("systemctl is-system-running");
                let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
                state == "running" || state == "degraded"
            }
        });
        assert!(up.is_some(), "the machine does not come up:\n{}", console());
        machine
    }

    /// A path in the machine, as this host sees it.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.leader))
    }

    /// Writes a file there, as root, readable for all.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Runs a shell command there as root.
    pub fn run(&self, script: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.leader.to_string(), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]);
        command.args(["--root", "--wd", "env", "-i", "HOME=/root", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"]);
        command.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").args(["sh", "-c", script]);
        command.stdin(Stdio::null()).output().expect("nsenter is there")
    }

    /// Runs a command that has to go well; what it prints.
    #[track_caller]
    pub fn ok(&self, script: &str) -> String {
        let output = self.run(script);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            let journal = self.run("journalctl --no-pager -n 60");
            panic!("{script}: {}\n{text}{error}\n{}", output.status, String::from_utf8_lossy(&journal.stdout));
        }
        text.trim_end().to_owned()
    }

    /// Runs a command that has to fail; what it prints on stdout and stderr.
    #[track_caller]
    pub fn fails(&self, script: &str) -> String {
        let output = self.run(script);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success(), "{script} went well: {text}");
        text
    }

    /// What systemd says of a unit.
    #[track_caller]
    pub fn show(&self, unit: &str, property: &str) -> String {
        self.ok(&format!("systemctl show --value --property={property} {unit}"))
    }

    /// Waits until systemd says so of a unit.
    #[track_caller]
    pub fn wait_show(&self, unit: &str, property: &str, wanted: impl Fn(&str) -> bool) {
        wait_until(&format!("{property} of {unit}"), DEADLINE, || wanted(&self.show(unit, property)));
    }

    /// A socket that listens on the machine's loopback.
    pub fn listen(&self, port: u16) -> TcpListener {
        let network = File::open(format!("/proc/{}/ns/net", self.leader)).unwrap();
        // The thread ends with it: nothing else of this process goes there.
        let listen = move || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            TcpListener::bind(("127.0.0.1", port)).unwrap()
        };
        std::thread::spawn(listen).join().unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With its process 1 all of its processes go.
        if self.leader != 0 {
            let _ = Command::new("kill").args(["-s", "KILL", &self.leader.to_string()]).status();
        } else {
            let _ = self.nspawn.kill();
        }
        let _ = self.nspawn.wait();
        let _ = fs::remove_file(self.layer.path().with_extension("console"));
        for tree in ["systemd", "unified", ""] {
            let directory = Path::new("/sys/fs/cgroup").join(tree).join(&self.name);
            let _ = Command::new("find")
                .arg(directory)
                .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"])
                .output();
        }
    }
}

/// The child of nspawn that is process 1 of its machine.
fn leader_of(nspawn: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim_end() == "systemd"
    })
}

/// The kept system; it is made if it is not there.
fn system() -> PathBuf {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("machine");
    fs::create_dir_all(&kept).unwrap();
    let lock = File::create(kept.join("lock")).unwrap();
    lock.lock().unwrap();
    let system = kept.join(SYSTEM);
    if system.exists() {
        return system;
    }
    let unfinished = kept.join("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).unwrap();
    }
    let script =
        r#"debootstrap --variant=minbase --include="$1" bookworm "$2" && rm -f "$2"/var/cache/apt/archives/*.deb"#;
    let made = Command::new("sh").args(["-c", script, "make", PACKAGES]).arg(&unfinished).output().unwrap();
    let said = String::from_utf8_lossy(&made.stdout);
    assert!(made.status.success(), "debootstrap made no system (it needs root and Debian's packages):\n{said}");
    fs::rename(&unfinished, &system).unwrap();
    system
}
