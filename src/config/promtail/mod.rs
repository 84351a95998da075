//! Promtail's files: read as they are and translated to lugger's own form, which `run` and `check` take and `convert` prints.
//!
//! The translation goes from tree to tree. Each node keeps its place in the Promtail file, so that also what the later steps find is shown
//! where it is written. What this file cannot say in lugger's form is reported: an error where the agent would do something else than what
//! is meant, a warning where something is left out, a note where nobody has to do anything.
//!
//! Promises: no key is passed over in silence; `run` and `convert` cannot differ, since both come from the same tree. Leaves to others: what is
//! checked of every configuration.

mod behind;
mod clients;
mod docker;
mod environment;
mod jobs;
mod keys;
mod native;
mod print;
mod read;
mod receivers;
mod server;
mod targets;
mod weak;

use super::check::Check;
use super::env::Lookup;
use super::report::Finding;
use super::tree::{Entry, Node, Value};
use keys::survey;
use native::{Content, Section, map};
use std::path::Path;
use targets::Surroundings;

pub(super) use native::Native;
pub(super) use print::print;

/// Whether a file is meant for Promtail.
pub(super) fn is_one(root: &Node) -> bool {
    root.entry("scrape_configs").is_some() || root.entry("clients").is_some()
}

/// Translates a Promtail file. `directory` is where its relative paths begin.
pub(super) fn translate(root: &mut Node, env: &Lookup<'_>, directory: &Path, findings: &mut Vec<Finding>) -> Native {
    let mut check = Check::new(findings);
    let check = &mut check;
    environment::substitute(root, env, check);
    let root = &*root;
    let mut native = Native::default();
    survey(root, keys::TOP, check);
    let top = check.said_since(0);
    native.comments.extend(top);
    let (said, stdin) = server::target(root, check);
    native.comments.extend(said);
    // Positions are taken over at the first start alone, which should be one that reads files.
    native.sections.extend(stdin.is_none().then(|| server::import(root, check)).flatten());
    let mut clients = clients::clients(root, env, check);
    if clients.is_empty() && check.errors() == 0 {
        check.error(
            root.key_span("clients"),
            "there is nowhere to send logs to: `clients` is missing or empty",
            "say where logs go, such as `clients: [{ url: \"http://127.0.0.1:3100/loki/api/v1/push\" }]`",
        );
    }
    let (limits, limits_section) = server::limits(root, check);
    let around = Surroundings { env, directory, line_bytes: limits.line_bytes() };
    let mut jobs = jobs::Jobs::new(&clients, &around);
    let mut logs = match stdin {
        Some(at) => jobs.stdin(root, at, check),
        None => jobs.items(root, check),
    };
    let targets = jobs.targets;
    native.sections.extend(labels(root, &clients, check));
    let mut loki: Vec<_> = clients.iter_mut().map(|client| client.item.clone()).collect();
    behind::bound(&mut logs, &mut loki, &limits, targets, check);
    if logs.iter().all(|item| item.node.is_none()) && check.errors() == 0 {
        check.error(
            root.key_span("scrape_configs"),
            "nothing is left that this version collects",
            "add a job that it does, such as one with `static_configs` and a `__path__`",
        );
    }
    let section =
        |key, written, content| Section { comments: Vec::new(), key, key_span: root.key_span(written), content };
    native.sections.push(section("loki", "clients", Content::Items(loki)));
    native.sections.push(section("logs", "scrape_configs", Content::Items(logs)));
    native.sections.extend(server::http(root, check));
    native.sections.extend(limits_section);
    native
}

/// Labels that all clients add, behind all stages.
fn labels(root: &Node, clients: &[clients::Client], check: &mut Check<'_>) -> Option<Section> {
    for client in clients {
        for label in &client.labels {
            // Reported if it is no text.
            let _ = read::text(&label.value, check);
        }
    }
    let all = &clients.first()?.labels;
    let text = |entry: &Entry| match &entry.value.value {
        Value::Scalar(scalar) => (entry.key.clone(), scalar.text.clone()),
        Value::List(_) | Value::Map(_) => (entry.key.clone(), String::new()),
    };
    let of = |client: &clients::Client| client.labels.iter().map(text).collect::<std::collections::BTreeMap<_, _>>();
    let first = of(clients.first()?);
    if all.is_empty() || clients.iter().any(|client| of(client) != first) {
        return None;
    }
    let key_span = root.key_span("clients");
    let comments = vec!["external_labels: on every stream that has no label of that name itself.".to_owned()];
    Some(Section { comments, key: "late_labels", key_span, content: Content::Node(map(key_span, all.clone())) })
}
