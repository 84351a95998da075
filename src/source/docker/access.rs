//! Who may use Docker's socket, in words for the person who has to change it; and the one question that has to be answered before anything runs: where
//! Docker keeps its containers.

use crate::base::limits::{DOCKER_ANSWER_BYTES, DOCKER_ROOT_MS};
use rustix::fs::{Access, access};
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Why this process cannot use a socket. `None`: it seems that it can.
pub fn socket_problem(path: &Path) -> Option<String> {
    match access(path, Access::READ_OK | Access::WRITE_OK) {
        Ok(()) => None,
        Err(rustix::io::Errno::NOENT) => Some(missing(path)),
        Err(rustix::io::Errno::ACCESS) => Some(denied(path)),
        Err(error) => Some(format!("{} cannot be used: {}", path.display(), std::io::Error::from(error))),
    }
}

/// Where the Docker behind a socket keeps everything. `None`: nobody answers, or not soon.
pub fn data_root(socket: &Path) -> Option<PathBuf> {
    let (answer, answered) = mpsc::channel();
    let socket = socket.to_owned();
    let deadline = Instant::now() + Duration::from_millis(DOCKER_ROOT_MS);
    // A thread, since nothing bounds a connection to a socket whose owner has stopped. It ends when that is answered, or refused.
    let ask = move || {
        // Nobody may listen any more.
        let _ = answer.send(ask_root(&socket, deadline));
    };
    std::thread::Builder::new().name("lugger-docker-root".into()).spawn(ask).ok()?;
    answered.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok().flatten()
}

fn ask_root(socket: &Path, deadline: Instant) -> Option<PathBuf> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_write_timeout(Some(Duration::from_millis(DOCKER_ROOT_MS))).ok()?;
    // The older form of HTTP: the answer comes in one piece and ends with the connection.
    stream.write_all(b"GET /info HTTP/1.0\r\nHost: docker\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    let mut part = vec![0; 64 * 1024];
    loop {
        let left = Some(deadline.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())?;
        stream.set_read_timeout(Some(left)).ok()?;
        let length = stream.read(&mut part).ok()?;
        if length == 0 {
            break;
        }
        answer.extend_from_slice(part.get(..length)?);
        if answer.len() > DOCKER_ANSWER_BYTES {
            return None;
        }
    }
    let body = memchr::memmem::find(&answer, b"\r\n\r\n").and_then(|end| answer.get(end + 4..))?;
    let info: Value = serde_json::from_slice(body).ok()?;
    let root = info.get("DockerRootDir")?.as_str()?;
    root.starts_with('/').then(|| PathBuf::from(root))
}

/// There is no socket.
pub(super) fn missing(path: &Path) -> String {
    format!(
        "Docker's socket {} is not there: Docker does not run yet, or has its socket elsewhere (`host`)",
        path.display()
    )
}

/// The user has no right to it.
pub(super) fn denied(path: &Path) -> String {
    let group = std::fs::metadata(path).ok().and_then(|metadata| group_name(metadata.gid()));
    let group = group.unwrap_or_else(|| "docker".to_owned());
    format!(
        "the user that lugger runs as may not use Docker's socket {}: its group is {group}. Who is in that group can become root on this host, so \
         weigh that; as root lugger needs no socket for logs of the driver json-file",
        path.display()
    )
}

/// A group's name, as /etc/group has it.
fn group_name(gid: u32) -> Option<String> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    };
    groups.lines().find_map(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_the_group_of_root() {
        assert_eq!(group_name(0).as_deref(), Some("root"));
        assert_eq!(group_name(u32::MAX - 7), None);
    }

    #[test]
    fn who_answers_byte_by_byte_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let (given_up, is_given_up) = mpsc::channel();
        let drip = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            // Until it is hung up, or the question was given up: the one who drips does not end by himself.
            while stream.write_all(b" ").is_ok() && is_given_up.recv_timeout(Duration::from_millis(100)).is_err() {}
        });
        assert_eq!(data_root(&path), None);
        given_up.send(()).unwrap();
        drip.join().unwrap();
    }

    #[test]
    fn a_socket_that_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        assert!(socket_problem(&path).unwrap().contains("is not there"));
        std::fs::write(&path, "").unwrap();
        assert_eq!(socket_problem(&path), None);
    }
}
