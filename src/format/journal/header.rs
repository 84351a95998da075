//! The header of a journal file.
//!
//! Promises: what is not a journal, is not one yet, or has flags that are not known here are different errors. Leaves to others: reading it again.

use super::cursor::Id;
use super::object::{u32_at, u64_at};
use std::io;

/// So many bytes of the header are read. Later versions of systemd have added to it, but nothing that is needed here.
pub(super) const HEADER_BYTES: usize = 208;
/// What a journal file begins with.
const SIGNATURE: &[u8] = b"LPKSHHRH";

/// Some payloads are compressed with xz.
const XZ: u32 = 1;
/// Some payloads are compressed with LZ4.
const LZ4: u32 = 2;
/// Hashes have the file's id as key.
const KEYED_HASH: u32 = 4;
/// Some payloads are compressed with zstd.
const ZSTD: u32 = 8;
/// Offsets are 32 bits wide.
const COMPACT: u32 = 16;
const KNOWN: u32 = XZ | LZ4 | KEYED_HASH | ZSTD | COMPACT;

/// Why a file cannot be read as a journal.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system could not read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is empty or its header is not complete: it is being made, or never was. Try again when it has changed.
    #[error("has no complete header yet")]
    Unfinished,
    /// It is something else.
    #[error("is not a journal file: it does not begin with the signature of one")]
    Foreign,
    /// A newer systemd wrote it in a way that is not known here. `journalctl` of that host can read it.
    #[error("has format flags that are not known here ({flags:#x}): read it with journalctl")]
    UnknownFlags {
        /// The flags that are not known.
        flags: u32,
        /// What every version of the format has in the same place: see [`Header`].
        file_id: Id,
        /// The same.
        seqnum_id: Id,
        /// The same.
        machine_id: Id,
        /// The same.
        entries: u64,
        /// The same.
        tail_seqnum: u64,
    },
    /// The header says something that cannot be.
    #[error("has a damaged header: {what}")]
    Damaged {
        /// What cannot be.
        what: &'static str,
    },
}

/// What the writer says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Closed in order; it may be opened again.
    Offline,
    /// Being written, or was when the host went down.
    Online,
    /// Will not be written any more.
    Archived,
}

/// The header, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Identifies the file, whatever its name.
    pub file_id: Id,
    /// The host that wrote it.
    pub machine_id: Id,
    /// Who gave the entries their numbers. Those of one such id are in order.
    pub seqnum_id: Id,
    /// What the writer says of the file.
    pub state: State,
    /// Complete entries.
    pub entries: u64,
    /// Number of the first entry; 0 if there is none.
    pub head_seqnum: u64,
    /// Number of the last entry; 0 if there is none.
    pub tail_seqnum: u64,
    /// Time of the first entry, microseconds since 1970; 0 if there is none.
    pub head_realtime_us: u64,
    /// Time of the last entry, microseconds since 1970; 0 if there is none.
    pub tail_realtime_us: u64,
    /// Whether offsets are 32 bits wide.
    pub(super) compact: bool,
    /// Bytes of the header itself; objects begin behind it.
    pub(super) bytes: u64,
    /// The first entry array; 0 if there is none.
    pub(super) first_array: u64,
}

impl Header {
    /// Reads a header from the first bytes of a file.
    pub(super) fn parse(bytes: &[u8]) -> Result<Header, OpenError> {
        let signature = bytes.get(..SIGNATURE.len()).unwrap_or(bytes);
        // Journald makes the file larger before it writes.
        if !SIGNATURE.starts_with(signature) && signature.iter().any(|byte| *byte != 0) {
            return Err(OpenError::Foreign);
        }
        if signature != SIGNATURE || bytes.len() < HEADER_BYTES {
            return Err(OpenError::Unfinished);
        }
        let number = |at| u64_at(bytes, at).ok_or(OpenError::Unfinished);
        let id = |at| Id::at(bytes, at).ok_or(OpenError::Unfinished);
        // Of both the writer makes random numbers.
        if [id(24)?, id(72)?].contains(&Id::default()) {
            return Err(OpenError::Damaged {
                what: "it does not say which file it is of, or who numbered its entries",
            });
        }
        let flags = u32_at(bytes, 12).ok_or(OpenError::Unfinished)?;
        if flags & !KNOWN != 0 {
            let (file_id, seqnum_id, machine_id) = (id(24)?, id(72)?, id(40)?);
            let (flags, entries, tail_seqnum) = (flags & !KNOWN, number(152)?, number(160)?);
            return Err(OpenError::UnknownFlags { flags, file_id, seqnum_id, machine_id, entries, tail_seqnum });
        }
        let state = match bytes.get(16) {
            None => return Err(OpenError::Unfinished),
            Some(0) => State::Offline,
            Some(1) => State::Online,
            Some(2) => State::Archived,
            Some(_) => return Err(OpenError::Damaged { what: "its state is none of the three there are" }),
        };
        let header = Header {
            file_id: id(24)?,
            machine_id: id(40)?,
            seqnum_id: id(72)?,
            state,
            entries: number(152)?,
            tail_seqnum: number(160)?,
            head_seqnum: number(168)?,
            head_realtime_us: number(184)?,
            tail_realtime_us: number(192)?,
            compact: flags & COMPACT != 0,
            bytes: number(88)?,
            first_array: number(176)?,
        };
        if header.bytes == 0 {
            return Err(OpenError::Unfinished);
        }
        if header.bytes < HEADER_BYTES as u64 {
            return Err(OpenError::Damaged { what: "it is shorter than the first version of the format" });
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..8].copy_from_slice(SIGNATURE);
        bytes[12] = 28;
        bytes[16] = 2;
        bytes[24..40].fill(1);
        bytes[40..56].fill(2);
        bytes[72..88].fill(3);
        for (at, value) in [(88, 264_u64), (152, 10), (160, 19), (168, 9), (176, 4096), (184, 5), (192, 6)] {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn every_field() {
        let header = Header::parse(&sample()).unwrap();
        let want = Header {
            file_id: Id([1; 16]),
            machine_id: Id([2; 16]),
            seqnum_id: Id([3; 16]),
            state: State::Archived,
            entries: 10,
            head_seqnum: 9,
            tail_seqnum: 19,
            head_realtime_us: 5,
            tail_realtime_us: 6,
            compact: true,
            bytes: 264,
            first_array: 4096,
        };
        assert_eq!(header, want);
    }

    #[test]
    fn what_is_no_header_of_a_journal() {
        for len in 0..HEADER_BYTES {
            assert!(matches!(Header::parse(&sample()[..len]), Err(OpenError::Unfinished)), "{len}");
        }
        assert!(matches!(Header::parse(&[0; 1000]), Err(OpenError::Unfinished)));
        assert!(matches!(Header::parse(b"<html>"), Err(OpenError::Foreign)));
        let changed = |at: usize, value: u8| {
            let mut bytes = sample();
            bytes[at] = value;
            Header::parse(&bytes)
        };
        assert!(matches!(changed(12, 32 + 16), Err(OpenError::UnknownFlags { flags: 32, .. })));
        assert!(matches!(changed(15, 1), Err(OpenError::UnknownFlags { flags: 0x0100_0000, .. })));
        assert!(matches!(changed(16, 3), Err(OpenError::Damaged { .. })));
        assert!(matches!(changed(89, 0), Err(OpenError::Damaged { .. })));
        for at in [24, 72] {
            let mut bytes = sample();
            bytes[at..at + 16].fill(0);
            assert!(matches!(Header::parse(&bytes), Err(OpenError::Damaged { .. })), "{at}");
        }
        assert_eq!(changed(8, 255).unwrap(), Header::parse(&sample()).unwrap(), "compatible flags");
    }
}
