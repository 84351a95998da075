//! Reads the entries of one journal file, in order, also while it is being written.
//!
//! Promises: an entry comes once, in the order of the file, when it is complete. What is damaged is passed over and counted. Where the chain of
//! entry arrays is broken, the objects of the file are walked, one after the other, and where that ends at damage as well, the next entry is
//! searched behind it. The numbers of entries ascend: where two do not, those around them say which is wrong, and its entry is passed over; what the
//! header says of numbers is believed only where no entry speaks against it. Leaves to others: knowing when to look again ([`Reader::refresh`]), and other files (`merge`).

use super::Work;
use super::bytes::{Bytes, fill};
use super::cursor::Location;
use super::fields::Fields;
use super::header::{HEADER_BYTES, Header, OpenError, State};
use super::object::{
    ARRAY_BYTES, ArrayHead, Coding, DataHead, ENTRY_BYTES, EntryHead, HEAD_BYTES, Head, array_item_bytes, check_offset,
    data_bytes, items, u32_at, u64_at,
};
use super::pages::Fault;
use super::payload::Extent;
use super::shared::Known;
use crate::base::limits::{
    JOURNALD_ARRAYS, JOURNALD_BLOCK_BYTES, JOURNALD_ENTRY_WORK_BYTES, JOURNALD_FIELD_BYTES, JOURNALD_NAME_BYTES,
    JOURNALD_PAGE_BYTES, JOURNALD_SCAN_BYTES, JOURNALD_SHARED_ENTRIES, JOURNALD_WINDOW_BYTES,
};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a file cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system could not read. The place has not changed: try again, or [`Reader::give_up`].
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Its header is none any more.
    #[error("was readable and now {0}")]
    Header(OpenError),
    /// Journald has emptied it, to make room: it does so with each file that it removes, so that holding a file open keeps nothing.
    #[error("was removed by journald to make room; {unread} entries that were seen in it had not been read")]
    Erased {
        /// Entries that were there when the file was looked at last, and have not been read. Later ones are not known.
        unread: u64,
    },
    /// Another file has been written over it.
    #[error("was overwritten with another journal file")]
    Replaced,
}

/// What was passed over because it is damaged, since the file was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Damage {
    /// Entries that cannot be read.
    pub entries: u64,
    /// The same, in a file of which the system does not give all.
    pub unreadable: u64,
    /// Fields of entries that cannot be read; the entries came without them.
    pub fields: u64,
    /// Fields that are larger than the bounds: they came cut, or not at all if their compression needs too much memory.
    pub cut: u64,
}

/// An entry array and which entries it lists.
#[derive(Debug, Clone, Copy)]
struct Array {
    offset: u64,
    /// Index of its first entry.
    first: u64,
    items: u64,
}

/// A walk from object to object.
#[derive(Debug, Clone, Copy)]
struct Walk {
    /// Where the next object begins.
    at: u64,
    /// Whether it may begin there or anywhere behind it.
    lost: bool,
}

/// The entry that comes next.
#[derive(Debug, Clone, Copy)]
struct Found {
    entry: EntryHead,
    offset: u64,
}

/// One file. It holds little; what is large is in [`Work`], which all readers share.
#[derive(Debug)]
pub struct Reader<B> {
    /// Tells its pages and data from those of other files.
    id: u64,
    bytes: B,
    pub(super) header: Header,
    /// Where the last object begins; 0 if that is not known.
    last_object: u64,
    /// Bytes of the file.
    len: u64,
    arrays: Vec<Array>,
    /// The entry that comes next is this one of the file.
    index: u64,
    /// Where the last entry was that came; those behind it lie behind it.
    last: u64,
    /// Where the objects are walked, if they have to be.
    walk: Option<Walk>,
    found: Option<Found>,
    /// Number of the entry that came last; 0 if none has come since a place was sought.
    last_number: u64,
    /// An entry whose number is above what the header says, and how often the file had been looked at by then: the header may have been read a
    /// moment too early.
    doubt: Option<(u64, u64)>,
    looks: u64,
    /// Parts of it were given up.
    has_holes: bool,
    /// The caller knows that nobody writes it.
    closed: bool,
    /// Nothing was to be written to it any more at [`Reader::note_closed`].
    was_closed: bool,
    damage: Damage,
}

/// The readers' numbers; 0 is none.
static READERS: AtomicU64 = AtomicU64::new(1);

impl<B: Bytes> Reader<B> {
    /// Reads the header. The first entry comes first.
    pub fn open(bytes: B) -> Result<Reader<B>, OpenError> {
        let (header, last_object, len) = read_header(&bytes)?;
        Ok(Reader {
            id: READERS.fetch_add(1, Ordering::Relaxed),
            bytes,
            header,
            last_object,
            len,
            arrays: Vec::new(),
            index: 0,
            last: 0,
            walk: None,
            found: None,
            last_number: 0,
            doubt: None,
            looks: 0,
            has_holes: false,
            closed: false,
            was_closed: false,
            damage: Damage::default(),
        })
    }

    /// The header, as it was read last.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where the bytes come from.
    pub fn bytes(&self) -> &B {
        &self.bytes
    }

    /// What was passed over.
    pub fn damage(&self) -> Damage {
        self.damage
    }

    /// Whether everything has been read that will ever be there.
    pub fn is_finished(&self) -> bool {
        (self.closed || self.header.state == State::Archived) && self.is_at_end()
    }

    /// Whether everything has been read that was there when the file was looked at.
    pub fn is_at_end(&self) -> bool {
        self.found.is_none() && self.index >= self.header.entries
    }

    /// The number of the entry in the file that comes next, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Nobody writes the file, whatever its header says.
    pub fn set_closed(&mut self) {
        self.closed = true;
    }

    /// Notes whether anything may be written to it from now on.
    pub fn note_closed(&mut self) {
        self.was_closed = self.is_closed();
    }

    /// Whether all of it was there at [`Reader::note_closed`].
    pub fn was_closed(&self) -> bool {
        self.was_closed
    }

    /// Whether nothing more will be written to it.
    pub fn is_closed(&self) -> bool {
        self.closed || self.header.state == State::Archived
    }

    /// Looks whether the file has grown. Entries come only after this. Returns whether there are more of them.
    pub fn refresh(&mut self, work: &mut Work) -> Result<bool, ReadError> {
        let (header, last_object, len) = read_header(&self.bytes).map_err(|error| match error {
            OpenError::Io(error) => ReadError::Io(error),
            OpenError::Unfinished => self.erased(),
            error => ReadError::Header(error),
        })?;
        if header.file_id != self.header.file_id {
            return Err(ReadError::Replaced);
        }
        let grown = header.entries > self.header.entries;
        if header != self.header {
            // Pages may be from before.
            work.pages.forget(self.id);
        }
        (self.header, self.last_object, self.len) = (header, last_object, len);
        self.looks += 1;
        Ok(grown)
    }

    /// Where the entry is that comes next; `None` if there is none (yet).
    pub fn head(&mut self, work: &mut Work) -> Result<Option<Location>, ReadError> {
        while self.found.is_none() && self.index < self.header.entries {
            match self.find(work) {
                Ok(found) if found.is_none() && self.index < self.header.entries => return Ok(None),
                Ok(found) => self.found = found,
                // Journald may have emptied it since it was looked at.
                Err(Fault::Damaged) if self.is_erased() => return Err(self.erased()),
                Err(Fault::Damaged) => self.pass_over(),
                Err(Fault::Io(error)) => return Err(error.into()),
            }
        }
        Ok(self.found.map(|found| found.entry.location))
    }

    /// Puts the wanted fields of the entry that comes next into `fields`: none if [`Reader::head`] has not found one. The
    /// entry stays the next one.
    pub fn fields(&mut self, work: &mut Work, fields: &mut Fields) -> Result<(), ReadError> {
        fields.clear();
        let Some(found) = self.found else { return Ok(()) };
        let before = self.damage;
        match self.list(work, found) {
            Ok(()) => {}
            Err(Fault::Damaged) => self.damage.fields += 1,
            Err(Fault::Io(error)) => return Err(error.into()),
        }
        work.spent = 0;
        let offsets = std::mem::take(&mut work.items);
        let mut result = Ok(());
        for offset in &offsets {
            match self.field(work, *offset, fields) {
                Ok(Extent::Whole) => {}
                Ok(Extent::Cut | Extent::TooLarge) => self.damage.cut += 1,
                Err(Fault::Damaged) => self.damage.fields += 1,
                Err(Fault::Io(error)) => {
                    // They will be met again.
                    self.damage = before;
                    result = Err(error.into());
                    break;
                }
            }
        }
        work.items = offsets;
        if self.damage.fields > before.fields && self.is_erased() {
            self.damage = before;
            return Err(self.erased());
        }
        result
    }

    /// Goes on to the entry behind the one that [`Reader::head`] has found.
    pub fn advance(&mut self) {
        if let Some(found) = self.found.take() {
            self.last = found.offset;
            self.last_number = found.entry.location.seqnum;
            self.index += 1;
        }
    }

    /// The next entry: its place, and its wanted fields in `fields`.
    pub fn next(&mut self, work: &mut Work, fields: &mut Fields) -> Result<Option<Location>, ReadError> {
        let head = self.head(work)?;
        self.fields(work, fields)?;
        self.advance();
        Ok(head)
    }

    /// Gives up the part of the file that the system did not give last: what lies in it is damaged from now on, unless it is given later.
    /// False if there is no such part.
    pub fn give_up(&mut self, work: &mut Work) -> bool {
        let is_given_up = work.pages.give_up(self.id);
        self.has_holes |= is_given_up;
        is_given_up
    }

    /// Makes an entry of the file the next one.
    pub(super) fn set_index(&mut self, index: u64) {
        (self.index, self.last, self.walk, self.found) = (index, 0, None, None);
        (self.last_number, self.doubt) = (0, None);
    }

    /// Entries that can be reached through arrays.
    pub(super) fn listed_entries(&mut self, work: &mut Work) -> Result<u64, ReadError> {
        loop {
            let listed = self.arrays.last().map_or(0, |array| array.first + array.items);
            if listed >= self.header.entries {
                return Ok(self.header.entries);
            }
            match self.next_array(work) {
                Ok(()) => {}
                Err(Fault::Damaged) => return Ok(listed),
                Err(Fault::Io(error)) => return Err(error.into()),
            }
        }
    }

    /// Where one of the entries is that arrays list; `None` if it is damaged.
    pub(super) fn location(&mut self, work: &mut Work, index: u64) -> Result<Option<Location>, ReadError> {
        let entry = self.listed(work, index).and_then(|offset| self.entry(work, offset));
        match entry {
            Ok(found) => Ok(Some(found.entry.location)),
            Err(Fault::Damaged) => Ok(None),
            Err(Fault::Io(error)) => Err(error.into()),
        }
    }

    /// The same of one whose number fits between those around it.
    pub(super) fn sound(&mut self, work: &mut Work, index: u64) -> Result<Option<Location>, ReadError> {
        let Some(location) = self.location(work, index)? else { return Ok(None) };
        let before = index.checked_sub(1).map_or(Ok(None), |before| self.location(work, before))?;
        let behind = self.location(work, index + 1)?;
        let fits = before.is_none_or(|before| before.seqnum < location.seqnum)
            && behind.is_none_or(|behind| location.seqnum < behind.seqnum);
        Ok(Some(location).filter(|_| fits))
    }

    /// The number of the last entry that lies between two others in order; `None` if there is none, or those around it do not say that it is right.
    pub fn last_sound(&mut self, work: &mut Work) -> Result<Option<u64>, ReadError> {
        let Some(index) = self.header.entries.checked_sub(2) else { return Ok(None) };
        Ok(self.sound(work, index)?.map(|location| location.seqnum))
    }

    /// Whether nothing is left of the file.
    fn is_erased(&self) -> bool {
        matches!(read_header(&self.bytes), Err(OpenError::Unfinished))
    }

    fn erased(&self) -> ReadError {
        ReadError::Erased { unread: self.header.entries.saturating_sub(self.index) }
    }

    fn pass_over(&mut self) {
        self.lose(1);
        self.index += 1;
    }

    fn lose(&mut self, entries: u64) {
        let count = if self.has_holes { &mut self.damage.unreadable } else { &mut self.damage.entries };
        *count = count.saturating_add(entries);
    }

    /// The next entry. `None` if the objects were walked to their end: then the place is behind all entries; or if it has to be looked at again.
    fn find(&mut self, work: &mut Work) -> Result<Option<Found>, Fault> {
        if self.walk.is_none() {
            match self.reach(work) {
                Ok(()) => match self.listed(work, self.index) {
                    Ok(offset) => {
                        if !self.is_in_order(work, offset)? {
                            return Err(Fault::Damaged);
                        }
                        let found = self.entry(work, offset)?;
                        return Ok(self.is_numbered_in_order(work, found)?.then_some(found));
                    }
                    // A part of the list cannot be read.
                    Err(Fault::Damaged) => self.begin_walk(work)?,
                    Err(error) => return Err(error),
                },
                Err(Fault::Damaged) => self.begin_walk(work)?,
                Err(error) => return Err(error),
            }
        }
        let found = self.step(work)?;
        if found.is_none() {
            if self.is_erased() {
                return Err(Fault::Damaged);
            }
            self.lose(self.header.entries - self.index);
            self.index = self.header.entries;
        }
        Ok(found)
    }

    /// Whether the number of the next entry fits to those around it. It is damaged if not; false if that cannot be told before the file is looked
    /// at again. A cursor that took a wrong number would pass over others.
    fn is_numbered_in_order(&mut self, work: &mut Work, found: Found) -> Result<bool, Fault> {
        let number = found.entry.location.seqnum;
        if number <= self.last_number {
            return Err(Fault::Damaged);
        }
        let tail = self.header.tail_seqnum;
        if let Some(next) = self.number_at(work, self.index + 1)? {
            if number < next {
                return Ok(true);
            }
            // Where two disagree, the one behind them says which is wrong, or else the header.
            let wanted = self.number_at(work, self.index + 2)?.unwrap_or(tail);
            return if number < wanted { Ok(true) } else { Err(Fault::Damaged) };
        }
        if number <= tail {
            return Ok(true);
        }
        // Was it wrong before?
        let mut before = self.last_number;
        if before == 0 && self.index > 0 {
            before = self.number_at(work, self.index - 1)?.filter(|before| *before < number).unwrap_or_default();
        }
        if before > 0 && tail <= before {
            return Ok(true);
        }
        match self.doubt {
            _ if self.is_closed() => Err(Fault::Damaged),
            Some((index, looks)) if index == self.index => {
                if looks < self.looks {
                    return Err(Fault::Damaged);
                }
                Ok(false)
            }
            _ => {
                self.doubt = Some((self.index, self.looks));
                Ok(false)
            }
        }
    }

    /// The number of an entry that is listed, if there is one and it is whole.
    fn number_at(&mut self, work: &mut Work, index: u64) -> Result<Option<u64>, Fault> {
        if index >= self.header.entries {
            return Ok(None);
        }
        let found = match self.listed(work, index) {
            Ok(offset) => self.entry_head(work, offset),
            Err(error) => Err(error),
        };
        match found {
            Ok(entry) => Ok(Some(entry.location.seqnum)),
            Err(Fault::Damaged) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gets the array that lists the next entry.
    fn reach(&mut self, work: &mut Work) -> Result<(), Fault> {
        while self.arrays.last().is_none_or(|array| self.index >= array.first + array.items) {
            self.next_array(work)?;
        }
        Ok(())
    }

    /// Gets one more array.
    fn next_array(&mut self, work: &mut Work) -> Result<(), Fault> {
        let (offset, first) = match self.arrays.last() {
            None => (self.header.first_array, 0),
            // Its head may have been read when it was the last one.
            Some(last) => (self.array(work, last.offset)?.next, last.first + last.items),
        };
        let behind = self.arrays.last().is_none_or(|last| offset > last.offset);
        if !behind || self.arrays.len() >= JOURNALD_ARRAYS {
            return Err(Fault::Damaged);
        }
        let items = self.array(work, offset)?.items;
        self.arrays.push(Array { offset, first, items });
        Ok(())
    }

    /// An array that lies in the file as a whole, so that the numbers of its items are bounded. Of one that does not, all entries but the first
    /// would lie behind the end as well.
    fn array(&self, work: &mut Work, offset: u64) -> Result<ArrayHead, Fault> {
        check_offset(&self.header, offset)?;
        let array = ArrayHead::parse(&self.header, work.pages.get(self.id, &self.bytes, offset, ARRAY_BYTES)?)?;
        let end =
            array.items.checked_mul(array_item_bytes(&self.header) as u64).and_then(|end| end.checked_add(offset));
        if end.is_none_or(|end| end > self.len) {
            return Err(Fault::Damaged);
        }
        Ok(array)
    }

    /// The offset that an array lists for an entry.
    fn listed(&self, work: &mut Work, index: u64) -> Result<u64, Fault> {
        // Nearly always in the last one or two; there are some twenty.
        let array = self.arrays.iter().rev().find(|array| index >= array.first).ok_or(Fault::Damaged)?;
        let item = index - array.first;
        if item >= array.items {
            return Err(Fault::Damaged);
        }
        let width = array_item_bytes(&self.header);
        let at = item.checked_mul(width as u64).and_then(|at| at.checked_add(array.offset));
        let at = at.and_then(|at| at.checked_add(ARRAY_BYTES as u64)).ok_or(Fault::Damaged)?;
        let item = work.pages.get(self.id, &self.bytes, at, width)?;
        let offset = if width == 4 { u32_at(item, 0).map(u64::from) } else { u64_at(item, 0) };
        offset.ok_or(Fault::Damaged)
    }

    /// Whether the offset that is listed for the next entry fits to those around it. One that was damaged could lead to another entry, which
    /// would come twice, and would hide those before it.
    fn is_in_order(&mut self, work: &mut Work, offset: u64) -> Result<bool, Fault> {
        if offset <= self.last {
            return Ok(false);
        }
        let behind = (self.index + 2).min(self.header.entries - 1);
        while self.arrays.last().is_some_and(|array| behind >= array.first + array.items) {
            match self.next_array(work) {
                Ok(()) => {}
                Err(Fault::Damaged) => break,
                Err(error) => return Err(error),
            }
        }
        // Where two disagree, the one behind them says which is wrong.
        for index in [self.index + 1, self.index + 2] {
            if index >= self.header.entries {
                return Ok(true);
            }
            match self.listed(work, index) {
                Ok(next) if next > offset => return Ok(true),
                Ok(_) => {}
                // It is in an array that is damaged.
                Err(Fault::Damaged) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// An entry without its list.
    fn entry_head(&self, work: &mut Work, offset: u64) -> Result<EntryHead, Fault> {
        check_offset(&self.header, offset)?;
        EntryHead::parse(&self.header, work.pages.get(self.id, &self.bytes, offset, ENTRY_BYTES)?)
    }

    /// An entry, if it is whole.
    fn entry(&self, work: &mut Work, offset: u64) -> Result<Found, Fault> {
        let entry = self.entry_head(work, offset)?;
        work.pages.get(self.id, &self.bytes, offset, ENTRY_BYTES + entry.list_bytes(&self.header))?;
        Ok(Found { entry, offset })
    }

    /// Puts the offsets of an entry's data into `work.items`.
    fn list(&self, work: &mut Work, found: Found) -> Result<(), Fault> {
        work.items.clear();
        let len = found.entry.list_bytes(&self.header);
        let list = work.pages.get(self.id, &self.bytes, found.offset + ENTRY_BYTES as u64, len)?;
        work.items.extend(items(&self.header, list));
        Ok(())
    }

    /// Reads a data object and takes it into the fields, if it is wanted.
    fn field(&self, work: &mut Work, offset: u64, fields: &mut Fields) -> Result<Extent, Fault> {
        let push = |fields: &mut Fields, payload: &[u8], name| {
            if fields.push(payload, name) { Extent::Whole } else { Extent::TooLarge }
        };
        match work.shared.get(self.id, offset) {
            Some(Known::Unwanted) => return Ok(Extent::Whole),
            Some(Known::Field(payload, name)) => return Ok(push(fields, payload, name)),
            None => {}
        }
        check_offset(&self.header, offset)?;
        // Nearly always all of it is in one page.
        let mut seen = work.pages.some(self.id, &self.bytes, offset, JOURNALD_PAGE_BYTES)?;
        if seen.len() < data_bytes(&self.header) {
            seen = work.pages.get(self.id, &self.bytes, offset, data_bytes(&self.header))?;
        }
        let head = DataHead::parse(&self.header, seen)?;
        let at = offset.checked_add(head.payload_at as u64).ok_or(Fault::Damaged)?;
        let payload = usize::try_from(head.payload).map_err(|_| Fault::Damaged)?;
        let mut extent = Extent::Whole;
        let text = match seen.get(head.payload_at..).and_then(|rest| rest.get(..payload)) {
            Some(all) if head.coding == Coding::Plain => all,
            _ if head.coding == Coding::Plain => {
                // Too much work is as much as too much room.
                if work.spent > JOURNALD_ENTRY_WORK_BYTES {
                    return Ok(Extent::TooLarge);
                }
                let beginning = work.pages.get(self.id, &self.bytes, at, payload.min(JOURNALD_NAME_BYTES + 1))?;
                if !work.wanted.has(name_of(beginning)?) {
                    return Ok(Extent::Whole);
                }
                if payload > JOURNALD_FIELD_BYTES {
                    extent = Extent::Cut;
                }
                work.spent += payload.min(JOURNALD_FIELD_BYTES);
                work.pages.get(self.id, &self.bytes, at, payload.min(JOURNALD_FIELD_BYTES))?
            }
            _ if work.spent > JOURNALD_ENTRY_WORK_BYTES => return Ok(Extent::TooLarge),
            _ => {
                // What is kept of a payload is never larger when it is compressed, but for a few bytes.
                let most = JOURNALD_FIELD_BYTES + JOURNALD_FIELD_BYTES / 16;
                // Zstd gives nothing out of its window before there is more.
                let most = if head.coding == Coding::Zstd { most + JOURNALD_WINDOW_BYTES } else { most };
                let stored = work.pages.get(self.id, &self.bytes, at, payload.min(most))?;
                work.spent += stored.len();
                extent = work.decompressor.decode(head.coding, stored)?;
                work.spent += work.decompressor.plain.len();
                if extent == Extent::TooLarge {
                    return Ok(extent);
                }
                work.decompressor.plain.as_slice()
            }
        };
        let name = name_of(text)?;
        let known = if work.wanted.has(name) { Known::Field(text, name.len()) } else { Known::Unwanted };
        if head.entries >= JOURNALD_SHARED_ENTRIES && extent == Extent::Whole {
            work.shared.put(self.id, offset, known);
        }
        match known {
            Known::Unwanted => Ok(Extent::Whole),
            Known::Field(text, name) => match push(fields, text, name) {
                Extent::Whole => Ok(extent),
                other => Ok(other),
            },
        }
    }

    /// Prepares walking the objects: from the array that lists the entry before, behind that one.
    fn begin_walk(&mut self, work: &mut Work) -> Result<(), Fault> {
        let mut start = self.header.bytes;
        let before = self.index.saturating_sub(1);
        if let Some(array) = self.arrays.iter().rev().find(|array| before >= array.first) {
            start = array.offset;
            match self.listed(work, before) {
                Ok(offset) if self.index > 0 => self.last = self.last.max(offset),
                Ok(_) | Err(Fault::Damaged) => {}
                Err(error) => return Err(error),
            }
            if self.last == 0 {
                start = self.header.bytes;
            }
        }
        let at = start.checked_next_multiple_of(8).ok_or(Fault::Damaged)?;
        self.walk = Some(Walk { at, lost: false });
        Ok(())
    }

    /// The next entry among the objects. From one whose head cannot be, the way to the next is not known: then each place is tried
    /// until there is an entry, for entries are many and cannot be mistaken, while the head of another object may be anything.
    fn step(&mut self, work: &mut Work) -> Result<Option<Found>, Fault> {
        let Some(Walk { mut at, mut lost }) = self.walk else { return Ok(None) };
        let mut searched = 0;
        let result = loop {
            if (self.last_object > 0 && at > self.last_object) || searched > JOURNALD_SCAN_BYTES {
                break Ok(None);
            }
            let seen = match work.pages.get(self.id, &self.bytes, at, HEAD_BYTES) {
                Ok(seen) => Head::parse(seen).ok(),
                // A part that is not given.
                Err(Fault::Damaged) if self.has_holes && at.saturating_add(HEAD_BYTES as u64) <= self.len => {
                    let block = JOURNALD_BLOCK_BYTES as u64;
                    let behind = (at / block + 1) * block;
                    searched += behind - at;
                    (at, lost) = (behind, true);
                    continue;
                }
                // The end of the file.
                Err(Fault::Damaged) => break Ok(None),
                Err(error) => break Err(error),
            };
            let next = seen.and_then(|head| head.next(at)).filter(|next| {
                let last = self.last_object;
                last == 0 || at == last || *next <= last
            });
            if seen.is_some_and(Head::is_entry) {
                match self.entry(work, at) {
                    Ok(found) if self.is_expected(&found.entry.location) => {
                        (at, lost) = (next.unwrap_or(at + 8), next.is_none());
                        if found.offset > self.last {
                            break Ok(Some(found));
                        }
                        continue;
                    }
                    Ok(_) | Err(Fault::Damaged) => lost = true,
                    Err(error) => break Err(error),
                }
            }
            match next.filter(|_| !lost) {
                Some(next) => at = next,
                None => {
                    lost = true;
                    at += 8;
                    searched += 8;
                }
            }
        };
        self.walk = Some(Walk { at, lost });
        result
    }

    /// Whether an entry that was found among the objects can be one of this file.
    fn is_expected(&self, location: &Location) -> bool {
        location.seqnum > self.last_number
            && (self.header.head_seqnum..=self.header.tail_seqnum).contains(&location.seqnum)
    }
}

/// The name that a payload begins with.
fn name_of(payload: &[u8]) -> Result<&[u8], Fault> {
    let beginning = payload.get(..=JOURNALD_NAME_BYTES).unwrap_or(payload);
    let end = memchr::memchr(b'=', beginning).filter(|end| *end > 0).ok_or(Fault::Damaged)?;
    beginning.get(..end).ok_or(Fault::Damaged)
}

/// The header, where the last object begins, and the bytes of the file.
fn read_header(bytes: &impl Bytes) -> Result<(Header, u64, u64), OpenError> {
    let mut first = [0; HEADER_BYTES];
    let count = fill(bytes, &mut first, 0)?;
    let first = first.get(..count).unwrap_or_default();
    let mut header = Header::parse(first)?;
    // After the header: what it speaks of is there now.
    let len = bytes.len()?;
    // A number that cannot be would be counted down one by one.
    header.entries = header.entries.min(len / ENTRY_BYTES as u64);
    Ok((header, u64_at(first, 136).unwrap_or(0), len))
}
