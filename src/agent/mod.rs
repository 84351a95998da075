//! Floor 6: builds the running agent from a plan and takes it down in the reverse order.
//!
//! Promises: sinks start before sources and stop after them; nothing runs when the start fails; stopping takes 5 s at the most, less
//! when there is no endpoint to wait for, and loses nothing. Leaves to others: reading the configuration, the command line, serving HTTP.

pub mod alive;
mod containers;
pub mod metrics;
mod probe;
mod receivers;
mod reload;
mod routes;
mod spools;
pub mod status;

pub use probe::Probe;
pub use reload::ReloadError;

use containers::Listening;
use metrics::{Metrics, MetricsError};
use routes::Routes;

use crate::base::clock::Clock;
use crate::base::limits::{BATCH_BYTES_DEFAULT, BATCH_SHARE, DRAIN_MS, IN_FLIGHT_SHARE, SENDER_STOP_MS};
use crate::base::metrics::Registry;
use crate::base::shutdown::{self, Shutdown, Trigger};
use crate::base::wake::Wake;
use crate::config::plan::Plan;
use crate::model::budget::Budget;
use crate::model::flow::{Output, StreamPolicy};
use crate::sink::batcher::{self, Batcher, Target};
use crate::sink::dead_letter::DeadLetters;
use crate::sink::endpoint::{self, Prepared, SinkError};
use crate::sink::queue::Queue;
use crate::sink::settings::Endpoint;
use crate::sink::spill::{News, Store};
use crate::source::docker::containers::Containers;
use crate::source::file::import;
use crate::source::file::reload::{Next, Sources};
use crate::source::file::worker;
use crate::source::handle::{Kept, NextOutput};
use crate::source::receive::{PushMemory, ReceiveError, Receivers, inlet_path};
use crate::source::{docker, file, journal};
use crate::store::checkpoint::{Checkpoints, StoreError};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An endpoint.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The file sources.
    #[error(transparent)]
    Files(#[from] worker::StartError),
    /// The journal sources.
    #[error(transparent)]
    Journals(#[from] journal::worker::StartError),
    /// The docker sources.
    #[error(transparent)]
    Dockers(#[from] docker::containers::SettingsError),
    /// A source that receives.
    #[error(transparent)]
    Receivers(#[from] ReceiveError),
    /// Metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// No thread could be made.
    #[error("cannot start the thread that receives: {0}")]
    Thread(std::io::Error),
    /// The host is out of descriptors.
    #[error("cannot make an eventfd: {0}; raise the limit of open files")]
    Wake(std::io::Error),
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    worker: worker::Handle,
    journals: journal::worker::Handle,
    /// Who listens to Docker, by source.
    dockers: Vec<Listening>,
    receivers: Receivers,
    store: Checkpoints,
    endpoints: Vec<Running>,
    /// By the number of their output.
    groups: Vec<Group>,
    /// Those of the journal sources: they are read by another thread, which has outputs of its own.
    journal_groups: Vec<Group>,
    /// Groups that no source writes to any more and that may still have batches in flight.
    left: Vec<Group>,
    routes: Routes,
    /// Spools of endpoints that are gone whose disks did not answer.
    unended: Vec<(String, Store)>,
    joints: Joints,
    reloads: reload::Outcomes,
    /// Raised when the thread that reads files has ended.
    worker_ended: Shutdown,
    /// Raised when the one that reads journals has.
    journals_ended: Shutdown,
    /// Raised when the one that receives has.
    receivers_ended: Shutdown,
    /// Raised when a sender has ended.
    sender_ended: Shutdown,
    metrics: Metrics,
    probe: Probe,
}

/// A running endpoint, and what it was made of.
#[derive(Debug)]
struct Running {
    handle: endpoint::Handle,
    settings: Endpoint,
    spool: Store,
    stop: Trigger,
}

/// A thread that reads sources, and writes to outputs of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Files,
    Journals,
}

/// The sources of a plan, each with the number of the set of endpoints that it goes to; and these sets, by who reads for them.
#[derive(Debug, Default)]
struct Arranged {
    files: Vec<(file::settings::Settings, usize)>,
    file_sets: Vec<Vec<String>>,
    journals: Vec<(journal::settings::Settings, usize)>,
    journal_sets: Vec<Vec<String>>,
    /// Those whose logs are among the files.
    dockers: Vec<Arc<Containers>>,
}

/// Sources of one thread that go to the same endpoints: they share a batcher, so that their lines are encoded and compressed once, together.
#[derive(Debug, Clone)]
struct Group {
    reader: Reader,
    /// Names of endpoints, sorted.
    to: Vec<String>,
    budget: Budget,
}

/// What endpoints and sources are joined by, for as long as the agent runs.
#[derive(Debug, Clone)]
struct Joints {
    state_dir: PathBuf,
    http: Option<SocketAddr>,
    registry: Registry,
    dead_letters: DeadLetters,
    budget: Budget,
    wake: Wake,
    /// That of the thread that reads journals.
    journal_wake: Wake,
    clock: Clock,
    /// Raised when a sender ends that was not told to.
    ended: Arc<Trigger>,
    news: News,
    /// What pushes to all sources hold in memory.
    pushes: Arc<PushMemory>,
}

impl Agent {
    /// Starts everything that the plan names. Must be called within a tokio runtime.
    pub async fn start(plan: Plan, registry: Registry) -> Result<Self, StartError> {
        raise_descriptor_limit();
        let clock = Clock::System;
        let store = Checkpoints::open(&plan.state_dir, clock.clone(), &registry)?;
        let dead_letters = DeadLetters::new(&plan.state_dir, &registry, clock.clone());
        let (ended, sender_ended) = shutdown::channel();
        let wake = Wake::new().map_err(StartError::Wake)?;
        let journal_wake = Wake::new().map_err(StartError::Wake)?;
        let in_flight =
            registry.gauge("lugger_in_flight_bytes", "Compressed bytes that are sealed and not yet stored.", &[]);
        let budget = Budget::new(plan.memory_bytes / IN_FLIGHT_SHARE, in_flight);
        let joints = Joints {
            state_dir: plan.state_dir.clone(),
            http: plan.http,
            registry: registry.clone(),
            dead_letters,
            budget: budget.clone(),
            wake: wake.clone(),
            journal_wake: journal_wake.clone(),
            clock: clock.clone(),
            ended: Arc::new(ended),
            news: News::default(),
            pushes: Arc::new(PushMemory::new(plan.memory_bytes)),
        };
        let spools = spools::sizes(&plan);
        spools::warn_of_strangers(&plan.state_dir, &spools::Names::of(&plan));
        let mut endpoints = Vec::new();
        for (settings, bytes) in plan.loki.iter().zip(spools) {
            let prepared = Prepared::new(settings.clone())?;
            let spool = joints.spool(&settings.name, bytes, plan.spool_age);
            endpoints.push(joints.launch(prepared, settings.clone(), spool));
        }
        let mut metrics = Metrics::new(metrics::View::new(&registry));
        let room = spools::of_metrics(&plan);
        let collected = metrics.prepare(&plan, room, &joints).await?;
        let arranged = joints.arrange(&plan, &[], &store)?;
        let routes = Routes::new(&arranged);
        let Arranged { files, file_sets, journals, journal_sets, dockers } = arranged;
        let sources = Sources::parse(files)?;
        let journals = journal::reload::Sources::parse(journals)?;
        // Before anybody reads them: what is torn in inlets is cut.
        let received = joints.receivers(&plan, &store, &[])?;
        receivers::warn_of_strangers(&plan.state_dir, &receivers::names(&plan), &store);
        import::take_over(&store, &sources, &plan.imports);
        let shares = file_sets.len() + journal_sets.len();
        let group = |reader: Reader, to: Vec<String>| Group { reader, to, budget: budget.share(shares) };
        let groups: Vec<Group> = file_sets.into_iter().map(|to| group(Reader::Files, to)).collect();
        let journal_groups: Vec<Group> = journal_sets.into_iter().map(|to| group(Reader::Journals, to)).collect();
        let outputs = |groups: &[Group]| -> Vec<NextOutput> {
            groups.iter().map(|group| NextOutput::New(joints.output(group, &plan, &endpoints))).collect()
        };
        let (alive, worker_ended) = shutdown::channel();
        let kept = Kept::new(&registry, clock.clone());
        let (journals_alive, journals_ended) = shutdown::channel();
        let (files_begin, files_begun) = shutdown::channel();
        let (journals_begin, journals_begun) = shutdown::channel();
        let journals = journal::worker::start(journal::worker::Parts {
            next: journal::reload::Next::new(journals, outputs(&journal_groups)),
            store: store.clone(),
            wake: journal_wake,
            clock: clock.clone(),
            registry: registry.clone(),
            kept: kept.list(),
            alive: journals_alive,
            begun: journals_begin,
        })?;
        let worker = worker::start(worker::Parts {
            next: Next::new(sources, outputs(&groups)),
            store: store.clone(),
            wake,
            clock: clock.clone(),
            registry: registry.clone(),
            kept: kept.list(),
            alive,
            begun: files_begin,
        })?;
        let (receiving, receivers_ended) = shutdown::channel();
        let mut receivers = Receivers::start(receiving).map_err(StartError::Thread)?;
        receivers.begin(received);
        metrics.change(collected, &plan, room, &joints).await?;
        let reloads = reload::Outcomes::new(&registry, &clock);
        let monitors = endpoints.iter().map(|endpoint| endpoint.handle.monitor()).collect();
        let dockers = containers::listen(dockers, Vec::new(), &clock);
        let shown = probe::sources(&worker.status, &journals.status, &dockers, &receivers.status());
        let ended = vec![worker_ended.clone(), journals_ended.clone(), receivers_ended.clone()];
        let begun = vec![files_begun, journals_begun];
        let metrics_view = metrics.view();
        let threads = probe::Threads { ended, begun };
        let probe = Probe::new(registry, clock, budget, shown, monitors, threads, metrics_view);
        Ok(Agent {
            worker,
            journals,
            dockers,
            receivers,
            store,
            endpoints,
            groups,
            journal_groups,
            left: Vec::new(),
            routes,
            unended: Vec::new(),
            joints,
            reloads,
            worker_ended,
            journals_ended,
            receivers_ended,
            sender_ended,
            metrics,
            probe,
        })
    }

    /// What sees the agent from the outside. It may outlive the agent.
    pub fn probe(&self) -> Probe {
        self.probe.clone()
    }

    /// Waits until a part that must not end has ended by itself. That is a bug; the process should end, so that it is started anew.
    pub async fn failed(&self) {
        let (mut worker, mut sender) = (self.worker_ended.clone(), self.sender_ended.clone());
        let (mut journals, mut receivers) = (self.journals_ended.clone(), self.receivers_ended.clone());
        tokio::select! {
            () = worker.raised() => {}
            () = receivers.raised() => {}
            () = journals.raised() => {}
            () = sender.raised() => {}
        }
    }

    /// Stops reading, lets what is under way be stored, and ends: within 5 s, and sooner when no endpoint takes anything. What only some
    /// endpoints have goes to the spools of the others, at once if there is little hope for them.
    pub async fn stop(self) {
        // Beside all the rest: they share nothing with logs.
        let metrics = tokio::spawn(self.metrics.stop());
        // First, so that what is received by now can still be sent.
        self.receivers.stop().await;
        containers::stop(self.dockers).await;
        self.worker.stop();
        self.journals.stop();
        let patience = Instant::now() + Duration::from_millis(DRAIN_MS);
        let end = patience + Duration::from_millis(SENDER_STOP_MS);
        let (mut files_ended, mut journals_ended) = (self.worker_ended.clone(), self.journals_ended.clone());
        let is_ended = || self.worker_ended.is_raised() && self.journals_ended.is_raised();
        loop {
            let pause = tokio::time::sleep(Duration::from_millis(50));
            tokio::select! {
                () = async {
                    files_ended.raised().await;
                    journals_ended.raised().await;
                } => break,
                () = pause => {}
            }
            let is_over = Instant::now() >= patience;
            let mut hopeless = true;
            for endpoint in &self.endpoints {
                if is_over || endpoint.handle.monitor().is_behind() {
                    endpoint.handle.queue.spill_all();
                }
                hopeless &= endpoint.handle.monitor().is_hopeless() && !endpoint.handle.queue.is_spilling();
            }
            // Past that time only a disk is waited for that is being written to, and not for long.
            let writing = Instant::now() < end - Duration::from_millis(SENDER_STOP_MS / 2)
                && self.endpoints.iter().any(|endpoint| endpoint.handle.queue.is_spilling());
            if hopeless || (is_over && !writing) {
                self.worker.abandon();
                self.journals.abandon();
            }
            if Instant::now() >= end {
                // A file system that does not answer: the thread ends with the process, and its checkpoints are as after a kill.
                break;
            }
        }
        let is_ended = is_ended();
        for endpoint in &self.endpoints {
            endpoint.stop.raise();
        }
        for endpoint in self.endpoints {
            // An error is a panic in the task, which has been shown; what it had is not acknowledged and will be sent again.
            let _ = endpoint.handle.task.await;
            let lines = endpoint.handle.queue.parted_entries();
            if lines > 0 {
                tracing::warn!(
                    endpoint = %endpoint.settings.name, lines,
                    "neither this endpoint nor its spool has taken these lines; those of sources that went elsewhere at a reload are not \
                     read for it again"
                );
            }
        }
        // An error is a panic, which has been shown.
        let _ = metrics.await;
        if !is_ended {
            tracing::warn!(
                "a file system does not answer; what was read and not stored is read again at the next start"
            );
            return;
        }
        for (what, joined) in [("files", self.worker.join()), ("journals", self.journals.join())] {
            if !joined {
                tracing::error!(
                    "the thread that reads {what} failed; what it had read is read again at the next start"
                );
            }
        }
    }
}

impl Joints {
    /// Starts an endpoint's sender. It ends only when it is told to, or when it fails: then `ended` is raised.
    fn launch(&self, prepared: Prepared, settings: Endpoint, spool: Store) -> Running {
        let (stop, stopping) = shutdown::channel();
        let stop_within = Duration::from_millis(SENDER_STOP_MS);
        let queue = Queue::new(Some(spool.clone()), self.news.clone());
        let letters = self.dead_letters.clone();
        let mut handle = endpoint::launch(prepared, queue, letters, &self.registry, stopping.clone(), stop_within);
        let (task, ended) = (handle.task, Arc::clone(&self.ended));
        handle.task = tokio::spawn(async move {
            // An error is a panic, which has been shown.
            let _ = task.await;
            if !stopping.is_raised() {
                ended.raise();
            }
        });
        Running { handle, settings, spool, stop }
    }

    /// An endpoint's spool of at most `bytes`. With 0 only what is on disk already is sent.
    fn spool(&self, endpoint: &str, bytes: u64, age: Duration) -> Store {
        let path = spools::path(&self.state_dir, endpoint);
        Store::new(&path, bytes, age.as_secs(), self.clock.clone(), &self.registry, endpoint)
    }

    /// The sources of a plan, and where they go. `listening`: who listens to Docker now.
    fn arrange(
        &self,
        plan: &Plan,
        listening: &[Listening],
        store: &Checkpoints,
    ) -> Result<Arranged, docker::containers::SettingsError> {
        // What the agent writes itself must not be what it reads.
        let own_files = format!("{}/**", globset::escape(&self.state_dir.to_string_lossy()));
        let set = |to: &[usize], sets: &mut Vec<Vec<String>>| {
            let names = to.iter().filter_map(|i| plan.loki.get(*i));
            let mut to: Vec<String> = names.map(|endpoint| endpoint.name.clone()).collect();
            to.sort_unstable();
            sets.iter().position(|set| *set == to).unwrap_or_else(|| {
                sets.push(to);
                sets.len() - 1
            })
        };
        let mut arranged = Arranged::default();
        for source in &plan.files {
            let mut settings = source.settings.clone();
            settings.exclude.push(own_files.clone());
            arranged.files.push((settings, set(&source.to, &mut arranged.file_sets)));
        }
        for source in &plan.receivers {
            let settings = receivers::inlet_of(&self.state_dir, source);
            arranged.files.push((settings, set(&source.to, &mut arranged.file_sets)));
        }
        for source in &plan.journals {
            arranged.journals.push((source.settings.clone(), set(&source.to, &mut arranged.journal_sets)));
        }
        for source in &plan.dockers {
            let containers = self.containers(&source.settings, listening, store)?;
            let settings = docker::files(containers.settings(), &containers);
            arranged.files.push((settings, set(&source.to, &mut arranged.file_sets)));
            if containers.tap().is_some() {
                let directory = inlet_path(&self.state_dir, &docker::told_name(&source.settings));
                let settings = docker::told(&source.settings, &directory);
                arranged.files.push((settings, set(&source.to, &mut arranged.file_sets)));
            }
            arranged.dockers.push(containers);
        }
        Ok(arranged)
    }

    fn output(&self, group: &Group, plan: &Plan, endpoints: &[Running]) -> Box<dyn Output> {
        let chosen = || endpoints.iter().filter(|endpoint| group.to.contains(&endpoint.settings.name));
        let targets: Vec<Target> = chosen()
            .map(|endpoint| {
                let queue = Arc::clone(&endpoint.handle.queue);
                Box::new(move |batch| queue.push(batch)) as Target
            })
            .collect();
        let over = chosen().map(|endpoint| endpoint.handle.over_streams()).collect();
        let wake = match group.reader {
            Reader::Files => &self.wake,
            Reader::Journals => &self.journal_wake,
        };
        Box::new(Batcher::new(group.limits(plan), targets, group.budget.clone(), wake).counting(over))
    }
}

impl Group {
    /// One batch serves all endpoints of the group, so the smallest limits hold.
    fn limits(&self, plan: &Plan) -> batcher::Limits {
        let chosen = || plan.loki.iter().filter(|endpoint| self.to.contains(&endpoint.name));
        let most = usize::try_from(plan.memory_bytes / BATCH_SHARE).unwrap_or(usize::MAX);
        let bytes = chosen().map(|e| e.batch_bytes).min().unwrap_or(BATCH_BYTES_DEFAULT).min(most);
        let wait = chosen().map(|e| e.batch_wait).min().unwrap_or_default();
        // Of two that are alike, the policy that loses nothing.
        let streams = chosen().filter_map(|e| e.max_streams).min_by_key(|s| (s.max, s.policy == StreamPolicy::Drop));
        batcher::Limits { bytes, wait, streams }
    }
}

/// The soft limit of open files is for programs that use `select(2)`; files with unread content must stay open.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        limit.current = limit.maximum;
        // Failing, the agent works within the limit it has.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
