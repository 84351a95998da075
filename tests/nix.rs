//! What nix/ makes of a configuration of NixOS. The module is evaluated by Nix against small stand-ins for nixpkgs (tests/nix); what it renders is given
//! to the real `lugger check`. Needs the package nix-bin; without it tests fail.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Nix with directories of its own: nothing of the host is read or written.
fn nix(arguments: &[&str]) -> Output {
    static PLACE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let place = PLACE.get_or_init(|| {
        let place = tempfile::tempdir().unwrap();
        // The first one makes the store; two at once would be in each other's way.
        let made = nix_in(place.path(), &["--eval", "--expr", "1"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        place
    });
    nix_in(place.path(), arguments)
}

fn nix_in(place: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("nix-instantiate");
    for (name, directory) in [
        ("HOME", "home"),
        ("NIX_STORE_DIR", "store"),
        ("NIX_STATE_DIR", "state"),
        ("NIX_LOG_DIR", "log"),
        ("NIX_CONF_DIR", "conf"),
    ] {
        command.env(name, place.join(directory));
    }
    command.env("NIX_REMOTE", "").env_remove("NIX_PATH").arg("--readonly-mode").args(arguments).current_dir(ROOT);
    command.output().expect("nix-instantiate is missing: install nix-bin")
}

fn try_case(case: &str) -> Result<Value, String> {
    let output = nix(&["--eval", "--strict", "--json", "tests/nix/eval.nix", "--argstr", "case", case]);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

#[track_caller]
fn case(name: &str) -> Value {
    try_case(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn check(file: &Path, options: &[&str]) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_lugger")).arg("check").args(options).arg("--config").arg(file).output();
    let output = output.unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn every_file_is_nix() {
    let mut files: Vec<PathBuf> = vec![Path::new(ROOT).join("flake.nix")];
    for directory in ["nix", "tests/nix"] {
        let found = std::fs::read_dir(Path::new(ROOT).join(directory)).unwrap().map(|entry| entry.unwrap().path());
        files.extend(found.filter(|path| path.extension().is_some_and(|extension| extension == "nix")));
    }
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        let output = nix(&["--parse", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_module_does_nothing_until_it_is_enabled() {
    assert_eq!(case("disabled"), serde_json::json!({ "messages": [], "warnings": [] }));
}

#[test]
fn a_whole_configuration() {
    let whole = case("whole");
    assert_eq!(whole["messages"], serde_json::json!([]));
    assert_eq!(whole["warnings"], serde_json::json!([]));

    // Settings of both modules, by their priorities; nothing that nobody set.
    let rendered = &whole["source"]["value"];
    assert_eq!(rendered["labels"], serde_json::json!({ "host": "${HOSTNAME}", "site": "home" }));
    assert_eq!(rendered["limits"]["memory"], "96MiB");
    assert_eq!(rendered["logs"].as_array().unwrap().len(), 7);
    let keys: Vec<&String> = rendered.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["import_positions", "labels", "limits", "logs", "loki"]);

    let unit = &whole["unit"];
    assert_eq!(texts(&unit["wantedBy"]), ["multi-user.target"]);
    assert_eq!(texts(&unit["after"]), ["network.target", "promtail.service"]);
    assert_eq!(texts(&unit["conflicts"]), ["promtail.service"]);
    assert_eq!(unit["stopIfChanged"], false);
    let service = &unit["serviceConfig"];
    let start = service["ExecStart"].as_str().unwrap();
    let (program, rest) = start.split_once(' ').unwrap();
    assert!(program.ends_with("-lugger/bin/lugger\""), "{start}");
    // What means something to systemd is quoted.
    assert_eq!(rest, r#""run" "--config" "/etc/lugger/agent.yaml" "--log-level=debug" "--log-format=100%% $$plain""#);
    // What is wrong with a new configuration is said before the agent is told of it.
    let reload = texts(&service["ExecReload"]);
    assert!(reload[0].ends_with(r#"bin/lugger" "check" "--config" "/etc/lugger/agent.yaml""#), "{reload:?}");
    assert!(reload.len() == 2 && reload[1].ends_with("/bin/kill -HUP $MAINPID"), "{reload:?}");
    assert_eq!((service["Type"].as_str(), service["Restart"].as_str()), (Some("notify"), Some("on-failure")));
    assert_eq!((service["User"].as_str(), service["Group"].as_str()), (Some("lugger"), Some("lugger")));
    assert_eq!(texts(&service["SupplementaryGroups"]), ["systemd-journal", "docker", "nginx"]);
    assert_eq!(
        texts(&service["LoadCredential"]),
        ["loki:/run/secrets/loki-password", "syslog-key:/run/secrets/syslog.key"]
    );
    assert_eq!(service["EnvironmentFile"], "/run/secrets/lugger.env");
    assert_eq!(service["StateDirectory"], "lugger");

    // Positions become readable, as root, where they are.
    let prepare = texts(&service["ExecStartPre"]);
    assert_eq!(prepare.len(), 1);
    assert!(prepare[0].starts_with("+/bin/sh -c \"") && prepare[0].contains("chgrp lugger"), "{}", prepare[0]);

    // Loopback stays closed, and so does the status page.
    assert_eq!(whole["firewall"], serde_json::json!({ "allowedTCPPorts": [6514], "allowedUDPPorts": [1514, 12201] }));
    assert_eq!(whole["users"]["users"]["lugger"]["isSystemUser"], true);
    assert_eq!(whole["users"]["users"]["lugger"]["group"], "lugger");
    assert!(whole["users"]["groups"].get("lugger").is_some());
    assert_eq!(texts(&whole["packages"]), ["lugger"]);
}

/// What systemd makes of the quoted command: `%%`, `$$` and backslashes are undone.
#[test]
fn positions_are_made_readable_and_keep_their_time() {
    let whole = case("whole");
    let line = whole["unit"]["serviceConfig"]["ExecStartPre"][0].as_str().unwrap().to_owned();
    let quoted = line.strip_prefix("+/bin/sh -c ").unwrap();
    let script: String = serde_json::from_str(quoted).unwrap();
    let script = script.replace("%%", "%").replace("$$", "$");
    let directory = tempfile::tempdir().unwrap();
    let positions = directory.path().join("it's.yaml");
    let bin = directory.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    // The group need not be on this host.
    let chgrp = "#!/bin/sh\n[ \"$1\" = lugger ] && [ -e \"$2\" ] && echo \"$2\" >>\"${0%/*}/changed\"\n";
    std::fs::write(bin.join("chgrp"), chgrp).unwrap();
    std::os::unix::fs::symlink("/bin/chmod", bin.join("chmod")).unwrap();
    assert!(Command::new("chmod").arg("755").arg(bin.join("chgrp")).status().unwrap().success());
    let quoted = |path: &Path| path.to_str().unwrap().replace('\'', "'\\''");
    let script = script.replace("/var/cache/promtail/it'\\''s.yaml", &quoted(&positions));
    let start = script.find("{ ").unwrap() + 2;
    let store = script[start..].split("/bin/chgrp").next().unwrap().to_owned();
    let script = script.replace(&format!("{store}/bin"), bin.to_str().unwrap());
    let run = || Command::new("/bin/sh").args(["-c", &script]).status().unwrap().success();
    assert!(run(), "positions that are not there are none: {script}");
    std::fs::write(&positions, "positions: {}\n").unwrap();
    let written = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let file = std::fs::File::options().write(true).open(&positions).unwrap();
    file.set_modified(written).unwrap();
    assert!(Command::new("chmod").arg("600").arg(&positions).status().unwrap().success());
    assert!(run(), "{script}");
    assert_eq!(std::fs::read_to_string(bin.join("changed")).unwrap().trim(), positions.to_str().unwrap());
    let metadata = file.metadata().unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&metadata) & 0o777, 0o640);
    assert_eq!(metadata.modified().unwrap(), written);
}

#[test]
fn hardening() {
    let unit = case("files")["unit"]["serviceConfig"].clone();
    for key in [
        "LockPersonality",
        "MemoryDenyWriteExecute",
        "NoNewPrivileges",
        "PrivateDevices",
        "PrivateMounts",
        "PrivateTmp",
        "PrivateUsers",
        "ProtectClock",
        "ProtectControlGroups",
        "ProtectHome",
        "ProtectHostname",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "RemoveIPC",
        "RestrictNamespaces",
        "RestrictRealtime",
        "RestrictSUIDSGID",
    ] {
        assert_eq!(unit[key], true, "{key}");
    }
    assert_eq!(unit["ProtectSystem"], "strict");
    assert_eq!(unit["ProtectProc"], "invisible");
    assert_eq!((unit["CapabilityBoundingSet"].as_str(), unit["AmbientCapabilities"].as_str()), (Some(""), Some("")));
    assert_eq!(unit["SystemCallArchitectures"], "native");
    assert_eq!(texts(&unit["SystemCallFilter"]), ["@system-service", "~@privileged @resources"]);
    assert_eq!((unit["UMask"].as_str(), unit["StateDirectoryMode"].as_str()), (Some("0077"), Some("0700")));
    assert_eq!((unit["DevicePolicy"].as_str(), unit["MemoryMax"].as_str()), (Some("closed"), Some("512M")));
    assert_eq!(texts(&unit["RestrictAddressFamilies"]), ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"]);
    // Who reads files alone is in no group.
    assert_eq!(unit["SupplementaryGroups"], serde_json::json!([]));
    assert!(unit.get("LoadCredential").is_none() && unit.get("ExecStartPre").is_none());

    // A port below 1024 takes a capability, and that the user namespace of the host.
    let low = case("low-port");
    let unit = &low["unit"]["serviceConfig"];
    assert_eq!(unit["AmbientCapabilities"], "CAP_NET_BIND_SERVICE");
    assert_eq!(
        (&unit["CapabilityBoundingSet"], &unit["PrivateUsers"]),
        (&"CAP_NET_BIND_SERVICE".into(), &false.into())
    );
    assert_eq!(low["firewall"]["allowedUDPPorts"], serde_json::json!([514]));

    let unit = case("host-metrics")["unit"]["serviceConfig"].clone();
    assert_eq!((unit["ProtectHome"].as_str(), unit["ProtectProc"].as_str()), (Some("read-only"), Some("default")));
    assert!(unit["ProtectClock"] == false && texts(&unit["SystemCallFilter"]).contains(&"adjtimex clock_adjtime"));
}

#[test]
fn what_is_wrong_is_said_with_its_remedy() {
    for (name, parts) in [
        (
            "nothing",
            &["exactly one of `settings`, `configFile` and `promtailConfig`", "none is set", "settings = {"][..],
        ),
        ("both", &["exactly one of", "2 are set"]),
        ("promtail-runs", &["sent twice", "services.promtail.enable = false"]),
        ("docker-refused", &["services.lugger.dockerAccess = true", "become root"]),
        ("no-listener", &["openFirewall", "services.lugger.firewallPorts"]),
        ("state-elsewhere", &["state_dir", "/var/lib/lugger"]),
        ("stdin", &["stdin"]),
        ("credential-name", &["services.lugger.credentials", "a:b"]),
        ("credential-in-store", &["services.lugger.credentials", "outside the Nix store"]),
    ] {
        let refused = case(name);
        let messages = texts(&refused["messages"]);
        assert_eq!(messages.len(), 1, "{name}: {messages:?}");
        for part in parts {
            assert!(messages[0].contains(part), "{name}: {part:?} is not in {:?}", messages[0]);
        }
    }
    for name in ["beside-promtail", "docker-remote", "docker-podman", "files", "checked", "secret-file"] {
        assert_eq!(case(name)["messages"], serde_json::json!([]), "{name}");
    }
    let warnings = case("literal-secret")["warnings"].clone();
    assert!(warnings[0].as_str().unwrap().contains("password_file"), "{warnings}");
    for (name, words) in
        [("unknown-option", "services.lugger.setings"), ("wrong-type", "services.lugger.settings.logs")]
    {
        let error = try_case(name).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

/// YAML is a superset of JSON, so that what would be rendered can be written down as it is.
#[test]
fn what_is_rendered_is_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["whole", "files", "low-port", "promtail-tree"] {
        let file = directory.path().join(format!("{name}.yaml"));
        std::fs::write(&file, case(name)["source"]["value"].to_string()).unwrap();
        let (code, words) = check(&file, &["--elsewhere"]);
        assert_eq!(code, Some(0), "{name}: {words}");
    }
    let vm = case("package")["vm"].clone();
    assert_eq!(vm["lugger"]["messages"], serde_json::json!([]));
    assert!(vm["testScript"].as_str().unwrap().contains("logcli"), "{vm}");
}

/// The check at build time is a command that does what is wanted, in a place that has neither secrets nor variables.
#[test]
fn the_check_at_build_time() {
    let source = case("checked")["source"].clone();
    let script = source["script"].as_str().unwrap();
    assert!(source["TZDIR"].as_str().unwrap().ends_with("/share/zoneinfo"));
    let generated = script.split_whitespace().find(|word| word.ends_with("-lugger-agent.yaml")).unwrap();
    let whole = case("whole")["source"]["value"].clone();
    let directory = tempfile::tempdir().unwrap();
    let (input, out) = (directory.path().join("in.yaml"), directory.path().join("out.yaml"));
    let script = script.replace(generated, input.to_str().unwrap());
    let binaries = Path::new(env!("CARGO_BIN_EXE_lugger")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let build = || {
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", &script]).env_clear().env("PATH", &path).env("out", &out);
        shell.output().unwrap()
    };
    std::fs::write(&input, whole.to_string()).unwrap();
    let output = build();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(&input).unwrap());
    std::fs::remove_file(&out).unwrap();
    std::fs::write(&input, whole.to_string().replace("\"include\"", "\"inclde\"")).unwrap();
    let output = build();
    assert!(!output.status.success() && !out.exists());
    assert!(String::from_utf8_lossy(&output.stderr).contains("inclde"));

    // What lies outside the store is not there yet; what nobody wants to be checked is not.
    assert_eq!(case("secret-file")["source"], serde_json::json!({ "path": "/run/secrets/lugger.yaml" }));
    assert!(case("unchecked")["source"].get("script").is_none());
    for name in ["config-file", "promtail-path"] {
        assert!(case(name)["source"]["script"].as_str().unwrap().contains("lugger check --elsewhere"), "{name}");
    }
}

#[test]
fn a_configuration_of_promtail() {
    let tree = case("promtail-tree");
    // What NixOS had put there itself has to be there still: without it everything would be sent again.
    assert_eq!(tree["source"]["value"]["positions"]["filename"], "/var/cache/promtail/positions.yaml");
    let service = &tree["unit"]["serviceConfig"];
    assert!(texts(&service["ExecStartPre"])[0].contains("/var/cache/promtail/positions.yaml"));
    assert_eq!(texts(&service["SupplementaryGroups"]), ["systemd-journal"]);
    assert_eq!(tree["firewall"], serde_json::json!({ "allowedTCPPorts": [3500], "allowedUDPPorts": [1514] }));
    assert_eq!(texts(&tree["unit"]["conflicts"]), ["promtail.service"]);
    assert_eq!(texts(&case("promtail-path")["unit"]["conflicts"]), ["promtail.service"]);
}

#[test]
fn the_package_and_the_flake() {
    let package = case("package");
    assert_eq!((&package["pname"], &package["version"]), (&"lugger".into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!(package["meta"]["mainProgram"], "lugger");
    assert_eq!(package["geoip"], serde_json::json!(["geoip"]));
    let installs = texts(&package["manual"]);
    assert!(installs[0].contains("installManPage") && !installs[1].contains("installManPage"));
    assert_eq!(package["overlay"], serde_json::json!(["lugger", "lugger-static"]));
    assert_eq!(package["flakeOutputs"], serde_json::json!(["checks", "nixosModules", "overlays", "packages"]));
    assert_eq!(package["lock"].as_str(), Some(&*format!("{ROOT}/Cargo.lock")));

    // What is taken of the tree is enough for cargo to read it.
    let directory = tempfile::tempdir().unwrap();
    for file in texts(&package["files"]) {
        let target = directory.path().join(Path::new(file).strip_prefix(package["root"].as_str().unwrap()).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        assert!(Command::new("cp").arg("-R").arg(file).arg(&target).status().unwrap().success());
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version=1", "--offline", "--locked"]).current_dir(directory.path());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let targets: Vec<&str> = metadata["packages"][0]["targets"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["src_path"].as_str())
        .collect();
    assert!(targets.iter().any(|path| path.ends_with("src/main.rs")), "{targets:?}");
    assert!(directory.path().join("agent.example.yaml").exists());
}

/// Every option is described in the module, and every one is in the page for people.
#[test]
fn every_option_is_documented() {
    let options = case("options");
    let page = std::fs::read_to_string(Path::new(ROOT).join("nix/README.md")).unwrap();
    let options: BTreeMap<&str, &str> = options
        .as_array()
        .unwrap()
        .iter()
        .map(|option| (option["name"].as_str().unwrap(), option["description"].as_str().unwrap()))
        .collect();
    assert!(options.len() >= 14, "{options:?}");
    for (name, description) in &options {
        assert!(description.len() > 10 && description.trim_end().ends_with(['.', ')']), "{name}: {description:?}");
        assert!(page.contains(&format!("| `{name}` |")), "nix/README.md has no row of {name}");
    }
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(name, _)| name));
    for row in rows {
        assert!(options.contains_key(row), "nix/README.md names {row}, which is no option");
    }
}
