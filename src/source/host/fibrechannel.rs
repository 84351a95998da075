//! `fibrechannel`: ports of Fibre Channel adapters. From /sys/class/fc_host (the kernel's drivers/scsi/scsi_transport_fc.c).

use super::devices::{Class, Families, Row, text_of, word};
use super::files::{Buffer, File, hex, text, unsigned};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

const ROWS: [Row; 15] = [
    ("node_fibrechannel_info", "Always 1; what a port says of itself.", Kind::Gauge),
    ("node_fibrechannel_dumped_frames_total", "Frames that were dumped.", Kind::Counter),
    ("node_fibrechannel_error_frames_total", "Frames with errors.", Kind::Counter),
    ("node_fibrechannel_invalid_crc_total", "Frames with a wrong checksum.", Kind::Counter),
    ("node_fibrechannel_rx_frames_total", "Frames that were received.", Kind::Counter),
    ("node_fibrechannel_rx_words_total", "Words that were received.", Kind::Counter),
    ("node_fibrechannel_tx_frames_total", "Frames that were sent.", Kind::Counter),
    ("node_fibrechannel_tx_words_total", "Words that were sent.", Kind::Counter),
    ("node_fibrechannel_seconds_since_last_reset_total", "Time since the port was reset.", Kind::Counter),
    ("node_fibrechannel_invalid_tx_words_total", "Invalid words that were sent.", Kind::Counter),
    ("node_fibrechannel_link_failure_total", "How often the link failed.", Kind::Counter),
    ("node_fibrechannel_loss_of_sync_total", "How often synchronization was lost.", Kind::Counter),
    ("node_fibrechannel_loss_of_signal_total", "How often the signal was lost.", Kind::Counter),
    ("node_fibrechannel_nos_total", "Not-operational sequences that were received.", Kind::Counter),
    ("node_fibrechannel_fcp_packet_aborts_total", "Packets that were aborted.", Kind::Counter),
];

/// The attribute of each row but the first.
const NUMBERS: [&str; ROWS.len() - 1] = [
    "dumped_frames",
    "error_frames",
    "invalid_crc_count",
    "rx_frames",
    "rx_words",
    "tx_frames",
    "tx_words",
    "seconds_since_last_reset",
    "invalid_tx_word_count",
    "link_failure_count",
    "loss_of_sync_count",
    "loss_of_signal_count",
    "nos_count",
    "fcp_packet_aborts",
];

/// Labels of the first row, which are called as the attributes, and whether they are told without `0x`. One is the port's name in /sys.
const LABELS: [(&str, bool); 11] = [
    ("dev_loss_tmo", false),
    ("fabric_name", true),
    ("fc_host", false),
    ("port_id", true),
    ("port_name", true),
    ("port_state", false),
    ("port_type", false),
    ("speed", false),
    ("supported_classes", false),
    ("supported_speeds", false),
    ("symbolic_name", false),
];

pub(super) struct FibreChannel {
    class: Class,
    families: Families,
    buffer: Buffer,
}

impl FibreChannel {
    pub(super) fn new(settings: &Settings) -> FibreChannel {
        let class = Class::new(settings.roots.sys("class/fc_host"));
        FibreChannel { class, families: Families::new(&ROWS), buffer: Buffer::default() }
    }

    fn fill(&mut self) -> Result<(), Fail> {
        for name in self.class.names() {
            let directory = self.class.directory().join(name);
            let mut texts: [String; LABELS.len()] = Default::default();
            for (text, (label, number)) in texts.iter_mut().zip(LABELS) {
                *text = match label {
                    "fc_host" => name.clone(),
                    _ => text_of(directory.join(label), &mut self.buffer)?.unwrap_or_default(),
                };
                if number && let Some(rest) = text.strip_prefix("0x") {
                    *text = rest.to_owned();
                }
            }
            let mut labels = [("", ""); LABELS.len()];
            labels
                .iter_mut()
                .zip(LABELS.iter().zip(&texts))
                .for_each(|(told, ((label, _), text))| *told = (label, text));
            self.families.add(0, &labels, 1.0);
            for (row, attribute) in (1..).zip(NUMBERS) {
                let mut file = File::passing(directory.join("statistics").join(attribute));
                let Some(word) = word(&mut file, &mut self.buffer)? else { continue };
                let number = if word.starts_with(b"0x") { hex(word) } else { unsigned(word) };
                let number = number.ok_or_else(|| format!("'{}' is no number", text(word)));
                let number = number.map_err(|what| Fail::malformed(file.path(), what))?;
                // What an adapter does not count has all bits set.
                if number != u64::MAX {
                    self.families.add(row, &[("fc_host", name)], number as f64);
                }
            }
        }
        Ok(())
    }
}

impl Collector for FibreChannel {
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
    fn ports() {
        let tree = Tree::new(
            "
            sys/class/fc_host/host0/dev_loss_tmo: 30
            sys/class/fc_host/host0/fabric_name: 0x0
            sys/class/fc_host/host0/node_name: 0x2000e0071bce95f2
            sys/class/fc_host/host0/port_id: 0x000002
            sys/class/fc_host/host0/port_name: 0x1000e0071bce95f2
            sys/class/fc_host/host0/port_state: Online
            sys/class/fc_host/host0/port_type: Point-To-Point (direct nport connection)
            sys/class/fc_host/host0/speed: 16 Gbit
            sys/class/fc_host/host0/statistics/dumped_frames: 0xffffffffffffffff
            sys/class/fc_host/host0/statistics/error_frames: 0x0
            sys/class/fc_host/host0/statistics/fcp_packet_aborts: 0x13
            sys/class/fc_host/host0/statistics/invalid_crc_count: 0x2
            sys/class/fc_host/host0/statistics/invalid_tx_word_count: 0x8
            sys/class/fc_host/host0/statistics/link_failure_count: 0x9
            sys/class/fc_host/host0/statistics/loss_of_signal_count: 0x11
            sys/class/fc_host/host0/statistics/loss_of_sync_count: 0x10
            sys/class/fc_host/host0/statistics/nos_count: 0x12
            sys/class/fc_host/host0/statistics/rx_frames: 0x3
            sys/class/fc_host/host0/statistics/rx_words: 4
            sys/class/fc_host/host0/statistics/seconds_since_last_reset: 0x7
            sys/class/fc_host/host0/statistics/tx_frames: 0x5
            sys/class/fc_host/host0/statistics/tx_words: 0x6
            sys/class/fc_host/host0/statistics/reset_statistics: x
            sys/class/fc_host/host1/symbolic_name: second",
        );
        let mut expected = r#"
            # node_fibrechannel_info gauge
            node_fibrechannel_info{dev_loss_tmo="30",fabric_name="0",fc_host="host0",port_id="000002",port_name="1000e0071bce95f2",port_state="Online",port_type="Point-To-Point (direct nport connection)",speed="16 Gbit"} 1
            node_fibrechannel_info{fc_host="host1",symbolic_name="second"} 1
            "#
        .to_owned();
        for (row, value) in ROWS.iter().skip(2).zip([0, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 18, 19]) {
            let name = row.0;
            expected += &format!("# {name} counter\n{name}{{fc_host=\"host0\"}} {value}\n");
        }
        let mut ports = FibreChannel::new(&tree.settings());
        assert_text(&told(&mut ports), &expected);
        tree.write("sys/class/fc_host/host0/statistics/tx_words", "many\n");
        assert!(
            matches!(failed(&mut ports).1, Fail::Error(what) if what.contains("tx_words: not understood: 'many' is no number"))
        );
        assert!(matches!(failed(&mut FibreChannel::new(&Tree::new("").settings())).1, Fail::NoData));
    }
}
