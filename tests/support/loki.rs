//! A fake Loki that is stricter than the real one, and misbehaves on request.
//!
//! It runs in a thread of its own on 127.0.0.1, enforces the documented limits (see `rules`), answers as Loki answers, and writes
//! down as a **defect** whatever a well-behaved agent would not have sent. Faults come from a script: a queue of answers, or a
//! function that is asked at each request.
//!
//! Promises: what is stored is shown to the observer in order of arrival, with a flag that tells whether Loki would see it as a
//! repetition (same stream, timestamp, line and metadata). Faults that a test asks for are not defects of the agent.

use super::rules;
use super::wait::{holds_within, now_ns};
use super::wire;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use prost::Message;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// How a request is answered.
#[derive(Clone)]
pub enum Answer {
    /// As Loki would.
    AsLoki,
    /// As Loki would, after a pause.
    Late(Duration),
    /// Not at all; the connection stays open.
    Hang,
    /// Nothing is stored; this status, these headers, this body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// Everything is stored, and then answered with this status: an answer that lies.
    StoreThenStatus(u16),
    /// Everything is stored, and then the connection is reset.
    StoreThenReset,
    /// The connection is reset before the body is read.
    ResetAtOnce,
    /// The connection is reset in the middle of the body.
    ResetMidBody,
    /// The body is read at this many bytes a second; then as Loki would.
    SlowRead(u64),
    /// Entries whose line the function dislikes are refused with the reason "entry too far behind", the others are stored: 400.
    RefuseLines(Arc<dyn Fn(&str) -> bool + Send + Sync>),
    /// If a stream's labels contain this text the whole request is refused as Loki refuses labels that cannot be parsed; otherwise as Loki.
    RefuseLabels(&'static str),
}

impl Answer {
    /// A status with nothing stored and Loki's usual kind of body.
    pub fn status(status: u16) -> Self {
        Answer::Status(status, Vec::new(), format!("scripted answer {status}\n"))
    }
}

/// What is known of a request when the answer is chosen.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Counts from 0.
    pub number: u64,
    /// `Content-Length`, bytes.
    pub body_bytes: Option<u64>,
}

/// An entry that was stored.
#[derive(Debug)]
pub struct Stored<'a> {
    /// The stream's labels as they were pushed.
    pub stream: &'a str,
    /// Nanoseconds since 1970.
    pub at: i64,
    /// The text.
    pub line: &'a str,
    /// Structured metadata.
    pub metadata: &'a [wire::LabelPair],
    /// Loki has an equal entry already.
    pub repeated: bool,
    /// When the head of the request arrived.
    pub arrived: Instant,
}

type Observer = Box<dyn FnMut(&Stored<'_>) + Send>;
type Script = Box<dyn FnMut(&Arrival) -> Answer + Send>;

/// What this Loki is like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether `X-Scope-OrgID` is required.
    pub auth: bool,
    /// gRPC's message limit, bytes; more is answered with 500, and is a defect only above the real one's.
    pub message_bytes: usize,
    /// Keep text and labels of all entries for [`Loki::entries`]; for tests with few lines.
    pub keep: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { auth: false, message_bytes: rules::MESSAGE_BYTES, keep: false }
    }
}

/// An entry that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The stream's labels as they were pushed.
    pub stream: String,
    /// Nanoseconds since 1970.
    pub at: i64,
    /// The text.
    pub line: String,
    /// Loki had an equal entry already.
    pub repeated: bool,
    /// `X-Scope-OrgID` of the request; empty without.
    pub tenant: String,
    /// Structured metadata.
    pub metadata: Vec<(String, String)>,
}

/// Sums since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests whose head arrived.
    pub requests: u64,
    /// Requests of which something was stored.
    pub stored_requests: u64,
    /// Entries stored, repetitions included.
    pub entries: u64,
    /// Entries that Loki shows.
    pub distinct: u64,
    /// Entries refused one by one.
    pub refused: u64,
    /// Entries in the largest request.
    pub largest_entries: u64,
    /// Bytes of the largest request before compression.
    pub largest_bytes: usize,
    /// Times at which the latest request arrived: for pauses between attempts.
    pub arrivals: Vec<Instant>,
    /// Answers by status; 0: no answer.
    pub answers: HashMap<u16, u64>,
}

struct State {
    options: Options,
    defects: Vec<String>,
    totals: Totals,
    observer: Option<Observer>,
    script: Option<Script>,
    queue: VecDeque<Answer>,
    seen: HashSet<(u32, i64, u64)>,
    /// Number and newest time of each stream.
    streams: HashMap<String, (u32, i64)>,
    kept: Vec<Kept>,
    /// Whose the request is that is stored.
    tenant: String,
}

/// The fake Loki; stops when dropped.
pub struct Loki {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    control: mpsc::UnboundedSender<(Control, oneshot::Sender<()>)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy)]
enum Control {
    Pause,
    Resume,
    Stop,
}

/// Defects beyond this many are not kept: the first ones tell.
const DEFECTS: usize = 50;
/// Arrival times that are kept.
const ARRIVALS: usize = 100_000;

impl Loki {
    /// Starts with default options.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts on a port of the kernel's choice.
    pub fn start_with(options: Options) -> Self {
        Self::start_on(std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port"), options)
    }

    /// Starts on a socket that listens, which may be one of another network. It cannot be paused there.
    pub fn start_on(listener: std::net::TcpListener, options: Options) -> Self {
        let state = Arc::new(Mutex::new(State {
            options,
            defects: Vec::new(),
            totals: Totals::default(),
            observer: None,
            script: None,
            queue: VecDeque::new(),
            seen: HashSet::new(),
            streams: HashMap::new(),
            kept: Vec::new(),
            tenant: String::new(),
        }));
        let address = listener.local_addr().expect("a bound port has an address");
        let (control, commands) = mpsc::unbounded_channel();
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("loki".into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(serve(listener, commands, shared));
            })
            .expect("a thread");
        Loki { address, state, control, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The push URL.
    pub fn url(&self) -> String {
        format!("http://{}/loki/api/v1/push", self.address)
    }

    /// Shows each stored entry to `observer` from now on.
    pub fn observe(&self, observer: impl FnMut(&Stored<'_>) + Send + 'static) {
        self.lock().observer = Some(Box::new(observer));
    }

    /// Asks `script` at each request that the queue has no answer for.
    pub fn script(&self, script: impl FnMut(&Arrival) -> Answer + Send + 'static) {
        self.lock().script = Some(Box::new(script));
    }

    /// Answers as Loki again: forgets script and queue.
    pub fn behave(&self) {
        let mut state = self.lock();
        state.script = None;
        state.queue.clear();
    }

    /// The next requests get these answers, one each.
    pub fn queue(&self, answers: impl IntoIterator<Item = Answer>) {
        self.lock().queue.extend(answers);
    }

    /// Closes the port and all connections; returns when that is done.
    pub fn pause(&self) {
        self.tell(Control::Pause);
    }

    /// Listens on the same port again.
    pub fn resume(&self) {
        self.tell(Control::Resume);
    }

    /// What a well-behaved agent would not have sent; the first ones.
    pub fn defects(&self) -> Vec<String> {
        self.lock().defects.clone()
    }

    /// Panics if there are defects.
    #[track_caller]
    pub fn assert_no_defects(&self) {
        let defects = self.defects();
        assert!(defects.is_empty(), "the receiver saw defects: {defects:#?}");
    }

    /// Sums since the start.
    pub fn totals(&self) -> Totals {
        self.lock().totals.clone()
    }

    /// Entries stored so far, repetitions not counted.
    pub fn distinct(&self) -> u64 {
        self.lock().totals.distinct
    }

    /// Requests whose head arrived.
    pub fn requests(&self) -> u64 {
        self.lock().totals.requests
    }

    /// All entries that were kept, in order of arrival ([`Options::keep`]).
    pub fn entries(&self) -> Vec<Kept> {
        self.lock().kept.clone()
    }

    /// The lines that Loki shows, in order of arrival ([`Options::keep`]).
    pub fn lines(&self) -> Vec<String> {
        self.lock().kept.iter().filter(|kept| !kept.repeated).map(|kept| kept.line.clone()).collect()
    }

    /// Waits until a line that `wanted` likes is there ([`Options::keep`]); the first such entry.
    #[track_caller]
    pub fn wait_for(&self, what: &str, deadline: Duration, wanted: impl Fn(&str) -> bool) -> Kept {
        let find = || self.lock().kept.iter().find(|kept| wanted(&kept.line)).cloned();
        if holds_within(deadline, || find().is_some()).is_none() {
            let shown: Vec<String> =
                self.lines().iter().rev().take(10).map(|line| line.chars().take(100).collect()).collect();
            panic!("waited {deadline:?} in vain for {what}; the last lines, latest first: {shown:#?}");
        }
        find().expect("it was there a moment ago")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, command: Control) {
        let (done, wait) = oneshot::channel();
        if self.control.send((command, done)).is_ok() {
            let _ = wait.blocking_recv();
        }
    }
}

impl Drop for Loki {
    fn drop(&mut self) {
        self.tell(Control::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes a port that was listened to a moment ago, so that nobody else gets it: whoever connects is refused.
async fn keep(address: SocketAddr) -> TcpSocket {
    for _ in 0..1000 {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("a socket's option");
        if socket.bind(address).is_ok() {
            return socket;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{address} is taken by somebody else");
}

/// The server's life: accepts while it listens, obeys commands.
async fn serve(
    first: std::net::TcpListener,
    mut commands: mpsc::UnboundedReceiver<(Control, oneshot::Sender<()>)>,
    state: Arc<Mutex<State>>,
) {
    let address = first.local_addr().expect("a bound port has an address");
    first.set_nonblocking(true).expect("a listener can be non-blocking");
    let mut listener = Some(TcpListener::from_std(first).expect("a listener in the runtime"));
    // Keeps the port for us while nobody listens there.
    let mut kept = None;
    let mut connections = JoinSet::new();
    loop {
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = commands.recv() => {
                let Some((command, done)) = command else { return };
                match command {
                    Control::Pause | Control::Stop => {
                        if listener.take().is_some() && matches!(command, Control::Pause) {
                            kept = Some(keep(address).await);
                        }
                        connections.shutdown().await;
                    }
                    Control::Resume if listener.is_none() => {
                        let socket = kept.take().expect("a port that was kept");
                        listener = Some(socket.listen(1024).expect("the same port again"));
                    }
                    Control::Resume => {}
                }
                let _ = done.send(());
                if matches!(command, Control::Stop) {
                    return;
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = accept => {
                if let Ok((stream, _)) = accepted {
                    let _ = stream.set_nodelay(true);
                    connections.spawn(connection(stream, Arc::clone(&state)));
                }
            }
        }
    }
}

/// One connection, until either side ends it.
async fn connection(stream: tokio::net::TcpStream, state: Arc<Mutex<State>>) {
    // A second descriptor of the same socket: with it a reset can be asked for while hyper owns the first.
    let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(&stream, 0) else { return };
    let socket = Arc::new(socket);
    let held = Arc::clone(&socket);
    let service = hyper::service::service_fn(move |request| {
        let (state, socket) = (Arc::clone(&state), Arc::clone(&socket));
        async move { handle(request, state, &socket).await }
    });
    // An error is the client's going away or a reset that was asked for.
    let _ = hyper::server::conn::http1::Builder::new()
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    drop(held);
}

/// An error ends the connection; with the option set before, the kernel then sends a reset.
fn reset(socket: &OwnedFd) -> io::Error {
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
    io::Error::other("reset by script")
}

async fn handle(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    socket: &OwnedFd,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let arrived = Instant::now();
    let (head, mut body) = request.into_parts();
    let answer = lock(&state).choose(&head, arrived);
    let mut pace = None;
    match &answer {
        Answer::Hang => std::future::pending::<()>().await,
        Answer::Late(pause) => tokio::time::sleep(*pause).await,
        Answer::ResetAtOnce => return Err(reset(socket)),
        Answer::ResetMidBody => {
            let whole = content_length(&head).unwrap_or(0);
            let mut read = 0;
            while read <= whole / 2 {
                match body.frame().await {
                    Some(Ok(frame)) => read += frame.data_ref().map_or(0, |data| data.len() as u64),
                    _ => break,
                }
            }
            return Err(reset(socket));
        }
        Answer::SlowRead(rate) => pace = Some(*rate),
        _ => {}
    }
    let body = read_body(body, pace).await?;
    let (status, headers, text) = lock(&state).answer(&head, &body, &answer, arrived);
    if matches!(answer, Answer::StoreThenReset) {
        return Err(reset(socket));
    }
    *lock(&state).totals.answers.entry(status).or_default() += 1;
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(text))).map_err(io::Error::other)
}

async fn read_body(mut body: Incoming, bytes_per_second: Option<u64>) -> io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(io::Error::other)?;
        if let Some(data) = frame.data_ref() {
            whole.extend_from_slice(data);
            if let Some(rate) = bytes_per_second {
                let pause = data.len() as u64 * 1_000_000 / rate.max(1);
                tokio::time::sleep(Duration::from_micros(pause)).await;
            }
        }
    }
    Ok(whole)
}

fn lock(state: &Arc<Mutex<State>>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn content_length(head: &hyper::http::request::Parts) -> Option<u64> {
    header(head, "content-length")?.parse().ok()
}

fn header<'a>(head: &'a hyper::http::request::Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name)?.to_str().ok()
}

type Reply = (u16, Vec<(&'static str, String)>, String);

impl State {
    fn defect(&mut self, text: impl Into<String>) {
        if self.defects.len() < DEFECTS {
            self.defects.push(text.into());
        }
    }

    fn choose(&mut self, head: &hyper::http::request::Parts, arrived: Instant) -> Answer {
        let arrival = Arrival { number: self.totals.requests, body_bytes: content_length(head) };
        self.totals.requests += 1;
        if self.totals.arrivals.len() < ARRIVALS {
            self.totals.arrivals.push(arrived);
        }
        if let Some(answer) = self.queue.pop_front() {
            return answer;
        }
        self.script.as_mut().map_or(Answer::AsLoki, |script| script(&arrival))
    }

    /// Checks the request, stores what is to be stored, and says what is answered.
    fn answer(&mut self, head: &hyper::http::request::Parts, body: &[u8], answer: &Answer, arrived: Instant) -> Reply {
        let (request, bytes) = match self.decode(head, body) {
            Ok(decoded) => decoded,
            Err(reply) => return reply,
        };
        self.tenant = header(head, "x-scope-orgid").unwrap_or("").to_owned();
        let entries = request.streams.iter().map(|stream| stream.entries.len() as u64).sum();
        self.totals.largest_entries = self.totals.largest_entries.max(entries);
        self.totals.largest_bytes = self.totals.largest_bytes.max(bytes);
        if let Answer::Status(status, headers, text) = answer {
            return (*status, headers.clone(), text.clone());
        }
        if bytes > self.options.message_bytes {
            let max = self.options.message_bytes;
            let text = format!(
                "rpc error: code = ResourceExhausted desc = grpc: received message larger than max ({bytes} vs. {max})\n"
            );
            return (500, Vec::new(), text);
        }
        if let Answer::RefuseLabels(text) = answer {
            let bad = request.streams.iter().map(|s| String::from_utf8_lossy(&s.labels)).find(|l| l.contains(text));
            if let Some(labels) = bad {
                return plain(400, &format!("error parsing labels '{labels}' with error: refused by script"));
            }
        }
        let reply = self.store(&request, answer, arrived);
        match answer {
            Answer::StoreThenStatus(status) => plain(*status, "stored, and yet"),
            _ => reply,
        }
    }

    /// Checks that do not depend on what the server is made to answer.
    fn decode(&mut self, head: &hyper::http::request::Parts, body: &[u8]) -> Result<(wire::PushRequest, usize), Reply> {
        if head.uri.path() != "/loki/api/v1/push" {
            self.defect(format!("request for {}", head.uri));
            return Err(plain(404, "page not found"));
        }
        if head.method != "POST" {
            self.defect(format!("method {}", head.method));
            return Err(plain(405, "method not allowed"));
        }
        if header(head, "user-agent").unwrap_or("").is_empty() {
            self.defect("no User-Agent");
        }
        if self.options.auth && header(head, "x-scope-orgid").unwrap_or("").is_empty() {
            self.defect("no X-Scope-OrgID where it is required");
            return Err(plain(401, "no org id"));
        }
        let kind = header(head, "content-type").unwrap_or("");
        if kind != "application/x-protobuf" {
            self.defect(format!("content type {kind:?}"));
            return Err(plain(if kind.is_empty() { 400 } else { 415 }, "content type not supported"));
        }
        if let Some(encoding) = header(head, "content-encoding")
            && encoding != "snappy"
        {
            self.defect(format!("content encoding {encoding:?}"));
            return Err(plain(400, "content encoding not supported"));
        }
        let raw = match snap::raw::Decoder::new().decompress_vec(body) {
            Ok(raw) => raw,
            Err(error) => {
                self.defect(format!("body is not a raw snappy block: {error}"));
                return Err(plain(400, "snappy: corrupt input"));
            }
        };
        if raw.len() > rules::MESSAGE_BYTES {
            self.defect(format!("request of {} bytes", raw.len()));
        }
        match wire::PushRequest::decode(raw.as_slice()) {
            Ok(request) => Ok((request, raw.len())),
            Err(error) => {
                self.defect(format!("body is not a push request: {error}"));
                Err(plain(400, "proto: illegal wire type"))
            }
        }
    }

    /// Stores the valid entries; the answer of a Loki that behaves.
    fn store(&mut self, request: &wire::PushRequest, answer: &Answer, arrived: Instant) -> Reply {
        if request.streams.is_empty() {
            self.defect("a request without streams");
            return plain(422, "no streams");
        }
        let mut parsed = Vec::new();
        for stream in &request.streams {
            let labels = match std::str::from_utf8(&stream.labels) {
                Ok(text) => rules::parse_labels(text).map(|pairs| (text, pairs)),
                Err(error) => Err(format!("not UTF-8: {error}")),
            };
            match labels {
                Ok(labels) => parsed.push(labels),
                Err(error) => {
                    let text = String::from_utf8_lossy(&stream.labels).into_owned();
                    self.defect(format!("labels {text:?}: {error}"));
                    return plain(400, &format!("error parsing labels '{text}' with error: {error}"));
                }
            }
            if stream.hash != 0 {
                self.defect("a stream with its hash set");
            }
            if stream.entries.is_empty() {
                self.defect("a stream without entries");
            }
        }
        let now = now_ns();
        let mut refusals = Vec::new();
        let mut stored = false;
        for (stream, (labels, pairs)) in request.streams.iter().zip(&parsed) {
            if let Some(reason) = rules::refuse_labels(labels, pairs) {
                self.defect(reason.clone());
                refusals.extend(stream.entries.iter().map(|_| reason.clone()));
                continue;
            }
            // Each tenant has streams of its own.
            let name = format!("{} {labels}", self.tenant);
            let next = u32::try_from(self.streams.len()).expect("few streams");
            let (id, mut newest) = *self.streams.entry(name.clone()).or_insert((next, i64::MIN));
            for entry in &stream.entries {
                match self.check_entry(labels, entry, now, newest, answer) {
                    Ok((at, line)) => {
                        newest = newest.max(at);
                        self.keep(labels, id, at, line, entry, arrived);
                        stored = true;
                    }
                    Err(reason) => refusals.push(reason),
                }
            }
            if newest == i64::MIN {
                self.streams.remove(&name);
            } else if let Some(known) = self.streams.get_mut(&name) {
                known.1 = newest;
            }
        }
        self.totals.stored_requests += u64::from(stored);
        self.totals.refused += refusals.len() as u64;
        match refusals.first() {
            None => (204, Vec::new(), String::new()),
            Some(first) => plain(400, &format!("{first}, total ignored: {} entries", refusals.len())),
        }
    }

    /// Time and text of an entry that is to be stored, or why it is not.
    fn check_entry<'a>(
        &mut self,
        labels: &str,
        entry: &'a wire::Entry,
        now: i64,
        newest: i64,
        answer: &Answer,
    ) -> Result<(i64, &'a str), String> {
        if !entry.parsed.is_empty() {
            self.defect("an entry with its parsed labels set");
        }
        let Some(at) = entry.timestamp.and_then(|timestamp| timestamp.ns()) else {
            self.defect(format!("an entry with timestamp {:?}", entry.timestamp));
            return Err("timestamp out of range".into());
        };
        let line = match std::str::from_utf8(&entry.line) {
            Ok(line) => line,
            Err(error) => {
                self.defect(format!("a line that is not UTF-8: {error}"));
                return Err("invalid UTF-8".into());
            }
        };
        if let Answer::RefuseLines(dislikes) = answer
            && dislikes(line)
        {
            let (shown, now) = (go_time(at), go_time(now));
            return Err(format!(
                "entry with timestamp {shown} ignored, reason: 'entry too far behind, entry timestamp is: {shown}, oldest acceptable timestamp is: {now}',"
            ));
        }
        let newest = (newest != i64::MIN).then_some(newest);
        if let Some(reason) = rules::refuse_entry(labels, entry, at, now, newest) {
            self.defect(reason.clone());
            return Err(reason);
        }
        Ok((at, line))
    }

    fn keep(&mut self, stream: &str, id: u32, at: i64, line: &str, entry: &wire::Entry, arrived: Instant) {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        entry.metadata.hash(&mut hasher);
        let repeated = !self.seen.insert((id, at, hasher.finish()));
        self.totals.entries += 1;
        self.totals.distinct += u64::from(!repeated);
        if self.options.keep {
            self.kept.push(Kept {
                stream: stream.to_owned(),
                at,
                line: line.to_owned(),
                repeated,
                tenant: self.tenant.clone(),
                metadata: entry.metadata.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect(),
            });
        }
        if let Some(observer) = &mut self.observer {
            observer(&Stored { stream, at, line, metadata: &entry.metadata, repeated, arrived });
        }
    }
}

fn plain(status: u16, text: &str) -> Reply {
    (status, vec![("Content-Type", "text/plain; charset=utf-8".to_owned())], format!("{text}\n"))
}

/// A time as Go shows it.
fn go_time(ns: i64) -> String {
    lugger::format::civil::format_rfc3339_ns(ns).replace('T', " ").replace('Z', " +0000 UTC")
}
