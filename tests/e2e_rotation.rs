//! The main promise, with the real binary: every line once, whole and in order, through every way of rotating a log under load.

mod support;

use std::io::Write;
use std::time::Duration;
use support::agent::{Config, FileSource, Rig, names};
use support::ledger::{Book, line};
use support::loki::Loki;
use support::wait::settles;
use support::writer::Writer;

const LINES: u64 = 200_000;
/// Lines a second while writing: fast enough that rotations happen in the middle of reading, slow enough for a debug build.
const RATE: u64 = 40_000;
/// Lines through rotations that come as fast as they can.
const STORM: u64 = 40_000;
const DRAIN: Duration = Duration::from_secs(120);

/// 200,000 numbered lines through three renames, a copytruncate and a delete with recreation, all while lines are being written: none
/// missing, repeated, torn or out of order. Before the copytruncate, and only there, the program stops writing until everything has
/// been read: what is cut off before anybody could read it is lost by the rotation and not by the reader.
#[test]
fn row_04_every_line_arrives_once_through_all_rotations() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "rotation");
    let rig = Rig::new();
    let path = rig.log("app.log");
    let config = Config::new(&loki.url()).source(FileSource::new("app", &path).label("job", "app"));
    let mut writer = Writer::new(&path, "rotation");
    let mut agent = rig.start(&config);
    agent.wait_ready();

    let part = LINES / 6;
    writer.write_at(part, RATE);
    writer.rename_rotate(500);
    writer.write_at(part, RATE);
    writer.rename_rotate(0);
    writer.write_at(part, RATE);
    book.wait_all(writer.written(), DRAIN);
    writer.copytruncate();
    writer.write_at(part, RATE);
    writer.delete_recreate(500);
    writer.write_at(part, RATE);
    writer.rename_rotate(37);
    writer.write_at(LINES - writer.written(), RATE);

    book.wait_all(LINES, DRAIN);
    let verdict = book.lock().verdict(LINES);
    verdict.assert_perfect(0);
    loki.assert_no_defects();
    assert_eq!(agent.metric(names::LOST), Some(0.0), "bytes counted as lost");
    let exit = agent.stop(Duration::from_secs(5));
    assert_eq!(exit.code, Some(0));
    // Nothing comes after the end that had come before.
    book.lock().verdict(LINES).assert_perfect(0);
}

/// A copytruncate at any time, while lines are being written: what was read arrives once and in order; what is missing is at the most
/// what was cut off unread, and lines are never torn or repeated.
#[test]
fn row_07_a_copytruncate_under_load_never_repeats_or_tears() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "truncate");
    let rig = Rig::new();
    let path = rig.log("app.log");
    let mut writer = Writer::new(&path, "truncate");
    let config = Config::new(&loki.url()).source(FileSource::new("app", &path));
    let agent = rig.start(&config);
    agent.wait_ready();
    for _ in 0..4 {
        writer.write_at(10_000, RATE);
        let read = book.seen();
        writer.copytruncate();
        // More than was there before, at once: the file is soon longer than the old place of reading.
        writer.write(12_000);
        assert!(book.seen() >= read);
    }
    book.wait_all(writer.written() * 3 / 10, DRAIN);
    settles(Duration::from_millis(1_000), DRAIN, || book.seen());
    let verdict = book.lock().verdict(writer.written());
    println!("copytruncate under load: {} of {} lines were cut off unread", verdict.missing, verdict.written);
    assert_eq!(
        (verdict.torn, verdict.duplicated_raw, verdict.alien, verdict.reordered_by_time, verdict.reordered_by_arrival),
        (0, 0, 0, 0, 0),
        "{verdict:#?}"
    );
    // The last part was not cut off, so it is all there.
    assert!(verdict.missing_first.iter().all(|n| *n < writer.written() - 12_000), "{verdict:#?}");
    loki.assert_no_defects();
}

/// Two names that change places over and over (`a` to `c`, `b` to `a`, `c` to `b`) are two files that moved: nothing is lost or read
/// twice.
#[test]
fn row_05_rename_cycles_lose_nothing() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "swap");
    let rig = Rig::new();
    let (a, b, c) = (rig.log("a.log"), rig.log("b.log"), rig.log("c.hidden"));
    let config = Config::new(&loki.url()).source(FileSource::new("app", rig.log("*.log")));
    let mut writer = Writer::new(&a, "swap");
    std::fs::write(&b, "").unwrap();
    let agent = rig.start(&config);
    agent.wait_ready();
    for _ in 0..10 {
        writer.write_at(2_000, RATE);
        std::fs::rename(&a, &c).unwrap();
        std::fs::rename(&b, &a).unwrap();
        std::fs::rename(&c, &b).unwrap();
        // The old descriptor: the file is under the other name now.
        writer.write(100);
        writer.reopen();
    }
    book.wait_all(writer.written(), DRAIN);
    let verdict = book.lock().verdict(writer.written());
    // The lines of one file keep their order; both files were written in turns, so the order over both is no promise.
    let found = (verdict.missing, verdict.duplicated_raw, verdict.torn, verdict.alien);
    assert_eq!(found, (0, 0, 0, 0), "{verdict:#?}");
    loki.assert_no_defects();
}

/// The last line of a file that is rotated or deleted without a newline at its end is delivered, once; as long as the file is
/// live it waits for its newline.
#[test]
fn row_09_a_final_line_without_newline_is_delivered_after_rotation_and_after_deletion() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "unended");
    let rig = Rig::new();
    let path = rig.log("app.log");
    let config = Config::new(&loki.url()).source(FileSource::new("app", &path));
    let mut writer = Writer::new(&path, "unended");
    let agent = rig.start(&config);
    agent.wait_ready();
    writer.write(10);
    writer.write_half();
    book.wait_all(10, DRAIN);
    assert_eq!(settles(Duration::from_millis(500), DRAIN, || loki.totals().entries), 10, "half a line was sent");
    writer.write(9);
    writer.write_unended();
    writer.rename_rotate(0);
    writer.write(10);
    book.wait_all(31, DRAIN);
    writer.write_unended();
    writer.delete_recreate(0);
    writer.write(5);
    book.wait_all(37, DRAIN);
    let verdict = book.lock().verdict(37);
    let found = (verdict.missing, verdict.duplicated_raw, verdict.torn, verdict.alien);
    assert_eq!(found, (0, 0, 0, 0), "{verdict:#?}");
    drop(agent);
}

/// Rotation after rotation without a pause, each of which renames all that was rotated before: when an event is taken in, its name leads to
/// another generation by then. Nothing is lost or repeated, and the order is kept but for rare neighbours.
#[test]
fn row_05_rotations_that_overtake_their_events_lose_nothing() {
    for after in [0, 20, 300] {
        let loki = Loki::start();
        let book = Book::keep(&loki, "storm");
        let rig = Rig::new();
        let path = rig.log("app.log");
        let mut writer = Writer::new(&path, "storm");
        let agent = rig.start(&Config::new(&loki.url()).source(FileSource::new("app", &path)));
        agent.wait_ready();
        while writer.written() < STORM {
            writer.write(300);
            writer.rename_rotate(after);
        }
        book.wait_all(writer.written(), DRAIN);
        let verdict = book.lock().verdict(writer.written());
        println!("{} rotations, {} inversions", verdict.written / (300 + after), verdict.reordered_by_time);
        // Sixteen and more in 60,000 lines when order is not looked after. One is left now and then: a generation may be found when a younger one has been read.
        assert!(verdict.reordered_by_time <= 4 && verdict.reordered_by_arrival <= 4, "{verdict:#?}");
        support::ledger::Verdict { reordered_by_time: 0, reordered_by_arrival: 0, ..verdict }.assert_perfect(0);
        loki.assert_no_defects();
    }
}

/// More files than are kept open, rotated and compressed while the agent sleeps: what was read is not sent again, and what was not is.
#[test]
fn what_nobody_has_open_is_compressed_and_comes_once() {
    const FILES: u64 = 100;
    const EACH: u64 = 50;
    let loki = Loki::start();
    let book = Book::keep(&loki, "closed");
    let rig = Rig::new().with_descriptors(128);
    let mut agent = rig.start(&Config::new(&loki.url()).source(FileSource::new("app", rig.logs().join("*.log"))));
    let append = |file: u64, from: u64| {
        let mut text = String::new();
        for n in from..from + EACH {
            line("closed", n, 0, &mut text);
            text.push('\n');
        }
        let path = rig.log(&format!("{file}.log"));
        let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    (0..FILES).for_each(|file| append(file, file * EACH));
    book.wait_all(FILES * EACH, DRAIN);
    agent.freeze();
    for file in 0..FILES {
        if file % 2 == 0 {
            append(file, (FILES + file / 2) * EACH);
        }
        // As gzip does it: the compressed file has the time of the plain one.
        let (plain, packed) = (rig.log(&format!("{file}.log")), rig.log(&format!("{file}.log.1.gz")));
        let mut encoder =
            flate2::write::GzEncoder::new(std::fs::File::create(&packed).unwrap(), flate2::Compression::fast());
        encoder.write_all(&std::fs::read(&plain).unwrap()).unwrap();
        let modified = std::fs::metadata(&plain).unwrap().modified().unwrap();
        encoder.finish().unwrap().set_modified(modified).unwrap();
        std::fs::remove_file(&plain).unwrap();
        // Its place is taken at once.
        std::fs::write(&plain, "").unwrap();
    }
    agent.thaw();
    let written = FILES * EACH + FILES / 2 * EACH;
    book.wait_all(written, Duration::from_secs(15));
    for counter in [names::LOST, "lugger_file_truncated_total"] {
        assert_eq!(agent.metric(counter), Some(0.0), "{counter}");
    }
    assert_eq!(agent.stop(Duration::from_secs(10)).code, Some(0));
    book.lock().verdict(written).assert_perfect(0);
    loki.assert_no_defects();
}
