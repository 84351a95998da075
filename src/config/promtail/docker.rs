//! `docker_sd_configs`: containers, as entries of `logs` with a `docker` source.
//!
//! The rules stay as they are: they see what Promtail's see. A container in several networks is one target, where Promtail reads its log once for
//! each.
//!
//! Promises: what is left out is said. A filter that lugger does not have leaves out the whole configuration: without it more would be sent than is
//! meant. Leaves to others: checking the values (`config::docker`).

use super::jobs::{Jobs, Ruled};
use super::keys::{self, survey};
use super::native::{Item, entry, list, map, text};
use super::read;
use crate::base::units::format_duration;
use crate::config::check::Check;
use crate::config::tree::{Entry, Node, Value};
use crate::source::docker::settings::Property;

impl Jobs<'_> {
    /// A job that reads the logs of containers.
    pub(super) fn docker(
        &mut self,
        job: &Node,
        name: &str,
        configs: &Entry,
        stages: Option<&Node>,
        mut said: Vec<String>,
        check: &mut Check<'_>,
    ) -> Vec<Item> {
        let rules = job.entry("relabel_configs").filter(|found| !read::is_empty(&found.value));
        let rules = rules.map(|found| entry("relabel_configs", found.key_span, found.value.clone()));
        let mut items = Vec::new();
        let at = check.count();
        let mut is_sound = true;
        let mut sources = Vec::new();
        for config in read::items(job, "docker_sd_configs", check) {
            if survey(config, keys::DOCKER, check) {
                match source(config, check) {
                    Some(found) => sources.push((config, found)),
                    None => is_sound = false,
                }
            }
        }
        if rules.is_none() {
            check.warn(
                configs.key_span,
                format!("the job {name:?} gives its entries no labels: Loki takes none of them from Promtail, and so this job is left out"),
                "add `relabel_configs`, such as one with source_labels: [__meta_docker_container_name] and target_label: container",
            );
            sources.clear();
            is_sound = false;
        }
        said.extend(check.said_since(at));
        if sources.is_empty() || !is_sound {
            let what = if sources.is_empty() { "The job" } else { "A part of the job" };
            items.push(Item {
                comments: [vec![format!("{what} {name:?} is left out.")], std::mem::take(&mut said)].concat(),
                node: None,
            });
        }
        for (config, source) in sources {
            let mut identity = name.to_owned();
            source.iter().for_each(|entry| write_down(&entry.value, &mut identity));
            let source = entry("docker", configs.key_span, map(config.span, source));
            let rules = rules.clone();
            let ruled = Ruled { job, name, identity: &identity, source, rules, span: config.span, stages };
            items.extend(self.ruled(ruled, std::mem::take(&mut said)));
        }
        items
    }
}

/// All texts of a value, without their places.
fn write_down(node: &Node, out: &mut String) {
    match &node.value {
        Value::Scalar(scalar) => {
            out.push('\n');
            out.push_str(&scalar.text);
        }
        Value::List(items) => items.iter().for_each(|item| write_down(item, out)),
        Value::Map(entries) => entries.iter().for_each(|entry| write_down(&entry.value, out)),
    }
}

/// The keys of the source. `None`: it is left out.
fn source(config: &Node, check: &mut Check<'_>) -> Option<Vec<Entry>> {
    let mut source = Vec::new();
    if let Some(host) = config.entry("host").filter(|found| !read::is_empty(&found.value)) {
        source.push(entry("host", host.key_span, host.value.clone()));
    }
    let mut filters = Vec::new();
    let mut is_sound = true;
    for filter in read::items(config, "filters", check) {
        if !survey(filter, keys::DOCKER_FILTER, check) {
            continue;
        }
        let name = read::text_at(filter, "name", check).unwrap_or_default();
        if name == "status" {
            check.note(
                filter.span,
                "the filter by status has no effect: a container's log is read from its first line to its last",
            );
        } else if Property::NAMES.iter().any(|(known, _)| *known == name) || name.is_empty() {
            filters.push(filter.clone());
        } else {
            check.warn(
                filter.span,
                format!("lugger does not filter by {name:?}: these containers are left out"),
                "filter by label, name, id, network or ancestor, or drop by `relabel_configs`",
            );
            is_sound = false;
        }
    }
    if !filters.is_empty() {
        source.push(entry("filters", config.key_span("filters"), list(config.child("filters").span, filters)));
    }
    if let Some(interval) = read::duration(config, "refresh_interval", check) {
        let (written, native) = (config.child("refresh_interval"), format_duration(interval));
        source.push(entry("refresh_interval", config.key_span("refresh_interval"), text(written.span, native)));
    }
    is_sound.then_some(source)
}
