//! Docker's Engine API, told by a script: for what no daemon can be made to do when a test wants it.
//!
//! Containers have the driver `local`, so that the API tells their logs. Every connection has one question, as HTTP/1.1 with `connection: close`.
#![allow(dead_code, reason = "each test uses a part of this")]

use crate::support::wait::now_ns;
use lugger::format::civil::format_rfc3339_ns;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// What is said to one question.
pub enum Answer {
    /// A status and a body.
    Whole(u16, String),
    /// Bytes, and then the end.
    Ends(Vec<u8>),
    /// Bytes, and then nothing, for as long as the other one waits.
    GoesOn(Vec<u8>),
    /// A status at once, bytes after a time, and then nothing.
    Late(Duration, Vec<u8>),
    /// Not even a status.
    Nothing,
}

type Script = dyn Fn(&str, usize) -> Option<Answer> + Send + Sync;

/// A socket that answers.
pub struct FakeApi {
    directory: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

/// A container's id, of 64 characters.
pub fn id(letter: char) -> String {
    letter.to_string().repeat(64)
}

/// A while ago: the same for the whole process. Seconds since 1970.
pub fn long_ago() -> i64 {
    static THEN: OnceLock<i64> = OnceLock::new();
    *THEN.get_or_init(|| now_ns() / 1_000_000_000 - 3600)
}

/// A line in a frame of a stream, `n` tenths of a second and as many nanoseconds after that.
pub fn frame(stream: u8, n: i64, text: &str) -> Vec<u8> {
    let time = format_rfc3339_ns((long_ago() * 10 + n) * 100_000_000 + n);
    said(stream, &format!("{time} {text}"))
}

/// A frame without a time.
pub fn said(stream: u8, text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[stream, 0, 0, 0], &length[..], text.as_bytes()].concat()
}

impl FakeApi {
    /// Containers by id and name, all running; `script` sees a path without its version, and how often it was asked for before, and may say something else
    /// than what is usual.
    pub fn start(
        containers: &[(String, &str)],
        script: impl Fn(&str, usize) -> Option<Answer> + Send + Sync + 'static,
    ) -> FakeApi {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("docker.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let containers: Arc<[(String, String)]> =
            containers.iter().map(|(id, name)| (id.clone(), (*name).to_owned())).collect();
        let (script, calls): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&asked));
        // It ends with the process of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (containers, script, calls) = (Arc::clone(&containers), Arc::clone(&script), Arc::clone(&calls));
                std::thread::spawn(move || serve(stream, &containers, &*script, &calls));
            }
        });
        FakeApi { directory, asked }
    }

    /// Where its socket is.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// A directory that is not there.
    pub fn nowhere(&self) -> PathBuf {
        self.directory.path().join("containers")
    }

    /// How often something with this in its path was asked for.
    pub fn asked(&self, part: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.contains(part)).count()
    }

    /// What was asked for that has this in its path.
    pub fn questions(&self, part: &str) -> Vec<String> {
        self.asked.lock().unwrap().iter().filter(|path| path.contains(part)).cloned().collect()
    }
}

fn serve(stream: UnixStream, containers: &[(String, String)], script: &Script, calls: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    let _ = reader.read_line(&mut first);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
        line.clear();
    }
    let Some(path) = first.split(' ').nth(1) else { return };
    let path = path.strip_prefix("/v1.41").unwrap_or(path);
    let plain = path.split('?').next().unwrap();
    let before = {
        let mut calls = calls.lock().unwrap();
        let before = calls.iter().filter(|call| call.split('?').next() == Some(plain)).count();
        calls.push(path.to_owned());
        before
    };
    let mut stream = reader.get_ref();
    match script(path, before).unwrap_or_else(|| usual(Path::new(plain), containers)) {
        Answer::Whole(status, body) => {
            let _ = write!(
                stream,
                "HTTP/1.1 {status} Said\r\nApi-Version: 1.41\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
        Answer::Ends(bytes) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(&bytes);
        }
        Answer::GoesOn(bytes) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(&bytes);
            let _ = reader.read_line(&mut line);
        }
        Answer::Late(after, bytes) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            // Who asks may be gone before.
            let _ = stream.set_read_timeout(Some(after));
            if reader.read_line(&mut line).is_err() {
                let mut stream = reader.get_ref();
                let _ = stream.write_all(&bytes);
                let _ = stream.set_read_timeout(None);
                let _ = reader.read_line(&mut line);
            }
        }
        Answer::Nothing => _ = reader.read_line(&mut line),
    }
}

fn usual(path: &Path, containers: &[(String, String)]) -> Answer {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).skip(1).collect();
    match parts.as_slice() {
        ["_ping"] => Answer::Whole(200, "OK".into()),
        ["networks"] => Answer::Whole(200, "[]".into()),
        ["containers", "json"] => {
            let list: Vec<String> = containers.iter().map(|(id, _)| format!("{{\"Id\":\"{id}\"}}")).collect();
            Answer::Whole(200, format!("[{}]", list.join(",")))
        }
        ["containers", id, "json"] => match containers.iter().find(|(known, _)| known == id) {
            Some((_, name)) => Answer::Whole(200, inspected(id, name, true)),
            None => Answer::Whole(404, "{}".into()),
        },
        _ => Answer::GoesOn(Vec::new()),
    }
}

/// What is known of a container.
pub fn inspected(id: &str, name: &str, runs: bool) -> String {
    format!(
        r#"{{"Id":"{id}","Name":"/{name}","Image":"sha256:1","LogPath":"","Config":{{"Image":"t:1","Labels":{{}},"Tty":false}},
        "HostConfig":{{"NetworkMode":"none","LogConfig":{{"Type":"local","Config":{{}}}}}},
        "State":{{"StartedAt":"2026-01-01T00:00:00Z","Running":{runs}}},"NetworkSettings":{{"Networks":{{}},"Ports":{{}}}}}}"#
    )
}
