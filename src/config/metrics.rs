//! `metrics`: where metrics come from, and how often.
//!
//! Promises: intervals and times are in their ranges, and no time is longer than its interval. Leaves to others: the jobs of `scrape`.

use super::check::Check;
use super::host_target;
use super::plan::MetricsPlan;
use super::raw::{Metrics, OneOrMany};
use super::scrape;
use super::tree::Node;
use crate::base::limits::{SCRAPE_INTERVAL_MS_DEFAULT, SCRAPE_INTERVAL_MS_RANGE, SCRAPE_TIMEOUT_MS_DEFAULT};
use crate::base::words::suggest;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

/// All of it. `outer`: the labels of the host; `endpoints`: the names that `to` may have.
pub(super) fn plan(
    raw: &Metrics,
    node: &Node,
    outer: &BTreeMap<String, String>,
    endpoints: &[&str],
    check: &mut Check<'_>,
) -> MetricsPlan {
    let interval =
        check.time(raw.interval, node.child("interval"), SCRAPE_INTERVAL_MS_DEFAULT, SCRAPE_INTERVAL_MS_RANGE);
    let timeout = match raw.scrape_timeout {
        Some(timeout) => check.time(Some(timeout), node.child("scrape_timeout"), 0, SCRAPE_INTERVAL_MS_RANGE),
        None => Duration::from_millis(SCRAPE_TIMEOUT_MS_DEFAULT).min(interval),
    };
    if timeout > interval {
        check.error(
            node.child("scrape_timeout").span,
            "scrape_timeout is longer than interval",
            "a scrape has to be over when the next one begins: set it to at most the interval",
        );
    }
    for (kind, settings) in [
        ("host", "{}"),
        ("textfile", "{ directories: [/var/lib/lugger/textfile] }"),
        ("certificates", "{ servers: [\"example.org:443\"] }"),
        ("scrape", "[{ job_name: app, static_configs: [{ targets: [\"127.0.0.1:3000\"] }] }]"),
    ] {
        if node.entry(kind).is_some_and(|entry| entry.value.is_null()) {
            check.error(
                node.key_span(kind),
                format!("nothing is written behind `{kind}:`, so that it measures nothing"),
                format!("write `{kind}: {settings}`, or remove it"),
            );
        }
    }
    let times = Times { interval, timeout };
    let outer: Vec<(String, String)> = outer
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let scrape = scrape::plan(raw.scrape.as_deref().unwrap_or_default(), node, times, &outer, endpoints, check);
    let host = host_target::plan(raw, node, &outer, endpoints, check);
    MetricsPlan { interval, scrape, host }
}

/// The endpoints that a source of metrics goes to: those it names, or all. `key`: the `to` of `node`.
pub(super) fn to(names: Option<&OneOrMany>, node: &Node, endpoints: &[&str], check: &mut Check<'_>) -> Vec<usize> {
    let Some(OneOrMany(names)) = names else { return (0..endpoints.len()).collect() };
    let place = node.child("to");
    if names.is_empty() && !place.is_damaged() {
        check.error(
            node.key_span("to"),
            "`to` is empty",
            "name endpoints of `remote_write`, or remove it: then it goes to all of them",
        );
    }
    let mut to = Vec::new();
    for (i, name) in names.iter().enumerate() {
        match endpoints.iter().position(|endpoint| endpoint == name) {
            Some(index) => to.push(index),
            // That there is none is said elsewhere, or it was reported itself.
            None if endpoints.is_empty() => {}
            None => check.error(
                place.item(i).span,
                format!("there is no endpoint of `remote_write` named {name:?}"),
                suggest(name, "they are", endpoints.iter().copied()),
            ),
        }
    }
    to.sort_unstable();
    to.dedup();
    to
}
