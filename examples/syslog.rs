//! What receiving syslog costs: messages over TCP through the real agent to Loki, against rsyslog forwarding the same messages to a TCP sink.
//!
//! `cargo run --release --example syslog` builds the release binary and sends the same messages, one connection each, first to the agent with a receiver
//! in this process, then to rsyslogd (package rsyslog) with a listener in this process, both on one core with everything else on the others. It prints
//! messages per CPU second, user and system. Rsyslog forwards what it got as text; the agent also labels by hostname and severity, keeps it on disk until
//! it is stored, and compresses it. Every message is counted at the other end; a run that loses one is an error.
//!
//! Options: `--messages N` (500000), `--repeats N` (3), `--binary PATH` (another build of the agent).

mod support;

use rustix::thread::{CpuSet, sched_setaffinity};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{Agent, Outcome, Sink, build, cores, cpu_times, on_core};

/// Nothing here takes longer.
const DEADLINE: Duration = Duration::from_secs(300);

struct Options {
    messages: u64,
    repeats: u32,
    binary: Option<PathBuf>,
}

fn main() -> Outcome<()> {
    let options = options()?;
    let binary = match &options.binary {
        Some(path) => path.clone(),
        None => build()?,
    };
    let (core, others) = cores()?;
    sched_setaffinity(None, &others)?;
    let directory = tempfile::tempdir()?;
    let text = messages(options.messages)?;
    println!("{} messages, {} bytes each on average", options.messages, text.len() as u64 / options.messages.max(1));
    let mut best: Option<f64> = None;
    for round in 1..=options.repeats {
        let own = lugger(&binary, directory.path(), &text, options.messages, (&core, &others))?;
        let rival = rsyslog(directory.path(), &text, options.messages, (&core, &others))?;
        let rate = |cpu: Duration| options.messages as f64 / cpu.as_secs_f64().max(1e-9);
        println!(
            "run {round}: lugger {:.0} messages a CPU second ({:.2} s), rsyslog {:.0} ({:.2} s): {:.2} times as many",
            rate(own),
            own.as_secs_f64(),
            rate(rival),
            rival.as_secs_f64(),
            rate(own) / rate(rival)
        );
        best = Some(best.map_or(rate(own), |known| known.max(rate(own))));
    }
    if let Some(best) = best {
        println!("best: {best:.0} messages a CPU second");
    }
    Ok(())
}

fn options() -> Outcome<Options> {
    let mut options = Options { messages: 500_000, repeats: 3, binary: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
        match name.as_str() {
            "--messages" => options.messages = value.parse()?,
            "--repeats" => options.repeats = value.parse()?,
            "--binary" => options.binary = Some(value.into()),
            _ => return Err(format!("unknown option {name}: there are --messages, --repeats and --binary").into()),
        }
    }
    Ok(options)
}

/// Messages of a few hosts and programs, a line each.
fn messages(count: u64) -> Outcome<String> {
    let mut text = String::new();
    for n in 0..count {
        let (priority, host, program) =
            (8 * (n % 4) + n % 7, n % 5, ["sshd", "cron", "kernel", "nginx"][(n % 4) as usize]);
        writeln!(
            text,
            "<{priority}>Aug  1 10:00:{:02} host{host} {program}[{}]: message {n} of a program that says about as much as programs do: {:016x}",
            n % 60,
            1000 + n % 50,
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        )?;
    }
    Ok(text)
}

fn send(port: u16, text: &str) -> Outcome<()> {
    let begin = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) if begin.elapsed() > Duration::from_secs(10) => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    stream.write_all(text.as_bytes())?;
    Ok(())
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// CPU time of the agent's whole life.
fn lugger(
    binary: &Path,
    directory: &Path,
    text: &str,
    count: u64,
    (core, others): (&CpuSet, &CpuSet),
) -> Outcome<Duration> {
    let sink = Sink::start(None)?;
    let port = free_port()?;
    let yaml = format!(
        "loki:\n  - url: http://127.0.0.1:{}\nlogs:\n  - syslog: {{ listen: \"tcp://127.0.0.1:{port}\" }}\n    labels: {{ job: syslog }}\n    \
         relabel_configs: [{{ regex: __syslog_message_(hostname|severity), action: labelmap }}]\nhttp: {{ listen: none }}\n",
        sink.port
    );
    let mut agent = Agent::start(binary, directory, &yaml, Some((core, others)))?;
    send(port, text)?;
    agent.wait("all messages", DEADLINE, || sink.count() >= count)?;
    let (user, system) = agent.stop()?;
    if sink.count() != count {
        return Err(format!("{count} messages were sent, {} arrived", sink.count()).into());
    }
    Ok(user + system)
}

/// CPU time of rsyslogd's whole life.
fn rsyslog(directory: &Path, text: &str, count: u64, (core, others): (&CpuSet, &CpuSet)) -> Outcome<Duration> {
    let sink = TcpListener::bind("127.0.0.1:0")?;
    let (sink_port, port) = (sink.local_addr()?.port(), free_port()?);
    let lines = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&lines);
    std::thread::spawn(move || {
        // It may connect more than once.
        while let Ok((mut stream, _)) = sink.accept() {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(got @ 1..) = stream.read(&mut buffer) {
                    let newlines = memchr::memchr_iter(b'\n', &buffer[..got]).count();
                    seen.fetch_add(newlines as u64, Ordering::AcqRel);
                }
            });
        }
    });
    let configuration = directory.join("rsyslog.conf");
    std::fs::write(
        &configuration,
        format!(
            "global(workDirectory=\"{}\")\nmodule(load=\"imtcp\")\ninput(type=\"imtcp\" port=\"{port}\" address=\"127.0.0.1\")\n\
             action(type=\"omfwd\" Target=\"127.0.0.1\" Port=\"{sink_port}\" Protocol=\"tcp\")\n",
            directory.display()
        ),
    )?;
    let start = || {
        let mut command = Command::new("/usr/sbin/rsyslogd");
        command.args(["-n", "-f"]).arg(&configuration).arg("-i").arg(directory.join("rsyslog.pid"));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    let mut child =
        on_core(core, others, start)?.map_err(|error| format!("rsyslogd: {error}; install the package rsyslog"))?;
    let measured = (|| {
        send(port, text)?;
        let begin = Instant::now();
        while lines.load(Ordering::Acquire) < count {
            if begin.elapsed() > DEADLINE {
                return Err(format!("{count} messages were sent, {} arrived", lines.load(Ordering::Acquire)).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let (user, system) = cpu_times(child.id())?;
        Ok(user + system)
    })();
    child.kill()?;
    child.wait()?;
    measured
}
