//! From a file to a plan and from a plan to a running agent: what `run`, `check` and `demo` share.

use crate::agent::Agent;
use crate::config::plan::Plan;
use crate::config::{Severity, load_with_warnings};
use crate::web::{ReloadRequest, View};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Reads the configuration at `path`; warnings and notes go to the log. An error is the whole report.
pub fn load(path: &Path) -> anyhow::Result<Plan> {
    let loaded = load_with_warnings(path)?;
    for warning in loaded.warnings.problems() {
        let place = warning.place.map_or_else(String::new, |at| format!(":{}:{}", at.line, at.column));
        let help = warning.help.as_deref().unwrap_or("");
        // One place in the code says them all; they are not repetitions.
        if warning.severity == Severity::Note {
            tracing::info!(target: super::log::EACH, "{}{place}: {}", path.display(), warning.message);
        } else {
            tracing::warn!(target: super::log::EACH, help, "{}{place}: {}", path.display(), warning.message);
        }
    }
    Ok(loaded.plan)
}

/// What the status server shows of an agent, and whom it asks to reload.
pub fn view(agent: &Agent, reload: Option<mpsc::Sender<ReloadRequest>>) -> View {
    let probe = agent.probe();
    let registry = probe.registry().clone();
    let of_host = probe.clone();
    let host = Arc::new(move || of_host.host());
    View { snapshot: Arc::new(move || probe.snapshot()), registry, host, reload }
}
