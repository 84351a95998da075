//! What a docker source tells of the Engine API, beside what the file source tells of its files.

use crate::base::metrics::{Counter, Gauge, Registry};
use crate::source::problems::Problems;
use crate::source::unwritten::Unwritten;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The metrics of one source, and what is wrong now. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Status {
    /// 1 while the API answers.
    pub up: Gauge,
    /// Containers that the API knows and that are wanted.
    pub containers: Gauge,
    /// Times that the connection to the API was lost.
    pub lost: Counter,
    /// Words of the daemon in place of lines, such as that it cannot read them.
    pub said: Counter,
    api: Arc<Mutex<Api>>,
    containers_failing: Problems,
    /// Of the inlet for what the API tells.
    pub(super) unwritten: Unwritten,
}

#[derive(Debug, Default)]
struct Api {
    /// Why it does not answer.
    problem: Option<String>,
    /// Nothing can be read without it.
    is_needed: bool,
    /// It has answered.
    has_worked: bool,
}

impl Status {
    /// Registers the series of source `name`.
    pub fn new(registry: &Registry, name: &str) -> Self {
        let source = [("source", name)];
        Status {
            up: registry.gauge("lugger_docker_up", "1 while Docker's API answers.", &source),
            containers: registry.gauge(
                "lugger_docker_containers",
                "Containers that Docker's API knows of and that are wanted.",
                &source,
            ),
            lost: registry.counter(
                "lugger_docker_connections_lost_total",
                "Times that the connection to Docker's API was lost.",
                &source,
            ),
            said: registry.counter(
                "lugger_docker_log_errors_total",
                "What Docker said of its own in logs of containers, such as that it cannot read an entry.",
                &source,
            ),
            api: Arc::default(),
            containers_failing: Problems::default(),
            unwritten: Unwritten::default(),
        }
    }

    /// What is wrong now, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let api = self.api().problem.clone();
        api.into_iter().chain(self.unwritten.problem()).chain(self.containers_failing.list()).collect()
    }

    /// Why nothing at all is read, or not what the API tells.
    pub fn degraded(&self) -> Option<String> {
        let api = self.api();
        api.problem.clone().filter(|_| api.is_needed).or_else(|| self.unwritten.problem())
    }

    /// Why not everything is known, although logs are read.
    pub fn note(&self) -> Option<String> {
        let api = self.api();
        api.problem.clone().filter(|_| !api.is_needed)
    }

    /// The API answers. True if it did not before.
    pub(super) fn works(&self) -> bool {
        self.up.set(1.0);
        let mut api = self.api();
        api.has_worked = true;
        api.problem.take().is_some()
    }

    /// Whether the API has answered since the source runs.
    pub(super) fn has_worked(&self) -> bool {
        self.api().has_worked
    }

    /// The API does not answer. `is_needed`: nothing is read without it. True if this was not known before.
    pub(super) fn fails(&self, problem: &str, is_needed: bool) -> bool {
        self.up.set(0.0);
        let mut api = self.api();
        api.is_needed = is_needed;
        let is_known = api.problem.as_deref() == Some(problem);
        if !is_known {
            api.problem = Some(problem.to_owned());
        }
        !is_known
    }

    /// Something is wrong with a container. True if it is the first time.
    pub(super) fn container_fails(&self, id: &str, problem: &str) -> bool {
        self.containers_failing.add(Path::new(id), problem, None)
    }

    /// Nothing is wrong with it (any more).
    pub(super) fn container_works(&self, id: &str) {
        self.containers_failing.remove(Path::new(id));
    }

    fn api(&self) -> MutexGuard<'_, Api> {
        // Only whole values are put in.
        self.api.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
