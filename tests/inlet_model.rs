//! An inlet against a list in memory: random appends, rotations, removals by a reader, kills, power losses, full disks, short and
//! failed calls, under both policies.
//!
//! What must hold after each step: the files hold records that were taken, whole, each once, in order; what is neither there nor was
//! removed by the reader is held in memory or counted; files and memory are within the bound; a file only grows until it is dropped.
//! `PROPTEST_CASES` sets the number of cases (256).

mod support;

use lugger::base::clock::Clock;
use lugger::base::metrics::Registry;
use lugger::store::inlet::{AppendError, Counters, Inlet, Kept, Limits, Operation, Policy, Reason};
use lugger::store::spool::disk::{Disk, DiskFile, Listed};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use support::faulty_disk::{After, EIO, ENOSPC, Fault, FaultyDisk};

#[derive(Debug, Clone)]
enum Act {
    /// Records of these lengths, in one piece.
    Append(Vec<usize>),
    /// The reader removes the oldest finished file.
    Remove,
    Sync,
    Kill,
    PowerLoss(After),
    Close,
    Room(u64),
    Fail {
        after: u64,
        count: u64,
        fault: Fault,
    },
    Heal,
}

fn act() -> impl Strategy<Value = Act> {
    let fault = prop_oneof![Just(Fault::Short), Just(Fault::Error(ENOSPC)), Just(Fault::Error(EIO))];
    let after = prop_oneof![Just(After::SyncedOnly), Just(After::Names), Just(After::Content)];
    prop_oneof![
        16 => proptest::collection::vec(0usize..40, 1..6).prop_map(Act::Append),
        3 => Just(Act::Remove),
        3 => Just(Act::Sync),
        1 => Just(Act::Kill),
        1 => after.prop_map(Act::PowerLoss),
        1 => Just(Act::Close),
        1 => (0u64..600).prop_map(Act::Room),
        2 => (0u64..10, 1u64..4, fault).prop_map(|(after, count, fault)| Act::Fail { after, count, fault }),
        2 => Just(Act::Heal),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let policy = prop_oneof![Just(Policy::Refuse), Just(Policy::DropOldest)];
    (100u64..1500, 40u64..400, policy).prop_map(|(bytes, file_bytes, policy)| Limits { bytes, policy, file_bytes })
}

fn record(id: u64, len: usize) -> Vec<u8> {
    let filler = (0..len).map(|at| b'a' + ((id as usize + at) % 26) as u8);
    format!("{id} {len} ").into_bytes().into_iter().chain(filler).chain([b'\n']).collect()
}

/// The record that this line is, if it is one and whole.
fn id_of(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let mut fields = text.split(' ');
    let (id, len) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    (record(id, len) == line).then_some(id)
}

fn open(disk: &FaultyDisk, limits: Limits) -> (Inlet<FaultyDisk>, Counters) {
    let counters = Counters::new(&Registry::default(), "test");
    // A start may fail if the directory cannot be listed; it is tried again, as a service manager would.
    for _ in 0..20 {
        if let Ok(inlet) = Inlet::open(disk.clone(), limits, Clock::default(), counters.clone(), Box::new(|_| 0)) {
            return (inlet, counters);
        }
    }
    panic!("it does not open");
}

/// Names of the files, the finished ones first and by number.
fn by_age(files: &BTreeMap<String, Vec<u8>>) -> Vec<(u64, &String)> {
    let mut names: Vec<_> = files
        .keys()
        .map(|name| match name.strip_prefix("inlet.log") {
            Some("") => (u64::MAX, name),
            Some(number) => (number.strip_prefix('.').unwrap().parse().unwrap(), name),
            None => panic!("a file named {name}"),
        })
        .collect();
    names.sort();
    names
}

struct World {
    disk: FaultyDisk,
    limits: Limits,
    inlet: Inlet<FaultyDisk>,
    /// Of this process and of those before it.
    lives: Vec<Counters>,
    next: u64,
    /// Written or held.
    taken: BTreeSet<u64>,
    /// What the reader had of the files it removed.
    read: BTreeSet<u64>,
    /// Dropped at once, as the inlet said.
    dropped: u64,
    /// Records that may have been held when the process was killed, or that were not synced when the power went.
    killed: u64,
    /// Power was lost: what was dropped before may be there again.
    again: bool,
    /// The disk failed while this life began: a torn end may stand until it works.
    unrepaired: bool,
    /// The files after the step before.
    before: BTreeMap<String, Vec<u8>>,
}

impl World {
    fn new(limits: Limits) -> Self {
        let disk = FaultyDisk::default();
        let (inlet, counters) = open(&disk, limits);
        World {
            disk,
            limits,
            inlet,
            lives: vec![counters],
            next: 0,
            taken: BTreeSet::new(),
            read: BTreeSet::new(),
            dropped: 0,
            killed: 0,
            again: false,
            unrepaired: false,
            before: BTreeMap::new(),
        }
    }

    fn sum(&self, of: impl Fn(&Counters) -> u64) -> u64 {
        self.lives.iter().map(of).sum()
    }

    /// Records in the files, in order. An end that is torn is allowed where something is held, and in what was just found.
    fn present(&self) -> Vec<u64> {
        let files = self.disk.files();
        let mut ids = Vec::new();
        for (number, name) in by_age(&files) {
            for line in files[name].split_inclusive(|byte| *byte == b'\n') {
                if line.ends_with(b"\n") {
                    let id = id_of(line).unwrap_or_else(|| panic!("{name} has {:?}", String::from_utf8_lossy(line)));
                    ids.push(id);
                } else {
                    let held = number == u64::MAX && self.inlet.held_bytes() > 0;
                    assert!(held || self.unrepaired, "{name} ends within a record");
                }
            }
        }
        ids
    }

    fn restart(&mut self, disk: FaultyDisk) {
        let (inlet, counters) = open(&disk, self.limits);
        self.disk = disk;
        self.unrepaired = counters.errors(Operation::Append) + counters.errors(Operation::Read) > 0;
        self.lives.push(counters);
        self.inlet = inlet;
        self.before.clear();
    }

    fn step(&mut self, act: &Act) {
        match act {
            Act::Append(lens) => self.append(lens),
            Act::Remove => {
                let files = self.disk.files();
                let Some((number, name)) = by_age(&files).first().copied() else { return };
                if number != u64::MAX {
                    self.read.extend(files[name].split_inclusive(|byte| *byte == b'\n').filter_map(id_of));
                    // As another process does it: past the faults that are set for the inlet.
                    self.disk.take_away(name);
                }
            }
            Act::Sync => {
                if self.inlet.sync().is_ok() {
                    assert_eq!(self.inlet.held_bytes(), 0);
                }
            }
            Act::Kill => {
                let disk = self.disk.after(After::Kill);
                self.killed += self.held();
                self.restart(disk);
            }
            Act::PowerLoss(after) => {
                self.disk.heal();
                self.again = true;
                // What was synced has to be there, whatever else is.
                self.inlet.sync().unwrap();
                let synced: BTreeSet<u64> = self.present().into_iter().collect();
                self.append(&[3, 20]);
                self.append(&[9, 0, 12]);
                let gone: BTreeSet<u64> = synced.difference(&self.present().into_iter().collect()).copied().collect();
                let disk = self.disk.after(*after);
                let unsynced: Vec<u64> = self.present().into_iter().filter(|id| !synced.contains(id)).collect();
                self.restart(disk);
                let now: BTreeSet<u64> = self.present().into_iter().collect();
                for id in &synced {
                    assert!(now.contains(id) || gone.contains(id), "record {id} was synced and is lost");
                }
                self.killed += unsynced.iter().filter(|id| !now.contains(id)).count() as u64;
            }
            Act::Close => {
                let disk = self.disk.clone();
                // A failing call may have written some of it unseen: what is held bounds the count, not what is missing.
                let held = self.inlet.held_bytes().div_ceil(4) as u64;
                let before = self.sum(|counters| counters.dropped(Reason::Disk));
                // Gone before the next one opens: this one writes what it can.
                let idle = open(&FaultyDisk::default(), self.limits).0;
                drop(std::mem::replace(&mut self.inlet, idle));
                assert!(self.sum(|counters| counters.dropped(Reason::Disk)) - before <= held);
                self.restart(disk);
            }
            Act::Room(bytes) => self.disk.set_room(Some(*bytes)),
            Act::Fail { after, count, fault } => self.disk.fail(self.disk.calls() + after, *count, *fault),
            Act::Heal => self.disk.heal(),
        }
    }

    /// Records that are taken and not yet in a file, as far as it can be seen.
    fn held(&self) -> u64 {
        if self.inlet.held_bytes() == 0 { 0 } else { self.missing() }
    }

    /// Taken, not removed by the reader, and not in the files.
    fn missing(&self) -> u64 {
        let present: BTreeSet<u64> = self.present().into_iter().collect();
        self.taken.iter().filter(|id| !present.contains(id) && !self.read.contains(id)).count() as u64
    }

    fn append(&mut self, lens: &[usize]) {
        let first = self.next;
        let piece: Vec<u8> = lens.iter().zip(first..).flat_map(|(len, id)| record(id, *len)).collect();
        self.next += lens.len() as u64;
        let room = self.limits.bytes;
        match self.inlet.append(&piece, lens.len() as u64) {
            Ok(Kept::Dropped) => {
                assert_eq!(self.limits.policy, Policy::DropOldest);
                self.dropped += lens.len() as u64;
            }
            Ok(kept) => {
                assert_eq!(kept == Kept::Written, self.inlet.held_bytes() == 0);
                self.taken.extend(first..self.next);
                assert!(self.inlet.bytes() <= room, "{} bytes where {room} are allowed", self.inlet.bytes());
            }
            Err(error) => {
                assert_eq!(self.limits.policy, Policy::Refuse, "{error}");
                let fits = matches!(error, AppendError::TooLarge { .. });
                assert_eq!(fits, piece.len() as u64 > room, "{error}");
            }
        }
    }

    fn check(&mut self) {
        let present = self.present();
        assert!(present.windows(2).all(|pair| pair[0] < pair[1]), "in order and once: {present:?}");
        for id in &present {
            assert!(self.taken.contains(id), "record {id} was not taken");
        }
        // Whoever has a file open by its inode sees the same records at the same places.
        let files = self.disk.files();
        let shrunk = self.before.iter().filter(|(_, was)| {
            let first = was.split_inclusive(|byte| *byte == b'\n').find(|line| line.ends_with(b"\n"));
            let heir = files.values().find(|now| first.is_some_and(|first| now.starts_with(first)));
            let whole = was.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            heir.is_some_and(|now| !now.starts_with(&was[..whole]) && !self.unrepaired)
        });
        assert_eq!(shrunk.count(), 0, "a file lost bytes that could be read");
        self.before = files;
        if self.sum(|counters| counters.errors(Operation::Read)) > 0 {
            return;
        }
        let lost = self.missing() + self.dropped;
        let counted = self.sum(Counters::all_dropped);
        // A record has four bytes at least, one may have begun; a torn one is counted when it is cut.
        let held = self.inlet.held_bytes().div_ceil(4) as u64 + u64::from(self.unrepaired);
        assert!(lost <= counted + self.killed + held, "{lost} lost, {counted} counted, {} killed", self.killed);
        if held == 0 && self.killed == 0 && !self.again && self.sum(|counters| counters.errors(Operation::Append)) == 0
        {
            assert_eq!(lost, counted, "what is counted is what is lost");
        }
    }
}

proptest! {
    #[test]
    fn what_is_taken_is_there_once_and_in_order_or_counted(
        limits in limits(),
        acts in proptest::collection::vec(act(), 1..120),
    ) {
        let mut world = World::new(limits);
        for act in &acts {
            world.step(act);
            world.check();
        }
        world.disk.heal();
        world.inlet.sync().unwrap();
        world.check();
        prop_assert_eq!(world.inlet.held_bytes(), 0);
        let bytes: u64 = world.disk.files().values().map(|bytes| bytes.len() as u64).sum();
        prop_assert_eq!(world.inlet.bytes(), bytes);
    }
}

/// The longest way: a write that stops in the middle of a record, a disk that stays full, and room again.
#[test]
fn a_write_that_stops_halfway_goes_on_there_when_the_disk_has_room() {
    let disk = FaultyDisk::default();
    let limits = Limits { bytes: 1 << 20, policy: Policy::Refuse, file_bytes: 10 };
    let (mut inlet, counters) = open(&disk, limits);
    disk.set_room(Some(5));
    assert_eq!(inlet.append(b"abc\ndef\nghi\n", 3).unwrap(), Kept::Held);
    // Finished where the last whole record ends, so that it can be read to its end.
    assert_eq!(disk.files()["inlet.log.1"], b"abc\n");
    assert_eq!(inlet.append(b"jkl\n", 1).unwrap(), Kept::Held);
    assert_eq!(disk.files()["inlet.log"], b"d");
    assert!(inlet.sync().is_err());
    assert_eq!(inlet.held_bytes(), 11);
    assert_eq!(inlet.bytes(), 16);
    disk.set_room(None);
    assert_eq!(inlet.append(b"mno\n", 1).unwrap(), Kept::Written);
    assert_eq!(disk.files()["inlet.log.2"], b"def\nghi\njkl\n");
    assert_eq!(disk.files()["inlet.log"], b"mno\n");
    assert_eq!(counters.all_dropped(), 0);
}

/// What fills the disk is the inlet's own file, all of which is delivered: it is finished, and when its reader has removed it there is room.
#[test]
fn a_file_that_fills_the_disk_is_finished_so_that_it_can_be_removed() {
    let disk = FaultyDisk::default();
    let limits = Limits { bytes: 1 << 20, policy: Policy::Refuse, file_bytes: 1 << 19 };
    let (mut inlet, counters) = open(&disk, limits);
    disk.set_room(Some(10));
    inlet.append(b"abc\ndef\n", 2).unwrap();
    assert_eq!(inlet.append(b"ghij\n", 1).unwrap(), Kept::Held);
    assert_eq!(disk.files()["inlet.log.1"], b"abc\ndef\n");
    assert_eq!(inlet.append(b"k\n", 1).unwrap(), Kept::Held);
    disk.take_away("inlet.log.1");
    inlet.sync().unwrap();
    assert_eq!(disk.files()["inlet.log"], b"ghij\nk\n");
    assert_eq!((inlet.held_bytes(), inlet.bytes(), counters.all_dropped()), (0, 7, 0));
    // In peace it is the same, one file at a time.
    assert!(inlet.rest());
    assert_eq!(disk.files().keys().collect::<Vec<_>>(), ["inlet.log.2"]);
    inlet.append(b"l\n", 1).unwrap();
    assert!(!inlet.rest(), "the one before is not read yet");
    disk.take_away("inlet.log.2");
    assert!(inlet.rest());
    assert_eq!(disk.files()["inlet.log.3"], b"l\n");
}

#[test]
fn memory_is_bounded_while_the_disk_takes_nothing() {
    for policy in [Policy::Refuse, Policy::DropOldest] {
        let disk = FaultyDisk::default();
        let limits = Limits { bytes: 1 << 30, policy, file_bytes: 1 << 20 };
        let (mut inlet, counters) = open(&disk, limits);
        disk.set_room(Some(2));
        let piece = [&[b'x'; 99_999][..], b"\n"].concat();
        for _ in 0..10 {
            assert_eq!(inlet.append(&piece, 1).unwrap(), Kept::Held);
        }
        match policy {
            Policy::Refuse => assert!(matches!(inlet.append(&piece, 1), Err(AppendError::Disk(_)))),
            Policy::DropOldest => assert_eq!(inlet.append(&piece, 1).unwrap(), Kept::Dropped),
        }
        assert_eq!(counters.dropped(Reason::Disk), u64::from(policy == Policy::DropOldest));
        assert_eq!(inlet.held_bytes(), 999_998);
        let before = counters.dropped(Reason::Disk);
        drop(inlet);
        assert_eq!(counters.dropped(Reason::Disk) - before, 9, "the tenth begins in the file");
        let (_, counters) = open(&disk, limits);
        assert_eq!(counters.dropped(Reason::Torn), 1);
    }
}

/// One piece that is larger than what is held: of what does not fit on the disk no more is kept than the end of the record that has begun.
#[test]
fn memory_is_bounded_where_one_piece_fills_the_disk() {
    let record = [&[b'x'; 99_999][..], b"\n"].concat();
    let piece = record.repeat(30);
    let cases = [Policy::Refuse, Policy::DropOldest]
        .into_iter()
        .flat_map(|p| [(p, 0, true), (p, 150_000, true), (p, 150_000, false)]);
    for (policy, room, is_plain) in cases {
        let disk = FaultyDisk::default();
        if is_plain {
            disk.set_plain();
        }
        let limits = Limits { bytes: 1 << 30, policy, file_bytes: 1 << 30 };
        let (mut inlet, counters) = open(&disk, limits);
        disk.set_room(Some(room));
        let kept = inlet.append(&piece, 30);
        match policy {
            Policy::Refuse => assert!(matches!(kept, Err(AppendError::Disk(_))), "{kept:?}"),
            Policy::DropOldest => assert_eq!(kept.unwrap(), Kept::Dropped),
        }
        assert!(inlet.held_bytes() <= record.len(), "{} held", inlet.held_bytes());
        // Where room can be reserved nothing of it is there: sent again, it is there once.
        let whole = if room > 0 && is_plain { 2 } else { 0 };
        assert_eq!(counters.dropped(Reason::Disk), if policy == Policy::DropOldest { 30 - whole } else { 0 });
        disk.set_room(None);
        inlet.append(&record, 1).unwrap();
        assert_eq!(inlet.held_bytes(), 0);
        let files = disk.files();
        assert!(files.values().all(|bytes| bytes.chunks(record.len()).all(|found| found == record)));
        assert_eq!(files.values().map(Vec::len).sum::<usize>() as u64, (whole + 1) * record.len() as u64);
    }
}

/// Syncs that have begun; they go on when nobody holds the lock.
#[derive(Default)]
struct Gate(AtomicUsize, RwLock<()>);

/// A disk whose syncs wait at a gate.
#[derive(Clone)]
struct Slow(FaultyDisk, Arc<Gate>);

struct SlowFile(<FaultyDisk as Disk>::File, Arc<Gate>);

impl Disk for Slow {
    type File = SlowFile;

    fn prepare(&self) -> io::Result<()> {
        self.0.prepare()
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        self.0.list()
    }

    fn create(&self, name: &str) -> io::Result<SlowFile> {
        Ok(SlowFile(self.0.create(name)?, self.1.clone()))
    }

    fn open(&self, name: &str) -> io::Result<SlowFile> {
        Ok(SlowFile(self.0.open(name)?, self.1.clone()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn place(&self) -> String {
        self.0.place()
    }
}

impl DiskFile for SlowFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }

    fn reserve(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.0.reserve(offset, bytes)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.truncate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.1.0.fetch_add(1, Ordering::AcqRel);
        drop(self.1.1.read());
        self.0.sync()
    }
}

/// Records are taken, and files finished, while a sync waits for the disk; what came meanwhile, and what was not synced, is in the next one.
#[test]
fn records_are_taken_while_a_sync_waits_for_the_disk() {
    let (disk, gate) = (FaultyDisk::default(), Arc::new(Gate::default()));
    let limits = Limits { bytes: 1 << 20, policy: Policy::Refuse, file_bytes: 8 };
    let counters = Counters::new(&Registry::default(), "test");
    let slow = Slow(disk.clone(), gate.clone());
    let mut inlet = Inlet::open(slow, limits, Clock::default(), counters.clone(), Box::new(|_| 0)).unwrap();
    let after_power_loss = || disk.after(After::SyncedOnly).files().into_values().flatten().collect::<Vec<u8>>();
    let sync = |inlet: &mut Inlet<Slow>, meanwhile: &dyn Fn(&mut Inlet<Slow>)| {
        let (begun, closed) = (gate.0.load(Ordering::Acquire), gate.1.write().unwrap());
        let pending = inlet.begin_sync();
        let running = std::thread::spawn(|| pending.run());
        while gate.0.load(Ordering::Acquire) == begun {
            std::thread::yield_now();
        }
        meanwhile(inlet);
        drop(closed);
        let synced = running.join().unwrap();
        inlet.end_sync(synced)
    };
    inlet.append(b"abc\n", 1).unwrap();
    let taken = sync(&mut inlet, &|inlet| {
        assert_eq!(inlet.append(b"def\n", 1).unwrap(), Kept::Written);
        assert_eq!(inlet.append(b"ghi\n", 1).unwrap(), Kept::Written);
    });
    taken.unwrap();
    assert_eq!(disk.files().len(), 2, "one was finished meanwhile");
    inlet.sync().unwrap();
    assert_eq!(after_power_loss().len(), 12);
    // Fails: what was written to is finished by the time that this is known.
    inlet.append(b"jkl\n", 1).unwrap();
    let failed = sync(&mut inlet, &|inlet| {
        inlet.append(b"mno\n", 1).unwrap();
        disk.fail(disk.calls(), 1, Fault::Error(EIO));
    });
    assert!(failed.is_err());
    assert_eq!((counters.errors(Operation::Sync), disk.files().len()), (1, 3));
    inlet.sync().unwrap();
    assert_eq!(after_power_loss().len(), 20);
}
