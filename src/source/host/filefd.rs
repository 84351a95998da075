//! `filefd`: open files of the whole host, from /proc/sys/fs/file-nr (proc(5)).

use super::files::{Buffer, File, text, unsigned, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

pub(super) struct Filefd {
    file: File,
    buffer: Buffer,
}

impl Filefd {
    pub(super) fn new(settings: &Settings) -> Filefd {
        Filefd { file: File::new(settings.roots.proc("sys/fs/file-nr")), buffer: Buffer::default() }
    }
}

impl Collector for Filefd {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let bytes = self.file.needed(&mut self.buffer)?;
        let mut fields = words(bytes).map_while(unsigned);
        // The second number has been 0 for long.
        let (Some(allocated), Some(_), Some(maximum)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(Fail::malformed(self.file.path(), text(bytes)));
        };
        out.one("node_filefd_allocated", "Open files.", Kind::Gauge, allocated as f64);
        out.one("node_filefd_maximum", "How many there may be.", Kind::Gauge, maximum as f64);
        Ok(())
    }
}
