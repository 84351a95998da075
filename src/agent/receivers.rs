//! Sources that receive, joined with the file source that reads their inlets.
//!
//! Promises: an inlet is where its source's name says; what is left of sources that are gone is kept, and told. Leaves to others: receiving
//! (`source::receive`), reading (`source::file`).

use super::{Agent, Joints};
use crate::base::limits::{END_LOOK_MS, REMOVED_DRAIN_MS};
use crate::base::units::format_size;
use crate::config::plan::{Plan, Receiver};
use crate::pipeline::settings::{MatchAction, Stage};
use crate::source::docker::told_name;
use crate::source::file::{settings::Settings, stored, taken};
use crate::source::receive::{self, Input, Naming, Planned, Prepared, ReceiveError, Surroundings, There, inlet_path};
use crate::store::checkpoint::Checkpoints;
use crate::store::inlet::{Delivered, patterns};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the file source is told of a receiver's inlet.
pub(super) fn inlet_of(state_dir: &Path, receiver: &Receiver) -> Settings {
    let directory = inlet_path(state_dir, &receiver.settings.name);
    let include = patterns(&directory);
    Settings { include, ..receiver.records.clone() }
}

/// What receivers are prepared with; to be taken to another thread.
pub(super) struct Preparation {
    planned: Vec<Planned>,
    joints: Joints,
    store: Checkpoints,
}

impl Preparation {
    pub(super) fn new(joints: &Joints, plan: &Plan, store: &Checkpoints) -> Self {
        let planned = |receiver: &Receiver| {
            let read = &receiver.records;
            let records = read.records.as_ref();
            let labels = Naming {
                is_given: !read.late_labels.is_empty() || read.stages.iter().any(gives_labels),
                is_taken: read.stages.iter().any(takes_labels),
                own: records.map(|records| records.labels.clone()).unwrap_or_default(),
                outer: records.map(|records| records.outer_labels.clone()).unwrap_or_default(),
                relabel: records.map(|records| records.relabel.clone()).unwrap_or_default(),
                caps: read.label_caps,
            };
            Planned { settings: receiver.settings.clone(), labels }
        };
        let planned = plan.receivers.iter().map(planned).collect();
        Preparation { planned, joints: joints.clone(), store: store.clone() }
    }

    /// Does all that can fail. Blocks for the disk.
    pub(super) fn run(self, there: &[There]) -> Result<Vec<Prepared>, ReceiveError> {
        let Preparation { planned, joints, store } = self;
        let delivered = |source: &str| -> Delivered {
            let (store, source) = (store.clone(), source.to_owned());
            let directory = inlet_path(&joints.state_dir, &source);
            Box::new(move |name| taken(&store, &source, &directory.join(name)))
        };
        let around = Surroundings {
            state_dir: &joints.state_dir,
            clock: joints.clock.clone(),
            registry: &joints.registry,
            delivered: &delivered,
            pushes: &joints.pushes,
        };
        receive::prepare(planned, there, &around)
    }
}

impl Joints {
    pub(super) fn receivers(
        &self,
        plan: &Plan,
        store: &Checkpoints,
        there: &[There],
    ) -> Result<Vec<Prepared>, ReceiveError> {
        Preparation::new(self, plan, store).run(there)
    }
}

/// Whether a stage, or one within it, is such a one.
fn has(stage: &Stage, is_it: fn(&Stage) -> bool) -> bool {
    match stage {
        Stage::Match(matching) => match &matching.action {
            MatchAction::Keep(stages) => stages.iter().any(|stage| has(stage, is_it)),
            _ => false,
        },
        _ => is_it(stage),
    }
}

/// Whether a stage may take labels from an entry, or change them.
fn takes_labels(stage: &Stage) -> bool {
    has(stage, |stage| {
        matches!(
            stage,
            Stage::LabelDrop(_)
                | Stage::LabelAllow(_)
                | Stage::Pack(_)
                | Stage::Labels(_)
                | Stage::StaticLabels(_)
                | Stage::StructuredMetadata(_)
        )
    })
}

/// Whether a stage may give an entry a label that it did not have.
fn gives_labels(stage: &Stage) -> bool {
    has(stage, |stage| match stage {
        Stage::Docker | Stage::Cri(_) | Stage::Labels(_) | Stage::StaticLabels(_) => true,
        #[cfg(feature = "geoip")]
        Stage::GeoIp(_) => true,
        _ => false,
    })
}

/// The names of a plan's sources that have inlets.
pub(super) fn names(plan: &Plan) -> Vec<String> {
    let receivers = plan.receivers.iter().map(|receiver| receiver.settings.name.clone());
    receivers.chain(plan.dockers.iter().map(|docker| told_name(&docker.settings))).collect()
}

/// Says what was received and is not sent for sources that are not among these. Reads directories, so it blocks.
pub(super) fn warn_of_strangers(state_dir: &Path, known: &[String], store: &Checkpoints) {
    for (source, bytes) in receive::strangers(state_dir, known, |source, path| stored(store, source, path)) {
        let path = inlet_path(state_dir, &source);
        tracing::warn!(
            %source, path = %path.display(), size = %format_size(bytes),
            "there is what was received for a source that is not configured, and is not sent yet. It is kept: give a source this name and \
             it is sent, or remove the directory"
        );
    }
}

impl Agent {
    /// Waits until there is nothing left to do: every source was stdin, stdin has ended, and all of it is stored. Without such a source, for ever.
    pub async fn finished(&self) {
        let others = self.worker.status.len() + self.journals.status.len();
        if !self.receivers.may_end() || others != self.receivers.status().len() {
            return std::future::pending().await;
        }
        self.receivers.one_ended().await;
        let mut is_told = false;
        loop {
            let names = || self.receivers.status().into_iter().map(|(name, ..)| name);
            if self.receivers.have_ended() {
                match self.receivers.unwritten_bytes() {
                    // Files first have all of it, and then are looked at.
                    Some(0) if names().all(|name| self.is_stored(&name)) => return,
                    Some(bytes) if bytes > 0 && !std::mem::replace(&mut is_told, true) => tracing::warn!(
                        bytes,
                        "stdin has ended, and the disk does not take all of it: the rest waits in memory until there is space under state_dir"
                    ),
                    _ => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(END_LOOK_MS)).await;
        }
    }

    /// What can be said of stdin, also after a stop.
    pub fn input(&self) -> Input {
        self.receivers.input()
    }

    /// Lets what was received for sources that are removed be sent, for a moment. What is not stays in their inlets.
    pub(super) async fn empty_inlets(&self, sources: &[String]) {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(REMOVED_DRAIN_MS)
            && !sources.iter().all(|source| self.is_stored(source))
        {
            tokio::time::sleep(Duration::from_millis(END_LOOK_MS)).await;
        }
    }

    /// Whether all that is in a source's inlet is stored.
    fn is_stored(&self, source: &str) -> bool {
        let directory = inlet_path(&self.joints.state_dir, source);
        let Ok(entries) = fs::read_dir(&directory) else { return false };
        entries.flatten().all(|entry| {
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            stored(&self.store, source, &entry.path()) >= bytes
        })
    }
}
