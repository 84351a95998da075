//! The real binary as a process: its configuration, its start, its end, and what /proc says of it.
//!
//! Promises: a test that fails shows what the agent wrote to stderr; no process outlives its test.
//! Leaves to others: the receiver, the log files.

use super::pusher;
use super::wait::{holds_within, wait_until};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Time within which the agent must be up, even on a loaded machine.
const START: Duration = Duration::from_secs(20);
/// Whom an agent without privileges runs as: nobody.
const NOBODY: u32 = 65534;

/// Names of the agent's own metrics that tests look at. One place, so that a renamed metric is a change of one line.
pub mod names {
    /// Lines cut at the cap, by source.
    pub const TRUNCATED: &str = "lugger_lines_repaired_total{reason=\"too_long\"}";
    /// Lines in which bytes were replaced since they were not UTF-8.
    pub const INVALID_UTF8: &str = "lugger_lines_repaired_total{reason=\"not_utf8\"}";
    /// Runs of NUL bytes that were replaced by a mark.
    pub const NUL_RUNS: &str = "lugger_lines_repaired_total{reason=\"nul_run\"}";
    /// Bytes known to be lost; stays 0.
    pub const LOST: &str = "lugger_file_lost_bytes_total";
    /// Errors of single files.
    pub const FILE_ERRORS: &str = "lugger_file_errors_total";
    /// Bytes that are on the host and not stored by every endpoint.
    pub const LAG_BYTES: &str = "lugger_source_lag_bytes";
    /// Entries refused for good, by endpoint and reason.
    pub const REFUSED: &str = "lugger_endpoint_refused_entries_total";
    /// Attempts that failed.
    pub const RETRIES: &str = "lugger_endpoint_retries_total";
    /// Version and the like; always 1.
    pub const BUILD: &str = "lugger_build_info";
}

/// One `logs` entry with a `file` source, or another one.
#[derive(Debug, Clone)]
pub struct FileSource {
    name: String,
    /// Another kind in place of `file`, and its YAML value.
    other: Option<(&'static str, String)>,
    include: Vec<String>,
    exclude: Vec<String>,
    start_at: Option<&'static str>,
    encoding: Option<&'static str>,
    to: Option<&'static str>,
    labels: Vec<(String, String)>,
    rate: Option<&'static str>,
    /// Further keys, each with a YAML value on one line.
    more: Vec<(&'static str, String)>,
}

impl FileSource {
    /// A source that reads what matches `include`.
    pub fn new(name: &str, include: impl AsRef<Path>) -> Self {
        let include = vec![include.as_ref().display().to_string()];
        let name = name.to_owned();
        FileSource {
            name,
            other: None,
            include,
            exclude: Vec::new(),
            start_at: None,
            encoding: None,
            to: None,
            labels: Vec::new(),
            rate: None,
            more: Vec::new(),
        }
    }

    /// A source that reads a journal: its YAML value.
    pub fn journal(name: &str, value: &str) -> Self {
        FileSource::other("journal", name, value)
    }

    /// A source that reads the logs of containers: its YAML value.
    pub fn docker(name: &str, value: &str) -> Self {
        FileSource::other("docker", name, value)
    }

    /// A source of another kind: its YAML value.
    pub fn other(kind: &'static str, name: &str, value: &str) -> Self {
        FileSource { other: Some((kind, value.to_owned())), ..FileSource::new(name, "") }
    }

    /// Adds an `include` pattern.
    pub fn include(mut self, pattern: impl AsRef<Path>) -> Self {
        self.include.push(pattern.as_ref().display().to_string());
        self
    }

    /// Adds an `exclude` pattern.
    pub fn exclude(mut self, pattern: impl AsRef<Path>) -> Self {
        self.exclude.push(pattern.as_ref().display().to_string());
        self
    }

    /// `beginning` or `end`.
    pub fn start_at(mut self, place: &'static str) -> Self {
        self.start_at = Some(place);
        self
    }

    /// What the bytes of the files mean.
    pub fn encoding(mut self, name: &'static str) -> Self {
        self.encoding = Some(name);
        self
    }

    /// The one endpoint that it goes to, instead of all.
    pub fn to(mut self, endpoint: &'static str) -> Self {
        self.to = Some(endpoint);
        self
    }

    /// Adds a label.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets `rate` to a YAML value.
    pub fn rate(mut self, rate: &'static str) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Sets another key to a YAML value.
    pub fn option(mut self, key: &'static str, value: &str) -> Self {
        self.more.push((key, value.to_owned()));
        self
    }
}

/// A configuration; [`Config::yaml`] writes it down as a person would.
#[derive(Debug, Clone)]
pub struct Config {
    url: String,
    endpoint: Vec<(&'static str, String)>,
    others: Vec<(&'static str, String)>,
    sources: Vec<FileSource>,
    labels: Vec<(String, String)>,
    limits: Vec<(&'static str, String)>,
    state_dir: Option<PathBuf>,
}

impl Config {
    /// Delivers to `url`, with waits that suit tests.
    pub fn new(url: &str) -> Self {
        Config {
            url: url.to_owned(),
            endpoint: vec![
                ("batch_wait", "50ms".into()),
                ("timeout", "2s".into()),
                ("backoff", "{ min: 20ms, max: 200ms }".into()),
            ],
            others: Vec::new(),
            sources: Vec::new(),
            labels: Vec::new(),
            limits: Vec::new(),
            state_dir: None,
        }
    }

    /// Adds a source.
    pub fn source(mut self, source: FileSource) -> Self {
        self.sources.push(source);
        self
    }

    /// Sets a key of the endpoint to a YAML value.
    pub fn endpoint(mut self, key: &'static str, value: &str) -> Self {
        set(&mut self.endpoint, key, value);
        self
    }

    /// Adds an endpoint by the name `name`; its other keys are those of the first one.
    pub fn also(mut self, name: &'static str, url: &str) -> Self {
        self.others.push((name, url.to_owned()));
        self
    }

    /// Sets a key of `limits`.
    pub fn limit(mut self, key: &'static str, value: &str) -> Self {
        set(&mut self.limits, key, value);
        self
    }

    /// Adds a label to all streams.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Keeps state elsewhere than in the rig's own directory.
    pub fn state_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(path.into());
        self
    }

    fn yaml(&self, http: SocketAddr, state_dir: &Path) -> String {
        let mut text = String::new();
        if !self.labels.is_empty() {
            text.push_str(&format!("labels: {}\n", map(&self.labels)));
        }
        text.push_str("loki:\n");
        let first = [("first", self.url.clone())];
        for (name, url) in first.iter().chain(&self.others) {
            text.push_str(&format!("  - url: {url}\n"));
            if !self.others.is_empty() || self.sources.iter().any(|source| source.to.is_some()) {
                text.push_str(&format!("    name: {name}\n"));
            }
            for (key, value) in &self.endpoint {
                text.push_str(&format!("    {key}: {value}\n"));
            }
        }
        text.push_str("logs:\n");
        for source in &self.sources {
            text.push_str(&format!("  - name: {}\n", source.name));
            match &source.other {
                Some((kind, value)) => text.push_str(&format!("    {kind}: {value}\n")),
                None => text.push_str(&format!("    file:\n      include: {}\n", list(&source.include))),
            }
            if !source.exclude.is_empty() {
                text.push_str(&format!("      exclude: {}\n", list(&source.exclude)));
            }
            if let Some(place) = source.start_at {
                text.push_str(&format!("      start_at: {place}\n"));
            }
            if let Some(encoding) = source.encoding {
                text.push_str(&format!("      encoding: {encoding}\n"));
            }
            if let Some(endpoint) = source.to {
                text.push_str(&format!("    to: [{endpoint}]\n"));
            }
            if let Some(rate) = source.rate {
                text.push_str(&format!("    rate: {rate}\n"));
            }
            for (key, value) in &source.more {
                text.push_str(&format!("    {key}: {value}\n"));
            }
            if !source.labels.is_empty() {
                text.push_str(&format!("    labels: {}\n", map(&source.labels)));
            }
        }
        text.push_str(&format!("http: {{ listen: \"{http}\" }}\nstate_dir: {}\n", state_dir.display()));
        if !self.limits.is_empty() {
            text.push_str("limits:\n");
            for (key, value) in &self.limits {
                text.push_str(&format!("  {key}: {value}\n"));
            }
        }
        text
    }
}

fn set(list: &mut Vec<(&'static str, String)>, key: &'static str, value: &str) {
    list.retain(|(known, _)| *known != key);
    list.push((key, value.to_owned()));
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
    format!("[{}]", items.join(", "))
}

fn map(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}: \"{value}\"")).collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// A directory for one test: the agent's state, its configuration, its stderr, and `logs/` for what it reads.
#[derive(Debug)]
pub struct Rig {
    root: tempfile::TempDir,
    unprivileged: bool,
    descriptors: Option<u32>,
    environment: Vec<(String, String)>,
}

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}

impl Rig {
    /// An agent with the rights of whoever runs the tests.
    pub fn new() -> Self {
        Self::make(false)
    }

    /// An agent for which file modes count: where root runs the tests, it runs as nobody.
    pub fn unprivileged() -> Self {
        Self::make(rustix::process::geteuid().is_root())
    }

    fn make(unprivileged: bool) -> Self {
        let root = tempfile::Builder::new().prefix("lugger-test-").tempdir().expect("a temporary directory");
        for name in ["logs", "state"] {
            fs::create_dir(root.path().join(name)).expect("a directory in the temporary one");
        }
        let rig = Rig { root, unprivileged, descriptors: None, environment: Vec::new() };
        if unprivileged {
            // The build directory may lie under /root, where nobody has no way in.
            fs::copy(env!("CARGO_BIN_EXE_lugger"), rig.binary()).expect("copy the binary");
            for path in [rig.path().to_owned(), rig.logs(), rig.state()] {
                chown(&path, Some(NOBODY), Some(NOBODY)).expect("hand the directory over");
            }
        }
        rig
    }

    /// The agent may have this many open files, and cannot raise that.
    pub fn with_descriptors(mut self, most: u32) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// A variable in the agent's environment.
    pub fn with_env(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.as_ref().display().to_string()));
        self
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// Where the logs go.
    pub fn logs(&self) -> PathBuf {
        self.path().join("logs")
    }

    /// A file in the logs' directory.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(name)
    }

    /// The agent's state directory.
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    fn binary(&self) -> PathBuf {
        if self.unprivileged { self.path().join("lugger") } else { env!("CARGO_BIN_EXE_lugger").into() }
    }

    /// Where the agent's configuration is.
    pub fn config_file(&self) -> PathBuf {
        self.path().join("agent.yaml")
    }

    /// Replaces the configuration of a running agent, which is not told.
    pub fn rewrite(&self, agent: &Agent, config: &Config) {
        let state = config.state_dir.clone().unwrap_or_else(|| self.state());
        fs::write(self.config_file(), config.yaml(agent.http, &state)).expect("write the configuration");
    }

    /// Replaces the configuration of a running agent, which takes it over.
    #[track_caller]
    pub fn change(&self, agent: &Agent, config: &Config) {
        self.rewrite(agent, config);
        let answer = agent.reload();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Starts the agent and waits until it serves /metrics and has looked at all sources.
    #[track_caller]
    pub fn start(&self, config: &Config) -> Agent {
        self.wait_up(self.spawn(config))
    }

    /// The same with a configuration as it is written, which is told the address for its pages. The state directory is the rig's.
    #[track_caller]
    pub fn start_text(&self, text: impl FnOnce(SocketAddr) -> String) -> Agent {
        let http = free_port();
        self.wait_up(self.spawn_text(http, text(http)))
    }

    #[track_caller]
    fn wait_up(&self, mut agent: Agent) -> Agent {
        let up = holds_within(START, || agent.has_exited() || agent.has_begun());
        assert!(up.is_some() && !agent.has_exited(), "the agent did not come up");
        agent
    }

    /// Starts the agent and does not wait.
    pub fn spawn(&self, config: &Config) -> Agent {
        let http = free_port();
        let state = config.state_dir.clone().unwrap_or_else(|| self.state());
        self.spawn_text(http, config.yaml(http, &state))
    }

    /// Starts the agent with this stdin, and waits until it serves /metrics.
    #[track_caller]
    pub fn start_with_stdin(&self, config: &Config, stdin: impl Into<Stdio>) -> Agent {
        let http = free_port();
        let state = config.state_dir.clone().unwrap_or_else(|| self.state());
        self.wait_up(self.spawn_with(http, config.yaml(http, &state), stdin.into()))
    }

    fn spawn_text(&self, http: SocketAddr, yaml: String) -> Agent {
        self.spawn_with(http, yaml, Stdio::null())
    }

    fn spawn_with(&self, http: SocketAddr, yaml: String, stdin: Stdio) -> Agent {
        let file = self.config_file();
        fs::write(&file, &yaml).expect("write the configuration");
        let stderr = self.path().join("stderr.log");
        let log = File::options().append(true).create(true).open(&stderr).expect("a file for stderr");
        let mut command = if self.unprivileged {
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}")).arg("--clear-groups");
            command.arg(self.binary());
            command
        } else if let Some(most) = self.descriptors {
            let mut command = Command::new("prlimit");
            command.arg(format!("--nofile={most}:{most}")).arg(self.binary());
            command
        } else {
            Command::new(self.binary())
        };
        command.arg("run").arg("--config").arg(&file);
        command.env("STATE_DIRECTORY", self.state());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.path()).stdin(stdin).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("start the agent");
        Agent { child, http, stderr, started: Instant::now(), exit: None, yaml }
    }
}

/// A port of this host that nobody has.
pub fn free_port() -> SocketAddr {
    // Freed again at once: the kernel hands out ports in turn, so nobody else gets it in the next moment.
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// How the agent ended.
#[derive(Debug, Clone)]
pub struct Exit {
    /// Exit status; `None`: killed by a signal.
    pub code: Option<i32>,
    /// From the signal to the end.
    pub took: Duration,
    /// CPU time of its whole life, user and system.
    pub cpu: Duration,
}

/// A running agent. Killed when dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    http: SocketAddr,
    stderr: PathBuf,
    started: Instant,
    exit: Option<Exit>,
    yaml: String,
}

impl Agent {
    /// Where it serves its pages.
    pub fn address(&self) -> SocketAddr {
        self.http
    }

    /// Whether it serves /metrics.
    pub fn is_up(&self) -> bool {
        pusher::get(self.http, "/metrics").is_ok_and(|answer| answer.status == 200)
    }

    /// Whether it serves its pages and has looked at all sources once: what happens to files from now on is followed.
    pub fn has_begun(&self) -> bool {
        self.is_up() && self.ready().is_some_and(|answer| !answer.body.contains("for the first time"))
    }

    /// Whether /ready says yes.
    pub fn is_ready(&self) -> bool {
        pusher::get(self.http, "/ready").is_ok_and(|answer| answer.status == 200)
    }

    /// What POST /-/reload answers.
    #[track_caller]
    pub fn reload(&self) -> pusher::Answer {
        pusher::request(self.http, "POST", "/-/reload", &[], b"").expect("an answer to POST /-/reload")
    }

    /// What any request is answered.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> pusher::Answer {
        pusher::request(self.http, method, path, headers, b"").expect("an answer of the status server")
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        let _ = kill_process(pid_of(&self.child), Signal::HUP);
    }

    /// What /ready says.
    pub fn ready(&self) -> Option<pusher::Answer> {
        pusher::get(self.http, "/ready").ok()
    }

    /// Waits until /ready says yes.
    #[track_caller]
    pub fn wait_ready(&self) {
        wait_until("the agent to be ready", START, || self.is_ready());
    }

    /// /metrics as text; empty if it does not answer.
    pub fn metrics(&self) -> String {
        pusher::get(self.http, "/metrics").map(|answer| answer.body).unwrap_or_default()
    }

    /// The sum of all series of `name`; `None` if there is none.
    pub fn metric(&self, name: &str) -> Option<f64> {
        sum(&self.metrics(), name)
    }

    /// Whether it has ended, for whatever reason.
    pub fn has_exited(&mut self) -> bool {
        self.exit.is_some() || self.reap(false).is_some()
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stderr, over all starts in this rig.
    pub fn stderr(&self) -> String {
        fs::read(&self.stderr).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    /// Resident memory now and its highest value, bytes.
    pub fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        (kib(&status, "VmRSS:"), kib(&status, "VmHWM:"))
    }

    /// The highest resident memory that a release would have, bytes: without the pages of the program's own file in an unoptimised build,
    /// which is many times as large.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let file = if cfg!(debug_assertions) { kib(&status, "RssFile:") } else { 0 };
        kib(&status, "VmHWM:").saturating_sub(file)
    }

    /// CPU time so far, user and system.
    pub fn cpu(&self) -> Duration {
        cpu_time(self.pid()).unwrap_or_default()
    }

    /// Open descriptors that point to regular files under `directory`.
    pub fn open_files(&self, directory: &Path) -> usize {
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", self.pid())) else { return 0 };
        entries.flatten().filter(|e| fs::read_link(e.path()).is_ok_and(|target| target.starts_with(directory))).count()
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) -> Exit {
        self.end(Signal::KILL, Duration::from_secs(10))
    }

    /// SIGTERM, and waits for the end: at most `deadline`.
    #[track_caller]
    pub fn stop(&mut self, deadline: Duration) -> Exit {
        self.end(Signal::TERM, deadline)
    }

    /// SIGINT, and waits for the end: at most `deadline`.
    #[track_caller]
    pub fn interrupt(&mut self, deadline: Duration) -> Exit {
        self.end(Signal::INT, deadline)
    }

    /// Waits for an end that comes by itself.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> Exit {
        self.await_end(Instant::now(), deadline)
    }

    /// Stops it from running, without its knowing.
    pub fn freeze(&self) {
        let _ = kill_process(pid_of(&self.child), Signal::STOP);
    }

    /// Lets it run on.
    pub fn thaw(&self) {
        let _ = kill_process(pid_of(&self.child), Signal::CONT);
    }

    #[track_caller]
    fn end(&mut self, signal: Signal, deadline: Duration) -> Exit {
        let start = Instant::now();
        if self.exit.is_none() {
            let _ = kill_process(pid_of(&self.child), signal);
        }
        self.await_end(start, deadline)
    }

    #[track_caller]
    fn await_end(&mut self, start: Instant, deadline: Duration) -> Exit {
        let ended = holds_within(deadline, || self.has_exited());
        assert!(ended.is_some(), "the agent did not end within {deadline:?}");
        let mut exit = self.exit.clone().expect("an agent that ended has an exit");
        exit.took = start.elapsed();
        exit
    }

    /// Takes in its end, if it has come (or waits for it). The times are read while it is a zombie: afterwards they are gone.
    fn reap(&mut self, block: bool) -> Option<&Exit> {
        let mut options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        if !block {
            options |= WaitIdOptions::NOHANG;
        }
        waitid(WaitId::Pid(pid_of(&self.child)), options).ok().flatten()?;
        let cpu = self.cpu();
        let code = self.child.wait().ok()?.code();
        self.exit = Some(Exit { code, took: self.started.elapsed(), cpu });
        self.exit.as_ref()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.exit.is_none() {
            let _ = self.child.kill();
            let _ = self.reap(true);
        }
        if std::thread::panicking() {
            let text = self.stderr();
            let from = text.char_indices().rev().nth(8_000).map_or(0, |(at, _)| at);
            eprintln!("--- configuration\n{}--- end of the agent's stderr\n{}---", self.yaml, &text[from..]);
        }
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// User and system time of a process that runs or is a zombie.
fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything; utime and stime are the 14th and 15th field, 12th and 13th after it.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_micros(ticks * 1_000_000 / per_second))
}

fn kib(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0 kB");
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The sum of all series of `name` in Prometheus' text format; of those with a label if `name` is `family{label="value"}`.
pub fn sum(text: &str, name: &str) -> Option<f64> {
    let (family, label) = name.trim_end_matches('}').split_once('{').unwrap_or((name, ""));
    text.lines()
        .filter_map(|line| line.strip_prefix(family))
        .filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        .filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok())
        .reduce(|a, b| a + b)
}
