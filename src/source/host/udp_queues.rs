//! `udp_queues`: what waits in UDP sockets, from /proc/net/udp and udp6 (proc(5)).

use super::files::{Buffer, File, cut, hex, lines, text, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

pub(super) struct UdpQueues {
    files: [(&'static str, File); 2],
    buffer: Buffer,
}

impl UdpQueues {
    pub(super) fn new(settings: &Settings) -> UdpQueues {
        let file = |name| File::new(settings.roots.proc(name));
        UdpQueues { files: [("v4", file("net/udp")), ("v6", file("net/udp6"))], buffer: Buffer::default() }
    }
}

impl Collector for UdpQueues {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let mut found = false;
        for (ip, file) in &mut self.files {
            let bytes = match file.all_needed(&mut self.buffer) {
                Err(Fail::NoData) => continue,
                bytes => bytes?,
            };
            let (mut sent, mut received) = (0u64, 0u64);
            for line in lines(bytes).skip(1) {
                let queues = words(line).nth(4).and_then(|field| cut(field, b':'));
                let queues = queues.and_then(|(tx, rx)| Some((hex(tx)?, hex(rx)?)));
                let (tx, rx) = queues.ok_or_else(|| Fail::malformed(file.path(), text(line)))?;
                sent = sent.saturating_add(tx);
                received = received.saturating_add(rx);
            }
            if !std::mem::replace(&mut found, true) {
                out.family("node_udp_queues", "Bytes that wait in UDP sockets.", Kind::Gauge);
            }
            out.add(&[("ip", ip), ("queue", "tx")], sent as f64);
            out.add(&[("ip", ip), ("queue", "rx")], received as f64);
        }
        if found { Ok(()) } else { Err(Fail::NoData) }
    }
}
