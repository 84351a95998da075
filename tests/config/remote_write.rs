//! `remote_write`: Prometheus' names, what has no meaning here, and what is refused.

use crate::{SHORTEST, good, load};
use lugger::base::secret::Secret;
use lugger::config::Severity;
use lugger::pipeline::relabel::Action;
use lugger::sink::remote_write::settings::{Endpoint, Message};
use lugger::sink::settings::{Auth, Credential, Tls};
use std::time::Duration;

fn with(entry: &str) -> String {
    format!("{SHORTEST}metrics: {{ host: {{}} }}\nremote_write: [{entry}]\n")
}

/// What is said of an entry with these keys: whether it is an error, the message and the help.
fn said(keys: &str) -> Vec<(bool, String)> {
    let text = with(&format!("{{ url: 'http://localhost:9090/api/v1/write', {keys} }}"));
    let report = match load(&text) {
        Ok(loaded) => loaded.warnings,
        Err(report) => report,
    };
    let told = report.problems().iter();
    told.map(|p| (p.severity == Severity::Error, format!("{}; {}", p.message, p.help.clone().unwrap_or_default())))
        .collect()
}

#[test]
fn the_shortest_entry_has_prometheus_defaults() {
    let loaded = good(&with("{ url: 'http://localhost:9090/api/v1/write' }"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let expected = Endpoint {
        name: "localhost".into(),
        url: "http://localhost:9090/api/v1/write".into(),
        headers: Vec::new(),
        auth: Auth::None,
        tls: Tls::default(),
        proxy: None,
        timeout: Duration::from_secs(30),
        write_relabel: Vec::new(),
        message: Message::V1,
        exemplars: false,
        metadata: Some(Duration::from_secs(60)),
        max_samples: 2000,
        deadline: Duration::from_secs(5),
        backoff: (Duration::from_millis(30), Duration::from_secs(5)),
        sample_age_limit: None,
        retry_rate_limited: true,
    };
    assert_eq!(loaded.plan.remote_write, [expected]);
}

#[test]
fn every_setting_arrives_in_the_plan() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "hunter2\n").unwrap();
    let secret = secret.to_str().unwrap();
    let plan = good(&with(&format!(
        "{{
  name: home, url: 'https://localhost:9090/api/v1/write', remote_timeout: 10s, headers: {{ X-Scope-OrgID: lab }},
  authorization: {{ type: Token, credentials_file: {secret} }}, tls_config: {{ ca_file: {secret} }}, proxy_url: 'http://localhost:3128',
  write_relabel_configs: [{{ source_labels: [__name__], regex: 'go_.*', action: drop }}],
  protobuf_message: auto, send_exemplars: true, metadata_config: {{ send: true, send_interval: 5m }},
  queue_config: {{ max_samples_per_send: 500, batch_send_deadline: 1s, min_backoff: 1s, max_backoff: 1m, retry_on_http_429: false,
    sample_age_limit: 2h }}
}}"
    )))
    .plan;
    let endpoint = &plan.remote_write[0];
    let file = || Credential::File(secret.into());
    assert_eq!(endpoint.write_relabel.len(), 1);
    assert_eq!(endpoint.write_relabel[0].action, Action::Drop);
    let expected = Endpoint {
        name: "home".into(),
        url: "https://localhost:9090/api/v1/write".into(),
        headers: vec![("X-Scope-OrgID".into(), Secret::new("lab"))],
        auth: Auth::Other { scheme: "Token".into(), credentials: file() },
        tls: Tls { ca_file: Some(secret.into()), ..Tls::default() },
        proxy: Some("http://localhost:3128/".into()),
        timeout: Duration::from_secs(10),
        write_relabel: endpoint.write_relabel.clone(),
        message: Message::Auto,
        exemplars: true,
        metadata: Some(Duration::from_secs(300)),
        max_samples: 500,
        deadline: Duration::from_secs(1),
        backoff: (Duration::from_secs(1), Duration::from_secs(60)),
        sample_age_limit: Some(Duration::from_secs(7200)),
        retry_rate_limited: false,
    };
    assert_eq!(endpoint, &expected);
    assert!(endpoint.names_files());
    let of =
        |keys: &str| good(&with(&format!("{{ url: 'http://localhost:9090/x', {keys} }}"))).plan.remote_write.remove(0);
    assert_eq!(of("protobuf_message: io.prometheus.write.v2.Request").message, Message::V2);
    assert_eq!(of("protobuf_message: prometheus.WriteRequest").message, Message::V1);
    assert_eq!(of("metadata_config: { send: false }").metadata, None);
    assert_eq!(of("queue_config: { sample_age_limit: 0s }").sample_age_limit, None);
    let inline = |text: &str| Credential::Inline(Secret::new(text));
    assert_eq!(of("authorization: { credentials: abc }").auth, Auth::Bearer(inline("abc")));
    assert_eq!(of("bearer_token: abc").auth, Auth::Bearer(inline("abc")));
    let basic = Auth::Basic { username: "me".into(), password: inline("abc") };
    assert_eq!(of("basic_auth: { username: me, password: abc }").auth, basic);
}

#[test]
fn what_has_no_meaning_is_told() {
    for (keys, words) in [
        ("queue_config: { max_shards: 50 }", "max_shards has no effect: one request at a time"),
        ("queue_config: { min_shards: 1 }", "min_shards has no effect"),
        ("queue_config: { capacity: 10000 }", "capacity has no effect: what waits is bounded by bytes"),
        ("metadata_config: { max_samples_per_send: 5 }", "max_samples_per_send has no effect here"),
        ("follow_redirects: true", "follow_redirects has no effect"),
        ("enable_http2: true", "enable_http2 has no effect"),
        ("send_native_histograms: true", "send_native_histograms has no effect"),
        ("round_robin_dns: true", "round_robin_dns has no effect"),
    ] {
        let said = said(keys);
        assert!(matches!(&said[..], [(false, message)] if message.starts_with(words)), "{keys}: {said:?}");
    }
    let off = "follow_redirects: false, enable_http2: false, send_native_histograms: false, round_robin_dns: false, proxy_from_environment: false";
    assert_eq!(said(off), []);
}

#[test]
fn what_is_not_supported_is_refused_with_a_remedy() {
    for (keys, words) in [
        ("sigv4: { region: eu }", "sigv4 is not supported; remove it; run a proxy"),
        ("oauth2: { client_id: x }", "oauth2 is not supported; remove it; `authorization"),
        ("azuread: { cloud: x }", "azuread is not supported; "),
        ("google_iam: { credentials_file: x }", "google_iam is not supported; "),
        ("http_headers: { X-A: { values: [b] } }", "http_headers is not supported; write `headers"),
        ("no_proxy: x", "no_proxy is not supported; "),
        ("proxy_connect_header: { a: [b] }", "proxy_connect_header is not supported; "),
        ("proxy_from_environment: true", "the proxy of the environment is not used; write it into `proxy_url`"),
        ("protobuf_message: io.prometheus.write.v2.Requst", "\"io.prometheus.write.v2.Requst\" is no message"),
        ("queue_config: { max_samples_per_send: 0 }", "0 is out of range"),
        ("queue_config: { batch_send_deadline: 1h }", "1h is out of range"),
        ("queue_config: { sample_age_limit: 1s }", "1s is out of range"),
        ("queue_config: { min_backoff: 10s }", "the first pause (min_backoff)"),
        ("metadata_config: { send_interval: 1ms }", "1ms is out of range"),
        ("authorization: { type: Basic, credentials: x }", "this kind of authorization has a key of its own"),
        ("authorization: { type: Bearer }", "authorization has no credentials"),
        (
            "authorization: { credentials: x }, bearer_token: y",
            "bearer_token and authorization cannot be used together",
        ),
        ("headers: { X-Prometheus-Remote-Write-Version: '2' }", "the header X-Prometheus-Remote-Write-Version cannot"),
        ("headers: { User-Agent: x }", "the header User-Agent cannot be set here"),
        ("write_relabel_configs: [{ action: dorp }]", "\"dorp\" is no action"),
        ("external_labels: { a: b }", "unknown key \"external_labels\""),
    ] {
        let said = said(keys);
        assert!(matches!(&said[..], [(true, message)] if message.starts_with(words)), "{keys}: {said:?}");
    }
    for (entry, words) in [
        ("{ name: x }", "the endpoint has no `url`"),
        ("{ url: 'http://localhost:9090' }", "the URL has no path"),
        ("{ url: 'http://me:pw@localhost:9090/x' }", "user and password do not belong into the URL"),
        ("{ url: 'http://a/x' }, { url: 'http://a/y' }", "another endpoint has the name"),
        ("{ url: 'http://a/x', name: b }, { url: 'http://c/y', name: b }", "two endpoints are named \"b\""),
    ] {
        let report = load(&with(entry)).expect_err(entry);
        assert!(report.problems().iter().any(|problem| problem.message.starts_with(words)), "{report}");
    }
}

#[test]
fn no_secret_is_shown() {
    let text = with(
        "{ url: 'http://localhost:9090/x', authorization: { type: Bearer, credentials: hunter2 }, headers: { X-A: hunter2 }, \
         basic_auth: { username: a, password: hunter2 }, nonsense: hunter2 }",
    );
    let report = load(&text).unwrap_err().to_string();
    assert!(report.contains("unknown") && !report.contains("hunter2"), "{report}");
    let plan = good(&with("{ url: 'http://localhost:9090/x', authorization: { credentials: hunter2 } }")).plan;
    assert!(!format!("{plan:?}").contains("hunter2"));
}
