//! `certificates`: up to when certificates hold, those in files and those that servers show, under the names that exporters of certificates have.
//!
//! Files are read again when they have changed, and looked for once a minute. Servers are asked elsewhere ([`Servers`]); what they have shown by now is told.
//!
//! Promises: a server that does not answer delays nothing; of a file that cannot be read, or a server that cannot be reached, the last certificates stay
//! told, and an error beside them. Leaves to others: whether a certificate is to be trusted.

use super::servers::{Server, Servers};
use super::textfile::expanded;
use super::{Collector, Fail, Settings};
use crate::base::clock::Clock;
use crate::base::limits::{HOST_CERTIFICATE_BYTES_MAX, HOST_CERTIFICATES_LOOK_S};
use crate::format::x509::{self, Certificate};
use crate::model::samples::{Kind, Samples};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) struct Certificates {
    patterns: Vec<PathBuf>,
    files: Vec<Found>,
    looked: Option<Instant>,
    names: Vec<String>,
    servers: Arc<Servers>,
}

/// A file, and what was in it.
struct Found {
    path: PathBuf,
    version: (u64, u64, i64, i64),
    certificates: Vec<Certificate>,
    error: Option<String>,
}

impl Certificates {
    pub(super) fn new(settings: &Settings) -> Certificates {
        Certificates {
            patterns: settings.certificate_files.clone(),
            files: Vec::new(),
            looked: None,
            names: settings.certificate_servers.clone(),
            servers: Arc::clone(&settings.others.servers),
        }
    }

    fn look(&mut self) {
        let pause = Duration::from_secs(HOST_CERTIFICATES_LOOK_S);
        if self.looked.is_some_and(|at| at.elapsed() < pause) {
            return;
        }
        self.looked = Some(Instant::now());
        let mut paths: Vec<PathBuf> = self.patterns.iter().flat_map(|pattern| expanded(pattern)).collect();
        paths.sort_unstable();
        paths.dedup();
        let mut before = std::mem::take(&mut self.files);
        for path in paths {
            let known = before.iter().position(|found| found.path == path).map(|at| before.swap_remove(at));
            self.files.push(renewed(path, known));
        }
    }
}

/// What is at the path now; what is known of it where it has not changed.
fn renewed(path: PathBuf, known: Option<Found>) -> Found {
    let version = |found: &Metadata| (found.ino(), found.len(), found.mtime(), found.mtime_nsec());
    let read = || -> Result<_, String> {
        let found = std::fs::metadata(&path).map_err(|error| error.to_string())?;
        if !found.is_file() {
            return Err("it is not a file".to_owned());
        }
        let version = version(&found);
        if let Some(known) = known.as_ref().filter(|known| known.version == version && known.error.is_none()) {
            return Ok((version, known.certificates.clone()));
        }
        Ok((version, in_file(&path)?))
    };
    match read() {
        Ok((version, certificates)) => Found { path, version, certificates, error: None },
        Err(error) => {
            let certificates = known.map(|known| known.certificates).unwrap_or_default();
            let error = Some(format!("{}: {error}", path.display()));
            Found { path, version: (0, 0, 0, 0), certificates, error }
        }
    }
}

/// The certificates of a file: those in PEM, or one in DER.
fn in_file(path: &Path) -> Result<Vec<Certificate>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(HOST_CERTIFICATE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > HOST_CERTIFICATE_BYTES_MAX {
        return Err(format!("it is longer than {} MiB", HOST_CERTIFICATE_BYTES_MAX >> 20));
    }
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(&bytes) {
        let der = der.map_err(|error| format!("not understood as PEM: {error}"))?;
        found.push(x509::read(&der).map_err(|error| error.to_string())?);
    }
    if found.is_empty() {
        found.push(x509::read(&bytes).map_err(|_| "there is no certificate in it, neither PEM nor DER".to_owned())?);
    }
    Ok(found)
}

/// The labels of a certificate: where it was found, who issued it, whose it is, its number.
fn labels<'a>(place: &'a [(&'static str, String)], certificate: &'a Certificate) -> Vec<(&'a str, &'a str)> {
    let name = |of: &'a [(&'static str, String)], names: &[(&'static str, &'static str)]| -> Vec<(&'a str, &'a str)> {
        let text = |short: &str| of.iter().find(|(known, _)| *known == short).map_or("", |(_, text)| text.as_str());
        names.iter().map(|(short, label)| (*label, text(short))).collect()
    };
    let issuer = [
        ("C", "issuer_C"),
        ("CN", "issuer_CN"),
        ("L", "issuer_L"),
        ("O", "issuer_O"),
        ("OU", "issuer_OU"),
        ("ST", "issuer_ST"),
    ];
    let subject = [
        ("C", "subject_C"),
        ("CN", "subject_CN"),
        ("L", "subject_L"),
        ("O", "subject_O"),
        ("OU", "subject_OU"),
        ("ST", "subject_ST"),
    ];
    let mut labels: Vec<(&str, &str)> = place.iter().map(|(name, text)| (*name, text.as_str())).collect();
    labels.extend(name(&certificate.issuer, &issuer));
    labels.push(("serial_number", &certificate.serial));
    labels.extend(name(&certificate.subject, &subject));
    labels
}

impl Collector for Certificates {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        if self.patterns.is_empty() && self.names.is_empty() {
            return Err(Fail::NoData);
        }
        self.look();
        self.servers.ask(&self.names);
        let of_file = |found: &Found| {
            let name = found.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            vec![("filename", name), ("filepath", found.path.to_string_lossy().into_owned())]
        };
        let of_server = |server: &Server| vec![("endpoint", server.name.clone())];
        let files = self.files.iter().map(|found| (of_file(found), &found.certificates, &found.error));
        let known = self.servers.known();
        let known = known.iter().filter(|server| self.names.contains(&server.name));
        let servers = known.map(|server| (of_server(server), &server.certificates, &server.error));
        let all: Vec<_> = files.chain(servers).collect();
        let now_s = Clock::System.now_ns() / 1_000_000_000;
        type Value = fn(&Certificate, i64) -> f64;
        let families: [(&str, &str, Value); 3] = [
            ("x509_cert_not_before", "From when a certificate holds, seconds since 1970.", |it, _| {
                it.not_before_s as f64
            }),
            ("x509_cert_not_after", "Up to when a certificate holds, seconds since 1970.", |it, _| {
                it.not_after_s as f64
            }),
            ("x509_cert_expired", "Whether a certificate does not hold any more.", |it, now_s| {
                f64::from(u8::from(it.not_after_s < now_s))
            }),
        ];
        for (name, help, value) in families {
            out.family(name, help, Kind::Gauge);
            for (place, certificates, _) in &all {
                for certificate in *certificates {
                    out.add(&labels(place, certificate), value(certificate, now_s));
                }
            }
        }
        let errors: Vec<&str> = all.iter().filter_map(|(_, _, error)| error.as_deref()).collect();
        out.one(
            "x509_read_errors",
            "Files and servers whose certificates cannot be read now.",
            Kind::Gauge,
            errors.len() as f64,
        );
        match errors.first() {
            None => Ok(()),
            Some(first) if errors.len() == 1 => Err(Fail::Error((*first).to_owned())),
            Some(first) => Err(Fail::Error(format!("{first} (and {} more)", errors.len() - 1))),
        }
    }
}
