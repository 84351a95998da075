//! The journal source with the real binary, a real journald and the strict receiver: nothing lost, nothing shown twice, and soon.

#[path = "support/journald.rs"]
mod journald;
mod support;

use journald::Journald;
use lugger::format::civil::format_rfc3339_ns;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::agent::{Config, FileSource, Rig};
use support::ledger::{Book, line};
use support::loki::{Loki, Options};
use support::wait::{holds_within, wait_until};

const DRAIN: Duration = Duration::from_secs(120);

fn source(directory: &Path, more: &str) -> FileSource {
    let path = directory.display();
    FileSource::journal("journal", &format!("{{ path: {path}{more} }}")).label("job", "journal")
}

fn kept() -> Loki {
    Loki::start_with(Options { keep: true, ..Options::default() })
}

/// The lines that came, in order.
fn wait_lines(loki: &Loki, want: &[&str]) {
    let _ = holds_within(DRAIN, || loki.lines().len() >= want.len());
    assert_eq!(loki.lines(), want);
}

/// Numbered messages under rotation and removal, with a restart and a kill in the midst: each comes once.
fn numbered(compact: bool, count: u64) {
    let loki = Loki::start();
    let book = Book::keep(&loki, "journal");
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), compact, "RuntimeMaxUse=24M\nRuntimeMaxFileSize=2M\n");
    let config = Config::new(&loki.url()).source(source(journald.directory(), ", matches: LEDGER=yes"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut text = String::new();
            for n in 0..count {
                // What journald removes unread is gone: it must not be too far ahead.
                if n % 100 == 0 {
                    let seen = || book.seen() + 10_000 > n;
                    assert!(holds_within(DRAIN, seen).is_some(), "nothing arrives: {} of {n}", book.seen());
                }
                text.clear();
                text.push_str("MESSAGE=");
                let mut body = String::new();
                line("journal", n, 60 + (n as usize % 100), &mut body);
                text.push_str(&body);
                journald.log(&[&text, "LEDGER=yes", "PRIORITY=6"]);
                if n % 30_000 == 29_999 {
                    journald.rotate();
                }
            }
            done.store(true, Ordering::Release);
        });
        let mut agent = rig.start(&config);
        for part in 1..=4 {
            let want = count * part / 5;
            wait_until("a part of the entries", DRAIN, || book.seen() >= want);
            if part % 2 == 0 {
                agent.kill();
            } else {
                assert_eq!(agent.stop(Duration::from_secs(10)).code, Some(0));
            }
            agent = rig.start(&config);
        }
        book.wait_all(count, DRAIN);
        wait_until("the last to be written", DRAIN, || done.load(Ordering::Acquire));
        for counter in ["lugger_journal_lost_entries_total", "lugger_journal_damaged_total"] {
            assert_eq!(agent.metric(counter), Some(0.0), "{counter}");
        }
        assert_eq!(agent.stop(Duration::from_secs(10)).code, Some(0));
    });
    let verdict = book.lock().verdict(count);
    let totals = loki.totals();
    println!(
        "{} entries, compact {compact}: {} missing, {} raw duplicates, {} visible; {} requests",
        verdict.written, verdict.missing, verdict.duplicated_raw, verdict.duplicated_visible, totals.requests
    );
    verdict.assert_perfect(count / 2);
    loki.assert_no_defects();
    journald.stop();
}

#[test]
fn numbered_entries_come_once_over_rotation_removal_restarts_and_kills() {
    numbered(true, 100_000);
}

#[test]
fn regular_files_are_read_as_compact_ones() {
    numbered(false, 30_000);
}

/// Journald gives all lines of one read of a service's stdout the same microsecond.
#[test]
fn lines_of_one_microsecond_come_once_and_in_order() {
    const LINES: u64 = 20_000;
    let loki = Loki::start();
    let book = Book::keep(&loki, "stdout");
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "LineMax=1M\n");
    let config = Config::new(&loki.url())
        .source(source(journald.directory(), ", matches: SYSLOG_IDENTIFIER=service"))
        .endpoint("batch_size", "64KiB");
    let mut stdout = journald.stdout("service");
    let mut agent = rig.start(&config);
    let mut text = String::new();
    for n in 0..LINES {
        line("stdout", n, 0, &mut text);
        text.push('\n');
        if n % 2_000 == 1_999 {
            stdout.write_all(text.as_bytes()).unwrap();
            text.clear();
            wait_until("some of the lines", DRAIN, || book.seen() * 2 >= n);
            agent.kill();
            agent = rig.start(&config);
        }
    }
    book.wait_all(LINES, DRAIN);
    book.lock().verdict(LINES).assert_perfect(LINES * 5);
    loki.assert_no_defects();
    drop(agent);
    journald.stop();
}

#[test]
fn entries_are_chosen_by_fields_units_and_priority() {
    let loki = kept();
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "");
    let mut config = Config::new(&loki.url());
    for (name, more) in [
        ("and-or", "matches: [A=1, A=2, B=1, +, C=1]"),
        ("one-text", "matches: \"A=1 A=2 B=1 + C=1\""),
        ("priority", "priority: warning"),
        ("range", "priority: notice..info"),
        ("unit", "units: [x, \"y*\"]"),
        ("text", "matches: \"MESSAGE=a few words\""),
    ] {
        let path = journald.directory().display();
        config = config.source(FileSource::journal(name, &format!("{{ path: {path}, {more} }}")).label("source", name));
    }
    let agent = rig.start(&config);
    let entries: [(&str, &[&str]); 8] = [
        ("A=1 B=1", &["A=1", "B=1", "PRIORITY=7"]),
        ("A=2 B=1", &["A=2", "B=1", "PRIORITY=7"]),
        ("A=1 B=2", &["A=1", "B=2", "PRIORITY=4"]),
        ("C=1", &["C=1", "PRIORITY=5"]),
        ("no priority", &["A=3"]),
        // As root may say of a unit.
        (
            "of x",
            &[
                "OBJECT_SYSTEMD_UNIT=x.service",
                "COREDUMP_UNIT=x.service",
                "MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1",
                "PRIORITY=7",
            ],
        ),
        ("of yes", &["COREDUMP_UNIT=yes.service", "MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1", "PRIORITY=7"]),
        ("a few words", &["PRIORITY=7"]),
    ];
    for (message, fields) in entries {
        let message = format!("MESSAGE={message}");
        journald.log(&[&[message.as_str()], fields].concat());
    }
    journald.log(&[
        "MESSAGE=last",
        "PRIORITY=4",
        "A=1",
        "B=1",
        "COREDUMP_UNIT=x.service",
        "MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1",
    ]);
    let of = |source: &str| -> Vec<String> {
        let stream = format!("{{source=\"{source}\"}}");
        let its = |entry: &support::loki::Kept| {
            entry.stream == stream && !entry.line.starts_with("Journal") && !entry.line.starts_with("Runtime")
        };
        loki.entries().into_iter().filter(its).map(|entry| entry.line).collect()
    };
    for (source, want) in [
        ("and-or", &["A=1 B=1", "A=2 B=1", "C=1", "last"][..]),
        ("one-text", &["A=1 B=1", "A=2 B=1", "C=1", "last"]),
        ("priority", &["A=1 B=2", "last"]),
        ("range", &["C=1"]),
        ("unit", &["of x", "of yes", "last"]),
        ("text", &["a few words"]),
    ] {
        let _ = holds_within(DRAIN, || of(source).len() >= want.len());
        assert_eq!(of(source), want, "{source}");
    }
    wait_until("what is left out is counted", DRAIN, || {
        agent.metric("lugger_journal_filtered_entries_total{source=\"text\"}").is_some_and(|count| count >= 8.0)
    });
    loki.assert_no_defects();
    journald.stop();
}

#[test]
fn labels_come_of_fields_by_rules_and_stages_see_them() {
    let loki = kept();
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "");
    let rules = "[ { source_labels: [__journal_app], target_label: app }, \
        { source_labels: [__journal_priority_keyword], target_label: level }, \
        { source_labels: [__journal_drop], regex: yes, action: drop }, \
        { regex: __journal_(my_.*), action: labelmap } ]";
    let stages = "[ { match: { selector: '{app=\"web\"}', stages: [ { regex: { expression: 'status=(?P<status>\\d+)' } }, \
        { labels: { status: } } ] } } ]";
    let plain = source(journald.directory(), ", matches: T=1").option("relabel_configs", rules);
    let staged =
        FileSource::journal("staged", &format!("{{ path: {}, matches: T=1 }}", journald.directory().display()))
            .label("job", "staged")
            .option("relabel_configs", rules)
            .option("stages", stages);
    let json = FileSource::journal(
        "json",
        &format!("{{ path: {}, matches: T=2, json: true }}", journald.directory().display()),
    )
    .label("job", "json");
    let config = Config::new(&loki.url()).label("site", "here").source(plain).source(staged).source(json);
    let agent = rig.start(&config);
    for n in 0..100 {
        let (app, number) = (if n % 2 == 0 { "web" } else { "db" }, format!("MESSAGE={n} status=20{}", n % 4));
        journald.log(&[&number, "T=1", &format!("APP={app}"), &format!("PRIORITY={}", 3 + n % 3), "MY_ZONE=z"]);
    }
    journald.log(&["MESSAGE=none", "T=1", "DROP=yes"]);
    journald.log(&["T=1", "APP=web"]);
    journald.log(&["MESSAGE=a \"quoted\" text\t", "T=2", "TWICE=a", "TWICE=b"]);
    wait_until("all entries", DRAIN, || loki.lines().len() >= 201);
    let mut streams: HashMap<String, Vec<String>> = HashMap::new();
    for entry in loki.entries() {
        streams.entry(entry.stream).or_default().push(entry.line);
    }
    let (json, mut rest): (Vec<_>, Vec<_>) =
        streams.into_iter().partition(|(stream, _)| stream.contains("job=\"json\""));
    let parsed: serde_json::Value = serde_json::from_str(&json[0].1[0]).unwrap();
    assert_eq!(parsed["MESSAGE"], "a \"quoted\" text\t");
    assert_eq!(parsed["TWICE"], serde_json::json!(["a", "b"]));
    assert_eq!(parsed["_TRANSPORT"], "journal");
    rest.sort();
    let (staged, plain): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(stream, _)| stream.contains("staged"));
    let names: Vec<&str> = plain.iter().map(|(stream, _)| stream.as_str()).collect();
    let want: Vec<String> = ["db", "web"]
        .iter()
        .flat_map(|app| {
            let stream = |level: &&str| {
                format!("{{app=\"{app}\", job=\"journal\", level=\"{level}\", my_zone=\"z\", site=\"here\"}}")
            };
            ["error", "notice", "warning"].iter().map(stream).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(names, want);
    assert_eq!(plain.iter().map(|(_, lines)| lines.len()).sum::<usize>(), 100);
    // Web entries have a status from their text, the others not.
    assert!(
        staged.iter().all(|(stream, _)| stream.contains("status=\"20") == stream.contains("app=\"web\"")),
        "{staged:?}"
    );
    for (stream, lines) in &staged {
        let status = stream.split_once("status=\"").map(|(_, rest)| rest[..3].to_owned());
        assert!(
            lines.iter().all(|line| status.as_ref().is_none_or(|status| line.ends_with(status))),
            "{stream} {lines:?}"
        );
    }
    assert_eq!(staged.iter().map(|(_, lines)| lines.len()).sum::<usize>(), 100);
    for (reason, count) in [("relabel", 2.0), ("no_message", 2.0)] {
        assert_eq!(agent.metric(&format!("lugger_source_dropped_lines_total{{reason=\"{reason}\"}}")), Some(count));
    }
    loki.assert_no_defects();
    journald.stop();
}

/// A reload leaves an unchanged source alone; one with another filter, label or endpoint goes on where it was.
#[test]
fn reloads_lose_and_repeat_nothing() {
    const RELOADS: u64 = 15;
    const LINES: u64 = 20_000;
    let (loki, other) = (Loki::start(), Loki::start());
    let (book, second) = (Book::keep(&loki, "reload"), Book::keep(&other, "reload"));
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "");
    let base = || Config::new(&loki.url()).also("other", &other.url());
    let one = |more: &str| source(journald.directory(), &format!(", matches: LEDGER=yes{more}"));
    let variants = [
        base().source(one("").to("first")),
        base().source(one("").to("first")).source(FileSource::new("app", rig.log("*.log")).to("other")),
        base().source(one(", priority: info").to("first")),
        base().source(one("")),
        base().source(one("").to("first")),
        base().source(one(", max_age: 1h")),
    ];
    let agent = rig.start(&variants[0]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..LINES {
                let mut text = String::from("MESSAGE=");
                let mut body = String::new();
                line("reload", n, 0, &mut body);
                text.push_str(&body);
                journald.log(&[&text, "LEDGER=yes", "PRIORITY=6"]);
                if n % 50 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        for (at, config) in variants.iter().enumerate().skip(1).cycle().take(RELOADS as usize) {
            let want = book.seen() + 200;
            wait_until("some more entries", DRAIN, || book.seen() >= want.min(LINES));
            rig.change(&agent, config);
            assert!(at < variants.len());
        }
    });
    book.wait_all(LINES, DRAIN);
    let verdict = book.lock().verdict(LINES);
    let largest = loki.totals().largest_entries;
    println!("{verdict:?}; largest request {largest} entries");
    // A source that begins anew sends again what was on its way: the request that was being answered, and the one behind it.
    verdict.assert_perfect(RELOADS * largest * 2);
    let seen = second.seen();
    let parts = second.lock().verdict(LINES);
    println!("the second endpoint has {seen}");
    assert!(seen > 0 && parts.duplicated_visible == 0 && parts.torn == 0, "{parts:?}");
    loki.assert_no_defects();
    other.assert_no_defects();
    journald.stop();
}

/// An endpoint that is down for a while costs nothing, and the other one does not wait for it.
#[test]
fn an_endpoint_that_is_down_gets_all_later() {
    const LINES: u64 = 30_000;
    let (loki, other) = (Loki::start(), Loki::start());
    let (book, second) = (Book::keep(&loki, "down"), Book::keep(&other, "down"));
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "");
    let config = Config::new(&loki.url()).also("other", &other.url());
    let mut agent = rig.start(&config.source(source(journald.directory(), ", matches: LEDGER=yes")));
    other.pause();
    for n in 0..LINES {
        let mut body = String::from("MESSAGE=");
        let mut text = String::new();
        line("down", n, 200, &mut text);
        body.push_str(&text);
        journald.log(&[&body, "LEDGER=yes"]);
    }
    book.wait_all(LINES, DRAIN);
    other.resume();
    second.wait_all(LINES, DRAIN);
    for book in [&book, &second] {
        book.lock().verdict(LINES).assert_perfect(LINES);
    }
    assert_eq!(agent.stop(Duration::from_secs(10)).code, Some(0));
    journald.stop();
}

/// Lines that belong together are joined, also over kills.
#[test]
fn blocks_come_whole_over_kills() {
    const BLOCKS: usize = 400;
    let loki = kept();
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "");
    let stages = "[ { multiline: { firstline: '^begin', max_wait_time: 2s } } ]";
    let config = Config::new(&loki.url())
        .source(source(journald.directory(), ", matches: LEDGER=yes").option("stages", stages))
        .endpoint("batch_size", "16KiB");
    let mut agent = rig.start(&config);
    for block in 0..BLOCKS {
        for part in ["begin", "more", "end"] {
            journald.log(&[&format!("MESSAGE={part} {block}"), "LEDGER=yes"]);
            if block % 100 == 50 && part == "more" {
                agent.kill();
                agent = rig.start(&config);
            }
        }
    }
    let want: Vec<String> = (0..BLOCKS).map(|block| format!("begin {block}\nmore {block}\nend {block}")).collect();
    let shown = || -> Vec<String> {
        loki.entries().into_iter().filter(|entry| !entry.repeated).map(|entry| entry.line).collect()
    };
    let _ = holds_within(DRAIN, || shown().len() >= BLOCKS);
    assert_eq!(shown(), want);
    loki.assert_no_defects();
    drop(agent);
    journald.stop();
}

/// What journald removed before it was read is counted; the rest comes.
#[test]
fn what_is_removed_unread_is_counted() {
    const LINES: u64 = 60_000;
    let loki = Loki::start();
    let book = Book::keep(&loki, "vacuum");
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "RuntimeMaxUse=6M\nRuntimeMaxFileSize=1M\n");
    let config = Config::new(&loki.url()).source(source(journald.directory(), ", matches: LEDGER=yes"));
    let agent = rig.start(&config);
    let log = |n: u64| {
        let mut body = String::from("MESSAGE=");
        let mut text = String::new();
        line("vacuum", n, 0, &mut text);
        body.push_str(&text);
        journald.log(&[&body, "LEDGER=yes"]);
    };
    (0..1000).for_each(log);
    wait_until("the first entries", DRAIN, || book.seen() == 1000);
    agent.freeze();
    (1000..LINES).for_each(log);
    agent.thaw();
    wait_until("the last entry", DRAIN, || book.lock().has(LINES - 1));
    let verdict = book.lock().verdict(LINES);
    let lost = "lugger_journal_lost_entries_total{reason=\"vacuumed\"}";
    wait_until("the count", DRAIN, || agent.metric(lost).is_some_and(|lost| lost >= verdict.missing as f64));
    let lost = agent.metric(lost).unwrap();
    println!("{} missing, {lost} counted", verdict.missing);
    assert!(verdict.missing > 1000 && verdict.duplicated_visible == 0 && verdict.torn == 0);
    // Journald's own entries are among them.
    assert!(lost <= verdict.missing as f64 + 100.0);
    assert!(agent.stderr().contains("give the journal more room"));
    loki.assert_no_defects();
    journald.stop();
}

#[test]
fn without_rights_one_message_names_the_group() {
    let loki = kept();
    let rig = Rig::unprivileged();
    let journald = Journald::start(rig.path(), true, "");
    journald.log(&["MESSAGE=secret"]);
    wait_until("the entry's file", DRAIN, || !journald::files(journald.directory()).is_empty());
    let machine = std::fs::read_dir(journald.directory()).unwrap().next().unwrap().unwrap().path();
    let mode = |bits: u32| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&machine, std::fs::Permissions::from_mode(bits)).unwrap();
    };
    mode(0o700);
    let config = Config::new(&loki.url()).source(source(journald.directory(), ""));
    let agent = rig.start(&config);
    wait_until("the message", DRAIN, || agent.stderr().contains("systemd-journal"));
    let status = agent.ask("GET", "/api/status", &[]);
    assert!(status.body.contains("systemd-journal"), "{}", status.body);
    let told = agent.stderr().matches("add the user that lugger runs as to the group systemd-journal").count();
    assert_eq!(told, 1, "{}", agent.stderr());
    // Once it may, it reads.
    for file in journald::files(journald.directory()) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    mode(0o755);
    wait_until("the entries", DRAIN, || loki.lines().iter().any(|line| line == "secret"));
    journald.stop();
}

/// Entries that are older than `max_age` are passed over at the first start, and never again.
#[test]
fn the_first_start_goes_back_as_far_as_is_wanted() {
    let loki = kept();
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "");
    journald.log(&["MESSAGE=old", "T=1"]);
    wait_until("the entry to be written", DRAIN, || {
        let output = std::process::Command::new("journalctl")
            .args(["--quiet", "--output=cat", "T=1", "--directory"])
            .arg(journald.directory())
            .output()
            .unwrap();
        !output.stdout.is_empty()
    });
    std::thread::sleep(Duration::from_millis(10));
    let config = Config::new(&loki.url()).source(source(journald.directory(), ", matches: T=1, max_age: 0s"));
    let mut agent = rig.start(&config);
    journald.log(&["MESSAGE=new", "T=1"]);
    wait_lines(&loki, &["new"]);
    assert_eq!(agent.stop(Duration::from_secs(10)).code, Some(0));
    journald.log(&["MESSAGE=meanwhile", "T=1"]);
    std::thread::sleep(Duration::from_millis(10));
    let agent = rig.start(&config);
    wait_lines(&loki, &["new", "meanwhile"]);
    drop(agent);
    journald.stop();
}

/// The batch wait, which does not count: the shortest that can be configured.
const WAIT: Duration = Duration::from_millis(10);

/// How soon entries are on their way; and what nothing to do costs.
#[test]
fn entries_are_on_their_way_soon_and_idling_costs_nothing() {
    let loki = Loki::start();
    let seen: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let own = Arc::clone(&seen);
    loki.observe(move |entry| {
        own.lock().unwrap().insert(entry.line.to_owned(), entry.arrived);
    });
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "");
    let config = Config::new(&loki.url()).source(source(journald.directory(), "")).endpoint("batch_wait", "10ms");
    let agent = rig.start(&config);
    let measure = |count: u64, pause: fn(u64) -> u64, name: &str| {
        let mut took: Vec<Duration> = Vec::new();
        for n in 0..count {
            let text = format!("{name} {n}");
            let start = Instant::now();
            journald.log(&[&format!("MESSAGE={text}")]);
            wait_until("the entry", DRAIN, || seen.lock().unwrap().contains_key(&text));
            took.push(seen.lock().unwrap()[&text].saturating_duration_since(start).saturating_sub(WAIT));
            std::thread::sleep(Duration::from_millis(pause(n)));
        }
        took.sort();
        let at = |percent: usize| took[(took.len() - 1) * percent / 100];
        println!("{name}: log to request p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100));
        (at(50), at(99))
    };
    let (p50, p99) = measure(200, |n| n * 7 % 200, "busy");
    let (first50, first99) = measure(8, |_| 2_500, "after a pause");
    assert!(p50 < Duration::from_millis(1000) && p99 < Duration::from_millis(4000));
    assert!(first50 < Duration::from_millis(4000) && first99 < Duration::from_millis(8000));
    let switches = || -> u64 {
        let mut sum = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap() {
            let path = task.unwrap().path();
            if std::fs::read_to_string(path.join("comm")).unwrap().trim() == "lugger-journal" {
                let status = std::fs::read_to_string(path.join("status")).unwrap();
                let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
                sum += count.unwrap().trim().parse::<u64>().unwrap();
            }
        }
        sum
    };
    // Beyond the time for which it looks by itself.
    let asleep = || {
        let before = switches();
        std::thread::sleep(Duration::from_secs(3));
        switches() <= before + 2
    };
    let took = wait_until("the thread to sleep", DRAIN, asleep);
    println!("it looks for new entries for another {took:?}");
    let (before, cpu) = (switches(), agent.cpu());
    std::thread::sleep(Duration::from_secs(10));
    let (woken, cost) = (switches() - before, agent.cpu() - cpu);
    println!("idle for 10 s: {woken} wake-ups of the journal's thread, {cost:?} of CPU time of the process");
    assert!(woken <= 5, "{woken} wake-ups");
    // What a unit logs after silence is seen before journald tells of it, which is what journalctl waits for.
    let mut follower = std::process::Command::new("journalctl")
        .args(["--follow", "--merge", "--lines=0", "--output=cat", "--quiet", "--directory"])
        .arg(journald.directory())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("journalctl is there");
    let told: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let (own, output) = (Arc::clone(&told), std::io::BufReader::new(follower.stdout.take().unwrap()));
    let reader = std::thread::spawn(move || {
        for line in output.lines() {
            own.lock().unwrap().insert(line.unwrap(), Instant::now());
        }
    });
    let mut stdout = journald.stdout_of("service", "some.service");
    let soon = (0..3).any(|n| {
        wait_until("the thread to sleep", DRAIN, asleep);
        let (text, start) = (format!("after silence {n}"), Instant::now());
        writeln!(stdout, "{text}").unwrap();
        let has_both = || seen.lock().unwrap().contains_key(&text) && told.lock().unwrap().contains_key(&text);
        wait_until("the entry", DRAIN, has_both);
        let (seen, told) = (seen.lock().unwrap()[&text], told.lock().unwrap()[&text]);
        println!("after silence, of a unit: {:?}, journalctl {:?}", seen - start, told - start);
        seen < told
    });
    follower.kill().unwrap();
    follower.wait().unwrap();
    reader.join().unwrap();
    assert!(soon, "only journald's own notice woke it");
    journald.stop();
}

/// Promtail's place in the journal is taken over.
#[test]
fn a_cursor_of_promtail_is_gone_on_from() {
    let loki = kept();
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "");
    for n in 0..10 {
        journald.log(&[&format!("MESSAGE=entry {n}"), "T=1"]);
    }
    let show = || {
        let output = std::process::Command::new("journalctl")
            .args(["--quiet", "--output=export", "T=1", "--directory"])
            .arg(journald.directory())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    wait_until("the entries to be written", DRAIN, || show().contains("entry 9"));
    let text = show();
    let cursors: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("__CURSOR=")).collect();
    assert_eq!(cursors.len(), 10);
    let positions = rig.path().join("positions.yaml");
    std::fs::write(&positions, format!("positions:\n  cursor-jobs: \"{}\"\n", cursors[4])).unwrap();
    let promtail = |http: std::net::SocketAddr| {
        format!(
            "positions: {{ filename: {} }}\nclients: [{{ url: \"{}\", batchwait: 50ms }}]\nserver: {{ http_listen_address: {}, http_listen_port: {} }}\n\
             scrape_configs:\n  - job_name: jobs\n    journal: {{ path: {}, matches: T=1, labels: {{ job: j }} }}\n",
            positions.display(),
            loki.url(),
            http.ip(),
            http.port(),
            journald.directory().display()
        )
    };
    let mut agent = rig.start_text(promtail);
    wait_lines(&loki, &["entry 5", "entry 6", "entry 7", "entry 8", "entry 9"]);
    assert_eq!(agent.stop(Duration::from_secs(10)).code, Some(0));
    // From then on it has its own.
    journald.log(&["MESSAGE=entry 10", "T=1"]);
    let _agent = rig.start_text(promtail);
    wait_lines(&loki, &["entry 5", "entry 6", "entry 7", "entry 8", "entry 9", "entry 10"]);
    journald.stop();
}

/// Journald writes a file for each user, and may number all of them in one row: a cursor never passes what comes to light a moment later.
#[test]
fn files_of_several_users_come_in_one_order_over_kills() {
    const USERS: u64 = 3;
    const EACH: u64 = 15_000;
    const KILLS: u64 = 5;
    let loki = Loki::start();
    let book = Book::keep(&loki, "users");
    let rig = Rig::new();
    let journald = Journald::start_persistent(rig.path(), true, "SystemMaxFileSize=1M\nSystemMaxUse=200M\n");
    let rules = "[ { source_labels: [__journal__uid], target_label: uid } ]";
    let config = Config::new(&loki.url())
        .source(source(journald.directory(), ", matches: SYSLOG_IDENTIFIER=test").option("relabel_configs", rules));
    std::fs::set_permissions(rig.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut agent = rig.start(&config);
    let mut loggers = Vec::new();
    for user in 0..USERS {
        let (mut text, path) = (String::new(), rig.log(&format!("user-{user}")));
        for n in 0..EACH {
            line("users", user * EACH + n, 0, &mut text);
            text.push('\n');
        }
        std::fs::write(&path, text).unwrap();
        loggers.push(journald.log_as(if user == 0 { 0 } else { 1000 + user as u32 }, &path));
    }
    let late = |agent: &support::agent::Agent| agent.metric("lugger_journal_lost_entries_total").unwrap();
    for part in 1..=KILLS {
        wait_until("a part of the entries", DRAIN, || book.seen() >= USERS * EACH * part / (KILLS + 1));
        assert_eq!(late(&agent), 0.0);
        agent.kill();
        agent = rig.start(&config);
    }
    for mut logger in loggers {
        assert!(logger.wait().unwrap().success());
    }
    book.wait_all(USERS * EACH, DRAIN);
    assert_eq!(late(&agent), 0.0);
    let names: std::collections::HashSet<String> = journald::files(journald.directory())
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().split(['@', '.']).next().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), USERS as usize, "{names:?}");
    assert_eq!(book.lock().streams().len(), USERS as usize);
    let verdict = book.lock().verdict(USERS * EACH);
    let largest = loki.totals().largest_entries;
    println!("{verdict:?}; largest request {largest} entries");
    // A kill costs what was on its way: the request that was being answered, and the one behind it.
    verdict.assert_perfect(KILLS * largest * 2);
    loki.assert_no_defects();
    journald.stop();
}

#[test]
fn a_rate_holds_back_or_drops() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "rate");
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "");
    let part = |rate: &'static str| source(journald.directory(), ", matches: LEDGER=yes").rate(rate);
    let config = Config::new(&loki.url());
    let log = |range: std::ops::Range<u64>| {
        for n in range {
            let (mut body, mut text) = (String::from("MESSAGE="), String::new());
            line("rate", n, 0, &mut text);
            body.push_str(&text);
            journald.log(&[&body, "LEDGER=yes"]);
        }
    };
    let agent = rig.start(&config.clone().source(part("{ lines: 500, burst: 500ms }")));
    let start = Instant::now();
    log(0..2000);
    book.wait_all(2000, DRAIN);
    // 250 come at once, the others at the rate.
    assert!(start.elapsed() > Duration::from_millis(3_000), "{:?}", start.elapsed());
    rig.change(&agent, &config.source(part("{ lines: 500, burst: 500ms, when_over: drop }")));
    log(2000..6000);
    let dropped = "lugger_source_dropped_lines_total{reason=\"rate\"}";
    wait_until("each to arrive or be counted", DRAIN, || {
        book.seen() + agent.metric(dropped).unwrap_or_default() as u64 == 6000
    });
    assert!(agent.metric(dropped) > Some(1000.0));
    loki.assert_no_defects();
    journald.stop();
}

/// A dry run shows what would be sent of a journal, labels and times as they would be.
#[test]
fn a_dry_run_shows_entries_as_they_would_be_sent() {
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "");
    journald.log(&["MESSAGE=level=warn one", "LEDGER=yes", "PRIORITY=4"]);
    let rules =
        "[{ source_labels: [__journal_priority_keyword], target_label: keyword }, { regex: job, action: labeldrop }]";
    let config = Config::new("http://127.0.0.1:1").source(
        source(journald.directory(), ", matches: LEDGER=yes").option("relabel_configs", rules).option(
            "stages",
            "[{ drop: { older_than: 2h } }, { logfmt: { mapping: { level: } } }, { labels: { level: } }]",
        ),
    );
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
    let told =
        Command::new("journalctl").arg("-D").arg(journald.directory()).args(["-o", "export", "LEDGER=yes"]).output();
    let told = String::from_utf8(told.unwrap().stdout).unwrap();
    let time = told.lines().find_map(|line| line.strip_prefix("__REALTIME_TIMESTAMP=")).unwrap();
    let time = format_rfc3339_ns(time.parse::<i64>().unwrap() * 1000);
    assert_eq!(shown, format!("{time} {{keyword=\"warning\", level=\"warn\"}} level=warn one\n"));
    dry.kill().unwrap();
    dry.wait().unwrap();
}
