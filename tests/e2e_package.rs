//! The packages on a real systemd and in a real RPM database: installed, reloaded, upgraded and downgraded under load, removed, purged.
//!
//! Promises: the binary is this build's, or the one that LUGGER_PACKAGED names, packaged as two versions. Leaves to others: what the agent does with lines (all other tests), sizes.

#[path = "support/machine.rs"]
mod machine;
mod support;

use machine::Machine;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use support::ledger::Ledger;
use support::loki::{Loki, Options};
use support::wait::{holds_within, settles, wait_until};
use support::writer::Writer;

const SOON: Duration = Duration::from_secs(60);
/// No further entry for this long: then none is on its way.
const QUIET: Duration = Duration::from_millis(800);
const PORT: u16 = 3100;
const DEFAULT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/agent.yaml");

/// Manual pages and the like; made once.
fn package_files() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package_files");
        let mut command = Command::new(env!("CARGO"));
        // What cargo tells a test would make it build crates anew that ask for it.
        let told = std::env::vars_os().map(|(name, _)| name).filter(|name| {
            let name = name.to_string_lossy();
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "LD_LIBRARY_PATH"]
                .iter()
                .any(|told| name.starts_with(told))
        });
        for name in told {
            command.env_remove(name);
        }
        command.args(["run", "--quiet", "--locked", "--example", "package_files", "--"]).arg(&directory);
        succeeds(command.current_dir(env!("CARGO_MANIFEST_DIR")));
        directory
    })
}

/// What is packaged: this build's binary, or another one, such as a release that is to be tried.
fn binary() -> String {
    std::env::var("LUGGER_PACKAGED").unwrap_or_else(|_| env!("CARGO_BIN_EXE_lugger").to_owned())
}

/// Packages of a binary, of one kind; where the package is.
fn package(kind: &str, binary: &str, version: &str, out: &Path) -> PathBuf {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/build"));
    command.args([kind, "--fast", "--dynamic", "--version", version, "--files"]).arg(package_files());
    command.arg("--out").arg(out).arg(binary).env("SOURCE_DATE_EPOCH", "1700000000");
    PathBuf::from(succeeds(&mut command).trim_end().lines().last().unwrap())
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A machine with two versions of the package in /opt, and a Loki on its loopback.
struct Host {
    machine: Machine,
    loki: Loki,
    /// What came of the job `app`.
    app: Arc<Mutex<Ledger>>,
}

const OLD: &str = "/opt/lugger_1.0.0-1_amd64.deb";
const NEW: &str = "/opt/lugger_1.1.0-1_amd64.deb";

impl Host {
    fn new() -> Self {
        let out = tempfile::tempdir().unwrap();
        let packages: Vec<PathBuf> =
            ["1.0.0", "1.1.0"].iter().map(|version| package("--deb", &binary(), version, out.path())).collect();
        let machine = Machine::boot();
        for (path, name) in packages.iter().zip([OLD, NEW]) {
            machine.write(name, fs::read(path).unwrap());
        }
        let loki = Loki::start_on(machine.listen(PORT), Options { keep: true, ..Options::default() });
        let app = Arc::new(Mutex::new(Ledger::new("app")));
        let own = Arc::clone(&app);
        loki.observe(move |entry| {
            if entry.stream.contains("job=\"app\"") {
                let mut ledger = own.lock().unwrap_or_else(PoisonError::into_inner);
                ledger.take(entry.stream, entry.at, entry.line, entry.repeated);
            }
        });
        Host { machine, loki, app }
    }

    fn install(&self, package: &str) {
        self.machine.ok(&format!("apt-get install -y --allow-downgrades -o Dpkg::Options::=--force-confold {package}"));
    }

    fn configure(&self, text: &str) {
        fs::write(self.machine.path("/etc/lugger/agent.yaml"), text).unwrap();
    }

    fn wait_well(&self, sources: &str) {
        let wanted = format!("{sources}, 1 endpoint: all is well");
        self.machine.wait_show("lugger", "StatusText", |status| status == wanted);
    }

    fn main_pid(&self) -> String {
        self.machine.show("lugger", "MainPID")
    }

    /// Waits until all lines of the job `app` are there, then for silence, and sees that each is there once.
    fn all_once(&self, written: u64) {
        let ledger = || self.app.lock().unwrap_or_else(PoisonError::into_inner);
        if holds_within(SOON, || ledger().seen() >= written).is_none() {
            let journal = self.machine.run("journalctl --no-pager -u lugger -n 40").stdout;
            panic!("{:#?}\n{}", ledger().verdict(written), String::from_utf8_lossy(&journal));
        }
        settles(QUIET, SOON, || self.loki.totals().entries);
        ledger().verdict(written).assert_perfect(u64::MAX);
        self.loki.assert_no_defects();
    }

    /// How often Loki shows a line with this text.
    fn shown(&self, text: &str) -> usize {
        self.loki.entries().iter().filter(|kept| !kept.repeated && kept.line.contains(text)).count()
    }

    /// Runs a command in the mounts of the service, as its user, with its rights.
    fn as_service(&self, command: &str) -> String {
        let pid = self.main_pid();
        format!(
            "nsenter --target {pid} --mount setpriv --reuid lugger --regid lugger --init-groups --bounding-set=-all --inh-caps=-all \
             --no-new-privs {command}"
        )
    }
}

const CONFIG: &str = r#"
labels: { host: machine }
loki: [{ url: "http://127.0.0.1:3100", batch_wait: 100ms }]
logs:
  - { name: journal, journal: {}, labels: { job: journal } }
  - { name: app, file: { include: [/var/log/app/*.log] }, labels: { job: app } }
"#;

/// From installing to purging.
#[test]
fn a_host_from_installing_to_purging() {
    let host = Host::new();
    let machine = &host.machine;
    host.install(OLD);
    installed(&host);
    hardened(&host);
    machine.ok("mkdir /var/log/app");
    let mut writer = Writer::new(machine.path("/var/log/app/app.log"), "app");
    writer.write(500);
    machine.ok("logger -t probe one-of-the-journal");
    reloaded(&host);
    host.all_once(500);
    wait_until("the journal's line", SOON, || host.shown("one-of-the-journal") == 1);

    upgraded(&host, &mut writer);
    confined(&host);
    watched(&host, &mut writer);
    with_drop_ins(&host, &mut writer);

    // Removed, what it knows stays.
    machine.ok("apt-get remove -y lugger");
    assert_eq!(machine.run("test -e /usr/bin/lugger").status.code(), Some(1));
    machine.ok("test -d /var/lib/lugger && test -n \"$(ls /var/lib/lugger)\" && test -e /etc/lugger/agent.yaml");
    assert_ne!(machine.show("lugger", "ActiveState"), "active");
    writer.write(200);
    host.install(OLD);
    host.wait_well("2 sources");
    host.all_once(writer.written());
    assert_eq!(host.shown("one-of-the-journal"), 1);

    // Purged, nothing of it stays but its user, whose number is not given away.
    machine.ok("apt-get purge -y lugger");
    machine.ok("test ! -e /var/lib/lugger && test ! -e /etc/lugger/agent.yaml && test ! -e /etc/default/lugger");
    machine.ok("getent passwd lugger");
    let left = machine.ok("find / -xdev -name '*lugger*' ! -path '/opt/*' ! -path '/proc/*' ! -path '/var/log/*' ! -path '/etc/systemd/*'");
    assert_eq!(left, "", "purging leaves something");
}

/// It runs, ships nothing, and says so.
fn installed(host: &Host) {
    let machine = &host.machine;
    assert_eq!(machine.ok("systemctl is-active lugger"), "active");
    assert_eq!(machine.ok("systemctl is-enabled lugger"), "enabled");
    assert_eq!(machine.show("lugger", "Type"), "notify");
    assert_eq!(machine.show("lugger", "StatusText"), "0 sources, 0 endpoints: there is nothing to do");
    let says = "no logs are read, and none are sent";
    assert!(machine.ok("lugger check 2>&1").contains(says));
    assert!(machine.ok("journalctl --no-pager -u lugger").contains(says));
    assert_eq!(machine.ok("id -nG lugger"), "lugger adm systemd-journal");
    assert_eq!(machine.ok("stat -c '%a %U:%G' /etc/lugger /etc/lugger/agent.yaml"), "750 root:lugger\n640 root:lugger");
    assert_eq!(machine.ok("stat -c '%a %U:%G' /var/lib/lugger"), "700 lugger:lugger");
    assert_eq!(machine.ok("systemd-sysusers --dry-run lugger.conf; systemd-tmpfiles --create lugger.conf"), "");
    machine.ok("systemd-analyze verify --man=no lugger.service");
}

/// What systemd makes of the unit's hardening.
fn hardened(host: &Host) {
    let machine = &host.machine;
    // The threshold is in tenths.
    let report = machine.ok("systemd-analyze security --no-pager --threshold=20 lugger");
    println!("{}", report.lines().last().unwrap_or_default());
    let status = machine.ok(&format!("cat /proc/{}/status", host.main_pid()));
    let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    for key in ["CapBnd:", "CapEff:", "CapPrm:", "CapAmb:"] {
        assert_eq!(value(key), Some("0000000000000000"), "{key}");
    }
    assert_eq!((value("NoNewPrivs:"), value("Seccomp:")), (Some("1"), Some("2")));
}

/// A reload takes over what is right, and refuses what is not.
fn reloaded(host: &Host) {
    let machine = &host.machine;
    let pid = host.main_pid();
    host.configure(CONFIG);
    machine.ok("systemctl reload lugger");
    host.wait_well("2 sources");
    host.configure("logs: 1\n");
    machine.ok("systemctl reload lugger");
    machine.wait_show("lugger", "StatusText", |status| status.contains("the configuration on disk has an error"));
    let journal = machine.ok("journalctl --no-pager -u lugger");
    assert!(journal.contains("agent.yaml:1:7"), "{journal}");
    assert_eq!((machine.show("lugger", "ActiveState"), host.main_pid()), ("active".to_owned(), pid));
    host.configure(CONFIG);
    machine.ok("systemctl reload lugger");
    host.wait_well("2 sources");
}

/// To a newer version and back, while lines are written.
fn upgraded(host: &Host, writer: &mut Writer) {
    let machine = &host.machine;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                writer.write_at(500, 5_000);
            }
        });
        for (package, version) in [(NEW, "1.1.0-1"), (OLD, "1.0.0-1")] {
            let pid = host.main_pid();
            host.install(package);
            assert_eq!(machine.ok("dpkg-query -W -f '${Version}' lugger"), version);
            assert_eq!(machine.ok("systemctl is-active lugger"), "active");
            assert_ne!(host.main_pid(), pid, "the new version does not run");
            host.wait_well("2 sources");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    println!("{} lines while it was upgraded and downgraded", writer.written());
    host.all_once(writer.written());
    assert_eq!(fs::read_to_string(machine.path("/etc/lugger/agent.yaml")).unwrap(), CONFIG);
}

/// It reads what its groups may, and writes to its state directory.
fn confined(host: &Host) {
    let machine = &host.machine;
    machine.ok("mkdir -p /home/user && echo secret >/home/user/file && echo secret >/root/file && chmod -R a+rX /home/user /root");
    machine.ok("echo log >/var/log/of-adm && chown root:adm /var/log/of-adm && chmod 640 /var/log/of-adm");
    let can = |command: &str| machine.ok(&host.as_service(command));
    let cannot = |command: &str| machine.fails(&host.as_service(command));
    assert_eq!(can("cat /var/log/of-adm"), "log");
    can("journalctl --no-pager -n 1 -q _PID=1");
    can("cat /proc/1/mountinfo /proc/stat /proc/diskstats /proc/net/dev /sys/class/net/lo/mtu");
    can("touch /var/lib/lugger/probe /tmp/probe");
    machine.ok("rm /var/lib/lugger/probe && test ! -e /tmp/probe");
    for path in ["/etc/shadow", "/root/file", "/home/user/file"] {
        cannot(&format!("cat {path}"));
    }
    for path in ["/etc/x", "/usr/x", "/var/x", "/var/log/x", "/var/lib/x", "/run/x", "/x", "/proc/sys/vm/swappiness"] {
        cannot(&format!("sh -c 'echo 1 >{path}'"));
    }
    // By the mounts alone as well, where rights would do.
    let pid = host.main_pid();
    for command in [
        "touch /etc/x",
        "touch /usr/x",
        "touch /var/log/x",
        "cat /home/user/file",
        "cat /root/file",
        "head -c1 /dev/mem",
    ] {
        machine.fails(&format!("nsenter --target {pid} --mount {command}"));
    }
}

/// A process that does not come around is ended and started anew, and goes on where it was.
fn watched(host: &Host, writer: &mut Writer) {
    let machine = &host.machine;
    assert_eq!(machine.show("lugger", "WatchdogUSec"), "1min");
    machine.write(
        "/etc/systemd/system/lugger.service.d/test.conf",
        "[Service]\nWatchdogSec=2\nRestartSec=100ms\nTimeoutAbortSec=1\n",
    );
    machine.ok("systemctl daemon-reload && systemctl restart lugger");
    host.wait_well("2 sources");
    let pid = host.main_pid();
    machine.ok(&format!("kill -STOP {pid}"));
    writer.write(300);
    machine.wait_show("lugger", "NRestarts", |restarts| restarts == "1");
    host.wait_well("2 sources");
    assert_ne!(host.main_pid(), pid);
    assert!(machine.ok("journalctl --no-pager -u lugger").contains("Watchdog timeout"));
    host.all_once(writer.written());
    machine.ok("rm /etc/systemd/system/lugger.service.d/test.conf && systemctl daemon-reload");
}

/// The examples of drop-ins do what they say.
fn with_drop_ins(host: &Host, writer: &mut Writer) {
    let machine = &host.machine;
    machine.ok("echo only-for-root >/var/log/app/root.txt && chmod 600 /var/log/app/root.txt && echo pass >/etc/lugger/loki.password");
    machine.ok("chmod 600 /etc/lugger/loki.password && groupadd -f docker");
    machine.ok(
        "cp /usr/share/doc/lugger/drop-ins/*.conf /etc/systemd/system/lugger.service.d/ && systemctl daemon-reload",
    );
    let more = r#"
  - { name: root, file: { include: [/var/log/app/root.txt] }, labels: { job: root } }
  - { name: syslog, syslog: { listen: "udp://127.0.0.1:514" }, labels: { job: syslog } }
"#;
    let auth = r#"batch_wait: 100ms, basic_auth: { username: edge, password_file: "${CREDENTIALS_DIRECTORY}/loki" } }"#;
    host.configure(&format!("{}{more}", CONFIG.trim_end().replace("batch_wait: 100ms }", auth)));
    machine.ok("systemctl restart lugger");
    host.wait_well("4 sources");
    machine.ok("systemctl reload lugger");
    machine.ok("logger --server 127.0.0.1 --port 514 --udp sent-by-syslog");
    wait_until("a file of root's and syslog", SOON, || {
        host.shown("only-for-root") == 1 && host.shown("sent-by-syslog") == 1
    });
    assert!(
        machine
            .ok(&format!("grep ^Groups: /proc/{}/status", host.main_pid()))
            .contains(&machine.ok("getent group docker | cut -d: -f3"))
    );
    machine.ok("rm -r /etc/systemd/system/lugger.service.d /etc/lugger/loki.password && systemctl daemon-reload");
    host.configure(CONFIG);
    machine.ok("systemctl restart lugger");
    host.wait_well("2 sources");
    host.all_once(writer.written());
}

/// A host with Promtail's file and positions goes over to lugger: nothing again, nothing left out.
#[test]
fn a_host_that_comes_from_promtail() {
    let host = Host::new();
    let machine = &host.machine;
    machine.ok("mkdir -p /var/log/app /etc/promtail /var/lib/promtail");
    let path = machine.path("/var/log/app/app.log");
    let mut writer = Writer::new(&path, "app");
    writer.write(400);
    let read = fs::metadata(&path).unwrap().len();
    // What Promtail had sent is known to Loki; here it is taken as seen.
    let sent = fs::read_to_string(&path).unwrap();
    for (number, line) in sent.lines().enumerate() {
        host.app.lock().unwrap().take("{before}", number as i64, line, false);
    }
    machine.write("/var/lib/promtail/positions.yaml", format!("positions:\n  /var/log/app/app.log: \"{read}\"\n"));
    machine.write(
        "/etc/promtail/config.yml",
        r#"
server: { http_listen_port: 9080 }
positions: { filename: /var/lib/promtail/positions.yaml }
clients: [{ url: "http://127.0.0.1:3100/loki/api/v1/push" }]
scrape_configs:
  - job_name: app
    static_configs:
      - labels: { job: app, __path__: /var/log/app/*.log }
"#,
    );
    writer.write(100);
    host.install(OLD);
    machine.ok("lugger convert /etc/promtail/config.yml >/etc/lugger/agent.yaml");
    machine.ok("lugger check && systemctl restart lugger");
    host.wait_well("1 source");
    writer.write(100);
    host.all_once(writer.written());
    let sent_by_lugger = host.loki.totals().entries;
    assert_eq!(sent_by_lugger, 200, "each line that Promtail had not read, once");
}

/// Files, owners, modes, scripts, and what becomes of changed configurations, in a real RPM database.
#[test]
fn the_rpm_in_a_root_of_its_own() {
    let out = tempfile::tempdir().unwrap();
    let old = package("--rpm", &binary(), "1.0.0", out.path());
    let new = package("--rpm", &binary(), "1.1.0", out.path());
    let host = Machine::boot();
    // The machine's own tree, for there are the commands that scripts call.
    let root = host.path("/");
    let rpm = |arguments: &[&str]| {
        let mut command = Command::new("rpm");
        command.arg("--root").arg(&root).args(arguments);
        succeeds(&mut command)
    };
    let (old, new) = (old.display().to_string(), new.display().to_string());
    rpm(&["--initdb"]);
    // What it depends on is in no database of RPM here.
    let install = ["--nodeps", "-U"];
    rpm(&[&install[..], &[&old]].concat());
    assert_eq!(host.ok("id -nG lugger"), "lugger adm systemd-journal");
    assert_eq!(host.ok("stat -c '%a %U:%G' /etc/lugger /etc/lugger/agent.yaml"), "750 root:lugger\n640 root:lugger");
    assert_eq!(host.ok("stat -c '%a %U:%G' /var/lib/lugger"), "700 lugger:lugger");
    assert_eq!(rpm(&["-V", "--nodeps", "lugger"]), "");
    assert!(host.ok("lugger check 2>&1").contains("no logs are read, and none are sent"));
    host.ok("systemctl daemon-reload && systemctl enable --now lugger");
    assert_eq!(host.ok("systemctl is-active lugger"), "active");
    host.ok("echo '# mine' >>/etc/lugger/agent.yaml && touch /var/lib/lugger/kept");
    rpm(&[&install[..], &[&new]].concat());
    assert_eq!(rpm(&["-q", "lugger"]), "lugger-1.1.0-1.x86_64\n");
    host.ok("tail -n 1 /etc/lugger/agent.yaml | grep mine && systemctl is-enabled lugger");
    rpm(&["-U", "--nodeps", "--oldpackage", &old]);
    host.ok("tail -n 1 /etc/lugger/agent.yaml | grep mine");
    // Scripts see no systemd that runs from outside its namespaces, so the last step is done inside.
    host.ok("systemctl stop lugger");
    rpm(&["-e", "lugger"]);
    host.ok("test ! -e /usr/bin/lugger && test -e /var/lib/lugger/kept && grep mine /etc/lugger/agent.yaml.rpmsave");
    host.ok("getent passwd lugger");
}

/// The same binary gives the same packages, in other directories, with other umasks, whoever the files belong to.
#[test]
fn packages_are_reproducible() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for kind in ["--deb", "--rpm"] {
        // A small one: what is in it does not matter.
        let small = "/bin/true";
        let first = fs::read(package(kind, small, "1.0.0", one.path())).unwrap();
        let copy = other.path().join("copy");
        fs::write(&copy, fs::read(small).unwrap()).unwrap();
        let script = format!("umask 077; exec '{}/packaging/build' \"$@\"", env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new("sh");
        command.args(["-c", &script, "build", kind, "--fast", "--dynamic", "--version", "1.0.0", "--files"]);
        command.arg(package_files()).arg("--out").arg(other.path()).arg(&copy);
        command.env("SOURCE_DATE_EPOCH", "1700000000").env("TZ", "Asia/Tokyo").env("LC_ALL", "C.UTF-8");
        let path = PathBuf::from(succeeds(&mut command).trim_end());
        assert!(first == fs::read(&path).unwrap(), "{}", path.display());
    }
    // A binary that needs libraries is for packages that say so.
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/build"));
    let refused = command.args(["--deb", "/bin/true"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("needs libraries of the host"), "{refused:?}");
}

/// The default configuration is one that the program accepts, and it says that nothing is sent.
#[test]
fn the_default_configuration_waits_for_an_endpoint() {
    let output = Command::new(env!("CARGO_BIN_EXE_lugger")).args(["check", "--config", DEFAULT]).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("no logs are read, and none are sent") && text.contains("0 sources"), "{text}");
    // With an endpoint in place of the empty list it runs as it is.
    let filled =
        fs::read_to_string(DEFAULT).unwrap().replace("loki: []", "").replace("#loki:\n#  - url", "loki:\n  - url");
    let path = tempfile::NamedTempFile::new().unwrap();
    fs::write(path.path(), filled).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_lugger")).args(["check", "--config"]).arg(path.path()).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("1 source\n") && !text.contains("warning"), "{text}");
}

/// The list of materials is of what cargo links, and manual pages of every command.
#[test]
fn materials_and_manual_pages_are_complete() {
    let files = package_files();
    let text = fs::read_to_string(files.join("lugger.cdx.json")).unwrap();
    let listed: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut listed: Vec<String> = listed["components"]
        .as_array()
        .unwrap()
        .iter()
        .inspect(|component| assert!(component["licenses"].is_array() && component["hashes"].is_array(), "{component}"))
        .map(|component| format!("{} v{}", component["name"].as_str().unwrap(), component["version"].as_str().unwrap()))
        .collect();
    listed.sort();
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let mut command = Command::new(env!("CARGO"));
    command.args([
        "tree",
        "--locked",
        "--offline",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--target",
        &target,
    ]);
    let tree = succeeds(command.current_dir(env!("CARGO_MANIFEST_DIR")));
    let names =
        tree.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).filter(|line| !line.starts_with("lugger "));
    let mut linked: Vec<String> = names.collect();
    linked.sort();
    linked.dedup();
    assert_eq!(listed, linked);
    for command in lugger::cli::command().get_subcommands().filter(|command| command.get_name() != "help") {
        let page = fs::read_to_string(files.join(format!("lugger-{}.1", command.get_name()))).unwrap();
        assert!(page.contains(".SH OPTIONS"), "{}", command.get_name());
    }
    for name in ["lugger.bash", "_lugger", "lugger.fish"] {
        assert!(fs::read_to_string(files.join(name)).unwrap().contains("dead-letters"), "{name}");
    }
}
