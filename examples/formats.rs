//! What reading a line in one of the formats of the data path costs, nanoseconds.
//!
//! `cargo run --release --example formats` reads realistic lines over and over and prints the best of several rounds, with a full JSON parser
//! beside our own way of finding three of eight fields; and what metrics cost: texts of samples read and written in MB/s, and requests of remote
//! write. Ends with an error if ours is not twice as fast as that parser's tree, or a text of samples is read with less than 150 MB/s.

use lugger::format::prometheus::{parse, text};
use lugger::format::remote_write::{self, cache::Series, cache::SeriesCache, labels::LabelSet};
use lugger::format::syslog::{self, frame::Framer};
use lugger::format::{cri, docker, gelf, json, logfmt, push_json, record, remote_write_v2, rfc3339};
use lugger::model::points::Point;
use lugger::model::samples::Samples;
use serde::Deserialize;
use std::borrow::Cow;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

const ROUNDS: usize = 20;
const LINES: usize = 20_000;
/// A tree of the whole line has to cost at least so many times what finding three fields does.
const GATE: f64 = 2.0;

const JSON: &str = r#"{"ts":"2026-08-01T10:00:00.123456789Z","level":"info","logger":"http.server","msg":"request completed in 12.5ms","method":"GET","path":"/api/v1/items/1234?page=2","status":200,"duration":0.0125}"#;
const ESCAPED: &str = r#"{"ts":"2026-08-01T10:00:00.123456789Z","level":"info","logger":"http.server","msg":"GET \"/api/v1\" completed\n","method":"GET","path":"/api/v1/items/1234?page=2","status":200,"duration":0.0125}"#;
const LOGFMT: &str = r#"ts=2026-08-01T10:00:00.123456789Z level=info logger=http.server msg="request completed in 12.5ms" method=GET path=/api/v1/items/1234?page=2 status=200 duration=0.0125"#;
const DOCKER: &str = r#"{"log":"10.0.0.1 - - [01/Aug/2026:10:00:00 +0000] GET /api/v1/items/1234?page=2 HTTP/1.1 200 1234\n","stream":"stdout","time":"2026-08-01T10:00:00.123456789Z"}"#;
const CRI: &str = "2026-08-01T10:00:00.123456789Z stdout F 10.0.0.1 - - [01/Aug/2026:10:00:00 +0000] GET /api/v1/items/1234?page=2 HTTP/1.1 200 1234";

const SYSLOG_BSD: &str =
    "<30>Aug  1 10:00:00 web-1 nginx[1234]: 10.0.0.1 - - GET /api/v1/items/1234?page=2 HTTP/1.1 200 1234";
const SYSLOG_IETF: &str = r#"<30>1 2026-08-01T10:00:00.123456+02:00 web-1 nginx 1234 - [meta sequenceId="12"] 10.0.0.1 - - GET /api/v1/items/1234?page=2 HTTP/1.1 200 1234"#;
const CISCO: &str = "<189>123: sw-1: *Aug  1 10:00:00.123 UTC: %LINEPROTO-5-UPDOWN: Line protocol on Interface GigabitEthernet0/1, changed state to up";
const FORTINET: &str = r#"<189>date=2026-08-01 time=10:00:00 devname="FGT-1" devid="FG100F" eventtime=1785571200123456789 tz="+0200" logid="0000000013" type="traffic" subtype="forward" level="notice" vd="root" srcip=10.0.0.1 srcport=51000 dstip=1.1.1.1 dstport=443 action="accept""#;
const GELF: &str = r#"{"version":"1.1","host":"web-1","short_message":"GET /api/v1/items/1234?page=2 HTTP/1.1 200 1234","timestamp":1785571200.1234,"level":6,"_pid":1234,"_unit":"nginx.service"}"#;
/// MB/s at which a text of samples has to be read at least.
const PARSE_GATE: f64 = 150.0;
/// Messages in one read of a TCP stream, and entries in one push.
const MANY: usize = 500;

/// The same three fields by a derived reader that borrows.
#[derive(Deserialize)]
struct Three<'a> {
    #[serde(borrow)]
    level: Cow<'a, str>,
    #[serde(borrow)]
    msg: Cow<'a, str>,
    status: f64,
}

/// Nanoseconds a line, the best of several rounds.
fn cost(name: &str, mut read: impl FnMut()) -> f64 {
    let round = |read: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..LINES {
            read();
        }
        start.elapsed().as_nanos() as f64 / LINES as f64
    };
    let best = (0..ROUNDS).map(|_| round(&mut read)).fold(f64::INFINITY, f64::min);
    println!("{name:<44} {best:>8.0} ns a line");
    best
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut scratch = String::new();
    let mut work = json::Work::default();
    let mut found = [None; 3];
    let names = ["level", "msg", "status"];

    let plain = json::Expressions::compile(&names)?;
    let mut paths = |name: &str, line: &str| {
        cost(name, || {
            scratch.clear();
            let _ = black_box(plain.find(black_box(line), &mut work, &mut scratch, &mut found));
        })
    };
    let ours = paths("JSON, 3 of 8 fields by paths", JSON);
    paths("JSON, the same with an escaped one", ESCAPED);
    cost("JSON, 3 of 8 fields, serde borrowed", || {
        let three: Result<Three, _> = serde_json::from_str(black_box(JSON));
        let _ = black_box(three.map(|three| (three.level.len(), three.msg.len(), three.status)));
    });
    let tree = cost("JSON, serde_json::Value", || {
        let _ = black_box(serde_json::from_str::<serde_json::Value>(black_box(JSON)));
    });
    let other = json::Expressions::compile(&["level", "msg || path", "[status, duration]"])?;
    cost("JSON, 1 path and 2 other expressions", || {
        scratch.clear();
        let _ = black_box(other.find(black_box(JSON), &mut work, &mut scratch, &mut found));
    });

    let fields = logfmt::Fields::new(&names);
    cost("logfmt, 3 of 8 fields", || {
        scratch.clear();
        let _ = black_box(fields.find(black_box(LOGFMT), &mut scratch, &mut found));
    });
    let first = logfmt::Fields::new(&["ts", "level"]);
    cost("logfmt, the first 2 of 8 fields", || {
        scratch.clear();
        let _ = black_box(first.find(black_box(LOGFMT), &mut scratch, &mut found));
    });
    cost("docker", || {
        scratch.clear();
        let _ = black_box(docker::parse(black_box(DOCKER), &mut work, &mut scratch));
    });
    cost("CRI", || {
        let _ = black_box(cri::parse(black_box(CRI)));
    });
    cost("RFC 3339", || {
        let _ = black_box(rfc3339::parse(black_box("2026-08-01T10:00:00.123456789Z")));
    });
    received();
    let parsed = metrics();

    let times = tree / ours;
    println!("a tree costs {times:.1} times as much as the paths (at least {GATE} wanted)");
    println!("texts of samples are read with {parsed:.0} MB/s or more (at least {PARSE_GATE} wanted)");
    Ok(if times >= GATE && parsed >= PARSE_GATE { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a target may say: counters of two labels, a histogram, gauges, with numbers of every length.
fn exposition(open: bool) -> String {
    let mut body = String::new();
    let total = if open { "" } else { "_total" };
    for family in 0..20 {
        let name = format!("node_network_receive_{family}");
        body += &format!("# HELP {name}{total} Network device statistic {family}.\n# TYPE {name}{total} counter\n");
        for device in 0..10 {
            let value = 1.0 + 7_919.0 * f64::from(device * family) * 1e3;
            body += &format!("{name}_total{{device=\"eth{device}\",queue=\"{family}\"}} {value:e}\n");
        }
        let name = format!("http_request_duration_seconds_{family}");
        body += &format!("# HELP {name} How long requests take.\n# TYPE {name} histogram\n");
        for bucket in 0..10 {
            let exemplar = if open && bucket == 5 { " # {trace_id=\"0242ac120002\"} 0.67 1785571200.123" } else { "" };
            let (le, value) = (0.005 * f64::from(1 << bucket), 12_345 * bucket);
            body +=
                &format!("{name}_bucket{{handler=\"/api/v1/query\",method=\"get\",le=\"{le}\"}} {value}{exemplar}\n");
        }
        body += &format!("{name}_sum{{handler=\"/api/v1/query\",method=\"get\"}} 1234.56789012345\n");
        body += &format!("{name}_count{{handler=\"/api/v1/query\",method=\"get\"}} 123456\n");
        body += &format!(
            "# HELP node_load_{family} Load.\n# TYPE node_load_{family} gauge\nnode_load_{family} 0.2{family}\n"
        );
    }
    if open { body + "# EOF\n" } else { body }
}

/// The best of several rounds, nanoseconds.
fn best(mut work: impl FnMut()) -> f64 {
    let round = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            work();
        }
        start.elapsed().as_nanos() as f64 / ROUNDS as f64
    };
    (0..10 * ROUNDS).map(|_| round(&mut work)).fold(f64::INFINITY, f64::min)
}

/// What samples cost. Gives the lowest speed of the two text formats, MB/s.
fn metrics() -> f64 {
    let (mut parser, mut samples) = (parse::Parser::default(), Samples::default());
    let mut lowest = f64::INFINITY;
    for (name, form, body) in [
        ("metrics, OpenMetrics read", parse::Form::OpenMetrics, exposition(true)),
        ("metrics, text 0.0.4 read", parse::Form::Text, exposition(false)),
    ] {
        let ns = best(|| {
            samples.clear();
            let _ = black_box(parser.parse(form, black_box(body.as_bytes()), &mut samples));
        });
        let (speed, each) = (body.len() as f64 * 1e3 / ns, ns / samples.len().max(1) as f64);
        println!("{name:<44} {each:>8.0} ns a sample, {speed:.0} MB/s");
        lowest = if samples.is_empty() { 0.0 } else { lowest.min(speed) };
    }
    let count = samples.len() as f64;
    let (mut writer, mut out) = (text::Writer::default(), Vec::new());
    let ns = best(|| {
        out.clear();
        writer.write(black_box(&samples), &mut out);
    });
    println!(
        "{:<44} {:>8.0} ns a sample, {:.0} MB/s",
        "metrics, text 0.0.4 written",
        ns / count,
        out.len() as f64 * 1e3 / ns
    );

    let (mut cache, mut set) = (SeriesCache::new(10_000, 10_000_000), LabelSet::default());
    let (mut request, mut second) = (Vec::new(), remote_write_v2::Request::default());
    let families: Vec<_> = samples.families().collect();
    for v2 in [false, true] {
        let ns = best(|| {
            request.clear();
            second.clear();
            cache.begin(5);
            for sample in samples.iter() {
                let found = cache.get(sample.key, true, &mut |key, out| {
                    set.set_key(key);
                    set.add_target(&[("job", "node"), ("instance", "web-1:9100")], false);
                    set.encode(out);
                    true
                });
                let Series::Labels(labels) = found else { continue };
                let points = [Point { bits: sample.bits, time_ms: 1_785_571_200_123, start_ms: 1_785_000_000_000 }];
                match v2 {
                    false => remote_write::push_series(labels, &points, &[], &mut request),
                    true => second.push_series(labels, &points, &[], families.get(sample.family)),
                }
            }
            if v2 {
                second.finish(&mut request);
            }
        });
        let name = if v2 { "metrics, remote write 2.0" } else { "metrics, remote write 1.0" };
        println!("{name:<44} {:>8.0} ns a sample, {} bytes each", ns / count, request.len() / samples.len().max(1));
    }
    lowest
}

/// What receivers take in.
fn received() {
    let options = syslog::Options { received_ns: 1_785_578_405_000_000_000, ..syslog::Options::default() };
    for (name, line) in [
        ("syslog, RFC 3164", SYSLOG_BSD),
        ("syslog, RFC 5424", SYSLOG_IETF),
        ("syslog, Cisco", CISCO),
        ("syslog, Fortinet", FORTINET),
    ] {
        cost(name, || {
            let _ = black_box(syslog::parse(black_box(line), &options));
        });
    }
    let per = |name: &str, mut all: Box<dyn FnMut()>| {
        let ns = (0..ROUNDS).map(|_| {
            let start = Instant::now();
            all();
            start.elapsed().as_nanos() as f64 / MANY as f64
        });
        println!("{name:<44} {:>8.0} ns a line", ns.fold(f64::INFINITY, f64::min));
    };
    for (name, stream) in [
        ("syslog, a TCP stream by newlines", format!("{SYSLOG_BSD}\n").repeat(MANY)),
        ("syslog, a TCP stream by octet counts", format!("{} {SYSLOG_BSD}", SYSLOG_BSD.len()).repeat(MANY)),
    ] {
        let mut framer = Framer::new(8192);
        per(
            name,
            Box::new(move || {
                framer.push(black_box(stream.as_bytes()), |frame| {
                    black_box(frame.bytes.len());
                });
            }),
        );
    }
    let pieces = record::Pieces {
        kind: record::Kind::Syslog,
        received_ns: options.received_ns,
        time_ns: None,
        tenant: None,
        peer: Some("10.0.0.1"),
        message: SYSLOG_BSD.as_bytes(),
    };
    let mut out = Vec::new();
    cost("record, written", || {
        out.clear();
        record::encode(black_box(&pieces), [], [], &mut out);
    });
    let line = String::from_utf8_lossy(&out).into_owned();
    cost("record, read", || {
        let found = record::decode(black_box(line.trim_end_matches('\n')));
        let _ = black_box(found.map(|found| found.message.plain().map(str::len)));
    });
    let (mut work, mut scratch, mut extras) = (json::Work::default(), String::new(), Vec::new());
    cost("GELF", || {
        scratch.clear();
        let _ = black_box(gelf::parse(black_box(GELF), &mut work, &mut scratch, &mut extras));
    });
    let entry = serde_json::json!(["1785571200123456789", SYSLOG_BSD, {"trace_id": "0242ac120002"}]);
    let body = serde_json::json!({"streams": [{"stream": {"app": "web"}, "values": vec![entry; MANY]}]}).to_string();
    let mut decoder = push_json::Decoder::default();
    per(
        "push in JSON",
        Box::new(move || {
            let _ = decoder.decode(black_box(body.as_bytes()), |found| {
                black_box(matches!(found, push_json::Found::Entry(_)));
            });
        }),
    );
}
