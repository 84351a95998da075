//! What the spool costs: appending a backlog and draining it, on a directory of this host.
//!
//! `cargo run --release --example spool` writes frames as large as a compressed batch of 1 MiB of log lines, syncs once a second, opens the
//! spool again, reads and acknowledges everything, and prints bytes a second on disk and in terms of what the lines were before
//! compression, CPU time, resident memory and the time a start takes.
//!
//! Options: `--mib N` on disk (1024), `--frame-kib N` (200), `--ratio N` raw bytes for a byte on disk (5), `--dir PATH` (a temporary
//! directory).

use lugger::base::clock::Clock;
use lugger::base::limits::SPOOL_SYNC_MS;
use lugger::base::metrics::Registry;
use lugger::store::spool::{Counters, Directory, Limits, Meta, Policy, Spool};
use rustix::time::{ClockId, clock_gettime};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Draining a backlog, raw bytes a second.
const DRAIN_GATE: f64 = 150e6;

struct Options {
    mib: u64,
    frame_kib: usize,
    ratio: u32,
    dir: Option<PathBuf>,
}

fn main() -> Outcome<()> {
    let options = options()?;
    let directory = match &options.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let payload = noise(options.frame_kib * 1024);
    let frames = options.mib * 1024 / options.frame_kib as u64;
    let meta = Meta { raw_bytes: payload.len() as u32 * options.ratio, entries: 5_000 };

    let mut spool = open(directory.path(), options.mib)?;
    let (begun, cpu) = (Instant::now(), cpu_time());
    let mut synced = Instant::now();
    for _ in 0..frames {
        spool.append(meta, &payload)?;
        if synced.elapsed() >= Duration::from_millis(SPOOL_SYNC_MS) {
            spool.sync()?;
            synced = Instant::now();
        }
    }
    spool.sync()?;
    report("append", frames, &payload, &options, begun, cpu);
    drop(spool);

    let begun = Instant::now();
    let mut spool = open(directory.path(), options.mib)?;
    println!("open: {:.1} ms with {} MiB waiting", begun.elapsed().as_secs_f64() * 1e3, spool.len_bytes() >> 20);

    let (begun, cpu) = (Instant::now(), cpu_time());
    let mut drained = 0;
    let mut synced = Instant::now();
    while let Some(frame) = spool.next()? {
        if frame.payload.len() != payload.len() {
            return Err("a frame came back with another length".into());
        }
        spool.acknowledge(frame.sequence);
        drained += 1;
        if synced.elapsed() >= Duration::from_millis(SPOOL_SYNC_MS) {
            spool.sync()?;
            synced = Instant::now();
        }
    }
    let raw_per_s = report("drain", drained, &payload, &options, begun, cpu);
    println!("resident: {} KiB", resident_kib()?);
    if drained != frames {
        return Err(format!("{frames} frames went in, {drained} came out").into());
    }
    if raw_per_s < DRAIN_GATE {
        return Err(format!("draining is below {:.0} MB/s", DRAIN_GATE / 1e6).into());
    }
    Ok(())
}

fn open(directory: &Path, mib: u64) -> Outcome<Spool> {
    let limits = Limits::new((mib + 64) << 20, None, Policy::Block);
    let counters = Counters::new(&Registry::default(), "example");
    Ok(Spool::open(Directory::new(directory), limits, Clock::System, counters)?)
}

fn report(what: &str, frames: u64, payload: &[u8], options: &Options, begun: Instant, cpu: f64) -> f64 {
    let bytes = frames as f64 * payload.len() as f64;
    let seconds = begun.elapsed().as_secs_f64();
    let raw_per_s = bytes * f64::from(options.ratio) / seconds;
    println!(
        "{what}: {:.0} MB/s on disk, {:.0} MB/s raw, {:.2} s, {:.2} s CPU",
        bytes / seconds / 1e6,
        raw_per_s / 1e6,
        seconds,
        cpu_time() - cpu
    );
    raw_per_s
}

/// Bytes that do not repeat, as compressed ones do not.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn resident_kib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

fn options() -> Outcome<Options> {
    let mut options = Options { mib: 1024, frame_kib: 200, ratio: 5, dir: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--mib" => options.mib = value.parse()?,
            "--frame-kib" => options.frame_kib = value.parse::<usize>()?.clamp(1, 4096),
            "--ratio" => options.ratio = value.parse()?,
            "--dir" => options.dir = Some(value.into()),
            _ => return Err(format!("{argument} is not an option").into()),
        }
    }
    Ok(options)
}
