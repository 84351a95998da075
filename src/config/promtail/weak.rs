//! Stages as Promtail decodes them: numbers and truth values in quotes, YAML's old truth values, and values that are not there.
//!
//! Promises: only what Promtail takes becomes something else than what is written. Leaves to others: everything that is wrong (`config::pipeline`).

use super::native::text;
use crate::config::tree::{Node, Scalar, Value};

/// Options that are numbers, and those that are true or false, of the stages that Promtail decodes weakly.
const WEAK: [(&str, &[&str], &[&str]); 4] = [
    ("limit", &["rate", "burst", "max_distinct_labels"], &["drop"]),
    ("sampling", &["rate"], &[]),
    ("multiline", &["max_lines"], &[]),
    ("pack", &[], &["ingest_timestamp"]),
];

/// Writes stages as lugger reads them.
pub(super) fn relax(stages: &mut Node) {
    let Value::List(items) = &mut stages.value else { return };
    for item in items.iter_mut() {
        let Value::Map(entries) = &mut item.value else { continue };
        let [stage] = entries.as_mut_slice() else { continue };
        let (name, options) = (stage.key.as_str(), &mut stage.value);
        if let Some((_, numbers, flags)) = WEAK.iter().find(|(weak, ..)| *weak == name) {
            for key in *numbers {
                with(options, key, |node| number(node, *key == "rate"));
            }
            for key in *flags {
                with(options, key, flag);
            }
        }
        match name {
            "match" => with(options, "stages", relax),
            // What comes out of it is nothing, which takes the key away.
            "template" => with(options, "template", |template| {
                if super::read::is_empty(template) {
                    *template = text(template.span, "{{ \"\" }}");
                }
            }),
            "static_labels" => {
                if let Value::Map(labels) = &mut options.value {
                    labels.retain(|label| !label.value.is_null());
                }
            }
            _ => {}
        }
    }
    items.retain(|item| !is_for_nothing(item));
}

/// Whether it is `static_labels` of which nothing is left.
fn is_for_nothing(item: &Node) -> bool {
    let labels = item.entry("static_labels").filter(|_| item.entries().len() == 1);
    labels.is_some_and(|labels| {
        !labels.value.is_damaged() && matches!(&labels.value.value, Value::Map(labels) if labels.is_empty())
    })
}

fn with(options: &mut Node, key: &str, change: impl FnOnce(&mut Node)) {
    if let Value::Map(entries) = &mut options.value
        && let Some(option) = entries.iter_mut().find(|option| option.key == key)
    {
        change(&mut option.value);
    }
}

/// Makes a number of what stands for one: `"10"`, and `1.0` where it has to be whole.
fn number(node: &mut Node, may_be_fraction: bool) {
    let Value::Scalar(scalar) = &mut node.value else { return };
    if let Ok(number) = scalar.text.parse::<f64>() {
        let whole = !may_be_fraction && number.fract() == 0.0 && (0.0..9e15).contains(&number);
        become_word(scalar, if whole { (number as u64).to_string() } else { scalar.text.clone() });
    }
}

/// Makes a truth value of what stands for one: `"true"`, `yes`, `1`.
fn flag(node: &mut Node) {
    let Value::Scalar(scalar) = &mut node.value else { return };
    let old = scalar.plain.then(|| scalar.text.to_ascii_lowercase());
    let truth = match (scalar.text.as_str(), old.as_deref()) {
        ("1" | "t" | "T" | "true" | "TRUE" | "True", _) | (_, Some("yes" | "on" | "y")) => true,
        ("0" | "f" | "F" | "false" | "FALSE" | "False", _) | (_, Some("no" | "off" | "n")) => false,
        _ => return,
    };
    become_word(scalar, truth.to_string());
}

fn become_word(scalar: &mut Scalar, word: String) {
    // A variable stays one if its text is what is read.
    let written = scalar.written.take().filter(|_| scalar.text == word);
    *scalar = Scalar { text: word, plain: true, written };
}
