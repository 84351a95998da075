//! What an endpoint is told: plain values, already checked.

pub use crate::base::access::{Auth, Credential, Tls};
use crate::base::rate::RateLimit;
use crate::base::secret::Secret;
use crate::model::flow::StreamBound;
use std::time::Duration;

/// One `loki` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name in metrics, messages and `to`; unique.
    pub name: String,
    /// The push URL: `http` or `https`, without user and password (they are in `auth`).
    pub url: String,
    /// Sent as `X-Scope-OrgID`.
    pub tenant_id: Option<String>,
    /// Further request headers; values may be secrets.
    pub headers: Vec<(String, Secret)>,
    /// How the agent shows who it is.
    pub auth: Auth,
    /// TLS, for `https`.
    pub tls: Tls,
    /// `http://` or `https://` proxy; `None`: none, also not from the environment.
    pub proxy: Option<String>,
    /// From connect to the last byte of the answer.
    pub timeout: Duration,
    /// Uncompressed size at which a batch is sealed, bytes.
    pub batch_bytes: usize,
    /// Age at which a batch is sealed.
    pub batch_wait: Duration,
    /// First and longest pause between attempts.
    pub backoff: (Duration, Duration),
    /// What is sent a second, entries and bytes before compression; `None`: all there is.
    pub rate: Option<RateLimit>,
    /// Bound of the streams that it has at a time; `None`: as many as there are.
    pub max_streams: Option<StreamBound>,
}

impl Endpoint {
    /// Whether files belong to it, which may have changed when it has not.
    pub fn names_files(&self) -> bool {
        self.connection().names_files()
    }

    /// How it is reached.
    pub fn connection(&self) -> Connection<'_> {
        Connection {
            url: &self.url,
            headers: &self.headers,
            auth: &self.auth,
            tls: &self.tls,
            proxy: self.proxy.as_deref(),
            timeout: self.timeout,
        }
    }
}

/// How an endpoint of any kind is reached.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    /// `http` or `https`, without user and password (they are in `auth`).
    pub url: &'a str,
    /// Further request headers; values may be secrets.
    pub headers: &'a [(String, Secret)],
    /// How the agent shows who it is.
    pub auth: &'a Auth,
    /// TLS, for `https`.
    pub tls: &'a Tls,
    /// `http://` or `https://` proxy; `None`: none, also not from the environment.
    pub proxy: Option<&'a str>,
    /// From connect to the last byte of the answer.
    pub timeout: Duration,
}

impl Connection<'_> {
    /// Whether files belong to it, which may have changed when it has not.
    pub fn names_files(&self) -> bool {
        let tls = self.tls;
        matches!(self.auth.secret(), Some(Credential::File(_)))
            || [&tls.ca_file, &tls.cert_file, &tls.key_file].iter().any(|file| file.is_some())
    }
}
