//! How soon a line is on its way: measured with the real binary and printed (`cargo test --release --test e2e_promptness -- --nocapture`).
//!
//! Time on a shared machine is noisy, so the assertions are ten times looser than the goals; the figures are what to look at.

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::agent::{Config, FileSource, Rig};
use support::loki::Loki;
use support::wait::wait_until;
use support::writer::append_to;

/// The batch wait, which does not count: the shortest that can be configured.
const WAIT: Duration = Duration::from_millis(10);
/// Goal of append to request, 99th percentile.
const APPEND_GOAL: Duration = Duration::from_millis(100);
/// Goal of noticing a new file.
const NEW_FILE_GOAL: Duration = Duration::from_millis(250);

type Arrivals = Arc<Mutex<HashMap<String, Instant>>>;

fn arrivals(loki: &Loki) -> Arrivals {
    let seen = Arrivals::default();
    let own = Arc::clone(&seen);
    loki.observe(move |entry| {
        own.lock().unwrap().insert(entry.line.to_owned(), entry.arrived);
    });
    seen
}

/// Writes each line, waits until it is there, and returns the times between, sorted, without the batch wait.
fn measure(seen: &Arrivals, lines: impl Iterator<Item = (std::path::PathBuf, String)>) -> Vec<Duration> {
    let mut took = Vec::new();
    for (number, (path, line)) in lines.enumerate() {
        let start = Instant::now();
        append_to(&path, format!("{line}\n"));
        wait_until("the line to arrive", Duration::from_secs(30), || seen.lock().unwrap().contains_key(&line));
        let arrived = seen.lock().unwrap()[&line];
        took.push(arrived.saturating_duration_since(start).saturating_sub(WAIT));
        // Spread the moments, so that they do not fall into step with any pace of the agent.
        std::thread::sleep(Duration::from_millis(number as u64 * 7 % 23));
    }
    took.sort();
    took
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// A line that is appended is in a request soon, apart from the batch wait; and so is the first line of a new file.
#[test]
fn row_13_an_appended_line_and_a_new_file_are_on_their_way_soon() {
    let loki = Loki::start();
    let seen = arrivals(&loki);
    let rig = Rig::new();
    let config =
        Config::new(&loki.url()).source(FileSource::new("app", rig.log("**/*.log"))).endpoint("batch_wait", "10ms");
    let path = rig.log("app.log");
    append_to(&path, "first\n");
    let agent = rig.start(&config);
    wait_until("the first line", Duration::from_secs(30), || seen.lock().unwrap().contains_key("first"));

    let appended = measure(&seen, (0..300).map(|n| (path.clone(), format!("append {n}"))));
    let (p50, p99) = (percentile(&appended, 50), percentile(&appended, 99));
    println!("append to request: p50 {p50:?}, p99 {p99:?}, max {:?} (goal: p99 {APPEND_GOAL:?})", appended[299]);

    let fresh = measure(&seen, (0..50).map(|n| (rig.log(&format!("new-{n}.log")), format!("new {n}"))));
    let (new50, new99) = (percentile(&fresh, 50), percentile(&fresh, 99));
    println!("new file to request: p50 {new50:?}, p99 {new99:?}, max {:?} (goal: {NEW_FILE_GOAL:?})", fresh[49]);

    let nested = measure(
        &seen,
        (0..20).map(|n| {
            let directory = rig.log(&format!("d{n}/e/f"));
            std::fs::create_dir_all(&directory).unwrap();
            (directory.join("x.log"), format!("nested {n}"))
        }),
    );
    println!("new directories and file to request: p50 {:?}, max {:?}", percentile(&nested, 50), nested[19]);

    assert!(p99 < APPEND_GOAL * 10, "append to request: p99 {p99:?}");
    assert!(new99 < NEW_FILE_GOAL * 10, "new file: p99 {new99:?}");
    assert!(percentile(&nested, 99) < NEW_FILE_GOAL * 10, "new directories: {nested:?}");
    loki.assert_no_defects();
    drop(agent);
}
