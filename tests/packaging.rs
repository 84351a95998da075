//! What packaging/ has for containers, Kubernetes and Ansible: the files are what the other programs read, the configurations in them are taken by the real
//! `lugger check`, and the image runs in a real Docker Engine. Packages and units have tests of their own.

#[path = "support/docker.rs"]
mod docker;
mod support;
#[path = "support/yaml.rs"]
mod yaml;

use docker::docker;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use support::agent::free_port;
use support::loki::{Loki, Options};
use support::wait::wait_until;
use yaml::{document, documents};

const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging");
const START: Duration = Duration::from_secs(60);
const LUGGER: &str = env!("CARGO_BIN_EXE_lugger");

fn read(name: &str) -> String {
    let path = Path::new(PACKAGING).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether this tree's agent has metrics. Where it has, settings of them that are switched off are looked at as well.
fn measures() -> bool {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/agent.example.yaml");
    fs::read_to_string(example).unwrap().contains("remote_write:")
}

#[track_caller]
fn is_taken(text: &str) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.yaml");
    fs::write(&file, text).unwrap();
    let output = Command::new(LUGGER).args(["check", "--elsewhere", "--config"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}\n{text}", said(&output));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Without the `#` of settings that are switched off: of them a key follows at once, or an indentation. Behind that of a comment is one blank.
fn switched_on(text: &str) -> String {
    let is_comment = |rest: &str| rest.is_empty() || rest.starts_with(' ') && !rest.starts_with("  ");
    let on = |line: &str| line.strip_prefix('#').filter(|rest| !is_comment(rest)).unwrap_or(line).to_owned();
    text.lines().map(|line| on(line) + "\n").collect()
}

// --- Compose -------------------------------------------------------------------------------------------------------------------------

#[test]
fn compose_is_whole() {
    let compose = document(&read("compose/compose.yaml"));
    let services = compose["services"].as_object().unwrap();
    assert_eq!(services.keys().collect::<Vec<_>>(), ["grafana", "loki", "lugger", "prometheus"]);
    let mut used = BTreeSet::new();
    for (name, service) in services {
        let image = service["image"].as_str().unwrap();
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no version"));
        assert!(tag != "latest" && tag.contains('.'), "{image}");
        assert_eq!(service["network_mode"], "host", "{name}");
        assert!(service.get("ports").is_none(), "the host's network has no mapped ports");
        for other in service["depends_on"].as_array().into_iter().flatten() {
            assert!(services.contains_key(other.as_str().unwrap()), "{name} depends on {other}");
        }
        let mut targets = BTreeSet::new();
        for volume in service["volumes"].as_array().unwrap() {
            let volume = volume.as_str().unwrap();
            let mut parts = volume.split(':');
            let (from, to) = (parts.next().unwrap(), parts.next().unwrap());
            assert!(to.starts_with('/') && targets.insert(to.to_owned()), "{volume}");
            match from.strip_prefix("./") {
                Some(file) => assert!(Path::new(PACKAGING).join("compose").join(file).is_file(), "{volume}"),
                None if from.starts_with('/') => {
                    let options = parts.next().unwrap_or("");
                    // The Engine's socket is written to, whatever it is mounted as.
                    assert!(options.split(',').any(|option| option == "ro") || from.ends_with(".sock"), "{volume}");
                }
                None => {
                    used.insert(from.to_owned());
                }
            }
        }
    }
    let volumes: BTreeSet<String> = compose["volumes"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(used, volumes);

    let lugger = &services["lugger"];
    assert_eq!(lugger["image"], format!("lugger:{}", env!("CARGO_PKG_VERSION")));
    assert_eq!((&lugger["cap_drop"], &lugger["cap_add"]), (&json!(["ALL"]), &json!(["DAC_READ_SEARCH"])));
    assert_eq!(lugger["read_only"], true);
    let mounts: Vec<&str> = lugger["volumes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for mount in [
        "/var/log:",
        "/run/log:",
        "/var/run/docker.sock:",
        "/proc:/host/proc:ro",
        "/sys:/host/sys:ro",
        "/:/host/root:ro",
    ] {
        assert!(mounts.iter().any(|volume| volume.starts_with(mount)), "{mount}");
    }
}

#[test]
fn the_parts_of_compose_find_each_other() {
    let text = read("compose/agent.yaml");
    is_taken(&text);
    let on = switched_on(&text);
    let whole = document(&on);
    let lugger = document(&text);
    if measures() {
        is_taken(&on);
    }
    let loki = document(&read("compose/loki.yaml"));
    let address = |host: &Value, port: &Value| format!("http://{}:{port}", host.as_str().unwrap());
    let loki = address(&loki["server"]["http_listen_address"], &loki["server"]["http_listen_port"]);
    assert_eq!(lugger["loki"][0]["url"], loki);

    let compose = document(&read("compose/compose.yaml"));
    let command: Vec<&str> =
        compose["services"]["prometheus"]["command"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let listen = command.iter().find_map(|word| word.strip_prefix("--web.listen-address=")).unwrap();
    assert!(command.contains(&"--web.enable-remote-write-receiver"));
    assert_eq!(whole["remote_write"][0]["url"], format!("http://{listen}/api/v1/write"));
    for (key, root) in [("procfs", "/host/proc"), ("sysfs", "/host/sys"), ("rootfs", "/host/root")] {
        assert_eq!(whole["metrics"]["host"][key], root);
    }

    let scrapes = document(&read("compose/prometheus.yaml"));
    let targets = |index: usize| scrapes["scrape_configs"][index]["static_configs"][0]["targets"][0].clone();
    assert_eq!(targets(0), lugger["http"]["listen"]);
    assert_eq!(format!("http://{}", targets(1).as_str().unwrap()), loki);

    let sources = document(&read("compose/datasources.yaml"));
    assert_eq!((&sources["datasources"][0]["type"], &sources["datasources"][0]["url"]), (&json!("loki"), &json!(loki)));
    let prometheus = format!("http://{listen}");
    assert_eq!(sources["datasources"][1]["type"], "prometheus");
    assert_eq!(sources["datasources"][1]["url"], prometheus);
}

// --- Kubernetes ----------------------------------------------------------------------------------------------------------------------

#[test]
fn the_daemon_set() {
    let objects = documents(&read("kubernetes/daemonset.yaml"));
    let kinds: Vec<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Namespace", "ConfigMap", "DaemonSet"]);
    for object in &objects[1..] {
        assert_eq!(object["metadata"]["namespace"], objects[0]["metadata"]["name"]);
    }
    let config = objects[1]["data"]["agent.yaml"].as_str().unwrap();
    is_taken(config);

    let spec = &objects[2]["spec"];
    assert_eq!(spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]);
    let pod = &spec["template"]["spec"];
    let container = &pod["containers"][0];
    let volumes: BTreeSet<&str> =
        pod["volumes"].as_array().unwrap().iter().map(|volume| volume["name"].as_str().unwrap()).collect();
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert_eq!(mounts.iter().map(|mount| mount["name"].as_str().unwrap()).collect::<BTreeSet<_>>(), volumes);
    for mount in mounts {
        assert_eq!(mount["readOnly"] == true, mount["name"] != "state", "{mount}");
    }
    let security = &container["securityContext"];
    assert_eq!(security["capabilities"], json!({ "drop": ["ALL"], "add": ["DAC_READ_SEARCH"] }));
    assert!(security["readOnlyRootFilesystem"] == true && security["allowPrivilegeEscalation"] == false);
    let variable = container["env"][0]["name"].as_str().unwrap();
    assert!(config.contains(&format!("${{{variable}}}")));
    let port = container["ports"][0]["containerPort"].as_u64().unwrap();
    assert!(config.contains(&format!("listen: 0.0.0.0:{port}")));
    // An endpoint that refuses a password must not become a loop of restarts.
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/ready");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/metrics");

    // The labels of a pod's line, by the stages as they are there.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.yaml");
    fs::write(&file, config).unwrap();
    fs::write(directory.path().join("agent.test.yaml"), read("kubernetes/agent.test.yaml")).unwrap();
    let mut test = Command::new(LUGGER);
    let output = test.args(["test", "--config"]).arg(&file).env("NODE_NAME", "node-1").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

// --- Ansible -------------------------------------------------------------------------------------------------------------------------

/// A task's own words; one more is the module.
const TASK: [&str; 14] = [
    "name",
    "when",
    "notify",
    "block",
    "loop",
    "loop_control",
    "register",
    "until",
    "retries",
    "delay",
    "changed_when",
    "no_log",
    "vars",
    "become",
];

fn tasks(value: &Value, into: &mut Vec<Value>) {
    for task in value.as_array().unwrap() {
        into.push(task.clone());
        if let Some(block) = task.get("block") {
            tasks(block, into);
        }
    }
}

#[test]
fn the_ansible_role() {
    let role = |name: &str| read(&format!("ansible/roles/lugger/{name}"));
    let defaults = document(&role("defaults/main.yml"));
    let handlers = document(&role("handlers/main.yml"));
    let mut all = Vec::new();
    tasks(&document(&role("tasks/main.yml")), &mut all);
    let names = |list: &Value| -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let (handled, mut notified) = (names(&handlers), BTreeSet::new());
    all.extend(handlers.as_array().unwrap().iter().cloned());
    for task in &all {
        let task = task.as_object().unwrap();
        assert!(task["name"].as_str().is_some_and(|name| !name.is_empty()));
        let modules: Vec<&String> = task.keys().filter(|key| !TASK.contains(&key.as_str())).collect();
        assert_eq!(modules.len(), usize::from(!task.contains_key("block")), "{task:?}");
        assert!(modules.iter().all(|module| module.starts_with("ansible.builtin.")), "{modules:?}");
        notified.extend(task.get("notify").and_then(Value::as_str).map(str::to_owned));
        for module in modules {
            if let Some(template) = task[module].get("src").filter(|_| module == "ansible.builtin.template") {
                role(&format!("templates/{}", template.as_str().unwrap()));
            }
        }
    }
    assert_eq!(handled, notified);

    // Every variable is in the defaults and in the page, and none is there for nothing.
    let page = read("ansible/README.md");
    let texts =
        ["tasks/main.yml", "handlers/main.yml", "templates/agent.yaml.j2", "templates/environment.j2"].map(role);
    let own = texts.concat();
    let used: BTreeSet<&str> = own
        .split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| word.starts_with("lugger_") && *word != "lugger_health")
        .collect();
    let known: BTreeSet<&str> = defaults.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(used, known);
    for name in known {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }

    // JSON is YAML.
    is_taken(&defaults["lugger_config"].to_string());
    let site = document(&read("ansible/site.yml"));
    is_taken(&site[0]["roles"][0]["vars"]["lugger_config"].to_string());
    // What is checked before it is put in place is checked by a command that there is.
    let validate = all.iter().find_map(|task| task["ansible.builtin.template"]["validate"].as_str()).unwrap();
    let words: Vec<&str> = validate.split(' ').collect();
    assert_eq!(words[..], ["/usr/bin/lugger", "check", "--elsewhere", "--config", "%s"]);
    assert_eq!(document(&role("meta/main.yml"))["galaxy_info"]["role_name"], "lugger");
}

// --- The image -----------------------------------------------------------------------------------------------------------------------

/// Builds the image by `packaging/image`, and one from it that has what this tree's binary needs if it is not a static one.
fn build(tag: &str) -> String {
    let docker = docker();
    let host = format!("unix://{}", docker.socket().display());
    let mut image = Command::new(Path::new(PACKAGING).join("image"));
    image.args(["--binary", LUGGER, "--tag", tag]).env("DOCKER_HOST", &host).env("DOCKER_BUILDKIT", "0");
    let output = image.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains(tag));

    let context = tempfile::tempdir().unwrap();
    let libraries = context.path().join("libraries");
    fs::create_dir(&libraries).unwrap();
    let ldd = Command::new("ldd").arg(LUGGER).output().unwrap();
    for word in String::from_utf8_lossy(&ldd.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        let target = libraries.join(&word[1..]);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(word, target).unwrap();
    }
    fs::write(context.path().join("Dockerfile"), format!("FROM {tag}\nCOPY libraries /\n")).unwrap();
    let runs = format!("{tag}-runs");
    let mut with = Command::new("docker");
    with.args(["--host", &host, "build", "--tag", &runs]).arg(context.path()).env("DOCKER_BUILDKIT", "0");
    let output = with.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    runs
}

fn configuration(directory: &Path, loki: &Loki) -> PathBuf {
    let etc = directory.join("etc");
    fs::create_dir(&etc).unwrap();
    let (url, http) = (loki.url(), free_port());
    let text = format!(
        "loki: [{{ url: '{url}' }}]\nlogs: [{{ name: app, file: {{ include: /logs/*.log }}, labels: {{ job: app }} }}]\nhttp: {{ listen: '{http}' }}\n"
    );
    fs::write(etc.join("agent.yaml"), text).unwrap();
    etc
}

#[test]
fn the_image_runs_as_nobody_and_is_healthy() {
    let runs = build("lugger-image:1");
    let docker = docker();
    let format = "{{json .Config}}";
    let config: Value =
        serde_json::from_str(&docker.do_it(&["image", "inspect", "--format", format, "lugger-image:1"])).unwrap();
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/usr/bin/lugger"]));
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", "/usr/bin/lugger", "health"]));
    assert_eq!(config["Volumes"], json!({ "/var/lib/lugger": {} }));
    // From scratch: the two copies, and nothing below them.
    let layers = docker.do_it(&["image", "inspect", "--format", "{{len .RootFS.Layers}}", "lugger-image:1"]);
    assert_eq!(layers, "2");

    let place = tempfile::tempdir().unwrap();
    // Mounted into a container of another user.
    assert!(Command::new("chmod").arg("755").arg(place.path()).status().unwrap().success());
    let loki = Loki::start_with(Options { keep: true, ..Options::default() });
    let etc = configuration(place.path(), &loki);
    let logs = place.path().join("logs");
    fs::create_dir(&logs).unwrap();
    fs::write(logs.join("app.log"), "from the host\n").unwrap();
    let (etc, logs) = (format!("{}:/etc/lugger:ro", etc.display()), format!("{}:/logs:ro", logs.display()));
    let start = |name: &str, more: &[&str]| {
        let mut words = vec!["run", "--detach", "--name", name, "--network=host", "--read-only", "--cap-drop=ALL"];
        words.extend(["--security-opt=no-new-privileges", "--health-interval=1s", "--volume", &etc, "--volume", &logs]);
        words.extend(more);
        words.push(&runs);
        docker.do_it(&words);
    };
    let health = |name: &str| docker.do_it(&["inspect", "--format", "{{.State.Health.Status}}", name]);
    let status = |name: &str, key: &str| {
        let pid = docker.do_it(&["inspect", "--format", "{{.State.Pid}}", name]);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix(key)).unwrap().split_whitespace().next().unwrap().to_owned()
    };
    start("image-nobody", &[]);
    wait_until("the container is healthy", START, || health("image-nobody") == "healthy");
    loki.wait_for("the line", START, |line| line == "from the host");
    assert_eq!(status("image-nobody", "Uid:"), "65532");
    assert_eq!(status("image-nobody", "CapEff:"), "0000000000000000");
    // It goes on where it was, and what nobody listens to is not healthy.
    docker.do_it(&["restart", "image-nobody"]);
    wait_until("the container is healthy again", START, || health("image-nobody") == "healthy");
    docker.do_it(&["stop", "image-nobody"]);
    let code = docker.do_it(&["inspect", "--format", "{{.State.ExitCode}}", "image-nobody"]);
    assert_eq!(code, "0", "{}", docker.errors(&["logs", "image-nobody"]));
    let alone = docker.try_do(&["run", "--rm", "--network=none", "--volume", &etc, &runs, "health"]);
    assert_eq!(alone.status.code(), Some(1), "{}", said(&alone));
    assert_eq!(loki.lines(), ["from the host"]);
    docker.remove(&["image-nobody"]);

    // As in compose.yaml and the DaemonSet: root with one capability reads what belongs to others, and has the state of the image.
    let secret = place.path().join("logs/secret.log");
    fs::write(&secret, "of somebody else\n").unwrap();
    assert!(Command::new("chown").arg("12345").arg(&secret).status().unwrap().success());
    assert!(Command::new("chmod").arg("600").arg(&secret).status().unwrap().success());
    start("image-root", &["--user=0:0", "--cap-add=DAC_READ_SEARCH"]);
    wait_until("the container is healthy", START, || health("image-root") == "healthy");
    loki.wait_for("the line", START, |line| line == "of somebody else");
    assert_eq!(status("image-root", "CapEff:"), "0000000000000004");
    docker.remove(&["image-root"]);
    loki.assert_no_defects();
}
