//! `kill -9` at any moment: nothing is lost, and what is sent again is the same to the last byte, so that Loki keeps one.
//!
//! `LUGGER_KILLS` sets the number of kills (50), `LUGGER_SEED` the moments; the seed is printed.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::agent::{Config, FileSource, Rig};
use support::ledger::Book;
use support::loki::{Answer, Loki};
use support::random::Random;
use support::wait::{holds_within, now_ns};
use support::writer::Writer;

const LINES: u64 = 200_000;
const DRAIN: Duration = Duration::from_secs(120);

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The load of the rotation test under 50 kills at random moments, with renames in between and a receiver that now and then stores
/// a batch without saying so: none missing, none torn, none that Loki would show twice. Each kill makes the agent send again at most
/// what was in flight.
#[test]
fn fifty_kills_lose_nothing_and_repeat_nothing_visibly() {
    let kills = env("LUGGER_KILLS").unwrap_or(50);
    let seed = env("LUGGER_SEED").unwrap_or_else(|| now_ns().unsigned_abs());
    println!("LUGGER_KILLS={kills} LUGGER_SEED={seed}");
    let mut random = Random(seed | 1);

    let loki = Loki::start();
    let book = Book::keep(&loki, "kill");
    // A batch that is stored but not acknowledged is the hardest moment; make it happen more often than chance would.
    loki.script(|arrival| match arrival.number % 13 {
        5 => Answer::Late(Duration::from_millis(30)),
        9 => Answer::StoreThenStatus(500),
        11 => Answer::StoreThenReset,
        _ => Answer::AsLoki,
    });
    let rig = Rig::new();
    let path = rig.log("app.log");
    let config = Config::new(&loki.url())
        .source(FileSource::new("app", &path))
        .endpoint("batch_size", "64KiB")
        .endpoint("batch_wait", "20ms");
    let mut writer = Writer::new(&path, "kill");

    let done = AtomicBool::new(false);
    let mut agent = std::thread::scope(|scope| {
        let (done, writer) = (&done, &mut writer);
        // The load lasts as long as the kills do: at a rate that spreads the lines over them.
        let rate = LINES * 1000 / (kills.max(1) * 250).max(1000);
        scope.spawn(move || {
            // Rotation asks nobody: files come and go under the one name in the pattern also while no agent runs.
            while writer.written() < LINES {
                writer.write_at((LINES - writer.written()).min(9_000), rate);
                if writer.written() < LINES {
                    writer.rename_rotate(200);
                }
            }
            done.store(true, Ordering::Release);
        });
        for kill in 0..kills {
            let mut agent = rig.spawn(&config);
            // From "not yet up" to "well under way".
            let moment = Duration::from_millis(5 + random.below(400));
            let start = Instant::now();
            let _ = holds_within(moment, || agent.has_exited());
            assert!(!agent.has_exited(), "start {kill}: the agent ended by itself after {:?}", start.elapsed());
            agent.kill();
        }
        // The last one stays; the writer goes on only while somebody reads.
        let agent = rig.start(&config);
        assert!(holds_within(DRAIN, || done.load(Ordering::Acquire)).is_some(), "the writer did not finish");
        agent
    });

    book.wait_all(LINES, DRAIN);
    let exit = agent.stop(Duration::from_secs(5));
    assert_eq!(exit.code, Some(0));

    let verdict = book.lock().verdict(LINES);
    let totals = loki.totals();
    println!(
        "{} lines, {kills} kills: {} missing, {} torn, {} raw duplicates, {} visible; largest request {} entries",
        verdict.written,
        verdict.missing,
        verdict.torn,
        verdict.duplicated_raw,
        verdict.duplicated_visible,
        totals.largest_entries
    );
    // In flight are at most: the requests on their way and the sealed ones behind them, until the budget (a quarter of the memory limit)
    // is used up. A receiver that answers cannot have stored more than it was sent and did not acknowledge: one request for each
    // kill, and one for each answer that lied.
    let lies = totals.requests.div_ceil(13) * 2;
    let bound = (kills + lies) * totals.largest_entries * 2;
    verdict.assert_perfect(bound);
    loki.assert_no_defects();
}

/// A kill while the receiver is down: everything that was read but not stored is read again.
#[test]
fn a_kill_during_an_outage_loses_nothing() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "outage-kill");
    let rig = Rig::new();
    let path = rig.log("app.log");
    let config = Config::new(&loki.url()).source(FileSource::new("app", &path));
    let mut writer = Writer::new(&path, "outage-kill");
    let mut agent = rig.start(&config);
    agent.wait_ready();
    writer.write(5_000);
    book.wait_all(5_000, DRAIN);
    for round in 0..3 {
        let stored = book.seen();
        loki.pause();
        writer.write(5_000);
        if round == 1 {
            writer.rename_rotate(100);
            writer.write(1_000);
        }
        let tried = || agent.metric(support::agent::names::RETRIES).is_some_and(|n| n > 0.0);
        let _ = holds_within(Duration::from_secs(10), tried);
        agent.kill();
        assert_eq!(book.seen(), stored);
        loki.resume();
        agent = rig.start(&config);
        book.wait_all(writer.written(), DRAIN);
    }
    drop(agent);
    book.lock().verdict(writer.written()).assert_perfect(10_000);
    loki.assert_no_defects();
}
