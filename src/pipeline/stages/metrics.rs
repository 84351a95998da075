//! `metrics`: counters, gauges and histograms of what entries say, on the agent's own `/metrics`.
//!
//! ```yaml
//! - metrics:
//!     lines_total: { type: Counter, description: Lines., config: { match_all: true, action: inc } }
//!     took_seconds: { type: Histogram, source: took, config: { buckets: [0.1, 1, 10] } }
//! ```
//!
//! A series has the labels that the entry has here. An entry without the source's key does nothing, but for a counter of all entries. Values are numbers,
//! `true` and `false` (1 and 0), or Go durations (`1m30s`), in seconds. With `value` only entries with this value count.

use super::Stage;
use crate::base::limits::PIPELINE_SERIES;
use crate::base::metrics::render_labels;
use crate::model::labels::{LabelCaps, Labels};
use crate::model::value::Kind;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::Key;
use crate::pipeline::metrics::{Form, Metric, Series};
use crate::pipeline::program::{Context, Flow};
use crate::pipeline::settings::GaugeAction;
use crate::pipeline::streams::{key_of, pairs_of};
use foldhash::{HashMap, HashMapExt};
use std::sync::Arc;

/// What an entry does to a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::pipeline) enum Action {
    /// One more, whether the key is there or not.
    CountAll,
    /// The text's length, whether the key is there or not.
    CountBytes,
    /// What a gauge can do; counters do some of it.
    Change(GaugeAction),
    Observe,
}

/// One metric.
#[derive(Debug)]
pub(in crate::pipeline) struct Rule {
    pub(in crate::pipeline) metric: Arc<Metric>,
    pub(in crate::pipeline) source: Key,
    pub(in crate::pipeline) value: Option<String>,
    pub(in crate::pipeline) action: Action,
}

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Measure {
    rules: Vec<Rule>,
    /// The series of label sets that were met, by what tells these apart. A cache: the metrics hold them.
    known: HashMap<Box<[u8]>, Vec<Option<Arc<Series>>>>,
}

impl Measure {
    pub(in crate::pipeline) fn new(rules: Vec<Rule>) -> Self {
        Measure { rules, known: HashMap::new() }
    }
}

impl Rule {
    /// By how much it changes, or what is observed. `None`: the entry does nothing.
    fn amount(&self, entry: &Entry<'_>) -> Option<f64> {
        match self.action {
            Action::CountAll => return Some(1.0),
            Action::CountBytes => return Some(entry.line_text().len() as f64),
            Action::Change(_) | Action::Observe => {}
        }
        let value = entry.extracted(self.source)?;
        let text = entry.text(value);
        if self.value.as_deref().is_some_and(|wanted| wanted != text) {
            return None;
        }
        match self.action {
            Action::Change(GaugeAction::Inc | GaugeAction::Dec) => Some(1.0),
            _ if value.kind() == Kind::Bool => Some(f64::from(u8::from(text == "true"))),
            _ => text.parse().ok().or_else(|| duration_s(text)),
        }
    }

    fn apply(&self, series: &Series, amount: f64, now_ns: i64) {
        match (&self.action, self.metric.form()) {
            (Action::Observe, Form::Histogram(bounds)) => series.observe(amount, bounds, now_ns),
            // A counter never goes back.
            (_, Form::Counter) if amount.is_nan() || amount < 0.0 => {}
            (Action::Change(GaugeAction::Set), _) => series.set(amount, now_ns),
            (Action::Change(GaugeAction::Dec | GaugeAction::Sub), _) => series.set(series.get() - amount, now_ns),
            _ => series.set(series.get() + amount, now_ns),
        }
    }
}

impl Stage for Measure {
    fn run(&mut self, entry: &mut Entry<'_>, context: &mut Context<'_>) -> Flow {
        let mut has_key = false;
        for (i, rule) in self.rules.iter().enumerate() {
            let Some(amount) = rule.amount(entry) else { continue };
            if !std::mem::replace(&mut has_key, true) {
                key_of(entry, context.stream);
                if !self.known.contains_key(context.stream.as_slice()) {
                    if self.known.len() >= PIPELINE_SERIES {
                        self.known.clear();
                    }
                    self.known.insert(context.stream.as_slice().into(), vec![None; self.rules.len()]);
                }
            }
            let Some(place) = self.known.get_mut(context.stream.as_slice()).and_then(|all| all.get_mut(i)) else {
                continue;
            };
            if place.as_ref().is_none_or(|series| series.is_forgotten()) {
                let (labels, _) = Labels::capped(pairs_of(entry, context.labels), LabelCaps::default());
                let pairs: Vec<(&str, &str)> = labels.iter().filter(|(name, _)| !name.starts_with("__")).collect();
                *place = rule.metric.series(&render_labels(&pairs));
            }
            if let Some(series) = place {
                rule.apply(series, amount, context.now_ns);
            }
        }
        Flow::Next
    }
}

/// A duration as Go writes it, in seconds: `1h2m3.5s`, `250ms`, `-3us`.
fn duration_s(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut sum = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let number: f64 = number.parse().ok()?;
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        sum += number * unit;
        rest = after;
    }
    Some(sign * sum)
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;
    use crate::pipeline::metrics::{Metrics, render};

    fn shown(form: Form, action: Action, value: Option<&str>, texts: &[&str]) -> String {
        let metric = Arc::new(Metric::new("m".into(), "H.".into(), form, i64::MAX));
        let value = value.map(str::to_owned);
        let mut stage = Measure::new(vec![Rule { metric: metric.clone(), source: Key(0), value, action }]);
        for text in texts {
            let keys: Vec<(Key, &str)> = if text.is_empty() { vec![] } else { vec![(Key(0), *text)] };
            once(&mut stage, "line", &keys, |_| ());
        }
        let mut out = String::new();
        render(&[Metrics::new(vec![metric])], 0, &mut out);
        out.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn counters_gauges_and_histograms() {
        use GaugeAction::{Add, Dec, Inc, Set, Sub};
        let texts = ["2", "", "x", "1m30s", "0.5"];
        for (form, action, value, wanted) in [
            (Form::Counter, Action::CountAll, None, "5"),
            (Form::Counter, Action::CountBytes, None, "20"),
            (Form::Counter, Action::Change(Inc), None, "4"),
            (Form::Counter, Action::Change(Inc), Some("x"), "1"),
            (Form::Counter, Action::Change(Add), None, "92.5"),
            (Form::Gauge, Action::Change(Set), None, "0.5"),
            (Form::Gauge, Action::Change(Inc), None, "4"),
            (Form::Gauge, Action::Change(Dec), Some("2"), "-1"),
            (Form::Gauge, Action::Change(Add), None, "92.5"),
            (Form::Gauge, Action::Change(Sub), None, "-92.5"),
        ] {
            let text = shown(form, action, value, &texts);
            assert_eq!(text, format!("m{{l15=\"base\"}} {wanted}"), "{action:?} {value:?}");
        }
        let text = shown(Form::Histogram(vec![1.0, 10.0]), Action::Observe, None, &texts);
        assert!(text.contains("m_count{l15=\"base\"} 3") && text.contains("le=\"10\"} 2"), "{text}");
        assert_eq!(shown(Form::Counter, Action::Change(Add), None, &["-3", "nan", "1"]), "m{l15=\"base\"} 1");
    }

    #[test]
    fn durations_as_go_writes_them() {
        for (text, seconds) in [("1h2m3.5s", 3723.5), ("250ms", 0.25), ("-3us", -3e-6), ("2µs", 2e-6), (".5s", 0.5)] {
            assert!(duration_s(text).is_some_and(|found| (found - seconds).abs() < 1e-12), "{text}");
        }
        for text in ["", "-", "s", "5", "5x", "1.2.3s", "5s5"] {
            assert_eq!(duration_s(text), None, "{text}");
        }
    }
}
