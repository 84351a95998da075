//! A world of log files with writers that do everything that is done to log files, an agent that follows them, and what is to be expected of it.
//!
//! A file is an **incarnation** (an inode), whatever names it has. Its complete lines are expected once each if a followed name leads to it. What no agent
//! could save is not asked for: before a step that destroys bytes or hides a file, the world waits until they are stored; while no agent runs,
//! such a step is left out unless everything is stored.

use crate::shelf::{Mode, Shelf};
use lugger::base::clock::Clock;
use lugger::base::metrics::Registry;
use lugger::base::shutdown;
use lugger::base::wake::Wake;
use lugger::model::budget::Budget;
use lugger::model::flow::Output;
use lugger::model::labels::Labels;
use lugger::sink::batcher::{Batcher, Limits};
use lugger::source::file::reload::{Next, NextOutput, Sources};
use lugger::source::file::settings::{Settings, StartAt};
use lugger::source::file::worker::{self, Handle, Parts};
use lugger::source::handle::Kept;
use lugger::store::checkpoint::Checkpoints;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// A wait longer than this has failed. Below the period of the safety sweep, which would hide what was missed.
const DEADLINE: Duration = Duration::from_secs(8);

/// Where files can be. The first two are followed by name, the next four only lie beside them, the next two can be led to by the link
/// `s.log`, the last is in a directory that nobody watches.
pub const PLACES: [&str; 9] = [
    "logs/a.log",
    "logs/b.log",
    "logs/a.log.1",
    "logs/a.log.2",
    "logs/b.log.1",
    "logs/t.tmp",
    "targets/x",
    "targets/y",
    "outside/o",
];
const LINK: &str = "logs/s.log";
/// Followed by name and by nothing else in this world: what is written there comes last.
const LAST: &str = "logs/z.log";
pub const MATCHING: u8 = 2;
pub const BESIDE: u8 = 6;
pub const TARGETS: std::ops::Range<u8> = 6..8;

/// Names of incarnations.
type Names = BTreeMap<u8, usize>;
/// Why a case failed.
pub type Failed = String;

#[derive(Debug, Default)]
struct Incarnation {
    /// Complete lines of its present content.
    lines: Vec<String>,
    /// Number of the last line.
    number: u64,
    /// A line without its end, and how much of it is written. Its writer is open.
    partial: Option<(String, usize)>,
    /// What was written of a line that will never end.
    rest: Option<String>,
    writer: Option<File>,
    /// Sizes that it had when it was truncated.
    sizes: Vec<u64>,
    /// Made by `copytruncate`: its lines are somebody else's.
    copy: bool,
    /// It left the names that are seen; beside a path it is recognised again only under a followed name or by a new agent.
    left: bool,
    /// An agent that sees the directory has seen it at a followed name.
    followed: bool,
    /// Renamed since the last start of an agent, which may not have met it before.
    hopped: bool,
    /// Deleted while an agent had it open: all that is written to it is still expected.
    orphan: bool,
}

/// See the module.
pub struct World {
    dir: TempDir,
    state: TempDir,
    agent: Option<Handle>,
    pub shelf: Shelf,
    clock: Arc<AtomicI64>,
    went_back: bool,
    /// An agent ended with something in flight: what it read is stamped as it was, also when other bytes have taken its place.
    was_cut_off: bool,
    was_truncated: bool,
    incarnations: Vec<Incarnation>,
    names: Names,
    link: Option<u8>,
    /// The link leads nowhere, and an agent may have met it like that: it is made anew with its target, as only the sweep would notice.
    link_is_stale: bool,
    /// Names have changed, so that copies cannot be told from generations that no agent has seen.
    moved: bool,
    batch_bytes: usize,
}

impl World {
    pub fn new(batch_bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["logs", "targets", "outside"] {
            fs::create_dir(dir.path().join(sub)).unwrap();
        }
        World {
            dir,
            state: state_dir(),
            agent: None,
            shelf: Shelf::new(),
            clock: Arc::new(AtomicI64::new(1_800_000_000_000_000_000)),
            went_back: false,
            was_cut_off: false,
            was_truncated: false,
            incarnations: Vec::new(),
            names: Names::new(),
            link: None,
            link_is_stale: false,
            moved: false,
            batch_bytes,
        }
    }

    fn path(&self, place: u8) -> PathBuf {
        self.dir.path().join(PLACES[usize::from(place)])
    }

    pub fn is_up(&self) -> bool {
        self.agent.is_some()
    }

    /// The clock runs a little with every step; here it jumps.
    pub fn jump(&mut self, seconds: i32) {
        self.went_back |= seconds < 0;
        self.clock.fetch_add(i64::from(seconds) * 1_000_000_000, Ordering::Relaxed);
    }

    pub fn start(&mut self) {
        if self.agent.is_some() {
            return;
        }
        self.give_link_a_target().unwrap();
        self.incarnations.iter_mut().for_each(|one| one.hopped = false);
        self.remove_copies();
        self.clock.fetch_add(1_000_000, Ordering::Relaxed);
        let registry = Registry::default();
        let clock = Clock::Manual(self.clock.clone());
        let store = Checkpoints::open(self.state.path(), clock.clone(), &registry).unwrap();
        let wake = Wake::new().unwrap();
        let limits = Limits { bytes: self.batch_bytes, wait: Duration::from_millis(2), streams: None };
        // Small, so that reading has to wait for room now and then.
        let budget = Budget::new(64 * 1024, lugger::base::metrics::Gauge::default());
        let output: Box<dyn Output> = Box::new(Batcher::new(limits, vec![self.shelf.next_life()], budget, &wake));
        let settings = Settings {
            name: "model".into(),
            include: vec![format!("{}/logs/*.log", self.dir.path().display())],
            exclude: Vec::new(),
            start_at: StartAt::Beginning,
            labels: Labels::new([("job", "model")]).unwrap(),
            label_caps: Default::default(),
            encoding: Default::default(),
            line_bytes: 1024 * 1024,
            rate: None,
            late_labels: Labels::default(),
            stages: Vec::new(),
            owners: None,
            records: None,
        };
        let ((alive, _), (begun, _)) = (shutdown::channel(), shutdown::channel());
        let next = Next::new(Sources::parse(vec![(settings, 0)]).unwrap(), vec![NextOutput::New(output)]);
        let kept = Kept::new(&registry, clock.clone()).list();
        let parts = Parts { next, store, wake, clock, registry, kept, alive, begun };
        self.agent = Some(worker::start(parts).unwrap());
    }

    /// An orderly stop; what is in flight is stored before, or is not waited for.
    pub fn stop(&mut self, drain: bool) -> Result<(), Failed> {
        let Some(agent) = self.agent.take() else { return Ok(()) };
        let mode = self.shelf.mode();
        if drain {
            self.shelf.set_mode(Mode::Now);
            self.shelf.release(0, usize::MAX);
        } else {
            self.was_cut_off = true;
            agent.abandon();
        }
        agent.stop();
        let joined = agent.join();
        self.shelf.set_mode(mode);
        self.shelf.kill();
        self.forsake();
        if joined { Ok(()) } else { Err("the agent's thread panicked".into()) }
    }

    /// What `kill -9` does: nothing is stored from this moment on, and the next agent finds the files of the state as they are now.
    pub fn kill(&mut self) -> Result<(), Failed> {
        let Some(agent) = self.agent.take() else { return Ok(()) };
        self.was_cut_off = true;
        self.shelf.kill();
        let state = state_dir();
        for entry in fs::read_dir(self.state.path()).unwrap().flatten() {
            // A file that is being replaced may be gone by now.
            let _ = fs::copy(entry.path(), state.path().join(entry.file_name()));
        }
        agent.abandon();
        agent.stop();
        let joined = agent.join();
        self.state = state;
        self.forsake();
        if joined { Ok(()) } else { Err("the agent's thread panicked".into()) }
    }

    /// Without an agent: what only the agent had is not expected any more.
    fn forsake(&mut self) {
        for i in 0..self.incarnations.len() {
            let known = self.shelf.ever_read(i);
            let one = &mut self.incarnations[i];
            one.orphan = false;
            if !known {
                one.followed = false;
            }
        }
        self.mark_left();
    }

    /// Waits until everything that can be expected now is stored.
    pub fn catch_up(&mut self) -> Result<(), Failed> {
        for i in 0..self.incarnations.len() {
            if self.is_up() && self.is_visible(i, &self.names, self.link) {
                self.wait_for(i)?;
            }
        }
        Ok(())
    }

    fn is_tracked(&self, i: usize) -> bool {
        self.incarnations[i].followed || self.shelf.ever_read(i)
    }

    fn is_matched(&self, i: usize, names: &Names, link: Option<u8>) -> bool {
        names.iter().any(|(&at, &of)| of == i && (at < MATCHING || link == Some(at)))
    }

    fn is_visible(&self, i: usize, names: &Names, link: Option<u8>) -> bool {
        let one = &self.incarnations[i];
        let beside = || names.iter().any(|(&at, &of)| of == i && at < BESIDE);
        !one.copy && (self.is_matched(i, names, link) || (beside() && self.is_tracked(i) && !one.left))
    }

    fn all_stored(&self, i: usize) -> bool {
        self.incarnations[i].lines.iter().all(|line| self.shelf.has(line))
    }

    fn wait_for(&self, i: usize) -> Result<(), Failed> {
        let lines: Vec<&str> = self.incarnations[i].lines.iter().map(String::as_str).collect();
        let mode = self.shelf.mode();
        // What is late takes room as well: it is released, too.
        self.shelf.set_mode(Mode::Now);
        self.shelf.release(0, usize::MAX);
        let result = self.shelf.wait(&lines, DEADLINE);
        self.shelf.set_mode(mode);
        result.map_err(|line| {
            let number = lines.iter().position(|l| *l == line).map_or(0, |at| at + 1);
            let names: Vec<&str> =
                self.names.iter().filter(|(_, of)| **of == i).map(|(at, _)| PLACES[usize::from(*at)]).collect();
            let text = line.get(..20.min(line.len())).unwrap_or(line);
            format!("missing: line {text:?}… ({number} of {} in the file), incarnation {i} at {names:?}", lines.len())
        })
    }

    /// Whether names may change so that `i` can be lost by it; waits for what has to be stored before. False: it must be left out.
    fn may_lose(&self, i: usize, names: &Names, link: Option<u8>) -> Result<bool, Failed> {
        if !self.is_visible(i, &self.names, self.link) || self.is_visible(i, names, link) {
            return Ok(true);
        }
        self.may_destroy(i)
    }

    fn may_destroy(&self, i: usize) -> Result<bool, Failed> {
        if self.is_up() {
            if self.is_visible(i, &self.names, self.link) {
                self.wait_for(i)?;
            }
            return Ok(true);
        }
        Ok(self.all_stored(i) || !self.is_tracked(i))
    }

    /// Whether nothing speaks against a second rename. A file that is renamed twice before the agent has looked at it at all has left no trace by
    /// which it could be told from any other that appears beside the path.
    fn is_met(&self, i: usize) -> Result<bool, Failed> {
        if self.is_up() && self.is_visible(i, &self.names, self.link) {
            self.wait_for(i)?;
        }
        Ok(!self.is_up() || self.shelf.has_read(Some(i)))
    }

    /// Changes names, after the waiting that this takes. `act` does it on disk.
    fn rename_all(
        &mut self,
        names: Names,
        link: Option<u8>,
        act: impl FnOnce(&Self) -> std::io::Result<()>,
    ) -> Result<bool, Failed> {
        // While an agent looks for what it missed, a copy counts as missed if the file that it was made of leaves: see `remove_copies`.
        let has_copies = self.names.values().any(|of| self.incarnations[*of].copy);
        if has_copies && self.is_up() && !self.shelf.has_read(None) && self.names != names {
            return Ok(false);
        }
        // An agent that has read anything watches: who is renamed away from a followed name is known to it by that, at the latest. A name
        // that is deleted leaves no trace, and one that was a hard link for less than a drain of events was never met.
        let watches = self.is_up() && self.shelf.has_read(None);
        for i in 0..self.incarnations.len() {
            let loses = |&(&at, &of): &(&u8, &usize)| of == i && names.get(&at) != Some(&i);
            let gains = names.iter().any(|(at, &of)| of == i && self.names.get(at) != Some(&i));
            let lost: Vec<u8> = self.names.iter().filter(loses).map(|(at, _)| *at).collect();
            // What is known by a rename alone and loses that name as well, all at once, was never met either.
            let one = &self.incarnations[i];
            if one.followed && one.hopped && !lost.is_empty() && !self.is_met(i)? {
                return Ok(false);
            }
            let one = &mut self.incarnations[i];
            if watches && gains && lost.iter().any(|at| *at < MATCHING) && !one.copy {
                one.followed = true;
                one.hopped = true;
            }
        }
        for i in 0..self.incarnations.len() {
            if !self.may_lose(i, &names, link)? {
                return Ok(false);
            }
        }
        for i in 0..self.incarnations.len() {
            let had = self.names.values().any(|of| *of == i);
            let has = names.values().any(|of| *of == i);
            if had && !has && self.is_up() && self.shelf.has_read(Some(i)) {
                self.incarnations[i].orphan = !self.incarnations[i].left;
            }
        }
        self.leave_lost_names(&names)?;
        // Whether what the link led to is replaced before the agent has surely met it there.
        let was_read = |i: &usize| self.is_up() && self.shelf.has_read(Some(*i));
        let is_stale = link.filter(|to| {
            self.link == Some(*to) && self.names.get(to) != names.get(to) && !self.names.get(to).is_some_and(was_read)
        });
        act(self).map_err(|error| format!("the world itself failed: {error}"))?;
        match is_stale {
            Some(to) if names.contains_key(&to) => self.make_link(to).unwrap(),
            Some(_) => self.link_is_stale = true,
            None => {}
        }
        self.moved |= self.names != names;
        self.names = names;
        self.link = link;
        self.mark_left();
        Ok(true)
    }

    /// A writer's events come under the name that it opened: one that goes on under a name that is gone or not followed, while the file has
    /// another, is seen by the sweep only, which is too rare for a story. It opens the file anew. The same goes for what was written under a name that
    /// is gone before the agent has looked at it: that is waited for.
    fn leave_lost_names(&mut self, names: &Names) -> Result<(), Failed> {
        for i in 0..self.incarnations.len() {
            let lost = self.names.iter().any(|(at, of)| *of == i && names.get(at) != Some(&i));
            let is_linked = self.names.values().filter(|of| **of == i).count() > 1;
            if !lost || !is_linked {
                continue;
            }
            if self.incarnations[i].writer.is_some() {
                self.complete(i);
                self.incarnations[i].writer = None;
            }
            if self.is_up() && self.is_visible(i, &self.names, self.link) {
                self.wait_for(i)?;
            }
        }
        Ok(())
    }

    fn mark_left(&mut self) {
        for i in 0..self.incarnations.len() {
            if self.is_matched(i, &self.names, self.link) {
                self.incarnations[i].left = false;
            } else if !self.is_visible(i, &self.names, self.link) {
                self.incarnations[i].left = true;
            }
        }
    }

    /// Makes a new file.
    fn create(&mut self, at: u8) -> Result<usize, Failed> {
        let path = self.path(at);
        let writer = OpenOptions::new().append(true).create_new(true).open(path);
        let writer = writer.map_err(|error| format!("the world itself failed: create: {error}"))?;
        let i = self.incarnations.len();
        self.incarnations.push(Incarnation { writer: Some(writer), ..Incarnation::default() });
        self.names.insert(at, i);
        if self.link == Some(at) && std::mem::take(&mut self.link_is_stale) {
            self.make_link(at).unwrap();
        }
        self.mark_left();
        Ok(i)
    }

    fn line(&mut self, i: usize, len: usize) -> String {
        self.clock.fetch_add(1_000, Ordering::Relaxed);
        let one = &mut self.incarnations[i];
        one.number += 1;
        let head = format!("i{i} n{} ", one.number);
        let line = format!("{head}{}#", "x".repeat(len));
        self.shelf.expect(&line, (i, one.number));
        line
    }

    /// The file at a place can be written to: it is made if need be. `None`: it must not be.
    fn writable(&mut self, at: u8) -> Result<Option<usize>, Failed> {
        let i = match self.names.get(&at) {
            Some(i) => *i,
            None => self.create(at)?,
        };
        // By the first of its names, which is a followed one if it has one; see `leave_lost_names`.
        let path = self.names.iter().find(|(_, of)| **of == i).map(|(at, _)| self.path(*at)).unwrap_or_default();
        let one = &mut self.incarnations[i];
        if one.copy || one.rest.is_some() {
            return Ok(None);
        }
        if one.writer.is_none() {
            one.writer = Some(OpenOptions::new().append(true).open(path).unwrap());
        }
        Ok(Some(i))
    }

    fn write(&mut self, i: usize, bytes: &[u8]) {
        self.incarnations[i].writer.as_mut().expect("a writer is open").write_all(bytes).unwrap();
    }

    /// Ends a begun line.
    fn complete(&mut self, i: usize) {
        if let Some((line, written)) = self.incarnations[i].partial.take() {
            let end = format!("{}\n", &line[written..]);
            self.write(i, end.as_bytes());
            self.incarnations[i].lines.push(line);
        }
    }

    fn append_to(&mut self, i: usize, count: usize, len: usize) {
        self.complete(i);
        let mut text = String::new();
        for n in 0..count {
            let line = self.line(i, len + n % 7);
            text.push_str(&line);
            text.push('\n');
            self.incarnations[i].lines.push(line);
        }
        self.write(i, text.as_bytes());
        let size =
            self.incarnations[i].writer.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |file| file.len());
        if self.incarnations[i].sizes.contains(&size) {
            // A new agent looks into a file only if its size is another than it was.
            self.append_to(i, 1, 30);
        }
    }

    pub fn append(&mut self, at: u8, count: usize, len: usize) -> Result<(), Failed> {
        if let Some(i) = self.writable(at)? {
            self.append_to(i, count, len);
        }
        Ok(())
    }

    /// Begins a line.
    pub fn partial(&mut self, at: u8) -> Result<(), Failed> {
        if let Some(i) = self.writable(at)? {
            self.complete(i);
            let line = self.line(i, 20);
            let written = line.len() / 2;
            self.write(i, &line.as_bytes()[..written]);
            self.incarnations[i].partial = Some((line, written));
        }
        Ok(())
    }

    /// The writer is gone; a begun line stays as it is.
    fn seal(&mut self, i: usize) {
        let one = &mut self.incarnations[i];
        if let Some((line, written)) = one.partial.take() {
            let rest = line[..written].to_owned();
            self.shelf.expect(&rest, (i, one.number));
            one.rest = Some(rest);
        }
        one.writer = None;
    }

    pub fn close(&mut self, at: u8) {
        if let Some(i) = self.names.get(&at) {
            self.seal(*i);
        }
    }

    /// Writers go on with files that were deleted under them.
    pub fn append_to_deleted(&mut self) {
        for i in 0..self.incarnations.len() {
            if self.incarnations[i].orphan && self.incarnations[i].writer.is_some() {
                self.append_to(i, 2, 10);
            }
        }
    }

    pub fn rename(&mut self, from: u8, to: u8) -> Result<(), Failed> {
        let Some(&i) = self.names.get(&from) else { return Ok(()) };
        // The kernel does nothing when both names are one file. Copies stay where they are: one that moves in the same moment as the
        // file it was made of cannot be told from it by its events.
        if from == to || self.names.get(&to) == Some(&i) || self.incarnations[i].copy {
            return Ok(());
        }
        if self.incarnations[i].hopped && !self.is_met(i)? {
            return Ok(());
        }
        let mut names = self.names.clone();
        names.remove(&from);
        names.insert(to, i);
        let done = self.rename_all(names, self.link, |world| fs::rename(world.path(from), world.path(to)))?;
        self.incarnations[i].hopped |= done;
        Ok(())
    }

    /// `a` becomes `b` and `b` becomes `a`, by way of a third name.
    pub fn cycle(&mut self, a: u8, b: u8) -> Result<(), Failed> {
        const THIRD: u8 = 5;
        if a == b || a == THIRD || b == THIRD || self.names.contains_key(&THIRD) {
            return Ok(());
        }
        let (Some(&i), Some(&j)) = (self.names.get(&a), self.names.get(&b)) else { return Ok(()) };
        if i == j || self.incarnations[i].copy || self.incarnations[j].copy || !self.is_met(i)? || !self.is_met(j)? {
            return Ok(());
        }
        let mut names = self.names.clone();
        names.insert(a, j);
        names.insert(b, i);
        self.rename_all(names, self.link, |world| {
            fs::rename(world.path(a), world.path(THIRD))?;
            fs::rename(world.path(b), world.path(a))?;
            fs::rename(world.path(THIRD), world.path(b))
        })?;
        Ok(())
    }

    /// What logrotate does: `a.log.1` to `a.log.2`, `a.log` to `a.log.1`, and a new `a.log`.
    pub fn rotate(&mut self) -> Result<(), Failed> {
        self.rename(2, 3)?;
        self.rename(0, 2)?;
        if !self.names.contains_key(&0) {
            self.create(0)?;
        }
        Ok(())
    }

    /// Content is replaced in place, after a copy was made beside or not.
    pub fn truncate(&mut self, at: u8, copy_to: Option<u8>, lines: usize) -> Result<(), Failed> {
        let Some(&i) = self.names.get(&at) else { return Ok(()) };
        if self.incarnations[i].copy || self.incarnations[i].rest.is_some() {
            return Ok(());
        }
        let Some(i) = self.writable(at)? else { return Ok(()) };
        self.complete(i);
        if !self.may_destroy(i)? {
            return Ok(());
        }
        // A late event of a rename may be taken for one of the copy.
        let may_copy = |to: &u8| !self.moved && !self.names.contains_key(to) && is_beside(*to);
        if let Some(copy_to) = copy_to.filter(may_copy) {
            fs::copy(self.path(at), self.path(copy_to)).unwrap();
            self.names.insert(copy_to, self.incarnations.len());
            self.incarnations.push(Incarnation { copy: true, ..Incarnation::default() });
        }
        let writer = self.incarnations[i].writer.as_ref().expect("it is open");
        let size = writer.metadata().unwrap().len();
        writer.set_len(0).unwrap();
        self.incarnations[i].sizes.push(size);
        self.incarnations[i].lines.clear();
        self.was_truncated = true;
        if lines > 0 {
            self.append_to(i, lines, 30);
        }
        Ok(())
    }

    pub fn delete(&mut self, at: u8, close: bool) -> Result<(), Failed> {
        let Some(&i) = self.names.get(&at) else { return Ok(()) };
        let mut names = self.names.clone();
        names.remove(&at);
        if close {
            self.seal(i);
        }
        self.rename_all(names, self.link, |world| fs::remove_file(world.path(at)))?;
        Ok(())
    }

    pub fn recreate(&mut self, at: u8, lines: usize) -> Result<(), Failed> {
        self.delete(at, true)?;
        if !self.names.contains_key(&at) {
            self.append(at, lines, 10)?;
        }
        Ok(())
    }

    pub fn hard_link(&mut self, from: u8, to: u8) -> Result<(), Failed> {
        let Some(&i) = self.names.get(&from) else { return Ok(()) };
        // What is written through a name in a directory that nobody watches is seen by the sweep only.
        let is_elsewhere = from >= BESIDE || to >= BESIDE;
        if self.names.contains_key(&to) || self.incarnations[i].copy || is_elsewhere {
            return Ok(());
        }
        // See `leave_lost_names`.
        if self.incarnations[i].writer.is_some() {
            self.complete(i);
            self.incarnations[i].writer = None;
        }
        let mut names = self.names.clone();
        names.insert(to, i);
        self.rename_all(names, self.link, |world| fs::hard_link(world.path(from), world.path(to)))?;
        Ok(())
    }

    /// The link leads elsewhere from now on, in one step, or is removed.
    pub fn swap(&mut self, to: Option<u8>) -> Result<(), Failed> {
        if let Some(to) = to.filter(|to| !self.names.contains_key(to)) {
            self.create(to)?;
        }
        let names = self.names.clone();
        let had = self.link.is_some();
        self.link_is_stale = false;
        self.rename_all(names, to, |world| match to {
            Some(to) => world.make_link(to),
            None if had => fs::remove_file(world.dir.path().join(LINK)),
            None => Ok(()),
        })?;
        Ok(())
    }

    fn make_link(&self, to: u8) -> std::io::Result<()> {
        let beside = self.dir.path().join("logs/s.tmp");
        std::os::unix::fs::symlink(self.path(to), &beside)?;
        fs::rename(beside, self.dir.path().join(LINK))
    }

    /// A link that leads nowhere when it is first met is looked at again by the sweep, which is too rare for a story.
    fn give_link_a_target(&mut self) -> Result<(), Failed> {
        match self.link {
            Some(to) if !self.names.contains_key(&to) => self.create(to).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// A new agent takes what lies beside a path and is younger than the last file that was known there for a generation that it missed. A
    /// copy is one only if the file that it was made of is still at its path.
    fn remove_copies(&mut self) {
        if !self.moved {
            return;
        }
        let copies: Vec<u8> =
            self.names.iter().filter(|(_, of)| self.incarnations[**of].copy).map(|(at, _)| *at).collect();
        for at in copies {
            fs::remove_file(self.path(at)).unwrap();
            self.names.remove(&at);
        }
    }

    pub fn chmod(&mut self, at: u8, mode: u32) {
        if self.names.contains_key(&at) {
            fs::set_permissions(self.path(at), Permissions::from_mode(mode)).unwrap();
        }
    }

    /// Ends the story: all that is to be expected comes, nothing else did, and a further agent finds nothing to do.
    pub fn finish(&mut self) -> Result<(), Failed> {
        self.shelf.set_mode(Mode::Now);
        self.shelf.release(0, usize::MAX);
        self.start();
        for i in 0..self.incarnations.len() {
            if self.incarnations[i].partial.is_none() {
                continue;
            }
            if i % 2 == 0 { self.seal(i) } else { self.complete(i) }
        }
        self.catch_up()?;
        for i in 0..self.incarnations.len() {
            let one = &self.incarnations[i];
            let beside_only = |(&at, _): (&u8, _)| (MATCHING..BESIDE).contains(&at);
            let mut names = self.names.iter().filter(|(_, of)| **of == i).peekable();
            let is_rotated = names.peek().is_some() && names.all(beside_only);
            let rest_due = one.orphan || (is_rotated && self.shelf.ever_read(i) && !one.left && !one.copy);
            let mut due: Vec<&str> = Vec::new();
            if one.orphan {
                due.extend(one.lines.iter().map(String::as_str));
            }
            if rest_due {
                due.extend(one.rest.as_deref());
            }
            if let Err(line) = self.shelf.wait(&due, DEADLINE) {
                let kind = if one.orphan { "deleted" } else { "rotated" };
                return Err(format!("missing: the end {line:?} of {kind} incarnation {i}"));
            }
        }
        self.stop(true)?;
        self.judge("")?;
        self.start();
        let i = self.incarnations.len();
        self.incarnations.push(Incarnation::default());
        let last = self.line(i, 1);
        fs::write(Path::new(&self.dir.path().join(LAST)), format!("{last}\n")).unwrap();
        self.shelf.wait(&[&last], DEADLINE).map_err(|_| "missing: the last line of all".to_owned())?;
        self.stop(true)?;
        self.judge(", after one more start")
    }

    fn judge(&self, when: &str) -> Result<(), Failed> {
        let wrong = self.shelf.wrong();
        if !wrong.is_empty() {
            return Err(format!("{}{when}", wrong.join("; ")));
        }
        // A clock that is set back takes the times with it.
        let may_differ = self.went_back || (self.was_cut_off && self.was_truncated);
        for i in (0..self.incarnations.len()).filter(|_| !may_differ) {
            let times = self.shelf.times(i);
            if let Some(pair) = times.windows(2).find(|pair| pair[0].1 >= pair[1].1) {
                return Err(format!("lines of incarnation {i} have times out of order{when}: {pair:?}"));
            }
        }
        Ok(())
    }
}

fn is_beside(place: u8) -> bool {
    (MATCHING..BESIDE).contains(&place)
}

/// In memory where the host has such a place: thousands of cases should not wait for a disk.
fn state_dir() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}
