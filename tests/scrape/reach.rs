//! How targets are reached: TLS, another name in the certificate, proxies.

use super::exposer::{Exposer, Kept, Reply, until};
use super::{Run, job, of, with};
use lugger::source::scrape::Prepared;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use std::sync::Arc;

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

    fn server(&self, name: &str) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let certificate = CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()
    }
}

#[tokio::test]
async fn tls_by_authority_and_by_another_name() {
    let authority = Authority::new();
    let exposer = Exposer::serve(Some(authority.server("127.0.0.1")), |_| Reply::text("a 1\n")).await;
    let mut settings = job("j", &[exposer.address()]);
    settings.scheme = "https".into();
    settings.access.tls.ca_file = Some(authority.ca_file());
    let run = Run::start(vec![settings.clone()]);
    until("a scrape", || run.kept.last(&of("a", &exposer)).is_some()).await;
    // Of an authority that is not trusted.
    settings.access.tls.ca_file = Some(Authority::new().ca_file());
    let other = Authority::new();
    settings.access.tls.ca_file = Some(other.ca_file());
    run.change(vec![settings.clone()]);
    until("it is not trusted", || run.error().contains("certificate")).await;
    settings.access.tls.ca_file = None;
    settings.access.tls.insecure_skip_verify = true;
    run.change(vec![settings.clone()]);
    until("anybody is trusted", || run.error().is_empty()).await;

    let named = Exposer::serve(Some(authority.server("metrics.example.org")), |_| Reply::text("a 3\n")).await;
    settings.groups[0].targets = vec![named.address()];
    settings.access.tls.insecure_skip_verify = false;
    settings.access.tls.ca_file = Some(authority.ca_file());
    settings.access.tls.server_name = Some("metrics.example.org".into());
    run.change(vec![settings.clone()]);
    until("the other name", || run.kept.last(&of("a", &named)) == Some(3.0)).await;
    assert_eq!(named.asked()[0].header("host"), named.address());
    // A file that is not there is told at the start.
    settings.access.tls.ca_file = Some("/nowhere/ca.pem".into());
    let Err(error) = Prepared::new(with(vec![settings], &[&Kept::new()]), None) else { panic!() };
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}

#[tokio::test]
async fn a_proxy_is_asked_for_everything() {
    let proxy = Exposer::start(|asked| match asked.line.as_str() {
        "GET http://target.example:9100/metrics HTTP/1.1" => Reply::text("a 4\n"),
        _ => Reply::status(400),
    })
    .await;
    let mut settings = job("j", &["target.example:9100".into()]);
    settings.access.proxy = Some(format!("http://{}", proxy.addr));
    let run = Run::start(vec![settings]);
    until("the proxy's answer", || run.kept.last("a{instance=\"target.example:9100\",job=\"j\"}") == Some(4.0)).await;
}

#[tokio::test]
async fn what_nobody_serves_is_down() {
    // A port that was free a moment ago.
    let address = Exposer::start(|_| Reply::Hang).await.address();
    let run = Run::start(vec![job("j", &[address.clone(), "nowhere.invalid:1".into()])]);
    let up = |address: &str| format!("up{{instance=\"{address}\",job=\"j\"}}");
    until("both are down", || [&*address, "nowhere.invalid:1"].iter().all(|of| run.kept.last(&up(of)) == Some(0.0)))
        .await;
    until("it is told", || run.metric("lugger_scrape_failures_total{scrape_job=\"j\",reason=\"connect\"}") >= 1.0)
        .await;
}
