//! Positions of files that were read on, rotated, truncated, replaced and read by nobody.

use super::*;
use crate::base::clock::Clock;
use crate::base::metrics::Registry;
use crate::model::labels::{LabelCaps, Labels};
use crate::source::file::encoding::Encoding;
use crate::source::file::settings::{Settings, StartAt};
use std::fs;

struct Host {
    dir: tempfile::TempDir,
    store: Checkpoints,
    _state: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Checkpoints::open(state.path(), Clock::System, &Registry::default()).unwrap();
        Host { dir, store, _state: state }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn sources(&self, names: &[&str]) -> Sources {
        let settings = |name: &&str| Settings {
            name: (*name).to_owned(),
            include: vec![format!("{}/*.log", self.dir.path().display())],
            exclude: vec!["**/no.log".to_owned()],
            start_at: StartAt::Beginning,
            encoding: Encoding::default(),
            labels: Labels::default(),
            label_caps: LabelCaps::default(),
            line_bytes: 1000,
            rate: None,
            late_labels: Labels::default(),
            stages: Vec::new(),
        };
        Sources::parse(names.iter().map(|name| (settings(name), 0)).collect()).unwrap()
    }

    fn import(&self, written_ns: i64, files: &[(&Path, u64)]) -> Count {
        take_over_files(&self.store, &self.sources(&["a"]), &self.positions(written_ns, files))
    }

    fn positions(&self, written_ns: i64, files: &[(&Path, u64)]) -> Positions {
        let files = files.iter().map(|(path, position)| ((*path).to_owned(), *position)).collect();
        Positions { path: self.path("positions.yaml"), written_ns, files, cursors: Vec::new(), others: 0 }
    }

    /// Source, path, offset of each checkpoint.
    fn checkpoints(&self) -> Vec<(String, String, u64)> {
        let mut found = Vec::new();
        self.store.for_each_saved(&key_prefix(), |saved| {
            assert!(!saved.in_use);
            let (source, _) = decode_key(saved.key).unwrap();
            let path = Path::new(std::str::from_utf8(saved.meta).unwrap());
            found.push((source.to_owned(), path.file_name().unwrap().to_str().unwrap().to_owned(), saved.position));
        });
        found
    }
}

/// A time at which what has been made so far was there, and what is made after it was not.
fn between() -> i64 {
    let probe = tempfile::NamedTempFile::new().unwrap();
    let now = stat_path(probe.path()).unwrap().identity.born_ns;
    // The kernel's clock for files ticks every few milliseconds.
    loop {
        let probe = tempfile::NamedTempFile::new().unwrap();
        if stat_path(probe.path()).unwrap().identity.born_ns > now {
            return now;
        }
    }
}

fn at(source: &str, name: &str, offset: u64) -> (String, String, u64) {
    (source.to_owned(), name.to_owned(), offset)
}

#[test]
fn a_file_goes_on_where_it_was_read_to_and_never_within_a_line() {
    let host = Host::new();
    let (a, b) = (host.write("a.log", "one\ntwo\nthr"), host.write("b.log", "one\ntwo\n"));
    let now = between();
    let count =
        host.import(now, &[(&a, 9), (&b, 8), (Path::new("/elsewhere/x.log"), 5), (&host.write("no.log", "1\n"), 2)]);
    assert_eq!(count, Count { taken: 2, without_file: 0, not_followed: 2 });
    assert_eq!(host.checkpoints(), [at("a", "a.log", 8), at("a", "b.log", 8)]);
}

#[test]
fn a_truncated_file_and_one_that_is_gone_have_no_position() {
    let host = Host::new();
    let a = host.write("a.log", "one\n");
    let count = host.import(between(), &[(&a, 5), (&host.path("gone.log"), 5)]);
    assert_eq!(count, Count { taken: 0, without_file: 2, not_followed: 0 });
    assert_eq!(host.checkpoints(), []);
}

#[test]
fn the_rest_of_a_file_that_was_rotated_since_then_is_found() {
    let host = Host::new();
    host.write("a.log.2", "an older generation, read to its end\n");
    between();
    let a = host.write("a.log", "one\ntwo\n");
    let now = between();
    fs::rename(&a, host.path("a.log.1")).unwrap();
    // Longer than the position, and younger.
    host.write("a.log", "three\nfour\nfive\n");
    assert_eq!(host.import(now, &[(&a, 4)]).taken, 1);
    assert_eq!(host.checkpoints(), [at("a", "a.log", 4)]);
    let saved = host.store.saved(&key_prefix());
    let (_, identity) = decode_key(&saved[0].key).unwrap();
    assert_eq!(identity, stat_path(&host.path("a.log.1")).unwrap().identity);
}

#[test]
fn a_file_that_was_copied_since_then_and_not_written_to_is_the_same() {
    let host = Host::new();
    let now = between();
    let a = host.write("a.log", "one\ntwo\n");
    let before = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(now as u64 - 1);
    fs::File::options().write(true).open(&a).unwrap().set_modified(before).unwrap();
    assert_eq!(host.import(now, &[(&a, 4)]).taken, 1);
    assert_eq!(host.checkpoints(), [at("a", "a.log", 4)]);
}

#[test]
fn an_older_generation_is_not_taken_for_the_one_that_is_gone() {
    let host = Host::new();
    let old = host.write("a.log.2", "an older generation, read to its end\n");
    let born = stat_path(&old).unwrap().identity.born_ns;
    let hour =
        std::time::UNIX_EPOCH + std::time::Duration::from_nanos(born as u64) - std::time::Duration::from_secs(3600);
    fs::File::options().write(true).open(&old).unwrap().set_modified(hour).unwrap();
    let a = host.write("a.log", "one\ntwo\n");
    let now = between();
    fs::remove_file(&a).unwrap();
    host.write("a.log", "three\n");
    assert_eq!(host.import(now, &[(&a, 4)]).without_file, 1);
    assert_eq!(host.checkpoints(), []);
}

#[test]
fn it_is_done_once_and_own_checkpoints_stay() {
    let host = Host::new();
    let (a, b) = (host.write("a.log", "one\ntwo\n"), host.write("b.log", "one\ntwo\n"));
    let identity = stat_path(&a).unwrap().identity;
    let own = host.store.define(&encode_key("a", &identity), path_to_bytes(&a), 8, &[0; 10]);
    host.store.unclaim(own);
    let sources = host.sources(&["a", "z"]);
    let both = host.positions(between(), &[(&a, 4), (&b, 4)]);
    take_over(&host.store, &sources, std::slice::from_ref(&both));
    let expected = [at("a", "a.log", 8), at("z", "a.log", 4), at("a", "b.log", 4), at("z", "b.log", 4)];
    assert_eq!(host.checkpoints(), expected);
    // The same file again, even if it says something else now.
    let files = vec![(host.write("c.log", "one\n"), 4)];
    let later = Positions { files, written_ns: between(), ..both.clone() };
    take_over(&host.store, &sources, std::slice::from_ref(&later));
    assert_eq!(host.checkpoints(), expected);
    // Another one is another one.
    take_over(&host.store, &sources, &[Positions { path: host.path("other.yaml"), ..later }]);
    assert_eq!(host.checkpoints().len(), 6);
}

#[test]
fn a_source_that_was_renamed_keeps_its_own_checkpoint() {
    let host = Host::new();
    let a = host.write("a.log", "one\ntwo\n");
    let identity = stat_path(&a).unwrap().identity;
    host.store.unclaim(host.store.define(&encode_key("before", &identity), path_to_bytes(&a), 8, &[0; 10]));
    host.import(between(), &[(&a, 4)]);
    assert_eq!(host.checkpoints(), [at("before", "a.log", 8)]);
}
