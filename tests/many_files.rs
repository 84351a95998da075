//! Ten thousand files that hardly anybody writes to: they cost little memory, few descriptors, and no work.
//!
//! Memory is compared with that of an agent that follows ten files, both after a restart, when they have sent a line.

mod support;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use support::agent::{Agent, Config, FileSource, Rig};
use support::loki::Loki;
use support::wait::{settles, wait_until};
use support::writer::append_to;

const FILES: u64 = 10_000;
const FEW: u64 = 10;
/// What a quiet file may cost. It is about 350 bytes with names of this length; the rest is for what an allocator does.
const FILE_BYTES: u64 = 600;
/// Descriptors for idle files (`IDLE_DESCRIPTORS`), and some for files that are just being read.
const OPEN_FILES: usize = 256 + 16;
/// Room for a busy machine and a debug build.
const LONG: Duration = Duration::from_secs(180);

/// An agent and its files, in directories of 500.
struct Host {
    rig: Rig,
    loki: Loki,
}

impl Host {
    fn new(files: u64) -> Self {
        let host = Host { rig: Rig::new(), loki: Loki::start() };
        for n in 0..files {
            fs::create_dir_all(host.path(n).parent().unwrap()).unwrap();
            fs::write(host.path(n), format!("{n} first\n")).unwrap();
        }
        host
    }

    fn path(&self, n: u64) -> PathBuf {
        self.rig.logs().join(format!("application-{:02}/{n:016}.log", n / 500))
    }

    fn start(&self) -> Agent {
        let pattern = self.rig.logs().join("*/*.log");
        self.rig.start(&Config::new(&self.loki.url()).source(FileSource::new("many", pattern)))
    }

    fn wait_for(&self, lines: u64) {
        wait_until("the lines", LONG, || self.loki.distinct() >= lines);
    }

    /// Memory of an agent that found all its files read but for one line.
    fn memory_after_restart(&self) -> u64 {
        let lines = self.loki.distinct();
        append_to(&self.path(0), "0 while nobody looked\n");
        let mut agent = self.start();
        self.wait_for(lines + 1);
        let resident = settles(Duration::from_secs(1), LONG, || agent.memory().0 / 65_536) * 65_536;
        assert!(agent.memory().1 < 64 * 1024 * 1024, "more than the default limit");
        agent.stop(LONG);
        assert_eq!(self.loki.totals().entries, lines + 1, "something else was sent after the restart");
        resident
    }
}

#[test]
fn ten_thousand_quiet_files_cost_little() {
    let few = Host::new(FEW);
    let mut agent = few.start();
    few.wait_for(FEW);
    agent.stop(LONG);
    let base = few.memory_after_restart();

    let many = Host::new(FILES);
    let mut agent = many.start();
    many.wait_for(FILES);
    // All get a line at once.
    for n in 0..FILES {
        append_to(&many.path(n), format!("{n} second\n"));
    }
    many.wait_for(2 * FILES);
    wait_until("idle files to be closed", LONG, || agent.open_files(&many.rig.logs()) <= OPEN_FILES);
    let calm = settles(Duration::from_secs(1), LONG, || agent.cpu());
    assert!(calm < LONG);
    agent.stop(LONG);
    assert_eq!(many.loki.totals().entries, 2 * FILES, "some were sent twice");

    let each = many.memory_after_restart().saturating_sub(base) / (FILES - FEW);
    println!("a quiet file: {each} bytes; {} KiB with {FEW} files", base / 1024);
    assert!(each < FILE_BYTES, "{each} bytes a file");
    many.loki.assert_no_defects();
}
