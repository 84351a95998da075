//! What shipping costs: a file of a million lines through the real agent, against the cost of compressing the same bytes.
//!
//! `cargo run --release --example throughput` builds the release binary, writes an access log of about 200 bytes a line, starts the
//! agent on one core with a receiver in this process on the others, and prints lines and bytes per CPU second of the agent (user and
//! system, its whole life), its memory, and the CPU time that `snap` alone takes for the same bytes in blocks of 1 MiB. The ratio of the
//! two is what compares between machines. Every line is counted at the receiver; a run that loses one is an error.
//!
//! Options: `--lines N` (1000000), `--repeats N` (3), `--binary PATH` (another build of the agent).

mod support;

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{Agent, MIB, Outcome, Sink, build, cores, memory, on_core};

/// Agent CPU over snappy CPU: what a release needs, and what is aimed for.
const GATE: f64 = 4.0;
const GOAL: f64 = 2.2;
/// Resident memory while saturated and idle, MiB.
const PEAK_GATE_MIB: f64 = 48.0;
const IDLE_GATE_MIB: f64 = 12.0;
/// Nothing here takes longer.
const DEADLINE: Duration = Duration::from_secs(120);

struct Options {
    lines: u64,
    repeats: u32,
    binary: Option<PathBuf>,
}

fn main() -> Outcome<()> {
    let options = options()?;
    let binary = match &options.binary {
        Some(path) => path.clone(),
        None => build()?,
    };
    let (agent_core, other_cores) = cores()?;
    sched_setaffinity(None, &other_cores)?;

    let directory = tempfile::tempdir()?;
    let log = directory.path().join("access.log");
    let bytes = write_log(&log, options.lines)?;
    let average = bytes / options.lines.max(1);
    println!("{} lines, {:.1} MB, {average} bytes a line on average", options.lines, bytes as f64 / 1e6);

    let idle = idle_memory(&binary, directory.path(), &agent_core, &other_cores)?;
    println!("idle: {:.1} MiB resident (gate {IDLE_GATE_MIB} MiB)", idle as f64 / MIB);

    let mut best: Option<f64> = None;
    for round in 1..=options.repeats {
        let snappy = on_core(&agent_core, &other_cores, || snappy_cost(&log))??;
        let run = ship(&binary, directory.path(), &log, options.lines, &agent_core, &other_cores)?;
        let cpu = run.cpu.as_secs_f64();
        let ratio = cpu / snappy.as_secs_f64();
        println!(
            "run {round}: {:.2} M lines and {:.0} MB a CPU second; agent {:.2} s CPU ({:.2} user, {:.2} system), {:.2} s wall; \
             snappy {:.2} s; ratio {ratio:.2}; peak {:.1} MiB (gate {PEAK_GATE_MIB}), afterwards {:.1} MiB",
            options.lines as f64 / cpu / 1e6,
            bytes as f64 / cpu / 1e6,
            cpu,
            run.user.as_secs_f64(),
            run.system.as_secs_f64(),
            run.wall.as_secs_f64(),
            snappy.as_secs_f64(),
            run.peak as f64 / MIB,
            run.after as f64 / MIB,
        );
        best = Some(best.map_or(ratio, |known| known.min(ratio)));
    }
    if let Some(best) = best {
        let verdict = if best <= GOAL {
            "the goal is met"
        } else if best <= GATE {
            "the gate is met"
        } else {
            "the gate is MISSED"
        };
        println!("best: agent CPU is {best:.2} times that of snappy alone; gate {GATE}, goal {GOAL}: {verdict}");
    }
    Ok(())
}

fn options() -> Outcome<Options> {
    let mut options = Options { lines: 1_000_000, repeats: 3, binary: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
        match name.as_str() {
            "--lines" => options.lines = value.parse()?,
            "--repeats" => options.repeats = value.parse()?,
            "--binary" => options.binary = Some(value.into()),
            _ => return Err(format!("unknown option {name}: there are --lines, --repeats and --binary").into()),
        }
    }
    Ok(options)
}

/// An access log with varied, reproducible content; its size.
fn write_log(path: &Path, lines: u64) -> Outcome<u64> {
    const AGENTS: [&str; 4] = [
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36",
        "curl/8.5.0",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    ];
    const PATHS: [&str; 6] = [
        "/api/v1/items/",
        "/static/js/app.",
        "/images/product/",
        "/search?q=term",
        "/account/orders/",
        "/healthz?probe=",
    ];
    const STATUSES: [u16; 8] = [200, 200, 200, 200, 304, 301, 404, 500];
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut line = String::new();
    let mut total = 0;
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    for n in 0..lines {
        line.clear();
        let agent = AGENTS[random(4) as usize];
        let (a, b, c, d) = (random(223) + 1, random(256), random(256), random(256));
        let (hour, minute, second) = (n / 3600 / 20 % 24, n / 60 / 20 % 60, n / 20 % 60);
        write!(line, "{a}.{b}.{c}.{d} - - [12/Mar/2026:{hour:02}:{minute:02}:{second:02} +0000] ")?;
        write!(line, "\"GET {}{:x} HTTP/1.1\" ", PATHS[random(6) as usize], random(1 << 40))?;
        write!(line, "{} {} ", STATUSES[random(8) as usize], random(100_000))?;
        let (host, page) = (random(40), random(5_000));
        writeln!(line, "\"https://www{host}.example.org/page/{page}\" \"{agent}\" rt=0.{:03}", random(1_000))?;
        out.write_all(line.as_bytes())?;
        total += line.len() as u64;
    }
    out.into_inner()?.sync_all()?;
    Ok(total)
}

/// CPU time of this thread for compressing the file in blocks of 1 MiB; the better of two passes.
fn snappy_cost(path: &Path) -> Outcome<Duration> {
    let bytes = fs::read(path)?;
    let mut encoder = snap::raw::Encoder::new();
    let mut out = vec![0; snap::raw::max_compress_len(1 << 20)];
    let mut best = Duration::MAX;
    for _ in 0..2 {
        let start = thread_cpu();
        for block in bytes.chunks(1 << 20) {
            encoder.compress(block, &mut out)?;
        }
        best = best.min(thread_cpu().saturating_sub(start));
    }
    Ok(best)
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// What one run cost.
struct Run {
    user: Duration,
    system: Duration,
    cpu: Duration,
    wall: Duration,
    peak: u64,
    after: u64,
}

/// Ships the file once.
fn ship(binary: &Path, directory: &Path, log: &Path, lines: u64, agent_core: &CpuSet, back: &CpuSet) -> Outcome<Run> {
    let sink = Sink::start(None)?;
    let start = Instant::now();
    let mut agent = Agent::start(binary, directory, &yaml(sink.port, log), Some((agent_core, back)))?;
    agent.wait("all lines", DEADLINE, || sink.count() >= lines)?;
    let wall = start.elapsed();
    let (after, peak) = memory(agent.child.id());
    let (user, system) = agent.stop()?;
    let entries = sink.count();
    if entries != lines {
        return Err(format!("{lines} lines were written, {entries} arrived").into());
    }
    Ok(Run { user, system, cpu: user + system, wall, peak, after })
}

/// Resident memory of an agent that follows one quiet file.
fn idle_memory(binary: &Path, directory: &Path, agent_core: &CpuSet, back: &CpuSet) -> Outcome<u64> {
    let sink = Sink::start(None)?;
    let log = directory.join("quiet.log");
    fs::write(&log, "one line\n")?;
    let mut agent = Agent::start(binary, directory, &yaml(sink.port, &log), Some((agent_core, back)))?;
    agent.wait("the line", DEADLINE, || sink.count() >= 1)?;
    std::thread::sleep(Duration::from_secs(2));
    let (resident, _) = memory(agent.child.id());
    agent.stop()?;
    Ok(resident)
}

fn yaml(port: u16, log: &Path) -> String {
    format!(
        "loki:\n  - url: http://127.0.0.1:{port}\nlogs:\n  - name: access\n    file: {{ include: [\"{}\"] }}\n\
         http: {{ listen: none }}\n",
        log.display()
    )
}
