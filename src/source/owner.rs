//! Whose a file is: the labels of files whose path says only whom to ask, such as the logs of containers.
//!
//! Promises: plain values, and a question that the reading thread may ask. Leaves to others: the answers (`docker`), and what becomes of the
//! files (`file`).

use crate::base::metrics::Counter;
use crate::model::labels::Labels;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Knows the owners of files.
pub trait Owners: fmt::Debug + Send + Sync {
    /// Whose the file at this path is. Asked by the reading thread, when a file is met and when its labels are needed.
    fn of(&self, path: &Path) -> Owner;
}

/// Whose a file is.
#[derive(Debug, Clone)]
pub enum Owner {
    /// Its lines have these labels.
    Known(Arc<OwnLabels>),
    /// It is not wanted.
    Unwanted,
    /// It is not known yet: the file is held and not read. To be asked again then at the latest.
    Awaited(Instant),
}

/// Labels of the lines of one file.
#[derive(Debug)]
pub struct OwnLabels {
    /// Of all lines, but for those that are marked. `None`: they are not wanted.
    pub usual: Option<Labels>,
    /// Lines that have others.
    pub marked: Option<Marked>,
    /// Lines that another agent has read.
    pub not_before: Option<NotBefore>,
    /// Lines that are not wanted, and their bytes.
    pub unwanted: (Counter, Counter),
}

/// Lines with other labels than the rest of their file: those in which `value` stands behind the first `key`.
#[derive(Debug)]
pub struct Marked {
    /// What is looked for.
    pub key: &'static str,
    /// What has to stand behind it.
    pub value: &'static str,
    /// Their labels. `None`: they are not wanted.
    pub labels: Option<Labels>,
}

/// The first lines of a file, which are passed over: those in which what stands behind the last `key` is less than `time`, byte by byte.
#[derive(Debug, Clone)]
pub struct NotBefore {
    /// What is looked for.
    pub key: &'static str,
    /// The first time that counts.
    pub time: String,
}

/// Those who know, as a part of settings: equal if they are the same.
#[derive(Debug, Clone)]
pub struct SharedOwners(pub Arc<dyn Owners>);

impl PartialEq for SharedOwners {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
