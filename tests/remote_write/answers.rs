//! What is sent, and each row of what an answer means.

use crate::rig::{
    Rig, nowhere, numbered, numbered_points, points, receiver, receiver_at, sample, settings, then_store, url,
};
use crate::scripted::Reply;
use lugger::base::secret::Secret;
use lugger::sink::settings::{Auth, Credential};
use lugger::sink::status::State;
use proptest::prelude::*;
use std::time::{Duration, Instant};

#[tokio::test]
async fn what_is_sent_and_one_connection_for_many_requests() {
    let receiver = receiver(then_store(vec![Reply::Store, Reply::status(503, &"x".repeat(10_000))])).await;
    let mut settings = settings(&url(&receiver));
    settings.headers = vec![("X-Scope-OrgID".into(), Secret::new("lab"))];
    settings.auth =
        Auth::Basic { username: "Aladdin".into(), password: Credential::Inline(Secret::new("open sesame")) };
    let rig = Rig::new(settings);
    for at in 0..10 {
        rig.write(&points(&[("x", at * 1000, 1.5), ("y", at * 1000, f64::NAN)]));
        rig.settled((at as u64 + 1) * 2).await;
    }
    rig.until("the request is finished", |rig| rig.handle.is_idle()).await;
    let seen = receiver.seen();
    assert_eq!((seen.connections, seen.pushes.len()), (1, 11));
    let push = &seen.pushes[0];
    assert_eq!(push.uri, "/api/v1/write");
    assert_eq!(push.header("user-agent"), concat!("lugger/", env!("CARGO_PKG_VERSION")));
    assert_eq!(push.header("x-scope-orgid"), "lab");
    assert_eq!(push.header("authorization"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(push.header("accept-encoding"), "");
    let attempts: Vec<_> = seen.pushes.iter().take(4).map(|push| push.header("retry-attempt")).collect();
    assert_eq!(attempts, ["", "", "1", ""]);
    let expected: Vec<_> =
        (0..10).flat_map(|at| [sample("x", at * 1000, 1.5), sample("y", at * 1000, f64::NAN)]).collect();
    assert_eq!(seen.stored, expected);
    let status = rig.handle.status();
    assert_eq!((status.name.as_str(), status.url), ("prom", url(&receiver)));
    assert_eq!((status.entries, status.refused, status.retries, status.queued), (20, 0, 1, 0));
    assert_eq!(status.state, State::Ok);
    assert!(status.last_success_s > 0 && status.bytes > 0 && status.error.is_none() && status.spool.is_none());
    let metrics = rig.registry.render();
    for line in [
        "lugger_remote_write_samples_total{remote_name=\"prom\"} 20",
        "lugger_remote_write_exemplars_total{remote_name=\"prom\"} 0",
        "lugger_remote_write_failed_samples_total{remote_name=\"prom\",reason=\"out_of_order\"} 0",
        "lugger_remote_write_failed_samples_total{remote_name=\"prom\",reason=\"rate_limited\"} 0",
        "lugger_remote_write_dropped_samples_total{remote_name=\"prom\",reason=\"queue_full\"} 0",
        "lugger_remote_write_pending_samples{remote_name=\"prom\"} 0",
        "lugger_remote_write_pending_bytes{remote_name=\"prom\"} 0",
        "lugger_remote_write_pending_requests{remote_name=\"prom\"} 0",
        "lugger_remote_write_highest_timestamp_seconds{remote_name=\"prom\"} 9",
        "lugger_remote_write_highest_sent_timestamp_seconds{remote_name=\"prom\"} 9",
        "lugger_remote_write_request_seconds_count{remote_name=\"prom\"} 11",
        "lugger_remote_write_retries_total{remote_name=\"prom\",kind=\"server\"} 1",
        "lugger_remote_write_retried_samples_total{remote_name=\"prom\"} 2",
        "lugger_remote_write_protocol{remote_name=\"prom\"} 1",
        "lugger_remote_write_state{remote_name=\"prom\",state=\"ok\"} 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn requests_are_sealed_by_size_and_by_age() {
    let receiver = receiver(|_| Reply::Store).await;
    let mut settings = settings(&url(&receiver));
    settings.max_samples = 4;
    settings.deadline = Duration::from_secs(3600);
    let rig = Rig::new(settings.clone());
    rig.write(&numbered_points(0..10));
    rig.settled(8).await;
    assert_eq!(rig.gauge("lugger_remote_write_pending_samples"), 2.0);
    let sizes: Vec<usize> = receiver.seen().pushes.iter().map(|push| push.entries().len()).collect();
    assert_eq!(sizes, [4, 4]);
    // Other settings seal what is pending.
    settings.deadline = Duration::from_millis(100);
    rig.reconfigure(settings);
    rig.settled(10).await;
    let begun = Instant::now();
    rig.write(&numbered_points(10..11));
    rig.write(&numbered_points(11..12));
    rig.settled(12).await;
    assert!(begun.elapsed() >= Duration::from_millis(100));
    let seen = receiver.seen();
    assert_eq!((seen.pushes.len(), &seen.stored), (4, &numbered(0..12)));
}

#[tokio::test]
async fn passing_failures_are_retried_until_all_is_stored() {
    let failures = vec![
        Reply::status(500, "boom"),
        Reply::status(503, ""),
        Reply::status(408, ""),
        Reply::Close,
        Reply::Break(500),
        Reply::status(429, "slow down"),
        Reply::status(599, ""),
    ];
    let receiver = receiver(then_store(failures)).await;
    let rig = Rig::new(settings(&url(&receiver)));
    rig.write(&numbered_points(0..100));
    rig.settled(100).await;
    let seen = receiver.seen();
    assert_eq!(seen.stored, numbered(0..100));
    let attempts: Vec<_> = seen.pushes.iter().map(|push| push.header("retry-attempt").to_owned()).collect();
    assert_eq!(attempts, ["", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!((rig.retries("server"), rig.retries("transport"), rig.retries("rate_limited")), (4, 2, 1));
}

#[tokio::test]
async fn a_broken_body_behind_a_success_is_a_success() {
    let receiver = receiver(then_store(vec![Reply::Break(202)])).await;
    let rig = Rig::new(settings(&url(&receiver)));
    rig.one("x", 1, 1.0);
    rig.settled(1).await;
    assert_eq!(receiver.seen().pushes.len(), 1);
}

#[tokio::test]
async fn what_a_person_has_to_change_is_waited_for() {
    for (status, kind) in
        [(401, "credentials"), (403, "credentials"), (404, "address"), (405, "address"), (307, "address")]
    {
        let receiver = receiver(then_store(vec![Reply::status(status, "no"); 3])).await;
        let rig = Rig::new(settings(&url(&receiver)));
        rig.one("x", 1, 1.0);
        rig.until_state(State::Degraded).await;
        let error = rig.handle.status().error.unwrap();
        assert!(error.contains(&format!("HTTP {status}: no; ")), "{error}");
        assert!(rig.handle.monitor().is_hopeless());
        rig.settled(1).await;
        assert_eq!(rig.retries(kind), 3);
        assert_eq!(receiver.seen().stored, [sample("x", 1, 1.0)]);
        assert_eq!(rig.handle.status().state, State::Ok);
    }
}

#[tokio::test]
async fn a_credentials_file_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "old\n").unwrap();
    let receiver = receiver(|push| {
        if push.header("authorization") == "Token new" { Reply::Store } else { Reply::status(401, "Token old is bad") }
    })
    .await;
    let mut settings = settings(&url(&receiver));
    settings.auth = Auth::Other { scheme: "Token".into(), credentials: Credential::File(file.clone()) };
    let rig = Rig::new(settings);
    rig.one("x", 1, 1.0);
    rig.until("it was refused", |rig| rig.retries("credentials") > 1).await;
    assert!(rig.handle.status().error.unwrap().contains("Token <secret> is bad"));
    std::fs::write(&file, "new\n").unwrap();
    rig.settled(1).await;
    assert_eq!(receiver.seen().stored.len(), 1);
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let headers = vec![("retry-after", "1".to_owned())];
    let receiver = receiver(then_store(vec![Reply::Answer(429, headers, String::new())])).await;
    let rig = Rig::new(settings(&url(&receiver)));
    let begun = Instant::now();
    rig.one("x", 1, 1.0);
    rig.settled(1).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn what_is_rate_limited_is_dropped_where_that_is_wanted() {
    let receiver = receiver(then_store(vec![Reply::status(429, "slow down")])).await;
    let mut settings = settings(&url(&receiver));
    settings.retry_rate_limited = false;
    let rig = Rig::new(settings);
    rig.one("x", 1, 1.0);
    rig.settled(1).await;
    rig.one("x", 2, 1.0);
    rig.settled(2).await;
    assert_eq!(rig.failed("rate_limited"), 1);
    assert_eq!(receiver.seen().stored, [sample("x", 2, 1.0)]);
}

#[tokio::test]
async fn what_is_too_old_is_not_sent() {
    let receiver = receiver(|_| Reply::Store).await;
    let mut settings = settings(&url(&receiver));
    settings.sample_age_limit = Some(Duration::from_secs(3600));
    let rig = Rig::new(settings);
    let now_ms = crate::wait::now_ns() / 1_000_000;
    rig.write(&points(&[("old", 5, 1.0), ("older", 1, 1.0)]));
    rig.settled(2).await;
    assert_eq!(receiver.seen().pushes.len(), 0);
    rig.write(&points(&[
        ("old", now_ms - 3_700_000, 1.0),
        ("x", now_ms, 2.0),
        ("old", 5, 1.0),
        ("y", now_ms - 10, 3.0),
    ]));
    rig.settled(6).await;
    assert_eq!(rig.dropped("age_limit"), 4);
    assert_eq!(receiver.seen().stored, [sample("x", now_ms, 2.0), sample("y", now_ms - 10, 3.0)]);
}

#[tokio::test]
async fn other_settings_end_a_pause() {
    let bad = receiver(|_| Reply::status(404, "")).await;
    let good = receiver(|_| Reply::Store).await;
    let mut settings = settings(&url(&bad));
    settings.backoff = (Duration::from_secs(3600), Duration::from_secs(3600));
    let rig = Rig::new(settings.clone());
    rig.one("x", 1, 1.0);
    rig.until_state(State::Degraded).await;
    settings.url = url(&good);
    rig.reconfigure(settings);
    rig.settled(1).await;
    assert_eq!(good.seen().stored.len(), 1);
    assert_eq!(rig.handle.status().url, url(&good));
}

#[tokio::test]
async fn nothing_is_lost_while_nobody_listens() {
    let addr = nowhere();
    let rig = Rig::new(settings(&format!("http://{addr}/api/v1/write")));
    rig.write(&numbered_points(0..3));
    rig.until("it was tried", |rig| rig.retries("connect") > 3).await;
    assert_eq!((rig.handle.status().state, rig.handle.status().queued), (State::Retrying, 1));
    let receiver = receiver_at(addr, |_| Reply::Store).await;
    rig.settled(3).await;
    assert_eq!(receiver.seen().stored, numbered(0..3));
}

/// What the receiver does with a request.
fn reply() -> impl Strategy<Value = Reply<crate::rig::Sample>> {
    prop_oneof![
        4 => Just(Reply::Store),
        1 => Just(Reply::status(500, "")),
        1 => Just(Reply::status(429, "")),
        1 => Just(Reply::status(401, "")),
        1 => Just(Reply::Close),
        1 => Just(Reply::status(413, "")),
        1 => Just(Reply::Break(503)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever the answers are that refuse nothing for good, all is stored once and in order.
    #[test]
    fn what_is_written_is_stored_once_and_in_order(
        replies in prop::collection::vec(reply(), 0..30),
        writes in prop::collection::vec(1..30_i64, 1..12),
        max_samples in 1..40_usize,
        two in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let receiver = receiver(then_store(replies)).await;
            let mut settings = settings(&url(&receiver));
            settings.max_samples = max_samples;
            if two {
                settings.message = lugger::sink::remote_write::settings::Message::V2;
            }
            let rig = Rig::new(settings);
            let mut next = 0;
            for count in writes {
                rig.write(&numbered_points(next..next + count));
                next += count;
                tokio::task::yield_now().await;
            }
            rig.settled(next as u64).await;
            assert_eq!(receiver.seen().stored, numbered(0..next));
            assert_eq!(rig.handle.status().entries, next as u64);
        });
    }
}
