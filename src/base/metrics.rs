//! The agent's own metrics: atomics that are bumped where things happen, and a writer of Prometheus' text format 0.0.4.
//!
//! Promises: bumping is one relaxed atomic addition; a series exists from its registration, so that a counter that stays 0 is
//! visible as 0; asking twice for the same series gives the same one. The number of series is bounded by what the
//! configuration names (sources, endpoints) and by fixed lists of reasons; nothing read from a log becomes a label.
//! Leaves to others: serving the text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A number that only grows.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The current value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down. Kept as the bits of an `f64`.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds to the value, or takes away from it.
    pub fn add(&self, change: f64) {
        let sum = |bits| Some((f64::from_bits(bits) + change).to_bits());
        // It always has an answer, so that it cannot fail.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
    }

    /// The current value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Debug, Clone)]
enum Value {
    Counter(Counter),
    Gauge(Gauge),
}

#[derive(Debug)]
struct Family {
    help: &'static str,
    /// By the rendered label pairs, `{a="b"}` or nothing.
    series: BTreeMap<String, Value>,
}

/// Writes metrics that somebody else keeps.
type Writer = Box<dyn Fn(&mut String) + Send>;

#[derive(Default)]
struct Writers(Mutex<Vec<Writer>>);

impl std::fmt::Debug for Writers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writers")
    }
}

/// All metrics of one agent. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<Mutex<BTreeMap<&'static str, Family>>>, Arc<Writers>);

impl Registry {
    /// The counter `name` (it should end in `_total`) with these labels, made at the first call.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Counter {
        match self.series(name, help, labels, || Value::Counter(Counter::default())) {
            Value::Counter(counter) => counter,
            // One name is used for one kind; a mistake in that yields a counter nobody sees rather than a panic.
            Value::Gauge(_) => Counter::default(),
        }
    }

    /// The gauge `name` with these labels, made at the first call.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Gauge {
        match self.series(name, help, labels, || Value::Gauge(Gauge::default())) {
            Value::Gauge(gauge) => gauge,
            Value::Counter(_) => Gauge::default(),
        }
    }

    /// Forgets every series that has this label with this value, of whatever name: what it is about is gone. Handles that are left
    /// count on unseen.
    pub fn forget(&self, label: &str, value: &str) {
        let pair = render_labels(&[(label, value)]);
        let pair = pair.trim_start_matches('{').trim_end_matches('}');
        let has = |labels: &str| {
            let inner = labels.trim_start_matches('{');
            // Quotes within values are escaped, so that this stands nowhere else.
            inner.starts_with(pair) || inner.contains(&format!(",{pair}"))
        };
        for family in self.lock().values_mut() {
            family.series.retain(|labels, _| !has(labels));
        }
    }

    /// From now on this writes metrics behind the registry's own, in the same format and under other names.
    pub fn add_writer(&self, write: impl Fn(&mut String) + Send + 'static) {
        self.1.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(write));
    }

    fn series(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        make: impl FnOnce() -> Value,
    ) -> Value {
        let mut families = self.lock();
        let family = families.entry(name).or_insert_with(|| Family { help, series: BTreeMap::new() });
        family.series.entry(render_labels(labels)).or_insert_with(make).clone()
    }

    /// Writes every series in Prometheus' text format, families by name.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, family) in self.lock().iter() {
            let kind = match family.series.values().next() {
                Some(Value::Counter(_)) => "counter",
                Some(Value::Gauge(_)) => "gauge",
                None => continue,
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
            for (labels, value) in &family.series {
                let _ = match value {
                    Value::Counter(counter) => writeln!(text, "{name}{labels} {}", counter.get()),
                    Value::Gauge(gauge) => writeln!(text, "{name}{labels} {}", gauge.get()),
                };
            }
        }
        for write in self.1.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            write(&mut text);
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Family>> {
        // A panic while registering leaves the map whole: its operations do not unwind half-done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Label pairs as they stand behind a name: `{a="b"}`, or nothing.
pub fn render_labels(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let mut text = String::from("{");
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                c => text.push(c),
            }
        }
        text.push('"');
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_write_behind_it() {
        let registry = Registry::default();
        registry.gauge("z", "Z.", &[]).set(1.0);
        registry.add_writer(|text| text.push_str("a 2\n"));
        assert!(registry.clone().render().ends_with("z 1\na 2\n"));
    }

    #[test]
    fn what_is_gone_is_not_shown() {
        let registry = Registry::default();
        for (name, reason) in [("a", "x"), ("ab", "x"), ("b", "a")] {
            registry.counter("n_total", "N.", &[("source", name), ("reason", reason)]);
            registry.counter("m_total", "M.", &[("reason", reason), ("source", name)]);
        }
        registry.gauge("g", "G.", &[("source", "a")]).set(1.0);
        registry.forget("source", "a");
        let text = registry.render();
        assert!(!text.contains("source=\"a\""), "{text}");
        assert_eq!(text.matches("source=\"ab\"").count(), 2, "{text}");
        assert_eq!(text.matches("source=\"b\"").count(), 2, "{text}");
        assert!(!text.contains("# HELP g"), "{text}");
    }

    #[test]
    fn renders_families_with_help_type_and_escaped_labels() {
        let registry = Registry::default();
        registry.counter("b_total", "Second.", &[("source", "a\"b\\c\nd")]).add(3);
        registry.gauge("a", "First.", &[]).set(0.5);
        registry.counter("b_total", "Second.", &[("source", "a\"b\\c\nd")]).add(1);
        assert_eq!(
            registry.render(),
            "# HELP a First.\n# TYPE a gauge\na 0.5\n# HELP b_total Second.\n# TYPE b_total counter\n\
             b_total{source=\"a\\\"b\\\\c\\nd\"} 4\n"
        );
    }
}
