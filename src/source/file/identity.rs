//! What makes a file the same file: not its path.
//!
//! Device, inode and birth time (where the file system has one), and checksums of the bytes at the head and just before the offset.
//! The numbers say which file; the checksums say that its content is still the one that was read: an inode is used again after a
//! deletion, and `copytruncate` keeps the inode and replaces the content.
//!
//! Promises: encoding and decoding are inverse; decoding takes any bytes. Leaves to others: acting on a mismatch.

use crate::base::limits::{HEAD_BYTES, TAIL_BYTES};
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, statx};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Which file, on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub device: u64,
    pub inode: u64,
    /// Nanoseconds since 1970; 0 where the file system does not keep it.
    pub born_ns: i64,
}

impl Identity {
    /// Whether a file that was `self` before a restart may be `other` now. A birth time decides where there is one, for devices may be
    /// numbered differently after a reboot.
    pub(super) fn is_still(&self, other: &Identity) -> bool {
        let same = match (self.born_ns, other.born_ns) {
            (0, _) | (_, 0) => self.device == other.device,
            (then, now) => then == now,
        };
        self.inode == other.inode && same
    }
}

/// What one `statx` tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stat {
    pub identity: Identity,
    pub size: u64,
    /// When the content changed last, nanoseconds since 1970.
    pub modified_ns: i64,
    pub links: u32,
    pub is_file: bool,
    pub is_directory: bool,
}

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// Looks at what `path` leads to, through symbolic links.
pub(super) fn stat_path(path: &Path) -> io::Result<Stat> {
    Ok(from_statx(&statx(CWD, path, AtFlags::empty(), WANTED)?))
}

/// Looks at an open file.
pub(super) fn stat_file(file: impl AsFd) -> io::Result<Stat> {
    Ok(from_statx(&statx(file, c"", AtFlags::EMPTY_PATH, WANTED)?))
}

fn from_statx(s: &Statx) -> Stat {
    let has_birth = s.stx_mask & StatxFlags::BTIME.bits() != 0;
    let born_ns = s.stx_btime.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(s.stx_btime.tv_nsec));
    let kind = FileType::from_raw_mode(u32::from(s.stx_mode));
    Stat {
        identity: Identity {
            device: rustix::fs::makedev(s.stx_dev_major, s.stx_dev_minor),
            inode: s.stx_ino,
            born_ns: if has_birth { born_ns } else { 0 },
        },
        size: s.stx_size,
        modified_ns: s.stx_mtime.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(s.stx_mtime.tv_nsec)),
        links: s.stx_nlink,
        is_file: kind == FileType::RegularFile,
        is_directory: kind == FileType::Directory,
    }
}

/// The checksum of the bytes that end at the offset: a cursor's mark. At most the last [`TAIL_BYTES`] of `before` count.
pub(super) fn tail_mark(before: &[u8]) -> u32 {
    crc32fast::hash(before.get(before.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default())
}

/// How many bytes a mark at this offset is of.
pub(super) fn tail_len(offset: u64) -> usize {
    usize::try_from(offset).map_or(TAIL_BYTES, |o| o.min(TAIL_BYTES))
}

/// How far a file was read, and the checksums to recognise its content by. What a checkpoint keeps of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    /// How many bytes the head's checksum is of.
    pub head_len: u16,
    /// Checksum of the first `head_len` bytes.
    pub head: u32,
    /// Checksum of the bytes before the offset.
    pub tail: u32,
}

impl Mark {
    pub(super) fn encode(&self) -> [u8; 10] {
        let mut out = [0; 10];
        out[0..2].copy_from_slice(&self.head_len.to_le_bytes());
        out[2..6].copy_from_slice(&self.head.to_le_bytes());
        out[6..10].copy_from_slice(&self.tail.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 10] = bytes.try_into().ok()?;
        let [a, b, c, d, e, f, g, h, i, j] = *bytes;
        Some(Mark {
            head_len: u16::from_le_bytes([a, b]),
            head: u32::from_le_bytes([c, d, e, f]),
            tail: u32::from_le_bytes([g, h, i, j]),
        })
    }
}

/// Whether `file` still has the content that was read up to `offset`. A file that is shorter has not.
pub(super) fn content_matches(file: &File, offset: u64, mark: &Mark) -> io::Result<bool> {
    let mut buffer = [0; HEAD_BYTES];
    let mut same = |len: usize, at: u64, checksum: u32| {
        let Some(part) = buffer.get_mut(..len) else { return Ok(false) };
        match file.read_exact_at(part, at) {
            Ok(()) => Ok(crc32fast::hash(part) == checksum),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    };
    let tail = tail_len(offset);
    Ok(same(usize::from(mark.head_len), 0, mark.head)? && same(tail, offset - tail as u64, mark.tail)?)
}

/// The marks of a file at `offset`, as its content is now.
pub(super) fn marks_at(file: &File, offset: u64) -> io::Result<Mark> {
    let mut buffer = [0; HEAD_BYTES];
    let head_len = usize::try_from(offset).map_or(HEAD_BYTES, |o| o.min(HEAD_BYTES));
    let head = buffer.get_mut(..head_len).unwrap_or_default();
    file.read_exact_at(head, 0)?;
    let head = crc32fast::hash(head);
    let tail_len = tail_len(offset);
    let tail = buffer.get_mut(..tail_len).unwrap_or_default();
    file.read_exact_at(tail, offset - tail_len as u64)?;
    Ok(Mark { head_len: head_len as u16, head, tail: crc32fast::hash(tail) })
}

/// A cursor's key in the checkpoints: `file`, the source's name, the identity.
pub(super) fn encode_key(source: &str, identity: &Identity) -> Vec<u8> {
    let mut key = key_prefix();
    key.extend_from_slice(&identity.device.to_le_bytes());
    key.extend_from_slice(&identity.inode.to_le_bytes());
    key.extend_from_slice(&identity.born_ns.to_le_bytes());
    key.extend_from_slice(source.as_bytes());
    key
}

/// What every file cursor's key begins with.
pub(super) fn key_prefix() -> Vec<u8> {
    b"file\0".to_vec()
}

/// The source's name and the identity of a key.
pub(super) fn decode_key(key: &[u8]) -> Option<(&str, Identity)> {
    let rest = key.strip_prefix(key_prefix().as_slice())?;
    let (device, rest) = rest.split_first_chunk::<8>()?;
    let (inode, rest) = rest.split_first_chunk::<8>()?;
    let (born, rest) = rest.split_first_chunk::<8>()?;
    let identity = Identity {
        device: u64::from_le_bytes(*device),
        inode: u64::from_le_bytes(*inode),
        born_ns: i64::from_le_bytes(*born),
    };
    Some((std::str::from_utf8(rest).ok()?, identity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    proptest! {
        #[test]
        fn keys_and_marks_are_read_back(device: u64, inode: u64, born_ns: i64, name in ".{0,20}", head_len: u16, head: u32, tail: u32) {
            let identity = Identity { device, inode, born_ns };
            let key = encode_key(&name, &identity);
            prop_assert_eq!(decode_key(&key), Some((name.as_str(), identity)));
            let mark = Mark { head_len, head, tail };
            prop_assert_eq!(Mark::decode(&mark.encode()), Some(mark));
        }

        #[test]
        fn any_bytes_are_a_key_or_not(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode_key(&bytes);
            let _ = Mark::decode(&bytes);
        }
    }

    #[test]
    fn content_matches_until_head_or_tail_change() -> io::Result<()> {
        let mut file = tempfile::tempfile()?;
        file.write_all(&[b'a'; 1000])?;
        let mark = marks_at(&file, 600)?;
        assert!(content_matches(&file, 600, &mark)?);
        file.write_all_at(b"x", 700)?;
        assert!(content_matches(&file, 600, &mark)?);
        file.write_all_at(b"x", 590)?;
        assert!(!content_matches(&file, 600, &mark)?);
        let mark = marks_at(&file, 600)?;
        file.write_all_at(b"x", 10)?;
        assert!(!content_matches(&file, 600, &mark)?);
        let mark = marks_at(&file, 600)?;
        file.set_len(500)?;
        assert!(!content_matches(&file, 600, &mark)?);
        Ok(())
    }
}
