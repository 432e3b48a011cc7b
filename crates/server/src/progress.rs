//! That an answer gets on: a reader that stops reading, or reads a byte now and then, does not hold it for ever.
//!
//! The transport asks for the next part of a body when it has room for it. Over HTTP/2 that is when the peer's window is open, and a
//! peer may keep its window closed and its connection alive. So bodies are given out in parts of [`PART`], and the time between a
//! part and the question for the next one is the reader's: it has a bound for each part, and for all of them together by the rate.
//! Time in which the body itself has nothing to give is not the reader's.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// Bytes that are given to the transport at once.
const PART: usize = 16 << 10;
/// Bytes that a reader takes in a second at least, beyond the time that it has in any case.
const RATE: u64 = 8 << 10;

tokio::task_local! {
    /// What the current task sends: one stream of HTTP/2, or a connection of HTTP/1.
    static SENDING: Progress;
}

/// How far an answer has come.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    state: Arc<Mutex<State>>,
    patience: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the next move is the reader's.
    is_readers: bool,
    /// Since when it keeps an answer waiting: seen first when the transport has nothing left to do, so that an answer that goes
    /// out at once costs no look at the clock.
    since: Option<Instant>,
    /// How long it did, for this answer.
    waited: Duration,
    /// Bytes that it took of this answer.
    taken: u64,
}

impl Progress {
    /// A reader that may keep an answer waiting for `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            state: Arc::default(),
            patience,
        }
    }

    /// Runs `sending`, the transport's part, until it ends or the reader has kept an answer waiting for too long. Gives none in the
    /// second case.
    pub(crate) async fn run<F: Future>(&self, sending: F) -> Option<F::Output> {
        SENDING
            .scope(self.clone(), async {
                tokio::select! {
                    biased;
                    ended = sending => Some(ended),
                    () = self.expired() => None,
                }
            })
            .await
    }

    /// Waits for the reader's time to end. Polled in one task with what sends, and after it: what it did is seen here.
    async fn expired(&self) {
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        std::future::poll_fn(|cx| {
            let Some(deadline) = self.deadline() else {
                timer = None;
                return Poll::Pending;
            };
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            timer.as_mut().poll(cx)
        })
        .await;
    }

    fn deadline(&self) -> Option<Instant> {
        let mut state = self.lock();
        if !state.is_readers {
            return None;
        }
        let since = *state.since.get_or_insert_with(Instant::now);
        let earned = Duration::from_secs(state.taken.checked_div(RATE).unwrap_or_default());
        let left = self
            .patience
            .saturating_add(earned)
            .saturating_sub(state.waited);
        Some(since + left.min(self.patience))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer begins.
    fn begin(&self) {
        *self.lock() = State {
            is_readers: true,
            ..State::default()
        };
    }

    /// The reader asks for more.
    fn asked(&self) {
        let mut state = self.lock();
        state.is_readers = false;
        if let Some(since) = state.since.take() {
            state.waited += since.elapsed();
        }
    }

    /// The reader has got so many bytes, and the next move is its own.
    fn given(&self, bytes: usize) {
        let mut state = self.lock();
        state.is_readers = true;
        state.taken = state
            .taken
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// There is no answer any more.
    fn over(&self) {
        *self.lock() = State::default();
    }
}

/// The response, whose body is sent in parts that are watched; `held` is dropped with it.
pub(crate) fn watched<H>(response: Response, held: H) -> http::Response<Watched<H>> {
    // Without a task that sends there is nobody who would end it.
    let progress = SENDING.try_with(Clone::clone);
    let progress = progress.unwrap_or_else(|_| Progress::new(Duration::MAX));
    progress.begin();
    response.map(|body| Watched {
        body,
        rest: Bytes::new(),
        progress,
        _held: held,
    })
}

/// The body of [`watched`].
pub(crate) struct Watched<H> {
    body: axum::body::Body,
    /// Of the frame that came last.
    rest: Bytes,
    progress: Progress,
    _held: H,
}

impl<H> Watched<H> {
    fn part(&mut self) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let part = self.rest.split_to(self.rest.len().min(PART));
        self.progress.given(part.len());
        Poll::Ready(Some(Ok(Frame::data(part))))
    }
}

impl<H: Unpin> Body for Watched<H> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.progress.asked();
        if !self.rest.is_empty() {
            return self.part();
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    self.part()
                }
                Err(frame) => Poll::Ready(Some(Ok(frame))),
            },
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(of_body.lower().saturating_add(rest));
        hint
    }
}

impl<H> Drop for Watched<H> {
    fn drop(&mut self) {
        self.progress.over();
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Sends a body of so many bytes to a reader that takes a part after each of these pauses; gives whether it was let go on.
    async fn reads(bytes: usize, pauses: &[Duration]) -> bool {
        let progress = Progress::new(PATIENCE);
        let sending = async {
            let response = Response::new(axum::body::Body::from(vec![0; bytes]));
            let mut body = watched(response, ()).into_body();
            for pause in pauses {
                tokio::time::sleep(*pause).await;
                if body.frame().await.is_none() {
                    break;
                }
            }
        };
        progress.run(sending).await.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_given_up() {
        assert!(!reads(1, &[PATIENCE + Duration::from_millis(1)]).await);
        assert!(reads(1, &[PATIENCE - Duration::from_millis(1)]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_a_little_now_and_then_is_given_up() {
        // 16 KiB earn two seconds.
        let pauses = [Duration::from_secs(20); 3];
        assert!(!reads(1 << 20, &pauses).await);
        assert!(reads(1 << 20, &[Duration::from_secs(2); 64]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_a_body_takes_is_not_the_readers() {
        let progress = Progress::new(PATIENCE);
        let sending = async {
            let frames = futures_body();
            let response = Response::new(axum::body::Body::new(frames));
            watched(response, ()).into_body().collect().await.unwrap()
        };
        let body = progress.run(sending).await.unwrap();
        assert_eq!(body.to_bytes(), "late");
    }

    /// A body whose only frame comes after a long time.
    fn futures_body() -> impl Body<Data = Bytes, Error = std::convert::Infallible> + Send {
        struct Late(Pin<Box<Sleep>>, bool);
        impl Body for Late {
            type Data = Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
                if self.1 {
                    return Poll::Ready(None);
                }
                if self.0.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.1 = true;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"late")))))
            }
        }
        Late(Box::pin(tokio::time::sleep(PATIENCE * 10)), false)
    }

    #[tokio::test]
    async fn a_body_is_given_out_in_parts_with_its_length_and_its_end() {
        let progress = Progress::new(PATIENCE);
        let sending = async {
            let response = Response::new(axum::body::Body::from(vec![7; PART + 1]));
            let mut body = watched(response, ()).into_body();
            let mut lengths = Vec::new();
            let whole = u64::try_from(PART + 1).unwrap();
            assert_eq!(body.size_hint().exact(), Some(whole));
            while !body.is_end_stream() {
                let frame = body.frame().await.unwrap().unwrap();
                lengths.push(frame.into_data().unwrap().len());
            }
            lengths
        };
        assert_eq!(progress.run(sending).await.unwrap(), [PART, 1]);
    }
}
