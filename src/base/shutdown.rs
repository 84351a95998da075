//! The one signal that tells tasks and threads to stop.
//!
//! Promises: it is raised once and stays raised; every clone sees it. Leaves to others: what stopping means.

use tokio::sync::watch;

/// Raises the signal. Dropping it raises the signal too, so that no task outlives its owner.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Sees the signal. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// A trigger and its first observer.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Tells all observers to stop.
    pub fn raise(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Whether the signal has been raised.
    pub fn is_raised(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until the signal is raised.
    pub async fn raised(&mut self) {
        // An error means that the trigger is gone, which counts as raised.
        let _ = self.0.wait_for(|raised| *raised).await;
    }
}
