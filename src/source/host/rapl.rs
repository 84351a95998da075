//! `rapl`: energy that processors and their parts have used. From /sys/class/powercap (the kernel's Documentation/power/powercap). Most kernels let root
//! alone read it.

use super::devices::{Class, absent, text_of};
use super::files::{Buffer, File, unsigned};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};
use rustix::io::Errno;
use std::collections::BTreeMap;

pub(super) struct Rapl {
    class: Class,
    zones: Vec<Zone>,
    buffer: Buffer,
}

struct Zone {
    family: String,
    index: String,
    path: String,
    energy: File,
}

impl Rapl {
    pub(super) fn new(settings: &Settings) -> Rapl {
        Rapl { class: Class::new(settings.roots.sys("class/powercap")), zones: Vec::new(), buffer: Buffer::default() }
    }

    fn look(&mut self) -> Result<(), Fail> {
        self.zones.clear();
        let mut met: BTreeMap<String, u32> = BTreeMap::new();
        for name in self.class.names().to_vec() {
            let directory = self.class.directory().join(name);
            // Control types, which zones are of, have no name.
            let Some(name) = text_of(directory.join("name"), &mut self.buffer)? else { continue };
            // `package-1` says which one it is; others are counted.
            let (name, index) = match name.split_once('-').map(|(name, index)| (name, index.parse::<u32>())) {
                Some((name, Ok(index))) => (name.to_owned(), index),
                _ => {
                    let index = met.get(&name).copied().unwrap_or(0);
                    (name, index)
                }
            };
            met.insert(name.clone(), index.saturating_add(1));
            let letters = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
            let family = format!("node_rapl_{}_joules_total", name.chars().map(letters).collect::<String>());
            let energy = self.class.attribute(directory.join("energy_uj"));
            let path = directory.to_string_lossy().into_owned();
            self.zones.push(Zone { family, index: index.to_string(), path, energy });
        }
        self.zones.sort_by(|a, b| a.family.cmp(&b.family));
        Ok(())
    }
}

impl Collector for Rapl {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        if self.class.look()? {
            self.look().inspect_err(|_| self.class.again())?;
        }
        let mut family = "";
        for zone in &mut self.zones {
            let energy = match zone.energy.word(&mut self.buffer) {
                Ok(word) => {
                    unsigned(word).ok_or_else(|| Fail::malformed(zone.energy.path(), "a number is expected"))?
                }
                Err(Errno::ACCESS | Errno::PERM) => return Err(Fail::NoData),
                Err(error) if absent(error) => continue,
                Err(error) => return Err(Fail::io(zone.energy.path(), error)),
            };
            if family != zone.family {
                family = &zone.family;
                out.family(family, "Energy that a part of a processor has used, joules.", Kind::Counter);
            }
            out.add(&[("index", &zone.index), ("path", &zone.path)], energy as f64 / 1e6);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, text, told};
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const ZONES: &str = "
        sys/class/powercap/intel-rapl/enabled: 1
        sys/class/powercap/intel-rapl:0/name: package-0
        sys/class/powercap/intel-rapl:0/energy_uj: 240422366267
        sys/class/powercap/intel-rapl:0:0/name: core
        sys/class/powercap/intel-rapl:0:0/energy_uj: 118821284256
        sys/class/powercap/intel-rapl:0:1/name: dram
        sys/class/powercap/intel-rapl:0:1/energy_uj: 1500000
        sys/class/powercap/intel-rapl:1/name: package-1
        sys/class/powercap/intel-rapl:1/energy_uj: 500000
        sys/class/powercap/intel-rapl:1:1/name: dram
        sys/class/powercap/intel-rapl:1:1/energy_uj: 0
        sys/class/powercap/intel-rapl-mmio:0/name: psys-x-1
        sys/class/powercap/intel-rapl-mmio:0/energy_uj: 1000000
        sys/class/powercap/dtpm:0/name: no energy";

    #[test]
    fn zones_by_name_and_index() {
        let tree = Tree::new(ZONES);
        let expected = r#"
            # node_rapl_core_joules_total counter
            node_rapl_core_joules_total{index="0",path="sys/class/powercap/intel-rapl:0:0"} 118821.284256
            # node_rapl_dram_joules_total counter
            node_rapl_dram_joules_total{index="0",path="sys/class/powercap/intel-rapl:0:1"} 1.5
            node_rapl_dram_joules_total{index="1",path="sys/class/powercap/intel-rapl:1:1"} 0
            # node_rapl_package_joules_total counter
            node_rapl_package_joules_total{index="0",path="sys/class/powercap/intel-rapl:0"} 240422.366267
            node_rapl_package_joules_total{index="1",path="sys/class/powercap/intel-rapl:1"} 0.5
            # node_rapl_psys_x_1_joules_total counter
            node_rapl_psys_x_1_joules_total{index="0",path="sys/class/powercap/intel-rapl-mmio:0"} 1"#;
        assert_text(&tree.without_root(&told(&mut Rapl::new(&tree.settings()))), expected);
        let (text, fail) = failed(&mut Rapl::new(&Tree::new("").settings()));
        assert!(text.is_empty() && matches!(fail, Fail::NoData));
    }

    #[test]
    fn what_root_alone_may_read_is_no_data() {
        let tree = Tree::new(ZONES);
        let mode = |path: &str, mode| {
            std::fs::set_permissions(tree.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode("", 0o755);
        for zone in ["0", "0:0", "0:1", "1", "1:1"] {
            mode(&format!("sys/class/powercap/intel-rapl:{zone}/energy_uj"), 0o400);
        }
        let mut rapl = Rapl::new(&tree.settings());
        // Another user's rights are those of a thread.
        let (text, fail) = std::thread::spawn(move || {
            if rustix::process::geteuid().is_root() {
                let nobody = rustix::process::Uid::from_raw(65534);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            } else {
                let energy = rapl.class.directory().join("intel-rapl:0:0/energy_uj");
                std::fs::set_permissions(energy, std::fs::Permissions::from_mode(0o0)).unwrap();
            }
            let mut out = Samples::default();
            let result = rapl.collect(&mut out);
            (text(&out), result.unwrap_err())
        })
        .join()
        .unwrap();
        assert!(text.is_empty() && matches!(fail, Fail::NoData), "{text} {fail:?}");
    }
}
