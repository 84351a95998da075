//! From a file to a plan and from a plan to a running agent: what `run`, `check` and `demo` share.

use crate::base::metrics::Registry;
use crate::config::plan::Plan;
use crate::web::View;
use std::path::Path;
use std::pin::Pin;

/// A running agent, as commands see it.
pub struct Started {
    /// What it shows of itself.
    pub view: View,
    /// Stops it, within 5 s.
    pub stop: Pin<Box<dyn Future<Output = ()>>>,
}

/// Reads the configuration at `path`; warnings go to the log. An error is the whole report.
pub fn load(path: &Path) -> anyhow::Result<Plan> {
    anyhow::bail!("{}: this build reads no configuration", path.display())
}

/// Starts the agent. Must be called within a tokio runtime.
pub async fn start(_plan: Plan, _registry: Registry) -> anyhow::Result<Started> {
    anyhow::bail!("this build has no agent")
}
