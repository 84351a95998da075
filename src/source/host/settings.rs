//! What is collected, and from where.
//!
//! Fields are called as node_exporter's options: `--collector.diskstats.device-exclude` is `diskstats_device.exclude`.
//!
//! Promises: [`Settings::new`] has node_exporter's defaults; equal settings collect the same. Leaves to others: how a person writes them.

use super::COLLECTORS;
use super::servers::Servers;
use super::statfs::Others;
use crate::base::expression::{self, ExpressionError};
use crate::base::limits::HOST_DEADLINE_MS_DEFAULT;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where the host's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// /proc.
    pub proc: PathBuf,
    /// /sys.
    pub sys: PathBuf,
    /// What is before the mount points and other paths of the host, / if nothing.
    pub rootfs: PathBuf,
    /// udev's database, /run/udev/data.
    pub udev: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Roots { proc: "/proc".into(), sys: "/sys".into(), rootfs: "/".into(), udev: "/run/udev/data".into() }
    }
}

impl Roots {
    /// A path below /proc.
    pub fn proc(&self, path: &str) -> PathBuf {
        self.proc.join(path)
    }

    /// A path below /sys.
    pub fn sys(&self, path: &str) -> PathBuf {
        self.sys.join(path)
    }

    /// A path of the host, which begins with a slash.
    pub fn rootfs(&self, path: &str) -> PathBuf {
        self.rootfs.join(path.trim_start_matches('/'))
    }

    /// What the host calls a path that is given as seen from here.
    pub fn host_path<'a>(&self, path: &'a str) -> &'a str {
        if self.rootfs == Path::new("/") {
            return path;
        }
        match path.strip_prefix(self.rootfs.to_str().unwrap_or("/").trim_end_matches('/')) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }
}

/// Which names are taken: not those that match `exclude`, and if there is an `include` only those that match it.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// What is left out.
    pub exclude: Option<Regex>,
    /// What alone is taken.
    pub include: Option<Regex>,
}

impl Filter {
    /// Leaves out what matches.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn excluding(pattern: &str) -> Result<Filter, ExpressionError> {
        Ok(Filter { exclude: Some(expression::compile(pattern)?), include: None })
    }

    /// Takes only what matches.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn including(pattern: &str) -> Result<Filter, ExpressionError> {
        Ok(Filter { exclude: None, include: Some(expression::compile(pattern)?) })
    }

    /// Whether a name is taken.
    pub fn takes(&self, name: &str) -> bool {
        !self.exclude.as_ref().is_some_and(|exclude| exclude.is_match(name))
            && self.include.as_ref().is_none_or(|include| include.is_match(name))
    }
}

/// Where chronyd is asked.
const CHRONY_PORT: u16 = 323;

impl PartialEq for Filter {
    fn eq(&self, other: &Filter) -> bool {
        let text = |filter: &Filter| [&filter.exclude, &filter.include].map(|part| part.as_ref().map(Regex::to_string));
        text(self) == text(other)
    }
}

impl Eq for Filter {}

/// There is no collector of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no collector {0}")]
pub struct Unknown(pub String);

/// What is collected, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the host's files are.
    pub roots: Roots,
    /// How long a tick waits for a collector that hangs, unless it has a deadline of its own: [`Settings::set_deadline`].
    pub deadline: Duration,
    /// Disks of diskstats.
    pub diskstats_device: Filter,
    /// Mount points of filesystem.
    pub filesystem_mount_points: Filter,
    /// Types of file systems of filesystem.
    pub filesystem_fs_types: Filter,
    /// Interfaces of netdev.
    pub netdev_device: Filter,
    /// Interfaces of netclass.
    pub netclass_device: Filter,
    /// Interfaces of arp.
    pub arp_device: Filter,
    /// `Protocol_Field` of netstat.
    pub netstat_fields: Filter,
    /// Fields of vmstat.
    pub vmstat_fields: Filter,
    /// Names (`NAME;INFO;DEVICES`) of interrupts.
    pub interrupts_name: Filter,
    /// Whether interrupts tells those of which a CPU had none.
    pub interrupts_include_zeros: bool,
    /// Units of systemd.
    pub systemd_unit: Filter,
    /// Chips of hwmon.
    pub hwmon_chip: Filter,
    /// `CHIP;SENSOR` of hwmon.
    pub hwmon_sensor: Filter,
    /// Supplies of powersupplyclass.
    pub powersupply_supply: Filter,
    /// Files of certificates, PEM or DER; may have wildcards.
    pub certificate_files: Vec<PathBuf>,
    /// Servers of certificates, each `host:port`.
    pub certificate_servers: Vec<String>,
    /// Where chrony asks chronyd.
    pub chrony_address: std::net::SocketAddr,
    /// Directories of textfile, which may have wildcards.
    pub textfile_directories: Vec<PathBuf>,
    /// Whether cpu tells node_cpu_info and what belongs to it.
    pub cpu_info: bool,
    /// Whether stat tells node_softirqs_total.
    pub stat_softirq: bool,
    /// Whether netclass leaves out a speed that is not known (-1) instead of telling it as it is.
    pub netclass_ignore_invalid_speed: bool,
    /// Whether systemd tells how often services were restarted.
    pub systemd_enable_restarts_metrics: bool,
    /// Whether systemd tells since when units are active.
    pub systemd_enable_start_time_metrics: bool,
    /// Whether systemd tells how many tasks services have, and may have.
    pub systemd_enable_task_metrics: bool,
    on: BTreeSet<&'static str>,
    deadlines: BTreeMap<&'static str, Duration>,
    /// The host's own, which outlives its settings.
    pub(super) others: Shared,
}

/// What one host's settings have in common: no part of what is set.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared {
    /// Asks file systems.
    pub(super) statfs: Arc<Others>,
    /// Asks servers for certificates.
    pub(super) servers: Arc<Servers>,
}

impl PartialEq for Shared {
    fn eq(&self, _: &Shared) -> bool {
        true
    }
}

impl Eq for Shared {}

impl Settings {
    /// node_exporter's defaults.
    pub fn new(roots: Roots) -> Settings {
        // A pattern that does not compile would match nothing; a test holds that all do.
        let pattern = |pattern: &str| expression::compile(pattern).ok();
        let excluding = |text: &str| Filter { exclude: pattern(text), include: None };
        Settings {
            roots,
            deadline: Duration::from_millis(HOST_DEADLINE_MS_DEFAULT),
            certificate_files: Vec::new(),
            certificate_servers: Vec::new(),
            chrony_address: ([127, 0, 0, 1], CHRONY_PORT).into(),
            diskstats_device: excluding(DISKS),
            filesystem_mount_points: excluding(MOUNT_POINTS),
            filesystem_fs_types: excluding(MOUNT_TYPES),
            netdev_device: Filter::default(),
            netclass_device: Filter::default(),
            arp_device: Filter::default(),
            netstat_fields: Filter { exclude: None, include: pattern(NETSTAT) },
            vmstat_fields: Filter { exclude: None, include: pattern(VMSTAT) },
            interrupts_name: Filter::default(),
            interrupts_include_zeros: true,
            systemd_unit: excluding(UNITS),
            hwmon_chip: Filter::default(),
            hwmon_sensor: Filter::default(),
            powersupply_supply: Filter::default(),
            textfile_directories: Vec::new(),
            cpu_info: false,
            stat_softirq: false,
            netclass_ignore_invalid_speed: false,
            systemd_enable_restarts_metrics: false,
            systemd_enable_start_time_metrics: false,
            systemd_enable_task_metrics: false,
            on: COLLECTORS.iter().filter(|entry| entry.on).map(|entry| entry.name).collect(),
            deadlines: BTreeMap::new(),
            others: Shared::default(),
        }
    }

    /// Turns a collector on or off.
    ///
    /// # Errors
    /// [`Unknown`] if there is none of this name.
    pub fn set(&mut self, name: &str, on: bool) -> Result<(), Unknown> {
        let entry = COLLECTORS.iter().find(|entry| entry.name == name).ok_or_else(|| Unknown(name.to_owned()))?;
        if on {
            self.on.insert(entry.name)
        } else {
            self.on.remove(entry.name)
        };
        Ok(())
    }

    /// Turns all collectors off.
    pub fn none(&mut self) {
        self.on.clear();
    }

    /// Gives a collector a deadline of its own; it runs on a thread of its own then, whatever it reads.
    ///
    /// # Errors
    /// [`Unknown`] if there is none of this name.
    pub fn set_deadline(&mut self, name: &str, deadline: Duration) -> Result<(), Unknown> {
        let entry = COLLECTORS.iter().find(|entry| entry.name == name).ok_or_else(|| Unknown(name.to_owned()))?;
        self.deadlines.insert(entry.name, deadline);
        Ok(())
    }

    /// How long a tick waits for a collector.
    pub fn deadline_of(&self, name: &str) -> Duration {
        self.deadlines.get(name).copied().unwrap_or(self.deadline)
    }

    /// How long a tick waits at most.
    pub(super) fn longest_deadline(&self) -> Duration {
        self.deadlines.values().copied().fold(self.deadline, Duration::max)
    }

    /// Whether a collector has a deadline of its own.
    pub(super) fn has_deadline(&self, name: &str) -> bool {
        self.deadlines.contains_key(name)
    }

    /// Whether a collector is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.on.contains(name)
    }
}

// node_exporter's defaults (their `--help`).
const DISKS: &str = r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$";
const MOUNT_POINTS: &str = r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)";
const MOUNT_TYPES: &str = "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore\
    |rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$";
const NETSTAT: &str = "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans\
    |TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)\
    |Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$";
const VMSTAT: &str = "^(oom_kill|pgpg|pswp|pg.*fault).*";
const UNITS: &str = r"^(.+\.(automount|device|mount|scope|slice))$";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_patterns_compile_and_match() {
        let settings = Settings::new(Roots::default());
        let cases = [
            (&settings.diskstats_device, "sda", "sda1"),
            (&settings.diskstats_device, "nvme0n1", "nvme0n1p2"),
            (&settings.filesystem_mount_points, "/procs", "/proc/sys"),
            (&settings.filesystem_mount_points, "/var/lib/docker", "/var/lib/docker/overlay2"),
            (&settings.filesystem_fs_types, "fuse.sshfs", "cgroup2"),
            (&settings.netstat_fields, "TcpExt_ListenDrops", "TcpExt_TCPAbortOnData"),
            (&settings.vmstat_fields, "pgmajfault", "nr_dirty"),
            (&settings.systemd_unit, "cron.service", "dev-sda.device"),
        ];
        for (filter, taken, left) in cases {
            assert!(filter.takes(taken) && !filter.takes(left), "{taken} {left}");
        }
        assert!(settings.netdev_device.takes("lo"));
    }

    #[test]
    fn collectors_by_name() {
        let mut settings = Settings::new(Roots::default());
        assert!(settings.is_on("loadavg"));
        settings.set("loadavg", false).unwrap();
        assert!(!settings.is_on("loadavg"));
        assert_eq!(settings.set("loads", true).unwrap_err().to_string(), "there is no collector loads");
        assert_eq!(settings.set_deadline("loads", Duration::ZERO).unwrap_err(), Unknown("loads".to_owned()));
    }

    #[test]
    fn deadlines_and_equality() {
        let settings = Settings::new(Roots::default());
        let mut other = settings.clone();
        assert_eq!(settings, other);
        other.set_deadline("hwmon", Duration::from_secs(9)).unwrap();
        assert_eq!((other.deadline_of("hwmon"), other.deadline_of("cpu")), (Duration::from_secs(9), other.deadline));
        assert_ne!(settings, other);
        let mut other = settings.clone();
        other.arp_device = Filter::excluding("^veth").unwrap();
        assert_ne!(settings, other);
        assert_eq!(other.arp_device, Filter::excluding("^veth").unwrap());
    }

    #[test]
    fn paths_of_the_host() {
        let roots = Roots { rootfs: "/host".into(), ..Roots::default() };
        let cases = [("/host", "/"), ("/host/var", "/var"), ("/hosts", "/hosts"), ("/", "/")];
        for (seen, named) in cases {
            assert_eq!(roots.host_path(seen), named);
        }
        assert_eq!(roots.rootfs("/etc/x"), Path::new("/host/etc/x"));
        assert_eq!(Roots::default().host_path("/var"), "/var");
    }
}
