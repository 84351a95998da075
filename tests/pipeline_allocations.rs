//! Running a line through a pipeline allocates nothing, once the buffers have grown and its stream is known.

#[path = "support/allocations.rs"]
mod allocations;

use allocations::{Counting, allocations};
use lugger::model::labels::Labels;
use lugger::pipeline::entry::Entry;
use lugger::pipeline::redact;
use lugger::pipeline::settings::*;
use lugger::pipeline::state::State;
use lugger::pipeline::streams::Streams;
use lugger::pipeline::{Emit, LabelNames, compile};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Each line is run so often.
const ROUNDS: usize = 100;

#[derive(Default)]
struct Sink {
    streams: Streams<u32>,
    made: u32,
    lines: usize,
    dropped: usize,
}

impl Emit for Sink {
    fn emit(&mut self, entry: &Entry<'_>, _: &LabelNames) {
        let made = &mut self.made;
        black_box(self.streams.of(entry, || {
            *made += 1;
            Some(*made)
        }));
        black_box(entry.line_text());
        self.lines += 1;
    }

    fn dropped(&mut self, _: &Entry<'_>, _: u16) {
        self.dropped += 1;
    }
}

/// Runs the lines in turn; what came out and was dropped after the first round, and how many streams there are.
#[track_caller]
fn assert_none(stages: &[Stage], lines: &[&str]) -> (usize, usize, u32) {
    let mut program = compile(stages).unwrap();
    let base = Labels::new([("job", "test"), ("filename", "/var/log/test.log")]).unwrap();
    let (mut work, mut state, mut sink) = (program.work(Arc::new(base)), State::default(), Sink::default());
    let mut all = |rounds: usize| {
        for (i, line) in lines.iter().cycle().take(rounds * lines.len()).enumerate() {
            program.run(black_box(line), i, i as i64, &mut work, &mut state, &mut sink);
        }
        (sink.lines, sink.dropped, sink.made)
    };
    // Twice: what is held at the end of the first round is let go in the second one.
    let first = all(2);
    let mut last = first;
    assert_eq!(allocations(|| last = all(ROUNDS)), 0);
    assert!(last.0 + last.1 > first.0 + first.1);
    assert_eq!(last.2, first.2, "streams were made");
    last
}

fn own(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn labels(pairs: &[(&str, &str)]) -> Stage {
    Stage::Labels(own(pairs))
}

#[test]
fn regex_labels_timestamp_output() {
    let expression = r#"^(?P<ip>\S+) (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<method>\S+) (?P<path>[^"]*)" (?P<status>\d+) (?P<size>\d+) (?P<rest>.*)$"#;
    let stages = [
        Stage::Regex(Regex { expression: expression.into(), source: None, labels_from_groups: false }),
        Stage::Timestamp(Timestamp {
            source: "time".into(),
            format: "02/Jan/2006:15:04:05 -0700".into(),
            fallback_formats: vec!["RFC3339".into()],
            location: Some("Europe/Berlin".into()),
            action_on_failure: TimeFailure::Fudge,
        }),
        labels(&[("method", ""), ("status", "")]),
        Stage::StructuredMetadata(own(&[("ip", "")])),
        Stage::Output(Output { source: "path".into() }),
    ];
    let lines = [
        r#"10.0.0.1 - [01/Aug/2026:10:00:00 +0200] "GET /index.html" 200 512 x"#,
        r#"10.0.0.2 bob [01/Aug/2026:10:00:01 +0200] "POST /form" 404 12 y"#,
        r#"10.0.0.3 - [no time] "GET /x" 200 1 z"#,
        "something else",
    ];
    assert_eq!(assert_none(&stages, &lines).2, 3);
}

#[test]
fn json_and_match_and_drop() {
    let drop = Drop {
        source: vec!["level".into()],
        separator: ";".into(),
        value: Some("debug".into()),
        expression: None,
        older_than: None,
        longer_than: None,
        drop_counter_reason: "drop_stage".into(),
    };
    let nested = Match {
        selector: r#"{level=~"warn|error"} |= "disk""#.into(),
        action: MatchAction::Keep(vec![Stage::StaticLabels(own(&[("alert", "disk")]))]),
        pipeline_name: None,
        drop_counter_reason: "match_stage".into(),
    };
    let expressions = own(&[("level", ""), ("message", "msg"), ("took", "http.took"), ("unread", "")]);
    let stages = [
        Stage::Json(Json { expressions, source: None, drop_malformed: true }),
        Stage::Drop(drop),
        labels(&[("level", "")]),
        Stage::Match(nested),
        Stage::LabelDrop(vec!["filename".into()]),
        Stage::Output(Output { source: "message".into() }),
    ];
    let lines = [
        r#"{"level":"info","msg":"all\tis well","http":{"took":1.5}}"#,
        r#"{"level":"error","msg":"disk is full"}"#,
        r#"{"level":"debug","msg":"noise"}"#,
        "no json",
    ];
    let (lines, dropped, streams) = assert_none(&stages, &lines);
    assert_eq!((lines, streams), (dropped, 2));
}

#[test]
fn logfmt_template_replace_and_tenant() {
    let stages = [
        Stage::Logfmt(Logfmt { mapping: own(&[("level", ""), ("message", "msg")]), source: None }),
        Stage::Template(Template { source: "level".into(), template: "{{ ToUpper .Value }}".into() }),
        Stage::Replace(Replace { expression: r"pass=(\S+)".into(), source: None, replace: "***".into() }),
        Stage::Tenant(Tenant::Source("level".into())),
        labels(&[("level", "")]),
        Stage::LabelAllow(vec!["level".into()]),
    ];
    let lines = ["level=info msg=\"all is \\\"well\\\"\" pass=x", "level=warn", "nothing"];
    assert_none(&stages, &lines);
}

#[test]
fn lines_that_are_held() {
    let multiline = Multiline { firstline: r"^\S".into(), max_lines: 128, max_wait_time: Duration::from_secs(3) };
    let cri = Cri { max_partial_lines: 100, max_partial_line_size: 0, max_partial_line_size_truncate: false };
    let stages = [Stage::Cri(cri), Stage::Multiline(multiline)];
    let lines = [
        "2026-08-01T10:00:00.1Z stdout F Error",
        "2026-08-01T10:00:00.2Z stdout P   at a",
        "2026-08-01T10:00:00.3Z stderr F other",
        "2026-08-01T10:00:00.4Z stdout F bc",
    ];
    assert_none(&stages, &lines);
    let lines =
        [r#"{"log":"half ","stream":"stdout"}"#, r#"{"log":"line\n","stream":"stdout","time":"2026-08-01T10:00:00Z"}"#];
    assert_none(&[Stage::Docker, Stage::Decolorize], &lines);
}

/// Nested stages that see labels as keys, times by stream, and a private key over several lines.
#[test]
fn labels_as_keys_times_of_streams_and_open_keys() {
    let nested = Match {
        selector: r#"{job="test"}"#.into(),
        action: MatchAction::Keep(vec![
            Stage::Template(Template { source: "level".into(), template: "{{ ToUpper .level }} {{ .job }}".into() }),
            Stage::Output(Output { source: "level".into() }),
        ]),
        pipeline_name: None,
        drop_counter_reason: "match_stage".into(),
    };
    let regex = r"^(?P<level>\w+) (?P<at>\S+)".into();
    let stages = [
        Stage::Regex(Regex { expression: regex, source: None, labels_from_groups: false }),
        labels(&[("level", "")]),
        Stage::Timestamp(Timestamp {
            source: "at".into(),
            format: "Unix".into(),
            fallback_formats: Vec::new(),
            location: None,
            action_on_failure: TimeFailure::Fudge,
        }),
        Stage::Match(nested),
    ];
    let lines = ["info 1700000000", "warn 1600000000", "info bad", "warn bad", "error bad"];
    assert_eq!(assert_none(&stages, &lines).2, 3);
    let what = redact::Settings { kinds: redact::Kind::ALL.to_vec(), ..redact::Settings::default() };
    let lines = [
        "-----BEGIN PRIVATE KEY-----",
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj",
        "Ab3=",
        "-----END PRIVATE KEY-----",
        "nothing of it",
    ];
    assert_none(&[Stage::Redact(Redact { source: None, what })], &lines);
}

#[test]
fn metrics_limit_and_sampling() {
    let metric = Metric {
        name: "lines".into(),
        description: String::new(),
        source: None,
        prefix: "custom_".into(),
        max_idle: Duration::from_secs(300),
        kind: MetricKind::Counter { match_all: true, count_entry_bytes: false, value: None, add: false },
    };
    let by_job =
        Limit { rate: 1.0, burst: 2, drop: true, by_label_name: Some("job".into()), max_distinct_labels: 10_000 };
    let stages = [
        Stage::Metrics(vec![metric]),
        Stage::Limit(by_job),
        Stage::Sampling(Sampling { rate: 0.5, drop_counter_reason: "sampling_stage".into() }),
    ];
    assert_none(&stages, &["a", "b", "c"]);
}

/// What is looked for in a key, dropped for each reason, and matched without nested stages.
#[test]
fn sources_drops_and_matches() {
    let none = Drop {
        source: Vec::new(),
        separator: "#".into(),
        value: None,
        expression: None,
        older_than: None,
        longer_than: None,
        drop_counter_reason: "drop_stage".into(),
    };
    let both = vec!["level".to_owned(), "app".to_owned()];
    let matched = Match {
        selector: r#"{level!~"info|warn", app="shop"} !~ "keep""#.into(),
        action: MatchAction::Drop,
        pipeline_name: None,
        drop_counter_reason: "match_stage".into(),
    };
    let times = |format: &str, fallback: &str, action_on_failure| {
        Stage::Timestamp(Timestamp {
            source: "at".into(),
            format: format.into(),
            fallback_formats: vec![fallback.into()],
            location: None,
            action_on_failure,
        })
    };
    let json = |key: &str, source: Option<&str>| {
        let source = source.map(str::to_owned);
        Stage::Json(Json { expressions: own(&[(key, "")]), source, drop_malformed: false })
    };
    let mapping = own(&[("level", ""), ("app", ""), ("at", "")]);
    let stages = [
        json("inner", None),
        Stage::Logfmt(Logfmt { mapping, source: Some("inner".into()) }),
        times("RFC3339Nano", "UnixMs", TimeFailure::Skip),
        times("Jan _2 15:04:05", "RFC1123", TimeFailure::Fudge),
        labels(&[("level", ""), ("app", "")]),
        Stage::Drop(Drop { source: both.clone(), expression: Some("^debug#".into()), ..none.clone() }),
        Stage::Drop(Drop { source: both, value: Some("trace#shop".into()), ..none.clone() }),
        Stage::Drop(Drop { older_than: Some(Duration::from_secs(1 << 40)), ..none.clone() }),
        Stage::Drop(Drop { longer_than: Some(80), expression: Some("long".into()), ..none }),
        Stage::Match(matched),
    ];
    let lines = [
        r#"{"inner":"level=info app=shop at=2026-08-01T10:00:00.5Z"}"#,
        r#"{"inner":"level=warn app=till at=1785578400123"}"#,
        r#"{"inner":"level=debug app=shop at=\"Aug  1 10:00:00\""}"#,
        r#"{"inner":"level=trace app=shop at=never"}"#,
        r#"{"inner":"level=error app=shop"}"#,
        r#"{"inner":"level=info app=shop","more":"a long line, which is longer than that of eighty bytes"}"#,
        "{}",
    ];
    let (sent, dropped, streams) = assert_none(&stages, &lines);
    assert_eq!((sent * 4, streams), (dropped * 3, 3));
}
