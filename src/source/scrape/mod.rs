//! Scraping: targets that jobs name or files tell of are asked for their metrics, as Prometheus does it.
//!
//! `settings` (what a job is), `discover` (files of targets), `target` (labels, relabelling, the URL), `ticks` (when), `fetch` (HTTP), `room` (memory for bodies), `shares` (for series), `turn` (a target's
//! loop), `status`. What becomes of samples is `source/series`. A [`Handle`] holds all jobs; each target is a task of the runtime, which has one thread.
//!
//! Promises: a change of the configuration or of a file leaves targets alone that it does not concern, with all that is known of their series; what all targets
//! take of memory is a share of `limits.memory`, and a target above it is refused, the largest first. Leaves to others: the configuration's form, sending.

mod discover;
mod fetch;
mod room;
pub mod settings;
mod shares;
pub mod status;
mod target;
mod turn;

pub use fetch::AccessError;
pub use status::{Health, JobStatus, TargetStatus};

use crate::base::clock::Clock;
use crate::base::limits::{SCRAPE_STOP_MS, TARGETS_MAX};
use crate::base::metrics::Registry;
use crate::model::points::Output;
use crate::pipeline::label_map::LabelMap;
use crate::pipeline::relabel::{RelabelError, Rules};
use crate::source::series::Common;
use discover::{Found, Look};
use fetch::Fetcher;
use settings::{Files, Settings};
use status::{LABEL, Metrics, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use target::Target;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use turn::{End, Loop, Order, Shared};

/// A job and where its points go.
pub struct Job {
    /// What it scrapes, and how.
    pub settings: Settings,
    /// Where the points go. One that stays over a change has to be the same `Arc`: those that are gone get stale markers.
    pub outputs: Vec<Arc<dyn Output>>,
}

/// Why a job cannot be started; the text says what to change.
#[derive(Debug, thiserror::Error)]
#[error("metrics.scrape {job}: {error}")]
pub struct ScrapeError {
    /// Its name.
    pub job: String,
    /// What is wrong.
    pub error: JobError,
}

/// What may be wrong with a job.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// How its targets are reached.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Its rules.
    #[error(transparent)]
    Relabel(#[from] RelabelError),
}

/// A job as its loops see it.
#[derive(Clone)]
struct JobNow {
    settings: Arc<Settings>,
    common: Arc<Common>,
    rules: Arc<Rules>,
    fetcher: Arc<Fetcher>,
    outputs: Vec<Arc<dyn Output>>,
    metrics: Arc<Metrics>,
    /// Why none of its targets is scraped.
    refused: Option<String>,
}

/// Jobs whose settings are understood, and whose files are read: they can be started, or take the place of those that run.
pub struct Prepared(Vec<PreparedJob>);

struct PreparedJob {
    settings: Arc<Settings>,
    common: Arc<Common>,
    rules: Arc<Rules>,
    fetcher: Arc<Fetcher>,
    outputs: Vec<Arc<dyn Output>>,
}

impl Prepared {
    /// Does all that can fail. `before`: what runs, for what can be kept of it.
    pub fn new(jobs: Vec<Job>, before: Option<&Handle>) -> Result<Self, ScrapeError> {
        let held = before.map(|handle| lock(&handle.inner));
        let prepare = |Job { settings, outputs }: Job| {
            let job = settings.job.clone();
            let old = held.as_ref().and_then(|inner| inner.jobs.iter().find(|old| old.now.settings.job == job));
            let old = old.map(|old| &old.now);
            PreparedJob::new(settings, outputs, old).map_err(|error| ScrapeError { job, error })
        };
        Ok(Prepared(jobs.into_iter().map(prepare).collect::<Result<_, _>>()?))
    }
}

impl PreparedJob {
    fn new(settings: Settings, outputs: Vec<Arc<dyn Output>>, old: Option<&Arc<JobNow>>) -> Result<Self, JobError> {
        let common = match old.filter(|old| *old.common.settings() == settings.series) {
            Some(old) => Arc::clone(&old.common),
            None => Common::new(settings.series.clone())?,
        };
        let rules = match old.filter(|old| old.settings.relabel == settings.relabel) {
            Some(old) => Arc::clone(&old.rules),
            None => Arc::new(Rules::compile(&settings.relabel)?),
        };
        let fetcher = match old.filter(|old| old.fetcher.is_of(&settings.access)) {
            Some(old) => Arc::clone(&old.fetcher),
            None => Arc::new(Fetcher::new(&settings.access, settings.scheme == "https")?),
        };
        let settings = match old.filter(|old| *old.settings == settings) {
            Some(old) => Arc::clone(&old.settings),
            None => Arc::new(settings),
        };
        Ok(PreparedJob { settings, common, rules, fetcher, outputs })
    }
}

/// All jobs.
pub struct Handle {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    shared: Arc<Shared>,
    registry: Registry,
    jobs: Vec<JobState>,
    /// Loops that are told to end.
    ending: Vec<JoinHandle<()>>,
}

struct JobState {
    now: Arc<JobNow>,
    /// What files tell.
    found: Vec<Found>,
    of_files: Vec<String>,
    of_targets: Vec<String>,
    dropped: usize,
    /// By identity.
    running: BTreeMap<String, Running>,
    looking: Option<Looking>,
    /// Loops that are told to end.
    ending: Vec<JoinHandle<()>>,
}

/// The task that looks at files of targets.
struct Looking {
    files: Vec<Files>,
    task: JoinHandle<()>,
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A target's loop.
struct Running {
    target: Arc<Target>,
    orders: watch::Sender<Order>,
    seen: Arc<Seen>,
    /// Up to which order its loop has heard.
    heard: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

/// Starts jobs as tasks of the current tokio runtime. `memory`: bytes (`limits.memory`), of which they take their shares.
pub fn start(prepared: Prepared, clock: Clock, registry: &Registry, memory: u64) -> Handle {
    let inner = Inner {
        shared: Arc::new(Shared::new(clock, memory)),
        registry: registry.clone(),
        jobs: Vec::new(),
        ending: Vec::new(),
    };
    let handle = Handle { inner: Arc::new(Mutex::new(inner)) };
    handle.change(prepared);
    handle
}

/// Sees how jobs are doing; may outlive them. Cheap to clone.
#[derive(Clone)]
pub struct View(Arc<Mutex<Inner>>);

impl View {
    /// How all is doing, by job and target.
    pub fn status(&self) -> Vec<JobStatus> {
        let of = |job: &JobState| JobStatus {
            job: job.now.settings.job.clone(),
            targets: job.running.values().map(|running| running.seen.status(&running.target)).collect(),
            dropped: job.dropped,
            problems: job.of_files.iter().chain(&job.of_targets).cloned().collect(),
        };
        lock(&self.0).jobs.iter().map(of).collect()
    }
}

impl Handle {
    /// What sees it from the outside.
    pub fn view(&self) -> View {
        View(Arc::clone(&self.inner))
    }

    /// From now on jobs take their shares of so much memory, bytes.
    pub fn resize(&self, memory: u64) {
        lock(&self.inner).shared.resize(memory);
    }

    /// Goes on with other jobs. Those of the same name and their targets go on, as far as they are the same. Within the runtime of [`start`].
    pub fn change(&self, prepared: Prepared) {
        let mut inner = lock(&self.inner);
        let mut old = std::mem::take(&mut inner.jobs);
        for next in prepared.0 {
            let at = old.iter().position(|old| old.now.settings.job == next.settings.job);
            let mut job = match at.map(|at| old.swap_remove(at)) {
                Some(mut job) => {
                    job.take(next);
                    job
                }
                None => {
                    let metrics = Metrics::new(&next.settings.job, &inner.registry);
                    JobState::new(next, metrics)
                }
            };
            job.look(&self.inner);
            job.sync(&inner.shared);
            inner.jobs.push(job);
        }
        for job in old {
            inner.registry.forget(LABEL, &job.now.settings.job);
            let ending = job.running.into_values().map(|running| running.end(End::Gone));
            inner.ending.extend(job.ending.into_iter().chain(ending));
        }
    }

    /// Waits until what [`Handle::change`] ended has its stale markers, also with outputs that get nothing any more: those may end then. Loops wait for
    /// nothing on the way, so that it takes no longer than the runtime is busy; a bound holds all the same.
    pub async fn settled(&self) {
        let (ending, waits) = {
            let mut inner = lock(&self.inner);
            let mut ending = std::mem::take(&mut inner.ending);
            let mut waits = Vec::new();
            for job in &mut inner.jobs {
                ending.append(&mut job.ending);
                let number = |running: &Running| running.orders.borrow().number;
                waits.extend(job.running.values().map(|running| (running.heard.clone(), number(running))));
            }
            (ending, waits)
        };
        let all = async {
            for task in ending {
                let _ = task.await;
            }
            for (mut heard, number) in waits {
                // An error: the loop has ended.
                let _ = heard.wait_for(|heard| *heard >= number).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(SCRAPE_STOP_MS), all).await;
    }

    /// How all is doing, by job and target.
    pub fn status(&self) -> Vec<JobStatus> {
        self.view().status()
    }

    /// Ends all loops; a scrape under way is left. What was taken before is with the outputs. There are no stale markers: after a restart the same series go
    /// on.
    pub async fn stop(self) {
        let jobs = std::mem::take(&mut lock(&self.inner).jobs);
        let running: Vec<Running> = jobs.into_iter().flat_map(|job| job.running.into_values()).collect();
        running.iter().for_each(|running| running.order(End::Stop));
        let all = async {
            for running in running {
                let _ = running.task.await;
            }
        };
        // They wait for nothing; but a runtime that is busy must not hold up the end.
        let _ = tokio::time::timeout(Duration::from_millis(SCRAPE_STOP_MS), all).await;
    }
}

impl Running {
    fn order(&self, end: End) {
        self.orders.send_modify(|order| order.end = Some(end));
    }

    /// The loop has its order: it does not end with its sender, as it sees the order first.
    fn end(self, end: End) -> JoinHandle<()> {
        self.order(end);
        self.task
    }
}

impl JobState {
    fn new(next: PreparedJob, metrics: Arc<Metrics>) -> Self {
        let PreparedJob { settings, common, rules, fetcher, outputs } = next;
        let now = JobNow { settings, common, rules, fetcher, outputs, metrics, refused: None };
        JobState {
            now: Arc::new(now),
            found: Vec::new(),
            of_files: Vec::new(),
            of_targets: Vec::new(),
            dropped: 0,
            running: BTreeMap::new(),
            looking: None,
            ending: Vec::new(),
        }
    }

    /// Goes on under other settings.
    fn take(&mut self, next: PreparedJob) {
        let PreparedJob { settings, common, rules, fetcher, outputs } = next;
        let now = &self.now;
        let is_same = Arc::ptr_eq(&now.settings, &settings)
            && Arc::ptr_eq(&now.fetcher, &fetcher)
            && now.outputs.len() == outputs.len()
            && now.outputs.iter().zip(&outputs).all(|(old, new)| turn::is_same(old, new));
        if !is_same {
            let (metrics, refused) = (Arc::clone(&now.metrics), now.refused.clone());
            self.now = Arc::new(JobNow { settings, common, rules, fetcher, outputs, metrics, refused });
        }
    }

    /// Has files looked at, unless that is being done already. Until they were, what others told stays.
    fn look(&mut self, inner: &Arc<Mutex<Inner>>) {
        let files = &self.now.settings.files;
        if self.looking.as_ref().is_some_and(|looking| looking.files == *files) {
            return;
        }
        self.looking = None;
        if files.is_empty() {
            (self.found, self.of_files) = (Vec::new(), Vec::new());
            return;
        }
        let (job, weak) = (self.now.settings.job.clone(), Arc::downgrade(inner));
        let take = move |look: Look| {
            let Some(inner) = weak.upgrade() else { return false };
            let mut inner = lock(&inner);
            let Inner { shared, jobs, .. } = &mut *inner;
            let Some(state) = jobs.iter_mut().find(|state| state.now.settings.job == job) else { return false };
            for problem in &look.news {
                state.now.metrics.discovery_failures.add(1);
                tracing::warn!(job = %job, "{problem}");
            }
            state.of_files = look.problems;
            if state.found != look.groups {
                state.found = look.groups;
                state.sync(shared);
            }
            true
        };
        let task = tokio::spawn(discover::keep_looking(files.clone(), take));
        self.looking = Some(Looking { files: files.clone(), task });
    }

    /// The targets that there are, by identity.
    fn targets(&mut self) -> BTreeMap<String, Target> {
        let JobNow { settings, rules, .. } = &*self.now;
        let (mut scratch, mut map) = (rules.scratch(), LabelMap::new());
        let (mut targets, mut problems, mut dropped) = (BTreeMap::new(), BTreeSet::new(), 0);
        let of_files =
            self.found.iter().flat_map(|(path, groups)| groups.iter().map(move |group| (group, Some(path.as_str()))));
        'all: for (group, path) in settings.groups.iter().map(|group| (group, None)).chain(of_files) {
            for address in &group.targets {
                match target::make(settings, (rules, &mut scratch), address, &group.labels, path, &mut map) {
                    Ok(None) => dropped += 1,
                    Ok(Some(_)) if targets.len() >= TARGETS_MAX => {
                        problems
                            .insert(format!("there are more than {TARGETS_MAX} targets: those above are not scraped"));
                        break 'all;
                    }
                    Ok(Some(target)) => {
                        targets.entry(target.identity()).or_insert(target);
                    }
                    Err(error) => {
                        problems.insert(error.to_string());
                    }
                }
            }
        }
        for problem in problems.iter().filter(|problem| !self.of_targets.contains(problem)) {
            self.now.metrics.discovery_failures.add(1);
            tracing::warn!(job = %settings.job, "{problem}");
        }
        self.of_targets = problems.into_iter().collect();
        self.dropped = dropped;
        targets
    }

    /// Has the targets scraped that there are, and no others.
    fn sync(&mut self, shared: &Arc<Shared>) {
        let targets = self.targets();
        let limit = self.now.settings.target_limit;
        let refused = (limit != 0 && targets.len() as u64 > limit).then(|| {
            let count = targets.len();
            format!("{count} targets are more than the target_limit of {limit}, so that none is scraped: drop some by relabel_configs, or raise it")
        });
        if self.now.refused != refused {
            self.now = Arc::new(JobNow { refused, ..(*self.now).clone() });
        }
        self.now.metrics.targets.set(targets.len() as f64);
        let mut old = std::mem::take(&mut self.running);
        let mut others = Vec::new();
        for (identity, target) in targets {
            match old.remove(&identity) {
                Some(running) => {
                    let running = running.go_on(&self.now, target);
                    self.running.insert(identity, running);
                }
                None => others.push((identity, target)),
            }
        }
        // One with the same labels at another URL has the same series: it goes on with them.
        let mut left: BTreeMap<String, Running> =
            old.into_values().map(|running| (running.target.labels_text(), running)).collect();
        for (identity, target) in others {
            let running = match left.remove(&target.labels_text()) {
                Some(running) => running.go_on(&self.now, target),
                None => self.start(shared, target),
            };
            self.running.insert(identity, running);
        }
        self.ending.retain(|task| !task.is_finished());
        self.ending.extend(left.into_values().map(|running| running.end(End::Gone)));
    }

    fn start(&self, shared: &Arc<Shared>, target: Target) -> Running {
        let (target, seen) = (Arc::new(target), Arc::new(Seen::default()));
        let order = Order { job: Arc::clone(&self.now), target: Arc::clone(&target), end: None, number: 0 };
        let (orders, receiver) = watch::channel(order);
        let (of_target, heard) = Loop::new(Arc::clone(shared), receiver, Arc::clone(&seen));
        let task = tokio::spawn(of_target.run());
        Running { target, orders, seen, heard, task }
    }
}

impl Running {
    fn go_on(mut self, job: &Arc<JobNow>, target: Target) -> Self {
        let is_other = *self.target != target;
        if is_other {
            self.target = Arc::new(target);
        }
        if is_other || !Arc::ptr_eq(&self.orders.borrow().job, job) {
            let number = self.orders.borrow().number + 1;
            let order = Order { job: Arc::clone(job), target: Arc::clone(&self.target), end: None, number };
            self.orders.send_replace(order);
        }
        self
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    // A panic in here would be one of the runtime's only thread.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}
