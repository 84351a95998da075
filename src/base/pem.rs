//! Certificates and keys in PEM files, for clients and servers alike.
//!
//! Promises: what is missing or not of its form is said with its file. Leaves to others: what they are used for.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};

/// Why a file gives nothing; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It cannot be read.
    #[error("tls_config: cannot read {path}: {error}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It has no certificate or key.
    #[error("tls_config: {path} has no valid {what} in PEM form: {why}")]
    Form {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// What was found.
        why: String,
    },
}

fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    std::fs::read(path).map_err(|error| PemError::Read { path: path.to_owned(), error })
}

/// All certificates of a file, at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let fail = |why: String| PemError::Form { path: path.to_owned(), what: "certificate", why };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let found = found.map_err(|error| fail(error.to_string()))?;
    if found.is_empty() { Err(fail("none found".to_owned())) } else { Ok(found) }
}

/// The first key of a file.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let fail = |why: String| PemError::Form { path: path.to_owned(), what: "private key", why };
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| fail(error.to_string()))
}
