//! Lines of a log that others can cause.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The pause between two lines of one kind.
const PAUSE: Duration = Duration::from_secs(1);

/// Lines that others can cause: one a second for each kind, with how often it happened since the last one.
pub struct Sparing(Mutex<Option<HashMap<&'static str, Kind>>>);

struct Kind {
    last: Instant,
    times: u64,
}

impl Sparing {
    /// None was written yet.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// It happened. Gives how often since the last line, if it is time for one.
    pub fn say(&self, kind: &'static str) -> Option<u64> {
        self.say_at(kind, Instant::now())
    }

    fn say_at(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = kinds.get_or_insert_default();
        let Some(kind) = kinds.get_mut(kind) else {
            let first = Kind {
                last: now,
                times: 0,
            };
            kinds.insert(kind, first);
            return Some(1);
        };
        kind.times = kind.times.saturating_add(1);
        let is_time = now.saturating_duration_since(kind.last) >= PAUSE;
        is_time.then(|| {
            kind.last = now;
            std::mem::take(&mut kind.times)
        })
    }
}

impl Default for Sparing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_one_line_a_second_with_a_count() {
        let sparing = Sparing::new();
        let start = Instant::now();
        let at = |millis| sparing.say_at("kind", start + Duration::from_millis(millis));
        assert_eq!(at(0), Some(1));
        assert_eq!((at(1), at(999)), (None, None));
        assert_eq!(at(1000), Some(3));
        assert_eq!(at(1001), None);
        assert_eq!(sparing.say_at("other", start), Some(1));
    }
}
