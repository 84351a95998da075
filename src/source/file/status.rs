//! What a file source tells of itself beside what every source does: what befell its files and their lines.
//!
//! Promises: one set of series a source, whatever it reads.

use crate::base::metrics::{Counter, Registry};
use crate::source::status::{Common, repaired};
use std::ops::Deref;

/// The counters of one source, and its current errors. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Status {
    common: Common,
    /// Files that began again: truncated, or replaced under the same identity.
    pub truncated: Counter,
    /// Bytes that were on disk, were not read, and are gone.
    pub lost_bytes: Counter,
    /// Lines with bytes that the file's encoding does not have.
    pub lines_not_decodable: Counter,
    /// Lines with a run of NUL bytes.
    pub lines_nul: Counter,
    /// Compressed files that matched and were left out.
    pub compressed: Counter,
}

impl Deref for Status {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl Status {
    /// Registers the series of source `name`.
    pub fn new(registry: &Registry, name: &str) -> Self {
        let counter = |metric: &'static str, help: &'static str| registry.counter(metric, help, &[("source", name)]);
        Status {
            common: Common::new(registry, name),
            truncated: counter(
                "lugger_file_truncated_total",
                "Files that began again: truncated, or replaced under the same identity.",
            ),
            lost_bytes: counter(
                "lugger_file_lost_bytes_total",
                "Bytes known to have been on disk that were gone before they could be read.",
            ),
            lines_not_decodable: repaired(registry, name, "not_decodable"),
            lines_nul: repaired(registry, name, "nul_run"),
            compressed: counter(
                "lugger_file_compressed_total",
                "Files that matched and were left out because they are compressed.",
            ),
        }
    }
}
