//! SIGINT and SIGTERM, and SIGHUP.
//!
//! Promises: the first of the two asks to stop, the second one ends it at once with exit code 1; SIGHUP asks to reload. Leaves to others: stopping, reloading.

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

/// Listens for SIGHUP from its making on: it does not end the process any more.
pub struct Hangups(Signal);

impl Hangups {
    /// Starts listening. Must be called within a tokio runtime.
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Hangups(signal(SignalKind::hangup()).context("signals cannot be listened for")?))
    }

    /// Waits for the next one. Several that come before this call count as one.
    pub async fn next(&mut self) {
        // The stream of a signal has no end.
        let _ = self.0.recv().await;
    }
}
