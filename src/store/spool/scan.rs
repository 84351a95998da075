//! Finding the next frame of a segment, also behind damage.
//!
//! Promises: reads heads only, and payload only where a head is not where it should be; ends, whatever the bytes are; uses a buffer of
//! fixed size and only while it searches. Leaves to others: payloads, and counting what was passed over.

use super::disk::{DiskFile, is_passing, read_full};
use super::segment::{FRAME_HEAD_BYTES, FrameHead, MARK};
use crate::base::limits::{SPOOL_SCAN_BYTES, SPOOL_UNREADABLE_BLOCKS};
use memchr::memmem;
use std::io;

/// Reads fail a block at a time.
const BLOCK_BYTES: u64 = 4096;

/// A stretch of a segment in which to look for a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    /// The segment's first sequence number.
    pub(super) first: u64,
    /// Where to look first.
    pub(super) from: u64,
    /// Where the segment ends.
    pub(super) end: u64,
    /// Frames with smaller numbers are none.
    pub(super) sequence: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// The next frame and its offset. Its payload may reach beyond the stretch's end: then it is torn.
    pub(super) frame: Option<(FrameHead, u64)>,
    /// There were bytes that are no frame.
    pub(super) junk: bool,
    /// Among them were some that could not be read.
    pub(super) unreadable: bool,
}

/// Looks for a frame. With `patient`, a failed read of the place where a frame should be is an error, so that it can be tried
/// again; without, what cannot be read is passed over.
pub(super) fn find<F: DiskFile>(file: &F, stretch: Stretch, patient: bool) -> io::Result<Search> {
    let Stretch { first, from, end, sequence } = stretch;
    let mut search = Search::default();
    if from >= end {
        return Ok(search);
    }
    let here = |bytes: &[u8; FRAME_HEAD_BYTES as usize], offset| {
        FrameHead::decode(bytes, first, offset).filter(|head| head.sequence >= sequence).map(|head| (head, offset))
    };
    match read_head(file, from) {
        Ok(head) => search.frame = head.and_then(|bytes| here(&bytes, from)),
        Err(error) if patient || is_passing(&error) => return Err(error),
        Err(_) => search.unreadable = true,
    }
    if search.frame.is_some() {
        return Ok(search);
    }
    search.junk = true;

    let mut buffer = vec![0; SPOOL_SCAN_BYTES];
    let marks = memmem::Finder::new(&MARK);
    let mut at = from + u64::from(!search.unreadable);
    let mut failures = 0;
    while at.saturating_add(FRAME_HEAD_BYTES) <= end {
        let to_boundary = BLOCK_BYTES - at % BLOCK_BYTES;
        // Once a read has failed, blocks are read one by one.
        let want = if failures == 0 { SPOOL_SCAN_BYTES as u64 } else { to_boundary };
        let want = want.min(end - at).min(SPOOL_SCAN_BYTES as u64);
        let Some(chunk) = buffer.get_mut(..want as usize) else { break };
        let read = match read_full(file, chunk, at) {
            Ok(read) => read,
            Err(error) if is_passing(&error) => return Err(error),
            Err(_) => {
                search.unreadable = true;
                if failures > 0 {
                    at += to_boundary;
                }
                failures += 1;
                if failures > SPOOL_UNREADABLE_BLOCKS {
                    break;
                }
                continue;
            }
        };
        let chunk = chunk.get(..read).unwrap_or_default();
        for hit in marks.find_iter(chunk) {
            let offset = at + hit as u64;
            if offset.saturating_add(FRAME_HEAD_BYTES) > end {
                break;
            }
            let head = match chunk.get(hit..).and_then(|rest| rest.first_chunk()) {
                Some(head) => Some(*head),
                None => read_head(file, offset).unwrap_or_default(),
            };
            search.frame = head.and_then(|bytes| here(&bytes, offset));
            if search.frame.is_some() {
                return Ok(search);
            }
        }
        if (read as u64) < want {
            // Shorter than it should be.
            break;
        }
        // A mark may lie across the border of two chunks.
        let before = (at + want).saturating_sub(MARK.len() as u64 - 1);
        for offset in before.max(at)..at + want {
            if offset.saturating_add(FRAME_HEAD_BYTES) > end {
                break;
            }
            let head = read_head(file, offset).unwrap_or_default();
            search.frame = head.and_then(|bytes| here(&bytes, offset));
            if search.frame.is_some() {
                return Ok(search);
            }
        }
        at += want;
    }
    Ok(search)
}

fn read_head<F: DiskFile>(file: &F, offset: u64) -> io::Result<Option<[u8; FRAME_HEAD_BYTES as usize]>> {
    let mut bytes = [0; FRAME_HEAD_BYTES as usize];
    let read = read_full(file, &mut bytes, offset)?;
    Ok((read == bytes.len()).then_some(bytes))
}
