//! Unit tests of pipelines: a YAML file beside the configuration, `agent.test.yaml` for `agent.yaml`.
//!
//! ```yaml
//! tests:
//!   - name: access log
//!     source: nginx                    # the name of an entry of `logs`
//!     filename: /var/log/nginx/a.log   # the label that the lines would have; none by default
//!     labels: { __journal_priority: 3 } # what else they have, and `relabel_configs` see where these see each line
//!     now: 2026-01-01T00:00:00Z        # when the first line is read; each further one a millisecond later
//!     lines:
//!       - '192.0.2.1 - - [27/Jun/2025:11:55:44 +0000] "GET / HTTP/1.1" 200 5 "-" "curl"'
//!     expect:                          # what comes out, in this order
//!       - { labels: { job: nginx, status: 200, method: GET }, timestamp: 2025-06-27T11:55:44Z }
//! ```
//!
//! An expected entry says what it cares for: `line`, `labels` (all of them), `timestamp`, `metadata` (all of it), `tenant`; or `dropped`, a reason.
//!
//! Promises: mistakes are reported as in a configuration. Leaves to others: running tests.

use super::check::Check;
use super::plan::Plan;
use super::raw::OneOrMany;
use super::report::{Finding, Report};
use super::source::{Pos, Source};
use super::tree::{self, Node};
use super::{de, file};
use crate::base::words::suggest;
use crate::format::rfc3339;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// When the first line of a test is read, if it does not say so: 2026-01-01.
const NOW_NS: i64 = 1_767_225_600_000_000_000;

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// What it is called.
    pub name: String,
    /// Where it stands.
    pub place: Pos,
    /// Index into [`Plan::pipelines`].
    pub source: usize,
    /// The label `filename` of its lines.
    pub filename: Option<String>,
    /// Further labels of its lines, as the source's rules see them.
    pub labels: BTreeMap<String, String>,
    /// When the first line is read, nanoseconds since 1970.
    pub now_ns: i64,
    /// The lines.
    pub lines: Vec<String>,
    /// What has to come out.
    pub expect: Vec<Expected>,
}

/// What has to come out; what is `None` may be anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Where it stands.
    pub place: Pos,
    /// It is dropped, for this reason.
    pub dropped: Option<String>,
    /// The text.
    pub line: Option<String>,
    /// All labels but `filename`, which counts only where it is named.
    pub labels: Option<BTreeMap<String, String>>,
    /// The time, nanoseconds since 1970.
    pub time_ns: Option<i64>,
    /// All metadata.
    pub metadata: Option<BTreeMap<String, String>>,
    /// The tenant.
    pub tenant: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    tests: Option<Vec<RawTrial>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTrial {
    name: Option<String>,
    source: Option<String>,
    filename: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    now: Option<String>,
    lines: Option<OneOrMany>,
    expect: Option<Vec<RawExpected>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpected {
    line: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    timestamp: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    tenant: Option<String>,
    dropped: Option<String>,
}

/// Where the tests of a configuration are, if nobody says so: `agent.test.yaml` beside `agent.yaml`.
pub fn beside(config: &Path) -> PathBuf {
    config.with_extension("test.yaml")
}

/// Reads the tests in the file at `path`, which are about `plan`.
pub fn load(path: &Path, plan: &Plan) -> Result<Vec<Trial>, Report> {
    let name = path.display().to_string();
    let nowhere = |finding: Finding| Report::new(&name, &Source::new(""), vec![finding]);
    let bytes = file::read(path).map_err(|finding| {
        let finding = Finding { message: finding.message.replace("the configuration", "the file of tests"), ..finding };
        nowhere(finding.help("name the file, or put it beside the configuration: agent.test.yaml for agent.yaml"))
    })?;
    let text = file::text(&bytes).map_err(|(_, finding)| nowhere(finding))?;
    let source = Source::new(text);
    let report = |findings| Report::new(&name, &source, findings);
    let tree::Parsed { mut root, mut findings } = tree::parse(text).map_err(|finding| report(vec![finding]))?;
    let raw: RawFile = de::read(&mut root, &mut findings).unwrap_or_default();
    let trials = understand(raw, &root, plan, &mut Check::new(&mut findings));
    if findings.is_empty() { Ok(trials) } else { Err(report(findings)) }
}

fn understand(raw: RawFile, root: &Node, plan: &Plan, check: &mut Check<'_>) -> Vec<Trial> {
    let list = root.child("tests");
    let tests = raw.tests.unwrap_or_default();
    if tests.is_empty() && !root.is_damaged() && !list.is_damaged() {
        check.error(root.key_span("tests"), "there are no tests", "write `tests:` and a list of them");
    }
    let trial = |(i, raw): (usize, RawTrial)| trial(raw, list.item(i), plan, check);
    tests.into_iter().enumerate().filter_map(trial).collect()
}

fn trial(raw: RawTrial, node: &Node, plan: &Plan, check: &mut Check<'_>) -> Option<Trial> {
    let place = node.span.start;
    let pipelines = plan.pipelines();
    let names = || pipelines.iter().map(|pipeline| pipeline.name);
    let source = match &raw.source {
        Some(name) => {
            let found = names().position(|known| known == name);
            if found.is_none() {
                let help = suggest(name, "the entries are", names().collect::<Vec<_>>());
                check.error(node.child("source").span, format!("no entry of `logs` is named {name:?}"), help);
            }
            found
        }
        None if pipelines.len() == 1 || node.is_damaged() => Some(0),
        None => {
            let help =
                format!("add `source`, the name of an entry of `logs`: {}", names().collect::<Vec<_>>().join(", "));
            check.error(node.span, "this test does not say what it is about", help);
            None
        }
    };
    let now_ns = time(raw.now.as_deref(), node.child("now"), check).unwrap_or(NOW_NS);
    // One text is as many lines as it has.
    let lines = match raw.lines {
        Some(OneOrMany(lines)) if matches!(node.child("lines").value, tree::Value::Scalar(_)) => {
            lines.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
        }
        lines => lines.unwrap_or_default().0,
    };
    if lines.is_empty() && !node.is_damaged() {
        check.error(node.span, "this test has no lines", "add `lines`");
    }
    if raw.expect.is_none() && !node.is_damaged() {
        check.error(node.span, "this test expects nothing", "add `expect`; if nothing comes out, `expect: []`");
    }
    let list = node.child("expect");
    let expected = raw.expect.unwrap_or_default().into_iter().enumerate();
    let expect = expected.map(|(i, raw)| expectation(raw, list.item(i), check)).collect();
    let name = raw.name.unwrap_or_else(|| format!("line {}", place.line));
    let labels = raw.labels.unwrap_or_default();
    Some(Trial { name, place, source: source?, filename: raw.filename, labels, now_ns, lines, expect })
}

fn expectation(raw: RawExpected, node: &Node, check: &mut Check<'_>) -> Expected {
    let time_ns = time(raw.timestamp.as_deref(), node.child("timestamp"), check);
    let entry = raw.line.is_some()
        || raw.labels.is_some()
        || raw.timestamp.is_some()
        || raw.metadata.is_some()
        || raw.tenant.is_some();
    if raw.dropped.is_some() && entry {
        let help = "write `dropped` alone: nothing else of it is known";
        check.error(node.key_span("dropped"), "what is dropped has nothing else", help);
    } else if raw.dropped.is_none() && !entry && !node.is_damaged() {
        let help = "write `line`, `labels`, `timestamp`, `metadata`, `tenant` or `dropped`";
        check.error(node.span, "this says nothing of what comes out", help);
    }
    Expected {
        place: node.span.start,
        dropped: raw.dropped,
        line: raw.line,
        labels: raw.labels,
        time_ns,
        metadata: raw.metadata,
        tenant: raw.tenant,
    }
}

fn time(text: Option<&str>, node: &Node, check: &mut Check<'_>) -> Option<i64> {
    let text = text?;
    let time = rfc3339::parse(text);
    if time.is_none() {
        check.error(node.span, format!("{text:?} is no time"), "write it like 2026-01-01T12:00:00.5Z");
    }
    time
}
