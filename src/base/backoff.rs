//! Pauses between attempts: exponential, capped, with jitter.
//!
//! Promises: a pause lies between half and the whole of the current step, so that many agents which lost the same
//! endpoint do not return as one; it never exceeds the cap. Leaves to others: sleeping.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// Doubling pauses from `min` to `max`.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    step: Duration,
    random: u64,
}

impl Backoff {
    /// Starts at `min`, doubles up to `max`. A `max` below `min` counts as `min`.
    pub fn new(min: Duration, max: Duration) -> Self {
        // The standard library's hasher keys are random for each process; that is all the randomness jitter needs.
        let random = RandomState::new().build_hasher().finish() | 1;
        Backoff { min, max: max.max(min), step: min, random }
    }

    /// The next pause, and a doubled step for the one after.
    pub fn next_pause(&mut self) -> Duration {
        let step = self.step;
        self.step = step.saturating_mul(2).min(self.max);
        // xorshift64: jitter needs spread, not secrecy.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let half = step / 2;
        let permille = u32::try_from(self.random % 1001).unwrap_or(0);
        half + half.saturating_mul(permille) / 1000
    }

    /// Back to the first step, after a success.
    pub fn reset(&mut self) {
        self.step = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_stay_within_half_of_the_step() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(1500));
        for step in [100, 200, 400, 800, 1500, 1500, 1500] {
            let pause = backoff.next_pause();
            assert!(pause >= Duration::from_millis(step / 2), "{pause:?} of {step}");
            assert!(pause <= Duration::from_millis(step), "{pause:?} of {step}");
        }
        backoff.reset();
        assert!(backoff.next_pause() <= Duration::from_millis(100));
    }
}
