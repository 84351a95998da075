//! What a pipeline is told: one plain struct a stage, with Promtail's names and defaults. The form is right; the meaning (expressions, layouts,
//! names) is checked when it is compiled.
//!
//! Promises: nothing optional that is not optional at run time. Leaves to others: YAML (`config`), compiling (`compile`).

use super::redact;
#[cfg(feature = "geoip")]
use crate::format::mmdb::{Database, Kind};
#[cfg(feature = "geoip")]
use std::sync::Arc;
use std::time::Duration;

/// One stage.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// A line of a container's json-file log; lines that docker divided are joined.
    Docker,
    /// The same for lines whose labels their source has chosen: the stream becomes no label.
    DockerLine,
    /// A line of a CRI runtime's log.
    Cri(Cri),
    /// Named groups of a regular expression become extracted keys.
    Regex(Regex),
    /// Values of a JSON text become extracted keys.
    Json(Json),
    /// Values of a logfmt text become extracted keys.
    Logfmt(Logfmt),
    /// What an expression's groups match is replaced.
    Replace(Replace),
    /// Lines that belong together become one entry.
    Multiline(Multiline),
    /// A key is made by a Go template.
    Template(Template),
    /// Stages for the entries that a selector fits.
    Match(Match),
    /// The entry's time.
    Timestamp(Timestamp),
    /// The entry's text.
    Output(Output),
    /// Labels from extracted keys: name and key.
    Labels(Vec<(String, String)>),
    /// Labels that are taken away.
    LabelDrop(Vec<String>),
    /// Labels that stay; all others are taken away.
    LabelAllow(Vec<String>),
    /// Labels with fixed values.
    StaticLabels(Vec<(String, String)>),
    /// Structured metadata from extracted keys: name and key.
    StructuredMetadata(Vec<(String, String)>),
    /// Metrics.
    Metrics(Vec<Metric>),
    /// The tenant.
    Tenant(Tenant),
    /// Entries that are dropped.
    Drop(Drop),
    /// Entries over a rate.
    Limit(Limit),
    /// A random part of the entries.
    Sampling(Sampling),
    /// Text and labels packed into one JSON text.
    Pack(Pack),
    /// ANSI escape sequences are taken out of the text.
    Decolorize,
    /// Secrets and personal data are replaced.
    Redact(Redact),
    /// What a database knows of an address.
    #[cfg(feature = "geoip")]
    GeoIp(GeoIp),
}

impl Stage {
    /// Its name in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Stage::Docker | Stage::DockerLine => "docker",
            Stage::Cri(_) => "cri",
            Stage::Regex(_) => "regex",
            Stage::Json(_) => "json",
            Stage::Logfmt(_) => "logfmt",
            Stage::Replace(_) => "replace",
            Stage::Multiline(_) => "multiline",
            Stage::Template(_) => "template",
            Stage::Match(_) => "match",
            Stage::Timestamp(_) => "timestamp",
            Stage::Output(_) => "output",
            Stage::Labels(_) => "labels",
            Stage::LabelDrop(_) => "labeldrop",
            Stage::LabelAllow(_) => "labelallow",
            Stage::StaticLabels(_) => "static_labels",
            Stage::StructuredMetadata(_) => "structured_metadata",
            Stage::Metrics(_) => "metrics",
            Stage::Tenant(_) => "tenant",
            Stage::Drop(_) => "drop",
            Stage::Limit(_) => "limit",
            Stage::Sampling(_) => "sampling",
            Stage::Pack(_) => "pack",
            Stage::Decolorize => "decolorize",
            Stage::Redact(_) => "redact",
            #[cfg(feature = "geoip")]
            Stage::GeoIp(_) => "geoip",
        }
    }
}

/// `cri`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cri {
    /// Streams whose partial lines are gathered at the same time; above 0. Promtail's default is 100.
    pub max_partial_lines: usize,
    /// Length of a gathered line, bytes; 0: no other than that of gathered entries in general.
    pub max_partial_line_size: usize,
    /// Whether what is longer is cut off; otherwise nothing is done about it, as in Promtail.
    pub max_partial_line_size_truncate: bool,
}

/// `regex`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regex {
    /// RE2-like, with named groups.
    pub expression: String,
    /// Key to look into; `None`: the entry's text.
    pub source: Option<String>,
    /// Whether groups become labels too.
    pub labels_from_groups: bool,
}

/// `json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json {
    /// Key and JMESPath.
    pub expressions: Vec<(String, String)>,
    /// Key to look into; `None`: the entry's text.
    pub source: Option<String>,
    /// Whether entries that are no JSON are dropped.
    pub drop_malformed: bool,
}

/// `logfmt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logfmt {
    /// Key and field.
    pub mapping: Vec<(String, String)>,
    /// Key to look into; `None`: the entry's text.
    pub source: Option<String>,
}

/// `replace`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replace {
    /// RE2-like; what its groups match is replaced. Without a group nothing is, as in Promtail.
    pub expression: String,
    /// Key to look into; `None`: the entry's text.
    pub source: Option<String>,
    /// A Go template; `.Value` is what was matched.
    pub replace: String,
}

/// `multiline`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multiline {
    /// What the first line of an entry matches.
    pub firstline: String,
    /// Lines of one entry, above 0. Promtail's default is 128.
    pub max_lines: usize,
    /// How long a further line is waited for. Promtail's default is 3 s.
    pub max_wait_time: Duration,
}

/// `template`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The key that is made or changed.
    pub source: String,
    /// The Go template.
    pub template: String,
}

/// `match`.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// A LogQL stream selector, perhaps with line filters.
    pub selector: String,
    /// What is done with what fits.
    pub action: MatchAction,
    /// Name for messages.
    pub pipeline_name: Option<String>,
    /// Reason in the metric of dropped lines; Promtail's default is `match_stage`.
    pub drop_counter_reason: String,
}

/// What `match` does.
#[derive(Debug, Clone, PartialEq)]
pub enum MatchAction {
    /// These stages.
    Keep(Vec<Stage>),
    /// It is dropped.
    Drop,
}

/// `timestamp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    /// The key with the time.
    pub source: String,
    /// A name or a Go layout.
    pub format: String,
    /// Tried in turn if the format does not fit.
    pub fallback_formats: Vec<String>,
    /// IANA name of the zone of times that have none; `None`: UTC.
    pub location: Option<String>,
    /// What happens to entries whose time cannot be read.
    pub action_on_failure: TimeFailure,
}

/// What `timestamp` does when there is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFailure {
    /// The last known time of the stream and a nanosecond.
    Fudge,
    /// The time at which the line was read.
    Skip,
}

/// `output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The key that becomes the text.
    pub source: String,
}

/// `tenant`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenant {
    /// The value of a label.
    Label(String),
    /// The value of an extracted key.
    Source(String),
    /// This.
    Value(String),
}

/// `drop`: all of its conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drop {
    /// Keys whose values are looked at, joined by `separator`; empty: the entry's text.
    pub source: Vec<String>,
    /// Between the values of several keys; Promtail's default is `;`.
    pub separator: String,
    /// The value is this.
    pub value: Option<String>,
    /// The value matches this.
    pub expression: Option<String>,
    /// The entry's time is older.
    pub older_than: Option<Duration>,
    /// The text is longer, bytes.
    pub longer_than: Option<u64>,
    /// Reason in the metric of dropped lines; Promtail's default is `drop_stage`.
    pub drop_counter_reason: String,
}

/// `limit`.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Entries a second, above 0.
    pub rate: f64,
    /// Entries at once, above 0.
    pub burst: u64,
    /// Whether entries over the rate are dropped; otherwise reading waits.
    pub drop: bool,
    /// A rate for each value of this label; needs `drop`.
    pub by_label_name: Option<String>,
    /// Values that are told apart. Promtail's default, and least, is 10,000.
    pub max_distinct_labels: usize,
}

/// `sampling`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// The part that is kept, 0 to 1.
    pub rate: f64,
    /// Reason in the metric of dropped lines; Promtail's default is `sampling_stage`.
    pub drop_counter_reason: String,
}

/// `pack`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Labels and extracted keys that go into the text.
    pub labels: Vec<String>,
    /// Whether the entry gets the time at which it was read; Promtail's default is true.
    pub ingest_timestamp: bool,
}

/// One metric of `metrics`. Its series have the labels of the entries that they are about.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name, without prefix.
    pub name: String,
    /// Shown as help.
    pub description: String,
    /// The key that it is about; `None`: the key of its own name.
    pub source: Option<String>,
    /// Before the name; Promtail's default is `promtail_custom_`.
    pub prefix: String,
    /// A series that did not change for this long is forgotten: 1 s or more. Promtail's default is 5 min.
    pub max_idle: Duration,
    /// What it is.
    pub kind: MetricKind,
}

/// What a metric is, and what an entry does to it.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricKind {
    /// Counts up.
    Counter {
        /// Every entry counts, whether it has the key or not.
        match_all: bool,
        /// The entry's length counts, not the entry.
        count_entry_bytes: bool,
        /// Only entries with this value count.
        value: Option<String>,
        /// True: the value is added; false: one.
        add: bool,
    },
    /// A value.
    Gauge {
        /// Only entries with this value count.
        value: Option<String>,
        /// What is done.
        action: GaugeAction,
    },
    /// A distribution.
    Histogram {
        /// Only entries with this value count.
        value: Option<String>,
        /// Upper bounds, ascending; the one of infinity is implied.
        buckets: Vec<f64>,
    },
}

/// What an entry does to a gauge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GaugeAction {
    /// The value.
    Set,
    /// One more.
    Inc,
    /// One less.
    Dec,
    /// The value is added.
    Add,
    /// The value is subtracted.
    Sub,
}

/// `redact`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redact {
    /// Key to look into; `None`: the entry's text.
    pub source: Option<String>,
    /// What is looked for and what stands in its place.
    pub what: redact::Settings,
}

/// `geoip`.
#[cfg(feature = "geoip")]
#[derive(Debug, Clone, PartialEq)]
pub struct GeoIp {
    /// The database, which stages share.
    pub database: Arc<Database>,
    /// The key with the address.
    pub source: String,
    /// What is taken from a record, as Promtail does; `None`: only the lookups.
    pub kind: Option<Kind>,
    /// Key and JMESPath into the record.
    pub lookups: Vec<(String, String)>,
}
