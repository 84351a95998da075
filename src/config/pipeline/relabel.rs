//! `relabel_configs`: a list of rules, as Prometheus and Promtail write them.

use super::raw;
use super::stages::Written;
use crate::base::words::suggest;
use crate::config::check::Check;
use crate::config::tree::{Node, Value};
use crate::pipeline::relabel::{Action, Rules, Settings};

/// The rules of `list`. `None`: they have errors, all of which were reported. What is returned compiles.
pub(in crate::config) fn relabel(list: &Node, check: &mut Check<'_>) -> Option<Vec<Settings>> {
    let before = check.errors();
    let items = match &list.value {
        Value::List(items) => items.as_slice(),
        Value::Scalar(scalar) if scalar.is_null() => &[],
        Value::Scalar(_) | Value::Map(_) => {
            let help = "begin each rule with `- `, such as `- { source_labels: [a], target_label: b }`";
            check.error(list.span, "expected a list of rules", help);
            &[]
        }
    };
    let rules: Vec<Settings> = items.iter().filter_map(|item| rule(item, check)).collect();
    (check.errors() == before && !list.is_damaged()).then_some(rules)
}

fn rule(item: &Node, check: &mut Check<'_>) -> Option<Settings> {
    let before = check.errors();
    let mut w = Written::new("a rule", item.span, item);
    let raw: raw::Relabel = w.read(check);
    let action = match &raw.action {
        None => Action::default(),
        Some(name) => Action::by_name(name).unwrap_or_else(|| {
            let help = suggest(name, "the actions are", Action::NAMES.iter().map(|(name, _)| *name));
            check.error(w.place("action"), format!("{name:?} is no action"), help);
            Action::default()
        }),
    };
    let settings = Settings {
        action,
        source_labels: raw.source_labels.map_or_else(Vec::new, |labels| labels.0),
        separator: raw.separator,
        regex: raw.regex,
        modulus: raw.modulus.unwrap_or(0),
        target_label: raw.target_label.unwrap_or_default(),
        replacement: raw.replacement,
    };
    // What is missing only because it was reported is not reported again.
    if check.errors() > before || w.options.is_damaged() {
        return None;
    }
    if let Err(error) = Rules::compile(std::slice::from_ref(&settings)) {
        let (message, help) = error.what.rsplit_once(": ").unwrap_or((&error.what, "correct it"));
        check.error(w.place(error.field), format!("`{}`: {message}", error.field), help);
        return None;
    }
    Some(settings)
}
