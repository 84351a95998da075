//! Glob patterns, cut into components, so that they can be followed down a tree one directory at a time.
//!
//! Within a component `*`, `?`, `[…]` and `{a,b}` have their usual meaning; a component `**` stands for any number of directories, none
//! included; `?` is one byte. A pattern is a small automaton: its state is the number of components that are behind; see [`Pattern::step`].
//!
//! Promises: a hidden file is matched like any other; matching is exact bytes. Leaves to others: looking at the disk.

use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Why a pattern cannot be used; the text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It does not start at the root.
    #[error("the pattern {0:?} must be absolute: begin it with /")]
    Relative(String),
    /// It cannot match a file.
    #[error("the pattern {0:?} names a directory: end it with a file name or *, such as {0}*")]
    Directory(String),
    /// Brackets or braces are not closed, and the like.
    #[error("the pattern {pattern:?} is not valid: {reason}")]
    Syntax {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
}

/// One component.
#[derive(Debug, Clone)]
pub(super) enum Component {
    /// A name, to be taken as it is.
    Literal(OsString),
    /// Matches some names.
    Glob(Box<GlobMatcher>),
    /// `**`.
    AnyDepth,
}

/// An include pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    components: Vec<Component>,
}

/// What a name in a directory means to a pattern that has come this far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Step {
    /// If it is a file, it matches.
    pub file: bool,
    /// If it is a directory, these states hold in it.
    pub into: [Option<u16>; 2],
}

impl Pattern {
    /// Parses an include pattern. A brace group that spans directories is written out, so one text may give several patterns.
    pub fn parse(text: &str) -> Result<Vec<Self>, PatternError> {
        if !text.starts_with('/') {
            return Err(PatternError::Relative(text.to_owned()));
        }
        if text.ends_with('/') {
            return Err(PatternError::Directory(text.to_owned()));
        }
        // The whole text is compiled first, for the better error message.
        build(text, text)?;
        expand_braces(text).iter().map(|part| Self::parse_one(part, text)).collect()
    }

    fn parse_one(text: &str, whole: &str) -> Result<Self, PatternError> {
        let mut components = Vec::new();
        for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
            components.push(match part {
                "**" => Component::AnyDepth,
                part if part.contains(['*', '?', '[', '{', '\\']) => {
                    Component::Glob(Box::new(build(part, whole)?.compile_matcher()))
                }
                part => Component::Literal(part.into()),
            });
        }
        match components.last() {
            // `/var/log/**` means every file below.
            Some(Component::AnyDepth) => {
                components.push(Component::Glob(Box::new(build("*", whole)?.compile_matcher())))
            }
            Some(_) => {}
            None => return Err(PatternError::Directory(whole.to_owned())),
        }
        Ok(Pattern { components })
    }

    /// The one path that the pattern stands for, if it has no wildcards.
    pub(super) fn literal_path(&self) -> Option<std::path::PathBuf> {
        let mut path = std::path::PathBuf::from("/");
        for component in &self.components {
            match component {
                Component::Literal(name) => path.push(name),
                _ => return None,
            }
        }
        Some(path)
    }

    /// The component that comes next in this state.
    pub(super) fn component(&self, state: u16) -> Option<&Component> {
        self.components.get(usize::from(state))
    }

    /// States that hold in a directory together with `state`: `**` may stand for nothing.
    pub(super) fn closure(&self, state: u16) -> impl Iterator<Item = u16> + '_ {
        let mut next = Some(state);
        std::iter::from_fn(move || {
            let this = next?;
            next = matches!(self.component(this), Some(Component::AnyDepth)).then_some(this + 1);
            Some(this)
        })
    }

    /// Whether files in a directory with this state can match.
    pub(super) fn ends_here(&self, state: u16) -> bool {
        usize::from(state) + 1 == self.components.len()
    }

    /// What `name` in a directory with this state means.
    pub(super) fn step(&self, state: u16, name: &OsStr) -> Step {
        let mut step = Step::default();
        let matches = match self.component(state) {
            Some(Component::Literal(literal)) => literal == name,
            Some(Component::Glob(glob)) => glob.is_match(Path::new(name)),
            Some(Component::AnyDepth) => {
                step.into[0] = Some(state);
                return step;
            }
            None => false,
        };
        if matches {
            if self.ends_here(state) {
                step.file = true;
            } else {
                step.into[0] = Some(state + 1);
            }
        }
        step
    }
}

fn build(pattern: &str, whole: &str) -> Result<Glob, PatternError> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| PatternError::Syntax { pattern: whole.to_owned(), reason: error.kind().to_string() })
}

/// Writes out brace groups that have a `/` in them. Others are left to the component's matcher.
fn expand_braces(text: &str) -> Vec<String> {
    /// A pattern with more alternatives than this stays as it is.
    const ALTERNATIVES_MAX: usize = 1000;
    let mut done = Vec::new();
    let mut open = vec![text.to_owned()];
    while let Some(pattern) = open.pop() {
        match directory_group(&pattern) {
            Some((start, end)) if open.len() + done.len() < ALTERNATIVES_MAX => {
                let (before, rest) = pattern.split_at(start);
                let (group, after) = rest.split_at(end - start);
                let inside = group.get(1..group.len().saturating_sub(1)).unwrap_or_default();
                for alternative in split_alternatives(inside).iter().rev() {
                    open.push(format!("{before}{alternative}{after}"));
                }
            }
            _ => done.push(pattern),
        }
    }
    done
}

/// The first outermost brace group with a `/` in it, as a byte range with its braces.
fn directory_group(pattern: &str) -> Option<(usize, usize)> {
    let mut depth = 0usize;
    let mut start = 0;
    let mut has_slash = false;
    let mut escaped = false;
    for (at, c) in pattern.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => {
                if depth == 0 {
                    start = at;
                    has_slash = false;
                }
                depth += 1;
            }
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 && has_slash {
                    return Some((start, at + 1));
                }
            }
            '/' if depth > 0 => has_slash = true,
            _ => {}
        }
    }
    None
}

fn split_alternatives(inside: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut depth = 0usize;
    let mut start = 0;
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(inside.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(inside.get(start..).unwrap_or_default());
    parts
}

/// The exclude patterns of a source.
#[derive(Debug, Clone)]
pub struct Excludes {
    files: GlobSet,
    directories: GlobSet,
}

impl Excludes {
    /// Parses exclude patterns: absolute, or beginning with `**`.
    pub fn parse(patterns: &[String]) -> Result<Self, PatternError> {
        let mut files = GlobSetBuilder::new();
        let mut directories = GlobSetBuilder::new();
        for pattern in patterns {
            if !pattern.starts_with('/') && !pattern.starts_with("**/") {
                return Err(PatternError::Relative(pattern.clone()));
            }
            let pattern = pattern.strip_suffix('/').unwrap_or(pattern);
            files.add(build(pattern, pattern)?);
            // What matches a directory, or everything below it, need not be looked at.
            directories.add(build(pattern, pattern)?);
            if let Some(above) = pattern.strip_suffix("/**") {
                directories.add(build(above, pattern)?);
            }
        }
        let built = |set: GlobSetBuilder| {
            set.build().map_err(|error| PatternError::Syntax {
                pattern: error.glob().unwrap_or_default().to_owned(),
                reason: error.kind().to_string(),
            })
        };
        Ok(Excludes { files: built(files)?, directories: built(directories)? })
    }

    pub(super) fn file(&self, path: &Path) -> bool {
        self.files.is_match(path)
    }

    pub(super) fn directory(&self, path: &Path) -> bool {
        self.directories.is_match(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks the automaton along a path, as discovery does directory by directory.
    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::parse(pattern).unwrap().iter().any(|p| {
            let names: Vec<&str> = path.trim_start_matches('/').split('/').collect();
            let mut states: Vec<u16> = p.closure(0).collect();
            for (i, name) in names.iter().enumerate() {
                let steps: Vec<Step> = states.iter().map(|s| p.step(*s, OsStr::new(name))).collect();
                if i + 1 == names.len() {
                    return steps.iter().any(|s| s.file);
                }
                states = steps.iter().flat_map(|s| s.into.into_iter().flatten()).flat_map(|s| p.closure(s)).collect();
            }
            false
        })
    }

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, path, expected) in [
            ("/var/log/syslog", "/var/log/syslog", true),
            ("/var/log/*.log", "/var/log/a.log", true),
            ("/var/log/*.log", "/var/log/x/a.log", false),
            ("/var/log/*.log", "/var/log/a.log.1", false),
            ("/var/log/**/*.log", "/var/log/a.log", true),
            ("/var/log/**/*.log", "/var/log/x/y/a.log", true),
            ("/var/log/**", "/var/log/x/y/z", true),
            ("/var/log/**", "/var/log/z", true),
            ("/srv/*/log/app-[0-9].{log,txt}", "/srv/one/log/app-3.txt", true),
            ("/srv/*/log/app-[0-9].{log,txt}", "/srv/one/log/app-x.txt", false),
            ("/var/{log/a,lib/b/c}/*.log", "/var/lib/b/c/x.log", true),
            ("/var/{log/a,lib/b/c}/*.log", "/var/log/a/x.log", true),
            ("/var/{log/a,lib/b/c}/*.log", "/var/log/b/x.log", false),
            ("/a/**/b/**/c", "/a/b/c", true),
            ("/a/**/b/**/c", "/a/x/b/y/z/c", true),
            ("/a/**/b/**/c", "/a/x/y/z/c", false),
            ("/a/?.log", "/a/b.log", true),
            ("/a/.*", "/a/.hidden", true),
            ("/a/*", "/a/.hidden", true),
            ("/a/\\*", "/a/*", true),
            ("/a/\\*", "/a/b", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert!(matches!(Pattern::parse("var/log/*"), Err(PatternError::Relative(_))));
        assert!(matches!(Pattern::parse("/var/log/"), Err(PatternError::Directory(_))));
        assert!(matches!(Pattern::parse("/"), Err(PatternError::Directory(_))));
        assert!(matches!(Pattern::parse("/var/[log"), Err(PatternError::Syntax { .. })));
        assert!(matches!(Pattern::parse("/var/{a,b"), Err(PatternError::Syntax { .. })));
        assert!(Excludes::parse(&["*.gz".to_owned()]).is_err());
    }

    #[test]
    fn excludes_take_files_and_whole_directories() {
        let excludes =
            Excludes::parse(&["**/*.gz".into(), "/var/log/private/**".into(), "/var/log/cache/".into()]).unwrap();
        assert!(excludes.file(Path::new("/var/log/a.gz")));
        assert!(excludes.file(Path::new("/var/log/private/x/y")));
        assert!(!excludes.file(Path::new("/var/log/a.log")));
        assert!(excludes.directory(Path::new("/var/log/private")));
        assert!(excludes.directory(Path::new("/var/log/cache")));
        assert!(!excludes.directory(Path::new("/var/log")));
    }
}
