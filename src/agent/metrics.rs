//! Metrics: the host's ticks, scraping, and the endpoints that samples go to.
//!
//! They share with logs the registry, the state directory and the bound of spools, and nothing else. Promises: all that can fail is tried before anything
//! changes; an endpoint or target that the plan has as before goes on undisturbed; what is read is written before endpoints are told to end. Leaves to
//! others: collecting (`source/host`), scraping (`source/scrape`), sending (`sink/remote_write`).

use super::{Joints, spools};
use crate::base::clock::Clock;
use crate::base::limits::METRICS_STOP_MS;
use crate::base::metrics::Registry;
use crate::base::shutdown::{self, Trigger};
use crate::config::plan::{HostPlan, Plan};
use crate::model::points::Output;
use crate::pipeline::relabel::RelabelError;
use crate::sink::remote_write::endpoint::{self, Monitor, PrepareError, Prepared};
use crate::sink::remote_write::settings::Endpoint;
use crate::sink::spool::Store;
use crate::source::host::ticker::{self, Asker, Ticker};
use crate::source::scrape::{self, JobStatus, ScrapeError};
use crate::source::series::Common;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Why metrics cannot be collected as planned; the text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// An endpoint.
    #[error(transparent)]
    Endpoint(#[from] PrepareError),
    /// A job.
    #[error(transparent)]
    Scrape(#[from] ScrapeError),
    /// Rules of the host's series.
    #[error("metrics.host: {0}")]
    Relabel(#[from] RelabelError),
    /// No thread could be made.
    #[error("cannot start the thread that collects the host's metrics: {0}")]
    Thread(#[from] std::io::Error),
    /// A panic, which has been shown.
    #[error("preparing the endpoints of metrics failed, which is a bug of the agent")]
    Failed,
}

/// Everything about metrics that runs.
pub(super) struct Metrics {
    endpoints: Vec<Running>,
    ticker: Option<Ticker>,
    scrape: Option<scrape::Handle>,
    view: View,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// A running endpoint, and what it was made of.
struct Running {
    handle: endpoint::Handle,
    settings: Endpoint,
    spool: Store,
    stop: Trigger,
}

/// What is seen from the outside. Cheap to clone.
#[derive(Clone)]
pub(super) struct View {
    host: ticker::Status,
    shown: Arc<Mutex<Shown>>,
}

#[derive(Default)]
struct Shown {
    asker: Option<Asker>,
    scrape: Option<scrape::View>,
    endpoints: Vec<Monitor>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("View")
    }
}

impl View {
    pub(super) fn new(registry: &Registry) -> View {
        View { host: ticker::Status::new(registry), shown: Arc::default() }
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        // Replaced as a whole.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who collects the host's metrics for those who ask; `None`: nobody.
    pub(super) fn asker(&self) -> Option<Asker> {
        self.shown().asker.clone()
    }

    /// How the host's collection goes; `None`: there is none.
    pub(super) fn host(&self) -> Option<&ticker::Status> {
        self.shown().asker.is_some().then_some(&self.host)
    }

    /// How jobs are doing.
    pub(super) fn jobs(&self) -> Vec<JobStatus> {
        let scrape = self.shown().scrape.clone();
        scrape.map(|scrape| scrape.status()).unwrap_or_default()
    }

    /// How endpoints are doing.
    pub(super) fn endpoints(&self) -> Vec<Monitor> {
        self.shown().endpoints.clone()
    }
}

/// What was prepared, and cannot fail any more.
pub(super) struct Next {
    /// Settings of endpoints that are there already, and what they become.
    changed: Vec<(Endpoint, Prepared)>,
    /// Those that were not there: they run, so that others can write to them.
    launched: Vec<Running>,
    scrape: Option<scrape::Prepared>,
    host: Option<ticker::Job>,
}

impl Metrics {
    /// Nothing yet.
    pub(super) fn new(view: View) -> Metrics {
        Metrics { endpoints: Vec::new(), ticker: None, scrape: None, view }
    }

    /// Does all that can fail, and starts endpoints that are new. What it returns goes to [`Metrics::change`] or [`Metrics::give_up`].
    pub(super) async fn prepare(&self, plan: &Plan, bytes: u64, joints: &Joints) -> Result<Next, MetricsError> {
        let mut wanted = Vec::new();
        for settings in &plan.remote_write {
            let running = self.endpoints.iter().find(|running| running.settings.name == settings.name);
            if running.is_none_or(|running| running.settings != *settings || settings.names_files()) {
                wanted.push((settings.clone(), running.is_some()));
            }
        }
        let (joints_there, age) = (joints.clone(), plan.spool_age);
        let prepare = move || -> Result<Vec<_>, PrepareError> {
            let prepared = wanted
                .into_iter()
                .map(|(settings, is_there)| Ok((Prepared::new(settings.clone())?, settings, is_there)));
            let prepared = prepared.collect::<Result<Vec<_>, PrepareError>>()?;
            let with_spool = prepared.into_iter().map(|(prepared, settings, is_there)| {
                let spool = (!is_there).then(|| joints_there.metrics_spool(&settings.name, bytes, age));
                (prepared, settings, spool)
            });
            Ok(with_spool.collect())
        };
        let prepared = tokio::task::spawn_blocking(prepare).await.map_err(|_| MetricsError::Failed)??;
        let metrics = plan.metrics.as_ref();
        let host = metrics.and_then(|metrics| metrics.host.as_ref());
        let common = host.map(|host| self.common(host)).transpose()?;
        let mut next = Next { changed: Vec::new(), launched: Vec::new(), scrape: None, host: None };
        for (prepared, settings, spool) in prepared {
            match spool {
                Some(spool) => next.launched.push(joints.launch_metrics(prepared, settings, spool)),
                None => next.changed.push((settings, prepared)),
            }
        }
        let there = || self.endpoints.iter().chain(&next.launched);
        let outputs: Vec<Arc<dyn Output>> = plan
            .remote_write
            .iter()
            .filter_map(|settings| there().find(|running| running.settings.name == settings.name))
            .map(|running| running.handle.output())
            .collect();
        let of =
            |to: &[usize]| -> Vec<Arc<dyn Output>> { to.iter().filter_map(|at| outputs.get(*at).cloned()).collect() };
        let jobs = metrics.map(|metrics| metrics.scrape.as_slice()).unwrap_or_default();
        if !jobs.is_empty() || self.scrape.is_some() {
            let jobs =
                jobs.iter().map(|(settings, to)| scrape::Job { settings: settings.clone(), outputs: of(to) }).collect();
            match scrape::Prepared::new(jobs, self.scrape.as_ref()) {
                Ok(prepared) => next.scrape = Some(prepared),
                Err(error) => {
                    self.give_up(next).await;
                    return Err(error.into());
                }
            }
        }
        if let (Some(metrics), Some(host), Some(common)) = (metrics, host, common) {
            next.host = Some(ticker::Job {
                settings: host.settings.clone(),
                interval: metrics.interval,
                common,
                labels: host.labels.clone(),
                outputs: of(&host.to),
            });
        }
        Ok(next)
    }

    /// What the host's series have in common: what there is already, where the plan says the same.
    fn common(&self, host: &HostPlan) -> Result<Arc<Common>, RelabelError> {
        let known = self.ticker.as_ref().map(Ticker::common).filter(|common| *common.settings() == host.series);
        known.map_or_else(|| Common::new(host.series.clone()), Ok)
    }

    /// Ends what [`Metrics::prepare`] has started.
    pub(super) async fn give_up(&self, next: Next) {
        end(next.launched).await;
    }

    /// Takes over what was prepared. An error is that of a thread that cannot be started; everything else has been taken over then.
    pub(super) async fn change(
        &mut self,
        next: Next,
        plan: &Plan,
        bytes: u64,
        joints: &Joints,
    ) -> Result<(), MetricsError> {
        let Next { changed, launched, scrape, host } = next;
        self.endpoints.extend(launched);
        for (settings, prepared) in changed {
            if let Some(running) = self.endpoints.iter_mut().find(|running| running.settings.name == settings.name) {
                running.settings = settings;
                running.handle.reconfigure(prepared);
            }
        }
        match (scrape, &self.scrape) {
            (Some(prepared), Some(handle)) => {
                handle.resize(plan.memory_bytes);
                handle.change(prepared);
                // Those who leave have their stale markers then.
                handle.settled().await;
            }
            (Some(prepared), None) => {
                let memory = plan.memory_bytes;
                self.scrape = Some(scrape::start(prepared, joints.clock.clone(), &joints.registry, memory));
            }
            (None, _) => {}
        }
        let mut started = Ok(());
        match (host, self.ticker.take()) {
            (Some(job), Some(mut ticker)) => {
                ticker.change(job).await;
                self.ticker = Some(ticker);
            }
            (Some(job), None) => match Ticker::start(job, joints.clock.clone(), self.view.host.clone()) {
                Ok(ticker) => self.ticker = Some(ticker),
                Err(error) => started = Err(error),
            },
            (None, Some(ticker)) => ticker.end().await,
            (None, None) => {}
        }
        // What went there is written by now: stale markers, too.
        let place = |name: &str| plan.remote_write.iter().position(|settings| settings.name == name);
        let (mut stay, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.endpoints)
            .into_iter()
            .partition(|running| place(&running.settings.name).is_some());
        stay.sort_by_key(|running| place(&running.settings.name));
        for running in &stay {
            running.spool.resize(bytes, plan.spool_age.as_secs());
        }
        self.endpoints = stay;
        for running in &gone {
            joints.registry.forget(endpoint::LABEL, &running.settings.name);
        }
        let some_gone = !gone.is_empty();
        end(gone).await;
        if some_gone {
            let (state_dir, known) = (joints.state_dir.clone(), spools::Names::of(plan));
            // It is merely said, so nobody waits for a disk that does not answer.
            drop(tokio::task::spawn_blocking(move || spools::warn_of_strangers(&state_dir, &known)));
        }
        self.show();
        Ok(started?)
    }

    fn show(&self) {
        *self.view.shown() = Shown {
            asker: self.ticker.as_ref().map(Ticker::asker),
            scrape: self.scrape.as_ref().map(scrape::Handle::view),
            endpoints: self.endpoints.iter().map(|running| running.handle.monitor()).collect(),
        };
    }

    /// What sees it from the outside.
    pub(super) fn view(&self) -> View {
        self.view.clone()
    }

    /// Stops collecting, lets endpoints send what there is or put it on disk, and ends.
    pub(super) async fn stop(self) {
        if let Some(ticker) = self.ticker {
            ticker.stop();
        }
        if let Some(scrape) = self.scrape {
            scrape.stop().await;
        }
        end(self.endpoints).await;
    }
}

/// Ends endpoints, all at once.
async fn end(endpoints: Vec<Running>) {
    for running in &endpoints {
        running.stop.raise();
    }
    for running in endpoints {
        // An error is a panic in the task, which has been shown.
        let _ = running.handle.task.await;
        running.spool.end().await;
    }
}

impl Joints {
    /// A spool of at most `bytes`. Reads files, so it blocks.
    fn metrics_spool(&self, endpoint: &str, bytes: u64, age: Duration) -> Store {
        let path = spools::path_of_metrics(&self.state_dir, endpoint);
        Store::of_metrics(&path, bytes, age.as_secs(), Clock::System, &self.registry, endpoint)
    }

    /// Starts an endpoint's sender. It ends only when it is told to, or when it fails: then `ended` is raised.
    fn launch_metrics(&self, prepared: Prepared, settings: Endpoint, spool: Store) -> Running {
        let (stop, stopping) = shutdown::channel();
        let stop_within = Duration::from_millis(METRICS_STOP_MS);
        let mut handle = endpoint::launch(prepared, Some(spool.clone()), &self.registry, stopping.clone(), stop_within);
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
}
