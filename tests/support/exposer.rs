//! Targets that answer by script, and an output that keeps the points of scrapes.
//!
//! A target is a plain TCP server on loopback that writes what the script says, byte for byte, so that it can fail in every way.

use lugger::model::points::{Output, Points};
use lugger::model::samples::STALE_BITS;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Asked {
    pub line: String,
    /// In small letters.
    pub headers: Vec<(String, String)>,
    /// Number of the connection, from 0.
    pub connection: usize,
    pub at: Instant,
}

impl Asked {
    /// The values of a header, joined.
    pub fn header(&self, name: &str) -> String {
        let values: Vec<_> = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        values.join("|")
    }
}

/// What to do with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// Never answer.
    Hang,
}

impl Reply {
    pub fn text(body: &str) -> Reply {
        Reply::typed("text/plain; version=0.0.4", body)
    }

    pub fn typed(kind: &str, body: &str) -> Reply {
        Reply::Answer(200, vec![("Content-Type", kind.to_owned())], body.into())
    }

    pub fn status(status: u16) -> Reply {
        Reply::Answer(status, Vec::new(), b"no".to_vec())
    }
}

type Script = dyn FnMut(&Asked) -> Reply + Send;

/// A target.
pub struct Exposer {
    pub addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Mutex<Box<Script>>>,
    task: JoinHandle<()>,
}

impl Drop for Exposer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Exposer {
    pub async fn start(script: impl FnMut(&Asked) -> Reply + Send + 'static) -> Exposer {
        Self::serve(None, script).await
    }

    /// Serves TLS if there is a configuration.
    pub async fn serve(
        tls: Option<rustls::ServerConfig>,
        script: impl FnMut(&Asked) -> Reply + Send + 'static,
    ) -> Exposer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let script: Arc<Mutex<Box<Script>>> = Arc::new(Mutex::new(Box::new(script)));
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let parts = (Arc::clone(&asked), Arc::clone(&script));
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let ((asked, script), tls) = (parts.clone(), tls.clone());
                tokio::spawn(async move {
                    let _ = match tls {
                        None => serve(stream, connection, &asked, &script).await,
                        Some(tls) => serve(tls.accept(stream).await?, connection, &asked, &script).await,
                    };
                    Ok::<_, io::Error>(())
                });
            }
        });
        Exposer { addr, asked, script, task }
    }

    /// From now on it answers so.
    pub fn answer(&self, script: impl FnMut(&Asked) -> Reply + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    pub fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap()
    }

    pub fn address(&self) -> String {
        self.addr.to_string()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    connection: usize,
    asked: &Mutex<Vec<Asked>>,
    script: &Mutex<Box<Script>>,
) -> io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let line = lines.next().unwrap_or_default().to_owned();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
        let request = Asked { line, headers, connection, at: Instant::now() };
        let reply = (script.lock().unwrap())(&request);
        asked.lock().unwrap().push(request);
        match reply {
            Reply::Hang => std::future::pending().await,
            Reply::Raw(bytes) => {
                stream.write_all(&bytes).await?;
                return stream.shutdown().await;
            }
            Reply::Answer(status, headers, body) => {
                let mut answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n", body.len());
                headers.iter().for_each(|(name, value)| answer.push_str(&format!("{name}: {value}\r\n")));
                let mut answer = format!("{answer}\r\n").into_bytes();
                answer.extend(body);
                stream.write_all(&answer).await?;
            }
        }
    }
}

/// A value of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    pub bits: u64,
    pub time_ms: i64,
}

impl Value {
    pub fn is_stale(self) -> bool {
        self.bits == STALE_BITS
    }

    pub fn get(self) -> f64 {
        f64::from_bits(self.bits)
    }
}

/// Keeps what it gets, by series in the form `name{a="b"}`.
#[derive(Debug, Default)]
pub struct Kept(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    series: BTreeMap<String, Vec<Value>>,
    writes: usize,
}

impl Output for Kept {
    fn write(&self, points: &Points) {
        let mut inner = self.0.lock().unwrap();
        inner.writes += 1;
        for of in points.iter() {
            let value = Value { bits: of.point.bits, time_ms: of.point.time_ms };
            let values = inner.series.entry(series(of.labels)).or_default();
            assert!(values.last().is_none_or(|last| last.time_ms < value.time_ms), "times of a series only grow");
            values.push(value);
        }
    }
}

impl Kept {
    pub fn new() -> Arc<Kept> {
        Arc::default()
    }

    /// All values of a series.
    pub fn of(&self, series: &str) -> Vec<Value> {
        self.0.lock().unwrap().series.get(series).cloned().unwrap_or_default()
    }

    /// The last value of a series; `None` if it is stale, or was never there.
    pub fn last(&self, series: &str) -> Option<f64> {
        self.of(series).last().filter(|value| !value.is_stale()).map(|value| value.get())
    }

    /// Whether the last value of a series is a stale marker.
    pub fn is_stale(&self, series: &str) -> bool {
        self.of(series).last().is_some_and(|value| value.is_stale())
    }

    pub fn series(&self) -> Vec<String> {
        self.0.lock().unwrap().series.keys().cloned().collect()
    }

    pub fn writes(&self) -> usize {
        self.0.lock().unwrap().writes
    }
}

/// Labels as remote write has them, read plainly.
pub fn series(mut labels: &[u8]) -> String {
    fn piece<'a>(bytes: &mut &'a [u8]) -> (u8, &'a [u8]) {
        let tag = bytes[0];
        let (mut len, mut at) = (0, 1);
        loop {
            len |= usize::from(bytes[at] & 0x7f) << (7 * (at - 1));
            at += 1;
            if bytes[at - 1] < 0x80 {
                break;
            }
        }
        let piece = &bytes[at..at + len];
        *bytes = &bytes[at + len..];
        (tag, piece)
    }
    let mut name = String::new();
    let mut pairs = Vec::new();
    while !labels.is_empty() {
        let (tag, mut label) = piece(&mut labels);
        assert_eq!(tag, 0x0a);
        let [(first, key), (second, value)] = [piece(&mut label), piece(&mut label)];
        assert_eq!((first, second, label.len()), (0x0a, 0x12, 0));
        let [key, value] = [key, value].map(|text| String::from_utf8(text.to_vec()).unwrap());
        match key.as_str() {
            "__name__" => name = value,
            _ => pairs.push((key, value)),
        }
    }
    assert!(pairs.is_sorted());
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{name}{{{}}}", pairs.join(","))
}

/// Waits until something holds.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(20), "{place}: waited in vain for: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
