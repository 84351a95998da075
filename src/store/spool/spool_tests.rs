//! Tests of the spool on a real directory: limits, policies, ages, settling. What failing disks do is in `tests/spool_faults.rs`.

use super::*;
use crate::base::metrics::Registry;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;

const META: Meta = Meta { raw_bytes: 1000, entries: 7 };

struct Rig {
    directory: TempDir,
    time: Arc<AtomicI64>,
    limits: Limits,
    counters: Counters,
}

impl Rig {
    fn new(limits: Limits) -> Self {
        let time = Arc::new((1_800_000_000 * 1_000_000_000).into());
        let counters = Counters::new(&Registry::default(), "home");
        Rig { directory: TempDir::new().unwrap(), time, limits, counters }
    }

    fn open(&self) -> Spool {
        let disk = Directory::new(&self.directory.path().join("spool/home"));
        Spool::open(disk, self.limits, Clock::Manual(self.time.clone()), self.counters.clone()).unwrap()
    }

    fn pass(&self, seconds: i64) {
        self.time.fetch_add(seconds * 1_000_000_000, Ordering::Relaxed);
    }

    fn segments(&self) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.directory.path().join("spool/home")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.ends_with(".seg") {
                found.push((name, entry.metadata().unwrap().len()));
            }
        }
        found.sort();
        found
    }

    #[track_caller]
    fn assert_accounted(&self, spool: &Spool) {
        let bytes: u64 = self.segments().iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(spool.len_bytes(), bytes);
        assert!(bytes <= self.limits.bytes);
    }
}

fn limits(bytes: u64, age_s: Option<u64>, policy: Policy) -> Limits {
    Limits { bytes, age_s, policy, segment_bytes: 1000 }
}

fn payload(id: u8) -> Vec<u8> {
    vec![id; 160]
}

fn take(spool: &mut Spool) -> Option<u8> {
    let frame = spool.next().unwrap()?;
    spool.acknowledge(frame.sequence);
    frame.payload.first().copied()
}

#[test]
fn an_owner_can_live_in_any_thread() {
    fn is_send<T: Send>() {}
    is_send::<Spool>();
}

#[test]
fn first_in_first_out_also_over_restarts() {
    let rig = Rig::new(limits(1 << 20, None, Policy::Block));
    let mut spool = rig.open();
    assert!(spool.is_empty());
    assert_eq!(spool.next().unwrap(), None);
    assert_eq!(spool.oldest_created_s(), None);
    for id in 0..20 {
        spool.append(META, &payload(id)).unwrap();
        rig.pass(1);
    }
    assert_eq!(spool.frames(), 20);
    assert_eq!(rig.segments().len(), 5, "four frames of 200 bytes fit into a segment");
    for id in 0..20 {
        if id % 3 == 0 {
            spool = rig.open();
        }
        assert!(!spool.is_empty());
        assert_eq!(spool.oldest_created_s(), Some(1_800_000_000 + i64::from(id)));
        let frame = spool.next().unwrap().unwrap();
        assert_eq!(frame.meta, META);
        // Another number settles nothing.
        spool.acknowledge(frame.sequence + 1);
        assert_eq!(spool.next().unwrap().unwrap(), frame);
        assert_eq!(take(&mut spool), Some(id));
        rig.assert_accounted(&spool);
    }
    assert!(spool.is_empty());
    assert_eq!(rig.segments(), []);
    assert_eq!(rig.open().next().unwrap(), None);
    assert_eq!(rig.counters.all_frames(), 0);
}

#[test]
fn a_trickle_keeps_to_one_segment_until_it_is_full() {
    let rig = Rig::new(limits(1 << 20, None, Policy::Block));
    let mut spool = rig.open();
    for round in 0..50 {
        spool.append(META, &payload(round)).unwrap();
        assert_eq!(take(&mut spool), Some(round));
        assert!(spool.is_empty());
        assert!(rig.segments().len() <= 2);
        rig.assert_accounted(&spool);
    }
    assert_eq!(rig.segments().len(), 1);
    spool.sync().unwrap();
    assert_eq!(rig.segments(), []);
    assert_eq!(spool.len_bytes(), 0);
    spool.append(META, &payload(99)).unwrap();
    spool.sync().unwrap();
    assert_eq!(take(&mut spool), Some(99));
}

#[test]
fn a_payload_lends_its_memory_for_as_long_as_it_lives() {
    let rig = Rig::new(limits(1 << 20, None, Policy::Block));
    let mut spool = rig.open();
    for id in 0..4 {
        spool.append(META, &payload(id)).unwrap();
    }
    let held = spool.next().unwrap().unwrap();
    spool.acknowledge(held.sequence);
    let second = spool.next().unwrap().unwrap();
    assert_eq!((&held.payload[..], &second.payload[..]), (&payload(0)[..], &payload(1)[..]));
    let place = second.payload.as_ptr();
    spool.acknowledge(second.sequence);
    drop(second);
    assert_eq!(spool.next().unwrap().unwrap().payload.as_ptr(), place);
}

#[test]
fn when_it_is_full_the_newcomer_waits() {
    let rig = Rig::new(limits(2500, None, Policy::Block));
    let mut spool = rig.open();
    let mut held = VecDeque::new();
    for id in 0..100 {
        if let Err(error) = spool.append(META, &payload(id)) {
            assert!(matches!(error, AppendError::Full { .. }), "{error}");
            assert!(held.len() >= 9, "{}", held.len());
            // Room comes with whole segments.
            for _ in 0..4 {
                assert_eq!(take(&mut spool), held.pop_front());
            }
            spool.append(META, &payload(id)).unwrap();
        }
        held.push_back(id);
        rig.assert_accounted(&spool);
    }
    while let Some(id) = held.pop_front() {
        assert_eq!(take(&mut spool), Some(id));
    }
    assert_eq!(rig.counters.all_frames(), 0);
}

#[test]
fn what_was_settled_makes_room_even_in_the_segment_being_written() {
    let rig = Rig::new(Limits { segment_bytes: 1 << 20, ..limits(700, None, Policy::Block) });
    let mut spool = rig.open();
    for round in 0..5 {
        for id in 0..3 {
            spool.append(META, &payload(id)).unwrap();
        }
        assert!(matches!(spool.append(META, &payload(9)), Err(AppendError::Full { .. })), "{round}");
        for id in 0..3 {
            assert_eq!(take(&mut spool), Some(id));
        }
    }
}

#[test]
fn what_can_never_fit_is_said_to() {
    let rig = Rig::new(limits(2500, None, Policy::DropOldest));
    let mut spool = rig.open();
    spool.append(META, &payload(1)).unwrap();
    assert!(matches!(spool.append(META, &[0; 2500]), Err(AppendError::TooLarge { bytes: 2500, .. })));
    assert_eq!(take(&mut spool), Some(1));
    let big = vec![3; 2500 - 64];
    spool.append(META, &big).unwrap();
    assert_eq!(spool.next().unwrap().unwrap().payload, big);
    rig.assert_accounted(&spool);
}

#[test]
fn when_it_is_full_the_oldest_go_and_are_counted() {
    let rig = Rig::new(limits(2500, None, Policy::DropOldest));
    let mut spool = rig.open();
    let mut in_hand = None;
    for id in 0..100 {
        spool.append(META, &payload(id)).unwrap();
        rig.assert_accounted(&spool);
        if id == 2 {
            in_hand = spool.next().unwrap();
        }
    }
    // It was dropped while it was being sent; its acknowledgement settles nothing else.
    spool.acknowledge(in_hand.unwrap().sequence);
    let dropped = rig.counters.frames(Reason::Full);
    assert_eq!(rig.counters.entries(Reason::Full), dropped * 7);
    assert_eq!(rig.counters.all_frames(), dropped);
    for id in dropped..100 {
        assert_eq!(take(&mut spool), Some(id as u8));
    }
    assert_eq!(take(&mut spool), None);
    assert!((88..=92).contains(&dropped), "{dropped}");
}

#[test]
fn the_oldest_go_also_over_a_restart_and_from_the_only_segment() {
    let rig = Rig::new(Limits { segment_bytes: 1 << 20, ..limits(900, None, Policy::DropOldest) });
    for id in 0..30 {
        rig.open().append(META, &payload(id)).unwrap();
    }
    let mut spool = rig.open();
    for id in 30..33 {
        spool.append(META, &payload(id)).unwrap();
        rig.assert_accounted(&spool);
    }
    let dropped = rig.counters.frames(Reason::Full);
    let mut left = Vec::new();
    while let Some(id) = take(&mut spool) {
        left.push(id);
    }
    assert_eq!(left, (dropped as u8..33).collect::<Vec<_>>());
    assert_eq!(rig.counters.all_frames(), dropped);
}

#[test]
fn what_is_too_old_goes_and_is_counted() {
    for policy in [Policy::Block, Policy::DropOldest] {
        let rig = Rig::new(limits(2500, Some(60), policy));
        let mut spool = rig.open();
        for id in 0..9 {
            spool.append(META, &payload(id)).unwrap();
            rig.pass(10);
        }
        assert_eq!(spool.next().unwrap().unwrap().payload[0], 3, "90 s later the first three are above 60 s");
        assert_eq!(rig.counters.frames(Reason::Expired), 3);
        assert_eq!(rig.counters.entries(Reason::Expired), 21);
        // Also the one in hand, and by the end of the process it is not forgotten.
        rig.pass(10);
        assert_eq!(spool.next().unwrap().unwrap().payload[0], 4);
        let mut spool = rig.open();
        assert_eq!(spool.next().unwrap().unwrap().payload[0], 4);
        assert_eq!(rig.counters.frames(Reason::Expired), 4);
        // Age makes room before anything else gives way.
        rig.pass(1000);
        for id in 20..29 {
            spool.append(META, &payload(id)).unwrap();
        }
        assert_eq!(rig.counters.frames(Reason::Expired), 9);
        assert_eq!(rig.counters.all_frames(), 9);
        // A clock that runs back makes nothing old.
        rig.pass(-5000);
        assert_eq!(take(&mut spool), Some(20));
        rig.assert_accounted(&spool);
    }
}

#[test]
fn what_happens_to_the_files_while_it_runs_costs_what_it_touches() {
    let rig = Rig::new(limits(1 << 20, None, Policy::Block));
    let mut spool = rig.open();
    for id in 0..12 {
        spool.append(META, &payload(id)).unwrap();
    }
    let names: Vec<String> = rig.segments().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 3);
    let path = |at: usize| rig.directory.path().join("spool/home").join(&names[at]);
    assert_eq!(take(&mut spool), Some(0));
    std::fs::remove_file(path(1)).unwrap();
    std::fs::OpenOptions::new().write(true).open(path(2)).unwrap().set_len(24 + 3 * 200 + 10).unwrap();
    for id in [1, 2, 3, 8, 9, 10] {
        assert_eq!(take(&mut spool), Some(id));
    }
    assert_eq!(take(&mut spool), None);
    assert_eq!(rig.counters.all_frames(), 5);
    // All of it removed under its feet.
    spool.append(META, &payload(50)).unwrap();
    std::fs::remove_dir_all(rig.directory.path().join("spool/home")).unwrap();
    let _ = spool.next();
    for id in 60..70 {
        spool.append(META, &payload(id)).unwrap();
    }
    spool.sync().unwrap();
    let mut got = Vec::new();
    while let Some(id) = take(&mut spool) {
        got.push(id);
    }
    assert_eq!(got.last(), Some(&69), "{got:?}");
    let lost = 11 - got.len() as u64;
    assert_eq!(rig.counters.all_frames(), 5 + lost);
    spool.append(META, &payload(99)).unwrap();
    spool.sync().unwrap();
    assert_eq!(take(&mut rig.open()), Some(99));
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_that_names_it() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let rig = Rig::new(limits(1000, None, Policy::Block));
    let error = Spool::open(Directory::new(&file.join("spool")), rig.limits, Clock::System, rig.counters.clone());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("file/spool: cannot make its directory"), "{error}");
}

#[test]
fn segments_fit_the_bound() {
    for (bytes, segment) in [(1 << 30, 16 << 20), (8 << 20, 1 << 20), (1000, 64 << 10)] {
        assert_eq!(Limits::new(bytes, None, Policy::Block).segment_bytes, segment);
    }
}

#[test]
fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new(limits(1 << 20, None, Policy::Block));
    let mut spool = rig.open();
    spool.append(META, &payload(1)).unwrap();
    take(&mut spool);
    let directory = rig.directory.path().join("spool/home");
    assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in std::fs::read_dir(directory).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
