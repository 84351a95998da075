//! What a job scrapes, and how: plain values, already checked.
//!
//! Promises: names and meanings are those of Prometheus' `scrape_config`. Leaves to others: how a person writes them.

use crate::base::access::{Auth, Credential, Tls};
use crate::base::limits::{
    SCRAPE_BODY_BYTES_DEFAULT, SCRAPE_INTERVAL_MS_DEFAULT, SCRAPE_TIMEOUT_MS_DEFAULT, TARGETS_REFRESH_MS_DEFAULT,
};
use crate::format::prometheus::parse::Form;
pub use crate::format::target_groups::Group;
use crate::pipeline::relabel;
use crate::source::series;
use std::time::Duration;

/// A text format that a target may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OpenMetrics 1.0.0.
    OpenMetrics1,
    /// OpenMetrics 0.0.1.
    OpenMetrics0,
    /// Prometheus' text format 1.0.0, which has other names only.
    Text1,
    /// Prometheus' text format 0.0.4.
    Text0,
}

impl Protocol {
    /// All by the names that Prometheus' configuration has, the preferred one first.
    pub const NAMES: [(&'static str, Protocol); 4] = [
        ("OpenMetricsText1.0.0", Protocol::OpenMetrics1),
        ("OpenMetricsText0.0.1", Protocol::OpenMetrics0),
        ("PrometheusText1.0.0", Protocol::Text1),
        ("PrometheusText0.0.4", Protocol::Text0),
    ];

    /// As it stands in `Accept`.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Protocol::OpenMetrics1 => "application/openmetrics-text;version=1.0.0",
            Protocol::OpenMetrics0 => "application/openmetrics-text;version=0.0.1",
            Protocol::Text1 => "text/plain;version=1.0.0",
            Protocol::Text0 => "text/plain;version=0.0.4",
        }
    }

    /// By which parser it is read.
    pub fn form(self) -> Form {
        match self {
            Protocol::OpenMetrics1 | Protocol::OpenMetrics0 => Form::OpenMetrics,
            Protocol::Text1 | Protocol::Text0 => Form::Text,
        }
    }
}

/// How targets of a job are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// How the agent shows who it is. It is not shown to another host that a target redirects to.
    pub auth: Auth,
    /// TLS, for `https`.
    pub tls: Tls,
    /// `http://` or `https://` proxy; `None`: none, also not from the environment.
    pub proxy: Option<String>,
    /// Further request headers, in order; like `auth`.
    pub headers: Vec<(String, Credential)>,
    /// Redirects are followed.
    pub follow_redirects: bool,
    /// Formats to ask for, the preferred one first.
    pub protocols: Vec<Protocol>,
    /// Compressed bodies are asked for.
    pub compression: bool,
}

impl Default for Access {
    fn default() -> Self {
        Access {
            auth: Auth::None,
            tls: Tls::default(),
            proxy: None,
            headers: Vec::new(),
            follow_redirects: true,
            protocols: Protocol::NAMES.map(|(_, protocol)| protocol).to_vec(),
            compression: true,
        }
    }
}

impl Access {
    /// Whether files belong to it, which may have changed when it has not.
    pub fn names_files(&self) -> bool {
        let tls = &self.tls;
        let secrets = self.auth.secret().into_iter().chain(self.headers.iter().map(|(_, value)| value));
        secrets.into_iter().any(|secret| matches!(secret, Credential::File(_)))
            || [&tls.ca_file, &tls.cert_file, &tls.key_file].iter().any(|file| file.is_some())
    }
}

/// One of `file_sd_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Absolute paths that end in `.json`, `.yml` or `.yaml`; a `*` may be in the last part.
    pub patterns: Vec<String>,
    /// They are read again after this, whatever is told of changes.
    pub refresh: Duration,
}

impl Default for Files {
    fn default() -> Self {
        Files { patterns: Vec::new(), refresh: Duration::from_millis(TARGETS_REFRESH_MS_DEFAULT) }
    }
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `job_name`; unique. It is the label `job`, and stands in metrics and messages.
    pub job: String,
    /// How often.
    pub interval: Duration,
    /// How long a scrape may take; no longer than the interval.
    pub timeout: Duration,
    /// `http` or `https`.
    pub scheme: String,
    /// Path on the target.
    pub path: String,
    /// Parameters of the URL.
    pub params: Vec<(String, Vec<String>)>,
    /// How targets are reached.
    pub access: Access,
    /// What a body is taken for whose `Content-Type` is missing or says something else.
    pub fallback: Form,
    /// A body of so many bytes, decompressed, is too large. At least 1.
    pub body_bytes: u64,
    /// With more targets none is scraped; 0 is no bound.
    pub target_limit: u64,
    /// `relabel_configs`.
    pub relabel: Vec<relabel::Settings>,
    /// `static_configs`.
    pub groups: Vec<Group>,
    /// `file_sd_configs`.
    pub files: Vec<Files>,
    /// What becomes of samples.
    pub series: series::Settings,
}

impl Settings {
    /// A job with Prometheus' defaults and no targets yet.
    pub fn new(job: &str) -> Self {
        Settings {
            job: job.to_owned(),
            interval: Duration::from_millis(SCRAPE_INTERVAL_MS_DEFAULT),
            timeout: Duration::from_millis(SCRAPE_TIMEOUT_MS_DEFAULT),
            scheme: "http".to_owned(),
            path: "/metrics".to_owned(),
            params: Vec::new(),
            access: Access::default(),
            fallback: Form::Text,
            body_bytes: SCRAPE_BODY_BYTES_DEFAULT,
            target_limit: 0,
            relabel: Vec::new(),
            groups: Vec::new(),
            files: Vec::new(),
            series: series::Settings::default(),
        }
    }
}
