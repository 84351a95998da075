//! `sockstat`: sockets in use and their memory, from /proc/net/sockstat and sockstat6 (net/ipv4/proc.c).

use super::files::{Buffer, File, lines, signed, text, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

pub(super) struct Sockstat {
    files: [File; 2],
    buffer: Buffer,
    name: String,
}

impl Sockstat {
    pub(super) fn new(settings: &Settings) -> Sockstat {
        let files = ["net/sockstat", "net/sockstat6"].map(|name| File::new(settings.roots.proc(name)));
        Sockstat { files, buffer: Buffer::default(), name: String::new() }
    }
}

impl Collector for Sockstat {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let mut found = false;
        for file in &mut self.files {
            let bytes = match file.all_needed(&mut self.buffer) {
                // A host without IPv6.
                Err(Fail::NoData) => continue,
                bytes => bytes?,
            };
            found = true;
            for line in lines(bytes) {
                let mut fields = words(line);
                let protocol = text(fields.next().unwrap_or_default()).trim_end_matches(':');
                while let (Some(key), Some(value)) = (fields.next(), fields.next()) {
                    let value = signed(value).ok_or_else(|| Fail::malformed(file.path(), text(line)))? as f64;
                    let key = text(key);
                    self.name.clear();
                    for part in ["node_sockstat_", protocol, "_", key] {
                        self.name.push_str(part);
                    }
                    out.one(&self.name, "Sockets in use, or their memory in pages.", Kind::Gauge, value);
                    if key == "mem" {
                        self.name.push_str("_bytes");
                        let bytes = value * rustix::param::page_size() as f64;
                        out.one(&self.name, "Memory of sockets.", Kind::Gauge, bytes);
                    }
                }
            }
        }
        if found { Ok(()) } else { Err(Fail::NoData) }
    }
}
