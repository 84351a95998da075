//! Pipelines in a configuration: what arrives in the plan, and where errors are shown. (Each stage's options are tested beside their code.)

use crate::reports::{Case, check};
use crate::{good, load};
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

/// Each action, and each option of rules, from YAML to labels: with the rule, and with another one in its place.
#[test]
fn every_action_and_option_of_rules_makes_a_difference() {
    const SEEN: [(&str, &str); 4] =
        [("__meta_name", "/Shop-7"), ("__meta_label_team", "till"), ("__journal_priority", "3"), ("other", "x")];
    let with = |rule: &str| {
        let text =
            self::with(&format!("journal: {{}}\n    labels: {{ job: j, same: j }}\n    relabel_configs: [{rule}]"));
        let loaded = load(&text).unwrap_or_else(|report| panic!("{report}\n{rule}"));
        let labels = loaded.plan.pipelines()[0].begin(SEEN.into_iter()).unwrap();
        labels.map_or("dropped".to_owned(), |labels| labels.encoded().replace('"', ""))
    };
    const NONE: &str = "{job=j, other=x, same=j}";
    let cases = [
        ("{ source_labels: [__meta_name], target_label: a }", "{}", "{a=/Shop-7, job=j, other=x, same=j}"),
        (
            "{ source_labels: [__meta_name, other], separator: '#', target_label: a }",
            "{ source_labels: [__meta_name, other], target_label: a }",
            "{a=/Shop-7#x, job=j, other=x, same=j}",
        ),
        (
            "{ source_labels: [__meta_name], regex: '/(.*)-(.*)', replacement: '$2.${1}', target_label: a }",
            "{ source_labels: [__meta_name], regex: '/(.*)-(.*)', target_label: a }",
            "{a=7.Shop, job=j, other=x, same=j}",
        ),
        (
            "{ source_labels: [__meta_name], regex: Shop, replacement: r, target_label: a }",
            "{ source_labels: [__meta_name], regex: '.*Shop.*', replacement: r, target_label: a }",
            NONE,
        ),
        (
            "{ source_labels: [__meta_name], target_label: __tmp_a }",
            "{ source_labels: [__meta_name], target_label: a }",
            NONE,
        ),
        (
            "{ action: keep, source_labels: [other], regex: y }",
            "{ action: keep, source_labels: [other], regex: x }",
            "dropped",
        ),
        (
            "{ action: drop, source_labels: [other], regex: x }",
            "{ action: drop, source_labels: [other], regex: y }",
            "dropped",
        ),
        (
            "{ action: keepequal, source_labels: [other], target_label: job }",
            "{ action: keepequal, source_labels: [same], target_label: job }",
            "dropped",
        ),
        (
            "{ action: dropequal, source_labels: [same], target_label: job }",
            "{ action: dropequal, source_labels: [other], target_label: job }",
            "dropped",
        ),
        // By md5sum: the last eight bytes of that of `x`, modulo 1000.
        (
            "{ action: hashmod, source_labels: [other], modulus: 1000, target_label: a }",
            "{ action: hashmod, source_labels: [other], modulus: 7, target_label: a }",
            "{a=726, job=j, other=x, same=j}",
        ),
        (
            "{ action: labelmap, regex: '__meta_label_(.+)' }",
            "{ action: labelmap, regex: '__meta_label_x(.+)' }",
            "{job=j, other=x, same=j, team=till}",
        ),
        (
            "{ action: labelmap, regex: '__meta_label_(.+)', replacement: 'of_$1' }",
            "{ action: labelmap, regex: '__meta_label_(.+)' }",
            "{job=j, of_team=till, other=x, same=j}",
        ),
        ("{ action: labeldrop, regex: other }", "{ action: labeldrop, regex: othe }", "{job=j, same=j}"),
        ("{ action: labelkeep, regex: 'job|other' }", "{ action: labelkeep, regex: job }", "{job=j, other=x}"),
        (
            "{ action: lowercase, source_labels: [__meta_name], target_label: a }",
            "{ source_labels: [__meta_name], target_label: a }",
            "{a=/shop-7, job=j, other=x, same=j}",
        ),
        (
            "{ action: Uppercase, source_labels: [__meta_name], target_label: a }",
            "{ source_labels: [__meta_name], target_label: a }",
            "{a=/SHOP-7, job=j, other=x, same=j}",
        ),
        (
            "{ action: replace, source_labels: [__journal_priority], target_label: a }",
            "{ action: replace, source_labels: [__journal_none], target_label: a }",
            "{a=3, job=j, other=x, same=j}",
        ),
    ];
    for (rule, other, wanted) in cases {
        let before = if other == "{}" { NONE.to_owned() } else { with(other) };
        let found = with(rule);
        assert_eq!(found, wanted, "{rule}");
        assert_ne!(found, before, "{rule}");
    }
    let listed = |rule: &str, words: &str| {
        let report =
            load(&self::with(&format!("journal: {{}}\n    relabel_configs: [{rule}]"))).expect_err(rule).to_string();
        let list = report.split(words).nth(1).unwrap_or_else(|| panic!("{report}")).lines().next().unwrap().to_owned();
        list.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    let shown = cases.map(|(rule, ..)| rule.to_lowercase()).join("\n");
    let keys = listed("{ zzzzzzzz: 1 }", "the keys here are: ");
    let actions = listed("{ action: zzzzzzzz }", "the actions are: ");
    assert_eq!((keys.len(), actions.len()), (7, 11), "{keys:?} {actions:?}");
    assert!(keys.iter().all(|key| shown.contains(&format!("{key}: "))), "{keys:?}");
    assert!(actions.iter().all(|action| shown.contains(&format!("action: {action},"))), "{actions:?}");
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
        "remedies stand by themselves, whatever signs are in them",
        "loki: [{ url: 'http://localhost:3100' }]
logs:
  - file: { include: /x/*.log }
    stages:
      - json: { expressions: { a: '@timestamp' } }
  - file: { include: /y/*.log }
    stages:
      - metrics: { a-b: { type: Counter, config: { match_all: true, action: inc } } }
  - file: { include: /z/*.log }
    stages:
      - tenant: { value: team a }
  - file: { include: /z/*.log }
    stages:
      - static_labels: { __tenant_id__: a/b }
  - file: { include: /z/*.log }
    labels: { __tenant_id__: a }
    stages:
      - match: { selector: '{__tenant_id__=\"a\"}', action: drop }
",
        "
agent.yaml:5:35: wrong JMESPath expression `@timestamp`, character 2: Did not parse the complete expression -- found Identifier(\"timestamp\")
  5 |       - json: { expressions: { a: '@timestamp' } }
    |                                   ^^^^^^^^^^^^
help: a name with other characters than letters, digits and _ goes in double quotes inside of single ones: '\"a-b\"'

agent.yaml:8:20: \"promtail_custom_a-b\" is not the name of a metric
  8 |       - metrics: { a-b: { type: Counter, config: { match_all: true, action: inc } } }
    |                    ^^^
help: a name has letters, digits, _ and colons, and does not begin with a digit

agent.yaml:11:26: Loki takes no tenant that is named \"team a\": all lines would be dropped
  11 |       - tenant: { value: team a }
     |                          ^^^^^^
help: a tenant has up to 150 ASCII letters, digits and ! - _ . * ' ( ) in its name, and is not . or ..

agent.yaml:14:41: Loki takes no tenant that is named \"a/b\": all lines would be dropped
  14 |       - static_labels: { __tenant_id__: a/b }
     |                                         ^^^
help: a tenant has up to 150 ASCII letters, digits and ! - _ . * ' ( ) in its name, and is not . or ..

agent.yaml:16:15: the label __tenant_id__ is the tenant, and no label of a stream
  16 |     labels: { __tenant_id__: a }
     |               ^^^^^^^^^^^^^
help: write `tenant_id` at the endpoint, or a stage such as `tenant: { value: NAME }`

agent.yaml:18:28: the tenant is no label, so that entries cannot be selected by it
  18 |       - match: { selector: '{__tenant_id__=\"a\"}', action: drop }
     |                            ^^^^^^^^^^^^^^^^^^^^^
help: make a label of what the tenant comes from",
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
