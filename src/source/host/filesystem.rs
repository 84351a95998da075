//! `filesystem`: space and files of what is mounted, from mountinfo (proc(5)) and statfs(2).
//!
//! A server or a process that does not answer hangs statfs, for ever. File systems that somebody else than the kernel and a disk answers for are
//! therefore asked on threads of their own, of which there are [`HOST_STATFS_THREADS`] at most: one for all, and a further one when that hangs. A mount that has
//! not answered in time is told with `device_error="mountpoint timeout"` and nobody waits for it again until it does.
//!
//! Promises: mounts that hang keep no others from being told, up to that number of them; one mount is asked by one thread at a time.
//! Leaves to others: a local file system that hangs, which the collector's own deadline is for.

use super::files::{Buffer, File, cut, lines, text, words};
use super::{Collector, Fail, Filter, Roots, Settings};
use crate::base::limits::{HOST_STACK_BYTES, HOST_STATFS_THREADS};
use crate::model::samples::{Kind, Samples};
use rustix::fs::{StatFs, statfs};
use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(super) struct Filesystem {
    files: [File; 2],
    /// Whether the first file cannot be read.
    own: bool,
    buffer: Buffer,
    mount_points: Filter,
    types: Filter,
    roots: Roots,
    mounts: Vec<Mount>,
    others: Arc<Others>,
    patience: Duration,
}

/// A mount, in one line of mountinfo.
#[derive(Default)]
struct Mount {
    /// The line, by which it is known in the next tick.
    line: Vec<u8>,
    device: String,
    mount_point: String,
    kind: String,
    major: String,
    minor: String,
    read_only: bool,
    /// Where statfs is asked.
    path: PathBuf,
    remote: bool,
    seen: bool,
    told: bool,
    answer: Answer,
}

/// What statfs said.
#[derive(Debug, Default)]
enum Answer {
    #[default]
    None,
    Values(StatFs),
    Error(String),
}

impl Filesystem {
    pub(super) fn new(settings: &Settings) -> Filesystem {
        Filesystem {
            files: ["1/mountinfo", "self/mountinfo"].map(|name| File::new(settings.roots.proc(name))),
            own: false,
            buffer: Buffer::default(),
            mount_points: settings.filesystem_mount_points.clone(),
            types: settings.filesystem_fs_types.clone(),
            roots: settings.roots.clone(),
            mounts: Vec::new(),
            others: settings.others.0.clone(),
            // So that what was found is told before the collector itself is late.
            patience: settings.deadline_of("filesystem") / 2,
        }
    }

    /// Which mounts there are; those that were there keep what was found out about their line.
    fn look(&mut self) -> Result<(), Fail> {
        // Process 1 may have other mounts than we have; to read them needs rights, and not every container has it.
        let [first, own] = &mut self.files;
        let file = if self.own { own } else { first };
        let bytes = match file.all(&mut self.buffer) {
            Ok(bytes) => bytes,
            Err(_) if !self.own => {
                self.own = true;
                return self.look();
            }
            Err(error) => return Err(Fail::io(file.path(), error)),
        };
        let mut changed = false;
        self.mounts.iter_mut().for_each(|mount| mount.seen = false);
        let mut next = 0;
        for line in lines(bytes) {
            let at = match self.mounts.get(next) {
                Some(mount) if mount.line == line => Some(next),
                _ => self.mounts.iter().position(|mount| mount.line == line),
            };
            if let Some(mount) = at.and_then(|at| self.mounts.get_mut(at)) {
                mount.seen = true;
                next = at.unwrap_or(0) + 1;
                continue;
            }
            let mount = Mount::parse(line, &self.roots).ok_or_else(|| Fail::malformed(file.path(), text(line)))?;
            self.mounts.push(mount);
            changed = true;
        }
        changed |= self.mounts.iter().any(|mount| !mount.seen);
        if changed {
            self.mounts.retain(|mount| mount.seen);
            self.choose();
        }
        Ok(())
    }

    /// Of equal labels the first is told.
    fn choose(&mut self) {
        let mut known = HashSet::new();
        for mount in &mut self.mounts {
            mount.told = self.mount_points.takes(&mount.mount_point)
                && self.types.takes(&mount.kind)
                && known.insert((mount.device.clone(), mount.mount_point.clone(), mount.kind.clone()));
        }
    }
}

/// Types that the kernel answers for by itself, from memory or a disk.
const LOCAL: [&str; 19] = [
    "bcachefs", "btrfs", "ext2", "ext3", "ext4", "exfat", "f2fs", "jfs", "nilfs2", "ntfs", "ntfs3", "ramfs",
    "reiserfs", "rootfs", "tmpfs", "ubifs", "vfat", "xfs", "zfs",
];

impl Mount {
    /// `36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
    fn parse(line: &[u8], roots: &Roots) -> Option<Mount> {
        let mut fields = words(line).skip(2);
        let (major, minor) = cut(fields.next()?, b':')?;
        let point = unescaped(fields.nth(1)?);
        let options = fields.next()?;
        let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
        let (kind, device) = (text(fields.next()?).to_owned(), unescaped(fields.next()?));
        let superior = fields.next().unwrap_or_default();
        let has = |options: &[u8], option: &[u8]| options.split(|byte| *byte == b',').any(|found| found == option);
        Some(Mount {
            line: line.to_vec(),
            device,
            mount_point: roots.host_path(&point).to_owned(),
            path: if point.starts_with('/') { roots.rootfs(roots.host_path(&point)) } else { point.into() },
            remote: !LOCAL.contains(&kind.as_str()),
            kind,
            major: text(major).to_owned(),
            minor: text(minor).to_owned(),
            read_only: has(options, b"ro") || has(superior, b"ro") || has(superior, b"emergency_ro"),
            seen: true,
            told: false,
            answer: Answer::None,
        })
    }
}

/// With the characters that mountinfo writes in octal digits.
fn unescaped(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|_| *first == b'\\');
        let value = digits.and_then(|digits| {
            digits.iter().try_fold(0u32, |value, byte| Some(value * 8 + char::from(*byte).to_digit(8)?))
        });
        match value.and_then(|value| u8::try_from(value).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl Collector for Filesystem {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        self.look()?;
        let mut mounts: Vec<&mut Mount> = self.mounts.iter_mut().filter(|mount| mount.told).collect();
        mounts.iter_mut().for_each(|mount| mount.answer = Answer::None);
        let remote: Vec<&PathBuf> = mounts.iter().filter(|mount| mount.remote).map(|mount| &mount.path).collect();
        self.others.ask(&remote);
        for mount in mounts.iter_mut().filter(|mount| !mount.remote) {
            mount.answer = Answer::of(statfs(&mount.path));
        }
        self.others.wait(self.patience);
        for mount in mounts.iter_mut().filter(|mount| mount.remote) {
            mount.answer = self.others.take(&mount.path);
        }
        tell(out, &mounts);
        Ok(())
    }
}

impl Answer {
    fn of(answer: Result<StatFs, rustix::io::Errno>) -> Answer {
        match answer {
            Ok(values) => Answer::Values(values),
            Err(error) => {
                // As Go words it: the text alone, and not in capitals.
                let text = std::io::Error::from(error).to_string();
                Answer::Error(text.split(" (os error").next().unwrap_or_default().to_lowercase())
            }
        }
    }

    fn error(&self) -> &str {
        match self {
            Answer::None => "mountpoint timeout",
            Answer::Values(_) => "",
            Answer::Error(text) => text,
        }
    }
}

/// A family, and its value for what statfs said.
type Value = (&'static str, &'static str, fn(&StatFs) -> f64);

/// Blocks are counted in the unit that the file system says.
const VALUES: [Value; 5] = [
    ("node_filesystem_avail_bytes", "Space that users have left.", |s| s.f_bavail as f64 * s.f_bsize as f64),
    ("node_filesystem_files", "Files that there can be.", |s| s.f_files as f64),
    ("node_filesystem_files_free", "Files that can be added.", |s| s.f_ffree as f64),
    ("node_filesystem_free_bytes", "Space that is left.", |s| s.f_bfree as f64 * s.f_bsize as f64),
    ("node_filesystem_size_bytes", "Space that there is.", |s| s.f_blocks as f64 * s.f_bsize as f64),
];

fn tell(out: &mut Samples, mounts: &[&mut Mount]) {
    if mounts.is_empty() {
        return;
    }
    let labels = |mount: &Mount, out: &mut Samples, value: f64| {
        let labels = [
            ("device", mount.device.as_str()),
            ("device_error", mount.answer.error()),
            ("fstype", &mount.kind),
            ("mountpoint", &mount.mount_point),
        ];
        out.add(&labels, value);
    };
    for (name, help, value) in VALUES {
        let mut begun = false;
        for mount in mounts {
            let Answer::Values(values) = &mount.answer else { continue };
            if !std::mem::replace(&mut begun, true) {
                out.family(name, help, Kind::Gauge);
            }
            labels(mount, out, value(values));
        }
    }
    out.family("node_filesystem_device_error", "Whether a file system did not answer.", Kind::Gauge);
    for mount in mounts {
        labels(mount, out, f64::from(u8::from(!matches!(mount.answer, Answer::Values(_)))));
    }
    out.family("node_filesystem_readonly", "Whether it cannot be written to.", Kind::Gauge);
    for mount in mounts {
        labels(mount, out, f64::from(u8::from(mount.read_only)));
    }
    out.family("node_filesystem_mount_info", "Which device is mounted where.", Kind::Gauge);
    for mount in mounts {
        let labels = [
            ("device", mount.device.as_str()),
            ("major", &mount.major),
            ("minor", &mount.minor),
            ("mountpoint", &mount.mount_point),
        ];
        out.add(&labels, 1.0);
    }
}

/// Mounts that are asked on other threads; one for all the time of a host's collectors, so that other settings do not add threads to those that hang.
#[derive(Debug, Default)]
pub(super) struct Others {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<PathBuf>,
    /// What is being asked now, one a thread that is not free. Each may hang.
    asked: Vec<PathBuf>,
    /// Those of them that were asked in an earlier tick.
    hung: Vec<PathBuf>,
    answers: Vec<(PathBuf, Answer)>,
    threads: usize,
    ended: bool,
}

impl Others {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the threads that are free, and the others when they are.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Asks all that are not still being asked since an earlier tick.
    fn ask(self: &Arc<Self>, paths: &[&PathBuf]) {
        let mut waiting = self.lock();
        waiting.answers.clear();
        waiting.queue.clear();
        waiting.hung = waiting.asked.clone();
        for path in paths {
            if !waiting.asked.contains(path) {
                waiting.queue.push_back((*path).clone());
            }
        }
        if !waiting.queue.is_empty() {
            self.need(&mut waiting);
        }
    }

    /// Sees to it that a thread is free, if there may be one more.
    fn need(self: &Arc<Self>, waiting: &mut Waiting) {
        if waiting.threads == waiting.asked.len() && waiting.threads < HOST_STATFS_THREADS {
            let own = self.clone();
            let thread = std::thread::Builder::new().name("lugger-statfs".into()).stack_size(HOST_STACK_BYTES);
            // Without it what waits is told as not answered.
            if thread.spawn(move || own.run()).is_ok() {
                waiting.threads += 1;
            }
        }
        self.changed.notify_all();
    }

    /// Waits until all have answered; what hangs now is not waited for any longer than this.
    fn wait(self: &Arc<Self>, patience: Duration) {
        let began = Instant::now();
        let mut waiting = self.lock();
        let mut share = patience / HOST_STATFS_THREADS as u32;
        // Those that hung before are not waited for.
        let busy = |waiting: &Waiting| {
            !waiting.queue.is_empty() || waiting.asked.iter().any(|path| !waiting.hung.contains(path))
        };
        while busy(&waiting) && began.elapsed() < patience {
            let left = share.saturating_sub(began.elapsed());
            let (back, slow) = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner);
            waiting = back;
            if slow.timed_out() {
                // One hangs: those behind it get another thread.
                share += patience / HOST_STATFS_THREADS as u32;
                if !waiting.queue.is_empty() {
                    self.need(&mut waiting);
                }
            }
        }
    }

    /// The answer of this tick, [`Answer::None`] if there is none.
    fn take(&self, path: &PathBuf) -> Answer {
        let mut waiting = self.lock();
        let at = waiting.answers.iter().position(|(answered, _)| answered == path);
        at.map_or(Answer::None, |at| waiting.answers.swap_remove(at).1)
    }

    fn run(&self) {
        let mut waiting = self.lock();
        while !waiting.ended {
            let Some(path) = waiting.queue.pop_front() else {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            waiting.asked.push(path.clone());
            drop(waiting);
            let answer = Answer::of(statfs(&path));
            waiting = self.lock();
            waiting.asked.retain(|asked| *asked != path);
            waiting.answers.push((path, answer));
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        let roots = Roots::default();
        let line = b"36 35 98:0 /mnt1 /mnt\\0402\\134x rw,noatime master:1 shared:2 - fuse.sshfs me@host:/a\\011b rw,emergency_ro";
        let mount = Mount::parse(line, &roots).unwrap();
        assert_eq!((mount.device.as_str(), mount.mount_point.as_str()), ("me@host:/a\tb", "/mnt 2\\x"));
        assert_eq!((mount.kind.as_str(), mount.major.as_str(), mount.minor.as_str()), ("fuse.sshfs", "98", "0"));
        assert!(mount.read_only && mount.remote);
        let mount = Mount::parse(b"1 0 8:1 / / rw - ext4 /dev/sda1 rw,errors=remount-ro", &roots).unwrap();
        assert!(!mount.read_only && !mount.remote);
        for wrong in [&b""[..], b"1 0 8:1 / /", b"1 0 81 / / rw - ext4 /dev/sda1 rw", b"1 0 8:1 / / rw ext4 x rw"] {
            assert!(Mount::parse(wrong, &roots).is_none());
        }
        assert_eq!(
            (unescaped(b"a\\0"), unescaped(b"\\999"), unescaped(b"\\777")),
            ("a\\0".into(), "\\999".into(), "\\777".into())
        );
    }

    #[test]
    fn errors_as_go_words_them() {
        assert_eq!(Answer::of(Err(rustix::io::Errno::NOENT)).error(), "no such file or directory");
    }
}
