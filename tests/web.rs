//! The status server over a real socket: every route, bad requests, slow clients, hostile text, stopping.

use lugger::agent::status::{Endpoint, Snapshot, Source, Spool};
use lugger::base::metrics::Registry;
use lugger::base::serve::{ListenError, Listener};
use lugger::base::shutdown::{self, Trigger};
use lugger::web::{ReloadRequest, View, Web};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const HOSTILE: &str = "</script><img src=x onerror=alert(1)>\"'&\u{202e}";

struct Server {
    address: SocketAddr,
    trigger: Trigger,
    task: JoinHandle<()>,
    snapshot: Arc<Mutex<Snapshot>>,
    registry: Registry,
}

fn snapshot() -> Snapshot {
    Snapshot {
        version: "1.2.3",
        started_s: 1_700_000_000,
        ready: true,
        problems: Vec::new(),
        notes: Vec::new(),
        in_flight_bytes: 1,
        in_flight_bytes_max: 2,
        sources: vec![Source {
            name: HOSTILE.to_owned(),
            kind: "file",
            followed: 1,
            bytes: 2,
            lines: 3,
            lag_bytes: 4,
            lag_s: 0.5,
            errors: vec![HOSTILE.to_owned()],
        }],
        endpoints: vec![Endpoint {
            name: "home".to_owned(),
            kind: "loki",
            url: "http://127.0.0.1:1/".to_owned(),
            state: "ok",
            queued: 0,
            spool: Some(Spool { bytes: 5, frames: 2, oldest_s: 7 }),
            entries: 1,
            bytes: 1,
            refused: 0,
            retries: 0,
            last_success_s: 0,
            error: None,
        }],
    }
}

async fn start() -> Server {
    start_at("127.0.0.1:0", None).await
}

async fn start_at(address: &str, reload: Option<mpsc::Sender<ReloadRequest>>) -> Server {
    let web = Web::bind(address.parse().unwrap()).await.unwrap();
    let address = web.address();
    let (trigger, stopping) = shutdown::channel();
    let snapshot = Arc::new(Mutex::new(snapshot()));
    let (registry, shared) = (Registry::default(), snapshot.clone());
    let view = View {
        snapshot: Arc::new(move || shared.lock().unwrap().clone()),
        registry: registry.clone(),
        host: Arc::new(|| None),
        reload,
    };
    let task = tokio::spawn(web.serve(view, stopping));
    Server { address, trigger, task, snapshot, registry }
}

/// Sends `request` as it is, with `Connection: close` expected in it, and returns the whole answer.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> String {
    raw(address, &format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")).await
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn ready_says_yes_or_what_is_wrong() {
    let server = start().await;
    let answer = ask(server.address, "GET", "/ready", "").await;
    assert_eq!((status(&answer), body(&answer)), (200, "ready\n"));
    {
        let mut snapshot = server.snapshot.lock().unwrap();
        snapshot.ready = false;
        snapshot.problems = vec!["first\nthing".to_owned(), "second".to_owned()];
    }
    let answer = ask(server.address, "GET", "/ready", "").await;
    assert_eq!((status(&answer), body(&answer)), (503, "first thing\nsecond\n"));
    let answer = ask(server.address, "GET", "/ready", "Accept: text/html, application/json;q=0.9\r\n").await;
    assert_eq!(status(&answer), 503);
    let value: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!((&value["ready"], &value["problems"][1]), (&false.into(), &"second".into()));
}

#[tokio::test]
async fn metrics_have_the_agents_and_the_process() {
    let server = start().await;
    server.registry.counter("lugger_test_total", "Test.", &[("source", HOSTILE)]).add(7);
    let answer = ask(server.address, "GET", "/metrics", "").await;
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    for line in [
        "lugger_test_total{source=",
        "lugger_build_info{version=\"",
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "process_start_time_seconds ",
    ] {
        assert_eq!(body(&answer).lines().filter(|l| l.starts_with(line)).count(), 1, "{line}\n{answer}");
    }
}

#[tokio::test]
async fn hostile_text_travels_as_json_only_and_the_page_never_makes_markup_of_it() {
    let server = start().await;
    let answer = ask(server.address, "GET", "/api/status", "").await;
    assert!(answer.contains("content-type: application/json") && answer.contains("x-content-type-options: nosniff"));
    let value: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    let spool = &value["endpoints"][0]["spool"];
    assert_eq!(spool, &serde_json::json!({ "bytes": 5, "frames": 2, "oldest_s": 7 }));
    assert_eq!(value["sources"][0]["name"], HOSTILE);
    let page = ask(server.address, "GET", "/", "").await;
    assert!(page.contains("content-type: text/html") && !page.contains("onerror"));
    assert!(page.contains("content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'"));
    assert!(!body(&page).contains("://") || body(&page).matches("://").count() == 1, "only the icon's namespace");
    let script = ask(server.address, "GET", "/page.js", "").await;
    for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "setHTML"] {
        assert!(!script.contains(word), "{word}");
    }
    assert_eq!(status(&ask(server.address, "GET", "/page.css", "").await), 200);
}

#[tokio::test]
async fn wrong_paths_and_methods_are_said_in_plain_words() {
    let server = start().await;
    let answer = ask(server.address, "GET", "/%3Cscript%3E", "").await;
    assert_eq!(status(&answer), 404);
    assert!(
        answer.contains("content-type: text/plain") && !body(&answer).contains("script") && answer.contains("/metrics")
    );
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = ask(server.address, method, "/ready", "Content-Length: 0\r\n").await;
        assert_eq!(status(&answer), 405, "{method}");
        assert!(answer.contains("allow: GET, HEAD"), "{answer}");
    }
    for path in ["/", "/ready", "/metrics", "/api/status"] {
        let (get, head) = (ask(server.address, "GET", path, "").await, ask(server.address, "HEAD", path, "").await);
        assert_eq!((status(&head), body(&head)), (200, ""), "{path}");
        assert!(head.contains("content-length: ") && !body(&get).is_empty());
    }
}

#[tokio::test]
async fn a_foreign_site_does_not_get_the_status() {
    let server = start().await;
    let foreign = "GET /api/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&raw(server.address, foreign).await), 403);
    let own = format!("GET /api/status HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
    assert_eq!(status(&raw(server.address, &own).await), 200);
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_harms_nobody() {
    let server = start().await;
    let garbage = raw(server.address, "\u{1}\u{2}garbage\r\n\r\n").await;
    assert!(garbage.is_empty() || status(&garbage) == 400, "{garbage}");
    let huge = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The server may close before it has read all.
    let _ = stream.write_all(huge.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || status(&answer) == 431, "{answer}");
    assert_eq!(status(&ask(server.address, "GET", "/ready", "").await), 200);
}

/// Time is the runtime's own and runs ahead when everything waits.
#[tokio::test(start_paused = true)]
async fn clients_that_dawdle_are_cut_and_the_others_are_served() {
    let server = start().await;
    let mut slow = Vec::new();
    for _ in 0..lugger::base::limits::HTTP_CONNECTIONS {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /ready HTTP/1.1\r\nHo").await.unwrap();
        slow.push(stream);
    }
    // All places are taken by clients that never finish; they lose them when their time is up.
    assert_eq!(status(&ask(server.address, "GET", "/ready", "").await), 200);
    for mut stream in slow {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_in_time() {
    let server = start().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    idle.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
}

#[tokio::test]
async fn an_address_in_use_is_a_clear_error() {
    let first = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = Web::bind(first.address()).await.err().unwrap();
    assert!(matches!(error, ListenError::InUse(_)));
    let words = error.to_string();
    assert!(words.contains(&first.address().to_string()) && words.contains("in use"), "{words}");
}

#[tokio::test]
async fn stopping_closes_idle_connections_and_ends() {
    let server = start().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0u8; 16];
    idle.read_exact(&mut first).await.unwrap();
    server.trigger.raise();
    server.task.await.unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

/// That other hosts are refused is tested beside the code: a host that tests run on need not have another address.
#[tokio::test]
async fn this_host_may_ask_for_a_reload_wherever_the_server_listens() {
    let (ask_for, mut asked) = mpsc::channel::<ReloadRequest>(1);
    let answering = tokio::spawn(async move {
        let ReloadRequest(answer) = asked.recv().await.unwrap();
        answer.send(Ok("read again".to_owned())).unwrap();
    });
    let server = start_at("0.0.0.0:0", Some(ask_for)).await;
    let address = SocketAddr::from(([127, 0, 0, 1], server.address.port()));
    let answer = ask(address, "POST", "/-/reload", "").await;
    assert_eq!((status(&answer), body(&answer)), (200, "read again\n"));
    answering.await.unwrap();
}
