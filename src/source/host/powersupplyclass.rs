//! `powersupplyclass`: batteries, mains and chargers. From /sys/class/power_supply (the kernel's Documentation/ABI/testing/sysfs-class-power).

use super::devices::{Class, Families, Row, number, word};
use super::files::{Buffer, File};
use super::{Collector, Fail, Filter, Settings};
use crate::model::samples::{Kind, Samples};

macro_rules! rows {
    ($(($name:literal, $help:literal)),* $(,)?) => { [$((concat!("node_power_supply_", $name), $help, Kind::Gauge)),*] };
}

const ROWS: [Row; 50] = rows![
    ("info", "Always 1; what a supply says of itself."),
    ("authentic", "Whether a battery is an original."),
    ("calibrate", "Whether a battery is being calibrated."),
    ("capacity", "How full a battery is, percent."),
    ("capacity_alert_max", "At how many percent a full battery alarms."),
    ("capacity_alert_min", "At how many percent an empty battery alarms."),
    ("cyclecount", "How often a battery was charged."),
    ("online", "Whether a supply gives power."),
    ("present", "Whether a battery is there."),
    ("time_to_empty_seconds", "When a battery will be empty."),
    ("time_to_full_seconds", "When a battery will be full."),
    ("current_boot", "Current at boot, amperes."),
    ("current_max", "Highest current, amperes."),
    ("current_ampere", "Current."),
    ("energy_empty", "Energy when empty, watt hours."),
    ("energy_empty_design", "Energy when empty as designed, watt hours."),
    ("energy_full", "Energy when full, watt hours."),
    ("energy_full_design", "Energy when full as designed, watt hours."),
    ("energy_watthour", "Energy."),
    ("voltage_boot", "Voltage at boot, volts."),
    ("voltage_max", "Highest voltage, volts."),
    ("voltage_max_design", "Highest voltage as designed, volts."),
    ("voltage_min", "Lowest voltage, volts."),
    ("voltage_min_design", "Lowest voltage as designed, volts."),
    ("voltage_volt", "Voltage."),
    ("voltage_ocv", "Voltage of the open circuit, volts."),
    ("charge_control_limit", "Limit of charging, a millionth of its step."),
    ("charge_control_limit_max", "Highest limit of charging, a millionth of its step."),
    ("charge_counter", "Counter of charge, ampere hours."),
    ("charge_empty", "Charge when empty, ampere hours."),
    ("charge_empty_design", "Charge when empty as designed, ampere hours."),
    ("charge_full", "Charge when full, ampere hours."),
    ("charge_full_design", "Charge when full as designed, ampere hours."),
    ("charge_ampere", "Charge, ampere hours."),
    ("charge_term_current", "Current at which charging ends, amperes."),
    ("constant_charge_current", "Constant current of charging, amperes."),
    ("constant_charge_current_max", "Highest constant current of charging, amperes."),
    ("constant_charge_voltage", "Constant voltage of charging, volts."),
    ("constant_charge_voltage_max", "Highest constant voltage of charging, volts."),
    ("precharge_current", "Current at the start of charging, amperes."),
    ("input_current_limit", "Limit of the current from the supply, amperes."),
    ("power_watt", "Power."),
    ("temp_celsius", "Temperature."),
    ("temp_alert_max_celsius", "Temperature above which it alarms."),
    ("temp_alert_min_celsius", "Temperature below which it alarms."),
    ("temp_ambient_celsius", "Temperature around."),
    ("temp_ambient_max_celsius", "Temperature around above which it alarms."),
    ("temp_ambient_min_celsius", "Temperature around below which it alarms."),
    ("temp_max_celsius", "Highest temperature."),
    ("temp_min_celsius", "Lowest temperature."),
];

/// The attribute of each row behind the first, and by what its number is divided.
const NUMBERS: [(&str, f64); 49] = [
    ("authentic", 1.0),
    ("calibrate", 1.0),
    ("capacity", 1.0),
    ("capacity_alert_max", 1.0),
    ("capacity_alert_min", 1.0),
    ("cycle_count", 1.0),
    ("online", 1.0),
    ("present", 1.0),
    ("time_to_empty_now", 1.0),
    ("time_to_full_now", 1.0),
    ("current_boot", 1e6),
    ("current_max", 1e6),
    ("current_now", 1e6),
    ("energy_empty", 1e6),
    ("energy_empty_design", 1e6),
    ("energy_full", 1e6),
    ("energy_full_design", 1e6),
    ("energy_now", 1e6),
    ("voltage_boot", 1e6),
    ("voltage_max", 1e6),
    ("voltage_max_design", 1e6),
    ("voltage_min", 1e6),
    ("voltage_min_design", 1e6),
    ("voltage_now", 1e6),
    ("voltage_ocv", 1e6),
    ("charge_control_limit", 1e6),
    ("charge_control_limit_max", 1e6),
    ("charge_counter", 1e6),
    ("charge_empty", 1e6),
    ("charge_empty_design", 1e6),
    ("charge_full", 1e6),
    ("charge_full_design", 1e6),
    ("charge_now", 1e6),
    ("charge_term_current", 1e6),
    ("constant_charge_current", 1e6),
    ("constant_charge_current_max", 1e6),
    ("constant_charge_voltage", 1e6),
    ("constant_charge_voltage_max", 1e6),
    ("precharge_current", 1e6),
    ("input_current_limit", 1e6),
    ("power_now", 1e6),
    ("temp", 10.0),
    ("temp_alert_max", 10.0),
    ("temp_alert_min", 10.0),
    ("temp_ambient", 10.0),
    ("temp_ambient_max", 10.0),
    ("temp_ambient_min", 10.0),
    ("temp_max", 10.0),
    ("temp_min", 10.0),
];

/// Labels of the first row, which are called as the attributes.
const WORDS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "scope",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
];

pub(super) struct PowerSupplyClass {
    class: Class,
    filter: Filter,
    supplies: Vec<Supply>,
    families: Families,
    buffer: Buffer,
}

struct Supply {
    name: String,
    /// The row and the divisor of each.
    numbers: Vec<(usize, f64, File)>,
    /// The label and the text of each.
    words: Vec<(&'static str, String, File)>,
}

impl PowerSupplyClass {
    pub(super) fn new(settings: &Settings) -> PowerSupplyClass {
        PowerSupplyClass {
            class: Class::new(settings.roots.sys("class/power_supply")),
            filter: settings.powersupply_supply.clone(),
            supplies: Vec::new(),
            families: Families::new(&ROWS),
            buffer: Buffer::default(),
        }
    }

    fn look(&mut self) {
        self.supplies.clear();
        for name in self.class.names().to_vec() {
            if !self.filter.takes(&name) {
                continue;
            }
            let directory = self.class.directory().join(&name);
            let mut supply = Supply { name, numbers: Vec::new(), words: Vec::new() };
            for (row, (attribute, over)) in (1..).zip(NUMBERS) {
                let path = directory.join(attribute);
                if path.is_file() {
                    supply.numbers.push((row, over, self.class.attribute(path)));
                }
            }
            for label in WORDS {
                let path = directory.join(label);
                if path.is_file() {
                    supply.words.push((label, String::new(), self.class.attribute(path)));
                }
            }
            self.supplies.push(supply);
        }
    }

    fn fill(&mut self) -> Result<(), Fail> {
        for supply in &mut self.supplies {
            for (row, over, file) in &mut supply.numbers {
                if let Some(number) = number(file, &mut self.buffer)? {
                    self.families.add(*row, &[("power_supply", &supply.name)], number as f64 / *over);
                }
            }
            for (_, text, file) in &mut supply.words {
                text.clear();
                text.push_str(&String::from_utf8_lossy(word(file, &mut self.buffer)?.unwrap_or_default()));
            }
            let mut labels = [("", ""); WORDS.len() + 1];
            let words = supply.words.iter().map(|(label, text, _)| (*label, text.as_str()));
            let before = words.clone().take_while(|(label, _)| *label < "power_supply");
            let behind = words.skip_while(|(label, _)| *label < "power_supply");
            let all = before.chain([("power_supply", supply.name.as_str())]).chain(behind);
            labels.iter_mut().zip(all).for_each(|(label, told)| *label = told);
            self.families.add(0, &labels, 1.0);
        }
        Ok(())
    }
}

impl Collector for PowerSupplyClass {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        if self.class.look()? {
            self.look();
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
    fn rows_and_attributes_belong_together() {
        for ((row, _, _), (attribute, over)) in ROWS.iter().skip(1).zip(NUMBERS) {
            let name = row.strip_prefix("node_power_supply_").unwrap();
            let (name, attribute) = (name.replace('_', ""), attribute.trim_end_matches("_now").replace('_', ""));
            assert!(name.starts_with(&attribute), "{name} {attribute}");
            assert_eq!(name.ends_with("celsius"), over == 10.0, "{name}");
        }
        assert!(WORDS.is_sorted());
    }

    #[test]
    fn a_battery_mains_and_usb() {
        let tree = Tree::new(
            "
            sys/class/power_supply/BAT0/capacity: 81
            sys/class/power_supply/BAT0/capacity_level: Normal
            sys/class/power_supply/BAT0/cycle_count: 212
            sys/class/power_supply/BAT0/energy_full: 50060000
            sys/class/power_supply/BAT0/energy_full_design: 47520000
            sys/class/power_supply/BAT0/energy_now: 49450000
            sys/class/power_supply/BAT0/manufacturer: LGC
            sys/class/power_supply/BAT0/model_name: LNV-45N1
            sys/class/power_supply/BAT0/power_now: 4830000
            sys/class/power_supply/BAT0/present: 1
            sys/class/power_supply/BAT0/serial_number: 38109
            sys/class/power_supply/BAT0/status: Discharging
            sys/class/power_supply/BAT0/technology: Li-ion
            sys/class/power_supply/BAT0/temp: 301
            sys/class/power_supply/BAT0/type: Battery
            sys/class/power_supply/BAT0/voltage_min_design: 10800000
            sys/class/power_supply/BAT0/voltage_now: 12229000
            sys/class/power_supply/BAT0/alarm: 2503000
            sys/class/power_supply/AC/online: 0
            sys/class/power_supply/AC/type: Mains
            sys/class/power_supply/ucsi-source-psy-1/current_max: 3000000
            sys/class/power_supply/ucsi-source-psy-1/current_now: -250000
            sys/class/power_supply/ucsi-source-psy-1/online: 1
            sys/class/power_supply/ucsi-source-psy-1/scope: System
            sys/class/power_supply/ucsi-source-psy-1/type: USB
            sys/class/power_supply/ucsi-source-psy-1/usb_type: C [PD] PD_PPS",
        );
        let expected = r#"
            # node_power_supply_info gauge
            node_power_supply_info{power_supply="AC",type="Mains"} 1
            node_power_supply_info{capacity_level="Normal",manufacturer="LGC",model_name="LNV-45N1",power_supply="BAT0",serial_number="38109",status="Discharging",technology="Li-ion",type="Battery"} 1
            node_power_supply_info{power_supply="ucsi-source-psy-1",scope="System",type="USB",usb_type="C [PD] PD_PPS"} 1
            # node_power_supply_capacity gauge
            node_power_supply_capacity{power_supply="BAT0"} 81
            # node_power_supply_cyclecount gauge
            node_power_supply_cyclecount{power_supply="BAT0"} 212
            # node_power_supply_online gauge
            node_power_supply_online{power_supply="AC"} 0
            node_power_supply_online{power_supply="ucsi-source-psy-1"} 1
            # node_power_supply_present gauge
            node_power_supply_present{power_supply="BAT0"} 1
            # node_power_supply_current_max gauge
            node_power_supply_current_max{power_supply="ucsi-source-psy-1"} 3
            # node_power_supply_current_ampere gauge
            node_power_supply_current_ampere{power_supply="ucsi-source-psy-1"} -0.25
            # node_power_supply_energy_full gauge
            node_power_supply_energy_full{power_supply="BAT0"} 50.06
            # node_power_supply_energy_full_design gauge
            node_power_supply_energy_full_design{power_supply="BAT0"} 47.52
            # node_power_supply_energy_watthour gauge
            node_power_supply_energy_watthour{power_supply="BAT0"} 49.45
            # node_power_supply_voltage_min_design gauge
            node_power_supply_voltage_min_design{power_supply="BAT0"} 10.8
            # node_power_supply_voltage_volt gauge
            node_power_supply_voltage_volt{power_supply="BAT0"} 12.229
            # node_power_supply_power_watt gauge
            node_power_supply_power_watt{power_supply="BAT0"} 4.83
            # node_power_supply_temp_celsius gauge
            node_power_supply_temp_celsius{power_supply="BAT0"} 30.1"#;
        let mut supplies = PowerSupplyClass::new(&tree.settings());
        assert_text(&told(&mut supplies), expected);
        tree.write("sys/class/power_supply/BAT0/status", "Full\n");
        assert!(told(&mut supplies).contains("status=\"Full\""));
        let mut settings = tree.settings();
        settings.powersupply_supply = Filter::excluding("^BAT").unwrap();
        assert!(!told(&mut PowerSupplyClass::new(&settings)).contains("BAT0"));
        assert!(matches!(failed(&mut PowerSupplyClass::new(&Tree::new("").settings())).1, Fail::NoData));
        // A machine without any has the directory.
        assert_eq!(told(&mut PowerSupplyClass::new(&Tree::new("sys/class/power_supply/").settings())), "");
    }
}
