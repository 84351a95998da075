//! `hwmon`: temperatures, voltages, fans and what else chips measure. From /sys/class/hwmon (the kernel's Documentation/hwmon/sysfs-interface).
//!
//! A name is made of what a file is called: `temp1_crit_alarm` is node_hwmon_temp_crit_alarm_celsius of sensor temp1.

use super::devices::{Class, entries};
use super::files::{Buffer, File, float, text, text_once};
use super::{Collector, Fail, Filter, Settings};
use crate::model::samples::{Kind, Samples};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What kinds of sensors are told.
const TYPES: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];

pub(super) struct Hwmon {
    class: Class,
    chips: Filter,
    sensors: Filter,
    values: Vec<Value>,
    /// What chips and sensors are called, which does not change.
    names: Samples,
    buffer: Buffer,
}

/// An attribute that is told.
struct Value {
    meaning: Meaning,
    chip: String,
    sensor: String,
    file: File,
}

/// What an attribute's number is.
#[derive(Debug, Clone, PartialEq)]
struct Meaning {
    family: String,
    help: &'static str,
    kind: Kind,
    times: f64,
    over: f64,
    /// Only whether it is 1 counts.
    flag: bool,
}

impl Hwmon {
    pub(super) fn new(settings: &Settings) -> Hwmon {
        Hwmon {
            class: Class::new(settings.roots.sys("class/hwmon")),
            chips: settings.hwmon_chip.clone(),
            sensors: settings.hwmon_sensor.clone(),
            values: Vec::new(),
            names: Samples::default(),
            buffer: Buffer::default(),
        }
    }

    /// Looks for chips and their sensors.
    fn look(&mut self) -> Result<(), Fail> {
        self.values.clear();
        self.names.clear();
        let directories: Vec<PathBuf> = self
            .class
            .names()
            .iter()
            .map(|name| self.class.directory().join(name))
            .filter(|path| path.is_dir())
            .collect();
        let chips = chip_names(&directories, &mut self.buffer);
        let mut failed = Ok(());
        let (mut chip_kinds, mut labels) = (Vec::new(), Vec::new());
        for (directory, chip) in directories.iter().zip(chips) {
            if !self.chips.takes(&chip) {
                continue;
            }
            let files = match sensor_files(directory) {
                Ok(files) => files,
                Err(fail) => {
                    failed = Err(fail);
                    continue;
                }
            };
            if let Some(kind) = file_name(directory, &mut self.buffer) {
                chip_kinds.push((chip.clone(), kind));
            }
            for ((sensor, kind), properties) in &files {
                if !self.sensors.takes(&format!("{chip};{sensor}")) {
                    continue;
                }
                let label = properties.get("label").and_then(|path| text_once(path, &mut self.buffer));
                if let Some(label) = &label {
                    labels.push((chip.clone(), sensor.clone(), label.clone()));
                }
                for (property, path) in properties {
                    if let Some(meaning) = meaning(kind, property, properties.contains_key("")) {
                        let sensor = match (kind.as_str(), property.as_str(), &label) {
                            ("freq", "input", Some(label)) => clean(label),
                            ("freq", "input", None) => continue,
                            _ => sensor.clone(),
                        };
                        let file = self.class.attribute(path.clone());
                        self.values.push(Value { meaning, chip: chip.clone(), sensor, file });
                    }
                }
            }
        }
        self.values.sort_by(|a, b| {
            let key = |value: &Value| (value.meaning.family.clone(), value.chip.clone(), value.sensor.clone());
            key(a).cmp(&key(b))
        });
        if !chip_kinds.is_empty() {
            self.names.family("node_hwmon_chip_names", "Always 1; what a chip calls itself.", Kind::Gauge);
        }
        for (chip, kind) in &chip_kinds {
            self.names.add(&[("chip", chip), ("chip_name", kind)], 1.0);
        }
        if !labels.is_empty() {
            self.names.family("node_hwmon_sensor_label", "Always 1; what a chip calls a sensor.", Kind::Gauge);
        }
        for (chip, sensor, label) in &labels {
            self.names.add(&[("chip", chip), ("label", label), ("sensor", sensor)], 1.0);
        }
        failed
    }
}

impl Collector for Hwmon {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let mut looked = if self.class.look()? { self.look() } else { Ok(()) };
        out.append(&self.names);
        let mut family = "";
        for value in &mut self.values {
            // A driver may refuse for now or say nothing, and the device may be gone: then there is no value.
            let word = value.file.word(&mut self.buffer).unwrap_or_default();
            let Some(number) = float(word) else {
                if !word.is_empty() {
                    let what = format!("'{}' is no number", text(word));
                    looked = looked.and(Err(Fail::malformed(value.file.path(), what)));
                }
                continue;
            };
            let meaning = &value.meaning;
            if family != meaning.family {
                family = &meaning.family;
                out.family(family, meaning.help, meaning.kind);
            }
            let number = if meaning.flag { f64::from(u8::from(number == 1.0)) } else { number };
            out.add(&[("chip", &value.chip), ("sensor", &value.sensor)], number * meaning.times / meaning.over);
        }
        // The rest is told also where something is not understood; the next tick tries again.
        looked.inspect_err(|_| self.class.again())
    }
}

/// Small letters, digits, `:` and `_` alone, without `_` at both ends.
fn clean(text: &str) -> String {
    let kept = |c: char| if matches!(c, 'a'..='z' | '0'..='9' | ':' | '_') { c } else { '_' };
    text.to_lowercase().chars().map(kept).collect::<String>().trim_matches('_').to_owned()
}

/// What the chip calls itself.
fn file_name(directory: &Path, buffer: &mut Buffer) -> Option<String> {
    text_once(&directory.join("name"), buffer).map(|name| clean(&name)).filter(|name| !name.is_empty())
}

/// The last part of a path, in clean letters.
fn last_part(path: &Path) -> Option<String> {
    path.file_name().map(|name| clean(&name.to_string_lossy())).filter(|name| !name.is_empty())
}

/// The name of each chip: of its device and the bus it is at, or else what it calls itself, or else its number. Devices may have several chips:
/// then the second or third of these comes behind.
fn chip_names(directories: &[PathBuf], buffer: &mut Buffer) -> Vec<String> {
    let of_device = |directory: &PathBuf| {
        let device = std::fs::canonicalize(directory.join("device")).ok()?;
        let name = last_part(&device)?;
        Some(match device.parent().and_then(last_part) {
            Some(bus) => format!("{bus}_{name}"),
            None => name,
        })
    };
    let chips: Vec<(String, Option<String>, String)> = directories
        .iter()
        .map(|directory| {
            let number = std::fs::canonicalize(directory).ok().as_deref().and_then(last_part).unwrap_or_default();
            let own = file_name(directory, buffer);
            let name = of_device(directory).or_else(|| own.clone()).unwrap_or_else(|| number.clone());
            (name, own, number)
        })
        .collect();
    let same = |name: &str, own: Option<&Option<String>>| {
        chips.iter().filter(|(other, others, _)| other == name && own.is_none_or(|own| own == others)).count()
    };
    chips
        .iter()
        .map(|(name, own, number)| match own {
            _ if same(name, None) == 1 => name.clone(),
            Some(word) if same(name, Some(own)) == 1 => format!("{name}_{word}"),
            _ => format!("{name}_{number}"),
        })
        .collect()
}

/// By sensor (`temp1`) and its type (`temp`): its attributes (`input`; none is empty) and where they are.
type Sensors = BTreeMap<(String, String), BTreeMap<String, PathBuf>>;

/// The attributes of a chip, which are in its directory or in that of its device.
fn sensor_files(directory: &Path) -> Result<Sensors, Fail> {
    let mut found = Sensors::new();
    let device = directory.join("device");
    for place in [directory, device.as_path()] {
        if place == device && !device.exists() {
            continue;
        }
        for name in entries(place).map_err(|error| Fail::io(place, error))? {
            if let Some((kind, number, property)) = pieces(&name).filter(|(kind, ..)| TYPES.contains(kind)) {
                let sensor = (format!("{kind}{number}"), kind.to_owned());
                found.entry(sensor).or_default().insert(property.to_owned(), place.join(&name));
            }
        }
    }
    Ok(found)
}

/// Type, number and attribute in the name of a file.
fn pieces(name: &str) -> Option<(&str, u32, &str)> {
    let (kind, rest) = name.split_at(name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len()));
    let (digits, rest) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    let number = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let property = if rest.is_empty() { "" } else { rest.strip_prefix('_').filter(|rest| !rest.is_empty())? };
    (!kind.is_empty()).then_some((kind, number, property))
}

/// What an attribute of a sensor means; `bare` if the sensor has one without a name. `None` for those that are no number.
fn meaning(kind: &str, property: &str, bare: bool) -> Option<Meaning> {
    let mut family = format!("node_hwmon_{kind}");
    match property {
        // Texts.
        "label" | "model_number" | "oem_info" | "serial_number" => return None,
        "input" if !bare => {}
        "" => {}
        _ => family = format!("{family}_{}", clean(property)),
    }
    let told =
        |family: String, help, times, over| Some(Meaning { family, help, kind: Kind::Gauge, times, over, flag: false });
    let with = |unit: &str| format!("{family}{unit}");
    match (kind, property) {
        ("beep_enable", "") => {
            let family = "node_hwmon_beep_enabled".to_owned();
            let help = "Whether the chip beeps.";
            Some(Meaning { family, help, kind: Kind::Gauge, times: 1.0, over: 1.0, flag: true })
        }
        ("vrm", "") => {
            told("node_hwmon_voltage_regulator_version".to_owned(), "Version of the voltage regulator.", 1.0, 1.0)
        }
        ("update_interval", "") => {
            told("node_hwmon_update_interval_seconds".to_owned(), "How often a chip measures.", 0.001, 1.0)
        }
        ("beep_enable" | "vrm" | "update_interval", _) => None,
        (_, "fault" | "alarm") => told(family, "Whether a sensor is faulty, or alarms.", 1.0, 1.0),
        (_, "beep") => told(with("_enabled"), "Whether a sensor's alarm beeps.", 1.0, 1.0),
        ("in" | "cpu", _) => told(with("_volts"), "Voltage.", 0.001, 1.0),
        ("temp", property) if property != "type" => told(with("_celsius"), "Temperature.", 0.001, 1.0),
        ("curr", _) => told(with("_amps"), "Current.", 0.001, 1.0),
        ("energy", _) => {
            let help = "Energy used, joules.";
            Some(Meaning {
                family: with("_joule_total"),
                help,
                kind: Kind::Counter,
                times: 1.0,
                over: 1e6,
                flag: false,
            })
        }
        ("power", "accuracy") => told(family, "Accuracy of a power meter, of 1.", 1.0, 1e6),
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
            told(with("_seconds"), "Over what time a power meter takes the mean.", 0.001, 1.0)
        }
        ("power", _) => told(with("_watt"), "Power.", 1.0, 1e6),
        ("humidity", _) => told(family, "Relative humidity, of 1.", 1.0, 1e6),
        ("fan", "input" | "min" | "max" | "target") => told(with("_rpm"), "Revolutions a minute.", 1.0, 1.0),
        ("freq", "input") => told(with("_freq_mhz"), "Frequency of a graphics processor, MHz.", 1.0, 1e6),
        _ => told(family, "As the chip tells it.", 1.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    const CORETEMP: &str = "
        sys/class/hwmon/hwmon0 -> ../../devices/platform/coretemp.0/hwmon/hwmon0
        sys/devices/platform/coretemp.0/hwmon/hwmon0/device -> ../../../coretemp.0
        sys/devices/platform/coretemp.0/hwmon/hwmon0/name: coretemp
        sys/devices/platform/coretemp.0/hwmon/hwmon0/temp1_input: 45000
        sys/devices/platform/coretemp.0/hwmon/hwmon0/temp1_label: Package id 0
        sys/devices/platform/coretemp.0/hwmon/hwmon0/temp1_crit: 100000
        sys/devices/platform/coretemp.0/hwmon/hwmon0/temp1_crit_alarm: 0
        sys/devices/platform/coretemp.0/hwmon/hwmon0/temp2_input: 44000
        sys/devices/platform/coretemp.0/hwmon/hwmon0/power/runtime_status: unsupported
        sys/devices/platform/coretemp.0/uevent: DRIVER=coretemp";

    #[test]
    fn a_processor() {
        let tree = Tree::new(CORETEMP);
        let mut hwmon = Hwmon::new(&tree.settings());
        let expected = r#"
            # node_hwmon_chip_names gauge
            node_hwmon_chip_names{chip="platform_coretemp_0",chip_name="coretemp"} 1
            # node_hwmon_sensor_label gauge
            node_hwmon_sensor_label{chip="platform_coretemp_0",label="Package id 0",sensor="temp1"} 1
            # node_hwmon_temp_celsius gauge
            node_hwmon_temp_celsius{chip="platform_coretemp_0",sensor="temp1"} 45
            node_hwmon_temp_celsius{chip="platform_coretemp_0",sensor="temp2"} 44
            # node_hwmon_temp_crit_alarm_celsius gauge
            node_hwmon_temp_crit_alarm_celsius{chip="platform_coretemp_0",sensor="temp1"} 0
            # node_hwmon_temp_crit_celsius gauge
            node_hwmon_temp_crit_celsius{chip="platform_coretemp_0",sensor="temp1"} 100"#;
        assert_text(&told(&mut hwmon), expected);
        // What is open is read again, and what is gone is not told.
        tree.write("sys/devices/platform/coretemp.0/hwmon/hwmon0/temp1_input", "45500\n");
        tree.write("sys/devices/platform/coretemp.0/hwmon/hwmon0/temp2_input", "");
        let text = told(&mut hwmon);
        assert!(text.contains(r#"sensor="temp1"} 45.5"#) && !text.contains("temp2"), "{text}");
    }

    #[test]
    fn chips_of_all_kinds() {
        let tree = Tree::new(
            "
            sys/class/hwmon/hwmon0 -> ../../devices/pci0000:00/0000:00:18.3/hwmon/hwmon0
            sys/devices/pci0000:00/0000:00:18.3/hwmon/hwmon0/device -> ../../../0000:00:18.3
            sys/devices/pci0000:00/0000:00:18.3/hwmon/hwmon0/name: k10temp
            sys/devices/pci0000:00/0000:00:18.3/hwmon/hwmon0/temp1_input: 36875
            sys/devices/pci0000:00/0000:00:18.3/hwmon/hwmon0/temp1_label: Tctl
            sys/class/hwmon/hwmon1 -> ../../devices/pci0000:00/0000:04:00.0/nvme/nvme0/hwmon1
            sys/devices/pci0000:00/0000:04:00.0/nvme/nvme0/hwmon1/device -> ../../nvme0
            sys/devices/pci0000:00/0000:04:00.0/nvme/nvme0/hwmon1/name: nvme
            sys/devices/pci0000:00/0000:04:00.0/nvme/nvme0/hwmon1/temp1_alarm: 0
            sys/devices/pci0000:00/0000:04:00.0/nvme/nvme0/hwmon1/temp1_input: 38850
            sys/devices/pci0000:00/0000:04:00.0/nvme/nvme0/hwmon1/temp1_min: -273150
            sys/class/hwmon/hwmon2/name: acpitz
            sys/class/hwmon/hwmon2/temp1_type: 4
            sys/class/hwmon/hwmon2/temp1_max_hyst: 71000
            sys/class/hwmon/hwmon3/in0_input: 1104
            sys/class/hwmon/hwmon3/in0_beep: 1
            sys/class/hwmon/hwmon3/cpu0_vid: 1250
            sys/class/hwmon/hwmon3/vrm: 130
            sys/class/hwmon/hwmon3/beep_enable: 1
            sys/class/hwmon/hwmon3/update_interval: 1500
            sys/class/hwmon/hwmon3/fan1_input: 1200
            sys/class/hwmon/hwmon3/fan1_div: 8
            sys/class/hwmon/hwmon3/fan1_fault: 0
            sys/class/hwmon/hwmon3/pwm1: 255
            sys/class/hwmon/hwmon3/pwm1_enable: 2
            sys/class/hwmon/hwmon3/pwm1_auto_point1_temp: 50000
            sys/class/hwmon/hwmon3/curr1_input: 2500
            sys/class/hwmon/hwmon3/energy1_input: 12500000
            sys/class/hwmon/hwmon3/humidity1_input: 450000
            sys/class/hwmon/hwmon3/intrusion0_alarm: 1
            sys/class/hwmon/hwmon3/power1_input: 15500000
            sys/class/hwmon/hwmon3/power1_average_interval: 1000
            sys/class/hwmon/hwmon3/power1_accuracy: 500000
            sys/class/hwmon/hwmon3/freq1_input: 1500000000
            sys/class/hwmon/hwmon3/freq1_label: sclk
            sys/class/hwmon/hwmon3/freq2_input: 1500000000
            sys/class/hwmon/hwmon3/power1_model_number: N/A
            sys/class/hwmon/hwmon3/temp9_input:
            sys/class/hwmon/hwmon3/uevent:
            sys/class/hwmon/readme: no directory",
        );
        let expected = r#"
            # node_hwmon_chip_names gauge
            node_hwmon_chip_names{chip="pci0000:00_0000:00:18_3",chip_name="k10temp"} 1
            node_hwmon_chip_names{chip="nvme_nvme0",chip_name="nvme"} 1
            node_hwmon_chip_names{chip="acpitz",chip_name="acpitz"} 1
            # node_hwmon_sensor_label gauge
            node_hwmon_sensor_label{chip="pci0000:00_0000:00:18_3",label="Tctl",sensor="temp1"} 1
            node_hwmon_sensor_label{chip="hwmon3",label="sclk",sensor="freq1"} 1
            # node_hwmon_beep_enabled gauge
            node_hwmon_beep_enabled{chip="hwmon3",sensor="beep_enable0"} 1
            # node_hwmon_cpu_vid_volts gauge
            node_hwmon_cpu_vid_volts{chip="hwmon3",sensor="cpu0"} 1.25
            # node_hwmon_curr_amps gauge
            node_hwmon_curr_amps{chip="hwmon3",sensor="curr1"} 2.5
            # node_hwmon_energy_joule_total counter
            node_hwmon_energy_joule_total{chip="hwmon3",sensor="energy1"} 12.5
            # node_hwmon_fan_div gauge
            node_hwmon_fan_div{chip="hwmon3",sensor="fan1"} 8
            # node_hwmon_fan_fault gauge
            node_hwmon_fan_fault{chip="hwmon3",sensor="fan1"} 0
            # node_hwmon_fan_rpm gauge
            node_hwmon_fan_rpm{chip="hwmon3",sensor="fan1"} 1200
            # node_hwmon_freq_freq_mhz gauge
            node_hwmon_freq_freq_mhz{chip="hwmon3",sensor="sclk"} 1500
            # node_hwmon_humidity gauge
            node_hwmon_humidity{chip="hwmon3",sensor="humidity1"} 0.45
            # node_hwmon_in_beep_enabled gauge
            node_hwmon_in_beep_enabled{chip="hwmon3",sensor="in0"} 1
            # node_hwmon_in_volts gauge
            node_hwmon_in_volts{chip="hwmon3",sensor="in0"} 1.104
            # node_hwmon_intrusion_alarm gauge
            node_hwmon_intrusion_alarm{chip="hwmon3",sensor="intrusion0"} 1
            # node_hwmon_power_accuracy gauge
            node_hwmon_power_accuracy{chip="hwmon3",sensor="power1"} 0.5
            # node_hwmon_power_average_interval_seconds gauge
            node_hwmon_power_average_interval_seconds{chip="hwmon3",sensor="power1"} 1
            # node_hwmon_power_watt gauge
            node_hwmon_power_watt{chip="hwmon3",sensor="power1"} 15.5
            # node_hwmon_pwm gauge
            node_hwmon_pwm{chip="hwmon3",sensor="pwm1"} 255
            # node_hwmon_pwm_auto_point1_temp gauge
            node_hwmon_pwm_auto_point1_temp{chip="hwmon3",sensor="pwm1"} 50000
            # node_hwmon_pwm_enable gauge
            node_hwmon_pwm_enable{chip="hwmon3",sensor="pwm1"} 2
            # node_hwmon_temp_alarm gauge
            node_hwmon_temp_alarm{chip="nvme_nvme0",sensor="temp1"} 0
            # node_hwmon_temp_celsius gauge
            node_hwmon_temp_celsius{chip="nvme_nvme0",sensor="temp1"} 38.85
            node_hwmon_temp_celsius{chip="pci0000:00_0000:00:18_3",sensor="temp1"} 36.875
            # node_hwmon_temp_max_hyst_celsius gauge
            node_hwmon_temp_max_hyst_celsius{chip="acpitz",sensor="temp1"} 71
            # node_hwmon_temp_min_celsius gauge
            node_hwmon_temp_min_celsius{chip="nvme_nvme0",sensor="temp1"} -273.15000000000003
            # node_hwmon_temp_type gauge
            node_hwmon_temp_type{chip="acpitz",sensor="temp1"} 4
            # node_hwmon_update_interval_seconds gauge
            node_hwmon_update_interval_seconds{chip="hwmon3",sensor="update_interval0"} 1.5
            # node_hwmon_voltage_regulator_version gauge
            node_hwmon_voltage_regulator_version{chip="hwmon3",sensor="vrm0"} 130"#;
        assert_text(&told(&mut Hwmon::new(&tree.settings())), expected);
    }

    #[test]
    fn several_chips_of_a_device() {
        let tree = Tree::new(
            "
            sys/devices/platform/asus-nb-wmi/uevent:
            sys/devices/platform/asus-nb-wmi/pwm1_enable: 2
            sys/class/hwmon/hwmon4/device -> ../../../devices/platform/asus-nb-wmi
            sys/class/hwmon/hwmon4/name: asus
            sys/class/hwmon/hwmon5/device -> ../../../devices/platform/asus-nb-wmi
            sys/class/hwmon/hwmon5/name: asus_custom_fan_curve
            sys/class/hwmon/hwmon6/device -> ../../../devices/ieee80211/phy0
            sys/devices/ieee80211/phy0/temp1_input: 1000
            sys/class/hwmon/hwmon6/name: mt7996
            sys/class/hwmon/hwmon7/device -> ../../../devices/ieee80211/phy0
            sys/class/hwmon/hwmon7/name: mt7996",
        );
        let expected = r#"
            # node_hwmon_chip_names gauge
            node_hwmon_chip_names{chip="platform_asus_nb_wmi_asus",chip_name="asus"} 1
            node_hwmon_chip_names{chip="platform_asus_nb_wmi_asus_custom_fan_curve",chip_name="asus_custom_fan_curve"} 1
            node_hwmon_chip_names{chip="ieee80211_phy0_hwmon6",chip_name="mt7996"} 1
            node_hwmon_chip_names{chip="ieee80211_phy0_hwmon7",chip_name="mt7996"} 1
            # node_hwmon_pwm_enable gauge
            node_hwmon_pwm_enable{chip="platform_asus_nb_wmi_asus",sensor="pwm1"} 2
            node_hwmon_pwm_enable{chip="platform_asus_nb_wmi_asus_custom_fan_curve",sensor="pwm1"} 2
            # node_hwmon_temp_celsius gauge
            node_hwmon_temp_celsius{chip="ieee80211_phy0_hwmon6",sensor="temp1"} 1
            node_hwmon_temp_celsius{chip="ieee80211_phy0_hwmon7",sensor="temp1"} 1"#;
        assert_text(&told(&mut Hwmon::new(&tree.settings())), expected);
    }

    #[test]
    fn filters_and_none() {
        let tree = Tree::new(CORETEMP);
        let mut settings = tree.settings();
        settings.hwmon_sensor = Filter::excluding("^platform_coretemp_0;temp1$").unwrap();
        let text = told(&mut Hwmon::new(&settings));
        assert!(!text.contains("temp1") && text.contains("temp2"), "{text}");
        settings.hwmon_chip = Filter::excluding("coretemp").unwrap();
        assert_eq!(told(&mut Hwmon::new(&settings)), "");
        let (text, fail) = failed(&mut Hwmon::new(&Tree::new("").settings()));
        assert!(text.is_empty() && matches!(fail, Fail::NoData));
    }
}
