//! The body of an answer that comes from another node.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::places::Place;

/// Why an answer that had begun breaks off.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The connection to the other node failed.
    #[error(transparent)]
    Connection(#[from] hyper::Error),
    /// The other node is dead.
    #[error("the node of the session is dead")]
    Dead,
}

/// An answer of another node, passed on as it comes. It breaks off when that node dies.
pub struct Relayed {
    pub(crate) inner: Incoming,
    pub(crate) gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Its place among what is forwarded at once.
    pub(crate) _place: Place,
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Broken::from))),
            Poll::Pending => match self.gone.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(Broken::Dead))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
