//! What the kernel says of this process, under the names that Prometheus' client libraries use.
//!
//! Promises: a value that cannot be read is left out; reading takes a few system calls. Leaves to others: everything counted by
//! the agent itself.

use rustix::time::{ClockId, clock_gettime};
use std::fmt::Write;

/// What does not change while the process runs.
#[derive(Debug)]
pub struct Process {
    start_s: Option<f64>,
}

impl Process {
    /// Reads what does not change.
    pub fn new() -> Self {
        Process { start_s: start_s() }
    }

    /// Appends the metrics in Prometheus' text format.
    pub fn render(&self, text: &mut String) {
        let version = env!("CARGO_PKG_VERSION");
        let target = concat!(env!("CARGO_PKG_NAME"), "_build_info");
        let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
        // Writing to a String cannot fail, here and below.
        let _ = write!(
            text,
            "# HELP {target} What this binary is; always 1.\n# TYPE {target} gauge\n\
             {target}{{version=\"{version}\",arch=\"{arch}\",os=\"{os}\"}} 1\n"
        );
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        // Precision beyond what an f64 holds is of no use here.
        #[allow(clippy::cast_precision_loss)]
        let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        let mut add = |name: &str, kind: &str, help: &str, value: Option<f64>| {
            if let Some(value) = value {
                let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
            }
        };
        add("process_cpu_seconds_total", "counter", "User and system CPU time spent, seconds.", Some(cpu));
        add("process_open_fds", "gauge", "Open file descriptors.", open_fds());
        add("process_resident_memory_bytes", "gauge", "Resident memory, bytes.", resident_bytes());
        add("process_start_time_seconds", "gauge", "When the process started, seconds since 1970.", self.start_s);
    }
}

/// The second number of /proc/self/statm (proc(5)) is in pages.
#[allow(clippy::cast_precision_loss)]
fn resident_bytes() -> Option<f64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64) as f64)
}

/// The descriptor that lists the directory is not counted.
#[allow(clippy::cast_precision_loss)]
fn open_fds() -> Option<f64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

/// The 22nd number of /proc/self/stat (proc(5)) is the start in ticks since the host started. The name in brackets before may
/// contain anything, so counting starts after the last bracket.
#[allow(clippy::cast_precision_loss)]
fn start_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    let ticks: u64 = after.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let seconds = |clock: ClockId| {
        let now = clock_gettime(clock);
        now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
    };
    let boot = seconds(ClockId::Realtime) - seconds(ClockId::Boottime);
    Some(boot + ticks as f64 / rustix::param::clock_ticks_per_second().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;

    #[test]
    fn the_values_are_plausible() {
        let now = Clock::System.now_ns() as f64 / 1e9;
        assert!(start_s().is_some_and(|start| start <= now + 1.0 && start > now - 86_400.0));
        assert!(resident_bytes().is_some_and(|bytes| bytes > 500_000.0 && bytes < 4e9));
        assert!(open_fds().is_some_and(|count| (3.0..10_000.0).contains(&count)));
        let mut text = String::new();
        Process::new().render(&mut text);
        assert_eq!(text.lines().filter(|line| line.starts_with("# TYPE")).count(), 5);
    }
}
