//! The form of a segment: its name, its head, and the heads of its frames. Pure.
//!
//! A segment is named by the sequence number of its first frame, twenty digits and `.seg`. All numbers are little-endian.
//!
//! Segment head, 24 bytes: `lugspool`, `u32` version, `u64` first sequence number, `u32` CRC-32 of these 20 bytes. Nothing depends on
//! it but the recognition of a file that was copied or renamed: a damaged head costs no frame.
//!
//! Frame head, 40 bytes: 4 bytes of mark, `u32` length of the payload, `u64` sequence number, `i64` seconds since 1970 when it was
//! written, `u32` raw bytes, `u32` entries, `u32` CRC-32 of the payload, `u32` CRC-32 of these 36 bytes, the segment's first
//! sequence number and the frame's offset in the file (both `u64`). The payload follows.
//!
//! The last checksum ties a head to its place. After damage the reader searches for the next mark; payload that happens to
//! contain a frame (a log of a spool, a block that belonged to a deleted segment) is none at any other place or in any other segment.
//!
//! Promises: any bytes decode to a head or to nothing. Leaves to others: reading them.

use crate::base::limits::SPOOL_FRAME_BYTES;

/// Length of a segment's head.
pub(super) const SEGMENT_HEAD_BYTES: u64 = 24;
/// Length of a frame's head.
pub(super) const FRAME_HEAD_BYTES: u64 = 40;
/// What each frame begins with. Not text, and not what compressed data begins with; the last byte is the version.
pub(super) const MARK: [u8; 4] = [0xf1, 0x6c, 0xe7, 0x01];

const MAGIC: [u8; 8] = *b"lugspool";
const VERSION: u32 = 1;
/// Names from here on are not ours: there must be room to count on.
const SEQUENCE_END: u64 = 1 << 62;

/// The name of the segment whose first frame has this number.
pub(super) fn name(first: u64) -> String {
    format!("{first:020}.seg")
}

/// The first sequence number by a name; `None` if it is not a segment's.
pub(super) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|first| *first < SEQUENCE_END)
}

/// The head of the segment that begins with frame `first`.
pub(super) fn segment_head(first: u64) -> [u8; SEGMENT_HEAD_BYTES as usize] {
    let mut writer = Fields::<{ SEGMENT_HEAD_BYTES as usize }>::new();
    writer.put(&MAGIC);
    writer.put(&VERSION.to_le_bytes());
    writer.put(&first.to_le_bytes());
    let crc = crc32fast::hash(writer.written());
    writer.put(&crc.to_le_bytes());
    writer.bytes
}

/// The first sequence number by a segment's head; `None` if the head is damaged or of another version.
pub(super) fn parse_segment_head(bytes: &[u8; SEGMENT_HEAD_BYTES as usize]) -> Option<u64> {
    let (_, rest) = bytes.split_first_chunk::<12>()?;
    let (first, _) = rest.split_first_chunk::<8>()?;
    let first = u64::from_le_bytes(*first);
    (*bytes == segment_head(first)).then_some(first)
}

/// What is known of a frame without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) payload_bytes: u32,
    pub(super) sequence: u64,
    pub(super) created_s: i64,
    pub(super) raw_bytes: u32,
    pub(super) entries: u32,
    pub(super) payload_crc: u32,
}

impl FrameHead {
    /// The bytes of this head for the place `offset` in the segment `first`.
    pub(super) fn encode(&self, first: u64, offset: u64) -> [u8; FRAME_HEAD_BYTES as usize] {
        let mut writer = Fields::<{ FRAME_HEAD_BYTES as usize }>::new();
        writer.put(&MARK);
        writer.put(&self.payload_bytes.to_le_bytes());
        writer.put(&self.sequence.to_le_bytes());
        writer.put(&self.created_s.to_le_bytes());
        writer.put(&self.raw_bytes.to_le_bytes());
        writer.put(&self.entries.to_le_bytes());
        writer.put(&self.payload_crc.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(writer.written());
        hasher.update(&first.to_le_bytes());
        hasher.update(&offset.to_le_bytes());
        writer.put(&hasher.finalize().to_le_bytes());
        writer.bytes
    }

    /// The head that these bytes are, at this place.
    pub(super) fn decode(bytes: &[u8; FRAME_HEAD_BYTES as usize], first: u64, offset: u64) -> Option<Self> {
        let rest = bytes.strip_prefix(&MARK)?;
        let (payload_bytes, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (created_s, rest) = rest.split_first_chunk()?;
        let (raw_bytes, rest) = rest.split_first_chunk()?;
        let (entries, rest) = rest.split_first_chunk()?;
        let (payload_crc, _) = rest.split_first_chunk()?;
        let head = FrameHead {
            payload_bytes: u32::from_le_bytes(*payload_bytes),
            sequence: u64::from_le_bytes(*sequence),
            created_s: i64::from_le_bytes(*created_s),
            raw_bytes: u32::from_le_bytes(*raw_bytes),
            entries: u32::from_le_bytes(*entries),
            payload_crc: u32::from_le_bytes(*payload_crc),
        };
        let whole = head.encode(first, offset) == *bytes;
        let sane = head.payload_bytes as usize <= SPOOL_FRAME_BYTES && head.sequence >= first;
        (whole && sane && head.sequence < SEQUENCE_END).then_some(head)
    }

    /// Head and payload together, bytes.
    pub(super) fn frame_bytes(&self) -> u64 {
        FRAME_HEAD_BYTES + u64::from(self.payload_bytes)
    }
}

/// Puts fields one after the other into `N` bytes; what does not fit is left out.
struct Fields<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Fields<N> {
    fn new() -> Self {
        Fields { bytes: [0; N], at: 0 }
    }

    fn put(&mut self, field: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.at..self.at + field.len()) {
            place.copy_from_slice(field);
            self.at += field.len();
        }
    }

    fn written(&self) -> &[u8] {
        self.bytes.get(..self.at).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_head_is_read_at_its_place_only(
            payload_bytes in 0..=SPOOL_FRAME_BYTES as u32, more in 0u64..1000, first in 0u64..1 << 60, offset in 0u64..1 << 40,
            created_s: i64, raw_bytes: u32, entries: u32, payload_crc: u32, at in 0usize..40, flip in 1u8..=255,
        ) {
            let head = FrameHead { payload_bytes, sequence: first + more, created_s, raw_bytes, entries, payload_crc };
            let mut bytes = head.encode(first, offset);
            prop_assert_eq!(FrameHead::decode(&bytes, first, offset), Some(head));
            prop_assert_eq!(FrameHead::decode(&bytes, first, offset + 1), None);
            prop_assert_eq!(FrameHead::decode(&bytes, first + 1, offset), None);
            bytes[at] ^= flip;
            prop_assert_eq!(FrameHead::decode(&bytes, first, offset), None);
        }

        #[test]
        fn a_segment_head_is_read_whole_only(first: u64, at in 0usize..24, flip in 1u8..=255) {
            let mut bytes = segment_head(first);
            prop_assert_eq!(parse_segment_head(&bytes), Some(first));
            bytes[at] ^= flip;
            prop_assert_eq!(parse_segment_head(&bytes), None);
        }

        #[test]
        fn a_name_is_read_back(first in 0u64..1 << 62) {
            prop_assert_eq!(parse_name(&name(first)), Some(first));
        }
    }

    #[test]
    fn names_of_others_are_none_of_ours() {
        for other in [
            "",
            ".seg",
            "42.seg",
            "position",
            "00000000000000000042",
            "00000000000000000042.seg.bak",
            "00000000000000000042 (copy).seg",
            "+0000000000000000042.seg",
            "18446744073709551615.seg",
            "99999999999999999999.seg",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
