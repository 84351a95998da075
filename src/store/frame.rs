//! Small frames: length, checksum, payload. The form of the checkpoint files, which are read as a whole and up to the first damage.
//!
//! `u32` length of the payload, `u32` CRC-32 (IEEE) of the payload, payload; little-endian.
//!
//! Promises: reading holds one frame at a time, and never allocates more than the largest frame. Leaves to others: meaning.

use std::io::{self, Read};

/// Bytes before the payload.
const HEAD_BYTES: usize = 8;
/// No frame is larger: a path, a key and a few numbers are far below.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// Appends a frame. False, and nothing written, when the payload is larger than a frame may be.
pub(super) fn append(out: &mut Vec<u8>, payload: &[u8]) -> bool {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return false;
    }
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    out.extend_from_slice(payload);
    true
}

/// Walks over the frames of a file; ends at the first one that is torn or damaged. Holds one frame at a time.
pub(super) struct Frames<R> {
    input: R,
    payload: Vec<u8>,
    /// Why it ended, once it has.
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    Damaged,
}

impl<R: Read> Frames<R> {
    pub(super) fn new(input: R) -> Self {
        Frames { input, payload: Vec::new(), end: None }
    }

    /// Whether all of the file was good frames, and all have been read.
    pub(super) fn is_at_clean_end(&mut self) -> io::Result<bool> {
        Ok(self.end == Some(End::Clean)
            || (self.end.is_none() && self.next()?.is_none() && self.end == Some(End::Clean)))
    }

    /// The next payload. An error is one of reading, not of what was read.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.end.is_none() {
            self.end = self.read()?;
        }
        Ok(self.end.is_none().then_some(self.payload.as_slice()))
    }

    fn read(&mut self) -> io::Result<Option<End>> {
        let mut head = [0; HEAD_BYTES];
        let got = fill(&mut self.input, &mut head)?;
        if got == 0 {
            return Ok(Some(End::Clean));
        }
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let crc = u32::from_le_bytes([c0, c1, c2, c3]);
        // An empty payload has the checksum 0: a file full of NUL bytes must not look like a file full of frames.
        if got < HEAD_BYTES || len == 0 || len > PAYLOAD_BYTES_MAX {
            return Ok(Some(End::Damaged));
        }
        self.payload.resize(len, 0);
        let got = fill(&mut self.input, &mut self.payload)?;
        Ok((got < len || crc32fast::hash(&self.payload) != crc).then_some(End::Damaged))
    }
}

/// Reads until the buffer is full or the file ends; how much was read.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while let Some(rest) = buffer.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(n) => at += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
        let mut frames = Frames::new(bytes);
        let mut found = Vec::new();
        while let Some(payload) = frames.next().unwrap() {
            found.push(payload.to_vec());
        }
        (found, frames.is_at_clean_end().unwrap())
    }

    proptest! {
        #[test]
        fn frames_before_any_flipped_bit_are_read_and_none_after_it_is_invented(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..8),
            flip in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut bytes = Vec::new();
            for payload in &payloads {
                prop_assert!(append(&mut bytes, payload));
            }
            prop_assert_eq!(all(&bytes), (payloads.clone(), true));
            let at = flip.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let (damaged, clean) = all(&bytes);
            prop_assert!(!clean && damaged.len() < payloads.len());
            prop_assert_eq!(&damaged[..], &payloads[..damaged.len()]);
        }
    }

    #[test]
    fn nul_bytes_are_no_frames() {
        assert_eq!(all(&[0; 4096]), (vec![], false));
        assert_eq!(all(&[]), (vec![], true));
    }
}
