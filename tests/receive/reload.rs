//! Reloading: listeners whose address stays are not closed, others are; what cannot be listened on changes nothing.

use crate::senders::{Udp, connect, message};
use crate::support::agent::{Config, FileSource, Rig, free_port};
use crate::support::ledger::Book;
use crate::support::loki::Loki;
use crate::support::wait::wait_until;
use crate::{DRAIN, kept};
use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

fn syslog(name: &str, listen: &str, more: &str) -> FileSource {
    FileSource::other("syslog", name, &format!("{{ listen: \"{listen}\"{more} }}")).label("job", name)
}

/// Datagrams and a connection go on while labels, endpoints and options change, and a restart of the sockets would lose some.
#[test]
fn what_comes_during_reloads_is_not_lost() {
    const LEAST: u64 = 20_000;
    let rig = Rig::new();
    let (loki, other) = (Loki::start(), Loki::start());
    let (udp_book, tcp_book) = (Book::keep(&loki, "udp"), Book::keep(&other, "tcp"));
    let (udp, tcp) = (free_port(), free_port());
    let (udp_listen, tcp_listen) = (format!("udp://{udp}"), format!("tcp://{tcp}"));
    let base = || Config::new(&loki.url()).also("other", &other.url());
    let config = |queue: &str, more: &str| {
        let udp = syslog("udp", &udp_listen, &format!(", queue: {queue}")).to("first");
        base().source(udp).source(syslog("tcp", &tcp_listen, more).to("other"))
    };
    let variants = [
        config("64MiB", ""),
        config("32MiB", ", idle_timeout: 1h"),
        config("64MiB", ", max_message_length: 8KiB").source(FileSource::new("app", rig.log("*.log")).to("first")),
        config("16MiB", ", use_incoming_timestamp: false"),
    ];
    let agent = rig.start(&variants[0]);
    let (done, sent) = (AtomicBool::new(false), [AtomicU64::new(0), AtomicU64::new(0)]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let sender = Udp::to(udp);
            while !done.load(Ordering::Acquire) {
                let n = sent[0].fetch_add(1, Ordering::AcqRel);
                sender.send(message("udp", n, 80).as_bytes());
                if n % 20 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        scope.spawn(|| {
            // One connection for all of it.
            let mut stream = connect(tcp);
            while !done.load(Ordering::Acquire) {
                let n = sent[1].fetch_add(1, Ordering::AcqRel);
                stream.write_all(format!("{}\n", message("tcp", n, 80)).as_bytes()).unwrap();
                if n % 20 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        for round in 0..12 {
            let want = LEAST / 12 * round;
            wait_until("some more", DRAIN, || udp_book.seen() >= want && tcp_book.seen() >= want);
            rig.change(&agent, &variants[usize::try_from(round).unwrap() % variants.len()]);
        }
        done.store(true, Ordering::Release);
    });
    for (book, sent) in [(udp_book, &sent[0]), (tcp_book, &sent[1])] {
        let sent = sent.load(Ordering::Acquire);
        book.wait_all(sent, DRAIN);
        println!("{sent} sent");
        book.lock().verdict(sent).assert_perfect(sent);
    }
    assert_eq!(agent.metric("lugger_receive_kernel_dropped_total"), Some(0.0));
    loki.assert_no_defects();
    other.assert_no_defects();
}

#[test]
fn an_address_that_changes_is_given_up_and_one_in_use_changes_nothing() {
    let rig = Rig::new();
    let loki = kept();
    let (first, second) = (free_port(), free_port());
    let config = |listen: &str| Config::new(&loki.url()).source(syslog("a", listen, ""));
    let agent = rig.start(&config(&format!("tcp://{first}")));
    let send = |to, text: &str| connect(to).write_all(format!("<14>Aug  1 10:00:00 h p: {text}\n").as_bytes()).unwrap();
    send(first, "one");
    rig.change(&agent, &config(&format!("tcp://{second}")));
    send(second, "two");
    loki.wait_for("what came first", DRAIN, |line| line == "one");
    loki.wait_for("what came second", DRAIN, |line| line == "two");
    let again = TcpListener::bind(first).expect("the first address is free");
    // It is taken now: the reload fails, and the second goes on.
    rig.rewrite(&agent, &config(&format!("tcp://{first}")));
    let answer = agent.reload();
    assert_ne!(answer.status, 200);
    assert!(
        answer.body.contains(&format!("source a: cannot listen on tcp://{first}: the address is in use")),
        "{}",
        answer.body
    );
    send(second, "three");
    loki.wait_for("what came third", DRAIN, |line| line == "three");
    drop(again);
    // Gone and back: what was received before the source went is sent.
    rig.change(&agent, &Config::new(&loki.url()).source(FileSource::new("app", rig.log("*.log"))));
    assert!(std::net::TcpStream::connect(second).is_err());
    rig.change(&agent, &config(&format!("tcp://{second}")));
    send(second, "four");
    loki.wait_for("what came fourth", DRAIN, |line| line == "four");
    assert_eq!(loki.lines().len(), 4);
}

/// A socket that cannot be bound keeps the agent from starting, with the reason.
#[test]
fn a_start_that_cannot_listen_says_why() {
    let rig = Rig::new();
    let loki = kept();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let source = FileSource::other("push", "pushed", &format!("{{ listen: \"{address}\" }}"));
    let mut agent = rig.spawn(&Config::new(&loki.url()).source(source));
    assert_eq!(agent.wait_exit(DRAIN).code, Some(1));
    let said = agent.stderr();
    assert!(
        said.contains(&format!("source pushed: cannot listen on tcp://{address}: the address is in use")),
        "{said}"
    );
    assert!(said.contains("choose another port"), "{said}");
}
