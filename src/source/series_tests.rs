//! Rules of series one by one, and all of them together against a plain model.

use super::*;
use crate::format::prometheus::parse::{Form, Parser};
use crate::format::remote_write::labels_in;
use crate::pipeline::relabel::Action;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

/// Points as people read them: labels, bits, time.
fn told(points: &Points) -> Vec<(String, u64, i64)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let labels = |labels| {
        let pairs: Vec<_> =
            labels_in(labels).map(|(_, name, value)| format!("{}={}", text(name), text(value))).collect();
        assert!(pairs.is_sorted());
        pairs.join(",")
    };
    points.iter().map(|of| (labels(of.labels), of.point.bits, of.point.time_ms)).collect()
}

fn sorted(points: &Points) -> Vec<(String, u64, i64)> {
    let mut all = told(points);
    all.sort();
    all
}

fn series(settings: Settings, target: &[(&str, &str)]) -> Series {
    let target = target.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Series::new(Common::new(settings).unwrap(), target)
}

fn parsed(text: &str) -> Samples {
    let mut samples = Samples::default();
    Parser::default().parse(Form::Text, text.as_bytes(), &mut samples).unwrap();
    samples
}

/// What a collection of this text gives: labels, and whether it is a stale marker.
fn take(series: &mut Series, text: &str, time_ms: i64) -> Vec<(String, bool)> {
    let mut points = Points::default();
    if series.take(&parsed(text), time_ms, &mut points).is_err() {
        assert!(points.is_empty());
        series.fail(time_ms, &mut points);
    }
    sorted(&points).into_iter().map(|(labels, bits, _)| (labels, bits == STALE_BITS)).collect()
}

fn named(labels: &[(&str, bool)]) -> Vec<(String, bool)> {
    labels.iter().map(|(labels, stale)| ((*labels).to_owned(), *stale)).collect()
}

fn rule(action: Action, source: &str, regex: &str, target: &str, replacement: &str) -> relabel::Settings {
    relabel::Settings {
        action,
        source_labels: if source.is_empty() { vec![] } else { vec![source.into()] },
        regex: Some(regex.into()),
        target_label: target.into(),
        replacement: Some(replacement.into()).filter(|text: &String| !text.is_empty()),
        ..relabel::Settings::default()
    }
}

#[test]
fn labels_meet_as_in_prometheus() {
    let target = [("instance", "h:1"), ("job", "j")];
    let outer = vec![("host".to_owned(), "web".to_owned()), ("job".to_owned(), "never".to_owned())];
    for (honor, text, expected) in [
        (false, "a 1", "__name__=a,host=web,instance=h:1,job=j"),
        (false, "a{job=\"x\"} 1", "__name__=a,exported_job=x,host=web,instance=h:1,job=j"),
        (
            false,
            "a{job=\"x\",exported_job=\"y\"} 1",
            "__name__=a,exported_exported_job=x,exported_job=y,host=web,instance=h:1,job=j",
        ),
        (false, "a{job=\"\"} 1", "__name__=a,host=web,instance=h:1,job=j"),
        (false, "a{host=\"own\"} 1", "__name__=a,host=own,instance=h:1,job=j"),
        (true, "a{job=\"x\"} 1", "__name__=a,host=web,instance=h:1,job=x"),
        // The target's is not wanted; the host's takes the place that is free.
        (true, "a{job=\"\",instance=\"\"} 1", "__name__=a,host=web,job=never"),
    ] {
        let settings = Settings { honor_labels: honor, outer: outer.clone(), ..Settings::default() };
        assert_eq!(take(&mut series(settings, &target), text, 1), named(&[(expected, false)]), "{text}");
    }
}

#[test]
fn what_ends_gets_a_marker_once() {
    let mut series = series(Settings::default(), &[]);
    let [a, b] = ["__name__=a", "__name__=b"];
    assert_eq!(take(&mut series, "a 1\nb 1", 1), named(&[(a, false), (b, false)]));
    assert_eq!(take(&mut series, "a 1", 2), named(&[(a, false), (b, true)]));
    assert_eq!(take(&mut series, "a 1", 3), named(&[(a, false)]));
    assert_eq!(take(&mut series, "a NaN\nb 1", 4), named(&[(a, false), (b, false)]));
    let mut points = Points::default();
    series.fail(5, &mut points);
    assert_eq!(told(&points), [(a.to_owned(), STALE_BITS, 5), (b.to_owned(), STALE_BITS, 5)]);
    points.clear();
    series.fail(6, &mut points);
    assert!(points.is_empty());
    assert_eq!(take(&mut series, "b 1", 7), named(&[(b, false)]));
    series.part(8, &mut points);
    series.end(8, &mut points);
    let ended = sorted(&points);
    // Both tell of the same: one series of the target and five of the report, twice.
    assert_eq!((ended.len(), ended.iter().filter(|(labels, ..)| labels == "__name__=up").count()), (12, 2));
    assert!(ended.iter().all(|(_, bits, time)| (*bits, *time) == (STALE_BITS, 8)));
}

#[test]
fn own_times_are_not_tracked_unless_asked_for() {
    for (honor, track, marked) in [(true, false, false), (true, true, true), (false, false, true), (false, true, true)]
    {
        let settings = Settings { honor_timestamps: honor, track_timestamps_staleness: track, ..Settings::default() };
        let mut series = series(settings, &[]);
        let mut points = Points::default();
        series.take(&parsed("a 1 5\na 2 5\na 3 6\na 4 3"), 100, &mut points).unwrap();
        let times: Vec<i64> = points.iter().map(|of| of.point.time_ms).collect();
        assert_eq!(times, if honor { vec![5, 6] } else { vec![100] });
        let expected = named(&[("__name__=a", true)]);
        assert_eq!(take(&mut series, "", 200), expected[usize::from(!marked)..], "{honor} {track}");
    }
    // The same sample again is none, and one that is far ahead is none either.
    let mut series = series(Settings::default(), &[]);
    let mut points = Points::default();
    let first = series.take(&parsed("a 1 5\nb 1 700000"), 10, &mut points).unwrap();
    assert_eq!((first.kept, first.ahead, points.len()), (2, 1, 1));
    let second = series.take(&parsed("a 1 5"), 20, &mut points).unwrap();
    assert_eq!((second.kept, second.not_newer, points.len()), (1, 1, 1));
}

#[test]
fn of_equal_series_the_first_counts() {
    let mut series = series(Settings::default(), &[]);
    let mut points = Points::default();
    let taken =
        series.take(&parsed("a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\na{x=\"1\",y=\"2\",z=\"\"} 3"), 1, &mut points);
    let expected = Taken { scraped: 3, kept: 3, added: 3, again: 2, ..Taken::default() };
    assert_eq!(taken, Ok(expected));
    assert_eq!(told(&points), [("__name__=a,x=1,y=2".to_owned(), 1f64.to_bits(), 1)]);
}

#[test]
fn each_limit_refuses_the_whole() {
    let one = |limits: Limits| Settings { limits, ..Settings::default() };
    let none = Limits::default();
    for (limits, good, bad, message) in [
        (
            Limits { samples: 2, ..none },
            "a 1\nb 1",
            "a 1\nb 1\nc 1\nd 1",
            "4 samples are more than the sample_limit of 2",
        ),
        (Limits { labels: 2, ..none }, "a 1", "a 1\nb{x=\"1\"} 1", "the series b has 3 labels"),
        (Limits { label_name_bytes: 8, ..none }, "a{x=\"1\"} 1", "a{x=\"1\"} 1\nb{ninebytes=\"1\"} 1", "\"ninebytes\""),
        (
            Limits { label_value_bytes: 3, ..none },
            "a{x=\"1\"} 1",
            "a{x=\"1\"} 1\nb{y=\"1234\"} 1",
            "label \"y\" of the series b",
        ),
    ] {
        let mut series = series(one(limits), &[("job", "j")]);
        assert!(take(&mut series, good, 1).iter().all(|(_, stale)| !stale));
        let mut points = Points::default();
        let before = points.mark();
        points.add(b"before", Point::default());
        for _ in 0..2 {
            // Also the second time: what breaks a limit is not remembered as dropped.
            let refused = series.take(&parsed(bad), 2, &mut points).unwrap_err();
            assert!(refused.to_string().contains(message), "{refused}");
            assert_eq!(points.len(), 1);
        }
        points.back_to(before);
        series.fail(3, &mut points);
        assert!(sorted(&points).iter().all(|(_, bits, _)| *bits == STALE_BITS));
        assert_eq!(points.len(), parsed(good).len());
        let taken = series.take(&parsed(good), 4, &mut points).unwrap();
        assert_eq!(taken.added, 0, "{message}");
    }
}

#[test]
fn relabelling_drops_renames_and_must_leave_a_name() {
    let relabel = vec![
        rule(Action::Drop, "__name__", "go_.*", "", ""),
        rule(Action::Replace, "job", "(.+)", "team", "$1"),
        rule(Action::Replace, "bare", "yes", "__name__", "-"),
    ];
    let mut series = series(Settings { relabel, ..Settings::default() }, &[("job", "j")]);
    let mut points = Points::default();
    let taken = series.take(&parsed("go_x 1\na 1"), 1, &mut points).unwrap();
    assert_eq!((taken.scraped, taken.kept, taken.added), (2, 1, 1));
    assert_eq!(told(&points)[0].0, "__name__=a,job=j,team=j");
    for _ in 0..2 {
        let refused = series.take(&parsed("a 1\nb{bare=\"yes\"} 1"), 2, &mut points).unwrap_err();
        assert_eq!(refused.reason, Reason::NoName { series: "b".into() });
    }
}

#[test]
fn the_report_has_the_targets_labels_and_no_relabelling() {
    let relabel = vec![rule(Action::Drop, "__name__", "up", "", "")];
    let limits = Limits { samples: 9, ..Limits::default() };
    let outer = vec![("host".into(), "h".into()), ("job".into(), "not".into())];
    for extra_metrics in [false, true] {
        let settings =
            Settings { relabel: relabel.clone(), limits, outer: outer.clone(), extra_metrics, ..Settings::default() };
        let series = series(settings, &[("job", "j")]);
        let taken = Taken { scraped: 7, kept: 6, added: 5, ..Taken::default() };
        let report = Report { up: true, duration_s: 0.25, taken, timeout_s: 10.0, body_bytes: 123 };
        let mut points = Points::default();
        series.report(&report, 4, &mut points);
        let values: Vec<f64> = told(&points).iter().map(|(_, bits, _)| f64::from_bits(*bits)).collect();
        let expected = [1.0, 0.25, 7.0, 6.0, 5.0, 10.0, 9.0, 123.0];
        assert_eq!(values, expected[..if extra_metrics { 8 } else { 5 }]);
        assert_eq!(told(&points)[0].0, "__name__=up,host=h,job=j");
        let families: Vec<_> = points.iter().map(|of| points.family_at(of.family.unwrap()).unwrap()).collect();
        assert_eq!((families[0].name, families[0].kind), ("up", Kind::Gauge));
    }
}

#[test]
fn other_settings_go_on_with_what_was_there() {
    let mut old = series(Settings::default(), &[("job", "j")]);
    take(&mut old, "a 1\nb 1\nc 1", 1);
    let relabel = vec![rule(Action::Drop, "__name__", "b", "", "")];
    let mut new = series(Settings { relabel: relabel.clone(), ..Settings::default() }, &[("job", "j")]);
    new.succeed(old);
    let mut part = Points::default();
    new.part(2, &mut part);
    assert_eq!(part.len(), 3 + 5);
    let expected = [("__name__=a,job=j", false), ("__name__=b,job=j", true), ("__name__=c,job=j", true)];
    assert_eq!(take(&mut new, "a 1", 2), named(&expected));
    assert_eq!(take(&mut new, "a 1", 3), named(&expected[..1]));

    // With other labels the report's series end too.
    let outer = vec![("host".into(), "h".into())];
    let mut other = series(Settings { outer, ..Settings::default() }, &[("job", "j")]);
    other.succeed(new);
    let told = take(&mut other, "a 1", 4);
    assert_eq!(told.iter().filter(|(_, stale)| *stale).count(), 1 + 5);
    // Also if the first collection fails.
    let mut third = series(Settings { relabel, ..Settings::default() }, &[("job", "j")]);
    third.succeed(other);
    let mut points = Points::default();
    third.fail(5, &mut points);
    assert_eq!(points.len(), 1 + 5);
}

#[test]
fn what_takes_too_much_memory_is_refused_and_counted_to_its_end() {
    let text = |count: usize| (0..count).map(|at| format!("a{{x=\"{at}\"}} 1\n")).collect::<String>();
    let mut series = series(Settings::default(), &[("job", "j")]);
    assert_eq!(take(&mut series, &text(10), 1).len(), 10);
    let ten = series.bytes();
    series.bound(Bound { series: 2 * ten, points: usize::MAX });
    assert_eq!(take(&mut series, &text(19), 2).len(), 19);
    let mut points = Points::default();
    let refused = series.take(&parsed(&text(100)), 3, &mut points).unwrap_err();
    let Reason::Memory { series: count, bytes, room } = refused.reason else { panic!("{refused}") };
    assert_eq!((count, room, refused.taken.scraped, refused.taken.kept), (100, 2 * ten, 100, 100));
    assert!((9 * ten..=11 * ten).contains(&bytes), "{bytes} of {ten} for ten");
    assert!(series.bytes() <= 2 * ten && points.is_empty());
    // What was there before ends, and nothing is held.
    series.fail(3, &mut points);
    assert_eq!(points.len(), 19);
    series.forget();
    assert_eq!((series.bytes(), series.len()), (0, 0));
    assert_eq!(take(&mut series, &text(10), 4).len(), 10);
    // So are the points of one collection.
    series.bound(Bound { series: usize::MAX, points: 1000 });
    let refused = series.take(&parsed(&text(100)), 5, &mut points).unwrap_err();
    assert_eq!(refused.reason, Reason::Points { samples: 100, room: 1000 });
    assert!(points.memory() < 4000, "{}", points.memory());
}

#[test]
fn what_is_counted_only_takes_nothing_in() {
    let mut series =
        series(Settings { relabel: vec![rule(Action::Drop, "__name__", "b", "", "")], ..Settings::default() }, &[]);
    assert_eq!(take(&mut series, "a 1\nb 1\nc 1\n", 1), named(&[("__name__=a", false), ("__name__=c", false)]));
    let mut points = Points::default();
    let taken = series.count(&parsed("a 1\nb 1\nd 1\n"), 2, &mut points);
    assert_eq!((taken.scraped, taken.kept, taken.added, points.len()), (3, 2, 1, 0));
    // As if there had been none.
    series.fail(2, &mut points);
    let stale: Vec<_> = sorted(&points).into_iter().map(|(labels, ..)| labels).collect();
    assert_eq!(stale, ["__name__=a", "__name__=c"]);
    assert_eq!(take(&mut series, "d 1\n", 3), named(&[("__name__=d", false)]));
}

#[test]
fn starts_of_counters_go_with_their_points() {
    let mut samples = Samples::default();
    samples.family("a", "", Kind::Counter);
    samples.add(&[], 1.0);
    let mark = samples.mark();
    samples.family("b", "", Kind::Counter);
    samples.add(&[("x", "1")], 1.0);
    samples.add(&[("x", "2")], 1.0);
    samples.family("g", "", Kind::Gauge);
    samples.add(&[], 1.0);
    samples.counters_start(mark, 50);
    samples.set_start(2, 2000);
    let mut points = Points::default();
    series(Settings::default(), &[]).take(&samples, 1000, &mut points).unwrap();
    let starts: Vec<i64> = points.iter().map(|of| of.point.start_ms).collect();
    // What is to begin after the sample's time is none.
    assert_eq!(starts, [0, 50, 0, 0]);
}

#[test]
fn exemplars_and_families_stay_with_their_samples() {
    let text = "# TYPE a counter\na_total{x=\"1\"} 1 # {t=\"1\"} 1\na_total{x=\"2\"} 2 # {t=\"2\"} 2 3\n# HELP b Says.\nb 1\n# EOF\n";
    let mut samples = Samples::default();
    Parser::default().parse(Form::OpenMetrics, text.as_bytes(), &mut samples).unwrap();
    let relabel = vec![rule(Action::Drop, "x", "1", "", "")];
    let mut series = series(Settings { relabel, ..Settings::default() }, &[]);
    let mut points = Points::default();
    series.take(&samples, 1, &mut points).unwrap();
    let told: Vec<_> = points
        .iter()
        .map(|of| {
            (points.family_at(of.family.unwrap()).unwrap(), of.exemplars().map(|e| e.time_ms).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!((told[0].0.name, told[0].0.kind, &told[0].1[..]), ("a", Kind::Counter, &[Some(3000)][..]));
    assert_eq!((told[1].0.help, told[1].1.len()), ("Says.", 0));
}

/// A sample of a made-up body.
#[derive(Debug, Clone)]
struct Line {
    name: &'static str,
    labels: Vec<(&'static str, &'static str)>,
    value: u8,
    time: Option<i64>,
}

fn line() -> impl Strategy<Value = Line> {
    let label = (
        prop::sample::select(vec!["job", "exported_job", "x", "instance", "host"]),
        prop::sample::select(vec!["", "1", "2"]),
    );
    let labels = prop::collection::vec(label, 0..3).prop_map(|mut labels| {
        let mut seen = BTreeSet::new();
        labels.retain(|(name, _)| seen.insert(*name));
        labels
    });
    (prop::sample::select(vec!["a", "b", "go_a"]), labels, 0..9u8, prop::option::weighted(0.2, 0..40i64))
        .prop_map(|(name, labels, value, time)| Line { name, labels, value, time })
}

#[derive(Debug, Clone)]
enum Round {
    Body(Vec<Line>),
    Failure,
}

/// What the rules say, written down as plainly as it goes.
struct Model {
    settings: Settings,
    target: Vec<(String, String)>,
    there: BTreeSet<Labels>,
    /// Last times of series that have own ones, while they are remembered.
    times: BTreeMap<Labels, i64>,
}

impl Model {
    fn labels(&self, line: &Line) -> Option<Labels> {
        if line.name == "go_a" {
            return None;
        }
        let mut labels: Labels = line.labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut aside = Vec::new();
        for (name, value) in &self.target {
            match labels.get(name) {
                Some(_) if self.settings.honor_labels => {}
                old => {
                    aside.extend(old.filter(|old| !old.is_empty()).map(|old| (name.clone(), old.clone())));
                    labels.insert(name.clone(), value.clone());
                }
            }
        }
        aside.sort_by_key(|(name, _)| name.len());
        for (name, value) in aside {
            let mut name = format!("exported_{name}");
            while labels.get(&name).is_some_and(|value| !value.is_empty()) {
                name = format!("exported_{name}");
            }
            labels.insert(name, value);
        }
        labels.insert("__name__".into(), line.name.into());
        labels.retain(|_, value| !value.is_empty());
        for (name, value) in &self.settings.outer {
            labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
        Some(labels)
    }

    fn body(&mut self, lines: &[Line], with_times: bool, now: i64) -> Option<Vec<(Labels, u64, i64)>> {
        let kept: Vec<_> = lines.iter().filter_map(|line| Some((self.labels(line)?, line))).collect();
        let limit = self.settings.limits.samples;
        if limit != 0 && kept.len() as u64 > limit {
            return None;
        }
        let mut points = Vec::new();
        let mut seen: BTreeMap<Labels, bool> = BTreeMap::new();
        for (labels, line) in kept {
            let own = line.time.filter(|_| with_times && self.settings.honor_timestamps);
            let tracked = own.is_none() || self.settings.track_timestamps_staleness;
            let again = seen.contains_key(&labels);
            let was = seen.entry(labels.clone()).or_insert(tracked);
            *was = tracked || *was;
            if again && own.is_none() {
                continue;
            }
            let time = own.unwrap_or(now);
            if self.times.get(&labels).is_some_and(|last| *last >= time) {
                continue;
            }
            if own.is_some() || self.times.contains_key(&labels) {
                self.times.insert(labels.clone(), time);
            }
            points.push((labels, f64::from(line.value).to_bits(), time));
        }
        let there = seen.iter().filter(|(_, tracked)| **tracked).map(|(labels, _)| labels.clone()).collect();
        for labels in self.there.iter().filter(|labels| !seen.contains_key(*labels)) {
            points.push((labels.clone(), STALE_BITS, now));
        }
        self.there = there;
        Some(points)
    }

    fn failure(&mut self, now: i64) -> Vec<(Labels, u64, i64)> {
        std::mem::take(&mut self.there).into_iter().map(|labels| (labels, STALE_BITS, now)).collect()
    }
}

proptest! {
    /// From text to points it is as the model says, round after round, also where collections fail or are refused.
    #[test]
    fn agrees_with_a_plain_model(
        rounds in prop::collection::vec(
            prop_oneof![5 => prop::collection::vec(line(), 0..8).prop_map(Round::Body), 1 => Just(Round::Failure)],
            1..8,
        ),
        honor_labels: bool, honor_timestamps: bool, with_times: bool, track: bool, samples in prop::sample::select(vec![0u64, 0, 4]),
    ) {
        let settings = Settings {
            honor_labels,
            honor_timestamps,
            track_timestamps_staleness: track,
            relabel: vec![rule(Action::Drop, "__name__", "go_.*", "", "")],
            outer: vec![("host".into(), "h".into())],
            limits: Limits { samples, ..Limits::default() },
            ..Settings::default()
        };
        let target = [("instance", "i"), ("job", "j")];
        let mut series = series(settings.clone(), &target);
        let target = target.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut model = Model { settings, target, there: BTreeSet::new(), times: BTreeMap::new() };
        for (i, round) in rounds.iter().enumerate() {
            let now = 10 * (i as i64 + 1);
            let mut points = Points::default();
            let expected = match round {
                Round::Failure => {
                    series.fail(now, &mut points);
                    model.failure(now)
                }
                Round::Body(lines) => {
                    let mut text = String::new();
                    for Line { name, labels, value, time } in lines {
                        let labels: Vec<_> = labels.iter().map(|(n, v)| format!("{n}=\"{v}\"")).collect();
                        let time = time.filter(|_| with_times).map_or(String::new(), |time| format!(" {time}"));
                        text.push_str(&format!("{name}{{{}}} {value}{time}\n", labels.join(",")));
                    }
                    if series.take(&parsed(&text), now, &mut points).is_err() {
                        series.fail(now, &mut points);
                    }
                    match model.body(lines, with_times, now) {
                        Some(points) => points,
                        None => model.failure(now),
                    }
                }
            };
            let text = |labels: &Labels| labels.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(",");
            let mut expected: Vec<_> = expected.iter().map(|(labels, bits, time)| (text(labels), *bits, *time)).collect();
            expected.sort();
            prop_assert_eq!(sorted(&points), expected);
            if honor_timestamps && with_times {
                // How long own times are remembered is not of the model.
                break;
            }
        }
    }
}
