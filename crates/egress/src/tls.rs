//! TLS to the destination.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Error, inner};
use crate::origin::Origin;

/// Mozilla's root certificates.
pub(crate) fn mozilla() -> RootCertStore {
    RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.into(),
    }
}

/// What makes TLS connections: TLS 1.2 and 1.3, HTTP/1.1 alone.
///
/// # Errors
///
/// [`Error::ConfigurationError`] when the provider offers no version of TLS.
pub(crate) fn connector(roots: RootCertStore) -> Result<TlsConnector, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| Error::ConfigurationError)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session that is resumed tells the destination that two components run on the same host.
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The handshake: the certificate must be valid for the origin's host, name or address.
///
/// # Errors
///
/// [`Error::TlsCertificateError`], [`Error::TlsAlertReceived`], [`Error::TlsProtocolError`], or what the connection failed with.
pub(crate) async fn handshake(
    connector: &TlsConnector,
    origin: &Origin,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Error> {
    let name = match origin.ip() {
        Some(address) => ServerName::from(address),
        None => ServerName::try_from(origin.host().to_owned())
            .map_err(|_| Error::HttpRequestUriInvalid)?,
    };
    connector
        .connect(name, stream)
        .await
        .map_err(|error| match inner::<rustls::Error>(&error) {
            Some(tls) => Error::of_tls(tls),
            None if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Error::ConnectionTerminated
            }
            None => Error::of_connection(&error),
        })
}
