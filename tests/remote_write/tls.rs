//! TLS: an authority of one's own, and a client certificate that the endpoint asks for.

use crate::rig::{Rig, Write, numbered, numbered_points, settings};
use crate::scripted::{Reply, Scripted};
use lugger::sink::remote_write::settings::Endpoint;
use lugger::sink::status::State;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key, PEM.
fn issued(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// An endpoint that shows a certificate of one authority, and wants one of another.
async fn receiver(own: &Authority, of_clients: &Authority) -> Scripted<Write> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(der(&of_clients.pem())).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let (certificate, key) = issued(own, "127.0.0.1");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![der(&certificate)], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Scripted::listen(listener, Some(TlsAcceptor::from(Arc::new(config))), |_| Reply::Store)
}

fn written(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn both_sides_show_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let (own, of_clients, stranger) = (authority(), authority(), authority());
    let receiver = receiver(&own, &of_clients).await;
    let with = |authority: &Authority, client: Option<&Authority>, name: &str| -> Endpoint {
        let mut settings = settings(&format!("https://{}/api/v1/write", receiver.addr));
        settings.tls.ca_file = Some(written(directory.path(), &format!("{name}-ca.pem"), &authority.pem()));
        if let Some(client) = client {
            let (certificate, key) = issued(client, "agent");
            settings.tls.cert_file = Some(written(directory.path(), &format!("{name}.pem"), &certificate));
            settings.tls.key_file = Some(written(directory.path(), &format!("{name}.key"), &key));
        }
        settings
    };
    // An endpoint of somebody else, no certificate, one of the wrong authority: nothing arrives, all of it waits.
    let rig = Rig::new(with(&stranger, Some(&of_clients), "somebody"));
    rig.write(&numbered_points(0..10));
    rig.until("its certificate is not trusted", |rig| {
        rig.handle.status().error.is_some_and(|error| error.contains("certificate"))
    })
    .await;
    for (client, name) in [(None, "nobody"), (Some(&stranger), "stranger")] {
        let before = rig.handle.status().retries;
        rig.reconfigure(with(&own, client, name));
        rig.until("it is not let in", |rig| rig.handle.status().retries > before + 2).await;
        assert_ne!(rig.handle.status().state, State::Ok);
    }
    assert_eq!(receiver.seen().stored, []);
    rig.reconfigure(with(&own, Some(&of_clients), "agent"));
    rig.settled(10).await;
    assert_eq!(receiver.seen().stored, numbered(0..10));
    assert_eq!((rig.handle.status().state, rig.all_dropped()), (State::Ok, 0));
    // Without a key there is no certificate.
    let mut half = with(&own, Some(&of_clients), "half");
    half.tls.key_file = None;
    assert!(lugger::sink::remote_write::endpoint::Prepared::new(half).is_err());
}
