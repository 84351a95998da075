//! TLS towards a server: whom to trust, who we are.
//!
//! Promises: nothing is read from the host unless TLS is used, so that an `http://` endpoint works on a host without any
//! authorities; what is missing is said with its file. The authorities of the host are found by rustls-native-certs, which
//! looks where distributions put them and obeys `SSL_CERT_FILE`; that also holds for a static binary. Leaves to others: the
//! name override (whoever connects does so under the other name).

use super::access::Tls;
use super::pem::{PemError, certificates, private_key};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::PathBuf;
use std::sync::Arc;

/// Why TLS cannot be set up; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates or a key.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The host has no authorities.
    #[error(
        "this host has no certificate authorities to check the endpoint with: install the package ca-certificates, \
         or name the authority's file in tls_config.ca_file"
    )]
    NoAuthorities,
    /// One of certificate and key is missing.
    #[error("tls_config: cert_file and key_file go together, but {0} is missing")]
    Half(&'static str),
    /// Certificate and key are not accepted.
    #[error("tls_config: the client certificate in {path} does not work with its key: {error}")]
    Client {
        /// Where the certificate is.
        path: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// Should not happen with the fixed provider.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// The configuration for an endpoint that is reached by TLS.
pub fn client_config(tls: &Tls) -> Result<ClientConfig, TlsError> {
    let provider = install_provider();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let builder = if tls.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
    } else {
        builder.with_root_certificates(authorities(tls)?)
    };
    let mut config = match (&tls.cert_file, &tls.key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|error| TlsError::Client { path: cert.clone(), error })?,
        (Some(_), None) => return Err(TlsError::Half("key_file")),
        (None, Some(_)) => return Err(TlsError::Half("cert_file")),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A configuration that trusts nobody, for an endpoint that is reached without TLS. The HTTP client wants one in any case; left to
/// itself it would read the host's authorities and fail without them.
pub fn unused_config() -> Result<ClientConfig, TlsError> {
    Ok(ClientConfig::builder_with_provider(install_provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// Makes ring the process's provider. A second call changes nothing.
fn install_provider() -> Arc<CryptoProvider> {
    let _ = ring::default_provider().install_default();
    Arc::new(ring::default_provider())
}

fn authorities(tls: &Tls) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = &tls.ca_file {
        for certificate in certificates(path)? {
            store.add(certificate).map_err(|error| PemError::Form {
                path: path.clone(),
                what: "certificate",
                why: error.to_string(),
            })?;
        }
        return Ok(store);
    }
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(TlsError::NoAuthorities);
    }
    Ok(store)
}

/// For `insecure_skip_verify`: any certificate will do, but the peer must hold its key.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
