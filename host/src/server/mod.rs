//! Carries the API over HTTP/1.1 and HTTP/2: connections, their bounds, and an orderly end.

mod shutdown;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub use shutdown::Shutdown;

use crate::account::Peer;
use crate::config::Limits;
use crate::error::Error;

/// Pause after the operating system could not give a connection (out of descriptors), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound listener, not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    limits: Limits,
}

impl Server {
    /// Binds `address`; port 0 takes a free port.
    pub async fn bind(address: SocketAddr, limits: &Limits) -> Result<Self, Error> {
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self {
            listener,
            address,
            limits: limits.clone(),
        })
    }

    /// The address in use.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then lets requests in progress finish within the drain deadline.
    pub async fn serve<A, F>(self, answer: A, mut shutdown: Shutdown) -> Result<(), Error>
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let connections = Arc::new(Semaphore::new(self.limits.connections));
        let graceful = GracefulShutdown::new();
        let (close, closing) = watch::channel(());
        let serving = Connections {
            protocol: protocol(&self.limits),
            answer,
            receive: self.limits.receive,
            closing,
        };
        loop {
            // A permit first: beyond the bound, connections wait in the kernel's backlog.
            let accepted = async {
                let permit = Arc::clone(&connections).acquire_owned().await.ok()?;
                Some((self.listener.accept().await, permit))
            };
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                accepted = accepted => match accepted {
                    Some((Ok((stream, address)), permit)) => {
                        let peer = Peer::at(address.ip());
                        serving.spawn(stream, peer, graceful.watcher(), permit);
                    }
                    Some((Err(error), _)) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    None => break,
                },
            }
        }
        drop(self.listener);
        drop(close);
        shutdown.exit_at_next();
        tracing::info!(deadline = ?self.limits.drain, "draining");
        let open = || {
            self.limits
                .connections
                .saturating_sub(connections.available_permits())
        };
        tokio::select! {
            () = graceful.shutdown() => Ok(()),
            () = tokio::time::sleep(self.limits.drain) => Err(Error::DrainDeadline { deadline: self.limits.drain, remaining: open() }),
        }
    }
}

fn protocol(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.receive);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.receive);
    builder
}

/// What every connection needs.
struct Connections<A> {
    protocol: auto::Builder<TokioExecutor>,
    answer: A,
    receive: Duration,
    closing: watch::Receiver<()>,
}

impl<A, F> Connections<A>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    fn spawn(&self, stream: TcpStream, peer: Peer, watcher: Watcher, permit: OwnedSemaphorePermit) {
        set_options(&stream, self.receive);
        let answer = self.answer.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let answering = answer(request);
            async { Ok::<_, Infallible>(answering.await) }
        });
        let (protocol, receive) = (self.protocol.clone(), self.receive);
        let mut closing = self.closing.clone();
        tokio::spawn(async move {
            let _permit = permit;
            // The protocol's own clock starts with the first byte; a connection that never sends one ends here.
            let mut byte = [0];
            tokio::select! {
                first = tokio::time::timeout(receive, stream.peek(&mut byte)) => match first {
                    Ok(Ok(1..)) => (),
                    _ => return,
                },
                _ = closing.changed() => return,
            }
            let connection = protocol
                .serve_connection(TokioIo::new(stream), service)
                .into_owned();
            // A client that goes away ends its connection with an error; dropping the request's future stops its guest.
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(error = %error, "connection ended");
            }
        });
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
