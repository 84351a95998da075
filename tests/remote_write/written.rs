//! What becomes of points on their way into a request: metadata, exemplars, relabelling, bounds.

use crate::rig::{Rig, family, labels, point, points, receiver, sample, settings, text, url};
use crate::scripted::Reply;
use lugger::base::limits::REMOTE_SERIES_BYTES;
use lugger::model::points::Points;
use lugger::model::samples::STALE_BITS;
use lugger::pipeline::relabel::{Action, Settings};
use std::time::Duration;

fn has(metadata: &[u8], words: &str) -> usize {
    metadata.windows(words.len()).filter(|text| *text == words.as_bytes()).count()
}

#[tokio::test]
async fn the_first_version_has_metadata_now_and_then() {
    let receiver = receiver(|_| Reply::Store).await;
    let mut settings = settings(&url(&receiver));
    settings.metadata = Some(Duration::from_millis(300));
    let rig = Rig::new(settings);
    let mut points = Points::default();
    points.family(&family("x_total", "All of it."));
    points.add(&labels("x_total", &[]), point(1, 1.0));
    points.add(&labels("x_total", &[("a", "b")]), point(1, 1.0));
    points.family(&family("none", "Nothing of it."));
    points.family(&family("y", "Some of it."));
    points.add(&labels("y", &[]), point(1, 1.0));
    let mut written = 0;
    while receiver.seen().pushes.iter().filter(|push| !push.request.decoded.metadata.is_empty()).count() < 3 {
        rig.write(&points);
        written += 3;
        rig.settled(written).await;
    }
    let seen = receiver.seen();
    let with: Vec<usize> = seen
        .pushes
        .iter()
        .enumerate()
        .filter(|(_, p)| !p.request.decoded.metadata.is_empty())
        .map(|(at, _)| at)
        .collect();
    // The first has it, and most have none.
    assert!(with[0] == 0 && with[1] > 5 && with[2] > with[1] + 5, "{with:?}");
    let metadata = &seen.pushes[0].request.decoded.metadata;
    assert_eq!((has(metadata, "All of it."), has(metadata, "Some of it."), has(metadata, "Nothing")), (1, 1, 0));
}

#[tokio::test]
async fn exemplars_are_sent_where_they_are_wanted() {
    for wanted in [false, true] {
        let receiver = receiver(|_| Reply::Store).await;
        let mut settings = settings(&url(&receiver));
        settings.exemplars = wanted;
        let rig = Rig::new(settings);
        let mut points = Points::default();
        points.add(&labels("x", &[]), point(1, 1.0));
        points.add_exemplar(b"\xfftrace_id\xff7\xff", 0.5f64.to_bits(), Some(1));
        points.add(&labels("y", &[]), point(1, 1.0));
        rig.write(&points);
        rig.settled(2).await;
        let exemplars: Vec<_> =
            receiver.seen().pushes[0].request.decoded.series.iter().map(|series| series.exemplars()).collect();
        assert_eq!(exemplars, [usize::from(wanted), 0]);
    }
}

#[tokio::test]
async fn rules_say_what_goes_to_the_endpoint() {
    let receiver = receiver(|_| Reply::Store).await;
    let mut settings = settings(&url(&receiver));
    let drop = Settings {
        action: Action::Drop,
        source_labels: vec!["__name__".into()],
        regex: Some("go_.*".into()),
        ..Settings::default()
    };
    let set = Settings { target_label: "site".into(), replacement: Some("home".into()), ..Settings::default() };
    settings.write_relabel = vec![drop, set];
    let rig = Rig::new(settings.clone());
    let mut points = Points::default();
    points.add(&labels("go_x", &[]), point(1, 1.0));
    points.add(&labels("x", &[("zone", "1")]), point(1, 1.0));
    points.add(
        &labels("x", &[("zone", "2")]),
        lugger::model::points::Point { bits: STALE_BITS, time_ms: 2, start_ms: 0 },
    );
    rig.write(&points);
    rig.write(&points);
    rig.settled(6).await;
    let expected =
        [("x,site=home,zone=1".to_owned(), 1, 1.0f64.to_bits()), ("x,site=home,zone=2".to_owned(), 2, STALE_BITS)];
    assert_eq!(receiver.seen().stored, [expected.clone(), expected].concat());
    assert_eq!(rig.dropped("relabel"), 2);
    settings.write_relabel = Vec::new();
    rig.reconfigure(settings);
    rig.write(&points);
    rig.settled(9).await;
    assert_eq!(receiver.seen().stored[4].0, text(&labels("go_x", &[])));
}

#[tokio::test]
async fn a_sample_with_labels_above_the_bound_is_dropped() {
    let receiver = receiver(|_| Reply::Store).await;
    let rig = Rig::new(settings(&url(&receiver)));
    let mut points = Points::default();
    points.add(&labels("x", &[("long", &"y".repeat(REMOTE_SERIES_BYTES))]), point(1, 1.0));
    points.add(&labels("x", &[]), point(1, 1.0));
    rig.write(&points);
    rig.settled(2).await;
    assert_eq!(rig.dropped("too_large"), 1);
    assert_eq!(receiver.seen().stored, [sample("x", 1, 1.0)]);
}

#[tokio::test]
async fn long_labels_make_requests_of_fewer_samples() {
    let receiver = receiver(|push| {
        assert!(push.raw_bytes < 3 << 20, "{}", push.raw_bytes);
        Reply::status(204, "")
    })
    .await;
    let rig = Rig::new(settings(&url(&receiver)));
    let mut points = Points::default();
    for _ in 0..12 {
        points.add(&labels("x", &[("long", &"y".repeat(REMOTE_SERIES_BYTES - 100))]), point(1, 1.0));
    }
    rig.write(&points);
    rig.settled(12).await;
    assert!(receiver.seen().pushes.len() >= 4);
}

#[tokio::test]
async fn an_empty_collection_sends_nothing() {
    let receiver = receiver(|_| Reply::Store).await;
    let rig = Rig::new(settings(&url(&receiver)));
    rig.write(&Points::default());
    rig.write(&points(&[("x", 1, 1.0)]));
    rig.settled(1).await;
    assert_eq!(receiver.seen().pushes.len(), 1);
}
