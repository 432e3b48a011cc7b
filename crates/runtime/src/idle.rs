//! Instances that wait for their next call, within a bound that they may share with others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Instances of all services that may wait; the instance pool has that much room beside the executions.
pub(super) const MOST: usize = 64;
/// Time after which an instance that nobody needed goes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Instances of one kind that wait.
pub(super) struct Idle<T> {
    waiting: Mutex<Vec<(Instant, T, OwnedSemaphorePermit)>>,
    room: Arc<Semaphore>,
}

impl<T> Idle<T> {
    /// No more wait than there is `room` for.
    pub(super) fn within(room: Arc<Semaphore>) -> Self {
        Self {
            waiting: Mutex::default(),
            room,
        }
    }

    /// The one that waited shortest: its memory is the warmest.
    pub(super) fn take(&self) -> Option<T> {
        self.lock().pop().map(|(_, taken, _)| taken)
    }

    /// Keeps one, or lets go of it where as many as may are waiting.
    pub(super) fn put(&self, one: T) {
        if let Ok(place) = Arc::clone(&self.room).try_acquire_owned() {
            self.lock().push((Instant::now(), one, place));
        }
    }

    /// Lets go of those that waited too long.
    pub(super) fn sweep(&self) {
        let is_over = |since: Instant| since.elapsed() > PATIENCE;
        let over: Vec<_> = self
            .lock()
            .extract_if(.., |(since, ..)| is_over(*since))
            .collect();
        // Not while the lock is held.
        drop(over);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, T, OwnedSemaphorePermit)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_services_together_keep_no_more_than_the_bound() {
        let room = Arc::new(Semaphore::new(MOST));
        let [a, b] = [(); 2].map(|()| Idle::within(Arc::clone(&room)));
        (0..50).for_each(|n| a.put(n));
        (0..50).for_each(|n| b.put(n));
        assert_eq!(a.lock().len() + b.lock().len(), MOST);
        assert_eq!(b.take(), Some(13));
        drop(a);
        (0..60).for_each(|n| b.put(n));
        assert_eq!(b.lock().len(), MOST);
    }
}
