//! TLS of those who listen: what a server shows, and what it wants of its clients.
//!
//! Promises: what is missing or does not fit is said with its file. Leaves to others: connections.

use super::settings::Tls;
use crate::base::pem::{PemError, certificates, private_key};
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why TLS cannot be set up; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates or a key.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Certificate and key do not go together, or a client's authority is none.
    #[error("tls_config: {path} cannot be used: {why}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// A server's side. `protocols`: what it speaks inside, for ALPN; mostly nothing.
pub(super) fn server_config(tls: &Tls, protocols: &[&str]) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |error: String| TlsError::Unusable { path, why: error }
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&tls.cert_file)(error.to_string()))?;
    let builder = match &tls.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unusable(path)(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if tls.client_optional { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(path)(error.to_string()))?)
        }
    };
    let mut config =
        builder.with_single_cert(certificates(&tls.cert_file)?, private_key(&tls.key_file)?).map_err(|error| {
            match error {
                rustls::Error::InconsistentKeys(_) => unusable(&tls.key_file)(format!(
                    "it is not the key of the certificate in {}",
                    tls.cert_file.display()
                )),
                error => unusable(&tls.cert_file)(error.to_string()),
            }
        })?;
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}
