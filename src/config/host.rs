//! `metrics.host`, `metrics.textfile` and `metrics.certificates`: what is collected of the host. Options are called as node_exporter's flags:
//! `--collector.diskstats.device-exclude` is `diskstats: { device_exclude: … }`.
//!
//! Promises: without options there are node_exporter's defaults; a collector, pattern or path that is none is an error with its place. Leaves to others:
//! collecting.

use super::check::Check;
use super::metrics::to;
use super::pipeline;
use super::plan::HostPlan;
use super::raw::{Metrics, OneOrMany};
use super::raw_host::{self as raw, Host};
use super::tree::Node;
use crate::base::expression;
use crate::base::limits::{HOST_DEADLINE_MS_DEFAULT, HOST_DEADLINE_MS_RANGE};
use crate::base::words::suggest;
use crate::pipeline::relabel::is_label_name;
use crate::source::host::{Filter, Roots, Settings, collectors};
use crate::source::series;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The host as a target, where nobody says otherwise: dashboards and alerts for node_exporter ask for this job.
const JOB: &str = "node";

/// What is collected of the host; `None`: nothing. `metrics`: its node; `outer`: labels of everything.
pub(super) fn plan(
    raw: &Metrics,
    metrics: &Node,
    outer: &[(String, String)],
    endpoints: &[&str],
    check: &mut Check<'_>,
) -> Option<HostPlan> {
    let empty = Host::default();
    let (host, node) = match &raw.host {
        Some(host) => (host, metrics.child("host")),
        // Files and certificates alone are told without the rest of the host.
        None if raw.textfile.is_some() || raw.certificates.is_some() => (&empty, metrics.child("host")),
        None => return None,
    };
    let mut settings = Settings::new(roots(host.roots.as_ref(), node.child("roots"), check));
    if raw.host.is_none() {
        settings.none();
    }
    switch(host, node, &mut settings, check);
    settings.deadline =
        check.time(host.deadline, node.child("deadline"), HOST_DEADLINE_MS_DEFAULT, HOST_DEADLINE_MS_RANGE);
    for (name, time) in host.deadlines.iter().flatten() {
        let place = node.child("deadlines");
        let deadline = check.time(Some(*time), place.child(name), 0, HOST_DEADLINE_MS_RANGE);
        if settings.set_deadline(name, deadline).is_err() {
            check.error(place.key_span(name), format!("there is no collector {name:?}"), among(name));
        }
    }
    options(host, node, &mut settings, check);
    let on = |settings: &mut Settings, name: &str, is_asked: bool| {
        if is_asked {
            // All of these are there.
            let _ = settings.set(name, true);
        }
    };
    if let Some(textfile) = &raw.textfile {
        let place = metrics.child("textfile");
        settings.textfile_directories = paths(textfile.directories.as_ref(), place, "directories", check);
        if settings.textfile_directories.is_empty() && !place.is_damaged() {
            check.error(
                metrics.key_span("textfile"),
                "`textfile` names no directory",
                "add `directories: [/var/lib/lugger/textfile]`",
            );
        }
        on(&mut settings, "textfile", true);
    }
    if let Some(certificates) = &raw.certificates {
        let place = metrics.child("certificates");
        settings.certificate_files = paths(certificates.files.as_ref(), place, "files", check);
        let servers = certificates.servers.as_ref().map(|servers| servers.0.as_slice()).unwrap_or_default();
        for (i, server) in servers.iter().enumerate() {
            let port = server
                .rsplit_once(':')
                .filter(|(host, _)| !host.is_empty())
                .and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() || server.contains('/') {
                check.error(
                    place.child("servers").item(i).span,
                    "this is not a server",
                    "write host:port, such as example.org:443",
                );
            }
            settings.certificate_servers.push(server.clone());
        }
        if settings.certificate_files.is_empty() && servers.is_empty() && !place.is_damaged() {
            let help = "add `files: [/etc/ssl/private/*.pem]`, `servers: [example.org:443]`, or both";
            check.error(metrics.key_span("certificates"), "`certificates` names none", help);
        }
        on(&mut settings, "certificates", true);
    }
    let rules = node.entry("metric_relabel_configs").and_then(|rules| pipeline::relabel(&rules.value, check));
    let series =
        series::Settings { relabel: rules.unwrap_or_default(), outer: outer.to_vec(), ..series::Settings::default() };
    Some(HostPlan {
        settings,
        labels: labels(host, node, check),
        series,
        to: to(host.to.as_ref(), node, endpoints, check),
    })
}

/// What to choose from instead.
fn among(name: &str) -> String {
    let names: Vec<&str> = collectors().map(|(name, _)| name).collect();
    suggest(name, "they are", names.iter().copied())
}

/// Which collectors are on.
fn switch(host: &Host, node: &Node, settings: &mut Settings, check: &mut Check<'_>) {
    if host.only.is_some() && host.disable.is_some() {
        check.error(node.key_span("disable"), "`disable` has no effect beside `only`", "remove one of them");
    }
    if host.only.is_some() {
        settings.none();
    }
    for (key, names, on) in
        [("only", &host.only, true), ("enable", &host.enable, true), ("disable", &host.disable, false)]
    {
        let names = names.as_ref().map(|names| names.0.as_slice()).unwrap_or_default();
        for (i, name) in names.iter().enumerate() {
            if settings.set(name, on).is_err() {
                check.error(node.child(key).item(i).span, format!("there is no collector {name:?}"), among(name));
            }
        }
    }
}

/// Labels of the host as a target.
fn labels(host: &Host, node: &Node, check: &mut Check<'_>) -> Vec<(String, String)> {
    let mut labels: BTreeMap<String, String> = host.labels.clone().unwrap_or_default();
    for name in labels.keys().filter(|name| !is_label_name(name)) {
        let help = "write letters, digits and _, and do not begin with a digit";
        check.error(node.child("labels").key_span(name), format!("{name:?} is no name of a label"), help);
    }
    for (key, value, default) in [("job", &host.job, JOB.to_owned()), ("instance", &host.instance, host_name())] {
        if let Some(value) = value {
            labels.insert(key.to_owned(), value.clone());
        } else {
            labels.entry(key.to_owned()).or_insert(default);
        }
    }
    labels.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn roots(roots: Option<&raw::Roots>, node: &Node, check: &mut Check<'_>) -> Roots {
    let Some(raw) = roots else { return Roots::default() };
    let default = Roots::default();
    let mut path = |written: &Option<String>, key: &str, default: PathBuf| match written {
        None => default,
        Some(path) => absolute(path, node.child(key), check),
    };
    Roots {
        proc: path(&raw.proc, "proc", default.proc),
        sys: path(&raw.sys, "sys", default.sys),
        rootfs: path(&raw.rootfs, "rootfs", default.rootfs),
        udev: path(&raw.udev, "udev", default.udev),
    }
}

fn absolute(path: &str, node: &Node, check: &mut Check<'_>) -> PathBuf {
    if !path.starts_with('/') {
        check.error(node.span, "this path is not absolute", "begin it with /");
    }
    path.into()
}

fn paths(written: Option<&OneOrMany>, parent: &Node, key: &str, check: &mut Check<'_>) -> Vec<PathBuf> {
    let written = written.map(|paths| paths.0.as_slice()).unwrap_or_default();
    written.iter().enumerate().map(|(i, path)| absolute(path, parent.child(key).item(i), check)).collect()
}

/// One pattern of a filter; what was the default stays where nobody says.
fn pattern(written: Option<&String>, node: &Node, kept: &mut Option<regex::Regex>, check: &mut Check<'_>) {
    let Some(text) = written else { return };
    if text.is_empty() {
        *kept = None;
        return;
    }
    match expression::compile(text) {
        Ok(compiled) => *kept = Some(compiled),
        Err(error) => check.error(
            node.span,
            format!("this is not a pattern: {error}"),
            "write an RE2 expression, or \"\" for none",
        ),
    }
}

/// Options of single collectors.
fn options(host: &Host, node: &Node, settings: &mut Settings, check: &mut Check<'_>) {
    let mut filter = |[exclude, include]: [&Option<String>; 2], collector: &str, what: &str, filter: &mut Filter| {
        let node = node.child(collector);
        pattern(exclude.as_ref(), node.child(&format!("{what}_exclude")), &mut filter.exclude, check);
        pattern(include.as_ref(), node.child(&format!("{what}_include")), &mut filter.include, check);
    };
    for (raw, collector, to) in [
        (&host.diskstats, "diskstats", &mut settings.diskstats_device),
        (&host.netdev, "netdev", &mut settings.netdev_device),
        (&host.arp, "arp", &mut settings.arp_device),
    ] {
        if let Some(raw) = raw {
            filter([&raw.device_exclude, &raw.device_include], collector, "device", to);
        }
    }
    if let Some(raw) = &host.netclass {
        filter([&raw.device_exclude, &raw.device_include], "netclass", "device", &mut settings.netclass_device);
        settings.netclass_ignore_invalid_speed =
            raw.ignore_invalid_speed.unwrap_or(settings.netclass_ignore_invalid_speed);
    }
    if let Some(raw) = &host.filesystem {
        let points = [&raw.mount_points_exclude, &raw.mount_points_include];
        filter(points, "filesystem", "mount_points", &mut settings.filesystem_mount_points);
        let types = [&raw.fs_types_exclude, &raw.fs_types_include];
        filter(types, "filesystem", "fs_types", &mut settings.filesystem_fs_types);
    }
    if let Some(raw) = &host.hwmon {
        filter([&raw.chip_exclude, &raw.chip_include], "hwmon", "chip", &mut settings.hwmon_chip);
        filter([&raw.sensor_exclude, &raw.sensor_include], "hwmon", "sensor", &mut settings.hwmon_sensor);
    }
    if let Some(raw) = &host.interrupts {
        filter([&raw.name_exclude, &raw.name_include], "interrupts", "name", &mut settings.interrupts_name);
        settings.interrupts_include_zeros = raw.include_zeros.unwrap_or(settings.interrupts_include_zeros);
    }
    if let Some(raw) = &host.systemd {
        filter([&raw.unit_exclude, &raw.unit_include], "systemd", "unit", &mut settings.systemd_unit);
        for (written, to) in [
            (raw.enable_restarts_metrics, &mut settings.systemd_enable_restarts_metrics),
            (raw.enable_start_time_metrics, &mut settings.systemd_enable_start_time_metrics),
            (raw.enable_task_metrics, &mut settings.systemd_enable_task_metrics),
        ] {
            *to = written.unwrap_or(*to);
        }
    }
    for (raw, collector, to) in [
        (&host.netstat, "netstat", &mut settings.netstat_fields),
        (&host.vmstat, "vmstat", &mut settings.vmstat_fields),
    ] {
        let fields = raw.as_ref().and_then(|raw| raw.fields.as_ref());
        pattern(fields, node.child(collector).child("fields"), &mut to.include, check);
    }
    if let Some(raw) = &host.powersupplyclass {
        let place = node.child("powersupplyclass").child("ignored_supplies");
        pattern(raw.ignored_supplies.as_ref(), place, &mut settings.powersupply_supply.exclude, check);
    }
    settings.cpu_info = host.cpu.as_ref().and_then(|cpu| cpu.info).unwrap_or(settings.cpu_info);
    settings.stat_softirq = host.stat.as_ref().and_then(|stat| stat.softirq).unwrap_or(settings.stat_softirq);
    if let Some(text) = host.chrony.as_ref().and_then(|chrony| chrony.address.as_ref()) {
        match text.parse::<SocketAddr>() {
            Ok(address) => settings.chrony_address = address,
            Err(_) => {
                let place = node.child("chrony").child("address");
                check.error(
                    place.span,
                    "this is not an address",
                    "write an IP address and a port, such as 127.0.0.1:323",
                );
            }
        }
    }
}
