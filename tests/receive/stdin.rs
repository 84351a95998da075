//! Stdin as a source.

use crate::senders::Pipe;
use crate::support::agent::{Agent, Config, FileSource, Rig};
use crate::support::ledger::{Book, line};
use crate::support::loki::Loki;
use crate::support::small_disk::SmallDisk;
use crate::support::wait::wait_until;
use crate::{DRAIN, kept, source};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// It ends when stdin has ended and all is stored, also if the endpoint is away for a while; a last line without newline counts.
#[test]
fn it_ends_with_stdin_when_all_is_stored() {
    let rig = Rig::new();
    let loki = kept();
    loki.pause();
    let mut pipe = Pipe::new();
    let config = Config::new(&loki.url()).source(source("stdin", "{}"));
    let mut agent = rig.start_with_stdin(&config, pipe.reader());
    pipe.write(b"one\r\ntwo\n\nthree without its end");
    pipe.close();
    wait_until("it is received", DRAIN, || agent.metric("lugger_receive_messages_total") == Some(4.0));
    assert!(!agent.has_exited());
    loki.resume();
    assert_eq!(agent.wait_exit(DRAIN).code, Some(0));
    assert_eq!(loki.lines(), ["one", "two", "", "three without its end"]);
    loki.assert_no_defects();
}

/// With another source beside it runs on.
#[test]
fn it_runs_on_with_another_source() {
    let rig = Rig::new();
    let loki = kept();
    let mut pipe = Pipe::new();
    let config =
        Config::new(&loki.url()).source(source("stdin", "{}")).source(FileSource::new("app", rig.log("*.log")));
    let mut agent = rig.start_with_stdin(&config, pipe.reader());
    pipe.write(b"of stdin\n");
    pipe.close();
    loki.wait_for("stdin's", DRAIN, |line| line == "of stdin");
    std::fs::write(rig.log("a.log"), "of a file\n").unwrap();
    loki.wait_for("the file's", DRAIN, |line| line == "of a file");
    assert_eq!(agent.stop(Duration::from_secs(10)).code, Some(0));
}

/// Numbered lines through one pipe, over restarts and kills. What was read at the moment of a kill would be gone: it comes when all that was written is
/// read.
#[test]
fn numbered_lines_come_once_over_restarts_and_kills() {
    const COUNT: u64 = 100_000;
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, "stdin");
    let mut pipe = Pipe::new();
    let config = Config::new(&loki.url()).source(source("stdin", "{ queue: 1MiB }"));
    let mut agent = rig.start_with_stdin(&config, pipe.reader());
    for part in 0..4 {
        let (from, to) = (COUNT * part / 4, COUNT * (part + 1) / 4);
        let mut text = String::new();
        for n in from..to {
            line("stdin", n, 100, &mut text);
            text.push('\n');
        }
        pipe.write(text.as_bytes());
        let want = Some((to - from) as f64);
        wait_until("they are received", DRAIN, || agent.metric("lugger_receive_messages_total") == want);
        if part == 3 {
            break;
        } else if part % 2 == 0 {
            agent.kill();
        } else {
            assert_eq!(agent.stop(Duration::from_secs(20)).code, Some(0));
        }
        agent = rig.start_with_stdin(&config, pipe.reader());
    }
    pipe.close();
    assert_eq!(agent.wait_exit(DRAIN).code, Some(0));
    book.lock().verdict(COUNT).assert_perfect(COUNT);
    loki.assert_no_defects();
}

/// So much at once that files of the inlet are finished faster than their reader is told of them, many within one tick of the clock that says when
/// they were born.
#[test]
fn lines_keep_their_order_over_very_many_files() {
    const COUNT: u64 = 120_000;
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, "order");
    let mut pipe = Pipe::new();
    let config = Config::new(&loki.url()).source(source("stdin", "{ queue: 1MiB }"));
    let mut agent = rig.start_with_stdin(&config, pipe.reader());
    let mut text = String::new();
    for n in 0..COUNT {
        line("order", n, 400, &mut text);
        text.push('\n');
        if text.len() > 1 << 20 {
            pipe.write(text.as_bytes());
            text.clear();
        }
    }
    pipe.write(text.as_bytes());
    pipe.close();
    assert_eq!(agent.wait_exit(DRAIN).code, Some(0));
    book.lock().verdict(COUNT).assert_perfect(0);
    loki.assert_no_defects();
}

/// A full disk: what waits in memory for it is not stored, which is told, and the end waits for it.
fn ended_on_a_full_disk(then: impl FnOnce(&mut Agent, &Path, &Loki)) {
    let rig = Rig::new();
    let small = SmallDisk::at(rig.path().join("small"), "1m");
    let loki = kept();
    let mut pipe = Pipe::new();
    let config = Config::new(&loki.url()).state_dir(small.path()).source(source("stdin", "{}"));
    let mut agent = rig.start_with_stdin(&config, pipe.reader());
    agent.wait_ready();
    let filler = small.fill();
    let lines: String = (0..500).map(|n| format!("{n} {}\n", "x".repeat(100))).collect();
    pipe.write(lines.as_bytes());
    pipe.close();
    let told = "stdin has ended, and the disk does not take all of it";
    wait_until("it is told", DRAIN, || agent.has_exited() || agent.stderr().contains(told));
    assert!(!agent.has_exited(), "{}", agent.stderr());
    then(&mut agent, &filler, &loki);
    assert_eq!(agent.stderr().matches(told).count(), 1);
}

#[test]
fn the_end_waits_for_a_full_disk() {
    ended_on_a_full_disk(|agent, filler, loki| {
        std::fs::remove_file(filler).unwrap();
        assert_eq!(agent.wait_exit(DRAIN).code, Some(0));
        assert_eq!(loki.lines().len(), 500);
        assert!(agent.stderr().contains("all of it is stored"), "{}", agent.stderr());
    });
}

#[test]
fn a_stop_that_loses_lines_of_stdin_is_no_success() {
    ended_on_a_full_disk(|agent, _, _| {
        assert_eq!(agent.stop(DRAIN).code, Some(1));
        let said = agent.stderr();
        assert!(said.contains("not all of stdin is stored") && !said.contains("all of it is stored"), "{said}");
    });
}

/// What cannot be read has not just ended.
#[test]
fn a_stdin_that_cannot_be_read_is_no_success() {
    let rig = Rig::new();
    let loki = kept();
    let config = Config::new(&loki.url()).source(source("stdin", "{}"));
    let mut agent = rig.start_with_stdin(&config, std::fs::File::open(rig.path()).unwrap());
    assert_eq!(agent.wait_exit(DRAIN).code, Some(1));
    assert!(agent.stderr().contains("stdin cannot be read any more"), "{}", agent.stderr());
}

impl Pipe {
    fn write(&mut self, bytes: &[u8]) {
        self.writer().write_all(bytes).unwrap();
    }
}
