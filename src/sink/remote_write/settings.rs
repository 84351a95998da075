//! What an endpoint of metrics is told: plain values, already checked.

use crate::base::secret::Secret;
use crate::pipeline::relabel;
use crate::sink::settings::{Auth, Connection, Tls};
use std::time::Duration;

/// Which version of the protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Message {
    /// 1.0, which every receiver knows.
    #[default]
    V1,
    /// 2.0 alone: an endpoint that does not know it gets nothing, and what is for it is kept.
    V2,
    /// 2.0, unless the endpoint shows that it only knows 1.0; that is believed until the next start.
    Auto,
}

/// One `remote_write` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name in metrics, messages and `to`, and of what waits on disk; unique.
    pub name: String,
    /// Where requests go: `http` or `https`, without user and password (they are in `auth`).
    pub url: String,
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
    /// What happens to series on their way to this endpoint alone. They compile.
    pub write_relabel: Vec<relabel::Settings>,
    /// The version.
    pub message: Message,
    /// Whether exemplars are sent.
    pub exemplars: bool,
    /// How often 1.0 sends metadata of families; 2.0 has them with each series. `None`: neither sends any.
    pub metadata: Option<Duration>,
    /// Samples at which a request is sealed, at least 1.
    pub max_samples: usize,
    /// Age at which it is.
    pub deadline: Duration,
    /// First and longest pause between attempts.
    pub backoff: (Duration, Duration),
    /// Samples older than this are not sent any more; `None`: they are.
    pub sample_age_limit: Option<Duration>,
    /// Whether what is answered by 429 is sent again; otherwise it is dropped.
    pub retry_rate_limited: bool,
}

impl Endpoint {
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

    /// Whether files belong to it, which may have changed when it has not.
    pub fn names_files(&self) -> bool {
        self.connection().names_files()
    }
}
