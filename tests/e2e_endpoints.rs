//! Several endpoints, none waiting for another: what one has stored and another does not take goes to disk, its source moves on, and the
//! other gets it later, once and in order.

mod support;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use support::agent::{Agent, Config, FileSource, Rig};
use support::ledger::Book;
use support::loki::Loki;
use support::wait::wait_until;
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
    let rounds = 10 * IN_FLIGHT / 4_000_000;
    for _ in 0..rounds {
        writer.write(4_000);
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
    let (_, peak) = agent.memory();
    println!("{} bytes were in the spool; peak {} KiB resident", on_disk, peak / 1024);
    assert!(peak <= MEMORY, "{peak} bytes resident at the peak, {MEMORY} are allowed");
    wait_until("the spool to be empty", DRAIN, || metric(&agent, "lugger_spool_frames") == 0.0);
    wait_until("its files to be removed", DRAIN, || pair.segments().is_empty());
    assert_eq!(metric(&agent, "lugger_spool_dropped_frames_total"), 0.0);
}
