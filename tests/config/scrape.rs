//! `metrics.scrape`: Prometheus' own configuration of jobs, taken as it means it, or refused with a remedy.

use crate::{SHORTEST, good, load};
use lugger::base::secret::Secret;
use lugger::format::prometheus::parse::Form;
use lugger::sink::settings::{Auth, Credential};
use lugger::source::scrape::settings::{Protocol, Settings};
use std::time::Duration;

fn with(metrics: &str) -> String {
    format!(
        "{SHORTEST}labels: {{ host: h, none: '' }}\nremote_write: [{{ url: 'http://localhost:9090/api/v1/write' }}]\nmetrics:\n{metrics}"
    )
}

fn jobs(metrics: &str) -> Vec<Settings> {
    good(&with(metrics)).plan.metrics.unwrap().scrape.into_iter().map(|(settings, _)| settings).collect()
}

#[test]
fn the_shortest_job_has_prometheus_defaults() {
    let jobs = jobs("  scrape: [{ job_name: a b/1, static_configs: [{ targets: ['127.0.0.1:9100'] }] }]\n");
    let expected =
        Settings { groups: jobs[0].groups.clone(), series: jobs[0].series.clone(), ..Settings::new("a b/1") };
    assert_eq!(jobs, [expected]);
    assert_eq!(jobs[0].groups[0].targets, ["127.0.0.1:9100"]);
    let series = &jobs[0].series;
    assert!(
        series.honor_timestamps && !series.honor_labels && !series.track_timestamps_staleness && !series.extra_metrics
    );
    assert_eq!(series.outer, [("host".to_owned(), "h".to_owned())]);
    assert_eq!(
        (jobs[0].body_bytes, jobs[0].access.follow_redirects, jobs[0].access.compression),
        (16 << 20, true, true)
    );
}

#[test]
fn every_setting_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "x").unwrap();
    let file = file.display();
    let jobs = jobs(&format!(
        "  interval: 1m
  scrape_timeout: 20s
  scrape:
    - job_name: a
      scrape_interval: 1m30s
      scrape_timeout: 1m
      scheme: https
      metrics_path: /m
      params: {{ q: [a, b], r: c }}
      static_configs: [{{ targets: [h:1], labels: {{ team: x }} }}, {{ targets: [] }}]
      file_sd_configs: [{{ files: [/t/*.yml, /t/a.JSON], refresh_interval: 10s }}]
      relabel_configs: [{{ source_labels: [a], target_label: b }}]
      metric_relabel_configs: [{{ action: labeldrop, regex: x }}]
      honor_labels: true
      honor_timestamps: false
      track_timestamps_staleness: true
      extra_scrape_metrics: true
      body_size_limit: 10MB
      sample_limit: 1
      label_limit: 2
      label_name_length_limit: 3
      label_value_length_limit: 4
      target_limit: 5
      scrape_protocols: [PrometheusText0.0.4, OpenMetricsText1.0.0]
      fallback_scrape_protocol: OpenMetricsText0.0.1
      enable_compression: false
      follow_redirects: false
      basic_auth: {{ username: me, password: hunter2 }}
      http_headers: {{ X-A: {{ values: [one, two], files: ['{file}'] }} }}
      tls_config: {{ server_name: other }}
    - {{ job_name: b, scrape_interval: 10s, body_size_limit: 0, authorization: {{ type: Key, credentials: k }}, proxy_url: 'http://p:1', static_configs: [] }}
    - {{ job_name: c, bearer_token_file: '{file}', file_sd_configs: [{{ files: /t/x.yaml }}] }}
"
    ));
    let a = &jobs[0];
    assert_eq!((a.interval, a.timeout), (Duration::from_secs(90), Duration::from_secs(60)));
    assert_eq!((a.scheme.as_str(), a.path.as_str(), a.target_limit, a.body_bytes), ("https", "/m", 5, 10 << 20));
    assert_eq!(a.params, [("q".into(), vec!["a".into(), "b".into()]), ("r".into(), vec!["c".into()])]);
    assert_eq!((a.groups.len(), a.groups[0].labels["team"].as_str()), (2, "x"));
    assert_eq!((a.files[0].patterns.len(), a.files[0].refresh), (2, Duration::from_secs(10)));
    assert_eq!((a.relabel.len(), a.series.relabel.len()), (1, 1));
    let series = &a.series;
    assert!(
        series.honor_labels && !series.honor_timestamps && series.track_timestamps_staleness && series.extra_metrics
    );
    let limits = series.limits;
    assert_eq!([limits.samples, limits.labels, limits.label_name_bytes, limits.label_value_bytes], [1, 2, 3, 4]);
    assert_eq!(
        (a.access.protocols.as_slice(), a.fallback),
        (&[Protocol::Text0, Protocol::OpenMetrics1][..], Form::OpenMetrics)
    );
    assert!(!a.access.compression && !a.access.follow_redirects);
    let pw = Credential::Inline(Secret::new("hunter2"));
    assert_eq!(a.access.auth, Auth::Basic { username: "me".into(), password: pw });
    let inline = |text: &str| ("X-A".to_owned(), Credential::Inline(Secret::new(text)));
    assert_eq!(
        a.access.headers,
        [inline("one"), inline("two"), ("X-A".into(), Credential::File(file.to_string().into()))]
    );
    assert_eq!(a.access.tls.server_name.as_deref(), Some("other"));
    let b = &jobs[1];
    // A timeout that is not the job's own is cut to its interval.
    assert_eq!((b.interval, b.timeout, b.body_bytes), (Duration::from_secs(10), Duration::from_secs(10), 1 << 30));
    assert_eq!(b.access.auth, Auth::Other { scheme: "Key".into(), credentials: Credential::Inline(Secret::new("k")) });
    assert_eq!(b.access.proxy.as_deref(), Some("http://p:1/"));
    assert_eq!((jobs[2].interval, jobs[2].timeout), (Duration::from_secs(60), Duration::from_secs(20)));
    assert!(matches!(&jobs[2].access.auth, Auth::Bearer(Credential::File(_))));
}

#[test]
fn what_is_wrong_is_told_with_a_remedy() {
    const GOOD: &str = "static_configs: [{ targets: [h:1] }]";
    for (job, message, help) in [
        ("static_configs: []", "this job has no `job_name`", "add one"),
        ("job_name: ''", "this is not a name of a job", "write up to"),
        ("job_name: a", "this job has no targets", "add `static_configs"),
        ("job_name: a, static_configs: [{}]", "this entry has no `targets`", "add them"),
        (
            "job_name: a, static_configs: [{ targets: ['http://h:1/x'] }]",
            "\"http://h:1/x\" is no address of a target",
            "write HOST:PORT",
        ),
        (
            "job_name: a, static_configs: [{ targets: [h:1], labels: { a-b: 1 } }]",
            "\"a-b\" is no label name",
            "it starts with",
        ),
        ("job_name: a, scrape_intervall: 1m", "unknown key \"scrape_intervall\"", "did you mean \"scrape_interval\"?"),
        ("job_name: a, scrape_interval: 10ms", "10ms is out of range", "from 100ms to 1d"),
        (
            "job_name: a, scrape_interval: 5s, scrape_timeout: 6s",
            "scrape_timeout is longer than the interval",
            "shorten it",
        ),
        ("job_name: a, scheme: unix", "\"unix\" is no scheme", "http, https"),
        ("job_name: a, metrics_path: '/x?y=1'", "parameters do not belong into metrics_path", "end it with \"/x\""),
        ("job_name: a, body_size_limit: 2GB", "this is out of range", "at most 1GiB"),
        ("job_name: a, scrape_protocols: [PrometheusProto]", "\"PrometheusProto\" is no format", "text formats"),
        ("job_name: a, fallback_scrape_protocol: Text", "\"Text\" is no format", "they are: OpenMetricsText1.0.0"),
        (
            "job_name: a, file_sd_configs: [{ files: [targets.yml] }]",
            "the path \"targets.yml\" is not absolute",
            "begin it with /",
        ),
        (
            "job_name: a, file_sd_configs: [{ files: [/t/*] }]",
            "does not end in .json, .yml or .yaml",
            "the ending says",
        ),
        ("job_name: a, file_sd_configs: [{ files: [/*/t.yml] }]", "a directory is a pattern", "only the last part"),
        ("job_name: a, file_sd_configs: [{}]", "this entry has no `files`", "add them"),
        ("job_name: a, relabel_configs: [{ action: kep }]", "\"kep\" is no action", "did you mean \"keep\"?"),
        (
            "job_name: a, basic_auth: { username: a, password: b }, bearer_token: c",
            "cannot be used together",
            "keep one",
        ),
        ("job_name: a, http_headers: { Host: { values: [a] } }", "the header Host cannot be set here", "remove it"),
        ("job_name: a, http_headers: { X: {} }", "the header X has no value", "write `values"),
        ("job_name: a, tls_config: { cert_file: /nowhere }", "cert_file without key_file", "needs both"),
        ("job_name: a, oauth2: {}", "oauth2 is not supported", "credentials_file"),
        ("job_name: a, enable_http2: true", "enable_http2 is not supported", "HTTP/1.1"),
        ("job_name: a, scrape_native_histograms: true", "scrape_native_histograms is not supported", "classic series"),
        (
            "job_name: a, kubernetes_sd_configs: [{ role: pod }]",
            "kubernetes_sd_configs is not supported",
            "`file_sd_configs`",
        ),
        ("job_name: a, docker_sd_configs: []", "docker_sd_configs is not supported", "published ports"),
        ("job_name: a, http_sd_configs: []", "http_sd_configs is not supported", "into a file"),
        (
            "job_name: a, consul_sd_configs: []",
            "consul_sd_configs is not supported",
            "which is read again when it changes",
        ),
    ] {
        let rest = if job.contains("_configs") || job == "job_name: a" { String::new() } else { format!(", {GOOD}") };
        let report = load(&with(&format!("  scrape: [{{ {job}{rest} }}]\n"))).expect_err(job).to_string();
        assert!(report.contains(message) && report.contains(help), "{job}\n{report}");
    }
    let report =
        load(&with(&format!("  scrape: [{{ job_name: a, {GOOD} }}, {{ job_name: a, {GOOD} }}]\n"))).unwrap_err();
    assert!(report.to_string().contains("two jobs are named \"a\""), "{report}");
    let report = load(&with("  interval: 5s\n  scrape_timeout: 6s\n")).unwrap_err();
    assert!(report.to_string().contains("scrape_timeout is longer than interval"), "{report}");
}

#[test]
fn a_password_in_the_clear_is_told_of() {
    for (target, warned) in [("127.0.0.1:1", false), ("h.example:1", true)] {
        let text = with(&format!(
            "  scrape: [{{ job_name: a, bearer_token: x, static_configs: [{{ targets: ['{target}'] }}] }}]\n"
        ));
        let warnings = good(&text).warnings.to_string();
        assert_eq!(warnings.contains("the token is sent in the clear"), warned, "{warnings}");
    }
}

#[test]
fn secrets_of_jobs_are_in_no_report() {
    let text = with(
        "  scrape:
    - job_name: a
      params: { key: [hunter2] }
      basic_auth: { username: me, password: hunter2 }
      static_configs: [{ targets: [h:1] }]
    - job_name: b
      authorization: { type: Bearer, credentials: hunter2 }
      http_headers: { X-Key: { secrets: [hunter2], values: [hunter2] } }
      static_configs: [{ targets: [h:1] }]
    - job_name: c
      bearer_token: \"hunter2\"
      proxy_url: http://me:hunter2@p
      static_configs: [{ targets: [h:1] }]
",
    );
    let lines: Vec<&str> = text.lines().collect();
    for at in 0..lines.len() {
        for slip in [":", " ", "\t", "\"", "{", "]", "zz: 1\n", "- "] {
            for place in [0, lines[at].find(|c: char| c != ' ').unwrap_or(0), lines[at].len()] {
                let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
                changed[at].insert_str(place, slip);
                let shown = match load(&changed.join("\n")) {
                    // Parameters are part of what is asked for, and in the plan as they are.
                    Ok(loaded) => loaded.warnings.to_string(),
                    Err(report) => report.to_string(),
                };
                assert!(!shown.contains("hunter2"), "{shown}\n--- in\n{}", changed.join("\n"));
            }
        }
    }
}

#[test]
fn what_is_left_empty_is_told() {
    for kind in ["host", "textfile", "certificates", "scrape"] {
        let report = load(&with(&format!("  {kind}:\n"))).unwrap_err().to_string();
        assert!(
            report.contains(&format!("nothing is written behind `{kind}:`, so that it measures nothing")),
            "{report}"
        );
    }
}
