//! `scrape_configs`: jobs, as entries of `logs`.
//!
//! Promises: a job with several targets becomes an entry for each, one of the journal an entry with its rules, whose name does not depend on its place in the file; a job of a kind that this
//! version does not collect is checked and said to be left out. Leaves to others: targets and their labels (`targets`), stages
//! (`config::pipeline`), what comes behind them (`behind`).

use super::clients::{Client, fit_name};
use super::keys::{self, survey};
use super::native::{Item, entry, list, map, text};
use super::read;
use super::receivers;
use super::targets::{Surroundings, Target, plain, targets};
use super::weak;
use crate::base::units::format_duration;
use crate::config::check::Check;
use crate::config::logs::derived_name;
use crate::config::pipeline;
use crate::config::source::Span;
use crate::config::tree::{Entry, Node, Value};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Kinds of sources that are accepted and not collected, with the keys they have.
const LATER: [(&str, Option<&keys::Keys>); 1] = [
    // Prometheus' own and manifold.
    ("kubernetes_sd_configs", None),
];

/// What jobs are translated with.
pub(super) struct Jobs<'a> {
    pub(super) clients: &'a [Client],
    pub(super) around: &'a Surroundings<'a>,
    /// How many targets were found so far.
    pub(super) targets: usize,
    /// What each entry is told apart by, in their order.
    identities: Vec<String>,
}

impl<'a> Jobs<'a> {
    pub(super) fn new(clients: &'a [Client], around: &'a Surroundings<'a>) -> Self {
        Jobs { clients, around, targets: 0, identities: Vec::new() }
    }

    /// All jobs.
    pub(super) fn items(&mut self, root: &Node, check: &mut Check<'_>) -> Vec<Item> {
        let mut items = Vec::new();
        let mut seen: HashSet<&str> = HashSet::new();
        for job in read::items(root, "scrape_configs", check) {
            let errors = check.errors();
            if !survey(job, keys::JOB, check) {
                continue;
            }
            let is_refused = check.errors() > errors;
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
            items.extend(self.job(job, name, is_refused, check));
        }
        tell_apart(&mut items, &self.identities);
        items
    }

    /// `is_refused`: some key of it was.
    fn job(&mut self, job: &Node, name: &str, is_refused: bool, check: &mut Check<'_>) -> Vec<Item> {
        let before = check.count();
        let later = later(job, name, check);
        let mut said = check.said_since(before);
        let errors = check.errors();
        let mut stages = job.entry("pipeline_stages").map(|found| found.value.clone());
        stages.iter_mut().for_each(weak::relax);
        let stages = stages.as_ref();
        let is_sound = stages.is_none_or(|stages| pipeline::stages(stages, check).is_some());
        let at = check.count();
        let is_compressed = decompression(job, check);
        said.extend(check.said_since(at));
        let has_files = job.entry("static_configs").is_some() || job.entry("file_sd_configs").is_some();
        let journal = ("journal", "journal", keys::JOURNAL);
        let kinds = [journal].into_iter().chain(receivers::KINDS);
        let mut others: Vec<(&Entry, &str)> = Vec::new();
        for (key, kind, known) in kinds {
            let found = job.entry(key);
            // All that Promtail has of GELF is optional.
            let is_good =
                |found: &&Entry| (key == "gelf" && found.value.is_null()) || survey(&found.value, known, check);
            others.extend(found.filter(is_good).map(|found| (found, kind)));
        }
        let docker = job.entry("docker_sd_configs");
        let is_other = journal_or_receiver(job) || docker.is_some();
        let found = if is_other && !has_files { Vec::new() } else { targets(job, self.around, check) };
        if !has_files && !is_other && !later && !is_refused && check.errors() == errors {
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
        if is_sound {
            // Of several sources Promtail takes the first.
            let used = usize::from(!has_files);
            for (passed, _) in others.iter().skip(used) {
                let first = others.first().filter(|_| !has_files).map_or("files", |(first, _)| first.key.as_str());
                let help = "move it to a job of its own";
                let message = format!("the job {name:?} reads {first}: Promtail passes over its `{}`", passed.key);
                check.warn(passed.key_span, message, help);
            }
            if let Some((found, kind)) = others.first().filter(|_| !has_files) {
                return self.entries(job, name, (found, kind), stages, said, check);
            }
            if let Some(docker) = docker {
                if !has_files {
                    return self.docker(job, name, docker, stages, said, check);
                }
                let message = format!("the job {name:?} reads files: Promtail passes over its `docker_sd_configs`");
                check.warn(docker.key_span, message, "move them to a job of their own");
            }
        }
        if is_compressed || !is_sound || found.is_empty() {
            if !said.is_empty() || found.is_empty() {
                said.insert(0, format!("The job {name:?} is left out."));
                items.push(Item { comments: said, node: None });
            }
            return items;
        }
        self.targets += found.len();
        let several = found.len() > 1;
        for target in &found {
            // What concerns the target alone, once for all groups of clients.
            let at = check.count();
            let file = file(job, target, check);
            let mut own = target.comments.clone();
            own.extend(check.said_since(at));
            let identity = format!("{name}\n{}", target.identity());
            let mut name = fit_name(name);
            if several {
                name = fit_name(&format!("{name}:{}", derived_name(&[plain(&target.path).to_owned()])));
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
                    if stages.as_ref().is_some_and(draws) {
                        comments
                            .push("`sampling` and `limit` choose anew here: these clients get other lines.".to_owned());
                    }
                    let before = stages.clone();
                    stages.iter_mut().for_each(without_metrics);
                    if stages.as_ref().map(count) != before.as_ref().map(count) {
                        comments.push("Without `metrics`, which count each line once, above.".to_owned());
                    }
                }
                let source = entry("file", target.path.span, file.clone());
                let labels = target.labels.iter().map(|(name, (key, node))| entry(name.as_str(), *key, node.clone()));
                let (labels, span) = (labels.collect(), target.span);
                let log = Log { job, name: &name, source, labels, span, rules: None, stages: stages.as_ref(), group };
                let node = self.log(log);
                self.identities.push(identity.clone());
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

    fn log(&self, log: Log<'_>) -> Node {
        let Log { job, name, source, labels, span, rules, stages, group } = log;
        let mut out = vec![entry("name", job.key_span("job_name"), text(job.child("job_name").span, name)), source];
        let external: &[Entry] = group.first().map_or(&[], |client| &client.labels);
        // With one set of them they stand at the top of the file.
        let own: &[Entry] = if self.groups().len() > 1 { external } else { &[] };
        if !labels.is_empty() {
            out.push(entry("labels", span, map(span, labels)));
        }
        if !own.is_empty() {
            out.push(entry("late_labels", span, map(span, own.to_vec())));
        }
        out.extend(rules);
        if let Some(stages) = stages.filter(|stages| !stages.is_null()) {
            out.push(entry("stages", job.key_span("pipeline_stages"), stages.clone()));
        }
        if group.len() < self.clients.len() {
            let names = group.iter().map(|client| text(job.span, client.name.as_str())).collect();
            out.push(entry("to", job.span, list(job.span, names)));
        }
        map(span, out)
    }

    /// A job that reads the journal, or receives: its rules see each entry, so they stay as they are.
    fn entries(
        &mut self,
        job: &Node,
        name: &str,
        (found, kind): (&Entry, &str),
        stages: Option<&Node>,
        mut said: Vec<String>,
        check: &mut Check<'_>,
    ) -> Vec<Item> {
        let (written, at) = (&found.value, found.value.span);
        let before = check.count();
        let source = if kind == "journal" {
            Some(journal(written, check))
        } else {
            receivers::source(kind, written, self.around.line_bytes, check)
        };
        said.extend(check.said_since(before));
        let Some(source) = source else { return Vec::new() };
        let labels: Vec<Entry> = match written.entry("labels").filter(|found| !found.value.is_null()) {
            Some(found) if matches!(found.value.value, Value::Map(_)) => found.value.entries().to_vec(),
            Some(found) => {
                check.error(found.value.span, "expected a map of labels", "write `name: value` lines, indented");
                Vec::new()
            }
            None => Vec::new(),
        };
        let rules = job.entry("relabel_configs").filter(|found| !read::is_empty(&found.value));
        let rules = rules.map(|found| entry("relabel_configs", found.key_span, found.value.clone()));
        if labels.is_empty() && rules.is_none() && kind != "push" {
            check.warn(
                found.key_span,
                format!(
                    "the job {name:?} gives its entries no labels: Promtail drops them all, and so this job is left out"
                ),
                format!("add `labels` below `{}`", found.key),
            );
            said.insert(0, format!("The job {name:?} is left out."));
            return vec![Item { comments: said, node: None }];
        }
        self.targets += 1;
        let name = fit_name(name);
        let mut items = Vec::new();
        for (i, group) in self.groups().iter().enumerate() {
            let mut name = name.clone();
            let mut stages = stages.cloned();
            let mut comments = std::mem::take(&mut said);
            if i > 0 && kind != "journal" {
                // An address can be listened on once.
                check.error(
                    found.key_span,
                    format!("the job {name:?} goes to clients with different external_labels, which takes a source for each of them"),
                    "give the clients the same external_labels, or add the labels by stages",
                );
                break;
            }
            if i > 0 {
                name = fit_name(&format!("{name}:{}", group.first().map_or("", |client| &client.name)));
                comments
                    .push("The same entries once more, since the clients have different external_labels.".to_owned());
                stages.iter_mut().for_each(without_metrics);
            }
            let source = entry(kind, found.key_span, map(at, source.clone()));
            let (labels, rules) = (labels.clone(), rules.clone());
            let log = Log { job, name: &name, source, labels, span: at, rules, stages: stages.as_ref(), group };
            let node = self.log(log);
            self.identities.push(name);
            items.push(Item { comments, node: Some(node) });
        }
        items
    }

    /// Where lines come from stdin there is nothing else: they get the labels and stages of the first job, whatever that reads.
    /// `at`: where it is said.
    pub(super) fn stdin(&mut self, root: &Node, at: Span, check: &mut Check<'_>) -> Vec<Item> {
        let before = check.count();
        let jobs = read::items(root, "scrape_configs", check);
        let job = jobs.first().filter(|job| survey(job, keys::JOB, check));
        if jobs.len() > 1 {
            let help = "remove `stdin` if they should run, or remove them";
            check.warn(at, "with `stdin` all jobs but the first are passed over, as in Promtail", help);
        }
        let mut labels: Vec<Entry> = Vec::new();
        for config in job.map_or(&[][..], |job| read::items(job, "static_configs", check)) {
            let of = config.entry("labels").filter(|_| survey(config, keys::STATIC, check)).map(|found| &found.value);
            for label in of.map_or(&[][..], Node::entries).iter().filter(|label| !label.key.starts_with("__")) {
                labels.retain(|other| other.key != label.key);
                labels.push(label.clone());
            }
        }
        if labels.is_empty() {
            let host = (self.around.env)("HOSTNAME").unwrap_or_default();
            labels = vec![entry("job", at, text(at, "stdin")), entry("hostname", at, text(at, host))];
        }
        let mut stages = job.and_then(|job| Some(job.entry("pipeline_stages")?.value.clone()));
        stages.iter_mut().for_each(weak::relax);
        let groups = self.groups();
        if groups.len() > 1 {
            check.error(
                at,
                "stdin goes to clients with different external_labels, which would take a source for each of them",
                "give the clients the same external_labels, or add the labels by stages",
            );
        }
        self.targets += 1;
        let name = fit_name(job.and_then(|job| read::text_at(job, "job_name", check)).unwrap_or("stdin"));
        let source = entry("stdin", at, map(at, Vec::new()));
        let (job, group) = (job.unwrap_or(root), groups.first().map_or(&[][..], Vec::as_slice));
        let log = Log { job, name: &name, source, labels, span: at, rules: None, stages: stages.as_ref(), group };
        let node = self.log(log);
        self.identities.push(name);
        vec![Item { comments: check.said_since(before), node: Some(node) }]
    }

    /// What a source whose rules see what it reads becomes: the same, once for each group of clients.
    pub(super) fn ruled(&mut self, ruled: Ruled<'_>, mut said: Vec<String>) -> Vec<Item> {
        let Ruled { job, name, identity, source, rules, span, stages } = ruled;
        self.targets += 1;
        let name = fit_name(name);
        let mut items = Vec::new();
        for (i, group) in self.groups().iter().enumerate() {
            let (mut name, mut identity) = (name.clone(), identity.to_owned());
            let mut stages = stages.cloned();
            let mut comments = std::mem::take(&mut said);
            if i > 0 {
                let client = group.first().map_or("", |client| &client.name);
                name = fit_name(&format!("{name}:{client}"));
                identity = format!("{identity}:{client}");
                comments
                    .push("The same entries once more, since the clients have different external_labels.".to_owned());
                stages.iter_mut().for_each(without_metrics);
            }
            let (source, labels, rules) = (source.clone(), Vec::new(), rules.clone());
            let log = Log { job, name: &name, source, labels, span, rules, stages: stages.as_ref(), group };
            let node = self.log(log);
            self.identities.push(identity);
            items.push(Item { comments, node: Some(node) });
        }
        items
    }
}

/// A source whose rules stay as they are.
pub(super) struct Ruled<'a> {
    pub(super) job: &'a Node,
    pub(super) name: &'a str,
    /// What tells it apart from others of its job.
    pub(super) identity: &'a str,
    pub(super) source: Entry,
    pub(super) rules: Option<Entry>,
    pub(super) span: Span,
    pub(super) stages: Option<&'a Node>,
}

/// `journal` in lugger's form.
fn journal(journal: &Node, check: &mut Check<'_>) -> Vec<Entry> {
    let mut source = Vec::new();
    for key in ["path", "matches", "json"] {
        if let Some(found) = journal.entry(key).filter(|found| !read::is_empty(&found.value)) {
            source.push(entry(key, found.key_span, found.value.clone()));
        }
    }
    if let Some(age) = read::duration(journal, "max_age", check) {
        let (written, native) = (journal.child("max_age"), format_duration(age));
        let value = if plain(written) == native { written.clone() } else { text(written.span, native) };
        source.push(entry("max_age", journal.key_span("max_age"), value));
    }
    source
}

/// Whether a job names a source that is no file.
fn journal_or_receiver(job: &Node) -> bool {
    let mut keys = receivers::KINDS.iter().map(|(key, ..)| *key).chain(["journal"]);
    keys.any(|key| job.entry(key).is_some())
}

/// Gives entries of the same name one that goes by what they are, not by their place: positions are kept under it.
fn tell_apart(items: &mut [Item], identities: &[String]) {
    let mut names: Vec<&mut String> = items
        .iter_mut()
        .filter_map(|item| match &mut item.node.as_mut()?.value {
            Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == "name"),
            Value::Scalar(_) | Value::List(_) => None,
        })
        .filter_map(|entry| match &mut entry.value.value {
            Value::Scalar(scalar) => Some(&mut scalar.text),
            Value::List(_) | Value::Map(_) => None,
        })
        .collect();
    let mut uses: HashMap<String, usize> = HashMap::new();
    names.iter().for_each(|name| *uses.entry((**name).clone()).or_default() += 1);
    for (name, identity) in names.iter_mut().zip(identities) {
        if uses.get(*name).is_some_and(|uses| *uses > 1) {
            **name = format!("{name}-{:08x}", crc32fast::hash(identity.as_bytes()));
        }
    }
}

/// What an entry of `logs` is made of.
struct Log<'a> {
    job: &'a Node,
    name: &'a str,
    /// `file` or `journal`.
    source: Entry,
    labels: Vec<Entry>,
    /// The place of what has no place of its own.
    span: Span,
    /// Rules for what is read.
    rules: Option<Entry>,
    stages: Option<&'a Node>,
    group: &'a [&'a Client],
}

/// `file` of an entry of `logs`.
fn file(job: &Node, target: &Target, check: &mut Check<'_>) -> Node {
    let at = target.path.span;
    let mut file = vec![entry("include", at, list(at, vec![pattern(&target.path, check)]))];
    if let Some(exclude) = &target.exclude {
        let (span, written) = (exclude.span, plain(exclude));
        if written.starts_with('/') || written.starts_with("**/") {
            file.push(entry("exclude", span, list(span, vec![pattern(exclude, check)])));
        } else {
            check.warn(
                span,
                format!("{written:?} matches no path, so that nothing is left out"),
                format!("a pattern is of the whole path: write {:?} for wherever that is", format!("**/{written}")),
            );
        }
    }
    if let Some(encoding) = job.entry("encoding").filter(|found| !read::is_empty(&found.value)) {
        file.push(entry("encoding", encoding.key_span, encoding.value.clone()));
    }
    map(at, file)
}

/// Whether stages let through what depends on more than the line.
fn draws(stages: &Node) -> bool {
    let Value::List(items) = &stages.value else { return false };
    items.iter().any(|item| {
        ["sampling", "limit"].iter().any(|name| item.entry(name).is_some())
            || draws(item.child("match").child("stages"))
    })
}

/// How many stages there are, nested ones included.
fn count(stages: &Node) -> usize {
    let Value::List(items) = &stages.value else { return 0 };
    items.iter().map(|item| 1 + count(item.child("match").child("stages"))).sum()
}

/// Takes `metrics` out of stages that see the same lines for the second time, and each `match` that is for nothing else.
fn without_metrics(stages: &mut Node) {
    let Value::List(items) = &mut stages.value else { return };
    items.retain_mut(|item| {
        if item.entry("metrics").is_some() {
            return false;
        }
        let Value::Map(entries) = &mut item.value else { return true };
        let matching = entries.iter_mut().find(|stage| stage.key == "match");
        let nested = matching.and_then(|stage| match &mut stage.value.value {
            Value::Map(options) => options.iter_mut().find(|option| option.key == "stages"),
            Value::Scalar(_) | Value::List(_) => None,
        });
        let Some(nested) = nested else { return true };
        let was_empty = is_empty_list(&nested.value);
        without_metrics(&mut nested.value);
        was_empty || !is_empty_list(&nested.value)
    });
}

fn is_empty_list(node: &Node) -> bool {
    matches!(&node.value, Value::List(items) if items.is_empty())
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

/// A pattern without empty and dotted parts, in which `**` within a name is the `*` that it means.
fn pattern(written: &Node, check: &mut Check<'_>) -> Node {
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
    let span = written.span;
    let cleaned = clean(plain(written));
    let fitted = cleaned.split('/').map(fit).collect::<Vec<_>>().join("/");
    if fitted != cleaned {
        check
            .note(span, format!("`**` within a name is `*`: it stands for no further directories; read as {fitted:?}"));
    }
    if fitted == plain(written) { written.clone() } else { text(span, fitted) }
}

/// A path without empty parts, `.` and `..`; `..` behind a part that stands for several names stays, and is reported later.
fn clean(path: &str) -> String {
    let Some(rest) = path.strip_prefix('/') else { return path.to_owned() };
    let mut parts: Vec<&str> = Vec::new();
    for part in rest.split('/') {
        let is_name = |part: &&str| *part != ".." && !part.contains(['*', '?', '[', '{']);
        match part {
            "" | "." => {}
            ".." if parts.is_empty() => {}
            ".." if parts.last().is_some_and(is_name) => _ = parts.pop(),
            _ => parts.push(part),
        }
    }
    // What ends in a slash names a directory: that is for others to say.
    let end = if path.len() > 1 && path.ends_with('/') { "/" } else { "" };
    format!("/{}{end}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (written, expected) in [
            ("/var/log//x.log", "/var/log/x.log"),
            ("//var/./log/../x.log", "/var/x.log"),
            ("/../x", "/x"),
            ("/var/*/../x", "/var/*/../x"),
            ("/var/log//", "/var/log/"),
            ("log//x", "log//x"),
        ] {
            assert_eq!(clean(written), expected, "{written}");
        }
    }
}
