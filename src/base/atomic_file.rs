//! Replacing a file as a whole: after a crash there is the old content or the new, never a mixture.
//!
//! Promises: the data is on disk before the name points to it (write to a temporary file beside it, fsync, rename, fsync of the
//! directory), with mode 0600. Leaves to others: checksums and what the bytes mean.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that is being written, to take the place of another. What is not committed is removed.
#[derive(Debug)]
pub struct Replacement {
    file: File,
    path: PathBuf,
    temporary: PathBuf,
    committed: bool,
}

impl Replacement {
    /// Begins what is to be at `path`, beside it.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let temporary = path.with_extension("tmp");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        Ok(Replacement { file, path: path.to_owned(), temporary, committed: false })
    }

    /// Puts what was written in its place.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.temporary, &self.path)?;
        self.committed = true;
        sync_directory(&self.path)
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.committed {
            // Best effort: a leftover temporary file is overwritten by the next attempt anyway.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Makes a rename, creation or removal in the directory of `path` last.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => File::open(directory)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
