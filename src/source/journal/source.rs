//! One journal source: its files, and which entry comes next.
//!
//! A file is known by its id, whatever its name. `look` finds the files and says up to where they may be read; here their entries are taken, one
//! after the other.
//!
//! Where the system does not give a part of a file, that file's numbering waits, and nothing else, for some attempts with growing pauses; then the
//! part is given up, and what lies in it is counted.
//!
//! Promises: one message for each thing that is wrong, for as long as it is; what was removed before it was read is counted. Leaves to others: what
//! becomes of entries.

use super::filter::Filter;
use super::foreign::{Foreign, Tools};
use super::kinds::Kinds;
use super::look::Unmet;
use super::numbering::Books;
use super::places::{Places, Watches};
use super::reload::Planned;
use super::settings::Settings;
use super::status::Status;
use super::turn::merged_labels;
use crate::base::limits::{
    JOURNAL_IDLE_MS, JOURNAL_LOOK_AGAIN_MS, JOURNAL_READ_ATTEMPTS, JOURNAL_READ_PAUSE_MS, JOURNAL_TELL_MS,
    JOURNAL_TOOLS,
};
use crate::base::rate::Rate;
use crate::base::wake::Wake;
use crate::format::journal::{Damage, Fields, Header, Id, Location, Merge, MergeError, ReadError, Wanted, Work};
use crate::model::labels::Labels;
use crate::source::problems::Denied;
use crate::source::stages::Pipeline;
use foldhash::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is remembered of a file that is being read.
#[derive(Debug)]
pub(super) struct Followed {
    pub path: PathBuf,
    /// The name's inode, as the directory told it.
    pub inode: u64,
    pub damage: Damage,
    /// It is to be looked at.
    pub due: bool,
    /// How far it was read when it was looked at last, and when that was more than before.
    pub index: u64,
    pub read_at: Instant,
    /// Failed attempts at one place, and places that were given up, since an entry came of it.
    failures: u32,
    given_up: u32,
    /// Failed attempts at its header.
    header_failures: u32,
    told_at: Option<Instant>,
}

impl Followed {
    pub(super) fn new((path, inode): (&Path, u64), now: Instant) -> Followed {
        Followed {
            path: path.to_owned(),
            inode,
            damage: Damage::default(),
            due: false,
            index: 0,
            read_at: now,
            failures: 0,
            given_up: 0,
            header_failures: 0,
            told_at: None,
        }
    }

    pub(super) fn has_failing_header(&self) -> bool {
        self.header_failures > 0
    }

    pub(super) fn has_failed(&self) -> bool {
        self.header_failures + self.failures + self.given_up > 0
    }
}

/// Why a numbering is held back, and until when.
#[derive(Debug, Clone, Copy)]
struct Held {
    seqnum_id: Id,
    until: Instant,
}

/// See the module.
pub(super) struct Source {
    pub settings: Settings,
    pub status: Status,
    /// The number of its output.
    pub output: usize,
    pub rate: Option<Rate>,
    pub pipeline: Option<Box<Pipeline>>,
    pub filter: Filter,
    pub kinds: Kinds,
    /// Under which lines go when there are too many streams.
    pub merged: Arc<Labels>,
    pub(super) places: Places,
    pub work: Work,
    pub(super) merge: Merge<File>,
    pub(super) files: HashMap<Id, Followed>,
    /// Files by their names.
    pub(super) paths: HashMap<PathBuf, Id>,
    /// Files that `journalctl` reads.
    pub(super) foreign: Vec<Foreign>,
    /// Their names, and those of such files that are read to their end.
    pub(super) foreign_names: HashMap<PathBuf, Id>,
    /// The entry that was shown is of this one of them.
    shown: Option<usize>,
    /// Files of which nothing more will come, by id; and names that need no further look.
    pub(super) finished: HashSet<Id>,
    /// Those of them that `journalctl` has read, until that is written down.
    pub(super) done: Vec<Id>,
    pub(super) settled: HashSet<PathBuf>,
    /// Names that could not be opened.
    pub(super) unmet: HashMap<PathBuf, Unmet>,
    /// Numberings that wait for them.
    pub(super) awaiting: HashSet<Id>,
    /// The lowest number that names of archived files say is there, by who gave it.
    pub(super) lowest: HashMap<Id, u64>,
    /// Some files or directories must not be read, or are somebody else's: what is missing may be in them.
    pub(super) sees_all: bool,
    /// Up to which number may be read, by who gave them; and the one that was asked for last.
    pub(super) ceilings: HashMap<Id, u64>,
    ceiling: Option<(Id, u64)>,
    /// Numberings with an entry above that, and its number.
    pub(super) blocked: Vec<(Id, u64)>,
    held: Vec<Held>,
    /// Files that journald has emptied, as they were, and how many of their entries had not been read.
    pub(super) removed: Vec<(Header, u64)>,
    /// Files that could not be read.
    troubled: bool,
    /// Wakes the thread.
    pub(super) wake: Wake,
    /// There may be something new.
    pub fresh: bool,
    /// Each file is to be looked at, whether it is known to have changed or not.
    pub(super) all: bool,
    /// Directories are to be listed; and at which count of changes of names they were.
    pub relist: bool,
    pub(super) listed_at: Option<u64>,
    /// A file was not complete enough to be opened.
    pub(super) unfinished: bool,
    /// There is something to read.
    pub reading: bool,
    /// Something that has to wait may go on then.
    pub again_at: Option<Instant>,
    /// When all was looked at last, nanoseconds since 1970.
    pub looked_ns: i64,
    /// When an entry was read last.
    pub active: Instant,
    /// Time of the entry that was read last, microseconds since 1970.
    pub last_realtime_us: u64,
    /// Buffers were given back.
    released: bool,
    late_told: Option<Instant>,
    /// Settings that it gets when all was sent again that was sent before a crash.
    pub(super) later: Option<Box<Planned>>,
}

impl Source {
    pub(super) fn new(
        settings: Settings,
        output: usize,
        status: Status,
        (filter, kinds, pipeline): (Filter, Kinds, Option<Box<Pipeline>>),
        (now, wake): (Instant, Wake),
    ) -> Source {
        Source {
            work: Work::new(wanted(&settings, &filter, &kinds)),
            places: Places::new(settings.path.clone()),
            rate: settings.rate.map(|limit| Rate::new(limit, now)),
            merged: Arc::new(merged_labels(&settings)),
            settings,
            status,
            output,
            pipeline,
            filter,
            kinds,
            merge: Merge::default(),
            files: HashMap::default(),
            paths: HashMap::default(),
            foreign: Vec::new(),
            foreign_names: HashMap::default(),
            shown: None,
            finished: HashSet::default(),
            done: Vec::new(),
            settled: HashSet::default(),
            unmet: HashMap::default(),
            awaiting: HashSet::default(),
            lowest: HashMap::default(),
            sees_all: true,
            ceilings: HashMap::default(),
            ceiling: None,
            blocked: Vec::new(),
            held: Vec::new(),
            removed: Vec::new(),
            troubled: false,
            wake,
            fresh: true,
            all: true,
            relist: true,
            listed_at: None,
            unfinished: false,
            reading: false,
            again_at: None,
            looked_ns: 0,
            active: now,
            last_realtime_us: 0,
            released: false,
            late_told: None,
            later: None,
        }
    }

    /// Opens its files anew, at its cursors as they are by then.
    pub(super) fn begin_again(&mut self) {
        self.merge = Merge::default();
        self.foreign.clear();
        self.foreign_names.clear();
        self.done.clear();
        self.shown = None;
        self.files.clear();
        self.paths.clear();
        self.finished.clear();
        self.settled.clear();
        self.ceilings.clear();
        self.ceiling = None;
        self.blocked.clear();
        self.held.clear();
        self.awaiting.clear();
        (self.fresh, self.all, self.relist, self.reading) = (true, true, true, false);
    }

    /// How many files are followed.
    pub(super) fn followed(&self) -> usize {
        self.files.len() + self.foreign.len()
    }

    /// Watches its directories.
    pub(super) fn watch(&self, watches: &mut Watches) {
        self.places.directories(watches);
    }

    /// The next entry that may be read now. `None`: there is none.
    pub(super) fn peek(&mut self, now: Instant) -> Option<Location> {
        let next = self.peek_files(now);
        if self.foreign.is_empty() {
            return next;
        }
        self.peek_foreign(next, now)
    }

    fn peek_files(&mut self, now: Instant) -> Option<Location> {
        loop {
            match self.merge.peek(&mut self.work) {
                Ok(Some(location)) if self.may_come(&location) => return Some(location),
                Ok(Some(location)) => {
                    // What is below it may not have been seen yet. It is when one looks again.
                    self.blocked.push((location.seqnum_id, location.seqnum));
                    self.merge.hold(location.seqnum_id);
                    self.wait_until(now + Duration::from_millis(JOURNAL_LOOK_AGAIN_MS));
                }
                Ok(None) => return None,
                Err(error) => self.stumble(error, now),
            }
        }
    }

    /// Whether all that is below an entry has been seen.
    fn may_come(&mut self, location: &Location) -> bool {
        let ceiling = match self.ceiling {
            Some((id, ceiling)) if id == location.seqnum_id => ceiling,
            _ => {
                let ceiling = self.ceilings.get(&location.seqnum_id).copied().unwrap_or_default();
                self.ceiling = Some((location.seqnum_id, ceiling));
                ceiling
            }
        };
        // A file that was closed before all was looked at holds nothing that is newer than that, whatever its header says.
        location.seqnum <= ceiling || self.merge.shown().is_some_and(|reader| reader.was_closed())
    }

    /// The first of an entry and of what `journalctl` reads.
    fn peek_foreign(&mut self, next: Option<Location>, now: Instant) -> Option<Location> {
        self.shown = None;
        let mut first = next;
        let (mut again, mut ended) = (None, false);
        let in_turns = self.foreign.len() > JOURNAL_TOOLS;
        let (mut running, mut waiting) = (0, false);
        for (at, foreign) in self.foreign.iter_mut().enumerate() {
            let tools = Tools { work: &self.work, status: &self.status, source: &self.settings.name, now };
            if let Some(head) = foreign.head(&tools)
                && first.is_none_or(|first| head.order(&first).is_lt())
            {
                (first, self.shown) = (Some(head), Some(at));
            }
            if in_turns {
                foreign.give_way(now);
            }
            running += usize::from(foreign.is_running());
            waiting |= foreign.waits_since(now, in_turns).is_some();
            again = [again, foreign.again_at()].into_iter().flatten().min();
            ended |= foreign.has_ended();
        }
        if waiting && running < JOURNAL_TOOLS {
            again = [again, self.run_foreign(running, in_turns, now)].into_iter().flatten().min();
        }
        if let Some(at) = again {
            self.wait_until(at);
        }
        if ended {
            let ended: Vec<Foreign> = self.foreign.extract_if(.., |foreign| foreign.has_ended()).collect();
            for foreign in ended {
                if !foreign.is_gone() {
                    self.finished.insert(foreign.file_id());
                    self.done.push(foreign.file_id());
                }
                self.lose_unread(&foreign);
                self.status.recovers(foreign.path());
                if let Some(missing) = foreign.lost() {
                    self.lose_removed(missing.max(1));
                }
            }
            // Places have changed: what is shown is found anew.
            return self.peek_foreign(next, now);
        }
        first
    }

    /// Starts processes for those that wait longest, as many as there may be. Gives when one of them is to be tried again.
    fn run_foreign(&mut self, running: usize, in_turns: bool, now: Instant) -> Option<Instant> {
        let mut waiting: Vec<&mut Foreign> =
            self.foreign.iter_mut().filter(|foreign| foreign.waits_since(now, in_turns).is_some()).collect();
        waiting.sort_by(|a, b| {
            let by = |foreign: &Foreign| foreign.waits_since(now, in_turns);
            by(a).cmp(&by(b)).then_with(|| a.path().cmp(b.path()))
        });
        let tools = Tools { work: &self.work, status: &self.status, source: &self.settings.name, now };
        let mut again = None;
        for foreign in waiting.into_iter().take(JOURNAL_TOOLS - running) {
            foreign.run(&tools, in_turns);
            again = [again, foreign.again_at()].into_iter().flatten().min();
        }
        again
    }

    /// There are entries of a complete file that `journalctl` did not show.
    fn lose_unread(&self, foreign: &Foreign) {
        let unread = foreign.unread();
        if unread == 0 {
            return;
        }
        self.status.unreadable.add(unread);
        tracing::warn!(
            source = %self.settings.name, entries = unread,
            "journalctl does not show all of the journal file {}: what it does not show is passed over", foreign.path().display()
        );
    }

    /// Until when lines of a numbering are to wait for further ones that `journalctl` may print; `None`: it has printed all that is there.
    pub(super) fn quiet_from(&self, seqnum_id: Id, now: Instant) -> Option<Instant> {
        let foreign = self.foreign.iter().find(|foreign| foreign.file_id() == seqnum_id)?;
        Some(foreign.quiet_from(now)).filter(|at| now < *at)
    }

    /// Whether a process has printed something.
    pub(super) fn is_told(&self) -> bool {
        self.foreign.iter().any(Foreign::is_told)
    }

    /// Something is to be tried again then.
    pub(super) fn wait_until(&mut self, at: Instant) {
        self.again_at = Some(self.again_at.map_or(at, |other| other.min(at)));
    }

    /// The time has come that was waited for.
    pub(super) fn go_on(&mut self, now: Instant) {
        self.again_at = None;
        let mut next: Option<Instant> = None;
        let mut free = Vec::new();
        self.held.retain(|held| {
            if now < held.until {
                next = Some(next.map_or(held.until, |at| at.min(held.until)));
                return true;
            }
            free.push(held.seqnum_id);
            false
        });
        for seqnum_id in free {
            if !self.blocked.iter().any(|(id, _)| *id == seqnum_id) {
                self.release(seqnum_id);
            }
        }
        self.again_at = next;
        self.relist |= self.unmet.values().any(|unmet| unmet.holds() && now >= unmet.again_at);
        // Whatever it was: a look finds it.
        self.fresh = true;
    }

    /// What is above what one knew of was looked for: its numbering goes on, if it waits for nothing else.
    pub(super) fn release(&mut self, seqnum_id: Id) {
        if !self.held.iter().any(|held| held.seqnum_id == seqnum_id) && !self.awaiting.contains(&seqnum_id) {
            self.merge.let_go(seqnum_id);
        }
    }

    /// Ceilings have changed.
    pub(super) fn forget_ceiling(&mut self) {
        self.ceiling = None;
    }

    /// Whether a numbering is held back because of an error, or a file could not be opened.
    pub(super) fn is_waiting(&self) -> bool {
        !self.held.is_empty() || self.unmet.values().any(Unmet::holds)
    }

    /// Whether there may be entries that could not be shown: what a process will print is not known.
    pub(super) fn may_have_more(&self) -> bool {
        self.is_waiting() || !self.foreign.is_empty()
    }

    /// Takes the entry that [`Source::peek`] has shown. False: it could not be read.
    pub(super) fn take(&mut self, fields: &mut Fields, now: Instant) -> bool {
        if let Some(foreign) = self.shown.and_then(|at| self.foreign.get_mut(at)) {
            self.shown = None;
            return foreign.take(fields);
        }
        let file_id = if self.troubled { self.merge.shown().map(|reader| reader.header().file_id) } else { None };
        match self.merge.next(&mut self.work, fields) {
            Ok(taken) => {
                if let Some(file_id) = file_id {
                    self.recover(file_id);
                }
                taken.is_some()
            }
            Err(error) => {
                self.stumble(error, now);
                false
            }
        }
    }

    /// An entry came of a file that may have failed.
    fn recover(&mut self, file_id: Id) {
        if let Some(followed) =
            self.files.get_mut(&file_id).filter(|followed| followed.failures + followed.given_up > 0)
        {
            (followed.failures, followed.given_up) = (0, 0);
            self.status.recovers(&followed.path);
            self.troubled = self.files.values().any(|followed| followed.failures + followed.given_up > 0);
        }
    }

    /// Numbers are missing before an entry. Journald removes whole files, the oldest first: so the entry is the first one of its file, and no
    /// older file of its numbering is there. Nor are they missing if another numbering of the host has them, nor can it be told where not all
    /// can be read.
    pub(super) fn note_gap(&self, entry: &Location, books: &mut Books, number: usize) {
        let is_first = self.merge.shown().is_some_and(|reader| reader.header().head_seqnum == entry.seqnum)
            && self.shown.is_none()
            && self.lowest.get(&entry.seqnum_id).is_none_or(|lowest| *lowest >= entry.seqnum);
        if !is_first || !self.sees_all {
            return;
        }
        let before = books.highest(number, entry);
        let missing = entry.seqnum.saturating_sub(before.saturating_add(1));
        self.lose_removed(missing);
        if let Some(numbering) = books.get_mut(number) {
            numbering.count_to(entry.seqnum.saturating_sub(1), entry.realtime_us);
        }
    }

    /// Entries were removed before they were read.
    pub(super) fn lose_removed(&self, missing: u64) {
        if missing == 0 {
            return;
        }
        self.status.vacuumed.add(missing);
        tracing::warn!(
            source = %self.settings.name, entries = missing,
            "journald removed entries to make room before they were read; give the journal more room (SystemMaxUse=), or see why the \
             endpoints are behind"
        );
    }

    /// Entries came to light behind the cursor of their numbering.
    pub(super) fn note_late(&mut self, entries: u64, now: Instant) {
        if entries == 0 {
            return;
        }
        self.status.late.add(entries);
        if self.late_told.is_none_or(|at| now >= at + Duration::from_millis(JOURNAL_TELL_MS)) {
            self.late_told = Some(now);
            tracing::warn!(
                source = %self.settings.name,
                "entries of the journal came to light when later ones had been read: they are passed over, and counted in \
                 lugger_journal_lost_entries_total{{reason=\"late\"}}; a file that could not be read for a while, or a number that is damaged, \
                 is the cause"
            );
        }
    }

    /// The host of a file that `journalctl` reads, if the id is that of one.
    pub(super) fn machine_of_foreign(&self, file_id: Id) -> Option<Id> {
        self.foreign.iter().find(|foreign| foreign.file_id() == file_id).map(Foreign::machine_id)
    }

    /// The host that a numbering is of.
    pub(super) fn machine_of(&self, seqnum_id: Id) -> Id {
        let its = self.merge.readers().find(|reader| reader.header().seqnum_id == seqnum_id);
        its.map(|reader| reader.header().machine_id).unwrap_or_default()
    }

    /// A file cannot be read on: its numbering waits, or the place is given up.
    pub(super) fn stumble(&mut self, MergeError { file_id, error }: MergeError, now: Instant) {
        if !matches!(error, ReadError::Io(_)) {
            self.give_up(file_id, &error, now);
            return;
        }
        let Some(followed) = self.files.get_mut(&file_id) else {
            self.merge.remove(file_id);
            return;
        };
        followed.failures += 1;
        let (failures, given_up) = (followed.failures, followed.given_up);
        if failures >= JOURNAL_READ_ATTEMPTS {
            followed.failures = 0;
            followed.given_up += 1;
        }
        self.troubled = true;
        self.tell(file_id, &format!("{error}; after some attempts that part of it is passed over"), now);
        let Source { merge, work, .. } = self;
        if failures >= JOURNAL_READ_ATTEMPTS && merge.get_mut(file_id).is_some_and(|reader| reader.give_up(work)) {
            return;
        }
        self.hold(file_id, failures + given_up, now);
    }

    /// Notes that a file fails, and says so now and then.
    fn tell(&mut self, file_id: Id, problem: &str, now: Instant) {
        let Some(followed) = self.files.get_mut(&file_id) else { return };
        let problem = format!("the journal file {} {problem}", followed.path.display());
        self.status.fails(&followed.path, &problem);
        if followed.told_at.is_none_or(|at| now >= at + Duration::from_millis(JOURNAL_TELL_MS)) {
            followed.told_at = Some(now);
            tracing::warn!(source = %self.settings.name, "{problem}");
        }
    }

    /// The numbering of a file waits, the longer the more often it has failed: so a disk that stumbles for a while costs little.
    fn hold(&mut self, file_id: Id, failures: u32, now: Instant) {
        let pause = Duration::from_millis(JOURNAL_READ_PAUSE_MS) * (1 << failures.min(6));
        if let Some(seqnum_id) = self.merge.get(file_id).map(|reader| reader.header().seqnum_id) {
            self.merge.hold(seqnum_id);
            self.held.push(Held { seqnum_id, until: now + pause });
            self.wait_until(now + pause);
        }
    }

    /// The header of a file cannot be read: what is known of it is read on, and its numbering waits for some attempts.
    pub(super) fn stumble_at_header(&mut self, error: MergeError, now: Instant) {
        let file_id = error.file_id;
        if !matches!(error.error, ReadError::Io(_)) {
            return self.give_up(file_id, &error.error, now);
        }
        let Some(followed) = self.files.get_mut(&file_id) else { return };
        followed.header_failures = followed.header_failures.saturating_add(1);
        let failures = followed.header_failures;
        // After that it is looked at with the next sweep, and nothing else waits for it.
        followed.due = failures < JOURNAL_READ_ATTEMPTS;
        self.tell(file_id, &format!("{}; it is tried again", error.error), now);
        if failures < JOURNAL_READ_ATTEMPTS {
            self.hold(file_id, failures, now);
        }
    }

    /// The header of a file was read.
    pub(super) fn recover_header(&mut self, file_id: Id) {
        if let Some(followed) = self.files.get_mut(&file_id).filter(|followed| followed.header_failures > 0) {
            followed.header_failures = 0;
            if followed.failures + followed.given_up == 0 {
                self.status.recovers(&followed.path);
            }
        }
    }

    /// A file is not what it was: it is taken out, and met again if it is there.
    fn give_up(&mut self, file_id: Id, error: &ReadError, now: Instant) {
        let reader = self.merge.remove(file_id);
        let Some(followed) = self.files.remove(&file_id) else { return };
        self.paths.retain(|_, id| *id != file_id);
        if let Some(reader) = &reader {
            self.count(reader.damage(), followed.damage);
        }
        self.settled.remove(&followed.path);
        (self.relist, self.all) = (true, true);
        match error {
            ReadError::Erased { unread } => {
                self.fresh = true;
                self.removed.extend(reader.map(|reader| (*reader.header(), *unread)));
            }
            error => {
                let path = followed.path;
                self.fails(&path, &format!("the journal file {} {error}", path.display()));
                self.wait_until(now + Duration::from_secs(1));
            }
        }
    }

    /// There is nothing to read for now: files of which nothing more will come are let go.
    pub(super) fn settle(&mut self) {
        self.reading = false;
        let done: Vec<Id> =
            self.merge.readers().filter(|reader| reader.is_finished()).map(|reader| reader.header().file_id).collect();
        for file_id in done {
            if let (Some(reader), Some(followed)) = (self.merge.remove(file_id), self.files.remove(&file_id)) {
                self.count(reader.damage(), followed.damage);
                self.paths.retain(|_, id| *id != file_id);
                self.status.recovers(&followed.path);
                self.finished.insert(file_id);
            }
        }
        let mut deltas = Vec::new();
        for reader in self.merge.readers() {
            if let Some(followed) = self.files.get_mut(&reader.header().file_id)
                && reader.damage() != followed.damage
            {
                deltas.push((reader.damage(), std::mem::replace(&mut followed.damage, reader.damage())));
            }
        }
        for (now, before) in deltas {
            self.count(now, before);
        }
    }

    /// Gives back what is only of use while there is something to read, when there was nothing for a while. Says when to ask again.
    pub(super) fn rest(&mut self, now: Instant) -> Option<Instant> {
        if self.released {
            return None;
        }
        let at = self.active + Duration::from_millis(JOURNAL_IDLE_MS);
        if now < at {
            return Some(at);
        }
        self.work.release();
        self.released = true;
        None
    }

    /// An entry was read.
    pub(super) fn woke(&mut self, now: Instant) {
        (self.active, self.released) = (now, false);
    }

    pub(super) fn count(&self, now: Damage, before: Damage) {
        let Damage { entries, unreadable, fields, cut } = now;
        self.status.damaged_entries.add(entries.saturating_sub(before.entries));
        self.status.unreadable.add(unreadable.saturating_sub(before.unreadable));
        self.status.damaged_fields.add(fields.saturating_sub(before.fields));
        self.status.cut_fields.add(cut.saturating_sub(before.cut));
        if entries > before.entries {
            tracing::warn!(
                source = %self.settings.name, entries = entries - before.entries,
                "a journal file is damaged: what cannot be read is passed over"
            );
        }
        if unreadable > before.unreadable {
            tracing::warn!(
                source = %self.settings.name, entries = unreadable - before.unreadable,
                "the disk does not give a part of a journal file: what lies in it is passed over"
            );
        }
    }

    /// Notes that the system does not give a file or directory, and says so once.
    pub(super) fn unreadable(&self, path: &Path, error: &std::io::Error) {
        let problem = super::look::unreadable(path, error);
        let is_first = match error.kind() {
            std::io::ErrorKind::PermissionDenied => self.status.is_denied(path, &problem, Denied::Other),
            _ => self.status.fails(path, &problem),
        };
        if is_first {
            tracing::warn!(source = %self.settings.name, "{problem}");
        }
    }

    /// Notes what is wrong, and says so once.
    pub(super) fn fails(&self, path: &Path, problem: &str) {
        if self.status.fails(path, problem) {
            tracing::warn!(source = %self.settings.name, "{problem}");
        }
    }
}

/// The fields that somebody reads.
fn wanted(settings: &Settings, filter: &Filter, kinds: &Kinds) -> Wanted {
    let Some(named) = kinds.wanted().filter(|_| !settings.json) else { return Wanted::all() };
    let names = filter.fields();
    Wanted::only(names.iter().chain(&named).map(String::as_str).chain(["MESSAGE"]))
}

impl Source {
    /// Takes over settings that leave its files as they are.
    pub(super) fn take_settings(
        &mut self,
        settings: Settings,
        output: usize,
        (filter, kinds, pipeline): (Filter, Kinds, Option<Box<Pipeline>>),
        now: Instant,
    ) {
        let wanted = wanted(&settings, &filter, &kinds);
        if wanted != *self.work.wanted() {
            self.foreign.iter_mut().for_each(|foreign| foreign.read_anew(now));
        }
        self.work = Work::new(wanted);
        if self.settings.rate != settings.rate {
            self.rate = settings.rate.map(|limit| Rate::new(limit, now));
        }
        if self.settings.path != settings.path {
            self.places = Places::new(settings.path.clone());
            self.status.forget_problems();
            self.unmet.clear();
            self.begin_again();
        }
        self.merged = Arc::new(merged_labels(&settings));
        (self.settings, self.output, self.filter, self.kinds, self.pipeline) =
            (settings, output, filter, kinds, pipeline);
        self.fresh = true;
    }
}
