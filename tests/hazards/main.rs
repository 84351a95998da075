//! What goes wrong when logs are tailed and shipped: one test a hazard, with the real binary, real files and the strict fake Loki.
//!
//! Each hazard was met by users of some agent. The number in a test's name is the hazard's in the list that the project keeps; tests elsewhere that
//! hold one off have its number in their names, too: `cargo test row_` runs them all.

#[path = "../support/mod.rs"]
mod support;

mod capacity;
mod content;
mod delivery;
mod identity;
mod mounts;
mod rotation;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use support::agent::{Agent, Config, FileSource, Rig};
use support::loki::{Loki, Options};
use support::wait::settles;

const SOON: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(5);
/// No further entry for this long: then none is on its way.
const QUIET: Duration = Duration::from_millis(800);

fn keeping() -> Loki {
    Loki::start_with(Options { keep: true, ..Options::default() })
}

/// Reads `*.log`.
fn config(loki: &Loki, rig: &Rig) -> Config {
    Config::new(&loki.url()).source(FileSource::new("app", rig.log("*.log")))
}

#[track_caller]
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

/// Makes a file with the inode number `wanted`, which is free: file systems such as ext4 give a directory's new file the lowest free number of
/// the directory's group. Until it comes, others are kept aside.
#[track_caller]
fn make_with_inode(path: &Path, wanted: u64, content: &str) {
    let mut aside = Vec::new();
    let found = (0..10_000).any(|n| {
        let other = path.with_extension(format!("aside-{n}"));
        fs::write(&other, "").unwrap();
        let is_it = fs::metadata(&other).unwrap().ino() == wanted;
        aside.push(other);
        is_it
    });
    if !found {
        let path = path.display();
        panic!("{path} is on a file system that does not use inode numbers again: set TMPDIR to one that does (ext4)");
    }
    let it = aside.pop().unwrap();
    fs::write(&it, content).unwrap();
    fs::rename(&it, path).unwrap();
    for other in aside {
        fs::remove_file(other).unwrap();
    }
}
