//! What a receiver tells of itself: metrics, and what the status page shows.
//!
//! Promises: one set of series a source, whoever sends. Leaves to others: what its inlet counts (`store/inlet`), and the reading of that (`file`).

use super::fullness::Fullness;
use crate::base::metrics::{Counter, Gauge, Registry};
use crate::source::unwritten::Unwritten;

/// The counters of one receiver. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Status {
    source: String,
    /// Messages that were received.
    pub messages: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Messages of which only the head was kept.
    pub cut: Counter,
    /// Datagrams that the kernel dropped, as its buffer was full.
    pub kernel_dropped: Counter,
    /// Times that senders had to wait because the inlet was full.
    pub held_up: Counter,
    /// Connections that are open.
    pub connections: Gauge,
    /// Connections that were silent or slow for too long, or held too much of messages that had not ended.
    pub closed: Counter,
    /// TLS handshakes that failed.
    pub handshakes_failed: Counter,
    /// Messages and requests that were not taken, by reason.
    refused: Vec<(&'static str, Counter)>,
    pub(super) unwritten: Unwritten,
    pub(super) fullness: Fullness,
}

/// Why something is not taken.
pub(super) const REFUSED: [&str; 8] =
    ["malformed", "too_large", "unauthorized", "full", "disk", "chunk", "chunks_late", "chunks_crowded"];

impl Status {
    /// Registers the series of a source.
    pub fn new(registry: &Registry, name: &str) -> Self {
        let source = [("source", name)];
        let refused = REFUSED.map(|reason| {
            let help = "Messages and requests that were not taken, by reason.";
            (reason, registry.counter("lugger_receive_refused_total", help, &[("source", name), ("reason", reason)]))
        });
        Status {
            source: name.to_owned(),
            messages: registry.counter("lugger_receive_messages_total", "Messages received.", &source),
            bytes: registry.counter("lugger_receive_bytes_total", "Bytes of messages received.", &source),
            cut: registry.counter("lugger_receive_cut_total", "Messages of which only the head was kept.", &source),
            kernel_dropped: registry.counter(
                "lugger_receive_kernel_dropped_total",
                "Datagrams that the kernel dropped because the socket's buffer was full.",
                &source,
            ),
            held_up: registry.counter(
                "lugger_receive_held_up_total",
                "Times that senders had to wait because the source's queue was full.",
                &source,
            ),
            connections: registry.gauge("lugger_receive_connections", "Connections that are open.", &source),
            closed: registry.counter(
                "lugger_receive_connections_closed_total",
                "Connections that were closed because they were silent or slow for too long, or held too much of messages that had not ended.",
                &source,
            ),
            handshakes_failed: registry.counter(
                "lugger_receive_handshakes_failed_total",
                "TLS handshakes that failed.",
                &source,
            ),
            refused: refused.to_vec(),
            unwritten: Unwritten::default(),
            fullness: Fullness::default(),
        }
    }

    /// The source's name.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// What has been lost since the start, and what is wrong now, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let dropped = self.kernel_dropped.get();
        let lost = (dropped > 0)
            .then(|| format!("the kernel dropped {dropped} datagrams since the start: raise net.core.rmem_max"));
        self.degraded().into_iter().chain(lost).collect()
    }

    /// Why what comes is not received as it should be.
    pub fn degraded(&self) -> Option<String> {
        self.unwritten.problem().or_else(|| self.fullness.problem())
    }

    /// All that was not taken.
    pub(super) fn refused(&self) -> u64 {
        self.refused.iter().map(|(_, counter)| counter.get()).sum()
    }

    /// Counts what is not taken, for one of [`REFUSED`].
    pub(super) fn refuse(&self, reason: &str, count: u64) {
        if let Some((_, counter)) = self.refused.iter().find(|(known, _)| *known == reason) {
            counter.add(count);
        }
    }
}
