//! The system calls that the spool and the inlets need, as a trait, and their real form on one directory.
//!
//! Promises: each method is one system call or nearly so, and reports what that call says; nothing is retried or buffered here.
//! Leaves to others: what an error means, misbehaving on purpose (the tests' own disk).

use rustix::io::Errno;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A name found in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name without the directory. What is not UTF-8 is given lossily: names of ours are ASCII.
    pub name: String,
    /// Length of a regular file; `None` for everything else.
    pub bytes: Option<u64>,
}

/// One directory of files.
pub trait Disk: Send {
    /// An open file.
    type File: DiskFile;

    /// Makes the directory if it is missing.
    fn prepare(&self) -> io::Result<()>;
    /// All names, in any order.
    fn list(&self) -> io::Result<Vec<Listed>>;
    /// An empty file for reading and writing; what was there under that name is emptied.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// An existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Gives a file another name; what was there under that name is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations and removals last through a power loss.
    fn sync_directory(&self) -> io::Result<()>;
    /// The directory, for messages.
    fn place(&self) -> String;
}

/// An open file. Reads and writes may be short, as the kernel's are.
pub trait DiskFile: Send {
    /// Reads at `offset`; 0 at the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Length.
    fn bytes(&self) -> io::Result<u64>;
    /// Sees to it that `bytes` from `offset` on can be written, and leaves the length as it is. Where a file system cannot do that it does nothing.
    fn reserve(&self, offset: u64, bytes: u64) -> io::Result<()>;
    /// Cuts the file to `bytes`.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
    /// Makes content and length last through a power loss.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the host.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory `path`; it need not exist yet.
    pub fn new(path: &Path) -> Self {
        Directory { path: path.to_path_buf() }
    }
}

impl Disk for Directory {
    type File = File;

    fn prepare(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        // The owner's directory for spools may be as new as this one: what is in them lasts only if their names do.
        for above in self.path.ancestors().skip(1).take(2).filter(|above| !above.as_os_str().is_empty()) {
            File::open(above)?.sync_all()?;
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Not followed if it is a symbolic link: that is nothing of ours. A length that cannot be told is learned on opening.
            let bytes = match entry.metadata() {
                Ok(meta) => meta.is_file().then_some(meta.len()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(_) => Some(0),
            };
            found.push(Listed { name, bytes });
        }
        Ok(found)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        options.open(self.path.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

impl DiskFile for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn reserve(&self, offset: u64, bytes: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        loop {
            match fallocate(self, FallocateFlags::KEEP_SIZE, offset, bytes) {
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(()),
                reserved => return Ok(reserved?),
            }
        }
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Fills `bytes` as far as the file goes; the number of bytes that were read.
pub(in crate::store) fn read_full<F: DiskFile>(file: &F, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of `bytes`, or fails with a part of it written.
pub(super) fn write_full<F: DiskFile>(file: &F, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        match file.write_at(rest, offset.saturating_add(done as u64)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether an error speaks of the process's or the host's present means and not of the file: nothing may be given up for it.
pub(super) fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let Some(number) = error.raw_os_error() else { return false };
    [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::INTR]
        .iter()
        .any(|passing| passing.raw_os_error() == number)
}
