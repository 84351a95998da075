//! The targets of a job: `static_configs` and `file_sd_configs`, through `relabel_configs`, to a path and labels.
//!
//! All labels of such targets are known when the file is read, so relabelling is done here, and the native form has its outcome.
//!
//! Promises: what Promtail drops is dropped, and said: targets that a rule drops, that have no `__path__`, or the `__host__` of another
//! host; labels that begin with `__` do not get further. Leaves to others: patterns (`patterns`), finding files.

use super::keys::{self, survey};
use super::read;
use crate::config::check::Check;
use crate::config::env::Lookup;
use crate::config::pipeline::relabel;
use crate::config::source::Span;
use crate::config::tree::{self, Node, Value};
use crate::config::{file, tree::Entry};
use crate::pipeline::label_map::LabelMap;
use crate::pipeline::relabel::{Rules, Scratch};
use globset::GlobBuilder;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A target that is followed.
#[derive(Debug)]
pub(super) struct Target {
    /// `__path__`, a text.
    pub(super) path: Node,
    /// `__path_exclude__`.
    pub(super) exclude: Option<Node>,
    /// What is sent, by name: the value with the place of its key, and the node if relabelling did not change it.
    pub(super) labels: BTreeMap<String, (Span, Node)>,
    pub(super) comments: Vec<String>,
    pub(super) span: Span,
}

/// What surrounds the file.
pub(super) struct Surroundings<'a> {
    /// Where lines are cut, bytes.
    pub(super) line_bytes: u64,
    pub(super) env: &'a Lookup<'a>,
    /// Where relative paths begin.
    pub(super) directory: &'a Path,
}

/// A list of labels as discovery gives it.
struct Discovered<'a> {
    addresses: Vec<String>,
    labels: Vec<&'a Entry>,
    /// More labels, without a place of their own.
    more: Vec<(&'static str, String)>,
    span: Span,
}

/// All targets of a job.
pub(super) fn targets(job: &Node, around: &Surroundings<'_>, check: &mut Check<'_>) -> Vec<Target> {
    let rules = job.entry("relabel_configs").map(|found| &found.value);
    let settings = rules.map_or(Some(Vec::new()), |node| relabel(node, check));
    // What does not compile was reported with the settings.
    let rules = settings.and_then(|settings| Rules::compile(&settings).ok()).unwrap_or_default();
    let is_relabelled = !rules.is_empty();
    let mut scratch = rules.scratch();
    let mut targets: Vec<Target> = Vec::new();
    let mut take = |found: Discovered<'_>, check: &mut Check<'_>| {
        for address in &found.addresses {
            let before = check.count();
            if let Some(mut target) = target(&found, address, (&rules, &mut scratch), around, check)
                && !targets.iter().any(|other| other.identity() == target.identity())
            {
                target.comments = check.said_since(before);
                if is_relabelled {
                    target.comments.push("The labels are what relabel_configs makes of them.".to_owned());
                    if target.has_baked(&found) {
                        let comment = "What was made of variables of the environment stands there as it is now.";
                        target.comments.push(comment.to_owned());
                    }
                }
                targets.push(target);
            }
        }
    };
    for config in read::items(job, "static_configs", check) {
        if let Some(found) = discovered(config, config.span, check) {
            take(found, check);
        }
    }
    for config in read::items(job, "file_sd_configs", check) {
        if !survey(config, keys::FILE_SD, check) {
            continue;
        }
        for pattern in read::items(config, "files", check) {
            for (path, root) in discovery_files(pattern, around, check) {
                let Value::List(groups) = &root.value else {
                    let help = "it has to be a list of `targets` and `labels`, as Prometheus has it";
                    check.error(pattern.span, format!("{} is not a list of targets", path.display()), help);
                    continue;
                };
                for group in groups {
                    if let Some(mut found) = discovered(group, pattern.span, check) {
                        found.more.push(("__meta_filepath", path.display().to_string()));
                        take(found, check);
                    }
                }
            }
        }
    }
    targets
}

impl Target {
    /// Whether a rule may have put what a variable stands for into a label or path.
    fn has_baked(&self, found: &Discovered<'_>) -> bool {
        let is_variable = |node: &Node| matches!(&node.value, Value::Scalar(scalar) if scalar.written.is_some());
        let kept = self.labels.values().map(|(_, node)| node).chain([&self.path]).chain(&self.exclude);
        let kept = kept.filter(|node| is_variable(node)).count();
        found.labels.iter().filter(|entry| is_variable(&entry.value)).count() > kept
    }

    /// What it is told apart from other targets of its job by.
    pub(super) fn identity(&self) -> String {
        let mut identity = plain(&self.path).to_owned();
        for (name, (_, node)) in &self.labels {
            identity.push_str(&format!("\n{name}={}", plain(node)));
        }
        if let Some(exclude) = &self.exclude {
            identity.push_str(&format!("\n-{}", plain(exclude)));
        }
        identity
    }
}

/// The text of a scalar.
pub(super) fn plain(node: &Node) -> &str {
    match &node.value {
        Value::Scalar(scalar) => &scalar.text,
        Value::List(_) | Value::Map(_) => "",
    }
}

fn discovered<'a>(config: &'a Node, span: Span, check: &mut Check<'_>) -> Option<Discovered<'a>> {
    let errors = check.errors();
    if !survey(config, keys::STATIC, check) {
        return None;
    }
    let mut addresses: Vec<String> = read::items(config, "targets", check)
        .iter()
        .filter_map(|node| read::text(node, check))
        .map(str::to_owned)
        .collect();
    if addresses.is_empty() {
        addresses.push("localhost".to_owned());
    }
    let labels = config.entry("labels").map(|found| &found.value);
    if let Some(labels) = labels.filter(|labels| !labels.is_null() && !matches!(labels.value, Value::Map(_))) {
        check.error(labels.span, "expected a map of labels", "write `name: value` lines, indented");
    }
    let labels: Vec<&Entry> = labels.map_or_else(Vec::new, |labels| labels.entries().iter().collect());
    for label in &labels {
        // Reported if it is no text.
        let _ = read::text(&label.value, check);
    }
    // What is missing may be what was reported.
    (check.errors() == errors).then_some(Discovered { addresses, labels, more: Vec::new(), span })
}

fn target(
    found: &Discovered<'_>,
    address: &str,
    (rules, scratch): (&Rules, &mut Scratch),
    around: &Surroundings<'_>,
    check: &mut Check<'_>,
) -> Option<Target> {
    let written = |name: &str| found.labels.iter().find(|entry| entry.key == name);
    let mut map: LabelMap = found.labels.iter().map(|entry| (entry.key.as_str(), plain(&entry.value))).collect();
    for (name, value) in &found.more {
        map.set(name, value);
    }
    map.set("__address__", address);
    let place = |name: &str| written(name).map_or(found.span, |entry| entry.value.span);
    if !rules.apply(&mut map, scratch) {
        check.note(found.span, "relabel_configs drops this target: it is not followed");
        return None;
    }
    let host = (around.env)("HOSTNAME").unwrap_or_default();
    let wanted = map.get("__host__");
    if !wanted.is_empty() && wanted != host {
        check.note(
            place("__host__"),
            format!("this target is of the host {wanted}, and this is {host}: it is not followed"),
        );
        return None;
    }
    if map.get("__path__").is_empty() {
        check.warn(
            found.span,
            "this target has no `__path__`: nothing is followed",
            "add the label __path__ with the files, or remove the target",
        );
        return None;
    }
    let node = |name: &str, value: &str| {
        let own = written(name).filter(|entry| plain(&entry.value) == value);
        own.map_or_else(|| super::native::text(place(name), value), |entry| entry.value.clone())
    };
    let at = |name: &str| node(name, map.get(name));
    let (path, exclude) = (at("__path__"), Some(at("__path_exclude__")).filter(|node| !plain(node).is_empty()));
    map.drop_internal();
    if !map.get("filename").is_empty() {
        check.note(place("filename"), "the label filename is always the path of the file");
        map.remove("filename");
    }
    let label = |(name, value): (&str, &str)| {
        let key = written(name).map_or(found.span, |entry| entry.key_span);
        (name.to_owned(), (key, node(name, value)))
    };
    let labels = map.iter().map(label).collect();
    Some(Target { path, exclude, labels, comments: Vec::new(), span: found.span })
}

/// The files of a `file_sd_configs` pattern, read. Their content has the place of the pattern.
fn discovery_files(pattern: &Node, around: &Surroundings<'_>, check: &mut Check<'_>) -> Vec<(PathBuf, Node)> {
    let Some(text) = read::text(pattern, check) else { return Vec::new() };
    let whole = around.directory.join(text);
    let (parent, name) = (whole.parent().unwrap_or(Path::new("/")), whole.file_name().unwrap_or_default());
    let Ok(glob) = GlobBuilder::new(&name.to_string_lossy()).literal_separator(true).build() else {
        check.error(
            pattern.span,
            format!("{text:?} is not a pattern of files"),
            "write it like /etc/promtail/targets/*.yml",
        );
        return Vec::new();
    };
    let glob = glob.compile_matcher();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(parent)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    paths.retain(|path| path.file_name().is_some_and(|name| glob.is_match(name)));
    paths.sort();
    if paths.is_empty() {
        check.warn(
            pattern.span,
            format!("there is no file {}", whole.display()),
            "targets that it gets later are followed after a reload",
        );
    }
    let mut read_ones = Vec::new();
    for path in paths {
        let bytes = match file::read(&path) {
            Ok(bytes) => bytes,
            Err(finding) => {
                check.error(
                    pattern.span,
                    format!("{}: {}", path.display(), finding.message),
                    "make it readable for lugger",
                );
                continue;
            }
        };
        let parsed = file::text(&bytes).map_err(|(_, finding)| finding).and_then(tree::parse);
        match parsed {
            Ok(tree::Parsed { mut root, findings }) if findings.is_empty() => {
                place(&mut root, pattern.span);
                read_ones.push((path, root));
            }
            Ok(tree::Parsed { findings, .. }) => {
                let what = findings.first().map_or("", |finding| &finding.message);
                check.error(pattern.span, format!("{}: {what}", path.display()), "correct that file");
            }
            // An empty file has no targets.
            Err(_) if bytes.iter().all(u8::is_ascii_whitespace) => {}
            Err(finding) => {
                let line = finding.span.map_or(1, |span| span.start.line);
                check.error(
                    pattern.span,
                    format!("{}, line {line}: {}", path.display(), finding.message),
                    "correct that file",
                );
            }
        }
    }
    read_ones
}

/// Gives a tree of another file the place in this one that names it.
fn place(node: &mut Node, span: Span) {
    node.span = span;
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::List(items) => items.iter_mut().for_each(|item| place(item, span)),
        Value::Map(entries) => {
            for entry in entries {
                entry.key_span = span;
                place(&mut entry.value, span);
            }
        }
    }
}
