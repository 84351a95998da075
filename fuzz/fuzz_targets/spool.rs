//! A spool over damaged files: opening and reading always end, and nothing comes out that did not go in.
//!
//! The input tells what is appended, acknowledged and reopened, and then what happens to the files: flipped, cut and overwritten bytes,
//! files that are removed, copied or foreign, and frame heads that are changed and given a right checksum again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::base::clock::Clock;
use lugger::base::metrics::Registry;
use lugger::store::spool::disk::{Disk, DiskFile, Listed};
use lugger::store::spool::{Counters, Limits, Meta, Policy, Spool};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

type Content = Arc<Mutex<Vec<u8>>>;

/// A directory in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<String, Content>>>);

struct MemoryFile(Content);

impl Disk for Memory {
    type File = MemoryFile;

    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let files = self.0.lock().unwrap();
        let listed = files.iter().map(|(name, content)| Listed {
            name: name.clone(),
            bytes: Some(content.lock().unwrap().len() as u64),
        });
        Ok(listed.collect())
    }

    fn create(&self, name: &str) -> io::Result<MemoryFile> {
        let content = Content::default();
        self.0.lock().unwrap().insert(name.to_owned(), content.clone());
        Ok(MemoryFile(content))
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        let files = self.0.lock().unwrap();
        files.get(name).cloned().map(MemoryFile).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().unwrap().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.0.lock().unwrap();
        let rest = usize::try_from(offset).ok().and_then(|at| content.get(at..)).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut content = self.0.lock().unwrap();
        // A damaged position must not make the writer write far behind the end: that would be a sparse file of any size.
        assert!(offset <= (1 << 26), "a write at {offset}");
        let at = offset as usize;
        if content.len() < at + bytes.len() {
            content.resize(at + bytes.len(), 0);
        }
        content[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.lock().unwrap().truncate(bytes as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The input, a byte after the other; zeros when it is used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }
}

fn open(disk: &Memory, time: &Arc<AtomicI64>, limits: Limits) -> Spool<Memory> {
    let counters = Counters::new(&Registry::default(), "fuzz");
    match Spool::open(disk.clone(), limits, Clock::Manual(time.clone()), counters) {
        Ok(spool) => spool,
        Err(error) => panic!("damaged files stopped the start: {error}"),
    }
}

/// Gives a frame's head that was changed its checksum again.
fn seal(content: &mut [u8], first: u64, at: usize) {
    let Some(head) = content.get_mut(at..at + 40) else { return };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[..36]);
    hasher.update(&first.to_le_bytes());
    hasher.update(&(at as u64).to_le_bytes());
    head[36..].copy_from_slice(&hasher.finalize().to_le_bytes());
}

/// Does one thing to one of the files. True if it may change the order or number of frames that are whole.
fn damage(disk: &Memory, input: &mut Input<'_>) -> bool {
    let mut files = disk.0.lock().unwrap();
    let names: Vec<String> = files.keys().cloned().collect();
    if names.is_empty() {
        return false;
    }
    let name = names[usize::from(input.byte()) % names.len()].clone();
    let content = files[&name].clone();
    let mut bytes = content.lock().unwrap();
    let at = if bytes.is_empty() { 0 } else { input.number() % bytes.len() };
    match input.byte() % 8 {
        0 | 1 if !bytes.is_empty() => bytes[at] ^= input.byte() | 1,
        2 => bytes.truncate(at),
        3 => {
            let end = (at + usize::from(input.byte())).min(bytes.len());
            bytes[at..end].fill(input.byte());
        }
        4 => {
            drop(bytes);
            files.remove(&name);
        }
        5 => {
            let copy = Arc::new(Mutex::new(bytes.clone()));
            files.insert(format!("{:020}.seg", input.number()), copy);
            return true;
        }
        6 => {
            let raw: Vec<u8> = (0..input.byte()).map(|_| input.byte()).collect();
            files.insert(format!("{:020}.seg", input.number()), Arc::new(Mutex::new(raw)));
        }
        _ => {
            // A field of the next frame's head, with a checksum that is right.
            let first = name.strip_suffix(".seg").and_then(|digits| digits.parse::<u64>().ok());
            let mark = [0xf1, 0x6c, 0xe7, 0x01];
            let found = bytes.get(at..).and_then(|rest| rest.windows(4).position(|window| *window == mark));
            if let (Some(first), Some(found)) = (first, found) {
                let head = at + found;
                let field = head + 4 + usize::from(input.byte() % 32);
                if let Some(byte) = bytes.get_mut(field) {
                    *byte ^= input.byte() | 1;
                }
                seal(&mut bytes, first, head);
            }
            return true;
        }
    }
    false
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let disk = Memory::default();
    let time = Arc::new(AtomicI64::new(1_000_000_000));
    let policy = if input.byte() & 1 == 0 { Policy::Block } else { Policy::DropOldest };
    let age_s = (input.byte() & 1 == 1).then_some(100_000);
    let limits = Limits { bytes: 64 * 1024, age_s, policy, segment_bytes: 600 };
    let mut known: HashSet<Vec<u8>> = HashSet::new();
    let mut spool = open(&disk, &time, limits);
    let mut forged = false;
    for _ in 0..200 {
        match input.byte() % 8 {
            0..=3 => {
                let payload: Vec<u8> = (0..input.byte()).map(|i| i ^ known.len() as u8).collect();
                if spool.append(Meta { raw_bytes: 1, entries: 1 }, &payload).is_ok() {
                    known.insert(payload);
                }
            }
            4 => {
                if let Ok(Some(frame)) = spool.next() {
                    spool.acknowledge(frame.sequence);
                }
            }
            5 => drop(spool.sync()),
            6 => {
                drop(spool);
                for _ in 0..input.byte() % 4 {
                    forged |= damage(&disk, &mut input);
                }
                spool = open(&disk, &time, limits);
            }
            _ => {
                time.fetch_add(i64::from(input.byte()) * 1_000_000_000, Ordering::Relaxed);
            }
        }
        if input.0.is_empty() {
            break;
        }
    }
    drop(spool);
    for _ in 0..input.byte() % 4 {
        forged |= damage(&disk, &mut input);
    }
    let mut spool = open(&disk, &time, limits);
    // Twice as many as there can be, also of copies: reading has an end.
    let mut last = None;
    for turn in 0.. {
        assert!(turn < 100_000, "reading does not end");
        match spool.next() {
            Ok(Some(frame)) => {
                assert!(known.contains(&frame.payload[..]), "a payload that was never appended: {:?}", frame.payload);
                assert!(forged || last.is_none_or(|last| frame.sequence > last), "frame {} again", frame.sequence);
                last = Some(frame.sequence);
                spool.acknowledge(frame.sequence);
            }
            Ok(None) => break,
            // A place is given up after some attempts.
            Err(_) => {}
        }
    }
    assert!(spool.is_empty());
});
