//! How far entries have been read, handed on and stored, by who numbered them.
//!
//! Each journal file says who numbered its entries. Numbers of one giver, a **numbering**, ascend, whatever file entries go to: since systemd 254
//! it is one of a host and goes over all files; before that one of each user, over the files that follow each other, which take their numbers from
//! one row all the same, so that a numbering has gaps. A host begins another one now and then. So a numbering of a source has one cursor: the number
//! of the entry to go on with. What is remembered with it makes the times of entries a function of what is in the journal: those of the same
//! microsecond, which journald gives to all lines of one read, are told apart by nanoseconds, counted in the order of their numbers.
//!
//! A numbering that is not known has never been read, and is read from its beginning: clocks say nothing of what was read, for they may have been
//! set. Only what is there when a source starts for the first time is cut by time; then each numbering that is met gets a cursor at once, which says
//! from when on it is wanted, and it is written down that the source has begun, and which names could not be read by then: they are cut when they can.
//!
//! A file that `journalctl` reads has a numbering of its own, under the id of the file. It is taken up when the file is met, and left when the file is
//! gone, so that its cursor ages; and it says whether the file was complete and has been read to its end.
//!
//! Promises: a cursor moves only over what is stored, and never back. Leaves to others: reading.

use crate::base::limits::{JOURNAL_AWAITED, JOURNAL_NUMBERINGS};
use crate::format::journal::{Cursor, Id, Location};
use crate::model::flow::{Ledger, Receipt, StreamId};
use crate::source::stages::Strand;
use crate::store::checkpoint::{Checkpoints, Intent, SavedRef};
use foldhash::HashMap;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is known of the last entry before a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    pub realtime_us: u64,
    /// How many entries of that microsecond came before it.
    pub count: u32,
    pub boot_id: Id,
    pub monotonic_us: u64,
    pub xor_hash: u64,
}

/// Bytes of a mark in a checkpoint.
const MARK_BYTES: usize = 44;

impl Mark {
    /// Goes on to an entry. Gives its time, nanoseconds since 1970.
    pub(super) fn pass(&mut self, entry: &Location) -> i64 {
        let is_same = entry.realtime_us == self.realtime_us && entry.boot_id == self.boot_id;
        let count = if is_same { self.count.saturating_add(1) } else { 0 };
        let Location { realtime_us, boot_id, monotonic_us, xor_hash, .. } = *entry;
        *self = Mark { realtime_us, count, boot_id, monotonic_us, xor_hash };
        let ns = i64::try_from(realtime_us).unwrap_or(i64::MAX).saturating_mul(1000);
        ns.saturating_add(i64::from(count))
    }

    /// Its place for a file that has other numbers.
    pub(super) fn by_time(&self) -> Cursor {
        let boot = Some(self.boot_id).filter(|boot| *boot != Id::default());
        Cursor {
            seqnum: None,
            monotonic: boot.map(|boot| (boot, self.monotonic_us)),
            realtime_us: Some(self.realtime_us),
            xor_hash: Some(self.xor_hash).filter(|hash| *hash != 0),
        }
    }

    /// What a cursor says of its entry.
    pub(super) fn of(cursor: &Cursor) -> Mark {
        let (boot_id, monotonic_us) = cursor.monotonic.unwrap_or_default();
        let (realtime_us, xor_hash) = (cursor.realtime_us.unwrap_or_default(), cursor.xor_hash.unwrap_or_default());
        Mark { realtime_us, count: 0, boot_id, monotonic_us, xor_hash }
    }

    pub(super) fn encode(&self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        let parts: [&[u8]; 5] = [
            &self.realtime_us.to_le_bytes(),
            &self.count.to_le_bytes(),
            &self.boot_id.0,
            &self.monotonic_us.to_le_bytes(),
            &self.xor_hash.to_le_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Mark> {
        let (realtime, rest) = bytes.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (boot, rest) = rest.split_first_chunk::<16>()?;
        let (monotonic, rest) = rest.split_first_chunk::<8>()?;
        let xor = <[u8; 8]>::try_from(rest).ok()?;
        Some(Mark {
            realtime_us: u64::from_le_bytes(*realtime),
            count: u32::from_le_bytes(*count),
            boot_id: Id(*boot),
            monotonic_us: u64::from_le_bytes(*monotonic),
            xor_hash: u64::from_le_bytes(xor),
        })
    }
}

/// A place that the cursor may come to.
#[derive(Debug, Clone, Copy)]
struct Milestone {
    position: u64,
    mark: Mark,
    /// What was read up to there, bytes.
    bytes: u64,
}

/// A numbering that is that of one file.
#[derive(Debug, Clone, Copy)]
struct OfFile {
    /// The number behind its last entry, if it was complete when that was read.
    end: Option<u64>,
}

/// The host, and whose numbering it is.
fn decode_meta(meta: &[u8]) -> (Id, Option<OfFile>) {
    let Some((machine_id, rest)) = meta.split_first_chunk() else { return (Id::default(), None) };
    let end = rest.first_chunk().map(|end| u64::from_le_bytes(*end));
    (Id(*machine_id), end.map(|end| OfFile { end: Some(end).filter(|end| *end != u64::MAX) }))
}

/// One numbering of one source.
#[derive(Debug)]
pub(super) struct Numbering {
    /// The source's name.
    pub source: String,
    pub seqnum_id: Id,
    pub machine_id: Id,
    /// It is that of one file.
    file: Option<OfFile>,
    slot: Option<u32>,
    /// Receipts of an earlier one mean nothing any more.
    pub generation: u32,
    /// The number to be read next, and what is known of the entry before. 0: nothing was read; the mark says from when on it is wanted.
    pub position: u64,
    pub mark: Mark,
    /// Up to here receipts have been written, and what is known of the entry before.
    pub handed: u64,
    pub handed_mark: Mark,
    pub stored: u64,
    milestones: VecDeque<Milestone>,
    /// What was sent before and has to be sent as it was, ascending.
    pub replay: VecDeque<Intent>,
    /// A part of the first of them was read.
    pub in_replay: bool,
    /// Numbers up to this one that are missing have been counted; and the time of what is behind or was among them, microseconds since 1970.
    counted_to: u64,
    counted_us: u64,
    pub strand: Option<Box<Strand>>,
    /// Bytes of lines, read and stored.
    pub read_bytes: u64,
    stored_bytes: u64,
}

impl Numbering {
    fn new(source: &str, seqnum_id: Id, machine_id: Id, position: u64, mark: Mark) -> Numbering {
        Numbering {
            source: source.to_owned(),
            seqnum_id,
            machine_id,
            file: None,
            slot: None,
            generation: 0,
            position,
            mark,
            handed: position,
            handed_mark: mark,
            stored: position,
            milestones: VecDeque::new(),
            replay: VecDeque::new(),
            in_replay: false,
            counted_to: 0,
            counted_us: 0,
            strand: None,
            read_bytes: 0,
            stored_bytes: 0,
        }
    }

    /// What is remembered of it beside its place: the host, and that it is that of a file, with the place at its end.
    fn meta(&self) -> Vec<u8> {
        let mut meta = self.machine_id.0.to_vec();
        if let Some(OfFile { end }) = self.file {
            meta.extend_from_slice(&end.unwrap_or(u64::MAX).to_le_bytes());
        }
        meta
    }

    /// Whether its file was complete, and all of it is stored.
    pub(super) fn is_at_end(&self) -> bool {
        let is_behind = |end| self.stored >= end && self.position >= end;
        self.replay.is_empty() && self.file.and_then(|file| file.end).is_some_and(is_behind)
    }

    /// Numbers up to this one that are missing are counted from now on.
    pub(super) fn count_to(&mut self, number: u64, realtime_us: u64) {
        self.counted_to = self.counted_to.max(number);
        self.counted_us = self.counted_us.max(realtime_us);
    }

    /// Bytes of lines that were read and are not stored.
    pub(super) fn in_flight(&self) -> u64 {
        self.read_bytes.saturating_sub(self.stored_bytes)
    }

    /// Notes that the cursor may come to a place. Places ascend.
    pub(super) fn may_come_to(&mut self, position: u64, mark: Mark) {
        if self.milestones.back().is_none_or(|last| last.position < position) && position > self.stored {
            self.milestones.push_back(Milestone { position, mark, bytes: self.read_bytes });
        }
    }

    /// Everything before `position` is stored. Gives what is known of the entry before.
    fn store(&mut self, position: u64) -> Option<Mark> {
        if position <= self.stored {
            return None;
        }
        let mut found = None;
        while let Some(first) = self.milestones.front().filter(|first| first.position <= position) {
            found = Some(*first);
            self.milestones.pop_front();
        }
        let found = found.filter(|found| found.position == position)?;
        self.stored = position;
        self.stored_bytes = found.bytes;
        Some(found.mark)
    }
}

/// All numberings, and where their cursors are kept.
#[derive(Debug)]
pub(super) struct Books {
    all: Vec<Numbering>,
    /// Where those of an id are.
    by_id: HashMap<Id, Vec<usize>>,
    begun: Vec<Begun>,
    pub store: Checkpoints,
}

/// A source has begun.
#[derive(Debug)]
struct Begun {
    source: String,
    directory: Vec<u8>,
    /// What could not be read then, and still cannot: directories, and names of files up to their mark.
    awaited: BTreeSet<PathBuf>,
    /// Where that is written down.
    slot: u32,
}

impl Begun {
    /// The directory, and what is awaited, each behind a byte that paths do not have.
    fn encode(directory: &[u8], awaited: &BTreeSet<PathBuf>) -> Vec<u8> {
        let mut meta = directory.to_vec();
        for path in awaited {
            meta.push(0);
            meta.extend_from_slice(path.as_os_str().as_bytes());
        }
        meta
    }

    fn decode(meta: &[u8]) -> (Vec<u8>, BTreeSet<PathBuf>) {
        let mut parts = meta.split(|byte| *byte == 0);
        let directory = parts.next().unwrap_or_default().to_vec();
        (directory, parts.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect())
    }
}

/// In place of a numbering's id, which is never zero ([`crate::format::journal::Header`]): that a source has begun.
const BEGUN: Id = Id([0; 16]);

/// What every journal cursor's key begins with.
const PREFIX: &[u8] = b"journal\0";

fn encode_key(source: &str, seqnum_id: Id) -> Vec<u8> {
    [PREFIX, &seqnum_id.0, source.as_bytes()].concat()
}

/// What is written down of where a source has begun.
fn meta_of(path: Option<&Path>) -> Vec<u8> {
    path.map(|path| path.as_os_str().as_bytes().to_vec()).unwrap_or_default()
}

fn decode_key(key: &[u8]) -> Option<(&str, Id)> {
    let (id, name) = key.strip_prefix(PREFIX)?.split_first_chunk::<16>()?;
    Some((std::str::from_utf8(name).ok()?, Id(*id)))
}

impl Books {
    pub(super) fn new(store: Checkpoints) -> Books {
        Books { all: Vec::new(), by_id: HashMap::default(), begun: Vec::new(), store }
    }

    /// Takes up the cursors of a source that did not run before, but for those of files.
    pub(super) fn take_up(&mut self, source: &str) {
        let begun = self.take_up_some(source, None);
        if let Some((slot, meta)) = begun
            && self.store.claim(slot, &encode_key(source, BEGUN))
        {
            let (directory, awaited) = Begun::decode(&meta);
            self.begun.push(Begun { source: source.to_owned(), directory, awaited, slot });
        }
    }

    /// Takes up the cursor of a file that is there.
    pub(super) fn take_up_file(&mut self, source: &str, file_id: Id) {
        if self.find(source, file_id).is_none() {
            self.take_up_some(source, Some(file_id));
        }
    }

    /// Takes up the cursors of a source, or that of a file. Gives what is written down of where the source has begun, and where that is.
    fn take_up_some(&mut self, source: &str, file_id: Option<Id>) -> Option<(u32, Vec<u8>)> {
        let (mut found, mut begun) = (Vec::new(), None);
        self.store.for_each_saved(PREFIX, |saved: SavedRef<'_>| {
            let Some((_, id)) = decode_key(saved.key).filter(|(name, _)| *name == source) else { return };
            if id == BEGUN {
                begun = Some((saved.slot, saved.meta.to_vec()));
                return;
            }
            let (machine_id, file) = decode_meta(saved.meta);
            if file.map(|_| id) == file_id {
                let mark = Mark::decode(saved.mark).unwrap_or_default();
                let mut numbering = Numbering::new(source, id, machine_id, saved.position, mark);
                (numbering.slot, numbering.replay, numbering.file) = (Some(saved.slot), saved.intents.clone(), file);
                found.push(numbering);
            }
        });
        for numbering in found {
            let (slot, id) = (numbering.slot.unwrap_or_default(), numbering.seqnum_id);
            if self.find(source, id).is_none() && self.store.claim(slot, &encode_key(source, id)) {
                self.put(numbering);
            }
        }
        begun
    }

    /// The numbering is that of one file.
    pub(super) fn set_of_file(&mut self, number: usize) {
        let Some(numbering) = self.all.get_mut(number).filter(|numbering| numbering.file.is_none()) else { return };
        numbering.file = Some(OfFile { end: None });
        if let Some(slot) = numbering.slot {
            self.store.renew(slot, &encode_key(&numbering.source, numbering.seqnum_id), &numbering.meta());
        }
    }

    /// A file was complete and has been read to its end.
    pub(super) fn end_file(&mut self, source: &str, file_id: Id) {
        let number = self.find(source, file_id);
        let Some(numbering) = number.and_then(|number| self.all.get_mut(number)) else { return };
        numbering.file = Some(OfFile { end: Some(numbering.position) });
        if let Some(slot) = numbering.slot {
            self.store.renew(slot, &encode_key(source, file_id), &numbering.meta());
        }
    }

    /// Leaves the cursors of files that are not there any more and of which nothing is under way: they age.
    pub(super) fn leave_files(&mut self, source: &str, is_there: impl Fn(Id) -> bool) {
        for at in 0..self.all.len() {
            let Some(numbering) = self.all.get_mut(at).filter(|n| n.source == source && n.file.is_some()) else {
                continue;
            };
            let is_held = numbering.strand.as_ref().is_some_and(|strand| strand.is_holding());
            let is_idle = numbering.milestones.is_empty() && numbering.position == numbering.handed && !is_held;
            if is_idle && !is_there(numbering.seqnum_id) {
                if let Some(slot) = numbering.slot.take() {
                    self.store.unclaim(slot);
                }
                self.take_out(at);
            }
        }
    }

    /// What could not be read when a source began in a directory, and still cannot; `None`: it has not begun there.
    pub(super) fn awaited(&self, source: &str, path: Option<&Path>) -> Option<&BTreeSet<PathBuf>> {
        let directory = meta_of(path);
        self.begun
            .iter()
            .find(|begun| begun.source == source && begun.directory == directory)
            .map(|begun| &begun.awaited)
    }

    /// From now on it has begun, but for what is awaited.
    pub(super) fn set_begun(&mut self, source: &str, path: Option<&Path>, mut awaited: BTreeSet<PathBuf>) {
        if awaited.len() > JOURNAL_AWAITED {
            awaited = awaited.iter().filter_map(|path| path.parent()).map(Path::to_owned).collect();
        }
        let (key, directory) = (encode_key(source, BEGUN), meta_of(path));
        match self.begun.iter_mut().find(|begun| begun.source == source) {
            Some(begun) if begun.directory == directory && begun.awaited == awaited => {}
            Some(begun) => {
                self.store.renew(begun.slot, &key, &Begun::encode(&directory, &awaited));
                (begun.directory, begun.awaited) = (directory, awaited);
            }
            None => {
                let slot = self.store.define(&key, &Begun::encode(&directory, &awaited), 0, &[]);
                self.begun.push(Begun { source: source.to_owned(), directory, awaited, slot });
            }
        }
    }

    /// Keeps a numbering in a place that is free. Gives the place.
    fn put(&mut self, numbering: Numbering) -> usize {
        let id = numbering.seqnum_id;
        let at = match self.all.iter_mut().enumerate().find(|(_, n)| n.source.is_empty()) {
            Some((at, free)) => {
                *free = Numbering { generation: free.generation.wrapping_add(1), ..numbering };
                at
            }
            None => {
                self.all.push(numbering);
                self.all.len() - 1
            }
        };
        self.by_id.entry(id).or_default().push(at);
        at
    }

    /// A place becomes free.
    fn take_out(&mut self, at: usize) {
        let Some(numbering) = self.all.get_mut(at) else { return };
        numbering.generation = numbering.generation.wrapping_add(1);
        // Its place stays, so that the others keep theirs; receipts under way find another generation.
        numbering.source.clear();
        numbering.milestones.clear();
        numbering.strand = None;
        if let Some(places) = self.by_id.get_mut(&numbering.seqnum_id) {
            places.retain(|place| *place != at);
            if places.is_empty() {
                self.by_id.remove(&numbering.seqnum_id);
            }
        }
    }

    /// The source does not run any more: its cursors stay, for when it does again.
    pub(super) fn leave(&mut self, source: &str) {
        for at in 0..self.all.len() {
            let Some(numbering) = self.all.get_mut(at).filter(|numbering| numbering.source == source) else { continue };
            if let Some(slot) = numbering.slot.take() {
                self.store.unclaim(slot);
            }
            self.take_out(at);
        }
        for begun in self.begun.extract_if(.., |begun| begun.source == source) {
            self.store.unclaim(begun.slot);
        }
    }

    /// The source reads again what is not stored, with the intents that are written down.
    pub(super) fn rewind(&mut self, source: &str) {
        for numbering in self.all.iter_mut().filter(|numbering| numbering.source == source) {
            numbering.generation = numbering.generation.wrapping_add(1);
            numbering.milestones.clear();
            numbering.strand = None;
            numbering.in_replay = false;
            let saved = numbering.slot.and_then(|slot| self.store.look(slot));
            if let Some(saved) = saved {
                numbering.stored = saved.position;
                numbering.mark = Mark::decode(&saved.mark).unwrap_or_default();
                numbering.replay = saved.intents;
            } else {
                // Nothing was handed on; what it began with is what its first entry is counted from.
                numbering.stored = numbering.handed;
                numbering.mark = numbering.handed_mark;
            }
            (numbering.position, numbering.handed) = (numbering.stored, numbering.stored);
            numbering.handed_mark = numbering.mark;
            numbering.stored_bytes = numbering.read_bytes;
        }
    }

    /// What its pipeline remembers is forgotten; the streams are given to `release`.
    pub(super) fn forget_strands(&mut self, source: &str, mut release: impl FnMut(StreamId)) {
        for numbering in self.all.iter_mut().filter(|numbering| numbering.source == source) {
            if let Some(mut strand) = numbering.strand.take() {
                strand.forget_streams(&mut release);
            }
        }
    }

    pub(super) fn find(&self, source: &str, seqnum_id: Id) -> Option<usize> {
        let places = self.by_id.get(&seqnum_id)?;
        places.iter().copied().find(|at| self.all.get(*at).is_some_and(|numbering| numbering.source == source))
    }

    pub(super) fn get(&self, number: usize) -> Option<&Numbering> {
        self.all.get(number)
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Numbering> {
        self.all.get_mut(number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Numbering)> {
        self.all.iter().enumerate().filter(|(_, numbering)| !numbering.source.is_empty())
    }

    /// The highest number that was read of the host of a numbering, or is known to be missing, whoever gave it, since the numbering was read last
    /// and up to an entry of it. Those of earlier lives of the host say nothing: its numbers may have begun anew.
    pub(super) fn highest(&self, number: usize, entry: &Location) -> u64 {
        let Some(own) = self.get(number) else { return 0 };
        let mark = own.mark;
        let its = |n: &&Numbering| n.source == own.source && n.machine_id == own.machine_id && n.file.is_none();
        let highest = |n: &Numbering| {
            let is_own = n.seqnum_id == own.seqnum_id;
            let is_later = match n.mark.boot_id == mark.boot_id {
                true => n.mark.monotonic_us >= mark.monotonic_us,
                // The clock may be behind in the boot that is the entry's.
                false => n.mark.boot_id == entry.boot_id || n.mark.realtime_us >= mark.realtime_us,
            };
            let read = if is_own || is_later { n.position.saturating_sub(1) } else { 0 };
            let counted = if is_own || n.counted_us >= mark.realtime_us { n.counted_to } else { 0 };
            read.max(counted)
        };
        self.iter().map(|(_, n)| n).filter(its).map(highest).max().unwrap_or_default()
    }

    /// Whether a source reads anything again that was sent before a crash.
    pub(super) fn is_replaying(&self, source: &str) -> bool {
        self.iter().any(|(_, n)| n.source == source && !n.replay.is_empty())
    }

    /// A numbering that was not met before, from this number on; from 0 on: of what is newer than the mark.
    pub(super) fn begin(
        &mut self,
        source: &str,
        seqnum_id: Id,
        machine_id: Id,
        (position, mark): (u64, Mark),
    ) -> usize {
        let its = || self.iter().filter(|(_, n)| n.source == source);
        if its().count() >= JOURNAL_NUMBERINGS {
            let idle = its().filter(|(_, n)| n.milestones.is_empty() && n.replay.is_empty() && n.strand.is_none());
            let oldest = idle.min_by_key(|(_, n)| n.mark.realtime_us).map(|(at, _)| at);
            if let Some(at) = oldest {
                if let Some(slot) = self.all.get_mut(at).and_then(|old| old.slot.take()) {
                    self.store.forget(slot);
                }
                self.take_out(at);
            }
        }
        self.put(Numbering::new(source, seqnum_id, machine_id, position, mark))
    }

    /// What is handed on next has a cursor.
    pub(super) fn define(&mut self, number: usize) {
        let Some(numbering) = self.all.get_mut(number).filter(|numbering| numbering.slot.is_none()) else { return };
        let key = encode_key(&numbering.source, numbering.seqnum_id);
        let mark = numbering.handed_mark.encode();
        numbering.slot = Some(self.store.define(&key, &numbering.meta(), numbering.handed, &mark));
    }
}

impl Ledger for Books {
    fn intend(&mut self, receipts: &[Receipt]) {
        let all = &self.all;
        self.store.intend(receipts.iter().filter(|r| r.lines > 0 || r.note.released).filter_map(|r| {
            let numbering = all.get(r.cursor as usize).filter(|n| n.generation == r.generation)?;
            let Receipt { start, end, time_ns, merged, note, .. } = *r;
            Some((numbering.slot?, Intent { start, end, time_ns, merged, note }))
        }));
    }

    fn commit(&mut self, receipts: &[Receipt]) {
        let mut moves = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            let numbering = self.all.get_mut(receipt.cursor as usize).filter(|n| n.generation == receipt.generation);
            let Some(numbering) = numbering else { continue };
            if let Some(mark) = numbering.store(receipt.safe)
                && let Some(slot) = numbering.slot
            {
                moves.push((slot, receipt.safe, mark.encode()));
            }
        }
        self.store.commit(moves.iter().map(|(slot, position, mark)| (*slot, *position, mark.as_slice())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(realtime_us: u64) -> Location {
        let (seqnum_id, boot_id) = (Id([1; 16]), Id([2; 16]));
        Location { seqnum_id, seqnum: 1, boot_id, monotonic_us: 5, realtime_us, xor_hash: 9 }
    }

    #[test]
    fn entries_of_a_microsecond_have_times_of_their_own() {
        let mut mark = Mark::default();
        let times: Vec<i64> = [7, 7, 7, 8, 7].map(|us| mark.pass(&entry(us))).to_vec();
        assert_eq!(times, [7000, 7001, 7002, 8000, 7000]);
        // Also where it was stopped in their midst.
        let mut again = Mark::default();
        again.pass(&entry(7));
        again.pass(&entry(7));
        let mut decoded = Mark::decode(&again.encode()).unwrap();
        assert_eq!((decoded, decoded.pass(&entry(7))), (again, 7002));
        assert_eq!(Mark::decode(&[0; 3]), None);
        assert_eq!(Mark::default().pass(&entry(u64::MAX)), i64::MAX);
    }

    #[test]
    fn keys() {
        let key = encode_key("a source", Id([3; 16]));
        assert_eq!(decode_key(&key), Some(("a source", Id([3; 16]))));
        assert_eq!(decode_key(b"file\0aaaaaaaaaaaaaaaaaaaaaaaa"), None);
    }

    #[test]
    fn what_is_remembered_of_a_file() {
        let mut numbering = Numbering::new("s", Id([1; 16]), Id([2; 16]), 10, Mark::default());
        let decoded = |numbering: &Numbering| {
            let (machine_id, file) = decode_meta(&numbering.meta());
            assert_eq!(machine_id, Id([2; 16]));
            file.map(|file| file.end)
        };
        assert_eq!((decoded(&numbering), numbering.is_at_end()), (None, false));
        for (end, is_at_end) in [(None, false), (Some(11), false), (Some(10), true)] {
            numbering.file = Some(OfFile { end });
            assert_eq!((decoded(&numbering), numbering.is_at_end()), (Some(end), is_at_end));
        }
        assert!(decode_meta(&[]).1.is_none());
    }

    /// The cursor of a file that is gone is left to age, and taken up when the file is there again.
    #[test]
    fn cursors_of_files_are_taken_up_with_them() {
        let directory = tempfile::tempdir().unwrap();
        let open = || {
            let registry = crate::base::metrics::Registry::default();
            Books::new(Checkpoints::open(directory.path(), crate::base::clock::Clock::System, &registry).unwrap())
        };
        let (plain, file) = (Id([1; 16]), Id([2; 16]));
        let mut books = open();
        for id in [plain, file] {
            let number = books.begin("s", id, Id([3; 16]), (5, Mark::default()));
            if id == file {
                books.set_of_file(number);
            }
            books.define(number);
        }
        books.end_file("s", file);
        let known = |books: &Books| [plain, file].map(|id| books.find("s", id).is_some());
        books.leave_files("s", |id| id == file);
        assert_eq!(known(&books), [true, true]);
        books.leave_files("s", |_| false);
        assert_eq!(known(&books), [true, false]);
        books.store.close();
        drop(books);
        let mut books = open();
        books.take_up("s");
        assert_eq!(known(&books), [true, false]);
        books.take_up_file("s", file);
        let taken = books.find("s", file).and_then(|number| books.get(number)).unwrap();
        assert_eq!((taken.position, taken.machine_id, taken.is_at_end()), (5, Id([3; 16]), true));
    }

    #[test]
    fn what_is_awaited() {
        for awaited in [&[][..], &["/a/system"], &["/a", "/b/user-1000"]] {
            let awaited: BTreeSet<PathBuf> = awaited.iter().map(PathBuf::from).collect();
            for directory in [&b""[..], b"/var/log/journal"] {
                let meta = Begun::encode(directory, &awaited);
                assert_eq!(Begun::decode(&meta), (directory.to_vec(), awaited.clone()));
            }
        }
    }

    #[test]
    fn only_noted_places_are_stored() {
        let mut numbering = Numbering::new("s", Id([1; 16]), Id([2; 16]), 10, Mark::default());
        let at = |realtime_us| Mark { realtime_us, ..Mark::default() };
        for position in [12, 15, 20] {
            numbering.read_bytes += 100;
            numbering.may_come_to(position, at(position));
        }
        assert_eq!(numbering.store(10), None);
        assert_eq!(numbering.store(15), Some(at(15)));
        assert_eq!((numbering.stored, numbering.in_flight()), (15, 100));
        assert_eq!(numbering.store(12), None, "never back");
        assert_eq!(numbering.store(20), Some(at(20)));
    }
}
