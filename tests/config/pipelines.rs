//! Pipelines in a configuration: what arrives in the plan, and where errors are shown. (Each stage's options are tested beside their code.)

use crate::good;
use crate::reports::{Case, check};
use lugger::pipeline::settings::{Output, Stage};

/// An endpoint, and one entry of `logs` with this in it.
fn with(entry: &str) -> String {
    format!("loki: [{{ url: 'http://localhost:3100' }}]\nlogs:\n  - name: a\n    {entry}\n")
}

const FILE: &str = "file: { include: /x/a.log }";

#[test]
fn recipes_come_before_own_stages() {
    let text = with(&format!("{FILE}\n    format: [docker, cri]\n    stages:\n      - output: {{ source: a }}"));
    let loaded = good(&text);
    assert!(loaded.warnings.is_empty());
    let stages = &loaded.plan.files[0].settings.stages;
    assert!(
        matches!(stages.as_slice(), [Stage::Docker, Stage::Cri(_), Stage::Output(Output { source })] if source == "a")
    );
    for none in ["stages: []", "stages:", "relabel_configs:", "relabel_configs: []"] {
        assert!(good(&with(&format!("{FILE}\n    {none}"))).plan.files[0].settings.stages.is_empty());
    }
}

#[test]
fn a_group_of_a_replacement_is_no_variable() {
    let text = with(&format!(
        "{FILE}\n    labels: {{ a: x-y, h: '${{HOSTNAME}}' }}\n    relabel_configs:\n      - {{ source_labels: [a], regex: '(.)-(.)', target_label: b, replacement: '${{2}}${{1}}' }}"
    ));
    assert_eq!(good(&text).plan.files[0].settings.labels.encoded(), r#"{a="x-y", b="yx", h="myhost"}"#);
}

#[test]
fn rules_see_own_labels_and_the_pattern() {
    let text = format!(
        "labels: {{ site: home }}\n{}",
        with(
            "file: { include: [/srv/shop/*.log] }
    labels: { job: app, __tmp_x: y, secret: z }
    relabel_configs:
      - { source_labels: [__path__], regex: '/srv/([^/]+)/.*', target_label: app }
      - { source_labels: [__tmp_x], target_label: x }
      - { source_labels: [site], target_label: seen }
      - { action: labeldrop, regex: secret }
      - { target_label: __path__, replacement: /srv/shop/live.log }"
        )
    );
    let plan = good(&text).plan;
    let settings = &plan.files[0].settings;
    assert_eq!(settings.labels.encoded(), r#"{app="shop", job="app", site="home", x="y"}"#);
    assert_eq!((settings.include.as_slice(), settings.name.as_str()), (&["/srv/shop/live.log".to_owned()][..], "a"));
}

#[test]
fn rules_may_drop_patterns_or_all_of_an_entry() {
    let rules = |rule: &str| with(&format!("file: {{ include: [/x/a.log, /x/b.log] }}\n    relabel_configs: [{rule}]"));
    let some = good(&rules("{ source_labels: [__path__], regex: '.*b.log', action: drop }"));
    assert_eq!(some.plan.files[0].settings.include, ["/x/a.log"]);
    let none = good(&rules("{ source_labels: [job], regex: x, action: keep }"));
    assert!(none.plan.files.is_empty());
    assert!(none.warnings.to_string().contains("5:5: warning: the rules drop this entry: nothing is read for it"));
}

#[test]
fn reports_of_pipelines_are_exactly_these() {
    check(CASES);
}

const CASES: &[Case] = &[
    (
        "a format that does not exist",
        "loki: [{ url: 'http://localhost:3100' }]
logs:
  - file: { include: /x/*.log }
    format: ngix
",
        "
agent.yaml:4:13: \"ngix\" is no format that lugger knows
  4 |     format: ngix
    |             ^^^^
help: did you mean \"nginx\"?",
    ),
    (
        "mistakes that compiling finds, each at its place",
        "loki: [{ url: 'http://localhost:3100' }]
logs:
  - file: { include: /x/*.log }
    format: docker
    stages:
      - docker: {}
      - match:
          selector: '{job=\"a\"}'
          stages:
            - regex: { expression: '(?P<a>x)(?=y)' }
  - file: { include: /y/*.log }
    stages:
      - template: { source: a, template: '{{ shout .Value }}' }
",
        "
agent.yaml:10:36: regular expression, character 9: look-ahead is not possible
  10 |             - regex: { expression: '(?P<a>x)(?=y)' }
     |                                    ^^^^^^^^^^^^^^^
help: match what follows too, and capture the part you want

agent.yaml:13:42: line 1, column 4 of the template: the function `shout` is not supported
  13 |       - template: { source: a, template: '{{ shout .Value }}' }
     |                                          ^^^^^^^^^^^^^^^^^^^^
help: take it out of the template",
    ),
    (
        "rules that give patterns different labels, and ones that make what cannot be",
        "loki: [{ url: 'http://localhost:3100' }]
logs:
  - name: a
    file: { include: [/x/a.log, /x/b.log] }
    relabel_configs:
      - { source_labels: [__path__], target_label: path }
  - name: b
    file: { include: /y }
    relabel_configs: [{ target_label: filename, replacement: x }]
  - name: c
    file: { include: /y }
    relabel_configs: [{ target_label: __path__, replacement: x }]
",
        "
agent.yaml:5:5: the rules give the patterns of `include` different labels
  5 |     relabel_configs:
    |     ^^^^^^^^^^^^^^^
help: write an entry of `logs` for each pattern

agent.yaml:9:5: the rules make a label that cannot be: the label filename is set by the agent
  9 |     relabel_configs: [{ target_label: filename, replacement: x }]
    |     ^^^^^^^^^^^^^^^
help: change the rules

agent.yaml:12:5: the rules make the pattern \"x\"
  12 |     relabel_configs: [{ target_label: __path__, replacement: x }]
     |     ^^^^^^^^^^^^^^^
help: a pattern has to begin with /",
    ),
];
