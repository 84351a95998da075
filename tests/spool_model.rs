//! The spool against a queue in memory: random appends, acknowledgements, restarts, kills, power losses, full disks, short and failed
//! calls, under both policies and with and without an age bound.
//!
//! `PROPTEST_CASES` sets the number of cases (256).

mod support;

use lugger::base::clock::Clock;
use lugger::base::metrics::Registry;
use lugger::store::spool::{AppendError, Counters, Limits, Meta, Operation, Policy, Reason, Spool};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use support::faulty_disk::{After, EIO, ENOSPC, Fault, FaultyDisk};

#[derive(Debug, Clone)]
enum Act {
    Append(usize),
    Take,
    Peek,
    Sync,
    Restart,
    Kill,
    PowerLoss(u64),
    Pass(i64),
    Room(u64),
    Fail { after: u64, count: u64, fault: Fault },
    Heal,
}

fn act() -> impl Strategy<Value = Act> {
    let fault = prop_oneof![Just(Fault::Short), Just(Fault::Error(ENOSPC)), Just(Fault::Error(EIO))];
    prop_oneof![
        12 => (0usize..300).prop_map(Act::Append),
        10 => Just(Act::Take),
        2 => Just(Act::Peek),
        3 => Just(Act::Sync),
        1 => Just(Act::Restart),
        1 => Just(Act::Kill),
        1 => any::<u64>().prop_map(Act::PowerLoss),
        2 => (-50i64..100).prop_map(Act::Pass),
        1 => (0u64..800).prop_map(Act::Room),
        1 => (0u64..12, 1u64..3, fault).prop_map(|(after, count, fault)| Act::Fail { after, count, fault }),
        2 => Just(Act::Heal),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let policy = prop_oneof![Just(Policy::Block), Just(Policy::DropOldest)];
    let age = prop_oneof![Just(None), (20u64..500).prop_map(Some)];
    (600u64..4000, 200u64..2000, age, policy).prop_map(|(bytes, segment_bytes, age_s, policy)| Limits {
        bytes,
        age_s,
        policy,
        segment_bytes,
    })
}

fn payload(id: u32, len: usize) -> Vec<u8> {
    id.to_le_bytes().into_iter().chain((0..len).map(|i| (i as u32 * 31 + id) as u8)).collect()
}

struct World {
    disk: FaultyDisk,
    limits: Limits,
    time: Arc<AtomicI64>,
    /// Of this process and of those before it.
    lives: Vec<Counters>,
    spool: Spool<FaultyDisk>,
    next: u32,
    /// Appended and neither acknowledged nor seen to be gone: id and length.
    queue: Vec<(u32, usize)>,
    /// Acknowledged or seen to be gone.
    acknowledged: BTreeSet<u32>,
    /// Of the queue, what the last successful sync has seen; and what was acknowledged by then.
    synced: BTreeSet<u32>,
    acknowledged_synced: BTreeSet<u32>,
    refused: u64,
    /// Seen to be gone without an acknowledgement.
    gone: u64,
    /// Counted before the last power loss.
    before: u64,
}

impl World {
    fn new(limits: Limits) -> Self {
        let disk = FaultyDisk::default();
        let time = Arc::new((1_800_000_000 * 1_000_000_000).into());
        let (spool, counters) = open(&disk, limits, &time);
        World {
            disk,
            limits,
            time,
            lives: vec![counters],
            spool,
            next: 0,
            queue: Vec::new(),
            acknowledged: BTreeSet::new(),
            synced: BTreeSet::new(),
            acknowledged_synced: BTreeSet::new(),
            refused: 0,
            gone: 0,
            before: 0,
        }
    }

    fn sum(&self, of: impl Fn(&Counters) -> u64) -> u64 {
        self.lives.iter().map(of).sum()
    }

    fn reopen(&mut self) {
        let (spool, counters) = open(&self.disk, self.limits, &self.time);
        self.spool = spool;
        self.lives.push(counters);
    }

    fn peek(&mut self) -> Option<(u32, u64)> {
        for _ in 0..1000 {
            let Ok(frame) = self.spool.next() else { continue };
            return frame.map(|frame| {
                let id = u32::from_le_bytes(frame.payload[..4].try_into().unwrap());
                assert_eq!(frame.payload, payload(id, frame.payload.len() - 4));
                (id, frame.sequence)
            });
        }
        panic!("the spool fails without end");
    }

    /// Takes a frame. Those before it in the queue are gone.
    fn take(&mut self) -> Option<u32> {
        let Some((id, sequence)) = self.peek() else {
            self.gone += self.queue.len() as u64;
            self.acknowledged.extend(self.queue.drain(..).map(|(id, _)| id));
            return None;
        };
        self.spool.acknowledge(sequence);
        match self.queue.iter().position(|(waits, _)| *waits == id) {
            Some(at) => {
                self.gone += at as u64;
                self.acknowledged.extend(self.queue.drain(..=at).map(|(id, _)| id));
            }
            None => {
                // Only what was acknowledged or given up while the position could not be written.
                assert!(self.acknowledged.contains(&id), "{id} was invented");
                let unwritten = self.sum(|counters| counters.errors(Operation::Acknowledge));
                assert!(unwritten > 0 && self.lives.len() > 1, "{id} comes again");
            }
        }
        self.acknowledged.insert(id);
        Some(id)
    }

    fn power_loss(&mut self, seed: u64) {
        let after = match seed % 5 {
            0 => After::SyncedOnly,
            1 => After::Names,
            2 => After::Content,
            _ => After::Some(seed),
        };
        self.disk = self.disk.after(after);
        let given_up = [Reason::Full, Reason::Expired, Reason::Unreadable];
        let dropped_before = self.sum(|counters| given_up.iter().map(|reason| counters.frames(*reason)).sum());
        self.reopen();
        let mut got = Vec::new();
        while let Some((id, sequence)) = self.peek() {
            assert!(got.last().is_none_or(|last| *last < id), "in order");
            assert!(id < self.next, "{id} was invented");
            assert!(!self.acknowledged_synced.contains(&id), "{id} comes again");
            got.push(id);
            self.spool.acknowledge(sequence);
        }
        let lost = self.synced.iter().filter(|id| !self.acknowledged.contains(id) && !got.contains(id)).count() as u64;
        let expired = self.sum(|counters| counters.frames(Reason::Expired));
        assert!(lost <= dropped_before + expired, "{lost} of {:?} were synced and are lost", self.synced);
        self.acknowledged.extend(self.queue.drain(..).map(|(id, _)| id));
        self.acknowledged.extend(got);
        self.before = self.sum(Counters::all_frames) - self.gone;
        self.synced.clear();
        if self.spool.sync().is_ok() {
            self.acknowledged_synced = self.acknowledged.clone();
        }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Append(len) => {
                let id = self.next;
                self.next += 1;
                let bytes = (len + 4 + 40 + 24) as u64;
                match self.spool.append(Meta { raw_bytes: 1, entries: 1 }, &payload(id, len)) {
                    Ok(_) => self.queue.push((id, len)),
                    Err(AppendError::Full { .. }) => {
                        let held = self.spool.len_bytes();
                        assert!(held + bytes > self.limits.bytes, "{held} is not full");
                        let stuck = self.sum(|counters| counters.errors(Operation::Remove)) > 0;
                        assert!(self.limits.policy == Policy::Block || stuck);
                        // A reader that keeps at it makes room.
                        assert!(!self.spool.is_empty() || stuck);
                    }
                    Err(AppendError::TooLarge { .. }) => panic!("{bytes} fit"),
                    Err(AppendError::Disk(_)) => self.refused += 1,
                }
            }
            Act::Take => {
                self.take();
            }
            Act::Peek => {
                let first = self.peek();
                assert_eq!(self.peek(), first);
            }
            Act::Sync => {
                if self.spool.sync().is_ok() {
                    self.synced = self.queue.iter().map(|(id, _)| *id).collect();
                    let (_, earlier) = self.lives.split_last().unwrap();
                    if earlier.iter().any(|counters| counters.errors(Operation::Sync) > 0) {
                        // Which segments that concerned is not known any more.
                        self.synced.clear();
                    }
                    self.acknowledged_synced = self.acknowledged.clone();
                    if self.sum(|counters| counters.errors(Operation::Acknowledge)) > 0 {
                        // Not all of them are written.
                        self.acknowledged_synced.clear();
                    }
                }
            }
            Act::Restart => {
                self.disk.heal();
                self.reopen();
            }
            Act::Kill => {
                self.disk = self.disk.after(After::Kill);
                self.reopen();
            }
            Act::PowerLoss(seed) => self.power_loss(seed),
            Act::Pass(seconds) => {
                self.time.fetch_add(seconds * 1_000_000_000, Ordering::Relaxed);
            }
            Act::Room(bytes) => {
                let used: u64 = self.disk.files().values().map(|file| file.len() as u64).sum();
                self.disk.set_room(Some(used + bytes));
            }
            Act::Fail { after, count, fault } => self.disk.fail(self.disk.calls() + after, count, fault),
            Act::Heal => self.disk.heal(),
        }
        let clean = self.refused == 0 && self.sum(|counters| counters.errors(Operation::Remove)) == 0;
        if clean {
            assert_eq!(self.spool.len_bytes(), self.disk.segment_bytes());
        }
        assert!(self.spool.len_bytes() <= self.limits.bytes + if clean { 0 } else { 400 });
    }

    fn finish(mut self) {
        self.disk.heal();
        while self.take().is_some() {}
        assert!(self.spool.is_empty() && self.queue.is_empty());
        let counted = self.sum(Counters::all_frames) - self.before;
        let again = self.sum(|counters| counters.errors(Operation::Acknowledge));
        assert!(self.gone <= counted, "{} are gone, {counted} counted", self.gone);
        if self.refused == 0 && again == 0 {
            assert_eq!(self.gone, counted);
        }
        self.spool.sync().ok();
        self.spool.sync().unwrap();
        assert!(self.disk.segment_bytes() <= self.limits.segment_bytes + 400);
    }
}

fn open(disk: &FaultyDisk, limits: Limits, time: &Arc<AtomicI64>) -> (Spool<FaultyDisk>, Counters) {
    let counters = Counters::new(&Registry::default(), "model");
    for _ in 0..10 {
        let clock = Clock::Manual(time.clone());
        if let Ok(spool) = Spool::open(disk.clone(), limits, clock, counters.clone()) {
            return (spool, counters);
        }
    }
    panic!("the spool does not open");
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_queue_whatever_happens(limits in limits(), acts in prop::collection::vec(act(), 1..200)) {
        let mut world = World::new(limits);
        for act in &acts {
            world.act(act);
        }
        world.finish();
    }

    #[test]
    fn any_bytes_in_its_files_are_survived(
        segments in prop::collection::vec((0u64..6, prop::collection::vec(prop_oneof![4 => Just(0u8), 1 => any::<u8>()], 0..200)), 0..6),
        position in prop::collection::vec(any::<u8>(), 0..200),
        frames in 0u32..6,
    ) {
        let limits = Limits { bytes: 1 << 20, age_s: None, policy: Policy::Block, segment_bytes: 300 };
        let time = Arc::new(5_000_000_000.into());
        let disk = FaultyDisk::default();
        for (first, bytes) in segments {
            disk.put(&format!("{first:020}.seg"), bytes);
        }
        disk.put("position", position);
        let (mut spool, _) = open(&disk, limits, &time);
        let meta = Meta { raw_bytes: 1, entries: 1 };
        for id in 0..frames {
            spool.append(meta, &payload(id, 50)).unwrap();
        }
        for id in 0..frames {
            let frame = spool.next().unwrap().unwrap();
            prop_assert_eq!(&frame.payload, &payload(id, 50));
            spool.acknowledge(frame.sequence);
        }
        prop_assert_eq!(spool.next().unwrap(), None);
    }
}
