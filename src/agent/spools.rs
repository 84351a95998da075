//! Which endpoint has a spool, where, and how large; and what is left of endpoints that are gone.
//!
//! Promises: no spool keeps the agent from starting; what is on disk is sent even if nothing more may go there. Leaves to others:
//! using it (`sink`), files (`store::spool`).

use crate::base::limits::SPOOL_ENDPOINT_BYTES_MIN;
use crate::base::units::format_size;
use crate::config::plan::Plan;
use std::fs;
use std::path::{Path, PathBuf};

/// The directory in the state directory.
const NAME: &str = "spool";
/// The same, for endpoints of metrics: they may have the names of endpoints of logs.
const OF_METRICS: &str = "remote_write";

/// Where an endpoint's spool is.
pub(super) fn path(state_dir: &Path, endpoint: &str) -> PathBuf {
    state_dir.join(NAME).join(endpoint)
}

/// Where the spool of an endpoint of metrics is.
pub(super) fn path_of_metrics(state_dir: &Path, endpoint: &str) -> PathBuf {
    state_dir.join(OF_METRICS).join(endpoint)
}

/// How large the spools of the endpoints of a plan may be, in its order, bytes. An endpoint has one if a source of it goes to another endpoint
/// as well; 0: it has none, but what is on disk for it is sent.
pub(super) fn sizes(plan: &Plan) -> Vec<u64> {
    let received = || plan.receivers.iter().map(|receiver| &receiver.to);
    let is_shared = |endpoint: usize| {
        let mut all = plan.files.iter().map(|file| &file.to).chain(received());
        all.any(|to| to.len() > 1 && to.contains(&endpoint))
    };
    let shared = (0..plan.loki.len()).filter(|endpoint| is_shared(*endpoint)).count();
    let bytes = share(plan, shared);
    let size = |endpoint| if is_shared(endpoint) && bytes >= SPOOL_ENDPOINT_BYTES_MIN { bytes } else { 0 };
    (0..plan.loki.len()).map(size).collect()
}

/// How large the spool of each endpoint of metrics may be, bytes; 0: it has none.
pub(super) fn of_metrics(plan: &Plan) -> u64 {
    let shared = sizes(plan).iter().filter(|bytes| **bytes > 0).count();
    let bytes = share(plan, shared);
    if bytes >= SPOOL_ENDPOINT_BYTES_MIN { bytes } else { 0 }
}

/// A part of the room for each endpoint that has a spool: those of metrics always, and so many of logs.
fn share(plan: &Plan, of_logs: usize) -> u64 {
    let count = of_logs.saturating_add(plan.remote_write.len());
    plan.spool_bytes / u64::try_from(count.max(1)).unwrap_or(u64::MAX)
}

/// The names of a plan's endpoints, of logs and of metrics.
pub(super) struct Names([(&'static str, Vec<String>); 2]);

impl Names {
    pub(super) fn of(plan: &Plan) -> Self {
        let logs = plan.loki.iter().map(|endpoint| endpoint.name.clone());
        let metrics = plan.remote_write.iter().map(|endpoint| endpoint.name.clone());
        Names([(NAME, logs.collect()), (OF_METRICS, metrics.collect())])
    }
}

/// Says what lies there for endpoints that are not among these. Reads directories, so it blocks.
pub(super) fn warn_of_strangers(state_dir: &Path, known: &Names) {
    for (directory, known) in &known.0 {
        let Ok(entries) = fs::read_dir(state_dir.join(directory)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let bytes = if known.iter().any(|endpoint| name == **endpoint) { 0 } else { size(&entry.path()) };
            if bytes > 0 {
                tracing::warn!(
                    endpoint = %name.to_string_lossy(),
                    path = %entry.path().display(),
                    size = %format_size(bytes),
                    "there are spooled requests for an endpoint that is not configured. They are kept: give an endpoint this name and they \
                     are sent to it, or remove the directory"
                );
            }
        }
    }
}

/// Bytes in the segments of a spool's directory; the rest of it holds no requests.
fn size(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let segments = entries.flatten().filter(|entry| entry.file_name() != "position");
    segments.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file).map(|file| file.len()).sum()
}
