//! `certificates`: up to when certificates hold, those in files and those that servers show, under the names that exporters of certificates have.
//!
//! Files are read again when they have changed, and looked for once a minute. A server is connected to once in ten minutes, one a tick, and whoever it
//! is, it is believed: what is told is the time in its certificate.
//!
//! Promises: a server that does not answer delays no other collector; of a file that cannot be read, or a server that cannot be reached, the last
//! certificates stay told, and an error beside them. Leaves to others: whether a certificate is to be trusted.

use super::textfile::expanded;
use super::{Collector, Fail, Settings};
use crate::base::access::Tls;
use crate::base::clock::Clock;
use crate::base::limits::{
    HOST_CERTIFICATE_BYTES_MAX, HOST_CERTIFICATE_CONNECT_MS, HOST_CERTIFICATES_LOOK_S, HOST_CERTIFICATES_SERVER_S,
};
use crate::base::tls::client_config;
use crate::format::x509::{self, Certificate};
use crate::model::samples::{Kind, Samples};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection};
use std::fs::Metadata;
use std::io::{self, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) struct Certificates {
    patterns: Vec<PathBuf>,
    files: Vec<Found>,
    looked: Option<Instant>,
    servers: Vec<Server>,
    tls: Option<Arc<ClientConfig>>,
}

/// A file, and what was in it.
struct Found {
    path: PathBuf,
    version: (u64, u64, i64, i64),
    certificates: Vec<Certificate>,
    error: Option<String>,
}

/// A server, and what it showed.
struct Server {
    /// `host:port`.
    name: String,
    asked: Option<Instant>,
    certificates: Vec<Certificate>,
    error: Option<String>,
}

impl Certificates {
    pub(super) fn new(settings: &Settings) -> Certificates {
        let server = |name: &String| Server { name: name.clone(), asked: None, certificates: Vec::new(), error: None };
        Certificates {
            patterns: settings.certificate_files.clone(),
            files: Vec::new(),
            looked: None,
            servers: settings.certificate_servers.iter().map(server).collect(),
            tls: None,
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

    /// Asks the server that is due, if one is: the one that was asked longest ago.
    fn ask(&mut self) -> Result<(), Fail> {
        let pause = Duration::from_secs(HOST_CERTIFICATES_SERVER_S);
        let due = self.servers.iter_mut().filter(|server| server.asked.is_none_or(|at| at.elapsed() >= pause));
        let Some(server) = due.min_by_key(|server| server.asked) else { return Ok(()) };
        server.asked = Some(Instant::now());
        let tls = match &self.tls {
            Some(tls) => Arc::clone(tls),
            None => {
                let believing = Tls { insecure_skip_verify: true, ..Tls::default() };
                let config = client_config(&believing).map_err(|error| Fail::Error(error.to_string()))?;
                Arc::clone(self.tls.insert(Arc::new(config)))
            }
        };
        match shown_by(&server.name, tls) {
            Ok(certificates) => (server.certificates, server.error) = (certificates, None),
            Err(error) => server.error = Some(format!("{}: {error}", server.name)),
        }
        Ok(())
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

/// The certificates that a server shows, its own first.
fn shown_by(name: &str, tls: Arc<ClientConfig>) -> Result<Vec<Certificate>, String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("it did not answer within {HOST_CERTIFICATE_CONNECT_MS} ms")
        }
        _ => error.to_string(),
    };
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host).trim_matches(['[', ']']);
    let server = ServerName::try_from(host.to_owned()).map_err(|_| "this is no host name".to_owned())?;
    let until = Instant::now() + Duration::from_millis(HOST_CERTIFICATE_CONNECT_MS);
    let left = || until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut socket = Err("the name leads to no address".to_owned());
    for address in name.to_socket_addrs().map_err(failed)? {
        socket = TcpStream::connect_timeout(&address, left()).map_err(failed);
        if socket.is_ok() {
            break;
        }
    }
    let mut socket = socket?;
    let mut connection = ClientConnection::new(tls, server).map_err(|error| error.to_string())?;
    while connection.is_handshaking() {
        socket.set_read_timeout(Some(left())).and_then(|()| socket.set_write_timeout(Some(left()))).map_err(failed)?;
        if Instant::now() >= until {
            return Err(failed(io::ErrorKind::TimedOut.into()));
        }
        // One step each time, so that a server that sends a byte a second has no more time than others.
        if connection.wants_write() {
            connection.write_tls(&mut socket).map_err(failed)?;
        } else {
            if connection.read_tls(&mut socket).map_err(failed)? == 0 {
                return Err("it closed the connection before it had shown a certificate".to_owned());
            }
            if let Err(error) = connection.process_new_packets()
                && connection.peer_certificates().is_none()
            {
                return Err(error.to_string());
            }
        }
        // Who wants a certificate of ours has shown its own by then.
        if connection.peer_certificates().is_some() {
            break;
        }
    }
    let shown = connection.peer_certificates().unwrap_or_default();
    let read = shown.iter().map(|der| x509::read(der)).collect::<Result<Vec<_>, _>>();
    read.map_err(|error| error.to_string())
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
        if self.patterns.is_empty() && self.servers.is_empty() {
            return Err(Fail::NoData);
        }
        self.look();
        self.ask()?;
        let of_file = |found: &Found| {
            let name = found.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            vec![("filename", name), ("filepath", found.path.to_string_lossy().into_owned())]
        };
        let of_server = |server: &Server| vec![("endpoint", server.name.clone())];
        let files = self.files.iter().map(|found| (of_file(found), &found.certificates, &found.error));
        let servers = self.servers.iter().map(|server| (of_server(server), &server.certificates, &server.error));
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
