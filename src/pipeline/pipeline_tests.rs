//! Whole pipelines: what goes in and what comes out, what cannot be compiled, and what holds whatever the stages and lines are.

use super::entry::Entry;
use super::settings::*;
use super::state::State;
use super::streams::pairs_of;
use super::*;
use crate::base::limits::MEMORY_STREAMS;
use crate::base::secret::Secret;
use crate::model::labels::{LabelCaps, Labels};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// What came out: labels, time, text, metadata, tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Out {
    labels: String,
    time_ns: i64,
    text: String,
    metadata: Vec<(String, String)>,
    tenant: Option<String>,
}

#[derive(Default)]
struct Sink {
    out: Vec<Out>,
    dropped: Vec<u16>,
}

impl Emit for Sink {
    fn emit(&mut self, entry: &Entry<'_>, names: &LabelNames) {
        let (labels, _) = Labels::capped(pairs_of(entry, names), LabelCaps::default());
        // What Loki takes, said another way than where it is made.
        let is_name = |name: &str| {
            let rest = name.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '_');
            rest.len() < name.len() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        for (name, value) in labels.iter() {
            assert!(is_name(name) && !name.starts_with("__") && !value.is_empty(), "{name}={value:?}");
            assert!(value.len() <= LabelCaps::default().value_bytes, "{name} has {} bytes", value.len());
        }
        assert!(labels.iter().count() <= LabelCaps::default().count);
        assert!(labels.iter().zip(labels.iter().skip(1)).all(|(a, b)| a.0 < b.0), "{labels:?}");
        let name = |label| names.names().label_name(label).to_owned();
        self.out.push(Out {
            labels: labels.encoded(),
            time_ns: entry.time_ns,
            text: entry.line_text().to_owned(),
            metadata: entry.metadata().iter().map(|(n, v)| (name(*n), entry.text(*v).to_owned())).collect(),
            tenant: entry.tenant.map(|tenant| entry.text(tenant).to_owned()),
        });
    }

    fn dropped(&mut self, _: &Entry<'_>, reason: u16) {
        self.dropped.push(reason);
    }
}

fn base() -> Arc<Labels> {
    Arc::new(Labels::new([("job", "test"), ("filename", "/f")]).unwrap())
}

/// Runs lines a second apart, from 1 s on, and lets go what is held at the end.
fn run(stages: &[Stage], lines: &[&str]) -> (Vec<Out>, Vec<String>) {
    let mut program = compile(stages).unwrap();
    let (mut work, mut state, mut sink) = (program.work(base()), State::default(), Sink::default());
    for (i, line) in lines.iter().enumerate() {
        program.run(line, i, (i as i64 + 1) * SECOND, &mut work, &mut state, &mut sink);
    }
    program.release(None, 100 * SECOND, &mut state, &mut sink);
    assert!(!state.is_holding());
    let reasons = sink.dropped.iter().map(|reason| program.reasons()[usize::from(*reason)].clone()).collect();
    (sink.out, reasons)
}

const SECOND: i64 = 1_000_000_000;

fn own(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn json(pairs: &[(&str, &str)]) -> Stage {
    Stage::Json(Json { expressions: own(pairs), source: None, drop_malformed: false })
}

fn regex(expression: &str) -> Stage {
    Stage::Regex(Regex { expression: expression.into(), source: None, labels_from_groups: false })
}

fn labels(pairs: &[(&str, &str)]) -> Stage {
    Stage::Labels(own(pairs))
}

fn output(source: &str) -> Stage {
    Stage::Output(Output { source: source.into() })
}

fn timestamp(source: &str, format: &str) -> Stage {
    Stage::Timestamp(Timestamp {
        source: source.into(),
        format: format.into(),
        fallback_formats: Vec::new(),
        location: None,
        action_on_failure: TimeFailure::Fudge,
    })
}

fn matching(selector: &str, action: MatchAction) -> Stage {
    let reason = "match_stage".to_owned();
    Stage::Match(Match { selector: selector.into(), action, pipeline_name: None, drop_counter_reason: reason })
}

fn multiline(firstline: &str) -> Stage {
    let max_wait_time = Duration::from_secs(10);
    Stage::Multiline(Multiline { firstline: firstline.into(), max_lines: 4, max_wait_time })
}

fn drop_where(source: &[&str], value: Option<&str>, expression: Option<&str>) -> Stage {
    Stage::Drop(Drop {
        source: source.iter().map(|key| (*key).to_owned()).collect(),
        separator: ";".into(),
        value: value.map(str::to_owned),
        expression: expression.map(str::to_owned),
        older_than: None,
        longer_than: None,
        drop_counter_reason: "drop_stage".into(),
    })
}

fn texts(out: &[Out]) -> Vec<&str> {
    out.iter().map(|out| out.text.as_str()).collect()
}

/// The shape of the common tutorial: an application that writes JSON.
#[test]
fn json_labels_time_output() {
    let stages = [
        json(&[("level", ""), ("ts", "time"), ("message", "msg"), ("user", "ctx.user")]),
        timestamp("ts", "RFC3339"),
        labels(&[("level", "")]),
        Stage::StructuredMetadata(own(&[("user_id", "user")])),
        output("message"),
    ];
    let lines = [
        r#"{"time":"1970-01-01T00:00:09Z","level":"info","msg":"started","ctx":{"user":"u1"}}"#,
        r#"{"time":"bad","msg":"no level"}"#,
        "no json",
    ];
    let (out, _) = run(&stages, &lines);
    let base = r#"filename="/f", job="test""#;
    assert_eq!(out[0].labels, format!(r#"{{filename="/f", job="test", level="info"}}"#));
    assert_eq!((out[0].time_ns, out[0].text.as_str()), (9 * SECOND, "started"));
    assert_eq!(out[0].metadata, own(&[("user_id", "u1")]));
    assert_eq!((out[1].labels.clone(), out[1].time_ns), (format!("{{{base}}}"), 9 * SECOND + 1));
    assert_eq!((texts(&out)[1], texts(&out)[2], out[2].time_ns), ("no level", "no json", 9 * SECOND + 2));
}

/// The keys are seeded with the source's labels, as in Promtail.
#[test]
fn labels_of_the_source_are_keys() {
    let stages = [output("job")];
    assert_eq!(texts(&run(&stages, &["x"]).0), ["test"]);
    // An extracted key of the same name does not change the label.
    let stages = [regex("(?P<job>.*)"), matching(r#"{job="test"}"#, MatchAction::Keep(vec![output("job")]))];
    assert_eq!(texts(&run(&stages, &["x"]).0), ["test"]);
}

/// Promtail's documentation of `match`: nested stages for some, an end for others, the rest as it is; in their order.
#[test]
fn match_runs_nested_stages_and_keeps_the_order() {
    let nested = vec![regex("(?P<word>\\w+)"), output("word")];
    let stages = [
        regex("app=(?P<app>\\w+)"),
        labels(&[("app", "")]),
        matching(r#"{app="loki"} |~ "two""#, MatchAction::Keep(nested)),
        matching(r#"{app="noise"}"#, MatchAction::Drop),
        Stage::StaticLabels(own(&[("seen", "yes")])),
    ];
    let (out, reasons) = run(&stages, &["one two app=loki", "app=noise", "app=loki", "other"]);
    assert_eq!(texts(&out), ["one", "app=loki", "other"]);
    assert!(out.iter().all(|out| out.labels.contains(r#"seen="yes""#)));
    assert_eq!(reasons, ["match_stage"]);
}

#[test]
fn match_in_match_goes_on_behind_the_right_one() {
    let line = |label: &str| Stage::StaticLabels(own(&[(label, "x")]));
    let inner = matching(r#"{job="test"} |= "b""#, MatchAction::Keep(vec![line("b")]));
    let stages =
        [matching(r#"{job="test"} |= "a""#, MatchAction::Keep(vec![line("a"), inner, line("a2")])), line("end")];
    let (out, _) = run(&stages, &["ab", "a", "b"]);
    let shown: Vec<String> =
        out.into_iter().map(|out| out.labels.replace(r#", filename="/f", job="test""#, "")).collect();
    assert_eq!(shown, [r#"{a="x", a2="x", b="x", end="x"}"#, r#"{a="x", a2="x", end="x"}"#, r#"{end="x"}"#]);
}

/// The hazard: Promtail's multiline loses metadata and mixes streams.
#[test]
fn multiline_gathers_by_stream_and_keeps_metadata() {
    let stages = [
        regex("^(?P<who>\\w):(?P<rest>.*)"),
        labels(&[("who", "")]),
        Stage::StructuredMetadata(own(&[("rest", "")])),
        output("rest"),
        multiline("^F"),
    ];
    let (out, _) = run(&stages, &["a:F1", "b:F1", "a:more", "b:more", "a:F2", "b:F2"]);
    assert_eq!(texts(&out), ["F1\nmore", "F1\nmore", "F2", "F2"]);
    assert_eq!(out.iter().map(|out| out.time_ns / SECOND).collect::<Vec<_>>(), [1, 2, 5, 6]);
    assert_eq!(out[0].metadata, own(&[("rest", "F1")]));
    assert!(out[1].labels.contains(r#"who="b""#), "{}", out[1].labels);
}

/// The last known time is that of the stream and the stage, as in Promtail.
#[test]
fn times_are_fudged_by_stream_and_stage() {
    let by_stream = [regex(r"^(?P<s>\w+) (?P<ts>\S+)"), labels(&[("s", "")]), timestamp("ts", "RFC3339")];
    let times =
        |stages: &[Stage], lines: &[&str]| -> Vec<i64> { run(stages, lines).0.iter().map(|out| out.time_ns).collect() };
    let (a, b) = (1_704_067_200 * SECOND, 1_577_836_800 * SECOND);
    let lines = ["a 2024-01-01T00:00:00Z", "b 2020-01-01T00:00:00Z", "a bad", "b bad", "c bad", "a bad"];
    assert_eq!(times(&by_stream, &lines), [a, b, a + 1, b + 1, 5 * SECOND, a + 2]);
    // What the first stage gave is not the second one's.
    let two = [regex("(?P<ts>.*)"), timestamp("ts", "RFC3339"), timestamp("ts", "Unix")];
    assert_eq!(times(&two, &["2024-01-01T00:00:00Z", "7", "2020-01-01T00:00:00Z"]), [a, 7 * SECOND, 7 * SECOND + 1]);
    assert_eq!(times(&two, &["2024-01-01T00:00:00Z", "2020-01-01T00:00:00Z"]), [a, b]);
    // The stream that had no line for longest is forgotten.
    let first = |i: usize| format!("s{i} 2024-01-01T00:00:00Z");
    let mut lines: Vec<String> = (0..=MEMORY_STREAMS).map(first).collect();
    lines.extend(["s1 bad".to_owned(), "s0 bad".to_owned()]);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(times(&by_stream, &lines)[MEMORY_STREAMS + 1..], [a + 1, (lines.len() as i64) * SECOND]);
}

/// Before the first line of a stream nothing is gathered there, whatever other streams and stages have had.
#[test]
fn multiline_passes_on_what_comes_before_a_first_line_of_its_stream() {
    let by_stream = [regex("^(?P<s>\\w) (?P<rest>.*)"), labels(&[("s", "")]), output("rest"), multiline("^F")];
    let lines = ["a x", "a y", "b F", "a x", "b more", "a F", "a y"];
    assert_eq!(texts(&run(&by_stream, &lines).0), ["x", "y", "x", "F\nmore", "F\ny"]);
    let branch = |filter: &str, first| {
        matching(&format!(r#"{{job="test"}} {filter}"#), MatchAction::Keep(vec![multiline(first)]))
    };
    let branches = [branch(r#"|= "a""#, "^Fa"), branch(r#"|= "b""#, "^Fb")];
    assert_eq!(texts(&run(&branches, &["Fa", "a", "b", "b2", "Fb", "b3"]).0), ["b", "b2", "Fa\na", "Fb\nb3"]);
}

#[test]
fn multiline_ends_by_time_and_number() {
    let stages = [multiline("^F")];
    let mut program = compile(&stages).unwrap();
    let (mut work, mut state, mut sink) = (program.work(base()), State::default(), Sink::default());
    program.run("F", 0, SECOND, &mut work, &mut state, &mut sink);
    assert_eq!(state.due_ns(), Some(11 * SECOND));
    program.release(Some(11 * SECOND - 1), 11 * SECOND - 1, &mut state, &mut sink);
    assert!(sink.out.is_empty() && state.is_holding());
    // A line that comes too late does not belong to it any more.
    program.run("late", 0, 11 * SECOND, &mut work, &mut state, &mut sink);
    assert_eq!(texts(&sink.out), ["F"]);
    let (out, _) = run(&stages, &["F", "1", "2", "3", "4"]);
    assert_eq!(texts(&out), ["F\n1\n2\n3", "4"]);
}

/// Kubernetes' shape: lines of a runtime, then what belongs together.
#[test]
fn cri_then_multiline() {
    let cri = Cri { max_partial_lines: 100, max_partial_line_size: 0, max_partial_line_size_truncate: false };
    let stages = [Stage::Cri(cri), multiline("^\\S"), Stage::LabelDrop(vec!["filename".into()])];
    let line = |second: u8, stream: &str, flag: &str, text: &str| {
        format!("1970-01-01T00:01:0{second}Z {stream} {flag} {text}")
    };
    let lines = [
        line(0, "stdout", "F", "Error:"),
        line(1, "stdout", "P", "  at a"),
        line(2, "stderr", "F", "other"),
        line(3, "stdout", "F", "bc"),
        line(4, "stdout", "F", "next"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (out, _) = run(&stages, &lines);
    assert_eq!(texts(&out), ["Error:\n  at abc", "other", "next"]);
    assert_eq!(out[0].labels, r#"{job="test", stream="stdout"}"#);
    assert_eq!(out.iter().map(|out| out.time_ns / SECOND).collect::<Vec<_>>(), [60, 62, 64]);
}

/// The key has the whole text, as the entry has, also when the end of a divided line does not come.
#[test]
fn keys_of_divided_lines_have_the_whole_text() {
    let template =
        |key: &str| Stage::Template(Template { source: key.into(), template: format!("[{{{{ .{key} }}}}]") });
    let docker = |log: &str| format!(r#"{{"log":"{log}","stream":"stdout","time":"1970-01-01T00:00:01Z"}}"#);
    let stages = [Stage::Docker, template("output"), output("output")];
    let lines =
        [docker("one "), docker("two "), docker("three\\n"), docker("alone\\n"), docker("left "), docker("over")];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(texts(&run(&stages, &lines).0), ["[one two three]", "[alone]", "[left over]"]);
    let cri = Cri { max_partial_lines: 9, max_partial_line_size: 0, max_partial_line_size_truncate: false };
    let stages = [Stage::Cri(cri), template("content"), output("content")];
    let lines = ["P one ", "P two ", "F three", "F alone", "P left ", "P over"];
    let lines: Vec<String> = lines.iter().map(|line| format!("1970-01-01T00:00:01Z stdout {line}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(texts(&run(&stages, &lines).0), ["[one two three]", "[alone]", "[left over]"]);
}

#[test]
fn drop_tenant_pack_and_allow() {
    let stages = [
        json(&[("level", ""), ("who", "")]),
        drop_where(&["level"], Some("debug"), None),
        drop_where(&[], None, Some("secret")),
        Stage::Tenant(Tenant::Source("who".into())),
        Stage::Pack(Pack { labels: vec!["level".into()], ingest_timestamp: false }),
        Stage::LabelAllow(vec!["job".into()]),
    ];
    let lines = [r#"{"level":"debug"}"#, r#"{"level":"info","who":"t1"}"#, r#"{"a":"secret"}"#];
    let (out, reasons) = run(&stages, &lines);
    assert_eq!(texts(&out), [r#"{"level":"info","_entry":"{\"level\":\"info\",\"who\":\"t1\"}"}"#]);
    assert_eq!((out[0].tenant.as_deref(), out[0].labels.as_str()), (Some("t1"), r#"{job="test"}"#));
    assert_eq!(reasons, ["drop_stage", "drop_stage"]);
}

/// A key that `json` looked for is null, which is never dropped; one of which nothing is known has the empty text.
#[test]
fn drop_tells_null_from_what_is_not_there() {
    let logfmt = Stage::Logfmt(Logfmt { mapping: own(&[("level", "")]), source: None });
    let drops = [drop_where(&["level"], None, Some("^(debug|)$")), drop_where(&["level"], Some(""), None)];
    for drop in drops {
        let (out, _) = run(&[json(&[("level", "")]), drop.clone()], &[r#"{"level":null}"#, "{}", "no json"]);
        assert_eq!(texts(&out), [r#"{"level":null}"#, "{}"], "{drop:?}");
        let (out, _) = run(&[logfmt.clone(), drop.clone()], &["a=1", "level=info"]);
        assert_eq!(texts(&out), ["level=info"], "{drop:?}");
    }
}

/// Each `match` begins anew with the labels as keys.
#[test]
fn nested_stages_see_labels_as_keys() {
    let template =
        |source: &str, template: &str| Stage::Template(Template { source: source.into(), template: template.into() });
    let keep = |stages| matching(r#"{job="test"}"#, MatchAction::Keep(stages));
    let shown = || vec![template("x", "{{ .k }}/{{ .level }}/{{ .job }}/{{ .filename }}"), output("x")];
    let made = || {
        vec![
            Stage::StaticLabels(own(&[("k", "v")])),
            regex(r"^(?P<level>\w+) (?P<job>\w+) (?P<filename>\w+)"),
            template("made", "L-{{ .level }}"),
            labels(&[("level", "made")]),
        ]
    };
    let with = |more: Vec<Stage>| [made(), more].concat();
    for (stages, wanted) in [
        (with(shown()), "<no value>/abc/other/name"),
        (with(vec![keep(shown())]), "v/L-abc/test//f"),
        // It lasts beyond the nested stages, and a label that is gone overrides nothing.
        (with([vec![keep(vec![Stage::Decolorize])], shown()].concat()), "v/L-abc/test//f"),
        (with(vec![Stage::LabelDrop(vec!["filename".into()]), keep(shown())]), "v/L-abc/test/name"),
        (with(vec![Stage::LabelAllow(vec!["job".into(), "k".into()]), keep(shown())]), "v/abc/test/name"),
        // Not where it is passed over, or what is set only inside.
        (
            with([vec![matching(r#"{job="no"}"#, MatchAction::Keep(shown()))], shown()].concat()),
            "<no value>/abc/other/name",
        ),
        (vec![keep(with(shown()))], "<no value>/abc/other/name"),
        (vec![keep(with(vec![keep(shown())]))], "v/L-abc/test//f"),
    ] {
        let (out, _) = run(&stages, &["abc other name"]);
        assert_eq!(texts(&out), [wanted], "{stages:?}");
    }
}

#[test]
fn limit_tells_how_long_to_wait() {
    let limit = |drop| Limit { rate: 1.0, burst: 2, drop, by_label_name: None, max_distinct_labels: 10_000 };
    let (out, reasons) = run(&[Stage::Limit(limit(true))], &["a"; 4]);
    assert_eq!((out.len(), reasons.len()), (4, 0), "a line a second is within the rate");
    let mut program = compile(&[Stage::Limit(limit(false))]).unwrap();
    let (mut work, mut state, mut sink) = (program.work(base()), State::default(), Sink::default());
    for i in 0..5 {
        program.run("a", i, SECOND, &mut work, &mut state, &mut sink);
    }
    assert_eq!((sink.out.len(), program.wait_until_ns()), (5, Some(4 * SECOND)));
}

#[test]
fn metrics_have_the_labels_of_entries() {
    let metric = Metric {
        name: "lines".into(),
        description: "Lines.".into(),
        source: None,
        prefix: "promtail_custom_".into(),
        max_idle: Duration::from_secs(300),
        kind: MetricKind::Counter { match_all: true, count_entry_bytes: false, value: None, add: false },
    };
    let stages = [regex("(?P<who>\\w)"), labels(&[("who", "")]), Stage::Metrics(vec![metric])];
    let mut program = compile(&stages).unwrap();
    let (mut state, mut sink) = (State::default(), Sink::default());
    let other = Labels::new([("job", "other")]).unwrap();
    for base in [base(), Arc::new(other)] {
        let mut work = program.work(base);
        for line in ["a", "b", "a"] {
            program.run(line, 0, SECOND, &mut work, &mut state, &mut sink);
        }
    }
    let mut text = String::new();
    metrics::render([program.metrics()], SECOND, &mut text);
    let lines: Vec<&str> = text.lines().skip(2).collect();
    let name = "promtail_custom_lines";
    let expected = [
        format!(r#"{name}{{filename="/f",job="test",who="a"}} 2"#),
        format!(r#"{name}{{filename="/f",job="test",who="b"}} 1"#),
        format!(r#"{name}{{job="other",who="a"}} 2"#),
        format!(r#"{name}{{job="other",who="b"}} 1"#),
    ];
    assert_eq!(lines, expected);
}

/// Each thing that can be wrong, with its place.
#[test]
fn what_cannot_be_compiled() {
    let histogram = Metric {
        name: "took".into(),
        description: String::new(),
        source: None,
        prefix: String::new(),
        max_idle: Duration::from_secs(300),
        kind: MetricKind::Histogram { value: None, buckets: vec![2.0, 1.0] },
    };
    let sampling = Sampling { rate: 1.5, drop_counter_reason: "x".into() };
    let limit = Limit { rate: 0.0, burst: 1, drop: true, by_label_name: None, max_distinct_labels: 1 };
    let waiting = Limit { rate: 1.0, by_label_name: Some("a".into()), drop: false, ..limit.clone() };
    let template = Template { source: "a".into(), template: "{{ nofunction .Value }}".into() };
    let zone = Timestamp {
        source: "ts".into(),
        format: "RFC3339".into(),
        fallback_formats: vec!["Unix".into(), "%Y-%m-%d".into()],
        location: None,
        action_on_failure: TimeFailure::Skip,
    };
    for (stage, path, problem) in [
        (regex("(?P<a>"), "stages[0].regex.expression", "regular expression"),
        (regex("a"), "stages[0].regex.expression", "named group"),
        (regex("(?=a)(?P<b>x)"), "stages[0].regex.expression", "look"),
        (json(&[("a", "b"), ("c", "[")]), "stages[0].json.expressions.c", "JMESPath"),
        (json(&[]), "stages[0].json.expressions", "nothing"),
        (labels(&[("a-b", "c")]), "stages[0].labels.a-b", "not valid"),
        (labels(&[]), "stages[0].labels", "nothing"),
        (
            Stage::StaticLabels(own(&[("__stream_shard__", "x")])),
            "stages[0].static_labels.__stream_shard__",
            "reserved",
        ),
        (output(""), "stages[0].output.source", "empty"),
        (timestamp("ts", "%Y"), "stages[0].timestamp.format", "strftime"),
        (Stage::Timestamp(zone), "stages[0].timestamp.fallback_formats[1]", "strftime"),
        (multiline("("), "stages[0].multiline.firstline", "regular expression"),
        (drop_where(&[], None, None), "stages[0].drop", "no condition"),
        (drop_where(&[], Some("x"), Some("y")), "stages[0].drop.value", "needs the source"),
        (drop_where(&["a"], Some("x"), Some("y")), "stages[0].drop.value", "exclude"),
        (Stage::Sampling(sampling), "stages[0].sampling.rate", "0 to 1"),
        (Stage::Limit(limit), "stages[0].limit.rate", "above 0"),
        (Stage::Limit(waiting), "stages[0].limit.by_label_name", "drop: true"),
        (Stage::Template(template), "stages[0].template.template", "nofunction"),
        (Stage::Metrics(vec![histogram]), "stages[0].metrics.took.config", "ascending"),
        (matching("{", MatchAction::Drop), "stages[0].match.selector", "selector"),
        (
            matching("{a=\"b\"}", MatchAction::Keep(vec![Stage::Decolorize, output("")])),
            "stages[0].match.stages[1].output.source",
            "empty",
        ),
        (
            Stage::Redact(Redact { source: None, what: redact::Settings::default() }),
            "stages[0].redact",
            "nothing to look for",
        ),
    ] {
        let error = compile(&[stage]).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{path}: ")), "{error}\n{path}");
        assert!(error.contains(problem), "{error}\n{problem}");
    }
}

#[test]
fn nesting_is_bounded() {
    let mut stage = Stage::Decolorize;
    for _ in 0..50 {
        stage = matching("{a=\"b\"}", MatchAction::Keep(vec![stage]));
    }
    assert!(compile(&[stage]).unwrap_err().problem.contains("nested"));
}

fn key() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["a", "b", "job", "stream", "Value", "x-y"]).prop_map(str::to_owned)
}

fn label() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["a", "b", "job", "filename"]).prop_map(str::to_owned)
}

fn stage() -> impl Strategy<Value = Stage> {
    let source = || prop_oneof![Just(None), key().prop_map(Some)];
    let simple = prop_oneof![
        Just(Stage::Docker),
        Just(Stage::Decolorize),
        (1usize..3, 0usize..9, any::<bool>()).prop_map(|(lines, size, truncate)| Stage::Cri(Cri {
            max_partial_lines: lines,
            max_partial_line_size: size,
            max_partial_line_size_truncate: truncate,
        })),
        (source(), any::<bool>()).prop_map(|(source, labels_from_groups)| Stage::Regex(Regex {
            expression: r"(?P<a>\w)?.*?(?P<b>é|\d+)".into(),
            source,
            labels_from_groups,
        })),
        (source(), any::<bool>()).prop_map(|(source, drop_malformed)| Stage::Json(Json {
            expressions: own(&[("a", ""), ("b", "c.d"), ("job", "length(a)")]),
            source,
            drop_malformed,
        })),
        source().prop_map(|source| Stage::Logfmt(Logfmt { mapping: own(&[("a", ""), ("b", "log")]), source })),
        source().prop_map(|source| Stage::Replace(Replace {
            expression: "(a|(é)|)".into(),
            source,
            replace: "{{ .Value }}{{ .b }}".into(),
        })),
        (proptest::sample::select(vec!["^F", "^\\S", "1"]), 1usize..4).prop_map(|(firstline, max_lines)| {
            Stage::Multiline(Multiline {
                firstline: firstline.into(),
                max_lines,
                max_wait_time: Duration::from_secs(2),
            })
        }),
        (key(), proptest::sample::select(vec!["{{ .Value }}é", "{{ ToUpper .Entry }}", "{{ .a }}", ""]))
            .prop_map(|(source, template)| Stage::Template(Template { source, template: template.into() })),
        (key(), proptest::sample::select(vec!["Unix", "RFC3339", "15:04"])).prop_map(|(k, f)| timestamp(&k, f)),
        key().prop_map(|source| Stage::Output(Output { source })),
        (label(), key()).prop_map(|pair| Stage::Labels(vec![pair])),
        label().prop_map(|name| Stage::LabelDrop(vec![name])),
        label().prop_map(|name| Stage::LabelAllow(vec![name])),
        (label(), "[é]{0,2}").prop_map(|pair| Stage::StaticLabels(vec![pair])),
        (label(), key()).prop_map(|pair| Stage::StructuredMetadata(vec![pair])),
        key().prop_map(|key| Stage::Tenant(Tenant::Source(key))),
        source().prop_map(|source| drop_where(
            &source.iter().map(String::as_str).collect::<Vec<_>>(),
            None,
            Some("zz")
        )),
        (0.0..1.0f64).prop_map(|rate| Stage::Sampling(Sampling { rate, drop_counter_reason: "s".into() })),
        (source(), any::<bool>()).prop_map(|(source, hash)| Stage::Redact(Redact {
            source,
            what: redact::Settings {
                kinds: redact::Kind::ALL.to_vec(),
                mark: if hash { redact::Mark::Hash(Secret::new("s")) } else { redact::Mark::Text("é".into()) },
                ..redact::Settings::default()
            }
        })),
        label().prop_map(|label| Stage::Tenant(Tenant::Label(label))),
        key().prop_map(|source| Stage::Metrics(vec![Metric {
            name: "m".into(),
            description: String::new(),
            source: Some(source),
            prefix: "p_".into(),
            max_idle: Duration::from_secs(1),
            kind: MetricKind::Histogram { value: None, buckets: vec![1.0] },
        }])),
        any::<bool>().prop_map(|ingest_timestamp| Stage::Pack(Pack { labels: vec!["a".into()], ingest_timestamp })),
    ];
    simple.prop_recursive(2, 6, 3, |inner| {
        let selector = proptest::sample::select(vec![r#"{job="test"}"#, r#"{a=~".+"} != "a""#, r#"{b=""}"#]);
        (selector, prop::option::weighted(0.8, prop::collection::vec(inner, 0..3)))
            .prop_map(|(selector, stages)| matching(selector, stages.map_or(MatchAction::Drop, MatchAction::Keep)))
    })
}

/// A `limit`, which begins anew after a crash.
fn limit() -> impl Strategy<Value = Stage> {
    (1u64..3, any::<bool>()).prop_map(|(burst, by)| {
        Stage::Limit(Limit {
            rate: 0.5,
            burst,
            drop: true,
            by_label_name: by.then(|| "a".to_owned()),
            max_distinct_labels: 2,
        })
    })
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zé0-9 =\"]{0,12}",
        "F[a1 ]{0,4}",
        "(\\{\"(a|log)\":\"[aF1é]{0,3}(\\\\n)?\",\"stream\":\"(x|y)\",\"c\":\\{\"d\":[0-9]\\}\\})",
        "1970-01-01T00:00:0[0-9]Z (stdout|stderr) [FP] [aF1é ]{0,5}",
    ]
}

proptest! {
    /// Whatever the stages and lines: no panic, no labels that Loki would refuse, and nothing stays behind.
    #[test]
    fn never_panics_and_labels_are_valid(
        stages in prop::collection::vec(prop_oneof![9 => stage(), 1 => limit()], 0..6),
        lines in prop::collection::vec(line(), 0..20),
    ) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let (out, dropped) = run(&stages, &lines);
        prop_assert!(out.len() + dropped.len() <= lines.len());
    }

    /// Who goes on at a quiet place, with nothing but the last known time, gets the same entries from there on. So a crash repeats, but does
    /// not change.
    #[test]
    fn a_quiet_place_is_one_to_go_on_from(
        stages in prop::collection::vec(stage(), 1..5),
        lines in prop::collection::vec((line(), 0i64..4), 1..20),
    ) {
        let mut program = compile(&stages).unwrap();
        let (mut work, mut state, mut sink) = (program.work(base()), State::default(), Sink::default());
        let mut now = 0;
        let times: Vec<i64> = lines.iter().map(|(_, pause)| { now += pause * SECOND + 1; now }).collect();
        // After each line: the place to go on from.
        let mut places = Vec::new();
        state.begin_chunk(0);
        for (i, (line, _)) in lines.iter().enumerate() {
            program.run(line, i, times[i], &mut work, &mut state, &mut sink);
            let place = if state.is_holding() {
                state.quiet().map(|quiet| (quiet.line, quiet.memory))
            } else {
                Some((i + 1, state.memory()))
            };
            places.extend(place);
        }
        program.release(None, now, &mut state, &mut sink);
        let all = std::mem::take(&mut sink.out);
        for (from, memory) in places {
            let mut state = State::new(memory);
            for (i, (line, _)) in lines.iter().enumerate().skip(from) {
                program.run(line, i, times[i], &mut work, &mut state, &mut sink);
            }
            program.release(None, now, &mut state, &mut sink);
            let again = std::mem::take(&mut sink.out);
            let tail = all.get(all.len().saturating_sub(again.len())..).unwrap_or_default();
            prop_assert_eq!(tail, again.as_slice(), "from line {}", from);

        }
    }
}
