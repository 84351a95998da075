//! Delivery: outages that last, endpoints that are slow, queues that must drain, and what the agent tells of itself.

use crate::support::agent::{Config, FileSource, Rig, names};
use crate::support::ledger::Book;
use crate::support::loki::{Answer, Loki};
use crate::support::wait::wait_until;
use crate::support::writer::{Writer, append_to};
use crate::{LONG, SOON, config, keeping, pushed_up_to, stop};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Outage and restart together, by `kill -9` and by SIGTERM: what was read and not stored is read again, and nothing else.
#[test]
fn row_08_an_outage_with_restarts_loses_and_repeats_nothing() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "restarts");
    let rig = Rig::new();
    let path = rig.log("a.log");
    let mut writer = Writer::new(&path, "restarts");
    writer.write(100);
    let mut agent = rig.start(&config(&loki, &rig));
    book.wait_all(100, LONG);
    loki.pause();
    for round in 0..4 {
        writer.write(1_000);
        wait_until("a failed request", SOON, || agent.metric(names::RETRIES).is_some_and(|n| n >= 1.0));
        if round % 2 == 0 {
            agent.kill();
        } else {
            agent.stop(Duration::from_secs(6));
        }
        writer.rename_rotate(10);
        agent = rig.start(&config(&loki, &rig));
    }
    loki.resume();
    book.wait_all(writer.written(), LONG);
    book.lock().verdict(writer.written()).assert_perfect(0);
    stop(agent);
}

/// One endpoint never answers; sources that go to the other one are not held up, also when the first one's memory is used up.
#[test]
fn row_22_an_endpoint_that_hangs_holds_up_no_other() {
    let (hanging, working) = (Loki::start(), Loki::start());
    hanging.script(|_| Answer::Hang);
    let book = Book::keep(&working, "working");
    let rig = Rig::new();
    let config = Config::new(&hanging.url())
        .also("second", &working.url())
        .limit("memory", "24MiB")
        .endpoint("timeout", "1m")
        .source(FileSource::new("one", rig.log("one.log")).to("first"))
        .source(FileSource::new("two", rig.log("two.log")).to("second"));
    // Far more than the memory for what is under way.
    let mut stuck = Writer::new(rig.log("one.log"), "stuck");
    stuck.write(60_000);
    let agent = rig.start(&config);
    wait_until("the first endpoint to hang", SOON, || hanging.requests() >= 1);
    let mut writer = Writer::new(rig.log("two.log"), "working");
    for _ in 0..20 {
        writer.write(500);
        book.wait_all(writer.written(), SOON);
    }
    book.lock().verdict(writer.written()).assert_perfect(0);
    assert_eq!(hanging.totals().entries, 0);
    drop(agent);
}

/// A batch that is refused sixty times in a row, with the statuses that mean "later", is still delivered, in order and once.
#[test]
fn row_23_a_batch_is_not_dropped_after_many_attempts() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "attempts");
    let rig = Rig::new();
    let statuses = [500, 503, 429, 502, 504, 401];
    loki.queue((0..60).map(|n| Answer::status(statuses[n % statuses.len()])));
    let config = config(&loki, &rig).endpoint("backoff", "{ min: 10ms, max: 10ms }");
    let mut writer = Writer::new(rig.log("a.log"), "attempts");
    writer.write(500);
    let agent = rig.start(&config);
    book.wait_all(500, LONG);
    assert!(loki.requests() > 60, "{}", loki.requests());
    book.lock().verdict(500).assert_perfect(0);
    assert_eq!(agent.metric(names::REFUSED), Some(0.0));
    stop(agent);
}

/// The names of the series, without their values.
fn series(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

/// The agent's own series are those of the configuration: a thousand files, odd names and bad content add none.
#[test]
fn row_31_files_and_lines_add_no_series() {
    let loki = Loki::start();
    let rig = Rig::new();
    append_to(&rig.log("first.log"), "one\n");
    let agent = rig.start(&config(&loki, &rig));
    wait_until("the first line", SOON, || loki.distinct() == 1);
    let before = series(&agent.metrics());
    for n in 0..1_000 {
        append_to(&rig.log(&format!("{n} \"odd\" name.log")), format!("{n}\n"));
    }
    append_to(&rig.log("bad.log"), b"\xff\xfe\xfd\n");
    wait_until("all lines", LONG, || loki.distinct() == 1_002);
    let after = series(&agent.metrics());
    assert!(before.len() > 20, "{before:#?}");
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new());
    stop(agent);
}

/// The memory for what is under way is used up again and again, and each time the endpoint returns the queue drains to nothing.
#[test]
fn row_32_a_queue_that_was_full_always_drains() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "full");
    let rig = Rig::new();
    let config = config(&loki, &rig).limit("memory", "24MiB").endpoint("batch_size", "64KiB");
    let mut writer = Writer::new(rig.log("a.log"), "full");
    let agent = rig.start(&config);
    agent.wait_ready();
    let fails = Arc::new(AtomicU64::new(0));
    for round in 0..5 {
        let seen = fails.clone();
        loki.script(move |_| {
            seen.fetch_add(1, Ordering::Relaxed);
            Answer::status(503)
        });
        // More than the quarter of the memory that batches may have.
        writer.write(70_000);
        let before = fails.load(Ordering::Relaxed);
        wait_until("more failed requests", SOON, || fails.load(Ordering::Relaxed) >= before + 3);
        wait_until("the lag to be seen", SOON, || agent.metric(names::LAG_BYTES).is_some_and(|n| n > 7e6));
        loki.behave();
        book.wait_all(writer.written(), LONG);
        wait_until("no lag", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
        assert_eq!(book.seen(), writer.written(), "round {round}");
    }
    book.lock().verdict(writer.written()).assert_perfect(0);
    stop(agent);
}

/// Repeated stops under load: each within its time, and together they lose and repeat nothing.
#[test]
fn row_21_stops_under_load_are_prompt_and_lose_nothing() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    let mut expected = Vec::new();
    for round in 0..5 {
        let agent = rig.start(&config(&loki, &rig));
        for n in 0..500 {
            append_to(&path, format!("{round} {n}\n"));
            expected.push(format!("{round} {n}"));
        }
        stop(agent);
    }
    let agent = rig.start(&config(&loki, &rig));
    assert_eq!(pushed_up_to(&loki, "4 499"), expected);
    stop(agent);
}
