//! Trees of files as the kernel shows them, for tests of collectors, and samples as text.

use super::{Collector, Fail, Roots, Settings};
use crate::model::samples::Samples;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// A directory with `proc`, `sys`, `udev` and `root`.
pub(super) struct Tree {
    root: tempfile::TempDir,
}

impl Tree {
    /// A line for each entry: `path: content`, `path -> target` for a link, `path/` for a directory. `\n` in the content ends a line, and a file ends with
    /// one.
    pub(super) fn new(text: &str) -> Tree {
        let tree = Tree { root: tempfile::tempdir().unwrap() };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some((path, target)) = line.split_once(" -> ") {
                tree.parent(path);
                std::os::unix::fs::symlink(target, tree.path(path)).unwrap();
            } else if let Some(path) = line.strip_suffix('/') {
                fs::create_dir_all(tree.path(path)).unwrap();
            } else {
                let (path, content) = line.split_once(": ").unwrap_or_else(|| (line.strip_suffix(':').unwrap(), ""));
                tree.write(path, &format!("{}\n", content.replace("\\n", "\n")));
            }
        }
        tree
    }

    /// Where something of it is.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Writes a file as it is given.
    pub(super) fn write(&self, path: &str, content: &str) {
        self.parent(path);
        fs::write(self.path(path), content).unwrap();
    }

    /// Removes a file or directory.
    pub(super) fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }

    fn parent(&self, path: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
    }

    /// The defaults, with its roots.
    pub(super) fn settings(&self) -> Settings {
        let [proc, sys, rootfs, udev] = ["proc", "sys", "root", "udev"].map(|name| self.path(name));
        Settings::new(Roots { proc, sys, rootfs, udev })
    }

    /// Its own path taken out of a text.
    pub(super) fn without_root(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.root.path().display()), "")
    }
}

/// What a collector tells; panics if it fails.
pub(super) fn told(collector: &mut dyn Collector) -> String {
    let mut out = Samples::default();
    collector.collect(&mut out).unwrap();
    text(&out)
}

/// What a collector tells before it fails, and how it fails.
pub(super) fn failed(collector: &mut dyn Collector) -> (String, Fail) {
    let mut out = Samples::default();
    let fail = collector.collect(&mut out).unwrap_err();
    (text(&out), fail)
}

/// Samples in a form of the text format without help.
pub(super) fn text(samples: &Samples) -> String {
    let families: Vec<_> = samples.families().collect();
    let mut written = String::new();
    let mut last = None;
    for sample in samples.iter() {
        if last != Some(sample.family) {
            let family = families[sample.family];
            assert!(!family.help.is_empty(), "{}", family.name);
            let kind = format!("{:?}", family.kind).to_lowercase();
            writeln!(written, "# {} {kind}", family.name).unwrap();
            last = Some(sample.family);
        }
        let labels: Vec<_> = sample.labels().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        assert!(labels.is_sorted(), "labels are told in their order: {labels:?}");
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(written, "{}{labels} {}", sample.name(), sample.value()).unwrap();
    }
    for (at, family) in families.iter().enumerate() {
        assert!(samples.iter().any(|sample| sample.family == at), "{} has no samples", family.name);
    }
    let mut names: Vec<_> = families.iter().map(|family| family.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), families.len(), "a family is told in one piece");
    written
}

/// Asserts that text is what is expected, line by line and without what indents it.
#[track_caller]
pub(super) fn assert_text(text: &str, expected: &str) {
    let lines = |text: &str| {
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect::<Vec<_>>()
    };
    pretty(&lines(text), &lines(expected));
}

#[track_caller]
fn pretty(found: &[String], expected: &[String]) {
    if found != expected {
        let missing: Vec<_> = expected.iter().filter(|line| !found.contains(line)).collect();
        let more: Vec<_> = found.iter().filter(|line| !expected.contains(line)).collect();
        panic!("missing {missing:#?}\nmore {more:#?}\nall:\n{}", found.join("\n"));
    }
}
