//! The series of one target: from what was found there to what endpoints get. What the host's own collection yields is a target as well.
//!
//! A sample gets the labels of its target (with `honor_labels` its own stand, otherwise they become `exported_…`), metric relabelling is applied, and
//! labels of the host are added that override nothing. All that is done once a series: its encoded labels are kept
//! ([`SeriesCache`]). A series that was there and is no more gets a **stale marker**, as Prometheus writes it, unless its samples have times of
//! their own and nobody asked for that (`track_timestamps_staleness`). Each collection has a **report** besides: `up` and its companions.
//!
//! Promises: a collection is taken whole or not at all, and what was put into the points is taken back then; a collection of known series allocates
//! nothing; of a series there in a collection twice the first counts; times of a series that has its own only grow. Leaves to others: when to collect, and who
//! writes points.

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;

use crate::base::limits::{SAMPLE_AHEAD_MS_MAX, TARGET_SERIES_BYTES_MAX, TARGET_SERIES_MAX};
use crate::format::remote_write::cache::{Series as Known, SeriesCache};
use crate::format::remote_write::labels::{LabelSet, NAME};
use crate::model::points::{Point, Points};
use crate::model::samples::{Family, Kind, NAN_BITS, STALE_BITS, Samples, name_of};
use crate::pipeline::label_map::LabelMap;
use crate::pipeline::relabel::{self, Outcome, RelabelError, Rules, Scratch};
use std::sync::{Arc, Mutex, PoisonError};

/// Bounds of a collection; 0 is none. Breaking one refuses the collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Samples after relabelling.
    pub samples: u64,
    /// Labels of a series, its name among them.
    pub labels: u64,
    /// Bytes of a label's name.
    pub label_name_bytes: u64,
    /// Bytes of a label's value.
    pub label_value_bytes: u64,
}

/// What all targets of a job have in common, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where a sample has a label of the target, its own stands.
    pub honor_labels: bool,
    /// Samples have the times that stand beside them.
    pub honor_timestamps: bool,
    /// Series of samples with such times get stale markers too.
    pub track_timestamps_staleness: bool,
    /// `metric_relabel_configs`.
    pub relabel: Vec<relabel::Settings>,
    /// Labels of the host: on every series that has not its own of that name.
    pub outer: Vec<(String, String)>,
    /// Bounds.
    pub limits: Limits,
    /// Three more series a report.
    pub extra_metrics: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            relabel: Vec::new(),
            outer: Vec::new(),
            limits: Limits::default(),
            extra_metrics: false,
        }
    }
}

/// The same, ready for use. Targets share it.
#[derive(Debug)]
pub struct Common {
    settings: Settings,
    rules: Rules,
    work: Mutex<Work>,
}

/// Memory to make labels in.
#[derive(Debug)]
struct Work {
    set: LabelSet,
    map: LabelMap,
    scratch: Scratch,
}

impl Common {
    /// Compiles the rules.
    pub fn new(settings: Settings) -> Result<Arc<Self>, RelabelError> {
        let rules = Rules::compile(&settings.relabel)?;
        let work = Work { set: LabelSet::default(), map: LabelMap::new(), scratch: rules.scratch() };
        Ok(Arc::new(Common { settings, rules, work: Mutex::new(work) }))
    }

    /// What it was made of.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// What became of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Samples that were found.
    pub scraped: u64,
    /// Those that relabelling left.
    pub kept: u64,
    /// Series that were not there in the collection before.
    pub added: u64,
    /// Samples of series that had been there in this collection already.
    pub again: u64,
    /// Samples whose own time is not after that of the last one of their series.
    pub not_newer: u64,
    /// Samples whose own time is too far ahead.
    pub ahead: u64,
}

/// Why a collection was refused; the text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// `sample_limit`.
    #[error(
        "{samples} samples are more than the sample_limit of {limit}: drop some by metric_relabel_configs, or raise it"
    )]
    Samples {
        /// How many there are after relabelling.
        samples: u64,
        /// How many there may be.
        limit: u64,
    },
    /// `label_limit`.
    #[error("the series {series} has {labels} labels, more than the label_limit of {limit}")]
    Labels {
        /// Its name.
        series: String,
        /// How many labels it has.
        labels: u64,
        /// How many it may have.
        limit: u64,
    },
    /// `label_name_length_limit`.
    #[error("the label {label:?} of the series {series} is longer than the label_name_length_limit of {limit} bytes")]
    LabelName {
        /// The series' name.
        series: String,
        /// The label.
        label: String,
        /// How long it may be.
        limit: u64,
    },
    /// `label_value_length_limit`.
    #[error(
        "the value of the label {label:?} of the series {series} is longer than the label_value_length_limit of {limit} bytes"
    )]
    LabelValue {
        /// The series' name.
        series: String,
        /// The label.
        label: String,
        /// How long its value may be.
        limit: u64,
    },
    /// No name any more.
    #[error(
        "metric_relabel_configs leave the series {series} without a valid name: correct what sets or removes __name__"
    )]
    NoName {
        /// The name before.
        series: String,
    },
    /// More series than can be kept.
    #[error("the target has more than {TARGET_SERIES_MAX} series")]
    Series,
    /// More memory than there is for series.
    #[error(
        "its {series} series take {} KiB of memory, and of `limits.memory` {} KiB are left for them: raise it, or drop some by metric_relabel_configs",
        .bytes.div_ceil(1024), .room / 1024
    )]
    Memory {
        /// How many there are.
        series: u64,
        /// What they would take.
        bytes: usize,
        /// What they may.
        room: usize,
    },
    /// More memory than there is for the points of a collection.
    #[error(
        "its {samples} samples take more than {} KiB of memory while they are read, which is what `limits.memory` has for that: raise it, or have the target tell less",
        .room / 1024
    )]
    Points {
        /// How many there are.
        samples: u64,
        /// What they may take.
        room: usize,
    },
}

impl Reason {
    /// Whether there would be none with more memory.
    pub fn is_memory(&self) -> bool {
        matches!(self, Reason::Memory { .. } | Reason::Points { .. })
    }
}

/// What a target's series may take of memory, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// What is known of them from one collection to the next.
    pub series: usize,
    /// The points of one collection.
    pub points: usize,
}

/// A collection that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// What was counted all the same.
    pub taken: Taken,
}

/// What is reported of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Report {
    /// Whether it succeeded.
    pub up: bool,
    /// How long it took.
    pub duration_s: f64,
    /// What was counted.
    pub taken: Taken,
    /// How long it may take.
    pub timeout_s: f64,
    /// Bytes of the body, decompressed; -1 if they were too many.
    pub body_bytes: i64,
}

/// The report's series: their names and what they say.
const REPORT: [(&str, &str); 8] = [
    ("up", "Whether the target could be scraped: 1 or 0."),
    ("scrape_duration_seconds", "How long the scrape took."),
    ("scrape_samples_scraped", "Samples that the target exposed."),
    ("scrape_samples_post_metric_relabeling", "Samples that metric relabelling left."),
    ("scrape_series_added", "Series that were not there in the scrape before."),
    ("scrape_timeout_seconds", "How long a scrape may take."),
    ("scrape_sample_limit", "Most samples that a scrape may have; 0: as many as there are."),
    ("scrape_body_size_bytes", "Bytes of the body, decompressed; -1: more than there may be."),
];
/// Those of them that are always there.
const REPORT_ALWAYS: usize = 5;

/// For points that are of no family.
const NO_FAMILY: Family<'static> = Family { name: "", help: "", unit: "", kind: Kind::Unknown };

/// The series of one target.
#[derive(Debug)]
pub struct Series {
    common: Arc<Common>,
    /// The target's labels.
    target: Vec<(String, String)>,
    cache: SeriesCache,
    /// The labels of the report's series.
    report: Vec<Vec<u8>>,
    /// Labels of series that were there under other settings, and end unless the next collection has them.
    left: Vec<Box<[u8]>>,
    /// A collection was refused and is not taken back yet.
    refused: bool,
    bound: Bound,
}

impl Series {
    /// Of a target with these labels.
    pub fn new(common: Arc<Common>, target: Vec<(String, String)>) -> Self {
        let count = if common.settings.extra_metrics { REPORT.len() } else { REPORT_ALWAYS };
        let of = |(name, _): &(&str, &str)| {
            let mut set = LabelSet::default();
            set.set(NAME, name);
            set.add_external(&pairs(&target));
            set.add_external(&pairs(&common.settings.outer));
            let mut labels = Vec::new();
            set.encode(&mut labels);
            labels
        };
        let report = REPORT.iter().take(count).map(of).collect();
        let cache = SeriesCache::new(TARGET_SERIES_MAX, TARGET_SERIES_BYTES_MAX);
        let bound = Bound { series: TARGET_SERIES_BYTES_MAX, points: usize::MAX };
        Series { common, target, cache, report, left: Vec::new(), refused: false, bound }
    }

    /// From now on a collection is refused that needs more memory than this.
    pub fn bound(&mut self, bound: Bound) {
        self.bound = bound;
        self.cache.bound(bound.series);
    }

    /// What is known of series takes so many bytes of memory.
    pub fn bytes(&self) -> usize {
        self.left.iter().fold(self.cache.bytes(), |sum, labels| sum + labels.len())
    }

    /// Forgets all series and gives their memory back. [`Series::fail`] has to be asked before.
    pub fn forget(&mut self) {
        self.cache = SeriesCache::new(TARGET_SERIES_MAX, self.bound.series);
        self.left = Vec::new();
        self.refused = false;
    }

    /// How many series are known.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Goes on for `old`, the same target under other settings: what was there then and is not in the next collection gets its stale markers with it.
    pub fn succeed(&mut self, mut old: Series) {
        let left = &mut self.left;
        old.gone(&mut |labels| left.push(labels.into()));
        left.extend(old.report.into_iter().filter(|labels| !self.report.contains(labels)).map(Vec::into_boxed_slice));
    }

    /// Counts what of a collection would have been taken that cannot be, as it was not read whole. [`Series::fail`] is to be asked then. `scratch` is as before.
    pub fn count(&mut self, samples: &Samples, time_ms: i64, scratch: &mut Points) -> Taken {
        self.take_back();
        let (mark, mut taken) = (scratch.mark(), Taken::default());
        // It is refused anyway.
        let _ = self.points(samples, time_ms, scratch, &mut taken);
        scratch.back_to(mark);
        self.refused = true;
        taken
    }

    /// Takes the collection back that was refused last.
    fn take_back(&mut self) {
        if std::mem::take(&mut self.refused) {
            let left = &mut self.left;
            self.cache.refuse(&mut |labels| left.push(labels.into()));
        }
    }

    /// Takes in a collection of `time_ms`, milliseconds since 1970. After an error `out` is as before, and [`Series::fail`] is to be asked.
    pub fn take(&mut self, samples: &Samples, time_ms: i64, out: &mut Points) -> Result<Taken, Refused> {
        self.take_back();
        let mark = out.mark();
        let mut taken = Taken::default();
        match self.points(samples, time_ms, out, &mut taken) {
            Ok(()) => {}
            Err(reason) => {
                self.refused = true;
                out.back_to(mark);
                return Err(Refused { reason, taken });
            }
        }
        out.family(&NO_FAMILY);
        for labels in self.cache.ended() {
            out.add(labels, marker(time_ms));
        }
        let cache = &self.cache;
        for labels in self.left.drain(..).filter(|labels| !cache.has(labels)) {
            out.add(&labels, marker(time_ms));
        }
        Ok(taken)
    }

    fn points(&mut self, samples: &Samples, time_ms: i64, out: &mut Points, taken: &mut Taken) -> Result<(), Reason> {
        // A forgotten series is one that is added when it comes back: as in Prometheus, after one collection without it.
        self.cache.begin(1);
        let Common { settings, rules, work } = &*self.common;
        // What is in it is made anew each time.
        let work = &mut *work.lock().unwrap_or_else(PoisonError::into_inner);
        let Limits { samples: limit, .. } = settings.limits;
        let mut exemplars = samples.exemplars().peekable();
        let mut family = None;
        let points = self.bound.points;
        let is_full = |out: &Points| out.memory() > points;
        for (at, sample) in samples.iter().enumerate() {
            taken.scraped += 1;
            let own = sample.time_ms.filter(|_| settings.honor_timestamps);
            let time = own.unwrap_or(time_ms);
            let mut problem = None;
            let mut make = |key: &[u8], labels: &mut Vec<u8>| match work.make(key, &self.target, settings, rules) {
                Ok(false) => false,
                Ok(true) => {
                    work.set.add_external(&pairs(&settings.outer));
                    work.set.encode(labels);
                    taken.added += 1;
                    true
                }
                Err(reason) => {
                    problem = Some(reason);
                    false
                }
            };
            let tracked = own.is_none() || settings.track_timestamps_staleness;
            let (again, is_kept) = match self.cache.get(sample.key, tracked, &mut make) {
                Known::Dropped => (false, false),
                Known::Again(_) => (true, true),
                Known::Labels(_) => (false, true),
            };
            if let Some(reason) = problem {
                // It is none that is dropped: the next collection is to look at it again.
                self.cache.forget_key(sample.key);
                return Err(reason);
            }
            if !is_kept {
                continue;
            }
            taken.kept += 1;
            // A collection that is too large is counted to its end.
            if limit != 0 && taken.kept > limit || self.cache.has_overflowed() || is_full(out) {
                continue;
            }
            if again && own.is_none() {
                taken.again += 1;
                continue;
            }
            if own.is_some_and(|own| own > time_ms.saturating_add(SAMPLE_AHEAD_MS_MAX)) {
                taken.ahead += 1;
                continue;
            }
            if !self.cache.is_newer(time, own.is_some()) {
                taken.not_newer += 1;
                continue;
            }
            if family != Some(sample.family) {
                family = Some(sample.family);
                out.family(&samples.family_at(sample.family).unwrap_or(NO_FAMILY));
            }
            let bits = if sample.value().is_nan() { NAN_BITS } else { sample.bits };
            // Whatever counts since a time to come is not known.
            let start_ms = if sample.start_ms <= time { sample.start_ms } else { 0 };
            out.add(self.cache.asked(), Point { bits, time_ms: time, start_ms });
            while let Some(exemplar) = exemplars.next_if(|exemplar| exemplar.sample <= at) {
                if exemplar.sample == at {
                    out.add_exemplar(exemplar.key, exemplar.bits, exemplar.time_ms);
                }
            }
        }
        if limit != 0 && taken.kept > limit {
            return Err(Reason::Samples { samples: taken.kept, limit });
        }
        if self.cache.has_overflowed() {
            if self.cache.len() >= TARGET_SERIES_MAX {
                return Err(Reason::Series);
            }
            let bytes = self.cache.bytes().saturating_add(self.cache.missing());
            return Err(Reason::Memory { series: taken.kept, bytes, room: self.bound.series });
        }
        if is_full(out) { Err(Reason::Points { samples: taken.kept, room: points }) } else { Ok(()) }
    }

    /// There was no collection, or it was refused: stale markers for all that was there.
    pub fn fail(&mut self, time_ms: i64, out: &mut Points) {
        out.family(&NO_FAMILY);
        self.gone(&mut |labels| out.add(labels, marker(time_ms)));
    }

    /// The target is gone: stale markers for all that was there, the report's series among them.
    pub fn end(&mut self, time_ms: i64, out: &mut Points) {
        self.fail(time_ms, out);
        for labels in &self.report {
            out.add(labels, marker(time_ms));
        }
    }

    /// The same for whoever gets nothing of the target any more, while others do.
    pub fn part(&self, time_ms: i64, out: &mut Points) {
        out.family(&NO_FAMILY);
        let there = self.cache.present().chain(self.left.iter().map(|labels| &**labels));
        for labels in there.chain(self.report.iter().map(Vec::as_slice)) {
            out.add(labels, marker(time_ms));
        }
    }

    /// Adds the report of a collection.
    pub fn report(&self, report: &Report, time_ms: i64, out: &mut Points) {
        let Taken { scraped, kept, added, .. } = report.taken;
        // Counts of samples are far below what a double has exactly.
        let values = [
            f64::from(u8::from(report.up)),
            report.duration_s,
            scraped as f64,
            kept as f64,
            added as f64,
            report.timeout_s,
            self.common.settings.limits.samples as f64,
            report.body_bytes as f64,
        ];
        for ((labels, (name, help)), value) in self.report.iter().zip(REPORT).zip(values) {
            out.family(&Family { name, help, unit: "", kind: Kind::Gauge });
            out.add(labels, Point { bits: value.to_bits(), time_ms, start_ms: 0 });
        }
    }

    /// All that is there is there no more.
    fn gone(&mut self, each: &mut dyn FnMut(&[u8])) {
        match std::mem::take(&mut self.refused) {
            true => self.cache.refuse(each),
            false => self.cache.end(each),
        }
        self.left.drain(..).for_each(|labels| each(&labels));
    }
}

impl Work {
    /// Makes the labels of a series, but for those of the host. `false`: a rule drops it.
    fn make(
        &mut self,
        key: &[u8],
        target: &[(String, String)],
        settings: &Settings,
        rules: &Rules,
    ) -> Result<bool, Reason> {
        let Work { set, map, scratch } = self;
        set.set_key(key);
        set.add_target(&pairs(target), settings.honor_labels);
        match rules.apply_to_series(set, map, scratch) {
            Outcome::Kept => {}
            Outcome::Dropped => return Ok(false),
            Outcome::NoName => return Err(Reason::NoName { series: name_of(key).to_owned() }),
        }
        let Limits { labels: limit, label_name_bytes, label_value_bytes, .. } = settings.limits;
        let series = || set.get(NAME).to_owned();
        let over = |len: u64, limit: u64| limit != 0 && len > limit;
        let labels = set.iter().count() as u64;
        if over(labels, limit) {
            return Err(Reason::Labels { series: series(), labels, limit });
        }
        for (label, value) in set.iter() {
            if over(label.len() as u64, label_name_bytes) {
                return Err(Reason::LabelName { series: series(), label: label.to_owned(), limit: label_name_bytes });
            }
            if over(value.len() as u64, label_value_bytes) {
                return Err(Reason::LabelValue { series: series(), label: label.to_owned(), limit: label_value_bytes });
            }
        }
        Ok(true)
    }
}

fn marker(time_ms: i64) -> Point {
    Point { bits: STALE_BITS, time_ms, start_ms: 0 }
}

fn pairs(labels: &[(String, String)]) -> Vec<(&str, &str)> {
    labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
