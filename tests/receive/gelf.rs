//! GELF over UDP: plain, compressed, in chunks; numbered messages over restarts and kills.

use crate::senders::Udp;
use crate::support::agent::{Config, Rig, free_port};
use crate::support::ledger::{Book, line};
use crate::support::loki::Loki;
use crate::support::pusher::request;
use crate::support::wait::wait_until;
use crate::{DRAIN, agent, kept, source};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const RULES: &str = "[ { regex: __gelf_message_(.*), action: labelmap } ]";

fn chunks(message: &[u8], id: u64) -> Vec<Vec<u8>> {
    let parts: Vec<&[u8]> = message.chunks(40).collect();
    let count = u8::try_from(parts.len()).unwrap();
    let chunk = |(at, part): (u8, &&[u8])| [&[0x1e, 0x0f][..], &id.to_be_bytes(), &[at, count], part].concat();
    (0..).zip(&parts).map(chunk).collect()
}

#[test]
fn plain_compressed_and_chunked_messages_come() {
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    let value = format!("{{ listen: \"udp://{address}\", use_incoming_timestamp: true }}");
    let agent = agent(&rig, &loki, source("gelf", &value).option("relabel_configs", RULES));
    let at = crate::support::wait::now_ns() / 1_000_000_000 - 10;
    let json = |text: &str| {
        format!(
            "{{\"version\":\"1.1\",\"host\":\"web\",\"short_message\":\"{text}\",\"timestamp\":{at}.25,\"level\":3,\"_id\":7}}"
        )
    };
    let sender = Udp::to(address);
    sender.send(json("plain").as_bytes());
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(json("by gzip").as_bytes()).unwrap();
    sender.send(&gzip.finish().unwrap());
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(json("by zlib, in chunks, in any order and twice").as_bytes()).unwrap();
    let mut parts = chunks(&zlib.finish().unwrap(), 9);
    assert!(parts.len() > 2);
    parts.reverse();
    parts.insert(1, parts[0].clone());
    parts.iter().for_each(|part| sender.send(part));
    sender.send(b"no json");
    sender.send(&[0x1f, 0x8b, 1]);
    sender.send(&[0x1e, 0x0f, 1]);
    wait_until("four messages", DRAIN, || loki.lines().len() == 4);
    for text in ["plain", "by gzip", "by zlib, in chunks, in any order and twice"] {
        let entry =
            loki.entries().into_iter().find(|entry| entry.line == json(text)).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(entry.stream, "{host=\"web\", job=\"gelf\", level=\"error\", version=\"1.1\"}");
        assert_eq!(entry.at, at * 1_000_000_000 + 250_000_000);
    }
    assert!(loki.lines().contains(&"no json".to_owned()));
    for (reason, count) in [("malformed", 1.0), ("chunk", 1.0)] {
        let metric = format!("lugger_receive_refused_total{{reason=\"{reason}\"}}");
        wait_until("what is refused is counted", DRAIN, || agent.metric(&metric) == Some(count));
    }
    loki.assert_no_defects();
}

/// Numbered messages, every tenth of them in chunks.
#[test]
fn numbered_messages_come_once_over_restarts_and_kills() {
    const COUNT: u64 = 100_000;
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, "gelf");
    let address = free_port();
    let stages = "[ { json: { expressions: { short_message: } } }, { output: { source: short_message } } ]";
    let value = format!("{{ listen: \"udp://{address}\" }}");
    let config = Config::new(&loki.url()).source(source("gelf", &value).option("stages", stages));
    let mut agent = rig.start(&config);
    for part in 0..4 {
        let (from, to) = (COUNT * part / 4, COUNT * (part + 1) / 4);
        let sender = Udp::to(address);
        let received = || agent.metric("lugger_receive_messages_total").unwrap();
        for n in from..to {
            let mut text = String::new();
            line("gelf", n, 80, &mut text);
            let json = format!("{{\"version\":\"1.1\",\"host\":\"h\",\"short_message\":\"{text}\"}}");
            if n % 10 == 0 {
                chunks(json.as_bytes(), n).iter().for_each(|part| sender.send(part));
            } else {
                sender.send(json.as_bytes());
            }
            if n % 200 == 199 {
                wait_until("they are received", DRAIN, || received() + 1_000.0 >= (n + 1 - from) as f64);
            }
        }
        wait_until("the part is received", DRAIN, || received() == (to - from) as f64);
        if part % 2 == 0 {
            agent.kill();
        } else {
            assert_eq!(agent.stop(Duration::from_secs(20)).code, Some(0));
        }
        agent = rig.start(&config);
    }
    book.wait_all(COUNT, DRAIN);
    book.lock().verdict(COUNT).assert_perfect(COUNT);
    loki.assert_no_defects();
}

/// What is refused costs time and adds nothing: other sources of the thread have their turn all the same, and a stop is no less quick.
#[test]
fn a_flood_that_is_refused_holds_nobody_up() {
    let rig = Rig::new();
    let loki = kept();
    let (address, push) = (free_port(), free_port());
    let config = Config::new(&loki.url())
        .source(source("gelf", &format!("{{ listen: \"udp://{address}\" }}")))
        .source(source("push", &format!("{{ listen: \"{push}\" }}")));
    let mut agent = rig.start(&config);
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&vec![b'a'; 400_000]).unwrap();
    let bomb = zlib.finish().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let sender = Udp::to(address);
            let begin = Instant::now();
            while !done.load(Ordering::Acquire) && begin.elapsed() < DRAIN {
                sender.send(&bomb);
            }
        });
        let refused = || agent.metric("lugger_receive_refused_total{reason=\"too_large\"}").unwrap();
        wait_until("it comes", DRAIN, || refused() > 100.0);
        // It goes on until this is answered, and then until the agent has ended.
        let answer = request(push, "POST", "/api/v1/raw", &[], b"one");
        let exit = answer.as_ref().ok().map(|_| agent.stop(Duration::from_secs(30)));
        done.store(true, Ordering::Release);
        assert_eq!(answer.unwrap().status, 204);
        assert_eq!(exit.unwrap().code, Some(0));
    });
    assert!(!agent.stderr().contains("has not ended yet"), "{}", agent.stderr());
}
