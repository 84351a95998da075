//! Symbolic links: what a followed link leads to is watched where it is, and has a name there too, its **alias**.
//!
//! Promises: what is written to a link's target is noticed, also when the target was replaced, or was followed already under another name; a link that
//! leads nowhere is looked at often for a minute, then with the sweep, as are those beyond a bound. Leaves to others: files and their names
//! (`follow`), directories (`tree`).

use super::follow::Follow;
use super::identity::{Stat, stat_path};
use super::tracked::{FileId, Place};
use super::tree::DirId;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a link without target is looked at often; then the sweep does.
const DANGLING: Duration = Duration::from_secs(60);
/// Links without target that are looked at often.
const DANGLING_MAX: usize = 1000;

impl Follow {
    /// If `path` is a link, what it leads to is watched, so that what is written there is noticed. False: it is none.
    pub(super) fn watch_target(&mut self, number: u16, id: FileId, path: &Path, stat: &Stat) -> bool {
        let Some((real_dir, real_name)) = link_target(path) else { return false };
        let real_dir = self.tree.alias(&real_dir);
        let is_there = |path: PathBuf| stat_path(&path).is_ok_and(|now| now.identity == stat.identity);
        if self.files.named(number, real_dir, &real_name).is_some_and(|other| other != id)
            && self.path_of(real_dir, &real_name).is_some_and(is_there)
        {
            // Who had that name is not there any more, though nobody has told yet.
            self.lost_name(number, real_dir, &real_name);
        }
        if self.files.named(number, real_dir, &real_name).is_none() {
            self.files.name(id, real_dir, &real_name);
            if let Some(file) = self.files.get_mut(id) {
                file.set_alias(Some(Place { dir: real_dir, name: real_name.into() }));
            }
        } else {
            self.tree.unalias(real_dir);
        }
        true
    }

    /// A link leads nowhere, perhaps for a moment only: it is looked at again and again for some time.
    pub(super) fn dangles(&mut self, source: u16, dir: DirId, name: &OsStr) {
        let since = Instant::now();
        let is_it = |(s, d, n, _): &&mut (u16, DirId, OsString, Instant)| (*s, *d) == (source, dir) && *n == *name;
        if let Some(known) = self.dangling.iter_mut().find(is_it) {
            known.3 = since;
        } else if self.dangling.len() < DANGLING_MAX {
            self.dangling.push((source, dir, name.to_owned(), since));
        }
    }

    /// Whether a name is a symbolic link, wherever it leads.
    pub(super) fn is_link(&self, dir: DirId, name: &OsStr) -> bool {
        let meta = self.path_of(dir, name).and_then(|path| path.symlink_metadata().ok());
        meta.is_some_and(|meta| meta.is_symlink())
    }

    /// Whether the file that a link was found to lead to under this name is there now.
    pub(super) fn is_at_alias(&self, source: u16, dir: DirId, name: &OsStr, path: Option<&Path>) -> bool {
        let file = self.files.named(source, dir, name).and_then(|id| self.files.get(id));
        file.is_some_and(|file| {
            let is_alias = file.alias().is_some_and(|a| a.dir == dir && *a.name == *name);
            is_alias && path.is_some_and(|path| stat_path(path).is_ok_and(|stat| stat.identity == file.identity))
        })
    }

    /// Links whose target was missing a moment ago. True when there are more to look at.
    pub(super) fn check_dangling(&mut self) -> bool {
        for (source, dir, name, since) in std::mem::take(&mut self.dangling) {
            self.present(source, dir, &name, None);
            let is_back = self
                .files
                .named(source, dir, &name)
                .and_then(|id| self.files.get(id))
                .is_some_and(|f| f.alias().is_some());
            if !is_back && since.elapsed() < DANGLING && self.is_link(dir, &name) {
                self.dangling.push((source, dir, name, since));
            }
        }
        !self.dangling.is_empty()
    }
}

/// The real directory of a file that is reached through a link, and its real name; `None` if there is no link at the end.
fn link_target(path: &Path) -> Option<(PathBuf, OsString)> {
    if !path.is_symlink() {
        return None;
    }
    let real = std::fs::canonicalize(path).ok()?;
    stat_path(&real).ok()?;
    Some((real.parent()?.to_owned(), real.file_name()?.to_owned()))
}
