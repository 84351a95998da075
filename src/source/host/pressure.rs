//! `pressure`: how long tasks waited for CPU, memory and disks, from /proc/pressure (Documentation/accounting/psi.rst).

use super::files::{Buffer, File, cut, lines, text, unsigned, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

/// Files; families of their lines `some` and `full`. No task is stalled by the CPU alone, none waits for interrupts.
const FILES: [(&str, Option<&str>, Option<&str>); 4] = [
    ("cpu", Some("node_pressure_cpu_waiting_seconds_total"), None),
    ("io", Some("node_pressure_io_waiting_seconds_total"), Some("node_pressure_io_stalled_seconds_total")),
    ("memory", Some("node_pressure_memory_waiting_seconds_total"), Some("node_pressure_memory_stalled_seconds_total")),
    ("irq", None, Some("node_pressure_irq_stalled_seconds_total")),
];

pub(super) struct Pressure {
    files: [File; 4],
    buffer: Buffer,
}

impl Pressure {
    pub(super) fn new(settings: &Settings) -> Pressure {
        let files = FILES.map(|(name, ..)| File::new(settings.roots.proc("pressure").join(name)));
        Pressure { files, buffer: Buffer::default() }
    }
}

impl Collector for Pressure {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let mut found = false;
        for (file, (name, some, full)) in self.files.iter_mut().zip(FILES) {
            let bytes = match file.needed(&mut self.buffer) {
                Ok(bytes) => bytes,
                // A kernel without it, or without this part; or it is compiled in and not switched on (`psi=1`).
                Err(Fail::NoData) => continue,
                Err(Fail::Error(_)) if name == "cpu" => return Err(Fail::NoData),
                Err(fail) => return Err(fail),
            };
            found = true;
            for line in lines(bytes) {
                let mut fields = words(line);
                let (family, help) = match fields.next() {
                    Some(b"some") => (some, "Time in which some tasks waited."),
                    Some(b"full") => (full, "Time in which all tasks waited."),
                    _ => continue,
                };
                let Some(family) = family else { continue };
                let total = fields.filter_map(|field| cut(field, b'=')).find(|(key, _)| *key == b"total");
                let total = total.and_then(|(_, value)| unsigned(value));
                let total = total.ok_or_else(|| Fail::malformed(file.path(), text(line)))?;
                out.one(family, help, Kind::Counter, total as f64 / 1e6);
            }
        }
        if found { Ok(()) } else { Err(Fail::NoData) }
    }
}
