//! The docker source: the logs of containers, with labels from what Docker knows of them.
//!
//! Where a container's driver is `json-file`, Docker writes its lines to a file beside its configuration. The file source reads those like any
//! other log, with rotation and all ([`files`]); whose a file is it asks here ([`containers`]). Names, labels and networks stand in the
//! configuration beside the log, which is read the moment the log is met, so that a container that lives for milliseconds has its labels; what is
//! not there, and what cannot be read by the agent's user, comes from the Engine API ([`watch`]).
//!
//! Where the driver is another one, or the agent may not read its files, the API tells the log ([`tap`]): it goes to an inlet, which is a further
//! source of the file source ([`told`]).
//!
//! From the outside in: `files` makes settings for the file source; `watch` is the task that listens to the API, through `api`; `containers` is
//! what both know, by id; `description` is what is known of one, `filter` whether it is wanted; `tap` takes logs, of which `frames` makes lines and `place` says how far they were taken;
//! `status` tells of it.
//!
//! Promises: the file source never waits for the API for longer than a bound; what a container is called is decided once. Leaves to others: reading,
//! cursors, stages, delivery.

mod access;
mod api;
pub mod containers;
mod description;
mod filter;
mod frames;
mod place;
pub mod settings;
pub mod status;
pub mod tap;
pub mod watch;

pub use access::{data_root, socket_problem};

use super::file;
use super::owner::SharedOwners;
use crate::model::labels::Labels;
use crate::pipeline::settings::Stage;
use crate::store::inlet::patterns;
use containers::Containers;
use file::settings::{Meaning, Records};
use settings::Settings;
use std::path::Path;
use std::sync::Arc;

/// What the file source is told, to read the logs of these containers.
pub fn files(settings: &Settings, containers: &Arc<Containers>) -> file::settings::Settings {
    let directory = globset::escape(&settings.containers.to_string_lossy());
    let unwrap = if settings.relabel.is_none() { Stage::Docker } else { Stage::DockerLine };
    file::settings::Settings {
        name: settings.name.clone(),
        include: vec![format!("{directory}/*/*-json.log")],
        exclude: Vec::new(),
        start_at: settings.start_at,
        encoding: file::encoding::Encoding::default(),
        // Those of lines above `max_streams`, which belong to nobody.
        labels: Labels::capped(settings.outer_labels.iter().chain(settings.labels.iter()), settings.label_caps).0,
        late_labels: settings.late_labels.clone(),
        label_caps: settings.label_caps,
        line_bytes: settings.line_bytes,
        rate: settings.rate,
        stages: std::iter::once(unwrap).chain(settings.stages.iter().cloned()).collect(),
        owners: Some(SharedOwners(Arc::clone(containers) as _)),
        records: None,
    }
}

/// The name of the source that reads what the API tells.
pub fn told_name(settings: &Settings) -> String {
    format!("{}:api", settings.name)
}

/// What the file source is told, to read the inlet in this directory.
pub fn told(settings: &Settings, directory: &Path) -> file::settings::Settings {
    let records = Records {
        meaning: Meaning::Text,
        // Each record has them.
        labels: Labels::default(),
        outer_labels: Labels::default(),
        relabel: Vec::new(),
        use_incoming_timestamp: true,
        label_structured_data: false,
        use_rfc5424_message: false,
        zone: None,
        ahead_bytes: None,
    };
    file::settings::Settings {
        name: told_name(settings),
        include: patterns(directory),
        exclude: Vec::new(),
        start_at: file::settings::StartAt::Beginning,
        encoding: file::encoding::Encoding::default(),
        labels: Labels::capped(settings.outer_labels.iter().chain(settings.labels.iter()), settings.label_caps).0,
        late_labels: settings.late_labels.clone(),
        label_caps: settings.label_caps,
        line_bytes: settings.line_bytes,
        rate: settings.rate,
        stages: settings.stages.clone(),
        owners: None,
        records: Some(records),
    }
}
