//! What is wrong with a source's files now, for its status.
//!
//! Promises: kept for many files and shown for a few; asking costs nothing when there is nothing. Leaves to others: counting, messages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// At most this many errors are told apart; the rest is a number.
const SHOWN: usize = 8;
/// At most this many are remembered.
const KEPT: usize = 1000;

/// The errors of now. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Problems(Arc<Parts>);

/// What must not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// One of the files that count as followed.
    File,
    /// Something else: a directory, or a file that is not followed before it can be opened.
    Other,
}

/// What is wrong with one path.
#[derive(Debug)]
struct Failing {
    problem: String,
    /// It exists, and must not be read.
    denied: Option<Denied>,
}

/// The errors, and how many there are, so that asking for one costs nothing when there is none.
#[derive(Debug, Default)]
struct Parts {
    count: AtomicUsize,
    by_path: Mutex<BTreeMap<PathBuf, Failing>>,
}

impl Problems {
    /// One sentence each, at most a few.
    pub(super) fn list(&self) -> Vec<String> {
        let failing = self.lock();
        let mut shown: Vec<String> = failing.values().take(SHOWN).map(|failing| failing.problem.clone()).collect();
        if failing.len() > SHOWN {
            shown.push(format!("… and {} more files", failing.len() - SHOWN));
        }
        shown
    }

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) > 0
    }

    /// The first that is for want of rights, if all of so many `followed` files are.
    pub(super) fn denied(&self, followed: usize) -> Option<String> {
        if !self.any() {
            return None;
        }
        let failing = self.lock();
        let files = failing.values().filter(|failing| failing.denied == Some(Denied::File)).count();
        let first = failing.values().find(|failing| failing.denied.is_some()).filter(|_| followed <= files);
        first.map(|failing| failing.problem.clone())
    }

    /// Notes that `path` fails, for want of rights or for something else. True when it did not fail before.
    pub(super) fn add(&self, path: &Path, problem: &str, denied: Option<Denied>) -> bool {
        let mut failing = self.lock();
        if failing.len() >= KEPT && !failing.contains_key(path) {
            return false;
        }
        let is_first = failing.insert(path.to_owned(), Failing { problem: problem.to_owned(), denied }).is_none();
        self.0.count.store(failing.len(), Ordering::Relaxed);
        is_first
    }

    /// Notes that nothing is known to fail.
    pub(super) fn clear(&self) {
        let mut failing = self.lock();
        failing.clear();
        self.0.count.store(0, Ordering::Relaxed);
    }

    /// Notes that `path` does not fail (any more). True when it did.
    pub(super) fn remove(&self, path: &Path) -> bool {
        if self.0.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut failing = self.lock();
        let did = failing.remove(path).is_some();
        self.0.count.store(failing.len(), Ordering::Relaxed);
        did
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Failing>> {
        // A map insertion happened or did not.
        self.0.by_path.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
