//! What a tick has told, and what it may not tell: a series twice, by a file that says something twice or a text file that says what a collector says; and a
//! counter below zero, by an attribute that may have a sign where a device's driver is wrong.
//!
//! Promises: of a series that is there twice the first stays; in the steady state nothing is allocated. Leaves to others: to say so.

use crate::model::samples::{Kind, Mark, Samples};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// The series that a tick has told.
#[derive(Default)]
pub(super) struct Told {
    hasher: FixedState,
    /// Places of their samples.
    places: HashTable<u32>,
}

impl Told {
    /// Begins a tick.
    pub(super) fn clear(&mut self) {
        self.places.clear();
    }

    /// Takes in what was added since the mark, and takes out what may not be told; what that is, of the first such series. Counters of text files may be
    /// anything (`free`).
    pub(super) fn take(&mut self, samples: &mut Samples, since: Mark, free: bool) -> Option<String> {
        let mut at = since.samples();
        let mut wrong = None;
        while let Some(sample) = samples.sample_at(at) {
            let hash_of = |key: &[u8]| self.hasher.hash_one(key);
            let hash = hash_of(sample.key);
            let is_same = |place: &u32| samples.sample_at(*place as usize).is_some_and(|other| other.key == sample.key);
            if self.places.find(hash, is_same).is_some() {
                wrong.get_or_insert_with(|| format!("a series of {} is told twice: the first stays", sample.name()));
                samples.remove(at);
                continue;
            }
            let is_counter = || samples.family_at(sample.family).is_some_and(|family| family.kind == Kind::Counter);
            if !free && sample.value() < 0.0 && is_counter() {
                wrong.get_or_insert_with(|| format!("{} is below zero", sample.name()));
                samples.remove(at);
                continue;
            }
            let place = u32::try_from(at).unwrap_or(u32::MAX);
            let hash_at = |place: &u32| samples.sample_at(*place as usize).map_or(0, |other| hash_of(other.key));
            self.places.insert_unique(hash, place, hash_at);
            at += 1;
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_series_stays() {
        let (mut told, mut samples) = (Told::default(), Samples::default());
        for _ in 0..2 {
            told.clear();
            samples.clear();
            samples.one("a", "", Kind::Gauge, 1.0);
            assert_eq!(told.take(&mut samples, Mark::default(), false), None);
            let mark = samples.mark();
            samples.family("b", "", Kind::Gauge);
            for number in 0..300 {
                samples.add(&[("x", &number.to_string())], 2.0);
            }
            samples.one("a", "", Kind::Gauge, 3.0);
            samples.one("a", "", Kind::Gauge, 4.0);
            samples.one("c", "", Kind::Gauge, 5.0);
            let wrong = told.take(&mut samples, mark, false);
            assert_eq!(wrong.as_deref(), Some("a series of a is told twice: the first stays"));
            let left: Vec<_> = samples.iter().map(|sample| (sample.name(), sample.value())).collect();
            assert_eq!((left.len(), left[0], left[301]), (302, ("a", 1.0), ("c", 5.0)));
        }
    }

    #[test]
    fn counters_are_not_below_zero() {
        for (free, left) in [(false, 1), (true, 2)] {
            let (mut told, mut samples) = (Told::default(), Samples::default());
            samples.one("a_total", "", Kind::Counter, -1.0);
            samples.one("b", "", Kind::Gauge, -1.0);
            let wrong = told.take(&mut samples, Mark::default(), free);
            assert_eq!((wrong.as_deref(), samples.len()), ((!free).then_some("a_total is below zero"), left));
        }
    }
}
