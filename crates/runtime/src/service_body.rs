//! The body of a service's response. It ends the guest that writes it where nobody wants the rest.
//!
//! What the guest writes waits in its stream, which takes no more than a few writes: a guest that nobody reads waits, and its
//! deadline passes in its own task.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use super::outcome::Exit;
use super::outgoing::{HttpBody, HttpError};

/// Frames taken out of a body before its response goes on its way: as many as the guest's stream buffers, and the end.
const LOOK_AHEAD: usize = 3;

/// The body of a response, and the task of the guest that writes it.
pub struct ServiceBody {
    /// None once it has ended.
    body: Option<HttpBody>,
    /// Frames taken out of it already.
    ahead: VecDeque<Result<Frame<Bytes>, HttpError>>,
    running: Option<JoinHandle<Exit>>,
    /// Set where the guest did not end well, before its streams are gone: a body that ends then is cut off. Set also by whoever
    /// lets go of the body before its end.
    cut: Arc<AtomicBool>,
    /// The response is complete: what the guest still does, it does on its own time.
    over: bool,
    /// What the guest does, it does on its own time from the start.
    background: bool,
}

impl ServiceBody {
    /// A body whose guest is still `running`, or has ended. `cut` is set where it did not end well; `over` says that the
    /// response has none, `background` that its guest goes on whoever lets go of it.
    pub(super) fn new(
        body: HttpBody,
        running: Option<JoinHandle<Exit>>,
        cut: Arc<AtomicBool>,
        (over, background): (bool, bool),
    ) -> Self {
        Self {
            body: Some(body),
            ahead: VecDeque::new(),
            running,
            cut,
            over,
            background,
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
        let Poll::Ready(exit) = Pin::new(self.running.as_mut()?).poll(cx) else {
            return None;
        };
        self.running = None;
        (!matches!(exit, Ok(Exit::Ok))).then_some(HttpError::HttpResponseIncomplete)
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
        if matches!(frame, Poll::Ready(None)) && !this.over && this.cut.load(Ordering::Acquire) {
            this.running = None;
            return Poll::Ready(Some(Err(HttpError::HttpResponseIncomplete)));
        }
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
            && !(self.background || self.over || self.is_end_stream())
        {
            // An abort takes effect when the guest next waits; one that runs may return before that, and finds this set.
            self.cut.store(true, Ordering::Release);
            running.abort();
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

    async fn seen_ahead(frames: Vec<Written>, running: Option<JoinHandle<Exit>>) -> ServiceBody {
        let body = Frames(frames.into()).boxed_unsync();
        let mut body = ServiceBody::new(body, running, Arc::default(), (false, false));
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
        let guest = tokio::spawn(std::future::pending());
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

    /// Tells when it is dropped.
    struct Alive(Option<tokio::sync::oneshot::Sender<()>>);

    impl Drop for Alive {
        fn drop(&mut self) {
            let _ = self.0.take().map(|gone| gone.send(()));
        }
    }

    /// A guest that never ends, and what tells that it is gone.
    fn endless() -> (JoinHandle<Exit>, tokio::sync::oneshot::Receiver<()>) {
        let (sender, gone) = tokio::sync::oneshot::channel();
        let alive = Alive(Some(sender));
        let guest = tokio::spawn(async move {
            let _alive = alive;
            std::future::pending().await
        });
        (guest, gone)
    }

    #[tokio::test]
    async fn a_guest_goes_on_though_nobody_reads() {
        let (sender, written) = tokio::sync::oneshot::channel();
        let guest = tokio::spawn(async move {
            sender.send(()).unwrap();
            Exit::Ok
        });
        let body = Frames(VecDeque::new()).boxed_unsync();
        let _unread = ServiceBody::new(body, Some(guest), Arc::default(), (false, false));
        written.await.unwrap();
    }

    #[tokio::test]
    async fn who_lets_go_of_an_unfinished_response_ends_its_guest() {
        let (guest, gone) = endless();
        let body = Frames([data("four")].into()).boxed_unsync();
        drop(ServiceBody::new(
            body,
            Some(guest),
            Arc::default(),
            (false, false),
        ));
        gone.await.unwrap();
    }

    #[tokio::test]
    async fn a_guest_in_the_background_goes_on_whoever_left() {
        let (guest, mut gone) = endless();
        let body = Frames([data("four")].into()).boxed_unsync();
        let in_background = (false, true);
        drop(ServiceBody::new(
            body,
            Some(guest),
            Arc::default(),
            in_background,
        ));
        tokio::task::yield_now().await;
        assert!(gone.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_guest_may_go_on_after_its_response() {
        let (guest, mut gone) = endless();
        let body = Frames(VecDeque::new()).boxed_unsync();
        drop(ServiceBody::new(
            body,
            Some(guest),
            Arc::default(),
            (true, false),
        ));
        tokio::task::yield_now().await;
        assert!(gone.try_recv().is_err());
    }
}
