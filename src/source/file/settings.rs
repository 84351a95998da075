//! What the file source is told: plain values, already checked.

use super::encoding::Encoding;
use crate::base::rate::RateLimit;
use crate::model::labels::{LabelCaps, Labels};
use crate::pipeline::settings::Stage;
use crate::source::owner::SharedOwners;

/// Where to start in a file that has no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartAt {
    /// At its first byte.
    #[default]
    Beginning,
    /// At its end, if the file was there when the source started for the first time; files that appear later are read whole.
    End,
}

/// One `logs` entry with a `file` source.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Name in metrics, messages and checkpoints; unique among file sources.
    pub name: String,
    /// Absolute glob patterns: `*`, `?`, `[…]`, `{a,b}` within a component, `**` for any number of directories.
    pub include: Vec<String>,
    /// Absolute glob patterns (or ones that begin with `**/`) of files and directories to leave out.
    pub exclude: Vec<String>,
    /// Where to start in a file without a checkpoint.
    pub start_at: StartAt,
    /// What the bytes of its files mean.
    pub encoding: Encoding,
    /// The labels of every line, beside `filename`, which the source adds.
    pub labels: Labels,
    /// Labels of every line that has none of that name when its stages are through; no stage sees them.
    pub late_labels: Labels,
    /// What Loki takes of labels, `filename` included.
    pub label_caps: LabelCaps,
    /// The cap of a line, bytes ([`crate::base::limits::LINE_BYTES_MIN`] to `LINE_BYTES_MAX`).
    pub line_bytes: usize,
    /// What may be read a second, of all its files together; `None`: all there is.
    pub rate: Option<RateLimit>,
    /// What happens to its lines; empty: they are sent as they are.
    pub stages: Vec<Stage>,
    /// Who knows the labels of its files, if they are not `labels` and `filename`. Takes stages.
    pub owners: Option<SharedOwners>,
}
