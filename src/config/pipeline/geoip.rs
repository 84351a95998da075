//! The stage `geoip`: its database is read when the configuration is, so that a missing one is found then.
//!
//! Promises: stages of one process that name the same file share it, also those of a configuration and its successor, if the file did not
//! change in between. Leaves to others: what is found in it.

use super::raw;
use super::stages::{Written, same_names};
use crate::base::limits::GEOIP_BYTES;
use crate::base::units::format_size;
use crate::base::words::suggest;
use crate::config::check::Check;
use crate::config::file::plain;
use crate::format::mmdb::{Database, Kind, Stamp};
use crate::pipeline::settings::GeoIp;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Databases that are in use.
static OPEN: Mutex<Vec<Weak<Database>>> = Mutex::new(Vec::new());

/// The stage's settings. `None`: there is no database, which was reported.
pub(super) fn geoip(mut w: Written<'_>, check: &mut Check<'_>) -> Option<GeoIp> {
    let raw: raw::GeoIp = w.read(check);
    let source = w.need(raw.source, "source", "name the extracted key with the address", check);
    let kind = raw.db_type.as_deref().and_then(|name| kind(name, &w, check));
    let lookups = raw.custom_lookups.map_or_else(Vec::new, same_names);
    if raw.db_type.is_none() && lookups.is_empty() && !w.is_damaged() {
        let help = "write `db_type: city`, `asn` or `country`, or `custom_lookups: { key: path }`";
        check.error(w.key, "`geoip` needs `db_type`", help);
    }
    let help = "name a database in MaxMind's format, such as /usr/share/GeoIP/GeoLite2-City.mmdb";
    let path = w.need(raw.db, "db", help, check);
    if path.is_empty() {
        return None;
    }
    let database = database(Path::new(&path), &w, check)?;
    if let Some(kind) = kind
        && !kind.is_in(database.called())
    {
        let message = format!("this database calls itself {:?}", database.called());
        check.warn(w.place("db"), message, "name one of the kind that `db_type` says, or change `db_type`");
    }
    Some(GeoIp { database, source, kind, lookups })
}

fn kind(name: &str, w: &Written<'_>, check: &mut Check<'_>) -> Option<Kind> {
    let found = Kind::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
    if found.is_none() {
        let help = suggest(name, "the types are", Kind::NAMES.iter().map(|(known, _)| *known));
        check.error(w.place("db_type"), format!("{name:?} is no type of database that lugger knows"), help);
    }
    found
}

/// The database in a file.
fn database(path: &Path, w: &Written<'_>, check: &mut Check<'_>) -> Option<Arc<Database>> {
    let span = w.place("db");
    if !path.is_absolute() {
        check.error(span, "this path is not absolute", "begin it with /");
        return None;
    }
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|database| database.strong_count() > 0);
    let read = regular(path).and_then(|file| {
        let found = stamp(path, &file.metadata()?);
        if let Some(known) = open.iter().filter_map(Weak::upgrade).find(|known| *known.stamp() == found) {
            return Ok(Ok(known));
        }
        if found.len > GEOIP_BYTES {
            let limit = format!("it has more than {}", format_size(GEOIP_BYTES));
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, limit));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(found.len).unwrap_or(0));
        file.take(GEOIP_BYTES).read_to_end(&mut bytes)?;
        let database = Database::new(found, bytes).map(Arc::new);
        open.extend(database.iter().map(Arc::downgrade));
        Ok(database)
    });
    match read {
        Ok(Ok(database)) => Some(database),
        Ok(Err(error)) => {
            check.error(span, error.to_string(), "name a file in MaxMind's format (.mmdb), unpacked");
            None
        }
        Err(error) => {
            let help =
                "put the database there, readable for the user that lugger runs as; MaxMind's geoipupdate fetches it";
            check.error_here(span, format!("this file cannot be read: {}", plain(&error)), help);
            None
        }
    }
}

/// Opens a file; of what is none, such as a pipe, opening might wait for ever.
fn regular(path: &Path) -> io::Result<File> {
    let found = fs::metadata(path)?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    File::open(path)
}

fn stamp(path: &Path, found: &Metadata) -> Stamp {
    Stamp {
        path: path.to_owned(),
        file: (found.dev(), found.ino()),
        len: found.len(),
        written: (found.mtime(), found.mtime_nsec()),
    }
}
