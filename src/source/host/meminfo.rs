//! `meminfo`: every line of /proc/meminfo (proc(5)) as a gauge.
//!
//! All lines are told; node_exporter since 1.9 tells only those that it knows, so that those of newer kernels are missing there.

use super::files::{Buffer, File, lines, text, unsigned, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

pub(super) struct Meminfo {
    file: File,
    buffer: Buffer,
    name: String,
}

impl Meminfo {
    pub(super) fn new(settings: &Settings) -> Meminfo {
        Meminfo { file: File::new(settings.roots.proc("meminfo")), buffer: Buffer::default(), name: String::new() }
    }
}

impl Collector for Meminfo {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let bytes = self.file.needed(&mut self.buffer)?;
        for line in lines(bytes) {
            let mut parts = words(line);
            let (Some(field), Some(value)) = (parts.next(), parts.next()) else { continue };
            let Some(value) = unsigned(value) else {
                return Err(Fail::malformed(self.file.path(), text(line)));
            };
            self.name.clear();
            self.name.push_str("node_memory_");
            // Active(anon): becomes Active_anon.
            for byte in field {
                match byte {
                    b'(' => self.name.push('_'),
                    b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' => self.name.push(char::from(*byte)),
                    _ => {}
                }
            }
            let value = match parts.next() {
                None => value as f64,
                Some(b"kB") => {
                    self.name.push_str("_bytes");
                    value as f64 * 1024.0
                }
                Some(unit) => return Err(Fail::malformed(self.file.path(), format!("unit {}", text(unit)))),
            };
            out.one(&self.name, "A line of /proc/meminfo.", Kind::Gauge, value);
        }
        Ok(())
    }
}
