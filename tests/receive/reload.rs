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

/// Sends numbered messages over one connection after the other, as senders do, until it is told to stop; how many.
fn send_on(to: std::net::SocketAddr, text: &str, done: &AtomicBool) -> u64 {
    let mut sent = 0;
    let mut stream = None;
    while !done.load(Ordering::Acquire) {
        let connected = stream.take().or_else(|| std::net::TcpStream::connect(to).ok());
        let Some(mut connected) = connected else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        if connected.write_all(format!("<14>Aug  1 10:00:00 h p: {text} {sent}\n").as_bytes()).is_ok() {
            sent += 1;
            stream = Some(connected);
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    sent
}

/// A source that is removed lets go of a connection that keeps sending; it can come back at the same or another port, and what is counted there arrives.
#[test]
fn a_busy_connection_ends_with_its_source() {
    let rig = Rig::new();
    let loki = kept();
    let (first, second) = (free_port(), free_port());
    let app = || Config::new(&loki.url()).source(FileSource::new("app", rig.log("*.log")));
    let with = |name: &str, to: std::net::SocketAddr| app().source(syslog(name, &format!("tcp://{to}"), ""));
    let agent = rig.start(&with("a", first));
    let count = |word: &str| loki.lines().iter().filter(|line| line.starts_with(word)).count() as u64;
    for (text, to, name) in [("same", first, "a"), ("other", second, "a"), ("renamed", second, "b")] {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| send_on(first, "busy", &done));
            if name == "a" {
                let before = count("busy");
                wait_until("it is busy", DRAIN, || count("busy") > before + 100);
                rig.change(&agent, &app());
                assert!(std::net::TcpStream::connect(first).is_err(), "{text}: somebody still listens");
            }
            rig.change(&agent, &with(name, to));
            done.store(true, Ordering::Release);
            sender.join().unwrap();
        });
        let received = || agent.metric("lugger_receive_messages_total").unwrap() as u64;
        let before = received();
        let mut stream = connect(to);
        for n in 0..1_000 {
            stream.write_all(format!("<14>Aug  1 10:00:00 h p: {text} {n}\n").as_bytes()).unwrap();
        }
        wait_until("all are received", DRAIN, || received() >= before + 1_000);
        wait_until("all that is received arrives", DRAIN, || count(text) == 1_000);
        drop(stream);
        rig.change(&agent, &with("a", first));
    }
}

/// Under another name at the same address a busy sender has to connect anew at most: the source of the new name goes on.
#[test]
fn a_source_that_is_renamed_goes_on() {
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    let config = |name: &str| Config::new(&loki.url()).source(syslog(name, &format!("tcp://{address}"), ""));
    let agent = rig.start(&config("a"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| send_on(address, "line", &done));
        wait_until("some", DRAIN, || loki.lines().len() > 200);
        rig.change(&agent, &config("b"));
        let renamed = || loki.entries().iter().filter(|entry| entry.stream.contains("job=\"b\"")).count();
        wait_until("some of the new name", DRAIN, || renamed() > 500);
        done.store(true, Ordering::Release);
        sender.join().unwrap();
        let received = agent.metric("lugger_receive_messages_total").unwrap() as usize;
        wait_until("all of the new name", DRAIN, || renamed() >= received);
    });
    let left: u64 = std::fs::read_dir(rig.state().join("inlets/a"))
        .map_or(0, |files| files.map(|file| file.unwrap().metadata().unwrap().len()).sum());
    println!("{left} bytes are left under the old name");
    assert!(!agent.stderr().contains("not ended yet"), "{}", agent.stderr());
}

/// A connection that outlived a change of its source's options ends when the source goes, also if it is silent.
#[test]
fn a_silent_connection_that_was_left_ends_with_its_source() {
    let rig = Rig::new();
    let loki = kept();
    let address = free_port();
    let app = || Config::new(&loki.url()).source(FileSource::new("app", rig.log("*.log")));
    let with = |more: &str| app().source(syslog("a", &format!("tcp://{address}"), more));
    let agent = rig.start(&with(""));
    let mut stream = connect(address);
    stream.write_all(b"<14>Aug  1 10:00:00 h p: one\n").unwrap();
    loki.wait_for("the first", DRAIN, |line| line == "one");
    rig.change(&agent, &with(", idle_timeout: 1h"));
    stream.write_all(b"<14>Aug  1 10:00:00 h p: two\n").unwrap();
    loki.wait_for("the second", DRAIN, |line| line == "two");
    rig.change(&agent, &app());
    stream.set_read_timeout(Some(DRAIN)).unwrap();
    assert_eq!(std::io::Read::read(&mut stream, &mut [0]).expect("it is closed"), 0);
    drop(TcpListener::bind(address).expect("the address is free"));
}

/// A longer or shorter `limits.line` is for the next message, also on a connection that stays, and of GELF.
#[test]
fn the_longest_message_changes_with_a_reload() {
    let rig = Rig::new();
    let loki = kept();
    let (gelf, tcp) = (free_port(), free_port());
    let source = FileSource::other("gelf", "g", &format!("{{ listen: \"udp://{gelf}\" }}")).label("job", "g");
    let config = Config::new(&loki.url()).source(source).source(syslog("t", &format!("tcp://{tcp}"), ""));
    let agent = rig.start(&config.clone().limit("line", "1KiB"));
    let mut stream = connect(tcp);
    let sender = Udp::to(gelf);
    let refused = || agent.metric("lugger_receive_refused_total{reason=\"too_large\"}");
    let text = "x".repeat(2_000);
    let packed = {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(format!("gelf {text}").as_bytes()).unwrap();
        zlib.finish().unwrap()
    };
    sender.send(&packed);
    stream.write_all(format!("<14>Aug  1 10:00:00 h p: {text}\n").as_bytes()).unwrap();
    wait_until("it is refused", DRAIN, || refused() == Some(1.0));
    loki.wait_for("its head", DRAIN, |line| line.contains("[truncated"));
    rig.change(&agent, &config.limit("line", "8KiB"));
    sender.send(&packed);
    stream.write_all(format!("<14>Aug  1 10:00:00 h p: {text}\n").as_bytes()).unwrap();
    loki.wait_for("all of it by GELF", DRAIN, |line| line == format!("gelf {text}"));
    loki.wait_for("all of it by syslog", DRAIN, |line| line == text);
    assert_eq!(refused(), Some(1.0));
}

/// Of a source that was removed it is told what is not sent, and nothing if all of it is.
#[test]
fn what_is_left_of_a_removed_source_is_told_if_it_is_not_sent() {
    const TOLD: &str = "is not configured, and is not sent yet";
    let rig = Rig::new();
    let loki = kept();
    let (sent, unsent) = (free_port(), free_port());
    let file = FileSource::new("app", rig.log("*.log"));
    let none = Config::new(&loki.url()).source(file.clone());
    let listens = |name, port: std::net::SocketAddr| none.clone().source(syslog(name, &format!("tcp://{port}"), ""));
    let send = |to, text: &str| connect(to).write_all(format!("<14>Aug  1 10:00:00 h p: {text}\n").as_bytes()).unwrap();
    let mut agent = rig.start(&listens("first", sent));
    send(sent, "one");
    loki.wait_for("it", DRAIN, |line| line == "one");
    rig.change(&agent, &listens("second", unsent));
    loki.pause();
    send(unsent, "two");
    wait_until("it is received", DRAIN, || {
        agent.metric("lugger_receive_messages_total{source=\"second\"}") == Some(1.0)
    });
    assert_eq!(agent.stop(Duration::from_secs(20)).code, Some(0));
    assert!(rig.state().join("inlets/first/inlet.log").exists(), "there is something of it");
    let agent = rig.start(&none);
    wait_until("the second is told", DRAIN, || agent.stderr().contains(TOLD));
    let told: Vec<String> = agent.stderr().lines().filter(|line| line.contains(TOLD)).map(str::to_owned).collect();
    assert!(told.len() == 1 && told[0].contains("source=second"), "{told:?}");
}
