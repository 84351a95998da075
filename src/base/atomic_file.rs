//! Replacing a file as a whole: after a crash there is the old content or the new, never a mixture.
//!
//! Promises: the data is on disk before the name points to it (write to a temporary file beside it, fsync, rename, fsync of the
//! directory), with mode 0600. Leaves to others: checksums and what the bytes mean.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Puts `parts`, one after the other, in the place of `path`.
pub fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let result = write_and_rename(path, &temporary, parts);
    if result.is_err() {
        // Best effort: a leftover temporary file is overwritten by the next attempt anyway.
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

fn write_and_rename(path: &Path, temporary: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    std::fs::rename(temporary, path)?;
    sync_directory(path)
}

/// Makes a rename, creation or removal in the directory of `path` last.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => File::open(directory)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
