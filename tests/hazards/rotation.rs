//! Rotations: several during one slow push, while down, with content that regrows, with compressed copies.

use crate::support::agent::{Config, FileSource, Rig, names};
use crate::support::ledger::Book;
use crate::support::loki::{Answer, Loki};
use crate::support::wait::wait_until;
use crate::support::writer::{Writer, append_to};
use crate::{LONG, SOON, config, keeping, pushed_up_to, stop};
use std::fs;
use std::process::Command;

/// A rotated file that is deleted while the agent runs, with its last lines just written: they arrive. It is the shortest way to lose lines.
#[test]
fn row_03_what_was_written_just_before_deletion_arrives() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "deleted");
    let rig = Rig::new();
    let path = rig.log("app.log");
    let mut writer = Writer::new(&path, "deleted");
    let agent = rig.start(&config(&loki, &rig));
    agent.wait_ready();
    for _ in 0..20 {
        writer.write(50);
        book.wait_all(writer.written(), LONG);
        writer.write(200);
        writer.delete_recreate(20);
    }
    book.wait_all(writer.written(), LONG);
    book.lock().verdict(writer.written()).assert_perfect(0);
    assert_eq!(agent.metric(names::LOST), Some(0.0));
    stop(agent);
}

/// Five rotations while one push hangs, the oldest files deleted meanwhile: reading does not wait for sending, generations queue up in order.
#[test]
fn row_06_rotations_during_a_stalled_push_lose_no_file() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "stalled");
    let rig = Rig::new();
    let path = rig.log("app.log");
    let config = Config::new(&loki.url()).source(FileSource::new("app", &path)).endpoint("timeout", "1m");
    let mut writer = Writer::new(&path, "stalled");
    let agent = rig.start(&config);
    writer.write(100);
    book.wait_all(100, LONG);
    loki.script(|_| Answer::Hang);
    writer.write(100);
    wait_until("the push to hang", SOON, || loki.requests() >= 2);
    for generation in 1..6 {
        writer.rename_rotate(30);
        writer.write(100);
        // The agent has met the new file: both are open.
        wait_until("the generation to be followed", SOON, || agent.open_files(&rig.logs()) == generation + 1);
    }
    for old in 2..6 {
        fs::remove_file(rig.log(&format!("app.log.{old}"))).unwrap();
    }
    loki.behave();
    // The hanging connection ends, so that the test need not wait for the timeout.
    loki.pause();
    loki.resume();
    book.wait_all(writer.written(), LONG);
    book.lock().verdict(writer.written()).assert_perfect(0);
    assert_eq!(agent.metric(names::LOST), Some(0.0));
    stop(agent);
}

/// The content is replaced in place and is longer than the old place of reading before the agent looks again: it begins again at the first
/// byte, and nothing of it is passed over.
#[test]
fn row_07_a_file_that_regrew_past_the_offset_is_read_from_its_beginning() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "old 1\nold 2\nold 3\n");
    let agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "old 3");
    agent.freeze();
    fs::write(&path, "").unwrap();
    let new: Vec<String> = (0..200).map(|n| format!("new {n}")).collect();
    append_to(&path, format!("{}\n", new.join("\n")));
    agent.thaw();
    let lines = pushed_up_to(&loki, "new 199");
    assert_eq!(lines[3..], new);
    assert_eq!(agent.metric("lugger_file_truncated_total"), Some(1.0));
    assert_eq!(agent.metric(names::LOST), Some(0.0), "all of the old content had been read");
    stop(agent);
}

/// The first 256 bytes stay as they were, so that the head alone would not tell; the bytes before the offset do.
#[test]
fn row_07_a_regrown_file_with_the_same_head_is_told_by_the_bytes_before_the_offset() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    let banner = format!("{}\n", "=".repeat(299));
    append_to(&path, format!("{banner}one 1\none 2\n"));
    let agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "one 2");
    agent.freeze();
    fs::write(&path, format!("{banner}two 1\ntwo 2\ntwo 3\n")).unwrap();
    agent.thaw();
    let lines = pushed_up_to(&loki, "two 3");
    assert_eq!(lines[3..], [banner.trim_end(), "two 1", "two 2", "two 3"]);
    stop(agent);
}

/// logrotate with `compress`: the rotated file is read to its end; its compressed twin matches the pattern as well, is left out and counted.
#[test]
fn row_18_a_compressed_twin_of_a_read_file_is_not_sent_again() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("app.log");
    let config = Config::new(&loki.url()).source(FileSource::new("app", rig.log("app.log*")));
    append_to(&path, "1\n2\n");
    let agent = rig.start(&config);
    pushed_up_to(&loki, "2");
    append_to(&path, "3\n");
    let rotated = rig.log("app.log.1");
    fs::rename(&path, &rotated).unwrap();
    append_to(&path, "4\n");
    assert_eq!(pushed_up_to(&loki, "4"), ["1", "2", "3", "4"]);
    assert!(Command::new("gzip").arg(&rotated).status().unwrap().success());
    assert!(rig.log("app.log.1.gz").exists() && !rotated.exists());
    append_to(&path, "5\n");
    assert_eq!(pushed_up_to(&loki, "5"), ["1", "2", "3", "4", "5"]);
    wait_until("the twin to be counted", SOON, || agent.metric("lugger_file_compressed_total") == Some(1.0));
    stop(agent);
    // Nor does another start take it for text.
    let agent = rig.start(&config);
    append_to(&path, "6\n");
    assert_eq!(pushed_up_to(&loki, "6"), ["1", "2", "3", "4", "5", "6"]);
    stop(agent);
}

/// A followed file is rotated and compressed while the agent is down, with lines that were not read: they are read from the twin, before the
/// new file, once, under the path that they were written to; also when the agent is killed in the middle of it.
#[test]
fn row_18_the_rest_of_a_file_that_was_compressed_while_down_is_delivered() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "twin");
    let rig = Rig::new();
    let path = rig.log("app.log");
    let config = Config::new(&loki.url())
        .source(FileSource::new("app", &path).exclude("**/*.gz"))
        .endpoint("batch_size", "64KiB");
    let mut writer = Writer::new(&path, "twin");
    writer.write(1_000);
    let agent = rig.start(&config);
    book.wait_all(1_000, LONG);
    stop(agent);
    writer.write(20_000);
    writer.rename_rotate(7);
    assert!(Command::new("gzip").arg(rig.log("app.log.1")).status().unwrap().success());
    writer.write(100);
    // Killed a few times while it is at it: every other request is answered late.
    loki.script(|arrival| if arrival.number % 2 == 0 { Answer::AsLoki } else { Answer::status(503) });
    for part in 1..4 {
        let mut agent = rig.start(&config);
        wait_until("some of the rest", LONG, || book.seen() >= 1_000 + part * 2_000);
        agent.kill();
    }
    loki.behave();
    let agent = rig.start(&config);
    book.wait_all(writer.written(), LONG);
    let verdict = book.lock().verdict(writer.written());
    verdict.assert_perfect(u64::MAX);
    assert_eq!(book.lock().streams().len(), 1, "{:?}", book.lock().streams());
    // It is let go, and nothing of it comes again.
    wait_until("the twin to be let go", LONG, || agent.metric("lugger_source_files") == Some(1.0));
    stop(agent);
    let requests = loki.totals().entries;
    let agent = rig.start(&config);
    writer.write(10);
    book.wait_all(writer.written(), LONG);
    assert_eq!(loki.totals().entries, requests + 10);
    assert!(!rig.state().join("nameless").exists());
    stop(agent);
}

/// The twin of a file that was read to its end, and one of another file, are not sent.
#[test]
fn row_18_a_twin_made_while_down_of_a_finished_file_is_not_sent() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("app.log");
    append_to(&path, "1\n2\n");
    let agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "2");
    stop(agent);
    fs::rename(&path, rig.log("app.log.1")).unwrap();
    append_to(&rig.log("app.log.2"), "an older file\nthat nobody followed\n");
    assert!(Command::new("gzip").arg(rig.log("app.log.1")).arg(rig.log("app.log.2")).status().unwrap().success());
    append_to(&path, "3\n");
    for last in ["3", "4", "5"] {
        let agent = rig.start(&config(&loki, &rig));
        pushed_up_to(&loki, last);
        stop(agent);
        append_to(&path, format!("{}\n", last.parse::<u32>().unwrap() + 1));
    }
    assert_eq!(loki.lines(), ["1", "2", "3", "4", "5"]);
}

/// Every compression that is recognised by its first bytes, under a name that says nothing of it.
#[test]
fn row_18_compressed_content_is_recognised_whatever_its_name() {
    let loki = keeping();
    let rig = Rig::new();
    let heads: [&[u8]; 6] = [
        b"\x1f\x8b\x08\0\0\0\0\0",
        b"\xfd7zXZ\0\0\x04",
        b"\x28\xb5\x2f\xfd\x04\0\0\0",
        b"\x04\x22\x4d\x18\x64\x40\xa7",
        b"PK\x03\x04\x14\0\0\0",
        b"BZh91AY&SY\0\0",
    ];
    for (n, head) in heads.iter().enumerate() {
        append_to(&rig.log(&format!("{n}.log")), [head, b"\nthis must not be sent\n".as_slice()].concat());
    }
    append_to(&rig.log("plain.log"), "BZh is how this line begins\nPK as well\n");
    let agent = rig.start(&config(&loki, &rig));
    assert_eq!(pushed_up_to(&loki, "PK as well"), ["BZh is how this line begins", "PK as well"]);
    wait_until("six files to be counted", SOON, || agent.metric("lugger_file_compressed_total") == Some(6.0));
    stop(agent);
}

/// A rotated file ends without newline while the agent is down, and a new one takes its place: the rest is a line, once, and comes first.
#[test]
fn row_09_an_unended_line_of_a_file_that_was_rotated_while_down_is_delivered() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "1\n");
    let agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "1");
    stop(agent);
    append_to(&path, "2\nthe rest");
    fs::rename(&path, rig.log("a.log.1")).unwrap();
    append_to(&path, "3\n");
    let agent = rig.start(&config(&loki, &rig));
    assert_eq!(pushed_up_to(&loki, "3"), ["1", "2", "the rest", "3"]);
    stop(agent);
    let agent = rig.start(&config(&loki, &rig));
    append_to(&path, "4\n");
    assert_eq!(pushed_up_to(&loki, "4"), ["1", "2", "the rest", "3", "4"]);
    stop(agent);
}

/// A stop in the middle of a line: it is sent whole by the next start, or not at all as long as it has not ended.
#[test]
fn row_09_a_half_line_is_not_torn_by_a_kill() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "1\nha");
    for part in ["lf", " a", " line"] {
        let mut agent = rig.start(&config(&loki, &rig));
        pushed_up_to(&loki, "1");
        agent.kill();
        append_to(&path, part);
    }
    let agent = rig.start(&config(&loki, &rig));
    append_to(&path, "\n2\n");
    let lines = pushed_up_to(&loki, "2");
    assert_eq!(lines.iter().filter(|line| **line != "1").collect::<Vec<_>>(), ["half a line", "2"]);
    assert!(loki.entries().iter().filter(|kept| !kept.repeated).count() == 3);
    stop(agent);
}
