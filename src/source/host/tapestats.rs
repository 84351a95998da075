//! `tapestats`: what tape drives did. From /sys/class/scsi_tape (the kernel's Documentation/scsi/st).

use super::devices::{Class, Families, Row, number_of};
use super::files::Buffer;
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

const ROWS: [Row; 10] = [
    ("node_tape_io_now", "Requests that are under way.", Kind::Gauge),
    ("node_tape_io_time_seconds_total", "How long requests took.", Kind::Counter),
    ("node_tape_io_others_total", "Requests that neither read nor wrote.", Kind::Counter),
    ("node_tape_read_bytes_total", "Bytes that were read.", Kind::Counter),
    ("node_tape_reads_completed_total", "Requests that read.", Kind::Counter),
    ("node_tape_read_time_seconds_total", "How long reading took.", Kind::Counter),
    ("node_tape_residual_total", "Requests that were not done as a whole.", Kind::Counter),
    ("node_tape_written_bytes_total", "Bytes that were written.", Kind::Counter),
    ("node_tape_writes_completed_total", "Requests that wrote.", Kind::Counter),
    ("node_tape_write_time_seconds_total", "How long writing took.", Kind::Counter),
];

/// The attribute of each row, and by what it is multiplied.
const NUMBERS: [(&str, f64); ROWS.len()] = [
    ("in_flight", 1.0),
    ("io_ns", 0.000000001),
    ("other_cnt", 1.0),
    ("read_byte_cnt", 1.0),
    ("read_cnt", 1.0),
    ("read_ns", 0.000000001),
    ("resid_cnt", 1.0),
    ("write_byte_cnt", 1.0),
    ("write_cnt", 1.0),
    ("write_ns", 0.000000001),
];

pub(super) struct Tapestats {
    class: Class,
    families: Families,
    buffer: Buffer,
}

impl Tapestats {
    pub(super) fn new(settings: &Settings) -> Tapestats {
        let class = Class::new(settings.roots.sys("class/scsi_tape"));
        Tapestats { class, families: Families::new(&ROWS), buffer: Buffer::default() }
    }

    fn fill(&mut self) -> Result<(), Fail> {
        for name in self.class.names() {
            // A drive has other names as well, for its modes and without rewinding: `nst0`, `st0a`.
            if name.strip_prefix("st").is_none_or(|rest| rest.parse::<u32>().is_err()) {
                continue;
            }
            for (row, (attribute, times)) in NUMBERS.iter().enumerate() {
                let path = self.class.directory().join(name).join("stats").join(attribute);
                if let Some(number) = number_of(path, &mut self.buffer)? {
                    self.families.add(row, &[("device", name)], number as f64 * times);
                }
            }
        }
        Ok(())
    }
}

impl Collector for Tapestats {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        self.class.look()?;
        let found = self.fill();
        self.families.tell(out);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    #[test]
    fn drives() {
        let tree = Tree::new(
            "
            sys/class/scsi_tape/st0/stats/in_flight: 1
            sys/class/scsi_tape/st0/stats/io_ns: 9247011087720
            sys/class/scsi_tape/st0/stats/other_cnt: 1409
            sys/class/scsi_tape/st0/stats/read_byte_cnt: 979383912
            sys/class/scsi_tape/st0/stats/read_cnt: 3741
            sys/class/scsi_tape/st0/stats/read_ns: 33788355744
            sys/class/scsi_tape/st0/stats/resid_cnt: 19
            sys/class/scsi_tape/st0/stats/write_byte_cnt: 1496246784000
            sys/class/scsi_tape/st0/stats/write_cnt: 53772916
            sys/class/scsi_tape/st0/stats/write_ns: 5233597394395
            sys/class/scsi_tape/nst0/stats/in_flight: 1
            sys/class/scsi_tape/st0a/stats/in_flight: 1",
        );
        let expected = r#"
            # node_tape_io_now gauge
            node_tape_io_now{device="st0"} 1
            # node_tape_io_time_seconds_total counter
            node_tape_io_time_seconds_total{device="st0"} 9247.01108772
            # node_tape_io_others_total counter
            node_tape_io_others_total{device="st0"} 1409
            # node_tape_read_bytes_total counter
            node_tape_read_bytes_total{device="st0"} 979383912
            # node_tape_reads_completed_total counter
            node_tape_reads_completed_total{device="st0"} 3741
            # node_tape_read_time_seconds_total counter
            node_tape_read_time_seconds_total{device="st0"} 33.788355744
            # node_tape_residual_total counter
            node_tape_residual_total{device="st0"} 19
            # node_tape_written_bytes_total counter
            node_tape_written_bytes_total{device="st0"} 1496246784000
            # node_tape_writes_completed_total counter
            node_tape_writes_completed_total{device="st0"} 53772916
            # node_tape_write_time_seconds_total counter
            node_tape_write_time_seconds_total{device="st0"} 5233.597394395"#;
        assert_text(&told(&mut Tapestats::new(&tree.settings())), expected);
        assert!(matches!(failed(&mut Tapestats::new(&Tree::new("").settings())).1, Fail::NoData));
    }
}
