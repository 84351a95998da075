//! Pipelines in a configuration: `stages` (Promtail's `pipeline_stages`) and `relabel_configs`, from YAML to the settings that are compiled.
//!
//! Stages and options have Promtail's names, defaults and meanings, but nothing is passed over: an unknown stage or option is an error
//! that names the nearest one.
//!
//! Promises: all problems of a list are reported, each at its place; what comes out has the right form. Leaves to others: expressions,
//! layouts, templates and names, which compiling checks; [`place`] says where such an error is written.

#[cfg(feature = "geoip")]
mod geoip;
mod metrics;
mod of_source;
mod raw;
mod redact;
mod relabel;
mod stages;
pub(in crate::config) mod units;

pub(in crate::config) use of_source::{relabelled, rules_of, stages_of};
pub(in crate::config) use relabel::relabel;
pub(in crate::config) use stages::stages;
pub(in crate::config) use units::{go_duration, go_size};

use super::source::Span;
use super::tree::{Node, Value};
use crate::pipeline::Step;

/// Where the value at `path` is written, from the list of stages; the longest part of the path that is.
pub(in crate::config) fn place(list: &Node, path: &[Step]) -> Span {
    let mut node = list;
    let mut span = list.span;
    for step in path {
        let next = match (step, &node.value) {
            (Step::Index(at), Value::List(items)) => items.get(*at).map(|item| (item, None)),
            // One value in the place of a list of one.
            (Step::Index(0), Value::Scalar(_)) => Some((node, None)),
            (Step::Key(key), Value::Map(entries)) => {
                let named = entries.iter().find(|entry| entry.key == *key);
                // A stage's former name.
                let only = entries.first().filter(|entry| entries.len() == 1 && stages::is_alias(&entry.key, key));
                named.or(only).map(|entry| (&entry.value, Some(entry.key_span)))
            }
            _ => None,
        };
        let Some((found, key)) = next else { break };
        node = found;
        span = match (&node.value, key) {
            (Value::Scalar(_), _) if !node.is_null() => node.span,
            (_, Some(key)) => key,
            _ => node.span,
        };
    }
    span
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
