//! `processes`: processes and threads by state, from /proc/PID/stat and /proc/PID/task (proc(5)).
//!
//! The tasks of a process are read only if it has more than one thread.

use super::files::{Buffer, File, read_once, signed, text, trim, unsigned, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) struct Processes {
    proc: PathBuf,
    max_threads: File,
    max_processes: File,
    buffer: Buffer,
}

#[derive(Default)]
struct Counts {
    processes: u64,
    threads: u64,
    by_state: BTreeMap<char, u64>,
    threads_by_state: BTreeMap<char, u64>,
}

impl Processes {
    pub(super) fn new(settings: &Settings) -> Processes {
        let file = |name| File::new(settings.roots.proc(name));
        Processes {
            proc: settings.roots.proc.clone(),
            max_threads: file("sys/kernel/threads-max"),
            max_processes: file("sys/kernel/pid_max"),
            buffer: Buffer::default(),
        }
    }

    fn count(&mut self) -> Result<Counts, Fail> {
        let mut counts = Counts::default();
        for pid in numbers(&self.proc)? {
            let directory = self.proc.join(pid.to_string());
            // It may have ended since.
            let Some((state, threads)) = status(&directory, &mut self.buffer)? else { continue };
            counts.processes += 1;
            counts.threads += threads;
            *counts.by_state.entry(state).or_default() += 1;
            if threads <= 1 {
                *counts.threads_by_state.entry(state).or_default() += 1;
                continue;
            }
            let tasks = directory.join("task");
            for task in numbers(&tasks).unwrap_or_default() {
                let state = if task == pid {
                    Some(state)
                } else {
                    status(&tasks.join(task.to_string()), &mut self.buffer)?.map(|(state, _)| state)
                };
                if let Some(state) = state {
                    *counts.threads_by_state.entry(state).or_default() += 1;
                }
            }
        }
        Ok(counts)
    }
}

/// The numbers among the names in a directory.
fn numbers(directory: &Path) -> Result<Vec<u64>, Fail> {
    let read = std::fs::read_dir(directory).map_err(|error| Fail::io(directory, error))?;
    Ok(read.filter_map(|entry| unsigned(entry.ok()?.file_name().as_encoded_bytes())).collect())
}

/// State and number of threads of a process or thread; none if it has ended.
fn status(directory: &Path, buffer: &mut Buffer) -> Result<Option<(char, u64)>, Fail> {
    let path = directory.join("stat");
    let Ok(bytes) = read_once(&path, buffer) else { return Ok(None) };
    parsed(bytes).map(Some).ok_or_else(|| Fail::malformed(&path, text(bytes)))
}

fn parsed(bytes: &[u8]) -> Option<(char, u64)> {
    // The name is in parentheses and may have some itself.
    let rest = bytes.get(memchr::memrchr(b')', bytes)? + 1..)?;
    let mut fields = words(rest);
    let state = fields.next()?;
    let &[state @ (b'A'..=b'Z' | b'a'..=b'z')] = state else { return None };
    // A process that ends has none left.
    let threads = fields.nth(16).and_then(signed)?;
    Some((char::from(state), u64::try_from(threads).unwrap_or(0)))
}

impl Collector for Processes {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let counts = self.count()?;
        for (file, name, help) in [
            (&mut self.max_processes, "node_processes_max_processes", "Numbers of processes that there are."),
            (&mut self.max_threads, "node_processes_max_threads", "How many threads there may be."),
        ] {
            let word = trim(file.needed(&mut self.buffer)?);
            let value = unsigned(word).ok_or_else(|| Fail::malformed(file.path(), text(word)))?;
            out.one(name, help, Kind::Gauge, value as f64);
        }
        out.one("node_processes_pids", "Processes.", Kind::Gauge, counts.processes as f64);
        out.one("node_processes_threads", "Threads.", Kind::Gauge, counts.threads as f64);
        for (name, help, label, states) in [
            ("node_processes_state", "Processes by state.", "state", &counts.by_state),
            ("node_processes_threads_state", "Threads by state.", "thread_state", &counts.threads_by_state),
        ] {
            out.family(name, help, Kind::Gauge);
            for (state, count) in states {
                let mut bytes = [0; 4];
                out.add(&[(label, state.encode_utf8(&mut bytes))], *count as f64);
            }
        }
        Ok(())
    }
}
