//! A real Docker Engine, started by hand with directories and a socket of its own, and one image with busybox. One for all tests of a binary. Needs
//! root, the packages docker.io and busybox-static; without them tests fail.
//!
//! It ends with the process of the tests, however that ends: its keeper is told by the kernel, takes it down and removes its directory.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc};
use std::time::{Duration, Instant};

/// What has to happen within this time, or the test fails.
const DEADLINE: Duration = Duration::from_secs(90);

/// Runs the daemon until it is to stop. `$1` is its directory; further words are options.
const KEEPER: &str = r#"
dir=$1
shift
$ENTER dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" --host "unix://$dir/docker.sock" \
    --iptables=false --ip6tables=false --bridge=none --log-level=warn "$@" >>"$dir/dockerd.log" 2>&1 &
daemon=$!
ended=
end() {
    ended=yes
    docker --host "unix://$dir/docker.sock" ps --quiet --all | xargs -r docker --host "unix://$dir/docker.sock" rm --force >/dev/null
    kill -TERM $daemon
}
trap end TERM
while kill -0 $daemon 2>/dev/null; do
    wait $daemon
done
if [ -n "$ended" ]; then
    [ -e "$dir/exec/containerd/containerd.pid" ] && kill -KILL "$(cat "$dir/exec/containerd/containerd.pid")" 2>/dev/null
    for mount in $(awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r); do
        umount -l "$mount"
    done
    rm -rf "$dir"
fi
"#;

/// What containers have beside the shell.
const APPLETS: [&str; 12] = ["sh", "cat", "echo", "printf", "sleep", "seq", "head", "tr", "dd", "true", "awk", "kill"];

/// The image.
pub const IMAGE: &str = "lugger-test:1";

/// A running daemon.
pub struct Docker {
    directory: PathBuf,
    starter: Mutex<mpsc::Sender<Vec<String>>>,
}

static DOCKER: OnceLock<RwLock<Docker>> = OnceLock::new();

fn shared() -> &'static RwLock<Docker> {
    DOCKER.get_or_init(|| RwLock::new(Docker::start("")))
}

/// The daemon of this test binary, for tests that leave it running.
pub fn docker() -> RwLockReadGuard<'static, Docker> {
    shared().read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The same, for a test that stops it: nobody else uses it meanwhile.
pub fn docker_alone() -> RwLockWriteGuard<'static, Docker> {
    shared().write().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Docker {
    /// A further daemon, with the mounts that this process has. It ends when it is dropped.
    pub fn with_mounts_of(pid: u32) -> Docker {
        Docker::start(&format!("nsenter --target {pid} --mount"))
    }

    fn start(enter: &str) -> Docker {
        for part in ["dockerd", "docker", "containerd", "runc", "setpriv"] {
            let found = Command::new("sh").args(["-c", "command -v \"$0\"", part]).stdout(Stdio::null()).status();
            assert!(found.is_ok_and(|found| found.success()), "{part} is missing: install docker.io and util-linux");
        }
        // Its keeper removes it.
        let directory = tempfile::Builder::new().prefix("lugger-docker-").tempdir().unwrap().keep();
        let (starter, orders) = mpsc::channel::<Vec<String>>();
        let (place, enter) = (directory.clone(), enter.to_owned());
        // The kernel tells of the end of the thread that started it, so this one stays.
        std::thread::spawn(move || {
            let mut keepers = Vec::new();
            while let Ok(options) = orders.recv() {
                let keeper = Command::new("setpriv")
                    .args(["--pdeathsig", "TERM", "sh", "-c", KEEPER, "keeper"])
                    .arg(&place)
                    .args(options)
                    .env("ENTER", &enter)
                    .stdin(Stdio::null())
                    .spawn();
                keepers.push(keeper.expect("start the daemon"));
            }
        });
        let docker = Docker { directory, starter: Mutex::new(starter) };
        docker.run_daemon(&[]);
        docker.import();
        docker
    }

    /// Starts the daemon, when it is stopped.
    pub fn run_daemon(&self, options: &[&str]) {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        self.starter.lock().unwrap().send(options).unwrap();
        let start = Instant::now();
        while !self.try_do(&["version"]).status.success() {
            let log = || std::fs::read_to_string(self.directory.join("dockerd.log")).unwrap_or_default();
            assert!(start.elapsed() < DEADLINE, "dockerd does not come up:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the daemon, by this signal, and waits for that.
    pub fn stop_daemon(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.directory.join("pid")).expect("dockerd runs");
        let pid = pid.trim();
        assert!(Command::new("kill").args(["-s", signal, pid]).status().unwrap().success());
        let start = Instant::now();
        while Path::new("/proc").join(pid).exists() {
            assert!(start.elapsed() < DEADLINE, "dockerd does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        // A killed daemon takes its containerd with it. Where nobody collects that, the next daemon would take it for one that runs.
        let _ = std::fs::remove_file(self.directory.join("exec/containerd/containerd.pid"));
    }

    /// Stops the daemon in the middle of whatever it does, until what comes back is dropped.
    pub fn freeze(&self) -> Frozen {
        let pid = std::fs::read_to_string(self.directory.join("pid")).expect("dockerd runs").trim().to_owned();
        signal("STOP", &pid);
        Frozen(pid)
    }

    fn import(&self) {
        let tree = self.directory.join("tree/bin");
        std::fs::create_dir_all(&tree).unwrap();
        let busybox = Command::new("sh").args(["-c", "command -v busybox"]).output().unwrap();
        let busybox = String::from_utf8(busybox.stdout).unwrap();
        std::fs::copy(busybox.trim(), tree.join("busybox")).expect("busybox is missing: install busybox-static");
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", tree.join(applet)).unwrap();
        }
        let tar = self.directory.join("image.tar");
        let made =
            Command::new("tar").arg("-C").arg(self.directory.join("tree")).arg("-cf").arg(&tar).arg(".").status();
        assert!(made.unwrap().success());
        self.do_it(&["import", tar.to_str().unwrap(), IMAGE]);
    }

    /// Where its socket is.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    /// Where the containers' directories are.
    pub fn containers(&self) -> PathBuf {
        self.directory.join("data/containers")
    }

    /// Runs the client with these words.
    pub fn try_do(&self, words: &[&str]) -> Output {
        let host = format!("unix://{}", self.socket().display());
        Command::new("docker")
            .args(["--host", &host])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("docker is there")
    }

    /// The same; it has to succeed. What it printed.
    #[track_caller]
    pub fn do_it(&self, words: &[&str]) -> String {
        let output = self.try_do(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {words:?}: {said} ({:?})", output.status.signal());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What it printed to stderr.
    pub fn errors(&self, words: &[&str]) -> String {
        String::from_utf8_lossy(&self.try_do(words).stderr).trim().to_owned()
    }

    /// Starts a container in the background. `options` are of `docker run`. Its id.
    #[track_caller]
    pub fn run(&self, name: &str, options: &[&str], script: &str) -> String {
        let mut words = vec!["run", "--detach", "--network=none", "--name", name];
        words.extend(options);
        words.extend([IMAGE, "/bin/sh", "-c", script]);
        self.do_it(&words)
    }

    /// Waits until a container has ended.
    #[track_caller]
    pub fn wait(&self, name: &str) {
        self.do_it(&["wait", name]);
    }

    /// Removes containers, running or not.
    pub fn remove(&self, names: &[&str]) {
        let mut words = vec!["rm", "--force", "--volumes"];
        words.extend(names);
        self.try_do(&words);
    }

    /// A pipe for a container's `/in/pipe`: opened for writing as soon as the container reads.
    pub fn pipe(&self, name: &str) -> Pipe {
        let directory = self.directory.join("pipes").join(name);
        std::fs::create_dir_all(&directory).unwrap();
        assert!(Command::new("mkfifo").arg(directory.join("pipe")).status().unwrap().success());
        Pipe { directory }
    }
}

fn signal(name: &str, pid: &str) {
    assert!(Command::new("kill").args(["-s", name, pid]).status().unwrap().success());
}

/// A daemon that is stopped.
pub struct Frozen(String);

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("CONT", &self.0);
    }
}

/// A named pipe, by which tests say what containers write.
pub struct Pipe {
    directory: PathBuf,
}

impl Pipe {
    /// The option of `docker run`.
    pub fn volume(&self) -> String {
        format!("--volume={}:/in", self.directory.display())
    }

    /// Waits for the container.
    pub fn open(&self) -> File {
        File::options().write(true).open(self.directory.join("pipe")).expect("open the pipe")
    }
}
