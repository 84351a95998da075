//! The real worker with a pipeline that gathers lines, killed again and again: every line comes in one entry, and what is sent again is the same.
//!
//! The endpoint stands behind the real batcher and keeps what it is given as Loki does: entries that are equal in stream, time and text are one.
//! `LUGGER_KILLS` sets the number of kills of each test (25).

#[path = "support/random.rs"]
mod random;

use lugger::base::clock::Clock;
use lugger::base::limits::QUIET_MS;
use lugger::base::metrics::Registry;
use lugger::base::rate::{RateLimit, WhenOver};
use lugger::base::shutdown;
use lugger::base::wake::Wake;
use lugger::format::loki::decode_snappy;
use lugger::model::batch::Batch;
use lugger::model::budget::Budget;
use lugger::model::labels::Labels;
use lugger::pipeline::redact;
use lugger::pipeline::settings::{Drop, Limit, Multiline, Redact, Regex, Stage, TimeFailure, Timestamp};
use lugger::sink::batcher::{Batcher, Limits};
use lugger::source::file::reload::{Next, NextOutput, Sources};
use lugger::source::file::settings::{Settings, StartAt};
use lugger::source::file::worker::{self, Handle, Parts};
use lugger::source::handle;
use lugger::store::checkpoint::Checkpoints;
use random::Random;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(20);

/// How long blocks wait, where they are not to be let go.
const WAIT: Duration = Duration::from_secs(2);

/// Stream, time, text.
type Kept = (String, i64, String);

#[derive(Default)]
struct Shelf {
    life: u32,
    kept: BTreeSet<Kept>,
    /// How often something came that was there.
    repeated: usize,
    /// Of so many batches one is stored and not acknowledged.
    silent: u64,
    count: u64,
    unsettled: Vec<Arc<Batch>>,
}

impl Shelf {
    fn take(&mut self, life: u32, batch: &Arc<Batch>) {
        if life != self.life {
            return;
        }
        let request = decode_snappy(&batch.body, 1 << 26).unwrap();
        for stream in request.streams {
            for entry in stream.entries {
                let kept = (stream.labels.clone(), entry.ns(), entry.text().into_owned());
                self.repeated += usize::from(!self.kept.insert(kept));
            }
        }
        self.count += 1;
        if self.silent > 0 && self.count.is_multiple_of(self.silent) {
            // Kept, so that it is neither settled nor gone.
            self.unsettled.push(Arc::clone(batch));
        } else {
            batch.settled();
        }
    }
}

struct World {
    logs: TempDir,
    state: TempDir,
    shelf: Arc<Mutex<Shelf>>,
    stages: Vec<Stage>,
    /// The age at which batches are sealed.
    wait: Duration,
    rate: Option<RateLimit>,
    agent: Option<Handle>,
}

impl World {
    fn new(stages: Vec<Stage>) -> Self {
        let (logs, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        World { logs, state, shelf: Arc::default(), stages, wait: Duration::from_millis(5), rate: None, agent: None }
    }

    fn file(&self) -> File {
        OpenOptions::new().create(true).append(true).open(self.logs.path().join("a.log")).unwrap()
    }

    fn start(&mut self) {
        let (registry, clock) = (Registry::default(), Clock::System);
        let store = Checkpoints::open(self.state.path(), clock.clone(), &registry).unwrap();
        let wake = Wake::new().unwrap();
        let limits = Limits { bytes: 16 * 1024, wait: self.wait, streams: None };
        let budget = Budget::new(1024 * 1024, lugger::base::metrics::Gauge::default());
        let shelf = Arc::clone(&self.shelf);
        let life = {
            let mut shelf = shelf.lock().unwrap();
            shelf.life += 1;
            shelf.life
        };
        let target = Box::new(move |batch: Arc<Batch>| shelf.lock().unwrap().take(life, &batch));
        let output = Box::new(Batcher::new(limits, vec![target], budget, &wake));
        let settings = Settings {
            name: "kill".into(),
            include: vec![format!("{}/*.log", self.logs.path().display())],
            exclude: Vec::new(),
            start_at: StartAt::Beginning,
            labels: Labels::new([("job", "kill")]).unwrap(),
            label_caps: Default::default(),
            encoding: Default::default(),
            line_bytes: 256 * 1024,
            rate: self.rate,
            late_labels: Labels::default(),
            stages: self.stages.clone(),
            owners: None,
            records: None,
        };
        let ((alive, _), (begun, _)) = (shutdown::channel(), shutdown::channel());
        let next = Next::new(Sources::parse(vec![(settings, 0)]).unwrap(), vec![NextOutput::New(output)]);
        let kept = handle::Kept::new(&registry, clock.clone()).list();
        self.agent = Some(worker::start(Parts { next, store, wake, clock, kept, registry, alive, begun }).unwrap());
    }

    /// What `kill -9` does: nothing counts from this moment on, and the next agent finds the files of the state as they are now.
    fn kill(&mut self) {
        let Some(agent) = self.agent.take() else { return };
        let unsettled = {
            let mut shelf = self.shelf.lock().unwrap();
            shelf.life += 1;
            std::mem::take(&mut shelf.unsettled)
        };
        let state = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(self.state.path()).unwrap().flatten() {
            // A file that is being replaced may be gone by now.
            let _ = fs::copy(entry.path(), state.path().join(entry.file_name()));
        }
        agent.abandon();
        agent.stop();
        assert!(agent.join(), "the agent's thread panicked");
        drop(unsettled);
        self.state = state;
    }

    fn texts(&self) -> Vec<String> {
        self.shelf.lock().unwrap().kept.iter().map(|(_, _, text)| text.clone()).collect()
    }

    fn lines(&self) -> Vec<String> {
        self.texts().iter().flat_map(|text| text.split('\n').map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// Waits until so many lines are there, whatever they are.
    fn wait_lines(&self, wanted: usize) {
        let start = Instant::now();
        while self.lines().len() < wanted {
            assert!(start.elapsed() < DEADLINE, "{} of {wanted} lines", self.lines().len());
            sleep(Duration::from_millis(10));
        }
    }
}

impl World {
    /// Waits until there is an entry with this text.
    fn wait_for(&self, wanted: &str) {
        let start = Instant::now();
        while !self.texts().iter().any(|text| text == wanted) {
            assert!(start.elapsed() < DEADLINE, "no {wanted}: {:?}", self.texts());
            sleep(Duration::from_millis(10));
        }
    }

    /// Waits until so many lines were read.
    fn wait_read(&self, wanted: u64) {
        let start = Instant::now();
        let status = &self.agent.as_ref().unwrap().status[0].1;
        while status.lines.get() < wanted {
            assert!(start.elapsed() < DEADLINE, "{} of {wanted} lines", status.lines.get());
            sleep(Duration::from_millis(10));
        }
    }
}

fn kills() -> u64 {
    std::env::var("LUGGER_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(25)
}

fn multiline(max_wait_time: Duration) -> Stage {
    Stage::Multiline(Multiline { firstline: "^F".into(), max_lines: 1000, max_wait_time })
}

/// Appends blocks `from..to`, in pieces that end anywhere between lines; gives the expected texts.
fn write_blocks(file: &mut File, random: &mut Random, from: u64, to: u64, pause: bool) -> Vec<String> {
    let mut texts = Vec::new();
    for block in from..to {
        let mut text = format!("F{block}");
        writeln!(file, "{text}").unwrap();
        for line in 0..random.below(6) {
            let rest = format!(" {block}.{line} {}", "x".repeat(random.below(200) as usize));
            writeln!(file, "{rest}").unwrap();
            text.push('\n');
            text.push_str(&rest);
            if pause && random.below(10) == 0 {
                sleep(Duration::from_millis(random.below(40)));
            }
        }
        texts.push(text);
    }
    texts
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}

#[track_caller]
fn assert_same(seen: Vec<String>, expected: Vec<String>) {
    let count = |texts: &[String], text: &String| texts.iter().filter(|one| *one == text).count();
    let is_other = |text: &&String| count(&seen, text) != count(&expected, text);
    if sorted(seen.clone()) != sorted(expected.clone()) {
        let wrong: BTreeSet<&String> = seen.iter().chain(&expected).filter(is_other).collect();
        let shown: Vec<&str> = wrong.iter().take(10).map(|text| text.get(..80).unwrap_or(text)).collect();
        panic!("{} of {} texts are not as expected: {shown:?}", wrong.len(), expected.len());
    }
}

/// Blocks that are written without long pauses come whole, once each, wherever the agent is killed.
#[test]
fn blocks_come_whole_and_once() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut world = World::new(vec![multiline(WAIT)]);
    world.shelf.lock().unwrap().silent = 5;
    let mut file = world.file();
    let mut expected = Vec::new();
    for kill in 0..kills() {
        world.start();
        let from = kill * 400;
        expected.extend(write_blocks(&mut file, &mut random, from, from + 200, false));
        sleep(Duration::from_millis(random.below(30)));
        expected.extend(write_blocks(&mut file, &mut random, from + 200, from + 400, false));
        sleep(Duration::from_millis(random.below(30)));
        if kill % 10 == 5 {
            // A block that is open for longer than blocks wait, because nobody reads.
            writeln!(file, "Fopen {kill}").unwrap();
            sleep(Duration::from_millis(50));
            world.kill();
            writeln!(file, " rest").unwrap();
            expected.push(format!("Fopen {kill}\n rest"));
            sleep(WAIT + Duration::from_millis(100));
        }
        world.kill();
    }
    world.shelf.lock().unwrap().silent = 0;
    world.start();
    world.wait_lines(expected.iter().map(|text| text.split('\n').count()).sum());
    let repeated = world.shelf.lock().unwrap().repeated;
    println!("{} blocks, {repeated} sent again", expected.len());
    assert_same(world.texts(), expected);
    assert!(repeated > 0, "no kill made anything be sent again: nothing was tested");
    world.kill();
}

/// Blocks that are let go because nothing more came: where that happened is known after a kill, so that every line is there once.
#[test]
fn lines_come_once_where_blocks_were_let_go() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut world = World::new(vec![multiline(Duration::from_millis(15))]);
    world.shelf.lock().unwrap().silent = 3;
    let mut file = world.file();
    let mut expected = Vec::new();
    for kill in 0..kills() {
        world.start();
        expected.extend(write_blocks(&mut file, &mut random, kill * 20, kill * 20 + 20, true));
        sleep(Duration::from_millis(random.below(40)));
        world.kill();
        // It would go on with the block before, had that not been let go.
        let more = format!(" more {kill}");
        writeln!(file, "{more}").unwrap();
        expected.push(more);
    }
    world.shelf.lock().unwrap().silent = 0;
    world.start();
    let lines = |texts: &[String]| sorted(texts.iter().flat_map(|text| text.split('\n').map(str::to_owned)).collect());
    let expected = lines(&expected);
    world.wait_lines(expected.len());
    let (texts, repeated) = (world.texts(), world.shelf.lock().unwrap().repeated);
    println!("{} lines in {} entries, {repeated} sent again", expected.len(), texts.len());
    assert_same(lines(&texts), expected);
    assert!(repeated > 0, "no kill made anything be sent again: nothing was tested");
    world.kill();
}

/// Stages that give a line the time in it, by streams `a` and `b`.
fn times_by_stream() -> Vec<Stage> {
    let timestamp = Timestamp {
        source: "at".into(),
        format: "Unix".into(),
        fallback_formats: Vec::new(),
        location: None,
        action_on_failure: TimeFailure::Fudge,
    };
    let expression = r"^(?P<stream>[ab])(?:F(?P<at>\d+))?".into();
    let regex = Regex { expression, source: None, labels_from_groups: false };
    let labels = Stage::Labels(vec![("stream".into(), "stream".into())]);
    vec![Stage::Regex(regex), labels, Stage::Timestamp(timestamp)]
}

/// What was known of each stream where a piece began that was sent is known again when it is sent once more.
#[test]
fn times_of_each_stream_come_again() {
    let mut world = World::new(times_by_stream());
    let mut file = world.file();
    world.start();
    file.write_all(b"aF1700000000\nbF1600000000\n").unwrap();
    world.wait_lines(2);
    world.shelf.lock().unwrap().silent = 1;
    for (lines, text) in [(3, "a 1"), (4, "b 1"), (5, "a 2")] {
        writeln!(file, "{text}").unwrap();
        world.wait_lines(lines);
    }
    world.kill();
    world.shelf.lock().unwrap().silent = 0;
    world.start();
    file.write_all(b"b 2\na 3\n").unwrap();
    world.wait_for("a 3");
    let shelf = world.shelf.lock().unwrap();
    let mut seen: Vec<_> = shelf.kept.iter().map(|(_, time, text)| (text.as_str(), *time)).collect();
    seen.sort_unstable();
    let (a, b) = (1_700_000_000_000_000_000, 1_600_000_000_000_000_000);
    let wanted = [("a 1", a + 1), ("a 2", a + 2), ("a 3", a + 3), ("aF1700000000", a), ("b 1", b + 1), ("b 2", b + 2)];
    assert_eq!(seen, [wanted.as_slice(), &[("bF1600000000", b)]].concat());
    assert!(shelf.repeated >= 3, "{}", shelf.repeated);
    drop(shelf);
    world.kill();
}

/// Lines without a time of their own have the last one of their stream and a nanosecond, also when they are sent again; and each has one time only.
#[test]
fn times_that_depend_on_the_line_before_come_again() {
    let mut random = Random(0xfeed_beef_1234_5678);
    let mut world = World::new(times_by_stream());
    world.shelf.lock().unwrap().silent = 3;
    let mut file = world.file();
    let mut expected = Vec::new();
    let mut at = 1_700_000_000;
    for _ in 0..kills() {
        world.start();
        for _ in 0..200 {
            at += 1;
            // Two streams years apart, whose lines come mixed.
            let streams = [("a", at), ("b", at - 100_000_000)];
            let counts = [random.below(5), random.below(5)];
            for line in 0..5 {
                for ((stream, at), count) in streams.iter().zip(counts) {
                    if line > count {
                        continue;
                    }
                    let text = if line == 0 { format!("{stream}F{at}") } else { format!("{stream} {at}.{line}") };
                    writeln!(file, "{text}").unwrap();
                    expected.push((at * 1_000_000_000 + line as i64, text));
                }
            }
            if random.below(20) == 0 {
                sleep(Duration::from_millis(random.below(5)));
            }
        }
        world.kill();
    }
    world.shelf.lock().unwrap().silent = 0;
    world.start();
    world.wait_lines(expected.len());
    let shelf = world.shelf.lock().unwrap();
    let seen: Vec<(i64, String)> = shelf.kept.iter().map(|(_, time, text)| (*time, text.clone())).collect();
    println!("{} lines, {} sent again", seen.len(), shelf.repeated);
    expected.sort_unstable();
    // The one exception: the lines of blocks whose beginning was stored by the time of a kill, and which are read for the first time after it,
    // have the time of that.
    let (other, same): (Vec<_>, Vec<_>) = seen.iter().partition(|one| expected.binary_search(one).is_err());
    assert_eq!(seen.len(), expected.len(), "{other:?}");
    let texts = |all: &[(i64, String)]| sorted(all.iter().map(|(_, text)| text.clone()).collect());
    assert_eq!(texts(&seen), texts(&expected));
    let blocks: BTreeSet<_> = other.iter().filter_map(|(_, text)| text.split('.').next()).collect();
    assert!(blocks.len() as u64 <= 2 * kills(), "{other:?}");
    let is_read_time = |(time, text): &&(i64, String)| text.get(1..2) == Some(" ") && *time > at * 1_000_000_000;
    assert!(other.iter().all(is_read_time), "{other:?}");
    assert!(same.len() > other.len() * 10, "{other:?}");
    assert!(shelf.repeated > 0, "no kill made anything be sent again: nothing was tested");
    drop(shelf);
    world.kill();
}

/// A file that is deleted, truncated or rotated while lines of it wait: they are not lost.
#[test]
fn what_waits_is_sent_when_its_file_goes() {
    let mut world = World::new(vec![multiline(Duration::from_millis(300))]);
    world.start();
    let path = world.logs.path().join("a.log");
    let write = |path: &Path, text: &str| fs::write(path, text).unwrap();
    write(&path, "F1\n a\n");
    world.wait_lines(2);
    write(&path, "F2\n");
    world.wait_lines(3);
    write(&path, "F3\n b\n c\n");
    fs::rename(&path, world.logs.path().join("a.log.1")).unwrap();
    write(&path, "F4\n");
    world.wait_lines(7);
    fs::remove_file(&path).unwrap();
    let texts = sorted(world.texts());
    assert_eq!(texts, ["F1\n a", "F2", "F3\n b\n c", "F4"]);
    world.kill();
}

/// More label sets than are remembered of one file: those that are forgotten are not forgotten before their lines are written.
#[test]
fn thousands_of_label_sets_lose_no_line() {
    let regex = Regex { expression: r"^(?P<user>\S+)".into(), source: None, labels_from_groups: false };
    let labels = Stage::Labels(vec![("user".into(), "user".into())]);
    let mut world = World::new(vec![Stage::Regex(regex), labels]);
    let mut file = world.file();
    let expected: Vec<String> = (0..5000).map(|user| format!("u{user} {}", "x".repeat(100))).collect();
    file.write_all((expected.join("\n") + "\n").as_bytes()).unwrap();
    world.start();
    world.wait_lines(expected.len());
    assert_same(world.texts(), expected);
    let streams: BTreeSet<String> = world.shelf.lock().unwrap().kept.iter().map(|kept| kept.0.clone()).collect();
    assert_eq!(streams.len(), 5000);
    world.kill();
}

/// Lines that were not sent at all are read again under other times than before. Those behind them have the times that they had.
#[test]
fn times_come_again_behind_lines_that_were_dropped() {
    let timestamp = Timestamp {
        source: "at".into(),
        format: "Unix".into(),
        fallback_formats: Vec::new(),
        location: None,
        action_on_failure: TimeFailure::Fudge,
    };
    let regex = Regex { expression: r"^F(?P<at>\d+)".into(), source: None, labels_from_groups: false };
    let dropped = Drop {
        source: Vec::new(),
        separator: ";".into(),
        value: None,
        expression: Some("^ drop".into()),
        older_than: None,
        longer_than: None,
        drop_counter_reason: "dropped".into(),
    };
    let mut world = World::new(vec![Stage::Regex(regex), Stage::Timestamp(timestamp), Stage::Drop(dropped)]);
    // What is read at once is in one batch.
    world.wait = Duration::from_millis(500);
    let mut file = world.file();
    file.write_all(b"F1700000000\n").unwrap();
    world.start();
    world.wait_lines(1);
    world.shelf.lock().unwrap().silent = 1;
    // More than a chunk.
    file.write_all((" drop\n".repeat(100_000) + " kept\n").as_bytes()).unwrap();
    world.wait_lines(2);
    world.kill();
    world.shelf.lock().unwrap().silent = 0;
    world.start();
    file.write_all(b"F1700001000\n").unwrap();
    world.wait_lines(3);
    world.wait_for("F1700001000");
    assert_eq!(world.shelf.lock().unwrap().repeated, 1);
    assert_same(world.texts(), ["F1700000000", " kept", "F1700001000"].map(str::to_owned).to_vec());
    world.kill();
}

/// A private key that begins in one batch and goes on in the next ones: nothing of it is sent, also when these are sent again, in the same form.
#[test]
fn a_private_key_stays_open_over_a_kill() {
    let what = redact::Settings { kinds: vec![redact::Kind::PrivateKey], ..redact::Settings::default() };
    let mut world = World::new(vec![Stage::Redact(Redact { source: None, what })]);
    let mut file = world.file();
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
    world.start();
    file.write_all(b"-----BEGIN PRIVATE KEY-----\n").unwrap();
    world.wait_lines(1);
    world.shelf.lock().unwrap().silent = 1;
    for lines in 2..4 {
        writeln!(file, "{body}").unwrap();
        world.wait_lines(lines);
    }
    world.kill();
    world.shelf.lock().unwrap().silent = 0;
    world.start();
    write!(file, "{body}\n-----END PRIVATE KEY-----\n{body} is text again\n").unwrap();
    world.wait_for(&format!("{body} is text again"));
    let marks = ["[private_key]"; 5].map(str::to_owned);
    assert_same(world.texts(), [marks.as_slice(), &[format!("{body} is text again")]].concat());
    assert!(world.shelf.lock().unwrap().repeated >= 1);
    world.kill();
}

/// All that waits at the end of a rotated file is let go, however long it would have waited on: again so after a kill.
#[test]
fn what_was_let_go_at_once_is_let_go_again() {
    let mut world = World::new(vec![multiline(Duration::from_secs(600))]);
    world.shelf.lock().unwrap().silent = 1;
    let (path, rotated) = (world.logs.path().join("a.log"), world.logs.path().join("a.log.1"));
    fs::write(&path, "F1\n a\n").unwrap();
    world.start();
    world.wait_read(2);
    fs::rename(&path, &rotated).unwrap();
    world.wait_lines(2);
    OpenOptions::new().append(true).open(&rotated).unwrap().write_all(b" b\n").unwrap();
    world.wait_lines(3);
    world.kill();
    world.shelf.lock().unwrap().silent = 0;
    world.start();
    fs::write(&path, "F2\nF3\n").unwrap();
    world.wait_for("F2");
    assert_same(world.texts(), ["F1\n a", " b", "F2"].map(str::to_owned).to_vec());
    assert!(world.shelf.lock().unwrap().repeated >= 2);
    world.kill();
}

/// Lines that are dropped for the source's rate are missing in no entry: what waits goes before them.
#[test]
fn nothing_is_joined_over_lines_that_a_rate_drops() {
    let mut world = World::new(vec![multiline(Duration::from_secs(600))]);
    let bytes = Some(1024);
    let burst = Duration::from_secs(1);
    world.rate = Some(RateLimit { lines: None, bytes, burst, when_over: WhenOver::Drop });
    world.start();
    let mut file = world.file();
    // Passes, being larger than the burst, and is paid off for long.
    let first = format!("F1 {}", "x".repeat(16 * 1024));
    writeln!(file, "{first}").unwrap();
    world.wait_read(1);
    writeln!(file, " dropped").unwrap();
    world.wait_for(&first);
    assert_eq!(world.agent.as_ref().unwrap().status[0].1.over_rate.0.get(), 1);
    world.kill();
}

/// A file that has another name for good is labelled by it, and its times go on.
#[test]
fn a_renamed_file_is_labelled_by_its_new_name() {
    let timestamp = Timestamp {
        source: "at".into(),
        format: "Unix".into(),
        fallback_formats: Vec::new(),
        location: None,
        action_on_failure: TimeFailure::Fudge,
    };
    let regex = Regex { expression: r"^F(?P<at>\d+)".into(), source: None, labels_from_groups: false };
    let mut world = World::new(vec![Stage::Regex(regex), Stage::Timestamp(timestamp)]);
    world.start();
    let mut file = world.file();
    writeln!(file, "F1700000000").unwrap();
    world.wait_lines(1);
    fs::rename(world.logs.path().join("a.log"), world.logs.path().join("b.log")).unwrap();
    let start = Instant::now();
    let mut count = 0;
    let is_renamed = |kept: &Kept| kept.0.contains("/b.log");
    while !world.shelf.lock().unwrap().kept.iter().any(is_renamed) {
        assert!(start.elapsed() < DEADLINE, "still labelled as before");
        // Long enough for it to be quiet.
        sleep(Duration::from_millis(QUIET_MS + 1500));
        count += 1;
        writeln!(file, " {count}").unwrap();
        world.wait_lines(1 + count);
    }
    let last = 1_700_000_000_000_000_000 + count as i64;
    assert_eq!(world.shelf.lock().unwrap().kept.iter().map(|kept| kept.1).max(), Some(last));
    world.kill();
}

/// What waits in all files together is bounded: the most of it is let go early, and comes once all the same.
#[test]
fn what_waits_in_many_files_is_bounded() {
    let mut world = World::new(vec![multiline(Duration::from_secs(600))]);
    let expected: Vec<String> = (0..80).map(|file| format!("F{file} {}", "x".repeat(200_000))).collect();
    let path = |file: usize| world.logs.path().join(format!("{file}.log"));
    for (file, text) in expected.iter().enumerate() {
        fs::write(path(file), format!("{text}\n")).unwrap();
    }
    let paths: Vec<_> = (0..expected.len()).map(path).collect();
    world.start();
    // All of them are twice what may wait.
    world.wait_lines(expected.len() / 2);
    world.kill();
    world.start();
    for path in paths {
        OpenOptions::new().append(true).open(path).unwrap().write_all(b"F\n").unwrap();
    }
    world.wait_lines(expected.len());
    assert_same(world.texts(), expected);
    world.kill();
}

/// Lines that a limit let through are let through again after a kill, in whatever order their files are read then.
#[test]
fn a_limit_drops_nothing_that_was_sent_before() {
    let limit = Limit { rate: 1000.0, burst: 5, drop: true, by_label_name: None, max_distinct_labels: 0 };
    let mut world = World::new(vec![Stage::Limit(limit)]);
    world.shelf.lock().unwrap().silent = 1;
    world.start();
    let mut expected = Vec::new();
    for file in (0..12).rev() {
        let lines: Vec<String> = (0..5).map(|line| format!("{file}.{line}")).collect();
        fs::write(world.logs.path().join(format!("{file}.log")), lines.join("\n") + "\n").unwrap();
        expected.extend(lines);
        world.wait_lines(expected.len());
    }
    world.kill();
    world.shelf.lock().unwrap().silent = 0;
    world.start();
    world.wait_read(expected.len() as u64);
    let are_missing = || world.shelf.lock().unwrap().repeated < expected.len();
    let start = Instant::now();
    while are_missing() {
        assert!(start.elapsed() < DEADLINE, "{} were sent again", world.shelf.lock().unwrap().repeated);
        sleep(Duration::from_millis(10));
    }
    assert_same(world.texts(), expected);
    world.kill();
}

/// A block whose time is up is sent then, and not when something else wakes the agent.
#[test]
fn what_waited_is_sent_in_time() {
    let mut world = World::new(vec![multiline(Duration::from_secs(3))]);
    world.start();
    let start = Instant::now();
    fs::write(world.logs.path().join("a.log"), "F block\nmore\n").unwrap();
    world.wait_lines(1);
    assert_same(world.texts(), vec!["F block\nmore".to_owned()]);
    // The sweep comes 10 s after the start, and would send it as well.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    world.kill();
}
