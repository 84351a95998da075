//! What a tick of the host's metrics costs: the default collectors and their text, beside a scrape of node_exporter on the same host in the same run.
//!
//! `cargo run --release --example host` collects in this process, and scrapes node_exporter (package prometheus-node-exporter, with the collectors that it
//! has by default) over HTTP. It prints CPU time a tick, user and system, and memory. System calls are counted by strace where it is installed: two runs
//! of different length, of which the difference is divided by the difference of ticks, so that starting does not count. With `--each` it
//! prints what each collector takes.
//!
//! Options: `--ticks N` (300), `--each`.

mod support;

use lugger::format::prometheus::text::Writer;
use lugger::model::samples::Samples;
use lugger::source::host::{Host, Roots, Settings};
use rustix::time::{ClockId, clock_gettime};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::Outcome;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().position(|word| word == name).and_then(|at| arguments.get(at + 1));
    let ticks: u32 = after("--ticks").map_or(Ok(300), |ticks| ticks.parse())?;
    if arguments.iter().any(|word| word == "--bare") {
        // The run that strace counts.
        collect(ticks, false);
        return Ok(());
    }
    if cfg!(debug_assertions) {
        println!("note: this is a debug build of the benchmark; run it with --release");
    }
    let (us, bytes, samples) = collect(ticks, arguments.iter().any(|word| word == "--each"));
    println!(
        "lugger         {us:8.0} µs CPU a tick, {samples} samples, {bytes} bytes of text, {} KiB resident",
        resident("self")?
    );
    if let Some(calls) = own_calls()? {
        println!("               {calls:8.1} system calls a tick");
    }
    let (us, bytes, kib) = node_exporter(ticks)?;
    println!("node_exporter  {us:8.0} µs CPU a scrape, {bytes} bytes of text, {kib} KiB resident");
    if let Some(calls) = their_calls()? {
        println!("               {calls:8.1} system calls a scrape");
    }
    Ok(())
}

/// CPU time of a tick in microseconds, bytes of text, samples.
fn collect(ticks: u32, each: bool) -> (f64, usize, usize) {
    let settings = Settings::new(Roots::default());
    let mut host = Host::new(&settings).expect("threads of collectors");
    let (mut samples, mut writer, mut text) = (Samples::default(), Writer::default(), Vec::new());
    let mut tick = || {
        samples.clear();
        text.clear();
        host.collect(&mut samples);
        writer.write(&samples, &mut text);
        (text.len(), samples.len())
    };
    for _ in 0..5 {
        tick();
    }
    let before = cpu_us();
    let mut got = (0, 0);
    for _ in 0..ticks {
        got = tick();
    }
    let us = (cpu_us() - before) / f64::from(ticks.max(1));
    if each {
        let mut shown: Vec<_> =
            samples.iter().filter(|s| s.name() == "node_scrape_collector_duration_seconds").collect();
        shown.sort_by(|a, b| b.value().total_cmp(&a.value()));
        for sample in shown {
            let name = sample.labels().next().map_or("", |(_, value)| value);
            println!("{name:>18} {:8.0} µs", sample.value() * 1e6);
        }
    }
    (us, got.0, got.1)
}

/// CPU time of this process, microseconds.
fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

fn resident(process: &str) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().next().ok_or("no VmRSS")?.parse()?)
}

/// System calls of a tick of ours.
fn own_calls() -> Outcome<Option<f64>> {
    let own = std::env::current_exe()?;
    let count = |ticks: u32| -> Outcome<Option<u64>> {
        let directory = tempfile::tempdir()?;
        let table = directory.path().join("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-c", "-o"]).arg(&table).arg(&own);
        match command.args(["--bare", "--ticks", &ticks.to_string()]).status() {
            Ok(status) if status.success() => total(&table).map(Some),
            _ => Ok(None),
        }
    };
    Ok(count(20)?.zip(count(120)?).map(|(few, many)| many.saturating_sub(few) as f64 / 100.0))
}

/// The sum in strace's table: the last line but for its name is time, seconds, a call's time, calls.
fn total(table: &Path) -> Outcome<u64> {
    let text = std::fs::read_to_string(table)?;
    let line = text.lines().find(|line| line.ends_with(" total")).ok_or("strace printed no total")?;
    Ok(line.split_whitespace().nth(3).ok_or("strace printed no total")?.parse()?)
}

/// node_exporter, which ends with this.
struct NodeExporter {
    child: Child,
    address: String,
}

impl NodeExporter {
    fn start(mut command: Command) -> Outcome<NodeExporter> {
        command.args(["--web.listen-address=127.0.0.1:0", "--no-collector.systemd", "--web.disable-exporter-metrics"]);
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut messages = BufReader::new(child.stderr.take().ok_or("no stderr")?);
        let mut line = String::new();
        let address = loop {
            line.clear();
            if messages.read_line(&mut line)? == 0 {
                return Err("node_exporter ended".into());
            }
            if let Some((_, rest)) = line.split_once("msg=\"Listening on\" address=") {
                break rest.trim().to_owned();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut messages, &mut std::io::sink()));
        Ok(NodeExporter { child, address })
    }

    fn scrape(&self) -> Outcome<usize> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer.len())
    }

    /// The process that collects: the child, or the child of strace.
    fn pid(&self, traced: bool) -> Outcome<i32> {
        let own = self.child.id();
        if !traced {
            return Ok(i32::try_from(own)?);
        }
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        Ok(children.split_whitespace().next().ok_or("strace has no child")?.parse()?)
    }
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of a scrape in microseconds, bytes, KiB.
fn node_exporter(ticks: u32) -> Outcome<(f64, usize, u64)> {
    let exporter = NodeExporter::start(Command::new("prometheus-node-exporter"))?;
    for _ in 0..5 {
        exporter.scrape()?;
    }
    let pid = exporter.pid(false)?;
    let before = process_us(pid)?;
    let mut bytes = 0;
    for _ in 0..ticks {
        bytes = exporter.scrape()?;
    }
    let us = (process_us(pid)? - before) / f64::from(ticks.max(1));
    Ok((us, bytes, resident(&pid.to_string())?))
}

/// CPU time of another process, user and system, microseconds; the kernel counts it in hundredths of a second.
fn process_us(pid: i32) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = stat.rsplit_once(')').ok_or("no name in stat")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| -> Outcome<f64> { Ok(fields.get(at).ok_or("stat is short")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) * 1e6 / rustix::param::clock_ticks_per_second() as f64)
}

/// System calls of a scrape of node_exporter.
fn their_calls() -> Outcome<Option<f64>> {
    let count = |ticks: u32| -> Outcome<Option<u64>> {
        let directory = tempfile::tempdir()?;
        let table = directory.path().join("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-c", "-o"]).arg(&table).arg("prometheus-node-exporter");
        let Ok(mut exporter) = NodeExporter::start(command) else { return Ok(None) };
        for _ in 0..ticks {
            exporter.scrape()?;
        }
        let pid = rustix::process::Pid::from_raw(exporter.pid(true)?).ok_or("no process")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        exporter.child.wait()?;
        total(&table).map(Some)
    };
    Ok(count(5)?.zip(count(45)?).map(|(few, many)| many.saturating_sub(few) as f64 / 40.0))
}
