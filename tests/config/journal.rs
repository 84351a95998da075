//! `journal` of `logs`: its options, their defaults, and what is said of mistakes.

use crate::{good, load};
use lugger::source::journal::settings::Settings;
use std::time::Duration;

fn text(entry: &str) -> String {
    format!("labels: {{ site: s, job: g }}\nloki: [{{ url: \"http://127.0.0.1:3100\" }}]\nlogs: [{{ {entry} }}]\n")
}

fn settings(entry: &str) -> Settings {
    good(&text(entry)).plan.journals.remove(0).settings
}

#[test]
fn defaults() {
    let settings = settings("journal: {}");
    assert_eq!(settings.name, "journal");
    assert_eq!(settings.path, None);
    assert!(settings.matches.is_empty() && settings.units.is_empty() && settings.priority.is_none());
    assert!(!settings.json && !settings.own_unit);
    assert_eq!(settings.max_age, Duration::from_secs(7 * 3600));
    assert_eq!(settings.outer_labels.encoded(), r#"{job="g", site="s"}"#);
}

#[test]
fn what_is_written() {
    let written = settings(
        "name: x, journal: { path: /j, matches: [A=1, +, B=a b C=2], units: [ssh, a.socket, 'x*'], priority: err..info, json: true, \
         max_age: 1d, own_unit: true }, labels: { job: own, site: \"\" }, relabel_configs: [{ action: labelmap, regex: x }]",
    );
    let matches: Vec<Vec<String>> =
        written.matches.iter().map(|all| all.iter().map(|m| format!("{}={}", m.field, m.value)).collect()).collect();
    assert_eq!(matches, [vec!["A=1"], vec!["B=a b", "C=2"]]);
    assert_eq!(written.units, ["ssh.service", "a.socket", "x*"]);
    assert_eq!(written.priority, Some((3, 6)));
    assert_eq!((written.labels.encoded().as_str(), written.outer_labels.encoded().as_str()), (r#"{job="own"}"#, "{}"));
    assert!(written.json && written.own_unit && written.relabel.len() == 1);
    for (text, priority) in [("warning", (0, 4)), ("7", (0, 7)), ("emerg", (0, 0)), ("debug..3", (3, 7))] {
        assert_eq!(settings(&format!("journal: {{ priority: {text} }}")).priority, Some(priority), "{text}");
    }
}

#[test]
fn mistakes() {
    for (entry, expected) in [
        ("journal: { unit: a }", "unknown key \"unit\""),
        ("journal: { path: log }", "the path \"log\" is not absolute"),
        ("journal: { matches: a=1 }", "\"a=1\" is no condition"),
        ("journal: { matches: [A=1, +] }", "there is nothing behind the last `+`"),
        ("journal: { matches: + A=1 }", "there is nothing before this `+`"),
        ("journal: { units: [] }", "`units` is empty"),
        ("journal: { units: a/b }", "\"a/b\" is no unit"),
        ("journal: { units: 'a[' }", "\"a[\" is no pattern"),
        ("journal: { priority: warm }", "\"warm\" is no priority"),
        ("journal: { max_age: 1000d }", "1000d is out of range"),
        ("journal: { json: 7 }", "json"),
        ("journal: {}, file: { include: /x }", "this entry of `logs` has two sources"),
        ("journal: {}, relabel_configs: [{ action: dance }]", "\"dance\" is no action"),
        ("journal: {}, labels: { filename: x }", "the label filename is set by the agent"),
        ("name: a", "this entry of `logs` has no source"),
    ] {
        let report = load(&text(entry)).expect_err(entry).to_string();
        assert!(report.contains(expected), "{entry}: {report}");
    }
    let loaded = good(&text("journal: { path: /nowhere/journal }"));
    let warnings = loaded.warnings.to_string();
    assert!(warnings.contains("the directory \"/nowhere/journal\" is not there"), "{warnings}");
    assert!(good(&text("journal: { path: /proc }")).warnings.is_empty());
    let bare = "loki: [{ url: \"http://127.0.0.1:3100\" }]\nlogs: [{ journal: {} }]\n";
    let report = load(bare).unwrap_err().to_string();
    assert!(report.contains("these entries would have no labels"), "{report}");
}
