//! What is known of a container: read from what the API says of it, or from the two files that Docker keeps beside its log, which say the same
//! in the same form.
//!
//! A container in several networks, or with several ports, is one: the first network by name counts, and the lowest port of TCP.
//!
//! Promises: nothing that is missing or of another type is an error. Leaves to others: asking.

use crate::pipeline::label_map::LabelMap;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What rules see of a container's streams by.
pub(super) const STREAM: &str = "__meta_docker_container_log_stream";
/// What they see of its networks, but for the mode.
pub(super) const NETWORK: &str = "__meta_docker_network_";
/// What they see of its ports.
pub(super) const PORT: &str = "__meta_docker_port_";
/// Its address there.
pub(super) const ADDRESS: &str = "__address__";
/// The time of what has not happened.
const NEVER: &str = "0001-01-01";

/// A container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub id: String,
    /// With a slash in front.
    pub name: String,
    /// As it was named when the container was made.
    pub image: String,
    pub image_id: String,
    pub labels: Vec<(String, String)>,
    pub network_mode: String,
    /// By name.
    pub networks: Vec<Network>,
    pub port: Option<Port>,
    /// Where its log goes.
    pub driver: String,
    /// It has a terminal.
    pub has_terminal: bool,
    /// It runs now.
    pub is_running: bool,
    /// Its log is truncated in place when it is full.
    pub truncates: bool,
    /// It has been running: from then on networks and ports are known.
    pub has_started: bool,
    /// Where its log is, if the driver is `json-file`.
    pub log_path: PathBuf,
}

/// A network that a container is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Network {
    pub name: String,
    pub id: String,
    pub ip: String,
}

/// A port of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Port {
    pub private: u16,
    pub public: String,
    pub public_ip: String,
}

/// What the API alone says of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NetworkDetails {
    ingress: bool,
    internal: bool,
    scope: String,
    labels: Vec<(String, String)>,
}

/// All networks, by id.
pub(super) type Networks = HashMap<String, NetworkDetails>;

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn flag(value: &Value, path: &str) -> bool {
    value.pointer(path).and_then(Value::as_bool).unwrap_or_default()
}

fn pairs(value: Option<&Value>) -> Vec<(String, String)> {
    let object = value.and_then(Value::as_object);
    let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    object.map(|object| object.iter().filter_map(pair).collect()).unwrap_or_default()
}

impl Description {
    /// From the API's answer, or with `host` from the files. `None`: it has no id.
    pub(super) fn of(main: &Value, host: Option<&Value>) -> Option<Self> {
        let id = [text(main, "/Id"), text(main, "/ID")].into_iter().find(|id| !id.is_empty())?.to_owned();
        let host = host.or_else(|| main.get("HostConfig")).unwrap_or(&Value::Null);
        let networks = main.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
        let network = |(name, value): (&String, &Value)| Network {
            name: name.clone(),
            id: text(value, "/NetworkID").to_owned(),
            ip: text(value, "/IPAddress").to_owned(),
        };
        let mut networks: Vec<Network> =
            networks.map(|networks| networks.iter().map(network).collect()).unwrap_or_default();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        let started = text(main, "/State/StartedAt");
        let option = |key: &str| host.pointer("/LogConfig/Config").and_then(|options| options.get(key)?.as_str());
        Some(Description {
            name: text(main, "/Name").to_owned(),
            image: text(main, "/Config/Image").to_owned(),
            image_id: text(main, "/Image").to_owned(),
            labels: pairs(main.pointer("/Config/Labels")),
            network_mode: text(host, "/NetworkMode").to_owned(),
            networks,
            port: port(main.pointer("/NetworkSettings/Ports")),
            driver: text(host, "/LogConfig/Type").to_owned(),
            has_terminal: flag(main, "/Config/Tty"),
            is_running: flag(main, "/State/Running"),
            truncates: option("max-size").is_some_and(|size| size != "-1")
                && option("max-file").is_none_or(|files| files == "1"),
            has_started: !started.is_empty() && !started.starts_with(NEVER),
            log_path: text(main, "/LogPath").into(),
            id,
        })
    }

    /// From the files in the container's own directory. An error says which of them.
    pub(super) fn on_disk(directory: &Path) -> Result<Self, (PathBuf, std::io::Error)> {
        let read = |name: &str| {
            let path = directory.join(name);
            let value = std::fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice::<Value>(&bytes)?));
            value.map_err(|error| (path, error))
        };
        let main = read("config.v2.json")?;
        // Without it only the network's mode is missing.
        let host = read("hostconfig.json").unwrap_or(Value::Null);
        let nameless = || (directory.join("config.v2.json"), std::io::Error::other("it has no id"));
        Description::of(&main, Some(&host)).ok_or_else(nameless)
    }

    /// Of which nothing but the id is known.
    pub(super) fn unknown(id: &str) -> Self {
        Description { id: id.to_owned(), ..Description::default() }
    }

    /// The name as people write it.
    pub(super) fn short_name(&self) -> &str {
        let name = self.name.strip_prefix('/').unwrap_or(&self.name);
        if name.is_empty() { self.id.get(..12).unwrap_or(&self.id) } else { name }
    }

    /// One of its labels.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Puts down what rules may look at: Promtail's names.
    pub(super) fn discover(&self, networks: &Networks, map: &mut LabelMap) {
        map.set("__meta_docker_container_id", &self.id);
        map.set("__meta_docker_container_name", &self.name);
        map.set("__meta_docker_container_network_mode", &self.network_mode);
        for (name, value) in &self.labels {
            map.set(&label_name("__meta_docker_container_label_", name), value);
        }
        let network = self.networks.first();
        if let Some(network) = network {
            map.set("__meta_docker_network_id", &network.id);
            map.set("__meta_docker_network_name", &network.name);
            map.set("__meta_docker_network_ip", &network.ip);
            if let Some(details) = networks.get(&network.id) {
                map.set("__meta_docker_network_ingress", if details.ingress { "true" } else { "false" });
                map.set("__meta_docker_network_internal", if details.internal { "true" } else { "false" });
                map.set("__meta_docker_network_scope", &details.scope);
                for (name, value) in &details.labels {
                    map.set(&label_name("__meta_docker_network_label_", name), value);
                }
            }
        }
        if let Some(port) = &self.port {
            map.set("__meta_docker_port_private", &port.private.to_string());
            map.set("__meta_docker_port_public", &port.public);
            map.set("__meta_docker_port_public_ip", &port.public_ip);
        }
        let host = network.map_or("", |network| network.ip.as_str());
        let host = if host.is_empty() { "localhost" } else { host };
        map.set(ADDRESS, &format!("{host}:{}", self.port.as_ref().map_or(80, |port| port.private)));
    }
}

/// The lowest port of TCP, and where it is published first.
fn port(ports: Option<&Value>) -> Option<Port> {
    let ports = ports?.as_object()?.iter();
    let tcp = ports.filter_map(|(name, places)| Some((name.strip_suffix("/tcp")?.parse().ok()?, places)));
    let (private, places) = tcp.min_by_key(|(private, _)| *private)?;
    let first = places.get(0).unwrap_or(&Value::Null);
    let (public, public_ip) = (text(first, "/HostPort").to_owned(), text(first, "/HostIp").to_owned());
    Some(Port { private, public, public_ip })
}

/// What becomes of a label's name within another one: every character that cannot be there is `_`, as in Prometheus.
pub(super) fn label_name(prefix: &str, name: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    prefix.chars().chain(name.chars().map(fit)).collect()
}

/// The API's list of networks.
pub(super) fn networks(list: &Value) -> Networks {
    let details = |network: &Value| {
        let flag = |key: &str| network.get(key).and_then(Value::as_bool).unwrap_or_default();
        let details = NetworkDetails {
            ingress: flag("Ingress"),
            internal: flag("Internal"),
            scope: text(network, "/Scope").to_owned(),
            labels: pairs(network.get("Labels")),
        };
        (text(network, "/Id").to_owned(), details)
    };
    list.as_array().map(|list| list.iter().map(details).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn inspected() -> Value {
        json!({
            "Id": "abc", "Name": "/shop", "Image": "sha256:1", "LogPath": "/d/containers/abc/abc-json.log",
            "Config": { "Image": "shop:2", "Labels": { "com.docker.compose.service": "web", "odd": 7 } },
            "HostConfig": { "NetworkMode": "front", "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m" } } },
            "State": { "StartedAt": "2026-01-02T03:04:05Z" },
            "NetworkSettings": {
                "Networks": {
                    "front": { "NetworkID": "n2", "IPAddress": "10.0.0.2" },
                    "back": { "NetworkID": "n1", "IPAddress": "10.1.0.2" }
                },
                "Ports": { "443/tcp": null, "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "8080" }, {}], "53/udp": null }
            }
        })
    }

    #[test]
    fn what_the_api_says() {
        let description = Description::of(&inspected(), None).unwrap();
        assert!(description.truncates && description.has_started);
        let list = json!([{ "Id": "n1", "Scope": "local", "Internal": true, "Labels": { "a.b": "c" } }]);
        let mut map = LabelMap::new();
        description.discover(&networks(&list), &mut map);
        let labels: Vec<(&str, &str)> = map.iter().collect();
        assert_eq!(
            labels,
            [
                ("__address__", "10.1.0.2:80"),
                ("__meta_docker_container_id", "abc"),
                ("__meta_docker_container_label_com_docker_compose_service", "web"),
                ("__meta_docker_container_name", "/shop"),
                ("__meta_docker_container_network_mode", "front"),
                ("__meta_docker_network_id", "n1"),
                ("__meta_docker_network_ingress", "false"),
                ("__meta_docker_network_internal", "true"),
                ("__meta_docker_network_ip", "10.1.0.2"),
                ("__meta_docker_network_label_a_b", "c"),
                ("__meta_docker_network_name", "back"),
                ("__meta_docker_network_scope", "local"),
                ("__meta_docker_port_private", "80"),
                ("__meta_docker_port_public", "8080"),
                ("__meta_docker_port_public_ip", "0.0.0.0"),
            ]
        );
    }

    #[test]
    fn the_files_say_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let mut main = inspected();
        let host = main.as_object_mut().unwrap().remove("HostConfig").unwrap();
        let id = main.as_object_mut().unwrap().remove("Id").unwrap();
        main["ID"] = id;
        std::fs::write(dir.path().join("config.v2.json"), main.to_string()).unwrap();
        std::fs::write(dir.path().join("hostconfig.json"), host.to_string()).unwrap();
        assert_eq!(Description::on_disk(dir.path()).unwrap(), Description::of(&inspected(), None).unwrap());
        std::fs::write(dir.path().join("config.v2.json"), "{").unwrap();
        assert!(Description::on_disk(dir.path()).is_err());
    }

    #[test]
    fn what_is_missing_is_nothing() {
        assert_eq!(Description::of(&json!({ "Name": "x" }), None), None);
        let bare = Description::of(&json!({ "Id": "0123456789abcdef", "Config": [], "Mounts": 7 }), None).unwrap();
        assert_eq!(bare, Description::unknown("0123456789abcdef"));
        assert_eq!(bare.short_name(), "0123456789ab");
        let never = json!({ "Id": "a", "State": { "StartedAt": "0001-01-01T00:00:00Z" } });
        assert!(!Description::of(&never, None).unwrap().has_started);
    }
}
