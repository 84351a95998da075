//! A backlog behind an outage: gigabytes that were written while the receiver was away, and how they are brought in.
//!
//! `cargo run --release --example backlog` starts the agent on one core with a receiver that is not there, writes 4 GiB of numbered lines of
//! about 200 bytes into a log that is rotated by renaming, then starts the receiver on another core. It prints the agent's memory during the outage and the
//! drain, and how fast the backlog was drained: by the wall clock and by the agent's own CPU time. Each line must come once, or more
//! often but unchanged, and in order: anything else is an error.
//!
//! Options: `--gib N` (4), `--binary PATH` (another build of the agent). The log needs as much room in the temporary directory.

mod support;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Agent, MIB, Observer, Outcome, Sink, build, cores, cpu_times, memory};

/// Speed of the drain that is aimed for, MB a second of wall time with one core.
const GATE_MB_S: f64 = 150.0;
/// The agent's default `limits.memory`.
const MEMORY_MIB: f64 = 64.0;
const LINE_BYTES: u64 = 200;
/// The log is rotated at this size.
const FILE_BYTES: u64 = 64 << 20;
const DEADLINE: Duration = Duration::from_secs(900);

fn main() -> Outcome<()> {
    let (mut gib, mut binary) = (4.0f64, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
        match name.as_str() {
            "--gib" => gib = value.parse()?,
            "--binary" => binary = Some(PathBuf::from(value)),
            _ => return Err(format!("unknown option {name}: there are --gib and --binary").into()),
        }
    }
    let binary = match binary {
        Some(path) => path,
        None => build()?,
    };
    let lines = (gib * 1024.0 * MIB) as u64 / LINE_BYTES;
    let (agent_core, others) = cores()?;
    rustix::thread::sched_setaffinity(None, &others)?;

    // A port where nobody listens for now.
    let port = Sink::start(None)?.port;
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("app.log");
    File::create(&log)?;
    let yaml = format!(
        "loki:\n  - url: http://127.0.0.1:{port}\n    backoff: {{ min: 100ms, max: 1s }}\nlogs:\n  - name: app\n    \
         file: {{ include: [\"{}\"] }}\nhttp: {{ listen: none }}\n",
        log.display()
    );
    let mut agent = Agent::start(&binary, directory.path(), &yaml, Some((&agent_core, &others)))?;
    let begin = Instant::now();
    let mut outage = Watch::default();
    write_backlog(&log, lines, || {
        outage.look(agent.child.id());
        agent.check()
    })?;
    println!(
        "outage: {lines} lines, {:.1} GB, written in {:.1} s; resident {:.1} to {:.1} MiB",
        (lines * LINE_BYTES) as f64 / 1e9,
        begin.elapsed().as_secs_f64(),
        outage.min(),
        outage.max(),
    );

    let order = Arc::new(Order::default());
    let sink = Sink::start_on(port, Some(order.observer()))?;
    let (user, system) = cpu_times(agent.child.id())?;
    let mut drain = Watch::default();
    let mut first = None;
    let pid = agent.child.id();
    agent.wait("the backlog", DEADLINE, || {
        if sink.count() > 0 {
            first.get_or_insert_with(Instant::now);
        }
        drain.look(pid);
        order.last.load(Ordering::Acquire) >= lines as i64
    })?;
    let wall = first.map_or(Duration::ZERO, |at| at.elapsed()).as_secs_f64();
    let (user_end, system_end) = cpu_times(pid)?;
    let cpu = (user_end + system_end).saturating_sub(user + system).as_secs_f64();
    let (_, peak) = memory(pid);
    agent.stop()?;
    let mb = (lines * LINE_BYTES) as f64 / 1e6;
    println!(
        "drain: {:.1} s, {:.0} MB/s (gate {GATE_MB_S}), {:.0} MB a CPU second of the agent; resident {:.1} to {:.1} MiB; \
         peak of all {:.1} MiB (limit {MEMORY_MIB})",
        wall,
        mb / wall,
        mb / cpu,
        drain.min(),
        drain.max(),
        peak as f64 / MIB,
    );
    order.verdict(lines)?;
    println!("every line arrived, in order; {} of {} entries were repetitions", sink.count() - lines, sink.count());
    if peak as f64 / MIB > MEMORY_MIB {
        return Err("the memory limit was exceeded".into());
    }
    println!("{}", if mb / wall >= GATE_MB_S { "the gate is met" } else { "the gate is MISSED" });
    Ok(())
}

/// Numbered lines, rotated by renaming; `each` is called every so often.
fn write_backlog(log: &Path, lines: u64, mut each: impl FnMut() -> Outcome<()>) -> Outcome<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::options().append(true).open(log)?);
    let mut size = 0;
    let mut rotations = 0;
    for number in 1..=lines {
        // Text that compresses about as logs do.
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let text = format!(
            "{number:012} level=info component=worker-{} request={mixed:016x} path=/api/v1/items/{} status=200 took={}ms",
            mixed % 17,
            mixed % 100_003,
            mixed % 977
        );
        writeln!(out, "{text:<width$}", width = LINE_BYTES as usize - 1)?;
        size += LINE_BYTES;
        if size >= FILE_BYTES && number < lines {
            out.flush()?;
            rotations += 1;
            fs::rename(log, log.with_extension(format!("log.{rotations}")))?;
            out = BufWriter::with_capacity(1 << 20, File::options().append(true).create_new(true).open(log)?);
            size = 0;
            each()?;
        }
    }
    out.flush()?;
    each()
}

/// Lowest and highest resident memory.
#[derive(Default)]
struct Watch {
    seen: Option<(u64, u64)>,
}

impl Watch {
    fn look(&mut self, pid: u32) {
        let (now, _) = memory(pid);
        let (low, high) = self.seen.unwrap_or((now, now));
        self.seen = Some((low.min(now), high.max(now)));
    }

    fn min(&self) -> f64 {
        self.seen.map_or(0.0, |(low, _)| low as f64 / MIB)
    }

    fn max(&self) -> f64 {
        self.seen.map_or(0.0, |(_, high)| high as f64 / MIB)
    }
}

/// Whether lines come in order. All of them are of one stream.
#[derive(Default)]
struct Order {
    last: AtomicI64,
    repeated: AtomicU64,
    is_wrong: AtomicBool,
    wrong: Mutex<Option<String>>,
}

impl Order {
    fn observer(self: &Arc<Self>) -> Observer {
        let order = Arc::clone(self);
        Box::new(move |_, _, line| {
            let number =
                line.get(..12).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|d| d.parse().ok());
            let last = order.last.load(Ordering::Relaxed);
            match number {
                Some(number) if number == last + 1 => order.last.store(number, Ordering::Release),
                // A request whose answer was lost comes again.
                Some(number) if number <= last => drop(order.repeated.fetch_add(1, Ordering::Relaxed)),
                _ if !order.is_wrong.swap(true, Ordering::AcqRel) => {
                    let what = format!("after line {last} came {:?}", String::from_utf8_lossy(line));
                    *order.wrong.lock().unwrap_or_else(|e| e.into_inner()) = Some(what);
                }
                _ => {}
            }
        })
    }

    fn verdict(&self, lines: u64) -> Outcome<()> {
        if let Some(what) = self.wrong.lock().unwrap_or_else(|e| e.into_inner()).take() {
            return Err(what.into());
        }
        let last = self.last.load(Ordering::Acquire);
        if last != lines as i64 {
            return Err(format!("{lines} lines were written, the last that came is {last}").into());
        }
        Ok(())
    }
}
