//! Of which families metadata was sent in the current interval: remote write 1.0 sends it beside the samples, now and then.
//!
//! Promises: a family is due once an interval; one that is known allocates nothing; bounded. Leaves to others: writing it.

use crate::base::limits::REMOTE_FAMILIES;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

/// Intervals after which a family that was not there is forgotten.
const KEEP: u32 = 10;

#[derive(Debug)]
struct Known {
    name: Box<str>,
    /// The interval in which it was sent last.
    sent: u32,
}

/// Names of families.
#[derive(Debug)]
pub(super) struct Families {
    table: HashTable<Known>,
    hasher: RandomState,
    interval: Duration,
    begun: Instant,
    now: u32,
}

impl Families {
    pub(super) fn new(interval: Duration) -> Self {
        let hasher = RandomState::default();
        Families { table: HashTable::new(), hasher, interval, begun: Instant::now(), now: 1 }
    }

    /// Begins the next interval, if it is time. To be called with each collection, so that what belongs together goes together.
    pub(super) fn begin(&mut self, now: Instant) {
        if now.saturating_duration_since(self.begun) < self.interval {
            return;
        }
        self.begun = now;
        self.now += 1;
        if self.now.is_multiple_of(KEEP) {
            let oldest = self.now - KEEP;
            self.table.retain(|known| known.sent >= oldest);
        }
    }

    /// Whether metadata of this family is to be sent now; it is, then.
    pub(super) fn is_due(&mut self, name: &str) -> bool {
        let hash = self.hasher.hash_one(name);
        if let Some(known) = self.table.find_mut(hash, |known| *known.name == *name) {
            return std::mem::replace(&mut known.sent, self.now) != self.now;
        }
        if self.table.len() >= REMOTE_FAMILIES {
            return false;
        }
        let Self { table, hasher, now, .. } = self;
        table.insert_unique(hash, Known { name: name.into(), sent: *now }, |known| hasher.hash_one(&*known.name));
        true
    }

    /// All are due again.
    pub(super) fn forget(&mut self) {
        self.table.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_due_once_an_interval() {
        let start = Instant::now();
        let interval = Duration::from_secs(60);
        let mut families = Families::new(interval);
        assert!(families.is_due("a") && families.is_due("b") && !families.is_due("a"));
        families.begin(start);
        assert!(!families.is_due("a"));
        for round in 1..30 {
            families.begin(start + interval * 2 * round);
            assert!(families.is_due("a") && !families.is_due("a"));
        }
        assert_eq!(families.table.len(), 1);
        families.forget();
        assert!(families.is_due("a"));
    }

    #[test]
    fn it_is_bounded() {
        let mut families = Families::new(Duration::from_secs(60));
        for number in 0..REMOTE_FAMILIES {
            assert!(families.is_due(&number.to_string()));
        }
        assert!(!families.is_due("one more"));
        assert_eq!(families.table.len(), REMOTE_FAMILIES);
    }
}
