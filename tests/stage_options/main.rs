//! Every option of every stage, from YAML to what comes out: each case shows what a pipeline gives with an option, and that it gives something else
//! without it, or with another value. So an option that is read and then forgotten fails here, wherever on the way that happens.
//!
//! A test holds that no option is missing, by asking the configuration which there are.

use lugger::config;
use lugger::format::civil::format_rfc3339_ns;
use lugger::model::labels::{LabelCaps, Labels};
use lugger::pipeline::entry::Entry;
use lugger::pipeline::rehearsal::{Outcome, Rehearsal, Sent};
use lugger::pipeline::settings::Stage;
use lugger::pipeline::state::State;
use lugger::pipeline::trace::stage_names;
use lugger::pipeline::{Emit, LabelNames, compile, metrics};
use std::collections::BTreeSet;
use std::sync::Arc;

const SECOND: i64 = 1_000_000_000;
/// When the first line is read, 2024-01-01T00:00:00Z; each further one a second later.
const START: i64 = 1_704_067_200 * SECOND;

/// See `cases.txt`.
struct Case {
    of: &'static str,
    with: &'static str,
    without: &'static str,
    lines: Vec<String>,
    gives: Vec<&'static str>,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let lines = include_str!("cases.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for text in lines {
        let Some(rest) = text.strip_prefix("  ") else {
            cases.push(Case { of: text, with: "", without: "", lines: Vec::new(), gives: Vec::new() });
            continue;
        };
        let case = cases.last_mut().expect("a name comes first");
        let (what, value) = rest.split_at(8);
        match what.trim_end() {
            "with" => case.with = value,
            "without" => case.without = value,
            "line" => case.lines.push(value.replace('␛', "\u{1b}")),
            "gives" => case.gives.push(value),
            _ => panic!("{text}"),
        }
    }
    cases
}

fn load(stages: &str) -> Result<config::Loaded, config::Report> {
    let entry = format!("name: a, file: {{ include: /x/a.log }}, labels: {{ job: t }}, stages: {stages}");
    config::load_str("a.yaml", &format!("loki: [{{ url: 'http://localhost:3100' }}]\nlogs: [{{ {entry} }}]\n"), &|_| {
        None
    })
}

#[track_caller]
fn stages(text: &str) -> Vec<Stage> {
    let loaded = load(text).unwrap_or_else(|report| panic!("{report}\n{text}"));
    loaded.plan.files[0].settings.stages.clone()
}

fn base() -> Labels {
    Labels::new([("job", "t")]).unwrap()
}

fn shown(outcome: Outcome, read_ns: i64) -> String {
    match outcome {
        Outcome::Dropped { reason, text } => format!("dropped {reason} {}", text.replace('\n', "\\n")),
        Outcome::Sent(Sent { labels, time_ns, text, metadata, tenant }) => {
            let own = labels.iter().filter(|label| *label != ("job", "t"));
            let own: Vec<String> = own.map(|(name, value)| format!("{name}={value:?}")).collect();
            let mut out = format!("{{{}}}", own.join(", "));
            if time_ns != read_ns {
                out.push_str(&format!(" @{}", format_rfc3339_ns(time_ns).replace(".000000000", "")));
            }
            for (name, value) in metadata {
                out.push_str(&format!(" {name}={value:?}"));
            }
            if let Some(tenant) = tenant {
                out.push_str(&format!(" tenant={tenant:?}"));
            }
            format!("{out} {}", text.replace('\n', "\\n"))
        }
    }
}

struct Nobody;

impl Emit for Nobody {
    fn emit(&mut self, _: &Entry<'_>, _: &LabelNames) {}
    fn dropped(&mut self, _: &Entry<'_>, _: u16) {}
}

/// What comes out of lines, or what metrics there are then.
fn run(text: &str, lines: &[&str]) -> Vec<String> {
    let stages = stages(text);
    let mut rehearsal = Rehearsal::new(&stages, Labels::default(), LabelCaps::default(), 1 << 20).unwrap();
    let mut work = rehearsal.begin(base(), true);
    let mut out = Vec::new();
    let mut now = START;
    for line in lines {
        // What is held has the time of a line before.
        let before = rehearsal.release(now, false, &mut work);
        out.extend(before.into_iter().map(|outcome| shown(outcome, START)));
        out.extend(rehearsal.line(line, now, &mut work).into_iter().map(|outcome| shown(outcome, now)));
        now += SECOND;
    }
    out.extend(rehearsal.release(now, true, &mut work).into_iter().map(|outcome| shown(outcome, START)));
    if text.contains("metrics: {") { measured(&stages, lines) } else { out }
}

/// The metrics of stages after these lines.
fn measured(stages: &[Stage], lines: &[&str]) -> Vec<String> {
    let mut program = compile(stages).unwrap();
    let (mut work, mut state) = (program.work(Arc::new(base())), State::default());
    let mut now = START;
    for (i, line) in lines.iter().enumerate() {
        program.run(line, i, now, &mut work, &mut state, &mut Nobody);
        now += SECOND;
    }
    let mut text = String::new();
    metrics::render([program.metrics()], now, &mut text);
    text.lines().filter(|line| !(line.starts_with("# HELP ") && line.ends_with(' '))).map(str::to_owned).collect()
}

#[test]
fn every_option_does_what_it_says() {
    let mut wrong = Vec::new();
    for Case { of, with, without, lines, gives } in cases() {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let found = run(with, &lines);
        if found != gives {
            wrong.push(format!("{of}: {with}\n  gives   {}", found.join("\n  gives   ")));
        }
        if run(without, &lines) == found {
            wrong.push(format!("{of}: it makes no difference to {without}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The keys that are valid where `zzzzzzzz` stands, as the report lists them; none where keys are names of one's own.
fn keys(stages: &str) -> Vec<String> {
    let Err(report) = load(stages) else { return Vec::new() };
    let report = report.to_string();
    let Some(list) = report.split("the keys here are: ").nth(1).or_else(|| report.split("the stages are: ").nth(1))
    else {
        return Vec::new();
    };
    list.lines().next().unwrap_or_default().split(", ").filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

#[test]
fn no_option_is_missing() {
    let mut options: BTreeSet<String> = BTreeSet::new();
    let names = keys("[{ zzzzzzzz: {} }]");
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let found = keys(&format!("[{{ {name}: {{ zzzzzzzz: 1 }} }}]"));
        // Where keys are names of one's own, any will do; nowhere else.
        let is_free = ["labels", "static_labels", "structured_metadata"].contains(&name.as_str());
        assert_eq!(load(&format!("[{{ {name}: {{ zzzzzzzz: 1 }} }}]")).is_ok(), is_free, "{name}");
        // Those of metrics come below.
        if found.is_empty() && name != "metrics" {
            options.insert(name.clone());
        }
        options.extend(found.into_iter().map(|key| format!("{name}.{key}")));
    }
    let metric = keys("[{ metrics: { m: { zzzzzzzz: 1 } } }]");
    options.extend(metric.into_iter().map(|key| format!("metrics.{key}")));
    for kind in ["counter", "gauge", "histogram"] {
        let config = keys(&format!("[{{ metrics: {{ m: {{ type: {kind}, config: {{ zzzzzzzz: 1 }} }} }} }}]"));
        options.extend(config.into_iter().map(|key| format!("metrics.{kind}.{key}")));
    }
    let shown: BTreeSet<&str> = cases().into_iter().map(|case| case.of).chain(ALONE).collect();
    // tests/geoip.rs is about its options.
    let missing: Vec<&String> =
        options.iter().filter(|option| !shown.contains(option.as_str()) && !option.starts_with("geoip.")).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // What is shown exists, as an option, a stage, or under a former name.
    options.extend(options.clone().iter().filter_map(|option| Some(option.split_once('.')?.0.to_owned())));
    let unknown: Vec<&&str> =
        shown.iter().filter(|name| !options.contains(**name) && !FORMER.contains(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Options with a test of their own.
const ALONE: [&str; 3] = ["match.pipeline_name", "limit.max_distinct_labels", "redact.hash_salt_file"];

const FORMER: [&str; 1] = ["non_indexed_labels"];

#[test]
fn a_pipeline_in_a_match_has_its_name_where_stages_are_shown() {
    let of = |name: &str| {
        stage_names(&stages(&format!(
            "[{{ match: {{ selector: '{{job=\"t\"}}'{name}, stages: [{{ decolorize: {{}} }}] }} }}]"
        )))
    };
    assert_eq!(of(""), ["1 match", "1.1 decolorize"]);
    assert_eq!(of(", pipeline_name: colours"), ["1 match colours", "1.1 decolorize"]);
}

/// Of more values than are told apart all are forgotten, and begin anew.
#[test]
fn values_that_a_limit_tells_apart_are_bounded() {
    let dropped = |distinct: &str| {
        let text = format!(
            "[{{ regex: {{ expression: '^(?P<app>.*)$', labels_from_groups: true }} }}, {{ limit: {{ rate: 0.000001, burst: 1, drop: true, by_label_name: app{distinct} }} }}]"
        );
        let lines: Vec<String> =
            (0..=10_000).map(|n| format!("a{n}")).chain(["a10000".to_owned(), "a0".to_owned()]).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        run(&text, &lines).into_iter().filter(|line| line.starts_with("dropped")).collect::<Vec<_>>()
    };
    assert_eq!(dropped(""), ["dropped limit_stage a10000"]);
    assert_eq!(dropped(", max_distinct_labels: 20000"), ["dropped limit_stage a10000", "dropped limit_stage a0"]);
}

#[test]
fn a_salt_may_be_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("salt");
    std::fs::write(&file, "pepper\n").unwrap();
    let with = |salt: &str| run(&format!("[{{ redact: {{ kinds: email, {salt} }} }}]"), &["of a@example.org"]);
    assert_eq!(with(&format!("hash_salt_file: {}", file.display())), with("hash_salt: pepper"));
}
