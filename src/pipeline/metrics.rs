//! The metrics that `metrics` stages keep: counters, gauges and histograms with the labels of entries.
//!
//! Bumping a series is a few relaxed stores of the one thread that runs the program; whoever serves the metrics reads them meanwhile.
//!
//! Promises: the number of series of a metric is bounded ([`PIPELINE_SERIES`]); a series that did not change for its metric's idle time is
//! forgotten, and begins anew when it comes again. Leaves to others: what an entry does to them (`stages::metrics`), serving the text.

use crate::base::limits::PIPELINE_SERIES;
use foldhash::HashMap;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a metric is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    Counter,
    Gauge,
    /// Upper bounds.
    Histogram(Vec<f64>),
}

/// One metric of one stage.
#[derive(Debug)]
pub(super) struct Metric {
    name: String,
    help: String,
    form: Form,
    idle_ns: i64,
    /// By the rendered labels.
    series: Mutex<HashMap<Box<str>, Arc<Series>>>,
}

/// One series. Written by one thread.
#[derive(Debug)]
pub(super) struct Series {
    /// The value, as the bits of an `f64`; of a histogram the sum.
    value: AtomicU64,
    /// Of a histogram: how many there were for each bound, and above all of them.
    counts: Box<[AtomicU64]>,
    /// When it changed last, nanoseconds since 1970.
    touched_ns: AtomicI64,
    forgotten: AtomicBool,
}

impl Metric {
    pub(super) fn new(name: String, help: String, form: Form, idle_ns: i64) -> Self {
        Metric { name, help, form, idle_ns, series: Mutex::default() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn form(&self) -> &Form {
        &self.form
    }

    fn bounds(&self) -> &[f64] {
        match &self.form {
            Form::Histogram(bounds) => bounds,
            Form::Counter | Form::Gauge => &[],
        }
    }

    /// The series with these labels, as they are rendered. `None`: there are too many.
    pub(super) fn series(&self, labels: &str) -> Option<Arc<Series>> {
        let mut all = self.lock();
        if let Some(series) = all.get(labels) {
            return Some(Arc::clone(series));
        }
        if all.len() >= PIPELINE_SERIES {
            return None;
        }
        let counts = if matches!(self.form, Form::Histogram(_)) { self.bounds().len() + 1 } else { 0 };
        let series = Arc::new(Series {
            value: AtomicU64::new(0.0f64.to_bits()),
            counts: (0..counts).map(|_| AtomicU64::new(0)).collect(),
            touched_ns: AtomicI64::new(i64::MAX),
            forgotten: AtomicBool::new(false),
        });
        all.insert(labels.into(), Arc::clone(&series));
        Some(series)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Series>>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_idle(&self, now_ns: i64) {
        self.lock().retain(|_, series| {
            let keep = series.touched_ns.load(Ordering::Relaxed).saturating_add(self.idle_ns) > now_ns;
            if !keep {
                series.forgotten.store(true, Ordering::Relaxed);
            }
            keep
        });
    }
}

impl Series {
    /// Whether it is not shown any more: a new one is to be asked for.
    pub(super) fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.value.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, value: f64, now_ns: i64) {
        self.value.store(value.to_bits(), Ordering::Relaxed);
        self.touched_ns.store(now_ns, Ordering::Relaxed);
    }

    /// One more value of a histogram with these bounds.
    pub(super) fn observe(&self, value: f64, bounds: &[f64], now_ns: i64) {
        let at = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        if let Some(count) = self.counts.get(at) {
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        self.set(self.get() + value, now_ns);
    }
}

/// The metrics of one pipeline. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Vec<Arc<Metric>>>);

impl Metrics {
    pub(super) fn new(all: Vec<Arc<Metric>>) -> Self {
        Metrics(Arc::new(all))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is shown of one name.
struct Shown<'a> {
    metric: &'a Metric,
    /// Of equal series of several pipelines: values and counts are added, but for gauges, where the last one counts.
    series: BTreeMap<Box<str>, (f64, Vec<u64>)>,
}

/// Appends the metrics of all pipelines in Prometheus' text format, by name. `now_ns`: what was idle for too long by then is forgotten. Of a name that
/// means different things in several pipelines, the first meaning is shown.
pub fn render<'a>(all: impl IntoIterator<Item = &'a Metrics>, now_ns: i64, out: &mut String) {
    let mut families: BTreeMap<&str, Shown<'_>> = BTreeMap::new();
    for metric in all.into_iter().flat_map(|metrics| metrics.0.iter()) {
        metric.forget_idle(now_ns);
        let shown = families.entry(&metric.name).or_insert_with(|| Shown { metric, series: BTreeMap::new() });
        if shown.metric.form != metric.form {
            continue;
        }
        for (labels, series) in metric.lock().iter() {
            let counts: Vec<u64> = series.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
            let (value, sums) = shown.series.entry(labels.clone()).or_insert_with(|| (0.0, vec![0; counts.len()]));
            match metric.form {
                Form::Gauge => *value = series.get(),
                Form::Counter | Form::Histogram(_) => *value += series.get(),
            }
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
    for (name, Shown { metric, series }) in families.into_iter().filter(|(_, shown)| !shown.series.is_empty()) {
        let kind = match metric.form {
            Form::Counter => "counter",
            Form::Gauge => "gauge",
            Form::Histogram(_) => "histogram",
        };
        let help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, (value, counts)) in series {
            if !matches!(metric.form, Form::Histogram(_)) {
                let _ = writeln!(out, "{name}{labels} {value}");
                continue;
            }
            let mut sum = 0;
            let bounds = metric.bounds().iter().map(f64::to_string).chain(["+Inf".to_owned()]);
            for (bound, count) in bounds.zip(counts) {
                sum += count;
                let inner = labels.trim_start_matches('{').trim_end_matches('}');
                let comma = if inner.is_empty() { "" } else { "," };
                let _ = writeln!(out, "{name}_bucket{{{inner}{comma}le=\"{bound}\"}} {sum}");
            }
            let _ = writeln!(out, "{name}_sum{labels} {value}\n{name}_count{labels} {sum}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, form: Form) -> Arc<Metric> {
        Arc::new(Metric::new(name.into(), "Help.".into(), form, 100))
    }

    #[test]
    fn what_is_shown() {
        let (requests, took) = (metric("requests", Form::Counter), metric("took", Form::Histogram(vec![0.5, 1.0])));
        requests.series(r#"{a="1"}"#).unwrap().set(2.0, 10);
        for value in [0.1, 0.7, 5.0] {
            took.series("").unwrap().observe(value, &[0.5, 1.0], 50);
        }
        let other = metric("requests", Form::Counter);
        other.series(r#"{a="1"}"#).unwrap().set(1.5, 10);
        let wrong = metric("requests", Form::Gauge);
        wrong.series("").unwrap().set(9.0, 10);
        let all = [Metrics::new(vec![requests.clone(), took]), Metrics::new(vec![other, wrong])];
        let mut text = String::new();
        render(&all, 60, &mut text);
        let expected = "# HELP requests Help.\n# TYPE requests counter\nrequests{a=\"1\"} 3.5\n\
             # HELP took Help.\n# TYPE took histogram\ntook_bucket{le=\"0.5\"} 1\ntook_bucket{le=\"1\"} 2\ntook_bucket{le=\"+Inf\"} 3\n\
             took_sum 5.8\ntook_count 3\n";
        assert_eq!(text, expected);
        // What is idle is forgotten, and begins anew.
        let old = requests.series(r#"{a="1"}"#).unwrap();
        text.clear();
        render(&all, 120, &mut text);
        assert!(!text.contains("requests") && text.contains("took_count 3"), "{text}");
        assert!(old.is_forgotten());
        assert_eq!(requests.series(r#"{a="1"}"#).unwrap().get(), 0.0);
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let metric = metric("m", Form::Gauge);
        let made = (0..PIPELINE_SERIES + 5).filter(|i| metric.series(&i.to_string()).is_some()).count();
        assert_eq!(made, PIPELINE_SERIES);
    }
}
