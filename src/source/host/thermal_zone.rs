//! `thermal_zone`: temperatures of zones, and how far what cools them is throttled. From /sys/class/thermal (the kernel's
//! Documentation/driver-api/thermal/sysfs-api).

use super::devices::{Class, Families, Row, number, text_of, word};
use super::files::{Buffer, File};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

const ROWS: [Row; 3] = [
    ("node_thermal_zone_temp", "Temperature of a zone, degrees Celsius.", Kind::Gauge),
    ("node_cooling_device_cur_state", "How far a cooling device is throttled.", Kind::Gauge),
    ("node_cooling_device_max_state", "How far a cooling device can be throttled.", Kind::Gauge),
];

pub(super) struct ThermalZone {
    class: Class,
    zones: Vec<Zone>,
    coolers: Vec<Cooler>,
    families: Families,
    buffer: Buffer,
}

struct Zone {
    number: String,
    kind: String,
    mode: File,
    temperature: File,
}

struct Cooler {
    number: String,
    kind: String,
    now: File,
    most: File,
}

impl ThermalZone {
    pub(super) fn new(settings: &Settings) -> ThermalZone {
        let class = Class::new(settings.roots.sys("class/thermal"));
        let (zones, coolers) = (Vec::new(), Vec::new());
        ThermalZone { class, zones, coolers, families: Families::new(&ROWS), buffer: Buffer::default() }
    }

    fn look(&mut self) -> Result<(), Fail> {
        self.zones.clear();
        self.coolers.clear();
        for name in self.class.names().to_vec() {
            let directory = self.class.directory().join(&name);
            let numbered = |prefix: &str| {
                name.strip_prefix(prefix)
                    .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                    .map(str::to_owned)
            };
            let (zone, cooler) = (numbered("thermal_zone"), numbered("cooling_device"));
            if zone.is_none() && cooler.is_none() {
                continue;
            }
            let Some(kind) = text_of(directory.join("type"), &mut self.buffer)? else { continue };
            if let Some(number) = zone {
                let [mode, temperature] = ["mode", "temp"].map(|name| self.class.attribute(directory.join(name)));
                self.zones.push(Zone { number, kind, mode, temperature });
            } else if let Some(number) = cooler {
                let [now, most] = ["cur_state", "max_state"].map(|name| self.class.attribute(directory.join(name)));
                self.coolers.push(Cooler { number, kind, now, most });
            }
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<(), Fail> {
        for zone in &mut self.zones {
            // A zone that is disabled has no temperature that could be relied on.
            if word(&mut zone.mode, &mut self.buffer).ok().flatten() == Some(b"disabled") {
                continue;
            }
            if let Some(temperature) = number(&mut zone.temperature, &mut self.buffer)? {
                self.families.add(0, &[("type", &zone.kind), ("zone", &zone.number)], temperature as f64 / 1000.0);
            }
        }
        for cooler in &mut self.coolers {
            for (row, file) in [(1, &mut cooler.now), (2, &mut cooler.most)] {
                if let Some(state) = number(file, &mut self.buffer)? {
                    self.families.add(row, &[("name", &cooler.number), ("type", &cooler.kind)], state as f64);
                }
            }
        }
        Ok(())
    }
}

impl Collector for ThermalZone {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        match self.class.look() {
            Ok(true) => self.look().inspect_err(|_| self.class.again())?,
            Ok(false) => {}
            // No zone is no failure.
            Err(Fail::NoData) => return Ok(()),
            Err(fail) => return Err(fail),
        }
        let found = self.fill();
        self.families.tell(out);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    #[test]
    fn zones_and_what_cools_them() {
        let tree = Tree::new(
            "
            sys/class/thermal/thermal_zone0/type: x86_pkg_temp
            sys/class/thermal/thermal_zone0/mode: enabled
            sys/class/thermal/thermal_zone0/temp: 49925
            sys/class/thermal/thermal_zone1/type: acpitz
            sys/class/thermal/thermal_zone1/temp: -44000
            sys/class/thermal/thermal_zone2/type: iwlwifi_1
            sys/class/thermal/thermal_zone2/mode: disabled
            sys/class/thermal/thermal_zone2/temp: 1000
            sys/class/thermal/thermal_zone3/type: has no temperature
            sys/class/thermal/thermal_zone10/mode: enabled
            sys/class/thermal/cooling_device0/type: Processor
            sys/class/thermal/cooling_device0/cur_state: 0
            sys/class/thermal/cooling_device0/max_state: 50
            sys/class/thermal/cooling_device1/type: intel_powerclamp
            sys/class/thermal/cooling_device1/cur_state: -1
            sys/class/thermal/cooling_device1/max_state: 27
            sys/class/thermal/other/type: x",
        );
        let expected = r#"
            # node_thermal_zone_temp gauge
            node_thermal_zone_temp{type="x86_pkg_temp",zone="0"} 49.925
            node_thermal_zone_temp{type="acpitz",zone="1"} -44
            # node_cooling_device_cur_state gauge
            node_cooling_device_cur_state{name="0",type="Processor"} 0
            node_cooling_device_cur_state{name="1",type="intel_powerclamp"} -1
            # node_cooling_device_max_state gauge
            node_cooling_device_max_state{name="0",type="Processor"} 50
            node_cooling_device_max_state{name="1",type="intel_powerclamp"} 27"#;
        let mut zones = ThermalZone::new(&tree.settings());
        assert_text(&told(&mut zones), expected);
        tree.write("sys/class/thermal/thermal_zone1/temp", "high\n");
        let (text, fail) = failed(&mut zones);
        assert!(text.contains("49.925") && !text.contains("acpitz"), "{text}");
        assert!(
            matches!(fail, Fail::Error(what) if what.ends_with("thermal_zone1/temp: not understood: 'high' is no number"))
        );
    }

    #[test]
    fn none_is_no_failure() {
        assert_eq!(told(&mut ThermalZone::new(&Tree::new("").settings())), "");
        assert_eq!(told(&mut ThermalZone::new(&Tree::new("sys/class/thermal/").settings())), "");
    }
}
