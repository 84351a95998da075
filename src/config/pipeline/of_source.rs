//! What an entry of `logs` says of its lines: `format` and `stages`, compiled once to find all errors, and `relabel_configs`, which are applied
//! here, since the labels of a file source are known before it runs.
//!
//! Relabelling sees the entry's own labels and `__path__`, an include pattern; not the global labels, which are put on what leaves, as Prometheus
//! does with external ones. It may change the pattern.
//!
//! Promises: stages that come out compile. Leaves to others: running them.

use super::{place, relabel, stages};
use crate::base::words::suggest;
use crate::config::check::Check;
use crate::config::logs::FILENAME;
use crate::config::raw::Log;
use crate::config::recipes;
use crate::config::tree::Node;
use crate::model::labels::{LabelCaps, MERGED, check_name};
use crate::pipeline::label_map::LabelMap;
use crate::pipeline::relabel::{Rules, Settings};
use crate::pipeline::settings::Stage;
use crate::pipeline::{CompileError, Step, compile};
use std::collections::BTreeMap;

/// The name under which rules see a pattern.
const PATH: &str = "__path__";

/// The stages of an entry: its recipes', then its own.
pub(in crate::config) fn stages_of(log: &Log, node: &Node, check: &mut Check<'_>) -> Vec<Stage> {
    let mut all = Vec::new();
    let names = log.format.as_ref().map_or(&[][..], |format| &format.0);
    for (i, name) in names.iter().enumerate() {
        match recipes::stages(name) {
            Some(stages) => all.extend(stages),
            None => {
                let span = node.child("format").item(i).span;
                let help = suggest(name, "the formats are", recipes::names());
                check.error(span, format!("{name:?} is no format that lugger knows"), help);
            }
        }
    }
    let recipe = all.len();
    let list = node.entry("stages").filter(|_| log.stages.is_some()).map(|entry| &entry.value);
    if let Some(list) = list {
        match stages(list, check) {
            Some(own) => all.extend(own),
            None => return Vec::new(),
        }
    }
    if let Err(CompileError { mut path, problem, help }) = compile(&all) {
        let span = match (path.first_mut(), list) {
            (Some(Step::Index(at)), Some(list)) if *at >= recipe => {
                *at -= recipe;
                place(list, &path)
            }
            _ => node.key_span("format"),
        };
        check.error(span, problem, help.unwrap_or_else(|| "correct it".to_owned()));
    }
    all
}

/// The entry's rules, for a source that applies them to what it reads. `None`: they have errors.
pub(in crate::config) fn rules_of(log: &Log, node: &Node, check: &mut Check<'_>) -> Option<Vec<Settings>> {
    match node.entry("relabel_configs") {
        Some(entry) if log.relabel_configs.is_some() => relabel(&entry.value, check),
        _ => Some(Vec::new()),
    }
}

/// The entry's own labels and patterns after its rules. `None`: the rules drop all of it.
pub(in crate::config) fn relabelled(
    log: &Log,
    own: BTreeMap<String, String>,
    include: Vec<String>,
    node: &Node,
    caps: LabelCaps,
    check: &mut Check<'_>,
) -> Option<(BTreeMap<String, String>, Vec<String>)> {
    let list = match node.entry("relabel_configs") {
        Some(entry) if log.relabel_configs.is_some() => &entry.value,
        _ => return Some((own, include)),
    };
    let span = node.key_span("relabel_configs");
    // Rules that were reported are not applied; nobody uses what comes out.
    let Some(rules) = relabel(list, check).and_then(|rules| Rules::compile(&rules).ok()) else {
        return Some((own, include));
    };
    let mut scratch = rules.scratch();
    let mut results: Vec<(LabelMap, Vec<String>)> = Vec::new();
    for pattern in &include {
        let mut labels: LabelMap = own.iter().collect();
        labels.set(PATH, pattern);
        if !rules.apply(&mut labels, &mut scratch) || labels.get(PATH).is_empty() {
            continue;
        }
        let pattern = labels.get(PATH).to_owned();
        labels.drop_internal();
        match results.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, patterns)) => patterns.push(pattern),
            None => results.push((labels, vec![pattern])),
        }
    }
    if results.len() > 1 {
        let help = "write an entry of `logs` for each pattern";
        check.error(span, "the rules give the patterns of `include` different labels", help);
    }
    let Some((labels, patterns)) = results.into_iter().next() else {
        if !include.is_empty() {
            let help = "change the rules, or remove the entry";
            check.warn(span, "the rules drop this entry: nothing is read for it", help);
        }
        return None;
    };
    for (name, value) in labels.iter() {
        let problem = match check_name(name, caps) {
            Err(error) => error.to_string(),
            Ok(()) if name == FILENAME || name == MERGED => format!("the label {name} is set by the agent"),
            Ok(()) if value.len() > caps.value_bytes => {
                format!("the value of label {name} is longer than {} bytes", caps.value_bytes)
            }
            Ok(()) => continue,
        };
        check.error(span, format!("the rules make a label that cannot be: {problem}"), "change the rules");
    }
    if let Some(pattern) = patterns.iter().find(|pattern| !pattern.starts_with('/')) {
        check.error(span, format!("the rules make the pattern {pattern:?}"), "a pattern has to begin with /");
    }
    Some((labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), patterns))
}
