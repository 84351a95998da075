//! Outages, kills and restarts: what is on disk, and what is not.

use crate::rig::{Rig, labels, nowhere, numbered, numbered_points, point, receiver, receiver_at, settings, url};
use crate::scripted::Reply;
use crate::small_disk::SmallDisk;
use lugger::base::limits::REMOTE_QUEUE_BYTES;
use lugger::model::points::Points;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

#[tokio::test]
async fn an_outage_and_a_kill_lose_nothing_that_is_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let addr = nowhere();
    let mut settings = settings(&format!("http://{addr}/api/v1/write"));
    settings.max_samples = 10;
    let rig = Rig::spooled(settings.clone(), directory.path());
    rig.write(&numbered_points(0..95));
    rig.until("all is on disk", |rig| rig.frames() == 10 && rig.handle.status().queued == 0).await;
    let status = rig.handle.status();
    assert_eq!(status.spool.map(|spool| spool.frames), Some(10));
    assert_eq!(rig.gauge("lugger_remote_write_pending_samples"), 0.0);
    // What comes now is behind it, and is sent behind it.
    rig.write(&numbered_points(95..100));
    rig.until("it waits", |rig| rig.handle.status().queued == 1).await;
    rig.kill().await;

    let rig = Rig::spooled(settings.clone(), directory.path());
    assert_eq!(rig.frames(), 10);
    rig.write(&numbered_points(100..105));
    let receiver = receiver_at(addr, |_| Reply::Store).await;
    rig.settled(100).await;
    let expected = [numbered(0..95), numbered(100..105)].concat();
    assert_eq!(receiver.seen().stored, expected);
    rig.until("all is acknowledged", |rig| rig.handle.is_idle() && rig.frames() == 0).await;
    rig.kill().await;

    // Once.
    let rig = Rig::spooled(settings, directory.path());
    rig.write(&numbered_points(105..106));
    rig.settled(1).await;
    assert_eq!(receiver.seen().stored, [expected, numbered(105..106)].concat());
}

/// The request under way goes to disk as well; when it is stored after all it is not sent again.
#[tokio::test]
async fn what_is_sent_from_memory_is_acknowledged_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let answer = Arc::new(Notify::new());
    let mut late = Some(Arc::clone(&answer));
    let receiver = receiver(move |_| late.take().map_or(Reply::Store, Reply::StoreLate)).await;
    let mut settings = settings(&url(&receiver));
    settings.max_samples = 1;
    let rig = Rig::spooled(settings, directory.path());
    rig.write(&numbered_points(0..3));
    rig.until("all is on disk", |rig| rig.frames() == 3).await;
    assert_eq!(rig.handle.status().entries, 0);
    answer.notify_one();
    rig.settled(3).await;
    rig.until("all is acknowledged", |rig| rig.handle.is_idle() && rig.frames() == 0).await;
    assert_eq!(receiver.seen().stored, numbered(0..3));
}

#[tokio::test]
async fn a_stop_sends_what_is_pending() {
    let receiver = receiver(|_| Reply::Store).await;
    let mut settings = settings(&url(&receiver));
    settings.deadline = Duration::from_secs(3600);
    settings.max_samples = 7;
    let rig = Rig::new(settings);
    rig.write(&numbered_points(0..100));
    let (output, begun) = (rig.output.clone(), Instant::now());
    let registry = rig.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(receiver.seen().stored, numbered(0..100));
    // Whoever comes too late is told by a counter.
    output.write(&numbered_points(0..3));
    let labels = [("remote_name", "prom"), ("reason", "stopped")];
    assert_eq!(registry.counter("lugger_remote_write_dropped_samples_total", "", &labels).get(), 3);
}

#[tokio::test]
async fn a_stop_puts_on_disk_what_nobody_takes() {
    for hangs in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let stuck = receiver(|_| Reply::Hang).await;
        let mut settings = settings(&match hangs {
            true => url(&stuck),
            false => format!("http://{}/api/v1/write", nowhere()),
        });
        settings.max_samples = 7;
        let rig = Rig::spooled(settings.clone(), directory.path());
        rig.write(&numbered_points(0..100));
        rig.until("it is tried", |rig| hangs || rig.retries("connect") > 0).await;
        rig.write(&numbered_points(100..103));
        let begun = Instant::now();
        let registry = rig.stop().await;
        assert!(begun.elapsed() < Duration::from_secs(if hangs { 15 } else { 5 }), "{:?}", begun.elapsed());
        let labels = [("remote_name", "prom"), ("reason", "stopped")];
        assert_eq!(registry.counter("lugger_remote_write_dropped_samples_total", "", &labels).get(), 0);
        let receiver = receiver(|_| Reply::Store).await;
        settings.url = url(&receiver);
        let rig = Rig::spooled(settings, directory.path());
        rig.settled(103).await;
        assert_eq!(receiver.seen().stored, numbered(0..103), "hangs: {hangs}");
    }
}

#[tokio::test]
async fn without_a_disk_a_stop_counts_what_is_lost() {
    let rig = Rig::new(settings(&format!("http://{}/api/v1/write", nowhere())));
    rig.write(&numbered_points(0..5));
    rig.until("it is tried", |rig| rig.retries("connect") > 0).await;
    let registry = rig.stop().await;
    let labels = [("remote_name", "prom"), ("reason", "stopped")];
    assert_eq!(registry.counter("lugger_remote_write_dropped_samples_total", "", &labels).get(), 5);
    let pending = registry.gauge("lugger_remote_write_pending_samples", "", &[("remote_name", "prom")]);
    assert_eq!(pending.get(), 0.0);
}

/// The spool's disk is full while the endpoint is away: memory is bounded, the oldest of what it has go and are counted, and all others arrive, in order.
#[tokio::test]
async fn a_full_disk_under_the_spool_costs_the_oldest() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SmallDisk::at(directory.path().join("disk"), "2m");
    let addr = nowhere();
    let mut settings = settings(&format!("http://{addr}/api/v1/write"));
    settings.max_samples = 500;
    let rig = Rig::spooled(settings, &disk.path().join("spool"));
    let mut next = 0;
    let mut write = |count: i64| {
        // Values that do not compress, so that few samples fill much.
        let mut points = Points::default();
        for at in next..next + count {
            points.add(
                &labels("x", &[]),
                point(at, f64::from_bits((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2)),
            );
        }
        next += count;
        rig.write(&points);
        next
    };
    write(50_000);
    rig.until("something is on disk", |rig| rig.frames() > 0).await;
    disk.fill();
    // More than there is room for in memory.
    let mut total = 0;
    while rig.dropped("queue_full") < 50_000 {
        total = write(50_000);
        assert!(rig.gauge("lugger_remote_write_pending_bytes") <= 2.0 * REMOTE_QUEUE_BYTES as f64);
        assert!(total < 20_000_000, "nothing is dropped");
        tokio::task::yield_now().await;
    }
    let receiver = receiver_at(addr, |_| Reply::Store).await;
    rig.settled(total as u64).await;
    let dropped = rig.all_dropped();
    assert_eq!(dropped, rig.dropped("queue_full"));
    let stored = receiver.seen().stored.clone();
    assert_eq!(stored.len() as u64 + dropped, total as u64, "all is stored or counted");
    let times: Vec<i64> = stored.iter().map(|(_, time, _)| *time).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "each once, in order");
    assert_eq!(
        (times.first(), times.last()),
        (Some(&0), Some(&(total - 1))),
        "what is on disk and what is newest are there"
    );
    let gaps = times.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(gaps >= 1, "the oldest of what was in memory are missing");
    assert!(!rig.handle.task.is_finished(), "nothing has panicked");
    rig.stop().await;
}
