//! The journal source where something is wrong: clocks that were set, numbers that are damaged, a disk that does not give all, files that come and
//! go under several sources, files of a newer systemd. What can be read comes, once, and the rest is counted.

#[path = "journal/closed_files.rs"]
mod closed_files;
#[path = "support/journalctl.rs"]
mod journalctl;
#[path = "support/journald.rs"]
mod journald;
#[path = "journal/newer_files.rs"]
mod newer_files;
#[path = "journal/objects.rs"]
mod objects;
mod support;

use journalctl::{Export, FORMS};
use journald::Journald;
use lugger::base::clock::Clock;
use objects::{ENTRY, objects, set_number};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::agent::{Agent, Config, FileSource, Rig};
use support::ledger::{Book, line};
use support::loki::{Loki, Options};
use support::wait::{holds_within, wait_until};

const DRAIN: Duration = Duration::from_secs(120);
const BOOTS: [&str; 2] = ["11111111111111111111111111111111", "22222222222222222222222222222222"];

fn kept() -> Loki {
    Loki::start_with(Options { keep: true, ..Options::default() })
}

fn source(directory: &Path, more: &str) -> FileSource {
    let path = directory.display();
    FileSource::journal("journal", &format!("{{ path: {path}{more} }}")).label("job", "journal")
}

fn now_us() -> u64 {
    Clock::System.now_ns() as u64 / 1000
}

/// Entries of a boot: how many seconds ago the first one was, its time since the boot in seconds, and the texts, a millisecond apart.
type Run<'a> = (usize, u64, u64, &'a [String]);

fn texts(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name}{n}")).collect()
}

/// Makes a journal file with these entries, in a directory from which it can be renamed.
fn build(rig: &Rig, runs: &[Run<'_>]) -> PathBuf {
    let directory = rig.path().join("made");
    fs::create_dir_all(&directory).unwrap();
    let mut export = Export::default();
    for (boot, ago_s, since_s, texts) in runs {
        for (n, text) in (0..).zip(*texts) {
            let at = n * 1000;
            let time = now_us() - ago_s * 1_000_000 + at;
            export.entry(time, since_s * 1_000_000 + at, BOOTS[*boot]).field("MESSAGE", text).field("PRIORITY", "6");
        }
    }
    journalctl::write(&directory, "x", FORMS[3], &export.0)
}

fn put(file: &Path, rig: &Rig, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let directory = rig.path().join("journal");
    fs::create_dir_all(&directory).unwrap();
    let mut content = fs::read(file).unwrap();
    change(&mut content);
    fs::remove_file(file).unwrap();
    // Whole when its name is there.
    let (hidden, path) = (directory.join("hidden"), directory.join(name));
    fs::write(&hidden, content).unwrap();
    fs::rename(&hidden, &path).unwrap();
    path
}

fn same(_: &mut Vec<u8>) {}

fn entries_of(content: &[u8]) -> Vec<usize> {
    objects(content).into_iter().filter(|object| object.kind == ENTRY).map(|object| object.offset).collect()
}

fn archived(seqnum_id: &[u8]) -> String {
    let hex: String = seqnum_id.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("system@{hex}-0000000000000001-0005f00000000000.journal")
}

fn lost(agent: &Agent, reason: &str) -> f64 {
    agent.metric(&format!("lugger_journal_lost_entries_total{{reason=\"{reason}\"}}")).unwrap()
}

fn damaged(agent: &Agent, what: &str) -> f64 {
    agent.metric(&format!("lugger_journal_damaged_total{{what=\"{what}\"}}")).unwrap()
}

/// The lines that came, whatever their order.
fn wait_all(loki: &Loki, mut want: Vec<String>) {
    let _ = holds_within(DRAIN, || loki.lines().len() >= want.len());
    let mut found = loki.lines();
    want.sort();
    found.sort();
    assert_eq!(found, want);
}

/// A file of a numbering that was never read is read from its beginning, whatever its clock says.
#[test]
fn a_clock_that_is_behind_hides_nothing() {
    let loki = kept();
    let rig = Rig::new();
    let (first, early, later, other) = (texts("first", 10), texts("early", 10), texts("later", 5), texts("other", 10));
    put(&build(&rig, &[(0, 60, 1, &first)]), &rig, "system.journal", same);
    let directory = rig.path().join("journal");
    let config = Config::new(&loki.url()).source(source(&directory, ""));
    let mut agent = rig.start(&config);
    let mut want = first;
    wait_all(&loki, want.clone());
    assert_eq!(agent.stop(Duration::from_secs(10)).code, Some(0));
    // The power fails; the next boot has no clock before the network tells it.
    fs::rename(directory.join("system.journal"), directory.join("system@0005f00000000000-0005f00000000000.journal~"))
        .unwrap();
    put(&build(&rig, &[(1, 600, 5, &early), (1, 10, 595, &later)]), &rig, "system.journal", same);
    let agent = rig.start(&config);
    want.extend([early, later].concat());
    wait_all(&loki, want.clone());
    // And while it runs: a file of another host.
    put(&build(&rig, &[(1, 900, 99, &other)]), &rig, "host2.journal", same);
    want.extend(other);
    wait_all(&loki, want);
    assert_eq!(agent.metric("lugger_journal_lost_entries_total"), Some(0.0));
    loki.assert_no_defects();
}

/// What was removed is counted also where the host's numbers have begun anew and are still below those of its earlier life.
#[test]
fn removal_is_counted_where_numbers_began_anew() {
    let loki = kept();
    let rig = Rig::new();
    let number = |first: usize| {
        move |content: &mut Vec<u8>| {
            let offsets = entries_of(content);
            for (n, at) in offsets.iter().enumerate() {
                set_number(content, at + 16, first + n);
            }
            set_number(content, 160, first + offsets.len() - 1);
            set_number(content, 168, first);
        }
    };
    let before = texts("before", 10);
    put(
        &build(&rig, &[(0, 600, 90, &before)]),
        &rig,
        "system@0005f00000000000-0005f00000000000.journal~",
        number(1000),
    );
    let built = build(&rig, &[(1, 300, 5, &texts("first", 5))]);
    let id = fs::read(&built).unwrap()[72..88].to_vec();
    let first = put(&built, &rig, "system.journal", same);
    let directory = rig.path().join("journal");
    let config = Config::new(&loki.url()).source(source(&directory, ""));
    let mut agent = rig.start(&config);
    let mut want = [before, texts("first", 5)].concat();
    wait_all(&loki, want.clone());
    wait_until("all to be stored", DRAIN, || agent.metric("lugger_source_lag_bytes") == Some(0.0));
    agent.kill();
    fs::remove_file(first).unwrap();
    put(&build(&rig, &[(1, 60, 245, &texts("last", 5))]), &rig, "system.journal", |content| {
        number(500)(content);
        content[72..88].copy_from_slice(&id);
    });
    let agent = rig.start(&config);
    want.extend(texts("last", 5));
    wait_all(&loki, want);
    assert_eq!(lost(&agent, "vacuumed"), 494.0);
    loki.assert_no_defects();
}

/// A header that says too little of the numbers in a file that is not closed does not have each of its entries wait.
#[test]
fn a_low_number_in_an_open_header_delays_nothing() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "low");
    let rig = Rig::new();
    let mut lines = Vec::new();
    for n in 0..6_000 {
        let mut text = String::new();
        line("low", n, 0, &mut text);
        lines.push(text);
    }
    put(&build(&rig, &[(0, 60, 1, &lines)]), &rig, "system.journal", |content| set_number(content, 160, 3));
    let agent = rig.start(&Config::new(&loki.url()).source(source(&rig.path().join("journal"), "")));
    // One after the other they would take a minute.
    wait_until("all entries", Duration::from_secs(30), || book.seen() == 6_000);
    book.lock().verdict(6_000).assert_perfect(0);
    assert_eq!(agent.metric("lugger_journal_lost_entries_total"), Some(0.0));
    assert_eq!(agent.metric("lugger_journal_damaged_total"), Some(0.0));
}

/// A directory that is shown at another place, until the test ends.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, should a failed test have left the agent running in it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Journals that are made or mounted when lugger runs already are found within seconds.
#[test]
fn directories_that_come_later_are_found() {
    let loki = kept();
    let rig = Rig::new();
    let soon = Duration::from_secs(20);
    let (made, mounted) = (rig.path().join("a/b/journal"), rig.path().join("var/journal"));
    fs::create_dir_all(&mounted).unwrap();
    let of = |name: &str, path: &Path| {
        FileSource::journal(name, &format!("{{ path: {} }}", path.display())).label("job", name)
    };
    let agent = rig.start(&Config::new(&loki.url()).source(of("made", &made)).source(of("mounted", &mounted)));
    wait_until("what is missing to be said", DRAIN, || agent.stderr().contains("it is waited for"));
    let machine = "0639e6d5cd7e4f5f9e6f8b1f6c1e0a01";
    let bring = |texts: &[String], directory: &Path| {
        fs::create_dir_all(directory.join(machine)).unwrap();
        let hidden = put(&build(&rig, &[(0, 60, 1, texts)]), &rig, "hidden", same);
        fs::rename(hidden, directory.join(machine).join("system.journal")).unwrap();
    };
    let came = |text: &str| loki.lines().iter().any(|line| line == text);
    bring(&texts("made", 5), &made);
    wait_until("what was made", soon, || came("made4"));
    // Nobody is told of what is mounted.
    let other = rig.path().join("disk");
    bring(&texts("mounted", 5), &other.join("journal"));
    let status = Command::new("mount").arg("--bind").arg(&other).arg(rig.path().join("var")).status().unwrap();
    assert!(status.success(), "a bind mount, which takes root");
    let _mount = Mount(rig.path().join("var"));
    wait_until("what was mounted", soon, || came("mounted4"));
    drop(agent);
    loki.assert_no_defects();
}

/// What is older than `max_age` is cut at the first start, and only then.
#[test]
fn what_was_too_old_at_the_first_start_stays_so() {
    let loki = kept();
    let rig = Rig::new();
    put(&build(&rig, &[(0, 1200, 1, &texts("old", 5))]), &rig, "a.journal", same);
    put(&build(&rig, &[(0, 1200, 1, &texts("old", 5)), (0, 60, 1141, &texts("new", 5))]), &rig, "b.journal", same);
    let directory = rig.path().join("journal");
    let config = Config::new(&loki.url()).source(source(&directory, ", max_age: 10m"));
    let mut want = texts("new", 5);
    let mut agent = rig.start(&config);
    wait_all(&loki, want.clone());
    agent.kill();
    put(&build(&rig, &[(1, 1200, 1, &texts("other", 5))]), &rig, "c.journal", same);
    let agent = rig.start(&config);
    want.extend(texts("other", 5));
    wait_all(&loki, want);
    drop(agent);
}

/// A number that is damaged, in a header or an entry, costs its entry at most; nothing stands still, nothing spins.
#[test]
fn damaged_numbers_cost_an_entry_at_most() {
    type Change = fn(&mut Vec<u8>);
    let low_tail: Change = |content| {
        content[16] = 2;
        set_number(content, 160, 3);
    };
    let high: Change = |content| {
        let at = entries_of(content)[4];
        content[at + 16 + 5] = 1;
    };
    let some_above: Change = |content| {
        let at = entries_of(content)[3];
        content[at + 16] = 12;
    };
    let below: Change = |content| {
        let at = entries_of(content)[7];
        content[at + 16] = 1;
    };
    let last: Change = |content| {
        let at = entries_of(content)[19];
        content[at + 16 + 1] = 9;
    };
    for (what, change, missing) in [
        ("tail", low_tail, None),
        ("high", high, Some(4)),
        ("some above", some_above, Some(3)),
        ("below", below, Some(7)),
        ("last", last, Some(19)),
    ] {
        let loki = kept();
        let rig = Rig::new();
        let mut want = texts("a", 20);
        let mut id = Vec::new();
        let built = build(&rig, &[(0, 60, 1, &want)]);
        fs::read(&built).unwrap()[72..88].clone_into(&mut id);
        let name = if what == "tail" { archived(&id) } else { "system.journal".to_owned() };
        put(&built, &rig, &name, change);
        put(&build(&rig, &[(0, 30, 31, &texts("b", 5))]), &rig, "other.journal", same);
        let mut agent = rig.start(&Config::new(&loki.url()).source(source(&rig.path().join("journal"), "")));
        missing.map(|at| want.remove(at));
        want.extend(texts("b", 5));
        wait_all(&loki, want.clone());
        wait_until("the damage to be counted", DRAIN, || damaged(&agent, "entries") == f64::from(missing.is_some()));
        let cpu = agent.cpu();
        std::thread::sleep(Duration::from_secs(1));
        assert!(agent.cpu() - cpu < Duration::from_millis(300), "{what}: it spins");
        assert_eq!(agent.metric("lugger_journal_lost_entries_total"), Some(0.0), "{what}");
        // And in the midst, with a place to be found.
        agent.kill();
        let agent = rig.start(&Config::new(&loki.url()).source(source(&rig.path().join("journal"), "")));
        put(&build(&rig, &[(0, 10, 51, &texts("c", 5))]), &rig, "last.journal", same);
        want.extend(texts("c", 5));
        wait_until("what came last", DRAIN, || loki.lines().iter().any(|line| line == "c4"));
        let shown: HashSet<String> = loki.lines().into_iter().collect();
        assert_eq!(shown, want.into_iter().collect(), "{what}");
        drop(agent);
    }
}

/// Where clocks say that three files come in a circle, numbers decide: nothing comes too late.
#[test]
fn numbers_count_more_than_clocks() {
    for turn in 0..6 {
        let loki = kept();
        let rig = Rig::new();
        let built = build(&rig, &[(0, 100, 100, &texts("x", 5))]);
        let id = fs::read(&built).unwrap()[72..88].to_vec();
        let first = put(&built, &rig, "x", same);
        let next = put(&build(&rig, &[(1, 300, 5, &texts("y", 5))]), &rig, "y", |content| {
            content[72..88].copy_from_slice(&id);
            for (n, at) in entries_of(content).into_iter().enumerate() {
                set_number(content, at + 16, 6 + n);
            }
            set_number(content, 160, 10);
            set_number(content, 168, 6);
        });
        let user = put(&build(&rig, &[(0, 200, 1, &texts("u", 5))]), &rig, "u", same);
        let names = [archived(&id), "system.journal".to_owned(), format!("user-{}.journal", 1000 + turn)];
        let mut parts: Vec<(PathBuf, String)> = [first, next, user].into_iter().zip(names).collect();
        // The order of names in a directory is that of their making or of their hashes.
        parts.rotate_left(turn % 3);
        for (path, name) in parts {
            fs::rename(&path, path.with_file_name(name)).unwrap();
        }
        let agent = rig.start(&Config::new(&loki.url()).source(source(&rig.path().join("journal"), "")));
        wait_all(&loki, [texts("x", 5), texts("y", 5), texts("u", 5)].concat());
        assert_eq!(agent.metric("lugger_journal_lost_entries_total"), Some(0.0));
    }
}

/// A read of a file at a place fails with EIO while a switch is on.
const FAULTY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int fails(int fd, size_t count, off64_t from) {
    char name[64], path[4096];
    const char *file = getenv("FAULTY_FILE"), *on = getenv("FAULTY_SWITCH");
    if (!file || !on || access(on, F_OK)) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(name, path, sizeof path - 1);
    if (len < 0) return 0;
    path[len] = 0;
    off64_t at = atoll(getenv("FAULTY_AT"));
    return !strcmp(path, file) && from <= at && at < from + (off64_t)count;
}
ssize_t pread64(int fd, void *to, size_t count, off64_t from) {
    static ssize_t (*next)(int, void *, size_t, off64_t);
    if (!next) next = dlsym(RTLD_NEXT, "pread64");
    if (fails(fd, count, from)) { errno = EIO; return -1; }
    return next(fd, to, count, from);
}
ssize_t pread(int fd, void *to, size_t count, off_t from) { return pread64(fd, to, count, from); }
"#;

/// An agent that sees it, with the switch and where it fails.
fn faulty(file: &Path, at: usize, rig: Rig) -> (Rig, PathBuf) {
    let (code, library, switch) =
        (rig.path().join("faulty.c"), rig.path().join("faulty.so"), rig.path().join("switch"));
    fs::write(&code, FAULTY).unwrap();
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code).arg("-ldl").status();
    assert!(made.expect("a C compiler, which rustc needs as well").success());
    fs::write(&switch, "").unwrap();
    let rig = rig
        .with_env("LD_PRELOAD", &library)
        .with_env("FAULTY_FILE", file)
        .with_env("FAULTY_SWITCH", &switch)
        .with_env("FAULTY_AT", at.to_string());
    (rig, switch)
}

/// What a bad block holds is passed over after some attempts and counted; all else comes, of this file and of others.
#[test]
fn a_block_that_the_disk_does_not_give_costs_what_lies_in_it() {
    let loki = kept();
    let rig = Rig::new();
    let lines = texts("line number ", 3000);
    let file = put(&build(&rig, &[(0, 60, 1, &lines)]), &rig, "system.journal", same);
    let offsets = entries_of(&fs::read(&file).unwrap());
    let unclean = build(&rig, &[(0, 30, 61, &texts("unclean", 10))]);
    put(&unclean, &rig, "system@0005f00000000000-0005f00000000000.journal~", same);
    let bad = offsets[1500] / 4096;
    let in_it: Vec<usize> =
        (0..offsets.len()).filter(|at| (offsets[*at] + 200) / 4096 == bad || offsets[*at] / 4096 == bad).collect();
    let (rig, _) = faulty(&file, offsets[1500], rig);
    let agent = rig.start(&Config::new(&loki.url()).source(source(&rig.path().join("journal"), "")));
    let came = |text: &str| loki.lines().iter().any(|line| line == text);
    wait_until("what is behind", DRAIN, || came("line number 2999") && came("unclean9"));
    let shown: HashSet<String> = loki.lines().into_iter().collect();
    for (at, text) in lines.iter().enumerate() {
        // Some have their text in the block, not themselves.
        let is_near = in_it.iter().any(|bad| at.abs_diff(*bad) <= 2);
        assert!(shown.contains(text) || is_near, "{text}");
    }
    let missing = lines.iter().filter(|text| !shown.contains(*text)).count();
    wait_until("the count", DRAIN, || {
        let without = agent.metric("lugger_source_dropped_lines_total{reason=\"no_message\"}").unwrap();
        lost(&agent, "unreadable") + without == missing as f64
    });
    assert!(missing > 5 && missing < 60, "{missing}");
    let told = agent.stderr().matches("cannot be read").count();
    println!("{missing} missing, {} errors, {told} messages of it", agent.metric("lugger_file_errors_total").unwrap());
    assert_eq!(told, 1, "{}", agent.stderr());
}

/// An error that passes costs nothing, of this file or others, unclean ones among them.
#[test]
fn an_error_that_passes_costs_nothing() {
    let loki = kept();
    let rig = Rig::new();
    let lines = texts("line number ", 2000);
    let file = put(&build(&rig, &[(0, 60, 1, &lines)]), &rig, "system.journal", same);
    let offsets = entries_of(&fs::read(&file).unwrap());
    let unclean = build(&rig, &[(0, 30, 61, &texts("unclean", 10))]);
    put(&unclean, &rig, "system@0005f00000000000-0005f00000000000.journal~", same);
    let (rig, switch) = faulty(&file, offsets[1500], rig);
    let agent = rig.start(&Config::new(&loki.url()).source(source(&rig.path().join("journal"), "")));
    // Others do not wait for it.
    wait_until("the error", DRAIN, || agent.metric("lugger_file_errors_total") > Some(0.0));
    fs::remove_file(switch).unwrap();
    wait_all(&loki, [lines, texts("unclean", 10)].concat());
    assert_eq!(agent.metric("lugger_journal_lost_entries_total"), Some(0.0));
}

/// A header that cannot be read for a moment takes no file out.
#[test]
fn a_header_that_fails_for_a_moment_costs_nothing() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "header");
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "");
    let log = |from: u64, to: u64| {
        for n in from..to {
            let (mut body, mut text) = (String::from("MESSAGE="), String::new());
            line("header", n, 0, &mut text);
            body.push_str(&text);
            journald.log(&[&body, "LEDGER=yes"]);
        }
    };
    log(0, 500);
    let file = fs::canonicalize(&journald::files(journald.directory())[0]).unwrap();
    let config = Config::new(&loki.url()).source(source(journald.directory(), ", matches: LEDGER=yes"));
    let (rig, switch) = faulty(&file, 100, rig);
    fs::remove_file(&switch).unwrap();
    let agent = rig.start(&config);
    book.wait_all(500, DRAIN);
    for round in 1..4 {
        let before = agent.metric("lugger_file_errors_total").unwrap();
        fs::write(&switch, "").unwrap();
        log(round * 500, round * 500 + 500);
        wait_until("the error", DRAIN, || agent.metric("lugger_file_errors_total").unwrap() > before);
        assert_eq!(agent.open_files(journald.directory()), 1, "it is kept open");
        fs::remove_file(&switch).unwrap();
        book.wait_all(round * 500 + 500, DRAIN);
    }
    book.lock().verdict(2000).assert_perfect(0);
    assert_eq!(agent.metric("lugger_journal_lost_entries_total"), Some(0.0));
    drop(rig);
    journald.stop();
}

/// Users who log for the first time, under load, while two sources follow the same directory; and rotations.
#[test]
fn several_sources_hear_of_every_new_user_and_nothing_is_said_to_be_removed() {
    const USERS: u32 = 25;
    const EACH: u64 = 30;
    let loki = kept();
    let rig = Rig::new();
    let journald = Journald::start_persistent(rig.path(), true, "SystemMaxUse=200M\n");
    fs::set_permissions(rig.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let of = |name: &str| {
        let path = journald.directory().display();
        FileSource::journal(name, &format!("{{ path: {path}, matches: SYSLOG_IDENTIFIER=test }}")).label("job", name)
    };
    let agent = rig.start(&Config::new(&loki.url()).source(of("a")).source(of("b")));
    let load = rig.log("load");
    fs::write(&load, (0..20).map(|n| format!("load {n}\n")).collect::<String>()).unwrap();
    let mut loggers = Vec::new();
    let mut want = Vec::new();
    for user in 0..USERS {
        let path = rig.log(&format!("user-{user}"));
        let lines: Vec<String> = (0..EACH).map(|n| format!("new {user} {n}")).collect();
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        loggers.push(journald.log_as(0, &load));
        loggers.push(journald.log_as(2000 + user, &path));
        std::thread::sleep(Duration::from_millis(100));
        want.extend(lines);
        if user % 8 == 7 {
            journald.rotate();
        }
    }
    for mut logger in loggers {
        assert!(logger.wait().unwrap().success());
    }
    let of = |job: &str| -> HashSet<String> {
        let stream = format!("{{job=\"{job}\"}}");
        loki.entries().into_iter().filter(|entry| entry.stream == stream).map(|entry| entry.line).collect()
    };
    for job in ["a", "b"] {
        let all = || want.iter().all(|line| of(job).contains(line));
        if holds_within(Duration::from_secs(40), all).is_none() {
            let found = of(job);
            panic!("source {job} lacks {:?}", want.iter().filter(|line| !found.contains(*line)).collect::<Vec<_>>());
        }
    }
    assert_eq!(agent.metric("lugger_journal_lost_entries_total"), Some(0.0), "{}", agent.stderr());
    loki.assert_no_defects();
    journald.stop();
}

/// A reload while intents of before a crash are replayed loses nothing of what stages hold.
#[test]
fn a_reload_during_a_replay_keeps_what_waits_for_further_lines() {
    const BLOCKS: usize = 6_000;
    let loki = kept();
    let rig = Rig::new();
    let journald = Journald::start(rig.path(), true, "");
    let mut random = 88_172_645_463_325_252_u64;
    let mut noise = || -> String {
        let mut text = String::new();
        for _ in 0..40 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            text.push_str(&format!("{random:016x}"));
        }
        text
    };
    let stages = "[ { multiline: { firstline: '^begin', max_wait_time: 100s } } ]";
    let config = |memory: &str, job: &str| {
        let path = journald.directory().display();
        let source = FileSource::journal("journal", &format!("{{ path: {path}, matches: LEDGER=yes }}"));
        let source = source.label("job", job);
        Config::new(&loki.url())
            .source(source.option("stages", stages))
            .limit("memory", memory)
            .endpoint("batch_size", "64KiB")
    };
    loki.pause();
    let mut agent = rig.start(&config("128MiB", "one"));
    let mut want = Vec::new();
    for block in 0..BLOCKS {
        let parts = ["begin", "more", "end"].map(|part| format!("{part} {block} {}", noise()));
        for part in &parts {
            journald.log(&[&format!("MESSAGE={part}"), "LEDGER=yes"]);
        }
        want.push(parts.join("\n"));
    }
    // It waits until other settings hold.
    journald.log(&["MESSAGE=begin the last", "LEDGER=yes"]);
    want.push("begin the last".to_owned());
    let lines = |agent: &Agent| agent.metric("lugger_source_lines_total").unwrap_or_default();
    wait_until("all to be read", DRAIN, || lines(&agent) >= 3.0 * BLOCKS as f64);
    wait_until("intents", DRAIN, || agent.metric("lugger_source_lag_bytes").unwrap_or_default() > 5e6);
    agent.kill();
    let agent = rig.start(&config("24MiB", "one"));
    // It reads until it has no room.
    let mut before = -1.0;
    wait_until("the room to be used up", DRAIN, || {
        std::thread::sleep(Duration::from_millis(300));
        std::mem::replace(&mut before, lines(&agent)) == lines(&agent) && before > 0.0
    });
    assert!(before < 3.0 * BLOCKS as f64, "all of it found room");
    rig.change(&agent, &config("24MiB", "two"));
    loki.resume();
    let shown = || -> HashSet<String> { loki.lines().into_iter().collect() };
    let _ = holds_within(DRAIN, || shown().len() > BLOCKS);
    let shown = shown();
    let missing: Vec<&str> = want.iter().filter(|block| !shown.contains(*block)).map(|block| &block[..12]).collect();
    assert!(missing.is_empty(), "{} missing, such as {:?}", missing.len(), missing.first());
    assert_eq!(shown.len(), BLOCKS + 1, "parts of blocks");
    // Nothing came under both labels; what comes from then on has the other one.
    journald.log(&["MESSAGE=begin another", "LEDGER=yes"]);
    journald.log(&["MESSAGE=begin the end", "LEDGER=yes"]);
    let last = || loki.entries().into_iter().find(|entry| entry.line == "begin another");
    wait_until("another block", DRAIN, || last().is_some());
    assert!(last().unwrap().stream.contains("two"), "{:?}", last());
    let blocks = loki.entries().into_iter().filter(|entry| entry.line.ends_with(|c: char| c.is_ascii_hexdigit()));
    let mut labels: HashMap<String, HashSet<String>> = HashMap::new();
    for entry in blocks {
        labels.entry(entry.line).or_default().insert(entry.stream);
    }
    assert_eq!(labels.values().filter(|labels| labels.len() > 1).count(), 0, "blocks under both labels");
    loki.assert_no_defects();
    journald.stop();
}

/// Users who log in turns have numberings of their own: that costs about what one user costs.
#[test]
fn users_who_log_in_turns_cost_little_more_than_one() {
    const LINES: usize = 20_000;
    let loki = Loki::start();
    let cost = |users: u32| {
        let rig = Rig::new();
        let journald = Journald::start_persistent(rig.path(), true, "SystemMaxUse=500M\nSystemMaxFileSize=100M\n");
        fs::set_permissions(rig.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut loggers: Vec<_> = (0..users)
            .map(|user| {
                let pid = journald.pid().to_string();
                let uid = (3000 + user).to_string();
                Command::new("nsenter")
                    .args(["-t", &pid, "-m", "setpriv", "--reuid", &uid, "--clear-groups"])
                    .args(["logger", "--socket", "/run/systemd/journal/dev-log", "--tag", "test"])
                    .stdin(std::process::Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for n in 0..LINES {
            let at = n % loggers.len();
            writeln!(loggers[at].stdin.as_mut().unwrap(), "a line of some length to be read {n}").unwrap();
        }
        for mut logger in loggers {
            drop(logger.stdin.take());
            assert!(logger.wait().unwrap().success());
        }
        journald.stop();
        let directory = rig.path().join("log");
        let config = Config::new(&loki.url()).source(source(&directory, ", matches: SYSLOG_IDENTIFIER=test"));
        let agent = rig.start(&config);
        let read = || agent.metric("lugger_source_lines_total") == Some(LINES as f64);
        wait_until("all entries", DRAIN, read);
        wait_until("all to be stored", DRAIN, || agent.metric("lugger_source_lag_bytes") == Some(0.0));
        let journal = fs::metadata(rig.state().join("checkpoint-1.journal")).map_or(0, |metadata| metadata.len());
        (agent.cpu(), journal)
    };
    let (one, few) = (cost(1), cost(4));
    println!("{LINES} entries: {one:?} of one user, {few:?} of four in turns");
    assert!(few.0 < one.0 * 4 && few.1 < one.1 + 64 * 1024, "{one:?} {few:?}");
}

/// Entries that rules leave without a label are dropped and counted, and that is told once.
#[test]
fn entries_without_labels_are_told_once() {
    let (loki, rig) = (kept(), Rig::new());
    put(&build(&rig, &[(0, 60, 1, &texts("bare", 20))]), &rig, "system.journal", same);
    let value = format!("{{ path: {} }}", rig.path().join("journal").display());
    let rules = "[ { source_labels: [__journal__nothing], target_label: app } ]";
    let bare = FileSource::journal("journal", &value).option("relabel_configs", rules);
    let agent = rig.start(&Config::new(&loki.url()).source(bare));
    let dropped = || agent.metric("lugger_source_dropped_lines_total{reason=\"no_labels\"}");
    wait_until("they are dropped", DRAIN, || dropped() == Some(20.0));
    let told = agent.stderr();
    assert_eq!(told.matches("an entry has no labels").count(), 1, "{told}");
    assert!(told.contains("source=journal"), "{told}");
}
