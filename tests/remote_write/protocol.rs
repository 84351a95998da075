//! Remote write 2.0, and endpoints that do not know it.

use crate::rig::{
    Rig, Sample, Write, family, labels, nowhere, numbered, numbered_points, point, points, receiver, receiver_at,
    sample, settings, url,
};
use crate::scripted::{Push, Reply};
use lugger::format::write_response::Protocol;
use lugger::model::points::{Point, Points};
use lugger::sink::remote_write::settings::Message;
use lugger::sink::status::State;

/// What those say who only know 1.0.
fn only_first(status: u16) -> impl FnMut(&Push<Write>) -> Reply<Sample> {
    move |push| match push.request.protocol {
        Protocol::V1 => Reply::Store,
        Protocol::V2 => Reply::status(status, if status == 400 { "unexpected EOF" } else { "" }),
    }
}

#[tokio::test]
async fn the_second_version_has_start_times_and_metadata() {
    let receiver = receiver(|_| Reply::Store).await;
    let mut settings = settings(&url(&receiver));
    settings.message = Message::V2;
    settings.metadata = Some(std::time::Duration::from_secs(60));
    let rig = Rig::new(settings);
    let mut points = Points::default();
    points.family(&family("x_total", "All of it."));
    points.add(&labels("x_total", &[("a", "1")]), Point { start_ms: 7, ..point(9, 1.0) });
    points.add(&labels("x_total", &[("a", "2")]), Point { start_ms: 8, ..point(9, 2.0) });
    for _ in 0..2 {
        rig.write(&points);
    }
    rig.settled(4).await;
    let seen = receiver.seen();
    assert_eq!(seen.stored.len(), 4);
    let decoded = &seen.pushes[0].request.decoded;
    let starts: Vec<_> = decoded.series.iter().map(|series| series.points[0].start_ms).collect();
    assert_eq!(starts[..2], [7, 8]);
    assert!(decoded.message(Protocol::V2).windows(10).any(|text| text == b"All of it."));
    assert_eq!(rig.gauge("lugger_remote_write_protocol"), 2.0);
}

#[tokio::test]
async fn who_only_knows_the_first_version_gets_it() {
    for status in [415, 204, 200, 400] {
        let receiver = receiver(only_first(status)).await;
        let mut settings = settings(&url(&receiver));
        settings.message = Message::Auto;
        let rig = Rig::new(settings.clone());
        rig.write(&numbered_points(0..10));
        rig.settled(10).await;
        rig.until("it fell back", |rig| rig.gauge("lugger_remote_write_protocol") == 1.0).await;
        rig.write(&numbered_points(10..20));
        rig.settled(20).await;
        // Settings that have nothing to do with it change nothing of that.
        settings.max_samples = 5;
        rig.reconfigure(settings);
        rig.write(&numbered_points(20..30));
        rig.settled(30).await;
        let seen = receiver.seen();
        assert_eq!(seen.stored, numbered(0..30), "{status}");
        let tries = seen.pushes.iter().filter(|push| push.request.protocol == Protocol::V2).count();
        assert_eq!(tries, 1, "{status}");
        assert_eq!((rig.handle.status().entries, rig.handle.status().refused), (30, 0));
    }
}

/// A 400 that the first version gets as well says nothing of versions.
#[tokio::test]
async fn a_bad_request_is_not_taken_for_an_old_endpoint() {
    let receiver = receiver(|push| {
        let is_bad = push.entries().iter().any(|(series, ..)| series == "bad");
        if is_bad { Reply::status(400, "out of order sample") } else { Reply::Store }
    })
    .await;
    let mut settings = settings(&url(&receiver));
    settings.message = Message::Auto;
    let rig = Rig::new(settings);
    rig.one("bad", 1, 1.0);
    rig.settled(1).await;
    rig.one("x", 2, 1.0);
    rig.settled(2).await;
    assert_eq!((rig.failed("out_of_order"), rig.gauge("lugger_remote_write_protocol")), (1, 2.0));
    assert_eq!(receiver.seen().stored, [sample("x", 2, 1.0)]);
}

#[tokio::test]
async fn where_the_second_version_is_demanded_it_is_waited_for() {
    let receiver = receiver(only_first(204)).await;
    let mut settings = settings(&url(&receiver));
    settings.message = Message::V2;
    let rig = Rig::new(settings.clone());
    rig.write(&numbered_points(0..3));
    rig.until_state(State::Degraded).await;
    assert!(rig.handle.status().error.unwrap().contains("protobuf_message: auto"));
    rig.until("it is tried again", |rig| rig.retries("protocol") > 1).await;
    assert_eq!(rig.handle.status().entries, 0);
    settings.message = Message::Auto;
    rig.reconfigure(settings);
    rig.settled(3).await;
    assert_eq!(receiver.seen().stored, numbered(0..3));
}

#[tokio::test]
async fn what_is_stored_in_part_is_counted() {
    let receiver = receiver(|_| {
        let headers = vec![("x-prometheus-remote-write-samples-written", "7".to_owned())];
        Reply::Answer(400, headers, "out of order sample".to_owned())
    })
    .await;
    let mut settings = settings(&url(&receiver));
    settings.message = Message::V2;
    let rig = Rig::new(settings);
    rig.write(&numbered_points(0..10));
    rig.settled(10).await;
    assert_eq!((rig.handle.status().entries, rig.failed("out_of_order")), (7, 3));
    assert_eq!(receiver.seen().pushes.len(), 1);
}

/// Also what is on disk is written anew, and what was there before of the first version is sent as it is.
#[tokio::test]
async fn what_is_on_disk_follows_the_endpoint() {
    let directory = tempfile::tempdir().unwrap();
    let addr = nowhere();
    let mut settings = settings(&format!("http://{addr}/api/v1/write"));
    let first = Rig::spooled(settings.clone(), directory.path());
    first.write(&numbered_points(0..10));
    first.until("it is sealed", |rig| rig.handle.status().queued > 0).await;
    first.stop().await;
    settings.message = Message::Auto;
    let second = Rig::spooled(settings.clone(), directory.path());
    second.write(&numbered_points(10..20));
    second.until("it is sealed", |rig| rig.handle.status().queued > 0).await;
    second.stop().await;
    let third = Rig::spooled(settings, directory.path());
    assert_eq!(third.frames(), 2);
    third.write(&points(&[("y", 1, 1.0)]));
    let receiver = receiver_at(addr, only_first(415)).await;
    third.settled(21).await;
    let seen = receiver.seen();
    assert_eq!(seen.stored, [numbered(0..20), vec![sample("y", 1, 1.0)]].concat());
    let tries: Vec<_> = seen.pushes.iter().map(|push| push.request.protocol).collect();
    assert_eq!(tries[..3], [Protocol::V1, Protocol::V2, Protocol::V1]);
}
