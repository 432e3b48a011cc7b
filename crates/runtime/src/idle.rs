//! Instances between two requests, for services whose owner chose to reuse them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Instances of all services that may wait; the instance pool has that much room beside the executions.
pub(super) const MOST: usize = 64;
/// Time after which an instance that nobody needed goes.
const PATIENCE: Duration = Duration::from_secs(5);

/// What waits of one service. The bound is that of all.
pub(super) struct Idle<T> {
    waiting: Mutex<Vec<(Instant, T)>>,
    all: Arc<AtomicUsize>,
}

impl Idle<()> {
    /// A bound of its own.
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            all: Arc::default(),
        }
    }

    /// The same bound.
    pub(super) fn share(&self) -> Self {
        self.of()
    }

    /// The same bound, for things of another type.
    pub(super) fn of<T>(&self) -> Idle<T> {
        Idle {
            waiting: Mutex::default(),
            all: Arc::clone(&self.all),
        }
    }
}

impl<T> Idle<T> {
    /// The one that waited shortest: its memory is the warmest.
    pub(super) fn take(&self) -> Option<T> {
        let (_, taken) = self.lock().pop()?;
        self.all.fetch_sub(1, Ordering::AcqRel);
        Some(taken)
    }

    /// Keeps one, or lets go of it where as many as may are waiting.
    pub(super) fn put(&self, one: T) {
        if self.all.fetch_add(1, Ordering::AcqRel) < MOST {
            self.lock().push((Instant::now(), one));
        } else {
            self.all.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Lets go of those that waited too long.
    pub(super) fn sweep(&self) {
        let mut waiting = self.lock();
        let before = waiting.len();
        let over: Vec<_> = waiting
            .extract_if(.., |(since, _)| since.elapsed() > PATIENCE)
            .collect();
        let gone = before.saturating_sub(waiting.len());
        drop(waiting);
        self.all.fetch_sub(gone, Ordering::AcqRel);
        drop(over);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, T)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Idle<T> {
    fn drop(&mut self) {
        let waiting = self.lock().len();
        self.all.fetch_sub(waiting, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_services_together_keep_no_more_than_the_bound() {
        let bound = Idle::new();
        let (a, b) = (bound.of::<u32>(), bound.of::<u32>());
        (0..50).for_each(|n| a.put(n));
        (0..50).for_each(|n| b.put(n));
        assert_eq!(a.lock().len() + b.lock().len(), MOST);
        assert_eq!(b.take(), Some(13));
        drop(a);
        (0..60).for_each(|n| b.put(n));
        assert_eq!(b.lock().len(), MOST);
    }
}
