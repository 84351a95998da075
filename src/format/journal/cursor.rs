//! Where an entry is, in systemd's own words.
//!
//! Promises: a cursor that `journalctl --show-cursor` prints is read, and what is written here `journalctl --after-cursor` takes. Leaves to others:
//! finding the entry.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A number of 128 bits that names a host, boot, file or sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Id(pub [u8; 16]);

impl Id {
    pub(super) fn at(bytes: &[u8], at: usize) -> Option<Id> {
        bytes.get(at..)?.first_chunk().map(|bytes| Id(*bytes))
    }

    /// From 32 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Id> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|number| Id(number.to_be_bytes()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Where an entry is and what tells it from others. As text it is its cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Who gave the number.
    pub seqnum_id: Id,
    /// The number, at least 1.
    pub seqnum: u64,
    /// The boot in which it was logged.
    pub boot_id: Id,
    /// Time since that boot, microseconds.
    pub monotonic_us: u64,
    /// Microseconds since 1970, when journald took it in.
    pub realtime_us: u64,
    /// The hashes of its data, combined.
    pub xor_hash: u64,
}

impl Location {
    /// Whether it is the same entry, maybe in another file: one that was copied has its content and times, but it may have a number
    /// from somebody else.
    pub fn is_same(&self, other: &Location) -> bool {
        let numbers_agree = self.seqnum_id != other.seqnum_id || self.seqnum == other.seqnum;
        numbers_agree
            && self.boot_id == other.boot_id
            && self.monotonic_us == other.monotonic_us
            && self.realtime_us == other.realtime_us
            && self.xor_hash == other.xor_hash
    }

    /// Which comes first, as systemd decides it: by number if the same one gave them, else by time since the same boot, else by the
    /// clock. This is no total order: with three sources of entries and a clock that was set, each can come before the next in a circle.
    pub fn order(&self, other: &Location) -> Ordering {
        let mut order = Ordering::Equal;
        if self.seqnum_id == other.seqnum_id {
            order = self.seqnum.cmp(&other.seqnum);
        }
        if order.is_eq() && self.boot_id == other.boot_id {
            order = self.monotonic_us.cmp(&other.monotonic_us);
        }
        order.then_with(|| self.realtime_us.cmp(&other.realtime_us)).then_with(|| self.xor_hash.cmp(&other.xor_hash))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { seqnum_id, seqnum, boot_id, monotonic_us, realtime_us, xor_hash } = self;
        write!(f, "s={seqnum_id};i={seqnum:x};b={boot_id};m={monotonic_us:x};t={realtime_us:x};x={xor_hash:x}")
    }
}

/// Why a text is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// A part is not of the form `k=value`, or its value is not of its kind.
    #[error("{part:?} is no part of a journal cursor (s=…;i=…;b=…;m=…;t=…;x=…)")]
    Part {
        /// The part.
        part: String,
    },
    /// It names no place.
    #[error("a journal cursor needs s= and i=, or b= and m=, or t=")]
    Incomplete,
}

/// A cursor as it was read: parts may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Who gave the number, and the number.
    pub seqnum: Option<(Id, u64)>,
    /// A boot, and the time since it, microseconds.
    pub monotonic: Option<(Id, u64)>,
    /// Microseconds since 1970.
    pub realtime_us: Option<u64>,
    /// The hashes of the entry's data, combined.
    pub xor_hash: Option<u64>,
}

impl Cursor {
    /// Whether it was made of this entry, as far as can be told.
    pub(super) fn is_of(&self, location: &Location) -> bool {
        let numbers_agree =
            self.seqnum.is_none_or(|(id, number)| id != location.seqnum_id || number == location.seqnum);
        numbers_agree
            && self.monotonic.is_none_or(|mark| mark == (location.boot_id, location.monotonic_us))
            && self.realtime_us.is_none_or(|time| time == location.realtime_us)
            && self.xor_hash.is_none_or(|hash| hash == location.xor_hash)
    }
}

impl From<Location> for Cursor {
    fn from(location: Location) -> Self {
        Cursor {
            seqnum: Some((location.seqnum_id, location.seqnum)),
            monotonic: Some((location.boot_id, location.monotonic_us)),
            realtime_us: Some(location.realtime_us),
            xor_hash: Some(location.xor_hash),
        }
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut seqnum_id, mut seqnum, mut boot_id, mut monotonic_us) = (None, None, None, None);
        let mut cursor = Cursor::default();
        for part in text.trim().split(';').filter(|part| !part.is_empty()) {
            let wrong = || CursorError::Part { part: part.chars().take(60).collect() };
            let (key, value) = part.split_once('=').ok_or_else(wrong)?;
            let id = || Id::from_hex(value).ok_or_else(wrong);
            let number = || {
                // A sign would be taken otherwise.
                let digits = value.bytes().all(|byte| byte.is_ascii_hexdigit());
                u64::from_str_radix(value, 16).ok().filter(|_| digits).ok_or_else(wrong)
            };
            match key {
                "s" => seqnum_id = Some(id()?),
                "i" => seqnum = Some(number()?),
                "b" => boot_id = Some(id()?),
                "m" => monotonic_us = Some(number()?),
                "t" => cursor.realtime_us = Some(number()?),
                "x" => cursor.xor_hash = Some(number()?),
                // Systemd passes over what it does not know as well.
                _ if key.len() == 1 => {}
                _ => return Err(wrong()),
            }
        }
        cursor.seqnum = seqnum_id.zip(seqnum);
        cursor.monotonic = boot_id.zip(monotonic_us);
        if cursor.seqnum.is_none() && cursor.monotonic.is_none() && cursor.realtime_us.is_none() {
            return Err(CursorError::Incomplete);
        }
        Ok(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str =
        "s=0639e6d5cd7e4f5f9e6f8b1f6c1e0a01;i=4a2;b=e0a92cd1e4b4481a93a9fa2d4a5a2b3c;m=5d6b1a2c;t=5fd8c1a2b3c4d;x=ab12";

    fn location() -> Location {
        Location {
            seqnum_id: Id::from_hex("0639e6d5cd7e4f5f9e6f8b1f6c1e0a01").unwrap(),
            seqnum: 0x4a2,
            boot_id: Id::from_hex("e0a92cd1e4b4481a93a9fa2d4a5a2b3c").unwrap(),
            monotonic_us: 0x5d6b_1a2c,
            realtime_us: 0x5_fd8c_1a2b_3c4d,
            xor_hash: 0xab12,
        }
    }

    #[test]
    fn text_and_back() {
        assert_eq!(location().to_string(), TEXT);
        assert_eq!(TEXT.parse(), Ok(Cursor::from(location())));
        assert_eq!(format!("{TEXT};y=1\n").parse(), Ok(Cursor::from(location())));
        assert!(Cursor::from(location()).is_of(&location()));
        assert!(!Cursor::from(location()).is_of(&Location { seqnum: 1, ..location() }));
    }

    #[test]
    fn parts_of_a_cursor() {
        let time: Cursor = "t=10".parse().unwrap();
        assert_eq!(time, Cursor { realtime_us: Some(16), ..Cursor::default() });
        for (text, incomplete) in [
            ("", true),
            ("x=1", true),
            ("i=1;m=2", true),
            ("t", false),
            ("t=", false),
            ("t=+1", false),
            ("t=x", false),
            ("t=1;s=12", false),
            ("t=11111111111111111", false),
            ("time=1;t=1", false),
        ] {
            let found = Cursor::from_str(text);
            assert_eq!(found == Err(CursorError::Incomplete), incomplete, "{text}: {found:?}");
            assert!(found.is_err(), "{text}: {found:?}");
        }
    }

    #[test]
    fn order_of_entries() {
        let one = location();
        let id = Id([9; 16]);
        let later = Location { realtime_us: one.realtime_us + 1, ..one };
        for (other, order) in [
            (one, Ordering::Equal),
            (later, Ordering::Less),
            // The number counts before anything else, then the time since the boot.
            (Location { seqnum: one.seqnum - 1, monotonic_us: u64::MAX, ..later }, Ordering::Greater),
            (Location { seqnum_id: id, seqnum: 1, monotonic_us: 1, ..later }, Ordering::Greater),
            (Location { seqnum_id: id, seqnum: 1, boot_id: id, monotonic_us: 1, ..later }, Ordering::Less),
            (Location { xor_hash: 1, ..one }, Ordering::Greater),
        ] {
            assert_eq!(one.order(&other), order, "{other}");
            assert_eq!(other.order(&one), order.reverse(), "{other}");
        }
        assert!(one.is_same(&Location { seqnum_id: id, seqnum: 1, ..one }));
        assert!(!one.is_same(&Location { seqnum: 1, ..one }));
        assert!(!one.is_same(&later));
    }

    proptest! {
        #[test]
        fn any_location(ids in any::<[[u8; 16]; 2]>(), numbers in any::<[u64; 4]>()) {
            let location = Location {
                seqnum_id: Id(ids[0]),
                seqnum: numbers[0],
                boot_id: Id(ids[1]),
                monotonic_us: numbers[1],
                realtime_us: numbers[2],
                xor_hash: numbers[3],
            };
            prop_assert_eq!(location.to_string().parse(), Ok(Cursor::from(location)));
        }

        #[test]
        fn never_panics(text in "([sibmtxé]|=|;|[0-9a-f]{0,33}){0,12}") {
            let _ = Cursor::from_str(&text);
        }
    }
}
