//! `docker` of a `logs` entry: from what was written to a source's settings.
//!
//! Promises: the source can be made of what comes out; what this user may not use on this host is said, with what to do. Leaves to others: what all
//! entries of `logs` have (`logs`), talking to Docker.

use super::check::Check;
use super::logs::{Caps, Entry};
use super::plan::DockerSource;
use super::raw::{DockerLog, StartAt};
use super::tree::Node;
use crate::base::expression;
use crate::base::limits::{DOCKER_REFRESH_MS_DEFAULT, DOCKER_REFRESH_MS_RANGE};
use crate::base::words::suggest;
use crate::model::labels::Labels;
use crate::pipeline::relabel;
use crate::source::docker::settings::{ApiLogs, Filter, Host, Property, Settings};
use crate::source::docker::{data_root, socket_problem};
use crate::source::file::settings;
use std::path::{Path, PathBuf};

/// Where Docker has its socket.
const SOCKET: &str = "/var/run/docker.sock";
/// Where it keeps everything, unless its own configuration says otherwise.
const DATA_ROOT: &str = "/var/lib/docker";
/// That configuration.
const DAEMON: &str = "/etc/docker/daemon.json";

/// An entry's source. `relabel`: its rules; `None`: they were reported.
pub(super) fn plan(
    docker: &DockerLog,
    entry: Entry<'_>,
    relabel: Option<Vec<relabel::Settings>>,
    caps: Caps,
    check: &mut Check<'_>,
) -> Option<DockerSource> {
    let place = entry.node.child("docker");
    let host = host(docker, place, check);
    let (containers, is_guess) = containers(docker, host.as_ref(), place, check);
    let filters = filters(docker, place, check);
    let keep_labels = docker.keep_labels.as_ref().map(|list| list.0.clone()).unwrap_or_default();
    let refresh = docker.refresh_interval;
    let refresh =
        check.time(refresh, place.child("refresh_interval"), DOCKER_REFRESH_MS_DEFAULT, DOCKER_REFRESH_MS_RANGE);
    let Entry { name, node, own, outer, late_labels, rate, stages, to } = entry;
    let relabel = relabel?;
    if !keep_labels.is_empty() && !relabel.is_empty() {
        check.error(
            place.key_span("keep_labels"),
            "`keep_labels` is for entries without `relabel_configs`, which say themselves what becomes a label",
            "remove it, and add rules such as { source_labels: [__meta_docker_container_label_team], target_label: team }",
        );
    }
    let host = host?;
    can_be_used(&host, &containers, node, check);
    let Caps { line_bytes, labels: label_caps } = caps;
    let settings = Settings {
        name,
        host,
        containers,
        is_guess,
        filters,
        start_at: match docker.start_at {
            Some(StartAt::End) => settings::StartAt::End,
            Some(StartAt::Beginning) | None => settings::StartAt::Beginning,
        },
        keep_labels,
        refresh,
        imported: Vec::new(),
        api_logs: if docker.api_logs == Some(false) { ApiLogs::Off } else { ApiLogs::Taken },
        own_container: docker.own_container.unwrap_or(false),
        relabel: Some(relabel).filter(|rules| !rules.is_empty()),
        // What could make this fail has been reported, label by label.
        labels: Labels::within(own, label_caps).unwrap_or_default(),
        outer_labels: Labels::within(outer, label_caps).unwrap_or_default(),
        late_labels,
        label_caps,
        line_bytes,
        rate,
        stages,
    };
    Some(DockerSource { settings, to })
}

fn host(docker: &DockerLog, place: &Node, check: &mut Check<'_>) -> Option<Host> {
    let Some(written) = docker.host.as_deref() else { return Some(Host::Unix(SOCKET.into())) };
    let span = place.child("host").span;
    if let Some(path) = written.strip_prefix("unix://").or_else(|| written.starts_with('/').then_some(written)) {
        if !path.starts_with('/') {
            check.error(span, format!("the path {path:?} is not absolute"), format!("write it like unix://{SOCKET}"));
        }
        return Some(Host::Unix(path.into()));
    }
    let address = written.strip_prefix("tcp://").or_else(|| written.strip_prefix("http://"));
    let address = address.map(|address| address.trim_end_matches('/'));
    let is_address = |address: &&str| {
        address.rsplit_once(':').is_some_and(|(host, port)| {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
            !host.is_empty() && host.chars().all(fits) && port.parse::<u16>().is_ok()
        })
    };
    match address.filter(is_address) {
        Some(address) => Some(Host::Tcp(address.to_owned())),
        None if written.starts_with("https://") => {
            check.error(
                span,
                "lugger does not speak to Docker by TLS",
                "run lugger on Docker's own host, with its socket",
            );
            None
        }
        None => {
            check.error(
                span,
                format!("{written:?} is no place where Docker listens"),
                format!("write it like unix://{SOCKET} or tcp://127.0.0.1:2375"),
            );
            None
        }
    }
}

/// The directory with the containers' directories. `true`: that is a guess.
fn containers(docker: &DockerLog, host: Option<&Host>, place: &Node, check: &mut Check<'_>) -> (PathBuf, bool) {
    let Some(written) = docker.containers.as_deref() else {
        // As Docker itself says, if it runs.
        let said = match host {
            Some(Host::Unix(socket)) => data_root(socket),
            Some(Host::Tcp(_)) | None => None,
        };
        return match said {
            Some(root) => (root.join("containers"), false),
            None => (default_containers(Path::new(DAEMON)), matches!(host, Some(Host::Unix(_)))),
        };
    };
    if !written.starts_with('/') {
        check.error(
            place.child("containers").span,
            format!("the path {written:?} is not absolute"),
            format!("begin it with /, such as {DATA_ROOT}/containers"),
        );
    }
    (PathBuf::from(written.trim_end_matches('/')), false)
}

/// Beside a source for the journal: what Docker puts there comes by both.
pub(super) fn note_journal(docker: &DockerLog, node: &Node, check: &mut Check<'_>) {
    let daemon = std::fs::read(DAEMON).unwrap_or_default();
    let is_podman = docker.host.as_deref().is_some_and(|host| host.contains("podman"));
    if docker.api_logs != Some(false) && (is_podman || logs_to_journal(&daemon)) {
        check.note(
            node.key_span("docker"),
            "containers log to the journal here, unless they say otherwise, and another entry of `logs` reads that: their lines go out twice, under \
             labels of each. `api_logs: false` leaves them to the journal",
        );
    }
}

/// Whether Docker's configuration makes the journal the usual place for logs.
fn logs_to_journal(daemon: &[u8]) -> bool {
    let value: serde_json::Value = serde_json::from_slice(daemon).unwrap_or_default();
    value.get("log-driver").and_then(|driver| driver.as_str()) == Some("journald")
}

/// As Docker's configuration says.
fn default_containers(daemon: &Path) -> PathBuf {
    let text = std::fs::read(daemon).unwrap_or_default();
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    // `graph` is what it was called before.
    let root = ["data-root", "graph"].into_iter().find_map(|key| value.get(key)?.as_str().map(str::to_owned));
    Path::new(root.as_deref().unwrap_or(DATA_ROOT)).join("containers")
}

fn filters(docker: &DockerLog, place: &Node, check: &mut Check<'_>) -> Vec<Filter> {
    let mut filters = Vec::new();
    let list = place.child("filters");
    for (i, filter) in docker.filters.iter().flatten().enumerate() {
        let node = list.item(i);
        let values = filter.values.as_ref().map(|values| values.0.clone()).unwrap_or_default();
        let Some(name) = &filter.name else {
            check.error(node.span, "this filter has no `name`", "write it like { name: label, values: [logging=yes] }");
            continue;
        };
        if values.is_empty() && !node.child("values").is_damaged() {
            check.error(node.span, "this filter has no `values`", "add those that are wanted");
        }
        let property = Property::NAMES.iter().find(|(known, _)| known == name).map(|(_, property)| *property);
        let Some(property) = property else {
            let span = node.child("name").span;
            if name == "status" {
                check.error(
                    span,
                    "there is no filter by status: a container's log is read from its first line to its last",
                    "remove it",
                );
            } else {
                let help = suggest(name, "the filters are", Property::NAMES.map(|(name, _)| name));
                check.error(span, format!("{name:?} is no filter that lugger knows"), help);
            }
            continue;
        };
        if matches!(property, Property::Name | Property::Id) {
            for (i, value) in values.iter().enumerate() {
                if let Err(error) = expression::compile(value) {
                    check.error(node.child("values").item(i).span, error.to_string(), "correct it");
                }
            }
        }
        filters.push(Filter { property, values });
    }
    filters
}

/// What this user may not use now. It may be another one than the agent will run as, and Docker may come later.
fn can_be_used(host: &Host, containers: &Path, node: &Node, check: &mut Check<'_>) {
    let Host::Unix(socket) = host else { return };
    let Some(problem) = socket_problem(socket) else { return };
    let has_logs = std::fs::read_dir(containers).is_ok();
    if has_logs && !socket.exists() {
        return;
    }
    let help = if has_logs {
        "logs on disk are read all the same, with what stands beside them"
    } else {
        "until that is mended, or Docker runs, no logs of containers are read"
    };
    check.warn(node.key_span("docker"), problem, help);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_says_where_logs_go() {
        assert!(logs_to_journal(br#"{ "log-driver": "journald" }"#));
        assert!(!logs_to_journal(br#"{ "log-driver": "local" }"#) && !logs_to_journal(b""));
    }

    #[test]
    fn docker_says_where_it_keeps_containers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.json");
        let of = || default_containers(&path).display().to_string();
        assert_eq!(of(), "/var/lib/docker/containers");
        std::fs::write(&path, r#"{ "data-root": "/srv/docker" }"#).unwrap();
        assert_eq!(of(), "/srv/docker/containers");
        std::fs::write(&path, "[").unwrap();
        assert_eq!(of(), "/var/lib/docker/containers");
    }
}
