//! Tests of the encoder: prost's encoding of the same request is the oracle, byte for byte.

use super::*;
use crate::format::loki::{EntryAdapter, PushRequest, StreamAdapter, Timestamp};
use proptest::prelude::*;
use prost::Message;

/// One call of [`append_entries`]: its lines and its time.
type Run = (Vec<Vec<u8>>, i64);

/// What lies between two lines of a chunk.
const GAP: &[u8] = b"\r\n";

fn ours(streams: &[(String, Vec<Run>)]) -> Vec<u8> {
    let mut request = Vec::new();
    // One buffer for all: what a stream leaves behind must not show in the next.
    let mut buffer = Vec::new();
    for (labels, runs) in streams {
        let field = labels_field(labels);
        begin_stream(&mut buffer, &field);
        for (lines, time_ns) in runs {
            let mut bytes = Vec::new();
            let mut spans = Vec::new();
            for line in lines {
                let start = bytes.len() as u32;
                bytes.extend_from_slice(line);
                spans.push(Span { start, end: bytes.len() as u32 });
                bytes.extend_from_slice(GAP);
            }
            append_entries(&mut buffer, &bytes, &spans, *time_ns);
        }
        request.extend_from_slice(finish_stream(&mut buffer, &field));
    }
    request
}

/// The time of a line, without the bound of 64 bits.
fn timestamp(time_ns: i64, line: usize) -> Timestamp {
    let ns = i128::from(time_ns) + line as i128;
    let seconds = i64::try_from(ns.div_euclid(1_000_000_000)).unwrap();
    Timestamp { seconds, nanos: i32::try_from(ns.rem_euclid(1_000_000_000)).unwrap() }
}

fn oracle(streams: &[(String, Vec<Run>)]) -> PushRequest {
    let entries = |runs: &[Run]| {
        runs.iter()
            .flat_map(|(lines, time_ns)| {
                lines.iter().enumerate().map(|(i, line)| EntryAdapter {
                    timestamp: Some(timestamp(*time_ns, i)),
                    line: line.clone(),
                    structured_metadata: Vec::new(),
                })
            })
            .collect()
    };
    let streams = streams
        .iter()
        .map(|(labels, runs)| StreamAdapter { labels: labels.clone(), entries: entries(runs), hash: 0 })
        .collect();
    PushRequest { streams }
}

/// The first difference, shown briefly: a request may have megabytes.
fn difference(streams: &[(String, Vec<Run>)]) -> Option<String> {
    let (ours, prosts) = (ours(streams), oracle(streams).encode_to_vec());
    if ours == prosts {
        return None;
    }
    let at = ours.iter().zip(&prosts).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| bytes[at.saturating_sub(20).min(bytes.len())..(at + 20).min(bytes.len())].to_vec();
    Some(format!(
        "lengths {} and {}, byte {at}: {:02x?} instead of {:02x?}",
        ours.len(),
        prosts.len(),
        around(&ours),
        around(&prosts)
    ))
}

#[track_caller]
fn same(labels: &str, runs: Vec<Run>) {
    let streams = [(labels.to_owned(), runs)];
    assert_eq!(difference(&streams), None, "labels of {} bytes", labels.len());
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => Just(Vec::new()),
        8 => ".{0,60}".prop_map(String::into_bytes),
        4 => "[ -~äß€𝄞]{0,200}".prop_map(String::into_bytes),
        // Lengths at which a length takes one byte more.
        4 => (prop_oneof![100usize..140, 16_300usize..16_420]).prop_map(|len| vec![b'x'; len]),
        1 => (0usize..300 * 1024).prop_map(|len| vec![b'y'; len]),
    ]
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        // Just before, at and after a full second, 1970 and the years before it included.
        (-3i64..2_000_000_000, -5i64..5).prop_map(|(s, ns)| s * 1_000_000_000 + ns),
        (1_600_000_000i64..2_000_000_000, 0i64..1_000_000_000).prop_map(|(s, ns)| s * 1_000_000_000 + ns),
        Just(0),
        Just(i64::MAX),
        Just(i64::MIN),
    ]
}

fn any_labels() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\{a=\"[a-zä]{1,30}\"\\}",
        prop_oneof![100usize..140, 16_300usize..16_420].prop_map(|len| format!("{{a=\"{}\"}}", "v".repeat(len))),
    ]
}

fn any_runs() -> impl Strategy<Value = Vec<Run>> {
    prop::collection::vec((prop::collection::vec(any_line(), 0..12), any_time()), 0..4)
}

proptest! {
    #[test]
    fn the_bytes_are_those_of_prost(streams in prop::collection::vec((any_labels(), any_runs()), 0..4)) {
        let found = difference(&streams);
        prop_assert!(found.is_none(), "{}", found.unwrap_or_default());
    }

    #[test]
    fn a_length_is_as_long_as_it_says(value: u64, bits in 0u32..64) {
        for value in [value, value >> bits, (1u64 << bits) - 1, 1u64 << bits] {
            let mut out = Vec::new();
            push_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            prop_assert_eq!(prost::encoding::decode_varint(&mut out.as_slice()), Ok(value));
        }
    }
}

#[test]
fn headers_of_every_length_of_labels_and_entries() {
    let labels = (2..4).chain(110..132).chain(16_370..16_390).chain(2_097_140..2_097_156);
    for len in labels {
        let labels = format!("{{{}}}", "l".repeat(len - 2));
        let lines = if len < 1_000 { vec![0, 1, 5, 100, 16_200] } else { vec![0, 1] };
        for line in lines {
            same(&labels, vec![(vec![vec![b'x'; line]], 1_700_000_000_123_456_789)]);
        }
    }
    // The whole stream around the lengths at which its header grows, a byte at a time.
    for line in (60..140).chain(16_300..16_400) {
        same("{a=\"b\"}", vec![(vec![vec![b'x'; line]], 1_700_000_000_000_000_001)]);
    }
}

#[test]
fn a_second_ends_between_two_lines() {
    let lines = vec![b"line".to_vec(); 10];
    for before in 0..11 {
        same("{a=\"b\"}", vec![(lines.clone(), 1_700_000_000_000_000_000 - before)]);
        same("{a=\"b\"}", vec![(lines.clone(), -before)]);
    }
}

#[test]
fn spans_outside_of_the_bytes_are_passed_over_and_take_their_time() {
    let field = labels_field("{a=\"b\"}");
    let mut buffer = Vec::new();
    begin_stream(&mut buffer, &field);
    let spans = [(0, 2), (1, 9), (9, 12), (3, 1), (2, 4)].map(|(start, end)| Span { start, end });
    append_entries(&mut buffer, b"abcd", &spans, 7);
    let request = PushRequest::decode(finish_stream(&mut buffer, &field)).unwrap();
    let found: Vec<_> = request.streams[0].entries.iter().map(|e| (e.ns(), e.text().into_owned())).collect();
    assert_eq!(found, [(7, "ab".to_owned()), (11, "cd".to_owned())]);
}

#[test]
fn a_buffer_that_was_never_begun_gives_nothing() {
    let field = labels_field("{a=\"b\"}");
    assert_eq!(finish_stream(&mut [], &field), b"");
}
