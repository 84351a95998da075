//! The host's metrics beside the real node_exporter's: families, types, labels and values of the same moment.
//!
//! A round collects, scrapes node_exporter and collects again. In one round at least, families and labels have to be the same, and
//! a value has to lie between the two collections, a gauge's about. What differs is in [`DIFFERENCES`], each with its reason; an entry that explains nothing is an error as well, except where it
//! depends on the host. node_exporter is Debian's 1.5.0, whose changes of defaults are undone by flags.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::exposition::{self, Family, Labels};

/// Rounds until a gauge has to have been the same once.
const ROUNDS: usize = 12;

/// How both may differ.
#[derive(Clone, Copy, PartialEq)]
enum Difference {
    /// Only we have the family.
    Ours,
    /// Only node_exporter has it.
    Theirs,
    /// Series have other labels, besides which there are as many.
    Label(&'static str),
    /// The families' series are not compared.
    Series,
    /// Values are not compared.
    Value,
}
use Difference::{Label, Ours, Series, Theirs, Value};

/// What differs, and why. A name that ends in `*` is the beginning of one. The flag says that it depends on the host whether it shows.
const DIFFERENCES: &[(&str, Difference, bool, &str)] = &[
    ("node_filesystem_mount_info", Ours, false, "new in 1.8"),
    ("node_netstat_TcpExt_TCPOFOQueue", Ours, false, "new in the default fields of 1.6"),
    ("node_netstat_TcpExt_TCPRcvQDrop", Ours, false, "new in the default fields of 1.6"),
    ("node_softnet_backlog_len", Ours, false, "new in 1.6"),
    ("node_softnet_cpu_collision_total", Ours, false, "new in 1.6"),
    ("node_softnet_flow_limit_count_total", Ours, false, "new in 1.6"),
    ("node_softnet_received_rps_total", Ours, false, "new in 1.6"),
    ("node_pressure_irq_stalled_seconds_total", Ours, true, "new in 1.9; kernels with IRQ accounting have it"),
    ("process_*", Ours, false, "node_exporter is started without its own; the test is about the host's"),
    ("node_kernel_hung_tasks_total", Ours, true, "new in 1.10; kernels since 6.13 have it"),
    ("node_cpu_online", Ours, true, "new in 1.7; where the first CPU can be switched off"),
    ("node_disk_info", Label("rotational"), true, "new in 1.9; 1.5 does not tell it"),
    ("node_network_info", Label("adminstate"), false, "new in 1.6"),
    ("node_exporter_build_info", Series, false, "another program: it has no Go, no revision, and its own version"),
    ("node_scrape_collector_*", Series, false, "there are other collectors, and they take other times"),
    ("promhttp_*", Theirs, false, "counts the requests of node_exporter's own server"),
    ("node_time_seconds", Value, true, "a gauge that is never the same twice"),
    ("node_sockstat_*", Value, true, "scraping node_exporter takes sockets"),
    ("node_tcp_connection_states", Series, true, "scraping node_exporter takes connections"),
    ("node_netstat_Tcp_CurrEstab", Value, true, "scraping node_exporter takes connections"),
    ("node_processes_state", Series, true, "who collects runs while it collects, with as many threads as it has"),
    (
        "node_processes_threads_state",
        Series,
        true,
        "who collects runs while it collects, with as many threads as it has",
    ),
    ("node_processes_threads", Value, true, "each collection by the command is a process of its own, with its threads"),
    ("node_processes_pids", Value, true, "each collection by the command is a process of its own"),
    ("node_procs_running", Value, true, "who collects runs while it collects, with as many threads as it has"),
];

/// Collectors of ours that are compared, besides those that are on by default in both.
const EXTRA: [&str; 3] = ["interrupts", "processes", "tcpstat"];

/// Files of the textfile collector. Of these the first is good; the others are refused whole: for a time, a line, and a name.
const TEXTS: [(&str, &str); 4] = [
    (
        "good.prom",
        "# HELP job_seconds How long it took.\n# TYPE job_seconds histogram\njob_seconds_bucket{le=\"1\"} 2\njob_seconds_bucket{le=\"+Inf\"} 3\n\
         job_seconds_sum 7.5\njob_seconds_count 3\n# TYPE job_last gauge\njob_last{job=\"a \\\"b\\\"\",empty=\"\"} 1.5e9\njob_last{job=\"c\"} NaN\n\
         # TYPE job_q summary\njob_q{quantile=\"0.5\"} 1\njob_q_sum 2\njob_q_count 4\njob_plain 7\n# TYPE runs_total counter\nruns_total 12\n",
    ),
    ("time.prom", "timed 1 1395066363000\n"),
    ("line.prom", "one 1\ntwo\n"),
    ("name.prom", "one-two 1\n"),
];

struct NodeExporter {
    child: Child,
    address: String,
}

impl NodeExporter {
    fn start(texts: &Path) -> NodeExporter {
        let mut command = Command::new("prometheus-node-exporter");
        command.args(["--web.listen-address=127.0.0.1:0", "--web.disable-exporter-metrics", "--no-collector.systemd"]);
        command.args(EXTRA.map(|name| format!("--collector.{name}")));
        command.arg(format!("--collector.textfile.directory={}", texts.display()));
        // Debian's own: interfaces without lo, RAM disks, more mount points. And what 1.12 leaves out besides.
        command.arg("--collector.netdev.device-exclude=^$");
        command.arg(r"--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$");
        command.arg(
            "--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)",
        );
        command.arg(
            "--collector.filesystem.fs-types-exclude=^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs\
             |iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$",
        );
        let mut child =
            command.stderr(Stdio::piped()).spawn().expect("prometheus-node-exporter: tests/run installs it");
        let mut messages = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(messages.read_line(&mut line).unwrap() > 0, "node_exporter ended");
            if let Some((_, rest)) = line.split_once("msg=\"Listening on\" address=") {
                break rest.trim().to_owned();
            }
        };
        // It must not wait for a reader of its messages.
        std::thread::spawn(move || std::io::copy(&mut messages, &mut std::io::sink()));
        NodeExporter { child, address }
    }

    fn scrape(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{head}");
        body.to_owned()
    }
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(texts: &Path) -> BTreeMap<String, Family> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lugger"));
    command.args(["host", "--once", "--log-level", "error", "--textfile"]).arg(texts);
    for name in EXTRA {
        command.args(["--collector", name]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    exposition::read(&String::from_utf8(output.stdout).unwrap())
}

/// The entry that explains a difference of a family, which is noted as used.
fn explained(name: &str, difference: impl Fn(Difference) -> bool, used: &mut BTreeSet<usize>) -> bool {
    let at = DIFFERENCES.iter().position(|(pattern, kind, ..)| {
        let fits = pattern.strip_suffix('*').map_or(*pattern == name, |start| name.starts_with(start));
        fits && difference(*kind)
    });
    used.extend(at);
    at.is_some()
}

fn without(labels: &Labels, name: &str) -> Labels {
    labels.iter().filter(|(label, _)| label != name).cloned().collect()
}

/// What is wrong with one family, besides values.
fn compare_labels(name: &str, ours: &Family, theirs: &Family, used: &mut BTreeSet<usize>) -> Vec<String> {
    let mut wrong = Vec::new();
    if ours.kind != theirs.kind {
        wrong.push(format!("{name}: {} and {}", ours.kind, theirs.kind));
    }
    if ours.series.keys().eq(theirs.series.keys()) || explained(name, |kind| kind == Series, used) {
        return wrong;
    }
    let label = DIFFERENCES.iter().find_map(|(pattern, kind, ..)| match kind {
        Label(label) if *pattern == name => Some(*label),
        _ => None,
    });
    let cut: BTreeSet<_> = ours.series.keys().map(|labels| without(labels, label.unwrap_or(""))).collect();
    if label.is_some() && cut.iter().eq(theirs.series.keys()) && explained(name, |kind| matches!(kind, Label(_)), used)
    {
        return wrong;
    }
    let own: BTreeSet<_> = ours.series.keys().collect();
    let other: BTreeSet<_> = theirs.series.keys().collect();
    wrong.extend(own.difference(&other).map(|labels| format!("{name}: only we have {labels:?}")));
    wrong.extend(other.difference(&own).map(|labels| format!("{name}: only node_exporter has {labels:?}")));
    wrong
}

#[test]
fn families_labels_and_values_are_those_of_node_exporter() {
    let texts = tempfile::tempdir().unwrap();
    for (name, text) in TEXTS {
        fs::write(texts.path().join(name), text).unwrap();
    }
    let node_exporter = NodeExporter::start(texts.path());
    // Its first scrape sets up what later ones tell.
    node_exporter.scrape();
    let mut used = BTreeSet::new();
    // Series that were never the same yet, with what was seen.
    let mut open: Option<BTreeMap<(String, Labels), String>> = None;
    let mut last_wrong = Vec::new();
    let (mut families, mut series) = (0, 0);
    for _ in 0..ROUNDS {
        let before = collect(texts.path());
        let theirs = exposition::read(&node_exporter.scrape());
        let after = collect(texts.path());
        let mut wrong = Vec::new();
        let mut differ = BTreeMap::new();
        for name in after.keys().filter(|name| !theirs.contains_key(*name)) {
            if !explained(name, |kind| kind == Ours, &mut used) {
                wrong.push(format!("only we have {name}"));
            }
        }
        (families, series) = (0, 0);
        for (name, theirs) in &theirs {
            let (Some(before), Some(after)) = (before.get(name), after.get(name)) else {
                if !explained(name, |kind| kind == Theirs, &mut used) {
                    wrong.push(format!("only node_exporter has {name}"));
                }
                continue;
            };
            families += 1;
            wrong.extend(compare_labels(name, after, theirs, &mut used));
            for (labels, value) in &theirs.series {
                let (Some(first), Some(last)) = (before.series.get(labels), after.series.get(labels)) else { continue };
                series += 1;
                // Thousandths are divided here and multiplied there, which makes the last digit; and while we collect there is a process more, with its
                // threads and its memory, which on a quiet host is a good part of some of what is told of memory.
                let slack = match (theirs.kind.as_str(), name.starts_with("node_memory_")) {
                    ("counter", _) => 1e-12,
                    (_, true) => 0.5,
                    (_, false) => 0.1,
                } * value.abs();
                let between = first.to_bits() == value.to_bits()
                    || first.min(*last) - slack <= *value && *value <= first.max(*last) + slack;
                if !between {
                    differ.insert((name.clone(), labels.clone()), format!("{first} {value} {last}"));
                }
            }
        }
        match &mut open {
            // What differs in each round stays open.
            Some(open) => open.retain(|key, _| differ.contains_key(key)),
            None => open = Some(differ),
        }
        // Mounts and interfaces may come and go meanwhile.
        last_wrong = wrong;
        if last_wrong.is_empty() && open.as_ref().is_some_and(BTreeMap::is_empty) {
            break;
        }
    }
    assert!(last_wrong.is_empty(), "{}", last_wrong.join("\n"));
    let mut open = open.unwrap();
    open.retain(|(name, _), _| !explained(name, |kind| matches!(kind, Value | Series), &mut used));
    assert!(open.is_empty(), "{open:#?}");
    println!("{families} families, {series} series compared");
    assert!(families > 150 && series > 300, "{families} families, {series} series");
    for (at, (name, _, host, why)) in DIFFERENCES.iter().enumerate() {
        assert!(*host || used.contains(&at), "{name} does not differ any more ({why})");
    }
}
