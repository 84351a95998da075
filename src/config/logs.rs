//! `logs` entries: from what was written to a source's settings.
//!
//! Promises: patterns are absolute and can match something; labels are such that a default Loki takes them, `filename` counted in.
//! Leaves to others: finding files.

use super::check::Check;
use super::docker;
use super::journal;
use super::pipeline;
use super::plan::{DockerSource, FileSource, JournalSource, Receiver};
use super::raw::{File, FileLog, Log, OneOrMany, StartAt};
use super::receivers;
use super::tree::Node;
use crate::base::limits::{NAME_BYTES, PATTERN_BYTES};
use crate::base::rate::RateLimit;
use crate::base::words::suggest;
use crate::model::labels::{LabelCaps, Labels, MERGED, check_name};
use crate::model::tenant::TENANT_LABEL;
use crate::pipeline::settings::Stage;
use crate::source::file::encoding::Encoding;
use crate::source::file::settings;
use globset::GlobBuilder;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;

/// The label that the file source adds.
pub(super) const FILENAME: &str = "filename";

/// What an entry can read.
const KINDS: [&str; 7] = ["file", "journal", "docker", "syslog", "push", "gelf", "stdin"];

/// What `limits` says of lines and labels.
#[derive(Clone, Copy)]
pub(super) struct Caps {
    pub(super) line_bytes: usize,
    pub(super) labels: LabelCaps,
}

/// The labels of all entries, and those that come behind the stages of all.
pub(super) struct Global {
    labels: BTreeMap<String, String>,
    late: BTreeMap<String, String>,
}

impl Global {
    pub(super) fn new(raw: &File, root: &Node, caps: LabelCaps, check: &mut Check<'_>) -> Self {
        let mut of = |written: &Option<BTreeMap<String, String>>, key| {
            let labels = written.clone().unwrap_or_default();
            check_labels(&labels, root.child(key), caps, check);
            labels
        };
        Global { labels: of(&raw.labels, "labels"), late: of(&raw.late_labels, "late_labels") }
    }
}

/// What `logs` comes to.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) files: Vec<FileSource>,
    pub(super) journals: Vec<JournalSource>,
    pub(super) dockers: Vec<DockerSource>,
    pub(super) receivers: Vec<Receiver>,
}

/// What entries of `logs` have, whatever their source.
pub(super) struct Entry<'a> {
    pub(super) name: String,
    pub(super) node: &'a Node,
    /// Its own labels, and the global ones that it does not replace.
    pub(super) own: BTreeMap<String, String>,
    pub(super) outer: BTreeMap<String, String>,
    pub(super) late_labels: Labels,
    pub(super) rate: Option<RateLimit>,
    pub(super) stages: Vec<Stage>,
    pub(super) to: Vec<usize>,
}

/// All entries that have a source. `endpoints` are the names that `to` may have.
pub(super) fn plan(
    raw: &[Log],
    root: &Node,
    global: &Global,
    endpoints: &[&str],
    caps: Caps,
    http: Option<SocketAddr>,
    check: &mut Check<'_>,
) -> Sources {
    let list = root.child("logs");
    let mut taken: HashSet<String> = HashSet::new();
    for (i, log) in raw.iter().enumerate() {
        if let Some(name) = &log.name {
            let node = list.item(i).child("name");
            check.name(name, node);
            if !taken.insert(name.clone()) {
                check.error(
                    node.span,
                    format!("two entries of `logs` are named {name:?}"),
                    "give each a name of its own",
                );
            }
        }
    }
    let mut suffixes = HashMap::new();
    let mut sources = Sources::default();
    let mut places = Vec::new();
    for (i, log) in raw.iter().enumerate() {
        let node = list.item(i);
        let to = to(log, node, root, endpoints, check);
        let kinds = kinds_of(log);
        if let [first, .., second] = kinds.as_slice() {
            check.error(
                node.key_span(second),
                "this entry of `logs` has two sources",
                format!("write an entry for each of `{first}` and `{second}`"),
            );
        }
        if let Some(kind @ ("journal" | "docker" | "syslog" | "push" | "gelf" | "stdin")) = kinds.first().copied() {
            let own = log.labels.clone().unwrap_or_default();
            check_labels(&own, node.child("labels"), caps.labels, check);
            let late = check_late(log, node, caps.labels, check);
            let relabel = pipeline::rules_of(log, node, check);
            let stages = pipeline::stages_of(log, node, check);
            let name = log.name.clone().unwrap_or_else(|| unique(kind, &mut taken, &mut suffixes));
            let rate = check.rate(log.rate.as_ref(), node);
            let outer = global.labels.iter().filter(|(name, value)| !own.contains_key(*name) && !value.is_empty());
            let outer = outer.map(|(name, value)| (name.clone(), value.clone())).collect();
            let (_, late_labels) = labels(log, (own.clone(), late), node, global, root, caps.labels, check);
            let entry = Entry { name, node, own, outer, late_labels, rate, stages, to };
            match (&log.journal, &log.docker) {
                (Some(journal), _) if kind == "journal" => {
                    sources.journals.extend(journal::plan(journal, entry, relabel, caps, check));
                }
                (_, Some(docker)) if kind == "docker" => {
                    if raw.iter().any(|log| log.journal.is_some()) {
                        docker::note_journal(docker, node, check);
                    }
                    sources.dockers.extend(docker::plan(docker, entry, relabel, caps, check));
                }
                _ => {
                    let receiver = receivers::plan(log, kind, entry, relabel, caps, check);
                    places.extend(receiver.is_some().then_some(i));
                    sources.receivers.extend(receiver);
                }
            }
            continue;
        }
        let Some(file) = &log.file else {
            let own = log.labels.clone().unwrap_or_default();
            check_labels(&own, node.child("labels"), caps.labels, check);
            check_late(log, node, caps.labels, check);
            pipeline::relabelled(log, own, Vec::new(), node, caps.labels, check);
            pipeline::stages_of(log, node, check);
            // Another source that this version does not have has been reported already.
            if let Some(kind) =
                KINDS.into_iter().find(|kind| node.entry(kind).is_some_and(|entry| entry.value.is_null()))
            {
                let settings = match kind {
                    "file" => "{ include: [/var/log/*.log] }",
                    "syslog" => "{ listen: \"udp://0.0.0.0:1514\" }",
                    "push" => "{ listen: 127.0.0.1:3500 }",
                    _ => "{}",
                };
                check.error(
                    node.key_span(kind),
                    format!("nothing is written behind `{kind}:`, so that this entry of `logs` has no source"),
                    format!("write `{kind}: {settings}`"),
                );
            } else if !node.is_damaged() {
                check.error(
                    node.key_span("file"),
                    "this entry of `logs` has no source",
                    "add `file`, such as `file: { include: [/var/log/*.log] }`, `journal: {}`, `docker: {}`, or syslog, push, gelf, stdin",
                );
            }
            continue;
        };
        let place = node.child("file");
        let (include, exclude) = patterns(file, node, place, check);
        let own = log.labels.clone().unwrap_or_default();
        check_labels(&own, node.child("labels"), caps.labels, check);
        let late = check_late(log, node, caps.labels, check);
        let relabelled = pipeline::relabelled(log, own, include.clone(), node, caps.labels, check);
        let stages = pipeline::stages_of(log, node, check);
        let name = log.name.clone().unwrap_or_else(|| unique(&derived_name(&include), &mut taken, &mut suffixes));
        let start_at = match file.start_at {
            Some(StartAt::End) => settings::StartAt::End,
            Some(StartAt::Beginning) | None => settings::StartAt::Beginning,
        };
        let encoding = encoding(file, place, check);
        let rate = check.rate(log.rate.as_ref(), node);
        let Some((own, include)) = relabelled else { continue };
        let (labels, late_labels) = labels(log, (own, late), node, global, root, caps.labels, check);
        let Caps { line_bytes, labels: label_caps } = caps;
        let settings = settings::Settings {
            name,
            include,
            exclude,
            start_at,
            encoding,
            labels,
            late_labels,
            label_caps,
            line_bytes,
            rate,
            stages,
            owners: None,
            records: None,
        };
        sources.files.push(FileSource { settings, to });
    }
    receivers::check_addresses(&sources.receivers, &places, http, list, check);
    sources
}

/// The sources that an entry has; it should be one.
fn kinds_of(log: &Log) -> Vec<&'static str> {
    let are = [
        log.file.is_some(),
        log.journal.is_some(),
        log.docker.is_some(),
        log.syslog.is_some(),
        log.push.is_some(),
        log.gelf.is_some(),
        log.stdin.is_some(),
    ];
    KINDS.into_iter().zip(are).filter_map(|(kind, is)| is.then_some(kind)).collect()
}

/// `base`, or `base-2`, `base-3`, … if that is taken; the result is taken then. `suffixes` keeps the last number of each.
fn unique(base: &str, taken: &mut HashSet<String>, suffixes: &mut HashMap<String, usize>) -> String {
    let mut name = base.to_owned();
    let number = suffixes.entry(base.to_owned()).or_insert(1);
    while !taken.insert(name.clone()) {
        *number += 1;
        name = format!("{base}-{number}");
    }
    name
}

/// `/var/log/nginx/*.log` is `var-log-nginx-log`: it depends on the first pattern only, so that other entries can come and go.
pub(super) fn derived_name(include: &[String]) -> String {
    let pattern = include.first().map_or("", String::as_str);
    let mut name = String::new();
    for part in pattern.split('/') {
        let part: String =
            part.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':')).collect();
        let part = part.trim_matches(['.', '-']);
        // Long enough is distinct enough; room is left for a number.
        if !part.is_empty() && name.len() + part.len() + 8 < NAME_BYTES {
            if !name.is_empty() {
                name.push('-');
            }
            name.push_str(part);
        }
    }
    if name.is_empty() { "files".to_owned() } else { name }
}

/// What the bytes of the files mean.
fn encoding(file: &FileLog, place: &Node, check: &mut Check<'_>) -> Encoding {
    let Some(name) = &file.encoding else { return Encoding::default() };
    Encoding::named(name).unwrap_or_else(|| {
        check.error(
            place.child("encoding").span,
            format!("{name:?} is no encoding that lugger knows"),
            suggest(name, "some of those it knows are", Encoding::COMMON),
        );
        Encoding::default()
    })
}

/// The endpoints that an entry goes to: those it names, or all.
fn to(log: &Log, node: &Node, root: &Node, endpoints: &[&str], check: &mut Check<'_>) -> Vec<usize> {
    let Some(OneOrMany(names)) = &log.to else { return (0..endpoints.len()).collect() };
    let place = node.child("to");
    if names.is_empty() && !place.is_damaged() {
        check.error(
            node.key_span("to"),
            "`to` is empty",
            "name endpoints of `loki`, or remove it: then it goes to all of them",
        );
    }
    let mut to = Vec::new();
    for (i, name) in names.iter().enumerate() {
        match endpoints.iter().position(|endpoint| endpoint == name) {
            Some(index) => to.push(index),
            // Endpoints that were reported may be the one that is meant.
            None if root.child("loki").is_damaged() || root.has_lost("loki") || endpoints.is_empty() => {}
            None => check.error(
                place.item(i).span,
                format!("there is no endpoint named {name:?}"),
                suggest(name, "the endpoints are", endpoints.iter().copied()),
            ),
        }
    }
    to.sort_unstable();
    to.dedup();
    to
}

/// Names and values of one map of labels, each at its place.
pub(super) fn check_labels(labels: &BTreeMap<String, String>, node: &Node, caps: LabelCaps, check: &mut Check<'_>) {
    for (name, value) in labels {
        if let Err(error) = check_name(name, caps) {
            check.error(node.key_span(name), error.to_string(), "choose another name");
        } else if name == TENANT_LABEL {
            check.error(
                node.key_span(name),
                format!("the label {TENANT_LABEL} is the tenant, and no label of a stream"),
                "write `tenant_id` at the endpoint, or a stage such as `tenant: { value: NAME }`",
            );
        } else if name == FILENAME {
            check.error(
                node.key_span(name),
                "the label filename is set by the agent, to the path of the file",
                "choose another name, or remove it",
            );
        } else if name == MERGED {
            check.error(
                node.key_span(name),
                format!(
                    "the label {MERGED} is set by the agent, on streams that take the lines of those above max_streams"
                ),
                "choose another name, or remove it",
            );
        } else if value.len() > caps.value_bytes {
            check.error(
                node.child(name).span,
                format!("the value of label {name} is longer than {} bytes", caps.value_bytes),
                "shorten it; `limits.label_value` is to be what Loki takes",
            );
        }
    }
}

fn check_late(log: &Log, node: &Node, caps: LabelCaps, check: &mut Check<'_>) -> BTreeMap<String, String> {
    let late = log.late_labels.clone().unwrap_or_default();
    check_labels(&late, node.child("late_labels"), caps, check);
    late
}

/// The entry's labels over the global ones, and its late ones over the global late ones.
fn labels(
    log: &Log,
    (own, own_late): (BTreeMap<String, String>, BTreeMap<String, String>),
    node: &Node,
    global: &Global,
    root: &Node,
    caps: LabelCaps,
    check: &mut Check<'_>,
) -> (Labels, Labels) {
    let over = |global: &BTreeMap<String, String>, own| {
        let mut merged = global.clone();
        merged.extend(own);
        // An empty value removes a label.
        merged.retain(|_, value| !value.is_empty());
        merged
    };
    let (merged, late) = (over(&global.labels, own), over(&global.late, own_late));
    let count = merged.len() + late.keys().filter(|name| !merged.contains_key(*name)).count() + 1;
    if count > caps.count {
        let span = if log.labels.is_some() { node.key_span("labels") } else { root.key_span("labels") };
        check.error(
            span,
            format!("streams would have {count} labels: global ones, own ones and {FILENAME}"),
            format!("`limits.labels` is {}, which is to be what Loki takes: remove some", caps.count),
        );
    }
    // What could make this fail has been reported above, label by label.
    (Labels::within(merged, caps).unwrap_or_default(), Labels::within(late, caps).unwrap_or_default())
}

fn patterns(file: &FileLog, node: &Node, place: &Node, check: &mut Check<'_>) -> (Vec<String>, Vec<String>) {
    let include = file.include.as_ref().map(|list| list.0.clone()).unwrap_or_default();
    let exclude = file.exclude.as_ref().map(|list| list.0.clone()).unwrap_or_default();
    let damaged = place.has_lost("include") || place.entry("include").is_some_and(|entry| entry.value.is_damaged());
    if include.is_empty() && !damaged {
        let span = if place.entry("include").is_some() { place.key_span("include") } else { node.key_span("file") };
        check.error(span, "`include` is missing or empty", "name files, such as `include: [/var/log/*.log]`");
    }
    for (i, pattern) in include.iter().enumerate() {
        let at = place.child("include").item(i);
        if !pattern.starts_with('/') {
            check.error(
                at.span,
                format!("the pattern {pattern:?} is not absolute"),
                "begin it with /, such as /var/log/*.log",
            );
        } else if pattern == "/dev/kmsg" {
            check.error(
                at.span,
                "/dev/kmsg is a device, not a file that can be followed",
                "read the kernel's messages with `journal: { matches: _TRANSPORT=kernel }` instead of `file`, or from /var/log/kern.log",
            );
        } else if check_pattern(pattern, at, check) {
            let directory = pattern.trim_end_matches('/');
            if pattern.ends_with('/') || Path::new(pattern).is_dir() {
                check.error(
                    at.span,
                    format!("{pattern:?} is a directory, not a pattern of files"),
                    format!("write {directory}/*.log for files in it, {directory}/**/*.log for those below it too"),
                );
            }
        }
    }
    for (i, pattern) in exclude.iter().enumerate() {
        let at = place.child("exclude").item(i);
        if !pattern.starts_with('/') && !pattern.starts_with("**/") {
            check.error(
                at.span,
                format!("the pattern {pattern:?} is not absolute"),
                format!("begin it with /, or write {:?} for wherever that is", format!("**/{pattern}")),
            );
        } else {
            check_pattern(pattern, at, check);
        }
    }
    (include, exclude)
}

/// What makes a pattern invalid, or unable to match any path.
fn check_pattern(pattern: &str, node: &Node, check: &mut Check<'_>) -> bool {
    let inner = pattern.trim_start_matches('/').trim_end_matches('/');
    let problem = if pattern.len() > PATTERN_BYTES || pattern.contains('\0') {
        Some(("this pattern matches no file".to_owned(), "no path has a NUL character or is longer than 4096 bytes"))
    } else if let Err(error) = GlobBuilder::new(pattern).literal_separator(true).build() {
        Some((
            format!("{pattern:?} is not a pattern: {}", error.kind()),
            "put a character that is meant literally in brackets, such as [{]",
        ))
    } else if inner.split('/').any(|part| part.contains("**") && part != "**") {
        let message = format!("in {pattern:?}, `**` is not alone between slashes");
        Some((message, "`**` stands for any number of directories, as in /var/log/**/*.log; within a name use `*`"))
    } else if (!inner.is_empty() && inner.split('/').any(|part| matches!(part, "" | "." | "..")))
        || pattern.starts_with("//")
    {
        Some((format!("the pattern {pattern:?} matches no file"), "write the path without . and .. and double slashes"))
    } else {
        None
    };
    match problem {
        Some((message, help)) => {
            check.error(node.span, message, help);
            false
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_first_pattern() {
        for (pattern, expected) in [
            ("/var/log/nginx/*.log", "var-log-nginx-log"),
            ("/var/log/syslog", "var-log-syslog"),
            ("/srv/{a,b}/**/app-*.json", "srv-ab-app-.json"),
            ("/*", "files"),
        ] {
            assert_eq!(derived_name(&[pattern.to_owned()]), expected);
        }
        assert!(derived_name(&["/x".repeat(1000)]).len() <= NAME_BYTES);
    }
}
