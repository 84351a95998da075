//! Senders: sockets of the tests' own, `logger`, and rsyslog as a process.

use crate::support::ledger::line;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The syslog message of the numbered line `n`.
pub fn message(run: &str, n: u64, bytes: usize) -> String {
    let mut text = String::from("<14>Aug  1 10:00:00 web app[7]: ");
    line(run, n, bytes, &mut text);
    text
}

/// The same as programs give it to a socket of their own host, without its name.
pub fn local_message(run: &str, n: u64, bytes: usize) -> String {
    message(run, n, bytes).replacen("web ", "", 1)
}

/// Sends datagrams.
pub struct Udp(UdpSocket);

impl Udp {
    pub fn to(address: SocketAddr) -> Udp {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        Udp(socket)
    }

    pub fn send(&self, message: &[u8]) {
        // What nobody listens for is answered with an error the next time.
        let _ = self.0.send(message);
    }
}

/// A connection, or none yet.
pub fn connect(address: SocketAddr) -> TcpStream {
    let mut tries = 0;
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) => {
                tries += 1;
                assert!(tries < 3_000, "nobody listens on {address}: {error}");
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

/// A program that must be there; `tests/run` installs it.
fn program(name: &str, paths: &[&str]) -> PathBuf {
    let found = paths.iter().map(Path::new).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: tests/run installs it")).to_owned()
}

/// `logger` with these arguments and this on its stdin.
pub fn logger(arguments: &[&str], text: &str) {
    let mut child = Command::new(program("logger", &["/usr/bin/logger"]))
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .expect("logger starts");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "logger {arguments:?}");
}

/// rsyslogd that reads what is written to a unix socket and forwards it. Give its action a queue for all messages: when a small one is full it loses one now
/// and then, whatever it forwards to. Killed when dropped.
pub struct Rsyslog {
    child: Child,
    socket: PathBuf,
}

impl Rsyslog {
    /// `action`: its configuration of forwarding; `global`: what comes before.
    pub fn start(directory: &Path, global: &str, action: &str) -> Rsyslog {
        let binary = program("rsyslogd", &["/usr/sbin/rsyslogd"]);
        fs::create_dir_all(directory.join("work")).unwrap();
        let (socket, file) = (directory.join("in.sock"), directory.join("rsyslog.conf"));
        let text = format!(
            "global(workDirectory=\"{work}\" maxMessageSize=\"8k\")\n{global}\n\
             module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{socket}\" CreatePath=\"on\" RateLimit.Interval=\"0\" UseSysTimeStamp=\"off\")\n\
             {action}\n",
            work = directory.join("work").display(),
            socket = socket.display(),
        );
        fs::write(&file, text).unwrap();
        let log = fs::File::create(directory.join("rsyslog.log")).unwrap();
        let child = Command::new(binary)
            .args(["-n", "-f"])
            .arg(&file)
            .arg("-i")
            .arg(directory.join("rsyslog.pid"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("rsyslogd starts");
        crate::support::wait::wait_until("rsyslogd listens", crate::DRAIN, || socket.exists());
        Rsyslog { child, socket }
    }

    /// Gives it messages, each as a program would to `/dev/log`.
    pub fn send(&self, messages: impl Iterator<Item = String>) {
        let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
        socket.connect(&self.socket).unwrap();
        for message in messages {
            socket.send(message.as_bytes()).unwrap();
        }
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status that curl was answered with; `000` without an answer.
pub fn curl(arguments: &[&str]) -> String {
    let output = Command::new(program("curl", &["/usr/bin/curl"]))
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "60"])
        .args(arguments)
        .output()
        .expect("curl starts");
    String::from_utf8(output.stdout).unwrap()
}

/// A pipe whose reading end is given to one process after the other.
pub struct Pipe {
    reader: std::io::PipeReader,
    writer: Option<std::io::PipeWriter>,
}

impl Pipe {
    pub fn new() -> Pipe {
        let (reader, writer) = std::io::pipe().unwrap();
        Pipe { reader, writer: Some(writer) }
    }

    pub fn reader(&self) -> std::io::PipeReader {
        self.reader.try_clone().unwrap()
    }

    pub fn writer(&mut self) -> &mut std::io::PipeWriter {
        self.writer.as_mut().unwrap()
    }

    pub fn close(&mut self) {
        self.writer = None;
    }
}
