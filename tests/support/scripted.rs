//! A fake Loki that answers by script: it stores what it is told to store (identical entries once, as Loki does), and fails in every
//! way a network can. Receivers of other requests are made of it by [`Content`]. Listens on loopback only.

// Each test binary uses its part of this.
#![allow(dead_code)]

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use lugger::format::loki::{PushRequest, decode_snappy};
use std::collections::HashSet;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Labels, nanoseconds, line.
pub type Entry = (String, i64, String);

/// What requests are and what is stored of them.
pub trait Content: Clone + Send + 'static {
    type Item: Clone + Eq + std::hash::Hash + Send + 'static;
    /// Whether what is there already is not stored again.
    const ONCE: bool;

    fn parse(headers: &HeaderMap, body: &[u8]) -> Self;
    fn items(&self) -> Vec<Self::Item>;
    /// Headers of an answer that says that all is stored.
    fn stored_headers(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

impl Content for PushRequest {
    type Item = Entry;
    const ONCE: bool = true;

    fn parse(_: &HeaderMap, body: &[u8]) -> Self {
        decode_snappy(body, 1 << 26).unwrap()
    }

    fn items(&self) -> Vec<Entry> {
        flat(self)
    }
}

/// One push as it came in.
#[derive(Clone)]
pub struct Push<C = PushRequest> {
    pub request: C,
    pub headers: HeaderMap,
    pub uri: String,
    pub raw_bytes: usize,
    pub wire_bytes: usize,
    /// Number of the connection, from 0.
    pub connection: usize,
}

impl<C: Content> Push<C> {
    pub fn entries(&self) -> Vec<C::Item> {
        self.request.items()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub fn flat(request: &PushRequest) -> Vec<Entry> {
    let streams = request.streams.iter();
    streams.flat_map(|s| s.entries.iter().map(|e| (s.labels.clone(), e.ns(), e.text().into_owned()))).collect()
}

/// What to do with a push.
#[derive(Debug, Clone)]
pub enum Reply<E = Entry> {
    /// Store it; 204.
    Store,
    /// Store it when told to; 204.
    StoreLate(Arc<Notify>),
    /// Store these of its entries and answer.
    StoreOnly(Vec<E>, u16, String),
    /// Store nothing and answer: status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Never answer.
    Hang,
    /// Close the connection without an answer.
    Close,
    /// Break off in the middle of the body.
    Break(u16),
}

impl<E> Reply<E> {
    pub fn status(status: u16, body: &str) -> Self {
        Reply::Answer(status, Vec::new(), body.to_owned())
    }
}

pub struct Seen<C: Content = PushRequest> {
    pub pushes: Vec<Push<C>>,
    /// In the order of storing.
    pub stored: Vec<C::Item>,
    known: HashSet<C::Item>,
    pub connections: usize,
}

impl<C: Content> Default for Seen<C> {
    fn default() -> Self {
        Seen { pushes: Vec::new(), stored: Vec::new(), known: HashSet::new(), connections: 0 }
    }
}

type Script<C> = Box<dyn FnMut(&Push<C>) -> Reply<<C as Content>::Item> + Send>;

pub struct Scripted<C: Content = PushRequest> {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Seen<C>>>,
    task: JoinHandle<()>,
}

impl<C: Content> Drop for Scripted<C> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    /// Serves on a free port.
    pub async fn start(script: impl FnMut(&Push) -> Reply + Send + 'static) -> Scripted {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), None, script)
    }

    /// Serves TLS on a free port.
    pub async fn start_tls(
        config: rustls::ServerConfig,
        script: impl FnMut(&Push) -> Reply + Send + 'static,
    ) -> Scripted {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), Some(acceptor), script)
    }

    /// Serves on a listener.
    pub fn serve(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        script: impl FnMut(&Push) -> Reply + Send + 'static,
    ) -> Scripted {
        Self::listen(listener, tls, script)
    }

    pub fn url(&self) -> String {
        format!("http://{}/loki/api/v1/push", self.addr)
    }
}

impl<C: Content> Scripted<C> {
    /// Serves on a listener, whatever the requests are.
    pub fn listen(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        script: impl FnMut(&Push<C>) -> Reply<C::Item> + Send + 'static,
    ) -> Scripted<C> {
        let addr = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Seen<C>>> = Arc::default();
        let script: Arc<Mutex<Script<C>>> = Arc::new(Mutex::new(Box::new(script)));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, script, tls) = (Arc::clone(&shared), Arc::clone(&script), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => connection(stream, seen, script).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                connection(stream, seen, script).await;
                            }
                        }
                    }
                });
            }
        });
        Scripted { addr, seen, task }
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen<C>> {
        self.seen.lock().unwrap()
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin, C: Content>(
    stream: S,
    seen: Arc<Mutex<Seen<C>>>,
    script: Arc<Mutex<Script<C>>>,
) {
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.connections += 1;
        seen.connections - 1
    };
    let service = service_fn(|request: Request<Incoming>| {
        let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            let raw_bytes = snap::raw::decompress_len(&body).unwrap();
            let push = Push {
                request: C::parse(&head.headers, &body),
                headers: head.headers,
                uri: head.uri.to_string(),
                raw_bytes,
                wire_bytes: body.len(),
                connection: number,
            };
            let reply = (script.lock().unwrap())(&push);
            let mut store = Vec::new();
            let answer = match reply {
                Reply::Store => {
                    store = push.entries();
                    (204, push.request.stored_headers(), String::new())
                }
                Reply::StoreLate(told) => {
                    told.notified().await;
                    store = push.entries();
                    (204, push.request.stored_headers(), String::new())
                }
                Reply::StoreOnly(entries, status, body) => {
                    store = entries;
                    (status, Vec::new(), body)
                }
                Reply::Answer(status, headers, body) => (status, headers, body),
                Reply::Hang => {
                    seen.lock().unwrap().pushes.push(push);
                    std::future::pending::<()>().await;
                    unreachable!()
                }
                Reply::Close => {
                    seen.lock().unwrap().pushes.push(push);
                    return Err(io::Error::other("closed by script"));
                }
                Reply::Break(status) => {
                    seen.lock().unwrap().pushes.push(push);
                    let body =
                        Scripture { text: Some(Bytes::from_static(b"too much to")), broken: true, flushed: false };
                    return Ok(Response::builder().status(status).header("content-length", "1000").body(body).unwrap());
                }
            };
            let mut seen = seen.lock().unwrap();
            seen.pushes.push(push);
            for entry in store {
                if seen.known.insert(entry.clone()) || !C::ONCE {
                    seen.stored.push(entry);
                }
            }
            let mut response = Response::builder().status(answer.0);
            for (name, value) in answer.1 {
                response = response.header(name, value);
            }
            let text = Some(Bytes::from(answer.2)).filter(|text| !text.is_empty());
            Ok::<_, io::Error>(response.body(Scripture { text, broken: false, flushed: false }).unwrap())
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A body that may break off.
struct Scripture {
    text: Option<Bytes>,
    broken: bool,
    flushed: bool,
}

impl Body for Scripture {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.text.take() {
            Some(text) => Poll::Ready(Some(Ok(Frame::data(text)))),
            // What was written is flushed when a body is not ready; only then it may break.
            None if self.broken && !self.flushed => {
                self.flushed = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            None if self.broken => Poll::Ready(Some(Err(io::Error::other("broken by script")))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none() && !self.broken
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.text, self.broken) {
            (_, true) => SizeHint::default(),
            (Some(text), _) => SizeHint::with_exact(u64::try_from(text.len()).unwrap()),
            (None, _) => SizeHint::with_exact(0),
        }
    }
}

/// A proxy that understands CONNECT only. Tells which targets were asked for.
pub async fn connect_proxy() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let shared = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let asked = Arc::clone(&shared);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                asked.lock().unwrap().push(head);
                let mut server = TcpStream::connect(target).await?;
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
        Ok::<_, Infallible>(())
    });
    (addr, asked)
}
