//! `diskstats`: what disks did, from /proc/diskstats (Documentation/admin-guide/iostats.rst); what they are, from udev's database and /sys/block.

use super::files::{Buffer, File, cut, lines, read_once, text, unsigned, words};
use super::table::Table;
use super::{Collector, Fail, Filter, Roots, Settings};
use crate::model::samples::{Kind, Samples};
use std::os::unix::fs::MetadataExt;

/// Families in the file's order of columns, each with what its number is multiplied by. Sectors are 512 bytes, whatever the disk's are.
const COLUMNS: [(&str, &str, Kind, f64); 17] = [
    ("node_disk_reads_completed_total", "Reads that were done.", Kind::Counter, 1.0),
    ("node_disk_reads_merged_total", "Reads that were joined with others.", Kind::Counter, 1.0),
    ("node_disk_read_bytes_total", "Bytes that were read.", Kind::Counter, 512.0),
    ("node_disk_read_time_seconds_total", "Time of all reads.", Kind::Counter, 1e-3),
    ("node_disk_writes_completed_total", "Writes that were done.", Kind::Counter, 1.0),
    ("node_disk_writes_merged_total", "Writes that were joined with others.", Kind::Counter, 1.0),
    ("node_disk_written_bytes_total", "Bytes that were written.", Kind::Counter, 512.0),
    ("node_disk_write_time_seconds_total", "Time of all writes.", Kind::Counter, 1e-3),
    ("node_disk_io_now", "Requests that are under way.", Kind::Gauge, 1.0),
    ("node_disk_io_time_seconds_total", "Time in which a request was under way.", Kind::Counter, 1e-3),
    ("node_disk_io_time_weighted_seconds_total", "Time of all requests together.", Kind::Counter, 1e-3),
    ("node_disk_discards_completed_total", "Discards that were done.", Kind::Counter, 1.0),
    ("node_disk_discards_merged_total", "Discards that were joined with others.", Kind::Counter, 1.0),
    ("node_disk_discarded_sectors_total", "Sectors that were discarded.", Kind::Counter, 1.0),
    ("node_disk_discard_time_seconds_total", "Time of all discards.", Kind::Counter, 1e-3),
    ("node_disk_flush_requests_total", "Flushes that were done.", Kind::Counter, 1.0),
    ("node_disk_flush_requests_time_seconds_total", "Time of all flushes.", Kind::Counter, 1e-3),
];

/// What udev is asked for.
const PROPERTIES: [&str; 20] = [
    "ID_PATH",
    "ID_WWN",
    "ID_MODEL",
    "ID_REVISION",
    "SCSI_IDENT_SERIAL",
    "ID_SERIAL_SHORT",
    "ID_SERIAL",
    "ID_FS_TYPE",
    "ID_FS_USAGE",
    "ID_FS_UUID",
    "ID_FS_VERSION",
    "DM_NAME",
    "DM_UUID",
    "DM_VG_NAME",
    "DM_LV_NAME",
    "DM_LV_LAYER",
    "ID_ATA",
    "ID_ATA_WRITE_CACHE",
    "ID_ATA_WRITE_CACHE_ENABLED",
    "ID_ATA_ROTATION_RATE_RPM",
];

pub(super) struct Diskstats {
    file: File,
    filter: Filter,
    roots: Roots,
    table: Table,
    disks: Vec<Disk>,
    buffer: Buffer,
}

/// What a disk is.
struct Disk {
    name: String,
    major: String,
    minor: String,
    rotational: File,
    /// Which file of udev's database was read: inode, time of its last change.
    read: Option<(u64, i64, i64)>,
    values: Vec<(&'static str, String)>,
    seen: bool,
}

impl Disk {
    fn new(roots: &Roots, name: &str, major: &str, minor: &str) -> Disk {
        // A slash in a name is an exclamation mark in /sys.
        let path = roots.sys("block").join(name.replace('/', "!")).join("queue/rotational");
        Disk {
            name: name.to_owned(),
            major: major.to_owned(),
            minor: minor.to_owned(),
            rotational: File::new(path),
            read: None,
            values: Vec::new(),
            seen: true,
        }
    }

    fn value(&self, property: &str) -> &str {
        self.values.iter().find(|(name, _)| *name == property).map_or("", |(_, value)| value)
    }

    /// Reads the database if it changed: udev writes a file anew and puts it in the old one's place.
    fn look(&mut self, roots: &Roots, buffer: &mut Buffer) {
        let path = roots.udev.join(format!("b{}:{}", self.major, self.minor));
        let found = std::fs::metadata(&path).ok().map(|found| (found.ino(), found.mtime(), found.mtime_nsec()));
        if found == self.read {
            return;
        }
        self.read = found;
        self.values.clear();
        let Ok(bytes) = read_once(&path, buffer) else { return };
        for line in lines(bytes) {
            let Some((name, value)) = line.strip_prefix(b"E:").and_then(|rest| cut(rest, b'=')) else {
                continue;
            };
            if let Some(name) = PROPERTIES.iter().find(|property| property.as_bytes() == name) {
                self.values.push((name, String::from_utf8_lossy(value).into_owned()));
            }
        }
    }
}

impl Diskstats {
    pub(super) fn new(settings: &Settings) -> Diskstats {
        Diskstats {
            file: File::new(settings.roots.proc("diskstats")),
            filter: settings.diskstats_device.clone(),
            roots: settings.roots.clone(),
            table: Table::new(COLUMNS.len()),
            disks: Vec::new(),
            buffer: Buffer::default(),
        }
    }

    fn count(&mut self) -> Result<(), Fail> {
        let bytes = self.file.all_needed(&mut self.buffer)?;
        self.table.clear();
        for disk in &mut self.disks {
            disk.seen = false;
        }
        for line in lines(bytes) {
            let malformed = || Fail::malformed(self.file.path(), text(line));
            let mut fields = words(line);
            let (Some(major), Some(minor), Some(name)) = (fields.next(), fields.next(), fields.next()) else {
                return Err(malformed());
            };
            unsigned(major).and(unsigned(minor)).ok_or_else(malformed)?;
            let [major, minor, name] = [major, minor, name].map(text);
            if !self.filter.takes(name) {
                continue;
            }
            self.table.row(name);
            for ((column, field), (_, _, _, factor)) in fields.enumerate().zip(COLUMNS) {
                let value = unsigned(field).ok_or_else(malformed)? as f64;
                // Divided, as a thousandth is no number of the machine.
                let value = if factor == 1e-3 { value / 1000.0 } else { value * factor };
                self.table.set(column, value);
            }
            let known = self.disks.iter_mut().find(|disk| disk.name == name);
            match known.filter(|disk| disk.major == major && disk.minor == minor) {
                Some(disk) => disk.seen = true,
                None => self.disks.push(Disk::new(&self.roots, name, major, minor)),
            }
        }
        self.disks.retain(|disk| disk.seen);
        Ok(())
    }
}

impl Collector for Diskstats {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        self.count()?;
        if self.table.is_empty() {
            return Ok(());
        }
        for (column, (name, help, kind, _)) in COLUMNS.into_iter().enumerate() {
            self.table.tell(out, column, (name, help, kind), "device");
        }
        out.family("node_disk_info", "What a disk is.", Kind::Gauge);
        for disk in &mut self.disks {
            disk.look(&self.roots, &mut self.buffer);
            let rotational = disk.rotational.word(&mut self.buffer).map_or("0", text);
            let serial = ["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"].map(|name| disk.value(name));
            let labels = [
                ("device", disk.name.as_str()),
                ("major", &disk.major),
                ("minor", &disk.minor),
                ("model", disk.value("ID_MODEL")),
                ("path", disk.value("ID_PATH")),
                ("revision", disk.value("ID_REVISION")),
                ("rotational", rotational),
                ("serial", serial.into_iter().find(|serial| !serial.is_empty()).unwrap_or("")),
                ("wwn", disk.value("ID_WWN")),
            ];
            out.add(&labels, 1.0);
        }
        self.tell_named(out, "node_disk_filesystem_info", "The file system on a disk.", "ID_FS_TYPE", &FILESYSTEM);
        self.tell_named(
            out,
            "node_disk_device_mapper_info",
            "What the device mapper calls a disk.",
            "DM_NAME",
            &MAPPER,
        );
        for (name, help, property) in ATA {
            let mut begun = false;
            for disk in self.disks.iter().filter(|disk| !disk.value("ID_ATA").is_empty()) {
                let Some(value) = unsigned(disk.value(property).as_bytes()) else { continue };
                if !std::mem::replace(&mut begun, true) {
                    out.family(name, help, Kind::Gauge);
                }
                out.add(&[("device", &disk.name)], value as f64);
            }
        }
        Ok(())
    }
}

const FILESYSTEM: [(&str, &str); 4] =
    [("type", "ID_FS_TYPE"), ("usage", "ID_FS_USAGE"), ("uuid", "ID_FS_UUID"), ("version", "ID_FS_VERSION")];
const MAPPER: [(&str, &str); 5] = [
    ("lv_layer", "DM_LV_LAYER"),
    ("lv_name", "DM_LV_NAME"),
    ("name", "DM_NAME"),
    ("uuid", "DM_UUID"),
    ("vg_name", "DM_VG_NAME"),
];
const ATA: [(&str, &str, &str); 3] = [
    ("node_disk_ata_rotation_rate_rpm", "How fast a disk turns, 0 for one that does not.", "ID_ATA_ROTATION_RATE_RPM"),
    ("node_disk_ata_write_cache", "Whether a disk has a write cache.", "ID_ATA_WRITE_CACHE"),
    ("node_disk_ata_write_cache_enabled", "Whether its write cache is on.", "ID_ATA_WRITE_CACHE_ENABLED"),
];

impl Diskstats {
    /// A family of properties, of the disks that have `key`.
    fn tell_named(&self, out: &mut Samples, name: &str, help: &str, key: &str, properties: &[(&str, &str)]) {
        let mut begun = false;
        for disk in self.disks.iter().filter(|disk| !disk.value(key).is_empty()) {
            if !std::mem::replace(&mut begun, true) {
                out.family(name, help, Kind::Gauge);
            }
            let mut labels = vec![("device", disk.name.as_str())];
            labels.extend(properties.iter().map(|(label, property)| (*label, disk.value(property))));
            out.add(&labels, 1.0);
        }
    }
}
