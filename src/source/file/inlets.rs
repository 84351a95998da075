//! Files of inlets: what has a number, what is older, and what is removed.
//!
//! The file that is written to is called [`inlet::NAME`]; a finished one has a number behind it, and nobody writes to it any more.
//!
//! Promises: they are read in the order of their numbers, whatever the clock said when they were born, and the one that is written to comes last; one
//! that is read to its end and stored is removed, and no other. Leaves to others: what is done with files of all kinds (`follow`, `finish`).

use super::follow::{Follow, fail};
use super::identity::{Identity, stat_file, stat_path};
use super::tracked::FileId;
use super::tree::DirId;
use crate::store::inlet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Within what time both halves of a renaming are told.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

impl Follow {
    /// A rotated file of an inlet has the number that its name says. Until that is known it is taken for the newest: it was written to last.
    pub(super) fn number(&mut self, id: FileId) {
        let Some(file) = self.files.get(id).filter(|file| file.rotated) else { return };
        if !self.is_inlet(file.source) {
            return;
        }
        let told = file.place.as_ref().and_then(|place| inlet::number_of(&place.name));
        if let Some(number) = told.or((file.number() == 0).then_some(u64::MAX)) {
            self.files.numbered(id, number);
        }
    }

    /// Before the file of an inlet that is written to is followed: the ones that were it before are there, while it may not have been told of them yet.
    /// Nothing else reads them before it.
    pub(super) fn present_older(&mut self, source: u16, dir: DirId, name: &OsStr, identity: &Identity) {
        if !self.is_inlet(source) {
            return;
        }
        let Some(entries) = self.path_of(dir, name).and_then(|path| std::fs::read_dir(path.parent()?).ok()) else {
            return;
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        let mut numbered: Vec<_> = names.filter_map(|name| Some((inlet::number_of(&name)?, name))).collect();
        numbered.sort_unstable();
        for (_, name) in numbered {
            let stat = self.path_of(dir, &name).and_then(|path| stat_path(&path).ok());
            if stat.is_some_and(|stat| stat.identity == *identity) {
                // It has its number by now: those behind it are younger.
                break;
            }
            self.present(source, dir, &name, None);
        }
    }

    /// Where a file of an inlet was before it got its number. `None`: it has none, or is of no inlet.
    pub(super) fn inlet_path(&self, source: u16, path: &Path) -> Option<PathBuf> {
        let is_numbered = self.is_inlet(source) && inlet::number_of(path.file_name()?).is_some();
        is_numbered.then(|| path.with_file_name(inlet::NAME))
    }

    pub(super) fn is_inlet(&self, source: u16) -> bool {
        self.sources.get(usize::from(source)).is_some_and(|source| source.settings.removes_done())
    }

    /// A file of an inlet that has its number and is read to its end: nobody writes to it any more, nobody else reads it, so it is removed. If
    /// that is cut short, reading it again gives the same entries.
    pub(super) fn settle_of_inlet(&mut self, id: FileId) -> bool {
        let Some(file) = self.files.get(id) else { return true };
        let source = file.source;
        if file.place.is_none() && file.file.is_none() {
            let is_renamed = file.quiet_since().is_some_and(|since| since.elapsed() < TOLD_WITHIN);
            if !file.deleted && is_renamed {
                // It was given its number a moment ago: it is told under which name.
                return false;
            }
            // The inlet gave it up before it was opened: nothing more can be learned, and others wait for it.
            self.files.finished(id);
            self.let_go(id, true);
            return true;
        }
        let is_holding = file.pipe.as_ref().is_some_and(|pipe| pipe.strand.is_holding());
        if !file.at_end || file.size > file.offset || file.failing().is_some() || is_holding {
            return false;
        }
        let has_links = |handle: &File| stat_file(handle).is_ok_and(|stat| stat.links > 0);
        if file.place.is_none() && file.file.as_ref().is_some_and(has_links) {
            // It was given its number a moment ago: it is told under which name.
            return false;
        }
        let path = file.place.as_ref().and_then(|place| self.path_of(place.dir, &place.name));
        // The one that is written to is never finished.
        if let Some(path) = path.filter(|path| self.inlet_path(source, path).is_some()) {
            // Another file that has the name by now is not touched.
            let is_it = stat_path(&path).map(|stat| file.identity.is_still(&stat.identity));
            match is_it.and_then(|is_it| if is_it { std::fs::remove_file(&path) } else { Ok(()) }) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    if let Some(source) = self.sources.get(usize::from(source)) {
                        fail(source, &path, "remove", &error);
                    }
                    return false;
                }
                _ => {}
            }
        }
        self.files.finished(id);
        let place = self.files.get(id).and_then(|file| Some((file.source, file.place.clone()?)));
        if let Some((source, place)) = place {
            self.files.unname(source, place.dir, &place.name);
        }
        self.let_go(id, true);
        true
    }

    /// Looks after files of inlets as soon as they are stored: what is stored needs its room no more.
    pub(super) fn settle_inlets(&mut self) {
        let is_of_inlet =
            |follow: &Follow, id: &FileId| follow.files.get(*id).is_some_and(|file| follow.is_inlet(file.source));
        if !self.unsettled.iter().any(|id| is_of_inlet(self, id)) {
            return;
        }
        for id in std::mem::take(&mut self.unsettled) {
            if !is_of_inlet(self, &id) || !self.settle(id) {
                self.unsettled.push(id);
            }
        }
    }
}
