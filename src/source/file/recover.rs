//! Files that are followed and cannot be opened any more: their content may still be there, compressed by who rotated them.
//!
//! Between the look at a name and the call that opens it, a log can be renamed, compressed and removed. What is known of the file then is its size
//! and, if anything of it was read, its head. A compressed file beside its path with that head is the same content: it is given to the followed file, which
//! goes on in it where it was. A generation of a log that has an owner is recognised even when nothing of it was read, as all of them are wanted:
//! by being one that nothing else is known of, and long enough.
//!
//! Promises: what is found this way is neither lost, nor read a second time, nor counted as lost. Leaves to others: unpacking (`earlier`), reading
//! (`read`), letting go of what is not found (`finish`).

use super::begin::is_rotated_name;
use super::earlier::{Held, hold, is_of};
use super::follow::Follow;
use super::identity::{Mark, stat_file};
use super::tracked::{FileId, Tracked, open_for_reading};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Follow {
    /// Gives the file its content, if that is still somewhere. False: it is not found, or the file has nothing left to read.
    pub(super) fn recover(&mut self, id: FileId) -> bool {
        let Some(file) = self.files.get(id).filter(|file| is_blind(file)) else { return false };
        let Some(origin) = file.origin().map(Path::to_owned) else { return false };
        let source = file.source;
        let is_owned = self.is_owned(source);
        if !is_owned && file.mark.head_len == 0 {
            return false;
        }
        let known = if is_owned { self.heads_beside(id, &origin) } else { Vec::new() };
        let found = if is_owned { generations(&origin) } else { compressed_beside(&origin) };
        let Some(file) = self.files.get(id) else { return false };
        // The oldest first: what nobody knows of is likelier to be old.
        let fits = |held: &Held| {
            held.stat.identity == file.identity
                || held.is_packed && is_content_of(file, held, &held.head(), &known, is_owned)
        };
        let Some(held) = found.into_iter().rev().find(fits) else { return false };
        self.give_content(id, held);
        true
    }

    /// Of the generations of a log with an owner, the file that `held` is the content of, if that one has no descriptor.
    pub(super) fn blind_of(
        &self,
        source: u16,
        origin: &Path,
        held: &Held,
        head: &[u8],
        known: &[Mark],
    ) -> Option<FileId> {
        let is_it = |id: &FileId| {
            self.files.get(*id).is_some_and(|file| {
                file.source == source
                    && is_blind(file)
                    && file.origin() == Some(origin)
                    && is_content_of(file, held, head, known, true)
            })
        };
        self.unsettled.iter().copied().find(is_it)
    }

    /// The file goes on in what was found.
    pub(super) fn give_content(&mut self, id: FileId, held: Held) {
        let Some(file) = self.files.get_mut(id) else { return };
        file.size = file.size.max(if held.is_packed { 0 } else { held.stat.size });
        file.set_packed(held.is_packed);
        file.set_failing(None);
        file.at_end = false;
        if file.file.replace(held.file).is_none() {
            self.open += 1;
        }
        self.failing.retain(|other| *other != id);
        if self.files.get(id).is_some_and(|file| file.rotated) {
            // It had been passed over: what was rotated after it waits for it again.
            self.files.rotated(id);
        }
        self.files.make_ready(id);
    }

    pub(super) fn is_owned(&self, source: u16) -> bool {
        self.sources.get(usize::from(source)).is_some_and(|source| source.settings.owners.is_some())
    }

    /// The heads of what else is known of a log.
    fn heads_beside(&self, id: FileId, origin: &Path) -> Vec<Mark> {
        let Some(file) = self.files.get(id) else { return Vec::new() };
        let others = self.files.iter().filter(|(other, _)| *other != id);
        let others = others.filter(|(other, kin)| kin.source == file.source && self.origin(*other) == *origin);
        others
            .flat_map(|(_, kin)| super::earlier::head_of(kin).into_iter().chain(kin.earlier().iter().copied()))
            .collect()
    }
}

/// It has unread content and nothing to read it from.
pub(super) fn is_blind(file: &Tracked) -> bool {
    let is_done = file.at_end && file.size <= file.offset;
    file.file.is_none() && !file.compressed && !is_done
}

fn is_content_of(file: &Tracked, held: &Held, head: &[u8], known: &[Mark], is_owned: bool) -> bool {
    if file.mark.head_len > 0 {
        return is_of(&file.mark, head);
    }
    is_owned
        && file.offset == 0
        && !known.iter().any(|known| is_of(known, head))
        && held.unpacked_size().is_some_and(|size| size >= file.size)
}

fn generations(origin: &Path) -> Vec<Held> {
    let (Some(parent), Some(name)) = (origin.parent(), origin.file_name()) else { return Vec::new() };
    // What cannot be opened is told of when it is looked for.
    let mut held = hold(parent, name, |_, _| {});
    held.retain(|held| held.number > 0);
    held
}

/// Compressed files with names that rotation gives.
fn compressed_beside(origin: &Path) -> Vec<Held> {
    let entries = origin.parent().and_then(|parent| std::fs::read_dir(parent).ok());
    let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    let is_rotated = |path: &Path| {
        let plain = path.file_name().and_then(|name| name.as_bytes().strip_suffix(b".gz"));
        plain.is_some_and(|plain| is_rotated_name(origin, OsStr::from_bytes(plain)))
    };
    let held = paths.filter(|path| is_rotated(path)).filter_map(|path| {
        let file = open_for_reading(&path).ok()?;
        let stat = stat_file(&file).ok().filter(|stat| stat.is_file)?;
        Some(Held { number: 1, is_packed: true, name: path.file_name()?.to_owned(), file, stat })
    });
    held.collect()
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
