//! What the file source is told: plain values, already checked.

use super::encoding::Encoding;
use crate::base::limits::{LINE_BYTES_MAX, RECORD_PAIRS_BYTES};
use crate::base::rate::RateLimit;
use crate::format::record::{EXPANSION, OVERHEAD};
use crate::format::time::Zone;
use crate::model::labels::{LabelCaps, Labels};
use crate::pipeline::relabel;
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
    /// Its files are an inlet: their lines are records of what was received. `None`: they are files of the host.
    pub records: Option<Records>,
}

/// What received records are.
#[derive(Debug, Clone, PartialEq)]
pub struct Records {
    /// What their messages are.
    pub meaning: Meaning,
    /// Labels that `relabel` sees, beside those that an entry brings.
    pub labels: Labels,
    /// Labels of all that have none of that name after `relabel`, but before the stages.
    pub outer_labels: Labels,
    /// Rules that make labels of what a message says, or drop it. They compile.
    pub relabel: Vec<relabel::Settings>,
    /// Entries have the time that their message says, in place of that of their receipt.
    pub use_incoming_timestamp: bool,
    /// Rules see structured data of RFC 5424.
    pub label_structured_data: bool,
    /// The text of an entry is the whole message where that is of RFC 5424.
    pub use_rfc5424_message: bool,
    /// The zone of times that name none; `None` is UTC.
    pub zone: Option<Zone>,
    /// So much may be read and not stored by all endpoints before no more is read, bytes of the inlet; `None`: as much as memory takes.
    pub ahead_bytes: Option<u64>,
}

/// What the messages of records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Syslog.
    Syslog,
    /// GELF: the text of an entry is its JSON.
    Gelf,
    /// Text that has its labels and metadata beside it.
    Text,
}

impl Settings {
    /// Whether a file is gone for good when it is read, stored and has another name: nobody else reads it.
    pub fn removes_done(&self) -> bool {
        self.records.is_some()
    }

    /// The cap of a line in its files, bytes. Records have more than their text, and escapes; they may have been written when `line_bytes` was
    /// the largest that there is, and are whole only if none of it is cut: their text is cut when it is an entry.
    pub(super) fn raw_line_bytes(&self) -> usize {
        if self.records.is_some() { record_bytes(LINE_BYTES_MAX) } else { self.line_bytes }
    }
}

/// The longest record of a text of `line_bytes`, bytes.
fn record_bytes(line_bytes: usize) -> usize {
    let pairs = RECORD_PAIRS_BYTES.saturating_mul(2);
    line_bytes.saturating_mul(EXPANSION).saturating_add(pairs).saturating_add(OVERHEAD)
}
