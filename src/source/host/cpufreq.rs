//! `cpufreq`: frequencies of CPUs, and who chooses them, from /sys/devices/system/cpu/cpu*/cpufreq (Documentation/admin-guide/pm/cpufreq.rst).

use super::devices::natural;
use super::files::{Buffer, File, names, text, text_once, unsigned, words};
use super::table::Table;
use super::{Collector, Fail, Roots, Settings};
use crate::model::samples::{Kind, Samples};

/// Files in kHz, and the families that they are.
const FREQUENCIES: [(&str, &str, &str); 7] = [
    ("cpuinfo_cur_freq", "node_cpu_frequency_hertz", "Frequency that the hardware tells."),
    ("cpuinfo_avg_freq", "node_cpu_frequency_avg_hertz", "Average frequency that the hardware tells."),
    ("cpuinfo_min_freq", "node_cpu_frequency_min_hertz", "Lowest frequency of the hardware."),
    ("cpuinfo_max_freq", "node_cpu_frequency_max_hertz", "Highest frequency of the hardware."),
    ("scaling_cur_freq", "node_cpu_scaling_frequency_hertz", "Frequency that was chosen."),
    ("scaling_min_freq", "node_cpu_scaling_frequency_min_hertz", "Lowest frequency that may be chosen."),
    ("scaling_max_freq", "node_cpu_scaling_frequency_max_hertz", "Highest frequency that may be chosen."),
];

pub(super) struct Cpufreq {
    roots: Roots,
    cpus: Vec<Cpu>,
    /// How many ticks until /sys is looked at again: CPUs and drivers come and go seldom.
    rest: u32,
    table: Table,
    buffer: Buffer,
}

struct Cpu {
    name: String,
    files: Vec<(usize, File)>,
    governor: File,
    governors: Vec<String>,
}

/// /sys is looked at once in so many ticks.
const TICKS: u32 = 20;

impl Cpufreq {
    pub(super) fn new(settings: &Settings) -> Cpufreq {
        Cpufreq {
            roots: settings.roots.clone(),
            cpus: Vec::new(),
            rest: 0,
            table: Table::new(FREQUENCIES.len()),
            buffer: Buffer::default(),
        }
    }

    fn look(&mut self) -> Result<(), Fail> {
        self.cpus.clear();
        let directory = self.roots.sys("devices/system/cpu");
        let mut numbers: Vec<u64> =
            names(&directory)?.iter().filter_map(|name| unsigned(name.strip_prefix("cpu")?.as_bytes())).collect();
        numbers.sort_unstable();
        for number in numbers {
            let directory = directory.join(format!("cpu{number}/cpufreq"));
            let there = names(&directory)?;
            if there.is_empty() {
                continue;
            }
            let files =
                FREQUENCIES.iter().enumerate().filter(|(_, (file, _, _))| there.iter().any(|name| name == file));
            let files = files.map(|(column, (file, _, _))| (column, File::new(directory.join(file)))).collect();
            let governors = text_once(&directory.join("scaling_available_governors"), &mut self.buffer);
            self.cpus.push(Cpu {
                name: number.to_string(),
                files,
                governor: File::new(directory.join("scaling_governor")),
                governors: governors.unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect(),
            });
        }
        Ok(())
    }
}

impl Collector for Cpufreq {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        if self.rest == 0 {
            self.look()?;
            self.rest = TICKS;
        }
        self.rest -= 1;
        self.table.clear();
        let mut failed = Ok(());
        for cpu in &mut self.cpus {
            self.table.row(&cpu.name);
            for (column, file) in &mut cpu.files {
                match natural(file, &mut self.buffer) {
                    Ok(Some(khz)) => self.table.set(*column, khz as f64 * 1000.0),
                    // intel_pstate and others say so where they cannot tell.
                    Ok(None) => {}
                    Err(fail) => failed = Err(fail),
                }
            }
        }
        for (column, (_, name, help)) in FREQUENCIES.into_iter().enumerate() {
            self.table.tell(out, column, (name, help, Kind::Gauge), "cpu");
        }
        let mut begun = false;
        for cpu in &mut self.cpus {
            if cpu.governors.is_empty() {
                continue;
            }
            let Ok(word) = cpu.governor.word(&mut self.buffer) else { continue };
            let chosen = text(words(word).next().unwrap_or_default());
            if !std::mem::replace(&mut begun, true) {
                out.family("node_cpu_scaling_governor", "Who chooses the frequency.", Kind::Gauge);
            }
            for governor in &cpu.governors {
                let labels = [("cpu", cpu.name.as_str()), ("governor", governor)];
                out.add(&labels, f64::from(u8::from(governor == chosen)));
            }
        }
        failed
    }
}
