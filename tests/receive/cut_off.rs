//! Numbered messages that are cut off: `kill -9` and a restart while the sender goes on sending.
//!
//! Who sends without answers cannot know what was taken, so it is not missed what lugger had not received yet. What it had, by its own counter, just
//! before the end has to arrive, and so has all that is sent after the last start; nothing may come twice.

use crate::senders::{Pipe, Udp, connect, local_message, message};
use crate::support::agent::{Agent, Config, FileSource, Rig, free_port};
use crate::support::ledger::{Book, line};
use crate::support::loki::Loki;
use crate::support::wait::wait_until;
use crate::tls::Files;
use crate::{DRAIN, source};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const COUNT: u64 = 100_000;
/// Where it is cut off, in hundredths; whether by a kill.
const CUTS: [(u64, bool); 3] = [(20, true), (45, false), (70, true)];

/// Sends the message of a number, as far as that works.
type Send = Box<dyn FnMut(u64)>;

/// What the sender does, for those who watch it.
#[derive(Default)]
struct Flow {
    next: AtomicU64,
    hold: AtomicBool,
    is_held: AtomicBool,
}

impl Flow {
    /// Sends all messages. Where it is held it begins a new connection afterwards.
    fn run(&self, open: &dyn Fn() -> Send) {
        let mut send = open();
        for n in 0..COUNT {
            if self.hold.load(Ordering::Acquire) {
                drop(send);
                self.is_held.store(true, Ordering::Release);
                while self.hold.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                self.is_held.store(false, Ordering::Release);
                send = open();
            }
            send(n);
            self.next.store(n + 1, Ordering::Release);
            if n % 50 == 0 {
                // No faster than a busy machine empties the kernel's buffer.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn hold(&self) {
        self.hold.store(true, Ordering::Release);
        wait_until("the sender is held", DRAIN, || {
            self.is_held.load(Ordering::Acquire) || self.next.load(Ordering::Acquire) == COUNT
        });
    }
}

fn received(agent: &Agent) -> u64 {
    assert_eq!(agent.metric("lugger_receive_kernel_dropped_total"), Some(0.0), "it cannot be said which are missing");
    agent.metric("lugger_receive_messages_total").unwrap() as u64
}

fn cut_off(run: &str, rig: &Rig, source: FileSource, open: impl Fn() -> Send + Sync) {
    let loki = Loki::start();
    let book = Book::keep(&loki, run);
    let config = Config::new(&loki.url()).source(source);
    let mut agent = rig.start(&config);
    let flow = Flow::default();
    // From which number on, and how many, were received for sure.
    let mut sure: Vec<(u64, u64)> = Vec::new();
    let mut first = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| flow.run(&open));
        for (percent, is_killed) in CUTS {
            wait_until("some more are sent", DRAIN, || flow.next.load(Ordering::Acquire) >= COUNT * percent / 100);
            wait_until("some are received", DRAIN, || received(&agent) > 0);
            sure.push((first, received(&agent)));
            if is_killed {
                agent.kill();
            } else {
                assert_eq!(agent.stop(Duration::from_secs(20)).code, Some(0));
            }
            flow.hold();
            first = flow.next.load(Ordering::Acquire);
            agent = rig.start(&config);
            flow.hold.store(false, Ordering::Release);
        }
    });
    wait_until("the rest is received", DRAIN, || received(&agent) == COUNT - first);
    sure.push((first, COUNT - first));
    let must: u64 = sure.iter().map(|(_, count)| count).sum();
    assert!(must > COUNT / 2, "{must} alone were received for sure");
    let lacks = || sure.iter().flat_map(|(first, count)| *first..first + count).find(|n| !book.lock().has(*n));
    wait_until("what was received", DRAIN, || lacks().is_none());
    let verdict = book.lock().verdict(COUNT);
    println!("{run}: {must} received for sure, {} arrived, cut off {sure:?}", book.seen());
    let faults = [verdict.duplicated_visible, verdict.alien, verdict.reordered_by_time, verdict.tied];
    assert_eq!(faults, [0; 4], "{verdict:#?}");
    // Where a connection is closed within a message, as a stop does in the end to who goes on sending, what there is of it is kept.
    let stops = CUTS.iter().filter(|(_, is_killed)| !is_killed).count() as u64;
    assert!(verdict.torn <= stops, "{verdict:#?}");
    loki.assert_no_defects();
}

fn syslog(listen: &str, more: &str) -> FileSource {
    source("syslog", &format!("{{ listen: \"{listen}\"{more} }}"))
}

fn framed(run: &str, n: u64) -> Vec<u8> {
    let text = message(run, n, 120);
    format!("{} {text}", text.len()).into_bytes()
}

#[test]
fn datagrams() {
    let to = free_port();
    cut_off("udp", &Rig::new(), syslog(&format!("udp://{to}"), ""), || {
        let sender = Udp::to(to);
        Box::new(move |n| sender.send(message("udp", n, 120).as_bytes()))
    });
}

#[test]
fn a_connection() {
    let to = free_port();
    cut_off("tcp", &Rig::new(), syslog(&format!("tcp://{to}"), ""), || {
        let mut stream = connect(to);
        Box::new(move |n| _ = stream.write_all(&framed("tcp", n)))
    });
}

/// Ends as a client should: to close a socket of which not all is read takes from the other side what is on its way to it.
struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Drop for Tls {
    fn drop(&mut self) {
        self.0.conn.send_close_notify();
        let _ = self.0.flush();
        let _ = self.0.sock.shutdown(Shutdown::Write);
        let _ = self.0.sock.read_to_end(&mut Vec::new());
    }
}

#[test]
fn a_connection_by_tls() {
    let (rig, to) = (Rig::new(), free_port());
    let files = Files::make(rig.path());
    let more = format!(", tls_config: {}", files.server(""));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(files.path("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    cut_off("tls", &rig, syslog(&format!("tls://{to}"), &more), || {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = Tls(StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), connect(to)));
        Box::new(move |n| _ = tls.0.write_all(&framed("tls", n)))
    });
}

#[test]
fn a_unix_socket_of_either_kind() {
    for kind in ["unix", "unixgram"] {
        let rig = Rig::new();
        let path = rig.path().join("in.sock");
        let source = syslog(&format!("{kind}://{}", path.display()), "");
        let text = |n| local_message(kind, n, 120);
        cut_off(kind, &rig, source, || {
            if kind == "unix" {
                let mut stream = UnixStream::connect(&path).unwrap();
                return Box::new(move |n| {
                    let text = text(n);
                    _ = stream.write_all(format!("{} {text}", text.len()).as_bytes());
                });
            }
            let socket = UnixDatagram::unbound().unwrap();
            socket.connect(&path).unwrap();
            Box::new(move |n| _ = socket.send(text(n).as_bytes()))
        });
    }
}

#[test]
fn gelf() {
    let to: SocketAddr = free_port();
    let stages = "[ { json: { expressions: { short_message: } } }, { output: { source: short_message } } ]";
    let source = source("gelf", &format!("{{ listen: \"udp://{to}\" }}")).option("stages", stages);
    cut_off("gelf", &Rig::new(), source, || {
        let sender = Udp::to(to);
        Box::new(move |n| {
            let mut text = String::new();
            line("gelf", n, 80, &mut text);
            sender.send(format!("{{\"version\":\"1.1\",\"host\":\"h\",\"short_message\":\"{text}\"}}").as_bytes());
        })
    });
}

/// What is in the pipe when it is cut off is read by the next one. A kill costs what had been read in that moment, and what it had of a line; a stop
/// makes two lines of one at the most.
#[test]
fn stdin() {
    const READ_AT_ONCE: u64 = 64 << 10;
    const LINE: usize = 100;
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, "stdin");
    let mut pipe = Pipe::new();
    let config = Config::new(&loki.url()).source(source("stdin", "{ queue: 1MiB }"));
    let mut agent = rig.start_with_stdin(&config, pipe.reader());
    let mut writer = pipe.writer().try_clone().unwrap();
    pipe.close();
    let flow = Flow::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..COUNT {
                let mut text = String::new();
                line("stdin", n, LINE, &mut text);
                text.push('\n');
                writer.write_all(text.as_bytes()).unwrap();
                flow.next.store(n + 1, Ordering::Release);
            }
            drop(writer);
        });
        for (percent, is_killed) in CUTS {
            let at = COUNT * percent / 100;
            wait_until("some more are written", DRAIN, || flow.next.load(Ordering::Acquire) >= at);
            if is_killed {
                agent.kill();
            } else {
                assert_eq!(agent.stop(Duration::from_secs(20)).code, Some(0));
            }
            agent = rig.start_with_stdin(&config, pipe.reader());
        }
    });
    // Its own ends are closed by now: lugger's is the last.
    assert_eq!(agent.wait_exit(DRAIN).code, Some(0));
    let verdict = book.lock().verdict(COUNT);
    println!("stdin: {} missing, {} torn", verdict.missing, verdict.torn);
    let kills = CUTS.iter().filter(|(_, is_killed)| *is_killed).count() as u64;
    assert!(verdict.missing <= kills * (READ_AT_ONCE / LINE as u64 + 2) + 1, "{verdict:#?}");
    assert!(verdict.torn <= kills + 2, "{verdict:#?}");
    assert_eq!((verdict.duplicated_visible, verdict.alien, verdict.reordered_by_time), (0, 0, 0), "{verdict:#?}");
    loki.assert_no_defects();
}
