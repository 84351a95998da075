//! `dmi`: what the firmware says of the machine. From /sys/class/dmi/id (the kernel's drivers/firmware/dmi-id.c). It does not change, and is read once.

use super::devices::{needed_entries, text_of};
use super::files::Buffer;
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};
use std::path::PathBuf;

/// Labels, and the attributes they are from.
const LABELS: [(&str, &str); 20] = [
    ("bios_date", "bios_date"),
    ("bios_release", "bios_release"),
    ("bios_vendor", "bios_vendor"),
    ("bios_version", "bios_version"),
    ("board_asset_tag", "board_asset_tag"),
    ("board_name", "board_name"),
    ("board_serial", "board_serial"),
    ("board_vendor", "board_vendor"),
    ("board_version", "board_version"),
    ("chassis_asset_tag", "chassis_asset_tag"),
    ("chassis_serial", "chassis_serial"),
    ("chassis_vendor", "chassis_vendor"),
    ("chassis_version", "chassis_version"),
    ("product_family", "product_family"),
    ("product_name", "product_name"),
    ("product_serial", "product_serial"),
    ("product_sku", "product_sku"),
    ("product_uuid", "product_uuid"),
    ("product_version", "product_version"),
    ("system_vendor", "sys_vendor"),
];

pub(super) struct Dmi {
    directory: PathBuf,
    told: Samples,
}

impl Dmi {
    pub(super) fn new(settings: &Settings) -> Dmi {
        Dmi { directory: settings.roots.sys("class/dmi/id"), told: Samples::default() }
    }
}

impl Collector for Dmi {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        if self.told.is_empty() {
            needed_entries(&self.directory)?;
            let mut buffer = Buffer::default();
            let mut values = Vec::new();
            for (label, attribute) in LABELS {
                // Serial numbers are for root alone.
                values.push((label, text_of(self.directory.join(attribute), &mut buffer)?.unwrap_or_default()));
            }
            let labels: Vec<(&str, &str)> = values.iter().map(|(label, value)| (*label, value.as_str())).collect();
            self.told.family("node_dmi_info", "Always 1; what the firmware says of the machine.", Kind::Gauge);
            self.told.add(&labels, 1.0);
        }
        out.append(&self.told);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    #[test]
    fn labels_that_there_are() {
        let tree = Tree::new(
            "
            sys/class/dmi/id/bios_date: 04/12/2021
            sys/class/dmi/id/board_name: 07PXPY
            sys/class/dmi/id/board_asset_tag:
            sys/class/dmi/id/chassis_type: 23
            sys/class/dmi/id/product_name: PowerEdge R6515  \x20
            sys/class/dmi/id/sys_vendor: Dell Inc.
            sys/class/dmi/id/modalias: dmi:bvnDellInc.",
        );
        let mut dmi = Dmi::new(&tree.settings());
        let expected = r#"
            # node_dmi_info gauge
            node_dmi_info{bios_date="04/12/2021",board_name="07PXPY",product_name="PowerEdge R6515",system_vendor="Dell Inc."} 1"#;
        assert_text(&told(&mut dmi), expected);
        tree.remove("sys/class/dmi");
        assert_text(&told(&mut dmi), expected);
        assert!(matches!(failed(&mut Dmi::new(&tree.settings())).1, Fail::NoData));
    }
}
