//! The configuration as the agent needs it: checked, defaults applied, nothing optional that is not optional at run time.

use crate::model::labels::{LabelCaps, LabelError, Labels};
use crate::pipeline::label_map::LabelMap;
use crate::pipeline::relabel::{self, Rules};
use crate::pipeline::settings::Stage;
use crate::{sink, source};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where logs go. At least one when there is a source.
    pub loki: Vec<sink::settings::Endpoint>,
    /// Where metrics go.
    pub remote_write: Vec<sink::remote_write::settings::Endpoint>,
    /// Where logs come from.
    pub files: Vec<FileSource>,
    /// Journals that logs come from.
    pub journals: Vec<JournalSource>,
    /// Containers that logs come from.
    pub dockers: Vec<DockerSource>,
    /// Sources that receive.
    pub receivers: Vec<Receiver>,
    /// Metrics, and how often; `None`: there are none.
    pub metrics: Option<MetricsPlan>,
    /// What other agents have read of the files, to be taken over once.
    pub imports: Vec<source::file::import::Positions>,
    /// Where /ready and /metrics are served; `None`: nowhere.
    pub http: Option<SocketAddr>,
    /// Checkpoints and dead letters. Absolute.
    pub state_dir: PathBuf,
    /// Bound of the process's memory, bytes.
    pub memory_bytes: u64,
    /// Bound of all spools together, bytes; 0: nothing is spooled.
    pub spool_bytes: u64,
    /// Age at which spooled requests are given up.
    pub spool_age: Duration,
}

/// Where metrics come from.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricsPlan {
    /// How often, unless a source says otherwise.
    pub interval: Duration,
    /// Jobs that scrape, each with the endpoints that it goes to: indices into the `remote_write` endpoints, ascending.
    pub scrape: Vec<(source::scrape::settings::Settings, Vec<usize>)>,
    /// The host itself.
    pub host: Option<HostPlan>,
}

/// What is collected of the host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostPlan {
    /// What, and from where.
    pub settings: source::host::Settings,
    /// Its labels as a target.
    pub labels: Vec<(String, String)>,
    /// What becomes of series. The rules compile.
    pub series: source::series::Settings,
    /// Indices into the `remote_write` endpoints, ascending. None: it is collected for those who ask.
    pub to: Vec<usize>,
}

/// A file source and the endpoints that it goes to.
#[derive(Debug, Clone)]
pub struct FileSource {
    /// What to read.
    pub settings: source::file::settings::Settings,
    /// Indices into [`Plan::loki`], ascending, not empty.
    pub to: Vec<usize>,
}

/// A source that receives, what becomes of its records, and the endpoints that it goes to.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// How it receives.
    pub settings: source::receive::settings::Settings,
    /// What the file source makes of its inlet. It has no patterns: where the inlet is, the agent knows.
    pub records: source::file::settings::Settings,
    /// Indices into [`Plan::loki`], ascending, not empty.
    pub to: Vec<usize>,
}

/// A journal source and the endpoints that it goes to.
#[derive(Debug, Clone)]
pub struct JournalSource {
    /// What to read.
    pub settings: source::journal::settings::Settings,
    /// Indices into [`Plan::loki`], ascending, not empty.
    pub to: Vec<usize>,
}

/// A docker source and the endpoints that it goes to.
#[derive(Debug, Clone)]
pub struct DockerSource {
    /// What to read.
    pub settings: source::docker::settings::Settings,
    /// Indices into [`Plan::loki`], ascending, not empty.
    pub to: Vec<usize>,
}

impl Plan {
    /// How many sources there are, of logs and of metrics.
    pub fn sources(&self) -> usize {
        let of_metrics =
            self.metrics.as_ref().map_or(0, |metrics| usize::from(metrics.host.is_some()) + metrics.scrape.len());
        self.files.len() + self.journals.len() + self.dockers.len() + self.receivers.len() + of_metrics
    }

    /// How many endpoints there are, of logs and of metrics.
    pub fn endpoints(&self) -> usize {
        self.loki.len() + self.remote_write.len()
    }

    /// What becomes of the lines of each source: files, then journals, containers, and what receives.
    pub fn pipelines(&self) -> Vec<Pipeline<'_>> {
        let files = self.files.iter().map(|source| Pipeline::of_file(&source.settings));
        let journals = self.journals.iter().map(|JournalSource { settings, .. }| Pipeline {
            name: &settings.name,
            has_filename: false,
            stages: &settings.stages,
            late_labels: &settings.late_labels,
            label_caps: settings.label_caps,
            line_bytes: settings.line_bytes,
            labels: &settings.labels,
            outer: Some(&settings.outer_labels),
            rules: &settings.relabel,
        });
        let dockers = self.dockers.iter().map(|DockerSource { settings, .. }| Pipeline {
            name: &settings.name,
            has_filename: false,
            stages: &settings.stages,
            late_labels: &settings.late_labels,
            label_caps: settings.label_caps,
            line_bytes: settings.line_bytes,
            labels: &settings.labels,
            outer: Some(&settings.outer_labels),
            rules: settings.relabel.as_deref().unwrap_or_default(),
        });
        let receivers = self.receivers.iter().map(|Receiver { records: settings, .. }| {
            let of_file = Pipeline { has_filename: false, ..Pipeline::of_file(settings) };
            settings.records.as_ref().map_or(of_file, |records| Pipeline {
                labels: &records.labels,
                outer: Some(&records.outer_labels),
                rules: &records.relabel,
                ..of_file
            })
        });
        files.chain(journals).chain(dockers).chain(receivers).collect()
    }
}

/// What becomes of the lines of a source, whatever it reads.
#[derive(Debug, Clone, Copy)]
pub struct Pipeline<'a> {
    /// The source's name.
    pub name: &'a str,
    /// Whether each of its lines has the name of its file as the label `filename`.
    pub has_filename: bool,
    /// What happens to its lines.
    pub stages: &'a [Stage],
    /// Labels that come behind the stages.
    pub late_labels: &'a Labels,
    /// What Loki takes of labels.
    pub label_caps: LabelCaps,
    /// The cap of a line, bytes.
    pub line_bytes: usize,
    labels: &'a Labels,
    /// Of what has none of that name behind the rules.
    outer: Option<&'a Labels>,
    rules: &'a [relabel::Settings],
}

impl<'a> Pipeline<'a> {
    fn of_file(settings: &'a source::file::settings::Settings) -> Self {
        Pipeline {
            name: &settings.name,
            has_filename: true,
            stages: &settings.stages,
            late_labels: &settings.late_labels,
            label_caps: settings.label_caps,
            line_bytes: settings.line_bytes,
            labels: &settings.labels,
            outer: None,
            rules: &[],
        }
    }

    /// The labels with which a line goes to the stages that has `more` of them beside those of its source, as the rules see them. `None`: the rules drop it.
    ///
    /// # Errors
    /// There are too many, or one is none that Loki takes.
    pub fn begin<'m>(&self, more: impl Iterator<Item = (&'m str, &'m str)>) -> Result<Option<Labels>, LabelError>
    where
        'a: 'm,
    {
        let mut map: LabelMap = self.labels.iter().chain(more).collect();
        // They compile.
        let rules = Rules::compile(self.rules).unwrap_or_default();
        if !rules.apply(&mut map, &mut rules.scratch()) {
            return Ok(None);
        }
        map.drop_internal();
        let outer = self.outer.into_iter().flat_map(Labels::iter).filter(|(name, _)| map.get(name).is_empty());
        Labels::within(outer.chain(map.iter()), self.label_caps).map(Some)
    }
}
