//! What data objects say that many entries share: unit, host, command, boot.
//!
//! Promises: a fixed number of places and bytes; nothing allocates once they are there. An object's content does not change while it is
//! in a file, so that nothing here gets old. Leaves to others: deciding what is worth it.

use crate::base::limits::{JOURNALD_SHARED, JOURNALD_SHARED_BYTES, JOURNALD_SHARED_PAYLOAD_BYTES};

/// A data object that is known. File 0 is none.
#[derive(Clone, Copy, Default)]
struct Slot {
    file: u64,
    offset: u64,
    start: u32,
    len: u32,
    name: u32,
}

/// What is known of a data object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known<'a> {
    /// Nobody reads this field.
    Unwanted,
    /// `NAME=value`, and the bytes of the name.
    Field(&'a [u8], usize),
}

/// The objects that are known, each at the one place that its offset leads to.
#[derive(Default)]
pub(super) struct Shared {
    slots: Vec<Slot>,
    bytes: Vec<u8>,
}

impl Shared {
    pub(super) fn get(&self, file: u64, offset: u64) -> Option<Known<'_>> {
        let slot = self.slots.get(slot_of(file, offset)).filter(|slot| slot.file == file && slot.offset == offset)?;
        if slot.len == 0 {
            return Some(Known::Unwanted);
        }
        let start = slot.start as usize;
        let payload = self.bytes.get(start..start + slot.len as usize)?;
        Some(Known::Field(payload, slot.name as usize))
    }

    /// Remembers an object, if it is short.
    pub(super) fn put(&mut self, file: u64, offset: u64, known: Known<'_>) {
        if self.slots.is_empty() {
            self.slots.resize(JOURNALD_SHARED, Slot::default());
            self.bytes.reserve_exact(JOURNALD_SHARED_BYTES);
        }
        let (payload, name) = match known {
            Known::Unwanted => (&[][..], 0),
            Known::Field(payload, _) if payload.len() > JOURNALD_SHARED_PAYLOAD_BYTES => return,
            Known::Field(payload, name) => (payload, name),
        };
        if self.bytes.len() + payload.len() > JOURNALD_SHARED_BYTES {
            self.bytes.clear();
            self.slots.fill(Slot::default());
        }
        // All of it is less than 4 GiB.
        let slot = Slot { file, offset, start: self.bytes.len() as u32, len: payload.len() as u32, name: name as u32 };
        self.bytes.extend_from_slice(payload);
        if let Some(place) = self.slots.get_mut(slot_of(file, offset)) {
            *place = slot;
        }
    }
}

/// The place of an object: the upper bits of a product spread what lies close together.
fn slot_of(file: u64, offset: u64) -> usize {
    let mixed = (offset ^ file.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize % JOURNALD_SHARED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_by_file_and_offset() {
        let mut shared = Shared::default();
        assert_eq!(shared.get(1, 8), None);
        shared.put(1, 8, Known::Field(b"A=b", 1));
        shared.put(1, 16, Known::Unwanted);
        assert_eq!(shared.get(1, 8), Some(Known::Field(b"A=b", 1)));
        assert_eq!(shared.get(1, 16), Some(Known::Unwanted));
        assert_eq!(shared.get(2, 8), None);
        assert_eq!(shared.get(0, 0), Some(Known::Unwanted), "file 0 is none, and nobody's");
        shared.put(1, 24, Known::Field(&[b'x'; JOURNALD_SHARED_PAYLOAD_BYTES + 1], 1));
        assert_eq!(shared.get(1, 24), None);
    }

    #[test]
    fn bounded() {
        let mut shared = Shared::default();
        let payload = [b'x'; 1000];
        for offset in 1..5000_u64 {
            shared.put(1, offset * 8, Known::Field(&payload, 3));
            assert_eq!(shared.get(1, offset * 8), Some(Known::Field(&payload[..], 3)));
        }
        assert_eq!(shared.slots.len(), JOURNALD_SHARED);
        assert_eq!(shared.bytes.capacity(), JOURNALD_SHARED_BYTES);
    }
}
