//! Changing a running agent to another plan.
//!
//! Endpoints and sources are told apart by name. The order is: all that can fail (clients, TLS, secrets, patterns); then new endpoints start,
//! the reading thread changes its sources and outputs in one step, endpoints get their new settings, and those that are gone end.
//!
//! Promises: an error changes nothing; what a plan says as before is not touched; what was read for sources that go elsewhere now is read again
//! as it was; an endpoint that is gone gets what it should have had by then if it comes back, as far as its spool took it, and the rest is
//! counted; series of what is gone go as well; the runtime's thread does not wait for the disk. Leaves to others: reading the configuration.

use super::metrics::MetricsError;
use super::receivers::Preparation;
use super::routes::Routes;
use super::{Agent, Arranged, Group, Reader, containers, probe, receivers, spools};
use crate::base::clock::Clock;
use crate::base::limits::{IN_FLIGHT_SHARE, REMOVED_DRAIN_MS, REMOVED_SPILL_MS, SENDER_STOP_MS};
use crate::base::metrics::{Counter, Gauge, Registry};
use crate::config::plan::Plan;
use crate::sink::endpoint::{Prepared, SinkError};
use crate::source::docker::containers::SettingsError;
use crate::source::file::reload::{Next, Sources};
use crate::source::file::worker::StartError;
use crate::source::handle::NextOutput;
use crate::source::journal;
use crate::source::receive::ReceiveError;
use std::path::Path;
use std::time::{Duration, Instant};

/// Why another plan was not taken over. The one before runs on.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// An endpoint.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The file sources.
    #[error(transparent)]
    Files(#[from] StartError),
    /// The journal sources.
    #[error(transparent)]
    Journals(#[from] journal::worker::StartError),
    /// The docker sources.
    #[error(transparent)]
    Dockers(#[from] SettingsError),
    /// A source that receives.
    #[error(transparent)]
    Receivers(#[from] ReceiveError),
    /// Metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The directory of an endpoint that is to come back.
    #[error(
        "endpoint {0}: its spool is still in use since it was removed, as the disk does not answer; reload again when it does"
    )]
    SpoolInUse(String),
    /// A panic, which has been shown.
    #[error("preparing the endpoints failed, which is a bug of the agent")]
    Failed,
    /// The agent is stopping.
    #[error("the agent stops, or the thread that reads files has failed: nothing is changed any more")]
    Stopping,
}

/// How reloading went, as metrics.
#[derive(Debug)]
pub(super) struct Outcomes {
    successful: Gauge,
    last_success: Gauge,
    succeeded: Counter,
    failed: Counter,
    removed_lines: Counter,
}

impl Outcomes {
    /// The start counts as the first success.
    pub(super) fn new(registry: &Registry, clock: &Clock) -> Self {
        let count = |result| {
            let help = "Times that the configuration was read again, by result.";
            registry.counter("lugger_config_reloads_total", help, &[("result", result)])
        };
        let outcomes = Outcomes {
            successful: registry.gauge(
                "lugger_config_last_reload_successful",
                "1 if the configuration that was read last is the one that runs.",
                &[],
            ),
            last_success: registry.gauge(
                "lugger_config_last_reload_success_timestamp_seconds",
                "When the configuration that runs was read.",
                &[],
            ),
            succeeded: count("success"),
            failed: count("failure"),
            removed_lines: registry.counter(
                "lugger_removed_endpoint_lines_total",
                "Lines in memory for endpoints that were removed that went neither there nor to a spool. Files have them still, unless \
                 they were truncated or deleted.",
                &[],
            ),
        };
        outcomes.runs_since(clock);
        outcomes
    }

    fn runs_since(&self, clock: &Clock) {
        self.successful.set(1.0);
        self.last_success.set((clock.now_ns() / 1_000_000_000) as f64);
    }
}

impl Agent {
    /// Changes to `plan`. An error is noted as [`Agent::reload_failed`] does. Waits for the reading thread to come around, and for requests
    /// under way to endpoints that are gone.
    pub async fn reload(&mut self, plan: Plan) -> Result<(), ReloadError> {
        match self.change(plan).await {
            Ok(()) => {
                self.reloads.succeeded.add(1);
                self.reloads.runs_since(&self.joints.clock);
                self.probe.config_taken(self.joints.clock.now_ns());
                Ok(())
            }
            Err(error) => {
                self.reload_failed(&error.to_string());
                Err(error)
            }
        }
    }

    /// Notes that there is a configuration that cannot be used, and why. No secrets.
    pub fn reload_failed(&self, error: &str) {
        self.reloads.failed.add(1);
        self.reloads.successful.set(0.0);
        self.probe.config_refused(error);
    }

    async fn change(&mut self, plan: Plan) -> Result<(), ReloadError> {
        let mut next = Vec::new();
        for settings in &plan.loki {
            let running = self.endpoints.iter().find(|running| running.settings.name == settings.name);
            let is_as_before = running.is_some_and(|r| r.settings == *settings) && !settings.names_files();
            if !is_as_before {
                next.push((settings.clone(), running.is_some()));
            }
        }
        let prepare = move || next.into_iter().map(|(s, is)| Ok((Prepared::new(s.clone())?, s, is))).collect();
        let prepared: Result<Vec<_>, SinkError> = off_thread(prepare).await?;
        let prepared = prepared?;
        let spools = spools::sizes(&plan);
        let spool_of = |name: &str| {
            let place = plan.loki.iter().position(|endpoint| endpoint.name == name);
            place.and_then(|place| spools.get(place)).copied().unwrap_or(0)
        };
        let arranged = self.joints.arrange(&plan, &self.dockers, &self.store)?;
        let routes = Routes::new(&arranged);
        let Arranged { files, file_sets, journals, journal_sets, dockers } = arranged;
        let sources = Sources::parse(files)?;
        let journals = journal::reload::Sources::parse(journals)?;
        let preparation = Preparation::new(&self.joints, &plan, &self.store);
        let there = self.receivers.there();
        let received = off_thread(move || preparation.run(&there)).await??;
        let mut opened = Vec::new();
        for (prepared, settings, is_running) in prepared {
            let mut spool = None;
            if !is_running {
                self.end_spool(&settings.name).await?;
                let (joints, name, age) = (self.joints.clone(), settings.name.clone(), plan.spool_age);
                let bytes = spool_of(&name);
                spool = Some(off_thread(move || joints.spool(&name, bytes, age)).await?);
            }
            opened.push((prepared, settings, spool));
        }

        let room = spools::of_metrics(&plan);
        let collected = self.metrics.prepare(&plan, room, &self.joints).await?;

        // From here on nothing fails, unless the agent is stopping. Endpoints start first: outputs need their queues.
        let mut changed = Vec::new();
        for (prepared, settings, spool) in opened {
            match spool {
                Some(spool) => self.endpoints.push(self.joints.launch(prepared, settings, spool)),
                None => changed.push((prepared, settings)),
            }
        }
        // What is on disk may be of a source that goes to this endpoint alone from now on.
        let alone = routes.newly_alone(&self.routes);
        for running in self.endpoints.iter().filter(|running| alone.contains(&running.settings.name)) {
            running.handle.queue.disk_first();
        }
        self.joints.budget.resize(plan.memory_bytes / IN_FLIGHT_SHARE);
        self.joints.pushes.resize(plan.memory_bytes);
        let of = |reader, sets: Vec<Vec<String>>| sets.into_iter().map(move |to| (reader, to));
        let sets = of(Reader::Files, file_sets).chain(of(Reader::Journals, journal_sets)).collect();
        let groups = self.share_out(sets);
        let (groups, journal_groups): (Vec<Group>, Vec<Group>) =
            groups.into_iter().partition(|group| group.reader == Reader::Files);
        let outputs = |groups: &[Group], before: &[Group]| -> Vec<NextOutput> {
            let output = |group: &Group| {
                let limits = group.limits(&plan);
                match before.iter().position(|known| known.to == group.to) {
                    Some(number) => NextOutput::Kept { number, limits },
                    None => NextOutput::New(self.joints.output(group, &plan, &self.endpoints)),
                }
            };
            groups.iter().map(output).collect()
        };
        let next = Next::new(sources, outputs(&groups, &self.groups));
        let next_journals = journal::reload::Next::new(journals, outputs(&journal_groups, &self.journal_groups));
        // Their last messages are there before nobody reads them any more.
        let removed = self.receivers.retire(&received).await;
        self.empty_inlets(&removed).await;
        let names = |agent: &Agent| -> Vec<String> {
            let files = agent.worker.status.iter().map(|(name, _)| name);
            files.chain(agent.journals.status.iter().map(|(name, _)| name)).cloned().collect()
        };
        let before = names(self);
        let (mut ended, mut journals_ended) = (self.worker_ended.clone(), self.journals_ended.clone());
        let is_changed = tokio::select! {
            is_changed = self.worker.change(next) => is_changed,
            () = ended.raised() => false,
        };
        // One that has failed ends the process.
        let are_journals_changed = tokio::select! {
            is_changed = self.journals.change(next_journals) => is_changed,
            () = journals_ended.raised() => false,
        };
        if !is_changed || !are_journals_changed {
            return Err(ReloadError::Stopping);
        }
        let listening = std::mem::take(&mut self.dockers);
        self.dockers = containers::listen(dockers, listening, &self.joints.clock);
        self.receivers.change(received).await;
        let left = std::mem::replace(&mut self.groups, groups);
        self.left.extend(left.into_iter().filter(|old| !self.groups.iter().any(|group| group.to == old.to)));
        let left = std::mem::replace(&mut self.journal_groups, journal_groups);
        self.left.extend(left.into_iter().filter(|old| !self.journal_groups.iter().any(|group| group.to == old.to)));

        for running in &self.endpoints {
            let name = &running.settings.name;
            if alone.contains(name) {
                running.handle.queue.disk_first_until_here();
            }
            // An endpoint that is about to go keeps its room, for what it has in memory.
            if plan.loki.iter().any(|settings| settings.name == *name) {
                // What it has of sources that went elsewhere is read for it no more.
                if self.routes.parts(&routes, name) {
                    running.handle.queue.part();
                }
                running.handle.queue.resize_spool(spool_of(name), plan.spool_age.as_secs());
            }
        }
        self.routes = routes;
        for (prepared, settings) in changed {
            if let Some(running) = self.endpoints.iter_mut().find(|running| running.settings.name == settings.name) {
                running.settings = settings.clone();
                running.handle.reconfigure(prepared);
            }
        }
        self.retire(&plan).await;
        let after = names(self);
        for name in before.iter().filter(|name| !after.contains(name)) {
            self.joints.registry.forget("source", name);
        }
        let monitors = self.endpoints.iter().map(|endpoint| endpoint.handle.monitor()).collect();
        let receiving = self.receivers.status();
        let shown = probe::sources(&self.worker.status, &self.journals.status, &self.dockers, &receiving);
        self.probe.show(shown, monitors);
        let known = receivers::names(&plan);
        if before.iter().any(|name| !after.contains(name)) {
            let (state_dir, store) = (self.joints.state_dir.clone(), self.store.clone());
            // It is merely said, so nobody waits for a disk that does not answer.
            drop(tokio::task::spawn_blocking(move || receivers::warn_of_strangers(&state_dir, &known, &store)));
        }
        self.warn_of_fixed(&plan);
        self.metrics.change(collected, &plan, room, &self.joints).await?;
        Ok(())
    }

    /// The groups of the next set, each with its share of the budget. A set of endpoints keeps its share, also if nothing went there for a
    /// while: what still is in flight counts.
    fn share_out(&mut self, sets: Vec<(Reader, Vec<String>)>) -> Vec<Group> {
        self.left.retain(|group| group.budget.used() > 0);
        let known = || self.groups.iter().chain(&self.journal_groups).chain(&self.left);
        let is_in = |group: &Group| sets.iter().any(|(reader, to)| *reader == group.reader && *to == group.to);
        let others = known().filter(|group| group.budget.used() > 0 && !is_in(group)).count();
        let shares = sets.len() + others;
        let groups: Vec<Group> = sets
            .into_iter()
            .map(|(reader, to)| match known().find(|group| group.reader == reader && group.to == to) {
                Some(group) => group.clone(),
                None => Group { reader, to, budget: self.joints.budget.share(shares) },
            })
            .collect();
        self.left.retain(|left| !groups.iter().any(|group| group.reader == left.reader && group.to == left.to));
        for group in &groups {
            group.budget.resize(self.joints.budget.max() / (shares.max(1) as u64));
        }
        groups
    }

    /// Lets endpoints that the plan does not have send what they have in memory, for a moment, and puts the rest on disk where there is a spool:
    /// what was read for them and is stored elsewhere is read for them no more.
    async fn empty(&self, plan: &Plan) {
        let is_gone = |name: &str| !plan.loki.iter().any(|settings| settings.name == name);
        let gone: Vec<_> = self.endpoints.iter().filter(|running| is_gone(&running.settings.name)).collect();
        let begin = Instant::now();
        loop {
            let sending = begin.elapsed() < Duration::from_millis(REMOVED_DRAIN_MS);
            let spilling = begin.elapsed() < Duration::from_millis(REMOVED_DRAIN_MS + REMOVED_SPILL_MS);
            let mut over = true;
            for running in &gone {
                let queue = &running.handle.queue;
                if queue.is_empty() {
                    continue;
                }
                if sending && !running.handle.monitor().is_behind() {
                    over = false;
                } else {
                    queue.leave();
                    over &= !(spilling && queue.is_spilling());
                }
            }
            if over {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sees to it that a spool of an endpoint of this name that is gone does not work any more.
    async fn end_spool(&mut self, name: &str) -> Result<(), ReloadError> {
        while let Some(at) = self.unended.iter().position(|(of, _)| of == name) {
            let Some((_, spool)) = self.unended.get(at) else { break };
            if tokio::time::timeout(Duration::from_millis(REMOVED_SPILL_MS), spool.end()).await.is_err() {
                return Err(ReloadError::SpoolInUse(name.to_owned()));
            }
            self.unended.remove(at);
        }
        Ok(())
    }

    /// Ends the endpoints that the plan does not have, and puts the others into its order.
    async fn retire(&mut self, plan: &Plan) {
        self.empty(plan).await;
        let place = |name: &str| plan.loki.iter().position(|settings| settings.name == name);
        let (mut stay, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.endpoints)
            .into_iter()
            .partition(|running| place(&running.settings.name).is_some());
        stay.sort_by_key(|running| place(&running.settings.name));
        self.endpoints = stay;
        for running in &gone {
            running.stop.raise();
        }
        let some_gone = !gone.is_empty();
        for running in gone {
            // An error is a panic in the task, which has been shown. What it had is read again for the endpoints that are left.
            let _ = running.handle.task.await;
            let lines = running.handle.queue.retire();
            if lines > 0 {
                self.reloads.removed_lines.add(lines);
                tracing::warn!(
                    endpoint = %running.settings.name, lines,
                    "the endpoint is removed, and lines in memory went neither there nor to a spool. They are read again for the endpoints \
                     that their sources go to now, except those of sources that are removed too and of files that were truncated meanwhile"
                );
            }
            // Something that was begun may still be under way on a disk that does not answer.
            if tokio::time::timeout(Duration::from_millis(SENDER_STOP_MS), running.spool.end()).await.is_err() {
                self.unended.push((running.settings.name.clone(), running.spool.clone()));
            }
            self.joints.registry.forget("endpoint", &running.settings.name);
        }
        if some_gone {
            let (state_dir, known) = (self.joints.state_dir.clone(), spools::Names::of(plan));
            // It is merely said, so nobody waits for a disk that does not answer.
            drop(tokio::task::spawn_blocking(move || spools::warn_of_strangers(&state_dir, &known)));
        }
    }

    /// Names what is different and stays as it is.
    fn warn_of_fixed(&self, plan: &Plan) {
        if plan.state_dir != self.joints.state_dir {
            let runs = &self.joints.state_dir;
            tracing::warn!(state_dir = %plan.state_dir.display(), runs = %Path::display(runs), "state_dir takes effect at the next start");
        }
        if plan.http != self.joints.http {
            let shown = |address: Option<_>| address.map_or("off".to_owned(), |a: std::net::SocketAddr| a.to_string());
            let (listen, runs) = (shown(plan.http), shown(self.joints.http));
            tracing::warn!(listen, runs, "http.listen takes effect at the next start");
        }
    }
}

/// Does something that may wait for the disk, beside the runtime's thread.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ReloadError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ReloadError::Failed)
}
