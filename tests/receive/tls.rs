//! Syslog over TLS: real handshakes of OpenSSL and GnuTLS, with and without certificates of clients.

use crate::senders::{Rsyslog, local_message};
use crate::support::agent::{Config, Rig, free_port};
use crate::support::ledger::Book;
use crate::support::loki::Loki;
use crate::support::wait::{holds_within, wait_until};
use crate::{DRAIN, agent, kept, source};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An authority, a certificate of the server and one of a client, as files.
pub struct Files {
    directory: PathBuf,
}

impl Files {
    pub fn make(directory: &Path) -> Files {
        let authority = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            fs::write(directory.join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
            Issuer::new(params, key)
        };
        let (good, other) = (authority("ca"), authority("other"));
        for (name, issuer) in [("server", &good), ("client", &good), ("stranger", &other)] {
            let key = KeyPair::generate().unwrap();
            let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            let certificate = CertificateParams::new(names).unwrap().signed_by(&key, issuer).unwrap();
            fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
            fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Files { directory: directory.to_owned() }
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    pub fn server(&self, more: &str) -> String {
        format!("{{ cert_file: {}, key_file: {}{more} }}", self.path("server.pem"), self.path("server.key"))
    }
}

/// Sends messages with OpenSSL's client. True: the handshake was good.
fn openssl(address: SocketAddr, files: &Files, client: Option<&str>, text: &str) -> bool {
    let mut command = Command::new("/usr/bin/openssl");
    command.args(["s_client", "-quiet", "-no_ign_eof", "-verify_return_error", "-CAfile", &files.path("ca.pem")]);
    command.args(["-connect", &address.to_string(), "-servername", "localhost"]);
    if let Some(client) = client {
        let (certificate, key) = (files.path(&format!("{client}.pem")), files.path(&format!("{client}.key")));
        command.args(["-cert", &certificate, "-key", &key]);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is there: tests/run installs it");
    // It may have ended already, having been refused.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    child.wait().unwrap().success()
}

#[test]
fn openssl_is_understood_and_clients_need_certificates_if_that_is_asked_for() {
    let rig = Rig::new();
    let files = Files::make(rig.path());
    let ca = format!(", client_ca_file: {}", files.path("ca.pem"));
    for (name, more, takes) in [
        ("none", String::new(), [true, true, true]),
        ("required", ca.clone(), [false, true, false]),
        ("optional", format!("{ca}, client_cert: optional"), [true, true, false]),
    ] {
        let loki = kept();
        let address = free_port();
        let value = format!("{{ listen: \"tls://{address}\", tls_config: {} }}", files.server(&more));
        let agent = agent(&rig, &loki, source("syslog", &value));
        for (client, takes) in [None, Some("client"), Some("stranger")].into_iter().zip(takes) {
            let text = format!("{name} {client:?}");
            openssl(address, &files, client, &format!("<14>Aug  1 10:00:00 h p: {text}\n"));
            if takes {
                loki.wait_for(&text, DRAIN, |line| line == text);
            }
        }
        let refused = takes.iter().filter(|takes| !**takes).count();
        let failed = || agent.metric("lugger_receive_handshakes_failed_total");
        wait_until("what is refused is counted", DRAIN, || failed() == Some(refused as f64));
        assert_eq!(loki.lines().len(), 3 - refused, "{name}: {:?}", loki.lines());
        // Who speaks no TLS is refused as well.
        let mut plain = crate::senders::connect(address);
        plain.write_all(b"<14>Aug  1 10:00:00 h p: plain text, long enough for a record\n").unwrap();
        wait_until("plain text is refused", DRAIN, || failed() == Some(refused as f64 + 1.0));
    }
}

/// Who knocks again and again without TLS is counted each time, and told a few times.
#[test]
fn handshakes_that_fail_do_not_fill_the_log() {
    let rig = Rig::new();
    let files = Files::make(rig.path());
    let loki = kept();
    let (syslog, push) = (free_port(), free_port());
    let of = |kind: &'static str, listen: String| {
        source(kind, &format!("{{ listen: \"{listen}\", tls_config: {} }}", files.server("")))
    };
    let config =
        Config::new(&loki.url()).source(of("syslog", format!("tls://{syslog}"))).source(of("push", push.to_string()));
    let agent = rig.start(&config);
    for _ in 0..100 {
        for to in [syslog, push] {
            _ = crate::senders::connect(to).write_all(b"plain text, long enough for a record\n");
        }
    }
    wait_until("all are counted", DRAIN, || agent.metric("lugger_receive_handshakes_failed_total") == Some(200.0));
    let told = agent.stderr().matches("a TLS handshake failed").count();
    assert!((2..60).contains(&told), "{told}");
}

/// `check` reads what a start would read.
#[test]
fn check_finds_a_key_that_does_not_fit_and_a_password_that_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::make(directory.path());
    let (path, password) = (directory.path().join("agent.yaml"), files.path("password"));
    let check = |key: &str| {
        let text = format!(
            "state_dir: {}\nloki: [{{ url: \"http://127.0.0.1:9\" }}]\nlogs:\n  - push: {{ listen: \"127.0.0.1:0\", \
             tls_config: {{ cert_file: {}, key_file: {} }}, basic_auth: {{ username: u, password_file: {password} }} }}\n",
            directory.path().display(),
            files.path("server.pem"),
            files.path(key),
        );
        fs::write(&path, text).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_lugger")).arg("check").arg("--config").arg(&path).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    fs::write(&password, "secret\n").unwrap();
    let (is_good, said) = check("server.key");
    assert!(is_good, "{said}");
    let (is_good, said) = check("client.key");
    assert!(!is_good && said.contains("client.key cannot be used: it is not the key"), "{said}");
    fs::write(&password, [0xff]).unwrap();
    let (is_good, said) = check("server.key");
    assert!(!is_good && said.contains(&password), "{said}");
}

/// rsyslog with GnuTLS, over a restart of the agent: what rsyslog knows that it did not send comes later.
#[test]
fn rsyslog_forwards_over_tls_with_a_certificate() {
    const COUNT: u64 = 20_000;
    let rig = Rig::new();
    let files = Files::make(rig.path());
    let loki = Loki::start();
    let book = Book::keep(&loki, "gnutls");
    let address = free_port();
    let tls = files.server(&format!(", client_ca_file: {}", files.path("ca.pem")));
    let value = format!("{{ listen: \"tls://{address}\", tls_config: {tls} }}");
    let agent = rig.start(&Config::new(&loki.url()).source(source("syslog", &value)));
    let global = format!(
        "global(DefaultNetstreamDriver=\"gtls\" DefaultNetstreamDriverCAFile=\"{}\" DefaultNetstreamDriverCertFile=\"{}\" \
         DefaultNetstreamDriverKeyFile=\"{}\")\n\
         template(name=\"protocol\" type=\"string\" string=\"<%PRI%>1 %TIMESTAMP:::date-rfc3339% %HOSTNAME% %APP-NAME% \
         %PROCID% %MSGID% %STRUCTURED-DATA% %msg:2:$%\")",
        files.path("ca.pem"),
        files.path("client.pem"),
        files.path("client.key")
    );
    let action = format!(
        "action(type=\"omfwd\" Target=\"127.0.0.1\" Port=\"{}\" Protocol=\"tcp\" TCP_Framing=\"octet-counted\" \
         StreamDriver=\"gtls\" StreamDriverMode=\"1\" StreamDriverAuthMode=\"x509/certvalid\" \
         template=\"protocol\" action.resumeRetryCount=\"-1\" queue.type=\"LinkedList\" queue.size=\"200000\")",
        address.port()
    );
    let rsyslog = Rsyslog::start(rig.path(), &global, &action);
    rsyslog.send((0..COUNT).map(|n| local_message("gnutls", n, 100)));
    let received = || agent.metric("lugger_receive_messages_total");
    let _ = holds_within(DRAIN, || received() == Some(COUNT as f64));
    let said = std::fs::read_to_string(rig.path().join("rsyslog.log")).unwrap();
    assert_eq!(received(), Some(COUNT as f64), "rsyslog says: {said}");
    book.wait_all(COUNT, DRAIN);
    book.lock().verdict(COUNT).assert_perfect(0);
    loki.assert_no_defects();
}
