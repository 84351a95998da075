//! Where the two agents could differ without anybody being told: bounds, tenants, several clients, values that are not there.

use crate::{FILE, convert, env, job, load, with};
use lugger::config;
use lugger::config::plan::Plan;
use lugger::pipeline::settings::{Limit, MatchAction, Multiline, Pack, Sampling, Stage};
use lugger::source::receive::settings::From;

#[track_caller]
fn plan(text: &str) -> Plan {
    load(text).unwrap_or_else(|report| panic!("{report}\n---\n{text}")).plan
}

/// The stages of the first entry, of the file itself and of its native form.
#[track_caller]
fn stages(text: &str) -> Vec<Stage> {
    let native = config::load_str("a.yaml", &convert(text).yaml, &env).unwrap().plan;
    let stages = plan(text).files[0].settings.stages.clone();
    assert_eq!(native.files[0].settings.stages, stages);
    stages
}

fn names(stages: &[Stage]) -> Vec<&'static str> {
    stages.iter().map(Stage::name).collect()
}

#[test]
fn a_rate_counts_what_comes_out_of_the_stages() {
    let limits =
        "limits_config: { readline_rate_enabled: true, readline_rate: 100, readline_burst: 50, max_line_size: 1000 }";
    let one = with(&format!(
        "{limits}\nscrape_configs: [{{ job_name: a, static_configs: [{{ labels: {{ __path__: /x.log }} }}], pipeline_stages: [{{ decolorize: {{}} }}] }}]"
    ));
    let found = stages(&one);
    assert_eq!(names(&found), ["decolorize", "limit", "drop"]);
    let limit = Limit { rate: 100.0, burst: 50, drop: true, by_label_name: None, max_distinct_labels: 10_000 };
    assert_eq!(found[1], Stage::Limit(limit.clone()));
    let Plan { files, loki, .. } = plan(&one);
    assert_eq!((files[0].settings.rate, loki[0].rate), (None, None));
    let blocking = one.replace("readline_burst", "readline_rate_drop: false, readline_burst");
    assert_eq!(stages(&blocking)[1], Stage::Limit(Limit { drop: false, ..limit }));

    // Read once for each client, it has a bound for each.
    let clients = "clients: [{ url: http://a, external_labels: { x: y } }, { url: http://b }]";
    let files = plan(&format!("{clients}\n{limits}\n{FILE}")).files;
    assert_eq!(files.iter().map(|file| names(&file.settings.stages)).collect::<Vec<_>>(), [["limit", "drop"]; 2]);

    // Of several targets it is a bound of what is sent, and that is said.
    let two = "scrape_configs: [{ job_name: a, static_configs: [{ labels: { __path__: /x } }, { labels: { __path__: /y } }] }]";
    let two = with(&format!("{limits}\n{two}"));
    let Plan { files, loki, .. } = plan(&two);
    let rate = loki[0].rate.expect("a rate");
    assert_eq!((rate.lines, rate.burst.as_millis()), (Some(100), 500));
    assert_eq!((files[0].settings.rate, names(&files[0].settings.stages)), (None, vec!["drop"]));
    let said = "here it bounds what is sent to each endpoint";
    let converted = convert(&two);
    assert!(converted.warnings.to_string().contains(said), "{}", converted.warnings);
    assert!(converted.yaml.replace("\n  #", "").contains(said), "{}", converted.yaml);

    let off = plan(&with(&format!("limits_config: {{ readline_rate: 100 }}\n{FILE}")));
    assert_eq!(off.files[0].settings.stages, []);
}

#[test]
fn the_tenant_may_be_an_external_label() {
    let text = |client: &str| format!("clients: [{{ url: http://loki, {client} }}]\n{FILE}");
    for client in [
        "external_labels: { __tenant_id__: ten, a: b }",
        "tenant_id: other, external_labels: { a: b, __tenant_id__: ten }",
    ] {
        let plan = plan(&text(client));
        assert_eq!(plan.loki[0].tenant_id.as_deref(), Some("ten"), "{client}");
        assert_eq!(plan.files[0].settings.late_labels.encoded(), r#"{a="b"}"#, "{client}");
    }
    // Of targets, labels that begin like this are internal.
    let target = plan(&job("static_configs: [{ labels: { __path__: /x.log, __tenant_id__: t, a: b } }]"));
    assert_eq!(target.files[0].settings.labels.encoded(), r#"{a="b"}"#);
}

#[test]
fn labels_of_the_deprecated_client_are_those_of_all() {
    let of = |clients: &str| {
        let plan = plan(&format!("{clients}\n{FILE}"));
        let labels = |url: &str| {
            let index = plan.loki.iter().position(|endpoint| endpoint.url.starts_with(url)).expect(url);
            let file = plan.files.iter().find(|file| file.to.contains(&index)).expect(url);
            file.settings.late_labels.encoded()
        };
        (plan.loki.len(), labels("http://b/"), plan.loki.len().checked_sub(2).map(|_| labels("http://a/")))
    };
    let b = "clients: [{ url: http://b, external_labels: { z: w, both: b } }]";
    assert_eq!(
        of(&format!("client: {{ url: http://a, external_labels: {{ x: y, both: a }} }}\n{b}")),
        (2, r#"{both="b", x="y", z="w"}"#.to_owned(), Some(r#"{both="a", x="y"}"#.to_owned()))
    );
    let labels_only = format!("client: {{ external_labels: {{ x: y }}, timeout: 5s }}\n{b}");
    assert_eq!(of(&labels_only), (1, r#"{both="b", x="y", z="w"}"#.to_owned(), None));
    let warnings = load(&format!("{labels_only}\n{FILE}")).unwrap().warnings.to_string();
    assert!(warnings.contains("`timeout` has no effect: this client has no `url`"), "{warnings}");
}

#[test]
fn metrics_are_counted_once_for_several_clients() {
    let text = format!(
        "clients: [{{ url: http://a, external_labels: {{ env: p }} }}, {{ url: http://b, external_labels: {{ env: q }} }}]\n{}",
        FILE.replace(
            "static_configs",
            "pipeline_stages: [{ match: { selector: '{job=\"q\"} |= \"panic\"', stages: [{ metrics: { panic_total: { type: Counter, config: { match_all: true, action: inc } } } }] } }, { match: { selector: '{job=\"q\"}', stages: [{ decolorize: {} }] } }, { match: { selector: '{a=\"b\"}', action: drop } }], static_configs"
        )
    );
    let files = plan(&text).files;
    let shown = |at: usize| names(&files[at].settings.stages);
    assert_eq!((shown(0), shown(1)), (vec!["match"; 3], vec!["match"; 2]));
    let Stage::Match(kept) = &files[1].settings.stages[0] else { panic!("no match") };
    assert_eq!(kept.action, MatchAction::Keep(vec![Stage::Decolorize]));
}

#[test]
fn empty_texts_are_no_values() {
    let plan = plan(
        "clients: [{ url: 'http://localhost', tenant_id: '', proxy_url: '', bearer_token: '', bearer_token_file: '', name: '', basic_auth: { username: me, password: hunter2, password_file: '' }, tls_config: { ca_file: '', server_name: '' } }]
scrape_configs:
  - job_name: a
    encoding: ''
    static_configs: [{ labels: { __path__: /x.log, a: , b: '' } }]
    pipeline_stages: [{ template: { source: a, template: '' } }, { static_labels: { c: , d: e } }, { static_labels: { c: } }]
",
    );
    let endpoint = &plan.loki[0];
    assert_eq!((endpoint.name.as_str(), endpoint.tenant_id.as_deref(), &endpoint.proxy), ("localhost", None, &None));
    assert!(format!("{:?}", endpoint.auth).starts_with("Basic"), "{:?}", endpoint.auth);
    let settings = &plan.files[0].settings;
    assert!(settings.labels.is_empty());
    assert_eq!(names(&settings.stages), ["template", "static_labels"]);
    assert_eq!(settings.stages[1], Stage::StaticLabels(vec![("d".to_owned(), "e".to_owned())]));
}

#[test]
fn numbers_and_truth_values_may_be_in_quotes_where_promtail_takes_them() {
    let text = job("static_configs: [{ labels: { __path__: /x.log } }]
pipeline_stages:
  - limit: { rate: \"${RATE}\", burst: 20.0, drop: \"true\" }
  - sampling: { rate: '0.5' }
  - match: { selector: '{a=\"b\"}', stages: [{ multiline: { firstline: x, max_lines: '5' } }] }
  - pack: { labels: [a], ingest_timestamp: no }");
    let found = stages(&text);
    let limit = Limit { rate: 5.0, burst: 20, drop: true, by_label_name: None, max_distinct_labels: 10_000 };
    assert_eq!(found[0], Stage::Limit(limit));
    assert!(convert(&text).yaml.contains("rate: ${RATE}"));
    let Stage::Sampling(Sampling { rate, .. }) = &found[1] else { panic!("{found:?}") };
    assert_eq!(*rate, 0.5);
    let Stage::Match(matching) = &found[2] else { panic!("{found:?}") };
    let MatchAction::Keep(nested) = &matching.action else { panic!("{found:?}") };
    assert!(matches!(&nested[0], Stage::Multiline(Multiline { max_lines: 5, .. })), "{nested:?}");
    assert_eq!(found[3], Stage::Pack(Pack { labels: vec!["a".to_owned()], ingest_timestamp: false }));
    // Elsewhere it does not.
    let report = load(&text.replace("pack: { labels: [a], ingest_timestamp: no }", "cri: { max_partial_lines: '5' }"));
    let report = report.expect_err("a quoted number").to_string();
    assert!(report.contains("found text in quotes") && report.contains("help: remove the quotes"), "{report}");
}

#[test]
fn paths_are_cleaned() {
    for path in ["/var/log//x.log", "/var/log/../log/x.log", "/var/./log/x.log"] {
        let plan = plan(&job(&format!("static_configs: [{{ labels: {{ __path__: {path} }} }}]")));
        assert_eq!(plan.files[0].settings.include, ["/var/log/x.log"], "{path}");
    }
}

#[test]
fn names_of_sources_do_not_depend_on_their_order() {
    let names = |jobs: &[&str]| {
        let plan = plan(&with(&format!("scrape_configs: [{}]", jobs.join(", "))));
        let mut names: Vec<(String, String)> =
            plan.files.iter().map(|file| (file.settings.labels.encoded(), file.settings.name.clone())).collect();
        names.sort();
        names
    };
    let a = "{ job_name: my job, static_configs: [{ labels: { __path__: /x.log, j: a } }] }";
    let b = "{ job_name: my-job, static_configs: [{ labels: { __path__: /x.log, j: b } }] }";
    let c = "{ job_name: c, static_configs: [{ labels: { __path__: /x.log, j: c1 } }, { labels: { __path__: /x.log, j: c2 } }] }";
    let c_turned = "{ job_name: c, static_configs: [{ labels: { __path__: /x.log, j: c2 } }, { labels: { __path__: /x.log, j: c1 } }] }";
    let found = names(&[a, b, c]);
    assert_eq!(found, names(&[c_turned, b, a]));
    let mut different: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), 4, "{found:?}");
    // What nobody else is called keeps its name.
    assert_eq!(names(&[a])[0].1, "my-job");
}

#[test]
fn names_of_endpoints_have_no_values_of_variables() {
    let file = |url: &str| format!("clients: [{{ url: '{url}' }}]\n{FILE}");
    for (url, name) in [
        ("https://${LOKI_TOKEN}:3100/x", "LOKI_TOKEN"),
        ("https://eu-${LOKI_TOKEN}.example.org", "eu-LOKI_TOKEN.example.org"),
    ] {
        let yaml = convert(&file(url)).yaml;
        assert!(yaml.contains(&format!("name: {name}\n")) && !yaml.contains("hunter2"), "{yaml}");
        assert_eq!(plan(&file(url)).loki[0].name, name);
    }
}

#[test]
fn metrics_that_are_left_out_for_further_clients_are_told_of() {
    let clients = "clients: [{ url: http://a, external_labels: { x: y } }, { url: http://b }]";
    let of = |stages: &str| {
        let job = format!(
            "{{ job_name: a, static_configs: [{{ labels: {{ __path__: /a.log }} }}], pipeline_stages: [{stages}] }}"
        );
        convert(&format!("{clients}\nscrape_configs: [{job}]\n")).yaml
    };
    let metrics = "metrics: { n: { type: counter, config: { match_all: true, action: inc } } }";
    for stages in [
        format!("{{ {metrics} }}"),
        format!("{{ match: {{ selector: '{{}}', stages: [{{ {metrics} }}, {{ decolorize: }}] }} }}"),
    ] {
        let yaml = of(&stages);
        assert_eq!(yaml.matches("Without `metrics`").count(), 1, "{yaml}");
    }
    assert!(!of("{ decolorize: }").contains("Without `metrics`"));
}

#[test]
fn secrets_of_the_environment_stay_there() {
    let of = |client: &str| format!("clients: [{{ {client} }}]\n{FILE}");
    for (client, kept) in [
        ("url: 'https://${LOKI_USER}:${LOKI_TOKEN}@loki/x?a=b'", "'${LOKI_TOKEN}'"),
        ("url: 'https://bob:${LOKI_TOKEN}@loki/x'", "'${LOKI_TOKEN}'"),
        ("url: 'https://${LOKI_USER}:${NONE:-p:a@s}${LOKI_TOKEN}@${HOSTNAME}/x'", "${NONE:-p:a@s}${LOKI_TOKEN}"),
        ("url: https://loki, authorization: { type: Token, credentials: '${LOKI_TOKEN}' }", "Token ${LOKI_TOKEN}"),
    ] {
        let text = of(client);
        let yaml = convert(&text).yaml;
        assert!(!yaml.contains("hunter2") && yaml.contains(kept), "{yaml}");
        let native = config::load_str("a.yaml", &yaml, &env).unwrap().plan;
        assert_eq!(format!("{:?}", native.loki), format!("{:?}", plan(&text).loki), "{yaml}");
        // `Debug` hides secrets; they are the same all the same.
        assert_eq!(native.loki[0].auth, plan(&text).loki[0].auth);
        assert_eq!(native.loki[0].headers, plan(&text).loki[0].headers);
    }
    for url in ["https://bob:${LOKI_ENCODED}@loki", "https://${LOKI_BOTH}@loki"] {
        let report = load(&of(&format!("url: '{url}'"))).expect_err(url).to_string();
        assert!(report.contains("cannot be taken apart") && report.contains("write `basic_auth:"), "{report}");
        assert!(!report.contains("hunt"), "{report}");
    }
    let path = convert(&job("static_configs: [{ labels: { __path__: '/var/log/${LOKI_TOKEN}.log' } }]")).yaml;
    assert!(path.contains("${LOKI_TOKEN}.log") && !path.contains("hunter2"), "{path}");
    let rules = "static_configs: [{ labels: { __path__: /x.log, a: '${LOKI_USER}' } }]\nrelabel_configs: [{ source_labels: [a], target_label: b }, { regex: a, action: labeldrop }]";
    assert!(convert(&job(rules)).yaml.contains("variables of the environment"));
}

#[test]
fn it_is_said_where_lines_are_cut() {
    let text = |limits: &str| with(&format!("limits_config: {limits}\n{FILE}"));
    let of = |limits: &str| {
        let loaded = load(&text(limits)).unwrap();
        let settings = &loaded.plan.files[0].settings;
        (settings.line_bytes, names(&settings.stages), loaded.warnings.to_string())
    };
    // Nobody is warned of what few have, but it stands in the native form.
    for limits in ["", "{}", "{ max_line_size: 0 }", "{ readline_rate_enabled: false }"] {
        assert_eq!(of(limits), (256 << 10, vec![], String::new()), "{limits}");
        let yaml = convert(&text(limits)).yaml;
        assert!(
            yaml.contains("Longer lines are cut to 256KiB") && yaml.contains("limits:\n  line: 256KiB\n"),
            "{yaml}"
        );
    }
    let (bytes, stages, said) = of("{ max_line_size: 10MB }");
    assert_eq!((bytes, stages.len()), (2 << 20, 0), "{said}");
    assert!(said.contains("warning: lines above 2MiB are cut"), "{said}");
    let (bytes, stages, said) = of("{ max_line_size: 1MB }");
    assert_eq!((bytes, stages), (1 << 20, vec!["drop"]), "{said}");
    assert!(!said.contains("are cut"), "{said}");
}

/// Bounds of receivers fit into what lugger holds, and where they are others than Promtail's that is told.
#[test]
fn bounds_of_receivers() {
    let job = |more: &str| with(&format!("scrape_configs: [{{ job_name: a, {more} }}]"));
    let syslog = |more: &str| job(&format!("syslog: {{ listen_address: '127.0.0.1:1514', labels: {{ a: b }}{more} }}"));
    let push = |more: &str| job(&format!("loki_push_api: {{ server: {{ http_listen_port: 3500 }}{more} }}"));
    let limits = "limits_config: { max_line_size: 1000, max_line_size_truncate: true }\n";
    for (text, message_bytes, body_bytes, queue_bytes, said) in [
        (syslog(""), 256 << 10, 0, 64, ""),
        (syslog(", max_message_length: 8192"), 8_192, 0, 64, ""),
        (syslog(", max_message_length: 1048576"), 256 << 10, 0, 64, "longer messages than 256KiB are cut"),
        (
            format!("{limits}{}", syslog(", max_message_length: 8192")),
            1_000,
            0,
            64,
            "longer messages than 1000B are cut",
        ),
        (push(""), 256 << 10, 16, 64, "larger pushes than 16MiB are refused with 413, where Promtail takes 100MiB"),
        (push(", max_send_msg_size: 16777216"), 256 << 10, 16, 64, ""),
        (push(", max_send_msg_size: 104857600"), 256 << 10, 100, 200, ""),
        (push(", max_send_msg_size: 209715200"), 256 << 10, 100, 200, "larger pushes than 100MiB are refused"),
    ] {
        let settings = plan(&text).receivers[0].settings.clone();
        let body = match &settings.from {
            From::Push(push) => push.body_bytes >> 20,
            From::Syslog(syslog) => {
                assert_eq!(syslog.idle_timeout.as_secs(), 120);
                0
            }
            _ => panic!("{text}"),
        };
        assert_eq!(
            (settings.message_bytes, body, settings.queue_bytes >> 20),
            (message_bytes, body_bytes, queue_bytes),
            "{text}"
        );
        let converted = convert(&text);
        let notes =
            converted.yaml.lines().map(|line| line.trim().trim_start_matches("# ")).collect::<Vec<_>>().join(" ");
        let is_told = notes.contains("larger pushes") || notes.contains("longer messages");
        assert!(notes.contains(said) && is_told != said.is_empty(), "{said}: {}", converted.yaml);
    }
}
