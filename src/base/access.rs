//! How we show a server who we are, and which servers we trust: plain values, already checked.
//!
//! Promises: a secret is shown nowhere. Leaves to others: reading the files that are named here (`tls`, and who sends).

use super::secret::Secret;
use std::path::PathBuf;

/// How the agent shows who it is. `File` secrets are read again before each attempt that follows a 401 or 403, so that they can be
/// replaced without a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// It does not.
    #[default]
    None,
    /// HTTP basic authentication.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: Credential,
    },
    /// `Authorization: Bearer …`.
    Bearer(Credential),
    /// `Authorization` of another scheme.
    Other {
        /// What stands before the credentials.
        scheme: String,
        /// What follows it.
        credentials: Credential,
    },
}

impl Auth {
    /// The secret in it.
    pub fn secret(&self) -> Option<&Credential> {
        match self {
            Auth::None => None,
            Auth::Basic { password: secret, .. } | Auth::Bearer(secret) | Auth::Other { credentials: secret, .. } => {
                Some(secret)
            }
        }
    }
}

/// A secret, as it stands in the configuration or in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The secret itself.
    Inline(Secret),
    /// The file that has it; trailing newlines do not count.
    File(PathBuf),
}

/// TLS towards an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the only authorities to trust; `None`: the host's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client certificate chain.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the client's key.
    pub key_file: Option<PathBuf>,
    /// Name to expect in the endpoint's certificate and to send as SNI, instead of the URL's.
    pub server_name: Option<String>,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
}
