//! Requests that are refused as a whole, or too large.

use crate::rig::{Rig, Sample, numbered, numbered_points, points, receiver, sample, settings, url};
use crate::scripted::Reply;
use lugger::base::limits::REMOTE_FRUITLESS_REQUESTS;
use lugger::sink::remote_write::settings::Message;
use lugger::sink::status::State;

/// As Prometheus: one bad sample, and nothing of the request is stored.
fn refuse_bad(entries: &[Sample]) -> Reply<Sample> {
    match entries.iter().any(|(series, ..)| series.starts_with("bad")) {
        true => Reply::status(400, "out of order sample"),
        false => Reply::Store,
    }
}

#[tokio::test]
async fn only_what_is_bad_is_lost() {
    let receiver = receiver(|push| refuse_bad(&push.entries())).await;
    let rig = Rig::new(settings(&url(&receiver)));
    let all: Vec<(String, i64, f64)> = (0..2000)
        .map(|at| (if [7, 1200, 1201].contains(&at) { format!("bad{at}") } else { format!("x{at}") }, at, 1.0))
        .collect();
    let borrowed: Vec<_> = all.iter().map(|(name, time, value)| (name.as_str(), *time, *value)).collect();
    rig.write(&points(&borrowed));
    rig.settled(2000).await;
    assert_eq!(rig.failed("out_of_order"), 3);
    let expected: Vec<_> =
        borrowed.iter().filter(|(name, ..)| !name.starts_with("bad")).map(|(n, t, v)| sample(n, *t, *v)).collect();
    assert_eq!(receiver.seen().stored, expected);
    assert_eq!(rig.handle.status().state, State::Ok);
}

#[tokio::test]
async fn where_all_is_bad_the_search_ends() {
    let receiver = receiver(|push| refuse_bad(&push.entries())).await;
    let rig = Rig::new(settings(&url(&receiver)));
    let all: Vec<String> = (0..2000).map(|at| format!("bad{at}")).collect();
    let borrowed: Vec<_> = all.iter().map(|name| (name.as_str(), 1, 1.0)).collect();
    rig.write(&points(&borrowed));
    rig.settled(2000).await;
    let requests = receiver.seen().pushes.len();
    assert!(requests < 40, "{requests}");
    // The next ones are not searched.
    rig.write(&points(&borrowed));
    rig.settled(4000).await;
    assert_eq!(receiver.seen().pushes.len(), requests + 1);
    assert_eq!(rig.failed("out_of_order"), 4000);
    assert_eq!(receiver.seen().stored, []);
}

#[tokio::test]
async fn who_stores_what_is_good_is_not_asked_again() {
    let receiver = receiver(|push| {
        let good = push.entries().into_iter().filter(|(series, ..)| series != "bad").collect();
        Reply::StoreOnly(good, 400, "failed: the sample is rejected (err-mimir-sample-out-of-order)".to_owned())
    })
    .await;
    let rig = Rig::new(settings(&url(&receiver)));
    rig.write(&points(&[("x", 1, 1.0), ("bad", 1, 1.0)]));
    rig.settled(2).await;
    let seen = receiver.seen();
    assert_eq!((seen.pushes.len(), seen.stored.len(), rig.failed("out_of_order")), (1, 1, 2));
}

#[tokio::test]
async fn what_is_too_large_is_divided_and_remembered() {
    let receiver = receiver(|push| if push.raw_bytes > 5000 { Reply::status(413, "") } else { Reply::Store }).await;
    let rig = Rig::new(settings(&url(&receiver)));
    rig.write(&numbered_points(0..1000));
    rig.settled(1000).await;
    let refused = rig.retries("too_large");
    assert!(refused > 0);
    rig.write(&numbered_points(1000..2000));
    rig.settled(2000).await;
    assert_eq!(receiver.seen().stored, numbered(0..2000));
    assert_eq!(rig.retries("too_large"), refused);
}

#[tokio::test]
async fn an_endpoint_that_calls_everything_too_large_loses_nothing() {
    let mut left = 10;
    let receiver = receiver(move |_| {
        left -= 1;
        if left > 0 { Reply::status(413, "too large") } else { Reply::Store }
    })
    .await;
    let rig = Rig::new(settings(&url(&receiver)));
    rig.write(&numbered_points(0..4));
    rig.until_state(State::Degraded).await;
    rig.settled(4).await;
    assert_eq!(receiver.seen().stored, numbered(0..4));
}

/// An endpoint that refuses all of everything answers, and is no healthy one for that.
#[tokio::test]
async fn who_refuses_everything_is_degraded() {
    let receiver = receiver(|push| refuse_bad(&push.entries())).await;
    let rig = Rig::new(settings(&url(&receiver)));
    for at in 0..REMOTE_FRUITLESS_REQUESTS.into() {
        assert_ne!(rig.handle.status().state, State::Degraded, "a few may be bad");
        rig.write(&points(&[("bad1", at, 1.0), ("bad2", at, 1.0), ("bad3", at, 1.0)]));
        rig.settled(3 * (at as u64 + 1)).await;
        assert_ne!(rig.handle.status().state, State::Ok);
    }
    rig.until_state(State::Degraded).await;
    let status = rig.handle.status();
    let error = status.error.unwrap();
    assert!(error.contains("refuses all") && error.contains("out of order sample"), "{error}");
    assert!(status.failing_since_ns.is_some());
    // One request that it stores is enough.
    rig.write(&points(&[("x", 100, 1.0)]));
    rig.until_state(State::Ok).await;
    rig.write(&points(&[("bad1", 101, 1.0)]));
    rig.settled(3 * u64::from(REMOTE_FRUITLESS_REQUESTS) + 2).await;
    assert_eq!(rig.handle.status().state, State::Ok, "counted from there on");
}

/// Also where it says by headers that it wrote nothing.
#[tokio::test]
async fn who_writes_nothing_is_degraded() {
    let headers = vec![("x-prometheus-remote-write-samples-written", "0".to_owned())];
    let receiver = receiver(move |_| Reply::Answer(400, headers.clone(), "out of order sample".to_owned())).await;
    let mut settings = settings(&url(&receiver));
    settings.message = Message::V2;
    let rig = Rig::new(settings);
    for at in 0..REMOTE_FRUITLESS_REQUESTS.into() {
        rig.write(&points(&[("x", at, 1.0)]));
        rig.settled(at as u64 + 1).await;
    }
    rig.until_state(State::Degraded).await;
}
