//! GELF messages in chunks: `1e 0f`, a number of eight bytes that the chunks of a message share, which one it is, how many there are, data.
//!
//! A state machine without clock and socket. Messages are told apart by sender and number.
//!
//! Promises: memory is bounded by [`GELF_WAITING`] messages and [`GELF_WAITING_BYTES`]; above that the oldest is given up, as is one that
//! is not whole after [`GELF_WAIT_MS`]. Each that is given up is told. Chunks may come in any order and more than once. Leaves to others:
//! decompression (`unpack`), time.

use crate::base::limits::{GELF_CHUNKS, GELF_RECENT, GELF_WAIT_MS, GELF_WAITING, GELF_WAITING_BYTES};
use std::collections::VecDeque;
use std::net::SocketAddr;

const MAGIC: [u8; 2] = [0x1e, 0x0f];
/// Magic, number, place, count.
const HEAD: usize = 12;

/// What became of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// A message, whole: the datagram, or what its last chunk has completed.
    Whole(&'a [u8]),
    /// A chunk; others are still to come.
    Waits,
    /// A chunk that was here already.
    Again,
    /// Not taken.
    Refused(Refused),
}

/// Why a chunk is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Shorter than its head.
    #[error("a GELF chunk of less than 12 bytes")]
    Short,
    /// No chunks, or more than there may be.
    #[error("a GELF message of {0} chunks, 1 to 128 are allowed")]
    Count(u8),
    /// A place beyond the last.
    #[error("GELF chunk {0} of {1}, counted from 0")]
    Place(u8, u8),
    /// Not the count of the message's other chunks.
    #[error("a GELF chunk says that its message has {0} chunks, others said {1}")]
    OtherCount(u8, u8),
    /// The message is larger than is allowed. It is given up.
    #[error("a GELF message has more than {0} bytes in its chunks")]
    TooLarge(usize),
}

/// Messages that were given up before they were whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// Their time was over.
    pub late: u64,
    /// There was no room for more.
    pub crowded: u64,
}

/// What waits for its chunks.
#[derive(Debug)]
pub struct Assembler {
    max: usize,
    /// The oldest first.
    waiting: VecDeque<Waiting>,
    bytes: usize,
    recent: VecDeque<(Key, u64)>,
    whole: Vec<u8>,
    lost: Lost,
}

type Key = (SocketAddr, [u8; 8]);

#[derive(Debug)]
struct Waiting {
    key: Key,
    since_ms: u64,
    count: u8,
    /// A bit for each chunk that is here.
    here: u128,
    /// In the order in which they came, with their places.
    chunks: Vec<(u8, Vec<u8>)>,
    bytes: usize,
}

impl Assembler {
    /// From here on messages have at most `max` bytes in their chunks.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// For messages of at most `max` bytes in their chunks.
    pub fn new(max: usize) -> Self {
        Assembler {
            max,
            waiting: VecDeque::new(),
            bytes: 0,
            recent: VecDeque::new(),
            whole: Vec::new(),
            lost: Lost::default(),
        }
    }

    /// Takes in a datagram. `now_ms` is a time in milliseconds that does not run backwards.
    pub fn push<'a>(&'a mut self, peer: SocketAddr, datagram: &'a [u8], now_ms: u64) -> Outcome<'a> {
        self.expire(now_ms);
        if !datagram.starts_with(&MAGIC) {
            return Outcome::Whole(datagram);
        }
        let Some((head, data)) = datagram.split_first_chunk::<HEAD>() else { return Outcome::Refused(Refused::Short) };
        let [_, _, id @ .., place, count] = *head;
        match self.chunk((peer, id), place, count, data, now_ms) {
            Ok(Some(waiting)) => {
                self.whole.clear();
                for (_, chunk) in &waiting.chunks {
                    self.whole.extend_from_slice(chunk);
                }
                Outcome::Whole(&self.whole)
            }
            Ok(None) => Outcome::Waits,
            Err(None) => Outcome::Again,
            Err(Some(refused)) => Outcome::Refused(refused),
        }
    }

    /// Gives up what has waited for too long.
    pub fn expire(&mut self, now_ms: u64) {
        while self.waiting.front().is_some_and(|oldest| now_ms.saturating_sub(oldest.since_ms) >= GELF_WAIT_MS) {
            self.give_up_oldest();
            self.lost.late += 1;
        }
        while self.recent.front().is_some_and(|(_, at)| now_ms.saturating_sub(*at) >= GELF_WAIT_MS) {
            self.recent.pop_front();
        }
    }

    /// When [`Assembler::expire`] has something to do, in the same milliseconds; `None` while nothing waits.
    pub fn expires_ms(&self) -> Option<u64> {
        self.waiting.front().map(|oldest| oldest.since_ms.saturating_add(GELF_WAIT_MS))
    }

    /// What was given up since this was asked last.
    pub fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
    }

    /// The message that the chunk completes. The error is `None` for a chunk that was here already.
    fn chunk(
        &mut self,
        key: Key,
        place: u8,
        count: u8,
        data: &[u8],
        now_ms: u64,
    ) -> Result<Option<Waiting>, Option<Refused>> {
        if !(1..=GELF_CHUNKS).contains(&count) {
            return Err(Some(Refused::Count(count)));
        }
        if place >= count {
            return Err(Some(Refused::Place(place, count)));
        }
        let known = self.waiting.iter().position(|waiting| waiting.key == key);
        if known.is_none() && self.recent.iter().any(|(recent, _)| *recent == key) {
            return Err(None);
        }
        if let Some(index) = known
            && let Some(waiting) = self.waiting.get(index)
        {
            if waiting.count != count {
                return Err(Some(Refused::OtherCount(count, waiting.count)));
            }
            if waiting.here >> place & 1 == 1 {
                return Err(None);
            }
            if waiting.bytes + data.len() > self.max {
                self.bytes -= self.waiting.remove(index).map_or(0, |gone| gone.bytes);
                return Err(Some(Refused::TooLarge(self.max)));
            }
        } else if data.len() > self.max {
            return Err(Some(Refused::TooLarge(self.max)));
        }
        let mut waiting = match known.and_then(|index| self.waiting.remove(index)) {
            Some(waiting) => waiting,
            None => Waiting { key, since_ms: now_ms, count, here: 0, chunks: Vec::new(), bytes: 0 },
        };
        self.bytes -= waiting.bytes;
        waiting.here |= 1 << place;
        waiting.bytes += data.len();
        waiting.chunks.push((place, data.to_vec()));
        if waiting.chunks.len() == usize::from(count) {
            waiting.chunks.sort_unstable_by_key(|(place, _)| *place);
            if self.recent.len() == GELF_RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back((key, now_ms));
            return Ok(Some(waiting));
        }
        while self.waiting.len() >= GELF_WAITING || self.bytes + waiting.bytes > GELF_WAITING_BYTES {
            if self.waiting.is_empty() {
                break;
            }
            self.give_up_oldest();
            self.lost.crowded += 1;
        }
        self.bytes += waiting.bytes;
        // Back to its place in the order of age.
        let index = self.waiting.partition_point(|other| other.since_ms <= waiting.since_ms);
        self.waiting.insert(index, waiting);
        Ok(None)
    }

    fn give_up_oldest(&mut self) {
        self.bytes -= self.waiting.pop_front().map_or(0, |gone| gone.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn chunk(id: u64, place: u8, count: u8, data: &[u8]) -> Vec<u8> {
        [&MAGIC[..], &id.to_be_bytes(), &[place, count], data].concat()
    }

    fn whole(assembler: &mut Assembler, datagram: &[u8]) -> Option<String> {
        match assembler.push(peer(1), datagram, 0) {
            Outcome::Whole(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    #[test]
    fn in_any_order_and_more_than_once() {
        let mut a = Assembler::new(100);
        assert_eq!(whole(&mut a, b"{}").as_deref(), Some("{}"));
        assert_eq!(whole(&mut a, &chunk(1, 0, 1, b"one")).as_deref(), Some("one"));
        assert_eq!(a.push(peer(1), &chunk(2, 2, 3, b"c"), 0), Outcome::Waits);
        assert_eq!(a.push(peer(1), &chunk(2, 2, 3, b"c"), 0), Outcome::Again);
        assert_eq!(a.push(peer(2), &chunk(2, 0, 2, b"other"), 0), Outcome::Waits);
        assert_eq!(a.push(peer(1), &chunk(2, 0, 3, b"a"), 0), Outcome::Waits);
        assert_eq!(whole(&mut a, &chunk(2, 1, 3, b"b")).as_deref(), Some("abc"));
        // A copy of one that was complete begins no new one.
        assert_eq!(a.push(peer(1), &chunk(2, 1, 3, b"b"), 0), Outcome::Again);
        assert_eq!((a.waiting.len(), a.bytes), (1, 5));
        let parts: Vec<Vec<u8>> = (0..GELF_CHUNKS).map(|place| chunk(3, place, GELF_CHUNKS, b"x")).collect();
        let found: Vec<_> = parts.iter().filter_map(|part| whole(&mut Assembler::new(100), part)).collect();
        assert_eq!(found, Vec::<String>::new());
        let mut large = Assembler::new(128);
        assert_eq!(
            parts.iter().rev().filter_map(|part| whole(&mut large, part)).collect::<Vec<_>>(),
            ["x".repeat(128)]
        );
    }

    #[test]
    fn what_is_refused() {
        let mut a = Assembler::new(10);
        let mut refused = |datagram: &[u8]| match a.push(peer(1), datagram, 0) {
            Outcome::Refused(refused) => Some(refused),
            _ => None,
        };
        assert_eq!(refused(&MAGIC), Some(Refused::Short));
        assert_eq!(refused(&chunk(1, 0, 0, b"")), Some(Refused::Count(0)));
        assert_eq!(refused(&chunk(1, 0, 129, b"")), Some(Refused::Count(129)));
        assert_eq!(refused(&chunk(1, 3, 3, b"")), Some(Refused::Place(3, 3)));
        assert_eq!(refused(&chunk(1, 0, 3, b"123456")), None);
        assert_eq!(refused(&chunk(1, 1, 4, b"")), Some(Refused::OtherCount(4, 3)));
        assert_eq!(refused(&chunk(1, 1, 3, b"12345")), Some(Refused::TooLarge(10)));
        assert_eq!(refused(&chunk(2, 1, 3, b"12345678901")), Some(Refused::TooLarge(10)));
        assert_eq!((a.waiting.len(), a.bytes), (0, 0));
    }

    #[test]
    fn what_stays_incomplete_is_given_up() {
        let mut a = Assembler::new(100);
        assert_eq!(a.expires_ms(), None);
        assert_eq!(a.push(peer(1), &chunk(1, 0, 2, b"a"), 10), Outcome::Waits);
        assert_eq!(a.push(peer(1), &chunk(2, 0, 3, b"a"), 20), Outcome::Waits);
        assert_eq!(a.push(peer(1), &chunk(2, 1, 3, b"b"), 4000), Outcome::Waits);
        assert_eq!(a.expires_ms(), Some(10 + GELF_WAIT_MS));
        a.expire(9 + GELF_WAIT_MS);
        assert_eq!(a.take_lost(), Lost::default());
        a.expire(10 + GELF_WAIT_MS);
        assert_eq!((a.take_lost(), a.expires_ms()), (Lost { late: 1, crowded: 0 }, Some(20 + GELF_WAIT_MS)));
        // Its time runs from its first chunk.
        assert_eq!(a.push(peer(1), &chunk(2, 2, 3, b"c"), 20 + GELF_WAIT_MS), Outcome::Waits);
        assert_eq!((a.take_lost(), a.waiting.len(), a.bytes), (Lost { late: 1, crowded: 0 }, 1, 1));
    }

    #[test]
    fn memory_is_bounded() {
        let mut a = Assembler::new(1 << 20);
        for id in 0..1000 {
            assert_eq!(a.push(peer(1), &chunk(id, 0, 2, b"x"), 0), Outcome::Waits);
        }
        assert_eq!((a.waiting.len(), a.take_lost().crowded), (GELF_WAITING, 1000 - GELF_WAITING as u64));
        // The newest are the ones that are kept.
        assert_eq!(whole(&mut a, &chunk(999, 1, 2, b"y")).as_deref(), Some("xy"));
        let large = vec![b'x'; 60_000];
        for id in 2000..2200 {
            let _ = a.push(peer(1), &chunk(id, 0, 2, &large), 0);
            assert!(a.bytes <= GELF_WAITING_BYTES);
        }
        assert!(a.take_lost().crowded > 60);
    }

    proptest! {
        #[test]
        fn shuffled_messages_come_out_whole(
            messages in prop::collection::vec(prop::collection::vec("[a-z]{0,6}", 1..6), 1..6),
            order in any::<prop::sample::Index>(),
            seed in prop::collection::vec(any::<u32>(), 64),
        ) {
            let mut parts = Vec::new();
            for (id, texts) in messages.iter().enumerate() {
                for (place, text) in texts.iter().enumerate() {
                    parts.push(chunk(id as u64, place as u8, texts.len() as u8, text.as_bytes()));
                }
            }
            let again = parts[order.index(parts.len())].clone();
            parts.push(again);
            let mut keyed: Vec<_> = parts.into_iter().enumerate().map(|(index, part)| (seed[index % seed.len()], part)).collect();
            keyed.sort();
            let mut a = Assembler::new(1000);
            let mut found: Vec<_> = keyed.iter().filter_map(|(_, part)| whole(&mut a, part)).collect();
            let mut want: Vec<_> = messages.iter().map(|texts| texts.concat()).collect();
            found.sort();
            want.sort();
            prop_assert_eq!(found, want);
            prop_assert_eq!((a.bytes, a.waiting.len()), (0, 0));
        }

        #[test]
        fn never_panics(datagrams in prop::collection::vec((0..3_u64, 0..4_u8, 0..4_u8, prop::collection::vec(any::<u8>(), 0..20), 0..3000_u64), 0..30)) {
            let mut a = Assembler::new(30);
            let mut now = 0;
            for (id, place, count, data, later) in datagrams {
                now += later;
                let _ = a.push(peer(1), &chunk(id, place, count, &data), now);
                let _ = a.push(peer(1), &data, now);
                let waiting: usize = a.waiting.iter().map(|w| w.bytes).sum();
                prop_assert_eq!(waiting, a.bytes);
                prop_assert!(a.waiting.iter().all(|w| w.bytes <= 30));
            }
        }
    }
}
