//! What the host's metrics cost from the kernel to the endpoint: this agent, beside node_exporter with `prometheus --enable-feature=agent`, which is what it replaces.
//!
//! `cargo run --release --example metrics` runs each for a while with the same interval, against the same receiver on loopback, and prints CPU time a tick (user and
//! system), resident memory and samples. Those of the agent have everything: collecting, encoding, compressing, sending. Its system calls are counted by
//! strace where it is installed: two runs of different length, of which the difference is divided by the difference of ticks, so that starting does not count.
//!
//! Options: `--ticks N` (120), `--interval MS` (500): CPU time is counted by the kernel in hundredths of a second, so few ticks say little.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{Agent, MIB, Outcome, Sink, cpu_times, memory};

/// Requests are sent with every tick, as with an interval of 15 s.
const DEADLINE: &str = "100ms";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().position(|word| word == name).and_then(|at| arguments.get(at + 1));
    let ticks: u32 = after("--ticks").map_or(Ok(120), |ticks| ticks.parse())?;
    let interval = Duration::from_millis(after("--interval").map_or(Ok(500), |ms| ms.parse())?);
    let binary = support::build()?;
    let directory = tempfile::tempdir()?;
    println!("{ticks} ticks, one every {interval:?}");
    lugger(&binary, directory.path(), ticks, interval)?;
    match (calls(&binary, directory.path(), 20, interval)?, calls(&binary, directory.path(), 60, interval)?) {
        (Some(few), Some(many)) => {
            println!("                         {:6.1} system calls a tick", many.saturating_sub(few) as f64 / 40.0);
        }
        _ => println!("                         system calls: not counted, there is no strace"),
    }
    pair(directory.path(), ticks, interval)
}

fn config(sink: &Sink, interval: Duration) -> String {
    format!(
        "remote_write: [{{ url: 'http://127.0.0.1:{}/api/v1/write', queue_config: {{ batch_send_deadline: {DEADLINE} }} }}]\n\
         metrics: {{ interval: {}ms, host: {{}} }}\nhttp: {{ listen: none }}\n",
        sink.port,
        interval.as_millis()
    )
}

fn lugger(binary: &Path, directory: &Path, ticks: u32, interval: Duration) -> Outcome<()> {
    let sink = Sink::start(None)?;
    let mut agent = Agent::start(binary, directory, &config(&sink, interval), None)?;
    agent.wait("the first samples", Duration::from_secs(30), || sink.count() > 0)?;
    let pid = agent.child.id();
    let cost = over(&[pid], &sink, ticks, interval)?;
    agent.check()?;
    let (now, peak) = memory(pid);
    cost.print("lugger");
    println!("                         {:6.1} MiB resident, {:.1} at its peak", now as f64 / MIB, peak as f64 / MIB);
    agent.stop()?;
    Ok(())
}

/// System calls of a run of so many ticks.
fn calls(binary: &Path, directory: &Path, ticks: u32, interval: Duration) -> Outcome<Option<u64>> {
    let table = directory.join("calls");
    let sink = Sink::start(None)?;
    let state = directory.join("traced");
    let _ = fs::remove_dir_all(&state);
    fs::create_dir(&state)?;
    let file = directory.join("traced.yaml");
    fs::write(&file, format!("{}state_dir: {}\n", config(&sink, interval), state.display()))?;
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-c", "-o"]).arg(&table).arg(binary).arg("run").arg("--config").arg(&file);
    let Ok(child) = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        return Ok(None);
    };
    let mut child = Killed(child);
    let mut seen = 0;
    let start = Instant::now();
    // Requests, not time: what is slow under strace has its ticks all the same.
    let per_tick = loop {
        let count = sink.count();
        if count > 0 && seen == count {
            break count;
        }
        seen = count;
        std::thread::sleep(interval / 3);
        if start.elapsed() > Duration::from_secs(60) {
            return Err("nothing arrives".into());
        }
    };
    while sink.count() < per_tick * u64::from(ticks) {
        if let Some(status) = child.0.try_wait()? {
            return Err(format!("the agent ended by itself: {status}").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let own = child.0.id();
    let traced = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
    let traced = traced.split_whitespace().next().ok_or("strace has no child")?.parse()?;
    let traced = rustix::process::Pid::from_raw(traced).ok_or("no process")?;
    rustix::process::kill_process(traced, rustix::process::Signal::TERM)?;
    child.0.wait()?;
    let text = fs::read_to_string(&table)?;
    let line = text.lines().find(|line| line.ends_with(" total")).ok_or("strace printed no total")?;
    Ok(Some(line.split_whitespace().nth(3).ok_or("strace printed no total")?.parse()?))
}

/// node_exporter and a Prometheus that scrapes it and only sends.
fn pair(directory: &Path, ticks: u32, interval: Duration) -> Outcome<()> {
    let sink = Sink::start(None)?;
    let mut exporter = Command::new("prometheus-node-exporter");
    exporter.args(["--web.listen-address=127.0.0.1:0", "--no-collector.systemd", "--web.disable-exporter-metrics"]);
    let Ok(exporter) = exporter.stderr(Stdio::piped()).spawn() else {
        println!("node_exporter            not measured: install prometheus-node-exporter");
        return Ok(());
    };
    let mut exporter = Killed(exporter);
    let mut messages = BufReader::new(exporter.0.stderr.take().ok_or("no stderr")?);
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
    let config = format!(
        "global: {{ scrape_interval: {0}ms, scrape_timeout: {0}ms }}\nscrape_configs: [{{ job_name: node, static_configs: [{{ targets: ['{address}'] }}] }}]\n\
         remote_write: [{{ url: 'http://127.0.0.1:{1}/api/v1/write', queue_config: {{ batch_send_deadline: {DEADLINE} }}, metadata_config: {{ send: false }} }}]\n",
        interval.as_millis(),
        sink.port
    );
    let file = directory.join("prometheus.yml");
    fs::write(&file, config)?;
    let own = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut prometheus = Command::new("prometheus");
    prometheus.args(["--enable-feature=agent", &format!("--web.listen-address={own}")]);
    prometheus.arg(format!("--config.file={}", file.display()));
    prometheus.arg(format!("--storage.agent.path={}", directory.join("wal").display()));
    let Ok(prometheus) = prometheus.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        println!("prometheus agent         not measured: install prometheus");
        return Ok(());
    };
    let mut prometheus = Killed(prometheus);
    let start = Instant::now();
    while sink.count() == 0 {
        if prometheus.0.try_wait()?.is_some() || start.elapsed() > Duration::from_secs(60) {
            return Err("Prometheus sends nothing".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let pids = [exporter.0.id(), prometheus.0.id()];
    over(&pids, &sink, ticks, interval)?.print("node_exporter+prometheus");
    let both: Vec<f64> = pids.iter().map(|pid| memory(*pid).0 as f64 / MIB).collect();
    println!("                         {:6.1} MiB resident ({:.1} and {:.1})", both[0] + both[1], both[0], both[1]);
    // Its port stays taken for as long as it runs.
    let _ = TcpStream::connect(own)?;
    Ok(())
}

struct Cost {
    us: f64,
    user_us: f64,
    samples: f64,
}

impl Cost {
    fn print(&self, name: &str) {
        let (us, user, samples) = (self.us, self.user_us, self.samples);
        println!("{name:<24} {us:6.0} µs CPU a tick ({user:.0} user), {samples:.0} samples");
    }
}

/// What processes use while so many ticks go by.
fn over(pids: &[u32], sink: &Sink, ticks: u32, interval: Duration) -> Outcome<Cost> {
    // What is done once, such as connecting, is over by then.
    std::thread::sleep(interval * 4);
    let all = || -> Outcome<(Duration, Duration)> {
        let mut sum = (Duration::ZERO, Duration::ZERO);
        for pid in pids {
            let (user, system) = cpu_times(*pid)?;
            sum = (sum.0 + user, sum.1 + system);
        }
        Ok(sum)
    };
    let (before, sent) = (all()?, sink.count());
    std::thread::sleep(interval * ticks);
    let (after, all_sent) = (all()?, sink.count());
    let a_tick = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(ticks.max(1));
    let (user, system) = (after.0 - before.0, after.1 - before.1);
    Ok(Cost {
        us: a_tick(user + system),
        user_us: a_tick(user),
        samples: (all_sent - sent) as f64 / f64::from(ticks.max(1)),
    })
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
