//! Sources and endpoints that are added, removed and renamed by a reload, with the real binary: what was read for them, what is not read yet
//! and what is in flight goes to whoever takes their place, once and in order; and what can go nowhere is counted.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use support::agent::{Agent, Config, FileSource, Rig, names};
use support::ledger::Book;
use support::loki::Loki;
use support::wait::{holds_within, wait_until};
use support::writer::{Writer, append_to};

const DRAIN: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);

/// Nothing is left to be stored, and cursors say so: what is started again sends nothing.
#[track_caller]
fn assert_settled(rig: &Rig, mut agent: Agent, config: &Config, lokis: &[&Loki]) {
    wait_until("all to be stored by all", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    agent.kill();
    let requests = || lokis.iter().map(|loki| loki.requests()).collect::<Vec<_>>();
    let before = requests();
    let agent = rig.start(config);
    wait_until("the state to be read", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    Writer::new(rig.log("mark.log"), "mark").write(1);
    wait_until("the mark to be read", SOON, || {
        agent.metric("lugger_source_lines_total{source=\"mark\"}").is_some_and(|lines| lines > 0.0)
    });
    wait_until("the mark to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    let more: Vec<u64> = requests().iter().zip(&before).map(|(now, then)| now - then).collect();
    assert!(more.iter().all(|more| *more <= 1), "only the mark was to be sent: {more:?}");
}

/// Writes until several batches wait to be sent, some lines are in none yet, and a file has been rotated.
fn write_ahead(agent: &Agent, writer: &mut Writer) {
    for _ in 0..3 {
        writer.write(1_500);
        writer.rename_rotate(50);
    }
    writer.write(1_500);
    let sealed = || agent.metric("lugger_in_flight_bytes").is_some_and(|bytes| bytes > 0.0);
    wait_until("batches to be in flight", SOON, sealed);
    let lines = "lugger_source_lines_total{source=\"app\"}";
    let written = writer.written() as f64;
    wait_until("all to be read", SOON, || agent.metric(lines).is_some_and(|lines| lines >= written));
    writer.write(10);
}

/// Batches of a few hundred lines, and the source `app` that goes to all endpoints.
fn small_batches(rig: &Rig, loki: &Loki) -> Config {
    Config::new(&loki.url())
        .endpoint("batch_size", "64KiB")
        .endpoint("batch_wait", "100ms")
        .source(FileSource::new("app", rig.log("app.log")))
        .source(FileSource::new("mark", rig.log("mark.log")).start_at("beginning"))
}

/// The only endpoint is down, much is in flight; another one is added. It gets every line that the first has not stored; and so does the first
/// when it is back. The lag goes away without a restart.
#[test]
fn an_added_endpoint_gets_what_is_not_stored() {
    let (a, b) = (Loki::start(), Loki::start());
    let (at_a, at_b) = (Book::keep(&a, "added"), Book::keep(&b, "added"));
    let rig = Rig::new();
    let alone = small_batches(&rig, &a);
    let both = alone.clone().also("second", &b.url());
    let mut writer = Writer::new(rig.log("app.log"), "added");
    let agent = rig.start(&alone);
    writer.write(1_000);
    at_a.wait_all(1_000, DRAIN);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    a.pause();
    write_ahead(&agent, &mut writer);
    rig.change(&agent, &both);
    let added = writer.written();
    wait_from(&at_b, 1_000, added);
    a.resume();
    at_a.wait_all(added, DRAIN);
    wait_until("all to be stored by both", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    writer.write(500);
    at_a.wait_all(writer.written(), DRAIN);
    wait_from(&at_b, 1_000, writer.written());
    at_a.lock().verdict(writer.written()).assert_perfect(writer.written());
    assert_from(&at_b, 1_000, writer.written());
    assert_settled(&rig, agent, &both, &[&a, &b]);
    a.assert_no_defects();
    b.assert_no_defects();
}

/// Waits until the lines from `first` on are there.
#[track_caller]
fn wait_from(book: &Book, first: u64, written: u64) {
    let has_all = || {
        let book = book.lock();
        (first..written).all(|n| book.has(n))
    };
    if holds_within(DRAIN, has_all).is_none() {
        panic!("lines {first} to {written} did not all come: {:#?}", book.lock().verdict(written));
    }
}

/// All lines from `first` on, and none of those before, are there once and in order.
#[track_caller]
fn assert_from(book: &Book, first: u64, written: u64) {
    let verdict = book.lock().verdict(written);
    assert_eq!(verdict.missing, first, "{verdict:#?}");
    assert!((first..written).all(|n| book.lock().has(n)), "{verdict:#?}");
    support::ledger::Verdict { missing: 0, ..verdict }.assert_perfect(written);
}

/// One of two endpoints is down and is removed: the lag goes away and cursors move, without a restart and without sending anything twice.
#[test]
fn a_removed_endpoint_is_not_waited_for() {
    let (a, b) = (Loki::start(), Loki::start());
    let (at_a, at_b) = (Book::keep(&a, "removed"), Book::keep(&b, "removed"));
    let rig = Rig::new();
    // Without a spool, which would take the place of what is down.
    let alone = small_batches(&rig, &a).limit("spool", "0");
    let both = alone.clone().also("second", &b.url());
    let mut writer = Writer::new(rig.log("app.log"), "removed");
    let agent = rig.start(&both);
    writer.write(1_000);
    at_a.wait_all(1_000, DRAIN);
    at_b.wait_all(1_000, DRAIN);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    b.pause();
    write_ahead(&agent, &mut writer);
    at_a.wait_all(writer.written(), DRAIN);
    wait_until("the lag to be told", SOON, || agent.metric(names::LAG_BYTES).is_some_and(|bytes| bytes > 0.0));
    rig.change(&agent, &alone);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    writer.write(500);
    at_a.wait_all(writer.written(), DRAIN);
    at_a.lock().verdict(writer.written()).assert_perfect(writer.written());
    assert_eq!(at_b.seen(), 1_000);
    assert_settled(&rig, agent, &alone, &[&a]);
    a.assert_no_defects();
}

/// An endpoint that is down gets another name and another address at once: whoever is there now gets what was not stored.
#[test]
fn a_renamed_endpoint_gets_what_is_not_stored() {
    let (a, c) = (Loki::start(), Loki::start());
    let (at_a, at_c) = (Book::keep(&a, "renamed"), Book::keep(&c, "renamed"));
    let rig = Rig::new();
    let old = small_batches(&rig, &a);
    let new = small_batches(&rig, &c).endpoint("name", "other");
    let mut writer = Writer::new(rig.log("app.log"), "renamed");
    let agent = rig.start(&old);
    writer.write(1_000);
    at_a.wait_all(1_000, DRAIN);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    a.pause();
    write_ahead(&agent, &mut writer);
    rig.change(&agent, &new);
    wait_from(&at_c, 1_000, writer.written());
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    writer.write(500);
    wait_from(&at_c, 1_000, writer.written());
    assert_from(&at_c, 1_000, writer.written());
    assert_eq!(at_a.seen(), 1_000);
    assert_settled(&rig, agent, &new, &[&c]);
    c.assert_no_defects();
}

/// An endpoint is away, and what it has not got is in memory; it is removed and comes back: it gets what was read before it was removed and
/// what is read since, without a hole in either.
#[test]
fn a_removed_endpoint_that_comes_back_gets_what_it_had_missed() {
    let (home, away) = (Loki::start(), Loki::start());
    let (at_home, at_away) = (Book::keep(&home, "back"), Book::keep(&away, "back"));
    let rig = Rig::new();
    let base = || Config::new(&home.url()).endpoint("batch_wait", "20ms").endpoint("batch_size", "64KiB");
    let without = base().source(FileSource::new("app", rig.log("app.log")));
    let with = base().also("away", &away.url()).source(FileSource::new("app", rig.log("app.log")));
    let mut writer = Writer::new(rig.log("app.log"), "back");
    let agent = rig.start(&with);
    writer.write(1_000);
    at_home.wait_all(1_000, DRAIN);
    at_away.wait_all(1_000, DRAIN);
    away.pause();
    writer.write(4_000);
    at_home.wait_all(5_000, DRAIN);
    assert_eq!(agent.metric("lugger_spool_written_frames_total"), Some(0.0), "all of it is in memory");
    rig.change(&agent, &without);
    writer.write(500);
    at_home.wait_all(5_500, DRAIN);
    wait_until("all to be settled", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    away.resume();
    rig.change(&agent, &with);
    writer.write(500);
    at_home.wait_all(6_000, DRAIN);
    let seen = || at_away.seen();
    assert!(holds_within(DRAIN, || seen() >= 5_500).is_some(), "{} lines arrived", seen());
    wait_until("all to be settled", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    let verdict = at_away.lock().verdict(6_000);
    let wrong = verdict.duplicated_visible + verdict.torn + verdict.reordered_by_time;
    assert_eq!((verdict.missing, wrong), (500, 0), "those while it was not there: {verdict:#?}");
    at_home.lock().verdict(6_000).assert_perfect(6_000);
    assert_eq!(agent.metric("lugger_removed_endpoint_lines_total"), Some(0.0));
}

/// Lines of a truncated file are in memory alone. When their endpoint is removed before it takes them, that is counted and said.
#[test]
fn what_goes_with_a_removed_endpoint_is_counted() {
    let (one, two) = (Loki::start(), Loki::start());
    let book = Book::keep(&one, "gone");
    let rig = Rig::new();
    let config = |name: &str, loki: &Loki| {
        let config = Config::new(&loki.url()).endpoint("name", name).endpoint("batch_wait", "20ms");
        config.source(FileSource::new("app", rig.log("app.log")))
    };
    let mut writer = Writer::new(rig.log("app.log"), "gone");
    let agent = rig.start(&config("one", &one));
    writer.write(100);
    book.wait_all(100, DRAIN);
    one.pause();
    writer.write(300);
    let in_flight = || {
        agent.metric("lugger_source_lines_total") == Some(400.0) && agent.metric("lugger_in_flight_bytes") > Some(0.0)
    };
    wait_until("the lines to be in flight", SOON, in_flight);
    wait_until("all of them to be in a batch", SOON, || agent.metric("lugger_endpoint_queue_batches") >= Some(1.0));
    writer.copytruncate();
    wait_until("the file to begin again", SOON, || agent.metric("lugger_file_truncated_total") == Some(1.0));
    rig.change(&agent, &config("two", &two));
    let lines = agent.metric("lugger_removed_endpoint_lines_total").unwrap();
    assert!(lines > 0.0 && lines <= 300.0, "{lines}");
    let is_said = || {
        let said = agent.stderr();
        said.contains("the endpoint is removed") && said.contains("sources that are removed too")
    };
    wait_until("the word of it", SOON, is_said);
}

/// Bytes that were read and are not stored, once nothing more is read.
fn in_flight(agent: &Agent) -> f64 {
    agent.metric("lugger_in_flight_bytes").unwrap_or_default()
}

/// A source of the path of `heir.log` that reads slowly, so that the most of it is not read.
fn slow(rig: &Rig, name: &str, pattern: &str) -> FileSource {
    FileSource::new(name, rig.log(pattern)).rate("{ lines: 100, bytes: 1MiB, burst: 1s }")
}

/// While the endpoint is away files are rotated, and one is deleted while it is held; then the source gets another name and another pattern: under it
/// everything goes on where it was.
#[test]
fn a_renamed_source_reads_what_was_rotated_and_deleted() {
    for deletes in [false, true] {
        let loki = Loki::start();
        let book = Book::keep(&loki, "heir");
        let rig = Rig::new();
        let config = |source: FileSource| Config::new(&loki.url()).endpoint("batch_wait", "20ms").source(source);
        let mut writer = Writer::new(rig.log("heir.log"), "heir");
        let agent = rig.start(&config(slow(&rig, "one", "heir.log")));
        writer.write(50);
        book.wait_all(50, DRAIN);
        loki.pause();
        writer.write(3_000);
        wait_until("a part to be in flight", SOON, || in_flight(&agent) > 0.0);
        writer.rename_rotate(100);
        writer.write(2_000);
        let files = || agent.metric("lugger_source_files");
        let met = |count| wait_until("the files to be met", SOON, || files() == Some(count));
        met(2.0);
        if deletes {
            writer.delete_recreate(100);
        } else {
            writer.rename_rotate(100);
        }
        writer.write(1_000);
        met(3.0);
        // Another source, of other files, gets nothing of it.
        let other = FileSource::new("aside", rig.log("aside-*.log"));
        let renamed = FileSource::new("two", rig.path().join("**/heir.log"));
        rig.change(&agent, &config(other).source(renamed));
        loki.resume();
        book.wait_all(writer.written(), DRAIN);
        wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
        // What is in flight goes on as it is: nothing is read again.
        book.lock().verdict(writer.written()).assert_perfect(0);
        assert_eq!(agent.metric(names::LOST), Some(0.0));
        loki.assert_no_defects();
        // The positions are those of the new name: after a restart nothing is sent again.
        drop(agent);
        let agent = rig.start(&config(FileSource::new("two", rig.log("heir.log"))));
        writer.write(100);
        book.wait_all(writer.written(), DRAIN);
        wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
        assert_eq!(book.lock().verdict(writer.written()).duplicated_visible, 0);
    }
}

/// The same while it does not run: the rest of a rotated file is read under the new name.
#[test]
fn a_source_that_is_renamed_between_runs_reads_what_was_rotated() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "heir");
    let rig = Rig::new();
    let mut writer = Writer::new(rig.log("heir.log"), "heir");
    let mut agent = rig.start(&Config::new(&loki.url()).source(slow(&rig, "one", "heir.log")));
    writer.write(2_000);
    wait_until("the beginning to be stored", SOON, || book.seen() > 0);
    agent.kill();
    assert!(book.seen() < 2_000);
    writer.rename_rotate(100);
    writer.write(500);
    let other = FileSource::new("aside", rig.log("aside-*.log"));
    let renamed = FileSource::new("two", rig.log("he*.log"));
    let agent = rig.start(&Config::new(&loki.url()).source(other).source(renamed));
    book.wait_all(writer.written(), DRAIN);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    let verdict = book.lock().verdict(writer.written());
    assert_eq!((verdict.missing, verdict.duplicated_visible, verdict.reordered_by_time), (0, 0, 0), "{verdict:#?}");
}

/// A source is removed, and nobody looks for its path: what was not read of a deleted file is told.
#[test]
fn what_is_lost_with_a_removed_source_is_told() {
    let loki = Loki::start();
    let rig = Rig::new();
    let aside = || Config::new(&loki.url()).source(FileSource::new("aside", rig.log("aside.log")));
    let mut writer = Writer::new(rig.log("heir.log"), "heir");
    let agent = rig.start(&aside().source(slow(&rig, "one", "heir.log")));
    writer.write(3_000);
    wait_until("a part to be read", SOON, || loki.distinct() > 0);
    writer.delete_recreate(100);
    wait_until("the last of the files to be met", SOON, || agent.metric("lugger_source_files") == Some(2.0));
    assert!(!agent.stderr().contains("lost_bytes="), "{}", agent.stderr());
    rig.change(&agent, &aside());
    wait_until("the loss to be told", SOON, || agent.stderr().contains("lost_bytes="));
    // The source's own series are gone.
    assert!(agent.metric("lugger_removed_source_lost_bytes_total") > Some(0.0));
}

/// All of a rotated file is in flight and nothing of its successor is read; the source goes to other endpoints: what is read again comes first, though
/// the successor grows meanwhile.
#[test]
fn a_source_that_moves_keeps_the_order_of_its_files() {
    let (home, away) = (Loki::start(), Loki::start());
    let (at_home, at_away) = (Book::keep(&home, "order"), Book::keep(&away, "order"));
    let rig = Rig::new();
    let base = || Config::new(&home.url()).endpoint("batch_wait", "20ms").also("away", &away.url());
    let app = || FileSource::new("app", rig.log("order.log"));
    let mut writer = Writer::new(rig.log("order.log"), "order");
    let agent = rig.start(&base().source(app().to("first")));
    home.pause();
    writer.write(3_000);
    writer.rename_rotate(0);
    let read = || agent.metric("lugger_source_lines_total");
    wait_until("all to be read", SOON, || read() == Some(3_000.0));
    wait_until("the new file to be met", SOON, || agent.metric("lugger_source_files") == Some(2.0));
    // Slowly, so that both files have their turns while the first is read again.
    rig.change(&agent, &base().source(app().rate("{ lines: 1000, bytes: 64KiB, burst: 100ms }")));
    writer.write(1_000);
    home.resume();
    at_away.wait_all(writer.written(), DRAIN);
    at_home.wait_all(writer.written(), DRAIN);
    at_away.lock().verdict(writer.written()).assert_perfect(0);
    let verdict = at_home.lock().verdict(writer.written());
    assert_eq!((verdict.missing, verdict.duplicated_visible, verdict.reordered_by_time), (0, 0, 0), "{verdict:#?}");
}

/// An endpoint is away, and much is on disk for it. The source of that is removed, and one that went there alone all the time goes on with its file:
/// what it reads does not overtake what is on disk.
#[test]
fn files_that_go_to_a_source_that_was_there_keep_their_order() {
    let (home, away) = (Loki::start(), Loki::start());
    let (at_home, at_away) = (Book::keep(&home, "joined"), Book::keep(&away, "joined"));
    let rig = Rig::new();
    let base = || {
        let config = Config::new(&away.url()).also("home", &home.url()).limit("memory", "24MiB");
        config.endpoint("batch_wait", "20ms").endpoint("batch_size", "64KiB")
    };
    let other = |pattern: &str| FileSource::new("other", rig.log(pattern)).to("first");
    let before = base().source(FileSource::new("app", rig.log("app.log"))).source(other("other.log"));
    let mut writer = Writer::new(rig.log("app.log"), "joined").with_line_bytes(1_000);
    let agent = rig.start(&before);
    away.pause();
    // How many frames that makes depends on how much is read at once; when memory is full they go to disk.
    let on_disk = || agent.metric("lugger_spool_frames{endpoint=\"first\"}");
    wait_until("much to be on disk", DRAIN, || {
        writer.write(1_000);
        at_home.wait_all(writer.written(), DRAIN);
        on_disk() > Some(20.0)
    });
    rig.change(&agent, &base().source(other("*.log")));
    writer.write(500);
    let read = || agent.metric("lugger_source_lines_total{source=\"other\"}");
    wait_until("the other source to go on with it", SOON, || read() >= Some(500.0));
    away.resume();
    at_away.wait_all(writer.written(), DRAIN);
    let verdict = at_away.lock().verdict(writer.written());
    let wrong = (verdict.missing, verdict.duplicated_visible, verdict.reordered_by_time, verdict.reordered_by_arrival);
    assert_eq!(wrong, (0, 0, 0, 0), "{verdict:#?}");
}

/// How a run ends after a source has left an endpoint that is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stop,
    Kill,
    StopWithoutSpool,
}

/// An endpoint is away, and what another one has is in its memory; then their source goes to the other one alone, and moves on. The first gets what was
/// read for it, also after a restart; or is said not to.
#[test]
fn an_endpoint_that_a_source_leaves_gets_what_was_read_for_it() {
    for end in [End::Stop, End::Kill, End::StopWithoutSpool] {
        let (home, away) = (Loki::start(), Loki::start());
        let (at_home, at_away) = (Book::keep(&home, "left"), Book::keep(&away, "left"));
        let rig = Rig::new();
        let spool = if end == End::StopWithoutSpool { "0" } else { "64MiB" };
        let base = || Config::new(&home.url()).also("away", &away.url()).limit("spool", spool);
        let app = || FileSource::new("app", rig.log("app.log"));
        let after = base().source(app().to("first")).source(FileSource::new("aside", rig.log("aside.log")).to("away"));
        let mut writer = Writer::new(rig.log("app.log"), "left");
        let mut agent = rig.start(&base().source(app()));
        away.pause();
        writer.write(2_000);
        at_home.wait_all(2_000, DRAIN);
        let written = || agent.metric("lugger_spool_written_frames_total{endpoint=\"away\"}");
        assert_eq!(written(), Some(0.0), "all of it is in memory");
        rig.change(&agent, &after);
        wait_until("the source to move on", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
        if end == End::Kill {
            wait_until("the rest to be on disk", SOON, || written() > Some(0.0));
            agent.kill();
        } else {
            assert_eq!(agent.stop(SOON).code, Some(0));
        }
        let is_said = agent.stderr().contains("neither this endpoint nor its spool");
        assert_eq!(is_said, end == End::StopWithoutSpool, "{}", agent.stderr());
        away.resume();
        let agent = rig.start(&after);
        if end != End::StopWithoutSpool {
            at_away.wait_all(2_000, DRAIN);
            at_away.lock().verdict(2_000).assert_perfect(2_000);
        }
        writer.write(100);
        at_home.wait_all(2_100, DRAIN);
        // Once by the reload, and once more where the kill comes before the position is written down.
        let repeats = if end == End::Kill { 4_000 } else { 2_000 };
        at_home.lock().verdict(2_100).assert_perfect(repeats);
        wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
        assert!(at_away.seen() <= 2_000, "what came later is not for it");
    }
}

/// One line more to a file that `path` is, and after it as many lines have come as before, and this one.
#[track_caller]
fn assert_only_one_more(agent: &Agent, loki: &Loki, path: &Path, before: u64) {
    append_to(path, "one more\n");
    wait_until("one more line", SOON, || loki.totals().entries > before);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    assert_eq!(loki.totals().entries, before + 1, "something was sent again: {}", agent.stderr());
}

/// Two sources follow a file, one of them is removed; the file grows and is rotated and gzipped, while lugger runs or not. Nothing of it is read
/// again by the other one for what the removed one had not read, however often it is started.
#[test]
fn a_finished_file_is_not_read_again_for_a_removed_source() {
    for is_running in [true, false] {
        let loki = Loki::start();
        let rig = Rig::new();
        let labelled = |name: &str, pattern: &str| FileSource::new(name, rig.log(pattern)).label("of", name);
        let system = || Config::new(&loki.url()).source(labelled("system", "*.log"));
        let path = rig.log("app.log");
        let line = |n: u32| append_to(&path, format!("line {n} of a file that is known by its content\n"));
        let agent = rig.start(&system().source(labelled("app", "app.log")));
        (0..100).for_each(line);
        wait_until("the first lines to be stored twice", SOON, || loki.totals().entries == 200);
        wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
        rig.change(&agent, &system());
        (100..200).for_each(line);
        wait_until("further lines to be stored once", SOON, || loki.totals().entries == 300);
        let rotate = || {
            fs::rename(&path, rig.log("app.log.1")).unwrap();
            assert!(Command::new("gzip").arg(rig.log("app.log.1")).status().unwrap().success());
            append_to(&path, "another file\n");
        };
        let mut agent = agent;
        if is_running {
            rotate();
            wait_until("the next file to be stored", SOON, || loki.totals().entries == 301);
            wait_until("the old one to be let go", SOON, || agent.metric("lugger_source_files") == Some(1.0));
        }
        assert_eq!(agent.stop(SOON).code, Some(0));
        if !is_running {
            rotate();
        }
        for run in 0..2 {
            let mut agent = rig.start(&system());
            wait_until("the next file to be stored", SOON, || loki.totals().entries > 300 + run);
            wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
            assert_only_one_more(&agent, &loki, &path, 301 + run);
            assert_eq!(agent.stop(SOON).code, Some(0));
        }
    }
}

/// Two sources of the same files, each for an endpoint of its own, one of which is away, become one that goes to both: the one that was away gets every line.
#[test]
fn sources_that_are_joined_go_on_where_the_last_of_them_was() {
    for [first, second] in [["a", "b"], ["b", "a"]] {
        let (home, away) = (Loki::start(), Loki::start());
        let (at_home, at_away) = (Book::keep(&home, "joined"), Book::keep(&away, "joined"));
        let rig = Rig::new();
        let base = || Config::new(&home.url()).endpoint("batch_wait", "20ms").also("away", &away.url());
        let app = |name: &str| FileSource::new(name, rig.log("joined.log"));
        let mut writer = Writer::new(rig.log("joined.log"), "joined");
        let agent = rig.start(&base().source(app(first).to("first")).source(app(second).to("away")));
        writer.write(1_000);
        at_home.wait_all(1_000, DRAIN);
        at_away.wait_all(1_000, DRAIN);
        away.pause();
        writer.write(1_000);
        writer.rename_rotate(100);
        writer.write(1_000);
        at_home.wait_all(writer.written(), DRAIN);
        rig.change(&agent, &base().source(app("joined")));
        away.resume();
        at_away.wait_all(writer.written(), DRAIN);
        wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
        let verdict = at_away.lock().verdict(writer.written());
        assert_eq!((verdict.missing, verdict.duplicated_visible, verdict.torn), (0, 0, 0), "{verdict:#?}");
        assert_eq!(at_home.lock().verdict(writer.written()).missing, 0);
        assert!(agent.stderr().contains("sent_again_bytes="), "{}", agent.stderr());
    }
}

/// Some files of a source go to a source of their own, at once, later or between runs: what is stored of them is not read again, and what is not
/// comes in order.
#[test]
fn files_that_get_a_source_of_their_own_go_on_where_they_were() {
    for how in ["at once", "later", "between runs"] {
        let loki = Loki::start();
        let book = Book::keep(&loki, "heir");
        let rig = Rig::new();
        let config = |source: FileSource| Config::new(&loki.url()).endpoint("batch_wait", "20ms").source(source);
        let mut writer = Writer::new(rig.log("heir.log"), "heir");
        append_to(&rig.log("other.log"), "other\n");
        let mut agent = rig.start(&config(slow(&rig, "all", "*.log")));
        writer.write(400);
        wait_until("the beginning to be stored", SOON, || book.seen() > 50);
        let narrowed = || config(FileSource::new("all", rig.log("*.log")).exclude(rig.log("heir.log")));
        let moved = || narrowed().source(FileSource::new("own", rig.log("heir.log")));
        if how != "between runs" {
            writer.rename_rotate(100);
            writer.write(100);
            wait_until("the files to be met", SOON, || agent.metric("lugger_source_files") == Some(3.0));
        }
        if how == "later" {
            // What is rotated and not finished is read by who began.
            book.wait_all(500, DRAIN);
            rig.change(&agent, &narrowed());
            writer.write(100);
        }
        let agent = if how == "between runs" {
            agent.kill();
            rig.start(&moved())
        } else {
            rig.change(&agent, &moved());
            agent
        };
        writer.write(100);
        book.wait_all(writer.written(), DRAIN);
        wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
        let verdict = book.lock().verdict(writer.written());
        assert_eq!((verdict.missing, verdict.duplicated_visible), (0, 0), "{how}: {verdict:#?}");
        assert_eq!(verdict.reordered_by_time, 0, "{how}: {verdict:#?}");
        assert_eq!(agent.metric(names::LOST), Some(0.0), "{how}");
        // That of the file that stays.
        assert_eq!(verdict.torn, 1, "{how}: {verdict:#?}");
    }
}

/// A source that goes to two endpoints, one of which is away, is divided into one for each: both go on where it was.
#[test]
fn a_source_that_is_divided_goes_on_in_both() {
    let (home, away) = (Loki::start(), Loki::start());
    let (at_home, at_away) = (Book::keep(&home, "split"), Book::keep(&away, "split"));
    let rig = Rig::new();
    let base = || {
        let config = Config::new(&home.url()).endpoint("batch_wait", "20ms").limit("spool", "0");
        config.also("away", &away.url())
    };
    let app = |name: &str| FileSource::new(name, rig.log("split.log"));
    let mut writer = Writer::new(rig.log("split.log"), "split");
    let agent = rig.start(&base().source(app("app")));
    writer.write(1_000);
    at_home.wait_all(1_000, DRAIN);
    at_away.wait_all(1_000, DRAIN);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    away.pause();
    writer.write(1_000);
    writer.rename_rotate(0);
    writer.write(1_000);
    at_home.wait_all(3_000, DRAIN);
    rig.change(&agent, &base().source(app("one").to("first")).source(app("two").to("away")));
    away.resume();
    writer.write(500);
    at_home.wait_all(3_500, DRAIN);
    at_away.wait_all(3_500, DRAIN);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    for book in [&at_home, &at_away] {
        let verdict = book.lock().verdict(3_500);
        assert_eq!((verdict.missing, verdict.duplicated_visible), (0, 0), "{verdict:#?}");
        // Also what went there under the old name just then is read by the new one, which cannot know.
        assert_eq!(verdict.duplicated_raw, 2_000, "{verdict:#?}");
    }
}

/// A source that begins at the end of files gets another name, and other files, while lugger does not run: what was written meanwhile to its own files is
/// read, and what was there of the others is not.
#[test]
fn a_renamed_source_that_begins_at_the_end_is_not_new() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "heir");
    let rig = Rig::new();
    let config = |source: FileSource| Config::new(&loki.url()).source(source.start_at("end"));
    let aside = rig.log("aside.log");
    append_to(&aside, "there before the first start\n");
    let mut writer = Writer::new(rig.log("heir.log"), "heir");
    let mut agent = rig.start(&config(FileSource::new("one", rig.log("heir.log"))));
    wait_until("the empty file to be met", SOON, || agent.metric("lugger_source_files") == Some(1.0));
    writer.write(100);
    book.wait_all(100, DRAIN);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    // So old that it is known to have been there while lugger ran.
    let age = || fs::metadata(&aside).unwrap().created().unwrap().elapsed().unwrap_or_default();
    wait_until("the other file to be some seconds old", SOON, || age() > Duration::from_secs(3));
    assert_eq!(agent.stop(SOON).code, Some(0));
    writer.write(100);
    writer.rename_rotate(100);
    writer.write(100);
    let agent = rig.start(&config(FileSource::new("two", rig.log("*.log"))));
    book.wait_all(writer.written(), DRAIN);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    let verdict = book.lock().verdict(writer.written());
    // No line of the other file.
    assert_eq!((verdict.missing, verdict.duplicated_visible, verdict.torn), (0, 0, 0), "{verdict:#?}");
}

/// A source that followed its files all the time gets another name: nobody says that it did not.
#[test]
fn a_renamed_source_has_missed_no_generation() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "heir");
    let rig = Rig::new();
    let config = |name: &str| Config::new(&loki.url()).source(FileSource::new(name, rig.log("heir.log")));
    let mut writer = Writer::new(rig.log("heir.log"), "heir");
    // Of this one an old position is left.
    let agent = rig.start(&config("one").source(FileSource::new("before", rig.log("heir.log"))));
    writer.write(100);
    book.wait_all(100, DRAIN);
    rig.change(&agent, &config("one"));
    for _ in 0..2 {
        writer.rename_rotate(0);
        writer.write(100);
        book.wait_all(writer.written(), DRAIN);
    }
    rig.change(&agent, &config("two"));
    writer.write(100);
    book.wait_all(writer.written(), DRAIN);
    assert!(!agent.stderr().contains("it is read first"), "{}", agent.stderr());
}
