//! Writes requests of Prometheus' remote write 1.0, `prometheus.WriteRequest`, and the labels that both versions are made of.
//!
//! A request is its fields one after the other, so it is a buffer that series and metadata are appended to. A series' labels are encoded once and
//! kept ([`cache`]): what a sample costs is a copy of them and two numbers.
//!
//! Promises: labels are sorted by their bytes, and none is empty or there twice; values are written by their bits, a stale marker as well.
//! Leaves to others: compression, the order of times within a series, and the size of requests.

pub mod cache;
pub mod labels;
#[cfg(test)]
#[path = "remote_write_tests.rs"]
mod tests;
pub(crate) mod wire;

use crate::model::points::Point;
use crate::model::samples::{Exemplar, Family, Kind, labels_of};
use wire::{bytes_len, double_len, number_len, push_double, push_number, push_text, push_varint, text_len};

/// `WriteRequest.timeseries`, and `TimeSeries.labels`.
const FIELD_1: u8 = 1;
/// `TimeSeries.samples`, and the second of what is in it.
const FIELD_2: u8 = 2;
/// `WriteRequest.metadata`, and `TimeSeries.exemplars`.
const FIELD_3: u8 = 3;

/// Appends a label to those of a series. They have to come sorted by name.
pub fn push_label(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(FIELD_1 << 3 | 2);
    push_varint((text_len(name.len()) + text_len(value.len())) as u64, out);
    push_text(FIELD_1, name, out);
    push_text(FIELD_2, value, out);
}

/// How long such a label is.
fn label_len(name: &str, value: &str) -> usize {
    bytes_len(text_len(name.len()) + text_len(value.len()))
}

/// The labels that [`push_label`] wrote: each as a whole field, its name and its value.
pub fn labels_in(mut labels: &[u8]) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
    std::iter::from_fn(move || {
        let before = labels;
        let mut label = wire::take_bytes(FIELD_1, &mut labels)?;
        let name = wire::take_bytes(FIELD_1, &mut label).unwrap_or_default();
        let value = wire::take_bytes(FIELD_2, &mut label).unwrap_or_default();
        Some((before.get(..before.len() - labels.len())?, name, value))
    })
}

/// Appends a series: its encoded labels, its values in the order of their times, and its exemplars. An exemplar without a time has that of the
/// last value.
pub fn push_series(labels: &[u8], points: &[Point], exemplars: &[Exemplar], out: &mut Vec<u8>) {
    let last_ms = points.last().map_or(0, |point| point.time_ms);
    let samples: usize = points.iter().map(|point| bytes_len(point_len(point))).sum();
    let others: usize = exemplars.iter().map(|exemplar| bytes_len(exemplar_len(exemplar, last_ms))).sum();
    out.push(FIELD_1 << 3 | 2);
    push_varint((labels.len() + samples + others) as u64, out);
    out.extend_from_slice(labels);
    for point in points {
        out.push(FIELD_2 << 3 | 2);
        push_varint(point_len(point) as u64, out);
        push_double(FIELD_1, point.bits, out);
        push_number(FIELD_2, point.time_ms, out);
    }
    for exemplar in exemplars {
        out.push(FIELD_3 << 3 | 2);
        push_varint(exemplar_len(exemplar, last_ms) as u64, out);
        sorted(exemplar.key, |name, value| push_label(name, value, out));
        push_double(FIELD_2, exemplar.bits, out);
        push_number(FIELD_3, exemplar.time_ms.unwrap_or(last_ms), out);
    }
}

fn point_len(point: &Point) -> usize {
    double_len(point.bits) + number_len(point.time_ms)
}

fn exemplar_len(exemplar: &Exemplar, last_ms: i64) -> usize {
    let labels: usize = labels_of(exemplar.key).map(|(name, value)| label_len(name, value)).sum();
    labels + double_len(exemplar.bits) + number_len(exemplar.time_ms.unwrap_or(last_ms))
}

/// The labels of an exemplar, sorted by name. There are few, so that looking for the next one each time costs less than memory would.
pub(crate) fn sorted(key: &[u8], mut each: impl FnMut(&str, &str)) {
    let mut last = "";
    while let Some((name, value)) = labels_of(key).filter(|(name, _)| *name > last).min_by_key(|(name, _)| *name) {
        each(name, value);
        last = name;
    }
}

/// Appends what is known of a family; nothing if nothing is.
pub fn push_metadata(family: &Family, out: &mut Vec<u8>) {
    if family.kind == Kind::Unknown && family.help.is_empty() && family.unit.is_empty() {
        return;
    }
    let kind = i64::from(family.kind as u8);
    let texts = [(2, family.name), (4, family.help), (5, family.unit)];
    let len = number_len(kind) + texts.iter().map(|(_, text)| text_len(text.len())).sum::<usize>();
    out.push(FIELD_3 << 3 | 2);
    push_varint(len as u64, out);
    push_number(FIELD_1, kind, out);
    for (field, text) in texts {
        push_text(field, text, out);
    }
}
