//! What survives a restart, and what a file's identity is: real binary, real files, nothing read twice and nothing passed over.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;
use support::agent::{Agent, Config, FileSource, Rig, names};
use support::loki::{Answer, Loki, Options};
use support::wait::{settles, wait_until};
use support::writer::append_to;

const SOON: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(5);
/// No further entry for this long: then none is on its way.
const QUIET: Duration = Duration::from_millis(800);

fn keeping() -> Loki {
    Loki::start_with(Options { keep: true, ..Options::default() })
}

fn config(loki: &Loki, rig: &Rig) -> Config {
    Config::new(&loki.url()).source(FileSource::new("app", rig.log("*.log")))
}

fn stop(mut agent: Agent) {
    assert_eq!(agent.stop(STOP).code, Some(0));
}

/// Waits for the last line, then for silence; what was pushed in all, repetitions included, in order of arrival.
#[track_caller]
fn pushed_up_to(loki: &Loki, last: &str) -> Vec<String> {
    loki.wait_for(last, SOON, |line| line == last);
    settles(QUIET, SOON, || loki.totals().entries);
    loki.assert_no_defects();
    loki.entries().into_iter().map(|kept| kept.line).collect()
}

/// A restart goes on where it stopped: no line again, none passed over.
#[test]
fn a_restart_goes_on_where_it_stopped() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "1\n2\n");
    let agent = rig.start(&config(&loki, &rig));
    assert_eq!(pushed_up_to(&loki, "2"), ["1", "2"]);
    stop(agent);
    append_to(&path, "3\n4\n");
    let agent = rig.start(&config(&loki, &rig));
    assert_eq!(pushed_up_to(&loki, "4"), ["1", "2", "3", "4"]);
    stop(agent);
    let agent = rig.start(&config(&loki, &rig));
    append_to(&path, "5\n");
    assert_eq!(pushed_up_to(&loki, "5"), ["1", "2", "3", "4", "5"]);
    stop(agent);
}

/// A file that was rotated while the agent was down, to a name that no pattern matches, is finished before the new one is read.
#[test]
fn row_02_what_was_rotated_while_down_is_finished_first() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "1\n2\n");
    let agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "2");
    stop(agent);
    append_to(&path, "3\n4\n");
    fs::rename(&path, rig.log("a.log.1")).unwrap();
    append_to(&path, "5\n6\n");
    let agent = rig.start(&config(&loki, &rig));
    assert_eq!(pushed_up_to(&loki, "6"), ["1", "2", "3", "4", "5", "6"]);
    stop(agent);
    // Again, and now two older generations lie beside it: one that is finished, one with an unread rest.
    append_to(&path, "7\n");
    fs::rename(rig.log("a.log.1"), rig.log("a.log.2")).unwrap();
    fs::rename(&path, rig.log("a.log.1")).unwrap();
    append_to(&path, "8\n");
    let agent = rig.start(&config(&loki, &rig));
    assert_eq!(pushed_up_to(&loki, "8"), ["1", "2", "3", "4", "5", "6", "7", "8"]);
    stop(agent);
}

/// A file that was deleted and made anew while the agent was down is read from its beginning, even if it is longer than the old
/// one was and has its inode.
#[test]
fn what_was_replaced_while_down_is_read_from_its_beginning() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "old 1\nold 2\n");
    let agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "old 2");
    stop(agent);
    fs::remove_file(&path).unwrap();
    append_to(&path, "new 1\nnew 2\nnew 3\n");
    let agent = rig.start(&config(&loki, &rig));
    assert_eq!(pushed_up_to(&loki, "new 3"), ["old 1", "old 2", "new 1", "new 2", "new 3"]);
    stop(agent);
    // The same inode, new content: as copytruncate, or as an inode that is used again.
    fs::write(&path, "third 1\nthird 2\nthird 3\nthird 4\nthird 5\n").unwrap();
    let agent = rig.start(&config(&loki, &rig));
    let lines = pushed_up_to(&loki, "third 5");
    assert_eq!(lines[5..], ["third 1", "third 2", "third 3", "third 4", "third 5"]);
    stop(agent);
}

/// Labels are no part of a file's identity: a changed label does not make anything be read again.
#[test]
fn row_14_changed_labels_read_nothing_again() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "1\n2\n");
    let source = || FileSource::new("app", rig.log("*.log"));
    let agent = rig.start(&Config::new(&loki.url()).source(source().label("env", "one")));
    pushed_up_to(&loki, "2");
    stop(agent);
    append_to(&path, "3\n");
    let agent = rig.start(&Config::new(&loki.url()).label("host", "h").source(source().label("env", "two")));
    assert_eq!(pushed_up_to(&loki, "3"), ["1", "2", "3"]);
    let entries = loki.entries();
    assert!(entries[0].stream.contains("env=\"one\""), "{}", entries[0].stream);
    assert!(
        entries[2].stream.contains("env=\"two\"") && entries[2].stream.contains("host=\"h\""),
        "{}",
        entries[2].stream
    );
    stop(agent);
}

/// `start_at: end` passes over what was there at the first start, and only that: later files are read whole, and so is what comes
/// while the agent is down.
#[test]
fn row_16_start_at_end_passes_over_what_was_there() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "1\n2\n");
    let config = Config::new(&loki.url()).source(FileSource::new("app", rig.log("*.log")).start_at("end"));
    let agent = rig.start(&config);
    agent.wait_ready();
    append_to(&rig.log("later.log"), "from its beginning\n");
    loki.wait_for("a later file", SOON, |line| line == "from its beginning");
    append_to(&path, "3\n");
    assert_eq!(pushed_up_to(&loki, "3"), ["from its beginning", "3"]);
    stop(agent);
    append_to(&path, "4\n");
    append_to(&rig.log("while-down.log"), "5\n");
    let agent = rig.start(&config);
    loki.wait_for("what came while down", SOON, |line| line == "4");
    append_to(&path, "6\n");
    let lines = pushed_up_to(&loki, "6");
    assert!(lines.contains(&"4".to_owned()) && !lines.contains(&"1".to_owned()), "{lines:?}");
    stop(agent);
}

/// `start_at: beginning`, written out, reads what was there; a half line at the end waits for its newline.
#[test]
fn row_16_start_at_beginning_reads_what_was_there() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "1\n2\nhal");
    let config = Config::new(&loki.url()).source(FileSource::new("app", rig.log("*.log")).start_at("beginning"));
    let agent = rig.start(&config);
    assert_eq!(pushed_up_to(&loki, "2"), ["1", "2"]);
    append_to(&path, "f\n");
    assert_eq!(pushed_up_to(&loki, "half"), ["1", "2", "half"]);
    stop(agent);
}

/// A half line at a stop is read whole by the next start.
#[test]
fn a_half_line_at_a_stop_is_read_whole_later() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "1\nhal");
    let agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "1");
    stop(agent);
    append_to(&path, "f\n2\n");
    let agent = rig.start(&config(&loki, &rig));
    assert_eq!(pushed_up_to(&loki, "2"), ["1", "half", "2"]);
    stop(agent);
}

/// A checkpoint is never ahead of what is stored: what was read but not acknowledged is sent again after a kill, with the same
/// timestamps.
#[test]
fn row_08_a_checkpoint_waits_for_the_acknowledgement() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "1\n2\n");
    let mut agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "2");
    // Stored, but the agent does not know: the worst case.
    loki.script(|_| Answer::StoreThenStatus(500));
    append_to(&path, "3\n4\n");
    loki.wait_for("the unacknowledged lines", SOON, |line| line == "4");
    wait_until("a retry", SOON, || agent.metric(names::RETRIES).is_some_and(|n| n >= 1.0));
    agent.kill();
    let before = loki.totals();
    loki.behave();
    let mut agent = rig.start(&config(&loki, &rig));
    wait_until("the lines to come again", SOON, || loki.totals().entries >= before.entries + 2);
    settles(QUIET, SOON, || loki.totals().entries);
    assert_eq!(loki.lines(), ["1", "2", "3", "4"], "Loki would show a repetition");
    // Down: read, not stored; killed, read again.
    loki.pause();
    append_to(&path, "5\n");
    wait_until("a retry", SOON, || agent.metric(names::RETRIES).is_some_and(|n| n >= 1.0));
    agent.kill();
    loki.resume();
    let agent = rig.start(&config(&loki, &rig));
    loki.wait_for("the line that was not stored", SOON, |line| line == "5");
    settles(QUIET, SOON, || loki.totals().entries);
    assert_eq!(loki.lines(), ["1", "2", "3", "4", "5"]);
    stop(agent);
}

/// Directories that are made together with their files are found, at once and not by the slow sweep alone.
#[test]
fn new_directories_and_their_files_are_found() {
    let loki = keeping();
    let rig = Rig::new();
    let config = Config::new(&loki.url()).source(FileSource::new("app", rig.log("**/*.log")));
    let agent = rig.start(&config);
    agent.wait_ready();
    for n in 0..20 {
        let directory = rig.log(&format!("a{n}/b/c"));
        fs::create_dir_all(&directory).unwrap();
        append_to(&directory.join("x.log"), format!("deep {n}\n"));
        append_to(&rig.log(&format!("a{n}")).join("y.log"), format!("shallow {n}\n"));
    }
    append_to(&rig.log("top.log"), "top\n");
    wait_until("all files", SOON, || loki.distinct() >= 41);
    // A whole tree that is moved in.
    let outside = rig.path().join("outside/deep");
    fs::create_dir_all(&outside).unwrap();
    append_to(&outside.join("z.log"), "moved in\n");
    fs::rename(rig.path().join("outside"), rig.log("inside")).unwrap();
    let mut lines = pushed_up_to(&loki, "moved in");
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 42);
    stop(agent);
}

/// A directory above the pattern that does not exist yet is waited for.
#[test]
fn a_root_that_does_not_exist_yet_is_waited_for() {
    let loki = keeping();
    let rig = Rig::new();
    let config = Config::new(&loki.url())
        .source(FileSource::new("app", rig.log("not/yet/here/*.log")))
        .source(FileSource::new("other", rig.log("other.log")));
    append_to(&rig.log("other.log"), "other\n");
    let agent = rig.start(&config);
    loki.wait_for("the other source", SOON, |line| line == "other");
    fs::create_dir_all(rig.log("not/yet/here")).unwrap();
    append_to(&rig.log("not/yet/here/a.log"), "found\n");
    loki.wait_for("the file in the new directory", SOON, |line| line == "found");
    stop(agent);
}

/// What `exclude` names is left out: files, whole directories, and files that come later; two includes that match one file read it once.
#[test]
fn patterns_include_and_exclude() {
    let loki = keeping();
    let rig = Rig::new();
    let source = FileSource::new("app", rig.log("**/*.log"))
        .include(rig.log("a.*"))
        .include(rig.log("{b,c}.txt"))
        .exclude("**/debug-*")
        .exclude(rig.log("private/**"));
    for directory in ["private", "public/deep"] {
        fs::create_dir_all(rig.log(directory)).unwrap();
    }
    let files = ["a.log", "a.txt", "b.txt", "d.txt", "debug-a.log", "private/p.log", "public/deep/q.log"];
    for file in files {
        append_to(&rig.log(file), format!("{file}\n"));
    }
    let agent = rig.start(&Config::new(&loki.url()).source(source));
    loki.wait_for("the deep file", SOON, |line| line == "public/deep/q.log");
    append_to(&rig.log("public/debug-later.log"), "no\n");
    append_to(&rig.log("private/later.log"), "no\n");
    append_to(&rig.log("c.txt"), "c.txt\n");
    loki.wait_for("the later file", SOON, |line| line == "c.txt");
    settles(QUIET, SOON, || loki.totals().entries);
    let mut lines: Vec<String> = loki.entries().into_iter().map(|kept| kept.line).collect();
    lines.sort();
    assert_eq!(lines, ["a.log", "a.txt", "b.txt", "c.txt", "public/deep/q.log"]);
    stop(agent);
}

/// A symbolic link is its target: when it points elsewhere the new target is read, and the old one to its end.
#[test]
fn row_15_a_link_that_points_elsewhere_is_followed() {
    let loki = keeping();
    let rig = Rig::new();
    let (one, two) = (rig.path().join("one.txt"), rig.path().join("two.txt"));
    append_to(&one, "one 1\n");
    append_to(&two, "two 1\n");
    symlink(&one, rig.log("current.log")).unwrap();
    let agent = rig.start(&config(&loki, &rig));
    loki.wait_for("the first target", SOON, |line| line == "one 1");
    append_to(&one, "one 2\n");
    // Replaced in one step, as deployments do it.
    symlink(&two, rig.log("next")).unwrap();
    fs::rename(rig.log("next"), rig.log("current.log")).unwrap();
    loki.wait_for("the second target", SOON, |line| line == "two 1");
    loki.wait_for("the rest of the first target", SOON, |line| line == "one 2");
    append_to(&two, "two 2\n");
    let lines = pushed_up_to(&loki, "two 2");
    assert_eq!(lines.len(), 4, "{lines:?}");
    stop(agent);
}

/// Two names of one file, hard or symbolic, are one file.
#[test]
fn a_file_with_two_names_is_read_once() {
    let loki = keeping();
    let rig = Rig::new();
    append_to(&rig.log("a.log"), "1\n");
    fs::hard_link(rig.log("a.log"), rig.log("b.log")).unwrap();
    symlink(rig.log("a.log"), rig.log("c.log")).unwrap();
    let agent = rig.start(&config(&loki, &rig));
    loki.wait_for("the line", SOON, |line| line == "1");
    append_to(&rig.log("b.log"), "2\n");
    assert_eq!(pushed_up_to(&loki, "2"), ["1", "2"]);
    stop(agent);
}

/// A name that is gone for a moment and comes back, as an editor or `mv` there and back does it, is not read again.
#[test]
fn row_10_a_name_that_is_gone_for_a_moment_is_not_read_again() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "1\n2\n");
    let agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "2");
    for round in 3..8 {
        fs::rename(&path, rig.path().join("away")).unwrap();
        settles(Duration::from_millis(50), SOON, || loki.totals().entries);
        fs::rename(rig.path().join("away"), &path).unwrap();
        append_to(&path, format!("{round}\n"));
        loki.wait_for("the next line", SOON, |line| line == round.to_string());
    }
    assert_eq!(pushed_up_to(&loki, "7"), ["1", "2", "3", "4", "5", "6", "7"]);
    stop(agent);
}

/// A directory that is renamed or made anew is not blind until the next sweep looks: what is written in it is noticed as anywhere else.
#[test]
fn renamed_and_remade_directories_are_followed_at_once() {
    /// Below the ten seconds of the sweep, above all that a busy machine may need.
    const BEFORE_THE_SWEEP: Duration = Duration::from_secs(5);
    let loki = keeping();
    let rig = Rig::new();
    fs::create_dir_all(rig.log("a/log")).unwrap();
    append_to(&rig.log("a/log/x.log"), "1\n");
    let agent = rig.start(&Config::new(&loki.url()).source(FileSource::new("app", rig.log("*/log/*.log"))));
    let soon = |line: &str| {
        loki.wait_for(line, BEFORE_THE_SWEEP, |other| other == line);
    };
    soon("1");
    fs::rename(rig.log("a"), rig.log("b")).unwrap();
    append_to(&rig.log("b/log/x.log"), "2\n");
    soon("2");
    fs::remove_dir_all(rig.log("b")).unwrap();
    fs::create_dir_all(rig.log("b/log")).unwrap();
    append_to(&rig.log("b/log/x.log"), "3\n");
    soon("3");
    fs::rename(rig.log("b/log"), rig.log("b/old")).unwrap();
    fs::create_dir(rig.log("b/log")).unwrap();
    append_to(&rig.log("b/log/x.log"), "4\n");
    soon("4");
    assert_eq!(pushed_up_to(&loki, "4"), ["1", "2", "3", "4"]);
    stop(agent);
}

/// Deleted while the receiver is down: the content is held until it is delivered, and the descriptor is let go afterwards.
#[test]
fn row_03_a_deleted_file_is_held_until_it_is_delivered() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "1\n");
    let agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "1");
    loki.pause();
    append_to(&path, "2\n3\n");
    wait_until("a retry", SOON, || agent.metric(names::RETRIES).is_some_and(|n| n >= 1.0));
    append_to(&path, "4\n");
    fs::remove_file(&path).unwrap();
    loki.resume();
    assert_eq!(pushed_up_to(&loki, "4"), ["1", "2", "3", "4"]);
    stop(agent);
}

/// Many files at once, more than the descriptors that are kept open: each line arrives, and idle files are closed.
#[test]
fn many_files_need_few_descriptors() {
    let loki = Loki::start();
    let rig = Rig::new();
    let count: u64 = 1_500;
    let name = |n: u64| rig.log(&format!("{n}.log"));
    for n in 0..count {
        append_to(&name(n), format!("{n} first\n"));
    }
    let agent = rig.start(&config(&loki, &rig));
    wait_until("every first line", Duration::from_secs(90), || loki.distinct() >= count);
    for n in 0..count {
        append_to(&name(n), format!("{n} second\n"));
    }
    wait_until("every second line", Duration::from_secs(90), || loki.distinct() >= 2 * count);
    wait_until("idle files to be closed", Duration::from_secs(90), || agent.open_files(&rig.logs()) <= 300);
    assert_eq!(loki.totals().entries, 2 * count);
    loki.assert_no_defects();
    stop(agent);
}

/// The agent's own metrics: build information is there, and the lag is 0 once everything is stored.
#[test]
fn metrics_tell_of_the_lag() {
    let loki = keeping();
    let rig = Rig::new();
    append_to(&rig.log("a.log"), "1\n");
    let agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "1");
    wait_until("build information", SOON, || agent.metric(names::BUILD) == Some(1.0));
    wait_until("no lag", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    loki.pause();
    append_to(&rig.log("a.log"), "22222\n");
    wait_until("some lag", SOON, || agent.metric(names::LAG_BYTES).is_some_and(|bytes| bytes >= 6.0));
    loki.resume();
    wait_until("no lag again", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    stop(agent);
}

/// A file that was emptied and filled again to the very same size while the agent was down is other content, and is read.
#[test]
fn what_was_filled_again_to_the_same_size_while_down_is_read() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    append_to(&path, "1\n2\n3\n");
    let agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "3");
    stop(agent);
    fs::write(&path, "4\n5\n6\n").unwrap();
    let agent = rig.start(&config(&loki, &rig));
    assert_eq!(pushed_up_to(&loki, "6"), ["1", "2", "3", "4", "5", "6"]);
    stop(agent);
}

/// A copy that `copytruncate` made is not taken for a generation that nobody read when the log is made anew while the agent is down.
#[test]
fn a_copy_is_not_sent_when_its_log_was_made_anew_while_down() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.path().join("a.log");
    append_to(&path, "1\n2\n");
    let config = Config::new(&loki.url()).source(FileSource::new("app", &path));
    let agent = rig.start(&config);
    pushed_up_to(&loki, "2");
    fs::copy(&path, rig.path().join("a.log.1")).unwrap();
    fs::write(&path, "").unwrap();
    append_to(&path, "3\n");
    pushed_up_to(&loki, "3");
    // The copy is older than the agent's last sign of life by more than what is allowed for.
    for n in 4..8 {
        settles(Duration::from_millis(700), SOON, || loki.totals().entries);
        append_to(&path, format!("{n}\n"));
        pushed_up_to(&loki, &n.to_string());
    }
    stop(agent);
    fs::remove_file(&path).unwrap();
    append_to(&path, "8\n");
    let agent = rig.start(&config);
    assert_eq!(pushed_up_to(&loki, "8"), ["1", "2", "3", "4", "5", "6", "7", "8"]);
    stop(agent);
}
