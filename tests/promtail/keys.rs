//! Every key that a Promtail file may have, but for those of stages: it changes what runs, or something is said at its line, or it is refused there
//! with what to do. None is passed over.

use crate::load;
use std::collections::BTreeSet;

/// What becomes of a key.
enum Fate {
    /// It is used: with this in its place, or nothing, something else would run.
    Used(&'static str),
    /// It is not; this is said of it.
    Said(&'static str),
    /// It is an error, whose remedy says this.
    Refused(&'static str),
}
use Fate::{Refused, Said, Used};

/// A file in which `@` stands for lines with the key, and the keys that may be there, as they are written.
type Place = (&'static str, &'static [(&'static str, Fate)]);

const TOP: Place = (
    "clients: [{ url: http://loki }]\n@\nscrape_configs: [{ job_name: a, static_configs: [{ labels: { __path__: /x.log } }] }]",
    &[
        ("server: { http_listen_port: 80 }", Used("")),
        ("positions: { filename: POSITIONS }", Used("")),
        ("client: { url: http://second }", Used("")),
        ("limits_config: { max_streams: 5 }", Used("")),
        ("target_config: { stdin: true }", Used("")),
        ("global: { file_watch_config: { min_poll_frequency: 1s } }", Said("the kernel tells")),
        ("options: { stream_lag_labels: a }", Said("lugger_source_lag_bytes")),
        ("tracing: { enabled: true }", Said("no traces")),
        ("wal: { enabled: true }", Said("read again")),
        ("loki: [{ url: http://loki }]", Refused("lugger convert")),
        ("logs: [{ name: a }]", Refused("lugger convert")),
        ("labels: { a: b }", Refused("lugger convert")),
        ("limits: { line: 1KiB }", Refused("lugger convert")),
        ("http: { listen: none }", Refused("lugger convert")),
        ("late_labels: { a: b }", Refused("lugger convert")),
        ("import_positions: /x", Refused("lugger convert")),
        ("state_dir: /x", Refused("STATE_DIRECTORY")),
    ],
);

const SERVER: Place = (
    "server:\n  @\nclients: [{ url: http://loki }]\nscrape_configs: [{ job_name: a, static_configs: [{ labels: { __path__: /x.log } }] }]",
    &[
        ("http_listen_address: 127.0.0.2", Used("")),
        ("http_listen_port: 81", Used("")),
        ("disable: true", Used("")),
        ("log_level: debug", Said("--log-level")),
        ("log_format: json", Said("--log-format")),
        ("http_path_prefix: /p", Said("without it")),
        ("external_url: http://me", Said("no URL")),
        ("health_check_target: true", Said("/ready")),
        ("enable_runtime_reload: true", Said("SIGHUP")),
        ("profiling_enabled: true", Said("no profiling")),
        ("register_instrumentation: true", Said("bounds of its own")),
        ("graceful_shutdown_timeout: 9s", Said("within 5 s")),
        ("http_tls_config: { cert_file: /x }", Refused("put a proxy before it")),
        ("grpc_listen_port: 9095", Said("no gRPC")),
        ("http_listen_network: tcp", Said("bounds of its own")),
        ("http_listen_conn_limit: 9", Said("bounds of its own")),
        ("http_server_read_timeout: 9s", Said("bounds of its own")),
        ("http_log_closed_connections_without_response_enabled: true", Said("bounds of its own")),
        ("tls_min_version: VersionTLS12", Said("bounds of its own")),
        ("log_source_ips_enabled: true", Said("bounds of its own")),
        ("log_request_headers: true", Said("bounds of its own")),
    ],
);

const POSITIONS: Place = (
    "positions:\n  @\nclients: [{ url: http://loki }]\nscrape_configs: [{ job_name: a, static_configs: [{ labels: { __path__: /x.log } }] }]",
    &[
        ("filename: POSITIONS", Used("")),
        ("ignore_invalid_yaml: true\n  filename: FILE", Used("filename: FILE")),
        ("sync_period: 9s", Said("as lines are stored")),
    ],
);

const LIMITS: Place = (
    "limits_config:\n  @\nclients: [{ url: http://loki }]\nscrape_configs: [{ job_name: a, static_configs: [{ labels: { __path__: /x.log } }] }]",
    &[
        ("readline_rate: 7\n  readline_rate_enabled: true", Used("readline_rate_enabled: true")),
        ("readline_burst: 7\n  readline_rate_enabled: true", Used("readline_rate_enabled: true")),
        ("readline_rate_drop: false\n  readline_rate_enabled: true", Used("readline_rate_enabled: true")),
        ("readline_rate_enabled: true", Used("")),
        ("max_streams: 7", Used("")),
        ("max_line_size: 1kb", Used("")),
        ("max_line_size_truncate: true\n  max_line_size: 1kb", Used("max_line_size: 1kb")),
    ],
);

const TARGET: Place = (
    "target_config:\n  @\nclients: [{ url: http://loki }]\nscrape_configs: [{ job_name: a, static_configs: [{ labels: { a: b, __path__: /x.log } }] }]",
    &[("sync_period: 9s", Said("as they appear")), ("stdin: true", Used(""))],
);

const CLIENT: Place = (
    "clients:\n  - url: https://loki\n    @\nscrape_configs: [{ job_name: a, static_configs: [{ labels: { __path__: /x.log } }] }]",
    &[
        ("name: mine", Used("")),
        ("tenant_id: t", Used("")),
        ("headers: { X-A: b }", Used("")),
        ("basic_auth: { username: a, password: b }", Used("")),
        ("authorization: { credentials: a }", Used("")),
        ("bearer_token: a", Used("")),
        ("bearer_token_file: FILE", Used("")),
        ("tls_config: { insecure_skip_verify: true }", Used("")),
        ("proxy_url: http://proxy:3128", Used("")),
        ("timeout: 9s", Used("")),
        ("batchwait: 9s", Used("")),
        ("batchsize: 65536", Used("")),
        ("backoff_config: { min_period: 9s }", Used("")),
        ("external_labels: { a: b }", Used("")),
        ("oauth2: { client_id: a }", Refused("bearer_token_file")),
        ("proxy_from_environment: true", Refused("proxy_url")),
        ("proxy_connect_header: { a: [b] }", Refused("headers are not supported")),
        ("no_proxy: example.org", Said("remove proxy_url")),
        ("http_headers: { a: { values: [b] } }", Refused("`headers`")),
        ("drop_rate_limited_batches: true", Said("drops nothing")),
        ("follow_redirects: true", Said("does not follow")),
        ("enable_http2: true", Said("HTTP/1.1")),
        ("queue: { capacity: 5 }", Said("bounded by its memory")),
    ],
);

const BACKOFF: Place = (
    "clients:\n  - url: https://loki\n    backoff_config:\n      @\nscrape_configs: [{ job_name: a, static_configs: [{ labels: { __path__: /x.log } }] }]",
    &[("min_period: 9s", Used("")), ("max_period: 9s", Used("")), ("max_retries: 9", Said("drops nothing"))],
);

const BASIC_AUTH: Place = (
    "clients:\n  - url: https://loki\n    basic_auth:\n      @\nscrape_configs: [{ job_name: a, static_configs: [{ labels: { __path__: /x.log } }] }]",
    &[
        ("username: a\n      password: b", Used("username: c\n      password: b")),
        ("password: b\n      username: a", Used("password: c\n      username: a")),
        ("password_file: FILE\n      username: a", Used("password: c\n      username: a")),
        ("username_file: /x", Refused("`username`")),
        ("username_ref: x", Refused("`username`")),
        ("password_ref: x", Refused("password_file")),
    ],
);

const AUTHORIZATION: Place = (
    "clients:\n  - url: https://loki\n    authorization:\n      @\nscrape_configs: [{ job_name: a, static_configs: [{ labels: { __path__: /x.log } }] }]",
    &[
        ("type: Token\n      credentials: b", Used("credentials: b")),
        ("credentials: a", Used("credentials: b")),
        ("credentials_file: FILE", Used("credentials: b")),
        ("credentials_ref: x", Refused("credentials_file")),
    ],
);

const TLS: Place = (
    "clients:\n  - url: https://loki\n    tls_config:\n      @\nscrape_configs: [{ job_name: a, static_configs: [{ labels: { __path__: /x.log } }] }]",
    &[
        ("ca_file: FILE", Used("")),
        ("cert_file: FILE\n      key_file: FILE", Used("")),
        ("key_file: FILE\n      cert_file: FILE", Used("")),
        ("server_name: other", Used("")),
        ("insecure_skip_verify: true", Used("")),
        ("ca: PEM", Refused("ca_file")),
        ("cert: PEM", Refused("cert_file")),
        ("key: PEM", Refused("key_file")),
        ("ca_ref: x", Refused("ca_file")),
        ("cert_ref: x", Refused("cert_file")),
        ("key_ref: x", Refused("key_file")),
        ("min_version: TLS12", Said("1.2 and 1.3")),
        ("max_version: TLS13", Said("1.2 and 1.3")),
    ],
);

const NO_SOURCE: Fate = Refused("another agent");

const JOB: Place = (
    "clients: [{ url: http://loki }]\nscrape_configs:\n  - { job_name: b, static_configs: [{ labels: { __path__: /y.log } }] }\n  - job_name: a\n    @\n    static_configs: [{ labels: { a: b, __path__: /x.log } }]",
    &[
        ("file_sd_configs: [{ files: [DIRECTORY/tests/promtail/files/targets/*.yml] }]", Used("")),
        ("pipeline_stages: [{ decolorize: }]", Used("")),
        ("relabel_configs: [{ target_label: c, replacement: d }]", Used("")),
        ("encoding: utf-16", Used("")),
        (
            "decompression: { enabled: true, initial_delay: 1s, initial_sleep: 1s, format: gz }",
            Said("follow the files before they are compressed"),
        ),
        ("journal: { labels: { a: b } }", Said("passes over its `journal`")),
        ("syslog: { listen_address: ':1', labels: { a: b } }", Said("passes over its `syslog`")),
        ("docker_sd_configs: [{ host: 'unix:///x' }]", Said("passes over its `docker_sd_configs`")),
        ("kubernetes_sd_configs: [{ role: pod }]", Said("is not collected by this version")),
        ("loki_push_api: { server: { http_listen_port: 1 } }", Said("passes over its `loki_push_api`")),
        ("gelf: { labels: { a: b } }", Said("passes over its `gelf`")),
        ("entry_parser: docker", Refused("pipeline_stages")),
        ("gcplog: { a: b }", NO_SOURCE),
        ("windows_events: { a: b }", NO_SOURCE),
        ("kafka: { a: b }", NO_SOURCE),
        ("azure_event_hubs: { a: b }", NO_SOURCE),
        ("cloudflare: { a: b }", NO_SOURCE),
        ("heroku_drain: { a: b }", NO_SOURCE),
        ("dns_sd_configs: [{ a: b }]", NO_SOURCE),
        ("consul_sd_configs: [{ a: b }]", NO_SOURCE),
        ("consulagent_sd_configs: [{ a: b }]", NO_SOURCE),
        ("digitalocean_sd_configs: [{ a: b }]", NO_SOURCE),
        ("dockerswarm_sd_configs: [{ a: b }]", NO_SOURCE),
        ("serverset_sd_configs: [{ a: b }]", NO_SOURCE),
        ("nerve_sd_configs: [{ a: b }]", NO_SOURCE),
        ("marathon_sd_configs: [{ a: b }]", NO_SOURCE),
        ("gce_sd_configs: [{ a: b }]", NO_SOURCE),
        ("ec2_sd_configs: [{ a: b }]", NO_SOURCE),
        ("openstack_sd_configs: [{ a: b }]", NO_SOURCE),
        ("azure_sd_configs: [{ a: b }]", NO_SOURCE),
        ("triton_sd_configs: [{ a: b }]", NO_SOURCE),
    ],
);

const STATIC: Place = (
    "clients: [{ url: http://loki }]\nscrape_configs:\n  - job_name: a\n    relabel_configs: [{ source_labels: [__address__], target_label: address }, { target_label: __path__, replacement: /x.log }]\n    static_configs:\n      -\n        @",
    &[("targets: [here]", Used("targets: [there]")), ("labels: { a: b }", Used("targets: []"))],
);

const FILE_SD: Place = (
    "clients: [{ url: http://loki }]\nscrape_configs:\n  - job_name: a\n    static_configs: [{ labels: { __path__: /x.log } }]\n    file_sd_configs:\n      -\n        @",
    &[
        ("files: [DIRECTORY/tests/promtail/files/targets/*.yml]", Used("files: []")),
        ("refresh_interval: 9s", Said("told to reload")),
    ],
);

const JOURNAL: Place = (
    "clients: [{ url: http://loki }]\nscrape_configs:\n  - job_name: a\n    relabel_configs: [{ target_label: a, replacement: b }]\n    journal:\n      @",
    &[
        ("json: true", Used("max_age: 7h")),
        ("max_age: 9h", Used("max_age: 7h")),
        ("labels: { c: d }", Used("max_age: 7h")),
        ("path: /var/log/other", Used("max_age: 7h")),
        ("matches: _TRANSPORT=kernel", Used("max_age: 7h")),
    ],
);

const SYSLOG: Place = (
    "clients: [{ url: http://loki }]\nscrape_configs:\n  - job_name: a\n    relabel_configs: [{ target_label: a, replacement: b }]\n    syslog:\n      @\n      listen_address: 127.0.0.1:1514",
    &[
        ("listen_protocol: udp", Used("listen_protocol: tcp")),
        ("idle_timeout: 9s", Used("listen_protocol: tcp")),
        ("label_structured_data: true", Used("listen_protocol: tcp")),
        ("labels: { c: d }", Used("listen_protocol: tcp")),
        ("use_incoming_timestamp: true", Used("listen_protocol: tcp")),
        ("use_rfc5424_message: true", Used("listen_protocol: tcp")),
        ("syslog_format: rfc3164", Said("by themselves")),
        ("max_message_length: 4096", Used("listen_protocol: tcp")),
        ("tls_config: { cert_file: FILE, key_file: FILE }", Used("listen_protocol: tcp")),
    ],
);

const SYSLOG_TLS: Place = (
    "clients: [{ url: http://loki }]\nscrape_configs:\n  - job_name: a\n    relabel_configs: [{ target_label: a, replacement: b }]\n    syslog:\n      listen_address: 127.0.0.1:1514\n      tls_config:\n        @",
    &[
        ("cert_file: FILE\n        key_file: FILE", Used("server_name: x")),
        ("key_file: FILE\n        cert_file: FILE", Used("server_name: x")),
        (
            "ca_file: FILE\n        cert_file: FILE\n        key_file: FILE",
            Used("cert_file: FILE\n        key_file: FILE"),
        ),
        ("ca: PEM", Refused("ca_file")),
        ("cert: PEM", Refused("cert_file")),
        ("key: PEM", Refused("key_file")),
        ("server_name: x", Said("for clients")),
        ("insecure_skip_verify: true", Said("for clients")),
        ("min_version: TLS12", Said("1.2 and 1.3")),
    ],
);

const PUSH: Place = (
    "clients: [{ url: http://loki }]\nscrape_configs:\n  - job_name: a\n    loki_push_api:\n      @\n      server: { http_listen_port: 3500 }",
    &[
        ("labels: { c: d }", Used("use_incoming_timestamp: false")),
        ("use_incoming_timestamp: true", Used("use_incoming_timestamp: false")),
        ("max_send_msg_size: 1MB", Used("use_incoming_timestamp: false")),
    ],
);

const PUSH_SERVER: Place = (
    "clients: [{ url: http://loki }]\nscrape_configs:\n  - job_name: a\n    loki_push_api:\n      server:\n        @\n        http_listen_port: 3500",
    &[
        ("http_listen_address: 127.0.0.1", Used("")),
        ("http_tls_config: { cert_file: FILE, key_file: FILE }", Used("")),
        ("log_level: debug", Said("--log-level")),
        ("log_format: json", Said("--log-format")),
        ("http_path_prefix: /p", Refused("/loki/api/v1/push")),
        ("graceful_shutdown_timeout: 9s", Said("within 5 s")),
        ("register_instrumentation: true", Said("bounds of its own")),
        ("grpc_listen_port: 9095", Said("no gRPC")),
        ("http_listen_network: tcp", Said("bounds of its own")),
        ("http_listen_conn_limit: 9", Said("bounds of its own")),
        ("http_server_read_timeout: 9s", Said("bounds of its own")),
        ("http_log_closed_connections_without_response_enabled: true", Said("bounds of its own")),
        ("tls_min_version: VersionTLS12", Said("bounds of its own")),
        ("log_source_ips_enabled: true", Said("bounds of its own")),
        ("log_request_headers: true", Said("bounds of its own")),
    ],
);

const PUSH_TLS: Place = (
    "clients: [{ url: http://loki }]\nscrape_configs:\n  - job_name: a\n    loki_push_api:\n      server:\n        http_listen_port: 3500\n        http_tls_config:\n          @",
    &[
        ("cert_file: FILE\n          key_file: FILE", Used("")),
        ("key_file: FILE\n          cert_file: FILE", Used("")),
        (
            "client_ca_file: FILE\n          cert_file: FILE\n          key_file: FILE",
            Used("cert_file: FILE\n          key_file: FILE"),
        ),
        (
            "client_auth_type: VerifyClientCertIfGiven\n          client_ca_file: FILE\n          cert_file: FILE\n          key_file: FILE",
            Used("client_ca_file: FILE\n          cert_file: FILE\n          key_file: FILE"),
        ),
        ("cert: PEM", Refused("cert_file")),
        ("key: PEM", Refused("key_file")),
        ("client_ca: PEM", Refused("ca_file")),
    ],
);

const GELF: Place = (
    "clients: [{ url: http://loki }]\nscrape_configs:\n  - job_name: a\n    relabel_configs: [{ target_label: a, replacement: b }]\n    gelf:\n      @",
    &[
        ("listen_address: 127.0.0.1:12202", Used("")),
        ("labels: { c: d }", Used("")),
        ("use_incoming_timestamp: true", Used("")),
    ],
);

const DOCKER: Place = (
    "clients: [{ url: http://loki }]\nscrape_configs:\n  - job_name: a\n    relabel_configs: [{ target_label: a, replacement: b }]\n    docker_sd_configs:\n      -\n        @\n        refresh_interval: 1m",
    &[
        ("host: unix:///nowhere/d.sock", Used("host: unix:///nowhere/e.sock")),
        ("filters: [{ name: name, values: [x] }]", Used("")),
        ("port: 81", Said("one target")),
        ("host_networking_host: x", Said("one target")),
        ("match_first_network: true", Said("one target")),
        ("proxy_url: http://x", Said("Docker's own host")),
        ("tls_config: { ca_file: /x }", Said("Docker's own host")),
        ("basic_auth: { username: a }", Said("Docker's own host")),
        ("authorization: { credentials: a }", Said("Docker's own host")),
        ("oauth2: { client_id: a }", Said("Docker's own host")),
        ("bearer_token: a", Said("Docker's own host")),
        ("bearer_token_file: /x", Said("Docker's own host")),
        ("no_proxy: x", Said("Docker's own host")),
        ("proxy_from_environment: true", Said("Docker's own host")),
        ("follow_redirects: true", Said("does not redirect")),
        ("enable_http2: true", Said("HTTP/1.1")),
    ],
);

const DOCKER_FILTER: Place = (
    "clients: [{ url: http://loki }]\nscrape_configs:\n  - job_name: a\n    relabel_configs: [{ target_label: a, replacement: b }]\n    docker_sd_configs:\n      - filters:\n        -\n          @",
    &[
        ("name: label\n          values: [x]", Used("name: name\n          values: [x]")),
        ("values: [x]\n          name: label", Used("values: [y]\n          name: label")),
    ],
);

const PLACES: [Place; 22] = [
    TOP,
    SERVER,
    POSITIONS,
    LIMITS,
    TARGET,
    CLIENT,
    BACKOFF,
    BASIC_AUTH,
    AUTHORIZATION,
    TLS,
    JOB,
    STATIC,
    FILE_SD,
    JOURNAL,
    SYSLOG,
    SYSLOG_TLS,
    PUSH,
    PUSH_SERVER,
    PUSH_TLS,
    GELF,
    DOCKER,
    DOCKER_FILTER,
];

/// A file of a place: with these lines at the `@`, and with files that exist.
fn file(place: &str, lines: &str, positions: &str) -> String {
    place
        .replace('@', lines)
        .replace("POSITIONS", positions)
        .replace("FILE", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .replace("DIRECTORY", env!("CARGO_MANIFEST_DIR"))
}

fn key(lines: &str) -> &str {
    lines.split(':').next().unwrap_or(lines)
}

#[test]
fn every_key_is_used_or_something_is_said_of_it() {
    let positions = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(positions.path(), "positions:\n  /x.log: \"12\"\n").unwrap();
    let positions = positions.path().to_str().unwrap();
    let mut wrong = Vec::new();
    for (place, keys) in PLACES {
        let line = place.lines().position(|line| line.trim() == "@").unwrap() + 1;
        let at = format!("promtail.yaml:{line}:");
        for (lines, fate) in keys {
            let (text, key) = (file(place, lines, positions), key(lines));
            let found = load(&text);
            let mut fails = |what: &str, report: &str| wrong.push(format!("{key}: {what}\n{text}\n{report}"));
            match (fate, found) {
                (Used(other), Ok(with)) => {
                    let without = load(&file(place, other, positions));
                    // What is secret is shown by no `Debug`.
                    let is_same = without.is_ok_and(|without| {
                        let secrets = with.plan.loki.iter().zip(&without.plan.loki);
                        format!("{:?}", with.plan) == format!("{:?}", without.plan)
                            && secrets.into_iter().all(|(a, b)| a.auth == b.auth && a.headers == b.headers)
                    });
                    if is_same {
                        fails("it makes no difference", &with.warnings.to_string());
                    }
                }
                (Said(words), Ok(loaded)) => {
                    let report = loaded.warnings.to_string();
                    // A finding ends with an empty line.
                    let mut of_key = report.split("\n\n").filter(|part| part.contains(&at) && part.contains(key));
                    if !of_key.any(|part| part.contains(words)) {
                        fails("nothing of that is said", &report);
                    }
                }
                (Refused(words), Err(report)) => {
                    let report = report.to_string();
                    let mut of_key = report.split("\n\n").filter(|part| part.contains(&at) && part.contains(key));
                    if !of_key.any(|part| part.contains("help: ") && part.contains(words)) {
                        fails("nothing of that is said", &report);
                    }
                }
                (Refused(_), Ok(_)) => fails("it is not refused", ""),
                (_, Err(report)) => fails("it is refused", &report.to_string()),
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong\n{}", wrong.len(), wrong.join("\n---\n"));
}

#[test]
fn no_key_is_missing() {
    // Where they stand themselves, or what they are for is shown elsewhere.
    const ELSEWHERE: [&str; 9] = [
        "clients",
        "scrape_configs",
        "url",
        "job_name",
        "static_configs",
        "listen_address",
        "server",
        "http_listen_port",
        "refresh_interval",
    ];
    for (place, keys) in PLACES {
        let report = load(&file(place, "zzzzzzzz: 1", "/x")).expect_err(place).to_string();
        let list = report.split("the keys here are: ").nth(1).unwrap_or_else(|| panic!("{report}"));
        let shown: BTreeSet<&str> = keys.iter().map(|(lines, _)| key(lines)).chain(ELSEWHERE).collect();
        let missing: Vec<&str> =
            list.lines().next().unwrap_or_default().split(", ").filter(|key| !shown.contains(key)).collect();
        assert!(missing.is_empty(), "{missing:?}\n{place}");
    }
}
