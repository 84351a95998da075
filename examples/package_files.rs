//! What packages have beside the binary and what is written by hand: manual pages, completions, and the list of what the binary is made of.
//!
//! `cargo run --example package_files -- DIRECTORY` writes there `lugger.1`, `lugger-COMMAND.1` and `lugger.yaml.5`, `lugger.bash`, `_lugger` and
//! `lugger.fish`, and `lugger.cdx.json` (CycloneDX 1.5). `VERSION` in the environment is the version that they name, in place of the crate's own.
//!
//! Promises: the same sources give the same bytes. Leaves to others: where the files go (`packaging/build`).

use clap_complete::{Shell, generate_to};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(std::env::args_os().nth(1).ok_or("name a directory to write to")?);
    // Clap takes texts that last; there are a dozen of them.
    let version =
        std::env::var("VERSION").map_or(env!("CARGO_PKG_VERSION"), |version| -> &'static str { version.leak() });
    fs::create_dir_all(&directory)?;
    manual(&directory, version)?;
    let mut command = lugger::cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "lugger", &directory)?;
    }
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/agent.example.yaml");
    fs::write(directory.join("lugger.yaml.5"), configuration(&fs::read_to_string(example)?, version))?;
    fs::write(directory.join("lugger.cdx.json"), materials(version)?)?;
    Ok(())
}

/// The pages of the program and of its commands.
fn manual(directory: &Path, version: &'static str) -> std::io::Result<()> {
    let mut command = lugger::cli::command();
    command.build();
    pages(command.version(version), "lugger", directory, version)
}

fn pages(command: clap::Command, name: &'static str, directory: &Path, version: &'static str) -> std::io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let name = format!("{name}-{}", sub.get_name()).leak();
        pages(sub.clone().name(&*name).version(version), name, directory, version)?;
    }
    page(command, &directory.join(format!("{name}.1")), version)
}

fn page(command: clap::Command, path: &Path, version: &str) -> std::io::Result<()> {
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(command).manual("lugger").source(format!("lugger {version}")).date("");
    page.render(&mut text)?;
    fs::write(path, text)
}

/// A page whose text is the example configuration, which explains every option.
fn configuration(example: &str, version: &str) -> String {
    let mut text = format!(
        ".TH lugger.yaml 5 \"\" \"lugger {version}\" \"lugger\"\n.SH NAME\nlugger.yaml \\- configuration of lugger, /etc/lugger/agent.yaml\n\
         .SH DESCRIPTION\nEvery option, explained in a configuration that works.\n.PP\n.nf\n"
    );
    for line in example.lines() {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        // A point or a quote at the beginning would be a request.
        if line.starts_with(['.', '\'']) {
            text.push_str("\\&");
        }
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str(".fi\n.SH SEE ALSO\n.BR lugger (1)\n");
    text
}

/// What the binary is made of, as CycloneDX: the crates that its default features link, with versions, licences and checksums.
fn materials(version: &str) -> Result<String, Box<dyn Error>> {
    let root = env!("CARGO_MANIFEST_DIR");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let wanted = ["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform"];
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let output = Command::new(cargo).args(wanted).arg(target).current_dir(root).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let checksums = checksums(&fs::read_to_string(Path::new(root).join("Cargo.lock"))?);
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let packages: BTreeMap<&str, &Value> =
        list(&metadata["packages"]).filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let own = metadata["resolve"]["root"].as_str().ok_or("cargo names no root")?;
    let is_macro = |package: &Value| {
        list(&package["targets"]).any(|target| list(&target["kind"]).any(|kind| kind == "proc-macro"))
    };
    let mut linked = BTreeSet::new();
    let mut ahead = vec![own];
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let name_of = |id: &str| packages.get(id).map(|package| purl(package)).unwrap_or_default();
    while let Some(id) = ahead.pop() {
        if !linked.insert(id) {
            continue;
        }
        let from = edges.entry(name_of(id)).or_default();
        for dependency in list(&nodes.get(id).ok_or("a crate that cargo does not resolve")?["deps"]) {
            // What only tests and build scripts use is not in the binary, nor are macros and what they need.
            let is_linked = list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
            let to = dependency["pkg"].as_str().filter(|to| packages.get(to).is_none_or(|package| !is_macro(package)));
            if let (true, Some(to)) = (is_linked, to) {
                from.insert(name_of(to));
                ahead.push(to);
            }
        }
    }
    let mut components: Vec<Value> = Vec::new();
    for package in linked.iter().filter(|id| **id != own).filter_map(|id| packages.get(id)) {
        let (name, its_version) = (text(&package["name"]), text(&package["version"]));
        let mut component = json!({
            "type": "library", "bom-ref": purl(package), "name": name, "version": its_version, "purl": purl(package),
        });
        if let Some(licence) = package["license"].as_str() {
            component["licenses"] = json!([{ "expression": licence.replace('/', " OR ") }]);
        }
        if let Some(checksum) = checksums.get(&(name.to_owned(), its_version.to_owned())) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        components.push(component);
    }
    components.sort_by_key(|component| text(&component["purl"]).to_owned());
    let own = name_of(own);
    let edges = edges.into_iter().map(|(from, to)| json!({ "ref": from, "dependsOn": to }));
    let whole = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": {
            "type": "application", "bom-ref": own, "name": "lugger", "version": version, "purl": own,
        } },
        "components": components,
        "dependencies": edges.collect::<Vec<_>>(),
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&whole)?))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn purl(package: &Value) -> String {
    format!("pkg:cargo/{}@{}", text(&package["name"]), text(&package["version"]))
}

/// By name and version, the checksums in a `Cargo.lock`.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    for block in lock.split("[[package]]") {
        let value = |key: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix("= "));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(checksum)) = (value("name"), value("version"), value("checksum")) {
            found.insert((name, version), checksum);
        }
    }
    found
}
