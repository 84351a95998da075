//! Sources that receive, with the real binary: real senders, numbered messages over restarts and kills, and what is refused.

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod cut_off;
mod gelf;
mod inlet;
mod push;
mod reload;
mod senders;
mod stdin;
mod syslog;
mod tls;
mod unix;

use std::time::Duration;
use support::agent::{Agent, Config, FileSource, Rig};
use support::loki::{Loki, Options};

/// Time within which everything has to be there, even on a loaded machine.
const DRAIN: Duration = Duration::from_secs(120);

/// A receiver that keeps the entries.
fn kept() -> Loki {
    Loki::start_with(Options { keep: true, ..Options::default() })
}

/// One source of this kind and value, with the label `job`.
fn source(kind: &'static str, value: &str) -> FileSource {
    FileSource::other(kind, kind, value).label("job", kind)
}

/// The agent with one source.
fn agent(rig: &Rig, loki: &Loki, source: FileSource) -> Agent {
    rig.start(&Config::new(&loki.url()).source(source))
}
