//! `ipvs`: connections that the kernel's load balancer gives to others. From /proc/net/ip_vs_stats and ip_vs (the kernel's net/netfilter/ipvs/ip_vs_ctl.c).

use super::devices::{Families, Row};
use super::files::{Buffer, File, hex, lines, text, unsigned, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};
use std::net::{Ipv4Addr, Ipv6Addr};

const TOTALS: [Row; 5] = [
    ("node_ipvs_connections_total", "Connections.", Kind::Counter),
    ("node_ipvs_incoming_packets_total", "Packets that came in.", Kind::Counter),
    ("node_ipvs_outgoing_packets_total", "Packets that went out.", Kind::Counter),
    ("node_ipvs_incoming_bytes_total", "Bytes that came in.", Kind::Counter),
    ("node_ipvs_outgoing_bytes_total", "Bytes that went out.", Kind::Counter),
];
const ROWS: [Row; 3] = [
    ("node_ipvs_backend_connections_active", "Connections of a backend that are in use.", Kind::Gauge),
    ("node_ipvs_backend_connections_inactive", "Connections of a backend that are not in use.", Kind::Gauge),
    ("node_ipvs_backend_weight", "Weight of a backend.", Kind::Gauge),
];

pub(super) struct Ipvs {
    stats: File,
    table: File,
    families: Families,
    buffer: Buffer,
}

/// A line of the table: what is balanced, to whom, and how much.
#[derive(Debug, Clone, PartialEq)]
struct Backend {
    labels: [String; 6],
    numbers: [u64; 3],
}

/// The labels, in the order of [`Backend::labels`].
const LABELS: [&str; 6] = ["local_address", "local_mark", "local_port", "proto", "remote_address", "remote_port"];

impl Ipvs {
    pub(super) fn new(settings: &Settings) -> Ipvs {
        let [stats, table] = ["net/ip_vs_stats", "net/ip_vs"].map(|path| File::new(settings.roots.proc(path)));
        Ipvs { stats, table, families: Families::new(&ROWS), buffer: Buffer::default() }
    }
}

impl Collector for Ipvs {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let bytes = self.stats.all_needed(&mut self.buffer)?;
        // Two lines of heads, then hexadecimal sums.
        let totals: Option<Vec<u64>> = lines(bytes)
            .nth(2)
            .unwrap_or_default()
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .map(hex)
            .collect();
        let totals = totals.filter(|totals| totals.len() == TOTALS.len());
        let totals = totals.ok_or_else(|| Fail::malformed(self.stats.path(), "five numbers are expected in line 3"))?;
        for ((name, help, kind), value) in TOTALS.iter().zip(totals) {
            out.one(name, help, *kind, value as f64);
        }
        let bytes = match self.table.all(&mut self.buffer) {
            Ok(bytes) => bytes,
            Err(error) => return Err(Fail::io(self.table.path(), error)),
        };
        let backends = backends(bytes).map_err(|what| Fail::malformed(self.table.path(), what))?;
        for backend in &backends {
            let mut labels = [("", ""); LABELS.len()];
            labels
                .iter_mut()
                .zip(LABELS.iter().zip(&backend.labels))
                .for_each(|(told, (name, value))| *told = (name, value));
            let [weight, active, inactive] = backend.numbers;
            for (row, value) in [active, inactive, weight].into_iter().enumerate() {
                self.families.add(row, &labels, value as f64);
            }
        }
        self.families.tell(out);
        Ok(())
    }
}

/// The backends in the table; of equal ones the sum.
fn backends(bytes: &[u8]) -> Result<Vec<Backend>, String> {
    let mut found: Vec<Backend> = Vec::new();
    let mut service = [const { String::new() }; 4];
    for line in lines(bytes) {
        let mut fields = words(line);
        let wrong = || format!("'{}'", text(line).trim());
        match fields.next().unwrap_or_default() {
            proto @ (b"TCP" | b"UDP" | b"SCTP") => {
                let (address, port) = fields.next().and_then(endpoint).ok_or_else(wrong)?;
                service = [address, String::new(), port, text(proto).to_owned()];
            }
            proto @ b"FWM" => {
                let mark = fields.next().map(text).ok_or_else(wrong)?;
                service = [String::new(), mark.to_owned(), "0".to_owned(), text(proto).to_owned()];
            }
            // Behind the head, which has words there.
            b"->" if !line.ends_with(b"InActConn") => {
                let (address, port) = fields.next().and_then(endpoint).ok_or_else(wrong)?;
                let mut numbers = fields.skip(1).map(unsigned);
                let mut number = || numbers.next().flatten().ok_or_else(wrong);
                let numbers = [number()?, number()?, number()?];
                let [local, mark, local_port, proto] = service.clone();
                let labels = [local, mark, local_port, proto, address, port];
                match found.iter_mut().find(|backend| backend.labels == labels) {
                    Some(backend) => {
                        backend.numbers.iter_mut().zip(numbers).for_each(|(sum, more)| *sum = sum.saturating_add(more));
                    }
                    None => found.push(Backend { labels, numbers }),
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Address and port of `C0A80016:0CEA`, or of `[2620:0000:...:0001]:0050`.
fn endpoint(word: &[u8]) -> Option<(String, String)> {
    let at = word.iter().rposition(|byte| *byte == b':')?;
    let (address, port) = (word.get(..at)?, u16::try_from(hex(word.get(at + 1..)?)?).ok()?);
    let address = match address.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
        Some(address) => text(address).parse::<Ipv6Addr>().ok()?.to_string(),
        None if address.len() == 8 => Ipv4Addr::from_bits(u32::try_from(hex(address)?).ok()?).to_string(),
        None => return None,
    };
    Some((address, port.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    const STATS: &str = "   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
 16AA370 E33656E5        0     51D8C8883AB3        0

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       4    1FB3C        0          1282A8F                0
";
    const TABLE: &str = "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  C0A80016:0CEA wlc
  -> C0A85216:0CEA      Tunnel  100    248        2
  -> C0A85318:0CEA      Tunnel  100    248        1
  -> C0A85318:0CEA      Tunnel  1      2          3
FWM  10001000 wlc
  -> C0A83215:0CEA      Route   20     64         1
TCP  [2620:0000:0000:0000:0000:0000:0000:0001]:0050 sh
  -> [2620:0000:0000:0000:0000:0000:0000:0002]:0050      Route   1 0 5
";

    #[test]
    fn totals_and_backends() {
        let tree = Tree::new("");
        tree.write("proc/net/ip_vs_stats", STATS);
        tree.write("proc/net/ip_vs", TABLE);
        let labels = [
            r#"{local_address="192.168.0.22",local_port="3306",proto="TCP",remote_address="192.168.82.22",remote_port="3306"}"#,
            r#"{local_address="192.168.0.22",local_port="3306",proto="TCP",remote_address="192.168.83.24",remote_port="3306"}"#,
            r#"{local_mark="10001000",local_port="0",proto="FWM",remote_address="192.168.50.21",remote_port="3306"}"#,
            r#"{local_address="2620::1",local_port="80",proto="TCP",remote_address="2620::2",remote_port="80"}"#,
        ];
        let mut expected = "
            # node_ipvs_connections_total counter
            node_ipvs_connections_total 23765872
            # node_ipvs_incoming_packets_total counter
            node_ipvs_incoming_packets_total 3811989221
            # node_ipvs_outgoing_packets_total counter
            node_ipvs_outgoing_packets_total 0
            # node_ipvs_incoming_bytes_total counter
            node_ipvs_incoming_bytes_total 89991519156915
            # node_ipvs_outgoing_bytes_total counter
            node_ipvs_outgoing_bytes_total 0
            "
        .to_owned();
        for (row, values) in ROWS.iter().zip([[248, 250, 64, 0], [2, 4, 1, 5], [100, 101, 20, 1]]) {
            expected += &format!("# {} gauge\n", row.0);
            for (labels, value) in labels.iter().zip(values) {
                expected += &format!("{}{labels} {value}\n", row.0);
            }
        }
        let mut ipvs = Ipvs::new(&tree.settings());
        assert_text(&told(&mut ipvs), &expected);
        tree.write("proc/net/ip_vs", "TCP  C0A80016 wlc\n");
        assert!(
            matches!(failed(&mut ipvs).1, Fail::Error(what) if what.ends_with("ip_vs: not understood: 'TCP  C0A80016 wlc'"))
        );
        tree.write("proc/net/ip_vs_stats", "x\ny\n1 2 3\n");
        assert!(matches!(failed(&mut ipvs), (text, Fail::Error(_)) if text.is_empty()));
        assert!(matches!(failed(&mut Ipvs::new(&Tree::new("").settings())).1, Fail::NoData));
    }
}
