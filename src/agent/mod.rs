//! Floor 6: builds the running agent from a plan and takes it down in the reverse order.
//!
//! Promises: sinks start before sources and stop after them; nothing runs when the start fails; stopping takes 5 s at the most, less
//! when there is no endpoint to wait for, and loses nothing. Leaves to others: reading the configuration, the command line, serving HTTP.

mod probe;
mod spools;
pub mod status;

pub use probe::Probe;

use crate::base::clock::Clock;
use crate::base::limits::{BATCH_BYTES_DEFAULT, BATCH_SHARE, DRAIN_MS, IN_FLIGHT_SHARE, SENDER_STOP_MS};
use crate::base::metrics::Registry;
use crate::base::shutdown::{self, Shutdown, Trigger};
use crate::base::wake::Wake;
use crate::config::plan::Plan;
use crate::model::budget::Budget;
use crate::model::flow::Output;
use crate::sink::batcher::{self, Batcher, Target};
use crate::sink::dead_letter::DeadLetters;
use crate::sink::endpoint::{self, SinkError};
use crate::sink::queue::Queue;
use crate::sink::settings::Endpoint;
use crate::sink::spill::News;
use crate::source::file::reload::{Next, NextOutput};
use crate::source::file::worker;
use crate::store::checkpoint::{Checkpoints, StoreError};
use rustix::process::{Resource, getrlimit, setrlimit};
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
    /// The host is out of descriptors.
    #[error("cannot make an eventfd: {0}; raise the limit of open files")]
    Wake(std::io::Error),
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    worker: worker::Handle,
    endpoints: Vec<endpoint::Handle>,
    stop_endpoints: Trigger,
    /// Raised when the worker's thread has ended.
    worker_ended: Shutdown,
    /// Raised when a sender has ended.
    sender_ended: Shutdown,
    probe: Probe,
}

impl Agent {
    /// Starts everything that the plan names. Must be called within a tokio runtime.
    pub fn start(plan: Plan, registry: Registry) -> Result<Self, StartError> {
        raise_descriptor_limit();
        let clock = Clock::System;
        let store = Checkpoints::open(&plan.state_dir, clock.clone(), &registry)?;
        let dead_letters = DeadLetters::new(&plan.state_dir, &registry, clock.clone());
        let (stop_endpoints, stopping) = shutdown::channel();
        let (ended, sender_ended) = shutdown::channel();
        let ended = Arc::new(ended);
        let mut endpoints = Vec::new();
        let news = News::default();
        for (settings, spool) in plan.loki.iter().zip(spools::open(&plan, &clock, &registry)) {
            let queue = Queue::new(spool, news.clone());
            let stop_within = Duration::from_millis(SENDER_STOP_MS);
            let letters = dead_letters.clone();
            let stopping = stopping.clone();
            let sender = endpoint::start(settings.clone(), queue, letters, &registry, stopping, stop_within)?;
            endpoints.push(watched(sender, Arc::clone(&ended)));
        }

        let wake = Wake::new().map_err(StartError::Wake)?;
        let in_flight =
            registry.gauge("lugger_in_flight_bytes", "Compressed bytes that are sealed and not yet stored.", &[]);
        let budget = Budget::new(plan.memory_bytes / IN_FLIGHT_SHARE, in_flight);
        // Sources that go to the same endpoints share a batcher: their lines are encoded and compressed once, together.
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut sources = Vec::new();
        // What the agent writes itself must not be what it reads.
        let own_files = format!("{}/**", globset::escape(&plan.state_dir.to_string_lossy()));
        for mut source in plan.files {
            source.settings.exclude.push(own_files.clone());
            let group = match groups.iter().position(|to| *to == source.to) {
                Some(group) => group,
                None => {
                    groups.push(source.to);
                    groups.len() - 1
                }
            };
            sources.push((source.settings, group));
        }
        let batch_bytes_max = usize::try_from(plan.memory_bytes / BATCH_SHARE).unwrap_or(usize::MAX);
        let outputs = groups
            .iter()
            .map(|to| output(to, &plan.loki, &endpoints, batch_bytes_max, &budget.share(groups.len()), &wake))
            .map(NextOutput::New)
            .collect();
        let (alive, worker_ended) = shutdown::channel();
        let registry_of_worker = registry.clone();
        let worker = worker::start(worker::Parts {
            next: Next::new(sources, outputs)?,
            store,
            wake,
            clock: clock.clone(),
            registry: registry_of_worker,
            alive,
        })?;
        let monitors = endpoints.iter().map(endpoint::Handle::monitor).collect();
        let probe = Probe::new(registry, clock, budget, worker.status.clone(), monitors, worker_ended.clone());
        Ok(Agent { worker, endpoints, stop_endpoints, worker_ended, sender_ended, probe })
    }

    /// What sees the agent from the outside. It may outlive the agent.
    pub fn probe(&self) -> Probe {
        self.probe.clone()
    }

    /// Waits until a part that must not end has ended by itself. That is a bug; the process should end, so that it is started anew.
    pub async fn failed(&self) {
        let (mut worker, mut sender) = (self.worker_ended.clone(), self.sender_ended.clone());
        tokio::select! {
            () = worker.raised() => {}
            () = sender.raised() => {}
        }
    }

    /// Stops reading, lets what is under way be stored, and ends: within 5 s, and sooner when no endpoint takes anything. What only some
    /// endpoints have goes to the spools of the others, at once if there is little hope for them.
    pub async fn stop(self) {
        self.worker.stop();
        let patience = Instant::now() + Duration::from_millis(DRAIN_MS);
        let end = patience + Duration::from_millis(SENDER_STOP_MS);
        let mut ended = self.worker_ended.clone();
        loop {
            let pause = tokio::time::sleep(Duration::from_millis(50));
            tokio::select! {
                () = ended.raised() => break,
                () = pause => {}
            }
            let is_over = Instant::now() >= patience;
            let mut hopeless = true;
            for endpoint in &self.endpoints {
                if is_over || endpoint.monitor().is_behind() {
                    endpoint.queue.spill_all();
                }
                hopeless &= endpoint.monitor().is_hopeless() && !endpoint.queue.is_spilling();
            }
            // Past that time only a disk is waited for that is being written to, and not for long.
            let writing = Instant::now() < end - Duration::from_millis(SENDER_STOP_MS / 2)
                && self.endpoints.iter().any(|endpoint| endpoint.queue.is_spilling());
            if hopeless || (is_over && !writing) {
                self.worker.abandon();
            }
            if Instant::now() >= end {
                // A file system that does not answer: the thread ends with the process, and its checkpoints are as after a kill.
                break;
            }
        }
        self.stop_endpoints.raise();
        for endpoint in self.endpoints {
            // An error is a panic in the task, which has been shown; what it had is not acknowledged and will be sent again.
            let _ = endpoint.task.await;
        }
        if !ended.is_raised() {
            tracing::warn!(
                "a file system does not answer; what was read and not stored is read again at the next start"
            );
        } else if !self.worker.join() {
            tracing::error!("the thread that reads files failed; what it had read is read again at the next start");
        }
    }
}

/// A sender ends only when it is told to, or when it fails: then `ended` is raised.
fn watched(mut sender: endpoint::Handle, ended: Arc<Trigger>) -> endpoint::Handle {
    let task = sender.task;
    sender.task = tokio::spawn(async move {
        // An error is a panic, which has been shown.
        let _ = task.await;
        ended.raise();
    });
    sender
}

fn output(
    to: &[usize],
    settings: &[Endpoint],
    endpoints: &[endpoint::Handle],
    batch_bytes_max: usize,
    budget: &Budget,
    wake: &Wake,
) -> Box<dyn Output> {
    let chosen = || to.iter().filter_map(|i| settings.get(*i));
    // One batch serves all endpoints of the group, so the smallest limits hold.
    let bytes = chosen().map(|e| e.batch_bytes).min().unwrap_or(BATCH_BYTES_DEFAULT).min(batch_bytes_max);
    let wait = chosen().map(|e| e.batch_wait).min().unwrap_or_default();
    let targets: Vec<Target> = to
        .iter()
        .filter_map(|i| endpoints.get(*i))
        .map(|endpoint| {
            let queue = Arc::clone(&endpoint.queue);
            Box::new(move |batch| queue.push(batch)) as Target
        })
        .collect();
    Box::new(Batcher::new(batcher::Limits { bytes, wait }, targets, budget.clone(), wake))
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
