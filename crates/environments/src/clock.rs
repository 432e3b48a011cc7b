//! Unix time that does not jump while the process runs.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time of the start, carried on by a clock that never goes back.
pub(crate) struct Clock {
    start: Duration,
    since: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let start = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            start: start.unwrap_or_default(),
            since: Instant::now(),
        }
    }

    /// From a time on that others go by too: Unix time, microseconds.
    pub(crate) fn at(micros: u64) -> Self {
        Self {
            start: Duration::from_micros(micros),
            since: Instant::now(),
        }
    }

    fn now(&self) -> Duration {
        self.start.saturating_add(self.since.elapsed())
    }

    /// Seconds since the Unix epoch.
    pub(crate) fn seconds(&self) -> u64 {
        self.now().as_secs()
    }

    /// Milliseconds.
    pub(crate) fn millis(&self) -> u64 {
        u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX)
    }

    /// Microseconds.
    pub(crate) fn micros(&self) -> u64 {
        u64::try_from(self.now().as_micros()).unwrap_or(u64::MAX)
    }
}
