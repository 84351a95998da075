//! `entropy`: what the random number generator has, from /proc/sys/kernel/random (random(4)).

use super::files::{Buffer, File, text, trim, unsigned};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

pub(super) struct Entropy {
    available: File,
    pool: File,
    buffer: Buffer,
}

impl Entropy {
    pub(super) fn new(settings: &Settings) -> Entropy {
        let file = |name: &str| File::new(settings.roots.proc("sys/kernel/random").join(name));
        Entropy { available: file("entropy_avail"), pool: file("poolsize"), buffer: Buffer::default() }
    }
}

impl Collector for Entropy {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        for (file, name, help) in [
            (&mut self.available, "node_entropy_available_bits", "Entropy that there is."),
            (&mut self.pool, "node_entropy_pool_size_bits", "Entropy that there can be."),
        ] {
            let word = trim(file.needed(&mut self.buffer)?);
            let bits = unsigned(word).ok_or_else(|| Fail::malformed(file.path(), text(word)))?;
            out.one(name, help, Kind::Gauge, bits as f64);
        }
        Ok(())
    }
}
