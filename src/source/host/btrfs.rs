//! `btrfs`: space, commits, devices and their errors of Btrfs file systems. From /sys/fs/btrfs (the kernel's Documentation/ABI/testing/sysfs-fs-btrfs).
//!
//! What node_exporter asks by ioctl, which would be unsafe code, is read: which device has which number, its UUID and how much of it is in use stand in the
//! superblock at its start, its errors in /sys (kernel 5.14). Who may not read devices gets their sizes alone, as from node_exporter where it may not ask.

use super::devices::{Class, Families, Row, entries, number_of, text_of};
use super::files::{Buffer, File, lines, text, unsigned, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};
use rustix::fs::{Mode, OFlags};
use std::path::{Path, PathBuf};

const INFO: usize = 0;
const RESERVE: usize = 1;
const COMMITS: usize = 2;
const LAST_COMMIT: usize = 3;
const LONGEST_COMMIT: usize = 4;
const COMMIT_TIME: usize = 5;
const RESERVED: usize = 6;
const USED: usize = 7;
const SIZE: usize = 8;
const RATIO: usize = 9;
const DEVICE_SIZE: usize = 10;
const DEVICE_UNUSED: usize = 11;
const DEVICE_ERRORS: usize = 12;
const ROWS: [Row; 13] = [
    ("node_btrfs_info", "Always 1; what a file system is called.", Kind::Gauge),
    ("node_btrfs_global_rsv_size_bytes", "Size of the reserve.", Kind::Gauge),
    ("node_btrfs_commits_total", "Commits.", Kind::Counter),
    ("node_btrfs_last_commit_seconds", "How long the last commit took.", Kind::Gauge),
    ("node_btrfs_max_commit_seconds", "How long the longest commit took.", Kind::Gauge),
    ("node_btrfs_commit_seconds_total", "How long all commits took.", Kind::Counter),
    ("node_btrfs_reserved_bytes", "What is reserved for a kind of data.", Kind::Gauge),
    ("node_btrfs_used_bytes", "What a kind of data takes in a layout.", Kind::Gauge),
    ("node_btrfs_size_bytes", "What a kind of data has in a layout.", Kind::Gauge),
    ("node_btrfs_allocation_ratio", "How many bytes of devices a byte of data takes.", Kind::Gauge),
    ("node_btrfs_device_size_bytes", "Size of a device.", Kind::Gauge),
    ("node_btrfs_device_unused_bytes", "What of a device is not allocated.", Kind::Gauge),
    ("node_btrfs_device_errors_total", "Errors of a device.", Kind::Counter),
];

/// Lines of error_stats, and what `type` they are.
const ERRORS: [(&str, &str); 5] = [
    ("write_errs", "write"),
    ("read_errs", "read"),
    ("flush_errs", "flush"),
    ("corruption_errs", "corruption"),
    ("generation_errs", "generation"),
];

/// The kernel counts sectors of this size, whatever the device has.
const SECTOR: f64 = 512.0;
/// Where the first superblock is, and how much of it matters.
const SUPERBLOCK_AT: u64 = 64 * 1024;
const SUPERBLOCK_BYTES: usize = 512;

pub(super) struct Btrfs {
    class: Class,
    devices: PathBuf,
    /// What superblocks said when they were looked at, by the directory of the file system and the device's name.
    known: Vec<(String, String, Device)>,
    families: Families,
    buffer: Buffer,
}

/// What a superblock says of its device.
#[derive(Debug, Clone, PartialEq)]
struct Device {
    number: u64,
    uuid: String,
    size: u64,
    used: u64,
}

impl Btrfs {
    pub(super) fn new(settings: &Settings) -> Btrfs {
        Btrfs {
            class: Class::new(settings.roots.sys("fs/btrfs")),
            devices: settings.roots.rootfs("/dev"),
            known: Vec::new(),
            families: Families::new(&ROWS),
            buffer: Buffer::default(),
        }
    }

    fn fill(&mut self, looks: bool) -> Result<(), Fail> {
        if looks {
            self.known.clear();
        }
        // Beside file systems there is `features`, which has no UUID.
        for name in self.class.names().to_vec().iter().filter(|name| name.contains('-')) {
            let directory = self.class.directory().join(name);
            let devices = entries(&directory.join("devices")).map_err(|error| Fail::io(&directory, error))?;
            if looks {
                for device in &devices {
                    if let Some(found) = superblock(&self.devices.join(device)) {
                        self.known.push((name.clone(), device.clone(), found));
                    }
                }
            }
            self.fill_system(name, &directory, &devices)?;
        }
        Ok(())
    }

    fn fill_system(&mut self, name: &str, directory: &Path, devices: &[String]) -> Result<(), Fail> {
        let read = |path: &str| text_of(directory.join(path), &mut self.buffer);
        let [label, uuid] = ["label", "metadata_uuid"].map(read);
        let (label, uuid) = (label?.unwrap_or_default(), uuid?.filter(|uuid| !uuid.is_empty()));
        let uuid = ("uuid", uuid.as_deref().unwrap_or(name));
        self.families.add(INFO, &[("label", &label), uuid], 1.0);
        if let Some(reserve) = number_of(directory.join("allocation/global_rsv_size"), &mut self.buffer)? {
            self.families.add(RESERVE, &[uuid], reserve as f64);
        }
        // Kernel 5.19.
        let mut file = File::passing(directory.join("commit_stats"));
        if let Ok(bytes) = file.read(&mut self.buffer) {
            for (row, key, over) in [
                (COMMITS, "commits", 1.0),
                (LAST_COMMIT, "last_commit_ms", 1000.0),
                (LONGEST_COMMIT, "max_commit_ms", 1000.0),
                (COMMIT_TIME, "total_commit_ms", 1000.0),
            ] {
                if let Some(value) = keyed(bytes, key, file.path())? {
                    self.families.add(row, &[uuid], value as f64 / over);
                }
            }
        }
        for kind in ["data", "metadata", "system"] {
            let directory = directory.join("allocation").join(kind);
            let kind = ("block_group_type", kind);
            if let Some(reserved) = number_of(directory.join("bytes_reserved"), &mut self.buffer)? {
                self.families.add(RESERVED, &[kind, uuid], reserved as f64);
            }
            for layout in entries(&directory).map_err(|error| Fail::io(&directory, error))? {
                let directory = directory.join(&layout);
                if !directory.is_dir() {
                    continue;
                }
                let labels = [kind, ("mode", layout.as_str()), uuid];
                for (row, file) in [(USED, "used_bytes"), (SIZE, "total_bytes")] {
                    if let Some(bytes) = number_of(directory.join(file), &mut self.buffer)? {
                        self.families.add(row, &labels, bytes as f64);
                    }
                }
                self.families.add(RATIO, &labels, ratio(&layout, devices.len() as f64));
            }
        }
        self.fill_devices(name, directory, devices, uuid)
    }

    fn fill_devices(
        &mut self,
        name: &str,
        directory: &Path,
        devices: &[String],
        uuid: (&str, &str),
    ) -> Result<(), Fail> {
        let known: Vec<&(String, String, Device)> =
            self.known.iter().filter(|(system, device, _)| system == name && devices.contains(device)).collect();
        // All or none: series of one file system have the same labels.
        if known.len() < devices.len() {
            for device in devices {
                let sectors = number_of(directory.join("devices").join(device).join("size"), &mut self.buffer)?;
                if let Some(sectors) = sectors {
                    self.families.add(DEVICE_SIZE, &[("device", device), uuid], sectors as f64 * SECTOR);
                }
            }
            return Ok(());
        }
        for (_, name, device) in known {
            let labels = [("btrfs_dev_uuid", device.uuid.as_str()), ("device", name), ("type", ""), uuid];
            self.families.add(DEVICE_SIZE, &labels, device.size as f64);
            self.families.add(DEVICE_UNUSED, &labels, device.size.saturating_sub(device.used) as f64);
            let errors = directory.join("devinfo").join(device.number.to_string()).join("error_stats");
            let mut file = File::passing(errors);
            let Ok(bytes) = file.read(&mut self.buffer) else { continue };
            for (key, kind) in ERRORS {
                if let Some(errors) = keyed(bytes, key, file.path())? {
                    let [device_uuid, device, _, uuid] = labels;
                    self.families.add(DEVICE_ERRORS, &[device_uuid, device, ("type", kind), uuid], errors as f64);
                }
            }
        }
        Ok(())
    }
}

impl Collector for Btrfs {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let looks = match self.class.look() {
            Ok(looks) => looks,
            Err(Fail::NoData) => return Ok(()),
            Err(fail) => return Err(fail),
        };
        let found = self.fill(looks).inspect_err(|_| self.class.again());
        self.families.tell(out);
        found
    }
}

/// The number behind a word at the start of a line; none if there is no such line.
fn keyed(bytes: &[u8], key: &str, path: &Path) -> Result<Option<u64>, Fail> {
    let Some(line) = lines(bytes).find(|line| words(line).next() == Some(key.as_bytes())) else { return Ok(None) };
    let number = words(line).nth(1).and_then(unsigned);
    number.map(Some).ok_or_else(|| Fail::malformed(path, text(line)))
}

/// How many bytes of devices a byte takes, of so many devices; 0 where that is not known.
fn ratio(layout: &str, devices: f64) -> f64 {
    match layout {
        "single" | "raid0" => 1.0,
        "dup" | "raid1" | "raid10" => 2.0,
        "raid1c3" => 3.0,
        "raid1c4" => 4.0,
        "raid5" => devices / (devices - 1.0),
        "raid6" => devices / (devices - 2.0),
        _ => 0.0,
    }
}

/// What the superblock of a device says of it (the kernel's include/uapi/linux/btrfs_tree.h: btrfs_super_block and btrfs_dev_item).
fn superblock(path: &Path) -> Option<Device> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).ok()?;
    let mut block = [0; SUPERBLOCK_BYTES];
    if rustix::io::pread(&file, &mut block, SUPERBLOCK_AT).ok()? < block.len() {
        return None;
    }
    let word = |at: usize| Some(u64::from_le_bytes(block.get(at..at + 8)?.try_into().ok()?));
    if block.get(0x40..0x48)? != b"_BHRfS_M" {
        return None;
    }
    // The device's item is at 0xc9: number, size, used bytes, and behind 42 bytes more its UUID.
    let mut uuid = String::new();
    for (at, byte) in block.get(0xc9 + 66..0xc9 + 82)?.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            uuid.push('-');
        }
        uuid.extend([byte >> 4, byte & 15].iter().filter_map(|digit| char::from_digit(u32::from(*digit), 16)));
    }
    Some(Device { number: word(0xc9)?, size: word(0xc9 + 8)?, used: word(0xc9 + 16)?, uuid })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, told};
    use super::*;

    const SYSTEMS: &str = "
        sys/fs/btrfs/features/raid56: 0
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/label: fixture
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/metadata_uuid: 0abb23a9-579b-43e6-ad30-227ef47fcb9d
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/commit_stats: commits 258051\\nlast_commit_ms 1000\\nmax_commit_ms 51462\\ntotal_commit_ms 47836090
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/allocation/global_rsv_size: 16777216
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/allocation/data/bytes_reserved: 4096
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/allocation/data/raid5/used_bytes: 808189952
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/allocation/data/raid5/total_bytes: 2147483648
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/allocation/metadata/bytes_reserved: 0
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/allocation/metadata/raid1c3/used_bytes: 933888
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/allocation/metadata/raid1c3/total_bytes: 1073741824
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/allocation/system/bytes_reserved: 0
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/devices/sda/size: 20971520
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/devices/sdb/size: 20971520
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/devices/sdc/size: 20971520
        sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/devinfo/1/error_stats: write_errs 1\\nread_errs 2\\nflush_errs 3\\ncorruption_errs 4\\ngeneration_errs 5
        sys/fs/btrfs/7f07c59f-6136-449c-ab87-e1cf2328731b/label:
        sys/fs/btrfs/7f07c59f-6136-449c-ab87-e1cf2328731b/allocation/data/single/used_bytes: 1
        sys/fs/btrfs/7f07c59f-6136-449c-ab87-e1cf2328731b/allocation/metadata/
        sys/fs/btrfs/7f07c59f-6136-449c-ab87-e1cf2328731b/allocation/system/
        sys/fs/btrfs/7f07c59f-6136-449c-ab87-e1cf2328731b/devices/nvme0n1p2/size: 8";

    const SPACE: &str = r#"
        # node_btrfs_info gauge
        node_btrfs_info{label="fixture",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 1
        node_btrfs_info{uuid="7f07c59f-6136-449c-ab87-e1cf2328731b"} 1
        # node_btrfs_global_rsv_size_bytes gauge
        node_btrfs_global_rsv_size_bytes{uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 16777216
        # node_btrfs_commits_total counter
        node_btrfs_commits_total{uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 258051
        # node_btrfs_last_commit_seconds gauge
        node_btrfs_last_commit_seconds{uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 1
        # node_btrfs_max_commit_seconds gauge
        node_btrfs_max_commit_seconds{uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 51.462
        # node_btrfs_commit_seconds_total counter
        node_btrfs_commit_seconds_total{uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 47836.09
        # node_btrfs_reserved_bytes gauge
        node_btrfs_reserved_bytes{block_group_type="data",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 4096
        node_btrfs_reserved_bytes{block_group_type="metadata",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 0
        node_btrfs_reserved_bytes{block_group_type="system",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 0
        # node_btrfs_used_bytes gauge
        node_btrfs_used_bytes{block_group_type="data",mode="raid5",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 808189952
        node_btrfs_used_bytes{block_group_type="metadata",mode="raid1c3",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 933888
        node_btrfs_used_bytes{block_group_type="data",mode="single",uuid="7f07c59f-6136-449c-ab87-e1cf2328731b"} 1
        # node_btrfs_size_bytes gauge
        node_btrfs_size_bytes{block_group_type="data",mode="raid5",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 2147483648
        node_btrfs_size_bytes{block_group_type="metadata",mode="raid1c3",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 1073741824
        # node_btrfs_allocation_ratio gauge
        node_btrfs_allocation_ratio{block_group_type="data",mode="raid5",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 1.5
        node_btrfs_allocation_ratio{block_group_type="metadata",mode="raid1c3",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 3
        node_btrfs_allocation_ratio{block_group_type="data",mode="single",uuid="7f07c59f-6136-449c-ab87-e1cf2328731b"} 1
        "#;

    /// Writes the start of a device of a file system.
    fn device(tree: &Tree, name: &str, number: u64, used: u64) {
        let mut bytes = vec![0; SUPERBLOCK_AT as usize + 4096];
        let block = &mut bytes[SUPERBLOCK_AT as usize..];
        block[0x40..0x48].copy_from_slice(b"_BHRfS_M");
        for (at, value) in [(0xc9, number), (0xd1, 10 << 30), (0xd9, used)] {
            block[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        block[0xc9 + 66..0xc9 + 82].copy_from_slice(&[number as u8; 16]);
        std::fs::create_dir_all(tree.path("root/dev")).unwrap();
        std::fs::write(tree.path(&format!("root/dev/{name}")), bytes).unwrap();
    }

    #[test]
    fn space_and_sizes() {
        let tree = Tree::new(SYSTEMS);
        let devices = r#"
            # node_btrfs_device_size_bytes gauge
            node_btrfs_device_size_bytes{device="sda",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 10737418240
            node_btrfs_device_size_bytes{device="sdb",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 10737418240
            node_btrfs_device_size_bytes{device="sdc",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 10737418240
            node_btrfs_device_size_bytes{device="nvme0n1p2",uuid="7f07c59f-6136-449c-ab87-e1cf2328731b"} 4096"#;
        assert_text(&told(&mut Btrfs::new(&tree.settings())), &(SPACE.to_owned() + devices));
        // One device that cannot be read, or is none of Btrfs, and all are told without more.
        device(&tree, "sda", 1, 0);
        device(&tree, "sdb", 2, 0);
        tree.write("root/dev/sdc", "short");
        tree.write("root/dev/nvme0n1p2", &"x".repeat(128 * 1024));
        assert_text(&told(&mut Btrfs::new(&tree.settings())), &(SPACE.to_owned() + devices));
        assert_eq!(told(&mut Btrfs::new(&Tree::new("").settings())), "");
        assert_eq!(told(&mut Btrfs::new(&Tree::new("sys/fs/btrfs/features/raid56: 0").settings())), "");
    }

    #[test]
    fn devices_and_their_errors() {
        let tree = Tree::new(SYSTEMS);
        for (name, number, used) in [("sda", 1, 1 << 30), ("sdb", 2, 0), ("sdc", 4, 11 << 30)] {
            device(&tree, name, number, used);
        }
        let devices = r#"
            # node_btrfs_device_size_bytes gauge
            node_btrfs_device_size_bytes{btrfs_dev_uuid="01010101-0101-0101-0101-010101010101",device="sda",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 10737418240
            node_btrfs_device_size_bytes{btrfs_dev_uuid="02020202-0202-0202-0202-020202020202",device="sdb",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 10737418240
            node_btrfs_device_size_bytes{btrfs_dev_uuid="04040404-0404-0404-0404-040404040404",device="sdc",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 10737418240
            node_btrfs_device_size_bytes{device="nvme0n1p2",uuid="7f07c59f-6136-449c-ab87-e1cf2328731b"} 4096
            # node_btrfs_device_unused_bytes gauge
            node_btrfs_device_unused_bytes{btrfs_dev_uuid="01010101-0101-0101-0101-010101010101",device="sda",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 9663676416
            node_btrfs_device_unused_bytes{btrfs_dev_uuid="02020202-0202-0202-0202-020202020202",device="sdb",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 10737418240
            node_btrfs_device_unused_bytes{btrfs_dev_uuid="04040404-0404-0404-0404-040404040404",device="sdc",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 0
            # node_btrfs_device_errors_total counter
            node_btrfs_device_errors_total{btrfs_dev_uuid="01010101-0101-0101-0101-010101010101",device="sda",type="write",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 1
            node_btrfs_device_errors_total{btrfs_dev_uuid="01010101-0101-0101-0101-010101010101",device="sda",type="read",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 2
            node_btrfs_device_errors_total{btrfs_dev_uuid="01010101-0101-0101-0101-010101010101",device="sda",type="flush",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 3
            node_btrfs_device_errors_total{btrfs_dev_uuid="01010101-0101-0101-0101-010101010101",device="sda",type="corruption",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 4
            node_btrfs_device_errors_total{btrfs_dev_uuid="01010101-0101-0101-0101-010101010101",device="sda",type="generation",uuid="0abb23a9-579b-43e6-ad30-227ef47fcb9d"} 5"#;
        let mut btrfs = Btrfs::new(&tree.settings());
        assert_text(&told(&mut btrfs), &(SPACE.to_owned() + devices));
        assert_text(&told(&mut btrfs), &(SPACE.to_owned() + devices));
    }
}
