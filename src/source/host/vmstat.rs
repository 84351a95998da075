//! `vmstat`: what /proc/vmstat (proc(5)) says of paging, as far as its filter takes it.

use super::files::{Buffer, File, cut, float, lines, text, trim};
use super::{Collector, Fail, Filter, Settings};
use crate::model::samples::{Kind, Samples};

pub(super) struct Vmstat {
    file: File,
    buffer: Buffer,
    filter: Filter,
    name: String,
}

impl Vmstat {
    pub(super) fn new(settings: &Settings) -> Vmstat {
        Vmstat {
            file: File::new(settings.roots.proc("vmstat")),
            buffer: Buffer::default(),
            filter: settings.vmstat_fields.clone(),
            name: String::new(),
        }
    }
}

impl Collector for Vmstat {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        // It has more than a page.
        let bytes = self.file.all_needed(&mut self.buffer)?;
        for line in lines(bytes) {
            let malformed = || Fail::malformed(self.file.path(), text(line));
            let (field, value) = cut(line, b' ').ok_or_else(malformed)?;
            let field = text(field);
            if self.filter.takes(field) {
                let value = float(trim(value)).ok_or_else(malformed)?;
                self.name.clear();
                self.name.push_str("node_vmstat_");
                self.name.push_str(field);
                out.one(&self.name, "A line of /proc/vmstat.", Kind::Unknown, value);
            }
        }
        Ok(())
    }
}
