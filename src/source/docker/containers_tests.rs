//! Whose logs are whose, by what Docker keeps in a directory of the test's and what its API would say.

use super::super::settings::{ApiLogs, Filter, Host, Property};
use super::*;
use crate::model::labels::LabelCaps;
use crate::pipeline::relabel;
use crate::source::file::settings::StartAt;
use serde_json::{Value, json};
use std::path::PathBuf;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct Docker {
    dir: tempfile::TempDir,
    registry: Registry,
    relabel: Option<Vec<relabel::Settings>>,
    filters: Vec<Filter>,
    keep: Vec<String>,
}

impl Docker {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Docker { dir, registry: Registry::default(), relabel: None, filters: Vec::new(), keep: Vec::new() }
    }

    fn rule(mut self, source: &str, target: &str) -> Self {
        let rule = relabel::Settings {
            source_labels: vec![source.into()],
            target_label: target.into(),
            ..relabel::Settings::default()
        };
        self.relabel.get_or_insert_default().push(rule);
        self
    }

    fn settings(&self) -> Settings {
        Settings {
            name: "docker".into(),
            host: Host::Unix("/nowhere".into()),
            containers: self.dir.path().to_owned(),
            is_guess: false,
            filters: self.filters.clone(),
            start_at: StartAt::Beginning,
            keep_labels: self.keep.clone(),
            refresh: Duration::from_secs(60),
            imported: vec![(ID.into(), 1_700_000_000)],
            api_logs: ApiLogs::Taken,
            own_container: true,
            relabel: self.relabel.clone(),
            labels: Labels::new([("job", "docker")]).unwrap(),
            outer_labels: Labels::new([("site", "s")]).unwrap(),
            late_labels: Labels::default(),
            label_caps: LabelCaps::default(),
            line_bytes: 1 << 18,
            rate: None,
            stages: Vec::new(),
        }
    }

    fn containers(&self, before: Option<&Containers>) -> Arc<Containers> {
        let status = Status::new(&self.registry, "docker");
        Containers::new(self.settings(), (status, None), &self.registry, Wake::new().unwrap(), before).unwrap()
    }

    fn main(started: bool) -> Value {
        json!({
            "ID": ID, "Name": "/shop-web-1",
            "Config": { "Labels": { "com.docker.compose.service": "web", "com.docker.compose.project": "shop", "a/b": "c" } },
            "State": { "StartedAt": if started { "2026-01-01T00:00:00Z" } else { "0001-01-01T00:00:00Z" } },
            "NetworkSettings": { "Networks": { "bridge": { "NetworkID": "n", "IPAddress": if started { "10.0.0.2" } else { "" } } } }
        })
    }

    /// Docker makes the container.
    fn make(&self, started: bool) {
        std::fs::create_dir_all(self.dir.path().join(ID)).unwrap();
        std::fs::write(self.dir.path().join(ID).join("config.v2.json"), Docker::main(started).to_string()).unwrap();
        std::fs::write(self.dir.path().join(ID).join("hostconfig.json"), r#"{"NetworkMode":"default"}"#).unwrap();
    }

    fn remove(&self) {
        std::fs::remove_dir_all(self.dir.path().join(ID)).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(ID).join(format!("{ID}-json.log"))
    }
}

#[track_caller]
fn labels(owner: Owner) -> Vec<String> {
    let Owner::Known(own) = owner else { panic!("{owner:?}") };
    let text = |labels: Option<&Labels>| labels.map_or("none".to_owned(), Labels::encoded);
    let marked = own.marked.as_ref().map(|marked| text(marked.labels.as_ref()));
    std::iter::once(text(own.usual.as_ref())).chain(marked).collect()
}

#[test]
fn the_usual_labels_are_there_at_once_and_stay_when_the_container_is_gone() {
    let docker = Docker { keep: vec!["a/b".into(), "none".into()], ..Docker::new() };
    let containers = docker.containers(None);
    docker.make(false);
    let want =
        [r#"{a_b="c", compose_project="shop", compose_service="web", container="shop-web-1", job="docker", site="s"}"#];
    assert_eq!(labels(containers.of(&docker.path())), want);
    docker.remove();
    assert_eq!(labels(containers.of(&docker.path())), want);
    let Owner::Known(own) = containers.of(&docker.path()) else { panic!() };
    assert_eq!(
        own.not_before.as_ref().map(|bound| bound.time.as_str()),
        Some("2023-11-14T22:13:20"),
        "what another agent has read"
    );
    assert_eq!(labels(docker.containers(Some(&containers)).of(&docker.path())), want, "after a reload, too");
}

#[test]
fn each_stream_has_what_rules_make_of_it() {
    let docker =
        Docker::new().rule("__meta_docker_container_name", "name").rule("__meta_docker_container_log_stream", "stream");
    docker.make(false);
    let containers = docker.containers(None);
    let want = ["stdout", "stderr"]
        .map(|stream| format!(r#"{{job="docker", name="/shop-web-1", site="s", stream="{stream}"}}"#));
    assert_eq!(labels(containers.of(&docker.path())), want);
    let mut docker = Docker::new().rule("__meta_docker_container_log_stream", "stream");
    docker.relabel.as_mut().unwrap().push(relabel::Settings {
        action: relabel::Action::Keep,
        source_labels: vec!["stream".into()],
        regex: Some("stderr".into()),
        ..relabel::Settings::default()
    });
    docker.make(false);
    let kept = labels(docker.containers(None).of(&docker.path()));
    assert_eq!(kept, ["none", r#"{job="docker", site="s", stream="stderr"}"#]);
}

#[test]
fn networks_are_waited_for() {
    let docker = Docker::new().rule("__meta_docker_network_ip", "ip").rule("__meta_docker_network_scope", "scope");
    let containers = docker.containers(None);
    assert!(containers.wants_details());
    docker.make(false);
    assert!(matches!(containers.of(&docker.path()), Owner::Awaited(_)));
    // The files say that it runs, but not all that rules want.
    docker.make(true);
    assert!(matches!(containers.of(&docker.path()), Owner::Awaited(_)));
    assert!(!containers.is_described(ID));
    containers.set_networks(super::super::description::networks(&json!([{ "Id": "n", "Scope": "local" }])));
    let mut inspected = Docker::main(true);
    inspected["Id"] = ID.into();
    assert!(containers.describe(Description::of(&inspected, None).unwrap()));
    assert!(containers.is_described(ID));
    assert_eq!(labels(containers.of(&docker.path())), [r#"{ip="10.0.0.2", job="docker", scope="local", site="s"}"#]);

    let docker = Docker::new().rule("__meta_docker_network_ip", "ip");
    docker.make(false);
    let containers = docker.containers(None);
    assert!(matches!(containers.of(&docker.path()), Owner::Awaited(_)));
    docker.make(true);
    assert_eq!(labels(containers.of(&docker.path())), [r#"{ip="10.0.0.2", job="docker", site="s"}"#]);
}

#[test]
fn nobody_is_waited_for_for_ever() {
    let docker = Docker::new().rule("__meta_docker_network_scope", "scope");
    docker.make(true);
    let containers = docker.containers(None);
    let Owner::Awaited(deadline) = containers.of(&docker.path()) else { panic!() };
    // Docker may not have been started yet.
    let later = containers.owner(&mut containers.lock(), ID, deadline);
    assert!(matches!(later, Owner::Awaited(at) if at > deadline), "{later:?}");
    let late = deadline + Duration::from_millis(DOCKER_DETAILS_MS);
    let later = containers.owner(&mut containers.lock(), ID, late);
    assert_eq!(labels(later), [r#"{job="docker", site="s"}"#]);
    assert!(containers.status().problems()[0].contains("not all that the rules or filters look at is known"));
    let containers = docker.containers(None);
    containers.status().works();
    let Owner::Awaited(deadline) = containers.of(&docker.path()) else { panic!() };
    let later = containers.owner(&mut containers.lock(), ID, deadline);
    assert_eq!(labels(later), [r#"{job="docker", site="s"}"#], "it runs, and tells nothing");

    // Without any word of it the id has to do.
    let docker = Docker::new();
    let containers = docker.containers(None);
    let Owner::Awaited(deadline) = containers.of(&docker.path()) else { panic!() };
    let later = containers.owner(&mut containers.lock(), ID, deadline);
    assert_eq!(labels(later), [r#"{container="0123456789ab", job="docker", site="s"}"#]);
    assert!(containers.status().problems()[0].contains("its name and labels are not known"));
}

#[test]
fn what_filters_and_rules_leave_out_is_unwanted() {
    let filters = vec![Filter { property: Property::Name, values: vec!["db".into()] }];
    let docker = Docker { filters, ..Docker::new().rule("__meta_docker_network_ip", "ip") };
    docker.make(false);
    assert!(matches!(docker.containers(None).of(&docker.path()), Owner::Unwanted), "without waiting");
    let docker = Docker::new();
    docker.make(false);
    let containers = docker.containers(None);
    for path in ["/x/y-json.log", "/x", "/", "/x/x.log"] {
        assert!(matches!(containers.of(Path::new(path)), Owner::Unwanted), "{path}");
    }
    let own = Containers { own: Some(ID.into()), ..Arc::try_unwrap(docker.containers(None)).unwrap() };
    assert!(matches!(own.of(&docker.path()), Owner::Unwanted), "the agent's own");
}

#[test]
fn what_is_gone_is_forgotten() {
    let docker = Docker::new();
    docker.make(false);
    let containers = docker.containers(None);
    containers.of(&docker.path());
    containers.listed(&[ID.to_owned()].into());
    assert_eq!((containers.lock().known.len(), containers.status().containers.get()), (1, 1.0));
    if let Some(long_ago) = Instant::now().checked_sub(Duration::from_millis(DOCKER_GONE_MS)) {
        containers.lock().known.values_mut().for_each(|known| known.used = long_ago);
        containers.listed(&HashSet::new());
        assert_eq!(containers.lock().known.len(), 0);
    }
}

fn described(id: &str, name: &str, started: bool) -> Description {
    let mut main = Docker::main(started);
    main["ID"] = id.into();
    main["Name"] = name.into();
    Description::of(&main, None).unwrap()
}

#[test]
fn a_network_is_not_judged_before_it_is_known() {
    let filters = vec![Filter { property: Property::Network, values: vec!["n".into()] }];
    let docker = Docker { filters, ..Docker::new() };
    docker.make(false);
    // Its network has no id yet.
    let path = docker.dir.path().join(ID).join("config.v2.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"NetworkID\":\"n\"", "\"NetworkID\":\"\"")).unwrap();
    let containers = docker.containers(None);
    assert!(matches!(containers.of(&docker.path()), Owner::Awaited(_)));
    docker.make(true);
    assert!(matches!(containers.of(&docker.path()), Owner::Known(_)));
}

#[test]
fn what_was_not_wanted_may_come_to_be() {
    let filters = vec![Filter { property: Property::Name, values: vec!["^/new".into()] }];
    let docker = Docker { filters, ..Docker::new() };
    docker.make(true);
    let containers = docker.containers(None);
    assert!(matches!(containers.of(&docker.path()), Owner::Unwanted));
    assert!(!containers.describe(described(ID, "/other", true)));
    assert!(matches!(containers.of(&docker.path()), Owner::Unwanted));
    assert!(containers.describe(described(ID, "/new", true)));
    assert!(labels(containers.of(&docker.path()))[0].contains("container=\"new\""));
    // And then it stays.
    containers.describe(described(ID, "/other", true));
    assert!(labels(containers.of(&docker.path()))[0].contains("container=\"new\""));
}

#[test]
fn other_rules_want_to_know_more() {
    let mut docker = Docker::new();
    docker.make(false);
    let before = docker.containers(None);
    before.describe(described(ID, "/shop", false));
    assert!(before.is_described(ID) && matches!(before.of(&docker.path()), Owner::Known(_)));
    docker = docker.rule("__meta_docker_network_ip", "ip");
    let after = docker.containers(Some(&before));
    assert!(!after.is_described(ID), "it had not started then");
    assert!(matches!(after.of(&docker.path()), Owner::Awaited(_)));
    after.describe(described(ID, "/shop", true));
    assert_eq!(labels(after.of(&docker.path())), [r#"{ip="10.0.0.2", job="docker", site="s"}"#]);
    docker = docker.rule("__meta_docker_network_scope", "scope");
    assert!(!docker.containers(Some(&after)).is_described(ID), "the API was not asked for networks");
}
