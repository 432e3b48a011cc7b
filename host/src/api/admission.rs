//! Admission: how many executions run at once, and how many requests may wait for their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::ApiError;

/// Bounds executions and the queue for them.
#[derive(Debug)]
pub(super) struct Admission {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
}

impl Admission {
    pub(super) fn new(executions: usize, queue: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(executions)),
            waiting: AtomicUsize::new(0),
            queue,
        }
    }

    /// A slot, if one is free now.
    pub(super) fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// A slot, held until dropped. Waits in arrival order; a full queue is refused at once.
    pub(super) async fn enter(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(slot);
        }
        let _place = Place::take(&self.waiting, self.queue).ok_or_else(ApiError::overloaded)?;
        Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(|_| ApiError::overloaded())
    }
}

/// One place in the queue; given back when the wait ends, also by the client going away.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, queue: usize) -> Option<Self> {
        if waiting.fetch_add(1, Ordering::AcqRel) < queue {
            Some(Self(waiting))
        } else {
            waiting.fetch_sub(1, Ordering::AcqRel);
            None
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn beyond_the_queue_is_refused_and_a_freed_slot_is_given_on() {
        let admission = Admission::new(1, 1);
        let running = admission.enter().await.unwrap();
        let mut waiting = std::pin::pin!(admission.enter());
        assert!(futures_poll(waiting.as_mut()).await.is_none());
        assert!(admission.enter().await.is_err());
        drop(running);
        drop(waiting.await.unwrap());
    }

    /// Polls once.
    async fn futures_poll<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match std::pin::Pin::new(&mut future).poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
