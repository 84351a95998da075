//! `systemd`: states of units, sockets and timers, as the manager says over D-Bus (`dbus`).
//!
//! A service's type is a property of its own and costs a call; it is asked once for each service, and again once in a hundred ticks.

use super::dbus::{Bus, Unit, Value};
use super::{Collector, Fail, Filter, Settings};
use crate::base::limits::HOST_DBUS_MS;
use crate::model::samples::{Kind, Samples};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

const STATES: [&str; 5] = ["activating", "active", "deactivating", "failed", "inactive"];
/// Types of services are kept for so many ticks.
const TICKS: u32 = 100;
const MANAGER: (&str, &str) = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const SOCKET: &str = "org.freedesktop.systemd1.Socket";
const TIMER: &str = "org.freedesktop.systemd1.Timer";

/// When a property is asked for.
#[derive(Clone, Copy, PartialEq)]
enum When {
    Always,
    Restarts,
    StartTimes,
    Tasks,
}

/// A property of units and the family that it is. That refused connections are a gauge is node_exporter's.
struct Property {
    /// The end of the units' names.
    of: &'static str,
    interface: &'static str,
    name: &'static str,
    when: When,
    family: (&'static str, &'static str, Kind),
}

const PROPERTIES: [Property; 8] = [
    Property {
        of: ".service",
        interface: SERVICE,
        name: "NRestarts",
        when: When::Restarts,
        family: ("node_systemd_service_restart_total", "How often a service was started again.", Kind::Counter),
    },
    Property {
        of: ".service",
        interface: SERVICE,
        name: "TasksCurrent",
        when: When::Tasks,
        family: ("node_systemd_unit_tasks_current", "Tasks of a service.", Kind::Gauge),
    },
    Property {
        of: ".service",
        interface: SERVICE,
        name: "TasksMax",
        when: When::Tasks,
        family: ("node_systemd_unit_tasks_max", "How many tasks a service may have.", Kind::Gauge),
    },
    Property {
        of: "",
        interface: UNIT,
        name: "ActiveEnterTimestamp",
        when: When::StartTimes,
        family: (
            "node_systemd_unit_start_time_seconds",
            "Since when a unit is active, seconds since 1970; 0 if it is not.",
            Kind::Gauge,
        ),
    },
    Property {
        of: ".socket",
        interface: SOCKET,
        name: "NAccepted",
        when: When::Always,
        family: ("node_systemd_socket_accepted_connections_total", "Connections that a socket took.", Kind::Counter),
    },
    Property {
        of: ".socket",
        interface: SOCKET,
        name: "NConnections",
        when: When::Always,
        family: ("node_systemd_socket_current_connections", "Connections that a socket has.", Kind::Gauge),
    },
    Property {
        of: ".socket",
        interface: SOCKET,
        name: "NRefused",
        when: When::Always,
        family: (
            "node_systemd_socket_refused_connections_total",
            "Connections that a socket did not take.",
            Kind::Gauge,
        ),
    },
    Property {
        of: ".timer",
        interface: TIMER,
        name: "LastTriggerUSec",
        when: When::Always,
        family: (
            "node_systemd_timer_last_trigger_seconds",
            "When a timer was last due, seconds since 1970.",
            Kind::Gauge,
        ),
    },
];

/// What has no bound, and what is not counted, systemd tells as the largest number.
const NONE: u64 = u64::MAX;

pub(super) struct Systemd {
    private: PathBuf,
    shared: PathBuf,
    filter: Filter,
    /// What is asked for.
    when: Vec<When>,
    patience: Duration,
    types: HashMap<String, String>,
    rest: u32,
}

impl Systemd {
    pub(super) fn new(settings: &Settings) -> Systemd {
        let options = [
            (When::Always, true),
            (When::Restarts, settings.systemd_enable_restarts_metrics),
            (When::StartTimes, settings.systemd_enable_start_time_metrics),
            (When::Tasks, settings.systemd_enable_task_metrics),
        ];
        Systemd {
            private: settings.roots.rootfs("/run/systemd/private"),
            shared: settings.roots.rootfs("/run/dbus/system_bus_socket"),
            filter: settings.systemd_unit.clone(),
            when: options.into_iter().filter(|(_, on)| *on).map(|(when, _)| when).collect(),
            // So that it says itself what is slow, before it is late.
            patience: Duration::from_millis(HOST_DBUS_MS).min(settings.deadline_of("systemd") / 2),
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
        for property in PROPERTIES.iter().filter(|property| self.when.contains(&property.when)) {
            let (family, help, kind) = property.family;
            let mut begun = false;
            for unit in units.iter().filter(|unit| unit.name.ends_with(property.of)) {
                let value = if property.when == When::StartTimes && unit.active_state != "active" {
                    0
                } else {
                    match maybe(bus.property(&unit.path, property.interface, property.name))? {
                        Some(Value::Number(value)) if value != NONE || property.when != When::Tasks => value,
                        _ => continue,
                    }
                };
                if !std::mem::replace(&mut begun, true) {
                    out.family(family, help, kind);
                }
                let microseconds = property.name.ends_with("USec") || property.when == When::StartTimes;
                out.add(&[("name", &unit.name)], if microseconds { value as f64 / 1e6 } else { value as f64 });
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
        let bus = Bus::connect(&self.private, &self.shared, self.patience);
        match bus.and_then(|mut bus| self.tell(&mut bus, out)) {
            Ok(()) => Ok(()),
            Err(error) => {
                let (private, shared) = (self.private.display(), self.shared.display());
                Err(Fail::Error(format!("systemd cannot be asked at {private} or {shared}: {error}")))
            }
        }
    }
}
