//! Which streams have a place at the endpoints of an output, where these bound how many there may be.
//!
//! Loki counts a stream as active until it has written down its last chunk, half an hour after the last line. So a stream has its place for that
//! long after its last batch. What waits longer than that for its endpoint is not seen here, and neither is what another process sent
//! before this one started: then Loki may count more for a while.
//!
//! Promises: costs nothing without a bound; with one, a lookup a stream and batch, and a lookup a chunk of streams above the bound; a stream that has a place
//! keeps it for as long as it has lines; one warning when streams begin to be above the bound, and the next only after a time without any.
//! Leaves to others: what happens to the lines.

use super::status::OverStreams;
use crate::base::limits::STREAM_ACTIVE_MS;
use crate::model::flow::{StreamBound, StreamPolicy};
use foldhash::{HashMap, HashMapExt};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// See the module.
pub(super) struct Places {
    bound: Option<StreamBound>,
    /// When each stream that has a place last had lines, by its encoded labels.
    used: HashMap<Arc<[u8]>, Instant>,
    /// When there are so many, those that were quiet for long go, so that their memory follows the streams that there are.
    look_at: usize,
    /// No place gets free before.
    full_until: Option<Instant>,
    /// When a stream was above the bound for the last time.
    over_at: Option<Instant>,
    endpoints: Vec<OverStreams>,
}

/// Up to so many entries nobody looks whether there are old ones.
const FEW: usize = 64;

/// For so long after its last line a stream has its place.
const ACTIVE: Duration = Duration::from_millis(STREAM_ACTIVE_MS);

impl Places {
    pub(super) fn new(bound: Option<StreamBound>) -> Self {
        Places { bound, used: HashMap::new(), look_at: FEW, full_until: None, over_at: None, endpoints: Vec::new() }
    }

    /// These endpoints count what is above the bound.
    pub(super) fn set_endpoints(&mut self, endpoints: Vec<OverStreams>) {
        self.endpoints = endpoints;
    }

    /// Changes the bound. Who has a place keeps it.
    pub(super) fn set_bound(&mut self, bound: Option<StreamBound>) {
        if bound.is_none() {
            self.used = HashMap::new();
            self.look_at = FEW;
            self.over_at = None;
        }
        self.bound = bound;
        self.full_until = None;
    }

    /// Whether the stream with these labels may have lines now: `None` if so, or else what is to become of them. Counts it as used.
    pub(super) fn refuses(&mut self, labels: &Arc<[u8]>, now: Instant) -> Option<StreamPolicy> {
        let bound = self.bound?;
        if let Some(used) = self.used.get_mut(labels) {
            *used = now;
            return None;
        }
        if self.used.len() >= bound.max && self.full_until.is_none_or(|until| now >= until) {
            self.forget_quiet(now);
            // Times only grow, so that this is the earliest that the next one can be over.
            self.full_until = self.used.values().min().map(|oldest| *oldest + ACTIVE);
        }
        if self.used.len() < bound.max {
            self.insert(labels, now);
            return None;
        }
        if self.begins_episode(now) {
            self.tell(bound);
        }
        Some(bound.policy)
    }

    /// The stream with these labels has lines, bound or not.
    pub(super) fn take(&mut self, labels: &Arc<[u8]>, now: Instant) {
        if self.bound.is_some() {
            self.insert(labels, now);
        }
    }

    fn insert(&mut self, labels: &Arc<[u8]>, now: Instant) {
        if self.used.len() >= self.look_at {
            self.forget_quiet(now);
        }
        self.used.insert(Arc::clone(labels), now);
    }

    /// Forgets streams without a place. The next time is when there are twice as many as are left, so that it costs little a stream.
    fn forget_quiet(&mut self, now: Instant) {
        self.used.retain(|_, used| now.saturating_duration_since(*used) < ACTIVE);
        self.look_at = (2 * self.used.len()).max(FEW);
        self.used.shrink_to(self.look_at);
    }

    /// So many lines went into a merged stream.
    pub(super) fn merged(&self, lines: u64) {
        for endpoint in &self.endpoints {
            endpoint.merged_lines.add(lines);
        }
    }

    /// So many lines, of so many bytes, were dropped.
    pub(super) fn dropped(&self, lines: u64, bytes: u64) {
        for endpoint in &self.endpoints {
            endpoint.dropped_lines.add(lines);
            endpoint.dropped_bytes.add(bytes);
        }
    }

    /// Notes that a stream is above the bound. True when none was for a while.
    fn begins_episode(&mut self, now: Instant) -> bool {
        self.over_at.replace(now).is_none_or(|before| now.saturating_duration_since(before) >= ACTIVE)
    }

    fn tell(&self, bound: StreamBound) {
        let names: Vec<&str> = self.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
        let (endpoints, max_streams) = (names.join(", "), bound.max);
        match bound.policy {
            StreamPolicy::Merge => tracing::warn!(
                endpoints,
                max_streams,
                "there are more streams than max_streams: lines of further ones go into one stream a source, without filename, with lugger_merged"
            ),
            StreamPolicy::Drop => tracing::warn!(
                endpoints,
                max_streams,
                "there are more streams than max_streams: lines of further ones are dropped and counted in lugger_endpoint_dropped_lines_total"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn labels(name: u8) -> Arc<[u8]> {
        Arc::from([name])
    }

    fn places(max: usize) -> Places {
        Places::new(Some(StreamBound { max, policy: StreamPolicy::Drop }))
    }

    #[test]
    fn a_place_is_free_when_its_stream_was_quiet_for_long() {
        let (start, mut places) = (Instant::now(), places(2));
        let minutes = |n: u64| start + Duration::from_secs(60 * n);
        assert_eq!(places.refuses(&labels(1), start), None);
        assert_eq!(places.refuses(&labels(2), start), None);
        assert_eq!(places.refuses(&labels(3), minutes(20)), Some(StreamPolicy::Drop));
        assert_eq!(places.refuses(&labels(1), minutes(20)), None, "it has its place");
        assert_eq!(places.refuses(&labels(3), minutes(30)), Some(StreamPolicy::Drop));
        assert_eq!(places.refuses(&labels(3), minutes(32)), None, "2 was quiet");
        assert_eq!(places.refuses(&labels(2), minutes(33)), Some(StreamPolicy::Drop));
    }

    #[test]
    fn a_change_of_the_bound_takes_no_place_away() {
        let (now, mut places) = (Instant::now(), places(3));
        for name in 0..3 {
            assert_eq!(places.refuses(&labels(name), now), None);
        }
        places.set_bound(Some(StreamBound { max: 1, policy: StreamPolicy::Merge }));
        assert_eq!(places.refuses(&labels(2), now), None);
        assert_eq!(places.refuses(&labels(3), now), Some(StreamPolicy::Merge));
        places.set_bound(Some(StreamBound { max: 4, policy: StreamPolicy::Merge }));
        assert_eq!(places.refuses(&labels(3), now), None);
        places.set_bound(None);
        assert_eq!(places.refuses(&labels(9), now), None);
        assert!(places.used.is_empty(), "without a bound nothing is kept");
    }

    #[test]
    fn streams_that_come_and_go_take_no_more_memory_than_those_that_are_there() {
        let (start, mut places) = (Instant::now(), places(1_000_000));
        // A new one every second: this many are there at a time.
        let active = ACTIVE.as_secs();
        for second in 0..40_000u32 {
            let (name, now) = (Arc::from(second.to_le_bytes()), start + Duration::from_secs(second.into()));
            if second % 2 == 0 {
                assert_eq!(places.refuses(&name, now), None);
            } else {
                places.take(&name, now);
            }
            assert!(places.used.len() as u64 <= 2 * active, "{}", places.used.len());
        }
        assert!(places.used.capacity() as u64 <= 8 * active, "{}", places.used.capacity());
        // A burst that has gone leaves nothing.
        for name in 0..50_000u32 {
            places.take(&Arc::from(name.to_be_bytes()), start + Duration::from_secs(80_000));
        }
        let mut second = 100_000;
        while places.used.capacity() as u64 > 8 * active {
            assert!(second < 250_000, "{}", places.used.capacity());
            places.take(
                &Arc::from([&[7], &u32::to_le_bytes(second)[..]].concat()),
                start + Duration::from_secs(second.into()),
            );
            second += 1;
        }
    }

    #[test]
    fn one_episode_is_told_once() {
        let (start, mut places) = (Instant::now(), places(1));
        let mut told = |minute: u64| places.begins_episode(start + Duration::from_secs(60 * minute));
        assert_eq!([1, 2, 30, 55, 120, 121].map(&mut told), [true, false, false, false, true, false]);
    }

    proptest! {
        /// Against the definition: a set of times, looked through each time.
        #[test]
        fn never_more_than_the_bound_within_the_time(
            max in 1usize..5,
            steps in proptest::collection::vec((0u8..8, 0u64..900), 1..200),
        ) {
            let mut places = places(max);
            let mut now = Instant::now();
            let mut seen: BTreeMap<u8, Instant> = BTreeMap::new();
            for (name, seconds) in steps {
                now += Duration::from_secs(seconds);
                let others = seen.iter().filter(|(other, at)| **other != name && now - **at < ACTIVE).count();
                match places.refuses(&labels(name), now) {
                    None => {
                        prop_assert!(others < max);
                        seen.insert(name, now);
                    }
                    Some(_) => {
                        prop_assert!(others >= max, "there was a place");
                        prop_assert!(seen.get(&name).is_none_or(|at| now - *at >= ACTIVE), "it had a place");
                    }
                }
            }
        }
    }
}
