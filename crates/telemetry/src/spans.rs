//! What the last requests took, step by step, in memory, for `hypervisor-ctl telemetry`: sizes, times and classes. Nothing is kept unless
//! the configuration asks for it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, Method};
use hypervisor_protocol::HexArray;
use hypervisor_runtime::micros;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::parent::Parent;
use super::request::recorded;
use crate::metrics::history::Recent;

/// Requests that are kept at the most, and in one answer.
const REQUESTS: usize = 4_096;
const ANSWER: usize = 512;
/// Steps of one request.
const STEPS: usize = 32;
/// Methods that are told by name; a method of a client's own could say anything.
const METHODS: [&str; 7] = ["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH"];
const OTHER: &str = "_OTHER";

static ON: AtomicBool = AtomicBool::new(false);
static KEPT: Mutex<Kept> = Mutex::new(Kept {
    requests: VecDeque::new(),
    next: 0,
});

struct Kept {
    requests: VecDeque<Traced>,
    /// Number of the request that comes next.
    next: u64,
}

/// Requests that have ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spans {
    /// When the host started: Unix time, seconds. Numbers begin again with it.
    pub started_at: u64,
    /// The number after that of the last of these: what to ask for next.
    pub next: u64,
    /// How many of those that were asked for are not kept any more.
    pub lost: u64,
    /// The requests, in the order in which they ended.
    pub requests: Vec<Traced>,
}

/// A request: a span with its steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// As in `x-request-id`.
    pub request_id: HexArray<16>,
    /// The caller's, or one of its own.
    pub trace_id: HexArray<16>,
    /// Of the request.
    pub span_id: HexArray<8>,
    /// The caller's span, where it named one.
    pub parent_span_id: Option<HexArray<8>>,
    /// One of HTTP's own, or `_OTHER`.
    pub method: Cow<'static, str>,
    /// The path's template; none of a path that there is not.
    pub route: Option<Cow<'static, str>>,
    /// Unix time, microseconds.
    pub began_us: u64,
    /// Until the last task that was about it had ended: of an answer that is passed on as it comes, to its head.
    pub took_us: u64,
    /// Of the answer; none where it was broken off before.
    pub status: Option<u16>,
    /// The type of the problem that the answer is.
    pub problem: Option<Cow<'static, str>>,
    /// How a sealed request was done.
    pub sealed: Option<Recent>,
    /// In the order in which they ended.
    pub steps: Vec<Stepped>,
}

/// A step of the pipeline, named as in `hypervisor_step_seconds`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stepped {
    /// The step.
    pub step: Cow<'static, str>,
    /// When it began, after the request had, microseconds.
    pub after_us: u64,
    /// How long it took, microseconds.
    pub took_us: u64,
}

/// Begins to keep them, where the configuration has `traces`. Who set what exporters read is told which one reads it: what exports has no
/// place in a process with keys.
pub fn export(traces: bool) {
    ON.store(traces, Ordering::Relaxed);
    let is_read = |(name, _): (OsString, OsString)| name.to_string_lossy().starts_with("OTEL_");
    if std::env::vars_os().any(is_read) {
        tracing::warn!(
            "the host exports nothing itself, whatever OTEL_ variables say: `hypervisor-ctl telemetry` reads its admin port and does"
        );
    }
}

/// The requests from this number on, as far as they are kept; none where none are.
pub fn spans_since(from: u64, started_at: u64) -> Option<Spans> {
    ON.load(Ordering::Relaxed)
        .then(|| kept().since(from, started_at))
}

fn kept() -> MutexGuard<'static, Kept> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn since(&self, from: u64, started_at: u64) -> Spans {
        let length = u64::try_from(self.requests.len()).unwrap_or(u64::MAX);
        let oldest = self.next.saturating_sub(length);
        let first = from.clamp(oldest, self.next);
        let skipped = usize::try_from(first.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let requests = self.requests.iter().skip(skipped).take(ANSWER);
        let requests: Vec<Traced> = requests.cloned().collect();
        let given = u64::try_from(requests.len()).unwrap_or(u64::MAX);
        Spans {
            started_at,
            next: first.saturating_add(given),
            lost: first.saturating_sub(from),
            requests,
        }
    }

    fn push(&mut self, request: Traced) {
        if self.requests.len() == REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
        self.next = self.next.saturating_add(1);
    }
}

/// A request that is being answered. It is kept when the last task that is about it has ended.
#[derive(Debug)]
pub(crate) struct Recording {
    began: Instant,
    request: Mutex<Traced>,
}

impl Recording {
    /// None where nothing is kept, or where the caller says that this is not to be.
    pub(crate) fn begin(
        id: Uuid,
        method: &Method,
        route: Option<&str>,
        fields: Option<&HeaderMap>,
    ) -> Option<Self> {
        if !ON.load(Ordering::Relaxed) {
            return None;
        }
        let parent = fields.and_then(Parent::of);
        if parent.is_some_and(|parent| !parent.is_sampled) {
            return None;
        }
        // The request's id has too few random bits where samplers look for them.
        let (mut trace_id, mut span_id) = ([0; 16], [0; 8]);
        getrandom::fill(&mut span_id).ok()?;
        if parent.is_none() {
            getrandom::fill(&mut trace_id).ok()?;
        }
        let known = METHODS.into_iter().find(|known| *known == method.as_str());
        let began = SystemTime::now().duration_since(UNIX_EPOCH);
        let request = Traced {
            request_id: HexArray(id.into_bytes()),
            trace_id: parent.map_or(HexArray(trace_id), |parent| parent.trace_id),
            span_id: HexArray(span_id),
            parent_span_id: parent.map(|parent| parent.span_id),
            method: known.unwrap_or(OTHER).into(),
            route: route.map(|route| route.to_owned().into()),
            began_us: micros(began.unwrap_or_default()),
            ..Traced::default()
        };
        Some(Self {
            began: Instant::now(),
            request: Mutex::new(request),
        })
    }

    pub(crate) fn note(&self, note: impl FnOnce(&mut Traced)) {
        note(&mut self.request.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let request = self.request.get_mut();
        let request = request.unwrap_or_else(PoisonError::into_inner);
        request.took_us = micros(self.began.elapsed());
        kept().push(std::mem::take(request));
    }
}

/// A step of the current request has just ended.
pub fn stepped(step: &'static str, took: Duration) {
    recorded(|recording| {
        let after = recording.began.elapsed().saturating_sub(took);
        recording.note(|request| {
            if request.steps.len() < STEPS {
                request.steps.push(Stepped {
                    step: step.into(),
                    after_us: micros(after),
                    took_us: micros(took),
                });
            }
        });
    });
}

/// The current request was sealed, and has been done.
pub fn done(sealed: &Recent) {
    recorded(|recording| recording.note(|request| request.sealed = Some(sealed.clone())));
}

/// What the current request is answered with is a problem.
pub fn failed(problem: &'static str) {
    recorded(|recording| recording.note(|request| request.problem = Some(problem.into())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_requests_are_kept_by_number_and_told_in_parts() {
        let mut kept = Kept {
            requests: VecDeque::new(),
            next: 0,
        };
        let numbered = |number| Traced {
            began_us: number,
            ..Traced::default()
        };
        for number in 0..5_000 {
            kept.push(numbered(number));
        }
        let all = kept.since(0, 7);
        assert_eq!((all.started_at, all.lost), (7, 904));
        assert_eq!((all.requests.len(), all.next), (ANSWER, 904 + 512));
        assert_eq!(all.requests.first(), Some(&numbered(904)));
        let last = kept.since(4_999, 7);
        assert_eq!((last.lost, last.next), (0, 5_000));
        assert_eq!(last.requests, [numbered(4_999)]);
        assert_eq!(kept.since(5_000, 7).requests, []);
        // What was asked of an earlier host.
        assert_eq!(kept.since(9_999, 7).next, 5_000);
    }
}
