//! What receivers are told: plain values, already checked.

use crate::base::limits::INLET_AHEAD_PART;
use crate::base::secret::Secret;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One `logs` entry whose source receives. What becomes of its records is told to the file source.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Name in metrics and messages, and of its inlet's directory; unique among all sources.
    pub name: String,
    /// Where messages come from.
    pub from: From,
    /// The longest message, bytes; of a longer one the head is kept.
    pub message_bytes: usize,
    /// Bound of its inlet, bytes.
    pub queue_bytes: u64,
}

/// Where messages come from.
#[derive(Debug, Clone, PartialEq)]
pub enum From {
    /// Syslog.
    Syslog(Syslog),
    /// Pushes of Loki's clients.
    Push(Push),
    /// GELF over UDP, at this address.
    Gelf(SocketAddr),
    /// The process's stdin, until it ends.
    Stdin,
}

/// A syslog server.
#[derive(Debug, Clone, PartialEq)]
pub struct Syslog {
    /// Where it listens.
    pub address: Address,
    /// TLS, over TCP only.
    pub tls: Option<Tls>,
    /// A connection that is silent for so long is closed, and one whose message takes longer.
    pub idle_timeout: Duration,
}

/// Where a socket is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Datagrams.
    Udp(SocketAddr),
    /// Connections.
    Tcp(SocketAddr),
    /// Connections of this host, at an absolute path.
    UnixStream(PathBuf),
    /// Datagrams of this host, at an absolute path.
    UnixDatagram(PathBuf),
}

impl Address {
    /// Whether any free port will do.
    pub fn is_free(&self) -> bool {
        matches!(self, Address::Udp(at) | Address::Tcp(at) if at.port() == 0)
    }

    /// Whether both cannot be had at once: one path is one socket of either kind.
    pub fn clashes(&self, other: &Address) -> bool {
        match (self, other) {
            (Address::UnixStream(path), Address::UnixDatagram(other))
            | (Address::UnixDatagram(path), Address::UnixStream(other)) => path == other,
            _ => self == other && !self.is_free(),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Udp(address) => write!(f, "udp://{address}"),
            Address::Tcp(address) => write!(f, "tcp://{address}"),
            Address::UnixStream(path) => write!(f, "unix://{}", path.display()),
            Address::UnixDatagram(path) => write!(f, "unixgram://{}", path.display()),
        }
    }
}

/// A server of Loki's push API.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    /// Where it listens.
    pub address: SocketAddr,
    /// TLS.
    pub tls: Option<Tls>,
    /// Who may push; `None`: everybody.
    pub basic_auth: Option<(String, Password)>,
    /// The largest body, as sent and decompressed, bytes.
    pub body_bytes: usize,
}

/// Where a password is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// Here.
    Inline(Secret),
    /// In a file, without the line break at its end; read when the source starts and when it is reloaded.
    File(PathBuf),
}

/// What a server shows of itself, and what it wants of its clients. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificates, its own first.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// Authorities of clients' certificates; `None`: clients need none.
    pub client_ca_file: Option<PathBuf>,
    /// A client without a certificate is taken, too.
    pub client_optional: bool,
}

impl Settings {
    /// Where it listens; `None`: it does not.
    pub fn address(&self) -> Option<Address> {
        match &self.from {
            From::Syslog(syslog) => Some(syslog.address.clone()),
            From::Push(push) => Some(Address::Tcp(push.address)),
            From::Gelf(address) => Some(Address::Udp(*address)),
            From::Stdin => None,
        }
    }

    /// Whether its senders cannot be held up, so that the oldest of its inlet gives way when it is full.
    pub fn gives_way(&self) -> bool {
        matches!(self.address(), Some(Address::Udp(_)))
    }

    /// How much of its inlet may be on its way to the endpoints, bytes; `None`: there is no bound but memory.
    pub fn ahead_bytes(&self) -> Option<u64> {
        self.gives_way().then_some(self.queue_bytes / INLET_AHEAD_PART)
    }

    /// What kind of source it is, by its name in a configuration.
    pub fn kind(&self) -> &'static str {
        match self.from {
            From::Syslog(_) => "syslog",
            From::Push(_) => "push",
            From::Gelf(_) => "gelf",
            From::Stdin => "stdin",
        }
    }

    /// Its TLS, if it has any.
    pub fn tls(&self) -> Option<&Tls> {
        match &self.from {
            From::Syslog(syslog) => syslog.tls.as_ref(),
            From::Push(push) => push.tls.as_ref(),
            From::Gelf(_) | From::Stdin => None,
        }
    }
}
