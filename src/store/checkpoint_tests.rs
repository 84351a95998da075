//! Tests of the checkpoints: what is read back after every kind of end and damage.

use super::*;
use crate::base::limits::CHECKPOINT_KEEP_S;
use crate::model::flow::Note;
use crate::store::files;
use tempfile::TempDir;

const NOW: i64 = 1_800_000_000;

fn clock() -> Clock {
    Clock::Manual(Arc::new((NOW * 1_000_000_000).into()))
}

fn open(directory: &TempDir) -> Checkpoints {
    Checkpoints::open(directory.path(), clock(), &Registry::default()).unwrap()
}

fn intent(start: u64, end: u64) -> Intent {
    Intent { start, end, time_ns: 1000 + start as i64, merged: false, note: Note::default() }
}

/// Opens the directory as it stands, as if the first process had been killed: without closing it.
fn reopen_copy(directory: &TempDir) -> (TempDir, Vec<Saved>) {
    let copy = TempDir::new().unwrap();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        // Not the full disk of a test.
        if entry.file_type().unwrap().is_symlink() {
            continue;
        }
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let saved = open(&copy).saved(b"");
    (copy, saved)
}

#[test]
fn a_kill_at_any_moment_leaves_cursors_and_intents() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let slot = store.define(b"file/a", b"/var/log/a", 0, b"m0");
    store.intend([(slot, intent(0, 10)), (slot, intent(10, 30))].into_iter());
    store.commit([(slot, 10, b"m1".as_slice())].into_iter());
    let (_copy, saved) = reopen_copy(&directory);
    assert_eq!(
        saved,
        vec![Saved {
            slot,
            key: b"file/a".as_slice().into(),
            meta: b"/var/log/a".as_slice().into(),
            position: 10,
            mark: b"m1".as_slice().into(),
            intents: [intent(10, 30)].into(),
            seen_s: NOW,
        }]
    );
}

#[test]
fn an_intent_replaces_those_for_the_same_bytes() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let slot = store.define(b"a", b"", 0, b"");
    let later = |start, end| Intent { start, end, time_ns: 5, merged: true, note: Note::default() };
    store.intend([intent(0, 10), intent(10, 20), intent(20, 30), intent(30, 40)].map(|i| (slot, i)).into_iter());
    store.intend([later(10, 25), intent(30, 40), later(40, 41)].map(|i| (slot, i)).into_iter());
    let (_copy, saved) = reopen_copy(&directory);
    assert_eq!(saved[0].intents, [intent(0, 10), later(10, 25), intent(30, 40), later(40, 41)]);
}

#[test]
fn restart_forget_and_slot_reuse_survive() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let a = store.define(b"a", b"", 5, b"");
    let b = store.define(b"b", b"", 7, b"");
    store.intend([(b, intent(7, 9))].into_iter());
    store.restart(b, 0, b"new");
    store.forget(a);
    let c = store.define(b"c", b"meta", 3, b"x");
    assert_eq!(c, a);
    store.flush();
    let (_copy, saved) = reopen_copy(&directory);
    let found: Vec<_> = saved.iter().map(|s| (&*s.key, s.position, s.intents.len())).collect();
    assert_eq!(found, vec![(b"c".as_slice(), 3, 0), (b"b".as_slice(), 0, 0)]);
}

#[test]
fn a_clean_close_leaves_one_snapshot_and_its_predecessor() {
    let directory = TempDir::new().unwrap();
    for round in 0..5u64 {
        let store = open(&directory);
        let slot = match store.saved(b"k").first() {
            Some(saved) => {
                assert_eq!(saved.position, round);
                saved.slot
            }
            None => store.define(b"k", b"", 0, b""),
        };
        store.commit([(slot, round + 1, b"".as_slice())].into_iter());
        store.close();
    }
    assert_eq!(files::files(directory.path()).unwrap().len(), 4);
}

#[test]
fn a_second_agent_on_the_same_directory_is_told_so() {
    let directory = TempDir::new().unwrap();
    let _first = open(&directory);
    let second = Checkpoints::open(directory.path(), clock(), &Registry::default());
    assert!(matches!(second, Err(StoreError::Locked { .. })));
}

#[test]
fn cursors_that_nobody_claims_are_forgotten_in_the_end() {
    let directory = TempDir::new().unwrap();
    let time = Arc::new(std::sync::atomic::AtomicI64::new(NOW * 1_000_000_000));
    let pass = |seconds: i64| time.fetch_add(seconds * 1_000_000_000, std::sync::atomic::Ordering::Relaxed);
    let open = || Checkpoints::open(directory.path(), Clock::Manual(time.clone()), &Registry::default()).unwrap();
    let store = open();
    store.define(b"used", b"", 1, b"");
    let unused = store.define(b"unused", b"", 1, b"");
    store.unclaim(unused);
    pass(CHECKPOINT_KEEP_S + 1);
    store.close();
    drop(store);
    let keys = |store: &Checkpoints| store.saved(b"").iter().map(|s| s.key.to_vec()).collect::<Vec<_>>();
    let store = open();
    assert_eq!(keys(&store), vec![b"used".to_vec()]);
    drop(store);
    pass(CHECKPOINT_KEEP_S + 1);
    assert_eq!(keys(&open()), Vec::<Vec<u8>>::new());
}

/// The newest file of a kind.
fn newest(directory: &TempDir, kind: &str) -> PathBuf {
    let of_kind = |p: &PathBuf| p.extension().is_some_and(|e| e == kind);
    let mut found = files::files(directory.path()).unwrap();
    found.sort();
    found.into_iter().map(|(_, path)| path).rfind(of_kind).unwrap()
}

#[test]
fn a_damaged_snapshot_is_set_aside_and_the_one_before_serves() {
    for damage in ["nul", "empty", "torn", "flip"] {
        let directory = TempDir::new().unwrap();
        let store = open(&directory);
        let slot = store.define(b"k", b"", 0, b"");
        store.commit([(slot, 42, b"".as_slice())].into_iter());
        store.close();
        drop(store);
        let snapshot = newest(&directory, "snapshot");
        let mut bytes = std::fs::read(&snapshot).unwrap();
        match damage {
            "nul" => bytes.fill(0),
            "empty" => bytes.clear(),
            "torn" => bytes.truncate(bytes.len() - 3),
            _ => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 4;
            }
        }
        std::fs::write(&snapshot, bytes).unwrap();
        let registry = Registry::default();
        let store = Checkpoints::open(directory.path(), clock(), &registry).unwrap();
        assert_eq!(store.saved(b"k").first().map(|s| s.position), Some(42), "{damage}");
        assert!(registry.render().contains("lugger_checkpoint_damaged_total 1"), "{damage}");
        let aside = std::fs::read_dir(directory.path()).unwrap();
        assert!(aside.flatten().any(|e| e.file_name().to_string_lossy().ends_with(".damaged")), "{damage}");
    }
}

#[test]
fn every_truncation_of_the_journal_gives_an_older_cursor_never_a_newer_one() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let slot = store.define(b"k", b"", 0, b"");
    for position in 1..20 {
        store.commit([(slot, position, b"".as_slice())].into_iter());
    }
    let journal = newest(&directory, "journal");
    let whole = std::fs::read(&journal).unwrap();
    let mut last = 0;
    for len in 0..=whole.len() {
        let copy = TempDir::new().unwrap();
        for entry in std::fs::read_dir(directory.path()).unwrap().flatten() {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        std::fs::write(copy.path().join(journal.file_name().unwrap()), &whole[..len]).unwrap();
        let position = open(&copy).saved(b"k").first().map_or(0, |s| s.position);
        assert!(position >= last && position < 20, "{len}: {position} after {last}");
        last = position;
    }
    assert_eq!(last, 19);
}

#[test]
fn a_pair_of_files_is_read_as_the_directory_is() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    store.define(b"old", b"", 1, b"");
    store.close();
    let slot = store.define(b"new", b"meta", 2, b"mark");
    store.intend([(slot, intent(2, 9))].into_iter());
    let (snapshot, journal) = (newest(&directory, "snapshot"), newest(&directory, "journal"));
    let number = files::files(directory.path()).unwrap().into_iter().map(|(number, _)| number).max().unwrap();
    let found = read_pair(&std::fs::read(snapshot).unwrap(), &std::fs::read(journal).unwrap(), number);
    assert_eq!(found, reopen_copy(&directory).1);
    assert_eq!(found.len(), 2);
}

#[test]
fn random_bytes_in_every_file_never_stop_the_start() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    store.define(b"k", b"", 1, b"");
    store.close();
    drop(store);
    for (i, (_, path)) in files::files(directory.path()).unwrap().into_iter().enumerate() {
        let bytes: Vec<u8> = (0..300u32).map(|n| (n * 31 + i as u32 * 7) as u8).collect();
        std::fs::write(path, bytes).unwrap();
    }
    let store = open(&directory);
    assert!(store.saved(b"").is_empty());
    store.define(b"again", b"", 1, b"");
    store.close();
    drop(store);
    assert_eq!(open(&directory).saved(b"").len(), 1);
}

#[test]
fn the_journal_is_compacted_when_it_has_grown() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let slot = store.define(b"k", b"", 0, b"");
    let mark = [0u8; 200];
    for position in 1..=(2 * JOURNAL_BYTES / 200) {
        store.commit([(slot, position, mark.as_slice())].into_iter());
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while std::fs::metadata(newest(&directory, "journal")).unwrap().len() > JOURNAL_BYTES {
        assert!(std::time::Instant::now() < deadline, "not compacted");
        std::thread::yield_now();
    }
    // The old files are removed while they would be copied.
    store.keeper.stop();
    let (_copy, saved) = reopen_copy(&directory);
    assert_eq!(saved.first().map(|s| s.position), Some(2 * JOURNAL_BYTES / 200));
}

/// Copies the files as they are, for a start from this very moment.
fn copy_of(directory: &TempDir) -> TempDir {
    reopen_copy(directory).0
}

fn position(directory: &TempDir) -> Option<u64> {
    let (_copy, saved) = reopen_copy(directory);
    saved.iter().find(|s| *s.key == *b"k").map(|s| s.position)
}

/// Makes the next attempt to write the snapshot of this number find a full disk. The attempt after that finds room.
fn fill_disk_for_snapshot(directory: &TempDir, number: u64) {
    let temporary = files::path_of(directory.path(), number, "tmp");
    std::os::unix::fs::symlink("/dev/full", temporary).unwrap();
}

/// Makes the next append fail as on a full disk.
fn fill_disk_for_journal(store: &Checkpoints) {
    let full = Arc::new(OpenOptions::new().write(true).open("/dev/full").unwrap());
    store.shared.lock().journal.as_mut().unwrap().file = full;
}

fn commit(store: &Checkpoints, slot: u32, position: u64) {
    store.commit([(slot, position, b"".as_slice())].into_iter());
}

fn errors(registry: &Registry) -> String {
    let text = registry.render();
    let line = text.lines().find(|l| l.starts_with("lugger_checkpoint_write_errors_total")).unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn a_full_disk_does_not_stop_the_first_start() {
    let directory = TempDir::new().unwrap();
    fill_disk_for_snapshot(&directory, 1);
    let registry = Registry::default();
    let store = Checkpoints::open(directory.path(), clock(), &registry).unwrap();
    assert_eq!(errors(&registry), "1");
    let slot = store.define(b"k", b"", 0, b"");
    commit(&store, slot, 5);
    // The journal found room, and needs no snapshot.
    assert_eq!(position(&directory), Some(5));
    store.close();
    assert_eq!(position(&directory), Some(5));
}

#[test]
fn a_full_disk_at_the_start_leaves_what_was_loaded_on_disk_and_is_healed_when_there_is_room() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let slot = store.define(b"k", b"", 0, b"");
    commit(&store, slot, 5);
    drop(store);
    // A torn tail: the next journal must not build on it, so that without a snapshot there is none.
    let torn = newest(&directory, "journal");
    let mut file = OpenOptions::new().append(true).open(&torn).unwrap();
    file.write_all(b"torn").unwrap();
    fill_disk_for_snapshot(&directory, 2);
    let before = files::files(directory.path()).unwrap().len();
    let store = open(&directory);
    store.keeper.stop();
    assert!(store.shared.lock().journal.is_none());
    assert_eq!(store.saved(b"k").first().map(|s| s.position), Some(5));
    assert!(torn.exists(), "it is the only source of its records");
    assert_eq!(files::files(directory.path()).unwrap().len(), before, "a journal that counts for nothing was left");
    commit(&store, slot, 9);
    assert_eq!(position(&directory), Some(5), "an older cursor, never a newer or none");
    // There is room again.
    store.shared.compact().unwrap();
    assert!(!store.shared.lock().failing);
    assert!(!torn.exists());
    commit(&store, slot, 11);
    assert_eq!(position(&directory), Some(11));
}

#[test]
fn the_keeper_heals_by_itself() {
    let directory = TempDir::new().unwrap();
    let registry = Registry::default();
    let store = Checkpoints::open(directory.path(), clock(), &registry).unwrap();
    let slot = store.define(b"k", b"", 0, b"");
    store.flush();
    fill_disk_for_journal(&store);
    commit(&store, slot, 5);
    commit(&store, slot, 6);
    assert_eq!(errors(&registry), "1", "a journal that failed is not tried again");
    let deadline = Instant::now() + Duration::from_secs(30);
    while store.shared.lock().journal.is_none() || store.shared.lock().failing {
        assert!(Instant::now() < deadline, "not healed");
        // Spinning on the lock would keep the keeper from it.
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(position(&directory), Some(6));
    commit(&store, slot, 7);
    assert_eq!(position(&directory), Some(7));
}

#[test]
fn what_comes_while_a_pair_is_made_is_in_its_journal() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let slot = store.define(b"k", b"", 0, b"");
    store.flush();
    store.keeper.stop();
    for broken in [false, true] {
        let at = store.saved(b"k")[0].position;
        if broken {
            fill_disk_for_journal(&store);
        }
        commit(&store, slot, at + 1);
        let begun = store.shared.begin_pair().unwrap();
        assert_eq!(begun.alone, broken);
        commit(&store, slot, at + 2);
        // A kill just now: what builds on missing records is not used.
        assert_eq!(position(&directory), Some(if broken { at } else { at + 2 }));
        store.shared.finish_pair(begun).unwrap();
        assert_eq!(position(&directory), Some(at + 2));
        commit(&store, slot, at + 3);
        assert_eq!(position(&directory), Some(at + 3));
    }
}

#[test]
fn a_pair_whose_snapshot_fails_stays_on_the_pair_before_or_is_given_up() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let slot = store.define(b"k", b"", 0, b"");
    store.keeper.stop();
    commit(&store, slot, 1);
    // The journals are whole: they go on without the snapshot.
    fill_disk_for_snapshot(&directory, store.shared.lock().number + 1);
    let begun = store.shared.begin_pair().unwrap();
    commit(&store, slot, 2);
    store.shared.finish_pair(begun).unwrap_err();
    commit(&store, slot, 3);
    assert_eq!(position(&directory), Some(3));
    // A record is missing: without the snapshot nothing that comes later counts.
    fill_disk_for_journal(&store);
    let other = store.define(b"other", b"", 0, b"");
    commit(&store, slot, 4);
    fill_disk_for_snapshot(&directory, store.shared.lock().number + 1);
    let begun = store.shared.begin_pair().unwrap();
    store.forget(slot);
    let reused = store.define(b"k", b"", 0, b"");
    assert_eq!(reused, slot);
    store.flush();
    assert_eq!(position(&directory), Some(3));
    store.shared.finish_pair(begun).unwrap_err();
    assert!(store.shared.lock().journal.is_none());
    commit(&store, other, 5);
    commit(&store, reused, 6);
    assert_eq!(position(&directory), Some(3));
    store.shared.compact().unwrap();
    assert_eq!(position(&directory), Some(6));
    commit(&store, reused, 7);
    let copy = copy_of(&directory);
    assert_eq!(position(&copy), Some(7));
}

#[test]
fn nothing_is_used_behind_a_tail_that_could_not_be_cut() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let slot = store.define(b"k", b"", 0, b"");
    commit(&store, slot, 1);
    store.keeper.stop();
    {
        let mut state = store.shared.lock();
        let journal = state.journal.as_ref().unwrap();
        (&*journal.file).write_all(b"half a frame").unwrap();
        state.break_off();
    }
    let begun = store.shared.begin_pair().unwrap();
    commit(&store, slot, 2);
    assert_eq!(position(&directory), Some(1));
    store.shared.finish_pair(begun).unwrap();
    assert_eq!(position(&directory), Some(2));
}

#[test]
fn definitions_are_gathered_and_reach_the_journal_with_the_first_need_or_the_keeper() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let journal = newest(&directory, "journal");
    let length = || std::fs::metadata(&journal).unwrap().len();
    let empty = length();
    store.define(b"k", b"", 3, b"");
    store.flush();
    let one = length();
    assert!(one > empty);
    store.flush();
    assert_eq!(length(), one);
    for n in 0..10_000u32 {
        store.define(&n.to_le_bytes(), b"/var/log/file", 0, b"");
    }
    assert!(length() > one + 10_000 * 50, "they are not kept back beyond the buffer");
    let slot = store.define(b"last", b"", 0, b"");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !store.shared.lock().pending.is_empty() {
        assert!(Instant::now() < deadline, "the keeper does not write");
        std::thread::sleep(Duration::from_millis(10));
    }
    commit(&store, slot, 1);
    assert!(store.shared.lock().pending.is_empty());
    assert_eq!(reopen_copy(&directory).1.len(), 10_002);
}

#[test]
fn cursors_that_aged_do_not_leave_anything_to_those_that_take_their_slots() {
    let directory = TempDir::new().unwrap();
    let time = Arc::new(std::sync::atomic::AtomicI64::new(NOW * 1_000_000_000));
    let store = Checkpoints::open(directory.path(), Clock::Manual(time.clone()), &Registry::default()).unwrap();
    store.keeper.stop();
    let old = store.define(b"old", b"", 0, b"");
    store.intend([(old, intent(0, 1000))].into_iter());
    store.unclaim(old);
    time.fetch_add((CHECKPOINT_KEEP_S + 1) * 1_000_000_000, std::sync::atomic::Ordering::Relaxed);
    // The snapshot fails, so that the new journal stands on the old one.
    fill_disk_for_snapshot(&directory, store.shared.lock().number + 1);
    store.shared.compact().unwrap_err();
    assert_eq!(store.define(b"k", b"", 7, b""), old);
    store.flush();
    let (_copy, saved) = reopen_copy(&directory);
    let found: Vec<_> = saved.iter().map(|s| (&*s.key, s.position, s.intents.len())).collect();
    assert_eq!(found, vec![(b"k".as_slice(), 7, 0)]);
}

#[test]
fn an_error_names_its_cause_once_and_a_remedy_that_fits() {
    use std::error::Error;
    let of = |errno: Errno| StoreError::Io { path: "/s".into(), action: "write to it", source: errno.into() };
    for (errno, remedy) in [
        (Errno::ACCESS, "user"),
        (Errno::ACCESS, "STATE_DIRECTORY"),
        (Errno::NOSPC, "free space"),
        (Errno::ROFS, "read-only"),
    ] {
        let error = of(errno);
        let cause = error.source().unwrap().to_string();
        assert!(!error.to_string().contains(&cause), "{error}");
        assert!(error.to_string().contains(remedy), "{error}");
    }
}
