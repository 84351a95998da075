//! A running sink, points for it, and a receiver that understands them.

// Not every test uses all.
#![allow(dead_code)]

use crate::scripted::{Content, Push, Reply, Scripted};
use hyper::HeaderMap;
use lugger::base::clock::Clock;
use lugger::base::metrics::Registry;
use lugger::base::shutdown::{self, Trigger};
use lugger::format::remote_write::push_label;
use lugger::format::remote_write_read::{Decoded, read};
use lugger::format::write_response::Protocol;
use lugger::model::points::{Output, Point, Points};
use lugger::model::samples::{Family, Kind};
use lugger::sink::remote_write::endpoint::{self, Handle, Prepared};
use lugger::sink::remote_write::settings::{Endpoint, Message};
use lugger::sink::settings::{Auth, Tls};
use lugger::sink::spool::Store;
use lugger::sink::status::State;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Name and labels, milliseconds, bits.
pub type Sample = (String, i64, u64);

/// One request as it came in.
#[derive(Clone)]
pub struct Write {
    pub protocol: Protocol,
    pub decoded: Decoded,
}

impl Content for Write {
    type Item = Sample;
    const ONCE: bool = false;

    fn parse(headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
        let protocol = match header("content-type") {
            "application/x-protobuf" => Protocol::V1,
            "application/x-protobuf;proto=io.prometheus.write.v2.Request" => Protocol::V2,
            other => panic!("content type {other:?}"),
        };
        assert_eq!(header("x-prometheus-remote-write-version"), protocol.version());
        assert_eq!(header("content-encoding"), "snappy");
        Write { protocol, decoded: read(protocol, body, 1 << 26).unwrap() }
    }

    fn items(&self) -> Vec<Sample> {
        let series = self.decoded.series.iter();
        series.flat_map(|s| s.points.iter().map(|p| (text(&s.labels), p.time_ms, p.bits))).collect()
    }

    fn stored_headers(&self) -> Vec<(&'static str, String)> {
        match self.protocol {
            Protocol::V1 => Vec::new(),
            Protocol::V2 => vec![
                ("x-prometheus-remote-write-samples-written", self.decoded.samples().to_string()),
                ("x-prometheus-remote-write-exemplars-written", self.decoded.exemplars().to_string()),
            ],
        }
    }
}

/// A receiver on a free port.
pub async fn receiver(script: impl FnMut(&Push<Write>) -> Reply<Sample> + Send + 'static) -> Scripted<Write> {
    Scripted::listen(TcpListener::bind("127.0.0.1:0").await.unwrap(), None, script)
}

/// Plays `replies`, then stores everything.
pub fn then_store(replies: Vec<Reply<Sample>>) -> impl FnMut(&Push<Write>) -> Reply<Sample> {
    let mut replies = replies.into_iter();
    move |_| replies.next().unwrap_or(Reply::Store)
}

pub fn url(receiver: &Scripted<Write>) -> String {
    format!("http://{}/api/v1/write", receiver.addr)
}

/// A free address of this host where nobody listens.
pub fn nowhere() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Listens at an address that was used before.
pub async fn receiver_at(
    addr: std::net::SocketAddr,
    script: impl FnMut(&Push<Write>) -> Reply<Sample> + Send + 'static,
) -> Scripted<Write> {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(addr).unwrap();
    Scripted::listen(socket.listen(16).unwrap(), None, script)
}

pub fn settings(url: &str) -> Endpoint {
    Endpoint {
        name: "prom".into(),
        url: url.into(),
        headers: Vec::new(),
        auth: Auth::None,
        tls: Tls::default(),
        proxy: None,
        timeout: Duration::from_secs(20),
        write_relabel: Vec::new(),
        message: Message::V1,
        exemplars: false,
        metadata: None,
        max_samples: 2000,
        deadline: Duration::from_millis(5),
        backoff: (Duration::from_millis(1), Duration::from_millis(4)),
        sample_age_limit: None,
        retry_rate_limited: true,
    }
}

/// A running sink.
pub struct Rig {
    pub handle: Handle,
    pub output: Arc<dyn Output>,
    pub registry: Registry,
    pub trigger: Trigger,
}

impl Rig {
    pub fn new(settings: Endpoint) -> Rig {
        Self::with(settings, None)
    }

    /// With a spool in this directory.
    pub fn spooled(settings: Endpoint, spool: &Path) -> Rig {
        Self::with(settings, Some(spool))
    }

    fn with(settings: Endpoint, spool: Option<&Path>) -> Rig {
        let registry = Registry::default();
        let (trigger, shutdown) = shutdown::channel();
        let store =
            spool.map(|path| Store::of_metrics(path, 64 << 20, 7 * 24 * 3600, Clock::System, &registry, "prom"));
        let handle = endpoint::start(settings, store, &registry, shutdown, Duration::from_secs(6)).unwrap();
        Rig { output: handle.output(), handle, registry, trigger }
    }

    pub fn write(&self, points: &Points) {
        self.output.write(points);
    }

    /// Writes one point.
    pub fn one(&self, name: &str, time_ms: i64, value: f64) {
        self.write(&points(&[(name, time_ms, value)]));
    }

    pub fn reconfigure(&self, settings: Endpoint) {
        self.handle.reconfigure(Prepared::new(settings).unwrap());
    }

    /// Waits until it is as wanted.
    #[track_caller]
    pub fn until<'a>(&'a self, what: &'a str, wanted: impl Fn(&Rig) -> bool + 'a) -> impl Future<Output = ()> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !wanted(self) {
                let status = self.handle.status();
                assert!(Instant::now() < deadline, "{place}: {what}: {status:?}\n{}", self.registry.render());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    /// Waits until so many samples are stored, refused or dropped.
    #[track_caller]
    pub fn settled(&self, samples: u64) -> impl Future<Output = ()> + '_ {
        self.until("samples are settled", move |rig| {
            let status = rig.handle.status();
            status.entries + status.refused + rig.all_dropped() >= samples
        })
    }

    #[track_caller]
    pub fn until_state(&self, state: State) -> impl Future<Output = ()> + '_ {
        self.until("it is in a state", move |rig| rig.handle.status().state == state)
    }

    fn counter(&self, name: &'static str, key: &str, value: &str) -> u64 {
        self.registry.counter(name, "", &[("remote_name", "prom"), (key, value)]).get()
    }

    pub fn failed(&self, reason: &str) -> u64 {
        self.counter("lugger_remote_write_failed_samples_total", "reason", reason)
    }

    pub fn dropped(&self, reason: &str) -> u64 {
        self.counter("lugger_remote_write_dropped_samples_total", "reason", reason)
    }

    pub fn all_dropped(&self) -> u64 {
        ["queue_full", "age_limit", "relabel", "too_large", "stopped", "unreadable"]
            .iter()
            .map(|reason| self.dropped(reason))
            .sum()
    }

    pub fn retries(&self, kind: &str) -> u64 {
        self.counter("lugger_remote_write_retries_total", "kind", kind)
    }

    pub fn gauge(&self, name: &'static str) -> f64 {
        self.registry.gauge(name, "", &[("remote_name", "prom")]).get()
    }

    pub fn frames(&self) -> u64 {
        self.gauge("lugger_remote_write_spool_frames") as u64
    }

    /// As after `kill -9`, as far as that goes within a process.
    pub async fn kill(self) {
        self.handle.task.abort();
        let _ = self.handle.task.await;
    }

    /// A graceful end.
    pub async fn stop(self) -> Registry {
        self.trigger.raise();
        self.handle.task.await.unwrap();
        self.registry
    }
}

/// Encoded labels of a series with this name.
pub fn labels(name: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut labels = Vec::new();
    push_label("__name__", name, &mut labels);
    for (name, value) in more {
        push_label(name, value, &mut labels);
    }
    labels
}

/// Labels as the scripted receiver keeps them.
pub fn text(mut labels: &[u8]) -> String {
    // Each is a tag, a length, and two texts of less than 128 bytes.
    let mut all = Vec::new();
    let take = |labels: &mut &[u8]| {
        let (head, rest) = labels.split_at(2);
        let (text, rest) = rest.split_at(usize::from(head[1]));
        *labels = rest;
        text.to_vec()
    };
    while !labels.is_empty() {
        let mut label = &take(&mut labels)[..];
        let (name, value) = (take(&mut label), take(&mut label));
        all.push(format!("{}={}", String::from_utf8_lossy(&name), String::from_utf8_lossy(&value)));
    }
    all.join(",").replacen("__name__=", "", 1)
}

pub fn point(time_ms: i64, value: f64) -> Point {
    Point { bits: value.to_bits(), time_ms, start_ms: 0 }
}

pub fn points(all: &[(&str, i64, f64)]) -> Points {
    let mut points = Points::default();
    for (name, time_ms, value) in all {
        points.add(&labels(name, &[]), point(*time_ms, *value));
    }
    points
}

pub fn sample(name: &str, time_ms: i64, value: f64) -> Sample {
    (name.to_owned(), time_ms, value.to_bits())
}

pub fn family<'a>(name: &'a str, help: &'a str) -> Family<'a> {
    Family { name, help, unit: "", kind: Kind::Counter }
}

/// Samples of the series `x`, each at its own time.
pub fn numbered(range: std::ops::Range<i64>) -> Vec<Sample> {
    range.map(|at| sample("x", at, at as f64)).collect()
}

pub fn numbered_points(range: std::ops::Range<i64>) -> Points {
    let mut points = Points::default();
    for at in range {
        points.add(&labels("x", &[]), point(at, at as f64));
    }
    points
}
