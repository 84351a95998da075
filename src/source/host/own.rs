//! `process_*`: what the kernel says of this process, which dashboards of node_exporter show beside the host's metrics. Told with each tick; not a collector.
//!
//! Promises: a value that cannot be read is left out.

use super::files::{Buffer, File, lines, read_once, unsigned, words};
use crate::model::samples::{Kind, Samples};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;

/// When the host booted, seconds since 1970, by `stat` of /proc.
pub(super) fn boot_time_s(stat: &Path, buffer: &mut Buffer) -> Option<u64> {
    let bytes = read_once(stat, buffer).ok()?;
    lines(bytes).find_map(|line| line.strip_prefix(b"btime ")).and_then(unsigned)
}

/// This process.
pub(super) struct Own {
    /// Always the real /proc: wherever the host's is, this process is here.
    stat: File,
    boot_s: Option<u64>,
    buffer: Buffer,
}

impl Own {
    pub(super) fn new() -> Own {
        let mut buffer = Buffer::default();
        let boot_s = boot_time_s(Path::new("/proc/stat"), &mut buffer);
        Own { stat: File::new("/proc/self/stat"), boot_s, buffer }
    }

    pub(super) fn tell(&mut self, out: &mut Samples) {
        let before = out.mark();
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        out.one("process_cpu_seconds_total", "CPU time that the agent took.", Kind::Counter, cpu);
        // Without a bound it is the largest number, as Prometheus' client has it.
        let bound = |resource| getrlimit(resource).current.unwrap_or(u64::MAX) as f64;
        out.one("process_max_fds", "Descriptors that the agent may have.", Kind::Gauge, bound(Resource::Nofile));
        if let Ok(read) = std::fs::read_dir("/proc/self/fd") {
            // Without the one that lists them.
            let open = read.count().saturating_sub(1);
            out.one("process_open_fds", "Descriptors that the agent has.", Kind::Gauge, open as f64);
        }
        let virtual_max = bound(Resource::As);
        out.one("process_virtual_memory_max_bytes", "Address space that the agent may have.", Kind::Gauge, virtual_max);
        let Ok(bytes) = self.stat.read(&mut self.buffer) else { return };
        let rest = memchr::memrchr(b')', bytes).and_then(|at| bytes.get(at + 1..)).unwrap_or_default();
        // Numbers 22, 23 and 24 of proc(5), where the state is number 3.
        let mut fields = words(rest).skip(19).map(unsigned);
        let (Some(Some(start)), Some(Some(size)), Some(Some(pages))) = (fields.next(), fields.next(), fields.next())
        else {
            return;
        };
        let resident = pages as f64 * rustix::param::page_size() as f64;
        out.one("process_resident_memory_bytes", "Memory of the agent.", Kind::Gauge, resident);
        if let Some(boot) = self.boot_s {
            let start = boot as f64 + start as f64 / rustix::param::clock_ticks_per_second() as f64;
            out.one("process_start_time_seconds", "When the agent started, seconds since 1970.", Kind::Gauge, start);
            out.counters_start(before, (start * 1000.0) as i64);
        }
        out.one("process_virtual_memory_bytes", "Address space of the agent.", Kind::Gauge, size as f64);
    }
}
