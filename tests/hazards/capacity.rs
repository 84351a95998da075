//! Many files with few descriptors, and more events than the kernel keeps.

use crate::support::agent::Rig;
use crate::support::loki::Loki;
use crate::support::wait::wait_until;
use crate::support::writer::append_to;
use crate::{SOON, config, keeping, pushed_up_to, stop};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Room for a busy machine and a debug build.
const LONG: Duration = Duration::from_secs(180);

/// 10,000 files and 256 descriptors in all: every line of every file arrives once, also those that came while the agent was down.
#[test]
fn row_12_ten_thousand_files_are_read_with_few_descriptors() {
    const FILES: u64 = 10_000;
    const DESCRIPTORS: u32 = 256;
    let loki = Loki::start();
    let rig = Rig::new().with_descriptors(DESCRIPTORS);
    let write = |what: &str| {
        for n in 0..FILES {
            append_to(&rig.log(&format!("{n}.log")), format!("{n} {what}\n"));
        }
    };
    write("first");
    let agent = rig.start(&config(&loki, &rig));
    wait_until("every first line", LONG, || loki.distinct() >= FILES);
    write("second");
    wait_until("every second line", LONG, || loki.distinct() >= 2 * FILES);
    assert!(agent.open_files(&rig.logs()) < DESCRIPTORS as usize);
    assert!(!agent.stderr().contains("Too many open files"), "it ran out of descriptors");
    stop(agent);
    write("third");
    let agent = rig.start(&config(&loki, &rig));
    wait_until("every third line", LONG, || loki.distinct() >= 3 * FILES);
    assert_eq!(loki.totals().entries, 3 * FILES, "some were sent twice");
    loki.assert_no_defects();
    stop(agent);
}

/// More events than the kernel keeps while the agent is stopped by SIGSTOP: it looks at everything again, and nothing that happened
/// in the meantime is lost, not even a rotation.
#[test]
fn row_12_lost_events_are_made_up_for() {
    let queue: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "1\n");
    append_to(&rig.log("quiet.log"), "quiet 1\n");
    let agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "1");
    pushed_up_to(&loki, "quiet 1");
    agent.freeze();
    // Two names in turn, so that the kernel cannot merge the events.
    for n in 0..queue / 2 + 100 {
        fs::write(rig.log("x.tmp"), n.to_string()).unwrap();
        fs::write(rig.log("y.tmp"), n.to_string()).unwrap();
    }
    append_to(&path, "2\n");
    fs::rename(&path, rig.log("a.log.1")).unwrap();
    append_to(&rig.log("a.log.1"), "3\n");
    append_to(&path, "4\n");
    append_to(&rig.log("new.log"), "new 1\n");
    append_to(&rig.log("quiet.log"), "quiet 2\n");
    agent.thaw();
    for last in ["4", "new 1", "quiet 2"] {
        loki.wait_for(last, SOON, |line| line == last);
    }
    let lines = pushed_up_to(&loki, "4");
    let of_a: Vec<&str> = lines.iter().map(String::as_str).filter(|l| l.parse::<u32>().is_ok()).collect();
    assert_eq!(of_a, ["1", "2", "3", "4"]);
    assert_eq!(lines.len(), 7, "{lines:?}");
    assert!(agent.metric("lugger_watch_overflows_total").is_some_and(|n| n >= 1.0), "no event was lost");
    stop(agent);
}

/// What is written and deleted before the agent looks can be read only from a descriptor that is open already. Files that are written to now and then
/// keep theirs, however many others are idle, and however many are held for being rotated and not stored yet.
#[test]
fn row_12_files_in_use_stay_open_among_many_others() {
    let rig = Rig::new();
    keeps_files_in_use(&rig);
}

/// The same where a process may have a thousand files open.
#[test]
fn row_12_files_in_use_stay_open_with_the_usual_limit_of_descriptors() {
    let rig = Rig::new().with_descriptors(1_024);
    keeps_files_in_use(&rig);
}

fn keeps_files_in_use(rig: &Rig) {
    const OTHERS: u64 = 400;
    const IN_USE: u64 = 20;
    let loki = Loki::start();
    let agent = rig.start(&config(&loki, rig));
    let in_use = |n: u64| rig.log(&format!("in-use-{n}.log"));
    let lines = || agent.metric("lugger_source_lines_total").unwrap_or_default() as u64;
    let mut written = 0;
    let mut write = |path: &Path| {
        append_to(path, format!("{written}\n"));
        written += 1;
        written
    };
    let mut write_in_use = || (0..IN_USE).map(|n| write(&in_use(n))).max().unwrap_or_default();
    // Twice, so that they are known to be in use.
    for _ in 0..2 {
        let all = write_in_use();
        wait_until("those in use to be read", SOON, || lines() == all);
    }
    loki.pause();
    let mut all = 0;
    for n in 0..OTHERS {
        let path = rig.log(&format!("{n}.log"));
        all = write(&path);
        if n % 2 == 0 {
            wait_until("a file to be read before it is renamed", SOON, || lines() == all);
            fs::rename(&path, path.with_extension("old")).unwrap();
        }
    }
    wait_until("the others to be read", SOON, || lines() == all);
    agent.freeze();
    for n in 0..IN_USE {
        all = write(&in_use(n));
        fs::remove_file(in_use(n)).unwrap();
    }
    agent.thaw();
    loki.resume();
    wait_until("every line", SOON, || loki.distinct() == all);
    loki.assert_no_defects();
    stop(agent);
}
