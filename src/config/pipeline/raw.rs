//! The options of stages as a person writes them: Promtail's names. A stage's name is looked up by [`super::stages`].
//!
//! Everything is optional, also what is needed: what is missing is reported beside all other problems of the stage.
//!
//! Promises: an unknown option is an error; values of maps keep the order of the file. Leaves to others: ranges, defaults, meaning.

use super::units::{GoSize, GoTime};
use crate::config::raw::{Hidden, OneOrMany};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A stage without options.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// `cri`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cri {
    pub(super) max_partial_lines: Option<u64>,
    pub(super) max_partial_line_size: Option<GoSize>,
    pub(super) max_partial_line_size_truncate: Option<bool>,
}

/// `regex`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Regex {
    pub(super) expression: Option<String>,
    pub(super) source: Option<String>,
    pub(super) labels_from_groups: Option<bool>,
}

/// `json`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Json {
    pub(super) expressions: Option<Pairs<Option<String>>>,
    pub(super) source: Option<String>,
    pub(super) drop_malformed: Option<bool>,
}

/// `logfmt`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Logfmt {
    pub(super) mapping: Option<Pairs<Option<String>>>,
    pub(super) source: Option<String>,
}

/// `replace`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replace {
    pub(super) expression: Option<String>,
    pub(super) source: Option<String>,
    pub(super) replace: Option<String>,
}

/// `multiline`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Multiline {
    pub(super) firstline: Option<String>,
    pub(super) max_lines: Option<u64>,
    pub(super) max_wait_time: Option<GoTime>,
}

/// `template`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Template {
    pub(super) source: Option<String>,
    pub(super) template: Option<String>,
}

/// `match`. Its stages are read from their node.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Match {
    pub(super) selector: Option<String>,
    pub(super) stages: Option<IgnoredAny>,
    pub(super) action: Option<KeepOrDrop>,
    pub(super) pipeline_name: Option<String>,
    pub(super) drop_counter_reason: Option<String>,
}

/// `action` of `match`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KeepOrDrop {
    Keep,
    Drop,
}

/// `timestamp`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timestamp {
    pub(super) source: Option<String>,
    pub(super) format: Option<String>,
    pub(super) fallback_formats: Option<OneOrMany>,
    pub(super) location: Option<String>,
    pub(super) action_on_failure: Option<FudgeOrSkip>,
}

/// `action_on_failure`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FudgeOrSkip {
    Fudge,
    Skip,
}

/// `output`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Output {
    pub(super) source: Option<String>,
}

/// One metric of `metrics`. Its `config` is read when its type is known.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metric {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) description: Option<String>,
    pub(super) source: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) max_idle_duration: Option<GoTime>,
    pub(super) config: Option<IgnoredAny>,
}

/// `config` of a counter.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counter {
    pub(super) match_all: Option<bool>,
    pub(super) count_entry_bytes: Option<bool>,
    pub(super) value: Option<String>,
    pub(super) action: Option<String>,
}

/// `config` of a gauge.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gauge {
    pub(super) value: Option<String>,
    pub(super) action: Option<String>,
}

/// `config` of a histogram.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Histogram {
    pub(super) value: Option<String>,
    pub(super) buckets: Option<Vec<f64>>,
}

/// `tenant`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tenant {
    pub(super) label: Option<String>,
    pub(super) source: Option<String>,
    pub(super) value: Option<String>,
}

/// `drop`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drop {
    pub(super) source: Option<OneOrMany>,
    pub(super) separator: Option<String>,
    pub(super) value: Option<String>,
    pub(super) expression: Option<String>,
    pub(super) older_than: Option<GoTime>,
    pub(super) longer_than: Option<GoSize>,
    pub(super) drop_counter_reason: Option<String>,
}

/// `limit`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    pub(super) rate: Option<f64>,
    pub(super) burst: Option<u64>,
    pub(super) drop: Option<bool>,
    pub(super) by_label_name: Option<String>,
    pub(super) max_distinct_labels: Option<u64>,
}

/// `sampling`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sampling {
    pub(super) rate: Option<f64>,
    pub(super) drop_counter_reason: Option<String>,
}

/// `pack`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pack {
    pub(super) labels: Option<OneOrMany>,
    pub(super) ingest_timestamp: Option<bool>,
}

/// `redact`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Redact {
    pub(super) source: Option<String>,
    pub(super) kinds: Option<OneOrMany>,
    pub(super) patterns: Option<Pairs<String>>,
    pub(super) replace: Option<String>,
    pub(super) hash_salt: Option<Hidden>,
    pub(super) hash_salt_file: Option<String>,
}

/// `geoip`.
#[cfg(feature = "geoip")]
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GeoIp {
    pub(super) db: Option<String>,
    pub(super) source: Option<String>,
    pub(super) db_type: Option<String>,
    pub(super) custom_lookups: Option<Pairs<Option<String>>>,
}

/// One rule of `relabel_configs`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Relabel {
    pub(super) source_labels: Option<OneOrMany>,
    pub(super) separator: Option<String>,
    pub(super) regex: Option<String>,
    pub(super) modulus: Option<u64>,
    pub(super) target_label: Option<String>,
    pub(super) replacement: Option<String>,
    pub(super) action: Option<String>,
}

/// A map with its entries in the order of the file.
#[derive(Debug)]
pub(super) struct Pairs<T>(pub(super) Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Pairs(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Map<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = entries.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Map(PhantomData))
    }
}
