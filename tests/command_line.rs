//! The binary's manners: exit codes, where words go, signals, closed pipes, the forms of its messages.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::linux::fs::MetadataExt;
use std::process::{Child, Command, Output, Stdio};

fn lugger(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lugger"));
    command.args(arguments).env_remove("JOURNAL_STREAM").env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    lugger(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn help_and_version_go_to_stdout() {
    for arguments in [&[][..], &["--help"]] {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("loki:") && output.stderr.is_empty());
    }
    let version = output(&["--version"]);
    assert_eq!(text(&version.stdout), format!("lugger {}\n", env!("CARGO_PKG_VERSION")));
    for command in ["run", "check", "test", "convert", "demo", "receive", "dead-letters", "health"] {
        assert!(text(&output(&[command, "--help"]).stdout).contains("Usage: lugger"), "{command}");
    }
}

#[test]
fn a_command_line_that_is_not_understood_is_exit_code_2() {
    for (arguments, word) in [
        (&["wander"][..], "wander"),
        (&["run", "--confg", "x"], "--config"),
        (&["receive"], "--listen"),
        (&["receive", "--listen", "here"], "here"),
        (&["demo", "--for", "soon"], "500ms"),
        (&["--log-level", "loud", "check"], "warn"),
    ] {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(word) && output.stdout.is_empty(), "{}", text(&output.stderr));
    }
}

#[test]
fn what_host_does_not_find_is_named() {
    for (arguments, words) in [
        (["--collector", "meminf"], "there is no collector meminf; did you mean \"meminfo\"?"),
        (["--no-collector", "memory_of_all"], "there is no collector memory_of_all; they are: arp, "),
        (["--proc-root", "/does/not/exist"], "--proc-root: /does/not/exist is no directory"),
    ] {
        let output = output(&[&["host", "--once"][..], &arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn an_address_in_use_is_exit_code_1_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = output(&["receive", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let words = text(&output.stderr);
    assert!(words.contains(&address) && words.contains("in use") && !words.contains("panicked"), "{words}");
}

/// A running `lugger receive`.
struct Receiver {
    child: Child,
    address: SocketAddr,
}

impl Receiver {
    fn start(mut command: Command) -> (Self, BufReader<impl Read>) {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = address(&line);
        (Receiver { child, address }, stderr)
    }

    fn push(&self, line: &str) {
        let answer = self.try_push(line).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }

    fn try_push(&self, line: &str) -> std::io::Result<String> {
        let body = format!(
            r#"{{"streams":[{{"stream":{{"job":"t"}},"values":[["1700000000000000005",{line},{{"trace":"t\u001b\"1"}}]]}}]}}"#
        );
        let mut stream = TcpStream::connect(self.address)?;
        let length = body.len();
        write!(
            stream,
            "POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nX-Scope-OrgID: team\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap(), signal).unwrap();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in a line that has `http://ADDRESS/`.
fn address(line: &str) -> SocketAddr {
    let rest = line.split_once("http://").unwrap_or_else(|| panic!("{line}")).1;
    rest.split('/').next().unwrap().parse().unwrap()
}

#[test]
fn receive_says_each_push_prints_lines_safely_and_stops_on_sigterm() {
    let (mut receiver, mut stderr) = Receiver::start(lugger(&["receive", "--listen", "127.0.0.1:0", "--print"]));
    for i in 0..20 {
        receiver.push(&format!("\"line {i}\\n\\u001b[2Jnext\""));
    }
    receiver.signal(Signal::TERM);
    let (mut words, mut lines) = (String::new(), String::new());
    stderr.read_to_string(&mut words).unwrap();
    receiver.child.stdout.take().unwrap().read_to_string(&mut lines).unwrap();
    assert_eq!(receiver.child.wait().unwrap().code(), Some(0));
    assert_eq!(words.matches("msg=push").count(), 20, "each one, also when they repeat\n{words}");
    assert!(words.contains("20 lines") && words.starts_with("ts=2"), "{words}");
    assert_eq!(lines.lines().count(), 20);
    assert_eq!(
        lines.lines().next().unwrap(),
        "2023-11-14T22:13:20.000000005Z {job=\"t\"} trace=\"t\\u{1b}\\\"1\" tenant=\"team\"\tline 0\\n\\u001b[2Jnext"
    );
}

#[test]
fn receive_ends_when_nobody_reads_what_it_prints() {
    let (mut receiver, _stderr) = Receiver::start(lugger(&["receive", "--listen", "127.0.0.1:0", "--print"]));
    drop(receiver.child.stdout.take());
    // Until it has noticed: another test's child may hold the pipe's other end for a moment.
    let status = loop {
        if let Some(status) = receiver.child.try_wait().unwrap() {
            break status;
        }
        // It may end in the middle of this.
        let _ = receiver.try_push("\"x\"");
    };
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_closed_stderr_is_no_failure() {
    let (mut receiver, stderr) = Receiver::start(lugger(&["receive", "--listen", "127.0.0.1:0"]));
    drop(stderr);
    receiver.push("\"x\"");
    receiver.push("\"y\"");
    receiver.signal(Signal::INT);
    assert_eq!(receiver.child.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    receiver.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.starts_with("2 lines"), "{said}");
}

#[test]
fn messages_for_the_journal_have_priorities_and_no_time() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = directory.path().join("stderr");
    let file = File::create(&path).unwrap();
    let meta = file.metadata().unwrap();
    let stream = format!("{}:{}", meta.st_dev(), meta.st_ino());
    let child = lugger(&["receive", "--listen", "127.0.0.1:0"])
        .env("JOURNAL_STREAM", stream)
        .stderr(file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let receiver = Receiver { child, address: taken.local_addr().unwrap() };
    let words = || std::fs::read_to_string(&path).unwrap();
    while !words().contains('\n') {
        std::thread::yield_now();
    }
    receiver.signal(Signal::TERM);
    assert!(words().starts_with("<6>level=info msg=receiving page=http://127.0.0.1:"), "{}", words());
}

#[test]
fn messages_are_json_on_request() {
    let mut child = lugger(&["receive", "--listen", "127.0.0.1:0", "--log-format", "json"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&value["level"], &value["msg"]), (&"info".into(), &"receiving".into()));
}

/// An agent that is ready, one that has problems, none, somebody else.
#[test]
fn health_is_what_ready_says() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("agent.yaml");
    let serve = |answer: &'static str| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // All addresses: it is asked on loopback.
        // The agent's environment and secrets need not be there for who asks.
        let endpoint =
            "{ url: 'http://127.0.0.1:1', bearer_token_file: /does/not/exist, tenant_id: '${LUGGER_TEST_TENANT}' }";
        let text = format!("loki: [{endpoint}]\nlogs: [{{ file: {{ include: /x/*.log }} }}]\n");
        std::fs::write(&config, format!("{text}http: {{ listen: 0.0.0.0:{port} }}\n")).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            request
        })
    };
    let ask = || output(&["health", "--config", config.to_str().unwrap()]);
    for (answer, code, words) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n", 0, "ready\n"),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\nno endpoint\n", 1, "no endpoint\n"),
        ("HTTP/1.1 404 Not Found\r\n\r\n", 1, ""),
    ] {
        let server = serve(answer);
        let output = ask();
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(code), words), "{}", text(&output.stderr));
        assert!(server.join().unwrap().starts_with("GET /ready HTTP/1.1"));
    }
    let output = ask();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("does not answer"), "{}", text(&output.stderr));
    std::fs::write(
        &config,
        "loki: [{ url: 'http://127.0.0.1:1' }]\nlogs: [{ file: { include: /x } }]\nhttp: { listen: none }\n",
    )
    .unwrap();
    let output = ask();
    assert!(
        output.status.code() == Some(1) && text(&output.stderr).contains("nobody to ask"),
        "{}",
        text(&output.stderr)
    );
}

/// What is not here is a note; what is wrong with the file itself is an error all the same.
#[test]
fn a_file_for_another_host_is_judged_without_what_it_names() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("agent.yaml");
    let good = "labels: { site: \"${LUGGER_TEST_SITE}\" }
loki:
  - url: https://loki.example.org
    basic_auth: { username: edge, password_file: \"${LUGGER_TEST_CREDENTIALS}/loki\" }
    tls_config: { ca_file: /does/not/exist/ca.pem }
logs:
  - name: app
    file: { include: /x/*.log }
    stages: [{ redact: { kinds: [card], hash_salt_file: /does/not/exist/salt } }]
  - name: network
    syslog: { listen: \"tls://0.0.0.0:6514\", tls_config: { cert_file: /does/not/exist/c, key_file: /does/not/exist/k } }
    labels: { job: syslog }
";
    std::fs::write(&config, good).unwrap();
    let config = config.to_str().unwrap();
    assert_eq!(output(&["check", "--config", config]).status.code(), Some(1));
    let elsewhere = output(&["check", "--elsewhere", "--config", config]);
    let notes = text(&elsewhere.stderr);
    assert_eq!(elsewhere.status.code(), Some(0), "{notes}");
    assert_eq!(notes.matches(": note: ").count(), 6, "{notes}");
    assert!(text(&elsewhere.stdout).ends_with("is valid for a host that has what it names.\n"));
    for (right, wrong, message) in [
        ("card", "cart", "cart"),
        ("/does/not/exist/ca.pem", "ca.pem", "not absolute"),
        ("${LUGGER_TEST_SITE}", "${LUGGER TEST}", "not a reference"),
    ] {
        std::fs::write(config, good.replace(right, wrong)).unwrap();
        let elsewhere = output(&["check", "--elsewhere", "--config", config]);
        assert_eq!(elsewhere.status.code(), Some(1), "{wrong}");
        assert!(text(&elsewhere.stderr).contains(message), "{}", text(&elsewhere.stderr));
    }
}
