//! A GELF datagram: JSON as it is, or compressed with gzip or zlib; its first bytes tell.
//!
//! Promises: what comes out is bounded, however well it was compressed; checksums are checked; the state of decompression (some 40 KB) is
//! made when the first compressed message comes, and used again. Leaves to others: chunks, JSON.

use flate2::{Decompress, FlushDecompress, Status};

/// Why a message cannot be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// It begins like nothing that is known.
    #[error("a GELF message is JSON, gzip or zlib: this one begins with the byte {0:#04x}")]
    Unknown(u8),
    /// Nothing in it.
    #[error("the GELF message is empty")]
    Empty,
    /// Decompression fails.
    #[error("the GELF message is not valid {0}: {1}")]
    Damaged(&'static str, &'static str),
    /// More than is allowed.
    #[error("the GELF message has more than {0} bytes decompressed")]
    TooLarge(usize),
}

/// Unpacks one message after the other.
#[derive(Debug, Default)]
pub struct Unpacker {
    zlib: Option<Decompress>,
    raw: Option<Decompress>,
    out: Vec<u8>,
}

impl Unpacker {
    /// The JSON of a message; at most `max` bytes if it was compressed.
    pub fn unpack<'a>(&'a mut self, message: &'a [u8], max: usize) -> Result<&'a [u8], UnpackError> {
        match message {
            [] => Err(UnpackError::Empty),
            [0x1f, 0x8b, ..] => self.gzip(message, max),
            [first, second, ..] if first & 15 == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0 => {
                let state = self.zlib.get_or_insert_with(|| Decompress::new(true));
                state.reset(true);
                inflate(state, message, &mut self.out, max, "zlib")?;
                Ok(&self.out)
            }
            [b'{' | b' ' | b'\t' | b'\n' | b'\r', ..] => Ok(message),
            [first, ..] => Err(UnpackError::Unknown(*first)),
        }
    }

    fn gzip(&mut self, message: &[u8], max: usize) -> Result<&[u8], UnpackError> {
        let damaged = |what| UnpackError::Damaged("gzip", what);
        let body = gzip_body(message).ok_or_else(|| damaged("its head is cut off or of another method"))?;
        let state = self.raw.get_or_insert_with(|| Decompress::new(false));
        state.reset(false);
        let used = inflate(state, body, &mut self.out, max, "gzip")?;
        let trailer =
            body.get(used..).and_then(|rest| rest.first_chunk::<8>()).ok_or_else(|| damaged("its end is missing"))?;
        let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
        let (sum, len) = (u32::from_le_bytes([c0, c1, c2, c3]), u32::from_le_bytes([l0, l1, l2, l3]));
        if sum != crc32fast::hash(&self.out) || u64::from(len) != self.out.len() as u64 {
            return Err(damaged("its checksum is wrong"));
        }
        Ok(&self.out)
    }
}

/// What is behind a gzip header (RFC 1952).
fn gzip_body(message: &[u8]) -> Option<&[u8]> {
    let (head, mut rest) = message.split_first_chunk::<10>()?;
    let [_, _, method, flags, ..] = *head;
    if method != 8 || flags & 0xe0 != 0 {
        return None;
    }
    if flags & 4 != 0 {
        let (len, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    // A name and a comment, each with a NUL behind it.
    for flag in [8, 16] {
        if flags & flag != 0 {
            rest = rest.get(memchr::memchr(0, rest)? + 1..)?;
        }
    }
    if flags & 2 != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

/// Fills `out`; tells how many bytes of the input were used.
fn inflate(
    state: &mut Decompress,
    input: &[u8],
    out: &mut Vec<u8>,
    max: usize,
    format: &'static str,
) -> Result<usize, UnpackError> {
    out.clear();
    loop {
        if out.len() == out.capacity() {
            // One byte more than is allowed shows that there is more.
            let more = out.capacity().max(4096).min((max + 1).saturating_sub(out.len()));
            out.reserve_exact(more);
        }
        let used = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        let rest = input.get(used..).unwrap_or_default();
        let before = out.len();
        let status = state.decompress_vec(rest, out, FlushDecompress::None);
        let status = status.map_err(|_| UnpackError::Damaged(format, "the compressed data make no sense"))?;
        if out.len() > max {
            return Err(UnpackError::TooLarge(max));
        }
        let now = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        match status {
            Status::StreamEnd => return Ok(now),
            // Nothing was used and nothing came out, though there was room.
            _ if now == used && out.len() == before && out.len() < out.capacity() => {
                return Err(UnpackError::Damaged(format, "its end is missing"));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use flate2::{GzBuilder, write::DeflateEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(data: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(message: &[u8], max: usize) -> Result<Vec<u8>, UnpackError> {
        Unpacker::default().unpack(message, max).map(<[u8]>::to_vec)
    }

    #[test]
    fn forms() {
        let json = br#"{"short_message":"x"}"#;
        let mut unpacker = Unpacker::default();
        for _ in 0..2 {
            for message in [json.to_vec(), gzip(json), zlib(json, 0), zlib(json, 6), zlib(json, 9)] {
                assert_eq!(unpacker.unpack(&message, 100), Ok(json.as_slice()));
            }
        }
        let heads = [
            GzBuilder::new().filename("a").comment("b").extra(vec![1, 2, 3]),
            GzBuilder::new().filename("a"),
            GzBuilder::new().comment("b"),
            GzBuilder::new().extra(vec![]),
        ];
        for head in heads {
            let mut encoder = head.write(Vec::new(), Compression::fast());
            encoder.write_all(json).unwrap();
            assert_eq!(unpack(&encoder.finish().unwrap(), 100), Ok(json.to_vec()));
        }
        assert_eq!(unpack(b"", 100), Err(UnpackError::Empty));
        assert_eq!(unpack(b"<13>x", 100), Err(UnpackError::Unknown(b'<')));
        assert_eq!(unpack(&[0x78], 100), Err(UnpackError::Unknown(0x78)));
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(json).unwrap();
        assert!(unpack(&raw.finish().unwrap(), 100).is_err());
    }

    #[test]
    fn a_bomb_is_refused() {
        let zeros = vec![b' '; 10_000_000];
        for message in [gzip(&zeros), zlib(&zeros, 9)] {
            assert!(message.len() < 100_000);
            let mut unpacker = Unpacker::default();
            assert_eq!(unpacker.unpack(&message, 10_000), Err(UnpackError::TooLarge(10_000)));
            assert!(unpacker.out.capacity() < 20_000, "{}", unpacker.out.capacity());
        }
        assert_eq!(unpack(&gzip(&[b'x'; 5000]), 5000).map(|out| out.len()), Ok(5000));
        assert_eq!(unpack(&gzip(&[b'x'; 5001]), 5000), Err(UnpackError::TooLarge(5000)));
    }

    #[test]
    fn damage_is_found() {
        let json = [br#"{"short_message":""#.as_slice(), &[b'x'; 300], br#""}"#].concat();
        for (message, trailer) in [(gzip(&json), 8), (zlib(&json, 6), 4)] {
            for len in 2..message.len() {
                assert!(unpack(&message[..len], 1000).is_err(), "{len} bytes");
            }
            for at in message.len() - trailer..message.len() {
                let mut wrong = message.clone();
                wrong[at] ^= 1;
                assert!(unpack(&wrong, 1000).is_err(), "byte {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_out(data: Vec<u8>, level in 0..10_u32) {
            prop_assert_eq!(unpack(&gzip(&data), 1 << 16), Ok(data.clone()));
            prop_assert_eq!(unpack(&zlib(&data, level), 1 << 16), Ok(data));
        }

        #[test]
        fn never_panics(head in prop_oneof![Just(vec![0x1f, 0x8b, 8]), Just(vec![0x78, 0x9c]), Just(vec![])], rest: Vec<u8>) {
            let _ = unpack(&[head, rest].concat(), 1000);
        }
    }
}
