//! Looking for newlines in an inlet's files.
//!
//! Promises: memory is one block, whatever the file. Leaves to others: what to do about what is found.

use crate::base::limits::INLET_SCAN_BYTES;
use crate::store::spool::disk::{DiskFile, read_full};
use std::io;

/// Cuts what is behind the file's last newline. The length afterwards, and whether anything was cut.
pub(super) fn repair<F: DiskFile>(file: &F) -> io::Result<(u64, bool)> {
    let bytes = file.bytes()?;
    let whole = whole_bytes(file, bytes)?;
    if whole < bytes {
        file.truncate(whole)?;
    }
    Ok((whole, whole < bytes))
}

/// Length up to and with the last newline among the first `end` bytes.
pub(super) fn whole_bytes<F: DiskFile>(file: &F, mut end: u64) -> io::Result<u64> {
    // Nearly every file ends with a newline: its last byte says so.
    let mut block = vec![0; 1];
    while end > 0 {
        let from = end.saturating_sub(block.len() as u64);
        let len = usize::try_from(end - from).unwrap_or(block.len()).min(block.len());
        let part = block.get_mut(..len).unwrap_or_default();
        let got = read_full(file, part, from)?;
        if let Some(at) = memchr::memrchr(b'\n', part.get(..got).unwrap_or_default()) {
            return Ok(from.saturating_add(at as u64).saturating_add(1));
        }
        end = from;
        block.resize(INLET_SCAN_BYTES, 0);
    }
    Ok(0)
}

/// Newlines in a file: how many, and what ended the count before its time.
pub(super) fn records<F: DiskFile>(file: &F) -> (u64, Option<io::Error>) {
    let mut block = vec![0; INLET_SCAN_BYTES];
    let (mut at, mut found) = (0_u64, 0);
    loop {
        let got = match read_full(file, &mut block, at) {
            Ok(0) => return (found, None),
            Ok(got) => got,
            Err(error) => return (found, Some(error)),
        };
        found += newlines(block.get(..got).unwrap_or_default());
        at = at.saturating_add(got as u64);
    }
}

/// Newlines in `bytes`.
pub(super) fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}
