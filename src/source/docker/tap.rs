//! The logs of containers as the API tells them: where Docker's driver writes no file that could be read, or none that the agent may read.
//!
//! What is told is appended to an inlet, which the file source reads like a receiver's; only then the container's place moves. Each container has a task
//! for as long as its log goes on. Lines have Docker's own times, so that what comes again after a power loss is what came before.
//!
//! Promises: while the inlet is full or its disk fails nothing more is asked for; a task that is dropped in the middle has lost nothing. What is
//! removed before it was asked for is gone. Leaves to others: which containers (`watch`), reading the inlet (`file`).

use super::api::{Api, ApiError};
use super::frames::Frames;
use super::place::{Catch, Place, Places, STREAMS, since_ns};
use crate::base::clock::Clock;
use crate::base::limits::{DOCKER_INLET_BYTES, DOCKER_PAUSE_MS, DOCKER_SYNC_MS};
use crate::base::metrics::Registry;
use crate::format::record::{Kind, Pieces, encode};
use crate::model::labels::Labels;
use crate::store::inlet::{Counters, Delivered, Directory, Inlet, InletError, Limits, Policy};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Where what the API tells is put. One a source, also when its settings change.
#[derive(Debug)]
pub struct Tap {
    parts: Mutex<Parts>,
    clock: Clock,
    /// Something is to be synced.
    dirty: Notify,
    /// When it was opened, if there were no places: nanoseconds since 1970.
    new_since_ns: Option<i64>,
}

#[derive(Debug)]
struct Parts {
    inlet: Inlet,
    places: Places,
    /// The last attempt to make it last failed.
    is_failing: bool,
}

/// A container whose log is to be taken.
#[derive(Debug, Clone)]
pub(super) struct Tapped {
    pub id: String,
    /// It has a terminal.
    pub is_raw: bool,
    /// By stream. `None`: it is not wanted.
    pub labels: [Option<Labels>; STREAMS],
    /// Lines are cut to so much, bytes.
    pub line_bytes: usize,
    /// Where nothing was taken before: from which time on.
    pub since_ns: i64,
}

/// How taking a log ended.
#[derive(Debug)]
pub(super) enum End {
    /// The container has ended.
    Over,
    /// There is no such container (any more).
    Gone,
    /// It cannot be taken.
    Unreadable(String),
    /// The API is gone, or says something odd.
    Broken,
}

impl Tap {
    /// Opens the inlet in `directory`, and the places in a file at `places`, whose directory is made. Blocks for the disk.
    pub fn open(
        (directory, places): (&Path, PathBuf),
        source: &str,
        clock: Clock,
        registry: &Registry,
        delivered: Delivered,
    ) -> Result<Arc<Self>, InletError> {
        let limits = Limits::new(DOCKER_INLET_BYTES, Policy::Refuse);
        let counters = Counters::new(registry, source);
        let inlet = Inlet::open(Directory::new(directory), limits, clock.clone(), counters, delivered)?;
        if let Some(parent) = places.parent() {
            // What cannot be made shows when places are saved.
            let _ = std::fs::create_dir_all(parent);
        }
        let new_since_ns = (!places.exists()).then(|| clock.now_ns());
        let parts = Mutex::new(Parts { inlet, places: Places::open(places), is_failing: false });
        Ok(Arc::new(Tap { parts, clock, dirty: Notify::new(), new_since_ns }))
    }

    /// When the source was run for the first time, if that is now.
    pub(super) fn new_since_ns(&self) -> Option<i64> {
        self.new_since_ns
    }

    /// Makes what was taken last, and then the places. Blocks for the disk.
    pub fn sync(&self) {
        let mut parts = self.parts();
        if !parts.places.is_dirty() && parts.inlet.held_bytes() == 0 {
            return;
        }
        // The inlet tells of its own errors, and counts them.
        let synced = parts.inlet.sync().is_ok();
        if !synced {
            return;
        }
        let saved = parts.places.save();
        if let Err(error) = &saved
            && !parts.is_failing
        {
            let path = parts.places.path().display().to_string();
            tracing::warn!(path, %error, "places in the logs of containers cannot be saved: after a restart lines come again, as they were");
        }
        parts.is_failing = saved.is_err();
    }

    /// Syncs every second while lines come. Never ends.
    pub async fn keep_synced(&self) {
        loop {
            self.dirty.notified().await;
            tokio::time::sleep(Duration::from_millis(DOCKER_SYNC_MS)).await;
            self.sync();
        }
    }

    fn places(&self, id: &str) -> [Place; STREAMS] {
        self.parts().places.of(id)
    }

    /// Puts records into the inlet, as soon as it takes them. The place moves with them.
    async fn put(&self, id: &str, piece: &[u8], records: u64, places: [Place; STREAMS]) {
        loop {
            {
                let mut parts = self.parts();
                // Both or neither: nothing waits in between.
                if records == 0 || parts.inlet.append(piece, records).is_ok() {
                    if parts.places.of(id) != places {
                        parts.places.set(id, places);
                        self.dirty.notify_one();
                    }
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(DOCKER_PAUSE_MS)).await;
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // A panic between the two leaves a place that is too old: lines come again, as they were.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a container's log until it ends.
pub(super) async fn take(api: &Api, tap: &Tap, container: &Tapped) -> End {
    match try_take(api, tap, container).await {
        Ok(()) => End::Over,
        Err(error) if error.is_not_found() => End::Gone,
        Err(error @ ApiError::Status { .. }) => End::Unreadable(error.to_string()),
        Err(error @ ApiError::Answer { .. }) => End::Unreadable(error.to_string()),
        Err(_) => End::Broken,
    }
}

async fn try_take(api: &Api, tap: &Tap, container: &Tapped) -> Result<(), ApiError> {
    let Tapped { id, is_raw, labels, line_bytes, since_ns: first_ns } = container;
    let places = tap.places(id);
    let since_ns = since_ns(&places).max(*first_ns);
    let mut stream = api.logs(id, since_ns).await?;
    let mut catches = places.map(Catch::new);
    let mut frames = Frames::new(*is_raw, *line_bytes);
    let (mut piece, mut records) = (Vec::new(), 0);
    loop {
        let bytes = stream.next().await?;
        let received_ns = tap.clock.now_ns();
        let mut write = |stream: usize, time_ns: i64, text: &[u8]| {
            let (Some(catch), Some(labels)) = (catches.get_mut(stream), labels.get(stream)) else { return };
            if !catch.takes(time_ns) {
                return;
            }
            let Some(labels) = labels else { return };
            // Where the API's times are coarse (Podman has whole seconds) lines of one time stay apart and in order.
            let ordinal = i64::try_from(catch.place().lines.saturating_sub(1)).unwrap_or_default();
            let time_ns = Some(time_ns.saturating_add(ordinal));
            let pieces = Pieces { kind: Kind::Docker, received_ns, time_ns, tenant: None, peer: None, message: text };
            encode(&pieces, labels.iter(), [], &mut piece);
            records += 1;
        };
        let is_over = bytes.is_none();
        match bytes {
            Some(bytes) => frames.feed(&bytes, &mut write).map_err(|error| stream.odd(&error.to_string()))?,
            None => frames.end(&mut write),
        }
        tap.put(id, &piece, records, catches.map(|catch| catch.place())).await;
        piece.clear();
        records = 0;
        if is_over {
            return Ok(());
        }
    }
}
