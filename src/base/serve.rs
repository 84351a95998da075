//! A small HTTP/1.1 server: the accept loop and the bounds that every server of ours needs, and plain answers.
//!
//! Promises: the number of connections, the size of a request's head and body and the time for each are bounded; a slow client
//! holds up nobody but itself; one bad connection never ends the loop; stopping lets running requests finish for a
//! moment and then cuts them. Answers carry headers that keep a browser from doing more with them than showing them.
//! Leaves to others: routes, and what they answer.

use crate::base::limits::{
    HTTP_ACCEPT_PAUSE_MS, HTTP_BODY_MS, HTTP_CONNECTIONS, HTTP_HEAD_BYTES, HTTP_HEAD_MS, HTTP_REPORT_MS, HTTP_STALL_MS,
    HTTP_STOP_MS, TLS_HANDSHAKE_MS,
};
use crate::base::metrics::{Counter, Gauge};
use crate::base::shutdown::Shutdown;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a route answers.
pub type Reply = Response<Full<Bytes>>;

/// Why an address cannot be listened on; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has it.
    #[error(
        "cannot listen on {0}: the address is in use; stop the other program (`ss -ltnp` shows it) or choose another port"
    )]
    InUse(SocketAddr),
    /// The port is below 1024, and the process is not privileged.
    #[error("cannot listen on {0}: permission denied; choose a port above 1023")]
    Denied(SocketAddr),
    /// The host does not have this address.
    #[error("cannot listen on {0}: this host does not have that address")]
    NoSuchAddress(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
}

/// Whether a request comes from a program on this host; every request has this as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FromThisHost(pub bool);

impl FromThisHost {
    /// Of a connection from `peer` that was accepted at `own`. Somebody who connects to an address of the host has that address as well.
    fn of(peer: SocketAddr, own: Option<SocketAddr>) -> Self {
        let peer = peer.ip().to_canonical();
        FromThisHost(peer.is_loopback() || own.is_some_and(|own| own.ip().to_canonical() == peer))
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    connections: usize,
    open: Option<Gauge>,
    tls: Option<Tls>,
}

/// A connection, as it is counted.
struct Open(Option<Gauge>);

impl Open {
    fn new(gauge: Option<Gauge>) -> Self {
        gauge.iter().for_each(|gauge| gauge.add(1.0));
        Open(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.iter().for_each(|gauge| gauge.add(-1.0));
    }
}

/// What to do about a TLS handshake that failed: nothing, unless the other side does not speak TLS at all.
pub fn handshake_advice(error: &io::Error) -> &'static str {
    use rustls::{Error, InvalidMessage};
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    match cause {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion)) => {
            ": the sender does not speak TLS; let it, or listen without"
        }
        _ => "",
    }
}

/// TLS of a server, and who counts handshakes that fail.
#[derive(Debug, Clone)]
struct Tls {
    config: Arc<ServerConfig>,
    failed: Counter,
    name: Arc<str>,
}

impl Listener {
    /// Listens on `address`; port 0 takes a free one. Must be called within a tokio runtime.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse(address),
            io::ErrorKind::PermissionDenied => ListenError::Denied(address),
            io::ErrorKind::AddrNotAvailable => ListenError::NoSuchAddress(address),
            _ => ListenError::Other(address, error),
        };
        let socket = TcpListener::bind(address).await.map_err(fail)?;
        let address = socket.local_addr().map_err(fail)?;
        Ok(Listener { socket, address, connections: HTTP_CONNECTIONS, open: None, tls: None })
    }

    /// Goes on with a socket that was bound before and does not block. `connections`: how many it holds at the same time; `open` shows how many there
    /// are. Must be called within a tokio runtime.
    pub fn adopt(socket: std::net::TcpListener, connections: usize, open: Gauge) -> io::Result<Self> {
        let address = socket.local_addr()?;
        Ok(Listener { socket: TcpListener::from_std(socket)?, address, connections, open: Some(open), tls: None })
    }

    /// Speaks TLS. `failed` counts handshakes that fail; `name` is what the log calls the server.
    #[must_use]
    pub fn with_tls(self, config: Arc<ServerConfig>, failed: Counter, name: &str) -> Self {
        Listener { tls: Some(Tls { config, failed, name: name.into() }), ..self }
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests by `handler` until `shutdown` is raised.
    pub async fn serve<H, F>(self, handler: H, mut shutdown: Shutdown)
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Reply> + Send,
    {
        let slots = Arc::new(Semaphore::new(self.connections));
        let mut connections = JoinSet::new();
        let mut told: Option<Instant> = None;
        loop {
            if slots.available_permits() == 0
                && told.is_none_or(|at| at.elapsed() >= Duration::from_millis(HTTP_REPORT_MS))
            {
                told = Some(Instant::now());
                tracing::warn!(address = %self.address, connections = self.connections, "there are as many connections as are taken: further clients wait");
            }
            // The semaphore is never closed, so that an error cannot happen; if it did, stopping would be right.
            let slot = tokio::select! {
                slot = slots.clone().acquire_owned() => match slot { Ok(slot) => slot, Err(_) => break },
                () = shutdown.raised() => break,
            };
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = shutdown.raised() => break,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, peer)) => {
                    let from = FromThisHost::of(peer, stream.local_addr().ok());
                    let (handler, shutdown, tls) = (handler.clone(), shutdown.clone(), self.tls.clone());
                    let open = Open::new(self.open.clone());
                    // Answers are small; without this the last part of one could wait for an acknowledgement.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(async move {
                        match tls {
                            None => connection(stream, from, handler, shutdown).await,
                            Some(tls) => {
                                if let Some(stream) = tls.shake_hands(stream, peer).await {
                                    connection(stream, from, handler, shutdown).await;
                                }
                            }
                        }
                        drop((open, slot));
                    });
                }
                Err(error) => {
                    // A client that gave up while it waited is no concern; without descriptors a pause is the only help.
                    if error.kind() != io::ErrorKind::ConnectionAborted {
                        tracing::warn!(address = %self.address, %error, "cannot accept a connection");
                        sleep(Duration::from_millis(HTTP_ACCEPT_PAUSE_MS)).await;
                    }
                }
            }
        }
        drop(self.socket);
        let finish = async { while connections.join_next().await.is_some() {} };
        // What has not finished by then is cut when the set is dropped.
        let _ = timeout(Duration::from_millis(HTTP_STOP_MS), finish).await;
    }
}

impl Tls {
    async fn shake_hands(self, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<TcpStream>> {
        let shaken = TlsAcceptor::from(self.config).accept(stream);
        let problem = match timeout(Duration::from_millis(TLS_HANDSHAKE_MS), shaken).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => format!("{error}{}", handshake_advice(&error)),
            Err(_) => "it took too long".to_owned(),
        };
        self.failed.add(1);
        tracing::warn!(source = %self.name, %peer, error = %problem, "a TLS handshake failed");
        None
    }
}

async fn connection<S, H, F>(stream: S, from: FromThisHost, handler: H, mut shutdown: Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Reply> + Send,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(from);
        let reply = handler(request);
        async move { Ok::<_, Infallible>(reply.await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HTTP_HEAD_MS))
        .max_header_size(HTTP_HEAD_BYTES)
        .max_buf_size(HTTP_HEAD_BYTES);
    let mut served = pin!(builder.serve_connection(TokioIo::new(Impatient::new(stream)), service));
    // An error here is a client that went away, was too slow or did not speak HTTP: nothing anybody could act on.
    tokio::select! {
        _ = served.as_mut() => return,
        () = shutdown.raised() => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = served.await;
}

/// A connection that fails when the other side takes nothing for [`HTTP_STALL_MS`].
#[derive(Debug)]
struct Impatient<S> {
    stream: S,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    fn new(stream: S) -> Self {
        Impatient { stream, stalled: None }
    }

    fn watch<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(Duration::from_millis(HTTP_STALL_MS))));
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.watch(context, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.watch(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Why a request's body was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than the bound given.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It did not come in within [`HTTP_BODY_MS`].
    #[error("the body did not come in within {} s", HTTP_BODY_MS / 1000)]
    TooSlow,
    /// Other clients' bodies take up all the room there is.
    #[error("too much is coming in at the same time: try again")]
    Busy,
    /// The connection ended or the framing is wrong.
    #[error("the body is incomplete")]
    Broken,
}

impl BodyError {
    /// The status that says so.
    pub fn status(self) -> StatusCode {
        match self {
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
            BodyError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            BodyError::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads a body of at most `max` bytes, each of which takes a permit of `room` for as long as the second value is held.
pub async fn read_body<B: Body<Data = Bytes> + Unpin>(
    mut body: B,
    max: usize,
    room: &Arc<Semaphore>,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), BodyError> {
    // A client that is still sending does not read the answer: somewhat too large a body is drained, not kept.
    let drain = max.saturating_mul(4);
    let read = async {
        let mut kept = BytesMut::with_capacity(
            body.size_hint().exact().and_then(|len| usize::try_from(len).ok()).unwrap_or(0).min(max),
        );
        let mut held: Option<OwnedSemaphorePermit> = None;
        let mut seen = 0usize;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
            seen = seen.saturating_add(data.len());
            if seen <= max {
                let count = u32::try_from(data.len()).map_err(|_| BodyError::TooLarge(max))?;
                let more = room.clone().try_acquire_many_owned(count).map_err(|_| BodyError::Busy)?;
                match &mut held {
                    Some(held) => held.merge(more),
                    None => held = Some(more),
                }
                kept.extend_from_slice(&data);
            } else if seen > drain {
                break;
            } else {
                (kept, held) = (BytesMut::new(), None);
            }
        }
        if seen > max { Err(BodyError::TooLarge(max)) } else { Ok((kept.freeze(), held)) }
    };
    timeout(Duration::from_millis(HTTP_BODY_MS), read).await.unwrap_or(Err(BodyError::TooSlow))
}

/// What pages may load: their own style and script, and data of their own server; nothing else and from nowhere else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// An answer with a body of this type.
pub fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    const HEADERS: [(HeaderName, &str); 6] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    reply
}

/// An answer in plain words; a newline is added.
pub fn text(status: StatusCode, words: &str) -> Reply {
    reply(status, "text/plain; charset=utf-8", format!("{words}\n"))
}

/// An answer in JSON.
pub fn json(status: StatusCode, value: &impl serde::Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) => reply(status, "application/json", body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("this cannot be written as JSON: {error}")),
    }
}

/// 404, with the paths that there are.
pub fn not_found(paths: &str) -> Reply {
    text(StatusCode::NOT_FOUND, &format!("there is no such page; there are: {paths}"))
}

/// 405, with the methods that the path takes.
pub fn wrong_method(allowed: &'static str) -> Reply {
    let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, &format!("this path takes {allowed} only"));
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    reply
}

/// Whether the request only reads. HEAD is answered like GET; the body is left out on the way.
pub fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether a browser may be asking on behalf of a foreign site: a server on loopback is asked by an address, by `localhost` or by
/// no name, never by a name that somebody's DNS points here.
pub fn is_foreign(address: SocketAddr, headers: &HeaderMap) -> bool {
    if !address.ip().is_loopback() {
        return false;
    }
    let Some(host) = headers.get(header::HOST) else { return false };
    let Ok(host) = host.to_str() else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    let local = bare.eq_ignore_ascii_case("localhost") || bare.to_ascii_lowercase().ends_with(".localhost");
    !(local || bare.parse::<std::net::IpAddr>().is_ok())
}

/// The value of `name` in a query string, percent-decoded; bytes that are not UTF-8 become U+FFFD.
pub fn query_value(query: Option<&str>, name: &str) -> Option<String> {
    let raw = query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })?;
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            _ => bytes.push(first),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The value of a hexadecimal digit; 0 for anything else.
fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_foreign_name_is_told_from_our_own() {
        let loopback: SocketAddr = "127.0.0.1:80".parse().unwrap();
        for own in ["127.0.0.1:3100", "localhost", "localhost:3100", "LOCALHOST", "[::1]:3100", "a.localhost"] {
            assert!(!is_foreign(loopback, &host(own)), "{own}");
        }
        for foreign in ["evil.example", "evil.example:3100", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert!(is_foreign(loopback, &host(foreign)), "{foreign}");
        }
        assert!(!is_foreign(loopback, &HeaderMap::new()));
        assert!(!is_foreign("10.0.0.1:80".parse().unwrap(), &host("logs.example.org")));
    }

    #[test]
    fn whoever_connects_by_loopback_or_by_the_hosts_own_address_is_on_this_host() {
        let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
        for (peer, own, is) in [
            ("127.0.0.1:5", "127.0.0.1:80", true),
            ("127.0.0.9:5", "127.0.0.1:80", true),
            ("[::1]:5", "[::1]:80", true),
            ("[::ffff:127.0.0.1]:5", "[::ffff:127.0.0.1]:80", true),
            ("10.0.0.1:5", "10.0.0.1:80", true),
            ("10.0.0.2:5", "10.0.0.1:80", false),
            ("[::ffff:10.0.0.2]:5", "[::ffff:10.0.0.1]:80", false),
        ] {
            assert_eq!(FromThisHost::of(at(peer), Some(at(own))), FromThisHost(is), "{peer} at {own}");
        }
        assert_eq!(FromThisHost::of(at("10.0.0.2:5"), None), FromThisHost(false));
    }

    #[test]
    fn query_values_are_decoded_and_never_fail() {
        let query = Some("after=12&filter=a%20b%2Bc+d%C3%BC%zz%4&empty");
        assert_eq!(query_value(query, "after").as_deref(), Some("12"));
        assert_eq!(query_value(query, "filter").as_deref(), Some("a b+c dü%zz%4"));
        assert_eq!(query_value(query, "empty").as_deref(), Some(""));
        assert_eq!(query_value(query, "other"), None);
        assert_eq!(query_value(Some("filter=%ff"), "filter").as_deref(), Some("\u{fffd}"));
    }
}
