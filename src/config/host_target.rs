//! The host as a target: what is collected of it (`host`), its certificates, how it is called, and where its series go.
//!
//! Promises: its series have the labels `job` and `instance`, as dashboards and alerts for node_exporter want them. Leaves to others: collecting.

use super::check::Check;
use super::host::{self, HostMetrics};
use super::metrics::to;
use super::pipeline;
use super::plan::HostPlan;
use super::raw::{Metrics, OneOrMany};
use super::tree::Node;
use crate::pipeline::relabel::is_label_name;
use crate::source::host::{Roots, Settings};
use crate::source::series;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The host as a target, where nobody says otherwise: dashboards and alerts for node_exporter ask for this job.
const JOB: &str = "node";

/// `certificates` of `metrics`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificates {
    files: Option<OneOrMany>,
    servers: Option<OneOrMany>,
}

/// What is collected of the host; `None`: nothing. `metrics`: its node; `outer`: labels of everything.
pub(super) fn plan(
    raw: &Metrics,
    metrics: &Node,
    outer: &[(String, String)],
    endpoints: &[&str],
    check: &mut Check<'_>,
) -> Option<HostPlan> {
    let node = metrics.child("host");
    let mut settings = host::plan(raw.host.as_ref(), raw.textfile.as_ref(), metrics, check);
    if let Some(certificates) = &raw.certificates {
        // They are told without the rest of the host, too.
        let settings = settings.get_or_insert_with(|| {
            let mut none = Settings::new(Roots::default());
            none.none();
            none
        });
        add_certificates(certificates, metrics, settings, check);
    }
    let settings = settings?;
    let rules = node.entry("metric_relabel_configs").and_then(|rules| pipeline::relabel(&rules.value, check));
    let series =
        series::Settings { relabel: rules.unwrap_or_default(), outer: outer.to_vec(), ..series::Settings::default() };
    let names = raw.host.as_ref().and_then(|host| host.to.as_ref());
    Some(HostPlan {
        settings,
        labels: labels(raw.host.as_ref(), node, check),
        series,
        to: to(names, node, endpoints, check),
    })
}

fn add_certificates(certificates: &Certificates, metrics: &Node, settings: &mut Settings, check: &mut Check<'_>) {
    let place = metrics.child("certificates");
    let list = |list: &Option<OneOrMany>| list.as_ref().map(|list| list.0.clone()).unwrap_or_default();
    let (files, servers) = (list(&certificates.files), list(&certificates.servers));
    for (i, path) in files.iter().enumerate() {
        if !path.starts_with('/') {
            check.error(
                place.child("files").item(i).span,
                format!("the path {path:?} is not absolute"),
                "begin it with /",
            );
        }
    }
    for (i, server) in servers.iter().enumerate() {
        let port =
            server.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() || server.contains('/') {
            check.error(
                place.child("servers").item(i).span,
                "this is not a server",
                "write host:port, such as example.org:443",
            );
        }
    }
    if files.is_empty() && servers.is_empty() && !place.is_damaged() {
        let help = "add `files: [/etc/ssl/private/*.pem]`, `servers: [example.org:443]`, or both";
        check.error(metrics.key_span("certificates"), "`certificates` names none", help);
    }
    settings.certificate_files = files.into_iter().map(PathBuf::from).collect();
    settings.certificate_servers = servers;
    // It is there.
    let _ = settings.set("certificates", true);
}

/// Labels of the host as a target.
fn labels(host: Option<&HostMetrics>, node: &Node, check: &mut Check<'_>) -> Vec<(String, String)> {
    let mut labels: BTreeMap<String, String> = host.and_then(|host| host.labels.clone()).unwrap_or_default();
    for name in labels.keys().filter(|name| !is_label_name(name)) {
        let help = "write letters, digits and _, and do not begin with a digit";
        check.error(node.child("labels").key_span(name), format!("{name:?} is no name of a label"), help);
    }
    for (key, value, default) in [
        ("job", host.and_then(|host| host.job.as_ref()), JOB.to_owned()),
        ("instance", host.and_then(|host| host.instance.as_ref()), host_name()),
    ] {
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
