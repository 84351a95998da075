//! A tree of files as /proc, /sys and what else is read of a host: that of tests/host/tree.txt, and what tests add.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use lugger::format::prometheus::text::Writer;
use lugger::model::samples::Samples;
use lugger::source::host::{Host, Roots, Settings, collectors};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Collectors that ask the kernel or another process, and no files that could be somewhere else.
pub const NO_FILES: [&str; 4] = ["systemd", "tcpstat", "timex", "uname"];

/// A directory with `proc`, `sys`, `run`, `root` and `text`.
pub struct Tree {
    root: tempfile::TempDir,
    files: Vec<String>,
}

impl Tree {
    /// The server that has everything.
    pub fn new() -> Tree {
        Tree::of(include_str!("../host/tree.txt"))
    }

    /// A line for each entry, as the file says itself.
    pub fn of(text: &str) -> Tree {
        let mut tree = Tree { root: tempfile::tempdir().unwrap(), files: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some((path, content)) = line.split_once(": ") {
                let content = content.replace("\\\\", "\u{1}").replace("\\n", "\n").replace("\\t", "\t");
                tree.write(path, format!("{}\n", content.replace('\u{1}', "\\")).as_bytes());
                tree.files.push(path.to_owned());
            } else if let Some((path, target)) = line.split_once(" -> ") {
                fs::create_dir_all(tree.path(path).parent().unwrap()).unwrap();
                symlink(target, tree.path(path)).unwrap();
            } else {
                fs::create_dir_all(tree.path(line)).unwrap();
            }
        }
        tree
    }

    /// Where something is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Its own directory.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Files of the text that it was made of.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// Writes a file.
    pub fn write(&self, path: &str, content: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// All collectors and all that they can tell, of this tree.
    pub fn settings(&self) -> Settings {
        let [proc, sys, rootfs, udev] = ["proc", "sys", "root", "run/udev/data"].map(|path| self.path(path));
        let mut settings = Settings::new(Roots { proc, sys, rootfs, udev });
        for (name, _) in collectors() {
            settings.set(name, true).unwrap();
        }
        // These ask somebody, or read what a person names.
        for name in ["systemd", "chrony", "certificates"] {
            settings.set(name, false).unwrap();
        }
        // A busy machine may be slow, and nothing here hangs.
        settings.deadline = std::time::Duration::from_secs(60);
        settings.textfile_directories = vec![self.path("text")];
        settings.cpu_info = true;
        settings.stat_softirq = true;
        settings
    }
}

/// A tick as text.
pub fn told(host: &mut Host) -> String {
    let (mut samples, mut text) = (Samples::default(), Vec::new());
    host.collect(&mut samples);
    Writer::default().write(&samples, &mut text);
    String::from_utf8(text).unwrap()
}
