//! The set of followed files: by number, by identity, by name; which are to be read, and which have to wait for an older generation.
//!
//! Promises: the numbers stay true to each other (a name leads to a file that counts it, an identity to at most one file a source); a file whose
//! path had an unfinished earlier file is read after it. Pure bookkeeping, no I/O.

use super::identity::Identity;
use super::tracked::{FileId, Place, Tracked};
use super::tree::DirId;
use foldhash::{HashMap, HashMapExt};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::Path;

/// The names of one source in one directory.
type Names = HashMap<Box<OsStr>, FileId>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Files {
    slab: Vec<Option<Tracked>>,
    free: Vec<FileId>,
    by_identity: HashMap<(u16, u64, u64), FileId>,
    /// By directory number; a directory rarely has more than one source.
    names: Vec<Vec<(u16, Names)>>,
    /// Files of one path that are to be read one after the other: the rotated ones, then the current one.
    generations: HashMap<(u16, Box<Path>), VecDeque<FileId>>,
    ready: VecDeque<FileId>,
    last_generation: u32,
    count: usize,
}

impl Files {
    pub(super) fn new() -> Self {
        Files { by_identity: HashMap::new(), generations: HashMap::new(), ..Files::default() }
    }

    pub(super) fn get(&self, id: FileId) -> Option<&Tracked> {
        self.slab.get(id as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: FileId) -> Option<&mut Tracked> {
        self.slab.get_mut(id as usize)?.as_mut()
    }

    /// All files with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (FileId, &Tracked)> {
        (0..).zip(&self.slab).filter_map(|(id, file)| Some((id, file.as_ref()?)))
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// A number that no file had before (until it wraps after four billion).
    pub(super) fn next_generation(&mut self) -> u32 {
        self.last_generation = self.last_generation.wrapping_add(1);
        self.last_generation
    }

    pub(super) fn insert(&mut self, file: Tracked) -> FileId {
        let key = identity_key(file.source, &file.identity);
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.slab.push(None);
                (self.slab.len() - 1) as FileId
            }
        };
        if let Some(place) = self.slab.get_mut(id as usize) {
            *place = Some(file);
        }
        self.by_identity.insert(key, id);
        self.count += 1;
        id
    }

    /// Takes a file out. It must have no names.
    pub(super) fn remove(&mut self, id: FileId) -> Option<Tracked> {
        let file = self.slab.get_mut(id as usize)?.take()?;
        self.forget_identity(&file, id);
        self.ready.retain(|other| *other != id);
        self.leave_generations(file.source, &file.origin, id);
        self.free.push(id);
        self.count -= 1;
        Some(file)
    }

    fn forget_identity(&mut self, file: &Tracked, id: FileId) {
        let key = identity_key(file.source, &file.identity);
        if self.by_identity.get(&key) == Some(&id) {
            self.by_identity.remove(&key);
        }
    }

    /// The inode has another life now: the file goes on without being found by identity.
    pub(super) fn disown_identity(&mut self, id: FileId) {
        let Some(file) = self.get(id) else { return };
        let key = identity_key(file.source, &file.identity);
        if self.by_identity.get(&key) == Some(&id) {
            self.by_identity.remove(&key);
        }
    }

    /// The file with this device and inode, whatever its birth time.
    pub(super) fn by_identity(&self, source: u16, identity: &Identity) -> Option<FileId> {
        self.by_identity.get(&identity_key(source, identity)).copied()
    }

    pub(super) fn named(&self, source: u16, dir: DirId, name: &OsStr) -> Option<FileId> {
        self.names_of(source, dir)?.get(name).copied()
    }

    fn names_of(&self, source: u16, dir: DirId) -> Option<&Names> {
        self.names.get(dir as usize)?.iter().find(|(s, _)| *s == source).map(|(_, names)| names)
    }

    /// Sources that follow something in a directory.
    pub(super) fn sources_in(&self, dir: DirId) -> impl Iterator<Item = u16> + '_ {
        self.names.get(dir as usize).into_iter().flatten().map(|(source, _)| *source)
    }

    /// All names of a source in a directory.
    pub(super) fn names_in(&self, source: u16, dir: DirId) -> Vec<Box<OsStr>> {
        self.names_of(source, dir).map(|names| names.keys().cloned().collect()).unwrap_or_default()
    }

    /// Gives a file a name. The name must be free.
    pub(super) fn name(&mut self, id: FileId, dir: DirId, name: &OsStr) {
        let Some(file) = self.get_mut(id) else { return };
        let source = file.source;
        file.names = file.names.saturating_add(1);
        if file.place.is_none() {
            file.place = Some(Place { dir, name: name.into() });
        }
        let at = dir as usize;
        if self.names.len() <= at {
            self.names.resize_with(at + 1, Vec::new);
        }
        let Some(lists) = self.names.get_mut(at) else { return };
        let place = match lists.iter().position(|(s, _)| *s == source) {
            Some(place) => place,
            None => {
                lists.push((source, Names::new()));
                lists.len() - 1
            }
        };
        if let Some((_, names)) = lists.get_mut(place) {
            names.insert(name.into(), id);
        }
    }

    /// Takes a name away. Gives the file that had it; its place is gone if it was this one.
    pub(super) fn unname(&mut self, source: u16, dir: DirId, name: &OsStr) -> Option<FileId> {
        let lists = self.names.get_mut(dir as usize)?;
        let names = &mut lists.iter_mut().find(|(s, _)| *s == source)?.1;
        let id = names.remove(name)?;
        let file = self.get_mut(id)?;
        file.names = file.names.saturating_sub(1);
        if file.place.as_ref().is_some_and(|p| p.dir == dir && *p.name == *name) {
            file.place = None;
        }
        Some(id)
    }

    /// The file has something to read, or may have.
    pub(super) fn make_ready(&mut self, id: FileId) {
        if let Some(file) = self.get_mut(id)
            && !file.queued
            && !file.gated
            // What cannot be opened waits for its next attempt.
            && (file.failing.is_none() || file.file.is_some())
        {
            file.queued = true;
            self.ready.push_back(id);
        }
    }

    /// The next file to read.
    pub(super) fn pop_ready(&mut self) -> Option<FileId> {
        while let Some(id) = self.ready.pop_front() {
            let Some(file) = self.get_mut(id) else { continue };
            file.queued = false;
            // It may wait for an older one that was found in the meantime, and is made ready after that.
            if !file.gated {
                return Some(id);
            }
        }
        None
    }

    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Files that are to be read.
    pub(super) fn ready(&self) -> impl Iterator<Item = FileId> + '_ {
        self.ready.iter().copied()
    }

    /// A file has left its path: what appears there is read after it.
    pub(super) fn rotated(&mut self, id: FileId) {
        let Some(file) = self.get(id) else { return };
        let (key, born) = ((file.source, file.origin.clone()), file.identity.born_ns);
        let queue = self.generations.entry(key).or_default();
        if queue.contains(&id) {
            return;
        }
        // Older files first, as far as birth times tell; the current file stays last.
        let slab = &self.slab;
        let is_older = |other: &FileId| {
            let other = slab.get(*other as usize).and_then(Option::as_ref);
            other.is_some_and(|o| o.rotated && o.identity.born_ns <= born)
        };
        let place = queue.iter().take_while(|other| is_older(other)).count();
        queue.insert(place, id);
        // The first of a queue may be read, the others wait: also one that was the first until now, and has its turn again later.
        for (at, other) in queue.iter().enumerate() {
            if let Some(file) = self.slab.get_mut(*other as usize).and_then(Option::as_mut) {
                file.gated = at > 0;
            }
        }
    }

    /// A new file at its path: it waits if an earlier one is unfinished.
    pub(super) fn succeeds(&mut self, id: FileId) {
        let Some(file) = self.get(id) else { return };
        let key = (file.source, file.origin.clone());
        let Some(queue) = self.generations.get_mut(&key) else { return };
        queue.push_back(id);
        if let Some(file) = self.get_mut(id) {
            file.gated = true;
        }
    }

    /// A rotated file is at its path again: it is read after the others.
    pub(super) fn returned(&mut self, id: FileId) {
        self.finished(id);
        self.succeeds(id);
    }

    /// A rotated file was read to its end: whoever waits for it may be read.
    pub(super) fn finished(&mut self, id: FileId) {
        let Some(file) = self.get(id) else { return };
        let (source, origin) = (file.source, file.origin.clone());
        self.leave_generations(source, &origin, id);
    }

    fn leave_generations(&mut self, source: u16, origin: &Path, id: FileId) {
        let key = (source, Box::from(origin));
        let Some(queue) = self.generations.get_mut(&key) else { return };
        queue.retain(|other| *other != id);
        let first = queue.front().copied();
        if let Some(file) = self.get_mut(id) {
            file.gated = false;
        }
        // With the current file in front there is no order to keep any more.
        let rest: Vec<FileId> = match first {
            Some(first) if self.get(first).is_some_and(|f| f.rotated) => vec![first],
            _ => self.generations.remove(&key).into_iter().flatten().collect(),
        };
        for other in rest {
            if let Some(file) = self.get_mut(other) {
                file.gated = false;
            }
            self.make_ready(other);
        }
    }

    /// No file has a name any more.
    pub(super) fn forget_names(&mut self) {
        self.names = Vec::new();
        for file in self.slab.iter_mut().flatten() {
            file.names = 0;
            file.place = None;
            file.alias = None;
        }
    }

    /// Sources have other numbers: `map` has the new one of each. No file has a name, and those of sources without a new number are gone.
    pub(super) fn renumber(&mut self, map: &[Option<u16>]) {
        let new = |source: u16| map.get(usize::from(source)).copied().flatten();
        for file in self.slab.iter_mut().flatten() {
            file.source = new(file.source).unwrap_or(file.source);
        }
        let by_identity = std::mem::take(&mut self.by_identity).into_iter();
        self.by_identity =
            by_identity.filter_map(|((source, device, inode), id)| Some(((new(source)?, device, inode), id))).collect();
        let generations = std::mem::take(&mut self.generations).into_iter();
        self.generations =
            generations.filter_map(|((source, origin), queue)| Some(((new(source)?, origin), queue))).collect();
    }

    /// Directory numbers are used again: the names of one that is gone must not stay.
    pub(super) fn take_names(&mut self, dir: DirId) -> Vec<(u16, Box<OsStr>)> {
        let lists = self.names.get(dir as usize).map(Vec::as_slice).unwrap_or_default();
        lists.iter().flat_map(|(source, names)| names.keys().map(|name| (*source, name.clone()))).collect()
    }
}

fn identity_key(source: u16, identity: &Identity) -> (u16, u64, u64) {
    (source, identity.device, identity.inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64, born_ns: i64) -> Tracked {
        Tracked::new(0, Identity { device: 1, inode, born_ns }, Path::new("/log/app"), inode as u32)
    }

    fn rotate(files: &mut Files, id: FileId) {
        files.get_mut(id).unwrap().rotated = true;
        files.rotated(id);
    }

    #[test]
    fn generations_are_read_in_the_order_of_their_birth() {
        let mut files = Files::new();
        let first = files.insert(file(1, 10));
        rotate(&mut files, first);
        let second = files.insert(file(2, 20));
        files.succeeds(second);
        rotate(&mut files, second);
        let third = files.insert(file(3, 30));
        files.succeeds(third);
        for id in [third, second, first] {
            files.make_ready(id);
        }
        assert_eq!(files.pop_ready(), Some(first));
        assert_eq!(files.pop_ready(), None);
        files.finished(first);
        assert_eq!(files.pop_ready(), Some(second));
        files.finished(second);
        assert_eq!(files.pop_ready(), Some(third));
        // Nothing is left behind: the next file at the path does not wait.
        let fourth = files.insert(file(4, 40));
        files.succeeds(fourth);
        files.make_ready(fourth);
        assert_eq!(files.pop_ready(), Some(fourth));
    }

    #[test]
    fn a_rotated_file_found_late_goes_before_younger_ones() {
        let mut files = Files::new();
        let old = files.insert(file(1, 10));
        let young = files.insert(file(2, 20));
        rotate(&mut files, young);
        rotate(&mut files, old);
        files.make_ready(young);
        files.make_ready(old);
        let order: Vec<FileId> = std::iter::from_fn(|| files.pop_ready()).collect();
        assert_eq!(order, [old]);
        files.finished(old);
        assert_eq!(files.pop_ready(), Some(young));
    }

    #[test]
    fn a_waiting_file_that_is_back_at_its_path_is_read_in_the_end() {
        let mut files = Files::new();
        let old = files.insert(file(1, 10));
        rotate(&mut files, old);
        let current = files.insert(file(3, 30));
        files.succeeds(current);
        // For a moment it seems to be rotated: a late event of the file that was at the path between the two.
        rotate(&mut files, current);
        let between = files.insert(file(2, 20));
        rotate(&mut files, between);
        files.get_mut(current).unwrap().rotated = false;
        files.returned(current);
        for id in [old, between, current] {
            files.make_ready(id);
        }
        for id in [old, between, current] {
            assert_eq!(files.pop_ready(), Some(id));
            assert_eq!(files.pop_ready(), None);
            files.finished(id);
        }
    }

    #[test]
    fn nobody_waits_behind_the_current_file() {
        let mut files = Files::new();
        let old = files.insert(file(1, 10));
        rotate(&mut files, old);
        let current = files.insert(file(2, 20));
        files.succeeds(current);
        let other = files.insert(file(3, 30));
        files.succeeds(other);
        files.finished(old);
        assert_eq!(files.pop_ready(), Some(current));
        assert_eq!(files.pop_ready(), Some(other));
    }

    #[test]
    fn files_keep_identity_and_order_when_sources_are_numbered_anew() {
        let mut files = Files::new();
        let old = files.insert(file(1, 10));
        rotate(&mut files, old);
        let current = files.insert(file(2, 20));
        files.succeeds(current);
        files.name(current, 3, OsStr::new("a"));
        files.forget_names();
        files.renumber(&[Some(4)]);
        let identity = Identity { device: 1, inode: 2, born_ns: 20 };
        assert_eq!((files.by_identity(4, &identity), files.by_identity(0, &identity)), (Some(current), None));
        assert_eq!(files.named(0, 3, OsStr::new("a")), None);
        assert_eq!(files.get(current).map(|f| (f.names, f.place.is_none(), f.source)), Some((0, true, 4)));
        files.make_ready(current);
        assert_eq!(files.pop_ready(), None, "the older one is not finished");
        files.make_ready(old);
        assert_eq!(files.pop_ready(), Some(old));
        files.finished(old);
        assert_eq!(files.pop_ready(), Some(current));
    }

    #[test]
    fn names_lead_to_files_and_back() {
        let mut files = Files::new();
        let id = files.insert(file(1, 10));
        files.name(id, 3, OsStr::new("a"));
        files.name(id, 3, OsStr::new("b"));
        assert_eq!(files.unname(0, 3, OsStr::new("a")), Some(id));
        assert_eq!(files.get(id).map(|f| (f.names, f.place.is_none())), Some((1, true)));
        assert_eq!(files.named(0, 3, OsStr::new("b")), Some(id));
        assert_eq!(files.named(1, 3, OsStr::new("b")), None);
        files.unname(0, 3, OsStr::new("b"));
        assert!(files.remove(id).is_some());
        assert_eq!(files.len(), 0);
    }
}
