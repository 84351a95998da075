//! Reads requests of remote write that were written here, of 1.0 and of 2.0: to send them in parts, without what is too old, or in the other version.
//!
//! Promises: what is read and written again in the same version says the same; from 2.0 to 1.0 times of beginning and metadata of series are left
//! behind, as 1.0 has no place for them. Bytes that are no request are an error. Leaves to others: when that is needed; it is rare, and allocates.

use crate::format::remote_write::wire::{Field, take_field, take_varint};
use crate::format::remote_write::{push_label, push_series};
use crate::format::remote_write_v2;
use crate::format::write_response::Protocol;
use crate::model::points::Point;
use crate::model::samples::{self, Exemplar, Family, Kind};

/// Why bytes are no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// They do not decompress, or to more than they may.
    #[error("its compression is damaged")]
    Snappy,
    /// They are no message of this version.
    #[error("it is no request of this version")]
    Message,
}

/// A request, series by series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoded {
    /// In their order.
    pub series: Vec<Series>,
    /// Encoded metadata of 1.0, which stands beside the series.
    pub metadata: Vec<u8>,
}

/// A series with its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    /// Its labels as [`push_label`] writes them.
    pub labels: Vec<u8>,
    /// Its values.
    pub points: Vec<Point>,
    exemplars: Vec<Example>,
    family: Option<OwnFamily>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Example {
    key: Vec<u8>,
    bits: u64,
    time_ms: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OwnFamily {
    kind: u64,
    help: String,
    unit: String,
}

impl Example {
    fn borrowed(&self) -> Exemplar<'_> {
        Exemplar { sample: 0, key: &self.key, bits: self.bits, time_ms: Some(self.time_ms) }
    }
}

impl Series {
    /// How many exemplars it has.
    pub fn exemplars(&self) -> usize {
        self.exemplars.len()
    }
}

/// Decompresses and reads a request that is at most `max_bytes` long before compression.
pub fn read(protocol: Protocol, body: &[u8], max_bytes: usize) -> Result<Decoded, ReadError> {
    let len = snap::raw::decompress_len(body).map_err(|_| ReadError::Snappy)?;
    if len > max_bytes {
        return Err(ReadError::Snappy);
    }
    let message = snap::raw::Decoder::new().decompress_vec(body).map_err(|_| ReadError::Snappy)?;
    match protocol {
        Protocol::V1 => read_v1(&message),
        Protocol::V2 => read_v2(&message),
    }
    .ok_or(ReadError::Message)
}

impl Decoded {
    /// Values in it.
    pub fn samples(&self) -> usize {
        self.series.iter().map(|series| series.points.len()).sum()
    }

    /// Exemplars in it.
    pub fn exemplars(&self) -> usize {
        self.series.iter().map(Series::exemplars).sum()
    }

    /// When its oldest and its newest value are of, milliseconds since 1970.
    pub fn times_ms(&self) -> Option<(i64, i64)> {
        let times = || self.series.iter().flat_map(|series| &series.points).map(|point| point.time_ms);
        times().min().zip(times().max())
    }

    /// Leaves out values from before this time, with exemplars of series that have none left. How many.
    pub fn drop_before(&mut self, time_ms: i64) -> usize {
        let before = self.samples();
        for series in &mut self.series {
            series.points.retain(|point| point.time_ms >= time_ms);
        }
        self.series.retain(|series| !series.points.is_empty());
        before - self.samples()
    }

    /// Two halves, in order. An error is the whole: there are not two series.
    pub fn halve(mut self) -> Result<(Decoded, Decoded), Decoded> {
        if self.series.len() < 2 {
            return Err(self);
        }
        let right = self.series.split_off(self.series.len() / 2);
        Ok((self, Decoded { series: right, metadata: Vec::new() }))
    }

    /// The message in a version, not compressed.
    pub fn message(&self, protocol: Protocol) -> Vec<u8> {
        let mut out = Vec::new();
        let mut second = remote_write_v2::Request::default();
        for series in &self.series {
            let exemplars: Vec<Exemplar<'_>> = series.exemplars.iter().map(Example::borrowed).collect();
            match protocol {
                Protocol::V1 => push_series(&series.labels, &series.points, &exemplars, &mut out),
                Protocol::V2 => {
                    let family = series.family.as_ref().map(|family| Family {
                        name: "",
                        help: &family.help,
                        unit: &family.unit,
                        kind: kind(family.kind),
                    });
                    second.push_series(&series.labels, &series.points, &exemplars, family.as_ref());
                }
            }
        }
        match protocol {
            Protocol::V1 => out.extend_from_slice(&self.metadata),
            Protocol::V2 => second.finish(&mut out),
        }
        out
    }

    /// The same, compressed, and how long it was before. `None`: it is larger than snappy takes, 4 GiB.
    pub fn body(&self, protocol: Protocol) -> Option<(Vec<u8>, usize)> {
        let message = self.message(protocol);
        Some((snap::raw::Encoder::new().compress_vec(&message).ok()?, message.len()))
    }
}

fn kind(number: u64) -> Kind {
    let all = [
        Kind::Unknown,
        Kind::Counter,
        Kind::Gauge,
        Kind::Histogram,
        Kind::GaugeHistogram,
        Kind::Summary,
        Kind::Info,
        Kind::StateSet,
    ];
    all.into_iter().find(|kind| *kind as u64 == number).unwrap_or_default()
}

fn read_v1(mut message: &[u8]) -> Option<Decoded> {
    let mut decoded = Decoded::default();
    while !message.is_empty() {
        let before = message;
        match take_field(&mut message)? {
            (1, Field::Bytes(series)) => decoded.series.push(series_v1(series)?),
            // Metadata goes on as it is.
            _ => decoded.metadata.extend_from_slice(before.get(..before.len() - message.len())?),
        }
    }
    Some(decoded)
}

fn series_v1(mut message: &[u8]) -> Option<Series> {
    let mut series = Series::default();
    while !message.is_empty() {
        let before = message;
        match take_field(&mut message)? {
            (1, Field::Bytes(_)) => series.labels.extend_from_slice(before.get(..before.len() - message.len())?),
            (2, Field::Bytes(point)) => series.points.push(read_point(point)?),
            (3, Field::Bytes(mut exemplar)) => {
                let mut of = Example::default();
                samples::begin_key(b"", &mut of.key);
                while !exemplar.is_empty() {
                    match take_field(&mut exemplar)? {
                        (1, Field::Bytes(mut label)) => {
                            let (mut name, mut value) = (&b""[..], &b""[..]);
                            while !label.is_empty() {
                                match take_field(&mut label)? {
                                    (1, Field::Bytes(text)) => name = text,
                                    (2, Field::Bytes(text)) => value = text,
                                    _ => return None,
                                }
                            }
                            samples::push_label(name, value, &mut of.key);
                        }
                        (2, Field::Fixed(bits)) => of.bits = bits,
                        (3, Field::Number(time)) => of.time_ms = time as i64,
                        _ => return None,
                    }
                }
                series.exemplars.push(of);
            }
            _ => return None,
        }
    }
    Some(series)
}

/// A value of either version.
fn read_point(mut message: &[u8]) -> Option<Point> {
    let mut point = Point::default();
    while !message.is_empty() {
        match take_field(&mut message)? {
            (1, Field::Fixed(bits)) => point.bits = bits,
            (2, Field::Number(time)) => point.time_ms = time as i64,
            (3, Field::Number(time)) => point.start_ms = time as i64,
            _ => return None,
        }
    }
    Some(point)
}

fn read_v2(message: &[u8]) -> Option<Decoded> {
    let mut symbols: Vec<&str> = Vec::new();
    let mut all: Vec<&[u8]> = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        match take_field(&mut rest)? {
            (4, Field::Bytes(symbol)) => symbols.push(std::str::from_utf8(symbol).ok()?),
            (5, Field::Bytes(series)) => all.push(series),
            _ => return None,
        }
    }
    let series = all.into_iter().map(|series| series_v2(series, &symbols)).collect::<Option<_>>()?;
    Some(Decoded { series, metadata: Vec::new() })
}

fn series_v2(mut message: &[u8], symbols: &[&str]) -> Option<Series> {
    let symbol = |number: u64| usize::try_from(number).ok().and_then(|at| symbols.get(at)).copied();
    // Names and values, from packed numbers.
    let pairs = |mut packed: &[u8], each: &mut dyn FnMut(&str, &str)| -> Option<()> {
        while !packed.is_empty() {
            let name = symbol(take_varint(&mut packed)?)?;
            let value = symbol(take_varint(&mut packed)?)?;
            each(name, value);
        }
        Some(())
    };
    let mut series = Series::default();
    while !message.is_empty() {
        match take_field(&mut message)? {
            (1, Field::Bytes(packed)) => {
                pairs(packed, &mut |name, value| push_label(name, value, &mut series.labels))?;
            }
            (2, Field::Bytes(point)) => series.points.push(read_point(point)?),
            (4, Field::Bytes(mut exemplar)) => {
                let mut of = Example::default();
                samples::begin_key(b"", &mut of.key);
                while !exemplar.is_empty() {
                    match take_field(&mut exemplar)? {
                        (1, Field::Bytes(packed)) => {
                            pairs(packed, &mut |name, value| {
                                samples::push_label(name.as_bytes(), value.as_bytes(), &mut of.key);
                            })?;
                        }
                        (2, Field::Fixed(bits)) => of.bits = bits,
                        (3, Field::Number(time)) => of.time_ms = time as i64,
                        _ => return None,
                    }
                }
                series.exemplars.push(of);
            }
            (5, Field::Bytes(mut metadata)) => {
                let mut family = OwnFamily::default();
                while !metadata.is_empty() {
                    match take_field(&mut metadata)? {
                        (1, Field::Number(kind)) => family.kind = kind,
                        (3, Field::Number(help)) => symbol(help)?.clone_into(&mut family.help),
                        (4, Field::Number(unit)) => symbol(unit)?.clone_into(&mut family.unit),
                        _ => return None,
                    }
                }
                series.family = Some(family);
            }
            _ => return None,
        }
    }
    Some(series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::remote_write::push_metadata;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Written = (BTreeMap<String, String>, Vec<(u64, i64, i64)>, Vec<(BTreeMap<String, String>, u64, i64)>);

    fn written() -> impl Strategy<Value = Vec<Written>> {
        let labels = || prop::collection::btree_map("[a-c]{1,3}", "[^\u{0}]{1,9}", 0..4);
        let points = prop::collection::vec((any::<u64>(), any::<i64>(), any::<i64>()), 0..4);
        let exemplars = prop::collection::vec((labels(), any::<u64>(), any::<i64>()), 0..3);
        prop::collection::vec((labels(), points, exemplars), 0..9)
    }

    /// The request in a version, with what is read of it expected to be what was written.
    fn message(protocol: Protocol, all: &[Written]) -> Vec<u8> {
        let family = Family { name: "f", help: "Helps.", unit: "", kind: Kind::Summary };
        let (mut out, mut second) = (Vec::new(), remote_write_v2::Request::default());
        for (labels, points, exemplars) in all {
            let mut encoded = Vec::new();
            labels.iter().for_each(|(name, value)| push_label(name, value, &mut encoded));
            let points: Vec<Point> =
                points.iter().map(|&(bits, time_ms, start_ms)| Point { bits, time_ms, start_ms }).collect();
            let keys: Vec<Vec<u8>> = exemplars
                .iter()
                .map(|(labels, ..)| {
                    let mut key = Vec::new();
                    samples::begin_key(b"", &mut key);
                    labels.iter().for_each(|(n, v)| samples::push_label(n.as_bytes(), v.as_bytes(), &mut key));
                    key
                })
                .collect();
            let exemplars: Vec<_> = keys
                .iter()
                .zip(exemplars)
                .map(|(key, (_, bits, time))| Exemplar { sample: 0, key, bits: *bits, time_ms: Some(*time) })
                .collect();
            push_series(&encoded, &points, &exemplars, &mut out);
            second.push_series(&encoded, &points, &exemplars, Some(&family));
        }
        if protocol == Protocol::V2 {
            out.clear();
            second.finish(&mut out);
        } else {
            push_metadata(&family, &mut out);
        }
        out
    }

    fn again(protocol: Protocol, message: &[u8]) -> Decoded {
        let body = snap::raw::Encoder::new().compress_vec(message).unwrap();
        read(protocol, &body, 1 << 20).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(all in written()) {
            for protocol in [Protocol::V1, Protocol::V2] {
                let message = message(protocol, &all);
                let decoded = again(protocol, &message);
                prop_assert_eq!(decoded.message(protocol), message);
                prop_assert_eq!(decoded.samples(), all.iter().map(|(_, points, _)| points.len()).sum::<usize>());
            }
        }

        /// 2.0 as 1.0 is what 1.0 would have been, without metadata.
        #[test]
        fn the_newer_version_becomes_the_older(all in written()) {
            let second = again(Protocol::V2, &message(Protocol::V2, &all));
            let mut first = again(Protocol::V1, &message(Protocol::V1, &all));
            first.metadata.clear();
            prop_assert_eq!(second.message(Protocol::V1), first.message(Protocol::V1));
        }

        #[test]
        fn halves_are_the_whole(all in written()) {
            let whole = again(Protocol::V1, &message(Protocol::V1, &all));
            match whole.clone().halve() {
                Ok((left, right)) => {
                    prop_assert!(!left.series.is_empty() && !right.series.is_empty());
                    prop_assert_eq!([left.series, right.series].concat(), whole.series);
                    prop_assert_eq!(left.metadata, whole.metadata);
                }
                Err(same) => prop_assert!(same == whole && whole.series.len() < 2),
            }
        }

        #[test]
        fn what_is_too_old_goes(all in written(), time_ms: i64) {
            let mut decoded = again(Protocol::V1, &message(Protocol::V1, &all));
            let old = all.iter().flat_map(|(_, points, _)| points).filter(|point| point.1 < time_ms).count();
            prop_assert_eq!(decoded.drop_before(time_ms), old);
            prop_assert!(decoded.times_ms().is_none_or(|(oldest, _)| oldest >= time_ms));
        }

        #[test]
        fn any_bytes_are_a_request_or_an_error(bytes: Vec<u8>) {
            for protocol in [Protocol::V1, Protocol::V2] {
                let _ = read(protocol, &bytes, 1000);
                let _ = read(protocol, &snap::raw::Encoder::new().compress_vec(&bytes).unwrap(), 1000);
            }
        }
    }

    #[test]
    fn what_is_too_large_is_an_error() {
        let body = snap::raw::Encoder::new().compress_vec(&[0; 1001]).unwrap();
        assert_eq!(read(Protocol::V1, &body, 1000), Err(ReadError::Snappy));
    }
}
