//! Tests of remote write 2.0: prost reads what we write, by messages that are declared here a second time.

use super::*;
use crate::format::remote_write::push_label;
use crate::model::samples::STALE_BITS;
use proptest::prelude::*;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct WireRequest {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<WireExemplar>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(int64, tag = "3")]
    start_timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct WireExemplar {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Metadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint32, tag = "3")]
    help_ref: u32,
    #[prost(uint32, tag = "4")]
    unit_ref: u32,
}

fn encoded(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in pairs {
        push_label(name, value, &mut out);
    }
    out
}

fn read(request: &Request) -> WireRequest {
    let mut out = Vec::new();
    request.finish(&mut out);
    assert_eq!(out.len(), request.encoded_len());
    WireRequest::decode(&out[..]).unwrap()
}

impl WireRequest {
    fn texts(&self, refs: &[u32]) -> Vec<(&str, &str)> {
        refs.chunks(2).map(|pair| (&*self.symbols[pair[0] as usize], &*self.symbols[pair[1] as usize])).collect()
    }
}

#[test]
fn a_request_is_what_prost_reads() {
    let mut request = Request::default();
    assert_eq!(read(&request).symbols, [""]);
    let family = Family { name: "x", help: "Helps.", unit: "", kind: Kind::Counter };
    let nothing = Family { name: "y", help: "", unit: "", kind: Kind::Unknown };
    let exemplar = |key, time_ms| Exemplar { sample: 0, key, bits: 0.5f64.to_bits(), time_ms };
    let points = [
        Point { bits: 1.5f64.to_bits(), time_ms: 10, start_ms: 3 },
        Point { bits: STALE_BITS, time_ms: 20, start_ms: 0 },
    ];
    let exemplars = [exemplar(b"\xffb\xff2\xffa\xffnode\xff", None), exemplar(b"\xff", Some(7))];
    let first = [("__name__", "x_total"), ("job", "node"), ("mode", "idle")];
    let second = [("__name__", "x_total"), ("job", "node"), ("mode", "job")];
    for round in 0..2 {
        request.push_series(&encoded(&first), &points, &exemplars, Some(&family));
        request.push_series(&encoded(&second), &points[..1], &[], Some(&family));
        request.push_series(&[], &[], &[], Some(&nothing));
        assert_eq!(request.len(), 3);
        let read = read(&request);
        let mut symbols = read.symbols.clone();
        assert_eq!(symbols[0], "");
        symbols.sort();
        symbols.dedup();
        assert_eq!(symbols.len(), read.symbols.len(), "round {round}");
        assert_eq!(symbols.len(), 11);
        let [one, two, three] = &read.timeseries[..] else { panic!("{read:?}") };
        assert_eq!((read.texts(&one.labels_refs), read.texts(&two.labels_refs)), (first.to_vec(), second.to_vec()));
        assert_eq!(one.samples[0], Sample { value: 1.5, timestamp: 10, start_timestamp: 3 });
        assert_eq!((one.samples[1].value.to_bits(), one.samples[1].timestamp), (STALE_BITS, 20));
        assert_eq!(read.texts(&one.exemplars[0].labels_refs), [("a", "node"), ("b", "2")]);
        let rest: Vec<_> = one.exemplars.iter().map(|e| (e.value, e.timestamp)).collect();
        assert_eq!(rest, [(0.5, 20), (0.5, 7)]);
        let metadata = two.metadata.unwrap();
        assert_eq!((metadata.kind, &*read.symbols[metadata.help_ref as usize], metadata.unit_ref), (1, "Helps.", 0));
        assert_eq!(three, &TimeSeries::default());
        request.clear();
        assert!(request.is_empty());
    }
}

proptest! {
    /// The labels that come out are those that went in, whichever series were before, and no symbol is there twice.
    #[test]
    fn labels_come_out_as_they_went_in(
        series in prop::collection::vec(prop::collection::btree_map("[a-c]{1,2}", "[a-d]{1,2}|.{1,200}", 0..6), 0..20),
        help in ".{0,9}",
    ) {
        let mut request = Request::default();
        let family = Family { name: "", help: &help, unit: "ab", kind: Kind::Gauge };
        let sets: Vec<Vec<(&str, &str)>> =
            series.iter().map(|set| set.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()).collect();
        for set in &sets {
            request.push_series(&encoded(set), &[], &[], Some(&family));
        }
        let read = read(&request);
        for (set, series) in sets.iter().zip(&read.timeseries) {
            prop_assert_eq!(&read.texts(&series.labels_refs), set);
            let metadata = series.metadata.unwrap();
            prop_assert_eq!(&read.symbols[metadata.help_ref as usize], &help);
            prop_assert_eq!(&read.symbols[metadata.unit_ref as usize], "ab");
        }
        prop_assert_eq!(read.timeseries.len(), sets.len());
        let mut symbols = read.symbols.clone();
        symbols.sort();
        symbols.dedup();
        prop_assert_eq!(symbols.len(), read.symbols.len());
    }
}
