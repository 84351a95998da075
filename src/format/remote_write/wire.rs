//! Pieces of protobuf that both versions of remote write are made of.
//!
//! Promises: what proto3 leaves out is left out; a number's bits stay what they are. Leaves to others: which field has which number.

/// Longest varint, bytes.
const VARINT_BYTES: usize = 10;

/// Appends a varint.
pub(crate) fn push_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How long a varint is.
pub(crate) fn varint_len(value: u64) -> usize {
    // Seven bits a byte; zero still takes one.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends a field of bytes, also if there are none: in a repeated field an empty one counts.
pub(crate) fn push_bytes(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    push_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// How long such a field is.
pub(crate) fn bytes_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// Appends a text unless it is empty.
pub(crate) fn push_text(field: u8, text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() {
        push_bytes(field, text.as_bytes(), out);
    }
}

/// How long such a field is.
pub(crate) fn text_len(len: usize) -> usize {
    if len == 0 { 0 } else { bytes_len(len) }
}

/// Appends a number unless it is zero; a negative one as 64 bits.
pub(crate) fn push_number(field: u8, value: i64, out: &mut Vec<u8>) {
    if value != 0 {
        out.push(field << 3);
        push_varint(value as u64, out);
    }
}

/// How long such a field is.
pub(crate) fn number_len(value: i64) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(value as u64) }
}

/// Appends a double by its bits, unless it is zero without a sign.
pub(crate) fn push_double(field: u8, bits: u64, out: &mut Vec<u8>) {
    if bits != 0 {
        out.push(field << 3 | 1);
        out.extend_from_slice(&bits.to_le_bytes());
    }
}

/// How long such a field is.
pub(crate) fn double_len(bits: u64) -> usize {
    if bits == 0 { 0 } else { 9 }
}

/// Takes a varint from the start.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for at in 0..VARINT_BYTES {
        let byte = *bytes.get(at)?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *bytes = bytes.get(at + 1..)?;
            return Some(value);
        }
    }
    None
}

/// Takes a field of bytes with this number from the start.
pub(crate) fn take_bytes<'a>(field: u8, bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (tag, mut rest) = bytes.split_first()?;
    if *tag != field << 3 | 2 {
        return None;
    }
    let len = usize::try_from(take_varint(&mut rest)?).ok()?;
    let (taken, rest) = rest.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

/// A field as it stands in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// Takes the next field, with its number. `None`: it is none of those that requests are made of.
pub(crate) fn take_field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let tag = take_varint(bytes)?;
    let field = match tag & 7 {
        0 => Field::Number(take_varint(bytes)?),
        1 => {
            let (fixed, rest) = bytes.split_first_chunk::<8>()?;
            *bytes = rest;
            Field::Fixed(u64::from_le_bytes(*fixed))
        }
        2 => {
            let len = usize::try_from(take_varint(bytes)?).ok()?;
            let (taken, rest) = bytes.split_at_checked(len)?;
            *bytes = rest;
            Field::Bytes(taken)
        }
        _ => return None,
    };
    Some((tag >> 3, field))
}
