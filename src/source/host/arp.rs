//! `arp`: neighbours by interface, from /proc/net/arp (proc(5)), which leaves out those that need no ARP, as node_exporter does with what netlink says.

use super::files::{Buffer, File, lines, text, words};
use super::{Collector, Fail, Filter, Settings};
use crate::model::samples::{Kind, Samples};

pub(super) struct Arp {
    file: File,
    buffer: Buffer,
    filter: Filter,
    counts: Vec<(String, u64)>,
}

impl Arp {
    pub(super) fn new(settings: &Settings) -> Arp {
        Arp {
            file: File::new(settings.roots.proc("net/arp")),
            buffer: Buffer::default(),
            filter: settings.arp_device.clone(),
            counts: Vec::new(),
        }
    }
}

impl Collector for Arp {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let bytes = self.file.all_needed(&mut self.buffer)?;
        for (_, count) in &mut self.counts {
            *count = 0;
        }
        for line in lines(bytes).skip(1) {
            let device = words(line).nth(5).ok_or_else(|| Fail::malformed(self.file.path(), text(line)))?;
            let device = text(device);
            match self.counts.iter_mut().find(|(name, _)| name == device) {
                Some((_, count)) => *count += 1,
                None => self.counts.push((device.to_owned(), 1)),
            }
        }
        self.counts.retain(|(_, count)| *count > 0);
        let mut begun = false;
        for (device, count) in self.counts.iter().filter(|(device, _)| self.filter.takes(device)) {
            if !std::mem::replace(&mut begun, true) {
                out.family("node_arp_entries", "Neighbours whose addresses were asked for.", Kind::Gauge);
            }
            out.add(&[("device", device)], *count as f64);
        }
        Ok(())
    }
}
