//! Single values of a Promtail file, as Go reads them.
//!
//! Promises: what is not of the right form is reported at its place, and counts as not there. Leaves to others: ranges.

use crate::config::check::Check;
use crate::config::pipeline::{go_duration, go_size};
use crate::config::tree::{Node, Value};
use std::time::Duration;

/// The text of a scalar.
pub(super) fn text<'a>(node: &'a Node, check: &mut Check<'_>) -> Option<&'a str> {
    match &node.value {
        Value::Scalar(scalar) if scalar.is_null() => None,
        Value::Scalar(scalar) => Some(&scalar.text),
        Value::List(_) | Value::Map(_) => {
            check.error(
                node.span,
                "expected one text",
                "write one value; text with characters that mean something in YAML has to be quoted",
            );
            None
        }
    }
}

/// Whether there is nothing: no value, or an empty text, which is none for Promtail, too.
pub(super) fn is_empty(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if scalar.is_null() || scalar.text.is_empty())
}

/// The text under a key of a map.
pub(super) fn text_at<'a>(node: &'a Node, key: &str, check: &mut Check<'_>) -> Option<&'a str> {
    text(&node.entry(key)?.value, check)
}

/// A truth value in YAML's old spelling, too, which Go takes.
pub(super) fn flag(node: &Node, key: &str, check: &mut Check<'_>) -> Option<bool> {
    let value = &node.entry(key)?.value;
    let written = text(value, check)?;
    match written.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => {
            check.error(value.span, "expected true or false", "write true or false");
            None
        }
    }
}

/// A number from 0. What Promtail's defaults calls none (0) is `Some(0)`.
pub(super) fn number(node: &Node, key: &str, check: &mut Check<'_>) -> Option<u64> {
    let value = &node.entry(key)?.value;
    let written = text(value, check)?;
    let parsed = written.parse::<f64>().ok().filter(|number| *number >= 0.0 && *number < 9e15);
    if parsed.is_none() {
        check.error(value.span, "expected a number", "write a number from 0");
    }
    // Whole from here on: 0.5 lines a second are 1.
    parsed.map(|number| number.ceil() as u64)
}

/// A duration.
pub(super) fn duration(node: &Node, key: &str, check: &mut Check<'_>) -> Option<Duration> {
    let value = &node.entry(key)?.value;
    match go_duration(text(value, check)?) {
        Ok(duration) => Some(duration),
        Err(error) => {
            check.error(value.span, error.to_string(), "write a number and a unit, such as 5s");
            None
        }
    }
}

/// A number of bytes, perhaps with a unit.
pub(super) fn size(node: &Node, key: &str, check: &mut Check<'_>) -> Option<u64> {
    let value = &node.entry(key)?.value;
    match go_size(text(value, check)?) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            check.error(value.span, error.to_string(), "write a number of bytes, or such as 256kb");
            None
        }
    }
}

/// The elements of a list; what is no list is reported.
pub(super) fn items<'a>(node: &'a Node, key: &str, check: &mut Check<'_>) -> &'a [Node] {
    let Some(entry) = node.entry(key) else { return &[] };
    match &entry.value.value {
        Value::List(items) => items,
        Value::Scalar(scalar) if scalar.is_null() => &[],
        Value::Scalar(_) | Value::Map(_) => {
            check.error(
                entry.value.span,
                "expected a list",
                "begin each element with `- ` on a line of its own, or write [a, b]",
            );
            &[]
        }
    }
}
