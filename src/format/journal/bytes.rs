//! Where the bytes of a journal file come from.
//!
//! Promises: reading at an offset, without a position that is shared with anybody. Leaves to others: opening and watching files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that can be read at any offset, and that may become more while they are read.
#[expect(clippy::len_without_is_empty, reason = "nobody asks")]
pub trait Bytes {
    /// Reads up to as many bytes as there is room for; 0 is the end. An interruption may be reported: it is tried again.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// How many there are now.
    fn len(&self) -> io::Result<u64>;
}

impl Bytes for File {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, into, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }
}

impl Bytes for &[u8] {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        for (to, from) in into.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(count)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(<[u8]>::len(self) as u64)
    }
}

/// Fills the room as far as there are bytes. Returns how many there were.
pub(super) fn fill(bytes: &impl Bytes, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(room) = into.get_mut(done..).filter(|room| !room.is_empty()) {
        let Some(at) = offset.checked_add(done as u64) else { break };
        match bytes.read_at(room, at) {
            Ok(0) => break,
            Ok(count) => done += count.min(room.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
