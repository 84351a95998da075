//! Reading the configuration again, with the real binary: what did not change is not touched, nothing is lost or repeated, an error
//! leaves everything as it was.
//!
//! `LUGGER_RELOADS` sets the number of reloads under load (100), `LUGGER_SEED` what they change; the seed is printed.

mod support;

use rustix::fs::OFlags;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::agent::{Agent, Config, FileSource, Rig, names};
use support::ledger::{Book, Ledger};
use support::loki::Loki;
use support::random::Random;
use support::wait::{holds_within, now_ns, wait_until};
use support::writer::{Writer, append_to};

const DRAIN: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);

fn coin(random: &mut Random) -> bool {
    random.below(2) == 1
}

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A ledger for each of several writers, by the name of the run.
#[derive(Clone)]
struct Books(Arc<BTreeMap<&'static str, Mutex<Ledger>>>);

impl Books {
    fn keep(loki: &Loki, runs: &[&'static str]) -> Self {
        let books = Books(Arc::new(runs.iter().map(|run| (*run, Mutex::new(Ledger::new(run)))).collect()));
        let own = books.clone();
        loki.observe(move |entry| {
            let run = entry.line.strip_prefix("run=").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
            // A line that is not recognised is torn, whoever wrote it.
            let book = own.0.get(run).or_else(|| own.0.values().next()).expect("there is a run");
            book.lock().unwrap().take(entry.stream, entry.at, entry.line, entry.repeated);
        });
        books
    }

    #[track_caller]
    fn wait(&self, run: &str, written: u64) {
        let seen = || self.0[run].lock().unwrap().seen();
        if holds_within(DRAIN, || seen() >= written).is_none() {
            panic!("{run}: {} of {written} arrived: {:#?}", seen(), self.0[run].lock().unwrap().verdict(written));
        }
    }

    fn verdict(&self, run: &str, written: u64) -> support::ledger::Verdict {
        self.0[run].lock().unwrap().verdict(written)
    }
}

fn at(answer: &support::pusher::Answer) -> (u16, &str) {
    (answer.status, answer.body.as_str())
}

/// A source that goes to `to` with this label.
fn source(rig: &Rig, name: &str, label: u64) -> FileSource {
    FileSource::new(name, rig.log(&format!("{name}.log"))).label("v", &label.to_string())
}

/// Stages that leave every line as it is, by way of very different places; with the second each line waits until it is known that the next one begins.
const STAGES: [&str; 4] = [
    "[{ drop: { expression: \"^never\" } }]",
    "[{ multiline: { firstline: \"^run=\", max_wait_time: 200ms } }]",
    "[{ logfmt: { mapping: { run: } } }, { match: { selector: \"{v=~\\\".+\\\"}\", stages: [{ labeldrop: [absent] }] } }]",
    "[{ replace: { expression: \"(never)\", replace: \"x\" } }, { output: { source: absent } }]",
];

const RUNS: [&str; 5] = ["steady", "moved", "named", "found", "extra"];

/// One configuration out of many. Lines of every source have to be at `home`, whatever it is.
fn choose(rig: &Rig, home: &Loki, away: &Loki, round: u64, random: &mut Random) -> Config {
    let wrong = "http://127.0.0.1:1/loki/api/v1/push".to_owned();
    let with_away = random.below(4) > 0;
    let mut config = Config::new(&home.url()).endpoint("batch_wait", "20ms");
    if coin(random) {
        config = config.endpoint("batch_size", "64KiB");
    }
    if with_away {
        config = config.also("away", &if random.below(3) == 0 { wrong } else { away.url() });
    }
    if random.below(4) == 0 {
        config = config.also(if coin(random) { "one" } else { "other" }, &away.url());
    }
    let mut staged = |source: FileSource| match STAGES.get(random.below(6) as usize) {
        Some(stages) => source.option("stages", stages),
        None => source,
    };
    let mut sources = vec![staged(source(rig, "steady", 0)).to("first"), source(rig, "named", round).to("first")];
    // To all endpoints, or to one of them.
    let moved = staged(source(rig, "moved", 0));
    sources.push(if coin(random) { moved.to("first") } else { moved });
    // Other patterns, the same file; now and then others beside it.
    let found = FileSource::new("found", rig.log("found.log")).label("v", "0").to("first");
    sources.push(match random.below(4) {
        0 => found,
        1 => found.include(rig.log("nothing-*.log")),
        2 => FileSource::new("found", rig.log("fo*.log")).label("v", "0").to("first").exclude(rig.log("fob*")),
        _ => FileSource::new("found", rig.path().join("**/found.log")).label("v", "0").to("first"),
    });
    if coin(random) {
        sources.push(source(rig, "extra", 0).to("first"));
    }
    if coin(random) {
        sources.push(FileSource::new(&format!("other-{round}"), rig.log("other-*.log")).to("first"));
    }
    // Their order says nothing.
    let turn = usize::try_from(random.below(u64::try_from(sources.len()).unwrap())).unwrap();
    sources.rotate_left(turn);
    sources.into_iter().fold(config, Config::source)
}

/// Labels, stages, sources, patterns and endpoints change a hundred times under load with rotation: every line of every source is at the endpoint that all
/// of them go to, once, whole and in order; also where labels changed, and no line is under two sets of labels.
#[test]
fn a_hundred_reloads_lose_nothing_and_repeat_nothing() {
    let reloads = env("LUGGER_RELOADS").unwrap_or(100);
    let seed = env("LUGGER_SEED").unwrap_or_else(|| now_ns().unsigned_abs());
    println!("LUGGER_RELOADS={reloads} LUGGER_SEED={seed}");
    let mut random = Random(seed | 1);
    let (home, away) = (Loki::start(), Loki::start());
    let (at_home, at_away) = (Books::keep(&home, &RUNS), Books::keep(&away, &RUNS));
    let rig = Rig::new();
    let done = AtomicBool::new(false);
    let written: Vec<AtomicU64> = RUNS.iter().map(|_| AtomicU64::new(0)).collect();
    let total = || written.iter().map(|n| n.load(Ordering::Acquire)).sum::<u64>();
    let final_config = |home: &Loki, away: &Loki| {
        let config = Config::new(&home.url()).also("away", &away.url());
        RUNS.iter().fold(config, |config, run| config.source(source(&rig, run, 0).to("first")))
    };
    let mut agent = rig.start(&final_config(&home, &away));
    std::thread::scope(|scope| {
        for (run, count) in RUNS.iter().zip(&written) {
            let mut writer = Writer::new(rig.log(&format!("{run}.log")), run);
            let done = &done;
            let rotates = matches!(*run, "steady" | "moved" | "found");
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    writer.write_at(3_000, 3_000);
                    if rotates {
                        writer.rename_rotate(100);
                    }
                    count.store(writer.written(), Ordering::Release);
                }
            });
        }
        // Whatever fails in here has to end the writers as well.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let _end = End(&done);
        for round in 1..=reloads {
            let config = choose(&rig, &home, &away, round, &mut random);
            if coin(&mut random) {
                rig.change(&agent, &config);
            } else {
                let count = || agent.metric("lugger_config_reloads_total{result=\"success\"}");
                let before = count();
                rig.rewrite(&agent, &config);
                agent.hang_up();
                wait_until("the signal to be obeyed", SOON, || count() > before);
            }
            assert!(!agent.has_exited());
            // At another moment of the load each time.
            let some = home.distinct() + random.below(1_000);
            let _ = holds_within(Duration::from_millis(200), || home.distinct() >= some);
        }
        // Two more, so that all that was ever there is there.
        rig.change(&agent, &final_config(&home, &away));
    });
    let mut bad = Vec::new();
    for (run, count) in RUNS.iter().zip(&written) {
        let count = count.load(Ordering::Acquire);
        at_home.wait(run, count);
        let verdict = at_home.verdict(run, count);
        println!(
            "{run}: {count} lines, {} raw duplicates, {} visible",
            verdict.duplicated_raw, verdict.duplicated_visible
        );
        let is_clean = verdict.missing + verdict.duplicated_visible + verdict.torn + verdict.alien == 0;
        let in_order = verdict.reordered_by_time + verdict.reordered_by_arrival + verdict.tied == 0;
        if !is_clean || !in_order {
            bad.push(verdict);
        }
        let elsewhere = at_away.verdict(run, count);
        if elsewhere.duplicated_visible + elsewhere.torn + elsewhere.reordered_by_time > 0 {
            bad.push(elsewhere);
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(total() > 0);
    home.assert_no_defects();
    away.assert_no_defects();
    assert_eq!(agent.metric(names::LOST), Some(0.0));
    assert_eq!(agent.stop(Duration::from_secs(8)).code, Some(0));
}

/// A file with an error: the answer, the log, the detail of /ready and the metric say so; what ran before runs on. A corrected one ends it.
#[test]
fn an_error_leaves_the_one_before_running() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "error");
    let rig = Rig::new();
    let config = Config::new(&loki.url()).source(FileSource::new("app", rig.log("app.log")));
    let mut writer = Writer::new(rig.log("app.log"), "error");
    let agent = rig.start(&config);
    writer.write(100);
    book.wait_all(100, DRAIN);
    let good = fs::read_to_string(rig.config_file()).unwrap();
    let successful = || agent.metric("lugger_config_last_reload_successful");
    let success_at = agent.metric("lugger_config_last_reload_success_timestamp_seconds").unwrap();
    assert_eq!(successful(), Some(1.0));
    assert!(success_at > 1.7e9);

    fs::write(rig.config_file(), good.replace("include:", "inlcude:") + "basic_auth: { password: hunter2 }\n").unwrap();
    let answer = agent.reload();
    let place = format!("{}:", rig.config_file().display());
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains(&place) && answer.body.contains("include"), "{}", answer.body);
    let first = answer.body.lines().next().unwrap();
    let numbers: Vec<&str> = first.strip_prefix(&place).unwrap().splitn(3, ':').collect();
    assert!(numbers[0].parse::<u32>().is_ok() && numbers[1].parse::<u32>().is_ok(), "{first}");
    assert!(!answer.body.contains("hunter2"), "{}", answer.body);
    let ready = agent.ready().unwrap();
    assert_eq!(ready.status, 200, "it is no reason not to be ready");
    assert!(ready.body.starts_with("ready\nthe configuration on disk has an error, the one from 20"), "{}", ready.body);
    assert!(ready.body.contains(first), "{}", ready.body);
    let status = agent.ask("GET", "/api/status", &[]);
    let status: serde_json::Value = serde_json::from_str(&status.body).unwrap();
    assert!(status["notes"][0].as_str().unwrap().contains(first), "{status}");
    assert_eq!(successful(), Some(0.0));
    assert_eq!(agent.metric("lugger_config_reloads_total{result=\"failure\"}"), Some(1.0));
    assert_eq!(agent.metric("lugger_config_last_reload_success_timestamp_seconds"), Some(success_at));
    wait_until("the log to say so", SOON, || agent.stderr().contains("the one before runs on"));
    assert!(agent.stderr().contains("inlcude") && !agent.stderr().contains("hunter2"), "{}", agent.stderr());
    writer.write(100);
    book.wait_all(200, DRAIN);

    // A secret that cannot be read is found before anything is changed.
    let unreadable = config
        .clone()
        .endpoint("bearer_token_file", "/nonexistent/token")
        .source(FileSource::new("more", rig.log("m")));
    rig.rewrite(&agent, &unreadable);
    let answer = agent.reload();
    assert!(answer.status == 500 && answer.body.contains("/nonexistent/token"), "{:?}", at(&answer));
    assert!(!agent.metrics().contains("more"), "{}", agent.metrics());

    rig.change(&agent, &config);
    assert_eq!(agent.ready().map(|answer| answer.body).as_deref(), Some("ready\n"));
    assert_eq!(successful(), Some(1.0));
    writer.write(100);
    book.wait_all(300, DRAIN);
    book.lock().verdict(300).assert_perfect(0);
}

/// Only a POST does it, and none that a web page could send.
#[test]
fn web_pages_cannot_ask_for_it() {
    let loki = Loki::start();
    let rig = Rig::new();
    let agent = rig.start(&Config::new(&loki.url()).source(FileSource::new("app", rig.log("app.log"))));
    assert_eq!(agent.ask("GET", "/-/reload", &[]).status, 405);
    for origin in ["http://evil.example", "null", "http://127.0.0.1"] {
        assert_eq!(agent.ask("POST", "/-/reload", &[("Origin", origin)]).status, 403, "{origin}");
    }
    assert_eq!(agent.metric("lugger_config_reloads_total"), Some(0.0));
    assert_eq!(agent.reload().status, 200);
    assert_eq!(agent.metric("lugger_config_reloads_total"), Some(1.0));
}

/// Descriptors of files in the logs' directory, and what they are of.
fn open_files(agent: &Agent, logs: &Path) -> BTreeSet<(String, u64)> {
    let entries = fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap();
    let is_log = |path: &Path| fs::read_link(path).is_ok_and(|target| target.starts_with(logs));
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_log(path))
        .filter_map(|path| Some((name(&path), fs::metadata(&path).ok()?.ino())))
        .collect()
}

/// SIGHUP reloads. A source that did not change keeps its descriptors and reads nothing again, whether patterns of others changed or not.
#[test]
fn what_did_not_change_is_not_touched() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "kept");
    let rig = Rig::new();
    let kept = || FileSource::new("kept", rig.log("kept-*.log"));
    let base = || Config::new(&loki.url()).source(kept());
    let mut writer = Writer::new(rig.log("kept-1.log"), "kept");
    let agent = rig.start(&base());
    writer.write(1_000);
    book.wait_all(1_000, DRAIN);
    writer.rename_rotate(10);
    writer.write(1_000);
    book.wait_all(writer.written(), DRAIN);
    fs::write(rig.log("new-1.log"), "").unwrap();
    wait_until("all to be settled", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    let state = || (open_files(&agent, &rig.logs()), agent.metric("lugger_source_bytes_total{source=\"kept\"}"));
    let changed = [
        base().source(FileSource::new("new", rig.log("new-*.log"))),
        Config::new(&loki.url()).source(FileSource::new("new", rig.log("ne*.log"))).source(kept()),
        base().endpoint("batch_wait", "30ms").endpoint("timeout", "3s"),
        Config::new(&loki.url()).source(kept().label("v", "1")),
        base().also("second", &loki.url()),
    ];
    for (round, config) in (1..).zip(&changed) {
        let before = state();
        let size = fs::read(rig.log("kept-1.log")).unwrap().len();
        assert_eq!(before.0.len(), 2);
        rig.rewrite(&agent, config);
        agent.hang_up();
        wait_until("the signal to be obeyed", SOON, || {
            agent.metric("lugger_config_reloads_total{result=\"success\"}") == Some(f64::from(round))
        });
        // As soon as the reading thread has come around again.
        writer.write(100);
        book.wait_all(writer.written(), DRAIN);
        let after = state();
        let kept: BTreeSet<_> = before.0.intersection(&after.0).cloned().collect();
        assert_eq!(kept, before.0, "reload {round}");
        let size = fs::read(rig.log("kept-1.log")).unwrap().len() - size;
        assert_eq!(after.1, before.1.map(|bytes| bytes + size as f64), "reload {round}: only what was written is read");
        wait_until("all to be settled", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    }
    // The last of them sends everything to the same place twice.
    book.lock().verdict(writer.written()).assert_perfect(writer.written());
}

/// The endpoint is away, batches are in flight; sources and endpoints change, the agent is killed and started again: what is sent then
/// is what was about to be sent before.
#[test]
fn a_reload_during_an_outage_and_a_kill_repeat_nothing() {
    let (home, away) = (Loki::start(), Loki::start());
    let (at_home, at_away) = (Books::keep(&home, &RUNS), Books::keep(&away, &RUNS));
    let rig = Rig::new();
    let steady = || source(&rig, "steady", 0).to("first");
    let base = || Config::new(&home.url()).endpoint("batch_wait", "20ms");
    let one = base().source(steady()).source(source(&rig, "moved", 0).to("first"));
    let two = base()
        .also("away", &away.url())
        .source(steady())
        .source(source(&rig, "extra", 0).to("first"))
        .source(source(&rig, "moved", 0));
    let mut writers = ["steady", "moved"].map(|run| Writer::new(rig.log(&format!("{run}.log")), run));
    let mut agent = rig.start(&one);
    let mut write = |rotate: bool| {
        for writer in &mut writers {
            writer.write(2_000);
            if rotate {
                writer.rename_rotate(50);
                writer.write(1_000);
            }
        }
        writers[0].written()
    };
    let mut written = write(false);
    for run in ["steady", "moved"] {
        at_home.wait(run, written);
    }
    for round in 0..3 {
        let seen = home.distinct();
        home.pause();
        written = write(round == 1);
        let read = || agent.metric("lugger_in_flight_bytes").is_some_and(|bytes| bytes > 0.0);
        wait_until("batches to be in flight", SOON, read);
        rig.change(&agent, if round % 2 == 0 { &two } else { &one });
        written = write(false).max(written);
        if round < 2 {
            rig.change(&agent, if round % 2 == 0 { &one } else { &two });
        }
        agent.kill();
        assert_eq!(home.distinct(), seen);
        home.resume();
        agent = rig.start(if round == 1 { &one } else { &two });
        for run in ["steady", "moved"] {
            at_home.wait(run, written);
        }
    }
    for run in ["steady", "moved"] {
        at_home.verdict(run, written).assert_perfect(written);
        let elsewhere = at_away.verdict(run, written);
        assert_eq!(
            (elsewhere.duplicated_visible, elsewhere.torn, elsewhere.reordered_by_time),
            (0, 0, 0),
            "{elsewhere:#?}"
        );
    }
    home.assert_no_defects();
}

/// An endpoint with a wrong address pauses for longer than this test takes; the right one is used at once. A removed endpoint holds up nobody.
#[test]
fn a_corrected_endpoint_is_used_at_once() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "wrong");
    let rig = Rig::new();
    let at_url = |url: &str| {
        Config::new(url)
            .endpoint("backoff", "{ min: 10m, max: 30m }")
            .source(FileSource::new("app", rig.log("app.log")))
    };
    let mut writer = Writer::new(rig.log("app.log"), "wrong");
    let agent = rig.start(&at_url("http://127.0.0.1:1/loki/api/v1/push"));
    writer.write(100);
    wait_until("an attempt to fail", SOON, || agent.metric(names::RETRIES).is_some_and(|n| n > 0.0));
    rig.change(&agent, &at_url(&loki.url()));
    book.wait_all(100, DRAIN);
    assert!(agent.ask("GET", "/api/status", &[]).body.contains(&loki.address().to_string()));
    // The dead one is another endpoint now, and then none.
    let both = at_url(&loki.url()).also("dead", "http://127.0.0.1:1/loki/api/v1/push");
    rig.change(&agent, &both);
    writer.write(100);
    book.wait_all(200, DRAIN);
    rig.change(&agent, &at_url(&loki.url()));
    wait_until("all to be stored by all", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    assert!(!agent.metrics().contains("endpoint=\"dead\""), "{}", agent.metrics());
    book.lock().verdict(200).assert_perfect(200);
}

/// What cannot change while it runs is named; the rest is applied.
#[test]
fn what_takes_effect_at_the_next_start_is_named() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "fixed");
    let rig = Rig::new();
    let app = || FileSource::new("app", rig.log("app.log"));
    let agent = rig.start(&Config::new(&loki.url()).source(app()));
    let elsewhere = Config::new(&loki.url()).state_dir(rig.path().join("elsewhere")).limit("memory", "32MiB");
    let mut text = elsewhere.source(app().label("v", "new"));
    text = text.label("all", "yes");
    rig.rewrite(&agent, &text);
    let yaml = fs::read_to_string(rig.config_file()).unwrap();
    let listen = yaml.lines().find(|line| line.starts_with("http:")).unwrap();
    fs::write(rig.config_file(), yaml.replace(listen, "http: { listen: \"127.0.0.1:1\" }")).unwrap();
    assert_eq!(agent.reload().status, 200);
    for name in ["state_dir takes effect at the next start", "http.listen takes effect at the next start"] {
        wait_until(name, SOON, || agent.stderr().contains(name));
    }
    Writer::new(rig.log("app.log"), "fixed").write(10);
    book.wait_all(10, DRAIN);
    assert!(book.lock().streams().iter().all(|s| s.contains("v=\"new\"") && s.contains("all=\"yes\"")));
    assert!(!rig.path().join("elsewhere").exists());
    let status: serde_json::Value = serde_json::from_str(&agent.ask("GET", "/api/status", &[]).body).unwrap();
    assert_eq!(status["in_flight_bytes_max"], 8 * 1024 * 1024);
}

/// Names of sources and endpoints that change with every reload leave nothing behind.
#[test]
fn names_that_change_leave_nothing_behind() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "names");
    let rig = Rig::new();
    let config = |round: u32| {
        let config = Config::new(&loki.url()).endpoint("name", &format!("home-{round}")).endpoint("batch_wait", "10ms");
        config
            .source(FileSource::new(&format!("app-{round}"), rig.log("app.log")))
            .source(FileSource::new(&format!("other-{round}"), rig.log("*.txt")))
    };
    let mut writer = Writer::new(rig.log("app.log"), "names");
    let agent = rig.start(&config(0));
    let series = || agent.metrics().lines().filter(|line| !line.starts_with('#')).count();
    let mut first = (0, 0);
    for round in 1..=200 {
        writer.write(200);
        book.wait_all(writer.written(), DRAIN);
        rig.change(&agent, &config(round));
        if round == 50 {
            first = (series(), agent.memory().0);
        }
    }
    writer.write(200);
    book.wait_all(writer.written(), DRAIN);
    let last = (series(), agent.memory().0);
    println!("series and bytes after 50 reloads {first:?}, after 200 {last:?}");
    assert_eq!(first.0, last.0, "{}", agent.metrics());
    // A batcher or a client that stays would be 150 times some hundred kilobytes.
    assert!(last.1 < first.1 + 8 * 1024 * 1024, "{first:?} {last:?}");
    book.lock().verdict(writer.written()).assert_perfect(writer.written());
}

/// The disk that has the configuration does not answer for a while: nothing else waits for it.
#[test]
fn a_configuration_that_is_slow_to_read_holds_up_nothing() {
    let loki = Loki::start();
    let rig = Rig::new();
    let config = Config::new(&loki.url()).source(source(&rig, "app", 0));
    let mut agent = rig.start(&config);
    let text = fs::read(rig.config_file()).unwrap();
    fs::remove_file(rig.config_file()).unwrap();
    // Opening a pipe waits until somebody writes to it.
    assert!(Command::new("mkfifo").arg(rig.config_file()).status().unwrap().success());
    let mut pipe = None;
    let nonblock = OFlags::NONBLOCK.bits() as i32;
    let mut is_read = |agent: &Agent| {
        agent.hang_up();
        // Without waiting it cannot be opened before somebody reads.
        wait_until("the configuration to be opened", SOON, || {
            pipe = fs::File::options().write(true).custom_flags(nonblock).open(rig.config_file()).ok();
            pipe.is_some()
        });
        pipe.take().unwrap()
    };
    let mut slow = is_read(&agent);
    append_to(&rig.log("app.log"), "one\n");
    wait_until("the line to be stored", SOON, || loki.distinct() == 1);
    let reloads = || agent.metric("lugger_config_reloads_total{result=\"success\"}");
    assert_eq!(reloads(), Some(0.0));
    slow.write_all(&text).unwrap();
    drop(slow);
    wait_until("the configuration to be taken over", SOON, || reloads() == Some(1.0));
    // Nor does the end wait for it.
    let _slow = is_read(&agent);
    assert_eq!(agent.stop(SOON).code, Some(0));
}
