//! `journal` of a `logs` entry: from what was written to a source's settings.
//!
//! Promises: conditions are such that an entry can meet them. Leaves to others: what all entries of `logs` have (`logs`), finding files.

use super::check::Check;
use super::logs::{Caps, Entry};
use super::plan::JournalSource;
use super::raw::JournalLog;
use super::tree::Node;
use crate::base::limits::{JOURNAL_AGE_MS_DEFAULT, JOURNAL_AGE_MS_RANGE, JOURNALD_NAME_BYTES};
use crate::base::words::suggest;
use crate::model::labels::Labels;
use crate::pipeline::relabel;
use crate::source::journal::settings::{Match, Settings};
use std::path::{Path, PathBuf};

/// What journald and its users call the priorities, from 0.
const PRIORITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
/// Kinds of units.
const UNIT_KINDS: [&str; 11] =
    ["service", "socket", "target", "device", "mount", "automount", "swap", "path", "timer", "slice", "scope"];

/// An entry's source. `relabel`: its rules; `None`: they were reported.
pub(super) fn plan(
    journal: &JournalLog,
    entry: Entry<'_>,
    relabel: Option<Vec<relabel::Settings>>,
    caps: Caps,
    check: &mut Check<'_>,
) -> Option<JournalSource> {
    let place = entry.node.child("journal");
    let path = path(journal, place, check);
    let matches = matches(journal, place, check);
    let units = units(journal, place, check);
    let priority = priority(journal, place, check);
    let max_age = check.time(journal.max_age, place.child("max_age"), JOURNAL_AGE_MS_DEFAULT, JOURNAL_AGE_MS_RANGE);
    let Entry { name, node, own, outer, late_labels, rate, stages, to } = entry;
    let relabel = relabel?;
    if own.is_empty() && outer.is_empty() && late_labels.is_empty() && relabel.is_empty() && stages.is_empty() {
        check.error(
            node.key_span("journal"),
            "these entries would have no labels, and Loki takes no stream without one",
            "add `labels`, such as `labels: { job: journal }`",
        );
    }
    let Caps { line_bytes, labels: label_caps } = caps;
    let settings = Settings {
        name,
        path,
        matches,
        units,
        priority,
        json: journal.json.unwrap_or(false),
        max_age,
        imported: None,
        own_unit: journal.own_unit.unwrap_or(false),
        // What could make this fail has been reported, label by label.
        labels: Labels::within(own, label_caps).unwrap_or_default(),
        outer_labels: Labels::within(outer, label_caps).unwrap_or_default(),
        late_labels,
        relabel,
        label_caps,
        line_bytes,
        rate,
        stages,
    };
    Some(JournalSource { settings, to })
}

fn path(journal: &JournalLog, place: &Node, check: &mut Check<'_>) -> Option<PathBuf> {
    let path = journal.path.as_deref()?;
    if !path.starts_with('/') {
        check.error(
            place.child("path").span,
            format!("the path {path:?} is not absolute"),
            "begin it with /, such as /var/log/journal",
        );
    } else if !Path::new(path).exists() {
        check.warn(
            place.child("path").span,
            format!("the directory {path:?} is not there"),
            "correct it, unless it comes later: it is waited for",
        );
    }
    Some(PathBuf::from(path))
}

/// Alternatives of conditions: texts are joined, a `+` between two divides.
fn matches(journal: &JournalLog, place: &Node, check: &mut Check<'_>) -> Vec<Vec<Match>> {
    let texts = journal.matches.as_ref().map_or(&[][..], |texts| &texts.0);
    let place = place.child("matches");
    let mut all = Vec::new();
    let mut group: Vec<Match> = Vec::new();
    let mut last_span = place.span;
    for (i, text) in texts.iter().enumerate() {
        let span = place.item(i).span;
        last_span = span;
        for word in words(text) {
            if word == "+" {
                if group.is_empty() {
                    check.error(span, "there is nothing before this `+`", "write conditions on both sides of it");
                }
                all.push(std::mem::take(&mut group));
                continue;
            }
            match word.split_once('=') {
                Some((field, value)) if is_field(field) => {
                    group.push(Match { field: field.to_owned(), value: value.to_owned() });
                }
                _ => check.error(
                    span,
                    format!("{word:?} is no condition"),
                    "write FIELD=value, such as _SYSTEMD_UNIT=sshd.service; fields are named by capital letters, digits and _",
                ),
            }
        }
    }
    if group.is_empty() && !all.is_empty() {
        check.error(last_span, "there is nothing behind the last `+`", "write conditions on both sides of it");
    }
    if !group.is_empty() {
        all.push(group);
    }
    all
}

/// Divides at blanks, but not within values: a further condition begins with a field and `=`, or is a `+`.
fn words(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let begins = |rest: &str| {
        let word = rest.split(' ').next().unwrap_or_default();
        word == "+" || word.split_once('=').is_some_and(|(field, _)| is_field(field))
    };
    for (at, _) in text.match_indices(' ') {
        let rest = text.get(at + 1..).unwrap_or_default().trim_start();
        let before = text.get(start..at).unwrap_or_default();
        if begins(rest) || before.trim() == "+" {
            found.push(before.trim());
            start = at + 1;
        }
    }
    found.push(text.get(start..).unwrap_or_default().trim());
    found.retain(|word| !word.is_empty());
    found
}

fn is_field(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    !name.is_empty() && name.len() <= JOURNALD_NAME_BYTES && name.bytes().all(fits)
}

/// Names of units, with their endings.
fn units(journal: &JournalLog, place: &Node, check: &mut Check<'_>) -> Vec<String> {
    let names = journal.units.as_ref().map_or(&[][..], |names| &names.0);
    let place = place.child("units");
    if journal.units.is_some() && names.is_empty() && !place.is_damaged() {
        check.error(place.span, "`units` is empty", "name units, or remove it: then all are read");
    }
    let mut units = Vec::new();
    for (i, name) in names.iter().enumerate() {
        if name.is_empty() || name.contains(['/', ' ']) {
            check.error(
                place.item(i).span,
                format!("{name:?} is no unit"),
                "write names such as sshd.service or docker*",
            );
        }
        let has_kind = name.rsplit_once('.').is_some_and(|(_, kind)| UNIT_KINDS.contains(&kind) || kind.contains('*'));
        // A pattern stands for itself, as in journalctl.
        let is_pattern = name.contains(['*', '?', '[']);
        if is_pattern && globset::GlobBuilder::new(name).build().is_err() {
            check.error(place.item(i).span, format!("{name:?} is no pattern"), "close the bracket");
        }
        units.push(if has_kind || is_pattern { name.clone() } else { format!("{name}.service") });
    }
    units
}

/// `warning`: this and what is more severe; `err..notice`: from one to the other.
fn priority(journal: &JournalLog, place: &Node, check: &mut Check<'_>) -> Option<(u8, u8)> {
    let text = journal.priority.as_deref()?;
    let span = place.child("priority").span;
    let mut one = |name: &str| {
        let number = name.parse().ok().filter(|number: &u8| *number < 8);
        let named = || (0u8..).zip(PRIORITIES).find(|(_, known)| *known == name).map(|(number, _)| number);
        let also = || match name {
            "panic" | "emergency" => Some(0),
            "critical" => Some(2),
            "error" => Some(3),
            "warn" => Some(4),
            _ => None,
        };
        let found = number.or_else(named).or_else(also);
        if found.is_none() {
            let help = suggest(name, "the priorities are", PRIORITIES);
            check.error(span, format!("{name:?} is no priority"), help);
        }
        found
    };
    let (from, to) = match text.split_once("..") {
        Some((from, to)) => (one(from)?, one(to)?),
        None => (0, one(text)?),
    };
    Some((from.min(to), from.max(to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_divided_at_fields() {
        for (text, expected) in [
            ("A=b", &["A=b"][..]),
            ("A=b C=d", &["A=b", "C=d"]),
            ("A=b  + C=d", &["A=b", "+", "C=d"]),
            ("MESSAGE=hello world A_1=x", &["MESSAGE=hello world", "A_1=x"]),
            (" A=a=b ", &["A=a=b"]),
            ("A=b + ", &["A=b", "+"]),
            ("", &[]),
        ] {
            assert_eq!(words(text), expected, "{text:?}");
        }
    }
}
