//! The inlet between receivers and the file source: what is removed when, what gives way, what a power loss tears.

use crate::senders::{Udp, connect, message};
use crate::support::agent::{Agent, Config, FileSource, Rig, free_port};
use crate::support::ledger::{Book, line};
use crate::support::loki::Loki;
use crate::support::random::Random;
use crate::support::small_disk::SmallDisk;
use crate::support::wait::{holds_within, now_ns, wait_until};
use crate::{DRAIN, agent, kept, source};
use lugger::base::limits::LINE_BYTES_MAX;
use lugger::format::record::{Kind, Pieces, encode};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

fn inlet(rig: &Rig) -> PathBuf {
    rig.state().join("inlets/syslog")
}

fn names(inlet: &Path) -> Vec<String> {
    let entries = fs::read_dir(inlet).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Records of the numbered lines, as a receiver writes them; a higher number was received later.
fn records(numbers: std::ops::Range<u64>, bytes: usize) -> Vec<u8> {
    static BEGIN: LazyLock<i64> = LazyLock::new(|| now_ns() - 3_600_000_000_000);
    let begin = *BEGIN;
    let mut out = Vec::new();
    for n in numbers {
        let mut text = String::from("<14>Aug  1 10:00:00 web app[7]: ");
        line("inlet", n, bytes, &mut text);
        let received_ns = begin + i64::try_from(n).unwrap();
        let message = text.as_bytes();
        let pieces = Pieces { kind: Kind::Syslog, received_ns, time_ns: None, tenant: None, peer: None, message };
        encode(&pieces, [], [], &mut out);
    }
    out
}

fn dropped(agent: &Agent, reason: &str) -> u64 {
    agent.metric(&format!("lugger_inlet_dropped_records_total{{reason=\"{reason}\"}}")).unwrap() as u64
}

/// Files that a run before left, none of which it had read: all are read, in order, and those with a number removed. A torn end is cut and counted.
#[test]
fn what_an_earlier_run_left_is_read_in_order_and_removed() {
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, "inlet");
    // A path that is none of its own patterns.
    let state = rig.path().join("sta[t]e*");
    let inlet = state.join("inlets/syslog");
    fs::create_dir_all(&inlet).unwrap();
    // The numbers say which is older, and nothing else: the clock may have been set back, and the directory copied.
    for (at, name) in [(2, "inlet.log"), (1, "inlet.log.10"), (0, "inlet.log.9")] {
        let from = 1_000 * at;
        fs::write(inlet.join(name), records(from..from + 1_000, 100)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut file = fs::File::options().append(true).open(inlet.join("inlet.log")).unwrap();
    let torn = records(5_000..5_001, 100);
    file.write_all(&torn[..50]).unwrap();
    let address = free_port();
    let source = source("syslog", &format!("{{ listen: \"udp://{address}\" }}"));
    let agent = rig.start(&Config::new(&loki.url()).state_dir(&state).source(source));
    book.wait_all(3_000, DRAIN);
    book.lock().verdict(3_000).assert_perfect(0);
    wait_until("all are removed, the last one when nothing comes", DRAIN, || names(&inlet).is_empty());
    assert_eq!(dropped(&agent, "torn"), 1);
    assert_eq!(agent.metric("lugger_file_lost_bytes_total"), Some(0.0));
    loki.assert_no_defects();
}

/// A power loss leaves blocks of zeros, and disks change bits: the records around are whole, and what is damaged is counted, told, and sent as it is. What
/// an earlier version wrote has no checksum.
#[test]
fn what_the_disk_has_changed_is_counted_and_told() {
    let rig = Rig::new();
    let loki = kept();
    let inlet = inlet(&rig);
    fs::create_dir_all(&inlet).unwrap();
    let mut bytes = records(0..100, 100);
    let lines: Vec<usize> = memchr::memchr_iter(b'\n', &bytes).collect();
    // A bit of a text; an end, so that two are joined; a block in the middle of three, the ends of two of which it has.
    bytes[lines[10] - 5] ^= 4;
    bytes[lines[20]] ^= 1;
    bytes[lines[30] - 50..lines[31] + 50].fill(0);
    let earlier = format!("s {} - - - - - <14>Aug  1 10:00:00 web app[7]: of an earlier version\n", now_ns());
    bytes.extend_from_slice(earlier.as_bytes());
    fs::write(inlet.join("inlet.log.1"), bytes).unwrap();
    let agent = agent(&rig, &loki, source("syslog", &format!("{{ listen: \"tcp://{}\" }}", free_port())));
    // Two for the two, one for the three, all others as they were.
    let _ = holds_within(DRAIN, || loki.lines().len() >= 101 - 1 - 2);
    assert_eq!(loki.lines().len(), 101 - 1 - 2);
    assert_eq!(agent.metric("lugger_inlet_damaged_records_total"), Some(3.0));
    assert_eq!(agent.metric("lugger_source_unparsed_total"), Some(0.0));
    let odd: Vec<String> =
        loki.lines().into_iter().filter(|line| !line.starts_with("of ") && line.contains(" - ")).collect();
    assert_eq!(odd.len(), 3, "{odd:?}");
    assert!(loki.lines().iter().any(|line| line == "of an earlier version"));
    let told = agent.stderr();
    assert_eq!(told.matches("records of what was received are damaged").count(), 1, "{told}");
}

/// What is damaged has no labels that rules could judge: none drops it, and it has a label in any case.
#[test]
fn what_is_damaged_is_sent_whatever_the_rules_say() {
    for (labels, stream) in [(None, "{job=\"syslog\"}"), (Some("b"), "{site=\"b\"}")] {
        let rig = Rig::new();
        let loki = kept();
        let inlet = inlet(&rig);
        fs::create_dir_all(&inlet).unwrap();
        let mut bytes = records(0..10, 100);
        let end = bytes.len();
        bytes[end - 5] ^= 4;
        fs::write(inlet.join("inlet.log.1"), bytes).unwrap();
        let rules = "[ { source_labels: [__syslog_message_hostname], regex: .+, action: keep }, \
                     { source_labels: [__syslog_message_hostname], target_label: host } ]";
        let source = FileSource::other("syslog", "syslog", &format!("{{ listen: \"tcp://{}\" }}", free_port()))
            .option("relabel_configs", rules);
        let source = if let Some(site) = labels { source.label("site", site) } else { source };
        let agent = agent(&rig, &loki, source);
        wait_until("all ten", DRAIN, || loki.lines().len() == 10);
        let damaged: Vec<_> = loki.entries().into_iter().filter(|entry| entry.line.contains(" - - ")).collect();
        assert_eq!(damaged.iter().map(|entry| entry.stream.as_str()).collect::<Vec<_>>(), [stream]);
        assert_eq!(agent.metric("lugger_inlet_damaged_records_total"), Some(1.0));
        loki.assert_no_defects();
    }
}

/// What was received under a larger `limits.line` is whole, and cut as a line is that is too long; it stays its tenant's.
#[test]
fn what_was_received_under_a_larger_limit_is_cut_and_not_damaged() {
    let rig = Rig::new();
    let loki = kept();
    let inlet = rig.state().join("inlets/push");
    fs::create_dir_all(&inlet).unwrap();
    let mut bytes = Vec::new();
    // The largest, with the longest escapes, and one whose record alone is too long.
    let (largest, newlines) = (vec![0xff; LINE_BYTES_MAX], vec![b'\n'; 3_000]);
    for message in [&b"first"[..], &largest, &newlines, b"last"] {
        let pieces = Pieces {
            kind: Kind::Push,
            received_ns: now_ns(),
            time_ns: None,
            tenant: Some("acme"),
            peer: None,
            message,
        };
        encode(&pieces, [("app", "x")], [("meta", "data")], &mut bytes);
    }
    fs::write(inlet.join("inlet.log.1"), bytes).unwrap();
    let source = source("push", &format!("{{ listen: \"{}\" }}", free_port()));
    let agent = rig.start(&Config::new(&loki.url()).source(source).limit("line", "4KiB"));
    wait_until("all four", DRAIN, || loki.lines().len() == 4);
    assert_eq!(agent.metric("lugger_inlet_damaged_records_total"), Some(0.0));
    for entry in loki.entries() {
        assert_eq!((entry.tenant.as_str(), entry.metadata.len()), ("acme", 1), "{:.100}", entry.line);
        assert!(entry.line.len() <= 4096 && entry.stream.contains("app=\"x\""), "{:.100}", entry.line);
    }
    assert_eq!(loki.lines().iter().filter(|line| line.contains(" [truncated: line of ")).count(), 1);
    loki.assert_no_defects();
}

/// What waits is read as what it was received as, also if its source is of another kind by now.
#[test]
fn what_was_received_as_syslog_stays_syslog_in_a_source_of_pushes() {
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, "inlet");
    let inlet = rig.state().join("inlets/push");
    fs::create_dir_all(&inlet).unwrap();
    fs::write(inlet.join("inlet.log.1"), records(0..1_000, 100)).unwrap();
    let _agent = agent(&rig, &loki, source("push", &format!("{{ listen: \"{}\" }}", free_port())));
    book.wait_all(1_000, DRAIN);
    book.lock().verdict(1_000).assert_perfect(0);
    loki.assert_no_defects();
}

/// Over UDP the oldest gives way: what arrives and what is counted is all that was received, and the disk has no more than the bound.
#[test]
fn the_oldest_gives_way_and_is_counted() {
    const COUNT: u64 = 30_000;
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, "full");
    let address = free_port();
    let agent = agent(
        &rig,
        &loki,
        source("syslog", &format!("{{ listen: \"udp://{address}\", queue: 1MiB }}")).rate("{ lines: 100 }"),
    );
    let sender = Udp::to(address);
    let received = || agent.metric("lugger_receive_messages_total").unwrap() as u64;
    for n in 0..COUNT {
        sender.send(message("full", n, 200).as_bytes());
        if n % 200 == 199 {
            wait_until("they are received", DRAIN, || received() + 1_000 >= n);
        }
    }
    wait_until("all are received", DRAIN, || received() == COUNT);
    let bytes: u64 =
        fs::read_dir(inlet(&rig)).unwrap().map(|file| file.unwrap().metadata().map_or(0, |m| m.len())).sum();
    assert!(bytes <= 1 << 20, "{bytes}");
    let given_up = dropped(&agent, "full");
    assert!(given_up > COUNT / 2, "{given_up}");
    rig.change(
        &agent,
        &Config::new(&loki.url()).source(source("syslog", &format!("{{ listen: \"udp://{address}\", queue: 1MiB }}"))),
    );
    // What its reader had in hand may arrive although it is counted.
    wait_until("the rest arrives", DRAIN, || book.seen() + given_up >= COUNT);
    wait_until("the newest are kept", DRAIN, || book.lock().has(COUNT - 1));
    let verdict = book.lock().verdict(COUNT);
    assert_eq!((verdict.duplicated_visible, verdict.torn, verdict.alien), (0, 0, 0));
    assert!(book.seen() + given_up <= COUNT + 1_000, "{} and {given_up}", book.seen());
    assert_eq!(agent.metric("lugger_file_lost_bytes_total"), Some(0.0));
    loki.assert_no_defects();
}

/// Many rotations, stops and kills at random, an endpoint that fails now and then: each message once, and nothing stays on disk.
#[test]
fn files_are_removed_only_when_they_are_stored() {
    const COUNT: u64 = 60_000;
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, "random");
    let address = free_port();
    let config =
        Config::new(&loki.url()).source(source("syslog", &format!("{{ listen: \"tcp://{address}\", queue: 2MiB }}")));
    let mut random = Random(0x51ed_270b);
    let mut agent = rig.start(&config);
    let mut sent = 0;
    while sent < COUNT {
        let part = (1 + random.below(9_000)).min(COUNT - sent);
        if random.below(3) == 0 {
            loki.pause();
        }
        let mut stream = connect(address);
        let begin = agent.metric("lugger_receive_messages_total").unwrap() as u64;
        let held_up = agent.metric("lugger_receive_held_up_total").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in sent..sent + part {
                    stream.write_all(format!("{}\n", message("random", n, 250)).as_bytes()).unwrap();
                }
            });
            // A full inlet waits for the endpoint.
            let is_in = || agent.metric("lugger_receive_messages_total").unwrap() as u64 >= begin + part;
            let is_full = || agent.metric("lugger_receive_held_up_total").unwrap() > held_up;
            wait_until("they are received, or wait", DRAIN, || is_in() || is_full());
            loki.resume();
        });
        drop(stream);
        let all = || agent.metric("lugger_receive_messages_total").unwrap() as u64 == begin + part;
        wait_until("the part is received", DRAIN, all);
        sent += part;
        match random.below(4) {
            0 => _ = agent.kill(),
            1 => assert_eq!(agent.stop(Duration::from_secs(20)).code, Some(0)),
            _ => continue,
        }
        agent = rig.start(&config);
    }
    book.wait_all(COUNT, DRAIN);
    let verdict = book.lock().verdict(COUNT);
    let faults = [verdict.missing, verdict.duplicated_visible, verdict.torn, verdict.alien, verdict.reordered_by_time];
    // Files may overlap where they arrive; their times tell the order.
    assert_eq!((faults, verdict.tied), ([0; 5], 0), "{verdict:?}");
    wait_until("nothing stays", DRAIN, || names(&inlet(&rig)).is_empty());
    loki.assert_no_defects();
}

/// Only files that lugger names are its own: what somebody else put beside them is neither sent nor removed.
#[test]
fn files_of_others_are_left_alone() {
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, "inlet");
    let inlet = inlet(&rig);
    fs::create_dir_all(&inlet).unwrap();
    let foreign = ["inlet.log.1.gz", "inlet.log.bak", "inlet.log.07", "inlet.log.0", "notes"];
    for name in foreign {
        fs::write(inlet.join(name), records(5_000..5_010, 100)).unwrap();
    }
    fs::write(inlet.join("inlet.log.3"), records(0..1_000, 100)).unwrap();
    fs::write(inlet.join("inlet.log.12"), records(1_000..2_000, 100)).unwrap();
    let address = free_port();
    let agent = agent(&rig, &loki, source("syslog", &format!("{{ listen: \"tcp://{address}\" }}")));
    // One that appears while it runs.
    fs::write(inlet.join("inlet.log.old"), records(6_000..6_010, 100)).unwrap();
    let mut stream = connect(address);
    for n in 2_000..2_100 {
        stream.write_all(format!("{}\n", message("inlet", n, 100)).as_bytes()).unwrap();
    }
    book.wait_all(2_100, DRAIN);
    let ours = |name: &String| !foreign.contains(&name.as_str()) && name != "inlet.log.old";
    let left = || names(&inlet).into_iter().filter(ours).collect::<Vec<_>>();
    wait_until("its own are removed", DRAIN, || left().is_empty());
    assert_eq!(names(&inlet).len(), foreign.len() + 1);
    assert_eq!(book.seen(), 2_100);
    assert_eq!(agent.metric("lugger_file_lost_bytes_total"), Some(0.0));
}

/// What was read and waits for the endpoint is not lost when its file gives way, and is not counted as lost.
#[test]
fn what_is_on_its_way_is_not_counted_as_lost() {
    const COUNT: u64 = 20_000;
    let rig = Rig::new();
    let loki = Loki::start();
    let book = Book::keep(&loki, "way");
    let address = free_port();
    let value = format!("{{ listen: \"udp://{address}\", queue: 1MiB }}");
    let agent = agent(&rig, &loki, source("syslog", &value));
    loki.pause();
    let sender = Udp::to(address);
    let received = || agent.metric("lugger_receive_messages_total").unwrap() as u64;
    for n in 0..COUNT {
        sender.send(message("way", n, 200).as_bytes());
        if n % 200 == 199 {
            wait_until("they are received", DRAIN, || received() + 400 >= n);
        }
    }
    wait_until("all are received", DRAIN, || received() == COUNT);
    let given_up = dropped(&agent, "full");
    loki.resume();
    wait_until("the rest arrives", DRAIN, || book.seen() + given_up >= COUNT);
    wait_until("the newest are kept", DRAIN, || book.lock().has(COUNT - 1));
    println!("{} arrived, {given_up} are counted as lost", book.seen());
    assert!(book.seen() + given_up <= COUNT + COUNT / 10, "{} arrived, {given_up} counted", book.seen());
    loki.assert_no_defects();
}

/// A full inlet gives up what is not read yet, and keeps the files of what is on its way: a stop or a kill loses nothing that is not counted.
#[test]
fn what_is_on_its_way_from_a_full_inlet_survives_a_stop_and_a_kill() {
    const COUNT: u64 = 5_000;
    for is_kill in [false, true] {
        let rig = Rig::new();
        let loki = Loki::start();
        let book = Book::keep(&loki, "given");
        // Nobody listens there.
        let away = format!("http://{}", free_port());
        let address = free_port();
        let listening = || source("syslog", &format!("{{ listen: \"udp://{address}\", queue: 1MiB }}"));
        let mut agent = rig.start(&Config::new(&away).source(listening()));
        let sender = Udp::to(address);
        let received = || agent.metric("lugger_receive_messages_total").unwrap() as u64;
        for n in 0..COUNT {
            sender.send(message("given", n, 900).as_bytes());
            if n % 100 == 99 {
                wait_until("they are received", DRAIN, || received() > n);
            }
        }
        let given_up = dropped(&agent, "full");
        assert!(given_up > COUNT / 2, "{given_up}");
        assert_eq!(agent.metric("lugger_inlet_errors_total"), Some(0.0));
        assert!(agent.stderr().contains("received records are lost"), "{}", agent.stderr());
        let ready = agent.ask("GET", "/ready", &[]);
        assert_eq!(ready.status, 503);
        assert!(ready.body.contains("is full"), "{}", ready.body);
        if is_kill {
            agent.kill();
        } else {
            agent.stop(Duration::from_secs(60));
        }
        drop(agent);
        let agent = rig.start(&Config::new(&loki.url()).state_dir(rig.state()).source(listening()));
        let _ = holds_within(DRAIN, || book.seen() + given_up >= COUNT);
        wait_until("nothing waits", DRAIN, || agent.metric("lugger_source_lag_bytes") == Some(0.0));
        assert_eq!(dropped(&agent, "full"), 0);
        let verdict = book.lock().verdict(COUNT);
        assert_eq!((verdict.duplicated_visible, verdict.torn, verdict.alien), (0, 0, 0));
        assert_eq!(book.seen() + given_up, COUNT, "killed: {is_kill}; {} arrived, {given_up} are counted", book.seen());
        assert!(book.lock().has(COUNT - 1), "the newest is kept");
        loki.assert_no_defects();
    }
}

/// What inlets hold fills the disk while the endpoint is away. `/ready` tells of it, and when the endpoint is back everything goes on.
#[test]
fn a_disk_that_inlets_fill_is_free_again_when_they_are_delivered() {
    const COUNT: u64 = 3_000;
    let rig = Rig::new();
    let small = SmallDisk::at(rig.path().join("small"), "1m");
    let loki = Loki::start();
    let book = Book::keep(&loki, "small");
    let (address, of_other) = (free_port(), free_port());
    let first = source("syslog", &format!("{{ listen: \"tcp://{address}\", queue: 64MiB }}"));
    let value = format!("{{ listen: \"tcp://{of_other}\", queue: 64MiB }}");
    let second = FileSource::other("syslog", "second", &value).label("job", "second");
    let mut agent = rig.start(&Config::new(&loki.url()).state_dir(small.path()).source(first).source(second));
    agent.wait_ready();
    loki.pause();
    let (mut stream, mut idle) = (connect(address), connect(of_other));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..COUNT {
                stream.write_all(format!("{}\n", message("small", n, 1_000)).as_bytes()).unwrap();
            }
        });
        let told = || agent.ask("GET", "/ready", &[]).body.contains("the disk does not take what is received");
        wait_until("the full disk is told", DRAIN, told);
        assert_eq!(agent.ask("GET", "/ready", &[]).status, 503);
        // One that has nothing on the disk: what it needs is in the other one's file.
        idle.write_all(format!("{}\n", message("small", COUNT, 1_000)).as_bytes()).unwrap();
        loki.resume();
    });
    book.wait_all(COUNT + 1, DRAIN);
    book.lock().verdict(COUNT + 1).assert_perfect(0);
    agent.wait_ready();
    wait_until("nothing stays on the disk", DRAIN, || names(&small.path().join("inlets/syslog")).is_empty());
    assert_eq!(dropped(&agent, "disk"), 0);
    assert_eq!(agent.stop(Duration::from_secs(20)).code, Some(0));
}

/// What waits in memory for a full disk when the agent stops is in the inlet as soon as there is room.
#[test]
fn a_stop_waits_a_moment_for_room_on_a_full_disk() {
    const COUNT: u64 = 500;
    let rig = Rig::new();
    let small = SmallDisk::at(rig.path().join("small"), "1m");
    let loki = Loki::start();
    let book = Book::keep(&loki, "memory");
    let address = free_port();
    let config = Config::new(&loki.url())
        .state_dir(small.path())
        .source(source("syslog", &format!("{{ listen: \"tcp://{address}\" }}")));
    let mut agent = rig.start(&config);
    agent.wait_ready();
    let filler = small.fill();
    let mut stream = connect(address);
    for n in 0..COUNT {
        stream.write_all(format!("{}\n", message("memory", n, 500)).as_bytes()).unwrap();
    }
    wait_until("they are received", DRAIN, || agent.metric("lugger_receive_messages_total") == Some(COUNT as f64));
    assert_eq!(agent.ask("GET", "/ready", &[]).status, 503);
    let status = Command::new("kill").arg(agent.pid().to_string()).status();
    assert!(status.unwrap().success());
    // Its connection ends when nothing more is taken: from then on there is nothing left but to try again.
    let _ = stream.read(&mut [0]);
    let failed = || agent.metric("lugger_inlet_errors_total");
    let before = failed().unwrap();
    wait_until("it is tried again", DRAIN, || failed().is_none_or(|now| now > before + 3.0));
    fs::remove_file(&filler).unwrap();
    assert_eq!(agent.wait_exit(Duration::from_secs(20)).code, Some(0));
    let _agent = rig.start(&config);
    book.wait_all(COUNT, DRAIN);
    book.lock().verdict(COUNT).assert_perfect(0);
}
