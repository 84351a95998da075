//! `lugger test`: runs the unit tests of pipelines that stand beside a configuration.

use super::output::{complain, count, say};
use crate::config::plan::Plan;
use crate::config::trials::{self, Expected, Trial};
use crate::config::{Pos, load_with_warnings};
use crate::format::civil::format_rfc3339_ns;
use crate::pipeline::rehearsal::{Outcome, Rehearsal, Sent};
use anyhow::Context;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/lugger/agent.yaml")]
    config: PathBuf,

    /// The files of tests [default: agent.test.yaml beside agent.yaml]
    #[arg(value_name = "TESTS")]
    tests: Vec<PathBuf>,
}

/// The time between two lines of a test.
const STEP_NS: i64 = 1_000_000;

/// Runs the command: exit code 0 if all tests pass, 1 if not.
pub fn main(options: &Options) -> anyhow::Result<ExitCode> {
    let plan = match load_with_warnings(&options.config) {
        Ok(loaded) => loaded.plan,
        Err(report) => {
            complain(&format!("{report:#}"));
            return Ok(ExitCode::FAILURE);
        }
    };
    let files = if options.tests.is_empty() { vec![trials::beside(&options.config)] } else { options.tests.clone() };
    let (mut passed, mut failed) = (0u64, 0u64);
    for file in files {
        let tests = match trials::load(&file, &plan) {
            Ok(tests) => tests,
            Err(report) => {
                complain(&format!("{report:#}"));
                failed += 1;
                continue;
            }
        };
        for test in tests {
            let differences = run(&test, &plan, &file)?;
            if differences.is_empty() {
                passed += 1;
                say(&format!("ok    {}", test.name));
            } else {
                failed += 1;
                say(&format!("FAIL  {} ({})\n{}", test.name, place(&file, test.place), differences.join("\n")));
            }
        }
    }
    let total = count(passed + failed, "test", "tests");
    say(&if failed == 0 { format!("{total}, all passed") } else { format!("{total}, {failed} failed") });
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn place(file: &Path, at: Pos) -> String {
    format!("{}:{}", file.display(), at.line)
}

/// Runs one test. What is not as it should be, in words; nothing if all is.
fn run(test: &Trial, plan: &Plan, file: &Path) -> anyhow::Result<Vec<String>> {
    let pipelines = plan.pipelines();
    let pipeline = pipelines.get(test.source).context("the test's source is gone")?;
    let filename = test.filename.as_deref().map(|path| ("filename", path));
    let more = test.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let labels = pipeline
        .begin(more.chain(filename))
        .with_context(|| format!("{}: the labels of the test's lines", test.name))?;
    let Some(labels) = labels else {
        let dropped = |text: &String| Outcome::Dropped { reason: "relabel".to_owned(), text: text.clone() };
        return Ok(compare(test, &test.lines.iter().map(dropped).collect::<Vec<_>>(), file));
    };
    let (late, caps) = (pipeline.late_labels.clone(), pipeline.label_caps);
    let mut rehearsal = Rehearsal::new(pipeline.stages, late, caps, pipeline.line_bytes)?;
    let mut lines = rehearsal.begin(labels, pipeline.has_filename);
    let mut now_ns = test.now_ns;
    let mut out = Vec::new();
    for line in &test.lines {
        out.extend(rehearsal.line(line, now_ns, &mut lines));
        now_ns = now_ns.saturating_add(STEP_NS);
    }
    out.extend(rehearsal.release(now_ns, true, &mut lines));
    Ok(compare(test, &out, file))
}

fn compare(test: &Trial, out: &[Outcome], file: &Path) -> Vec<String> {
    let mut differences = Vec::new();
    for (i, expected) in test.expect.iter().enumerate() {
        let at = place(file, expected.place);
        let number = i + 1;
        match out.get(i) {
            Some(outcome) => {
                let wrong = differ(expected, outcome);
                if !wrong.is_empty() {
                    differences.push(format!("  entry {number} ({at})"));
                    differences.extend(wrong);
                }
            }
            None => differences.push(format!("  entry {number} ({at}) did not come out")),
        }
    }
    for (i, outcome) in out.iter().enumerate().skip(test.expect.len()) {
        differences.push(format!("  entry {} is not expected: {}", i + 1, shown(outcome)));
    }
    differences
}

/// One line for what is expected, one for what was found.
fn differ(expected: &Expected, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, wanted: String, found: String| {
        if wanted != found {
            wrong.push(format!("    {what:<9} expected {wanted}\n              found    {found}"));
        }
    };
    match (expected.dropped.as_deref(), outcome) {
        (Some(reason), Outcome::Dropped { reason: found, .. }) => check("dropped", quote(reason), quote(found)),
        (Some(reason), Outcome::Sent(_)) => check("dropped", quote(reason), shown(outcome)),
        (None, Outcome::Dropped { .. }) => check("sent", "an entry".to_owned(), shown(outcome)),
        (None, Outcome::Sent(sent)) => {
            let Sent { labels, time_ns, text, metadata, tenant } = sent;
            if let Some(line) = &expected.line {
                check("line", quote(line), quote(text));
            }
            if let Some(wanted) = &expected.labels {
                let counts = |name: &str| name != "filename" || wanted.contains_key(name);
                let found = labels.iter().filter(|(name, _)| counts(name));
                check("labels", set(wanted.iter()), set(found));
            }
            if let Some(wanted) = expected.time_ns {
                check("timestamp", format_rfc3339_ns(wanted), format_rfc3339_ns(*time_ns));
            }
            if let Some(wanted) = &expected.metadata {
                let found: BTreeMap<_, _> = metadata.iter().map(|(name, value)| (name, value)).collect();
                check("metadata", set(wanted.iter()), set(found.into_iter()));
            }
            if let Some(wanted) = &expected.tenant {
                check("tenant", quote(wanted), tenant.as_deref().map_or("none".to_owned(), quote));
            }
        }
    }
    wrong
}

fn quote(text: &str) -> String {
    format!("{text:?}")
}

fn set<N: AsRef<str>, V: AsRef<str>>(pairs: impl Iterator<Item = (N, V)>) -> String {
    let pair = |(name, value): (N, V)| format!("{}={:?}", name.as_ref(), value.as_ref());
    format!("{{{}}}", pairs.map(pair).collect::<Vec<_>>().join(", "))
}

/// An outcome in a line.
fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Dropped { reason, .. } => format!("dropped, {reason:?}"),
        Outcome::Sent(sent) => format!("{} {:?}", sent.labels.encoded(), sent.text),
    }
}
