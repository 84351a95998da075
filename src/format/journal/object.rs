//! Objects of a journal file: what lies where in them.
//!
//! Promises: a head that cannot be is an error; every number is checked before it is used as a size. Leaves to others: reading the bytes.

use super::cursor::{Id, Location};
use super::header::Header;
use super::pages::Fault;
use crate::base::limits::JOURNALD_ITEMS;

const DATA: u8 = 1;
const ENTRY: u8 = 3;
const ENTRY_ARRAY: u8 = 6;
/// The largest number of a type that there is.
const LAST_TYPE: u8 = 7;

/// Bytes of what all objects begin with: type, flags, size.
pub(super) const HEAD_BYTES: usize = 16;
/// Bytes of an entry before its items.
pub(super) const ENTRY_BYTES: usize = 64;
/// Bytes of an entry array before its items.
pub(super) const ARRAY_BYTES: usize = 24;
/// Times that systemd itself takes: microseconds below 2^55.
const TIME_END: u64 = 1 << 55;

/// A number at a place.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// A number at a place.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// How a payload is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Xz,
    Lz4,
    Zstd,
}

/// What all objects begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    kind: u8,
    flags: u8,
    /// Bytes of the whole object.
    size: u64,
}

impl Head {
    pub(super) fn parse(bytes: &[u8]) -> Result<Head, Fault> {
        let head = bytes.get(..HEAD_BYTES).ok_or(Fault::Damaged)?;
        let (Some([kind, flags]), Some(size)) = (head.first_chunk(), u64_at(head, 8)) else {
            return Err(Fault::Damaged);
        };
        if size < HEAD_BYTES as u64 || *kind == 0 || *kind > LAST_TYPE {
            return Err(Fault::Damaged);
        }
        Ok(Head { kind: *kind, flags: *flags, size })
    }

    /// Where the object behind this one begins.
    pub(super) fn next(self, offset: u64) -> Option<u64> {
        offset.checked_add(self.size)?.checked_next_multiple_of(8)
    }

    pub(super) fn is_entry(self) -> bool {
        self.kind == ENTRY
    }
}

/// Whether an object can begin there.
pub(super) fn check_offset(header: &Header, offset: u64) -> Result<(), Fault> {
    if offset >= header.bytes && offset.is_multiple_of(8) { Ok(()) } else { Err(Fault::Damaged) }
}

/// Bytes of an item of an entry.
fn item_bytes(header: &Header) -> usize {
    // The regular form has the hash of the data beside its offset.
    if header.compact { 4 } else { 16 }
}

/// An entry without its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryHead {
    pub(super) location: Location,
    /// Number of its items.
    pub(super) items: usize,
}

impl EntryHead {
    pub(super) fn parse(header: &Header, bytes: &[u8]) -> Result<EntryHead, Fault> {
        let head = Head::parse(bytes)?;
        if head.kind != ENTRY {
            return Err(Fault::Damaged);
        }
        let number = |at| u64_at(bytes, at).ok_or(Fault::Damaged);
        let location = Location {
            seqnum_id: header.seqnum_id,
            seqnum: number(16)?,
            realtime_us: number(24)?,
            monotonic_us: number(32)?,
            boot_id: Id::at(bytes, 40).ok_or(Fault::Damaged)?,
            xor_hash: number(56)?,
        };
        let times_can_be = (1..TIME_END).contains(&location.realtime_us) && location.monotonic_us < TIME_END;
        let size = usize::try_from(head.size).map_err(|_| Fault::Damaged)?;
        let list = size.checked_sub(ENTRY_BYTES).ok_or(Fault::Damaged)?;
        let items = list / item_bytes(header);
        let items_can_be = items > 0 && items <= JOURNALD_ITEMS && list.is_multiple_of(item_bytes(header));
        if location.seqnum == 0 || !times_can_be || !items_can_be {
            return Err(Fault::Damaged);
        }
        Ok(EntryHead { location, items })
    }

    /// Bytes of the items.
    pub(super) fn list_bytes(self, header: &Header) -> usize {
        self.items.saturating_mul(item_bytes(header))
    }
}

/// The offsets in the list of an entry's items.
pub(super) fn items<'a>(header: &Header, list: &'a [u8]) -> impl Iterator<Item = u64> + 'a {
    let compact = header.compact;
    list.chunks_exact(item_bytes(header))
        .filter_map(move |item| if compact { u32_at(item, 0).map(u64::from) } else { u64_at(item, 0) })
}

/// A data object without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DataHead {
    pub(super) coding: Coding,
    /// Where the payload begins in the object.
    pub(super) payload_at: usize,
    /// Bytes of the payload as it is stored.
    pub(super) payload: u64,
    /// In how many entries it is.
    pub(super) entries: u64,
}

/// Bytes of a data object before its payload.
pub(super) fn data_bytes(header: &Header) -> usize {
    if header.compact { 72 } else { 64 }
}

impl DataHead {
    pub(super) fn parse(header: &Header, bytes: &[u8]) -> Result<DataHead, Fault> {
        let head = Head::parse(bytes)?;
        let payload_at = data_bytes(header);
        let coding = match head.flags {
            0 => Coding::Plain,
            1 => Coding::Xz,
            2 => Coding::Lz4,
            4 => Coding::Zstd,
            _ => return Err(Fault::Damaged),
        };
        let payload = head.size.checked_sub(payload_at as u64).ok_or(Fault::Damaged)?;
        if head.kind != DATA || payload == 0 {
            return Err(Fault::Damaged);
        }
        Ok(DataHead { coding, payload_at, payload, entries: u64_at(bytes, 56).ok_or(Fault::Damaged)? })
    }
}

/// An entry array without its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ArrayHead {
    /// The array that follows; 0 if there is none.
    pub(super) next: u64,
    /// Items that it has room for.
    pub(super) items: u64,
}

/// Bytes of an item of an entry array.
pub(super) fn array_item_bytes(header: &Header) -> usize {
    if header.compact { 4 } else { 8 }
}

impl ArrayHead {
    pub(super) fn parse(header: &Header, bytes: &[u8]) -> Result<ArrayHead, Fault> {
        let head = Head::parse(bytes)?;
        let list = head.size.checked_sub(ARRAY_BYTES as u64).ok_or(Fault::Damaged)?;
        let width = array_item_bytes(header) as u64;
        let items = list / width;
        if head.kind != ENTRY_ARRAY || items == 0 || !list.is_multiple_of(width) {
            return Err(Fault::Damaged);
        }
        Ok(ArrayHead { next: u64_at(bytes, 16).ok_or(Fault::Damaged)?, items })
    }
}
