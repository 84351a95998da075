//! Servers of which certificates are told: asked on threads of their own, as a name may take as long as a resolver likes.
//!
//! A server is connected to once in ten minutes, and whoever it is, it is believed: what is wanted is the time in its certificate. One is asked at each
//! [`Servers::ask`], on a thread that ends with the answer.
//!
//! Promises: who asks waits for nothing; there are [`HOST_CERTIFICATE_THREADS`] threads at most, also over other settings; of a server that cannot be
//! reached the last certificates stay known. Leaves to others: which servers, and telling of them.

use crate::base::access::Tls;
use crate::base::limits::{
    HOST_CERTIFICATE_CONNECT_MS, HOST_CERTIFICATE_THREADS, HOST_CERTIFICATES_SERVER_S, HOST_STACK_BYTES,
};
use crate::base::tls::client_config;
use crate::format::x509::{self, Certificate};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What servers have shown; one for all the time of a host's collectors.
#[derive(Debug, Default)]
pub(super) struct Servers(Mutex<Vec<Server>>);

/// A server, and what it showed.
#[derive(Debug)]
pub(super) struct Server {
    /// `host:port`.
    pub(super) name: String,
    /// What it showed last.
    pub(super) certificates: Vec<Certificate>,
    /// Why it has shown nothing the last time.
    pub(super) error: Option<String>,
    asked: Option<Instant>,
    /// A thread is at it.
    busy: bool,
}

impl Servers {
    /// What is known now.
    pub(super) fn known(&self) -> MutexGuard<'_, Vec<Server>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the one of these asked that is due, if one is: the one that was asked longest ago. Others are forgotten.
    pub(super) fn ask(self: &Arc<Self>, names: &[String]) {
        let mut servers = self.known();
        servers.retain(|server| server.busy || names.contains(&server.name));
        for name in names {
            if !servers.iter().any(|server| server.name == *name) {
                let name = name.clone();
                servers.push(Server { name, certificates: Vec::new(), error: None, asked: None, busy: false });
            }
        }
        if servers.iter().filter(|server| server.busy).count() >= HOST_CERTIFICATE_THREADS {
            return;
        }
        let pause = Duration::from_secs(HOST_CERTIFICATES_SERVER_S);
        let is_due = |server: &&mut Server| !server.busy && server.asked.is_none_or(|at| at.elapsed() >= pause);
        let Some(server) = servers.iter_mut().filter(is_due).min_by_key(|server| server.asked) else { return };
        (server.asked, server.busy) = (Some(Instant::now()), true);
        let asking = Asking { of: Arc::clone(self), name: server.name.clone() };
        let thread = std::thread::Builder::new().name("lugger-tls".into()).stack_size(HOST_STACK_BYTES);
        // What is not run is dropped, which takes the lock.
        drop(servers);
        if let Err(error) = thread.spawn(move || asking.run()) {
            tracing::warn!(%error, "a thread that asks a server for its certificate cannot be started");
        }
    }
}

/// A server that is being asked; it is not any more when this goes, however that is.
struct Asking {
    of: Arc<Servers>,
    name: String,
}

impl Asking {
    fn run(self) {
        let believing = Tls { insecure_skip_verify: true, ..Tls::default() };
        let tls = client_config(&believing).map_err(|error| error.to_string());
        let shown = tls.and_then(|tls| shown_by(&self.name, Arc::new(tls)));
        let mut servers = self.of.known();
        let Some(server) = servers.iter_mut().find(|server| server.name == self.name) else { return };
        match shown {
            Ok(certificates) => (server.certificates, server.error) = (certificates, None),
            Err(error) => server.error = Some(format!("{}: {error}", server.name)),
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut servers = self.of.known();
        servers.iter_mut().filter(|server| server.name == self.name).for_each(|server| server.busy = false);
    }
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
    // How long this takes is the resolver's own matter.
    let addresses = name.to_socket_addrs().map_err(failed)?;
    let until = Instant::now() + Duration::from_millis(HOST_CERTIFICATE_CONNECT_MS);
    let left = || until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut socket = Err("the name leads to no address".to_owned());
    for address in addresses {
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
