//! What the keys and metas of many cursors have in common, kept once.
//!
//! A key is a kind, NUL, some bytes that no other cursor has, and a name that many have; a meta is often a path. So a cursor keeps the bytes
//! behind the NUL and what is behind the last slash; the rest is here, counted by the cursors that have it.
//!
//! Promises: any key and meta come back as they were; what no cursor has any more is gone. Leaves to others: their own parts.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Bytes behind the NUL of a key that are a cursor's own.
const OWN_KEY_BYTES: usize = 24;

/// What some cursors share.
#[derive(Debug)]
struct Part {
    /// The key before and after the own part, the meta before it.
    bytes: Box<[u8]>,
    head_len: u16,
    tail_len: u16,
    cursors: u32,
}

/// All shared parts, by number.
#[derive(Debug, Default)]
pub(super) struct Shared {
    parts: Vec<Option<Part>>,
    free: Vec<u32>,
    by_content: HashTable<u32>,
    hasher: RandomState,
}

/// The key before, in and after its own part.
fn divide(key: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (head, rest) = key.split_at(memchr::memchr(0, key).map_or(0, |at| at + 1));
    let own = if head.is_empty() { rest.len() } else { rest.len().min(OWN_KEY_BYTES) };
    let (own, tail) = rest.split_at(own);
    (head, own, tail)
}

fn divide_meta(meta: &[u8]) -> (&[u8], &[u8]) {
    meta.split_at(memchr::memrchr(b'/', meta).map_or(0, |at| at + 1))
}

/// The part of a key that its cursor keeps itself.
pub(super) fn own_key(key: &[u8]) -> &[u8] {
    divide(key).1
}

/// The part of a meta that its cursor keeps itself.
pub(super) fn own_meta(meta: &[u8]) -> &[u8] {
    divide_meta(meta).1
}

impl Shared {
    /// The number of what a key and a meta, of at most 65,535 bytes each, share with others. One more cursor has it.
    pub(super) fn add(&mut self, key: &[u8], meta: &[u8]) -> u32 {
        let (head, _, tail) = divide(key);
        let start = divide_meta(meta).0;
        let (head_len, tail_len) = (head.len() as u16, tail.len() as u16);
        let bytes = [head, tail, start].concat();
        let Shared { parts, free, by_content, hasher } = self;
        let is_it = |number: &u32| {
            let part = parts.get(*number as usize).and_then(Option::as_ref);
            part.is_some_and(|p| (p.head_len, p.tail_len) == (head_len, tail_len) && *p.bytes == *bytes)
        };
        let hash = hasher.hash_one(bytes.as_slice());
        if let Some(number) = by_content.find(hash, is_it).copied() {
            if let Some(Some(part)) = parts.get_mut(number as usize) {
                part.cursors += 1;
            }
            return number;
        }
        let part = Part { bytes: bytes.into(), head_len, tail_len, cursors: 1 };
        let number = free.pop().unwrap_or(parts.len() as u32);
        match parts.get_mut(number as usize) {
            Some(place) => *place = Some(part),
            None => parts.push(Some(part)),
        }
        by_content.insert_unique(hash, number, |number| {
            let part = parts.get(*number as usize).and_then(Option::as_ref);
            hasher.hash_one(part.map(|p| &*p.bytes).unwrap_or_default())
        });
        number
    }

    /// One cursor less has it.
    pub(super) fn remove(&mut self, number: u32) {
        let Some(place) = self.parts.get_mut(number as usize) else { return };
        let Some(part) = place else { return };
        part.cursors = part.cursors.saturating_sub(1);
        if part.cursors > 0 {
            return;
        }
        let hash = self.hasher.hash_one(&*part.bytes);
        if let Ok(entry) = self.by_content.find_entry(hash, |other| *other == number) {
            entry.remove();
        }
        *place = None;
        self.free.push(number);
    }

    /// Key and meta with the own parts of a cursor, put together in `buffer`.
    pub(super) fn whole<'a>(
        &self,
        number: u32,
        key: &[u8],
        meta: &[u8],
        buffer: &'a mut Vec<u8>,
    ) -> (&'a [u8], &'a [u8]) {
        let part = self.parts.get(number as usize).and_then(Option::as_ref);
        let (bytes, head, tail) =
            part.map_or((&[][..], 0, 0), |p| (&*p.bytes, usize::from(p.head_len), usize::from(p.tail_len)));
        let (head, rest) = bytes.split_at(head.min(bytes.len()));
        let (tail, start) = rest.split_at(tail.min(rest.len()));
        buffer.clear();
        for part in [head, key, tail, start, meta] {
            buffer.extend_from_slice(part);
        }
        buffer.split_at(head.len() + key.len() + tail.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_divided_comes_back(pairs in prop::collection::vec((
            prop::collection::vec(prop_oneof![Just(0u8), Just(b'/'), any::<u8>()], 0..60),
            prop::collection::vec(prop_oneof![Just(b'/'), Just(b'a')], 0..9),
        ), 1..20)) {
            let mut shared = Shared::default();
            let numbers: Vec<u32> = pairs.iter().map(|(key, meta)| shared.add(key, meta)).collect();
            let mut buffer = Vec::new();
            for (number, (key, meta)) in numbers.iter().zip(&pairs) {
                let (own, name) = (own_key(key), own_meta(meta));
                prop_assert_eq!(shared.whole(*number, own, name, &mut buffer), (&key[..], &meta[..]));
            }
            for number in numbers {
                shared.remove(number);
            }
            prop_assert!(shared.by_content.is_empty() && shared.parts.iter().all(Option::is_none));
        }
    }

    #[test]
    fn files_of_a_source_in_a_directory_share_all_but_their_names() {
        let mut shared = Shared::default();
        let key = |n: u8| [b"file\0".as_slice(), &[n; 24], b"app"].concat();
        let numbers = [1, 2, 3].map(|n| shared.add(&key(n), format!("/var/log/{n}.log").as_bytes()));
        assert_eq!(numbers, [0; 3]);
        assert_eq!(shared.add(&key(1), b"/var/lib/1.log"), 1);
    }
}
