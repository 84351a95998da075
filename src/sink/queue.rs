//! An endpoint's queue of batches.
//!
//! Promises: batches come out in the order in which they went in; putting one in never blocks. Leaves to others: its bound, which
//! is the budget of bytes in flight that all batches are charged to.

use crate::model::batch::Batch;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A queue from source threads to one sender.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Arc<Batch>>,
    /// Whether the sender holds a batch that it has not finished.
    busy: bool,
}

impl Queue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a batch at the end. From any thread.
    pub fn push(&self, batch: Arc<Batch>) {
        self.lock().waiting.push_back(batch);
        self.filled.notify_one();
    }

    /// Takes the first batch, as soon as there is one. For one sender at a time.
    pub async fn pop(&self) -> Arc<Batch> {
        loop {
            {
                let mut state = self.lock();
                if let Some(batch) = state.waiting.pop_front() {
                    state.busy = true;
                    return batch;
                }
            }
            // A permit is kept when a push comes between the look and the wait.
            self.filled.notified().await;
        }
    }

    /// The batch that was taken is finished.
    pub fn finished(&self) {
        self.lock().busy = false;
    }

    /// Batches that are not finished, the one being sent included.
    pub fn len(&self) -> usize {
        let state = self.lock();
        state.waiting.len() + usize::from(state.busy)
    }

    /// Whether every batch is finished.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole even after a panic elsewhere: each change is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
