//! That an inlet had no room lately, for `/ready`, the status page and the log.
//!
//! Promises: it is a problem from the first time on until there was room for [`RECEIVE_FULL_S`]; what nobody else tells is logged at most once a minute.
//! Leaves to others: counting, and telling of records that are lost (`store/inlet`).

use crate::base::limits::RECEIVE_FULL_S;
use crate::store::seldom::Seldom;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// See the module. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Fullness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    told: Seldom<1>,
    /// When somebody was sent away last.
    refused_at: Option<Instant>,
    /// When records were given up last, and how many they are since the source began.
    lost_at: Option<Instant>,
    lost: u64,
}

impl Fullness {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many records had been given up when it was opened.
    pub(super) fn begin(&self, lost: u64) {
        self.lock().lost = lost;
    }

    /// So many records are given up by now.
    pub(super) fn note_lost(&self, lost: u64) {
        let mut state = self.lock();
        if lost > state.lost {
            state.lost = lost;
            state.lost_at = Some(Instant::now());
        }
    }

    /// A sender was sent away. Whether that is to be logged.
    pub(super) fn note_refused(&self, now_s: i64) -> bool {
        let mut state = self.lock();
        state.refused_at = Some(Instant::now());
        state.told.is_due(0, now_s)
    }

    /// What is wrong and what to do.
    pub(super) fn problem(&self) -> Option<String> {
        let state = self.lock();
        let is_lately = |at: &Instant| at.elapsed() < Duration::from_secs(RECEIVE_FULL_S);
        let remedy = "see why endpoints are behind, or give the source a larger `queue`";
        if state.lost_at.as_ref().is_some_and(is_lately) {
            let lost = state.lost;
            return Some(format!(
                "its queue is full, and what is received is lost, {lost} records since it began: {remedy}"
            ));
        }
        let refused = state.refused_at.as_ref().is_some_and(is_lately);
        refused.then(|| format!("its queue is full, and pushes are refused with 429: {remedy}"))
    }
}
