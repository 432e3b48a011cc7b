//! Processor time of one execution, readable while it runs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Processor and wall time since the execution began. One thread at a time advances it: the one that polls the guest.
#[derive(Debug)]
pub(super) struct Meter {
    created: Instant,
    /// Nanoseconds from creation to the start of the execution.
    started: AtomicU64,
    /// Nanoseconds of thread time in finished polls.
    spent: AtomicU64,
    /// Thread time at which the current poll began.
    poll_began: AtomicU64,
}

impl Meter {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            created: Instant::now(),
            started: AtomicU64::new(0),
            spent: AtomicU64::new(0),
            poll_began: AtomicU64::new(0),
        })
    }

    /// Starts anew: an instance may be made ahead of the execution it is for.
    pub(super) fn restart(&self) {
        let now = u64::try_from(self.created.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.started.store(now, Ordering::Relaxed);
        self.spent.store(0, Ordering::Relaxed);
    }

    pub(super) fn wall(&self) -> Duration {
        let started = Duration::from_nanos(self.started.load(Ordering::Relaxed));
        self.created.elapsed().saturating_sub(started)
    }

    /// Processor time of finished polls.
    pub(super) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Ordering::Relaxed))
    }

    /// Processor time including the poll under way; only meaningful on the thread that polls.
    pub(super) fn cpu_within_poll(&self) -> Duration {
        let poll = thread_nanos().saturating_sub(self.poll_began.load(Ordering::Relaxed));
        self.cpu().saturating_add(Duration::from_nanos(poll))
    }
}

/// Meters every poll of a future.
pub(super) struct Metered<F> {
    meter: Arc<Meter>,
    future: F,
}

impl<F: Future + Unpin> Metered<F> {
    pub(super) fn new(meter: Arc<Meter>, future: F) -> Self {
        Self { meter, future }
    }
}

impl<F: Future + Unpin> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let began = thread_nanos();
        self.meter.poll_began.store(began, Ordering::Relaxed);
        let result = Pin::new(&mut self.future).poll(cx);
        let spent = thread_nanos().saturating_sub(began);
        self.meter.spent.fetch_add(spent, Ordering::Relaxed);
        result
    }
}

fn thread_nanos() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}
