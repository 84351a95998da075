//! Writes samples as Prometheus' text format 0.0.4.
//!
//! Families are sorted by name, and what several collectors say of one name comes together under the first's help and type, since the format
//! allows a family once. Within a family samples keep their order. A family without samples is left out.
//!
//! Promises: Prometheus reads back the same names, labels, values and times; memory is used again. Leaves to others: that names are names
//! (of the characters that Prometheus has always allowed), and that no series is there twice.

use super::number;
use crate::model::samples::{Kind, Sample, Samples};

/// The `Content-Type` of what is written.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes; keeps its memory from one time to the next.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    /// Families with samples: place, and the first of their samples.
    order: Vec<(u32, u32)>,
}

impl Writer {
    /// Appends all families.
    pub fn write(&mut self, samples: &Samples, out: &mut Vec<u8>) {
        self.order.clear();
        for (i, sample) in samples.iter().enumerate() {
            // Samples lie in the order of their families.
            if self.order.last().is_none_or(|(family, _)| *family as usize != sample.family) {
                self.order.push((sample.family as u32, i as u32));
            }
        }
        let name = |family: u32| samples.family_at(family as usize).map_or("", |family| family.name);
        self.order.sort_unstable_by(|(a, _), (b, _)| (name(*a), a).cmp(&(name(*b), b)));
        let mut last = None;
        for (family, first) in &self.order {
            let of_family = (*first as usize..)
                .map_while(|i| samples.sample_at(i))
                .take_while(|sample| sample.family == *family as usize);
            if last != Some(name(*family)) {
                last = Some(name(*family));
                write_head(samples, *family as usize, *first as usize, out);
            }
            for sample in of_family {
                write_sample(&sample, out);
            }
        }
    }
}

/// The lines that speak of a family.
fn write_head(samples: &Samples, family: usize, first: usize, out: &mut Vec<u8>) {
    let Some(family) = samples.family_at(family) else { return };
    // OpenMetrics leaves a suffix away from the family's name that this format keeps.
    let suffix = match family.kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        _ => "",
    };
    let full = samples
        .sample_at(first)
        .map(|sample| sample.name())
        .filter(|name| name.strip_suffix(suffix) == Some(family.name));
    let name = full.unwrap_or(family.name);
    if !family.help.is_empty() {
        for piece in ["# HELP ", name, " "] {
            out.extend_from_slice(piece.as_bytes());
        }
        escape(family.help, false, out);
        out.push(b'\n');
    }
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::Info | Kind::StateSet => "gauge",
        Kind::Histogram => "histogram",
        Kind::Summary => "summary",
        // Its buckets go down as well, which no histogram's do.
        Kind::GaugeHistogram | Kind::Unknown => "untyped",
    };
    for piece in ["# TYPE ", name, " ", kind, "\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
}

fn write_sample(sample: &Sample, out: &mut Vec<u8>) {
    out.extend_from_slice(sample.name().as_bytes());
    let mut before = b'{';
    for (name, value) in sample.labels() {
        out.push(before);
        before = b',';
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        escape(value, true, out);
        out.push(b'"');
    }
    if before == b',' {
        out.push(b'}');
    }
    out.push(b' ');
    number::write(sample.value(), out);
    if let Some(time) = sample.time_ms {
        out.push(b' ');
        number::write_integer(time, out);
    }
    out.push(b'\n');
}

/// Appends text with its backslashes and newlines escaped, and its quotes where it stands between such.
fn escape(text: &str, quoted: bool, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    let special = |bytes: &[u8]| match quoted {
        true => memchr::memchr3(b'\\', b'\n', b'"', bytes),
        false => memchr::memchr2(b'\\', b'\n', bytes),
    };
    while let Some(at) = special(rest) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain);
        let escaped: &[u8] = match from.first() {
            Some(b'\n') => b"\\n",
            Some(b'"') => b"\\\"",
            _ => b"\\\\",
        };
        out.extend_from_slice(escaped);
        rest = from.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(samples: &Samples) -> String {
        let mut out = Vec::new();
        Writer::default().write(samples, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn families_are_written_in_order_and_once() {
        let mut samples = Samples::default();
        samples.one("z", "Last.", Kind::Gauge, 1.5);
        samples.family("nothing", "Has no samples.", Kind::Gauge);
        samples.family("cpu_total", "Back\\slash, \"quotes\" and a\nline.", Kind::Counter);
        samples.add(&[("cpu", "0"), ("mode", "a\"b\\c\nd")], 1e6);
        samples.add_as("cpu_total", &[], f64::NAN.to_bits(), Some(-1_785_571_200_123));
        samples.family("a", "", Kind::Unknown);
        samples.add(&[], f64::NEG_INFINITY);
        samples.family("cpu_total", "Said again.", Kind::Gauge);
        samples.add(&[("cpu", "1")], 2.0);
        let expected = concat!(
            "# TYPE a untyped\n",
            "a -Inf\n",
            "# HELP cpu_total Back\\\\slash, \"quotes\" and a\\nline.\n",
            "# TYPE cpu_total counter\n",
            "cpu_total{cpu=\"0\",mode=\"a\\\"b\\\\c\\nd\"} 1e+06\n",
            "cpu_total NaN -1785571200123\n",
            "cpu_total{cpu=\"1\"} 2\n",
            "# HELP z Last.\n",
            "# TYPE z gauge\n",
            "z 1.5\n",
        );
        assert_eq!(written(&samples), expected);
        assert_eq!(written(&Samples::default()), "");
    }

    #[test]
    fn kinds_that_the_format_lacks_are_written_as_others() {
        let kinds = [
            (Kind::Counter, "x", "x_total", "# TYPE x_total counter\nx_total 0\n"),
            (Kind::Counter, "x_total", "x_total", "# TYPE x_total counter\nx_total 0\n"),
            (Kind::Info, "x", "x_info", "# TYPE x_info gauge\nx_info 0\n"),
            (Kind::StateSet, "x", "x", "# TYPE x gauge\nx 0\n"),
            (Kind::Histogram, "x", "x_bucket", "# TYPE x histogram\nx_bucket 0\n"),
            (Kind::GaugeHistogram, "x", "x_bucket", "# TYPE x untyped\nx_bucket 0\n"),
            (Kind::Summary, "x", "x_sum", "# TYPE x summary\nx_sum 0\n"),
            (Kind::Unknown, "x", "x", "# TYPE x untyped\nx 0\n"),
        ];
        for (kind, family, name, expected) in kinds {
            let mut samples = Samples::default();
            samples.family(family, "", kind);
            samples.add_as(name, &[], 0, None);
            assert_eq!(written(&samples), expected);
        }
    }
}
