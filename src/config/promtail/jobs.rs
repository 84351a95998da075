//! `scrape_configs`: jobs, as entries of `logs`.
//!
//! Promises: a job with several targets becomes an entry for each; a job of a kind that this version does not collect is checked and said to be
//! left out. Leaves to others: targets and their labels (`targets`), stages (`config::pipeline`).

use super::clients::{Client, fit_name};
use super::keys::{self, survey};
use super::native::{Item, entry, list, map, text};
use super::read;
use super::server::Limits;
use super::targets::{Surroundings, Target, targets};
use crate::config::check::Check;
use crate::config::logs::derived_name;
use crate::config::pipeline;
use crate::config::tree::{Entry, Node, Value};
use std::collections::{BTreeSet, HashSet};

/// Kinds of sources that are accepted and not collected, with the keys they have.
const LATER: [(&str, Option<&keys::Keys>); 5] = [
    ("journal", Some(keys::JOURNAL)),
    ("syslog", Some(keys::SYSLOG)),
    ("loki_push_api", Some(keys::PUSH)),
    ("docker_sd_configs", Some(keys::DOCKER)),
    // Prometheus' own and manifold.
    ("kubernetes_sd_configs", None),
];

/// What jobs are translated with.
pub(super) struct Jobs<'a> {
    pub(super) clients: &'a [Client],
    pub(super) limits: &'a Limits,
    pub(super) around: &'a Surroundings<'a>,
    /// Native names that are taken.
    pub(super) names: HashSet<String>,
}

impl<'a> Jobs<'a> {
    /// All jobs.
    pub(super) fn items(&mut self, root: &Node, check: &mut Check<'_>) -> Vec<Item> {
        let mut items = Vec::new();
        let mut seen: HashSet<&str> = HashSet::new();
        for job in read::items(root, "scrape_configs", check) {
            if !survey(job, keys::JOB, check) {
                continue;
            }
            let name = read::text_at(job, "job_name", check);
            match name {
                None => check.error(
                    job.span,
                    "this job has no `job_name`",
                    "add one; it is part of what its positions are kept under",
                ),
                Some(name) if !seen.insert(name) => {
                    check.error(
                        job.child("job_name").span,
                        format!("two jobs are named {name:?}"),
                        "give each a name of its own",
                    );
                }
                Some(_) => {}
            }
            let name = name.unwrap_or("unnamed");
            items.extend(self.job(job, name, check));
        }
        items
    }

    fn job(&mut self, job: &Node, name: &str, check: &mut Check<'_>) -> Vec<Item> {
        let before = check.count();
        let later = later(job, name, check);
        let mut said = check.said_since(before);
        let errors = check.errors();
        let stages = job.entry("pipeline_stages").map(|found| &found.value);
        let is_sound = stages.is_none_or(|stages| pipeline::stages(stages, check).is_some());
        let at = check.count();
        let is_compressed = decompression(job, check);
        said.extend(check.said_since(at));
        let found = targets(job, self.around, check);
        let has_files = job.entry("static_configs").is_some() || job.entry("file_sd_configs").is_some();
        if !has_files && !later && check.errors() == errors {
            check.warn(
                job.span,
                format!("the job {name:?} says nowhere where its logs come from"),
                "add `static_configs`, or remove the job",
            );
        }
        let mut items = Vec::new();
        // What was said of targets that are not followed belongs to the job.
        let lost =
            check.said_since(at).into_iter().filter(|text| !found.iter().any(|target| target.comments.contains(text)));
        let lost: Vec<String> = lost.filter(|text| !said.contains(text)).collect();
        said.extend(lost);
        if is_compressed || !is_sound || found.is_empty() {
            if !said.is_empty() || found.is_empty() {
                said.insert(0, format!("The job {name:?} is left out."));
                items.push(Item { comments: said, node: None });
            }
            return items;
        }
        let several = found.len() > 1;
        for target in &found {
            // What concerns the target alone, once for all groups of clients.
            let at = check.count();
            let file = file(job, target, check);
            let mut own = target.comments.clone();
            own.extend(check.said_since(at));
            let mut name = fit_name(name);
            if several {
                name = fit_name(&format!("{name}:{}", derived_name(std::slice::from_ref(&target.path.1))));
            }
            for (i, group) in self.groups().iter().enumerate() {
                let mut name = name.clone();
                if i > 0 {
                    name = fit_name(&format!("{name}:{}", group.first().map_or("", |client| &client.name)));
                }
                let mut comments = std::mem::take(&mut said);
                comments.append(&mut own);
                let mut stages = stages.cloned();
                if i > 0 {
                    comments
                        .push("The same files once more, since the clients have different external_labels.".to_owned());
                    stages.iter_mut().for_each(without_metrics);
                }
                let log = Log { job, name: &name, target, file: file.clone(), stages: stages.as_ref(), group };
                let node = self.log(log);
                items.push(Item { comments, node: Some(node) });
            }
        }
        items
    }

    /// Clients that have the same external labels: they can share what is read.
    fn groups(&self) -> Vec<Vec<&'a Client>> {
        let mut groups: Vec<Vec<&'a Client>> = Vec::new();
        for client in self.clients {
            match groups.iter_mut().find(|group| group.first().is_some_and(|first| same_labels(first, client))) {
                Some(group) => group.push(client),
                None => groups.push(vec![client]),
            }
        }
        if groups.is_empty() {
            groups.push(Vec::new());
        }
        groups
    }

    fn log(&mut self, log: Log<'_>) -> Node {
        let Log { job, name, target, file, stages, group } = log;
        let mut unique = name.to_owned();
        let mut number = 1;
        while !self.names.insert(unique.clone()) {
            number += 1;
            unique = format!("{name}-{number}");
        }
        let mut out = vec![
            entry("name", job.key_span("job_name"), text(job.child("job_name").span, unique)),
            entry("file", target.path.0, file),
        ];
        let external: &[Entry] = group.first().map_or(&[], |client| &client.labels);
        // With one set of them they stand at the top of the file.
        let own: &[Entry] = if self.groups().len() > 1 { external } else { &[] };
        let labels = target.labels.iter().map(|(name, (key, node))| entry(name.as_str(), *key, node.clone()));
        let labels: Vec<Entry> = labels.collect();
        if !labels.is_empty() {
            out.push(entry("labels", target.span, map(target.span, labels)));
        }
        if !own.is_empty() {
            out.push(entry("late_labels", target.span, map(target.span, own.to_vec())));
        }
        if let Some(stages) = self.stages(stages) {
            out.push(entry("stages", job.key_span("pipeline_stages"), stages));
        }
        if group.len() < self.clients.len() {
            let names = group.iter().map(|client| text(job.span, client.name.as_str())).collect();
            out.push(entry("to", job.span, list(job.span, names)));
        }
        map(target.span, out)
    }

    /// The job's stages, and what Promtail does after them.
    fn stages(&self, stages: Option<&Node>) -> Option<Node> {
        let node = stages.filter(|node| !node.is_null()).cloned();
        let mut after = Vec::new();
        if let Some((_, longer)) = &self.limits.drop_longer {
            let span = longer.key_span;
            let reason = entry("drop_counter_reason", span, text(span, "line_too_long"));
            after.push(map(span, vec![entry("drop", span, map(span, vec![longer.clone(), reason]))]));
        }
        if after.is_empty() {
            return node;
        }
        let span = node.as_ref().map_or_else(|| after.first().map_or(longest(), |node| node.span), |node| node.span);
        let mut node = node.unwrap_or_else(|| list(span, Vec::new()));
        if let Value::List(items) = &mut node.value {
            items.extend(after);
        }
        Some(node)
    }
}

/// What an entry of `logs` is made of.
struct Log<'a> {
    job: &'a Node,
    name: &'a str,
    target: &'a Target,
    file: Node,
    stages: Option<&'a Node>,
    group: &'a [&'a Client],
}

/// `file` of an entry of `logs`.
fn file(job: &Node, target: &Target, check: &mut Check<'_>) -> Node {
    let at = target.path.0;
    let mut file = vec![entry("include", at, list(at, vec![pattern(&target.path, check)]))];
    if let Some(exclude) = &target.exclude {
        if exclude.1.starts_with('/') || exclude.1.starts_with("**/") {
            file.push(entry("exclude", exclude.0, list(exclude.0, vec![pattern(exclude, check)])));
        } else {
            check.warn(
                exclude.0,
                format!("{:?} matches no path, so that nothing is left out", exclude.1),
                format!("a pattern is of the whole path: write {:?} for wherever that is", format!("**/{}", exclude.1)),
            );
        }
    }
    if let Some(encoding) = job.entry("encoding").filter(|found| !found.value.is_null()) {
        file.push(entry("encoding", encoding.key_span, encoding.value.clone()));
    }
    map(at, file)
}

/// Takes `metrics` out of stages that see the same lines for the second time.
fn without_metrics(stages: &mut Node) {
    let Value::List(items) = &mut stages.value else { return };
    items.retain(|item| item.entry("metrics").is_none());
    for item in items {
        let Value::Map(entries) = &mut item.value else { continue };
        for option in entries.iter_mut().filter(|stage| stage.key == "match") {
            if let Value::Map(options) = &mut option.value.value {
                options
                    .iter_mut()
                    .filter(|option| option.key == "stages")
                    .for_each(|option| without_metrics(&mut option.value));
            }
        }
    }
}

/// A place for what has none.
fn longest() -> crate::config::source::Span {
    crate::config::source::Span::at(1, 1)
}

fn same_labels(a: &Client, b: &Client) -> bool {
    let texts = |client: &Client| {
        let pair = |entry: &Entry| match &entry.value.value {
            Value::Scalar(scalar) => (entry.key.clone(), scalar.text.clone()),
            Value::List(_) | Value::Map(_) => (entry.key.clone(), String::new()),
        };
        client.labels.iter().map(pair).collect::<BTreeSet<_>>()
    };
    texts(a) == texts(b)
}

/// Says that sources of a kind are not collected. True: there is one.
fn later(job: &Node, name: &str, check: &mut Check<'_>) -> bool {
    let mut is_there = false;
    for (kind, known) in LATER {
        let Some(found) = job.entry(kind) else { continue };
        is_there = true;
        if let Some(known) = known {
            match &found.value.value {
                Value::List(items) => items.iter().for_each(|item| _ = survey(item, known, check)),
                _ => _ = survey(&found.value, known, check),
            }
        }
        check.warn(
            found.key_span,
            format!("`{kind}` is not collected by this version: nothing of it in the job {name:?} is sent"),
            "the other jobs run; let Promtail run beside lugger with this job alone, or remove it",
        );
    }
    is_there
}

/// Whether the job's files are compressed ones, which are not read.
fn decompression(job: &Node, check: &mut Check<'_>) -> bool {
    let Some(found) = job.entry("decompression").filter(|found| survey(&found.value, keys::DECOMPRESSION, check))
    else {
        return false;
    };
    if read::flag(&found.value, "enabled", check) != Some(true) {
        return false;
    }
    check.warn(
        found.key_span,
        "compressed files are not read by this version: this job is left out",
        "follow the files before they are compressed: lugger reads rotated ones to their end",
    );
    true
}

/// A pattern in which `**` within a name is the `*` that it means.
fn pattern((span, written): &(crate::config::source::Span, String), check: &mut Check<'_>) -> Node {
    let fit = |part: &str| {
        if part == "**" || !part.contains("**") {
            return part.to_owned();
        }
        let mut part = part.to_owned();
        while part.contains("**") {
            part = part.replace("**", "*");
        }
        part
    };
    let parts: Vec<String> = written.split('/').map(fit).collect();
    let fitted = parts.join("/");
    if fitted != *written {
        check.note(
            *span,
            format!("`**` within a name is `*`: it stands for no further directories; read as {fitted:?}"),
        );
    }
    text(*span, fitted)
}

/// A rate is of one source if there is one; otherwise of what all sources send to each endpoint.
pub(super) fn bound(items: &mut [Item], loki: &mut [Item], limits: &Limits) {
    let put = |items: &mut [Item], what: &Entry| {
        for item in items {
            if let Some(Value::Map(entries)) = item.node.as_mut().map(|node| &mut node.value) {
                entries.push(what.clone());
            }
        }
    };
    if let Some(rate) = &limits.rate {
        let sources = items.iter().filter(|item| item.node.is_some()).count();
        put(if sources == 1 { items } else { loki }, rate);
    }
    if let Some(max) = &limits.max_streams {
        put(loki, max);
    }
}
