//! Files of a host that say what no kernel says: a collector that reads them fails and says so, tells nothing that is wrong, and the others are what they were.

mod support;
#[path = "support/host_tree.rs"]
mod tree;

use lugger::source::host::{Host, Settings, collectors};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use support::exposition::{self, Labels};
use tree::Tree;

type Series = BTreeMap<(String, Labels), f64>;

/// Which collectors read what is below a path; of several that fit the longest.
const READERS: &[(&str, &str)] = &[
    ("proc/1/", "filesystem processes"),
    ("proc/11/", "processes"),
    ("proc/12/", "processes"),
    ("proc/cpuinfo", "cpu"),
    ("proc/diskstats", "diskstats"),
    ("proc/interrupts", "interrupts"),
    ("proc/loadavg", "loadavg"),
    ("proc/mdstat", "mdadm"),
    ("proc/meminfo", "meminfo"),
    ("proc/net/arp", "arp"),
    ("proc/net/dev", "netdev"),
    ("proc/net/ip_vs", "ipvs"),
    ("proc/net/netstat", "netstat"),
    ("proc/net/rpc/nfs", "nfs"),
    ("proc/net/rpc/nfsd", "nfsd"),
    ("proc/net/snmp", "netstat"),
    ("proc/net/sockstat", "sockstat"),
    ("proc/net/softnet_stat", "softnet"),
    ("proc/net/stat/nf_conntrack", "conntrack"),
    ("proc/net/udp", "udp_queues"),
    ("proc/pressure/", "pressure"),
    ("proc/schedstat", "schedstat"),
    ("proc/self/attr/", "selinux"),
    ("proc/softirqs", "softirqs"),
    ("proc/spl/kstat/zfs/", "zfs"),
    ("proc/stat", "cpu stat"),
    ("proc/sys/fs/file-nr", "filefd"),
    ("proc/sys/kernel/hung", "kernel_hung"),
    ("proc/sys/kernel/pid_max", "processes"),
    ("proc/sys/kernel/random/", "entropy"),
    ("proc/sys/kernel/threads-max", "processes"),
    ("proc/sys/net/netfilter/", "conntrack"),
    ("proc/vmstat", "vmstat"),
    ("root/etc/os-release", "os"),
    ("root/etc/selinux/", "selinux"),
    ("run/udev/", "diskstats"),
    ("sys/block/", "diskstats mdadm dmmultipath"),
    ("sys/class/dmi/", "dmi"),
    ("sys/class/fc_host/", "fibrechannel"),
    ("sys/class/hwmon/", "hwmon"),
    ("sys/class/infiniband/", "infiniband"),
    ("sys/class/net/", "netclass bonding"),
    ("sys/class/nvme/", "nvme"),
    ("sys/class/power_supply/", "powersupplyclass"),
    ("sys/class/powercap/", "rapl"),
    ("sys/class/scsi_tape/", "tapestats"),
    ("sys/class/thermal/", "thermal_zone"),
    ("sys/class/watchdog/", "watchdog"),
    ("sys/devices/pci0000:00/0000:00:19.0/net/", "netclass"),
    ("sys/devices/platform/coretemp.0/", "hwmon"),
    ("sys/devices/system/clocksource/", "time"),
    ("sys/devices/system/cpu/", "cpu cpufreq"),
    ("sys/devices/system/edac/", "edac"),
    ("sys/fs/bcache/", "bcache"),
    ("sys/fs/btrfs/", "btrfs"),
    ("sys/fs/selinux/", "selinux"),
    ("sys/fs/xfs/", "xfs"),
    ("text/", "textfile"),
];

fn readers(file: &str) -> Vec<&'static str> {
    let fits = READERS.iter().filter(|(path, _)| file.starts_with(path)).max_by_key(|(path, _)| path.len());
    fits.unwrap_or_else(|| panic!("nobody reads {file}")).1.split(' ').collect()
}

/// What is another one each time, or not of the tree.
fn is_volatile(name: &str) -> bool {
    [
        "process_",
        "node_textfile_mtime",
        "node_time_seconds",
        "node_timex",
        "node_tcp",
        "node_scrape_collector_duration",
        "node_filesystem_",
    ]
    .iter()
    .any(|start| name.starts_with(start))
}

/// The series of a tick. What they are written in is read by the tests' reader, which knows no series twice, and by the product's.
fn series(host: &mut Host) -> Series {
    let text = tree::told(host);
    for failure in host.failures() {
        assert!(!failure.what.contains("hangs"), "{failure:?}");
    }
    let mut found = Series::new();
    for (name, family) in exposition::read(&text) {
        for (labels, value) in family.series {
            let is_text = name.starts_with("batch") || labels.iter().any(|(label, _)| label == "__name__");
            assert!(value.is_finite() || is_text, "{name} {labels:?} {value}");
            assert!(value >= 0.0 || family.kind != "counter" || is_text, "{name} {labels:?} {value}");
            found.insert((name.clone(), labels), value);
        }
    }
    found
}

fn succeeded(series: &Series, collector: &str) -> bool {
    let label = ("collector".to_owned(), collector.to_owned());
    series[&("node_scrape_collector_success".to_owned(), vec![label])] == 1.0
}

fn only(tree: &Tree, names: &[&str]) -> Settings {
    let mut settings = tree.settings();
    settings.none();
    for name in names {
        settings.set(name, true).unwrap();
    }
    settings
}

/// A tree, and what was told of it before anything was changed.
struct Bench {
    tree: Tree,
    all: Series,
    /// Families by collector.
    families: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Bench {
    fn new() -> Bench {
        let tree = Tree::new();
        let mut families = BTreeMap::new();
        // These ask somebody, or read what a person names: they have tests of their own.
        let of_trees = collectors().filter(|(name, _)| !["systemd", "chrony", "certificates"].contains(name));
        for (name, _) in of_trees {
            let told = series(&mut Host::new(&only(&tree, &[name])).unwrap());
            assert!(succeeded(&told, name), "{name} tells nothing of the tree");
            let own = told.into_keys().map(|(name, _)| name).filter(|name| !name.starts_with("node_scrape_"));
            families.insert(
                name,
                own.filter(|name| !name.starts_with("process_") && name != "node_exporter_build_info").collect(),
            );
        }
        let all = series(&mut Host::new(&tree.settings()).unwrap());
        Bench { tree, all, families }
    }

    /// All but what these collectors tell, and what is told of them, is what it was.
    fn others_are_the_same(&self, told: &Series, readers: &[&str]) {
        let own: BTreeSet<&String> = readers.iter().flat_map(|name| &self.families[name]).collect();
        let is_others = |(name, labels): &(String, Labels)| {
            let of_reader =
                labels.iter().any(|(label, value)| label == "collector" && readers.contains(&value.as_str()));
            !own.contains(name) && !of_reader && !is_volatile(name)
        };
        let rest = |all: &Series| -> BTreeSet<(String, Labels, u64)> {
            // A name that only what was changed makes is its reader's.
            let known = |name: &String| self.all.keys().any(|(known, _)| known == name);
            let rest = all.iter().filter(|(key, _)| is_others(key) && known(&key.0));
            rest.map(|((name, labels), value)| (name.clone(), labels.clone(), value.to_bits())).collect()
        };
        let (told, before) = (rest(told), rest(&self.all));
        let differ: Vec<_> = told.symmetric_difference(&before).collect();
        assert!(differ.is_empty(), "{readers:?}: {differ:?}");
    }
}

#[test]
fn every_collector_tells_of_the_tree_and_every_file_is_read() {
    let bench = Bench::new();
    assert!(bench.all.len() > 900, "{}", bench.all.len());
    // Without a file something is different: a file that nobody reads would test nothing.
    const UNREAD: [&str; 7] = [
        "proc/12/task/12/stat",
        "proc/self/attr/current",
        "sys/class/fc_host/host0/statistics/nos_count",
        "sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/metadata_uuid",
        "sys/block/nvme0n1/queue/rotational",
        "sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count",
        "sys/fs/btrfs/features/raid56",
    ];
    let mut unread = Vec::new();
    for file in bench.tree.files() {
        let settings = only(&bench.tree, &readers(file));
        let told = || {
            let told = series(&mut Host::new(&settings).unwrap());
            told.into_iter().filter(|(key, _)| !is_volatile(&key.0)).map(|(key, value)| (key, value.to_bits()))
        };
        let before: Vec<_> = told().collect();
        let content = std::fs::read(bench.tree.path(file)).unwrap();
        std::fs::remove_file(bench.tree.path(file)).unwrap();
        if told().eq(before) {
            unread.push(file.as_str());
        }
        bench.tree.write(file, &content);
    }
    unread.sort_unstable();
    // What is the same without it: a default, or one of several that say it.
    let mut expected = UNREAD;
    expected.sort_unstable();
    assert_eq!(unread, expected);
}

/// Families in whose labels is what files say, whatever it is; and those of text files.
fn is_text(name: &str) -> bool {
    ["_info", "_label", "_names"].iter().any(|end| name.ends_with(end)) || name.starts_with("node_textfile_")
}

/// Places of numbers in a file, with their lengths.
fn numbers(content: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    for word in content.split(|byte| byte.is_ascii_whitespace()) {
        if !word.is_empty() && word.iter().all(u8::is_ascii_digit) {
            found.push((at, word.len()));
        }
        at += word.len() + 1;
    }
    found
}

fn replaced(content: &[u8], (at, len): (usize, usize), by: &str) -> Vec<u8> {
    [&content[..at], by.as_bytes(), &content[at + len..]].concat()
}

/// A number that is none: what is told is the same, as nobody reads it; or the collector fails, and tells no value that it did not tell before.
#[test]
fn a_number_that_is_none_is_a_failure_and_never_another_number() {
    let bench = Bench::new();
    let mut wrong = Vec::new();
    for file in bench.tree.files() {
        let names = readers(file);
        let settings = only(&bench.tree, &names);
        let before = series(&mut Host::new(&settings).unwrap());
        let content = std::fs::read(bench.tree.path(file)).unwrap();
        let places = numbers(&content);
        for (number, place) in places.iter().enumerate() {
            // Of long rows some are enough.
            if number > 24 && number + 4 < places.len() {
                continue;
            }
            // In some files numbers are hexadecimal.
            let by = ["x", "-", "99999999999999999999", "1.2.3", "nan", "0x", "1e+3", "+5"][(number + file.len()) % 8];
            bench.tree.write(file, &replaced(&content, *place, by));
            let told = series(&mut Host::new(&settings).unwrap());
            let failed = names.iter().any(|name| !succeeded(&told, name));
            let mut differ: Vec<String> = Vec::new();
            for (key, value) in &told {
                if !is_volatile(&key.0) && !is_text(&key.0) && !key.0.starts_with("node_scrape_") {
                    match before.get(key) {
                        Some(old) if old.to_bits() == value.to_bits() => {}
                        old => differ.push(format!("{} {:?} {old:?} {value}", key.0, key.1)),
                    }
                }
            }
            let lost = before.keys().filter(|key| !is_volatile(&key.0) && !is_text(&key.0) && !told.contains_key(*key));
            let lost = lost.count();
            if !differ.is_empty() || lost > 0 && !failed {
                let line = String::from_utf8_lossy(&content[place.0..(place.0 + place.1)]).into_owned();
                wrong.push(format!(
                    "{file}: number {number} '{line}' is '{by}': failed {failed}, lost {lost}, differ {differ:?}"
                ));
            }
        }
        bench.tree.write(file, &content);
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

/// What is done to a file.
#[derive(Debug, Clone)]
enum Change {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Number(prop::sample::Index, &'static str),
    LineTwice(prop::sample::Index),
    LineGone(prop::sample::Index),
    Is(Vec<u8>),
    Repeated(u8, usize),
}

fn changes() -> impl Strategy<Value = Change> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        3 => (place(), 1u8..).prop_map(|(at, by)| Change::Flip(at, by)),
        3 => place().prop_map(Change::Cut),
        3 => (place(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, what)| Change::Insert(at, what)),
        4 => (place(), prop::sample::select(vec!["18446744073709551615", "9223372036854775808", "99999999999999999999", "-1", "0", "1e308", "", "0xffffffffffffffff", "4294967296"]))
            .prop_map(|(at, by)| Change::Number(at, by)),
        2 => place().prop_map(Change::LineTwice),
        2 => place().prop_map(Change::LineGone),
        2 => prop::collection::vec(any::<u8>(), 0..60).prop_map(Change::Is),
        1 => (prop::sample::select(b"9 \n\0(x:-".to_vec()), 1usize..100_000).prop_map(|(byte, count)| Change::Repeated(byte, count)),
    ]
}

impl Change {
    fn of(&self, content: &[u8]) -> Vec<u8> {
        let mut changed = content.to_vec();
        let lines = || content.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>();
        match self {
            Change::Flip(at, by) => changed[at.index(content.len())] ^= by,
            Change::Cut(at) => changed.truncate(at.index(content.len())),
            Change::Insert(at, what) => {
                drop(changed.splice(at.index(content.len()).., [what, &content[at.index(content.len())..]].concat()))
            }
            Change::Number(at, by) => {
                let places = numbers(content);
                if !places.is_empty() {
                    return replaced(content, places[at.index(places.len())], by);
                }
            }
            Change::LineTwice(at) => {
                let mut lines = lines();
                let at = at.index(lines.len());
                lines.insert(at, lines[at]);
                changed = lines.concat();
            }
            Change::LineGone(at) => {
                let mut lines = lines();
                lines.remove(at.index(lines.len()));
                changed = lines.concat();
            }
            Change::Is(bytes) => changed.clone_from(bytes),
            Change::Repeated(byte, count) => changed = vec![*byte; *count],
        }
        changed
    }
}

#[test]
fn whatever_files_say_nothing_panics_and_the_others_are_what_they_were() {
    let bench = Bench::new();
    let files = bench.tree.files().to_vec();
    let mut runner =
        TestRunner::new(Config { cases: 120, failure_persistence: None, max_shrink_iters: 0, ..Config::default() });
    let ran = runner.run(&(prop::sample::select(files), changes()), |(file, change)| {
        let content = std::fs::read(bench.tree.path(&file)).unwrap();
        // One that has read it before, whose files are open, and one that has not.
        let mut old = Host::new(&bench.tree.settings()).unwrap();
        series(&mut old);
        bench.tree.write(&file, &change.of(&content));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for told in [series(&mut old), series(&mut Host::new(&bench.tree.settings()).unwrap())] {
                bench.others_are_the_same(&told, &readers(&file));
            }
        }));
        bench.tree.write(&file, &content);
        outcome.map_err(|_| TestCaseError::fail("see above"))
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
}
