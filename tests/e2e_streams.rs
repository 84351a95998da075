//! Bounds on streams and their labels: no endpoint gets more streams than it may, and no label that is longer than it takes.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;
use support::agent::{Agent, Config, FileSource, Rig};
use support::loki::{Answer, Loki, Options};
use support::wait::wait_until;
use support::writer::append_to;

const LONG: Duration = Duration::from_secs(60);
const FILES: usize = 50;
const BOUND: usize = 10;
const MERGED: &str = "{job=\"web\", lugger_merged=\"true\"}";

fn keeping() -> Loki {
    Loki::start_with(Options { keep: true, ..Options::default() })
}

fn config(loki: &Loki, rig: &Rig, policy: &str) -> Config {
    Config::new(&loki.url())
        .endpoint("max_streams", &BOUND.to_string())
        .endpoint("max_streams_policy", policy)
        .source(FileSource::new("web", rig.log("*.log")).label("job", "web"))
}

fn write(rig: &Rig, files: impl Iterator<Item = usize>, what: &str) {
    for i in files {
        append_to(&rig.log(&format!("f-{i:02}.log")), format!("{what} {i}\n"));
    }
}

/// The lines by stream.
fn streams(loki: &Loki) -> BTreeMap<String, Vec<String>> {
    let mut streams: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in loki.entries() {
        streams.entry(entry.stream).or_default().push(entry.line);
    }
    streams
}

#[track_caller]
fn wait_metric(agent: &Agent, name: &str, wanted: f64) {
    wait_until(name, LONG, || agent.metric(name) == Some(wanted));
}

fn warnings(agent: &Agent) -> usize {
    agent.stderr().matches("there are more streams than max_streams").count()
}

#[test]
fn lines_of_streams_above_the_bound_are_merged_into_one_a_source() {
    let loki = keeping();
    let rig = Rig::new();
    write(&rig, 0..FILES, "first");
    let agent = rig.start(&config(&loki, &rig, "merge"));
    wait_until("all lines", LONG, || loki.lines().len() == FILES);
    let first = streams(&loki);
    assert_eq!(first.len(), BOUND + 1, "{:?}", first.keys());
    assert_eq!(first[MERGED].len(), FILES - BOUND);
    let own = || first.iter().filter(|(labels, _)| *labels != MERGED);
    assert!(own().all(|(labels, lines)| labels.contains("filename=") && lines.len() == 1));
    // Who has a place keeps it, who has none gets none.
    write(&rig, 0..FILES, "second");
    wait_until("the next lines", LONG, || loki.lines().len() == 2 * FILES);
    let second = streams(&loki);
    assert_eq!(second.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
    assert!(own().all(|(labels, _)| second[labels].len() == 2));
    wait_metric(&agent, "lugger_source_lag_bytes", 0.0);
    assert_eq!(agent.metric("lugger_endpoint_merged_lines_total"), Some(2.0 * (FILES - BOUND) as f64));
    assert_eq!(agent.metric("lugger_endpoint_dropped_lines_total"), Some(0.0));
    assert_eq!(warnings(&agent), 1, "{}", agent.stderr());
    loki.assert_no_defects();
}

#[test]
fn lines_of_streams_above_the_bound_are_dropped_and_counted() {
    let loki = keeping();
    let rig = Rig::new();
    write(&rig, 0..FILES, "first");
    let config = config(&loki, &rig, "drop");
    let mut agent = rig.start(&config);
    let dropped = "lugger_endpoint_dropped_lines_total{reason=\"max_streams\"}";
    wait_metric(&agent, dropped, (FILES - BOUND) as f64);
    wait_until("the others", LONG, || loki.lines().len() == BOUND);
    wait_metric(&agent, "lugger_source_lag_bytes", 0.0);
    assert_eq!(streams(&loki).len(), BOUND);
    assert!(agent.metric("lugger_endpoint_dropped_bytes_total{reason=\"max_streams\"}").is_some_and(|n| n > 0.0));
    assert_eq!(warnings(&agent), 1, "{}", agent.stderr());
    agent.stop(LONG);
    // What was dropped does not come back, and what comes later does.
    let agent = rig.start(&config);
    write(&rig, 0..1, "later");
    loki.wait_for("a later line", LONG, |line| line == "later 0");
    assert_eq!(loki.totals().entries, BOUND as u64 + 1);
    drop(agent);
    loki.assert_no_defects();
}

#[test]
fn what_was_merged_before_a_kill_is_merged_after_it() {
    let loki = keeping();
    let rig = Rig::new();
    let config = config(&loki, &rig, "merge");
    let mut agent = rig.start(&config);
    write(&rig, 0..BOUND, "line");
    wait_until("those with a place", LONG, || loki.lines().len() == BOUND);
    wait_metric(&agent, "lugger_source_lag_bytes", 0.0);
    // Stored, and the agent does not hear of it.
    loki.script(|_| Answer::StoreThenReset);
    write(&rig, BOUND..FILES, "line");
    wait_until("merged lines", LONG, || loki.lines().len() > BOUND);
    agent.kill();
    loki.behave();
    // By now no place is taken.
    let agent = rig.start(&config);
    // None of them was acknowledged: all are read again.
    wait_metric(&agent, "lugger_endpoint_entries_total", (FILES - BOUND) as f64);
    let totals = loki.totals();
    assert_eq!(totals.distinct, FILES as u64, "{:?}", streams(&loki));
    assert!(totals.entries > totals.distinct, "nothing was sent again");
    loki.assert_no_defects();
}

#[test]
fn a_reload_changes_the_bound() {
    let loki = keeping();
    let rig = Rig::new();
    let config = config(&loki, &rig, "drop");
    let agent = rig.start(&config);
    write(&rig, 0..FILES, "first");
    wait_metric(&agent, "lugger_endpoint_dropped_lines_total{reason=\"max_streams\"}", (FILES - BOUND) as f64);
    rig.rewrite(
        &agent,
        &config.endpoint("max_streams", &(FILES - 1).to_string()).endpoint("max_streams_policy", "merge"),
    );
    agent.reload();
    write(&rig, 0..FILES, "second");
    wait_until("all of the next lines", LONG, || loki.lines().len() == BOUND + FILES);
    let streams = streams(&loki);
    assert_eq!((streams.len(), streams[MERGED].len()), (FILES, 1));
    loki.assert_no_defects();
}

#[test]
fn a_path_longer_than_a_label_may_be_is_cut_and_counted() {
    const DESCRIPTORS: u32 = 128;
    let loki = keeping();
    let rig = Rig::new().with_descriptors(DESCRIPTORS);
    // Three bytes a character, so that the cap lies within one.
    let mut directory = rig.logs();
    while directory.as_os_str().len() < 2_600 {
        directory.push("€".repeat(70));
    }
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("a.log");
    append_to(&path, "one\n");
    append_to(&rig.log("b.log"), "two\n");
    let config = Config::new(&loki.url()).source(FileSource::new("app", rig.log("**/*.log")));
    let mut agent = rig.start(&config);
    let filename = |line: &'static str| {
        let stream = loki.wait_for("the line", LONG, |other| other == line).stream;
        stream.trim_start_matches("{filename=\"").trim_end_matches("\"}").to_owned()
    };
    let cut = filename("one");
    assert!(path.to_str().unwrap().starts_with(&cut) && (2_046..=2_048).contains(&cut.len()), "{}", cut.len());
    assert_eq!(filename("two"), rig.log("b.log").to_str().unwrap());
    let repaired = "lugger_labels_repaired_total{reason=\"value_too_long\"}";
    assert_eq!(agent.metric(repaired), Some(1.0));
    append_to(&path, "three\n");
    loki.wait_for("a later line", LONG, |line| line == "three");
    assert_eq!(agent.metric(repaired), Some(1.0), "once a stream, not once a chunk");
    // More files than it keeps open: this one is closed, and opened again.
    for n in 0..DESCRIPTORS {
        append_to(&rig.log(&format!("other-{n}.log")), "five\n");
    }
    let lines = || agent.metric("lugger_source_lines_total");
    wait_until("the others to be read", LONG, || lines() == Some(3.0 + f64::from(DESCRIPTORS)));
    append_to(&path, "six\n");
    loki.wait_for("a line after a pause", LONG, |line| line == "six");
    assert_eq!(agent.metric(repaired), Some(1.0), "once a stream, not each time that the file is opened");
    agent.stop(LONG);
    // A shorter cap.
    let _agent = rig.start(&config.limit("label_value", "100B"));
    append_to(&path, "four\n");
    let cut = filename("four");
    assert!(path.to_str().unwrap().starts_with(&cut) && (98..=100).contains(&cut.len()), "{}", cut.len());
    loki.assert_no_defects();
}
