//! Names that dashboards and alerts ask for: each is told, of a server that has everything or of this host, or there is a reason why it is not.

mod support;
#[path = "support/host_tree.rs"]
mod tree;

use lugger::source::host::{Host, Roots, Settings, collectors};
use std::collections::BTreeSet;
use support::exposition;
use tree::Tree;

const LISTS: [(&str, &str); 2] = [
    ("the dashboard Node Exporter Full", include_str!("host/names-dashboard.txt")),
    ("the alerts and rules of node-mixin", include_str!("host/names-alerts.txt")),
];

/// Names that nobody tells, and why.
const ABSENT: [(&str, &str); 2] = [
    ("node_kernel_hung_tasks", "the dashboard's mistake: node_exporter tells node_kernel_hung_tasks_total as well"),
    ("node_netstat_Tcp_MaxConn", "not among the fields of netstat that are told unless somebody asks for more"),
];

/// Told by rtnetlink, and not by files.
const NETLINK: &str = "node_network_receive_nohandler_total";
/// Told by systemd's manager: tests/host_systemd.rs looks for those.
const SYSTEMD: &str = "node_systemd_";

fn names(settings: &Settings) -> BTreeSet<String> {
    let mut host = Host::new(settings).unwrap();
    exposition::read(&tree::told(&mut host)).into_keys().collect()
}

#[test]
fn what_dashboards_and_alerts_ask_for_is_told() {
    let tree = Tree::new();
    let of_tree = names(&tree.settings());
    let mut here = Settings::new(Roots::default());
    here.set("tcpstat", true).unwrap();
    let here = names(&here);
    assert!(here.contains(NETLINK) && !of_tree.contains(NETLINK));
    for (list, text) in LISTS {
        let asked: Vec<&str> = text.lines().collect();
        assert!(asked.is_sorted() && asked.len() > 30, "{list}");
        let missing: Vec<&&str> = asked
            .iter()
            .filter(|name| !of_tree.contains(**name) && !ABSENT.iter().any(|(absent, _)| absent == *name))
            .filter(|name| **name != NETLINK && !name.starts_with(SYSTEMD))
            .collect();
        assert!(missing.is_empty(), "{list}: {missing:?}");
    }
    // A reason that is none any more is taken out.
    for (name, why) in ABSENT {
        assert!(!of_tree.contains(name) && !here.contains(name), "{name}: {why}");
        assert!(LISTS.iter().any(|(_, text)| text.lines().any(|line| line == name)), "{name}");
    }
}

/// The collectors of node_exporter 1.12 that are on by default, and those off by default that dashboards ask for.
#[test]
fn collectors_are_those_of_node_exporter() {
    const ON: &str = "arp bcache bcachefs bonding btrfs conntrack cpu cpufreq diskstats dmi dmmultipath edac entropy fibrechannel filefd filesystem hwmon \
        infiniband ipvs kernel_hung loadavg mdadm meminfo netclass netdev netstat nfs nfsd nvme os powersupplyclass pressure rapl schedstat selinux sockstat \
        softnet stat tapestats textfile thermal_zone time timex udp_queues uname vmstat watchdog xfs zfs";
    const OFF: &str = "interrupts processes softirqs systemd tcpstat";
    let known = |on: bool| collectors().filter(|(_, is)| *is == on).map(|(name, _)| name).collect::<BTreeSet<_>>();
    // bcachefs is in Linux from 6.7 to 6.17 only, and neither dashboards nor alerts ask for it.
    let on = ON.split_whitespace().filter(|name| *name != "bcachefs").collect::<BTreeSet<_>>();
    assert_eq!(known(true), on);
    // Two of our own: they are switched on by naming certificates, or a chronyd.
    let off = OFF.split_whitespace().chain(["certificates", "chrony"]).collect();
    assert_eq!(known(false), off);
}
