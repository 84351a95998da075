//! What hangs: a file system of a process that is stopped, with a directory of the textfile collector in it, or a part of /sys. The rest of a tick is told all
//! the same, nobody waits for it twice, no thread or descriptor is added however often it is asked, and it comes back.

mod support;
#[path = "support/host_tree.rs"]
mod tree;

use lugger::format::prometheus::text::Writer;
use lugger::model::samples::Samples;
use lugger::source::host::{Host, Roots, Settings};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use support::agent::Rig;
use support::exposition::{self, Family};
use support::pusher;
use support::wait::wait_until;
use tree::Tree;

const SOON: Duration = Duration::from_secs(30);

/// A directory by way of a process, which can be stopped.
struct Mirror {
    child: Child,
    at: PathBuf,
}

impl Mirror {
    fn new(of: &Path, at: &Path) -> Mirror {
        fs::create_dir_all(at).unwrap();
        let at_it = format!(" {} ", at.display());
        let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap().matches(&at_it).count();
        let before = mounts();
        let child = Command::new("bindfs").arg("-f").arg(of).arg(at).args(["-o", "nonempty"]).spawn();
        let mirror = Mirror { child: child.expect("bindfs: tests/run installs it"), at: at.to_owned() };
        wait_until("the mount", SOON, || mounts() > before);
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

/// A part of a tree by way of a process.
fn mirrored(tree: &Tree, part: &str) -> Mirror {
    let real = tree.root().join("real").join(part);
    fs::create_dir_all(real.parent().unwrap()).unwrap();
    fs::rename(tree.path(part), &real).unwrap();
    Mirror::new(&real, &tree.path(part))
}

/// Collectors that did not succeed.
fn failing(families: &BTreeMap<String, Family>) -> Vec<String> {
    let series = &families["node_scrape_collector_success"].series;
    series.iter().filter(|(_, value)| **value == 0.0).map(|(labels, _)| labels[0].1.clone()).collect()
}

/// Threads of collectors, and descriptors.
fn held() -> (usize, usize) {
    let names = fs::read_dir("/proc/self/task").unwrap();
    let names = names.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
    (names.filter(|name| name.starts_with("lugger-")).count(), fs::read_dir("/proc/self/fd").unwrap().count())
}

/// Tests of this file count threads of the process that they share.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn what_hangs_delays_one_tick_and_nothing_else() {
    let _alone = alone();
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

/// More mounts hang than threads ask at a time, two of them at one path: others are told in every tick, nobody waits for them twice, and one path keeps one thread.
#[test]
fn mounts_that_hang_leave_the_others_to_be_told() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let mirror = |of: &str, to: &str| {
        fs::create_dir_all(at(of)).unwrap();
        Mirror::new(&at(of), &at(to))
    };
    let names: Vec<String> = (0..6).map(|number| format!("hangs{number}")).collect();
    let mut hanging: Vec<Mirror> = names.iter().map(|name| mirror(&format!("of-{name}"), name)).collect();
    hanging.push(mirror("over", &names[0]));
    let _well = mirror("of-well", "well");
    let mut settings = Settings::new(Roots::default());
    settings.none();
    settings.set("filesystem", true).unwrap();
    settings.deadline = Duration::from_secs(4);
    let mut host = Host::new(&settings).unwrap();
    let error = |families: &BTreeMap<String, Family>, name: &str| {
        let path = at(name).to_string_lossy().into_owned();
        find(families, "node_filesystem_device_error", ("mountpoint", &path), "device_error").unwrap().1
    };
    let series = |families: &BTreeMap<String, Family>| families["node_filesystem_size_bytes"].series.len();
    let before = tick(&mut host);
    for name in names.iter().map(String::as_str).chain(["well"]) {
        assert_eq!(error(&before, name), "");
    }
    hanging.iter().for_each(|mirror| mirror.signal(Signal::STOP));
    let all_hang = |families: &BTreeMap<String, Family>| {
        assert_eq!(error(families, "well"), "", "what does not hang is told");
        names.iter().all(|name| error(families, name) == "mountpoint timeout")
    };
    wait_until("all that hang are known", SOON, || all_hang(&tick(&mut host)));
    tick(&mut host);
    let threads = held().0;
    let began = Instant::now();
    for _ in 0..40 {
        let families = tick(&mut host);
        assert!(all_hang(&families));
        assert_eq!(series(&families), series(&before) - hanging.len());
    }
    // Half of the deadline is what a tick waits for what hangs.
    assert!(began.elapsed() < 10 * settings.deadline, "{:?}", began.elapsed());
    let asking = fs::read_dir("/proc/self/task").unwrap();
    let asking = asking.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
    let asking = asking.filter(|name| name.starts_with("lugger-statfs")).count();
    assert!(asking <= names.len() + 4, "{asking} threads");
    assert_eq!(held().0, threads, "threads");
    hanging.iter().for_each(|mirror| mirror.signal(Signal::CONT));
    wait_until("all are told again", SOON, || series(&tick(&mut host)) == series(&before));
    drop(host);
    wait_until("the threads end", SOON, || held().0 == 0);
}

/// One of the collectors that share a thread.
#[test]
fn what_nobody_expects_to_hang_delays_one_tick_and_nothing_else() {
    let _alone = alone();
    let tree = Tree::new();
    let mirror = mirrored(&tree, "sys/class/net");
    let mut settings = tree.settings();
    settings.deadline = Duration::from_secs(2);
    let mut host = Host::new(&settings).unwrap();
    let well = tick(&mut host);
    assert_eq!(failing(&well), [""; 0]);
    let usual = held().0;

    mirror.signal(Signal::STOP);
    let began = Instant::now();
    let hung = tick(&mut host);
    assert!(began.elapsed() < SOON);
    assert_eq!(failing(&hung), ["bonding", "netclass"]);
    assert!(host.failures().iter().any(|failure| failure.collector == "bonding" && failure.what.contains("hangs")));
    let names = |families: &BTreeMap<String, Family>| -> Vec<String> {
        let others = |name: &&String| !name.starts_with("node_bonding_") && !name.starts_with("node_network_");
        families.keys().filter(others).cloned().collect()
    };
    assert_eq!(names(&hung), names(&well), "all others are told in the same tick");

    let before = held();
    assert_eq!(before.0, usual + 1, "one more thread than before");
    let began = Instant::now();
    for round in 0..40 {
        assert_eq!(failing(&tick(&mut host)), ["bonding", "netclass"]);
        match round % 8 {
            0 => host.renew(&settings).unwrap(),
            // Off and on again: what hangs gets no second thread.
            4 => {
                let mut without = settings.clone();
                without.set("bonding", false).unwrap();
                without.set("netclass", false).unwrap();
                host.renew(&without).unwrap();
                assert_eq!(failing(&tick(&mut host)), [""; 0]);
                host.renew(&settings).unwrap();
            }
            _ => {}
        }
    }
    assert!(began.elapsed() < 20 * settings.deadline, "{:?}", began.elapsed());
    let after = held();
    assert_eq!(after.0, before.0, "threads");
    assert!(after.1 <= before.1 + 2, "descriptors: {before:?} {after:?}");

    mirror.signal(Signal::CONT);
    wait_until("it is told again", SOON, || failing(&tick(&mut host)).is_empty());
    assert_eq!(names(&tick(&mut host)), names(&well));
    drop(host);
    wait_until("the threads end", SOON, || held().0 == 0);
}

/// All of /sys: every collector that reads it hangs, one after the other.
#[test]
fn many_that_hang_leave_the_others_alone() {
    let _alone = alone();
    let tree = Tree::new();
    let mirror = mirrored(&tree, "sys");
    let mut settings = tree.settings();
    settings.deadline = Duration::from_millis(400);
    let mut host = Host::new(&settings).unwrap();
    wait_until("all is told", SOON, || failing(&tick(&mut host)).is_empty());
    let usual = held().0;
    mirror.signal(Signal::STOP);
    // Those that hang are found some a tick, and after that a tick costs nothing.
    let mut found = Vec::new();
    wait_until("all that hang are known", SOON, || {
        let before = std::mem::replace(&mut found, failing(&tick(&mut host)));
        found == before && host.failures().iter().all(|failure| failure.what.contains("it hangs"))
    });
    for name in ["bonding", "diskstats", "edac", "watchdog", "xfs"] {
        assert!(found.iter().any(|found| found == name), "{name} hangs: {found:?}");
    }
    for name in ["loadavg", "meminfo", "stat", "vmstat", "netstat"] {
        assert!(!found.iter().any(|found| found == name), "{name} does not hang");
    }
    let before = held();
    assert!(before.0 <= usual + found.len(), "{before:?} {usual}");
    let began = Instant::now();
    for _ in 0..40 {
        assert_eq!(failing(&tick(&mut host)), found);
    }
    assert!(began.elapsed() < 20 * settings.deadline, "{:?}", began.elapsed());
    assert_eq!(held().0, before.0, "threads");
    mirror.signal(Signal::CONT);
    wait_until("all is told again", SOON, || failing(&tick(&mut host)).is_empty());
    drop(host);
    wait_until("the threads end", SOON, || held().0 == 0);
}

/// The agent under a /sys that hangs: it ticks, answers, and takes another configuration.
#[test]
fn the_agent_goes_on_while_a_collector_hangs() {
    let _alone = alone();
    let tree = Tree::new();
    let mirror = mirrored(&tree, "sys/class/net");
    let rig = Rig::new();
    let (sys, state) = (tree.path("sys"), rig.state());
    let text = |http: &str, label: &str| {
        format!(
            "labels: {{ site: {label} }}\nremote_write: [ {{ url: \"http://127.0.0.1:1/api/v1/write\" }} ]\nmetrics: {{ interval: 1s, host: {{ sysfs: {}, deadline: 500ms }} }}\n\
             http: {{ listen: \"{http}\" }}\nstate_dir: {}\n",
            sys.display(),
            state.display()
        )
    };
    let agent = rig.start_text(|http| text(&http.to_string(), "one"));
    let ticks = || agent.metric("lugger_host_ticks_total").unwrap_or_default();
    wait_until("a tick", SOON, || ticks() >= 1.0);
    mirror.signal(Signal::STOP);
    wait_until("the collector is shown", SOON, || {
        pusher::get(agent.address(), "/api/status").unwrap().body.contains("collector bonding: it hangs")
    });
    let before = ticks();
    wait_until("further ticks", SOON, || ticks() >= before + 3.0);
    let told = pusher::get(agent.address(), "/metrics/host").unwrap();
    assert!(told.status == 200 && told.body.contains("\nnode_load1 "), "{}", told.body);
    fs::write(rig.config_file(), text(&agent.address().to_string(), "two")).unwrap();
    assert_eq!(agent.reload().status, 200);
    let before = ticks();
    wait_until("ticks under the other configuration", SOON, || ticks() >= before + 2.0);
    mirror.signal(Signal::CONT);
    wait_until("the collector is back", SOON, || {
        !pusher::get(agent.address(), "/api/status").unwrap().body.contains("it hangs")
    });
}
