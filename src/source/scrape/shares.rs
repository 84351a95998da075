//! Who may remember how much of series: the share of `limits.memory` that all targets have together.
//!
//! A target's loop has a [`Place`] here. Before it takes a scrape in it asks how much there is for it, afterwards it says what it holds. Where there is not enough the
//! largest give way, those that hold clearly more than the one that asks needs; if there is none it is refused itself. So one huge target never costs a small one its scrapes, and
//! which of two is refused does not depend on who came first.
//!
//! Promises: what all hold is within the bound, but for the moment in which those that give way have not run yet: then as much again as they hold. Leaves to others:
//! what giving way means (`turn`), bodies (`room`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Who holds more by this part than another one needs gives way to it: 1/8. Two of nearly the same size do not take turns.
const CLEARLY_MORE: usize = 8;

/// What all targets hold.
#[derive(Debug)]
pub(super) struct Shares(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    next: u64,
    places: BTreeMap<u64, At>,
}

#[derive(Debug, Default)]
struct At {
    bytes: usize,
    /// It is to give way, and has not yet.
    leaves: bool,
    told: Arc<Notify>,
}

/// One target's place.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    shares: Arc<Shares>,
    told: Arc<Notify>,
}

impl Shares {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Shares(Mutex::new(Inner { most, next: 0, places: BTreeMap::new() })))
    }

    /// From now on it is so much. If that is less than is held the largest give way.
    pub(super) fn resize(&self, most: usize) {
        let mut inner = self.lock();
        inner.most = most;
        while inner.others(None) > most
            && let Some(largest) = inner.places.values_mut().filter(|at| !at.leaves).max_by_key(|at| at.bytes)
        {
            largest.leave();
        }
    }

    /// How much all may hold.
    pub(super) fn most(&self) -> usize {
        self.lock().most
    }

    pub(super) fn place(self: &Arc<Self>) -> Place {
        let mut inner = self.lock();
        let id = inner.next;
        inner.next += 1;
        let told = Arc::clone(&inner.places.entry(id).or_default().told);
        Place { id, shares: Arc::clone(self), told }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Numbers that are replaced; there is nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What all but this one hold, without those that give way.
    fn others(&self, id: Option<u64>) -> usize {
        let others = self.places.iter().filter(|(other, at)| Some(**other) != id && !at.leaves);
        others.fold(0, |sum: usize, (_, at)| sum.saturating_add(at.bytes))
    }
}

impl At {
    fn leave(&mut self) {
        self.leaves = true;
        self.told.notify_one();
    }
}

impl Place {
    /// How much this target may hold now.
    pub(super) fn room(&self) -> usize {
        let inner = self.shares.lock();
        inner.most.saturating_sub(inner.others(Some(self.id)))
    }

    /// It holds so much now.
    pub(super) fn holds(&self, bytes: usize) {
        if let Some(at) = self.shares.lock().places.get_mut(&self.id) {
            at.bytes = bytes;
            // Whoever was to give way and holds nothing has done so.
            at.leaves &= bytes > 0;
        }
    }

    /// Has larger ones give way so that this one may hold `bytes`. `false`: it may not.
    pub(super) fn make_room(&self, bytes: usize) -> bool {
        let mut inner = self.shares.lock();
        let mut over = inner.others(Some(self.id)).saturating_add(bytes).saturating_sub(inner.most);
        let is_larger = |at: &At| at.bytes - at.bytes / CLEARLY_MORE > bytes;
        let mut larger: Vec<(u64, usize)> = inner
            .places
            .iter()
            .filter(|(id, at)| **id != self.id && !at.leaves && is_larger(at))
            .map(|(id, at)| (*id, at.bytes))
            .collect();
        larger.sort_unstable_by_key(|(_, held)| std::cmp::Reverse(*held));
        let mut leave = Vec::new();
        for (id, held) in larger {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(held);
            leave.push(id);
        }
        if over > 0 {
            return false;
        }
        for id in leave {
            if let Some(at) = inner.places.get_mut(&id) {
                at.leave();
            }
        }
        true
    }

    /// Returns when it has to give way.
    pub(super) async fn must_leave(&self) {
        loop {
            if self.shares.lock().places.get(&self.id).is_some_and(|at| at.leaves) {
                return;
            }
            self.told.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shares.lock().places.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is to give way; it does so then.
    fn leaves(place: &Place) -> bool {
        let leaves = place.shares.lock().places[&place.id].leaves;
        if leaves {
            place.holds(0);
        }
        leaves
    }

    #[test]
    fn the_largest_gives_way() {
        let shares = Shares::new(100);
        let [huge, large, small] = [(); 3].map(|()| shares.place());
        assert_eq!(huge.room(), 100);
        huge.holds(60);
        large.holds(40);
        assert_eq!((huge.room(), large.room(), small.room()), (60, 40, 0));
        // One that is as large as those that are there is refused, and nobody gives way.
        assert!(!small.make_room(60) && !leaves(&huge) && !leaves(&large));
        assert!(!small.make_room(101));
        assert!(small.make_room(30));
        small.holds(30);
        // Both know that it goes, before it has.
        assert_eq!(large.room(), 70);
        assert!(leaves(&huge) && !leaves(&large));
        assert_eq!((huge.room(), large.room(), small.room()), (30, 70, 60));
        assert!(!huge.make_room(60), "it does not come back as long as the others are there");
        drop(large);
        assert_eq!(huge.room(), 70);
    }

    #[test]
    fn nobody_gives_way_in_vain() {
        let shares = Shares::new(100);
        let places: Vec<_> = (0..5).map(|_| shares.place()).collect();
        places.iter().take(4).for_each(|place| place.holds(25));
        assert!(!places[4].make_room(24), "nobody is clearly larger");
        assert!(places[4].make_room(20));
        assert_eq!(places.iter().filter(|place| leaves(place)).count(), 1);
    }

    #[test]
    fn less_memory_sends_the_largest_away() {
        let shares = Shares::new(100);
        let [one, other, third] = [(); 3].map(|()| shares.place());
        one.holds(50);
        other.holds(30);
        third.holds(10);
        shares.resize(45);
        assert!(leaves(&one) && !leaves(&other) && !leaves(&third));
        shares.resize(5);
        assert!(leaves(&other) && leaves(&third));
    }

    #[tokio::test]
    async fn who_gives_way_is_told() {
        let shares = Shares::new(10);
        let [one, other] = [(); 2].map(|()| shares.place());
        one.holds(10);
        let asks = async { assert!(other.make_room(3)) };
        tokio::join!(one.must_leave(), asks);
    }
}
