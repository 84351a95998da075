//! What 100,000 cursors cost: memory while they are held, memory for a moment when they are loaded, and write calls.
//!
//! Alone in its process, because it reads the process's own figures. They are printed; only orders of magnitude are asserted.

use lugger::base::clock::Clock;
use lugger::base::metrics::Registry;
use lugger::model::flow::Note;
use lugger::store::checkpoint::{Checkpoints, Intent};
use std::fs;

const CURSORS: u32 = 100_000;

/// A number in a file of `/proc/self`.
fn figure(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/{file}")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn kib(name: &str) -> u64 {
    figure("status", name)
}

#[test]
fn a_hundred_thousand_cursors() {
    let directory = tempfile::TempDir::new().unwrap();
    let key = |n: u32| format!("file/app\0{n:08}-0123456789-01234");
    let path = |n: u32| format!("/var/log/containers/pod-{n:06}/application.log");
    let bytes = (key(0).len() + path(0).len() + 40) as u64;
    let open = || Checkpoints::open(directory.path(), Clock::System, &Registry::default()).unwrap();

    let store = open();
    let (memory, calls) = (kib("VmRSS"), figure("io", "syscw"));
    for n in 0..CURSORS {
        store.define(key(n).as_bytes(), path(n).as_bytes(), 0, &[1; 40]);
    }
    let calls = figure("io", "syscw") - calls;
    // Every file has been sent once.
    for slot in 0..CURSORS {
        store.intend(
            [(slot, Intent { start: 0, end: 9, time_ns: 1, merged: false, note: Note::default() })].into_iter(),
        );
        store.commit([(slot, 9, [2u8; 40].as_slice())].into_iter());
    }
    let each = (kib("VmRSS") - memory) * 1024 / u64::from(CURSORS);
    println!("a cursor: {each} bytes resident, of which {bytes} are its key, meta and mark");
    println!("write calls for {CURSORS} definitions: {calls}");
    drop(store);

    // Resets the peak to what is resident now.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = kib("VmRSS");
    let store = open();
    println!(
        "opening: {} KiB more at the peak, {} KiB more after it",
        kib("VmHWM") - before,
        kib("VmRSS").saturating_sub(before)
    );
    let mut count = 0;
    store.for_each_saved(b"file/", |saved| count += u32::from(saved.position == 9));
    assert_eq!(count, CURSORS);
    assert!(calls < 2000, "{calls} write calls");
    assert!(each < 400, "{each} bytes");
}
