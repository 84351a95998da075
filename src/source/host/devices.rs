//! Devices in /sys: directories that have an entry for each, their attributes, and families that are told of many.
//!
//! Promises: a device is looked at closely when the list of its class changes and every [`HOST_LOOK_TICKS`] ticks, in between only its attributes are
//! read, which stay open up to [`HOST_ATTRIBUTES_OPEN`] for each class. An attribute is read once with one system call and never waited for, as drivers that
//! answer EAGAIN for ever exist. Leaves to others: which attributes there are and what they mean.

use super::Fail;
use super::files::{Buffer, File, signed, text, unsigned};
use crate::base::limits::{HOST_ATTRIBUTES_OPEN, HOST_LOOK_TICKS};
use crate::model::samples::{Kind, Samples};
use rustix::io::Errno;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The names in a directory, sorted.
pub(super) fn entries(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names: Vec<String> = std::fs::read_dir(directory)?
        .filter_map(|entry| entry.ok().and_then(|entry| entry.file_name().into_string().ok()))
        .collect();
    names.sort();
    Ok(names)
}

/// The same for a collector that has no data where the directory is missing.
pub(super) fn needed_entries(directory: &Path) -> Result<Vec<String>, Fail> {
    entries(directory).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Fail::NoData,
        _ => Fail::io(directory, error),
    })
}

/// A directory that has an entry for each device of a class.
pub(super) struct Class {
    directory: PathBuf,
    names: Vec<String>,
    /// So many ticks until the devices are looked at closely in any case.
    left: u32,
    handed: usize,
}

impl Class {
    /// Nothing is read yet.
    pub(super) fn new(directory: PathBuf) -> Class {
        Class { directory, names: Vec::new(), left: 0, handed: 0 }
    }

    /// Where it is.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The devices' names as the last [`Class::look`] found them.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Lists it: whether devices have to be looked at closely now. [`Fail::NoData`] if the directory is missing.
    pub(super) fn look(&mut self) -> Result<bool, Fail> {
        let names = needed_entries(&self.directory).inspect_err(|_| self.left = 0)?;
        if self.left > 0 && names == self.names {
            self.left -= 1;
            return Ok(false);
        }
        (self.names, self.left, self.handed) = (names, HOST_LOOK_TICKS, 0);
        Ok(true)
    }

    /// The next tick looks closely: a device was not what it had been.
    pub(super) fn again(&mut self) {
        self.left = 0;
    }

    /// An attribute that is read every tick.
    pub(super) fn attribute(&mut self, path: PathBuf) -> File {
        self.handed += 1;
        if self.handed > HOST_ATTRIBUTES_OPEN { File::passing(path) } else { File::new(path) }
    }
}

/// Whether an attribute that cannot be read is one that the device does not have, or not now, or not for us.
pub(super) fn absent(error: Errno) -> bool {
    use Errno as E;
    matches!(
        error,
        E::NOENT | E::INVAL | E::AGAIN | E::NODATA | E::OPNOTSUPP | E::NODEV | E::NXIO | E::ACCESS | E::PERM
    )
}

/// An attribute's content without white space at both ends; `None` if it is [`absent`].
pub(super) fn word<'b>(file: &mut File, buffer: &'b mut Buffer) -> Result<Option<&'b [u8]>, Fail> {
    match file.word(buffer) {
        Ok(word) => Ok(Some(word)),
        Err(error) if absent(error) => Ok(None),
        Err(error) => Err(Fail::io(file.path(), error)),
    }
}

/// The whole number in an attribute; `None` if it is [`absent`].
pub(super) fn number(file: &mut File, buffer: &mut Buffer) -> Result<Option<i64>, Fail> {
    let found = match word(file, buffer)? {
        Some(word) => signed(word).ok_or_else(|| text(word).to_owned()),
        None => return Ok(None),
    };
    found.map(Some).map_err(|what| Fail::malformed(file.path(), format_args!("'{what}' is no number")))
}

/// The same of a number that is never negative.
pub(super) fn natural(file: &mut File, buffer: &mut Buffer) -> Result<Option<u64>, Fail> {
    let found = match word(file, buffer)? {
        Some(word) => unsigned(word).ok_or_else(|| text(word).to_owned()),
        None => return Ok(None),
    };
    found.map(Some).map_err(|what| Fail::malformed(file.path(), format_args!("'{what}' is no natural number")))
}

/// The same of an attribute that is read seldom.
pub(super) fn number_of(path: PathBuf, buffer: &mut Buffer) -> Result<Option<i64>, Fail> {
    number(&mut File::passing(path), buffer)
}

/// Text in an attribute that is read seldom, with replacement characters where it is none; `None` if it is [`absent`].
pub(super) fn text_of(path: PathBuf, buffer: &mut Buffer) -> Result<Option<String>, Fail> {
    Ok(word(&mut File::passing(path), buffer)?.map(|word| String::from_utf8_lossy(word).into_owned()))
}

/// Name, help and kind of a family.
pub(super) type Row = (&'static str, &'static str, Kind);

/// Families that are filled side by side, device by device, and told one after the other.
pub(super) struct Families {
    rows: &'static [Row],
    parts: Vec<Samples>,
}

impl Families {
    /// Empty ones.
    pub(super) fn new(rows: &'static [Row]) -> Families {
        Families { rows, parts: Vec::new() }
    }

    /// Adds a sample of the family in row `at`.
    pub(super) fn add(&mut self, at: usize, labels: &[(&str, &str)], value: f64) {
        if self.parts.len() < self.rows.len() {
            self.parts.resize_with(self.rows.len(), Samples::default);
        }
        if let (Some(part), Some((name, help, kind))) = (self.parts.get_mut(at), self.rows.get(at)) {
            if part.is_empty() {
                part.family(name, help, *kind);
            }
            part.add(labels, value);
        }
    }

    /// Forgets what was added.
    pub(super) fn clear(&mut self) {
        self.parts.iter_mut().for_each(Samples::clear);
    }

    /// Tells the families that have samples, and forgets them.
    pub(super) fn tell(&mut self, out: &mut Samples) {
        for part in self.parts.iter_mut().filter(|part| !part.is_empty()) {
            out.append(part);
            part.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Tree;
    use super::*;

    #[test]
    fn a_class_is_looked_at_when_it_changes_and_now_and_then() {
        let tree = Tree::new("sys/class/x/a/size: 5");
        let mut class = Class::new(tree.path("sys/class/x"));
        assert!(class.look().unwrap());
        let mut size = class.attribute(class.directory().join("a/size"));
        assert_eq!(number(&mut size, &mut Buffer::default()).unwrap(), Some(5));
        for _ in 0..HOST_LOOK_TICKS {
            assert!(!class.look().unwrap());
        }
        assert!(class.look().unwrap());
        tree.write("sys/class/x/b/size", "6\n");
        assert!(class.look().unwrap());
        assert_eq!(class.names(), ["a", "b"]);
        class.again();
        assert!(class.look().unwrap());
        assert!(matches!(Class::new(tree.path("sys/class/y")).look(), Err(Fail::NoData)));
    }

    #[test]
    fn attributes() {
        let tree = Tree::new("a: x\nb/\nc: -7");
        let mut buffer = Buffer::default();
        assert!(
            matches!(number_of(tree.path("a"), &mut buffer), Err(Fail::Error(what)) if what.contains("'x' is no number"))
        );
        assert!(matches!(number_of(tree.path("b"), &mut buffer), Err(Fail::Error(_))));
        assert_eq!(number_of(tree.path("c"), &mut buffer).unwrap(), Some(-7));
        assert_eq!(number_of(tree.path("d"), &mut buffer).unwrap(), None);
    }
}
