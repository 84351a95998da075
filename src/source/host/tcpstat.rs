//! `tcpstat`: TCP connections by state, and what waits in them, as sock_diag(7) says.

use super::netlink::{Netlink, u32_at};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};
use rustix::net::netlink::SOCK_DIAG;
use std::path::PathBuf;

/// The message SOCK_DIAG_BY_FAMILY.
const BY_FAMILY: u16 = 20;
const TCP: u8 = 6;

/// By their numbers in the kernel, from 1; some are newer than what is counted here.
const STATES: [&str; 11] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];

pub(super) struct Tcpstat {
    netlink: Netlink,
    six: PathBuf,
}

impl Tcpstat {
    pub(super) fn new(settings: &Settings) -> Tcpstat {
        Tcpstat { netlink: Netlink::new(Some(SOCK_DIAG)), six: settings.roots.proc("net/tcp6") }
    }
}

impl Collector for Tcpstat {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let mut counts = [0u64; STATES.len()];
        let (mut received, mut sent) = (0u64, 0u64);
        for family in [2u8, 10] {
            if family == 10 && !self.six.exists() {
                continue;
            }
            // `inet_diag_req_v2`: family, protocol, no extensions, padding, all states, any socket.
            let mut request = [0; 56];
            for (place, byte) in request.iter_mut().zip([family, TCP, 0, 0, 255, 255, 255, 255]) {
                *place = byte;
            }
            self.netlink.ask(BY_FAMILY, &request, &mut |body| {
                // `inet_diag_msg`: the state is the second byte; behind 4 bytes, the socket's 48 and a timer are the queues.
                let state = body.get(1).and_then(|state| usize::from(*state).checked_sub(1));
                if let Some(count) = state.and_then(|state| counts.get_mut(state)) {
                    *count += 1;
                }
                received += u64::from(u32_at(body, 56).unwrap_or(0));
                sent += u64::from(u32_at(body, 60).unwrap_or(0));
            })?;
        }
        out.family("node_tcp_connection_states", "TCP connections by state, and bytes that wait in them.", Kind::Gauge);
        for (state, count) in STATES.into_iter().zip(counts).filter(|(_, count)| *count > 0) {
            out.add(&[("state", state)], count as f64);
        }
        out.add(&[("state", "rx_queued_bytes")], received as f64);
        out.add(&[("state", "tx_queued_bytes")], sent as f64);
        Ok(())
    }
}
