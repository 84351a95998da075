//! Stages in the running agent: the real binary, a strict fake Loki, and the exact streams that come out; also under `kill -9`.
//!
//! `LUGGER_KILLS` sets the number of kills (12).

mod support;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};
use support::agent::{Config, FileSource, Rig};
use support::loki::{Answer, Loki, Options};
use support::wait::{holds_within, wait_until};
use support::writer::append_to;

const DEADLINE: Duration = Duration::from_secs(60);

/// What Loki keeps: stream, time, line; each once.
fn kept(loki: &Loki) -> BTreeSet<(String, i64, String)> {
    loki.entries().into_iter().map(|entry| (entry.stream, entry.at, entry.line)).collect()
}

#[test]
fn stages_make_the_streams_times_and_lines() {
    let loki = Loki::start_with(Options { keep: true, ..Options::default() });
    let rig = Rig::new();
    let path = rig.log("app.log");
    let stages = "[ { json: { expressions: { level: , ts: time, message: msg } } }, \
         { drop: { source: level, value: debug } }, \
         { timestamp: { source: ts, format: RFC3339Nano } }, \
         { labels: { level: } }, { labeldrop: [filename] }, \
         { match: { selector: '{level=\"error\"}', stages: [ { static_labels: { alert: \"yes\" } } ] } }, \
         { metrics: { seen_total: { type: Counter, description: Seen., config: { match_all: true, action: inc } } } }, \
         { output: { source: message } } ]";
    let now = support::wait::now_ns() / 1_000_000_000;
    let time = |offset: i64| lugger::format::civil::format_rfc3339_ms((now + offset) * 1_000_000_000);
    let lines = format!(
        "{{\"time\":\"{}\",\"level\":\"info\",\"msg\":\"one\"}}\n{{\"level\":\"debug\",\"msg\":\"noise\"}}\n\
         {{\"time\":\"{}\",\"level\":\"error\",\"msg\":\"two\"}}\n{{\"level\":\"info\",\"msg\":\"three\"}}\n",
        time(-20),
        time(-10)
    );
    append_to(&path, lines);
    let config =
        Config::new(&loki.url()).source(FileSource::new("app", &path).label("job", "app").option("stages", stages));
    let agent = rig.start(&config);
    wait_until("three lines", DEADLINE, || loki.entries().len() >= 3);
    let at = |offset: i64| (now + offset) * 1_000_000_000;
    let expected = [
        (r#"{job="app", level="info"}"#, at(-20), "one"),
        (r#"{alert="yes", job="app", level="error"}"#, at(-10), "two"),
        // No time of its own: behind the last known one.
        (r#"{job="app", level="info"}"#, at(-10) + 1, "three"),
    ];
    let expected: BTreeSet<_> = expected.into_iter().map(|(s, t, l)| (s.to_owned(), t, l.to_owned())).collect();
    assert_eq!(kept(&loki), expected);
    let metrics = agent.metrics();
    let dropped = "lugger_source_dropped_lines_total{source=\"app\",reason=\"drop_stage\"} 1";
    assert!(metrics.contains(dropped), "{metrics}");
    let seen = "promtail_custom_seen_total{job=\"app\",level=\"info\"} 2";
    assert!(metrics.contains(seen), "{metrics}");
    loki.assert_no_defects();
}

/// Blocks of lines, written while the agent is killed again and again by a receiver that does not always say what it stored.
#[test]
fn kills_in_the_middle_of_blocks_lose_nothing_and_repeat_nothing() {
    let kills: u64 = std::env::var("LUGGER_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let loki = Loki::start_with(Options { keep: true, ..Options::default() });
    loki.script(|arrival| match arrival.number % 7 {
        2 => Answer::Late(Duration::from_millis(30)),
        4 => Answer::StoreThenStatus(500),
        6 => Answer::StoreThenReset,
        _ => Answer::AsLoki,
    });
    let rig = Rig::new();
    let path = rig.log("app.log");
    let stages = "[ { multiline: { firstline: '^F', max_wait_time: 3s } } ]";
    let config = Config::new(&loki.url())
        .source(FileSource::new("app", &path).option("stages", stages))
        .endpoint("batch_size", "16KiB")
        .endpoint("batch_wait", "10ms");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let mut expected = BTreeSet::new();
    let mut block = 0u64;
    for kill in 0..kills {
        let mut agent = rig.spawn(&config);
        let until = Instant::now() + Duration::from_millis(150 + kill * 53 % 300);
        while Instant::now() < until {
            for _ in 0..20 {
                block += 1;
                let mut text = format!("F{block}");
                writeln!(file, "{text}").unwrap();
                for line in 0..block % 7 {
                    let rest = format!("  at {block}.{line}");
                    writeln!(file, "{rest}").unwrap();
                    text.push('\n');
                    text.push_str(&rest);
                }
                expected.insert(text);
            }
            assert!(!agent.has_exited());
            std::thread::sleep(Duration::from_millis(3));
        }
        agent.kill();
    }
    loki.behave();
    let mut agent = rig.start(&config);
    let lines = || -> BTreeSet<String> { loki.entries().into_iter().map(|entry| entry.line).collect() };
    let _ = holds_within(DEADLINE, || expected.is_subset(&lines()));
    let entries = loki.entries();
    let visible = entries.iter().filter(|entry| !entry.repeated).count();
    let seen: BTreeSet<String> = entries.iter().map(|entry| entry.line.clone()).collect();
    let missing: Vec<&String> = expected.difference(&seen).take(3).collect();
    let strange: Vec<&String> = seen.difference(&expected).take(3).collect();
    println!("{} blocks, {kills} kills, {} sent again", expected.len(), entries.len() - visible);
    assert!(missing.is_empty() && strange.is_empty(), "missing {missing:?}, never written so {strange:?}");
    assert_eq!(visible, expected.len(), "some are there twice");
    assert!(entries.len() > visible, "nothing was sent again: nothing was tested");
    assert_eq!(agent.stop(Duration::from_secs(5)).code, Some(0));
    loki.assert_no_defects();
}
