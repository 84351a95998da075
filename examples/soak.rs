//! A soak: the agent for minutes or hours under churn, and whether its memory and descriptors stay where they are.
//!
//! `cargo run --release --example soak -- --minutes 60` writes numbered lines to files that come, grow, are rotated and deleted; one of
//! two endpoints goes away and comes back; the configuration changes and is reloaded; the agent is killed and started again now and then, if asked (nothing is deleted then: what is deleted
//! unread while no agent runs cannot be read any more). It
//! prints memory and descriptors as it goes and, for each life of the agent, the slope of both over time after a warm-up. In the end every line must have
//! come to both endpoints, and none in two forms: anything else is an error.
//!
//! Options: `--minutes N` (10), `--files N` (50), `--lines N` a second (5000), `--kill-every MINUTES` (0: never), `--binary PATH`.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use support::{Agent, MIB, Observer, Outcome, Sink, build, cpu_times, memory};

/// Lines that a file gets before it is rotated or deleted.
const FILE_LINES: u64 = 2_000;
/// Rotated copies that are kept.
const KEPT: usize = 2;
const PACE: Duration = Duration::from_millis(100);
const FLAP: Duration = Duration::from_secs(20);
const RELOAD: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_secs(1);
const SAY: Duration = Duration::from_secs(30);
const DRAIN: Duration = Duration::from_secs(300);

struct Options {
    minutes: f64,
    files: usize,
    lines: u64,
    kill_every: f64,
    binary: Option<PathBuf>,
}

fn main() -> Outcome<()> {
    let options = options()?;
    let binary = match &options.binary {
        Some(path) => path.clone(),
        None => build()?,
    };
    let directory = tempfile::tempdir()?;
    let logs = directory.path().join("logs");
    fs::create_dir(&logs)?;

    let books = [Arc::new(Book::default()), Arc::new(Book::default())];
    let steady = Sink::start(Some(books[0].observer()))?;
    let mut flapping = Some(Sink::start(Some(books[1].observer()))?);
    let ports = (steady.port, flapping.as_ref().map_or(0, |sink| sink.port));
    let mut agent = Agent::start(&binary, directory.path(), &yaml(ports, &logs, 0), None)?;

    let mut writer = Writer::new(&logs, options.files, options.kill_every == 0.0)?;
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(options.minutes * 60.0);
    let (mut flap_at, mut reload_at, mut look_at, mut say_at) =
        (start + FLAP, start + RELOAD, start + LOOK, start + SAY);
    let kill_period = Duration::from_secs_f64(options.kill_every * 60.0);
    let mut kill_at = (!kill_period.is_zero()).then(|| start + kill_period);
    let mut life = Life::new();
    let (mut reloads, mut kills, mut flaps) = (0u64, 0u64, 0u64);
    while Instant::now() < end {
        let turn = Instant::now();
        writer.write(options.lines / 10)?;
        agent.check()?;
        if turn >= flap_at {
            flap_at = turn + FLAP;
            flaps += 1;
            flapping = match flapping.take() {
                Some(_) => None,
                None => Some(Sink::start_on(ports.1, Some(books[1].observer()))?),
            };
        }
        if turn >= reload_at {
            reload_at = turn + RELOAD;
            reloads += 1;
            let text =
                format!("{}state_dir: {}\n", yaml(ports, &logs, reloads), directory.path().join("state").display());
            fs::write(directory.path().join("agent.yaml"), text)?;
            kill_process(Pid::from_child(&agent.child), Signal::HUP)?;
        }
        if kill_at.is_some_and(|at| turn >= at) {
            kill_at = Some(turn + kill_period);
            kills += 1;
            life.print();
            life = Life::new();
            agent.child.kill()?;
            agent.child.wait()?;
            agent = Agent::resume(&binary, directory.path(), None)?;
        }
        if turn >= look_at {
            look_at = turn + LOOK;
            life.look(agent.child.id());
        }
        if turn >= say_at {
            say_at = turn + SAY;
            let (user, system) = cpu_times(agent.child.id())?;
            let (resident, descriptors) = life.last();
            println!(
                "{:5.0} s: {} lines written; {resident:.1} MiB, {descriptors} descriptors, {:.1} s CPU; {reloads} reloads, {kills} kills, {flaps} changes of the second endpoint",
                start.elapsed().as_secs_f64(),
                writer.written,
                (user + system).as_secs_f64(),
            );
        }
        std::thread::sleep(PACE.saturating_sub(turn.elapsed()));
    }
    life.print();
    if flapping.is_none() {
        flapping = Some(Sink::start_on(ports.1, Some(books[1].observer()))?);
    }
    let written = writer.written;
    agent
        .wait("everything that was written", DRAIN, || books.iter().all(|book| book.distinct() >= written))
        .inspect_err(|_| {
            for book in &books {
                println!("{} of {written} lines arrived; missing: {}", book.distinct(), book.gaps(written));
            }
            println!("what the agent said:\n{}", agent.said());
        })?;
    agent.stop()?;
    drop(flapping);
    for (name, book) in ["steady", "flapping"].iter().zip(&books) {
        book.verdict(name, written)?;
    }
    Ok(())
}

fn options() -> Outcome<Options> {
    let mut options = Options { minutes: 10.0, files: 50, lines: 5_000, kill_every: 0.0, binary: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
        match name.as_str() {
            "--minutes" => options.minutes = value.parse()?,
            "--files" => options.files = value.parse()?,
            "--lines" => options.lines = value.parse()?,
            "--kill-every" => options.kill_every = value.parse()?,
            "--binary" => options.binary = Some(value.into()),
            _ => {
                return Err(format!(
                    "unknown option {name}: there are --minutes, --files, --lines, --kill-every and --binary"
                )
                .into());
            }
        }
    }
    Ok(options)
}

/// The configuration at its `version`: another source comes and goes, and settings of the endpoints change; the source that is counted stays.
fn yaml(ports: (u16, u16), logs: &Path, version: u64) -> String {
    let timeout = 5 + version % 3;
    let mut text = format!(
        "loki:\n  - name: steady\n    url: http://127.0.0.1:{}\n    timeout: {timeout}s\n  - name: flapping\n    url: http://127.0.0.1:{}\n    \
         backoff: {{ min: 100ms, max: {timeout}s }}\nlogs:\n  - name: churn\n    file: {{ include: [\"{}/*.log\"] }}\n    \
         labels: {{ job: churn }}\n",
        ports.0,
        ports.1,
        logs.display()
    );
    if version % 2 == 1 {
        text.push_str(&format!(
            "  - name: extra{}\n    file: {{ include: [\"{}/none-{version}.txt\"] }}\n",
            version % 4,
            logs.display()
        ));
    }
    text.push_str("http: { listen: none }\n");
    text
}

/// Files that come and go.
struct Writer {
    directory: PathBuf,
    files: Vec<(PathBuf, File, u64, u64)>,
    /// Names are not used again at once.
    names: u64,
    written: u64,
    turn: usize,
    /// Whether files are deleted.
    deletes: bool,
    rotations: u64,
}

impl Writer {
    fn new(directory: &Path, files: usize, deletes: bool) -> Outcome<Self> {
        let directory = directory.to_owned();
        let mut writer = Writer { directory, files: Vec::new(), names: 0, written: 0, turn: 0, deletes, rotations: 0 };
        for _ in 0..files.max(1) {
            let file = writer.fresh()?;
            writer.files.push(file);
        }
        Ok(writer)
    }

    fn fresh(&mut self) -> Outcome<(PathBuf, File, u64, u64)> {
        self.names += 1;
        let path = self.directory.join(format!("app-{}.log", self.names));
        let file = File::options().append(true).create(true).open(&path)?;
        Ok((path, file, 0, self.names))
    }

    /// The next file under a name that was rotated. After some rotations the name is given up.
    fn next(&self, at: usize) -> Outcome<(PathBuf, File, u64, u64)> {
        let (path, _, _, name) = &self.files[at];
        let file = File::options().append(true).create_new(true).open(path)?;
        Ok((path.clone(), file, 0, name + 1))
    }

    fn write(&mut self, lines: u64) -> Outcome<()> {
        let each = lines.div_ceil(10).max(1);
        let mut left = lines;
        while left > 0 {
            let count = each.min(left);
            left -= count;
            self.turn = (self.turn + 1) % self.files.len();
            let at = self.turn;
            let mut text = String::new();
            for _ in 0..count {
                self.written += 1;
                text.push_str(&format!(
                    "{:012} level=info what happened is told by a line of some length\n",
                    self.written
                ));
            }
            let (path, file, size, name) = &mut self.files[at];
            file.write_all(text.as_bytes())?;
            *size += count;
            if *size >= FILE_LINES {
                let path = path.clone();
                let last = *name % 3 == 0;
                self.rotations += 1;
                if !self.deletes {
                    fs::rename(&path, path.with_extension(format!("log.{}", self.rotations)))?;
                    self.files[at] = if last { self.fresh()? } else { self.next(at)? };
                } else if last {
                    // The program goes on under another name; the old file is deleted once it was rotated.
                    let old = path.with_extension("log.1");
                    fs::rename(&path, &old)?;
                    self.files[at] = self.fresh()?;
                    fs::remove_file(&old)?;
                } else {
                    for n in (1..KEPT).rev() {
                        let from = path.with_extension(format!("log.{n}"));
                        if from.exists() {
                            fs::rename(&from, path.with_extension(format!("log.{}", n + 1)))?;
                        }
                    }
                    fs::rename(&path, path.with_extension("log.1"))?;
                    self.files[at] = self.next(at)?;
                }
            }
        }
        Ok(())
    }
}

/// What came to an endpoint: by line number a checksum of what Loki would tell it apart by.
#[derive(Default)]
struct Book(Mutex<Seen>, Mutex<Vec<String>>);

/// By line number, 0 for a line that has not come; and how many have come.
#[derive(Default)]
struct Seen(Vec<u64>, u64);

impl Seen {
    /// Gives what was there before.
    fn insert(&mut self, number: u64, form: u64) -> u64 {
        let at = number as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        let before = std::mem::replace(&mut self.0[at], form);
        self.1 += u64::from(before == 0);
        before
    }
}

impl Book {
    fn lines(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observer(self: &Arc<Self>) -> Observer {
        let book = Arc::clone(self);
        Box::new(move |labels, time_ns, line| {
            let number = line.get(..12).and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| d.parse::<u64>().ok());
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(labels);
            hasher.update(line);
            let form = u64::from(hasher.finalize()) << 32 ^ time_ns as u64;
            let wrong = match number {
                None => Some(format!("not a line that was written: {:?}", String::from_utf8_lossy(line))),
                Some(number) => match book.lines().insert(number, form | 1) {
                    before if before != 0 && before != form | 1 => Some(format!("line {number} came in two forms")),
                    _ => None,
                },
            };
            if let Some(wrong) = wrong {
                book.1.lock().unwrap_or_else(PoisonError::into_inner).push(wrong);
            }
        })
    }

    fn distinct(&self) -> u64 {
        self.lines().1
    }

    /// The first ranges of lines that did not come.
    fn gaps(&self, written: u64) -> String {
        let seen = self.lines();
        let mut gaps: Vec<(u64, u64)> = Vec::new();
        for number in (1..=written).filter(|number| seen.0.get(*number as usize).is_none_or(|form| *form == 0)) {
            match gaps.last_mut() {
                Some(last) if last.1 + 1 == number => last.1 = number,
                _ => gaps.push((number, number)),
            }
        }
        let shown: Vec<String> = gaps.iter().take(40).map(|(first, last)| format!("{first} to {last}")).collect();
        format!("{} ranges: {}", gaps.len(), shown.join(", "))
    }

    fn verdict(&self, name: &str, written: u64) -> Outcome<()> {
        let wrong = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = written - self.distinct();
        println!(
            "{name}: {written} lines written, {missing} missing, {} visible duplicates or torn lines",
            wrong.len()
        );
        match wrong.first() {
            Some(first) => Err(first.clone().into()),
            None if missing > 0 => Err(format!("{missing} lines are missing").into()),
            None => Ok(()),
        }
    }
}

/// Memory and descriptors over the life of one agent.
struct Life {
    start: Instant,
    /// Seconds, resident MiB, descriptors.
    seen: Vec<(f64, f64, f64)>,
}

impl Life {
    fn new() -> Self {
        Life { start: Instant::now(), seen: Vec::new() }
    }

    fn look(&mut self, pid: u32) {
        let (resident, _) = memory(pid);
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        self.seen.push((self.start.elapsed().as_secs_f64(), resident as f64 / MIB, descriptors as f64));
    }

    fn last(&self) -> (f64, f64) {
        self.seen.last().map_or((0.0, 0.0), |(_, resident, descriptors)| (*resident, *descriptors))
    }

    /// The slopes over what came after the first fifth.
    fn print(&self) {
        let warm = &self.seen[self.seen.len() / 5..];
        if warm.len() < 10 {
            println!("too short a life for a slope");
            return;
        }
        let highest = self.seen.iter().map(|seen| seen.1).fold(0.0, f64::max);
        let most = self.seen.iter().map(|seen| seen.2).fold(0.0, f64::max);
        println!(
            "a life of {:.0} s: at most {highest:.1} MiB and {most} descriptors; slope {:+.2} MiB an hour, {:+.1} descriptors an hour",
            self.start.elapsed().as_secs_f64(),
            slope(warm, |seen| seen.1) * 3600.0,
            slope(warm, |seen| seen.2) * 3600.0,
        );
    }
}

/// Least squares, a second.
fn slope(seen: &[(f64, f64, f64)], value: impl Fn(&(f64, f64, f64)) -> f64) -> f64 {
    let count = seen.len() as f64;
    let x = seen.iter().map(|s| s.0).sum::<f64>() / count;
    let y = seen.iter().map(&value).sum::<f64>() / count;
    let over = seen.iter().map(|s| (s.0 - x) * (value(s) - y)).sum::<f64>();
    let under = seen.iter().map(|s| (s.0 - x).powi(2)).sum::<f64>();
    if under == 0.0 { 0.0 } else { over / under }
}
