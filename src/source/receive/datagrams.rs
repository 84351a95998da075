//! Datagrams: syslog over UDP and unix sockets, GELF over UDP.
//!
//! A wake-up takes all that is there, in chunks: one append each. Nothing is parsed, but for putting GELF's chunks together. Others of the thread have
//! their turn after a few milliseconds, whatever comes.
//!
//! Promises: what the kernel gave is in the inlet or counted, also at a stop; what the kernel dropped is counted within a second or so. A UDP sender
//! cannot be held up, so that the inlet gives up its oldest; one on a unix socket waits. Leaves to others: what a message says.

use super::port::{Chunk, Port};
use super::socket::kernel_drops;
use crate::base::limits::{
    GELF_WAIT_MS, RECEIVE_CHUNK_BYTES, RECEIVE_GATHERED_BYTES, RECEIVE_LAST_MS, RECEIVE_LOOK_MS, RECEIVE_READ_BYTES,
    RECEIVE_REPORT_S, RECEIVE_TURN_LOOK, RECEIVE_TURN_MS, RECEIVE_WAIT_MS,
};
use crate::base::shutdown::Shutdown;
use crate::format::gelf::{Assembler, Outcome, Unpacker};
use crate::format::record::Kind;
use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::time::Instant;

/// Where datagrams come from.
pub(super) enum Source {
    Udp(UdpSocket, Arc<std::net::UdpSocket>),
    Unix(UnixDatagram),
}

impl Source {
    async fn readable(&self) -> io::Result<()> {
        match self {
            Source::Udp(socket, _) => socket.readable().await,
            Source::Unix(socket) => socket.readable().await,
        }
    }

    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<SocketAddr>)> {
        match self {
            Source::Udp(socket, _) => socket.try_recv_from(buffer).map(|(len, from)| (len, Some(from))),
            Source::Unix(socket) => socket.try_recv(buffer).map(|len| (len, None)),
        }
    }

    fn may_lose(&self) -> bool {
        matches!(self, Source::Udp(..))
    }
}

/// What becomes of a datagram.
pub(super) enum Take {
    Syslog(Kind),
    Gelf(Box<Gelf>),
}

/// Puts messages together and unpacks them.
pub(super) struct Gelf {
    assembler: Assembler,
    unpacker: Unpacker,
    begin: Instant,
}

impl Gelf {
    /// For messages of at most `max` bytes.
    pub(super) fn new(max: usize) -> Box<Self> {
        Box::new(Gelf { assembler: Assembler::new(max), unpacker: Unpacker::default(), begin: Instant::now() })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn take(&mut self, datagram: &[u8], from: SocketAddr, peer: &str, port: &Port, chunk: &mut Chunk) {
        let now_ms = self.now_ms();
        // A reload may have changed it.
        let max = port.message_bytes();
        self.assembler.set_max(max);
        let whole = match self.assembler.push(from, datagram, now_ms) {
            Outcome::Whole(whole) => whole,
            Outcome::Waits | Outcome::Again => return,
            Outcome::Refused(_) => return port.status.refuse("chunk", 1),
        };
        match self.unpacker.unpack(whole, max) {
            Ok(message) => port.put(Kind::Gelf, Some(peer), message, 0, chunk),
            // Unpacked or not, it is what was sent.
            Err(crate::format::gelf::UnpackError::Unknown(_)) => port.put(Kind::Gelf, Some(peer), whole, 0, chunk),
            Err(crate::format::gelf::UnpackError::TooLarge(_)) => port.status.refuse("too_large", 1),
            Err(_) => port.status.refuse("malformed", 1),
        }
    }

    fn count_lost(&mut self, port: &Port) {
        self.assembler.expire(self.now_ms());
        let lost = self.assembler.take_lost();
        port.status.refuse("chunks_late", lost.late);
        port.status.refuse("chunks_crowded", lost.crowded);
    }
}

/// Receives until it is told to stop; then takes what is there.
pub(super) async fn receive(source: Source, mut take: Take, port: Arc<Port>, mut stop: Shutdown) {
    let mut buffer = vec![0; RECEIVE_READ_BYTES];
    let mut chunk = Chunk::default();
    let mut peer = Peer::default();
    let mut drops = Drops::of(&source);
    let mut look_at: Option<Instant> = None;
    let mut last_at: Option<Instant> = None;
    let mut told: Option<Instant> = None;
    loop {
        let is_stopping = stop.is_raised();
        if is_stopping {
            // What goes on coming is for whoever listens next.
            let last_at = *last_at.get_or_insert_with(|| Instant::now() + Duration::from_millis(RECEIVE_LAST_MS));
            if last_at <= Instant::now() {
                break;
            }
        }
        port.begin();
        // What is refused fills no chunk and costs time all the same.
        let turn_ends = Instant::now() + Duration::from_millis(RECEIVE_TURN_MS);
        let (mut taken, mut fails) = (0_usize, false);
        let is_empty = loop {
            taken = taken.wrapping_add(1);
            if taken.is_multiple_of(RECEIVE_TURN_LOOK) && turn_ends <= Instant::now() {
                break false;
            }
            match source.try_recv(&mut buffer) {
                Ok((len, from)) => {
                    let datagram = buffer.get(..len).unwrap_or_default();
                    match (&mut take, from) {
                        (_, _) if datagram.is_empty() => {}
                        (Take::Gelf(gelf), Some(from)) => gelf.take(datagram, from, peer.of(from), &port, &mut chunk),
                        (Take::Gelf(_), None) => {}
                        (Take::Syslog(kind), from) => {
                            port.put(*kind, from.map(|from| peer.of(from)), datagram, 0, &mut chunk);
                        }
                    }
                    look_at.get_or_insert_with(|| Instant::now() + Duration::from_millis(RECEIVE_LOOK_MS));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                // An answer to something that was never sent.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => {
                    if told.is_none_or(|at| at.elapsed().as_secs() >= RECEIVE_REPORT_S) {
                        told = Some(Instant::now());
                        tracing::warn!(%error, "receiving datagrams fails; it is tried again and again");
                    }
                    fails = true;
                    break true;
                }
            }
            if chunk.bytes.len() >= RECEIVE_CHUNK_BYTES {
                break false;
            }
        };
        if !chunk.is_empty() {
            hand_on(&source, &port, &mut chunk, is_empty, &mut stop).await;
        }
        if look_at.is_some_and(|at| at <= Instant::now()) {
            look_at = None;
            drops.count(&source, &port);
            if let Take::Gelf(gelf) = &mut take {
                gelf.count_lost(&port);
                if gelf.assembler.expires_ms().is_some() {
                    look_at = Some(Instant::now() + Duration::from_millis(GELF_WAIT_MS));
                }
            }
        }
        if !is_empty {
            // Others of this thread have their turn, too.
            tokio::task::yield_now().await;
            continue;
        }
        if is_stopping {
            break;
        }
        if fails {
            // The socket stays readable by it.
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(RECEIVE_WAIT_MS)) => {}
                () = stop.raised() => {}
            }
            continue;
        }
        let due = look_at
            .into_iter()
            .chain((!chunk.is_empty()).then(|| Instant::now() + Duration::from_millis(RECEIVE_WAIT_MS)));
        let due = due.min();
        tokio::select! {
            readable = source.readable() => {
                if let Err(error) = readable {
                    tracing::warn!(%error, "waiting for datagrams fails; it is tried again");
                    tokio::time::sleep(Duration::from_millis(RECEIVE_LOOK_MS)).await;
                }
            }
            () = stop.raised() => {}
            () = sleep_until(due) => {}
        }
    }
    if !chunk.is_empty() {
        port.append_above(&chunk);
    }
    drops.count(&source, &port);
    if let Take::Gelf(gelf) = &mut take {
        gelf.count_lost(&port);
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Appends what was gathered. While the inlet is being synced, datagrams are taken from the kernel all the same.
async fn hand_on(source: &Source, port: &Port, chunk: &mut Chunk, is_empty: bool, stop: &mut Shutdown) {
    if !source.may_lose() {
        return port.append_all(chunk, stop).await;
    }
    let has_room = chunk.bytes.len() < RECEIVE_GATHERED_BYTES;
    let kept = match port.try_append(chunk) {
        None if has_room || !is_empty && chunk.bytes.len() < 2 * RECEIVE_GATHERED_BYTES => return,
        None => port.append(chunk),
        Some(kept) => kept,
    };
    if let Err(error) = kept {
        // Only what is no piece at all is refused where the oldest gives way.
        tracing::warn!(%error, records = chunk.records, "messages that were received are lost");
        port.status.refuse("disk", chunk.records);
    }
    chunk.clear();
}

/// The text of a peer's address: mostly it is the one of the datagram before.
#[derive(Debug)]
pub(super) struct Peer {
    address: IpAddr,
    text: String,
}

impl Default for Peer {
    fn default() -> Self {
        Peer { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), text: String::new() }
    }
}

impl Peer {
    pub(super) fn of(&mut self, from: SocketAddr) -> &str {
        let address = from.ip().to_canonical();
        if self.address != address || self.text.is_empty() {
            self.address = address;
            self.text.clear();
            // Writing to a String cannot fail.
            let _ = write!(self.text, "{address}");
        }
        &self.text
    }
}

/// What the kernel dropped, as far as it is counted.
#[derive(Debug)]
struct Drops {
    counted: u64,
}

impl Drops {
    /// What was dropped by now is counted, or was before anybody read.
    fn of(source: &Source) -> Self {
        let Source::Udp(_, socket) = source else { return Drops { counted: 0 } };
        Drops { counted: kernel_drops(socket).unwrap_or(0) }
    }

    fn count(&mut self, source: &Source, port: &Port) {
        let Source::Udp(_, socket) = source else { return };
        let Some(now) = kernel_drops(socket) else { return };
        let dropped = now.saturating_sub(self.counted);
        if dropped > 0 {
            port.status.kernel_dropped.add(dropped);
            tracing::warn!(
                dropped,
                "the kernel dropped datagrams: the socket's buffer was full; raise net.core.rmem_max"
            );
        }
        self.counted = now;
    }
}
