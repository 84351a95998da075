//! `cpu`: what CPUs spent their time with, from /proc/stat (proc(5)); which are online, isolated or throttled, from /sys/devices/system/cpu; on request what
//! /proc/cpuinfo says.
//!
//! The kernel computes idle time anew for each reader, so that it may run back a little. A counter that does keeps its old value, and one whose idle
//! time ran back by seconds was unplugged and begins again. One that is not in a reading is told no more, and nothing of it is kept.

use super::devices::{natural, number, number_of};
use super::files::{Buffer, Digits, File, cut, lines, names, text, trim, unsigned, words};
use super::{Collector, Fail, Roots, Settings};
use crate::model::samples::{Kind, Samples};
use std::collections::BTreeSet;

/// /proc/stat counts hundredths of a second, whatever the kernel's tick is.
const TICKS: f64 = 100.0;
/// An idle time that ran back by so much is another CPU's: three seconds.
const RESET: u64 = 300;
/// In the order of /proc/stat; the last two are also counted in `user` and `nice`.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const IDLE: usize = 3;
/// No host has more CPUs: a list that says otherwise is not followed.
const CPUS: u64 = 65_536;

pub(super) struct Cpu {
    stat: File,
    isolated: File,
    online: Vec<(String, File)>,
    throttles: Vec<Throttle>,
    info: Option<File>,
    cpus: Vec<Times>,
    roots: Roots,
    /// Whether /sys was looked at with these CPUs in /proc/stat.
    looked: bool,
    buffer: Buffer,
    digits: Digits,
}

/// A CPU's counters, as they were told last.
#[derive(Default)]
struct Times {
    /// Its number, which is the label.
    name: String,
    ticks: [u64; 10],
}

/// A core's or package's count of throttling.
struct Throttle {
    package: String,
    /// None for the package.
    core: Option<String>,
    file: File,
}

impl Cpu {
    pub(super) fn new(settings: &Settings) -> Cpu {
        let roots = settings.roots.clone();
        Cpu {
            stat: File::new(roots.proc("stat")),
            isolated: File::new(roots.sys("devices/system/cpu/isolated")),
            online: Vec::new(),
            throttles: Vec::new(),
            info: settings.cpu_info.then(|| File::new(roots.proc("cpuinfo"))),
            cpus: Vec::new(),
            roots,
            looked: false,
            buffer: Buffer::default(),
            digits: Digits::default(),
        }
    }

    fn times(&mut self) -> Result<(), Fail> {
        let bytes = self.stat.needed(&mut self.buffer)?;
        let mut count = 0;
        for line in lines(bytes) {
            let Some(rest) = line.strip_prefix(b"cpu") else { break };
            let mut fields = words(rest);
            // The first line is the sum.
            if rest.first().is_none_or(u8::is_ascii_whitespace) {
                continue;
            }
            let malformed = || Fail::malformed(self.stat.path(), text(line));
            let name = fields.next().filter(|name| unsigned(name).is_some()).ok_or_else(malformed)?;
            let mut ticks = [0; 10];
            let mut got = 0;
            for (place, field) in ticks.iter_mut().zip(fields) {
                *place = unsigned(field).ok_or_else(malformed)?;
                got += 1;
            }
            if got < 4 {
                return Err(malformed());
            }
            self.looked &= note(&mut self.cpus, count, text(name), &ticks);
            count += 1;
        }
        if count == 0 {
            return Err(Fail::malformed(self.stat.path(), "it has no CPU"));
        }
        self.looked &= self.cpus.len() == count;
        self.cpus.truncate(count);
        Ok(())
    }

    fn tell_times(&self, out: &mut Samples) {
        out.family(
            "node_cpu_guest_seconds_total",
            "Time of CPUs in guests, which is part of user and nice.",
            Kind::Counter,
        );
        for cpu in &self.cpus {
            for (mode, ticks) in ["user", "nice"].into_iter().zip(cpu.ticks.iter().skip(MODES.len())) {
                out.add(&[("cpu", &cpu.name), ("mode", mode)], *ticks as f64 / TICKS);
            }
        }
        out.family("node_cpu_seconds_total", "Time of CPUs, by what they did.", Kind::Counter);
        for cpu in &self.cpus {
            for (mode, ticks) in MODES.into_iter().zip(&cpu.ticks) {
                out.add(&[("cpu", &cpu.name), ("mode", mode)], *ticks as f64 / TICKS);
            }
        }
    }

    fn tell_isolated(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let Ok(list) = self.isolated.word(&mut self.buffer) else { return Ok(()) };
        if list.is_empty() {
            return Ok(());
        }
        let range = |part: &[u8]| {
            let (first, last) = cut(part, b'-').unwrap_or((part, part));
            Some((unsigned(trim(first))?, unsigned(trim(last))?))
        };
        let parts = || list.split(|byte| *byte == b',').map(range);
        if !parts().all(|part| part.is_some_and(|(first, last)| first <= last && last < CPUS)) {
            return Err(Fail::malformed(self.isolated.path(), text(list)));
        }
        out.family("node_cpu_isolated", "CPUs that the scheduler leaves alone.", Kind::Gauge);
        for (first, last) in parts().flatten() {
            for cpu in first..=last {
                out.add(&[("cpu", self.digits.of(cpu))], 1.0);
            }
        }
        Ok(())
    }

    fn tell_online(&mut self, out: &mut Samples) -> Result<(), Fail> {
        // Where the first CPU cannot be switched off nothing is told.
        let Some((first, file)) = self.online.first_mut() else { return Ok(()) };
        if first != "0" || file.word(&mut self.buffer).is_err() {
            return Ok(());
        }
        out.family("node_cpu_online", "Whether a CPU is switched on.", Kind::Gauge);
        for (name, file) in &mut self.online {
            let on = number(file, &mut self.buffer)?.unwrap_or(0);
            if !matches!(on, 0 | 1) {
                return Err(Fail::malformed(file.path(), on));
            }
            out.add(&[("cpu", name)], on as f64);
        }
        Ok(())
    }

    fn tell_throttles(&mut self, out: &mut Samples) -> Result<(), Fail> {
        for (core, name, help) in [
            (true, "node_cpu_core_throttles_total", "How often a core was made slower since it was hot."),
            (false, "node_cpu_package_throttles_total", "How often a package was made slower since it was hot."),
        ] {
            let mut begun = false;
            for throttle in self.throttles.iter_mut().filter(|throttle| throttle.core.is_some() == core) {
                let Some(count) = natural(&mut throttle.file, &mut self.buffer)? else { continue };
                if !std::mem::replace(&mut begun, true) {
                    out.family(name, help, Kind::Counter);
                }
                let labels = [("core", throttle.core.as_deref().unwrap_or("")), ("package", &throttle.package)];
                out.add(&labels, count as f64);
            }
        }
        Ok(())
    }

    /// What there is in /sys; once, and again when CPUs came or went.
    fn look(&mut self) -> Result<(), Fail> {
        self.online.clear();
        self.throttles.clear();
        let directory = self.roots.sys("devices/system/cpu");
        let mut numbers: Vec<u64> =
            names(&directory)?.iter().filter_map(|name| unsigned(name.strip_prefix("cpu")?.as_bytes())).collect();
        numbers.sort_unstable();
        let mut known = BTreeSet::new();
        for number in numbers {
            let cpu = directory.join(format!("cpu{number}"));
            self.online.push((number.to_string(), File::new(cpu.join("online"))));
            let mut id = |name: &str| {
                let number = number_of(cpu.join(name), &mut self.buffer)?;
                // Where there are no packages the kernel says -1.
                Ok::<_, Fail>(number.filter(|number| *number >= 0).map(|number| number.to_string()))
            };
            let (Some(package), Some(core)) = (id("topology/physical_package_id")?, id("topology/core_id")?) else {
                continue;
            };
            for (core, file) in [(Some(core), "core_throttle_count"), (None, "package_throttle_count")] {
                let path = cpu.join("thermal_throttle").join(file);
                if path.exists() && known.insert((package.clone(), core.clone())) {
                    self.throttles.push(Throttle { package: package.clone(), core, file: File::new(path) });
                }
            }
        }
        Ok(())
    }

    fn tell_info(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let Some(file) = &mut self.info else { return Ok(()) };
        let bytes = file.all_needed(&mut self.buffer)?;
        out.family("node_cpu_info", "What a CPU is.", Kind::Gauge);
        let mut labels: [(&str, &str); 10] = INFO.map(|(label, _)| (label, ""));
        // A CPU's block ends with an empty line; the last one's may not.
        for line in lines(bytes).chain([&b""[..]]) {
            let Some((name, value)) = cut(line, b':') else {
                if labels.iter().any(|(_, value)| !value.is_empty()) {
                    out.add(&labels, 1.0);
                    labels = INFO.map(|(label, _)| (label, ""));
                }
                continue;
            };
            let name = trim(name);
            if let Some(at) = INFO.iter().position(|(_, field)| field.as_bytes() == name)
                && let Some(label) = labels.get_mut(at)
            {
                label.1 = text(trim(value));
            }
        }
        Ok(())
    }
}

/// Labels of node_cpu_info, and what they are called in /proc/cpuinfo.
const INFO: [(&str, &str); 10] = [
    ("cachesize", "cache size"),
    ("core", "core id"),
    ("cpu", "processor"),
    ("family", "cpu family"),
    ("microcode", "microcode"),
    ("model", "model"),
    ("model_name", "model name"),
    ("package", "physical id"),
    ("stepping", "stepping"),
    ("vendor", "vendor_id"),
];

/// Takes over a CPU's counters, which are those at `at` in the order of /proc/stat then; what is left behind it is not in there. Whether it was known.
fn note(cpus: &mut Vec<Times>, at: usize, name: &str, ticks: &[u64; 10]) -> bool {
    let known = cpus.iter().skip(at).position(|cpu| cpu.name == name);
    if let Some(further) = known.filter(|further| *further > 0) {
        cpus.swap(at, at + further);
    }
    let Some(cpu) = cpus.get_mut(at).filter(|_| known.is_some()) else {
        cpus.insert(at.min(cpus.len()), Times { name: name.to_owned(), ticks: *ticks });
        return false;
    };
    if cpu.ticks[IDLE].saturating_sub(ticks[IDLE]) >= RESET {
        cpu.ticks = [0; 10];
    }
    for (old, new) in cpu.ticks.iter_mut().zip(ticks) {
        *old = (*old).max(*new);
    }
    true
}

impl Collector for Cpu {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        self.times()?;
        self.tell_times(out);
        let info = match self.tell_info(out) {
            Err(Fail::NoData) => Ok(()),
            info => info,
        };
        let looked = if self.looked { Ok(()) } else { self.look() };
        self.looked = looked.is_ok();
        // Each is told whatever the others say.
        let isolated = self.tell_isolated(out);
        let online = self.tell_online(out);
        let throttles = self.tell_throttles(out);
        looked.and(info).and(isolated).and(online).and(throttles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_do_not_run_back() {
        let mut cpus = Vec::new();
        let ticks = |user, idle| [user, 0, 0, idle, 0, 0, 0, 0, 0, 0];
        note(&mut cpus, 0, "0", &ticks(5, 1000));
        note(&mut cpus, 0, "0", &ticks(4, 999));
        assert_eq!(cpus[0].ticks, ticks(5, 1000));
        note(&mut cpus, 0, "0", &ticks(7, 701));
        assert_eq!(cpus[0].ticks, ticks(7, 1000));
        note(&mut cpus, 0, "0", &ticks(1, 700));
        assert_eq!(cpus[0].ticks, ticks(1, 700));
        assert!(!note(&mut cpus, 1, "1", &ticks(2, 2)));
        assert_eq!((cpus.len(), cpus[1].name.as_str()), (2, "1"));
    }

    /// CPUs are unplugged and come back: those of a reading are told, in its order, and one that was away starts anew.
    #[test]
    fn cpus_of_this_reading_alone_are_told() {
        use super::super::fixture::Tree;
        let tree = Tree::new("sys/devices/system/cpu/");
        let mut cpu = Cpu::new(&tree.settings());
        let mut read = |of: &[(u64, u64)]| {
            let lines: String = of.iter().map(|(cpu, user)| format!("cpu{cpu} {user} 0 0 7000\n")).collect();
            // The same file, as /proc/stat is.
            std::fs::create_dir_all(tree.path("proc")).unwrap();
            std::fs::write(tree.path("proc/stat"), format!("cpu 1 0 0 1\n{lines}")).unwrap();
            let mut out = Samples::default();
            cpu.collect(&mut out).unwrap();
            let told = out.iter().filter(|sample| sample.name() == "node_cpu_seconds_total");
            let user = told.filter(|sample| sample.labels().any(|label| label == ("mode", "user")));
            let number = |text: &str| text.parse::<u64>().unwrap();
            user.map(|sample| (number(sample.labels().next().unwrap().1), (sample.value() * TICKS).round() as u64))
                .collect::<Vec<_>>()
        };
        for of in [
            &[(0, 100), (1, 200), (2, 300), (3, 400)][..],
            &[(0, 101), (2, 301), (3, 401)],
            // Back, with counters that began again.
            &[(0, 102), (1, 5), (2, 302), (3, 402)],
            &[(3, 403)],
            &[(0, 6), (3, 404)],
            // One went and another came.
            &[(1, 7), (3, 405)],
        ] {
            assert_eq!(read(of), of);
        }
    }
}
