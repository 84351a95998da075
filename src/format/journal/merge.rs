//! Entries of many journal files in one order, as libsystemd shows them.
//!
//! Promises: each file's entries come in its order, and none is left out: where the order of entries contradicts itself (a clock that was set), one
//! may come late. An entry that is in two files comes once, if the other file has it at its head as well, as copies have. Files may come and go at
//! any time; a file that is there already is not taken a second time, whatever its name. Leaves to others: which files there are.

use super::Work;
use super::bytes::Bytes;
use super::cursor::{Id, Location};
use super::fields::Fields;
use super::reader::{ReadError, Reader};

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

/// A set of files and the order of their entries.
#[derive(Debug)]
pub struct Merge<B> {
    readers: Vec<Reader<B>>,
    /// The file whose entry comes next is asked first; as long as it stays before this one's, nobody else has to be asked.
    rival: Option<Location>,
    /// The file of the entry that came last. Out of range: all files have to be asked.
    current: usize,
}

impl<B> Default for Merge<B> {
    fn default() -> Self {
        Merge { readers: Vec::new(), rival: None, current: usize::MAX }
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

    /// Looks which files have grown. Returns whether any has. One that cannot be looked at is named; the others have been looked at.
    pub fn refresh(&mut self, work: &mut Work) -> Result<bool, MergeError> {
        let mut grown = false;
        let mut failed = None;
        for reader in &mut self.readers {
            match reader.refresh(work) {
                Ok(more) => grown |= more,
                Err(error) => failed = Some(MergeError { file_id: reader.header().file_id, error }),
            }
        }
        self.current = usize::MAX;
        failed.map_or(Ok(grown), Err)
    }

    /// Where the next entry of all is; it stays the next one. `None` if every file has been read to its end. Errors as in [`Merge::next`].
    pub fn peek(&mut self, work: &mut Work) -> Result<Option<Location>, MergeError> {
        Ok(self.first(work)?.map(|(_, location)| location))
    }

    /// The next entry of all: its place, and its wanted fields in `fields`. `None` if every file has been read to its end. After an error
    /// nothing has moved: the file that is named has to be skipped over ([`Reader::skip`]), taken out, or tried again.
    pub fn next(&mut self, work: &mut Work, fields: &mut Fields) -> Result<Option<Location>, MergeError> {
        let Some((at, location)) = self.first(work)? else { return Ok(None) };
        let Some(reader) = self.readers.get_mut(at) else { return Ok(None) };
        if let Err(error) = reader.fields(work, fields) {
            return Err(MergeError { file_id: reader.header().file_id, error });
        }
        reader.advance();
        self.pass_copies(work, &location)?;
        Ok(Some(location))
    }

    /// The file whose entry comes next.
    fn first(&mut self, work: &mut Work) -> Result<Option<(usize, Location)>, MergeError> {
        if let Some(reader) = self.readers.get_mut(self.current) {
            let head = head(reader, work)?;
            if let Some(location) = head
                && self.rival.is_none_or(|rival| location.order(&rival).is_lt())
            {
                return Ok(Some((self.current, location)));
            }
        }
        let mut first: Option<(usize, Location)> = None;
        let mut second: Option<Location> = None;
        for (at, reader) in self.readers.iter_mut().enumerate() {
            let Some(location) = head(reader, work)? else { continue };
            match first {
                Some((_, best)) if !location.order(&best).is_lt() => {
                    if second.is_none_or(|second| location.order(&second).is_lt()) {
                        second = Some(location);
                    }
                }
                _ => {
                    second = first.map(|(_, best)| best);
                    first = Some((at, location));
                }
            }
        }
        self.rival = second;
        self.current = first.map_or(usize::MAX, |(at, _)| at);
        Ok(first)
    }

    /// Passes over what other files have of an entry that came.
    fn pass_copies(&mut self, work: &mut Work, location: &Location) -> Result<(), MergeError> {
        // A copy would be next to it in order.
        if !self.rival.is_some_and(|rival| rival.is_same(location)) {
            return Ok(());
        }
        for (at, reader) in self.readers.iter_mut().enumerate() {
            if at != self.current && head(reader, work)?.is_some_and(|head| head.is_same(location)) {
                reader.advance();
            }
        }
        self.current = usize::MAX;
        Ok(())
    }
}

fn head<B: Bytes>(reader: &mut Reader<B>, work: &mut Work) -> Result<Option<Location>, MergeError> {
    let file_id = reader.header().file_id;
    reader.head(work).map_err(|error| MergeError { file_id, error })
}
