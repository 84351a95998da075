//! Variables of the environment in a Promtail file.

use crate::{convert, load};

#[test]
fn variables_are_put_in_and_kept_in_the_native_form() {
    let text = "
clients: [{ url: 'http://${LOKI:-loki}:3100/push', bearer_token: '${LOKI_TOKEN}' }]
scrape_configs:
  - job_name: a
    static_configs: [{ labels: { host: '${HOSTNAME}', left: '$${X}', __path__: '/${DIR:=x}/*.log' } }]
    relabel_configs: [{ source_labels: [host], regex: '(?P<part>.*)', replacement: 'is-${part}-${1}', target_label: is }]
    pipeline_stages: [{ template: { source: x, template: '${NOT_SET}' } }]
";
    let plan = load(text).unwrap().plan;
    assert_eq!(plan.loki[0].url, "http://loki:3100/push");
    assert_eq!(plan.files[0].settings.labels.encoded(), r#"{host="myhost", is="is-myhost-myhost", left="${X}"}"#);
    assert_eq!(plan.files[0].settings.include, ["/x/*.log"]);
    let yaml = convert(text).yaml;
    for expected in [
        "url: 'http://${LOKI:-loki}:3100/push'",
        "${LOKI_TOKEN}",
        "host: '${HOSTNAME}'",
        "left: '$${X}'",
        "template: '$${NOT_SET}'",
    ] {
        assert!(yaml.contains(expected), "{expected} in\n{yaml}");
    }
    assert!(!yaml.contains("hunter2"), "{yaml}");
}

#[test]
fn what_is_not_set_is_nothing_and_said() {
    let text = "clients: [{ url: http://loki, tenant_id: 'a${NONE}' }]\nscrape_configs: [{ job_name: '${A^^}', static_configs: [{ labels: { __path__: /x } }] }]\n";
    let report = load(text).expect_err("a form that is not understood").to_string();
    assert_eq!(
        report,
        "\
promtail.yaml:1:42: warning: the environment variable NONE is not set: there is nothing in its place
  1 | clients: [{ url: http://loki, tenant_id: 'a${NONE}' }]
    |                                          ^^^^^^^^^^
help: set it, or write ${NONE:-default}

promtail.yaml:2:30: this is not a reference to an environment variable that lugger understands
  2 | scrape_configs: [{ job_name: '${A^^}', static_configs: [{ labels: { __path__: /x } }] }]
    |                              ^^^^^^^^
help: write ${NAME} or ${NAME:-default}; `$${` stands for the two characters themselves"
    );
    let plan = load(&text.replace("${A^^}", "a")).unwrap().plan;
    assert_eq!(plan.loki[0].tenant_id.as_deref(), Some("a"));
}
