//! Units of a real systemd, by its own socket and by a real bus; and what hangs or is no systemd at all.

mod support;
#[path = "support/systemd.rs"]
mod systemd;

use lugger::format::prometheus::text::Writer;
use lugger::model::samples::Samples;
use lugger::source::host::{Host, Roots, Settings};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use support::exposition::{self, Family};
use support::wait::{holds_within, wait_until};
use systemd::Systemd;

/// Descriptors are the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

const SOON: Duration = Duration::from_secs(30);
const STATES: [&str; 5] = ["activating", "active", "deactivating", "failed", "inactive"];

const UNITS: [(&str, &str); 9] = [
    ("good.service", "[Service]\nExecStart=/bin/sleep infinity\nTasksMax=77\n"),
    ("once.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"),
    ("bad.service", "[Service]\nExecStart=/bin/false\n"),
    (
        "again.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sleep 0.05\nRestart=always\nRestartSec=1ms\n",
    ),
    ("echo.socket", "[Socket]\nListenStream=%t/echo\nAccept=yes\n[Install]\nWantedBy=sockets.target\n"),
    ("echo@.service", "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n"),
    ("tick.timer", "[Timer]\nOnActiveSec=1ms\nAccuracySec=1ms\n"),
    ("tick.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
    ("with\\x2dletters.slice", "[Slice]\n"),
];
const WANTED: [&str; 6] = ["good.service", "once.service", "bad.service", "again.service", "echo.socket", "tick.timer"];

fn settings(root: &Path) -> Settings {
    let mut settings = Settings::new(Roots { rootfs: root.to_owned(), ..Roots::default() });
    settings.none();
    settings.set("systemd", true).unwrap();
    settings.set("loadavg", true).unwrap();
    settings.deadline = SOON;
    settings.systemd_enable_restarts_metrics = true;
    settings.systemd_enable_start_time_metrics = true;
    settings.systemd_enable_task_metrics = true;
    settings
}

fn tick(host: &mut Host) -> BTreeMap<String, Family> {
    let (mut samples, mut text) = (Samples::default(), Vec::new());
    host.collect(&mut samples);
    Writer::default().write(&samples, &mut text);
    exposition::read(&String::from_utf8(text).unwrap())
}

fn value(families: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let has = |found: &exposition::Labels| {
        labels.iter().all(|(name, value)| found.iter().any(|(label, text)| label == name && text == value))
    };
    families.get(name)?.series.iter().find(|(found, _)| has(found)).map(|(_, value)| *value)
}

/// Descriptors and threads of this process.
fn held() -> (usize, usize) {
    ["fd", "task"].map(|what| fs::read_dir(format!("/proc/self/{what}")).unwrap().count()).into()
}

/// States of units by their names, as systemd's own command tells them.
fn listed(systemd: &Systemd) -> BTreeMap<String, (String, String)> {
    let text = systemd.told(&["list-units", "--all", "--plain", "--no-legend", "--no-pager"]);
    let unit = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        Some((words.next()?, (words.next()?, words.next()?)))
    };
    text.lines().filter_map(unit).collect()
}

/// What is told beside what systemd's own command says at the same time: units come and go meanwhile, so that several looks may be needed.
fn compare(host: &mut Host, systemd: &Systemd) -> BTreeMap<String, Family> {
    let mut last = String::new();
    let mut found = None;
    holds_within(SOON, || {
        let before = listed(systemd);
        let told = tick(host);
        let same = before == listed(systemd);
        last = match differences(&before, &told) {
            _ if !host.failures().is_empty() => format!("{:?}", host.failures()),
            differ if differ.is_empty() => "units come and go".to_owned(),
            differ => format!("{differ:#?}"),
        };
        let well = same && last == "units come and go";
        found = well.then_some(told);
        well
    });
    found.unwrap_or_else(|| panic!("{last}"))
}

/// What both say differently.
fn differences(listed: &BTreeMap<String, (String, String)>, told: &BTreeMap<String, Family>) -> Vec<String> {
    let left_out = ["automount", "device", "mount", "scope", "slice"];
    let is_told = |name: &str| !left_out.contains(&name.rsplit('.').next().unwrap());
    let mut states: BTreeSet<(String, String, bool)> = BTreeSet::new();
    for (name, (load, active)) in listed.iter().filter(|(name, _)| is_told(name)) {
        if load == "loaded" {
            states.extend(STATES.map(|state| (name.clone(), state.to_owned(), state == active)));
        }
    }
    let label = |labels: &exposition::Labels, name: &str| {
        labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let empty = Family::default();
    let series = &told.get("node_systemd_unit_state").unwrap_or(&empty).series;
    let series: BTreeSet<_> =
        series.iter().map(|(labels, value)| (label(labels, "name"), label(labels, "state"), *value == 1.0)).collect();
    let mut wrong: Vec<String> = states.symmetric_difference(&series).map(|unit| format!("{unit:?}")).collect();
    for state in STATES {
        let count = listed.values().filter(|(_, active)| active == state).count() as f64;
        let counted = value(told, "node_systemd_units", &[("state", state)]);
        if counted != Some(count) {
            wrong.push(format!("{state}: {count} {counted:?}"));
        }
    }
    wrong
}

#[test]
fn units_of_a_real_systemd() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Not in /tmp, which systemd has for itself.
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let systemd = Systemd::start(root.path(), &UNITS, &WANTED);
    let mut connection = UnixStream::connect(root.path().join("run/echo")).unwrap();
    connection.write_all(b"x").unwrap();
    let answered = connection.read_exact(&mut [0]);
    assert!(answered.is_ok(), "{answered:?}\n{}", systemd.told(&["list-units", "--all", "--full", "--no-pager"]));
    let number = |unit: &str, interface: &str, name: &str| -> f64 {
        systemd.property(unit, interface, name).split_once(' ').unwrap().1.parse().unwrap()
    };
    wait_until("a unit fails", SOON, || systemd.property("bad.service", "Unit", "ActiveState") == "s \"failed\"");
    wait_until("a timer fires", SOON, || number("tick.timer", "Timer", "LastTriggerUSec") > 0.0);
    wait_until("restarts", SOON, || number("again.service", "Service", "NRestarts") > 2.0);
    assert!(systemd.systemctl(&["stop", "again.service"]).status.success());

    let mut host = Host::new(&settings(root.path())).unwrap();
    let told = compare(&mut host, &systemd);
    for list in [include_str!("host/names-dashboard.txt"), include_str!("host/names-alerts.txt")] {
        for name in list.lines().filter(|name| name.starts_with("node_systemd_")) {
            assert!(told.contains_key(name), "{name}");
        }
    }
    let service = |name| [("name", name), ("state", "active")];
    let kinds = [("good.service", "simple"), ("once.service", "oneshot"), ("dbus.service", "notify")];
    for (name, kind) in kinds {
        let labels = [&service(name)[..], &[("type", kind)]].concat();
        assert_eq!(value(&told, "node_systemd_unit_state", &labels), Some(1.0), "{name}");
    }
    let of = |name: &str, unit: &str| value(&told, &format!("node_systemd_{name}"), &[("name", unit)]);
    assert_eq!(of("socket_accepted_connections_total", "echo.socket"), Some(1.0));
    assert_eq!(of("socket_current_connections", "echo.socket"), Some(1.0));
    assert_eq!(of("socket_refused_connections_total", "echo.socket"), Some(0.0));
    let fired = number("tick.timer", "Timer", "LastTriggerUSec");
    assert_eq!(of("timer_last_trigger_seconds", "tick.timer"), Some(fired / 1e6));
    assert_eq!(of("service_restart_total", "good.service"), Some(0.0));
    assert_eq!(of("service_restart_total", "again.service"), Some(number("again.service", "Service", "NRestarts")));
    assert_eq!(of("unit_tasks_max", "good.service"), Some(77.0));
    // Where the kernel counts them by version 1 of control groups, systemd has no number.
    let tasks = number("good.service", "Service", "TasksCurrent");
    assert_eq!(of("unit_tasks_current", "good.service"), Some(tasks).filter(|tasks| *tasks < u64::MAX as f64));
    let since = number("good.service", "Unit", "ActiveEnterTimestamp");
    assert_eq!(of("unit_start_time_seconds", "good.service"), Some(since / 1e6));
    assert_eq!(of("unit_start_time_seconds", "bad.service"), Some(0.0));
    assert_eq!(value(&told, "node_systemd_system_running", &[]), Some(0.0), "a unit failed: degraded");
    let version = systemd.told(&["--version"]);
    let version: f64 = version.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(value(&told, "node_systemd_version", &[]).map(f64::floor), Some(version));
    assert!(told.contains_key("node_systemd_virtualization_info"));
    assert_eq!(value(&told, "node_scrape_collector_success", &[("collector", "systemd")]), Some(1.0));

    // The same over the bus, where systemd's own socket may not be opened, or is not there.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(elsewhere.path().join("run")).unwrap();
    symlink(root.path().join("run/dbus"), elsewhere.path().join("run/dbus")).unwrap();
    let mut over_bus = Host::new(&settings(elsewhere.path())).unwrap();
    let there = compare(&mut over_bus, &systemd);
    for (name, family) in told.iter().filter(|(name, _)| name.starts_with("node_systemd_")) {
        assert_eq!(there.get(name), Some(family), "{name}");
    }

    // A unit that is well again.
    assert!(systemd.systemctl(&["reset-failed"]).status.success());
    wait_until("the system is well", SOON, || systemd.manager("SystemState") == "s \"running\"");
    wait_until("that is told", SOON, || {
        value(&compare(&mut host, &systemd), "node_systemd_system_running", &[]) == Some(1.0)
    });
    let before = held();
    for _ in 0..20 {
        tick(&mut host);
        tick(&mut over_bus);
    }
    assert_eq!(held(), before, "descriptors and threads");

    for root in [root.path(), elsewhere.path()] {
        hang(root, &systemd);
    }
}

/// A manager that does not answer: its collector fails, the other does not; nothing is added however often it is asked; and it comes back.
fn hang(root: &Path, systemd: &Systemd) {
    let mut settings = settings(root);
    settings.set_deadline("systemd", Duration::from_millis(500)).unwrap();
    let mut host = Host::new(&settings).unwrap();
    let well = |families: &BTreeMap<String, Family>, collector: &str| {
        value(families, "node_scrape_collector_success", &[("collector", collector)])
    };
    assert_eq!(well(&tick(&mut host), "systemd"), Some(1.0));
    systemd.signal(Signal::STOP);
    tick(&mut host);
    let before = held();
    for round in 0..10 {
        let began = Instant::now();
        let hung = tick(&mut host);
        // Its deadline is far below.
        assert!(began.elapsed() < SOON);
        assert_eq!((well(&hung, "systemd"), well(&hung, "loadavg")), (Some(0.0), Some(1.0)));
        assert!(hung.contains_key("node_load1") && !hung.contains_key("node_systemd_units"));
        assert!(host.failures().iter().any(|failure| failure.collector == "systemd"), "{:?}", host.failures());
        if round % 4 == 0 {
            host.renew(&settings).unwrap();
        }
    }
    let after = held();
    assert!(after.0 <= before.0 + 1 && after.1 == before.1, "descriptors and threads: {before:?} {after:?}");
    systemd.signal(Signal::CONT);
    wait_until("it is told again", SOON, || well(&tick(&mut host), "systemd") == Some(1.0));
}

/// Sockets at which somebody else listens: a turn ends with an error in time, what was opened is closed, and nothing is told.
#[test]
fn who_is_no_systemd() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let hello = |answer: &'static [u8]| move |stream: &mut UnixStream| stream.write_all(answer).is_ok();
    type Answer = Box<dyn Fn(&mut UnixStream) -> bool + Send>;
    let endless = |first: &'static [u8], piece: &'static [u8]| -> Answer {
        Box::new(move |stream| {
            let _ = stream.write_all(first);
            while stream.write_all(piece).is_ok() {}
            false
        })
    };
    const WELL: &[u8] = b"OK 1234\r\n";
    // A signal: no body, no fields.
    const SIGNAL: &[u8] = &[b'l', 4, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    const LONG: &[u8] = &[b'l', 2, 0, 1, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0];
    const OTHER_ORDER: &[u8] = &[b'B', 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    let cases: [(&str, Answer); 8] = [
        ("refuses", Box::new(hello(b"REJECTED EXTERNAL\r\n"))),
        ("says something else", Box::new(hello(b"HTTP/1.0 400 Bad Request\r\n\r\n"))),
        ("never ends its line", endless(b"OK", b"x")),
        ("says nothing", Box::new(|stream| stream.read_to_end(&mut Vec::new()).is_ok())),
        ("closes", Box::new(|_| false)),
        ("sends signals for ever", endless(WELL, SIGNAL)),
        ("announces too much", endless(WELL, LONG)),
        ("has another byte order", endless(WELL, OTHER_ORDER)),
    ];
    for (what, answer) in cases {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("run/systemd")).unwrap();
        let listener = UnixListener::bind(root.path().join("run/systemd/private")).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(&mut stream.unwrap());
            }
        });
        let mut settings = settings(root.path());
        settings.set_deadline("systemd", Duration::from_millis(200)).unwrap();
        let mut host = Host::new(&settings).unwrap();
        let mut descriptors = Vec::new();
        for _ in 0..8 {
            let told = tick(&mut host);
            assert_eq!(value(&told, "node_scrape_collector_success", &[("collector", "systemd")]), Some(0.0), "{what}");
            assert!(!told.contains_key("node_systemd_units") && told.contains_key("node_load1"), "{what}");
            let failure = host.failures().iter().find(|failure| failure.collector == "systemd").unwrap();
            assert!(failure.what.contains("systemd"), "{what}: {}", failure.what);
            descriptors.push(held().0);
        }
        // Of the last connection each end may be open still.
        assert!(descriptors.iter().skip(1).all(|count| *count <= descriptors[1] + 2), "{what}: {descriptors:?}");
    }
}
