//! A connection to one of several addresses, over TLS where the origin asks for it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::error::{Error, of_connection};
use crate::origin::Origin;
use crate::share::{Share, Taken};

/// Time after which the next address is tried beside those before it (RFC 8305 §5).
const NEXT_ATTEMPT: Duration = Duration::from_millis(250);

/// TCP, or TLS over it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects to the first of `addresses` that answers. Nothing is resolved here. The first attempt has `taken`; those beside it take
/// of the `share`, and where that has no more they come one after the other.
///
/// # Errors
/// That of the last attempt that failed, when all did.
pub(crate) async fn connect(
    addresses: Vec<SocketAddr>,
    taken: Taken,
    share: &Share,
) -> Result<(TcpStream, Taken), Error> {
    let mut waiting = addresses.into_iter();
    let mut free = Some(taken);
    // Attempts that are under way when one succeeds end with the set.
    let mut attempts = JoinSet::new();
    let mut failure = Error::DestinationUnavailable;
    loop {
        if waiting.len() > 0
            && let Some(taken) = free.take().or_else(|| share.connection().ok())
            && let Some(address) = waiting.next()
        {
            attempts.spawn(async move { (TcpStream::connect(address).await, taken) });
        }
        tokio::select! {
            attempt = attempts.join_next() => match attempt {
                Some(Ok((Ok(stream), taken))) => {
                    // A request is written in few pieces, each of which is worth a packet. Without it, it is only slower.
                    let _ = stream.set_nodelay(true);
                    return Ok((stream, taken));
                }
                Some(Ok((Err(error), taken))) => {
                    failure = of_attempt(error.kind());
                    free = Some(taken);
                }
                Some(Err(_)) => failure = Error::InternalError(None),
                None => return Err(failure),
            },
            () = tokio::time::sleep(NEXT_ATTEMPT), if waiting.len() > 0 => {}
        }
    }
}

fn of_attempt(kind: ErrorKind) -> Error {
    match kind {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Error::ConnectionRefused,
        ErrorKind::TimedOut => Error::ConnectionTimeout,
        _ => Error::DestinationUnavailable,
    }
}

/// What makes TLS connections: TLS 1.2 and 1.3, HTTP/1.1 alone.
///
/// # Errors
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

/// What a request goes over: for `https` TLS, whose certificate must be valid for the origin's host, name or address.
pub(crate) async fn secured(
    tls: &TlsConnector,
    origin: &Origin,
    stream: TcpStream,
) -> Result<Box<dyn Stream>, Error> {
    if !origin.is_tls() {
        return Ok(Box::new(stream));
    }
    match tls.connect(origin.name().clone(), stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(Error::ConnectionTerminated),
        Err(error) => Err(of_connection(&error)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::share::Bounds;

    async fn connect(addresses: Vec<SocketAddr>) -> Result<TcpStream, Error> {
        connect_within(2, addresses).await
    }

    async fn connect_within(most: usize, addresses: Vec<SocketAddr>) -> Result<TcpStream, Error> {
        let share = Share::new(Bounds {
            connections: most,
            lookups: 1,
        });
        let taken = share.connection()?;
        let (stream, _) = super::connect(addresses, taken, &share).await?;
        Ok(stream)
    }

    async fn closed() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_followed_by_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let stream = connect(vec![closed().await, closed().await, open])
            .await
            .unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
    }

    #[tokio::test]
    async fn when_all_refuse_the_connection_is_refused() {
        let addresses = vec![closed().await, closed().await];
        assert!(matches!(
            connect(addresses).await,
            Err(Error::ConnectionRefused)
        ));
    }

    #[tokio::test]
    async fn without_an_address_the_destination_is_unavailable() {
        assert!(matches!(
            connect(vec![]).await,
            Err(Error::DestinationUnavailable)
        ));
    }

    #[tokio::test]
    async fn a_share_of_one_tries_all_addresses_one_after_the_other() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let addresses = vec![closed().await, closed().await, open];
        let stream = connect_within(1, addresses).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
    }
}
