//! Outages, kills and restarts: what is on disk, and what is not.

use crate::rig::{Rig, nowhere, numbered, numbered_points, receiver, receiver_at, settings, url};
use crate::scripted::Reply;
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
