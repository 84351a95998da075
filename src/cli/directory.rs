//! A directory of our own, for the time of one command.
//!
//! Promises: nobody else can look into it; it is removed at the end. Leaves to others: what is in it.

use anyhow::Context;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// See the module.
pub(super) struct Directory(PathBuf);

impl Directory {
    /// A new one; `purpose` becomes part of its name.
    pub(super) fn make(purpose: &str) -> anyhow::Result<Self> {
        // Making it fails if somebody else has put something there; therefore the name needs no secrecy.
        let name = format!("lugger-{purpose}-{}-{:08x}", std::process::id(), RandomState::new().hash_one(0) >> 32);
        let path = std::env::temp_dir().join(name);
        Self::make_at(&path)?;
        Ok(Directory(path))
    }

    /// A directory in it.
    pub(super) fn make_inside(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.0.join(name);
        Self::make_at(&path)?;
        Ok(path)
    }

    fn make_at(path: &Path) -> anyhow::Result<()> {
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(path)
            .with_context(|| format!("the directory {} cannot be made; TMPDIR names another place", path.display()))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a directory for this run cannot be removed; remove it by hand");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_private_and_goes() {
        use std::os::unix::fs::PermissionsExt;
        let directory = Directory::make("test").unwrap();
        let path = directory.0.clone();
        let inside = directory.make_inside("a").unwrap();
        std::fs::write(inside.join("b"), "c").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(directory);
        assert!(!path.exists());
    }
}
