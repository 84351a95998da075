//! Receivers: sources that others send to, over the network, a unix socket or stdin.
//!
//! What cannot be read again is appended to an inlet (`store/inlet`) as it comes, and the file source reads that. So a receiver receives and
//! appends, and nothing else: `datagrams`, `streams`, `push` and `stdin` are the ways in, `port` is what they share of a source, `socket` what is bound,
//! `tls` what a server shows. One thread, `lugger-receive`, runs all of them; an inlet is synced beside it.
//!
//! Promises: a change of the configuration closes no socket whose address stays, and no connection; what fails names the address and what to do, and
//! changes nothing; when a receiver ends it takes first what the kernel has for it. Leaves to others: what messages mean (`file/records`).

mod datagrams;
mod port;
mod push;
pub mod settings;
mod socket;
pub mod status;
mod stdin;
mod streams;
mod tls;

pub use socket::BindError;
pub use tls::TlsError;

use crate::base::clock::Clock;
use crate::base::limits::RECEIVE_STOP_MS;
use crate::base::metrics::Registry;
use crate::base::secret::Secret;
use crate::base::shutdown::{self, Shutdown, Trigger};
use crate::base::wake::Wake;
use crate::format::record::Kind;
use crate::store::inlet::{Counters, Delivered, Directory, Inlet, InletError, Limits, Policy};
use datagrams::Take;
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
use tokio::time::timeout;

/// The directory of inlets in the state directory.
const NAME: &str = "inlets";

/// Where a source's inlet is.
pub fn inlet_path(state_dir: &Path, source: &str) -> PathBuf {
    state_dir.join(NAME).join(source)
}

/// The names of what lies there for sources that are not among these. Reads directories, so it blocks.
pub fn strangers(state_dir: &Path, known: &[String]) -> Vec<(String, u64)> {
    let Ok(entries) = std::fs::read_dir(state_dir.join(NAME)) else { return Vec::new() };
    let size = |path: &Path| -> u64 {
        let files = std::fs::read_dir(path).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).filter(|file| file.is_file()).map(|file| file.len()).sum()
    };
    let named = entries.flatten().map(|entry| (entry.file_name().to_string_lossy().into_owned(), size(&entry.path())));
    named.filter(|(name, bytes)| *bytes > 0 && !known.contains(name)).collect()
}

/// Why a source cannot receive.
#[derive(Debug, thiserror::Error)]
#[error("source {name}: {problem}")]
pub struct ReceiveError {
    /// The source's name.
    pub name: String,
    /// What is wrong and what to do.
    #[source]
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
    /// The host is out of means.
    #[error("cannot receive: {0}")]
    Io(#[from] io::Error),
}

/// What a plan says of a receiver, beside its settings.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Its settings.
    pub settings: Settings,
    /// Whether its entries get labels that are no stream's of a push.
    pub has_labels: bool,
}

/// A receiver that can be started: nothing of it can fail any more.
pub struct Prepared {
    planned: Planned,
    port: Arc<Port>,
    /// The port is one that is new.
    is_new: bool,
    socket: Option<Socket>,
    tls: Option<Arc<ServerConfig>>,
    /// Who may push.
    wanted: Option<Secret>,
    wake: Option<Wake>,
}

/// What there is of a receiver that runs, for one that takes its place.
#[derive(Debug, Clone)]
pub struct There {
    name: String,
    address: Option<Address>,
    socket: Option<Socket>,
    port: Arc<Port>,
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

fn prepare_one(planned: Planned, there: &[There], around: &Surroundings<'_>) -> Result<Prepared, Problem> {
    let settings = &planned.settings;
    let protocols: &[&str] = if matches!(settings.from, From::Push(_)) { &["http/1.1"] } else { &[] };
    let tls = settings.tls().map(|tls| tls::server_config(tls, protocols)).transpose()?;
    let wanted = match &settings.from {
        From::Push(push) => push::credentials(push)?,
        _ => None,
    };
    let address = settings.address();
    // Sockets are told apart by address alone, as two sources may exchange theirs; but a free port is another one for each source.
    let is_free = address.as_ref().is_some_and(Address::is_free);
    let is_it = |there: &&There| there.address == address && (!is_free || there.name == settings.name);
    let bound = there.iter().find(is_it);
    let socket = match (&address, bound.and_then(|there| there.socket.clone())) {
        (None, _) => None,
        (Some(_), Some(socket)) => Some(socket),
        (Some(address), None) => Some(Socket::bind(address)?),
    };
    let wake = match settings.from {
        From::Stdin => Some(Wake::new()?),
        _ => None,
    };
    let known = there.iter().find(|there| there.name == settings.name);
    let (port, is_new) = match known {
        Some(known) => (Arc::clone(&known.port), false),
        None => {
            let directory = Directory::new(&inlet_path(around.state_dir, &settings.name));
            let counters = Counters::new(around.registry, &settings.name);
            let delivered = (around.delivered)(&settings.name);
            let limits = limits(settings);
            let inlet = Inlet::open(directory, limits, around.clock.clone(), counters, delivered)?;
            let status = Status::new(around.registry, &settings.name);
            (Arc::new(Port::new(inlet, limits, settings.message_bytes, around.clock.clone(), status)), true)
        }
    };
    Ok(Prepared { planned, port, is_new, socket, tls, wanted, wake })
}

/// Who can be held up waits; over UDP the oldest gives way.
fn limits(settings: &Settings) -> Limits {
    let policy = match settings.address() {
        Some(Address::Udp(_)) => Policy::DropOldest,
        _ => Policy::Refuse,
    };
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
}

#[derive(Debug)]
struct Running {
    settings: Settings,
    has_labels: bool,
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
        Ok(Receivers { runtime: handle, quit, thread, running: Vec::new(), leaving: Vec::new() })
    }

    /// Starts the first ones.
    pub fn begin(&mut self, first: Vec<Prepared>) {
        for prepared in first {
            let started = self.launch(prepared, None);
            self.running.push(started);
        }
    }

    /// What runs, for those that take its place.
    pub fn there(&self) -> Vec<There> {
        let there = |running: &Running| There {
            name: running.settings.name.clone(),
            address: running.settings.address(),
            socket: running.socket.clone(),
            port: Arc::clone(&running.port),
        };
        self.running.iter().map(there).collect()
    }

    /// The status of each source, by name.
    pub fn status(&self) -> Vec<(String, &'static str, Status)> {
        let of =
            |running: &Running| (running.settings.name.clone(), running.settings.kind(), running.port.status.clone());
        self.running.iter().map(of).collect()
    }

    /// Ends those that the next ones do not have; what the kernel has for them is taken first.
    pub async fn retire(&mut self, next: &[Prepared]) {
        let stays = |running: &Running| next.iter().any(|next| next.planned.settings.name == running.settings.name);
        let (stay, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running).into_iter().partition(stays);
        self.running = stay;
        end(gone).await;
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
                && before.has_labels == prepared.planned.has_labels
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
                ended.push(before);
            }
        }
        self.leaving.retain(|running| !running.task.is_finished());
        end(ended).await;
    }

    fn launch(&self, prepared: Prepared, syncing: Option<Arc<AbortOnDrop>>) -> Running {
        let Prepared { planned: Planned { settings, has_labels }, port, socket, tls, wanted, wake, is_new } = prepared;
        if is_new && let Some(socket) = &socket {
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
                let server = Server { tls, wanted, has_labels };
                let work = work(from.clone(), server, socket.clone(), Arc::clone(&port), leaving, stopping);
                let name = settings.name.clone();
                self.runtime.spawn(async move {
                    if let Err(error) = work.await {
                        tracing::error!(source = %name, %error, "nothing is received: the socket cannot be used");
                    }
                })
            }
        };
        Running { settings, has_labels, socket, port, leave, stop, task, syncing, ended, wake }
    }

    /// Whether there are sources, all of them are stdin, and that has ended.
    pub fn have_ended(&self) -> bool {
        let is_over = |running: &Running| running.ended.as_ref().is_some_and(Shutdown::is_raised);
        !self.running.is_empty() && self.running.iter().all(is_over)
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
        let mut all = std::mem::take(&mut self.running);
        all.append(&mut self.leaving);
        end(all).await;
        self.quit.raise();
        // It does not wait for anything.
        let _ = self.thread.join();
    }
}

async fn end(gone: Vec<Running>) {
    for running in &gone {
        running.leave.raise();
        running.stop.raise();
        if let Some(wake) = &running.wake {
            wake.wake();
        }
    }
    for running in gone {
        // An error is a panic, which has been shown, or a disk that does not answer.
        let _ = timeout(Duration::from_millis(RECEIVE_STOP_MS), running.task).await;
        let port = running.port;
        let sync = tokio::task::spawn_blocking(move || port.sync());
        let _ = timeout(Duration::from_millis(RECEIVE_STOP_MS), sync).await;
    }
}

/// What servers need.
struct Server {
    tls: Option<Arc<ServerConfig>>,
    wanted: Option<Secret>,
    has_labels: bool,
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
    let Server { tls, wanted, has_labels } = server;
    match (from, socket) {
        (From::Push(push), Socket::Tcp(listener)) => {
            push::receive(listener.try_clone()?, (push, wanted, has_labels), tls, port, leave).await;
        }
        (From::Syslog(syslog), Socket::Tcp(listener)) => {
            let source = streams::Source::Tcp(TcpListener::from_std(listener.try_clone()?)?, tls);
            streams::receive(source, syslog.idle_timeout, port, leave, stop).await;
        }
        (From::Syslog(syslog), Socket::UnixStream(listener)) => {
            let source = streams::Source::Unix(UnixListener::from_std(listener.0.try_clone()?)?);
            streams::receive(source, syslog.idle_timeout, port, leave, stop).await;
        }
        (From::Syslog(_), Socket::Udp(socket)) => {
            let source = datagrams::Source::Udp(UdpSocket::from_std(socket.try_clone()?)?, socket);
            datagrams::receive(source, Take::Syslog(Kind::Syslog), port, leave).await;
        }
        (From::Syslog(_), Socket::UnixDatagram(socket)) => {
            let source = datagrams::Source::Unix(UnixDatagram::from_std(socket.0.try_clone()?)?);
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
