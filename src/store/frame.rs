//! Small frames: length, checksum, payload. The form of the checkpoint files, which are read as a whole and up to the first damage.
//!
//! `u32` length of the payload, `u32` CRC-32 (IEEE) of the payload, payload; little-endian.
//!
//! Promises: reading never allocates by a length it has not checked against what is there. Leaves to others: meaning.

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

/// Walks over the frames of a file's content; ends at the first one that is torn or damaged.
pub(super) struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Frames<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Frames { bytes, at: 0 }
    }

    /// Bytes after the last good frame.
    pub(super) fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let len = u32::from_le_bytes(rest.get(0..4)?.try_into().ok()?) as usize;
        let crc = u32::from_le_bytes(rest.get(4..HEAD_BYTES)?.try_into().ok()?);
        if len > PAYLOAD_BYTES_MAX {
            return None;
        }
        let payload = rest.get(HEAD_BYTES..HEAD_BYTES + len)?;
        // An empty payload has the checksum 0: a file full of NUL bytes must not look like a file full of frames.
        if payload.is_empty() || crc32fast::hash(payload) != crc {
            return None;
        }
        self.at += HEAD_BYTES + len;
        Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            let whole: Vec<Vec<u8>> = Frames::new(&bytes).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(&whole, &payloads);
            let at = flip.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let damaged: Vec<Vec<u8>> = Frames::new(&bytes).map(<[u8]>::to_vec).collect();
            prop_assert!(damaged.len() < payloads.len());
            prop_assert_eq!(&damaged[..], &payloads[..damaged.len()]);
        }
    }

    #[test]
    fn nul_bytes_are_no_frames() {
        assert_eq!(Frames::new(&[0; 4096]).count(), 0);
    }
}
