//! Several endpoints, none waiting for another: what one has stored and another does not take goes to disk, its source moves on, and the
//! other gets it later, once and in order.
//!
//! `LUGGER_KILLS` sets the number of kills (16), `LUGGER_SEED` the moments; the seed is printed.

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::agent::{Agent, Config, FileSource, Rig};
use support::ledger::Book;
use support::loki::{Answer, Loki};
use support::random::Random;
use support::wait::{holds_within, now_ns, wait_until};
use support::writer::Writer;

const DRAIN: Duration = Duration::from_secs(180);
/// `limits.memory` of these tests: the smallest.
const MEMORY: u64 = 24 * 1024 * 1024;
/// What may be under way: a quarter of it.
const IN_FLIGHT: u64 = MEMORY / 4;

/// Two endpoints and what they have got.
struct Pair {
    near: Loki,
    far: Loki,
    near_book: Book,
    far_book: Book,
    rig: Rig,
    run: &'static str,
}

impl Pair {
    fn new(run: &'static str) -> Pair {
        let (near, far) = (Loki::start(), Loki::start());
        let (near_book, far_book) = (Book::keep(&near, run), Book::keep(&far, run));
        Pair { near, far, near_book, far_book, rig: Rig::new(), run }
    }

    fn config(&self) -> Config {
        Config::new(&self.near.url())
            .also("far", &self.far.url())
            .limit("memory", "24MiB")
            .source(FileSource::new("app", self.rig.log("app.log")))
    }

    /// Lines of 1000 bytes that snappy does not make smaller.
    fn writer(&self) -> Writer {
        Writer::new(self.rig.log("app.log"), self.run).with_line_bytes(1_000)
    }

    /// Segments of the far endpoint's spool, oldest first.
    fn segments(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.rig.state().join("spool").join("far")) else { return Vec::new() };
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        found.retain(|path| path.file_name().is_some_and(|name| name != "position"));
        found.sort();
        found
    }

    #[track_caller]
    fn assert_all(&self, written: u64, raw_allowed: u64) {
        self.near_book.wait_all(written, DRAIN);
        self.far_book.wait_all(written, DRAIN);
        self.near_book.lock().verdict(written).assert_perfect(raw_allowed);
        self.far_book.lock().verdict(written).assert_perfect(raw_allowed);
        self.near.assert_no_defects();
        self.far.assert_no_defects();
    }
}

fn metric(agent: &Agent, name: &str) -> f64 {
    agent.metric(name).unwrap_or(-1.0)
}

/// One endpoint is away while ten times as much is written as fits into memory: the other gets everything at once, files are rotated and
/// deleted meanwhile, memory stays within its bound; then the first one is back and gets everything.
#[test]
fn an_endpoint_that_is_away_holds_up_nobody() {
    let pair = Pair::new("away");
    let mut writer = pair.writer();
    let agent = pair.rig.start(&pair.config());
    writer.write(1_000);
    pair.assert_all(1_000, 0);
    pair.far.pause();
    let rounds = 10 * IN_FLIGHT / 8_000_000 + 1;
    for _ in 0..rounds {
        writer.write(8_000);
        pair.near_book.wait_all(writer.written(), DRAIN);
        // A file that is deleted is let go as soon as it is read: nobody needs it any more.
        writer.delete_recreate(0);
    }
    assert_eq!(pair.far_book.seen(), 1_000);
    let on_disk = metric(&agent, "lugger_spool_bytes{endpoint=\"far\"}");
    assert!(on_disk > 5.0 * IN_FLIGHT as f64, "{on_disk} bytes are in the spool");
    assert!(metric(&agent, "lugger_spool_frames{endpoint=\"far\"}") > 0.0);
    assert!(metric(&agent, "lugger_spool_oldest_timestamp_seconds{endpoint=\"far\"}") > 0.0);
    assert_eq!(metric(&agent, "lugger_spool_bytes{endpoint=\"first\"}"), 0.0);
    wait_until("the deleted files to be let go", Duration::from_secs(60), || agent.open_files(&pair.rig.logs()) <= 1);
    pair.far.resume();
    pair.assert_all(writer.written(), 0);
    let peak = agent.peak_memory();
    println!("{} bytes were in the spool; peak {} KiB resident", on_disk, peak / 1024);
    assert!(peak <= MEMORY, "{peak} bytes resident at the peak, {MEMORY} are allowed");
    wait_until("the spool to be empty", DRAIN, || metric(&agent, "lugger_spool_frames") == 0.0);
    wait_until("its files to be removed", DRAIN, || pair.segments().is_empty());
    assert_eq!(metric(&agent, "lugger_spool_dropped_frames_total"), 0.0);
}

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// `kill -9` at random moments, while the spool is written and while it is sent: none missing, none that Loki would show twice, all in
/// order. What was appended and not settled is read from the file once more, and is the same then.
#[test]
fn kills_while_spooling_and_while_sending_cost_nothing() {
    let kills = env("LUGGER_KILLS").unwrap_or(16);
    let seed = env("LUGGER_SEED").unwrap_or_else(|| now_ns().unsigned_abs());
    println!("LUGGER_KILLS={kills} LUGGER_SEED={seed}");
    let mut random = Random(seed | 1);
    let pair = Pair::new("kills");
    let config = pair.config().endpoint("batch_size", "64KiB").endpoint("batch_wait", "20ms");
    let mut writer = pair.writer();
    let over = AtomicBool::new(false);
    let mut spooled = 0;
    std::thread::scope(|scope| {
        let (over, writer) = (&over, &mut writer);
        scope.spawn(move || {
            let mut rotated = Instant::now();
            while !over.load(Ordering::Acquire) {
                writer.write_at(500, 5_000);
                if rotated.elapsed() > Duration::from_secs(1) {
                    writer.rename_rotate(10);
                    rotated = Instant::now();
                }
            }
        });
        for kill in 0..kills {
            // Four times it is written to, then four times it is sent from.
            let away = kill % 8 < 4;
            if away {
                pair.far.pause();
            } else {
                pair.far.script(|_| Answer::Late(Duration::from_millis(5)));
                pair.far.resume();
            }
            let mut agent = pair.rig.spawn(&config);
            let moment = Duration::from_millis(50 + random.below(if away { 1500 } else { 800 }));
            let _ = holds_within(moment, || agent.has_exited());
            assert!(!agent.has_exited(), "start {kill}: the agent ended by itself");
            agent.kill();
            spooled += u64::from(away && !pair.segments().is_empty());
        }
        over.store(true, Ordering::Release);
    });
    pair.far.behave();
    pair.far.resume();
    let mut agent = pair.rig.start(&config);
    pair.assert_all(writer.written(), u64::MAX);
    wait_until("the spool to be empty", DRAIN, || metric(&agent, "lugger_spool_frames") == 0.0);
    assert_eq!(agent.stop(Duration::from_secs(6)).code, Some(0));
    let repeated = pair.far_book.lock().duplicated_raw();
    println!("{} lines; the spool was in use at {spooled} kills; {repeated} raw duplicates", writer.written());
    assert!(spooled > 0, "no kill met the spool");
}

/// Where the spool has no room the source waits, and nothing is lost.
#[test]
fn a_spool_that_is_full_makes_its_sources_wait_and_no_others() {
    let pair = Pair::new("full");
    let config = pair.config().limit("spool", "16MiB");
    let config = config.source(FileSource::new("other", pair.rig.log("other.log")).to("first"));
    let mut writer = pair.writer();
    pair.far.pause();
    let agent = pair.rig.start(&config);
    // Eight for the disk, six for the memory, and as much again.
    writer.write(30_000);
    wait_until("the spool to be full", DRAIN, || metric(&agent, "lugger_spool_full_total{endpoint=\"far\"}") > 1.0);
    wait_until("the sources to wait", DRAIN, || metric(&agent, "lugger_in_flight_bytes") >= IN_FLIGHT as f64 / 2.0);
    Writer::new(pair.rig.log("other.log"), "other").write(100);
    wait_until("the other source to be stored", DRAIN, || {
        metric(&agent, "lugger_source_lines_total{source=\"other\"}") == 100.0
            && metric(&agent, "lugger_source_lag_bytes{source=\"other\"}") == 0.0
    });
    assert!(pair.near_book.seen() < writer.written(), "the source did not wait");
    assert!(metric(&agent, "lugger_spool_bytes{endpoint=\"far\"}") <= 8.0 * 1024.0 * 1024.0);
    assert_eq!(agent.stderr().matches("the spool takes nothing").count(), 1, "{}", agent.stderr());
    pair.far.resume();
    pair.near_book.wait_all(writer.written(), DRAIN);
    pair.far_book.wait_all(writer.written(), DRAIN);
    pair.far_book.lock().verdict(writer.written()).assert_perfect(0);
    assert_eq!(metric(&agent, "lugger_spool_dropped_frames_total"), 0.0);
}

/// Writes lines with one endpoint away and stops the agent. The near one has everything; the rest is on disk, so the log goes away.
fn stop_with_a_spool(pair: &Pair, lines: u64) {
    pair.far.pause();
    let mut agent = pair.rig.start(&pair.config());
    pair.writer().write(lines);
    pair.near_book.wait_all(lines, DRAIN);
    wait_until("the outage to be seen", DRAIN, || metric(&agent, "lugger_endpoint_retries_total") > 0.0);
    let exit = agent.stop(Duration::from_secs(6));
    assert_eq!(exit.code, Some(0));
    assert!(exit.took <= Duration::from_secs(5), "the stop took {:?}", exit.took);
    assert!(!pair.segments().is_empty());
    fs::remove_file(pair.rig.log("app.log")).unwrap();
}

/// A spool outlives a stop, a configuration without its endpoint, and one in which nothing is shared.
#[test]
fn after_a_stop_the_files_may_go_away_and_the_spool_waits_for_its_endpoint() {
    let pair = Pair::new("stopped");
    stop_with_a_spool(&pair, 300);
    let other = |url: &str, name: &str| {
        Config::new(url).endpoint("name", name).source(FileSource::new("other", pair.rig.log("other.log")))
    };
    let mut agent = pair.rig.start(&other(&pair.near.url(), "first"));
    wait_until("the warning", DRAIN, || agent.stderr().contains("for an endpoint that is not configured"));
    agent.stop(Duration::from_secs(6));
    pair.far.resume();
    let agent = pair.rig.start(&other(&pair.far.url(), "far"));
    pair.assert_all(300, 0);
    wait_until("the spool's files to be removed", DRAIN, || pair.segments().is_empty());
    drop(agent);
}

/// A byte that changed while the agent was down costs the request it is in, and that is counted.
#[test]
fn a_damaged_byte_costs_its_request_and_not_the_start() {
    let pair = Pair::new("damaged");
    stop_with_a_spool(&pair, 3_000);
    let segment = pair.segments().remove(0);
    let file = fs::File::options().read(true).write(true).open(&segment).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], middle).unwrap();
    pair.far.resume();
    let agent = pair.rig.start(&pair.config());
    wait_until("the spool to be empty", DRAIN, || metric(&agent, "lugger_spool_frames") == 0.0);
    assert_eq!(metric(&agent, "lugger_spool_dropped_frames_total{endpoint=\"far\",reason=\"damaged\"}"), 1.0);
    assert_eq!(metric(&agent, "lugger_spool_dropped_frames_total"), 1.0);
    let lost = metric(&agent, "lugger_spool_dropped_entries_total");
    let verdict = pair.far_book.lock().verdict(3_000);
    assert!(lost > 0.0 && verdict.missing as f64 == lost, "{lost} lines are counted: {verdict:#?}");
    assert_eq!((verdict.duplicated_raw, verdict.torn, verdict.reordered_by_arrival), (0, 0, 0));
}
