//! Reading a line in one of the formats of the data path allocates nothing, once the buffers have grown.

#[path = "support/allocations.rs"]
mod allocations;

use allocations::{Counting, allocations};
use lugger::format::{cri, docker, json, logfmt, rfc3339};
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Lines of each kind, each read so often.
const ROUNDS: usize = 100;

/// What `read` allocates for all lines after it has seen each of them once. It gets the scratch buffer empty.
#[track_caller]
fn assert_none(lines: &[&str], mut read: impl FnMut(&str, &mut String)) {
    let mut scratch = String::new();
    let mut all = |rounds: usize| {
        for line in lines.iter().cycle().take(rounds * lines.len()) {
            scratch.clear();
            read(black_box(line), &mut scratch);
        }
    };
    all(1);
    assert_eq!(allocations(|| all(ROUNDS)), 0);
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(Vec::<u8>::with_capacity(8)))), 1);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn logfmt_lines() {
    let fields = logfmt::Fields::new(&["level", "msg", "took"]);
    let mut found = [None; 3];
    let lines = [
        "ts=2026-08-01T10:00:00Z level=info msg=\"all is well\" took=12ms",
        "level=warn msg=\"with \\\"escapes\\\"\\n\" took=1s level=info",
        "level= msg='single' other",
        "level=x msg=\"open",
    ];
    assert_none(&lines, |line, scratch| {
        let _ = black_box(fields.find(line, scratch, &mut found));
    });
    assert!(found.iter().any(Option::is_some));
}

#[test]
fn plain_json_paths() {
    let expressions =
        json::Expressions::compile(&["level", "http.status", "tags[1]", "http", "n", "tags", "\"x-y\""]).unwrap();
    let (mut work, mut found) = (json::Work::default(), [None; 7]);
    let lines = [
        r#"{"level":"info","msg":"all is well","http":{"status":200,"path":"/"},"tags":["a","b"],"n":1.50,"x-y":null}"#,
        r#"{"level":"esc\naped","http":{"z":{"b":1,"a":"<\u00e4>"},"\u0061":1e300},"t\u0061gs":[],"n":12345678901234567890}"#,
        r#"{"level":"x","broken"#,
    ];
    assert_none(&lines, |line, scratch| {
        let _ = black_box(expressions.find(line, &mut work, scratch, &mut found));
    });
}

#[test]
fn docker_lines() {
    let mut work = json::Work::default();
    let lines = [
        r#"{"log":"hello\n","stream":"stdout","time":"2026-08-01T10:00:00.123456789Z"}"#,
        r#"{"log":"a \"b\" \u001b[0m\n","stream":"stderr","attrs":{"tag":"x"},"time":"2026-08-01T10:00:00Z"}"#,
        r#"{"log":{"b":1,"a":2.50}}"#,
        "i'm not json",
    ];
    assert_none(&lines, |line, scratch| {
        let _ = black_box(docker::parse(line, &mut work, scratch));
    });
}

#[test]
fn cri_lines_and_times() {
    let lines =
        ["2026-08-01T10:00:00.123456789+02:00 stdout F hello", "2026-08-01T10:00:00Z stderr P half", "something else"];
    assert_none(&lines, |line, _| {
        let _ = black_box(cri::parse(line));
    });
    assert_none(&["2026-08-01T10:00:00.123456789+02:00", "x"], |line, _| {
        black_box(rfc3339::parse(line));
    });
}
