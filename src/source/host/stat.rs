//! `stat`: interrupts, switches and processes, from /proc/stat (proc(5)).

use super::files::{Buffer, File, lines, text, unsigned, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

pub(super) struct Stat {
    file: File,
    buffer: Buffer,
    softirqs: bool,
}

/// A line's first word, and the family that its first number is.
const LINES: [(&str, &str, &str, Kind); 6] = [
    ("intr", "node_intr_total", "Interrupts.", Kind::Counter),
    ("ctxt", "node_context_switches_total", "Switches from one thread to another.", Kind::Counter),
    ("btime", "node_boot_time_seconds", "When the system was started, seconds since 1970.", Kind::Gauge),
    ("processes", "node_forks_total", "Processes and threads that were begun.", Kind::Counter),
    ("procs_running", "node_procs_running", "Threads that run or could.", Kind::Gauge),
    ("procs_blocked", "node_procs_blocked", "Threads that wait for the disk.", Kind::Gauge),
];

/// In the order of /proc/stat.
const SOFTIRQS: [&str; 10] =
    ["hi", "timer", "net_tx", "net_rx", "block", "block_iopoll", "tasklet", "sched", "hrtimer", "rcu"];

impl Stat {
    pub(super) fn new(settings: &Settings) -> Stat {
        let file = File::new(settings.roots.proc("stat"));
        Stat { file, buffer: Buffer::default(), softirqs: settings.stat_softirq }
    }
}

impl Collector for Stat {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let bytes = self.file.needed(&mut self.buffer)?;
        for line in lines(bytes) {
            let mut fields = words(line);
            let first = fields.next().unwrap_or_default();
            if let Some((_, name, help, kind)) = LINES.iter().find(|(word, ..)| word.as_bytes() == first) {
                let value = fields.next().and_then(unsigned);
                let value = value.ok_or_else(|| Fail::malformed(self.file.path(), text(line)))?;
                out.one(name, help, *kind, value as f64);
            } else if self.softirqs && first == b"softirq" {
                out.family("node_softirqs_total", "Interrupts' second halves.", Kind::Counter);
                // The first number is the sum.
                for (vector, count) in SOFTIRQS.into_iter().zip(fields.skip(1)) {
                    let count = unsigned(count).ok_or_else(|| Fail::malformed(self.file.path(), text(line)))?;
                    out.add(&[("vector", vector)], count as f64);
                }
            }
        }
        Ok(())
    }
}
