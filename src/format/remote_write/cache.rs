//! Remembers what becomes of series: their encoded labels by their keys, which are the same from one collection to the next.
//!
//! A collection begins with [`SeriesCache::begin`], then asks for each of its samples. So the cache knows as well which series are there twice,
//! and which were there the last time and are no more. A collection that turns out to be refused is taken back with [`SeriesCache::refuse`].
//!
//! Promises: bounded in series and bytes; beyond the bounds labels are made anew each time, and nothing else changes. A series that is known
//! allocates nothing. Leaves to others: what the labels are, and one cache for each target, since equal keys of two targets are two series.

use crate::base::limits::SERIES_SLOT_BYTES;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Encoded labels by key.
#[derive(Debug)]
pub struct SeriesCache {
    /// Slots by their keys.
    keys: HashTable<u32>,
    /// Slots by their labels, one of those that have the same.
    labels: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    hasher: RandomState,
    scratch: Vec<u8>,
    now: u32,
    bytes: usize,
    max_series: usize,
    max_bytes: usize,
    /// The last time of a slot's series that has times of its own, where there are such series at all.
    times: Vec<i64>,
    /// The slot that stands for the series that was asked for last.
    asked: Option<u32>,
    /// Bytes of series for which there was no room in the collection under way.
    missing: usize,
    /// Whether there was no room in the collection under way.
    overflowed: bool,
}

#[derive(Debug, Default)]
struct Slot {
    /// The key, then the labels.
    text: Box<[u8]>,
    key_len: u32,
    /// The slot that stands for all with these labels; its own number for most.
    first: u32,
    /// Whether others have this one as their first.
    shared: bool,
    /// When the key was asked for the last time.
    seen: u32,
    /// When one with these labels was, where this is the first.
    told: u32,
    /// Whether its end is of interest.
    tracked: bool,
    /// Whether one with these labels was there, and its end of interest, in the collection before the one in which it was told.
    before: bool,
    /// Whether it has labels; otherwise it is dropped.
    kept: bool,
}

/// What is known of a sample's series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series<'a> {
    /// It is not sent.
    Dropped,
    /// Its encoded labels; but it was asked for in this collection already, perhaps by another key that leads to the same labels.
    Again(&'a [u8]),
    /// Its encoded labels.
    Labels(&'a [u8]),
}

/// What became of a key that was not known.
pub type Make<'m> = dyn FnMut(&[u8], &mut Vec<u8>) -> bool + 'm;

impl SeriesCache {
    /// With these bounds: series, and bytes of them, [`SERIES_SLOT_BYTES`] for each among them.
    pub fn new(max_series: usize, max_bytes: usize) -> Self {
        SeriesCache {
            keys: HashTable::new(),
            labels: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hasher: RandomState::default(),
            scratch: Vec::new(),
            now: 1,
            bytes: 0,
            max_series,
            max_bytes,
            times: Vec::new(),
            asked: None,
            missing: 0,
            overflowed: false,
        }
    }

    /// How many series are known.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Bytes of memory that series take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// From now on series take so many bytes at most. What is there stays.
    pub fn bound(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
    }

    /// Bytes that the series take for which there was no room in this collection; one that is there twice counts twice.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Begins a collection, and forgets what was not asked for in the `keep` collections before it. At least 1: the last one tells what ended.
    pub fn begin(&mut self, keep: u32) {
        self.now += 1;
        (self.overflowed, self.missing) = (false, 0);
        let oldest = self.now.saturating_sub(keep.max(1));
        // A look at all slots costs little beside a collection, yet need not be each time.
        if self.now.is_multiple_of(keep.max(1)) {
            for at in 0..self.slots.len() as u32 {
                if self.slot(at).is_some_and(|slot| !slot.text.is_empty() && slot.seen < oldest) {
                    self.forget(at);
                }
            }
        }
    }

    /// What becomes of the sample with this key. `make` is asked where that is not known: it appends the encoded labels, or says `false`.
    /// `tracked`: [`SeriesCache::ended`] tells of it when it is there no more.
    pub fn get(&mut self, key: &[u8], tracked: bool, make: &mut Make) -> Series<'_> {
        self.asked = None;
        let hash = self.hasher.hash_one(key);
        let known =
            self.keys.find(hash, |at| self.slots.get(*at as usize).is_some_and(|slot| slot.key() == key)).copied();
        let at = match known {
            Some(at) => at,
            None => {
                self.scratch.clear();
                let kept = make(key, &mut self.scratch);
                match self.insert(hash, key, kept) {
                    Some(at) => at,
                    None if kept => {
                        self.overflowed = true;
                        self.missing = self.missing.saturating_add(size_of(key, &self.scratch));
                        return Series::Labels(&self.scratch);
                    }
                    None => return Series::Dropped,
                }
            }
        };
        let now = self.now;
        let Some(slot) = self.slots.get_mut(at as usize) else { return Series::Dropped };
        slot.seen = now;
        if !slot.kept {
            return Series::Dropped;
        }
        let first = slot.first;
        self.asked = Some(first);
        let Some(first) = self.slots.get_mut(first as usize) else { return Series::Dropped };
        let again = first.told == now;
        if !again {
            first.before = first.tracked && first.told == now.wrapping_sub(1);
        }
        first.told = now;
        first.tracked = tracked || again && first.tracked;
        let labels = self.slots.get(at as usize).map_or(&[][..], Slot::labels);
        if again { Series::Again(labels) } else { Series::Labels(labels) }
    }

    /// The labels of the series that was asked for last and is not dropped.
    pub fn asked(&self) -> &[u8] {
        self.asked.map_or(&self.scratch, |at| self.slots.get(at as usize).map_or(&[][..], Slot::labels))
    }

    /// Whether a value of this time is newer than all others of the series that was asked for last, as far as those are known; and remembers the time,
    /// if it is the series' own (`own`) or others were. A time of the collection itself is always newer unless the series had own ones.
    pub fn is_newer(&mut self, time_ms: i64, own: bool) -> bool {
        let Some(at) = self.asked.map(|at| at as usize) else { return true };
        if own && self.times.len() <= at {
            self.times.resize(self.slots.len().max(at + 1), i64::MIN);
        }
        match self.times.get_mut(at) {
            Some(last) if *last >= time_ms => false,
            Some(last) if own || *last != i64::MIN => {
                *last = time_ms;
                true
            }
            _ => true,
        }
    }

    /// Forgets a key, so that the next collection makes its labels anew.
    pub fn forget_key(&mut self, key: &[u8]) {
        let hash = self.hasher.hash_one(key);
        let known = self.keys.find(hash, |at| self.slots.get(*at as usize).is_some_and(|slot| slot.key() == key));
        if let Some(at) = known.copied() {
            self.forget(at);
        }
    }

    /// Whether there were series in this collection for which there is no room: nobody will tell when they end.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Whether one with these labels is there in this collection.
    pub fn has(&self, labels: &[u8]) -> bool {
        let hash = self.hasher.hash_one(labels);
        let of = |at: &u32| self.slots.get(*at as usize);
        let first = self.labels.find(hash, |at| of(at).is_some_and(|slot| slot.labels() == labels));
        first.and_then(of).is_some_and(|slot| slot.told == self.now)
    }

    /// Takes the collection under way back: gives the labels of all that were there in the one before it, and takes none as there from now on.
    pub fn refuse(&mut self, each: &mut dyn FnMut(&[u8])) {
        let now = self.now;
        self.none_is_there(each, |slot| match slot.told {
            told if told == now => slot.before,
            told => slot.tracked && told == now.wrapping_sub(1),
        });
    }

    /// Gives the labels of all that are there, and takes none as there from now on.
    pub fn end(&mut self, each: &mut dyn FnMut(&[u8])) {
        let now = self.now;
        self.none_is_there(each, |slot| slot.tracked && slot.told == now);
    }

    fn none_is_there(&mut self, each: &mut dyn FnMut(&[u8]), was: impl Fn(&Slot) -> bool) {
        let now = self.now;
        for slot in self.slots.iter_mut().filter(|slot| !slot.text.is_empty()) {
            if was(slot) {
                each(slot.labels());
                // It is not forgotten for what was wrong with others.
                slot.seen = now;
            }
            slot.told = 0;
        }
    }

    /// The labels of those that were there in the collection before this one and are no more; to be asked when all samples were.
    pub fn ended(&self) -> impl Iterator<Item = &[u8]> {
        self.told_at(self.now.wrapping_sub(1))
    }

    /// The labels of all that are there in this collection: what ends when its target does.
    pub fn present(&self) -> impl Iterator<Item = &[u8]> {
        self.told_at(self.now)
    }

    fn told_at(&self, when: u32) -> impl Iterator<Item = &[u8]> {
        let ended = move |slot: &&Slot| slot.tracked && slot.told == when && !slot.text.is_empty();
        self.slots.iter().filter(ended).map(Slot::labels)
    }

    fn slot(&self, at: u32) -> Option<&Slot> {
        self.slots.get(at as usize)
    }

    /// Keeps the labels in the scratch buffer, if there is room.
    fn insert(&mut self, hash: u64, key: &[u8], kept: bool) -> Option<u32> {
        let labels: &[u8] = if kept { &self.scratch } else { &[] };
        let bytes = size_of(key, labels);
        if self.keys.len() >= self.max_series
            || self.bytes.saturating_add(bytes) > self.max_bytes
            || bytes > u32::MAX as usize
        {
            return None;
        }
        let at = self.free.pop().unwrap_or(self.slots.len() as u32);
        let labels_hash = self.hasher.hash_one(labels);
        let slots = &self.slots;
        let of = |at: &u32| slots.get(*at as usize);
        let first = match kept {
            true => self.labels.find(labels_hash, |at| of(at).is_some_and(|slot| slot.labels() == labels)).copied(),
            false => None,
        };
        let text = [key, labels].concat().into_boxed_slice();
        let slot = Slot { text, key_len: key.len() as u32, first: first.unwrap_or(at), kept, ..Slot::default() };
        match self.slots.get_mut(at as usize) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        self.bytes += bytes;
        let Self { keys, labels, slots, hasher, .. } = self;
        let of = |at: &u32| slots.get(*at as usize);
        keys.insert_unique(hash, at, |at| of(at).map_or(0, |slot| hasher.hash_one(slot.key())));
        match first {
            None if kept => {
                labels.insert_unique(labels_hash, at, |at| of(at).map_or(0, |slot| hasher.hash_one(slot.labels())));
            }
            None => {}
            Some(first) => {
                if let Some(first) = slots.get_mut(first as usize) {
                    first.shared = true;
                }
            }
        }
        Some(at)
    }

    fn forget(&mut self, at: u32) {
        let Some(slot) = self.slots.get_mut(at as usize).map(std::mem::take) else { return };
        self.bytes = self.bytes.saturating_sub(slot.text.len() + SERIES_SLOT_BYTES);
        self.free.push(at);
        let time = self.times.get_mut(at as usize).map(|time| std::mem::replace(time, i64::MIN));
        if let Ok(found) = self.keys.find_entry(self.hasher.hash_one(slot.key()), |other| *other == at) {
            found.remove();
        }
        if !slot.kept || slot.first != at {
            return;
        }
        let hash = self.hasher.hash_one(slot.labels());
        let Ok(found) = self.labels.find_entry(hash, |other| *other == at) else { return };
        // Another one with the same labels takes its place.
        let heir = slot.shared.then(|| self.slots.iter().position(|other| other.kept && other.first == at)).flatten();
        let Some(heir) = heir else {
            found.remove();
            return;
        };
        *found.into_mut() = heir as u32;
        for other in self.slots.iter_mut().filter(|other| other.kept && other.first == at) {
            other.first = heir as u32;
        }
        if let (Some(time), Some(of_heir)) = (time, self.times.get_mut(heir)) {
            *of_heir = time;
        }
        if let Some(heir) = self.slots.get_mut(heir) {
            (heir.shared, heir.told, heir.tracked, heir.before) = (true, slot.told, slot.tracked, slot.before);
        }
    }
}

/// What a series takes of memory.
fn size_of(key: &[u8], labels: &[u8]) -> usize {
    key.len() + labels.len() + SERIES_SLOT_BYTES
}

impl Slot {
    fn key(&self) -> &[u8] {
        self.text.get(..self.key_len as usize).unwrap_or_default()
    }

    fn labels(&self) -> &[u8] {
        self.text.get(self.key_len as usize..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn cache() -> SeriesCache {
        SeriesCache::new(100, 10_000)
    }

    /// Labels that are the key in capitals; keys with `-` are dropped.
    fn make(key: &[u8], out: &mut Vec<u8>) -> bool {
        out.extend(key.to_ascii_uppercase());
        !key.contains(&b'-')
    }

    #[test]
    fn what_is_known_is_not_made_again() {
        let mut cache = cache();
        let mut made = 0;
        for _ in 0..3 {
            cache.begin(5);
            for (key, expected) in
                [(&b"a"[..], Series::Labels(b"A")), (b"b-", Series::Dropped), (b"c", Series::Labels(b"C"))]
            {
                let mut make = |key: &[u8], out: &mut Vec<u8>| {
                    made += 1;
                    make(key, out)
                };
                assert_eq!(cache.get(key, true, &mut make), expected);
            }
        }
        assert_eq!((made, cache.len(), cache.bytes()), (3, 3, 6 + 3 * SERIES_SLOT_BYTES));
    }

    #[test]
    fn what_is_there_twice_or_no_more_is_told() {
        let mut cache = cache();
        let ended = |cache: &SeriesCache| {
            let mut all: Vec<_> = cache.ended().map(|labels| String::from_utf8(labels.to_vec()).unwrap()).collect();
            all.sort();
            all
        };
        cache.begin(2);
        assert_eq!(cache.get(b"a", true, &mut make), Series::Labels(b"A"));
        assert_eq!(cache.get(b"a", false, &mut make), Series::Again(b"A"));
        // Another key of the same labels.
        assert_eq!(cache.get(b"A", true, &mut make), Series::Again(b"A"));
        assert_eq!(cache.get(b"b", true, &mut make), Series::Labels(b"B"));
        assert_eq!(cache.get(b"untracked", false, &mut make), Series::Labels(b"UNTRACKED"));
        assert_eq!(cache.get(b"-", true, &mut make), Series::Dropped);
        assert_eq!(cache.get(b"-", true, &mut make), Series::Dropped);
        assert_eq!(cache.present().count(), 2);
        assert!(ended(&cache).is_empty());
        cache.begin(2);
        // The same series by its other key is still there.
        assert_eq!(cache.get(b"A", true, &mut make), Series::Labels(b"A"));
        assert_eq!(ended(&cache), ["B"]);
        for _ in 0..4 {
            cache.begin(2);
            assert_eq!(cache.get(b"A", true, &mut make), Series::Labels(b"A"));
            assert!(ended(&cache).is_empty());
        }
        // The first one was forgotten, and the other one stands for it.
        assert_eq!(cache.len(), 1);
        assert_eq!(cache.get(b"a", false, &mut make), Series::Again(b"A"));
        cache.begin(2);
        assert_eq!(ended(&cache), ["A"]);
    }

    #[test]
    fn beyond_the_bounds_labels_are_made_each_time() {
        let mut cache = SeriesCache::new(2, 10_000);
        for _ in 0..2 {
            cache.begin(2);
            for key in [b"a", b"b", b"c"] {
                assert_eq!(cache.get(key, true, &mut make), Series::Labels(&key.to_ascii_uppercase()));
            }
            assert_eq!(cache.get(b"-", true, &mut make), Series::Dropped);
        }
        assert_eq!(cache.len(), 2);
        let mut cache = SeriesCache::new(100, 10 + 2 * SERIES_SLOT_BYTES);
        cache.begin(2);
        let long = [b'l'; 200];
        for key in [&long[..], b"ab", b"abc", b"de"] {
            assert_eq!(cache.get(key, true, &mut make), Series::Labels(&key.to_ascii_uppercase()));
        }
        assert_eq!((cache.len(), cache.bytes()), (2, 10 + 2 * SERIES_SLOT_BYTES));
        assert_eq!(cache.missing(), 400 + 4 + 2 * SERIES_SLOT_BYTES);
    }

    fn labels_of(f: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Vec<String> {
        let mut all = Vec::new();
        f(&mut |labels| all.push(String::from_utf8(labels.to_vec()).unwrap()));
        all.sort();
        all
    }

    #[test]
    fn a_refused_collection_is_taken_back() {
        let mut cache = cache();
        cache.begin(1);
        for key in [b"a", b"b", b"c"] {
            cache.get(key, key != b"c", &mut make);
        }
        cache.begin(1);
        assert_eq!(cache.get(b"a", true, &mut make), Series::Labels(b"A"));
        assert_eq!(cache.get(b"new", true, &mut make), Series::Labels(b"NEW"));
        assert_eq!(cache.get(b"a", true, &mut make), Series::Again(b"A"));
        assert!(cache.has(b"A") && !cache.has(b"B"));
        cache.forget_key(b"new");
        assert_eq!(labels_of(|each| cache.refuse(each)), ["A", "B"]);
        assert_eq!(labels_of(|each| cache.refuse(each)), [""; 0]);
        assert_eq!(cache.present().count(), 0);
        let mut made = 0;
        cache.begin(1);
        for key in [&b"a"[..], b"b", b"new"] {
            let mut make = |key: &[u8], out: &mut Vec<u8>| {
                made += 1;
                make(key, out)
            };
            assert!(matches!(cache.get(key, true, &mut make), Series::Labels(_)));
        }
        // Those that were there before were not forgotten for it.
        assert_eq!((made, cache.ended().count()), (1, 0));
        assert_eq!(labels_of(|each| cache.end(each)), ["A", "B", "NEW"]);
        assert_eq!(labels_of(|each| cache.end(each)), [""; 0]);
    }

    #[test]
    fn own_times_only_grow() {
        let mut cache = cache();
        cache.begin(1);
        cache.get(b"a", true, &mut make);
        assert!(cache.is_newer(5, false) && cache.is_newer(5, false));
        cache.get(b"b", false, &mut make);
        assert!(cache.is_newer(5, true) && !cache.is_newer(5, true) && !cache.is_newer(4, true));
        // The same series by another key.
        cache.get(b"B", false, &mut make);
        assert!(!cache.is_newer(5, true) && cache.is_newer(6, true));
        cache.get(b"a", true, &mut make);
        assert!(cache.is_newer(5, false));
        cache.get(b"b", true, &mut make);
        assert!(!cache.is_newer(6, false) && cache.is_newer(7, false) && !cache.is_newer(7, false));
        for _ in 0..3 {
            cache.begin(1);
        }
        cache.get(b"b", true, &mut make);
        assert!(cache.is_newer(1, false));
    }

    #[test]
    fn what_has_no_room_is_told() {
        let mut cache = SeriesCache::new(1, 100);
        cache.begin(1);
        cache.get(b"a", true, &mut make);
        assert!(!cache.has_overflowed());
        cache.get(b"b", true, &mut make);
        assert!(cache.has_overflowed() && cache.is_newer(0, true));
        cache.begin(1);
        assert!(!cache.has_overflowed());
    }

    proptest! {
        /// It gives what a map would, and forgets what was not asked for, whatever is asked in which order.
        #[test]
        fn behaves_as_a_map(rounds in prop::collection::vec(prop::collection::vec("[aAbBcd-]{1,2}", 0..12), 0..20)) {
            let mut cache = cache();
            let mut before: BTreeMap<Vec<u8>, ()> = BTreeMap::new();
            for round in rounds {
                cache.begin(2);
                let mut told = BTreeMap::new();
                for key in round {
                    let mut labels = Vec::new();
                    let expected = match make(key.as_bytes(), &mut labels) {
                        false => Series::Dropped,
                        true if told.contains_key(&labels) => Series::Again(&labels),
                        true => Series::Labels(&labels),
                    };
                    prop_assert_eq!(cache.get(key.as_bytes(), true, &mut make), expected);
                    if expected != Series::Dropped {
                        told.insert(labels, ());
                    }
                }
                let mut ended: Vec<_> = cache.ended().map(<[u8]>::to_vec).collect();
                ended.sort();
                let expected: Vec<_> = before.keys().filter(|labels| !told.contains_key(*labels)).cloned().collect();
                prop_assert_eq!(ended, expected);
                before = told;
            }
            for _ in 0..6 {
                cache.begin(2);
            }
            prop_assert_eq!((cache.len(), cache.bytes(), cache.labels.len()), (0, 0, 0));
        }
    }
}
