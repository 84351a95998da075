//! Floor 6: builds the running agent from a plan and takes it down in the reverse order.
//!
//! Promises: sinks start before sources and stop after them; nothing runs when the start fails; stopping takes 5 s at the most, less
//! when there is no endpoint to wait for, and loses nothing. Leaves to others: reading the configuration, the command line, serving HTTP.

mod probe;
pub mod status;

pub use probe::Probe;

use crate::base::clock::Clock;
use crate::base::limits::{DRAIN_MS, IN_FLIGHT_SHARE, SENDER_STOP_MS};
use crate::base::metrics::Registry;
use crate::base::shutdown::{self, Shutdown, Trigger};
use crate::base::wake::Wake;
use crate::config::plan::Plan;
use crate::model::budget::Budget;
use crate::model::flow::Output;
use crate::sink::batcher::{self, Batcher, Target};
use crate::sink::dead_letter::DeadLetters;
use crate::sink::endpoint::{self, SinkError};
use crate::sink::settings::Endpoint;
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
        let mut endpoints = Vec::new();
        for settings in &plan.loki {
            let stop_within = Duration::from_millis(SENDER_STOP_MS);
            let letters = dead_letters.clone();
            endpoints.push(endpoint::start(settings.clone(), letters, &registry, stopping.clone(), stop_within)?);
        }

        let wake = Wake::new().map_err(StartError::Wake)?;
        let in_flight =
            registry.gauge("lugger_in_flight_bytes", "Compressed bytes that are sealed and not yet stored.", &[]);
        let budget = Budget::new(plan.memory_bytes / IN_FLIGHT_SHARE, in_flight);
        // Sources that go to the same endpoints share a batcher: their lines are encoded and compressed once, together.
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut sources = Vec::new();
        for source in plan.files {
            let group = match groups.iter().position(|to| *to == source.to) {
                Some(group) => group,
                None => {
                    groups.push(source.to);
                    groups.len() - 1
                }
            };
            sources.push((source.settings, group));
        }
        let outputs = groups.iter().map(|to| output(to, &plan.loki, &endpoints, &budget, &wake)).collect();
        let (alive, worker_ended) = shutdown::channel();
        let registry_of_worker = registry.clone();
        let worker = worker::start(worker::Parts {
            sources,
            outputs,
            store,
            wake,
            clock: clock.clone(),
            registry: registry_of_worker,
            alive,
        })?;
        let monitors = endpoints.iter().map(endpoint::Handle::monitor).collect();
        let probe = Probe::new(registry, clock, budget, worker.status.clone(), monitors, worker_ended.clone());
        Ok(Agent { worker, endpoints, stop_endpoints, worker_ended, probe })
    }

    /// What sees the agent from the outside. It may outlive the agent.
    pub fn probe(&self) -> Probe {
        self.probe.clone()
    }

    /// Waits until a part that must not end has ended by itself. That is a bug; the process should end, so that it is started anew.
    pub async fn failed(&self) {
        self.worker_ended.clone().raised().await;
    }

    /// Stops reading, lets what is under way be stored, and ends: within 5 s, and sooner when no endpoint takes anything.
    pub async fn stop(self) {
        self.worker.stop();
        let patience = Instant::now() + Duration::from_millis(DRAIN_MS);
        let mut ended = self.worker_ended.clone();
        loop {
            let pause = tokio::time::sleep(Duration::from_millis(50));
            tokio::select! {
                () = ended.raised() => break,
                () = pause => {}
            }
            if Instant::now() >= patience || self.endpoints.iter().all(|e| e.monitor().is_hopeless()) {
                self.worker.abandon();
            }
        }
        self.stop_endpoints.raise();
        for endpoint in self.endpoints {
            // An error is a panic in the task, which has been shown; what it had is not acknowledged and will be sent again.
            let _ = endpoint.task.await;
        }
        if !self.worker.join() {
            tracing::error!("the thread that reads files failed; what it had read is read again at the next start");
        }
    }
}

fn output(
    to: &[usize],
    settings: &[Endpoint],
    endpoints: &[endpoint::Handle],
    budget: &Budget,
    wake: &Wake,
) -> Box<dyn Output> {
    let chosen = || to.iter().filter_map(|i| settings.get(*i));
    // One batch serves all endpoints of the group, so the smallest limits hold.
    let bytes = chosen().map(|e| e.batch_bytes).min().unwrap_or(crate::base::limits::BATCH_BYTES_DEFAULT);
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
