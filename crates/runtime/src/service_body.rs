//! The body of a service's response, which holds the guest that writes it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::outcome::Exit;
use super::outgoing::{HttpBody, HttpError};
use super::service::Running;

/// Frames taken out of a body before its response goes on its way: as many as the guest's stream buffers, and the end.
const LOOK_AHEAD: usize = 3;

/// The body of a response, with the guest that writes it.
pub struct ServiceBody {
    /// None once it has ended.
    body: Option<HttpBody>,
    /// Frames taken out of it already.
    ahead: VecDeque<Result<Frame<Bytes>, HttpError>>,
    running: Option<Running>,
    /// The response is complete: what the guest still does, it does on its own time.
    over: bool,
}

impl ServiceBody {
    /// A body whose guest is still `running`, or has ended. `over` says that the response has none.
    pub(super) fn new(body: HttpBody, running: Option<Running>, over: bool) -> Self {
        Self {
            body: Some(body),
            ahead: VecDeque::new(),
            running,
            over,
        }
    }

    /// Takes what a guest that has ended wrote, as far as its stream buffers: a body that is whole has a length, and needs no
    /// chunks on its way.
    pub(super) async fn look_ahead(&mut self) {
        if self.running.is_some() {
            return;
        }
        std::future::poll_fn(|cx| {
            while self.ahead.len() < LOOK_AHEAD
                && let Some(body) = &mut self.body
            {
                match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(Some(frame)) => self.ahead.push_back(frame),
                    Poll::Ready(None) => self.body = None,
                    Poll::Pending => break,
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    fn poll_guest(&mut self, cx: &mut Context<'_>) -> Option<HttpError> {
        let Poll::Ready(exit) = self.running.as_mut()?.as_mut().poll(cx) else {
            return None;
        };
        self.running = None;
        (exit != Exit::Ok).then_some(HttpError::HttpResponseIncomplete)
    }
}

impl Body for ServiceBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if let Some(error) = this.poll_guest(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = match (this.ahead.pop_front(), &mut this.body) {
            (Some(frame), _) => Poll::Ready(Some(frame)),
            (None, Some(body)) => Pin::new(body).poll_frame(cx),
            (None, None) => Poll::Ready(None),
        };
        if let Poll::Ready(frame) = &frame {
            let trailers = |frame: &Result<_, _>| frame.as_ref().is_ok_and(Frame::is_trailers);
            this.over |= frame.as_ref().is_none_or(trailers) || this.is_end_stream();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) if self.ahead.is_empty() => body.size_hint(),
            Some(_) => SizeHint::default(),
            None => {
                let data = |frame: &Result<Frame<Bytes>, HttpError>| {
                    Some(frame.as_ref().ok()?.data_ref()?.len())
                };
                let lengths = self.ahead.iter().map(data);
                let whole: Option<usize> = lengths.sum();
                let whole = whole.and_then(|bytes| u64::try_from(bytes).ok());
                whole.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

impl Drop for ServiceBody {
    fn drop(&mut self) {
        // A service may go on after its response: it ends by itself, or at its limits.
        if let Some(running) = self.running.take()
            && (self.over || self.is_end_stream())
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(running);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http_body_util::BodyExt;

    use super::*;

    type Written = Result<Frame<Bytes>, HttpError>;

    struct Frames(VecDeque<Written>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = HttpError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Written>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    async fn seen_ahead(frames: Vec<Written>, running: Option<Running>) -> ServiceBody {
        let body = Frames(frames.into()).boxed_unsync();
        let mut body = ServiceBody::new(body, running, false);
        body.look_ahead().await;
        body
    }

    fn data(bytes: &'static str) -> Written {
        Ok(Frame::data(Bytes::from_static(bytes.as_bytes())))
    }

    #[tokio::test]
    async fn what_an_ended_guest_wrote_has_a_length() {
        for (frames, length) in [
            (vec![], 0),
            (vec![data("four")], 4),
            (vec![data("four"), data("more")], 8),
        ] {
            let body = seen_ahead(frames, None).await;
            assert_eq!(body.size_hint().exact(), Some(length));
            let bytes = body.collect().await.unwrap().to_bytes();
            assert_eq!(u64::try_from(bytes.len()).unwrap(), length);
        }
    }

    #[tokio::test]
    async fn what_a_guest_still_writes_has_none() {
        let guest: Running = Box::pin(std::future::pending());
        let body = seen_ahead(vec![data("four")], Some(guest)).await;
        assert_eq!(body.size_hint().exact(), None);
    }

    #[tokio::test]
    async fn more_than_is_looked_at_comes_in_order_and_without_a_length() {
        let body = seen_ahead(["a", "b", "c", "d", "e"].map(data).into(), None).await;
        assert_eq!(body.size_hint().exact(), None);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcde");
    }

    #[tokio::test]
    async fn trailers_are_kept_and_leave_no_length() {
        let trailers = HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from(7))]);
        let frames = vec![data("four"), Ok(Frame::trailers(trailers.clone()))];
        let body = seen_ahead(frames, None).await;
        assert_eq!(body.size_hint().exact(), None);
        assert_eq!(body.collect().await.unwrap().trailers(), Some(&trailers));
    }

    #[tokio::test]
    async fn a_body_that_was_cut_off_does_not_look_whole() {
        let frames = vec![data("four"), Err(HttpError::HttpProtocolError)];
        let body = seen_ahead(frames, None).await;
        assert_eq!(body.size_hint().exact(), None);
        assert!(body.collect().await.is_err());
    }
}
