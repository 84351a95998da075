//! Connections: syslog over TCP, TLS and unix sockets.
//!
//! A read of a connection is one append. While the inlet is full nothing is read, so that the kernel holds the sender up.
//!
//! Promises: a message that was read is in the inlet before the connection is read again; one bad connection ends nothing else. TCP syslog has no
//! answers: what the kernel had taken and nobody had read when the process was killed is gone. When it stops, it takes what is there first, for a
//! moment. Connections are bounded in number, in the time that they are silent or a message takes, and in what they hold of messages, whether those
//! have ended or not. Leaves to others: cutting the stream (`format/syslog/frame`), what a message says.

use super::datagrams::Peer;
use super::port::{Chunk, Port};
use super::socket::keep_alive;
use crate::base::limits::{
    HTTP_ACCEPT_PAUSE_MS, RECEIVE_CONNECTIONS, RECEIVE_LAST_MS, RECEIVE_REPORT_S, RECEIVE_STOP_MS,
    RECEIVE_STREAM_BYTES, RECEIVE_UNFINISHED_BYTES, RECEIVE_WAIT_MS, SYSLOG_BUFFER_BYTES, TLS_HANDSHAKE_MS,
};
use crate::base::serve::handshake_advice;
use crate::base::shutdown::Shutdown;
use crate::format::record::Kind;
use crate::format::syslog::frame::Framer;
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
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
pub(super) async fn receive(source: Source, idle: Duration, port: Arc<Port>, mut leave: Shutdown, stop: Shutdown) {
    let slots = Arc::clone(&port.slots);
    let mut connections = JoinSet::new();
    let mut told: Option<Instant> = None;
    loop {
        if slots.available_permits() == 0 && told.is_none_or(|at| at.elapsed().as_secs() >= RECEIVE_REPORT_S) {
            told = Some(Instant::now());
            tracing::warn!(
                connections = RECEIVE_CONNECTIONS, idle_timeout = ?idle,
                "there are as many connections as are taken: further senders wait until one ends or is silent for idle_timeout"
            );
        }
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
                let held = Held { all: Arc::clone(&port.unfinished), own: 0 };
                let waiting = Held { all: Arc::clone(&port.waiting), own: 0 };
                let connection = Connection { idle, port: Arc::clone(&port), stop: stop.clone(), held, waiting };
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
    idle: Duration,
    port: Arc<Port>,
    stop: Shutdown,
    held: Held,
    waiting: Held,
}

/// What a connection holds, as a part of what all of its source hold, bytes: of a message that has not ended, or of records that wait for room.
struct Held {
    all: Arc<AtomicUsize>,
    own: usize,
}

impl Held {
    /// False if all of them hold too much, and this one more than its share.
    fn set(&mut self, bytes: usize) -> bool {
        self.all.fetch_add(bytes, Ordering::Relaxed);
        let all = self.all.fetch_sub(self.own, Ordering::Relaxed).saturating_sub(self.own);
        self.own = bytes;
        all <= RECEIVE_UNFINISHED_BYTES || bytes <= RECEIVE_UNFINISHED_BYTES / RECEIVE_CONNECTIONS
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
    }
}

impl Connection {
    async fn serve(mut self, accepted: Accepted, tls: Option<TlsAcceptor>) {
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
                let shaken = tokio::select! {
                    shaken = timeout(Duration::from_millis(TLS_HANDSHAKE_MS), tls.accept(stream)) => shaken,
                    // It has sent nothing yet.
                    () = self.stop.raised() => return,
                };
                match shaken {
                    Ok(Ok(stream)) => self.read(stream, Some(peer), Kind::Syslog).await,
                    Ok(Err(error)) => {
                        self.port.status.handshakes_failed.add(1);
                        let (source, advice) = (self.port.status.source(), handshake_advice(&error));
                        tracing::warn!(source, peer, %error, "a TLS handshake failed{advice}");
                    }
                    Err(_) => {
                        self.port.status.handshakes_failed.add(1);
                        let source = self.port.status.source();
                        tracing::warn!(source, peer, "a TLS handshake took too long");
                    }
                }
            }
        }
    }

    async fn read(mut self, mut stream: impl AsyncRead + Unpin, peer: Option<&str>, kind: Kind) {
        let mut buffer = vec![0; RECEIVE_STREAM_BYTES];
        let mut framer = Framer::new(self.port.message_bytes());
        let mut chunk = Chunk::default();
        // When the message began that has not ended.
        let mut begun: Option<Instant> = None;
        let mut last_at: Option<Instant> = None;
        loop {
            let now = Instant::now();
            let got = if self.stop.is_raised() {
                // What is there is taken, and nothing is waited for; a sender that goes on has to connect anew.
                let last_at = *last_at.get_or_insert_with(|| now + Duration::from_millis(RECEIVE_LAST_MS));
                if last_at <= now {
                    break;
                }
                let quiet_at = now + Duration::from_millis(RECEIVE_STOP_MS / 10);
                timeout_at(last_at.min(quiet_at), stream.read(&mut buffer)).await.unwrap_or(Ok(0))
            } else {
                tokio::select! {
                    got = stream.read(&mut buffer) => got,
                    () = self.stop.raised() => continue,
                    () = tokio::time::sleep_until(begun.unwrap_or(now) + self.idle) => {
                        self.port.status.closed.add(1);
                        break;
                    }
                }
            };
            let got = match got {
                Ok(0) => break,
                Ok(got) => got,
                // The other side went away; what it had sent whole was taken.
                Err(_) => break,
            };
            self.room().await;
            self.port.begin();
            let port = &self.port;
            framer.set_max(port.message_bytes());
            framer.push(buffer.get(..got).unwrap_or_default(), |frame| {
                port.put(kind, peer, frame.bytes, frame.missing, &mut chunk);
            });
            if framer.is_between() {
                begun = None;
            } else if !chunk.is_empty() || begun.is_none() {
                begun = Some(now);
            }
            self.append(&mut chunk).await;
            if !self.held.set(framer.held()) {
                self.port.status.closed.add(1);
                break;
            }
        }
        self.port.begin();
        let port = &self.port;
        framer.finish(|frame| port.put(kind, peer, frame.bytes, frame.missing, &mut chunk));
        self.append(&mut chunk).await;
    }

    /// Waits while all of the source have much that the inlet does not take: a few bytes can be a long record. A stop takes what there is.
    async fn room(&mut self) {
        while self.port.waiting.load(Ordering::Relaxed) > RECEIVE_UNFINISHED_BYTES && !self.stop.is_raised() {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(RECEIVE_WAIT_MS)) => {}
                () = self.stop.raised() => {}
            }
        }
    }

    async fn append(&mut self, chunk: &mut Chunk) {
        let _ = self.waiting.set(chunk.bytes.capacity());
        self.port.append_all(chunk, &mut self.stop).await;
        chunk.bytes.shrink_to(SYSLOG_BUFFER_BYTES);
        let _ = self.waiting.set(0);
    }
}
