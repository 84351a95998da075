//! What was received and the disk does not take, for `/ready` and the status page.
//!
//! Promises: noting and asking cost an atomic. Leaves to others: holding it (`store/inlet`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that wait in memory for the disk of an inlet. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Unwritten(Arc<AtomicUsize>);

impl Unwritten {
    /// So many bytes wait now.
    pub(super) fn note(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// What is wrong and what to do, while any wait.
    pub(super) fn problem(&self) -> Option<String> {
        let bytes = self.0.load(Ordering::Relaxed);
        (bytes > 0).then(|| {
            format!("the disk does not take what is received, {bytes} bytes wait in memory: free space under state_dir")
        })
    }
}
