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
         { match: { selector: '{site=\"home\"}', action: drop } }, \
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
    let config = Config::new(&loki.url()).source(
        FileSource::new("app", &path)
            .label("job", "app")
            .option("stages", stages)
            .option("late_labels", "{ site: home, level: none }"),
    );
    let agent = rig.start(&config);
    wait_until("three lines", DEADLINE, || loki.entries().len() >= 3);
    let at = |offset: i64| (now + offset) * 1_000_000_000;
    let expected = [
        (r#"{job="app", level="info", site="home"}"#, at(-20), "one"),
        (r#"{alert="yes", job="app", level="error", site="home"}"#, at(-10), "two"),
        // No time of its own: behind the last known one.
        (r#"{job="app", level="info", site="home"}"#, at(-10) + 1, "three"),
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

/// Lines of several tenants: each comes under its own, and those of none under the endpoint's, also by way of the spool and another process.
#[test]
fn tenants_keep_their_lines_through_outages_and_spools() {
    let start = || Loki::start_with(Options { keep: true, auth: true, ..Options::default() });
    let (near, far) = (start(), start());
    let rig = Rig::new();
    let path = rig.log("app.log");
    let stages = "[ { regex: { expression: '^t=(?P<who>\\S+)' } }, { tenant: { source: who } } ]";
    let config = Config::new(&near.url())
        .also("far", &far.url())
        .endpoint("tenant_id", "own")
        .source(FileSource::new("app", &path).option("stages", stages));
    let mut agent = rig.start(&config);
    let mut expected = BTreeSet::new();
    let mut write = |from: usize| {
        for line in from..from + 100 {
            let (tenant, text) = match line % 4 {
                0 => ("own".to_owned(), format!("line {line}")),
                of => (format!("team-{of}"), format!("t=team-{of} line {line}")),
            };
            append_to(&path, format!("{text}\n"));
            expected.insert((tenant, text));
        }
        append_to(&path, "t=a/b no tenant of Loki's\n");
        expected.clone()
    };
    let seen = |loki: &Loki| -> BTreeSet<(String, String)> {
        loki.entries().into_iter().map(|entry| (entry.tenant, entry.line)).collect()
    };
    let before = write(0);
    wait_until("all lines", DEADLINE, || seen(&near) == before && seen(&far) == before);
    far.pause();
    let all = write(100);
    wait_until("one to have all", DEADLINE, || seen(&near) == all);
    assert_eq!(seen(&far), before);
    // The other gets them from disk, by way of the next process.
    assert_eq!(agent.stop(Duration::from_secs(10)).code, Some(0));
    let agent = rig.start(&config);
    assert!(agent.metric("lugger_spool_frames{endpoint=\"far\"}").unwrap_or_default() > 0.0);
    far.resume();
    wait_until("the other to have all", DEADLINE, || seen(&far) == all);
    let last = write(200);
    wait_until("what comes after it", DEADLINE, || seen(&near) == last && seen(&far) == last);
    let dropped = "lugger_source_dropped_lines_total{source=\"app\",reason=\"bad_tenant\"} 1";
    assert!(agent.metrics().contains(dropped), "{}", agent.metrics());
    for loki in [&near, &far] {
        assert_eq!(loki.entries().len(), last.len(), "some came twice");
        loki.assert_no_defects();
    }
}

/// Lines that wait are text, whatever they were in the file; after a kill they are read again there.
#[test]
fn blocks_of_other_encodings_come_whole() {
    let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let latin = |text: &str| text.chars().map(|c| u8::try_from(c).unwrap()).collect::<Vec<u8>>();
    type Encode<'a> = &'a dyn Fn(&str) -> Vec<u8>;
    for (encoding, mark, encode) in [("utf-16", "\u{feff}", &utf_16 as Encode<'_>), ("windows-1252", "", &latin)] {
        let loki = Loki::start_with(Options { keep: true, ..Options::default() });
        let rig = Rig::new();
        let path = rig.log("app.log");
        let stages = "[ { multiline: { firstline: '^Fü', max_wait_time: 60s } } ]";
        let source = FileSource::new("app", &path).encoding(encoding).option("stages", stages);
        let config = Config::new(&loki.url()).source(source);
        append_to(&path, encode(&format!("{mark}the end of something\nand more\nFü 1\n  at ö.1\n")));
        let mut agent = rig.start(&config);
        // What was there before the first block goes on line by line.
        wait_until("two lines", DEADLINE, || loki.lines() == ["the end of something", "and more"]);
        agent.kill();
        append_to(&path, encode("  at ö.2\nFü 2\n"));
        let mut agent = rig.start(&config);
        wait_until("the block", DEADLINE, || loki.lines().len() >= 3);
        append_to(&path, encode("  at ß\nFü 3\n"));
        wait_until("the second block", DEADLINE, || loki.lines().len() >= 4);
        assert_eq!(loki.lines()[2..], ["Fü 1\n  at ö.1\n  at ö.2", "Fü 2\n  at ß"], "{encoding}");
        agent.kill();
        loki.assert_no_defects();
    }
}

/// A `limit` that drops nothing: its source waits, others do not, and what is written meanwhile is there afterwards, also where the file is rotated.
#[test]
fn a_limit_lets_its_source_wait_and_loses_nothing() {
    let loki = Loki::start_with(Options { keep: true, ..Options::default() });
    let rig = Rig::new();
    let (slow, fast) = (rig.log("slow.log"), rig.log("fast.log"));
    let config = Config::new(&loki.url())
        .source(FileSource::new("slow", &slow).option("stages", "[ { limit: { rate: 20, burst: 10 } } ]"))
        .source(FileSource::new("fast", &fast));
    let text = |from: usize, to: usize| (from..to).map(|line| format!("slow {line}\n")).collect::<String>();
    append_to(&slow, text(0, 110));
    let _agent = rig.start(&config);
    let count = |of: &str| loki.lines().iter().filter(|line| line.starts_with(of)).count();
    wait_until("what is read at once", DEADLINE, || count("slow") == 110);
    // It is 100 lines in debt, which are paid off in 5 s.
    append_to(&slow, text(110, 120));
    append_to(&fast, "fast\n");
    std::fs::rename(&slow, rig.log("slow.log.1")).unwrap();
    append_to(&slow, text(120, 130));
    wait_until("the other source's line", DEADLINE, || count("fast") == 1);
    assert_eq!(count("slow"), 110, "it did not wait");
    wait_until("all of it", DEADLINE, || count("slow") == 130);
    let lines: Vec<String> = loki.lines().into_iter().filter(|line| line.starts_with("slow")).collect();
    assert_eq!(lines.iter().map(|line| format!("{line}\n")).collect::<String>(), text(0, 130));
    loki.assert_no_defects();
}
