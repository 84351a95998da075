//! Floor 5: the configuration file, as written (`raw`) and as the agent needs it ([`plan`]). The only place that knows YAML.
//!
//! The way of a file: text to a tree with places (`tree`), environment (`env`), types (`de`, `raw`), meaning (`check`). Each step
//! goes on with what the one before could make sense of, so that one report has everything. A file of Promtail is translated to the same tree
//! (`promtail`) on its way.
//!
//! Promises: a plan is complete and consistent; a [`Report`] has each problem with its place, the line, and the remedy; no secret is in
//! a report or in the debugging output of a plan. Leaves to others: opening what the plan names.

mod access;
mod check;
mod de;
mod docker;
mod endpoint;
mod env;
mod expand;
mod file;
mod host;
mod host_target;
mod journal;
mod logs;
mod metrics;
mod pipeline;
pub mod plan;
mod positions;
mod promtail;
mod raw;
mod receivers;
mod recipes;
mod remote_write;
mod report;
mod scrape;
mod secrets;
mod source;
mod tree;
pub mod trials;

use crate::base::limits::CONFIG_PROBLEMS;
use plan::Plan;
use report::Finding;
use source::Source;
use std::net::SocketAddr;
use std::path::Path;

pub use env::Lookup;
pub use expand::expand;
pub use report::{Problem, Report, Severity};
pub use source::Pos;

/// A configuration that can run.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What to run.
    pub plan: Plan,
    /// What is probably not meant; warnings only, often none.
    pub warnings: Report,
}

/// Reads the file at `path`, with the process's environment. Warnings are dropped; [`load_with_warnings`] has them.
pub fn load(path: &Path) -> Result<Plan, Report> {
    load_with_warnings(path).map(|loaded| loaded.plan)
}

/// Reads the file at `path`, with the process's environment.
pub fn load_with_warnings(path: &Path) -> Result<Loaded, Report> {
    let name = path.display().to_string();
    let bytes = file::read(path).map_err(|finding| Report::new(&name, &Source::new(""), vec![finding]))?;
    load_bytes(&name, &bytes, &env::process).map(|(loaded, _)| loaded)
}

/// Judges the file at `path` for another host: files that cannot be read here and variables that are not set here are notes, not errors. There is no
/// plan, since that would need them. What else is probably not meant is in the report.
pub fn judge_elsewhere(path: &Path) -> Result<Report, Report> {
    let name = path.display().to_string();
    let bytes = file::read(path).map_err(|finding| Report::new(&name, &Source::new(""), vec![finding]))?;
    judge_bytes(&name, &bytes, &env::process).map(|(_, report)| report)
}

/// Where the agent that runs with the file at `path` serves its status, if it does. Its secrets and variables may be missing here.
pub fn status_address(path: &Path) -> Result<Option<SocketAddr>, Report> {
    let name = path.display().to_string();
    let bytes = file::read(path).map_err(|finding| Report::new(&name, &Source::new(""), vec![finding]))?;
    judge_bytes(&name, &bytes, &env::process).map(|(plan, _)| plan.http)
}

/// The same from memory, as [`load_str`].
pub fn judge_elsewhere_str(name: &str, text: &str, env: &Lookup<'_>) -> Result<Report, Report> {
    judge_bytes(name, text.as_bytes(), env).map(|(_, report)| report)
}

/// The plan has holes where something was missing: it is not to be run.
fn judge_bytes(name: &str, bytes: &[u8], env: &Lookup<'_>) -> Result<(Plan, Report), Report> {
    let Read { plan, report, .. } = read_bytes(name, bytes, env, Finding::elsewhere)?;
    match plan {
        Some(plan) => Ok((plan, report)),
        None => Err(report),
    }
}

/// A Promtail file in lugger's own form.
#[derive(Debug, Clone)]
pub struct Converted {
    /// The native file.
    pub yaml: String,
    /// What has no counterpart; warnings and notes only, often none.
    pub warnings: Report,
}

/// Translates the Promtail file at `path`. A file that is in lugger's form already is an error.
pub fn convert(path: &Path) -> Result<Converted, Report> {
    let name = path.display().to_string();
    let bytes = file::read(path).map_err(|finding| Report::new(&name, &Source::new(""), vec![finding]))?;
    convert_bytes(&name, &bytes, &env::process)
}

/// The same from memory, as [`load_str`].
pub fn convert_str(name: &str, text: &str, env: &Lookup<'_>) -> Result<Converted, Report> {
    convert_bytes(name, text.as_bytes(), env)
}

fn convert_bytes(name: &str, bytes: &[u8], env: &Lookup<'_>) -> Result<Converted, Report> {
    let (loaded, native) = load_bytes(name, bytes, env)?;
    match native {
        Some(native) => Ok(Converted { yaml: promtail::print(&native), warnings: loaded.warnings }),
        None => {
            let finding = Finding::nowhere("this is not a Promtail file but one of lugger")
                .help("there is nothing to convert; with --expand its recipes are written out as stages");
            Err(Report::new(name, &Source::new(""), vec![finding]))
        }
    }
}

/// Reads a configuration from memory: `name` stands for the file in reports, `env` looks environment variables up.
/// Files and directories that it names are looked at all the same.
pub fn load_str(name: &str, text: &str, env: &Lookup<'_>) -> Result<Loaded, Report> {
    load_bytes(name, text.as_bytes(), env).map(|(loaded, _)| loaded)
}

fn load_bytes(name: &str, bytes: &[u8], env: &Lookup<'_>) -> Result<(Loaded, Option<promtail::Native>), Report> {
    let Read { plan, native, report } = read_bytes(name, bytes, env, |finding| finding)?;
    match plan {
        Some(plan) => Ok((Loaded { plan, warnings: report }, native)),
        None => Err(report),
    }
}

/// What a file without errors comes to. Without a plan it is wrong all the same, or not whole on this host.
struct Read {
    plan: Option<Plan>,
    native: Option<promtail::Native>,
    report: Report,
}

/// Reads a file; `judge` says how bad each finding is.
fn read_bytes(name: &str, bytes: &[u8], env: &Lookup<'_>, judge: fn(Finding) -> Finding) -> Result<Read, Report> {
    let text = file::text(bytes).map_err(|(readable, finding)| {
        let mut source = Source::new(&readable);
        let secrets = secrets::in_lines(&source);
        source.hide(secrets);
        Report::new(name, &source, vec![finding])
    })?;
    let mut source = Source::new(text);
    let tree::Parsed { mut root, mut findings } = match tree::parse(text) {
        Ok(parsed) => parsed,
        Err(mut finding) => {
            let line = finding.span.and_then(|span| source.lines().get(span.start.line.saturating_sub(1)));
            if line.is_some_and(|line| line.contains("${")) {
                finding = finding.help("${NAME} has to be quoted inside of { } and [ ]: \"${NAME}\"");
            }
            let secrets = secrets::in_lines(&source);
            source.hide(secrets);
            return Err(Report::new(name, &source, vec![finding]));
        }
    };
    source.hide(secrets::in_tree(&root, &source));
    source.hide(secrets::in_comments(&source));
    let directory = Path::new(name).parent().unwrap_or(Path::new("."));
    let (native, plan) = if promtail::is_one(&root) {
        let native = promtail::translate(&mut root, env, directory, &mut findings);
        let mut tree = native.to_tree(root.span, findings.iter().any(|finding| finding.severity == Severity::Error));
        let raw = de::read(&mut tree, &mut findings);
        let plan = raw.and_then(|raw| check::plan(&raw, &tree, env, &mut findings));
        (Some(native), plan)
    } else {
        (None, understand(&mut root, &source, env, &mut findings))
    };
    let findings: Vec<Finding> = findings.into_iter().map(judge).collect();
    let is_wrong = findings.iter().any(|finding| finding.severity == Severity::Error);
    let report = Report::new(name, &source, findings);
    if is_wrong { Err(report) } else { Ok(Read { plan, native, report }) }
}

fn understand(
    root: &mut tree::Node,
    source: &Source<'_>,
    env: &Lookup<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Plan> {
    let mut unset = Vec::new();
    env::substitute(root, env, &mut unset);
    // Narrowing costs a search through the line, and more than this is not shown.
    findings.extend(unset.into_iter().enumerate().map(|(i, (finding, written))| match finding.span {
        Some(span) if i < CONFIG_PROBLEMS => Finding { span: Some(source.narrow(span, &written)), ..finding },
        _ => finding,
    }));
    let raw = de::read(root, findings)?;
    check::plan(&raw, root, env, findings)
}
