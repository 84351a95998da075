//! `schedstat`: how long tasks ran and waited for a CPU, from /proc/schedstat (Documentation/scheduler/sched-stats.rst).

use super::files::{Buffer, File, lines, text, unsigned, words};
use super::table::Table;
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

pub(super) struct Schedstat {
    file: File,
    buffer: Buffer,
    table: Table,
}

impl Schedstat {
    pub(super) fn new(settings: &Settings) -> Schedstat {
        Schedstat { file: File::new(settings.roots.proc("schedstat")), buffer: Buffer::default(), table: Table::new(3) }
    }
}

impl Collector for Schedstat {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let bytes = self.file.all_needed(&mut self.buffer)?;
        self.table.clear();
        for line in lines(bytes) {
            let mut fields = words(line);
            let Some(name) = fields.next().and_then(|word| word.strip_prefix(b"cpu")) else { continue };
            if unsigned(name).is_none() {
                continue;
            }
            self.table.row(text(name));
            // Of nine numbers the last three: nanoseconds that tasks ran, and waited, and how many slices of time there were.
            let mut fields = fields.skip(6);
            for (column, divisor) in [1e9, 1e9, 1.0].into_iter().enumerate() {
                let value = fields.next().and_then(unsigned);
                let value = value.ok_or_else(|| Fail::malformed(self.file.path(), text(line)))?;
                self.table.set(column, value as f64 / divisor);
            }
        }
        for (column, name, help) in [
            (0, "node_schedstat_running_seconds_total", "Time that a CPU ran tasks."),
            (1, "node_schedstat_waiting_seconds_total", "Time that tasks waited for a CPU."),
            (2, "node_schedstat_timeslices_total", "Slices of time that a CPU gave to tasks."),
        ] {
            self.table.tell(out, column, (name, help, Kind::Counter), "cpu");
        }
        Ok(())
    }
}
