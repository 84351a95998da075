//! Bounds on lines and bytes a second: token buckets on a monotonic clock that the caller brings.
//!
//! A bucket holds what a burst may have and fills at the rate. Who wants more than it holds waits, or goes without. A single line that is
//! larger than a burst passes when the bucket is full and is paid off afterwards: it would never pass otherwise.
//!
//! Promises: what is taken within its allowance is, over any interval, never more than the burst and the rate times the interval; no clock
//! is read, no thread waits. Leaves to others: waiting, counting what is dropped.

use std::time::{Duration, Instant};

/// What to do with what is over the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenOver {
    /// It waits.
    #[default]
    Block,
    /// It is dropped and counted.
    Drop,
}

/// A bound a second. At least one of `lines` and `bytes` is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Lines a second, not 0.
    pub lines: Option<u64>,
    /// Bytes a second, not 0.
    pub bytes: Option<u64>,
    /// So much time's worth may come at once.
    pub burst: Duration,
    /// What to do with more.
    pub when_over: WhenOver,
}

/// What may be taken now; `u64::MAX`: no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Lines.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Allowance {
    /// No bound.
    pub const ALL: Allowance = Allowance { lines: u64::MAX, bytes: u64::MAX };

    /// Whether nothing may be taken.
    pub fn is_empty(self) -> bool {
        self.lines == 0 || self.bytes == 0
    }
}

/// The buckets of one [`RateLimit`].
#[derive(Debug, Clone)]
pub struct Rate {
    limit: RateLimit,
    lines: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Rate {
    /// Full buckets.
    pub fn new(limit: RateLimit, now: Instant) -> Self {
        let bucket = |per_s: Option<u64>| per_s.map(|per_s| Bucket::new(per_s, limit.burst, now));
        Rate { limit, lines: bucket(limit.lines), bytes: bucket(limit.bytes) }
    }

    /// What it was made of.
    pub fn limit(&self) -> RateLimit {
        self.limit
    }

    /// What may be taken now.
    pub fn allowance(&mut self, now: Instant) -> Allowance {
        let whole = |bucket: &mut Option<Bucket>| bucket.as_mut().map_or(u64::MAX, |bucket| bucket.holds(now));
        Allowance { lines: whole(&mut self.lines), bytes: whole(&mut self.bytes) }
    }

    /// When there is enough for it to be worth while to go on, so that whoever waits is not woken for each line; `None`: now.
    pub fn next_share(&mut self, now: Instant) -> Option<Instant> {
        let share = |bucket: &mut Option<Bucket>| bucket.as_mut().and_then(|bucket| bucket.when(bucket.share, now));
        [share(&mut self.lines), share(&mut self.bytes)].into_iter().flatten().max()
    }

    /// When so much may be taken; `None`: now. What is more than a burst may be taken from full buckets.
    pub fn when(&mut self, lines: u64, bytes: u64, now: Instant) -> Option<Instant> {
        let one = |bucket: &mut Option<Bucket>, wanted: u64| {
            bucket.as_mut().and_then(|bucket| bucket.when(i128::from(wanted).saturating_mul(TOKEN), now))
        };
        [one(&mut self.lines, lines), one(&mut self.bytes, bytes)].into_iter().flatten().max()
    }

    /// Takes so much, also more than there is: the next has to wait the longer.
    pub fn take(&mut self, lines: u64, bytes: u64) {
        for (bucket, taken) in [(&mut self.lines, lines), (&mut self.bytes, bytes)] {
            if let Some(bucket) = bucket {
                bucket.level -= i128::from(taken).saturating_mul(TOKEN);
            }
        }
    }
}

/// Levels are counted in billionths of a line or byte, so that a nanosecond's filling is a whole number. 128 bits hold any of it.
const TOKEN: i128 = 1_000_000_000;
/// The share that is worth going on for, as a part of a second and of the burst: twenty wake-ups a second at most.
const SHARE_NS: i128 = 50_000_000;

/// Rounded up to whole lines or bytes.
fn whole(level: i128) -> i128 {
    (level + TOKEN - 1) / TOKEN * TOKEN
}

#[derive(Debug, Clone)]
struct Bucket {
    per_s: i128,
    full: i128,
    share: i128,
    level: i128,
    at: Instant,
}

impl Bucket {
    fn new(per_s: u64, burst: Duration, now: Instant) -> Self {
        let per_s = i128::from(per_s.max(1));
        let burst_ns = i128::try_from(burst.as_nanos()).unwrap_or(i128::MAX / TOKEN);
        let full = per_s.saturating_mul(burst_ns).max(TOKEN);
        // Whole ones: only those can be taken, and what is waited for beyond them would be waited for again and again.
        let share = whole((per_s * SHARE_NS).min(full / 2)).max(TOKEN);
        Bucket { per_s, full, share, level: full, at: now }
    }

    fn fill(&mut self, now: Instant) {
        let passed = i128::try_from(now.saturating_duration_since(self.at).as_nanos()).unwrap_or(i128::MAX / TOKEN);
        self.level = self.level.saturating_add(self.per_s.saturating_mul(passed)).min(self.full);
        self.at = self.at.max(now);
    }

    fn holds(&mut self, now: Instant) -> u64 {
        self.fill(now);
        u64::try_from((self.level / TOKEN).max(0)).unwrap_or(u64::MAX)
    }

    fn when(&mut self, wanted: i128, now: Instant) -> Option<Instant> {
        self.fill(now);
        let missing = wanted.min(self.full) - self.level;
        if missing <= 0 {
            return None;
        }
        let ns = u64::try_from((missing + self.per_s - 1) / self.per_s).unwrap_or(u64::MAX);
        // What is beyond the clock's range is as good as never.
        Some(now.checked_add(Duration::from_nanos(ns)).unwrap_or(now + Duration::from_secs(3600)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limit(lines: Option<u64>, bytes: Option<u64>, burst_ms: u64) -> RateLimit {
        RateLimit { lines, bytes, burst: Duration::from_millis(burst_ms), when_over: WhenOver::Block }
    }

    #[test]
    fn a_line_above_the_burst_passes_and_is_paid_off() {
        let start = Instant::now();
        let mut rate = Rate::new(limit(None, Some(1000), 1000), start);
        assert_eq!(rate.when(1, 5000, start), None);
        rate.take(1, 5000);
        assert!(rate.allowance(start).is_empty());
        assert_eq!(rate.when(1, 1, start), Some(start + Duration::from_micros(4_001_000)));
        assert_eq!(rate.next_share(start), Some(start + Duration::from_millis(4050)));
        assert_eq!(rate.allowance(start + Duration::from_secs(5)), Allowance { lines: u64::MAX, bytes: 1000 });
    }

    #[test]
    fn the_scarcer_of_the_two_counts() {
        let start = Instant::now();
        let mut rate = Rate::new(limit(Some(10), Some(1000), 1000), start);
        rate.take(10, 100);
        assert_eq!(rate.when(1, 1, start), Some(start + Duration::from_millis(100)));
        assert_eq!(rate.allowance(start), Allowance { lines: 0, bytes: 900 });
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate_over_any_interval(
            per_s in 1u64..100_000,
            burst_ms in 100u64..5_000,
            steps in prop::collection::vec((0u64..3_000_000, 0u64..50_000), 1..60),
        ) {
            let start = Instant::now();
            let mut rate = Rate::new(limit(Some(per_s), None, burst_ms), start);
            let (mut now, mut taken) = (start, Vec::new());
            for (us, wanted) in steps {
                now += Duration::from_micros(us);
                let granted = wanted.min(rate.allowance(now).lines);
                rate.take(granted, 0);
                taken.push((now, granted));
            }
            for first in 0..taken.len() {
                let mut sum = 0;
                for (at, granted) in &taken[first..] {
                    sum += granted;
                    let ns = u128::from(burst_ms) * 1_000_000 + (*at - taken[first].0).as_nanos();
                    let most = (u128::from(per_s) * ns / 1_000_000_000).max(u128::from(per_s) * (ns - u128::from(burst_ms) * 1_000_000) / 1_000_000_000 + 1);
                    prop_assert!(u128::from(sum) <= most + 1, "{sum} of {most}");
                }
            }
        }

        #[test]
        fn a_steady_demand_gets_nearly_all_of_it(
            per_s in 1u64..1_000_000,
            burst_ms in 100u64..5_000,
            late_us in prop::collection::vec(0u64..2_000, 1..50),
        ) {
            let start = Instant::now();
            let mut rate = Rate::new(limit(None, Some(per_s), burst_ms), start);
            let end = start + Duration::from_secs(60);
            let (mut now, mut sum, mut wakes) = (start, 0, 0usize);
            while now < end {
                let granted = rate.allowance(now).bytes;
                rate.take(0, granted);
                sum += granted;
                let next = rate.next_share(now);
                prop_assert!(next.is_some(), "it would not wait");
                now = next.unwrap_or(now) + Duration::from_micros(late_us[wakes % late_us.len()]);
                wakes += 1;
            }
            prop_assert!(sum * 100 >= per_s * 60 * 95, "{sum} of {}", per_s * 60);
            prop_assert!(wakes <= 60 * 21, "{wakes} wake-ups");
        }
    }

    #[test]
    fn small_rates_do_not_wake_for_parts_of_a_line() {
        for per_s in 1..500 {
            for burst_ms in [100, 101, 133, 250, 1_000] {
                let start = Instant::now();
                let mut rate = Rate::new(limit(Some(per_s), None, burst_ms), start);
                let (mut now, mut sum, mut wakes) = (start, 0, 0);
                while now < start + Duration::from_secs(60) {
                    let granted = rate.allowance(now).lines;
                    rate.take(granted, 0);
                    sum += granted;
                    now = rate.next_share(now).expect("all is taken");
                    wakes += 1;
                }
                assert!(
                    sum >= per_s * 60 && wakes <= 60 * 20 + 1,
                    "{per_s}/s, {burst_ms} ms: {sum} lines, {wakes} wake-ups"
                );
            }
        }
    }
}
