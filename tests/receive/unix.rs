//! Unix sockets: a path is not taken from another program, nor removed when it is another's, and a reload may change what kind of socket it is.

use crate::support::agent::{Config, FileSource, Rig};
use crate::support::wait::wait_until;
use crate::{DRAIN, kept};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

fn at(scheme: &str, path: &Path) -> FileSource {
    FileSource::other("syslog", "u", &format!("{{ listen: \"{scheme}://{}\" }}", path.display())).label("job", "u")
}

fn file(path: &Path) -> u64 {
    std::fs::metadata(path).expect("the path is there").ino()
}

/// Whatever kind of socket the other program has, and whatever kind is asked for.
#[test]
fn a_path_is_not_taken_from_a_program_that_lives() {
    let rig = Rig::new();
    let loki = kept();
    let (stream, datagram) = (rig.path().join("s"), rig.path().join("d"));
    let listener = UnixListener::bind(&stream).unwrap();
    let _socket = UnixDatagram::bind(&datagram).unwrap();
    for (scheme, path) in [("unixgram", &stream), ("unix", &stream), ("unix", &datagram), ("unixgram", &datagram)] {
        let before = file(path);
        let mut agent = rig.spawn(&Config::new(&loki.url()).source(at(scheme, path)));
        assert_eq!(agent.wait_exit(DRAIN).code, Some(1), "{scheme}");
        let said = agent.stderr();
        assert!(said.contains(&format!("{scheme}://{}: the address is in use", path.display())), "{said}");
        assert_eq!(file(path), before, "{scheme}");
    }
    UnixStream::connect(&stream).unwrap();
    // One that hangs, with as many connections waiting as it takes, is not waited for.
    rustix::net::listen(&listener, 0).unwrap();
    let waiting = |_| {
        rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK,
            None,
        )
        .map(|socket| (rustix::net::connect(&socket, &rustix::net::SocketAddrUnix::new(&stream).unwrap()), socket))
        .unwrap()
    };
    let waiting: Vec<_> = (0..5).map(waiting).collect();
    assert!(waiting.iter().any(|(connected, _)| *connected == Err(rustix::io::Errno::AGAIN)));
    let mut agent = rig.spawn(&Config::new(&loki.url()).source(at("unix", &stream)));
    assert_eq!(agent.wait_exit(DRAIN).code, Some(1));
    assert!(agent.stderr().contains("the address is in use"), "{}", agent.stderr());
}

#[test]
fn a_reload_changes_what_kind_of_socket_a_path_is() {
    let rig = Rig::new();
    let loki = kept();
    let path = rig.path().join("log");
    let config = |scheme: &str| Config::new(&loki.url()).source(at(scheme, &path));
    let mut agent = rig.start(&config("unix"));
    for round in 0..2 {
        let text = format!("stream {round}");
        UnixStream::connect(&path).unwrap().write_all(format!("<14>Aug  1 10:00:00 p: {text}\n").as_bytes()).unwrap();
        loki.wait_for("over a connection", DRAIN, |line| line == text);
        rig.change(&agent, &config("unixgram"));
        let text = format!("datagram {round}");
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(format!("<14>Aug  1 10:00:00 p: {text}").as_bytes(), &path).unwrap();
        loki.wait_for("as a datagram", DRAIN, |line| line == text);
        rig.change(&agent, &config("unix"));
    }
    wait_until("each is told", DRAIN, || agent.stderr().matches("listening").count() == 5);
    // A reload that fails leaves the path to what is there.
    let before = file(&path);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = format!("{{ listen: \"{}\" }}", taken.local_addr().unwrap());
    rig.rewrite(&agent, &config("unixgram").source(FileSource::other("push", "other", &other)));
    assert_ne!(agent.reload().status, 200);
    assert_eq!(file(&path), before);
    assert_eq!(agent.stop(Duration::from_secs(20)).code, Some(0));
    assert!(!path.exists());
    assert!(
        std::fs::read_dir(rig.path()).unwrap().all(|entry| !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with('.'))
    );
}

#[test]
fn a_path_that_is_anothers_by_now_is_not_removed() {
    let rig = Rig::new();
    let loki = kept();
    let path = rig.path().join("log");
    let mut agent = rig.start(&Config::new(&loki.url()).source(at("unix", &path)));
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    assert_eq!(agent.stop(Duration::from_secs(20)).code, Some(0));
    UnixStream::connect(&path).expect("the other program's socket is there");
}
