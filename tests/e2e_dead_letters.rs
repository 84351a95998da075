//! Lines that Loki refuses for good: they are kept, shown, and sent once more, beside the running agent.

mod support;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use support::agent::{Agent, Config, FileSource, Rig};
use support::loki::{Answer, Loki, Options};
use support::wait::wait_until;
use support::writer::append_to;

const SOON: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(60);
const WRITTEN: &str = "lugger_dead_letters_total";

fn keeping() -> Loki {
    Loki::start_with(Options { keep: true, ..Options::default() })
}

/// What the agent's own file says, with a second endpoint that only the command knows.
fn with_second(rig: &Rig, name: &str, loki: &Loki) -> PathBuf {
    let text = fs::read_to_string(rig.path().join("agent.yaml")).unwrap();
    let endpoint =
        format!("  - name: {name}\n    url: {}\n    backoff: {{ min: 10ms, max: 20ms }}\nlogs:\n", loki.url());
    let path = rig.path().join("two.yaml");
    fs::write(&path, text.replacen("logs:\n", &endpoint, 1)).unwrap();
    path
}

fn command(config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lugger"));
    command.arg("dead-letters").args(arguments).arg("--config").arg(config).stdin(Stdio::null());
    command
}

fn run(config: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(config, arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// The letters of both files.
fn letters(rig: &Rig) -> Vec<serde_json::Value> {
    let text = |name: &str| fs::read_to_string(rig.state().join(name)).unwrap_or_default();
    let all = text("dead-letters.jsonl.1") + &text("dead-letters.jsonl");
    all.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line:.100}"))).collect()
}

/// Starts an agent whose Loki refuses every stream for its labels, with `lines` in a file, and waits until they are dead letters.
fn with_letters(rig: &Rig, loki: &Loki, lines: &[String]) -> Agent {
    loki.script(|_| Answer::Status(400, Vec::new(), "couldn't parse labels: refused by script".into()));
    append_to(&rig.log("bad.log"), lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    let agent = rig.start(&Config::new(&loki.url()).source(FileSource::new("app", rig.log("*.log"))));
    wait_written(&agent, lines.len());
    agent
}

#[track_caller]
fn wait_written(agent: &Agent, count: usize) {
    wait_until("the dead letters", LONG, || agent.metric(WRITTEN).is_some_and(|value| value as usize >= count));
}

fn numbered(range: std::ops::Range<usize>, bytes: usize) -> Vec<String> {
    range.map(|i| format!("{i:07} {}", "x".repeat(bytes))).collect()
}

#[test]
fn refused_lines_are_shown_and_stored_later_with_their_own_time() {
    let loki = keeping();
    let rig = Rig::new();
    loki.script(|_| Answer::RefuseLines(Arc::new(|line| line.starts_with("bad"))));
    let source = FileSource::new("app", rig.log("*.log")).label("job", "a\\\\b");
    let agent = rig.start(&Config::new(&loki.url()).endpoint("name", "home").source(source));
    // One at a time: Loki names one refused entry of a request and counts the others.
    for (i, line) in ["bad one", "bad \u{1b}two"].iter().enumerate() {
        append_to(&rig.log("a.log"), format!("{line}\ngood {i}\n"));
        wait_written(&agent, i + 1);
    }
    loki.wait_for("the lines around them", SOON, |line| line == "good 1");
    let config = rig.path().join("agent.yaml");

    let (code, shown, _) = run(&config, &["print"]);
    assert_eq!(code, Some(0));
    for word in ["bad one", "job=\"a\\\\b\"", "too_far_behind", "refused by home", "ignored, reason"] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "what could steer a terminal is shown as an escape");
    assert_eq!(run(&config, &["print", "--reason", "too_old"]).1, "");
    assert_eq!(run(&config, &["print", "--endpoint", "away"]).1, "");
    let file = fs::read_to_string(rig.state().join("dead-letters.jsonl")).unwrap();
    assert_eq!(run(&config, &["print", "--json", "--reason", "too_far_behind", "--endpoint", "home"]).1, file);
    assert_eq!(run(&config, &["print", "--reason", "nonsense"]).0, Some(2));

    // Refused again: nothing leaves the file.
    let (code, words, _) = run(&config, &["send"]);
    assert_eq!((code, words.as_str()), (Some(1), "home: 0 lines stored, 2 refused again (2 too_far_behind)\n"));
    assert_eq!(fs::read_to_string(rig.state().join("dead-letters.jsonl")).unwrap(), file);

    let times: Vec<i64> = letters(&rig).iter().map(|l| l["timestamp"].as_str().unwrap().parse().unwrap()).collect();
    loki.behave();
    let (code, words, errors) = run(&config, &["send"]);
    assert_eq!((code, words.as_str()), (Some(0), "home: 2 lines stored\n"), "{errors}");
    assert_eq!(letters(&rig), Vec::<serde_json::Value>::new());
    let stored: Vec<_> = loki.entries().into_iter().filter(|kept| kept.line.starts_with("bad")).collect();
    assert_eq!(stored.iter().map(|kept| kept.at).collect::<Vec<_>>(), times);
    assert!(stored.iter().all(|kept| !kept.repeated && kept.stream.contains("filename=")));
    assert_eq!(run(&config, &["send"]).1, "there is nothing to send\n");

    // The agent goes on with the file.
    loki.script(|_| Answer::RefuseLines(Arc::new(|line| line.starts_with("bad"))));
    append_to(&rig.log("a.log"), "bad three\n");
    wait_written(&agent, 3);
    assert_eq!(letters(&rig).len(), 1);
    loki.assert_no_defects();
}

/// Row by row what may go wrong beside a running agent: it appends, it rotates the file at its bound, and the letters are taken out meanwhile.
#[test]
fn nothing_is_lost_or_doubled_beside_an_agent_that_writes() {
    let (loki, other) = (keeping(), keeping());
    let rig = Rig::new();
    // 10 MB are more than half the bound: there are two files.
    let agent = with_letters(&rig, &loki, &numbered(0..100, 100_000));
    assert!(rig.state().join("dead-letters.jsonl.1").exists());
    let config = with_second(&rig, "other", &other);
    let log = rig.log("bad.log");
    let writer = std::thread::spawn(move || {
        for i in 0..60 {
            let lines = numbered(100 + i * 10..110 + i * 10, 20_000);
            append_to(&log, lines.iter().map(|line| format!("{line}\n")).collect::<String>());
            // The pace of the program that writes.
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let mut rounds = 0;
    while !writer.is_finished() || agent.metric(WRITTEN).is_none_or(|value| value < 700.0) {
        let (code, words, errors) = run(&config, &["send", "--to", "other"]);
        assert_eq!(code, Some(0), "{words} {errors}");
        rounds += 1;
    }
    writer.join().unwrap();
    assert_eq!(run(&config, &["send", "--to", "other"]).0, Some(0));
    assert!(rounds > 1, "{rounds}");
    let mut lines: Vec<String> = other.lines().iter().map(|line| line[..7].to_owned()).collect();
    lines.sort();
    assert_eq!(lines, (0..700).map(|i| format!("{i:07}")).collect::<Vec<_>>());
    assert!(other.entries().iter().all(|kept| !kept.repeated));
    assert_eq!(letters(&rig).len(), 0);
    assert_eq!(agent.metric("lugger_dead_letters_failed_total"), Some(0.0));
    other.assert_no_defects();
}

#[test]
fn an_interrupted_sending_keeps_what_was_not_stored() {
    let (loki, other) = (keeping(), keeping());
    let rig = Rig::new();
    // Some requests' worth.
    let agent = with_letters(&rig, &loki, &numbered(0..40, 100_000));
    let config = with_second(&rig, "other", &other);
    other.queue([Answer::AsLoki, Answer::AsLoki, Answer::Hang]);
    let mut child =
        command(&config, &["send", "--to", "other"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the third request", SOON, || other.requests() == 3);
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let stored = other.distinct();
    assert!(stored > 0 && stored < 40, "{stored}");
    assert_eq!(letters(&rig).len() as u64, 40 - stored);
    assert_eq!(run(&config, &["send", "--to", "other"]).0, Some(0));
    let totals = other.totals();
    assert_eq!((totals.distinct, totals.entries), (40, 40));
    drop(agent);
}

#[test]
fn a_new_time_is_kept_over_a_kill_until_the_lines_fate_is_known() {
    let (loki, other) = (keeping(), keeping());
    let rig = Rig::new();
    loki.script(|_| Answer::RefuseLines(Arc::new(|line| line.starts_with("bad"))));
    let agent = rig.start(&Config::new(&loki.url()).source(FileSource::new("app", rig.log("*.log"))));
    for i in 0..3 {
        append_to(&rig.log("a.log"), "bad and equal\n");
        wait_written(&agent, i + 1);
    }
    let before: BTreeSet<i64> =
        letters(&rig).iter().map(|l| l["timestamp"].as_str().unwrap().parse().unwrap()).collect();
    let config = with_second(&rig, "other", &other);
    other.queue([Answer::StoreThenReset, Answer::Hang]);
    let mut child = command(&config, &["send", "--to", "other", "--now"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the second attempt", SOON, || other.requests() == 2);
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    assert_eq!(letters(&rig).len(), 3);
    let (code, words, errors) = run(&config, &["send", "--to", "other", "--now"]);
    assert_eq!((code, words.as_str()), (Some(0), "other: 3 lines stored\n"), "{errors}");
    let totals = other.totals();
    assert_eq!((totals.distinct, totals.entries), (3, 6));
    assert!(other.entries().iter().all(|kept| !before.contains(&kept.at)));
    other.assert_no_defects();
}

/// A tenant that lines named and Loki does not take: the lines are set aside, refused again, and stored under it once it is taken.
#[test]
fn lines_of_a_refused_tenant_are_stored_later_as_its_own() {
    let loki = keeping();
    let rig = Rig::new();
    let refuse = |_: &_| Answer::Status(400, Vec::new(), "tenant ID 'team' contains unsupported character 'm'".into());
    loki.script(refuse);
    append_to(&rig.log("a.log"), "one\ntwo\n");
    let source = FileSource::new("app", rig.log("*.log")).option("stages", "[ { tenant: { value: team } } ]");
    let agent = rig.start(&Config::new(&loki.url()).endpoint("name", "home").source(source));
    wait_written(&agent, 2);
    let config = rig.path().join("agent.yaml");
    let (code, words, _) = run(&config, &["send"]);
    assert_eq!((code, words.as_str()), (Some(1), "home: 0 lines stored, 2 refused again (2 tenant)\n"));
    loki.behave();
    let (code, words, _) = run(&config, &["send"]);
    assert_eq!((code, words.as_str()), (Some(0), "home: 2 lines stored\n"));
    let stored: Vec<_> = loki.entries().into_iter().map(|entry| (entry.tenant, entry.line)).collect();
    assert_eq!(stored, ["one", "two"].map(|line| ("team".to_owned(), line.to_owned())));
    loki.assert_no_defects();
}

#[test]
fn what_cannot_be_sent_is_said_and_stays() {
    let loki = keeping();
    let rig = Rig::new();
    let agent = with_letters(&rig, &loki, &["x".to_owned()]);
    let config = rig.path().join("agent.yaml");
    let file = rig.state().join("dead-letters.jsonl");
    let good = fs::read_to_string(&file).unwrap();
    let away = good.replace("\"endpoint\":\"127.0.0.1\"", "\"endpoint\":\"away\"");
    let broken = good.replace("filename=", "filename:");
    assert!(away != good && broken != good);
    let kept = format!("{away}{broken}not json\n");
    append_to(&file, &kept);
    loki.behave();
    let (code, words, errors) = run(&config, &["send"]);
    assert_eq!((code, words.as_str()), (Some(1), "127.0.0.1: 1 line stored\n"));
    for word in ["no endpoint \"away\"", "cannot be parsed", "not dead letters"] {
        assert!(errors.contains(word), "{word} in {errors}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), kept);
    let (code, _, errors) = run(&config, &["send", "--to", "nobody"]);
    assert!(code == Some(1) && errors.contains("the endpoints are: 127.0.0.1"), "{errors}");
    // An endpoint that is away is waited for a little, and nothing leaves the file.
    loki.pause();
    let (code, _, errors) = run(&config, &["send", "--endpoint", "away", "--to", "127.0.0.1"]);
    assert!(code == Some(1) && errors.contains("does not store what it is sent"), "{errors}");
    assert_eq!(fs::read_to_string(&file).unwrap(), kept);
    drop(agent);
}

/// As if a command had been stopped at the moment at which it changes the files.
#[test]
fn whoever_keeps_the_files_locked_holds_up_neither_the_lines_nor_the_agent() {
    let loki = keeping();
    let rig = Rig::new();
    loki.script(|_| Answer::RefuseLines(Arc::new(|line| line.starts_with("bad"))));
    let agent = rig.start(&Config::new(&loki.url()).source(FileSource::new("app", rig.log("*.log"))));
    append_to(&rig.log("a.log"), "bad one\n");
    wait_written(&agent, 1);
    let lock = fs::File::open(rig.state()).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    append_to(&rig.log("a.log"), "bad two\ngood two\n");
    let failed = || agent.metric("lugger_dead_letters_failed_total");
    wait_until("a letter that cannot be written", SOON, || failed() == Some(1.0));
    for i in 0..20 {
        append_to(&rig.log("a.log"), format!("bad {i}\ngood {i}\n"));
        loki.wait_for("the line after it", SOON, |line| line == format!("good {i}"));
    }
    drop(lock);
    wait_until("the last refusal", SOON, || {
        failed().is_some_and(|failed| failed + agent.metric(WRITTEN).unwrap() >= 22.0)
    });
    let before = agent.metric(WRITTEN).unwrap() as usize;
    append_to(&rig.log("a.log"), "bad at the end\n");
    wait_written(&agent, before + 1);
    let last = letters(&rig).pop().unwrap();
    assert_eq!(last["line"], "bad at the end");
}
