//! Compressed twins: a followed file that was rotated, compressed and removed while the agent was down, `app.log` to `app.log.1.gz`.
//!
//! A checkpoint whose file is gone is looked for in the gzip files beside its path that have a rotated name. One whose content, once
//! decompressed, has the checkpoint's head and the bytes before its offset is the file. What comes after the offset is put into a file without
//! a name, at the same offset, and that file takes the place of the one that is gone: it is read, cut, stamped, committed and let
//! go like any rotated file that was deleted.
//!
//! Promises: memory does not grow with the file; what decompresses to more than [`TWIN_BYTES`] is left out and told; a twin of a
//! file that was read to its end is not sent again. Leaves to others: reading (`read`), letting go (`finish`).

use super::begin::{Sorted, is_rotated_name};
use super::earlier::hold_packed;
use super::follow::Follow;
use super::identity::{Identity, encode_key, stat_path, tail_len};
use super::saved::Known;
use super::tracked::{Tracked, open_for_reading};
use super::tree::{DirId, Found};
use crate::base::limits::{HEAD_BYTES, TAIL_BYTES, TWIN_BYTES};
use flate2::read::MultiGzDecoder;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a compressed file is to a checkpoint.
#[derive(Debug)]
pub(super) enum Twin {
    /// Another file.
    Other,
    /// The file, read to its end before.
    Finished,
    /// The file: its rest, at its offsets, and the size of the whole.
    Rest(File, u64),
}

/// Decompressed at once, bytes.
const PART: usize = 64 * 1024;

impl Follow {
    /// Looks for the files that are gone among the compressed ones of the first scan.
    pub(super) fn read_twins(&mut self, found: &Found, sorted: &Sorted) {
        let mut packed: Vec<(DirId, &OsStr)> = Vec::new();
        packed.extend(found.iter().filter(|f| f.name.as_bytes().ends_with(b".gz")).map(|f| (f.dir, f.name)));
        let has_owners =
            |number: u16| self.sources.get(usize::from(number)).is_some_and(|s| s.settings.owners.is_some());
        let owned: Vec<bool> = (0..self.sources.len() as u16).map(has_owners).collect();
        if packed.is_empty() && !owned.contains(&true) {
            return;
        }
        packed.sort_unstable();
        let sources: Vec<(u16, String)> =
            (0..).zip(&self.sources).filter(|(_, s)| !s.carried).map(|(n, s)| (n, s.settings.name.clone())).collect();
        let mut met: Vec<Identity> = Vec::new();
        'all: for (number, name) in sources {
            let first = met.len();
            // Without a byte of its own a file cannot be recognised.
            let is_gone = |known: &Known| !sorted.at_path.contains(&known.slot) && known.mark.head_len > 0;
            let looks_for = |path: &Path| self.looks_for(number, path);
            let mut gone: Vec<Known> = self.saved.unclaimed(&name, looks_for, is_gone).collect();
            // Of several orphans of one file the one that is furthest behind.
            gone.sort_by_key(|known| known.position);
            for known in gone {
                if self.is_stopping() {
                    break 'all;
                }
                let is_met = met.get(first..).is_some_and(|met| met.contains(&known.identity));
                let is_there = || stat_path(&known.origin).is_ok_and(|stat| known.identity.is_still(&stat.identity));
                if is_met || is_there() {
                    continue;
                }
                // Docker may be compressing and renaming just now: what the first scan has found may be elsewhere.
                let is_twin = if owned.get(usize::from(number)) == Some(&true) {
                    hold_packed(&known.origin)
                        .into_iter()
                        .any(|(path, file)| self.try_twin(number, &known, &path, Ok(file)))
                } else {
                    let mut beside = self.beside(&known, &packed).into_iter();
                    beside.any(|path| self.try_twin(number, &known, &path, open_for_reading(&path)))
                };
                if is_twin {
                    met.push(known.identity);
                }
            }
        }
        // When every source has had its turn: nobody else wants them.
        for identity in met {
            self.saved.forget_orphans(&identity);
        }
    }

    /// Compressed files that may be what the checkpoint's file became.
    fn beside(&self, known: &Known, packed: &[(DirId, &OsStr)]) -> Vec<PathBuf> {
        let (Some(parent), Some(stem)) = (known.origin.parent(), known.origin.file_stem()) else { return Vec::new() };
        let Some(dir) = self.tree.id_at(parent) else { return Vec::new() };
        let first = packed.partition_point(|at| *at < (dir, stem));
        let names = packed.get(first..).unwrap_or_default().iter();
        let names = names.take_while(|(other, name)| *other == dir && name.as_bytes().starts_with(stem.as_bytes()));
        let is_rotated = |name: &&OsStr| {
            let plain = name.as_bytes().strip_suffix(b".gz").map(OsStr::from_bytes);
            plain.is_some_and(|plain| is_rotated_name(&known.origin, plain))
        };
        names.map(|(_, name)| *name).filter(is_rotated).map(|name| parent.join(name)).collect()
    }

    /// True when `path` is the checkpoint's file.
    fn try_twin(&mut self, number: u16, known: &Known, path: &Path, file: io::Result<File>) -> bool {
        let twin = file.and_then(|file| {
            let mut spill = || self.store.nameless_file();
            unpack(file, known, TWIN_BYTES, &mut spill, &|| self.is_stopping())
        });
        match twin {
            Ok(Twin::Other) => false,
            Ok(Twin::Finished) => {
                if self.store.claim(known.slot, &encode_key(&known.source, &known.identity)) {
                    self.store.forget(known.slot);
                }
                true
            }
            Ok(Twin::Rest(rest, size)) => {
                tracing::info!(
                    source = %known.source, path = %known.origin.display(), compressed_to = %path.display(),
                    unread_bytes = size - known.position,
                    "a file was rotated and compressed while it was not followed: its rest is read"
                );
                self.track_twin(number, known, rest, size);
                true
            }
            Err(error) => {
                tracing::warn!(
                    source = %known.source, path = %path.display(), %error,
                    "a compressed file could not be compared with what was read before it was compressed: if lines of it are missing, send them \
                     from there"
                );
                false
            }
        }
    }

    fn track_twin(&mut self, number: u16, known: &Known, rest: File, size: u64) {
        if !self.store.claim(known.slot, &encode_key(&known.source, &known.identity)) {
            return;
        }
        let generation = self.files.next_generation();
        let mut file = Tracked::new(number, known.identity, generation);
        file.slot = Some(known.slot);
        file.size = size;
        file.offset = known.position;
        file.stored = known.position;
        file.mark = known.mark;
        file.replay = (!known.intents.is_empty()).then(|| Box::new(known.intents.clone()));
        file.set_origin(Some(known.origin.as_path().into()));
        file.file = Some(rest);
        self.open += 1;
        let id = self.files.insert(file);
        self.rotate(id);
        self.files.make_ready(id);
    }
}

/// Decompresses `packed`, at most `most` bytes, and compares it with what the checkpoint knows. `spill` makes the file for the rest: to write to, and to read from.
pub(super) fn unpack(
    packed: File,
    known: &Known,
    most: u64,
    spill: &mut dyn FnMut() -> io::Result<(File, File)>,
    is_stopping: &dyn Fn() -> bool,
) -> io::Result<Twin> {
    let too_much = || io::Error::other(format!("it has more than {most} bytes"));
    let mut magic = [0; 3];
    if packed.read_at(&mut magic, 0)? < magic.len() || magic != *b"\x1f\x8b\x08" {
        return Ok(Twin::Other);
    }
    // Somebody may have looked at its beginning.
    (&packed).rewind()?;
    let mut content = MultiGzDecoder::new(BufReader::with_capacity(PART, packed));
    let head_len = usize::from(known.mark.head_len).min(HEAD_BYTES);
    let tail_len = tail_len(known.position);
    let mut head = vec![0; head_len];
    let mut is_same = false;
    let mut tail = [0; TAIL_BYTES];
    let tail = tail.get_mut(..tail_len).unwrap_or_default();
    let tail_at = known.position - tail_len as u64;
    let mut buffer = vec![0; PART];
    let mut rest: Option<(File, File)> = None;
    let mut at = 0u64;
    loop {
        if is_stopping() {
            return Err(io::Error::other("lugger is to stop"));
        }
        let got = match content.read(&mut buffer) {
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Whatever else it is, it is not what was read.
            Err(_) if !is_same => return Ok(Twin::Other),
            Err(error) => return Err(error),
        };
        let part = buffer.get(..got).unwrap_or_default();
        let end = at + got as u64;
        overlay(&mut head, 0, part, at);
        overlay(tail, tail_at, part, at);
        if !is_same && (end >= head_len as u64 || got == 0) {
            if end < head_len as u64 || crc32fast::hash(&head) != known.mark.head {
                return Ok(Twin::Other);
            }
            // Only now is it worth to decompress all of it.
            is_same = true;
            if known.position > most {
                return Err(too_much());
            }
        }
        if end >= known.position && at <= known.position && crc32fast::hash(tail) != known.mark.tail {
            return Ok(Twin::Other);
        }
        if got == 0 {
            break;
        }
        if end > known.position {
            if end > most {
                return Err(too_much());
            }
            let (writer, _) = match &mut rest {
                Some(rest) => rest,
                none => {
                    let made = spill()?;
                    // What the reader compares, at its place; the hole between takes no room.
                    made.0.write_all_at(&head, 0)?;
                    made.0.write_all_at(tail, tail_at)?;
                    none.insert(made)
                }
            };
            let skip = usize::try_from(known.position.saturating_sub(at)).unwrap_or(usize::MAX);
            writer.write_all_at(part.get(skip..).unwrap_or_default(), at + skip as u64)?;
        }
        at = end;
    }
    Ok(match rest {
        Some((_, reader)) => Twin::Rest(reader, at),
        None if at == known.position => Twin::Finished,
        None => Twin::Other,
    })
}

/// Copies what of `part`, which lies at `at`, falls into `place`, which lies at `place_at`.
fn overlay(place: &mut [u8], place_at: u64, part: &[u8], at: u64) {
    let start = place_at.max(at);
    let end = (place_at + place.len() as u64).min(at + part.len() as u64);
    if start >= end {
        return;
    }
    // Both ranges are within slices, so that the differences fit.
    let to = place.get_mut((start - place_at) as usize..(end - place_at) as usize);
    if let (Some(to), Some(from)) = (to, part.get((start - at) as usize..(end - at) as usize)) {
        to.copy_from_slice(from);
    }
}

#[cfg(test)]
#[path = "twin_tests.rs"]
mod tests;
