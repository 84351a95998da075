//! The spool on a disk that fails: a crash at every system call, what was not synced lost in every way, every byte flipped, every
//! length cut, every error and short write at every call, every stretch unreadable. Each outcome is asserted.
//!
//! What must hold: a frame comes out with its bytes or not at all, in order, once. After a kill everything is known. After a power loss
//! everything that was synced is known; what was appended since may be missing, and what was acknowledged since may come
//! again. Damage costs what it touches, and the count of lost frames is the number of frames that are lost.

mod support;

use lugger::base::clock::Clock;
use lugger::base::metrics::Registry;
use lugger::store::spool::{AppendError, Counters, Finding, Limits, Meta, Operation, Policy, Reason, Spool};
use std::collections::{BTreeMap, BTreeSet};
use support::faulty_disk::{After, EIO, EMFILE, ENOSPC, Fault, FaultyDisk};

const NOW_S: i64 = 1_800_000_000;
const LIMITS: Limits = Limits { bytes: 1 << 20, age_s: None, policy: Policy::Block, segment_bytes: 400 };

fn clock() -> Clock {
    Clock::Manual(std::sync::Arc::new((NOW_S * 1_000_000_000).into()))
}

fn open_with(disk: &FaultyDisk, limits: Limits) -> (Result<Spool<FaultyDisk>, String>, Counters) {
    let counters = Counters::new(&Registry::default(), "test");
    let spool = Spool::open(disk.clone(), limits, clock(), counters.clone());
    (spool.map_err(|error| error.to_string()), counters)
}

fn open(disk: &FaultyDisk) -> (Spool<FaultyDisk>, Counters) {
    let (spool, counters) = open_with(disk, LIMITS);
    (spool.unwrap(), counters)
}

/// A payload by which its frame is known again.
fn payload(id: u32) -> Vec<u8> {
    let len = 4 + (id as usize * 37) % 150;
    let filler = (0..len - 4).map(|i| (id as usize * 7 + i * 13) as u8);
    id.to_le_bytes().into_iter().chain(filler).collect()
}

fn append(spool: &mut Spool<FaultyDisk>, id: u32) -> Result<(), AppendError> {
    spool.append(Meta { raw_bytes: id * 10, entries: id + 1 }, &payload(id)).map(|_| ())
}

/// The id of the frame that the spool gives; its content is checked. Passing errors are tried again.
fn peek(spool: &mut Spool<FaultyDisk>) -> Option<(u32, u64)> {
    for _ in 0..10_000 {
        let Ok(frame) = spool.next() else { continue };
        return frame.map(|frame| {
            let id = u32::from_le_bytes(frame.payload[..4].try_into().unwrap());
            assert_eq!(frame.payload, payload(id), "the bytes of frame {id}");
            assert_eq!(frame.meta, Meta { raw_bytes: id * 10, entries: id + 1 });
            assert_eq!(frame.created_s, NOW_S);
            (id, frame.sequence)
        });
    }
    panic!("the spool fails without end");
}

fn drain(spool: &mut Spool<FaultyDisk>) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut last = None;
    while let Some((id, sequence)) = peek(spool) {
        assert_eq!(peek(spool), Some((id, sequence)), "it comes until it is acknowledged");
        assert!(last.is_none_or(|last| sequence > last), "numbers ascend");
        last = Some(sequence);
        ids.push(id);
        spool.acknowledge(sequence);
        assert!(ids.len() < 10_000, "the spool gives without end");
    }
    assert!(spool.is_empty());
    assert_eq!(spool.frames(), 0);
    ids
}

fn assert_ascending(ids: &[u32]) {
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "in order and once: {ids:?}");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Append,
    Take,
    Sync,
    Reopen,
}

/// A life: several segments, acknowledgements within and across them, syncs, a restart, an emptied spool.
fn life() -> Vec<Step> {
    use Step::{Append as A, Reopen as R, Sync as S, Take as T};
    vec![
        A, A, A, T, S, A, A, T, T, A, S, A, A, A, T, T, T, A, R, T, A, A, S, T, A, A, T, T, T, T, T, T, A, T, A, S, A,
        A, T, A,
    ]
}

/// What a run has been told.
#[derive(Debug, Default, Clone)]
struct Told {
    next: u32,
    appended: Vec<u32>,
    refused: Vec<u32>,
    acknowledged: BTreeSet<u32>,
    /// As of the last successful sync.
    synced: Vec<u32>,
    acknowledged_synced: BTreeSet<u32>,
    /// Frames that came although they had been acknowledged.
    again: u64,
    /// What was called when the crash came.
    appending: Option<u32>,
    acknowledging: Option<u32>,
}

/// Lives on `disk` until the end or a crash.
fn live(disk: &FaultyDisk, steps: &[Step]) -> (Told, Option<Spool<FaultyDisk>>, Vec<Counters>) {
    let mut told = Told::default();
    let mut counts = Vec::new();
    let reopen = |counts: &mut Vec<Counters>| {
        // A start may fail if the directory cannot be listed; it is tried again, as a service manager would.
        for _ in 0..20 {
            let (spool, counters) = open_with(disk, LIMITS);
            counts.push(counters);
            if spool.is_ok() || disk.crashed() {
                return spool.ok();
            }
        }
        panic!("the spool does not open");
    };
    let mut spool = reopen(&mut counts);
    for step in steps {
        if disk.crashed() {
            break;
        }
        let Some(open) = &mut spool else { break };
        match step {
            Step::Append => {
                let id = told.next;
                told.next += 1;
                told.appending = Some(id);
                let result = append(open, id);
                if disk.crashed() {
                    break;
                }
                told.appending = None;
                if result.is_ok() { &mut told.appended } else { &mut told.refused }.push(id);
            }
            Step::Take => {
                let mut taken = open.next();
                for _ in 0..10 {
                    if taken.is_ok() || disk.crashed() {
                        break;
                    }
                    taken = open.next();
                }
                let Ok(Some(frame)) = taken else { continue };
                let id = u32::from_le_bytes(frame.payload[..4].try_into().unwrap());
                assert_eq!(frame.payload, payload(id));
                assert!(told.appended.contains(&id), "{id} was invented");
                told.again += u64::from(told.acknowledged.contains(&id));
                told.acknowledging = Some(id);
                open.acknowledge(frame.sequence);
                if disk.crashed() {
                    break;
                }
                told.acknowledging = None;
                told.acknowledged.insert(id);
            }
            Step::Sync => {
                if open.sync().is_ok() {
                    told.synced = told.appended.clone();
                    told.acknowledged_synced = told.acknowledged.clone();
                }
            }
            Step::Reopen => {
                spool = None;
                spool = spool.or_else(|| reopen(&mut counts));
            }
        }
    }
    (told, spool, counts)
}

/// After any crash the spool works: new frames come out once, and nothing is left.
fn assert_usable(spool: &mut Spool<FaultyDisk>, disk: &FaultyDisk) {
    for id in 500..506 {
        append(spool, id).unwrap();
    }
    spool.sync().unwrap();
    assert_eq!(spool.len_bytes(), disk.segment_bytes());
    assert_eq!(drain(spool), (500..506).collect::<Vec<_>>());
    let (mut spool, counters) = open(&disk.after(After::Kill));
    assert_eq!(drain(&mut spool), Vec::<u32>::new());
    assert_eq!(counters.all_frames(), 0);
}

#[test]
fn row_25_a_crash_at_every_call() {
    let whole = FaultyDisk::default();
    let (told, _, _) = live(&whole, &life());
    assert!(told.refused.is_empty() && told.acknowledged.len() > 12 && told.appended.len() > 18);
    let calls = whole.calls();
    assert!(calls > 100, "{calls}");
    let mut outcomes = 0;
    for at in 0..=calls {
        for fault in [Fault::CrashBefore, Fault::CrashHalfway, Fault::CrashAfter] {
            let disk = FaultyDisk::default();
            disk.fail(at, 1, fault);
            let (told, spool, _) = live(&disk, &life());
            drop(spool);
            assert_eq!(told.again, 0);
            let losses = [After::SyncedOnly, After::Names, After::Content];
            let some = (0..12).map(|n| After::Some(at * 100 + n));
            for after in [After::Kill].into_iter().chain(losses).chain(some) {
                let context = format!("call {at}, {fault:?}, {after:?}: {told:?}");
                let found = disk.after(after);
                let (mut spool, counters) = open(&found);
                assert_eq!(spool.len_bytes(), found.segment_bytes(), "{context}");
                let got = drain(&mut spool);
                assert_ascending(&got);
                for id in &got {
                    assert!(told.appended.contains(id) || told.appending == Some(*id), "{id} was invented: {context}");
                    assert!(!told.acknowledged_synced.contains(id), "{id} comes again: {context}");
                }
                if after == After::Kill {
                    let waits = |id: &&u32| !told.acknowledged.contains(id) && told.acknowledging != Some(**id);
                    let must: Vec<u32> = told.appended.iter().filter(waits).copied().collect();
                    let may = |id: &&u32| told.acknowledging != Some(**id) && told.appending != Some(**id);
                    assert_eq!(got.iter().filter(may).copied().collect::<Vec<_>>(), must, "{context}");
                    assert_eq!(counters.all_frames(), counters.frames(Reason::Torn), "{context}");
                    assert!(counters.all_frames() <= u64::from(told.appending.is_some()), "{context}");
                } else {
                    for id in &told.synced {
                        let settled = told.acknowledged.contains(id) || told.acknowledging == Some(*id);
                        assert!(settled || got.contains(id), "{id} was synced and is lost: {context}");
                    }
                }
                assert_usable(&mut spool, &found);
                outcomes += 1;
            }
        }
    }
    assert!(outcomes > 5_000, "{outcomes}");
}

#[test]
fn an_error_or_short_call_at_every_call() {
    let whole = FaultyDisk::default();
    live(&whole, &life());
    for at in 0..=whole.calls() {
        for (fault, count) in [
            (Fault::Short, 1),
            (Fault::Short, 50),
            (Fault::Error(EMFILE), 1),
            (Fault::Error(EMFILE), 9),
            (Fault::Error(ENOSPC), 1),
            (Fault::Error(ENOSPC), 2),
            (Fault::Error(ENOSPC), 9),
            (Fault::Error(EIO), 1),
            (Fault::Error(EIO), 2),
            (Fault::Error(EIO), 9),
        ] {
            let disk = FaultyDisk::default();
            disk.fail(at, count, fault);
            let (told, spool, counts) = live(&disk, &life());
            disk.heal();
            let mut spool = spool.unwrap();
            spool.sync().ok();
            spool.sync().unwrap();
            let context = format!("call {at}, {count} times {fault:?}: {told:?} {counts:?}");
            // A part of a refused payload that can neither be cut off nor measured counts as a whole one until its segment goes.
            let excess = spool.len_bytes() - disk.segment_bytes();
            assert!(excess == 0 || (excess < 200 && count == 9), "{excess}: {context}");
            let got = drain(&mut spool);
            let waits = |id: &&u32| !told.acknowledged.contains(id);
            let must: Vec<u32> = told.appended.iter().filter(waits).copied().collect();
            assert_ascending(&got);
            let lost = must.iter().filter(|id| !got.contains(id)).count() as u64;
            assert!(got.iter().all(|id| must.contains(id)), "{got:?}, not {must:?}: {context}");
            // What was acknowledged while the position could not be written comes again after the restart.
            let unwritten: u64 = counts.iter().map(|counters| counters.errors(Operation::Acknowledge)).sum();
            let unread: u64 = counts.iter().map(|counters| counters.findings(Finding::Position)).sum();
            assert!(told.again <= unwritten || (count > 2 && unread > 0), "{context}");
            let counted: u64 = counts.iter().map(Counters::all_frames).sum();
            if matches!(fault, Fault::Short | Fault::Error(EMFILE)) || count == 1 {
                assert_eq!((lost, counted.saturating_sub(told.refused.len() as u64)), (0, 0), "{context}");
            }
            if fault == Fault::Short {
                assert!(told.refused.is_empty() && told.again == 0 && counted == 0, "{context}");
            }
            // A refused payload of which a part stays on disk may count; and what is lost when it comes again.
            let more = told.refused.len() + if unread > 0 { told.acknowledged.len() } else { 0 };
            assert!(lost <= counted && counted <= lost + more as u64, "{lost}, {counted}: {context}");
            assert_usable(&mut spool, &disk);
        }
    }
}

/// A spool of an earlier run with some frames acknowledged, and the ids that wait.
fn earlier() -> (BTreeMap<String, Vec<u8>>, Vec<u32>) {
    let disk = FaultyDisk::default();
    let (mut spool, _) = open(&disk);
    for id in 0..10 {
        append(&mut spool, id).unwrap();
    }
    for id in 0..2 {
        let (got, sequence) = peek(&mut spool).unwrap();
        assert_eq!(got, id);
        spool.acknowledge(sequence);
    }
    let files = disk.files();
    assert!(files.len() > 4, "a position and at least four segments: {:?}", files.keys());
    (files, (2..10).collect())
}

/// The frames of a segment: id, and where it begins and ends. By the form of the files, not by the spool's own reader.
fn layout(bytes: &[u8]) -> Vec<(u32, usize, usize)> {
    let mut at = 24;
    let mut frames = Vec::new();
    while at + 44 <= bytes.len() {
        let len = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        let id = u32::from_le_bytes(bytes[at + 40..at + 44].try_into().unwrap());
        frames.push((id, at, at + 40 + len));
        at += 40 + len;
    }
    assert_eq!(at, bytes.len());
    frames
}

/// Opens, drains, and asserts that exactly `lost` of `waiting` are missing and counted.
#[track_caller]
fn assert_loses(disk: &FaultyDisk, waiting: &[u32], lost: &[u32], context: &str) -> Counters {
    let (mut spool, counters) = open(disk);
    let got = drain(&mut spool);
    let must: Vec<u32> = waiting.iter().filter(|id| !lost.contains(id)).copied().collect();
    assert_eq!(got, must, "{context}");
    assert_eq!(counters.all_frames(), lost.len() as u64, "{context}");
    assert_usable(&mut spool, disk);
    counters
}

#[test]
fn row_24_every_byte_flipped() {
    let (files, waiting) = earlier();
    for (name, bytes) in &files {
        let frames = if name.ends_with(".seg") { layout(bytes) } else { Vec::new() };
        // The position is thousands of bytes of equal records.
        let flips = if frames.is_empty() { &[0x10][..] } else { &[0x01, 0x80, 0xff] };
        for at in 0..bytes.len() {
            for flip in flips {
                let mut damaged = files.clone();
                damaged.get_mut(name).unwrap()[at] ^= flip;
                let touched = frames.iter().filter(|(_, from, to)| (*from..*to).contains(&at)).map(|(id, _, _)| *id);
                let lost: Vec<u32> = touched.filter(|id| waiting.contains(id)).collect();
                let disk = FaultyDisk::with_files(&damaged);
                assert_loses(&disk, &waiting, &lost, &format!("{name}, byte {at}, {flip:#x}"));
            }
        }
    }
}

#[test]
fn every_stretch_overwritten() {
    let (files, waiting) = earlier();
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".seg")) {
        for at in 0..bytes.len() {
            for (len, with) in [(8, 0u8), (60, 0), (60, 0xf1), (200, 0xff)] {
                let end = bytes.len().min(at + len);
                let mut damaged = files.clone();
                damaged.get_mut(name).unwrap()[at..end].fill(with);
                let changed: Vec<usize> = (at..end).filter(|at| damaged[name][*at] != bytes[*at]).collect();
                let is_touched = |from: usize, to: usize| changed.iter().any(|at| (from..to).contains(at));
                let touched = layout(bytes).into_iter().filter(|(_, from, to)| is_touched(*from, *to));
                let lost: BTreeSet<u32> = touched.map(|(id, _, _)| id).filter(|id| waiting.contains(id)).collect();
                let disk = FaultyDisk::with_files(&damaged);
                let (mut spool, counters) = open(&disk);
                let must: Vec<u32> = waiting.iter().filter(|id| !lost.contains(id)).copied().collect();
                let context = format!("{name}, {len} bytes from {at}");
                assert_eq!(drain(&mut spool), must, "{context}");
                let counted = counters.all_frames();
                // How many frames a damaged end of the newest segment had cannot be told: at least one.
                let is_newest = Some(name) == files.keys().rfind(|name| name.ends_with(".seg"));
                let least = if is_newest { lost.len().min(1) } else { lost.len() } as u64;
                assert!(least <= counted && counted <= lost.len() as u64, "{counted} of {lost:?}: {context}");
            }
        }
    }
}

#[test]
fn every_length_cut() {
    let (files, waiting) = earlier();
    let newest = files.keys().rfind(|name| name.ends_with(".seg")).unwrap();
    for (name, bytes) in &files {
        for len in 0..bytes.len() {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap().truncate(len);
            let disk = FaultyDisk::with_files(&damaged);
            let context = format!("{name} cut to {len}");
            if !name.ends_with(".seg") {
                if len >= 64 {
                    assert_loses(&disk, &waiting, &[], &context);
                } else {
                    // Without a position the oldest segment comes again.
                    let (mut spool, counters) = open(&disk);
                    let got = drain(&mut spool);
                    assert_ascending(&got);
                    assert!(waiting.iter().all(|id| got.contains(id)), "{context}");
                    assert_eq!(counters.all_frames(), 0, "{context}");
                }
                continue;
            }
            let cut: Vec<u32> = layout(bytes).into_iter().filter(|(_, _, to)| *to > len).map(|(id, ..)| id).collect();
            let lost: Vec<u32> = cut.into_iter().filter(|id| waiting.contains(id)).collect();
            if name != newest {
                assert_loses(&disk, &waiting, &lost, &context);
                continue;
            }
            // A cut end of the newest segment is what a power loss leaves: what begins before the cut is counted.
            let (mut spool, counters) = open(&disk);
            let must: Vec<u32> = waiting.iter().filter(|id| !lost.contains(id)).copied().collect();
            assert_eq!(drain(&mut spool), must, "{context}");
            let begun = layout(bytes).iter().any(|(_, from, to)| *from < len && len < *to);
            assert_eq!(counters.all_frames(), u64::from(begun), "{context}");
            assert_eq!(counters.frames(Reason::Torn), u64::from(begun), "{context}");
            assert_usable(&mut spool, &disk);
        }
    }
}

#[test]
fn every_stretch_unreadable() {
    let (files, waiting) = earlier();
    for (name, bytes) in &files {
        for at in 0..bytes.len() {
            let disk = FaultyDisk::with_files(&files);
            let stretch = at as u64..at as u64 + 1;
            disk.set_unreadable(name, stretch.clone());
            let context = format!("{name}, byte {at} cannot be read");
            let (mut spool, counters) = open(&disk);
            // New frames do not suffer, whatever numbers could be read.
            for id in 500..510 {
                append(&mut spool, id).unwrap();
            }
            let mut got = drain(&mut spool);
            assert_eq!(got.split_off(got.len() - 10), (500..510).collect::<Vec<_>>(), "{context}");
            if !name.ends_with(".seg") {
                assert_eq!(got, waiting, "{context}");
                continue;
            }
            let frames = layout(bytes);
            let touched: Vec<u32> =
                frames.iter().filter(|(_, from, to)| (*from..*to).contains(&at)).map(|(id, ..)| *id).collect();
            let touched_waiting = touched.iter().filter(|id| waiting.contains(id)).count();
            assert_ascending(&got);
            assert!(got.iter().all(|id| waiting.contains(id) && !touched.contains(id)), "{context}: {got:?}");
            let lost = waiting.len() - got.len();
            assert!(touched_waiting <= lost, "{context}");
            // Reads fail by the block of 4 KiB; behind a head that cannot be read the rest of its block, and with it of so small a
            // segment, is out of reach. Behind a payload that cannot be read nothing is.
            let in_head = frames.iter().any(|(_, from, _)| (*from..*from + 40).contains(&at));
            if !in_head {
                assert_eq!(lost, touched_waiting, "{context}");
            }
            let newest = files.keys().rfind(|name| name.ends_with(".seg")).unwrap();
            if name != newest {
                assert_eq!(counters.all_frames(), lost as u64, "{context}");
                assert_eq!(counters.frames(Reason::Unreadable), lost as u64, "{context}");
            } else {
                assert!(
                    counters.all_frames() >= lost.min(1) as u64 && counters.all_frames() <= lost as u64,
                    "{context}"
                );
            }
        }
    }
}

#[test]
fn every_segment_missing_empty_copied_or_replaced() {
    let (files, waiting) = earlier();
    let names: Vec<&String> = files.keys().filter(|name| name.ends_with(".seg")).collect();
    for (at, name) in names.iter().enumerate() {
        let is_newest = at + 1 == names.len();
        let own: Vec<u32> =
            layout(&files[*name]).iter().map(|(id, ..)| *id).filter(|id| waiting.contains(id)).collect();
        let must: Vec<u32> = waiting.iter().filter(|id| !own.contains(id)).copied().collect();
        let with = |bytes: Option<Vec<u8>>| {
            let mut changed = files.clone();
            match bytes {
                Some(bytes) => changed.insert((*name).clone(), bytes),
                None => changed.remove(*name),
            };
            FaultyDisk::with_files(&changed)
        };
        let garbage = (0..300u32).map(|i| (i * i) as u8).collect();
        let other = files[names[(at + 1) % names.len()]].clone();
        for (what, bytes, counted) in [
            ("missing", None, !is_newest),
            ("empty", Some(Vec::new()), !is_newest),
            ("zero", Some(vec![0; files[*name].len()]), true),
            ("garbage", Some(garbage), true),
            ("a copy of another", Some(other), !is_newest),
        ] {
            let (mut spool, counters) = open(&with(bytes));
            assert_eq!(drain(&mut spool), must, "{name} is {what}");
            let counts = counters.all_frames();
            if is_newest {
                assert_eq!(counts, u64::from(counted), "{name} is {what}");
            } else {
                assert_eq!(counts, own.len() as u64, "{name} is {what}");
            }
        }
    }
}

#[test]
fn foreign_files_and_copies_cost_nothing_and_are_left_alone() {
    let (files, waiting) = earlier();
    let names: Vec<String> = files.keys().filter(|name| name.ends_with(".seg")).cloned().collect();
    let first: u64 = names[0].trim_end_matches(".seg").parse().unwrap();
    for place in [first - 5, first + 1, first + 3, first + 1000, 0, (1 << 62) - 1] {
        let copy = format!("{place:020}.seg");
        if files.contains_key(&copy) || place < first {
            // A number before the position is taken for a settled segment.
            continue;
        }
        let mut more = files.clone();
        more.insert(copy.clone(), files[&names[1]].clone());
        for foreign in ["notes.txt", "position.tmp", "7.seg", "99999999999999999999.seg", "core", ".hidden"] {
            more.insert(foreign.into(), b"mine".to_vec());
        }
        let disk = FaultyDisk::with_files(&more);
        let (mut spool, counters) = open(&disk);
        assert_eq!(drain(&mut spool), waiting, "a copy as {copy}");
        assert_eq!(counters.all_frames(), 0, "a copy as {copy}");
        append(&mut spool, 77).unwrap();
        assert_eq!(drain(&mut spool), [77]);
        let left = disk.files();
        for foreign in ["notes.txt", "position.tmp", "7.seg", &copy] {
            assert!(left.contains_key(foreign), "{foreign}");
        }
    }
}

#[test]
fn a_payload_that_contains_segments_is_not_taken_for_them() {
    let (files, _) = earlier();
    let all: Vec<u8> = files.values().flatten().copied().collect();
    let disk = FaultyDisk::default();
    let (mut spool, _) = open(&disk);
    append(&mut spool, 1).unwrap();
    spool.append(Meta { raw_bytes: 0, entries: 0 }, &all).unwrap();
    append(&mut spool, 2).unwrap();
    drop(spool);
    for (name, bytes) in disk.files().iter().filter(|(_, bytes)| bytes.len() > all.len()) {
        // The head of the frame that carries them, so that its payload is searched.
        for at in 24..64 {
            let mut damaged = disk.files();
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            damaged.insert(name.clone(), changed);
            let (mut spool, counters) = open(&FaultyDisk::with_files(&damaged));
            assert_eq!(drain(&mut spool), [1, 2]);
            assert_eq!(counters.frames(Reason::Damaged) + counters.frames(Reason::Torn), 1);
        }
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    for room in 0..1_500 {
        let disk = FaultyDisk::default();
        disk.set_room(Some(room));
        let (mut spool, counters) = open(&disk);
        let mut appended = Vec::new();
        for id in 0..12 {
            if append(&mut spool, id).is_ok() {
                appended.push(id);
            }
            assert_eq!(spool.len_bytes(), disk.segment_bytes(), "room {room}");
        }
        // A kill in this state loses nothing of what was taken.
        let (mut again, _) = open(&disk.after(After::Kill));
        assert_eq!(drain(&mut again), appended, "room {room}");
        // Reading makes room, also while the position cannot be written.
        let (id, sequence) = match peek(&mut spool) {
            Some(found) => found,
            None => continue,
        };
        assert_eq!(Some(&id), appended.first());
        spool.acknowledge(sequence);
        disk.heal();
        append(&mut spool, 50).unwrap();
        let must: Vec<u32> = appended.iter().skip(1).copied().chain([50]).collect();
        assert_eq!(drain(&mut spool), must, "room {room}");
        assert_eq!(counters.all_frames(), 0, "room {room}");
        assert_usable(&mut spool, &disk);
    }
}

#[test]
fn an_error_while_the_oldest_are_dropped_drops_no_others() {
    let limits = Limits { bytes: 1_500, policy: Policy::DropOldest, ..LIMITS };
    let fill = |disk: &FaultyDisk| {
        let (spool, counters) = open_with(disk, limits);
        let mut spool = spool.unwrap();
        let mut id = 0;
        while spool.len_bytes() < 1_350 {
            append(&mut spool, id).unwrap();
            id += 1;
        }
        assert_eq!(counters.all_frames(), 0);
        (spool, counters, id)
    };
    let disk = FaultyDisk::default();
    let (mut spool, counters, next) = fill(&disk);
    let before = disk.calls();
    append(&mut spool, next).unwrap();
    let (usual, calls) = (counters.frames(Reason::Full), disk.calls() - before);
    assert!(usual > 0);
    for at in 0..calls {
        for (fault, count) in [(Fault::Error(EMFILE), 1), (Fault::Error(EIO), 1), (Fault::Error(EIO), 2)] {
            let disk = FaultyDisk::default();
            let (mut spool, counters, next) = fill(&disk);
            disk.fail(disk.calls() + at, count, fault);
            let appended = append(&mut spool, next).is_ok();
            disk.heal();
            let context = format!("call {at}, {count} times {fault:?}");
            assert!(counters.all_frames() <= usual, "{}, not {usual}: {context}", counters.all_frames());
            let dropped = counters.frames(Reason::Full) as u32;
            let got = drain(&mut spool);
            let refused = counters.all_frames() - u64::from(dropped);
            assert!(refused <= u64::from(!appended), "{context}");
            assert_eq!(got, (dropped..next + u32::from(appended)).collect::<Vec<_>>(), "{context}");
        }
    }
}
