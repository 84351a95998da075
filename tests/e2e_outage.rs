//! Outages at full write speed: whatever the receiver does, memory stays bounded and everything arrives afterwards, in order.
//!
//! Each fault lasts `LUGGER_OUTAGE_S` seconds (2). For minutes: `LUGGER_OUTAGE_S=180 cargo test --release --test e2e_outage`.
//! The program that writes then leaves `LUGGER_OUTAGE_S` times some MiB behind in the temporary directory.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::agent::{Config, FileSource, Rig, names};
use support::ledger::Book;
use support::loki::{Answer, Loki, Options};
use support::wait::{holds_within, wait_until};
use support::writer::Writer;

const DRAIN: Duration = Duration::from_secs(180);
/// The default of `limits.memory`.
const MEMORY: u64 = 64 * 1024 * 1024;
/// Lines a second that are written all the time, 200 bytes each.
const RATE: u64 = 20_000;
/// Timeouts of requests. Where nothing may be sent twice, none ends because the host is slow.
const HASTY: &str = "2s";
const PATIENT: &str = "60s";
/// For requests that are to end by their timeout alone: no other one takes so long, however busy the host is.
const ENDED: &str = "10s";

fn duration() -> Duration {
    let seconds = std::env::var("LUGGER_OUTAGE_S").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    Duration::from_secs(seconds)
}

/// Runs one outage under load: `begin` breaks the receiver, `end` mends it. `repeats`: whether the fault makes Loki store twice.
#[track_caller]
fn outage(name: &str, begin: impl FnOnce(&Loki), end: impl FnOnce(&Loki), repeats: bool, timeout: &str) {
    let loki = Loki::start();
    let book = Book::keep(&loki, name);
    let rig = Rig::new();
    let path = rig.log("app.log");
    let config = Config::new(&loki.url()).endpoint("timeout", timeout).source(FileSource::new("app", &path));
    let mut writer = Writer::new(&path, name).with_line_bytes(200);
    let agent = rig.start(&config);
    agent.wait_ready();
    writer.write(1_000);
    book.wait_all(1_000, DRAIN);

    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (over, writer) = (&over, &mut writer);
        scope.spawn(move || {
            let mut rotated = Instant::now();
            while !over.load(Ordering::Acquire) {
                writer.write_at(RATE / 10, RATE);
                if rotated.elapsed() > Duration::from_secs(1) {
                    writer.rename_rotate(10);
                    rotated = Instant::now();
                }
            }
        });
        begin(&loki);
        // This is how long the outage lasts, and nothing that is waited for.
        std::thread::sleep(duration());
        end(&loki);
        over.store(true, Ordering::Release);
    });

    book.wait_all(writer.written(), DRAIN);
    let verdict = book.lock().verdict(writer.written());
    verdict.assert_perfect(if repeats { u64::MAX } else { 0 });
    loki.assert_no_defects();
    let (_, peak) = agent.memory();
    println!("{name}: {} lines, peak {} KiB resident", verdict.written, peak / 1024);
    assert!(peak <= MEMORY, "{name}: {peak} bytes resident at the peak, {MEMORY} are allowed");
    wait_until("the agent to be ready again", Duration::from_secs(30), || agent.is_ready());
}

#[track_caller]
fn fault(name: &str, answer: Answer, repeats: bool) {
    let timeout = if repeats { HASTY } else { PATIENT };
    outage(name, move |loki| loki.script(move |_| answer.clone()), Loki::behave, repeats, timeout);
}

/// The port is closed.
#[test]
fn down() {
    outage("down", Loki::pause, Loki::resume, true, HASTY);
}

/// The receiver reads 200 KB a second: far below what is written.
#[test]
fn slow_reader() {
    fault("slow-reader", Answer::SlowRead(200_000), true);
}

/// Each answer takes a second.
#[test]
fn slow_answers() {
    fault("slow-answers", Answer::Late(Duration::from_secs(1)), false);
}

/// No answer at all: the request's timeout ends it.
#[test]
fn hanging() {
    // A request that hung was not read, so nothing of it is stored; the pause ends the ones that still hang.
    outage(
        "hanging",
        |loki| loki.script(|_| Answer::Hang),
        |loki| {
            loki.behave();
            loki.pause();
            loki.resume();
        },
        false,
        ENDED,
    );
}

/// Every status of the response table that means "not stored, try again".
#[test]
fn row_23_refusing_with_each_status() {
    for status in [260, 401, 403, 404, 429, 500, 502, 503, 504] {
        fault(&format!("status-{status}"), Answer::status(status), false);
    }
}

/// 429 with `Retry-After` is not asked again before its time.
#[test]
fn retry_after_is_honoured() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "retry-after");
    let rig = Rig::new();
    let path = rig.log("app.log");
    loki.queue([Answer::Status(429, vec![("Retry-After", "1".into())], "ingestion rate limit exceeded".into())]);
    let config = Config::new(&loki.url()).source(FileSource::new("app", &path));
    Writer::new(&path, "retry-after").write(10);
    let agent = rig.start(&config);
    book.wait_all(10, DRAIN);
    let arrivals = loki.totals().arrivals;
    assert!(arrivals[1] - arrivals[0] >= Duration::from_millis(950), "{:?}", arrivals[1] - arrivals[0]);
    drop(agent);
}

/// The connection is reset before, in the middle of and after the body. After the body means: stored, but not known to be.
#[test]
fn resetting() {
    fault("reset-at-once", Answer::ResetAtOnce, false);
    fault("reset-mid-body", Answer::ResetMidBody, false);
    fault("store-then-reset", Answer::StoreThenReset, true);
    fault("store-then-500", Answer::StoreThenStatus(500), true);
}

/// Every fault in turn, request by request.
#[test]
fn everything_at_once() {
    outage(
        "everything",
        |loki| {
            loki.script(|arrival| match arrival.number % 11 {
                0 => Answer::status(500),
                1 => Answer::ResetMidBody,
                2 => Answer::status(429),
                3 => Answer::StoreThenReset,
                4 => Answer::Late(Duration::from_millis(50)),
                5 => Answer::ResetAtOnce,
                6 => Answer::StoreThenStatus(503),
                7 => Answer::SlowRead(2_000_000),
                _ => Answer::AsLoki,
            });
        },
        Loki::behave,
        true,
        HASTY,
    );
}

/// "Message larger than max" splits the batch instead of trying the same size for ever, and so does 413.
#[test]
fn too_large_is_split() {
    let loki = Loki::start_with(Options { message_bytes: 100_000, ..Options::default() });
    let book = Book::keep(&loki, "split");
    loki.script(|arrival| if arrival.number == 0 { Answer::status(413) } else { Answer::AsLoki });
    let rig = Rig::new();
    let path = rig.log("app.log");
    let mut writer = Writer::new(&path, "split").with_line_bytes(1_000);
    writer.write(5_000);
    let config = Config::new(&loki.url()).source(FileSource::new("app", &path));
    let agent = rig.start(&config);
    book.wait_all(5_000, DRAIN);
    book.lock().verdict(5_000).assert_perfect(0);
    loki.assert_no_defects();
    drop(agent);
}

/// A partial 400: the entries that Loki refused are counted and never sent again, the others are stored once.
#[test]
fn refused_entries_are_counted_and_not_sent_again() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "partial");
    let refuse: Arc<dyn Fn(&str) -> bool + Send + Sync> =
        Arc::new(|line| line.contains(" n=7 ") || line.contains(" n=8 "));
    loki.queue([Answer::RefuseLines(refuse)]);
    let rig = Rig::new();
    let path = rig.log("app.log");
    let mut writer = Writer::new(&path, "partial");
    writer.write(100);
    let config = Config::new(&loki.url()).source(FileSource::new("app", &path));
    let agent = rig.start(&config);
    book.wait_all(98, DRAIN);
    writer.write(100);
    book.wait_all(198, DRAIN);
    let verdict = book.lock().verdict(200);
    assert_eq!((verdict.missing, verdict.missing_first.as_slice()), (2, [7, 8].as_slice()));
    assert_eq!((verdict.duplicated_raw, verdict.torn), (0, 0));
    wait_until("the refused entries to be counted", Duration::from_secs(5), || {
        agent.metric(names::REFUSED).is_some_and(|n| n >= 2.0)
    });
}

/// One stream whose labels Loki does not take is found alone; the other streams of the batch are stored.
#[test]
fn a_stream_that_is_refused_does_not_take_others_with_it() {
    let loki = Loki::start_with(Options { keep: true, ..Options::default() });
    loki.script(|_| Answer::RefuseLabels("poison"));
    let rig = Rig::new();
    for name in ["a.log", "poison.log", "b.log"] {
        std::fs::write(rig.log(name), format!("{name} one\n{name} two\n")).unwrap();
    }
    let config = Config::new(&loki.url()).source(FileSource::new("app", rig.log("*.log")));
    let agent = rig.start(&config);
    wait_until("the good streams to arrive", Duration::from_secs(30), || loki.distinct() >= 4);
    wait_until("the refused entries to be counted", Duration::from_secs(30), || {
        agent.metric(names::REFUSED).is_some_and(|n| n >= 2.0)
    });
    let mut lines = loki.lines();
    lines.sort();
    assert_eq!(lines, ["a.log one", "a.log two", "b.log one", "b.log two"]);
    loki.assert_no_defects();
}

/// SIGTERM and SIGINT in the middle of an outage: the agent ends within 5 s with success, and a later start delivers what was left.
#[test]
fn row_21_signals_during_an_outage_stop_in_time_and_lose_nothing() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "signals");
    let rig = Rig::new();
    let path = rig.log("app.log");
    let config = Config::new(&loki.url()).source(FileSource::new("app", &path)).endpoint("timeout", "30s");
    let mut writer = Writer::new(&path, "signals");
    for (round, hang) in [true, false, true, false].into_iter().enumerate() {
        let mut agent = rig.start(&config);
        book.wait_all(writer.written(), DRAIN);
        let before = loki.requests();
        if hang {
            loki.script(|_| Answer::Hang);
        } else {
            loki.pause();
        }
        writer.write(20_000);
        let met = || loki.requests() > before || agent.metric(names::RETRIES).is_some_and(|n| n > 0.0);
        assert!(holds_within(Duration::from_secs(20), met).is_some(), "the agent did not notice the outage");
        let exit = if round < 2 { agent.stop(Duration::from_secs(6)) } else { agent.interrupt(Duration::from_secs(6)) };
        assert_eq!(exit.code, Some(0), "round {round}");
        assert!(exit.took <= Duration::from_secs(5), "round {round} took {:?}", exit.took);
        loki.behave();
        loki.pause();
        loki.resume();
    }
    let agent = rig.start(&config);
    book.wait_all(writer.written(), DRAIN);
    book.lock().verdict(writer.written()).assert_perfect(0);
    loki.assert_no_defects();
    drop(agent);
}
