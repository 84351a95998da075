//! What is wrong in a Promtail file is all said, where it is, and with what to do.

use crate::{FILE, job, load, with};

#[track_caller]
fn report(text: &str) -> String {
    load(text).expect_err(text).to_string()
}

#[test]
fn all_mistakes_of_a_file_are_said_at_once() {
    let text = "\
server:
  http_listen_prt: 9080
  http_tls_config: { cert_file: /x }
positions: { filename: positions.yaml }
clients:
  - url: localhost:3100
    oauth2: { client_id: x }
    timeout: soon
scrape_configs:
  - static_configs: [{ labels: { job: a, __path__: log/*.log } }]
  - job_name: b
    kafka: { topics: [a] }
    static_configs: { labels: { __path__: /x } }
  - job_name: b
    static_configs: [{ lables: { __path__: /x } }]
    pipeline_stages:
      - regex: { expresion: '(' }
    relabel_configs: [{ action: dance }]
";
    assert_eq!(
        report(text),
        "\
promtail.yaml:2:3: unknown key \"http_listen_prt\"
  2 |   http_listen_prt: 9080
    |   ^^^^^^^^^^^^^^^
help: did you mean \"http_listen_port\"?

promtail.yaml:3:3: `http_tls_config` is not supported
  3 |   http_tls_config: { cert_file: /x }
    |   ^^^^^^^^^^^^^^^
help: remove it: lugger's status page has no TLS; put a proxy before it, or let it listen on 127.0.0.1

promtail.yaml:4:24: the positions file has no absolute path, so that nobody knows where it is
  4 | positions: { filename: positions.yaml }
    |                        ^^^^^^^^^^^^^^
help: write its whole path: lugger takes the positions over once, so that nothing is sent again

promtail.yaml:6:10: the URL has to begin with http:// or https://
  6 |   - url: localhost:3100
    |          ^^^^^^^^^^^^^^
help: write it like http://127.0.0.1:3100/loki/api/v1/push

promtail.yaml:7:5: `oauth2` is not supported
  7 |     oauth2: { client_id: <secret> }
    |     ^^^^^^
help: lugger cannot fetch tokens: let another program write the token into a file, and name it in bearer_token_file

promtail.yaml:8:14: expected a duration such as 500ms, 15s, 5m, 12h or 7d, found \"soon\"
  8 |     timeout: soon
    |              ^^^^
help: write a number and a unit, such as 5s

promtail.yaml:10:5: this job has no `job_name`
  10 |   - static_configs: [{ labels: { job: a, __path__: log/*.log } }]
     |     ^
help: add one; it is part of what its positions are kept under

promtail.yaml:10:52: the pattern \"log/*.log\" is not absolute
  10 |   - static_configs: [{ labels: { job: a, __path__: log/*.log } }]
     |                                                    ^^^^^^^^^
help: begin it with /, such as /var/log/*.log

promtail.yaml:12:5: `kafka` is not supported
  12 |     kafka: { topics: [<secret>] }
     |     ^^^^^
help: lugger does not have this source: remove it, and keep another agent for it if you need it

promtail.yaml:13:21: expected a list
  13 |     static_configs: { labels: { __path__: /x } }
     |                     ^
help: begin each element with `- ` on a line of its own, or write [a, b]

promtail.yaml:14:15: two jobs are named \"b\"
  14 |   - job_name: b
     |               ^
help: give each a name of its own

promtail.yaml:15:24: unknown key \"lables\"
  15 |     static_configs: [{ lables: { __path__: <secret> } }]
     |                        ^^^^^^
help: did you mean \"labels\"?

promtail.yaml:17:18: unknown key \"expresion\"
  17 |       - regex: { expresion: '(' }
     |                  ^^^^^^^^^
help: did you mean \"expression\"?

promtail.yaml:18:33: \"dance\" is no action
  18 |     relabel_configs: [{ action: dance }]
     |                                 ^^^^^
help: the actions are: replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase"
    );
}

#[test]
fn sources_that_are_left_out_do_not_stop_the_others() {
    let text = with(
        "scrape_configs:
  - { job_name: a, kubernetes_sd_configs: [{ role: x }] }
  - { job_name: b, static_configs: [{ labels: { __path__: /x.log } }] }",
    );
    let loaded = load(&text).unwrap();
    assert_eq!(loaded.plan.files.len(), 1);
    assert_eq!(
        loaded.warnings.to_string(),
        "\
promtail.yaml:3:20: warning: `kubernetes_sd_configs` is not collected by this version: nothing of it in the job \"a\" is sent
  3 |   - { job_name: a, kubernetes_sd_configs: [{ role: x }] }
    |                    ^^^^^^^^^^^^^^^^^^^^^
help: the other jobs run; let Promtail run beside lugger with this job alone, or remove it"
    );
    let report_of_later = report(&job("kubernetes_sd_configs: [{ role: pod }]"));
    assert!(report_of_later.contains("`kubernetes_sd_configs` is not collected by this version"), "{report_of_later}");
    assert!(report_of_later.contains("nothing is left that this version collects"), "{report_of_later}");
    for without_labels in [
        "docker_sd_configs: [{ host: 'unix:///var/run/docker.sock' }]",
        "journal: {}",
        "syslog: { listen_address: ':1514' }",
        "gelf: {}",
    ] {
        let report = report(&job(without_labels));
        assert!(report.contains("gives its entries no labels"), "{report}");
    }
    let filtered = "relabel_configs: [{ source_labels: [a], target_label: b }]\ndocker_sd_configs: [{ host: 'unix:///d', filters: [{ name: health, values: [x] }] }]";
    let report_of_filter = report(&job(filtered));
    assert!(report_of_filter.contains("lugger does not filter by \"health\""), "{report_of_filter}");
    // Their keys, stages and rules are looked at all the same.
    for (lines, expected) in [
        ("journal: { maxage: 12h }", "unknown key \"maxage\""),
        ("syslog: { listen_address: x }\npipeline_stages: [{ rgx: {} }]", "rgx"),
        ("syslog: { listen_address: ':1514', listen: x }", "unknown key \"listen\""),
        ("syslog: { labels: { a: b } }", "no `listen_address`"),
        ("syslog: { listen_address: ':1514', listen_protocol: dccp }", "no protocol of syslog"),
        ("syslog: { listen_address: 'host:1514', labels: { a: b } }", "no IP address and port"),
        ("loki_push_api: { server: { http_listen_address: 127.0.0.1 } }", "has no port"),
        ("loki_push_api: {}", "no `server`"),
        (
            "loki_push_api: { server: { http_listen_port: 3500, http_tls_config: { client_auth_type: RequireAnyClientCert } } }",
            "anybody",
        ),
        ("gelf: { listen_address: x, labels: { a: b } }", "no IP address and port"),
        ("journal: {}\nrelabel_configs: [{ regex: '(', target_label: a }]", "regex"),
    ] {
        assert!(report(&job(lines)).contains(expected), "{lines}");
    }
}

#[test]
fn every_niche_source_is_an_error_with_its_key() {
    for key in [
        "gcplog",
        "windows_events",
        "kafka",
        "azure_event_hubs",
        "cloudflare",
        "heroku_drain",
        "consul_sd_configs",
        "ec2_sd_configs",
        "dns_sd_configs",
    ] {
        let report = report(&job(&format!("{key}: {{ a: b }}\nstatic_configs: [{{ labels: {{ __path__: /x }} }}]")));
        assert!(report.contains(&format!("promtail.yaml:4:5: `{key}` is not supported")), "{report}");
        assert!(report.contains("keep another agent"), "{report}");
        // That is all that is wrong with a job of nothing else.
        let alone = self::report(&job(&format!("{key}: {{ a: b }}")));
        assert_eq!(alone.matches("promtail.yaml:").count(), 1, "{alone}");
    }
}

#[test]
fn keys_of_clients_that_would_change_what_is_sent_are_errors() {
    for (key, help) in [
        ("oauth2: { client_id: a }", "bearer_token_file"),
        ("proxy_from_environment: true", "proxy_url"),
        ("tls_config: { ca: PEM }", "ca_file"),
        ("basic_auth: { username_file: /x, password: y }", "username"),
        ("authorization: { type: X, credentials_file: /x }", "credentials"),
        ("authorization: {  type: X }", "credentials_file"),
    ] {
        let text = format!("clients:\n  - url: https://loki\n    {key}\n{FILE}\n");
        let report = report(&text);
        assert!(report.contains("promtail.yaml:3:") && report.contains(help), "{report}");
        assert_eq!(report.matches("promtail.yaml:").count(), 1, "{report}");
    }
    // Switched off, they say nothing.
    load(&format!("clients: [{{ url: https://loki, proxy_from_environment: false, oauth2: }}]\n{FILE}")).unwrap();
}

#[test]
fn nothing_to_send_or_nowhere_to_send_it() {
    assert!(
        report("scrape_configs: []\nclients: [{ url: http://loki }]\n")
            .contains("nothing is left that this version collects")
    );
    assert!(report(FILE).contains("`clients` is missing or empty"));
}

#[test]
fn two_ways_to_show_who_it_is_exclude_each_other() {
    for other in ["bearer_token: x", "bearer_token_file: /x", "basic_auth: { username: a, password: b }"] {
        let key = other.split(':').next().unwrap();
        let text =
            format!("clients:\n  - url: https://loki\n    {other}\n    authorization: {{ credentials: y }}\n{FILE}\n");
        let report = report(&text);
        let expected = format!("promtail.yaml:4:5: `authorization` and `{key}` cannot be used together");
        assert!(report.contains(&expected) && !report.contains("duplicate"), "{report}");
    }
}

#[test]
fn values_that_are_no_secrets_are_shown_beside_secrets() {
    let text = "\
clients: [{ url: 'https://loki', bearer_token: hunter2, external_labels: { a: shown }, tiemout: 5s }]
server: { register_instrumentation: shown, http_listen_prt: 80 }
scrape_configs: [{ job_name: shown, encoding: shown, static_configs: [{ labels: { host: shown, __path__: /x } }], unknown: 1 }]
";
    let report = report(text);
    for value in ["a: shown", "register_instrumentation: shown", "job_name: shown", "encoding: shown", "host: shown"] {
        assert!(report.contains(value), "{value} in\n{report}");
    }
    assert!(!report.contains("hunter2"), "{report}");
}

#[test]
fn secrets_are_in_no_report() {
    const TEXT: &str = "\
server: { http_listen_port: 9080 }
clients:
  - url: https://first/loki/api/v1/push
    batchwait: 1s
  - url: https://localhost/loki/api/v1/push
    basic_auth:
      username: me
      password: hunter2
    external_labels: { a: b }
  - url: https://other/loki/api/v1/push
    authorization: { type: Bearer, credentials: hunter2 }
  - url: https://third/loki/api/v1/push
    bearer_token: hunter2
    headers: { X-Key: hunter2 }
scrape_configs:
  - job_name: a
    static_configs: [{ labels: { __path__: /x.log } }]
";
    let check = |text: &str| {
        let (shown, debug) = match load(text) {
            Ok(loaded) => (loaded.warnings.to_string(), format!("{loaded:?}")),
            Err(report) => (report.to_string(), format!("{report:?}")),
        };
        assert!(!shown.contains("hunter2"), "{shown}\n--- in\n{text}");
        assert!(!debug.contains("hunter2"), "{debug}\n--- in\n{text}");
    };
    check(TEXT);
    check(&TEXT.replace("//first", "//me:hunter2@first"));
    check(&TEXT.replace("//first/loki", "//me:hunter2@first:port/loki"));
    for (at, _) in TEXT.char_indices() {
        let (before, after) = TEXT.split_at(at);
        let mut without = after.chars();
        without.next();
        check(&format!("{before}{}", without.as_str()));
        for slip in [":", " ", "\n", "{", "[", ",", "-", "x", ": "] {
            check(&format!("{before}{slip}{after}"));
        }
    }
}

#[test]
fn any_slip_in_any_file_is_read_or_reported() {
    for (_, text) in crate::forms::files() {
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).step_by(7).collect();
        for (i, at) in places.into_iter().enumerate() {
            let (before, after) = text.split_at(at);
            let slip = [":", " ", "\n", "{", "[", "- ", "${", "'", "null", "*", "<<: "][i % 11];
            // Whatever comes of it, it comes without a panic, and a report has something in it.
            if let Err(report) = load(&format!("{before}{slip}{after}")) {
                assert!(!report.is_empty());
            }
        }
    }
}
