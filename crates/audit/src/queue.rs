//! What waits to be written.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hypervisor_tlog::trail::Entry;

/// Entries in the order in which they came, between those who bring them and the one thread that writes them.
#[derive(Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Entry>,
    /// Nothing comes any more; what waits is to be written now.
    is_closed: bool,
    /// Nobody writes any more.
    is_abandoned: bool,
}

impl Queue {
    /// Puts an entry at the end.
    pub(crate) fn push(&self, entry: Entry) {
        self.lock().waiting.push_back(entry);
        self.changed.notify_all();
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Waits until there is something, and then until `most` are there or `pause` is over. False when nothing is there and nothing comes
    /// any more.
    pub(crate) fn gather(&self, most: usize, pause: Duration) -> bool {
        let quiet = |inner: &mut Inner| inner.waiting.is_empty() && !inner.is_closed;
        let inner = self.changed.wait_while(self.lock(), quiet);
        let inner = inner.unwrap_or_else(PoisonError::into_inner);
        let few = |inner: &mut Inner| inner.waiting.len() < most && !inner.is_closed;
        let inner = self.changed.wait_timeout_while(inner, pause, few);
        let (inner, _) = inner.unwrap_or_else(PoisonError::into_inner);
        !inner.waiting.is_empty()
    }

    /// The first entries, `most` at most; they stay.
    pub(crate) fn first(&self, most: usize) -> Vec<Entry> {
        self.lock().waiting.iter().take(most).copied().collect()
    }

    /// Takes the first entries off: they were written.
    pub(crate) fn written(&self, count: usize) {
        let mut inner = self.lock();
        let count = count.min(inner.waiting.len());
        inner.waiting.drain(..count);
    }

    /// Waits before another attempt; shorter where the queue is closed.
    pub(crate) fn rest(&self, pause: Duration) {
        let open = |inner: &mut Inner| !inner.is_closed;
        let inner = self.changed.wait_timeout_while(self.lock(), pause, open);
        drop(inner.unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Nobody writes any more.
    pub(crate) fn abandon(&self) {
        self.lock().is_abandoned = true;
        self.changed.notify_all();
    }

    /// Waits until nobody writes any more, `most` at most; how many entries were not written.
    pub(crate) fn end(&self, most: Duration) -> usize {
        let writing = |inner: &mut Inner| !inner.is_abandoned;
        let inner = self.changed.wait_timeout_while(self.lock(), most, writing);
        let (inner, _) = inner.unwrap_or_else(PoisonError::into_inner);
        inner.waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
