//! `docker` of `logs`: its options, their defaults, and what is said of mistakes.

use crate::{good, load};
use lugger::source::docker::settings::{Host, Property, Settings};
use lugger::source::file::settings::StartAt;
use std::path::Path;
use std::time::Duration;

fn text(entry: &str) -> String {
    format!("labels: {{ site: s, job: g }}\nloki: [{{ url: \"http://127.0.0.1:3100\" }}]\nlogs: [{{ {entry} }}]\n")
}

fn settings(entry: &str) -> Settings {
    good(&text(entry)).plan.dockers.remove(0).settings
}

#[test]
fn defaults() {
    let settings = settings("docker: {}");
    assert_eq!(settings.name, "docker");
    assert_eq!(settings.host, Host::Unix("/var/run/docker.sock".into()));
    assert!(settings.containers.ends_with("containers"));
    assert_eq!(settings.start_at, StartAt::Beginning);
    assert!(settings.filters.is_empty() && settings.keep_labels.is_empty() && settings.relabel.is_none());
    assert!(!settings.own_container);
    assert_eq!(settings.refresh, Duration::from_secs(60));
    assert_eq!(settings.outer_labels.encoded(), r#"{job="g", site="s"}"#);
}

#[test]
fn what_is_written() {
    let written = settings(
        "name: x, docker: { host: 'tcp://127.0.0.1:2375', containers: /srv/c/, start_at: end, refresh_interval: 5s, own_container: true, \
         filters: [{ name: label, values: [a=b, c] }, { name: ancestor, values: img }] }, labels: { job: own, site: \"\" }, \
         relabel_configs: [{ source_labels: [__meta_docker_container_name], target_label: name }], stages: [{ json: { expressions: { a: } } }]",
    );
    assert_eq!(written.host, Host::Tcp("127.0.0.1:2375".into()));
    assert_eq!(written.containers, Path::new("/srv/c"));
    let filters: Vec<(Property, &[String])> = written.filters.iter().map(|f| (f.property, &*f.values)).collect();
    assert_eq!(
        filters,
        [(Property::Label, &["a=b".to_owned(), "c".into()][..]), (Property::Ancestor, &["img".into()])]
    );
    assert_eq!(
        (written.start_at, written.refresh, written.own_container),
        (StartAt::End, Duration::from_secs(5), true)
    );
    assert_eq!((written.labels.encoded().as_str(), written.outer_labels.encoded().as_str()), (r#"{job="own"}"#, "{}"));
    assert_eq!((written.relabel.map(|rules| rules.len()), written.stages.len()), (Some(1), 1));
    for host in ["unix:///x/docker.sock", "/x/docker.sock"] {
        assert_eq!(settings(&format!("docker: {{ host: '{host}' }}")).host, Host::Unix("/x/docker.sock".into()));
    }
    assert_eq!(settings("docker: { keep_labels: team }").keep_labels, ["team"]);
}

#[test]
fn mistakes() {
    for (entry, expected) in [
        ("docker: { hosts: a }", "unknown key \"hosts\""),
        ("docker: { host: docker.sock }", "\"docker.sock\" is no place where Docker listens"),
        ("docker: { host: 'unix://docker.sock' }", "the path \"docker.sock\" is not absolute"),
        ("docker: { host: 'tcp://nohost' }", "is no place where Docker listens"),
        ("docker: { host: 'https://h:2376' }", "lugger does not speak to Docker by TLS"),
        ("docker: { containers: c }", "the path \"c\" is not absolute"),
        ("docker: { filters: [{ values: [a] }] }", "this filter has no `name`"),
        ("docker: { filters: [{ name: label }] }", "this filter has no `values`"),
        ("docker: { filters: [{ name: lable, values: [a] }] }", "did you mean"),
        ("docker: { filters: [{ name: status, values: [running] }] }", "there is no filter by status"),
        ("docker: { filters: [{ name: name, values: ['('] }] }", "regular expression"),
        ("docker: { filters: [{ label: a }] }", "unknown key \"label\""),
        ("docker: { refresh_interval: 1ms }", "1ms is out of range"),
        (
            "docker: { keep_labels: [a] }, relabel_configs: [{ action: labelmap, regex: x }]",
            "`keep_labels` is for entries without",
        ),
        ("docker: {}, journal: {}", "this entry of `logs` has two sources"),
        ("docker: {}, file: { include: /x }", "this entry of `logs` has two sources"),
        ("docker: {}, relabel_configs: [{ action: dance }]", "\"dance\" is no action"),
    ] {
        let report = load(&text(entry)).expect_err(entry).to_string();
        assert!(report.contains(expected), "{entry}: {report}");
    }
}

#[test]
fn what_cannot_be_used_on_this_host_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, containers) = (dir.path().join("docker.sock"), dir.path().join("containers"));
    let entry = format!("docker: {{ host: {}, containers: {} }}", socket.display(), containers.display());
    let warnings = || load(&text(&entry)).unwrap().warnings.to_string();
    assert!(warnings().contains("docker.sock is not there"), "{}", warnings());
    std::fs::create_dir(&containers).unwrap();
    assert_eq!(warnings(), "", "logs can be read");
}

#[test]
fn what_would_go_out_twice_is_said() {
    let twice = |docker: &str| {
        let yaml = text(&format!("docker: {docker} }}, {{ journal: {{}}"));
        let loaded = load(&yaml);
        format!("{loaded:?}").contains("go out twice")
    };
    assert!(twice("{ host: 'unix:///run/podman/podman.sock' }"));
    assert!(!twice("{ host: 'unix:///run/podman/podman.sock', api_logs: false }"));
    assert!(!twice("{ host: 'unix:///nowhere/docker.sock' }"));
}
