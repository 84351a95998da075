//! A running endpoint and what its source would see of it.

// Each test binary uses its part of this.
#![allow(dead_code)]

use lugger::base::clock::Clock;
use lugger::base::metrics::Registry;
use lugger::base::shutdown::{self, Trigger};
use lugger::base::wake::Wake;
use lugger::format::loki::{EntryAdapter, PushRequest, StreamAdapter, Timestamp, encode_snappy};
use lugger::model::batch::{Batch, Inbox, Ticket};
use lugger::model::budget::Budget;
use lugger::sink::dead_letter::DeadLetters;
use lugger::sink::endpoint::{self, Handle};
use lugger::sink::queue::Queue;
use lugger::sink::settings::{Auth, Endpoint, Tls};
use lugger::sink::status::State;
use prost::Message;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub fn settings(url: &str) -> Endpoint {
    Endpoint {
        name: "home".into(),
        url: url.into(),
        tenant_id: None,
        headers: Vec::new(),
        auth: Auth::None,
        tls: Tls::default(),
        proxy: None,
        timeout: Duration::from_secs(20),
        batch_bytes: 1 << 20,
        batch_wait: Duration::from_millis(500),
        backoff: (Duration::from_millis(1), Duration::from_millis(4)),
        rate: None,
        max_streams: None,
    }
}

/// A running endpoint.
pub struct Rig {
    pub handle: Handle,
    pub registry: Registry,
    pub dir: TempDir,
    pub inbox: Inbox,
    pub wake: Wake,
    pub settled: Vec<u64>,
    pub sent: u64,
    pub trigger: Trigger,
}

impl Rig {
    pub fn new(settings: Endpoint) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::default();
        let (trigger, shutdown) = shutdown::channel();
        let dead_letters = DeadLetters::new(dir.path(), &registry, Clock::System);
        let handle =
            endpoint::start(settings, Queue::default(), dead_letters, &registry, shutdown, Duration::from_millis(50))
                .unwrap();
        let wake = Wake::new().unwrap();
        let inbox = Inbox::new(wake.clone());
        Rig { handle, registry, dir, inbox, wake, settled: Vec::new(), sent: 0, trigger }
    }

    pub fn push(&mut self, request: &PushRequest) {
        self.push_of(request, None);
    }

    /// The same, as another tenant's.
    pub fn push_of(&mut self, request: &PushRequest, tenant: Option<&str>) {
        let budget = Budget::new(1 << 30, lugger::base::metrics::Gauge::default());
        let body = encode_snappy(request).into();
        let entries = u32::try_from(request.entries()).unwrap();
        let ticket = Ticket::new(self.sent, 1, self.inbox.clone());
        // The charge wakes a handle of its own: only settling is waited for.
        let charge = budget.charge(1, &Wake::new().unwrap());
        let batch = Batch::new(body, request.encoded_len(), entries, Instant::now(), ticket, charge);
        self.handle.queue.push(Arc::new(batch.of_tenant(tenant.map(Arc::from))));
        self.sent += 1;
    }

    /// Waits until all that was pushed is settled.
    pub async fn settled(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while u64::try_from(self.settled.len()).unwrap() < self.sent {
            // A wake-up may be about what was drained already.
            assert!(Instant::now() < deadline, "not settled: {:?}", self.handle.status());
            let wake = self.wake.clone();
            let waited = tokio::task::spawn_blocking(move || wake.wait(None, Some(Duration::from_secs(30))));
            waited.await.unwrap().unwrap();
            self.inbox.drain(&mut self.settled);
        }
        let in_order: Vec<u64> = (0..self.sent).collect();
        assert_eq!(self.settled, in_order);
    }

    /// Waits until the status is as wanted.
    pub async fn until(&self, wanted: impl Fn(&Rig) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !wanted(self) {
            assert!(Instant::now() < deadline, "{:?}", self.handle.status());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn until_state(&self, state: State) {
        self.until(|rig| rig.handle.status().state == state).await;
    }

    pub fn letters(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.dir.path().join("dead-letters.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The lines in the dead letters.
    pub fn dead(&self) -> Vec<String> {
        self.letters().iter().map(|letter| letter["line"].as_str().unwrap().to_owned()).collect()
    }

    pub fn refused(&self, reason: &str) -> u64 {
        let labels = [("endpoint", "home"), ("reason", reason)];
        self.registry.counter("lugger_endpoint_refused_entries_total", "", &labels).get()
    }

    pub fn retries(&self, kind: &str) -> u64 {
        self.registry.counter("lugger_endpoint_retries_total", "", &[("endpoint", "home"), ("kind", kind)]).get()
    }
}

pub const T0: i64 = 1_700_000_000_000_000_000;

pub fn stream(labels: &str, lines: impl IntoIterator<Item = impl Into<String>>) -> StreamAdapter {
    let entries = lines.into_iter().enumerate().map(|(i, line)| EntryAdapter {
        timestamp: Some(Timestamp::from_ns(T0 + i64::try_from(i).unwrap())),
        line: line.into().into_bytes(),
        structured_metadata: Vec::new(),
    });
    StreamAdapter { labels: labels.into(), entries: entries.collect(), hash: 0 }
}

pub fn numbered(labels: &str, range: std::ops::Range<usize>) -> StreamAdapter {
    stream(labels, range.map(|i| format!("line {i}")))
}

pub fn request(streams: Vec<StreamAdapter>) -> PushRequest {
    PushRequest { streams }
}
