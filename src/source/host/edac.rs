//! `edac`: errors that memory controllers corrected, or could not. From /sys/devices/system/edac/mc (the kernel's Documentation/admin-guide/RAS).

use super::devices::{Families, Row, entries, number_of, text_of};
use super::files::Buffer;
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};
use std::path::{Path, PathBuf};

const ROWS: [Row; 6] = [
    ("node_edac_correctable_errors_total", "Memory errors that were corrected.", Kind::Counter),
    ("node_edac_uncorrectable_errors_total", "Memory errors that could not be corrected.", Kind::Counter),
    ("node_edac_csrow_correctable_errors_total", "Memory errors in a row that were corrected.", Kind::Counter),
    (
        "node_edac_csrow_uncorrectable_errors_total",
        "Memory errors in a row that could not be corrected.",
        Kind::Counter,
    ),
    ("node_edac_channel_correctable_errors_total", "Memory errors in a channel that were corrected.", Kind::Counter),
    (
        "node_edac_channel_uncorrectable_errors_total",
        "Memory errors in a channel that could not be corrected.",
        Kind::Counter,
    ),
];

pub(super) struct Edac {
    controllers: PathBuf,
    families: Families,
    buffer: Buffer,
}

impl Edac {
    pub(super) fn new(settings: &Settings) -> Edac {
        let controllers = settings.roots.sys("devices/system/edac/mc");
        Edac { controllers, families: Families::new(&ROWS), buffer: Buffer::default() }
    }

    fn fill(&mut self) -> Result<(), Fail> {
        // A host without is no failure.
        for name in entries(&self.controllers).unwrap_or_default() {
            let Some(controller) = numbered(&name, "mc") else { continue };
            let directory = self.controllers.join(&name);
            let labels = [("controller", controller), ("csrow", "unknown")];
            for (row, file, labels) in [
                (0, "ce_count", &labels[..1]),
                (2, "ce_noinfo_count", &labels[..]),
                (1, "ue_count", &labels[..1]),
                (3, "ue_noinfo_count", &labels[..]),
            ] {
                let errors = self.needed(directory.join(file))?;
                self.families.add(row, labels, errors);
            }
            for name in entries(&directory).map_err(|error| Fail::io(&directory, error))? {
                if let Some(row) = numbered(&name, "csrow") {
                    self.fill_row(&directory.join(&name), controller, row)?;
                }
            }
        }
        Ok(())
    }

    fn fill_row(&mut self, directory: &Path, controller: &str, row: &str) -> Result<(), Fail> {
        for (at, file) in [(2, "ce_count"), (3, "ue_count")] {
            let errors = self.needed(directory.join(file))?;
            self.families.add(at, &[("controller", controller), ("csrow", row)], errors);
        }
        for name in entries(directory).map_err(|error| Fail::io(directory, error))? {
            let Some(channel) = name.strip_suffix("_ce_count").and_then(|name| numbered(name, "ch")) else { continue };
            let label = text_of(directory.join(format!("ch{channel}_dimm_label")), &mut self.buffer)?;
            // As node_exporter writes it.
            let label = label.map_or("unknown".to_owned(), |label| {
                label.replace('#', "").replace("csrow", "_csrow").replace("channel", "_channel")
            });
            let labels = [("channel", channel), ("controller", controller), ("csrow", row), ("dimm_label", &label)];
            let corrected = self.needed(directory.join(&name))?;
            self.families.add(4, &labels, corrected);
            if let Some(errors) = number_of(directory.join(format!("ch{channel}_ue_count")), &mut self.buffer)? {
                self.families.add(5, &labels, errors as f64);
            }
        }
        Ok(())
    }

    fn needed(&mut self, path: PathBuf) -> Result<f64, Fail> {
        match number_of(path.clone(), &mut self.buffer)? {
            Some(number) => Ok(number as f64),
            None => Err(Fail::Error(format!("{}: it is missing or cannot be read", path.display()))),
        }
    }
}

impl Collector for Edac {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let found = self.fill();
        self.families.tell(out);
        found
    }
}

/// The number behind a prefix.
fn numbered<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix).filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    #[test]
    fn controllers_rows_and_channels() {
        let tree = Tree::new(
            "
            sys/devices/system/edac/mc/mc0/ce_count: 1
            sys/devices/system/edac/mc/mc0/ce_noinfo_count: 2
            sys/devices/system/edac/mc/mc0/ue_count: 5
            sys/devices/system/edac/mc/mc0/ue_noinfo_count: 6
            sys/devices/system/edac/mc/mc0/csrow0/ce_count: 3
            sys/devices/system/edac/mc/mc0/csrow0/ue_count: 4
            sys/devices/system/edac/mc/mc0/csrow0/ch0_ce_count: 7
            sys/devices/system/edac/mc/mc0/csrow0/ch0_ue_count: 8
            sys/devices/system/edac/mc/mc0/csrow0/ch0_dimm_label: CPU_SrcID#0_MC#0_Chan#0_DIMM#0
            sys/devices/system/edac/mc/mc0/csrow0/ch1_ce_count: 9
            sys/devices/system/edac/mc/mc0/csrow0/ch1_dimm_label: mc#0csrow#0channel#1
            sys/devices/system/edac/mc/mc0/csrow0/ch2_ce_count: 10
            sys/devices/system/edac/mc/mc0/rank0/size: 1
            sys/devices/system/edac/mc/power/control: auto
            sys/devices/system/edac/mc/uevent:",
        );
        let expected = r#"
            # node_edac_correctable_errors_total counter
            node_edac_correctable_errors_total{controller="0"} 1
            # node_edac_uncorrectable_errors_total counter
            node_edac_uncorrectable_errors_total{controller="0"} 5
            # node_edac_csrow_correctable_errors_total counter
            node_edac_csrow_correctable_errors_total{controller="0",csrow="unknown"} 2
            node_edac_csrow_correctable_errors_total{controller="0",csrow="0"} 3
            # node_edac_csrow_uncorrectable_errors_total counter
            node_edac_csrow_uncorrectable_errors_total{controller="0",csrow="unknown"} 6
            node_edac_csrow_uncorrectable_errors_total{controller="0",csrow="0"} 4
            # node_edac_channel_correctable_errors_total counter
            node_edac_channel_correctable_errors_total{channel="0",controller="0",csrow="0",dimm_label="CPU_SrcID0_MC0_Chan0_DIMM0"} 7
            node_edac_channel_correctable_errors_total{channel="1",controller="0",csrow="0",dimm_label="mc0_csrow0_channel1"} 9
            node_edac_channel_correctable_errors_total{channel="2",controller="0",csrow="0",dimm_label="unknown"} 10
            # node_edac_channel_uncorrectable_errors_total counter
            node_edac_channel_uncorrectable_errors_total{channel="0",controller="0",csrow="0",dimm_label="CPU_SrcID0_MC0_Chan0_DIMM0"} 8"#;
        let mut edac = Edac::new(&tree.settings());
        assert_text(&told(&mut edac), expected);
        tree.remove("sys/devices/system/edac/mc/mc0/csrow0/ue_count");
        let (text, fail) = failed(&mut edac);
        assert!(
            text.contains("node_edac_uncorrectable_errors_total{")
                && matches!(fail, Fail::Error(what) if what.contains("csrow0/ue_count"))
        );
        assert_eq!(told(&mut Edac::new(&Tree::new("").settings())), "");
    }
}
