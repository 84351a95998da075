//! What the journal source is told: plain values, already checked.

use crate::base::rate::RateLimit;
use crate::format::journal::Cursor;
use crate::model::labels::{LabelCaps, Labels};
use crate::pipeline::relabel;
use crate::pipeline::settings::Stage;
use std::path::PathBuf;
use std::time::Duration;

/// A condition that an entry has a field with this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Name of the field, such as `_SYSTEMD_UNIT`.
    pub field: String,
    /// Its value.
    pub value: String,
}

/// One `logs` entry with a `journal` source.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Name in metrics, messages and checkpoints; unique among all sources.
    pub name: String,
    /// The directory; `None`: where journald of this host keeps its files.
    pub path: Option<PathBuf>,
    /// Alternatives, one of which has to hold. Of each, conditions on different fields have to hold all, of those on one field one. Empty:
    /// all entries.
    pub matches: Vec<Vec<Match>>,
    /// Units, with their endings, in which `*`, `?` and `[…]` stand for characters; empty: all entries.
    pub units: Vec<String>,
    /// From the most to the least severe priority, 0 (emerg) to 7 (debug); `None`: all entries, also those without one.
    pub priority: Option<(u8, u8)>,
    /// Lines are all fields as JSON, not the message alone.
    pub json: bool,
    /// Entries that are older are passed over where nothing was read before.
    pub max_age: Duration,
    /// How far another agent has read; counts where nothing was read before.
    pub imported: Option<Cursor>,
    /// Entries of the unit that lugger itself runs in are read, too.
    pub own_unit: bool,
    /// Labels that `relabel` sees, beside `__journal_…`.
    pub labels: Labels,
    /// Labels of all that have none of that name after `relabel`, but before the stages.
    pub outer_labels: Labels,
    /// Labels of every line that has none of that name when its stages are through; no stage sees them.
    pub late_labels: Labels,
    /// Rules that make labels of an entry's fields, or drop it. They compile.
    pub relabel: Vec<relabel::Settings>,
    /// What Loki takes of labels.
    pub label_caps: LabelCaps,
    /// The cap of a line, bytes ([`crate::base::limits::LINE_BYTES_MIN`] to `LINE_BYTES_MAX`).
    pub line_bytes: usize,
    /// What may be read a second; `None`: all there is.
    pub rate: Option<RateLimit>,
    /// What happens to its lines; empty: they are sent as they are.
    pub stages: Vec<Stage>,
}
