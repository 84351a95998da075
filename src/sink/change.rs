//! Where other settings wait for a running sender.
//!
//! Promises: the newest ones are taken, once; who waits for them is woken. Leaves to others: what is done with them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Holds what a sender is to go on with.
pub(super) struct Change<T> {
    next: Mutex<Option<Box<T>>>,
    told: Notify,
}

impl<T> Default for Change<T> {
    fn default() -> Self {
        Change { next: Mutex::new(None), told: Notify::new() }
    }
}

impl<T> std::fmt::Debug for Change<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Change")
    }
}

impl<T> Change<T> {
    pub(super) fn put(&self, prepared: T) {
        *self.lock() = Some(Box::new(prepared));
        self.told.notify_one();
    }

    pub(super) fn take(&self) -> Option<Box<T>> {
        self.lock().take()
    }

    /// Waits until something is there.
    pub(super) async fn waits(&self) {
        while self.lock().is_none() {
            // A permit is kept when it comes between the look and the wait.
            self.told.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<T>>> {
        // Replaced in one step, so whole even after a panic elsewhere.
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
