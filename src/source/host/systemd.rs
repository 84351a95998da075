//! `systemd`: states of units, sockets and timers, as the manager says over D-Bus (`dbus`).
//!
//! A service's type is a property of its own and costs a call; it is asked once for each service, and again once in a hundred ticks.

use super::dbus::{Bus, Unit, Value};
use super::{Collector, Fail, Filter, Settings};
use crate::model::samples::{Kind, Samples};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

const STATES: [&str; 5] = ["activating", "active", "deactivating", "failed", "inactive"];
/// Types of services are kept for so many ticks.
const TICKS: u32 = 100;
const MANAGER: (&str, &str) = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const SOCKET: &str = "org.freedesktop.systemd1.Socket";
const TIMER: &str = "org.freedesktop.systemd1.Timer";
const RESTARTS: &str = "node_systemd_service_restart_total";

/// The end of units' names, interface and property; family, help, kind. That refused connections are a gauge is node_exporter's.
type Property = (&'static str, &'static str, &'static str, &'static str, &'static str, Kind);
const PROPERTIES: [Property; 5] = [
    (".service", SERVICE, "NRestarts", RESTARTS, "How often a service was started again.", Kind::Counter),
    (
        ".socket",
        SOCKET,
        "NAccepted",
        "node_systemd_socket_accepted_connections_total",
        "Connections that a socket took.",
        Kind::Counter,
    ),
    (
        ".socket",
        SOCKET,
        "NConnections",
        "node_systemd_socket_current_connections",
        "Connections that a socket has.",
        Kind::Gauge,
    ),
    (
        ".socket",
        SOCKET,
        "NRefused",
        "node_systemd_socket_refused_connections_total",
        "Connections that a socket did not take.",
        Kind::Gauge,
    ),
    (
        ".timer",
        TIMER,
        "LastTriggerUSec",
        "node_systemd_timer_last_trigger_seconds",
        "When a timer was last due, seconds since 1970.",
        Kind::Gauge,
    ),
];

pub(super) struct Systemd {
    private: PathBuf,
    shared: PathBuf,
    filter: Filter,
    restarts: bool,
    bus: Option<Bus>,
    types: HashMap<String, String>,
    rest: u32,
}

impl Systemd {
    pub(super) fn new(settings: &Settings) -> Systemd {
        Systemd {
            private: settings.roots.rootfs("/run/systemd/private"),
            shared: settings.roots.rootfs("/run/dbus/system_bus_socket"),
            filter: settings.units.clone(),
            restarts: settings.unit_restarts,
            bus: None,
            types: HashMap::new(),
            rest: 0,
        }
    }

    fn tell(&mut self, bus: &mut Bus, out: &mut Samples) -> io::Result<()> {
        let all = bus.units()?;
        out.family("node_systemd_units", "Units by state.", Kind::Gauge);
        for state in STATES {
            let count = all.iter().filter(|unit| unit.active_state == state).count();
            out.add(&[("state", state)], count as f64);
        }
        let taken = |unit: &&Unit| unit.load_state == "loaded" && self.filter.takes(&unit.name);
        let units: Vec<&Unit> = all.iter().filter(taken).collect();
        self.tell_states(bus, &units, out)?;
        for (end, interface, property, family, help, kind) in PROPERTIES {
            if family == RESTARTS && !self.restarts {
                continue;
            }
            let mut begun = false;
            for unit in units.iter().filter(|unit| unit.name.ends_with(end)) {
                let Some(Value::Number(value)) = maybe(bus.property(&unit.path, interface, property))? else {
                    continue;
                };
                if !std::mem::replace(&mut begun, true) {
                    out.family(family, help, kind);
                }
                let value = if property.ends_with("USec") { value as f64 / 1e6 } else { value as f64 };
                out.add(&[("name", &unit.name)], value);
            }
        }
        let mut manager = |name: &str| match maybe(bus.property(MANAGER.0, MANAGER.1, name))? {
            Some(Value::Text(text)) => Ok::<_, io::Error>(text),
            _ => Ok(String::new()),
        };
        let running = f64::from(u8::from(manager("SystemState")? == "running"));
        out.one("node_systemd_system_running", "Whether the system is up, without failed units.", Kind::Gauge, running);
        let version = manager("Version")?;
        let number = version.split(|c: char| !(c.is_ascii_digit() || c == '.')).find(|word| !word.is_empty());
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            out.family("node_systemd_version", "systemd's version.", Kind::Gauge);
            out.add(&[("version", &version)], number);
        }
        let kind = manager("Virtualization")?;
        out.family("node_systemd_virtualization_info", "In what systemd runs.", Kind::Gauge);
        out.add(&[("virtualization_type", if kind.is_empty() { "none" } else { &kind })], 1.0);
        Ok(())
    }

    fn tell_states(&mut self, bus: &mut Bus, units: &[&Unit], out: &mut Samples) -> io::Result<()> {
        if self.rest == 0 {
            self.types.clear();
            self.rest = TICKS;
        }
        self.rest -= 1;
        if units.is_empty() {
            return Ok(());
        }
        out.family("node_systemd_unit_state", "Which state a unit is in.", Kind::Gauge);
        for unit in units {
            let mut kind = "";
            if unit.name.ends_with(".service") {
                if !self.types.contains_key(&unit.name) {
                    let asked = maybe(bus.property(&unit.path, SERVICE, "Type"))?;
                    let asked = if let Some(Value::Text(kind)) = asked { kind } else { String::new() };
                    self.types.insert(unit.name.clone(), asked);
                }
                kind = self.types.get(&unit.name).map_or("", String::as_str);
            }
            for state in STATES {
                let labels = [("name", unit.name.as_str()), ("state", state), ("type", kind)];
                out.add(&labels, f64::from(u8::from(unit.active_state == state)));
            }
        }
        Ok(())
    }
}

/// A property that may be missing: the unit may be gone since, or systemd too old for it.
fn maybe(asked: io::Result<Value>) -> io::Result<Option<Value>> {
    match asked {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::Other => Ok(None),
        Err(error) => Err(error),
    }
}

impl Collector for Systemd {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let bus = match self.bus.take() {
            Some(bus) => Ok(bus),
            None => Bus::connect(&self.private, &self.shared),
        };
        // Kept, unless something failed: what is left of an answer goes with the connection.
        match bus.and_then(|mut bus| self.tell(&mut bus, out).map(|()| bus)) {
            Ok(bus) => self.bus = Some(bus),
            Err(error) => {
                let (private, shared) = (self.private.display(), self.shared.display());
                return Err(Fail::Error(format!("systemd cannot be asked at {private} or {shared}: {error}")));
            }
        }
        Ok(())
    }
}
