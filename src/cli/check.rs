//! `lugger check`: reads a configuration and says what would run.

use super::output::{complain, count, say};
use crate::base::units::{format_duration, format_size};
use crate::config::plan::{DockerSource, FileSource, JournalSource, Plan, Receiver};
use crate::config::{judge_elsewhere, load_with_warnings};
use crate::pipeline::settings::Stage;
use crate::source::file::matching;
use crate::source::host::collectors;
use crate::source::receive::examine;
use std::path::PathBuf;
use std::process::ExitCode;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/lugger/agent.yaml")]
    pub config: PathBuf,

    /// The file is for another host: files and environment variables that it names may be missing here.
    ///
    /// They are told of as notes. What lies in files (keys, certificates, positions) is not looked at.
    #[arg(long)]
    pub elsewhere: bool,
}

/// Runs the command: exit code 0 if the file is valid, 1 with a report on stderr if not.
pub fn main(options: &Options) -> anyhow::Result<ExitCode> {
    if options.elsewhere {
        return Ok(for_another_host(options));
    }
    match load_with_warnings(&options.config) {
        Ok(loaded) => {
            if !loaded.warnings.is_empty() {
                complain(&format!("{}\n", loaded.warnings));
            }
            let plan = loaded.plan;
            let problems = plan.receivers.iter().filter_map(|receiver| examine(&receiver.settings).err());
            let problems: Vec<String> = problems.map(|problem| format!("error: {problem}\n")).collect();
            if !problems.is_empty() {
                complain(&problems.concat());
                return Ok(ExitCode::FAILURE);
            }
            say(&format!("{} is valid.\n{}", options.config.display(), summary(&plan)));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            // The report is complete in itself.
            complain(&format!("{error:#}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The file alone is judged, not what it names.
fn for_another_host(options: &Options) -> ExitCode {
    match judge_elsewhere(&options.config) {
        Ok(report) => {
            if !report.is_empty() {
                complain(&format!("{report}\n"));
            }
            say(&format!("{} is valid for a host that has what it names.", options.config.display()));
            ExitCode::SUCCESS
        }
        Err(report) => {
            complain(&report.to_string());
            ExitCode::FAILURE
        }
    }
}

/// What a plan does, in a few lines.
fn summary(plan: &Plan) -> String {
    let mut lines = vec![count(plan.sources() as u64, "source", "sources")];
    let to = |to: &[usize]| {
        let names: Vec<&str> = to.iter().filter_map(|index| plan.loki.get(*index)).map(|e| e.name.as_str()).collect();
        names.join(", ")
    };
    let stages = |stages: &[Stage]| match stages.len() {
        0 => String::new(),
        number => format!(", through {}", count(number as u64, "stage", "stages")),
    };
    for FileSource { settings, to: endpoints } in &plan.files {
        let (name, include) = (&settings.name, settings.include.join(", "));
        // Patterns that are wrong were reported.
        let now = matching(&settings.include, &settings.exclude).unwrap_or_default();
        let now = format!("{} now", count(now as u64, "file", "files"));
        lines.push(format!("  {name} (file): {include}, {now}, to {}{}", to(endpoints), stages(&settings.stages)));
    }
    for JournalSource { settings, to: endpoints } in &plan.journals {
        let path = settings.path.as_ref().map_or("this host's journal".to_owned(), |path| path.display().to_string());
        let (name, endpoints) = (&settings.name, to(endpoints));
        lines.push(format!("  {name} (journal): {path} to {endpoints}{}", stages(&settings.stages)));
    }
    for DockerSource { settings, to: endpoints } in &plan.dockers {
        let (name, host, logs, endpoints) =
            (&settings.name, &settings.host, settings.containers.display(), to(endpoints));
        lines.push(format!("  {name} (docker): {host}, logs in {logs} to {endpoints}{}", stages(&settings.stages)));
    }
    for Receiver { settings, records, to: endpoints } in &plan.receivers {
        let (name, kind, endpoints) = (&settings.name, settings.kind(), to(endpoints));
        let address = settings.address().map_or("to its end".to_owned(), |address| match settings.tls() {
            Some(_) => format!("{address} with TLS"),
            None => address.to_string(),
        });
        lines.push(format!("  {name} ({kind}): {address} to {endpoints}{}", stages(&records.stages)));
    }
    lines.extend(metrics(plan));
    lines.push(count(plan.endpoints() as u64, "endpoint", "endpoints"));
    for endpoint in &plan.loki {
        let tenant = endpoint.tenant_id.as_ref().map_or(String::new(), |tenant| format!(", tenant {tenant}"));
        // What follows a question mark may be a key.
        let url = endpoint.url.split('?').next().unwrap_or("");
        lines.push(format!("  {} (loki): {url}{tenant}", endpoint.name));
    }
    for endpoint in &plan.remote_write {
        let url = endpoint.url.split('?').next().unwrap_or("");
        lines.push(format!("  {} (remote_write): {url}", endpoint.name));
    }
    for positions in &plan.imports {
        let files = count(positions.files.len() as u64, "file", "files");
        lines.push(format!(
            "positions of {files} are taken over from {}, if they were not before",
            positions.path.display()
        ));
    }
    let http = match plan.http {
        None => "off".to_owned(),
        Some(address) if address.port() == 0 => format!("on a free port of {}, which the log names", address.ip()),
        Some(address) => format!("http://{address}/"),
    };
    lines.push(format!(
        "status page {http}; state in {}; memory at most {}",
        plan.state_dir.display(),
        format_size(plan.memory_bytes)
    ));
    if let Some(file) = plan.files.first() {
        lines.push(format!("lines above {} are cut", format_size(file.settings.line_bytes as u64)));
    }
    lines.join("\n")
}

/// Where metrics come from, and where they go.
fn metrics(plan: &Plan) -> Vec<String> {
    let Some(metrics) = &plan.metrics else { return Vec::new() };
    let to = |to: &[usize]| {
        let names = to.iter().filter_map(|index| plan.remote_write.get(*index)).map(|e| e.name.as_str());
        let names: Vec<&str> = names.collect();
        if names.is_empty() { "at /metrics/host".to_owned() } else { format!("to {}", names.join(", ")) }
    };
    let mut lines = Vec::new();
    if let Some(host) = &metrics.host {
        let on = collectors().filter(|(name, _)| host.settings.is_on(name)).count();
        let on = count(on as u64, "collector", "collectors");
        let every = format_duration(metrics.interval);
        lines.push(format!("  host (metrics): {on}, every {every}, {}", to(&host.to)));
    }
    for (job, endpoints) in &metrics.scrape {
        let targets: usize = job.groups.iter().map(|group| group.targets.len()).sum();
        let files = job.files.iter().map(|files| files.patterns.len()).sum::<usize>();
        let mut from = count(targets as u64, "target", "targets");
        if files > 0 {
            from.push_str(&format!(" and those of {}", count(files as u64, "pattern of files", "patterns of files")));
        }
        let every = format_duration(job.interval);
        lines.push(format!("  {} (scrape): {from}, every {every}, {}", job.job, to(endpoints)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::host;
    use std::path::Path;

    #[test]
    fn the_summary_names_sources_and_endpoints() {
        let address = "127.0.0.1:3100".parse().unwrap();
        let logs = [PathBuf::from("/dev/null/x")];
        let plan = host::plan(address, "h", &logs, Path::new("/tmp/no-sample"), Path::new("/tmp/state")).unwrap();
        assert_eq!(
            summary(&plan),
            "2 sources\n  sample (file): /tmp/no-sample/*.log, 0 files now, to demo\n  host (file): /dev/null/x, 0 files now, to demo\n\
             1 endpoint\n  demo (loki): http://127.0.0.1:3100/loki/api/v1/push\n\
             status page off; state in /tmp/state; memory at most 64MiB\nlines above 256KiB are cut"
        );
        let plan = Plan { http: Some("127.0.0.1:0".parse().unwrap()), ..plan };
        let words = summary(&plan);
        assert!(words.contains("status page on a free port of 127.0.0.1, which the log names; "), "{words}");
    }
}
