//! `textfile`: metrics that others write to files `*.prom` in Prometheus' text format, in directories that are configured.
//!
//! As node_exporter: a file with a time of its own for a sample is refused as a whole, and so is one that cannot be read. A family without HELP gets one
//! that names its file; if two files have different ones, the first stands and that is an error. Errors set node_textfile_scrape_error and are told once,
//! when the file changed. What node_exporter answers a scrape with nothing for, the same series in two files or one family under two types, refuses the
//! later file here.
//!
//! Promises: a file is parsed when it changed and not before. Leaves to others: series that another collector tells as well.

use super::files::names;
use super::{Collector, Fail, Settings};
use crate::base::limits::HOST_TEXTFILE_BYTES_MAX;
use crate::format::prometheus::parse::{Form, Parser};
use crate::model::samples::{Kind, Samples};
use globset::GlobBuilder;
use rustix::fs::{Mode, OFlags};
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

pub(super) struct Textfile {
    directories: Vec<PathBuf>,
    files: Vec<Prom>,
    parser: Parser,
    body: Vec<u8>,
    /// Whether files contradict each other.
    conflict: bool,
    /// Directories that could not be read, which was told.
    unreadable: Vec<PathBuf>,
}

/// Which state of a file was read: inode, size, times of the last change of its content and of anything.
type Version = (u64, u64, i64, i64, i64, i64);

/// A file.
struct Prom {
    path: PathBuf,
    version: Option<Version>,
    samples: Samples,
    /// It cannot be taken by itself.
    bad: bool,
    /// It cannot be taken beside the others.
    refused: bool,
    seen: bool,
}

impl Textfile {
    pub(super) fn new(settings: &Settings) -> Textfile {
        Textfile {
            directories: settings.textfile_directories.clone(),
            files: Vec::new(),
            parser: Parser::default(),
            body: Vec::new(),
            conflict: false,
            unreadable: Vec::new(),
        }
    }

    /// Finds the files, and reads those that changed. Whether a directory could not be read.
    fn look(&mut self) -> bool {
        self.files.iter_mut().for_each(|file| file.seen = false);
        let mut changed = false;
        let mut unreadable = Vec::new();
        for directory in self.directories.iter().flat_map(|pattern| expanded(pattern)) {
            // A directory that is not there is an error here.
            let listed = if directory.is_dir() { names(&directory) } else { Err(Fail::NoData) };
            let Ok(names) = listed else {
                if !self.unreadable.contains(&directory) {
                    let directory = directory.display();
                    tracing::warn!(%directory, "metrics in text files: the directory cannot be read");
                }
                unreadable.push(directory);
                continue;
            };
            for name in names.iter().filter(|name| name.ends_with(".prom")) {
                let path = directory.join(name);
                let at = self.files.iter().position(|file| file.path == path).unwrap_or_else(|| {
                    let samples = Samples::default();
                    self.files.push(Prom { path, version: None, samples, bad: true, refused: false, seen: true });
                    self.files.len() - 1
                });
                let Some(file) = self.files.get_mut(at) else { continue };
                file.seen = true;
                changed |= file.look(&mut self.parser, &mut self.body);
            }
        }
        changed |= self.files.iter().any(|file| !file.seen);
        self.unreadable = unreadable;
        if changed {
            self.files.retain(|file| file.seen);
            self.files.sort_by(|a, b| a.path.cmp(&b.path));
            self.compare();
        }
        !self.unreadable.is_empty()
    }

    /// Finds what one file says and another one contradicts.
    fn compare(&mut self) {
        self.conflict = false;
        let mut families: HashMap<String, (Kind, String)> = HashMap::new();
        let mut series = HashSet::new();
        for file in self.files.iter_mut().filter(|file| !file.bad) {
            let path = file.path.display();
            let kinds = file
                .samples
                .families()
                .find(|family| families.get(family.name).is_some_and(|(kind, _)| *kind != family.kind));
            if let Some(family) = kinds {
                tracing::warn!(file = %path, metric = family.name, "refused: another file has this metric with another type");
                file.refused = true;
                continue;
            }
            let keys: Vec<String> = file.samples.iter().map(|sample| sorted(sample.name(), sample.labels())).collect();
            let mut own = HashSet::new();
            if let Some(twice) = keys.iter().find(|key| series.contains(*key) || !own.insert(*key)) {
                tracing::warn!(file = %path, series = twice, "refused: the series is there twice");
                file.refused = true;
                continue;
            }
            file.refused = false;
            for family in file.samples.families() {
                let known = families.entry(family.name.to_owned());
                let (_, help) = known.or_insert_with(|| (family.kind, family.help.to_owned()));
                // A help that was made of the path says nothing.
                if help != family.help && ![help.as_str(), family.help].iter().any(|help| help.starts_with(MADE)) {
                    tracing::warn!(file = %path, metric = family.name, "another file has this metric with another HELP");
                    self.conflict = true;
                }
            }
            series.extend(keys);
        }
    }
}

/// The beginning of a help text that nobody wrote.
const MADE: &str = "Metric read from ";

/// A series, whatever the order of its labels.
fn sorted<'a>(name: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut labels: Vec<_> = labels.filter(|(_, value)| !value.is_empty()).collect();
    labels.sort_unstable();
    format!("{name}{labels:?}")
}

impl Prom {
    /// Reads it if it changed; whether it did.
    fn look(&mut self, parser: &mut Parser, body: &mut Vec<u8>) -> bool {
        let found = std::fs::metadata(&self.path).ok();
        let version = found.map(|found| {
            (found.ino(), found.size(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec())
        });
        if version.is_some() && version == self.version {
            return false;
        }
        self.samples.clear();
        self.bad = false;
        if let Err(what) = self.read(parser, body) {
            tracing::warn!(file = %self.path.display(), "metrics in text files: {what}");
            self.bad = true;
            self.samples.clear();
        }
        self.version = version;
        true
    }

    fn read(&mut self, parser: &mut Parser, body: &mut Vec<u8>) -> Result<(), String> {
        // Not blocking: it may be a pipe.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::open(&self.path, flags, Mode::empty()).map_err(|error| error.to_string())?;
        let file = std::fs::File::from(file);
        if !file.metadata().is_ok_and(|found| found.is_file()) {
            return Err("it is not a file".into());
        }
        body.clear();
        let read = file.take(HOST_TEXTFILE_BYTES_MAX + 1).read_to_end(body);
        if read.map_err(|error| error.to_string())? as u64 > HOST_TEXTFILE_BYTES_MAX {
            return Err(format!("it is longer than {} MiB", HOST_TEXTFILE_BYTES_MAX >> 20));
        }
        let mut parsed = Samples::default();
        parser.parse(Form::Text, body, &mut parsed).map_err(|error| error.to_string())?;
        if parsed.iter().any(|sample| sample.time_ms.is_some()) {
            return Err("a sample has a time of its own, which is not possible here".into());
        }
        let help = format!("{MADE}{}", self.path.display());
        let mut family = None;
        for sample in parsed.iter() {
            if family != Some(sample.family) {
                family = Some(sample.family);
                let Some(of) = parsed.family_at(sample.family) else { continue };
                let help = if of.help.is_empty() { help.as_str() } else { of.help };
                self.samples.family(of.name, help, of.kind);
            }
            let labels: Vec<_> = sample.labels().collect();
            self.samples.add_as(sample.name(), &labels, sample.bits, None);
        }
        Ok(())
    }
}

/// The paths that a pattern stands for; itself if there is none, as then it may be meant as it is written.
pub(super) fn expanded(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        let matcher = match part {
            Component::Normal(_) if name.contains(['*', '?', '[']) => {
                GlobBuilder::new(&name).literal_separator(true).build().ok().map(|glob| glob.compile_matcher())
            }
            _ => None,
        };
        let Some(matcher) = matcher else {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let inside = |path: &PathBuf| -> Vec<PathBuf> {
            let names = names(path).unwrap_or_default();
            names.iter().filter(|name| matcher.is_match(name)).map(|name| path.join(name)).collect()
        };
        found = found.iter().flat_map(inside).collect();
    }
    found.retain(|path| path.exists());
    if found.is_empty() { vec![pattern.to_owned()] } else { found }
}

impl Collector for Textfile {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let mut failed = self.look();
        failed |= self.conflict;
        let good = |file: &&Prom| !file.bad && !file.refused;
        for file in self.files.iter().filter(good) {
            out.append(&file.samples);
        }
        if self.files.iter().any(|file| good(&file)) {
            out.family("node_textfile_mtime_seconds", "When a file was written, seconds since 1970.", Kind::Gauge);
        }
        for file in self.files.iter().filter(good) {
            // Whole seconds, as node_exporter tells it.
            if let Some((_, _, seconds, ..)) = file.version {
                out.add(&[("file", &file.path.to_string_lossy())], seconds as f64);
            }
        }
        failed |= self.files.iter().any(|file| !good(&file));
        let failed = f64::from(u8::from(failed));
        out.one("node_textfile_scrape_error", "Whether a file or directory could not be read.", Kind::Gauge, failed);
        Ok(())
    }
}
