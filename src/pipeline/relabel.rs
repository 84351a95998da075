//! Relabelling as Prometheus does it: rules that make, change and remove labels, and keep or drop what has them.
//!
//! All eleven actions. Regular expressions have to match the whole text, replacements are written as Go expands them (`$1`, `${name}`, `$$`).
//! What Prometheus refuses when it loads a file is refused here, and what it takes is taken: also fields that an action does not look at.
//!
//! Promises: no label gets a name that Loki would not take: a rule that would make one does nothing, as in Prometheus. Labels with
//! `__` at the beginning (`__tmp_*` among them) live from rule to rule; [`LabelMap::drop_internal`] removes them at the end. Applying allocates
//! nothing once map and scratch have grown. Leaves to others: where the labels come from.
//!
//! ```
//! use lugger::pipeline::{label_map::LabelMap, relabel::{Rules, Settings}};
//! let rule = Settings {
//!     source_labels: vec!["__meta_container".into()],
//!     regex: Some("/(.+)".into()),
//!     target_label: "container".into(),
//!     ..Settings::default()
//! };
//! let rules = Rules::compile(&[rule]).unwrap();
//! let mut scratch = rules.scratch();
//! let mut labels: LabelMap = [("__meta_container", "/shop")].into_iter().collect();
//! assert!(rules.apply(&mut labels, &mut scratch));
//! labels.drop_internal();
//! assert_eq!(labels.iter().collect::<Vec<_>>(), [("container", "shop")]);
//! ```

mod expand;
mod series;

use crate::base::expression::{self, Anchored, ExpressionError};
use crate::base::limits::{LABEL_NAME_BYTES, RELABEL_VALUE_BYTES};
use crate::pipeline::label_map::LabelMap;
use expand::{Found, Template};
use md5::{Digest, Md5};
use regex::{CaptureLocations, Regex};
pub use series::Outcome;
use std::fmt::Write;

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// Sets the target to the replacement if the expression matches.
    #[default]
    Replace,
    /// Drops what does not match.
    Keep,
    /// Drops what matches.
    Drop,
    /// Drops what has another value in the target.
    KeepEqual,
    /// Drops what has the same value in the target.
    DropEqual,
    /// Sets the target to a hash of the sources modulo `modulus`.
    HashMod,
    /// Copies labels whose name matches to the name that the replacement gives.
    LabelMap,
    /// Removes labels whose name matches.
    LabelDrop,
    /// Removes labels whose name does not match.
    LabelKeep,
    /// Sets the target to the sources in small letters.
    Lowercase,
    /// Sets the target to the sources in capital letters.
    Uppercase,
}

impl Action {
    /// All actions by name.
    pub const NAMES: [(&'static str, Action); 11] = [
        ("replace", Action::Replace),
        ("keep", Action::Keep),
        ("drop", Action::Drop),
        ("keepequal", Action::KeepEqual),
        ("dropequal", Action::DropEqual),
        ("hashmod", Action::HashMod),
        ("labelmap", Action::LabelMap),
        ("labeldrop", Action::LabelDrop),
        ("labelkeep", Action::LabelKeep),
        ("lowercase", Action::Lowercase),
        ("uppercase", Action::Uppercase),
    ];

    /// The action of a name; capitals do not matter.
    pub fn by_name(name: &str) -> Option<Self> {
        Action::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, action)| *action)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Action::NAMES.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

/// A rule as it is configured. `None` is the default, which is also what the default written out means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// What it does.
    pub action: Action,
    /// Labels whose values are joined.
    pub source_labels: Vec<String>,
    /// What is put between them; `;` by default.
    pub separator: Option<String>,
    /// What has to match; `(.*)` by default.
    pub regex: Option<String>,
    /// For `hashmod`; 0 is none.
    pub modulus: u64,
    /// The label that is set; empty is none.
    pub target_label: String,
    /// What it is set to; `$1` by default.
    pub replacement: Option<String>,
}

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("relabelling rule {}, {field}: {what}", .rule + 1)]
pub struct RelabelError {
    /// Which rule, from 0.
    pub rule: usize,
    /// Which of its fields, by its name in the configuration.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub what: String,
}

/// Compiled rules.
#[derive(Debug, Clone, Default)]
pub struct Rules(Vec<Rule>);

/// Memory that applying rules uses again and again. Made by [`Rules::scratch`], for these rules.
#[derive(Debug, Clone)]
pub struct Scratch {
    joined: String,
    name: String,
    value: String,
    places: Vec<Option<CaptureLocations>>,
    mapped: LabelMap,
}

#[derive(Debug, Clone)]
struct Rule {
    sources: Vec<String>,
    separator: String,
    work: Work,
}

#[derive(Debug, Clone)]
enum Work {
    Replace { test: Test, target: Template, value: Template },
    Keep(Anchored),
    Drop(Anchored),
    KeepEqual(String),
    DropEqual(String),
    HashMod { target: String, modulus: u64 },
    LabelMap { test: Test, name: Template },
    LabelDrop(Anchored),
    LabelKeep(Anchored),
    Lowercase(String),
    Uppercase(String),
}

/// How a replacing rule finds out whether it matches, and what its groups are.
#[derive(Debug, Clone)]
enum Test {
    /// Nothing of the match is used in the replacement.
    Plain(Anchored),
    /// `(.*)`: everything matches, and each group is the whole text.
    Whole,
    /// What matches begins with this text, which is faster to see.
    Groups(String, Regex),
}

impl Rules {
    /// Checks and compiles rules, in order.
    pub fn compile(rules: &[Settings]) -> Result<Self, RelabelError> {
        let compiled = rules
            .iter()
            .enumerate()
            .map(|(rule, settings)| compile(settings).map_err(|(field, what)| RelabelError { rule, field, what }));
        Ok(Rules(compiled.collect::<Result<_, _>>()?))
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels whose values the rules look at by name. [`Rules::maps`] says of others.
    pub fn reads(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|rule| {
            let target = match &rule.work {
                Work::KeepEqual(target) | Work::DropEqual(target) => Some(target),
                _ => None,
            };
            rule.sources.iter().chain(target).map(String::as_str)
        })
    }

    /// Whether a rule copies labels whose names match an expression.
    pub fn has_maps(&self) -> bool {
        self.0.iter().any(|rule| matches!(rule.work, Work::LabelMap { .. }))
    }

    /// Whether such a rule copies a label of this name.
    pub fn maps(&self, name: &str, scratch: &mut Scratch) -> bool {
        let mut none = None;
        self.0.iter().enumerate().any(|(i, rule)| match &rule.work {
            Work::LabelMap { test, .. } => test.find(name, scratch.places.get_mut(i).unwrap_or(&mut none)).is_some(),
            _ => false,
        })
    }

    /// The memory that [`Rules::apply`] works in.
    pub fn scratch(&self) -> Scratch {
        let places = |rule: &Rule| match &rule.work {
            Work::Replace { test: Test::Groups(_, regex), .. }
            | Work::LabelMap { test: Test::Groups(_, regex), .. } => Some(regex.capture_locations()),
            _ => None,
        };
        Scratch {
            joined: String::new(),
            name: String::new(),
            value: String::new(),
            places: self.0.iter().map(places).collect(),
            mapped: LabelMap::new(),
        }
    }

    /// Applies the rules in order. `false`: a rule drops what has these labels; later rules are then not applied.
    pub fn apply(&self, labels: &mut LabelMap, scratch: &mut Scratch) -> bool {
        let Scratch { joined, name, value, places, mapped } = scratch;
        let mut none = None;
        for (i, rule) in self.0.iter().enumerate() {
            let places = places.get_mut(i).unwrap_or(&mut none);
            joined.clear();
            for (i, source) in rule.sources.iter().enumerate() {
                if i > 0 {
                    joined.push_str(&rule.separator);
                }
                joined.push_str(labels.get(source));
            }
            match &rule.work {
                Work::Keep(pattern) if !pattern.is_match(joined) => return false,
                Work::Drop(pattern) if pattern.is_match(joined) => return false,
                Work::KeepEqual(target) if labels.get(target) != joined => return false,
                Work::DropEqual(target) if labels.get(target) == joined => return false,
                Work::Keep(_) | Work::Drop(_) | Work::KeepEqual(_) | Work::DropEqual(_) => {}
                Work::Replace { test, target, value: template } => {
                    let Some(found) = test.find(joined, places) else { continue };
                    name.clear();
                    target.expand(&found, LABEL_NAME_BYTES, name);
                    if is_label_name(name) {
                        value.clear();
                        template.expand(&found, RELABEL_VALUE_BYTES, value);
                        labels.set(name, value);
                    }
                }
                Work::HashMod { target, modulus } => {
                    value.clear();
                    // Writing to a String cannot fail.
                    let _ = write!(value, "{}", hash(joined).checked_rem(*modulus).unwrap_or(0));
                    labels.set(target, value);
                }
                Work::LabelMap { test, name: template } => {
                    mapped.clear();
                    for (label, value) in labels.iter() {
                        let Some(found) = test.find(label, places) else { continue };
                        name.clear();
                        template.expand(&found, LABEL_NAME_BYTES, name);
                        if is_label_name(name) {
                            mapped.set(name, value);
                        }
                    }
                    for (name, value) in mapped.iter() {
                        labels.set(name, value);
                    }
                }
                Work::LabelDrop(pattern) => labels.retain(|name| !pattern.is_match(name)),
                Work::LabelKeep(pattern) => labels.retain(|name| pattern.is_match(name)),
                Work::Lowercase(target) => {
                    value.clear();
                    value.extend(joined.chars().map(lower));
                    labels.set(target, value);
                }
                Work::Uppercase(target) => {
                    value.clear();
                    value.extend(joined.chars().map(upper));
                    labels.set(target, value);
                }
            }
        }
        true
    }
}

impl Test {
    fn new(pattern: &str, templates: &[&Template]) -> Result<Self, ExpressionError> {
        if templates.iter().all(|template| template.is_fixed()) {
            return Ok(Test::Plain(Anchored::new(pattern)?));
        }
        if pattern == DEFAULT_REGEX {
            return Ok(Test::Whole);
        }
        Ok(Test::Groups(expression::beginning(pattern), expression::compile_anchored(pattern)?))
    }

    fn find<'a>(&self, text: &'a str, places: &'a mut Option<CaptureLocations>) -> Option<Found<'a>> {
        match self {
            Test::Plain(pattern) => pattern.is_match(text).then_some(Found::Whole(text)),
            Test::Whole => Some(Found::Whole(text)),
            Test::Groups(beginning, _) if !text.starts_with(beginning.as_str()) => None,
            Test::Groups(_, regex) => {
                let places = places.get_or_insert_with(|| regex.capture_locations());
                regex.captures_read(places, text)?;
                Some(Found::Groups(text, places))
            }
        }
    }
}

/// The last eight bytes of the MD5 sum, the highest first.
fn hash(text: &str) -> u64 {
    let sum = Md5::digest(text.as_bytes());
    sum.iter().skip(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// One character for one, as Go maps them; what would become several stays.
fn lower(c: char) -> char {
    let mut mapped = c.to_lowercase();
    match (c, mapped.next(), mapped.next()) {
        // The one character whose small form is longer in Unicode's full mapping than in the simple one.
        ('\u{130}', ..) => 'i',
        (_, Some(small), None) => small,
        _ => c,
    }
}

fn upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(capital), None) => capital,
        _ => c,
    }
}

const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REPLACEMENT: &str = "$1";

/// Whether a label may be called this.
pub fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= LABEL_NAME_BYTES
        && bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A rule, or the field that is wrong and why.
fn compile(settings: &Settings) -> Result<Rule, (&'static str, String)> {
    let action = settings.action;
    let called = action.name();
    let pattern = settings.regex.as_deref().unwrap_or(DEFAULT_REGEX);
    let separator = settings.separator.as_deref().unwrap_or(DEFAULT_SEPARATOR);
    let replacement = settings.replacement.as_deref().unwrap_or(DEFAULT_REPLACEMENT);
    let target = settings.target_label.as_str();
    for name in &settings.source_labels {
        check_name("source_labels", name)?;
    }

    let needs_target =
        !matches!(action, Action::Keep | Action::Drop | Action::LabelMap | Action::LabelDrop | Action::LabelKeep);
    if needs_target && target.is_empty() {
        return Err(("target_label", format!("`{called}` needs one: name the label that it is about")));
    }
    if action == Action::HashMod && settings.modulus == 0 {
        return Err(("modulus", "`hashmod` needs one that is not 0: the number of parts".to_owned()));
    }
    match action {
        Action::Replace if target.contains('$') => check_template("target_label", target)?,
        _ if needs_target => check_name("target_label", target)?,
        _ => {}
    }
    if action == Action::LabelMap {
        check_template("replacement", replacement)?;
    }
    let changed = [
        ("source_labels", !settings.source_labels.is_empty()),
        ("target_label", !target.is_empty()),
        ("regex", pattern != DEFAULT_REGEX),
        ("modulus", settings.modulus != 0),
        ("separator", separator != DEFAULT_SEPARATOR),
        ("replacement", replacement != DEFAULT_REPLACEMENT),
    ];
    let allowed: &[&str] = match action {
        Action::Lowercase | Action::Uppercase => &["source_labels", "target_label", "regex", "modulus", "separator"],
        Action::KeepEqual | Action::DropEqual => &["source_labels", "target_label"],
        Action::LabelDrop | Action::LabelKeep => &["regex"],
        _ => &["source_labels", "target_label", "regex", "modulus", "separator", "replacement"],
    };
    if let Some((field, _)) = changed.iter().find(|(field, changed)| *changed && !allowed.contains(field)) {
        return Err((*field, format!("`{called}` does not take one: remove it")));
    }

    let bad = |error: ExpressionError| ("regex", error.to_string());
    let anchored = || Anchored::new(pattern).map_err(bad);
    // Also a pattern that the action does not look at has to be one, as in Prometheus.
    let regex = expression::compile_anchored(pattern).map_err(bad)?;
    let work = match action {
        Action::Replace => {
            let (target, value) = (Template::new(target, &regex), Template::new(replacement, &regex));
            let test = Test::new(pattern, &[&target, &value]).map_err(bad)?;
            Work::Replace { test, target, value }
        }
        Action::Keep => Work::Keep(anchored()?),
        Action::Drop => Work::Drop(anchored()?),
        Action::KeepEqual => Work::KeepEqual(target.to_owned()),
        Action::DropEqual => Work::DropEqual(target.to_owned()),
        Action::HashMod => Work::HashMod { target: target.to_owned(), modulus: settings.modulus },
        Action::LabelMap => {
            let name = Template::new(replacement, &regex);
            let test = Test::new(pattern, &[&name]).map_err(bad)?;
            Work::LabelMap { test, name }
        }
        Action::LabelDrop => Work::LabelDrop(anchored()?),
        Action::LabelKeep => Work::LabelKeep(anchored()?),
        Action::Lowercase => Work::Lowercase(target.to_owned()),
        Action::Uppercase => Work::Uppercase(target.to_owned()),
    };
    Ok(Rule { sources: settings.source_labels.clone(), separator: separator.to_owned(), work })
}

fn check_name(field: &'static str, name: &str) -> Result<(), (&'static str, String)> {
    if is_label_name(name) {
        return Ok(());
    }
    let what = format!("{name:?} is no label name: it starts with a letter or _ and goes on with letters, digits or _");
    Err((field, what))
}

/// A name in which `$1` and `${name}` may stand for parts.
fn check_template(field: &'static str, text: &str) -> Result<(), (&'static str, String)> {
    if expand::is_name_template(text) {
        return Ok(());
    }
    let what = format!(
        "{text:?} gives no label name: write letters, digits and _, with $1 or ${{1}} for groups of the expression"
    );
    Err((field, what))
}

#[cfg(test)]
#[path = "relabel_tests.rs"]
mod tests;
