//! Bounds of streams and caps of labels: what is refused, and that what is set holds for the labels of the configuration itself.

use crate::reports::{Case, check};
use crate::{SHORTEST, good, load};
use lugger::config::Loaded;

#[test]
fn raised_caps_of_labels_let_through_what_the_defaults_do_not() {
    let text = |limits: &str| {
        let many: Vec<String> = (0..16).map(|i| format!("l{i}: {}", "v".repeat(3_000))).collect();
        format!("{SHORTEST}labels: {{ {} }}\nlimits: {{ {limits} }}\n", many.join(", "))
    };
    // Each value, and the count.
    assert_eq!(load(&text("line: 1KiB")).unwrap_err().problems().len(), 17);
    let Loaded { plan, warnings } = good(&text("labels: 17, label_value: 3KiB"));
    assert_eq!(plan.files[0].settings.labels.len(), 16);
    let warnings = warnings.to_string();
    assert!(
        warnings.contains("max_label_names_per_series") && warnings.contains("max_label_value_length"),
        "{warnings}"
    );
    assert!(load(&text("labels: 16, label_value: 3KiB")).is_err(), "filename counts");
}

#[test]
fn late_labels_are_labels() {
    let text = |late: &str, own: &str| {
        let log = format!("{{ file: {{ include: /x/*.log }}, labels: {{ a: x }}, late_labels: {own} }}");
        format!("loki: [{{ url: 'http://localhost' }}]\nlate_labels: {late}\nlogs: [{log}]\nlimits: {{ labels: 4 }}\n")
    };
    let settings = good(&text("{ site: all, host: h, a: y }", "{ host: own }")).plan.files.remove(0).settings;
    assert_eq!(settings.labels.encoded(), r#"{a="x"}"#);
    assert_eq!(settings.late_labels.encoded(), r#"{a="y", host="own", site="all"}"#);
    let settings = good(&text("{ site: all }", "{ site: '' }")).plan.files.remove(0).settings;
    assert_eq!(settings.late_labels.encoded(), "{}");
    let count = load(&text("{ b: x, c: x }", "{ d: x }")).unwrap_err().to_string();
    assert!(count.contains("streams would have 5 labels"), "{count}");
    let names = load(&text("{ filename: x }", "{ a-b: x }")).unwrap_err().to_string();
    assert!(names.contains("the label filename is set by the agent"), "{names}");
    assert!(names.contains("label name \"a-b\" is not valid"), "{names}");
}

#[test]
fn reports_are_exactly_these() {
    check(CASES);
}

const CASES: &[Case] = &[
    (
        "bounds of streams and caps of labels",
        r#"loki:
  - { url: "http://localhost", max_streams: 0 }
  - { url: "http://127.0.0.1", max_streams_policy: drop }
labels: { lugger_merged: x, a_name_of_21_bytes___: x, b: 12345678901234567890 }
limits: { labels: 3, label_name: 16B, label_value: 17B }
logs: [{ file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:2:45: 0 is out of range
  2 |   - { url: "http://localhost", max_streams: 0 }
    |                                             ^
help: it has to be from 1 to 1000000

agent.yaml:3:32: max_streams_policy has no effect without `max_streams`
  3 |   - { url: "http://127.0.0.1", max_streams_policy: drop }
    |                                ^^^^^^^^^^^^^^^^^^
help: add `max_streams`, such as `max_streams: 4000`, or remove it

agent.yaml:4:1: streams would have 4 labels: global ones, own ones and filename
  4 | labels: { lugger_merged: x, a_name_of_21_bytes___: x, b: 12345678901234567890 }
    | ^^^^^^
help: `limits.labels` is 3, which is to be what Loki takes: remove some

agent.yaml:4:11: the label lugger_merged is set by the agent, on streams that take the lines of those above max_streams
  4 | labels: { lugger_merged: x, a_name_of_21_bytes___: x, b: 12345678901234567890 }
    |           ^^^^^^^^^^^^^
help: choose another name, or remove it

agent.yaml:4:29: label name "a_name_of_21_bytes___" is longer than 16 bytes
  4 | labels: { lugger_merged: x, a_name_of_21_bytes___: x, b: 12345678901234567890 }
    |                             ^^^^^^^^^^^^^^^^^^^^^
help: choose another name

agent.yaml:4:58: the value of label b is longer than 17 bytes
  4 | labels: { lugger_merged: x, a_name_of_21_bytes___: x, b: 12345678901234567890 }
    |                                                          ^^^^^^^^^^^^^^^^^^^^
help: shorten it; `limits.label_value` is to be what Loki takes"#,
    ),
    (
        "a policy that does not exist, caps that are out of range",
        r#"loki: [{ url: "http://localhost", max_streams: 10, max_streams_policy: keep }]
labels: { a: x, a_name_of_21_bytes___: x }
limits: { labels: 0, label_name: 15B, label_value: 1MiB }
logs: [{ file: { include: /x/*.log } }]
"#,
        r#"
agent.yaml:1:72: "keep" is not a choice
  1 | loki: [{ url: "http://localhost", max_streams: 10, max_streams_policy: keep }]
    |                                                                        ^^^^
help: the choices are: merge, drop

agent.yaml:3:19: 0 is out of range
  3 | limits: { labels: 0, label_name: 15B, label_value: 1MiB }
    |                   ^
help: it has to be from 1 to 100

agent.yaml:3:34: 15B is out of range
  3 | limits: { labels: 0, label_name: 15B, label_value: 1MiB }
    |                                  ^^^
help: it has to be from 16B to 64KiB

agent.yaml:3:52: 1MiB is out of range
  3 | limits: { labels: 0, label_name: 15B, label_value: 1MiB }
    |                                                    ^^^^
help: it has to be from 16B to 64KiB"#,
    ),
];
