//! The body of a response, read within a time between its bytes.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use crate::error::Error;

/// The body of a response, with its trailers.
///
/// It fails with [`Error::ConnectionReadTimeout`] when it is waited for longer than the time between bytes, and with
/// [`Error::HttpResponseIncomplete`] or [`Error::ConnectionTerminated`] when the connection ends before it does. After an error
/// it has ended. Time in which nobody asks for it does not count.
#[derive(Debug)]
pub struct ResponseBody {
    /// None after an error: dropping it ends the connection.
    incoming: Option<Incoming>,
    between_bytes: Duration,
    /// Runs while somebody waits for bytes.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    pub(crate) fn new(incoming: Incoming, between_bytes: Duration) -> Self {
        Self {
            incoming: Some(incoming),
            between_bytes,
            waiting: None,
        }
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.incoming = None;
        self.waiting = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(incoming) = self.incoming.as_mut() else {
            return Poll::Ready(None);
        };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => self.fail(Error::of_http(&error)),
            Poll::Ready(frame) => {
                self.waiting = None;
                Poll::Ready(frame.map(|frame| frame.map_err(|_| Error::InternalError)))
            }
            Poll::Pending => {
                let between_bytes = self.between_bytes;
                let waiting = self
                    .waiting
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(between_bytes)));
                match waiting.as_mut().poll(cx) {
                    Poll::Ready(()) => self.fail(Error::ConnectionReadTimeout),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            Some(incoming) => incoming.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}
