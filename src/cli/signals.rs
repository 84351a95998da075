//! SIGINT and SIGTERM.
//!
//! Promises: the first one asks to stop, the second one ends it at once with exit code 1. Leaves to others: stopping.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for both signals from its making on.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Starts listening. Must be called within a tokio runtime.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened for");
        Ok(Signals { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for the next signal and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Does `work`, unless a further signal comes: then the work is dropped, and the error ends the process.
    pub async fn impatient<T>(&mut self, work: impl Future<Output = T>) -> anyhow::Result<T> {
        tokio::select! {
            done = work => Ok(done),
            signal = self.next() => anyhow::bail!("ended at once by a second {signal}"),
        }
    }
}
