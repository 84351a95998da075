//! What is collected, and from where.
//!
//! Promises: [`Settings::new`] has node_exporter's defaults. Leaves to others: how a person writes them.

use super::COLLECTORS;
use super::filesystem::Others;
use crate::base::expression::{self, ExpressionError};
use crate::base::limits::HOST_DEADLINE_MS_DEFAULT;
use regex::Regex;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where the host's files are.
#[derive(Debug, Clone)]
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

/// There is no collector of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no collector {0}")]
pub struct Unknown(pub String);

/// What is collected, and from where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the host's files are.
    pub roots: Roots,
    /// How long a tick waits for a collector that hangs.
    pub deadline: Duration,
    /// Disks of diskstats.
    pub disks: Filter,
    /// Mount points of filesystem.
    pub mount_points: Filter,
    /// Types of file systems of filesystem.
    pub mount_types: Filter,
    /// Interfaces of netdev.
    pub netdev: Filter,
    /// Interfaces of netclass.
    pub netclass: Filter,
    /// Interfaces of arp.
    pub arp: Filter,
    /// `Protocol_Field` of netstat.
    pub netstat: Filter,
    /// Fields of vmstat.
    pub vmstat: Filter,
    /// Names (`NAME;INFO;DEVICES`) of interrupts.
    pub interrupts: Filter,
    /// Units of systemd.
    pub units: Filter,
    /// Chips of hwmon.
    pub chips: Filter,
    /// `CHIP;SENSOR` of hwmon.
    pub sensors: Filter,
    /// Supplies of powersupplyclass.
    pub power_supplies: Filter,
    /// Files of certificates, PEM or DER; may have wildcards.
    pub certificate_files: Vec<PathBuf>,
    /// Servers of certificates, each `host:port`.
    pub certificate_servers: Vec<String>,
    /// Where chrony asks chronyd.
    pub chrony_address: std::net::SocketAddr,
    /// Directories of textfile, which may have wildcards.
    pub textfile: Vec<PathBuf>,
    /// Whether cpu tells node_cpu_info and what belongs to it.
    pub cpu_info: bool,
    /// Whether stat tells node_softirqs_total.
    pub stat_softirq: bool,
    /// Whether netclass leaves out a speed that is not known (-1) instead of telling it as it is.
    pub ignore_invalid_speed: bool,
    /// Whether systemd tells how often services were restarted.
    pub unit_restarts: bool,
    on: BTreeSet<&'static str>,
    /// The host's own, which outlives its settings.
    pub(super) others: Arc<Others>,
}

impl Settings {
    /// node_exporter's defaults.
    pub fn new(roots: Roots) -> Settings {
        // A pattern that does not compile would match nothing; a test holds that all do.
        let pattern = |pattern: &str| expression::compile(pattern).ok();
        let excluding = |text: &str| Filter { exclude: pattern(text), include: None };
        Settings {
            roots,
            deadline: Duration::from_millis(HOST_DEADLINE_MS_DEFAULT),
            disks: excluding(DISKS),
            mount_points: excluding(MOUNT_POINTS),
            mount_types: excluding(MOUNT_TYPES),
            netdev: Filter::default(),
            netclass: Filter::default(),
            arp: Filter::default(),
            netstat: Filter { exclude: None, include: pattern(NETSTAT) },
            vmstat: Filter { exclude: None, include: pattern(VMSTAT) },
            interrupts: Filter::default(),
            units: excluding(UNITS),
            chips: Filter::default(),
            sensors: Filter::default(),
            power_supplies: Filter::default(),
            certificate_files: Vec::new(),
            certificate_servers: Vec::new(),
            chrony_address: ([127, 0, 0, 1], CHRONY_PORT).into(),
            textfile: Vec::new(),
            cpu_info: false,
            stat_softirq: false,
            ignore_invalid_speed: false,
            unit_restarts: false,
            on: COLLECTORS.iter().filter(|entry| entry.on).map(|entry| entry.name).collect(),
            others: Arc::default(),
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
            (&settings.disks, "sda", "sda1"),
            (&settings.disks, "nvme0n1", "nvme0n1p2"),
            (&settings.mount_points, "/procs", "/proc/sys"),
            (&settings.mount_points, "/var/lib/docker", "/var/lib/docker/overlay2"),
            (&settings.mount_types, "fuse.sshfs", "cgroup2"),
            (&settings.netstat, "TcpExt_ListenDrops", "TcpExt_TCPAbortOnData"),
            (&settings.vmstat, "pgmajfault", "nr_dirty"),
            (&settings.units, "cron.service", "dev-sda.device"),
        ];
        for (filter, taken, left) in cases {
            assert!(filter.takes(taken) && !filter.takes(left), "{taken} {left}");
        }
        assert!(settings.netdev.takes("lo"));
    }

    #[test]
    fn collectors_by_name() {
        let mut settings = Settings::new(Roots::default());
        assert!(settings.is_on("loadavg"));
        settings.set("loadavg", false).unwrap();
        assert!(!settings.is_on("loadavg"));
        assert_eq!(settings.set("loads", true).unwrap_err().to_string(), "there is no collector loads");
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
