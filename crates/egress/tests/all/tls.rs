//! TLS with an authority of the test's own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::net::SocketAddr;
use std::sync::Arc;

use crate::support::{Failure, Names, Sent, listen, loopback, refused};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hypervisor_egress::{Error, Sender, Timeouts};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// An authority, and what trusts it.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// The server's side of TLS, with a certificate for `name` as `change` makes it.
    fn acceptor(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let private = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private.into())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// A server with a certificate for `name`, which answers with the name of the protocol that was agreed on.
    async fn server(&self, name: &str) -> SocketAddr {
        serve(self.acceptor(name, |_| {})).await
    }

    async fn send(&self, server: SocketAddr, host: &str) -> Sent {
        let names = Names::default()
            .with("server.test", &["127.0.0.1"])
            .with("other.test", &["127.0.0.1"]);
        let sender = Sender::with_roots(loopback(), Arc::new(names), self.roots()).unwrap();
        let request = Request::get(format!("https://{host}:{}/", server.port()))
            .body(Empty::<Bytes>::new())
            .unwrap();
        sender.send(request, Timeouts::default()).await
    }
}

async fn serve(acceptor: TlsAcceptor) -> SocketAddr {
    listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Some(mut stream) = accept(&acceptor, stream).await {
                let agreed = stream
                    .get_ref()
                    .1
                    .alpn_protocol()
                    .unwrap_or_default()
                    .to_vec();
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                stream.write_all(&agreed).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
    })
    .await
}

/// Shakes hands and reads a request; none of a client that turned away.
async fn accept(acceptor: &TlsAcceptor, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let mut stream = acceptor.accept(stream).await.ok()?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    Some(stream)
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_for_the_name_is_accepted() {
    let authority = Authority::new();
    let server = authority.server("server.test").await;
    let (response, connection) = authority.send(server, "server.test").await.unwrap();
    tokio::spawn(connection);
    let body = response.into_body().collect().await.unwrap();
    // HTTP/2 was offered by the server and not taken.
    assert_eq!(body.to_bytes(), "http/1.1");
}

#[tokio::test]
async fn a_certificate_for_an_address_is_accepted_for_that_address() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1").await;
    assert!(authority.send(server, "127.0.0.1").await.is_ok());
    assert_eq!(
        refused(authority.send(server, "server.test").await),
        Error::TlsCertificateError
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let server = authority.server("server.test").await;
    assert_eq!(
        refused(authority.send(server, "other.test").await),
        Error::TlsCertificateError
    );
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let server = Authority::new().server("server.test").await;
    assert_eq!(
        refused(Authority::new().send(server, "server.test").await),
        Error::TlsCertificateError
    );
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("server.test", |params| {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let server = serve(acceptor).await;
    assert_eq!(
        refused(authority.send(server, "server.test").await),
        Error::TlsCertificateError
    );
}

#[tokio::test]
async fn mozillas_roots_do_not_trust_an_authority_of_ones_own() {
    let server = Authority::new().server("server.test").await;
    let names = Names::default().with("server.test", &["127.0.0.1"]);
    let sender = Sender::new(loopback(), Arc::new(names)).unwrap();
    let request = Request::get(format!("https://server.test:{}/", server.port()))
        .body(Empty::<Bytes>::new())
        .unwrap();
    assert_eq!(
        refused(sender.send(request, Timeouts::default()).await),
        Error::TlsCertificateError
    );
}

#[tokio::test]
async fn a_server_that_speaks_http_without_tls_is_a_protocol_error() {
    let server = listen(|mut stream| async move {
        let _ = stream.read_u8().await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    assert_eq!(
        refused(Authority::new().send(server, "server.test").await),
        Error::TlsProtocolError
    );
}

#[tokio::test]
async fn a_server_that_closes_instead_of_a_handshake_terminates_the_connection() {
    let server = listen(|mut stream| async move {
        // All of the client's first message is read, so that closing is no reset.
        let _ = stream.read(&mut [0; 16 * 1024]).await;
    })
    .await;
    assert_eq!(
        refused(Authority::new().send(server, "server.test").await),
        Error::ConnectionTerminated
    );
}

#[tokio::test]
async fn an_alert_of_the_server_is_named() {
    let server = listen(|mut stream| async move {
        let _ = stream.read(&mut [0; 16 * 1024]).await;
        // Fatal, handshake_failure (RFC 8446 §6).
        let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).await;
    })
    .await;
    assert_eq!(
        refused(Authority::new().send(server, "server.test").await),
        Error::TlsAlertReceived {
            alert_id: Some(40),
            alert_message: None
        }
    );
}

#[tokio::test]
async fn a_body_without_length_is_incomplete_when_tls_is_cut_off() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("server.test", |_| {});
    let server = listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = accept(&acceptor, stream).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf")
                .await
                .unwrap();
            stream.flush().await.unwrap();
            // Closed without close_notify: anybody on the way could have done it.
            drop(stream);
        }
    })
    .await;
    let (response, connection) = authority.send(server, "server.test").await.unwrap();
    tokio::spawn(connection);
    assert_eq!(
        Failure(response.into_body().collect().await.unwrap_err()),
        Error::HttpResponseIncomplete
    );
}
