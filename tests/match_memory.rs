//! Selecting, relabelling and redacting allocate nothing for a line once their memory has grown.

#[path = "support/allocations.rs"]
mod counting;

use counting::{Counting, allocations};
use lugger::format::logql::Selector;
use lugger::pipeline::label_map::LabelMap;
use lugger::pipeline::redact::{self, Kind, Mark, Redactor};
use lugger::pipeline::relabel::{Action, Rules, Settings};
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often something allocates in a thousand rounds, after a hundred in which its memory grows.
fn in_a_thousand(mut round: impl FnMut()) -> u64 {
    (0..100).for_each(|_| round());
    allocations(|| (0..1000).for_each(|_| round()))
}

#[test]
fn nothing_is_allocated_for_a_line() {
    assert_eq!(in_a_thousand(|| drop(black_box(String::from("counted")))), 1000, "the count works");

    let lines = [
        "2026-01-01 10:00:00 level=info user jane@example.com from 10.0.0.1 paid with 4111 1111 1111 1111",
        "GET / Authorization: Bearer abcdef123456789 postgres://a:b@db",
        "nothing of interest in this line, status=200",
    ];
    let text = r#"{app=~"s.*p", env!="dev", none=~"|x.+"} |= "level" or "status" !~ "err(or|no)" |~ "(?i)INFO|\\d" !> "<_>zzz<_>""#;
    let selector = Selector::parse(text).unwrap();
    let selects = in_a_thousand(|| {
        black_box(selector.matches_labels(&|name| if name == "app" { "shop" } else { "" }));
        for line in lines {
            black_box(selector.matches_line(line));
        }
    });
    assert_eq!(selects, 0, "selecting");

    let rule = |action, source: &str, regex: &str, target: &str| Settings {
        action,
        source_labels: vec![source.to_owned()],
        regex: Some(regex.to_owned()),
        target_label: target.to_owned(),
        ..Settings::default()
    };
    let map_labels = Settings { action: Action::LabelMap, regex: Some("__meta_(.+)".into()), ..Settings::default() };
    let hash = Settings { modulus: 8, ..rule(Action::HashMod, "unit", "(.*)", "part") };
    let rules = Rules::compile(&[
        rule(Action::Replace, "__meta_unit", "(.*)", "unit"),
        rule(Action::Replace, "unit", r"(.+)\.service", "app"),
        rule(Action::Keep, "app", "ng.*|apache", ""),
        rule(Action::Uppercase, "app", "(.*)", "capitals"),
        map_labels,
        hash,
    ])
    .unwrap();
    let (mut scratch, mut labels) = (rules.scratch(), LabelMap::new());
    let relabels = in_a_thousand(|| {
        labels.clear();
        for (name, value) in [("__meta_unit", "nginx.service"), ("__meta_host", "web-1"), ("job", "journal")] {
            labels.set(name, value);
        }
        assert!(rules.apply(&mut labels, &mut scratch));
        labels.drop_internal();
        assert_eq!(labels.len(), 6);
    });
    assert_eq!(relabels, 0, "relabelling");

    let settings = redact::Settings { kinds: Kind::ALL.to_vec(), custom: Vec::new(), mark: Mark::Kind };
    let redactor = Redactor::compile(&settings).unwrap();
    let (mut scratch, mut out) = (redact::Scratch::default(), String::new());
    let redacts = in_a_thousand(|| {
        let marks = lines.map(|line| redactor.redact(line, &mut 0, &mut scratch, &mut out));
        assert_eq!(marks, [3, 2, 0]);
    });
    assert_eq!(redacts, 0, "redacting");
}
