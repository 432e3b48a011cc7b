//! Processor time of one execution, readable while it runs.
//!
//! The thread's own clock is a system call, twice a poll; the monotonic one is not. So a call is charged by the monotonic clock
//! until it has used [`EXACT_FROM`], which counts the time that the thread waited for a processor too and so can only overstate,
//! and by the thread's from then on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Processor time from which the thread's clock is read.
const EXACT_FROM: Duration = Duration::from_millis(1);

/// The two clocks of a thread, nanoseconds.
pub(super) trait Clocks {
    /// Since the clocks were made.
    fn monotonic(&self) -> u64;
    /// Of processor time of the calling thread.
    fn thread(&self) -> u64;
}

/// The system's.
#[derive(Debug)]
pub(super) struct System {
    created: Instant,
}

impl Clocks for System {
    fn monotonic(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn thread(&self) -> u64 {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
    }
}

/// Processor and wall time since the execution began. One thread at a time advances it: the one that polls the guest.
#[derive(Debug)]
pub(super) struct Meter<C = System> {
    clocks: C,
    /// Nanoseconds from creation to the start of the execution.
    started: AtomicU64,
    /// Nanoseconds of processor time in finished polls.
    spent: AtomicU64,
    /// When the current poll began, nanoseconds of its clock.
    poll_began: AtomicU64,
    /// Whether that clock is the thread's.
    exact: AtomicBool,
}

impl Meter {
    pub(super) fn new() -> Arc<Self> {
        Self::with(System {
            created: Instant::now(),
        })
    }
}

impl<C: Clocks> Meter<C> {
    fn with(clocks: C) -> Arc<Self> {
        Arc::new(Self {
            clocks,
            started: AtomicU64::new(0),
            spent: AtomicU64::new(0),
            poll_began: AtomicU64::new(0),
            exact: AtomicBool::new(false),
        })
    }

    /// Starts anew: an instance may be made ahead of the execution it is for.
    pub(super) fn restart(&self) {
        self.started
            .store(self.clocks.monotonic(), Ordering::Relaxed);
        self.spent.store(0, Ordering::Relaxed);
    }

    pub(super) fn wall(&self) -> Duration {
        let started = self.started.load(Ordering::Relaxed);
        Duration::from_nanos(self.clocks.monotonic().saturating_sub(started))
    }

    /// Processor time of finished polls.
    pub(super) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Ordering::Relaxed))
    }

    /// Processor time including the poll under way; only meaningful on the thread that polls.
    pub(super) fn cpu_within_poll(&self) -> Duration {
        self.cpu().saturating_add(self.poll())
    }

    /// A poll begins on this thread.
    fn begin(&self) {
        let exact = self.cpu() >= EXACT_FROM;
        self.exact.store(exact, Ordering::Relaxed);
        self.poll_began.store(self.now(exact), Ordering::Relaxed);
    }

    /// The poll ends.
    fn end(&self) {
        let spent = self.cpu_within_poll().as_nanos();
        let spent = u64::try_from(spent).unwrap_or(u64::MAX);
        self.spent.store(spent, Ordering::Relaxed);
    }

    /// Time in the poll under way.
    fn poll(&self) -> Duration {
        let now = self.now(self.exact.load(Ordering::Relaxed));
        Duration::from_nanos(now.saturating_sub(self.poll_began.load(Ordering::Relaxed)))
    }

    fn now(&self, exact: bool) -> u64 {
        if exact {
            self.clocks.thread()
        } else {
            self.clocks.monotonic()
        }
    }
}

/// Meters every poll of a future.
pub(super) struct Metered<F, C = System> {
    meter: Arc<Meter<C>>,
    future: F,
}

impl<F: Future + Unpin, C: Clocks> Metered<F, C> {
    pub(super) fn new(meter: Arc<Meter<C>>, future: F) -> Self {
        Self { meter, future }
    }
}

impl<F: Future + Unpin, C: Clocks> Future for Metered<F, C> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.meter.begin();
        let result = Pin::new(&mut self.future).poll(cx);
        self.meter.end();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clocks that stand still until they are told how a thread spent its time.
    #[derive(Default)]
    struct ByHand {
        monotonic: AtomicU64,
        thread: AtomicU64,
    }

    impl ByHand {
        fn work(&self, time: Duration) {
            self.wait(time);
            let nanos = u64::try_from(time.as_nanos()).unwrap();
            self.thread.fetch_add(nanos, Ordering::Relaxed);
        }

        fn wait(&self, time: Duration) {
            let nanos = u64::try_from(time.as_nanos()).unwrap();
            self.monotonic.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    impl Clocks for ByHand {
        fn monotonic(&self) -> u64 {
            self.monotonic.load(Ordering::Relaxed)
        }

        fn thread(&self) -> u64 {
            self.thread.load(Ordering::Relaxed)
        }
    }

    async fn metered(meter: &Arc<Meter<ByHand>>, spend: impl Fn(&ByHand)) {
        let poll = Box::pin(async { spend(&meter.clocks) });
        Metered::new(Arc::clone(meter), poll).await;
    }

    #[tokio::test]
    async fn no_poll_is_charged_less_than_the_thread_worked() {
        let meter = Meter::with(ByHand::default());
        meter.restart();
        for time in [EXACT_FROM / 2, 2 * EXACT_FROM, 2 * EXACT_FROM] {
            let before = meter.cpu();
            metered(&meter, |clocks| clocks.work(time)).await;
            assert_eq!(meter.cpu() - before, time);
        }
    }

    #[tokio::test]
    async fn waiting_within_a_poll_is_free_once_the_exact_clock_is_read() {
        let meter = Meter::with(ByHand::default());
        meter.restart();
        let wait = Duration::from_millis(50);
        metered(&meter, |clocks| clocks.work(2 * EXACT_FROM)).await;
        let before = meter.cpu();
        metered(&meter, |clocks| clocks.wait(wait)).await;
        assert_eq!(meter.cpu(), before);
        assert_eq!(meter.wall(), 2 * EXACT_FROM + wait);
    }

    #[test]
    fn the_systems_clock_of_a_thread_stands_still_while_it_sleeps() {
        let clocks = System {
            created: Instant::now(),
        };
        let (thread, monotonic) = (clocks.thread(), clocks.monotonic());
        std::thread::sleep(Duration::from_millis(20));
        assert!(clocks.thread() - thread < clocks.monotonic() - monotonic);
    }
}
