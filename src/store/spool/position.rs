//! Where reading goes on: a small file that is written in place at each acknowledgement.
//!
//! The file `position` is a ring of records in two copies, one at 0 and one at 4096. A record is 32 bytes, little-endian: 4 bytes of
//! mark, `u32` CRC-32 of what follows, `u64` segment, `u64` offset in it, `u64` next sequence number. Each write goes to the next slot of
//! both copies; the record that is furthest counts. A write that tears or is lost therefore costs at most that write, one damaged block costs
//! nothing, and once the file has its length, a full disk does not matter.
//!
//! Promises: what was synced is never lost to a later write that is not; the file does not grow. Leaves to others: when to write.

use super::disk::{Disk, DiskFile, read_full, write_full};
use crate::base::limits::{SPOOL_POSITION_SLOTS, SPOOL_READ_ATTEMPTS};
use std::io;

/// The file's name.
pub(super) const NAME: &str = "position";

const RECORD_BYTES: usize = 32;
const MARK: [u8; 4] = [0xa7, 0x6c, 0x70, 0x01];
/// The copies lie in different blocks.
const COPIES: [u64; 2] = [0, 4096];
const FILE_BYTES: usize = COPIES[1] as usize + SPOOL_POSITION_SLOTS * RECORD_BYTES;

/// A place between two frames. All before it is settled. The order of the fields is the order of places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// First sequence number of the segment.
    pub(super) segment: u64,
    /// Offset in it, bytes.
    pub(super) offset: u64,
    /// Number that the next frame should have.
    pub(super) sequence: u64,
}

impl Position {
    fn encode(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let (head, fields) = bytes.split_at_mut(8);
        for (place, field) in fields.chunks_exact_mut(8).zip([self.segment, self.offset, self.sequence]) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let crc = crc32fast::hash(fields).to_le_bytes();
        for (place, byte) in head.iter_mut().zip(MARK.into_iter().chain(crc)) {
            *place = byte;
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (_, rest) = bytes.split_first_chunk::<8>()?;
        let (segment, rest) = rest.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (sequence, _) = rest.split_first_chunk()?;
        let [segment, offset, sequence] = [segment, offset, sequence].map(|field| u64::from_le_bytes(*field));
        let position = Position { segment, offset, sequence };
        (position.encode() == *bytes).then_some(position)
    }
}

/// What was found when the file was opened.
#[derive(Debug)]
pub(super) struct Opened {
    /// The furthest record.
    pub(super) position: Option<Position>,
    /// Records that are neither empty nor whole.
    pub(super) damaged: u64,
    /// Why the file could not be read.
    pub(super) error: Option<io::Error>,
}

/// The open file, made when it is first written.
#[derive(Debug)]
pub(super) struct PositionFile<F> {
    file: Option<F>,
    /// Where the next record goes.
    slot: usize,
    /// What was written last.
    last: Option<Position>,
    dirty: bool,
}

impl<F: DiskFile> PositionFile<F> {
    /// Reads what is there; more than once if it must, because without it frames come again.
    pub(super) fn open(disk: &impl Disk<File = F>) -> (Self, Opened) {
        let mut opened = Self::try_open(disk);
        for _ in 1..SPOOL_READ_ATTEMPTS {
            if opened.1.error.is_none() {
                break;
            }
            opened = Self::try_open(disk);
        }
        opened
    }

    fn try_open(disk: &impl Disk<File = F>) -> (Self, Opened) {
        let mut found = Opened { position: None, damaged: 0, error: None };
        let mut this = PositionFile { file: None, slot: 0, last: None, dirty: false };
        let file = match disk.open(NAME) {
            Ok(file) => file,
            Err(error) => {
                found.error = (error.kind() != io::ErrorKind::NotFound).then_some(error);
                return (this, found);
            }
        };
        let mut bytes = vec![0; FILE_BYTES];
        // The two copies are read apart: one unreadable block leaves the other.
        for start in COPIES {
            let end = start as usize + SPOOL_POSITION_SLOTS * RECORD_BYTES;
            let Some(copy) = bytes.get_mut(start as usize..end) else { continue };
            if let Err(error) = read_full(&file, copy, start) {
                found.error = Some(error);
                continue;
            }
            for (slot, record) in copy.chunks_exact(RECORD_BYTES).enumerate() {
                match Position::decode(record) {
                    Some(position) if found.position.is_none_or(|best| position > best) => {
                        found.position = Some(position);
                        this.slot = (slot + 1) % SPOOL_POSITION_SLOTS;
                    }
                    Some(_) => {}
                    None => found.damaged += u64::from(record.iter().any(|byte| *byte != 0)),
                }
            }
        }
        this.file = Some(file);
        // The run that wrote it may have ended before its last sync.
        this.dirty = true;
        (this, found)
    }

    /// Writes a record. True if the file had to be made, so that the directory must be synced.
    pub(super) fn write(&mut self, disk: &impl Disk<File = F>, position: Position) -> io::Result<bool> {
        let made = self.file.is_none();
        let file = match self.file.take() {
            Some(file) => file,
            None => disk.create(NAME)?,
        };
        let file = self.file.insert(file);
        let record = position.encode();
        let at = (self.slot * RECORD_BYTES) as u64;
        let written = COPIES.map(|start| write_full(file, &record, start + at));
        // One copy is enough to go on from, so the slot is used up; the missing copy is an error all the same.
        if written.iter().any(Result::is_ok) {
            self.slot = (self.slot + 1) % SPOOL_POSITION_SLOTS;
            self.last = Some(position);
            self.dirty = true;
        }
        written.into_iter().collect::<io::Result<()>>()?;
        Ok(made)
    }

    /// Makes what was written last through a power loss. True if the file had to be made, because somebody had removed it.
    pub(super) fn sync(&mut self, disk: &impl Disk<File = F>) -> io::Result<bool> {
        if !self.dirty {
            return Ok(false);
        }
        let mut made = false;
        if let Some(last) = self.last
            && disk.open(NAME).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            self.file = None;
            made = self.write(disk, last)?;
        }
        if let Some(file) = &self.file {
            file.sync()?;
            self.dirty = false;
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::spool::disk::Directory;
    use std::os::unix::fs::FileExt;

    fn at(sequence: u64) -> Position {
        Position { segment: sequence / 10, offset: sequence % 10, sequence }
    }

    #[test]
    fn the_furthest_record_counts_and_no_flipped_byte_costs_it() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Directory::new(directory.path());
        let mut next = 0;
        for rounds in [1, 3, SPOOL_POSITION_SLOTS - 1, SPOOL_POSITION_SLOTS * 2] {
            let (mut file, opened) = PositionFile::open(&disk);
            assert_eq!(opened.position, (next > 0).then(|| at(next - 1)));
            assert_eq!(opened.damaged, 0);
            for _ in 0..rounds {
                assert_eq!(file.write(&disk, at(next)).unwrap(), next == 0);
                next += 1;
            }
            assert!(!file.sync(&disk).unwrap());
        }
        let path = directory.path().join(NAME);
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole.len(), FILE_BYTES);
        let raw = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        for (offset, byte) in whole.iter().enumerate() {
            raw.write_all_at(&[byte ^ 0x10], offset as u64).unwrap();
            let (_, opened) = PositionFile::open(&disk);
            assert_eq!(opened.position, Some(at(next - 1)), "byte {offset}");
            raw.write_all_at(&[*byte], offset as u64).unwrap();
        }
    }

    #[test]
    fn a_file_that_somebody_removed_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Directory::new(directory.path());
        let (mut file, _) = PositionFile::open(&disk);
        file.write(&disk, at(7)).unwrap();
        std::fs::remove_file(directory.path().join(NAME)).unwrap();
        assert!(file.sync(&disk).unwrap());
        assert_eq!(PositionFile::open(&disk).1.position, Some(at(7)));
    }

    #[test]
    fn any_length_of_the_file_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Directory::new(directory.path());
        let (mut file, _) = PositionFile::open(&disk);
        for sequence in 0..70 {
            file.write(&disk, at(sequence)).unwrap();
        }
        let raw = std::fs::OpenOptions::new().write(true).open(directory.path().join(NAME)).unwrap();
        for bytes in (0..FILE_BYTES as u64).rev() {
            raw.set_len(bytes).unwrap();
            let (_, opened) = PositionFile::open(&disk);
            assert!(opened.error.is_none());
            // The first copy alone is enough.
            if bytes >= 2048 {
                assert_eq!(opened.position, Some(at(69)), "{bytes}");
            }
        }
    }
}
