//! Entries of many journal files in one order, as libsystemd shows them.
//!
//! Promises: each file's entries come in its order, and none is left out; entries of one numbering (that have the same giver of numbers) come in the
//! order of their numbers, whatever clocks say. An entry that is in two files comes once, if the other file has it at its head as well, as copies have. Files may come and go at
//! any time; a file that is there already is not taken a second time, whatever its name. Leaves to others: which files there are.

use super::Work;
use super::bytes::Bytes;
use super::cursor::{Id, Location};
use super::fields::Fields;
use super::reader::{ReadError, Reader};
use foldhash::HashMap;

/// A file cannot be read on.
#[derive(Debug, thiserror::Error)]
#[error("journal file {file_id} {error}")]
pub struct MergeError {
    /// The file.
    pub file_id: Id,
    /// What is wrong.
    #[source]
    pub error: ReadError,
}

/// The lowest entry of a numbering.
#[derive(Debug, Clone, Copy)]
struct Lowest {
    /// Its file.
    at: usize,
    location: Location,
    /// The next number that another file has of it.
    next: u64,
}

/// A set of files and the order of their entries.
#[derive(Debug)]
pub struct Merge<B> {
    readers: Vec<Reader<B>>,
    /// The file whose entry comes next is asked first; as long as it stays before this one's, nobody else has to be asked.
    rival: Option<Location>,
    /// And as long as it has lower numbers than this, which another file of its numbering has.
    rival_number: u64,
    /// The file of the entry that came last. Out of range: all files have to be asked.
    current: usize,
    /// Numberings whose entries do not come for now.
    held: Vec<Id>,
    /// Recycled: the lowest entry of each numbering, and where it is in that list.
    lowest: Vec<Lowest>,
    places: HashMap<Id, usize>,
}

impl<B> Default for Merge<B> {
    fn default() -> Self {
        Merge {
            readers: Vec::new(),
            rival: None,
            rival_number: u64::MAX,
            current: usize::MAX,
            held: Vec::new(),
            lowest: Vec::new(),
            places: HashMap::default(),
        }
    }
}

impl<B: Bytes> Merge<B> {
    /// Takes a file in, at the place where it is. False, and nothing is taken in, if the set has it already.
    pub fn add(&mut self, reader: Reader<B>) -> bool {
        if self.get(reader.header().file_id).is_some() {
            return false;
        }
        self.readers.push(reader);
        self.current = usize::MAX;
        true
    }

    /// Takes a file out.
    pub fn remove(&mut self, file_id: Id) -> Option<Reader<B>> {
        let at = self.readers.iter().position(|reader| reader.header().file_id == file_id)?;
        self.current = usize::MAX;
        Some(self.readers.remove(at))
    }

    /// A file of the set.
    pub fn get(&self, file_id: Id) -> Option<&Reader<B>> {
        self.readers.iter().find(|reader| reader.header().file_id == file_id)
    }

    /// A file of the set, to change its place.
    pub fn get_mut(&mut self, file_id: Id) -> Option<&mut Reader<B>> {
        self.current = usize::MAX;
        self.readers.iter_mut().find(|reader| reader.header().file_id == file_id)
    }

    /// All files of the set.
    pub fn readers(&self) -> impl Iterator<Item = &Reader<B>> {
        self.readers.iter()
    }

    /// The file of the entry that [`Merge::peek`] has shown.
    pub fn shown(&self) -> Option<&Reader<B>> {
        self.readers.get(self.current)
    }

    /// Entries of a numbering do not come, until [`Merge::let_go`].
    pub fn hold(&mut self, seqnum_id: Id) {
        if !self.held.contains(&seqnum_id) {
            self.held.push(seqnum_id);
        }
        self.current = usize::MAX;
    }

    /// Entries of a numbering come again.
    pub fn let_go(&mut self, seqnum_id: Id) {
        self.held.retain(|held| *held != seqnum_id);
        self.current = usize::MAX;
    }

    /// Notes of each file whether anything may be written to it from now on ([`Reader::note_closed`]).
    pub fn note_closed(&mut self) {
        self.readers.iter_mut().for_each(Reader::note_closed);
    }

    /// Looks which files have grown. Returns whether any has. One that cannot be looked at is named; the others have been looked at.
    pub fn refresh(&mut self, work: &mut Work) -> Result<bool, MergeError> {
        let mut failed = Vec::new();
        let grown = self.refresh_some(work, |_| true, &mut failed);
        failed.pop().map_or(Ok(grown), Err)
    }

    /// The same, for those files that are `due`. What cannot be looked at is put into `failed`.
    pub fn refresh_some(
        &mut self,
        work: &mut Work,
        due: impl Fn(&Reader<B>) -> bool,
        failed: &mut Vec<MergeError>,
    ) -> bool {
        let mut grown = false;
        for reader in self.readers.iter_mut().filter(|reader| due(reader)) {
            match reader.refresh(work) {
                Ok(more) => grown |= more,
                Err(error) => failed.push(MergeError { file_id: reader.header().file_id, error }),
            }
        }
        self.current = usize::MAX;
        grown
    }

    /// Where the next entry of all is; it stays the next one. `None` if every file has been read to its end. Errors as in [`Merge::next`].
    pub fn peek(&mut self, work: &mut Work) -> Result<Option<Location>, MergeError> {
        Ok(self.first(work)?.map(|(_, location)| location))
    }

    /// The next entry of all: its place, and its wanted fields in `fields`. `None` if every file has been read to its end. After an error
    /// nothing has moved: of the file that is named a part has to be given up ([`Reader::give_up`]), or it has to be taken out, or tried again.
    pub fn next(&mut self, work: &mut Work, fields: &mut Fields) -> Result<Option<Location>, MergeError> {
        let Some((at, location)) = self.first(work)? else { return Ok(None) };
        let Some(reader) = self.readers.get_mut(at) else { return Ok(None) };
        if let Err(error) = reader.fields(work, fields) {
            return Err(MergeError { file_id: reader.header().file_id, error });
        }
        reader.advance();
        self.pass_copies(work, &location);
        Ok(Some(location))
    }

    /// The file whose entry comes next.
    fn first(&mut self, work: &mut Work) -> Result<Option<(usize, Location)>, MergeError> {
        if let Some(reader) = self.readers.get_mut(self.current) {
            let head = head(reader, work)?;
            if let Some(location) = head
                && location.seqnum < self.rival_number
                && self.rival.is_none_or(|rival| location.order(&rival).is_lt())
            {
                return Ok(Some((self.current, location)));
            }
        }
        self.lowest.clear();
        self.places.clear();
        for (at, reader) in self.readers.iter_mut().enumerate() {
            if reader.is_at_end() || (!self.held.is_empty() && self.held.contains(&reader.header().seqnum_id)) {
                continue;
            }
            let Some(location) = head(reader, work)? else { continue };
            let place = *self.places.entry(location.seqnum_id).or_insert(self.lowest.len());
            match self.lowest.get_mut(place) {
                None => self.lowest.push(Lowest { at, location, next: u64::MAX }),
                Some(lowest) if location.seqnum < lowest.location.seqnum => {
                    *lowest = Lowest { at, location, next: lowest.location.seqnum };
                }
                Some(lowest) => lowest.next = lowest.next.min(location.seqnum),
            }
        }
        // Among numberings the order may go in a circle; any of them may come first then.
        let mut first: Option<&Lowest> = None;
        let mut second: Option<Location> = None;
        for lowest in &self.lowest {
            match first {
                Some(best) if !lowest.location.order(&best.location).is_lt() => {
                    if second.is_none_or(|second| lowest.location.order(&second).is_lt()) {
                        second = Some(lowest.location);
                    }
                }
                _ => {
                    second = first.map(|best| best.location);
                    first = Some(lowest);
                }
            }
        }
        self.rival = second;
        self.rival_number = first.map_or(u64::MAX, |first| first.next);
        self.current = first.map_or(usize::MAX, |first| first.at);
        Ok(first.map(|first| (first.at, first.location)))
    }

    /// Passes over what other files have of an entry that came. One that cannot be read is left: what it has is seen later.
    fn pass_copies(&mut self, work: &mut Work, location: &Location) {
        // A copy would be next to it in order.
        if self.rival_number > location.seqnum && !self.rival.is_some_and(|rival| rival.is_same(location)) {
            return;
        }
        for (at, reader) in self.readers.iter_mut().enumerate() {
            let is_copy = |head: Option<Location>| head.is_some_and(|head| head.is_same(location));
            if at != self.current && !reader.is_at_end() && head(reader, work).is_ok_and(is_copy) {
                reader.advance();
            }
        }
        self.current = usize::MAX;
    }
}

fn head<B: Bytes>(reader: &mut Reader<B>, work: &mut Work) -> Result<Option<Location>, MergeError> {
    let file_id = reader.header().file_id;
    reader.head(work).map_err(|error| MergeError { file_id, error })
}
