//! The embedded receiver over a real socket: what it takes and refuses, what its page gets, its bounds.

use lugger::base::limits::{RECEIVER_BODY_BYTES, RECEIVER_BYTES, RECEIVER_DECODED_BYTES, RECEIVER_ENTRIES};
use lugger::base::shutdown::{self, Trigger};
use lugger::demo::receiver::{PUSH_PATH, Receiver, Watch};
use lugger::format::loki::{EntryAdapter, LabelPairAdapter, PushRequest, StreamAdapter, Timestamp, encode_snappy};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";
const JSON: &str = "Content-Type: application/json\r\n";
const HOSTILE: &str = "<script>alert(1)</script>\u{0}\u{1b}[2J\"'&";

struct Server {
    address: SocketAddr,
    watch: Watch,
    trigger: Trigger,
    task: JoinHandle<()>,
    seen: Arc<AtomicUsize>,
}

async fn start() -> Server {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    let observer = Arc::new(move |push: &lugger::demo::Push| {
        counter.fetch_add(push.entries(), Ordering::Relaxed);
    });
    let receiver = Receiver::bind("127.0.0.1:0".parse().unwrap(), observer).await.unwrap();
    let (address, watch) = (receiver.address(), receiver.watch());
    let (trigger, stopping) = shutdown::channel();
    Server { address, watch, trigger, task: tokio::spawn(receiver.serve(stopping)), seen }
}

/// Sends a request and returns status and body. A server that answers before it has read everything may close early.
async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn push(server: &Server, headers: &str, body: &[u8]) -> (u16, String) {
    ask(server.address, "POST", PUSH_PATH, headers, body).await
}

async fn tail(server: &Server, query: &str) -> Value {
    let (status, body) = ask(server.address, "GET", &format!("/api/tail?{query}"), "", &[]).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn request(labels: &str, lines: impl IntoIterator<Item = String>) -> PushRequest {
    let timestamp = Some(Timestamp { seconds: 1_700_000_000, nanos: 5_000_000 });
    let meta = vec![LabelPairAdapter { name: "trace".to_owned(), value: "t1".to_owned() }];
    let entries = lines
        .into_iter()
        .map(|line| EntryAdapter { timestamp, line: line.into_bytes(), structured_metadata: meta.clone() })
        .collect();
    PushRequest { streams: vec![StreamAdapter { labels: labels.to_owned(), entries, hash: 0 }] }
}

#[tokio::test]
async fn both_forms_are_taken_and_shown() {
    let server = start().await;
    let body = encode_snappy(&request("{job=\"a\", host=\"h\"}", ["one".to_owned(), HOSTILE.to_owned()]));
    assert_eq!(push(&server, PROTOBUF, &body).await, (204, String::new()));
    let json = br#"{"streams":[{"stream":{"job":"b"},"values":[["1700000001000000000","two"]]}]}"#;
    assert_eq!(push(&server, JSON, json).await, (204, String::new()));
    let shown = tail(&server, "after=0&limit=10").await;
    assert_eq!(shown["next"], 3);
    assert_eq!(shown["entries"][0]["line"], "one");
    assert_eq!(shown["entries"][0]["ms"], 1_700_000_000_005_i64);
    assert_eq!(shown["entries"][0]["meta"][0], serde_json::json!(["trace", "t1"]));
    assert_eq!(shown["entries"][1]["line"], HOSTILE, "shown as sent, as JSON");
    let stream = shown["entries"][2]["s"].as_u64().unwrap();
    assert_eq!(shown["streams"][stream as usize], serde_json::json!([["job", "b"]]));
    assert_eq!(shown["totals"]["entries"], 3);
    assert_eq!(shown["totals"]["streams"], 2);
    assert_eq!(tail(&server, "after=3").await["entries"], serde_json::json!([]));
    assert_eq!(tail(&server, "filter=ALERT(1)").await["entries"][0]["n"], 2);
    assert_eq!(server.seen.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn each_bad_push_is_refused_with_its_reason_and_counted() {
    let server = start().await;
    let good = encode_snappy(&request("{a=\"1\"}", ["x".to_owned()]));
    let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; RECEIVER_DECODED_BYTES + 1]).unwrap();
    let not_protobuf = snap::raw::Encoder::new().compress_vec(&[0xff; 20]).unwrap();
    let labels = |labels: &str| encode_snappy(&request(labels, ["x".to_owned()]));
    let cases: [(&str, &[u8], u16, &str); 12] = [
        ("", &good, 400, "content type"),
        ("Content-Type: text/plain\r\n", &good, 400, "content type"),
        (PROTOBUF, b"not snappy at all", 400, "snappy"),
        (PROTOBUF, &not_protobuf, 400, "protobuf"),
        (PROTOBUF, &bomb, 413, "after decompression"),
        (PROTOBUF, &labels("no braces"), 400, "labels"),
        (PROTOBUF, &labels("{}"), 400, "labels"),
        (PROTOBUF, &encode_snappy(&PushRequest::default()), 422, "no streams"),
        ("Content-Type: application/x-protobuf\r\nContent-Encoding: zstd\r\n", &good, 400, "content encoding"),
        (JSON, b"{\"streams\":", 400, "JSON"),
        (JSON, br#"{"streams":[{"stream":{"a":"b"},"values":[[5,"x"]]}]}"#, 400, "JSON"),
        (PROTOBUF, &vec![b'x'; RECEIVER_BODY_BYTES + 1], 413, "larger than"),
    ];
    for (headers, body, status, word) in &cases {
        let (got, reason) = push(&server, headers, body).await;
        assert_eq!(got, *status, "{headers} {reason}");
        assert!(reason.contains(word), "{reason}");
    }
    let totals = server.watch.totals();
    assert_eq!((totals.refused, totals.entries), (cases.len() as u64, 0));
    assert!(totals.last_refusal.unwrap().contains("larger than"));
    assert_eq!(push(&server, PROTOBUF, &good).await.0, 204, "a bad push changes nothing for the next one");
}

#[tokio::test]
async fn a_hundred_thousand_entries_leave_bounded_memory() {
    let server = start().await;
    for round in 0..100 {
        let lines = (0..1_000).map(|i| format!("round {round} line {i} {}", "x".repeat(300)));
        let body = encode_snappy(&request(&format!("{{job=\"j{round}\"}}"), lines));
        assert_eq!(push(&server, PROTOBUF, &body).await.0, 204);
    }
    let (bytes, entries) = server.watch.kept();
    assert!(entries <= RECEIVER_ENTRIES && bytes <= RECEIVER_BYTES, "{entries} {bytes}");
    assert_eq!(server.watch.totals().entries, 100_000);
    let shown = tail(&server, "after=10&limit=500").await;
    assert_eq!(shown["entries"].as_array().unwrap().len(), 500);
    assert_eq!(shown["skipped"], 100_000 - 10 - 500);
    assert!(shown["entries"][499]["line"].as_str().unwrap().starts_with("round 99 line 999 "));
}

#[tokio::test]
async fn routes_methods_and_head() {
    let server = start().await;
    for path in ["/", "/page.css", "/page.js", "/ready", "/api/tail"] {
        let (status, body) = ask(server.address, "GET", path, "", &[]).await;
        assert!(status == 200 && !body.is_empty(), "{path}");
        assert_eq!(ask(server.address, "HEAD", path, "", &[]).await, (200, String::new()), "{path}");
        assert_eq!(ask(server.address, "POST", path, "", b"x").await.0, 405, "{path}");
    }
    assert_eq!(ask(server.address, "GET", PUSH_PATH, "", &[]).await.0, 405);
    assert_eq!(ask(server.address, "GET", "/loki/api/v1/labels", "", &[]).await.0, 404);
    assert_eq!(ask(server.address, "GET", "/api/tail?after=x", "", &[]).await.0, 400);
    let (_, script) = ask(server.address, "GET", "/page.js", "", &[]).await;
    for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "setHTML"] {
        assert!(!script.contains(word), "{word}");
    }
}

#[tokio::test]
async fn a_foreign_site_does_not_see_the_lines() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /api/tail HTTP/1.1\r\nHost: evil.example:3100\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

/// Time is the runtime's own and runs ahead when everything waits.
#[tokio::test(start_paused = true)]
async fn slow_clients_stop_nobody_and_are_cut() {
    let server = start().await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!("POST {PUSH_PATH} HTTP/1.1\r\nHost: localhost\r\n{PROTOBUF}Content-Length: 1000\r\n\r\nxx");
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let good = encode_snappy(&request("{a=\"1\"}", ["x".to_owned()]));
    assert_eq!(push(&server, PROTOBUF, &good).await.0, 204);
    for stream in &mut slow {
        let mut answer = [0u8; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408");
    }
}

/// A reader that asks and never reads must not hold its answer for ever, nor stop others.
#[tokio::test]
async fn a_client_that_does_not_read_stops_nobody_and_stopping_ends_it() {
    let server = start().await;
    let lines = (0..1_000).map(|i| format!("{i} {}", "x".repeat(1_900)));
    assert_eq!(push(&server, PROTOBUF, &encode_snappy(&request("{a=\"1\"}", lines))).await.0, 204);
    let mut deaf = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..20 {
        deaf.write_all(b"GET /api/tail?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    }
    assert_eq!(ask(server.address, "GET", "/ready", "", &[]).await.0, 200);
    server.trigger.raise();
    server.task.await.unwrap();
}
