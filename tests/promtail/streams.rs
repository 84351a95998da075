//! What the agent sends when it is given these files: exact labels and lines.
//!
//! Each file runs as it is, but for its paths (which get a directory of the test before them), its endpoints and its ports.

use crate::support::agent::{Agent, Rig};
use crate::support::loki::{Loki, Options};
use crate::support::wait::{settles, wait_until};
use crate::support::writer::append_to;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_millis(800);

/// Directories at the root that the files speak of.
const ROOTS: [&str; 4] = ["/var/", "/srv/", "/opt/", "/run/"];

struct Case {
    loki: Loki,
    rig: Rig,
}

impl Case {
    fn new() -> Self {
        Case { loki: Loki::start_with(Options { keep: true, ..Options::default() }), rig: Rig::new() }
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
        let text = self.moved(&text);
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

    /// The time under which a line was sent, nanoseconds since 1970.
    #[track_caller]
    fn time_of(&self, line: &str) -> i64 {
        self.loki.entries().iter().find(|entry| entry.line == line).expect(line).at
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
    assert_eq!((case.time_of(&get), case.time_of(&post), case.time_of(&error)), (first, second, third));
}

#[test]
fn docker_files() {
    let case = Case::new();
    let (time, text) = at(0, "%Y-%m-%dT%H:%M:%S", "UTC");
    let line =
        |log: &str, stream: &str| format!("{{\"log\":\"{log}\\n\",\"stream\":\"{stream}\",\"time\":\"{text}.5Z\"}}\n");
    let lines = line("level=warn msg=\\\"low disk\\\"", "stdout") + &line("plain", "stderr");
    case.write("/var/lib/docker/containers/abc/abc-json.log", lines);
    let _agent = case.run("docker_files");
    let file = r#"filename="/var/lib/docker/containers/abc/abc-json.log", job="containers""#;
    assert_eq!(
        case.streams(2),
        expected(&[
            (&format!(r#"{{{file}, level="warn", stream="stdout"}}"#), &[r#"level=warn msg="low disk""#]),
            (&format!(r#"{{{file}, stream="stderr"}}"#), &["plain"]),
        ])
    );
    assert_eq!(case.time_of("plain"), time + 500_000_000);
}

#[test]
fn journal_and_files() {
    let case = Case::new();
    let lines = ["host sshd[12]: Accepted publickey for me", "host sshd[13]: Failed password", "host sudo: me"];
    case.write("/var/log/auth.log", lines.join("\n") + "\n");
    let agent = case.run("journal_and_files");
    let file = r#"filename="/var/log/auth.log", job="auth""#;
    assert_eq!(
        case.streams(3),
        expected(&[
            (&format!(r#"{{{file}, outcome="Accepted"}}"#), &lines[..1]),
            (&format!(r#"{{{file}, outcome="Failed"}}"#), &lines[1..2]),
            (&format!("{{{file}}}"), &lines[2..]),
        ])
    );
    let log = agent.stderr();
    assert!(log.contains("there is no journal in") && log.contains("it is waited for"), "{log}");
}

#[test]
fn syslog_relay() {
    let case = Case::new();
    let (time, text) = at(0, "%Y-%m-%dT%H:%M:%S+00:00", "UTC");
    let lines =
        [format!("{text} router kernel: up"), format!("{text} nas cron[12]: done"), "soon nas cron: now".to_owned()];
    case.write("/var/log/remote/a/b/x.log", lines.join("\n") + "\n");
    let _agent = case.run("syslog_relay");
    assert_eq!(
        case.streams(3),
        expected(&[
            (r#"{app="kernel", job="rsyslog", sender="router"}"#, &[&lines[0]]),
            (r#"{app="cron", job="rsyslog", sender="nas"}"#, &[&lines[1], &lines[2]]),
        ])
    );
    assert_eq!((case.time_of(&lines[0]), case.time_of(&lines[1])), (time, time));
    // It has no time of its own: that of reading it.
    assert!(case.time_of(&lines[2]) > time + 1_000_000_000);
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
    assert_eq!((case.time_of(&trace), case.time_of(&info)), (time + 250_000_000, time + 500_000_000));
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
    assert_eq!(case.time_of("other"), time + 200_000_000);
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
}

#[test]
fn json_app() {
    let case = Case::new();
    let (time, text) = at(0, "%Y-%m-%dT%H:%M:%S", "UTC");
    let traced = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&traced);
    case.loki.observe(move |stored| {
        let pairs = stored.metadata.iter().map(|pair| (pair.name.clone(), pair.value.clone()));
        seen.lock().unwrap().push((stored.line.to_owned(), pairs.collect::<Vec<_>>()));
    });
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
    assert_eq!(case.time_of("señor"), time + 125_000_000);
    let trace = || vec![("trace".to_owned(), "t-1".to_owned())];
    let mut traced = traced.lock().unwrap().clone();
    traced.sort();
    assert_eq!(traced, [("señor".to_owned(), trace()), ("token=*** expired".to_owned(), trace())]);
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
