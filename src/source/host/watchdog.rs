//! `watchdog`: timers that restart the machine. From /sys/class/watchdog (the kernel's Documentation/ABI/testing/sysfs-class-watchdog).

use super::devices::{Class, Families, Row, number, text_of};
use super::files::{Buffer, File};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

const ROWS: [Row; 8] = [
    ("node_watchdog_bootstatus", "Why the machine was started, in bits.", Kind::Gauge),
    ("node_watchdog_fw_version", "Version of the firmware.", Kind::Gauge),
    ("node_watchdog_nowayout", "Whether it cannot be stopped.", Kind::Gauge),
    ("node_watchdog_timeleft_seconds", "When it will restart the machine.", Kind::Gauge),
    ("node_watchdog_timeout_seconds", "How long it waits.", Kind::Gauge),
    ("node_watchdog_pretimeout_seconds", "How long before that it warns.", Kind::Gauge),
    ("node_watchdog_access_cs0", "Whether it can start from another chip.", Kind::Gauge),
    ("node_watchdog_info", "Always 1; what a watchdog says of itself.", Kind::Gauge),
];

/// The attribute of each row but the last.
const NUMBERS: [&str; 7] = ["bootstatus", "fw_version", "nowayout", "timeleft", "timeout", "pretimeout", "access_cs0"];

/// Labels of the last row, and whether there is an attribute of that name.
const LABELS: [(&str, bool); 6] = [
    ("identity", true),
    ("name", false),
    ("options", true),
    ("pretimeout_governor", true),
    ("state", true),
    ("status", true),
];

pub(super) struct Watchdog {
    class: Class,
    families: Families,
    buffer: Buffer,
}

impl Watchdog {
    pub(super) fn new(settings: &Settings) -> Watchdog {
        let class = Class::new(settings.roots.sys("class/watchdog"));
        Watchdog { class, families: Families::new(&ROWS), buffer: Buffer::default() }
    }

    fn fill(&mut self) -> Result<(), Fail> {
        for name in self.class.names() {
            let directory = self.class.directory().join(name);
            for (row, attribute) in NUMBERS.iter().enumerate() {
                let mut file = File::passing(directory.join(attribute));
                if let Some(number) = number(&mut file, &mut self.buffer)? {
                    self.families.add(row, &[("name", name)], number as f64);
                }
            }
            let mut texts: [String; LABELS.len()] = Default::default();
            for (text, (label, is_attribute)) in texts.iter_mut().zip(LABELS) {
                *text = match is_attribute {
                    true => text_of(directory.join(label), &mut self.buffer)?.unwrap_or_default(),
                    false => name.clone(),
                };
            }
            let mut labels = [("", ""); LABELS.len()];
            for (told, ((label, _), text)) in labels.iter_mut().zip(LABELS.iter().zip(&texts)) {
                *told = (label, text);
            }
            self.families.add(NUMBERS.len(), &labels, 1.0);
        }
        Ok(())
    }
}

impl Collector for Watchdog {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        self.class.look()?;
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
    fn watchdogs() {
        let tree = Tree::new(
            "
            sys/class/watchdog/watchdog0/access_cs0: 0
            sys/class/watchdog/watchdog0/bootstatus: 1
            sys/class/watchdog/watchdog0/fw_version: 2
            sys/class/watchdog/watchdog0/identity: Software Watchdog
            sys/class/watchdog/watchdog0/nowayout: 0
            sys/class/watchdog/watchdog0/options: 0x8380
            sys/class/watchdog/watchdog0/pretimeout: 120
            sys/class/watchdog/watchdog0/pretimeout_governor: noop
            sys/class/watchdog/watchdog0/state: active
            sys/class/watchdog/watchdog0/status: 0x8000
            sys/class/watchdog/watchdog0/timeleft: 300
            sys/class/watchdog/watchdog0/timeout: 60
            sys/class/watchdog/watchdog1/uevent:",
        );
        let expected = r#"
            # node_watchdog_bootstatus gauge
            node_watchdog_bootstatus{name="watchdog0"} 1
            # node_watchdog_fw_version gauge
            node_watchdog_fw_version{name="watchdog0"} 2
            # node_watchdog_nowayout gauge
            node_watchdog_nowayout{name="watchdog0"} 0
            # node_watchdog_timeleft_seconds gauge
            node_watchdog_timeleft_seconds{name="watchdog0"} 300
            # node_watchdog_timeout_seconds gauge
            node_watchdog_timeout_seconds{name="watchdog0"} 60
            # node_watchdog_pretimeout_seconds gauge
            node_watchdog_pretimeout_seconds{name="watchdog0"} 120
            # node_watchdog_access_cs0 gauge
            node_watchdog_access_cs0{name="watchdog0"} 0
            # node_watchdog_info gauge
            node_watchdog_info{identity="Software Watchdog",name="watchdog0",options="0x8380",pretimeout_governor="noop",state="active",status="0x8000"} 1
            node_watchdog_info{name="watchdog1"} 1"#;
        assert_text(&told(&mut Watchdog::new(&tree.settings())), expected);
        assert_eq!(told(&mut Watchdog::new(&Tree::new("sys/class/watchdog/").settings())), "");
        assert!(matches!(failed(&mut Watchdog::new(&Tree::new("").settings())).1, Fail::NoData));
    }
}
