//! Finishing files: what is done with those that are read to their end, idle, failing, rotated or gone.
//!
//! Promises: a rotated file's last line is read even if it never got its newline; a file is let go only when all of it is stored, and, if it is
//! deleted, only when nobody writes to it any more. Leaves to others: noticing that a file was rotated (`follow`).

use super::follow::Follow;
use super::identity::{encode_key, stat_file};
use super::saved::path_to_bytes;
use super::tracked::{FileId, has_no_writer};
use crate::base::limits::{IDLE_DESCRIPTORS, QUIET_MS, UNLINKED_QUIET_MS};
use std::time::{Duration, Instant};

impl Follow {
    /// A read found the end. True when the rest without newline is to be read as a line.
    pub(super) fn at_end(&mut self, id: FileId) -> bool {
        let Some(file) = self.files.get(id) else { return false };
        if file.rotated {
            let has_rest = file.size > file.offset;
            let quiet = file.quiet_since().is_some_and(|since| since.elapsed() >= Duration::from_millis(QUIET_MS));
            if has_rest && (quiet || file.file.as_ref().and_then(has_no_writer) == Some(true)) {
                return true;
            }
            self.files.finished(id);
        } else if file.size <= file.offset
            && let Some(file) = self.files.get_mut(id)
        {
            file.used = std::mem::replace(&mut file.idle_listed, true);
            if !file.used {
                self.idle.push_back(id);
                self.close_idle();
            }
        }
        false
    }

    /// Keeps the number of open idle files within its bound. Those that are written to now and then stay rather than others: what is written and
    /// deleted at once can be read only by who has the file open. What is held open for another reason takes nothing from them, until half of all
    /// descriptors are in use.
    fn close_idle(&mut self) {
        let mut tries = self.idle.len() * 2;
        let idle_most = IDLE_DESCRIPTORS.min(self.descriptors / 4);
        while (self.idle.len() > idle_most || !self.may_hold()) && tries > 0 {
            tries -= 1;
            let Some(id) = self.idle.pop_front() else { return };
            let Some(file) = self.files.get_mut(id) else { continue };
            let is_holding = file.pipe.as_ref().is_some_and(|pipe| pipe.strand.is_holding());
            if std::mem::take(&mut file.used) || is_holding {
                self.idle.push_back(id);
                continue;
            }
            file.idle_listed = false;
            let is_idle =
                file.at_end && !file.queued && !file.rotated && file.place.is_some() && file.size <= file.offset;
            if is_idle && file.file.take().is_some() {
                self.open -= 1;
                self.release_stream(id);
            }
        }
    }

    /// With many files to read not all of them can stay open: one that can be found again is closed between its turns.
    pub(super) fn close_surplus(&mut self, id: FileId) {
        if self.open < self.descriptors / 4 * 3 {
            return;
        }
        if let Some(file) = self.files.get_mut(id)
            && file.place.is_some()
            && !file.rotated
            && file.file.take().is_some()
        {
            self.open -= 1;
        }
    }

    /// The file's streams are used no more for now, and what its pipeline keeps of it goes but for its memory. Lines that wait stay.
    pub(super) fn release_stream(&mut self, id: FileId) {
        let Some(file) = self.files.get_mut(id) else { return };
        let source = usize::from(file.source);
        let Some(output) = self.sources.get(source).map(|source| source.output) else { return };
        self.released.extend(file.stream.take().map(|stream| (output, stream)));
        if let Some(pipe) = &mut file.pipe {
            pipe.strand.forget_streams(|stream| self.released.push((output, stream)));
            if !pipe.strand.is_holding() {
                // Its labels name the file as it was called.
                let memory = pipe.strand.memory();
                file.pipe = None;
                file.set_memory(memory);
            }
        }
    }

    /// Once a second while there is anything to look after. True when there still is.
    pub(super) fn housekeeping(&mut self, now: Instant) -> bool {
        for id in std::mem::take(&mut self.failing) {
            match self.files.get(id).map(|f| f.failing().map(|f| f.retry_at)) {
                Some(Some(at)) if at <= now => {
                    if self.open_file(id) {
                        self.files.make_ready(id);
                    } else if self.files.get(id).is_some_and(|f| f.failing().is_some()) && !self.failing.contains(&id) {
                        self.failing.push(id);
                    }
                }
                Some(Some(_)) => self.failing.push(id),
                Some(None) | None => {}
            }
        }
        for id in std::mem::take(&mut self.unsettled) {
            if !self.settle(id) {
                self.unsettled.push(id);
                self.files.make_ready(id);
            }
        }
        !(self.failing.is_empty() && self.unsettled.is_empty())
    }

    /// Whether a rotated file needs no more attention: it is gone, or quiet under its other name.
    pub(super) fn settle(&mut self, id: FileId) -> bool {
        let Some(file) = self.files.get(id) else { return true };
        let Some(since) = file.quiet_since() else { return true };
        if !file.is_settled() || file.gated {
            return false;
        }
        if file.compressed {
            self.settle_compressed(id);
            return true;
        }
        if self.is_inlet(file.source) {
            return self.settle_of_inlet(id);
        }
        let has_own_name = file.place.is_some() && file.place.as_ref() != file.alias();
        let Some(handle) = &file.file else {
            if has_own_name && file.failing().is_some() {
                // Tried again by and by.
                return false;
            }
            if has_own_name && (!file.at_end || file.size > file.offset) {
                return false;
            }
            if !has_own_name {
                let is_deleted = file.deleted;
                if self.recover(id) {
                    return false;
                }
                // Neither a name nor a descriptor: nothing more can be learned.
                self.let_go(id, is_deleted);
                return true;
            }
            self.settle_under_new_name(id);
            return true;
        };
        let done = file.at_end && file.size <= file.offset;
        if !done || file.failing().is_some() {
            return false;
        }
        if has_own_name {
            let quiet = since.elapsed() >= Duration::from_millis(QUIET_MS);
            if quiet {
                self.settle_under_new_name(id);
            }
            return quiet;
        }
        let is_deleted = stat_file(handle).is_ok_and(|s| s.links == 0);
        let let_go = match has_no_writer(handle) {
            Some(no_writer) => no_writer,
            // Nobody tells us: after a long silence nobody writes any more.
            None => since.elapsed() >= Duration::from_millis(UNLINKED_QUIET_MS),
        };
        if let_go {
            self.let_go(id, is_deleted);
        }
        let_go
    }

    /// A compressed file has nothing to finish.
    fn settle_compressed(&mut self, id: FileId) {
        self.files.finished(id);
        let Some(file) = self.files.get_mut(id) else { return };
        file.set_quiet_since(None);
        if file.place.is_none() {
            let is_deleted = file.deleted;
            self.let_go(id, is_deleted);
        }
    }

    /// A renamed file that is read to its end: if its new name matches, that is its path from now on.
    fn settle_under_new_name(&mut self, id: FileId) {
        self.files.finished(id);
        let Some(file) = self.files.get_mut(id) else { return };
        file.set_quiet_since(None);
        let Some(place) = file.place.clone() else { return };
        let source = file.source;
        if !self.tree.matches(place.dir, &place.name).contains(&source) {
            // Hardly anybody writes to it any more: no descriptor is kept for it.
            if file.file.take().is_some() {
                self.open = self.open.saturating_sub(1);
            }
            self.release_stream(id);
            return;
        }
        let Some(path) = self.path_of(place.dir, &place.name) else { return };
        self.release_stream(id);
        let Some(file) = self.files.get_mut(id) else { return };
        file.set_origin(None);
        file.rotated = false;
        if let (Some(slot), Some(source)) = (file.slot, self.sources.get(usize::from(source))) {
            self.store.renew(slot, &encode_key(&source.settings.name, &file.identity), path_to_bytes(&path));
        }
    }

    /// Ends the following of a file. Its checkpoint goes too when the file is deleted.
    pub(super) fn let_go(&mut self, id: FileId, is_deleted: bool) {
        self.release_stream(id);
        let alias = self.files.get(id).and_then(|file| Some((file.source, file.alias()?.clone())));
        if let Some((source, alias)) = alias {
            // The name may lead to a newer file by now.
            if self.files.named(source, alias.dir, &alias.name) == Some(id) {
                self.files.unname(source, alias.dir, &alias.name);
            }
            self.tree.unalias(alias.dir);
        }
        let path = self.path(id);
        let Some(file) = self.files.remove(id) else { return };
        if file.idle_listed {
            self.idle.retain(|other| *other != id);
        }
        if let Some(source) = self.sources.get(usize::from(file.source)) {
            if let Some(origin) = file.origin() {
                source.status.recovers(origin);
            }
            let lost = file.size.saturating_sub(file.offset);
            if !file.compressed {
                source.status.lost_bytes.add(lost);
            }
            // An inlet that gives up its oldest file tells of that itself; what is not deleted may come back.
            if is_deleted && lost > 0 && !file.compressed && !source.settings.removes_done() {
                tracing::warn!(
                    source = %source.settings.name, path = %path.display(), lost_bytes = lost,
                    "the file was deleted before all of it could be read"
                );
            }
        }
        if file.file.is_some() {
            self.open = self.open.saturating_sub(1);
        }
        let Some(slot) = file.slot else { return };
        if is_deleted {
            self.store.forget(slot);
            self.saved.forget_orphans(&file.identity);
            return;
        }
        // It may come back under a name that we see: then it goes on where it was.
        self.store.unclaim(slot);
        self.saved.put_back(file.identity.inode, slot);
    }
}
