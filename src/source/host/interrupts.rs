//! `interrupts`: interrupts by CPU and line, from /proc/interrupts; `softirqs`: their second halves, from /proc/softirqs (proc(5)).

use super::files::{Buffer, File, lines, text, unsigned, words};
use super::{Collector, Fail, Filter, Settings};
use crate::model::samples::{Kind, Samples};

pub(super) struct Interrupts {
    file: File,
    buffer: Buffer,
    filter: Filter,
    zeros: bool,
    info: String,
    devices: String,
    key: String,
    numbers: Vec<String>,
}

impl Interrupts {
    pub(super) fn new(settings: &Settings) -> Interrupts {
        Interrupts {
            file: File::new(settings.roots.proc("interrupts")),
            buffer: Buffer::default(),
            filter: settings.interrupts_name.clone(),
            zeros: settings.interrupts_include_zeros,
            info: String::new(),
            devices: String::new(),
            key: String::new(),
            numbers: Vec::new(),
        }
    }
}

/// How many columns a file's first line has; `numbers` gets a label for each.
fn columns(head: Option<&[u8]>, numbers: &mut Vec<String>) -> usize {
    let cpus = words(head.unwrap_or_default()).count();
    while numbers.len() < cpus {
        numbers.push(numbers.len().to_string());
    }
    cpus
}

fn joined<'a>(words: impl Iterator<Item = &'a [u8]>, out: &mut String) {
    out.clear();
    for word in words {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(text(word));
    }
}

impl Collector for Interrupts {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let bytes = self.file.all_needed(&mut self.buffer)?;
        let mut rows = lines(bytes);
        let cpus = columns(rows.next(), &mut self.numbers);
        let mut begun = false;
        for row in rows {
            let mut fields = words(row);
            let name = text(fields.next().unwrap_or_default()).trim_end_matches(':');
            let mut counts = fields.clone().take(cpus);
            let mut rest = fields.skip(cpus);
            // ERR and MIS are of no CPU.
            if rest.clone().next().is_none() {
                continue;
            }
            if unsigned(name.as_bytes()).is_some() {
                joined(rest.by_ref().take(1), &mut self.info);
                joined(rest, &mut self.devices);
            } else {
                joined(rest, &mut self.info);
                self.devices.clear();
            }
            self.key.clear();
            for part in [name, ";", &self.info, ";", &self.devices] {
                self.key.push_str(part);
            }
            if !self.filter.takes(&self.key) {
                continue;
            }
            for cpu in &self.numbers {
                let Some(count) = counts.next() else { break };
                let count = unsigned(count).ok_or_else(|| Fail::malformed(self.file.path(), text(row)))?;
                if count == 0 && !self.zeros {
                    continue;
                }
                if !std::mem::replace(&mut begun, true) {
                    out.family("node_interrupts_total", "Interrupts by CPU and line.", Kind::Counter);
                }
                let labels = [("cpu", cpu.as_str()), ("devices", &self.devices), ("info", &self.info), ("type", name)];
                out.add(&labels, count as f64);
            }
        }
        Ok(())
    }
}

pub(super) struct Softirqs {
    file: File,
    buffer: Buffer,
    numbers: Vec<String>,
}

impl Softirqs {
    pub(super) fn new(settings: &Settings) -> Softirqs {
        let file = File::new(settings.roots.proc("softirqs"));
        Softirqs { file, buffer: Buffer::default(), numbers: Vec::new() }
    }
}

impl Collector for Softirqs {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let bytes = self.file.all_needed(&mut self.buffer)?;
        let mut rows = lines(bytes);
        columns(rows.next(), &mut self.numbers);
        out.family("node_softirqs_functions_total", "Interrupts' second halves by CPU and kind.", Kind::Counter);
        for row in rows {
            let mut fields = words(row);
            let name = text(fields.next().unwrap_or_default()).trim_end_matches(':');
            for (cpu, count) in self.numbers.iter().zip(fields) {
                let count = unsigned(count).ok_or_else(|| Fail::malformed(self.file.path(), text(row)))?;
                out.add(&[("cpu", cpu), ("type", name)], count as f64);
            }
        }
        Ok(())
    }
}
