//! What Promtail does with entries behind the stages of their jobs: `limits_config`.
//!
//! Promises: a bound stands where Promtail has it, behind the stages; where that cannot be, because several sources or clients share it, it is said.
//! Leaves to others: what the file says (`server`).

use super::native::{Item, entry, list, map, text, word};
use super::server::{Limits, Rate};
use crate::base::limits::{RATE_BURST_MS, RATE_LINES_MAX};
use crate::base::units::format_duration;
use crate::config::check::Check;
use crate::config::tree::{Entry, Node, Value};
use std::time::Duration;

/// Puts the bounds into entries of `logs` and `loki`. `targets`: how many targets there are; each has an entry for each group of clients.
pub(super) fn bound(logs: &mut [Item], loki: &mut [Item], limits: &Limits, targets: usize, check: &mut Check<'_>) {
    if let Some(rate) = &limits.rate {
        if targets == 1 {
            let comment = "readline_rate is the last stage, as what the stages drop does not count in it.";
            for item in logs.iter_mut().filter(|item| item.node.is_some()) {
                item.comments.push(comment.to_owned());
                push_stage(item, limit(rate));
            }
        } else {
            let before = check.count();
            check.note(
                rate.span,
                "`readline_rate` bounds what all jobs read together; here it bounds what is sent to each endpoint",
            );
            let said = check.said_since(before);
            for item in loki.iter_mut() {
                item.comments.extend(said.iter().cloned());
                push(item, of_endpoint(rate));
            }
        }
    }
    if let Some(longer) = &limits.drop_longer {
        let span = longer.key_span;
        let reason = entry("drop_counter_reason", span, text(span, "line_too_long"));
        for item in logs.iter_mut() {
            push_stage(item, map(span, vec![entry("drop", span, map(span, vec![longer.clone(), reason.clone()]))]));
        }
    }
    if let Some(max) = &limits.max_streams {
        loki.iter_mut().for_each(|item| push(item, max.clone()));
    }
}

fn limit(rate: &Rate) -> Node {
    let (span, at) = (rate.span, &rate.places);
    let mut options = vec![entry("rate", span, word(at.0, rate.lines)), entry("burst", span, word(at.1, rate.burst))];
    if rate.drop {
        options.push(entry("drop", span, word(at.2, true)));
    }
    map(span, vec![entry("limit", span, map(span, options))])
}

fn of_endpoint(rate: &Rate) -> Entry {
    let (span, at) = (rate.span, &rate.places);
    let lines = rate.lines.min(RATE_LINES_MAX);
    // Lines at once are so much time's worth.
    let burst = rate.burst.saturating_mul(1000).div_ceil(lines.max(1)).clamp(RATE_BURST_MS.0, RATE_BURST_MS.1);
    let parts = vec![
        entry("lines", span, word(at.0, lines)),
        entry("burst", span, word(at.1, format_duration(Duration::from_millis(burst)))),
        entry("when_over", span, text(at.2, if rate.drop { "drop" } else { "block" })),
    ];
    entry("rate", span, map(span, parts))
}

fn push(item: &mut Item, what: Entry) {
    if let Some(Value::Map(entries)) = item.node.as_mut().map(|node| &mut node.value) {
        entries.push(what);
    }
}

/// Adds a stage behind those of an entry of `logs`.
fn push_stage(item: &mut Item, stage: Node) {
    let Some(Value::Map(entries)) = item.node.as_mut().map(|node| &mut node.value) else { return };
    match entries.iter_mut().find(|entry| entry.key == "stages").map(|entry| &mut entry.value.value) {
        Some(Value::List(stages)) => stages.push(stage),
        _ => {
            let at = entries.iter().position(|entry| entry.key == "to").unwrap_or(entries.len());
            let span = stage.span;
            entries.insert(at, entry("stages", span, list(span, vec![stage])));
        }
    }
}
