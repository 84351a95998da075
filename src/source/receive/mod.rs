//! Receivers: sources that others send to, over the network, a unix socket or stdin.
//!
//! What cannot be read again is appended to an inlet (`store/inlet`) as it comes, and the file source reads that. So a receiver receives and
//! appends, and nothing else: `datagrams`, `streams`, `push` and `stdin` are the ways in, `bodies` what pushes take while they come in, `port` is what they share of a source, `socket` what is bound,
//! `tls` what a server shows. One thread, `lugger-receive`, runs all of them; an inlet is synced beside it.
//!
//! Promises: a change of the configuration closes no socket whose address stays, and no connection; what fails names the address and what to do, and
//! changes nothing; when a receiver ends it takes first what the kernel has for it; an inlet is open once at most, also while a source goes and
//! comes back. Leaves to others: what messages mean (`file/records`).

mod bodies;
mod datagrams;
mod fullness;
mod judge;
mod port;
mod push;
pub mod settings;
mod socket;
pub mod status;
mod stdin;
mod streams;
mod tls;

pub use judge::Naming;
pub use push::Memory as PushMemory;
pub use socket::BindError;
pub use tls::TlsError;

use crate::base::clock::Clock;
use crate::base::limits::{RECEIVE_END_MS, RECEIVE_ROOM_MS, RECEIVE_STOP_MS, RECEIVE_SYNC_MS, RECEIVE_WAIT_MS};
use crate::base::metrics::Registry;
use crate::base::secret::Secret;
use crate::base::shutdown::{self, Shutdown, Trigger};
use crate::base::wake::Wake;
use crate::format::record::Kind;
use crate::pipeline::relabel::RelabelError;
use crate::store::inlet::{Counters, Delivered, Directory, Inlet, InletError, Limits, Policy};
use datagrams::Take;
use judge::Judge;
use port::Port;
use rustls::ServerConfig;
use settings::{Address, From, Settings};
use socket::Socket;
use status::Status;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// The directory of inlets in the state directory.
const NAME: &str = "inlets";

/// Where a source's inlet is.
pub fn inlet_path(state_dir: &Path, source: &str) -> PathBuf {
    state_dir.join(NAME).join(source)
}

/// Sources that are not among these, for which something lies there that is not stored, and how much, bytes. `stored` says how far a file of a source
/// is. Reads directories, so it blocks.
pub fn strangers(state_dir: &Path, known: &[String], stored: impl Fn(&str, &Path) -> u64) -> Vec<(String, u64)> {
    let Ok(entries) = std::fs::read_dir(state_dir.join(NAME)) else { return Vec::new() };
    let unsent = |name: &str, path: &Path| -> u64 {
        let files = std::fs::read_dir(path).into_iter().flatten().flatten();
        let files = files.filter_map(|file| Some((file.path(), file.metadata().ok()?)));
        let files = files.filter(|(_, meta)| meta.is_file());
        files.map(|(path, meta)| meta.len().saturating_sub(stored(name, &path))).sum()
    };
    let named = entries.flatten().map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let bytes = unsent(&name, &entry.path());
        (name, bytes)
    });
    named.filter(|(name, bytes)| *bytes > 0 && !known.contains(name)).collect()
}

/// Why a source cannot receive.
#[derive(Debug, thiserror::Error)]
#[error("source {name}: {problem}")]
pub struct ReceiveError {
    /// The source's name.
    pub name: String,
    /// What is wrong and what to do. It is part of the text, so it is no source: that would be told twice.
    pub problem: Problem,
}

/// What is wrong with a receiver.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Its address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its inlet.
    #[error(transparent)]
    Inlet(#[from] InletError),
    /// The one of this name that was removed.
    #[error(
        "one of this name was removed and has not ended yet, as the disk does not answer; reload again when it does"
    )]
    Ending,
    /// What decides which pushes have labels.
    #[error(transparent)]
    Relabel(#[from] RelabelError),
    /// The host is out of means.
    #[error("cannot receive: {0}")]
    Io(#[from] io::Error),
}

/// What a plan says of a receiver, beside its settings.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Its settings.
    pub settings: Settings,
    /// What labels its entries have beside those of a push.
    pub labels: Naming,
}

/// A receiver that can be started: nothing of it can fail any more.
pub struct Prepared {
    planned: Planned,
    port: Arc<Port>,
    /// Its port is new, or its socket is.
    is_new: bool,
    socket: Option<Socket>,
    tls: Option<Arc<ServerConfig>>,
    /// Who may push.
    wanted: Option<Secret>,
    judge: Option<Arc<Judge>>,
    pushes: Arc<PushMemory>,
    wake: Option<Wake>,
}

/// What there is of a receiver that runs, for one that takes its place, or of one that has been removed and not ended yet.
#[derive(Debug, Clone)]
pub struct There {
    name: String,
    address: Option<Address>,
    socket: Option<Socket>,
    /// `None`: it has not ended yet.
    port: Option<Arc<Port>>,
}

/// What inlets are opened with.
pub struct Surroundings<'a> {
    /// Of the agent.
    pub state_dir: &'a Path,
    /// The wall clock.
    pub clock: Clock,
    /// Where series are registered.
    pub registry: &'a Registry,
    /// How much of a file of a source's inlet is delivered.
    pub delivered: &'a dyn Fn(&str) -> Delivered,
    /// What pushes of all sources hold.
    pub pushes: &'a Arc<PushMemory>,
}

/// Does all that can fail: binds what is not bound, opens inlets, reads certificates. Blocks for the disk.
pub fn prepare(
    planned: Vec<Planned>,
    there: &[There],
    around: &Surroundings<'_>,
) -> Result<Vec<Prepared>, ReceiveError> {
    let prepared = planned.into_iter().map(|planned| {
        let name = planned.settings.name.clone();
        prepare_one(planned, there, around).map_err(|problem| ReceiveError { name, problem })
    });
    prepared.collect()
}

/// Reads the files that a receiver names, to say before a start what is wrong with them. Blocks for the disk.
pub fn examine(settings: &Settings) -> Result<(), ReceiveError> {
    let read = files(settings).map(|_| ());
    read.map_err(|problem| ReceiveError { name: settings.name.clone(), problem })
}

/// What a server shows, and who may push to it.
fn files(settings: &Settings) -> Result<(Option<Arc<ServerConfig>>, Option<Secret>), Problem> {
    let protocols: &[&str] = if matches!(settings.from, From::Push(_)) { &["http/1.1"] } else { &[] };
    let tls = settings.tls().map(|tls| tls::server_config(tls, protocols)).transpose()?;
    let wanted = match &settings.from {
        From::Push(push) => push::credentials(push)?,
        _ => None,
    };
    Ok((tls, wanted))
}

fn prepare_one(planned: Planned, there: &[There], around: &Surroundings<'_>) -> Result<Prepared, Problem> {
    let settings = &planned.settings;
    let (tls, wanted) = files(settings)?;
    let judge = match &settings.from {
        From::Push(_) => Some(Arc::new(Judge::new(&planned.labels)?)),
        _ => None,
    };
    let address = settings.address();
    // Sockets are told apart by address alone, as two sources may exchange theirs; but a free port is another one for each source.
    let is_free = address.as_ref().is_some_and(Address::is_free);
    let is_it = |there: &&There| there.address == address && (!is_free || there.name == settings.name);
    let bound = there.iter().find(is_it);
    let own: Vec<&Socket> = there.iter().filter_map(|there| there.socket.as_ref()).collect();
    let (socket, is_bound) = match (&address, bound.and_then(|there| there.socket.clone())) {
        (None, _) => (None, false),
        (Some(_), Some(socket)) => (Some(socket), false),
        (Some(address), None) => (Some(Socket::bind(address, &own)?), true),
    };
    let wake = match settings.from {
        From::Stdin => Some(Wake::new()?),
        _ => None,
    };
    let known = there.iter().find(|there| there.name == settings.name);
    let (port, is_new) = match known {
        Some(There { port: Some(port), .. }) => (Arc::clone(port), false),
        Some(There { port: None, .. }) => return Err(Problem::Ending),
        None => {
            let directory = Directory::new(&inlet_path(around.state_dir, &settings.name));
            let counters = Counters::new(around.registry, &settings.name);
            let delivered = (around.delivered)(&settings.name);
            let limits = limits(settings);
            let inlet = Inlet::open(directory, limits, around.clock.clone(), counters.clone(), delivered)?;
            let status = Status::new(around.registry, &settings.name);
            let inlet = (inlet, counters);
            (Arc::new(Port::new(inlet, limits, settings.message_bytes, around.clock.clone(), status)), true)
        }
    };
    let pushes = Arc::clone(around.pushes);
    Ok(Prepared { planned, port, is_new: is_new || is_bound, socket, tls, wanted, judge, pushes, wake })
}

/// Who can be held up waits; over UDP the oldest gives way.
fn limits(settings: &Settings) -> Limits {
    let policy = if settings.gives_way() { Policy::DropOldest } else { Policy::Refuse };
    Limits::new(settings.queue_bytes, policy)
}

/// The thread that receives, and what runs on it.
#[derive(Debug)]
pub struct Receivers {
    runtime: Handle,
    quit: Trigger,
    thread: std::thread::JoinHandle<()>,
    running: Vec<Running>,
    /// Those that take no more connections and have some.
    leaving: Vec<Running>,
    /// Names of those that were removed and have not ended yet.
    ending: Vec<(String, JoinHandle<()>)>,
}

#[derive(Debug)]
struct Running {
    settings: Settings,
    labels: Naming,
    socket: Option<Socket>,
    port: Arc<Port>,
    /// Takes no more connections; those there are go on.
    leave: Trigger,
    /// Ends.
    stop: Trigger,
    task: JoinHandle<()>,
    syncing: Arc<AbortOnDrop>,
    /// Raised when stdin has ended.
    ended: Option<Shutdown>,
    wake: Option<Wake>,
}

/// How it went with stdin, if that is a source.
#[derive(Debug)]
pub struct Input(Vec<Arc<Port>>);

impl Input {
    /// Whether it ended because it could not be read.
    pub fn has_failed(&self) -> bool {
        self.0.iter().any(|port| port.is_broken())
    }

    /// Lines of it that were read and are lost.
    pub fn lost(&self) -> u64 {
        self.0.iter().map(|port| port.lost()).sum()
    }
}

/// The task that syncs a port, for as long as anything uses it.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Receivers {
    /// Starts the thread. `alive` is raised when it ends, however it ends.
    pub fn start(alive: Trigger) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (quit, mut quitting) = shutdown::channel();
        let run = move || {
            let _alive = alive;
            runtime.block_on(quitting.raised());
            // A disk that does not answer is not waited for.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("lugger-receive".into()).spawn(run)?;
        Ok(Receivers { runtime: handle, quit, thread, running: Vec::new(), leaving: Vec::new(), ending: Vec::new() })
    }

    /// Starts the first ones.
    pub fn begin(&mut self, first: Vec<Prepared>) {
        for prepared in first {
            let started = self.launch(prepared, None);
            self.running.push(started);
        }
    }

    /// The runtime of the thread: what is spawned there runs when the thread comes around.
    pub fn runtime(&self) -> Handle {
        self.runtime.clone()
    }

    /// What runs, for those that take its place.
    pub fn there(&self) -> Vec<There> {
        let there = |running: &Running| There {
            name: running.settings.name.clone(),
            address: running.settings.address(),
            socket: running.socket.clone(),
            port: Some(Arc::clone(&running.port)),
        };
        let unended = self.ending.iter().filter(|(_, task)| !task.is_finished());
        let unended = unended.map(|(name, _)| There { name: name.clone(), address: None, socket: None, port: None });
        self.running.iter().map(there).chain(unended).collect()
    }

    /// The status of each source, by name.
    pub fn status(&self) -> Vec<(String, &'static str, Status)> {
        let of =
            |running: &Running| (running.settings.name.clone(), running.settings.kind(), running.port.status.clone());
        self.running.iter().map(of).collect()
    }

    /// Ends those that the next ones do not have, with all their connections; what the kernel has for them is taken first. Gives their names.
    pub async fn retire(&mut self, next: &[Prepared]) -> Vec<String> {
        let is_next = |name: &str| next.iter().any(|next| next.planned.settings.name == name);
        let gone = self.take(|name| !is_next(name));
        let names = gone.iter().map(|running| running.settings.name.clone()).collect();
        self.end(gone, true).await;
        names
    }

    /// Those of such names, and those of them that are leaving.
    fn take(&mut self, is_it: impl Fn(&str) -> bool) -> Vec<Running> {
        let mut taken = Vec::new();
        for list in [&mut self.running, &mut self.leaving] {
            taken.extend(list.extract_if(.., |running| is_it(&running.settings.name)));
        }
        taken
    }

    /// Changes to the next set. What is as before is not touched.
    pub async fn change(&mut self, next: Vec<Prepared>) {
        let mut ended = Vec::new();
        for prepared in next {
            let name = &prepared.planned.settings.name;
            let before = self.running.iter().position(|running| running.settings.name == *name);
            let before = before.map(|at| self.running.remove(at));
            let Some(before) = before else {
                let started = self.launch(prepared, None);
                self.running.push(started);
                continue;
            };
            prepared.port.set_limits(limits(&prepared.planned.settings), prepared.planned.settings.message_bytes);
            let is_same = before.settings.from == prepared.planned.settings.from
                && before.labels == prepared.planned.labels
                // Files may have others in them.
                && prepared.tls.is_none()
                && prepared.wanted.is_none();
            if is_same {
                self.running.push(Running { settings: prepared.planned.settings, ..before });
                continue;
            }
            let same_address = before.settings.address() == prepared.planned.settings.address();
            let started = self.launch(prepared, Some(Arc::clone(&before.syncing)));
            self.running.push(started);
            before.leave.raise();
            if same_address && matches!(before.settings.address(), Some(Address::Tcp(_) | Address::UnixStream(_))) {
                // Its connections go on.
                self.leaving.push(before);
            } else {
                // Nor do those of its connections that were left before.
                let name = before.settings.name.clone();
                ended.extend(self.leaving.extract_if(.., |running| running.settings.name == name));
                ended.push(before);
            }
        }
        self.leaving.retain(|running| !running.task.is_finished());
        self.end(ended, false).await;
    }

    /// Ends receivers, and lets their inlets go if it `closes` them. They have a time for it, all together.
    async fn end(&mut self, gone: Vec<Running>, closes: bool) {
        let mut ports: Vec<Gone> = Vec::new();
        for running in gone {
            running.leave.raise();
            running.stop.raise();
            if let Some(wake) = &running.wake {
                wake.wake();
            }
            let Running { settings, port, task, syncing, .. } = running;
            match ports.iter_mut().find(|known| Arc::ptr_eq(&known.port, &port)) {
                Some(known) => known.tasks.push((task, syncing)),
                None => ports.push(Gone { name: settings.name, port, tasks: vec![(task, syncing)] }),
            }
        }
        let ending: Vec<_> =
            ports.into_iter().map(|gone| (gone.name.clone(), self.runtime.spawn(gone.end(closes)))).collect();
        let end_at = Instant::now() + Duration::from_millis(RECEIVE_END_MS);
        self.ending.retain(|(_, task)| !task.is_finished());
        for (name, mut task) in ending {
            if timeout_at(end_at, &mut task).await.is_err() && closes {
                // A disk that does not answer, most likely.
                tracing::warn!(source = %name, "the source has not ended yet: the disk does not answer, or the machine is very busy");
                self.ending.push((name, task));
            }
        }
    }

    fn launch(&self, prepared: Prepared, syncing: Option<Arc<AbortOnDrop>>) -> Running {
        let Prepared { planned: Planned { settings, labels }, port, socket, tls, wanted, judge, pushes, wake, is_new } =
            prepared;
        if is_new && let Some(socket) = &socket {
            socket.show();
            tracing::info!(source = %settings.name, address = %socket.address(), "listening");
        }
        let (leave, leaving) = shutdown::channel();
        let (stop, stopping) = shutdown::channel();
        let syncing =
            syncing.unwrap_or_else(|| Arc::new(AbortOnDrop(self.runtime.spawn(Arc::clone(&port).keep_synced()))));
        let mut ended = None;
        let task = match (&settings.from, &socket) {
            (From::Stdin, _) => {
                let (end, at_end) = shutdown::channel();
                ended = Some(at_end);
                let (port, wake) = (Arc::clone(&port), wake.clone());
                // Its own thread: a read may never come back.
                let read = move || {
                    if let Some(wake) = wake {
                        stdin::read(&port, &wake, &stopping, &end);
                    }
                };
                let spawned = std::thread::Builder::new().name("lugger-stdin".into()).spawn(read);
                self.runtime.spawn(async move {
                    let Ok(thread) = spawned else {
                        return tracing::error!("cannot start the thread that reads stdin");
                    };
                    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
                })
            }
            (_, None) => self.runtime.spawn(async {}),
            (from, Some(socket)) => {
                let server = Server { tls, wanted, judge, pushes };
                let work = work(from.clone(), server, socket.clone(), Arc::clone(&port), leaving, stopping);
                let name = settings.name.clone();
                self.runtime.spawn(async move {
                    if let Err(error) = work.await {
                        tracing::error!(source = %name, %error, "nothing is received: the socket cannot be used");
                    }
                })
            }
        };
        Running { settings, labels, socket, port, leave, stop, task, syncing, ended, wake }
    }

    /// Whether there are sources, all of them are stdin, and that has ended.
    pub fn have_ended(&self) -> bool {
        let is_over = |running: &Running| running.ended.as_ref().is_some_and(Shutdown::is_raised);
        !self.running.is_empty() && self.running.iter().all(is_over)
    }

    /// What is taken and not in files yet, bytes. `None`: somebody is at it.
    pub fn unwritten_bytes(&self) -> Option<usize> {
        self.running.iter().map(|running| running.port.held_bytes()).sum()
    }

    /// What can be said of stdin, also when this is stopped.
    pub fn input(&self) -> Input {
        let ports = self.running.iter().filter(|running| running.ended.is_some());
        Input(ports.map(|running| Arc::clone(&running.port)).collect())
    }

    /// Whether stdin is read, which may end.
    pub fn may_end(&self) -> bool {
        self.running.iter().any(|running| running.ended.is_some())
    }

    /// Waits until one that may end has ended.
    pub async fn one_ended(&self) {
        let Some(mut ended) = self.running.iter().find_map(|running| running.ended.clone()) else {
            return std::future::pending().await;
        };
        ended.raised().await;
    }

    /// Takes what the kernel has, and ends.
    pub async fn stop(mut self) {
        let all = self.take(|_| true);
        self.end(all, true).await;
        self.quit.raise();
        let end_at = Instant::now() + Duration::from_millis(RECEIVE_STOP_MS);
        while !self.thread.is_finished() {
            if end_at <= Instant::now() {
                // It ends with the process.
                return tracing::warn!("the thread that receives has not ended yet; it is not waited for");
            }
            tokio::time::sleep(Duration::from_millis(RECEIVE_SYNC_MS)).await;
        }
        // An error is a panic, which has been shown.
        let _ = self.thread.join();
    }
}

/// A port whose receivers have been told to end.
struct Gone {
    name: String,
    port: Arc<Port>,
    tasks: Vec<(JoinHandle<()>, Arc<AbortOnDrop>)>,
}

impl Gone {
    /// Waits for them, and makes what they took last.
    async fn end(self, closes: bool) {
        let Gone { port, tasks, .. } = self;
        for (task, syncing) in tasks {
            // An error is a panic, which has been shown.
            let _ = task.await;
            drop(syncing);
        }
        // What a full disk does not take has no other place: what is delivered now may give it room.
        let last_at = Instant::now() + Duration::from_millis(RECEIVE_ROOM_MS);
        loop {
            let syncing = Arc::clone(&port);
            let synced = tokio::task::spawn_blocking(move || syncing.sync()).await;
            if synced.is_err() || !closes || last_at <= Instant::now() || port.held_bytes() == Some(0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(RECEIVE_WAIT_MS)).await;
        }
        let last = move || {
            if closes {
                port.close();
            }
        };
        let _ = tokio::task::spawn_blocking(last).await;
    }
}

/// What servers need.
struct Server {
    tls: Option<Arc<ServerConfig>>,
    wanted: Option<Secret>,
    judge: Option<Arc<Judge>>,
    pushes: Arc<PushMemory>,
}

/// Receives until it is told to stop.
async fn work(
    from: From,
    server: Server,
    socket: Socket,
    port: Arc<Port>,
    leave: Shutdown,
    stop: Shutdown,
) -> io::Result<()> {
    let Server { tls, wanted, judge, pushes } = server;
    // Where connections go on after nobody listens any more, the socket does not stay.
    match (from, socket) {
        (From::Push(push), Socket::Tcp(listener)) => {
            let own = listener.try_clone()?;
            drop(listener);
            let Some(judge) = judge else { return Ok(()) };
            push::receive(own, (push, wanted, judge), tls, (port, pushes), leave).await;
        }
        (From::Syslog(syslog), Socket::Tcp(listener)) => {
            let source = streams::Source::Tcp(TcpListener::from_std(listener.try_clone()?)?, tls);
            drop(listener);
            streams::receive(source, syslog.idle_timeout, port, leave, stop).await;
        }
        (From::Syslog(syslog), Socket::UnixStream(listener)) => {
            let source = streams::Source::Unix(UnixListener::from_std(listener.1.try_clone()?)?);
            drop(listener);
            streams::receive(source, syslog.idle_timeout, port, leave, stop).await;
        }
        (From::Syslog(_), Socket::Udp(socket)) => {
            let source = datagrams::Source::Udp(UdpSocket::from_std(socket.try_clone()?)?, socket);
            datagrams::receive(source, Take::Syslog(Kind::Syslog), port, leave).await;
        }
        (From::Syslog(_), Socket::UnixDatagram(socket)) => {
            let source = datagrams::Source::Unix(UnixDatagram::from_std(socket.1.try_clone()?)?);
            datagrams::receive(source, Take::Syslog(Kind::SyslogLocal), port, leave).await;
        }
        (From::Gelf(_), Socket::Udp(socket)) => {
            let source = datagrams::Source::Udp(UdpSocket::from_std(socket.try_clone()?)?, socket);
            let gelf = datagrams::Gelf::new(port.message_bytes());
            datagrams::receive(source, Take::Gelf(gelf), port, leave).await;
        }
        // A socket is of the form that its settings ask for.
        (From::Push(_) | From::Gelf(_) | From::Stdin, _) => {}
    }
    Ok(())
}
