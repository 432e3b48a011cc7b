//! What is made before it is needed: a stock that refills itself, and gives way to the requests while it does.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Time without a request after which the stock is filled up. Making an instance beside a running script costs that
/// script more than it would have cost to wait.
const QUIET: Duration = Duration::from_millis(3);

/// Instances kept ready; each is taken once.
pub(super) struct Stock<T> {
    ready: Mutex<Vec<T>>,
    wanted: usize,
    filling: AtomicBool,
    taken: AtomicU64,
}

impl<T: Send + 'static> Stock<T> {
    pub(super) fn new(wanted: usize) -> Arc<Self> {
        Arc::new(Self {
            ready: Mutex::default(),
            wanted,
            filling: AtomicBool::new(false),
            taken: AtomicU64::new(0),
        })
    }

    /// One that is ready; none where none is.
    pub(super) fn take(&self) -> Option<T> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.lock().pop()
    }

    /// Fills the stock, unless that is under way. `make` gives none where it failed, which ends the filling until the next
    /// call. `beside` requests it waits, while half of the stock is left, until none came for a while.
    pub(super) async fn fill<F>(&self, beside: bool, make: impl Fn() -> F)
    where
        F: Future<Output = Option<T>>,
    {
        if self.filling.swap(true, Ordering::AcqRel) {
            return;
        }
        let _filling = Filling(&self.filling);
        while self.is_short() {
            let seen = self.taken.load(Ordering::Relaxed);
            if beside && self.is_half_full() {
                tokio::time::sleep(QUIET).await;
                if seen != self.taken.load(Ordering::Relaxed) {
                    continue;
                }
            }
            match make().await {
                Some(made) => self.lock().push(made),
                None => return,
            }
        }
    }

    fn is_short(&self) -> bool {
        self.lock().len() < self.wanted
    }

    fn is_half_full(&self) -> bool {
        self.lock().len().saturating_mul(2) > self.wanted
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<T>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks the filling as ended, however it ends.
struct Filling<'a>(&'a AtomicBool);

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
