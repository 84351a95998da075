//! The checkpoint files: numbered pairs of a snapshot and a journal, how they are made, and how they are read.
//!
//! Promises: no file is ever overwritten or cut that an earlier start or attempt left; what is older than the pair before a new snapshot is
//! removed only when that snapshot is in place; damaged files are only named here, and renamed with [`set_aside`].
//! Leaves to others: when a new pair is due, and what to do when the disk is full.

use super::cursors::Table;
use super::frame::{self, Frames};
use super::record::Record;
use crate::base::atomic_file;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The journal that is written.
#[derive(Debug)]
pub(super) struct Journal {
    pub file: Arc<File>,
    /// Length up to which the file is good.
    pub bytes: u64,
}

pub(super) fn path_of(directory: &Path, number: u64, kind: &str) -> PathBuf {
    directory.join(format!("checkpoint-{number}.{kind}"))
}

/// A new, empty journal. `alone`: something is missing before it.
pub(super) fn new_journal(directory: &Path, number: u64, alone: bool) -> io::Result<Journal> {
    let mut head = Vec::new();
    let mut payload = Vec::new();
    Record::Header { number }.encode(&mut payload);
    frame::append(&mut head, &payload);
    if alone {
        payload.clear();
        Record::Alone.encode(&mut payload);
        frame::append(&mut head, &payload);
    }
    let path = path_of(directory, number, "journal");
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
    if let Err(error) = file.write_all(&head) {
        // It says nothing. If it stays, the next start finds it damaged, which costs nothing either.
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    Ok(Journal { file: Arc::new(file), bytes: head.len() as u64 })
}

/// Writes a snapshot piece by piece, so that it is never in memory as a whole. Gives it and its size; it counts when it is put in place.
pub(super) fn write_snapshot(
    directory: &Path,
    number: u64,
    table: &Table,
    now_s: i64,
) -> io::Result<(atomic_file::Replacement, u64)> {
    let file = atomic_file::Replacement::begin(&path_of(directory, number, "snapshot"))?;
    let mut out = BufWriter::with_capacity(SNAPSHOT_PIECE_BYTES, file);
    let bytes = table.snapshot(number, now_s, &mut out)?;
    Ok((out.into_inner().map_err(io::IntoInnerError::into_error)?, bytes))
}

/// What is written of a snapshot at once.
const SNAPSHOT_PIECE_BYTES: usize = 64 * 1024;

/// Puts a snapshot in place, sets damaged files aside, then removes what is older than the snapshot before it.
pub(super) fn place_snapshot(
    directory: &Path,
    number: u64,
    snapshot: atomic_file::Replacement,
    damaged: &mut Vec<PathBuf>,
) -> io::Result<()> {
    snapshot.commit()?;
    for path in damaged.drain(..) {
        set_aside(&path);
    }
    let found = files(directory)?;
    let before = found.iter().filter(|(n, path)| *n < number && is_snapshot(path)).map(|(n, _)| *n).max();
    for (old, path) in found {
        if old < before.unwrap_or(number) {
            // Best effort: a file that stays is removed by the next compaction.
            let _ = std::fs::remove_file(path);
        }
    }
    Ok(())
}

fn set_aside(path: &Path) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    if let Err(error) = std::fs::rename(path, &aside) {
        tracing::warn!(file = %path.display(), %error, "cannot set a damaged checkpoint file aside");
    }
}

fn is_snapshot(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "snapshot")
}

/// All checkpoint files with their numbers.
pub(super) fn files(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|n| n.strip_prefix("checkpoint-")) else { continue };
        let Some((number, "snapshot" | "journal")) = rest.split_once('.') else { continue };
        if let Ok(number) = number.parse() {
            found.push((number, entry.path()));
        }
    }
    Ok(found)
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub table: Table,
    /// Highest number in use.
    pub newest: u64,
    /// When one of the files was written last, nanoseconds since 1970.
    pub last_written_ns: i64,
    /// Files that are damaged. They stay where they are until a new snapshot makes them superfluous.
    pub damaged: Vec<PathBuf>,
    /// Journals that could not be used to their end: what is written next needs its own snapshot.
    pub gap: bool,
}

impl Loaded {
    fn damaged(&mut self, path: &Path, consequence: &str) {
        tracing::warn!(file = %path.display(), "a checkpoint file is damaged and is set aside: {consequence}");
        self.damaged.push(path.to_owned());
    }
}

/// The newest state that can be put together.
pub(super) fn load(directory: &Path) -> io::Result<Loaded> {
    let mut loaded = Loaded::default();
    let mut snapshots = BTreeMap::new();
    let mut journals = BTreeMap::new();
    for (number, path) in files(directory)? {
        loaded.newest = loaded.newest.max(number);
        let meta = std::fs::metadata(&path)?;
        let written_ns = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
        loaded.last_written_ns = loaded.last_written_ns.max(written_ns);
        if is_snapshot(&path) { &mut snapshots } else { &mut journals }.insert(number, path);
    }
    let mut base = 0;
    for (&number, path) in snapshots.iter().rev() {
        if let Some(table) = read_snapshot(frames(path)?, number)? {
            loaded.table = table;
            base = number;
            break;
        }
        loaded.damaged(path, "the one before it is used");
    }
    for (&number, path) in journals.range(base..) {
        match read_journal(frames(path)?, number, number == base, &mut loaded.table)? {
            Read::Whole => {}
            // Anything that was appended later builds on what is missing, and is not used either.
            Read::Alone => loaded.gap = true,
            Read::Damaged => {
                // A torn tail is what a power loss leaves.
                loaded.damaged(path, "what it has before the damage is used; some lines may be sent again");
                loaded.gap = true;
            }
        }
        if loaded.gap {
            break;
        }
    }
    Ok(loaded)
}

fn frames(path: &Path) -> io::Result<Frames<BufReader<File>>> {
    Ok(Frames::new(BufReader::with_capacity(64 * 1024, File::open(path)?)))
}

fn read_snapshot<R: io::Read>(mut frames: Frames<R>, number: u64) -> io::Result<Option<Table>> {
    let mut table = Table::default();
    if frames.next()?.and_then(Record::decode) != Some(Record::Header { number }) {
        return Ok(None);
    }
    for count in 1.. {
        match frames.next()?.and_then(Record::decode) {
            None => break,
            Some(Record::End { count: expected }) => {
                return Ok((count == expected && frames.is_at_clean_end()?).then_some(table));
            }
            Some(record) => table.apply(&record),
        }
    }
    Ok(None)
}

enum Read {
    Whole,
    /// It needs a snapshot that is not there; nothing of it was used.
    Alone,
    /// What came before the damage was used.
    Damaged,
}

fn read_journal<R: io::Read>(
    mut frames: Frames<R>,
    number: u64,
    over_own_snapshot: bool,
    table: &mut Table,
) -> io::Result<Read> {
    if frames.next()?.and_then(Record::decode) != Some(Record::Header { number }) {
        return Ok(Read::Damaged);
    }
    while let Some(payload) = frames.next()? {
        match Record::decode(payload) {
            None => return Ok(Read::Damaged),
            Some(Record::Alone) if !over_own_snapshot => return Ok(Read::Alone),
            Some(record) => table.apply(&record),
        }
    }
    Ok(if frames.is_at_clean_end()? { Read::Whole } else { Read::Damaged })
}

/// The cursors of a pair of files in memory.
pub(super) fn read_pair(snapshot: &[u8], journal: &[u8], number: u64) -> io::Result<Table> {
    let mut table = read_snapshot(Frames::new(snapshot), number)?.unwrap_or_default();
    read_journal(Frames::new(journal), number, true, &mut table)?;
    Ok(table)
}
