//! What hangs: a file system of a process that is stopped, with a directory of the textfile collector in it. The rest of a tick is told all the
//! same, nobody waits for it twice, no thread or descriptor is added however often it is asked, and it comes back.

mod support;

use lugger::format::prometheus::text::Writer;
use lugger::model::samples::Samples;
use lugger::source::host::{Host, Roots, Settings};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use support::exposition::{self, Family};
use support::wait::wait_until;

const SOON: Duration = Duration::from_secs(30);

/// A directory by way of a process, which can be stopped.
struct Mirror {
    child: Child,
    at: PathBuf,
}

impl Mirror {
    fn new(of: &Path, at: &Path) -> Mirror {
        fs::create_dir(at).unwrap();
        let child = Command::new("bindfs").arg("-f").arg(of).arg(at).spawn();
        let mirror = Mirror { child: child.expect("bindfs: tests/run installs it"), at: at.to_owned() };
        let mounted = || fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&format!(" {} ", at.display()));
        wait_until("the mount", SOON, mounted);
        mirror
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tick(host: &mut Host) -> BTreeMap<String, Family> {
    let (mut samples, mut text) = (Samples::default(), Vec::new());
    host.collect(&mut samples);
    Writer::default().write(&samples, &mut text);
    exposition::read(&String::from_utf8(text).unwrap())
}

/// The value of the only series that has this label, and what another label of it is.
fn find(families: &BTreeMap<String, Family>, name: &str, label: (&str, &str), other: &str) -> Option<(f64, String)> {
    let has =
        |labels: &&exposition::Labels| labels.iter().any(|(name, value)| (name.as_str(), value.as_str()) == label);
    let labels = families.get(name)?.series.keys().find(has)?;
    let other = labels.iter().find(|(name, _)| name == other).map(|(_, value)| value.clone());
    Some((families[name].series[labels], other.unwrap_or_default()))
}

/// Threads of collectors, and descriptors.
fn held() -> (usize, usize) {
    let names = fs::read_dir("/proc/self/task").unwrap();
    let names = names.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
    (names.filter(|name| name.starts_with("lugger-")).count(), fs::read_dir("/proc/self/fd").unwrap().count())
}

#[test]
fn what_hangs_delays_one_tick_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().join("real");
    fs::create_dir(&real).unwrap();
    fs::write(real.join("a.prom"), "from_text 1\n").unwrap();
    let mirror = Mirror::new(&real, &directory.path().join("mirror"));
    let mut settings = Settings::new(Roots::default());
    settings.deadline = Duration::from_secs(1);
    settings.textfile_directories = vec![mirror.at.clone()];
    let mut host = Host::new(&settings).unwrap();
    let at = mirror.at.to_string_lossy().into_owned();
    let point = ("mountpoint", at.as_str());
    let text = ("collector", "textfile");
    let success = "node_scrape_collector_success";
    let error = |families: &_| find(families, "node_filesystem_device_error", point, "device_error").unwrap();

    let well = tick(&mut host);
    assert_eq!(error(&well), (0.0, String::new()));
    assert!(find(&well, "node_filesystem_size_bytes", point, "").is_some() && well.contains_key("from_text"));

    mirror.signal(Signal::STOP);
    let began = Instant::now();
    let hung = tick(&mut host);
    assert!(began.elapsed() < SOON);
    assert_eq!(error(&hung), (1.0, "mountpoint timeout".to_owned()));
    assert!(find(&hung, "node_filesystem_size_bytes", point, "").is_none());
    assert!(find(&hung, "node_filesystem_size_bytes", ("mountpoint", "/"), "").is_some());
    assert_eq!(find(&hung, success, ("collector", "filesystem"), "").unwrap().0, 1.0);
    assert_eq!(find(&hung, success, text, "").unwrap().0, 0.0);
    assert!(hung.contains_key("node_load1") && !hung.contains_key("from_text"));
    assert!(host.failures().iter().any(|failure| failure.collector == "textfile" && failure.what.contains("hangs")));

    // Nobody waits for it again, with other settings neither; nothing is added.
    let before = held();
    let began = Instant::now();
    for round in 0..20 {
        assert_eq!(error(&tick(&mut host)).1, "mountpoint timeout");
        if round % 4 == 0 {
            host.renew(&settings).unwrap();
        }
    }
    assert!(began.elapsed() < 10 * settings.deadline, "{:?}", began.elapsed());
    let after = held();
    assert_eq!(after.0, before.0, "threads");
    assert!(after.1 <= before.1 + 2, "descriptors: {before:?} {after:?}");

    mirror.signal(Signal::CONT);
    wait_until("it is told again", SOON, || {
        let again = tick(&mut host);
        error(&again) == (0.0, String::new()) && again.contains_key("from_text")
    });
    drop(host);
    wait_until("the threads end", SOON, || held().0 == 0);
}
