//! Tests of remote write 1.0: prost reads what we write, by messages that are declared here a second time.

use super::labels::LabelSet;
use super::*;
use crate::model::points::Point;
use crate::model::samples::{STALE_BITS, Samples};
use proptest::prelude::*;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<WireExemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct WireExemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    family: String,
    #[prost(string, tag = "4")]
    help: String,
    #[prost(string, tag = "5")]
    unit: String,
}

fn label(name: &str, value: &str) -> Label {
    Label { name: name.into(), value: value.into() }
}

fn labels(of: &[Label]) -> Vec<(&str, &str)> {
    of.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect()
}

fn point(value: f64, time_ms: i64) -> Point {
    Point { bits: value.to_bits(), time_ms, start_ms: 5 }
}

#[test]
fn a_request_is_what_prost_reads() {
    let mut samples = Samples::default();
    samples.family_with_unit("took_seconds", "How long.", Kind::Histogram, "seconds");
    samples.add_as("took_seconds_bucket", &[("le", "+Inf")], 0, None);
    for (key, time) in [(&b"\xff"[..], None), (b"\xffb\xff2\xffa\xff1\xff", Some(-7))] {
        samples.add_exemplar(key, 0.5f64.to_bits(), time);
    }
    samples.family("unknown", "", Kind::Unknown);
    samples.family("only_help", "Helps.", Kind::Unknown);

    let mut set = LabelSet::default();
    set.set_key(samples.iter().next().unwrap().key);
    set.add_target(&[("job", "node"), ("instance", "a:9100")], false);
    let mut encoded = Vec::new();
    set.encode(&mut encoded);
    let exemplars: Vec<_> = samples.exemplars().collect();
    let mut request = Vec::new();
    push_series(&encoded, &[point(1.5, 1000), point(0.0, 0), point(-3.0, -1)], &exemplars, &mut request);
    push_series(&[], &[], &[], &mut request);
    for family in samples.families() {
        push_metadata(&family, &mut request);
    }
    let read = WriteRequest::decode(&request[..]).unwrap();
    let value = |value, timestamp| Sample { value, timestamp };
    let exemplar = |labels: Vec<Label>, timestamp| WireExemplar { labels, value: 0.5, timestamp };
    let expected = WriteRequest {
        timeseries: vec![
            TimeSeries {
                labels: vec![
                    label("__name__", "took_seconds_bucket"),
                    label("instance", "a:9100"),
                    label("job", "node"),
                    label("le", "+Inf"),
                ],
                samples: vec![value(1.5, 1000), value(0.0, 0), value(-3.0, -1)],
                exemplars: vec![exemplar(vec![], -1), exemplar(vec![label("a", "1"), label("b", "2")], -7)],
            },
            TimeSeries::default(),
        ],
        metadata: vec![
            Metadata { kind: 3, family: "took_seconds".into(), help: "How long.".into(), unit: "seconds".into() },
            Metadata { kind: 0, family: "only_help".into(), help: "Helps.".into(), unit: String::new() },
        ],
    };
    assert_eq!(read, expected);
    assert_eq!(request, expected.encode_to_vec());
    let again: Vec<_> = labels_in(&encoded).map(|(_, name, _)| String::from_utf8(name.to_vec()).unwrap()).collect();
    assert_eq!(again, ["__name__", "instance", "job", "le"]);
}

#[test]
fn values_keep_their_bits() {
    for bits in [STALE_BITS, f64::NAN.to_bits(), (-0.0f64).to_bits(), 0, 1, u64::MAX] {
        let mut request = Vec::new();
        push_series(&[], &[Point { bits, time_ms: 1, start_ms: 0 }], &[], &mut request);
        let read = WriteRequest::decode(&request[..]).unwrap();
        assert_eq!(read.timeseries[0].samples[0].value.to_bits(), bits);
    }
}

#[track_caller]
fn assert_labels(set: &mut LabelSet, expected: &[(&str, &str)]) {
    let mut encoded = Vec::new();
    set.encode(&mut encoded);
    let mut request = Vec::new();
    push_series(&encoded, &[], &[], &mut request);
    let read = WriteRequest::decode(&request[..]).unwrap();
    assert_eq!(labels(&read.timeseries[0].labels), expected);
}

/// As Prometheus' documents say of `honor_labels`, and of external labels.
#[test]
fn labels_that_meet() {
    let key = b"up\xffjob\xffa\xffinstance\xff\xffx\xff1\xff";
    let target = [("job", "t"), ("instance", "i"), ("exported_job", "e")];
    let mut set = LabelSet::default();
    set.set_key(key);
    set.add_target(&target, false);
    set.add_external(&[("x", "no"), ("region", "eu")]);
    let name = ("__name__", "up");
    let expected = [
        name,
        ("exported_exported_job", "a"),
        ("exported_job", "e"),
        ("instance", "i"),
        ("job", "t"),
        ("region", "eu"),
        ("x", "1"),
    ];
    assert_labels(&mut set, &expected);

    set.set_key(key);
    set.add_target(&target, true);
    assert_eq!(set.get("instance"), "");
    assert_labels(&mut set, &[name, ("exported_job", "e"), ("job", "a"), ("x", "1")]);

    // Of those that step aside the shorter name does so first.
    set.set_key(b"m\xffexported_b\xff1\xffb\xff2\xff");
    set.add_target(&[("exported_b", "3"), ("b", "4")], false);
    let expected = [
        ("__name__", "m"),
        ("b", "4"),
        ("exported_b", "3"),
        ("exported_exported_b", "2"),
        ("exported_exported_exported_b", "1"),
    ];
    assert_labels(&mut set, &expected);

    set.set_key(b"m\xffa\xff1\xff");
    set.set("a", "");
    set.set("b", "2");
    set.set("b", "3");
    assert_labels(&mut set, &[("__name__", "m"), ("b", "3")]);
}

proptest! {
    /// Byte for byte what prost would have written, as long as no zero has a sign.
    #[test]
    fn requests_are_those_of_prost(
        series in prop::collection::vec((
            prop::collection::btree_map("[a-z]{1,9}", ".{1,20}", 0..6),
            prop::collection::vec((any::<f64>().prop_map(|v| v + 0.0), any::<i64>()), 0..4),
            prop::collection::vec((prop::collection::btree_map("[a-z]{1,3}", ".{1,9}", 0..3), any::<Option<i64>>()), 0..3),
        ), 0..5),
        families in prop::collection::vec(("[a-z]{1,9}", ".{0,200}", "[a-z]{0,3}"), 0..4),
    ) {
        let mut request = Vec::new();
        let mut expected = WriteRequest::default();
        for (set, points, others) in &series {
            let all = |set: &std::collections::BTreeMap<String, String>| set.iter().map(|(n, v)| label(n, v)).collect::<Vec<_>>();
            let mut encoded = Vec::new();
            for (name, value) in set {
                push_label(name, value, &mut encoded);
            }
            let keys: Vec<Vec<u8>> = others.iter().map(|(set, _)| {
                let pairs: Vec<String> = set.iter().rev().map(|(n, v)| format!("{n}\0{v}\0")).collect();
                let mut key = vec![0xff];
                key.extend(pairs.concat().bytes().map(|byte| if byte == 0 { 0xff } else { byte }));
                key
            }).collect();
            // A NUL in a value would have become an end.
            prop_assume!(others.iter().all(|(set, _)| set.values().all(|value| !value.contains('\0'))));
            let exemplars: Vec<_> = keys.iter().zip(others).map(|(key, (_, time_ms))| {
                crate::model::samples::Exemplar { sample: 0, key, bits: 2.0f64.to_bits(), time_ms: *time_ms }
            }).collect();
            let wire: Vec<_> = points.iter().map(|(value, time)| point(*value, *time)).collect();
            push_series(&encoded, &wire, &exemplars, &mut request);
            let last = points.last().map_or(0, |(_, time)| *time);
            expected.timeseries.push(TimeSeries {
                labels: all(set),
                samples: points.iter().map(|(value, timestamp)| Sample { value: *value, timestamp: *timestamp }).collect(),
                exemplars: others.iter().map(|(set, time)| WireExemplar { labels: all(set), value: 2.0, timestamp: time.unwrap_or(last) }).collect(),
            });
        }
        for (name, help, unit) in &families {
            push_metadata(&Family { name, help, unit, kind: Kind::Gauge }, &mut request);
            expected.metadata.push(Metadata { kind: 2, family: name.clone(), help: help.clone(), unit: unit.clone() });
        }
        prop_assert_eq!(request, expected.encode_to_vec());
    }
}
