//! The clock that interrupts guests: an operating-system thread, so that no busy async worker can hold it up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
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
}

#[derive(Debug, Default)]
struct Shared {
    executions: AtomicUsize,
    parked: AtomicBool,
    stopped: AtomicBool,
    mutex: Mutex<()>,
    wake: Condvar,
}

/// One execution under way; the clock ticks while any exists.
#[derive(Debug)]
pub(super) struct Ticking {
    shared: Arc<Shared>,
}

impl EpochClock {
    /// Starts the thread; it ends when the clock is dropped.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, for_thread) = (engine.clone(), Arc::clone(&shared));
        thread::Builder::new()
            .name("epoch".to_owned())
            .spawn(move || run(&engine, &for_thread))?;
        Ok(Self { shared })
    }

    /// Keeps the clock ticking until the value is dropped.
    pub(super) fn tick(&self) -> Ticking {
        // The thread sets `parked` and then looks at `executions`; this does the reverse. Under sequential consistency
        // one of the two sees the other, so no execution starts without a tick to come.
        self.shared.executions.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.shared.unpark();
        }
        Ticking {
            shared: Arc::clone(&self.shared),
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
    fn park(&self) {
        let guard = self.mutex.lock().unwrap_or_else(PoisonError::into_inner);
        self.parked.store(true, Ordering::SeqCst);
        if self.executions.load(Ordering::SeqCst) > 0 || self.stopped.load(Ordering::SeqCst) {
            self.parked.store(false, Ordering::SeqCst);
            return;
        }
        let parked = |_: &mut ()| self.parked.load(Ordering::SeqCst);
        drop(
            self.wake
                .wait_while(guard, parked)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    fn unpark(&self) {
        let _guard = self.mutex.lock().unwrap_or_else(PoisonError::into_inner);
        self.parked.store(false, Ordering::SeqCst);
        self.wake.notify_one();
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.shared.executions.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for EpochClock {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.unpark();
    }
}
