//! Carries the API over HTTP/1.1 and HTTP/2: connections, their bounds, and an orderly end.

mod connection;
mod linger;
mod peers;
mod progress;
mod shutdown;
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

pub use shutdown::Shutdown;
pub use tls::Tls;

use crate::account::Peer;
use crate::config::Limits;
use crate::error::Error;
use crate::telemetry::Sparing;
use peers::Peers;

/// Events that peers decide the number of.
static EVENTS: Sparing = Sparing::new();

/// Pause after the operating system could not give a connection (out of descriptors), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound listener, not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    /// A socket of this machine, for other nodes of a fleet.
    beside: Option<UnixListener>,
    address: SocketAddr,
    tls: Option<Tls>,
    limits: Limits,
    connections: usize,
}

impl Server {
    /// Binds `address`, with TLS where it is given; port 0 takes a free port. `descriptors` is how many connections the process has room for, where that is
    /// less than the limit.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Tls>,
        limits: &Limits,
        descriptors: usize,
    ) -> Result<Self, Error> {
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self {
            listener,
            beside: None,
            address,
            tls,
            limits: limits.clone(),
            connections: limits.connections.min(descriptors),
        })
    }

    /// The same, and on a socket of this machine.
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
        let connections = Arc::new(Semaphore::new(self.connections));
        let peers = Peers::new(self.limits.connections_per_peer);
        let limits = Arc::new(self.limits);
        let protocol = connection::protocol(&limits);
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
                    tracing::info!(deadline = ?limits.drain, "draining");
                }
                () = lingering.as_mut(), if is_asked => break,
                Some((stream, permit)) = from_beside => {
                    let answer = answer.clone();
                    let answer = move |request| answer(Ipv4Addr::UNSPECIFIED.into(), request);
                    let (protocol, closing) = (protocol.clone(), closing.clone());
                    let limits = Arc::clone(&limits);
                    tokio::spawn(async move {
                        let _counted = permit;
                        connection::serve(protocol, stream, answer, &limits, closing).await;
                    });
                }
                accepted = accepted => match accepted {
                    Some((Ok((stream, address)), permit)) => {
                        let peer = Peer::at(address.ip());
                        let Some(counted) = peers.enter(peer) else {
                            if let Some(times) = EVENTS.say("connections_per_peer") {
                                tracing::warn!(times, "a peer has too many connections; the newest was closed");
                            }
                            continue;
                        };
                        set_options(&stream, limits.receive);
                        let (protocol, answer) = (protocol.clone(), answer.clone());
                        let (limits, closing) = (Arc::clone(&limits), closing.clone());
                        let acceptor = acceptor.clone();
                        tokio::spawn(async move {
                            let _counted = (permit, counted);
                            let answer = move |request| answer(address.ip(), request);
                            connection::accept(protocol, (stream, acceptor), answer, &limits, closing).await;
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
        let all = u32::try_from(self.connections).unwrap_or(u32::MAX);
        let drained = async {
            // Nobody closes it.
            let _ = connections.acquire_many(all).await;
            finished.await;
        };
        tokio::select! {
            () = drained => Ok(()),
            () = tokio::time::sleep_until(asked + limits.drain) => Err(Error::DrainDeadline {
                deadline: limits.drain,
                remaining: self.connections.saturating_sub(connections.available_permits()),
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
