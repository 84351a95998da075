//! Looking at a source's files: which there are, how far they have come, where each begins, and up to where they may be read.
//!
//! **Rounds.** Journald may number in one row what it writes to several files, and one cannot look at all of them at once. So a round looks at each
//! file, notes the highest number of each numbering, lists directories if names have changed since, and looks at each file again. What has a number
//! up to the noted one is visible now wherever it is, and only that is read: so numbers come in order, and a cursor never passes what is still
//! to come. What is above waits for another round, which then sees all below it.
//!
//! Only files that may have changed are looked at: those that somebody told of, those of which entries came a short time ago, all others of
//! the same numberings; and all of them when names change and with the slow sweep.
//!
//! Promises: a file that was never read is read from its beginning, but for what is there when the source begins. Leaves to others: taking entries.

use super::foreign::{Begin, Foreign, Seen};
use super::numbering::{Books, Mark};
use super::places::Watches;
use super::source::{Followed, Source};
use crate::base::limits::{
    JOURNAL_OPEN_ATTEMPTS, JOURNAL_PARTS, JOURNAL_READ_ATTEMPTS, JOURNAL_READ_PAUSE_MS, JOURNAL_WARM_FOR_MS,
};
use crate::format::journal::{Cursor, Damage, FileName, Header, Id, Kind, OpenError, ReadError, Reader, file_name};
use foldhash::HashSet;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a listing knows of a name.
#[derive(Debug, Clone, Copy)]
struct Name<'a> {
    path: &'a Path,
    inode: u64,
    kind: Kind,
    /// The source begins with this listing, or the name was there when it did: what is too old is not wanted.
    is_first: bool,
}

impl Source {
    /// Looks at what may have changed, so that what is there now can be read.
    pub(super) fn look(&mut self, books: &mut Books, watches: &mut Watches, now: (Instant, i64)) {
        self.fresh = false;
        self.looked_ns = now.1;
        let mut due = HashSet::default();
        self.note_due(now.0, &mut due);
        loop {
            self.refresh(&due, now.0);
            self.note_ceilings(&due);
            watches.drain();
            let is_told = self.listed_at != Some(watches.names());
            if !std::mem::take(&mut self.relist) && !is_told {
                break;
            }
            self.listed_at = Some(watches.names());
            self.unfinished = false;
            self.all = true;
            self.note_due(now.0, &mut due);
            let is_new = self.list(books, watches, now);
            // It opens directories itself.
            watches.drain();
            watches.take_opened();
            if !is_new && self.listed_at == Some(watches.names()) {
                self.relist |= self.unfinished;
                break;
            }
            // Something new was found: what came before it has to be seen as well.
            self.relist = true;
            self.note_due(now.0, &mut due);
        }
        if self.merge.readers().nth(1).is_some() {
            self.refresh(&due, now.0);
        }
        self.all = false;
        for (header, unread) in std::mem::take(&mut self.removed) {
            self.lose_removed(unread);
            if let Some(numbering) = books.find(&self.settings.name, header.seqnum_id).and_then(|at| books.get_mut(at))
            {
                numbering.count_to(header.tail_seqnum, header.tail_realtime_us);
            }
        }
        self.hold_for_names();
        self.reading = true;
    }

    /// The numberings whose files are to be looked at.
    fn note_due(&mut self, now: Instant, due: &mut HashSet<Id>) {
        let warm = Duration::from_millis(JOURNAL_WARM_FOR_MS);
        for reader in self.merge.readers() {
            let header = reader.header();
            let Some(followed) = self.files.get_mut(&header.file_id) else { continue };
            if followed.index != reader.index() {
                (followed.index, followed.read_at) = (reader.index(), now);
            }
            let is_warm = now.saturating_duration_since(followed.read_at) < warm;
            if std::mem::take(&mut followed.due) || self.all || is_warm {
                due.insert(header.seqnum_id);
            }
        }
        due.extend(self.blocked.iter().map(|(seqnum_id, _)| *seqnum_id));
    }

    /// Something may have been written to any of its files.
    pub(super) fn expect(&mut self) {
        (self.fresh, self.all) = (true, true);
    }

    /// Somebody told that files have changed.
    pub(super) fn hear(&mut self, changed: &HashSet<PathBuf>, now: Instant) {
        for path in changed {
            match self.paths.get(path).and_then(|id| self.files.get_mut(id)) {
                Some(followed) => followed.due = true,
                // Its rights may have changed.
                None if self.foreign.iter().any(|foreign| foreign.path() == path) => {
                    let its = self.foreign.iter_mut().filter(|foreign| foreign.path() == path);
                    its.for_each(|foreign| foreign.hear(now));
                }
                None => self.relist |= self.status.has_problems() || !self.unmet.is_empty(),
            }
        }
        self.fresh = true;
    }

    /// Looks how far files have come. Those that cannot be looked at any more are taken out.
    fn refresh(&mut self, due: &HashSet<Id>, now: Instant) {
        let mut failed = Vec::new();
        let Source { merge, work, .. } = self;
        merge.refresh_some(work, |reader| due.contains(&reader.header().seqnum_id), &mut failed);
        let failing: Vec<_> = self.files.iter().filter(|(_, f)| f.has_failing_header()).map(|(id, _)| *id).collect();
        for file_id in failing {
            let is_due = |reader: &Reader<File>| due.contains(&reader.header().seqnum_id);
            if self.merge.get(file_id).is_some_and(is_due) && !failed.iter().any(|error| error.file_id == file_id) {
                self.recover_header(file_id);
            }
        }
        for error in failed {
            self.stumble_at_header(error, now);
        }
    }

    fn note_ceilings(&mut self, due: &HashSet<Id>) {
        for seqnum_id in due {
            self.ceilings.remove(seqnum_id);
        }
        self.merge.note_closed();
        for reader in self.merge.readers() {
            let header = reader.header();
            if due.contains(&header.seqnum_id) {
                let ceiling = self.ceilings.entry(header.seqnum_id).or_default();
                *ceiling = header.tail_seqnum.max(*ceiling);
            }
        }
        // What was visible in the round before had its number by then, whatever headers say.
        for (seqnum_id, number) in std::mem::take(&mut self.blocked) {
            let number = number.max(self.visible_to(seqnum_id, number));
            let ceiling = self.ceilings.entry(seqnum_id).or_default();
            *ceiling = number.max(*ceiling);
            self.release(seqnum_id);
        }
        self.forget_ceiling();
    }

    /// The highest number that is visible in files whose headers say too little of theirs: otherwise each entry would wait for a look of its own.
    /// What lies between others is no damaged number.
    fn visible_to(&mut self, seqnum_id: Id, number: u64) -> u64 {
        let Source { merge, work, .. } = self;
        let says_less = |header: &Header| header.seqnum_id == seqnum_id && header.tail_seqnum < number;
        let its: Vec<Id> = merge.readers().map(Reader::header).filter(|h| says_less(h)).map(|h| h.file_id).collect();
        let last = |file_id| {
            let reader = merge.get_mut(file_id)?;
            let is_it = reader.head(work).ok().flatten().is_some_and(|head| head.seqnum == number);
            if is_it { reader.last_sound(work).ok().flatten() } else { None }
        };
        its.into_iter().filter_map(last).max().unwrap_or_default()
    }

    /// Lists the directories. True if there was a file that was not known.
    fn list(&mut self, books: &mut Books, watches: &mut Watches, now: (Instant, i64)) -> bool {
        let found = self.places.directories(watches);
        let awaited = books.awaited(&self.settings.name, self.settings.path.as_deref()).cloned();
        let is_begun = awaited.is_some();
        let awaited = awaited.unwrap_or_default();
        let mut still_awaited = BTreeSet::new();
        let mut is_new = false;
        self.sees_all = found.failed.is_empty();
        self.lowest.clear();
        for (path, error) in &found.failed {
            self.unreadable(path, error);
            if !is_begun || awaited.contains(path) {
                still_awaited.insert(path.clone());
            }
        }
        let mut unlisted: Vec<PathBuf> = found.failed.iter().map(|(path, _)| path.clone()).collect();
        let mut names: HashSet<PathBuf> = HashSet::default();
        for directory in &found.list {
            let listed = match std::fs::read_dir(directory) {
                Ok(listed) => listed,
                Err(error) => {
                    self.sees_all = false;
                    self.unreadable(directory, &error);
                    unlisted.push(directory.clone());
                    if !is_begun || awaited.iter().any(|path| directory.starts_with(path)) {
                        still_awaited.insert(directory.clone());
                    }
                    continue;
                }
            };
            self.status.recovers(directory);
            for entry in listed.flatten() {
                let name = entry.file_name();
                let Some(FileName { prefix, kind }) = name.to_str().and_then(file_name) else { continue };
                if let Kind::Archived { seqnum_id, head_seqnum, .. } = kind {
                    let lowest = self.lowest.entry(seqnum_id).or_insert(head_seqnum);
                    *lowest = head_seqnum.min(*lowest);
                }
                let path = entry.path();
                // Nobody gets the inode of a file that is held open.
                let inode = entry.ino();
                let followed = self.paths.get(&path).and_then(|id| self.files.get(id));
                let is_known = followed.is_some_and(|followed| followed.inode == inode);
                if !is_known && !self.settled.contains(&path) {
                    let unmet = self.unmet.get(&path);
                    let is_first = !is_begun
                        || unmet.is_some_and(|unmet| unmet.is_first)
                        || awaited.iter().any(|name| path.starts_with(name) || *name == directory.join(prefix));
                    if unmet.is_some_and(|unmet| now.0 < unmet.again_at) {
                        self.sees_all = false;
                    } else {
                        is_new |= self.meet(Name { path: &path, inode, kind, is_first }, books, now);
                    }
                    if self.unmet.get(&path).is_some_and(|unmet| unmet.is_first) {
                        still_awaited.insert(directory.join(prefix));
                    }
                }
                names.insert(path);
            }
        }
        let is_there = |path: &Path| names.contains(path) || unlisted.iter().any(|at| path.starts_with(at));
        self.foreign.iter_mut().filter(|foreign| !is_there(foreign.path())).for_each(|foreign| foreign.leave(now.0));
        self.foreign_names.retain(|path, _| is_there(path));
        let its: HashSet<Id> =
            self.foreign_names.values().copied().chain(self.foreign.iter().map(Foreign::file_id)).collect();
        books.leave_files(&self.settings.name, |file_id| its.contains(&file_id));
        // A name that is gone may be given to another file.
        self.settled.retain(|path| names.contains(path));
        self.unmet.retain(|path, _| {
            let stays = names.contains(path);
            if !stays {
                self.status.recovers(path);
            }
            stays
        });
        let nowhere = PathBuf::new();
        if found.list.is_empty() && found.failed.is_empty() {
            let wait = format!("there is no journal in {}: it is waited for", self.places.named());
            self.fails(&nowhere, &wait);
        } else {
            self.status.recovers(&nowhere);
        }
        // While nothing could be opened, all that is there is as it was at the beginning.
        if is_begun || names.iter().any(|path| !self.unmet.contains_key(path)) {
            books.set_begun(&self.settings.name, self.settings.path.as_deref(), still_awaited);
        }
        self.note_places(books);
        is_new
    }

    /// A name of a journal file. True if the file was not known and has something to read.
    fn meet(&mut self, name: Name<'_>, books: &mut Books, now: (Instant, i64)) -> bool {
        let path = name.path;
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
                self.sees_all = false;
                self.miss(name, Fault::of(&error), now.0);
                self.unreadable(path, &error);
                return false;
            }
            Err(OpenError::UnknownFlags { flags, file_id, seqnum_id, machine_id, entries, tail_seqnum }) => {
                self.sees_all = false;
                let metadata = std::fs::metadata(path).ok();
                let bytes = metadata.as_ref().map_or(0, std::fs::Metadata::len);
                let modified = metadata.and_then(|metadata| metadata.modified().ok());
                let seen = Seen { bytes, modified, entries, tail_seqnum };
                return self.meet_foreign((name, seen), (flags, [file_id, seqnum_id, machine_id]), books, now);
            }
            Err(error) => {
                self.fails(path, &format!("the journal file {} {error}; it is passed over", path.display()));
                return false;
            }
        };
        let header = *reader.header();
        let is_closed = name.kind != Kind::Active;
        if name.kind == Kind::Unclean {
            // Nobody writes it, whatever its header says.
            reader.set_closed();
        }
        if is_closed {
            self.settled.insert(path.to_owned());
        }
        if self.finished.contains(&header.file_id) {
            self.met(path);
            return false;
        }
        if let Some(followed) = self.files.get_mut(&header.file_id) {
            // Another file may have its name by now.
            if self.paths.get(&followed.path) == Some(&header.file_id) {
                self.paths.remove(&followed.path);
            }
            path.clone_into(&mut followed.path);
            followed.inode = name.inode;
            self.paths.insert(path.to_owned(), header.file_id);
            if name.kind == Kind::Unclean
                && let Some(reader) = self.merge.get_mut(header.file_id)
            {
                reader.set_closed();
            }
            self.met(path);
            return false;
        }
        let sought = self.seek(&mut reader, name, books, now);
        if matches!(sought, Err(ReadError::Erased { .. })) {
            // Its name goes as well. What it had that was not read is a gap in its numbering.
            self.settled.remove(path);
            self.met(path);
            return false;
        }
        if let Err(error) = sought {
            self.fails(path, &format!("the journal file {} {error}; it is tried again", path.display()));
            self.settled.remove(path);
            self.miss(name, Fault::File, now.0);
            if let Some(unmet) = self.unmet.get_mut(path) {
                unmet.seqnum_id = Some(header.seqnum_id);
            }
            return false;
        }
        self.met(path);
        let has_something = !matches!(reader.head(&mut self.work), Ok(None));
        if is_closed && !has_something {
            self.count(reader.damage(), Damage::default());
            self.finished.insert(header.file_id);
            return false;
        }
        self.files.insert(header.file_id, Followed::new((path, name.inode), now.0));
        self.paths.insert(path.to_owned(), header.file_id);
        self.merge.add(reader);
        true
    }

    /// A file could be opened.
    fn met(&mut self, path: &Path) {
        self.unmet.remove(path);
        if !self.paths.get(path).and_then(|id| self.files.get(id)).is_some_and(Followed::has_failed) {
            self.status.recovers(path);
        }
    }

    /// A file could not be opened.
    fn miss(&mut self, name: Name<'_>, fault: Fault, now: Instant) {
        let unmet = self.unmet.entry(name.path.to_owned()).or_insert_with(|| Unmet {
            attempts: 0,
            again_at: now,
            is_first: name.is_first,
            fault,
            seqnum_id: match name.kind {
                Kind::Archived { seqnum_id, .. } => Some(seqnum_id),
                _ => None,
            },
            places: None,
        });
        unmet.attempts = unmet.attempts.saturating_add(1);
        unmet.fault = fault;
        unmet.again_at = match fault {
            Fault::Rights => now,
            _ => now + Duration::from_millis(JOURNAL_READ_PAUSE_MS) * (1 << unmet.attempts.min(6)),
        };
    }

    /// The numberings that a file may be of that could not be opened: the one that it is known by, or those that are written to beside it.
    fn suspects(&self, path: &Path, unmet: &Unmet) -> Vec<Id> {
        if let Some(seqnum_id) = unmet.seqnum_id {
            return vec![seqnum_id];
        }
        let is_beside = |reader: &&Reader<File>| {
            self.files.get(&reader.header().file_id).is_some_and(|followed| followed.path.parent() == path.parent())
                && !reader.was_closed()
        };
        self.merge.readers().filter(is_beside).map(|reader| reader.header().seqnum_id).collect()
    }

    /// Notes how far numberings were read when a file of theirs could not be opened: so that it is known what it lacks.
    fn note_places(&mut self, books: &Books) {
        let new: Vec<PathBuf> =
            self.unmet.iter().filter(|(_, unmet)| unmet.places.is_none()).map(|(path, _)| path.clone()).collect();
        for path in new {
            let Some(unmet) = self.unmet.get(&path) else { continue };
            let its = self.suspects(&path, unmet).into_iter().take(JOURNAL_PARTS);
            let find = |id| books.find(&self.settings.name, id).and_then(|at| books.get(at));
            let places = its.filter_map(|id| find(id).map(|its| (id, its.position, its.mark))).collect();
            if let Some(unmet) = self.unmet.get_mut(&path) {
                unmet.places = Some(places);
            }
        }
    }

    /// Holds numberings back of which a file could not be opened: what it has may come before what the others have. Not for files that must not be
    /// read, and not for ever where the file itself is at fault.
    fn hold_for_names(&mut self) {
        let mut held = HashSet::default();
        let mut next: Option<Instant> = None;
        for (path, unmet) in self.unmet.iter().filter(|(_, unmet)| unmet.holds()) {
            held.extend(self.suspects(path, unmet));
            next = Some(next.map_or(unmet.again_at, |at| at.min(unmet.again_at)));
        }
        for seqnum_id in std::mem::replace(&mut self.awaiting, held) {
            self.release(seqnum_id);
        }
        for seqnum_id in &self.awaiting {
            self.merge.hold(*seqnum_id);
        }
        if let Some(at) = next {
            self.wait_until(at);
        }
    }

    /// Goes to where reading begins in a file.
    fn seek(
        &mut self,
        reader: &mut Reader<File>,
        name: Name<'_>,
        books: &mut Books,
        now: (Instant, i64),
    ) -> Result<(), ReadError> {
        let header = *reader.header();
        let number = self.number_of(header.seqnum_id, header.machine_id, name, books, now.1);
        let Some(numbering) = number.and_then(|number| books.get(number)) else {
            // It was never read.
            reader.seek_head();
            return Ok(());
        };
        let cursor = place(header.seqnum_id, numbering.position, &numbering.mark);
        let position = numbering.position;
        let attempts = self.unmet.get(name.path).map_or(0, |unmet| unmet.attempts);
        let places = self.unmet.get(name.path).and_then(|unmet| unmet.places.as_ref());
        let before = places.and_then(|places| places.iter().find(|(id, ..)| *id == header.seqnum_id));
        // What the numbering was read over while the file could not be opened.
        let from = match before {
            Some((id, before, mark)) if *before < position => {
                let cursor = place(*id, *before, mark);
                reader.seek_after(&mut self.work, &cursor).ok().map(|()| reader.index())
            }
            _ => None,
        };
        let mut parts = 0;
        loop {
            match reader.seek_after(&mut self.work, &cursor) {
                // Some parts of it are not given: a place is found without them.
                Err(ReadError::Io(_))
                    if attempts.saturating_add(1) >= JOURNAL_READ_ATTEMPTS
                        && parts < SEEK_PARTS
                        && reader.give_up(&mut self.work) =>
                {
                    parts += 1;
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    let passed = from.map_or(0, |from| reader.index().saturating_sub(from));
                    self.note_late(passed, now.0);
                    return Ok(());
                }
            }
        }
    }

    /// The numbering that a file is read under; `None`: it was never read, and all of it is wanted.
    fn number_of(&mut self, id: Id, machine_id: Id, name: Name<'_>, books: &mut Books, now_ns: i64) -> Option<usize> {
        let source = &self.settings.name;
        if let Some(number) = books.find(source, id) {
            return Some(number);
        }
        if !name.is_first {
            return None;
        }
        // What other hosts send has times of its own.
        let is_local = !name.path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"remote"));
        let begin = match self.settings.imported.as_ref().filter(|_| is_local) {
            Some(cursor) => (cursor.seqnum.filter(|(its, _)| *its == id).map_or(0, |(_, n)| n + 1), Mark::of(cursor)),
            None => {
                let age_us = u64::try_from(self.settings.max_age.as_micros()).unwrap_or(u64::MAX);
                let now_us = u64::try_from(now_ns / 1000).unwrap_or_default();
                (0, Mark { realtime_us: now_us.saturating_sub(age_us), ..Mark::default() })
            }
        };
        let number = books.begin(source, id, machine_id, begin);
        books.define(number);
        Some(number)
    }

    /// A file that `journalctl` has to read. True if it was not known.
    fn meet_foreign(
        &mut self,
        (name, seen): (Name<'_>, Seen),
        (flags, ids): (u32, [Id; 3]),
        books: &mut Books,
        now: (Instant, i64),
    ) -> bool {
        let [file_id, seqnum_id, machine_id] = ids;
        let is_closed = name.kind != Kind::Active;
        self.foreign_names.insert(name.path.to_owned(), file_id);
        // Its numbers are a row of their own: what it has in common with other files is not known before it is read.
        books.take_up_file(&self.settings.name, file_id);
        let is_at_end = |number| books.get(number).is_some_and(|numbering| numbering.is_at_end());
        let is_read = || books.find(&self.settings.name, file_id).is_some_and(is_at_end) || seen.entries == 0;
        let is_known = self.foreign.iter().any(|foreign| foreign.file_id() == file_id);
        if self.finished.contains(&file_id) || (is_closed && !is_known && is_read()) {
            self.met(name.path);
            if is_closed {
                self.settled.insert(name.path.to_owned());
            }
            self.leave_path(name.path, file_id, now.0);
            return false;
        }
        let number = self.number_of(file_id, machine_id, name, books, now.1);
        if let Some(number) = number {
            books.set_of_file(number);
        }
        self.met(name.path);
        let begin = match number.and_then(|number| books.get(number)) {
            Some(numbering) => Begin { position: numbering.position, mark: numbering.mark },
            None => Begin { position: 1, mark: Mark::default() },
        };
        self.leave_path(name.path, file_id, now.0);
        if let Some(known) = self.foreign.iter_mut().find(|foreign| foreign.file_id() == file_id) {
            known.rename(name.path, is_closed, begin, now.0);
            known.see(seen, now.0);
            return false;
        }
        tracing::info!(
            source = %self.settings.name,
            "the journal file {} has format flags that are not known here ({flags:#x}): journalctl reads it",
            name.path.display()
        );
        let wake = self.wake.clone();
        self.foreign.push(Foreign::new(
            (name.path, seen),
            [file_id, seqnum_id, machine_id],
            is_closed,
            begin,
            (now.0, wake),
        ));
        false
    }
}

impl Source {
    /// A name leads to this file now, and to no other one that it led to before.
    fn leave_path(&mut self, path: &Path, file_id: Id, now: Instant) {
        let is_other = |foreign: &&mut Foreign| foreign.path() == path && foreign.file_id() != file_id;
        self.foreign.iter_mut().filter(is_other).for_each(|foreign| foreign.leave(now));
    }
}

/// What is at fault when a file cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It must not be read.
    Rights,
    /// The host: it will be possible.
    Host,
    /// The file, as far as one can tell.
    File,
}

impl Fault {
    fn of(error: &io::Error) -> Fault {
        use rustix::io::Errno;
        let host = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::INTR, Errno::AGAIN];
        match error.raw_os_error() {
            _ if error.kind() == io::ErrorKind::PermissionDenied => Fault::Rights,
            Some(number) if host.iter().any(|errno| errno.raw_os_error() == number) => Fault::Host,
            _ => Fault::File,
        }
    }
}

/// A name that could not be opened.
#[derive(Debug)]
pub(super) struct Unmet {
    attempts: u32,
    /// When it is tried again.
    pub(super) again_at: Instant,
    /// It was there when the source began.
    is_first: bool,
    fault: Fault,
    /// Who numbered its entries, if that is known.
    seqnum_id: Option<Id>,
    /// Numberings that it may be of, and how far they were read by then.
    places: Option<Vec<(Id, u64, Mark)>>,
}

impl Unmet {
    /// Whether others wait for it.
    pub(super) fn holds(&self) -> bool {
        match self.fault {
            Fault::Rights => false,
            Fault::Host => true,
            Fault::File => self.attempts < JOURNAL_OPEN_ATTEMPTS,
        }
    }
}

/// Behind what was read of a numbering.
fn place(seqnum_id: Id, position: u64, mark: &Mark) -> Cursor {
    match position.checked_sub(1) {
        Some(last) => Cursor { seqnum: Some((seqnum_id, last)), ..Cursor::default() },
        None => mark.by_time(),
    }
}

/// Parts of a file that are given up at most while a place in it is sought.
const SEEK_PARTS: u32 = 64;

/// Why a file or directory cannot be read, and what to do.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    if error.kind() == io::ErrorKind::PermissionDenied {
        return format!(
            "{path} must not be read: add the user that lugger runs as to the group systemd-journal (usermod --append --groups \
             systemd-journal USER, or SupplementaryGroups=systemd-journal in its unit) and restart it"
        );
    }
    format!("{path} cannot be read: {error}; it is tried again")
}
