//! Pushes: protobuf, JSON, gzip and raw lines, by curl and by a pusher of our own.

use crate::senders::{connect, curl};
use crate::support::agent::{Config, Rig, free_port};
use crate::support::ledger::{Book, line};
use crate::support::loki::Loki;
use crate::support::pusher::{body, request, stream};
use crate::support::wait::{now_ns, wait_until};
use crate::tls::Files;
use crate::{DRAIN, agent, kept, source};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PROTOBUF: [(&str, &str); 1] = [("Content-Type", "application/x-protobuf")];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn curl_pushes_json_gzip_and_lines() {
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    let rules =
        "[ { source_labels: [secret], regex: yes, action: drop }, { source_labels: [__tmp], target_label: from } ]";
    let source = source("push", &format!("{{ listen: \"{address}\" }}")).option("relabel_configs", rules);
    let agent = agent(&rig, &loki, source);
    let url = |path: &str| format!("http://{address}{path}");
    let at = now_ns();
    let json = |app: &str, more: &str| {
        format!(
            "{{\"streams\":[{{\"stream\":{{\"app\":\"{app}\",\"__tmp\":\"t\"{more}}},\"values\":[[\"{at}\",\"{app} says\\nä \\\\ \\u0000\",{{\"trace\":\"x=1, y\"}}]]}}]}}"
        )
    };
    let json_type = "Content-Type: application/json";
    let (plain, zipped) = (rig.path().join("plain"), rig.path().join("zipped"));
    std::fs::write(&plain, json("one", "")).unwrap();
    std::fs::write(&zipped, gzip(json("two", "").as_bytes())).unwrap();
    let data = |path: &std::path::Path| format!("@{}", path.display());
    assert_eq!(curl(&["-H", json_type, "--data-binary", &data(&plain), &url("/loki/api/v1/push")]), "204");
    let encoded = ["-H", json_type, "-H", "Content-Encoding: gzip", "--data-binary", &data(&zipped)];
    assert_eq!(curl(&[&encoded[..], &[&url("/loki/api/v1/push")]].concat()), "204");
    assert_eq!(curl(&["-H", json_type, "-d", &json("three", ",\"secret\":\"yes\""), &url("/loki/api/v1/push")]), "204");
    assert_eq!(curl(&["--data-binary", "raw one\r\n\nraw two", &url("/promtail/api/v1/raw")]), "204");
    assert_eq!(curl(&["--data-binary", "raw three\n", &url("/api/v1/raw")]), "204");
    assert_eq!(curl(&[&url("/ready")]), "200");
    wait_until("what was pushed", DRAIN, || loki.lines().len() == 5);
    let entries = loki.entries();
    for app in ["one", "two"] {
        let text = format!("{app} says\nä \\ \0");
        let entry = entries.iter().find(|entry| entry.line == text).unwrap_or_else(|| panic!("{app}: {entries:?}"));
        assert_eq!(entry.stream, format!("{{app=\"{app}\", from=\"t\", job=\"push\"}}"));
        assert_eq!((entry.at, entry.metadata.as_slice()), (at, &[("trace".to_owned(), "x=1, y".to_owned())][..]));
    }
    for text in ["raw one", "raw two", "raw three"] {
        let entry = entries.iter().find(|entry| entry.line == text).unwrap();
        assert_eq!(entry.stream, "{job=\"push\"}");
        assert!(entry.at >= at);
    }
    assert_eq!(agent.metric("lugger_source_dropped_lines_total{reason=\"relabel\"}"), Some(1.0));
    loki.assert_no_defects();
}

/// Connections of pushers are shown, and that there is no room for more is told.
#[test]
fn connections_of_pushers_are_counted() {
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    let agent = agent(&rig, &loki, source("push", &format!("{{ listen: \"{address}\" }}")));
    let open = || agent.metric("lugger_receive_connections").unwrap();
    let silent: Vec<TcpStream> = (0..256).map(|_| connect(address)).collect();
    wait_until("they are there", DRAIN, || open() >= 200.0);
    wait_until("it is told", DRAIN, || agent.stderr().contains("as many connections as are taken"));
    drop(silent);
    wait_until("none is left", DRAIN, || open() == 0.0);
    assert_eq!(curl(&["--data-binary", "in", &format!("http://{address}/api/v1/raw")]), "204");
}

#[test]
fn tenants_and_times_pass_through_as_configured() {
    let rig = Rig::new();
    let loki = kept();
    let (own, received) = (free_port(), free_port());
    let entry = |name: &str, value: String| crate::support::agent::FileSource::other("push", name, &value);
    let config = Config::new(&loki.url())
        .source(entry("own", format!("{{ listen: \"{own}\" }}")))
        .source(entry("received", format!("{{ listen: \"{received}\", use_incoming_timestamp: false }}")));
    let _agent = rig.start(&config);
    let at = now_ns() - 60_000_000_000;
    for (address, tenant) in [(own, "team-a"), (own, ""), (received, "team-b")] {
        let headers = [("Content-Type", "application/x-protobuf"), ("X-Scope-OrgID", tenant)];
        let headers = if tenant.is_empty() { &headers[..1] } else { &headers[..] };
        let text = format!("of {tenant}");
        let answer =
            request(address, "POST", "/loki/api/v1/push", headers, &body(vec![stream("{a=\"b\"}", &[(at, &text)])]));
        assert_eq!(answer.unwrap().status, 204);
    }
    wait_until("all three", DRAIN, || loki.lines().len() == 3);
    let of = |text: &str| loki.entries().into_iter().find(|entry| entry.line == text).unwrap();
    assert_eq!((of("of team-a").tenant.as_str(), of("of team-a").at), ("team-a", at));
    assert_eq!((of("of ").tenant.as_str(), of("of ").at), ("", at));
    assert_eq!(of("of team-b").tenant, "team-b");
    assert!(of("of team-b").at > at + 50_000_000_000);
}

#[test]
fn what_is_no_push_is_refused_with_a_reason() {
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    let source = crate::support::agent::FileSource::other(
        "push",
        "push",
        &format!("{{ listen: \"{address}\", max_send_msg_size: 64KiB }}"),
    );
    let agent = agent(&rig, &loki, source);
    let json: &[(&str, &str)] = &[("Content-Type", "application/json")];
    let large = vec![b'x'; 100_000];
    let zipped = gzip(&vec![b'x'; 10_000_000]);
    let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; 1_000_000]).unwrap();
    let tenant: &[(&str, &str)] = &[("Content-Type", "application/json"), ("X-Scope-OrgID", "a/b")];
    let coded: &[(&str, &str)] = &[("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    let brotli: &[(&str, &str)] = &[("Content-Type", "application/json"), ("Content-Encoding", "br")];
    for (headers, body, status, words) in [
        (json, &b"{"[..], 400, "at byte"),
        (json, b"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[1,\"x\"]]}]}", 400, "streams[0], entry 0"),
        (json, b"{\"streams\":[{\"stream\":{},\"values\":[[\"1\",\"x\"]]}]}", 400, "no labels"),
        (&PROTOBUF[..], b"no snappy", 400, "snappy"),
        (&PROTOBUF[..], &body(vec![stream("{a=", &[(1, "x")])]), 400, "streams[0]: labels are written"),
        (&PROTOBUF[..], &bomb, 413, "decompression"),
        (json, &large, 413, "larger than 65536 bytes"),
        (coded, &zipped, 413, "decompression"),
        (coded, b"no gzip", 400, "gzip"),
        (brotli, b"x", 400, "content encoding \"br\""),
        (tenant, b"{}", 400, "tenant"),
        (&[("Content-Type", "text/plain")], b"x", 400, "content type \"text/plain\""),
    ] {
        let answer = request(address, "POST", "/loki/api/v1/push", headers, body).unwrap();
        assert_eq!(answer.status, status, "{words}: {}", answer.body);
        assert!(answer.body.contains(words), "{words}: {}", answer.body);
    }
    assert_eq!(request(address, "GET", "/loki/api/v1/push", &[], b"").unwrap().status, 405);
    assert_eq!(request(address, "GET", "/other", &[], b"").unwrap().status, 404);
    assert_eq!(agent.metric("lugger_receive_refused_total{reason=\"too_large\"}"), Some(3.0));
    assert_eq!(agent.metric("lugger_receive_messages_total"), Some(0.0));
}

#[test]
fn a_password_and_tls_keep_others_out() {
    let rig = Rig::new();
    let files = Files::make(rig.path());
    let loki = kept();
    let address = free_port();
    let password = rig.path().join("password");
    std::fs::write(&password, "pass:word\n").unwrap();
    let value = format!(
        "{{ listen: \"{address}\", tls_config: {}, basic_auth: {{ username: edge, password_file: {} }} }}",
        files.server(""),
        password.display()
    );
    let _agent = agent(&rig, &loki, source("push", &value));
    let (ca, url) = (files.path("ca.pem"), format!("https://localhost:{}/api/v1/raw", address.port()));
    let trust = ["--cacert", &ca, "--data-binary", "in", &url];
    assert_eq!(curl(&trust), "401");
    assert_eq!(curl(&[&["-u", "edge:wrong"][..], &trust].concat()), "401");
    assert_eq!(curl(&[&["-u", "edge:pass:word"][..], &trust].concat()), "204");
    assert_eq!(curl(&["--data-binary", "in", &url]), "000");
    loki.wait_for("what was let in", DRAIN, |line| line == "in");
}

fn push_until_taken(address: SocketAddr, body: &[u8]) -> u32 {
    let mut again = 0;
    loop {
        match request(address, "POST", "/loki/api/v1/push", &PROTOBUF, body) {
            Ok(answer) if answer.status == 204 => return again,
            Ok(answer) => {
                assert!(matches!(answer.status, 429 | 503), "{}: {}", answer.status, answer.body);
                assert!(answer.head.to_ascii_lowercase().contains("retry-after:"), "{}", answer.head);
            }
            Err(_) => {}
        }
        again += 1;
        assert!(again < 5_000);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What was answered with 204 is there, over restarts and kills in the midst; what was not is sent again by its sender.
#[test]
fn numbered_pushes_come_once_over_restarts_and_kills() {
    const COUNT: u64 = 100_000;
    const EACH: u64 = 500;
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, "push");
    let address = free_port();
    let config = Config::new(&loki.url()).source(source("push", &format!("{{ listen: \"{address}\" }}")));
    let mut agent = rig.start(&config);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let begin = now_ns();
            let mut again = 0;
            for first in (0..COUNT).step_by(usize::try_from(EACH).unwrap()) {
                let lines: Vec<(i64, String)> = (first..first + EACH)
                    .map(|n| {
                        let mut text = String::new();
                        line("push", n, 120, &mut text);
                        (begin + i64::try_from(n).unwrap(), text)
                    })
                    .collect();
                let entries: Vec<(i64, &str)> = lines.iter().map(|(at, text)| (*at, text.as_str())).collect();
                again += push_until_taken(address, &body(vec![stream("{app=\"p\"}", &entries)]));
            }
            again
        });
        for part in 1..=4 {
            wait_until("a part of them", DRAIN, || book.seen() >= COUNT * part / 5);
            if part % 2 == 0 {
                agent.kill();
            } else {
                assert_eq!(agent.stop(Duration::from_secs(20)).code, Some(0));
            }
            agent = rig.start(&config);
        }
        book.wait_all(COUNT, DRAIN);
        println!("sent again {} times", sender.join().unwrap());
    });
    let verdict = book.lock().verdict(COUNT);
    println!(
        "push: {} missing, {} raw duplicates, {} visible",
        verdict.missing, verdict.duplicated_raw, verdict.duplicated_visible
    );
    verdict.assert_perfect(COUNT);
    loki.assert_no_defects();
}

/// A full inlet says so, takes no more than its bound, and goes on when there is room.
#[test]
fn a_full_queue_holds_pushers_up_and_loses_nothing() {
    const COUNT: u64 = 20_000;
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, "full");
    let address = free_port();
    let value = format!("{{ listen: \"{address}\", queue: 1MiB }}");
    let agent = agent(&rig, &loki, source("push", &value));
    loki.pause();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begin = now_ns();
            for first in (0..COUNT).step_by(100) {
                let mut lines = Vec::new();
                for n in first..first + 100 {
                    let mut text = String::new();
                    line("full", n, 200, &mut text);
                    lines.push((begin + i64::try_from(n).unwrap(), text));
                }
                let entries: Vec<(i64, &str)> = lines.iter().map(|(at, text)| (*at, text.as_str())).collect();
                push_until_taken(address, &body(vec![stream("{app=\"p\"}", &entries)]));
            }
        });
        let full = || agent.metric("lugger_receive_refused_total{reason=\"full\"}").is_some_and(|count| count > 0.0);
        wait_until("the queue is full", DRAIN, full);
        let told =
            || agent.ask("GET", "/ready", &[]).body.contains("source push: its queue is full, and pushes are refused");
        wait_until("it is told", DRAIN, told);
        assert_eq!(agent.ask("GET", "/ready", &[]).status, 503);
        let files = std::fs::read_dir(rig.state().join("inlets/push")).unwrap();
        let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes <= 1024 * 1024, "{bytes}");
        loki.resume();
    });
    book.wait_all(COUNT, DRAIN);
    book.lock().verdict(COUNT).assert_perfect(COUNT);
    // Each minute once at most, however often it happens.
    let told = agent.stderr();
    assert!((1..=3).contains(&told.matches("pushes are refused with 429").count()), "{told}");
    wait_until("it is ready when there has been room for a while", DRAIN, || agent.is_ready());
    loki.assert_no_defects();
}
