//! Against a real Prometheus: what it says afterwards of the samples that it was sent. Debian's package `prometheus`, 2.42, which knows 1.0 only.

use crate::rig::{Rig, labels, settings};
use crate::server::Prometheus;
use crate::wait::now_ns;
use lugger::base::limits::REMOTE_SPILL_MS;
use lugger::model::points::{Point, Points};
use lugger::model::samples::STALE_BITS;
use lugger::sink::remote_write::settings::{Endpoint, Message};
use std::collections::BTreeMap;
use std::time::Duration;

fn target(prometheus: &Prometheus) -> Endpoint {
    settings(&format!("http://{}/api/v1/write", prometheus.addr))
}

fn now_ms() -> i64 {
    now_ns() / 1_000_000
}

/// A collection of `series` series of one metric; values are the number of the collection.
fn collection(name: &str, series: usize, time_ms: i64, value: f64) -> Points {
    let mut points = Points::default();
    for at in 0..series {
        points.add(&labels(name, &[("n", &at.to_string())]), Point { bits: value.to_bits(), time_ms, start_ms: 0 });
    }
    points
}

/// All series have exactly these times, and values that count up.
fn assert_all(found: &BTreeMap<String, Vec<(i64, String)>>, series: usize, times: &[i64]) {
    assert_eq!(found.len(), series);
    let expected: Vec<_> = times.iter().enumerate().map(|(at, time)| (*time, at.to_string())).collect();
    for (name, values) in found {
        assert_eq!(values, &expected, "series {name}");
    }
}

#[tokio::test]
async fn samples_arrive_with_their_values() {
    let mut prometheus = Prometheus::new();
    prometheus.start();
    let mut settings = target(&prometheus);
    settings.max_samples = 300;
    settings.metadata = Some(Duration::from_secs(1));
    let rig = Rig::new(settings);
    let end = now_ms();
    let times: Vec<i64> = (0..50).map(|at| end - (50 - at) * 1000 + at % 7).collect();
    for (at, time) in times.iter().enumerate() {
        rig.write(&collection("arrive", 100, *time, at as f64));
    }
    let values = [("1.5", 1.5), ("-0", -0.0), ("+Inf", f64::INFINITY), ("NaN", f64::NAN), ("1e-300", 1e-300)];
    for (at, (text, value)) in values.iter().enumerate() {
        let mut points = Points::default();
        let point = Point { bits: value.to_bits(), time_ms: end - 1000 + at as i64, start_ms: 0 };
        points.add(&labels("special", &[("n", text)]), point);
        rig.write(&points);
    }
    rig.settled(5005).await;
    assert_eq!((rig.handle.status().entries, rig.handle.status().refused), (5005, 0));
    assert_all(&prometheus.samples("arrive", end), 100, &times);
    for (text, values) in prometheus.samples("special", end) {
        assert_eq!(values.len(), 1);
        assert_eq!(values[0].1, text);
    }
}

#[tokio::test]
async fn a_stale_marker_ends_its_series() {
    let mut prometheus = Prometheus::new();
    prometheus.start();
    let rig = Rig::new(target(&prometheus));
    let end = now_ms();
    rig.write(&collection("ends", 2, end - 2000, 0.0));
    let mut marker = Points::default();
    marker.add(&labels("ends", &[("n", "0")]), Point { bits: STALE_BITS, time_ms: end - 1000, start_ms: 0 });
    rig.write(&marker);
    rig.settled(3).await;
    let there = |at| {
        let mut names: Vec<_> =
            prometheus.query("ends", at).iter().map(|s| s["metric"]["n"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(there(end - 1500), ["0", "1"]);
    // Without a marker a series would be there for five minutes.
    assert_eq!(there(end), ["1"]);
}

#[tokio::test]
async fn nothing_is_missing_after_the_server_was_killed() {
    let mut prometheus = Prometheus::new();
    prometheus.start();
    let spool = tempfile::tempdir().unwrap();
    let mut settings = target(&prometheus);
    settings.backoff = (Duration::from_millis(10), Duration::from_millis(200));
    let rig = Rig::spooled(settings, spool.path());
    let mut times = Vec::new();
    let mut spooled = 0;
    let step = async |rig: &Rig, times: &mut Vec<i64>| {
        let now = now_ms().max(times.last().map_or(0, |last| last + 1));
        rig.write(&collection("outage", 20, now, times.len() as f64));
        times.push(now);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for _ in 0..20 {
        step(&rig, &mut times).await;
    }
    rig.settled(20).await;
    prometheus.kill();
    while spooled == 0 {
        step(&rig, &mut times).await;
        spooled = rig.frames();
    }
    prometheus.start();
    for _ in 0..20 {
        step(&rig, &mut times).await;
    }
    rig.until("all is sent", |rig| {
        rig.handle.status().entries + rig.handle.status().refused >= 20 * times.len() as u64
    })
    .await;
    rig.until("the spool is empty", |rig| rig.handle.is_idle() && rig.frames() == 0).await;
    assert_all(&prometheus.samples("outage", now_ms()), 20, &times);
    assert_eq!(rig.all_dropped(), 0);
}

#[tokio::test]
async fn a_restart_goes_on_from_the_spool() {
    let mut prometheus = Prometheus::new();
    let spool = tempfile::tempdir().unwrap();
    let mut settings = target(&prometheus);
    // It falls back to what this Prometheus knows, also what is on disk.
    settings.message = Message::Auto;
    let rig = Rig::spooled(settings.clone(), spool.path());
    let begin = now_ms();
    let times: Vec<i64> = (0..30).map(|at| begin - 3000 + at * 100).collect();
    for (at, time) in times[..20].iter().enumerate() {
        rig.write(&collection("restart", 10, *time, at as f64));
    }
    let all = |rig: &Rig| rig.frames() > 0 && rig.gauge("lugger_remote_write_pending_samples") == 0.0;
    rig.until("all is on disk", all).await;
    assert!(now_ms() - begin >= REMOTE_SPILL_MS as i64 - 100);
    rig.kill().await;
    prometheus.start();
    let rig = Rig::spooled(settings, spool.path());
    for (at, time) in times[20..].iter().enumerate() {
        rig.write(&collection("restart", 10, *time, (20 + at) as f64));
    }
    rig.settled(300).await;
    assert_eq!((rig.handle.status().refused, rig.all_dropped()), (0, 0));
    assert_all(&prometheus.samples("restart", now_ms()), 10, &times);
    assert_eq!(rig.gauge("lugger_remote_write_protocol"), 1.0);
}
