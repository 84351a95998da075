//! Metrics of the host: what node_exporter tells, under its names, types, labels and units.
//!
//! A **collector** reads one part of the host and tells its families; there is a file for each. [`Host`] runs those that [`Settings`] name: one
//! collection of all is a **tick**. Where files of /proc and /sys are is set by [`Roots`], so that a container can look at its host, and
//! tests at trees of their own.
//!
//! Promises: a tick takes the collectors' deadline at most, whichever file hangs and however long, with at most one thread for each collector;
//! a collector that fails tells what it found and why, and stops no other; no series is told twice; in the steady state nothing is allocated for a value.
//! Leaves to others: when there is a tick, what is added to the labels (job, instance), and where samples go.
//!
//! Files are read by ourselves ([`files`]) and by no crate: the reason stands there.

mod collect;
mod files;
mod settings;
pub mod ticker;

mod arp;
mod certificates;
mod chrony;
mod conntrack;
mod cpu;
mod cpufreq;
mod dbus;
mod diskstats;
mod entropy;
mod filefd;
mod filesystem;
mod interrupts;
mod links;
mod loadavg;
mod meminfo;
mod netlink;
mod netstat;
mod os;
mod own;
mod pressure;
mod processes;
mod schedstat;
mod servers;
mod sockstat;
mod softnet;
mod stat;
mod statfs;
mod systemd;
mod table;
mod tcpstat;
mod textfile;
mod time;
mod timex;
mod told;
mod udp_queues;
mod uname;
mod vmstat;
mod worker;

// Hardware and file systems.
mod bcache;
mod bonding;
mod btrfs;
mod devices;
mod dmi;
mod dmmultipath;
mod edac;
mod fibrechannel;
mod hwmon;
mod infiniband;
mod ipvs;
mod kernel_hung;
mod mdadm;
mod nfs;
mod nfsd;
mod nvme;
mod powersupplyclass;
mod rapl;
mod selinux;
mod tapestats;
mod thermal_zone;
mod watchdog;
mod xfs;
mod zfs;

#[cfg(test)]
#[path = "fixture_tests.rs"]
mod fixture;

pub use collect::{Failure, Host};
pub use settings::{Filter, Roots, Settings, Unknown};

use crate::model::samples::Samples;
use std::fmt::Display;
use std::path::Path;

/// Why a collector tells nothing, or not all.
#[derive(Debug)]
enum Fail {
    /// The host does not have what it is about: no success, and no message either.
    NoData,
    /// Something is wrong: what, where, and what to do if that is known.
    Error(String),
}

impl Fail {
    /// A file or directory could not be read.
    fn io(path: &Path, error: impl Into<std::io::Error>) -> Fail {
        Fail::Error(format!("{}: {}", path.display(), error.into()))
    }

    /// A file says what cannot be understood.
    fn malformed(path: &Path, what: impl Display) -> Fail {
        Fail::Error(format!("{}: not understood: {what}", path.display()))
    }
}

/// A part of the host.
trait Collector: Send {
    /// Adds what it finds now. What was added before a failure is kept.
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail>;
}

/// What there is to know of a collector before there is one.
struct Entry {
    /// Its name, as node_exporter has it.
    name: &'static str,
    /// Whether it is on where nobody says.
    on: bool,
    /// Whether it is known to hang or to take long: it gets a thread of its own then, and not only when it has done so.
    blocks: bool,
    make: fn(&Settings) -> Box<dyn Collector>,
}

impl Entry {
    const fn new(name: &'static str, make: fn(&Settings) -> Box<dyn Collector>) -> Entry {
        Entry { name, on: true, blocks: false, make }
    }

    /// It may hang.
    const fn blocking(self) -> Entry {
        Entry { blocks: true, ..self }
    }

    /// It is off where nobody says.
    const fn off(self) -> Entry {
        Entry { on: false, ..self }
    }
}

/// All collectors, by name.
const COLLECTORS: &[Entry] = &[
    Entry::new("arp", |settings| Box::new(arp::Arp::new(settings))),
    Entry::new("certificates", |settings| Box::new(certificates::Certificates::new(settings))).blocking().off(),
    Entry::new("chrony", |settings| Box::new(chrony::Chrony::new(settings))).blocking().off(),
    Entry::new("conntrack", |settings| Box::new(conntrack::Conntrack::new(settings))),
    Entry::new("cpu", |settings| Box::new(cpu::Cpu::new(settings))),
    Entry::new("cpufreq", |settings| Box::new(cpufreq::Cpufreq::new(settings))).blocking(),
    Entry::new("diskstats", |settings| Box::new(diskstats::Diskstats::new(settings))),
    Entry::new("entropy", |settings| Box::new(entropy::Entropy::new(settings))),
    Entry::new("filefd", |settings| Box::new(filefd::Filefd::new(settings))),
    Entry::new("filesystem", |settings| Box::new(filesystem::Filesystem::new(settings))).blocking(),
    Entry::new("interrupts", |settings| Box::new(interrupts::Interrupts::new(settings))).off(),
    Entry::new("loadavg", |settings| Box::new(loadavg::Loadavg::new(settings))),
    Entry::new("meminfo", |settings| Box::new(meminfo::Meminfo::new(settings))),
    Entry::new("netclass", |settings| Box::new(links::Netclass::new(settings))).blocking(),
    Entry::new("netdev", |settings| Box::new(links::Netdev::new(settings))).blocking(),
    Entry::new("netstat", |settings| Box::new(netstat::Netstat::new(settings))),
    Entry::new("os", |settings| Box::new(os::Os::new(settings))),
    Entry::new("pressure", |settings| Box::new(pressure::Pressure::new(settings))),
    Entry::new("processes", |settings| Box::new(processes::Processes::new(settings))).blocking().off(),
    Entry::new("schedstat", |settings| Box::new(schedstat::Schedstat::new(settings))),
    Entry::new("sockstat", |settings| Box::new(sockstat::Sockstat::new(settings))),
    Entry::new("softirqs", |settings| Box::new(interrupts::Softirqs::new(settings))).off(),
    Entry::new("softnet", |settings| Box::new(softnet::Softnet::new(settings))),
    Entry::new("stat", |settings| Box::new(stat::Stat::new(settings))),
    Entry::new("systemd", |settings| Box::new(systemd::Systemd::new(settings))).blocking().off(),
    Entry::new("tcpstat", |settings| Box::new(tcpstat::Tcpstat::new(settings))).off(),
    Entry::new("textfile", |settings| Box::new(textfile::Textfile::new(settings))).blocking(),
    Entry::new("time", |settings| Box::new(time::Time::new(settings))),
    Entry::new("timex", |_| Box::new(timex::Timex)),
    Entry::new("udp_queues", |settings| Box::new(udp_queues::UdpQueues::new(settings))),
    Entry::new("uname", |_| Box::new(uname::Uname)),
    Entry::new("vmstat", |settings| Box::new(vmstat::Vmstat::new(settings))),
    // Hardware and file systems. Those block that ask firmware or a device.
    Entry::new("bcache", |settings| Box::new(bcache::Bcache::new(settings))),
    Entry::new("bonding", |settings| Box::new(bonding::Bonding::new(settings))),
    Entry::new("btrfs", |settings| Box::new(btrfs::Btrfs::new(settings))).blocking(),
    Entry::new("dmi", |settings| Box::new(dmi::Dmi::new(settings))),
    Entry::new("dmmultipath", |settings| Box::new(dmmultipath::DmMultipath::new(settings))),
    Entry::new("edac", |settings| Box::new(edac::Edac::new(settings))),
    Entry::new("fibrechannel", |settings| Box::new(fibrechannel::FibreChannel::new(settings))).blocking(),
    Entry::new("hwmon", |settings| Box::new(hwmon::Hwmon::new(settings))).blocking(),
    Entry::new("infiniband", |settings| Box::new(infiniband::Infiniband::new(settings))).blocking(),
    Entry::new("ipvs", |settings| Box::new(ipvs::Ipvs::new(settings))),
    Entry::new("kernel_hung", |settings| Box::new(kernel_hung::KernelHung::new(settings))),
    Entry::new("mdadm", |settings| Box::new(mdadm::Mdadm::new(settings))),
    Entry::new("nfs", |settings| Box::new(nfs::Nfs::new(settings))),
    Entry::new("nfsd", |settings| Box::new(nfsd::Nfsd::new(settings))),
    Entry::new("nvme", |settings| Box::new(nvme::Nvme::new(settings))).blocking(),
    Entry::new("powersupplyclass", |settings| Box::new(powersupplyclass::PowerSupplyClass::new(settings))).blocking(),
    Entry::new("rapl", |settings| Box::new(rapl::Rapl::new(settings))),
    Entry::new("selinux", |settings| Box::new(selinux::Selinux::new(settings))),
    Entry::new("tapestats", |settings| Box::new(tapestats::Tapestats::new(settings))),
    Entry::new("thermal_zone", |settings| Box::new(thermal_zone::ThermalZone::new(settings))).blocking(),
    Entry::new("watchdog", |settings| Box::new(watchdog::Watchdog::new(settings))),
    Entry::new("xfs", |settings| Box::new(xfs::Xfs::new(settings))),
    Entry::new("zfs", |settings| Box::new(zfs::Zfs::new(settings))),
];

/// The names of all collectors, each with whether it is on where nobody says.
pub fn collectors() -> impl Iterator<Item = (&'static str, bool)> {
    COLLECTORS.iter().map(|entry| (entry.name, entry.on))
}
