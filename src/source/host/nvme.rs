//! `nvme`: NVMe controllers and their namespaces. From /sys/class/nvme (the kernel's drivers/nvme/host/sysfs.c).

use super::devices::{Class, Families, Row, entries, number, number_of, text_of, word};
use super::files::{Buffer, File, text};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};
use std::path::Path;

const INFO: usize = 0;
const NAMESPACE: usize = 1;
const CAPACITY: usize = 2;
const SIZE: usize = 3;
const USED: usize = 4;
const BLOCK: usize = 5;
const ROWS: [Row; 6] = [
    ("node_nvme_info", "Always 1; what a controller says of itself.", Kind::Gauge),
    ("node_nvme_namespace_info", "Always 1; how a namespace can be reached.", Kind::Gauge),
    ("node_nvme_namespace_capacity_bytes", "Capacity of a namespace: its size.", Kind::Gauge),
    ("node_nvme_namespace_size_bytes", "Size of a namespace.", Kind::Gauge),
    ("node_nvme_namespace_used_bytes", "What of a namespace is allocated.", Kind::Gauge),
    ("node_nvme_namespace_logical_block_size_bytes", "Size of a namespace's blocks.", Kind::Gauge),
];

pub(super) struct Nvme {
    class: Class,
    controllers: Vec<Controller>,
    families: Families,
    buffer: Buffer,
}

struct Controller {
    name: String,
    firmware: String,
    model: String,
    serial: String,
    number: String,
    state: File,
    namespaces: Vec<Namespace>,
}

struct Namespace {
    number: String,
    block: f64,
    used: File,
    size: File,
    access: File,
}

impl Nvme {
    pub(super) fn new(settings: &Settings) -> Nvme {
        Nvme {
            class: Class::new(settings.roots.sys("class/nvme")),
            controllers: Vec::new(),
            families: Families::new(&ROWS),
            buffer: Buffer::default(),
        }
    }

    fn look(&mut self) -> Result<(), Fail> {
        self.controllers.clear();
        for name in self.class.names().to_vec() {
            let directory = self.class.directory().join(&name);
            let mut told =
                |attribute: &str| Ok(text_of(directory.join(attribute), &mut self.buffer)?.unwrap_or_default());
            let (firmware, model, serial, number) =
                (told("firmware_rev")?, told("model")?, told("serial")?, told("cntlid")?);
            let state = self.class.attribute(directory.join("state"));
            let namespaces = self.namespaces(&directory)?;
            self.controllers.push(Controller { name, firmware, model, serial, number, state, namespaces });
        }
        Ok(())
    }

    fn namespaces(&mut self, controller: &Path) -> Result<Vec<Namespace>, Fail> {
        let mut found = Vec::new();
        for name in entries(controller).map_err(|error| Fail::io(controller, error))? {
            let Some(number) = namespace_number(&name) else { continue };
            let directory = controller.join(&name);
            let block = number_of(directory.join("queue/logical_block_size"), &mut self.buffer)?.unwrap_or(0) as f64;
            let [used, size, access] =
                ["nuse", "size", "ana_state"].map(|name| self.class.attribute(directory.join(name)));
            found.push(Namespace { number: number.to_owned(), block, used, size, access });
        }
        Ok(found)
    }

    fn fill(&mut self) -> Result<(), Fail> {
        for controller in &mut self.controllers {
            let device = ("device", controller.name.as_str());
            let state = word(&mut controller.state, &mut self.buffer)?.map(text).unwrap_or_default();
            let labels = [
                ("cntlid", controller.number.as_str()),
                device,
                ("firmware_revision", &controller.firmware),
                ("model", &controller.model),
                ("serial", &controller.serial),
                ("state", state),
            ];
            self.families.add(INFO, &labels, 1.0);
            for namespace in &mut controller.namespaces {
                let nsid = ("nsid", namespace.number.as_str());
                let access = word(&mut namespace.access, &mut self.buffer)?.map_or("unknown", text);
                self.families.add(NAMESPACE, &[("ana_state", access), device, nsid], 1.0);
                let used = number(&mut namespace.used, &mut self.buffer)?;
                let size = number(&mut namespace.size, &mut self.buffer)?;
                for (row, blocks) in [(CAPACITY, size), (SIZE, size), (USED, used), (BLOCK, Some(1))] {
                    if let Some(blocks) = blocks {
                        self.families.add(row, &[device, nsid], blocks as f64 * namespace.block);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Collector for Nvme {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        if self.class.look()? {
            self.look().inspect_err(|_| self.class.again())?;
        }
        let found = self.fill();
        self.families.tell(out);
        found
    }
}

/// The number of a namespace as one controller reaches it, `nvme0c1n2`: node_exporter tells these alone.
fn namespace_number(name: &str) -> Option<&str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (subsystem, rest) = name.strip_prefix("nvme")?.split_once('c')?;
    let (controller, namespace) = rest.split_once('n')?;
    (digits(subsystem) && digits(controller) && digits(namespace)).then_some(namespace)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    #[test]
    fn controllers_and_namespaces() {
        let tree = Tree::new(
            "
            sys/class/nvme/nvme0/firmware_rev: 1B2QEXP7
            sys/class/nvme/nvme0/model: Samsung SSD 970 PRO 512GB              \x20
            sys/class/nvme/nvme0/serial: S680HF8N190894I
            sys/class/nvme/nvme0/state: live
            sys/class/nvme/nvme0/cntlid: 1997
            sys/class/nvme/nvme0/nvme0c0n1/nuse: 488281250
            sys/class/nvme/nvme0/nvme0c0n1/size: 3906250000
            sys/class/nvme/nvme0/nvme0c0n1/queue/logical_block_size: 512
            sys/class/nvme/nvme0/nvme0c0n1/ana_state: optimized
            sys/class/nvme/nvme0/nvme0c0n2/nuse: 0
            sys/class/nvme/nvme0/nvme0c0n2/size: 10
            sys/class/nvme/nvme0/nvme0c0n2/queue/logical_block_size: 4096
            sys/class/nvme/nvme0/nvme0n1/size: 5
            sys/class/nvme/nvme0/hwmon1/name: nvme
            sys/class/nvme/nvme1/model: small
            sys/class/nvme/nvme1/state: connecting",
        );
        let expected = r#"
            # node_nvme_info gauge
            node_nvme_info{cntlid="1997",device="nvme0",firmware_revision="1B2QEXP7",model="Samsung SSD 970 PRO 512GB",serial="S680HF8N190894I",state="live"} 1
            node_nvme_info{device="nvme1",model="small",state="connecting"} 1
            # node_nvme_namespace_info gauge
            node_nvme_namespace_info{ana_state="optimized",device="nvme0",nsid="1"} 1
            node_nvme_namespace_info{ana_state="unknown",device="nvme0",nsid="2"} 1
            # node_nvme_namespace_capacity_bytes gauge
            node_nvme_namespace_capacity_bytes{device="nvme0",nsid="1"} 2000000000000
            node_nvme_namespace_capacity_bytes{device="nvme0",nsid="2"} 40960
            # node_nvme_namespace_size_bytes gauge
            node_nvme_namespace_size_bytes{device="nvme0",nsid="1"} 2000000000000
            node_nvme_namespace_size_bytes{device="nvme0",nsid="2"} 40960
            # node_nvme_namespace_used_bytes gauge
            node_nvme_namespace_used_bytes{device="nvme0",nsid="1"} 250000000000
            node_nvme_namespace_used_bytes{device="nvme0",nsid="2"} 0
            # node_nvme_namespace_logical_block_size_bytes gauge
            node_nvme_namespace_logical_block_size_bytes{device="nvme0",nsid="1"} 512
            node_nvme_namespace_logical_block_size_bytes{device="nvme0",nsid="2"} 4096"#;
        let mut nvme = Nvme::new(&tree.settings());
        assert_text(&told(&mut nvme), expected);
        tree.write("sys/class/nvme/nvme1/state", "dead\n");
        assert!(told(&mut nvme).contains("state=\"dead\""));
        tree.remove("sys/class/nvme/nvme0");
        assert!(!told(&mut nvme).contains("nvme0"));
        tree.remove("sys/class/nvme");
        assert!(matches!(failed(&mut nvme), (text, Fail::NoData) if text.is_empty()));
    }
}
