//! The bound of what is in flight: bytes charged when a batch is sealed and given back when it is gone.
//!
//! The whole is divided into shares, one for each set of endpoints: what one set does not take never uses up the room of another.
//!
//! Promises: a charge is given back exactly once, whatever happens to the batch, and giving back wakes the source that
//! may be waiting for room. Leaves to others: waiting (a source asks [`Budget::has_room`] before it reads).

use crate::base::metrics::Gauge;
use crate::base::wake::Wake;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A bound on bytes, or a share of one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget(Arc<State>);

#[derive(Debug)]
struct State {
    max: AtomicU64,
    used: AtomicU64,
    shown: Gauge,
    whole: Option<Budget>,
}

/// Bytes taken from a budget; dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    bytes: u64,
    wake: Wake,
}

impl Budget {
    /// A budget of `max` bytes; `shown` follows what is used.
    pub fn new(max: u64, shown: Gauge) -> Self {
        Budget(Arc::new(State { max: AtomicU64::new(max), used: AtomicU64::new(0), shown, whole: None }))
    }

    /// One of `shares` equal parts. What it uses counts in the whole, too.
    pub fn share(&self, shares: usize) -> Self {
        let max = self.max() / (shares.max(1) as u64);
        let state = State {
            max: AtomicU64::new(max),
            used: AtomicU64::new(0),
            shown: Gauge::default(),
            whole: Some(self.clone()),
        };
        Budget(Arc::new(state))
    }

    fn add(&self, bytes: u64) {
        let before = self.0.used.fetch_add(bytes, Ordering::AcqRel);
        self.0.shown.set((before + bytes) as f64);
        if let Some(whole) = &self.0.whole {
            whole.add(bytes);
        }
    }

    fn subtract(&self, bytes: u64) {
        let before = self.0.used.fetch_sub(bytes, Ordering::AcqRel);
        self.0.shown.set(before.saturating_sub(bytes) as f64);
        if let Some(whole) = &self.0.whole {
            whole.subtract(bytes);
        }
    }

    /// Whether more may be read. A single batch may overshoot the bound by its own size.
    pub fn has_room(&self) -> bool {
        // Shares can overshoot, and what was taken before a share was made smaller stays taken: the whole is bounded all the same, so
        // far from its size that no share has to wait for another one as long as they are used as they were made. Half of its own size a share
        // has in any case: others that hold what a larger whole gave them do not stop it.
        let (used, max) = (self.used(), self.max());
        used < max / 2 || (used < max && self.0.whole.as_ref().is_none_or(|whole| whole.used() / 2 < whole.max()))
    }

    /// The bound, bytes.
    pub fn max(&self) -> u64 {
        self.0.max.load(Ordering::Relaxed)
    }

    /// Changes the bound to `max` bytes. What is taken already stays taken.
    pub fn resize(&self, max: u64) {
        self.0.max.store(max, Ordering::Relaxed);
    }

    /// Bytes in flight.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Acquire)
    }

    /// Whether it is short: more than half of it is used.
    pub fn is_short(&self) -> bool {
        self.used() > self.max() / 2
    }

    /// Whether this is the same budget, and not merely one of the same size.
    pub fn is(&self, other: &Budget) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Takes `bytes`; `wake` is woken when they come back.
    pub fn charge(&self, bytes: u64, wake: &Wake) -> Charge {
        self.add(bytes);
        Charge { budget: self.clone(), bytes, wake: wake.clone() }
    }
}

impl Charge {
    /// How much it is, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The budget, or the share of one, that it is taken from.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.subtract(self.bytes);
        self.wake.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_room_whatever_others_hold_from_before() {
        let (whole, wake) = (Budget::new(1_000, Gauge::default()), Wake::new().unwrap());
        let (one, two) = (whole.share(2), whole.share(2));
        let held = one.charge(500, &wake);
        // The memory is made smaller: the one holds more than twice the whole.
        whole.resize(200);
        one.resize(100);
        two.resize(100);
        assert!(!one.has_room() && two.has_room());
        let own = two.charge(60, &wake);
        assert!(!two.has_room(), "the whole is over");
        drop(held);
        assert!(one.has_room() && two.has_room());
        drop(own);
    }
}
