//! Taking over how far another agent has read: Promtail's positions become checkpoints, once.
//!
//! A position belongs to a path, a checkpoint to a file. So what was at the path when the position was written is looked for:
//!
//! - The file at the path, if it was there by then (or its content was) and is at least as long as the position.
//! - If the path has a younger file by now, or none: the one that was rotated away, under a name that rotation gives in the same directory. It is
//!   the youngest of those that are older than the position. Its rest is read first, then the new file from its beginning.
//! - A file that is shorter than its position was truncated: it is read from its beginning.
//!
//! Without birth times (some file systems have none) the length alone decides.
//!
//! Promises: a positions file is taken over once for each state directory; a file that has a checkpoint keeps it; a position within a line
//! counts as the line's start. Leaves to others: reading positions files, following the files.

use super::begin::{is_rotated_name, start_at_end};
use super::identity::{Identity, Stat, decode_key, encode_key, key_prefix, stat_path};
use super::reload::Sources;
use super::saved::path_to_bytes;
use crate::base::limits::IMPORT_MARGIN_MS;
use crate::format::journal::Cursor;
use crate::store::checkpoint::Checkpoints;
use std::path::{Path, PathBuf};

/// What a positions file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Positions {
    /// The positions file.
    pub path: PathBuf,
    /// When it was written, nanoseconds since 1970.
    pub written_ns: i64,
    /// Files and how far they were read, bytes.
    pub files: Vec<(PathBuf, u64)>,
    /// Places in the journal, by the name of the job that read it.
    pub cursors: Vec<(String, Cursor)>,
    /// Entries that are neither: cursors of containers.
    pub others: usize,
}

/// Takes over what was not taken over before. To be done before the sources start.
pub fn take_over(store: &Checkpoints, sources: &Sources, imports: &[Positions]) {
    for positions in imports {
        let key = import_key(&positions.path);
        if let Some(done) = store.saved(&key).iter().find(|saved| *saved.key == *key) {
            // So that it is not forgotten as long as the configuration names it.
            store.claim(done.slot, &key);
            continue;
        }
        let count = take_over_files(store, sources, positions);
        store.define(&key, b"", 0, b"");
        store.flush();
        tracing::info!(
            positions = %positions.path.display(),
            taken = count.taken, without_file = count.without_file, not_followed = count.not_followed,
            "positions were taken over: these files go on where they were read to"
        );
        if positions.others > 0 {
            tracing::info!(
                positions = %positions.path.display(), cursors = positions.others,
                "the positions file has cursors of containers: they are left where they are, as this version does not read those"
            );
        }
    }
}

/// What became of the positions.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    taken: usize,
    /// There is nothing at the path, or something that was not there then.
    without_file: usize,
    /// No source has a pattern for it.
    not_followed: usize,
}

fn take_over_files(store: &Checkpoints, sources: &Sources, positions: &Positions) -> Count {
    let mut known: Vec<(String, Identity)> = Vec::new();
    store.for_each_saved(&key_prefix(), |saved| {
        known.extend(decode_key(saved.key).map(|(source, identity)| (source.to_owned(), identity)));
    });
    let is_source = |name: &str| sources.names().any(|source| source == name);
    let mut count = Count::default();
    for (path, position) in &positions.files {
        let mut followers = sources.following(path).peekable();
        if followers.peek().is_none() {
            count.not_followed += 1;
            continue;
        }
        let Some((at, stat)) = file_of(path, *position, positions.written_ns) else {
            count.without_file += 1;
            continue;
        };
        for settings in followers {
            let name = settings.name.as_str();
            let has_one = known
                .iter()
                .any(|(source, identity)| identity.is_still(&stat.identity) && (source == name || !is_source(source)));
            if has_one {
                continue;
            }
            match start_at_end(&at, *position, settings.encoding) {
                Ok((offset, mark)) => {
                    let key = encode_key(name, &stat.identity);
                    let slot = store.define(&key, path_to_bytes(path), offset, &mark.encode());
                    store.unclaim(slot);
                    known.push((name.to_owned(), stat.identity));
                    count.taken += 1;
                }
                Err(error) => tracing::warn!(
                    source = name, path = %at.display(), %error,
                    "the position of this file cannot be taken over: it is read from its beginning"
                ),
            }
        }
    }
    count
}

/// The file that the position was of: where it is now, and what it is.
fn file_of(path: &Path, position: u64, written_ns: i64) -> Option<(PathBuf, Stat)> {
    // A younger file with older content was copied, as when a host is moved.
    let was_there = |stat: &Stat| {
        let Stat { identity, modified_ns, .. } = stat;
        identity.born_ns == 0 || identity.born_ns <= written_ns || *modified_ns <= written_ns
    };
    let now = stat_path(path).ok().filter(|stat| stat.is_file);
    if let Some(stat) = now.filter(was_there) {
        return (stat.size >= position).then(|| (path.to_owned(), stat));
    }
    // One that was compressed or deleted meanwhile leaves older ones, which had been read. The right one was written to until about then, or has
    // nothing left to read.
    let margin = IMPORT_MARGIN_MS.saturating_mul(1_000_000);
    let is_it = |stat: &Stat| {
        let is_recent = stat.modified_ns >= written_ns.saturating_sub(i64::try_from(margin).unwrap_or(i64::MAX));
        let fits = stat.size == position || (stat.size > position && is_recent);
        stat.is_file && stat.identity.born_ns != 0 && was_there(stat) && fits
    };
    let beside = std::fs::read_dir(path.parent()?).ok()?.filter_map(Result::ok);
    let rotated = beside.filter(|entry| is_rotated_name(path, &entry.file_name())).filter_map(|entry| {
        let at = entry.path();
        let stat = stat_path(&at).ok()?;
        is_it(&stat).then_some((at, stat))
    });
    rotated.max_by_key(|(_, stat)| stat.identity.born_ns)
}

/// The cursor that says of a positions file that it was taken over.
fn import_key(path: &Path) -> Vec<u8> {
    [b"import\0", path_to_bytes(path)].concat()
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
