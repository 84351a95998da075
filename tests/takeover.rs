//! `packaging/takeover` from Promtail to lugger and back: the real script and the real agent, with a systemctl that starts and stops them here, and what stands
//! for Promtail: something that writes positions when it is stopped.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use support::agent::free_port;
use support::loki::{Loki, Options};
use support::wait::{holds_within, wait_until};

const DRAIN: Duration = Duration::from_secs(60);

/// `systemctl`: units are files in $HOST/units, those that run have a file in $HOST/active. Each change is noted in $HOST/calls.
const SYSTEMCTL: &str = r#"#!/bin/sh
set -eu
verb=$1; shift
case $verb in
    is-active) [ "$1" = --quiet ]; [ -e "$HOST/active/$2" ] ;;
    cat) [ -e "$HOST/units/$1" ] ;;
    enable | disable)
        now=
        if [ "$1" = --now ]; then now=yes; shift; fi
        echo "$verb${now:+ --now} $1" >>"$HOST/calls"
        [ -e "$HOST/units/$1" ]
        [ -n "$now" ] || exit 0
        if [ "$verb" = enable ]; then
            [ -e "$HOST/active/$1" ] || sh -e "$HOST/units/$1" start
            touch "$HOST/active/$1"
        elif [ -e "$HOST/active/$1" ]; then
            rm "$HOST/active/$1"
            sh -e "$HOST/units/$1" stop
        fi
        ;;
    *) exit 1 ;;
esac
"#;

/// lugger's unit: its state is the host's.
const UNIT: &str = r#"
case $1 in
    start)
        STATE_DIRECTORY=$HOST/state setsid lugger run --config "$HOST/etc/agent.yaml" >>"$HOST/lugger.log" 2>&1 </dev/null &
        echo $! >"$HOST/pid"
        ;;
    stop)
        pid=$(cat "$HOST/pid")
        kill -TERM "$pid"
        while kill -0 "$pid" 2>/dev/null && [ "$(cut -d' ' -f3 "/proc/$pid/stat" 2>/dev/null)" != Z ]; do sleep 0.02; done
        ;;
esac
"#;

/// A host with Promtail.
struct Host {
    root: tempfile::TempDir,
    loki: Loki,
}

impl Host {
    fn new() -> Self {
        let host = Host {
            root: tempfile::tempdir().unwrap(),
            loki: Loki::start_with(Options { keep: true, ..Options::default() }),
        };
        for directory in ["bin", "units", "active", "etc", "logs"] {
            fs::create_dir(host.path(directory)).unwrap();
        }
        let program = |name: &str, text: &str| {
            let path = host.path("bin").join(name);
            fs::write(&path, text).unwrap();
            assert!(Command::new("chmod").arg("755").arg(path).status().unwrap().success());
        };
        program("systemctl", SYSTEMCTL);
        // Whoever runs the tests is root here, in a group of its own.
        program("id", "#!/bin/sh\n[ \"$*\" = -u ] && echo 0 || exec /usr/bin/id \"$@\"\n");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lugger"), host.path("bin/lugger")).unwrap();
        fs::write(host.path("units/lugger.service"), UNIT).unwrap();
        // Promtail has read a part of old.log; what it has when it is stopped comes to light then.
        let stop =
            format!("[ $1 = stop ] || exit 0\ncp {0}/stopped.yaml {0}/positions.yaml\n", host.root.path().display());
        fs::write(host.path("units/promtail.service"), stop).unwrap();
        fs::write(host.path("active/promtail.service"), "").unwrap();
        host.log("old.log", "sent 1\nsent 2\n");
        let positions = |bytes: usize| format!("positions:\n  {}: \"{bytes}\"\n", host.path("logs/old.log").display());
        fs::write(host.path("positions.yaml"), positions(7)).unwrap();
        fs::write(host.path("stopped.yaml"), positions(14)).unwrap();
        let promtail = format!(
            "server: {{ http_listen_address: 127.0.0.1, http_listen_port: {} }}\npositions: {{ filename: {} }}\n\
             clients: [{{ url: '{}/loki/api/v1/push' }}]\nscrape_configs:\n  - job_name: system\n    static_configs:\n      - \
             targets: [localhost]\n        labels: {{ job: varlogs, __path__: {}/*.log }}\n",
            free_port().port(),
            host.path("positions.yaml").display(),
            host.loki.url().trim_end_matches("/loki/api/v1/push"),
            host.path("logs").display(),
        );
        fs::write(host.path("promtail.yaml"), promtail).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn log(&self, name: &str, text: &str) {
        use std::io::Write;
        let path = self.path("logs").join(name);
        let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn takeover(&self, more: &[&str]) -> Output {
        let group = Command::new("/usr/bin/id").arg("-gn").output().unwrap().stdout;
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/takeover"));
        script.arg("--promtail").arg(self.path("promtail.yaml")).arg("--config").arg(self.path("etc/agent.yaml"));
        script.args(["--group", String::from_utf8(group).unwrap().trim()]).args(more);
        script.env("PATH", path).env("HOST", self.root.path()).env("LUGGER_STATE", self.path("state"));
        script.env("TMPDIR", self.root.path());
        script.output().unwrap()
    }

    #[track_caller]
    fn succeeds(&self, more: &[&str]) -> String {
        let output = self.takeover(more);
        let words = said(&output);
        assert_eq!(output.status.code(), Some(0), "{words}\n{}", self.read("lugger.log"));
        words
    }

    #[track_caller]
    fn refuses(&self, more: &[&str], words: &str) {
        let before = self.read("calls");
        let output = self.takeover(more);
        let text = said(&output);
        assert!(output.status.code() == Some(1) && text.contains(words), "{words:?} is not said:\n{text}");
        assert_eq!(self.read("calls"), before, "what is refused changes nothing");
        assert!(self.path("active/promtail.service").exists());
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = self.loki.lines();
        lines.sort();
        lines
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(self.path("pid")) {
            // It may have ended.
            let _ = Command::new("kill").args(["-KILL", pid.trim()]).output();
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn without_apply_nothing_changes() {
    let host = Host::new();
    let words = host.succeeds(&[]);
    for step in ["would: write", "would: stop and disable promtail.service", "would: enable and start lugger.service"] {
        assert!(words.contains(step), "{words}");
    }
    assert!(words.ends_with("Nothing was changed. --apply does it.\n"), "{words}");
    assert_eq!(host.read("calls"), "");
    assert!(fs::read_dir(host.path("etc")).unwrap().next().is_none());
}

#[test]
fn there_and_back_nothing_is_lost() {
    let host = Host::new();
    // Not yet read when Promtail is stopped, and a file that it has not met.
    host.log("old.log", "new 1\n");
    host.log("other.log", "new 2\n");
    let words = host.succeeds(&["--apply"]);
    assert!(words.contains("positions of 1 file are taken over from"), "{words}");
    assert_eq!(host.read("calls"), "disable --now promtail.service\nenable --now lugger.service\n");
    wait_until("what is new arrives", DRAIN, || host.lines() == ["new 1", "new 2"]);

    // Later.
    host.refuses_running();
    host.log("old.log", "new 3\n");
    host.log("third.log", "new 4\n");
    let dry = host.succeeds(&["--back"]);
    assert!(dry.contains("would: stop and disable lugger.service"), "{dry}");
    assert!(host.path("active/lugger.service").exists());
    host.succeeds(&["--back", "--apply"]);
    // All of it was sent before lugger was stopped, and Promtail goes on behind it.
    assert_eq!(host.lines(), ["new 1", "new 2", "new 3", "new 4"]);
    let mut positions = String::from("positions:\n");
    for (name, bytes) in [("old.log", 26), ("other.log", 6), ("third.log", 6)] {
        positions.push_str(&format!("  {}: \"{bytes}\"\n", host.path("logs").join(name).display()));
    }
    assert_eq!(host.read("positions.yaml"), positions);
    let calls = host.read("calls");
    let back: Vec<&str> = calls.lines().skip(2).collect();
    assert_eq!(back, ["disable --now lugger.service", "enable --now promtail.service"]);
    assert!(!host.path("state").exists() && !host.path("etc/promtail-positions.yaml").exists());
    host.loki.assert_no_defects();

    // And there once more: a first start again.
    fs::copy(host.path("positions.yaml"), host.path("stopped.yaml")).unwrap();
    host.log("third.log", "new 5\n");
    host.succeeds(&["--apply"]);
    wait_until("what is new arrives", DRAIN, || host.lines().contains(&"new 5".to_owned()));
    assert!(holds_within(Duration::from_millis(300), || host.lines().len() > 5).is_none(), "{:?}", host.lines());
}

impl Host {
    /// The script does not begin again while lugger runs.
    #[track_caller]
    fn refuses_running(&self) {
        let output = self.takeover(&["--apply"]);
        assert!(said(&output).contains("runs already"), "{}", said(&output));
    }
}

/// Promtail was taken over before: then only node_exporter goes, and that only where the host is measured.
#[test]
fn node_exporter_goes_later() {
    let host = Host::new();
    fs::write(host.path("units/prometheus-node-exporter.service"), "").unwrap();
    fs::write(host.path("active/prometheus-node-exporter.service"), "").unwrap();
    host.succeeds(&["--apply"]);
    let refused = host.takeover(&["--node-exporter", "--apply"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("measures no host"), "{}", said(&refused));
    let config = host.read("etc/agent.yaml") + "metrics: { host: {} }\n";
    fs::write(host.path("etc/agent.yaml"), config).unwrap();
    let dry = host.succeeds(&["--node-exporter"]);
    assert!(dry.contains("would: stop and disable prometheus-node-exporter.service"), "{dry}");
    assert!(host.path("active/prometheus-node-exporter.service").exists());
    host.succeeds(&["--node-exporter", "--apply"]);
    assert!(!host.path("active/prometheus-node-exporter.service").exists());
    let calls = host.read("calls");
    assert_eq!(calls.lines().last(), Some("disable --now prometheus-node-exporter.service"), "{calls}");
    assert!(host.path("active/lugger.service").exists());
}

#[test]
fn promtail_is_started_again_when_its_positions_are_broken() {
    let host = Host::new();
    fs::write(host.path("stopped.yaml"), "positions: [").unwrap();
    let output = host.takeover(&["--apply"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("is started again"), "{}", said(&output));
    assert_eq!(host.read("calls"), "disable --now promtail.service\nenable --now promtail.service\n");
    assert!(host.path("active/promtail.service").exists() && !host.path("active/lugger.service").exists());
    assert!(host.lines().is_empty());
}

#[test]
fn what_would_lose_or_repeat_is_refused() {
    let host = Host::new();
    host.refuses(&["--apply", "--promtail", "/does/not/exist"], "no /does/not/exist");
    host.refuses(&["--apply", "--promtail-unit", "other.service"], "no unit other.service");
    host.refuses(&["--apply", "--node-exporter"], "no unit prometheus-node-exporter.service");
    fs::write(host.path("units/prometheus-node-exporter.service"), "").unwrap();
    host.refuses(&["--apply", "--node-exporter"], "measures no host");
    host.refuses(&["--back", "--apply"], "was not taken over");

    fs::create_dir(host.path("state")).unwrap();
    fs::write(host.path("state/checkpoint-1.snapshot"), "").unwrap();
    host.refuses(&["--apply"], "has run here before");
    fs::remove_dir_all(host.path("state")).unwrap();

    fs::rename(host.path("positions.yaml"), host.path("away.yaml")).unwrap();
    host.refuses(&["--apply"], "everything would be sent again");
    fs::rename(host.path("away.yaml"), host.path("positions.yaml")).unwrap();

    // A configuration of one's own has to know of the positions.
    let own = format!("loki: [{{ url: '{}' }}]\nlogs: [{{ file: {{ include: /x/*.log }} }}]\n", host.loki.url());
    fs::write(host.path("etc/agent.yaml"), &own).unwrap();
    host.refuses(&["--apply"], "has no import_positions");
    fs::write(host.path("etc/agent.yaml"), format!("{own}import_positions: /elsewhere.yaml\n")).unwrap();
    host.refuses(&["--apply"], "imports other positions");
    let kept = host.path("etc/promtail-positions.yaml");
    fs::write(host.path("etc/agent.yaml"), format!("{own}import_positions: {}\nlables: {{}}\n", kept.display()))
        .unwrap();
    host.refuses(&["--apply"], "lables");
}

/// A package has started lugger with a configuration that waits for an endpoint.
#[test]
fn what_a_package_started_gives_way() {
    let host = Host::new();
    fs::write(host.path("etc/agent.yaml"), "loki: []\nlogs: [{ journal: {}, labels: { job: journal } }]\n").unwrap();
    fs::write(host.path("active/lugger.service"), "").unwrap();
    // Nobody: the unit's stop has nothing to wait for.
    let mut nobody = Command::new("sleep").arg("600").spawn().unwrap();
    fs::write(host.path("pid"), nobody.id().to_string()).unwrap();
    fs::create_dir(host.path("state")).unwrap();
    fs::write(host.path("state/checkpoint-1.snapshot"), "").unwrap();
    host.log("old.log", "new 1\n");
    let words = host.succeeds(&["--apply"]);
    nobody.wait().unwrap();
    assert!(words.contains("which waits for an endpoint"), "{words}");
    assert!(host.read("calls").starts_with("disable --now lugger.service\ndisable --now promtail.service\n"));
    assert!(host.read("etc/agent.yaml.waiting").starts_with("loki: []"));
    wait_until("what is new arrives", DRAIN, || host.lines() == ["new 1"]);
}

/// Loki is away: lugger has lines that it cannot send, and Promtail would leave them out.
#[test]
fn there_is_no_way_back_before_all_is_sent() {
    let host = Host::new();
    host.succeeds(&["--apply"]);
    host.loki.pause();
    host.log("old.log", "new 1\n");
    let output = host.takeover(&["--back", "--apply", "--wait", "2"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("has not sent all within 2 s"), "{}", said(&output));
    assert!(host.path("active/lugger.service").exists() && !host.path("active/promtail.service").exists());
    host.loki.resume();
    host.succeeds(&["--back", "--apply"]);
    assert_eq!(host.lines(), ["new 1"]);
    assert!(host.path("active/promtail.service").exists());
}
