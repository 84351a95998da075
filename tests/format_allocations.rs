//! Reading a line in one of the formats of the data path allocates nothing, once the buffers have grown.

#[path = "support/allocations.rs"]
mod allocations;

use allocations::{Counting, allocations};
use lugger::format::prometheus::{parse, text};
use lugger::format::remote_write::{self, cache::Series, cache::SeriesCache, labels::LabelSet};
use lugger::format::{cri, docker, json, logfmt, remote_write_v2, rfc3339};
use lugger::model::points::{Point, Points};
use lugger::model::samples::Samples;
use lugger::pipeline::relabel;
use lugger::source::series;
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Lines of each kind, each read so often.
const ROUNDS: usize = 100;

/// What `read` allocates for all lines after it has seen each of them once. It gets the scratch buffer empty.
#[track_caller]
fn assert_none(lines: &[&str], mut read: impl FnMut(&str, &mut String)) {
    let mut scratch = String::new();
    let mut all = |rounds: usize| {
        for line in lines.iter().cycle().take(rounds * lines.len()) {
            scratch.clear();
            read(black_box(line), &mut scratch);
        }
    };
    all(1);
    assert_eq!(allocations(|| all(ROUNDS)), 0);
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(Vec::<u8>::with_capacity(8)))), 1);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn logfmt_lines() {
    let fields = logfmt::Fields::new(&["level", "msg", "took"]);
    let mut found = [None; 3];
    let lines = [
        "ts=2026-08-01T10:00:00Z level=info msg=\"all is well\" took=12ms",
        "level=warn msg=\"with \\\"escapes\\\"\\n\" took=1s level=info",
        "level= msg='single' other",
        "level=x msg=\"open",
    ];
    assert_none(&lines, |line, scratch| {
        let _ = black_box(fields.find(line, scratch, &mut found));
    });
    assert!(found.iter().any(Option::is_some));
}

#[test]
fn plain_json_paths() {
    let expressions =
        json::Expressions::compile(&["level", "http.status", "tags[1]", "http", "n", "tags", "\"x-y\""]).unwrap();
    let (mut work, mut found) = (json::Work::default(), [None; 7]);
    let lines = [
        r#"{"level":"info","msg":"all is well","http":{"status":200,"path":"/"},"tags":["a","b"],"n":1.50,"x-y":null}"#,
        r#"{"level":"esc\naped","http":{"z":{"b":1,"a":"<\u00e4>"},"\u0061":1e300},"t\u0061gs":[],"n":12345678901234567890}"#,
        r#"{"level":"x","broken"#,
    ];
    assert_none(&lines, |line, scratch| {
        let _ = black_box(expressions.find(line, &mut work, scratch, &mut found));
    });
}

#[test]
fn docker_lines() {
    let mut work = json::Work::default();
    let lines = [
        r#"{"log":"hello\n","stream":"stdout","time":"2026-08-01T10:00:00.123456789Z"}"#,
        r#"{"log":"a \"b\" \u001b[0m\n","stream":"stderr","attrs":{"tag":"x"},"time":"2026-08-01T10:00:00Z"}"#,
        r#"{"log":{"b":1,"a":2.50}}"#,
        "i'm not json",
    ];
    assert_none(&lines, |line, scratch| {
        let _ = black_box(docker::parse(line, &mut work, scratch));
    });
}

#[test]
fn cri_lines_and_times() {
    let lines =
        ["2026-08-01T10:00:00.123456789+02:00 stdout F hello", "2026-08-01T10:00:00Z stderr P half", "something else"];
    assert_none(&lines, |line, _| {
        let _ = black_box(cri::parse(line));
    });
    assert_none(&["2026-08-01T10:00:00.123456789+02:00", "x"], |line, _| {
        black_box(rfc3339::parse(line));
    });
}

/// Samples of every kind, as a target has them.
const METRICS: &str = r##"# HELP http_requests_total All "requests" \\ of it.
# TYPE http_requests_total counter
http_requests_total{code="200",path="/a\"b"} 1027 1395066363000
{"cpu",mode="idle"} 1.785571200123e+09
load 0.25
# TYPE took histogram
took_bucket{le="0.5"} 1
took_bucket{le="+Inf"} NaN
"##;
const OPEN_METRICS: &str = r##"# HELP requests All \"requests\".
# TYPE requests counter
requests_total{code="200",path="/a\"b"} 1027 1395066363.123 # {trace_id="0242ac\"120002"} 0.67 1395066363.1
# UNIT took_seconds seconds
took_seconds 1e-3
# EOF
"##;

#[test]
fn texts_of_samples() {
    let (mut parser, mut samples) = (parse::Parser::default(), Samples::default());
    let (mut writer, mut out) = (text::Writer::default(), Vec::new());
    for (form, body) in [(parse::Form::Text, METRICS), (parse::Form::OpenMetrics, OPEN_METRICS)] {
        assert_none(&[body], |body, _| {
            samples.clear();
            assert!(parser.parse(form, body.as_bytes(), &mut samples).is_ok());
            out.clear();
            writer.write(black_box(&samples), &mut out);
        });
    }
}

#[test]
fn requests_of_samples() {
    let mut samples = Samples::default();
    let mut parser = parse::Parser::default();
    parser.parse(parse::Form::Text, METRICS.as_bytes(), &mut samples).unwrap();
    let (mut cache, mut labels) = (SeriesCache::new(100, 10_000), LabelSet::default());
    let (mut request, mut second, mut out) = (Vec::new(), remote_write_v2::Request::default(), Vec::new());
    let families: Vec<_> = samples.families().collect();
    assert_none(&[METRICS], |_, _| {
        request.clear();
        second.clear();
        out.clear();
        cache.begin(2);
        for sample in samples.iter() {
            let found = cache.get(sample.key, true, &mut |key, out| {
                labels.set_key(key);
                labels.add_target(&[("job", "node"), ("instance", "a")], false);
                labels.encode(out);
                true
            });
            let Series::Labels(labels) = found else { panic!("{}", sample.name()) };
            let points = [Point { bits: sample.bits, time_ms: 1_785_571_200_123, start_ms: 1 }];
            remote_write::push_series(labels, &points, &[], &mut request);
            second.push_series(labels, &points, &[], families.get(sample.family));
        }
        second.finish(&mut out);
    });
    assert!(!request.is_empty() && !out.is_empty());
}

#[test]
fn known_series_of_a_target() {
    let settings = series::Settings {
        relabel: vec![relabel::Settings {
            source_labels: vec!["__name__".into()],
            regex: Some("(.*)".into()),
            target_label: "copy".into(),
            ..relabel::Settings::default()
        }],
        outer: vec![("host".into(), "web-1".into())],
        extra_metrics: true,
        // The same time again would be no sample.
        honor_timestamps: false,
        ..series::Settings::default()
    };
    let target = vec![("instance".to_owned(), "127.0.0.1:9100".to_owned()), ("job".to_owned(), "node".to_owned())];
    let mut of_target = series::Series::new(series::Common::new(settings).unwrap(), target);
    let (mut parser, mut samples, mut points) = (parse::Parser::default(), Samples::default(), Points::default());
    let mut time_ms = 0;
    // Twice before it counts: what is looked for is what a second collection finds.
    let mut round = |body: &str| {
        samples.clear();
        points.clear();
        parser.parse(parse::Form::OpenMetrics, body.as_bytes(), &mut samples).unwrap();
        time_ms += 15_000;
        let taken = of_target.take(&samples, time_ms, &mut points).unwrap();
        let report = series::Report { up: true, taken, ..series::Report::default() };
        of_target.report(&report, time_ms, &mut points);
        assert_eq!(points.len(), 2 + 8);
    };
    round(OPEN_METRICS);
    round(OPEN_METRICS);
    assert_none(&[OPEN_METRICS], |body, _| round(body));
}
