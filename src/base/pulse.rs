//! A sign of life: one side asks, a thread answers when it comes around.
//!
//! Promises: asking and answering never wait; an answer counts for all that was asked before it. Leaves to others: waking the thread, and what
//! no answer means.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the two sides share. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    asked: AtomicU64,
    answered: AtomicU64,
}

impl Pulse {
    /// Asks. The thread has to be woken behind this.
    pub fn ask(&self) {
        self.0.asked.fetch_add(1, Ordering::Release);
    }

    /// Answers what was asked. For each turn of a loop: without a question it is two loads.
    pub fn answer(&self) {
        let asked = self.0.asked.load(Ordering::Acquire);
        if self.0.answered.load(Ordering::Relaxed) != asked {
            self.0.answered.store(asked, Ordering::Release);
        }
    }

    /// Whether all that was asked is answered.
    pub fn is_answered(&self) -> bool {
        self.0.answered.load(Ordering::Acquire) == self.0.asked.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_what_was_asked_before() {
        let pulse = Pulse::default();
        assert!(pulse.is_answered());
        let thread = pulse.clone();
        pulse.ask();
        pulse.ask();
        assert!(!pulse.is_answered());
        thread.answer();
        assert!(pulse.is_answered());
        pulse.ask();
        assert!(!pulse.is_answered());
    }
}
