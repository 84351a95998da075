//! Sources that receive, as they are written: what is understood, and what is said of mistakes.

use crate::{good, load};
use lugger::source::receive::settings::{Address, From};

fn file(entry: &str) -> String {
    format!("loki: [{{ url: \"http://localhost\" }}]\nlogs:\n  - {entry}\n")
}

#[track_caller]
fn refused(entry: &str, words: &str) {
    let report = load(&file(entry)).expect_err(entry).to_string();
    assert!(report.contains(words), "{words}\n{report}");
}

#[test]
fn addresses() {
    for (listen, want) in [
        ("udp://0.0.0.0:1514", Address::Udp("0.0.0.0:1514".parse().unwrap())),
        ("tcp://[::1]:1514", Address::Tcp("[::1]:1514".parse().unwrap())),
        ("tcp://localhost:1514", Address::Tcp("127.0.0.1:1514".parse().unwrap())),
        ("udp://:1514", Address::Udp("[::]:1514".parse().unwrap())),
        ("unix:///tmp/s", Address::UnixStream("/tmp/s".into())),
        ("unixgram:///tmp/s", Address::UnixDatagram("/tmp/s".into())),
    ] {
        let loaded = good(&file(&format!("{{ syslog: {{ listen: \"{listen}\" }}, labels: {{ a: b }} }}")));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        assert_eq!(loaded.plan.receivers[0].settings.address(), Some(want), "{listen}");
        assert_eq!(loaded.plan.receivers[0].settings.name, "syslog");
        assert_eq!(loaded.plan.receivers[0].settings.queue_bytes, 64 << 20);
    }
    for (more, want) in [("", 120), (", idle_timeout: 1h", 3_600)] {
        let entry = format!("{{ syslog: {{ listen: \"tcp://0.0.0.0:1514\"{more} }}, labels: {{ a: b }} }}");
        let From::Syslog(syslog) = good(&file(&entry)).plan.receivers[0].settings.from.clone() else {
            panic!("{entry}")
        };
        assert_eq!(syslog.idle_timeout.as_secs(), want);
    }
    let plan = good(&file(
        "{ push: { listen: 127.0.0.1:3500 } }\n  - { gelf: {}, labels: { a: b } }\n  - { stdin: {}, labels: { a: b } }",
    ))
    .plan;
    let kinds: Vec<&str> = plan.receivers.iter().map(|receiver| receiver.settings.kind()).collect();
    assert_eq!(kinds, ["push", "gelf", "stdin"]);
    assert_eq!(plan.receivers[1].settings.from, From::Gelf("0.0.0.0:12201".parse().unwrap()));
    // A bound that nobody has written down fits into the queue.
    let small = good(&file("{ push: { listen: 127.0.0.1:3500, queue: 1MiB } }")).plan;
    let From::Push(push) = &small.receivers[0].settings.from else { panic!() };
    assert_eq!(push.body_bytes, 1 << 20);
    let times = |at: usize| plan.receivers[at].records.records.as_ref().unwrap().use_incoming_timestamp;
    assert_eq!([times(0), times(1)], [true, false]);
}

#[test]
fn mistakes() {
    for (entry, words) in [
        ("{ syslog: {}, labels: { a: b } }", "`syslog` has no `listen`"),
        ("{ syslog: { listen: \"0.0.0.0:1514\" }, labels: { a: b } }", "does not say how it listens"),
        ("{ syslog: { listen: \"sctp://0.0.0.0:1514\" }, labels: { a: b } }", "is no way to listen"),
        ("{ syslog: { listen: \"udp://host:1514\" }, labels: { a: b } }", "is no IP address and port"),
        ("{ syslog: { listen: \"tls://0.0.0.0:1514\" }, labels: { a: b } }", "TLS needs a certificate"),
        (
            "{ syslog: { listen: \"tcp://0.0.0.0:1514\", tls_config: {} }, labels: { a: b } }",
            "there is no TLS over tcp",
        ),
        ("{ syslog: { listen: \"unix://relative\" }, labels: { a: b } }", "is no path of a socket"),
        ("{ syslog: { listen: \"udp://0.0.0.0:1514\" } }", "no labels"),
        ("{ syslog: { listen: \"udp://0.0.0.0:1514\", queue: 1KiB }, labels: { a: b } }", "1KiB is out of range"),
        ("{ syslog: { listen: \"udp://0.0.0.0:1514\", max_message_length: 1MiB }, labels: { a: b } }", "out of range"),
        ("{ syslog: { listen: \"udp://0.0.0.0:1514\", location: Nowhere/X }, labels: { a: b } }", "no time zone"),
        ("{ push: {} }", "`push` has no `listen`"),
        ("{ push: { listen: \"127.0.0.1\" } }", "is no IP address and port"),
        ("{ push: { listen: \"127.0.0.1:1\", basic_auth: { username: a } } }", "needs a user name and a password"),
        ("{ push: { listen: \"127.0.0.1:1\", tls_config: { cert_file: /dev/null } } }", "certificate and its key"),
        (
            "{ push: { listen: 127.0.0.1:3500, max_send_msg_size: 100MiB } }",
            "a push of 100MiB does not fit into a queue of 64MiB",
        ),
        (
            "{ stdin: { queue: 1MiB }, labels: { a: b } }\nlimits: { line: 2MiB }",
            "a message may have 2MiB, and does not fit into a queue of 1MiB",
        ),
        ("{ gelf: { listen: \"tcp://0.0.0.0:1\" }, labels: { a: b } }", "GELF is taken by UDP only"),
        ("{ gelf: { listen: \"http://0.0.0.0:1\" }, labels: { a: b } }", "is no IP address and port"),
        (
            "{ name: a, push: { listen: 127.0.0.1:9080 } }",
            "the source \"a\" wants 127.0.0.1:9080, and the status page listens on 127.0.0.1:9080",
        ),
        (
            "{ syslog: { listen: \"tcp://0.0.0.0:9080\" }, labels: { a: b } }",
            "the source \"syslog\" wants 0.0.0.0:9080, and the status page listens on 127.0.0.1:9080",
        ),
        ("{ stdin: {}, file: { include: /x }, labels: { a: b } }", "two sources"),
        ("{ stdin: {}, labels: { a: b } }\n  - { name: b, stdin: {}, labels: { a: b } }", "both want stdin"),
        (
            "{ name: a, push: { listen: 127.0.0.1:3500 } }\n  - { name: b, syslog: { listen: \"tcp://127.0.0.1:3500\" }, labels: { a: b } }",
            "the sources \"a\" and \"b\" both want tcp://127.0.0.1:3500",
        ),
        (
            "{ name: a, syslog: { listen: \"unix:///tmp/s\" }, labels: { a: b } }\n  - { name: b, syslog: { listen: \"unixgram:///tmp/s\" }, labels: { a: b } }",
            "the sources \"a\" and \"b\" both want unixgram:///tmp/s",
        ),
    ] {
        refused(entry, words);
    }
    let warned = good(&file(
        "{ syslog: { listen: \"udp://0.0.0.0:1514\" }, labels: { a: b }, relabel_configs: [{ source_labels: [__syslog_connection_hostname], target_label: h }] }",
    ));
    assert!(warned.warnings.to_string().contains("asks no name server"), "{}", warned.warnings);
}

/// The status page may be elsewhere, and UDP is no concern of it.
#[test]
fn other_addresses_than_the_status_pages_can_be_had() {
    for entry in [
        "{ syslog: { listen: \"udp://127.0.0.1:9080\" }, labels: { a: b } }",
        "{ push: { listen: 127.0.0.2:9080 } }",
        "{ push: { listen: \"[::1]:9080\" } }",
        "{ push: { listen: 127.0.0.1:9080 } }\nhttp: { listen: none }",
        "{ push: { listen: 127.0.0.1:0 } }\nhttp: { listen: 127.0.0.1:0 }",
    ] {
        good(&file(entry));
    }
}

/// A name and a password have no place in an address, and are not shown where they are written there.
#[test]
fn an_address_with_a_password_is_refused_without_showing_it() {
    for entry in [
        "{ push: { listen: \"http://u:SECRET@127.0.0.1:3500\" } }",
        "{ gelf: { listen: \"udp://u:SECRET@127.0.0.1:3500\" }, labels: { a: b } }",
        "{ syslog: { listen: \"tcp://u:SECRET@127.0.0.1:3500\" }, labels: { a: b } }",
        "{ syslog: { listen: \"unix://u:SECRET@s\" }, labels: { a: b } }",
        "{ push: { listen: \"u:SECRET@127.0.0.1:3500\" } }",
        "{ push: { listen: u:SECRET@127.0.0.1:3500 } }",
        "{ push: {listen: 'u:SEC@RET@127.0.0.1:3500'} }",
        "{ gelf: { listen: \"u:SECRET@127.0.0.1:3500\" }, labels: { a: b } }",
        "{ syslog: { listen: \"u:SECRET@127.0.0.1:3500\" }, labels: { a: b } }",
        "{ syslog: { listen: \":SECRET@127.0.0.1:3500\" }, labels: { a: b } }",
    ] {
        let report = load(&file(entry)).expect_err(entry).to_string();
        assert!(!report.contains("SEC"), "{entry}\n{report}");
    }
}
