//! The docker source where Docker's API tells the logs, and fails at it: by a script, and with a real Docker Engine.

#[path = "support/docker.rs"]
mod docker;
#[path = "support/docker_api.rs"]
mod docker_api;
mod support;

use docker::{docker, docker_alone};
use docker_api::{Answer, FakeApi, frame, id, inspected, long_ago, said};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::agent::{Agent, Config, FileSource, Rig};
use support::loki::{Loki, Options};
use support::small_disk::SmallDisk;
use support::wait::{holds_within, wait_until};

const DRAIN: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(10);

fn config(loki: &Loki, socket: &Path, containers: Option<&Path>, prefix: &str, more: &str) -> Config {
    let containers = containers.map(|path| format!(", containers: {}", path.display())).unwrap_or_default();
    let filter = format!("filters: [{{ name: name, values: [\"^{prefix}\"] }}]");
    let value = format!("{{ host: \"unix://{}\"{containers}, {filter}{more} }}", socket.display());
    Config::new(&loki.url()).source(FileSource::docker("docker", &value))
}

fn kept() -> Loki {
    Loki::start_with(Options { keep: true, ..Options::default() })
}

/// An agent that has only this to ask.
fn asking(rig: &Rig, loki: &Loki, api: &FakeApi) -> Agent {
    rig.start(&config(loki, &api.socket(), Some(&api.nowhere()), "", ", refresh_interval: 1s"))
}

#[track_caller]
fn wait_lines(loki: &Loki, want: &[&str]) {
    let lines = || {
        let mut lines = loki.lines();
        lines.sort();
        lines
    };
    let _ = holds_within(DRAIN, || lines().len() >= want.len());
    let mut want = want.to_vec();
    want.sort_unstable();
    let short =
        |lines: Vec<String>| lines.iter().map(|l| (l.len(), l[..l.len().min(40)].to_owned())).collect::<Vec<_>>();
    assert_eq!(short(lines()), short(want.iter().map(|line| (*line).to_owned()).collect()));
    assert_eq!(lines(), want);
}

#[test]
fn one_container_that_cannot_be_asked_about_keeps_nobody_from_the_others() {
    let loki = kept();
    let (bad, late) = (id('b'), id('c'));
    let of = [(bad.clone(), "bad"), (late.clone(), "late"), (id('a'), "good")];
    let api = FakeApi::start(&of, move |path, before| match path {
        _ if path == format!("/containers/{bad}/json") => {
            Some(Answer::Whole(500, r#"{"message":"RWLayer is unexpectedly nil"}"#.into()))
        }
        _ if path == format!("/containers/{late}/json") && before == 0 => Some(Answer::Whole(500, String::new())),
        _ if path.contains(&format!("{late}/logs")) => Some(Answer::GoesOn(frame(1, 2, "of late\n"))),
        _ if path.contains("/logs") => Some(Answer::GoesOn(frame(1, 1, "of good\n"))),
        _ => None,
    });
    let rig = Rig::new();
    let agent = asking(&rig, &loki, &api);
    wait_lines(&loki, &["of good", "of late"]);
    agent.wait_ready();
    assert_eq!(agent.metric("lugger_docker_up"), Some(1.0));
    let status = agent.ask("GET", "/api/status", &[]).body;
    assert!(status.contains("RWLayer is unexpectedly nil"), "{status}");
    loki.assert_no_defects();
}

#[test]
fn a_log_that_is_refused_or_breaks_off_is_asked_for_again() {
    let loki = kept();
    let (refused, ends) = (id('a'), id('b'));
    let api = FakeApi::start(&[(refused.clone(), "refused"), (ends.clone(), "ends")], move |path, before| {
        if path.contains(&format!("{refused}/logs")) {
            let deadline = r#"{"message":"context deadline exceeded"}"#;
            return Some(if before < 2 {
                Answer::Whole(500, deadline.into())
            } else {
                Answer::GoesOn(frame(1, 1, "granted\n"))
            });
        }
        path.contains(&format!("{ends}/logs")).then(|| {
            // A line that has not ended when the stream does is taken as a whole later on.
            let first = [frame(1, 2, "first\n"), frame(2, 3, &"x".repeat(16384))].concat();
            match before {
                0 => Answer::Ends(first),
                _ => Answer::GoesOn([first, frame(2, 3, "end\n"), frame(1, 4, "second\n")].concat()),
            }
        })
    });
    let rig = Rig::new();
    let _agent = asking(&rig, &loki, &api);
    let long = "x".repeat(16384) + "end";
    wait_lines(&loki, &["granted", "first", "second", &long]);
    loki.assert_no_defects();
}

#[test]
fn a_container_that_has_ended_is_not_asked_for_again() {
    let loki = kept();
    let ended = id('a');
    let api = FakeApi::start(&[(ended.clone(), "ended")], move |path, _| {
        if path == format!("/containers/{ended}/json") {
            return Some(Answer::Whole(200, inspected(&ended, "ended", false)));
        }
        path.contains("/logs").then(|| Answer::Ends([frame(1, 1, "one\n"), frame(1, 2, "unended")].concat()))
    });
    let rig = Rig::new();
    let _agent = asking(&rig, &loki, &api);
    wait_lines(&loki, &["one", "unended"]);
    let lists = api.asked("/containers/json");
    wait_until("further lists", DRAIN, || api.asked("/containers/json") > lists + 2);
    assert_eq!(api.asked("/logs"), 1);
}

/// Connections have a bound: that it is reached is told, and those that wait have their turn although no other one ends.
#[test]
fn where_only_so_many_logs_are_taken_at_a_time_they_take_turns() {
    // Half of the descriptors.
    const PLACES: usize = 64;
    const ENDED: usize = 4;
    const WAITING: usize = 2;
    let loki = kept();
    let ids: Vec<String> = (0..PLACES + ENDED + WAITING).map(|n| format!("{n:064x}")).collect();
    let of: Vec<(String, &str)> = ids.iter().map(|id| (id.clone(), "many")).collect();
    let ids_count = ids.len();
    let said = AtomicBool::new(false);
    let api = FakeApi::start(&of, move |path, before| {
        let at = ids.iter().position(|id| path.contains(&**id))?;
        if path.contains("/logs") {
            let mut line = frame(1, 1 + at as i64, &format!("of {at:03}\n"));
            if before == 1 && !said.swap(true, Ordering::SeqCst) {
                line.extend(frame(1, 1_000, "later\n"));
            }
            return Some(if at < ENDED { Answer::Ends(line) } else { Answer::GoesOn(line) });
        }
        (at < ENDED).then(|| Answer::Whole(200, inspected(&ids[at], "many", false)))
    });
    let rig = Rig::new().with_descriptors(2 * PLACES as u32);
    let agent = asking(&rig, &loki, &api);
    wait_until("those that have a place", DRAIN, || loki.lines().len() == PLACES + ENDED);
    wait_until("it to be told", DRAIN, || agent.ask("GET", "/api/status", &[]).body.contains("they take turns"));
    assert_eq!(api.asked("/logs"), PLACES + ENDED);
    // All have a turn, those that gave way a further one, which gives what was not given before.
    let _ = holds_within(DRAIN, || loki.lines().len() > ids_count);
    let mut lines = loki.lines();
    lines.sort();
    let mut want: Vec<String> = (0..ids_count).map(|at| format!("of {at:03}")).collect();
    want.insert(0, "later".into());
    assert_eq!(lines, want);
    assert_eq!(agent.stderr().matches("they take turns").count(), 1);
}

/// The daemon looks for the first byte longer than a turn is.
#[test]
fn logs_that_begin_late_have_a_whole_turn() {
    const PLACES: usize = 48;
    let loki = kept();
    let ids: Vec<String> = (0..2 * PLACES).map(|n| format!("{n:064x}")).collect();
    let of: Vec<(String, &str)> = ids.iter().map(|id| (id.clone(), "late")).collect();
    let api = FakeApi::start(&of, |path, _| {
        let line = || frame(1, 1, &format!("of {}\n", &path[12..76]));
        path.contains("/logs").then(|| Answer::Late(Duration::from_secs(8), line()))
    });
    let rig = Rig::new().with_descriptors(2 * PLACES as u32);
    let _agent = asking(&rig, &loki, &api);
    let want: Vec<String> = ids.iter().map(|id| format!("of {id}")).collect();
    wait_lines(&loki, &want.iter().map(String::as_str).collect::<Vec<_>>());
}

/// It is no longer told when all have a place: here since one ends when it is asked for again.
#[test]
fn that_logs_take_turns_is_not_told_any_more_when_they_do_not() {
    const PLACES: usize = 48;
    let loki = kept();
    let has_ended = AtomicBool::new(false);
    let ids: Vec<String> = (0..=PLACES).map(|n| format!("{n:064x}")).collect();
    let of: Vec<(String, &str)> = ids.iter().map(|id| (id.clone(), "some")).collect();
    let api = FakeApi::start(&of, move |path, before| {
        let id = ids.iter().find(|id| path.contains(&**id))?;
        if path.contains("/logs") {
            let line = frame(1, 1, &format!("of {id}\n"));
            let ends = before > 0 && !has_ended.swap(true, Ordering::SeqCst);
            return Some(if ends { Answer::Ends(line) } else { Answer::GoesOn(line) });
        }
        Some(Answer::Whole(200, inspected(id, "some", false)))
    });
    let rig = Rig::new().with_descriptors(2 * PLACES as u32);
    let agent = asking(&rig, &loki, &api);
    let is_told = || agent.ask("GET", "/api/status", &[]).body.contains("they take turns");
    wait_until("it to be told", DRAIN, is_told);
    wait_until("it to be over", DRAIN, || !is_told());
    wait_until("all of them", DRAIN, || loki.lines().len() == PLACES + 1);
}

/// What somebody else put beside the inlet is neither sent nor removed.
#[test]
fn foreign_files_beside_the_inlet_are_left_alone() {
    let loki = kept();
    let rig = Rig::new();
    let inlet = rig.state().join("inlets/docker:api");
    std::fs::create_dir_all(&inlet).unwrap();
    std::fs::write(inlet.join("inlet.log.old"), "foreign\n").unwrap();
    let api = FakeApi::start(&[(id('a'), "some")], |path, _| {
        path.contains("/logs").then(|| Answer::GoesOn(frame(1, 1, "own\n")))
    });
    let agent = asking(&rig, &loki, &api);
    wait_lines(&loki, &["own"]);
    assert!(inlet.join("inlet.log.old").exists());
    assert_eq!(agent.metric("lugger_inlet_damaged_records_total"), Some(0.0));
}

/// A full disk is told, and what waited for it goes on when there is room.
#[test]
fn a_full_disk_is_told_and_ends() {
    let loki = kept();
    let rig = Rig::new();
    let small = SmallDisk::at(rig.path().join("small"), "1m");
    let api = FakeApi::start(&[(id('a'), "some")], |path, before| {
        // Its log begins when the disk is full.
        path.contains("/logs").then(|| match before {
            0..=1 => Answer::Whole(500, String::new()),
            _ => Answer::GoesOn(frame(1, 1, "waits\n")),
        })
    });
    let config = config(&loki, &api.socket(), Some(&api.nowhere()), "", ", refresh_interval: 1s");
    let agent = rig.start(&config.state_dir(small.path()));
    agent.wait_ready();
    let filler = small.fill();
    let is_told = || agent.ready().unwrap().body.contains("the disk does not take what is received");
    wait_until("it is told", DRAIN, is_told);
    std::fs::remove_file(filler).unwrap();
    wait_lines(&loki, &["waits"]);
    agent.wait_ready();
}

/// What a full disk keeps in memory is not taken yet: it is asked for again, whatever ends the agent.
fn on_a_full_disk(end: impl FnOnce(&mut Agent)) {
    const COUNT: i64 = 300;
    let loki = kept();
    let rig = Rig::new();
    let small = SmallDisk::at(rig.path().join("small"), "1m");
    let is_full = Arc::new(AtomicBool::new(false));
    let full = Arc::clone(&is_full);
    let api = FakeApi::start(&[(id('a'), "some")], move |path, before| {
        let since: f64 = path.split_once("/logs")?.1.split("since=").nth(1)?.parse().ok()?;
        // As Docker does: nothing from before that time.
        let lines = |from, to| -> Vec<u8> {
            let of = |n: &i64| long_ago() as f64 + *n as f64 / 10.0 >= since - 0.01;
            (from..to).filter(of).flat_map(|n| frame(1, n, &format!("{n} {}\n", "x".repeat(300)))).collect()
        };
        Some(match before {
            0 => Answer::Ends(lines(0, 20)),
            _ if full.load(Ordering::SeqCst) => Answer::GoesOn(lines(0, COUNT)),
            _ => Answer::Whole(500, String::new()),
        })
    });
    let config = config(&loki, &api.socket(), Some(&api.nowhere()), "", ", refresh_interval: 1s");
    let config = config.state_dir(small.path());
    let mut agent = rig.start(&config);
    wait_until("those of before", DRAIN, || loki.lines().len() == 20);
    let filler = small.fill();
    is_full.store(true, Ordering::SeqCst);
    let is_told = || agent.ready().unwrap().body.contains("the disk does not take what is received");
    wait_until("it is told", DRAIN, is_told);
    end(&mut agent);
    std::fs::remove_file(filler).unwrap();
    let _agent = rig.start(&config);
    let numbers = || -> BTreeSet<i64> {
        loki.lines().iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
    };
    let _ = holds_within(DRAIN, || numbers().len() as i64 == COUNT);
    assert_eq!(numbers(), (0..COUNT).collect());
}

#[test]
fn what_waits_for_a_full_disk_is_asked_for_again_after_a_kill() {
    on_a_full_disk(|agent| _ = agent.kill());
}

#[test]
fn what_waits_for_a_full_disk_is_asked_for_again_after_a_stop_and_not_told_as_lost() {
    on_a_full_disk(|agent| {
        assert_eq!(agent.stop(STOP).code, Some(0));
        // At a stop it counts what it gives up, and says so.
        let said = agent.stderr();
        assert!(!said.contains("lost"), "{said}");
    });
}

#[test]
fn what_the_daemon_says_in_a_log_is_counted_and_the_log_goes_on() {
    let loki = kept();
    let api = FakeApi::start(&[(id('a'), "torn")], |path, _| {
        let error = "Error grabbing logs: unexpected EOF\n";
        path.contains("/logs")
            .then(|| Answer::GoesOn([frame(1, 1, "first\n"), said(3, error), frame(1, 2, "second\n")].concat()))
    });
    let rig = Rig::new();
    let agent = asking(&rig, &loki, &api);
    wait_lines(&loki, &["first", "second"]);
    assert_eq!(agent.metric("lugger_docker_log_errors_total"), Some(1.0));
    let status = agent.ask("GET", "/api/status", &[]).body;
    assert!(status.contains("container torn") && status.contains("unexpected EOF"), "{status}");
}

#[test]
fn lines_before_what_is_no_log_are_taken() {
    let loki = kept();
    let api = FakeApi::start(&[(id('a'), "odd")], |path, before| {
        let odd = [&frame(1, 1, "first\n")[..], b"\x09\x09\x09\x09\x09\x09\x09\x09"].concat();
        path.contains("/logs").then(|| match before {
            0 => Answer::GoesOn(odd),
            _ => Answer::GoesOn([frame(1, 1, "first\n"), frame(1, 2, "second\n")].concat()),
        })
    });
    let rig = Rig::new();
    let _agent = asking(&rig, &loki, &api);
    wait_lines(&loki, &["first", "second"]);
}

#[test]
fn who_accepts_and_says_nothing_is_not_ready() {
    let loki = kept();
    let api = FakeApi::start(&[], |path, _| path.contains("/events").then_some(Answer::Nothing));
    let rig = Rig::new();
    let agent = asking(&rig, &loki, &api);
    wait_until("the question", DRAIN, || api.asked("/events") > 0);
    let ready = agent.ready().unwrap();
    assert!(ready.status == 503 && ready.body.contains("has not answered yet"), "{}", ready.body);
    wait_until("it to be given up", DRAIN, || agent.ready().unwrap().body.contains("does not answer /events within"));
    assert_eq!(agent.metric("lugger_docker_up"), Some(0.0));
    // Health checks are no events of interest.
    let questions = api.questions("/events");
    assert!(questions[0].contains("%22event%22") && questions[0].contains("%22start%22"), "{questions:?}");
}

/// A line of two parts, of which the second comes when everything was killed; the other stream has gone on meanwhile.
#[test]
fn what_waits_for_its_end_is_asked_for_again_after_a_kill() {
    let loki = kept();
    let api = FakeApi::start(&[(id('a'), "parts")], |path, before| {
        let since: f64 = path.split("since=").nth(1)?.parse().ok()?;
        let first = long_ago() as f64;
        let (part, end) = (frame(2, 100, &"y".repeat(16384)), frame(2, 100, "END\n"));
        let out: Vec<u8> = (200..260).flat_map(|n| frame(1, n, &format!("out {n}\n"))).collect();
        let out = if since <= first + 20.0 { out } else { Vec::new() };
        // As Docker does: nothing from before that time.
        let (part, end) = if since <= first + 10.1 { (part, end) } else { Default::default() };
        path.contains("/logs").then(|| match before {
            0 => Answer::GoesOn([part, out].concat()),
            _ => Answer::GoesOn([part, out, end].concat()),
        })
    });
    let rig = Rig::new();
    let mut agent = asking(&rig, &loki, &api);
    wait_until("the other stream", DRAIN, || loki.lines().len() >= 60);
    agent.kill();
    let _agent = asking(&rig, &loki, &api);
    let long = "y".repeat(16384) + "END";
    let out: Vec<String> = (200..260).map(|n| format!("out {n}")).collect();
    wait_lines(&loki, &out.iter().map(String::as_str).chain([&*long]).collect::<Vec<_>>());
    loki.assert_no_defects();
}

/// Docker's own driver `local`, of which the last part of a line has no newline, with and without a terminal.
#[test]
fn long_lines_of_the_driver_local() {
    let docker = docker();
    let loki = kept();
    let rig = Rig::new();
    let agent = config(&loki, &docker.socket(), Some(&docker.containers()), "longest", "");
    let script = |name: &str| {
        format!("sleep 1; head -c 40000 /dev/zero | tr '\\0' x; echo {name}; sleep 1; echo after {name}; sleep 1000")
    };
    let spin = "head -c 100000 /dev/zero | tr '\\0' '\\r'; echo; sleep 1; echo after spin; sleep 1000";
    docker.run("longest-pipe", &["--log-driver=local"], &script("pipe"));
    docker.run("longest-terminal", &["--log-driver=local", "--tty"], &script("terminal"));
    docker.run("longest-spin", &["--log-driver=local", "--tty"], spin);
    let _agent = rig.start(&agent);
    let x = "x".repeat(40_000);
    let (pipe, terminal, spin) = (format!("{x}pipe"), format!("{x}terminal"), "\r".repeat(100_000));
    wait_lines(&loki, &[&pipe, "after pipe", &terminal, "after terminal", &spin, "after spin"]);
    docker.remove(&["longest-pipe", "longest-terminal", "longest-spin"]);
}

#[test]
fn what_is_said_while_the_agent_is_down_is_read_after_a_start_at_the_end() {
    let docker = docker();
    let loki = kept();
    let rig = Rig::new();
    docker.run("ending-before", &["--log-driver=local"], "echo before; sleep 1000");
    wait_until("the line", DRAIN, || docker.do_it(&["logs", "ending-before"]).contains("before"));
    let config = config(&loki, &docker.socket(), Some(&docker.containers()), "ending", ", start_at: end");
    let mut agent = rig.start(&config);
    wait_until("Docker's API", DRAIN, || agent.metric("lugger_docker_up") == Some(1.0));
    assert_eq!(agent.stop(STOP).code, Some(0));
    docker.run("ending-after", &["--log-driver=local"], "seq 1 5; sleep 1000");
    wait_until("its lines", DRAIN, || docker.do_it(&["logs", "ending-after"]).contains('5'));
    let _agent = rig.start(&config);
    wait_lines(&loki, &["1", "2", "3", "4", "5"]);
    docker.remove(&["ending-before", "ending-after"]);
}

/// Docker is asked where it keeps its containers, and does not answer when the configuration is read again, nor at the next start.
#[test]
fn a_slow_docker_moves_no_logs_from_disk_to_the_api() {
    let docker = docker_alone();
    let loki = kept();
    let rig = Rig::new();
    let pipe = docker.pipe("slow");
    docker.run("slow", &[&pipe.volume()], "cat /in/pipe");
    let mut stdin = pipe.open();
    writeln!(stdin, "one").unwrap();
    let config = config(&loki, &docker.socket(), None, "slow", "");
    let mut agent = rig.start(&config);
    wait_lines(&loki, &["one"]);
    let quiet = docker.freeze();
    agent.reload();
    drop(quiet);
    writeln!(stdin, "two").unwrap();
    wait_lines(&loki, &["one", "two"]);
    assert_eq!(agent.stop(STOP).code, Some(0));
    let quiet = docker.freeze();
    let agent = rig.start(&config);
    drop(quiet);
    writeln!(stdin, "three").unwrap();
    wait_lines(&loki, &["one", "two", "three"]);
    wait_until("Docker's API", DRAIN, || agent.metric("lugger_docker_up") == Some(1.0));
    writeln!(stdin, "four").unwrap();
    wait_lines(&loki, &["one", "two", "three", "four"]);
    let told = "lugger_source_lines_total{source=\"docker:api\"} 0";
    assert!(agent.metrics().lines().any(|line| line == told), "{}", agent.metrics());
    docker.remove(&["slow"]);
}

#[test]
fn who_is_renamed_to_a_name_that_is_wanted_is_read() {
    let docker = docker();
    let loki = kept();
    let rig = Rig::new();
    let other = docker.pipe("plain-file");
    docker.run("plain-file", &[&other.volume()], "cat /in/pipe");
    docker.run("plain-local", &["--log-driver=local"], "echo local; sleep 1000");
    let mut stdin = other.open();
    writeln!(stdin, "first").unwrap();
    let agent = rig.start(&config(&loki, &docker.socket(), Some(&docker.containers()), "renamed", ""));
    wait_until("Docker's API", DRAIN, || agent.metric("lugger_docker_up") == Some(1.0));
    docker.do_it(&["rename", "plain-file", "renamed-file"]);
    docker.do_it(&["rename", "plain-local", "renamed-local"]);
    wait_until("what the API tells", DRAIN, || loki.lines().len() == 1);
    writeln!(stdin, "second").unwrap();
    wait_lines(&loki, &["first", "local", "second"]);
    docker.remove(&["renamed-file", "renamed-local"]);
}
