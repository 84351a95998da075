//! Requests of remote write: what prost reads of them is what was put in, in both versions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::remote_write::{
    Point,
    cache::{Series, SeriesCache},
    labels::LabelSet,
    push_series,
};
use lugger::format::remote_write_v2::Request;
use lugger::model::samples::Samples;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct First {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<FirstSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct FirstSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Second {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<SecondSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct SecondSeries {
    #[prost(uint32, repeated, tag = "1")]
    labels: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

type Given<'a> = Vec<(&'a str, Vec<(&'a str, &'a str)>, u64, i64)>;

fuzz_target!(|input: (Given, bool, u8)| {
    let (given, honor, bound) = input;
    let mut samples = Samples::default();
    samples.family("", "", Default::default());
    for (name, labels, bits, _) in &given {
        samples.add_as(name, labels, *bits, None);
    }
    let (mut first, mut second) = (Vec::new(), Request::default());
    let (mut cache, mut set) = (SeriesCache::new(bound.into(), 1000), LabelSet::default());
    cache.begin(1);
    let mut sent = Vec::new();
    for (sample, (.., time_ms)) in samples.iter().zip(&given) {
        let found = cache.get(sample.key, true, &mut |key, out| {
            set.set_key(key);
            set.add_target(&[("job", "j"), ("instance", "i")], honor);
            set.encode(out);
            true
        });
        let Series::Labels(labels) = found else { continue };
        let point = Point { bits: sample.bits, time_ms: *time_ms, start_ms: 0 };
        push_series(labels, &[point], &[], &mut first);
        second.push_series(labels, &[point], &[], None);
        sent.push((sample.bits, *time_ms));
    }
    let first = First::decode(&first[..]).unwrap();
    let mut bytes = Vec::new();
    second.finish(&mut bytes);
    let second = Second::decode(&bytes[..]).unwrap();
    assert_eq!((first.timeseries.len(), second.timeseries.len()), (sent.len(), sent.len()));
    for ((one, two), (bits, time_ms)) in first.timeseries.iter().zip(&second.timeseries).zip(sent) {
        for samples in [&one.samples, &two.samples] {
            assert_eq!((samples[0].value.to_bits(), samples[0].timestamp), (bits, time_ms));
        }
        let labels: Vec<_> = one.labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect();
        let symbols: Vec<_> = two
            .labels
            .chunks(2)
            .map(|pair| (&*second.symbols[pair[0] as usize], &*second.symbols[pair[1] as usize]))
            .collect();
        assert_eq!(labels, symbols);
        assert!(labels.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        assert!(labels.iter().all(|(_, value)| !value.is_empty()));
    }
});
