//! One connection: its protocol's bounds, and its end when nothing is asked of it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::Bounds;
use crate::linger::Lingering;
use crate::progress::{Progress, watched};

/// Requests of one connection of HTTP/2 at once.
const STREAMS: u32 = 32;
/// Fields of a head together, decompressed, bytes.
const HEAD: u32 = 32 << 10;
/// Streams that a peer reset and that are not forgotten yet; beyond it the connection ends.
const RESETS: usize = 32;
/// Bytes of one answer that wait in the transport.
const SEND_BUFFER: usize = 64 << 10;
/// Head and pipelined requests of HTTP/1, bytes.
const READ_BUFFER: usize = 128 << 10;
/// Time to answer a ping of HTTP/2.
const PING: Duration = Duration::from_secs(20);

pub(crate) fn protocol(bounds: &Bounds) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams(bounds.send));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.receive)
        .max_buf_size(READ_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(bounds.receive)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .max_send_buf_size(SEND_BUFFER);
    builder
}

/// Starts what answers a stream of HTTP/2, and ends it when its reader does not read: dropping it resets the stream.
#[derive(Debug, Clone)]
pub(crate) struct Streams(Duration);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let progress = Progress::new(self.0);
        tokio::spawn(async move { progress.run(stream).await.is_some() });
    }
}

/// Requests that are being answered on one connection.
#[derive(Debug, Default)]
struct Activity {
    active: AtomicUsize,
    /// Whether one ended since the last look.
    ended: AtomicBool,
}

impl Activity {
    fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(Arc::clone(self))
    }

    fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire) > 0
    }

    /// Whether there is one, or was one since the last time that somebody asked.
    fn was_active(&self) -> bool {
        self.is_active() | self.ended.swap(false, Ordering::Relaxed)
    }
}

/// A request that is being answered, until the answer is sent.
struct Active(Arc<Activity>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
        self.0.active.fetch_sub(1, Ordering::Release);
    }
}

/// What ended a connection, where it was not its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nothing was asked of it; it has until then to close.
    Idle(Instant),
    /// The host shuts down.
    Closing,
}

/// Serves a connection to its end, in TLS where there is an acceptor: its handshake may take as long as the head of a request.
pub(crate) async fn accept<A, F>(
    protocol: auto::Builder<Streams>,
    (stream, tls): (TcpStream, Option<TlsAcceptor>),
    answer: A,
    bounds: &Bounds,
    mut closing: watch::Receiver<()>,
) where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    // The protocol's own clock starts with the first byte; a connection that never sends one ends here.
    let mut byte = [0];
    tokio::select! {
        first = tokio::time::timeout(bounds.receive, stream.peek(&mut byte)) => match first {
            Ok(Ok(1..)) => (),
            _ => return,
        },
        _ = closing.changed() => return,
    }
    let Some(tls) = tls else {
        return serve(protocol, stream, answer, bounds, closing).await;
    };
    let secured = tokio::select! {
        secured = tokio::time::timeout(bounds.receive, tls.accept(stream)) => secured,
        _ = closing.changed() => return,
    };
    match secured {
        Ok(Ok(stream)) => serve(protocol, stream, answer, bounds, closing).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS was agreed on"),
        Err(_) => tracing::debug!("connection ended: its TLS handshake takes too long"),
    }
}

/// Serves what is sent in the clear, or was.
pub(super) async fn serve<S, A, F>(
    protocol: auto::Builder<Streams>,
    stream: S,
    answer: A,
    bounds: &Bounds,
    mut closing: watch::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let activity = Arc::<Activity>::default();
    let counting = Arc::clone(&activity);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let active = counting.begin();
        let answering = answer(request);
        async move {
            let response = answering.await;
            Ok::<_, Infallible>(watched(response, active))
        }
    });
    let mut connection =
        std::pin::pin!(protocol.serve_connection(TokioIo::new(Lingering::new(stream)), service));
    // Over HTTP/1 the answer is sent by the connection itself.
    let progress = Progress::new(bounds.send);
    let mut looking = tokio::time::interval((bounds.idle / 4).max(Duration::from_millis(10)));
    let (mut ending, mut idle_since) = (None, Instant::now());
    loop {
        tokio::select! {
            biased;
            ended = progress.run(connection.as_mut()) => {
                match ended {
                    // A client that goes away ends its connection with an error; dropping the request's future stops its guest.
                    Some(Err(error)) => tracing::debug!(%error, "connection ended"),
                    Some(Ok(())) => {}
                    None => tracing::debug!("connection ended: the answer was not read"),
                }
                return;
            }
            _ = closing.changed(), if ending != Some(Ending::Closing) => {
                ending = Some(Ending::Closing);
                connection.as_mut().graceful_shutdown();
            }
            now = looking.tick() => match ending {
                _ if activity.was_active() => idle_since = now,
                None if now - idle_since >= bounds.idle => {
                    ending = Some(Ending::Idle(now + bounds.idle));
                    connection.as_mut().graceful_shutdown();
                }
                Some(Ending::Idle(deadline)) if now >= deadline => return,
                _ => {}
            },
        }
    }
}
