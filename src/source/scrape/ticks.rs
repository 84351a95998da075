//! When a target is scraped: at times that are the same after a restart, spread over the interval by a hash of the target.
//!
//! Promises: ticks are at even distances of the wall clock, so that nothing drifts, and a clock that is set moves them with it. Leaves to others: reading clocks.

use crate::base::limits::{SCRAPE_SNAP_MS, SCRAPE_SNAP_SHARE};
use std::time::Duration;

/// The ticks of one target, milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticks {
    interval_ms: i64,
    offset_ms: i64,
}

impl Ticks {
    /// Ticks at this distance, which is 1 ms at least; `hash` says where in it.
    pub(super) fn new(interval: Duration, hash: u64) -> Self {
        let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
        let offset = hash.checked_rem(interval_ms as u64).unwrap_or(0);
        Ticks { interval_ms, offset_ms: offset as i64 }
    }

    /// The distance, milliseconds.
    pub(super) fn interval_ms(&self) -> i64 {
        self.interval_ms
    }

    /// The first tick behind a time.
    pub(super) fn after(&self, now_ms: i64) -> i64 {
        let since = now_ms.saturating_sub(self.offset_ms).rem_euclid(self.interval_ms);
        now_ms.saturating_add(self.interval_ms - since)
    }

    /// The time that a scrape has which begins at `now_ms` for this tick: that of the tick if it is near enough.
    pub(super) fn snap(&self, now_ms: i64, tick_ms: i64) -> i64 {
        let tolerance = SCRAPE_SNAP_MS.min(self.interval_ms / SCRAPE_SNAP_SHARE);
        if now_ms.saturating_sub(tick_ms).saturating_abs() <= tolerance { tick_ms } else { now_ms }
    }

    /// How many ticks went by within this time.
    pub(super) fn missed(&self, took: Duration) -> u64 {
        u64::try_from(took.as_millis()).unwrap_or(u64::MAX) / self.interval_ms as u64
    }
}

/// A hash of texts that is the same everywhere and always.
pub(super) fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes: Vec<u8> = parts.into_iter().flat_map(|part| part.bytes().chain([0xff])).collect();
    let hash = hash_bytes(&bytes);
    // Its low bits alone say little of texts that differ at their ends.
    hash ^ hash >> 32
}

/// FNV-1a.
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_even_and_spread() {
        let ticks = Ticks::new(Duration::from_secs(15), 4_000);
        assert_eq!(ticks.after(0), 4_000);
        assert_eq!(ticks.after(4_000), 19_000);
        assert_eq!(ticks.after(18_999), 19_000);
        assert_eq!(ticks.after(-1), 4_000);
        assert_eq!([ticks.missed(Duration::from_millis(14_999)), ticks.missed(Duration::from_secs(31))], [0, 2]);
        let mut seconds = [0; 15];
        for i in 0..1500 {
            let tick = Ticks::new(Duration::from_secs(15), hash(["http://10.0.0.1:9100/metrics", &i.to_string()]));
            seconds[(tick.after(0) - 1) as usize / 1000] += 1;
        }
        assert!(seconds.iter().all(|count| (50..200).contains(count)), "{seconds:?}");
    }

    #[test]
    fn near_a_tick_is_at_it() {
        let ticks = Ticks::new(Duration::from_secs(15), 0);
        for (now, expected) in
            [(15_000, 15_000), (15_002, 15_000), (14_998, 15_000), (15_003, 15_003), (14_997, 14_997)]
        {
            assert_eq!(ticks.snap(now, 15_000), expected);
        }
        let short = Ticks::new(Duration::from_millis(100), 0);
        assert_eq!((short.snap(101, 100), short.snap(102, 100)), (100, 102));
    }

    proptest! {
        #[test]
        fn the_next_tick_is_ahead_and_no_further_than_the_interval(now: i64, interval_ms in 1..u64::from(u32::MAX), hash: u64) {
            let now = now / 4;
            let ticks = Ticks::new(Duration::from_millis(interval_ms), hash);
            let next = ticks.after(now);
            prop_assert!(next > now && next - now <= ticks.interval_ms());
            prop_assert_eq!(ticks.after(next), next + ticks.interval_ms());
        }
    }
}
