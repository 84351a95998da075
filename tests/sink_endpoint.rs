//! Delivery to an endpoint that stores, refuses and fails by script: each row of what an answer means.

#[path = "support/rig.rs"]
mod rig;
#[path = "support/scripted.rs"]
mod scripted;

use lugger::base::limits::REQUEST_BYTES_MAX;
use lugger::base::secret::Secret;
use lugger::format::loki::{PushRequest, StreamAdapter};
use lugger::sink::settings::{Auth, Credential};
use lugger::sink::status::State;
use proptest::prelude::*;
use prost::Message;
use rig::{Rig, T0, numbered, request, settings, stream};
use scripted::{Entry, Push, Reply, Scripted, flat};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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
    let metrics = rig.registry.render();
    for line in [
        "lugger_endpoint_batches_total{endpoint=\"home\"} 20",
        "lugger_endpoint_entries_total{endpoint=\"home\"} 200",
        "lugger_endpoint_queue_batches{endpoint=\"home\"} 0",
        "lugger_endpoint_refused_entries_total{endpoint=\"home\",reason=\"too_old\"} 0",
        "lugger_endpoint_request_seconds_count{endpoint=\"home\"} 21",
        "lugger_endpoint_retries_total{endpoint=\"home\",kind=\"rate_limited\"} 1",
        "lugger_endpoint_state{endpoint=\"home\",state=\"ok\"} 1",
        "lugger_endpoint_state{endpoint=\"home\",state=\"retrying\"} 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is not in\n{metrics}");
    }
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
async fn what_is_too_long_for_the_line_is_divided() {
    let loki = Scripted::start(|push| if push.wire_bytes > 100_000 { Reply::Hang } else { Reply::Store }).await;
    let mut settings = settings(&loki.url());
    settings.timeout = Duration::from_millis(200);
    let mut rig = Rig::new(settings);
    let sent = request(vec![stream("{a=\"b\"}", (1..9).map(|i| noise(30_000, i)))]);
    rig.push(&sent);
    rig.settled().await;
    assert!(loki.seen().stored == flat(&sent));
}

#[tokio::test]
async fn nothing_is_lost_while_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
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
async fn a_tenant_that_lines_named_and_loki_does_not_take_stops_nobody_else() {
    let loki = Scripted::start(|push| match push.header("x-scope-orgid") {
        "a:b" => Reply::status(400, "tenant ID 'a:b' contains unsupported character ':'"),
        _ => Reply::Store,
    })
    .await;
    let mut rig = Rig::new(settings(&loki.url()));
    let others = request(vec![numbered("{a=\"c\"}", 0..10)]);
    rig.push_of(&request(vec![numbered("{a=\"b\"}", 0..50), numbered("{a=\"d\"}", 0..50)]), Some("a:b"));
    rig.push_of(&others, Some("good"));
    rig.settled().await;
    assert_eq!(loki.seen().stored, flat(&others));
    assert_eq!((rig.dead().len(), rig.refused("tenant")), (100, 100));
    assert_eq!(loki.seen().pushes.len(), 2);
    assert_eq!(rig.letters()[0]["tenant"], "a:b");
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

#[tokio::test]
async fn a_refusal_of_loki_that_is_not_known_yet_is_followed_to_the_entry() {
    let loki = Scripted::start(|push| {
        if push.entries().iter().any(|e| e.2 == "line 7") {
            Reply::status(400, "entry for stream '{a=\"b\"}' has a shape that a future Loki does not like")
        } else {
            Reply::Store
        }
    })
    .await;
    let mut rig = Rig::new(settings(&loki.url()));
    rig.push(&request(vec![numbered("{a=\"b\"}", 7..8)]));
    rig.push(&request(vec![numbered("{a=\"b\"}", 0..20)]));
    rig.settled().await;
    assert_eq!(rig.dead(), ["line 7", "line 7"]);
    assert_eq!(loki.seen().stored.len(), 19);
}

/// Text that compresses to about its own size.
fn noise(bytes: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(u8::try_from(33 + state % 90).unwrap())
    };
    (0..bytes).map(|_| next()).collect()
}

/// Reads a request up to the end of its head.
async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
}

#[tokio::test]
async fn a_connection_that_is_reset_while_a_request_is_written_costs_an_attempt_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut rig = Rig::new(settings(&format!("http://{addr}/loki/api/v1/push")));
    let sent = request(vec![stream("{a=\"b\"}", (1..17).map(|i| noise(200_000, i)))]);
    rig.push(&sent);
    for _ in 0..3 {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.read_exact(&mut [0; 1000]).await.unwrap();
    }
    let loki = Scripted::serve(listener, None, |_| Reply::Store);
    rig.settled().await;
    assert!(loki.seen().stored == flat(&sent));
    assert_eq!(rig.retries("transport"), 3);
}

#[tokio::test]
async fn a_refusal_before_the_request_was_read_is_understood() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut rig = Rig::new(settings(&format!("http://{addr}/loki/api/v1/push")));
    let sent = request(vec![stream("{a=\"b\"}", (1..17).map(|i| noise(200_000, i)))]);
    rig.push(&sent);
    // As a proxy does: answers at once, then reads on for a while so that the answer is not lost in a reset.
    let (mut stream, _) = listener.accept().await.unwrap();
    read_head(&mut stream).await;
    stream.write_all(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    let loki = Scripted::serve(listener, None, |_| Reply::Store);
    rig.settled().await;
    assert!(loki.seen().stored == flat(&sent));
    assert_eq!((rig.retries("too_large"), rig.retries("transport")), (1, 0));
    assert_eq!(loki.seen().pushes.len(), 2);
}

/// How the endpoint of the property test refuses.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Foreign,
    Unknown,
    LineLength,
    Listed,
}

fn answer(push: &Push, manner: Manner, bad: &dyn Fn(&Entry) -> bool) -> Reply {
    let entries = push.entries();
    let refused: Vec<&Entry> = entries.iter().filter(|e| bad(e)).collect();
    let Some(first) = refused.first() else { return Reply::Store };
    let stored: Vec<Entry> = entries.iter().filter(|e| !bad(e)).cloned().collect();
    match manner {
        Manner::Foreign => Reply::status(400, "something here is not to my taste"),
        Manner::Unknown => Reply::status(400, &format!("stream '{}' is odd", first.0)),
        Manner::LineLength => {
            let text = format!(
                "Max entry size '20' bytes exceeded for stream '{}' while adding an entry with length '21' bytes",
                first.0
            );
            Reply::StoreOnly(stored, 400, text)
        }
        Manner::Listed => {
            let mut text = String::new();
            for entry in &refused {
                text += &format!(
                    "entry with timestamp 2023-11-14 22:13:20.{:09} +0000 UTC ignored, reason: 'entry out of order',\n\
                     user 'fake', total ignored: 1 out of 9 for stream: {}\n",
                    entry.1 - T0,
                    entry.0
                );
            }
            Reply::StoreOnly(stored, 400, text)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_refused_exactly_that_is_dead_lettered_and_the_rest_is_stored(
        batches in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(proptest::bool::weighted(0.3), 1..8), 1..4), 1..4),
        manner in prop_oneof![Just(Manner::Foreign), Just(Manner::Unknown), Just(Manner::LineLength), Just(Manner::Listed)],
        outages in proptest::collection::vec(proptest::bool::weighted(0.2), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut number = 0;
        let requests: Vec<PushRequest> = batches.iter().map(|batch| {
            let streams = batch.iter().enumerate().map(|(s, entries)| {
                let last_is_good = s + 1 == batch.len();
                let lines: Vec<String> = entries.iter().enumerate().map(|(i, bad)| {
                    number += 1;
                    // Someone who refuses everything is taken for somebody else than Loki: keep one entry that is good.
                    let bad = *bad && !(last_is_good && i + 1 == entries.len());
                    let mark = if bad { "refused, because it is long" } else { "" };
                    format!("{number} {mark}")
                }).collect();
                stream(&format!("{{s=\"{s}\"}}"), lines)
            }).collect::<Vec<StreamAdapter>>();
            request(streams)
        }).collect();
        let bad = |entry: &Entry| entry.2.len() > 20;
        let sent: Vec<Entry> = requests.iter().flat_map(flat).collect();
        let (stored, dead) = runtime.block_on(async {
            let mut outages = outages.into_iter();
            let loki = Scripted::start(move |push| {
                if outages.next() == Some(true) { Reply::status(503, "") } else { answer(push, manner, &bad) }
            }).await;
            let mut rig = Rig::new(settings(&loki.url()));
            for request in &requests {
                rig.push(request);
            }
            rig.settled().await;
            assert_eq!(rig.handle.status().queued, 0);
            let status = rig.handle.status();
            assert_eq!(status.entries + status.refused, u64::try_from(sent.len()).unwrap());
            let stored = loki.seen().stored.clone();
            (stored, rig.dead())
        });
        let mut expected_stored: Vec<Entry> = sent.iter().filter(|e| !bad(e)).cloned().collect();
        let mut expected_dead: Vec<String> = sent.iter().filter(|e| bad(e)).map(|e| e.2.clone()).collect();
        if !matches!(manner, Manner::Foreign) {
            prop_assert_eq!(&stored, &expected_stored, "not in order");
        }
        let mut stored = stored;
        let mut dead = dead;
        stored.sort();
        expected_stored.sort();
        dead.sort();
        expected_dead.sort();
        prop_assert_eq!(stored, expected_stored);
        prop_assert_eq!(dead, expected_dead);
    }
}
