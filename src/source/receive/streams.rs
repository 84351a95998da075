//! Connections: syslog over TCP, TLS and unix sockets.
//!
//! A read of a connection is one append. While the inlet is full nothing is read, so that the kernel holds the sender up.
//!
//! Promises: a message that was read is in the inlet before the connection is read again; one bad connection ends nothing else. TCP syslog has no
//! answers: what the kernel had taken and nobody had read when the process was killed is gone. When it stops, it takes what is there first. Leaves to
//! others: cutting the stream (`format/syslog/frame`), what a message says.

use super::datagrams::Peer;
use super::port::{Chunk, Port};
use super::socket::keep_alive;
use crate::base::limits::{
    HTTP_ACCEPT_PAUSE_MS, RECEIVE_CONNECTIONS, RECEIVE_STOP_MS, RECEIVE_STREAM_BYTES, TLS_HANDSHAKE_MS,
};
use crate::base::shutdown::Shutdown;
use crate::format::record::Kind;
use crate::format::syslog::frame::Framer;
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Where connections come from.
pub(super) enum Source {
    Tcp(TcpListener, Option<Arc<ServerConfig>>),
    Unix(UnixListener),
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Source {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Source::Tcp(listener, _) => listener.accept().await.map(|(stream, peer)| Accepted::Tcp(stream, peer)),
            Source::Unix(listener) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }

    fn tls(&self) -> Option<TlsAcceptor> {
        match self {
            Source::Tcp(_, Some(config)) => Some(TlsAcceptor::from(Arc::clone(config))),
            Source::Tcp(_, None) | Source::Unix(_) => None,
        }
    }
}

/// Takes connections until `leave` is raised, and serves those it has until they end or `stop` is raised.
pub(super) async fn receive(
    source: Source,
    idle: Option<Duration>,
    port: Arc<Port>,
    mut leave: Shutdown,
    stop: Shutdown,
) {
    let slots = Arc::new(Semaphore::new(RECEIVE_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed, so that an error cannot happen; if it did, stopping would be right.
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => match slot { Ok(slot) => slot, Err(_) => break },
            () = leave.raised() => break,
        };
        let accepted = tokio::select! {
            accepted = source.accept() => accepted,
            () = leave.raised() => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok(accepted) => {
                let connection = Connection { idle, port: Arc::clone(&port), stop: stop.clone() };
                let tls = source.tls();
                connections.spawn(async move {
                    connection.port.status.connections.add(1.0);
                    let port = Arc::clone(&connection.port);
                    connection.serve(accepted, tls).await;
                    port.status.connections.add(-1.0);
                    drop(slot);
                });
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(HTTP_ACCEPT_PAUSE_MS)).await;
            }
        }
    }
    drop(source);
    while connections.join_next().await.is_some() {}
}

struct Connection {
    idle: Option<Duration>,
    port: Arc<Port>,
    stop: Shutdown,
}

impl Connection {
    async fn serve(self, accepted: Accepted, tls: Option<TlsAcceptor>) {
        let mut peer = Peer::default();
        match (accepted, tls) {
            (Accepted::Unix(stream), _) => self.read(stream, None, Kind::SyslogLocal).await,
            (Accepted::Tcp(stream, from), None) => {
                keep_alive(&stream);
                self.read(stream, Some(peer.of(from)), Kind::Syslog).await;
            }
            (Accepted::Tcp(stream, from), Some(tls)) => {
                keep_alive(&stream);
                let peer = peer.of(from);
                match timeout(Duration::from_millis(TLS_HANDSHAKE_MS), tls.accept(stream)).await {
                    Ok(Ok(stream)) => self.read(stream, Some(peer), Kind::Syslog).await,
                    Ok(Err(error)) => {
                        self.port.status.handshakes_failed.add(1);
                        tracing::warn!(peer, %error, "a TLS handshake failed");
                    }
                    Err(_) => {
                        self.port.status.handshakes_failed.add(1);
                        tracing::warn!(peer, "a TLS handshake took too long");
                    }
                }
            }
        }
    }

    async fn read(mut self, mut stream: impl AsyncRead + Unpin, peer: Option<&str>, kind: Kind) {
        let mut buffer = vec![0; RECEIVE_STREAM_BYTES];
        let mut framer = Framer::new(self.port.message_bytes());
        let mut chunk = Chunk::default();
        loop {
            let got = if self.stop.is_raised() {
                // What is there is taken, and nothing is waited for.
                timeout(Duration::from_millis(RECEIVE_STOP_MS / 10), stream.read(&mut buffer)).await.unwrap_or(Ok(0))
            } else {
                tokio::select! {
                    got = stream.read(&mut buffer) => got,
                    () = self.stop.raised() => continue,
                    () = sleep(self.idle) => break,
                }
            };
            let got = match got {
                Ok(0) => break,
                Ok(got) => got,
                // The other side went away; what it had sent whole was taken.
                Err(_) => break,
            };
            self.port.begin();
            let port = &self.port;
            framer.push(buffer.get(..got).unwrap_or_default(), |frame| {
                port.put(kind, peer, frame.bytes, frame.missing, &mut chunk);
            });
            self.port.append_all(&mut chunk, &mut self.stop).await;
        }
        self.port.begin();
        let port = &self.port;
        framer.finish(|frame| port.put(kind, peer, frame.bytes, frame.missing, &mut chunk));
        self.port.append_all(&mut chunk, &mut self.stop).await;
    }
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
