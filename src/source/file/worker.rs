//! The thread that reads files: it waits, takes in what has gathered, reads, and hands on.
//!
//! It works at its own pace: a wake-up drains every event that has gathered, at most every [`PACE_MS`]; files with something to read take
//! turns, a chunk each. With nothing to do it sleeps, and no timer runs but the output's and the slow sweep's.
//!
//! Promises: a checkpoint moves only after the output says that the chunk is stored; while the output has no room nothing is read, but what happens to
//! files is still seen, and those with unread content stay open. Stopping flushes, waits for what is in flight as long as it may, and closes
//! the checkpoints.

use super::begin::alive_ns;
use super::encoding::Encoding;
use super::follow::{Follow, Source};
use super::heirs::looks_for;
use super::pattern::PatternError;
use super::read::{Outcome, Piece, Reader};
use super::reload::{Next, Orders, has_run};
use super::saved::SavedFiles;
use super::settings::Settings;
use super::staged::{Held, Owned};
use super::status::Status;
use super::tracked::FileId;
use super::tree::Tree;
use crate::base::limits::{PACE_MS, SWEEP_MS};
use crate::base::metrics::{Counter, Registry};
use crate::base::rate::{Allowance, WhenOver};
use crate::base::shutdown::Trigger;
use crate::base::wake::Wake;
use crate::model::flow::{Chunk, Ledger, Note, Output, Receipt};
use crate::model::labels::{Labels, MERGED, Repairs};
use crate::pipeline::CompileError;
use crate::pipeline::relabel::RelabelError;
use crate::source::handle::{self, KeptOfThread, Stop};
use crate::source::watch::{Events, Watcher};
use crate::store::checkpoint::Intent;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why the file sources could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A pattern that the configuration should have refused.
    #[error("source {source_name}: {error}")]
    Pattern {
        /// The source's name.
        source_name: String,
        /// What is wrong with the pattern.
        error: PatternError,
    },
    /// Stages that the configuration should have refused.
    #[error("source {source_name}: {error}")]
    Stages {
        /// The source's name.
        source_name: String,
        /// What is wrong with them.
        error: CompileError,
    },
    /// Relabelling rules that the configuration should have refused.
    #[error("source {source_name}: {error}")]
    Relabel {
        /// The source's name.
        source_name: String,
        /// What is wrong with them.
        error: RelabelError,
    },
    /// No thread could be made.
    #[error("cannot start the thread that reads files: {0}")]
    Thread(std::io::Error),
}

/// What a worker is made of.
pub type Parts = handle::Parts<Next>;

/// A running worker.
pub type Handle = handle::Handle<Next, Status>;

/// Starts the thread that reads the files of all sources.
pub fn start(parts: Parts) -> Result<Handle, StartError> {
    let Parts { next, store, wake, clock, registry, kept, alive, begun } = parts;
    let (planned, rules, outputs) = next.into_parts();
    let names: Vec<String> = planned.iter().map(|planned| planned.name().to_owned()).collect();
    let tree = Tree::new(rules, new_watcher());
    let looks_for = |number: usize, path: &Path| looks_for(&tree, number as u16, path);
    let saved = SavedFiles::new(store.clone(), names, looks_for);
    let mut states = Vec::new();
    for (number, planned) in planned.into_iter().enumerate() {
        let is_new = !has_run(&saved, &store, planned.name());
        let replaces = is_new && saved.orphaned_s(|path| looks_for(number, path)).is_some();
        states.push(planned.begin(&registry, is_new, replaces.then(|| alive_ns(&store))));
    }
    let status = states.iter().map(|s| (s.settings.name.clone(), s.status.clone())).collect();
    let stop = Arc::new(Stop::default());
    let orders = Arc::new(Orders::default());
    let reader = Reader::new(clock, saved.latest_ns());
    let mut worker = Worker {
        follow: Follow::new(states, tree, saved, store, Arc::clone(&stop.stopping)),
        reader,
        outputs,
        orders: Arc::clone(&orders),
        wake: wake.clone(),
        stop: stop.clone(),
        events: Events::default(),
        overflows: registry.counter(
            "lugger_watch_overflows_total",
            "Times that events of the file system were lost and everything was looked at again.",
            &[],
        ),
        removed_lost_bytes: registry.counter(
            "lugger_removed_source_lost_bytes_total",
            "Bytes of deleted files of sources that were removed that nobody has read.",
            &[],
        ),
        scratch: Vec::new(),
        held: Held::default(),
        kept,
        registry,
    };
    worker.show_kept();
    let run = move || {
        let _alive = alive;
        worker.run(begun);
    };
    let thread = std::thread::Builder::new().name("lugger-files".into()).spawn(run).map_err(StartError::Thread)?;
    Ok(Handle::new(status, stop, orders, wake, thread))
}

/// `None`: nobody tells of changes, which is said.
pub(super) fn new_watcher() -> Option<Watcher> {
    Watcher::new()
        .inspect_err(|error| {
            tracing::warn!(
                %error,
                "cannot be told of changes, so directories are looked at every second; raise fs.inotify.max_user_instances"
            );
        })
        .ok()
}

pub(super) struct Worker {
    pub(super) follow: Follow,
    pub(super) reader: Reader,
    pub(super) outputs: Vec<Box<dyn Output>>,
    pub(super) orders: Arc<Orders>,
    pub(super) registry: Registry,
    wake: Wake,
    stop: Arc<Stop>,
    events: Events,
    overflows: Counter,
    pub(super) removed_lost_bytes: Counter,
    scratch: Vec<FileId>,
    pub(super) held: Held,
    kept: KeptOfThread,
}

/// Chunks read before events are looked at again.
const TURNS: usize = 32;
/// How often unfinished things are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// How often links without target are looked at.
const DANGLING: Duration = Duration::from_millis(100);

impl Worker {
    fn run(mut self, begun: Trigger) {
        self.follow.start();
        begun.raise();
        self.follow.store.flush();
        let mut timers = Timers::new(Instant::now());
        loop {
            if self.stop.is_stopping() {
                break;
            }
            if self.obey() {
                // What the new watches have told by now comes before anything is looked after.
                timers.events_at = Instant::now();
                timers.has_work = true;
            }
            self.take_events(&mut timers);
            self.tick();
            let (has_read, enough_at) = self.read_files();
            let held_until = self.release_due();
            let now = Instant::now();
            self.look_after(now, &mut timers);
            if has_read && self.follow.files.ready_len() > 0 {
                continue;
            }
            // Once more, as what was written by now wants to be sealed in time.
            let due = self.tick();
            let next = [due, timers.next(), enough_at, held_until].into_iter().flatten().min();
            self.wait(&timers, next);
        }
        self.finish();
    }

    /// From now on the metrics are shown that stages of these sources keep.
    pub(super) fn show_kept(&mut self) {
        self.kept.show(self.follow.sources.iter().filter_map(|source| source.pipeline.as_deref()));
    }

    /// Takes in the events that have gathered, if the last time is long enough ago.
    fn take_events(&mut self, timers: &mut Timers) {
        let now = Instant::now();
        if now < timers.events_at {
            return;
        }
        let count = self.drain_events();
        if count > 0 {
            self.follow.store.flush();
            timers.has_work = true;
            timers.events_at = now + Duration::from_millis(PACE_MS);
        }
        if std::mem::take(&mut self.follow.overflowed) {
            self.overflows.add(1);
            timers.sweep_at = now;
        }
    }

    /// Takes in all events that have gathered. How many they were.
    pub(super) fn drain_events(&mut self) -> usize {
        let mut more = true;
        let mut count = 0;
        while more {
            let Some(watcher) = self.follow.tree_mut().watcher() else { break };
            more = watcher.drain(&mut self.events);
            for i in 0..self.events.len() {
                if let Some((event, name)) = self.events.get(i) {
                    self.follow.handle(&event, name);
                }
            }
            count += self.events.len();
        }
        count
    }

    /// Lets the outputs seal and commit. Gives the time when one of them wants to be called again.
    fn tick(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        for output in &mut self.outputs {
            let due = output.tick(now, &mut Books(&mut self.follow));
            next = [next, due].into_iter().flatten().min();
        }
        self.follow.settle_inlets();
        for (output, stream) in self.follow.released.drain(..) {
            if let Some(output) = self.outputs.get_mut(output) {
                output.release(stream);
            }
        }
        next
    }

    /// Reads files in turn. Tells whether there was one to read, and when a source that has used up its rate, or waits for an owner, may go on.
    fn read_files(&mut self) -> (bool, Option<Instant>) {
        let mut stalled = std::mem::take(&mut self.scratch);
        let mut enough_at: Option<Instant> = None;
        let mut turns = 0;
        // Those that have to wait must not hide the others behind them.
        for _ in 0..self.follow.files.ready_len() {
            let Some(id) = self.follow.files.pop_ready() else { break };
            let owned = self.own(id);
            if owned == Owned::Unwanted {
                self.follow.drop_files(&[id]);
            } else if let Owned::Awaited(at) = owned {
                enough_at = Some(enough_at.map_or(at, |other| other.min(at)));
                stalled.push(id);
            } else if !self.has_room(id) || self.is_ahead(id) {
                stalled.push(id);
            } else if let Some(at) = self.rate_of(id) {
                enough_at = Some(enough_at.map_or(at, |other| other.min(at)));
                stalled.push(id);
            } else {
                self.read_file(id);
                self.follow.close_surplus(id);
                turns += 1;
                if turns == TURNS {
                    break;
                }
            }
        }
        for id in stalled.drain(..) {
            // Unread content must not go away with its last name.
            if self.follow.may_hold() {
                self.follow.open_file(id);
            }
            self.follow.files.make_ready(id);
        }
        self.scratch = stalled;
        (turns > 0, enough_at)
    }

    /// Until when the file has to wait because its source has used up its rate; `None`: it has not, or drops what is over it.
    fn rate_of(&mut self, id: FileId) -> Option<Instant> {
        let source = self.follow.files.get(id)?.source;
        let source = self.follow.sources.get_mut(usize::from(source))?;
        if let Some(until) = source.pipeline.as_ref().and_then(|pipeline| pipeline.wait_until_ns()) {
            let wait = u64::try_from(until.saturating_sub(self.reader.now_ns())).unwrap_or(0);
            if wait > 0 {
                return Some(Instant::now() + Duration::from_nanos(wait));
            }
        }
        let rate = source.rate.as_mut()?;
        match rate.limit().when_over {
            WhenOver::Block => rate.next_share(Instant::now()),
            WhenOver::Drop => None,
        }
    }

    fn has_room(&self, id: FileId) -> bool {
        let source = self.follow.files.get(id).and_then(|f| self.follow.sources.get(usize::from(f.source)));
        source.and_then(|s| self.outputs.get(s.output)).is_some_and(|o| o.has_room())
    }

    /// Whether as much of the file's inlet is on its way as may be: what is on its way cannot give way to what comes.
    fn is_ahead(&self, id: FileId) -> bool {
        let source = self.follow.files.get(id).and_then(|f| self.follow.sources.get(usize::from(f.source)));
        let most = |source: &Source| Some((source.in_flight, source.settings.records.as_ref()?.ahead_bytes?));
        source.and_then(most).is_some_and(|(in_flight, most)| in_flight >= most)
    }

    /// Lets an inlet know how far it is read: what is on its way stays in its file.
    fn note_read(&self, id: FileId, position: u64) {
        let Some(file) = self.follow.files.get(id) else { return };
        let source = self.follow.sources.get(usize::from(file.source));
        if let Some(slot) = file.slot
            && source.is_some_and(|source| source.settings.removes_done())
        {
            self.follow.store.note_read(slot, position);
        }
    }

    /// Reads one chunk of a file.
    fn read_file(&mut self, id: FileId) {
        if !self.follow.open_file(id) {
            return;
        }
        let mut last_too = false;
        loop {
            let Some(file) = self.follow.files.get_mut(id) else { return };
            if file.compressed {
                return;
            }
            let Some(source) = self.follow.sources.get_mut(usize::from(file.source)) else { return };
            let Some(handle) = file.file.take() else { return };
            let (encoding, line_bytes) = (source.settings.encoding, source.settings.raw_line_bytes());
            let allowance = source.rate.as_mut().map_or(Allowance::ALL, |rate| rate.allowance(Instant::now()));
            // Who has to wait for its rate does not get here with nothing left, except for the last line of a file.
            let is_over = allowance.is_empty() && source.settings.rate.is_some_and(|r| r.when_over == WhenOver::Drop);
            let allowance = if is_over { Allowance::ALL } else { allowance };
            let has_stages = source.pipeline.is_some();
            let result = self.reader.read(file, &handle, encoding, line_bytes, last_too, allowance);
            file.file = Some(handle);
            if result.is_ok() {
                self.follow.works(id);
            }
            if has_stages && matches!(result, Ok(Outcome::End)) {
                self.found_end(id);
            }
            match result {
                Ok(Outcome::Chunk { piece, more }) => {
                    if piece.start == 0 && self.reader.begins_as_utf16() {
                        self.tell_of_utf16(id);
                    }
                    // Before the lines are worked on, which takes a while.
                    self.note_read(id, piece.end);
                    if has_stages {
                        self.hand_on_by_stages(id, &piece, is_over, more);
                    } else {
                        self.hand_on(id, &piece, is_over);
                    }
                    if more {
                        self.follow.files.make_ready(id);
                    } else if !(has_stages && self.waits_at_end(id)) && self.follow.at_end(id) {
                        last_too = true;
                        continue;
                    }
                }
                Ok(Outcome::Release(intent)) => {
                    self.release_again(id, intent);
                    self.follow.files.make_ready(id);
                }
                Ok(Outcome::Scanned) => self.follow.files.make_ready(id),
                Ok(Outcome::End) if has_stages && self.waits_at_end(id) => {}
                Ok(Outcome::End) if last_too => self.follow.files.finished(id),
                Ok(Outcome::End) => {
                    if self.follow.at_end(id) {
                        last_too = true;
                        continue;
                    }
                }
                Ok(Outcome::Truncated) => {
                    // Its further lines will not come.
                    self.release_held(id, None);
                    self.follow.truncated(id);
                }
                Ok(Outcome::Compressed) => {
                    if !self.follow.unpack(id) {
                        self.follow.compressed(id);
                    }
                }
                Err(error) => {
                    let path = self.follow.path(id);
                    self.follow.failed(id, &path, "read", &error);
                }
            }
            return;
        }
    }

    /// A file that says that it is UTF-16, in a source that takes it for UTF-8.
    fn tell_of_utf16(&self, id: FileId) {
        let source = self.follow.files.get(id).and_then(|file| self.follow.sources.get(usize::from(file.source)));
        let Some(source) = source.filter(|source| source.settings.encoding == Encoding::default()) else { return };
        tracing::warn!(
            source = %source.settings.name, path = %self.follow.path(id).display(),
            "the file begins with the byte order mark of UTF-16 and is taken for UTF-8: set `encoding: utf-16` in `file` of this source"
        );
    }

    /// Gives a chunk to the output; if it is over the source's rate, without its lines, so that only the cursor moves.
    fn hand_on(&mut self, id: FileId, piece: &Piece, is_over: bool) {
        let has_stream = self.follow.files.get(id).is_some_and(|file| file.stream.is_some());
        let origin = if has_stream { PathBuf::new() } else { self.follow.origin(id) };
        let Some(file) = self.follow.files.get_mut(id) else { return };
        let Some(source) = self.follow.sources.get_mut(usize::from(file.source)) else { return };
        let Some(output) = self.outputs.get_mut(source.output) else { return };
        let stream = match file.stream {
            Some(stream) => stream,
            None => {
                let (labels, repairs) = labels_of(&source.settings, &origin);
                // The stream is begun again when the file wakes.
                if !repairs.is_empty() && !file.cut_counted() {
                    file.set_cut_counted(true);
                    source.status.labels_repaired.add(repairs);
                }
                let stream = output.stream(&labels, &merged_labels(&source.settings), None);
                file.stream = Some(stream);
                stream
            }
        };
        let read = self.reader.lines();
        // What was sent before is sent again, or it would be there in parts.
        let is_dropped = is_over && !piece.replayed;
        let lines = if is_dropped { &[] } else { read };
        source.count(piece, read.len(), is_dropped);
        let receipt = Receipt {
            cursor: id,
            generation: file.generation,
            start: piece.start,
            end: piece.end,
            time_ns: piece.time_ns,
            lines: lines.len() as u32,
            safe: piece.end,
            mark: piece.mark.tail,
            merged: piece.merged,
            note: Note::default(),
        };
        file.advance(piece);
        if file.rotated {
            self.follow.unsettle(id);
        }
        let replayed = piece.replayed;
        let chunk = Chunk { bytes: self.reader.bytes(), lines, stream, replayed, receipt };
        output.write(&chunk, &mut Books(&mut self.follow));
    }

    /// What is due once a second, or more rarely.
    fn look_after(&mut self, now: Instant, timers: &mut Timers) {
        if now >= timers.sweep_at {
            self.follow.sweep();
            // Ten seconds for a few files, a minute for many: one sweep looks at each of them.
            let files = self.follow.files.len() as u64;
            timers.sweep_at = now + Duration::from_millis(SWEEP_MS * (1 + files / 2000).min(6));
            timers.has_work = true;
        }
        if timers.dangling_at.is_some_and(|at| now >= at) || timers.has_work {
            timers.dangling_at = self.follow.check_dangling().then(|| now + DANGLING);
        }
        if timers.has_work && timers.housekeeping_at.is_none() {
            timers.housekeeping_at = Some(now + HOUSEKEEPING);
        }
        timers.has_work = false;
        if timers.housekeeping_at.is_some_and(|at| now >= at) {
            let busy = self.follow.housekeeping(now);
            let polling = self.follow.is_polling();
            if polling {
                self.follow.poll();
            }
            self.publish(now);
            let settled = self.outputs.iter().all(|o| o.is_settled());
            let again = busy || polling || !settled || self.follow.files.ready_len() > 0;
            timers.housekeeping_at = again.then(|| now + HOUSEKEEPING);
        }
    }

    /// Brings the gauges up to date.
    fn publish(&self, now: Instant) {
        let mut unread: Vec<u64> = vec![0; self.follow.sources.len()];
        let mut files: Vec<u64> = vec![0; self.follow.sources.len()];
        for id in self.follow.files.ready() {
            let Some(file) = self.follow.files.get(id) else { continue };
            let size = file.file.as_ref().and_then(|f| f.metadata().ok()).map_or(file.size, |m| m.len());
            if let Some(sum) = unread.get_mut(usize::from(file.source)) {
                *sum += size.saturating_sub(file.offset);
            }
        }
        for (_, file) in self.follow.files.iter() {
            if let Some(count) = files.get_mut(usize::from(file.source)) {
                *count += 1;
            }
        }
        for (i, source) in self.follow.sources.iter().enumerate() {
            let lag = source.in_flight + unread.get(i).copied().unwrap_or(0);
            source.status.lag_bytes.set(lag as f64);
            source.status.files.set(files.get(i).copied().unwrap_or(0) as f64);
            let oldest = self.outputs.get(source.output).and_then(|o| o.oldest()).filter(|_| source.in_flight > 0);
            source.status.lag_seconds.set(oldest.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64()));
        }
    }

    /// Sleeps until something happens or `next` comes.
    fn wait(&mut self, timers: &Timers, next: Option<Instant>) {
        let now = Instant::now();
        let timeout = next.map(|at| at.saturating_duration_since(now));
        let pause = timers.events_at.saturating_duration_since(now);
        // What was met in the meantime is written down before it is slept over.
        self.follow.store.flush();
        let result = if pause.is_zero() {
            let fd = self.follow.tree_mut().watcher().map(|w| w.fd());
            self.wake.wait(fd, timeout)
        } else {
            // Events gather for the rest of the pace; what is settled wakes at once.
            self.wake.wait(None, Some(timeout.map_or(pause, |t| t.min(pause))))
        };
        if let Err(error) = result {
            tracing::error!(%error, "waiting for events failed; they are looked for every second");
            // The one wait that needs nothing that could have failed.
            std::thread::park_timeout(HOUSEKEEPING);
        }
    }

    /// Flushes and waits until all is stored, or nobody wants to wait any longer.
    fn finish(mut self) {
        self.orders.close();
        for output in &mut self.outputs {
            output.flush(&mut Books(&mut self.follow));
        }
        loop {
            self.tick();
            let abandoned = self.stop.is_abandoned();
            if abandoned || self.outputs.iter().all(|o| o.is_settled()) {
                break;
            }
            if self.wake.wait(None, None).is_err() {
                break;
            }
        }
        self.publish(Instant::now());
        self.follow.store.close();
    }
}

/// When things are due.
struct Timers {
    /// Events may be taken in from then on.
    events_at: Instant,
    sweep_at: Instant,
    housekeeping_at: Option<Instant>,
    dangling_at: Option<Instant>,
    /// Something happened since housekeeping was last arranged.
    has_work: bool,
}

impl Timers {
    fn new(now: Instant) -> Self {
        Timers {
            events_at: now,
            sweep_at: now + Duration::from_millis(SWEEP_MS),
            housekeeping_at: Some(now),
            dangling_at: None,
            has_work: true,
        }
    }

    fn next(&self) -> Option<Instant> {
        [Some(self.sweep_at), self.housekeeping_at, self.dangling_at].into_iter().flatten().min()
    }
}

/// Writes receipts into the checkpoints, and moves the files they speak of.
pub(super) struct Books<'a>(pub(super) &'a mut Follow);

impl Ledger for Books<'_> {
    fn intend(&mut self, receipts: &[Receipt]) {
        let files = &self.0.files;
        // A chunk without lines is not sent: it needs not be cut in the same way again.
        self.0.store.intend(receipts.iter().filter(|r| r.lines > 0 || r.note.released).filter_map(|r| {
            let file = files.get(r.cursor).filter(|f| f.generation == r.generation)?;
            Some((
                file.slot?,
                Intent { start: r.start, end: r.end, time_ns: r.time_ns, merged: r.merged, note: r.note },
            ))
        }));
    }

    fn commit(&mut self, receipts: &[Receipt]) {
        let mut moves = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            let file = self.0.files.get_mut(receipt.cursor).filter(|f| f.generation == receipt.generation);
            // A file that began again has nothing to do with what was read before.
            let Some(file) = file else { continue };
            if receipt.safe <= file.stored {
                // Its lines wait for further ones.
                continue;
            }
            if let Some(source) = self.0.sources.get_mut(usize::from(file.source)) {
                source.in_flight = source.in_flight.saturating_sub(receipt.safe - file.stored);
            }
            file.stored = receipt.safe;
            let Some(slot) = file.slot else { continue };
            let mut mark = file.mark;
            mark.tail = receipt.mark;
            moves.push((slot, receipt.safe, mark.encode()));
        }
        self.0.store.commit(moves.iter().map(|(slot, end, mark)| (*slot, *end, mark.as_slice())));
    }
}

impl Source {
    /// Counts what was read.
    pub(super) fn count(&mut self, piece: &Piece, lines: usize, is_dropped: bool) {
        let (lines, bytes) = (lines as u64, piece.end - piece.start);
        let status = &self.status;
        if is_dropped {
            status.over_rate.0.add(lines);
            status.over_rate.1.add(bytes);
        } else if let Some(rate) = &mut self.rate {
            rate.take(lines, bytes);
        }
        status.bytes.add(bytes);
        status.lines.add(lines);
        status.lines_truncated.add(piece.repairs.truncated);
        status.lines_not_utf8.add(piece.repairs.not_utf8);
        status.lines_not_decodable.add(piece.repairs.not_decodable);
        status.lines_nul.add(piece.repairs.nul_runs);
        self.in_flight += bytes;
    }
}

/// A source's labels and the file's name. A path that is longer than a label may be is cut; the configuration leaves room for the name.
pub(super) fn labels_of(settings: &Settings, origin: &Path) -> (Labels, Repairs) {
    let path = origin.to_string_lossy();
    // With stages, the late ones come behind them.
    let late = settings.late_labels.iter().filter(|_| settings.stages.is_empty());
    Labels::capped(late.chain(settings.labels.iter()).chain([("filename", path.as_ref())]), settings.label_caps)
}

/// What the lines of all files of a source have in common. A label in the place of the name tells that it is missing, and that a stream without
/// any other label is one.
pub(super) fn merged_labels(settings: &Settings) -> Labels {
    let all = settings.late_labels.iter().chain(settings.labels.iter());
    Labels::capped(all.chain([(MERGED, "true")]), settings.label_caps).0
}
