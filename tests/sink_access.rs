//! How an endpoint is reached: TLS, credentials, proxies; and that secrets stay secret.

#[path = "support/rig.rs"]
mod rig;
#[path = "support/scripted.rs"]
mod scripted;

use lugger::base::clock::Clock;
use lugger::base::metrics::Registry;
use lugger::base::secret::Secret;
use lugger::base::shutdown;
use lugger::sink::dead_letter::DeadLetters;
use lugger::sink::endpoint;
use lugger::sink::queue::Queue;
use lugger::sink::settings::{Auth, Credential, Endpoint};
use lugger::sink::status::State;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rig::{Rig, numbered, request, settings};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use scripted::{Reply, Scripted, connect_proxy};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An authority with files of what it has issued.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, dir }
    }

    fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Issues a certificate for `name`; gives its file and its key's.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (cert_file, key_file) = (self.dir.path().join("cert.pem"), self.dir.path().join("key.pem"));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }

    /// A server for `name`, which asks for a certificate of this authority when `clients` is set.
    fn server(&self, name: &str, clients: bool) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = builder.unwrap();
        let (cert_file, key_file) = self.issue(name);
        let chain = vec![CertificateDer::from_pem_file(cert_file).unwrap()];
        let key = PrivateKeyDer::from_pem_file(key_file).unwrap();
        if clients {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(self.ca_file()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap()
        } else {
            builder.with_no_client_auth().with_single_cert(chain, key).unwrap()
        }
    }
}

fn https(loki: &Scripted, host: &str) -> String {
    format!("https://{host}:{}/loki/api/v1/push", loki.addr.port())
}

async fn delivers(settings: Endpoint, loki: &Scripted) -> Rig {
    let mut rig = Rig::new(settings);
    rig.push(&request(vec![numbered("{a=\"b\"}", 0..3)]));
    rig.settled().await;
    assert_eq!(loki.seen().stored.len(), 3);
    rig
}

/// The endpoint never stores anything; gives its error.
async fn fails(settings: Endpoint, loki: &Scripted) -> String {
    let mut rig = Rig::new(settings);
    rig.push(&request(vec![numbered("{a=\"b\"}", 0..3)]));
    rig.until(|rig| rig.handle.status().retries >= 2).await;
    assert_eq!(loki.seen().pushes.len(), 0);
    assert_eq!(rig.handle.status().state, State::Retrying);
    rig.handle.status().error.unwrap()
}

fn start_error(settings: Endpoint) -> String {
    let registry = Registry::default();
    let letters = DeadLetters::new(Path::new("/nonexistent"), &registry, Clock::System);
    let (_trigger, shutdown) = shutdown::channel();
    endpoint::start(settings, Queue::default(), letters, &registry, shutdown, Duration::ZERO).err().unwrap().to_string()
}

#[tokio::test]
async fn the_named_authority_is_trusted_and_no_other() {
    let authority = Authority::new();
    let loki = Scripted::start_tls(authority.server("localhost", false), |_| Reply::Store).await;
    let mut right = settings(&https(&loki, "localhost"));
    right.tls.ca_file = Some(authority.ca_file());
    let mut wrong = right.clone();
    let other = Authority::new();
    wrong.tls.ca_file = Some(other.ca_file());
    let error = fails(wrong, &loki).await;
    assert!(error.contains("invalid peer certificate") && error.contains("check tls_config"), "{error}");
    delivers(right, &loki).await;
    assert_eq!(loki.seen().pushes[0].header("host"), format!("localhost:{}", loki.addr.port()));
}

#[tokio::test]
async fn another_name_in_the_certificate_needs_server_name() {
    let authority = Authority::new();
    let mut config = authority.server("loki.lab.internal", false);
    // Answers only to its own name, so that SNI is tested too.
    config.cert_resolver = {
        let mut by_name = rustls::server::ResolvesServerCertUsingSni::new();
        let key = PrivateKeyDer::from_pem_file(authority.dir.path().join("key.pem")).unwrap();
        let chain = vec![CertificateDer::from_pem_file(authority.dir.path().join("cert.pem")).unwrap()];
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        by_name.add("loki.lab.internal", rustls::sign::CertifiedKey::new(chain, key)).unwrap();
        Arc::new(by_name)
    };
    let loki = Scripted::start_tls(config, |_| Reply::Store).await;
    let mut settings = settings(&https(&loki, "127.0.0.1"));
    settings.tls.ca_file = Some(authority.ca_file());
    fails(settings.clone(), &loki).await;
    settings.tls.server_name = Some("loki.lab.internal".into());
    delivers(settings.clone(), &loki).await;
    assert_eq!(loki.seen().pushes[0].header("host"), format!("127.0.0.1:{}", loki.addr.port()));
    settings.proxy = Some("http://127.0.0.1:1".into());
    assert!(start_error(settings).contains("server_name does not work through a proxy"));
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let authority = Authority::new();
    let loki = Scripted::start_tls(authority.server("localhost", true), |_| Reply::Store).await;
    let mut settings = settings(&https(&loki, "localhost"));
    settings.tls.ca_file = Some(authority.ca_file());
    fails(settings.clone(), &loki).await;
    let (cert_file, key_file) = authority.issue("agent");
    settings.tls.cert_file = Some(cert_file);
    assert!(start_error(settings.clone()).contains("key_file is missing"));
    settings.tls.key_file = Some(key_file);
    delivers(settings, &loki).await;
}

#[tokio::test]
async fn insecure_takes_any_certificate() {
    let loki = Scripted::start_tls(Authority::new().server("somebody.else", false), |_| Reply::Store).await;
    let mut settings = settings(&https(&loki, "127.0.0.1"));
    settings.tls.insecure_skip_verify = true;
    delivers(settings, &loki).await;
}

#[tokio::test]
async fn what_cannot_work_is_said_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let plain = settings("https://localhost:1/loki/api/v1/push");
    let error = |change: &dyn Fn(&mut Endpoint)| {
        let mut settings = plain.clone();
        change(&mut settings);
        start_error(settings)
    };
    let missing = dir.path().join("missing.pem");
    assert!(error(&|s| s.tls.ca_file = Some(missing.clone())).contains("missing.pem"));
    assert!(error(&|s| s.tls.ca_file = Some(empty.clone())).contains("no valid certificate"));
    assert!(error(&|s| s.auth = Auth::Bearer(Credential::File(missing.clone()))).contains("missing.pem"));
    assert!(error(&|s| s.url = "nonsense".into()).contains("not a URL"));
    assert!(error(&|s| s.headers = vec![("a b".into(), Secret::new("x"))]).contains("header \"a b\""));
    let bad_header = error(&|s| s.headers = vec![("X-Key".into(), Secret::new("hush\n"))]);
    assert!(bad_header.contains("X-Key") && !bad_header.contains("hush"));
    assert!(error(&|s| s.proxy = Some("::".into())).contains("proxy"));
    let name = |name: &'static str| {
        error(&move |s| {
            s.tls.insecure_skip_verify = true;
            s.tls.server_name = Some(name.into());
        })
    };
    assert!(name("10.0.0.1").contains("not a host name"));
    let unused = error(&|s| {
        s.url = "http://localhost:1/".into();
        s.tls.insecure_skip_verify = true;
    });
    assert!(unused.contains("neither url nor proxy is https"), "{unused}");
}

/// Runs itself in a process that finds no authorities, since the environment cannot be changed in this one.
#[tokio::test]
async fn a_host_without_authorities_is_told_for_https_only() {
    const NAME: &str = "a_host_without_authorities_is_told_for_https_only";
    if std::env::var_os("LUGGER_TEST_WITHOUT_AUTHORITIES").is_some() {
        println!("error: {}", start_error(settings("https://localhost:1/loki/api/v1/push")));
        let loki = Scripted::start(|_| Reply::Store).await;
        delivers(settings(&loki.url()), &loki).await;
        println!("http works");
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env("LUGGER_TEST_WITHOUT_AUTHORITIES", "1")
        .env("SSL_CERT_FILE", "/nonexistent/ca.pem")
        .env("SSL_CERT_DIR", "/nonexistent")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("endpoint home: ") && text.contains("install the package ca-certificates"), "{text}");
    assert!(text.contains("http works"), "{text}");
}

#[tokio::test]
async fn a_replaced_credentials_file_is_read_after_a_401() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "old-token\n").unwrap();
    let loki = Scripted::start(|push| {
        if push.header("authorization") == "Bearer new-token" { Reply::Store } else { Reply::status(401, "") }
    })
    .await;
    let mut settings = settings(&loki.url());
    settings.auth = Auth::Bearer(Credential::File(file.clone()));
    let mut rig = Rig::new(settings);
    rig.push(&request(vec![numbered("{a=\"b\"}", 0..3)]));
    rig.until_state(State::Degraded).await;
    std::fs::remove_file(&file).unwrap();
    rig.until(|rig| rig.handle.status().error.is_some_and(|e| e.contains("cannot read the credentials file"))).await;
    std::fs::write(&file, "new-token\n").unwrap();
    rig.settled().await;
    assert_eq!(loki.seen().stored.len(), 3);
}

#[tokio::test]
async fn a_proxy_is_used_for_http_and_https() {
    // Towards an http:// endpoint the proxy gets the whole URL.
    let loki = Scripted::start(|_| Reply::Store).await;
    let mut plain = settings("http://loki.invalid:3100/loki/api/v1/push");
    plain.proxy = Some(format!("http://user:proxypass@{}", loki.addr));
    delivers(plain, &loki).await;
    assert_eq!(loki.seen().pushes[0].uri, "http://loki.invalid:3100/loki/api/v1/push");
    assert_eq!(loki.seen().pushes[0].header("proxy-authorization"), "Basic dXNlcjpwcm94eXBhc3M=");

    let authority = Authority::new();
    let loki = Scripted::start_tls(authority.server("localhost", false), |_| Reply::Store).await;
    let (proxy, asked) = connect_proxy().await;
    let mut tunnelled = settings(&https(&loki, "localhost"));
    tunnelled.tls.ca_file = Some(authority.ca_file());
    tunnelled.proxy = Some(format!("http://{proxy}"));
    delivers(tunnelled, &loki).await;
    let asked = asked.lock().unwrap();
    assert!(asked[0].starts_with(&format!("CONNECT localhost:{} ", loki.addr.port())), "{asked:?}");
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn secrets_are_in_no_log_status_or_dead_letter_and_a_failure_is_logged_once() {
    let captured = Captured::default();
    let log = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // With one subscriber alone, whoever meets a message first asks its own thread's whether it is wanted: another test, that has none. With two
    // all are asked; and what was met before is asked again.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    tracing::callsite::rebuild_interest_cache();

    // Echoes what it was sent, as a debugging proxy might.
    let mut turn = 0;
    let loki = Scripted::start(move |push| {
        turn += 1;
        let echo = format!("you sent {} and {}", push.header("authorization"), push.header("x-key"));
        match turn {
            1..=5 => Reply::status(500, &echo),
            6..=8 => Reply::status(401, &echo),
            9 => Reply::Close,
            10 => Reply::status(400, &format!("Max entry size '5' bytes exceeded for stream '{{a=\"b\"}}' {echo}")),
            _ => Reply::Store,
        }
    })
    .await;
    let mut settings = settings(&format!("{}?key=in-the-query", loki.url()));
    settings.headers = vec![("X-Key".into(), Secret::new("header-secret"))];
    let password = Credential::Inline(Secret::new("open sesame"));
    settings.auth = Auth::Basic { username: "Aladdin".into(), password };
    let mut rig = Rig::new(settings);
    let mut seen = String::new();
    rig.push(&request(vec![numbered("{a=\"b\"}", 0..3)]));
    rig.until(|rig| {
        seen_status(&rig.handle.status().error);
        rig.handle.status().refused > 0
    })
    .await;
    rig.settled().await;
    seen += &String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    seen += &format!("{:?} {:?}", rig.letters(), rig.handle.status());
    assert_eq!(rig.dead().len(), 3);
    assert!(seen.contains("<secret>"), "{seen}");
    for secret in ["header-secret", "open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "in-the-query"] {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
    let own = |text: &str| seen.lines().filter(|line| line.contains(text)).count();
    // Once when it begins, once more when it becomes a case for a person, once when it is over.
    assert_eq!(own("the endpoint does not store what it is sent"), 2, "{seen}");
    assert_eq!(own("the endpoint works again"), 1, "{seen}");
}

fn seen_status(error: &Option<String>) {
    let text = error.clone().unwrap_or_default();
    assert!(!text.contains("header-secret") && !text.contains("sesame") && !text.contains("QWxh"), "{text}");
}
