//! Tests of the checkpoints: what is read back after every kind of end and damage.

use super::*;
use tempfile::TempDir;

const NOW: i64 = 1_800_000_000;

fn clock() -> Clock {
    Clock::Manual(Arc::new((NOW * 1_000_000_000).into()))
}

fn open(directory: &TempDir) -> Checkpoints {
    Checkpoints::open(directory.path(), clock(), &Registry::default()).unwrap()
}

fn intent(start: u64, end: u64) -> Intent {
    Intent { start, end, time_ns: 1000 + start as i64 }
}

/// Opens the directory as it stands, as if the first process had been killed: without closing it.
fn reopen_copy(directory: &TempDir) -> (TempDir, Vec<Saved>) {
    let copy = TempDir::new().unwrap();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
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
            claimed: false,
        }]
    );
}

#[test]
fn an_intent_replaces_those_for_the_same_bytes() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let slot = store.define(b"a", b"", 0, b"");
    let later = |start, end| Intent { start, end, time_ns: 5 };
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
    assert_eq!(files(directory.path()).unwrap().len(), 4);
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
    let mut found = files(directory.path()).unwrap();
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
    let number = files(directory.path()).unwrap().into_iter().map(|(number, _)| number).max().unwrap();
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
    for (i, (_, path)) in files(directory.path()).unwrap().into_iter().enumerate() {
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
    let (_copy, saved) = reopen_copy(&directory);
    assert_eq!(saved.first().map(|s| s.position), Some(2 * JOURNAL_BYTES / 200));
}
