//! Blocks of LZ4: sequences of literal bytes and copies of what came before.
//!
//! Promises: whatever the block is, it ends, and no more comes out than was asked for. Leaves to others: the size that journald writes before a block.

/// A block is not LZ4.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Shortest copy.
const COPY_LEAST: usize = 4;
/// A length in a token that goes on in the bytes behind it.
const GOES_ON: usize = 15;

/// Appends what a block stands for, up to `most` bytes. Returns whether there is more.
pub(super) fn decode(mut block: &[u8], most: usize, into: &mut Vec<u8>) -> Result<bool, Malformed> {
    let start = into.len();
    loop {
        let token = usize::from(byte(&mut block)?);
        let count = length(&mut block, token >> 4)?;
        let room = most.saturating_sub(into.len() - start);
        if room == 0 {
            // An empty last sequence ends a block as well.
            return Ok(count > 0 || !block.is_empty());
        }
        let (literals, rest) = block.split_at_checked(count).ok_or(Malformed)?;
        block = rest;
        into.extend_from_slice(literals.get(..room).unwrap_or(literals));
        if count > room {
            return Ok(true);
        }
        // Only the last sequence has no copy.
        if block.is_empty() {
            return Ok(false);
        }
        let (low, high) = (byte(&mut block)?, byte(&mut block)?);
        let back = usize::from(u16::from_le_bytes([low, high]));
        let count = length(&mut block, token & GOES_ON)?.checked_add(COPY_LEAST).ok_or(Malformed)?;
        if back == 0 || back > into.len() - start {
            return Err(Malformed);
        }
        let room = most.saturating_sub(into.len() - start);
        copy(into, back, count.min(room));
        if count > room {
            return Ok(true);
        }
    }
}

/// Repeats what is `back` bytes before the end; the copy may run into itself.
fn copy(into: &mut Vec<u8>, back: usize, mut count: usize) {
    let from = into.len() - back;
    while count > 0 {
        let step = count.min(into.len() - from);
        into.extend_from_within(from..from + step);
        count -= step;
    }
}

/// A length: what the token says, and the bytes that go on with it.
fn length(block: &mut &[u8], mut count: usize) -> Result<usize, Malformed> {
    if count < GOES_ON {
        return Ok(count);
    }
    loop {
        let more = byte(block)?;
        count = count.checked_add(usize::from(more)).ok_or(Malformed)?;
        if more != u8::MAX {
            return Ok(count);
        }
    }
}

fn byte(block: &mut &[u8]) -> Result<u8, Malformed> {
    let (first, rest) = block.split_first().ok_or(Malformed)?;
    *block = rest;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(block: &[u8], most: usize) -> Result<(Vec<u8>, bool), Malformed> {
        let mut into = b"before".to_vec();
        decode(block, most, &mut into).map(|more| (into.split_off(6), more))
    }

    #[test]
    fn sequences() {
        for (block, text) in [
            (&b"\x00"[..], &b""[..]),
            (b"\x50hello", b"hello"),
            (b"\x11a\x01\x00\x10b", b"aaaaaab"),
            (b"\x32abc\x03\x00\x10d", b"abcabcabcd"),
            (b"\x1fa\x01\x00\x03\x10b", b"aaaaaaaaaaaaaaaaaaaaaaab"),
            (b"\xf0\x01aaaabbbbccccdddd", b"aaaabbbbccccdddd"),
            (b"\x10a\x01\x00\x00", b"aaaaa"),
        ] {
            assert_eq!(decoded(block, 1000), Ok((text.to_vec(), false)), "{block:?}");
            for most in 0..text.len() {
                assert_eq!(decoded(block, most), Ok((text[..most].to_vec(), true)), "{block:?} up to {most}");
            }
            assert_eq!(decoded(block, text.len()), Ok((text.to_vec(), false)), "{block:?}");
        }
    }

    #[test]
    fn what_is_no_block() {
        for block in
            [&b""[..], b"\x50hell", b"\xf0", b"\x10a\x01", b"\x10a\x02\x00\x00", b"\x10a\x00\x00\x00", b"\x1fa\x01\x00"]
        {
            assert_eq!(decoded(block, 1000), Err(Malformed), "{block:?}");
        }
    }

    proptest! {
        #[test]
        fn never_more_than_asked_for(block in proptest::collection::vec(any::<u8>(), 0..64), most in 0..5000_usize) {
            if let Ok((text, _)) = decoded(&block, most) {
                prop_assert!(text.len() <= most);
            }
        }
    }
}
