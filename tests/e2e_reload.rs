//! Reading the configuration again, with the real binary: what did not change is not touched, nothing is lost or repeated, an error
//! leaves everything as it was.
//!
//! `LUGGER_RELOADS` sets the number of reloads under load (100), `LUGGER_SEED` what they change; the seed is printed.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::agent::{Agent, Config, FileSource, Rig, names};
use support::ledger::{Book, Ledger};
use support::loki::Loki;
use support::wait::{holds_within, now_ns, wait_until};
use support::writer::Writer;

const DRAIN: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);

/// xorshift64: reproducible choices.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 1
    }
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

#[track_caller]
fn reload(rig: &Rig, agent: &Agent, config: &Config) {
    rig.rewrite(agent, config);
    let answer = agent.reload();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// A source that goes to `to` with this label.
fn source(rig: &Rig, name: &str, label: u64) -> FileSource {
    FileSource::new(name, rig.log(&format!("{name}.log"))).label("v", &label.to_string())
}

const RUNS: [&str; 5] = ["steady", "moved", "named", "found", "extra"];

/// One configuration out of many. Lines of every source have to be at `home`, whatever it is.
fn choose(rig: &Rig, home: &Loki, away: &Loki, round: u64, random: &mut Random) -> Config {
    let wrong = "http://127.0.0.1:1/loki/api/v1/push".to_owned();
    let with_away = random.below(4) > 0;
    let mut config = Config::new(&home.url()).endpoint("batch_wait", "20ms");
    if random.coin() {
        config = config.endpoint("batch_size", "64KiB");
    }
    if with_away {
        config = config.also("away", &if random.below(3) == 0 { wrong } else { away.url() });
    }
    if random.below(4) == 0 {
        config = config.also(if random.coin() { "one" } else { "other" }, &away.url());
    }
    let mut sources = vec![source(rig, "steady", 0).to("first"), source(rig, "named", round).to("first")];
    // To all endpoints, or to one of them.
    let moved = source(rig, "moved", 0);
    sources.push(if random.coin() { moved.to("first") } else { moved });
    // Other patterns, the same file; now and then others beside it.
    let found = FileSource::new("found", rig.log("found.log")).label("v", "0").to("first");
    sources.push(match random.below(4) {
        0 => found,
        1 => found.include(rig.log("nothing-*.log")),
        2 => FileSource::new("found", rig.log("fo*.log")).label("v", "0").to("first").exclude(rig.log("fob*")),
        _ => FileSource::new("found", rig.path().join("**/found.log")).label("v", "0").to("first"),
    });
    if random.coin() {
        sources.push(source(rig, "extra", 0).to("first"));
    }
    if random.coin() {
        sources.push(FileSource::new(&format!("other-{round}"), rig.log("other-*.log")).to("first"));
    }
    // Their order says nothing.
    let turn = usize::try_from(random.below(u64::try_from(sources.len()).unwrap())).unwrap();
    sources.rotate_left(turn);
    sources.into_iter().fold(config, Config::source)
}

/// Labels, sources, patterns and endpoints change a hundred times under load with rotation: every line of every source is at the endpoint that all
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
            if random.coin() {
                reload(&rig, &agent, &config);
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
        reload(&rig, &agent, &final_config(&home, &away));
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

    reload(&rig, &agent, &config);
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
        reload(&rig, &agent, if round % 2 == 0 { &two } else { &one });
        written = write(false).max(written);
        if round < 2 {
            reload(&rig, &agent, if round % 2 == 0 { &one } else { &two });
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
    reload(&rig, &agent, &at_url(&loki.url()));
    book.wait_all(100, DRAIN);
    assert!(agent.ask("GET", "/api/status", &[]).body.contains(&loki.address().to_string()));
    // The dead one is another endpoint now, and then none.
    let both = at_url(&loki.url()).also("dead", "http://127.0.0.1:1/loki/api/v1/push");
    reload(&rig, &agent, &both);
    writer.write(100);
    book.wait_all(200, DRAIN);
    reload(&rig, &agent, &at_url(&loki.url()));
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
        reload(&rig, &agent, &config(round));
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

/// Nothing is left to be stored, and cursors say so: what is started again sends nothing.
#[track_caller]
fn assert_settled(rig: &Rig, mut agent: Agent, config: &Config, lokis: &[&Loki]) {
    wait_until("all to be stored by all", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    agent.kill();
    let requests = || lokis.iter().map(|loki| loki.requests()).collect::<Vec<_>>();
    let before = requests();
    let agent = rig.start(config);
    wait_until("the state to be read", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    Writer::new(rig.log("mark.log"), "mark").write(1);
    wait_until("the mark to be read", SOON, || {
        agent.metric("lugger_source_lines_total{source=\"mark\"}").is_some_and(|lines| lines > 0.0)
    });
    wait_until("the mark to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    let more: Vec<u64> = requests().iter().zip(&before).map(|(now, then)| now - then).collect();
    assert!(more.iter().all(|more| *more <= 1), "only the mark was to be sent: {more:?}");
}

/// Writes until several batches wait to be sent, some lines are in none yet, and a file has been rotated.
fn write_ahead(agent: &Agent, writer: &mut Writer) {
    for _ in 0..3 {
        writer.write(1_500);
        writer.rename_rotate(50);
    }
    writer.write(1_500);
    let sealed = || agent.metric("lugger_in_flight_bytes").is_some_and(|bytes| bytes > 0.0);
    wait_until("batches to be in flight", SOON, sealed);
    let lines = "lugger_source_lines_total{source=\"app\"}";
    let written = writer.written() as f64;
    wait_until("all to be read", SOON, || agent.metric(lines).is_some_and(|lines| lines >= written));
    writer.write(10);
}

/// Batches of a few hundred lines, and the source `app` that goes to all endpoints.
fn small_batches(rig: &Rig, loki: &Loki) -> Config {
    Config::new(&loki.url())
        .endpoint("batch_size", "64KiB")
        .endpoint("batch_wait", "100ms")
        .source(FileSource::new("app", rig.log("app.log")))
        .source(FileSource::new("mark", rig.log("mark.log")).start_at("beginning"))
}

/// The only endpoint is down, much is in flight; another one is added. It gets every line that the first has not stored; and so does the first
/// when it is back. The lag goes away without a restart.
#[test]
fn an_added_endpoint_gets_what_is_not_stored() {
    let (a, b) = (Loki::start(), Loki::start());
    let (at_a, at_b) = (Book::keep(&a, "added"), Book::keep(&b, "added"));
    let rig = Rig::new();
    let alone = small_batches(&rig, &a);
    let both = alone.clone().also("second", &b.url());
    let mut writer = Writer::new(rig.log("app.log"), "added");
    let agent = rig.start(&alone);
    writer.write(1_000);
    at_a.wait_all(1_000, DRAIN);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    a.pause();
    write_ahead(&agent, &mut writer);
    reload(&rig, &agent, &both);
    let added = writer.written();
    wait_from(&at_b, 1_000, added);
    a.resume();
    at_a.wait_all(added, DRAIN);
    wait_until("all to be stored by both", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    writer.write(500);
    at_a.wait_all(writer.written(), DRAIN);
    wait_from(&at_b, 1_000, writer.written());
    at_a.lock().verdict(writer.written()).assert_perfect(writer.written());
    assert_from(&at_b, 1_000, writer.written());
    assert_settled(&rig, agent, &both, &[&a, &b]);
    a.assert_no_defects();
    b.assert_no_defects();
}

/// Waits until the lines from `first` on are there.
#[track_caller]
fn wait_from(book: &Book, first: u64, written: u64) {
    let has_all = || {
        let book = book.lock();
        (first..written).all(|n| book.has(n))
    };
    if holds_within(DRAIN, has_all).is_none() {
        panic!("lines {first} to {written} did not all come: {:#?}", book.lock().verdict(written));
    }
}

/// All lines from `first` on, and none of those before, are there once and in order.
#[track_caller]
fn assert_from(book: &Book, first: u64, written: u64) {
    let verdict = book.lock().verdict(written);
    assert_eq!(verdict.missing, first, "{verdict:#?}");
    assert!((first..written).all(|n| book.lock().has(n)), "{verdict:#?}");
    support::ledger::Verdict { missing: 0, ..verdict }.assert_perfect(written);
}

/// One of two endpoints is down and is removed: the lag goes away and cursors move, without a restart and without sending anything twice.
#[test]
fn a_removed_endpoint_is_not_waited_for() {
    let (a, b) = (Loki::start(), Loki::start());
    let (at_a, at_b) = (Book::keep(&a, "removed"), Book::keep(&b, "removed"));
    let rig = Rig::new();
    // Without a spool, which would take the place of what is down.
    let alone = small_batches(&rig, &a).limit("spool", "0");
    let both = alone.clone().also("second", &b.url());
    let mut writer = Writer::new(rig.log("app.log"), "removed");
    let agent = rig.start(&both);
    writer.write(1_000);
    at_a.wait_all(1_000, DRAIN);
    at_b.wait_all(1_000, DRAIN);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    b.pause();
    write_ahead(&agent, &mut writer);
    at_a.wait_all(writer.written(), DRAIN);
    wait_until("the lag to be told", SOON, || agent.metric(names::LAG_BYTES).is_some_and(|bytes| bytes > 0.0));
    reload(&rig, &agent, &alone);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    writer.write(500);
    at_a.wait_all(writer.written(), DRAIN);
    at_a.lock().verdict(writer.written()).assert_perfect(writer.written());
    assert_eq!(at_b.seen(), 1_000);
    assert_settled(&rig, agent, &alone, &[&a]);
    a.assert_no_defects();
}

/// An endpoint that is down gets another name and another address at once: whoever is there now gets what was not stored.
#[test]
fn a_renamed_endpoint_gets_what_is_not_stored() {
    let (a, c) = (Loki::start(), Loki::start());
    let (at_a, at_c) = (Book::keep(&a, "renamed"), Book::keep(&c, "renamed"));
    let rig = Rig::new();
    let old = small_batches(&rig, &a);
    let new = small_batches(&rig, &c).endpoint("name", "other");
    let mut writer = Writer::new(rig.log("app.log"), "renamed");
    let agent = rig.start(&old);
    writer.write(1_000);
    at_a.wait_all(1_000, DRAIN);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    a.pause();
    write_ahead(&agent, &mut writer);
    reload(&rig, &agent, &new);
    wait_from(&at_c, 1_000, writer.written());
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    writer.write(500);
    wait_from(&at_c, 1_000, writer.written());
    assert_from(&at_c, 1_000, writer.written());
    assert_eq!(at_a.seen(), 1_000);
    assert_settled(&rig, agent, &new, &[&c]);
    c.assert_no_defects();
}

/// An endpoint is away, and what it has not got is in memory; it is removed and comes back: it gets what was read before it was removed and
/// what is read since, without a hole in either.
#[test]
fn a_removed_endpoint_that_comes_back_gets_what_it_had_missed() {
    let (home, away) = (Loki::start(), Loki::start());
    let (at_home, at_away) = (Book::keep(&home, "back"), Book::keep(&away, "back"));
    let rig = Rig::new();
    let base = || Config::new(&home.url()).endpoint("batch_wait", "20ms").endpoint("batch_size", "64KiB");
    let without = base().source(source(&rig, "app", 0));
    let with = base().also("away", &away.url()).source(source(&rig, "app", 0));
    let mut writer = Writer::new(rig.log("app.log"), "back");
    let agent = rig.start(&with);
    writer.write(1_000);
    at_home.wait_all(1_000, DRAIN);
    at_away.wait_all(1_000, DRAIN);
    away.pause();
    writer.write(4_000);
    at_home.wait_all(5_000, DRAIN);
    assert_eq!(agent.metric("lugger_spool_written_frames_total"), Some(0.0), "all of it is in memory");
    reload(&rig, &agent, &without);
    writer.write(500);
    at_home.wait_all(5_500, DRAIN);
    wait_until("all to be settled", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    away.resume();
    reload(&rig, &agent, &with);
    writer.write(500);
    at_home.wait_all(6_000, DRAIN);
    let seen = || at_away.seen();
    assert!(holds_within(DRAIN, || seen() >= 5_500).is_some(), "{} lines arrived", seen());
    wait_until("all to be settled", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    let verdict = at_away.lock().verdict(6_000);
    let wrong = verdict.duplicated_visible + verdict.torn + verdict.reordered_by_time;
    assert_eq!((verdict.missing, wrong), (500, 0), "those while it was not there: {verdict:#?}");
    at_home.lock().verdict(6_000).assert_perfect(6_000);
    assert_eq!(agent.metric("lugger_removed_endpoint_lines_total"), Some(0.0));
}

/// Lines of a truncated file are in memory alone. When their endpoint is removed before it takes them, that is counted and said.
#[test]
fn what_goes_with_a_removed_endpoint_is_counted() {
    let (one, two) = (Loki::start(), Loki::start());
    let book = Book::keep(&one, "gone");
    let rig = Rig::new();
    let config = |name: &str, loki: &Loki| {
        let config = Config::new(&loki.url()).endpoint("name", name).endpoint("batch_wait", "20ms");
        config.source(FileSource::new("app", rig.log("app.log")))
    };
    let mut writer = Writer::new(rig.log("app.log"), "gone");
    let agent = rig.start(&config("one", &one));
    writer.write(100);
    book.wait_all(100, DRAIN);
    one.pause();
    writer.write(300);
    let in_flight = || {
        agent.metric("lugger_source_lines_total") == Some(400.0) && agent.metric("lugger_in_flight_bytes") > Some(0.0)
    };
    wait_until("the lines to be in flight", SOON, in_flight);
    wait_until("all of them to be in a batch", SOON, || agent.metric("lugger_endpoint_queue_batches") >= Some(1.0));
    writer.copytruncate();
    wait_until("the file to begin again", SOON, || agent.metric("lugger_file_truncated_total") == Some(1.0));
    reload(&rig, &agent, &config("two", &two));
    let lines = agent.metric("lugger_removed_endpoint_lines_total").unwrap();
    assert!(lines > 0.0 && lines <= 300.0, "{lines}");
    assert!(agent.stderr().contains("the endpoint is removed"), "{}", agent.stderr());
}

/// Bytes that were read and are not stored, once nothing more is read.
fn in_flight(agent: &Agent) -> f64 {
    agent.metric("lugger_in_flight_bytes").unwrap_or_default()
}

/// A source of the path of `heir.log` that reads slowly, so that the most of it is not read.
fn slow(rig: &Rig, name: &str, pattern: &str) -> FileSource {
    FileSource::new(name, rig.log(pattern)).rate("{ lines: 100, bytes: 1MiB, burst: 1s }")
}

/// While the endpoint is away files are rotated, and one is deleted while it is held; then the source gets another name and another pattern: under it
/// everything goes on where it was.
#[test]
fn a_renamed_source_reads_what_was_rotated_and_deleted() {
    for deletes in [false, true] {
        let loki = Loki::start();
        let book = Book::keep(&loki, "heir");
        let rig = Rig::new();
        let config = |source: FileSource| Config::new(&loki.url()).endpoint("batch_wait", "20ms").source(source);
        let mut writer = Writer::new(rig.log("heir.log"), "heir");
        let agent = rig.start(&config(slow(&rig, "one", "heir.log")));
        writer.write(50);
        book.wait_all(50, DRAIN);
        loki.pause();
        writer.write(3_000);
        wait_until("a part to be in flight", SOON, || in_flight(&agent) > 0.0);
        writer.rename_rotate(100);
        writer.write(2_000);
        let files = || agent.metric("lugger_source_files");
        let met = |count| wait_until("the files to be met", SOON, || files() == Some(count));
        met(2.0);
        if deletes {
            writer.delete_recreate(100);
        } else {
            writer.rename_rotate(100);
        }
        writer.write(1_000);
        met(3.0);
        // Another source, of other files, gets nothing of it.
        let other = FileSource::new("aside", rig.log("aside-*.log"));
        let renamed = FileSource::new("two", rig.path().join("**/heir.log"));
        reload(&rig, &agent, &config(other).source(renamed));
        loki.resume();
        book.wait_all(writer.written(), DRAIN);
        wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
        // What is in flight goes on as it is: nothing is read again.
        book.lock().verdict(writer.written()).assert_perfect(0);
        assert_eq!(agent.metric(names::LOST), Some(0.0));
        loki.assert_no_defects();
        // The positions are those of the new name: after a restart nothing is sent again.
        drop(agent);
        let agent = rig.start(&config(FileSource::new("two", rig.log("heir.log"))));
        writer.write(100);
        book.wait_all(writer.written(), DRAIN);
        wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
        assert_eq!(book.lock().verdict(writer.written()).duplicated_visible, 0);
    }
}

/// The same while it does not run: the rest of a rotated file is read under the new name.
#[test]
fn a_source_that_is_renamed_between_runs_reads_what_was_rotated() {
    let loki = Loki::start();
    let book = Book::keep(&loki, "heir");
    let rig = Rig::new();
    let mut writer = Writer::new(rig.log("heir.log"), "heir");
    let mut agent = rig.start(&Config::new(&loki.url()).source(slow(&rig, "one", "heir.log")));
    writer.write(2_000);
    wait_until("the beginning to be stored", SOON, || book.seen() > 0);
    agent.kill();
    assert!(book.seen() < 2_000);
    writer.rename_rotate(100);
    writer.write(500);
    let other = FileSource::new("aside", rig.log("aside-*.log"));
    let renamed = FileSource::new("two", rig.log("he*.log"));
    let agent = rig.start(&Config::new(&loki.url()).source(other).source(renamed));
    book.wait_all(writer.written(), DRAIN);
    wait_until("all to be stored", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    let verdict = book.lock().verdict(writer.written());
    assert_eq!((verdict.missing, verdict.duplicated_visible, verdict.reordered_by_time), (0, 0, 0), "{verdict:#?}");
}

/// A source is removed, and nobody looks for its path: what was not read of a deleted file is told.
#[test]
fn what_is_lost_with_a_removed_source_is_told() {
    let loki = Loki::start();
    let rig = Rig::new();
    let aside = || Config::new(&loki.url()).source(FileSource::new("aside", rig.log("aside.log")));
    let mut writer = Writer::new(rig.log("heir.log"), "heir");
    let agent = rig.start(&aside().source(slow(&rig, "one", "heir.log")));
    writer.write(3_000);
    wait_until("a part to be read", SOON, || loki.distinct() > 0);
    writer.delete_recreate(100);
    wait_until("the last of the files to be met", SOON, || agent.metric("lugger_source_files") == Some(2.0));
    assert!(!agent.stderr().contains("lost_bytes="), "{}", agent.stderr());
    reload(&rig, &agent, &aside());
    wait_until("the loss to be told", SOON, || agent.stderr().contains("lost_bytes="));
}

/// All of a rotated file is in flight and nothing of its successor is read; the source goes to other endpoints: what is read again comes first, though
/// the successor grows meanwhile.
#[test]
fn a_source_that_moves_keeps_the_order_of_its_files() {
    let (home, away) = (Loki::start(), Loki::start());
    let (at_home, at_away) = (Book::keep(&home, "order"), Book::keep(&away, "order"));
    let rig = Rig::new();
    let base = || Config::new(&home.url()).endpoint("batch_wait", "20ms").also("away", &away.url());
    let app = || FileSource::new("app", rig.log("order.log"));
    let mut writer = Writer::new(rig.log("order.log"), "order");
    let agent = rig.start(&base().source(app().to("first")));
    home.pause();
    writer.write(3_000);
    writer.rename_rotate(0);
    let read = || agent.metric("lugger_source_lines_total");
    wait_until("all to be read", SOON, || read() == Some(3_000.0));
    wait_until("the new file to be met", SOON, || agent.metric("lugger_source_files") == Some(2.0));
    // Slowly, so that both files have their turns while the first is read again.
    reload(&rig, &agent, &base().source(app().rate("{ lines: 1000, bytes: 64KiB, burst: 100ms }")));
    writer.write(1_000);
    home.resume();
    at_away.wait_all(writer.written(), DRAIN);
    at_home.wait_all(writer.written(), DRAIN);
    at_away.lock().verdict(writer.written()).assert_perfect(0);
    let verdict = at_home.lock().verdict(writer.written());
    assert_eq!((verdict.missing, verdict.duplicated_visible, verdict.reordered_by_time), (0, 0, 0), "{verdict:#?}");
}
