//! Who may use Docker's socket, in words for the person who has to change it.

use rustix::fs::{Access, access};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Why this process cannot use a socket. `None`: it seems that it can.
pub fn socket_problem(path: &Path) -> Option<String> {
    match access(path, Access::READ_OK | Access::WRITE_OK) {
        Ok(()) => None,
        Err(rustix::io::Errno::NOENT) => Some(missing(path)),
        Err(rustix::io::Errno::ACCESS) => Some(denied(path)),
        Err(error) => Some(format!("{} cannot be used: {}", path.display(), std::io::Error::from(error))),
    }
}

/// There is no socket.
pub(super) fn missing(path: &Path) -> String {
    format!("Docker's socket {} is not there: Docker does not run yet, or has its socket elsewhere (`host`)", path.display())
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
    fn a_socket_that_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        assert!(socket_problem(&path).unwrap().contains("is not there"));
        std::fs::write(&path, "").unwrap();
        assert_eq!(socket_problem(&path), None);
    }
}
