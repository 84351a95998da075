//! `host` and `textfile` of `metrics`: from what was written to what is collected of the host, and from where.
//!
//! Options of a collector are called as node_exporter's flags, without `--collector.NAME.` and with `_` for `-`. A collector is `true`, `false`, or its options.
//!
//! Promises: patterns compile, deadlines are in their range. Leaves to others: how often, and where samples go.

use super::check::Check;
use super::de::TRUTH_OR_MAP;
use super::raw::{OneOrMany, Time};
use super::tree::Node;
use crate::base::limits::{HOST_DEADLINE_MS_DEFAULT, HOST_DEADLINE_MS_RANGE};
use crate::source::host::{Filter, Roots, Settings};
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor, value};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

/// `host` of `metrics`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostMetrics {
    procfs: Option<String>,
    sysfs: Option<String>,
    rootfs: Option<String>,
    udev_data: Option<String>,
    deadline: Option<Time>,
    collectors: Option<Collectors>,
    // How it is called as a target, and where that goes: `host_target`.
    pub(super) job: Option<String>,
    pub(super) instance: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) to: Option<OneOrMany>,
    /// Read from its node.
    #[allow(dead_code, reason = "its node is what is read")]
    pub(super) metric_relabel_configs: Option<IgnoredAny>,
}

/// `textfile` of `metrics`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Textfile {
    directories: Option<OneOrMany>,
}

/// Whether a collector is on, or its options.
#[derive(Debug)]
enum Switch<T> {
    On(bool),
    With(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Switch<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a map of options")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Switch<T>, E> {
                Ok(Switch::On(on))
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Switch<T>, A::Error> {
                T::deserialize(value::MapAccessDeserializer::new(entries)).map(Switch::With)
            }
        }
        deserializer.deserialize_newtype_struct(TRUTH_OR_MAP, Either(PhantomData))
    }
}

/// Options of a collector.
trait Options {
    /// What all collectors have: whether it is on, and its deadline.
    fn common(&self) -> (Option<bool>, Option<Time>);
    /// What it has besides. `node`: the map that was written.
    fn apply(&self, node: &Node, settings: &mut Settings, check: &mut Check<'_>);
}

/// Options: pairs of patterns, which are `KEY_exclude` and `KEY_include` and a filter of the settings; and truth values.
macro_rules! options {
    ($kind:ident { $($filter:ident: $exclude:ident $exclude_key:literal, $include:ident $include_key:literal, $whole:literal;)* } { $($flag:ident: $key:ident;)* }) => {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $kind {
            enabled: Option<bool>,
            deadline: Option<Time>,
            $($exclude: Option<String>, $include: Option<String>,)*
            $($key: Option<bool>,)*
        }

        impl Options for $kind {
            fn common(&self) -> (Option<bool>, Option<Time>) {
                (self.enabled, self.deadline)
            }

            fn apply(&self, node: &Node, settings: &mut Settings, check: &mut Check<'_>) {
                let _ = (&node, &settings, &check);
                $(filter(&mut settings.$filter, node, ($exclude_key, &self.$exclude), ($include_key, &self.$include), $whole, check);)*
                $(settings.$flag = self.$key.unwrap_or(settings.$flag);)*
            }
        }
    };
}

options!(Plain {} {});
options!(Arp { arp_device: device_exclude "device_exclude", device_include "device_include", false; } {});
options!(Cpu {} { cpu_info: info; });
options!(Diskstats { diskstats_device: device_exclude "device_exclude", device_include "device_include", false; } {});
options!(Filesystem {
    filesystem_mount_points: mount_points_exclude "mount_points_exclude", mount_points_include "mount_points_include", false;
    filesystem_fs_types: fs_types_exclude "fs_types_exclude", fs_types_include "fs_types_include", false;
} {});
options!(Hwmon {
    hwmon_chip: chip_exclude "chip_exclude", chip_include "chip_include", false;
    hwmon_sensor: sensor_exclude "sensor_exclude", sensor_include "sensor_include", false;
} {});
options!(Interrupts { interrupts_name: name_exclude "name_exclude", name_include "name_include", false; } {
    interrupts_include_zeros: include_zeros;
});
options!(Netclass { netclass_device: ignored_devices "ignored_devices", device_include "device_include", false; } {
    netclass_ignore_invalid_speed: ignore_invalid_speed;
});
options!(Netdev { netdev_device: device_exclude "device_exclude", device_include "device_include", false; } {});
options!(Netstat { netstat_fields: fields_exclude "fields_exclude", fields "fields", false; } {});
options!(PowerSupply { powersupply_supply: ignored_supplies "ignored_supplies", supply_include "supply_include", false; } {});
options!(Stat {} { stat_softirq: softirq; });
// node_exporter's units are matched as a whole.
options!(Systemd { systemd_unit: unit_exclude "unit_exclude", unit_include "unit_include", true; } {
    systemd_enable_restarts_metrics: enable_restarts_metrics;
    systemd_enable_start_time_metrics: enable_start_time_metrics;
    systemd_enable_task_metrics: enable_task_metrics;
});
options!(Vmstat { vmstat_fields: fields_exclude "fields_exclude", fields "fields", false; } {});

/// `chrony`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chrony {
    enabled: Option<bool>,
    deadline: Option<Time>,
    address: Option<String>,
}

impl Options for Chrony {
    fn common(&self) -> (Option<bool>, Option<Time>) {
        (self.enabled, self.deadline)
    }

    fn apply(&self, node: &Node, settings: &mut Settings, check: &mut Check<'_>) {
        let Some(text) = &self.address else { return };
        match text.parse() {
            Ok(address) => settings.chrony_address = address,
            Err(_) => check.error(
                node.child("address").span,
                "this is not an address",
                "write an IP address and a port, such as 127.0.0.1:323",
            ),
        }
    }
}

/// Collectors by their names.
macro_rules! collectors {
    ($($name:ident: $kind:ident,)*) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Collectors {
            $($name: Option<Switch<$kind>>,)*
        }

        impl Collectors {
            #[cfg(test)]
            const NAMES: &[&str] = &[$(stringify!($name)),*];

            fn apply(&self, node: &Node, settings: &mut Settings, check: &mut Check<'_>) {
                $(if let Some(switch) = &self.$name {
                    collector(stringify!($name), switch, node.child(stringify!($name)), settings, check);
                })*
            }
        }
    };
}

collectors! {
    arp: Arp, bcache: Plain, bonding: Plain, btrfs: Plain, certificates: Plain, chrony: Chrony, conntrack: Plain, cpu: Cpu, cpufreq: Plain, diskstats: Diskstats, dmi: Plain, dmmultipath: Plain,
    edac: Plain, entropy: Plain, fibrechannel: Plain, filefd: Plain, filesystem: Filesystem, hwmon: Hwmon, infiniband: Plain, interrupts: Interrupts, ipvs: Plain,
    kernel_hung: Plain, loadavg: Plain, mdadm: Plain, meminfo: Plain, netclass: Netclass, netdev: Netdev, netstat: Netstat, nfs: Plain, nfsd: Plain, nvme: Plain,
    os: Plain, powersupplyclass: PowerSupply, pressure: Plain, processes: Plain, rapl: Plain, schedstat: Plain, selinux: Plain, sockstat: Plain, softirqs: Plain,
    softnet: Plain, stat: Stat, systemd: Systemd, tapestats: Plain, tcpstat: Plain, textfile: Plain, thermal_zone: Plain, time: Plain, timex: Plain,
    udp_queues: Plain, uname: Plain, vmstat: Vmstat, watchdog: Plain, xfs: Plain, zfs: Plain,
}

/// What is collected of the host; `None` if there is neither `host` nor `textfile`. `node`: `metrics`.
pub(super) fn plan(
    host: Option<&HostMetrics>,
    textfile: Option<&Textfile>,
    node: &Node,
    check: &mut Check<'_>,
) -> Option<Settings> {
    let place = node.child("host");
    let mut settings = match host {
        Some(host) => {
            let mut settings = Settings::new(roots(host, place, check));
            let deadline = place.child("deadline");
            settings.deadline = check.time(host.deadline, deadline, HOST_DEADLINE_MS_DEFAULT, HOST_DEADLINE_MS_RANGE);
            if let Some(collectors) = &host.collectors {
                collectors.apply(place.child("collectors"), &mut settings, check);
            }
            settings
        }
        // Text files alone.
        None => {
            textfile?;
            let mut settings = Settings::new(Roots::default());
            settings.none();
            switch("textfile", true, &mut settings);
            settings
        }
    };
    if let Some(textfile) = textfile {
        let place = node.child("textfile");
        let directories = textfile.directories.as_ref().map(|list| list.0.as_slice()).unwrap_or_default();
        if directories.is_empty() && !place.is_damaged() && !place.has_lost("directories") {
            check.error(
                node.key_span("textfile"),
                "`textfile` names no directory",
                "add `directories`, such as [/var/lib/lugger/textfile]",
            );
        }
        for (at, directory) in directories.iter().enumerate() {
            if !directory.starts_with('/') {
                let list = place.child("directories");
                let span = if list.item(at).is_null() { list.span } else { list.item(at).span };
                check.error(span, format!("the path {directory:?} is not absolute"), "begin it with /");
            }
        }
        settings.textfile_directories = directories.iter().map(PathBuf::from).collect();
    }
    Some(settings)
}

fn roots(host: &HostMetrics, place: &Node, check: &mut Check<'_>) -> Roots {
    let mut roots = Roots::default();
    for (key, written, root) in [
        ("procfs", &host.procfs, &mut roots.proc),
        ("sysfs", &host.sysfs, &mut roots.sys),
        ("rootfs", &host.rootfs, &mut roots.rootfs),
        ("udev_data", &host.udev_data, &mut roots.udev),
    ] {
        let Some(path) = written else { continue };
        if !path.starts_with('/') {
            let help = "begin it with /, such as /host/proc for a /proc that is mounted at /host";
            check.error(place.child(key).span, format!("the path {path:?} is not absolute"), help);
        }
        // Collectors know the real /proc and /sys by their names.
        let path = path.trim_end_matches('/');
        *root = if path.is_empty() { "/".into() } else { path.into() };
    }
    roots
}

fn collector<T: Options>(name: &str, written: &Switch<T>, node: &Node, settings: &mut Settings, check: &mut Check<'_>) {
    match written {
        Switch::On(on) => switch(name, *on, settings),
        Switch::With(options) => {
            let (enabled, deadline) = options.common();
            // Who writes options of a collector wants it.
            switch(name, enabled.unwrap_or(true), settings);
            if deadline.is_some() {
                let deadline =
                    check.time(deadline, node.child("deadline"), HOST_DEADLINE_MS_DEFAULT, HOST_DEADLINE_MS_RANGE);
                // The names here are those of collectors, which a test holds.
                let _ = settings.set_deadline(name, deadline);
            }
            options.apply(node, settings, check);
        }
    }
}

fn switch(name: &str, on: bool, settings: &mut Settings) {
    // The same.
    let _ = settings.set(name, on);
}

/// Sets what is written of a filter. Who says what is taken has no exclusion but his own.
fn filter(
    filter: &mut Filter,
    node: &Node,
    (exclude_key, exclude): (&str, &Option<String>),
    (include_key, include): (&str, &Option<String>),
    whole: bool,
    check: &mut Check<'_>,
) {
    if exclude.is_some() && include.is_some() {
        check.error(
            node.key_span(include_key),
            format!("`{exclude_key}` and `{include_key}` cannot be used together"),
            "remove one of them",
        );
    }
    let mut compiled = |key: &str, pattern: &str| {
        let whole = if whole { format!("^(?:{pattern})$") } else { pattern.to_owned() };
        // What is wrong is said of what was written.
        match Filter::excluding(pattern).and_then(|_| Filter::excluding(&whole)) {
            Ok(filter) => filter.exclude,
            Err(error) => {
                check.error(node.child(key).span, error.to_string(), "correct it");
                None
            }
        }
    };
    if let Some(pattern) = include {
        *filter = Filter { exclude: None, include: compiled(include_key, pattern) };
    }
    if let Some(pattern) = exclude {
        // An empty one excludes nothing, as with node_exporter.
        filter.exclude =
            Some(pattern).filter(|pattern| !pattern.is_empty()).and_then(|pattern| compiled(exclude_key, pattern));
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Finding;
    use super::super::tree;
    use super::*;
    use crate::source::host::collectors;
    use std::time::Duration;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Both {
        host: Option<HostMetrics>,
        textfile: Option<Textfile>,
    }

    fn read(text: &str) -> (Option<Settings>, Vec<Finding>) {
        let mut root = tree::parse(text).unwrap().root;
        let mut findings = Vec::new();
        let mut check = Check::new(&mut findings);
        let both: Both = check.read(&mut root).unwrap();
        let settings = plan(both.host.as_ref(), both.textfile.as_ref(), &root, &mut check);
        (settings, findings)
    }

    fn well(text: &str) -> Settings {
        let (settings, findings) = read(text);
        assert!(findings.is_empty(), "{findings:?}");
        settings.unwrap()
    }

    #[test]
    fn all_collectors_have_a_key() {
        assert_eq!(
            Collectors::NAMES,
            collectors()
                .map(|(name, _)| name)
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn nothing_written_is_node_exporters_defaults() {
        assert_eq!(well("host: {}"), Settings::new(Roots::default()));
        let mut text = Settings::new(Roots::default());
        text.none();
        text.set("textfile", true).unwrap();
        text.textfile_directories = vec!["/a".into()];
        assert_eq!(well("textfile: { directories: /a }"), text);
    }

    const WRITTEN: &str = "
host:
  procfs: /host/proc/
  rootfs: /host
  udev_data: /host/run/udev/data
  deadline: 3s
  collectors:
    arp: false
    tcpstat: true
    processes: { deadline: 10s }
    zfs: { enabled: false }
    cpu: { info: true }
    stat: { softirq: true }
    diskstats: { device_exclude: '' }
    filesystem: { fs_types_include: '^ext4$', mount_points_exclude: ^/boot }
    netclass: { ignore_invalid_speed: true, ignored_devices: ^veth }
    vmstat: { fields: ^nr_ }
    interrupts: { include_zeros: false }
    systemd: { unit_include: 'ssh.+', enable_task_metrics: true }
textfile: { directories: [/a, '/b/*'] }
";

    #[test]
    fn what_is_written() {
        let settings = well(WRITTEN);
        assert_eq!(settings.roots.proc, PathBuf::from("/host/proc"));
        assert_eq!((settings.roots.sys.clone(), settings.roots.rootfs.clone()), ("/sys".into(), "/host".into()));
        let on =
            ["arp", "tcpstat", "processes", "zfs", "systemd", "interrupts", "loadavg"].map(|name| settings.is_on(name));
        assert_eq!(on, [false, true, true, false, true, true, true]);
        assert_eq!(settings.deadline_of("processes"), Duration::from_secs(10));
        assert_eq!(settings.deadline_of("netdev"), Duration::from_secs(3));
        assert!(settings.cpu_info && settings.stat_softirq && !settings.interrupts_include_zeros);
        assert!(settings.netclass_ignore_invalid_speed && settings.systemd_enable_task_metrics);
        let takes = [
            settings.diskstats_device.takes("sda1"),
            settings.filesystem_fs_types.takes("ext4") && !settings.filesystem_fs_types.takes("tmpfs"),
            settings.filesystem_mount_points.takes("/proc") && !settings.filesystem_mount_points.takes("/boot/efi"),
            !settings.netclass_device.takes("veth0"),
            settings.vmstat_fields.takes("nr_dirty") && !settings.vmstat_fields.takes("pgfault"),
            settings.systemd_unit.takes("sshd.service") && !settings.systemd_unit.takes("no-ssh.service"),
        ];
        assert_eq!(takes, [true; 6]);
        assert_eq!(settings.textfile_directories, [PathBuf::from("/a"), PathBuf::from("/b/*")]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, message) in [
            ("host: { colectors: {} }", "unknown key"),
            ("host: { collectors: { loadavgs: true } }", "unknown key"),
            ("host: { collectors: { loadavg: 5 } }", "true, false or a map"),
            ("host: { collectors: { loadavg: 'true' } }", "expected true or false, found text in quotes"),
            ("host: { collectors: { loadavg: \"False\" } }", "true, false or a map"),
            ("host: { collectors: { loadavg: [true] } }", "true, false or a map"),
            ("host: { collectors: { loadavg: { info: true } } }", "unknown key"),
            ("host: { collectors: { netdev: { device_exclude: '(' } } }", "regular expression"),
            ("host: { collectors: { arp: { device_exclude: a, device_include: b } } }", "cannot be used together"),
            ("host: { collectors: { cpu: { deadline: 1h } } }", "out of range"),
            ("host: { deadline: 1ms }", "out of range"),
            ("host: { sysfs: sys }", "not absolute"),
            ("textfile: {}", "names no directory"),
            ("textfile: { directories: [a] }", "not absolute"),
        ] {
            let (_, findings) = read(text);
            assert_eq!(findings.len(), 1, "{text}: {findings:?}");
            assert!(findings[0].message.contains(message), "{text}: {findings:?}");
            assert!(findings[0].span.is_some(), "{text}: {findings:?}");
        }
    }
}
