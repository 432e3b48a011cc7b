//! What a run may cost whoever pays for it, watched while it runs.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hypervisor_protocol::LimitKind;
use hypervisor_protocol::metered::{Budget, Used};

use super::compile::micros;
use super::guest::LimitReached;
use super::meter::Meter;
use super::stdio::Capture;

/// Time between two looks at a guest that waits for something.
const WAITING: Duration = Duration::from_millis(50);

/// A budget, and what is used of it.
#[derive(Clone)]
pub(super) struct Purse {
    pub(super) budget: Budget,
    pub(super) meter: Arc<Meter>,
    pub(super) peak_memory: Arc<AtomicU64>,
    /// Standard output and standard error.
    pub(super) written: [Capture; 2],
}

impl Purse {
    /// That more was used than is paid for, within a poll of the guest.
    pub(super) fn spent(&self) -> Option<LimitReached> {
        self.spent_by(self.meter.cpu_within_poll())
    }

    fn spent_by(&self, cpu: Duration) -> Option<LimitReached> {
        let written = self.written.iter().map(Capture::len);
        let used = Used {
            cpu_microseconds: micros(cpu),
            wall_microseconds: micros(self.meter.wall()),
            peak_memory_bytes: self.peak_memory.load(Ordering::Relaxed),
            traffic_bytes: written.fold(0, u64::saturating_add),
            stored_byte_seconds: 0,
        };
        let (used, allowed) = self.budget.exceeded(used)?;
        Some(LimitReached {
            which: LimitKind::Price,
            used,
            allowed,
        })
    }

    /// Ends a call for which more is used than is paid for while it waits: memory costs then too.
    pub(super) async fn keep<T>(
        self,
        call: impl Future<Output = wasmtime::Result<T>>,
    ) -> wasmtime::Result<T> {
        let mut call = pin!(call);
        loop {
            if let Ok(ended) = tokio::time::timeout(WAITING, call.as_mut()).await {
                return ended;
            }
            if let Some(spent) = self.spent_by(self.meter.cpu()) {
                return Err(spent.into());
            }
        }
    }
}
