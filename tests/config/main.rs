//! The configuration as a user meets it: what is taken, what is refused, and what is said about it.

mod bounds;
mod docker;
mod example;
mod files;
mod hostile;
mod journal;
mod pipelines;
mod receivers;
mod remote_write;
mod reports;
mod scrape;
mod secrets;

use lugger::base::rate::{RateLimit, WhenOver};
use lugger::base::secret::Secret;
use lugger::config::{self, Loaded, Report};
use lugger::model::flow::{StreamBound, StreamPolicy};
use lugger::model::labels::LabelCaps;
use lugger::sink::settings::{Auth, Credential};
use lugger::source::file::encoding::Encoding;
use lugger::source::file::settings::StartAt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An environment of one variable.
fn env(name: &str) -> Option<String> {
    (name == "HOSTNAME").then(|| "myhost".to_owned())
}

/// Reads a configuration that the reports call `agent.yaml`.
fn load(text: &str) -> Result<Loaded, Report> {
    config::load_str("agent.yaml", text, &env)
}

/// Reads a configuration that has to be right.
fn good(text: &str) -> Loaded {
    load(text).unwrap_or_else(|report| panic!("{report}\n---\n{text}"))
}

const SHORTEST: &str = "loki: [{ url: 'http://localhost:3100' }]\nlogs: [{ file: { include: /x/*.log } }]\n";

#[test]
fn the_shortest_file_has_the_documented_defaults() {
    let Loaded { plan, warnings } = good(SHORTEST);
    assert!(warnings.is_empty(), "{warnings}");
    let endpoint = &plan.loki[0];
    assert_eq!(endpoint.name, "localhost");
    assert_eq!(endpoint.url, "http://localhost:3100/loki/api/v1/push");
    assert!(matches!(endpoint.auth, Auth::None) && endpoint.tenant_id.is_none() && endpoint.proxy.is_none());
    assert_eq!(endpoint.timeout, Duration::from_secs(10));
    assert_eq!((endpoint.batch_bytes, endpoint.batch_wait), (1 << 20, Duration::from_millis(500)));
    assert_eq!(endpoint.backoff, (Duration::from_millis(500), Duration::from_secs(60)));
    assert_eq!(endpoint.max_streams, None);
    let file = &plan.files[0];
    assert_eq!(file.settings.label_caps, LabelCaps { count: 15, name_bytes: 1024, value_bytes: 2048 });
    assert_eq!((file.settings.name.as_str(), file.to.as_slice()), ("x-log", &[0][..]));
    assert_eq!((file.settings.start_at, file.settings.line_bytes), (StartAt::Beginning, 256 << 10));
    assert_eq!(plan.http.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:9080"));
    assert_eq!((plan.state_dir.as_path(), plan.memory_bytes), (Path::new("/var/lib/lugger"), 64 << 20));
    assert_eq!((plan.spool_bytes, plan.spool_age), (1 << 30, Duration::from_secs(7 * 24 * 3600)));
}

#[test]
fn every_setting_arrives_in_the_plan() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "hunter2\n").unwrap();
    let secret = secret.to_str().unwrap();
    let Loaded { plan, .. } = good(&format!(
        "
labels: {{ host: \"${{HOSTNAME}}\", site: home, rack: 7, spare: true }}
loki:
  - name: home
    url: https://localhost:3100/prefix/push
    tenant_id: 1
    headers: {{ X-Key: abc }}
    basic_auth: {{ username: edge, password_file: {secret} }}
    tls_config: {{ ca_file: {secret}, cert_file: {secret}, key_file: {secret}, server_name: loki, insecure_skip_verify: true }}
    proxy_url: http://localhost:3128
    timeout: 5s
    batch_size: 64KiB
    batch_wait: 1s
    backoff: {{ min: 1s, max: 1m30s }}
    rate: {{ bytes: 4MiB, burst: 5s, when_over: drop }}
    max_streams: 500
    max_streams_policy: drop
  - {{ url: http://127.0.0.1, bearer_token: abc, max_streams: 7 }}
  - {{ url: \"http://[::1]\", bearer_token_file: {secret} }}
logs:
  - file: {{ include: [/a/*.log, \"/b/**/{{c,d}}-[0-9].log\"], exclude: '**/*.gz', start_at: end }}
    labels: {{ job: a, site: '', rack: 8 }}
    to: [\"::1\", home]
http: {{ listen: none }}
state_dir: /srv/lugger
limits: {{ memory: 32MiB, line: 1KiB, spool: 16MiB, spool_age: 1h, labels: 20, label_name: 1000B, label_value: 4KiB }}
"
    ));
    let [home, second, third] = plan.loki.as_slice() else { panic!("{:?}", plan.loki) };
    assert_eq!((home.name.as_str(), home.url.as_str()), ("home", "https://localhost:3100/prefix/push"));
    assert_eq!(home.tenant_id.as_deref(), Some("1"));
    assert_eq!(home.headers, [("X-Key".to_owned(), Secret::new("abc"))]);
    assert!(matches!(&home.auth, Auth::Basic { username, password: Credential::File(path) }
        if username == "edge" && path == Path::new(secret)));
    let file = Some(PathBuf::from(secret));
    assert_eq!((&home.tls.ca_file, &home.tls.cert_file, &home.tls.key_file), (&file, &file, &file));
    assert!(home.tls.insecure_skip_verify && home.tls.server_name.as_deref() == Some("loki"));
    assert_eq!(home.proxy.as_deref(), Some("http://localhost:3128/"));
    assert_eq!((home.timeout, home.batch_wait), (Duration::from_secs(5), Duration::from_secs(1)));
    assert_eq!((home.batch_bytes, home.backoff), (64 << 10, (Duration::from_secs(1), Duration::from_secs(90))));
    let burst = Duration::from_secs(5);
    let rate = RateLimit { lines: None, bytes: Some(4 << 20), burst, when_over: WhenOver::Drop };
    assert_eq!(home.rate, Some(rate));
    assert_eq!(home.max_streams, Some(StreamBound { max: 500, policy: StreamPolicy::Drop }));
    assert_eq!(second.max_streams, Some(StreamBound { max: 7, policy: StreamPolicy::Merge }));
    assert_eq!((second.name.as_str(), third.name.as_str()), ("127.0.0.1", "::1"));
    assert!(matches!(&second.auth, Auth::Bearer(Credential::Inline(token)) if token.expose() == "abc"));
    assert!(matches!(&third.auth, Auth::Bearer(Credential::File(path)) if path == Path::new(secret)));

    let file = &plan.files[0];
    assert_eq!(file.to, [0, 2]);
    assert_eq!(file.settings.include, ["/a/*.log", "/b/**/{c,d}-[0-9].log"]);
    assert_eq!((file.settings.exclude.as_slice(), file.settings.start_at), (&["**/*.gz".to_owned()][..], StartAt::End));
    // Own labels win, and an empty one removes.
    assert_eq!(file.settings.labels.encoded(), r#"{host="myhost", job="a", rack="8", spare="true"}"#);
    assert_eq!((file.settings.line_bytes, plan.memory_bytes), (1 << 10, 32 << 20));
    assert_eq!(file.settings.label_caps, LabelCaps { count: 20, name_bytes: 1000, value_bytes: 4 << 10 });
    assert_eq!((plan.spool_bytes, plan.spool_age), (16 << 20, Duration::from_secs(3600)));
    assert_eq!((plan.http, plan.state_dir), (None, PathBuf::from("/srv/lugger")));
}

/// What waits for an endpoint is kept under its name, also over a restart.
#[test]
fn the_order_of_endpoints_changes_no_name() {
    let names = |loki: &str| {
        let plan = good(&format!("loki: [{loki}]\nlogs: [{{ file: {{ include: /x }} }}]\n")).plan;
        plan.loki.into_iter().map(|endpoint| (endpoint.url, endpoint.name)).collect::<BTreeMap<_, _>>()
    };
    let (a, b) = ("{ url: http://h:1 }", "{ url: http://h:2, name: second }");
    let c = "{ url: http://other:1 }";
    let one = names(&format!("{a}, {b}, {c}"));
    assert_eq!(one, names(&format!("{c}, {b}, {a}")));
    assert_eq!(one.values().collect::<Vec<_>>(), ["h", "second", "other"]);
    // Nothing tells these apart but their order, or what may be corrected any time.
    for (url, with) in [("http://h:2", ""), ("http://h:1", ", tenant_id: b"), ("http://h:1/other/push", "")] {
        let report = load(&format!("loki: [{a}, {{ url: \"{url}\"{with} }}]\nlogs: [{{ file: {{ include: /x }} }}]\n"));
        let report = report.expect_err(url).to_string();
        assert!(report.contains("the name that this one would get") && report.contains("`name`"), "{report}");
    }
    assert!(load("loki: [{ url: http://h }, { url: http://g, name: h }]\nlogs: [{ file: { include: /x } }]").is_err());
}

#[test]
fn the_spool_can_be_switched_off() {
    let text = "loki: [{ url: http://a }, { url: http://b }]\nlogs: [{ file: { include: /x } }]\n";
    assert_eq!(good(&format!("{text}limits: {{ spool: 0 }}")).plan.spool_bytes, 0);
    // Nobody would use it.
    let one = text.replace(", { url: http://b }", "");
    assert_eq!(good(&format!("{one}limits: {{ spool: 8MiB }}")).plan.spool_bytes, 8 << 20);
}

#[test]
fn warnings_come_with_a_plan_that_runs() {
    let warnings = good(
        "loki:
  - { name: a, url: 'https://h.example', tls_config: { insecure_skip_verify: true } }
  - { name: b, url: 'http://h.example/loki', bearer_token: hunter2 }
logs: [{ file: { include: /x/*.log }, to: a }]
limits: { line: 512KiB }
",
    )
    .warnings
    .to_string();
    assert_eq!(
        warnings,
        "\
agent.yaml:2:56: warning: the endpoint's certificate is not checked: anybody between here and there can read and change what is sent
  2 |   - { name: a, url: 'https://h.example', tls_config: { insecure_skip_verify: true } }
    |                                                        ^^^^^^^^^^^^^^^^^^^^
help: name the authority that signed it in ca_file instead

agent.yaml:3:5: warning: nothing goes to the endpoint \"b\"
  3 |   - { name: b, url: 'http://h.example/loki', bearer_token: <secret> }
    |     ^
help: name it in the `to` of a `logs` entry, or remove it

agent.yaml:3:21: warning: the URL's path does not look like one that takes pushes
  3 |   - { name: b, url: 'http://h.example/loki', bearer_token: <secret> }
    |                     ^^^^^^^^^^^^^^^^^^^^^^^
help: Loki's is /loki/api/v1/push; a URL without any path gets it

agent.yaml:3:21: warning: the token is sent in the clear over http://
  3 |   - { name: b, url: 'http://h.example/loki', bearer_token: <secret> }
    |                     ^^^^^^^^^^^^^^^^^^^^^^^
help: use https:// if the endpoint offers it

agent.yaml:5:17: warning: a default Loki refuses lines above 256KiB
  5 | limits: { line: 512KiB }
    |                 ^^^^^^
help: raise `limits_config.max_line_size` in Loki too"
    );
}

#[test]
fn encodings_are_known_by_their_usual_names() {
    let of = |name: &str| {
        let text = format!(
            "loki: [{{ url: 'http://localhost:3100' }}]\nlogs: [{{ file: {{ include: /x/*.log, encoding: {name} }} }}]\n"
        );
        load(&text).map(|loaded| loaded.plan.files[0].settings.encoding).map_err(|report| report.to_string())
    };
    assert_eq!(of("utf-8"), Ok(Encoding::default()));
    assert_eq!(of("UTF-16"), Ok(Encoding::named("utf-16").unwrap()));
    assert_eq!(of("latin1"), of("windows-1252"));
    assert_ne!(of("latin1"), of("utf-8"));
    let report = of("utf-61").expect_err("no such encoding");
    assert!(report.contains("agent.yaml:2:") && report.contains("\"utf-61\" is no encoding"), "{report}");
    assert!(report.contains("utf-16"), "{report}");
    assert!(of("replacement").is_err() && of("iso-2022-jp").is_err() && of("\"\"").is_err());
}

#[test]
fn systemd_names_the_state_directory_unless_the_file_does() {
    let with = |text: &str, directory: &str| {
        let env = |name: &str| (name == "STATE_DIRECTORY").then(|| directory.to_owned());
        config::load_str("agent.yaml", text, &env).map(|loaded| loaded.plan.state_dir)
    };
    assert_eq!(with(SHORTEST, "/var/lib/a:/var/lib/b"), Ok(PathBuf::from("/var/lib/a")));
    assert_eq!(with(SHORTEST, ""), Ok(PathBuf::from("/var/lib/lugger")));
    assert_eq!(with(&format!("{SHORTEST}state_dir: /own"), "/var/lib/a"), Ok(PathBuf::from("/own")));
    assert_eq!(
        with(SHORTEST, "a").map_err(|report| report.to_string()),
        Err("agent.yaml: the environment variable STATE_DIRECTORY is not an absolute path\nhelp: correct it, or set `state_dir`".to_owned())
    );
}

#[test]
fn variables_bring_in_values_and_no_structure() {
    let env = |name: &str| match name {
        "EVIL" => Some("x, injected: y }\n- #".to_owned()),
        "YES" => Some("true".to_owned()),
        "EMPTY" => Some(String::new()),
        "TILDE" => Some("~".to_owned()),
        _ => None,
    };
    let text = "
labels: { a: \"${EVIL}\" }
loki:
  - url: https://localhost
    tenant_id: ${EMPTY}
    bearer_token: ${TILDE}
    tls_config:
      insecure_skip_verify: ${YES}
logs: [{ file: { include: /x/*.log } }]
";
    let plan = config::load_str("agent.yaml", text, &env).unwrap().plan;
    assert_eq!(plan.files[0].settings.labels.iter().collect::<Vec<_>>(), [("a", "x, injected: y }\n- #")]);
    assert_eq!((plan.loki[0].tenant_id.as_deref(), plan.loki[0].tls.insecure_skip_verify), (None, true));
    assert!(matches!(&plan.loki[0].auth, Auth::Bearer(Credential::Inline(token)) if token.expose() == "~"));
}

#[test]
fn anchors_aliases_and_merge_keys_work() {
    let plan = good(
        "
loki: [{ url: http://localhost }]
logs:
  - &base
    name: a
    file: &file { include: /a/*.log, start_at: end }
    labels: { job: a }
  - <<: *base
    name: b
  - <<: [{ name: c, labels: { job: c } }, *base]
  - name: d
    file: { <<: *file, include: /d/*.log }
",
    )
    .plan;
    let of = |i: usize| {
        let settings = &plan.files[i].settings;
        (settings.name.as_str(), settings.include[0].as_str(), settings.labels.encoded(), settings.start_at)
    };
    assert_eq!(of(1), ("b", "/a/*.log", "{job=\"a\"}".to_owned(), StartAt::End));
    assert_eq!(of(2), ("c", "/a/*.log", "{job=\"c\"}".to_owned(), StartAt::End));
    assert_eq!(of(3), ("d", "/d/*.log", "{}".to_owned(), StartAt::End));
}
