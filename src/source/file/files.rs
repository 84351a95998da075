//! The set of followed files: by number, by identity, by name; which are to be read, and which have to wait for an older generation.
//!
//! Numbers are found through what the files themselves say: a table holds numbers only, hashed by the identity or by the name of the place
//! that the file has. A file's further names, which are rare, are kept beside.
//!
//! Promises: the numbers stay true to each other (a name leads to a file that counts it, an identity to at most one file a source); a file whose
//! path had an unfinished earlier file is read after it. Pure bookkeeping, no I/O.

use super::identity::Identity;
use super::tracked::{FileId, Place, Tracked};
use super::tree::DirId;
use foldhash::fast::RandomState;
use foldhash::{HashMap, HashMapExt, HashSet};
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::hash::BuildHasher;
use std::path::Path;

/// The names of one source in one directory.
#[derive(Debug, Default)]
struct Names {
    /// Files whose place is here, by the name they have there.
    places: HashTable<FileId>,
    /// Names of files that have their place elsewhere.
    others: Option<Box<HashMap<Box<OsStr>, FileId>>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Files {
    slab: Slab,
    free: Vec<FileId>,
    /// By device and inode.
    by_identity: HashTable<FileId>,
    /// By directory number; a directory rarely has more than one source.
    names: Vec<Vec<(u16, Names)>>,
    /// Files of one path that are to be read one after the other: the rotated ones, then the current one.
    generations: HashMap<(u16, Box<Path>), VecDeque<FileId>>,
    ready: VecDeque<FileId>,
    last_generation: u32,
    count: usize,
    hasher: RandomState,
}

/// All files, by number. In blocks: nothing is moved when there are more, and at most one block is unused.
#[derive(Debug, Default)]
struct Slab(Vec<Vec<Option<Tracked>>>);

/// Files in a block.
const BLOCK: usize = 256;

impl Slab {
    fn get(&self, id: FileId) -> Option<&Tracked> {
        self.0.get(id as usize / BLOCK)?.get(id as usize % BLOCK)?.as_ref()
    }

    fn place(&mut self, id: FileId) -> Option<&mut Option<Tracked>> {
        self.0.get_mut(id as usize / BLOCK)?.get_mut(id as usize % BLOCK)
    }

    fn get_mut(&mut self, id: FileId) -> Option<&mut Tracked> {
        self.place(id)?.as_mut()
    }

    /// All places, in the order of their numbers.
    fn places(&self) -> impl Iterator<Item = &Option<Tracked>> {
        self.0.iter().flatten()
    }

    fn files_mut(&mut self) -> impl Iterator<Item = &mut Tracked> {
        self.0.iter_mut().flatten().flatten()
    }

    /// A number for one more file.
    fn grow(&mut self) -> FileId {
        if self.0.last().is_none_or(|block| block.len() == BLOCK) {
            self.0.push(Vec::with_capacity(BLOCK));
        }
        let before = (self.0.len() - 1) * BLOCK;
        let Some(block) = self.0.last_mut() else { return 0 };
        block.push(None);
        (before + block.len() - 1) as FileId
    }

    /// Whether this file's place has this name.
    fn is_called(&self, id: FileId, name: &OsStr) -> bool {
        self.name(id).is_some_and(|own| own == name)
    }

    /// The name of a file's place.
    fn name(&self, id: FileId) -> Option<&OsStr> {
        Some(&self.get(id)?.place.as_ref()?.name)
    }

    fn is(&self, id: FileId, source: u16, identity: &Identity) -> bool {
        self.get(id).is_some_and(|file| {
            let own = &file.identity;
            file.source == source && own.inode == identity.inode && own.device == identity.device
        })
    }
}

impl Names {
    fn get(&self, slab: &Slab, hasher: &RandomState, name: &OsStr) -> Option<FileId> {
        let place = self.places.find(hasher.hash_one(name), |id| slab.is_called(*id, name));
        place.or_else(|| self.others.as_ref()?.get(name)).copied()
    }

    /// Notes a file whose place has a name here.
    fn settle(&mut self, slab: &Slab, hasher: &RandomState, id: FileId) {
        let hash = |id: &FileId| hasher.hash_one(slab.name(*id).unwrap_or_default());
        self.places.insert_unique(hash(&id), id, hash);
    }

    fn iter<'a>(&'a self, slab: &'a Slab) -> impl Iterator<Item = &'a OsStr> {
        let others = self.others.iter().flat_map(|others| others.keys().map(|name| &**name));
        self.places.iter().filter_map(|id| slab.name(*id)).chain(others)
    }
}

fn identity_hash(hasher: &RandomState, identity: &Identity) -> u64 {
    hasher.hash_one((identity.device, identity.inode))
}

impl Files {
    pub(super) fn new() -> Self {
        Files { generations: HashMap::new(), ..Files::default() }
    }

    pub(super) fn get(&self, id: FileId) -> Option<&Tracked> {
        self.slab.get(id)
    }

    pub(super) fn get_mut(&mut self, id: FileId) -> Option<&mut Tracked> {
        self.slab.get_mut(id)
    }

    /// All files with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (FileId, &Tracked)> {
        (0..).zip(self.slab.places()).filter_map(|(id, file)| Some((id, file.as_ref()?)))
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
        let (source, identity) = (file.source, file.identity);
        let id = self.free.pop().unwrap_or_else(|| self.slab.grow());
        // Whoever had the identity is not found by it any more.
        self.take_identity(source, &identity, |_| true);
        if let Some(place) = self.slab.place(id) {
            *place = Some(file);
        }
        let (slab, hasher) = (&self.slab, &self.hasher);
        let hash = |id: &FileId| slab.get(*id).map_or(0, |file| identity_hash(hasher, &file.identity));
        self.by_identity.insert_unique(hash(&id), id, hash);
        self.count += 1;
        id
    }

    /// Takes a file out. It must have no names.
    pub(super) fn remove(&mut self, id: FileId) -> Option<Tracked> {
        self.disown_identity(id);
        let file = self.slab.place(id)?.take()?;
        if file.queued {
            self.ready.retain(|other| *other != id);
        }
        if let Some(origin) = file.origin() {
            self.leave_generations(file.source, origin, id);
        }
        self.free.push(id);
        self.count -= 1;
        Some(file)
    }

    fn take_identity(&mut self, source: u16, identity: &Identity, is_meant: impl Fn(FileId) -> bool) {
        let slab = &self.slab;
        let is_it = |id: &FileId| is_meant(*id) && slab.is(*id, source, identity);
        if let Ok(entry) = self.by_identity.find_entry(identity_hash(&self.hasher, identity), is_it) {
            entry.remove();
        }
    }

    /// The inode has another life now: the file goes on without being found by identity.
    pub(super) fn disown_identity(&mut self, id: FileId) {
        let Some((source, identity)) = self.get(id).map(|file| (file.source, file.identity)) else { return };
        self.take_identity(source, &identity, |other| other == id);
    }

    /// The file with this device and inode, whatever its birth time.
    pub(super) fn by_identity(&self, source: u16, identity: &Identity) -> Option<FileId> {
        let hash = identity_hash(&self.hasher, identity);
        self.by_identity.find(hash, |id| self.slab.is(*id, source, identity)).copied()
    }

    pub(super) fn named(&self, source: u16, dir: DirId, name: &OsStr) -> Option<FileId> {
        self.names_of(source, dir)?.get(&self.slab, &self.hasher, name)
    }

    fn names_of(&self, source: u16, dir: DirId) -> Option<&Names> {
        self.names.get(dir as usize)?.iter().find(|(s, _)| *s == source).map(|(_, names)| names)
    }

    /// Sources that follow something in a directory.
    pub(super) fn sources_in(&self, dir: DirId) -> impl Iterator<Item = u16> + '_ {
        self.names.get(dir as usize).into_iter().flatten().map(|(source, _)| *source)
    }

    /// Those names of a source in a directory that `is_wanted` says yes to.
    pub(super) fn names_in(&self, source: u16, dir: DirId, is_wanted: impl Fn(&OsStr) -> bool) -> Vec<Box<OsStr>> {
        let names = self.names_of(source, dir).into_iter().flat_map(|names| names.iter(&self.slab));
        names.filter(|name| is_wanted(name)).map(Box::from).collect()
    }

    /// Gives a file a name. The name must be free.
    pub(super) fn name(&mut self, id: FileId, dir: DirId, name: &OsStr) {
        let Some(file) = self.slab.get_mut(id) else { return };
        let source = file.source;
        file.names = file.names.saturating_add(1);
        let is_place = file.place.is_none();
        if is_place {
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
                lists.push((source, Names::default()));
                lists.len() - 1
            }
        };
        let Some((_, names)) = lists.get_mut(place) else { return };
        if is_place {
            names.settle(&self.slab, &self.hasher, id);
        } else {
            names.others.get_or_insert_with(|| Box::new(HashMap::new())).insert(name.into(), id);
        }
    }

    /// Takes a name away. Gives the file that had it; its place is gone if it was this one.
    pub(super) fn unname(&mut self, source: u16, dir: DirId, name: &OsStr) -> Option<FileId> {
        let lists = self.names.get_mut(dir as usize)?;
        let names = &mut lists.iter_mut().find(|(s, _)| *s == source)?.1;
        let slab = &self.slab;
        let place = names.places.find_entry(self.hasher.hash_one(name), |id| slab.is_called(*id, name));
        let (id, was_place) = match place {
            Ok(entry) => (entry.remove().0, true),
            Err(_) => {
                let others = names.others.as_mut()?;
                let id = others.remove(name)?;
                if others.is_empty() {
                    names.others = None;
                }
                (id, false)
            }
        };
        let file = self.slab.get_mut(id)?;
        file.names = file.names.saturating_sub(1);
        if was_place {
            file.place = None;
        }
        Some(id)
    }

    /// A file that lost its place gets one of its other names for it: rare, so the name is looked for.
    pub(super) fn place_anew(&mut self, id: FileId) {
        let Some(source) = self.get(id).map(|file| file.source) else { return };
        let other = |(dir, lists): (DirId, &Vec<(u16, Names)>)| {
            let names = lists.iter().filter(|(s, _)| *s == source).filter_map(|(_, names)| names.others.as_ref());
            let name = names.flat_map(|others| others.iter()).find(|(_, other)| **other == id)?.0;
            Some((dir, name.clone()))
        };
        let Some((dir, name)) = (0..).zip(&self.names).find_map(other) else { return };
        if self.unname(source, dir, &name).is_some() {
            self.name(id, dir, &name);
        }
    }

    /// The file has something to read, or may have.
    pub(super) fn make_ready(&mut self, id: FileId) {
        if let Some(file) = self.get_mut(id)
            && !file.queued
            && !file.gated
            // What cannot be opened waits for its next attempt.
            && (file.failing().is_none() || file.file.is_some())
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
        // One without a path of its own is at its path.
        let Some(origin) = file.origin() else { return };
        let (key, age) = ((file.source, Box::from(origin)), file.age());
        let queue = self.generations.entry(key).or_default();
        // It may be in it already, as the current file: younger ones may have been put before it then.
        let was = queue.iter().position(|other| *other == id);
        if let Some(was) = was {
            queue.remove(was);
        }
        // Older files first, as far as that is told; the current file stays last.
        let slab = &self.slab;
        let count = |is_before: fn((u64, i64), (u64, i64)) -> bool| {
            let is_it = |other: &&FileId| slab.get(**other).is_some_and(|o| o.rotated && is_before(o.age(), age));
            queue.iter().take_while(is_it).count()
        };
        let (older, as_old) = (count(|other, own| other < own), count(|other, own| other <= own));
        let place = was.map_or(as_old, |was| was.clamp(older, as_old));
        queue.insert(place, id);
        // The first of a queue may be read, the others wait: also one that was the first until now, and has its turn again later.
        for (at, other) in queue.iter().enumerate() {
            if let Some(file) = self.slab.get_mut(*other) {
                file.gated = at > 0;
            }
        }
    }

    /// A file of an inlet has this number: others wait for it, or it for them, as the numbers say.
    pub(super) fn numbered(&mut self, id: FileId, number: u64) {
        let Some(file) = self.get_mut(id).filter(|file| file.number() != number) else { return };
        file.set_number(number);
        let Some(file) = self.get(id).filter(|file| file.rotated) else { return };
        let Some(origin) = file.origin() else { return };
        let queue = self.generations.get(&(file.source, Box::from(origin)));
        if queue.is_some_and(|queue| queue.contains(&id)) {
            self.rotated(id);
        }
    }

    /// A new file at its path: it waits if an earlier one is unfinished.
    pub(super) fn succeeds(&mut self, id: FileId, path: &Path) {
        if self.generations.is_empty() {
            return;
        }
        let Some(file) = self.get(id) else { return };
        let key = (file.source, path.into());
        let Some(queue) = self.generations.get_mut(&key) else { return };
        queue.push_back(id);
        if let Some(file) = self.get_mut(id) {
            file.gated = true;
        }
    }

    /// A rotated file is at its path again: it is read after the others.
    pub(super) fn returned(&mut self, id: FileId, path: &Path) {
        self.finished(id);
        self.succeeds(id, path);
    }

    /// A rotated file was read to its end: whoever waits for it may be read.
    pub(super) fn finished(&mut self, id: FileId) {
        let Some(file) = self.get(id) else { return };
        let Some(origin) = file.origin().map(Path::to_owned) else { return };
        self.leave_generations(file.source, &origin, id);
    }

    fn leave_generations(&mut self, source: u16, origin: &Path, id: FileId) {
        let key = (source, Box::from(origin));
        let Some(queue) = self.generations.get_mut(&key) else { return };
        queue.retain(|other| *other != id);
        if let Some(file) = self.get_mut(id) {
            file.gated = false;
        }
        self.let_first_on(key);
    }

    /// The first of a queue may be read.
    fn let_first_on(&mut self, key: (u16, Box<Path>)) {
        let first = self.generations.get(&key).and_then(|queue| queue.front().copied());
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

    /// Very many files are to be taken out: what lists them forgets them at once, so that it is not searched for each.
    pub(super) fn unlist(&mut self, gone: &HashSet<FileId>) {
        self.ready.retain(|id| !gone.contains(id));
        for id in gone {
            if let Some(file) = self.get_mut(*id) {
                file.queued = false;
            }
        }
        let mut shortened = Vec::new();
        for (key, queue) in &mut self.generations {
            let before = queue.len();
            queue.retain(|id| !gone.contains(id));
            if queue.len() < before {
                shortened.push(key.clone());
            }
        }
        for key in shortened {
            self.let_first_on(key);
        }
    }

    /// No file has a name any more. Each must know its path: there is no place any more to tell it.
    pub(super) fn forget_names(&mut self) {
        self.names = Vec::new();
        for file in self.slab.files_mut() {
            file.names = 0;
            file.place = None;
            if file.alias().is_some() {
                file.set_alias(None);
            }
        }
    }

    /// Sources have other numbers: `map` has the new one of each, `heirs` that of each file that goes to another. No file has a name.
    pub(super) fn renumber(&mut self, map: &[Option<u16>], heirs: &HashMap<FileId, u16>) {
        let new = |source: u16| map.get(usize::from(source)).copied().flatten();
        for (id, file) in (0..).zip(self.slab.0.iter_mut().flatten()) {
            let Some(file) = file else { continue };
            file.source = heirs.get(&id).copied().or_else(|| new(file.source)).unwrap_or(file.source);
        }
        let mut divided = Vec::new();
        for ((source, origin), queue) in std::mem::take(&mut self.generations) {
            for id in queue {
                let Some(source) = heirs.get(&id).copied().or_else(|| new(source)) else { continue };
                let joined = self.generations.entry((source, origin.clone())).or_default();
                joined.push_back(id);
                if let Some(file) = self.slab.get_mut(id) {
                    file.gated = joined.len() > 1;
                }
                if joined.len() == 1 && !heirs.is_empty() {
                    divided.push((source, origin.clone()));
                }
            }
        }
        // A part of a queue may begin with another file than the whole.
        for key in divided {
            self.let_first_on(key);
        }
    }

    /// Directory numbers are used again: the names of one that is gone must not stay.
    pub(super) fn all_names_in(&self, dir: DirId) -> Vec<(u16, Box<OsStr>)> {
        let lists = self.names.get(dir as usize).map(Vec::as_slice).unwrap_or_default();
        lists.iter().flat_map(|(source, names)| names.iter(&self.slab).map(|name| (*source, name.into()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/log/app";

    fn file(inode: u64, born_ns: i64) -> Tracked {
        Tracked::new(0, Identity { device: 1, inode, born_ns }, inode as u32)
    }

    fn rotate(files: &mut Files, id: FileId) {
        let file = files.get_mut(id).unwrap();
        file.rotated = true;
        file.set_origin(Some(Path::new(PATH).into()));
        files.rotated(id);
    }

    #[test]
    fn generations_are_read_in_the_order_of_their_birth() {
        let mut files = Files::new();
        let first = files.insert(file(1, 10));
        rotate(&mut files, first);
        let second = files.insert(file(2, 20));
        files.succeeds(second, Path::new(PATH));
        rotate(&mut files, second);
        let third = files.insert(file(3, 30));
        files.succeeds(third, Path::new(PATH));
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
        files.succeeds(fourth, Path::new(PATH));
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
    fn a_current_file_that_turns_out_to_be_rotated_goes_before_younger_ones() {
        let mut files = Files::new();
        let first = files.insert(file(1, 10));
        rotate(&mut files, first);
        let second = files.insert(file(2, 20));
        files.succeeds(second, Path::new(PATH));
        // Rotations overtook their events: these two are met under other names while the second is still taken for the current file.
        for (inode, born_ns) in [(4, 40), (3, 30)] {
            let young = files.insert(file(inode, born_ns));
            rotate(&mut files, young);
        }
        let (fourth, third) = (2, 3);
        rotate(&mut files, second);
        for id in [first, second, third, fourth] {
            files.make_ready(id);
        }
        for id in [first, second, third, fourth] {
            assert_eq!(files.pop_ready(), Some(id));
            assert_eq!(files.pop_ready(), None);
            files.finished(id);
        }
    }

    #[test]
    fn files_born_in_one_moment_are_read_in_the_order_in_which_they_were_met() {
        let mut files = Files::new();
        let all: Vec<FileId> = (1..5).map(|inode| files.insert(file(inode, 10))).collect();
        for id in &all {
            rotate(&mut files, *id);
        }
        // Said again, it changes nothing.
        for id in &all {
            files.rotated(*id);
            files.make_ready(*id);
        }
        for id in all {
            assert_eq!(files.pop_ready(), Some(id));
            assert_eq!(files.pop_ready(), None);
            files.finished(id);
        }
    }

    /// The clock was set back, and two of them were born in one of its ticks; the one that was written to last is told its number when another is there.
    #[test]
    fn files_of_an_inlet_are_read_in_the_order_of_their_numbers() {
        let mut files = Files::new();
        let [ninth, eighth, last, tenth] =
            [(1, 10), (2, 10), (3, 30), (4, 5)].map(|(inode, born_ns)| files.insert(file(inode, born_ns)));
        for (id, number) in [(ninth, 9), (eighth, 8), (last, u64::MAX), (tenth, 10)] {
            files.numbered(id, number);
            rotate(&mut files, id);
        }
        files.numbered(last, 7);
        for id in [ninth, eighth, last, tenth] {
            files.make_ready(id);
        }
        for id in [last, eighth, ninth, tenth] {
            assert_eq!(files.pop_ready(), Some(id));
            assert_eq!(files.pop_ready(), None);
            files.finished(id);
        }
        // Who is finished waits for nobody, whatever its number.
        files.numbered(last, 11);
        files.make_ready(last);
        assert_eq!(files.pop_ready(), Some(last));
    }

    #[test]
    fn a_waiting_file_that_is_back_at_its_path_is_read_in_the_end() {
        let mut files = Files::new();
        let old = files.insert(file(1, 10));
        rotate(&mut files, old);
        let current = files.insert(file(3, 30));
        files.succeeds(current, Path::new(PATH));
        // For a moment it seems to be rotated: a late event of the file that was at the path between the two.
        rotate(&mut files, current);
        let between = files.insert(file(2, 20));
        rotate(&mut files, between);
        files.get_mut(current).unwrap().rotated = false;
        files.returned(current, Path::new(PATH));
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
        files.succeeds(current, Path::new(PATH));
        let other = files.insert(file(3, 30));
        files.succeeds(other, Path::new(PATH));
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
        files.succeeds(current, Path::new(PATH));
        files.name(current, 3, OsStr::new("a"));
        files.forget_names();
        files.renumber(&[Some(4)], &HashMap::new());
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
    fn files_of_a_source_that_is_gone_keep_their_order_under_another() {
        let mut files = Files::new();
        let old = files.insert(file(1, 10));
        rotate(&mut files, old);
        let current = files.insert(file(2, 20));
        files.succeeds(current, Path::new(PATH));
        files.forget_names();
        files.renumber(&[None, Some(0)], &[(old, 2), (current, 2)].into_iter().collect());
        assert_eq!([old, current].map(|id| files.get(id).unwrap().source), [2, 2]);
        for id in [current, old] {
            files.make_ready(id);
        }
        assert_eq!((files.pop_ready(), files.pop_ready()), (Some(old), None));
        files.finished(old);
        assert_eq!((files.pop_ready(), files.pop_ready()), (Some(current), None));
    }

    #[test]
    fn many_files_leave_every_list_and_hold_up_nobody() {
        let mut files = Files::new();
        let [first, second, third] = [1, 2, 3].map(|inode| files.insert(file(inode, i64::try_from(inode).unwrap())));
        rotate(&mut files, first);
        rotate(&mut files, second);
        files.succeeds(third, Path::new(PATH));
        let others: Vec<FileId> = (4..1_000).map(|inode| files.insert(file(inode, 0))).collect();
        let gone: HashSet<FileId> = others.iter().copied().chain([first]).collect();
        for id in gone.iter().chain([&second, &third]) {
            files.make_ready(*id);
        }
        files.unlist(&gone);
        for id in &gone {
            assert!(files.remove(*id).is_some());
        }
        assert_eq!(files.ready_len(), 1);
        assert_eq!((files.pop_ready(), files.pop_ready()), (Some(second), None));
        files.finished(second);
        assert_eq!((files.pop_ready(), files.pop_ready()), (Some(third), None));
        let again = files.insert(file(1, 5));
        files.make_ready(again);
        assert_eq!((files.pop_ready(), files.len()), (Some(again), 3));
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
        files.place_anew(id);
        assert_eq!(files.get(id).and_then(|f| f.place.clone()), Some(Place { dir: 3, name: OsStr::new("b").into() }));
        assert_eq!(files.get(id).map(|f| f.names), Some(1));
        assert_eq!(files.names_in(0, 3, |_| true), [OsStr::new("b").into()]);
        files.unname(0, 3, OsStr::new("b"));
        assert!(files.remove(id).is_some());
        assert_eq!(files.len(), 0);
    }
}
