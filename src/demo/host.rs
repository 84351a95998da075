//! What the demo ships: a plan for this host's own log files and the sample.
//!
//! Promises: only files that this user may read and that look like text are named; nothing is sent anywhere but to the address given.
//! Leaves to others: running the plan.

use crate::base::limits::SPOOL_AGE_MS_DEFAULT;
use crate::base::limits::{
    BACKOFF_MAX_MS_DEFAULT, BACKOFF_MIN_MS_DEFAULT, BATCH_BYTES_DEFAULT, BATCH_WAIT_MS_DEFAULT, DEMO_FILES,
    LINE_BYTES_DEFAULT, MEMORY_BYTES_DEFAULT, REQUEST_TIMEOUT_MS_DEFAULT,
};
use crate::config::plan::{FileSource, Plan};
use crate::model::labels::{LabelCaps, LabelError, Labels};
use crate::sink::settings::{Auth, Endpoint, Tls};
use crate::source::file::encoding::Encoding;
use crate::source::file::settings::{Settings, StartAt};
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where hosts keep their logs.
const LOG_ROOT: &str = "/var/log";
/// Directories below that hold other things than text.
const NOT_TEXT: [&str; 3] = ["journal", "sysstat", "pcp"];
/// Endings of files that are no text or that nobody writes to any more.
const NOT_LIVE: [&str; 8] = ["gz", "xz", "zst", "bz2", "old", "journal", "db", "pid"];
/// Files that stand among logs without being any.
const NOT_LOGS: [&str; 6] = ["README", "btmp", "faillog", "lastlog", "tallylog", "wtmp"];
/// How deep directories are searched.
const DEPTH: usize = 5;

/// The host's log files that can be followed, sorted; at most [`DEMO_FILES`].
pub fn readable_logs() -> Vec<PathBuf> {
    readable_logs_in(Path::new(LOG_ROOT))
}

fn readable_logs_in(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    search(root, DEPTH, &mut found);
    found.sort();
    found
}

fn search(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    // A directory that may not be read is not for this demo.
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if found.len() >= DEMO_FILES {
            return;
        }
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if kind.is_dir() && depth > 0 && !NOT_TEXT.contains(&&*name) {
            search(&path, depth - 1, found);
        } else if kind.is_file() && is_live_name(&name) && is_text(&path) {
            found.push(path);
        }
    }
}

/// Whether a name is one of a log that is being written: `x.log`, or no ending at all as in `syslog`; not `x.log.1`, `x.gz`.
fn is_live_name(name: &str) -> bool {
    if NOT_LOGS.contains(&name) {
        return false;
    }
    match name.rsplit_once('.') {
        None => true,
        Some((_, ending)) => !NOT_LIVE.contains(&ending) && !ending.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// Whether a file can be opened and begins like text. An empty one does.
fn is_text(path: &Path) -> bool {
    let mut head = Vec::new();
    // The type is known to be a regular file, so that opening it cannot wait.
    let read = File::open(path).and_then(|file| file.take(512).read_to_end(&mut head));
    read.is_ok() && !head.contains(&0)
}

/// A plan that ships `logs` from now on and the sample log of `sample_directory` from its beginning to the receiver at `receiver`,
/// with its state in `state_directory`.
pub fn plan(
    receiver: SocketAddr,
    host: &str,
    logs: &[PathBuf],
    sample_directory: &Path,
    state_directory: &Path,
) -> Result<Plan, LabelError> {
    let endpoint = Endpoint {
        name: "demo".to_owned(),
        url: format!("http://{receiver}{}", super::receiver::PUSH_PATH),
        tenant_id: None,
        headers: Vec::new(),
        auth: Auth::None,
        tls: Tls::default(),
        proxy: None,
        timeout: Duration::from_millis(REQUEST_TIMEOUT_MS_DEFAULT),
        batch_bytes: BATCH_BYTES_DEFAULT,
        batch_wait: Duration::from_millis(BATCH_WAIT_MS_DEFAULT),
        backoff: (Duration::from_millis(BACKOFF_MIN_MS_DEFAULT), Duration::from_millis(BACKOFF_MAX_MS_DEFAULT)),
        rate: None,
        max_streams: None,
    };
    let source = |name: &str, include: Vec<String>, start_at: StartAt| -> Result<FileSource, LabelError> {
        let labels = Labels::new([("host", host), ("job", name)])?;
        let (name, exclude, line_bytes) = (name.to_owned(), Vec::new(), LINE_BYTES_DEFAULT);
        let (encoding, label_caps) = (Encoding::default(), LabelCaps::default());
        Ok(FileSource {
            settings: Settings {
                name,
                include,
                exclude,
                start_at,
                encoding,
                labels,
                label_caps,
                line_bytes,
                rate: None,
                late_labels: Labels::default(),
                stages: Vec::new(),
                owners: None,
                records: None,
            },
            to: vec![0],
        })
    };
    let mut files = vec![source("sample", vec![format!("{}/*.log", quote(sample_directory))], StartAt::Beginning)?];
    if !logs.is_empty() {
        files.push(source("host", logs.iter().map(|path| quote(path)).collect(), StartAt::End)?);
    }
    Ok(Plan {
        metrics: None,
        remote_write: Vec::new(),
        imports: Vec::new(),
        loki: vec![endpoint],
        files,
        journals: Vec::new(),
        dockers: Vec::new(),
        receivers: Vec::new(),
        http: None,
        state_dir: state_directory.to_owned(),
        memory_bytes: MEMORY_BYTES_DEFAULT,
        spool_bytes: 0,
        spool_age: Duration::from_millis(SPOOL_AGE_MS_DEFAULT),
    })
}

/// A path as a pattern that matches only it: the characters with a meaning stand in brackets.
fn quote(path: &Path) -> String {
    let mut pattern = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}') {
            pattern.extend(['[', c, ']']);
        } else {
            pattern.push(c);
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_live_text_is_found() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for name in ["syslog", "empty.log", "deep/er/app.log", "app.json"] {
            write(name, if name.starts_with("empty") { b"" } else { b"text\n" });
        }
        for name in ["syslog.1", "a.log.2.gz", "journal/x.log", "b.gz", "README"] {
            write(name, b"text\n");
        }
        write("login", b"\x07\0\0\0");
        std::os::unix::fs::symlink("/dev/zero", root.path().join("endless.log")).unwrap();
        let found = readable_logs_in(root.path());
        let names: Vec<_> = found.iter().map(|p| p.strip_prefix(root.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["app.json", "deep/er/app.log", "empty.log", "syslog"]);
    }

    #[test]
    fn the_plan_ships_the_host_from_its_end_and_the_sample_from_its_beginning() {
        let logs = [PathBuf::from("/var/log/a[1].log")];
        let plan = plan("127.0.0.1:9".parse().unwrap(), "h", &logs, Path::new("/tmp/s"), Path::new("/tmp/st")).unwrap();
        assert_eq!(plan.loki[0].url, "http://127.0.0.1:9/loki/api/v1/push");
        assert_eq!(plan.files[0].settings.start_at, StartAt::Beginning);
        assert_eq!(plan.files[1].settings.start_at, StartAt::End);
        assert_eq!(plan.files[1].settings.include, ["/var/log/a[[]1[]].log"]);
    }
}
