//! A disk in memory that fails on purpose: any system call by its index, any stretch of a file, and a power loss that forgets what
//! was not synced.
//!
//! Promises: what is synced is kept; what is not is lost or kept as [`After`] says, contents and names apart, so that a name can last
//! without its content and the other way round. Leaves to others: what must hold afterwards.

use lugger::store::spool::disk::{Disk, DiskFile, Listed};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

/// No space left on device.
pub const ENOSPC: i32 = 28;
/// Input/output error.
pub const EIO: i32 = 5;
/// Too many open files.
pub const EMFILE: i32 = 24;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process is gone before the call does anything.
    CrashBefore,
    /// A write does half of its work, any other call nothing, and the process is gone.
    CrashHalfway,
    /// The process is gone when the call has done its work.
    CrashAfter,
    /// The call fails with this number; a write has done half of its work by then, unseen.
    Error(i32),
    /// A read or write does half of its work and says so.
    Short,
}

/// What is found after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The process was killed: everything it did.
    Kill,
    /// Power loss: what was synced and nothing else.
    SyncedOnly,
    /// Power loss: all creations and removals, but only synced content.
    Names,
    /// Power loss: all content, but only synced names.
    Content,
    /// Power loss: of what was not synced, some, and some writes in part. By this seed.
    Some(u64),
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
}

#[derive(Debug, Clone)]
enum NameChange {
    Add(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug, Default, Clone)]
struct Inode {
    now: Vec<u8>,
    synced: Vec<u8>,
    since: Vec<Change>,
    unreadable: Vec<Range<u64>>,
}

#[derive(Debug, Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    since: Vec<NameChange>,
    calls: u64,
    faults: BTreeMap<u64, Fault>,
    crashed: bool,
    /// Bytes that all files may have together.
    room: Option<u64>,
    /// Room cannot be reserved.
    is_plain: bool,
}

/// The disk. Clones are the same disk.
#[derive(Debug, Default, Clone)]
pub struct FaultyDisk(Arc<Mutex<World>>);

/// An open file of it.
#[derive(Debug)]
pub struct FaultyFile {
    disk: FaultyDisk,
    inode: usize,
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes } => {
            let end = *offset as usize + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*offset as usize..end].copy_from_slice(bytes);
        }
        Change::Length(bytes) => content.resize(*bytes as usize, 0),
    }
}

impl Inode {
    fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.since.push(change);
    }
}

/// A small generator of numbers; the same seed gives the same ones.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl FaultyDisk {
    /// A disk with these files, all of them synced.
    pub fn with_files(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let disk = FaultyDisk::default();
        for (name, bytes) in files {
            disk.put(name, bytes.clone());
        }
        disk
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Puts a synced file there, past all faults.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut world = self.world();
        let inode = world.inodes.len();
        world.inodes.push(Inode { now: bytes.clone(), synced: bytes, ..Inode::default() });
        world.names.insert(name.to_owned(), inode);
        world.synced_names.insert(name.to_owned(), inode);
    }

    /// Removes a name past all faults, as another process does.
    pub fn take_away(&self, name: &str) {
        let mut world = self.world();
        world.names.remove(name);
        world.since.push(NameChange::Remove(name.to_owned()));
    }

    /// All files as a process sees them.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let world = self.world();
        world.names.iter().map(|(name, inode)| (name.clone(), world.inodes[*inode].now.clone())).collect()
    }

    /// Length of all segments together.
    pub fn segment_bytes(&self) -> u64 {
        self.files().iter().filter(|(name, _)| name.ends_with(".seg")).map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.world().calls
    }

    /// From call `at` on (the first one is 0), `count` calls go wrong.
    pub fn fail(&self, at: u64, count: u64, fault: Fault) {
        self.world().faults.extend((at..at + count).map(|call| (call, fault)));
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        let mut world = self.world();
        world.faults.clear();
        world.room = None;
    }

    /// All files together take so many bytes and no more.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.world().room = bytes;
    }

    /// From now on it cannot reserve room.
    pub fn set_plain(&self) {
        self.world().is_plain = true;
    }

    /// Reads of this stretch fail.
    pub fn set_unreadable(&self, name: &str, stretch: Range<u64>) {
        let mut world = self.world();
        let inode = world.names[name];
        world.inodes[inode].unreadable.push(stretch);
    }

    /// Whether a crash has come.
    pub fn crashed(&self) -> bool {
        self.world().crashed
    }

    /// The disk as the next process finds it.
    pub fn after(&self, after: After) -> FaultyDisk {
        let world = self.world();
        let mut seed = match after {
            After::Some(seed) => seed,
            _ => 0,
        };
        let names = match after {
            After::Kill | After::Names => world.names.clone(),
            After::SyncedOnly | After::Content => world.synced_names.clone(),
            After::Some(_) => {
                let mut names = world.synced_names.clone();
                for change in &world.since {
                    match change {
                        _ if random(&mut seed).is_multiple_of(2) => {}
                        NameChange::Add(name, inode) => {
                            names.insert(name.clone(), *inode);
                        }
                        NameChange::Rename(from, to) => {
                            if let Some(inode) = names.remove(from) {
                                names.insert(to.clone(), inode);
                            }
                        }
                        NameChange::Remove(name) => {
                            names.remove(name);
                        }
                    }
                }
                names
            }
        };
        let mut content = |inode: &Inode| match after {
            After::Kill | After::Content => inode.now.clone(),
            After::SyncedOnly | After::Names => inode.synced.clone(),
            After::Some(_) => {
                let mut bytes = inode.synced.clone();
                for change in &inode.since {
                    match (random(&mut seed) % 3, change) {
                        (0, _) => {}
                        (1, Change::Write { offset, bytes: written }) => {
                            let part = random(&mut seed) as usize % (written.len() + 1);
                            apply(&mut bytes, &Change::Write { offset: *offset, bytes: written[..part].to_vec() });
                        }
                        (_, change) => apply(&mut bytes, change),
                    }
                }
                bytes
            }
        };
        let files = names.iter().map(|(name, inode)| (name.clone(), content(&world.inodes[*inode]))).collect();
        drop(world);
        FaultyDisk::with_files(&files)
    }

    /// Counts a call and says what goes wrong with it. `Err` if it must not do anything.
    fn call(&self) -> io::Result<(MutexGuard<'_, World>, Option<Fault>)> {
        let mut world = self.world();
        if world.crashed {
            return Err(errno(EIO));
        }
        let fault = world.faults.get(&world.calls).copied();
        world.calls += 1;
        world.crashed = matches!(fault, Some(Fault::CrashBefore | Fault::CrashHalfway | Fault::CrashAfter));
        match fault {
            Some(Fault::CrashBefore) => Err(errno(EIO)),
            fault => Ok((world, fault)),
        }
    }

    /// A call that has no halves.
    fn simple<T>(&self, act: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        let (mut world, fault) = self.call()?;
        match fault {
            Some(Fault::Error(number)) => Err(errno(number)),
            Some(Fault::CrashHalfway) => Err(errno(EIO)),
            Some(Fault::CrashAfter) => act(&mut world).and(Err(errno(EIO))),
            _ => act(&mut world),
        }
    }
}

impl Disk for FaultyDisk {
    type File = FaultyFile;

    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        self.simple(|world| {
            let listed = |(name, inode): (&String, &usize)| Listed {
                name: name.clone(),
                bytes: Some(world.inodes[*inode].now.len() as u64),
            };
            Ok(world.names.iter().map(listed).collect())
        })
    }

    fn create(&self, name: &str) -> io::Result<FaultyFile> {
        let inode = self.simple(|world| {
            if let Some(inode) = world.names.get(name).copied() {
                world.inodes[inode].change(Change::Length(0));
                return Ok(inode);
            }
            let inode = world.inodes.len();
            world.inodes.push(Inode::default());
            world.names.insert(name.to_owned(), inode);
            world.since.push(NameChange::Add(name.to_owned(), inode));
            Ok(inode)
        })?;
        Ok(FaultyFile { disk: self.clone(), inode })
    }

    fn open(&self, name: &str) -> io::Result<FaultyFile> {
        let inode = self.simple(|world| world.names.get(name).copied().ok_or(io::ErrorKind::NotFound.into()))?;
        Ok(FaultyFile { disk: self.clone(), inode })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.simple(|world| {
            let inode = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            world.names.insert(to.to_owned(), inode);
            world.since.push(NameChange::Rename(from.to_owned(), to.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.simple(|world| {
            world.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            world.since.push(NameChange::Remove(name.to_owned()));
            Ok(())
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.simple(|world| {
            world.synced_names = world.names.clone();
            world.since.clear();
            Ok(())
        })
    }

    fn place(&self) -> String {
        "a faulty disk".into()
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let (world, fault) = self.disk.call()?;
        match fault {
            Some(Fault::Error(number)) => return Err(errno(number)),
            Some(Fault::CrashHalfway | Fault::CrashAfter) => return Err(errno(EIO)),
            _ => {}
        }
        let inode = &world.inodes[self.inode];
        let content = inode.now.get(offset as usize..).unwrap_or_default();
        let mut len = content.len().min(bytes.len());
        if fault == Some(Fault::Short) {
            len = len.div_ceil(2);
        }
        for bad in &inode.unreadable {
            if bad.contains(&offset) && len > 0 {
                return Err(errno(EIO));
            }
            if bad.start > offset {
                len = len.min((bad.start - offset) as usize);
            }
        }
        bytes[..len].copy_from_slice(&content[..len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let (mut world, fault) = self.disk.call()?;
        let used: u64 = world.names.values().map(|inode| world.inodes[*inode].now.len() as u64).sum();
        let grows = (offset + bytes.len() as u64).saturating_sub(world.inodes[self.inode].now.len() as u64);
        let excess = world.room.map_or(0, |room| (used + grows).saturating_sub(room)).min(grows);
        let fits = (bytes.len() as u64).saturating_sub(excess) as usize;
        let part = match fault {
            Some(Fault::CrashHalfway | Fault::Error(_)) => bytes.len() / 2,
            Some(Fault::Short) => bytes.len().div_ceil(2),
            _ => bytes.len(),
        };
        let part = part.min(fits);
        if part > 0 {
            world.inodes[self.inode].change(Change::Write { offset, bytes: bytes[..part].to_vec() });
        }
        match fault {
            Some(Fault::Error(number)) => Err(errno(number)),
            Some(Fault::CrashHalfway | Fault::CrashAfter) => Err(errno(EIO)),
            _ if part == 0 && !bytes.is_empty() => Err(errno(ENOSPC)),
            _ => Ok(part),
        }
    }

    fn reserve(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let (world, fault) = self.disk.call()?;
        if let Some(Fault::Error(number)) = fault {
            return Err(errno(number));
        }
        let used: u64 = world.names.values().map(|inode| world.inodes[*inode].now.len() as u64).sum();
        let grows = (offset + bytes).saturating_sub(world.inodes[self.inode].now.len() as u64);
        let is_full = !world.is_plain && world.room.is_some_and(|room| used + grows > room);
        if is_full { Err(errno(ENOSPC)) } else { Ok(()) }
    }

    fn bytes(&self) -> io::Result<u64> {
        self.disk.simple(|world| Ok(world.inodes[self.inode].now.len() as u64))
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.disk.simple(|world| {
            world.inodes[self.inode].change(Change::Length(bytes));
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.simple(|world| {
            let inode = &mut world.inodes[self.inode];
            inode.synced = inode.now.clone();
            inode.since.clear();
            Ok(())
        })
    }
}
