//! `loadavg`: how many threads ran or waited for the disk, on average. From /proc/loadavg (proc(5)).

use super::files::{Buffer, File, float, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

pub(super) struct Loadavg {
    file: File,
    buffer: Buffer,
}

impl Loadavg {
    pub(super) fn new(settings: &Settings) -> Loadavg {
        Loadavg { file: File::new(settings.roots.proc("loadavg")), buffer: Buffer::default() }
    }
}

impl Collector for Loadavg {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let bytes = self.file.needed(&mut self.buffer)?;
        let mut values = words(bytes).map_while(float);
        let (Some(one), Some(five), Some(fifteen)) = (values.next(), values.next(), values.next()) else {
            return Err(Fail::malformed(self.file.path(), "three numbers are expected"));
        };
        out.one("node_load1", "Load average of a minute.", Kind::Gauge, one);
        out.one("node_load5", "Load average of five minutes.", Kind::Gauge, five);
        out.one("node_load15", "Load average of a quarter of an hour.", Kind::Gauge, fifteen);
        Ok(())
    }
}
