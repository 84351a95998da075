//! What shipping costs: a file of a million lines through the real agent, against the cost of compressing the same bytes.
//!
//! `cargo run --release --example throughput` builds the release binary, writes an access log of about 200 bytes a line, starts the
//! agent on one core with a receiver in this process on the others, and prints lines and bytes per CPU second of the agent (user and
//! system, its whole life), its memory, and the CPU time that `snap` alone takes for the same bytes in blocks of 1 MiB. The ratio of the
//! two is what compares between machines. Every line is counted at the receiver; a run that loses one is an error.
//!
//! Options: `--lines N` (1000000), `--repeats N` (3), `--binary PATH` (another build of the agent).

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Agent CPU over snappy CPU: what a release needs, and what is aimed for.
const GATE: f64 = 4.0;
const GOAL: f64 = 2.2;
/// Resident memory while saturated and idle, MiB.
const PEAK_GATE_MIB: f64 = 48.0;
const IDLE_GATE_MIB: f64 = 12.0;
/// Nothing here takes longer.
const DEADLINE: Duration = Duration::from_secs(120);
const MIB: f64 = 1024.0 * 1024.0;

type Outcome<T> = Result<T, Box<dyn Error>>;

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

/// Builds the agent beside this example, since `cargo run --example` does not.
fn build() -> Outcome<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let built =
        Command::new(cargo).args(["build", "--release", "--bin", "lugger", "--manifest-path", manifest]).status()?;
    if !built.success() {
        return Err("cargo build --release --bin lugger failed".into());
    }
    // target/release/examples/throughput is this program.
    let own = std::env::current_exe()?;
    let binary = own.ancestors().nth(2).ok_or("this program is not in a target directory")?.join("lugger");
    if cfg!(debug_assertions) {
        println!("note: this is a debug build of the benchmark; run it with --release");
        let release = own.ancestors().nth(3).ok_or("this program is not in a target directory")?.join("release/lugger");
        return Ok(release);
    }
    Ok(binary)
}

/// One core for the agent, the others (or the same, if there is only one) for everything else.
fn cores() -> Outcome<(CpuSet, CpuSet)> {
    let all = sched_getaffinity(None)?;
    let numbers: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
    let mut agent = CpuSet::new();
    let mut others = CpuSet::new();
    for (at, cpu) in numbers.iter().enumerate() {
        if at == 0 {
            agent.set(*cpu);
        }
        if at > 0 || numbers.len() == 1 {
            others.set(*cpu);
        }
    }
    Ok((agent, others))
}

fn on_core<T>(core: &CpuSet, back: &CpuSet, work: impl FnOnce() -> T) -> Outcome<T> {
    sched_setaffinity(None, core)?;
    let result = work();
    sched_setaffinity(None, back)?;
    Ok(result)
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
    let sink = Sink::start()?;
    let start = Instant::now();
    let mut agent = Agent::start(binary, directory, log, sink.port, agent_core, back)?;
    while sink.entries.load(Ordering::Acquire) < lines {
        agent.check(start)?;
        std::thread::sleep(Duration::from_millis(5));
    }
    let wall = start.elapsed();
    let (after, peak) = memory(agent.child.id());
    let (user, system) = agent.stop()?;
    let entries = sink.entries.load(Ordering::Acquire);
    if entries != lines {
        return Err(format!("{lines} lines were written, {entries} arrived").into());
    }
    Ok(Run { user, system, cpu: user + system, wall, peak, after })
}

/// Resident memory of an agent that follows one quiet file.
fn idle_memory(binary: &Path, directory: &Path, agent_core: &CpuSet, back: &CpuSet) -> Outcome<u64> {
    let sink = Sink::start()?;
    let log = directory.join("quiet.log");
    fs::write(&log, "one line\n")?;
    let start = Instant::now();
    let mut agent = Agent::start(binary, directory, &log, sink.port, agent_core, back)?;
    while sink.entries.load(Ordering::Acquire) < 1 {
        agent.check(start)?;
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_secs(2));
    let (resident, _) = memory(agent.child.id());
    agent.stop()?;
    Ok(resident)
}

struct Agent {
    child: Child,
}

impl Agent {
    fn start(
        binary: &Path,
        directory: &Path,
        log: &Path,
        port: u16,
        agent_core: &CpuSet,
        back: &CpuSet,
    ) -> Outcome<Self> {
        let state = directory.join("state");
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        fs::create_dir(&state)?;
        let config = directory.join("agent.yaml");
        let text = format!(
            "loki:\n  - url: http://127.0.0.1:{port}/loki/api/v1/push\nlogs:\n  - name: access\n    file: {{ include: [\"{}\"] }}\n\
             http: {{ listen: none }}\nstate_dir: {}\n",
            log.display(),
            state.display()
        );
        fs::write(&config, text)?;
        let mut command = Command::new(binary);
        command.arg("run").arg("--config").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(directory.join("stderr.log"))?);
        // A child inherits the cores of the thread that starts it.
        let child = on_core(agent_core, back, || command.spawn())??;
        Ok(Agent { child })
    }

    fn check(&mut self, start: Instant) -> Outcome<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("the agent ended by itself: {status}").into());
        }
        if start.elapsed() > DEADLINE {
            return Err(format!("the lines did not arrive within {DEADLINE:?}").into());
        }
        Ok(())
    }

    /// Stops it; user and system time of its whole life, read while it is a zombie.
    fn stop(&mut self) -> Outcome<(Duration, Duration)> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let start = Instant::now();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while waitid(WaitId::Pid(Pid::from_child(&self.child)), options)?.is_none() {
            if start.elapsed() > Duration::from_secs(10) {
                return Err("the agent did not stop within 10 s".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let times = cpu_times(self.child.id())?;
        self.child.wait()?;
        Ok(times)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // After a regular stop both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cpu_times(pid: u32) -> Outcome<(Duration, Duration)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(") ").ok_or("unexpected /proc/PID/stat")?.1;
    let ticks: Vec<u64> = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    let per_second = rustix::param::clock_ticks_per_second();
    match ticks.as_slice() {
        [user, system] => {
            let time = |ticks: u64| Duration::from_micros(ticks * 1_000_000 / per_second);
            Ok((time(*user), time(*system)))
        }
        _ => Err("unexpected /proc/PID/stat".into()),
    }
}

/// Resident memory now and at its peak, bytes.
fn memory(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0 kB");
        line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    (value("VmRSS:"), value("VmHWM:"))
}

/// A receiver that does no more than count entries. Its time is not the agent's: it is in this process, on other cores.
struct Sink {
    port: u16,
    entries: Arc<AtomicU64>,
}

impl Sink {
    fn start() -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let entries = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&entries);
        // The thread waits for connections until the program ends.
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || {
                    // An error is the agent's going away.
                    let _ = serve(connection, &count);
                });
            }
        });
        Ok(Sink { port, entries })
    }
}

fn serve(mut connection: TcpStream, count: &AtomicU64) -> Outcome<()> {
    connection.set_nodelay(true)?;
    let mut decoder = snap::raw::Decoder::new();
    let mut buffer = Vec::new();
    let mut raw = Vec::new();
    loop {
        let (body, length) = read_request(&mut connection, &mut buffer)?;
        let block = &buffer[body..body + length];
        raw.resize(snap::raw::decompress_len(block)?, 0);
        let size = decoder.decompress(block, &mut raw)?;
        let entries = count_entries(&raw[..size]).ok_or("a body that is not a push request")?;
        connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
        count.fetch_add(entries, Ordering::AcqRel);
        buffer.drain(..body + length);
    }
}

/// Reads one request into the front of `buffer`; where its body begins and its length.
fn read_request(connection: &mut TcpStream, buffer: &mut Vec<u8>) -> Outcome<(usize, usize)> {
    let mut head = None;
    loop {
        if head.is_none()
            && let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n")
        {
            let text = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            head = Some((end + 4, length.ok_or("no content length")?.trim().parse::<usize>()?));
        }
        if let Some((body, length)) = head
            && buffer.len() >= body + length
        {
            return Ok((body, length));
        }
        let before = buffer.len();
        buffer.resize(before + 256 * 1024, 0);
        let read = connection.read(&mut buffer[before..])?;
        buffer.truncate(before + read);
        if read == 0 {
            return Err("end of connection".into());
        }
    }
}

/// Entries of an encoded push request: field 2 within each field 1.
fn count_entries(mut request: &[u8]) -> Option<u64> {
    let mut count = 0;
    while !request.is_empty() {
        let (field, mut stream, rest) = field(request)?;
        request = rest;
        while field == 1 && !stream.is_empty() {
            let (inner, _, rest) = self::field(stream)?;
            count += u64::from(inner == 2);
            stream = rest;
        }
    }
    Some(count)
}

/// Number, content and rest behind a length-delimited field.
fn field(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (tag, rest) = varint(bytes)?;
    if tag & 7 != 2 {
        return None;
    }
    let (length, rest) = varint(rest)?;
    let length = usize::try_from(length).ok()?;
    Some((tag >> 3, rest.get(..length)?, rest.get(length..)?))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}
