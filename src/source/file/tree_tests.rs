//! Tests of the tree with real directories and a real watcher: deep trees, and directories that go, come back and become others.

use super::*;
use crate::source::watch::{Events, Kind};
use std::fs;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Far above what an event takes, far below the sweep.
const SOON: Duration = Duration::from_secs(5);

struct Rig {
    root: TempDir,
    tree: Tree,
    events: Events,
    /// Files that were found and not asked for yet.
    found: Vec<PathBuf>,
    changed: Vec<PathBuf>,
}

impl Rig {
    /// A tree that is planted when `prepare` has made the directories.
    fn new(pattern: &str, prepare: impl FnOnce(&Path)) -> Rig {
        let root = tempfile::tempdir().unwrap();
        prepare(root.path());
        let patterns = Pattern::parse(&format!("{}/{pattern}", root.path().display())).unwrap();
        let rules = vec![Rules { patterns, excludes: Excludes::parse(&[]).unwrap() }];
        let tree = Tree::new(rules, Some(Watcher::new().unwrap()));
        let mut rig = Rig { root, tree, events: Events::default(), found: Vec::new(), changed: Vec::new() };
        let mut found = Found::default();
        rig.tree.plant(&mut found);
        rig.take(found);
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn take(&mut self, found: Found) {
        for found in found.iter() {
            let path = self.tree.path(found.dir).expect("a directory of the tree").join(found.name);
            self.found.push(path);
        }
    }

    fn gone(&mut self, path: &Path) {
        if !self.tree.gone(path).is_empty() {
            let mut found = Found::default();
            self.tree.renew(path, &mut found);
            self.take(found);
        }
    }

    /// What the follower does with events.
    fn pump(&mut self) {
        self.tree.watcher().unwrap().drain(&mut self.events);
        let events: Vec<_> = (0..self.events.len())
            .map(|i| self.events.get(i).map(|(event, name)| (event, name.to_owned())).unwrap())
            .collect();
        for (event, name) in events {
            let mut found = Found::default();
            for dir in self.tree.watched(event.watch).to_vec() {
                let Some(path) = self.tree.path(dir).map(Path::to_owned) else { continue };
                match event.kind {
                    Kind::DirectoryGone => self.gone(&path),
                    Kind::Gone => self.gone(&path.join(&name)),
                    Kind::Present => {
                        self.tree.present(dir, &name, &mut found);
                        self.changed.push(path.join(&name));
                    }
                    Kind::Changed => self.changed.push(path.join(&name)),
                    Kind::Ignored | Kind::Opened | Kind::Overflow => {}
                }
            }
            if event.kind == Kind::Ignored {
                self.tree.ignored(event.watch, &mut found);
            }
            self.take(found);
        }
    }

    #[track_caller]
    fn wait(&mut self, what: &str, mut condition: impl FnMut(&Rig) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < SOON, "{what} did not happen");
            self.pump();
        }
    }

    /// Appends to a file and waits until that is told.
    #[track_caller]
    fn assert_told(&mut self, name: &str) {
        self.pump();
        self.changed.clear();
        self.found.clear();
        let path = self.path(name);
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| io::Write::write_all(&mut file, b"line\n"))
            .unwrap();
        self.wait(&format!("news of {name}"), |rig| rig.changed.contains(&path) || rig.found.contains(&path));
    }

    fn knows(&self, name: &str) -> bool {
        self.tree.by_path.contains_key(&self.path(name))
    }
}

fn make(path: PathBuf) {
    fs::create_dir_all(path).unwrap();
}

#[test]
fn a_deep_tree_is_followed_down_to_the_bound() {
    const DEPTH: usize = 2_000;
    let root = tempfile::tempdir().unwrap();
    let mut deepest = root.path().to_owned();
    for _ in 0..DEPTH {
        deepest.push("d");
        fs::create_dir(&deepest).unwrap();
        let depth = deepest.components().count();
        if depth == DIRECTORY_DEPTH || depth == DIRECTORY_DEPTH + 1 {
            fs::write(deepest.join(format!("{depth}")), "").unwrap();
        }
    }
    let patterns = Pattern::parse(&format!("{}/**", root.path().display())).unwrap();
    let rules = vec![Rules { patterns, excludes: Excludes::parse(&[]).unwrap() }];
    // A stack on which a recursion of that depth would not end well.
    let small = std::thread::Builder::new().stack_size(128 * 1024);
    let run = move || {
        let mut tree = Tree::new(rules, Some(Watcher::new().unwrap()));
        let mut found = Found::default();
        tree.plant(&mut found);
        let names = std::mem::take(&mut found);
        tree.sweep(&mut found);
        assert_eq!(found.len(), names.len());
        names
    };
    let names = small.spawn(run).unwrap().join().unwrap();
    assert_eq!(names.get(0).map(|f| f.name), Some(OsString::from(DIRECTORY_DEPTH.to_string()).as_os_str()));
    assert_eq!(names.len(), 1);
    // Removing it is left to nobody's recursion either.
    while deepest != root.path() {
        let depth = deepest.components().count();
        let _ = fs::remove_file(deepest.join(format!("{depth}")));
        fs::remove_dir(&deepest).unwrap();
        deepest.pop();
    }
}

#[test]
fn a_renamed_directory_is_told_of_under_its_new_name() {
    for pattern in ["*/*.log", "**/*.log"] {
        let mut rig = Rig::new(pattern, |root| make(root.join("a/sub")));
        rig.assert_told("a/x.log");
        fs::rename(rig.path("a"), rig.path("b")).unwrap();
        rig.wait("the new name", |rig| rig.knows("b") && !rig.knows("a"));
        assert!(rig.found.contains(&rig.path("b/x.log")), "{pattern}: {:?}", rig.found);
        rig.assert_told("b/x.log");
        // And back, at once with another one in its place.
        fs::rename(rig.path("b"), rig.path("a")).unwrap();
        make(rig.path("b"));
        rig.assert_told("a/x.log");
        rig.assert_told("b/y.log");
    }
}

#[test]
fn a_directory_above_that_is_renamed_is_told_of() {
    for pattern in ["app/log/*.log", "*/log/*.log", "app/*/*.log"] {
        let mut rig = Rig::new(pattern, |root| make(root.join("app/log")));
        rig.assert_told("app/log/x.log");
        fs::rename(rig.path("app"), rig.path("old")).unwrap();
        rig.wait("the loss", |rig| !rig.knows("app/log"));
        make(rig.path("app/log"));
        rig.assert_told("app/log/x.log");
    }
}

#[test]
fn a_directory_that_is_made_anew_is_told_of() {
    for pattern in ["app/log/*.log", "*/log/*.log", "app/*/*.log", "**/*.log"] {
        let mut rig = Rig::new(pattern, |root| make(root.join("app/log")));
        rig.assert_told("app/log/x.log");
        for _ in 0..3 {
            // Whoever has a file open keeps its directory from telling that it was deleted.
            let _open = fs::File::open(rig.path("app/log/x.log")).unwrap();
            fs::remove_dir_all(rig.path("app")).unwrap();
            rig.pump();
            make(rig.path("app/log"));
            rig.assert_told("app/log/x.log");
        }
        // Without a pause in which anybody could look.
        fs::remove_dir_all(rig.path("app")).unwrap();
        make(rig.path("app/log"));
        rig.assert_told("app/log/x.log");
    }
}

#[test]
fn what_is_lost_is_found_by_the_sweep() {
    for pattern in ["app/*.log", "*/*.log"] {
        let mut rig = Rig::new(pattern, |root| make(root.join("app")));
        // Another directory is there, and nobody told: as when something is mounted over it.
        fs::rename(rig.path("app"), rig.path("app2")).unwrap();
        make(rig.path("app"));
        fs::write(rig.path("app/x.log"), "").unwrap();
        let mut lost = Events::default();
        rig.tree.watcher().unwrap().drain(&mut lost);
        let mut found = Found::default();
        rig.tree.sweep(&mut found);
        rig.take(found);
        assert!(rig.found.contains(&rig.path("app/x.log")), "{pattern}: {:?}", rig.found);
        rig.assert_told("app/x.log");
    }
}

#[test]
fn what_is_gone_does_not_read_what_stands_beside_it() {
    let mut rig = Rig::new("**/*.log", |root| {
        make(root.join("a"));
        make(root.join("b"));
        fs::write(root.join("b/x.log"), "").unwrap();
    });
    rig.found.clear();
    fs::remove_dir(rig.path("a")).unwrap();
    rig.wait("the loss", |rig| !rig.knows("a"));
    assert!(rig.found.is_empty(), "{:?}", rig.found);
    // An event that came late does not harm a directory that is there.
    let still_there = rig.path("b");
    rig.gone(&still_there);
    assert!(rig.knows("b"));
}

#[test]
fn names_are_missed_only_where_all_of_them_were_seen() {
    let mut rig = Rig::new("a/*.log", |root| {
        make(root.join("a"));
        fs::write(root.join("a/x.log"), "").unwrap();
    });
    let a = rig.tree.by_path[&rig.path("a")];
    let root = rig.tree.by_path[rig.root.path()];
    assert!(rig.tree.lacks(a, OsStr::new("y.log")));
    assert!(rig.tree.lacks(root, OsStr::new("y.log")));
    // It is not listed: what is in it is looked for.
    assert!(!rig.tree.lacks(root, OsStr::new("a")));
    rig.tree.set_listing(a, Listing::Failed, Some(Errno::IO.into()));
    assert!(!rig.tree.lacks(a, OsStr::new("y.log")));
    let told = rig.tree.take_listed();
    assert_eq!(told.iter().map(|l| (l.sources.as_slice(), l.error.is_some())).collect::<Vec<_>>(), [(&[0][..], true)]);
    rig.tree.look(a, &mut Found::default());
    assert!(rig.tree.lacks(a, OsStr::new("y.log")));
    assert!(rig.tree.take_listed().iter().all(|l| l.error.is_none()));
}
