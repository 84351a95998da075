//! Files that are followed and cannot be opened any more: their content may still be there, compressed by who rotated them.
//!
//! Between the look at a name and the call that opens it, a log can be renamed, compressed and removed. What is known of the file then is its size and, if
//! something of it was read, its head and the bytes before its offset. A compressed file beside its path that has both, is at least as long, and was
//! written to after the file was born is the same content: what comes after the offset is unpacked into a file without a name (`twin`), in which the
//! followed file goes on. Of a file of which nothing was read nothing is known to compare: a log with an owner has it taken in with its earlier
//! generations (`earlier`), and others count it.
//!
//! Promises: what is found this way is neither lost, nor read a second time, nor counted as lost; content of another file is never taken. Leaves to others:
//! letting go of what is not found (`finish`).

use super::begin::is_rotated_name;
use super::earlier::{Held, hold_packed};
use super::follow::Follow;
use super::identity::stat_file;
use super::saved::Known;
use super::tracked::{FileId, Tracked, open_for_reading};
use super::twin::{Twin, unpack};
use crate::base::limits::TWIN_BYTES;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Follow {
    /// Gives the file its content, if that is still somewhere. False: it is not found, or the file has nothing left to read. True also while it cannot be
    /// looked for.
    pub(super) fn recover(&mut self, id: FileId) -> bool {
        let Some(file) = self.files.get(id).filter(|file| is_blind(file) && file.mark.head_len > 0) else {
            return false;
        };
        if !self.may_hold() || self.is_stopping() {
            return true;
        }
        let Some(origin) = file.origin().map(Path::to_owned) else { return false };
        if self.is_owned(file.source) {
            hold_packed(&origin).into_iter().any(|(path, packed)| self.goes_on_in(id, &origin, &path, packed))
        } else {
            compressed_beside(&origin)
                .any(|path| open_for_reading(&path).is_ok_and(|packed| self.goes_on_in(id, &origin, &path, packed)))
        }
    }

    /// True when `packed` is the content of the file, which goes on in it.
    pub(super) fn goes_on_in(&mut self, id: FileId, origin: &Path, path: &Path, packed: File) -> bool {
        let Some(file) = self.files.get(id).filter(|file| is_blind(file) && file.mark.head_len > 0) else {
            return false;
        };
        // Earlier generations were last written to before this one was made. Without a birth time nobody can tell.
        let born_ns = file.identity.born_ns;
        if born_ns == 0 || !stat_file(&packed).is_ok_and(|stat| stat.is_file && stat.modified_ns >= born_ns) {
            return false;
        }
        let known = Known {
            slot: 0,
            source: String::new(),
            identity: file.identity,
            origin: origin.to_owned(),
            position: file.offset,
            mark: file.mark,
            intents: VecDeque::new(),
        };
        let size = file.size;
        let unpacked = unpack(packed, &known, TWIN_BYTES, &mut || self.store.nameless_file(), &|| self.is_stopping());
        let (rest, length) = match unpacked {
            Ok(Twin::Rest(rest, length)) if length >= size => (rest, length),
            Ok(_) => return false,
            // Its checkpoint stays, by which it is found after the restart.
            Err(_) if self.is_stopping() => return true,
            Err(error) => {
                tracing::warn!(
                    path = %path.display(), %error,
                    "a compressed file could not be compared with a log that is gone: if lines of it are missing, send them from there"
                );
                return false;
            }
        };
        tracing::info!(
            path = %origin.display(), compressed_to = %path.display(), unread_bytes = length - known.position,
            "a file was rotated and compressed before all of it was read: its rest is read from there"
        );
        self.give_content(id, rest, length);
        true
    }

    /// The file that this plain one is, if it was met by its name and moved before it could be opened.
    pub(super) fn blind_like(&self, source: u16, held: &Held) -> Option<FileId> {
        let id = self.files.by_identity(source, &held.stat.identity).filter(|_| self.may_hold())?;
        self.files
            .get(id)
            .filter(|file| file.identity == held.stat.identity && file.file.is_none() && !file.compressed)?;
        Some(id)
    }

    /// The file goes on in what was found.
    pub(super) fn give_content(&mut self, id: FileId, content: File, size: u64) {
        let Some(file) = self.files.get_mut(id) else { return };
        file.size = file.size.max(size);
        file.set_failing(None);
        file.set_unseen(false);
        file.at_end = false;
        if file.file.replace(content).is_none() {
            self.open += 1;
        }
        self.failing.retain(|other| *other != id);
        if self.files.get(id).is_some_and(|file| file.rotated) {
            // It may have been passed over: what was rotated after it waits for it again.
            self.files.rotated(id);
        }
        self.files.make_ready(id);
    }

    /// Of files of a log with an owner that are gone before anything of them was read, the oldest ones are in so many generations that were taken in since,
    /// each with the size that it has unpacked: they are nobody's loss.
    pub(super) fn are_taken_in(&mut self, source: u16, origin: &Path, sizes: &[u64]) {
        let is_gone = |id: &FileId| {
            self.files.get(*id).is_some_and(|file| {
                file.source == source
                    && is_blind(file)
                    && file.place.is_none()
                    && file.offset == 0
                    && file.mark.head_len == 0
                    && file.origin() == Some(origin)
            })
        };
        let mut gone: Vec<FileId> = self.unsettled.iter().copied().filter(is_gone).collect();
        gone.sort_by_key(|id| self.files.get(*id).map(Tracked::age));
        for (id, size) in gone.into_iter().zip(sizes) {
            if let Some(file) = self.files.get_mut(id).filter(|file| file.size <= *size) {
                file.size = 0;
            }
        }
    }

    pub(super) fn is_owned(&self, source: u16) -> bool {
        self.sources.get(usize::from(source)).is_some_and(|source| source.settings.owners.is_some())
    }
}

/// It has unread content and nothing to read it from.
fn is_blind(file: &Tracked) -> bool {
    file.file.is_none() && !file.compressed && (file.size > file.offset || file.is_unseen())
}

/// Compressed files with names that rotation gives.
fn compressed_beside(origin: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = origin.parent().and_then(|parent| std::fs::read_dir(parent).ok());
    let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    paths.filter(move |path| {
        let plain = path.file_name().and_then(|name| name.as_bytes().strip_suffix(b".gz"));
        plain.is_some_and(|plain| is_rotated_name(origin, OsStr::from_bytes(plain)))
    })
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
