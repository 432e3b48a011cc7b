//! Where the admin port is: a socket in the file system, or an address, with TLS or without.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::guard::{self, Guard, Peer};
use super::tls;
use super::token::Token;
use crate::config::{Config, Place};
use crate::error::Error;

/// Connections at once: an operator, a scraper, probes.
const CONNECTIONS: usize = 64;
/// Time for a handshake, and for the head of a request, an open connection's wait for the next one included.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause after the system could not give a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// The admin port, open and not yet answering.
pub struct Listener {
    place: Place,
    bound: Bound,
    hosts: Vec<String>,
    token: Option<Token>,
    /// What ends TLS, and whether it asks clients for certificates.
    tls: Option<(TlsAcceptor, bool)>,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Opens the port where there is one. At an address it has a token, which is made where it is missing, or asks for
    /// certificates.
    ///
    /// # Errors
    /// When the address or path is taken, or the token or a certificate cannot be had.
    pub async fn open(config: &Config) -> Result<Option<Self>, Error> {
        let Some(place) = config.admin_place()? else {
            return Ok(None);
        };
        let failed = |source| Error::ListenAdmin {
            place: place.to_string(),
            source,
        };
        let tls = tls::acceptor(&config.admin.tls)?;
        let (bound, token, place) = match &place {
            Place::Tcp(address) => {
                let token = match &tls {
                    Some((_, true)) => None,
                    _ => Some(Token::obtain(&config.admin_token_file())?),
                };
                if tls.is_none() && !address.ip().is_loopback() {
                    tracing::warn!(
                        "the admin port is open to other machines without TLS: whoever reads along has its token; see [admin.tls]"
                    );
                }
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                (Bound::Tcp(listener), token, Place::Tcp(address))
            }
            Place::Unix(path) => (Bound::Unix(bind(path).map_err(failed)?), None, place),
        };
        Ok(Some(Self {
            place,
            bound,
            hosts: config.admin.hosts.clone(),
            token,
            tls,
        }))
    }

    /// Where it is; of a port that was to be a free one, which it became.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// As it is called on the command line.
    pub fn url(&self) -> String {
        match (&self.place, &self.tls) {
            (Place::Tcp(address), None) => format!("http://{address}"),
            (Place::Tcp(address), Some(_)) => format!("https://{address}"),
            (Place::Unix(_), _) => self.place.to_string(),
        }
    }

    /// Answers, as long as the host runs.
    pub async fn serve(self, router: Router) {
        let guard = Arc::new(Guard {
            address: match self.place {
                Place::Tcp(address) => Some(address),
                Place::Unix(_) => None,
            },
            hosts: self.hosts,
            token: self.token,
        });
        let router = router.layer(axum::middleware::from_fn_with_state(guard, guard::check));
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let accepted = match &self.bound {
                Bound::Unix(listener) => own(listener).await.map(Accepted::Unix),
                Bound::Tcp(listener) => {
                    let accepted = listener.accept().await;
                    accepted.map(|(stream, address)| Accepted::Tcp(stream, address))
                }
            };
            match accepted {
                Ok(accepted) => {
                    let tls = self.tls.as_ref().map(|(acceptor, _)| acceptor.clone());
                    tokio::spawn(accepted.answer(tls, router.clone(), permit));
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin port cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

enum Accepted {
    Unix(UnixStream),
    Tcp(TcpStream, SocketAddr),
}

impl Accepted {
    async fn answer(self, tls: Option<TlsAcceptor>, router: Router, _place: OwnedSemaphorePermit) {
        match (self, tls) {
            (Self::Unix(stream), _) => answer(stream, Peer::Socket, router).await,
            (Self::Tcp(stream, peer), None) => {
                answer(stream, Peer::Address(peer.ip()), router).await;
            }
            (Self::Tcp(stream, peer), Some(tls)) => {
                // Who has no certificate that is asked for gets no further than this.
                if let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
                    answer(stream, Peer::Address(peer.ip()), router).await;
                }
            }
        }
    }
}

/// Answers the requests of one connection.
async fn answer<S>(stream: S, peer: Peer, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the admin port ended");
    }
}

/// A connection of this user, or of root. The mode of the socket keeps others away; where a file system does not heed it, this does.
async fn own(listener: &UnixListener) -> io::Result<UnixStream> {
    loop {
        let (stream, _) = listener.accept().await?;
        let peer = stream.peer_cred()?.uid();
        if is_own(peer) {
            return Ok(stream);
        }
        tracing::warn!("another user of this machine reached for the admin port");
    }
}

fn is_own(user: u32) -> bool {
    user == rustix::process::geteuid().as_raw() || user == rustix::process::Uid::ROOT.as_raw()
}

/// A socket for this user alone, in a folder that is made where there is none. One that a host which is gone left there is replaced.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(folder)?;
    }
    if std::os::unix::net::UnixStream::connect(path)
        .is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/admin");
        let first = bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(bind(&path).is_err());
        drop(first);
        assert!(bind(&path).is_ok());
    }

    #[tokio::test]
    async fn the_socket_is_answered_to_its_own_user_and_to_root() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin");
        let listener = bind(&path).unwrap();
        let (_client, accepted) = tokio::join!(UnixStream::connect(&path), own(&listener));
        assert!(accepted.is_ok());
        assert!(is_own(0));
        let own = rustix::process::geteuid().as_raw();
        assert!(!is_own(own.wrapping_add(12_345)));
    }
}
