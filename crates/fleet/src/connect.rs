//! Connections to other nodes: over TCP or a socket of this machine, kept for the next request for a moment.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tower::Service;

use crate::address::Address;

/// Connections are kept for less than any server waits for the next request.
const IDLE: Duration = Duration::from_secs(1);
/// Connections that are kept to one node.
const KEPT: usize = 32;
/// A node that is cut off is noticed after about three of these, also while its answer is waited for.
const PROBE: Duration = Duration::from_secs(2);
const PROBES: u32 = 2;

/// Asks other nodes.
pub type Connections = Client<Connector, Full<Bytes>>;

/// Asks other nodes, each of which has `patience` to take a connection.
pub fn connections(patience: Duration) -> Connections {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(KEPT)
        // The client's own Host field goes on.
        .set_host(false)
        .build(Connector { patience })
}

/// Connects to the node that a URI names.
#[derive(Debug, Clone)]
pub struct Connector {
    patience: Duration,
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let patience = self.patience;
        Box::pin(async move {
            let connected = tokio::time::timeout(patience, connect(&uri)).await;
            connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        })
    }
}

async fn connect(uri: &Uri) -> io::Result<TokioIo<Stream>> {
    let stream = match Address::of(uri) {
        Some(Address::Tcp(address)) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            sockopt::set_tcp_keepidle(&stream, PROBE)?;
            sockopt::set_tcp_keepintvl(&stream, PROBE)?;
            sockopt::set_tcp_keepcnt(&stream, PROBES)?;
            sockopt::set_socket_keepalive(&stream, true)?;
            let unanswered = PROBE.as_millis().saturating_mul(3);
            let unanswered = u32::try_from(unanswered).unwrap_or(u32::MAX);
            sockopt::set_tcp_user_timeout(&stream, unanswered)?;
            Stream::Tcp(stream)
        }
        Some(Address::Unix(path)) => Stream::Unix(UnixStream::connect(path).await?),
        None => return Err(io::ErrorKind::InvalidInput.into()),
    };
    Ok(TokioIo::new(stream))
}

/// A connection to a node.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a socket of this machine.
    Unix(UnixStream),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
