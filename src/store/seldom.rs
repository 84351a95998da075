//! When to speak of what happens again and again: at once when it is first met, and then seldom.
//!
//! Promises: of each kind at most once in [`REPORT_S`], also if the clock is set back. Leaves to others: counting, and what to say.

use crate::base::limits::REPORT_S;

/// When each of some kinds was spoken of last, seconds since 1970.
#[derive(Debug)]
pub struct Seldom<const KINDS: usize>([Option<i64>; KINDS]);

impl<const KINDS: usize> Default for Seldom<KINDS> {
    fn default() -> Self {
        Seldom([None; KINDS])
    }
}

impl<const KINDS: usize> Seldom<KINDS> {
    /// Whether it is time to speak of this kind; if so, it is spoken of now. Never of a kind that there is not.
    pub fn is_due(&mut self, kind: usize, now_s: i64) -> bool {
        let Some(last) = self.0.get_mut(kind) else { return false };
        let due = last.is_none_or(|then| now_s.saturating_sub(then) >= REPORT_S || now_s < then);
        if due {
            *last = Some(now_s);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_at_once_and_then_after_a_while() {
        let mut seldom = Seldom::<2>::default();
        assert!(seldom.is_due(0, 1_000));
        assert!(!seldom.is_due(0, 1_000 + REPORT_S - 1));
        assert!(seldom.is_due(1, 1_001), "kinds know nothing of each other");
        assert!(seldom.is_due(0, 1_000 + REPORT_S));
        assert!(seldom.is_due(0, 5), "the clock was set back");
        assert!(!seldom.is_due(2, 0));
    }
}
