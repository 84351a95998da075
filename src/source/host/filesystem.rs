//! `filesystem`: space and files of what is mounted, from mountinfo (proc(5)) and statfs(2).
//!
//! A server or a process that does not answer hangs statfs, for ever. File systems that somebody else than the kernel and a disk answers for are
//! therefore asked on threads of their own ([`Others`]). A mount that has not answered in time is told with `device_error="mountpoint timeout"` and nobody
//! waits for it again until it does.
//!
//! Leaves to others: a local file system that hangs, which the collector's own deadline is for.

use super::files::{Buffer, File, cut, lines, text, words};
use super::statfs::{Answer, Others};
use super::{Collector, Fail, Filter, Roots, Settings};
use crate::model::samples::{Kind, Samples};
use rustix::fs::{StatFs, statfs};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
            others: settings.others.statfs.clone(),
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
        let remote = mounts.iter().filter(|mount| mount.remote);
        let remote: Vec<_> = remote.map(|mount| (&mount.path, mount.device.as_str())).collect();
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
}
