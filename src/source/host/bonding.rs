//! `bonding`: how many links of a bond there are, and are up. From /sys/class/net (the kernel's Documentation/networking/bonding).

use super::files::{Buffer, File, text, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

pub(super) struct Bonding {
    interfaces: PathBuf,
    masters: File,
    buffer: Buffer,
}

impl Bonding {
    pub(super) fn new(settings: &Settings) -> Bonding {
        let interfaces = settings.roots.sys("class/net");
        Bonding { masters: File::new(interfaces.join("bonding_masters")), interfaces, buffer: Buffer::default() }
    }

    /// How many links a bond has, and how many are up.
    fn links(&mut self, bond: &Path) -> Result<(u32, u32), Fail> {
        let mut file = File::passing(bond.join("bonding/slaves"));
        let names = match file.read(&mut self.buffer) {
            Ok(bytes) => names(bytes),
            Err(error) => return Err(Fail::io(file.path(), error)),
        };
        let (mut all, mut up) = (0, 0);
        for name in names {
            let state = |prefix: &str| File::passing(bond.join(format!("{prefix}{name}/bonding_slave/mii_status")));
            let mut file = state("lower_");
            let mut found = file.word(&mut self.buffer).map(|word| word == b"up");
            if found == Err(Errno::NOENT) {
                // Kernels before 3.18.
                file = state("slave_");
                found = file.word(&mut self.buffer).map(|word| word == b"up");
            }
            all += 1;
            up += u32::from(found.map_err(|error| Fail::io(file.path(), error))?);
        }
        Ok((all, up))
    }
}

impl Collector for Bonding {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let names = names(self.masters.needed(&mut self.buffer)?);
        let mut bonds = Vec::new();
        for name in &names {
            let (all, up) = self.links(&self.interfaces.join(name))?;
            bonds.push((name, all, up));
        }
        if bonds.is_empty() {
            return Ok(());
        }
        out.family("node_bonding_active", "Links of a bond that are up.", Kind::Gauge);
        for (name, _, up) in &bonds {
            out.add(&[("master", name)], f64::from(*up));
        }
        out.family("node_bonding_slaves", "Links of a bond.", Kind::Gauge);
        for (name, all, _) in &bonds {
            out.add(&[("master", name)], f64::from(*all));
        }
        Ok(())
    }
}

fn names(bytes: &[u8]) -> Vec<String> {
    words(bytes).map(|word| text(word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    #[test]
    fn bonds_and_their_links() {
        let tree = Tree::new(
            "
            sys/class/net/bonding_masters: bond0 dmz int
            sys/class/net/bond0/bonding/slaves:
            sys/class/net/dmz/bonding/slaves: eth0 eth4
            sys/class/net/dmz/lower_eth0/bonding_slave/mii_status: up
            sys/class/net/dmz/lower_eth4/bonding_slave/mii_status: up
            sys/class/net/int/bonding/slaves: eth5 eth1
            sys/class/net/int/slave_eth1/bonding_slave/mii_status: down
            sys/class/net/int/slave_eth5/bonding_slave/mii_status: up",
        );
        let expected = r#"
            # node_bonding_active gauge
            node_bonding_active{master="bond0"} 0
            node_bonding_active{master="dmz"} 2
            node_bonding_active{master="int"} 1
            # node_bonding_slaves gauge
            node_bonding_slaves{master="bond0"} 0
            node_bonding_slaves{master="dmz"} 2
            node_bonding_slaves{master="int"} 2"#;
        let mut bonding = Bonding::new(&tree.settings());
        assert_text(&told(&mut bonding), expected);
        tree.remove("sys/class/net/int/slave_eth5");
        let (text, fail) = failed(&mut bonding);
        assert!(text.is_empty() && matches!(fail, Fail::Error(what) if what.contains("slave_eth5")));
        tree.write("sys/class/net/bonding_masters", "\n");
        assert_eq!(told(&mut bonding), "");
        tree.remove("sys/class/net/bonding_masters");
        assert!(matches!(failed(&mut Bonding::new(&tree.settings())).1, Fail::NoData));
    }
}
