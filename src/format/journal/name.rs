//! What the names of journal files and of their directories say.
//!
//! Promises: the names that journald, journald's namespaces and systemd-journal-remote give. Leaves to others: listing directories, and never takes
//! a name for an identity: that is [`super::Header::file_id`].

use super::cursor::Id;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `system.journal`: written now.
    Active,
    /// `system@….journal`: complete, as it was rotated.
    Archived {
        /// Who numbered the entries.
        seqnum_id: Id,
        /// Number of its first entry.
        head_seqnum: u64,
        /// Time of its first entry, microseconds since 1970.
        head_realtime_us: u64,
    },
    /// `system@….journal~`: set aside because it was not closed in order. Nobody writes it; its header may say that somebody does.
    Unclean,
}

/// A journal file's name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileName<'a> {
    /// `system`, `user-1000`, `remote-…` or what else stands before the mark.
    pub prefix: &'a str,
    /// What became of it.
    pub kind: Kind,
}

/// Takes the name of a file apart. `None` if it is not that of a journal.
///
/// ```
/// use lugger::format::journal::{Kind, file_name};
/// assert_eq!(file_name("user-1000.journal").unwrap().prefix, "user-1000");
/// assert_eq!(file_name("system@000601-abc.journal~").unwrap().kind, Kind::Unclean);
/// assert!(file_name("fss").is_none());
/// ```
pub fn file_name(name: &str) -> Option<FileName<'_>> {
    if let Some(stem) = name.strip_suffix(".journal~") {
        return Some(FileName { prefix: stem.split('@').next().unwrap_or(stem), kind: Kind::Unclean });
    }
    let stem = name.strip_suffix(".journal").filter(|stem| !stem.is_empty())?;
    // The last mark: the names of remote hosts may have one.
    let archived = stem.rsplit_once('@').and_then(|(prefix, mark)| {
        let mut parts = mark.split('-');
        let seqnum_id = Id::from_hex(parts.next()?)?;
        let head_seqnum = u64::from_str_radix(parts.next()?, 16).ok()?;
        let head_realtime_us = u64::from_str_radix(parts.next()?, 16).ok()?;
        let kind = Kind::Archived { seqnum_id, head_seqnum, head_realtime_us };
        parts.next().is_none().then_some(FileName { prefix, kind })
    });
    Some(archived.unwrap_or(FileName { prefix: stem, kind: Kind::Active }))
}

/// Whether a directory in the journal's directory has files of a host: its name is a machine id, maybe with the name of a journal namespace
/// behind it. Returns both.
pub fn machine_directory(name: &str) -> Option<(Id, Option<&str>)> {
    let (id, namespace) = match name.split_once('.') {
        Some((id, namespace)) => (id, Some(namespace).filter(|name| !name.is_empty())),
        None => (name, None),
    };
    Id::from_hex(id).map(|id| (id, namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0639e6d5cd7e4f5f9e6f8b1f6c1e0a01";

    #[test]
    fn files() {
        let archived = Kind::Archived {
            seqnum_id: Id::from_hex(ID).unwrap(),
            head_seqnum: 0x1c81,
            head_realtime_us: 0x5_fd8c_1a2b_3c4d,
        };
        let active = Kind::Active;
        for (name, want) in [
            ("system.journal", Some(("system", active))),
            ("user-1000.journal", Some(("user-1000", active))),
            ("remote-10.0.0.1.journal", Some(("remote-10.0.0.1", active))),
            ("remote-a@b.journal", Some(("remote-a@b", active))),
            (&format!("system@{ID}-0000000000001c81-0005fd8c1a2b3c4d.journal"), Some(("system", archived))),
            (&format!("remote-a@b@{ID}-1c81-5fd8c1a2b3c4d.journal"), Some(("remote-a@b", archived))),
            ("user-7@0005fd8c1a2b3c4d-0123456789abcdef.journal~", Some(("user-7", Kind::Unclean))),
            (".journal", None),
            ("system.journal.tmp", None),
            ("fss", None),
            ("", None),
        ] {
            let found = file_name(name).map(|found| (found.prefix, found.kind));
            assert_eq!(found, want, "{name}");
        }
    }

    #[test]
    fn directories() {
        let id = Id::from_hex(ID).unwrap();
        assert_eq!(machine_directory(ID), Some((id, None)));
        assert_eq!(machine_directory(&format!("{ID}.web")), Some((id, Some("web"))));
        assert_eq!(machine_directory("remote"), None);
        assert_eq!(machine_directory(&ID[1..]), None);
    }
}
