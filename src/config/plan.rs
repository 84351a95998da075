//! The configuration as the agent needs it: checked, defaults applied, nothing optional that is not optional at run time.

use crate::{sink, source};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where logs go. At least one when there is a source.
    pub loki: Vec<sink::settings::Endpoint>,
    /// Where logs come from.
    pub files: Vec<FileSource>,
    /// Journals that logs come from.
    pub journals: Vec<JournalSource>,
    /// What other agents have read of the files, to be taken over once.
    pub imports: Vec<source::file::import::Positions>,
    /// Where /ready and /metrics are served; `None`: nowhere.
    pub http: Option<SocketAddr>,
    /// Checkpoints and dead letters. Absolute.
    pub state_dir: PathBuf,
    /// Bound of the process's memory, bytes.
    pub memory_bytes: u64,
    /// Bound of all spools together, bytes; 0: nothing is spooled.
    pub spool_bytes: u64,
    /// Age at which spooled requests are given up.
    pub spool_age: Duration,
}

/// A file source and the endpoints that it goes to.
#[derive(Debug, Clone)]
pub struct FileSource {
    /// What to read.
    pub settings: source::file::settings::Settings,
    /// Indices into [`Plan::loki`], ascending, not empty.
    pub to: Vec<usize>,
}

/// A journal source and the endpoints that it goes to.
#[derive(Debug, Clone)]
pub struct JournalSource {
    /// What to read.
    pub settings: source::journal::settings::Settings,
    /// Indices into [`Plan::loki`], ascending, not empty.
    pub to: Vec<usize>,
}

impl Plan {
    /// How many sources there are.
    pub fn sources(&self) -> usize {
        self.files.len() + self.journals.len()
    }
}
