//! The logs of containers as the API tells them: where Docker's driver writes no file that could be read, or none that the agent may read.
//!
//! What is told is appended to an inlet, which the file source reads like a receiver's; only then the container's place moves. Each container has a task
//! for as long as its log goes on. Lines have Docker's own times, so that what comes again after a power loss is what came before.
//!
//! Promises: while the inlet is full or its disk fails nothing more is asked for; a task that is dropped in the middle has lost nothing, and what a full
//! disk keeps in memory is asked for again after a stop or a kill. What is removed before it was asked for is gone. Leaves to others: which containers (`watch`), reading the inlet (`file`).

use super::api::{Api, ApiError};
use super::description::Description;
use super::frames::{Found, Frames};
use super::place::{self, Catch, Place, STREAMS, Taken, since_ns};
use super::status::Status;
use crate::base::clock::Clock;
use crate::base::limits::{
    DOCKER_FIRST_MS, DOCKER_INLET_BYTES, DOCKER_PAUSE_MS, DOCKER_SYNC_MS, DOCKER_TURN_MS, INLET_REST_MS, QUIET_MS,
};
use crate::base::metrics::Registry;
use crate::base::text::head;
use crate::format::record::{Kind, Pieces, encode};
use crate::model::labels::Labels;
use crate::store::inlet::{Counters, Delivered, Directory, Inlet, InletError, Limits, Policy};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// What the daemon says is cut to so much, bytes.
const SAID_BYTES: usize = 300;

/// Where what the API tells is put. One a source, also when its settings change.
#[derive(Debug)]
pub struct Tap {
    parts: Mutex<Parts>,
    clock: Clock,
    /// Something is to be synced.
    dirty: Notify,
    /// Told what the disk does not take.
    status: Status,
}

#[derive(Debug)]
struct Parts {
    inlet: Inlet,
    places: place::Places,
    /// The last attempt to make it last failed.
    is_failing: bool,
}

/// A container whose log is to be taken.
#[derive(Debug, Clone)]
pub(super) struct Tapped {
    pub id: String,
    /// As people write it.
    pub name: String,
    /// It has a terminal.
    pub is_raw: bool,
    /// By stream. `None`: it is not wanted.
    pub labels: [Option<Labels>; STREAMS],
    /// Lines are cut to so much, bytes.
    pub line_bytes: usize,
    /// Where nothing was taken before: from which time on, nanoseconds since 1970.
    pub since_ns: i64,
}

/// How taking a log ended.
#[derive(Debug)]
pub(super) enum End {
    /// The container has ended.
    Over,
    /// There is no such container (any more).
    Gone,
    /// It cannot be taken now.
    Unreadable(String),
    /// The stream ended while the container runs, or the API is gone.
    Broken,
    /// Another one has its place now.
    Turn,
}

/// Places for logs that are taken at a time. Who waits for one gets it from the log that is silent for the longest time.
#[derive(Debug)]
pub(super) struct Places {
    free: Semaphore,
    /// How many wait and have not been given way to.
    wishes: Semaphore,
}

impl Places {
    /// So many.
    pub(super) fn new(count: usize) -> Self {
        Places { free: Semaphore::new(count), wishes: Semaphore::new(0) }
    }

    /// A place, in turn; `crowded` is called if it has to be waited for. `None`: never, as they are not closed.
    pub(super) async fn take(&self, crowded: impl FnOnce()) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.free.try_acquire() {
            return Some(place);
        }
        crowded();
        let mut place = std::pin::pin!(self.free.acquire());
        tokio::select! {
            place = &mut place => return place.ok(),
            // Who waits is as patient as who is waited for, so that not all go round and round.
            () = tokio::time::sleep(Duration::from_millis(DOCKER_TURN_MS)) => self.wishes.add_permits(1),
        }
        place.await.ok()
    }

    /// Waits until somebody wants a place. Those that wait here longest, since nothing comes that would make them begin anew, are asked first.
    async fn wanted(&self) {
        match self.wishes.acquire().await {
            Ok(wish) => wish.forget(),
            Err(_) => std::future::pending().await,
        }
    }
}

impl Tap {
    /// Opens the inlet in `directory`, and the places in a file at `places`, whose directory is made. Blocks for the disk.
    pub fn open(
        (directory, places): (&Path, PathBuf),
        source: &str,
        clock: Clock,
        registry: &Registry,
        delivered: Delivered,
        status: &Status,
    ) -> Result<Arc<Self>, InletError> {
        let limits = Limits::new(DOCKER_INLET_BYTES, Policy::Refuse);
        let counters = Counters::new(registry, source);
        let mut inlet = Inlet::open(Directory::new(directory), limits, clock.clone(), counters, delivered)?;
        inlet.sender_keeps_held();
        if let Some(parent) = places.parent() {
            // What cannot be made shows when places are saved.
            let _ = std::fs::create_dir_all(parent);
        }
        let parts = Mutex::new(Parts { inlet, places: place::Places::open(places, clock.now_ns()), is_failing: false });
        Ok(Arc::new(Tap { parts, clock, dirty: Notify::new(), status: status.clone() }))
    }

    /// When the source was run for the first time, nanoseconds since 1970; 0: nobody knows.
    pub(super) fn begun_ns(&self) -> i64 {
        self.parts().places.begun_ns()
    }

    /// These containers exist, and no others.
    pub(super) fn living(&self, ids: &HashSet<String>) {
        self.parts().places.living(ids);
    }

    /// Makes what was taken last, and then the places. Blocks for the disk.
    pub fn sync(&self) {
        let mut parts = self.parts();
        if !parts.places.is_dirty() && parts.inlet.held_bytes() == 0 {
            return;
        }
        // The inlet tells of its own errors, and counts them.
        let synced = parts.inlet.sync().is_ok();
        self.status.unwritten.note(parts.inlet.held_bytes());
        if parts.inlet.held_bytes() == 0 {
            parts.places.note_all();
        }
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
        let mut rests = false;
        loop {
            tokio::select! {
                () = self.dirty.notified() => rests = false,
                // What was delivered gives its room back.
                () = tokio::time::sleep(Duration::from_millis(INLET_REST_MS)), if !rests => {
                    rests = self.parts().inlet.rest();
                    continue;
                }
            }
            tokio::time::sleep(Duration::from_millis(DOCKER_SYNC_MS)).await;
            self.sync();
            if self.parts().inlet.held_bytes() > 0 {
                self.dirty.notify_one();
            }
        }
    }

    fn taken(&self, id: &str) -> Taken {
        self.parts().places.of(id)
    }

    /// Puts records into the inlet, as soon as it takes them. The place moves with them.
    async fn put(&self, id: &str, piece: &[u8], records: u64, taken: Taken) {
        loop {
            {
                let mut parts = self.parts();
                // Both or neither: nothing waits in between.
                let is_taken = records == 0 || parts.inlet.append(piece, records).is_ok();
                self.status.unwritten.note(parts.inlet.held_bytes());
                if is_taken {
                    if parts.places.of(id) != taken {
                        // What is only in memory is asked for again after a kill.
                        let is_safe = parts.inlet.held_bytes() == 0;
                        parts.places.set(id, taken, is_safe);
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

impl Drop for Tap {
    /// What the disk takes now need not be asked for again.
    fn drop(&mut self) {
        self.sync();
        self.status.unwritten.note(0);
    }
}

/// Takes a container's log until it ends.
pub(super) async fn take(api: &Api, tap: &Tap, status: &Status, container: &Tapped, places: &Places) -> End {
    match Taking::new(tap, status, container).run(api, places).await {
        Ok(end) => end,
        Err(error) if error.is_not_found() => End::Gone,
        Err(error) if error.is_of_one() => End::Unreadable(error.to_string()),
        Err(_) => End::Broken,
    }
}

/// A container's log while it is taken.
struct Taking<'a> {
    tap: &'a Tap,
    status: &'a Status,
    container: &'a Tapped,
    /// How far it was taken when this began.
    before: Taken,
    catches: [Catch; STREAMS],
    frames: Frames,
    /// What goes to the inlet next.
    piece: Vec<u8>,
    records: u64,
    /// What waits in each stream, and since when.
    waiting: [Option<((i64, usize), Instant)>; STREAMS],
}

impl<'a> Taking<'a> {
    fn new(tap: &'a Tap, status: &'a Status, container: &'a Tapped) -> Self {
        let before = tap.taken(&container.id);
        Taking {
            tap,
            status,
            container,
            before,
            catches: before.places.map(Catch::new),
            frames: Frames::new(container.is_raw, container.line_bytes),
            piece: Vec::new(),
            records: 0,
            waiting: [None; STREAMS],
        }
    }

    /// Takes it until it ends, or another one is to have its place.
    async fn run(mut self, api: &Api, places: &Places) -> Result<End, ApiError> {
        let mut is_wanted = false;
        let id = &self.container.id;
        let mut stream = api.logs(id, since_ns(&self.before).unwrap_or(self.container.since_ns)).await?;
        // A problem of before is none any more.
        self.status.container_works(id);
        let mut turn_ends = Instant::now() + Duration::from_millis(DOCKER_FIRST_MS);
        let mut has_begun = false;
        loop {
            let quiet_at = self.waiting.iter().flatten().map(|(_, since)| *since).min();
            let quiet_at = quiet_at.map(|since| since + Duration::from_millis(QUIET_MS));
            let bytes = tokio::select! {
                bytes = stream.next() => bytes?,
                () = sleep_until(quiet_at) => {
                    self.quiet();
                    self.put().await;
                    continue;
                }
                () = places.wanted(), if !is_wanted => {
                    is_wanted = true;
                    continue;
                }
                // What is half taken is asked for again, as after a kill.
                () = sleep_until(Some(turn_ends)), if is_wanted => return Ok(End::Turn),
            };
            let Some(bytes) = bytes else { break };
            if !std::mem::replace(&mut has_begun, true) {
                turn_ends = Instant::now() + Duration::from_millis(DOCKER_TURN_MS);
            }
            let fed = self.read(|frames, take| frames.feed(&bytes, take));
            self.put().await;
            fed.map_err(|error| stream.odd(&error.to_string()))?;
        }
        // The last line may be without an end; but a stream that just breaks off says nothing of that.
        let is_running = match api.inspect(id).await {
            Ok(answer) => Description::of(&answer, None).is_some_and(|now| now.is_running),
            Err(error) if error.is_not_found() => false,
            Err(error) => return Err(error),
        };
        if !is_running {
            for stream in 0..STREAMS {
                self.read(|frames, take| frames.end(stream, take));
            }
            self.put().await;
        }
        Ok(if is_running { End::Broken } else { End::Over })
    }

    /// What has waited for too long is given as it is.
    fn quiet(&mut self) {
        let now = Instant::now();
        for stream in 0..STREAMS {
            let waits = self.waiting.get(stream).copied().flatten();
            if waits.is_some_and(|(_, since)| now.duration_since(since) >= Duration::from_millis(QUIET_MS)) {
                self.read(|frames, take| frames.end(stream, take));
            }
        }
    }

    /// Makes records of lines.
    fn read<T>(&mut self, feed: impl FnOnce(&mut Frames, &mut dyn FnMut(Found<'_>)) -> T) -> T {
        let Taking { tap, status, container, before, catches, frames, piece, records, .. } = self;
        let received_ns = tap.clock.now_ns();
        let mut take = |found: Found<'_>| {
            let (stream, time_ns, text) = match found {
                Found::Line(stream, time_ns, text) => (stream, time_ns, text),
                Found::Said(text) => return said(status, container, text),
            };
            let (Some(catch), Some(labels)) = (catches.get_mut(stream), container.labels.get(stream)) else { return };
            // What nobody has asked for is there where the other stream was taken before.
            let is_new = before.places.get(stream).is_some_and(|place| *place == Place::default());
            if (is_new && time_ns < container.since_ns) || !catch.takes(time_ns) {
                return;
            }
            let Some(labels) = labels else { return };
            // Where the API's times are coarse (Podman has whole seconds) lines of one time stay apart and in order.
            let ordinal = i64::try_from(catch.place().lines.saturating_sub(1)).unwrap_or_default();
            let time_ns = Some(time_ns.saturating_add(ordinal));
            let pieces = Pieces { kind: Kind::Docker, received_ns, time_ns, tenant: None, peer: None, message: text };
            encode(&pieces, labels.iter(), [], piece);
            *records += 1;
        };
        let fed = feed(frames, &mut take);
        for (now, known) in frames.waiting().into_iter().zip(&mut self.waiting) {
            if now != known.map(|(waiting, _)| waiting) {
                *known = now.map(|waiting| (waiting, Instant::now()));
            }
        }
        fed
    }

    async fn put(&mut self) {
        let places = self.catches.map(|catch| catch.place());
        let taken = Taken { places, waiting_ns: self.frames.waiting_ns().unwrap_or_default() };
        self.tap.put(&self.container.id, &self.piece, self.records, taken).await;
        self.piece.clear();
        self.records = 0;
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The daemon says something in place of lines.
fn said(status: &Status, container: &Tapped, text: &[u8]) {
    status.said.add(1);
    let text = String::from_utf8_lossy(text.get(..SAID_BYTES).unwrap_or(text)).into_owned();
    let problem = format!("container {}: Docker says in its log: {}", container.name, head(&text, SAID_BYTES));
    if status.container_fails(&container.id, &problem) {
        tracing::warn!(container = %container.name, "{problem}; what it can read is read all the same");
    }
}
