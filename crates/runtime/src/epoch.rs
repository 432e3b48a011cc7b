//! The clock that interrupts guests: an operating-system thread, so that no busy async worker can hold it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// Time between interruptions of a running guest. A limit is found exceeded at most one tick late, and a guest gives
/// its thread to other tasks once a tick.
pub(super) const TICK: Duration = Duration::from_millis(5);
/// Ticks without an execution before the thread parks. Waking it costs a short execution a fifth of its time, so it
/// stays up between requests that follow each other.
const IDLE_TICKS: u32 = 200;

/// Advances the engine's epoch while executions are under way; parks when there have been none for a while.
#[derive(Debug)]
pub(super) struct EpochClock {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct Shared {
    executions: AtomicUsize,
    parked: AtomicBool,
    stopped: AtomicBool,
}

/// One execution under way; the clock ticks while any exists.
#[derive(Debug)]
pub(super) struct Ticking<'a> {
    shared: &'a Shared,
}

impl EpochClock {
    /// Starts the thread; it ends when the clock is dropped.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, for_thread) = (engine.clone(), Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name("epoch".to_owned())
            .spawn(move || run(&engine, &for_thread))?;
        Ok(Self {
            shared,
            thread: thread.thread().clone(),
        })
    }

    /// Keeps the clock ticking until the value is dropped.
    pub(super) fn tick(&self) -> Ticking<'_> {
        // The thread sets `parked` and then looks at `executions`; this does the reverse. Under sequential consistency
        // one of the two sees the other, so no execution starts without a tick to come.
        self.shared.executions.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking {
            shared: &self.shared,
        }
    }
}

fn run(engine: &Engine, shared: &Shared) {
    let mut idle = 0_u32;
    while !shared.stopped.load(Ordering::SeqCst) {
        if shared.executions.load(Ordering::SeqCst) > 0 {
            idle = 0;
        } else if idle < IDLE_TICKS {
            idle = idle.saturating_add(1);
        } else {
            shared.park();
            idle = 0;
        }
        thread::sleep(TICK);
        engine.increment_epoch();
    }
}

impl Shared {
    /// Parks this thread until there is an execution, or an end.
    fn park(&self) {
        self.parked.store(true, Ordering::SeqCst);
        while self.executions.load(Ordering::SeqCst) == 0 && !self.stopped.load(Ordering::SeqCst) {
            thread::park();
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.shared.executions.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for EpochClock {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}
