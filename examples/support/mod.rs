//! What the measuring programs share: the real agent as a process on its own core, a receiver, and what /proc says.
//!
//! Promises: no process outlives the program; a receiver listens on loopback. Leaves to others: what is measured.
#![allow(dead_code, reason = "each program uses a part of this")]

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub type Outcome<T> = Result<T, Box<dyn Error>>;
pub const MIB: f64 = 1024.0 * 1024.0;

/// Builds the agent beside this example, since `cargo run --example` does not.
pub fn build() -> Outcome<PathBuf> {
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
pub fn cores() -> Outcome<(CpuSet, CpuSet)> {
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

pub fn on_core<T>(core: &CpuSet, back: &CpuSet, work: impl FnOnce() -> T) -> Outcome<T> {
    sched_setaffinity(None, core)?;
    let result = work();
    sched_setaffinity(None, back)?;
    Ok(result)
}

/// A running agent. Killed when dropped.
pub struct Agent {
    pub child: Child,
    directory: PathBuf,
}

impl Agent {
    /// Starts it with this configuration, whose `state_dir` is made empty before, on the given core if there is one.
    pub fn start(binary: &Path, directory: &Path, yaml: &str, core: Option<(&CpuSet, &CpuSet)>) -> Outcome<Self> {
        let state = directory.join("state");
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        fs::create_dir(&state)?;
        fs::write(directory.join("agent.yaml"), format!("{yaml}state_dir: {}\n", state.display()))?;
        Self::resume(binary, directory, core)
    }

    /// Starts it again with the configuration and state that are there.
    pub fn resume(binary: &Path, directory: &Path, core: Option<(&CpuSet, &CpuSet)>) -> Outcome<Self> {
        let mut command = Command::new(binary);
        command.arg("run").arg("--config").arg(directory.join("agent.yaml"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::options().append(true).create(true).open(directory.join("stderr.log"))?);
        // A child inherits the cores of the thread that starts it.
        let child = match core {
            Some((core, back)) => on_core(core, back, || command.spawn())??,
            None => command.spawn()?,
        };
        Ok(Agent { child, directory: directory.to_owned() })
    }

    /// An error if it ended by itself.
    pub fn check(&mut self) -> Outcome<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the agent ended by itself: {status}\n{}", self.said()).into()),
        }
    }

    /// Its log so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.directory.join("stderr.log")).unwrap_or_default()
    }

    /// Waits until `done` says so; an error after `deadline`.
    pub fn wait(&mut self, what: &str, deadline: Duration, mut done: impl FnMut() -> bool) -> Outcome<()> {
        let start = Instant::now();
        while !done() {
            self.check()?;
            if start.elapsed() > deadline {
                return Err(format!("{what}: not within {deadline:?}").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Stops it; user and system time of its whole life, read while it is a zombie.
    pub fn stop(&mut self) -> Outcome<(Duration, Duration)> {
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

pub fn cpu_times(pid: u32) -> Outcome<(Duration, Duration)> {
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
pub fn memory(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0 kB");
        line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    (value("VmRSS:"), value("VmHWM:"))
}

/// What a receiver does with each entry: the stream's labels, its time in nanoseconds, its line. Called from a thread a connection.
pub type Observer = Box<dyn Fn(&[u8], i64, &[u8]) + Send + Sync>;

/// A receiver that counts entries and shows them to an observer, if there is one. Its time is not the agent's: it is in this process.
/// Its port closes when it is dropped.
pub struct Sink {
    pub port: u16,
    pub entries: Arc<AtomicU64>,
    closed: Arc<AtomicBool>,
}

impl Sink {
    /// Starts on a port of the kernel's choice.
    pub fn start(observer: Option<Observer>) -> Outcome<Self> {
        Self::start_on(0, observer)
    }

    /// Starts on this port; 0: any.
    pub fn start_on(port: u16, observer: Option<Observer>) -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let port = listener.local_addr()?.port();
        let entries = Arc::new(AtomicU64::new(0));
        let closed = Arc::new(AtomicBool::new(false));
        let observer: Option<Arc<Observer>> = observer.map(Arc::new);
        let (count, is_closed) = (Arc::clone(&entries), Arc::clone(&closed));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if is_closed.load(Ordering::Acquire) {
                    break;
                }
                let (count, observer, is_closed) = (Arc::clone(&count), observer.clone(), Arc::clone(&is_closed));
                std::thread::spawn(move || {
                    // An error is the agent's going away.
                    let _ = serve(connection, &count, observer.as_deref(), &is_closed);
                });
            }
        });
        Ok(Sink { port, entries, closed })
    }

    /// Entries that arrived so far.
    pub fn count(&self) -> u64 {
        self.entries.load(Ordering::Acquire)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        // Wakes the thread that waits for connections, so that the port is free.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(
    mut connection: TcpStream,
    count: &AtomicU64,
    observer: Option<&Observer>,
    closed: &AtomicBool,
) -> Outcome<()> {
    connection.set_nodelay(true)?;
    let mut decoder = snap::raw::Decoder::new();
    let mut buffer = Vec::new();
    let mut raw = Vec::new();
    loop {
        let (body, length) = read_request(&mut connection, &mut buffer)?;
        if closed.load(Ordering::Acquire) {
            return Ok(());
        }
        let block = &buffer[body..body + length];
        raw.resize(snap::raw::decompress_len(block)?, 0);
        let size = decoder.decompress(block, &mut raw)?;
        let entries = look_at(&raw[..size], observer).ok_or("a body that is not a push request")?;
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

/// Entries of an encoded push request: field 2 within each field 1; in it field 1 is the time, field 2 the line.
fn look_at(mut request: &[u8], observer: Option<&Observer>) -> Option<u64> {
    let mut count = 0;
    while !request.is_empty() {
        let (number, mut stream, rest) = field(request)?;
        request = rest;
        let mut labels: &[u8] = &[];
        while number == 1 && !stream.is_empty() {
            let (inner, content, rest) = field(stream)?;
            stream = rest;
            match inner {
                1 => labels = content,
                2 => {
                    count += 1;
                    if let Some(observer) = observer {
                        let (time_ns, line) = entry(content)?;
                        observer(labels, time_ns, line);
                    }
                }
                _ => {}
            }
        }
    }
    Some(count)
}

fn entry(mut bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (mut time_ns, mut line): (i64, &[u8]) = (0, &[]);
    while !bytes.is_empty() {
        let (number, content, rest) = field(bytes)?;
        bytes = rest;
        match number {
            1 => time_ns = timestamp(content)?,
            2 => line = content,
            _ => {}
        }
    }
    Some((time_ns, line))
}

/// Field 1 is seconds, field 2 nanoseconds, both numbers.
fn timestamp(mut bytes: &[u8]) -> Option<i64> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    while !bytes.is_empty() {
        let (tag, rest) = varint(bytes)?;
        let (value, rest) = varint(rest)?;
        bytes = rest;
        match tag >> 3 {
            1 => seconds = value as i64,
            2 => nanos = value as i64,
            _ => {}
        }
    }
    Some(seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos))
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
