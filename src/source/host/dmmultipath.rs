//! `dmmultipath`: disks that are reached on several paths. From /sys/block/dm-* (the kernel's Documentation/ABI/testing/sysfs-block-dm).

use super::devices::{Class, Families, Row, entries, number_of, text_of};
use super::files::Buffer;
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};
use std::path::PathBuf;

const INFO: usize = 0;
const ACTIVE: usize = 1;
const SIZE: usize = 2;
const PATHS: usize = 3;
const PATHS_ACTIVE: usize = 4;
const PATHS_FAILED: usize = 5;
const PATH_STATE: usize = 6;
const ROWS: [Row; 7] = [
    ("node_dmmultipath_device_info", "Always 1; what a disk is called.", Kind::Gauge),
    ("node_dmmultipath_device_active", "Whether a disk is not suspended.", Kind::Gauge),
    ("node_dmmultipath_device_size_bytes", "Size of a disk.", Kind::Gauge),
    ("node_dmmultipath_device_paths", "Paths to a disk.", Kind::Gauge),
    ("node_dmmultipath_device_paths_active", "Paths to a disk that work.", Kind::Gauge),
    ("node_dmmultipath_device_paths_failed", "Paths to a disk that do not work.", Kind::Gauge),
    ("node_dmmultipath_path_state", "Always 1; what a path's device says.", Kind::Gauge),
];

/// The kernel counts sectors of this size, whatever the disk has.
const SECTOR: f64 = 512.0;

pub(super) struct DmMultipath {
    class: Class,
    /// The kernel's name, the mapper's and the UUID of each disk.
    disks: Vec<(String, String, String)>,
    families: Families,
    buffer: Buffer,
}

impl DmMultipath {
    pub(super) fn new(settings: &Settings) -> DmMultipath {
        let class = Class::new(settings.roots.sys("block"));
        DmMultipath { class, disks: Vec::new(), families: Families::new(&ROWS), buffer: Buffer::default() }
    }

    fn look(&mut self) -> Result<(), Fail> {
        self.disks.clear();
        for name in self.class.names().iter().filter(|name| name.starts_with("dm-")) {
            let attribute = |attribute: &str| self.class.directory().join(name).join("dm").join(attribute);
            let uuid = text_of(attribute("uuid"), &mut self.buffer)?.unwrap_or_default();
            if uuid.starts_with("mpath-") {
                let called = text_of(attribute("name"), &mut self.buffer)?.unwrap_or_default();
                self.disks.push((name.clone(), called, uuid));
            }
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<(), Fail> {
        for (name, called, uuid) in &self.disks {
            let directory = self.class.directory().join(name);
            let labels = [("device", called.as_str()), ("sysfs_name", name), ("uuid", uuid)];
            let disk = &labels[..2];
            self.families.add(INFO, &labels, 1.0);
            let number = |path: PathBuf, buffer: &mut Buffer| match number_of(path.clone(), buffer)? {
                Some(number) => Ok(number),
                None => Err(Fail::Error(format!("{}: it is missing or cannot be read", path.display()))),
            };
            let suspended = number(directory.join("dm/suspended"), &mut self.buffer)?;
            self.families.add(ACTIVE, disk, f64::from(u8::from(suspended != 1)));
            let sectors = number(directory.join("size"), &mut self.buffer)?;
            self.families.add(SIZE, disk, sectors as f64 * SECTOR);
            let (mut active, mut failed) = (0.0, 0.0);
            for path in entries(&directory.join("slaves")).unwrap_or_default() {
                let state = self.class.directory().join(&path).join("device/state");
                let state = text_of(state, &mut self.buffer)?.unwrap_or_default();
                // What SCSI and NVMe call a device that works.
                let count = if matches!(state.as_str(), "running" | "live") { &mut active } else { &mut failed };
                *count += 1.0;
                self.families.add(PATH_STATE, &[("device", called), ("path", &path), ("state", &state)], 1.0);
            }
            for (row, paths) in [(PATHS, active + failed), (PATHS_ACTIVE, active), (PATHS_FAILED, failed)] {
                self.families.add(row, disk, paths);
            }
        }
        Ok(())
    }
}

impl Collector for DmMultipath {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        if self.class.look()? {
            self.look().inspect_err(|_| self.class.again())?;
        }
        let found = self.fill().inspect_err(|_| self.class.again());
        self.families.tell(out);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    #[test]
    fn disks_and_paths() {
        let tree = Tree::new(
            "
            sys/block/dm-0/dm/uuid: LVM-abc
            sys/block/dm-0/dm/name: vg-root
            sys/block/dm-5/dm/uuid: mpath-3600508b1001c1234
            sys/block/dm-5/dm/name: mpathA
            sys/block/dm-5/dm/suspended: 0
            sys/block/dm-5/size: 104857600
            sys/block/dm-5/slaves/sdi/
            sys/block/dm-5/slaves/sdj/
            sys/block/sdi/device/state: running
            sys/block/sdj/device/state: offline
            sys/block/dm-6/dm/uuid: mpath-uuid.1
            sys/block/dm-6/dm/name: mpathB
            sys/block/dm-6/dm/suspended: 1
            sys/block/dm-6/size: 0
            sys/block/dm-6/slaves/nvme0n1/
            sys/block/nvme0n1/device/state: live",
        );
        let expected = r#"
            # node_dmmultipath_device_info gauge
            node_dmmultipath_device_info{device="mpathA",sysfs_name="dm-5",uuid="mpath-3600508b1001c1234"} 1
            node_dmmultipath_device_info{device="mpathB",sysfs_name="dm-6",uuid="mpath-uuid.1"} 1
            # node_dmmultipath_device_active gauge
            node_dmmultipath_device_active{device="mpathA",sysfs_name="dm-5"} 1
            node_dmmultipath_device_active{device="mpathB",sysfs_name="dm-6"} 0
            # node_dmmultipath_device_size_bytes gauge
            node_dmmultipath_device_size_bytes{device="mpathA",sysfs_name="dm-5"} 53687091200
            node_dmmultipath_device_size_bytes{device="mpathB",sysfs_name="dm-6"} 0
            # node_dmmultipath_device_paths gauge
            node_dmmultipath_device_paths{device="mpathA",sysfs_name="dm-5"} 2
            node_dmmultipath_device_paths{device="mpathB",sysfs_name="dm-6"} 1
            # node_dmmultipath_device_paths_active gauge
            node_dmmultipath_device_paths_active{device="mpathA",sysfs_name="dm-5"} 1
            node_dmmultipath_device_paths_active{device="mpathB",sysfs_name="dm-6"} 1
            # node_dmmultipath_device_paths_failed gauge
            node_dmmultipath_device_paths_failed{device="mpathA",sysfs_name="dm-5"} 1
            node_dmmultipath_device_paths_failed{device="mpathB",sysfs_name="dm-6"} 0
            # node_dmmultipath_path_state gauge
            node_dmmultipath_path_state{device="mpathA",path="sdi",state="running"} 1
            node_dmmultipath_path_state{device="mpathA",path="sdj",state="offline"} 1
            node_dmmultipath_path_state{device="mpathB",path="nvme0n1",state="live"} 1"#;
        let mut disks = DmMultipath::new(&tree.settings());
        assert_text(&told(&mut disks), expected);
        tree.remove("sys/block/dm-5/size");
        let (_, fail) = failed(&mut disks);
        assert!(matches!(fail, Fail::Error(what) if what.contains("dm-5/size")));
        assert!(matches!(failed(&mut DmMultipath::new(&Tree::new("").settings())).1, Fail::NoData));
        assert_eq!(told(&mut DmMultipath::new(&Tree::new("sys/block/sda/size: 1").settings())), "");
    }
}
