//! Bounds on lines and bytes a second, of sources and of endpoints: who waits is not faster, who drops counts, and nobody else is slowed.

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::agent::{Agent, Config, FileSource, Rig};
use support::loki::{Loki, Options};
use support::wait::wait_until;
use support::writer::append_to;

const LONG: Duration = Duration::from_secs(60);

fn keeping() -> Loki {
    Loki::start_with(Options { keep: true, ..Options::default() })
}

fn lines(name: &str, count: usize) -> String {
    (0..count).map(|i| format!("{name} {i}\n")).collect()
}

/// When each line that begins with `name` was stored.
fn times(loki: &Loki, name: &'static str) -> Arc<Mutex<Vec<Instant>>> {
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&times);
    loki.observe(move |stored| {
        if stored.line.starts_with(name) {
            seen.lock().unwrap().push(Instant::now());
        }
    });
    times
}

/// At no moment more than what comes at once and the rate since the start allow.
fn assert_bounded(times: &[Instant], start: Instant, at_once: f64, per_s: f64) {
    for (i, at) in times.iter().enumerate() {
        let most = at_once + per_s * (*at - start).as_secs_f64();
        assert!((i + 1) as f64 <= most, "line {i} came after {:?}", *at - start);
    }
}

#[track_caller]
fn wait_count(agent: &Agent, name: &str, wanted: f64) {
    wait_until(name, LONG, || agent.metric(name) == Some(wanted));
}

#[test]
fn a_source_that_waits_is_read_no_faster_and_no_other_is_slowed() {
    let loki = keeping();
    let rig = Rig::new();
    let slow = times(&loki, "slow");
    // Many files with something to read: they must not hide the fast one.
    for i in 0..50 {
        append_to(&rig.log(&format!("slow-{i}.log")), lines("slow", 6));
    }
    append_to(&rig.log("fast.log"), lines("fast", 20_000));
    let start = Instant::now();
    let config = Config::new(&loki.url())
        .source(FileSource::new("slow", rig.log("slow-*.log")).rate("{ lines: 100, bytes: 1MiB, burst: 500ms }"))
        .source(FileSource::new("fast", rig.log("fast.log")));
    let agent = rig.start(&config);
    loki.wait_for("the end of the fast source", LONG, |line| line == "fast 19999");
    assert!(slow.lock().unwrap().len() < 300, "the slow one was still waiting then");
    wait_until("the slow source", LONG, || loki.lines().len() == 20_300);
    assert_bounded(&slow.lock().unwrap(), start, 50.0, 100.0);
    let (cpu, took) = (agent.cpu(), start.elapsed());
    assert!(cpu < took / 2 + Duration::from_secs(1), "{cpu:?} of CPU in {took:?}: it waits busily");
    assert_eq!(agent.metric("lugger_source_dropped_lines_total"), Some(0.0));
    assert_eq!(loki.totals().entries, 20_300);
    loki.assert_no_defects();
}

#[test]
fn a_rate_of_bytes_lets_a_line_pass_that_is_larger_than_the_burst() {
    let loki = keeping();
    let rig = Rig::new();
    let seen = times(&loki, "large");
    let text: String = (0..3).map(|i| format!("large {i} {}\n", "x".repeat(8_000))).collect();
    append_to(&rig.log("a.log"), text);
    let start = Instant::now();
    let source = FileSource::new("app", rig.log("a.log")).rate("{ bytes: 8KiB, burst: 100ms }");
    let _agent = rig.start(&Config::new(&loki.url()).source(source));
    wait_until("all lines", LONG, || loki.lines().len() == 3);
    // The first at once, each other when the one before is paid off.
    let third = seen.lock().unwrap()[2] - start;
    assert!(third > Duration::from_millis(1_700), "{third:?}");
}

#[test]
fn a_source_that_drops_moves_on_and_counts() {
    let loki = keeping();
    let rig = Rig::new();
    append_to(&rig.log("a.log"), lines("line", 5_000));
    let bytes = lines("line", 5_000).len() as f64;
    let source = FileSource::new("app", rig.log("a.log")).rate("{ lines: 100, when_over: drop }");
    let config = Config::new(&loki.url()).source(source);
    let mut agent = rig.start(&config);
    wait_until("all to be read", LONG, || agent.metric("lugger_source_lines_total") == Some(5_000.0));
    wait_count(&agent, "lugger_source_lag_bytes", 0.0);
    let dropped = agent.metric("lugger_source_dropped_lines_total{reason=\"rate\"}").unwrap();
    let stored = loki.lines();
    assert!(dropped > 0.0 && stored.len() >= 100, "{dropped} and {}", stored.len());
    assert_eq!(dropped + stored.len() as f64, 5_000.0);
    let dropped_bytes = agent.metric("lugger_source_dropped_bytes_total").unwrap();
    assert_eq!(dropped_bytes + stored.iter().map(|line| line.len() as f64 + 1.0).sum::<f64>(), bytes);
    assert_eq!(stored[..100], (0..100).map(|i| format!("line {i}")).collect::<Vec<_>>());
    agent.stop(LONG);
    // What was dropped does not come back, and what comes later does.
    let agent = rig.start(&config);
    append_to(&rig.log("a.log"), "later\n");
    loki.wait_for("a later line", LONG, |line| line == "later");
    assert_eq!(loki.totals().entries, stored.len() as u64 + 1);
    drop(agent);
    loki.assert_no_defects();
}

#[test]
fn an_endpoint_that_waits_gets_everything_no_faster() {
    let loki = keeping();
    let rig = Rig::new();
    let seen = times(&loki, "line");
    append_to(&rig.log("a.log"), lines(&format!("line {}", "x".repeat(1_000)), 1_000));
    let start = Instant::now();
    let config = Config::new(&loki.url())
        .endpoint("batch_size", "16KiB")
        .endpoint("rate", "{ lines: 500, burst: 100ms }")
        .source(FileSource::new("app", rig.log("a.log")));
    let _agent = rig.start(&config);
    wait_until("all lines", LONG, || loki.lines().len() == 1_000);
    // A batch passes as a whole when the bucket is full: one chunk's lines at once.
    let at_once = loki.totals().largest_entries as f64 + 50.0;
    assert_bounded(&seen.lock().unwrap(), start, at_once, 500.0);
    assert_eq!(loki.totals().entries, 1_000);
    loki.assert_no_defects();
}

#[test]
fn an_endpoint_that_drops_settles_what_it_drops() {
    let loki = keeping();
    let rig = Rig::new();
    let config = Config::new(&loki.url())
        .endpoint("batch_wait", "10ms")
        .endpoint("rate", "{ lines: 1, when_over: drop }")
        .source(FileSource::new("app", rig.log("a.log")));
    let mut agent = rig.start(&config);
    let dropped = |agent: &Agent| agent.metric("lugger_endpoint_dropped_lines_total{reason=\"rate\"}").unwrap_or(0.0);
    for i in 0..20 {
        append_to(&rig.log("a.log"), format!("line {i}\n"));
        let stored = || loki.lines().len() as f64;
        wait_until("its fate", LONG, || dropped(&agent) + stored() == f64::from(i + 1));
    }
    wait_count(&agent, "lugger_source_lag_bytes", 0.0);
    assert!(dropped(&agent) > 0.0 && !loki.lines().is_empty());
    assert!(agent.metric("lugger_endpoint_dropped_bytes_total").is_some_and(|bytes| bytes > 0.0));
    let stored = loki.totals().entries;
    agent.stop(LONG);
    let agent = rig.start(&config);
    append_to(&rig.log("a.log"), "later\n");
    loki.wait_for("a later line", LONG, |line| line == "later");
    assert_eq!(loki.totals().entries, stored + 1);
    drop(agent);
}
