//! Logs that are rotated, compressed and removed between a look at their name and the call that opens them.

use super::*;
use crate::base::clock::Clock;
use crate::base::limits::HEAD_BYTES;
use crate::base::metrics::Registry;
use crate::model::labels::{LabelCaps, Labels};
use crate::source::file::encoding::Encoding;
use crate::source::file::identity::{Identity, Stat, content_matches, encode_key, marks_at, stat_path};
use crate::source::file::reload::{Next, Sources};
use crate::source::file::saved::{SavedFiles, path_to_bytes};
use crate::source::file::settings::{Settings, StartAt};
use crate::source::file::tree::{Found, Tree};
use crate::source::owner::{OwnLabels, Owner, Owners, SharedOwners};
use crate::store::checkpoint::Checkpoints;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

const LOG: &str = "x.log";

#[derive(Debug)]
struct Everybody;

impl Owners for Everybody {
    fn of(&self, _: &Path) -> Owner {
        let unwanted = Registry::default();
        let counter = |name| unwanted.counter(name, "", &[]);
        Owner::Known(Arc::new(OwnLabels {
            usual: Some(Labels::default()),
            marked: None,
            not_before: None,
            unwanted: (counter("a"), counter("b")),
        }))
    }
}

struct Host {
    dir: tempfile::TempDir,
    state: tempfile::TempDir,
    is_owned: bool,
}

impl Host {
    fn new(is_owned: bool) -> Self {
        Host { dir: tempfile::tempdir().unwrap(), state: tempfile::tempdir().unwrap(), is_owned }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a log with this number says.
    fn write(&self, number: usize) -> Vec<u8> {
        let text: String = (0..500).map(|n| format!("log {number} line {n}\n")).collect();
        std::fs::write(self.path(LOG), &text).unwrap();
        text.into_bytes()
    }

    /// The log is compressed to `x.log.1.gz`, and removed.
    fn compress(&self) {
        let packed = File::create(self.path("x.log.1.gz")).unwrap();
        let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        packed.write_all(&std::fs::read(self.path(LOG)).unwrap()).unwrap();
        packed.finish().unwrap();
        std::fs::remove_file(self.path(LOG)).unwrap();
    }

    fn stat(&self) -> Stat {
        stat_path(&self.path(LOG)).unwrap()
    }

    /// A checkpoint of the log, as a run before this one left it.
    fn checkpoint(&self, identity: &Identity, position: u64) {
        let store = Checkpoints::open(self.state.path(), Clock::System, &Registry::default()).unwrap();
        let mark = marks_at(&File::open(self.path(LOG)).unwrap(), position).unwrap();
        store.define(&encode_key("a", identity), path_to_bytes(&self.path(LOG)), position, &mark.encode());
        store.close();
    }

    fn follow(&self) -> Follow {
        let registry = Registry::default();
        let store = Checkpoints::open(self.state.path(), Clock::System, &registry).unwrap();
        let settings = Settings {
            name: "a".to_owned(),
            include: vec![self.path(LOG).display().to_string()],
            exclude: Vec::new(),
            start_at: StartAt::Beginning,
            encoding: Encoding::default(),
            labels: Labels::default(),
            label_caps: LabelCaps::default(),
            line_bytes: 1000,
            rate: None,
            late_labels: Labels::default(),
            stages: Vec::new(),
            owners: self.is_owned.then(|| SharedOwners(Arc::new(Everybody))),
            records: None,
        };
        let (planned, rules, _) = Next::new(Sources::parse(vec![(settings, 0)]).unwrap(), Vec::new()).into_parts();
        let sources = planned.into_iter().map(|planned| planned.begin(&registry, false, None)).collect();
        let mut tree = Tree::new(rules, None);
        tree.plant(&mut Found::default());
        let saved = SavedFiles::new(store.clone(), vec!["a".into()], |_, _| true);
        Follow::new(sources, tree, saved, store, Arc::default())
    }

    /// The follower meets the log as it was when it was looked at, which it is not any more.
    fn meet(&self, follow: &mut Follow, was: &Stat) -> FileId {
        let dir = follow.tree.id_at(self.dir.path()).unwrap();
        let path = self.path(LOG);
        follow.track(0, dir, OsStr::new(LOG), &path, &path, was);
        follow.files.by_identity(0, &was.identity).expect("it is followed")
    }
}

fn lost(follow: &Follow) -> u64 {
    follow.sources[0].status.lost_bytes.get()
}

/// What is left to be read of a file, where it has its own bytes before that.
fn rest(follow: &Follow, id: FileId) -> Vec<u8> {
    let file = follow.files.get(id).unwrap();
    let content = file.file.as_ref().expect("it has content");
    assert!(content_matches(content, file.offset, &file.mark).unwrap());
    let mut rest = vec![0; (file.size - file.offset) as usize];
    std::os::unix::fs::FileExt::read_exact_at(content, &mut rest, file.offset).unwrap();
    rest
}

#[test]
fn what_was_read_in_part_goes_on_in_what_it_became() {
    for (is_owned, is_replaced) in [(true, true), (true, false), (false, true), (false, false)] {
        let host = Host::new(is_owned);
        let text = host.write(1);
        let was = host.stat();
        // While somebody has it open its inode is not used again.
        let _writer = File::open(host.path(LOG)).unwrap();
        host.checkpoint(&was.identity, 300);
        let mut follow = host.follow();
        host.compress();
        if is_replaced {
            host.write(2);
        }
        let id = host.meet(&mut follow, &was);
        follow.lost_name(0, follow.tree.id_at(host.dir.path()).unwrap(), OsStr::new(LOG));
        let story = format!("owned {is_owned}, replaced {is_replaced}");
        assert!(!follow.settle(id), "{story}: it has something to be read");
        assert_eq!(rest(&follow, id), &text[300..], "{story}");
        assert_eq!(lost(&follow), 0, "{story}");
        let packed = follow.files.iter().filter(|(_, file)| file.is_packed()).count();
        assert_eq!(packed, 0, "{story}: it is not read a second time");
    }
}

/// Nothing was read that could be compared: it is one of the generations that were there before.
#[test]
fn what_was_not_read_is_taken_in_as_a_generation_and_is_no_loss() {
    let host = Host::new(true);
    let text = host.write(1);
    let was = host.stat();
    let _writer = File::open(host.path(LOG)).unwrap();
    host.checkpoint(&was.identity, 0);
    let mut follow = host.follow();
    host.compress();
    host.write(2);
    let id = host.meet(&mut follow, &was);
    let is_packed = |(id, file): (FileId, &Tracked)| file.is_packed().then_some(id);
    let packed: Vec<FileId> = follow.files.iter().filter_map(is_packed).collect();
    let [packed] = packed[..] else { panic!("{packed:?}") };
    assert!(follow.unpack(packed));
    assert_eq!(rest(&follow, packed), text);
    assert!(follow.settle(id));
    assert_eq!(lost(&follow), 0);
}

#[test]
fn what_is_nowhere_is_counted() {
    for is_owned in [true, false] {
        let host = Host::new(is_owned);
        let text = host.write(1);
        let was = host.stat();
        let _writer = File::open(host.path(LOG)).unwrap();
        host.checkpoint(&was.identity, 300);
        let mut follow = host.follow();
        // Another log's content is not its own.
        host.write(2);
        host.compress();
        let id = host.meet(&mut follow, &was);
        follow.lost_name(0, follow.tree.id_at(host.dir.path()).unwrap(), OsStr::new(LOG));
        assert!(follow.settle(id));
        assert!(follow.files.get(id).is_none());
        assert_eq!(lost(&follow), text.len() as u64 - 300);
    }
}

/// Logs that begin alike, as those with a header do.
#[test]
fn another_generation_with_the_same_head_is_not_taken() {
    let header = vec![b'#'; 2 * HEAD_BYTES];
    let log = |number: u32, lines: usize| -> Vec<u8> {
        let lines: String = (0..lines).map(|n| format!("\nlog {number} line {n}")).collect();
        [&header[..], lines.as_bytes(), b"\n"].concat()
    };
    // Where it stops: within the header, or behind it; and whether the other one was written to before it was there.
    for (position, is_older) in
        [(header.len() as u64 + 1, true), (header.len() as u64 + 40, false), (HEAD_BYTES as u64, true)]
    {
        let host = Host::new(false);
        std::fs::write(host.path(LOG), log(1, 500)).unwrap();
        host.compress();
        std::fs::write(host.path(LOG), log(2, 20)).unwrap();
        let was = host.stat();
        let born = UNIX_EPOCH + Duration::from_nanos(was.identity.born_ns as u64);
        let modified = if is_older { born - Duration::from_secs(1) } else { born + Duration::from_secs(1) };
        File::options().append(true).open(host.path("x.log.1.gz")).unwrap().set_modified(modified).unwrap();
        let _writer = File::open(host.path(LOG)).unwrap();
        host.checkpoint(&was.identity, position);
        let mut follow = host.follow();
        std::fs::remove_file(host.path(LOG)).unwrap();
        let id = host.meet(&mut follow, &was);
        follow.lost_name(0, follow.tree.id_at(host.dir.path()).unwrap(), OsStr::new(LOG));
        assert!(follow.settle(id), "{position}");
        assert_eq!(lost(&follow), was.size - position);
    }
}
