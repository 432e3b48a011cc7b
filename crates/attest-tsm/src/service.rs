//! Quotes for many callers from a driver that makes one at a time.
//!
//! A TDX guest's driver makes about one quote a second, and two requests at once only make one of them wait in the kernel. So
//! one thread asks the driver; callers that want the same report data share one quote, the others wait in a bounded queue.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::attester::{Attester, Backend, Capabilities, Quote, REGISTER, REPORT_DATA};
use crate::error::Error;
use crate::sealing::SealingKey;

/// Bounds of a [`QuoteService`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Most different report data that may wait, beside the one that the driver works on.
    pub waiting: usize,
    /// Longest that a caller waits.
    pub timeout: Duration,
}

impl Default for QueueLimits {
    /// Sixteen waiting, sixty seconds: what a driver of one quote a second clears, and twice its own time-out.
    fn default() -> Self {
        Self {
            waiting: 16,
            timeout: Duration::from_secs(60),
        }
    }
}

/// An attester in front of another, with at most one request in flight.
///
/// Whoever asks for report data that is being quoted or waits to be, gets that quote. Such a quote may show a runtime register
/// from before the call; report data must therefore name the log that the register stands for.
pub struct QuoteService {
    attester: Arc<dyn Attester>,
    limits: QueueLimits,
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

type Outcome = Result<Arc<Quote>, Error>;

struct Shared {
    state: Mutex<State>,
    /// Signalled when there is work, or none will come.
    work: Condvar,
    /// Signalled when a job is done.
    done: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// The job that the driver works on.
    running: Option<Job>,
    callers: usize,
    ended: bool,
}

#[derive(Clone)]
struct Job {
    report_data: [u8; REPORT_DATA],
    outcome: Arc<Mutex<Option<Outcome>>>,
}

impl std::fmt::Debug for QuoteService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuoteService")
            .field("backend", &self.attester.backend())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl QuoteService {
    /// Starts the thread that asks `attester`. It ends when the service is dropped, after the request in flight.
    ///
    /// # Errors
    ///
    /// [`Error::Backend`] when the system starts no thread.
    pub fn start(attester: Arc<dyn Attester>, limits: QueueLimits) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let worker = std::thread::Builder::new()
            .name("quotes".to_owned())
            .spawn({
                let (shared, attester) = (shared.clone(), attester.clone());
                move || shared.work_off(attester.as_ref())
            })
            .map_err(|error| Error::Backend {
                backend: attester.backend().as_str(),
                reason: format!("can not start its thread: {error}"),
            })?;
        Ok(Self {
            attester,
            limits,
            shared,
            worker: Some(worker),
        })
    }

    /// A quote over `report_data`, shared with everyone who asks for the same at the same time.
    ///
    /// # Errors
    ///
    /// The attester's own, [`Error::QueueFull`] at once, and [`Error::QueueTimeout`].
    pub fn shared_quote(&self, report_data: &[u8; REPORT_DATA]) -> Outcome {
        let mut state = self.shared.lock();
        let job = self.enqueue(&mut state, report_data)?;
        state.callers = state.callers.saturating_add(1);
        let (mut state, outcome) = self.wait(state, job);
        state.callers = state.callers.saturating_sub(1);
        outcome
    }

    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        job: Job,
    ) -> (MutexGuard<'a, State>, Outcome) {
        let started = Instant::now();
        loop {
            if let Some(outcome) = lock(&job.outcome).clone() {
                return (state, outcome);
            }
            let waited = started.elapsed();
            let rest = self.limits.timeout.saturating_sub(waited);
            if rest.is_zero() {
                leave(&mut state, job);
                return (state, Err(Error::QueueTimeout { waited }));
            }
            state = self
                .shared
                .done
                .wait_timeout(state, rest)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// How many different report data wait, beside the one in flight.
    pub fn waiting(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// How many callers wait, for those and for the one in flight.
    pub fn callers(&self) -> usize {
        self.shared.lock().callers
    }

    fn enqueue(&self, state: &mut State, report_data: &[u8; REPORT_DATA]) -> Result<Job, Error> {
        if let Some(job) = state
            .running
            .iter()
            .chain(&state.queue)
            .find(|job| job.report_data == *report_data)
        {
            return Ok(job.clone());
        }
        if state.queue.len() >= self.limits.waiting {
            return Err(Error::QueueFull {
                maximum: self.limits.waiting,
            });
        }
        let job = Job {
            report_data: *report_data,
            outcome: Arc::default(),
        };
        state.queue.push_back(job.clone());
        self.shared.work.notify_one();
        Ok(job)
    }
}

/// Forgets a job that waits and that nobody else wants.
fn leave(state: &mut State, job: Job) {
    let Job {
        report_data,
        outcome,
    } = job;
    // Two holders: the queue and the caller that leaves.
    if Arc::strong_count(&outcome) <= 2 {
        state.queue.retain(|job| job.report_data != report_data);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The thread's whole life.
    fn work_off(&self, attester: &dyn Attester) {
        let mut state = self.lock();
        loop {
            if state.ended {
                return;
            }
            let Some(job) = state.queue.pop_front() else {
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.running = Some(job.clone());
            drop(state);
            // A panic must not leave callers waiting for a thread that is gone.
            let outcome = catch_unwind(AssertUnwindSafe(|| attester.quote(&job.report_data)))
                .unwrap_or_else(|_| {
                    Err(Error::Backend {
                        backend: attester.backend().as_str(),
                        reason: "it panicked".to_owned(),
                    })
                });
            state = self.lock();
            *lock(&job.outcome) = Some(outcome.map(Arc::new));
            state.running = None;
            self.done.notify_all();
        }
    }
}

impl Drop for QuoteService {
    fn drop(&mut self) {
        // No caller is left: each borrows the service.
        self.shared.lock().ended = true;
        self.shared.work.notify_all();
        if let Some(worker) = self.worker.take() {
            // Its panics are caught inside.
            let _ = worker.join();
        }
    }
}

impl Attester for QuoteService {
    fn backend(&self) -> Backend {
        self.attester.backend()
    }

    fn capabilities(&self) -> Capabilities {
        self.attester.capabilities()
    }

    fn quote(&self, report_data: &[u8; REPORT_DATA]) -> Result<Quote, Error> {
        self.shared_quote(report_data).map(Arc::unwrap_or_clone)
    }

    fn extend(&self, digest: &[u8; REGISTER]) -> Result<(), Error> {
        self.attester.extend(digest)
    }

    fn read_register(&self) -> Result<[u8; REGISTER], Error> {
        self.attester.read_register()
    }

    fn sealing_key(&self, label: &[u8]) -> Result<Option<SealingKey>, Error> {
        self.attester.sealing_key(label)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
