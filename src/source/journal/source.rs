//! One journal source: its files, and what of them may be read.
//!
//! A file is known by its id, whatever its name. Files are met by listing directories; each begins where its numbering's cursor is, else behind
//! the newest entry that was read of its host, else at the oldest entry that is wanted.
//!
//! **Rounds.** Journald numbers in one row what it writes to several files, and one cannot look at all of them at once. So a round looks at each
//! file, notes the highest number, lists directories if names have changed since, and looks at each file again. What has a number up to
//! the noted one is visible now wherever it is, and only that is read: so numbers come in order, and a cursor never passes what is still to come.
//!
//! Promises: one message for each thing that is wrong, for as long as it is; what was removed before it was read is counted. Leaves to others: what
//! becomes of entries.

use super::filter::Filter;
use super::kinds::Kinds;
use super::numbering::Books;
use super::places::{Places, Watches};
use super::settings::Settings;
use super::status::Status;
use super::turn::merged_labels;
use crate::base::limits::{JOURNAL_IDLE_MS, JOURNAL_READ_ATTEMPTS};
use crate::base::rate::Rate;
use crate::format::journal::{
    Cursor, Damage, Id, Kind, Location, Merge, MergeError, OpenError, ReadError, Reader, State, Wanted, Work, file_name,
};
use crate::model::labels::Labels;
use crate::source::stages::Pipeline;
use foldhash::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is remembered of a file that is being read.
#[derive(Debug)]
struct Followed {
    path: PathBuf,
    /// Nobody writes it, whatever its header says.
    is_unclean: bool,
    failures: u32,
    damage: Damage,
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
    places: Places,
    pub work: Work,
    merge: Merge<File>,
    files: HashMap<Id, Followed>,
    /// Files of which nothing more will come, by id; and names that need no further look.
    finished: HashSet<Id>,
    settled: HashSet<PathBuf>,
    /// Up to which number may be read, by who gave them.
    ceilings: Vec<(Id, u64)>,
    /// There may be something new.
    pub fresh: bool,
    /// Directories are to be listed.
    pub relist: bool,
    /// A file was not complete enough to be opened.
    unfinished: bool,
    /// There is something to read.
    pub reading: bool,
    /// Not before then, after an error.
    pub not_before: Option<Instant>,
    /// When all was looked at last, nanoseconds since 1970.
    pub looked_ns: i64,
    /// When an entry was read last.
    pub active: Instant,
    /// Time of the entry that was read last, microseconds since 1970.
    pub last_realtime_us: u64,
    /// Buffers were given back.
    released: bool,
    /// Entries that are older are not wanted where nothing was read before; microseconds since 1970.
    oldest_us: u64,
}

impl Source {
    pub(super) fn new(
        settings: Settings,
        output: usize,
        status: Status,
        (filter, kinds, pipeline): (Filter, Kinds, Option<Box<Pipeline>>),
        now: (Instant, i64),
    ) -> Source {
        let now_us = u64::try_from(now.1 / 1000).unwrap_or_default();
        let age_us = u64::try_from(settings.max_age.as_micros()).unwrap_or(u64::MAX);
        Source {
            work: Work::new(wanted(&settings, &filter, &kinds)),
            places: Places::new(settings.path.clone()),
            rate: settings.rate.map(|limit| Rate::new(limit, now.0)),
            merged: Arc::new(merged_labels(&settings)),
            settings,
            status,
            output,
            pipeline,
            filter,
            kinds,
            merge: Merge::default(),
            files: HashMap::default(),
            finished: HashSet::default(),
            settled: HashSet::default(),
            ceilings: Vec::new(),
            fresh: true,
            relist: true,
            unfinished: false,
            reading: false,
            not_before: None,
            looked_ns: 0,
            active: now.0,
            last_realtime_us: 0,
            released: false,
            oldest_us: now_us.saturating_sub(age_us),
        }
    }

    /// Opens its files anew, at its cursors as they are by then.
    pub(super) fn begin_again(&mut self) {
        self.merge = Merge::default();
        self.files.clear();
        self.finished.clear();
        self.settled.clear();
        (self.fresh, self.relist, self.reading) = (true, true, false);
    }

    /// How many files are followed.
    pub(super) fn followed(&self) -> usize {
        self.files.len()
    }

    /// Watches its directories.
    pub(super) fn watch(&self, watches: &mut Watches) {
        self.places.directories(watches);
    }

    /// Looks at everything, so that what is there now can be read.
    pub(super) fn look(&mut self, books: &Books, watches: &mut Watches, now: (Instant, i64)) {
        self.fresh = false;
        self.looked_ns = now.1;
        loop {
            self.refresh(now.0);
            self.note_ceilings();
            let news = watches.drain();
            self.relist |= news.names;
            if !std::mem::take(&mut self.relist) {
                break;
            }
            self.unfinished = false;
            if !self.list(books, watches) {
                self.relist |= self.unfinished;
                break;
            }
            // Something new was found: what came before it has to be seen as well.
            self.relist = true;
        }
        if self.merge.readers().nth(1).is_some() {
            self.refresh(now.0);
        }
        self.reading = true;
    }

    /// Looks how far each file has come. Those that cannot be looked at any more are taken out.
    fn refresh(&mut self, now: Instant) {
        while let Err(MergeError { file_id, error }) = self.merge.refresh(&mut self.work) {
            self.give_up(file_id, &error, now);
        }
    }

    fn note_ceilings(&mut self) {
        self.ceilings.clear();
        for reader in self.merge.readers() {
            let header = reader.header();
            match self.ceilings.iter_mut().find(|(id, _)| *id == header.seqnum_id) {
                Some((_, highest)) => *highest = header.tail_seqnum.max(*highest),
                None => self.ceilings.push((header.seqnum_id, header.tail_seqnum)),
            }
        }
    }

    /// Lists the directories. True if there was a file that was not known.
    fn list(&mut self, books: &Books, watches: &mut Watches) -> bool {
        let found = self.places.directories(watches);
        let mut is_new = false;
        for (path, error) in &found.failed {
            self.fails(path, &unreadable(path, error));
        }
        let mut names: HashSet<PathBuf> = HashSet::default();
        for directory in &found.list {
            let listed = match std::fs::read_dir(directory) {
                Ok(listed) => listed,
                Err(error) => {
                    self.fails(directory, &unreadable(directory, &error));
                    continue;
                }
            };
            self.status.recovers(directory);
            for entry in listed.flatten() {
                let Some(kind) = entry.file_name().to_str().and_then(|name| file_name(name).map(|name| name.kind))
                else {
                    continue;
                };
                let path = entry.path();
                if !self.settled.contains(&path) {
                    is_new |= self.meet(&path, kind, books);
                }
                names.insert(path);
            }
        }
        // A name that is gone may be given to another file.
        self.settled.retain(|path| names.contains(path));
        let nowhere = PathBuf::new();
        if found.list.is_empty() && found.failed.is_empty() {
            let wait = format!("there is no journal in {}: it is waited for", self.places.named());
            self.fails(&nowhere, &wait);
        } else {
            self.status.recovers(&nowhere);
        }
        is_new
    }

    /// A name of a journal file. True if the file was not known and has something to read.
    fn meet(&mut self, path: &Path, kind: Kind, books: &Books) -> bool {
        let opened = File::open(path).map_err(OpenError::Io).and_then(Reader::open);
        let mut reader = match opened {
            Ok(reader) => reader,
            // It is being made: nobody tells of a name again, and it may have entries the next time one looks.
            Err(OpenError::Unfinished) => {
                self.unfinished = true;
                return false;
            }
            Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return false,
            Err(OpenError::Io(error)) => {
                self.fails(path, &unreadable(path, &error));
                return false;
            }
            Err(error) => {
                self.fails(path, &format!("the journal file {} {error}; it is passed over", path.display()));
                return false;
            }
        };
        self.status.recovers(path);
        let header = *reader.header();
        let is_closed = kind != Kind::Active;
        if is_closed {
            self.settled.insert(path.to_owned());
        }
        if self.finished.contains(&header.file_id) {
            return false;
        }
        if let Some(followed) = self.files.get_mut(&header.file_id) {
            path.clone_into(&mut followed.path);
            followed.is_unclean |= kind == Kind::Unclean;
            return false;
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let sought = self.seek(&mut reader, &name, books);
        if let Err(error) = sought {
            self.fails(path, &format!("the journal file {} {error}; it is tried again", path.display()));
            self.settled.remove(path);
            return false;
        }
        let has_something = reader.head(&mut self.work).is_ok_and(|head| head.is_some());
        if is_closed && !has_something {
            self.count_damage(&reader, Damage::default());
            self.finished.insert(header.file_id);
            return false;
        }
        let is_unclean = kind == Kind::Unclean;
        let followed = Followed { path: path.to_owned(), is_unclean, failures: 0, damage: Damage::default() };
        self.files.insert(header.file_id, followed);
        self.merge.add(reader);
        true
    }

    /// Goes to where reading begins in a file.
    fn seek(&mut self, reader: &mut Reader<File>, name: &str, books: &Books) -> Result<(), ReadError> {
        let header = *reader.header();
        let source = &self.settings.name;
        if let Some(numbering) = books.find(source, header.seqnum_id).and_then(|number| books.get(number)) {
            let last = numbering.position.saturating_sub(1);
            let cursor = Cursor { seqnum: Some((header.seqnum_id, last)), ..Cursor::default() };
            return reader.seek_after(&mut self.work, &cursor);
        }
        // What other hosts send has times of its own.
        let is_local = !name.starts_with("remote");
        match books.newest(source, header.machine_id).filter(|_| is_local) {
            Some(mark) => reader.seek_after(&mut self.work, &mark.by_time()),
            None => match &self.settings.imported {
                Some(cursor) if is_local => reader.seek_after(&mut self.work, cursor),
                _ => reader.seek_realtime(&mut self.work, self.oldest_us),
            },
        }
    }

    /// The next entry that may be read now, and the host of its file. `None`: there is none.
    pub(super) fn peek(&mut self, now: Instant) -> Option<Location> {
        loop {
            match self.merge.peek(&mut self.work) {
                Ok(Some(location)) => {
                    let ceiling = self.ceilings.iter().find(|(id, _)| *id == location.seqnum_id);
                    return ceiling.is_some_and(|(_, highest)| location.seqnum <= *highest).then_some(location);
                }
                Ok(None) => return None,
                Err(error) => {
                    if !self.stumble(error, now) {
                        return None;
                    }
                }
            }
        }
    }

    /// Takes the entry that [`Source::peek`] has shown. False: it could not be read.
    pub(super) fn take(&mut self, fields: &mut crate::format::journal::Fields, now: Instant) -> bool {
        match self.merge.next(&mut self.work, fields) {
            Ok(taken) => taken.is_some(),
            Err(error) => {
                self.stumble(error, now);
                false
            }
        }
    }

    /// Numbers are missing before an entry. Journald removes whole files: if the entry is the first one of its file they were in files that
    /// are gone. Where not all can be read they may be somebody else's.
    pub(super) fn note_gap(&self, entry: &Location, missing: u64) {
        let is_first = self.merge.readers().any(|reader| {
            let header = reader.header();
            header.seqnum_id == entry.seqnum_id && header.head_seqnum == entry.seqnum
        });
        if !is_first || self.status.has_problems() {
            return;
        }
        self.status.vacuumed.add(missing);
        tracing::warn!(
            source = %self.settings.name, entries = missing,
            "journald removed entries to make room before they were read; give the journal more room (SystemMaxUse=), or see why the \
             endpoints are behind"
        );
    }

    /// The host that a numbering is of.
    pub(super) fn machine_of(&self, seqnum_id: Id) -> Id {
        let its = self.merge.readers().find(|reader| reader.header().seqnum_id == seqnum_id);
        its.map(|reader| reader.header().machine_id).unwrap_or_default()
    }

    /// A file cannot be read on. False: it is tried again later.
    fn stumble(&mut self, MergeError { file_id, error }: MergeError, now: Instant) -> bool {
        if !matches!(error, ReadError::Io(_)) {
            self.give_up(file_id, &error, now);
            return true;
        }
        let Some(followed) = self.files.get_mut(&file_id) else { return true };
        followed.failures += 1;
        let (path, failures) = (followed.path.clone(), followed.failures);
        self.fails(&path, &format!("the journal file {} {error}; it is tried again", path.display()));
        if failures >= JOURNAL_READ_ATTEMPTS {
            self.status.unreadable.add(1);
            if let Some(followed) = self.files.get_mut(&file_id) {
                followed.failures = 0;
            }
            if let Some(reader) = self.merge.get_mut(file_id) {
                reader.skip();
            }
            return true;
        }
        self.not_before = Some(now + Duration::from_millis(100 << failures.min(5)));
        self.fresh = true;
        false
    }

    /// A file is not what it was: it is taken out, and met again if it is there.
    fn give_up(&mut self, file_id: Id, error: &ReadError, now: Instant) {
        let reader = self.merge.remove(file_id);
        let Some(followed) = self.files.remove(&file_id) else { return };
        if let Some(reader) = &reader {
            self.count_damage(reader, followed.damage);
        }
        self.settled.remove(&followed.path);
        (self.relist, self.fresh) = (true, true);
        let path = followed.path;
        match error {
            // What is missing is seen by the numbers that come next.
            ReadError::Erased { .. } => {}
            error => {
                self.fails(&path, &format!("the journal file {} {error}", path.display()));
                self.not_before = Some(now + Duration::from_secs(1));
            }
        }
    }

    /// There is nothing to read for now: files of which nothing more will come are let go.
    pub(super) fn settle(&mut self) {
        self.reading = false;
        let has_unread = |reader: &Reader<File>| {
            let header = reader.header();
            let ceiling = self.ceilings.iter().find(|(id, _)| *id == header.seqnum_id);
            ceiling.is_some_and(|(_, highest)| header.tail_seqnum > *highest)
        };
        let is_done = |reader: &&Reader<File>| {
            let is_unclean = self.files.get(&reader.header().file_id).is_some_and(|followed| followed.is_unclean);
            reader.is_finished() || (is_unclean && !has_unread(reader))
        };
        let done: Vec<Id> = self.merge.readers().filter(is_done).map(|reader| reader.header().file_id).collect();
        for file_id in done {
            if let (Some(reader), Some(followed)) = (self.merge.remove(file_id), self.files.remove(&file_id)) {
                self.count_damage(&reader, followed.damage);
                self.finished.insert(file_id);
            }
        }
        let mut deltas = Vec::new();
        for reader in self.merge.readers() {
            if let Some(followed) = self.files.get_mut(&reader.header().file_id) {
                if followed.failures > 0 {
                    followed.failures = 0;
                    self.status.recovers(&followed.path);
                }
                if reader.damage() != followed.damage {
                    deltas.push((reader.damage(), std::mem::replace(&mut followed.damage, reader.damage())));
                }
            }
        }
        for (now, before) in deltas {
            self.count(now, before);
        }
        if self.merge.readers().any(|reader| reader.header().state == State::Archived && !reader.is_finished()) {
            // A rotated file ends with what is above the ceiling.
            self.fresh = true;
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

    fn count_damage(&self, reader: &Reader<File>, before: Damage) {
        self.count(reader.damage(), before);
    }

    fn count(&self, now: Damage, before: Damage) {
        let Damage { entries, fields, cut } = now;
        self.status.damaged_entries.add(entries.saturating_sub(before.entries));
        self.status.damaged_fields.add(fields.saturating_sub(before.fields));
        self.status.cut_fields.add(cut.saturating_sub(before.cut));
        if entries > before.entries {
            tracing::warn!(
                source = %self.settings.name, entries = entries - before.entries,
                "a journal file is damaged: what cannot be read is passed over"
            );
        }
    }

    /// Notes what is wrong, and says so once.
    fn fails(&self, path: &Path, problem: &str) {
        if self.status.fails(path, problem) {
            tracing::warn!(source = %self.settings.name, "{problem}");
        }
    }
}

/// Why a file or directory cannot be read, and what to do.
fn unreadable(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    if error.kind() == io::ErrorKind::PermissionDenied {
        return format!(
            "{path} must not be read: add the user that lugger runs as to the group systemd-journal (usermod --append --groups \
             systemd-journal USER, or SupplementaryGroups=systemd-journal in its unit) and restart it"
        );
    }
    format!("{path} cannot be read: {error}; it is tried again")
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
        self.work = Work::new(wanted(&settings, &filter, &kinds));
        if self.settings.rate != settings.rate {
            self.rate = settings.rate.map(|limit| Rate::new(limit, now));
        }
        if self.settings.path != settings.path {
            self.places = Places::new(settings.path.clone());
            self.status.forget_problems();
            self.begin_again();
        }
        self.merged = Arc::new(merged_labels(&settings));
        (self.settings, self.output, self.filter, self.kinds, self.pipeline) =
            (settings, output, filter, kinds, pipeline);
        self.fresh = true;
    }
}
