//! Carries an HTTP service over HTTP/1.1 and HTTP/2, with TLS or without: connections, their bounds, and an orderly end.
//!
//! What is behind it is a function from a request to a response. Nobody holds a connection for longer than [`Bounds`] say: neither who
//! sends slowly, nor who asks for nothing, nor who does not read.

mod connection;
mod drain;
mod error;
mod linger;
mod peers;
pub mod pem;
mod progress;
mod shutdown;
mod sparing;
mod tls;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

pub use drain::Drain;
pub use error::Error;
pub use peers::subscriber;
pub use shutdown::Shutdown;
pub use sparing::Sparing;
pub use tls::Tls;

use peers::Peers;

/// Events that peers decide the number of.
static EVENTS: Sparing = Sparing::new();

/// Pause after the operating system could not give a connection (out of descriptors), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What one peer, and all together, may have of the server.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections at once; further ones wait in the kernel's backlog.
    pub connections: usize,
    /// Connections of one peer.
    pub connections_per_peer: usize,
    /// The longest that the head of a request, a TLS handshake or the first byte may take.
    pub receive: Duration,
    /// The longest that an answer may wait for its reader.
    pub send: Duration,
    /// The longest that a connection may be without a request.
    pub idle: Duration,
    /// The longest that the end waits for requests under way.
    pub drain: Duration,
}

/// A bound listener, not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    /// A socket of this machine, for other nodes of a fleet.
    beside: Option<UnixListener>,
    address: SocketAddr,
    tls: Option<Tls>,
    bounds: Bounds,
}

impl Server {
    /// Binds `address`, with TLS where it is given; port 0 takes a free port.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Tls>,
        bounds: Bounds,
    ) -> Result<Self, Error> {
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self {
            listener,
            beside: None,
            address,
            tls,
            bounds,
        })
    }

    /// Serves at a socket of this machine too, whose peers have no address.
    #[must_use]
    pub fn beside(self, socket: UnixListener) -> Self {
        Self {
            beside: Some(socket),
            ..self
        }
    }

    /// The address in use.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// Serves until `shutdown`, and after it until `lingering` ends: `answer` gets the peer's address with each request. Then lets
    /// requests in progress finish, and after them what they left to be `finished`, within the drain deadline.
    ///
    /// # Errors
    /// [`Error::DrainDeadline`].
    pub async fn serve<A, F>(
        self,
        answer: A,
        shutdown: Shutdown,
        lingering: impl Future<Output = ()>,
        finished: impl Future<Output = ()>,
    ) -> Result<(), Error>
    where
        A: Fn(IpAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let connections = Arc::new(Semaphore::new(self.bounds.connections));
        let peers = Peers::new(self.bounds.connections_per_peer);
        let bounds = Arc::new(self.bounds);
        let protocol = connection::protocol(&bounds);
        let acceptor = self.tls.map(|tls| tls.acceptor);
        let (close, closing) = watch::channel(());
        let mut lingering = std::pin::pin!(lingering);
        let (mut shutdown, mut is_asked, mut asked) = (Some(shutdown), false, Instant::now());
        loop {
            // A permit first: beyond the bound, connections wait in the kernel's backlog.
            let accepted = async {
                let permit = Arc::clone(&connections).acquire_owned().await.ok()?;
                Some((self.listener.accept().await, permit))
            };
            let asking = async {
                if let Some(shutdown) = &mut shutdown {
                    shutdown.requested().await;
                }
            };
            let from_beside = async {
                match &self.beside {
                    Some(beside) => {
                        let permit = Arc::clone(&connections).acquire_owned().await.ok()?;
                        Some((beside.accept().await.ok()?.0, permit))
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = asking, if !is_asked => {
                    (is_asked, asked) = (true, Instant::now());
                    if let Some(shutdown) = shutdown.take() {
                        shutdown.exit_at_next();
                    }
                    tracing::info!(deadline = ?bounds.drain, "draining");
                }
                () = lingering.as_mut(), if is_asked => break,
                Some((stream, permit)) = from_beside => {
                    let answer = answer.clone();
                    let answer = move |request| answer(Ipv4Addr::UNSPECIFIED.into(), request);
                    let (protocol, closing) = (protocol.clone(), closing.clone());
                    let bounds = Arc::clone(&bounds);
                    tokio::spawn(async move {
                        let _counted = permit;
                        connection::serve(protocol, stream, answer, &bounds, closing).await;
                    });
                }
                accepted = accepted => match accepted {
                    Some((Ok((stream, address)), permit)) => {
                                                let Some(counted) = peers.enter(address.ip()) else {
                            if let Some(times) = EVENTS.say("connections_per_peer") {
                                tracing::warn!(times, "a peer has too many connections; the newest was closed");
                            }
                            continue;
                        };
                        set_options(&stream, bounds.receive);
                        let (protocol, answer) = (protocol.clone(), answer.clone());
                        let (bounds, closing) = (Arc::clone(&bounds), closing.clone());
                        let acceptor = acceptor.clone();
                        tokio::spawn(async move {
                            let _counted = (permit, counted);
                            let answer = move |request| answer(address.ip(), request);
                            connection::accept(protocol, (stream, acceptor), answer, &bounds, closing).await;
                        });
                    }
                    Some((Err(error), _)) => {
                        if let Some(times) = EVENTS.say("accept") {
                            tracing::warn!(%error, times, "cannot accept a connection");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    None => break,
                },
            }
        }
        drop((self.listener, self.beside));
        drop(close);
        let all = u32::try_from(bounds.connections).unwrap_or(u32::MAX);
        let drained = async {
            // Nobody closes it.
            let _ = connections.acquire_many(all).await;
            finished.await;
        };
        tokio::select! {
            () = drained => Ok(()),
            () = tokio::time::sleep_until(asked + bounds.drain) => Err(Error::DrainDeadline {
                deadline: bounds.drain,
                remaining: bounds.connections.saturating_sub(connections.available_permits()),
            }),
        }
    }
}

fn set_options(stream: &TcpStream, receive: Duration) {
    // Small answers must not wait for the client's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    // A client that stops reading its answer holds memory: the kernel ends the connection.
    let millis = u32::try_from(receive.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, millis) {
        tracing::debug!(%error, "TCP_USER_TIMEOUT");
    }
}
