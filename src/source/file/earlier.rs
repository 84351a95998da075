//! Earlier generations of a log that has an owner: `x.log.3`, `x.log.2.gz`, `x.log.1`.
//!
//! Elsewhere what lies beside a log when it is met is history that nobody asked for. The log of a container is all that Docker keeps of it, and Docker
//! may have rotated it before it could be met, or several times between two looks.
//!
//! Docker renames `x.log.1.gz` to `x.log.2.gz` and so on, oldest first, then `x.log` to `x.log.1`, and makes `x.log`; beside that it writes `x.log.1.gz`, and then
//! removes `x.log.1`. It may be anywhere in that. So everything is opened first, until two looks in a row find the same: between them nothing had
//! moved, and from then on names do not matter.
//!
//! Promises: the oldest comes first, and all of them before the log itself. A compressed one is held open, and unpacked into a file without a name when its
//! turn comes, so that only one of them takes room; after a kill it is found again by its content (`twin`). What of a generation is known is not read
//! again. Leaves to others: rotation that is seen (`follow`), what was followed before the agent was down (`begin`, `twin`).

use super::begin::alive_ns;
use super::follow::{Follow, fail};
use super::identity::{Identity, Mark, Stat, encode_key, stat_file, stat_path};
use super::read::read_at;
use super::saved::path_to_bytes;
use super::tracked::{FileId, Tracked, open_for_reading};
use super::tree::DirId;
use crate::base::limits::{EARLIER_LOOKS, HEAD_BYTES, TWIN_BYTES};
use flate2::read::MultiGzDecoder;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Unpacked at once, bytes.
const PART: usize = 64 * 1024;

/// A generation that is held open.
#[derive(Debug)]
pub(super) struct Held {
    /// 0: the log itself.
    pub number: u32,
    pub is_packed: bool,
    pub name: OsString,
    pub file: File,
    pub stat: Stat,
}

impl Held {
    fn key(&self) -> (u32, bool, Identity) {
        (self.number, self.is_packed, self.stat.identity)
    }

    /// The first bytes of its content; fewer where it has no more, or they cannot be had.
    pub fn head(&self) -> Vec<u8> {
        let mut head = vec![0; HEAD_BYTES];
        let length = if self.is_packed {
            let mut content = MultiGzDecoder::new(BufReader::new(&self.file));
            let mut length = 0;
            while let Ok(got @ 1..) = content.read(head.get_mut(length..).unwrap_or_default()) {
                length += got;
            }
            length
        } else {
            read_at(&self.file, &mut head, 0).unwrap_or_default()
        };
        head.truncate(length);
        head
    }

    /// How much it is unpacked, as its end says (RFC 1952, ISIZE): modulo 4 GiB, which is more than is unpacked at all. `None`: it does not say.
    pub fn unpacked_size(&self) -> Option<u64> {
        let mut end = [0; 4];
        let at = self.stat.size.checked_sub(end.len() as u64)?;
        (read_at(&self.file, &mut end, at).ok()? == end.len()).then(|| u64::from(u32::from_le_bytes(end)))
    }
}

/// What became of the name of a log.
#[derive(Debug)]
pub(super) enum Current {
    /// It leads to this file, which is open; and the heads of those before it.
    Is(File, Stat, Box<[Mark]>),
    /// It leads nowhere: what it led to was rotated, and is one of the earlier ones.
    Rotated,
    /// Nobody knows.
    Unknown,
}

impl Follow {
    /// Takes in what was rotated before the file with this name and identity was met, and tells what the name leads to now. `met` may be among the earlier
    /// ones by then.
    pub(super) fn take_earlier(
        &mut self,
        source: u16,
        dir: DirId,
        name: &OsStr,
        met: &Identity,
        origin: &Path,
    ) -> Current {
        let Some(parent) = origin.parent() else { return Current::Unknown };
        let held = hold(parent, name, |path, error| {
            if let Some(source) = self.sources.get(usize::from(source)) {
                fail(source, path, "open", error);
            }
        });
        let was_rotated = held.iter().any(|held| held.number > 0 && held.stat.identity == *met);
        let (known, has_list) = self.known_heads(source, dir, origin);
        // What was there when the agent was last at work was read then, or has a checkpoint.
        let may_have_run = self.is_starting || (!known.is_empty() && !has_list);
        let is_new = self.sources.get(usize::from(source)).is_none_or(|source| source.is_new);
        let since_ns = if may_have_run && !is_new { alive_ns(&self.store) } else { i64::MIN };
        let mut born_ns = i64::MAX;
        let mut earlier = Vec::new();
        let mut heads = Vec::new();
        let mut its_own = None;
        // The newest first.
        for held in held {
            if held.number == 0 {
                born_ns = held.stat.identity.born_ns;
                its_own = Some((held.file, held.stat));
                continue;
            }
            let head = held.head();
            let identity = &held.stat.identity;
            let followed = self.files.by_identity(source, identity).filter(|_| !held.is_packed);
            let is_other = |id: &FileId| self.files.get(*id).is_some_and(|file| file.identity != *identity);
            if let Some(id) = followed.filter(is_other) {
                // The inode was used again: what it was before is gone.
                self.files.disown_identity(id);
            }
            if let Some(id) = self.blind_like(source, &held).filter(|_| !held.is_packed) {
                heads.push(mark_of(&head));
                self.give_content(id, held.file, held.stat.size);
                continue;
            }
            let is_followed = if held.is_packed {
                known.iter().any(|known| is_of(known, &head)) || self.is_rest_of_blind(source, origin, &held, &head)
            } else {
                self.files.by_identity(source, identity).is_some()
            };
            let has_checkpoint = !held.is_packed && self.peek(source, identity, |_, _| ()).is_some();
            // What has a checkpoint goes on where it says.
            let is_due = !is_followed && (has_checkpoint || held.stat.modified_ns >= since_ns || identity == met);
            let Identity { device, inode, born_ns: own_ns } = held.stat.identity;
            let identity = if held.is_packed {
                // Its content is followed, not the compressed file, which is no file of these; and its birth comes behind that of the next generation.
                Identity { device, inode: !inode, born_ns: own_ns.min(born_ns.saturating_sub(1)) }
            } else {
                held.stat.identity
            };
            born_ns = identity.born_ns;
            heads.push(mark_of(&head));
            if is_due {
                earlier.push((held, identity, head));
            }
        }
        let packed = earlier.iter().rev().filter(|(held, _, _)| held.is_packed);
        let sizes: Vec<u64> = packed.filter_map(|(held, _, _)| held.unpacked_size()).collect();
        self.are_taken_in(source, origin, &sizes);
        for (held, identity, head) in earlier.into_iter().rev() {
            self.track_held(source, dir, held, identity, &head, origin);
        }
        match its_own {
            Some((file, stat)) => Current::Is(file, stat, heads.into()),
            None if was_rotated => Current::Rotated,
            None => Current::Unknown,
        }
    }

    /// Whether a compressed generation is the content of a file that was met and is gone; that goes on in it then.
    fn is_rest_of_blind(&mut self, source: u16, origin: &Path, held: &Held, head: &[u8]) -> bool {
        let is_it = |id: &FileId| {
            let file = self.files.get(*id).filter(|file| file.source == source && file.origin() == Some(origin));
            file.is_some_and(|file| is_of(&file.mark, head))
        };
        let alike: Vec<FileId> = self.unsettled.iter().copied().filter(is_it).collect();
        let path = origin.with_file_name(&held.name);
        alike.into_iter().any(|id| held.file.try_clone().is_ok_and(|file| self.goes_on_in(id, origin, &path, file)))
    }

    /// The heads of the earlier generations of a log that goes on where it was: they are known.
    pub(super) fn earlier_of(&self, origin: &Path) -> Box<[Mark]> {
        let (Some(parent), Some(name)) = (origin.parent(), origin.file_name()) else { return Box::default() };
        let held = hold(parent, name, |_, _| {});
        held.iter().filter(|held| held.number > 0).map(|held| mark_of(&held.head())).collect()
    }

    /// The heads of what is known of a log. True: also of what was there before.
    fn known_heads(&self, source: u16, dir: DirId, origin: &Path) -> (Vec<Mark>, bool) {
        let named = self.files.names_in(source, dir, |_| true);
        let named = named.iter().filter_map(|name| self.files.named(source, dir, name));
        let rotated = self.unsettled.iter().copied();
        let (mut known, mut has_list) = (Vec::new(), false);
        for file in named.chain(rotated).filter_map(|id| self.files.get(id)) {
            if file.source == source && file.origin().is_none_or(|other| other == origin) {
                known.extend(head_of(file));
                known.extend(file.earlier());
                has_list |= !file.earlier().is_empty();
            }
        }
        (known, has_list)
    }

    fn track_held(&mut self, source: u16, dir: DirId, held: Held, identity: Identity, head: &[u8], origin: &Path) {
        let Some(name) = self.sources.get(usize::from(source)).map(|source| source.settings.name.clone()) else {
            return;
        };
        let generation = self.files.next_generation();
        let mut file = Tracked::new(source, identity, generation);
        file.size = held.stat.size;
        file.set_origin(Some(origin.into()));
        if let Some(known) = self.saved.take(&name, &identity) {
            self.resume(&mut file, known, &origin.with_file_name(&held.name), &held.stat);
            file.set_origin(Some(origin.into()));
        }
        file.set_packed(held.is_packed);
        file.file = Some(held.file);
        if file.slot.is_none() {
            self.define_held(&mut file, &name, head, origin);
        }
        self.open += 1;
        let id = self.files.insert(file);
        let has_name = || {
            let path = self.path_of(dir, &held.name)?;
            Some(stat_path(&path).ok()?.identity == identity)
        };
        if !held.is_packed && has_name() == Some(true) {
            self.files.name(id, dir, &held.name);
        }
        self.rotate(id);
        self.files.make_ready(id);
    }

    fn define_held(&self, file: &mut Tracked, source: &str, head: &[u8], origin: &Path) {
        // By this it is found again if it is compressed, or was, while the agent is down.
        if file.offset == 0 {
            file.mark = mark_of(head);
        }
        let key = encode_key(source, &file.identity);
        file.slot = Some(self.store.define(&key, path_to_bytes(origin), file.offset, &file.mark.encode()));
    }

    /// A log was rotated, and may be compressed before anything of it is stored: what it is known by then is written down.
    pub(super) fn note_head(&self, id: FileId) {
        let Some(file) = self.files.get(id).filter(|file| file.stored == 0) else { return };
        let is_owned = self.sources.get(usize::from(file.source)).is_some_and(|s| s.settings.owners.is_some());
        if let (true, Some(slot), Some(mark)) = (is_owned, file.slot, head_of(file)) {
            let mark = mark.encode();
            self.store.commit(std::iter::once((slot, 0, &mark[..])));
        }
    }

    /// A compressed generation has its turn: its content is followed from now on. False: the file is none.
    pub(super) fn unpack(&mut self, id: FileId) -> bool {
        let Some(file) = self.files.get_mut(id).filter(|file| file.is_packed()) else { return false };
        let Some(packed) = file.file.take() else { return false };
        let origin = file.origin().unwrap_or(Path::new("")).to_owned();
        let unpacked = self.store.nameless_file().and_then(|(mut writer, reader)| {
            let (size, problem) = copy_content(&packed, &mut writer, &|| self.is_stopping())?;
            Ok((reader, size, problem))
        });
        let (file, again) = match unpacked {
            Ok((reader, size, problem)) => {
                if let Some(problem) = problem {
                    tracing::warn!(
                        path = %origin.display(), unpacked_bytes = size, problem,
                        "an earlier, compressed part of this log could not be unpacked to its end: what was unpacked is read"
                    );
                }
                let Some(file) = self.files.get_mut(id) else { return true };
                file.size = size;
                file.set_packed(false);
                (Some(reader), true)
            }
            Err(_) if self.is_stopping() => (Some(packed), false),
            Err(error) => {
                self.failed(id, &origin, "unpack an earlier part of", &error);
                (Some(packed), false)
            }
        };
        if let Some(tracked) = self.files.get_mut(id) {
            tracked.file = file;
        }
        if again {
            self.files.make_ready(id);
        }
        true
    }
}

/// The first bytes of a file that is followed. `None`: it has none, or cannot be read any more.
pub(super) fn head_of(file: &Tracked) -> Option<Mark> {
    let is_done = file.at_end && file.size <= file.offset;
    if file.mark.head_len > 0 {
        return (file.file.is_some() || is_done).then_some(Mark { tail: 0, ..file.mark });
    }
    // Nothing of it was read yet.
    let mut head = [0; HEAD_BYTES];
    let length = read_at(file.file.as_ref()?, &mut head, 0).ok()?;
    Some(mark_of(head.get(..length)?)).filter(|mark| mark.head_len > 0)
}

/// At the beginning of content with this head.
fn mark_of(head: &[u8]) -> Mark {
    Mark { head_len: head.len() as u16, head: crc32fast::hash(head), tail: 0 }
}

pub(super) fn is_of(known: &Mark, head: &[u8]) -> bool {
    known.head_len > 0
        && head.get(..usize::from(known.head_len)).is_some_and(|head| crc32fast::hash(head) == known.head)
}

/// The compressed generations of a log, by their paths then.
pub(super) fn hold_packed(origin: &Path) -> Vec<(PathBuf, File)> {
    let (Some(parent), Some(name)) = (origin.parent(), origin.file_name()) else { return Vec::new() };
    // What cannot be opened is told of when it is looked for.
    let held = hold(parent, name, |_, _| {});
    held.into_iter().filter(|held| held.is_packed).map(|held| (parent.join(held.name), held.file)).collect()
}

/// Opens a log and its earlier generations as they are at one moment; the newest first. `fails` is told what cannot be opened.
pub(super) fn hold(parent: &Path, name: &OsStr, mut fails: impl FnMut(&Path, &io::Error)) -> Vec<Held> {
    let mut before: Vec<Held> = Vec::new();
    for _ in 0..EARLIER_LOOKS {
        // A directory that cannot be listed is told of by who lists it.
        let Ok(entries) = std::fs::read_dir(parent) else { break };
        let names = entries.flatten().map(|entry| entry.file_name());
        let mut now: Vec<Held> = Vec::new();
        for (number, is_packed, name) in names.filter_map(|other| generation_of(name, other)) {
            let path = parent.join(&name);
            match open_for_reading(&path).and_then(|file| Ok((stat_file(&file)?, file))) {
                Ok((stat, file)) if stat.is_file => now.push(Held { number, is_packed, name, file, stat }),
                // It has another name by now: the next look finds that.
                Err(error) if error.kind() != io::ErrorKind::NotFound => fails(&path, &error),
                _ => {}
            }
        }
        now.sort_unstable_by_key(|held| (held.number, held.is_packed));
        let is_same = now.iter().map(Held::key).eq(before.iter().map(Held::key));
        before = now;
        if is_same {
            break;
        }
    }
    // While one is being compressed there are both. The plain one is whole.
    let plain: Vec<u32> = before.iter().filter(|held| !held.is_packed).map(|held| held.number).collect();
    before.retain(|held| !held.is_packed || !plain.contains(&held.number));
    before
}

/// Unpacks into `writer`. How much, and why not all of it. An error is one of writing, or that the agent is to stop.
fn copy_content(packed: &File, writer: &mut File, is_stopping: &dyn Fn() -> bool) -> io::Result<(u64, Option<String>)> {
    let mut packed = packed;
    packed.rewind()?;
    let mut content = MultiGzDecoder::new(BufReader::with_capacity(PART, packed));
    let mut part = vec![0; PART];
    let mut size = 0;
    loop {
        if is_stopping() {
            return Err(io::Error::other("lugger is to stop"));
        }
        let got = match content.read(&mut part) {
            Ok(0) => return Ok((size, None)),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok((size, Some(error.to_string()))),
        };
        size += got as u64;
        if size > TWIN_BYTES {
            return Ok((size - got as u64, Some(format!("it has more than {TWIN_BYTES} bytes"))));
        }
        writer.write_all(part.get(..got).unwrap_or_default())?;
    }
}

/// Which generation of `name` this is, and whether it is compressed.
fn generation_of(name: &OsStr, other: OsString) -> Option<(u32, bool, OsString)> {
    if other == *name {
        return Some((0, false, other));
    }
    let added = other.to_str()?.strip_prefix(name.to_str()?)?.strip_prefix('.')?;
    let (number, is_packed) = match added.strip_suffix(".gz") {
        Some(number) => (number, true),
        None => (added, false),
    };
    let is_number = number.bytes().all(|b| b.is_ascii_digit());
    let number = number.parse().ok().filter(|number| is_number && *number > 0)?;
    Some((number, is_packed, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_by_name() {
        let of = |other: &str| generation_of(OsStr::new("a-json.log"), other.into()).map(|(n, packed, _)| (n, packed));
        assert_eq!(of("a-json.log.1"), Some((1, false)));
        assert_eq!(of("a-json.log.12.gz"), Some((12, true)));
        assert_eq!(of("a-json.log"), Some((0, false)));
        for other in
            ["a-json.log.0", "a-json.log.", "a-json.log.gz", "a-json.log.+1", "b-json.log.1", "a-json.log.1.xz"]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }

    /// Docker's way of rotating, by somebody who does nothing else: what is held is always all that there is.
    #[test]
    fn all_generations_are_held_while_they_are_renamed_and_compressed() {
        const MOST: usize = 6;
        let dir = tempfile::tempdir().unwrap();
        let path = |number: usize, end: &str| match number {
            0 => dir.path().join("x.log"),
            _ => dir.path().join(format!("x.log.{number}{end}")),
        };
        let write = |generation: usize| std::fs::write(path(0, ""), generation.to_string()).unwrap();
        let rotate = |generation: usize| {
            // The oldest is removed only where it would be in the way.
            for number in (1..MOST).rev() {
                let _ = std::fs::rename(path(number, ".gz"), path(number + 1, ".gz"));
            }
            std::fs::rename(path(0, ""), path(1, "")).unwrap();
            write(generation);
            let mut packed =
                flate2::write::GzEncoder::new(File::create(path(1, ".gz")).unwrap(), flate2::Compression::fast());
            packed.write_all(&std::fs::read(path(1, "")).unwrap()).unwrap();
            packed.finish().unwrap();
            std::fs::remove_file(path(1, "")).unwrap();
        };
        write(0);
        for generation in 1..=MOST {
            rotate(generation);
        }
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Not for ever: the test may have failed.
                for generation in MOST + 1..MOST + 20_000 {
                    if is_over.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    rotate(generation);
                    std::thread::sleep(std::time::Duration::from_micros(500));
                }
            });
            for _ in 0..300 {
                let held = hold(dir.path(), OsStr::new("x.log"), |path, error| panic!("{}: {error}", path.display()));
                let heads = held.iter().map(|held| String::from_utf8(held.head()).unwrap());
                let generations: Vec<usize> = heads.map(|head| head.parse().unwrap_or(usize::MAX)).collect();
                let newest = generations.iter().copied().find(|generation| *generation != usize::MAX).unwrap();
                // Where the log itself is just being made, it is the one before that is the newest.
                let rest: Vec<usize> =
                    generations.iter().copied().filter(|generation| *generation != usize::MAX).collect();
                let want: Vec<usize> = (0..rest.len()).map(|back| newest - back).collect();
                is_over.fetch_or(rest != want || rest.len() < MOST, std::sync::atomic::Ordering::Relaxed);
                assert_eq!(rest, want);
                assert!(rest.len() >= MOST, "{generations:?}");
            }
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }
}
