//! Who a file is: inode numbers that are used again, names that move, names that are gone for a while, links that lead elsewhere.

use crate::support::agent::{Config, FileSource, Rig, names};
use crate::support::wait::{settles, wait_until};
use crate::support::writer::append_to;
use crate::{SOON, config, keeping, make_with_inode, pushed_up_to, stop};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

/// A deleted file's inode number is used again while the agent is down, by a file that is longer than the old one's place of reading,
/// and by one that is shorter: both are new files and are read whole.
#[test]
fn row_01_an_inode_that_was_used_again_while_down_is_a_new_file() {
    for (name, size) in [("longer", 40), ("shorter", 2)] {
        let loki = keeping();
        let rig = Rig::new();
        let path = rig.log("a.log");
        let old: Vec<String> = (0..20).map(|n| format!("old {n}")).collect();
        append_to(&path, format!("{}\n", old.join("\n")));
        let agent = rig.start(&config(&loki, &rig));
        assert_eq!(pushed_up_to(&loki, "old 19"), old);
        stop(agent);
        let inode = fs::metadata(&path).unwrap().ino();
        fs::remove_file(&path).unwrap();
        let new: Vec<String> = (0..size).map(|n| format!("new {n}")).collect();
        make_with_inode(&path, inode, &format!("{}\n", new.join("\n")));
        let agent = rig.start(&config(&loki, &rig));
        let lines = pushed_up_to(&loki, new.last().unwrap());
        assert_eq!(lines[20..], new, "{name}");
        stop(agent);
    }
}

/// The same while the agent runs, under the same name and under another.
#[test]
fn row_01_an_inode_that_is_used_again_while_running_is_a_new_file() {
    let loki = keeping();
    let rig = Rig::new();
    let mut path = rig.log("0.log");
    append_to(&path, "file 0 line 1\nfile 0 line 2\n");
    let mut expected = vec!["file 0 line 1".to_owned(), "file 0 line 2".to_owned()];
    let agent = rig.start(&config(&loki, &rig));
    for round in 1..4 {
        assert_eq!(pushed_up_to(&loki, expected.last().unwrap()), expected);
        let inode = fs::metadata(&path).unwrap().ino();
        fs::remove_file(&path).unwrap();
        // Its number is free once the agent has let it go.
        wait_until("the deleted file to be let go", SOON, || agent.open_files(&rig.logs()) == 0);
        let next = if round == 1 { path.clone() } else { rig.log(&format!("{round}.log")) };
        let new: Vec<String> = (0..3 * round).map(|n| format!("file {round} line {n}")).collect();
        make_with_inode(&next, inode, &format!("{}\n", new.join("\n")));
        expected.extend(new);
        path = next;
    }
    assert_eq!(pushed_up_to(&loki, expected.last().unwrap()), expected);
    assert_eq!(agent.metric(names::LOST), Some(0.0));
    stop(agent);
}

/// Two files exchange their names while the agent is down, and again, with new lines in both: each goes on where it was.
#[test]
fn row_05_names_that_were_exchanged_while_down_are_files_that_moved() {
    let loki = keeping();
    let rig = Rig::new();
    let (a, b, third) = (rig.log("a.log"), rig.log("b.log"), rig.log("third"));
    append_to(&a, "x 0\n");
    append_to(&b, "y 0\n");
    for round in 1..4 {
        let agent = rig.start(&config(&loki, &rig));
        loki.wait_for("the line of x", SOON, |line| line == format!("x {}", round - 1));
        loki.wait_for("the line of y", SOON, |line| line == format!("y {}", round - 1));
        stop(agent);
        fs::rename(&a, &third).unwrap();
        fs::rename(&b, &a).unwrap();
        fs::rename(&third, &b).unwrap();
        let (x, y) = if round % 2 == 1 { (&b, &a) } else { (&a, &b) };
        append_to(x, format!("x {round}\n"));
        append_to(y, format!("y {round}\n"));
    }
    let agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "x 3");
    let lines = pushed_up_to(&loki, "y 3");
    for file in ["x", "y"] {
        let of: Vec<&String> = lines.iter().filter(|line| line.starts_with(file)).collect();
        assert_eq!(of, [0, 1, 2, 3].map(|n| format!("{file} {n}")).iter().collect::<Vec<_>>());
    }
    stop(agent);
}

/// A file is away when the agent starts, and its whole directory is away for a while when it runs: with their return they go on.
#[test]
fn row_10_what_was_away_over_a_start_or_with_its_directory_is_not_read_again() {
    let loki = keeping();
    let rig = Rig::new();
    let dir = rig.log("dir");
    fs::create_dir(&dir).unwrap();
    let (path, away) = (dir.join("a.log"), rig.path().join("away"));
    append_to(&path, "1\n2\n");
    let config = Config::new(&loki.url()).source(FileSource::new("app", rig.log("*/*.log")));
    let agent = rig.start(&config);
    pushed_up_to(&loki, "2");
    stop(agent);
    // Away at one start, and at another.
    fs::rename(&path, &away).unwrap();
    for other in ["other 1", "other 2"] {
        let agent = rig.start(&config);
        append_to(&dir.join("other.log"), format!("{other}\n"));
        loki.wait_for("another file's line", SOON, |line| line == other);
        stop(agent);
    }
    let agent = rig.start(&config);
    agent.wait_ready();
    append_to(&away, "3\n");
    fs::rename(&away, &path).unwrap();
    assert_eq!(pushed_up_to(&loki, "3"), ["1", "2", "other 1", "other 2", "3"]);
    for round in 4..7 {
        fs::rename(&dir, &away).unwrap();
        settles(Duration::from_millis(50), SOON, || loki.totals().entries);
        append_to(&away.join("a.log"), format!("{round}\n"));
        fs::rename(&away, &dir).unwrap();
        loki.wait_for("the next line", SOON, |line| line == round.to_string());
    }
    assert_eq!(pushed_up_to(&loki, "6"), ["1", "2", "other 1", "other 2", "3", "4", "5", "6"]);
    assert_eq!(agent.metric(names::LOST), Some(0.0));
    stop(agent);
}

/// A link is led to a new target over and over while the endpoint is away: all targets are read to their ends, in order, also what is written
/// to an old one after the link has left it.
#[test]
fn row_15_links_that_are_led_elsewhere_during_an_outage_lose_nothing() {
    let loki = keeping();
    let rig = Rig::new();
    let targets = rig.path().join("targets");
    fs::create_dir(&targets).unwrap();
    let link = rig.log("current.log");
    let lead_to = |n: u32| {
        let beside = rig.path().join("link");
        symlink(targets.join(n.to_string()), &beside).unwrap();
        fs::rename(beside, &link).unwrap();
    };
    append_to(&targets.join("0"), "0 first\n");
    lead_to(0);
    let agent = rig.start(&config(&loki, &rig));
    pushed_up_to(&loki, "0 first");
    loki.pause();
    let mut expected = vec!["0 first".to_owned()];
    for n in 1..5 {
        append_to(&targets.join((n - 1).to_string()), format!("{} before\n", n - 1));
        append_to(&targets.join(n.to_string()), format!("{n} first\n"));
        lead_to(n);
        append_to(&targets.join((n - 1).to_string()), format!("{} after\n", n - 1));
        expected.extend([format!("{} before", n - 1), format!("{} after", n - 1), format!("{n} first")]);
        // Seen by the agent, so that each target was the current one for a while.
        wait_until("the target to be open", SOON, || agent.open_files(&targets.join(n.to_string())) == 1);
    }
    loki.resume();
    let mut lines = pushed_up_to(&loki, "4 first");
    // What was written to an old target after the link had left it may come after the new one's lines, but comes.
    lines.sort();
    expected.sort();
    assert_eq!(lines, expected);
    stop(agent);
}
