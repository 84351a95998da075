//! What very many files cost that hardly anybody writes to: memory, descriptors, the time of a start, and what happens while nothing does.
//!
//! `cargo run --release --example many_files` builds the release binary, makes the files with a line each, and starts the agent three times:
//! on one file, on all of them, and on all of them again. A start is over when every line has arrived; at the last one, when the line
//! has arrived that was appended to one file in between. "A file" is the difference in resident memory to the agent with one file, divided by the
//! number of files.
//!
//! Options: `--files N` (100000), `--per-directory N` (1000), `--name-bytes N` (24: length of a name), `--idle SECONDS` (10), `--binary PATH`
//! (another build of the agent).

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{Agent, MIB, Outcome, Sink, build, cpu_times, memory};

const DEADLINE: Duration = Duration::from_secs(120);
/// Time in which what a start leaves behind is done with: batches, descriptors, the journal's sync.
const SETTLE: Duration = Duration::from_secs(3);

struct Options {
    files: u64,
    per_directory: u64,
    name_bytes: usize,
    idle: Duration,
    binary: Option<PathBuf>,
}

fn main() -> Outcome<()> {
    let options = options()?;
    let binary = match &options.binary {
        Some(path) => path.clone(),
        None => build()?,
    };
    let directory = tempfile::tempdir()?;
    let one = directory.path().join("one");
    make_files(&one, 1, 1, options.name_bytes)?;
    let many = directory.path().join("many");
    let some_file = make_files(&many, options.files, options.per_directory, options.name_bytes)?;
    let some_path = some_file.as_os_str().len();
    println!("{} files, {} in a directory, paths of {some_path} bytes", options.files, options.per_directory);

    let base = {
        let mut run = Run::start(&binary, directory.path(), &one)?;
        run.wait_for(1)?;
        std::thread::sleep(SETTLE);
        run.resident()
    };
    println!("with one file: {:.1} MiB resident", base as f64 / MIB);

    let mut run = Run::start(&binary, directory.path(), &many)?;
    run.wait_for(options.files)?;
    run.report("first start", base, options.files)?;
    run.idle(options.idle)?;
    run.appended(&some_file)?;
    let port = run.stop()?;

    append(&some_file)?;
    let mut run = Run::resume(&binary, directory.path(), port)?;
    run.wait_for(1)?;
    run.report("restart", base, options.files)?;
    run.idle(options.idle)?;
    run.appended(&some_file)?;
    let sent = run.sink.count();
    if sent != 1 + APPENDS {
        return Err(format!("{sent} lines came after the restart, {} were written", 1 + APPENDS).into());
    }
    run.stop()?;
    Ok(())
}

fn options() -> Outcome<Options> {
    let idle = Duration::from_secs(10);
    let mut options = Options { files: 100_000, per_directory: 1000, name_bytes: 24, idle, binary: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
        match name.as_str() {
            "--files" => options.files = value.parse()?,
            "--per-directory" => options.per_directory = value.parse::<u64>()?.max(1),
            "--name-bytes" => options.name_bytes = value.parse()?,
            "--idle" => options.idle = Duration::from_secs(value.parse()?),
            "--binary" => options.binary = Some(value.into()),
            _ => {
                let known = "--files, --per-directory, --name-bytes, --idle and --binary";
                return Err(format!("unknown option {name}: there are {known}").into());
            }
        }
    }
    Ok(options)
}

/// Makes the files with a line each; one of them.
fn make_files(root: &Path, files: u64, per_directory: u64, name_bytes: usize) -> Outcome<PathBuf> {
    let mut last = PathBuf::new();
    for n in 0..files {
        let directory = root.join(format!("application-{:06}", n / per_directory));
        if n % per_directory == 0 {
            fs::create_dir_all(&directory)?;
        }
        let width = name_bytes.saturating_sub(".log".len());
        last = directory.join(format!("{n:0width$}.log"));
        fs::write(&last, format!("the first line of file {n}\n"))?;
    }
    Ok(last)
}

/// How often [`Run::appended`] appends.
const APPENDS: u64 = 20;

fn append(path: &Path) -> Outcome<()> {
    File::options().append(true).open(path)?.write_all(b"one more line\n")?;
    Ok(())
}

/// An agent and its receiver.
struct Run {
    agent: Agent,
    sink: Sink,
    started: Instant,
}

impl Run {
    fn start(binary: &Path, directory: &Path, logs: &Path) -> Outcome<Self> {
        let sink = Sink::start(None)?;
        let yaml = format!(
            "loki:\n  - url: http://127.0.0.1:{}/loki/api/v1/push\n    batch_wait: 10ms\nlogs:\n  - name: many\n\
             \x20   file: {{ include: [\"{}/*/*.log\"] }}\nhttp: {{ listen: none }}\n",
            sink.port,
            logs.display(),
        );
        let started = Instant::now();
        Ok(Run { agent: Agent::start(binary, directory, &yaml, None)?, sink, started })
    }

    fn resume(binary: &Path, directory: &Path, port: u16) -> Outcome<Self> {
        let sink = Sink::start_on(port, None)?;
        let started = Instant::now();
        Ok(Run { agent: Agent::resume(binary, directory, None)?, sink, started })
    }

    fn id(&self) -> u32 {
        self.agent.child.id()
    }

    fn wait_for(&mut self, entries: u64) -> Outcome<()> {
        let sink = &self.sink;
        self.agent.wait("the lines", DEADLINE, || sink.count() >= entries)
    }

    fn resident(&self) -> u64 {
        memory(self.id()).0
    }

    /// What the start took, and what it left.
    fn report(&mut self, what: &str, base: u64, files: u64) -> Outcome<()> {
        let took = self.started.elapsed();
        let (user, system) = cpu_times(self.id())?;
        std::thread::sleep(SETTLE);
        let (resident, peak) = memory(self.id());
        let each = resident.saturating_sub(base) / files.max(1);
        println!(
            "{what}: {:.2} s, {:.2} s CPU ({:.2} user, {:.2} system); peak {:.1} MiB, then {:.1} MiB resident: {each} bytes a file; \
             {} descriptors, {} watches",
            took.as_secs_f64(),
            (user + system).as_secs_f64(),
            user.as_secs_f64(),
            system.as_secs_f64(),
            peak as f64 / MIB,
            resident as f64 / MIB,
            fs::read_dir(format!("/proc/{}/fd", self.id()))?.count(),
            watches(self.id())?,
        );
        Ok(())
    }

    /// What happens while nothing happens.
    fn idle(&mut self, time: Duration) -> Outcome<()> {
        let id = self.id();
        let (cpu, switches) = (cpu_times(id)?, switches(id)?);
        std::thread::sleep(time);
        let after = cpu_times(id)?;
        println!(
            "  idle for {} s: {:.0} ms CPU, {} wake-ups",
            time.as_secs(),
            ((after.0 + after.1).saturating_sub(cpu.0 + cpu.1)).as_secs_f64() * 1e3,
            self::switches(id)?.saturating_sub(switches),
        );
        Ok(())
    }

    /// From append to arrival; the batch's wait of 10 ms is in it.
    fn appended(&mut self, path: &Path) -> Outcome<()> {
        let mut times = Vec::new();
        for _ in 0..APPENDS {
            let entries = self.sink.count();
            let start = Instant::now();
            append(path)?;
            self.wait_for(entries + 1)?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let at = |i: usize| times.get(i).copied().unwrap_or_default().as_secs_f64() * 1e3;
        println!(
            "  from append to arrival: {:.0} ms median, {:.0} ms at most",
            at(times.len() / 2),
            at(times.len() - 1)
        );
        Ok(())
    }

    /// Stops it. Gives the port that it sent to.
    fn stop(mut self) -> Outcome<u16> {
        let start = Instant::now();
        self.agent.stop()?;
        println!("  stopped in {:.2} s", start.elapsed().as_secs_f64());
        Ok(self.sink.port)
    }
}

/// Watches of a process's inotify instances.
fn watches(pid: u32) -> Outcome<usize> {
    let mut count = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        count += text.lines().filter(|line| line.starts_with("inotify")).count();
    }
    Ok(count)
}

/// How often the threads of a process went to sleep or were put aside.
fn switches(pid: u32) -> Outcome<u64> {
    let mut count = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(entry?.path().join("status")).unwrap_or_default();
        let numbers = text.lines().filter(|line| line.contains("voluntary_ctxt_switches"));
        count += numbers.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(count)
}
