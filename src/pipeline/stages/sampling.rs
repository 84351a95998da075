//! `sampling`: a random part of the entries.
//!
//! ```yaml
//! - sampling: { rate: 0.1, drop_counter_reason: sampling_stage }
//! ```
//!
//! Chance is a function of an entry's time and text, so that one that is read again after a crash has the same luck.

use super::Stage;
use crate::pipeline::entry::Entry;
use crate::pipeline::program::{Context, Flow};
use foldhash::fast::FixedState;
use std::hash::{BuildHasher, Hasher};

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Sampling {
    /// The part that is kept: entries whose hash is below.
    below: u64,
    all: bool,
    reason: u16,
}

impl Sampling {
    /// Keeps the part `rate`, from 0 to 1.
    pub(in crate::pipeline) fn new(rate: f64, reason: u16) -> Self {
        // A cast from f64 saturates.
        Sampling { below: (rate * u64::MAX as f64) as u64, all: rate >= 1.0, reason }
    }
}

impl Stage for Sampling {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        let mut hasher = FixedState::with_seed(0x6c75_6767).build_hasher();
        hasher.write_i64(entry.time_ns);
        hasher.write(entry.line_text().as_bytes());
        if self.all || hasher.finish() < self.below { Flow::Next } else { Flow::Drop(self.reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;

    #[test]
    fn about_the_part_that_was_asked_for() {
        let kept = |rate: f64| {
            let mut stage = Sampling::new(rate, 1);
            (0..10_000).filter(|i| once(&mut stage, &format!("line {i}"), &[], |_| ()).0 == Flow::Next).count()
        };
        assert_eq!((kept(0.0), kept(1.0)), (0, 10_000));
        assert!((2_300..2_700).contains(&kept(0.25)), "{}", kept(0.25));
    }
}
