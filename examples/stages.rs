//! What each stage of a pipeline costs.
//!
//!     cargo run --release --example stages
//!
//! For each: lines a CPU second, nanoseconds a line, and how many times what snappy needs for the same bytes in the same run: that
//! number says the same on a slow machine and on a fast one.

use lugger::model::labels::Labels;
use lugger::pipeline::entry::Entry;
use lugger::pipeline::settings::*;
use lugger::pipeline::state::State;
use lugger::pipeline::streams::Streams;
use lugger::pipeline::{Emit, LabelNames, compile, redact};
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lines of a chunk, each with another number in it.
const LINES: usize = 2_000;
/// Rounds of which the best counts.
const ROUNDS: usize = 15;

#[derive(Default)]
struct Sink {
    streams: Streams<u32>,
    bytes: usize,
}

impl Emit for Sink {
    fn emit(&mut self, entry: &Entry<'_>, _: &LabelNames) {
        self.streams.of(entry, || Some(1));
        self.bytes += entry.line_text().len();
    }

    fn dropped(&mut self, _: &Entry<'_>, _: u16) {}
}

fn own(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn best(mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

fn access(i: usize) -> String {
    let (host, code, size) = (i % 251, 200 + i % 5, 100 + i * 37 % 9000);
    format!(
        "10.1.2.{host} - alice [01/Aug/2026:10:00:{:02} +0200] \"GET /api/v1/items/{i}?page=2 HTTP/1.1\" {code} {size} \"https://example.org/\" \"Mozilla/5.0 (X11; Linux x86_64)\"",
        i % 60
    )
}

fn json(i: usize) -> String {
    format!(
        "{{\"time\":\"2026-08-01T10:00:{:02}.123Z\",\"level\":\"info\",\"logger\":\"http.server\",\"msg\":\"request {i} served\",\"http\":{{\"status\":200,\"path\":\"/items/{i}\"}},\"took_ms\":{}}}",
        i % 60,
        i % 900
    )
}

fn logfmt(i: usize) -> String {
    format!(
        "ts=2026-08-01T10:00:{:02}.123Z level=info caller=server.go:42 msg=\"request {i} served\" status=200 path=/items/{i} took={}ms",
        i % 60,
        i % 900
    )
}

fn trace(i: usize) -> String {
    if i.is_multiple_of(5) {
        format!("2026-08-01 10:00:00 ERROR request {i} failed")
    } else {
        format!("    at com.example.Service.call(Service.java:{i})")
    }
}

fn docker(i: usize) -> String {
    format!(
        "{{\"log\":\"request {i} served in 12 ms\\n\",\"stream\":\"stdout\",\"time\":\"2026-08-01T10:00:{:02}.123456789Z\"}}",
        i % 60
    )
}

fn cri(i: usize) -> String {
    format!("2026-08-01T10:00:{:02}.123456789Z stdout F request {i} served in 12 ms", i % 60)
}

type Case = (&'static str, fn(usize) -> String, Vec<Stage>);

fn cases() -> Vec<Case> {
    let labels = |names: &[&str]| Stage::Labels(names.iter().map(|name| ((*name).to_owned(), String::new())).collect());
    let timestamp = |source: &str, format: &str| {
        Stage::Timestamp(Timestamp {
            source: source.into(),
            format: format.into(),
            fallback_formats: Vec::new(),
            location: None,
            action_on_failure: TimeFailure::Fudge,
        })
    };
    let eight = r#"^(?P<ip>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<method>\S+) (?P<path>\S+) [^"]*" (?P<status>\d+) (?P<size>\d+) "(?P<referer>[^"]*)""#;
    let regex = || Stage::Regex(Regex { expression: eight.into(), source: None, labels_from_groups: false });
    let read =
        |names: &[&str]| Stage::StructuredMetadata(names.iter().map(|n| ((*n).to_owned(), String::new())).collect());
    let all = ["ip", "user", "time", "method", "path", "status", "size", "referer"];
    let fields = || {
        Stage::Json(Json {
            expressions: own(&[("level", ""), ("msg", ""), ("time", ""), ("status", "http.status")]),
            source: None,
            drop_malformed: false,
        })
    };
    let pairs = || {
        Stage::Logfmt(Logfmt { mapping: own(&[("level", ""), ("msg", ""), ("ts", ""), ("status", "")]), source: None })
    };
    let matching = |selector: &str| {
        Stage::Match(Match {
            selector: selector.into(),
            action: MatchAction::Keep(vec![Stage::StaticLabels(own(&[("a", "b")]))]),
            pipeline_name: None,
            drop_counter_reason: "match_stage".into(),
        })
    };
    let drop = |expression: &str| {
        Stage::Drop(Drop {
            source: Vec::new(),
            separator: ";".into(),
            value: None,
            expression: Some(expression.into()),
            older_than: None,
            longer_than: None,
            drop_counter_reason: "drop_stage".into(),
        })
    };
    let what = redact::Settings { kinds: redact::Kind::ALL.to_vec(), ..redact::Settings::default() };
    let lines = Metric {
        name: "lines".into(),
        description: String::new(),
        source: None,
        prefix: "c_".into(),
        max_idle: Duration::from_secs(300),
        kind: MetricKind::Counter { match_all: true, count_entry_bytes: false, value: None, add: false },
    };
    let multiline = Stage::Multiline(Multiline {
        firstline: r"^\d{4}-".into(),
        max_lines: 128,
        max_wait_time: Duration::from_secs(3),
    });
    let cri_settings = Cri { max_partial_lines: 100, max_partial_line_size: 0, max_partial_line_size_truncate: false };
    vec![
        ("nothing", access, vec![]),
        ("static_labels", access, vec![Stage::StaticLabels(own(&[("a", "b")]))]),
        ("regex, 8 groups read", access, vec![regex(), read(&all)]),
        ("regex, 2 of 8 groups read", access, vec![regex(), labels(&["method", "status"])]),
        (
            "regex, time, labels",
            access,
            vec![regex(), timestamp("time", "02/Jan/2006:15:04:05 -0700"), labels(&["method", "status"])],
        ),
        ("json, 4 of 7 fields read", json, vec![fields(), read(&["level", "msg", "time", "status"])]),
        (
            "json, time, labels, output",
            json,
            vec![
                fields(),
                timestamp("time", "RFC3339"),
                labels(&["level"]),
                Stage::Output(Output { source: "msg".into() }),
            ],
        ),
        ("logfmt, 4 of 7 fields read", logfmt, vec![pairs(), read(&["level", "msg", "ts", "status"])]),
        ("logfmt, time, labels", logfmt, vec![pairs(), timestamp("ts", "RFC3339"), labels(&["level"])]),
        ("match, labels only", access, vec![matching("{job=\"test\"}")]),
        ("match, line filter", access, vec![matching("{job=\"test\"} |= \"DELETE\"")]),
        ("drop, expression", access, vec![drop("DELETE|PATCH")]),
        (
            "replace",
            access,
            vec![Stage::Replace(Replace { expression: r"page=(\d+)".into(), source: None, replace: "*".into() })],
        ),
        (
            "template",
            logfmt,
            vec![
                pairs(),
                Stage::Template(Template { source: "level".into(), template: "{{ ToUpper .Value }}".into() }),
                labels(&["level"]),
            ],
        ),
        ("redact, all kinds", access, vec![Stage::Redact(Redact { source: None, what })]),
        ("metrics, a counter", access, vec![Stage::Metrics(vec![lines])]),
        ("sampling", access, vec![Stage::Sampling(Sampling { rate: 0.5, drop_counter_reason: "s".into() })]),
        ("decolorize", access, vec![Stage::Decolorize]),
        ("pack", access, vec![Stage::Pack(Pack { labels: vec!["job".into()], ingest_timestamp: true })]),
        ("docker", docker, vec![Stage::Docker]),
        ("cri", cri, vec![Stage::Cri(cri_settings)]),
        ("multiline", trace, vec![multiline]),
    ]
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:30} {:>6} {:>8} {:>12} {:>8}", "", "bytes", "ns/line", "lines/CPU-s", "x snappy");
    for (name, line, stages) in cases() {
        let lines: Vec<String> = (0..LINES).map(line).collect();
        let joined = lines.join("\n");
        let mut program = compile(&stages)?;
        let base = Labels::new([("job", "test"), ("filename", "/var/log/test.log")])?;
        let (mut work, mut state, mut sink) = (program.work(Arc::new(base)), State::default(), Sink::default());
        let cost = best(|| {
            for (i, line) in lines.iter().enumerate() {
                program.run(black_box(line), i, i as i64, &mut work, &mut state, &mut sink);
            }
        });
        let (mut encoder, mut out) = (snap::raw::Encoder::new(), vec![0; snap::raw::max_compress_len(joined.len())]);
        let mut failed = None;
        let snappy = best(|| failed = encoder.compress(black_box(joined.as_bytes()), &mut out).err());
        if let Some(error) = failed {
            return Err(error.into());
        }
        let each = cost / LINES as f64;
        println!("{name:30} {:6} {:8.0} {:12.0} {:8.2}", joined.len() / LINES, each * 1e9, 1.0 / each, cost / snappy);
    }
    Ok(())
}
