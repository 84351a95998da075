//! What reading a journal costs: entries a CPU second, against `journalctl -o json` into a pipe, over the same files.
//!
//! `cargo run --release --example journal` writes journal files of realistic entries with systemd-journal-remote (or takes those that
//! are named) and reads them in turns, some fields of each entry as a log agent needs them, and all. Ends with an error if some fields of an
//! entry do not come ten times as cheap as journalctl's lines.

use lugger::format::journal::{Fields, Merge, Reader, Wanted, Work};
use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

const ENTRIES: u64 = 200_000;
const ROUNDS: usize = 5;
/// Journalctl has to cost at least so many times what our reading of some fields does.
const GATE: f64 = 10.0;
const SOME: [&str; 6] = ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT", "_HOSTNAME", "_TRANSPORT"];

/// Entries as services make them: twenty fields, most of them the same each time.
fn export(into: &mut impl Write) -> std::io::Result<()> {
    for i in 0..ENTRIES {
        let (service, pid) = (i * 7 % 23, 400 + i * 7 % 23 * 13);
        let time = 1_700_000_000_000_000 + i * 731;
        writeln!(
            into,
            "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID=e0a92cd1e4b4481a93a9fa2d4a5a2b3c\n\
             MESSAGE=10.0.{}.{} - - \"GET /api/v1/items/{i}?page={} HTTP/1.1\" 200 {} request took {}ms\nPRIORITY={}\n\
             SYSLOG_IDENTIFIER=service{service}\nSYSLOG_FACILITY=3\n_TRANSPORT=stdout\n_STREAM_ID=f00d{service:028x}\n_PID={pid}\n\
             _UID=1000\n_GID=1000\n_COMM=service{service}\n_EXE=/usr/bin/service{service}\n\
             _CMDLINE=/usr/bin/service{service} --config /etc/service{service}.conf --foreground\n_CAP_EFFECTIVE=0\n\
             _SELINUX_CONTEXT=unconfined\n_SYSTEMD_CGROUP=/system.slice/service{service}.service\n\
             _SYSTEMD_UNIT=service{service}.service\n_SYSTEMD_SLICE=system.slice\n\
             _SYSTEMD_INVOCATION_ID=beef{service:028x}\n_MACHINE_ID=3d1219c7c4c5404aaa1f6d2a48adfda4\n_HOSTNAME=host\n",
            i * 731,
            i % 256,
            i / 256 % 256,
            i % 10,
            i % 9000,
            i % 400,
            3 + i % 4,
        )?;
    }
    Ok(())
}

/// Writes files of them in one of the two forms: a full one is rotated.
fn write(directory: &Path, compact: bool) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let directory = directory.join(if compact { "compact" } else { "regular" });
    fs::create_dir(&directory)?;
    let file = directory.join("sample.journal");
    let mut remote = Command::new("/lib/systemd/systemd-journal-remote")
        .args(["--split-mode=none", "-o"])
        .arg(&file)
        .arg("-")
        .env("SYSTEMD_JOURNAL_COMPACT", if compact { "1" } else { "0" })
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut pipe = std::io::BufWriter::new(remote.stdin.take().ok_or("no pipe")?);
    export(&mut pipe)?;
    pipe.flush()?;
    drop(pipe);
    if !remote.wait()?.success() {
        return Err("systemd-journal-remote failed".into());
    }
    let files = fs::read_dir(&directory)?.map(|file| file.map(|file| file.path()));
    Ok(files.collect::<Result<_, _>>()?)
}

/// CPU time of this process, or of its children that have ended, seconds.
fn cpu(children: bool) -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let first = if children { 13 } else { 11 };
    let mut ticks = 0;
    for at in first..first + 2 {
        ticks += fields.get(at).ok_or("no such field")?.parse::<u64>()?;
    }
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Entries, bytes of fields, and CPU seconds of reading files with our reader, `times` times.
fn ours(files: &[PathBuf], wanted: &Wanted, times: usize) -> Result<(u64, u64, f64), Box<dyn Error>> {
    let start = cpu(false)?;
    let (mut entries, mut bytes) = (0, 0);
    for _ in 0..times {
        let mut merge = Merge::default();
        for file in files {
            if !merge.add(Reader::open(File::open(file)?)?) {
                return Err("a file is named twice".into());
            }
        }
        let (mut work, mut fields) = (Work::new(wanted.clone()), Fields::default());
        while merge.next(&mut work, &mut fields)?.is_some() {
            entries += 1;
            bytes += fields.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum::<u64>();
        }
    }
    Ok((entries, bytes, cpu(false)? - start))
}

/// Lines and CPU seconds of journalctl; what reads its pipe is not counted.
fn journalctl(files: &[PathBuf]) -> Result<(u64, f64), Box<dyn Error>> {
    let start = cpu(true)?;
    let mut command = Command::new("journalctl");
    command.args(["-o", "json", "--no-pager", "--quiet"]).stdout(Stdio::piped());
    for file in files {
        command.arg("--file").arg(file);
    }
    let mut child = command.spawn()?;
    let mut pipe = child.stdout.take().ok_or("no pipe")?;
    let mut buffer = vec![0; 256 * 1024];
    let mut lines = 0;
    loop {
        let count = pipe.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        lines += memchr::memchr_iter(b'\n', &buffer[..count]).count() as u64;
    }
    child.wait()?;
    Ok((lines, cpu(true)? - start))
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let named: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let directory = tempfile::tempdir()?;
    let sets = if named.is_empty() {
        let (regular, compact) = (write(directory.path(), false)?, write(directory.path(), true)?);
        vec![("regular", regular), ("compact", compact)]
    } else {
        vec![("named files", named)]
    };
    let mut worst = f64::INFINITY;
    for (name, files) in &sets {
        let mut best = [f64::INFINITY; 3];
        let mut entries = 0;
        for _ in 0..ROUNDS {
            // A tick is 10 ms: several readings, so that it counts.
            let times = 3;
            let (some, _, some_s) = ours(files, &Wanted::only(SOME), times)?;
            let (all, _, all_s) = ours(files, &Wanted::all(), times)?;
            let (lines, lines_s) = journalctl(files)?;
            if some != all || all != lines * times as u64 || lines == 0 {
                return Err(format!("{some} and {all} entries in {times} readings, but {lines} lines").into());
            }
            entries = lines;
            for (best, cost) in best.iter_mut().zip([some_s / some as f64, all_s / all as f64, lines_s / lines as f64])
            {
                *best = best.min(cost);
            }
        }
        println!("{name}: {entries} entries in {} files", files.len());
        for (what, cost) in ["some fields", "all fields", "journalctl -o json"].iter().zip(best) {
            println!("  {what:<20} {:>8.0} ns an entry, {:>9.0} entries a CPU second", cost * 1e9, 1.0 / cost);
        }
        worst = worst.min(best[2] / best[0]);
    }
    println!("journalctl costs at least {worst:.1} times as much (at least {GATE} wanted)");
    Ok(if worst >= GATE { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
