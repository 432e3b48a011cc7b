//! The last minutes and the last requests, in memory, for the operator's page and commands: sizes, times and classes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hypervisor_account::InHand;
use serde::{Deserialize, Serialize};

use super::families::Reading;
use super::{REFUSALS, STEPS, Step};

/// Unix time, seconds.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |it| it.as_secs())
}

/// Time between two samples.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Samples that are kept: ten minutes.
const SAMPLES: usize = 120;
/// Requests that are kept.
const RECENT: usize = 32;

/// What happened in one interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its end: Unix time, seconds.
    pub at: u64,
    /// Runs that ended: executions, calls of agents, what owners ask of theirs.
    pub runs: u64,
    /// Answers that were refusals.
    pub refused: u64,
    /// Half of the runs took no longer, microseconds.
    pub half_us: u64,
    /// 95 of 100 took no longer, microseconds.
    pub most_us: u64,
}

/// A sealed request that was done, or kept from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// When it ended: Unix time, seconds.
    pub at: u64,
    /// What it asked for.
    pub kind: String,
    /// How it ended.
    pub outcome: String,
    /// Bytes of program, input and arguments.
    pub received_bytes: u64,
    /// Bytes of output.
    pub sent_bytes: u64,
    /// Processor time, microseconds.
    pub cpu_us: u64,
    /// Time from start to end, microseconds.
    pub wall_us: u64,
    /// Largest memory, bytes.
    pub peak_memory_bytes: u64,
}

#[derive(Default)]
struct History {
    samples: VecDeque<Sample>,
    /// Since when there has been no room, Unix time in seconds.
    full: BTreeMap<&'static str, u64>,
    runs: Reading,
    refused: u64,
}

static HISTORY: Mutex<Option<History>> = Mutex::new(None);
static REQUESTS: Mutex<VecDeque<Recent>> = Mutex::new(VecDeque::new());

fn history() -> MutexGuard<'static, Option<History>> {
    HISTORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what came since the last time, and what is full.
pub fn sample(in_hand: &[InHand]) {
    let (at, runs, refused) = (now(), STEPS.read(Step::Run.place()), REFUSALS.sum());
    let mut history = history();
    let history = history.get_or_insert_default();
    let new = runs.since(&history.runs);
    if history.samples.len() == SAMPLES {
        history.samples.pop_front();
    }
    history.samples.push_back(Sample {
        at,
        runs: new.count(),
        refused: refused.saturating_sub(history.refused),
        half_us: new.at_most(50),
        most_us: new.at_most(95),
    });
    (history.runs, history.refused) = (runs, refused);
    for InHand { name, used, most } in in_hand {
        // Where there may be none, that is no fullness.
        if used >= most && *most > 0 {
            history.full.entry(name).or_insert(at);
        } else {
            history.full.remove(name);
        }
    }
}

/// The samples, oldest first.
pub fn samples() -> Vec<Sample> {
    let history = history();
    let samples = history.iter().flat_map(|it| &it.samples);
    samples.copied().collect()
}

/// Since when there has been no room of this name; none where there was some at the last sample.
pub fn full_since(name: &str) -> Option<u64> {
    history().as_ref()?.full.get(name).copied()
}

/// Keeps a request, unless another is being kept right now: nobody waits for this.
pub(crate) fn keep(request: Recent) {
    if let Ok(mut requests) = REQUESTS.try_lock() {
        if requests.len() == RECENT {
            requests.pop_front();
        }
        requests.push_back(request);
    }
}

/// The last requests, newest first.
pub fn recent() -> Vec<Recent> {
    let requests = REQUESTS.lock().unwrap_or_else(PoisonError::into_inner);
    requests.iter().rev().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_has_been_since_the_first_sample_that_found_it_so() {
        let full = |used| sample(&[InHand::new("test", used, 2)]);
        full(1);
        assert_eq!(full_since("test"), None);
        full(2);
        let since = full_since("test").unwrap();
        assert!(since > 0);
        full(2);
        assert_eq!(full_since("test"), Some(since));
        full(1);
        assert_eq!(full_since("test"), None);
        sample(&[InHand::new("test", 0, 0)]);
        assert_eq!(full_since("test"), None);
        for _ in 0..SAMPLES {
            full(1);
        }
        assert_eq!(samples().len(), SAMPLES);
    }

    #[test]
    fn the_last_requests_are_kept_newest_first() {
        for wall_us in 0..100 {
            keep(Recent {
                at: 1,
                kind: "wasm".to_owned(),
                outcome: "ok".to_owned(),
                received_bytes: 1,
                sent_bytes: 1,
                cpu_us: 1,
                wall_us,
                peak_memory_bytes: 1,
            });
        }
        let kept: Vec<u64> = recent().iter().map(|it| it.wall_us).collect();
        assert_eq!(
            (kept.len(), kept.first(), kept.last()),
            (RECENT, Some(&99), Some(&68))
        );
    }
}
