//! Tests of reading stages and rules: every option of every stage, and every mistake at its place.

use super::*;
use crate::config::check::Check;
use crate::config::report::{Finding, Report};
use crate::config::source::Source;
use crate::config::tree;
use crate::pipeline::relabel;
use crate::pipeline::settings::*;
use std::time::Duration;

fn with<T>(text: &str, read: impl Fn(&Node, &mut Check<'_>) -> Option<T>) -> Result<T, String> {
    let parsed = tree::parse(text).unwrap_or_else(|finding| panic!("{finding:?}\n{text}"));
    let mut findings: Vec<Finding> = parsed.findings;
    let result = read(&parsed.root, &mut Check::new(&mut findings));
    let report = Report::new("a.yaml", &Source::new(text), findings).to_string();
    match result {
        Some(value) if report.is_empty() || report.contains("warning") => Ok(value),
        None if !report.is_empty() => Err(report),
        other => panic!("a value and errors, or neither: {}\n{report}", other.is_some()),
    }
}

fn parse(text: &str) -> Result<Vec<Stage>, String> {
    with(text, stages)
}

/// The one stage of a list.
fn one(text: &str) -> Stage {
    let mut list = parse(text).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(list.len(), 1, "{text}");
    list.remove(0)
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn pair(name: &str, source: &str) -> (String, String) {
    (text(name), text(source))
}

#[test]
fn stages_without_options() {
    for written in ["- docker: {}", "- docker:"] {
        assert_eq!(one(written), Stage::Docker);
    }
    for written in ["- decolorize: {}", "- decolorize:", "- { decolorize: ~ }"] {
        assert_eq!(one(written), Stage::Decolorize);
    }
    let cri = Cri { max_partial_lines: 100, max_partial_line_size: 0, max_partial_line_size_truncate: false };
    assert_eq!(one("- cri:"), Stage::Cri(cri));
    assert_eq!(parse("[]"), Ok(Vec::new()));
}

#[test]
fn extracting_stages() {
    let written = "- cri: { max_partial_lines: 7, max_partial_line_size: 16kb, max_partial_line_size_truncate: true }";
    let cri = Cri { max_partial_lines: 7, max_partial_line_size: 16 << 10, max_partial_line_size_truncate: true };
    assert_eq!(one(written), Stage::Cri(cri));
    assert_eq!(
        one("- regex: { expression: '^(?P<a>x)', source: s, labels_from_groups: true }"),
        Stage::Regex(Regex { expression: text("^(?P<a>x)"), source: Some(text("s")), labels_from_groups: true })
    );
    assert_eq!(
        one("- json:\n    expressions:\n      z: a.b[0]\n      level:\n      '': ''\n    drop_malformed: true\n"),
        Stage::Json(Json {
            expressions: vec![pair("z", "a.b[0]"), pair("level", "level"), pair("", "")],
            source: None,
            drop_malformed: true
        })
    );
    assert_eq!(
        one("- logfmt: { mapping: { time: ts, app: }, source: extra }"),
        Stage::Logfmt(Logfmt { mapping: vec![pair("time", "ts"), pair("app", "app")], source: Some(text("extra")) })
    );
}

#[test]
fn changing_stages() {
    let replace = Replace { expression: text("(x)"), source: None, replace: String::new() };
    assert_eq!(one("- replace: { expression: (x), replace: '' }"), Stage::Replace(replace.clone()));
    assert_eq!(one("- replace: { expression: (x) }"), Stage::Replace(replace));
    assert_eq!(
        one("- template: { source: a, template: '{{ .Value }}' }"),
        Stage::Template(Template { source: text("a"), template: text("{{ .Value }}") })
    );
    assert_eq!(one("- output: { source: msg }"), Stage::Output(Output { source: text("msg") }));
    let multiline =
        |max_lines, max_wait_time| Stage::Multiline(Multiline { firstline: text("^x"), max_lines, max_wait_time });
    assert_eq!(one("- multiline: { firstline: ^x }"), multiline(128, Duration::from_secs(3)));
    assert_eq!(
        one("- multiline: { firstline: ^x, max_lines: 5, max_wait_time: 0.5s }"),
        multiline(5, Duration::from_millis(500))
    );
    assert_eq!(
        one("- timestamp: { source: t, format: Unix }"),
        Stage::Timestamp(Timestamp {
            source: text("t"),
            format: text("Unix"),
            fallback_formats: Vec::new(),
            location: None,
            action_on_failure: TimeFailure::Fudge
        })
    );
    let written = "
- timestamp:
    source: t
    format: Unix
    fallback_formats: [RFC3339, UnixMs]
    location: Europe/Berlin
    action_on_failure: skip
";
    assert_eq!(
        one(written),
        Stage::Timestamp(Timestamp {
            source: text("t"),
            format: text("Unix"),
            fallback_formats: vec![text("RFC3339"), text("UnixMs")],
            location: Some(text("Europe/Berlin")),
            action_on_failure: TimeFailure::Skip
        })
    );
    assert_eq!(
        one("- pack: { labels: [a, b], ingest_timestamp: false }"),
        Stage::Pack(Pack { labels: vec![text("a"), text("b")], ingest_timestamp: false })
    );
    assert_eq!(one("- pack: {}"), Stage::Pack(Pack { labels: Vec::new(), ingest_timestamp: true }));
}

#[test]
fn a_replacement_without_a_group_is_warned_of() {
    for (expression, is_warned) in [("password", true), ("(?:x)", true), ("(x)", false), ("(?P<a>x)", false)] {
        let written = format!("- replace: {{ expression: {expression:?} }}");
        let parsed = tree::parse(&written).unwrap();
        let mut findings: Vec<Finding> = parsed.findings;
        assert!(stages(&parsed.root, &mut Check::new(&mut findings)).is_some());
        let report = Report::new("a.yaml", &Source::new(&written), findings).to_string();
        assert_eq!(report.contains("help: put the part to replace in ( )"), is_warned, "{report}");
        assert_eq!(report.contains("a.yaml:1:26: warning: the expression has no group"), is_warned, "{report}");
    }
}

#[test]
fn stages_of_labels() {
    let pairs = || vec![pair("level", "level"), pair("app", "name")];
    assert_eq!(one("- labels: { level: , app: name }"), Stage::Labels(pairs()));
    assert_eq!(one("- labels: { level: '', app: name }"), Stage::Labels(pairs()));
    for name in ["structured_metadata", "non_indexed_labels"] {
        assert_eq!(one(&format!("- {name}: {{ level: , app: name }}")), Stage::StructuredMetadata(pairs()));
    }
    assert_eq!(
        one("- static_labels: { b: 1, a: 'true' }"),
        Stage::StaticLabels(vec![pair("b", "1"), pair("a", "true")])
    );
    assert_eq!(one("- labeldrop: [a, b]"), Stage::LabelDrop(vec![text("a"), text("b")]));
    assert_eq!(one("- labelallow:\n    - a\n"), Stage::LabelAllow(vec![text("a")]));
    assert_eq!(one("- tenant: { value: x }"), Stage::Tenant(Tenant::Value(text("x"))));
    assert_eq!(one("- tenant: { source: x }"), Stage::Tenant(Tenant::Source(text("x"))));
    assert_eq!(one("- tenant: { label: x, source: }"), Stage::Tenant(Tenant::Label(text("x"))));
}

#[test]
fn matching_and_dropping_stages() {
    let matching = |action| {
        Stage::Match(Match {
            selector: text("{a=\"b\"}"),
            action,
            pipeline_name: None,
            drop_counter_reason: text("match_stage"),
        })
    };
    assert_eq!(one("- match: { selector: '{a=\"b\"}', action: drop }"), matching(MatchAction::Drop));
    let inner = "- match:\n    selector: '{a=\"b\"}'\n    stages:\n      - docker: {}\n      - match:\n          selector: '{a=\"b\"}'\n          action: keep\n          stages: [{ decolorize: }]\n";
    let innermost = matching(MatchAction::Keep(vec![Stage::Decolorize]));
    assert_eq!(one(inner), matching(MatchAction::Keep(vec![Stage::Docker, innermost])));

    let drop = |source: &[&str], value: Option<&str>, expression: Option<&str>| Drop {
        source: source.iter().map(|s| text(s)).collect(),
        separator: text(";"),
        value: value.map(text),
        expression: expression.map(text),
        older_than: None,
        longer_than: None,
        drop_counter_reason: text("drop_stage"),
    };
    assert_eq!(one("- drop: { expression: x }"), Stage::Drop(drop(&[], None, Some("x"))));
    assert_eq!(one("- drop: { source: a, value: '' }"), Stage::Drop(drop(&["a"], Some(""), None)));
    assert_eq!(one("- drop: { source: [a, b], value: 'x;y' }"), Stage::Drop(drop(&["a", "b"], Some("x;y"), None)));
    let written = "- drop: { older_than: 24h, longer_than: 8kb, drop_counter_reason: old, separator: '|', source: a }";
    assert_eq!(
        one(written),
        Stage::Drop(Drop {
            older_than: Some(Duration::from_secs(24 * 3600)),
            longer_than: Some(8192),
            drop_counter_reason: text("old"),
            separator: text("|"),
            ..drop(&["a"], None, None)
        })
    );
    assert_eq!(
        one("- limit: { rate: 0.5, burst: 20, drop: true, by_label_name: ns, max_distinct_labels: 20000 }"),
        Stage::Limit(Limit {
            rate: 0.5,
            burst: 20,
            drop: true,
            by_label_name: Some(text("ns")),
            max_distinct_labels: 20_000
        })
    );
    let few = one("- limit: { rate: 1, burst: 1, max_distinct_labels: 5 }");
    let Stage::Limit(few) = few else { panic!("{few:?}") };
    assert_eq!((few.max_distinct_labels, few.drop), (10_000, false));
    assert_eq!(
        one("- sampling: { rate: 0.25 }"),
        Stage::Sampling(Sampling { rate: 0.25, drop_counter_reason: text("sampling_stage") })
    );
}

#[test]
fn metrics_have_a_type_and_its_config() {
    let written = "
- metrics:
    lines_total:
      type: Counter
      description: all lines
      config: { match_all: true, action: inc }
    bytes_total: { type: counter, prefix: x_, config: { match_all: true, count_entry_bytes: true, action: add } }
    depth: { type: gauge, source: queue, max_idle_duration: 1h, config: { action: Set } }
    seconds: { type: histogram, source: took, config: { buckets: [0.1, 1, 10] } }
    default: { type: histogram, config: { value: x } }
";
    let Stage::Metrics(metrics) = one(written) else { panic!("metrics") };
    let metric = |name: &str, kind| Metric {
        name: text(name),
        description: String::new(),
        source: None,
        prefix: text("promtail_custom_"),
        max_idle: Duration::from_secs(300),
        kind,
    };
    let counter = |count_entry_bytes, add| MetricKind::Counter { match_all: true, count_entry_bytes, value: None, add };
    let default = vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    let expected = [
        Metric { description: text("all lines"), ..metric("lines_total", counter(false, false)) },
        Metric { prefix: text("x_"), ..metric("bytes_total", counter(true, true)) },
        Metric {
            source: Some(text("queue")),
            max_idle: Duration::from_secs(3600),
            ..metric("depth", MetricKind::Gauge { value: None, action: GaugeAction::Set })
        },
        Metric {
            source: Some(text("took")),
            ..metric("seconds", MetricKind::Histogram { value: None, buckets: vec![0.1, 1.0, 10.0] })
        },
        metric("default", MetricKind::Histogram { value: Some(text("x")), buckets: default }),
    ];
    assert_eq!(metrics, expected);
}

#[test]
fn redacting_has_a_mark() {
    use crate::base::secret::Secret;
    use crate::pipeline::redact::{Custom, Kind, Mark, Settings};
    let redact = |written: &str| match one(written) {
        Stage::Redact(redact) => redact,
        other => panic!("{other:?}"),
    };
    let all_but_ip: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Ip).collect();
    assert_eq!(
        redact("- redact: { kinds: all }").what,
        Settings { kinds: all_but_ip, custom: Vec::new(), mark: Mark::Kind }
    );
    let custom = vec![Custom { name: text("badge"), expression: text("B[0-9]+") }];
    assert_eq!(
        redact("- redact: { source: user, kinds: [ip, card, ip], patterns: { badge: 'B[0-9]+' }, replace: '###' }"),
        Redact {
            source: Some(text("user")),
            what: Settings { kinds: vec![Kind::Card, Kind::Ip], custom, mark: Mark::Text(text("###")) }
        }
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("salt");
    std::fs::write(&file, "pepper\n").unwrap();
    for hash in [text("hash_salt: pepper"), format!("hash_salt_file: {}", file.display())] {
        let mark = redact(&format!("- redact: {{ kinds: email, {hash} }}")).what.mark;
        assert_eq!(mark, Mark::Hash(Secret::new("pepper")));
    }
}

#[test]
fn relabelling_rules_have_prometheus_names() {
    let rules = with(
        "- { source_labels: [a, b], separator: '/', regex: (.*), target_label: c, replacement: '$1', action: Replace }\n- { regex: tmp_.*, action: labeldrop }\n- { source_labels: [a], modulus: 8, target_label: h, action: hashmod }\n",
        relabel,
    )
    .unwrap();
    let first = relabel::Settings {
        action: relabel::Action::Replace,
        source_labels: vec![text("a"), text("b")],
        separator: Some(text("/")),
        regex: Some(text("(.*)")),
        modulus: 0,
        target_label: text("c"),
        replacement: Some(text("$1")),
    };
    assert_eq!(rules[0], first);
    assert_eq!((rules[1].action, rules[1].regex.as_deref()), (relabel::Action::LabelDrop, Some("tmp_.*")));
    assert_eq!((rules[2].action, rules[2].modulus), (relabel::Action::HashMod, 8));
}

/// Every mistake is said, each at its place, with what to do.
#[test]
fn mistakes_are_all_said_at_once() {
    let written = "\
- jsn: { expressions: { a: } }
- json: { expresions: { a: }, source: '' }
- regex: { expression: '' }
- timestamp: { source: t, format: RFC3339, action_on_failure: ignore }
- match:
    selector: '{a=\"b\"}'
    stages:
      - labels: {}
      - output: { src: a }
- sampling: { rate: 2 }
- tenant: { label: a, value: b }
- limit: { rate: fast, burst: 1 }
- eventlogmessage: { source: x }
- docker
- labels: { a: }
  output: { source: a }
- metrics: { m: { type: counter, config: { action: add, count_entry_bytes: yes } }, n: { type: meter, config: {} } }
- drop: {}
- redact: { kinds: [cards] }
";
    let report = parse(written).unwrap_err();
    for expected in [
        "a.yaml:1:3: unknown stage \"jsn\"",
        "help: did you mean \"json\"?",
        "a.yaml:2:11: unknown key \"expresions\"",
        "help: did you mean \"expressions\"?",
        "a.yaml:2:39: `source` is empty",
        "a.yaml:3:24: `expression` is empty",
        "a.yaml:4:63: \"ignore\" is not a choice",
        "a.yaml:8:9: `labels` is empty",
        "a.yaml:9:19: unknown key \"src\"",
        "a.yaml:10:21: `sampling` needs a `rate` from 0 to 1",
        "a.yaml:11:3: `tenant` needs one of `label`, `source` and `value`",
        "a.yaml:12:18: expected a number, found text",
        "a.yaml:13:3: lugger does not have the stage \"eventlogmessage\"",
        "a.yaml:14:3: a stage's name is followed by a colon",
        "help: write `- docker: {}`",
        "a.yaml:16:3: a stage has one name, and its options below it",
        "help: begin `output` with `- ` on a line of its own",
        "a.yaml:17:76: expected true or false, found text",
        "a.yaml:17:96: \"meter\" is no type of metric",
        "a.yaml:18:3: `drop` has no condition",
        "a.yaml:19:21: \"cards\" is no kind of secret that lugger knows",
        "help: did you mean \"card\"?",
    ] {
        assert!(report.contains(expected), "{expected}\n---\n{report}");
    }
    // Nothing that follows only from what was said.
    assert_eq!(report.matches("a.yaml:").count(), 17, "{report}");
}

/// A stage that only some builds have says so, and with it what is wrong with it.
#[test]
fn a_stage_that_another_build_has() {
    let report = parse("- geoip: { db: x, source: ip, db_type: city }").unwrap_err();
    let expected = if cfg!(feature = "geoip") {
        "a.yaml:1:16: this path is not absolute"
    } else {
        "a.yaml:1:3: this build of lugger is without the stage \"geoip\""
    };
    assert!(report.starts_with(expected), "{report}");
    assert_eq!(report.contains("cargo build --release --features geoip"), cfg!(not(feature = "geoip")), "{report}");
}

#[test]
fn options_that_contradict_each_other() {
    for (written, expected) in [
        ("x: y", "1:1: expected a list of stages"),
        ("- - a", "1:3: expected a stage"),
        ("- {}", "1:3: this stage has no name"),
        ("- match: { selector: '{}', action: drop, stages: [docker: ] }", "1:42: `stages` of what is dropped"),
        ("- match: { selector: '{}' }", "1:3: `match` needs `stages`"),
        ("- match: { selector: '{}', stages: [] }", "1:36: `match` needs `stages`"),
        ("- match: { stages: [docker: ] }", "1:3: `match` needs `selector`"),
        ("- limit: { rate: 0, burst: 1 }", "1:18: `limit` needs a `rate` above 0"),
        ("- limit: { rate: 1 }", "1:3: `limit` needs a `burst` above 0"),
        ("- limit: { rate: nan, burst: 1 }", "1:18: `limit` needs a `rate` above 0"),
        ("- limit: { rate: 1, burst: 1, by_label_name: a }", "1:46: `by_label_name` needs `drop`"),
        ("- sampling: {}", "1:3: `sampling` needs a `rate` from 0 to 1"),
        ("- drop: { value: a }", "1:18: `value` needs `source`"),
        ("- drop: { source: a, value: b, expression: c }", "1:44: `value` and `expression` cannot be used together"),
        ("- drop: { older_than: soon }", "1:23: expected a duration"),
        ("- cri: { max_partial_lines: 0 }", "1:29: this number is out of range"),
        ("- multiline: { firstline: x, max_wait_time: 0s }", "1:45: this is no time"),
        ("- metrics: {}", "1:3: `metrics` needs a map of metrics"),
        ("- metrics: { m: { type: counter } }", "1:14: `m` needs `config`"),
        ("- metrics: { m: { type: gauge, config: { action: reset } } }", "1:50: \"reset\" is no action here"),
        ("- metrics: { m: { type: gauge, config: {} } }", "1:32: `config` needs `action`"),
        ("- metrics: { m: { type: histogram, config: { buckets: [2, 1] } } }", "1:55: buckets have to ascend"),
        (
            "- metrics: { m: { type: counter, config: { action: inc, match_all: true, value: x } } }",
            "1:81: `match_all` and `value` cannot be used together",
        ),
        (
            "- metrics: { m: { type: counter, max_idle_duration: 1ms, config: { action: inc } } }",
            "1:53: 1ms is out of range",
        ),
        ("- redact: {}", "1:3: `redact` looks for nothing"),
        (
            "- redact: { kinds: all, replace: x, hash_salt: y }",
            "1:37: `replace` and `hash_salt` cannot be used together",
        ),
        ("- redact: { kinds: all, hash_salt: '' }", "1:36: the salt is empty"),
        ("- redact: { kinds: all, hash_salt_file: /does/not/exist }", "1:41: this file cannot be read"),
        ("- labels: [a]", "1:11: expected a map, found a list"),
        ("- static_labels: { a: [b] }", "1:23: expected text, found a list"),
    ] {
        let report = parse(written).expect_err(written);
        assert!(report.starts_with(&format!("a.yaml:{expected}")), "{expected}\n---\n{report}");
        assert_eq!(report.matches("a.yaml:").count(), 1, "{report}");
    }
}

#[test]
fn rules_that_do_not_work_are_said() {
    let written = "\
- { source_label: [a], target_label: b }
- { source_labels: [a], regex: '(', target_label: b }
- { source_labels: [a] }
- { action: hashmod, source_labels: [a], target_label: b }
- { action: rename }
- 5
";
    let report = with(written, relabel).unwrap_err();
    for expected in [
        "a.yaml:1:5: unknown key \"source_label\"",
        "help: did you mean \"source_labels\"?",
        "a.yaml:2:32: `regex`: regular expression, character 1",
        "a.yaml:3:3: `target_label`: `replace` needs one",
        "a.yaml:4:3: `modulus`: `hashmod` needs one that is not 0",
        "a.yaml:5:13: \"rename\" is no action",
        "a.yaml:6:3: expected a map",
    ] {
        assert!(report.contains(expected), "{expected}\n---\n{report}");
    }
    assert_eq!(report.matches("a.yaml:").count(), 6, "{report}");
}

#[test]
fn errors_of_compiling_have_the_place_of_what_is_written() {
    let written = "\
- json:
    expressions: { a: 'b[' , c: }
- match:
    selector: '{'
    stages:
      - non_indexed_labels: { a: }
      - drop: { source: a }
";
    let list = tree::parse(written).unwrap().root;
    let key = |text: &str| Step::Key(text.to_owned());
    for (path, expected) in [
        (vec![], (1, 1)),
        (vec![Step::Index(0)], (1, 3)),
        (vec![Step::Index(0), key("json")], (1, 3)),
        (vec![Step::Index(0), key("json"), key("expressions"), key("a")], (2, 23)),
        (vec![Step::Index(0), key("json"), key("expressions"), key("c")], (2, 30)),
        (vec![Step::Index(0), key("json"), key("source")], (1, 3)),
        (vec![Step::Index(1), key("match"), key("selector")], (4, 15)),
        (vec![Step::Index(1), key("match"), key("stages"), Step::Index(0), key("structured_metadata")], (6, 9)),
        (
            vec![
                Step::Index(1),
                key("match"),
                key("stages"),
                Step::Index(1),
                key("drop"),
                key("source"),
                Step::Index(0),
            ],
            (7, 25),
        ),
        (vec![Step::Index(9)], (1, 1)),
    ] {
        let start = place(&list, &path).start;
        assert_eq!((start.line, start.column), expected, "{path:?}");
    }
}
