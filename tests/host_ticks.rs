//! Ticks of the host's metrics: what they write, when, and what becomes of series that end; and a collection for whoever asks.

mod support;

use lugger::base::clock::Clock;
use lugger::base::metrics::Registry;
use lugger::format::remote_write::labels_in;
use lugger::model::points::{Output, Points};
use lugger::model::samples::STALE_BITS;
use lugger::source::host::ticker::{Job, NoText, Status, Ticker};
use lugger::source::host::{Roots, Settings};
use lugger::source::series::{self, Common};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use support::wait::wait_until;

const SOON: Duration = Duration::from_secs(30);

/// Takes nothing while it is shut.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicBool,
}

impl Output for Gate {
    fn write(&self, _: &Points) {
        let mut shut = self.shut.lock().unwrap();
        while *shut {
            self.waiting.store(true, Ordering::Relaxed);
            shut = self.opened.wait(shut).unwrap();
        }
    }
}

type Labels = BTreeMap<String, String>;

/// Keeps every point: labels, bits, time.
#[derive(Default)]
struct Kept(Mutex<Vec<(Labels, u64, i64)>>);

impl Output for Kept {
    fn write(&self, points: &Points) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut kept = self.0.lock().unwrap();
        for of in points.iter() {
            let labels = labels_in(of.labels).map(|(_, name, value)| (text(name), text(value))).collect();
            kept.push((labels, of.point.bits, of.point.time_ms));
        }
    }
}

impl Kept {
    /// Values and times of a series by name and a further label.
    fn of(&self, name: &str, label: (&str, &str)) -> Vec<(u64, i64)> {
        let kept = self.0.lock().unwrap();
        let has = |labels: &Labels, (name, value): (&str, &str)| labels.get(name).is_some_and(|known| known == value);
        let found = kept.iter().filter(|(labels, ..)| has(labels, ("__name__", name)) && has(labels, label));
        found.map(|(_, bits, time)| (*bits, *time)).collect()
    }
}

fn job<O: Output + 'static>(collectors: &[&str], interval: Duration, outputs: &[Arc<O>]) -> Job {
    let mut settings = Settings::new(Roots::default());
    settings.none();
    for collector in collectors {
        settings.set(collector, true).unwrap();
    }
    let outer = vec![("site".to_owned(), "home".to_owned()), ("job".to_owned(), "overridden by none".to_owned())];
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Job {
        settings,
        interval,
        common: Common::new(series::Settings { outer, ..series::Settings::default() }).unwrap(),
        labels: vec![label("instance", "host-1"), label("job", "node")],
        outputs: outputs.iter().map(|kept| Arc::clone(kept) as Arc<dyn Output>).collect(),
    }
}

#[tokio::test]
async fn ticks_come_by_the_clock_and_what_ends_is_marked() {
    let (kept, second) = (Arc::new(Kept::default()), Arc::new(Kept::default()));
    let interval = Duration::from_millis(200);
    let both = [Arc::clone(&kept), Arc::clone(&second)];
    let status = Status::new(&Registry::default());
    let mut ticker = Ticker::start(job(&["loadavg", "stat"], interval, &both), Clock::System, status).unwrap();
    let up = || kept.of("up", ("job", "node"));
    wait_until("five ticks", SOON, || up().len() >= 5);
    let ups = up();
    assert!(ups.iter().all(|(bits, _)| f64::from_bits(*bits) == 1.0));
    assert!(ups.windows(2).all(|pair| pair[1].1 > pair[0].1), "times grow: {ups:?}");
    // They are at even distances of the clock, but for those that came late on a busy machine.
    let offset = |time: &i64| time.rem_euclid(200);
    let on_time = |of: i64| ups.iter().filter(|(_, time)| offset(time) == of).count();
    assert!(ups.iter().any(|(_, time)| on_time(offset(time)) >= 2), "{ups:?}");
    let loads = kept.of("node_load1", ("instance", "host-1"));
    assert_eq!(
        loads.iter().map(|(_, time)| *time).collect::<Vec<_>>(),
        up().iter().map(|(_, time)| *time).take(loads.len()).collect::<Vec<_>>()
    );
    assert!(!kept.of("node_load1", ("site", "home")).is_empty());
    assert!(kept.of("scrape_samples_scraped", ("job", "node")).iter().all(|(bits, _)| f64::from_bits(*bits) > 10.0));

    // Another collector, and one output less.
    ticker.change(job(&["uname"], interval, &both[..1])).await;
    let is_stale = |points: &[(u64, i64)]| points.last().is_some_and(|(bits, _)| *bits == STALE_BITS);
    wait_until("the other collector", SOON, || !kept.of("node_uname_info", ("job", "node")).is_empty());
    assert!(is_stale(&kept.of("node_load1", ("job", "node"))), "it is not collected any more");
    assert!(!is_stale(&up()), "the host is");
    for name in ["node_load1", "up", "scrape_duration_seconds"] {
        assert!(is_stale(&second.of(name, ("job", "node"))), "{name}: it gets nothing more");
    }
    // Whoever ends says nothing: the next run goes on.
    let status = ticker.status().clone();
    assert!(status.ticks.get() >= 6 && status.failures().is_empty());
    assert!(ticker.join());
    assert!(!is_stale(&up()));

    let status = Status::new(&Registry::default());
    let ticker = Ticker::start(job(&["loadavg"], interval, &both[..1]), Clock::System, status).unwrap();
    let before = up().len();
    wait_until("a tick", SOON, || up().len() > before);
    ticker.end().await;
    for name in ["node_load1", "up"] {
        assert!(is_stale(&kept.of(name, ("job", "node"))), "{name}: the host is no target any more");
    }
}

#[tokio::test]
async fn whoever_asks_gets_a_collection_without_any_tick() {
    let status = Status::new(&Registry::default());
    let ticker =
        Ticker::start(job::<Kept>(&["loadavg"], Duration::from_secs(3600), &[]), Clock::System, status).unwrap();
    let asker = ticker.asker();
    let (one, two) = tokio::join!(asker.text(), asker.text());
    let text = one.unwrap();
    assert_eq!(Ok(&text), two.as_ref(), "one collection for both");
    assert!(std::str::from_utf8(&text).unwrap().contains("\nnode_load1 "));
    assert_eq!(ticker.status().ticks.get(), 0);
    assert!(ticker.join());
    assert_eq!(asker.text().await, Err(NoText::Ended));
}

/// Nothing should keep the thread, but if something does nobody waits for it without end, and it is shown.
#[tokio::test]
async fn a_thread_that_hangs_is_told_of_and_keeps_nobody() {
    let gate = Arc::new(Gate::default());
    let interval = Duration::from_secs(1);
    let job = || {
        let mut job = job(&["loadavg"], interval, std::slice::from_ref(&gate));
        job.settings.deadline = Duration::from_millis(100);
        job
    };
    let status = Status::new(&Registry::default());
    let mut ticker = Ticker::start(job(), Clock::System, status.clone()).unwrap();
    wait_until("a tick", SOON, || status.ticks.get() > 0);
    assert_eq!(status.stuck(), None);
    *gate.shut.lock().unwrap() = true;
    wait_until("the thread to hang", SOON, || gate.waiting.load(Ordering::Relaxed));
    let began = Instant::now();
    let asker = ticker.asker();
    let (text, ()) = tokio::join!(asker.text(), ticker.change(job()));
    assert_eq!(text, Err(NoText::Stuck));
    wait_until("it to be told", SOON, || status.stuck().is_some_and(|what| what.contains("has hung for")));
    assert!(began.elapsed() < 2 * SOON, "{:?}", began.elapsed());
    // It comes back, under the new job.
    *gate.shut.lock().unwrap() = false;
    gate.opened.notify_all();
    wait_until("it to be told no more", SOON, || status.stuck().is_none());
    assert!(asker.text().await.is_ok());
    gate.waiting.store(false, Ordering::Relaxed);
    *gate.shut.lock().unwrap() = true;
    wait_until("the thread to hang", SOON, || gate.waiting.load(Ordering::Relaxed));
    ticker.end().await;
    *gate.shut.lock().unwrap() = false;
    gate.opened.notify_all();
    wait_until("it to end", SOON, || status.stuck().is_none());
    assert_eq!(asker.text().await, Err(NoText::Ended));
}
