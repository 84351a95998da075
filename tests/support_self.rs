//! The tests' own tools, tried: a strict receiver that sees nothing wrong, or an oracle that misses a loss, would make every other
//! test worthless.

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::agent::sum;
use support::ledger::{Ledger, line, parse};
use support::loki::{Answer, Loki, Options};
use support::pusher::{body, push, request, stream};
use support::wait::{holds_within, now_ns as now, wait_until};
use support::writer::{Writer, numbered};
use support::{rules, wire};

fn keeping() -> Loki {
    Loki::start_with(Options { keep: true, ..Options::default() })
}

/// A right request is stored, answered with 204 and no defect; the same again is known as a repetition.
#[test]
fn stores_what_is_right_and_knows_repetitions() {
    let loki = keeping();
    let at = now();
    let streams = || vec![stream(r#"{a="b", c="d\n\"\\é"}"#, &[(at, "one"), (at + 1, "two")])];
    assert_eq!(push(loki.address(), streams()).unwrap().status, 204);
    assert_eq!(push(loki.address(), streams()).unwrap().status, 204);
    assert_eq!(loki.lines(), ["one", "two"]);
    let totals = loki.totals();
    assert_eq!((totals.entries, totals.distinct, totals.requests), (4, 2, 2));
    // Another time, another stream, other metadata: none of them is a repetition.
    push(loki.address(), vec![stream(r#"{a="b"}"#, &[(at, "one"), (at + 1, "one")])]).unwrap();
    let mut tagged = stream(r#"{a="b"}"#, &[(at, "one")]);
    tagged.entries[0].metadata = vec![wire::LabelPair { name: "k".into(), value: "v".into() }];
    push(loki.address(), vec![tagged]).unwrap();
    assert_eq!(loki.distinct(), 5);
    loki.assert_no_defects();
}

/// Each row: a wrong request, the status that Loki gives, a word of the defect.
#[test]
fn refuses_and_records_what_is_wrong() {
    let at = now();
    let one = |labels: &str| body(vec![stream(labels, &[(at, "x")])]);
    let long_line = "x".repeat(rules::LINE_BYTES + 1);
    let timed = |t: i64| body(vec![stream(r#"{a="b"}"#, &[(t, "x")])]);
    let many: Vec<String> = (10..26).map(|i| format!("l{i}=\"v\"")).collect();
    let mut raw_line = stream(r#"{a="b"}"#, &[(at, "x")]);
    raw_line.entries[0].line = vec![0xff];
    let mut bad_nanos = stream(r#"{a="b"}"#, &[(at, "x")]);
    bad_nanos.entries[0].timestamp = Some(wire::Timestamp { seconds: 1, nanos: 1_000_000_000 });
    let mut heavy = stream(r#"{a="b"}"#, &[(at, "x")]);
    heavy.entries[0].metadata = vec![wire::LabelPair { name: "k".into(), value: "v".repeat(65 * 1024) }];
    let big_entries: Vec<(i64, String)> = (0..20).map(|i| (at + i, "y".repeat(250_000))).collect();
    let big: Vec<(i64, &str)> = big_entries.iter().map(|(t, l)| (*t, l.as_str())).collect();
    let rows: Vec<(&str, Vec<u8>, u16)> = vec![
        ("without streams", body(vec![]), 422),
        ("without entries", body(vec![stream(r#"{a="b"}"#, &[])]), 204),
        ("raw snappy", b"\xff\xff\xff not snappy".to_vec(), 400),
        ("not a push request", snap::raw::Encoder::new().compress_vec(b"\x0a\xff\xff\xff\x7f").unwrap(), 400),
        ("no label", one("{}"), 400),
        ("no opening brace", one("a=1"), 400),
        ("not in order", one(r#"{b="1", a="1"}"#), 400),
        ("there twice", one(r#"{a="1", a="1"}"#), 400),
        ("unexpected", one(r#"{a="1",b="1"}"#), 400),
        ("not valid", one(r#"{1a="1"}"#), 400),
        ("escape", one(r#"{a="\q"}"#), 400),
        ("not escaped", one("{a=\"x\ny\"}"), 400),
        ("empty value", one(r#"{a=""}"#), 400),
        ("label names", one(&format!("{{{}}}", many.join(", "))), 400),
        ("name too long", one(&format!("{{{}=\"v\"}}", "n".repeat(1025))), 400),
        ("value too long", one(&format!("{{a=\"{}\"}}", "v".repeat(2049))), 400),
        ("reserved", one(r#"{__stream_shard__="1"}"#), 400),
        ("max entry size", body(vec![stream(r#"{a="b"}"#, &[(at, &long_line)])]), 400),
        ("not UTF-8", body(vec![raw_line]), 400),
        ("too old", timed(at - rules::TOO_OLD_NS - 1_000_000_000), 400),
        ("too new", timed(at + rules::TOO_NEW_NS + 60_000_000_000), 400),
        ("timestamp Some", body(vec![bad_nanos]), 400),
        ("metadata too large", body(vec![heavy]), 400),
        ("request of", body(vec![stream(r#"{a="b"}"#, &big)]), 500),
    ];
    for (word, bytes, status) in rows {
        let loki = Loki::start();
        let kind = [("Content-Type", "application/x-protobuf")];
        let answer = request(loki.address(), "POST", "/loki/api/v1/push", &kind, &bytes).unwrap();
        assert_eq!(answer.status, status, "{word}: {answer:?}");
        let defects = loki.defects();
        assert!(defects.iter().any(|defect| defect.contains(word)), "{word}: {defects:?}");
    }
}

/// Headers, method and path are looked at too.
#[test]
fn refuses_wrong_heads() {
    let loki = Loki::start_with(Options { auth: true, ..Options::default() });
    let bytes = body(vec![stream(r#"{a="b"}"#, &[(now(), "x")])]);
    let ask = |to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]| {
        request(to, method, path, headers, &bytes).unwrap().status
    };
    let (path, kind, org) = ("/loki/api/v1/push", ("Content-Type", "application/x-protobuf"), ("X-Scope-OrgID", "t"));
    assert_eq!(ask(loki.address(), "POST", path, &[kind]), 401);
    assert_eq!(ask(loki.address(), "POST", path, &[org]), 400);
    assert_eq!(ask(loki.address(), "POST", path, &[org, ("Content-Type", "text/plain")]), 415);
    assert_eq!(ask(loki.address(), "POST", path, &[org, kind, ("Content-Encoding", "gzip")]), 400);
    assert_eq!(ask(loki.address(), "GET", path, &[org, kind]), 405);
    assert_eq!(ask(loki.address(), "POST", "/other", &[org, kind]), 404);
    assert_eq!(ask(loki.address(), "POST", path, &[org, kind]), 204);
    assert_eq!(loki.defects().len(), 6, "{:?}", loki.defects());
}

/// An entry more than an hour behind its stream's newest is refused, the rest of the request is stored.
#[test]
fn stores_the_valid_part_of_a_request() {
    let loki = keeping();
    let at = now();
    let old = at - rules::BEHIND_NS - 1;
    let answer =
        push(loki.address(), vec![stream(r#"{a="b"}"#, &[(at, "new"), (old, "old"), (at, "new too")])]).unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("entry too far behind"), "{}", answer.body);
    assert_eq!(loki.lines(), ["new", "new too"]);
    assert_eq!(loki.totals().refused, 1);
}

/// Every scripted fault looks as promised from outside, and none of them is held against the agent.
#[test]
fn misbehaves_as_told() {
    let loki = keeping();
    let at = now();
    let push = |text: &str| push(loki.address(), vec![stream(r#"{a="b"}"#, &[(at, text)])]);
    loki.queue([
        Answer::Status(429, vec![("Retry-After", "7".into())], "slow down".into()),
        Answer::ResetAtOnce,
        Answer::ResetMidBody,
        Answer::StoreThenReset,
        Answer::StoreThenStatus(500),
        Answer::RefuseLines(Arc::new(|line| line == "f")),
        Answer::RefuseLabels("a="),
        Answer::Late(Duration::from_millis(1)),
    ]);
    let answer = push("a").unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (429, "slow down"));
    assert!(answer.head.to_ascii_lowercase().contains("retry-after: 7"), "{}", answer.head);
    for text in ["b", "c", "d"] {
        assert!(push(text).is_err(), "{text} was answered");
    }
    assert_eq!(push("e").unwrap().status, 500);
    assert_eq!(push("f").unwrap().status, 400);
    assert_eq!(push("g").unwrap().status, 400);
    assert_eq!(push("h").unwrap().status, 204);
    assert_eq!(loki.lines(), ["d", "e", "h"]);
    loki.assert_no_defects();
}

/// A reset in mid-body is a reset and not an orderly end: a large body's writer sees its connection broken.
#[test]
fn resets_are_resets() {
    let loki = Loki::start();
    let at = now();
    let noise: String =
        (0..3_000_000u32).map(|i| char::from(b' ' + (i.wrapping_mul(2_654_435_761) >> 25) as u8 % 90)).collect();
    let lines: Vec<(i64, &str)> =
        noise.as_bytes().chunks(100_000).map(|c| (at, std::str::from_utf8(c).unwrap())).collect();
    for answer in [Answer::ResetAtOnce, Answer::ResetMidBody] {
        loki.queue([answer]);
        let error = push(loki.address(), vec![stream(r#"{a="b"}"#, &lines)]).unwrap_err();
        let kinds = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::BrokenPipe];
        assert!(kinds.contains(&error.kind()), "{error:?}");
    }
}

/// A slow reader takes at least the time that its rate asks for.
#[test]
fn reads_slowly_as_told() {
    let loki = keeping();
    loki.script(|_| Answer::SlowRead(100_000));
    let at = now();
    let text: String =
        (0..40_000u32).map(|i| char::from(b'a' + (i.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect();
    let bytes = body(vec![stream(r#"{a="b"}"#, &[(at, &text)])]);
    let start = std::time::Instant::now();
    push(loki.address(), vec![stream(r#"{a="b"}"#, &[(at, &text)])]).unwrap();
    assert!(start.elapsed() >= Duration::from_micros(bytes.len() as u64 * 9), "{:?}", start.elapsed());
    assert_eq!(loki.lines().len(), 1);
}

/// While paused nobody gets through, not even on an old connection that hangs; afterwards the same port works again.
#[test]
fn goes_down_and_comes_up_on_the_same_port() {
    let loki = Loki::start();
    let address = loki.address();
    let send = move || push(address, vec![stream(r#"{a="b"}"#, &[(now(), "x")])]);
    loki.queue([Answer::Hang]);
    let hanging = std::thread::spawn(send);
    wait_until("the hanging request to arrive", Duration::from_secs(10), || loki.requests() == 1);
    loki.pause();
    assert!(hanging.join().unwrap().is_err());
    assert!(send().is_err());
    loki.resume();
    assert_eq!(send().unwrap().status, 204);
}

/// Numbered lines survive a round, and any change to one is seen.
#[test]
fn a_changed_line_is_torn() {
    let mut text = String::new();
    line("r", 42, 200, &mut text);
    assert_eq!(text.len(), 200);
    assert_eq!(parse("r", &text), Some(42));
    assert_eq!(parse("other", &text), None);
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        assert_eq!(parse("r", &String::from_utf8_lossy(&bytes)), None, "byte {at}");
        assert_eq!(parse("r", &text[at + 1..]), None, "tail from {at}");
        assert_eq!(parse("r", &text[..at]), None, "head up to {at}");
    }
}

/// Each kind of fault is counted as that kind and no other.
#[test]
fn row_33_the_ledger_counts_faults_apart() {
    let text = |n| {
        let mut out = String::new();
        line("r", n, 80, &mut out);
        out
    };
    let taken = |rows: &[(i64, u64, bool)]| {
        let mut ledger = Ledger::new("r");
        for (at, n, repeated) in rows {
            ledger.take("s", *at, &text(*n), *repeated);
        }
        ledger
    };
    taken(&[(1, 0, false), (2, 1, false), (3, 2, false)]).verdict(3).assert_perfect(0);
    // A repetition does not hide a loss.
    let verdict = taken(&[(1, 0, false), (2, 1, false), (2, 1, true)]).verdict(3);
    assert_eq!((verdict.missing, verdict.missing_first.as_slice()), (1, [2].as_slice()));
    assert_eq!((verdict.duplicated_raw, verdict.duplicated_visible), (1, 0));
    let verdict = taken(&[(1, 0, false), (9, 0, false)]).verdict(1);
    assert_eq!((verdict.missing, verdict.duplicated_raw, verdict.duplicated_visible), (0, 1, 1));
    // Order by time and by arrival are two things.
    let verdict = taken(&[(2, 1, false), (1, 0, false)]).verdict(2);
    assert_eq!((verdict.reordered_by_arrival, verdict.reordered_by_time), (1, 0));
    let verdict = taken(&[(2, 0, false), (1, 1, false)]).verdict(2);
    assert_eq!((verdict.reordered_by_arrival, verdict.reordered_by_time), (0, 1));
    assert_eq!(taken(&[(1, 0, false), (1, 1, false)]).verdict(2).tied, 1);
    assert_eq!(taken(&[(1, 0, false), (2, 7, false)]).verdict(1).alien, 1);
    let mut ledger = taken(&[(1, 0, false)]);
    ledger.take("s", 2, &text(1)[..40], false);
    assert_eq!((ledger.verdict(2).torn, ledger.verdict(2).missing), (1, 1));
    // The order within another stream is its own.
    let mut ledger = taken(&[(1, 5, false)]);
    ledger.take("other", 2, &text(1), false);
    assert_eq!((ledger.verdict(0).reordered_by_time, ledger.verdict(0).reordered_by_arrival), (0, 0));
}

/// What the writer leaves on disk over all rotations is every line once, whole and in order.
#[test]
fn the_writer_writes_every_line_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.log");
    let mut writer = Writer::new(&path, "r");
    writer.write(1000);
    writer.rename_rotate(10);
    writer.write(500);
    writer.rename_rotate(0);
    writer.write_half();
    let half = std::fs::read(&path).unwrap();
    assert!(!half.is_empty() && !half.ends_with(b"\n"));
    writer.write(99);
    let before = std::fs::metadata(&path).unwrap().ino();
    let copied = std::fs::read(&path).unwrap();
    writer.copytruncate();
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!((after.ino(), after.len()), (before, 0));
    assert_eq!(std::fs::read(path.with_extension("copy")).unwrap(), copied);
    writer.write(50);
    writer.write_unended();
    let parts = [numbered(&path, 2), numbered(&path, 1), path.with_extension("copy"), path.clone()];
    let all: String = parts.iter().map(|part| std::fs::read_to_string(part).unwrap()).collect();
    let numbers: Vec<u64> = all.lines().map(|line| parse("r", line).unwrap()).collect();
    assert_eq!(numbers, (0..writer.written()).collect::<Vec<_>>());
    assert!(!all.ends_with('\n'));
    let mut held = std::fs::File::open(&path).unwrap();
    let mut second = Writer::new(dir.path().join("b.log"), "s");
    second.write(1);
    second.delete_recreate(1);
    second.write(1);
    assert_eq!(parse("s", std::fs::read_to_string(dir.path().join("b.log")).unwrap().trim_end()), Some(2));
    held.flush().unwrap();
}

/// Sums of metrics are by whole names, over all label sets.
#[test]
fn metrics_are_summed_by_name() {
    let text = "# HELP a_total x\na_total{b=\"c d\"} 2\na_total{b=\"e\"} 3\na_total_more 9\nplain 0.5\n";
    assert_eq!(sum(text, "a_total"), Some(5.0));
    assert_eq!(sum(text, "a_total{b=\"e\"}"), Some(3.0));
    assert_eq!(sum(text, "a_total{b=\"x\"}"), None);
    assert_eq!(sum(text, "plain"), Some(0.5));
    assert_eq!(sum(text, "a"), None);
}

/// The observer sees entries as they are stored.
#[test]
fn the_observer_sees_what_is_stored() {
    let loki = Loki::start();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    loki.observe(move |entry| sink.lock().unwrap().push((entry.line.to_owned(), entry.repeated)));
    let at = now();
    for _ in 0..2 {
        push(loki.address(), vec![stream(r#"{a="b"}"#, &[(at, "x")])]).unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [("x".to_owned(), false), ("x".to_owned(), true)]);
    assert!(holds_within(Duration::ZERO, || false).is_none());
}
