//! The stage `metrics`: a map of names, each with a type and its `config`.

use super::raw;
use super::stages::Written;
use crate::base::units::format_duration;
use crate::base::words::suggest;
use crate::config::check::Check;
use crate::pipeline::settings::{GaugeAction, Metric, MetricKind};
use std::time::Duration;

const TYPES: [&str; 3] = ["counter", "gauge", "histogram"];
const PREFIX: &str = "promtail_custom_";
const IDLE: Duration = Duration::from_secs(5 * 60);
const IDLE_MIN: Duration = Duration::from_secs(1);
/// Prometheus' buckets of a histogram that names none.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// All metrics of a stage.
pub(super) fn metrics(w: Written<'_>, check: &mut Check<'_>) -> Vec<Metric> {
    if w.options.entries().is_empty() {
        if !w.is_damaged() {
            let help = "write a metric's name and its options: `requests_total: { type: counter, config: { ... } }`";
            check.error(w.key, "`metrics` needs a map of metrics", help);
        }
        return Vec::new();
    }
    let entries = w.options.entries().iter();
    entries.filter_map(|entry| metric(Written::new(&entry.key, entry.key_span, &entry.value), check)).collect()
}

fn metric(mut w: Written<'_>, check: &mut Check<'_>) -> Option<Metric> {
    let raw: raw::Metric = w.read(check);
    let max_idle = raw.max_idle_duration.map_or(IDLE, |time| time.0);
    if max_idle < IDLE_MIN {
        let message = format!("{} is out of range", format_duration(max_idle));
        check.error(w.place("max_idle_duration"), message, "it has to be 1s or more");
    }
    let help = "write counter, gauge or histogram";
    let written = w.need(raw.kind, "type", help, check);
    let config = match w.options.entry("config").filter(|_| raw.config.is_some()) {
        Some(entry) => Written::new("config", entry.key_span, &entry.value),
        None => {
            if !w.is_damaged() && !written.is_empty() {
                check.error(w.key, format!("`{}` needs `config`", w.name), "write what a line does to the metric");
            }
            return None;
        }
    };
    let kind = match written.to_ascii_lowercase().as_str() {
        "counter" => counter(config, check)?,
        "gauge" => gauge(config, check)?,
        "histogram" => histogram(config, check),
        "" => return None,
        _ => {
            let help = suggest(&written, "the types are", TYPES);
            check.error(w.place("type"), format!("{written:?} is no type of metric"), help);
            return None;
        }
    };
    Some(Metric {
        name: w.name.to_owned(),
        description: raw.description.unwrap_or_default(),
        source: w.perhaps(raw.source, "source", check),
        prefix: raw.prefix.filter(|prefix| !prefix.is_empty()).unwrap_or_else(|| PREFIX.to_owned()),
        max_idle,
        kind,
    })
}

fn counter(mut w: Written<'_>, check: &mut Check<'_>) -> Option<MetricKind> {
    let raw: raw::Counter = w.read(check);
    let add = *action(&w, raw.action, &[("inc", false), ("add", true)], check)?;
    let (match_all, bytes) = (raw.match_all.unwrap_or(false), raw.count_entry_bytes.unwrap_or(false));
    if match_all && raw.value.is_some() {
        let help = "keep one of them: every line counts, or those with this value";
        check.error(w.place("value"), "`match_all` and `value` cannot be used together", help);
    }
    if bytes && !(match_all && add) {
        let help = "add `match_all: true` and `action: add`";
        check.error(w.place("count_entry_bytes"), "`count_entry_bytes` counts every line and adds", help);
    }
    Some(MetricKind::Counter { match_all, count_entry_bytes: bytes, value: raw.value, add })
}

fn gauge(mut w: Written<'_>, check: &mut Check<'_>) -> Option<MetricKind> {
    let raw: raw::Gauge = w.read(check);
    let actions = [
        ("set", GaugeAction::Set),
        ("inc", GaugeAction::Inc),
        ("dec", GaugeAction::Dec),
        ("add", GaugeAction::Add),
        ("sub", GaugeAction::Sub),
    ];
    let action = *action(&w, raw.action, &actions, check)?;
    Some(MetricKind::Gauge { value: raw.value, action })
}

fn histogram(mut w: Written<'_>, check: &mut Check<'_>) -> MetricKind {
    let raw: raw::Histogram = w.read(check);
    let buckets = raw.buckets.filter(|buckets| !buckets.is_empty()).unwrap_or_else(|| BUCKETS.to_vec());
    if !buckets.iter().zip(buckets.iter().skip(1)).all(|(a, b)| a < b) || buckets.iter().any(|bound| bound.is_nan()) {
        check.error(w.place("buckets"), "buckets have to ascend", "sort the bounds, each once");
    }
    MetricKind::Histogram { value: raw.value, buckets }
}

/// The action that was named; capitals do not matter, as in Promtail.
fn action<'a, T>(
    w: &Written<'_>,
    written: Option<String>,
    actions: &'a [(&'static str, T)],
    check: &mut Check<'_>,
) -> Option<&'a T> {
    let names = || actions.iter().map(|(name, _)| *name);
    let help = format!("write one of {}", names().collect::<Vec<_>>().join(", "));
    let written = w.need(written, "action", &help, check);
    let found = actions.iter().find(|(name, _)| name.eq_ignore_ascii_case(&written));
    if found.is_none() && !written.is_empty() {
        check.error(w.place("action"), format!("{written:?} is no action here"), help);
    }
    found.map(|(_, action)| action)
}
