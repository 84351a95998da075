//! Loki's push API: `/loki/api/v1/push`, lines as they are at `/api/v1/raw`, `/ready`.
//!
//! Promises: an answer of 204 says that all of a push is in the inlet, whatever happens to the process afterwards; any other answer that none of it
//! is, but for a disk that takes nothing (503), where some of it may come twice if it is sent again. A push that finds no room is answered with 429 and
//! a time to wait; one with entries that have no labels with 400, as they could not be stored. Pushes of all sources are decoded one at a time and
//! beside the thread that receives: what they take of memory is a share of `limits.memory`, however well they are compressed. Leaves to others: labels and stages (`file/records`), HTTP
//! (`base/serve`).

use super::bodies::Bodies;
use super::judge::{Judge, Judging};
use super::port::{Chunk, Port};
use super::settings::{Password, Push};
use crate::base::base64;
use crate::base::limits::{
    PUSH_DECODED_SHARE, PUSH_ENTRIES, PUSH_HELD_MS, PUSH_MESSAGE_BYTES, PUSH_MESSAGES, PUSH_RECORDS,
    PUSH_RECORDS_BYTES_MIN, PUSH_RETRY_S, PUSH_TURN_MS, RECEIVE_CONNECTIONS, RECEIVE_WAIT_MS, RECORD_PAIRS_BYTES,
};
use crate::base::secret::Secret;
use crate::base::serve::{Listener, Reply, is_read, not_found, text, wrong_method};
use crate::base::shutdown::Shutdown;
use crate::format::loki::{DecodeError, EntryAdapter, decode_snappy_within, parse_labels};
use crate::format::push_json::{Decoder, Found};
use crate::format::record::{Kind, Pieces, encode};
use crate::model::labels::{LabelCaps, LabelError, check_name};
use crate::model::tenant::{TENANT_RULE, is_tenant};
use crate::store::inlet::{AppendError, Kept};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use rustls::ServerConfig;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout};

/// Why not more is taken than fits into the share of memory.
const OF_MEMORY: &str = "more than `limits.memory` allows: send smaller ones, or raise it";
const PATHS: &str = "/loki/api/v1/push, /api/v1/raw (also as /promtail/api/v1/raw), /ready";

/// What pushes of all sources may hold in memory together: bodies that are read or wait to be decoded, and what is decoded.
#[derive(Debug)]
pub struct Memory {
    /// For bodies, as they are sent.
    bodies: Bodies,
    /// For what is decoded, bytes.
    decoded_bytes: AtomicUsize,
    /// One push is decoded at a time.
    turn: Arc<Semaphore>,
    /// The thread that decodes, once there is something for it: one, as an allocator keeps some memory for each that had much. It ends with this.
    thread: Mutex<Option<Sender<Work>>>,
}

/// What is done beside the thread that receives.
type Work = Box<dyn FnOnce() + Send>;

impl Memory {
    /// A share of `memory_bytes`.
    pub fn new(memory_bytes: u64) -> Self {
        let memory = Memory {
            thread: Mutex::new(None),
            bodies: Bodies::new(),
            decoded_bytes: AtomicUsize::new(0),
            turn: Arc::new(Semaphore::new(1)),
        };
        memory.resize(memory_bytes);
        memory
    }

    /// Starts the thread that decodes.
    fn begin() -> io::Result<Sender<Work>> {
        let (thread, work) = mpsc::channel::<Work>();
        std::thread::Builder::new().name("lugger-push".into()).spawn(move || {
            for work in work {
                // A panic has been shown; who asked for it is told by its answer, which does not come.
                let _ = catch_unwind(AssertUnwindSafe(work));
            }
        })?;
        Ok(thread)
    }

    /// Does something on the thread that decodes. `None`: it panicked, or there is no thread to be had.
    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        // Who hangs up wants no answer.
        let work = Box::new(move || _ = answer.send(work()));
        {
            let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
            let thread = match &mut *thread {
                Some(thread) => thread,
                none => none.insert(Memory::begin().ok()?),
            };
            thread.send(work).ok()?;
        }
        answered.await.ok()
    }

    /// Another share, from the next push on. Where bodies take more at this moment, their part shrinks with the next change.
    pub fn resize(&self, memory_bytes: u64) {
        self.bodies.resize(memory_bytes);
        let decoded = usize::try_from(memory_bytes / PUSH_DECODED_SHARE).unwrap_or(usize::MAX);
        self.decoded_bytes.store(decoded, Ordering::Relaxed);
    }
}

/// Who answers.
#[derive(Debug)]
struct Server {
    settings: Push,
    /// Who may push: what their header says.
    wanted: Option<Secret>,
    port: Arc<Port>,
    memory: Arc<Memory>,
    judge: Arc<Judge>,
}

/// Why a push is not taken: the reason for its counter, the status, the text.
struct Refusal(&'static str, StatusCode, String);

impl Refusal {
    fn bad(why: impl Into<String>) -> Self {
        Refusal("malformed", StatusCode::BAD_REQUEST, why.into())
    }

    fn large(why: impl Into<String>) -> Self {
        Refusal("too_large", StatusCode::PAYLOAD_TOO_LARGE, why.into())
    }
}

/// Answers until it is told to stop.
pub(super) async fn receive(
    socket: std::net::TcpListener,
    (settings, wanted, judge): (Push, Option<Secret>, Arc<Judge>),
    tls: Option<Arc<ServerConfig>>,
    (port, memory): (Arc<Port>, Arc<Memory>),
    leave: Shutdown,
) {
    let failed = port.status.handshakes_failed.clone();
    let listener = match Listener::adopt(socket, RECEIVE_CONNECTIONS, port.status.connections.clone()) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "pushes cannot be received"),
    };
    let listener = match tls {
        Some(config) => listener.with_tls(config, failed, port.status.source()),
        None => listener,
    };
    let server = Arc::new(Server { settings, wanted, port, memory, judge });
    let handler = move |request| {
        let server = Arc::clone(&server);
        async move { server.answer(request).await }
    };
    listener.serve(handler, leave).await;
}

impl Server {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Reply {
        let path = request.uri().path();
        let is_raw = match path {
            "/ready" if is_read(request.method()) => return text(StatusCode::OK, "ready"),
            "/ready" => return wrong_method("GET, HEAD"),
            "/loki/api/v1/push" | "/api/prom/push" => false,
            "/api/v1/raw" | "/promtail/api/v1/raw" => true,
            _ => return not_found(PATHS),
        };
        if request.method() != Method::POST {
            return wrong_method("POST");
        }
        let reply = match self.clone().take(request, is_raw).await {
            Ok(()) => {
                let mut reply = text(StatusCode::NO_CONTENT, "");
                *reply.body_mut() = Default::default();
                return reply;
            }
            Err(refusal) => refusal,
        };
        let Refusal(reason, status, why) = reply;
        self.port.status.refuse(reason, 1);
        let mut reply = text(status, &why);
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(PUSH_RETRY_S));
            }
            StatusCode::UNAUTHORIZED => {
                let realm = HeaderValue::from_static("Basic realm=\"lugger\"");
                reply.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            }
            _ => {}
        }
        reply
    }

    async fn take(self: Arc<Self>, request: Request<Incoming>, is_raw: bool) -> Result<(), Refusal> {
        let (head, body) = request.into_parts();
        if !self.may(&head.headers) {
            let why = "this source wants a user's name and password (basic authentication)";
            return Err(Refusal("unauthorized", StatusCode::UNAUTHORIZED, why.to_owned()));
        }
        let max = self.settings.body_bytes.min(self.memory.bodies.most());
        // The second value keeps the room for as long as the body is there.
        let (body, room) = self.memory.bodies.read(&head.headers, body, max).await.map_err(|error| {
            let status = error.status();
            if status == StatusCode::PAYLOAD_TOO_LARGE && max < self.settings.body_bytes {
                return Refusal::large(format!("the push has more than {max} bytes, {OF_MEMORY}"));
            }
            let reason = match status {
                StatusCode::PAYLOAD_TOO_LARGE => "too_large",
                StatusCode::SERVICE_UNAVAILABLE => "full",
                _ => "malformed",
            };
            Refusal(reason, status, error.to_string())
        })?;
        let turn = timeout(Duration::from_millis(PUSH_TURN_MS), Arc::clone(&self.memory.turn).acquire_owned()).await;
        let Ok(turn) = turn else {
            let why = "other pushes take too long: try again".to_owned();
            return Err(Refusal("full", StatusCode::SERVICE_UNAVAILABLE, why));
        };
        let server = Arc::clone(&self);
        // Gone with this request: who hangs up is not answered, and sends it again.
        let waits = Arc::new(());
        let is_waited_for = Arc::downgrade(&waits);
        // Others of this thread would have to wait for it. The room and the turn are kept until the memory is given back.
        let work = move || {
            let chunk = server.decode(&head.headers, &body, is_raw)?;
            let kept = if chunk.is_empty() || is_waited_for.strong_count() == 0 {
                Ok(Kept::Written)
            } else {
                server.port.append(&chunk)
            };
            drop((chunk, body, room, turn));
            kept.map_err(|error| server.refused(&error))
        };
        let failed = || {
            Refusal(
                "disk",
                StatusCode::INTERNAL_SERVER_ERROR,
                "decoding failed: there is no thread for it, or a bug".to_owned(),
            )
        };
        let kept = self.memory.work(work).await.ok_or_else(failed)??;
        drop(waits);
        self.keep(kept).await
    }

    /// Why a push is not in the inlet.
    fn refused(&self, error: &AppendError) -> Refusal {
        match error {
            AppendError::Full { .. } => {
                self.port.status.held_up.add(1);
                self.port.note_refused();
                Refusal("full", StatusCode::TOO_MANY_REQUESTS, error.to_string())
            }
            AppendError::TooLarge { .. } | AppendError::NotWhole { .. } => Refusal::large(error.to_string()),
            AppendError::Disk(_) | AppendError::Closed => {
                Refusal("disk", StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
        }
    }

    /// Waits until all that is taken is in a file.
    async fn keep(&self, kept: Kept) -> Result<(), Refusal> {
        if kept == Kept::Written {
            return Ok(());
        }
        let end = Instant::now() + Duration::from_millis(PUSH_HELD_MS);
        while Instant::now() < end {
            if self.port.held_bytes() == Some(0) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(RECEIVE_WAIT_MS)).await;
        }
        let why = "the disk of the state directory takes nothing; this push may be stored later all the same";
        Err(Refusal("disk", StatusCode::SERVICE_UNAVAILABLE, why.to_owned()))
    }

    /// Whether the client may push.
    fn may(&self, headers: &HeaderMap) -> bool {
        let Some(wanted) = &self.wanted else { return true };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given =
            given.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        given.is_some_and(|(_, given)| is_same(given.trim().as_bytes(), wanted.expose().as_bytes()))
    }

    /// The records of a push.
    fn decode(&self, headers: &HeaderMap, body: &Bytes, is_raw: bool) -> Result<Chunk, Refusal> {
        let kind = word(headers, header::CONTENT_TYPE)?.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        let is_json = kind == "application/json";
        if !is_raw && !is_json && kind != "application/x-protobuf" && !kind.is_empty() {
            let why = format!("content type {kind:?} is not taken: send application/x-protobuf or application/json");
            return Err(Refusal::bad(why));
        }
        let encoding = word(headers, header::CONTENT_ENCODING)?.trim().to_ascii_lowercase();
        // What is left of what this push may take.
        let mut left = self.memory.decoded_bytes.load(Ordering::Relaxed);
        let body = match encoding.as_str() {
            "gzip" => {
                let unpacked = gunzip(body, self.settings.body_bytes, left)?;
                left = left.saturating_sub(unpacked.len());
                Bytes::from(unpacked)
            }
            "" | "identity" => body.clone(),
            "snappy" if !is_json && !is_raw => body.clone(),
            _ => {
                let why = format!(
                    "content encoding {encoding:?} is not taken: send gzip, or none (protobuf is a raw snappy block by itself)"
                );
                return Err(Refusal::bad(why));
            }
        };
        let tenant = word(headers, HeaderName::from_static("x-scope-orgid"))?.trim();
        if !tenant.is_empty() && !is_tenant(tenant) {
            return Err(Refusal::bad(format!("X-Scope-OrgID names no tenant: {TENANT_RULE}")));
        }
        self.port.begin();
        let mut into = Gathered {
            server: self,
            tenant: Some(tenant).filter(|tenant| !tenant.is_empty()),
            judging: self.judge.of_push(),
            most: self.settings.body_bytes.saturating_mul(PUSH_RECORDS).max(PUSH_RECORDS_BYTES_MIN),
            left,
            // One piece of memory, mostly: those that it would grow out of stay with the process.
            chunk: Chunk {
                bytes: Vec::with_capacity(body.len().saturating_add(body.len() / 2).min(left)),
                ..Chunk::default()
            },
        };
        if is_raw {
            into.lines(&body)?;
        } else if is_json {
            into.json(&body)?;
        } else {
            into.protobuf(&body)?;
        }
        Ok(into.chunk)
    }
}

/// The text of a header; empty: it is not there.
fn word(headers: &HeaderMap, name: HeaderName) -> Result<&str, Refusal> {
    let mut all = headers.get_all(&name).iter();
    let (first, second) = (all.next(), all.next());
    let Some(first) = first else { return Ok("") };
    if second.is_some() {
        return Err(Refusal::bad(format!("the header {name} is there twice")));
    }
    first.to_str().map_err(|_| Refusal::bad(format!("the header {name} is not ASCII")))
}

/// What the header of those says who may push, behind `Basic`. Reads the file of the password.
pub(super) fn credentials(settings: &Push) -> std::io::Result<Option<Secret>> {
    let Some((user, password)) = &settings.basic_auth else { return Ok(None) };
    let password = match password {
        Password::Inline(password) => password.clone(),
        Password::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                std::io::Error::new(error.kind(), format!("basic_auth: {}: {error}", path.display()))
            })?;
            Secret::new(text.trim_end_matches(['\n', '\r']))
        }
    };
    Ok(Some(Secret::new(base64::encode(format!("{user}:{}", password.expose()).as_bytes()))))
}

/// Fills a chunk.
struct Gathered<'a> {
    server: &'a Server,
    tenant: Option<&'a str>,
    judging: Judging<'a>,
    /// The longest chunk, bytes; an entry may come on top.
    most: usize,
    /// What may be taken of memory, bytes; an entry may come on top.
    left: usize,
    chunk: Chunk,
}

impl Gathered<'_> {
    fn lines(&mut self, body: &[u8]) -> Result<(), Refusal> {
        self.stream(std::iter::empty())?;
        for line in body.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                self.entry((Kind::Line, None), line, &[], &[])?;
            }
        }
        Ok(())
    }

    fn json(&mut self, body: &[u8]) -> Result<(), Refusal> {
        let mut refused = None;
        let decoded = Decoder::default().decode(body, |found| {
            if refused.is_some() {
                return;
            }
            let checked = match found {
                Found::Stream(labels) => match labels.iter().find(|(name, _)| !is_name(name)) {
                    Some((name, _)) => Err(Refusal::bad(format!("{name:?} is no name of a label"))),
                    None => self.stream(labels.iter()),
                },
                Found::Entry(entry) => {
                    let labels: Vec<(&str, &str)> = entry.labels.iter().collect();
                    let metadata: Vec<(&str, &str)> = entry.metadata.iter().collect();
                    self.checked(Some(entry.time_ns), entry.line.as_bytes(), &labels, &metadata)
                }
            };
            refused = checked.err();
        });
        decoded.map_err(|error| Refusal::bad(error.to_string()))?;
        refused.map_or(Ok(()), Err)
    }

    fn protobuf(&mut self, body: &[u8]) -> Result<(), Refusal> {
        let max = self.server.settings.body_bytes;
        if snap::raw::decompress_len(body).is_ok_and(|len| len > max) {
            return Err(Refusal::large(format!("the push has more than {max} bytes after decompression")));
        }
        // While it is decoded it is there twice.
        let bytes = snap::raw::decompress_len(body).unwrap_or(0);
        let of_memory = self.left.saturating_sub(bytes.saturating_mul(2)) / PUSH_MESSAGE_BYTES;
        if bytes > 0 && of_memory == 0 {
            // Before there is memory taken for it.
            return Err(Refusal::large(format!("the push has {bytes} bytes after decompression, {OF_MEMORY}")));
        }
        let request = decode_snappy_within(body, max, PUSH_MESSAGES.min(of_memory)).map_err(|error| match error {
            DecodeError::TooLong { .. } if of_memory < PUSH_MESSAGES => {
                Refusal::large(format!("the push takes too much memory when it is decoded, {OF_MEMORY}"))
            }
            DecodeError::TooLong { .. } => Refusal::large(error.to_string()),
            _ => Refusal::bad(error.to_string()),
        })?;
        let pairs = |entry: &EntryAdapter| entry.structured_metadata.len().saturating_add(1);
        let messages: usize =
            request.streams.iter().map(|stream| stream.entries.iter().map(pairs).sum::<usize>() + 1).sum();
        self.left = self.left.saturating_sub(bytes).saturating_sub(messages.saturating_mul(PUSH_MESSAGE_BYTES));
        for (i, stream) in request.streams.iter().enumerate() {
            let labels =
                parse_labels(&stream.labels).map_err(|error| Refusal::bad(format!("streams[{i}]: {error}")))?;
            let labels: Vec<(&str, &str)> =
                labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            self.stream(labels.iter().copied())?;
            for entry in &stream.entries {
                let pairs = entry.structured_metadata.iter();
                let metadata: Vec<(&str, &str)> = pairs.map(|pair| (pair.name.as_str(), pair.value.as_str())).collect();
                self.checked(Some(entry.ns()), &entry.line, &labels, &metadata)?;
            }
        }
        Ok(())
    }

    /// A stream whose labels Loki would not take cannot be stored as it is.
    fn stream<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Result<(), Refusal> {
        self.judging.fault(labels).map_or(Ok(()), |why| Err(Refusal::bad(why)))
    }

    fn checked(
        &mut self,
        time_ns: Option<i64>,
        line: &[u8],
        labels: &[(&str, &str)],
        metadata: &[(&str, &str)],
    ) -> Result<(), Refusal> {
        let bytes: usize = labels.iter().chain(metadata).map(|(name, value)| name.len() + value.len() + 2).sum();
        if bytes > RECORD_PAIRS_BYTES {
            let why =
                format!("an entry has {bytes} bytes of labels and metadata, at most {RECORD_PAIRS_BYTES} are taken");
            return Err(Refusal::bad(why));
        }
        self.entry((Kind::Push, time_ns), line, labels, metadata)
    }

    fn entry(
        &mut self,
        (kind, time_ns): (Kind, Option<i64>),
        line: &[u8],
        labels: &[(&str, &str)],
        metadata: &[(&str, &str)],
    ) -> Result<(), Refusal> {
        if self.chunk.records >= PUSH_ENTRIES as u64 {
            return Err(Refusal::large(format!("the push has more than {PUSH_ENTRIES} entries: send smaller ones")));
        }
        if self.chunk.bytes.len() > self.most {
            let why = format!(
                "the push has more than {} bytes, counting the labels of a stream for each of its entries: send smaller ones",
                self.most
            );
            return Err(Refusal::large(why));
        }
        if self.chunk.bytes.len() > self.left {
            return Err(Refusal::large(format!("the push takes too much memory when it is decoded, {OF_MEMORY}")));
        }
        let port = &self.server.port;
        self.chunk.message_bytes = self.chunk.message_bytes.saturating_add(line.len() as u64);
        let cut = port.cut(line, 0);
        let message = cut.as_deref().unwrap_or(line);
        let pieces = Pieces { kind, received_ns: port.stamp(), time_ns, tenant: self.tenant, peer: None, message };
        encode(&pieces, labels.iter().copied(), metadata.iter().copied(), &mut self.chunk.bytes);
        self.chunk.records += 1;
        Ok(())
    }
}

/// As in protobuf, where it is checked with the form of the labels: two names must not become one.
fn is_name(name: &str) -> bool {
    !matches!(check_name(name, LabelCaps::default()), Err(LabelError::Name(_)))
}

/// Unpacks at most `max` bytes, and no more than memory allows.
fn gunzip(body: &[u8], max: usize, of_memory: usize) -> Result<Vec<u8>, Refusal> {
    // Gzip says at its end how long it was: believed only as far as it may be.
    let said = body.last_chunk().map_or(0, |said| u32::from_le_bytes(*said) as usize);
    let mut out = Vec::with_capacity(said.min(max).min(of_memory).saturating_add(1));
    let most = (max.min(of_memory) as u64).saturating_add(1);
    let read = flate2::read::MultiGzDecoder::new(body).take(most).read_to_end(&mut out);
    read.map_err(|error| Refusal::bad(format!("the body is not valid gzip: {error}")))?;
    if out.len() > max {
        return Err(Refusal::large(format!("the push has more than {max} bytes after decompression")));
    }
    if out.len() > of_memory {
        let why = format!("the push has more than {of_memory} bytes after decompression, {OF_MEMORY}");
        return Err(Refusal::large(why));
    }
    Ok(out)
}

/// Compares without telling by its time where they differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}
