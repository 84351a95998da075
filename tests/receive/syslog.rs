//! Syslog over UDP, TCP and unix sockets.

use crate::senders::{Rsyslog, Udp, connect, local_message, logger, message};
use crate::support::agent::{Config, Rig, free_port};
use crate::support::ledger::Book;
use crate::support::loki::Loki;
use crate::support::wait::wait_until;
use crate::{DRAIN, agent, kept, source};
use std::io::Write;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

const RULES: &str = "[ { regex: __syslog_message_(hostname|app_name|severity|facility|proc_id|msg_id), action: labelmap }, \
    { source_labels: [__syslog_connection_ip_address], target_label: peer } ]";

/// Labels and text of messages in both formats over all transports, and of what is neither.
#[test]
fn messages_of_both_formats_come_over_every_transport() {
    let rig = Rig::new();
    let (stream, datagram) = (rig.path().join("stream.sock"), rig.path().join("datagram.sock"));
    let (udp, tcp) = (free_port(), free_port());
    for (listen, prefix) in [
        (format!("udp://{udp}"), ""),
        (format!("tcp://{tcp}"), ""),
        (format!("unix://{}", stream.display()), "local "),
        (format!("unixgram://{}", datagram.display()), "local "),
    ] {
        let loki = kept();
        let value = format!("{{ listen: \"{listen}\", label_structured_data: true }}");
        let mut agent = agent(&rig, &loki, source("syslog", &value).option("relabel_configs", RULES));
        let host = if prefix.is_empty() { "web " } else { "" };
        let messages = [
            format!("<30>Aug  1 10:00:00 {host}cron[7]: over {listen}"),
            "<165>1 2026-08-01T10:00:00.003Z m.example evnt 9 ID47 [x@1 a=\"b\"] a text\nof two lines".to_owned(),
            "neither of them \\ at all".to_owned(),
        ];
        // Over a stream a message is counted, so that it may have lines.
        let framed: String = messages
            .iter()
            .map(|text| if text.starts_with('<') { format!("{} {text}", text.len()) } else { format!("{text}\n") })
            .collect();
        match listen.split("://").next().unwrap() {
            "udp" => messages.iter().for_each(|text| Udp::to(udp).send(text.as_bytes())),
            "tcp" => connect(tcp).write_all(framed.as_bytes()).unwrap(),
            "unix" => UnixStream::connect(&stream).unwrap().write_all(framed.as_bytes()).unwrap(),
            _ => {
                let socket = UnixDatagram::unbound().unwrap();
                messages.iter().for_each(|text| _ = socket.send_to(text.as_bytes(), &datagram).unwrap());
            }
        }
        wait_until("three messages", DRAIN, || loki.lines().len() == 3);
        let peer = if prefix.is_empty() { ", peer=\"127.0.0.1\"" } else { "" };
        let host = if prefix.is_empty() { ", hostname=\"web\"" } else { "" };
        let entries = loki.entries();
        let of = |text: &str| {
            let found = entries.iter().find(|entry| entry.line.starts_with(text));
            found.unwrap_or_else(|| panic!("{text} over {listen}: {entries:?}")).stream.clone()
        };
        assert_eq!(
            of("over "),
            format!(
                "{{app_name=\"cron\", facility=\"daemon\"{host}, job=\"syslog\"{peer}, proc_id=\"7\", severity=\"informational\"}}"
            )
        );
        assert_eq!(
            of("a text\nof two lines"),
            format!(
                "{{app_name=\"evnt\", facility=\"local4\", hostname=\"m.example\", job=\"syslog\", msg_id=\"ID47\"{peer}, proc_id=\"9\", severity=\"notice\"}}"
            )
        );
        assert_eq!(of("neither of them \\ at all"), format!("{{job=\"syslog\"{peer}}}"));
        assert_eq!(agent.metric("lugger_source_unparsed_total"), Some(1.0));
        assert_eq!(agent.metric("lugger_receive_messages_total"), Some(3.0));
        assert_eq!(agent.stop(Duration::from_secs(10)).code, Some(0));
        loki.assert_no_defects();
    }
    assert!(!stream.exists() && !datagram.exists(), "sockets are removed");
}

/// `logger` of util-linux, in its three ways.
#[test]
fn logger_is_understood() {
    let rig = Rig::new();
    let loki = kept();
    let (udp, tcp) = (free_port(), free_port());
    let path = rig.path().join("log.sock");
    let config =
        [("u", format!("udp://{udp}")), ("t", format!("tcp://{tcp}")), ("d", format!("unixgram://{}", path.display()))];
    let config = config.iter().fold(Config::new(&loki.url()), |config, (name, listen)| {
        let value = format!("{{ listen: \"{listen}\" }}");
        let source = crate::support::agent::FileSource::other("syslog", name, &value).label("job", name);
        config.source(source.option("relabel_configs", RULES))
    });
    let _agent = rig.start(&config);
    let (udp_port, tcp_port) = (udp.port().to_string(), tcp.port().to_string());
    logger(&["-n", "127.0.0.1", "-d", "-P", &udp_port, "--rfc5424", "-t", "one", "-p", "auth.warning"], "by udp\n");
    logger(&["-n", "127.0.0.1", "-T", "-P", &tcp_port, "--rfc3164", "-t", "two"], "by tcp\n");
    logger(&["-n", "127.0.0.1", "-T", "-P", &tcp_port, "--octet-count", "--rfc5424", "-t", "three"], "counted\n");
    logger(&["-u", path.to_str().unwrap(), "-t", "four"], "by the socket\n");
    wait_until("all of them", DRAIN, || loki.lines().len() == 4);
    for (text, labels) in [
        ("by udp", ["app_name=\"one\"", "facility=\"auth\"", "severity=\"warning\"", "job=\"u\""]),
        ("by tcp", ["app_name=\"two\"", "facility=\"user\"", "severity=\"notice\"", "job=\"t\""]),
        ("counted", ["app_name=\"three\"", "facility=\"user\"", "severity=\"notice\"", "job=\"t\""]),
        ("by the socket", ["app_name=\"four\"", "facility=\"user\"", "severity=\"notice\"", "job=\"d\""]),
    ] {
        let entry = loki.entries().into_iter().find(|entry| entry.line == text).unwrap_or_else(|| panic!("{text}"));
        for label in labels {
            assert!(entry.stream.contains(label), "{text}: {label} in {}", entry.stream);
        }
    }
}

/// A burst of datagrams: all that the kernel delivered are there.
#[test]
fn a_burst_of_datagrams_loses_none_that_the_kernel_delivered() {
    const COUNT: u64 = 100_000;
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, "burst");
    let address = free_port();
    let agent = agent(&rig, &loki, source("syslog", &format!("{{ listen: \"udp://{address}\" }}")));
    let sender = Udp::to(address);
    for n in 0..COUNT {
        sender.send(message("burst", n, 100).as_bytes());
    }
    let dropped = || agent.metric("lugger_receive_kernel_dropped_total").unwrap() as u64;
    wait_until("all that was delivered", DRAIN, || book.seen() + dropped() >= COUNT);
    let verdict = book.lock().verdict(COUNT);
    println!("{} of {COUNT} messages; the kernel dropped {}", book.seen(), dropped());
    assert_eq!(verdict.missing, dropped());
    assert_eq!((verdict.duplicated_visible, verdict.torn, verdict.alien, verdict.reordered_by_time), (0, 0, 0, 0));
    assert_eq!(agent.metric("lugger_receive_messages_total"), Some(book.seen() as f64));
    assert_eq!(agent.metric("lugger_inlet_dropped_records_total"), Some(0.0));
    loki.assert_no_defects();
}

/// Numbered messages over each transport, with restarts and kills between; the endpoint is away for a while.
fn numbered(kind: &str, count: u64) {
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, kind);
    let address = free_port();
    let path = rig.path().join("in.sock");
    let listen = match kind {
        "unix" => format!("unix://{}", path.display()),
        "unixgram" => format!("unixgram://{}", path.display()),
        _ => format!("{kind}://{address}"),
    };
    let config = Config::new(&loki.url()).source(source("syslog", &format!("{{ listen: \"{listen}\" }}")));
    let mut agent = rig.start(&config);
    // Of the lives before, and of this one.
    let mut received = 0.0;
    let parts = 5;
    for part in 0..parts {
        let (from, to) = (count * part / parts, count * (part + 1) / parts);
        // In an outage what was received waits in the inlet.
        if part == 2 {
            loki.pause();
        }
        match kind {
            "udp" => {
                let sender = Udp::to(address);
                for n in from..to {
                    sender.send(message(kind, n, 120).as_bytes());
                    // No faster than the kernel's buffer can be emptied: what is tested here is what was delivered.
                    if n % 200 == 199 {
                        let sent = (n + 1 - from) as f64;
                        let near = || agent.metric("lugger_receive_messages_total").unwrap() + 2_000.0 >= sent;
                        wait_until("they are received", DRAIN, near);
                    }
                }
            }
            "tcp" => {
                let mut stream = connect(address);
                for n in from..to {
                    stream.write_all(format!("{}\n", message(kind, n, 120)).as_bytes()).unwrap();
                }
            }
            "unix" => {
                let mut stream = UnixStream::connect(&path).unwrap();
                for n in from..to {
                    let text = local_message(kind, n, 120);
                    stream.write_all(format!("{} {text}", text.len()).as_bytes()).unwrap();
                }
            }
            _ => {
                let socket = UnixDatagram::unbound().unwrap();
                socket.connect(&path).unwrap();
                for n in from..to {
                    socket.send(local_message(kind, n, 120).as_bytes()).unwrap();
                }
            }
        }
        // What is received is safe from here on, whatever happens to the process.
        wait_until("the part is received", DRAIN, || {
            agent.metric("lugger_receive_messages_total") == Some((to - from) as f64)
        });
        received += agent.metric("lugger_receive_messages_total").unwrap();
        if part % 2 == 0 {
            agent.kill();
        } else {
            assert_eq!(agent.stop(Duration::from_secs(20)).code, Some(0));
        }
        if part == 3 {
            loki.resume();
        }
        agent = rig.start(&config);
    }
    assert_eq!(received, count as f64);
    book.wait_all(count, DRAIN);
    let verdict = book.lock().verdict(count);
    println!(
        "{kind}: {} missing, {} raw duplicates, {} visible",
        verdict.missing, verdict.duplicated_raw, verdict.duplicated_visible
    );
    verdict.assert_perfect(count);
    // Nothing but the file that is written to stays.
    let left = || std::fs::read_dir(rig.state().join("inlets/syslog")).unwrap().count();
    wait_until("what is stored is removed", DRAIN, || left() <= 1);
    loki.assert_no_defects();
}

#[test]
fn numbered_datagrams_come_once_over_restarts_and_kills() {
    numbered("udp", 100_000);
}

#[test]
fn numbered_messages_over_tcp_come_once_over_restarts_and_kills() {
    numbered("tcp", 100_000);
}

#[test]
fn numbered_messages_over_unix_sockets_come_once_over_restarts_and_kills() {
    numbered("unix", 100_000);
    numbered("unixgram", 20_000);
}

/// rsyslog forwards over TCP, and tries again what was not taken while lugger was away.
#[test]
fn rsyslog_forwards_over_tcp() {
    const COUNT: u64 = 20_000;
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, "rsyslog");
    let address = free_port();
    let config = Config::new(&loki.url()).source(source("syslog", &format!("{{ listen: \"tcp://{address}\" }}")));
    let _agent = rig.start(&config);
    let action = format!(
        "action(type=\"omfwd\" Target=\"127.0.0.1\" Port=\"{}\" Protocol=\"tcp\" TCP_Framing=\"octet-counted\" \
         action.resumeRetryCount=\"-1\" queue.type=\"LinkedList\" queue.size=\"200000\")",
        address.port()
    );
    let rsyslog = Rsyslog::start(rig.path(), "", &action);
    rsyslog.send((0..COUNT).map(|n| local_message("rsyslog", n, 100)));
    book.wait_all(COUNT, DRAIN);
    book.lock().verdict(COUNT).assert_perfect(0);
    loki.assert_no_defects();
}
