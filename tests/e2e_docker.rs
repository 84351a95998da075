//! The docker source with the real binary, a real Docker Engine and the strict receiver.

#[path = "support/docker.rs"]
mod docker;
#[path = "support/journald.rs"]
mod journald;
mod support;

use docker::{Docker, docker, docker_alone};
use journald::Journald;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::agent::{Config, FileSource, Rig};
use support::ledger::{Book, Verdict, line};
use support::loki::{Loki, Options};
use support::wait::{holds_within, wait_until};

const DRAIN: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(10);

/// Of a daemon's containers those whose names begin like this.
fn source(docker: &Docker, prefix: &str, more: &str) -> FileSource {
    places(&docker.socket(), &docker.containers(), prefix, more)
}

fn places(socket: &Path, containers: &Path, prefix: &str, more: &str) -> FileSource {
    let (socket, containers) = (socket.display(), containers.display());
    let filters = format!("[{{ name: name, values: [\"^{prefix}\"] }}]");
    let value = format!("{{ host: \"unix://{socket}\", containers: {containers}, filters: {filters}{more} }}");
    FileSource::docker("docker", &value)
}

fn kept() -> Loki {
    Loki::start_with(Options { keep: true, ..Options::default() })
}

/// Streams and lines, sorted by line.
fn by_line(loki: &Loki) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = loki.entries().into_iter().map(|kept| (kept.line, kept.stream)).collect();
    all.sort();
    all
}

#[track_caller]
fn wait_entries(loki: &Loki, want: &[(&str, &str)]) {
    let own = |(text, labels): &(&str, &str)| ((*text).to_owned(), (*labels).to_owned());
    let want: Vec<(String, String)> = want.iter().map(own).collect();
    let _ = holds_within(DRAIN, || by_line(loki).len() >= want.len());
    assert_eq!(by_line(loki), want);
}

fn numbered(run: &str, numbers: std::ops::Range<u64>) -> String {
    let mut text = String::new();
    for n in numbers {
        line(run, n, 60 + (n as usize % 100), &mut text);
        text.push('\n');
    }
    text
}

/// Docker rotates while the agent is stopped, started and killed.
#[test]
fn numbered_lines_come_once_over_rotation_restarts_and_kills() {
    const LINES: u64 = 100_000;
    let docker = docker();
    let loki = Loki::start();
    let book = Book::keep(&loki, "docker");
    let rig = Rig::new();
    let config = Config::new(&loki.url()).source(source(&docker, "lines$", ""));
    let pipe = docker.pipe("lines");
    docker.run("lines", &[&pipe.volume(), "--log-opt=max-size=1m", "--log-opt=max-file=8"], "cat /in/pipe");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stdin = pipe.open();
            for n in (0..LINES).step_by(200) {
                // What Docker rotates away unread is gone: it must not be too far ahead.
                let seen = || book.seen() + 10_000 > n;
                assert!(holds_within(DRAIN, seen).is_some(), "nothing arrives: {} of {n}", book.seen());
                stdin.write_all(numbered("docker", n..n + 200).as_bytes()).unwrap();
            }
        });
        let mut agent = rig.start(&config);
        for part in 1..=6 {
            wait_until("a part of the lines", DRAIN, || book.seen() >= LINES * part / 8);
            if part % 2 == 0 {
                agent.kill();
            } else {
                assert_eq!(agent.stop(STOP).code, Some(0));
            }
            agent = rig.start(&config);
        }
        book.wait_all(LINES, DRAIN);
        assert_eq!(agent.metric("lugger_file_lost_bytes_total"), Some(0.0));
        assert_eq!(agent.stop(STOP).code, Some(0));
    });
    let rotated = std::fs::read_dir(docker.containers()).unwrap().flatten().any(|directory| {
        let names = std::fs::read_dir(directory.path()).unwrap().flatten();
        names.filter(|name| name.file_name().to_string_lossy().contains("-json.log.")).count() == 7
    });
    assert!(rotated, "Docker did rotate");
    let verdict = book.lock().verdict(LINES);
    println!(
        "{} lines: {} missing, {} raw duplicates, {} visible; {} requests",
        verdict.written,
        verdict.missing,
        verdict.duplicated_raw,
        verdict.duplicated_visible,
        loki.totals().requests
    );
    verdict.assert_perfect(LINES);
    assert_eq!(book.lock().streams(), ["{container=\"lines\", stream=\"stdout\"}"]);
    loki.assert_no_defects();
    docker.remove(&["lines"]);
}

/// Docker rotates, and compresses, before the agent has ever seen the container; while it is down; and while it does nothing.
#[test]
fn what_was_rotated_and_compressed_before_is_read_too() {
    const LINES: u64 = 20_000;
    let docker = docker();
    let loki = Loki::start();
    let book = Book::keep(&loki, "packed");
    let rig = Rig::new();
    let config = Config::new(&loki.url()).source(source(&docker, "packed", ""));
    let pipe = docker.pipe("packed");
    let options = ["--log-opt=max-size=1m", "--log-opt=max-file=30", "--log-opt=compress=true"];
    docker.run("packed", &[&[&*pipe.volume()][..], &options].concat(), "cat /in/pipe");
    let mut stdin = pipe.open();
    let mut written = 0;
    let mut write = |until: u64, most_packed: usize| {
        stdin.write_all(numbered("packed", written..until).as_bytes()).unwrap();
        written = until;
        let packed = || {
            let directories = std::fs::read_dir(docker.containers()).unwrap().flatten();
            let names =
                directories.filter_map(|directory| std::fs::read_dir(directory.path()).ok()).flatten().flatten();
            names.filter(|name| name.file_name().to_string_lossy().ends_with(".gz")).count()
        };
        wait_until("Docker to compress", DRAIN, || packed() >= most_packed);
    };
    write(LINES, 2);
    let mut agent = rig.start(&config);
    wait_until("the first lines", DRAIN, || book.seen() > 0);
    agent.kill();
    let mut agent = rig.start(&config);
    book.wait_all(LINES, DRAIN);
    assert_eq!(agent.stop(STOP).code, Some(0));
    write(2 * LINES, 5);
    let agent = rig.start(&config);
    book.wait_all(2 * LINES, DRAIN);
    agent.freeze();
    write(3 * LINES, 9);
    agent.thaw();
    book.wait_all(3 * LINES, DRAIN);
    // What was compressed a moment ago may come again, as it was; and what is left of the file that was being read may come behind it. By time
    // everything is in order.
    let verdict = book.lock().verdict(3 * LINES);
    println!("{} lines arrived again, as they were", verdict.duplicated_raw);
    Verdict { reordered_by_arrival: 0, ..verdict }.assert_perfect(3 * LINES);
    assert_eq!(agent.metric("lugger_file_lost_bytes_total"), Some(0.0));
    loki.assert_no_defects();
    docker.remove(&["packed"]);
}

#[test]
fn all_lines_of_containers_that_are_gone_at_once_arrive() {
    const CONTAINERS: u64 = 12;
    const LINES: u64 = 1_000;
    let docker = docker();
    let loki = Loki::start();
    let book = Book::keep(&loki, "short");
    let rig = Rig::new();
    let agent = rig.start(&Config::new(&loki.url()).source(source(&docker, "short-", "")));
    let lines = rig.path().join("lines");
    std::fs::create_dir(&lines).unwrap();
    for n in 0..CONTAINERS {
        std::fs::write(lines.join(n.to_string()), numbered("short", n * LINES..(n + 1) * LINES)).unwrap();
        let volume = format!("--volume={}:/lines:ro", lines.display());
        docker.run(&format!("short-{n}"), &["--rm", &volume], &format!("exec cat /lines/{n}"));
    }
    book.wait_all(CONTAINERS * LINES, DRAIN);
    book.lock().verdict(CONTAINERS * LINES).assert_perfect(0);
    let mut want: Vec<String> =
        (0..CONTAINERS).map(|n| format!("{{container=\"short-{n}\", stream=\"stdout\"}}")).collect();
    want.sort();
    let mut streams = book.lock().streams();
    streams.sort();
    assert_eq!(streams, want);
    // They are let go: nobody keeps their space.
    wait_until("no file is held", DRAIN, || agent.open_files(&docker.containers()) == 0);
    loki.assert_no_defects();
}

/// With live-restore containers outlive the daemon; what they write meanwhile waits in a pipe.
#[test]
fn lines_come_once_while_dockerd_is_killed_and_restarted() {
    over_restarts("restart", "json-file");
}

/// The same by the API, whose streams break off.
#[test]
fn lines_of_the_driver_local_come_once_while_dockerd_is_killed_and_restarted() {
    over_restarts("again", "local");
}

fn over_restarts(name: &str, driver: &str) {
    let docker = docker_alone();
    docker.stop_daemon("TERM");
    docker.run_daemon(&["--live-restore"]);
    let loki = Loki::start();
    let book = Book::keep(&loki, name);
    let rig = Rig::new();
    let pipe = docker.pipe(name);
    docker.run(name, &[&pipe.volume(), &format!("--log-driver={driver}")], "cat /in/pipe");
    let mut stdin = pipe.open();
    let agent = rig.start(&Config::new(&loki.url()).source(source(&docker, name, "")));
    wait_until("Docker's API", DRAIN, || agent.metric("lugger_docker_up") == Some(1.0));
    let mut written = 0;
    for signal in ["TERM", "KILL"] {
        stdin.write_all(numbered(name, written..written + 2_000).as_bytes()).unwrap();
        written += 2_000;
        book.wait_all(written, DRAIN);
        docker.stop_daemon(signal);
        wait_until("the agent to see it", DRAIN, || agent.metric("lugger_docker_up") == Some(0.0));
        let ready = agent.ready().unwrap();
        assert_eq!(ready.status, 200, "logs are read all the same: {}", ready.body);
        assert!(ready.body.contains("source docker: Docker's"), "{}", ready.body);
        // No more than a pipe takes.
        stdin.write_all(numbered(name, written..written + 200).as_bytes()).unwrap();
        written += 200;
        docker.run_daemon(&["--live-restore"]);
        wait_until("the agent to see it", DRAIN, || agent.metric("lugger_docker_up") == Some(1.0));
        stdin.write_all(numbered(name, written..written + 500).as_bytes()).unwrap();
        written += 500;
        book.wait_all(written, DRAIN);
    }
    drop(stdin);
    assert!(agent.metric("lugger_docker_connections_lost_total") >= Some(2.0));
    book.lock().verdict(written).assert_perfect(0);
    loki.assert_no_defects();
    docker.remove(&[name]);
    docker.stop_daemon("TERM");
    docker.run_daemon(&[]);
}

/// Without live-restore the daemon takes its containers down; the log goes on when they are started again.
#[test]
fn lines_come_once_while_dockerd_takes_its_containers_with_it() {
    over_a_fall("down", "json-file");
}

#[test]
fn lines_of_the_driver_local_come_once_while_dockerd_takes_its_containers_with_it() {
    over_a_fall("fallen", "local");
}

fn over_a_fall(name: &str, driver: &str) {
    let docker = docker_alone();
    let loki = Loki::start();
    let book = Book::keep(&loki, name);
    let rig = Rig::new();
    let agent = rig.start(&Config::new(&loki.url()).source(source(&docker, name, "")));
    let lines = rig.path().join("lines");
    std::fs::write(&lines, numbered(name, 0..3_000)).unwrap();
    let volume = format!("--volume={}:/lines", lines.display());
    let options = [&*volume, "--stop-signal=KILL", &*format!("--log-driver={driver}")];
    docker.run(name, &options, "cat /lines; exec sleep 1000");
    book.wait_all(3_000, DRAIN);
    docker.stop_daemon("TERM");
    // In place: the container sees this very file.
    std::fs::write(&lines, numbered(name, 3_000..5_000)).unwrap();
    docker.run_daemon(&[]);
    docker.do_it(&["start", name]);
    book.wait_all(5_000, DRAIN);
    book.lock().verdict(5_000).assert_perfect(0);
    assert_eq!(agent.metric("lugger_file_truncated_total"), Some(0.0));
    docker.remove(&[name]);
}

#[test]
fn streams_terminals_and_long_lines() {
    let docker = docker();
    let loki = kept();
    let rig = Rig::new();
    // They have ended when the agent comes.
    let script = "echo out; echo err >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; printf unended";
    docker.run("forms-pipes", &[], script);
    docker.run("forms-terminal", &["--tty"], "echo one; echo two >&2");
    docker.wait("forms-pipes");
    docker.wait("forms-terminal");
    let agent = rig.start(&Config::new(&loki.url()).source(source(&docker, "forms", "").label("job", "docker")));
    let long = "x".repeat(40_000);
    let labels = |container: &str, stream: &str| {
        format!("{{container=\"forms-{container}\", job=\"docker\", stream=\"{stream}\"}}")
    };
    let (out, err, terminal) = (labels("pipes", "stdout"), labels("pipes", "stderr"), labels("terminal", "stdout"));
    let want = [("err", &err), ("one", &terminal), ("out", &out), ("two", &terminal), (&long, &out)];
    // What has no end may still get one: Docker itself writes the rest as if it were divided. It is sent when nothing comes for a while.
    wait_entries(&loki, &want.map(|(text, labels)| (text, labels.as_str())));
    wait_until("what never ended", DRAIN, || loki.lines().iter().any(|line| line == "unended"));
    loki.assert_no_defects();
    drop(agent);
    docker.remove(&["forms-pipes", "forms-terminal"]);
}

/// Docker's driver `local` writes files of its own form: the API tells them.
#[test]
fn what_the_api_tells_comes_once_over_restarts_and_kills() {
    const LINES: u64 = 30_000;
    let docker = docker();
    let loki = Loki::start();
    let book = Book::keep(&loki, "local");
    let rig = Rig::new();
    let config = Config::new(&loki.url()).source(source(&docker, "local$", ""));
    let pipe = docker.pipe("local");
    docker.run("local", &[&pipe.volume(), "--log-driver=local"], "cat /in/pipe; cat /in/pipe");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stdin = pipe.open();
            for n in (0..LINES).step_by(200) {
                // What Docker rotates away unread is gone: it must not be too far ahead.
                let seen = || book.seen() + 10_000 > n;
                assert!(holds_within(DRAIN, seen).is_some(), "nothing arrives: {} of {n}", book.seen());
                stdin.write_all(numbered("local", n..n + 200).as_bytes()).unwrap();
            }
        });
        let mut agent = rig.start(&config);
        for part in 1..=6 {
            wait_until("a part of the lines", DRAIN, || book.seen() >= LINES * part / 8);
            if part % 2 == 0 {
                agent.kill();
            } else {
                assert_eq!(agent.stop(STOP).code, Some(0));
            }
            agent = rig.start(&config);
        }
        book.wait_all(LINES, DRAIN);
        // The container ends while nobody listens, and is started again.
        assert_eq!(agent.stop(STOP).code, Some(0));
        pipe.open().write_all(numbered("local", LINES..LINES + 100).as_bytes()).unwrap();
        docker.wait("local");
        let agent = rig.start(&config);
        book.wait_all(LINES + 100, DRAIN);
        docker.do_it(&["start", "local"]);
        pipe.open().write_all(numbered("local", LINES + 100..LINES + 200).as_bytes()).unwrap();
        book.wait_all(LINES + 200, DRAIN);
        assert_eq!(agent.metric("lugger_docker_up"), Some(1.0));
        assert!(
            agent.metrics().contains("lugger_source_unparsed_total{source=\"docker:api\"} 0"),
            "nothing else is read"
        );
        wait_until("the places to be saved", DRAIN, || rig.state().join("docker/docker.json").exists());
    });
    let verdict = book.lock().verdict(LINES + 200);
    println!(
        "{} lines by the API: {} missing, {} raw duplicates, {} visible",
        verdict.written, verdict.missing, verdict.duplicated_raw, verdict.duplicated_visible
    );
    verdict.assert_perfect(LINES);
    assert_eq!(book.lock().streams(), ["{container=\"local\", stream=\"stdout\"}"]);
    loki.assert_no_defects();
    docker.remove(&["local"]);
}

/// Docker writes to a journald, and reads it back for whoever asks.
#[test]
fn lines_of_the_driver_journald_come_once() {
    const LINES: u64 = 1_000;
    let loki = Loki::start();
    let book = Book::keep(&loki, "journald");
    let rig = Rig::new();
    let journald = Journald::start(&rig.path().join("journald"), true, "");
    let docker = Docker::with_mounts_of(journald.pid());
    let config = Config::new(&loki.url()).source(source(&docker, "journald", ""));
    let pipe = docker.pipe("journald");
    docker.run("journald", &[&pipe.volume(), "--log-driver=journald"], "cat /in/pipe");
    let mut stdin = pipe.open();
    let mut agent = rig.start(&config);
    for half in [0..LINES / 2, LINES / 2..LINES] {
        stdin.write_all(numbered("journald", half.clone()).as_bytes()).unwrap();
        wait_until("a part of the lines", DRAIN, || book.seen() >= half.end - LINES / 4);
        agent.kill();
        agent = rig.start(&config);
        book.wait_all(half.end, DRAIN);
    }
    book.lock().verdict(LINES).assert_perfect(LINES);
    assert_eq!(book.lock().streams(), ["{container=\"journald\", stream=\"stdout\"}"]);
    loki.assert_no_defects();
    docker.remove(&["journald"]);
}

#[test]
fn what_cannot_be_read_from_disk_is_told_by_the_api() {
    let docker = docker();
    let loki = kept();
    let rig = Rig::new();
    let script = "echo out; echo err >&2; head -c 40000 /dev/zero | tr '\\0' x; echo";
    docker.run("told-pipes", &[], script);
    docker.run("told-terminal", &["--tty"], "echo one; echo two >&2");
    docker.wait("told-pipes");
    docker.wait("told-terminal");
    let elsewhere = rig.path().join("containers");
    let _agent = rig.start(&Config::new(&loki.url()).source(places(&docker.socket(), &elsewhere, "told", "")));
    let long = "x".repeat(40_000);
    let labels = |container: &str, stream: &str| format!("{{container=\"told-{container}\", stream=\"{stream}\"}}");
    let (out, err, terminal) = (labels("pipes", "stdout"), labels("pipes", "stderr"), labels("terminal", "stdout"));
    let want = [("err", &err), ("one", &terminal), ("out", &out), ("two", &terminal), (&long, &out)];
    wait_entries(&loki, &want.map(|(text, labels)| (text, labels.as_str())));
    docker.run("told-late", &[], "echo late; sleep 1000");
    let late = labels("late", "stdout");
    wait_until("the last one", DRAIN, || by_line(&loki).contains(&("late".to_owned(), late.clone())));
    loki.assert_no_defects();
    docker.remove(&["told-pipes", "told-terminal", "told-late"]);
}

#[test]
fn a_socket_and_a_directory_that_come_late_are_waited_for() {
    let docker = docker();
    let loki = kept();
    let rig = Rig::new();
    let late = rig.path().join("late");
    let (socket, containers) = (late.join("docker.sock"), late.join("containers"));
    docker.run("late", &[], "echo hello");
    let agent = rig.start(&Config::new(&loki.url()).source(places(&socket, &containers, "late", "")));
    let ready = || agent.ready().unwrap();
    wait_until("it is degraded", DRAIN, || ready().status == 503);
    assert!(ready().body.contains("source docker: Docker's socket"), "{}", ready().body);
    let status = agent.ask("GET", "/api/status", &[]).body;
    assert!(status.contains("\"kind\":\"docker\"") && status.contains("docker.sock is not there"), "{status}");
    assert_eq!(agent.metric("lugger_docker_up"), Some(0.0));
    std::fs::create_dir(&late).unwrap();
    std::os::unix::fs::symlink(docker.containers(), &containers).unwrap();
    std::os::unix::fs::symlink(docker.socket(), &socket).unwrap();
    wait_until("it is ready", DRAIN, || ready().status == 200);
    wait_entries(&loki, &[("hello", "{container=\"late\", stream=\"stdout\"}")]);
    assert_eq!(agent.metric("lugger_docker_up"), Some(1.0));
    assert_eq!(ready().body.trim(), "ready");
    docker.remove(&["late"]);
}

#[test]
fn without_a_socket_names_and_labels_come_from_the_directory() {
    let docker = docker();
    let loki = kept();
    let rig = Rig::new();
    let nowhere = rig.path().join("docker.sock");
    let compose =
        ["--label=com.docker.compose.project=shop", "--label=com.docker.compose.service=web", "--label=team.a=b"];
    docker.run("alone-1", &compose, "echo hello");
    let more = ", keep_labels: team.a";
    let agent = rig.start(&Config::new(&loki.url()).source(places(&nowhere, &docker.containers(), "alone", more)));
    let labels = |container: &str| {
        let container = format!("container=\"{container}\"");
        format!("{{compose_project=\"shop\", compose_service=\"web\", {container}, stream=\"stdout\", team_a=\"b\"}}")
    };
    wait_entries(&loki, &[("hello", &labels("alone-1"))]);
    docker.run("alone-2", &[&["--rm"][..], &compose].concat(), "echo soon gone");
    wait_entries(&loki, &[("hello", &labels("alone-1")), ("soon gone", &labels("alone-2"))]);
    let ready = agent.ready().unwrap();
    assert_eq!(ready.status, 200, "{}", ready.body);
    assert!(
        ready.body.contains("docker.sock is not there") && ready.body.contains("logs on disk are read"),
        "{}",
        ready.body
    );
    docker.remove(&["alone-1"]);
}

#[test]
fn rules_see_what_promtails_see() {
    let docker = docker();
    let loki = kept();
    let rig = Rig::new();
    let rules = "\n      - { source_labels: [__meta_docker_container_name], regex: '/(.*)', target_label: container }\
                 \n      - { source_labels: [__meta_docker_container_log_stream], target_label: logstream }\
                 \n      - { source_labels: [__meta_docker_network_name], target_label: network }\
                 \n      - { source_labels: [__meta_docker_network_scope], target_label: scope }\
                 \n      - { source_labels: [__meta_docker_container_network_mode], target_label: mode }\
                 \n      - { action: labelmap, regex: '__meta_docker_container_label_(shop_.+)' }\
                 \n      - { action: drop, source_labels: [container], regex: '.*-noise' }";
    let source = source(&docker, "rules", "").option("relabel_configs", rules);
    let agent = rig.start(&Config::new(&loki.url()).source(source.option("stages", "[{ static_labels: { a: b } }]")));
    wait_until("Docker's API", DRAIN, || agent.metric("lugger_docker_up") == Some(1.0));
    docker.run("rules-noise", &[], "echo noise");
    docker.run("rules-1", &["--label=shop.tier=front", "--label=other=x", "--rm"], "echo out; echo err >&2");
    let labels = |stream: &str| {
        format!(
            "{{a=\"b\", container=\"rules-1\", logstream=\"{stream}\", mode=\"none\", network=\"none\", scope=\"local\", shop_tier=\"front\"}}"
        )
    };
    wait_entries(&loki, &[("err", &labels("stderr")), ("out", &labels("stdout"))]);
    docker.remove(&["rules-noise"]);
}

/// Promtail's own file, and what it says that it has sent.
#[test]
fn a_promtail_file_goes_on_where_promtail_was() {
    let docker = docker();
    let loki = kept();
    let rig = Rig::new();
    let id = docker.run("promtail-1", &[], "echo before; sleep 3; echo after; echo err >&2");
    docker.wait("promtail-1");
    let log = std::fs::read_to_string(docker.containers().join(&id).join(format!("{id}-json.log"))).unwrap();
    let after = log.lines().find(|line| line.contains("after")).expect("Docker has logged it");
    let time = after.rsplit_once("\"time\":\"").unwrap().1.trim_end_matches(['"', '}']);
    let seconds = std::process::Command::new("date").args(["+%s", "--date", time]).output().unwrap();
    let seconds = String::from_utf8(seconds.stdout).unwrap();
    let positions = rig.path().join("positions.yaml");
    std::fs::write(&positions, format!("positions:\n  cursor-{id}: \"{}\"\n", seconds.trim())).unwrap();
    let (socket, port) = (docker.socket(), loki.url());
    let _agent = rig.start_text(|http| {
        format!(
            "server: {{ http_listen_address: {}, http_listen_port: {} }}
positions: {{ filename: {} }}
clients: [{{ url: '{port}' }}]
scrape_configs:
  - job_name: docker
    docker_sd_configs:
      - host: unix://{}
        refresh_interval: 5s
        filters: [{{ name: name, values: [promtail-1] }}]
    relabel_configs:
      - {{ source_labels: ['__meta_docker_container_name'], regex: '/(.*)', target_label: container }}
      - {{ source_labels: ['__meta_docker_container_log_stream'], target_label: stream }}
",
            http.ip(),
            http.port(),
            positions.display(),
            socket.display()
        )
    });
    let labels = |stream: &str| format!("{{container=\"promtail-1\", stream=\"{stream}\"}}");
    wait_entries(&loki, &[("after", &labels("stdout")), ("err", &labels("stderr"))]);
    docker.remove(&["promtail-1"]);
}

#[test]
fn whose_rights_do_not_suffice_is_told_which_group_has_them() {
    if !rustix::process::geteuid().is_root() {
        panic!("root runs these tests");
    }
    let docker = docker();
    let loki = Loki::start();
    let rig = Rig::unprivileged();
    let config = Config::new(&loki.url()).source(source(&docker, "rights", ""));
    // The way there must be open, so that it is the socket that refuses.
    let open = std::process::Command::new("chmod").arg("755").arg(docker.socket().parent().unwrap()).status();
    assert!(open.unwrap().success());
    let group = std::process::Command::new("stat").args(["-c", "%G"]).arg(docker.socket()).output().unwrap();
    let group = String::from_utf8(group.stdout).unwrap();
    let agent = rig.start(&config);
    wait_until("it is degraded", DRAIN, || agent.ready().is_some_and(|ready| ready.status == 503));
    let body = agent.ready().unwrap().body;
    assert!(body.contains(&format!("its group is {}", group.trim())) && body.contains("can become root"), "{body}");
}

/// What it costs when nothing happens.
#[test]
fn idle_cost() {
    // Nobody else's containers are to be seen.
    let docker = docker_alone();
    let loki = Loki::start();
    let book = Book::keep(&loki, "idle");
    let rig = Rig::new();
    let pipe = docker.pipe("idle");
    docker.run("idle", &[&pipe.volume()], "cat /in/pipe; exec sleep 1000");
    pipe.open().write_all(numbered("idle", 0..100).as_bytes()).unwrap();
    let journal = rig.path().join("journal");
    std::fs::create_dir(&journal).unwrap();
    let journal = FileSource::journal("journal", &format!("{{ path: {} }}", journal.display())).label("job", "journal");
    let alone = Config::new(&loki.url()).source(source(&docker, "idle", ""));
    let listen = format!("{{ listen: \"unixgram://{}\" }}", rig.path().join("syslog").display());
    let syslog = FileSource::other("syslog", "syslog", &listen).label("job", "syslog");
    let all = alone.clone().source(journal).source(syslog).source(FileSource::new("file", rig.log("*.log")));
    for (what, config) in [("one container", alone), ("one container and all other kinds of sources", all)] {
        let mut agent = rig.start(&config);
        book.wait_all(100, DRAIN);
        wait_until("Docker's API", DRAIN, || agent.metric("lugger_docker_up") == Some(1.0));
        let (start, before) = (Instant::now(), agent.cpu());
        let _ = holds_within(Duration::from_secs(60), || {
            std::thread::sleep(Duration::from_secs(5));
            false
        });
        let used = agent.cpu().saturating_sub(before);
        let share = used.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
        let mut text = String::new();
        let _ = write!(text, "idle with {what}: {used:?} in {:?}, {share:.3} % of a core", start.elapsed());
        println!("{text}; {} KiB of memory, {} that count", agent.memory().0 / 1024, agent.peak_memory() / 1024);
        assert!(share < 5.0, "{text}");
        // A release has up to 10 MiB of its own program there.
        let most = if cfg!(debug_assertions) { 6 } else { 16 };
        assert!(agent.peak_memory() < most * 1024 * 1024, "{} bytes of memory", agent.peak_memory());
        assert_eq!(agent.stop(STOP).code, Some(0));
    }
    docker.remove(&["idle"]);
}

/// A dry run shows what would be sent of containers.
#[test]
fn a_dry_run_shows_lines_as_they_would_be_sent() {
    let docker = docker();
    let rig = Rig::new();
    docker.run("dry", &[], "echo level=warn one");
    docker.wait("dry");
    let stages = "[{ logfmt: { mapping: { level: } } }, { labels: { level: } }]";
    let config = Config::new("http://127.0.0.1:1").source(source(&docker, "dry$", "").option("stages", stages));
    drop(rig.start(&config));
    let mut dry = Command::new(env!("CARGO_BIN_EXE_lugger"))
        .args(["run", "--dry-run", "--config"])
        .arg(rig.config_file())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut shown = String::new();
    BufReader::new(dry.stdout.take().unwrap()).read_line(&mut shown).unwrap();
    let own = shown.split_once(' ').map(|(_, rest)| rest);
    assert_eq!(own, Some("{container=\"dry\", level=\"warn\", stream=\"stdout\"} level=warn one\n"), "{shown}");
    dry.kill().unwrap();
    dry.wait().unwrap();
    docker.remove(&["dry"]);
}
