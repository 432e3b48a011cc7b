//! What came of calls: how many, how long each took, and what went wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hypervisor_bench::report::{Group, Unit};
use hypervisor_bench::stats::percentile;
use hypervisor_client::Error;
use hypervisor_client::protocol::Exit;

use crate::kinds::Kind;

/// Why a call failed: a status and a problem, or the kind of error, and nothing of its own words.
pub(crate) type Failure = String;

/// Calls of all kinds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<BTreeMap<Kind, Seen>>>);

#[derive(Debug, Default)]
struct Seen {
    done: usize,
    /// Milliseconds.
    times: Vec<f64>,
    failures: BTreeMap<Failure, u64>,
}

impl Tally {
    pub(crate) fn add(&self, kind: Kind, took: Duration, came: Result<(), Failure>) {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = kinds.entry(kind).or_default();
        match came {
            Ok(()) => {
                seen.done += 1;
                seen.times.push(took.as_secs_f64() * 1e3);
            }
            Err(failure) => *seen.failures.entry(failure).or_default() += 1,
        }
    }

    /// How many were done.
    pub(crate) fn done(&self) -> usize {
        let kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.values().map(|seen| seen.done).sum()
    }

    /// How many of them were paid for.
    pub(crate) fn paid(&self) -> usize {
        let kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let paid = kinds.iter().filter(|(kind, _)| kind.is_paid());
        paid.map(|(_, seen)| seen.done).sum()
    }

    /// What failed, of each kind.
    pub(crate) fn failures(&self) -> Vec<String> {
        let kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(kind, seen): (&Kind, &Seen)| -> Vec<String> {
            let failures = seen.failures.iter();
            failures
                .map(|(failure, times)| format!("{}: {failure}, {times} times", kind.name()))
                .collect()
        };
        kinds.iter().flat_map(of).collect()
    }

    /// The times of all kinds together, and none are left.
    pub(crate) fn drain(&self) -> Vec<f64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds
            .values_mut()
            .flat_map(|seen| seen.times.drain(..))
            .collect()
    }

    /// A line for each kind.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [mut done, mut p50, mut p99] = ["done", "p50", "p99"].map(Group::new);
        for (kind, seen) in kinds.iter() {
            let mut times = seen.times.clone();
            done.add(kind.name(), Unit::Count, [times.len() as f64]);
            p50.add(
                kind.name(),
                Unit::Milliseconds,
                [percentile(&mut times, 50.0)],
            );
            p99.add(
                kind.name(),
                Unit::Milliseconds,
                [percentile(&mut times, 99.0)],
            );
        }
        vec![done, p50, p99]
    }
}

/// What an error is counted as.
pub(crate) fn failure(error: &Error) -> Failure {
    match error {
        Error::Refused(problem) => {
            let kind = problem.kind.rsplit(':').next().unwrap_or_default();
            format!("{} {kind}", problem.status)
        }
        Error::Transport { .. } => "the connection broke".to_owned(),
        Error::Stalled { .. } => "the host went silent".to_owned(),
        Error::Unexpected { status, .. } => format!("{status} that is no problem document"),
        Error::PaymentUncertain { source, .. } => format!("payment uncertain: {}", failure(source)),
        Error::PaidWithoutAnswer { source, .. } => format!("paid, no answer: {}", failure(source)),
        other => other.to_string(),
    }
}

/// What a run is counted as that had to end well.
pub(crate) fn ended(exit: &Exit) -> Result<(), Failure> {
    match exit {
        Exit::Ok => Ok(()),
        other => Err(format!("ended by {other:?}")),
    }
}
