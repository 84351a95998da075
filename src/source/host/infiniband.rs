//! `infiniband`: ports of InfiniBand and RDMA adapters. From /sys/class/infiniband (the kernel's Documentation/ABI/stable/sysfs-class-infiniband).

use super::devices::{Class, Families, Row, entries, text_of, word};
use super::files::{Buffer, File, float, text, trim, unsigned};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};
use std::path::Path;

macro_rules! counters {
    ($(($name:literal, $file:literal)),* $(,)?) => {
        /// State and rate, and behind them what is counted.
        const ROWS: [Row; FIRST + COUNTERS.len()] = [
            ("node_infiniband_state_id", "State: 1 down, 2 init, 3 armed, 4 active, 5 deferred.", Kind::Gauge),
            ("node_infiniband_physical_state_id", "State of the link: 1 sleep, 2 polling, 3 disabled, 4 training, 5 up, 6 recovery, 7 test.", Kind::Gauge),
            ("node_infiniband_rate_bytes_per_second", "Rate of the link.", Kind::Gauge),
            ("node_infiniband_lifespan_seconds", "How long what was counted by hardware is told again.", Kind::Gauge),
            ("node_infiniband_info", "Always 1; what an adapter says of itself.", Kind::Gauge),
            $((concat!("node_infiniband_", $name), concat!($file, " of a port."), Kind::Counter)),*
        ];
        /// The attribute of each counter.
        const COUNTERS: &[&str] = &[$($file),*];
    };
}

counters![
    ("legacy_multicast_packets_received_total", "counters_ext/port_multicast_rcv_packets"),
    ("legacy_multicast_packets_transmitted_total", "counters_ext/port_multicast_xmit_packets"),
    ("legacy_data_received_bytes_total", "counters_ext/port_rcv_data_64"),
    ("legacy_packets_received_total", "counters_ext/port_rcv_packets_64"),
    ("legacy_unicast_packets_received_total", "counters_ext/port_unicast_rcv_packets"),
    ("legacy_unicast_packets_transmitted_total", "counters_ext/port_unicast_xmit_packets"),
    ("legacy_data_transmitted_bytes_total", "counters_ext/port_xmit_data_64"),
    ("legacy_packets_transmitted_total", "counters_ext/port_xmit_packets_64"),
    ("excessive_buffer_overrun_errors_total", "counters/excessive_buffer_overrun_errors"),
    ("link_downed_total", "counters/link_downed"),
    ("link_error_recovery_total", "counters/link_error_recovery"),
    ("local_link_integrity_errors_total", "counters/local_link_integrity_errors"),
    ("multicast_packets_received_total", "counters/multicast_rcv_packets"),
    ("multicast_packets_transmitted_total", "counters/multicast_xmit_packets"),
    ("port_constraint_errors_received_total", "counters/port_rcv_constraint_errors"),
    ("port_constraint_errors_transmitted_total", "counters/port_xmit_constraint_errors"),
    ("port_data_received_bytes_total", "counters/port_rcv_data"),
    ("port_data_transmitted_bytes_total", "counters/port_xmit_data"),
    ("port_discards_received_total", "counters/port_rcv_discards"),
    ("port_discards_transmitted_total", "counters/port_xmit_discards"),
    ("port_errors_received_total", "counters/port_rcv_errors"),
    ("port_packets_received_total", "counters/port_rcv_packets"),
    ("port_packets_transmitted_total", "counters/port_xmit_packets"),
    ("port_receive_remote_physical_errors_total", "counters/port_rcv_remote_physical_errors"),
    ("port_receive_switch_relay_errors_total", "counters/port_rcv_switch_relay_errors"),
    ("port_transmit_wait_total", "counters/port_xmit_wait"),
    ("symbol_error_total", "counters/symbol_error"),
    ("unicast_packets_received_total", "counters/unicast_rcv_packets"),
    ("unicast_packets_transmitted_total", "counters/unicast_xmit_packets"),
    ("vl15_dropped_total", "counters/VL15_dropped"),
    ("duplicate_requests_packets_total", "hw_counters/duplicate_request"),
    ("implied_nak_seq_errors_total", "hw_counters/implied_nak_seq_err"),
    ("local_ack_timeout_errors_total", "hw_counters/local_ack_timeout_err"),
    ("np_cnp_packets_sent_total", "hw_counters/np_cnp_sent"),
    ("np_ecn_marked_roce_packets_received_total", "hw_counters/np_ecn_marked_roce_packets"),
    ("out_of_buffer_drops_total", "hw_counters/out_of_buffer"),
    ("out_of_sequence_packets_received_total", "hw_counters/out_of_sequence"),
    ("packet_sequence_errors_total", "hw_counters/packet_seq_err"),
    ("req_cqes_errors_total", "hw_counters/req_cqe_error"),
    ("req_cqes_flush_errors_total", "hw_counters/req_cqe_flush_error"),
    ("req_remote_access_errors_total", "hw_counters/req_remote_access_errors"),
    ("req_remote_invalid_request_errors_total", "hw_counters/req_remote_invalid_request"),
    ("resp_cqes_errors_total", "hw_counters/resp_cqe_error"),
    ("resp_cqes_flush_errors_total", "hw_counters/resp_cqe_flush_error"),
    ("resp_local_length_errors_total", "hw_counters/resp_local_length_error"),
    ("resp_remote_access_errors_total", "hw_counters/resp_remote_access_errors"),
    ("rnr_nak_retry_packets_received_total", "hw_counters/rnr_nak_retry_err"),
    ("roce_adp_retransmits_total", "hw_counters/roce_adp_retrans"),
    ("roce_adp_retransmits_timeout_total", "hw_counters/roce_adp_retrans_to"),
    ("roce_slow_restart_used_total", "hw_counters/roce_slow_restart"),
    ("roce_slow_restart_cnps_total", "hw_counters/roce_slow_restart_cnps"),
    ("roce_slow_restart_total", "hw_counters/roce_slow_restart_trans"),
    ("rp_cnp_packets_handled_total", "hw_counters/rp_cnp_handled"),
    ("rp_cnp_ignored_packets_received_total", "hw_counters/rp_cnp_ignored"),
    ("rx_atomic_requests_total", "hw_counters/rx_atomic_requests"),
    ("rx_dct_connect_requests_total", "hw_counters/rx_dct_connect"),
    ("rx_icrc_encapsulated_errors_total", "hw_counters/rx_icrc_encapsulated"),
    ("rx_read_requests_total", "hw_counters/rx_read_requests"),
    ("rx_write_requests_total", "hw_counters/rx_write_requests"),
];

/// Rows that are not in the order of attributes, and that of the first counter.
const LIFESPAN: usize = 3;
const INFO: usize = 4;
const FIRST: usize = 5;
/// What counters of data count, bytes: a word on each of four lanes.
const LANES: f64 = 4.0;
/// A gigabit a second in bytes.
const GIGABIT: f64 = 125_000_000.0;

pub(super) struct Infiniband {
    class: Class,
    families: Families,
    buffer: Buffer,
}

impl Infiniband {
    pub(super) fn new(settings: &Settings) -> Infiniband {
        let class = Class::new(settings.roots.sys("class/infiniband"));
        Infiniband { class, families: Families::new(&ROWS), buffer: Buffer::default() }
    }

    fn fill(&mut self) -> Result<(), Fail> {
        for device in self.class.names().to_vec() {
            let directory = self.class.directory().join(&device);
            let told = |attribute| text_of(directory.join(attribute), &mut self.buffer);
            // Not every driver has all of these.
            let [board, firmware, kind] = ["board_id", "fw_ver", "hca_type"].map(told);
            let (board, firmware, kind) =
                (board?.unwrap_or_default(), firmware?.unwrap_or_default(), kind?.unwrap_or_default());
            let labels = [
                ("board_id", board.as_str()),
                ("device", &device),
                ("firmware_version", &firmware),
                ("hca_type", &kind),
            ];
            self.families.add(INFO, &labels, 1.0);
            let ports = directory.join("ports");
            for port in entries(&ports).map_err(|error| Fail::io(&ports, error))? {
                self.fill_port(&ports.join(&port), &[("device", &device), ("port", &port)])?;
            }
        }
        Ok(())
    }

    fn fill_port(&mut self, directory: &Path, labels: &[(&str, &str)]) -> Result<(), Fail> {
        for (row, attribute) in ["state", "phys_state", "rate"].iter().enumerate() {
            let mut file = File::passing(directory.join(attribute));
            let bytes = file.word(&mut self.buffer).map_err(|error| Fail::io(file.path(), error))?;
            // `4: ACTIVE`, `100 Gb/sec (4X EDR)`
            let end = bytes.iter().position(|byte| matches!(byte, b':' | b' ')).unwrap_or(bytes.len());
            let number =
                bytes.get(..end).and_then(float).ok_or_else(|| format!("'{}' begins with no number", text(bytes)));
            let number = number.map_err(|what| Fail::malformed(file.path(), what))?;
            // Rates are cut to whole bytes, as by node_exporter.
            self.families.add(row, labels, if *attribute == "rate" { (number * GIGABIT).floor() } else { number });
        }
        for (row, attribute) in (FIRST..).zip(COUNTERS) {
            let lanes = attribute.ends_with("_data") || attribute.ends_with("_data_64");
            if let Some(number) = self.counter(directory, attribute)? {
                self.families.add(row, labels, number * if lanes { LANES } else { 1.0 });
            }
        }
        if let Some(lifespan) = self.counter(directory, "hw_counters/lifespan")? {
            self.families.add(LIFESPAN, labels, lifespan / 1000.0);
        }
        Ok(())
    }

    fn counter(&mut self, directory: &Path, attribute: &str) -> Result<Option<f64>, Fail> {
        let mut file = File::passing(directory.join(attribute));
        match word(&mut file, &mut self.buffer)? {
            None => Ok(None),
            // Some adapters say so: `N/A (no PMA)`.
            Some(word) if word.starts_with(b"N/A") => Ok(None),
            Some(word) => match unsigned(trim(word)) {
                Some(number) => Ok(Some(number as f64)),
                None => {
                    let what = format!("'{}' is no number", text(word));
                    Err(Fail::malformed(file.path(), what))
                }
            },
        }
    }
}

impl Collector for Infiniband {
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
            sys/class/infiniband/mlx5_0/board_id: SM_1141000001000
            sys/class/infiniband/mlx5_0/fw_ver: 2.31.5050
            sys/class/infiniband/mlx5_0/ports/1/state: 4: ACTIVE
            sys/class/infiniband/mlx5_0/ports/1/phys_state: 5: LinkUp
            sys/class/infiniband/mlx5_0/ports/1/rate: 2.5 Gb/sec (1X SDR)
            sys/class/infiniband/mlx5_0/ports/1/counters/port_rcv_data: 4631917
            sys/class/infiniband/mlx5_0/ports/1/counters/port_xmit_wait: 3599
            sys/class/infiniband/mlx5_0/ports/1/counters/symbol_error: N/A (no PMA)
            sys/class/infiniband/mlx5_0/ports/1/counters_ext/port_xmit_data_64: 26509113295
            sys/class/infiniband/mlx5_0/ports/1/hw_counters/lifespan: 10
            sys/class/infiniband/mlx5_0/ports/1/hw_counters/roce_slow_restart_trans: 6
            sys/class/infiniband/mlx5_0/ports/2/state: 1: DOWN
            sys/class/infiniband/mlx5_0/ports/2/phys_state: 3: Disabled
            sys/class/infiniband/mlx5_0/ports/2/rate: 100 Gb/sec (4X EDR)",
        );
        let expected = r#"
            # node_infiniband_state_id gauge
            node_infiniband_state_id{device="mlx5_0",port="1"} 4
            node_infiniband_state_id{device="mlx5_0",port="2"} 1
            # node_infiniband_physical_state_id gauge
            node_infiniband_physical_state_id{device="mlx5_0",port="1"} 5
            node_infiniband_physical_state_id{device="mlx5_0",port="2"} 3
            # node_infiniband_rate_bytes_per_second gauge
            node_infiniband_rate_bytes_per_second{device="mlx5_0",port="1"} 312500000
            node_infiniband_rate_bytes_per_second{device="mlx5_0",port="2"} 12500000000
            # node_infiniband_lifespan_seconds gauge
            node_infiniband_lifespan_seconds{device="mlx5_0",port="1"} 0.01
            # node_infiniband_info gauge
            node_infiniband_info{board_id="SM_1141000001000",device="mlx5_0",firmware_version="2.31.5050"} 1
            # node_infiniband_legacy_data_transmitted_bytes_total counter
            node_infiniband_legacy_data_transmitted_bytes_total{device="mlx5_0",port="1"} 106036453180
            # node_infiniband_port_data_received_bytes_total counter
            node_infiniband_port_data_received_bytes_total{device="mlx5_0",port="1"} 18527668
            # node_infiniband_port_transmit_wait_total counter
            node_infiniband_port_transmit_wait_total{device="mlx5_0",port="1"} 3599
            # node_infiniband_roce_slow_restart_total counter
            node_infiniband_roce_slow_restart_total{device="mlx5_0",port="1"} 6"#;
        let mut ports = Infiniband::new(&tree.settings());
        assert_text(&told(&mut ports), expected);
        tree.write("sys/class/infiniband/mlx5_0/ports/2/state", "up\n");
        assert!(
            matches!(failed(&mut ports).1, Fail::Error(what) if what.ends_with("state: not understood: 'up' begins with no number"))
        );
        assert!(matches!(failed(&mut Infiniband::new(&Tree::new("").settings())).1, Fail::NoData));
    }
}
