//! File systems that do not tell of changes: a FUSE mount whose files change behind its back.

use crate::support::agent::{Config, FileSource, Rig, names};
use crate::support::wait::wait_until;
use crate::support::writer::append_to;
use crate::{SOON, keeping, pushed_up_to, stop};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory that shows another one by way of FUSE. What is done to the other one directly no watch on this one tells.
struct Mirror(PathBuf);

impl Mirror {
    fn new(of: &Path, at: &Path) -> Self {
        fs::create_dir(at).unwrap();
        // No caching in the kernel: as a network file system shows what others write.
        let options = "attr_timeout=0,entry_timeout=0,negative_timeout=0";
        let made = Command::new("bindfs").arg("-o").arg(options).arg(of).arg(at).status();
        let made = made.expect("bindfs is there (Debian: the package bindfs)");
        assert!(made.success(), "bindfs could not mount: it takes /dev/fuse and the right to use it");
        Mirror(at.to_owned())
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // Lazily, should a failed test have left the agent running in it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Appends, new files, rotations and a restart, all of them unseen by inotify: polling finds them within seconds, once.
#[test]
fn row_12_where_nothing_tells_of_changes_directories_are_looked_at() {
    let loki = keeping();
    let rig = Rig::new();
    let real = rig.path().join("real");
    fs::create_dir(&real).unwrap();
    let mirror = Mirror::new(&real, &rig.path().join("mirror"));
    let path = real.join("a.log");
    append_to(&path, "1\n");
    let config = Config::new(&loki.url()).source(FileSource::new("app", mirror.0.join("*.log")));
    let agent = rig.start(&config);
    let mut expected = vec!["1".to_owned()];
    assert_eq!(pushed_up_to(&loki, "1"), expected);
    append_to(&path, "2\n");
    expected.push("2".into());
    assert_eq!(pushed_up_to(&loki, "2"), expected);
    // A new file, and a rotation with lines in both files.
    append_to(&real.join("b.log"), "3\n");
    expected.push("3".into());
    assert_eq!(pushed_up_to(&loki, "3"), expected);
    append_to(&path, "4\n");
    fs::rename(&path, real.join("a.log.1")).unwrap();
    append_to(&path, "5\n");
    expected.extend(["4".into(), "5".into()]);
    assert_eq!(pushed_up_to(&loki, "5"), expected);
    // Truncated and filled again.
    fs::write(&path, "6\n7\n").unwrap();
    expected.extend(["6".into(), "7".into()]);
    assert_eq!(pushed_up_to(&loki, "7"), expected);
    stop(agent);
    append_to(&path, "8\n");
    let agent = rig.start(&config);
    expected.push("8".into());
    assert_eq!(pushed_up_to(&loki, "8"), expected);
    wait_until("no lag", SOON, || agent.metric(names::LAG_BYTES) == Some(0.0));
    assert_eq!(agent.metric(names::LOST), Some(0.0));
    stop(agent);
    drop(mirror);
}
