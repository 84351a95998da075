//! `metrics.host` and what is beside it, as it is written.
//!
//! Leaves to others: defaults and checks (`host`).

use super::raw::{OneOrMany, Time};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// `metrics.host`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Host {
    pub(super) only: Option<OneOrMany>,
    pub(super) enable: Option<OneOrMany>,
    pub(super) disable: Option<OneOrMany>,
    pub(super) job: Option<String>,
    pub(super) instance: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) deadline: Option<Time>,
    pub(super) deadlines: Option<BTreeMap<String, Time>>,
    pub(super) roots: Option<Roots>,
    /// Read from its node.
    pub(super) metric_relabel_configs: Option<IgnoredAny>,
    pub(super) to: Option<OneOrMany>,
    pub(super) diskstats: Option<Devices>,
    pub(super) netdev: Option<Devices>,
    pub(super) arp: Option<Devices>,
    pub(super) netclass: Option<Netclass>,
    pub(super) filesystem: Option<Filesystem>,
    pub(super) hwmon: Option<Hwmon>,
    pub(super) interrupts: Option<Interrupts>,
    pub(super) systemd: Option<Systemd>,
    pub(super) netstat: Option<Fields>,
    pub(super) vmstat: Option<Fields>,
    pub(super) powersupplyclass: Option<PowerSupplies>,
    pub(super) cpu: Option<Cpu>,
    pub(super) stat: Option<Stat>,
    pub(super) chrony: Option<Chrony>,
}

/// Where the host's files are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Roots {
    pub(super) proc: Option<String>,
    pub(super) sys: Option<String>,
    pub(super) rootfs: Option<String>,
    pub(super) udev: Option<String>,
}

/// Which devices.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Devices {
    pub(super) device_exclude: Option<String>,
    pub(super) device_include: Option<String>,
}

/// `netclass`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Netclass {
    pub(super) device_exclude: Option<String>,
    pub(super) device_include: Option<String>,
    pub(super) ignore_invalid_speed: Option<bool>,
}

/// `filesystem`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filesystem {
    pub(super) mount_points_exclude: Option<String>,
    pub(super) mount_points_include: Option<String>,
    pub(super) fs_types_exclude: Option<String>,
    pub(super) fs_types_include: Option<String>,
}

/// `hwmon`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hwmon {
    pub(super) chip_exclude: Option<String>,
    pub(super) chip_include: Option<String>,
    pub(super) sensor_exclude: Option<String>,
    pub(super) sensor_include: Option<String>,
}

/// `interrupts`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Interrupts {
    pub(super) name_exclude: Option<String>,
    pub(super) name_include: Option<String>,
    pub(super) include_zeros: Option<bool>,
}

/// `systemd`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Systemd {
    pub(super) unit_exclude: Option<String>,
    pub(super) unit_include: Option<String>,
    pub(super) enable_restarts_metrics: Option<bool>,
    pub(super) enable_start_time_metrics: Option<bool>,
    pub(super) enable_task_metrics: Option<bool>,
}

/// Which fields.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    pub(super) fields: Option<String>,
}

/// `powersupplyclass`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PowerSupplies {
    pub(super) ignored_supplies: Option<String>,
}

/// `cpu`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cpu {
    pub(super) info: Option<bool>,
}

/// `stat`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stat {
    pub(super) softirq: Option<bool>,
}

/// `chrony`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chrony {
    pub(super) address: Option<String>,
}

/// `metrics.textfile`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Textfile {
    pub(super) directories: Option<OneOrMany>,
}

/// `metrics.certificates`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificates {
    pub(super) files: Option<OneOrMany>,
    pub(super) servers: Option<OneOrMany>,
}
