//! Files of targets: which there are, what they say, and when that changes.
//!
//! A directory is watched where the kernel tells of changes; besides, all files are read again at the refresh interval. What is in a file counts if it is another text
//! than before.
//!
//! Promises: a file that cannot be read or understood keeps the targets that it had, and that is told; so does a directory that is away; a file that is gone from its directory has none. Leaves to others:
//! what becomes of groups.

use super::settings::{Files, Group};
use crate::base::limits::{TARGETS_FILE_BYTES_MAX, TARGETS_SETTLE_MS};
use crate::format::target_groups::{self, GroupsError};
use crate::source::watch::{Events, Scope, Watcher};
use globset::{GlobBuilder, GlobMatcher};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, sleep_until};

/// The groups of a file.
pub(super) type Found = (String, Arc<Vec<Group>>);

/// What a look at the files of a job gives.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// By path.
    pub(super) groups: Vec<Found>,
    /// What is wrong now, a sentence each.
    pub(super) problems: Vec<String>,
    /// Those of them that are new.
    pub(super) news: Vec<String>,
}

/// What is known of files from the looks before.
#[derive(Debug, Default)]
pub(super) struct Known {
    files: BTreeMap<PathBuf, State>,
    /// What was wrong with directories.
    directories: Vec<String>,
}

#[derive(Debug, Default)]
struct State {
    text: Option<u64>,
    groups: Option<Arc<Vec<Group>>>,
    problem: Option<String>,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("it is larger than {TARGETS_FILE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("it is not UTF-8")]
    Utf8,
    #[error(transparent)]
    Form(#[from] GroupsError),
}

impl Known {
    /// Reads what has changed. Blocks on the disk.
    pub(super) fn look(&mut self, files: &[Files]) -> Look {
        let mut look = Look::default();
        let mut seen: BTreeMap<PathBuf, State> = BTreeMap::new();
        let mut directories = Vec::new();
        for pattern in files.iter().flat_map(|files| &files.patterns) {
            let paths = match matching(pattern) {
                Ok(paths) => paths,
                Err(error) => {
                    // It may be away for a moment, unlike a file that is removed from it: what was in it stays.
                    let is_of = |path: &PathBuf| path.parent() == Path::new(pattern).parent() && fits(pattern, path);
                    let away: Vec<PathBuf> = self.files.keys().filter(|path| is_of(path)).cloned().collect();
                    let has_targets = away.iter().any(|path| self.files.get(path).is_some_and(State::has_targets))
                        || seen.iter().any(|(path, state)| is_of(path) && state.has_targets());
                    let problem = format!("the directory of {pattern} cannot be read: {error}{}", rest(has_targets));
                    if !self.directories.contains(&problem) && !directories.contains(&problem) {
                        look.news.push(problem.clone());
                    }
                    directories.push(problem.clone());
                    look.problems.push(problem);
                    for path in away {
                        let Some(state) = self.files.remove(&path) else { continue };
                        look.keep(&path, &state);
                        seen.insert(path, state);
                    }
                    continue;
                }
            };
            for path in paths {
                if seen.contains_key(&path) {
                    continue;
                }
                let mut state = self.files.remove(&path).unwrap_or_default();
                let before = state.problem.take();
                match read(&path, state.text) {
                    Ok(None) => state.problem = before.clone(),
                    Ok(Some((text, groups))) => {
                        state.text = Some(text);
                        match groups {
                            Ok(groups) => state.groups = Some(Arc::new(groups)),
                            Err(error) => state.problem = Some(told(&path, &error, state.groups.is_some())),
                        }
                    }
                    Err(error) => {
                        // It is looked at again, also if its text is the same then.
                        state.text = None;
                        state.problem = Some(told(&path, &error, state.groups.is_some()));
                    }
                }
                if let Some(problem) = &state.problem {
                    look.problems.push(problem.clone());
                    if before.as_ref() != Some(problem) {
                        look.news.push(problem.clone());
                    }
                }
                look.keep(&path, &state);
                seen.insert(path, state);
            }
        }
        *self = Known { files: seen, directories };
        look.groups.sort_by(|one, other| one.0.cmp(&other.0));
        look
    }
}

impl Look {
    /// The file has the targets that are known of it.
    fn keep(&mut self, path: &Path, state: &State) {
        if let Some(groups) = &state.groups {
            self.groups.push((path.display().to_string(), Arc::clone(groups)));
        }
    }
}

impl State {
    fn has_targets(&self) -> bool {
        self.groups.as_ref().is_some_and(|groups| groups.iter().any(|group| !group.targets.is_empty()))
    }
}

fn told(path: &Path, error: &FileError, has_targets: bool) -> String {
    format!("the file of targets {}: {error}{}", path.display(), rest(has_targets))
}

fn rest(has_targets: bool) -> &'static str {
    if has_targets { "; the targets that it had stay" } else { "" }
}

type Text = (u64, Result<Vec<Group>, FileError>);

/// A file's text, as a hash, and what it says; `None` if it is the text that is known.
fn read(path: &Path, known: Option<u64>) -> Result<Option<Text>, FileError> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(TARGETS_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if read as u64 > TARGETS_FILE_BYTES_MAX {
        return Err(FileError::TooLarge);
    }
    let hash = crate::source::ticks::hash_bytes(&bytes);
    if known == Some(hash) {
        return Ok(None);
    }
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let groups = match std::str::from_utf8(&bytes) {
        _ if is_json => target_groups::from_json(&bytes).map_err(FileError::from),
        Ok(text) => target_groups::from_yaml(text).map_err(FileError::from),
        Err(_) => Err(FileError::Utf8),
    };
    Ok(Some((hash, groups)))
}

/// The files that a pattern names, sorted; only its last part may be one.
fn matching(pattern: &str) -> io::Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let Some(glob) = glob(&name.to_string_lossy()) else { return Ok(Vec::new()) };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(parent)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| glob.is_match(name)) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether a path is one that a pattern names, as far as its last part says.
fn fits(pattern: &str, path: &Path) -> bool {
    let glob = Path::new(pattern).file_name().and_then(|name| glob(&name.to_string_lossy()));
    path.file_name().zip(glob).is_some_and(|(name, glob)| glob.is_match(name))
}

fn glob(name: &str) -> Option<GlobMatcher> {
    GlobBuilder::new(name).literal_separator(true).build().ok().map(|glob| glob.compile_matcher())
}

/// Looks now, and whenever something may have changed, and hands it on; until `take` says that nobody wants to know any more.
pub(super) async fn keep_looking(files: Vec<Files>, mut take: impl FnMut(Look) -> bool) {
    let refresh = files.iter().map(|files| files.refresh).min().unwrap_or(Duration::MAX);
    let mut known = Known::default();
    let mut watch = Watch::new();
    loop {
        // Watched first, so that no change in between is missed.
        watch.add(&files);
        let (of_look, mut its_known) = (files.clone(), known);
        let looked = tokio::task::spawn_blocking(move || (its_known.look(&of_look), its_known)).await;
        let Ok((look, its_known)) = looked else { return };
        known = its_known;
        if !take(look) {
            return;
        }
        // Far, but not so far that adding it fails.
        let next = Instant::now() + refresh.min(Duration::from_secs(365 * 24 * 3600));
        tokio::select! {
            () = watch.changed() => sleep(Duration::from_millis(TARGETS_SETTLE_MS)).await,
            () = sleep_until(next) => {}
        }
    }
}

/// Tells of changes, where that is possible.
struct Watch(Option<(Watcher, AsyncFd<OwnedFd>, Events)>);

impl Watch {
    fn new() -> Self {
        let make = || -> io::Result<_> {
            let watcher = Watcher::new()?;
            let fd = watcher.fd().try_clone()?;
            // SAFETY: an OwnedFd names the same open descriptor until it is dropped, and it is the registration's own from here on.
            let fd = unsafe { AsyncFd::register(fd) }?;
            Ok((watcher, fd, Events::default()))
        };
        Watch(
            make()
                .inspect_err(|error| {
                    tracing::warn!("changes of files of targets are only seen at the refresh_interval: {error}")
                })
                .ok(),
        )
    }

    fn add(&self, files: &[Files]) {
        let Some((watcher, ..)) = &self.0 else { return };
        for directory in
            files.iter().flat_map(|files| &files.patterns).filter_map(|pattern| Path::new(pattern).parent())
        {
            // One that is not there yet is tried again at the next refresh.
            let _ = watcher.add(directory, Scope::Files);
        }
    }

    /// Returns when something has happened.
    async fn changed(&mut self) {
        let Some((watcher, fd, events)) = &mut self.0 else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = fd.readable().await else { return std::future::pending().await };
            let mut any = false;
            loop {
                let more = watcher.drain(events);
                any |= events.len() > 0;
                if !more {
                    break;
                }
            }
            ready.clear_ready();
            if any {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(look: &Look) -> Vec<String> {
        look.groups.iter().flat_map(|(_, groups)| groups.iter().flat_map(|group| group.targets.clone())).collect()
    }

    #[test]
    fn a_broken_file_keeps_its_targets() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let patterns = vec![at("*.yml").display().to_string(), at("one.json").display().to_string()];
        let files = vec![Files { patterns, ..Files::default() }];
        let mut known = Known::default();
        assert!(told(&known.look(&files)).is_empty());
        std::fs::write(at("b.yml"), "- targets: [b]").unwrap();
        std::fs::write(at("a.yml"), "- targets: [a]").unwrap();
        std::fs::write(at("one.json"), r#"[{"targets": ["c"]}]"#).unwrap();
        std::fs::write(at("two.json"), "no").unwrap();
        let look = known.look(&files);
        assert_eq!(told(&look), ["a", "b", "c"]);
        assert!(look.problems.is_empty());
        let before = Arc::clone(&look.groups[0].1);

        std::fs::write(at("b.yml"), "- targets: [x").unwrap();
        std::fs::write(at("one.json"), [0xff]).unwrap();
        let look = known.look(&files);
        assert_eq!(told(&look), ["a", "b", "c"]);
        assert!(Arc::ptr_eq(&before, &look.groups[0].1), "what is the same is not read again");
        assert_eq!((look.problems.len(), look.news.len()), (2, 2));
        assert!(look.problems[0].ends_with("the targets that it had stay"), "{:?}", look.problems);
        let look = known.look(&files);
        assert_eq!((look.problems.len(), look.news.len()), (2, 0));

        std::fs::write(at("b.yml"), "[]").unwrap();
        std::fs::remove_file(at("a.yml")).unwrap();
        std::fs::write(at("one.json"), r#"[{"targets": ["c"]}]"#).unwrap();
        let look = known.look(&files);
        assert_eq!((told(&look), look.problems.len()), (vec!["c".to_owned()], 0));
    }

    #[test]
    fn a_directory_that_goes_away_keeps_the_targets_of_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, aside) = (dir.path().join("targets"), dir.path().join("aside"));
        let pattern = inside.join("*.yml").display().to_string();
        let files = vec![Files { patterns: vec![pattern.clone(), pattern], ..Files::default() }];
        let mut known = Known::default();
        // Before it is there, that is told once as well.
        let look = known.look(&files);
        assert_eq!((told(&look).len(), look.news.len()), (0, 1), "{:?}", look.news);
        assert!(!look.news[0].contains("stay"));
        assert!(known.look(&files).news.is_empty());
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(inside.join("a.yml"), "- targets: [a]").unwrap();
        std::fs::write(inside.join("b.yml"), "- targets: [b]").unwrap();
        assert_eq!(told(&known.look(&files)), ["a", "b"]);
        std::fs::rename(&inside, &aside).unwrap();
        for news in [1, 0, 0] {
            let look = known.look(&files);
            assert_eq!((told(&look), look.news.len()), (vec!["a".to_owned(), "b".to_owned()], news), "{:?}", look.news);
            assert!(look.problems.iter().all(|problem| problem.ends_with("the targets that it had stay")));
        }
        // Back with less: what is gone from it is gone.
        std::fs::remove_file(aside.join("a.yml")).unwrap();
        std::fs::rename(&aside, &inside).unwrap();
        let look = known.look(&files);
        assert_eq!((told(&look), look.problems.len()), (vec!["b".to_owned()], 0));
        std::fs::remove_dir_all(&inside).unwrap();
        assert_eq!(known.look(&files).news.len(), 1, "told again");
    }

    #[tokio::test]
    async fn changes_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.yml");
        let files = vec![Files { patterns: vec![path.display().to_string()], ..Files::default() }];
        let (sender, mut looks) = tokio::sync::mpsc::unbounded_channel();
        let task = tokio::spawn(keep_looking(files, move |look| sender.send(self::told(&look)).is_ok()));
        assert_eq!(looks.recv().await, Some(vec![]));
        // Written beside it and renamed, as people are told to.
        let other = dir.path().join("t.tmp");
        std::fs::write(&other, "- targets: [a]").unwrap();
        std::fs::rename(&other, &path).unwrap();
        while looks.recv().await != Some(vec!["a".to_owned()]) {}
        std::fs::write(&path, "- targets: [a, b]").unwrap();
        while looks.recv().await != Some(vec!["a".to_owned(), "b".to_owned()]) {}
        std::fs::remove_file(&path).unwrap();
        while looks.recv().await != Some(vec![]) {}
        drop(looks);
        std::fs::write(&path, "").unwrap();
        task.await.unwrap();
    }
}
