//! Writes recipes out: `format: nginx` becomes the `stages:` that it stands for, and all else of the file stays as it is, comments too.
//!
//! Promises: the stages of the new text are those of the old one, which is checked; otherwise there is an error. Leaves to others: what
//! recipes say (`recipes`).

use super::check::Check;
use super::report::{Finding, Report};
use super::source::{Pos, Source, Span};
use super::tree::{self, Entry, Node, Value};
use super::{file, pipeline, promtail, recipes, secrets};
use crate::base::words::suggest;
use crate::pipeline::settings::Stage;
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;

/// The text of the configuration at `path` with its recipes written out.
pub fn expand(path: &Path) -> Result<String, Report> {
    let name = path.display().to_string();
    let nowhere = |finding| Report::new(&name, &Source::new(""), vec![finding]);
    let bytes = file::read(path).map_err(nowhere)?;
    let text = file::text(&bytes).map_err(|(_, finding)| nowhere(finding))?;
    expand_text(text).map_err(|findings| {
        let mut source = Source::new(text);
        let hidden = match tree::parse(text) {
            Ok(parsed) => secrets::in_tree(&parsed.root, &source),
            Err(_) => secrets::in_lines(&source),
        };
        source.hide(hidden);
        source.hide(secrets::in_comments(&source));
        Report::new(&name, &source, findings)
    })
}

fn expand_text(text: &str) -> Result<String, Vec<Finding>> {
    let root = tree::parse(text).map_err(|finding| vec![finding])?.root;
    if promtail::is_one(&root) {
        let finding = Finding::nowhere("this is a file of Promtail, which has no recipes to write out");
        return Err(vec![finding.help("`lugger convert` without --expand writes it in lugger's own form")]);
    }
    let starts = line_starts(text);
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut findings = Vec::new();
    for entry in formats(&root) {
        match expand_entry(text, &starts, entry, &mut findings) {
            Some(more) => edits.extend(more),
            None if findings.is_empty() => findings.push(refused(entry)),
            None => {}
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    // From the end, so that places before stay where they are.
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut out = text.to_owned();
    for (range, new) in edits {
        if out.get(range.clone()).is_some() {
            out.replace_range(range, &new);
        }
    }
    let before: Vec<_> = items(&root).iter().map(all_stages).collect();
    let after = tree::parse(&out).ok().map(|parsed| items(&parsed.root).iter().map(all_stages).collect::<Vec<_>>());
    let left = tree::parse(&out).is_ok_and(|parsed| formats(&parsed.root).next().is_some());
    if left || after.as_ref() != Some(&before) {
        return Err(formats(&root).map(refused).collect());
    }
    Ok(out)
}

fn refused(entry: &Node) -> Finding {
    Finding::error(entry.key_span("format"), "this recipe cannot be written out in place")
        .help("write the entry in lines of their own, `key: value`, without { } and aliases")
}

/// The entries of `logs`.
fn items(root: &Node) -> &[Node] {
    match root.entry("logs").map(|entry| &entry.value.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

/// Those of them that name recipes.
fn formats(root: &Node) -> impl Iterator<Item = &Node> {
    items(root).iter().filter(|item| item.entry("format").is_some())
}

/// The names of an entry's recipes.
fn names(format: &Node) -> Vec<(&str, Span)> {
    let list = match &format.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(format),
    };
    list.iter()
        .filter_map(|node| match &node.value {
            Value::Scalar(text) if !text.is_null() => Some((text.text.as_str(), node.span)),
            _ => None,
        })
        .collect()
}

/// The stages of an entry, recipes first. `None`: they have errors.
fn all_stages(item: &Node) -> Option<Vec<Stage>> {
    let mut all = Vec::new();
    if let Some(format) = item.entry("format") {
        for (name, _) in names(&format.value) {
            all.extend(recipes::stages(name)?);
        }
    }
    if let Some(own) = item.entry("stages") {
        all.extend(pipeline::stages(&own.value, &mut Check::new(&mut Vec::new()))?);
    }
    Some(all)
}

/// What has to be changed for one entry. `None`: it cannot be.
fn expand_entry(
    text: &str,
    starts: &[usize],
    item: &Node,
    findings: &mut Vec<Finding>,
) -> Option<Vec<(Range<usize>, String)>> {
    let at = |pos: Pos| offset(text, starts, pos);
    let format = item.entry("format")?;
    let mut recipe = Vec::new();
    for (name, span) in names(&format.value) {
        match recipes::node(name) {
            Some(Node { value: Value::List(stages), .. }) => recipe.push((name, stages)),
            _ => {
                let message = format!("{name:?} is no format that lugger knows");
                let help = suggest(name, "the formats are", recipes::names());
                findings.push(Finding::error(span, message).help(help));
            }
        }
    }
    let key = at(format.key_span.start)?;
    let written = key..end_of(text, starts, format)?;
    let is_flow = |node: &Node| Some(text.get(at(node.span.start)?..)?.starts_with(['{', '[']));
    let own = item.entry("stages");
    let in_flow = || {
        let stages = recipe.iter().flat_map(|(_, stages)| stages).map(flow);
        stages.collect::<Vec<_>>().join(", ")
    };
    let in_lines = |indent: usize| {
        let mut out = String::new();
        for line in recipe.iter().filter_map(|(name, _)| recipes::text(name)).flat_map(str::lines) {
            let _ = write!(out, "\n{:width$}{line}", "", width = if line.is_empty() { 0 } else { indent });
        }
        out
    };
    let Some(own) = own else {
        let new = if is_flow(item)? {
            format!("stages: [{}]", in_flow())
        } else {
            let column = format.key_span.start.column;
            format!("stages:{}", in_lines(column + 1))
        };
        return Some(vec![(written, new)]);
    };
    let Value::List(stages) = &own.value.value else { return None };
    let list = at(own.value.span.start)?;
    let insert = if is_flow(&own.value)? {
        let comma = if stages.is_empty() { "" } else { ", " };
        (list + 1..list + 1, format!("{}{comma}", in_flow()))
    } else {
        // The parser's place of a list that is not indented is not that of its first dash.
        let dash = text.get(..at(stages.first()?.span.start)?)?.rfind('-')?;
        let line = text.get(..dash)?.rfind(['\n', '\r']).map_or(0, |end| end + 1);
        let indent = text.get(line..dash)?.chars().count();
        let lines = in_lines(indent);
        (dash..dash, format!("{}\n{:indent$}", lines.trim_start(), ""))
    };
    let remove = if is_flow(item)? {
        (with_comma(text, written)?, String::new())
    } else {
        let old = text.get(written.clone())?.split_whitespace().collect::<Vec<_>>().join(" ");
        (written, format!("# {old}, written out below"))
    };
    Some(vec![insert, remove])
}

/// Where the value of an entry ends, as a byte offset.
fn end_of(text: &str, starts: &[usize], entry: &Entry) -> Option<usize> {
    let at = |pos: Pos| offset(text, starts, pos);
    match &entry.value.value {
        Value::Scalar(_) => at(entry.value.span.end),
        Value::List(items) => {
            let end = at(items.last()?.span.end)?;
            let begin = at(entry.value.span.start)?;
            if !text.get(begin..)?.starts_with('[') {
                return Some(end);
            }
            // Nothing but a comma and comments can stand before it.
            let rest = text.get(end..)?;
            Some(end + rest.find(']')? + 1)
        }
        Value::Map(_) => None,
    }
}

/// An entry of a map in braces, with the comma that belongs to it.
fn with_comma(text: &str, entry: Range<usize>) -> Option<Range<usize>> {
    let rest = text.get(entry.end..)?;
    let after = rest.trim_start();
    if after.starts_with(',') {
        let end = entry.end + (rest.len() - after.len()) + 1;
        let blanks = text.get(end..)?.len() - text.get(end..)?.trim_start_matches(' ').len();
        return Some(entry.start..end + blanks);
    }
    let before = text.get(..entry.start)?.trim_end();
    let before = before.strip_suffix(',').unwrap_or(before);
    Some(before.len()..entry.end)
}

/// A value on one line.
fn flow(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) if scalar.is_null() => "~".to_owned(),
        Value::Scalar(scalar) => {
            let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
            if scalar.plain && scalar.text.chars().all(is_word) {
                return scalar.text.clone();
            }
            format!("'{}'", scalar.text.replace('\'', "''"))
        }
        Value::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entry = |entry: &Entry| format!("{}: {}", entry.key, flow(&entry.value));
            format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Where each line begins.
fn line_starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let breaks = bytes.iter().enumerate().filter(|(i, byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(i + 1) != Some(&b'\n'),
        _ => false,
    });
    std::iter::once(0).chain(breaks.map(|(i, _)| i + 1)).collect()
}

fn offset(text: &str, starts: &[usize], pos: Pos) -> Option<usize> {
    let start = *starts.get(pos.line.checked_sub(1)?)?;
    let line = text.get(start..)?;
    let ahead = pos.column.checked_sub(1)?;
    Some(start + line.char_indices().nth(ahead).map_or(line.len(), |(at, _)| at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_are_written_out_and_the_rest_stays() {
        for (text, expected) in [
            (
                "# a\nlogs:\n  - name: x # b\n    format: docker # c\n    file: { include: /x }\n",
                "# a\nlogs:\n  - name: x # b\n    stages:\n      # Docker's json-file driver: /var/lib/docker/containers/*/*-json.log.\n      - docker: {} # c\n    file: { include: /x }\n",
            ),
            (
                "logs:\n- format: [cri, docker]\n  file: {}\n",
                "logs:\n- stages:\n    # Container runtimes of Kubernetes: /var/log/pods/*/*/*.log.\n    - cri: {}\n    # Docker's json-file driver: /var/lib/docker/containers/*/*-json.log.\n    - docker: {}\n  file: {}\n",
            ),
            (
                "logs:\n  - format:\n      - docker\n    stages:\n    - decolorize:\n    # end\n",
                "logs:\n  - # format: - docker, written out below\n    stages:\n    # Docker's json-file driver: /var/lib/docker/containers/*/*-json.log.\n    - docker: {}\n    - decolorize:\n    # end\n",
            ),
            (
                "logs: [{ format: docker, name: x }, { name: ü, format: cri }]",
                "logs: [{ stages: [{ docker: {  } }], name: x }, { name: ü, stages: [{ cri: {  } }] }]",
            ),
            (
                "logs: [{ format: docker, stages: [{ decolorize: }] }, { stages: [], format: cri }]",
                "logs: [{ stages: [{ docker: {  } }, { decolorize: }] }, { stages: [{ cri: {  } }] }]",
            ),
            ("logs: [{ name: x }]", "logs: [{ name: x }]"),
        ] {
            assert_eq!(expand_text(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn every_recipe_can_be_written_out_either_way() {
        for name in recipes::names() {
            for text in [
                format!("logs:\n  - name: x\n    format: {name}\n"),
                format!("logs:\n  - format: {name}\n    stages:\n      - decolorize:\n"),
                format!("logs: [{{ format: {name} }}]"),
                format!("logs:\n  - format: {name}\n    stages: [{{ decolorize: }}]\n"),
            ] {
                let out = expand_text(&text).unwrap_or_else(|findings| panic!("{findings:?}\n{text}"));
                let root = tree::parse(&out).unwrap().root;
                assert!(formats(&root).next().is_none(), "{out}");
            }
        }
    }

    #[test]
    fn what_cannot_be_written_out_is_said() {
        for (text, expected) in [
            ("logs: [{ format: ngnix }]", "\"ngnix\" is no format"),
            ("logs:\n  - &a\n    format: docker\n  - *a\n", "cannot be written out in place"),
            ("logs:\n  - format: docker\n    stages:\n", "cannot be written out in place"),
            ("a: [", ""),
        ] {
            let findings = expand_text(text).expect_err(text);
            assert!(findings[0].message.contains(expected), "{text}: {findings:?}");
        }
    }
}
