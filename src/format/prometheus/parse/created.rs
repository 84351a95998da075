//! Since when counters count, by OpenMetrics: the `_created` samples of a family say it for the other samples with the same labels.
//!
//! They stay samples as well, as Prometheus has them. Promises: nothing is allocated once memory has grown; what is no time says nothing. Leaves to others:
//! what a start is worth.

use crate::model::samples::{Kind, Sample, Samples};
use foldhash::fast::FixedState;
use std::hash::BuildHasher;

/// Memory for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Created {
    /// Hashes of labels, the sample's place, milliseconds.
    said: Vec<(u64, usize, i64)>,
    starts: Vec<(usize, i64)>,
    hasher: FixedState,
}

impl Created {
    /// Gives the samples from `from` on their starts.
    pub(super) fn give(&mut self, samples: &mut Samples, from: usize) {
        self.starts.clear();
        let mut begin = from;
        while let Some(first) = samples.sample_at(begin) {
            let family = first.family;
            let same = |at: &usize| samples.sample_at(*at).is_some_and(|sample| sample.family == family);
            let end = (begin..).find(|at| !same(at)).unwrap_or(begin + 1);
            self.of_family(samples, begin, end);
            begin = end;
        }
        for (at, start_ms) in self.starts.drain(..) {
            samples.set_start(at, start_ms);
        }
    }

    fn of_family(&mut self, samples: &Samples, begin: usize, end: usize) {
        let Some(family) = samples.sample_at(begin).and_then(|sample| samples.family_at(sample.family)) else { return };
        // The label that tells the samples of one histogram or summary apart.
        let inner = match family.kind {
            Kind::Counter => "",
            Kind::Histogram => "le",
            Kind::Summary => "quantile",
            _ => return,
        };
        let is_created = |sample: &Sample| sample.name().strip_prefix(family.name) == Some("_created");
        let all = || (begin..end).filter_map(|at| Some((at, samples.sample_at(at)?)));
        self.said.clear();
        for (at, sample) in all().filter(|(_, sample)| is_created(sample)) {
            let ms = (sample.value() * 1000.0).round();
            // An `as` cast saturates; what is no number, or before 1970, says nothing.
            if ms.is_finite() && ms >= 1.0 {
                self.said.push((self.hash(&sample, inner), at, ms as i64));
            }
        }
        if self.said.is_empty() {
            return;
        }
        self.said.sort_unstable();
        for (at, sample) in all().filter(|(_, sample)| !is_created(sample)) {
            let hash = self.hash(&sample, inner);
            let first = self.said.partition_point(|(other, ..)| *other < hash);
            let equal = self.said.iter().skip(first).take_while(|(other, ..)| *other == hash);
            let is_same = |other: usize| {
                samples.sample_at(other).is_some_and(|other| labels(&other, inner).eq(labels(&sample, inner)))
            };
            if let Some((.., start_ms)) = equal.filter(|(_, other, _)| is_same(*other)).last() {
                self.starts.push((at, *start_ms));
            }
        }
    }

    fn hash(&self, sample: &Sample, inner: &'static str) -> u64 {
        labels(sample, inner).fold(0, |hash, label| self.hasher.hash_one((hash, label)))
    }
}

/// The labels that tell whose a sample is.
fn labels<'a>(sample: &Sample<'a>, inner: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    sample.labels().filter(move |(name, value)| *name != inner && !value.is_empty())
}
