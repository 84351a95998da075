//! `softnet`: packets that CPUs took in, from /proc/net/softnet_stat (net/core/net-procfs.c: hexadecimal columns, a line a CPU).

use super::files::{Buffer, Digits, File, hex, lines, text, words};
use super::table::Table;
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

/// Columns, and the families that they are. There are 9 at least, 13 since Linux 5.14.
const COLUMNS: [(usize, &str, &str, Kind); 7] = [
    (0, "node_softnet_processed_total", "Packets that were taken in.", Kind::Counter),
    (1, "node_softnet_dropped_total", "Packets that found the queue full.", Kind::Counter),
    (2, "node_softnet_times_squeezed_total", "How often there was more to do than time or budget.", Kind::Counter),
    (8, "node_softnet_cpu_collision_total", "How often a device was busy when it was to send.", Kind::Counter),
    (9, "node_softnet_received_rps_total", "How often another CPU asked to take packets in.", Kind::Counter),
    (10, "node_softnet_flow_limit_count_total", "Packets that were dropped for the limit of a flow.", Kind::Counter),
    (11, "node_softnet_backlog_len", "Packets that wait.", Kind::Gauge),
];
const CPU: usize = 12;

pub(super) struct Softnet {
    file: File,
    buffer: Buffer,
    table: Table,
    digits: Digits,
}

impl Softnet {
    pub(super) fn new(settings: &Settings) -> Softnet {
        let file = File::new(settings.roots.proc("net/softnet_stat"));
        Softnet { file, buffer: Buffer::default(), table: Table::new(COLUMNS.len()), digits: Digits::default() }
    }
}

impl Collector for Softnet {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let bytes = self.file.all_needed(&mut self.buffer)?;
        self.table.clear();
        for (number, line) in lines(bytes).enumerate() {
            let mut values = [None; 13];
            for (place, word) in values.iter_mut().zip(words(line)) {
                *place = Some(hex(word).ok_or_else(|| Fail::malformed(self.file.path(), text(line)))?);
            }
            if values[8].is_none() {
                return Err(Fail::malformed(self.file.path(), text(line)));
            }
            self.table.row(self.digits.of(values[CPU].unwrap_or(number as u64)));
            for (column, (from, ..)) in COLUMNS.iter().enumerate() {
                // What an older kernel does not have is told as 0, as node_exporter does.
                let value = values.get(*from).copied().flatten().unwrap_or(0);
                self.table.set(column, value as f64);
            }
        }
        for (column, (_, name, help, kind)) in COLUMNS.into_iter().enumerate() {
            self.table.tell(out, column, (name, help, kind), "cpu");
        }
        Ok(())
    }
}
