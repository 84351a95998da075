//! Delivery to an endpoint that stores, refuses and fails by script: each row of what an answer means.

#[path = "support/scripted.rs"]
mod scripted;

use lugger::base::clock::Clock;
use lugger::base::limits::REQUEST_BYTES_MAX;
use lugger::base::metrics::Registry;
use lugger::base::secret::Secret;
use lugger::base::shutdown::{self, Trigger};
use lugger::base::wake::Wake;
use lugger::format::loki::{EntryAdapter, PushRequest, StreamAdapter, Timestamp, encode_snappy};
use lugger::model::batch::{Batch, Inbox, Ticket};
use lugger::model::budget::Budget;
use lugger::sink::dead_letter::DeadLetters;
use lugger::sink::endpoint::{self, Handle};
use lugger::sink::settings::{Auth, Credential, Endpoint, Tls};
use lugger::sink::status::State;
use prost::Message;
use scripted::{Entry, Push, Reply, Scripted, flat};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn settings(url: &str) -> Endpoint {
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
    }
}

/// A running endpoint and what its source would see.
struct Rig {
    handle: Handle,
    registry: Registry,
    dir: TempDir,
    inbox: Inbox,
    wake: Wake,
    settled: Vec<u64>,
    sent: u64,
    trigger: Trigger,
}

impl Rig {
    fn new(settings: Endpoint) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::default();
        let (trigger, shutdown) = shutdown::channel();
        let dead_letters = DeadLetters::new(dir.path(), &registry, Clock::System);
        let handle = endpoint::start(settings, dead_letters, &registry, shutdown, Duration::from_millis(50)).unwrap();
        let wake = Wake::new().unwrap();
        let inbox = Inbox::new(wake.clone());
        Rig { handle, registry, dir, inbox, wake, settled: Vec::new(), sent: 0, trigger }
    }

    fn push(&mut self, request: &PushRequest) {
        let budget = Budget::new(1 << 30);
        let body = encode_snappy(request).into();
        let entries = u32::try_from(request.entries()).unwrap();
        let ticket = Ticket::new(self.sent, 1, self.inbox.clone());
        // The charge wakes a handle of its own: only settling is waited for.
        let charge = budget.charge(1, &Wake::new().unwrap());
        let batch = Batch::new(body, request.encoded_len(), entries, Instant::now(), ticket, charge);
        self.handle.queue.push(Arc::new(batch));
        self.sent += 1;
    }

    /// Waits until all that was pushed is settled.
    async fn settled(&mut self) {
        while u64::try_from(self.settled.len()).unwrap() < self.sent {
            let wake = self.wake.clone();
            let waited = tokio::task::spawn_blocking(move || wake.wait(None, Some(Duration::from_secs(30))));
            waited.await.unwrap().unwrap();
            let before = self.settled.len();
            self.inbox.drain(&mut self.settled);
            assert!(self.settled.len() > before, "not settled: {:?}", self.handle.status());
        }
        let in_order: Vec<u64> = (0..self.sent).collect();
        assert_eq!(self.settled, in_order);
    }

    /// Waits until the status is as wanted.
    async fn until(&self, wanted: impl Fn(&Rig) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !wanted(self) {
            assert!(Instant::now() < deadline, "{:?}", self.handle.status());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn until_state(&self, state: State) {
        self.until(|rig| rig.handle.status().state == state).await;
    }

    fn letters(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.dir.path().join("dead-letters.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The lines in the dead letters.
    fn dead(&self) -> Vec<String> {
        self.letters().iter().map(|letter| letter["line"].as_str().unwrap().to_owned()).collect()
    }

    fn refused(&self, reason: &str) -> u64 {
        let labels = [("endpoint", "home"), ("reason", reason)];
        self.registry.counter("lugger_endpoint_refused_entries_total", "", &labels).get()
    }

    fn retries(&self, kind: &str) -> u64 {
        self.registry.counter("lugger_endpoint_retries_total", "", &[("endpoint", "home"), ("kind", kind)]).get()
    }
}

const T0: i64 = 1_700_000_000_000_000_000;

fn stream(labels: &str, lines: impl IntoIterator<Item = impl Into<String>>) -> StreamAdapter {
    let entries = lines.into_iter().enumerate().map(|(i, line)| EntryAdapter {
        timestamp: Some(Timestamp::from_ns(T0 + i64::try_from(i).unwrap())),
        line: line.into().into_bytes(),
        structured_metadata: Vec::new(),
    });
    StreamAdapter { labels: labels.into(), entries: entries.collect(), hash: 0 }
}

fn numbered(labels: &str, range: std::ops::Range<usize>) -> StreamAdapter {
    stream(labels, range.map(|i| format!("line {i}")))
}

fn request(streams: Vec<StreamAdapter>) -> PushRequest {
    PushRequest { streams }
}

/// A script that plays `replies` and then stores everything.
fn then_store(replies: Vec<Reply>) -> impl FnMut(&Push) -> Reply {
    let mut replies = replies.into_iter();
    move |_| replies.next().unwrap_or(Reply::Store)
}

#[tokio::test]
async fn what_is_sent_and_one_connection_for_many_batches() {
    let loki =
        Scripted::start(then_store(vec![Reply::status(200, "ok"), Reply::status(429, &"x".repeat(10_000))])).await;
    let mut settings = settings(&loki.url());
    settings.tenant_id = Some("lab".into());
    settings.headers = vec![("X-Extra".into(), Secret::new("value"))];
    settings.auth =
        Auth::Basic { username: "Aladdin".into(), password: Credential::Inline(Secret::new("open sesame")) };
    let mut rig = Rig::new(settings);
    for i in 0..20 {
        rig.push(&request(vec![numbered("{a=\"b\"}", i * 10..i * 10 + 10)]));
        rig.settled().await;
    }
    let seen = loki.seen();
    assert_eq!(seen.connections, 1);
    assert_eq!(seen.pushes.len(), 21);
    let push = &seen.pushes[0];
    assert_eq!(push.uri, "/loki/api/v1/push");
    assert_eq!(push.header("content-type"), "application/x-protobuf");
    assert_eq!(push.header("user-agent"), concat!("lugger/", env!("CARGO_PKG_VERSION")));
    assert_eq!(push.header("x-scope-orgid"), "lab");
    assert_eq!(push.header("x-extra"), "value");
    assert_eq!(push.header("authorization"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(push.header("accept-encoding"), "");
    let status = rig.handle.status();
    assert_eq!((status.entries, status.refused, status.retries, status.queued), (200, 0, 1, 0));
    assert_eq!(status.state, State::Ok);
    assert!(status.last_success_s > 0 && status.bytes > 0 && status.error.is_none());
}

#[tokio::test]
async fn transient_failures_are_retried_until_the_batch_is_stored() {
    let failures = vec![
        Reply::status(500, "boom"),
        Reply::status(502, ""),
        Reply::status(503, ""),
        Reply::status(504, ""),
        Reply::status(408, ""),
        Reply::status(425, ""),
        Reply::Close,
        Reply::Break(500),
        Reply::Break(400),
        Reply::status(599, ""),
    ];
    let loki = Scripted::start(then_store(failures)).await;
    let mut rig = Rig::new(settings(&loki.url()));
    let sent = request(vec![numbered("{a=\"b\"}", 0..10)]);
    rig.push(&sent);
    rig.settled().await;
    assert_eq!(loki.seen().stored, flat(&sent));
    assert_eq!(loki.seen().pushes.len(), 11);
    assert_eq!((rig.retries("server"), rig.retries("transport")), (7, 3));
    assert!(rig.dead().is_empty());
}

#[tokio::test]
async fn a_broken_body_behind_a_success_is_a_success() {
    let loki = Scripted::start(then_store(vec![Reply::Break(200)])).await;
    let mut rig = Rig::new(settings(&loki.url()));
    rig.push(&request(vec![numbered("{a=\"b\"}", 0..1)]));
    rig.settled().await;
    assert_eq!(loki.seen().pushes.len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_given_up_after_the_timeout_and_tried_again() {
    let loki = Scripted::start(then_store(vec![Reply::Hang])).await;
    let mut settings = settings(&loki.url());
    settings.timeout = Duration::from_millis(100);
    let mut rig = Rig::new(settings);
    rig.push(&request(vec![numbered("{a=\"b\"}", 0..3)]));
    rig.settled().await;
    assert!(rig.retries("timeout") >= 1);
    assert_eq!(loki.seen().stored.len(), 3);
}

#[tokio::test]
async fn nothing_is_lost_while_nobody_listens() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let mut rig = Rig::new(settings(&format!("http://{addr}/loki/api/v1/push")));
    let sent = request(vec![numbered("{a=\"b\"}", 0..3)]);
    rig.push(&sent);
    rig.until(|rig| rig.retries("connect") > 3).await;
    assert_eq!(rig.handle.status().state, State::Retrying);
    assert_eq!(rig.handle.status().queued, 1);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(addr).unwrap();
    let loki = Scripted::serve(socket.listen(16).unwrap(), None, |_| Reply::Store);
    rig.settled().await;
    assert_eq!(loki.seen().stored, flat(&sent));
}

#[tokio::test]
async fn configuration_and_blocking_keep_the_batch_and_degrade() {
    for (status, kind) in [
        (260, "blocked"),
        (206, "blocked"),
        (401, "credentials"),
        (403, "credentials"),
        (404, "address"),
        (405, "address"),
        (302, "address"),
    ] {
        let loki =
            Scripted::start(move |push| if push.connection == 0 { Reply::status(status, "no") } else { Reply::Store })
                .await;
        let mut rig = Rig::new(settings(&loki.url()));
        rig.push(&request(vec![numbered("{a=\"b\"}", 0..3)]));
        rig.until_state(State::Degraded).await;
        rig.until(|rig| rig.retries(kind) >= 2).await;
        assert_eq!(loki.seen().stored.len(), 0, "{status}");
        assert!(rig.handle.status().error.unwrap().contains(&format!("HTTP {status}: no")), "{status}");
        assert!(rig.settled.is_empty() && rig.dead().is_empty());
    }
}

#[tokio::test]
async fn a_degraded_endpoint_recovers() {
    let loki =
        Scripted::start(then_store(vec![Reply::status(404, ""), Reply::status(260, ""), Reply::status(401, "")])).await;
    let mut rig = Rig::new(settings(&loki.url()));
    rig.push(&request(vec![numbered("{a=\"b\"}", 0..3)]));
    rig.settled().await;
    assert_eq!(rig.handle.status().state, State::Ok);
    assert_eq!(loki.seen().stored.len(), 3);
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let headers = vec![("retry-after", "1".to_owned())];
    let tenant = "Ingestion rate limit exceeded for user fake (limit: 4 bytes/sec)".to_owned();
    let loki = Scripted::start(then_store(vec![Reply::Answer(429, headers, tenant)])).await;
    let mut rig = Rig::new(settings(&loki.url()));
    let started = Instant::now();
    rig.push(&request(vec![numbered("{a=\"b\"}", 0..3)]));
    rig.settled().await;
    // Backoff alone would be 4 ms.
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(rig.retries("rate_limited"), 1);
}

#[tokio::test]
async fn a_request_above_the_burst_is_divided() {
    let loki = Scripted::start(|push| {
        if push.entries().len() > 3 {
            Reply::status(429, "Ingestion rate limit exceeded for user fake")
        } else {
            Reply::Store
        }
    })
    .await;
    let mut rig = Rig::new(settings(&loki.url()));
    let sent = request(vec![numbered("{a=\"b\"}", 0..10)]);
    rig.push(&sent);
    rig.settled().await;
    assert_eq!(loki.seen().stored, flat(&sent));
    assert!(rig.dead().is_empty());
}

#[tokio::test]
async fn too_large_is_divided_in_order_and_never_sent_again_at_that_size() {
    for (status, text) in [
        (413, ""),
        (500, "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (9 vs. 8)"),
    ] {
        let loki = Scripted::start(
            move |push| {
                if push.raw_bytes > 20_000 { Reply::status(status, text) } else { Reply::Store }
            },
        )
        .await;
        let mut rig = Rig::new(settings(&loki.url()));
        let long = |i: usize| format!("{i} {}", "x".repeat(500));
        let sent = request(vec![
            stream("{a=\"1\"}", (0..100).map(long)),
            stream("{a=\"2\"}", (0..3).map(long)),
            stream("{a=\"3\"}", vec!["before".to_owned(), "y".repeat(30_000), "after".to_owned()]),
        ]);
        rig.push(&sent);
        rig.settled().await;
        let seen = loki.seen();
        let expected: Vec<Entry> = flat(&sent).into_iter().filter(|e| e.2.len() < 30_000).collect();
        assert_eq!(seen.stored, expected);
        let mut refused: Vec<usize> = seen.pushes.iter().map(|p| p.raw_bytes).filter(|b| *b > 20_000).collect();
        let count = refused.len();
        refused.sort_unstable();
        refused.dedup();
        assert_eq!(refused.len(), count, "a size was sent twice");
        assert_eq!(rig.dead(), ["y".repeat(30_000)]);
        assert_eq!((rig.refused("too_large"), rig.handle.status().entries), (1, 105));
    }
}

#[tokio::test]
async fn an_endpoint_that_calls_everything_too_large_loses_nothing() {
    let loki = Scripted::start(then_store(vec![Reply::status(413, ""); 12])).await;
    let mut rig = Rig::new(settings(&loki.url()));
    let sent = request(vec![numbered("{a=\"b\"}", 0..4)]);
    rig.push(&sent);
    rig.settled().await;
    assert_eq!(loki.seen().stored, flat(&sent));
    assert!(rig.dead().is_empty());
}

#[tokio::test]
async fn a_batch_above_the_cap_is_divided_before_it_is_sent() {
    let loki = Scripted::start(|_| Reply::Store).await;
    let mut rig = Rig::new(settings(&loki.url()));
    let sent = request(vec![stream("{a=\"1\"}", (0..40).map(|i| format!("{i} {}", "x".repeat(200_000))))]);
    assert!(sent.encoded_len() > 2 * REQUEST_BYTES_MAX);
    rig.push(&sent);
    rig.settled().await;
    let seen = loki.seen();
    assert!(seen.pushes.iter().all(|push| push.raw_bytes <= REQUEST_BYTES_MAX));
    assert!(seen.pushes.len() <= 4, "{}", seen.pushes.len());
    assert!(seen.stored == flat(&sent));
}

#[tokio::test]
async fn a_partial_refusal_is_not_sent_again() {
    let text = "entry with timestamp 2023-11-14 22:13:20.000000001 +0000 UTC ignored, reason: 'entry too far behind, entry \
                timestamp is: 2023-11-14T22:13:20Z, oldest acceptable timestamp is: 2023-11-14T23:13:20Z',\n\
                user 'fake', total ignored: 1 out of 3 for stream: {a=\"b\", service_name=\"b\"}";
    let loki = Scripted::start(move |push| {
        let stored = push.entries().into_iter().filter(|e| e.1 != T0 + 1).collect();
        Reply::StoreOnly(stored, 400, text.into())
    })
    .await;
    let mut rig = Rig::new(settings(&loki.url()));
    rig.push(&request(vec![numbered("{a=\"b\"}", 0..3)]));
    rig.settled().await;
    assert_eq!(loki.seen().pushes.len(), 1);
    assert_eq!(rig.dead(), ["line 1"]);
    assert_eq!((rig.refused("too_far_behind"), rig.handle.status().entries, rig.handle.status().refused), (1, 2, 1));
    let letter = &rig.letters()[0];
    assert_eq!(letter["labels"], "{a=\"b\"}");
    assert_eq!(letter["timestamp"], (T0 + 1).to_string());
    assert!(letter["message"].as_str().unwrap().starts_with("HTTP 400: entry with timestamp"));
}

#[tokio::test]
async fn refusals_that_name_no_entry_are_counted() {
    let text = "user 'fake', total ignored: 2 out of 3 for stream: {a=\"b\"}";
    let loki = Scripted::start(then_store(vec![Reply::status(400, text)])).await;
    let mut rig = Rig::new(settings(&loki.url()));
    rig.push(&request(vec![numbered("{a=\"b\"}", 0..3)]));
    rig.settled().await;
    assert_eq!((rig.refused("other"), rig.handle.status().entries), (2, 1));
    assert!(rig.dead().is_empty());
}

#[tokio::test]
async fn a_stream_with_labels_that_cannot_be_parsed_is_found_and_given_up_alone() {
    let loki = Scripted::start(|push| {
        if push.request.streams.iter().any(|s| s.labels.contains("bad")) {
            Reply::status(400, "couldn't parse labels: 1:2: parse error")
        } else {
            Reply::Store
        }
    })
    .await;
    let mut rig = Rig::new(settings(&loki.url()));
    let mut streams: Vec<_> = (0..7).map(|i| numbered(&format!("{{a=\"{i}\"}}"), 0..50)).collect();
    streams.insert(4, numbered("{bad}", 0..50));
    rig.push(&request(streams.clone()));
    rig.settled().await;
    streams.remove(4);
    assert_eq!(loki.seen().stored, flat(&request(streams)));
    assert_eq!((rig.dead().len(), rig.refused("invalid_labels")), (50, 50));
    assert!(loki.seen().pushes.len() < 16);
}

#[tokio::test]
async fn an_endpoint_that_refuses_everything_with_a_foreign_text_loses_nothing() {
    for status in [400, 422, 418] {
        let loki = Scripted::start(then_store(vec![Reply::status(status, "<html>Bad Request</html>"); 300])).await;
        let mut rig = Rig::new(settings(&loki.url()));
        let sent = request(vec![numbered("{a=\"1\"}", 0..40), numbered("{a=\"2\"}", 0..40)]);
        rig.push(&sent);
        rig.until_state(State::Degraded).await;
        assert!(rig.handle.status().error.unwrap().contains("Bad Request"));
        rig.settled().await;
        let mut stored = loki.seen().stored.clone();
        stored.sort();
        assert_eq!(stored, flat(&sent));
        assert!(rig.dead().is_empty(), "{:?}", rig.dead());
        assert_eq!((rig.handle.status().entries, rig.handle.status().refused), (80, 0));
    }
}

#[tokio::test]
async fn an_empty_batch_is_dropped() {
    let loki = Scripted::start(|_| Reply::status(422, "at least one valid stream is required for ingestion")).await;
    let mut rig = Rig::new(settings(&loki.url()));
    rig.push(&request(vec![]));
    rig.settled().await;
    assert_eq!(loki.seen().pushes.len(), 1);
}

#[tokio::test]
async fn shutdown_finishes_the_request_under_way_and_leaves_the_rest() {
    let loki = Scripted::start(|push| if push.entries().len() == 2 { Reply::Hang } else { Reply::Store }).await;
    let mut rig = Rig::new(settings(&loki.url()));
    rig.push(&request(vec![numbered("{a=\"b\"}", 0..1)]));
    rig.settled().await;
    rig.push(&request(vec![numbered("{a=\"b\"}", 1..3)]));
    rig.push(&request(vec![numbered("{a=\"b\"}", 3..4)]));
    while loki.seen().pushes.len() < 2 {
        tokio::task::yield_now().await;
    }
    rig.trigger.raise();
    tokio::time::timeout(Duration::from_secs(30), &mut rig.handle.task).await.unwrap().unwrap();
    rig.inbox.drain(&mut rig.settled);
    assert_eq!(rig.settled, [0]);
    assert_eq!(loki.seen().stored.len(), 1);
}

#[tokio::test]
async fn shutdown_ends_a_pause() {
    let mut settings = settings("http://127.0.0.1:1/loki/api/v1/push");
    settings.backoff = (Duration::from_secs(3600), Duration::from_secs(3600));
    let mut rig = Rig::new(settings);
    rig.push(&request(vec![numbered("{a=\"b\"}", 0..1)]));
    rig.until(|rig| rig.retries("connect") == 1).await;
    rig.trigger.raise();
    tokio::time::timeout(Duration::from_secs(30), &mut rig.handle.task).await.unwrap().unwrap();
}
