//! The native form of each file, and that it runs as the file itself does.

use crate::{FILE, convert, env, job, load};
use lugger::config::{self, Loaded};
use std::fs;
use std::path::{Path, PathBuf};

const FILES: &str = "tests/promtail/files";
const NATIVE: &str = "tests/promtail/native";

/// Names and texts of the Promtail files.
pub fn files() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(FILES).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The name under which reports and relative paths know a file.
fn place(name: &str) -> String {
    format!("{FILES}/{name}.yaml")
}

#[test]
fn every_file_has_exactly_this_native_form_and_report() {
    let files = files();
    assert!(files.len() >= 12, "{}", files.len());
    let mut wrong = Vec::new();
    for (name, text) in &files {
        let converted = config::convert_str(&place(name), text, &env).unwrap_or_else(|report| panic!("{report}"));
        let expected = fs::read_to_string(format!("{NATIVE}/{name}.yaml")).unwrap_or_default();
        let report = fs::read_to_string(format!("{NATIVE}/{name}.report")).unwrap_or_default();
        if converted.yaml != expected || converted.warnings.to_string() != report.trim_end() {
            wrong.push(format!("--- {name}\n{}--- report\n{}", converted.yaml, converted.warnings));
        }
    }
    assert!(wrong.is_empty(), "these have another form now:\n{}", wrong.join("\n"));
}

#[test]
fn the_native_form_runs_as_the_file_itself() {
    for (name, text) in files() {
        let plan = config::load_str(&place(&name), &text, &env).unwrap_or_else(|report| panic!("{report}")).plan;
        let converted = config::convert_str(&place(&name), &text, &env).unwrap();
        let Loaded { plan: native, warnings } = config::load_str("agent.yaml", &converted.yaml, &env)
            .unwrap_or_else(|report| panic!("{name}: {report}\n---\n{}", converted.yaml));
        assert_eq!(format!("{plan:?}"), format!("{native:?}"), "{name}");
        // What is warned of in the native form was warned of before.
        for warning in warnings.problems() {
            let said = converted.warnings.problems().iter().any(|problem| problem.message == warning.message);
            assert!(said, "{name}: {}", warning.message);
        }
    }
}

#[test]
fn labels_of_clients_come_behind_the_stages() {
    let of = |labels: &str, job: &str| {
        convert(&format!(
            "clients: [{{ url: http://loki, external_labels: {labels} }}]\nscrape_configs: [{{ job_name: a, {job} }}]\n"
        ))
        .yaml
    };
    let targets = "static_configs: [{ labels: { site: own, __path__: /x.log } }]";
    let plan = |yaml: &str| config::load_str("a.yaml", yaml, &env).unwrap().plan;
    let yaml = of("{ site: all, host: h }", targets);
    let settings = &plan(&yaml).files[0].settings;
    assert_eq!(settings.labels.encoded(), r#"{site="own"}"#);
    assert_eq!(settings.late_labels.encoded(), r#"{host="h", site="all"}"#);
}

#[test]
fn relabelling_sees_what_prometheus_would() {
    let yaml = |rules: &str| {
        convert(&job(&format!(
            "static_configs: [{{ targets: [one, two], labels: {{ __path__: /x.log, a: '1' }} }}]\nrelabel_configs: {rules}"
        )))
        .yaml
    };
    // One target, although it has two addresses.
    assert_eq!(yaml("[]").matches("include").count(), 1);
    let two = yaml("[{ source_labels: [__address__], target_label: host }]");
    assert_eq!((two.matches("include").count(), two.contains("host: one"), two.contains("host: two")), (2, true, true));
    // Temporary labels and paths from other labels.
    let path = yaml(
        "[{ source_labels: [a], target_label: __tmp_a }, { source_labels: [__tmp_a], replacement: '/${1}/*.log', target_label: __path__ }]",
    );
    assert!(path.contains("include: [/1/*.log]") && !path.contains("tmp"), "{path}");
    for (rules, said) in [
        ("[{ source_labels: [a], regex: '1', action: drop }]", "relabel_configs drops this target"),
        ("[{ regex: __path__, action: labeldrop }]", "has no `__path__`"),
        ("[{ target_label: __host__, replacement: other }]", "is of the host other, and this is myhost"),
    ] {
        let text =
            job(&format!("static_configs: [{{ labels: {{ __path__: /x.log, a: '1' }} }}]\nrelabel_configs: {rules}"));
        let report = load(&text).expect_err(rules).to_string();
        assert!(report.contains(said) && report.contains("nothing is left that this version collects"), "{report}");
    }
}

#[test]
fn values_out_of_range_are_moved_to_the_bound_with_a_warning() {
    let text = "clients: [{ url: http://loki, batchwait: 1ms, batchsize: 10485760, timeout: 1.5h, backoff_config: { max_period: 1d } }]\n";
    let Loaded { plan, warnings } = load(&format!("{text}{FILE}")).unwrap();
    let endpoint = &plan.loki[0];
    let ms = |duration: std::time::Duration| duration.as_millis();
    assert_eq!((ms(endpoint.batch_wait), endpoint.batch_bytes, ms(endpoint.timeout)), (10, 2 << 20, 600_000));
    assert_eq!((ms(endpoint.backoff.0), ms(endpoint.backoff.1)), (500, 3_600_000));
    assert_eq!(warnings.problems().len(), 4, "{warnings}");
}

#[test]
fn clients_on_one_host_have_names_that_do_not_depend_on_their_order() {
    let names = |clients: &str| {
        let plan = load(&format!("clients: [{clients}]\n{FILE}")).unwrap().plan;
        let mut names: Vec<(Option<String>, String)> = plan.loki.into_iter().map(|e| (e.tenant_id, e.name)).collect();
        names.sort();
        names
    };
    let (a, b, c) = (
        "{ url: http://loki, tenant_id: a }",
        "{ url: http://loki, tenant_id: b }",
        "{ url: http://other, tenant_id: c }",
    );
    let some = names(&format!("{a}, {b}, {c}"));
    assert_eq!((some[0].1.as_str(), some[2].1.as_str()), ("loki", "other"));
    assert!(some[1].1.starts_with("loki-") && some[1].1.len() == "loki-".len() + 8, "{some:?}");
    assert_eq!(names(&format!("{c}, {a}, {b}")), some);
    let report = load(&format!("clients: [{a}, {a}, {a}]\n{FILE}")).expect_err("twice the same").to_string();
    assert!(report.contains("two clients are the same"), "{report}");
}

#[test]
fn credentials_get_where_they_belong() {
    let loaded =
        |client: &str| format!("{:?}", load(&format!("clients: [{client}]\n{FILE}")).unwrap().plan.loki[0].auth);
    let basic = "{ url: 'https://h', basic_auth: { username: me, password: hunter2 } }";
    assert_eq!(loaded(basic), loaded("{ url: 'https://me:hunter2@h' }"));
    // As for Go's client, basic_auth has precedence over the URL.
    assert_eq!(loaded(basic), loaded("{ url: 'https://you:x@h', basic_auth: { username: me, password: hunter2 } }"));
    let bearer = "{ url: 'https://h', bearer_token: hunter2 }";
    assert_eq!(loaded(bearer), loaded("{ url: 'https://h', authorization: { credentials: hunter2 } }"));
    assert_eq!(loaded(bearer), loaded("{ url: 'https://h', authorization: { type: bearer, credentials: hunter2 } }"));
    let text = format!("clients: [{{ url: 'https://h', authorization: {{ type: ApiKey, credentials: x }} }}]\n{FILE}");
    let headers = load(&text).unwrap().plan.loki[0].headers.clone();
    assert_eq!(headers, [("Authorization".to_owned(), lugger::base::secret::Secret::new("ApiKey x"))]);
}

#[test]
fn lines_that_are_drawn_for_each_set_of_labels_are_told_of() {
    let of = |stages: &str, second: &str| {
        convert(&format!(
            "clients: [{{ url: 'http://a/loki/api/v1/push', external_labels: {{ env: a }} }}, {{ url: 'http://b/loki/api/v1/push', external_labels: {{ env: {second} }} }}]
scrape_configs: [{{ job_name: j, pipeline_stages: [{stages}], static_configs: [{{ labels: {{ __path__: /x }} }}] }}]"
        ))
        .yaml
    };
    let told = "# `sampling` and `limit` choose anew here";
    let nested = "{ match: { selector: '{a=\"b\"}', stages: [{ sampling: { rate: 0.5 } }] } }";
    assert!(of("{ sampling: { rate: 0.5 } }", "b").contains(told), "{}", of("{ sampling: { rate: 0.5 } }", "b"));
    assert!(of("{ limit: { rate: 1, burst: 1, drop: true } }", "b").contains(told));
    assert!(of(nested, "b").contains(told));
    assert!(!of("{ decolorize: {} }", "b").contains(told));
    assert!(!of("{ sampling: { rate: 0.5 } }", "a").contains(told));
}

/// A job of the journal keeps its rules, which see each entry.
#[test]
fn jobs_of_the_journal() {
    let text = "clients: [{ url: \"http://127.0.0.1:3100/loki/api/v1/push\" }]
scrape_configs:
  - job_name: journal
    journal: { max_age: 12h30m, json: true, path: /var/log/journal, matches: \"_TRANSPORT=kernel PRIORITY=3\", labels: { job: j } }
    relabel_configs: [{ source_labels: [__journal__systemd_unit], target_label: unit }]
    pipeline_stages: [{ json: { expressions: { m: MESSAGE } } }]
";
    let loaded = crate::load(text).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let settings = &loaded.plan.journals[0].settings;
    assert_eq!((settings.name.as_str(), settings.json), ("journal", true));
    assert_eq!(settings.max_age, std::time::Duration::from_secs(45_000));
    let matches: Vec<String> = settings.matches[0].iter().map(|m| format!("{}={}", m.field, m.value)).collect();
    assert_eq!(matches, ["_TRANSPORT=kernel", "PRIORITY=3"]);
    assert_eq!(settings.labels.encoded(), "{job=\"j\"}");
    assert_eq!((settings.relabel.len(), settings.stages.len()), (1, 1));
    assert_eq!(settings.path.as_deref(), Some(std::path::Path::new("/var/log/journal")));
}

/// Jobs of containers keep their rules; each place where Docker listens is an entry.
#[test]
fn jobs_of_containers() {
    let text = "clients: [{ url: \"http://127.0.0.1:3100/loki/api/v1/push\" }]
scrape_configs:
  - job_name: docker
    docker_sd_configs:
      - { host: 'unix:///nowhere/a.sock', refresh_interval: 5s, filters: [{ name: label, values: [\"logging=promtail\"] }, { name: status, values: [running] }] }
      - { host: 'unix:///nowhere/b.sock', match_first_network: false }
    relabel_configs: [{ source_labels: [__meta_docker_container_name], regex: '/(.*)', target_label: container }]
    pipeline_stages: [{ json: { expressions: { level: } } }]
";
    let loaded = crate::load(text).unwrap();
    let report = loaded.warnings.to_string();
    let [a, b] = &loaded.plan.dockers[..] else { panic!("{report}") };
    assert_eq!(a.settings.host.to_string(), "unix:///nowhere/a.sock");
    assert_eq!(b.settings.host.to_string(), "unix:///nowhere/b.sock");
    assert!(a.settings.name.starts_with("docker-") && a.settings.name != b.settings.name, "{}", a.settings.name);
    assert_eq!((a.settings.filters.len(), a.settings.filters[0].values[0].as_str()), (1, "logging=promtail"));
    assert_eq!(a.settings.refresh, std::time::Duration::from_secs(5));
    assert_eq!((a.settings.relabel.as_ref().unwrap().len(), a.settings.stages.len()), (1, 1));
    assert!(report.contains("the filter by status has no effect"), "{report}");
}

/// Where lines come from stdin, nothing else is read: they have labels and stages of the first job.
#[test]
fn stdin_in_the_place_of_all_jobs() {
    let jobs = "scrape_configs:
  - job_name: first
    static_configs: [{ targets: [localhost], labels: { job: x, __path__: /x.log } }, { labels: { job: y, env: p } }]
    pipeline_stages: [{ decolorize: }, { static_labels: { a: b } }]
    relabel_configs: [{ target_label: env, replacement: q }]
  - { job_name: second, static_configs: [{ labels: { __path__: /x.log } }] }
";
    let text = |jobs: &str, client: &str| {
        format!(
            "clients: [{{ url: http://a{client} }}]\ntarget_config: {{ stdin: true }}\npositions: {{ filename: /nowhere/p.yaml }}\n{jobs}"
        )
    };
    let Loaded { plan, warnings } = load(&text(jobs, "")).unwrap();
    let native = config::load_str("a.yaml", &convert(&text(jobs, "")).yaml, &env).unwrap().plan;
    assert_eq!(format!("{plan:?}"), format!("{native:?}"));
    let [stdin] = &plan.receivers[..] else { panic!("{plan:?}") };
    assert_eq!((plan.files.len(), plan.imports.len(), stdin.settings.name.as_str()), (0, 0, "first"));
    assert_eq!((stdin.records.labels.encoded().as_str(), stdin.records.stages.len()), (r#"{env="p", job="y"}"#, 2));
    let said = warnings.to_string();
    assert!(
        said.contains("promtail.yaml:2:18: warning: with `stdin` all jobs but the first are passed over"),
        "{said}"
    );
    // Without a job they have labels all the same.
    let alone = load(&text("", "")).unwrap();
    let own = r#"{hostname="myhost", job="stdin"}"#;
    assert_eq!((alone.plan.receivers[0].records.labels.encoded().as_str(), alone.warnings.is_empty()), (own, true));
    let several =
        load(&text(jobs, ", external_labels: { a: b } }, { url: http://b")).expect_err("two sets").to_string();
    assert!(several.contains("stdin goes to clients with different external_labels"), "{several}");
}
