//! Bounds: what pushes and connections take, however they are made, and what is refused instead of being lost.

use crate::senders::connect;
use crate::support::agent::{Config, FileSource, Rig, free_port};
use crate::support::loki::Loki;
use crate::support::pusher::{Answer, body, request, stream};
use crate::support::random::Random;
use crate::support::wait::{now_ns, wait_until};
use crate::{DRAIN, agent, kept, source};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const JSON: (&str, &str) = ("Content-Type", "application/json");
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn push(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    request(to, "POST", path, headers, body).unwrap()
}

/// Waits until the other side closes, and tells whether it does.
fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(DRAIN)).unwrap();
    !matches!(stream.read(&mut [0]), Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut))
}

/// Labels that are written into each record, and very many short lines: both are small as they are sent.
#[test]
fn small_pushes_that_become_large_are_refused_before_they_take_memory() {
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    let agent = agent(&rig, &loki, source("push", &format!("{{ listen: \"{address}\" }}")));
    let labels = (0..14).map(|n| format!("\"l{n}\":\"{}\"", "x".repeat(2_000))).collect::<Vec<_>>().join(",");
    let mut text = format!("{{\"streams\":[{{\"stream\":{{{labels}}},\"values\":[");
    for n in 0..15_000 {
        let comma = if n == 0 { "" } else { "," };
        write!(text, "{comma}[\"1754042400000000000\",\"{n}\"]").unwrap();
    }
    text.push_str("]}]}");
    let labelled = gzip(text.as_bytes());
    let lines = gzip(&b"a\n".repeat(8_000_000));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let answer = push(address, "/loki/api/v1/push", &[JSON, GZIP], &labelled);
                assert!(matches!(answer.status, 413 | 503), "{}: {}", answer.status, answer.body);
            });
            scope.spawn(|| {
                let answer = push(address, "/api/v1/raw", &[GZIP], &lines);
                assert!(matches!(answer.status, 413 | 503), "{}: {}", answer.status, answer.body);
            });
        }
    });
    let answer = push(address, "/loki/api/v1/push", &[JSON, GZIP], &labelled);
    assert!(answer.status == 413 && answer.body.contains("send smaller ones"), "{}", answer.body);
    let answer = push(address, "/api/v1/raw", &[GZIP], &lines);
    assert!(answer.status == 413 && answer.body.contains("send smaller ones"), "{}", answer.body);
    let peak = agent.peak_memory();
    println!("{} MiB at most", peak >> 20);
    assert!(peak < 64 << 20, "{} MiB", peak >> 20);
    assert_eq!(push(address, "/api/v1/raw", &[], b"one").status, 204);
    loki.wait_for("what is small", DRAIN, |line| line == "one");
    assert_eq!(loki.lines().len(), 1);
}

/// Many large pushes at once, of all forms and to two sources: memory stays below what `lugger check` says, and each is taken in the end.
#[test]
fn many_large_pushes_stay_within_the_memory_that_is_said() {
    const SENDERS: usize = 24;
    let rig = Rig::new();
    let loki = Loki::start();
    let (address, other) = (free_port(), free_port());
    let entry = |name: &str, to| {
        FileSource::other("push", name, &format!("{{ listen: \"{to}\", queue: 256MiB }}")).label("job", name)
    };
    let agent = rig.start(&Config::new(&loki.url()).source(entry("one", address)).source(entry("two", other)));
    agent.wait_ready();
    loki.pause();
    // Bytes that gzip makes small, and snappy hardly so.
    let mut random = Random(0x9e37_79b9);
    let mut lines = |count: usize| -> Vec<String> {
        let line = |_| (0..300).map(|_| char::from(b'a' + u8::try_from(random.below(26)).unwrap())).collect();
        (0..count).map(line).collect()
    };
    let at = now_ns();
    let some = lines(200);
    let values: Vec<String> = (0..15_000).map(|n| format!("[\"{}\",\"{}\"]", at + n, some[n as usize % 200])).collect();
    let json = format!("{{\"streams\":[{{\"stream\":{{\"a\":\"b\"}},\"values\":[{}]}}]}}", values.join(","));
    let raw = gzip(some.join("\n").repeat(75).as_bytes());
    let short: Vec<(i64, &str)> = (0..60_000).map(|n| (at + n, "a text of some length")).collect();
    let (zipped, protobuf) = (gzip(json.as_bytes()), body(vec![stream("{a=\"b\"}", &short)]));
    println!(
        "{} MiB of JSON, {} KiB of gzip, {} KiB of protobuf",
        json.len() >> 20,
        zipped.len() >> 10,
        protobuf.len() >> 10
    );
    std::thread::scope(|scope| {
        for n in 0..SENDERS {
            let (zipped, raw, protobuf, json) = (&zipped, &raw, &protobuf, &json);
            scope.spawn(move || {
                let to = if n % 2 == 0 { address } else { other };
                let push = || match n % 8 {
                    0 => request(to, "POST", "/loki/api/v1/push", &[JSON], json.as_bytes()),
                    1 | 2 => request(to, "POST", "/api/v1/raw", &[GZIP], raw),
                    3 | 4 => request(to, "POST", "/loki/api/v1/push", &[], protobuf),
                    _ => request(to, "POST", "/loki/api/v1/push", &[JSON, GZIP], zipped),
                };
                wait_until("it is taken", DRAIN, || {
                    // Who is refused while it sends may not see the answer.
                    let Ok(answer) = push() else { return false };
                    assert!(matches!(answer.status, 204 | 429 | 503), "{n}: {}: {}", answer.status, answer.body);
                    answer.status == 204
                });
            });
        }
    });
    let peak = agent.peak_memory();
    println!("{} MiB at most", peak >> 20);
    assert!(peak < 64 << 20, "{} MiB", peak >> 20);
    // What is above what memory allows is told, with the remedy.
    let answer = push(address, "/api/v1/raw", &[], &json.as_bytes().repeat(3));
    assert!(answer.status == 413 && answer.body.contains("limits.memory"), "{}", answer.body);
}

/// Snappy makes a few MiB of very much: what it says is asked before there is memory taken for it.
#[test]
fn snappy_that_says_too_much_is_refused_before_it_is_unpacked() {
    const SAYS: u32 = 95 << 20;
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    let source = source("push", &format!("{{ listen: \"{address}\", max_send_msg_size: 100MiB, queue: 512MiB }}"));
    let agent = agent(&rig, &loki, source);
    agent.wait_ready();
    // Its length as a varint; one byte as a literal, and copies of 64 bytes from one before.
    let mut bomb: Vec<u8> =
        (0..4).map(|n| u8::try_from(SAYS >> (7 * n) & 0x7f).unwrap() | if n < 3 { 0x80 } else { 0 }).collect();
    bomb.extend_from_slice(&[0, 0]);
    bomb.extend_from_slice(&[63 << 2 | 2, 1, 0].repeat((SAYS as usize - 1) / 64));
    bomb.extend_from_slice(&[62 << 2 | 2, 1, 0]);
    assert_eq!(snap::raw::Decoder::new().decompress_vec(&bomb).unwrap().len(), SAYS as usize);
    for _ in 0..3 {
        let answer = push(address, "/loki/api/v1/push", &[("Content-Type", "application/x-protobuf")], &bomb);
        assert!(answer.status == 413 && answer.body.contains("limits.memory"), "{}: {}", answer.status, answer.body);
    }
    let peak = agent.peak_memory();
    assert!(peak < 64 << 20, "{} MiB", peak >> 20);
}

/// Who says that much comes, and sends nothing or little of it, holds nobody up.
#[test]
fn silent_pushers_do_not_hold_up_others() {
    let rig = Rig::new();
    let loki = kept();
    let (address, other) = (free_port(), free_port());
    let entry = |name: &str, to| FileSource::other("push", name, &format!("{{ listen: \"{to}\" }}")).label("job", name);
    let agent = rig.start(&Config::new(&loki.url()).source(entry("one", address)).source(entry("two", other)));
    agent.wait_ready();
    let refused = || agent.metric("lugger_receive_refused_total{source=\"two\"}").unwrap();
    let announce = |bytes: usize, sent: &[u8]| {
        let mut stream = connect(address);
        write!(stream, "POST /api/v1/raw HTTP/1.1\r\nHost: test\r\nContent-Length: {bytes}\r\n\r\n").unwrap();
        stream.write_all(sent).unwrap();
        stream
    };
    let small = |text: &str| {
        let begin = std::time::Instant::now();
        assert_eq!(push(other, "/api/v1/raw", &[], text.as_bytes()).status, 204);
        // Far below the time that a push waits for room.
        assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    };
    let silent: Vec<TcpStream> =
        [0, 0, 1, 100_000].into_iter().map(|sent| announce(8 << 20, &vec![b'x'; sent])).collect();
    for text in ["one", "two", "three"] {
        small(text);
    }
    // A large one has the room of those as soon as it waits.
    let large = "y".repeat(1_000).repeat(2_000).into_bytes();
    wait_until("a large one", DRAIN, || push(other, "/api/v1/raw", &[], &large).status == 204);
    // And what is too large is told at once.
    let mut too_large = announce(100 << 20, b"");
    too_large.set_read_timeout(Some(DRAIN)).unwrap();
    let mut head = [0; 12];
    too_large.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 413");
    small("four");
    assert_eq!(refused(), 0.0);
    drop(silent);
}

/// A source without labels takes what brings some, and says what does not.
#[test]
fn entries_that_would_have_no_labels_are_refused() {
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    let rules = "[ { regex: gone, action: labeldrop }, { source_labels: [away], regex: yes, action: drop } ]";
    let bare = FileSource::other("push", "push", &format!("{{ listen: \"{address}\" }}"));
    let agent = agent(&rig, &loki, bare.option("relabel_configs", rules));
    let answer = push(address, "/api/v1/raw", &[], b"one\ntwo\n");
    assert!(answer.status == 400 && answer.body.contains("no labels"), "{}: {}", answer.status, answer.body);
    let at = now_ns();
    let of = |labels: &str| {
        let body = format!("{{\"streams\":[{{\"stream\":{{{labels}}},\"values\":[[\"{at}\",\"text\"]]}}]}}");
        push(address, "/loki/api/v1/push", &[JSON], body.as_bytes())
    };
    for labels in ["", "\"__a\":\"x\"", "\"a\":\"\"", "\"gone\":\"x\""] {
        let answer = of(labels);
        assert!(
            answer.status == 400 && answer.body.contains("no labels"),
            "{labels}: {}: {}",
            answer.status,
            answer.body
        );
    }
    let answer = of("\"foo-bar\":\"1\",\"foo.bar\":\"2\"");
    assert!(answer.status == 400 && answer.body.contains("no name of a label"), "{}: {}", answer.status, answer.body);
    // What a rule drops is not missed.
    assert_eq!(of("\"away\":\"yes\"").status, 204);
    assert_eq!(of("\"app\":\"x\"").status, 204);
    loki.wait_for("what has a label", DRAIN, |line| line == "text");
    assert_eq!(loki.lines().len(), 1);
    assert_eq!(agent.metric("lugger_source_dropped_lines_total{reason=\"no_labels\"}"), Some(0.0));
}

/// Labels that Loki would not take are told to their sender, as Loki would: to cut them would make one stream of two. Where stages take labels away they
/// are repaired, and each repair is counted.
#[test]
fn labels_that_loki_would_not_take_are_refused_or_counted() {
    let rig = Rig::new();
    let loki = kept();
    let (address, other) = (free_port(), free_port());
    let entry = |name: &str, to| FileSource::other("push", name, &format!("{{ listen: \"{to}\" }}")).label("job", name);
    let config = Config::new(&loki.url())
        .source(entry("plain", address))
        .source(entry("taking", other).option("stages", "[ { labeldrop: [l10] } ]"));
    let agent = rig.start(&config);
    let at = now_ns();
    let many = (10..35).map(|n| format!("\"l{n}\":\"v\"")).collect::<Vec<_>>().join(",");
    let long = format!("\"{}\":\"v\"", "n".repeat(1_100));
    let large = format!("\"a\":\"{}\"", "v".repeat(3_000));
    for (labels, words) in [(&many, "26 labels"), (&long, "longer than 1024"), (&large, "longer than 2048")] {
        let pairs = labels.replace("\":\"", "=\"").replace(",\"", ", ").replacen('"', "", 1);
        let json = format!("{{\"streams\":[{{\"stream\":{{{labels}}},\"values\":[[\"{at}\",\"text\"]]}}]}}");
        let protobuf = body(vec![stream(&format!("{{{pairs}}}"), &[(at, "text")])]);
        for (kind, body) in [(JSON, json.as_bytes()), (("Content-Type", "application/x-protobuf"), &protobuf)] {
            let answer = push(address, "/loki/api/v1/push", &[kind], body);
            assert!(
                answer.status == 400 && answer.body.contains(words),
                "{kind:?}: {}: {}",
                answer.status,
                answer.body
            );
            assert_eq!(push(other, "/loki/api/v1/push", &[kind], body).status, 204, "{kind:?} {words}");
        }
    }
    wait_until("what is taken", DRAIN, || loki.lines().len() == 3);
    for (reason, count) in [("too_many", 11.0), ("name_too_long", 1.0), ("value_too_long", 1.0), ("same_name", 0.0)] {
        let metric = format!("lugger_labels_repaired_total{{source=\"taking\",reason=\"{reason}\"}}");
        assert_eq!(agent.metric(&metric), Some(count), "{metric}");
    }
    assert_eq!(agent.metric("lugger_labels_repaired_total{source=\"plain\"}"), Some(0.0));
}

#[test]
fn a_tenant_that_cannot_be_read_is_refused() {
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    let _agent = agent(&rig, &loki, source("push", &format!("{{ listen: \"{address}\" }}")));
    let answer = push(address, "/api/v1/raw", &[("X-Scope-OrgID", "t\u{e4}")], b"one");
    assert!(answer.status == 400 && answer.body.contains("x-scope-orgid"), "{}", answer.body);
    let twice = [("X-Scope-OrgID", "a"), ("X-Scope-OrgID", "b")];
    let answer = push(address, "/api/v1/raw", &twice, b"one");
    assert!(answer.status == 400 && answer.body.contains("twice"), "{}", answer.body);
}

/// As many silent connections as are taken make room after a while, and it is told that there is none.
#[test]
fn silent_connections_make_room_for_others() {
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    // Long enough that all of them are there at once, also on a busy machine.
    let value = format!("{{ listen: \"tcp://{address}\", idle_timeout: 8s }}");
    let agent = agent(&rig, &loki, source("syslog", &value));
    let silent: Vec<TcpStream> = (0..256).map(|_| connect(address)).collect();
    let mut late = connect(address);
    late.write_all(b"<14>Aug  1 10:00:00 h p: late\n").unwrap();
    loki.wait_for("the message of one more", DRAIN, |line| line == "late");
    assert!(agent.metric("lugger_receive_connections_closed_total").unwrap() >= 1.0);
    assert!(agent.stderr().contains("as many connections as are taken"), "{}", agent.stderr());
    assert!(silent.iter().all(is_closed));
}

/// A message that never ends, byte by byte, is no reason to stay.
#[test]
fn a_message_that_takes_too_long_ends_its_connection() {
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    let value = format!("{{ listen: \"tcp://{address}\", idle_timeout: 1s }}");
    let agent = agent(&rig, &loki, source("syslog", &value));
    let mut stream = connect(address);
    stream.set_nodelay(true).unwrap();
    // One whole message at a time keeps a connection for as long as it likes.
    let mut busy = connect(address);
    let closed = || agent.metric("lugger_receive_connections_closed_total").unwrap();
    let mut said = 0;
    wait_until("it is closed", DRAIN, || {
        let _ = stream.write_all(b"x");
        busy.write_all(b"<14>Aug  1 10:00:00 h p: busy\n").unwrap();
        said += 1;
        std::thread::sleep(Duration::from_millis(20));
        closed() >= 1.0
    });
    assert!(is_closed(&stream));
    busy.write_all(b"<14>Aug  1 10:00:00 h p: still there\n").unwrap();
    loki.wait_for("what the other says", DRAIN, |line| line == "still there");
    assert!(closed() < 2.0, "{said}");
}

/// What can never fit into the queue holds nobody up: it is counted, and what comes behind it arrives.
#[test]
fn a_message_that_does_not_fit_at_all_is_counted_and_others_come() {
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    let agent = agent(&rig, &loki, source("syslog", &format!("{{ listen: \"tcp://{address}\", queue: 1MiB }}")));
    // Each byte takes four, as it is not UTF-8.
    let large = vec![0xff; 256 << 10];
    let mut stream = connect(address);
    for part in [&b"<14>Aug  1 10:00:00 h p: before\n"[..], &large, b"\n<14>Aug  1 10:00:00 h p: after\n"] {
        stream.write_all(part).unwrap();
    }
    loki.wait_for("what comes before", DRAIN, |line| line == "before");
    loki.wait_for("what comes after", DRAIN, |line| line == "after");
    assert_eq!(agent.metric("lugger_receive_refused_total{reason=\"too_large\"}"), Some(1.0));
    assert_eq!(loki.lines().len(), 2);
}

/// Messages that do not end are held for a few connections, not for all at once.
#[test]
fn unfinished_messages_are_bounded_over_all_connections() {
    const EACH: usize = 200_000;
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    let agent = agent(&rig, &loki, source("syslog", &format!("{{ listen: \"tcp://{address}\" }}")));
    let message = vec![b'x'; EACH];
    let streams: Vec<TcpStream> = (0..160)
        .map(|_| {
            let mut stream = connect(address);
            let _ = stream.write_all(&message);
            stream
        })
        .collect();
    let closed = || agent.metric("lugger_receive_connections_closed_total").unwrap() as usize;
    // What is left holds no more than the bound.
    wait_until("enough of them are closed", DRAIN, || (streams.len() - closed()) * EACH <= 17 << 20);
    assert!(closed() < 120, "{}", closed());
    let received = || agent.metric("lugger_receive_messages_total").unwrap() as usize;
    wait_until("what they had sent is received", DRAIN, || received() >= closed());
}

/// Long messages over many connections: what they took is given back, and while nothing is delivered no more is read than a bound.
#[test]
fn long_messages_over_many_connections_take_little_memory() {
    const COUNT: usize = 200;
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    let source = source("syslog", &format!("{{ listen: \"tcp://{address}\", queue: 4MiB }}"));
    let agent = agent(&rig, &loki, source);
    // Each byte takes four, as it is not UTF-8.
    let mut message = b"<14>Aug  1 10:00:00 h p: ".to_vec();
    message.resize(255_000, 0xff);
    message.push(b'\n');
    let received = || agent.metric("lugger_receive_messages_total").unwrap();
    // One after the other, each with a connection of its own.
    let mut streams = Vec::new();
    for n in 0..COUNT {
        let mut stream = connect(address);
        stream.write_all(&message).unwrap();
        streams.push(stream);
        wait_until("it is received", DRAIN, || received() > n as f64);
    }
    let free = agent.peak_memory();
    // All of them at once, into a queue that has no room.
    loki.pause();
    std::thread::scope(|scope| {
        for stream in &mut streams {
            let message = &message;
            scope.spawn(move || stream.write_all(message).unwrap());
        }
        wait_until("senders wait", DRAIN, || agent.metric("lugger_receive_held_up_total").unwrap() > 10.0);
        let mut grown = (0, 0);
        let stays = || {
            let peak = agent.peak_memory();
            grown = if peak == grown.0 { (peak, grown.1 + 1) } else { (peak, 0) };
            grown.1 >= 20
        };
        wait_until("memory to grow no more", DRAIN, stays);
        loki.resume();
    });
    wait_until("all are received", DRAIN, || received() == 2.0 * COUNT as f64);
    let peak = agent.peak_memory();
    println!("{} MiB, then {} MiB at most", free >> 20, peak >> 20);
    assert!(peak < 160 << 20, "{} MiB, then {} MiB", free >> 20, peak >> 20);
}
