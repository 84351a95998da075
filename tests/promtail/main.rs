//! Promtail's files, as people have them: what they become in lugger's own form, what is said about them, and what the agent sends.
//!
//! `files/` has the Promtail files, `native/` what `lugger convert` prints of each (`NAME.yaml`) and what it says (`NAME.report`, none if it says nothing).

#[path = "../support/docker.rs"]
mod docker;
#[path = "../support/journald.rs"]
mod journald;
#[path = "../support/mod.rs"]
mod support;

mod command;
mod differences;
mod environment;
mod forms;
mod keys;
mod mistakes;
mod positions;
mod streams;

use lugger::config::{self, Converted, Loaded, Report};

fn env(name: &str) -> Option<String> {
    match name {
        "HOSTNAME" => Some("myhost".to_owned()),
        "LOKI_TOKEN" => Some("hunter2".to_owned()),
        "LOKI_USER" => Some("bob".to_owned()),
        "LOKI_ENCODED" => Some("hunt%65r2".to_owned()),
        "LOKI_BOTH" => Some("bob:hunter2".to_owned()),
        "RATE" => Some("5".to_owned()),
        _ => None,
    }
}

fn load(text: &str) -> Result<Loaded, Report> {
    config::load_str("promtail.yaml", text, &env)
}

#[track_caller]
fn convert(text: &str) -> Converted {
    config::convert_str("promtail.yaml", text, &env).unwrap_or_else(|report| panic!("{report}\n---\n{text}"))
}

/// A file with one client and these further lines.
fn with(lines: &str) -> String {
    format!("clients: [{{ url: 'http://localhost:3100/loki/api/v1/push' }}]\n{lines}\n")
}

/// A file with one job of these lines, each indented as a key of the job.
fn job(lines: &str) -> String {
    let lines: Vec<String> = lines.lines().map(|line| format!("    {line}")).collect();
    with(&format!("scrape_configs:\n  - job_name: a\n{}", lines.join("\n")))
}

/// A job that follows one file.
const FILE: &str = "scrape_configs: [{ job_name: a, static_configs: [{ labels: { __path__: /x.log } }] }]";
