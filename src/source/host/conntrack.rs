//! `conntrack`: connections that netfilter follows, from /proc/sys/net/netfilter and /proc/net/stat/nf_conntrack
//! (Documentation/networking/nf_conntrack-sysctl.rst).

use super::files::{Buffer, File, hex, lines, text, trim, unsigned, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

/// Columns of the statistics by their names, and the families that they are.
const COLUMNS: [(&str, &str, &str); 8] = [
    ("found", "node_nf_conntrack_stat_found", "Packets of connections that were known."),
    ("invalid", "node_nf_conntrack_stat_invalid", "Packets that cannot be followed."),
    ("ignore", "node_nf_conntrack_stat_ignore", "Packets that were not to be followed."),
    ("insert", "node_nf_conntrack_stat_insert", "Connections that were added."),
    ("insert_failed", "node_nf_conntrack_stat_insert_failed", "Connections that could not be added."),
    ("drop", "node_nf_conntrack_stat_drop", "Packets that were dropped as nothing could be added."),
    ("early_drop", "node_nf_conntrack_stat_early_drop", "Connections that gave way to new ones."),
    ("search_restart", "node_nf_conntrack_stat_search_restart", "Searches that began again as the table grew."),
];

pub(super) struct Conntrack {
    entries: File,
    limit: File,
    statistics: File,
    buffer: Buffer,
}

impl Conntrack {
    pub(super) fn new(settings: &Settings) -> Conntrack {
        let file = |name| File::new(settings.roots.proc(name));
        Conntrack {
            entries: file("sys/net/netfilter/nf_conntrack_count"),
            limit: file("sys/net/netfilter/nf_conntrack_max"),
            statistics: file("net/stat/nf_conntrack"),
            buffer: Buffer::default(),
        }
    }
}

impl Collector for Conntrack {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        for (file, name, help) in [
            (&mut self.entries, "node_nf_conntrack_entries", "Connections that are followed."),
            (&mut self.limit, "node_nf_conntrack_entries_limit", "How many there may be."),
        ] {
            let word = trim(file.needed(&mut self.buffer)?);
            let value = unsigned(word).ok_or_else(|| Fail::malformed(file.path(), text(word)))?;
            out.one(name, help, Kind::Gauge, value as f64);
        }
        let bytes = self.statistics.all_needed(&mut self.buffer)?;
        // A line of names, then one for each CPU.
        let mut rows = lines(bytes);
        let head = rows.next().unwrap_or_default();
        let places = COLUMNS.map(|(name, ..)| words(head).position(|word| word == name.as_bytes()));
        let mut sums = [0u64; COLUMNS.len()];
        for row in rows {
            for (at, word) in words(row).enumerate() {
                let value = hex(word).ok_or_else(|| Fail::malformed(self.statistics.path(), text(row)))?;
                for (sum, _) in sums.iter_mut().zip(places).filter(|(_, place)| *place == Some(at)) {
                    *sum = sum.saturating_add(value);
                }
            }
        }
        for (((_, name, help), sum), place) in COLUMNS.into_iter().zip(sums).zip(places) {
            if place.is_some() {
                out.one(name, help, Kind::Gauge, sum as f64);
            }
        }
        Ok(())
    }
}
