//! The configuration as a person writes it: the keys, and the form of their values.
//!
//! Everything is optional here, also what is needed: a missing key is reported by `check` beside all other problems of its entry,
//! instead of hiding them. No `untagged`, `flatten` or internally tagged types: their errors have no place.
//!
//! Promises: an unknown key is an error; secrets are [`Secret`] from here on. Leaves to others: ranges, defaults, meaning.

use super::host::{HostMetrics, Textfile};
use super::host_target::Certificates;
use super::pipeline::units::GoSize;
use crate::base::secret::Secret;
use crate::base::units;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor, value};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) loki: Option<Vec<Loki>>,
    pub(super) logs: Option<Vec<Log>>,
    pub(super) metrics: Option<Metrics>,
    pub(super) remote_write: Option<Vec<RemoteWrite>>,
    pub(super) http: Option<Http>,
    pub(super) state_dir: Option<String>,
    pub(super) import_positions: Option<OneOrMany>,
    pub(super) limits: Option<Limits>,
    pub(super) late_labels: Option<BTreeMap<String, String>>,
}

/// One `loki` entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Loki {
    pub(super) name: Option<String>,
    pub(super) url: Option<String>,
    pub(super) tenant_id: Option<String>,
    pub(super) headers: Option<BTreeMap<String, Hidden>>,
    pub(super) basic_auth: Option<BasicAuth>,
    pub(super) bearer_token: Option<Hidden>,
    pub(super) bearer_token_file: Option<String>,
    pub(super) tls_config: Option<TlsConfig>,
    pub(super) proxy_url: Option<String>,
    pub(super) timeout: Option<Time>,
    pub(super) batch_size: Option<Size>,
    pub(super) batch_wait: Option<Time>,
    pub(super) backoff: Option<Backoff>,
    pub(super) rate: Option<Rate>,
    pub(super) max_streams: Option<u64>,
    pub(super) max_streams_policy: Option<StreamPolicy>,
}

/// `max_streams_policy`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StreamPolicy {
    Merge,
    Drop,
}

/// `rate`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rate {
    pub(super) lines: Option<u64>,
    pub(super) bytes: Option<Size>,
    pub(super) burst: Option<Time>,
    pub(super) when_over: Option<WhenOver>,
}

/// `when_over`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum WhenOver {
    Block,
    Drop,
}

/// `basic_auth`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BasicAuth {
    pub(super) username: Option<String>,
    pub(super) password: Option<Hidden>,
    pub(super) password_file: Option<String>,
}

/// `tls_config`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsConfig {
    pub(super) ca_file: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) server_name: Option<String>,
    pub(super) insecure_skip_verify: Option<bool>,
}

/// One `remote_write` entry. What Prometheus knows and has no meaning here is here all the same, so that it can be said why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoteWrite {
    pub(super) name: Option<String>,
    pub(super) url: Option<String>,
    pub(super) remote_timeout: Option<Time>,
    pub(super) headers: Option<BTreeMap<String, Hidden>>,
    pub(super) basic_auth: Option<BasicAuth>,
    pub(super) authorization: Option<Authorization>,
    pub(super) bearer_token: Option<Hidden>,
    pub(super) bearer_token_file: Option<String>,
    pub(super) tls_config: Option<TlsConfig>,
    pub(super) proxy_url: Option<String>,
    /// Read from its node.
    pub(super) write_relabel_configs: Option<IgnoredAny>,
    pub(super) protobuf_message: Option<String>,
    pub(super) send_exemplars: Option<bool>,
    pub(super) queue_config: Option<QueueConfig>,
    pub(super) metadata_config: Option<MetadataConfig>,
    pub(super) follow_redirects: Option<bool>,
    pub(super) enable_http2: Option<bool>,
    pub(super) send_native_histograms: Option<bool>,
    pub(super) round_robin_dns: Option<bool>,
    pub(super) proxy_from_environment: Option<bool>,
}

/// `authorization`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authorization {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) credentials: Option<Hidden>,
    pub(super) credentials_file: Option<String>,
}

/// `queue_config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueueConfig {
    pub(super) capacity: Option<u64>,
    pub(super) max_shards: Option<u64>,
    pub(super) min_shards: Option<u64>,
    pub(super) max_samples_per_send: Option<u64>,
    pub(super) batch_send_deadline: Option<Time>,
    pub(super) min_backoff: Option<Time>,
    pub(super) max_backoff: Option<Time>,
    pub(super) retry_on_http_429: Option<bool>,
    pub(super) sample_age_limit: Option<Time>,
}

/// `metadata_config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetadataConfig {
    pub(super) send: Option<bool>,
    pub(super) send_interval: Option<Time>,
    pub(super) max_samples_per_send: Option<u64>,
}

/// `backoff`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backoff {
    pub(super) min: Option<Time>,
    pub(super) max: Option<Time>,
}

/// One `logs` entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) name: Option<String>,
    pub(super) file: Option<FileLog>,
    pub(super) journal: Option<JournalLog>,
    pub(super) docker: Option<DockerLog>,
    pub(super) syslog: Option<SyslogLog>,
    pub(super) push: Option<PushLog>,
    pub(super) gelf: Option<GelfLog>,
    pub(super) stdin: Option<StdinLog>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) to: Option<OneOrMany>,
    pub(super) rate: Option<Rate>,
    pub(super) format: Option<OneOrMany>,
    /// Read from their nodes.
    pub(super) stages: Option<IgnoredAny>,
    pub(super) relabel_configs: Option<IgnoredAny>,
    pub(super) late_labels: Option<BTreeMap<String, String>>,
}

/// `file` of a `logs` entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileLog {
    pub(super) include: Option<OneOrMany>,
    pub(super) exclude: Option<OneOrMany>,
    pub(super) start_at: Option<StartAt>,
    pub(super) encoding: Option<String>,
}

/// `journal` of a `logs` entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JournalLog {
    pub(super) path: Option<String>,
    pub(super) matches: Option<OneOrMany>,
    pub(super) units: Option<OneOrMany>,
    pub(super) priority: Option<String>,
    pub(super) json: Option<bool>,
    pub(super) max_age: Option<Time>,
    pub(super) own_unit: Option<bool>,
}

/// `docker` of a `logs` entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DockerLog {
    pub(super) host: Option<String>,
    pub(super) containers: Option<String>,
    pub(super) filters: Option<Vec<DockerFilter>>,
    pub(super) start_at: Option<StartAt>,
    pub(super) keep_labels: Option<OneOrMany>,
    pub(super) refresh_interval: Option<Time>,
    pub(super) api_logs: Option<bool>,
    pub(super) own_container: Option<bool>,
}

/// One of `filters`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DockerFilter {
    pub(super) name: Option<String>,
    pub(super) values: Option<OneOrMany>,
}

/// `syslog` of a `logs` entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SyslogLog {
    pub(super) listen: Option<String>,
    pub(super) tls_config: Option<ServerTls>,
    pub(super) idle_timeout: Option<Time>,
    pub(super) max_message_length: Option<Size>,
    pub(super) label_structured_data: Option<bool>,
    pub(super) use_incoming_timestamp: Option<bool>,
    pub(super) use_rfc5424_message: Option<bool>,
    pub(super) location: Option<String>,
    pub(super) queue: Option<Size>,
}

/// `push` of a `logs` entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PushLog {
    pub(super) listen: Option<String>,
    pub(super) tls_config: Option<ServerTls>,
    pub(super) basic_auth: Option<BasicAuth>,
    pub(super) max_send_msg_size: Option<Size>,
    pub(super) use_incoming_timestamp: Option<bool>,
    pub(super) queue: Option<Size>,
}

/// `gelf` of a `logs` entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GelfLog {
    pub(super) listen: Option<String>,
    pub(super) use_incoming_timestamp: Option<bool>,
    pub(super) queue: Option<Size>,
}

/// `stdin` of a `logs` entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StdinLog {
    pub(super) queue: Option<Size>,
}

/// `tls_config` of who listens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerTls {
    pub(super) cert_file: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) client_ca_file: Option<String>,
    pub(super) client_cert: Option<ClientCert>,
}

/// `client_cert`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ClientCert {
    Required,
    Optional,
}

/// `start_at`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StartAt {
    Beginning,
    End,
}

/// `metrics`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) interval: Option<Time>,
    pub(super) scrape_timeout: Option<Time>,
    pub(super) scrape: Option<Vec<Scrape>>,
    pub(super) host: Option<HostMetrics>,
    pub(super) textfile: Option<Textfile>,
    pub(super) certificates: Option<Certificates>,
}

/// One `scrape` entry: Prometheus' `scrape_config`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scrape {
    pub(super) job_name: Option<String>,
    pub(super) scrape_interval: Option<Time>,
    pub(super) scrape_timeout: Option<Time>,
    pub(super) scheme: Option<String>,
    pub(super) metrics_path: Option<String>,
    pub(super) params: Option<BTreeMap<String, OneOrMany>>,
    pub(super) static_configs: Option<Vec<StaticConfig>>,
    pub(super) file_sd_configs: Option<Vec<FileDiscovery>>,
    #[allow(dead_code, reason = "its node is what is read")]
    pub(super) relabel_configs: Option<IgnoredAny>,
    #[allow(dead_code, reason = "its node is what is read")]
    pub(super) metric_relabel_configs: Option<IgnoredAny>,
    pub(super) honor_labels: Option<bool>,
    pub(super) honor_timestamps: Option<bool>,
    pub(super) track_timestamps_staleness: Option<bool>,
    pub(super) extra_scrape_metrics: Option<bool>,
    pub(super) body_size_limit: Option<GoSize>,
    pub(super) sample_limit: Option<u64>,
    pub(super) label_limit: Option<u64>,
    pub(super) label_name_length_limit: Option<u64>,
    pub(super) label_value_length_limit: Option<u64>,
    pub(super) target_limit: Option<u64>,
    pub(super) scrape_protocols: Option<OneOrMany>,
    pub(super) fallback_scrape_protocol: Option<String>,
    pub(super) enable_compression: Option<bool>,
    pub(super) follow_redirects: Option<bool>,
    pub(super) basic_auth: Option<BasicAuth>,
    pub(super) authorization: Option<Authorization>,
    pub(super) bearer_token: Option<Hidden>,
    pub(super) bearer_token_file: Option<String>,
    pub(super) http_headers: Option<BTreeMap<String, HttpHeader>>,
    pub(super) tls_config: Option<TlsConfig>,
    pub(super) proxy_url: Option<String>,
    pub(super) to: Option<OneOrMany>,
}

/// One of `static_configs`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StaticConfig {
    pub(super) targets: Option<OneOrMany>,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

/// One of `file_sd_configs`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileDiscovery {
    pub(super) files: Option<OneOrMany>,
    pub(super) refresh_interval: Option<Time>,
}

/// One of `http_headers`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpHeader {
    pub(super) values: Option<Vec<Hidden>>,
    pub(super) secrets: Option<Vec<Hidden>>,
    pub(super) files: Option<Vec<String>>,
}

/// `http`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: Option<String>,
}

/// `limits`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) memory: Option<Size>,
    pub(super) line: Option<Size>,
    pub(super) spool: Option<Size>,
    pub(super) spool_age: Option<Time>,
    pub(super) labels: Option<u64>,
    pub(super) label_name: Option<Size>,
    pub(super) label_value: Option<Size>,
}

/// A text that is never shown.
#[derive(Debug)]
pub(super) struct Hidden(pub(super) Secret);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Hidden(Secret::new(text)))
    }
}

/// A duration such as `5m`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time(pub(super) Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        units::parse_duration(&text).map(Time).map_err(de::Error::custom)
    }
}

/// A number of bytes such as `64MiB`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size(pub(super) u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        units::parse_size(&text).map(Size).map_err(de::Error::custom)
    }
}

/// A list of texts, or one text in its place.
#[derive(Debug, Default)]
pub(super) struct OneOrMany(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<OneOrMany, A::Error> {
                Vec::deserialize(value::SeqAccessDeserializer::new(items)).map(OneOrMany)
            }

            fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<OneOrMany, A::Error> {
                Err(de::Error::invalid_type(de::Unexpected::Map, &self))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}
