//! What the agent sends when it is given these files: exact labels, lines and times.
//!
//! Each file runs as it is, but for its paths (which get a directory of the test before them), its endpoints, ports and sockets.

use crate::docker::docker;
use crate::journald::Journald;
use crate::support::agent::{Agent, Rig, free_port};
use crate::support::loki::{Loki, Options};
use crate::support::wait::{settles, wait_until};
use crate::support::writer::append_to;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_millis(800);

/// Directories at the root that the files speak of.
const ROOTS: [&str; 4] = ["/var/", "/srv/", "/opt/", "/run/"];

/// Where Docker listens in the files.
const DOCKER: &str = "tcp://127.0.0.1:2375";

struct Case {
    loki: Loki,
    rig: Rig,
    /// In the place of 0.0.0.0:1514.
    syslog: SocketAddr,
    /// Before anything is read, nanoseconds since 1970.
    began: i64,
}

impl Case {
    fn new() -> Self {
        let loki = Loki::start_with(Options { keep: true, ..Options::default() });
        Case { loki, rig: Rig::new(), syslog: free_port(), began: now() }
    }

    /// Where a path of the Promtail file is.
    fn path(&self, path: &str) -> PathBuf {
        self.rig.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Starts the agent with a file of `files/`.
    fn run(&self, name: &str) -> Agent {
        let directory = Path::new("tests/promtail/files");
        let targets = self.rig.path().join("targets");
        fs::create_dir_all(&targets).unwrap();
        for entry in fs::read_dir(directory.join("targets")).unwrap() {
            let entry = entry.unwrap();
            let text = self.moved(&fs::read_to_string(entry.path()).unwrap());
            fs::write(targets.join(entry.file_name()), text).unwrap();
        }
        let text = fs::read_to_string(directory.join(format!("{name}.yaml"))).unwrap();
        let mut text = self.moved(&text).replace("0.0.0.0:1514", &self.syslog.to_string());
        if text.contains(DOCKER) {
            text = text.replace(DOCKER, &format!("unix://{}", docker().socket().display()));
        }
        self.rig.start_text(|http| {
            let (elsewhere, mut in_server) = (["    batchwait:", "    proxy_url:"], false);
            let lines = text.lines().filter(|line| {
                in_server = line.starts_with("server:") || (in_server && line.starts_with(' '));
                !in_server && !elsewhere.iter().any(|start| line.starts_with(start))
            });
            let body: Vec<String> = lines.map(|line| self.endpoint(line)).collect();
            let server = format!("server: {{ http_listen_address: 127.0.0.1, http_listen_port: {} }}", http.port());
            format!("{server}\n{}\n", body.join("\n"))
        })
    }

    fn moved(&self, text: &str) -> String {
        let root = self.rig.path().display().to_string();
        ROOTS.iter().fold(text.to_owned(), |text, directory| {
            // Not within what was moved already, and not `/log/` of a replacement.
            text.replace(&format!(" {directory}"), &format!(" {root}{directory}"))
                .replace(&format!("'{directory}"), &format!("'{root}{directory}"))
                .replace(&format!("\"{directory}"), &format!("\"{root}{directory}"))
        })
    }

    fn endpoint(&self, line: &str) -> String {
        match line.split_once("url: ") {
            Some((before, _)) => {
                let indent = before.len();
                format!("{before}url: {}\n{:indent$}batchwait: 50ms", self.loki.url(), "")
            }
            None => line.replace("${LOKI_TOKEN}", "token"),
        }
    }

    /// These lines were sent under these times, all others under that of reading them.
    #[track_caller]
    fn times(&self, own: &[(&str, i64)]) {
        let entries = self.loki.entries();
        for (line, _) in own {
            assert!(entries.iter().any(|entry| entry.line == *line), "{line}");
        }
        for entry in entries {
            match own.iter().find(|(line, _)| *line == entry.line) {
                Some((line, at)) => assert_eq!(entry.at, *at, "{line}"),
                None => assert!((self.began..=now()).contains(&entry.at), "{} at {}", entry.line, entry.at),
            }
        }
    }

    /// The lines of each stream once there are `count` and silence; paths as the Promtail file has them.
    #[track_caller]
    fn streams(&self, count: usize) -> BTreeMap<String, Vec<String>> {
        wait_until("all lines", SOON, || self.loki.lines().len() >= count);
        settles(QUIET, SOON, || self.loki.totals().entries);
        self.loki.assert_no_defects();
        let mut streams: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in self.loki.entries() {
            let stream = entry.stream.replace(&self.rig.path().display().to_string(), "");
            let stream = stream.replace(&format!("host=\"{}\"", host()), "host=\"HOST\"");
            streams.entry(stream).or_default().push(entry.line);
        }
        streams
    }
}

/// What the agent takes for the host's name.
fn host() -> String {
    std::env::var("HOSTNAME").unwrap_or_else(|_| rustix::system::uname().nodename().to_str().unwrap().to_owned())
}

/// Nanoseconds since 1970.
fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap()
}

/// A second of an hour ago, and its text in this form.
fn at(minutes: i64, form: &str, zone: &str) -> (i64, String) {
    let second = Timestamp::now().as_second() - 3000 + 60 * minutes;
    let time = Timestamp::from_second(second).unwrap().to_zoned(TimeZone::get(zone).unwrap());
    (second * 1_000_000_000, time.strftime(form).to_string())
}

fn expected(streams: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
    streams.iter().map(|(stream, texts)| ((*stream).to_owned(), lines(texts))).collect()
}

#[test]
fn every_file_has_a_test() {
    for (name, _) in crate::forms::files() {
        assert!(include_str!("streams.rs").contains(&format!("case.run(\"{name}\")")), "{name}");
    }
}

#[test]
fn first_steps() {
    let case = Case::new();
    case.write("/var/log/kern.log", "one\n");
    case.write("/var/log/auth.log", "two\n");
    case.write("/var/log/other.txt", "three\n");
    let _agent = case.run("first_steps");
    assert_eq!(
        case.streams(2),
        expected(&[
            (r#"{filename="/var/log/auth.log", job="varlogs"}"#, &["two"]),
            (r#"{filename="/var/log/kern.log", job="varlogs"}"#, &["one"]),
        ])
    );
    case.times(&[]);
}

#[test]
fn relabelled() {
    let case = Case::new();
    case.write("/srv/billing/log/a.log", "bill\n");
    case.write("/srv/reports/log/a.log", "report\n");
    case.write("/srv/elsewhere/log/a.log", "else\n");
    let _agent = case.run("relabelled");
    let stream = r#"{app="billing", filename="/srv/billing/log/a.log", job="billing-prod", stage="PROD"}"#;
    assert_eq!(case.streams(1), expected(&[(stream, &["bill"])]));
    case.times(&[]);
}

#[test]
fn discovered() {
    let case = Case::new();
    case.write("/srv/cart/a.log", "cart\n");
    case.write("/srv/till/a.log", "till\n");
    case.write("/var/log/backup.log", "backup\n");
    let _agent = case.run("discovered");
    assert_eq!(
        case.streams(3),
        expected(&[
            (r#"{filename="/srv/cart/a.log", job="cart", team="shop"}"#, &["cart"]),
            (r#"{filename="/srv/till/a.log", job="till", team="shop"}"#, &["till"]),
            (r#"{filename="/var/log/backup.log", job="backup", team="infra"}"#, &["backup"]),
        ])
    );
    case.times(&[]);
}

#[test]
fn nginx() {
    let case = Case::new();
    let (first, first_text) = at(0, "%d/%b/%Y:%H:%M:%S %z", "UTC");
    let (second, second_text) = at(1, "%d/%b/%Y:%H:%M:%S %z", "America/New_York");
    let (third, third_text) = at(2, "%Y/%m/%d %H:%M:%S", "Europe/Vienna");
    let get = format!(r#"10.0.0.1 - - [{first_text}] "GET /a HTTP/1.1" 200 12 "-" "curl""#);
    let health = format!(r#"10.0.0.1 - - [{first_text}] "GET /healthz HTTP/1.1" 200 12 "-" "curl""#);
    let post = format!(r#"10.0.0.2 - me [{second_text}] "POST /b HTTP/1.1" 503 0 "-" "curl""#);
    let error = format!("{third_text} [error] 12#12: *1 connect() failed");
    case.write("/var/log/nginx/shop-access.log", format!("{get}\n{health}\n{post}\nno such format\n"));
    case.write("/var/log/nginx/error.log", format!("{error}\n"));
    case.write("/var/log/nginx/debug-error.log", "left out\n");
    let _agent = case.run("nginx");
    let access = |rest: &str| {
        format!(r#"{{filename="/var/log/nginx/shop-access.log", host="HOST", job="nginx", kind="access", {rest}}}"#)
    };
    let errors = r#"{filename="/var/log/nginx/error.log", host="HOST", job="nginx", kind="error", level="error", site="office"}"#;
    assert_eq!(
        case.streams(4),
        expected(&[
            (&access(r#"method="GET", site="office", status="200""#), &[&get]),
            (&access(r#"method="POST", site="office", status="503""#), &[&post]),
            (&access(r#"site="office""#), &["no such format"]),
            (errors, &[&error]),
        ])
    );
    // A line without a time stays behind the one before it.
    case.times(&[(&get, first), (&post, second), ("no such format", second + 1), (&error, third)]);
}

#[test]
fn docker_files() {
    let case = Case::new();
    let docker = docker();
    docker.run("live", &["--label=logging=promtail"], "echo one; echo two >&2");
    docker.run("unseen", &[], "echo three");
    docker.wait("live");
    docker.wait("unseen");
    let (time, text) = at(0, "%Y-%m-%dT%H:%M:%S", "UTC");
    let line =
        |log: &str, stream: &str| format!("{{\"log\":\"{log}\\n\",\"stream\":\"{stream}\",\"time\":\"{text}.5Z\"}}\n");
    let lines = line("level=warn msg=\\\"low disk\\\"", "stdout") + &line("plain", "stderr");
    case.write("/var/lib/docker/containers/abc/abc-json.log", lines);
    let _agent = case.run("docker_files");
    let file = r#"filename="/var/lib/docker/containers/abc/abc-json.log", job="containers""#;
    let warning = r#"level=warn msg="low disk""#;
    let mut streams = case.streams(4);
    // stdout and stderr are two pipes to Docker.
    streams.values_mut().for_each(|lines| lines.sort());
    assert_eq!(
        streams,
        expected(&[
            (r#"{container="live"}"#, &["one", "two"]),
            (&format!(r#"{{{file}, level="warn", stream="stdout"}}"#), &[warning]),
            (&format!(r#"{{{file}, stream="stderr"}}"#), &["plain"]),
        ])
    );
    // What a container wrote has Docker's times.
    let own = |line: &str| {
        let log =
            docker.do_it(&["logs", "--timestamps", "live"]) + "\n" + &docker.errors(&["logs", "--timestamps", "live"]);
        let stamp = log.lines().find_map(|told| told.strip_suffix(line)).expect(line).trim().to_owned();
        i64::try_from(stamp.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap()
    };
    let half = time + 500_000_000;
    case.times(&[("one", own("one")), ("two", own("two")), ("plain", half), (warning, half)]);
    docker.remove(&["live", "unseen"]);
}

#[test]
fn journal_and_files() {
    let case = Case::new();
    let lines = ["host sshd[12]: Accepted publickey for me", "host sshd[13]: Failed password", "host sudo: me"];
    case.write("/var/log/auth.log", lines.join("\n") + "\n");
    let journald = Journald::start(&case.path("/journald"), true, "");
    symlink(journald.directory(), case.path("/var/log/journal")).unwrap();
    let messages = ["of a service", "of another one"];
    journald.log(&["MESSAGE=of a service", "SYSLOG_IDENTIFIER=till", "PRIORITY=4", "OF=us"]);
    journald.log(&["MESSAGE=of another one", "OF=us"]);
    let _agent = case.run("journal_and_files");
    // journald has something to say, too.
    let is_ours = |line: &str| lines.contains(&line) || messages.contains(&line);
    wait_until("all lines", SOON, || case.loki.lines().iter().filter(|line| is_ours(line)).count() >= 5);
    let mut streams = case.streams(5);
    streams.values_mut().for_each(|lines| lines.retain(|line| is_ours(line)));
    streams.retain(|_, lines| !lines.is_empty());
    // Where the test runs as a part of a unit, this is that of the messages.
    let own = |(stream, lines): (String, Vec<String>)| {
        let (start, unit) = stream.split_once(", unit=\"").unwrap_or((&stream, ""));
        let end = unit.split_once('"').map_or("", |(_, end)| end);
        (format!("{start}{end}"), lines)
    };
    let streams: BTreeMap<String, Vec<String>> = streams.into_iter().map(own).collect();
    let file = r#"filename="/var/log/auth.log", job="auth""#;
    assert_eq!(
        streams,
        expected(&[
            (&format!(r#"{{{file}, outcome="Accepted"}}"#), &lines[..1]),
            (&format!(r#"{{{file}, outcome="Failed"}}"#), &lines[1..2]),
            (&format!("{{{file}}}"), &lines[2..]),
            (r#"{app="till", job="systemd-journal", level="warning"}"#, &messages[..1]),
            (r#"{job="systemd-journal"}"#, &messages[1..]),
        ])
    );
    // An entry has the time at which journald got it, in microseconds.
    let told = Command::new("journalctl").arg("-D").arg(journald.directory()).args(["-o", "export", "OF=us"]).output();
    let told = String::from_utf8(told.unwrap().stdout).unwrap();
    let times = told.lines().filter_map(|line| line.strip_prefix("__REALTIME_TIMESTAMP="));
    let times: Vec<i64> = times.map(|time| time.parse::<i64>().unwrap() * 1000).collect();
    let found: Vec<i64> =
        messages.iter().map(|line| case.loki.entries().iter().find(|entry| entry.line == *line).unwrap().at).collect();
    assert_eq!(found, times);
}

#[test]
fn syslog_relay() {
    let case = Case::new();
    let (time, text) = at(0, "%Y-%m-%dT%H:%M:%S+00:00", "UTC");
    let lines =
        [format!("{text} router kernel: up"), format!("{text} nas cron[12]: done"), "soon nas cron: now".to_owned()];
    case.write("/var/log/remote/a/b/x.log", lines.join("\n") + "\n");
    let _agent = case.run("syslog_relay");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"<30>Aug  1 10:00:00 switch link: port 7 is up", case.syslog).unwrap();
    assert_eq!(
        case.streams(4),
        expected(&[
            (r#"{app="kernel", job="rsyslog", sender="router"}"#, &[&lines[0]]),
            (r#"{app="cron", job="rsyslog", sender="nas"}"#, &[&lines[1], &lines[2]]),
            (r#"{host="switch", job="syslog"}"#, &["port 7 is up"]),
        ])
    );
    case.times(&[(&lines[0], time), (&lines[1], time)]);
}

#[test]
fn java() {
    let case = Case::new();
    let (time, text) = at(0, "%Y-%m-%d %H:%M:%S", "UTC");
    let trace = format!(
        "{text},250 ERROR [main] org.shop.Till: broken\n\tat org.shop.Till.open(Till.java:12)\n\tat org.shop.Main.main(Main.java:3)"
    );
    let info = format!("{text},500  INFO [main] org.shop.Till: closed");
    case.write("/opt/shop/logs/web/a.log", format!("{trace}\n{info}\n"));
    case.write("/opt/shop/logs/other/a.log", "left out\n");
    let agent = case.run("java");
    let file = r#"app="shop", env="prod", filename="/opt/shop/logs/web/a.log""#;
    assert_eq!(
        case.streams(2),
        expected(&[
            (&format!(r#"{{{file}, level="error"}}"#), &[&trace]),
            (&format!(r#"{{{file}, level="info"}}"#), &[&info]),
        ])
    );
    case.times(&[(&trace, time + 250_000_000), (&info, time + 500_000_000)]);
    assert_eq!(agent.metric("promtail_custom_errors_total"), Some(1.0));
}

#[test]
fn kubernetes_cri() {
    let case = Case::new();
    let (time, text) = at(0, "%Y-%m-%dT%H:%M:%S", "UTC");
    let lines = format!("{text}.1Z stdout P one \n{text}.2Z stderr F other\n{text}.3Z stdout F line\n");
    case.write("/var/log/pods/shop_till-0_0af1/main/0.log", lines);
    let _agent = case.run("kubernetes_cri");
    let pod = r#"cluster="blue", container="main", namespace="shop", pod="till-0""#;
    assert_eq!(
        case.streams(2),
        expected(&[
            (&format!(r#"{{{pod}, stream="stderr"}}"#), &["other"]),
            (&format!(r#"{{{pod}, stream="stdout"}}"#), &["one line"]),
        ])
    );
    case.times(&[("other", time + 200_000_000), ("one line", time + 300_000_000)]);
}

#[test]
fn two_lokis() {
    let case = Case::new();
    case.write("/var/log/messages", "one\ntwo\n");
    let _agent = case.run("two_lokis");
    assert_eq!(
        case.streams(4),
        expected(&[
            (r#"{filename="/var/log/messages", job="messages", site="home"}"#, &["one", "two"]),
            (r#"{filename="/var/log/messages", job="messages", origin="home", site="remote"}"#, &["one", "two"]),
        ])
    );
    case.times(&[]);
}

#[test]
fn json_app() {
    let case = Case::new();
    let (time, text) = at(0, "%Y-%m-%dT%H:%M:%S", "UTC");
    let line = |level: &str, message: &str| {
        format!(
            r#"{{"log":{{"level":"{level}"}},"@timestamp":"{text}.125Z","labels":{{"customer":"acme"}},"message":"{message}","trace":{{"id":"t-1"}}}}"#
        )
    };
    let lines = [line("warn", "token=abc expired"), "no JSON".to_owned(), line("info", "señor")];
    let units = "\u{feff}"
        .encode_utf16()
        .chain(lines.iter().flat_map(|line| line.encode_utf16().chain([10])).collect::<Vec<_>>());
    case.write("/srv/app/current.log", units.flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    let _agent = case.run("json_app");
    let file = |level: &str| format!(r#"{{filename="/srv/app/current.log", job="app", level="{level}", region="eu"}}"#);
    assert_eq!(case.streams(2), expected(&[(&file("warn"), &["token=*** expired"]), (&file("info"), &["señor"])]));
    case.times(&[("señor", time + 125_000_000), ("token=*** expired", time + 125_000_000)]);
    for entry in case.loki.entries() {
        assert_eq!(entry.metadata, [("trace".to_owned(), "t-1".to_owned())]);
        assert_eq!(entry.tenant, "acme");
    }
}

#[test]
fn everything_else() {
    let case = Case::new();
    case.write("/var/log/cron.log", "\x1b[31mnoise\x1b[0m\n\x1b[32m(root) CMD (backup)\x1b[0m\n");
    let agent = case.run("everything_else");
    assert_eq!(
        case.streams(1),
        expected(&[(
            r#"{filename="/var/log/cron.log", host="web1"}"#,
            &[r#"{"job":"cron","_entry":"(root) CMD (backup)"}"#]
        )])
    );
    case.times(&[]);
    let log = agent.stderr();
    assert!(log.contains("compressed files are not read by this version"), "{log}");
}

/// What the stages drop does not use the rate up.
#[test]
fn a_rate_lets_through_what_the_stages_leave() {
    let case = Case::new();
    let lines = (0..1000).map(|n| if n % 10 == 0 { format!("keep {n}\n") } else { format!("debug {n}\n") });
    case.write("/var/log/app.log", lines.collect::<String>());
    let path = case.path("/var/log/app.log");
    let agent = case.rig.start_text(|http| {
        format!(
            "server: {{ http_listen_address: 127.0.0.1, http_listen_port: {} }}
positions: {{ filename: {} }}
clients: [{{ url: '{}', batchwait: 50ms }}]
limits_config: {{ readline_rate_enabled: true, readline_rate: 1, readline_burst: 100 }}
scrape_configs:
  - job_name: a
    static_configs: [{{ labels: {{ __path__: {} }} }}]
    pipeline_stages: [{{ drop: {{ expression: ^debug }} }}]
",
            http.port(),
            case.path("/positions.yaml").display(),
            case.loki.url(),
            path.display(),
        )
    });
    wait_until("all lines", SOON, || case.loki.lines().len() >= 100);
    settles(QUIET, SOON, || case.loki.totals().entries);
    assert_eq!(case.loki.lines().len(), 100);
    // What is above it goes.
    append_to(&path, "keep a\n".repeat(500));
    wait_until("dropped lines", SOON, || agent.metrics().contains("reason=\"limit_stage\""));
    settles(QUIET, SOON, || case.loki.totals().entries);
    assert!(case.loki.lines().len() < 400, "{}", case.loki.lines().len());
}
