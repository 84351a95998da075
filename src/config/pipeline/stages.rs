//! A list of stages, each a map of one key: its name, with its options below.

#[cfg(feature = "geoip")]
use super::geoip;
use super::{metrics, raw, redact};
use crate::base::expression;
use crate::base::text::head;
use crate::base::words::suggest;
use crate::config::check::Check;
use crate::config::raw::OneOrMany;
use crate::config::source::Span;
use crate::config::tree::{Node, Value};
use crate::pipeline::settings::{
    Cri, Drop, Json, Limit, Logfmt, Match, MatchAction, Multiline, Output, Pack, Regex, Replace, Sampling, Stage,
    Template, Tenant, TimeFailure, Timestamp,
};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// All stages of this build.
const NAMES: &[&str] = &[
    "docker",
    "cri",
    "regex",
    "json",
    "logfmt",
    "replace",
    "multiline",
    "template",
    "match",
    "timestamp",
    "output",
    "labels",
    "labeldrop",
    "labelallow",
    "static_labels",
    "structured_metadata",
    "metrics",
    "tenant",
    "drop",
    "limit",
    "sampling",
    "pack",
    "decolorize",
    "redact",
    #[cfg(feature = "geoip")]
    "geoip",
];

/// Stages that Promtail has and this does not, and what to do instead.
const OTHERS: [(&str, &str); 2] = [
    ("eventlogmessage", "remove it; it is about Windows"),
    ("azureeventhubs", "remove it; it is about a source that lugger does not have"),
];

/// Whether `written` is a former name of the stage `name`.
pub(super) fn is_alias(written: &str, name: &str) -> bool {
    written == "non_indexed_labels" && name == "structured_metadata"
}

/// The stages of `list`. `None`: they have errors, all of which were reported.
pub(in crate::config) fn stages(list: &Node, check: &mut Check<'_>) -> Option<Vec<Stage>> {
    let before = check.errors();
    let items = match &list.value {
        Value::List(items) => items.as_slice(),
        Value::Scalar(scalar) if scalar.is_null() => &[],
        Value::Scalar(_) | Value::Map(_) => {
            check.error(
                list.span,
                "expected a list of stages",
                "begin each stage with `- `, such as `- json: { expressions: { level: } }`",
            );
            &[]
        }
    };
    let stages: Vec<Stage> = items.iter().filter_map(|item| stage(item, check)).collect();
    (check.errors() == before && !list.is_damaged() && stages.len() == items.len()).then_some(stages)
}

/// A stage while it is read.
pub(super) struct Written<'a> {
    pub(super) name: &'a str,
    pub(super) key: Span,
    /// Its options; those that were reported are missing.
    pub(super) options: Node,
    /// The options could not be read at all, which was reported.
    broken: bool,
}

impl<'a> Written<'a> {
    pub(super) fn new(name: &'a str, key: Span, options: &Node) -> Self {
        Written { name, key, options: options.clone(), broken: false }
    }

    /// The options; without any, those of a stage that has none.
    pub(super) fn read<T: DeserializeOwned + Default>(&mut self, check: &mut Check<'_>) -> T {
        if self.options.is_null() {
            return T::default();
        }
        check.read(&mut self.options).unwrap_or_else(|| {
            self.broken = true;
            T::default()
        })
    }

    /// Whether options were reported and removed: one that is missing may be among them, under another name.
    pub(super) fn is_damaged(&self) -> bool {
        self.broken || self.options.is_damaged()
    }

    /// The place of an option; the stage's if it is not there.
    pub(super) fn place(&self, option: &str) -> Span {
        match self.options.entry(option) {
            Some(entry) if entry.value.is_null() => entry.key_span,
            Some(entry) => entry.value.span,
            None => self.key,
        }
    }

    /// A text that has to be there.
    pub(super) fn need(&self, text: Option<String>, option: &str, help: &str, check: &mut Check<'_>) -> String {
        match text {
            Some(text) if !text.is_empty() => return text,
            Some(_) => check.error(self.place(option), format!("`{option}` is empty"), help),
            None if self.is_damaged() => {}
            None => check.error(self.place(option), format!("`{}` needs `{option}`", self.name), help),
        }
        String::new()
    }

    /// A text that may be left out, but not be empty.
    pub(super) fn perhaps(&self, text: Option<String>, option: &str, check: &mut Check<'_>) -> Option<String> {
        if text.as_deref() == Some("") {
            check.error(self.place(option), format!("`{option}` is empty"), "name an extracted key, or remove it");
        }
        text
    }

    /// A number from 1 on.
    fn count(&self, number: Option<u64>, option: &str, default: usize, check: &mut Check<'_>) -> usize {
        match number.map(usize::try_from) {
            None => default,
            Some(Ok(number)) if number > 0 => number,
            Some(_) => {
                check.error(self.place(option), "this number is out of range", "it has to be 1 or more");
                default
            }
        }
    }

    /// Names and what they come from; without the latter, from a key of the same name.
    fn named(
        &self,
        pairs: Option<raw::Pairs<Option<String>>>,
        option: &str,
        help: &str,
        check: &mut Check<'_>,
    ) -> Vec<(String, String)> {
        match pairs {
            Some(pairs) if !pairs.0.is_empty() => same_names(pairs),
            Some(_) if self.options.child(option).is_damaged() => Vec::new(),
            None if self.is_damaged() => Vec::new(),
            _ => {
                check.error(self.place(option), format!("`{}` needs `{option}`", self.name), help);
                Vec::new()
            }
        }
    }

    /// Something has to stand below the stage's name.
    fn filled(&self, empty: bool, help: &str, check: &mut Check<'_>) {
        if empty && !self.is_damaged() {
            check.error(self.key, format!("`{}` is empty", self.name), help);
        }
    }
}

/// A name without a source has the source of that name.
pub(super) fn same_names(raw::Pairs(pairs): raw::Pairs<Option<String>>) -> Vec<(String, String)> {
    let full = |(name, source): (String, Option<String>)| {
        let source = source.filter(|source| !source.is_empty()).unwrap_or_else(|| name.clone());
        (name, source)
    };
    pairs.into_iter().map(full).collect()
}

fn stage(item: &Node, check: &mut Check<'_>) -> Option<Stage> {
    let entry = match &item.value {
        Value::Map(entries) => match entries.as_slice() {
            [entry] => entry,
            [] => {
                // A second time the same key, or one that was not substituted, has been reported.
                if !item.is_damaged() {
                    check.error(item.span, "this stage has no name", "write it like `- json: { ... }`");
                }
                return None;
            }
            [first, second, ..] => {
                let help = if NAMES.contains(&second.key.as_str()) {
                    format!("begin `{}` with `- ` on a line of its own", second.key)
                } else {
                    format!("indent what belongs to `{}` more than its name", head(&first.key, 40))
                };
                check.error(second.key_span, "a stage has one name, and its options below it", help);
                return None;
            }
        },
        Value::Scalar(scalar) if NAMES.contains(&scalar.text.as_str()) => {
            let help = format!("write `- {}: {{}}`", scalar.text);
            check.error(item.span, "a stage's name is followed by a colon", help);
            return None;
        }
        Value::Scalar(_) | Value::List(_) => {
            check.error(item.span, "expected a stage", "write it like `- json: { expressions: { level: } }`");
            return None;
        }
    };
    read(Written::new(&entry.key, entry.key_span, &entry.value), check)
}

/// One stage by its name.
fn read(mut w: Written<'_>, check: &mut Check<'_>) -> Option<Stage> {
    let source_help = "name the extracted key";
    Some(match w.name {
        "docker" => {
            let raw::Nothing {} = w.read(check);
            Stage::Docker
        }
        "decolorize" => {
            let raw::Nothing {} = w.read(check);
            Stage::Decolorize
        }
        "cri" => {
            let raw: raw::Cri = w.read(check);
            let max_partial_lines = w.count(raw.max_partial_lines, "max_partial_lines", 100, check);
            let size = raw.max_partial_line_size.map_or(0, |size| size.0);
            Stage::Cri(Cri {
                max_partial_lines,
                max_partial_line_size: usize::try_from(size).unwrap_or(usize::MAX),
                max_partial_line_size_truncate: raw.max_partial_line_size_truncate.unwrap_or(false),
            })
        }
        "regex" => {
            let raw: raw::Regex = w.read(check);
            Stage::Regex(Regex {
                expression: w.need(raw.expression, "expression", "write one with named groups: (?P<name>...)", check),
                source: w.perhaps(raw.source, "source", check),
                labels_from_groups: raw.labels_from_groups.unwrap_or(false),
            })
        }
        "json" => {
            let raw: raw::Json = w.read(check);
            let help = "write `expressions: { key: path }`: what is extracted, and from where";
            Stage::Json(Json {
                expressions: w.named(raw.expressions, "expressions", help, check),
                source: w.perhaps(raw.source, "source", check),
                drop_malformed: raw.drop_malformed.unwrap_or(false),
            })
        }
        "logfmt" => {
            let raw: raw::Logfmt = w.read(check);
            let help = "write `mapping: { key: field }`: what is extracted, and from where";
            Stage::Logfmt(Logfmt {
                mapping: w.named(raw.mapping, "mapping", help, check),
                source: w.perhaps(raw.source, "source", check),
            })
        }
        "replace" => {
            let raw: raw::Replace = w.read(check);
            let text = w.need(raw.expression, "expression", "write what is to be replaced", check);
            if expression::compile(&text).is_ok_and(|regex| regex.captures_len() == 1) && !text.is_empty() {
                let problem = "the expression has no group, so that nothing is replaced";
                check.warn(w.place("expression"), problem, "put the part to replace in ( )");
            }
            Stage::Replace(Replace {
                expression: text,
                source: w.perhaps(raw.source, "source", check),
                replace: raw.replace.unwrap_or_default(),
            })
        }
        "multiline" => {
            let raw: raw::Multiline = w.read(check);
            let wait = raw.max_wait_time.map_or(Duration::from_secs(3), |time| time.0);
            if wait.is_zero() && !w.is_damaged() {
                check.error(w.place("max_wait_time"), "this is no time", "write a duration such as 3s");
            }
            Stage::Multiline(Multiline {
                firstline: w.need(raw.firstline, "firstline", "write what the first line of an entry matches", check),
                max_lines: w.count(raw.max_lines, "max_lines", 128, check),
                max_wait_time: wait,
            })
        }
        "template" => {
            let raw: raw::Template = w.read(check);
            Stage::Template(Template {
                source: w.need(raw.source, "source", "name the key that is made or changed", check),
                template: w.need(raw.template, "template", "write a Go template such as '{{ ToLower .Value }}'", check),
            })
        }
        "match" => matching(w, check),
        "timestamp" => {
            let raw: raw::Timestamp = w.read(check);
            let failure = match raw.action_on_failure {
                Some(raw::FudgeOrSkip::Skip) => TimeFailure::Skip,
                Some(raw::FudgeOrSkip::Fudge) | None => TimeFailure::Fudge,
            };
            let help = "write a name such as RFC3339 or Unix, or a Go layout such as 2006-01-02 15:04:05";
            Stage::Timestamp(Timestamp {
                source: w.need(raw.source, "source", source_help, check),
                format: w.need(raw.format, "format", help, check),
                fallback_formats: raw.fallback_formats.map_or_else(Vec::new, |formats| formats.0),
                location: raw.location.filter(|location| !location.is_empty()),
                action_on_failure: failure,
            })
        }
        "output" => {
            let raw: raw::Output = w.read(check);
            Stage::Output(Output { source: w.need(raw.source, "source", source_help, check) })
        }
        "labels" => Stage::Labels(sources(w, check)),
        "structured_metadata" | "non_indexed_labels" => Stage::StructuredMetadata(sources(w, check)),
        "labeldrop" => Stage::LabelDrop(names(w, check)),
        "labelallow" => Stage::LabelAllow(names(w, check)),
        "static_labels" => {
            let raw::Pairs(pairs) = w.read(check);
            w.filled(pairs.is_empty(), "write names and values: `static_labels: { env: prod }`", check);
            Stage::StaticLabels(pairs)
        }
        "metrics" => Stage::Metrics(metrics::metrics(w, check)),
        "tenant" => tenant(w, check)?,
        "drop" => drop_stage(w, check),
        "limit" => limit(w, check),
        "sampling" => {
            let raw: raw::Sampling = w.read(check);
            let rate = raw.rate.unwrap_or(0.0);
            if !(0.0..=1.0).contains(&rate) || (raw.rate.is_none() && !w.is_damaged()) {
                let help = "write the part that is kept, from 0 to 1, such as `rate: 0.1`";
                check.error(w.place("rate"), "`sampling` needs a `rate` from 0 to 1", help);
            }
            let reason = reason(raw.drop_counter_reason, "sampling_stage");
            Stage::Sampling(Sampling { rate, drop_counter_reason: reason })
        }
        "pack" => {
            let raw: raw::Pack = w.read(check);
            Stage::Pack(Pack {
                labels: raw.labels.map_or_else(Vec::new, |labels| labels.0),
                ingest_timestamp: raw.ingest_timestamp.unwrap_or(true),
            })
        }
        "redact" => Stage::Redact(redact::redact(w, check)),
        #[cfg(feature = "geoip")]
        "geoip" => Stage::GeoIp(geoip::geoip(w, check)?),
        #[cfg(not(feature = "geoip"))]
        "geoip" => {
            let help =
                "take one that was built with it (`cargo build --release --features geoip`), or remove the stage";
            check.error(w.key, "this build of lugger is without the stage \"geoip\"", help);
            return None;
        }
        other => {
            match OTHERS.iter().find(|(name, _)| *name == other) {
                Some((_, help)) => check.error(w.key, format!("lugger does not have the stage {other:?}"), *help),
                None => {
                    let help = suggest(other, "the stages are", NAMES.iter().copied());
                    check.error(w.key, format!("unknown stage {:?}", head(other, 64)), help);
                }
            }
            return None;
        }
    })
}

/// Why lines were dropped, for the metric.
fn reason(written: Option<String>, default: &str) -> String {
    written.filter(|reason| !reason.is_empty()).unwrap_or_else(|| default.to_owned())
}

/// Names and the keys that their values come from.
fn sources(mut w: Written<'_>, check: &mut Check<'_>) -> Vec<(String, String)> {
    let pairs: raw::Pairs<Option<String>> = w.read(check);
    let help = format!("write names and the extracted keys of their values: `{}: {{ level: , app: name }}`", w.name);
    w.filled(pairs.0.is_empty(), &help, check);
    same_names(pairs)
}

/// A list of names of labels.
fn names(mut w: Written<'_>, check: &mut Check<'_>) -> Vec<String> {
    let OneOrMany(names) = w.read(check);
    let help = format!("name labels: `{}: [filename]`", w.name);
    w.filled(names.is_empty(), &help, check);
    names
}

fn matching(mut w: Written<'_>, check: &mut Check<'_>) -> Stage {
    let raw: raw::Match = w.read(check);
    let help = "write a selector such as '{app=\"shop\"} |= \"error\"'";
    let selector = w.need(raw.selector, "selector", help, check);
    let list = w.options.entry("stages");
    let written = raw.stages.is_some()
        && list.is_some_and(|entry| match &entry.value.value {
            Value::List(items) => !items.is_empty(),
            _ => !entry.value.is_null(),
        });
    let action = match raw.action {
        Some(raw::KeepOrDrop::Drop) => {
            if written {
                let span = w.options.key_span("stages");
                check.error(span, "`stages` of what is dropped", "remove them, or `action: drop`");
            }
            MatchAction::Drop
        }
        Some(raw::KeepOrDrop::Keep) | None => {
            let inner = list.filter(|_| written).map(|entry| stages(&entry.value, check).unwrap_or_default());
            if inner.is_none() && !w.is_damaged() {
                let help = "add the stages for what the selector fits, or `action: drop`";
                check.error(w.place("stages"), "`match` needs `stages`", help);
            }
            MatchAction::Keep(inner.unwrap_or_default())
        }
    };
    Stage::Match(Match {
        selector,
        action,
        pipeline_name: raw.pipeline_name,
        drop_counter_reason: reason(raw.drop_counter_reason, "match_stage"),
    })
}

fn tenant(mut w: Written<'_>, check: &mut Check<'_>) -> Option<Stage> {
    let raw: raw::Tenant = w.read(check);
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    match (filled(raw.label), filled(raw.source), filled(raw.value)) {
        (Some(label), None, None) => Some(Stage::Tenant(Tenant::Label(label))),
        (None, Some(source), None) => Some(Stage::Tenant(Tenant::Source(source))),
        (None, None, Some(value)) => Some(Stage::Tenant(Tenant::Value(value))),
        _ => {
            if !w.is_damaged() {
                let help = "write `label` (a label's value), `source` (an extracted key's) or `value` (this text)";
                check.error(w.key, "`tenant` needs one of `label`, `source` and `value`", help);
            }
            None
        }
    }
}

fn drop_stage(mut w: Written<'_>, check: &mut Check<'_>) -> Stage {
    let raw: raw::Drop = w.read(check);
    let source: Vec<String> = raw.source.map_or_else(Vec::new, |source| source.0);
    if source.iter().any(String::is_empty) {
        check.error(w.place("source"), "`source` has an empty name", "name extracted keys, or remove it");
    }
    let conditions = raw.value.is_some()
        || raw.expression.is_some()
        || raw.older_than.is_some()
        || raw.longer_than.is_some()
        || !source.is_empty();
    if !conditions && !w.is_damaged() {
        let help = "add `expression`, `value`, `source`, `older_than` or `longer_than`; all of them have to hold";
        check.error(w.key, "`drop` has no condition", help);
    }
    if raw.value.is_some() && raw.expression.is_some() {
        let help = "keep one of them";
        check.error(w.place("expression"), "`value` and `expression` cannot be used together", help);
    }
    if raw.value.is_some() && source.is_empty() && !w.is_damaged() {
        let help = "add `source`: the key whose value is compared; for the text use `expression`";
        check.error(w.place("value"), "`value` needs `source`", help);
    }
    Stage::Drop(Drop {
        source,
        separator: raw.separator.filter(|text| !text.is_empty()).unwrap_or_else(|| ";".to_owned()),
        value: raw.value,
        expression: raw.expression,
        older_than: raw.older_than.map(|time| time.0),
        longer_than: raw.longer_than.map(|size| size.0),
        drop_counter_reason: reason(raw.drop_counter_reason, "drop_stage"),
    })
}

/// Promtail's least and default number of values that are told apart.
const DISTINCT_LABELS: u64 = 10_000;

fn limit(mut w: Written<'_>, check: &mut Check<'_>) -> Stage {
    let raw: raw::Limit = w.read(check);
    let rate = raw.rate.unwrap_or(0.0);
    let is_rate = rate > 0.0 && rate.is_finite();
    if !is_rate && !w.is_damaged() {
        check.error(w.place("rate"), "`limit` needs a `rate` above 0", "write entries a second, such as `rate: 100`");
    }
    let burst = raw.burst.unwrap_or(0);
    if burst == 0 && !w.is_damaged() {
        check.error(w.place("burst"), "`limit` needs a `burst` above 0", "write entries at once, such as `burst: 200`");
    }
    let drop = raw.drop.unwrap_or(false);
    if raw.by_label_name.is_some() && !drop && !w.is_damaged() {
        let help = "add `drop: true`: lines of one label cannot wait while others go on";
        check.error(w.place("by_label_name"), "`by_label_name` needs `drop`", help);
    }
    let distinct = raw.max_distinct_labels.unwrap_or(DISTINCT_LABELS);
    if distinct < DISTINCT_LABELS {
        let help = "remove it: 10,000 is the default and the least";
        check.warn(w.place("max_distinct_labels"), "less than 10,000 is taken as 10,000", help);
    }
    Stage::Limit(Limit {
        rate,
        burst,
        drop,
        by_label_name: w.perhaps(raw.by_label_name, "by_label_name", check),
        max_distinct_labels: usize::try_from(distinct.max(DISTINCT_LABELS)).unwrap_or(usize::MAX),
    })
}
