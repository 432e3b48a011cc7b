//! TLS that ends in the host, and the key that its evidence names.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::sync::Arc;

use hypervisor_client::Client;
use hypervisor_tests::Host;
use hypervisor_verify::{CheckId, Status, Verdict};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::attestation::{policy, simulated};

/// Of `host.certificate.pem`.
const KEY: &str = "d85328a2a978819a4dd5c5c96dbfdd102c3ed0074149dcb88b7cc9fcd4d49b0a";

/// One of the certificates in `tests/vectors/tls`, which nobody signed, or its key.
fn file(name: &str, what: &str) -> String {
    format!(
        "{}/vectors/tls/{name}.{what}.pem",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// `[tls]` with one of them.
pub(crate) fn section(name: &str) -> String {
    let (certificate, key) = (file(name, "certificate"), file(name, "key"));
    format!("[tls]\ncertificate = '{certificate}'\nkey = '{key}'\n")
}

/// The version of HTTP that a host speaks under TLS.
pub(crate) async fn version(host: &Host) -> reqwest::Version {
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
    let answer = http.build().unwrap().get(format!("{}/ping", host.url()));
    answer.send().await.unwrap().version()
}

fn key_check(verdict: &Verdict) -> Status {
    verdict.check(CheckId::TlsKey).unwrap().status
}

#[tokio::test]
async fn a_certificate_that_nobody_signed_is_accepted_when_evidence_names_its_key() {
    let host = simulated("one", &section("host"));
    let client = host.client();
    let refused = client.ping().await.unwrap_err().to_string();
    assert!(refused.contains("https://"), "{refused}");
    let (session, verdict) = client.open_attested_session(&policy("one")).await.unwrap();
    assert!(verdict.passed());
    drop(session);
    client.ping().await.unwrap();
    let (evidence, verdict) = client.verify_host(&policy("one")).await.unwrap();
    assert_eq!(key_check(&verdict), Status::Pass, "{verdict}");
    let named = verdict.binding().unwrap().tls_key;
    assert_eq!(named.map(const_hex::encode).as_deref(), Some(KEY));
    assert_eq!(evidence.statement, None);
    // Each client makes sure for itself, and evidence that does not pass makes sure of nothing.
    let other = host.client();
    assert!(!other.verify_host(&policy("two")).await.unwrap().1.passed());
    assert!(other.open_attested_session(&policy("two")).await.is_err());
    assert!(other.ping().await.is_err());
}

#[test]
fn a_key_of_another_certificate_stops_the_start() {
    let folder = tempfile::TempDir::new().unwrap();
    let config = folder.path().join("hypervisor.toml");
    let mixed = section("host").replace("host.key", "other.key");
    std::fs::write(&config, mixed).unwrap();
    let mut host = std::process::Command::new(hypervisor_tests::host::binary("hypervisor"));
    host.current_dir(folder.path())
        .args(["--listening", "127.0.0.1:0", "--config"]);
    let output = host.arg(&config).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`tls.key`"), "{said}");
}

/// Ends TLS before a host, with another certificate, and passes on what is asked. Gives its address.
async fn relay(host: &Host) -> String {
    let chain = CertificateDer::pem_file_iter(file("other", "certificate")).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(file("other", "key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key);
    let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
    let (http, to) = (http.build().unwrap(), host.url().to_owned());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else {
                    break;
                };
                head.push(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let Some(path) = head.split(' ').nth(1) else {
                continue;
            };
            let answer = http.get(format!("{to}{path}")).send().await.unwrap();
            let body = answer.bytes().await.unwrap();
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    url
}

#[tokio::test]
async fn a_relay_that_shows_a_genuine_hosts_evidence_on_its_own_connection_is_found_out() {
    let host = simulated("one", &section("host"));
    let client = Client::new(&relay(&host).await).unwrap();
    let (_, verdict) = client.verify_host(&policy("one")).await.unwrap();
    let failed: Vec<CheckId> = verdict.failures().map(|check| check.id).collect();
    assert_eq!(failed, [CheckId::TlsKey], "{verdict}");
    assert!(client.open_attested_session(&policy("one")).await.is_err());
    assert!(client.ping().await.is_err());
}
