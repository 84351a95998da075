//! `bcache`: disks that cache others. From /sys/fs/bcache (the kernel's Documentation/admin-guide/bcache).
//!
//! What is in `priority_stats` is left out, as by node_exporter where nobody asks for it: it takes the kernel long.

use super::devices::{Class, Families, Row, entries, word};
use super::files::{Buffer, File, lines, text, unsigned};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};
use std::path::Path;

const ROWS: [Row; 26] = [
    ("node_bcache_average_key_size_sectors", "Mean size of what a key leads to.", Kind::Gauge),
    ("node_bcache_btree_cache_size_bytes", "Memory of the tree's cache.", Kind::Gauge),
    ("node_bcache_cache_available_percent", "What of the cache is not dirty.", Kind::Gauge),
    ("node_bcache_congested", "Congestion.", Kind::Gauge),
    ("node_bcache_root_usage_percent", "What of the tree's root is in use.", Kind::Gauge),
    ("node_bcache_tree_depth", "Depth of the tree.", Kind::Gauge),
    ("node_bcache_active_journal_entries", "Journal entries that are newer than the index.", Kind::Gauge),
    ("node_bcache_btree_nodes", "Nodes of the tree.", Kind::Gauge),
    ("node_bcache_btree_read_average_duration_seconds", "How long reading of a node takes.", Kind::Gauge),
    ("node_bcache_cache_read_races_total", "Buckets that were taken while they were read.", Kind::Counter),
    ("node_bcache_dirty_data_bytes", "Dirty data of a disk.", Kind::Gauge),
    ("node_bcache_dirty_target_bytes", "How much dirty data of a disk is aimed at.", Kind::Gauge),
    ("node_bcache_writeback_rate", "Bytes that are written back in a second.", Kind::Gauge),
    ("node_bcache_writeback_rate_proportional_term", "Part of that rate by how far the aim is.", Kind::Gauge),
    ("node_bcache_writeback_rate_integral_term", "Part of that rate by how far it was.", Kind::Gauge),
    ("node_bcache_writeback_change", "How that rate changed last.", Kind::Gauge),
    ("node_bcache_bypassed_bytes_total", "Bytes that went past the cache.", Kind::Counter),
    ("node_bcache_cache_hits_total", "Reads that the cache answered.", Kind::Counter),
    ("node_bcache_cache_misses_total", "Reads that it did not.", Kind::Counter),
    ("node_bcache_cache_bypass_hits_total", "The same of what had to go past it.", Kind::Counter),
    ("node_bcache_cache_bypass_misses_total", "The same of what had to go past it.", Kind::Counter),
    ("node_bcache_cache_miss_collisions_total", "Reads whose data somebody else wrote.", Kind::Counter),
    ("node_bcache_cache_readaheads_total", "How often was read ahead.", Kind::Counter),
    ("node_bcache_io_errors", "Errors of a cache, which fade.", Kind::Gauge),
    ("node_bcache_metadata_written_bytes_total", "Bytes that are no data.", Kind::Counter),
    ("node_bcache_written_bytes_total", "Bytes that were written to a cache.", Kind::Counter),
];

/// What each of the first rows is from.
const SETS: [&str; 10] = [
    "average_key_size",
    "btree_cache_size",
    "cache_available_percent",
    "congested",
    "root_usage_percent",
    "tree_depth",
    "internal/active_journal_entries",
    "internal/btree_nodes",
    "internal/btree_read_average_duration_us",
    "internal/cache_read_races",
];
/// The row of what is told in microseconds.
const MICROSECONDS: usize = 8;
/// A disk's dirty data, then lines of its writeback_rate_debug, then what it counts.
const DIRTY: usize = 10;
const WRITEBACK: [&str; 5] = ["target:", "rate:", "proportional:", "integral:", "change:"];
const COUNTED: [&str; 7] = [
    "bypassed",
    "cache_hits",
    "cache_misses",
    "cache_bypass_hits",
    "cache_bypass_misses",
    "cache_miss_collisions",
    "cache_readaheads",
];
/// A cache.
const CACHE: [&str; 3] = ["io_errors", "metadata_written", "written"];

pub(super) struct Bcache {
    class: Class,
    families: Families,
    buffer: Buffer,
}

impl Bcache {
    pub(super) fn new(settings: &Settings) -> Bcache {
        let class = Class::new(settings.roots.sys("fs/bcache"));
        Bcache { class, families: Families::new(&ROWS), buffer: Buffer::default() }
    }

    fn fill(&mut self) -> Result<(), Fail> {
        for name in self.class.names().to_vec().iter().filter(|name| name.contains('-')) {
            let directory = self.class.directory().join(name);
            let uuid = ("uuid", name.as_str());
            for (row, attribute) in SETS.iter().enumerate() {
                let times = if row == MICROSECONDS { 1e-6 } else { 1.0 };
                self.fill_one(row, &directory.join(attribute), &[uuid], times)?;
            }
            for part in entries(&directory).map_err(|error| Fail::io(&directory, error))? {
                let directory = directory.join(&part);
                let is = |prefix: &str| part.strip_prefix(prefix).is_some_and(|rest| rest.parse::<u32>().is_ok());
                if is("bdev") {
                    let labels = [("backing_device", part.as_str()), uuid];
                    self.fill_one(DIRTY, &directory.join("dirty_data"), &labels, 1.0)?;
                    self.fill_writeback(&directory, &labels)?;
                    for (row, attribute) in (DIRTY + 1 + WRITEBACK.len()..).zip(COUNTED) {
                        self.fill_one(row, &directory.join("stats_total").join(attribute), &labels, 1.0)?;
                    }
                } else if is("cache") {
                    let labels = [("cache_device", part.as_str()), uuid];
                    for (row, attribute) in (ROWS.len() - CACHE.len()..).zip(CACHE) {
                        self.fill_one(row, &directory.join(attribute), &labels, 1.0)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn fill_one(&mut self, row: usize, path: &Path, labels: &[(&str, &str)], times: f64) -> Result<(), Fail> {
        let mut file = File::passing(path);
        if let Some(word) = word(&mut file, &mut self.buffer)? {
            let value = size(word).ok_or_else(|| format!("'{}' is no size", text(word)));
            self.families.add(row, labels, value.map_err(|what| Fail::malformed(file.path(), what))? * times);
        }
        Ok(())
    }

    fn fill_writeback(&mut self, directory: &Path, labels: &[(&str, &str)]) -> Result<(), Fail> {
        let mut file = File::passing(directory.join("writeback_rate_debug"));
        let Some(bytes) = word(&mut file, &mut self.buffer)? else { return Ok(()) };
        for (row, key) in (DIRTY + 1..).zip(WRITEBACK) {
            let line = lines(bytes).find_map(|line| line.strip_prefix(key.as_bytes()));
            let Some(word) = line.map(<[u8]>::trim_ascii) else { continue };
            let value = size(word.strip_suffix(b"/sec").unwrap_or(word));
            let value = value.ok_or_else(|| Fail::malformed(file.path(), format_args!("'{key}' has no size")))?;
            self.families.add(row, labels, value);
        }
        Ok(())
    }
}

impl Collector for Bcache {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        match self.class.look() {
            Ok(_) => {}
            Err(Fail::NoData) => return Ok(()),
            Err(fail) => return Err(fail),
        }
        let found = self.fill();
        self.families.tell(out);
        found
    }
}

/// A number as bcache writes it for people (bch_hprint): `1.5k` is one and five 1024ths of ten times 1024.
fn size(word: &[u8]) -> Option<f64> {
    let word = std::str::from_utf8(word).ok()?;
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let times = match word.get(digits.len()..)? {
        "" => 1.0,
        unit => 1024f64
            .powi(1 + i32::try_from(["k", "M", "G", "T", "P", "E", "Z", "Y"].iter().position(|u| *u == unit)?).ok()?),
    };
    let (sign, digits) = digits.strip_prefix('-').map_or((1.0, digits), |digits| (-1.0, digits));
    let value = match digits.split_once('.') {
        // Behind the point are tenths of 1024ths, which may be more than nine.
        Some((whole, part)) => {
            let (whole, part) = (unsigned(whole.as_bytes())?, unsigned(part.as_bytes())?);
            whole as f64 + part as f64 / 10.24
        }
        None => unsigned(digits.as_bytes())? as f64,
    };
    Some(sign * (value * times).floor())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    #[test]
    fn sizes() {
        let cases =
            [("0", 0.0), ("546", 546.0), ("1k", 1024.0), ("1.0k", 1024.0), ("512k", 524288.0), ("2G", 2147483648.0)];
        for (word, value) in cases {
            assert_eq!(size(word.as_bytes()), Some(value), "{word}");
        }
        assert_eq!(size(b"-1.1k"), Some(-1124.0));
        for wrong in ["", "k", "1q", "1.x", "1.1.1", "1 k"] {
            assert_eq!(size(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn sets_disks_and_caches() {
        let tree = Tree::new(
            "
            sys/fs/bcache/register: x
            sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/average_key_size: 0
            sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/cache_available_percent: 100
            sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/btree_cache_size: 2.0M
            sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/internal/btree_read_average_duration_us: 1305
            sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/internal/cache_read_races: 3
            sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/bdev0/dirty_data: 4k
            sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/bdev0/writeback_rate_debug: rate:\t\t1k/sec\\ndirty:\t\t20.4G\\ntarget:\t\t20G\\nproportional:\t-3\\nintegral:\t7\\nchange:\t\t-2k/sec\\nnext io:\t17ms
            sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/bdev0/stats_total/bypassed: 1M
            sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/bdev0/stats_total/cache_hits: 546
            sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/bdev0/stats_total/cache_readaheads: 9
            sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/cache0/io_errors: 0
            sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/cache0/metadata_written: 512
            sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/cache0/written: 1k",
        );
        let set = "{uuid=\"deaddd54-c735-46d5-868e-f331c5fd7c74\"}";
        let disk = "{backing_device=\"bdev0\",uuid=\"deaddd54-c735-46d5-868e-f331c5fd7c74\"}";
        let cache = "{cache_device=\"cache0\",uuid=\"deaddd54-c735-46d5-868e-f331c5fd7c74\"}";
        let mut expected = String::new();
        for (name, kind, labels, value) in [
            ("average_key_size_sectors", "gauge", set, "0"),
            ("btree_cache_size_bytes", "gauge", set, "2097152"),
            ("cache_available_percent", "gauge", set, "100"),
            ("btree_read_average_duration_seconds", "gauge", set, "0.001305"),
            ("cache_read_races_total", "counter", set, "3"),
            ("dirty_data_bytes", "gauge", disk, "4096"),
            ("dirty_target_bytes", "gauge", disk, "21474836480"),
            ("writeback_rate", "gauge", disk, "1024"),
            ("writeback_rate_proportional_term", "gauge", disk, "-3"),
            ("writeback_rate_integral_term", "gauge", disk, "7"),
            ("writeback_change", "gauge", disk, "-2048"),
            ("bypassed_bytes_total", "counter", disk, "1048576"),
            ("cache_hits_total", "counter", disk, "546"),
            ("cache_readaheads_total", "counter", disk, "9"),
            ("io_errors", "gauge", cache, "0"),
            ("metadata_written_bytes_total", "counter", cache, "512"),
            ("written_bytes_total", "counter", cache, "1024"),
        ] {
            expected += &format!("# node_bcache_{name} {kind}\nnode_bcache_{name}{labels} {value}\n");
        }
        let mut bcache = Bcache::new(&tree.settings());
        assert_text(&told(&mut bcache), &expected);
        tree.write("sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/cache0/written", "much\n");
        assert!(
            matches!(failed(&mut bcache).1, Fail::Error(what) if what.ends_with("written: not understood: 'much' is no size"))
        );
        assert_eq!(told(&mut Bcache::new(&Tree::new("").settings())), "");
    }
}
